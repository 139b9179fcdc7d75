/* A client and a server in one process, each with a runtime of its own, whose callbacks note what happens (events.h). */
#ifndef HARNESS_H
#define HARNESS_H

#include "events.h"

#include <unistd.h>

/* What a callback was given; members that it was not given are NULL or 0. */
struct moment {
    const char *what; /* the second word of the event */
    esrpc_connection *connection;
    esrpc_stream *stream;
    const esrpc_message *message;
    esrpc_status status;
};

/* Whose callbacks are noted: the user data of a listener, a connection or a stream. */
struct party {
    const char *name;
    void (*hook)(struct party *self, const struct moment *now); /* runs in every callback, after the event is noted; or NULL */
    void *data;
};

static inline struct party a_party(const char *name, void (*hook)(struct party *, const struct moment *), void *data) {
    struct party party;
    party.name = name;
    party.hook = hook;
    party.data = data;
    return party;
}

/* "OK", "PEER_CLOSED", "1000": a status as events show it. */
static inline const char *short_name(esrpc_status status, char buffer[16]) {
    const char *name = esrpc_status_name(status);
    if (status >= 1000) {
        snprintf(buffer, 16, "%d", (int)status);
        return buffer;
    }
    if (strncmp(name, "ESRPC_ERROR_", 12) == 0) return name + 12;
    return strncmp(name, "ESRPC_", 6) == 0 ? name + 6 : name;
}

static inline void note_status(const char *name, const char *what, esrpc_status status) {
    char buffer[16];
    note("%s %s %s", name, what, short_name(status, buffer));
}

/* "call message hello (last)", "server protocol PING hello"; long payloads by their length. */
static inline void note_message(const char *name, const char *what, const esrpc_message *message) {
    static const char *const types[] = {"",        "",           "PING",           "PING_RESPONSE",
                                        "CONNECT", "CONNECT_ACK", "PROTOCOL_ERROR", "INTERNAL_ERROR"};
    esrpc_bytes payload = esrpc_message_get_payload(message);
    int32_t type = esrpc_message_get_type(message);
    bool last = (esrpc_message_get_flags(message) & ESRPC_MESSAGE_FLAG_TERMINATE_STREAM) != 0;
    const char *type_name = type >= 0 && type <= 7 ? types[type] : "?";
    char text[48];
    if (payload.len < sizeof text)
        snprintf(text, sizeof text, "%.*s", (int)payload.len, payload.len == 0 ? "" : (const char *)payload.data);
    else
        snprintf(text, sizeof text, "%zu bytes", payload.len);
    note("%s %s%s%s%s%s%s", name, what, *type_name ? " " : "", type_name, *text ? " " : "", text, last ? " (last)" : "");
}

static inline struct moment moment_of(const char *what, esrpc_connection *connection, esrpc_stream *stream,
                                      const esrpc_message *message, esrpc_status status) {
    struct moment now;
    now.what = what;
    now.connection = connection;
    now.stream = stream;
    now.message = message;
    now.status = status;
    return now;
}

static inline void happen(struct party *party, struct moment now) {
    /* Read before the event is noted: once on_destroy is, the test may free the party. */
    void (*hook)(struct party *, const struct moment *) = party->hook;
    enter_callback();
    if (now.status != ESRPC_OK) CHECK(esrpc_last_error_message()[0] != '\0');
    if (now.message != NULL)
        note_message(party->name, now.what, now.message);
    else if (strcmp(now.what, "writable") == 0 || strcmp(now.what, "incoming") == 0 || strcmp(now.what, "destroy") == 0)
        note("%s %s", party->name, now.what);
    else
        note_status(party->name, now.what, now.status);
    if (hook != NULL) hook(party, &now);
    leave_callback();
}

static inline bool is(const struct moment *now, const char *what) {
    return strcmp(now->what, what) == 0;
}

static void stream_on_message(esrpc_stream *stream, const esrpc_message *message, void *user_data) {
    bool is_error = esrpc_message_get_type(message) == ESRPC_MESSAGE_TYPE_APPLICATION_ERROR;
    happen((struct party *)user_data, moment_of(is_error ? "error" : "message", NULL, stream, message, ESRPC_OK));
}

static void stream_on_writable(esrpc_stream *stream, void *user_data) {
    happen((struct party *)user_data, moment_of("writable", NULL, stream, NULL, ESRPC_OK));
}

static void stream_on_closed(esrpc_stream *stream, esrpc_status reason, void *user_data) {
    happen((struct party *)user_data, moment_of("closed", NULL, stream, NULL, reason));
}

static void on_destroy(void *user_data) {
    happen((struct party *)user_data, moment_of("destroy", NULL, NULL, NULL, ESRPC_OK));
}

static void on_flush(esrpc_status status, void *user_data) {
    enter_callback();
    note_status("flush", (const char *)user_data, status);
    leave_callback();
}

static inline esrpc_stream_callbacks stream_callbacks(void) {
    esrpc_stream_callbacks callbacks;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_message = stream_on_message;
    callbacks.on_writable = stream_on_writable;
    callbacks.on_closed = stream_on_closed;
    callbacks.on_destroy = on_destroy;
    return callbacks;
}

static void connection_on_setup(esrpc_connection *connection, esrpc_status status, void *user_data) {
    CHECK((connection != NULL) == (status == ESRPC_OK));
    happen((struct party *)user_data, moment_of("setup", connection, NULL, NULL, status));
}

static void connection_on_protocol_message(esrpc_connection *connection, const esrpc_message *message,
                                           void *user_data) {
    happen((struct party *)user_data, moment_of("protocol", connection, NULL, message, ESRPC_OK));
}

static void connection_on_writable(esrpc_connection *connection, void *user_data) {
    happen((struct party *)user_data, moment_of("writable", connection, NULL, NULL, ESRPC_OK));
}

static void connection_on_shutdown(esrpc_connection *connection, esrpc_status reason, void *user_data) {
    happen((struct party *)user_data, moment_of("shutdown", connection, NULL, NULL, reason));
}

static inline esrpc_connection_callbacks connection_callbacks(void) {
    esrpc_connection_callbacks callbacks;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_setup = connection_on_setup;
    callbacks.on_protocol_message = connection_on_protocol_message;
    callbacks.on_writable = connection_on_writable;
    callbacks.on_shutdown = connection_on_shutdown;
    callbacks.on_destroy = on_destroy;
    return callbacks;
}

/* Both ends of a conversation. The members before the runtimes may be changed between pair_begin and pair_connect. */
struct pair {
    struct party client, server, listener, handler; /* handler: the server's side of every stream */
    bool no_handshake;       /* the client's library does not send CONNECT */
    bool ignore_connections; /* the server accepts no connection */
    bool ignore_connect;     /* it does not answer CONNECT */
    bool refuse_connect;     /* it answers CONNECT without CONNECTION_ACCEPTED */
    bool ignore_streams;     /* it accepts no stream */
    bool keep_streams;       /* it keeps a reference to the last stream: handler_stream */
    bool is_stopped;         /* the test stops its runtime at any moment, also inside its callbacks */
    esrpc_connection_options *client_options, *server_options;
    void (*prepare_listener)(esrpc_listener_options *options); /* sets further options; or NULL */

    esrpc_runtime *client_runtime, *server_runtime;
    esrpc_listener *listening;
    char unix_name[40];
    /* The test's references. Who releases one earlier sets it to NULL. */
    esrpc_connection *client_connection, *server_connection;
    esrpc_stream *handler_stream;
};

static inline esrpc_status send_protocol(esrpc_connection *connection, int32_t type, int32_t flags, const char *payload,
                                         const char *flush_name) {
    return esrpc_connection_send_protocol_message(connection, type, flags, NULL, esrpc_text(payload),
                                                  flush_name == NULL ? NULL : on_flush, (void *)flush_name);
}

static inline esrpc_status ping(esrpc_connection *connection, const char *payload, const char *flush_name) {
    return send_protocol(connection, ESRPC_MESSAGE_TYPE_PING, 0, payload, flush_name);
}

/* A server's calls in its callbacks succeed, unless the runtime is stopped meanwhile. */
static inline void check_served(const struct pair *pair, esrpc_status status) {
    if (!pair->is_stopped || status != ESRPC_ERROR_RUNTIME_SHUTDOWN) CHECK_OK(status);
}

static void server_on_protocol_message(esrpc_connection *connection, const esrpc_message *message, void *user_data) {
    struct pair *pair = (struct pair *)((struct party *)user_data)->data;
    if (esrpc_message_get_type(message) == ESRPC_MESSAGE_TYPE_CONNECT && !pair->ignore_connect) {
        int32_t flags = pair->refuse_connect ? 0 : ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED;
        check_served(pair, send_protocol(connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK, flags, "ack", NULL));
    }
    connection_on_protocol_message(connection, message, user_data);
}

/* With several loop threads, connections and streams may arrive at the same time. */
static pthread_mutex_t keeping = PTHREAD_MUTEX_INITIALIZER;

static void server_on_incoming_stream(esrpc_connection *connection, esrpc_stream *stream,
                                      const esrpc_message *first_message, void *user_data) {
    struct pair *pair = (struct pair *)((struct party *)user_data)->data;
    esrpc_stream_callbacks callbacks = stream_callbacks();
    if (!pair->ignore_streams) {
        check_served(pair, esrpc_stream_accept(stream, &callbacks, &pair->handler));
        if (pair->keep_streams) {
            pthread_mutex_lock(&keeping);
            esrpc_stream_release(pair->handler_stream);
            pair->handler_stream = esrpc_stream_acquire(stream);
            pthread_mutex_unlock(&keeping);
        }
        note("handler accepted");
    }
    happen((struct party *)user_data, moment_of("stream", connection, stream, first_message, ESRPC_OK));
}

static void listener_on_incoming_connection(esrpc_listener *listener, esrpc_connection *connection, void *user_data) {
    struct pair *pair = (struct pair *)((struct party *)user_data)->data;
    esrpc_connection_callbacks callbacks = connection_callbacks();
    CHECK(listener != NULL);
    if (!pair->ignore_connections) {
        callbacks.on_protocol_message = server_on_protocol_message;
        callbacks.on_incoming_stream = server_on_incoming_stream;
        check_served(pair, esrpc_connection_accept(connection, &callbacks, &pair->server));
        pthread_mutex_lock(&keeping);
        esrpc_connection_release(pair->server_connection);
        pair->server_connection = esrpc_connection_acquire(connection);
        pthread_mutex_unlock(&keeping);
        note("server accepted");
    }
    happen((struct party *)user_data, moment_of("incoming", connection, NULL, NULL, ESRPC_OK));
}

static void listener_on_failed_connection(esrpc_listener *listener, esrpc_status status, void *user_data) {
    CHECK(listener != NULL);
    happen((struct party *)user_data, moment_of("failed", NULL, NULL, NULL, status));
}

static void listener_on_closed(esrpc_listener *listener, esrpc_status reason, void *user_data) {
    CHECK(listener != NULL);
    happen((struct party *)user_data, moment_of("closed", NULL, NULL, NULL, reason));
}

static inline esrpc_listener_callbacks listener_callbacks(void) {
    esrpc_listener_callbacks callbacks;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_incoming_connection = listener_on_incoming_connection;
    callbacks.on_failed_connection = listener_on_failed_connection;
    callbacks.on_closed = listener_on_closed;
    callbacks.on_destroy = on_destroy;
    return callbacks;
}

static inline void pair_begin(struct pair *pair) {
    static unsigned pairs;
    memset(pair, 0, sizeof *pair);
    pair->client = a_party("client", NULL, pair);
    pair->server = a_party("server", NULL, pair);
    pair->listener = a_party("listener", NULL, pair);
    pair->handler = a_party("handler", NULL, pair);
    pair->client_options = esrpc_connection_options_new();
    pair->server_options = esrpc_connection_options_new();
    CHECK_OK(esrpc_runtime_new(NULL, &pair->client_runtime));
    CHECK_OK(esrpc_runtime_new(NULL, &pair->server_runtime));
    snprintf(pair->unix_name, sizeof pair->unix_name, "esrpc-test-%ld-%u", (long)getpid(), pairs++);
}

static inline void pair_listen(struct pair *pair) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener_callbacks callbacks = listener_callbacks();
    if (over_unix_socket)
        CHECK_OK(esrpc_listener_options_set_unix_abstract(options, esrpc_text(pair->unix_name)));
    else
        CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_options_set_runtime(options, pair->server_runtime));
    CHECK_OK(esrpc_listener_options_set_connection_options(options, pair->server_options));
    if (pair->prepare_listener != NULL) pair->prepare_listener(options);
    CHECK_OK(esrpc_listener_listen(options, &callbacks, &pair->listener, &pair->listening));
    esrpc_listener_options_release(options);
}

/* Client options for the pair's server; to be released. */
static inline esrpc_client_options *pair_client_options(struct pair *pair) {
    esrpc_client_options *options = esrpc_client_options_new();
    uint32_t port = esrpc_listener_get_port(pair->listening);
    if (over_unix_socket)
        CHECK_OK(esrpc_client_options_set_unix_abstract(options, esrpc_text(pair->unix_name)));
    else
        CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), port));
    CHECK_OK(esrpc_client_options_set_runtime(options, pair->client_runtime));
    CHECK_OK(esrpc_client_options_set_connection_options(options, pair->client_options));
    if (!pair->no_handshake) CHECK_OK(esrpc_client_options_set_handshake(options, NULL, esrpc_text("connect")));
    return options;
}

/* Begins to connect a client, and does not wait. */
static inline void pair_dial_as(struct pair *pair, struct party *party, esrpc_connection **out_connection) {
    esrpc_client_options *options = pair_client_options(pair);
    esrpc_connection_callbacks callbacks = connection_callbacks();
    CHECK_OK(esrpc_connection_connect(options, &callbacks, party, out_connection));
    esrpc_client_options_release(options);
}

static inline void pair_dial(struct pair *pair) {
    pair_dial_as(pair, &pair->client, &pair->client_connection);
}

/* Listens, connects, and waits for both sides. */
static inline void pair_connect(struct pair *pair) {
    pair_listen(pair);
    pair_dial(pair);
    await("client setup OK");
    await("server accepted");
}

static inline void pair_open(struct pair *pair) {
    pair_begin(pair);
    pair_connect(pair);
}

/* Every connection and stream of that name lived to its end: `begin`, `end` and destroy happened equally often. */
static inline void check_lives(const char *name, const char *begin, const char *end) {
    char first[64], middle[64], last[64];
    snprintf(first, sizeof first, "%s %s", name, begin);
    snprintf(middle, sizeof middle, "%s %s", name, end);
    snprintf(last, sizeof last, "%s destroy", name);
    CHECK_COUNT(count_of(first), middle);
    CHECK_COUNT(count_of(first), last);
}

/* Aborts what is left, and checks what the library promises for every connection. */
static inline void pair_end(struct pair *pair) {
    if (pair->client_connection != NULL) CHECK_OK(esrpc_connection_abort(pair->client_connection));
    if (pair->server_connection != NULL) CHECK_OK(esrpc_connection_abort(pair->server_connection));
    esrpc_connection_release(pair->client_connection);
    if (pair->listening != NULL) {
        CHECK_OK(esrpc_listener_close(pair->listening));
        await("listener closed OK");
    }
    esrpc_listener_release(pair->listening);
    CHECK_OK(esrpc_runtime_join(pair->client_runtime, PATIENCE_MS));
    pthread_mutex_lock(&keeping);
    esrpc_stream_release(pair->handler_stream);
    pthread_mutex_unlock(&keeping);
    esrpc_connection_release(pair->server_connection);
    CHECK_OK(esrpc_runtime_join(pair->server_runtime, PATIENCE_MS));
    esrpc_runtime_release(pair->client_runtime);
    esrpc_runtime_release(pair->server_runtime);
    esrpc_connection_options_release(pair->client_options);
    esrpc_connection_options_release(pair->server_options);

    CHECK_COUNT(count_of("client setup"), "client destroy");
    CHECK_COUNT(count_of("client setup OK"), "client shutdown");
    check_lives("server", "accepted", "shutdown");
    check_lives("handler", "accepted", "closed");
    CHECK_COUNT(count_of("listener closed"), "listener destroy");
}

static inline esrpc_stream *new_stream(esrpc_connection *connection, struct party *party) {
    esrpc_stream_callbacks callbacks = stream_callbacks();
    esrpc_stream *stream = NULL;
    CHECK_OK(esrpc_connection_new_stream(connection, &callbacks, party, &stream));
    return stream;
}

static inline esrpc_status activate(esrpc_stream *stream, int32_t flags, const char *payload, const char *flush_name) {
    return esrpc_stream_activate(stream, esrpc_text("test#Operation"), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, flags, NULL,
                                 esrpc_text(payload), flush_name == NULL ? NULL : on_flush, (void *)flush_name);
}

/* A stream, activated with the payload "first". */
static inline esrpc_stream *open_stream(esrpc_connection *connection, struct party *party) {
    esrpc_stream *stream = new_stream(connection, party);
    CHECK_OK(activate(stream, 0, "first", NULL));
    return stream;
}

static inline esrpc_status send_text(esrpc_stream *stream, int32_t flags, const char *payload, const char *flush_name) {
    return esrpc_stream_send_message(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, flags, NULL, esrpc_text(payload),
                                     flush_name == NULL ? NULL : on_flush, (void *)flush_name);
}

/* Sends `len` zeros. */
static inline esrpc_status send_zeros(esrpc_stream *stream, size_t len, const char *flush_name) {
    uint8_t *zeros = (uint8_t *)calloc(len, 1);
    esrpc_status status;
    CHECK(zeros != NULL);
    status = esrpc_stream_send_message(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL, bytes(zeros, len),
                                       flush_name == NULL ? NULL : on_flush, (void *)flush_name);
    free(zeros);
    return status;
}

enum { LAST = ESRPC_MESSAGE_FLAG_TERMINATE_STREAM };

/* More than the system buffers for a peer that does not read. */
#define TOO_MUCH ((size_t)(over_unix_socket ? 1 : 12) * 1024 * 1024)

static void hold_task(esrpc_status status, void *user_data) {
    enter_callback();
    CHECK(status == ESRPC_OK);
    gate_pass((struct gate *)user_data);
    leave_callback();
}

/* Blocks the connection's loop thread until the gate is opened: what is sent stays unwritten. */
static inline void hold_loop(esrpc_connection *connection, struct gate *gate) {
    gate->open = false;
    gate->waiting = 0;
    CHECK_OK(esrpc_connection_run_on_loop(connection, hold_task, gate));
    gate_await(gate);
}

/* Waits until the connection's loop has finished its current turn. */
static inline void await_loop(esrpc_connection *connection) {
    struct gate gate;
    hold_loop(connection, &gate);
    gate_open(&gate);
}

#endif
