/* Promise 15: a stop while handles are in use, in every state: when it has returned, no callback runs any longer, the threads
   and sockets are gone, waits return, and handles are inert and still to be released. */
#include "names.h"

#include "process.h"

/* What lives when the stop comes. */
struct scene {
    struct pair pair;
    struct party call;
    esrpc_stream *stream;
    struct raw_listener raw_listener;
    struct raw raw;
    bool has_raw_listener, has_raw;
};

static size_t count_all(void) {
    pthread_mutex_lock(&recorder.lock);
    size_t count = recorder.count;
    pthread_mutex_unlock(&recorder.lock);
    return count;
}

static void connecting(struct scene *scene) {
    scene->has_raw_listener = true;
    raw_listen(&scene->raw_listener, 0);
    raw_fill_backlog(&scene->raw_listener);
    dial_raw(&scene->pair, &scene->pair.client, &scene->raw_listener, &scene->pair.client_connection);
}

static void looking_a_name_up(struct scene *scene) {
    names_stick();
    dial_host(&scene->pair, &scene->pair.client, "stuck.example", 1, &scene->pair.client_connection);
    await("lookup stuck.example");
}

static void in_the_tls_handshake(struct scene *scene) {
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_client();
    esrpc_tls_config *config;
    CHECK_OK(esrpc_tls_config_builder_dangerous_disable_verification(builder));
    CHECK_OK(esrpc_tls_config_builder_build(builder, &config));
    esrpc_tls_config_builder_release(builder);
    scene->has_raw_listener = scene->has_raw = true;
    CHECK(raw_listen_at(&scene->raw_listener, "127.0.0.1", 0, 16));
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), scene->raw_listener.port));
    CHECK_OK(esrpc_client_options_set_tls(options, config, esrpc_text("")));
    esrpc_tls_config_release(config);
    dial_with(&scene->pair, &scene->pair.client, options, &scene->pair.client_connection);
    raw_accept(&scene->raw_listener, &scene->raw);
    await_socket(scene->raw.descriptor, POLLIN);
}

static void before_the_answer_to_connect(struct scene *scene) {
    scene->pair.ignore_connect = true;
    pair_listen(&scene->pair);
    pair_dial(&scene->pair);
    await("server protocol CONNECT");
}

static void open_with_a_stream(struct scene *scene) {
    scene->pair.keep_streams = true;
    pair_connect(&scene->pair);
    scene->stream = open_stream(scene->pair.client_connection, &scene->call);
    await("handler message first");
}

static void with_sends_queued(struct scene *scene) {
    scene->has_raw_listener = scene->has_raw = true;
    serve_client(&scene->pair, &scene->raw_listener, &scene->raw);
    scene->stream = open_stream(scene->pair.client_connection, &scene->call);
    CHECK_OK(send_zeros(scene->stream, TOO_MUCH, "queued"));
    CHECK_OK(ping(scene->pair.client_connection, "queued, too", "queued"));
}

static void with_refused_sends(struct scene *scene) {
    with_sends_queued(scene);
    while (send_zeros(scene->stream, 1024 * 1024, "queued") == ESRPC_OK) {}
    CHECK_STATUS(ESRPC_ERROR_WOULD_BLOCK, ping(scene->pair.client_connection, "x", "queued"));
}

static void lingering(struct scene *scene) {
    with_sends_queued(scene);
    CHECK_OK(esrpc_connection_close(scene->pair.client_connection, ESRPC_OK));
    await_loop(scene->pair.client_connection);
}

static void draining(struct scene *scene) {
    open_with_a_stream(scene);
    CHECK_OK(esrpc_runtime_drain(scene->pair.client_runtime, ESRPC_NO_TIMEOUT));
    CHECK_OK(esrpc_listener_drain(scene->pair.listening, ESRPC_NO_TIMEOUT));
    await_loop(scene->pair.client_connection);
    await_loop(scene->pair.server_connection);
}

static void with_a_stream_to_be_read(struct scene *scene) {
    pair_connect(&scene->pair);
    CHECK_OK(esrpc_connection_new_stream(scene->pair.client_connection, NULL, NULL, &scene->stream));
    CHECK_OK(esrpc_stream_set_deadline_ms(scene->stream, LONG_MS));
    CHECK_OK(activate(scene->stream, 0, "first", "flush"));
    await("flush flush OK");
}

static void with_a_message_half_there(struct scene *scene) {
    static const uint8_t half[] = {0, 0, 1, 0, 0, 0, 0, 0};
    scene->has_raw = true;
    call_server(&scene->pair, &scene->raw);
    CHECK(raw_send(&scene->raw, half, sizeof half));
    await_loop(scene->pair.server_connection);
}

static void after_the_end(struct scene *scene) {
    open_with_a_stream(scene);
    CHECK_OK(esrpc_connection_abort(scene->pair.client_connection));
    await("client shutdown");
    await("server shutdown");
}

static void while_callbacks_come(struct scene *scene) {
    open_with_a_stream(scene);
    for (size_t i = 0; i < 2000; i++) CHECK_OK(ping(scene->pair.client_connection, "again", "ping"));
    await("server protocol PING again");
}

static void already_shut_down(struct scene *scene) {
    open_with_a_stream(scene);
    CHECK_OK(esrpc_runtime_shutdown(scene->pair.client_runtime));
    CHECK_OK(esrpc_runtime_shutdown(scene->pair.server_runtime));
}

static void nothing(struct scene *scene) {
    (void)scene;
}

#define CHECK_INERT(call) CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, call)

static void check_connection_is_inert(esrpc_connection *connection) {
    esrpc_message *reply = NULL;
    esrpc_stream *stream = NULL;
    CHECK_INERT(esrpc_connection_accept(connection, NULL, NULL));
    CHECK_INERT(esrpc_connection_close(connection, ESRPC_OK));
    CHECK_INERT(esrpc_connection_abort(connection));
    CHECK_INERT(ping(connection, "x", "late"));
    CHECK_INERT(esrpc_connection_pause_reading(connection));
    CHECK_INERT(esrpc_connection_resume_reading(connection));
    CHECK_INERT(esrpc_connection_run_on_loop(connection, hold_task, NULL));
    CHECK_INERT(esrpc_connection_wait_setup(connection, ESRPC_NO_TIMEOUT));
    CHECK_INERT(esrpc_connection_wait_flush(connection, ESRPC_NO_TIMEOUT));
    CHECK_INERT(esrpc_connection_wait_shutdown(connection, ESRPC_NO_TIMEOUT));
    CHECK_INERT(esrpc_connection_call(connection, esrpc_text("x"), NULL, esrpc_text("x"), ESRPC_NO_TIMEOUT, &reply));
    CHECK_INERT(esrpc_connection_new_stream(connection, NULL, NULL, &stream));
    CHECK(!esrpc_connection_is_open(connection));
    CHECK(esrpc_connection_get_user_data(connection) == NULL);
    esrpc_connection_release(esrpc_connection_acquire(connection));
}

static void check_stream_is_inert(esrpc_stream *stream) {
    esrpc_message *message = NULL;
    CHECK_INERT(esrpc_stream_accept(stream, NULL, NULL));
    CHECK_INERT(esrpc_stream_refuse(stream, NULL, esrpc_text("x")));
    CHECK_INERT(esrpc_stream_set_deadline_ms(stream, 1));
    CHECK_INERT(activate(stream, 0, "x", "late"));
    CHECK_INERT(send_text(stream, 0, "x", "late"));
    CHECK_INERT(esrpc_stream_close(stream));
    CHECK_INERT(esrpc_stream_wait_closed(stream, ESRPC_NO_TIMEOUT));
    CHECK_INERT(esrpc_stream_read(stream, ESRPC_NO_TIMEOUT, &message));
    CHECK_INERT(esrpc_stream_send_blocking(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL, esrpc_text("x"),
                                           ESRPC_NO_TIMEOUT));
    CHECK(esrpc_stream_get_user_data(stream) == NULL);
    esrpc_stream_release(esrpc_stream_acquire(stream));
}

static void check_listener_is_inert(esrpc_listener *listener) {
    esrpc_socket copy;
    CHECK_INERT(esrpc_listener_close(listener));
    CHECK_INERT(esrpc_listener_drain(listener, 0));
    CHECK_INERT(esrpc_listener_wait_closed(listener, ESRPC_NO_TIMEOUT));
    CHECK_INERT(esrpc_listener_dup_socket(listener, &copy));
    CHECK_INERT(esrpc_listener_adopt_connection(listener, 0));
    CHECK(esrpc_listener_get_open_connections(listener) == 0);
    CHECK(esrpc_listener_get_user_data(listener) == NULL);
    esrpc_listener_release(esrpc_listener_acquire(listener));
}

static void check_runtime_is_inert(esrpc_runtime *runtime) {
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_connection *connection = NULL;
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), 1));
    CHECK_OK(esrpc_client_options_set_runtime(options, runtime));
    CHECK_INERT(esrpc_connection_connect(options, NULL, NULL, &connection));
    CHECK_INERT(esrpc_runtime_join(runtime, ESRPC_NO_TIMEOUT));
    CHECK_OK(esrpc_runtime_shutdown(runtime));
    CHECK_OK(esrpc_runtime_drain(runtime, 0));
    CHECK_OK(esrpc_runtime_stop(runtime, 0));
    esrpc_client_options_release(options);
}

static void release_all(struct scene *scene) {
    esrpc_stream_release(scene->stream);
    esrpc_stream_release(scene->pair.handler_stream);
    esrpc_connection_release(scene->pair.client_connection);
    esrpc_connection_release(scene->pair.server_connection);
    esrpc_listener_release(scene->pair.listening);
    scene->stream = scene->pair.handler_stream = NULL;
    scene->pair.client_connection = scene->pair.server_connection = NULL;
    scene->pair.listening = NULL;
}

enum how { EACH, ALL, RELEASED_BEFORE };

static void stop_in(void (*state)(struct scene *scene), enum how how) {
    struct scene scene;
    size_t descriptors = count_descriptors(), events;
    recorder_clear();
    memset(&scene, 0, sizeof scene);
    scene.call = a_party("call", NULL, NULL);
    patient_pair_begin(&scene.pair);
    scene.pair.is_stopped = true;
    state(&scene);
    if (how == RELEASED_BEFORE) release_all(&scene);
    if (how == ALL) {
        CHECK_OK(esrpc_stop_all(PATIENCE_MS));
    } else {
        CHECK_OK(esrpc_runtime_stop(scene.pair.client_runtime, PATIENCE_MS));
        CHECK_OK(esrpc_runtime_stop(scene.pair.server_runtime, PATIENCE_MS));
    }
    events = count_all();
    if (scene.has_raw) {
        uint8_t data[4096];
        ssize_t got;
        /* What was written can be read, and then there is the end: nothing keeps the socket. */
        do {
            await_socket(scene.raw.descriptor, POLLIN);
            got = read(scene.raw.descriptor, data, sizeof data);
        } while (got > 0);
        CHECK(got == 0 || errno == ECONNRESET);
        raw_close(&scene.raw);
    }
    if (scene.stream != NULL) check_stream_is_inert(scene.stream);
    if (scene.pair.handler_stream != NULL) check_stream_is_inert(scene.pair.handler_stream);
    if (scene.pair.client_connection != NULL) check_connection_is_inert(scene.pair.client_connection);
    if (scene.pair.server_connection != NULL) check_connection_is_inert(scene.pair.server_connection);
    if (scene.pair.listening != NULL) check_listener_is_inert(scene.pair.listening);
    check_runtime_is_inert(scene.pair.client_runtime);
    check_runtime_is_inert(scene.pair.server_runtime);
    release_all(&scene);
    esrpc_runtime_release(scene.pair.client_runtime);
    esrpc_runtime_release(scene.pair.server_runtime);
    esrpc_connection_options_release(scene.pair.client_options);
    esrpc_connection_options_release(scene.pair.server_options);
    if (scene.has_raw_listener) raw_listener_close(&scene.raw_listener);
    CHECK(count_all() == events);
    names_let_go();
    await_threads(0);
    await_descriptors(descriptors);
}

static void a_stop_in_every_state(void) {
    static void (*const states[])(struct scene *) = {
        nothing,
        connecting,
        looking_a_name_up,
        in_the_tls_handshake,
        before_the_answer_to_connect,
        open_with_a_stream,
        with_sends_queued,
        with_refused_sends,
        lingering,
        draining,
        with_a_stream_to_be_read,
        with_a_message_half_there,
        after_the_end,
        while_callbacks_come,
        already_shut_down,
    };
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        if (states[i] == in_the_tls_handshake && *esrpc_tls_get_provider() == 0) continue;
        stop_in(states[i], EACH);
        stop_in(states[i], ALL);
        stop_in(states[i], RELEASED_BEFORE);
    }
}

static void wait_at_the_gate(struct party *self, const struct moment *now) {
    if (is(now, "protocol")) gate_pass((struct gate *)self->data);
}

static void a_callback_that_does_not_return(void) {
    struct gate gate = {false, 0};
    struct pair pair;
    pair_begin(&pair);
    pair_listen(&pair);
    pair.client.hook = wait_at_the_gate;
    pair.client.data = &gate;
    pair_dial(&pair);
    await("client setup OK");
    await("server protocol CONNECT");
    for (size_t i = 0; i < 10; i++) CHECK_OK(ping(pair.server_connection, "one of many", NULL));
    gate_await(&gate);
    CHECK_ONCE("client protocol");
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_runtime_stop(pair.client_runtime, 0));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_runtime_stop(pair.client_runtime, 20));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_stop_all(20));
    /* Who waits for the runtime need not wait for the callback. */
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_runtime_join(pair.client_runtime, ESRPC_NO_TIMEOUT));
    check_connection_is_inert(pair.client_connection);
    gate_open(&gate);
    CHECK_OK(esrpc_runtime_stop(pair.client_runtime, PATIENCE_MS));
    CHECK_OK(esrpc_stop_all(PATIENCE_MS));
    CHECK_ONCE("client protocol");
    CHECK_NEVER("client shutdown");
    CHECK_NEVER("client destroy");
    esrpc_connection_release(pair.client_connection);
    esrpc_connection_release(pair.server_connection);
    esrpc_listener_release(pair.listening);
    esrpc_runtime_release(pair.client_runtime);
    esrpc_runtime_release(pair.server_runtime);
    esrpc_connection_options_release(pair.client_options);
    esrpc_connection_options_release(pair.server_options);
}

static void stop_in_a_callback(esrpc_status status, void *user_data) {
    enter_callback();
    CHECK(status == ESRPC_OK);
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_runtime_stop((esrpc_runtime *)user_data, 0));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_runtime_stop(NULL, 0));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_stop_all(0));
    leave_callback();
    note("stopped nothing");
}

static void a_stop_inside_a_callback_is_refused(void) {
    struct pair pair;
    pair_open(&pair);
    CHECK_OK(esrpc_connection_run_on_loop(pair.client_connection, stop_in_a_callback, pair.client_runtime));
    CHECK_OK(esrpc_connection_run_on_loop(pair.client_connection, stop_in_a_callback, pair.server_runtime));
    await_count("stopped nothing", 2);
    CHECK_OK(ping(pair.client_connection, "alive", NULL));
    await("server protocol PING alive");
    pair_end(&pair);
}

static esrpc_listener *listen_on_default_runtime(struct party *party) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener_callbacks callbacks = listener_callbacks();
    esrpc_listener *listener;
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_listen(options, &callbacks, party, &listener));
    esrpc_listener_options_release(options);
    return listener;
}

static void the_default_runtime_is_made_anew(void) {
    struct party before = a_party("before", NULL, NULL), after = a_party("after", NULL, NULL);
    esrpc_listener *listener;
    CHECK_OK(esrpc_runtime_stop(NULL, 0));
    CHECK_OK(esrpc_stop_all(0));
    for (int i = 0; i < 2; i++) {
        listener = listen_on_default_runtime(&before);
        CHECK_OK(i == 0 ? esrpc_runtime_stop(NULL, PATIENCE_MS) : esrpc_stop_all(PATIENCE_MS));
        check_listener_is_inert(listener);
        CHECK_OK(esrpc_runtime_join(NULL, PATIENCE_MS));
        esrpc_listener_release(listener);
    }
    listener = listen_on_default_runtime(&after);
    CHECK_OK(esrpc_listener_close(listener));
    CHECK_OK(esrpc_listener_wait_closed(listener, PATIENCE_MS));
    esrpc_listener_release(listener);
    CHECK_OK(esrpc_runtime_join(NULL, PATIENCE_MS));
    CHECK_NEVER("before");
    CHECK_EVENTS("after", "closed OK", "destroy");
}

static void note_log(int32_t level, const char *target, const char *message, void *user_data) {
    (void)level, (void)target, (void)message;
    note("logged");
    if (user_data != NULL) gate_pass((struct gate *)user_data);
}

static void *make_a_runtime(void *data) {
    struct gate *gate = (struct gate *)data;
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    esrpc_runtime *runtime;
    CHECK_OK(esrpc_runtime_options_set_log(options, ESRPC_LOG_LEVEL_TRACE, note_log, gate));
    CHECK_OK(esrpc_runtime_new(options, &runtime));
    esrpc_runtime_options_release(options);
    return runtime;
}

/* The log callback comes on threads of the caller, too, and is waited for there as well. */
static void the_log_is_silent(void) {
    struct gate gate = {true, 0};
    esrpc_runtime *runtime = (esrpc_runtime *)make_a_runtime(&gate);
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_connection *connection;
    size_t logged;
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), 1));
    CHECK_OK(esrpc_client_options_set_runtime(options, runtime));
    gate.open = false;
    logged = count_of("logged");
    /* Nobody listens there. */
    CHECK_OK(esrpc_connection_connect(options, NULL, NULL, &connection));
    gate_await(&gate);
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_runtime_stop(runtime, 20));
    gate_open(&gate);
    CHECK_OK(esrpc_runtime_stop(runtime, PATIENCE_MS));
    CHECK_COUNT(logged + 1, "logged");
    esrpc_connection_release(connection);
    esrpc_client_options_release(options);
    esrpc_runtime_release(runtime);
    CHECK_COUNT(logged + 1, "logged");
}

/* Threads that use the runtime during the stop. */
struct others {
    struct pair *pair;
    esrpc_stream *to_read;
    esrpc_status (*work)(struct others *others);
    pthread_t thread;
};

static esrpc_status join(struct others *others) {
    return esrpc_runtime_join(others->pair->client_runtime, ESRPC_NO_TIMEOUT);
}

static esrpc_status stop(struct others *others) {
    CHECK_OK(esrpc_runtime_stop(others->pair->client_runtime, PATIENCE_MS));
    return ESRPC_ERROR_RUNTIME_SHUTDOWN;
}

static esrpc_status read_stream(struct others *others) {
    esrpc_message *message = NULL;
    return esrpc_stream_read(others->to_read, ESRPC_NO_TIMEOUT, &message);
}

static esrpc_status call(struct others *others) {
    esrpc_message *reply = NULL;
    return esrpc_connection_call(others->pair->client_connection, esrpc_text("x"), NULL, esrpc_text("x"),
                                 ESRPC_NO_TIMEOUT, &reply);
}

static esrpc_status send_on(struct others *others) {
    esrpc_status status;
    do {
        status = esrpc_stream_send_blocking(others->to_read, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL,
                                            esrpc_text("more"), ESRPC_NO_TIMEOUT);
    } while (status == ESRPC_OK);
    return status;
}

static esrpc_status wait_closed(struct others *others) {
    return esrpc_stream_wait_closed(others->to_read, ESRPC_NO_TIMEOUT);
}

static esrpc_status make_and_release(struct others *others) {
    esrpc_status status;
    do {
        esrpc_stream *stream = NULL;
        status = esrpc_connection_new_stream(others->pair->client_connection, NULL, NULL, &stream);
        if (status == ESRPC_OK) (void)activate(stream, 0, "once", NULL);
        esrpc_stream_release(stream);
    } while (status == ESRPC_OK);
    return status;
}

static esrpc_status connect_again(struct others *others) {
    esrpc_client_options *options = pair_client_options(others->pair);
    esrpc_status status;
    do {
        esrpc_connection *connection = NULL;
        status = esrpc_connection_connect_blocking(options, ESRPC_NO_TIMEOUT, &connection);
        if (connection != NULL) (void)esrpc_connection_close(connection, ESRPC_OK);
        esrpc_connection_release(connection);
    } while (status == ESRPC_OK);
    esrpc_client_options_release(options);
    return status;
}

static void *run_other(void *data) {
    struct others *others = (struct others *)data;
    note_status("other", "ended", others->work(others));
    return NULL;
}

static void a_stop_among_others(void) {
    /* After a join, or a shutdown, nothing new is accepted: these have their own rounds. */
    static esrpc_status (*const kinds[][8])(struct others *) = {
        {read_stream, call, send_on, wait_closed, make_and_release, connect_again, NULL, NULL},
        {read_stream, call, wait_closed, join, join, stop, NULL, NULL},
        {stop, stop, stop, join, NULL, NULL, NULL, NULL},
    };
    enum { ROUNDS = 10, KINDS = sizeof kinds / sizeof *kinds };
    for (size_t round = 0; round < ROUNDS * KINDS; round++) {
        struct others others[8];
        struct pair pair;
        size_t count = 0;
        recorder_clear();
        pair_begin(&pair);
        pair.is_stopped = true;
        pair_connect(&pair);
        esrpc_stream *stream = NULL;
        CHECK_OK(esrpc_connection_new_stream(pair.client_connection, NULL, NULL, &stream));
        CHECK_OK(activate(stream, 0, "first", NULL));
        await("handler message first");
        for (; kinds[round % KINDS][count] != NULL; count++) {
            others[count].pair = &pair;
            others[count].to_read = stream;
            others[count].work = kinds[round % KINDS][count];
            CHECK(pthread_create(&others[count].thread, NULL, run_other, &others[count]) == 0);
        }
        CHECK_OK(esrpc_runtime_stop(pair.client_runtime, PATIENCE_MS));
        for (size_t i = 0; i < count; i++) CHECK(pthread_join(others[i].thread, NULL) == 0);
        CHECK_COUNT(count, "other ended RUNTIME_SHUTDOWN");
        esrpc_stream_release(stream);
        esrpc_connection_release(pair.client_connection);
        pair.client_connection = NULL;
        CHECK_NEVER("client shutdown");
        CHECK_NEVER("client destroy");
        CHECK_OK(esrpc_runtime_stop(pair.server_runtime, PATIENCE_MS));
        esrpc_connection_release(pair.server_connection);
        esrpc_listener_release(pair.listening);
        esrpc_runtime_release(pair.client_runtime);
        esrpc_runtime_release(pair.server_runtime);
        esrpc_connection_options_release(pair.client_options);
        esrpc_connection_options_release(pair.server_options);
    }
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_stop_in_every_state),
        TEST(a_callback_that_does_not_return),
        TEST(a_stop_inside_a_callback_is_refused),
        TEST(the_default_runtime_is_made_anew),
        TEST(the_log_is_silent),
        TEST(a_stop_among_others),
    };
    return RUN_TESTS(tests, argc, argv);
}
