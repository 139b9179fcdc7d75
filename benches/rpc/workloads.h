/* What the client can be asked to do; each prints what it measured. */
#ifndef BENCH_WORKLOADS_H
#define BENCH_WORKLOADS_H

#include "connecting.h"

/* One stream, one message in flight, the next one sent from the callback that gets the reply. */
void run_pingpong(struct client *client);
/* The same after a message of 1 MiB went there and back on the connection. */
void run_pingpong_after_1mib(struct client *client);
/* The same by the main thread, which sleeps until the reply. */
void run_pingpong_sync(struct client *client);
/* One stream, 64 or 8 messages in flight; also beside idle connections and streams, if the options say so. */
void run_echo_p64(struct client *client);
void run_echo_p8(struct client *client);
/* Several connections with 64 messages in flight on each, for more than one loop thread. */
void run_echo_connections(struct client *client);
/* A new stream for each call, one at a time or 64 outstanding. */
void run_unary_seq(struct client *client);
void run_unary_p64(struct client *client);
/* Server to client. */
void run_flood(struct client *client);
/* Connect, CONNECT, CONNECT_ACK, close: one after the other, or 32 at a time. */
void run_conn_seq(struct client *client);
void run_conn_c32(struct client *client);
/* Memory per connection on both sides, idle and after a call of 64 KiB on each. */
void run_mem(struct client *client);

#endif
