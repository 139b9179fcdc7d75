/* The library loaded by hand, as plugins and language runtimes do: again and again, several copies at once, and unloaded while
   its threads run. No function of the library is linked, so that nothing but dlopen keeps it in memory. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <time.h>

#include "scenarios.h"

#include "eventstream_rpc.h"

#define FUNCTIONS(X)                                                                                          \
    X(version) X(text) X(listener_options_new) X(listener_options_release) X(listener_options_set_host)                  \
    X(listener_listen) X(listener_get_port) X(listener_close) X(listener_release) X(client_options_new)       \
    X(client_options_release) X(client_options_set_host) X(connection_connect) X(connection_accept)           \
    X(connection_wait_setup) X(connection_send_protocol_message) X(connection_wait_shutdown)                  \
    X(connection_close) X(connection_release) X(runtime_join) X(last_error_message)                           \
    X(tls_config_builder_new_client) X(tls_config_builder_add_ca) X(tls_config_builder_release)

/* One copy of the library. */
struct copy {
    void *library;
#define X(name) __typeof__(esrpc_##name) *name;
    FUNCTIONS(X)
#undef X
    int messages, destroyed; /* under the lock */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

/* The function, in a library that dlopen gave. */
static void find(void *library, const char *name, void *function, size_t size) {
    void *address = dlsym(library, name);
    REQUIRE(address != NULL && size == sizeof address);
    /* C has no cast from a data pointer to a function; POSIX promises that the bytes are the same. */
    memcpy(function, &address, size);
}

/* The library in the file that the driver names. */
static void *load(const char *variable) {
    void *library = dlopen(from_driver(variable), RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) fprintf(stderr, "%s\n", dlerror());
    REQUIRE(library != NULL);
    return library;
}

static void use(struct copy *copy, void *library) {
    memset(copy, 0, sizeof *copy);
    copy->library = library;
#define X(name) find(library, "esrpc_" #name, &copy->name, sizeof copy->name);
    FUNCTIONS(X)
#undef X
}

static void count(int *what) {
    pthread_mutex_lock(&lock);
    ++*what;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void await(const int *what, int wanted) {
    pthread_mutex_lock(&lock);
    while (*what < wanted) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void on_protocol_message(esrpc_connection *connection, const esrpc_message *message, void *user_data) {
    (void)connection, (void)message;
    count(&((struct copy *)user_data)->messages);
}

static void on_destroy(void *user_data) {
    count(&((struct copy *)user_data)->destroyed);
}

static void on_incoming_connection(esrpc_listener *listener, esrpc_connection *connection, void *user_data) {
    struct copy *copy = (struct copy *)user_data;
    esrpc_connection_callbacks callbacks;
    (void)listener;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_protocol_message = on_protocol_message;
    callbacks.on_destroy = on_destroy;
    REQUIRE(copy->connection_accept(connection, &callbacks, copy) == ESRPC_OK);
}

static esrpc_listener *listen_with(struct copy *copy) {
    esrpc_listener_callbacks callbacks;
    esrpc_listener *listener;
    esrpc_listener_options *options = copy->listener_options_new();
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_incoming_connection = on_incoming_connection;
    callbacks.on_destroy = on_destroy;
    REQUIRE(copy->listener_options_set_host(options, copy->text("127.0.0.1"), 0) == ESRPC_OK);
    REQUIRE(copy->listener_listen(options, &callbacks, copy, &listener) == ESRPC_OK);
    copy->listener_options_release(options);
    return listener;
}

static esrpc_connection *connect_with(struct copy *copy, uint32_t port) {
    esrpc_connection_callbacks callbacks;
    esrpc_connection *connection;
    esrpc_client_options *options = copy->client_options_new();
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_destroy = on_destroy;
    REQUIRE(copy->client_options_set_host(options, copy->text("127.0.0.1"), port) == ESRPC_OK);
    REQUIRE(copy->connection_connect(options, &callbacks, copy, &connection) == ESRPC_OK);
    copy->client_options_release(options);
    REQUIRE(copy->connection_wait_setup(connection, ESRPC_NO_TIMEOUT) == ESRPC_OK);
    return connection;
}

static void send_connect(struct copy *copy, esrpc_connection *connection) {
    REQUIRE(copy->connection_send_protocol_message(connection, ESRPC_MESSAGE_TYPE_CONNECT, 0, NULL, copy->text("connect"),
                                                   NULL, NULL) == ESRPC_OK);
}

/* Ends both, and waits until both sides are at rest. */
static void end(struct copy *client, esrpc_connection *connection, struct copy *server, esrpc_listener *listener) {
    REQUIRE(client->connection_close(connection, ESRPC_OK) == ESRPC_OK);
    REQUIRE(client->connection_wait_shutdown(connection, ESRPC_NO_TIMEOUT) == ESRPC_OK);
    client->connection_release(connection);
    REQUIRE(server->listener_close(listener) == ESRPC_OK);
    server->listener_release(listener);
    REQUIRE(client->runtime_join(NULL, ESRPC_NO_TIMEOUT) == ESRPC_OK);
    REQUIRE(server->runtime_join(NULL, ESRPC_NO_TIMEOUT) == ESRPC_OK);
}

/* A client of one copy talks to a server of the other, which may be the same. Both are at rest afterwards. */
static void meet(struct copy *client, struct copy *server) {
    int messages = server->messages, destroyed = server->destroyed, clients;
    esrpc_listener *listener = listen_with(server);
    esrpc_connection *connection = connect_with(client, server->listener_get_port(listener));
    send_connect(client, connection);
    await(&server->messages, messages + 1);
    clients = client->destroyed;
    end(client, connection, server, listener);
    REQUIRE(client->destroyed > clients && server->destroyed >= destroyed + 2);
}

static size_t count_entries(const char *folder) {
    size_t entries = 0;
    const struct dirent *entry;
    DIR *directory = opendir(folder);
    REQUIRE(directory != NULL);
    while ((entry = readdir(directory)) != NULL) entries += entry->d_name[0] != '.';
    closedir(directory);
    return entries;
}

/* A thread stays visible for a moment when it was joined. */
static void await_entries(const char *folder, size_t wanted) {
    time_t deadline = time(NULL) + 60;
    while (count_entries(folder) != wanted) REQUIRE(time(NULL) < deadline);
}

static size_t mappings(void) {
    size_t lines = 0;
    int c;
    FILE *file = fopen("/proc/self/maps", "r");
    REQUIRE(file != NULL);
    while ((c = fgetc(file)) != EOF) lines += c == '\n';
    fclose(file);
    return lines;
}

static void loaded_a_hundred_times(void) {
    enum { TIMES = 100, WARM_UP = 20, TOLERATED = 10 };
    struct copy copy;
    size_t descriptors = 0, threads = 0, maps = 0;
    for (int i = 0; i < TIMES; i++) {
        use(&copy, load("ESRPC_TEST_LIBRARY"));
        meet(&copy, &copy);
        REQUIRE(dlclose(copy.library) == 0);
        if (i + 1 != WARM_UP) continue;
        descriptors = count_entries("/proc/self/fd");
        threads = count_entries("/proc/self/task");
        maps = mappings();
    }
    await_entries("/proc/self/fd", descriptors);
    await_entries("/proc/self/task", threads);
    REQUIRE(mappings() <= maps + TOLERATED);
}

static void use_tls(const struct copy *copy) {
    esrpc_tls_config_builder *builder = copy->tls_config_builder_new_client();
    REQUIRE(copy->tls_config_builder_add_ca(builder, copy->text("no certificate")) != ESRPC_OK);
    copy->tls_config_builder_release(builder);
}

/* Each has its own default runtime, threads and last error. Not by dlmopen: glibc gives the stacks of ended threads to threads
   of other namespaces, and frees there with one allocator what another one made. */
static void two_copies(void) {
    struct copy a, b;
    use(&a, load("ESRPC_TEST_LIBRARY"));
    use(&b, load("ESRPC_TEST_LIBRARY_COPY"));
    REQUIRE(a.text != b.text);
    for (int i = 0; i < 10; i++) {
        meet(&a, &b);
        meet(&b, &a);
        REQUIRE(a.connection_close(NULL, ESRPC_OK) == ESRPC_ERROR_INVALID_ARGUMENT);
        use_tls(&b);
        REQUIRE(strstr(a.last_error_message(), "connection is NULL") != NULL);
    }
    REQUIRE(dlclose(a.library) == 0);
    meet(&b, &b);
    REQUIRE(dlclose(b.library) == 0);
}

/* It stays in memory: its threads go on, and its functions can be called. */
static void unloaded_under_its_threads(void) {
    struct copy copy, again;
    esrpc_listener *listener;
    esrpc_connection *connection;
    use(&copy, load("ESRPC_TEST_LIBRARY"));
    REQUIRE(strcmp(copy.version(), ESRPC_VERSION) == 0);
    listener = listen_with(&copy);
    connection = connect_with(&copy, copy.listener_get_port(listener));
    REQUIRE(dlclose(copy.library) == 0);
    send_connect(&copy, connection);
    await(&copy.messages, 1);
    end(&copy, connection, &copy, listener);
    await(&copy.destroyed, 3);

    use(&again, load("ESRPC_TEST_LIBRARY"));
    REQUIRE(again.version == copy.version);
    meet(&again, &again);
    REQUIRE(dlclose(again.library) == 0);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(loaded_a_hundred_times),
        TEST(two_copies),
        TEST(unloaded_under_its_threads),
    };
    return run_scenarios(tests, sizeof tests / sizeof *tests, argc, argv, NULL, NULL);
}
