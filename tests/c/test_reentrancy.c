/* Promise 6: any function may be called from any callback, on any object: no deadlock, and no callback is lost.

   One conversation that makes every callback come is repeated for each pair of a callback and something done in it.
   What is done hits the callback's own connection and stream, and a second connection, the bystander. The lives of all
   objects are checked at the end of each (pair_end). */
#include "harness.h"

enum action { CLOSE, ABORT, RELEASE, OPEN_STREAMS, SEND, END_STREAM, PAUSE, CLOSE_LISTENER, WAIT, ACTIONS };

struct scene {
    struct pair pair;
    struct party bystander, call, extra;
    const char *callback; /* the event in which to act */
    enum action action;
    esrpc_connection *bystander_connection;
    size_t tasks; /* begun */
};

static void open_streams(struct scene *scene, esrpc_connection *connection) {
    esrpc_stream_callbacks callbacks = stream_callbacks();
    for (int i = 0; i < 2; i++) {
        esrpc_stream *stream = NULL;
        if (esrpc_connection_new_stream(connection, &callbacks, &scene->extra, &stream) != ESRPC_OK) continue;
        note("extra made");
        if (activate(stream, i == 0 ? 0 : LAST, "first", "extra") == ESRPC_OK) note("extra activated");
        esrpc_stream_release(stream);
    }
}

static void wait_for_everything(struct scene *scene, esrpc_connection *connection, esrpc_stream *stream) {
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_connection_wait_setup(connection, 1, NULL));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_connection_wait_flush(connection, 1, NULL));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_connection_wait_shutdown(connection, 1, NULL));
    if (stream != NULL) CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_stream_wait_closed(stream, 1, NULL));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_listener_wait_closed(scene->pair.listening, 1));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_runtime_join(scene->pair.client_runtime, 1));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_runtime_join(scene->pair.server_runtime, 1));
}

/* Statuses are not looked at: what can be done depends on where the conversation is. */
static void act_on(struct scene *scene, esrpc_connection *connection, esrpc_stream *stream) {
    switch (scene->action) {
        case CLOSE: esrpc_connection_close(connection, 1234); break;
        case ABORT: esrpc_connection_abort(connection); break;
        case RELEASE:
            esrpc_connection_release(esrpc_connection_acquire(connection));
            esrpc_stream_release(esrpc_stream_acquire(stream));
            break;
        case OPEN_STREAMS: open_streams(scene, connection); break;
        case SEND:
            ping(connection, "extra", "extra");
            if (stream != NULL) send_text(stream, 0, "extra", "extra");
            break;
        case END_STREAM: esrpc_stream_close(stream); break;
        case PAUSE:
            esrpc_connection_pause_reading(connection);
            esrpc_connection_resume_reading(connection);
            break;
        case CLOSE_LISTENER: esrpc_listener_close(scene->pair.listening); break;
        case WAIT: wait_for_everything(scene, connection, stream); break;
        case ACTIONS: break;
    }
}

/* Bystander and listener are there as long as the test has them: their own ends make callbacks too. */
struct both {
    esrpc_connection *bystander;
    esrpc_listener *listener;
};

static bool acquire_both(struct scene *scene, struct both *both) {
    pthread_mutex_lock(&recorder.lock);
    both->bystander = esrpc_connection_acquire(scene->bystander_connection);
    both->listener = both->bystander == NULL ? NULL : esrpc_listener_acquire(scene->pair.listening);
    pthread_mutex_unlock(&recorder.lock);
    return both->bystander != NULL;
}

static void give_bystander_up(struct scene *scene) {
    pthread_mutex_lock(&recorder.lock);
    esrpc_connection *connection = scene->bystander_connection;
    scene->bystander_connection = NULL;
    pthread_mutex_unlock(&recorder.lock);
    esrpc_connection_release(connection);
}

static void act(struct scene *scene, const char *callback, esrpc_connection *connection, esrpc_stream *stream) {
    struct both both;
    if (strcmp(callback, scene->callback) != 0 || !acquire_both(scene, &both)) return;
    note("acted");
    if (connection != NULL) act_on(scene, connection, stream);
    act_on(scene, both.bystander, stream);
    esrpc_connection_release(both.bystander);
    esrpc_listener_release(both.listener);
}

/* The answers that keep the conversation going, and the action. */
static void hook(struct party *self, const struct moment *now) {
    struct scene *scene = self->data == NULL ? NULL : (struct scene *)self->data;
    esrpc_connection *connection = now->connection;
    char callback[40];
    snprintf(callback, sizeof callback, "%s %s", self->name, now->what);
    if (now->stream != NULL) connection = esrpc_stream_get_connection(now->stream);
    if (now->message != NULL && is_text(esrpc_message_get_payload(now->message), "end"))
        esrpc_stream_close(now->stream);
    if (now->message != NULL && is_text(esrpc_message_get_payload(now->message), "ask")) ping(connection, "answer", NULL);
    act(scene, callback, connection, now->stream);
}

static void flush_hook(esrpc_status status, void *user_data) {
    struct scene *scene = (struct scene *)user_data;
    enter_callback();
    note_status("flush", "hook", status);
    act(scene, "flush", scene->pair.client_connection, NULL);
    leave_callback();
}

static void task_hook(esrpc_status status, void *user_data) {
    struct scene *scene = (struct scene *)user_data;
    enter_callback();
    act(scene, "task", scene->pair.client_connection, NULL);
    note_status("task", "run", status);
    leave_callback();
}

static void begin_task(struct scene *scene) {
    CHECK_OK(esrpc_connection_run_on_loop(scene->pair.client_connection, task_hook, scene));
    scene->tasks++;
}

static void await_either(const char *a, const char *b) {
    struct timespec deadline = deadline_in(PATIENCE_SECONDS);
    pthread_mutex_lock(&recorder.lock);
    while (count_locked(a) == 0 && count_locked(b) == 0) {
        if (wait_locked(&deadline)) continue;
        fprintf(stderr, "waited in vain for \"%s\" or \"%s\"; what happened:\n", a, b);
        print_events();
        abort();
    }
    pthread_mutex_unlock(&recorder.lock);
}

/* Sends more than the outbound limit, a ping until that queue has left, and the stream's end. */
static void converse(struct scene *scene, esrpc_stream *stream) {
    struct pair *pair = &scene->pair;
    struct gate gate;
    hold_loop(pair->client_connection, &gate);
    for (int i = 0; i < 100; i++) send_text(stream, 0, "filler", NULL);
    ping(pair->client_connection, "filler", NULL);
    gate_open(&gate);
    await_either("call writable", "call closed");
    begin_task(scene);
    esrpc_connection_send_protocol_message(pair->client_connection, ESRPC_MESSAGE_TYPE_PING, 0, NULL, esrpc_text("ask"),
                                           flush_hook, scene);
    await_either("client protocol PING answer", "client shutdown");
    send_text(stream, 0, "end", NULL);
    await_either("call closed", "client shutdown");
}

static void play(struct scene *scene) {
    struct pair *pair = &scene->pair;
    esrpc_stream_callbacks callbacks = stream_callbacks();
    esrpc_stream *stream = NULL;
    pair_begin(pair);
    scene->bystander = a_party("bystander", NULL, NULL);
    scene->call = a_party("call", hook, scene);
    scene->extra = a_party("extra", hook, scene);
    CHECK_OK(esrpc_connection_options_set_outbound_limit(pair->client_options, 2000));
    pair_listen(pair);
    pair_dial_as(pair, &scene->bystander, &scene->bystander_connection);
    await("bystander setup OK");
    pair->client.hook = pair->server.hook = pair->listener.hook = pair->handler.hook = hook;
    pair->client.data = scene; /* those of the server need the pair: scene begins with it */
    pair_dial(pair);
    await("client setup");

    if (esrpc_connection_new_stream(pair->client_connection, &callbacks, &scene->call, &stream) == ESRPC_OK) {
        note("call made");
        if (activate(stream, 0, "first", NULL) == ESRPC_OK) {
            note("call activated");
            converse(scene, stream);
        }
    }
    begin_task(scene);
    CHECK_OK(esrpc_connection_close(pair->client_connection, ESRPC_OK));
    CHECK_OK(esrpc_connection_wait_shutdown(pair->client_connection, PATIENCE_MS, NULL));
    esrpc_stream_release(stream);
    await_count("task run", scene->tasks); /* which may come after the end of a connection that an action ended */
    esrpc_connection_release(pair->client_connection);
    pair->client_connection = NULL;
    await("client destroy");
    await("server shutdown");
    CHECK_OK(esrpc_listener_close(pair->listening));
    await("listener closed");
    esrpc_listener_release(esrpc_listener_acquire(pair->listening));
}

/* The part after every callback but those of the bystander's end has come. */
static void finish(struct scene *scene) {
    CHECK_OK(esrpc_connection_abort(scene->bystander_connection));
    CHECK_OK(esrpc_connection_wait_shutdown(scene->bystander_connection, PATIENCE_MS, NULL));
    give_bystander_up(scene);
    pair_end(&scene->pair);
    CHECK_ONCE("bystander setup OK");
    CHECK_ONCE("bystander shutdown");
    CHECK_ONCE("bystander destroy");
    CHECK_COUNT(count_of("call made"), "call destroy");
    CHECK_COUNT(count_of("call activated"), "call closed");
    CHECK_COUNT(count_of("extra made"), "extra destroy");
    CHECK_COUNT(count_of("extra activated"), "extra closed");
}

static void acting_in(const char *callback) {
    for (int action = 0; action < ACTIONS; action++) {
        struct scene scene;
        recorder_clear();
        memset(&scene, 0, sizeof scene);
        scene.callback = callback;
        scene.action = (enum action)action;
        play(&scene);
        await("acted");
        finish(&scene);
    }
}

static void everything_may_be_done_in_on_setup(void) {
    acting_in("client setup");
}

static void everything_may_be_done_in_on_protocol_message(void) {
    acting_in("client protocol");
    acting_in("server protocol");
}

static void everything_may_be_done_in_on_incoming_stream(void) {
    acting_in("server stream");
}

static void everything_may_be_done_in_a_connections_on_writable(void) {
    acting_in("client writable");
}

static void everything_may_be_done_in_on_shutdown(void) {
    acting_in("client shutdown");
    acting_in("server shutdown");
}

static void everything_may_be_done_in_a_connections_on_destroy(void) {
    acting_in("client destroy");
}

static void everything_may_be_done_in_on_message(void) {
    acting_in("call message");
    acting_in("handler message");
}

static void everything_may_be_done_in_a_streams_on_writable(void) {
    acting_in("call writable");
}

static void everything_may_be_done_in_a_streams_on_closed(void) {
    acting_in("call closed");
    acting_in("handler closed");
}

static void everything_may_be_done_in_a_streams_on_destroy(void) {
    acting_in("call destroy");
    acting_in("handler destroy");
}

static void everything_may_be_done_in_a_flush_callback(void) {
    acting_in("flush");
}

static void everything_may_be_done_in_a_task(void) {
    acting_in("task");
}

static void everything_may_be_done_in_on_incoming_connection(void) {
    acting_in("listener incoming");
}

static void everything_may_be_done_in_a_listeners_on_closed(void) {
    acting_in("listener closed");
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(everything_may_be_done_in_on_setup),
        TEST(everything_may_be_done_in_on_protocol_message),
        TEST(everything_may_be_done_in_on_incoming_stream),
        TEST(everything_may_be_done_in_a_connections_on_writable),
        TEST(everything_may_be_done_in_on_shutdown),
        TEST(everything_may_be_done_in_a_connections_on_destroy),
        TEST(everything_may_be_done_in_on_message),
        TEST(everything_may_be_done_in_a_streams_on_writable),
        TEST(everything_may_be_done_in_a_streams_on_closed),
        TEST(everything_may_be_done_in_a_streams_on_destroy),
        TEST(everything_may_be_done_in_a_flush_callback),
        TEST(everything_may_be_done_in_a_task),
        TEST(everything_may_be_done_in_on_incoming_connection),
        TEST(everything_may_be_done_in_a_listeners_on_closed),
    };
    return RUN_TESTS(tests, argc, argv);
}
