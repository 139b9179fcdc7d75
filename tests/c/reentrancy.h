/* A conversation in which every callback comes, and an action in one of them. The lives of all objects are
   checked at the end. */
#ifndef REENTRANCY_H
#define REENTRANCY_H

#include "harness.h"

struct scene {
    struct pair pair;
    struct party bystander, call, extra;
    const char *callback; /* the event in which to act */
    /* What to do: to the callback's own connection and stream, which may be NULL, and to another connection. */
    void (*act)(struct scene *scene, const struct moment *now, esrpc_connection *connection, esrpc_connection *bystander);
    int action; /* for act */
    esrpc_connection *bystander_connection;
    size_t tasks; /* begun */
};

/* The bystander and the listener live as long as the test holds them: their ends make callbacks too. */
struct both {
    esrpc_connection *bystander;
    esrpc_listener *listener;
};

static inline bool acquire_both(struct scene *scene, struct both *both) {
    pthread_mutex_lock(&recorder.lock);
    both->bystander = esrpc_connection_acquire(scene->bystander_connection);
    both->listener = both->bystander == NULL ? NULL : esrpc_listener_acquire(scene->pair.listening);
    pthread_mutex_unlock(&recorder.lock);
    return both->bystander != NULL;
}

static inline void give_bystander_up(struct scene *scene) {
    pthread_mutex_lock(&recorder.lock);
    esrpc_connection *connection = scene->bystander_connection;
    scene->bystander_connection = NULL;
    pthread_mutex_unlock(&recorder.lock);
    esrpc_connection_release(connection);
}

static inline void act(struct scene *scene, const char *callback, esrpc_connection *connection, const struct moment *now) {
    struct both both;
    if (strcmp(callback, scene->callback) != 0 || !acquire_both(scene, &both)) return;
    note("acted");
    scene->act(scene, now, connection, both.bystander);
    esrpc_connection_release(both.bystander);
    esrpc_listener_release(both.listener);
}

/* The replies that keep the conversation going, and the action. */
static void hook(struct party *self, const struct moment *now) {
    struct scene *scene = self->data == NULL ? NULL : (struct scene *)self->data;
    esrpc_connection *connection = now->connection;
    char callback[40];
    snprintf(callback, sizeof callback, "%s %s", self->name, now->what);
    if (now->stream != NULL) connection = esrpc_stream_get_connection(now->stream);
    if (now->message != NULL && is_text(esrpc_message_get_payload(now->message), "end"))
        esrpc_stream_close(now->stream);
    if (now->message != NULL && is_text(esrpc_message_get_payload(now->message), "ask")) ping(connection, "answer", NULL);
    act(scene, callback, connection, now);
}

static void flush_hook(esrpc_status status, void *user_data) {
    struct scene *scene = (struct scene *)user_data;
    enter_callback();
    note_status("flush", "hook", status);
    struct moment now = moment_of("flush", scene->pair.client_connection, NULL, NULL, status);
    act(scene, "flush", scene->pair.client_connection, &now);
    leave_callback();
}

static void task_hook(esrpc_status status, void *user_data) {
    struct scene *scene = (struct scene *)user_data;
    enter_callback();
    struct moment now = moment_of("task", scene->pair.client_connection, NULL, NULL, status);
    act(scene, "task", scene->pair.client_connection, &now);
    note_status("task", "run", status);
    leave_callback();
}

static inline void begin_task(struct scene *scene) {
    CHECK_OK(esrpc_connection_run_on_loop(scene->pair.client_connection, task_hook, scene));
    scene->tasks++;
}

/* Sends more than the outbound limit, a PING until that queue is written, and the end of the stream. */
static inline void converse(struct scene *scene, esrpc_stream *stream) {
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

static inline void play(struct scene *scene) {
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
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair->client_connection, PATIENCE_MS));
    esrpc_stream_release(stream);
    await_count("task run", scene->tasks); /* may come after the end of a connection that an action ended */
    esrpc_connection_release(pair->client_connection);
    pair->client_connection = NULL;
    await("client destroy");
    await("server shutdown");
    CHECK_OK(esrpc_listener_close(pair->listening));
    await("listener closed");
    esrpc_listener_release(esrpc_listener_acquire(pair->listening));
}

/* The rest, after every callback except those of the bystander's end. */
static inline void finish(struct scene *scene) {
    CHECK_OK(esrpc_connection_abort(scene->bystander_connection));
    CHECK_ENDED(esrpc_connection_wait_shutdown(scene->bystander_connection, PATIENCE_MS));
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

#endif
