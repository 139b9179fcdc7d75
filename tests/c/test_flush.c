/* Promise 4: every accepted send is answered by its flush callback, exactly once. */
#include "harness.h"

static void accepted_sends_are_answered_once_and_in_their_order(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    struct gate gate;
    esrpc_stream *a, *b;
    esrpc_status outcome = 1;
    pair_open(&pair);
    hold_loop(pair.client_connection, &gate);
    a = new_stream(pair.client_connection, &party);
    b = new_stream(pair.client_connection, &party);
    CHECK_OK(activate(a, 0, "", "1"));
    CHECK_OK(ping(pair.client_connection, "", "2"));
    CHECK_OK(activate(b, 0, "", "3"));
    CHECK_OK(send_zeros(a, 300000, "4"));
    CHECK_OK(send_text(b, 0, "", NULL)); /* without a callback */
    CHECK_OK(send_text(a, 0, "", "5"));
    CHECK_NEVER("flush");
    CHECK(esrpc_connection_get_outbound_size(pair.client_connection) > 300000);
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_wait_flush(pair.client_connection, 1));
    CHECK(outcome == 1);
    gate_open(&gate);
    CHECK_OK(esrpc_connection_wait_flush(pair.client_connection, PATIENCE_MS));
    await("flush 5");
    CHECK(esrpc_connection_get_outbound_size(pair.client_connection) == 0);
    esrpc_stream_release(a);
    esrpc_stream_release(b);
    pair_end(&pair);
    CHECK_EVENTS("flush", "1 OK", "2 OK", "3 OK", "4 OK", "5 OK");
}

static void a_send_that_is_not_accepted_is_not_answered(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_headers *headers = esrpc_headers_new();
    esrpc_stream *stream;
    pair_open(&pair);
    stream = new_stream(pair.client_connection, &party);
    CHECK_OK(esrpc_headers_add_string(headers, esrpc_text("Operation"), esrpc_text("x")));
    CHECK_STATUS(ESRPC_ERROR_RESERVED_HEADER,
                 esrpc_stream_activate(stream, esrpc_text("x"), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, headers,
                                       esrpc_text(NULL), on_flush, (void *)"reserved"));
    CHECK_STATUS(ESRPC_ERROR_INVALID_UTF8,
                 esrpc_stream_activate(stream, esrpc_text("\xff"), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL,
                                       esrpc_text(NULL), on_flush, (void *)"not text"));
    CHECK_OK(activate(stream, 0, "", "activation"));
    for (int32_t type = -1; type <= 8; type++) {
        bool is_stream_type = type == 0 || type == 1;
        if (!is_stream_type)
            CHECK_STATUS(ESRPC_ERROR_WRONG_MESSAGE_TYPE,
                         esrpc_stream_send_message(stream, type, 0, NULL, esrpc_text("x"), on_flush, (void *)"type"));
        if (is_stream_type || type < 0 || type > 7 || type == ESRPC_MESSAGE_TYPE_CONNECT_ACK)
            CHECK_STATUS(ESRPC_ERROR_WRONG_MESSAGE_TYPE, send_protocol(pair.client_connection, type, 0, "", "type"));
    }
    CHECK_STATUS(ESRPC_ERROR_WRONG_MESSAGE_TYPE,
                 send_protocol(pair.server_connection, ESRPC_MESSAGE_TYPE_CONNECT, 0, "", "type"));
    CHECK_OK(esrpc_headers_clear(headers));
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":Stream-ID"), 1));
    CHECK_STATUS(ESRPC_ERROR_RESERVED_HEADER,
                 esrpc_stream_send_message(stream, 0, 0, headers, esrpc_text("x"), on_flush, (void *)"reserved"));
    await("flush activation");
    esrpc_headers_release(headers);
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_EVENTS("flush", "activation OK");
}

/* What was sent while the loop was held is unwritten when `end` comes. */
static void check_unwritten(void (*end)(struct pair *), const char *flush_reason, const char *shutdown_reason) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    struct gate gate;
    char last_flush[40], shutdown[40];
    esrpc_stream *stream;
    esrpc_status outcome = ESRPC_OK;
    recorder_clear();
    pair_open(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    hold_loop(pair.client_connection, &gate);
    CHECK_OK(send_text(stream, 0, "", "a"));
    CHECK_OK(ping(pair.client_connection, "", "b"));
    CHECK_OK(send_text(stream, LAST, "", "c"));
    end(&pair);
    gate_open(&gate);
    snprintf(shutdown, sizeof shutdown, "client shutdown %s", shutdown_reason);
    snprintf(last_flush, sizeof last_flush, "flush c %s", flush_reason);
    await(shutdown);
    CHECK_BEFORE("flush a", "flush b");
    CHECK_BEFORE("flush b", last_flush);
    CHECK_BEFORE(last_flush, "call closed");
    CHECK_BEFORE("call closed", shutdown);
    CHECK_ENDED(outcome = esrpc_connection_wait_flush(pair.client_connection, PATIENCE_MS));
    CHECK(outcome != ESRPC_OK);
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_COUNT(3, "flush");
    CHECK_NEVER("handler message "); /* not even the first of them left */
}

static void abort_client(struct pair *pair) {
    CHECK_OK(esrpc_connection_abort(pair->client_connection));
}

static void close_and_abort_client(struct pair *pair) {
    CHECK_OK(esrpc_connection_close(pair->client_connection, 1234));
    CHECK_OK(esrpc_connection_abort(pair->client_connection));
}

static void abort_answers_what_is_not_written_and_says_so(void) {
    check_unwritten(abort_client, "ABORTED", "ABORTED");
}

static void an_abort_that_cuts_a_close_short_and_loses_bytes_says_so(void) {
    check_unwritten(close_and_abort_client, "ABORTED", "ABORTED");
}

/* The server does not read. */
static void a_runtime_that_is_shut_down_answers_what_is_not_written(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream;
    pair_open(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK_OK(esrpc_connection_pause_reading(pair.server_connection));
    CHECK_OK(send_zeros(stream, TOO_MUCH, "much"));
    CHECK_OK(send_text(stream, 0, "", "more"));
    CHECK_OK(esrpc_runtime_shutdown(pair.client_runtime));
    await("client shutdown RUNTIME_SHUTDOWN");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_EVENTS("flush", "much RUNTIME_SHUTDOWN", "more RUNTIME_SHUTDOWN");
}

static void an_abort_that_loses_nothing_says_ok(void) {
    struct pair pair;
    pair_open(&pair);
    CHECK_OK(ping(pair.client_connection, "hello", "ping"));
    await("flush ping OK");
    await("server protocol PING hello");
    CHECK_OK(esrpc_connection_abort(pair.client_connection));
    await("client shutdown OK");
    pair_end(&pair);
    CHECK_COUNT(1, "flush");
}

/* The server does not read and then goes away. */
static void a_peer_that_goes_away_leaves_no_send_unanswered(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream;
    pair_open(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK_OK(esrpc_connection_pause_reading(pair.server_connection));
    CHECK_OK(send_text(stream, 0, "", "small"));
    await("flush small OK");
    CHECK_OK(send_zeros(stream, TOO_MUCH, "much"));
    CHECK_OK(send_text(stream, 0, "", "more"));
    CHECK_OK(esrpc_connection_abort(pair.server_connection));
    await("client shutdown");
    CHECK_NEVER("client shutdown OK");
    CHECK_NEVER("flush much OK");
    CHECK_BEFORE("flush much", "flush more");
    CHECK_BEFORE("flush more", "call closed");
    CHECK(esrpc_connection_get_end_message(pair.client_connection)[0] != '\0');
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_COUNT(3, "flush");
}

struct chain {
    esrpc_stream *stream;
    int left;
};

static void flush_and_send_again(esrpc_status status, void *user_data) {
    struct chain *chain = (struct chain *)user_data;
    CHECK(status == ESRPC_OK);
    if (chain->left-- == 0)
        note("chain done");
    else
        CHECK_OK(esrpc_stream_send_message(chain->stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL, esrpc_text("x"),
                                           flush_and_send_again, chain));
}

static void a_flush_callback_can_send_again_and_again(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    struct chain chain;
    pair_open(&pair);
    chain.stream = open_stream(pair.client_connection, &party);
    chain.left = 1000;
    CHECK_OK(esrpc_stream_send_message(chain.stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL, esrpc_text("x"),
                                       flush_and_send_again, &chain));
    await("chain done");
    await_count("handler message x", 1001);
    esrpc_stream_release(chain.stream);
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(accepted_sends_are_answered_once_and_in_their_order),
        TEST(a_send_that_is_not_accepted_is_not_answered),
        TEST(abort_answers_what_is_not_written_and_says_so),
        TEST(an_abort_that_cuts_a_close_short_and_loses_bytes_says_so),
        TEST(a_runtime_that_is_shut_down_answers_what_is_not_written),
        TEST(an_abort_that_loses_nothing_says_ok),
        TEST(a_peer_that_goes_away_leaves_no_send_unanswered),
        TEST(a_flush_callback_can_send_again_and_again),
    };
    return RUN_TESTS(tests, argc, argv);
}
