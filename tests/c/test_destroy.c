/* Promises 5 and 7: on_destroy is the last callback, once, for everything that was made; handles are counted. */
#include "harness.h"

static void a_connection_is_destroyed_when_it_has_ended_and_its_last_handle_is_released(void) {
    struct pair pair;
    pair_open(&pair);
    CHECK(esrpc_connection_acquire(pair.client_connection) == pair.client_connection);
    esrpc_connection_release(pair.client_connection);
    CHECK_OK(ping(pair.client_connection, "", "ping"));
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair.client_connection, PATIENCE_MS));
    CHECK_NEVER("client destroy");
    esrpc_connection_release(pair.client_connection);
    pair.client_connection = NULL;
    await("client destroy");
    pair_end(&pair);
    CHECK_EVENTS("client", "setup OK", "shutdown OK", "destroy");
}

static void a_connection_stays_up_without_handles_until_it_ends(void) {
    struct pair pair;
    pair_open(&pair);
    esrpc_connection_release(pair.client_connection);
    pair.client_connection = NULL;
    CHECK_OK(ping(pair.server_connection, "still there?", NULL));
    await("client protocol PING still there?");
    CHECK_NEVER("client shutdown");
    CHECK_OK(esrpc_connection_close(pair.server_connection, ESRPC_OK));
    await("client destroy");
    pair_end(&pair);
    CHECK_EVENTS("client", "setup OK", "protocol PING still there?", "shutdown PEER_CLOSED", "destroy");
}

static void a_connection_that_was_never_set_up_is_destroyed_too(void) {
    struct pair pair;
    pair_begin(&pair);
    pair.ignore_connect = true;
    pair_listen(&pair);
    pair_dial(&pair);
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    esrpc_connection_release(pair.client_connection);
    pair.client_connection = NULL;
    await("client destroy");
    pair_end(&pair);
    CHECK_EVENTS("client", "setup CANCELLED", "destroy");
}

static void a_stream_stays_open_without_handles_until_it_ends(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    pair_begin(&pair);
    pair.keep_streams = true;
    pair_connect(&pair);
    esrpc_stream_release(open_stream(pair.client_connection, &party));
    await("handler message first");
    CHECK_NEVER("call destroy");
    CHECK_OK(send_text(pair.handler_stream, LAST, "reply", NULL));
    await("call destroy");
    pair_end(&pair);
    CHECK_EVENTS("call", "message reply (last)", "closed OK", "destroy");
}

static void streams_are_destroyed_before_their_connection_which_they_hold(void) {
    struct pair pair;
    struct party used = a_party("used", NULL, NULL), unused = a_party("unused", NULL, NULL);
    esrpc_stream *a, *b;
    pair_open(&pair);
    a = open_stream(pair.client_connection, &used);
    b = new_stream(pair.client_connection, &unused);
    CHECK_OK(esrpc_connection_close(pair.client_connection, 1234));
    esrpc_connection_release(pair.client_connection);
    pair.client_connection = NULL;
    await("client shutdown 1234");
    CHECK(esrpc_connection_get_end_status(esrpc_stream_get_connection(a)) == 1234);
    esrpc_stream_release(a);
    await("used destroy");
    CHECK(esrpc_connection_get_end_status(esrpc_stream_get_connection(b)) == 1234);
    CHECK_NEVER("client destroy");
    esrpc_stream_release(b);
    await("client destroy");
    CHECK_BEFORE("used destroy", "client destroy");
    CHECK_BEFORE("unused destroy", "client destroy");
    pair_end(&pair);
}

static void a_listener_is_destroyed_when_it_is_closed_and_released_and_its_connections_live_on(void) {
    struct pair pair;
    pair_open(&pair);
    CHECK(esrpc_listener_acquire(pair.listening) == pair.listening);
    esrpc_listener_release(pair.listening);
    CHECK_OK(esrpc_listener_close(pair.listening));
    CHECK_OK(esrpc_listener_close(pair.listening));
    CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
    CHECK_NEVER("listener destroy");
    esrpc_listener_release(pair.listening);
    pair.listening = NULL;
    await("listener destroy");
    CHECK_OK(ping(pair.client_connection, "still there?", NULL));
    await("server protocol PING still there?");
    pair_end(&pair);
    CHECK_EVENTS("listener", "incoming", "closed OK", "destroy");
}

static void a_listener_listens_without_handles_until_its_runtime_is_shut_down(void) {
    struct pair pair;
    esrpc_client_options *options;
    esrpc_connection_callbacks callbacks = connection_callbacks();
    pair_begin(&pair);
    pair_listen(&pair);
    options = pair_client_options(&pair);
    esrpc_listener_release(pair.listening);
    pair.listening = NULL;
    CHECK_OK(esrpc_connection_connect(options, &callbacks, &pair.client, &pair.client_connection));
    esrpc_client_options_release(options);
    await("client setup OK");
    CHECK_OK(esrpc_runtime_shutdown(pair.server_runtime));
    await("listener destroy");
    pair_end(&pair);
    CHECK_EVENTS("listener", "incoming", "closed RUNTIME_SHUTDOWN", "destroy");
}

static void what_lives_on_a_runtime_keeps_it_when_its_handle_is_released(void) {
    struct pair pair;
    pair_open(&pair);
    esrpc_runtime_release(pair.client_runtime);
    CHECK_OK(ping(pair.client_connection, "still there?", NULL));
    await("server protocol PING still there?");
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    esrpc_connection_release(pair.client_connection);
    pair.client_connection = NULL;
    await("client destroy");
    CHECK_OK(esrpc_runtime_new(NULL, &pair.client_runtime)); /* for pair_end */
    pair_end(&pair);
}

static void joining_a_runtime_waits_for_every_on_destroy(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream;
    pair_open(&pair);
    stream = open_stream(pair.client_connection, &party);
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    esrpc_connection_release(pair.client_connection);
    pair.client_connection = NULL;
    await("client shutdown OK");
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_runtime_join(pair.client_runtime, 1));
    esrpc_stream_release(stream);
    CHECK_OK(esrpc_runtime_join(pair.client_runtime, PATIENCE_MS));
    CHECK_ONCE("call destroy");
    CHECK_ONCE("client destroy");
    CHECK_OK(esrpc_runtime_join(pair.client_runtime, 0));
    pair_end(&pair);
}

static void the_default_runtime_is_made_again_after_it_was_joined(void) {
    struct pair pair;
    esrpc_runtime *own;
    pair_begin(&pair);
    own = pair.client_runtime;
    pair.client_runtime = NULL;
    pair_connect(&pair);
    CHECK_OK(esrpc_runtime_shutdown(NULL));
    await("client shutdown RUNTIME_SHUTDOWN");
    esrpc_connection_release(pair.client_connection);
    CHECK_OK(esrpc_runtime_join(NULL, PATIENCE_MS));
    CHECK_ONCE("client destroy");
    pair_dial(&pair);
    await("client setup OK");
    await_count("client setup OK", 2);
    pair_end(&pair);
    CHECK_OK(esrpc_runtime_join(own, PATIENCE_MS));
    esrpc_runtime_release(own);
}

static void every_release_takes_null(void) {
    esrpc_connection_release(NULL);
    esrpc_stream_release(NULL);
    esrpc_listener_release(NULL);
    esrpc_runtime_release(NULL);
    esrpc_client_options_release(NULL);
    esrpc_listener_options_release(NULL);
    esrpc_connection_options_release(NULL);
    esrpc_runtime_options_release(NULL);
    CHECK(esrpc_connection_acquire(NULL) == NULL);
    CHECK(esrpc_stream_acquire(NULL) == NULL);
    CHECK(esrpc_listener_acquire(NULL) == NULL);
    CHECK(esrpc_runtime_acquire(NULL) == NULL);
}

/* Handles that callbacks give up. Only the loop thread uses them. */
struct handles {
    struct party client, call;
    const char *release_in; /* the event in which both handles are released */
    esrpc_connection *connection;
    esrpc_stream *stream;
};

static void release_handles_when_it_is_time(struct party *self, const struct moment *now) {
    struct handles *handles = (struct handles *)self->data;
    char event[40];
    if (strcmp(self->name, "client") == 0 && is(now, "setup")) {
        handles->connection = esrpc_connection_acquire(now->connection);
        handles->stream = open_stream(handles->connection, &handles->call);
    }
    snprintf(event, sizeof event, "%s %s", self->name, now->what);
    if (strcmp(event, handles->release_in) == 0) {
        esrpc_stream_release(handles->stream);
        esrpc_connection_release(handles->connection);
        note("handles released");
    }
    if (strcmp(event, "call closed") == 0)
        CHECK_OK(esrpc_connection_close(esrpc_stream_get_connection(now->stream), ESRPC_OK));
}

static void reply_and_end(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "message")) CHECK_OK(send_text(now->stream, LAST, "reply", NULL));
}

/* on_destroy comes neither inside the release nor inside the callback that releases: happen() would notice. */
static void the_last_handle_may_be_released_inside_a_callback(void) {
    static const char *const events[] = {"client setup", "call message", "call closed", "client shutdown"};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        struct pair pair;
        struct handles handles;
        esrpc_connection *connection = NULL;
        recorder_clear();
        handles.release_in = events[i];
        handles.client = a_party("client", release_handles_when_it_is_time, &handles);
        handles.call = a_party("call", release_handles_when_it_is_time, &handles);
        pair_begin(&pair);
        pair.handler.hook = reply_and_end;
        pair_listen(&pair);
        pair_dial_as(&pair, &handles.client, &connection);
        esrpc_connection_release(connection);
        await("client destroy");
        CHECK_ONCE("handles released");
        CHECK_BEFORE("handles released", "call destroy");
        CHECK_BEFORE("call destroy", "client destroy");
        pair_end(&pair);
        CHECK_EVENTS("call", "message reply (last)", "closed OK", "destroy");
        CHECK_EVENTS("client", "setup OK", "shutdown OK", "destroy");
    }
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_connection_is_destroyed_when_it_has_ended_and_its_last_handle_is_released),
        TEST(a_connection_stays_up_without_handles_until_it_ends),
        TEST(a_connection_that_was_never_set_up_is_destroyed_too),
        TEST(a_stream_stays_open_without_handles_until_it_ends),
        TEST(streams_are_destroyed_before_their_connection_which_they_hold),
        TEST(a_listener_is_destroyed_when_it_is_closed_and_released_and_its_connections_live_on),
        TEST(a_listener_listens_without_handles_until_its_runtime_is_shut_down),
        TEST(what_lives_on_a_runtime_keeps_it_when_its_handle_is_released),
        TEST(joining_a_runtime_waits_for_every_on_destroy),
        TEST(the_default_runtime_is_made_again_after_it_was_joined),
        TEST(every_release_takes_null),
        TEST(the_last_handle_may_be_released_inside_a_callback),
    };
    return RUN_TESTS(tests, argc, argv);
}
