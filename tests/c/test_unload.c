/* The library is loaded by hand, as plugins and language runtimes do, used, and unloaded while its threads run: they go on.

   test_unload LIBRARY */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eventstream_rpc.h"

/* No function of the library is linked, so that nothing but dlopen keeps it in memory. */
#define REQUIRE(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

#define FUNCTIONS(X)                                                                                          \
    X(version) X(text) X(listener_options_new) X(listener_options_release) X(listener_options_set_host)       \
    X(listener_listen) X(listener_get_port) X(listener_close) X(listener_release) X(client_options_new)       \
    X(client_options_release) X(client_options_set_host) X(connection_connect) X(connection_accept)           \
    X(connection_wait_setup) X(connection_send_protocol_message) X(connection_wait_shutdown)                  \
    X(connection_close) X(connection_release) X(runtime_join)

typedef void (*any_function)(void);

enum {
#define X(name) F_##name,
    FUNCTIONS(X)
#undef X
        FUNCTION_COUNT
};

static const char *const names[] = {
#define X(name) "esrpc_" #name,
    FUNCTIONS(X)
#undef X
};

static any_function functions[FUNCTION_COUNT];

/* The function of the header's type. */
#define CALL(type, name) ((type)functions[F_##name])

static void *load(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) fprintf(stderr, "%s\n", dlerror());
    REQUIRE(library != NULL);
    for (int i = 0; i < FUNCTION_COUNT; i++) {
        void *address = dlsym(library, names[i]);
        REQUIRE(address != NULL);
        /* C has no cast from a data pointer to a function; POSIX promises that the bytes are the same. */
        memcpy(&functions[i], &address, sizeof address);
    }
    return library;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int messages, destroyed;

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
    (void)connection, (void)message, (void)user_data;
    count(&messages);
}

static void on_destroy(void *user_data) {
    (void)user_data;
    count(&destroyed);
}

static void on_incoming_connection(esrpc_listener *listener, esrpc_connection *connection, void *user_data) {
    esrpc_connection_callbacks callbacks;
    (void)listener, (void)user_data;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_protocol_message = on_protocol_message;
    callbacks.on_destroy = on_destroy;
    REQUIRE(CALL(esrpc_status(*)(esrpc_connection *, const esrpc_connection_callbacks *, void *), connection_accept)(
                connection, &callbacks, NULL) == ESRPC_OK);
}

static esrpc_bytes text(const char *value) {
    return CALL(esrpc_bytes(*)(const char *), text)(value);
}

static esrpc_listener *listen_somewhere(void) {
    esrpc_listener_callbacks callbacks;
    esrpc_listener *listener;
    esrpc_listener_options *options = CALL(esrpc_listener_options * (*)(void), listener_options_new)();
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_incoming_connection = on_incoming_connection;
    callbacks.on_destroy = on_destroy;
    REQUIRE(CALL(esrpc_status(*)(esrpc_listener_options *, esrpc_bytes, uint32_t), listener_options_set_host)(
                options, text("127.0.0.1"), 0) == ESRPC_OK);
    REQUIRE(CALL(esrpc_status(*)(const esrpc_listener_options *, const esrpc_listener_callbacks *, void *,
                                 esrpc_listener **),
                 listener_listen)(options, &callbacks, NULL, &listener) == ESRPC_OK);
    CALL(void (*)(esrpc_listener_options *), listener_options_release)(options);
    return listener;
}

static esrpc_connection *connect_to(const esrpc_listener *listener) {
    esrpc_connection_callbacks callbacks;
    esrpc_connection *connection;
    esrpc_status status;
    esrpc_client_options *options = CALL(esrpc_client_options * (*)(void), client_options_new)();
    uint32_t port = CALL(uint32_t(*)(const esrpc_listener *), listener_get_port)(listener);
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_destroy = on_destroy;
    REQUIRE(CALL(esrpc_status(*)(esrpc_client_options *, esrpc_bytes, uint32_t), client_options_set_host)(
                options, text("127.0.0.1"), port) == ESRPC_OK);
    REQUIRE(CALL(esrpc_status(*)(const esrpc_client_options *, const esrpc_connection_callbacks *, void *,
                                 esrpc_connection **),
                 connection_connect)(options, &callbacks, NULL, &connection) == ESRPC_OK);
    CALL(void (*)(esrpc_client_options *), client_options_release)(options);
    REQUIRE(CALL(esrpc_status(*)(esrpc_connection *, uint32_t, esrpc_status *), connection_wait_setup)(
                connection, ESRPC_WAIT_FOREVER, &status) == ESRPC_OK);
    REQUIRE(status == ESRPC_OK);
    return connection;
}

static void send_connect(esrpc_connection *connection) {
    REQUIRE(CALL(esrpc_status(*)(esrpc_connection *, int32_t, int32_t, const esrpc_headers *, esrpc_bytes,
                                 esrpc_flush_callback, void *),
                 connection_send_protocol_message)(connection, ESRPC_MESSAGE_TYPE_CONNECT, 0, NULL, text("connect"), NULL,
                                                   NULL) == ESRPC_OK);
}

static void finish(esrpc_connection *connection, esrpc_listener *listener) {
    REQUIRE(CALL(esrpc_status(*)(esrpc_connection *, esrpc_status), connection_close)(connection, ESRPC_OK) == ESRPC_OK);
    REQUIRE(CALL(esrpc_status(*)(esrpc_connection *, uint32_t, esrpc_status *), connection_wait_shutdown)(
                connection, ESRPC_WAIT_FOREVER, NULL) == ESRPC_OK);
    CALL(void (*)(esrpc_connection *), connection_release)(connection);
    REQUIRE(CALL(esrpc_status(*)(esrpc_listener *), listener_close)(listener) == ESRPC_OK);
    CALL(void (*)(esrpc_listener *), listener_release)(listener);
    REQUIRE(CALL(esrpc_status(*)(esrpc_runtime *, uint32_t), runtime_join)(NULL, ESRPC_WAIT_FOREVER) == ESRPC_OK);
}

int main(int argc, char **argv) {
    void *library;
    esrpc_listener *listener;
    esrpc_connection *connection;
    any_function before;
    REQUIRE(argc == 2);
    library = load(argv[1]);
    REQUIRE(strcmp(CALL(const char *(*)(void), version)(), ESRPC_VERSION) == 0);
    listener = listen_somewhere();
    connection = connect_to(listener);

    REQUIRE(dlclose(library) == 0);
    send_connect(connection);
    await(&messages, 1);
    finish(connection, listener);
    await(&destroyed, 3);

    /* Loaded again, it is the same. */
    before = functions[F_version];
    library = load(argv[1]);
    REQUIRE(functions[F_version] == before);
    listener = listen_somewhere();
    connection = connect_to(listener);
    send_connect(connection);
    await(&messages, 2);
    finish(connection, listener);
    await(&destroyed, 6);
    REQUIRE(dlclose(library) == 0);
    return 0;
}
