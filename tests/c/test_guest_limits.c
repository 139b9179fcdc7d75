/* A process that may have few descriptors, threads or little memory: calls return statuses, nothing aborts, and the library
   works again once there is more. */
#include "client.h"

#include "process.h"

/* A status that explains a lack of that kind. */
static bool is_lack_of_descriptors(esrpc_status status) {
    return status == ESRPC_ERROR_TOO_MANY_FILES && last_error_says("(errno 24)");
}

static void limit_descriptors(rlim_t count) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = count;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static rlim_t allowed_descriptors(void) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    return limit.rlim_cur;
}

/* A client and a server connect with this many descriptors to spare. False if these were not enough. */
static bool meet_with(rlim_t spare) {
    rlim_t before = allowed_descriptors();
    int next = dup(0);
    bool enough = false;
    esrpc_runtime *runtime = NULL;
    struct pair pair;
    CHECK(next >= 0 && close(next) == 0);
    recorder_clear();
    limit_descriptors((rlim_t)next + spare);
    esrpc_status status = esrpc_runtime_new(NULL, &runtime);
    CHECK(status == ESRPC_OK || is_lack_of_descriptors(status));
    CHECK((status == ESRPC_OK) == (runtime != NULL));
    limit_descriptors(before);
    if (status != ESRPC_OK) return false;
    CHECK_OK(esrpc_runtime_join(runtime, PATIENCE_MS));
    esrpc_runtime_release(runtime);

    pair_begin(&pair);
    pair_listen(&pair);
    limit_descriptors((rlim_t)next + spare);
    pair_dial(&pair);
    await_either("client setup", "listener failed");
    limit_descriptors(before);
    await("client setup");
    enough = count_of("client setup OK") > 0 && count_of("listener failed") == 0;
    if (count_of("client setup OK") == 0) CHECK_EVENTS("client", "setup TOO_MANY_FILES");
    pair_end(&pair);
    return enough;
}

static void few_descriptors_are_statuses(void) {
    enum { MOST = 40 };
    size_t count = count_descriptors();
    rlim_t spare = 0;
    while (!meet_with(spare)) {
        CHECK(count_descriptors() == count);
        CHECK(++spare < MOST);
    }
    fprintf(stderr, "  %u descriptors are enough\n", (unsigned)spare);
    CHECK(spare > 2);
}

static void limit_threads(bool none) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NPROC, &limit) == 0);
    limit.rlim_cur = none ? 0 : limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NPROC, &limit) == 0);
}

static void dial_name(struct pair *pair, struct party *party, esrpc_connection **out_connection) {
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_connection_callbacks callbacks = connection_callbacks();
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("localhost"), esrpc_listener_get_port(pair->listening)));
    CHECK_OK(esrpc_client_options_set_address_family(options, ESRPC_ADDRESS_FAMILY_IPV4));
    CHECK_OK(esrpc_client_options_set_runtime(options, pair->client_runtime));
    CHECK_OK(esrpc_connection_connect(options, &callbacks, party, out_connection));
    esrpc_client_options_release(options);
}

/* The system lets a privileged user have any number of threads. */
static void live_without_threads(void *data) {
    struct party early = a_party("early", NULL, NULL), late = a_party("late", NULL, NULL);
    esrpc_connection *connection;
    esrpc_runtime *runtime = NULL;
    struct pair pair;
    (void)data;
    if (getuid() == 0) CHECK(setgid(61234) == 0 && setuid(61234) == 0);
    limit_threads(true);
    CHECK(esrpc_runtime_new(NULL, &runtime) != ESRPC_OK && runtime == NULL);
    CHECK(last_error_says("(errno 11)"));
    limit_threads(false);
    pair_open(&pair);
    limit_threads(true);
    /* Looking a name up needs a thread. */
    dial_name(&pair, &early, &connection);
    await("early setup");
    CHECK_NEVER("early setup OK");
    esrpc_connection_release(connection);
    await("early destroy");
    /* What is there goes on. */
    CHECK_OK(ping(pair.client_connection, "still here", NULL));
    await("server protocol PING still here");
    limit_threads(false);
    dial_name(&pair, &late, &connection);
    await("late setup OK");
    CHECK_OK(esrpc_connection_abort(connection));
    esrpc_connection_release(connection);
    await("late destroy");
    await_count("server shutdown", 1);
    pair_end(&pair);
}

static void few_threads_are_statuses(void) {
    in_child(live_without_threads, NULL);
}

static size_t address_space(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%lu", &pages) == 1);
    fclose(file);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void limit_memory(size_t spare) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    limit.rlim_cur = spare == 0 ? limit.rlim_max : address_space() + spare;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void live_with_little_memory(void *data) {
    size_t spare = *(const size_t *)data;
    esrpc_runtime *runtime = NULL;
    esrpc_status status;
    struct pair pair;
    limit_memory(spare);
    status = esrpc_runtime_new(NULL, &runtime);
    limit_memory(0);
    CHECK((status == ESRPC_OK) == (runtime != NULL));
    if (status != ESRPC_OK) {
        CHECK(last_error_says("(errno "));
    } else {
        CHECK_OK(esrpc_runtime_join(runtime, PATIENCE_MS));
        esrpc_runtime_release(runtime);
    }
    pair_open(&pair);
    limit_memory(spare);
    status = esrpc_runtime_new(NULL, &runtime);
    CHECK_OK(ping(pair.client_connection, "still here", NULL));
    await("server protocol PING still here");
    limit_memory(0);
    if (status == ESRPC_OK) {
        CHECK_OK(esrpc_runtime_join(runtime, PATIENCE_MS));
        esrpc_runtime_release(runtime);
    }
    pair_end(&pair);
}

static void little_memory_is_a_status(void) {
    /* With less, memory is exhausted, which is fatal: see the header. */
    static const size_t spares[] = {512, 768, 1024, 1536, 2048, 2560, 3072, 4096, 8192};
    if (getenv("ESRPC_TEST_CFLAGS") != NULL || getenv("ESRPC_TEST_WRAPPER") != NULL) {
        fprintf(stderr, "  skipped: sanitizers and valgrind need memory of their own\n");
        return;
    }
    for (size_t i = 0; i < sizeof spares / sizeof *spares; i++) {
        size_t spare = spares[i] * 1024;
        in_child(live_with_little_memory, &spare);
    }
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(few_descriptors_are_statuses),
        TEST(few_threads_are_statuses),
        TEST(little_memory_is_a_status),
    };
    return RUN_TESTS(tests, argc, argv);
}
