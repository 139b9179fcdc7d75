/* The client's side of connections, the same for all workloads. Whatever fails ends the process. */
#ifndef BENCH_CONNECTING_H
#define BENCH_CONNECTING_H

#include "options.h"

#include <eventstream_rpc.h>

struct client {
    const struct options *options;
    esrpc_runtime *runtime;
    esrpc_client_options *target; /* with the handshake: setup is done when CONNECT_ACK has come */
};

void client_start(struct client *client, const struct options *options);
/* After all connections are disconnected. */
void client_stop(struct client *client);
esrpc_connection *client_connect(struct client *client);
void client_disconnect(esrpc_connection *connection);

/* Runs a task on the connection's loop thread, where a workload that is driven from callbacks needs no lock. */
void client_run_on_loop(esrpc_connection *connection, esrpc_task_callback task, void *user_data);

/* Opens a stream with its first message; the handle is to be released. */
esrpc_stream *client_open_stream(esrpc_connection *connection, const esrpc_stream_callbacks *callbacks, void *user_data,
                                 const char *operation, esrpc_bytes payload);

void check(esrpc_status status);

/* Bytes to send, not all alike, that live as long as the process. */
esrpc_bytes make_payload(size_t size);

#endif
