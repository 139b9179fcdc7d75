/* The end of what the peer sends: all of it is dispatched, what that makes this side send is written, and only then the
   connection ends. And the other way round: what this side wrote before it closed arrives. */
#include "raw_peer.h"

static const int32_t MESSAGE = ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE;

static void answer(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "message")) {
        CHECK_OK(send_text(now->stream, 0, "one", "one"));
        CHECK_OK(send_text(now->stream, 0, "two", "two"));
    }
}

/* A request and the end in one go: the loop sees both at once. */
static void request_and_end(struct pair *pair, struct raw *client) {
    struct gate gate;
    esrpc_buffer *request = raw_message(MESSAGE, 0, 1, "test#Operation", esrpc_text("request"));
    hold_loop(pair->server_connection, &gate);
    CHECK(raw_send(client, esrpc_buffer_get_bytes(request).data, esrpc_buffer_get_bytes(request).len));
    CHECK(shutdown(client->descriptor, SHUT_WR) == 0);
    gate_open(&gate);
    esrpc_buffer_release(request);
}

static void what_came_before_the_end_is_answered(void) {
    struct pair pair;
    struct raw client;
    patient_pair_begin(&pair);
    pair.handler.hook = answer;
    call_server(&pair, &client);
    request_and_end(&pair, &client);
    raw_expect(&client, MESSAGE, 0, "one");
    raw_expect(&client, MESSAGE, 0, "two");
    raw_expect_end(&client);
    raw_close(&client);
    pair_end(&pair);
    CHECK_BEFORE("flush one OK", "flush two OK");
    CHECK_EVENTS("handler", "accepted", "message request", "closed PEER_CLOSED", "destroy");
    CHECK_EVENTS("server", "accepted", "protocol CONNECT connect", "stream request", "shutdown PEER_CLOSED", "destroy");
}

/* The same with everything from the first byte on: CONNECT, a request, the end. */
static void a_whole_conversation_in_one_write_is_answered(void) {
    struct pair pair;
    struct raw client;
    struct gate gate;
    patient_pair_begin(&pair);
    pair.handler.hook = answer;
    pair_connect(&pair);
    hold_loop(pair.server_connection, &gate);
    raw_dial(&client, &pair);
    raw_send_connect(&client);
    raw_send_message(&client, MESSAGE, 0, 1, "test#Operation", "request");
    CHECK(shutdown(client.descriptor, SHUT_WR) == 0);
    gate_open(&gate);
    raw_expect(&client, ESRPC_MESSAGE_TYPE_CONNECT_ACK, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, "ack");
    raw_expect(&client, MESSAGE, 0, "one");
    raw_expect(&client, MESSAGE, 0, "two");
    raw_expect_end(&client);
    raw_close(&client);
    await("server shutdown PEER_CLOSED");
    pair_end(&pair);
}

/* More than the system takes at once. */
static void answer_much(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "message")) CHECK_OK(send_zeros(now->stream, TOO_MUCH, "much"));
}

static void an_answer_that_does_not_fit_into_one_write_is_written_all_the_same(void) {
    struct pair pair;
    struct raw client;
    patient_pair_begin(&pair);
    pair.handler.hook = answer_much;
    call_server(&pair, &client);
    request_and_end(&pair, &client);
    esrpc_message *message = raw_await_message(&client, MESSAGE);
    CHECK(esrpc_message_get_payload(message).len == TOO_MUCH);
    esrpc_message_release(message);
    raw_expect_end(&client);
    raw_close(&client);
    await("server shutdown PEER_CLOSED");
    pair_end(&pair);
    CHECK_ONCE("flush much OK");
}

static void without_half_open_ms_open_streams_end_at_once(void) {
    struct pair pair;
    struct raw client;
    patient_pair_begin(&pair);
    pair.keep_streams = true;
    call_server(&pair, &client);
    request_and_end(&pair, &client);
    await("server shutdown PEER_CLOSED");
    esrpc_status status = send_text(pair.handler_stream, 0, "late", NULL);
    CHECK(status == ESRPC_ERROR_CONNECTION_CLOSED || status == ESRPC_ERROR_STREAM_CLOSED);
    raw_expect_end(&client);
    raw_close(&client);
    pair_end(&pair);
    CHECK_EVENTS("handler", "accepted", "message request", "closed PEER_CLOSED", "destroy");
}

static void with_half_open_ms_open_streams_may_go_on(void) {
    struct pair pair;
    struct raw client;
    patient_pair_begin(&pair);
    pair.keep_streams = true;
    CHECK_OK(esrpc_connection_options_set_half_open_ms(pair.server_options, LONG_MS));
    call_server(&pair, &client);
    request_and_end(&pair, &client);
    await("handler message request");
    await_loop(pair.server_connection);
    CHECK_OK(send_text(pair.handler_stream, 0, "later", NULL));
    raw_expect(&client, MESSAGE, 0, "later");
    CHECK_OK(send_text(pair.handler_stream, LAST, "last", NULL));
    raw_expect(&client, MESSAGE, LAST, "last");
    raw_expect_end(&client);
    raw_close(&client);
    await("server shutdown PEER_CLOSED");
    pair_end(&pair);
    CHECK_EVENTS("handler", "accepted", "message request", "closed OK", "destroy");
}

static void but_not_longer_than_that(void) {
    struct pair pair;
    struct raw client;
    patient_pair_begin(&pair);
    pair.server.hook = note_end;
    CHECK_OK(esrpc_connection_options_set_half_open_ms(pair.server_options, SHORT_MS * 6));
    /* A PING would get no reply. */
    CHECK_OK(esrpc_connection_options_set_keep_alive_ping(pair.server_options, SHORT_MS * 4, 1));
    call_server(&pair, &client);
    int64_t started = now_ns();
    request_and_end(&pair, &client);
    check_ends_in_time("server", started, SHORT_MS * 6);
    check_end_message_says(pair.server_connection, "streams were open");
    raw_expect_end(&client);
    raw_close(&client);
    pair_end(&pair);
    CHECK_EVENTS("handler", "accepted", "message request", "closed PEER_CLOSED", "destroy");
}

/* The peer has closed, rather than being silent: the first write shows it. */
static void half_open_ends_when_the_peer_has_closed(void) {
    struct pair pair;
    struct raw client;
    patient_pair_begin(&pair);
    pair.keep_streams = true;
    CHECK_OK(esrpc_connection_options_set_half_open_ms(pair.server_options, LONG_MS));
    call_server(&pair, &client);
    request_and_end(&pair, &client);
    await("handler message request");
    await_loop(pair.server_connection);
    raw_close(&client);
    /* On TCP the first bytes go out before the system knows. */
    while (send_text(pair.handler_stream, 0, "anybody?", NULL) == ESRPC_OK) await_loop(pair.server_connection);
    await("server shutdown");
    CHECK_NEVER("server shutdown OK");
    pair_end(&pair);
}

static void without_open_streams_half_open_ms_keeps_nothing(void) {
    struct pair pair;
    struct raw client;
    patient_pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_half_open_ms(pair.server_options, LONG_MS));
    call_server(&pair, &client);
    CHECK(shutdown(client.descriptor, SHUT_WR) == 0);
    raw_expect_end(&client);
    raw_close(&client);
    await("server shutdown PEER_CLOSED");
    pair_end(&pair);
}

/* A part of a message, and then the end: what was whole is delivered, and the cut is told. */
static void an_end_inside_a_message_is_reported(void) {
    struct pair pair;
    struct raw client;
    patient_pair_begin(&pair);
    call_server(&pair, &client);
    raw_send_message(&client, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "whole");
    CHECK(raw_send(&client, "\0\0\0", 3));
    raw_close(&client);
    await("server shutdown INCOMPLETE");
    pair_end(&pair);
    CHECK_ONCE("server protocol PING whole");
}

/* A reader that leaves megabytes in the system's buffers until the writer has closed and is gone. */
static void all_that_was_written_before_a_close_arrives_at_a_slow_reader(void) {
    enum { LEN = 24 * 1024 * 1024 - 1024, LATE = 64 * 1024 };
    struct pair pair;
    struct raw_listener listener;
    struct raw server;
    struct party call = a_party("call", NULL, NULL);
    patient_pair_begin(&pair);
    serve_client(&pair, &listener, &server);
    esrpc_stream *stream = open_stream(pair.client_connection, &call);
    raw_expect(&server, MESSAGE, 0, "first");
    uint8_t *payload = (uint8_t *)malloc(LEN);
    CHECK(payload != NULL);
    for (size_t i = 0; i < LEN; i++) payload[i] = (uint8_t)(i * 31 + i / 251);
    CHECK_OK(esrpc_stream_send_message(stream, MESSAGE, 0, NULL, bytes(payload, LEN), on_flush, (void *)"payload"));
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    CHECK_NEVER("client shutdown");

    /* In small pieces up to what the system holds, and then nothing until the other side is gone. */
    while (server.len < LEN - LATE) CHECK(raw_read(&server, 16 * 1024) > 0);
    await("client shutdown OK");
    esrpc_message *message = raw_await_message(&server, MESSAGE);
    CHECK(esrpc_bytes_equal(esrpc_message_get_payload(message), bytes(payload, LEN)));
    esrpc_message_release(message);
    raw_expect_end(&server);
    free(payload);
    esrpc_stream_release(stream);
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
    CHECK_ONCE("flush payload OK");
    CHECK_EVENTS("call", "closed CONNECTION_CLOSED", "destroy");
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(what_came_before_the_end_is_answered),
        TEST(a_whole_conversation_in_one_write_is_answered),
        TEST(an_answer_that_does_not_fit_into_one_write_is_written_all_the_same),
        TEST(without_half_open_ms_open_streams_end_at_once),
        TEST(with_half_open_ms_open_streams_may_go_on),
        TEST(but_not_longer_than_that),
        TEST(half_open_ends_when_the_peer_has_closed),
        TEST(without_open_streams_half_open_ms_keeps_nothing),
        TEST(an_end_inside_a_message_is_reported),
        TEST(all_that_was_written_before_a_close_arrives_at_a_slow_reader),
    };
    return RUN_TESTS(tests, argc, argv);
}
