/* Promise 8: close loses nothing, abort does not wait, and after either no message callback begins. */
#include "harness.h"

enum { MIB = 1024 * 1024, MESSAGES = 24 };

static void pause_after_each(struct party *self, const struct moment *now) {
    (void)self;
    if (!is(now, "message")) return;
    CHECK_OK(esrpc_connection_pause_reading(esrpc_stream_get_connection(now->stream)));
    note("paused");
}

static void a_slow_reader_gets_24_mib_that_were_sent_before_the_close(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream;
    pair_begin(&pair);
    pair.handler.hook = pause_after_each;
    CHECK_OK(esrpc_connection_options_set_outbound_limit(pair.client_options, 2 * MESSAGES * MIB));
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("paused");
    for (int i = 0; i < MESSAGES; i++) CHECK_OK(send_zeros(stream, MIB, "part"));
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    CHECK(esrpc_connection_get_state(pair.client_connection) == ESRPC_CONNECTION_STATE_CLOSING);
    for (size_t i = 1; i <= MESSAGES; i++) {
        CHECK_OK(esrpc_connection_resume_reading(pair.server_connection));
        await_count("paused", i + 1);
    }
    await("client shutdown OK");
    CHECK_OK(esrpc_connection_resume_reading(pair.server_connection));
    await("server shutdown PEER_CLOSED");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_COUNT(MESSAGES, "handler message 1048576 bytes");
    CHECK_COUNT(MESSAGES, "flush part OK");
    CHECK_BEFORE("handler message", "handler closed");
}

/* Takes longer than linger_ms in all, but never so long between two bites; under valgrind (tests/common/cc.rs) a bite
   takes longer. */
static void a_peer_that_takes_some_bytes_in_time_is_waited_for(void) {
    const uint32_t linger_ms = getenv("ESRPC_TEST_WRAPPER") == NULL ? 1000 : 20000;
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream;
    pair_begin(&pair);
    pair.handler.hook = pause_after_each;
    CHECK_OK(esrpc_connection_options_set_linger_ms(pair.client_options, linger_ms));
    CHECK_OK(esrpc_connection_options_set_outbound_limit(pair.client_options, 2 * MESSAGES * MIB));
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("paused");
    for (int i = 0; i < MESSAGES; i++) CHECK_OK(send_zeros(stream, MIB, "part"));
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    for (size_t i = 1; i <= MESSAGES; i++) {
        CHECK_OK(esrpc_connection_resume_reading(pair.server_connection));
        await_count("paused", i + 1);
        if (i <= 12) esrpc_connection_wait_shutdown(pair.client_connection, 100);
    }
    await("client shutdown OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_COUNT(MESSAGES, "flush part OK");
}

static void a_peer_that_never_reads_is_given_up_after_linger_ms(void) {
    for (int with_reason = 0; with_reason <= 1; with_reason++) {
        struct pair pair;
        struct party party = a_party("call", NULL, NULL);
        esrpc_stream *stream;
        recorder_clear();
        pair_begin(&pair);
        CHECK_OK(esrpc_connection_options_set_linger_ms(pair.client_options, 20));
        pair_connect(&pair);
        stream = open_stream(pair.client_connection, &party);
        await("handler message first");
        CHECK_OK(esrpc_connection_pause_reading(pair.server_connection));
        CHECK_OK(send_text(stream, 0, "", "small"));
        await("flush small OK");
        CHECK_OK(send_zeros(stream, TOO_MUCH, "much"));
        CHECK_OK(send_text(stream, 0, "", "more"));
        CHECK_OK(esrpc_connection_close(pair.client_connection, with_reason ? 1234 : ESRPC_OK));
        await("client shutdown LINGER_EXPIRED");
        CHECK_EVENTS("flush", "small OK", "much LINGER_EXPIRED", "more LINGER_EXPIRED");
        CHECK_ONCE("call closed CONNECTION_CLOSED");
        CHECK(strstr(esrpc_connection_get_end_message(pair.client_connection), "linger_ms") != NULL);
        esrpc_stream_release(stream);
        pair_end(&pair);
    }
}

/* Milliseconds to linger, and not one of them is needed to write what the system takes. */
static void without_a_time_to_linger_one_attempt_is_made(void) {
    for (int too_much = 0; too_much <= 1; too_much++) {
        struct pair pair;
        struct party party = a_party("call", NULL, NULL);
        recorder_clear();
        pair_begin(&pair);
        CHECK_OK(esrpc_connection_options_set_linger_ms(pair.client_options, 0));
        pair_connect(&pair);
        esrpc_stream *stream = open_stream(pair.client_connection, &party);
        await("handler message first");
        CHECK_OK(esrpc_connection_pause_reading(pair.server_connection));
        CHECK_OK(send_zeros(stream, too_much ? TOO_MUCH : 100, "last"));
        CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
        await(too_much ? "client shutdown LINGER_EXPIRED" : "client shutdown OK");
        CHECK_ONCE(too_much ? "flush last LINGER_EXPIRED" : "flush last OK");
        esrpc_stream_release(stream);
        pair_end(&pair);
    }
}

static void a_close_lingers_without_end_if_asked_to(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_linger_ms(pair.client_options, ESRPC_NO_TIMEOUT));
    pair_connect(&pair);
    esrpc_stream *stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK_OK(esrpc_connection_pause_reading(pair.server_connection));
    CHECK_OK(send_zeros(stream, TOO_MUCH, "much"));
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_wait_shutdown(pair.client_connection, 20));
    CHECK_OK(esrpc_connection_resume_reading(pair.server_connection));
    await("client shutdown OK");
    CHECK_EVENTS("flush", "much OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
}

static void an_abort_cuts_a_close_short(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream;
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_linger_ms(pair.client_options, 86400000));
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK_OK(esrpc_connection_pause_reading(pair.server_connection));
    CHECK_OK(send_zeros(stream, TOO_MUCH, "much"));
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_wait_shutdown(pair.client_connection, 20));
    CHECK_OK(esrpc_connection_abort(pair.client_connection));
    await("client shutdown ABORTED");
    CHECK_EVENTS("flush", "much ABORTED");
    esrpc_stream_release(stream);
    pair_end(&pair);
}

static void close_in_callback(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "message")) CHECK_OK(esrpc_connection_close(esrpc_stream_get_connection(now->stream), ESRPC_OK));
}

static void abort_in_callback(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "message")) CHECK_OK(esrpc_connection_abort(esrpc_stream_get_connection(now->stream)));
}

/* All messages arrive together: the server's loop writes them at once. */
static void check_nothing_after(void (*hook)(struct party *, const struct moment *)) {
    struct pair pair;
    struct party party = a_party("call", hook, NULL);
    struct gate gate;
    esrpc_stream *stream;
    recorder_clear();
    pair_begin(&pair);
    pair.keep_streams = true;
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    hold_loop(pair.server_connection, &gate);
    CHECK_OK(send_text(pair.handler_stream, 0, "one", NULL));
    CHECK_OK(send_text(pair.handler_stream, 0, "two", NULL));
    CHECK_OK(ping(pair.server_connection, "three", NULL));
    gate_open(&gate);
    await("client shutdown");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_EVENTS("call", "message one", "closed CONNECTION_CLOSED", "destroy");
    CHECK_NEVER("client protocol");
}

static void no_message_callback_begins_after_a_close_or_abort_in_a_callback(void) {
    check_nothing_after(close_in_callback);
    check_nothing_after(abort_in_callback);
}

static void wait_at_gate(struct party *self, const struct moment *now) {
    if (is(now, "message")) gate_pass((struct gate *)self->data);
}

static void no_message_callback_begins_after_a_close_on_another_thread(void) {
    struct pair pair;
    struct gate in_callback, gate;
    struct party party = a_party("call", wait_at_gate, &in_callback);
    esrpc_stream *stream;
    memset(&in_callback, 0, sizeof in_callback);
    pair_begin(&pair);
    pair.keep_streams = true;
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    hold_loop(pair.server_connection, &gate);
    CHECK_OK(send_text(pair.handler_stream, 0, "one", NULL));
    CHECK_OK(send_text(pair.handler_stream, 0, "two", NULL));
    gate_open(&gate);
    gate_await(&in_callback);
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    gate_open(&in_callback);
    await("client shutdown OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_EVENTS("call", "message one", "closed CONNECTION_CLOSED", "destroy");
}

static void what_the_peer_sent_before_its_end_is_delivered_before_that(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream;
    pair_begin(&pair);
    pair.keep_streams = true;
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK_OK(esrpc_connection_pause_reading(pair.client_connection));
    for (int i = 0; i < 100; i++) CHECK_OK(send_text(pair.handler_stream, 0, "small", NULL));
    CHECK_OK(send_zeros(pair.handler_stream, 3 * MIB, NULL));
    CHECK_OK(ping(pair.server_connection, "goodbye", NULL));
    CHECK_OK(esrpc_connection_close(pair.server_connection, ESRPC_OK));
    CHECK_OK(esrpc_connection_resume_reading(pair.client_connection));
    await("client shutdown PEER_CLOSED");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_COUNT(100, "call message small");
    CHECK_ONCE("call message 3145728 bytes");
    CHECK_BEFORE("client protocol PING goodbye", "client shutdown");
    CHECK_ONCE("server shutdown OK");
}

/* A close with unread input would make the system throw away what was written. */
static void the_peer_gets_the_last_words_of_a_side_that_did_not_read(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream;
    pair_open(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK_OK(esrpc_connection_pause_reading(pair.server_connection));
    CHECK_OK(send_zeros(stream, MIB, "much"));
    CHECK_OK(ping(pair.server_connection, "goodbye", NULL));
    CHECK_OK(esrpc_connection_close(pair.server_connection, ESRPC_OK));
    await("client protocol PING goodbye");
    await("client shutdown");
    await("server shutdown OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_BEFORE("client protocol PING goodbye", "client shutdown");
}

static void close_and_abort_do_nothing_to_what_is_closed(void) {
    struct pair pair;
    pair_open(&pair);
    CHECK_OK(esrpc_connection_close(pair.client_connection, 1234));
    await("client shutdown 1234");
    await("server shutdown PEER_CLOSED");
    for (int i = 0; i < 3; i++) {
        CHECK_OK(esrpc_connection_close(pair.client_connection, 4321));
        CHECK_OK(esrpc_connection_abort(pair.client_connection));
        CHECK_OK(esrpc_connection_close(pair.server_connection, 4321));
        CHECK_OK(esrpc_connection_abort(pair.server_connection));
    }
    CHECK(esrpc_connection_get_end_status(pair.client_connection) == 1234);
    CHECK(esrpc_connection_get_end_status(pair.server_connection) == ESRPC_ERROR_PEER_CLOSED);
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_slow_reader_gets_24_mib_that_were_sent_before_the_close),
        TEST(a_peer_that_takes_some_bytes_in_time_is_waited_for),
        TEST(a_peer_that_never_reads_is_given_up_after_linger_ms),
        TEST(without_a_time_to_linger_one_attempt_is_made),
        TEST(a_close_lingers_without_end_if_asked_to),
        TEST(an_abort_cuts_a_close_short),
        TEST(no_message_callback_begins_after_a_close_or_abort_in_a_callback),
        TEST(no_message_callback_begins_after_a_close_on_another_thread),
        TEST(what_the_peer_sent_before_its_end_is_delivered_before_that),
        TEST(the_peer_gets_the_last_words_of_a_side_that_did_not_read),
        TEST(close_and_abort_do_nothing_to_what_is_closed),
    };
    return RUN_TESTS(tests, argc, argv);
}
