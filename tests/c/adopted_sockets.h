/* Sockets that a test makes and hands to the library. Include it first. */
#ifndef ADOPTED_SOCKETS_H
#define ADOPTED_SOCKETS_H

#include "raw_peer.h"

#include "process.h"

static inline bool is_open(int descriptor) {
    return fcntl(descriptor, F_GETFD) >= 0;
}

static inline bool is_ours(int descriptor) {
    return (fcntl(descriptor, F_GETFL) & O_NONBLOCK) == 0 && (fcntl(descriptor, F_GETFD) & FD_CLOEXEC) == 0;
}

static inline bool is_the_librarys(int descriptor) {
    return (fcntl(descriptor, F_GETFL) & O_NONBLOCK) != 0 && (fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0;
}

/* Two connected Unix sockets, both blocking and not close-on-exec. */
static inline void make_pair_of_sockets(int both[2]) {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, both) == 0);
}

/* The same over TCP: [0] connected, [1] accepted. */
static inline void make_tcp_pair(int both[2]) {
    struct raw_listener listener;
    struct sockaddr_in address;
    CHECK(raw_listen_at(&listener, "127.0.0.1", 0, 1));
    address = ipv4_address("127.0.0.1", listener.port);
    both[0] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(both[0] >= 0 && connect(both[0], (const struct sockaddr *)&address, sizeof address) == 0);
    await_socket(listener.descriptor, POLLIN);
    both[1] = accept(listener.descriptor, NULL, NULL);
    CHECK(both[1] >= 0);
    raw_listener_close(&listener);
}

static inline int listening_unix_socket(const char *path) {
    struct sockaddr_un address;
    int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path);
    CHECK(descriptor >= 0 && bind(descriptor, (const struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(descriptor, 8) == 0);
    return descriptor;
}

static inline esrpc_client_options *options_with(int descriptor) {
    esrpc_client_options *options = esrpc_client_options_new();
    CHECK_OK(esrpc_client_options_set_socket(options, descriptor));
    return options;
}

/* Makes the pair's listener with these options, which are released. */
static inline void listen_with(struct pair *pair, esrpc_listener_options *options) {
    esrpc_listener_callbacks callbacks = listener_callbacks();
    CHECK_OK(esrpc_listener_options_set_runtime(options, pair->server_runtime));
    CHECK_OK(esrpc_listener_options_set_connection_options(options, pair->server_options));
    CHECK_OK(esrpc_listener_listen(options, &callbacks, &pair->listener, &pair->listening));
    esrpc_listener_options_release(options);
}

static inline void listen_nowhere(struct pair *pair) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    CHECK_OK(esrpc_listener_options_set_adopt_only(options));
    listen_with(pair, options);
}

static inline void listen_on(struct pair *pair, int descriptor) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    CHECK_OK(esrpc_listener_options_set_socket(options, descriptor));
    listen_with(pair, options);
}

static inline void connect_to_path(struct pair *pair, const char *path) {
    esrpc_client_options *options = esrpc_client_options_new();
    CHECK_OK(esrpc_client_options_set_unix_path(options, esrpc_text(path)));
    dial_with(pair, &pair->client, options, &pair->client_connection);
}

#endif
