/* Promise 13, receiving: reading can be paused, which stops the peer, and resumed, which loses nothing. */
#include "harness.h"

static void pause_at_the_word(struct party *self, const struct moment *now) {
    (void)self;
    if (now->message == NULL || !is_text(esrpc_message_get_payload(now->message), "pause")) return;
    CHECK_OK(esrpc_connection_pause_reading(now->stream != NULL ? esrpc_stream_get_connection(now->stream) : now->connection));
    note("paused");
}

static void a_paused_side_stops_its_peer_through_the_transport(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream;
    pair_open(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK_OK(esrpc_connection_pause_reading(pair.server_connection));
    CHECK_OK(send_zeros(stream, TOO_MUCH, "much"));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_wait_flush(pair.client_connection, 100));
    CHECK(esrpc_connection_get_outbound_size(pair.client_connection) > 0);
    CHECK_OK(esrpc_connection_resume_reading(pair.server_connection));
    await("flush much OK");
    await_count("handler message", 2);
    esrpc_stream_release(stream);
    pair_end(&pair);
}

/* All of them leave the client in one write. */
static void messages_that_were_read_already_wait_and_come_in_order(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    struct gate gate;
    esrpc_stream *stream;
    pair_begin(&pair);
    pair.server.hook = pair.handler.hook = pause_at_the_word;
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    hold_loop(pair.client_connection, &gate);
    CHECK_OK(send_text(stream, 0, "pause", NULL));
    CHECK_OK(send_text(stream, 0, "two", NULL));
    CHECK_OK(ping(pair.client_connection, "pause", NULL));
    CHECK_OK(send_text(stream, LAST, "four", NULL));
    gate_open(&gate);
    await_count("paused", 1);
    CHECK_NEVER("handler message two");
    CHECK_OK(esrpc_connection_resume_reading(pair.server_connection));
    await_count("paused", 2);
    CHECK_NEVER("handler message four");
    CHECK_OK(esrpc_connection_resume_reading(pair.server_connection));
    await("handler closed OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_EVENTS("handler", "accepted", "message first", "message pause", "message two", "message four (last)",
                 "closed OK", "destroy");
    CHECK_BEFORE("handler message two", "server protocol PING pause");
    CHECK_BEFORE("server protocol PING pause", "handler message four");
}

static void pause_and_resume(struct party *self, const struct moment *now) {
    (void)self;
    if (!is(now, "message")) return;
    CHECK_OK(esrpc_connection_pause_reading(esrpc_stream_get_connection(now->stream)));
    CHECK_OK(esrpc_connection_resume_reading(esrpc_stream_get_connection(now->stream)));
}

static void pausing_and_resuming_at_once_changes_nothing(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream;
    pair_begin(&pair);
    pair.handler.hook = pause_and_resume;
    pair_connect(&pair);
    CHECK_OK(esrpc_connection_resume_reading(pair.server_connection)); /* was not paused */
    CHECK_OK(esrpc_connection_pause_reading(pair.server_connection));
    CHECK_OK(esrpc_connection_pause_reading(pair.server_connection)); /* is not counted */
    CHECK_OK(esrpc_connection_resume_reading(pair.server_connection));
    stream = open_stream(pair.client_connection, &party);
    for (int i = 0; i < 50; i++) CHECK_OK(send_zeros(stream, 20000, NULL));
    CHECK_OK(esrpc_stream_close(stream));
    await("handler closed OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_COUNT(50, "handler message 20000 bytes");
}

static void a_paused_side_can_send(void) {
    struct pair pair;
    pair_open(&pair);
    CHECK_OK(esrpc_connection_pause_reading(pair.client_connection));
    CHECK_OK(ping(pair.client_connection, "hello", "ping"));
    await("server protocol PING hello");
    await("flush ping OK");
    pair_end(&pair);
}

static void a_paused_side_can_close_and_abort_and_then_gets_nothing_more(void) {
    for (int abort_it = 0; abort_it <= 1; abort_it++) {
        struct pair pair;
        recorder_clear();
        pair_open(&pair);
        CHECK_OK(esrpc_connection_pause_reading(pair.client_connection));
        CHECK_OK(ping(pair.server_connection, "too late", "ping"));
        await("flush ping OK");
        if (abort_it)
            CHECK_OK(esrpc_connection_abort(pair.client_connection));
        else
            CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
        await("client shutdown OK");
        await("server shutdown");
        pair_end(&pair);
        CHECK_EVENTS("client", "setup OK", "shutdown OK", "destroy");
    }
}

static void the_end_of_the_peer_is_noticed_after_the_messages_that_wait(void) {
    struct pair pair;
    struct gate gate;
    pair_begin(&pair);
    pair.client.hook = pause_at_the_word;
    pair_connect(&pair);
    hold_loop(pair.server_connection, &gate);
    CHECK_OK(ping(pair.server_connection, "pause", NULL));
    CHECK_OK(ping(pair.server_connection, "two", NULL));
    CHECK_OK(esrpc_connection_close(pair.server_connection, ESRPC_OK));
    gate_open(&gate);
    await("paused");
    await("server shutdown OK");
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_wait_shutdown(pair.client_connection, 50));
    CHECK(esrpc_connection_is_open(pair.client_connection));
    CHECK_OK(esrpc_connection_resume_reading(pair.client_connection));
    await("client shutdown PEER_CLOSED");
    pair_end(&pair);
    CHECK_EVENTS("client", "setup OK", "protocol PING pause", "protocol PING two", "shutdown PEER_CLOSED", "destroy");
}

static void a_paused_connection_ends_with_its_runtime(void) {
    struct pair pair;
    pair_open(&pair);
    CHECK_OK(esrpc_connection_pause_reading(pair.client_connection));
    CHECK_OK(esrpc_runtime_shutdown(pair.client_runtime));
    await("client shutdown RUNTIME_SHUTDOWN");
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_paused_side_stops_its_peer_through_the_transport),
        TEST(messages_that_were_read_already_wait_and_come_in_order),
        TEST(pausing_and_resuming_at_once_changes_nothing),
        TEST(a_paused_side_can_send),
        TEST(a_paused_side_can_close_and_abort_and_then_gets_nothing_more),
        TEST(the_end_of_the_peer_is_noticed_after_the_messages_that_wait),
        TEST(a_paused_connection_ends_with_its_runtime),
    };
    return RUN_TESTS(tests, argc, argv);
}
