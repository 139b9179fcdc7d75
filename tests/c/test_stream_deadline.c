/* Deadlines of streams. */
#include "raw_peer.h"

/* A stream, activated with a deadline. */
static esrpc_stream *open_timed(esrpc_connection *connection, struct party *party, uint32_t deadline_ms) {
    esrpc_stream *stream = new_stream(connection, party);
    CHECK_OK(esrpc_stream_set_deadline_ms(stream, deadline_ms));
    CHECK_OK(activate(stream, 0, "first", NULL));
    return stream;
}

static void answer_last(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "message")) {
        esrpc_status status = send_text(now->stream, LAST, "answer", NULL);
        CHECK(status == ESRPC_OK || status == ESRPC_ERROR_STREAM_CLOSED || status == ESRPC_ERROR_CONNECTION_CLOSED);
    }
}

static void a_stream_that_is_not_answered_ends_on_both_sides_and_the_connection_stays(void) {
    struct pair pair;
    struct party call = a_party("call", note_end, NULL);
    struct party next = a_party("next", NULL, NULL);
    patient_pair_begin(&pair);
    pair_connect(&pair);
    int64_t started = now_ns();
    esrpc_stream *stream = open_timed(pair.client_connection, &call, SHORT_MS);
    check_ends_in_time("call", started, SHORT_MS);
    CHECK(esrpc_stream_get_end_status(stream) == ESRPC_ERROR_STREAM_TIMED_OUT);
    CHECK(strstr(esrpc_stream_get_end_message(stream), "deadline_ms (150 ms)") != NULL);
    CHECK(esrpc_stream_get_state(stream) == ESRPC_STREAM_STATE_CLOSED);
    CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, send_text(stream, 0, "late", NULL));
    await("handler destroy");
    CHECK_EVENTS("handler", "accepted", "message first", "message (last)", "closed OK", "destroy");

    pair.handler.hook = answer_last;
    esrpc_stream *second = open_timed(pair.client_connection, &next, LONG_MS);
    await("next closed OK");
    CHECK(esrpc_connection_is_open(pair.client_connection));
    esrpc_stream_release(stream);
    esrpc_stream_release(second);
    pair_end(&pair);
    CHECK_EVENTS("call", "closed STREAM_TIMED_OUT", "destroy");
    CHECK_EVENTS("next", "message answer (last)", "closed OK", "destroy");
}

/* The peer does not read: what was accepted stays unwritten. */
static void sends_that_are_not_written_are_answered_before_the_end(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw server;
    struct party call = a_party("call", note_end, NULL);
    struct gate gate;
    const int32_t message = ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE;
    patient_pair_begin(&pair);
    serve_client(&pair, &listener, &server);
    hold_loop(pair.client_connection, &gate); /* until all is said, however long that takes */
    int64_t started = now_ns();
    esrpc_stream *stream = open_timed(pair.client_connection, &call, SHORT_MS);
    CHECK_OK(send_zeros(stream, TOO_MUCH, "zeros"));
    CHECK_OK(send_text(stream, 0, "second", "second"));
    CHECK_OK(ping(pair.client_connection, "ping", "ping"));
    gate_open(&gate);
    check_ends_in_time("call", started, SHORT_MS);
    CHECK_ONCE("flush zeros STREAM_TIMED_OUT");
    CHECK_BEFORE("flush zeros", "flush second STREAM_TIMED_OUT");
    CHECK_BEFORE("flush second", "call closed STREAM_TIMED_OUT");
    CHECK_NEVER("flush ping");

    /* Their bytes may still leave, and the peer learns of the end. */
    raw_expect(&server, message, 0, "first");
    esrpc_message_release(raw_await_message(&server, message));
    raw_expect(&server, message, 0, "second");
    raw_expect(&server, ESRPC_MESSAGE_TYPE_PING, 0, "ping");
    raw_expect(&server, message, LAST, "");
    await("flush ping OK");
    esrpc_stream_release(stream);
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
}

/* This side has ended the stream, but could not write it: the deadline ends that as well. */
static void a_stream_that_is_closing_has_its_deadline_still(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw server;
    struct party call = a_party("call", note_end, NULL);
    struct gate gate;
    patient_pair_begin(&pair);
    serve_client(&pair, &listener, &server);
    hold_loop(pair.client_connection, &gate);
    int64_t started = now_ns();
    esrpc_stream *stream = open_timed(pair.client_connection, &call, SHORT_MS);
    CHECK_OK(send_zeros(stream, TOO_MUCH, "zeros"));
    CHECK_OK(send_text(stream, LAST, "last", "last"));
    gate_open(&gate);
    check_ends_in_time("call", started, SHORT_MS);
    CHECK_BEFORE("flush zeros STREAM_TIMED_OUT", "flush last STREAM_TIMED_OUT");
    esrpc_stream_release(stream);
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
    CHECK_EVENTS("call", "closed STREAM_TIMED_OUT", "destroy");
}

static void a_stream_that_ends_in_time_leaves_no_timer_behind(void) {
    struct pair pair;
    struct party call = a_party("call", NULL, NULL);
    patient_pair_begin(&pair);
    pair.handler.hook = answer_last;
    pair_connect(&pair);
    int64_t started = now_ns();
    esrpc_stream *stream = open_timed(pair.client_connection, &call, UINT32_MAX);
    await("call closed OK");
    esrpc_stream_release(stream);
    await("call destroy");
    pair_end(&pair);
    CHECK((now_ns() - started) / 1000000 < LONG_MS);
    CHECK_EVENTS("call", "message answer (last)", "closed OK", "destroy");
}

static void the_deadline_counts_from_the_activation_and_cannot_be_set_after_it(void) {
    struct pair pair;
    struct party early = a_party("early", note_end, NULL);
    struct party late = a_party("late", note_end, NULL);
    patient_pair_begin(&pair);
    pair_connect(&pair);
    esrpc_stream *waiting = new_stream(pair.client_connection, &late);
    CHECK_OK(esrpc_stream_set_deadline_ms(waiting, SHORT_MS));
    esrpc_stream *stream = open_timed(pair.client_connection, &early, SHORT_MS);
    CHECK_STATUS(ESRPC_ERROR_STREAM_ALREADY_ACTIVATED, esrpc_stream_set_deadline_ms(stream, LONG_MS));
    await("early closed STREAM_TIMED_OUT");
    CHECK_NEVER("late");
    int64_t started = now_ns();
    CHECK_OK(activate(waiting, 0, "first", NULL));
    check_ends_in_time("late", started, SHORT_MS);
    CHECK_STATUS(ESRPC_ERROR_STREAM_ALREADY_ACTIVATED, esrpc_stream_set_deadline_ms(stream, LONG_MS));
    esrpc_stream_release(stream);
    esrpc_stream_release(waiting);
    pair_end(&pair);
}

static void a_deadline_can_be_taken_back(void) {
    struct pair pair;
    struct party timed = a_party("timed", NULL, NULL);
    struct party free_of_it = a_party("free", NULL, NULL);
    patient_pair_begin(&pair);
    pair_connect(&pair);
    esrpc_stream *stream = new_stream(pair.client_connection, &free_of_it);
    CHECK_OK(esrpc_stream_set_deadline_ms(stream, 1));
    CHECK_INVALID(esrpc_stream_set_deadline_ms(stream, 0));
    CHECK(last_error_says("ESRPC_NO_TIMEOUT"));
    CHECK_OK(esrpc_stream_set_deadline_ms(stream, ESRPC_NO_TIMEOUT));
    CHECK_OK(activate(stream, 0, "first", NULL));
    esrpc_stream *other = open_timed(pair.client_connection, &timed, SHORT_MS);
    await("timed closed STREAM_TIMED_OUT");
    CHECK_NEVER("free");
    esrpc_stream_release(stream);
    esrpc_stream_release(other);
    pair_end(&pair);
    CHECK_EVENTS("free", "closed CONNECTION_CLOSED", "destroy");
}

/* The loop has not seen the deadline yet when the connection ends. */
static void a_connection_that_ends_before_its_loop_knows_the_deadline_is_destroyed(void) {
    for (int close_it = 0; close_it <= 1; close_it++) {
        struct pair pair;
        struct party call = a_party("call", NULL, NULL);
        struct gate gate;
        recorder_clear();
        patient_pair_begin(&pair);
        pair_connect(&pair);
        hold_loop(pair.client_connection, &gate);
        esrpc_stream *stream = open_timed(pair.client_connection, &call, LONG_MS);
        if (close_it)
            CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
        else
            CHECK_OK(esrpc_connection_abort(pair.client_connection));
        esrpc_stream_release(stream);
        gate_open(&gate);
        pair_end(&pair);
        CHECK_EVENTS("call", "closed CONNECTION_CLOSED", "destroy");
    }
}

static void open_next(struct party *self, const struct moment *now) {
    if (is(now, "closed") && count_of("call closed") < 3)
        esrpc_stream_release(open_timed(esrpc_stream_get_connection(now->stream), self, SHORT_MS / 3));
}

static void a_stream_that_is_opened_when_another_is_too_late_has_a_deadline_too(void) {
    struct pair pair;
    struct party call = a_party("call", open_next, NULL);
    patient_pair_begin(&pair);
    pair_connect(&pair);
    int64_t started = now_ns();
    esrpc_stream_release(open_timed(pair.client_connection, &call, SHORT_MS / 3));
    await_count("call closed STREAM_TIMED_OUT", 3);
    CHECK((now_ns() - started) / 1000000 >= SHORT_MS);
    pair_end(&pair);
    CHECK_COUNT(3, "call destroy");
}

/* Answers and deadlines cross: whichever comes first, each stream ends once. */
static void answers_that_cross_with_deadlines_end_each_stream_once(void) {
    enum { STREAMS = 300 };
    struct pair pair;
    struct party call = a_party("call", NULL, NULL);
    patient_pair_begin(&pair);
    pair.handler.hook = answer_last;
    pair_connect(&pair);
    for (uint32_t i = 0; i < STREAMS; i++)
        esrpc_stream_release(open_timed(pair.client_connection, &call, 1 + i % 7));
    await_count("call closed", STREAMS);
    await_count("handler closed OK", STREAMS);
    CHECK(esrpc_connection_is_open(pair.client_connection));
    CHECK(count_of("call closed OK") + count_of("call closed STREAM_TIMED_OUT") == STREAMS);
    pair_end(&pair);
    CHECK_COUNT(STREAMS, "call destroy");
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_stream_that_is_not_answered_ends_on_both_sides_and_the_connection_stays),
        TEST(sends_that_are_not_written_are_answered_before_the_end),
        TEST(a_stream_that_is_closing_has_its_deadline_still),
        TEST(a_stream_that_ends_in_time_leaves_no_timer_behind),
        TEST(the_deadline_counts_from_the_activation_and_cannot_be_set_after_it),
        TEST(a_deadline_can_be_taken_back),
        TEST(a_connection_that_ends_before_its_loop_knows_the_deadline_is_destroyed),
        TEST(a_stream_that_is_opened_when_another_is_too_late_has_a_deadline_too),
        TEST(answers_that_cross_with_deadlines_end_each_stream_once),
    };
    return RUN_TESTS(tests, argc, argv);
}
