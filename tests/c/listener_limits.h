/* Listeners with small limits. */
#ifndef LISTENER_LIMITS_H
#define LISTENER_LIMITS_H

#include "adopted_sockets.h"
#include "certificates.h"

/* For the next listener; 0 keeps the default. */
static struct {
    size_t connections, handshakes, bytes;
    bool adopt_only, over_tls;
} limits;

static void set_limits(esrpc_listener_options *options) {
    if (limits.connections > 0) CHECK_OK(esrpc_listener_options_set_max_connections(options, limits.connections));
    if (limits.handshakes > 0) CHECK_OK(esrpc_listener_options_set_max_pending_handshakes(options, limits.handshakes));
    if (limits.bytes > 0) CHECK_OK(esrpc_listener_options_set_max_held_bytes(options, limits.bytes));
    if (limits.adopt_only) CHECK_OK(esrpc_listener_options_set_adopt_only(options));
    if (!limits.over_tls) return;
    esrpc_tls_config *tls = server_tls();
    CHECK_OK(esrpc_listener_options_set_tls(options, tls));
    esrpc_tls_config_release(tls);
}

static inline void limited_begin(struct pair *pair) {
    patient_pair_begin(pair);
    pair->prepare_listener = set_limits;
}

/* A new connection, which the pair's listener adopts. */
static inline void adopt(const struct pair *pair, struct raw *client) {
    int both[2];
    make_pair_of_sockets(both);
    CHECK_OK(esrpc_listener_adopt_connection(pair->listening, both[1]));
    CHECK(fcntl(both[0], F_SETFL, O_NONBLOCK) == 0);
    raw_begin(client, both[0]);
}

static inline void expect_ack(struct raw *client) {
    raw_expect(client, ESRPC_MESSAGE_TYPE_CONNECT_ACK, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, "ack");
}

static inline void shake_hands(struct raw *client) {
    raw_send_connect(client);
    expect_ack(client);
}

#endif
