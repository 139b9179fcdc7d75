/* What can be asked of handles: states, addresses, ids, ends, user data. */
#include "harness.h"

static bool is_local_address(const char *text, uint32_t port) {
    char expected[64];
    if (over_unix_socket) return strcmp(text, "unix:") == 0 || strncmp(text, "unix:@esrpc-test-", 17) == 0;
    if (port == 0) return strncmp(text, "127.0.0.1:", 10) == 0 && strlen(text) > 10;
    snprintf(expected, sizeof expected, "127.0.0.1:%u", (unsigned)port);
    return strcmp(text, expected) == 0;
}

static void both_sides_know_both_addresses(void) {
    struct pair pair;
    const char *client_local, *client_remote;
    uint32_t port;
    pair_open(&pair);
    port = esrpc_listener_get_port(pair.listening);
    client_local = esrpc_connection_get_local_address(pair.client_connection);
    client_remote = esrpc_connection_get_remote_address(pair.client_connection);
    CHECK(is_local_address(client_local, 0));
    CHECK(is_local_address(client_remote, port));
    CHECK(strcmp(esrpc_connection_get_local_address(pair.server_connection), client_remote) == 0);
    CHECK(strcmp(esrpc_connection_get_remote_address(pair.server_connection), client_local) == 0);
    CHECK(strcmp(esrpc_listener_get_address(pair.listening), client_remote) == 0);
    CHECK((port == 0) == over_unix_socket);
    CHECK(esrpc_connection_get_port(pair.client_connection) == port);
    CHECK(esrpc_connection_get_port(pair.server_connection) == 0);
    CHECK(strcmp(esrpc_connection_get_host(pair.client_connection), over_unix_socket ? client_remote : "127.0.0.1") == 0);
    CHECK(strcmp(esrpc_connection_get_host(pair.server_connection), "") == 0);
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    await("client shutdown OK");
    CHECK(strcmp(esrpc_connection_get_remote_address(pair.client_connection), client_remote) == 0); /* still */
    pair_end(&pair);
}

static void ipv6_addresses_have_brackets(void) {
    struct pair pair;
    esrpc_listener_options *listener_options = esrpc_listener_options_new();
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_listener_callbacks callbacks = listener_callbacks();
    esrpc_connection_callbacks of_client = connection_callbacks();
    esrpc_status status;
    pair_begin(&pair);
    CHECK_OK(esrpc_listener_options_set_runtime(listener_options, pair.server_runtime));
    CHECK_OK(esrpc_listener_options_set_host(listener_options, esrpc_text("::1"), 0));
    status = esrpc_listener_listen(listener_options, &callbacks, &pair.listener, &pair.listening);
    if (status == ESRPC_ERROR_ADDRESS_UNAVAILABLE || status == ESRPC_ERROR_UNSUPPORTED) {
        note("no IPv6 here");
    } else {
        CHECK_STATUS(ESRPC_OK, status);
        CHECK(strncmp(esrpc_listener_get_address(pair.listening), "[::1]:", 6) == 0);
        CHECK_OK(esrpc_client_options_set_runtime(options, pair.client_runtime));
        CHECK_OK(esrpc_client_options_set_handshake(options, NULL, esrpc_text("connect")));
        CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("[::1]"), esrpc_listener_get_port(pair.listening)));
        CHECK_OK(esrpc_connection_connect(options, &of_client, &pair.client, &pair.client_connection));
        await("client setup OK");
        CHECK(strncmp(esrpc_connection_get_local_address(pair.client_connection), "[::1]:", 6) == 0);
        CHECK(strcmp(esrpc_connection_get_host(pair.client_connection), "[::1]") == 0);
    }
    esrpc_client_options_release(options);
    esrpc_listener_options_release(listener_options);
    pair_end(&pair);
}

static void a_connection_goes_through_its_states(void) {
    struct pair pair;
    struct gate gate;
    pair_begin(&pair);
    pair.ignore_connect = true;
    pair_listen(&pair);
    pair_dial(&pair);
    await("server protocol CONNECT");
    CHECK(esrpc_connection_get_state(pair.client_connection) == ESRPC_CONNECTION_STATE_CONNECTING);
    CHECK(!esrpc_connection_is_open(pair.client_connection));
    CHECK_OK(send_protocol(pair.server_connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK, 1, "", NULL));
    await("client setup OK");
    CHECK(esrpc_connection_get_state(pair.client_connection) == ESRPC_CONNECTION_STATE_OPEN);
    CHECK(esrpc_connection_is_open(pair.client_connection));
    hold_loop(pair.client_connection, &gate);
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    CHECK(esrpc_connection_get_state(pair.client_connection) == ESRPC_CONNECTION_STATE_CLOSING);
    CHECK(!esrpc_connection_is_open(pair.client_connection));
    gate_open(&gate);
    await("client shutdown OK");
    CHECK(esrpc_connection_get_state(pair.client_connection) == ESRPC_CONNECTION_STATE_CLOSED);
    pair_end(&pair);
}

static void look_at_the_announced_stream(struct party *self, const struct moment *now) {
    (void)self;
    if (!is(now, "stream")) return;
    CHECK(esrpc_stream_get_id(now->stream) == 1 || esrpc_stream_get_id(now->stream) == 2);
    CHECK(esrpc_stream_get_connection(now->stream) == now->connection);
    CHECK(is_text(esrpc_stream_get_operation(now->stream), "test#Operation"));
    note("looked");
}

static void a_stream_knows_its_id_operation_connection_and_state(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream, *second;
    pair_begin(&pair);
    pair.keep_streams = true;
    pair.server.hook = look_at_the_announced_stream;
    pair_connect(&pair);
    stream = new_stream(pair.client_connection, &party);
    CHECK(esrpc_stream_get_id(stream) == 0);
    CHECK(esrpc_stream_get_operation(stream).len == 0);
    CHECK(esrpc_stream_get_state(stream) == ESRPC_STREAM_STATE_NEW);
    CHECK(esrpc_stream_get_connection(stream) == pair.client_connection);
    CHECK(esrpc_stream_get_user_data(stream) == &party);
    CHECK_OK(activate(stream, 0, "first", NULL));
    CHECK(esrpc_stream_get_id(stream) == 1);
    CHECK(is_text(esrpc_stream_get_operation(stream), "test#Operation"));
    CHECK(esrpc_stream_get_state(stream) == ESRPC_STREAM_STATE_OPEN);
    await("looked");
    await("handler message first");
    CHECK(esrpc_stream_get_id(pair.handler_stream) == 1);
    CHECK(esrpc_stream_get_state(pair.handler_stream) == ESRPC_STREAM_STATE_OPEN);
    CHECK(esrpc_stream_get_user_data(pair.handler_stream) == &pair.handler);
    CHECK(esrpc_stream_get_end_status(stream) == ESRPC_OK);
    CHECK_OK(esrpc_stream_close(stream));
    await("call closed OK");
    CHECK(esrpc_stream_get_state(stream) == ESRPC_STREAM_STATE_CLOSED);
    CHECK(esrpc_stream_get_id(stream) == 1);
    second = new_stream(pair.client_connection, &party);
    CHECK_OK(activate(second, LAST, "second", NULL));
    CHECK(esrpc_stream_get_id(second) == 2);
    await("handler message second (last)");
    esrpc_stream_release(stream);
    esrpc_stream_release(second);
    pair_end(&pair);
}

static void handles_know_their_user_data(void) {
    struct pair pair;
    pair_open(&pair);
    CHECK(esrpc_connection_get_user_data(pair.client_connection) == &pair.client);
    CHECK(esrpc_connection_get_user_data(pair.server_connection) == &pair.server);
    CHECK(esrpc_listener_get_user_data(pair.listening) == &pair.listener);
    pair_end(&pair);
}

static void the_end_can_be_read_from_the_handle_on_any_thread(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream;
    pair_begin(&pair);
    pair.keep_streams = true;
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK(strcmp(esrpc_connection_get_end_message(pair.client_connection), "") == 0);
    CHECK(strcmp(esrpc_stream_get_end_message(stream), "") == 0);
    CHECK_OK(esrpc_connection_close(pair.server_connection, ESRPC_OK));
    await("client shutdown PEER_CLOSED");
    CHECK(esrpc_connection_get_end_status(pair.client_connection) == ESRPC_ERROR_PEER_CLOSED);
    CHECK(esrpc_stream_get_end_status(stream) == ESRPC_ERROR_PEER_CLOSED);
    CHECK(strstr(esrpc_connection_get_end_message(pair.client_connection), "peer") != NULL);
    CHECK(strstr(esrpc_stream_get_end_message(stream), "peer") != NULL);
    await("server shutdown OK");
    CHECK(esrpc_connection_get_end_status(pair.server_connection) == ESRPC_OK);
    CHECK(strcmp(esrpc_connection_get_end_message(pair.server_connection), "") == 0);
    CHECK(esrpc_stream_get_end_status(pair.handler_stream) == ESRPC_ERROR_CONNECTION_CLOSED);
    esrpc_stream_release(stream);
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(both_sides_know_both_addresses),
        TEST(ipv6_addresses_have_brackets),
        TEST(a_connection_goes_through_its_states),
        TEST(a_stream_knows_its_id_operation_connection_and_state),
        TEST(handles_know_their_user_data),
        TEST(the_end_can_be_read_from_the_handle_on_any_thread),
    };
    return RUN_TESTS(tests, argc, argv);
}
