/* Runtimes: their threads, the default one, shutdown, join, and the last release. */
#include "client.h"

#include "process.h"

static esrpc_runtime *runtime_of_threads(size_t count) {
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    esrpc_runtime *runtime;
    CHECK_OK(esrpc_runtime_options_set_thread_count(options, count));
    CHECK_OK(esrpc_runtime_new(options, &runtime));
    esrpc_runtime_options_release(options);
    return runtime;
}

/* A pair whose two runtimes have that many threads. */
static void pair_begin_with_threads(struct pair *pair, size_t count) {
    pair_begin(pair);
    esrpc_runtime_release(pair->client_runtime);
    esrpc_runtime_release(pair->server_runtime);
    pair->client_runtime = runtime_of_threads(count);
    pair->server_runtime = runtime_of_threads(count);
}

enum { SPREAD_THREADS = 4, SPREAD_CONNECTIONS = 10 };

/* The thread on which a server's connection was first seen. */
static struct {
    esrpc_connection *connection;
    pthread_t thread;
} seen[SPREAD_CONNECTIONS];
static size_t seen_count;

static void see_server_connection(struct party *self, const struct moment *now) {
    size_t i = 0;
    (void)self;
    if (now->connection == NULL || is(now, "stream")) return;
    pthread_mutex_lock(&recorder.lock);
    while (i < seen_count && seen[i].connection != now->connection) i++;
    CHECK(i < SPREAD_CONNECTIONS);
    if (i == seen_count) {
        seen[i].connection = now->connection;
        seen[i].thread = pthread_self();
        seen_count++;
    }
    CHECK(pthread_equal(seen[i].thread, pthread_self()));
    pthread_mutex_unlock(&recorder.lock);
}

static size_t count_distinct(const pthread_t *threads, size_t count) {
    size_t distinct = 0;
    for (size_t i = 0; i < count; i++) {
        size_t k = 0;
        while (k < i && !pthread_equal(threads[i], threads[k])) k++;
        distinct += k == i;
    }
    return distinct;
}

/* The one thread on which all of that name happened. */
static pthread_t thread_of(const char *name) {
    pthread_t thread = recorder.main_thread;
    pthread_mutex_lock(&recorder.lock);
    for (size_t i = 0; i < recorder.count; i++) {
        if (!begins_with(recorder.events[i].text, name)) continue;
        if (pthread_equal(thread, recorder.main_thread)) thread = recorder.events[i].thread;
        CHECK(pthread_equal(thread, recorder.events[i].thread));
    }
    pthread_mutex_unlock(&recorder.lock);
    CHECK(!pthread_equal(thread, recorder.main_thread));
    return thread;
}

static void connections_are_spread_over_the_threads(void) {
    static char names[SPREAD_CONNECTIONS][8], calls[SPREAD_CONNECTIONS][8];
    struct party clients[SPREAD_CONNECTIONS], streams[SPREAD_CONNECTIONS];
    esrpc_connection *connections[SPREAD_CONNECTIONS];
    pthread_t threads[SPREAD_CONNECTIONS];
    struct pair pair;
    pair_begin_with_threads(&pair, SPREAD_THREADS);
    pair.server.hook = see_server_connection;
    await_threads(2 * SPREAD_THREADS);
    pair_listen(&pair);
    for (size_t i = 0; i < SPREAD_CONNECTIONS; i++) {
        esrpc_stream *stream;
        char event[24];
        snprintf(names[i], sizeof names[i], "c%u", (unsigned)i);
        snprintf(calls[i], sizeof calls[i], "s%u", (unsigned)i);
        clients[i] = a_party(names[i], NULL, NULL);
        streams[i] = a_party(calls[i], NULL, NULL);
        pair_dial_as(&pair, &clients[i], &connections[i]);
        snprintf(event, sizeof event, "%s setup OK", names[i]);
        await(event);
        stream = open_stream(connections[i], &streams[i]);
        CHECK_OK(esrpc_stream_close(stream));
        CHECK_ENDED(esrpc_stream_wait_closed(stream, PATIENCE_MS));
        esrpc_stream_release(stream);
    }
    for (size_t i = 0; i < SPREAD_CONNECTIONS; i++) {
        CHECK_OK(esrpc_connection_close(connections[i], ESRPC_OK));
        esrpc_connection_release(connections[i]);
    }
    await_count("server shutdown", SPREAD_CONNECTIONS);
    pair_end(&pair);
    await_threads(0);

    for (size_t i = 0; i < SPREAD_CONNECTIONS; i++) {
        threads[i] = thread_of(names[i]);
        /* The streams of a connection are called on its thread. */
        CHECK(pthread_equal(threads[i], thread_of(calls[i])));
    }
    CHECK(count_distinct(threads, SPREAD_CONNECTIONS) == SPREAD_THREADS);
    CHECK(seen_count == SPREAD_CONNECTIONS);
    for (size_t i = 0; i < seen_count; i++) threads[i] = seen[i].thread;
    CHECK(count_distinct(threads, SPREAD_CONNECTIONS) == SPREAD_THREADS);
}

static esrpc_listener *listen_on(esrpc_runtime *runtime) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener *listener;
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_options_set_runtime(options, runtime));
    CHECK_OK(esrpc_listener_listen(options, NULL, NULL, &listener));
    esrpc_listener_options_release(options);
    return listener;
}

static void the_default_runtime_begins_at_its_first_use(void) {
    size_t descriptors = count_descriptors();
    /* Nothing to do, and nothing is made for it. */
    CHECK_OK(esrpc_runtime_shutdown(NULL));
    CHECK_OK(esrpc_runtime_join(NULL, ESRPC_NO_TIMEOUT));
    CHECK(count_threads() == 0 && count_descriptors() == descriptors);
    for (int i = 0; i < 3; i++) {
        esrpc_listener *first = listen_on(NULL), *second = listen_on(NULL);
        await_threads(1);
        CHECK_OK(esrpc_runtime_shutdown(NULL));
        CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_runtime_join(NULL, 0));
        {
            /* It is on its way out and no new one is made yet. */
            esrpc_listener_options *options = esrpc_listener_options_new();
            esrpc_listener *listener = NULL;
            CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
            CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_listener_listen(options, NULL, NULL, &listener));
            esrpc_listener_options_release(options);
        }
        esrpc_listener_release(first);
        esrpc_listener_release(second);
        CHECK_OK(esrpc_runtime_join(NULL, ESRPC_NO_TIMEOUT));
        await_threads(0);
        CHECK(count_descriptors() == descriptors);
    }
}

static void note_line(int32_t level, const char *target, const char *message, void *user_data) {
    (void)level, (void)target;
    note("%s %s", (const char *)user_data, message);
}

static esrpc_status set_default_options(size_t threads, const char *name) {
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    esrpc_status status;
    CHECK_OK(esrpc_runtime_options_set_thread_count(options, threads));
    CHECK_OK(esrpc_runtime_options_set_log(options, ESRPC_LOG_LEVEL_DEBUG, note_line, (void *)name));
    status = esrpc_runtime_set_default_options(options);
    esrpc_runtime_options_release(options);
    return status;
}

enum default_end { BY_STOP, BY_STOP_ALL, BY_JOIN, DEFAULT_ENDS };

static void the_default_runtime_is_made_with_the_options_set_for_it(void) {
    CHECK_OK(set_default_options(1, "replaced"));
    CHECK_OK(set_default_options(3, "log"));
    CHECK_NEVER("log");
    for (int i = 0; i < DEFAULT_ENDS; i++) {
        esrpc_listener *listener = listen_on(NULL);
        CHECK_COUNT(1, "log event-loop threads started: 3");
        await_threads(3);
        CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, set_default_options(1, "refused"));
        CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_runtime_set_default_options(NULL));
        CHECK(strstr(esrpc_last_error_message(), "before its first use") != NULL);
        CHECK_OK(esrpc_runtime_shutdown(NULL));
        CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, set_default_options(1, "refused"));
        if (i == BY_JOIN) esrpc_listener_release(listener);
        CHECK_OK(i == BY_STOP       ? esrpc_runtime_stop(NULL, PATIENCE_MS)
                 : i == BY_STOP_ALL ? esrpc_stop_all(PATIENCE_MS)
                                    : esrpc_runtime_join(NULL, PATIENCE_MS));
        if (i != BY_JOIN) esrpc_listener_release(listener);
        recorder_clear();
    }
    CHECK_OK(esrpc_runtime_set_default_options(NULL));
    esrpc_listener_release(listen_on(NULL));
    await_threads(1);
    CHECK_OK(esrpc_runtime_stop(NULL, PATIENCE_MS));
    CHECK_NEVER("log");
    CHECK_NEVER("replaced");
    CHECK_NEVER("refused");
}

enum { SENDS = 12, LARGE = 1024 * 1024 };

static void shutdown_aborts_a_client_and_answers_everything(void) {
    struct party call = a_party("call", NULL, NULL), unused = a_party("unused", NULL, NULL);
    struct party early = a_party("early", NULL, NULL);
    esrpc_connection *connecting, *none = NULL;
    esrpc_stream *stream, *not_activated;
    esrpc_client_options *options;
    struct raw_listener listener;
    struct raw silent;
    struct pair pair;
    uint8_t *payload = (uint8_t *)calloc(1, LARGE);
    pair_open(&pair);
    raw_listen(&listener, 8);
    options = client_options_for(listener.port, listener.name, true);
    CHECK_OK(esrpc_client_options_set_runtime(options, pair.client_runtime));
    {
        esrpc_connection_callbacks callbacks = connection_callbacks();
        CHECK_OK(esrpc_connection_connect(options, &callbacks, &early, &connecting));
    }
    raw_accept(&listener, &silent);
    stream = open_stream(pair.client_connection, &call);
    not_activated = new_stream(pair.client_connection, &unused);
    await("handler message first");

    /* More than the system takes for a peer that does not read. */
    CHECK_OK(esrpc_connection_pause_reading(pair.server_connection));
    for (int i = 0; i < SENDS; i++)
        CHECK_OK(esrpc_stream_send_message(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL, bytes(payload, LARGE),
                                           on_flush, (void *)"large"));
    CHECK_OK(ping(pair.client_connection, "waits", "last"));
    CHECK_OK(esrpc_runtime_shutdown(pair.client_runtime));
    CHECK_OK(esrpc_runtime_shutdown(pair.client_runtime));
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_connect(options, NULL, NULL, &none));
    CHECK(none == NULL);
    check_end(pair.client_connection, ESRPC_ERROR_RUNTIME_SHUTDOWN, "shut down");
    check_end(connecting, ESRPC_ERROR_RUNTIME_SHUTDOWN, "shut down");
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, ping(pair.client_connection, "late", "late"));
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, activate(not_activated, 0, "late", "late"));
    CHECK(esrpc_stream_get_end_status(stream) == ESRPC_ERROR_RUNTIME_SHUTDOWN);

    esrpc_client_options_release(options);
    esrpc_stream_release(stream);
    esrpc_stream_release(not_activated);
    esrpc_connection_release(connecting);
    raw_finish(&silent);
    raw_listener_close(&listener);
    pair_end(&pair);
    free(payload);
    CHECK_EVENTS("call", "closed RUNTIME_SHUTDOWN", "destroy");
    CHECK_EVENTS("unused", "destroy");
    CHECK_EVENTS("early", "setup RUNTIME_SHUTDOWN", "destroy");
    CHECK_EVENTS("client", "setup OK", "shutdown RUNTIME_SHUTDOWN", "destroy");
    CHECK_COUNT(SENDS, "flush large");
    CHECK(count_of("flush large OK") < SENDS);
    CHECK_COUNT(SENDS - count_of("flush large OK"), "flush large RUNTIME_SHUTDOWN");
    CHECK_ONCE("flush last RUNTIME_SHUTDOWN");
    CHECK_BEFORE("flush large", "flush last");
    CHECK_BEFORE("flush last", "call closed");
    CHECK_NEVER("flush late");
}

static void shutdown_aborts_a_server_and_answers_everything(void) {
    struct party call = a_party("call", NULL, NULL);
    struct pair pair;
    esrpc_stream *stream;
    pair_open(&pair);
    stream = open_stream(pair.client_connection, &call);
    await("handler message first");
    CHECK_OK(esrpc_runtime_shutdown(pair.server_runtime));
    await("listener closed RUNTIME_SHUTDOWN");
    check_end(pair.server_connection, ESRPC_ERROR_RUNTIME_SHUTDOWN, "shut down");
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair.client_connection, PATIENCE_MS));
    CHECK_OK(esrpc_listener_close(pair.listening));
    esrpc_listener_release(pair.listening);
    pair.listening = NULL;
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_EVENTS("listener", "incoming", "closed RUNTIME_SHUTDOWN", "destroy");
    CHECK_EVENTS("handler", "accepted", "message first", "closed RUNTIME_SHUTDOWN", "destroy");
    CHECK_EVENTS("server", "accepted", "protocol CONNECT", "stream", "shutdown RUNTIME_SHUTDOWN", "destroy");
}

static void join_waits_for_every_handle(void) {
    esrpc_runtime *runtime;
    esrpc_stream *stream;
    struct party call = a_party("call", NULL, NULL);
    struct pair pair;
    pair_open(&pair);
    runtime = pair.client_runtime;
    stream = new_stream(pair.client_connection, &call);
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_runtime_join(runtime, 0));
    CHECK(last_error_says("not closed yet: 1 connection"));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_runtime_join(pair.server_runtime, 0));
    CHECK(last_error_says("not closed yet: 1 connection and 1 listener"));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_runtime_join(runtime, 5));
    /* Nothing has changed by that. */
    CHECK_OK(ping(pair.client_connection, "after join", NULL));
    await("server protocol PING after join");
    {
        struct party second = a_party("second", NULL, NULL);
        esrpc_connection *connection;
        pair_dial_as(&pair, &second, &connection);
        await("second setup OK");
        CHECK_OK(esrpc_connection_abort(connection));
        esrpc_connection_release(connection);
        await("second destroy");
    }
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    await("client shutdown OK");
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_runtime_join(runtime, 5));
    CHECK(last_error_says("ended, but with handles (of it or its streams) not released: 1 connection"));
    esrpc_connection_release(pair.client_connection);
    pair.client_connection = NULL;
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_runtime_join(runtime, 5));
    CHECK_NEVER("client destroy");
    esrpc_stream_release(stream);
    CHECK_OK(esrpc_runtime_join(runtime, ESRPC_NO_TIMEOUT));
    CHECK_ONCE("call destroy");
    CHECK_ONCE("client destroy");
    /* Again it is nothing to wait for. */
    CHECK_OK(esrpc_runtime_join(runtime, 0));
    {
        esrpc_client_options *options = pair_client_options(&pair);
        esrpc_connection *connection = NULL;
        CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_connect(options, NULL, NULL, &connection));
        esrpc_client_options_release(options);
    }
    await_count("server shutdown", 2);
    pair_end(&pair);
}

static void join_names_a_closed_listener_whose_handle_is_left(void) {
    esrpc_runtime *runtime = runtime_of_threads(1);
    esrpc_listener *listener = listen_on(runtime);
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_runtime_join(runtime, 0));
    CHECK(last_error_says("not closed yet: 1 listener"));
    CHECK_OK(esrpc_listener_close(listener));
    CHECK_OK(esrpc_listener_wait_closed(listener, PATIENCE_MS));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_runtime_join(runtime, 5));
    CHECK(last_error_says("ended, but with handles (of it or its streams) not released: 1 listener"));
    CHECK(!last_error_says("not closed yet"));
    esrpc_listener_release(listener);
    CHECK_OK(esrpc_runtime_join(runtime, PATIENCE_MS));
    esrpc_runtime_release(runtime);
}

static void *open_and_release_listeners(void *runtime) {
    for (int i = 0; i < 8000; i++) {
        esrpc_listener *listener = listen_on((esrpc_runtime *)runtime);
        CHECK_OK(esrpc_listener_close(listener));
        esrpc_listener_release(listener);
    }
    note("all released");
    return NULL;
}

/* What a join that is too early says it waits for may go at that moment. */
static void a_join_may_be_too_early_while_the_last_handles_are_released(void) {
    esrpc_runtime *runtime = runtime_of_threads(1);
    esrpc_listener *kept = listen_on(runtime);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, open_and_release_listeners, runtime) == 0);
    while (count_of("all released") == 0) CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_runtime_join(runtime, 0));
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_OK(esrpc_listener_close(kept));
    esrpc_listener_release(kept);
    CHECK_OK(esrpc_runtime_join(runtime, PATIENCE_MS));
    esrpc_runtime_release(runtime);
}

static void *join_runtime(void *runtime) {
    CHECK_OK(esrpc_runtime_join((esrpc_runtime *)runtime, PATIENCE_MS));
    return NULL;
}

static void many_threads_join_at_once(void) {
    enum { JOINERS = 8 };
    for (int round = 0; round < 20; round++) {
        pthread_t joiners[JOINERS];
        esrpc_runtime *runtime = runtime_of_threads(2);
        esrpc_listener *listener = listen_on(runtime);
        for (int i = 0; i < JOINERS; i++) CHECK(pthread_create(&joiners[i], NULL, join_runtime, runtime) == 0);
        CHECK_OK(esrpc_listener_close(listener));
        esrpc_listener_release(listener);
        for (int i = 0; i < JOINERS; i++) CHECK(pthread_join(joiners[i], NULL) == 0);
        CHECK_OK(esrpc_runtime_join(runtime, 0));
        esrpc_runtime_release(runtime);
        await_threads(0);
    }
}

static void runtimes_without_work_come_and_go(void) {
    size_t descriptors = count_descriptors();
    for (size_t i = 0; i < 40; i++) {
        esrpc_runtime *runtime = runtime_of_threads(1 + i % 3);
        if (i % 4 == 1) CHECK_OK(esrpc_runtime_shutdown(runtime));
        if (i % 4 >= 2) CHECK_OK(esrpc_runtime_join(runtime, PATIENCE_MS));
        CHECK(esrpc_runtime_acquire(runtime) == runtime);
        esrpc_runtime_release(runtime);
        esrpc_runtime_release(runtime);
    }
    await_threads(0);
    await_descriptors(descriptors);
}

static void what_lives_on_a_released_runtime_goes_on(void) {
    size_t descriptors = count_descriptors();
    struct party client = a_party("client", NULL, NULL), call = a_party("call", NULL, NULL);
    esrpc_connection *connection;
    esrpc_stream *stream;
    esrpc_client_options *options;
    esrpc_connection_callbacks callbacks = connection_callbacks();
    struct pair pair;
    pair_begin(&pair);
    pair_listen(&pair);
    options = pair_client_options(&pair);
    /* From here on only what lives on them holds the runtimes. */
    esrpc_runtime_release(pair.client_runtime);
    esrpc_runtime_release(pair.server_runtime);
    CHECK_OK(esrpc_connection_connect(options, &callbacks, &client, &connection));
    esrpc_client_options_release(options);
    await("client setup OK");
    stream = open_stream(connection, &call);
    await("handler message first");
    CHECK_OK(send_text(stream, LAST, "second", NULL));
    await("handler message second (last)");
    esrpc_stream_release(stream);
    CHECK_OK(esrpc_connection_close(connection, ESRPC_OK));
    esrpc_connection_release(connection);
    await("client destroy");
    await("server shutdown PEER_CLOSED");
    CHECK_OK(esrpc_listener_close(pair.listening));
    esrpc_listener_release(pair.listening);
    esrpc_connection_release(pair.server_connection);
    await("server destroy");
    await("listener destroy");
    esrpc_connection_options_release(pair.client_options);
    esrpc_connection_options_release(pair.server_options);
    /* The threads end by themselves. */
    await_threads(0);
    CHECK(count_descriptors() == descriptors);
    CHECK_EVENTS("call", "closed OK", "destroy");
}

static void note_runtimes_end(void *user_data) {
    /* It is the last event-loop thread: waiting is refused. */
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_runtime_join(NULL, 0));
    note("ended %s", (const char *)user_data);
}

static esrpc_runtime *runtime_with_end(size_t threads, const char *name) {
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    esrpc_runtime *runtime;
    CHECK_OK(esrpc_runtime_options_set_thread_count(options, threads));
    CHECK_OK(esrpc_runtime_options_set_on_ended(options, note_runtimes_end, (void *)name));
    CHECK_OK(esrpc_runtime_new(options, &runtime));
    esrpc_runtime_options_release(options);
    return runtime;
}

static void a_runtimes_end_is_reported_after_everything_else(void) {
    struct pair pair;
    pair_begin(&pair);
    esrpc_runtime_release(pair.client_runtime);
    esrpc_runtime_release(pair.server_runtime);
    pair.client_runtime = runtime_with_end(4, "client runtime");
    pair.server_runtime = runtime_with_end(2, "server runtime");
    pair_connect(&pair);
    pair_end(&pair);
    /* The last release, without a join. */
    await("ended client runtime");
    await("ended server runtime");
    CHECK_BEFORE("client destroy", "ended client runtime");
    CHECK_BEFORE("server destroy", "ended server runtime");
    CHECK_BEFORE("listener destroy", "ended server runtime");

    esrpc_runtime *joined = runtime_with_end(3, "joined");
    CHECK_OK(esrpc_runtime_join(joined, PATIENCE_MS));
    CHECK_ONCE("ended joined");
    esrpc_runtime_release(joined);
    CHECK_ONCE("ended joined");
    CHECK_ONCE("ended client runtime");
    CHECK_ONCE("ended server runtime");
}

static void a_stopped_runtime_reports_no_end(void) {
    esrpc_runtime *stopped = runtime_with_end(3, "stopped");
    CHECK_OK(esrpc_runtime_stop(stopped, PATIENCE_MS));
    esrpc_runtime_release(stopped);
    CHECK_NEVER("ended stopped");
}

static void each_default_runtime_reports_its_end(void) {
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    CHECK_OK(esrpc_runtime_options_set_on_ended(options, note_runtimes_end, (void *)"default"));
    CHECK_OK(esrpc_runtime_set_default_options(options));
    esrpc_runtime_options_release(options);
    for (size_t i = 1; i <= 2; i++) {
        esrpc_listener_options *of_listener = esrpc_listener_options_new();
        esrpc_listener *listener;
        CHECK_OK(esrpc_listener_options_set_host(of_listener, esrpc_text("127.0.0.1"), 0));
        CHECK_OK(esrpc_listener_listen(of_listener, NULL, NULL, &listener));
        esrpc_listener_options_release(of_listener);
        CHECK_OK(esrpc_listener_close(listener));
        esrpc_listener_release(listener);
        CHECK_OK(esrpc_runtime_join(NULL, PATIENCE_MS));
        CHECK_COUNT(i, "ended default");
    }
    CHECK_OK(esrpc_runtime_set_default_options(NULL));
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(connections_are_spread_over_the_threads),
        TEST(the_default_runtime_begins_at_its_first_use),
        TEST(the_default_runtime_is_made_with_the_options_set_for_it),
        TEST(shutdown_aborts_a_client_and_answers_everything),
        TEST(shutdown_aborts_a_server_and_answers_everything),
        TEST(join_waits_for_every_handle),
        TEST(join_names_a_closed_listener_whose_handle_is_left),
        TEST(a_join_may_be_too_early_while_the_last_handles_are_released),
        TEST(many_threads_join_at_once),
        TEST(runtimes_without_work_come_and_go),
        TEST(what_lives_on_a_released_runtime_goes_on),
        TEST(a_runtimes_end_is_reported_after_everything_else),
        TEST(a_stopped_runtime_reports_no_end),
        TEST(each_default_runtime_reports_its_end),
    };
    return RUN_TESTS(tests, argc, argv);
}
