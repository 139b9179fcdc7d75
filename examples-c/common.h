/* What the example programs share: reading the command line, and saying what went wrong. */
#ifndef EXAMPLES_COMMON_H
#define EXAMPLES_COMMON_H

#include <eventstream_rpc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, TIMEOUT_MS = 10000 };

#define ENDPOINT_USAGE "[--host ADDRESS] [--port PORT] [--unix PATH] [--abstract NAME]"

/* Where to listen or to connect: a Unix socket if one of its two names is given, else host and port. */
struct endpoint {
    const char *host;
    uint32_t port;
    const char *unix_path;
    const char *abstract_name;
};

/* A decimal number from min to max, and nothing else; strtoul would also take a sign, spaces and a tail. */
static inline bool parse_number(const char *text, uint32_t min, uint32_t max, uint32_t *out_number)
{
    uint64_t number = 0;
    if (*text == '\0') return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') return false;
        number = number * 10 + (uint64_t)(*text - '0');
        if (number > max) return false;
    }
    if (number < min) return false;
    *out_number = (uint32_t)number;
    return true;
}

/* Reads the options of ENDPOINT_USAGE; false if there is anything else on the command line. */
static inline bool parse_endpoint(int argc, char **argv, struct endpoint *out_endpoint)
{
    struct endpoint endpoint = {"127.0.0.1", 8033, NULL, NULL};
    for (int i = 1; i < argc; i += 2) {
        const char *value = argv[i + 1]; /* argv ends with a NULL */
        if (value == NULL) return false;
        if (strcmp(argv[i], "--host") == 0) {
            endpoint.host = value;
        } else if (strcmp(argv[i], "--port") == 0) {
            if (!parse_number(value, 0, UINT16_MAX, &endpoint.port)) return false;
        } else if (strcmp(argv[i], "--unix") == 0) {
            endpoint.unix_path = value;
        } else if (strcmp(argv[i], "--abstract") == 0) {
            endpoint.abstract_name = value;
        } else {
            return false;
        }
    }
    if (endpoint.unix_path != NULL && endpoint.abstract_name != NULL) return false;
    *out_endpoint = endpoint;
    return true;
}

/* `sentence` is esrpc_last_error_message() for a call, or the end message of a connection or stream. */
static inline void report(const char *what, esrpc_status status, const char *sentence)
{
    if (sentence[0] == '\0') sentence = esrpc_status_message(status);
    fprintf(stderr, "%s: %s: %s\n", what, esrpc_status_name(status), sentence);
}

/* Ends a runtime of ours, and the connections that are still open on it. After it no callback comes any more, so what
 * callbacks were given as user data may go. The caller has released its handles. NULL: nothing to do. */
static inline bool end_runtime(esrpc_runtime *runtime)
{
    if (runtime == NULL) return true;
    esrpc_status status = esrpc_runtime_shutdown(runtime);
    if (status == ESRPC_OK) status = esrpc_runtime_join(runtime, TIMEOUT_MS);
    if (status != ESRPC_OK) report("cannot end the runtime", status, esrpc_last_error_message());
    esrpc_runtime_release(runtime);
    return status == ESRPC_OK;
}

static inline bool starts_with(esrpc_bytes text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && memcmp(text.data, prefix, len) == 0;
}

#endif
