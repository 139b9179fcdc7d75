/* Promise 12: a good guest in its process: signals, descriptors, threads, fork. Linux: it looks into /proc. */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

/* SIGPIPE would end this program. */
static void a_peer_that_is_gone_raises_no_sigpipe(void) {
    signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < 10; i++) {
        struct pair pair;
        struct party party = a_party("call", NULL, NULL);
        esrpc_stream *stream;
        recorder_clear();
        pair_begin(&pair);
        CHECK_OK(esrpc_connection_options_set_outbound_limit(pair.client_options, 1024 * 1024));
        pair_connect(&pair);
        stream = open_stream(pair.client_connection, &party);
        await("handler message first");
        CHECK_OK(esrpc_connection_pause_reading(pair.client_connection)); /* the end is not noticed by reading */
        CHECK_OK(send_zeros(stream, 100000, "large"));
        CHECK_OK(esrpc_connection_abort(pair.server_connection));
        await("server shutdown OK");
        while (send_zeros(stream, 100000, NULL) == ESRPC_OK) continue;
        CHECK_OK(esrpc_connection_abort(pair.client_connection));
        await("client shutdown");
        esrpc_stream_release(stream);
        pair_end(&pair);
    }
}

/* The signals that the library's threads block, as bits; false if there is no such thread. */
static bool read_blocked_signals(const char *task, unsigned long long *blocked) {
    char path[300], line[256], name[64] = "";
    FILE *file;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", task);
    file = fopen(path, "r");
    if (file == NULL) return false;
    *blocked = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        sscanf(line, "Name: %63s", name);
        sscanf(line, "SigBlk: %llx", blocked);
    }
    fclose(file);
    return strncmp(name, "esrpc-", 6) == 0;
}

static bool is_blocked(unsigned long long blocked, int number) {
    return (blocked >> (number - 1) & 1) != 0;
}

static void the_threads_of_the_library_leave_signals_to_the_others(void) {
    static const int asynchronous[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM,
                                       SIGCHLD, SIGPIPE, SIGTSTP, SIGCONT, SIGWINCH};
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    struct pair pair;
    struct dirent *entry;
    sigset_t here;
    size_t threads = 0;
    DIR *tasks;
    pair_open(&pair);
    tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    while ((entry = readdir(tasks)) != NULL) {
        unsigned long long blocked;
        if (entry->d_name[0] == '.' || !read_blocked_signals(entry->d_name, &blocked)) continue;
        threads++;
        for (size_t i = 0; i < sizeof asynchronous / sizeof *asynchronous; i++)
            CHECK(is_blocked(blocked, asynchronous[i]));
        for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) CHECK(!is_blocked(blocked, faults[i]));
    }
    closedir(tasks);
    CHECK(threads == 2);
    /* This thread's mask was put back. */
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &here) == 0);
    CHECK(sigismember(&here, SIGINT) == 0);
    pair_end(&pair);
}

static void no_signal_handler_is_installed(void) {
    struct pair pair;
    struct sigaction before[32], after;
    signal(SIGPIPE, SIG_DFL);
    for (int number = 1; number < 32; number++) CHECK(sigaction(number, NULL, &before[number]) == 0);
    pair_open(&pair);
    pair_end(&pair);
    for (int number = 1; number < 32; number++) {
        CHECK(sigaction(number, NULL, &after) == 0);
        CHECK(after.sa_handler == before[number].sa_handler);
    }
}

/* How many descriptors are open; with `close_on_exec`, those that a program started now would not inherit. */
static int count_descriptors(bool close_on_exec) {
    int count = 0;
    for (int descriptor = 0; descriptor < 1024; descriptor++) {
        int flags = fcntl(descriptor, F_GETFD);
        if (flags >= 0 && (!close_on_exec || (flags & FD_CLOEXEC) != 0)) count++;
    }
    return count;
}

static void every_descriptor_is_close_on_exec_and_closed_in_the_end(void) {
    int all = count_descriptors(false), kept_here = count_descriptors(true);
    struct pair pair;
    pair_open(&pair);
    CHECK(count_descriptors(false) > all);
    CHECK(count_descriptors(false) - all == count_descriptors(true) - kept_here);
    pair_end(&pair);
    CHECK(count_descriptors(false) == all);
}

static size_t count_threads(void) {
    size_t count = 0;
    struct dirent *entry;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    while ((entry = readdir(tasks)) != NULL) count += entry->d_name[0] != '.';
    closedir(tasks);
    return count;
}

static void a_joined_runtime_leaves_no_thread(void) {
    size_t before = count_threads();
    struct pair pair;
    struct timespec deadline = deadline_in(PATIENCE_SECONDS), now;
    pair_open(&pair);
    CHECK(count_threads() == before + 2);
    pair_end(&pair);
    do { /* the system may take a moment to bury a joined thread */
        clock_gettime(CLOCK_MONOTONIC, &now);
        CHECK(now.tv_sec < deadline.tv_sec);
    } while (count_threads() != before);
}

/* What the parent has is not the child's. */
static bool answers_forked(struct pair *pair, esrpc_stream *stream) {
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_connection *connection = NULL;
    esrpc_stream *none = NULL;
    bool all = true;
    all = all && ping(pair->client_connection, "", "ping") == ESRPC_ERROR_FORKED;
    all = all && esrpc_connection_close(pair->client_connection, ESRPC_OK) == ESRPC_ERROR_FORKED;
    all = all && esrpc_connection_abort(pair->client_connection) == ESRPC_ERROR_FORKED;
    all = all && esrpc_connection_pause_reading(pair->client_connection) == ESRPC_ERROR_FORKED;
    all = all && esrpc_connection_wait_shutdown(pair->client_connection, 0, NULL) == ESRPC_ERROR_FORKED;
    all = all && esrpc_connection_new_stream(pair->client_connection, NULL, NULL, &none) == ESRPC_ERROR_FORKED;
    all = all && esrpc_connection_run_on_loop(pair->client_connection, hold_task, NULL) == ESRPC_ERROR_FORKED;
    all = all && send_text(stream, 0, "", "send") == ESRPC_ERROR_FORKED;
    all = all && esrpc_stream_close(stream) == ESRPC_ERROR_FORKED;
    all = all && esrpc_stream_wait_closed(stream, 0, NULL) == ESRPC_ERROR_FORKED;
    all = all && esrpc_listener_close(pair->listening) == ESRPC_ERROR_FORKED;
    all = all && esrpc_listener_wait_closed(pair->listening, 0) == ESRPC_ERROR_FORKED;
    all = all && esrpc_runtime_shutdown(pair->client_runtime) == ESRPC_ERROR_FORKED;
    all = all && esrpc_runtime_join(pair->client_runtime, 0) == ESRPC_ERROR_FORKED;
    all = all && esrpc_client_options_set_runtime(options, pair->client_runtime) == ESRPC_ERROR_FORKED;
    all = all && esrpc_connection_get_state(pair->client_connection) == 0;
    all = all && esrpc_stream_get_id(stream) == 0;
    all = all && *esrpc_listener_get_address(pair->listening) == '\0';
    esrpc_stream_release(stream);
    esrpc_connection_release(pair->client_connection);
    esrpc_listener_release(pair->listening);
    esrpc_runtime_release(pair->client_runtime);
    esrpc_client_options_release(options);
    return all && connection == NULL && none == NULL;
}

/* The codec, and runtimes of the child's own, work. Nothing is noted: the parent's threads may have held the lock. */
static bool works_on_its_own(void) {
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_listener_options *listener_options = esrpc_listener_options_new();
    esrpc_listener *listener = NULL;
    esrpc_connection *connection = NULL;
    esrpc_buffer *buffer = NULL;
    esrpc_status status = ESRPC_OK;
    bool all = esrpc_message_encode_to_buffer(NULL, esrpc_text("payload"), &buffer) == ESRPC_OK;
    esrpc_buffer_release(buffer);
    all = all && esrpc_listener_options_set_host(listener_options, esrpc_text("127.0.0.1"), 0) == ESRPC_OK;
    all = all && esrpc_listener_listen(listener_options, NULL, NULL, &listener) == ESRPC_OK;
    all = all && esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), esrpc_listener_get_port(listener)) == ESRPC_OK;
    all = all && esrpc_connection_connect(options, NULL, NULL, &connection) == ESRPC_OK;
    all = all && esrpc_connection_wait_setup(connection, PATIENCE_MS, &status) == ESRPC_OK && status == ESRPC_OK;
    all = all && esrpc_runtime_shutdown(NULL) == ESRPC_OK;
    all = all && esrpc_connection_wait_shutdown(connection, PATIENCE_MS, NULL) == ESRPC_OK;
    esrpc_connection_release(connection);
    esrpc_listener_release(listener);
    all = all && esrpc_runtime_join(NULL, PATIENCE_MS) == ESRPC_OK;
    esrpc_client_options_release(options);
    esrpc_listener_options_release(listener_options);
    return all;
}

static void a_forked_child_gets_statuses_for_its_parents_objects_and_can_make_its_own(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream;
    char answer = '?';
    int ends[2];
    pid_t child;
    pair_open(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK(pipe(ends) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        bool forked = answers_forked(&pair, stream), works = works_on_its_own();
        answer = !forked ? 'f' : !works ? 'w' : '+';
        if (write(ends[1], &answer, 1) != 1) abort();
        /* Another program in its place: a leak checker would count what the parent's threads hold. */
        execl("/bin/true", "true", (char *)NULL);
        abort();
    }
    CHECK(close(ends[1]) == 0);
    CHECK(read(ends[0], &answer, 1) == 1);
    CHECK(answer == '+');
    CHECK(close(ends[0]) == 0);
    CHECK(waitpid(child, NULL, 0) == child);

    /* The parent has noticed nothing. */
    CHECK_OK(send_text(stream, LAST, "still here", NULL));
    await("call closed OK");
    await("handler message still here (last)");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_NEVER("flush");
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_peer_that_is_gone_raises_no_sigpipe),
        TEST(the_threads_of_the_library_leave_signals_to_the_others),
        TEST(no_signal_handler_is_installed),
        TEST(every_descriptor_is_close_on_exec_and_closed_in_the_end),
        TEST(a_joined_runtime_leaves_no_thread),
        TEST(a_forked_child_gets_statuses_for_its_parents_objects_and_can_make_its_own),
    };
    return RUN_TESTS(tests, argc, argv);
}
