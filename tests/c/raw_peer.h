/* Peers that are plain sockets and do only what the test says: listen without accepting, accept a connection and say nothing,
   say half a message. Their messages are made by the library's codec. Include it after harness.h. */
#ifndef RAW_PEER_H
#define RAW_PEER_H

#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

/* The deadline under test, and all the others. */
enum { SHORT_MS = 150, LONG_MS = 50000 };

static inline int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Makes every deadline long, so that only the one under test can expire. */
static inline void make_patient(esrpc_connection_options *options) {
    CHECK_OK(esrpc_connection_options_set_resolve_timeout_ms(options, LONG_MS));
    CHECK_OK(esrpc_connection_options_set_connect_timeout_ms(options, LONG_MS));
    CHECK_OK(esrpc_connection_options_set_handshake_timeout_ms(options, LONG_MS));
    CHECK_OK(esrpc_connection_options_set_write_timeout_ms(options, LONG_MS));
    CHECK_OK(esrpc_connection_options_set_message_timeout_ms(options, LONG_MS));
    CHECK_OK(esrpc_connection_options_set_idle_timeout_ms(options, LONG_MS));
    CHECK_OK(esrpc_connection_options_set_keep_alive_ping(options, LONG_MS, LONG_MS));
    CHECK_OK(esrpc_connection_options_set_linger_ms(options, LONG_MS));
}

/* A pair whose deadlines are all long. */
static inline void patient_pair_begin(struct pair *pair) {
    pair_begin(pair);
    make_patient(pair->client_options);
    make_patient(pair->server_options);
}

/* When the last failed setup, shutdown or end of a stream was reported. Valid after await("ended NAME"). */
static int64_t ended_at;

static inline void note_end(struct party *self, const struct moment *now) {
    bool failed_setup = is(now, "setup") && now->status != ESRPC_OK;
    if (!failed_setup && !is(now, "shutdown") && !is(now, "closed")) return;
    ended_at = now_ns();
    note("ended %s", self->name);
}

/* The party ends because of a deadline of `deadline_ms` that began to run at `started` or later. */
static inline void check_ends_in_time(const char *name, int64_t started, int64_t deadline_ms) {
    char event[40];
    snprintf(event, sizeof event, "ended %s", name);
    await(event);
    int64_t took_ms = (ended_at - started) / 1000000;
    if (took_ms < deadline_ms || took_ms >= LONG_MS) {
        fprintf(stderr, "%s ended after %ld ms, not %ld\n", name, (long)took_ms, (long)deadline_ms);
        abort();
    }
}

static inline void check_end_message_says(const esrpc_connection *connection, const char *text) {
    if (strstr(esrpc_connection_get_end_message(connection), text) == NULL) {
        fprintf(stderr, "\"%s\" does not say \"%s\"\n", esrpc_connection_get_end_message(connection), text);
        abort();
    }
}

/* Waits until the socket is ready for `what`. */
static inline void await_socket(int descriptor, short what) {
    struct pollfd wanted;
    wanted.fd = descriptor;
    wanted.events = what;
    CHECK(poll(&wanted, 1, PATIENCE_MS) == 1);
}

/* The pace of a peer that has to be slower than a deadline. Tests never wait for events in this way. */
static inline void pass_time(int milliseconds) {
    struct pollfd nothing;
    nothing.fd = -1;
    nothing.events = 0;
    poll(&nothing, 1, milliseconds);
}

static inline int raw_socket(int family) {
    int descriptor = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(descriptor >= 0);
    return descriptor;
}

static inline struct sockaddr_in ipv4_address(const char *ip, uint32_t port) {
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    CHECK(inet_pton(AF_INET, ip, &address.sin_addr) == 1);
    return address;
}

static inline socklen_t unix_address(const char *name, struct sockaddr_un *address) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path + 1, name, strlen(name));
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
}

struct raw_listener {
    int descriptor;
    uint32_t port;
    char name[60]; /* of the Unix socket */
    int filler;    /* fills the backlog; or -1 */
};

/* A TCP listener at the address; with port 0 the system chooses. False if the port is taken. */
static inline bool raw_listen_at(struct raw_listener *listener, const char *ip, uint32_t port, int backlog) {
    struct sockaddr_in address = ipv4_address(ip, port);
    socklen_t len = sizeof address;
    memset(listener, 0, sizeof *listener);
    listener->filler = -1;
    listener->descriptor = raw_socket(AF_INET);
    if (bind(listener->descriptor, (const struct sockaddr *)&address, sizeof address) != 0) {
        CHECK(errno == EADDRINUSE);
        close(listener->descriptor);
        return false;
    }
    if (backlog >= 0) CHECK(listen(listener->descriptor, backlog) == 0);
    CHECK(getsockname(listener->descriptor, (struct sockaddr *)&address, &len) == 0);
    listener->port = ntohs(address.sin_port);
    return true;
}

/* A listener that accepts only when the test does. */
static inline void raw_listen(struct raw_listener *listener, int backlog) {
    static unsigned listeners;
    struct sockaddr_un address;
    socklen_t len;
    if (!over_unix_socket) {
        CHECK(raw_listen_at(listener, "127.0.0.1", 0, backlog));
        return;
    }
    memset(listener, 0, sizeof *listener);
    listener->filler = -1;
    snprintf(listener->name, sizeof listener->name, "esrpc-raw-%ld-%u", (long)getpid(), listeners++);
    listener->descriptor = raw_socket(AF_UNIX);
    len = unix_address(listener->name, &address);
    CHECK(bind(listener->descriptor, (const struct sockaddr *)&address, len) == 0);
    CHECK(listen(listener->descriptor, backlog) == 0);
}

static inline void raw_connect_socket(int descriptor, const struct sockaddr *address, socklen_t len) {
    CHECK(connect(descriptor, address, len) == 0 || errno == EINPROGRESS);
    await_socket(descriptor, POLLOUT);
}

static inline int raw_connect(const struct sockaddr *address, socklen_t len) {
    int descriptor = raw_socket(address->sa_family);
    raw_connect_socket(descriptor, address, len);
    return descriptor;
}

/* A backlog of 0 holds one connection: while that one waits, the system accepts no other. */
static inline void raw_fill_backlog(struct raw_listener *listener) {
    struct sockaddr_in tcp;
    struct sockaddr_un local;
    socklen_t len = sizeof tcp;
    if (listener->name[0] != '\0') {
        len = unix_address(listener->name, &local);
        listener->filler = raw_connect((const struct sockaddr *)&local, len);
        return;
    }
    CHECK(getsockname(listener->descriptor, (struct sockaddr *)&tcp, &len) == 0);
    listener->filler = raw_connect((const struct sockaddr *)&tcp, sizeof tcp);
}

static inline void raw_listener_close(struct raw_listener *listener) {
    if (listener->filler >= 0) close(listener->filler);
    close(listener->descriptor);
}

/* One end of a connection. */
struct raw {
    int descriptor;
    uint8_t *input;
    size_t len, capacity;
};

static inline void raw_begin(struct raw *raw, int descriptor) {
    memset(raw, 0, sizeof *raw);
    raw->descriptor = descriptor;
}

static inline void raw_accept(const struct raw_listener *listener, struct raw *raw) {
    await_socket(listener->descriptor, POLLIN);
    raw_begin(raw, accept(listener->descriptor, NULL, NULL));
    CHECK(raw->descriptor >= 0);
    CHECK(fcntl(raw->descriptor, F_SETFL, O_NONBLOCK) == 0);
}

static inline void raw_close(struct raw *raw) {
    close(raw->descriptor);
    free(raw->input);
    memset(raw, 0, sizeof *raw);
    raw->descriptor = -1;
}

/* Connects the socket to the pair's listener. */
static inline void raw_dial_from(struct raw *raw, int descriptor, const struct pair *pair) {
    if (over_unix_socket) {
        struct sockaddr_un address;
        socklen_t len = unix_address(pair->unix_name, &address);
        raw_connect_socket(descriptor, (const struct sockaddr *)&address, len);
    } else {
        struct sockaddr_in address = ipv4_address("127.0.0.1", esrpc_listener_get_port(pair->listening));
        raw_connect_socket(descriptor, (const struct sockaddr *)&address, sizeof address);
    }
    raw_begin(raw, descriptor);
}

static inline int raw_socket_for_pair(void) {
    return raw_socket(over_unix_socket ? AF_UNIX : AF_INET);
}

static inline void raw_dial(struct raw *raw, const struct pair *pair) {
    raw_dial_from(raw, raw_socket_for_pair(), pair);
}

/* Begins to connect one of the pair's clients with the options, which are released. */
static inline void dial_with(struct pair *pair, struct party *party, esrpc_client_options *options,
                             esrpc_connection **out_connection) {
    esrpc_connection_callbacks callbacks = connection_callbacks();
    CHECK_OK(esrpc_client_options_set_runtime(options, pair->client_runtime));
    CHECK_OK(esrpc_client_options_set_connection_options(options, pair->client_options));
    if (!pair->no_handshake) CHECK_OK(esrpc_client_options_set_handshake(options, NULL, esrpc_text("connect")));
    CHECK_OK(esrpc_connection_connect(options, &callbacks, party, out_connection));
    esrpc_client_options_release(options);
}

static inline void dial_host(struct pair *pair, struct party *party, const char *host, uint32_t port,
                             esrpc_connection **out_connection) {
    esrpc_client_options *options = esrpc_client_options_new();
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text(host), port));
    dial_with(pair, party, options, out_connection);
}

static inline void dial_raw(struct pair *pair, struct party *party, const struct raw_listener *listener,
                            esrpc_connection **out_connection) {
    esrpc_client_options *options = esrpc_client_options_new();
    if (listener->name[0] != '\0')
        CHECK_OK(esrpc_client_options_set_unix_abstract(options, esrpc_text(listener->name)));
    else
        CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), listener->port));
    dial_with(pair, party, options, out_connection);
}

/* Sends all of it; false if the peer has closed. */
static inline bool raw_send(struct raw *raw, const void *data, size_t len) {
    const uint8_t *from = (const uint8_t *)data;
    while (len > 0) {
        ssize_t count = send(raw->descriptor, from, len, MSG_NOSIGNAL);
        if (count < 0) {
            if (errno == EPIPE || errno == ECONNRESET) return false;
            CHECK(errno == EAGAIN);
            await_socket(raw->descriptor, POLLOUT);
            continue;
        }
        from += count;
        len -= (size_t)count;
    }
    return true;
}

/* The bytes of a message. With `stream` 0 it is a protocol message; `operation` is NULL except for a stream's first message. */
static inline esrpc_buffer *raw_message(int32_t type, int32_t flags, int32_t stream, const char *operation,
                                        esrpc_bytes payload) {
    esrpc_headers *headers = esrpc_headers_new();
    esrpc_buffer *buffer = NULL;
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":message-type"), type));
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":message-flags"), flags));
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":stream-id"), stream));
    if (operation != NULL)
        CHECK_OK(esrpc_headers_add_string(headers, esrpc_text("operation"), esrpc_text(operation)));
    CHECK_OK(esrpc_message_encode_to_buffer(headers, payload, &buffer));
    esrpc_headers_release(headers);
    return buffer;
}

static inline void raw_send_message(struct raw *raw, int32_t type, int32_t flags, int32_t stream, const char *operation,
                                    const char *payload) {
    esrpc_buffer *buffer = raw_message(type, flags, stream, operation, esrpc_text(payload));
    esrpc_bytes data = esrpc_buffer_get_bytes(buffer);
    CHECK(raw_send(raw, data.data, data.len));
    esrpc_buffer_release(buffer);
}

/* Sends messages with one call, so that they arrive together, and releases them. */
static inline void raw_send_together(struct raw *raw, esrpc_buffer *const *messages, size_t count) {
    uint8_t wire[1024];
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        esrpc_bytes part = esrpc_buffer_get_bytes(messages[i]);
        CHECK(len + part.len <= sizeof wire);
        memcpy(wire + len, part.data, part.len);
        len += part.len;
        esrpc_buffer_release(messages[i]);
    }
    CHECK(raw_send(raw, wire, len));
}

/* Reads once, at most `most` bytes; returns 0 if the peer has ended. */
static inline size_t raw_read(struct raw *raw, size_t most) {
    for (;;) {
        if (raw->capacity < raw->len + most) {
            raw->capacity = 2 * (raw->len + most);
            raw->input = (uint8_t *)realloc(raw->input, raw->capacity);
            CHECK(raw->input != NULL);
        }
        ssize_t count = recv(raw->descriptor, raw->input + raw->len, most, 0);
        if (count >= 0 || errno == ECONNRESET) {
            if (count <= 0) return 0;
            raw->len += (size_t)count;
            return (size_t)count;
        }
        CHECK(errno == EAGAIN);
        await_socket(raw->descriptor, POLLIN);
    }
}

/* Returns the next message, which must have the type; the caller releases it. */
static inline esrpc_message *raw_await_message(struct raw *raw, int32_t type) {
    esrpc_message *view = NULL, *copy = NULL;
    size_t used = 0;
    esrpc_status status;
    while ((status = esrpc_message_decode(bytes(raw->input, raw->len), &view, &used)) == ESRPC_ERROR_INCOMPLETE) {
        if (raw_read(raw, 64 * 1024) == 0) {
            fprintf(stderr, "the connection ended while a message of type %d was awaited\n", (int)type);
            abort();
        }
    }
    CHECK_OK(status);
    CHECK_OK(esrpc_message_copy(view, &copy));
    esrpc_message_release(view);
    memmove(raw->input, raw->input + used, raw->len - used);
    raw->len -= used;
    CHECK(esrpc_message_get_type(copy) == type);
    return copy;
}

static inline void raw_expect(struct raw *raw, int32_t type, int32_t flags, const char *payload) {
    esrpc_message *message = raw_await_message(raw, type);
    CHECK(esrpc_message_get_flags(message) == flags);
    CHECK(is_text(esrpc_message_get_payload(message), payload));
    esrpc_message_release(message);
}

/* The peer ends the connection, and nothing more comes before that. */
static inline void raw_expect_end(struct raw *raw) {
    CHECK(raw->len == 0);
    CHECK(raw_read(raw, 1024) == 0);
}

/* Ends this direction, reads until the other one has ended too, and closes. */
static inline void raw_finish(struct raw *raw) {
    CHECK(shutdown(raw->descriptor, SHUT_WR) == 0 || errno == ENOTCONN);
    while (raw_read(raw, 4096) > 0) raw->len = 0;
    raw_close(raw);
}

/* Closes so that the other side's next read, over TCP, is a reset rather than an end. */
static inline void raw_reset(struct raw *raw) {
    struct linger linger;
    linger.l_onoff = 1;
    linger.l_linger = 0;
    CHECK(setsockopt(raw->descriptor, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
    raw_close(raw);
}

static inline void raw_send_connect(struct raw *raw) {
    raw_send_message(raw, ESRPC_MESSAGE_TYPE_CONNECT, 0, 0, NULL, "connect");
}

static inline void raw_send_connect_ack(struct raw *raw) {
    raw_send_message(raw, ESRPC_MESSAGE_TYPE_CONNECT_ACK, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, 0, NULL, "ack");
}

/* Takes the client's CONNECT and accepts it. */
static inline void raw_accept_connect(struct raw *raw) {
    raw_expect(raw, ESRPC_MESSAGE_TYPE_CONNECT, 0, "connect");
    raw_send_connect_ack(raw);
}

/* A client of the library, after its handshake, with a server that is a plain socket. */
static inline void serve_client(struct pair *pair, struct raw_listener *listener, struct raw *raw) {
    raw_listen(listener, 16);
    dial_raw(pair, &pair->client, listener, &pair->client_connection);
    raw_accept(listener, raw);
    raw_accept_connect(raw);
    await("client setup OK");
}

/* A server of the library, with a client that is a plain socket and has done its handshake. */
static inline void call_server_from(struct pair *pair, struct raw *raw, int descriptor) {
    pair_listen(pair);
    raw_dial_from(raw, descriptor, pair);
    raw_send_message(raw, ESRPC_MESSAGE_TYPE_CONNECT, 0, 0, NULL, "connect");
    raw_expect(raw, ESRPC_MESSAGE_TYPE_CONNECT_ACK, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, "ack");
    await("server protocol CONNECT connect");
}

static inline void call_server(struct pair *pair, struct raw *raw) {
    call_server_from(pair, raw, raw_socket_for_pair());
}

/* When this many bytes that it cannot refuse to send wait to be written, a server stops reading. */
enum { UNASKED_LIMIT = 64 * 1024, ONE_MORE = 4096 };

/* Opens streams until the server stops reading, which must be soon; returns their number. */
static inline int32_t raw_open_until_unread(struct raw *raw, const esrpc_connection *server) {
    for (int32_t id = 1; id < 10000; id++) {
        esrpc_buffer *buffer =
            raw_message(ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, id, "test#Operation", esrpc_text(NULL));
        esrpc_bytes data = esrpc_buffer_get_bytes(buffer);
        size_t sent = 0;
        while (sent < data.len) {
            ssize_t count = send(raw->descriptor, data.data + sent, data.len - sent, MSG_NOSIGNAL);
            if (count > 0) {
                sent += (size_t)count;
                continue;
            }
            CHECK(errno == EAGAIN);
            if (esrpc_connection_get_outbound_size(server) > UNASKED_LIMIT) {
                esrpc_buffer_release(buffer);
                return id - 1;
            }
            pass_time(1);
        }
        esrpc_buffer_release(buffer);
    }
    fprintf(stderr, "the server reads on with %zu bytes to write\n", esrpc_connection_get_outbound_size(server));
    abort();
}

/* Makes the buffers of the system small in both directions. The one that the server reads from has more than a segment of
   the loopback interface: with less, TCP waits for room that never comes. The plain socket's are set before it connects: a
   window that shrinks after it was announced makes Linux drop what comes, acknowledgements included. */
static inline void call_server_with_little_room(struct pair *pair, struct raw *raw) {
    int size = 16 * 1024, descriptor = raw_socket_for_pair();
    CHECK_OK(esrpc_connection_options_set_socket_buffers(pair->server_options, (uint32_t)size, 8 * (uint32_t)size));
    CHECK(setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
    CHECK(setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) == 0);
    call_server_from(pair, raw, descriptor);
}

#endif
