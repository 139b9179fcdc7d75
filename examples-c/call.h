/* What the parts of esrpc-call share: what the command line asks for. */
#ifndef EXAMPLES_CALL_H
#define EXAMPLES_CALL_H

#include "tool.h"

struct call {
    /* Where. */
    const char *address, *unix_path;
    char host[256];
    uint32_t port;
    char place[320]; /* for sentences */
    bool is_greengrass;
    const char *token; /* of Greengrass */
    struct tls_files tls;
    /* The handshake. */
    struct list connect_headers;
    const char *connect_data;
    /* The call. */
    const char *operation, *data;
    struct list header_specs, message_header_specs;
    esrpc_headers *headers, *message_headers;
    struct text payload;
    uint32_t timeout_ms; /* 0: not given */
    bool is_json, is_stream, is_quiet;
    uint32_t replies;  /* 0: until the server ends the stream */
    uint32_t wait_ms;  /* after the end of the input; ESRPC_NO_TIMEOUT: until the server ends the stream */
    /* The load. */
    bool is_bench;
    uint32_t connections, in_flight, duration_ms, count, threads;
};

enum { DEFAULT_TIMEOUT_MS = 10000 };

/* For connecting, and for a call that is not a stream. */
static inline uint32_t timeout_of(const struct call *call)
{
    return call->timeout_ms != 0 ? call->timeout_ms : DEFAULT_TIMEOUT_MS;
}

/* Reads where to connect, and checks that options go together. Does not return after a mistake. */
void check_target(struct call *call);

/* The options for connecting, on `runtime` (NULL: the default one); NULL, with the exit code, if there are none. */
esrpc_client_options *make_client_options(struct call *call, esrpc_runtime *runtime, int *out_exit_code);

/* Says what failed and why, and what to do; returns the exit code. In `what` the @ of " to @" stands for the server's address,
 * which is left out if the sentence has it; `alert` is that of the failure. */
int say_failure(const struct call *call, const char *what, esrpc_status status, const char *sentence, int32_t alert,
                bool connected);

/* Connects; NULL, with the exit code, if that fails. */
esrpc_connection *connect_to_server(struct call *call, int *out_exit_code);

/* The three ways to call; each returns the exit code. */
int call_once(struct call *call, esrpc_connection *connection);
int call_stream(struct call *call, esrpc_connection *connection);
int call_bench(struct call *call);

/* Says that the server answered with an error; the message itself was printed, if it is to be. */
int say_error_reply(const struct call *call, const esrpc_message *reply);

#endif
