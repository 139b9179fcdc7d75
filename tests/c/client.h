/* A client with a runtime of its own, and peers for it that are plain sockets (raw_peer.h). */
#ifndef CLIENT_H
#define CLIENT_H

#include "raw_peer.h"

/* As CHECK_EVENTS, for events that are known only when the test runs. */
#define CHECK_EVENTS_MADE(name, ...)                                                            \
    do {                                                                                        \
        const char *const made_events[] = {__VA_ARGS__};                                        \
        check_events((name), made_events, sizeof made_events / sizeof *made_events, __FILE__, __LINE__); \
    } while (0)

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

/* Connects with the options, which are released. */
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

/* Connects the client to a peer that listens only for it. */
static inline void client_dial_raw(struct client *client, struct raw *peer, bool handshake) {
    struct raw_listener listener;
    raw_listen(&listener, 8);
    client_dial(client, client_options_for(listener.port, listener.name, handshake));
    raw_accept(&listener, peer);
    raw_listener_close(&listener);
}

/* Checks that the connection ends, or fails its setup, with that status and a message that contains `says`. */
static inline void check_end(esrpc_connection *connection, esrpc_status expected, const char *says) {
    esrpc_status status = ESRPC_OK;
    const char *sentence;
    CHECK_ENDED(status = esrpc_connection_wait_shutdown(connection, PATIENCE_MS));
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
