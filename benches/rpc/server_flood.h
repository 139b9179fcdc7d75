/* The operation OPERATION_FLOOD of the server. */
#ifndef BENCH_SERVER_FLOOD_H
#define BENCH_SERVER_FLOOD_H

#include <eventstream_rpc.h>

/* Accepts the stream, inside its on_incoming_stream, if the request is sound. */
void flood_accept(esrpc_stream *stream, const esrpc_message *request);

#endif
