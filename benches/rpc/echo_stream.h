/* A stream on which the server echoes every message, kept filled with a number of messages in flight from its callbacks. */
#ifndef BENCH_ECHO_STREAM_H
#define BENCH_ECHO_STREAM_H

#include "connecting.h"
#include "measure.h"

#include <semaphore.h>

struct echo_stream {
    esrpc_stream *stream;
    esrpc_bytes payload;
    size_t window, in_flight;
    struct rate rate;
    sem_t ended;
};

/* Returns at once; runs for as long as the options say. */
void echo_stream_start(struct echo_stream *echo, esrpc_connection *connection, const struct options *options, size_t window);
/* Waits for its end. */
void echo_stream_finish(struct echo_stream *echo);

#endif
