/* A server that decides on a connection later, on another thread than the loop's. */
#include "raw_peer.h"

static esrpc_connection *deferred;

static void defer_and_keep(struct party *self, const struct moment *now) {
    (void)self;
    if (!is(now, "incoming")) return;
    CHECK_OK(esrpc_connection_defer(now->connection));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_connection_defer(now->connection));
    deferred = esrpc_connection_acquire(now->connection);
    note("deferred");
}

/* A client has connected and sent its CONNECT, and the server is to decide. */
static void begin_deferred(struct pair *pair) {
    pair->ignore_connections = true;
    pair->listener.hook = defer_and_keep;
    pair_listen(pair);
    pair_dial(pair);
    await("deferred");
}

static esrpc_status accept_it(struct pair *pair) {
    esrpc_connection_callbacks callbacks = connection_callbacks();
    callbacks.on_protocol_message = server_on_protocol_message;
    callbacks.on_incoming_stream = server_on_incoming_stream;
    esrpc_status status = esrpc_connection_accept(deferred, &callbacks, &pair->server);
    if (status == ESRPC_OK) note("server accepted");
    return status;
}

static void end(struct pair *pair) {
    esrpc_connection_release(deferred);
    deferred = NULL;
    pair_end(pair);
}

static void what_was_sent_meanwhile_is_delivered_after_it_is_accepted(void) {
    struct pair pair;
    struct party call = a_party("call", NULL, NULL);
    pair_begin(&pair);
    begin_deferred(&pair);
    CHECK(esrpc_connection_get_state(deferred) == ESRPC_CONNECTION_STATE_CONNECTING);
    CHECK(!esrpc_connection_is_open(deferred));
    CHECK(esrpc_connection_get_user_data(deferred) == NULL);
    CHECK_STATUS(ESRPC_ERROR_NOT_READY, ping(deferred, "too early", NULL));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_wait_setup(deferred, 0));
    CHECK_OK(accept_it(&pair));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, accept_it(&pair));
    CHECK_OK(esrpc_connection_wait_setup(deferred, PATIENCE_MS));
    CHECK(esrpc_connection_get_user_data(deferred) == &pair.server);
    await("server protocol CONNECT connect");
    await("client setup OK");
    esrpc_stream *stream = open_stream(pair.client_connection, &call);
    await("handler message first");
    esrpc_stream_release(stream);
    CHECK_OK(esrpc_connection_close(deferred, ESRPC_OK));
    await("server shutdown OK");
    end(&pair);
}

static void check_is_refused(struct pair *pair, esrpc_status reason) {
    await("client setup");
    esrpc_status status = ESRPC_OK;
    if (deferred != NULL) {
        CHECK_ENDED(status = esrpc_connection_wait_shutdown(deferred, PATIENCE_MS));
        CHECK(status == reason);
        CHECK(esrpc_connection_get_end_status(deferred) == reason);
        CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, accept_it(pair));
    }
    CHECK_NEVER("client setup OK");
    CHECK_NEVER("listener failed");
    end(pair);
    CHECK_NEVER("server ");
}

static void close_refuses_it(void) {
    struct pair pair;
    pair_begin(&pair);
    begin_deferred(&pair);
    CHECK_OK(esrpc_connection_close(deferred, ESRPC_OK));
    check_is_refused(&pair, ESRPC_ERROR_CANCELLED);
}

static void the_last_release_refuses_it(void) {
    struct pair pair;
    pair_begin(&pair);
    begin_deferred(&pair);
    esrpc_connection_release(esrpc_connection_acquire(deferred));
    CHECK(esrpc_connection_get_state(deferred) == ESRPC_CONNECTION_STATE_CONNECTING);
    esrpc_connection_release(deferred);
    deferred = NULL;
    check_is_refused(&pair, ESRPC_ERROR_CANCELLED);
}

static void defer_only(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "incoming")) CHECK_OK(esrpc_connection_defer(now->connection));
}

static void what_nobody_keeps_is_refused(void) {
    struct pair pair;
    pair_begin(&pair);
    pair.ignore_connections = true;
    pair.listener.hook = defer_only;
    pair_listen(&pair);
    pair_dial(&pair);
    check_is_refused(&pair, ESRPC_ERROR_CANCELLED);
}

static void the_handshakes_deadline_refuses_it(void) {
    struct pair pair;
    patient_pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_handshake_timeout_ms(pair.server_options, SHORT_MS));
    int64_t started = now_ns();
    begin_deferred(&pair);
    await("client setup");
    CHECK((now_ns() - started) / 1000000 >= SHORT_MS);
    check_is_refused(&pair, ESRPC_ERROR_HANDSHAKE_TIMED_OUT);
}

static void the_listeners_close_leaves_the_decision_open(void) {
    struct pair pair;
    pair_begin(&pair);
    begin_deferred(&pair);
    CHECK_OK(esrpc_listener_close(pair.listening));
    await("listener closed OK");
    CHECK_OK(accept_it(&pair));
    await("client setup OK");
    end(&pair);
}

static void a_drain_refuses_it(void) {
    struct pair pair;
    pair_begin(&pair);
    begin_deferred(&pair);
    CHECK_OK(esrpc_listener_drain(pair.listening, PATIENCE_MS));
    await("listener closed OK");
    check_is_refused(&pair, ESRPC_ERROR_DRAINING);
}

static void a_shutdown_refuses_it(void) {
    struct pair pair;
    pair_begin(&pair);
    begin_deferred(&pair);
    CHECK_OK(esrpc_runtime_shutdown(pair.server_runtime));
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_wait_shutdown(deferred, PATIENCE_MS));
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, accept_it(&pair));
    await("listener closed RUNTIME_SHUTDOWN");
    await("client setup");
    esrpc_connection_release(deferred);
    esrpc_connection_release(pair.client_connection);
    esrpc_listener_release(pair.listening);
    CHECK_OK(esrpc_runtime_join(pair.server_runtime, PATIENCE_MS));
    CHECK_OK(esrpc_runtime_join(pair.client_runtime, PATIENCE_MS));
    esrpc_runtime_release(pair.client_runtime);
    esrpc_runtime_release(pair.server_runtime);
    esrpc_connection_options_release(pair.client_options);
    esrpc_connection_options_release(pair.server_options);
    CHECK_NEVER("listener failed");
    CHECK_NEVER("server ");
}

/* The loop has no time to see that it was accepted before it sees that it was closed. */
static void what_was_accepted_and_closed_at_once_has_a_whole_life(void) {
    struct pair pair;
    pair_begin(&pair);
    begin_deferred(&pair);
    CHECK_OK(accept_it(&pair));
    CHECK_OK(esrpc_connection_close(deferred, 1234));
    await("server shutdown 1234");
    await("client setup");
    end(&pair);
    CHECK_ONCE("server destroy");
}

static void the_peers_end_is_noticed_after_the_decision(void) {
    struct pair pair;
    pair_begin(&pair);
    begin_deferred(&pair);
    CHECK_OK(esrpc_connection_abort(pair.client_connection));
    await("client setup CANCELLED");
    CHECK_OK(accept_it(&pair));
    await("server shutdown");
    end(&pair);
}

static void after_a_stop_nothing_is_decided(void) {
    struct pair pair;
    pair_begin(&pair);
    begin_deferred(&pair);
    CHECK_OK(esrpc_runtime_stop(pair.server_runtime, PATIENCE_MS));
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, accept_it(&pair));
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_wait_shutdown(deferred, PATIENCE_MS));
    esrpc_connection_release(deferred);
    CHECK_OK(esrpc_runtime_stop(pair.client_runtime, PATIENCE_MS));
    esrpc_connection_release(pair.client_connection);
    esrpc_listener_release(pair.listening);
    esrpc_runtime_release(pair.client_runtime);
    esrpc_runtime_release(pair.server_runtime);
    esrpc_connection_options_release(pair.client_options);
    esrpc_connection_options_release(pair.server_options);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(what_was_sent_meanwhile_is_delivered_after_it_is_accepted),
        TEST(close_refuses_it),
        TEST(the_last_release_refuses_it),
        TEST(what_nobody_keeps_is_refused),
        TEST(the_handshakes_deadline_refuses_it),
        TEST(the_listeners_close_leaves_the_decision_open),
        TEST(a_drain_refuses_it),
        TEST(a_shutdown_refuses_it),
        TEST(what_was_accepted_and_closed_at_once_has_a_whole_life),
        TEST(the_peers_end_is_noticed_after_the_decision),
        TEST(after_a_stop_nothing_is_decided),
    };
    return RUN_TESTS(tests, argc, argv);
}
