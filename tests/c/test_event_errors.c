/* Waiting for events fails: for a moment, after which all goes on, or for good, and then everything ends in order. This
   program's epoll_wait stands in front of the system's, for the library as well. */
#include "raw_peer.h"

#include <sys/epoll.h>

/* Under the recorder's lock. */
static struct {
    int error; /* of every epoll_wait; 0: none */
    size_t count;
} failing;

#ifdef __cplusplus
extern "C"
#endif
int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout) {
    int error;
    pthread_mutex_lock(&recorder.lock);
    error = failing.error;
    failing.count += error != 0;
    pthread_cond_broadcast(&recorder.changed);
    pthread_mutex_unlock(&recorder.lock);
    if (error == 0) return epoll_pwait(epoll, events, most, timeout, NULL);
    errno = error;
    return -1;
}

static void fail_with(int error) {
    pthread_mutex_lock(&recorder.lock);
    failing.error = error;
    failing.count = 0;
    pthread_mutex_unlock(&recorder.lock);
}

static size_t failures(void) {
    pthread_mutex_lock(&recorder.lock);
    size_t count = failing.count;
    pthread_mutex_unlock(&recorder.lock);
    return count;
}

static void await_failures(size_t count) {
    struct timespec deadline = deadline_in(PATIENCE_SECONDS);
    pthread_mutex_lock(&recorder.lock);
    while (failing.count < count) CHECK(wait_locked(&deadline));
    pthread_mutex_unlock(&recorder.lock);
}

static void note_log(int32_t level, const char *target, const char *message, void *user_data) {
    (void)target, (void)user_data;
    if (level == ESRPC_LOG_LEVEL_ERROR) note("logged %s", message);
}

static void open_with_a_log(struct pair *pair) {
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    fail_with(0);
    patient_pair_begin(pair);
    CHECK_OK(esrpc_runtime_join(pair->client_runtime, PATIENCE_MS));
    esrpc_runtime_release(pair->client_runtime);
    CHECK_OK(esrpc_runtime_options_set_log(options, ESRPC_LOG_LEVEL_ERROR, note_log, NULL));
    CHECK_OK(esrpc_runtime_new(options, &pair->client_runtime));
    esrpc_runtime_options_release(options);
    pair_connect(pair);
}

static void when_it_can_again_things_go_on(int error) {
    struct pair pair;
    recorder_clear();
    open_with_a_log(&pair);
    fail_with(error);
    CHECK_OK(ping(pair.client_connection, "before", NULL));
    await_failures(5);
    /* Commands are taken all the same. */
    await_loop(pair.client_connection);
    if (error != EINTR) {
        size_t before = failures();
        pass_time(300);
        /* Two loops, each with pauses of up to 100 ms. */
        CHECK(failures() - before < 100);
        CHECK(count_of("logged waiting for events") > 0);
        CHECK(count_of("logged waiting for events") < 20);
    }
    fail_with(0);
    CHECK_OK(ping(pair.client_connection, "after", NULL));
    await("server protocol PING before");
    await("server protocol PING after");
    pair_end(&pair);
}

static void a_passing_error(void) {
    when_it_can_again_things_go_on(ENOMEM);
    when_it_can_again_things_go_on(EINTR);
}

static void an_error_that_stays(void) {
    struct party call = a_party("call", NULL, NULL);
    esrpc_client_options *options;
    esrpc_connection *late = NULL;
    esrpc_stream *stream;
    esrpc_status client_reason, server_reason;
    struct pair pair;
    open_with_a_log(&pair);
    options = pair_client_options(&pair);
    stream = open_stream(pair.client_connection, &call);
    await("handler message first");
    fail_with(EBADF);
    await_loop(pair.client_connection);
    await_loop(pair.server_connection);
    CHECK_ENDED(client_reason = esrpc_connection_wait_shutdown(pair.client_connection, PATIENCE_MS));
    CHECK_ENDED(server_reason = esrpc_connection_wait_shutdown(pair.server_connection, PATIENCE_MS));
    /* The other loop may still have been waiting, and then saw its peer's end. */
    CHECK(client_reason == ESRPC_ERROR_RUNTIME_SHUTDOWN || server_reason == ESRPC_ERROR_RUNTIME_SHUTDOWN);
    CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
    /* Both have asked, and what follows from the answer is done. */
    await_failures(2);
    await_loop(pair.client_connection);
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_connect(options, NULL, NULL, &late));
    /* It was asked once by each loop, and what is asked of the loops is done without it. */
    await_loop(pair.client_connection);
    CHECK(failures() == 2);
    CHECK_ONCE("logged waiting for events");
    esrpc_client_options_release(options);
    esrpc_stream_release(stream);
    esrpc_connection_release(pair.client_connection);
    esrpc_connection_release(pair.server_connection);
    esrpc_listener_release(pair.listening);
    CHECK_OK(esrpc_runtime_join(pair.client_runtime, PATIENCE_MS));
    CHECK_OK(esrpc_runtime_join(pair.server_runtime, PATIENCE_MS));
    esrpc_runtime_release(pair.client_runtime);
    esrpc_runtime_release(pair.server_runtime);
    esrpc_connection_options_release(pair.client_options);
    esrpc_connection_options_release(pair.server_options);
    fail_with(0);
    CHECK_EVENTS("call", "closed", "destroy");
    CHECK_ONCE("client shutdown");
    CHECK_ONCE("client destroy");
    CHECK_ONCE("server shutdown");
    CHECK_ONCE("server destroy");
    CHECK_ONCE("listener closed RUNTIME_SHUTDOWN");
    CHECK_ONCE("listener destroy");
}

int main(int argc, char **argv) {
    static const struct test tests[] = {TEST(a_passing_error), TEST(an_error_that_stays)};
    return RUN_TESTS(tests, argc, argv);
}
