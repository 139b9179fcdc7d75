/* Many threads, and callbacks, open streams on one connection: the ids are on the wire in order, every callback comes exactly
   once, and nothing is left behind. */
#include "events.h"

#include "process.h"

enum {
    THREADS = 8,
    /* Open at once at most; below what servers allow. */
    WINDOW = 500,
    /* Small, so that sends are often refused and have to be repeated. */
    OUTBOUND_LIMIT = 16 * 1024
};

/* How a stream comes to its end. */
enum kind {
    ENDED_BY_FIRST_MESSAGE, /* its first message is its last one */
    ENDED_BY_SERVER,        /* the server's answer is the last message */
    CLOSED_IN_CALLBACK,     /* the client closes it when the answer comes */
    ENDED_BY_BOTH,          /* the client's second message and the server's answer both end it */
    KINDS
};

struct call {
    enum kind kind;
    bool from_callback; /* opened inside a callback */
    bool keep_handle;   /* released in on_closed, otherwise right after the activation */
    bool writable; /* under the lock */
    esrpc_stream *stream;
    /* Changed on the client's loop thread alone. */
    int accepted_sends, flushes, messages, closed, destroyed;
    esrpc_status flush_status, reason;
    int32_t id;
};

struct served {
    enum kind kind;
    int messages, closed, destroyed;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    esrpc_connection *connection;
    struct call *calls;
    struct served *served;
    size_t total, begun, open, over;
    bool refused_once;
    /* Changed on the server's loop thread alone. */
    size_t announced;
    pthread_t client_loop, server_loop;
    bool has_client_loop, has_server_loop;
    bool server_shut_down, client_shut_down;
} test;

static void on_client_loop(void) {
    if (!test.has_client_loop) {
        test.client_loop = pthread_self();
        test.has_client_loop = true;
    }
    CHECK(pthread_equal(test.client_loop, pthread_self()));
}

static void on_server_loop(void) {
    if (!test.has_server_loop) {
        test.server_loop = pthread_self();
        test.has_server_loop = true;
    }
    CHECK(pthread_equal(test.server_loop, pthread_self()));
}

/* Client */

static void open_call(struct call *call, bool inside_callback);

static void call_flushed(esrpc_status status, void *user_data) {
    struct call *call = (struct call *)user_data;
    on_client_loop();
    CHECK(call->closed == 0);
    call->flushes++;
    if (status != ESRPC_OK) call->flush_status = status;
}

static void call_message(esrpc_stream *stream, const esrpc_message *message, void *user_data) {
    struct call *call = (struct call *)user_data;
    on_client_loop();
    CHECK(call->closed == 0);
    CHECK(esrpc_message_get_stream_id(message) == esrpc_stream_get_id(stream));
    CHECK(is_text(esrpc_message_get_payload(message), "answer"));
    call->messages++;
    if (call->kind == CLOSED_IN_CALLBACK) CHECK_OK(esrpc_stream_close(stream));
}

/* The next call to be opened, or NULL. */
static struct call *take_call(bool wait_for_room) {
    struct call *call = NULL;
    pthread_mutex_lock(&test.lock);
    while (wait_for_room && test.open >= WINDOW && test.begun < test.total)
        pthread_cond_wait(&test.changed, &test.lock);
    if (test.begun < test.total) {
        call = &test.calls[test.begun++];
        test.open++;
    }
    pthread_mutex_unlock(&test.lock);
    return call;
}

static void call_closed(esrpc_stream *stream, esrpc_status reason, void *user_data) {
    struct call *call = (struct call *)user_data;
    struct call *next = NULL;
    on_client_loop();
    CHECK(call->destroyed == 0);
    call->closed++;
    call->reason = reason;
    call->id = esrpc_stream_get_id(stream);
    if (call->keep_handle) esrpc_stream_release(call->stream);
    /* A quarter of all is opened here. */
    if (call->kind == ENDED_BY_SERVER) next = take_call(false);
    if (next != NULL) {
        next->from_callback = true;
        open_call(next, true);
    }
    pthread_mutex_lock(&test.lock);
    test.open--;
    test.over++;
    pthread_cond_broadcast(&test.changed);
    pthread_mutex_unlock(&test.lock);
}

static void call_destroyed(void *user_data) {
    struct call *call = (struct call *)user_data;
    on_client_loop();
    CHECK(call->closed == 1);
    call->destroyed++;
}

/* A refused activation is repeated: by the thread that waits for this, or here if a callback had tried it. */
static void call_writable(esrpc_stream *stream, void *user_data) {
    struct call *call = (struct call *)user_data;
    (void)stream;
    on_client_loop();
    if (call->from_callback) {
        open_call(call, true);
        return;
    }
    pthread_mutex_lock(&test.lock);
    call->writable = true;
    pthread_cond_broadcast(&test.changed);
    pthread_mutex_unlock(&test.lock);
}

static void wait_until_writable(struct call *call) {
    pthread_mutex_lock(&test.lock);
    test.refused_once = true;
    while (!call->writable) pthread_cond_wait(&test.changed, &test.lock);
    pthread_mutex_unlock(&test.lock);
}

static esrpc_status try_to_open(struct call *call) {
    static const char *const payloads[] = {"0", "1", "2", "3"};
    int32_t flags = call->kind == ENDED_BY_FIRST_MESSAGE ? ESRPC_MESSAGE_FLAG_TERMINATE_STREAM : 0;
    pthread_mutex_lock(&test.lock);
    call->writable = false;
    pthread_mutex_unlock(&test.lock);
    return esrpc_stream_activate(call->stream, esrpc_text("stress#Call"), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, flags,
                                 NULL, esrpc_text(payloads[call->kind]), call_flushed, call);
}

static void open_call(struct call *call, bool inside_callback) {
    esrpc_stream_callbacks callbacks;
    esrpc_status status;
    esrpc_stream *stream;
    bool keep_handle = call->keep_handle;
    enum kind kind = call->kind;
    if (call->stream == NULL) {
        memset(&callbacks, 0, sizeof callbacks);
        callbacks.struct_size = sizeof callbacks;
        callbacks.on_message = call_message;
        callbacks.on_writable = call_writable;
        callbacks.on_closed = call_closed;
        callbacks.on_destroy = call_destroyed;
        CHECK_OK(esrpc_connection_new_stream(test.connection, &callbacks, call, &call->stream));
        CHECK(call->stream != NULL);
    }
    /* Held by this function: the call may be over before it returns. */
    stream = esrpc_stream_acquire(call->stream);
    while ((status = try_to_open(call)) == ESRPC_ERROR_WOULD_BLOCK) {
        if (inside_callback) {
            esrpc_stream_release(stream);
            return; /* on_writable comes */
        }
        wait_until_writable(call);
    }
    CHECK(status == ESRPC_OK);
    if (kind == ENDED_BY_BOTH) {
        status = esrpc_stream_close(stream);
        CHECK(status == ESRPC_OK || status == ESRPC_ERROR_STREAM_CLOSED);
    }
    esrpc_stream_release(stream);
    if (!keep_handle) esrpc_stream_release(stream);
}

static void *opener(void *unused) {
    struct call *call;
    (void)unused;
    while ((call = take_call(true)) != NULL) open_call(call, false);
    return NULL;
}

static void client_shutdown(esrpc_connection *connection, esrpc_status reason, void *user_data) {
    (void)connection, (void)user_data;
    on_client_loop();
    CHECK(reason == ESRPC_OK);
    CHECK(!test.client_shut_down);
    test.client_shut_down = true;
}

/* Server */

static void served_message(esrpc_stream *stream, const esrpc_message *message, void *user_data) {
    struct served *served = (struct served *)user_data;
    bool last = (esrpc_message_get_flags(message) & ESRPC_MESSAGE_FLAG_TERMINATE_STREAM) != 0;
    int32_t flags = served->kind == CLOSED_IN_CALLBACK ? 0 : ESRPC_MESSAGE_FLAG_TERMINATE_STREAM;
    on_server_loop();
    CHECK(served->closed == 0);
    if (served->messages++ > 0 || last) return;
    CHECK_OK(esrpc_stream_send_message(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, flags, NULL, esrpc_text("answer"),
                                       NULL, NULL));
}

static void served_closed(esrpc_stream *stream, esrpc_status reason, void *user_data) {
    (void)stream;
    CHECK(reason == ESRPC_OK);
    ((struct served *)user_data)->closed++;
}

static void served_destroyed(void *user_data) {
    CHECK(((struct served *)user_data)->closed == 1);
    ((struct served *)user_data)->destroyed++;
}

static void incoming_stream(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *message,
                            void *user_data) {
    struct served *served = &test.served[test.announced];
    esrpc_stream_callbacks callbacks;
    (void)connection, (void)user_data;
    on_server_loop();
    CHECK(test.announced < test.total);
    test.announced++;
    CHECK(esrpc_message_get_stream_id(message) == (int32_t)test.announced);
    served->kind = (enum kind)(esrpc_message_get_payload(message).data[0] - '0');
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_message = served_message;
    callbacks.on_closed = served_closed;
    callbacks.on_destroy = served_destroyed;
    CHECK_OK(esrpc_stream_accept(stream, &callbacks, served));
}

static void server_protocol_message(esrpc_connection *connection, const esrpc_message *message, void *user_data) {
    (void)message, (void)user_data;
    CHECK_OK(esrpc_connection_send_protocol_message(connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK,
                                                    ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, NULL, esrpc_text(NULL), NULL,
                                                    NULL));
}

static void server_shutdown(esrpc_connection *connection, esrpc_status reason, void *user_data) {
    (void)connection, (void)user_data;
    CHECK(reason == ESRPC_ERROR_PEER_CLOSED);
    CHECK(!test.server_shut_down);
    test.server_shut_down = true;
}

static void incoming_connection(esrpc_listener *listener, esrpc_connection *connection, void *user_data) {
    esrpc_connection_callbacks callbacks;
    (void)listener, (void)user_data;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_protocol_message = server_protocol_message;
    callbacks.on_incoming_stream = incoming_stream;
    callbacks.on_shutdown = server_shutdown;
    CHECK_OK(esrpc_connection_accept(connection, &callbacks, NULL));
}

static esrpc_listener *listen_on(esrpc_runtime *runtime) {
    esrpc_listener_callbacks callbacks;
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener *listener = NULL;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_incoming_connection = incoming_connection;
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_options_set_runtime(options, runtime));
    CHECK_OK(esrpc_listener_listen(options, &callbacks, NULL, &listener));
    esrpc_listener_options_release(options);
    return listener;
}

static void connect_to(esrpc_listener *listener, esrpc_runtime *runtime) {
    esrpc_connection_callbacks callbacks;
    esrpc_connection_options *connection_options = esrpc_connection_options_new();
    esrpc_client_options *options = esrpc_client_options_new();
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_shutdown = client_shutdown;
    CHECK_OK(esrpc_connection_options_set_outbound_limit(connection_options, OUTBOUND_LIMIT));
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), esrpc_listener_get_port(listener)));
    CHECK_OK(esrpc_client_options_set_runtime(options, runtime));
    CHECK_OK(esrpc_client_options_set_connection_options(options, connection_options));
    CHECK_OK(esrpc_client_options_set_handshake(options, NULL, esrpc_text(NULL)));
    CHECK_OK(esrpc_connection_connect(options, &callbacks, NULL, &test.connection));
    CHECK_OK(esrpc_connection_wait_setup(test.connection, ESRPC_NO_TIMEOUT));
    esrpc_client_options_release(options);
    esrpc_connection_options_release(connection_options);
}

static void check_calls(void) {
    size_t from_callbacks = 0;
    char *used = (char *)calloc(test.total + 1, 1);
    CHECK(test.announced == test.total);
    for (size_t i = 0; i < test.total; i++) {
        const struct call *call = &test.calls[i];
        const struct served *served = &test.served[i];
        CHECK(call->flushes == 1 && call->flush_status == ESRPC_OK);
        CHECK(call->closed == 1 && call->destroyed == 1 && call->reason == ESRPC_OK);
        if (call->kind == ENDED_BY_FIRST_MESSAGE)
            CHECK(call->messages == 0);
        else if (call->kind == ENDED_BY_BOTH)
            CHECK(call->messages <= 1);
        else
            CHECK(call->messages == 1);
        CHECK(call->id >= 1 && (size_t)call->id <= test.total && !used[call->id]);
        used[call->id] = 1;
        CHECK(test.served[call->id - 1].kind == call->kind);
        CHECK(served->closed == 1 && served->destroyed == 1);
        CHECK(served->messages == 1 || (served->messages == 2 && served->kind >= CLOSED_IN_CALLBACK));
        from_callbacks += call->from_callback;
    }
    free(used);
    printf("%zu streams, %zu of them opened in callbacks, sends refused for the outbound limit: %s\n", test.total,
           from_callbacks, test.refused_once ? "yes" : "no");
    CHECK(from_callbacks > 0);
}

static void every_stream_of_many_has_its_callbacks(void) {
    pthread_t threads[THREADS];
    struct timespec begin, end;
    esrpc_runtime *client_runtime, *server_runtime;
    esrpc_listener *listener;
    size_t descriptors = count_descriptors();

    test.total = is_watched() ? 3000 : 100000;
    test.calls = (struct call *)calloc(test.total, sizeof *test.calls);
    test.served = (struct served *)calloc(test.total, sizeof *test.served);
    for (size_t i = 0; i < test.total; i++) {
        test.calls[i].kind = (enum kind)(i % KINDS);
        test.calls[i].keep_handle = i / KINDS % 2 == 1;
    }
    pthread_mutex_init(&test.lock, NULL);
    pthread_cond_init(&test.changed, NULL);

    CHECK_OK(esrpc_runtime_new(NULL, &client_runtime));
    CHECK_OK(esrpc_runtime_new(NULL, &server_runtime));
    listener = listen_on(server_runtime);
    connect_to(listener, client_runtime);

    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (size_t i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, opener, NULL) == 0);
    for (size_t i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    pthread_mutex_lock(&test.lock);
    while (test.over < test.total) pthread_cond_wait(&test.changed, &test.lock);
    pthread_mutex_unlock(&test.lock);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%d threads: %.2f s\n", THREADS,
           (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);

    CHECK_OK(esrpc_connection_close(test.connection, ESRPC_OK));
    CHECK_ENDED(esrpc_connection_wait_shutdown(test.connection, ESRPC_NO_TIMEOUT));
    esrpc_connection_release(test.connection);
    CHECK_OK(esrpc_listener_close(listener));
    esrpc_listener_release(listener);
    /* With an OK, all connections, streams and the listener are destroyed. */
    CHECK_OK(esrpc_runtime_join(client_runtime, PATIENCE_MS));
    CHECK_OK(esrpc_runtime_join(server_runtime, PATIENCE_MS));
    esrpc_runtime_release(client_runtime);
    esrpc_runtime_release(server_runtime);

    CHECK(test.client_shut_down && test.server_shut_down);
    check_calls();
    await_threads(0);
    CHECK(count_descriptors() == descriptors);
    free(test.calls);
    free(test.served);
    pthread_cond_destroy(&test.changed);
    pthread_mutex_destroy(&test.lock);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {TEST(every_stream_of_many_has_its_callbacks)};
    return RUN_TESTS(tests, argc, argv);
}
