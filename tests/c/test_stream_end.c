/* Promise 3: on_closed is exactly once per stream that was activated, whoever ends it. */
#include "harness.h"

static struct party call_party(void) {
    return a_party("call", NULL, NULL);
}

static void a_stream_that_the_client_ends_is_closed_once_on_both_sides(void) {
    struct pair pair;
    struct party party = call_party();
    esrpc_stream *stream;
    pair_open(&pair);
    stream = open_stream(pair.client_connection, &party);
    CHECK_OK(send_text(stream, LAST, "enough", "enough"));
    CHECK_OK(esrpc_stream_wait_closed(stream, PATIENCE_MS));
    CHECK_ONCE("call closed OK"); /* the wait ends when on_closed has returned */
    CHECK(esrpc_stream_get_state(stream) == ESRPC_STREAM_STATE_CLOSED);
    CHECK(esrpc_stream_get_end_status(stream) == ESRPC_OK);
    CHECK(strcmp(esrpc_stream_get_end_message(stream), "") == 0);
    await("handler closed");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_EVENTS("call", "closed OK", "destroy");
    CHECK_EVENTS("handler", "accepted", "message first", "message enough (last)", "closed OK", "destroy");
    CHECK_EVENTS("flush", "enough OK");
}

static void a_stream_that_the_server_ends_is_closed_once_on_both_sides(void) {
    struct pair pair;
    struct party party = call_party();
    esrpc_stream *stream;
    pair_begin(&pair);
    pair.keep_streams = true;
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK_OK(esrpc_stream_send_message(pair.handler_stream, ESRPC_MESSAGE_TYPE_APPLICATION_ERROR, LAST, NULL,
                                       esrpc_text("no"), NULL, NULL));
    await("call closed OK");
    await("handler closed OK");
    CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, send_text(stream, 0, "too late", "late"));
    CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, send_text(pair.handler_stream, 0, "too late", "late"));
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_EVENTS("call", "error no (last)", "closed OK", "destroy");
    CHECK_EVENTS("handler", "accepted", "message first", "closed OK", "destroy");
    CHECK_NEVER("flush");
}

static void a_stream_may_end_with_its_first_message(void) {
    struct pair pair;
    struct party party = call_party();
    esrpc_stream *stream;
    pair_open(&pair);
    stream = new_stream(pair.client_connection, &party);
    CHECK_OK(activate(stream, LAST, "only", "only"));
    await("call closed OK");
    await("handler closed OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_EVENTS("handler", "accepted", "message only (last)", "closed OK", "destroy");
    CHECK_BEFORE("flush only OK", "call closed OK");
}

static void both_sides_may_end_a_stream_at_once(void) {
    for (int first_to_go = 0; first_to_go <= 1; first_to_go++) {
        struct pair pair;
        struct party party = call_party();
        struct gate client_gate, server_gate;
        esrpc_stream *stream;
        recorder_clear();
        pair_begin(&pair);
        pair.keep_streams = true;
        pair_connect(&pair);
        stream = open_stream(pair.client_connection, &party);
        await("handler message first");
        hold_loop(pair.client_connection, &client_gate);
        hold_loop(pair.server_connection, &server_gate);
        CHECK_OK(send_text(stream, LAST, "", "client"));
        CHECK_OK(send_text(pair.handler_stream, LAST, "", "server"));
        gate_open(first_to_go == 0 ? &client_gate : &server_gate);
        await(first_to_go == 0 ? "flush client" : "flush server");
        gate_open(first_to_go == 0 ? &server_gate : &client_gate);
        await("call closed OK");
        await("handler closed OK");
        esrpc_stream_release(stream);
        pair_end(&pair);
        CHECK_ONCE("call closed");
        CHECK_ONCE("flush client");
        CHECK_ONCE("flush server");
    }
}

static void a_stream_that_was_not_activated_has_no_on_closed(void) {
    struct pair pair;
    struct party forgotten = a_party("forgotten", NULL, NULL), kept = a_party("kept", NULL, NULL);
    struct party refused = a_party("refused", NULL, NULL);
    esrpc_stream *stream, *refused_stream;
    pair_begin(&pair);
    pair.no_handshake = true;
    pair_connect(&pair);
    esrpc_stream_release(new_stream(pair.client_connection, &forgotten));
    await("forgotten destroy");
    refused_stream = new_stream(pair.client_connection, &refused);
    CHECK_STATUS(ESRPC_ERROR_HANDSHAKE_PENDING, activate(refused_stream, 0, "", "activation"));
    stream = new_stream(pair.client_connection, &kept);
    CHECK_STATUS(ESRPC_ERROR_STREAM_NOT_ACTIVATED, esrpc_stream_wait_closed(stream, PATIENCE_MS));
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    await("client shutdown");
    CHECK(esrpc_stream_get_state(stream) == ESRPC_STREAM_STATE_NEW);
    esrpc_stream_release(stream);
    esrpc_stream_release(refused_stream);
    pair_end(&pair);
    CHECK_EVENTS("forgotten", "destroy");
    CHECK_EVENTS("kept", "destroy");
    CHECK_EVENTS("refused", "destroy");
    CHECK_NEVER("flush");
}

static void flushes_in_the_order_of_the_sends_come_before_on_closed_and_that_before_on_destroy(void) {
    struct pair pair;
    struct party party = call_party();
    struct gate gate;
    esrpc_stream *stream;
    pair_open(&pair);
    hold_loop(pair.client_connection, &gate);
    stream = new_stream(pair.client_connection, &party);
    CHECK_OK(activate(stream, 0, "", "a"));
    CHECK_OK(send_text(stream, 0, "", "b"));
    CHECK_OK(send_zeros(stream, 100000, "c"));
    CHECK_OK(send_text(stream, LAST, "", "d"));
    esrpc_stream_release(stream);
    gate_open(&gate);
    await("call destroy");
    CHECK_EVENTS("flush", "a OK", "b OK", "c OK", "d OK");
    CHECK_BEFORE("flush", "call closed OK");
    CHECK_BEFORE("call closed OK", "call destroy");
    pair_end(&pair);
}

static void after_the_last_message_is_accepted_sends_return_stream_closed(void) {
    struct pair pair;
    struct party party = call_party();
    struct gate gate;
    esrpc_stream *stream;
    pair_open(&pair);
    stream = open_stream(pair.client_connection, &party);
    hold_loop(pair.client_connection, &gate);
    CHECK_OK(esrpc_stream_close(stream));
    for (int ended = 0; ended <= 1; ended++) {
        CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, send_text(stream, 0, "", "late"));
        CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, send_text(stream, LAST, "", "late"));
        CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, esrpc_stream_close(stream));
        CHECK_STATUS(ESRPC_ERROR_STREAM_ALREADY_ACTIVATED, activate(stream, 0, "", "late"));
        CHECK(esrpc_stream_get_state(stream) == (ended ? ESRPC_STREAM_STATE_CLOSED : ESRPC_STREAM_STATE_CLOSING));
        gate_open(&gate);
        await("call closed OK");
    }
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_NEVER("flush");
}

/* The server does not read, so the client's last message waits; the server still sends. */
static void messages_of_the_peer_come_until_the_last_message_is_written(void) {
    struct pair pair;
    struct party party = call_party();
    esrpc_stream *stream;
    pair_begin(&pair);
    pair.keep_streams = true;
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK_OK(esrpc_connection_pause_reading(pair.server_connection));
    CHECK_OK(send_zeros(stream, TOO_MUCH, "much"));
    CHECK_OK(send_text(stream, LAST, "bye", "bye"));
    CHECK_OK(send_text(pair.handler_stream, 0, "still here", NULL));
    await("call message still here");
    CHECK(esrpc_stream_get_state(stream) == ESRPC_STREAM_STATE_CLOSING);
    CHECK_OK(esrpc_connection_resume_reading(pair.server_connection));
    await("call closed OK");
    await("handler closed OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_EVENTS("call", "message still here", "closed OK", "destroy");
    CHECK_EVENTS("flush", "much OK", "bye OK");
}

static void no_message_comes_after_on_closed(void) {
    struct pair pair;
    struct party party = call_party();
    struct gate gate;
    esrpc_stream *stream;
    pair_begin(&pair);
    pair.keep_streams = true;
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    hold_loop(pair.server_connection, &gate);
    CHECK_OK(esrpc_stream_close(stream));
    await("call closed OK");
    /* The server has not heard of that yet. */
    CHECK_OK(send_text(pair.handler_stream, 0, "late", "a"));
    CHECK_OK(send_text(pair.handler_stream, LAST, "late", "b"));
    CHECK_OK(ping(pair.server_connection, "after", "ping"));
    gate_open(&gate);
    await("client protocol PING after");
    await("handler closed OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_EVENTS("call", "closed OK", "destroy");
    CHECK_COUNT(3, "flush");
}

/* The client does not read, so what the server sends waits; then the client ends the stream. */
static void sends_that_wait_when_the_peer_ends_the_stream_get_stream_closed(void) {
    struct pair pair;
    struct party party = call_party();
    esrpc_stream *stream;
    pair_begin(&pair);
    pair.keep_streams = true;
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK_OK(esrpc_connection_pause_reading(pair.client_connection));
    CHECK_OK(send_zeros(pair.handler_stream, TOO_MUCH, "a"));
    CHECK_OK(send_text(pair.handler_stream, 0, "", "b"));
    CHECK_OK(send_text(pair.handler_stream, LAST, "", "c"));
    CHECK_OK(ping(pair.server_connection, "after", "ping"));
    CHECK_OK(esrpc_stream_close(stream));
    await("handler closed OK");
    CHECK_EVENTS("flush", "a STREAM_CLOSED", "b STREAM_CLOSED", "c STREAM_CLOSED");
    CHECK_BEFORE("flush c", "handler closed OK");
    await("call closed OK");
    CHECK_OK(esrpc_connection_resume_reading(pair.client_connection));
    await("client protocol PING after"); /* the connection goes on */
    await("flush ping OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_EVENTS("call", "closed OK", "destroy");
}

static void try_to_answer(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "message")) CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, send_text(now->stream, 0, "answer", "answer"));
    if (is(now, "closed")) CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, esrpc_stream_close(now->stream));
}

static void the_last_message_of_the_peer_cannot_be_answered(void) {
    struct pair pair;
    struct party party = call_party();
    esrpc_stream *stream;
    pair_begin(&pair);
    pair.handler.hook = try_to_answer;
    pair_connect(&pair);
    stream = new_stream(pair.client_connection, &party);
    CHECK_OK(activate(stream, LAST, "only", NULL));
    await("handler closed OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_NEVER("flush");
}

static void a_stream_ends_with_its_connection_and_for_its_reason(void) {
    struct pair pair;
    struct party party = call_party();
    esrpc_stream *stream;
    pair_begin(&pair);
    pair.keep_streams = true;
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK_OK(esrpc_connection_close(pair.client_connection, 1234));
    await("call closed CONNECTION_CLOSED");
    await("handler closed PEER_CLOSED");
    CHECK(esrpc_stream_get_end_status(pair.handler_stream) == ESRPC_ERROR_PEER_CLOSED);
    CHECK(strcmp(esrpc_stream_get_end_message(pair.handler_stream), "") != 0);
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_ONCE("call closed");
}

static void what_a_stream_cannot_do_yet_returns_a_status(void) {
    struct pair pair;
    struct party party = call_party();
    esrpc_stream_callbacks callbacks = stream_callbacks();
    esrpc_stream *stream, *none = NULL;
    pair_begin(&pair);
    pair.keep_streams = true;
    pair_connect(&pair);
    stream = new_stream(pair.client_connection, &party);
    CHECK_STATUS(ESRPC_ERROR_STREAM_NOT_ACTIVATED, send_text(stream, 0, "", "early"));
    CHECK_STATUS(ESRPC_ERROR_STREAM_NOT_ACTIVATED, esrpc_stream_close(stream));
    CHECK_OK(activate(stream, 0, "first", NULL));
    CHECK_STATUS(ESRPC_ERROR_STREAM_ALREADY_ACTIVATED, activate(stream, 0, "again", "again"));
    await("handler message first");
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, activate(pair.handler_stream, 0, "", "wrong side"));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE,
                 esrpc_connection_new_stream(pair.server_connection, &callbacks, &party, &none));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_stream_wait_closed(stream, 1));
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_NEVER("flush");
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_stream_that_the_client_ends_is_closed_once_on_both_sides),
        TEST(a_stream_that_the_server_ends_is_closed_once_on_both_sides),
        TEST(a_stream_may_end_with_its_first_message),
        TEST(both_sides_may_end_a_stream_at_once),
        TEST(a_stream_that_was_not_activated_has_no_on_closed),
        TEST(flushes_in_the_order_of_the_sends_come_before_on_closed_and_that_before_on_destroy),
        TEST(after_the_last_message_is_accepted_sends_return_stream_closed),
        TEST(messages_of_the_peer_come_until_the_last_message_is_written),
        TEST(no_message_comes_after_on_closed),
        TEST(sends_that_wait_when_the_peer_ends_the_stream_get_stream_closed),
        TEST(the_last_message_of_the_peer_cannot_be_answered),
        TEST(a_stream_ends_with_its_connection_and_for_its_reason),
        TEST(what_a_stream_cannot_do_yet_returns_a_status),
    };
    return RUN_TESTS(tests, argc, argv);
}
