/* The operations of the echo service, and how the server sends anything at all. */
#ifndef EXAMPLES_ECHO_OPERATIONS_H
#define EXAMPLES_ECHO_OPERATIONS_H

#include <eventstream_rpc.h>

/* The callback for new streams: accepts those of known operations and answers them, refuses the others. */
void echo_on_incoming_stream(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *first_message,
                             void *user_data);

/* Headers with the content type and, unless NULL, the model's type of a reply. NULL if that failed. */
esrpc_headers *echo_reply_headers(const char *content_type, const char *model_type);

/* To be called with the status of every send: reports it, and stops reading while too much waits for the peer.
 * A peer that ended the stream or the connection first is no failure. */
void echo_after_send(esrpc_connection *connection, esrpc_status status);

/* The flush callback of every send; its user data is the connection. Reads again once little is waiting. */
void echo_on_flush(esrpc_status status, void *connection);

#endif
