/* What a stranger at the other end can neither grow nor hold up. */
#include "raw_peer.h"

/* An operation's first message on a stream that the server refuses or takes. */
static void raw_open_stream(struct raw *raw, int32_t id, int32_t flags) {
    raw_send_message(raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, flags, id, "test#Operation", "");
}

static void refusals_that_the_peer_does_not_read_stop_the_server_from_reading(void) {
    struct pair pair;
    struct raw raw;
    int32_t opened;
    pair_begin(&pair);
    pair.ignore_streams = true;
    call_server_with_little_room(&pair, &raw);
    opened = raw_open_until_unread(&raw, pair.server_connection);
    await_loop(pair.server_connection);
    CHECK(esrpc_connection_get_outbound_size(pair.server_connection) <= UNASKED_LIMIT + ONE_MORE);

    /* Once the peer reads, everything goes on: each of its streams is refused. */
    for (int32_t id = 1; id <= opened; id++) {
        esrpc_message *refusal = raw_await_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_ERROR);
        CHECK(esrpc_message_get_stream_id(refusal) == id);
        esrpc_message_release(refusal);
    }
    raw_close(&raw);
    await("server shutdown");
    pair_end(&pair);
}

static void end_at_once(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "message")) CHECK_OK(esrpc_stream_close(now->stream));
}

static void ends_that_the_peer_does_not_read_stop_the_server_from_reading(void) {
    struct pair pair;
    struct raw raw;
    pair_begin(&pair);
    pair.handler.hook = end_at_once;
    call_server_with_little_room(&pair, &raw);
    raw_open_until_unread(&raw, pair.server_connection);
    await_loop(pair.server_connection);
    CHECK(esrpc_connection_get_outbound_size(pair.server_connection) <= UNASKED_LIMIT + ONE_MORE);
    raw_close(&raw);
    await("server shutdown");
    pair_end(&pair);
}

static void the_applications_own_messages_do_not_stop_the_reading(void) {
    struct pair pair;
    struct raw raw;
    pair_begin(&pair);
    pair.keep_streams = true;
    call_server(&pair, &raw);
    raw_open_stream(&raw, 1, 0);
    await("handler accepted");
    CHECK_OK(send_zeros(pair.handler_stream, TOO_MUCH, NULL));
    for (int i = 0; i < 3; i++) raw_send_message(&raw, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "still here");
    await_count("server protocol PING still here", 3);
    raw_close(&raw);
    await("server shutdown");
    pair_end(&pair);
}

static void a_server_takes_as_many_streams_as_the_limit_and_refuses_the_next(void) {
    struct pair pair;
    struct raw raw;
    esrpc_message *refusal;
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_max_streams(pair.server_options, 3));
    call_server(&pair, &raw);
    for (int32_t id = 1; id <= 4; id++) raw_open_stream(&raw, id, 0);
    refusal = raw_await_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_ERROR);
    CHECK(esrpc_message_get_stream_id(refusal) == 4);
    CHECK(esrpc_message_get_flags(refusal) == LAST);
    CHECK(strstr((const char *)esrpc_message_get_payload(refusal).data, "3 streams are open") != NULL);
    esrpc_message_release(refusal);
    CHECK_COUNT(3, "handler accepted");

    /* The connection stays, and a stream that ends makes room for another. */
    raw_send_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, LAST, 1, NULL, "");
    await("handler closed OK");
    raw_open_stream(&raw, 5, 0);
    await_count("handler accepted", 4);
    raw_close(&raw);
    await("server shutdown");
    pair_end(&pair);
}

static void the_usual_limit_is_1000_streams(void) {
    struct pair pair;
    struct raw raw;
    esrpc_message *refusal;
    pair_begin(&pair);
    call_server(&pair, &raw);
    for (int32_t id = 1; id <= 1001; id++) raw_open_stream(&raw, id, 0);
    refusal = raw_await_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_ERROR);
    CHECK(esrpc_message_get_stream_id(refusal) == 1001);
    esrpc_message_release(refusal);
    CHECK_COUNT(1000, "handler accepted");
    raw_close(&raw);
    await("server shutdown");
    pair_end(&pair);
}

/* Causes one abnormal event too many, which ends the connection of the server. */
static void expect_end_for_abnormal_events(struct pair *pair, struct raw *raw) {
    esrpc_message_release(raw_await_message(raw, ESRPC_MESSAGE_TYPE_PROTOCOL_ERROR));
    raw_close(raw);
    await("server shutdown TOO_MANY_ABNORMAL_EVENTS");
    check_end_message_says(pair->server_connection, "abnormal_event_limit");
}

static void late_messages_are_taken_up_to_the_limit(void) {
    for (int outside = 0; outside <= 1; outside++) {
        struct pair pair;
        struct raw raw;
        recorder_clear();
        pair_begin(&pair);
        CHECK_OK(esrpc_connection_options_set_abnormal_event_limit(pair.server_options, 1, 20));
        pair.handler.hook = end_at_once;
        call_server(&pair, &raw);
        raw_open_stream(&raw, 1, 0);
        esrpc_message_release(raw_await_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE));
        await("handler closed OK");
        for (int i = 0; i < 20; i++) raw_send_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 1, NULL, "late");
        raw_send_message(&raw, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "still here");
        await("server protocol PING still here");
        if (outside) {
            /* The second that a new one takes has hardly passed; two of them can only be one too many. */
            for (int i = 0; i < 40; i++)
                raw_send_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 1, NULL, "late");
            expect_end_for_abnormal_events(&pair, &raw);
        } else {
            raw_close(&raw);
            await("server shutdown");
        }
        pair_end(&pair);
    }
}

static void streams_ended_before_their_answer_are_taken_up_to_the_limit(void) {
    struct pair pair;
    struct raw raw;
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_abnormal_event_limit(pair.server_options, 1, 20));
    call_server(&pair, &raw);
    for (int32_t id = 1; id <= 60; id++) {
        raw_open_stream(&raw, id, 0);
        raw_send_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, LAST, id, NULL, "");
    }
    expect_end_for_abnormal_events(&pair, &raw);
    CHECK(count_of("handler closed OK") >= 20);
    pair_end(&pair);
}

static void a_request_that_ends_its_stream_is_not_an_abnormal_event(void) {
    struct pair pair;
    struct raw raw;
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_abnormal_event_limit(pair.server_options, 1, 1));
    call_server(&pair, &raw);
    for (int32_t id = 1; id <= 50; id++) raw_open_stream(&raw, id, LAST);
    await_count("handler closed OK", 50);
    raw_close(&raw);
    await("server shutdown PEER_CLOSED");
    pair_end(&pair);
}

static void take_time(struct party *self, const struct moment *now) {
    int64_t until = now_ns() + 100 * 1000;
    (void)self;
    if (is(now, "closed"))
        while (now_ns() < until) {}
}

static void many_streams_that_end_at_once_do_not_hold_up_the_others(void) {
    enum { STREAMS = 500 };
    struct pair pair;
    struct raw crowd, probe;
    struct gate gate;
    esrpc_connection *crowded;
    pair_begin(&pair);
    pair.handler.hook = take_time; /* in all 50 ms, where a turn is 1 ms */
    call_server(&pair, &crowd);
    for (int32_t id = 1; id <= STREAMS; id++) raw_open_stream(&crowd, id, 0);
    await_count("handler accepted", STREAMS);
    crowded = esrpc_connection_acquire(pair.server_connection);
    raw_dial(&probe, &pair);
    raw_send_message(&probe, ESRPC_MESSAGE_TYPE_CONNECT, 0, 0, NULL, "probe");
    raw_expect(&probe, ESRPC_MESSAGE_TYPE_CONNECT_ACK, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, "ack");

    hold_loop(crowded, &gate);
    CHECK_OK(esrpc_connection_abort(crowded));
    raw_send_message(&probe, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "probe");
    gate_open(&gate);
    await("server protocol PING probe");
    await("server shutdown OK");
    CHECK(place_of("server protocol PING probe", true) < place_of("handler closed", true));
    CHECK_COUNT(STREAMS, "handler closed");
    CHECK(place_of("handler closed", true) < place_of("server shutdown", true));
    raw_close(&crowd);
    raw_close(&probe);
    await_count("server shutdown", 2);
    esrpc_connection_release(crowded);
    pair_end(&pair);
}

static void slow_message(struct party *self, const struct moment *now) {
    int64_t until = now_ns() + 200 * 1000;
    (void)self;
    if (is(now, "protocol") && is_text(esrpc_message_get_payload(now->message), "busy"))
        while (now_ns() < until) {}
}

static void messages_that_take_time_do_not_hold_up_the_others(void) {
    enum { MESSAGES = 200 };
    struct pair pair;
    struct raw busy, probe;
    struct gate gate;
    pair_begin(&pair);
    pair.server.hook = slow_message; /* in all 40 ms, where a turn is 1 ms */
    call_server(&pair, &busy);
    raw_dial(&probe, &pair);
    raw_send_message(&probe, ESRPC_MESSAGE_TYPE_CONNECT, 0, 0, NULL, "probe");
    raw_expect(&probe, ESRPC_MESSAGE_TYPE_CONNECT_ACK, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, "ack");
    hold_loop(pair.server_connection, &gate);
    for (int i = 0; i < MESSAGES; i++) raw_send_message(&busy, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "busy");
    raw_send_message(&probe, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "probe");
    gate_open(&gate);
    await_count("server protocol PING busy", MESSAGES);
    await("server protocol PING probe");
    CHECK(place_of("server protocol PING probe", true) < place_of("server protocol PING busy", true));
    raw_close(&busy);
    raw_close(&probe);
    await_count("server shutdown", 2);
    pair_end(&pair);
}

/* Longer than a connection's turn. */
static void take_the_whole_turn(struct party *self, const struct moment *now) {
    int64_t until = now_ns() + 3 * 1000000;
    (void)self;
    if (is(now, "message"))
        while (now_ns() < until) continue;
}

/* A prelude is checked as soon as it is there, also if the turn of the connection ends just before it. */
static void a_wrong_prelude_behind_a_turn_ends_the_connection(void) {
    /* It announces 1 GiB, and its checksum is wrong. */
    static const uint8_t wrong[16] = {0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4};
    static uint8_t both[20000];
    struct pair pair;
    struct raw raw;
    uint8_t *payload = (uint8_t *)calloc(1, 17000);
    CHECK(payload != NULL);
    pair_begin(&pair);
    pair.handler.hook = take_the_whole_turn;
    call_server(&pair, &raw);
    raw_open_stream(&raw, 1, 0);
    await("handler message");
    esrpc_buffer *buffer =
        raw_message(ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 1, NULL, bytes(payload, 17000));
    esrpc_bytes message = esrpc_buffer_get_bytes(buffer);
    CHECK(message.len + sizeof wrong <= sizeof both);
    memcpy(both, message.data, message.len);
    memcpy(both + message.len, wrong, sizeof wrong);
    CHECK(raw_send(&raw, both, message.len + sizeof wrong));
    await("server shutdown PRELUDE_CHECKSUM");
    esrpc_buffer_release(buffer);
    free(payload);
    raw_close(&raw);
    pair_end(&pair);
}

static void handshake_messages_that_go_the_wrong_way_are_violations(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw raw;
    pair_begin(&pair);
    call_server(&pair, &raw);
    raw_send_message(&raw, ESRPC_MESSAGE_TYPE_CONNECT_ACK, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, 0, NULL, "mine");
    esrpc_message_release(raw_await_message(&raw, ESRPC_MESSAGE_TYPE_PROTOCOL_ERROR));
    raw_close(&raw);
    await("server shutdown PROTOCOL_VIOLATION");
    pair_end(&pair);
    CHECK_NEVER("server protocol CONNECT_ACK");

    recorder_clear();
    pair_begin(&pair);
    serve_client(&pair, &listener, &raw);
    raw_send_message(&raw, ESRPC_MESSAGE_TYPE_CONNECT, 0, 0, NULL, "mine");
    esrpc_message_release(raw_await_message(&raw, ESRPC_MESSAGE_TYPE_PROTOCOL_ERROR));
    raw_close(&raw);
    await("client shutdown PROTOCOL_VIOLATION");
    raw_listener_close(&listener);
    pair_end(&pair);
    CHECK_NEVER("client protocol CONNECT");
}

static void a_clients_name_cannot_pass_for_another(void) {
    static const char ending[] = "\0\n\x1b[2J\x9b", shown[] = "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd[2J\xef\xbf\xbd";
    char name[40], expected[80];
    struct pair pair;
    struct sockaddr_un address;
    struct raw raw;
    if (!over_unix_socket) return; /* addresses of TCP are not names */
    patient_pair_begin(&pair);
    pair_listen(&pair);
    int descriptor = raw_socket(AF_UNIX);
    snprintf(name, sizeof name, "esrpc-test-trusted-%ld", (long)getpid());
    socklen_t len = unix_address(name, &address);
    memcpy((char *)&address + len, ending, sizeof ending - 1);
    CHECK(bind(descriptor, (const struct sockaddr *)&address, (socklen_t)(len + sizeof ending - 1)) == 0);
    raw_dial_from(&raw, descriptor, &pair);
    raw_send_connect(&raw);
    await("server protocol CONNECT connect");
    snprintf(expected, sizeof expected, "unix:@%s%s", name, shown);
    CHECK(strcmp(esrpc_connection_get_remote_address(pair.server_connection), expected) == 0);
    raw_close(&raw);
    await("server shutdown");
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(refusals_that_the_peer_does_not_read_stop_the_server_from_reading),
        TEST(ends_that_the_peer_does_not_read_stop_the_server_from_reading),
        TEST(the_applications_own_messages_do_not_stop_the_reading),
        TEST(a_server_takes_as_many_streams_as_the_limit_and_refuses_the_next),
        TEST(the_usual_limit_is_1000_streams),
        TEST(late_messages_are_taken_up_to_the_limit),
        TEST(streams_ended_before_their_answer_are_taken_up_to_the_limit),
        TEST(a_request_that_ends_its_stream_is_not_an_abnormal_event),
        TEST(many_streams_that_end_at_once_do_not_hold_up_the_others),
        TEST(messages_that_take_time_do_not_hold_up_the_others),
        TEST(a_wrong_prelude_behind_a_turn_ends_the_connection),
        TEST(handshake_messages_that_go_the_wrong_way_are_violations),
        TEST(a_clients_name_cannot_pass_for_another),
    };
    return RUN_TESTS(tests, argc, argv);
}
