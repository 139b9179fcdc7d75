/* A server that decides on a stream later, on another thread than the loop's. */
#include "raw_peer.h"

static uint32_t time_to_decide;
static esrpc_stream *deferred;

static void defer_and_keep(struct party *self, const struct moment *now) {
    (void)self;
    if (!is(now, "stream")) return;
    CHECK_INVALID(esrpc_stream_defer(now->stream, 0));
    CHECK_OK(esrpc_stream_defer(now->stream, time_to_decide));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_stream_defer(now->stream, time_to_decide));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, send_text(now->stream, 0, "too early", NULL));
    CHECK(esrpc_stream_get_user_data(now->stream) == NULL);
    deferred = esrpc_stream_acquire(now->stream);
    note("deferred");
}

static void begin(struct pair *pair) {
    pair_begin(pair);
    pair->ignore_streams = true;
    pair->server.hook = defer_and_keep;
    time_to_decide = ESRPC_NO_TIMEOUT;
}

/* A client's stream on which the server is to decide. */
static esrpc_stream *open_deferred(struct pair *pair, struct party *call) {
    *call = a_party("call", NULL, NULL);
    esrpc_stream *stream = open_stream(pair->client_connection, call);
    await("deferred");
    return stream;
}

static esrpc_status accept_it(struct pair *pair) {
    esrpc_stream_callbacks callbacks = stream_callbacks();
    esrpc_status status = esrpc_stream_accept(deferred, &callbacks, &pair->handler);
    if (status == ESRPC_OK) note("handler accepted");
    return status;
}

static void end(struct pair *pair, esrpc_stream *stream) {
    esrpc_stream_release(deferred);
    esrpc_stream_release(stream);
    pair_end(pair);
}

/* What the client sends on another stream, or as a PING, passes what waits. */
static void await_server(struct pair *pair) {
    CHECK_OK(ping(pair->client_connection, "there", NULL));
    await("server protocol PING there");
}

static void messages_wait_in_order_until_it_is_accepted(void) {
    struct pair pair;
    struct party call;
    begin(&pair);
    pair_connect(&pair);
    esrpc_stream *stream = open_deferred(&pair, &call);
    CHECK_OK(send_text(stream, 0, "second", NULL));
    CHECK_OK(send_text(stream, 0, "third", NULL));
    await_server(&pair);
    CHECK(esrpc_stream_get_state(deferred) == ESRPC_STREAM_STATE_NEW);
    CHECK(is_text(esrpc_stream_get_operation(deferred), "op") || esrpc_stream_get_operation(deferred).len > 0);
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, send_text(deferred, 0, "too early", NULL));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_stream_close(deferred));
    CHECK_NEVER("handler message first");
    CHECK_OK(accept_it(&pair));
    CHECK(esrpc_stream_get_user_data(deferred) == &pair.handler);
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, accept_it(&pair));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_stream_refuse(deferred, NULL, esrpc_text("no")));
    CHECK_OK(send_text(deferred, 0, "welcome", NULL));
    await("call message welcome");
    await("handler message third");
    CHECK_OK(send_text(stream, LAST, "fourth", NULL));
    await("handler closed OK");
    CHECK_BEFORE("handler message first", "handler message second");
    CHECK_BEFORE("handler message second", "handler message third");
    CHECK_BEFORE("handler message third", "handler message fourth (last)");
    end(&pair, stream);
}

static void a_call_is_answered_later(void) {
    struct pair pair;
    struct party call;
    begin(&pair);
    pair_connect(&pair);
    esrpc_stream *stream = open_deferred(&pair, &call);
    CHECK_OK(esrpc_stream_reply(deferred, NULL, esrpc_text("late")));
    CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, esrpc_stream_reply(deferred, NULL, esrpc_text("again")));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, accept_it(&pair));
    await("call message late (last)");
    await("call closed OK");
    CHECK_ENDED(esrpc_stream_wait_closed(deferred, PATIENCE_MS));
    end(&pair, stream);
    CHECK_NEVER("handler destroy");
}

static void a_call_is_refused_later(void) {
    struct pair pair;
    struct party call;
    begin(&pair);
    pair_connect(&pair);
    esrpc_stream *stream = open_deferred(&pair, &call);
    CHECK_OK(esrpc_stream_refuse(deferred, NULL, esrpc_text("not you")));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_stream_refuse(deferred, NULL, esrpc_text("not you")));
    await("call error not you (last)");
    await("call closed OK");
    end(&pair, stream);
}

static void the_last_release_refuses_it(void) {
    struct pair pair;
    struct party call;
    begin(&pair);
    pair_connect(&pair);
    esrpc_stream *stream = open_deferred(&pair, &call);
    CHECK_OK(send_text(stream, 0, "second", NULL));
    await_server(&pair);
    esrpc_stream_release(deferred);
    deferred = NULL;
    await("call closed OK");
    CHECK(count_of("call destroy") == 0);
    end(&pair, stream);
}

static void defer_only(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "stream")) CHECK_OK(esrpc_stream_defer(now->stream, ESRPC_NO_TIMEOUT));
}

static void what_nobody_keeps_is_refused(void) {
    struct pair pair;
    begin(&pair);
    pair.server.hook = defer_only;
    pair_connect(&pair);
    esrpc_message *reply = NULL;
    CHECK_STATUS(ESRPC_ERROR_APPLICATION_ERROR, esrpc_connection_call(pair.client_connection, esrpc_text("echo"), NULL,
                                                                      esrpc_text("hello"), PATIENCE_MS, &reply));
    esrpc_message_release(reply);
    end(&pair, NULL);
}

static void it_is_refused_when_its_time_is_over(void) {
    struct pair pair;
    struct party call;
    begin(&pair);
    time_to_decide = SHORT_MS;
    pair_connect(&pair);
    int64_t started = now_ns();
    esrpc_stream *stream = open_deferred(&pair, &call);
    await("call closed OK");
    CHECK((now_ns() - started) / 1000000 >= SHORT_MS);
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, accept_it(&pair));
    CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, esrpc_stream_reply(deferred, NULL, esrpc_text("late")));
    end(&pair, stream);
}

/* At once, so that the time cannot pass first. */
static void defer_and_accept(struct party *self, const struct moment *now) {
    defer_and_keep(self, now);
    if (is(now, "stream")) CHECK_OK(accept_it((struct pair *)self->data));
}

static void what_was_accepted_in_time_has_no_deadline(void) {
    struct pair pair;
    struct party call;
    begin(&pair);
    pair.server.hook = defer_and_accept;
    pair.server.data = &pair;
    time_to_decide = SHORT_MS;
    pair_connect(&pair);
    esrpc_stream *stream = open_deferred(&pair, &call);
    await("handler message first");
    pass_time(2 * SHORT_MS);
    CHECK_OK(send_text(stream, LAST, "bye", NULL));
    await("handler message bye (last)");
    await("handler closed OK");
    end(&pair, stream);
}

static void what_the_client_has_ended_can_still_be_accepted(void) {
    struct pair pair;
    struct party call;
    begin(&pair);
    pair_connect(&pair);
    esrpc_stream *stream = open_deferred(&pair, &call);
    CHECK_OK(send_text(stream, LAST, "bye", NULL));
    await("call closed OK");
    await_server(&pair);
    CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, esrpc_stream_reply(deferred, NULL, esrpc_text("late")));
    CHECK_OK(accept_it(&pair));
    await("handler closed OK");
    CHECK_BEFORE("handler message first", "handler message bye (last)");
    CHECK_BEFORE("handler message bye (last)", "handler closed OK");
    CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, send_text(deferred, 0, "late", NULL));
    end(&pair, stream);
}

static void messages_after_the_clients_end_are_taken_up_to_the_limit(void) {
    static const int32_t flags[] = {0, LAST};
    for (int i = 0; i < 2; i++) {
        struct pair pair;
        struct raw raw;
        esrpc_stats stats;
        recorder_clear();
        begin(&pair);
        CHECK_OK(esrpc_connection_options_set_abnormal_event_limit(pair.server_options, 1, 20));
        call_server(&pair, &raw);
        raw_send_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, LAST, 1, "test#Operation", "");
        await("deferred");
        for (int n = 0; n < 20; n++)
            raw_send_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, flags[i], 1, NULL, "late");
        raw_send_message(&raw, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "still here");
        await("server protocol PING still here");
        stats.struct_size = sizeof stats;
        CHECK_OK(esrpc_connection_get_stats(pair.server_connection, &stats));
        CHECK(stats.late_messages == 20 && stats.unanswered_ends == 0);
        /* The second that a new one takes has hardly passed; two of them can only be one too many. */
        for (int n = 0; n < 40; n++)
            raw_send_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, flags[i], 1, NULL, "late");
        esrpc_message_release(raw_await_message(&raw, ESRPC_MESSAGE_TYPE_PROTOCOL_ERROR));
        raw_close(&raw);
        await("server shutdown TOO_MANY_ABNORMAL_EVENTS");
        end(&pair, NULL);
    }
}

static void a_call_that_is_one_message_can_be_deferred(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    begin(&pair);
    pair_connect(&pair);
    esrpc_stream *stream = new_stream(pair.client_connection, &party);
    CHECK_OK(activate(stream, LAST, "only", NULL));
    await("deferred");
    CHECK_OK(accept_it(&pair));
    await("handler message only (last)");
    await("handler closed OK");
    end(&pair, stream);
}

static void after_its_connections_end_nothing_is_decided(void) {
    struct pair pair;
    struct party call;
    begin(&pair);
    pair_connect(&pair);
    esrpc_stream *stream = open_deferred(&pair, &call);
    CHECK_OK(esrpc_connection_abort(pair.client_connection));
    await("server shutdown");
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, accept_it(&pair));
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, esrpc_stream_refuse(deferred, NULL, esrpc_text("no")));
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, esrpc_stream_reply(deferred, NULL, esrpc_text("no")));
    end(&pair, stream);
    CHECK_NEVER("handler destroy");
}

/* Accepted while the loop is busy, so that the connection ends before anything was delivered. */
static void what_came_before_the_peers_end_is_delivered_before_it(void) {
    struct pair pair;
    struct party call;
    struct gate gate;
    begin(&pair);
    pair_connect(&pair);
    esrpc_stream *stream = open_deferred(&pair, &call);
    CHECK_OK(send_text(stream, 0, "second", NULL));
    await_server(&pair);
    hold_loop(pair.server_connection, &gate);
    CHECK_OK(accept_it(&pair));
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    await("client shutdown OK");
    gate_open(&gate);
    await("server shutdown PEER_CLOSED");
    CHECK_BEFORE("handler message first", "handler message second");
    CHECK_BEFORE("handler message second", "handler closed PEER_CLOSED");
    CHECK_BEFORE("handler closed PEER_CLOSED", "server shutdown PEER_CLOSED");
    end(&pair, stream);
}

static void after_this_sides_close_nothing_is_delivered(void) {
    struct pair pair;
    struct party call;
    struct gate gate;
    begin(&pair);
    pair_connect(&pair);
    esrpc_stream *stream = open_deferred(&pair, &call);
    hold_loop(pair.server_connection, &gate);
    CHECK_OK(accept_it(&pair));
    CHECK_OK(esrpc_connection_close(pair.server_connection, ESRPC_OK));
    gate_open(&gate);
    await("handler closed CONNECTION_CLOSED");
    await("server shutdown OK");
    end(&pair, stream);
    CHECK_NEVER("handler message first");
}

static void a_full_queue_stops_reading_until_the_decision(void) {
    struct pair pair;
    struct party call;
    begin(&pair);
    CHECK_OK(esrpc_connection_options_set_stream_queue_limit(pair.server_options, 64 * 1024));
    pair_connect(&pair);
    esrpc_stream *stream = open_deferred(&pair, &call);
    CHECK_OK(send_zeros(stream, 80 * 1024, NULL));
    CHECK_OK(ping(pair.client_connection, "behind", NULL));
    pass_time(SHORT_MS);
    CHECK_NEVER("server protocol PING behind");
    CHECK_OK(accept_it(&pair));
    await("handler message 81920 bytes");
    await("server protocol PING behind");
    end(&pair, stream);
}

static void what_is_refused_gives_its_room_back(void) {
    struct pair pair;
    struct party call;
    begin(&pair);
    CHECK_OK(esrpc_connection_options_set_stream_queue_limit(pair.server_options, 64 * 1024));
    pair_connect(&pair);
    esrpc_stream *stream = open_deferred(&pair, &call);
    CHECK_OK(send_zeros(stream, 80 * 1024, NULL));
    CHECK_OK(ping(pair.client_connection, "behind", NULL));
    CHECK_OK(esrpc_stream_fail(deferred, esrpc_text(NULL), esrpc_text("no")));
    await("server protocol PING behind");
    await("call closed OK");
    end(&pair, stream);
}

static void while_reading_is_paused_nothing_is_delivered(void) {
    struct pair pair;
    struct party call;
    begin(&pair);
    pair_connect(&pair);
    esrpc_stream *stream = open_deferred(&pair, &call);
    CHECK_OK(esrpc_connection_pause_reading(pair.server_connection));
    CHECK_OK(accept_it(&pair));
    await_loop(pair.server_connection);
    await_loop(pair.server_connection);
    CHECK_NEVER("handler message first");
    CHECK_OK(esrpc_connection_resume_reading(pair.server_connection));
    await("handler message first");
    end(&pair, stream);
}

static void without_callbacks_it_is_read(void) {
    struct pair pair;
    struct party call;
    begin(&pair);
    pair_connect(&pair);
    esrpc_stream *stream = open_deferred(&pair, &call);
    esrpc_message *message = NULL;
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_stream_read(deferred, 0, &message));
    CHECK_OK(esrpc_stream_accept(deferred, NULL, NULL));
    CHECK_OK(esrpc_stream_read(deferred, PATIENCE_MS, &message));
    CHECK(is_text(esrpc_message_get_payload(message), "first"));
    esrpc_message_release(message);
    CHECK_OK(esrpc_stream_reply(deferred, NULL, esrpc_text("read")));
    await("call message read (last)");
    end(&pair, stream);
}

static void accept_at_a_ping(struct party *self, const struct moment *now) {
    defer_and_keep(self, now);
    if (is(now, "protocol") && esrpc_message_get_type(now->message) == ESRPC_MESSAGE_TYPE_PING)
        CHECK_OK(esrpc_stream_accept(deferred, NULL, NULL));
}

/* A server that accepts at a PING, and in one read the stream's second message, with these flags, that PING and an error. */
static void read_before_an_error_message(int32_t flags, esrpc_status end_status) {
    struct pair pair;
    struct raw raw;
    esrpc_message *message = NULL;
    begin(&pair);
    pair.server.hook = accept_at_a_ping;
    pair_listen(&pair);
    raw_dial(&raw, &pair);
    raw_send_connect(&raw);
    raw_send_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 1, "test#Operation", "first");
    await("deferred");
    esrpc_buffer *parts[] = {raw_message(ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, flags, 1, NULL, esrpc_text("second")),
                             raw_message(ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, esrpc_text("now")),
                             raw_message(ESRPC_MESSAGE_TYPE_PROTOCOL_ERROR, 0, 0, NULL, esrpc_text("enough"))};
    raw_send_together(&raw, parts, 3);
    await("server protocol PROTOCOL_ERROR enough");
    CHECK_OK(esrpc_stream_read(deferred, PATIENCE_MS, &message));
    CHECK(is_text(esrpc_message_get_payload(message), "first"));
    esrpc_message_release(message);
    CHECK_OK(esrpc_stream_read(deferred, PATIENCE_MS, &message));
    CHECK(is_text(esrpc_message_get_payload(message), "second"));
    esrpc_message_release(message);
    CHECK_STATUS(end_status, esrpc_stream_read(deferred, PATIENCE_MS, &message));
    raw_close(&raw);
    end(&pair, NULL);
}

static void what_came_before_an_error_message_is_read_before_it(void) {
    read_before_an_error_message(0, ESRPC_ERROR_PEER_ERROR);
}

/* As on a stream that was accepted at once. */
static void an_error_message_does_not_concern_a_stream_that_ended_before_it(void) {
    read_before_an_error_message(ESRPC_MESSAGE_FLAG_TERMINATE_STREAM, ESRPC_ERROR_STREAM_CLOSED);
}

static void a_drain_waits_for_the_decision(void) {
    struct pair pair;
    struct party call;
    begin(&pair);
    pair_connect(&pair);
    esrpc_stream *stream = open_deferred(&pair, &call);
    CHECK_OK(esrpc_listener_drain(pair.listening, PATIENCE_MS));
    await_loop(pair.server_connection);
    CHECK_NEVER("server shutdown OK");
    CHECK_OK(esrpc_stream_reply(deferred, NULL, esrpc_text("done")));
    await("call message done (last)");
    await("server shutdown OK");
    end(&pair, stream);
}

static void after_a_stop_nothing_is_decided(void) {
    struct pair pair;
    struct party call;
    begin(&pair);
    pair_connect(&pair);
    esrpc_stream *stream = open_deferred(&pair, &call);
    CHECK_OK(esrpc_runtime_stop(pair.server_runtime, PATIENCE_MS));
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, accept_it(&pair));
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_stream_reply(deferred, NULL, esrpc_text("no")));
    esrpc_stream_release(deferred);
    esrpc_stream_release(stream);
    CHECK_OK(esrpc_runtime_stop(pair.client_runtime, PATIENCE_MS));
    esrpc_connection_release(pair.client_connection);
    esrpc_connection_release(pair.server_connection);
    esrpc_listener_release(pair.listening);
    esrpc_runtime_release(pair.client_runtime);
    esrpc_runtime_release(pair.server_runtime);
    esrpc_connection_options_release(pair.client_options);
    esrpc_connection_options_release(pair.server_options);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(messages_wait_in_order_until_it_is_accepted),
        TEST(a_call_is_answered_later),
        TEST(a_call_is_refused_later),
        TEST(the_last_release_refuses_it),
        TEST(what_nobody_keeps_is_refused),
        TEST(it_is_refused_when_its_time_is_over),
        TEST(what_was_accepted_in_time_has_no_deadline),
        TEST(what_the_client_has_ended_can_still_be_accepted),
        TEST(messages_after_the_clients_end_are_taken_up_to_the_limit),
        TEST(a_call_that_is_one_message_can_be_deferred),
        TEST(after_its_connections_end_nothing_is_decided),
        TEST(what_came_before_the_peers_end_is_delivered_before_it),
        TEST(after_this_sides_close_nothing_is_delivered),
        TEST(a_full_queue_stops_reading_until_the_decision),
        TEST(what_is_refused_gives_its_room_back),
        TEST(while_reading_is_paused_nothing_is_delivered),
        TEST(without_callbacks_it_is_read),
        TEST(what_came_before_an_error_message_is_read_before_it),
        TEST(an_error_message_does_not_concern_a_stream_that_ended_before_it),
        TEST(a_drain_waits_for_the_decision),
        TEST(after_a_stop_nothing_is_decided),
    };
    return RUN_TESTS(tests, argc, argv);
}
