/* Every function of runtimes, connections, streams and listeners with NULL where it is not allowed, numbers out of range,
   and bytes that are NULL with a length; on nothing, and on a live connection, which survives it all. */
#include "events.h"

static bool is_empty_text(const char *text) {
    return text != NULL && text[0] == '\0';
}

static void values_of_nothing(void) {
    CHECK(esrpc_runtime_acquire(NULL) == NULL);
    CHECK(esrpc_connection_acquire(NULL) == NULL);
    CHECK(esrpc_connection_get_state(NULL) == 0);
    CHECK(!esrpc_connection_is_open(NULL));
    CHECK(esrpc_connection_get_user_data(NULL) == NULL);
    CHECK(is_empty_text(esrpc_connection_get_local_address(NULL)));
    CHECK(is_empty_text(esrpc_connection_get_remote_address(NULL)));
    CHECK(is_empty_text(esrpc_connection_get_host(NULL)));
    CHECK(esrpc_connection_get_port(NULL) == 0);
    CHECK(esrpc_connection_get_outbound_size(NULL) == 0);
    CHECK(esrpc_connection_get_connect_ack(NULL) == NULL);
    CHECK(esrpc_connection_get_end_status(NULL) == ESRPC_OK);
    CHECK(is_empty_text(esrpc_connection_get_end_message(NULL)));
    CHECK(esrpc_stream_acquire(NULL) == NULL);
    CHECK(esrpc_stream_get_id(NULL) == 0);
    CHECK(esrpc_stream_get_state(NULL) == 0);
    CHECK(esrpc_stream_get_connection(NULL) == NULL);
    CHECK(esrpc_stream_get_user_data(NULL) == NULL);
    CHECK(esrpc_stream_get_operation(NULL).len == 0);
    CHECK(esrpc_stream_get_end_status(NULL) == ESRPC_OK);
    CHECK(is_empty_text(esrpc_stream_get_end_message(NULL)));
    CHECK(esrpc_listener_acquire(NULL) == NULL);
    CHECK(is_empty_text(esrpc_listener_get_address(NULL)));
    CHECK(esrpc_listener_get_port(NULL) == 0);
    CHECK(esrpc_listener_get_user_data(NULL) == NULL);
    CHECK(esrpc_listener_get_open_streams(NULL) == 0);
    CHECK(esrpc_listener_get_open_connections(NULL) == 0);
}

static void statistics_of_nothing(void) {
    esrpc_stats stats;
    stats.struct_size = sizeof stats;
    CHECK_INVALID(esrpc_connection_get_stats(NULL, &stats));
    CHECK_INVALID(esrpc_listener_get_stats(NULL, &stats));
}

static void releases_of_nothing(void) {
    esrpc_client_options_release(NULL);
    esrpc_listener_options_release(NULL);
    esrpc_runtime_options_release(NULL);
    esrpc_runtime_release(NULL);
    esrpc_connection_release(NULL);
    esrpc_stream_release(NULL);
    esrpc_listener_release(NULL);
}

/* NULL is the default runtime, and there is none. */
static void a_default_runtime_that_was_never_used(void) {
    CHECK(esrpc_runtime_get_open_streams(NULL) == 0);
    CHECK(esrpc_runtime_get_open_connections(NULL) == 0);
    esrpc_stats stats;
    memset(&stats, 0xff, sizeof stats);
    stats.struct_size = sizeof stats;
    CHECK_OK(esrpc_runtime_get_stats(NULL, &stats));
    CHECK(stats.messages_received == 0 && stats.connections_opened == 0 && stats.longest_turn_us == 0);
    CHECK_INVALID(esrpc_runtime_get_stats(NULL, NULL));
    stats.struct_size = 0;
    CHECK_INVALID(esrpc_runtime_get_stats(NULL, &stats));
    CHECK_OK(esrpc_runtime_drain(NULL, 0));
    CHECK_OK(esrpc_runtime_shutdown(NULL));
    CHECK_OK(esrpc_runtime_join(NULL, 0));
    CHECK_OK(esrpc_runtime_stop(NULL, 0));
    CHECK_OK(esrpc_stop_all(0));
}

static void runtimes(void) {
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    CHECK_INVALID(esrpc_runtime_options_set_thread_count(NULL, 1));
    CHECK_INVALID(esrpc_runtime_options_set_thread_count(options, 0));
    CHECK_INVALID(esrpc_runtime_options_set_thread_count(options, 65));
    CHECK_INVALID(esrpc_runtime_options_set_thread_count(options, SIZE_MAX));
    CHECK_INVALID(esrpc_runtime_options_set_on_ended(NULL, NULL, NULL));
    CHECK_INVALID(esrpc_runtime_options_set_log(NULL, ESRPC_LOG_LEVEL_INFO, NULL, NULL));
    CHECK_INVALID(esrpc_runtime_options_set_log(options, -1, NULL, NULL));
    CHECK_INVALID(esrpc_runtime_options_set_log(options, ESRPC_LOG_LEVEL_TRACE + 1, NULL, NULL));
    CHECK_OK(esrpc_runtime_options_set_log(options, ESRPC_LOG_LEVEL_INFO, NULL, NULL));
    CHECK_INVALID(esrpc_runtime_new(options, NULL));
    esrpc_runtime_options_release(options);
    /* NULL stands for the defaults. */
    CHECK_OK(esrpc_runtime_set_default_options(NULL));
}

static void client_options(void) {
    const esrpc_bytes bad = no_bytes_of_length_one();
    const esrpc_bytes none = bytes(NULL, 0);
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_connection *connection = NULL;
    CHECK_INVALID(esrpc_client_options_set_host(NULL, esrpc_text("127.0.0.1"), 1));
    CHECK_INVALID(esrpc_client_options_set_host(options, bad, 1));
    CHECK_INVALID(esrpc_client_options_set_host(options, none, 1));
    CHECK_INVALID(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), 65536));
    CHECK_INVALID(esrpc_client_options_set_unix_path(NULL, esrpc_text("x")));
    CHECK_INVALID(esrpc_client_options_set_unix_path(options, bad));
    CHECK_INVALID(esrpc_client_options_set_unix_path(options, none));
    CHECK_INVALID(esrpc_client_options_set_unix_path(options, bytes("a\0b", 3)));
    CHECK_INVALID(esrpc_client_options_set_unix_abstract(NULL, esrpc_text("x")));
    CHECK_INVALID(esrpc_client_options_set_unix_abstract(options, bad));
    CHECK_INVALID(esrpc_client_options_set_unix_abstract(options, none));
    CHECK_INVALID(esrpc_client_options_set_runtime(NULL, NULL));
    CHECK_INVALID(esrpc_client_options_set_connection_options(NULL, NULL));
    CHECK_OK(esrpc_client_options_set_connection_options(options, NULL));
    CHECK_INVALID(esrpc_client_options_set_handshake(NULL, NULL, none));
    CHECK_INVALID(esrpc_client_options_set_handshake(options, NULL, bad));
    CHECK_INVALID(esrpc_client_options_set_tls_alpn(NULL, &none, 0));
    CHECK_INVALID(esrpc_client_options_set_tls_alpn(options, NULL, 1));
    CHECK_INVALID(esrpc_client_options_set_tls_alpn(options, &bad, 1));
    CHECK_INVALID(esrpc_client_options_set_tls_alpn(options, &none, 1));
    CHECK_INVALID(esrpc_client_options_set_tls_alpn(options, &none, SIZE_MAX));
    CHECK_OK(esrpc_client_options_set_tls_alpn(options, NULL, 0));

    CHECK_INVALID(esrpc_connection_connect_blocking(NULL, 0, &connection));
    CHECK_INVALID(esrpc_connection_connect_blocking(options, 0, &connection));
    CHECK_INVALID(esrpc_connection_connect_blocking(options, 0, NULL));
    CHECK_INVALID(esrpc_connection_connect(NULL, NULL, NULL, &connection));
    CHECK_INVALID(esrpc_connection_connect(options, NULL, NULL, &connection));
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), 1));
    CHECK_INVALID(esrpc_connection_connect(options, NULL, NULL, NULL));
    esrpc_connection_callbacks callbacks;
    memset(&callbacks, 0, sizeof callbacks);
    CHECK_INVALID(esrpc_connection_connect(options, &callbacks, NULL, &connection));
    CHECK(connection == NULL);
    esrpc_client_options_release(options);
}

static void listener_options(void) {
    const esrpc_bytes bad = no_bytes_of_length_one();
    const esrpc_bytes none = bytes(NULL, 0);
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener *listener = NULL;
    CHECK_INVALID(esrpc_listener_options_set_handshake(NULL, NULL, NULL));
    CHECK_INVALID(esrpc_listener_options_set_host(NULL, esrpc_text("127.0.0.1"), 0));
    CHECK_INVALID(esrpc_listener_options_set_host(options, bad, 0));
    CHECK_INVALID(esrpc_listener_options_set_host(options, none, 0));
    CHECK_INVALID(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), UINT32_MAX));
    CHECK_INVALID(esrpc_listener_options_set_unix_path(NULL, esrpc_text("x")));
    CHECK_INVALID(esrpc_listener_options_set_unix_path(options, bad));
    CHECK_INVALID(esrpc_listener_options_set_unix_path(options, none));
    CHECK_INVALID(esrpc_listener_options_set_unix_abstract(NULL, esrpc_text("x")));
    CHECK_INVALID(esrpc_listener_options_set_unix_abstract(options, bad));
    CHECK_INVALID(esrpc_listener_options_set_unix_abstract(options, none));
    CHECK_INVALID(esrpc_listener_options_set_unix_mode(NULL, 0600));
    CHECK_INVALID(esrpc_listener_options_set_unix_mode(options, UINT32_MAX));
    CHECK_INVALID(esrpc_listener_options_set_runtime(NULL, NULL));
    CHECK_INVALID(esrpc_listener_options_set_connection_options(NULL, NULL));
    CHECK_OK(esrpc_listener_options_set_connection_options(options, NULL));

    CHECK_INVALID(esrpc_listener_listen(NULL, NULL, NULL, &listener));
    CHECK_INVALID(esrpc_listener_listen(options, NULL, NULL, &listener));
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_INVALID(esrpc_listener_listen(options, NULL, NULL, NULL));
    esrpc_listener_callbacks callbacks;
    memset(&callbacks, 0, sizeof callbacks);
    CHECK_INVALID(esrpc_listener_listen(options, &callbacks, NULL, &listener));
    CHECK(listener == NULL);
    esrpc_listener_options_release(options);
}

static void calls_on_nothing(void) {
    const esrpc_bytes none = bytes(NULL, 0);
    esrpc_status status = 77;
    esrpc_stream *stream = NULL;
    esrpc_message *message = NULL;
    CHECK_INVALID(esrpc_connection_accept(NULL, NULL, NULL));
    CHECK_INVALID(esrpc_connection_call(NULL, none, NULL, none, 0, &message));
    CHECK_INVALID(esrpc_connection_call(NULL, none, NULL, none, 0, NULL));
    CHECK_INVALID(esrpc_stream_read(NULL, 0, &message));
    CHECK_INVALID(esrpc_stream_read(NULL, 0, NULL));
    CHECK_INVALID(esrpc_stream_send_blocking(NULL, 0, 0, NULL, none, 0));
    CHECK_INVALID(esrpc_listener_drain(NULL, 0));
    CHECK(message == NULL);
    CHECK_INVALID(esrpc_connection_close(NULL, ESRPC_OK));
    CHECK_INVALID(esrpc_connection_abort(NULL));
    CHECK_INVALID(esrpc_connection_send_protocol_message(NULL, ESRPC_MESSAGE_TYPE_PING, 0, NULL, none, NULL, NULL));
    CHECK_INVALID(esrpc_connection_new_stream(NULL, NULL, NULL, &stream));
    CHECK_INVALID(esrpc_connection_pause_reading(NULL));
    CHECK_INVALID(esrpc_connection_resume_reading(NULL));
    CHECK_INVALID(esrpc_connection_run_on_loop(NULL, NULL, NULL));
    CHECK_INVALID(esrpc_connection_wait_setup(NULL, 0));
    CHECK_INVALID(esrpc_connection_wait_flush(NULL, 0));
    CHECK_INVALID(esrpc_connection_wait_shutdown(NULL, 0));
    CHECK_INVALID(esrpc_stream_activate(NULL, none, 0, 0, NULL, none, NULL, NULL));
    CHECK_INVALID(esrpc_stream_send_message(NULL, 0, 0, NULL, none, NULL, NULL));
    CHECK_INVALID(esrpc_stream_close(NULL));
    CHECK_INVALID(esrpc_stream_accept(NULL, NULL, NULL));
    CHECK_INVALID(esrpc_stream_refuse(NULL, NULL, none));
    CHECK_INVALID(esrpc_connection_defer(NULL));
    CHECK_INVALID(esrpc_stream_defer(NULL, 1000));
    CHECK_INVALID(esrpc_stream_reply(NULL, NULL, esrpc_text("p")));
    CHECK_INVALID(esrpc_stream_fail(NULL, esrpc_text("type"), esrpc_text("message")));
    CHECK_INVALID(esrpc_stream_wait_closed(NULL, 0));
    CHECK_INVALID(esrpc_listener_close(NULL));
    CHECK_INVALID(esrpc_listener_wait_closed(NULL, 0));
    CHECK(status == 77 && stream == NULL);
}

/* A server that accepts, inside the callbacks after trying the wrong. */
static void on_connect(esrpc_connection *connection, const esrpc_message *message, void *user_data) {
    (void)user_data;
    CHECK(esrpc_message_get_type(message) == ESRPC_MESSAGE_TYPE_CONNECT);
    CHECK_OK(esrpc_connection_send_protocol_message(connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK,
                                                    ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, NULL, bytes(NULL, 0),
                                                    NULL, NULL));
}

static void on_incoming_stream(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *first_message,
                               void *user_data) {
    esrpc_stream_callbacks callbacks;
    (void)connection;
    (void)user_data;
    memset(&callbacks, 0, sizeof callbacks);
    CHECK_INVALID(esrpc_stream_accept(stream, &callbacks, NULL));
    CHECK_INVALID(esrpc_stream_refuse(stream, NULL, no_bytes_of_length_one()));
    CHECK_INVALID(esrpc_stream_refuse(stream, esrpc_message_get_headers(first_message), bytes(NULL, 0)));
    CHECK_OK(esrpc_stream_refuse(stream, NULL, bytes(NULL, 0)));
}

static void on_incoming_connection(esrpc_listener *listener, esrpc_connection *connection, void *user_data) {
    esrpc_connection_callbacks callbacks;
    (void)listener;
    (void)user_data;
    memset(&callbacks, 0, sizeof callbacks);
    CHECK_INVALID(esrpc_connection_accept(connection, &callbacks, NULL));
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_protocol_message = on_connect;
    callbacks.on_incoming_stream = on_incoming_stream;
    CHECK_OK(esrpc_connection_accept(connection, &callbacks, NULL));
}

static esrpc_listener *listen_on(esrpc_runtime *runtime) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener_callbacks callbacks;
    esrpc_listener *listener = NULL;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_incoming_connection = on_incoming_connection;
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_options_set_runtime(options, runtime));
    CHECK_OK(esrpc_listener_listen(options, &callbacks, NULL, &listener));
    esrpc_listener_options_release(options);
    return listener;
}

static esrpc_connection *connect_to(esrpc_runtime *runtime, const esrpc_listener *listener) {
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_connection *connection = NULL;
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), esrpc_listener_get_port(listener)));
    CHECK_OK(esrpc_client_options_set_runtime(options, runtime));
    CHECK_OK(esrpc_client_options_set_handshake(options, NULL, bytes(NULL, 0)));
    CHECK_OK(esrpc_connection_connect(options, NULL, NULL, &connection));
    esrpc_client_options_release(options);
    CHECK_OK(esrpc_connection_wait_setup(connection, 60000));
    return connection;
}

static void wrong_sends(esrpc_connection *connection, const esrpc_headers *of_a_message) {
    const esrpc_bytes bad = no_bytes_of_length_one();
    const esrpc_bytes none = bytes(NULL, 0);
    esrpc_message *reply = NULL;
    CHECK_INVALID(esrpc_connection_call(connection, bad, NULL, none, 0, &reply));
    CHECK_INVALID(esrpc_connection_call(connection, none, NULL, bad, 0, &reply));
    CHECK_INVALID(esrpc_connection_call(connection, none, of_a_message, none, 0, &reply));
    CHECK_INVALID(esrpc_connection_call(connection, none, NULL, none, 0, NULL));
    CHECK_STATUS(ESRPC_ERROR_INVALID_UTF8, esrpc_connection_call(connection, bytes("\xff", 1), NULL, none, 0, &reply));
    CHECK(reply == NULL);
    const int32_t ping = ESRPC_MESSAGE_TYPE_PING;
    CHECK_INVALID(esrpc_connection_send_protocol_message(connection, ping, 0, NULL, bad, NULL, NULL));
    CHECK_INVALID(esrpc_connection_send_protocol_message(connection, ping, 0, of_a_message, none, NULL, NULL));
    const int32_t wrong_types[] = {INT32_MIN, -1, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE,
                                   ESRPC_MESSAGE_TYPE_APPLICATION_ERROR, 8, INT32_MAX};
    for (size_t i = 0; i < sizeof wrong_types / sizeof wrong_types[0]; i++) {
        CHECK_STATUS(ESRPC_ERROR_WRONG_MESSAGE_TYPE,
                     esrpc_connection_send_protocol_message(connection, wrong_types[i], 0, NULL, none, NULL, NULL));
    }
    CHECK_INVALID(esrpc_connection_run_on_loop(connection, NULL, NULL));
    CHECK_INVALID(esrpc_connection_close(connection, -1));
    CHECK_INVALID(esrpc_connection_close(connection, 999));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_connection_accept(connection, NULL, NULL));
}

static void wrong_calls_on_a_stream(esrpc_connection *connection, const esrpc_headers *of_a_message) {
    const esrpc_bytes bad = no_bytes_of_length_one();
    const esrpc_bytes none = bytes(NULL, 0);
    const esrpc_bytes operation = esrpc_text("o");
    static char long_text[32768];
    esrpc_stream_callbacks callbacks;
    esrpc_stream *stream = NULL;
    esrpc_message *message = NULL;
    memset(&callbacks, 0, sizeof callbacks);
    CHECK_INVALID(esrpc_connection_new_stream(connection, &callbacks, NULL, &stream));
    CHECK_INVALID(esrpc_connection_new_stream(connection, NULL, NULL, NULL));
    CHECK(stream == NULL);
    CHECK_OK(esrpc_connection_new_stream(connection, NULL, NULL, &stream));

    CHECK_INVALID(esrpc_stream_activate(stream, bad, 0, 0, NULL, none, NULL, NULL));
    CHECK_INVALID(esrpc_stream_activate(stream, operation, 0, 0, NULL, bad, NULL, NULL));
    CHECK_INVALID(esrpc_stream_activate(stream, operation, 0, 0, of_a_message, none, NULL, NULL));
    CHECK_STATUS(ESRPC_ERROR_WRONG_MESSAGE_TYPE,
                 esrpc_stream_activate(stream, operation, ESRPC_MESSAGE_TYPE_PING, 0, NULL, none, NULL, NULL));
    CHECK_STATUS(ESRPC_ERROR_WRONG_MESSAGE_TYPE,
                 esrpc_stream_activate(stream, operation, -1, 0, NULL, none, NULL, NULL));
    CHECK_STATUS(ESRPC_ERROR_INVALID_UTF8,
                 esrpc_stream_activate(stream, bytes("\xff", 1), 0, 0, NULL, none, NULL, NULL));
    CHECK_STATUS(ESRPC_ERROR_HEADER_VALUE_TOO_LONG,
                 esrpc_stream_activate(stream, bytes(long_text, 32768), 0, 0, NULL, none, NULL, NULL));
    CHECK_STATUS(ESRPC_ERROR_STREAM_NOT_ACTIVATED,
                 esrpc_stream_send_message(stream, 0, 0, NULL, none, NULL, NULL));
    CHECK_STATUS(ESRPC_ERROR_STREAM_NOT_ACTIVATED, esrpc_stream_wait_closed(stream, 0));
    CHECK_STATUS(ESRPC_ERROR_STREAM_NOT_ACTIVATED, esrpc_stream_read(stream, 0, &message));
    CHECK_STATUS(ESRPC_ERROR_STREAM_NOT_ACTIVATED, esrpc_stream_send_blocking(stream, 0, 0, NULL, none, 0));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_stream_accept(stream, NULL, NULL));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_stream_refuse(stream, NULL, none));
    CHECK(esrpc_stream_get_id(stream) == 0);

    CHECK_OK(esrpc_stream_activate(stream, operation, 0, 0, NULL, none, NULL, NULL));
    CHECK(esrpc_stream_get_id(stream) == 1);
    CHECK_INVALID(esrpc_stream_send_blocking(stream, 0, 0, NULL, bad, 0));
    CHECK_INVALID(esrpc_stream_send_blocking(stream, 0, 0, of_a_message, none, 0));
    CHECK_INVALID(esrpc_stream_read(stream, 0, NULL));
    CHECK_INVALID(esrpc_stream_send_message(stream, 0, 0, NULL, bad, NULL, NULL));
    CHECK_INVALID(esrpc_stream_send_message(stream, 0, 0, of_a_message, none, NULL, NULL));
    CHECK_ENDED(esrpc_stream_wait_closed(stream, 60000));
    CHECK(esrpc_stream_get_end_status(stream) == ESRPC_OK);
    esrpc_stream_release(stream);
}

static void a_live_connection_survives_wrong_calls(void) {
    esrpc_runtime *runtime = NULL;
    CHECK_OK(esrpc_runtime_new(NULL, &runtime));
    esrpc_listener *listener = listen_on(runtime);
    esrpc_connection *connection = connect_to(runtime, listener);
    const esrpc_headers *of_a_message = esrpc_message_get_headers(esrpc_connection_get_connect_ack(connection));
    CHECK(of_a_message != NULL);
    wrong_sends(connection, of_a_message);
    wrong_calls_on_a_stream(connection, of_a_message);

    CHECK(esrpc_connection_is_open(connection));
    CHECK_OK(esrpc_connection_close(connection, ESRPC_OK));
    CHECK_OK(esrpc_connection_wait_shutdown(connection, 60000));
    esrpc_connection_release(connection);
    CHECK_OK(esrpc_listener_close(listener));
    CHECK_OK(esrpc_listener_wait_closed(listener, 60000));
    esrpc_listener_release(listener);
    CHECK_OK(esrpc_runtime_shutdown(runtime));
    CHECK_OK(esrpc_runtime_join(runtime, 60000));
    esrpc_runtime_release(runtime);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(values_of_nothing),
        TEST(releases_of_nothing),
        TEST(statistics_of_nothing),
        TEST(a_default_runtime_that_was_never_used),
        TEST(runtimes),
        TEST(client_options),
        TEST(listener_options),
        TEST(calls_on_nothing),
        TEST(a_live_connection_survives_wrong_calls),
    };
    return RUN_TESTS(tests, argc, argv);
}
