/* Checks for the tests in C. They compile as C99, C11, C++11 and C++20: every test is one file with a main. */
#ifndef CHECK_H
#define CHECK_H

#include "scenarios.h"

#include "eventstream_rpc.h"

/* Ends the program unless the condition holds. */
#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            fprintf(stderr, "last error: %s\n", esrpc_last_error_message());         \
            abort();                                                                \
        }                                                                           \
    } while (0)

/* Ends the program unless the call returns the status. */
#define CHECK_STATUS(expected, call) check_status((expected), (call), __FILE__, __LINE__, #call)
#define CHECK_OK(call) CHECK_STATUS(ESRPC_OK, call)
#define CHECK_INVALID(call) CHECK_STATUS(ESRPC_ERROR_INVALID_ARGUMENT, call)

/* What the call waits for came in time, with whatever outcome. */
#define CHECK_ENDED(call) check_ended(call, __FILE__, __LINE__, #call)

static inline void check_ended(esrpc_status status, const char *file, int line, const char *call) {
    if (status == ESRPC_ERROR_TIMED_OUT || status == ESRPC_ERROR_WOULD_DEADLOCK || status == ESRPC_ERROR_INVALID_ARGUMENT) {
        fprintf(stderr, "%s:%d: %s returned %s (%s)\n", file, line, call, esrpc_status_name(status),
                esrpc_last_error_message());
        abort();
    }
}

static inline void check_status(esrpc_status expected, esrpc_status status, const char *file, int line,
                                const char *call) {
    if (status != expected) {
        fprintf(stderr, "%s:%d: %s returned %s (%s), not %s\n", file, line, call, esrpc_status_name(status),
                esrpc_last_error_message(), esrpc_status_name(expected));
        abort();
    }
    if (status != ESRPC_OK && esrpc_last_error_message()[0] == '\0') {
        fprintf(stderr, "%s:%d: %s fails without a message\n", file, line, call);
        abort();
    }
}

static inline esrpc_bytes bytes(const void *data, size_t len) {
    esrpc_bytes result;
    result.data = (const uint8_t *)data;
    result.len = len;
    return result;
}

/* What no function may accept. */
static inline esrpc_bytes no_bytes_of_length_one(void) {
    return bytes(NULL, 1);
}

static inline bool is_text(esrpc_bytes actual, const char *expected) {
    return esrpc_bytes_equal(actual, esrpc_text(expected));
}

/* Whether the last error of this thread contains the text. */
static inline bool last_error_says(const char *text) {
    return strstr(esrpc_last_error_message(), text) != NULL;
}

#endif
