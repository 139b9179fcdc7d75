/* Promise 2: shutdown is exactly once and last, with the reason. */
#include "harness.h"

static void closing_says_ok_on_this_side_and_peer_closed_on_the_other(void) {
    struct pair pair;
    pair_open(&pair);
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    await("client shutdown OK");
    await("server shutdown PEER_CLOSED");
    CHECK(strcmp(esrpc_connection_get_end_message(pair.client_connection), "") == 0);
    CHECK(strcmp(esrpc_connection_get_end_message(pair.server_connection), "") != 0);
    pair_end(&pair);

    recorder_clear();
    pair_open(&pair);
    CHECK_OK(esrpc_connection_close(pair.server_connection, ESRPC_OK));
    await("server shutdown OK");
    await("client shutdown PEER_CLOSED");
    pair_end(&pair);
}

static void the_reason_given_to_close_is_the_reason_of_the_shutdown(void) {
    static const esrpc_status reasons[] = {1000, 1234, INT32_MAX};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        struct pair pair;
        esrpc_status reason = ESRPC_OK;
        recorder_clear();
        pair_open(&pair);
        CHECK_OK(esrpc_connection_close(pair.client_connection, reasons[i]));
        CHECK_ENDED(reason = esrpc_connection_wait_shutdown(pair.client_connection, PATIENCE_MS));
        CHECK(reason == reasons[i]);
        CHECK(esrpc_connection_get_end_status(pair.client_connection) == reasons[i]);
        CHECK_ONCE("client shutdown"); /* the wait ends when on_shutdown has returned */
        await("server shutdown PEER_CLOSED");
        pair_end(&pair);
    }
}

static void a_number_that_is_not_a_reason_is_refused_and_closes_nothing(void) {
    static const esrpc_status numbers[] = {-1, 999, 600, 13, INT32_MIN, ESRPC_ERROR_IO, ESRPC_ERROR_INTERNAL};
    struct pair pair;
    pair_open(&pair);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        CHECK_INVALID(esrpc_connection_close(pair.client_connection, numbers[i]));
    CHECK(esrpc_connection_is_open(pair.client_connection));
    pair_end(&pair);
}

static void the_first_reason_stays(void) {
    struct pair pair;
    struct gate gate;
    pair_open(&pair);
    hold_loop(pair.client_connection, &gate);
    CHECK_OK(esrpc_connection_close(pair.client_connection, 1001));
    CHECK_OK(esrpc_connection_close(pair.client_connection, 1002));
    CHECK(esrpc_connection_get_state(pair.client_connection) == ESRPC_CONNECTION_STATE_CLOSING);
    CHECK(esrpc_connection_get_end_status(pair.client_connection) == ESRPC_OK); /* it has not ended */
    gate_open(&gate);
    await("client shutdown 1001");
    CHECK_OK(esrpc_connection_close(pair.client_connection, 1003));
    CHECK_OK(esrpc_connection_abort(pair.client_connection));
    CHECK(esrpc_connection_get_end_status(pair.client_connection) == 1001);
    pair_end(&pair);
    CHECK_ONCE("client shutdown");
}

static void both_sides_closing_at_once_each_get_one_shutdown(void) {
    for (int i = 0; i < 20; i++) {
        struct pair pair;
        recorder_clear();
        pair_open(&pair);
        CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
        CHECK_OK(esrpc_connection_close(pair.server_connection, ESRPC_OK));
        await("client shutdown");
        await("server shutdown");
        pair_end(&pair);
    }
}

static void shutdown_comes_after_every_flush_and_every_on_closed_and_before_on_destroy(void) {
    struct pair pair;
    struct party first = a_party("first-call", NULL, NULL), second = a_party("second-call", NULL, NULL);
    esrpc_stream *a, *b;
    struct gate gate;
    pair_open(&pair);
    a = open_stream(pair.client_connection, &first);
    b = open_stream(pair.client_connection, &second);
    await_count("handler message first", 2);
    hold_loop(pair.client_connection, &gate);
    CHECK_OK(send_text(a, 0, "more", "one"));
    CHECK_OK(send_text(b, 0, "more", "two"));
    CHECK_OK(ping(pair.client_connection, "", "three"));
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    gate_open(&gate);
    await("client shutdown OK");
    CHECK_EVENTS("flush", "one OK", "two OK", "three OK");
    CHECK_BEFORE("flush", "first-call closed CONNECTION_CLOSED");
    CHECK_BEFORE("first-call closed", "second-call closed CONNECTION_CLOSED"); /* in the order of their ids */
    CHECK_BEFORE("second-call closed", "client shutdown OK");
    await("server shutdown PEER_CLOSED");
    CHECK_BEFORE("handler closed PEER_CLOSED", "server shutdown PEER_CLOSED");
    esrpc_stream_release(a);
    esrpc_stream_release(b);
    pair_end(&pair);
    CHECK_BEFORE("client shutdown", "client destroy");
}

static void try_to_go_on(struct party *self, const struct moment *now) {
    (void)self;
    if (!is(now, "protocol")) return;
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, ping(now->connection, "", "ping"));
    CHECK_OK(esrpc_connection_close(now->connection, 1234));
}

static void a_refused_connect_is_delivered_and_ends_both_sides(void) {
    struct pair pair;
    pair_begin(&pair);
    pair.no_handshake = true;
    pair.refuse_connect = true;
    pair.client.hook = try_to_go_on; /* too late to send, not to give the reason */
    pair_connect(&pair);
    CHECK_OK(send_protocol(pair.client_connection, ESRPC_MESSAGE_TYPE_CONNECT, 0, "let me in", NULL));
    await("client shutdown");
    await("server shutdown");
    pair_end(&pair);
    CHECK_EVENTS("client", "setup OK", "protocol CONNECT_ACK ack", "shutdown 1234", "destroy");
    CHECK_EVENTS("server", "accepted", "protocol CONNECT let me in", "shutdown OK", "destroy");
    CHECK_NEVER("flush");
}

static void a_last_protocol_message_ends_the_connection_well_for_its_sender_only(void) {
    struct pair pair;
    pair_open(&pair);
    CHECK_OK(send_protocol(pair.client_connection, ESRPC_MESSAGE_TYPE_PING, LAST, "bye", "bye"));
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, ping(pair.client_connection, "too late", "late"));
    await("client shutdown OK");
    await("server shutdown PEER_CLOSED");
    pair_end(&pair);
    CHECK_EVENTS("flush", "bye OK");
    CHECK_EVENTS("server", "accepted", "protocol CONNECT connect", "protocol PING bye (last)", "shutdown PEER_CLOSED",
                 "destroy");

    recorder_clear();
    pair_open(&pair);
    CHECK_OK(send_protocol(pair.server_connection, ESRPC_MESSAGE_TYPE_INTERNAL_ERROR, LAST, "broken", "error"));
    await("server shutdown OK");
    await("client shutdown PEER_CLOSED");
    pair_end(&pair);
    CHECK_EVENTS("flush", "error OK");
    CHECK_EVENTS("client", "setup OK", "protocol INTERNAL_ERROR broken (last)", "shutdown PEER_CLOSED", "destroy");
}

static void after_close_everything_returns_connection_closed(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream_callbacks callbacks = stream_callbacks();
    esrpc_stream *open, *unused, *none = NULL;
    struct gate gate;
    pair_open(&pair);
    open = open_stream(pair.client_connection, &party);
    unused = new_stream(pair.client_connection, &party);
    await("handler message first");
    hold_loop(pair.client_connection, &gate);
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    for (int ended = 0; ended <= 1; ended++) {
        CHECK(!esrpc_connection_is_open(pair.client_connection));
        CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, ping(pair.client_connection, "", "ping"));
        CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, send_text(open, 0, "", "send"));
        CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, esrpc_stream_close(open));
        CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, activate(unused, 0, "", "activation"));
        CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED,
                     esrpc_connection_new_stream(pair.client_connection, &callbacks, &party, &none));
        CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, esrpc_connection_pause_reading(pair.client_connection));
        CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, esrpc_connection_resume_reading(pair.client_connection));
        gate_open(&gate);
        await("client shutdown OK");
    }
    esrpc_stream_release(open);
    esrpc_stream_release(unused);
    pair_end(&pair);
    CHECK_NEVER("flush");
    CHECK_ONCE("call closed");
    CHECK_COUNT(2, "call destroy");
}

static void shutting_a_runtime_down_ends_what_lives_on_it_with_that_reason(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL), late = a_party("late", NULL, NULL);
    esrpc_client_options *options;
    esrpc_connection_callbacks callbacks = connection_callbacks();
    esrpc_stream *stream;
    esrpc_connection *none = NULL;
    pair_open(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK_OK(esrpc_runtime_shutdown(pair.client_runtime));
    CHECK_OK(esrpc_runtime_shutdown(pair.client_runtime));
    await("client shutdown RUNTIME_SHUTDOWN");
    await("server shutdown");
    options = pair_client_options(&pair);
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_connect(options, &callbacks, &late, &none));
    esrpc_client_options_release(options);
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_runtime_join(pair.client_runtime, 1)); /* we hold handles */
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_EVENTS("call", "closed RUNTIME_SHUTDOWN", "destroy");
    CHECK_NEVER("late");
}

static void shutting_a_runtime_down_cancels_setups_and_closes_listeners(void) {
    struct pair pair;
    pair_begin(&pair);
    pair.ignore_connect = true;
    pair_listen(&pair);
    pair_dial(&pair);
    await("server protocol CONNECT connect");
    CHECK_OK(esrpc_runtime_shutdown(pair.client_runtime));
    await("client setup RUNTIME_SHUTDOWN");
    CHECK_OK(esrpc_runtime_shutdown(pair.server_runtime));
    await("listener closed RUNTIME_SHUTDOWN");
    esrpc_listener_release(pair.listening);
    pair.listening = NULL;
    pair_end(&pair);
    CHECK_EVENTS("client", "setup RUNTIME_SHUTDOWN", "destroy");
    CHECK_EVENTS("listener", "incoming", "closed RUNTIME_SHUTDOWN", "destroy");
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(closing_says_ok_on_this_side_and_peer_closed_on_the_other),
        TEST(the_reason_given_to_close_is_the_reason_of_the_shutdown),
        TEST(a_number_that_is_not_a_reason_is_refused_and_closes_nothing),
        TEST(the_first_reason_stays),
        TEST(both_sides_closing_at_once_each_get_one_shutdown),
        TEST(shutdown_comes_after_every_flush_and_every_on_closed_and_before_on_destroy),
        TEST(a_refused_connect_is_delivered_and_ends_both_sides),
        TEST(a_last_protocol_message_ends_the_connection_well_for_its_sender_only),
        TEST(after_close_everything_returns_connection_closed),
        TEST(shutting_a_runtime_down_ends_what_lives_on_it_with_that_reason),
        TEST(shutting_a_runtime_down_cancels_setups_and_closes_listeners),
    };
    return RUN_TESTS(tests, argc, argv);
}
