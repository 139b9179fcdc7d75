/* A host thread with a pending pthread_cancel calls the library: it is not ended inside, which would unwind through the
   library and abort the process, but at its own next cancellation point. */
#include "raw_peer.h"

#include "process.h"

struct work {
    const char *name;
    void (*run)(struct pair *pair);
};

static void make_a_runtime(struct pair *pair) {
    esrpc_runtime *runtime = NULL;
    (void)pair;
    CHECK_OK(esrpc_runtime_new(NULL, &runtime));
    CHECK_OK(esrpc_runtime_shutdown(runtime));
    CHECK_OK(esrpc_runtime_join(runtime, PATIENCE_MS));
    esrpc_runtime_release(runtime);
}

static void release_a_runtime(struct pair *pair) {
    esrpc_runtime *runtime = NULL;
    (void)pair;
    CHECK_OK(esrpc_runtime_new(NULL, &runtime));
    esrpc_runtime_release(runtime);
}

static void stop_a_runtime(struct pair *pair) {
    esrpc_runtime *runtime = NULL;
    (void)pair;
    CHECK_OK(esrpc_runtime_new(NULL, &runtime));
    CHECK_OK(esrpc_runtime_stop(runtime, PATIENCE_MS));
    esrpc_runtime_release(runtime);
}

static void listen_and_close(struct pair *pair) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener *listener = NULL, *other = NULL;
    esrpc_socket copy;
    char folder[60], path[108];
    /* mkdtemp may ask the system for random bytes, at which the thread could be cancelled. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    make_folder(folder);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    CHECK_OK(esrpc_listener_options_set_unix_path(options, esrpc_text(in_folder(folder, "socket", path))));
    CHECK_OK(esrpc_listener_options_set_runtime(options, pair->server_runtime));
    CHECK_OK(esrpc_listener_listen(options, NULL, NULL, &listener));
    CHECK_OK(esrpc_listener_dup_socket(listener, &copy));
    /* Somebody listens there: found out by a connection. */
    CHECK(esrpc_listener_listen(options, NULL, NULL, &other) != ESRPC_OK);
    CHECK_OK(esrpc_listener_close(listener));
    CHECK_OK(esrpc_listener_wait_closed(listener, PATIENCE_MS));
    esrpc_listener_release(listener);
    /* The listener over the same, now stale, file. */
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_listen(options, NULL, NULL, &listener));
    CHECK_OK(esrpc_listener_drain(listener, 0));
    CHECK_OK(esrpc_listener_wait_closed(listener, PATIENCE_MS));
    esrpc_listener_release(listener);
    esrpc_listener_options_release(options);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    close(copy);
    unlink(path);
    rmdir(folder);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
}

static void connect_and_close(struct pair *pair) {
    esrpc_client_options *options = pair_client_options(pair);
    esrpc_connection *connection = NULL;
    CHECK_OK(esrpc_connection_connect(options, NULL, NULL, &connection));
    CHECK_OK(esrpc_connection_wait_setup(connection, PATIENCE_MS));
    CHECK_OK(esrpc_connection_close(connection, ESRPC_OK));
    CHECK_ENDED(esrpc_connection_wait_shutdown(connection, PATIENCE_MS));
    esrpc_connection_release(connection);
    CHECK_OK(esrpc_connection_connect_blocking(options, PATIENCE_MS, &connection));
    CHECK_OK(esrpc_connection_abort(connection));
    esrpc_connection_release(connection);
    esrpc_client_options_release(options);
}

static void adopt_sockets(struct pair *pair) {
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_connection *connection = NULL;
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK_OK(esrpc_listener_adopt_connection(pair->listening, ends[0]));
    CHECK_OK(esrpc_client_options_set_socket(options, ends[1]));
    CHECK_OK(esrpc_client_options_set_runtime(options, pair->client_runtime));
    CHECK_OK(esrpc_client_options_set_handshake(options, NULL, esrpc_text("connect")));
    CHECK_OK(esrpc_connection_connect_blocking(options, PATIENCE_MS, &connection));
    CHECK_OK(esrpc_connection_close(connection, ESRPC_OK));
    esrpc_connection_release(connection);
    esrpc_client_options_release(options);
}

static void send_and_wait(struct pair *pair) {
    esrpc_stream *stream = NULL;
    esrpc_message *reply = NULL;
    for (int i = 0; i < 100; i++) CHECK_OK(ping(pair->client_connection, "x", NULL));
    CHECK_OK(esrpc_connection_wait_flush(pair->client_connection, PATIENCE_MS));
    CHECK_OK(esrpc_connection_new_stream(pair->client_connection, NULL, NULL, &stream));
    CHECK_OK(activate(stream, 0, "first", NULL));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_stream_read(stream, 10, &reply));
    CHECK_OK(esrpc_stream_send_blocking(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL, esrpc_text("x"),
                                        PATIENCE_MS));
    CHECK_OK(esrpc_stream_close(stream));
    CHECK_ENDED(esrpc_stream_wait_closed(stream, PATIENCE_MS));
    esrpc_stream_release(stream);
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_call(pair->client_connection, esrpc_text("x"), NULL,
                                                                     esrpc_text("x"), 10, &reply));
    CHECK_OK(esrpc_connection_pause_reading(pair->client_connection));
    CHECK_OK(esrpc_connection_resume_reading(pair->client_connection));
}

static void make_tls_settings(struct pair *pair) {
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_client();
    esrpc_tls_config *config = NULL;
    (void)pair;
    (void)esrpc_tls_config_builder_add_ca_file(builder, esrpc_text("/proc/self/status"));
    (void)esrpc_tls_config_builder_add_ca_dir(builder, esrpc_text("/proc/self/task"));
    (void)esrpc_tls_config_builder_set_certificate_files(builder, esrpc_text("/proc/self/status"),
                                                         esrpc_text("/proc/self/status"));
    (void)esrpc_tls_config_builder_add_crl_file(builder, esrpc_text("/proc/self/status"));
    (void)esrpc_tls_config_builder_set_key_log_file(builder, esrpc_text("/dev/null"));
    (void)esrpc_tls_config_builder_build(builder, &config);
    esrpc_tls_config_release(config);
    esrpc_tls_config_builder_release(builder);
}

struct thread {
    const struct work *work;
    struct pair *pair;
    struct gate gate;
};

static void *run(void *data) {
    struct thread *thread = (struct thread *)data;
    int before;
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before) == 0);
    gate_pass(&thread->gate);
    /* The request has come. */
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL) == 0);
    thread->work->run(thread->pair);
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before) == 0);
    /* The library has left the state as it was. */
    CHECK(before == PTHREAD_CANCEL_ENABLE);
    note("done");
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL) == 0);
    pthread_testcancel();
    note("not cancelled");
    return NULL;
}

static void a_pending_cancel_waits_for_the_hosts_own_code(void) {
    static const struct work works[] = {
        {"make_a_runtime", make_a_runtime},       {"release_a_runtime", release_a_runtime},
        {"stop_a_runtime", stop_a_runtime},       {"listen_and_close", listen_and_close},
        {"connect_and_close", connect_and_close}, {"adopt_sockets", adopt_sockets},
        {"send_and_wait", send_and_wait},         {"make_tls_settings", make_tls_settings},
    };
    enum { WORKS = sizeof works / sizeof *works };
    struct pair pair;
    pair_open(&pair);
    for (size_t i = 0; i < WORKS; i++) {
        struct thread thread = {&works[i], &pair, {false, 0}};
        pthread_t id;
        void *result;
        fprintf(stderr, "  %s\n", works[i].name);
        CHECK(pthread_create(&id, NULL, run, &thread) == 0);
        gate_await(&thread.gate);
        CHECK(pthread_cancel(id) == 0);
        gate_open(&thread.gate);
        CHECK(pthread_join(id, &result) == 0);
        CHECK(result == PTHREAD_CANCELED);
        CHECK_COUNT(i + 1, "done");
    }
    CHECK_NEVER("not cancelled");
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {TEST(a_pending_cancel_waits_for_the_hosts_own_code)};
    return RUN_TESTS(tests, argc, argv);
}
