/* PINGs that the library sends, and what pausing does to the times that wait for the peer. */
#include "raw_peer.h"

static const int INTERVAL_MS = 50;

static void a_server_that_does_not_answer_a_ping_is_given_up(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw server;
    patient_pair_begin(&pair);
    pair.client.hook = note_end;
    CHECK_OK(esrpc_connection_options_set_keep_alive_ping(pair.client_options, INTERVAL_MS, SHORT_MS));
    int64_t started = now_ns();
    serve_client(&pair, &listener, &server);
    raw_expect(&server, ESRPC_MESSAGE_TYPE_PING, 0, "");
    check_ends_in_time("client", started, INTERVAL_MS + SHORT_MS);
    check_end_message_says(pair.client_connection, "timeout_ms of keep_alive_ping (150 ms)");
    raw_expect_end(&server); /* one PING was enough, though the interval is shorter than the timeout */
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
    CHECK_EVENTS("client", "setup OK", "shutdown KEEP_ALIVE_TIMED_OUT", "destroy");
}

static void so_is_a_client(void) {
    struct pair pair;
    struct raw client;
    patient_pair_begin(&pair);
    pair.server.hook = note_end;
    CHECK_OK(esrpc_connection_options_set_keep_alive_ping(pair.server_options, INTERVAL_MS, SHORT_MS));
    int64_t started = now_ns();
    call_server(&pair, &client);
    raw_expect(&client, ESRPC_MESSAGE_TYPE_PING, 0, "");
    check_ends_in_time("server", started, INTERVAL_MS + SHORT_MS);
    raw_expect_end(&client);
    raw_close(&client);
    pair_end(&pair);
    CHECK_EVENTS("server", "accepted", "protocol CONNECT connect", "shutdown KEEP_ALIVE_TIMED_OUT", "destroy");
}

/* Bytes of ours say nothing about the peer. */
static void sending_does_not_put_a_ping_off(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw server;
    struct party call = a_party("call", NULL, NULL);
    patient_pair_begin(&pair);
    pair.client.hook = note_end;
    CHECK_OK(esrpc_connection_options_set_keep_alive_ping(pair.client_options, SHORT_MS, SHORT_MS));
    serve_client(&pair, &listener, &server);
    esrpc_stream *stream = open_stream(pair.client_connection, &call);
    for (int i = 0; i < 2000 && count_of("ended client") == 0; i++) {
        esrpc_status status = send_text(stream, 0, "talk", NULL);
        CHECK(status == ESRPC_OK || status == ESRPC_ERROR_CONNECTION_CLOSED || status == ESRPC_ERROR_STREAM_CLOSED);
        pass_time(10);
    }
    await("client shutdown KEEP_ALIVE_TIMED_OUT");
    esrpc_stream_release(stream);
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
}

/* A PING is a violation then, and the handshake has its own deadline. */
static void before_the_handshake_is_done_no_ping_is_sent_nor_waited_for(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw server;
    patient_pair_begin(&pair);
    pair.client.hook = note_end;
    pair.no_handshake = true;
    CHECK_OK(esrpc_connection_options_set_keep_alive_ping(pair.client_options, 10, 20));
    CHECK_OK(esrpc_connection_options_set_handshake_timeout_ms(pair.client_options, SHORT_MS));
    raw_listen(&listener, 16);
    int64_t started = now_ns();
    dial_raw(&pair, &pair.client, &listener, &pair.client_connection);
    raw_accept(&listener, &server);
    check_ends_in_time("client", started, SHORT_MS);
    raw_expect_end(&server);
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
    CHECK_EVENTS("client", "setup OK", "shutdown HANDSHAKE_TIMED_OUT", "destroy");
}

static void answer(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "protocol") && esrpc_message_get_type(now->message) == ESRPC_MESSAGE_TYPE_PING) {
        esrpc_status status =
            esrpc_connection_send_protocol_message(now->connection, ESRPC_MESSAGE_TYPE_PING_RESPONSE, 0, NULL,
                                                   esrpc_message_get_payload(now->message), NULL, NULL);
        CHECK(status == ESRPC_OK || status == ESRPC_ERROR_CONNECTION_CLOSED); /* as the test ends */
    }
}

static void answers_keep_the_connection_up_and_only_those_to_the_application_are_delivered(void) {
    struct pair pair;
    patient_pair_begin(&pair);
    pair.server.hook = answer;
    CHECK_OK(esrpc_connection_options_set_keep_alive_ping(pair.client_options, INTERVAL_MS, LONG_MS));
    pair_connect(&pair);
    await_count("server protocol PING", 3);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(ping(pair.client_connection, "mine", NULL));
        await_count("server protocol PING", 5 + 2 * (size_t)i);
    }
    await_count("client protocol PING_RESPONSE mine", 3);
    await_count("server protocol PING", 10);
    CHECK_COUNT(3, "client protocol");
    CHECK(esrpc_connection_is_open(pair.client_connection));
    pair_end(&pair);
}

/* Any traffic from the peer is as good as a reply. */
static void any_bytes_are_a_sign_of_life(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw server;
    patient_pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_keep_alive_ping(pair.client_options, INTERVAL_MS, SHORT_MS * 6));
    serve_client(&pair, &listener, &server);
    for (size_t i = 1; i <= 8; i++) {
        esrpc_message_release(raw_await_message(&server, ESRPC_MESSAGE_TYPE_PING));
        pass_time(SHORT_MS);
        raw_send_message(&server, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "alive");
        await_count("client protocol PING alive", i);
    }
    CHECK(esrpc_connection_is_open(pair.client_connection));
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
    CHECK_NEVER("client shutdown KEEP_ALIVE_TIMED_OUT");
}

static void with_answer_pings_the_library_answers_and_the_application_sees_no_ping(void) {
    struct pair pair;
    struct raw client;
    esrpc_headers *headers = esrpc_headers_new();
    esrpc_buffer *buffer = NULL;
    patient_pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_answer_pings(pair.server_options, true));
    call_server(&pair, &client);
    CHECK_OK(esrpc_headers_add_string(headers, esrpc_text("name"), esrpc_text("value")));
    CHECK_OK(esrpc_headers_add_string(headers, esrpc_text(":content-type"), esrpc_text("text/plain")));
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":message-type"), ESRPC_MESSAGE_TYPE_PING));
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":message-flags"), 0));
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":stream-id"), 0));
    CHECK_OK(esrpc_message_encode_to_buffer(headers, esrpc_text("payload"), &buffer));
    CHECK(raw_send(&client, esrpc_buffer_get_bytes(buffer).data, esrpc_buffer_get_bytes(buffer).len));
    esrpc_buffer_release(buffer);
    esrpc_headers_release(headers);

    esrpc_message *response = raw_await_message(&client, ESRPC_MESSAGE_TYPE_PING_RESPONSE);
    esrpc_bytes value = bytes(NULL, 0);
    CHECK(is_text(esrpc_message_get_payload(response), "payload"));
    CHECK(esrpc_message_get_flags(response) == 0 && esrpc_message_get_stream_id(response) == 0);
    CHECK_OK(esrpc_headers_get_string(esrpc_message_get_headers(response), esrpc_text("name"), &value));
    CHECK(is_text(value, "value"));
    CHECK(esrpc_headers_count(esrpc_message_get_headers(response)) == 4);
    esrpc_message_release(response);
    raw_close(&client);
    pair_end(&pair);
    CHECK_NEVER("server protocol PING");
}

/* Ends the client's side, then counts what was answered until the server's end. */
static unsigned count_answers(struct raw *client) {
    unsigned answers = 0;
    CHECK(shutdown(client->descriptor, SHUT_WR) == 0);
    while (raw_read(client, 64 * 1024) > 0) {}
    while (client->len > 0) {
        esrpc_message_release(raw_await_message(client, ESRPC_MESSAGE_TYPE_PING_RESPONSE));
        answers++;
    }
    return answers;
}

static void pings_above_the_limit_are_not_answered_and_do_no_harm(void) {
    struct pair pair;
    struct raw client;
    patient_pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_answer_pings(pair.server_options, true));
    CHECK_OK(esrpc_connection_options_set_ping_answer_limit(pair.server_options, 1, 3));
    call_server(&pair, &client);
    int64_t started = now_ns();
    for (int i = 0; i < 200; i++) raw_send_message(&client, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "ping");
    unsigned answers = count_answers(&client);
    unsigned seconds = (unsigned)((now_ns() - started) / 1000000000);
    CHECK(answers >= 3 && answers <= 3 + seconds + 1);
    await("server shutdown PEER_CLOSED");
    raw_close(&client);
    pair_end(&pair);
    CHECK_NEVER("server protocol PING");
}

static void answers_that_the_peer_does_not_read_take_no_more_memory_than_the_outbound_limit(void) {
    enum { LIMIT = 16 * 1024, PING_LEN = 32 * 1024, PINGS = 1024 };
    static uint8_t payload[PING_LEN];
    struct pair pair;
    struct raw client;
    patient_pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_answer_pings(pair.server_options, true));
    CHECK_OK(esrpc_connection_options_set_ping_answer_limit(pair.server_options, 1000000, 1000000));
    CHECK_OK(esrpc_connection_options_set_outbound_limit(pair.server_options, LIMIT));
    call_server(&pair, &client);
    esrpc_buffer *message = raw_message(ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, bytes(payload, PING_LEN));
    esrpc_bytes data = esrpc_buffer_get_bytes(message);
    for (int i = 0; i < PINGS; i++) {
        CHECK(raw_send(&client, data.data, data.len));
        CHECK(esrpc_connection_get_outbound_size(pair.server_connection) <= LIMIT + data.len);
    }
    esrpc_buffer_release(message);
    unsigned answers = count_answers(&client);
    CHECK(answers > 0 && answers < PINGS);
    raw_close(&client);
    pair_end(&pair);
}

/* Both sides send PINGs and reply by themselves; the applications do not notice. */
static void keep_alive_and_answers_of_two_libraries_fit_together(void) {
    struct pair pair;
    struct party call = a_party("call", NULL, NULL);
    patient_pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_keep_alive_ping(pair.client_options, 10, SHORT_MS * 10));
    CHECK_OK(esrpc_connection_options_set_keep_alive_ping(pair.server_options, 10, SHORT_MS * 10));
    CHECK_OK(esrpc_connection_options_set_answer_pings(pair.client_options, true));
    CHECK_OK(esrpc_connection_options_set_answer_pings(pair.server_options, true));
    pair_connect(&pair);
    esrpc_stream *stream = new_stream(pair.client_connection, &call);
    CHECK_OK(esrpc_stream_set_deadline_ms(stream, SHORT_MS * 2));
    CHECK_OK(activate(stream, 0, "first", NULL));
    await("call closed STREAM_TIMED_OUT"); /* as many intervals have passed */
    CHECK(esrpc_connection_is_open(pair.client_connection));
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_NEVER("client protocol");
    CHECK_COUNT(1, "server protocol"); /* CONNECT */
}

static void pause_and_note_end(struct party *self, const struct moment *now) {
    if (is(now, "setup") && now->status == ESRPC_OK) CHECK_OK(esrpc_connection_pause_reading(now->connection));
    note_end(self, now);
}

/* Two connections with the same times on one loop. The one that is not paused began later: when it ends, the other's times
   would have been over. */
static void paused_reading_stops(void (*set)(esrpc_connection_options *), bool begin_message, const char *reason) {
    struct pair pair;
    struct raw_listener listener;
    struct raw paused_server, other_server;
    struct party other = a_party("other", note_end, NULL);
    esrpc_connection *other_connection = NULL;
    char event[60];
    recorder_clear();
    patient_pair_begin(&pair);
    pair.client.hook = pause_and_note_end;
    set(pair.client_options);
    serve_client(&pair, &listener, &paused_server);
    if (begin_message) CHECK(raw_send(&paused_server, "\0\0", 2));

    dial_raw(&pair, &other, &listener, &other_connection);
    raw_accept(&listener, &other_server);
    raw_accept_connect(&other_server);
    await("other setup OK");
    if (begin_message) CHECK(raw_send(&other_server, "\0\0", 2));
    snprintf(event, sizeof event, "other shutdown %s", reason);
    await(event);
    CHECK(esrpc_connection_is_open(pair.client_connection));

    int64_t started = now_ns();
    CHECK_OK(esrpc_connection_resume_reading(pair.client_connection));
    check_ends_in_time("client", started, SHORT_MS);
    snprintf(event, sizeof event, "client shutdown %s", reason);
    CHECK_ONCE(event);
    esrpc_connection_release(other_connection);
    raw_close(&paused_server);
    raw_close(&other_server);
    raw_listener_close(&listener);
    pair_end(&pair);
}

static void short_idle(esrpc_connection_options *options) {
    CHECK_OK(esrpc_connection_options_set_idle_timeout_ms(options, SHORT_MS));
}

static void short_message(esrpc_connection_options *options) {
    CHECK_OK(esrpc_connection_options_set_message_timeout_ms(options, SHORT_MS));
}

static void short_keep_alive(esrpc_connection_options *options) {
    CHECK_OK(esrpc_connection_options_set_keep_alive_ping(options, SHORT_MS / 2, SHORT_MS / 2));
}

static void paused_reading_stops_the_idle_timeout(void) {
    paused_reading_stops(short_idle, false, "IDLE_TIMED_OUT");
}

static void paused_reading_stops_the_message_deadline(void) {
    paused_reading_stops(short_message, true, "MESSAGE_TIMED_OUT");
}

static void paused_reading_stops_the_keep_alive(void) {
    paused_reading_stops(short_keep_alive, false, "KEEP_ALIVE_TIMED_OUT");
}

/* The loop was busy for longer than all the times, while everything arrived. */
static void what_came_while_the_loop_was_busy_is_not_late(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw server;
    struct gate gate;
    patient_pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_message_timeout_ms(pair.client_options, SHORT_MS * 4));
    CHECK_OK(esrpc_connection_options_set_idle_timeout_ms(pair.client_options, SHORT_MS * 5));
    serve_client(&pair, &listener, &server);
    raw_send_message(&server, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "before");
    await("client protocol PING before");
    esrpc_buffer *message = raw_message(ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, esrpc_text("cut"));
    esrpc_bytes data = esrpc_buffer_get_bytes(message);
    CHECK(raw_send(&server, data.data, 20));
    hold_loop(pair.client_connection, &gate);
    CHECK(raw_send(&server, data.data + 20, data.len - 20));
    pass_time(SHORT_MS * 8);
    gate_open(&gate);
    await("client protocol PING cut");
    CHECK_OK(ping(pair.client_connection, "", "after"));
    await("flush after OK");
    CHECK(esrpc_connection_is_open(pair.client_connection));
    esrpc_buffer_release(message);
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_server_that_does_not_answer_a_ping_is_given_up),
        TEST(so_is_a_client),
        TEST(sending_does_not_put_a_ping_off),
        TEST(before_the_handshake_is_done_no_ping_is_sent_nor_waited_for),
        TEST(answers_keep_the_connection_up_and_only_those_to_the_application_are_delivered),
        TEST(any_bytes_are_a_sign_of_life),
        TEST(with_answer_pings_the_library_answers_and_the_application_sees_no_ping),
        TEST(pings_above_the_limit_are_not_answered_and_do_no_harm),
        TEST(answers_that_the_peer_does_not_read_take_no_more_memory_than_the_outbound_limit),
        TEST(keep_alive_and_answers_of_two_libraries_fit_together),
        TEST(paused_reading_stops_the_idle_timeout),
        TEST(paused_reading_stops_the_message_deadline),
        TEST(paused_reading_stops_the_keep_alive),
        TEST(what_came_while_the_loop_was_busy_is_not_late),
    };
    return RUN_TESTS(tests, argc, argv);
}
