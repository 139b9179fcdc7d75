/* Graceful ends: what is open is finished, nothing new is begun, and at the deadline the rest is closed. */
#include "blocking.h"

static void check_open(const struct pair *pair, size_t connections, size_t streams) {
    CHECK(esrpc_listener_get_open_connections(pair->listening) == connections);
    CHECK(esrpc_listener_get_open_streams(pair->listening) == streams);
    CHECK(esrpc_runtime_get_open_connections(pair->server_runtime) == connections);
    CHECK(esrpc_runtime_get_open_streams(pair->server_runtime) == streams);
}

static void a_listener_without_connections_is_closed_and_its_address_free(void) {
    struct pair pair;
    pair_begin(&pair);
    pair_listen(&pair);
    uint32_t port = esrpc_listener_get_port(pair.listening);
    check_open(&pair, 0, 0);
    CHECK_OK(esrpc_listener_drain(pair.listening, ESRPC_NO_TIMEOUT));
    CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
    if (!over_unix_socket) {
        esrpc_listener_options *options = esrpc_listener_options_new();
        esrpc_listener *next = NULL;
        CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), port));
        CHECK_OK(esrpc_listener_options_set_runtime(options, pair.server_runtime));
        CHECK_OK(esrpc_listener_listen(options, NULL, NULL, &next));
        CHECK_OK(esrpc_listener_close(next));
        esrpc_listener_release(next);
        esrpc_listener_options_release(options);
    }
    CHECK_OK(esrpc_listener_drain(pair.listening, 0));
    pair_end(&pair);
    CHECK_EVENTS("listener", "closed OK", "destroy");
}

static void a_connection_without_streams_is_closed(void) {
    struct pair pair;
    pair_open(&pair);
    await("server protocol CONNECT");
    check_open(&pair, 1, 0);
    CHECK_OK(esrpc_listener_drain(pair.listening, ESRPC_NO_TIMEOUT));
    await("client shutdown PEER_CLOSED");
    CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
    CHECK_ONCE("server shutdown OK");
    CHECK_BEFORE("server shutdown OK", "listener closed OK");
    check_open(&pair, 0, 0);
    pair_end(&pair);
}

/* Neither has said CONNECT, nor has its CONNECT been answered. */
static void a_connection_before_its_handshake_is_closed(void) {
    for (int connect = 0; connect <= 1; connect++) {
        struct pair pair;
        struct raw client;
        recorder_clear();
        patient_pair_begin(&pair);
        pair.ignore_connect = true;
        pair_listen(&pair);
        raw_dial(&client, &pair);
        await("server accepted");
        if (connect) {
            raw_send_connect(&client);
            await("server protocol CONNECT");
        }
        CHECK_OK(esrpc_listener_drain(pair.listening, ESRPC_NO_TIMEOUT));
        raw_expect_end(&client);
        await("listener closed OK");
        CHECK_ONCE("server shutdown OK");
        raw_close(&client);
        pair_end(&pair);
    }
}

/* What has come and was not read is dropped, as on a close: nothing is waited for. */
static void a_paused_connection_is_closed_at_once(void) {
    enum { TRIES = 20, LAST_WORDS_MS = 1000 };
    int64_t fastest_ms = LONG_MS;
    /* 0: the client has nothing to say. 1: it has said something. 2: it has ended its side. 3: both. */
    for (int before = 0; before <= 3; before++) {
        for (int i = 0; i < TRIES && (i == 0 || fastest_ms >= LAST_WORDS_MS / 2); i++) {
            struct pair pair;
            struct raw client;
            recorder_clear();
            patient_pair_begin(&pair);
            call_server(&pair, &client);
            CHECK_OK(esrpc_connection_pause_reading(pair.server_connection));
            await_loop(pair.server_connection);
            if (before & 1) raw_send_message(&client, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "unread");
            if (before & 2) CHECK(shutdown(client.descriptor, SHUT_WR) == 0);
            await_loop(pair.server_connection);
            int64_t started = now_ns();
            CHECK_OK(esrpc_listener_drain(pair.listening, LONG_MS));
            raw_expect_end(&client);
            await("server shutdown OK");
            if (i == 0 || (now_ns() - started) / 1000000 < fastest_ms) fastest_ms = (now_ns() - started) / 1000000;
            raw_close(&client);
            pair_end(&pair);
            CHECK_NEVER("server protocol PING");
        }
        if (fastest_ms >= LAST_WORDS_MS / 2) {
            fprintf(stderr, "%d: a drain took %ld ms at best\n", before, (long)fastest_ms);
            abort();
        }
    }
}

static void open_streams_go_on_and_new_ones_are_refused(void) {
    struct pair pair;
    struct party call = a_party("call", NULL, NULL);
    struct party late = a_party("late", NULL, NULL);
    esrpc_message *reply = NULL;
    blocking_begin(&pair);
    pair.keep_streams = true;
    pair_connect(&pair);
    esrpc_stream *stream = open_stream(pair.client_connection, &call);
    await("handler message first");
    check_open(&pair, 1, 1);
    CHECK_OK(esrpc_listener_drain(pair.listening, LONG_MS));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_listener_wait_closed(pair.listening, SHORT_MS));
    CHECK_OK(send_text(stream, 0, "second", NULL));
    await("handler message second");

    esrpc_stream *refused = open_stream(pair.client_connection, &late);
    await("late closed OK");
    CHECK_STATUS(ESRPC_ERROR_APPLICATION_ERROR, call_text(pair.client_connection, "echo", PATIENCE_MS, &reply));
    CHECK(last_error_says("drained") && last_error_says("nothing was done"));
    esrpc_message_release(reply);
    CHECK_ONCE("server stream");
    check_open(&pair, 1, 1);

    CHECK_OK(send_zeros(pair.handler_stream, TOO_MUCH, NULL));
    CHECK_OK(send_text(pair.handler_stream, LAST, "done", NULL));
    await("client shutdown PEER_CLOSED");
    await("listener closed OK");
    CHECK_BEFORE("server shutdown OK", "listener closed OK");
    esrpc_stream_release(stream);
    esrpc_stream_release(refused);
    char zeros[40];
    snprintf(zeros, sizeof zeros, "call message %zu bytes", TOO_MUCH);
    CHECK_EVENTS("handler", "accepted", "message first", "message second", "closed OK");
    pair_end(&pair);
    CHECK_COUNT(1, zeros);
    CHECK_EVENTS("call", "message", "message done (last)", "closed OK", "destroy");
}

/* The client ends the stream, as one of the lite server's has to. */
static void a_stream_that_the_client_ends_is_waited_for(void) {
    struct pair pair;
    blocking_open(&pair);
    esrpc_stream *stream = open_read_stream(pair.client_connection, "open");
    check_read(stream, "still open");
    CHECK_OK(esrpc_listener_drain(pair.listening, LONG_MS));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_listener_wait_closed(pair.listening, SHORT_MS));
    CHECK_OK(esrpc_stream_close(stream));
    CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
    CHECK_ONCE("server shutdown OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
}

static void the_earliest_deadline_ends_the_rest(void) {
    static const uint32_t deadlines[][2] = {
        {SHORT_MS, SHORT_MS}, {SHORT_MS, LONG_MS}, {LONG_MS, SHORT_MS}, {ESRPC_NO_TIMEOUT, SHORT_MS}, {SHORT_MS, ESRPC_NO_TIMEOUT}};
    for (size_t i = 0; i < sizeof deadlines / sizeof *deadlines; i++) {
        struct pair pair;
        struct party call = a_party("call", NULL, NULL);
        recorder_clear();
        patient_pair_begin(&pair);
        pair.handler.hook = note_end;
        pair_connect(&pair);
        esrpc_stream *stream = open_stream(pair.client_connection, &call);
        await("handler message first");
        int64_t started = now_ns();
        CHECK_OK(esrpc_listener_drain(pair.listening, deadlines[i][0]));
        CHECK_OK(esrpc_listener_drain(pair.listening, deadlines[i][1]));
        check_ends_in_time("handler", started, SHORT_MS);
        await("listener closed OK");
        CHECK_ONCE("handler closed DRAINING");
        CHECK_ONCE("server shutdown DRAINING");
        await("call closed PEER_CLOSED");
        esrpc_stream_release(stream);
        pair_end(&pair);
    }
}

static void a_deadline_of_no_time_closes_at_once(void) {
    struct pair pair;
    struct party call = a_party("call", NULL, NULL);
    pair_open(&pair);
    esrpc_stream *stream = open_stream(pair.client_connection, &call);
    await("handler message first");
    CHECK_OK(esrpc_listener_drain(pair.listening, 0));
    await("handler closed DRAINING");
    CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
    check_end_message_says(pair.server_connection, "time given to drain");
    esrpc_stream_release(stream);
    pair_end(&pair);
}

static void drain_here(struct party *self, const struct moment *now) {
    struct pair *pair = (struct pair *)self->data;
    if (is(now, "message") || is(now, "closed") || is(now, "shutdown") || is(now, "incoming"))
        CHECK_OK(esrpc_listener_drain(pair->listening, ESRPC_NO_TIMEOUT));
}

static void a_listener_may_be_drained_inside_callbacks(void) {
    struct pair pair;
    struct party call = a_party("call", NULL, NULL);
    pair_begin(&pair);
    pair.handler.hook = pair.server.hook = drain_here;
    pair_connect(&pair);
    esrpc_stream *stream = open_stream(pair.client_connection, &call);
    await("handler message first");
    CHECK_OK(esrpc_stream_close(stream));
    await("listener closed OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
}

/* on_closed was called; its connections live on until they are drained. */
static void the_connections_of_a_closed_listener_can_be_drained(void) {
    struct pair pair;
    pair_open(&pair);
    CHECK_OK(esrpc_listener_close(pair.listening));
    await("listener closed OK");
    check_open(&pair, 1, 0);
    CHECK_OK(esrpc_listener_drain(pair.listening, ESRPC_NO_TIMEOUT));
    await("client shutdown PEER_CLOSED");
    pair_end(&pair);
    CHECK_EVENTS("listener", "incoming", "closed OK", "destroy");
}

static void a_shutdown_cuts_a_drain_short(void) {
    struct pair pair;
    struct party call = a_party("call", NULL, NULL);
    pair_open(&pair);
    esrpc_stream *stream = open_stream(pair.client_connection, &call);
    await("handler message first");
    CHECK_OK(esrpc_listener_drain(pair.listening, ESRPC_NO_TIMEOUT));
    CHECK_OK(esrpc_runtime_shutdown(pair.server_runtime));
    CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
    CHECK_ONCE("listener closed");
    await("server shutdown RUNTIME_SHUTDOWN");
    esrpc_stream_release(stream);
    esrpc_listener_release(pair.listening);
    pair.listening = NULL;
    pair_end(&pair);
}

/* Without a handle the listener ends by itself. */
static void a_drained_listener_needs_no_handle(void) {
    struct pair pair;
    struct party call = a_party("call", NULL, NULL);
    pair_open(&pair);
    esrpc_stream *stream = open_stream(pair.client_connection, &call);
    await("handler message first");
    CHECK_OK(esrpc_listener_drain(pair.listening, ESRPC_NO_TIMEOUT));
    esrpc_listener_release(pair.listening);
    pair.listening = NULL;
    CHECK_OK(send_text(stream, LAST, "end", NULL));
    await("listener closed OK");
    await("listener destroy");
    esrpc_stream_release(stream);
    pair_end(&pair);
}

/* Runtimes */

static void a_servers_runtime_drains_its_listeners(void) {
    struct pair pair;
    struct party call = a_party("call", NULL, NULL);
    blocking_begin(&pair);
    pair_connect(&pair);
    esrpc_stream *stream = open_stream(pair.client_connection, &call);
    await("handler message first");
    CHECK_OK(esrpc_runtime_drain(pair.server_runtime, ESRPC_NO_TIMEOUT));
    check_open(&pair, 1, 1);
    CHECK_OK(esrpc_stream_close(stream));
    await("listener closed OK");
    await("client shutdown PEER_CLOSED");
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener *next = NULL;
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_options_set_runtime(options, pair.server_runtime));
    CHECK_STATUS(ESRPC_ERROR_DRAINING, esrpc_listener_listen(options, NULL, NULL, &next));
    esrpc_listener_options_release(options);
    esrpc_stream_release(stream);
    pair_end(&pair);
}

static void a_clients_runtime_finishes_its_streams_and_opens_none(void) {
    struct pair pair;
    esrpc_message *reply = NULL;
    esrpc_connection *second = NULL;
    struct party call = a_party("call", NULL, NULL);
    blocking_begin(&pair);
    pair_connect(&pair);
    esrpc_stream *stream = open_stream(pair.client_connection, &call);
    esrpc_stream *waiting = new_stream(pair.client_connection, &call);
    await("handler message first");
    CHECK_OK(esrpc_runtime_drain(pair.client_runtime, ESRPC_NO_TIMEOUT));
    CHECK_STATUS(ESRPC_ERROR_DRAINING, activate(waiting, 0, "late", NULL));
    CHECK_STATUS(ESRPC_ERROR_DRAINING, call_text(pair.client_connection, "echo", PATIENCE_MS, &reply));
    esrpc_client_options *options = pair_client_options(&pair);
    CHECK_STATUS(ESRPC_ERROR_DRAINING, esrpc_connection_connect(options, NULL, NULL, &second));
    CHECK_STATUS(ESRPC_ERROR_DRAINING, esrpc_connection_connect_blocking(options, PATIENCE_MS, &second));
    esrpc_client_options_release(options);
    CHECK(esrpc_runtime_get_open_streams(pair.client_runtime) == 1);
    CHECK(esrpc_runtime_get_open_connections(pair.client_runtime) == 1);
    CHECK_OK(send_text(stream, 0, "echo", NULL));
    await("call message echo (last)");
    await("client shutdown OK");
    await("server shutdown PEER_CLOSED");
    esrpc_stream_release(waiting);
    esrpc_stream_release(stream);
    pair_end(&pair);
}

static void connections_that_are_being_set_up_fail(void) {
    struct pair pair;
    patient_pair_begin(&pair);
    pair.ignore_connect = true;
    pair_listen(&pair);
    pair_dial(&pair);
    await("server protocol CONNECT");
    CHECK_OK(esrpc_runtime_drain(pair.client_runtime, ESRPC_NO_TIMEOUT));
    await("client setup DRAINING");
    pair_end(&pair);
}

static void a_drained_runtime_is_joined(void) {
    struct pair pair;
    struct party call = a_party("call", NULL, NULL);
    blocking_begin(&pair);
    pair_connect(&pair);
    esrpc_stream *stream = open_stream(pair.client_connection, &call);
    await("handler message first");
    esrpc_connection_release(pair.client_connection);
    pair.client_connection = NULL;
    CHECK_OK(esrpc_runtime_drain(pair.client_runtime, SHORT_MS));
    esrpc_stream_release(stream);
    CHECK_OK(esrpc_runtime_join(pair.client_runtime, PATIENCE_MS));
    CHECK_ONCE("client shutdown DRAINING");
    CHECK_ONCE("call closed DRAINING");
    pair_end(&pair);
}

static void the_default_runtime_is_drained_if_there_is_one(void) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener *listener = NULL;
    CHECK_OK(esrpc_runtime_drain(NULL, 0));
    CHECK(esrpc_runtime_get_open_streams(NULL) == 0 && esrpc_runtime_get_open_connections(NULL) == 0);
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_listen(options, NULL, NULL, &listener));
    CHECK_OK(esrpc_runtime_drain(NULL, ESRPC_NO_TIMEOUT));
    CHECK_OK(esrpc_listener_wait_closed(listener, PATIENCE_MS));
    esrpc_listener_release(listener);
    CHECK_OK(esrpc_runtime_join(NULL, PATIENCE_MS));
    /* The next one is another. */
    CHECK_OK(esrpc_listener_listen(options, NULL, NULL, &listener));
    CHECK_OK(esrpc_listener_close(listener));
    esrpc_listener_release(listener);
    esrpc_listener_options_release(options);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_listener_without_connections_is_closed_and_its_address_free),
        TEST(a_connection_without_streams_is_closed),
        TEST(a_connection_before_its_handshake_is_closed),
        TEST(a_paused_connection_is_closed_at_once),
        TEST(open_streams_go_on_and_new_ones_are_refused),
        TEST(a_stream_that_the_client_ends_is_waited_for),
        TEST(the_earliest_deadline_ends_the_rest),
        TEST(a_deadline_of_no_time_closes_at_once),
        TEST(a_listener_may_be_drained_inside_callbacks),
        TEST(the_connections_of_a_closed_listener_can_be_drained),
        TEST(a_shutdown_cuts_a_drain_short),
        TEST(a_drained_listener_needs_no_handle),
        TEST(a_servers_runtime_drains_its_listeners),
        TEST(a_clients_runtime_finishes_its_streams_and_opens_none),
        TEST(connections_that_are_being_set_up_fail),
        TEST(a_drained_runtime_is_joined),
        TEST(the_default_runtime_is_drained_if_there_is_one),
    };
    return RUN_TESTS(tests, argc, argv);
}
