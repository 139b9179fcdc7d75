/* In a forked child calls on the parent's objects return ESRPC_ERROR_FORKED and everything new works; the parent notices
   nothing. */
#include "client.h"

#include "process.h"

#include <signal.h>

#define CHECK_FORKED(call) CHECK_STATUS(ESRPC_ERROR_FORKED, call)

static void never_called(esrpc_status status, void *user_data) {
    (void)status, (void)user_data;
    abort();
}

/* The parent's figures are not for a child. */
static esrpc_stats *no_stats(void) {
    static esrpc_stats stats;
    stats.struct_size = sizeof stats;
    return &stats;
}

static void check_runtime_is_foreign(esrpc_runtime *runtime) {
    esrpc_client_options *client_options = esrpc_client_options_new();
    esrpc_listener_options *listener_options = esrpc_listener_options_new();
    CHECK_FORKED(esrpc_client_options_set_runtime(client_options, runtime));
    CHECK_FORKED(esrpc_listener_options_set_runtime(listener_options, runtime));
    esrpc_client_options_release(client_options);
    esrpc_listener_options_release(listener_options);
    CHECK_FORKED(esrpc_runtime_drain(runtime, 0));
    CHECK(esrpc_runtime_get_open_streams(runtime) == 0);
    CHECK(esrpc_runtime_get_open_connections(runtime) == 0);
    CHECK_FORKED(esrpc_runtime_get_stats(runtime, no_stats()));
    CHECK_FORKED(esrpc_runtime_shutdown(runtime));
    CHECK_FORKED(esrpc_runtime_join(runtime, 0));
    CHECK_FORKED(esrpc_runtime_stop(runtime, 0));
    CHECK_FORKED(esrpc_runtime_join(runtime, ESRPC_NO_TIMEOUT));
    esrpc_runtime_release(esrpc_runtime_acquire(runtime));
    /* Also more often than anybody holds it. */
    for (int i = 0; i < 5; i++) esrpc_runtime_release(runtime);
    CHECK_FORKED(esrpc_runtime_shutdown(runtime));
}

static void check_listener_is_foreign(esrpc_listener *listener) {
    CHECK_FORKED(esrpc_listener_close(listener));
    CHECK_FORKED(esrpc_listener_drain(listener, 0));
    CHECK(esrpc_listener_get_open_streams(listener) == 0);
    CHECK(esrpc_listener_get_open_connections(listener) == 0);
    CHECK_FORKED(esrpc_listener_get_stats(listener, no_stats()));
    CHECK_FORKED(esrpc_listener_set_tls(listener, NULL));
    CHECK_FORKED(esrpc_listener_wait_closed(listener, ESRPC_NO_TIMEOUT));
    CHECK_FORKED(esrpc_listener_adopt_connection(listener, 0));
    {
        esrpc_socket duplicate;
        CHECK_FORKED(esrpc_listener_dup_socket(listener, &duplicate));
    }
    CHECK(strcmp(esrpc_listener_get_address(listener), "") == 0);
    CHECK(esrpc_listener_get_port(listener) == 0);
    CHECK(esrpc_listener_get_user_data(listener) == NULL);
    esrpc_listener_release(esrpc_listener_acquire(listener));
    for (int i = 0; i < 5; i++) esrpc_listener_release(listener);
    CHECK_FORKED(esrpc_listener_close(listener));
}

static void check_connection_is_foreign(esrpc_connection *connection) {
    esrpc_stream *stream = NULL;
    esrpc_message *reply = NULL;
    esrpc_bytes certificate;
    CHECK_FORKED(esrpc_connection_accept(connection, NULL, NULL));
    CHECK_FORKED(esrpc_connection_close(connection, ESRPC_OK));
    CHECK_FORKED(esrpc_connection_abort(connection));
    CHECK_FORKED(esrpc_connection_send_protocol_message(connection, ESRPC_MESSAGE_TYPE_PING, 0, NULL, esrpc_text("x"),
                                                        never_called, NULL));
    CHECK_FORKED(esrpc_connection_defer(connection));
    CHECK_FORKED(esrpc_connection_pause_reading(connection));
    CHECK_FORKED(esrpc_connection_resume_reading(connection));
    CHECK_FORKED(esrpc_connection_run_on_loop(connection, never_called, NULL));
    CHECK_FORKED(esrpc_connection_wait_setup(connection, ESRPC_NO_TIMEOUT));
    CHECK_FORKED(esrpc_connection_wait_flush(connection, ESRPC_NO_TIMEOUT));
    CHECK_FORKED(esrpc_connection_wait_shutdown(connection, ESRPC_NO_TIMEOUT));
    CHECK_FORKED(esrpc_connection_call(connection, esrpc_text("x"), NULL, esrpc_text("x"), ESRPC_NO_TIMEOUT, &reply));
    CHECK(reply == NULL);
    CHECK_FORKED(esrpc_connection_new_stream(connection, NULL, NULL, &stream));
    CHECK(stream == NULL);
    CHECK(esrpc_connection_get_state(connection) == 0);
    CHECK(!esrpc_connection_is_open(connection));
    CHECK(esrpc_connection_get_user_data(connection) == NULL);
    CHECK(strcmp(esrpc_connection_get_local_address(connection), "") == 0);
    CHECK(strcmp(esrpc_connection_get_remote_address(connection), "") == 0);
    CHECK(strcmp(esrpc_connection_get_host(connection), "") == 0);
    CHECK(esrpc_connection_get_port(connection) == 0);
    CHECK_FORKED(esrpc_connection_get_peer_credentials(connection, NULL));
    CHECK(esrpc_connection_get_outbound_size(connection) == 0);
    CHECK_FORKED(esrpc_connection_get_stats(connection, no_stats()));
    CHECK(esrpc_connection_get_connect_ack(connection) == NULL);
    CHECK(*esrpc_connection_get_tls_version(connection) == 0);
    CHECK(*esrpc_connection_get_tls_cipher_suite(connection) == 0);
    CHECK(*esrpc_connection_get_tls_key_exchange(connection) == 0);
    CHECK(*esrpc_connection_get_tls_alpn(connection) == 0);
    CHECK(!esrpc_connection_is_tls_resumed(connection));
    CHECK_FORKED(esrpc_connection_get_tls_peer_certificate(connection, 0, &certificate));
    CHECK(esrpc_connection_get_end_status(connection) == ESRPC_OK);
    CHECK(strcmp(esrpc_connection_get_end_message(connection), "") == 0);
    esrpc_connection_release(esrpc_connection_acquire(connection));
    for (int i = 0; i < 5; i++) esrpc_connection_release(connection);
    CHECK_FORKED(esrpc_connection_abort(connection));
}

static void check_stream_is_foreign(esrpc_stream *stream) {
    esrpc_message *message = NULL;
    CHECK_FORKED(esrpc_stream_read(stream, ESRPC_NO_TIMEOUT, &message));
    CHECK_FORKED(esrpc_stream_send_blocking(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL, esrpc_text("x"),
                                            ESRPC_NO_TIMEOUT));
    CHECK_FORKED(esrpc_stream_accept(stream, NULL, NULL));
    CHECK_FORKED(esrpc_stream_refuse(stream, NULL, esrpc_text("x")));
    CHECK_FORKED(esrpc_stream_defer(stream, 1000));
    CHECK_FORKED(esrpc_stream_reply(stream, NULL, esrpc_text("x")));
    CHECK_FORKED(esrpc_stream_fail(stream, esrpc_text("x"), esrpc_text("x")));
    CHECK_FORKED(esrpc_stream_activate(stream, esrpc_text("x"), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL,
                                       esrpc_text("x"), never_called, NULL));
    CHECK_FORKED(esrpc_stream_send_message(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL, esrpc_text("x"),
                                           never_called, NULL));
    CHECK_FORKED(esrpc_stream_close(stream));
    CHECK_FORKED(esrpc_stream_set_deadline_ms(stream, 1));
    CHECK_FORKED(esrpc_stream_wait_closed(stream, ESRPC_NO_TIMEOUT));
    CHECK(esrpc_stream_get_id(stream) == 0);
    CHECK(esrpc_stream_get_state(stream) == 0);
    CHECK(esrpc_stream_get_connection(stream) == NULL);
    CHECK(esrpc_stream_get_user_data(stream) == NULL);
    CHECK(esrpc_stream_get_operation(stream).len == 0);
    CHECK(esrpc_stream_get_end_status(stream) == ESRPC_OK);
    CHECK(strcmp(esrpc_stream_get_end_message(stream), "") == 0);
    esrpc_stream_release(esrpc_stream_acquire(stream));
    for (int i = 0; i < 5; i++) esrpc_stream_release(stream);
    CHECK_FORKED(esrpc_stream_close(stream));
}

static void check_codec_works(void) {
    uint8_t data[200];
    size_t len, used;
    esrpc_message *message;
    esrpc_headers *headers = esrpc_headers_new();
    CHECK_OK(esrpc_headers_add_string(headers, esrpc_text("name"), esrpc_text("value")));
    CHECK_OK(esrpc_message_encode(headers, esrpc_text("payload"), data, sizeof data, &len));
    esrpc_headers_release(headers);
    CHECK_OK(esrpc_message_decode(bytes(data, len), &message, &used));
    CHECK(used == len && is_text(esrpc_message_get_payload(message), "payload"));
    esrpc_message_release(message);
}

/* A whole conversation with a new listener, over new runtimes. */
static void hold_a_conversation(void) {
    struct party call = a_party("call", NULL, NULL);
    struct pair pair;
    esrpc_stream *stream;
    recorder_clear();
    pair_open(&pair);
    stream = open_stream(pair.client_connection, &call);
    await("handler message first");
    CHECK_OK(esrpc_stream_close(stream));
    CHECK_ENDED(esrpc_stream_wait_closed(stream, PATIENCE_MS));
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_EVENTS("call", "closed OK", "destroy");
}

/* A listener on the default runtime, which a child has to make anew. */
static esrpc_listener *listen_on_default_runtime(void) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener *listener;
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_listen(options, NULL, NULL, &listener));
    esrpc_listener_options_release(options);
    return listener;
}

static void use_the_default_runtime(void) {
    esrpc_listener *listener = listen_on_default_runtime();
    CHECK(esrpc_listener_get_port(listener) > 0);
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_runtime_join(NULL, 0));
    CHECK_OK(esrpc_runtime_shutdown(NULL));
    esrpc_listener_release(listener);
    CHECK_OK(esrpc_runtime_join(NULL, PATIENCE_MS));
}

/* A child's default runtime does not take over the log of its parent's. */
static void log_in_parent(int32_t level, const char *target, const char *message, void *user_data) {
    (void)level, (void)target, (void)message;
    if (getpid() != *(const pid_t *)user_data) abort();
}

static void count_line(int32_t level, const char *target, const char *message, void *user_data) {
    (void)level, (void)target, (void)message;
    __atomic_add_fetch((int *)user_data, 1, __ATOMIC_SEQ_CST);
}

static esrpc_status log_of_default_runtime(int32_t level, esrpc_log_callback callback, void *user_data) {
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    esrpc_status status;
    CHECK_OK(esrpc_runtime_options_set_log(options, level, callback, user_data));
    status = esrpc_runtime_set_default_options(options);
    esrpc_runtime_options_release(options);
    return status;
}

/* In a child, whose parent's options do not count. */
static void set_options_of_the_default_runtime(void) {
    int lines = 0;
    use_the_default_runtime();
    CHECK_OK(log_of_default_runtime(ESRPC_LOG_LEVEL_DEBUG, count_line, &lines));
    use_the_default_runtime();
    CHECK(lines > 0);
    CHECK_OK(esrpc_runtime_set_default_options(NULL));
}

struct parent {
    struct pair *pair;
    esrpc_stream *stream, *new_stream;
    esrpc_listener *default_listener;
    esrpc_client_options *options;
    esrpc_client_options *last_holder; /* of a runtime */
};

static void be_a_child(void *data) {
    struct parent *parent = (struct parent *)data;
    esrpc_connection *connection = NULL;
    check_runtime_is_foreign(parent->pair->client_runtime);
    check_listener_is_foreign(parent->pair->listening);
    check_listener_is_foreign(parent->default_listener);
    check_connection_is_foreign(parent->pair->client_connection);
    check_connection_is_foreign(parent->pair->server_connection);
    check_stream_is_foreign(parent->stream);
    check_stream_is_foreign(parent->new_stream);
    check_stream_is_foreign(parent->pair->handler_stream);
    CHECK_FORKED(esrpc_connection_connect(parent->options, NULL, NULL, &connection));
    CHECK(connection == NULL);
    esrpc_client_options_release(parent->options);
    esrpc_client_options_release(parent->last_holder);
    check_codec_works();
    /* There is no default runtime here yet. */
    CHECK_OK(esrpc_runtime_shutdown(NULL));
    CHECK_OK(esrpc_runtime_join(NULL, 0));
    CHECK_OK(esrpc_runtime_stop(NULL, 0));
    CHECK_OK(esrpc_stop_all(0));
    set_options_of_the_default_runtime();
    use_the_default_runtime();
    hold_a_conversation();
}

static void be_a_child_with_a_child(void *data) {
    in_child(be_a_child, data);
    be_a_child(data);
}

static void the_parents_objects_are_foreign_and_new_ones_work(void) {
    struct party call = a_party("call", NULL, NULL);
    struct parent parent;
    struct pair pair;
    esrpc_runtime *runtime;
    pid_t pid = getpid();
    pair_begin(&pair);
    pair.keep_streams = true;
    pair_connect(&pair);
    parent.pair = &pair;
    parent.stream = open_stream(pair.client_connection, &call);
    parent.new_stream = new_stream(pair.client_connection, &call);
    CHECK_OK(log_of_default_runtime(ESRPC_LOG_LEVEL_DEBUG, log_in_parent, &pid));
    parent.default_listener = listen_on_default_runtime();
    parent.options = pair_client_options(&pair);
    parent.last_holder = esrpc_client_options_new();
    CHECK_OK(esrpc_runtime_new(NULL, &runtime));
    CHECK_OK(esrpc_client_options_set_runtime(parent.last_holder, runtime));
    esrpc_runtime_release(runtime);
    await("handler message first");

    in_child(be_a_child, &parent);
    in_child(be_a_child_with_a_child, &parent);

    /* The parent goes on as if nothing had been. */
    CHECK(esrpc_connection_is_open(pair.client_connection));
    CHECK_OK(send_text(parent.stream, LAST, "after the fork", "flush"));
    await("handler message after the fork");
    CHECK_ENDED(esrpc_stream_wait_closed(parent.stream, PATIENCE_MS));
    CHECK_OK(activate(parent.new_stream, LAST, "a second stream", NULL));
    await("handler message a second stream");
    esrpc_stream_release(parent.stream);
    esrpc_stream_release(parent.new_stream);
    esrpc_client_options_release(parent.options);
    esrpc_client_options_release(parent.last_holder);
    CHECK_OK(esrpc_listener_close(parent.default_listener));
    esrpc_listener_release(parent.default_listener);
    CHECK_OK(esrpc_runtime_join(NULL, PATIENCE_MS));
    CHECK_OK(esrpc_runtime_set_default_options(NULL));
    pair_end(&pair);
    CHECK_COUNT(2, "call closed OK");
    CHECK_COUNT(2, "call destroy");
    CHECK_EVENTS("client", "setup OK", "shutdown OK", "destroy");
}

/* A child that begins in a callback, on what was a loop thread. */
static void be_a_child_of_a_callback(void *data) {
    struct pair *pair = (struct pair *)data;
    check_runtime_is_foreign(pair->client_runtime);
    check_connection_is_foreign(pair->client_connection);
    check_codec_works();
    use_the_default_runtime();
    hold_a_conversation();
}

static void fork_task(esrpc_status status, void *user_data) {
    sigset_t blocked, before;
    enter_callback();
    CHECK(status == ESRPC_OK);
    /* So that the child can be ended by its alarm. */
    CHECK(sigemptyset(&blocked) == 0 && sigaddset(&blocked, SIGALRM) == 0);
    CHECK(pthread_sigmask(SIG_UNBLOCK, &blocked, &before) == 0);
    in_child(be_a_child_of_a_callback, user_data);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    note("forked");
    leave_callback();
}

static void a_fork_inside_a_callback(void) {
    struct pair pair;
    pair_open(&pair);
    CHECK_OK(esrpc_connection_run_on_loop(pair.client_connection, fork_task, &pair));
    await("forked");
    CHECK_OK(ping(pair.client_connection, "after the fork", NULL));
    await("server protocol PING after the fork");
    pair_end(&pair);
}

/* Threads that hold the library's locks at the moment of a fork. */
struct busy {
    struct pair *pair;
    pthread_mutex_t lock;
    bool over;
};

static void use_the_default_runtime_with_others(void) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener *listener = NULL;
    esrpc_status status;
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    status = esrpc_listener_listen(options, NULL, NULL, &listener);
    CHECK(status == ESRPC_OK || status == ESRPC_ERROR_RUNTIME_SHUTDOWN);
    esrpc_listener_options_release(options);
    esrpc_listener_release(listener);
    CHECK_OK(esrpc_runtime_shutdown(NULL));
    (void)esrpc_runtime_join(NULL, 0);
}

static void *be_busy(void *data) {
    struct busy *busy = (struct busy *)data;
    for (;;) {
        bool over;
        esrpc_stream *stream = NULL;
        esrpc_connection *connection = busy->pair->client_connection;
        CHECK_OK(esrpc_connection_new_stream(connection, NULL, NULL, &stream));
        (void)esrpc_stream_activate(stream, esrpc_text("x"), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, LAST, NULL,
                                    esrpc_text("x"), NULL, NULL);
        esrpc_stream_release(stream);
        CHECK_OK(esrpc_connection_wait_flush(connection, ESRPC_NO_TIMEOUT));
        use_the_default_runtime_with_others();
        pthread_mutex_lock(&busy->lock);
        over = busy->over;
        pthread_mutex_unlock(&busy->lock);
        if (over) return NULL;
    }
}

static void be_a_child_of_busy_threads(void *data) {
    struct busy *busy = (struct busy *)data;
    check_runtime_is_foreign(busy->pair->client_runtime);
    check_listener_is_foreign(busy->pair->listening);
    check_connection_is_foreign(busy->pair->client_connection);
    check_connection_is_foreign(busy->pair->server_connection);
    check_codec_works();
    use_the_default_runtime();
}

static void ignore_stream(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *message,
                          void *user_data) {
    (void)connection, (void)message, (void)user_data;
    CHECK_OK(esrpc_stream_accept(stream, NULL, NULL));
}

static void accept_quietly(esrpc_listener *listener, esrpc_connection *connection, void *user_data) {
    struct pair *pair = (struct pair *)((struct party *)user_data)->data;
    esrpc_connection_callbacks callbacks = connection_callbacks();
    (void)listener;
    callbacks.on_protocol_message = server_on_protocol_message;
    callbacks.on_incoming_stream = ignore_stream;
    CHECK_OK(esrpc_connection_accept(connection, &callbacks, &pair->server));
    pair->server_connection = esrpc_connection_acquire(connection);
    note("server accepted");
}

/* As pair_listen, but streams are not noted: the recorder's own lock must be free at a fork. */
static void listen_quietly(struct pair *pair) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener_callbacks callbacks = listener_callbacks();
    callbacks.on_incoming_connection = accept_quietly;
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_options_set_runtime(options, pair->server_runtime));
    CHECK_OK(esrpc_listener_listen(options, &callbacks, &pair->listener, &pair->listening));
    esrpc_listener_options_release(options);
}

static void forks_while_other_threads_are_busy(void) {
    enum { THREADS = 3, FORKS = 40 };
    pthread_t threads[THREADS];
    struct busy busy;
    struct pair pair;
    pair_begin(&pair);
    listen_quietly(&pair);
    pair_dial(&pair);
    await("client setup OK");
    await("server accepted");
    await("server protocol CONNECT");
    busy.pair = &pair;
    busy.over = false;
    CHECK(pthread_mutex_init(&busy.lock, NULL) == 0);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, be_busy, &busy) == 0);
    for (int i = 0; i < FORKS; i++) in_child(be_a_child_of_busy_threads, &busy);
    pthread_mutex_lock(&busy.lock);
    busy.over = true;
    pthread_mutex_unlock(&busy.lock);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(pthread_mutex_destroy(&busy.lock) == 0);
    CHECK_OK(esrpc_runtime_shutdown(NULL));
    CHECK_OK(esrpc_runtime_join(NULL, PATIENCE_MS));
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(the_parents_objects_are_foreign_and_new_ones_work),
        TEST(a_fork_inside_a_callback),
        TEST(forks_while_other_threads_are_busy),
    };
    return RUN_TESTS(tests, argc, argv);
}
