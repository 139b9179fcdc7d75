/* Promise 1: setup is first and exactly once, and a handle exists before any callback. */
#include "harness.h"

static void check_handle_in_setup(struct party *self, const struct moment *now) {
    struct pair *pair = (struct pair *)self->data;
    if (is(now, "setup")) note("handle %s", now->connection == pair->client_connection ? "was stored" : "is missing");
}

static void the_handle_is_stored_before_the_first_callback(void) {
    struct pair pair;
    pair_begin(&pair);
    pair.client.hook = check_handle_in_setup;
    pair_connect(&pair);
    await("handle was stored");
    pair_end(&pair);
}

static void a_connection_that_could_be_made_is_set_up_once_and_first(void) {
    struct pair pair;
    pair_open(&pair);
    CHECK_OK(ping(pair.server_connection, "hello", NULL));
    await("client protocol PING hello");
    pair_end(&pair);
    CHECK_EVENTS("client", "setup OK", "protocol PING hello", "shutdown", "destroy");
}

/* Nothing listens there any longer. */
static void a_connection_that_could_not_be_made_gets_the_reason_and_then_only_on_destroy(void) {
    struct pair pair;
    esrpc_client_options *options;
    esrpc_connection_callbacks callbacks = connection_callbacks();
    pair_begin(&pair);
    pair_listen(&pair);
    options = pair_client_options(&pair);
    CHECK_OK(esrpc_listener_close(pair.listening));
    CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));

    CHECK_OK(esrpc_connection_connect(options, &callbacks, &pair.client, &pair.client_connection));
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_REFUSED, esrpc_connection_wait_setup(pair.client_connection, PATIENCE_MS));
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_REFUSED, esrpc_connection_wait_shutdown(pair.client_connection, PATIENCE_MS));
    CHECK(esrpc_connection_get_state(pair.client_connection) == ESRPC_CONNECTION_STATE_CLOSED);
    CHECK(esrpc_connection_get_end_status(pair.client_connection) == ESRPC_ERROR_CONNECTION_REFUSED);
    CHECK(strstr(esrpc_connection_get_end_message(pair.client_connection), "refused") != NULL);
    CHECK_NEVER("client destroy"); /* we still hold the handle */
    esrpc_client_options_release(options);
    pair_end(&pair);
    CHECK_EVENTS("client", "setup CONNECTION_REFUSED", "destroy");
}

static void without_the_handshake_option_setup_comes_before_connect_is_sent(void) {
    struct pair pair;
    pair_begin(&pair);
    pair.no_handshake = true;
    pair_connect(&pair);
    CHECK_NEVER("server protocol");
    CHECK(esrpc_connection_is_open(pair.client_connection));
    CHECK(esrpc_connection_get_connect_ack(pair.client_connection) == NULL);
    CHECK_STATUS(ESRPC_ERROR_HANDSHAKE_PENDING, ping(pair.client_connection, "too early", "ping"));
    CHECK_OK(send_protocol(pair.client_connection, ESRPC_MESSAGE_TYPE_CONNECT, 0, "mine", "connect"));
    await("client protocol CONNECT_ACK ack");
    CHECK_STATUS(ESRPC_ERROR_HANDSHAKE_ALREADY_DONE,
                 send_protocol(pair.client_connection, ESRPC_MESSAGE_TYPE_CONNECT, 0, "again", "connect"));
    pair_end(&pair);
    CHECK_EVENTS("client", "setup OK", "protocol CONNECT_ACK ack", "shutdown", "destroy");
    CHECK_EVENTS("flush", "connect OK");
}

static void with_the_handshake_option_setup_waits_for_the_ack_and_keeps_it(void) {
    struct pair pair;
    const esrpc_message *ack;
    pair_begin(&pair);
    pair.ignore_connect = true;
    pair_listen(&pair);
    pair_dial(&pair);
    await("server protocol CONNECT connect");
    CHECK(esrpc_connection_get_state(pair.client_connection) == ESRPC_CONNECTION_STATE_CONNECTING);
    CHECK(esrpc_connection_get_connect_ack(pair.client_connection) == NULL);
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_wait_setup(pair.client_connection, 1));
    CHECK_NEVER("client setup");

    CHECK_OK(send_protocol(pair.server_connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK,
                           ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, "welcome", NULL));
    await("client setup OK");
    ack = esrpc_connection_get_connect_ack(pair.client_connection);
    CHECK(esrpc_message_get_type(ack) == ESRPC_MESSAGE_TYPE_CONNECT_ACK);
    CHECK(is_text(esrpc_message_get_payload(ack), "welcome"));
    pair_end(&pair);
    CHECK_EVENTS("client", "setup OK", "shutdown", "destroy");
}

static void with_the_handshake_option_a_refusal_is_a_failed_setup(void) {
    struct pair pair;
    pair_begin(&pair);
    pair.refuse_connect = true;
    pair_listen(&pair);
    pair_dial(&pair);
    await("client setup HANDSHAKE_REFUSED");
    CHECK(is_text(esrpc_message_get_payload(esrpc_connection_get_connect_ack(pair.client_connection)), "ack"));
    await("server shutdown OK");
    pair_end(&pair);
    CHECK_EVENTS("client", "setup HANDSHAKE_REFUSED", "destroy");
}

static void a_server_that_goes_away_before_the_ack_is_a_failed_setup(void) {
    struct pair pair;
    pair_begin(&pair);
    pair.ignore_connect = true;
    pair_listen(&pair);
    pair_dial(&pair);
    await("server protocol CONNECT connect");
    CHECK_OK(esrpc_connection_close(pair.server_connection, ESRPC_OK));
    await("client setup PEER_CLOSED");
    pair_end(&pair);
    CHECK_EVENTS("client", "setup PEER_CLOSED", "destroy");
}

static void close_and_abort_before_the_ack_cancel_the_setup(void) {
    for (int abort_it = 0; abort_it <= 1; abort_it++) {
        struct pair pair;
        recorder_clear();
        pair_begin(&pair);
        pair.ignore_connect = true;
        pair_listen(&pair);
        pair_dial(&pair);
        await("server protocol CONNECT connect");
        if (abort_it)
            CHECK_OK(esrpc_connection_abort(pair.client_connection));
        else
            CHECK_OK(esrpc_connection_close(pair.client_connection, 1234));
        await("client setup CANCELLED");
        pair_end(&pair);
        CHECK_EVENTS("client", "setup CANCELLED", "destroy");
    }
}

static void close_and_abort_before_the_dial_cancel_the_setup(void) {
    for (int abort_it = 0; abort_it <= 1; abort_it++) {
        struct pair pair;
        struct party second = a_party("second", NULL, NULL);
        esrpc_connection *connection = NULL;
        struct gate gate;
        recorder_clear();
        pair_open(&pair);
        hold_loop(pair.client_connection, &gate);
        pair_dial_as(&pair, &second, &connection);
        if (abort_it)
            CHECK_OK(esrpc_connection_abort(connection));
        else
            CHECK_OK(esrpc_connection_close(connection, ESRPC_OK));
        CHECK_NEVER("second");
        gate_open(&gate);
        await("second setup CANCELLED");
        CHECK(esrpc_connection_get_end_status(connection) == ESRPC_ERROR_CANCELLED);
        esrpc_connection_release(connection);
        pair_end(&pair);
        CHECK_EVENTS("second", "setup CANCELLED", "destroy");
    }
}

static void before_setup_everything_but_ending_it_returns_not_ready(void) {
    struct pair pair;
    esrpc_stream_callbacks callbacks = stream_callbacks();
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream = NULL;
    pair_begin(&pair);
    pair.ignore_connect = true;
    pair_listen(&pair);
    pair_dial(&pair);
    await("server protocol CONNECT connect");
    CHECK_STATUS(ESRPC_ERROR_NOT_READY, ping(pair.client_connection, "", "ping"));
    CHECK_STATUS(ESRPC_ERROR_NOT_READY, esrpc_connection_new_stream(pair.client_connection, &callbacks, &party, &stream));
    CHECK_STATUS(ESRPC_ERROR_NOT_READY, esrpc_connection_pause_reading(pair.client_connection));
    CHECK_STATUS(ESRPC_ERROR_NOT_READY, esrpc_connection_resume_reading(pair.client_connection));
    CHECK(stream == NULL);
    esrpc_connection_release(esrpc_connection_acquire(pair.client_connection));
    pair_end(&pair);
    CHECK_NEVER("flush");
    CHECK_NEVER("call");
}

static void a_connect_that_fails_at_once_makes_nothing_and_calls_nothing_back(void) {
    struct pair pair;
    esrpc_client_options *options;
    esrpc_headers *headers = esrpc_headers_new();
    esrpc_connection_callbacks callbacks = connection_callbacks();
    pair_begin(&pair);
    pair_listen(&pair);
    options = esrpc_client_options_new();
    CHECK_INVALID(esrpc_connection_connect(options, &callbacks, &pair.client, &pair.client_connection));
    esrpc_client_options_release(options);

    options = pair_client_options(&pair);
    callbacks.struct_size = 3;
    CHECK_INVALID(esrpc_connection_connect(options, &callbacks, &pair.client, &pair.client_connection));
    callbacks.struct_size = sizeof callbacks;
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":message-type"), 4));
    CHECK_OK(esrpc_client_options_set_handshake(options, headers, esrpc_text(NULL)));
    CHECK_STATUS(ESRPC_ERROR_RESERVED_HEADER,
                 esrpc_connection_connect(options, &callbacks, &pair.client, &pair.client_connection));
    CHECK(pair.client_connection == NULL);
    esrpc_client_options_release(options);
    esrpc_headers_release(headers);
    pair_end(&pair);
    CHECK_NEVER("client");
}

static void look_at_the_announced(struct party *self, const struct moment *now) {
    (void)self;
    if (!is(now, "incoming")) return;
    CHECK(esrpc_connection_get_state(now->connection) == ESRPC_CONNECTION_STATE_OPEN);
    CHECK_NEVER("server protocol");
}

static void a_server_gets_its_connection_by_accepting_it_before_connect_is_delivered(void) {
    struct pair pair;
    pair_begin(&pair);
    pair.listener.hook = look_at_the_announced;
    pair_connect(&pair);
    pair_end(&pair);
    CHECK_EVENTS("server", "accepted", "protocol CONNECT connect", "shutdown", "destroy");
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(the_handle_is_stored_before_the_first_callback),
        TEST(a_connection_that_could_be_made_is_set_up_once_and_first),
        TEST(a_connection_that_could_not_be_made_gets_the_reason_and_then_only_on_destroy),
        TEST(without_the_handshake_option_setup_comes_before_connect_is_sent),
        TEST(with_the_handshake_option_setup_waits_for_the_ack_and_keeps_it),
        TEST(with_the_handshake_option_a_refusal_is_a_failed_setup),
        TEST(a_server_that_goes_away_before_the_ack_is_a_failed_setup),
        TEST(close_and_abort_before_the_ack_cancel_the_setup),
        TEST(close_and_abort_before_the_dial_cancel_the_setup),
        TEST(before_setup_everything_but_ending_it_returns_not_ready),
        TEST(a_connect_that_fails_at_once_makes_nothing_and_calls_nothing_back),
        TEST(a_server_gets_its_connection_by_accepting_it_before_connect_is_delivered),
    };
    return RUN_TESTS(tests, argc, argv);
}
