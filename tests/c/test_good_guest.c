/* Promise 12: the library is a good guest in its process: it raises no SIGPIPE, takes no signals, leaks no descriptors into
   other programs, and does not mind which threads come and go. */
#include "client.h"

#include "process.h"

#include <fcntl.h>
#include <signal.h>

enum { SIGNALS = 64 };

static void note_task(esrpc_status status, void *user_data) {
    (void)user_data;
    note_status("loop", "passed", status);
}

/* Writes to a peer that is gone: with the default disposition a SIGPIPE would end this program. */
static void writes_to_a_dead_peer(void) {
    enum { WRITES = 20 };
    struct sigaction action;
    struct raw peer;
    struct client client;
    size_t accepted = 0;
    CHECK(sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
    client_begin(&client);
    client_dial_raw(&client, &peer, true);
    raw_send_connect_ack(&peer);
    await("client setup OK");
    /* So that only a write can notice. After the task no read is under way. */
    CHECK_OK(esrpc_connection_pause_reading(client.connection));
    CHECK_OK(esrpc_connection_run_on_loop(client.connection, note_task, NULL));
    await("loop passed");
    raw_send_message(&peer, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "last words");
    raw_close(&peer);
    for (size_t i = 0; i < WRITES; i++) {
        esrpc_status status = ping(client.connection, "to nobody", "write");
        accepted += status == ESRPC_OK;
        CHECK(status == ESRPC_OK || status == ESRPC_ERROR_CONNECTION_CLOSED);
        /* So that each is a write of its own. */
        CHECK_OK(esrpc_connection_run_on_loop(client.connection, note_task, NULL));
        await_count("loop passed", i + 2);
    }
    /* A failed write ends the pause, so that nothing waits for a reply that cannot come. */
    CHECK_ENDED(esrpc_connection_wait_shutdown(client.connection, PATIENCE_MS));
    CHECK(strstr(esrpc_connection_get_end_message(client.connection), "(errno ") != NULL);
    client_end(&client);
    CHECK(accepted > 0 && accepted < WRITES);
    CHECK_COUNT(accepted, "flush write");
    CHECK(count_of("flush write OK") < accepted);
    CHECK_ONCE("client shutdown");
    /* Over TCP the system has thrown away what it had not been asked for. */
    if (over_unix_socket) CHECK_ONCE("client protocol PING last words");
    CHECK(sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
}

/* A write of many pieces to a peer that goes away during the write. */
static void many_writes_to_a_dying_peer(void) {
    enum { WRITES = 400 };
    static uint8_t payload[100 * 1000];
    struct raw peer;
    struct client client;
    size_t accepted = 0;
    client_begin(&client);
    client_dial_raw(&client, &peer, true);
    raw_send_connect_ack(&peer);
    await("client setup OK");
    CHECK_OK(esrpc_connection_pause_reading(client.connection));
    for (int i = 0; i < WRITES; i++) {
        accepted += esrpc_connection_send_protocol_message(client.connection, ESRPC_MESSAGE_TYPE_PING, 0, NULL,
                                                           bytes(payload, i % 2 == 0 ? 10 : sizeof payload), on_flush,
                                                           (void *)"piece") == ESRPC_OK;
        if (i == WRITES / 2) raw_close(&peer);
    }
    CHECK_ENDED(esrpc_connection_wait_shutdown(client.connection, PATIENCE_MS));
    client_end(&client);
    CHECK_COUNT(accepted, "flush piece");
}

/* The blocked signals of a thread, as the system shows them. */
static unsigned long long blocked_signals(const char *thread, char name[32]) {
    char path[64], line[256];
    unsigned long long blocked = 0;
    bool found = false;
    FILE *file;
    snprintf(path, sizeof path, "/proc/self/task/%.20s/status", thread);
    file = fopen(path, "r");
    CHECK(file != NULL);
    name[0] = '\0';
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "Name: %31s", name) == 1) continue;
        if (sscanf(line, "SigBlk: %llx", &blocked) == 1) found = true;
    }
    fclose(file);
    CHECK(found);
    return blocked;
}

static bool is_blocked(unsigned long long blocked, int signal) {
    return (blocked >> (signal - 1) & 1) != 0;
}

static void check_blocked_signals(unsigned long long blocked) {
    static const int synchronous[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    for (int signal = 1; signal <= SIGNALS; signal++) {
        bool is_synchronous = false;
        for (size_t i = 0; i < sizeof synchronous / sizeof *synchronous; i++)
            is_synchronous |= signal == synchronous[i];
        if (is_synchronous)
            CHECK(!is_blocked(blocked, signal));
        /* The system lets nobody block two of them, the C library keeps the first real-time ones, valgrind the last. */
        else if (signal != SIGKILL && signal != SIGSTOP && (signal < 32 || signal > 34) &&
                 (signal < SIGNALS || !is_under_valgrind()))
            CHECK(is_blocked(blocked, signal));
    }
}

/* How many threads of the library there are; the signals of all of them are checked. */
static int check_library_threads(void) {
    const struct dirent *entry;
    int found = 0;
    DIR *threads = opendir("/proc/self/task");
    CHECK(threads != NULL);
    while ((entry = readdir(threads)) != NULL) {
        char name[32];
        unsigned long long blocked;
        if (entry->d_name[0] == '.') continue;
        blocked = blocked_signals(entry->d_name, name);
        if (strncmp(name, "esrpc", 5) != 0) continue;
        check_blocked_signals(blocked);
        found++;
    }
    closedir(threads);
    return found;
}

static void signals_are_for_the_hosts_threads(void) {
    struct sigaction before[SIGNALS + 1], after;
    sigset_t mask_before, mask_after;
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    esrpc_runtime *runtime;
    struct pair pair;
    memset(before, 0, sizeof before);
    for (int signal = 1; signal <= SIGNALS; signal++) sigaction(signal, NULL, &before[signal]);
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &mask_before) == 0);

    CHECK_OK(esrpc_runtime_options_set_thread_count(options, 3));
    CHECK_OK(esrpc_runtime_new(options, &runtime));
    esrpc_runtime_options_release(options);
    pair_open(&pair);
    /* A thread takes its name when it begins to run. */
    while (check_library_threads() < 5) sched_yield();
    pair_end(&pair);
    CHECK_OK(esrpc_runtime_join(runtime, PATIENCE_MS));
    esrpc_runtime_release(runtime);

    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &mask_after) == 0);
    for (int signal = 1; signal <= SIGNALS; signal++) {
        memset(&after, 0, sizeof after);
        sigaction(signal, NULL, &after);
        CHECK(after.sa_handler == before[signal].sa_handler && after.sa_flags == before[signal].sa_flags);
        CHECK(sigismember(&mask_before, signal) == sigismember(&mask_after, signal));
    }
}

static void mark_descriptors(bool *open_before, bool compare) {
    size_t found = 0;
    for (int fd = 0; fd < 1024; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (!compare) {
            open_before[fd] = flags != -1;
        } else if (flags != -1 && !open_before[fd]) {
            CHECK((flags & FD_CLOEXEC) != 0);
            found++;
        }
    }
    /* Two event queues and their wakers, a listening socket, two connected ones. */
    if (compare) CHECK(found >= 7);
}

static void descriptors_stay_in_this_program(void) {
    static bool open_before[1024];
    struct pair pair;
    size_t count = count_descriptors();
    char folder[60], path[108];
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener *listener;
    make_folder(folder);
    mark_descriptors(open_before, false);
    pair_open(&pair);
    CHECK_OK(esrpc_listener_options_set_unix_path(options, esrpc_text(in_folder(folder, "sock", path))));
    CHECK_OK(esrpc_listener_options_set_runtime(options, pair.server_runtime));
    CHECK_OK(esrpc_listener_listen(options, NULL, NULL, &listener));
    esrpc_listener_options_release(options);
    mark_descriptors(open_before, true);
    CHECK_OK(esrpc_listener_close(listener));
    esrpc_listener_release(listener);
    pair_end(&pair);
    CHECK(count_descriptors() == count);
    CHECK(rmdir(folder) == 0);
}

/* What a thread leaves behind when it ends: handles that others use, and nothing else. */
struct visitor {
    struct pair *pair;
    struct party *party;
    esrpc_stream *stream;
    int number;
};

static void *visit(void *data) {
    struct visitor *visitor = (struct visitor *)data;
    char expected[40];
    CHECK(strcmp(esrpc_last_error_message(), "") == 0);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(ESRPC_ERROR_INVALID_ARGUMENT,
                     esrpc_connection_close(visitor->pair->client_connection, -1 - visitor->number));
        snprintf(expected, sizeof expected, "reason is %d;", -1 - visitor->number);
        CHECK(last_error_says(expected));
    }
    visitor->stream = open_stream(visitor->pair->client_connection, visitor->party);
    return NULL;
}

static void threads_end_while_their_handles_live(void) {
    enum { THREADS = 6 };
    struct visitor visitors[THREADS];
    struct party call = a_party("call", NULL, NULL);
    pthread_t threads[THREADS];
    struct pair pair;
    pair_open(&pair);
    CHECK_STATUS(ESRPC_ERROR_INVALID_ARGUMENT, esrpc_connection_close(NULL, ESRPC_OK));
    for (int i = 0; i < THREADS; i++) {
        visitors[i].pair = &pair;
        visitors[i].party = &call;
        visitors[i].number = i;
        CHECK(pthread_create(&threads[i], NULL, visit, &visitors[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    /* The others' errors are not this thread's. */
    CHECK(last_error_says("connection is NULL"));
    for (int i = 0; i < THREADS; i++) {
        CHECK_OK(send_text(visitors[i].stream, LAST, "from another thread", NULL));
        CHECK_ENDED(esrpc_stream_wait_closed(visitors[i].stream, PATIENCE_MS));
        esrpc_stream_release(visitors[i].stream);
    }
    await_count("handler message from another thread", THREADS);
    pair_end(&pair);
    CHECK_COUNT(THREADS, "call destroy");
}

/* A thread-specific value's destructor runs late in a thread's end, after much of the thread is gone. */
static pthread_key_t late_key;

static void release_late(void *connection) {
    /* The message may be lost by now, the status is not. */
    CHECK(esrpc_connection_close((esrpc_connection *)connection, -1) == ESRPC_ERROR_INVALID_ARGUMENT);
    CHECK(esrpc_last_error_message() != NULL);
    CHECK(esrpc_connection_is_open((esrpc_connection *)connection));
    CHECK_OK(ping((esrpc_connection *)connection, "late", NULL));
    esrpc_connection_release((esrpc_connection *)connection);
}

static void *leave_a_release_for_later(void *connection) {
    CHECK_INVALID(esrpc_connection_close(NULL, ESRPC_OK));
    CHECK(pthread_setspecific(late_key, esrpc_connection_acquire((esrpc_connection *)connection)) == 0);
    return NULL;
}

static void calls_while_a_thread_ends(void) {
    pthread_t thread;
    struct pair pair;
    pair_open(&pair);
    CHECK(pthread_key_create(&late_key, release_late) == 0);
    CHECK(pthread_create(&thread, NULL, leave_a_release_for_later, pair.client_connection) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    await("server protocol PING late");
    CHECK(pthread_key_delete(late_key) == 0);
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(writes_to_a_dead_peer),
        TEST(many_writes_to_a_dying_peer),
        TEST(signals_are_for_the_hosts_threads),
        TEST(descriptors_stay_in_this_program),
        TEST(threads_end_while_their_handles_live),
        TEST(calls_while_a_thread_ends),
    };
    return RUN_TESTS(tests, argc, argv);
}
