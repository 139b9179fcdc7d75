/* A server whose answer depends on the payload of the first message, for tests of the functions that wait. */
#ifndef BLOCKING_H
#define BLOCKING_H

#include "raw_peer.h"

static inline void answer_as_asked(struct party *self, const struct moment *now) {
    esrpc_bytes payload;
    esrpc_status status = ESRPC_OK;
    (void)self;
    if (!is(now, "message")) return;
    payload = esrpc_message_get_payload(now->message);
    if (is_text(payload, "echo")) status = send_text(now->stream, LAST, "echo", NULL);
    if (is_text(payload, "open")) status = send_text(now->stream, 0, "still open", NULL);
    if (is_text(payload, "empty")) status = esrpc_stream_close(now->stream);
    if (is_text(payload, "fail"))
        status = esrpc_stream_send_message(now->stream, ESRPC_MESSAGE_TYPE_APPLICATION_ERROR, LAST, NULL,
                                           esrpc_text("it is a Monday"), NULL, NULL);
    if (is_text(payload, "die")) status = esrpc_connection_abort(esrpc_stream_get_connection(now->stream));
    CHECK(status == ESRPC_OK || status == ESRPC_ERROR_STREAM_CLOSED || status == ESRPC_ERROR_CONNECTION_CLOSED);
}

static inline void blocking_begin(struct pair *pair) {
    patient_pair_begin(pair);
    pair->handler.hook = answer_as_asked;
}

static inline esrpc_status connect_blocking(struct pair *pair, uint32_t timeout_ms) {
    esrpc_client_options *options = pair_client_options(pair);
    esrpc_status status = esrpc_connection_connect_blocking(options, timeout_ms, &pair->client_connection);
    esrpc_client_options_release(options);
    return status;
}

static inline void blocking_connect(struct pair *pair) {
    pair_listen(pair);
    CHECK_OK(connect_blocking(pair, PATIENCE_MS));
    await("server accepted");
}

static inline void blocking_open(struct pair *pair) {
    blocking_begin(pair);
    blocking_connect(pair);
}

static inline esrpc_status call_text(esrpc_connection *connection, const char *payload, uint32_t timeout_ms,
                                     esrpc_message **out_reply) {
    return esrpc_connection_call(connection, esrpc_text("test#Operation"), NULL, esrpc_text(payload), timeout_ms, out_reply);
}

/* The reply has that text. */
static inline void check_call(esrpc_connection *connection, const char *payload, const char *answer) {
    esrpc_message *reply = NULL;
    CHECK_OK(call_text(connection, payload, PATIENCE_MS, &reply));
    CHECK(is_text(esrpc_message_get_payload(reply), answer));
    esrpc_message_release(reply);
}

/* A stream that is read, activated with the payload. */
static inline esrpc_stream *open_read_stream(esrpc_connection *connection, const char *payload) {
    esrpc_stream *stream = NULL;
    CHECK_OK(esrpc_connection_new_stream(connection, NULL, NULL, &stream));
    CHECK_OK(activate(stream, 0, payload, NULL));
    return stream;
}

static inline void check_read(esrpc_stream *stream, const char *payload) {
    esrpc_message *message = NULL;
    CHECK_OK(esrpc_stream_read(stream, PATIENCE_MS, &message));
    CHECK(is_text(esrpc_message_get_payload(message), payload));
    esrpc_message_release(message);
}

#endif
