/* Promise 6: any function may be called from any callback, on any object: no deadlock, and no callback is lost.

   One conversation that makes every callback come is repeated for each pair of a callback and something done in it.
   What is done hits the callback's own connection and stream, and a second connection, the bystander. The lives of all
   objects are checked at the end of each (pair_end). */
#include "reentrancy.h"

enum action { CLOSE, ABORT, RELEASE, OPEN_STREAMS, SEND, END_STREAM, PAUSE, CLOSE_LISTENER, WAIT, ACTIONS };

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
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_connection_wait_setup(connection, 1));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_connection_wait_flush(connection, 1));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_connection_wait_shutdown(connection, 1));
    if (stream != NULL) CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_stream_wait_closed(stream, 1));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_listener_wait_closed(scene->pair.listening, 1));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_runtime_join(scene->pair.client_runtime, 1));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_runtime_join(scene->pair.server_runtime, 1));
}

/* Statuses are not looked at: what can be done depends on where the conversation is. */
static void act_on(struct scene *scene, esrpc_connection *connection, esrpc_stream *stream) {
    switch ((enum action)scene->action) {
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

static void act_on_both(struct scene *scene, const struct moment *now, esrpc_connection *connection,
                        esrpc_connection *bystander) {
    if (connection != NULL) act_on(scene, connection, now->stream);
    act_on(scene, bystander, now->stream);
}

static void acting_in(const char *callback) {
    for (int action = 0; action < ACTIONS; action++) {
        struct scene scene;
        recorder_clear();
        memset(&scene, 0, sizeof scene);
        scene.callback = callback;
        scene.act = act_on_both;
        scene.action = action;
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
