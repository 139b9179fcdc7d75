/* A peer without the library, that sends whatever a test wants, and a client that talks to it. */
#ifndef PEER_H
#define PEER_H

#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

/* As CHECK_EVENTS, for events that are known only when the test runs. */
#define CHECK_EVENTS_MADE(name, ...)                                                            \
    do {                                                                                        \
        const char *const made_events[] = {__VA_ARGS__};                                        \
        check_events((name), made_events, sizeof made_events / sizeof *made_events, __FILE__, __LINE__); \
    } while (0)

/* Plain sockets, over TCP or an abstract Unix socket as the tests are run. */
struct raw_peer {
    int listening, fd;
    uint32_t port;
    char unix_name[40];
};

union raw_address {
    struct sockaddr any;
    struct sockaddr_in tcp;
    struct sockaddr_un local;
};

static inline socklen_t raw_address_of(union raw_address *address, uint32_t port, const char *unix_name) {
    memset(address, 0, sizeof *address);
    if (over_unix_socket) {
        address->local.sun_family = AF_UNIX;
        strcpy(address->local.sun_path + 1, unix_name);
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(unix_name));
    }
    address->tcp.sin_family = AF_INET;
    address->tcp.sin_port = htons((uint16_t)port);
    address->tcp.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return sizeof address->tcp;
}

static inline int raw_socket(void) {
    int fd = socket(over_unix_socket ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    return fd;
}

/* Has an address that nobody else can have, and does not listen there yet. */
static inline void raw_bind(struct raw_peer *peer) {
    static unsigned peers;
    union raw_address address;
    socklen_t len;
    peer->fd = -1;
    peer->listening = raw_socket();
    snprintf(peer->unix_name, sizeof peer->unix_name, "esrpc-raw-%ld-%u", (long)getpid(), peers++);
    len = raw_address_of(&address, 0, peer->unix_name);
    CHECK(bind(peer->listening, &address.any, len) == 0);
    len = sizeof address;
    CHECK(getsockname(peer->listening, &address.any, &len) == 0);
    peer->port = over_unix_socket ? 0 : ntohs(address.tcp.sin_port);
}

static inline void raw_listen(struct raw_peer *peer) {
    raw_bind(peer);
    CHECK(listen(peer->listening, 8) == 0);
}

static inline void raw_accept(struct raw_peer *peer) {
    peer->fd = accept(peer->listening, NULL, NULL);
    CHECK(peer->fd >= 0);
}

/* A socket without the library, connected to the pair's server. */
static inline int raw_connect(const struct pair *pair) {
    union raw_address address;
    socklen_t len = raw_address_of(&address, esrpc_listener_get_port(pair->listening), pair->unix_name);
    int fd = raw_socket();
    CHECK(connect(fd, &address.any, len) == 0);
    return fd;
}

static inline void raw_send(int fd, const void *data, size_t len) {
    CHECK(send(fd, data, len, MSG_NOSIGNAL) == (ssize_t)len);
}

static inline void raw_send_message(int fd, int32_t type, int32_t flags, int32_t stream_id, const char *payload) {
    uint8_t message[512];
    size_t len;
    esrpc_headers *headers = esrpc_headers_new();
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":message-type"), type));
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":message-flags"), flags));
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":stream-id"), stream_id));
    CHECK_OK(esrpc_message_encode(headers, esrpc_text(payload), message, sizeof message, &len));
    esrpc_headers_release(headers);
    raw_send(fd, message, len);
}

static inline void raw_send_connect(int fd) {
    raw_send_message(fd, ESRPC_MESSAGE_TYPE_CONNECT, 0, 0, "connect");
}

static inline void raw_send_connect_ack(int fd) {
    raw_send_message(fd, ESRPC_MESSAGE_TYPE_CONNECT_ACK, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, 0, "ack");
}

/* Ends this direction, and reads until the other one has ended too. */
static inline void raw_finish(int fd) {
    char buffer[4096];
    ssize_t count;
    CHECK(shutdown(fd, SHUT_WR) == 0 || errno == ENOTCONN);
    do {
        count = recv(fd, buffer, sizeof buffer, 0);
    } while (count > 0);
    CHECK(count == 0 || errno == ECONNRESET);
    CHECK(close(fd) == 0);
}

/* Closes so that the other side's next read, over TCP, is a reset and no end. */
static inline void raw_reset(int fd) {
    struct linger linger;
    linger.l_onoff = 1;
    linger.l_linger = 0;
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
    CHECK(close(fd) == 0);
}

/* One client with a runtime of its own, whose connection and stream are noted as "client ..." and "call ...". */
struct client {
    struct party party, call;
    esrpc_runtime *runtime;
    esrpc_connection *connection;
    esrpc_stream *stream;
};

static inline void client_begin(struct client *client) {
    memset(client, 0, sizeof *client);
    client->party = a_party("client", NULL, client);
    client->call = a_party("call", NULL, client);
    CHECK_OK(esrpc_runtime_new(NULL, &client->runtime));
}

/* Dials with the options, which are released. */
static inline void client_dial(struct client *client, esrpc_client_options *options) {
    esrpc_connection_callbacks callbacks = connection_callbacks();
    CHECK_OK(esrpc_client_options_set_runtime(options, client->runtime));
    CHECK_OK(esrpc_connection_connect(options, &callbacks, &client->party, &client->connection));
    esrpc_client_options_release(options);
}

static inline esrpc_client_options *client_options_for(uint32_t port, const char *unix_name, bool handshake) {
    esrpc_client_options *options = esrpc_client_options_new();
    if (over_unix_socket)
        CHECK_OK(esrpc_client_options_set_unix_abstract(options, esrpc_text(unix_name)));
    else
        CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), port));
    if (handshake) CHECK_OK(esrpc_client_options_set_handshake(options, NULL, esrpc_text("connect")));
    return options;
}

static inline void client_dial_raw(struct client *client, struct raw_peer *peer, bool handshake) {
    client_dial(client, client_options_for(peer->port, peer->unix_name, handshake));
    raw_accept(peer);
}

/* The connection ends, or could not be set up, with that status and a sentence that has that part. */
static inline void check_end(esrpc_connection *connection, esrpc_status expected, const char *says) {
    esrpc_status status = ESRPC_OK;
    const char *sentence;
    CHECK_OK(esrpc_connection_wait_shutdown(connection, PATIENCE_MS, &status));
    sentence = esrpc_connection_get_end_message(connection);
    CHECK(esrpc_connection_get_end_status(connection) == status);
    if (status != expected || strstr(sentence, says) == NULL) {
        fprintf(stderr, "the connection ended with %s: \"%s\"; expected %s: \"%s\"\n", esrpc_status_name(status), sentence,
                esrpc_status_name(expected), says);
        abort();
    }
}

/* Releases everything; with an OK from the join, every on_destroy has been called. */
static inline void client_end(struct client *client) {
    esrpc_stream_release(client->stream);
    esrpc_connection_release(client->connection);
    CHECK_OK(esrpc_runtime_join(client->runtime, PATIENCE_MS));
    esrpc_runtime_release(client->runtime);
    CHECK_ONCE("client destroy");
}

#endif
