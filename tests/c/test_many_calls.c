/* Sixteen threads call, read and send on one connection, with deadlines, until it is closed, aborted or drained, or its server
   dies, at a random moment: every call returns, once, with a true status. */
#include "events.h"

#include "process.h"

enum {
    THREADS = 16,
    MOST_CALLS = 60,          /* of a thread, in one round */
    IDS = THREADS * MOST_CALLS,
    OUTBOUND_LIMIT = 48 * 1024, /* small, so that calls wait for room */
    QUEUE_LIMIT = 8 * 1024,     /* small, so that streams stop the connection */
    LARGE = 40 * 1024,
    FLOOD = 12 /* messages, each of PIECE bytes */,
    PIECE = 2 * 1024
};

enum operation { OP_ECHO, OP_LARGE, OP_OPEN, OP_EMPTY, OP_FAIL, OP_REFUSED, OP_SILENT, OP_FLOOD, OPERATIONS };

static const char *const names[OPERATIONS] = {"echo", "large", "open", "empty", "fail", "refused", "silent", "flood"};

enum end { CLOSE, ABORT, SERVER_ABORTS, SERVER_CLOSES, SERVER_SHUT_DOWN, CLIENT_SHUT_DOWN, LISTENER_DRAINED, CLIENT_DRAINED, ENDS };

static const char *const end_names[ENDS] = {"close",          "abort",          "server aborts",    "server closes",
                                            "server shutdown", "client shutdown", "listener drained", "client drained"};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned long seed;
    enum end end;
    esrpc_runtime *client_runtime, *server_runtime;
    esrpc_listener *listener;
    esrpc_connection *connection, *server_connection;
    /* Under the lock. */
    size_t begun, returned, last_words;
    bool ending; /* the end has begun: calls may return its statuses */
    int executed[IDS];
    size_t accepted, closed, destroyed;
} test;

static uint64_t next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

static uint64_t below(uint64_t *state, uint64_t limit) {
    return (next_random(state) >> 33) % limit;
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void count(size_t *counter) {
    pthread_mutex_lock(&test.lock);
    ++*counter;
    pthread_cond_broadcast(&test.changed);
    pthread_mutex_unlock(&test.lock);
}

/* Server: what the operation's name says; payloads begin with the call's id. */

static void check_answer(esrpc_status status) {
    CHECK(status == ESRPC_OK || status == ESRPC_ERROR_STREAM_CLOSED || status == ESRPC_ERROR_CONNECTION_CLOSED);
}

static esrpc_status answer(esrpc_stream *stream, int32_t type, int32_t flags, esrpc_bytes payload) {
    return esrpc_stream_send_message(stream, type, flags, NULL, payload, NULL, NULL);
}

static void server_message(esrpc_stream *stream, const esrpc_message *message, void *user_data) {
    static uint8_t piece[PIECE];
    const int32_t plain = ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE;
    const int32_t last = ESRPC_MESSAGE_FLAG_TERMINATE_STREAM;
    esrpc_bytes name = esrpc_stream_get_operation(stream), payload = esrpc_message_get_payload(message);
    bool *first = (bool *)user_data;
    uint32_t id;
    if (!*first) return;
    *first = false;
    CHECK(payload.len >= sizeof id);
    memcpy(&id, payload.data, sizeof id);
    CHECK(id < IDS);
    pthread_mutex_lock(&test.lock);
    test.executed[id]++;
    pthread_mutex_unlock(&test.lock);
    if (is_text(name, "echo") || is_text(name, "large")) check_answer(answer(stream, plain, last, bytes(&id, sizeof id)));
    if (is_text(name, "open")) check_answer(answer(stream, plain, 0, bytes(&id, sizeof id)));
    if (is_text(name, "empty")) check_answer(esrpc_stream_close(stream));
    if (is_text(name, "fail"))
        check_answer(answer(stream, ESRPC_MESSAGE_TYPE_APPLICATION_ERROR, last, esrpc_text("failed as asked")));
    if (is_text(name, "flood")) {
        for (int i = 0; i < FLOOD; i++) check_answer(answer(stream, plain, 0, bytes(piece, PIECE)));
        check_answer(answer(stream, plain, last, esrpc_text("that was all")));
    }
}

static void server_stream_closed(esrpc_stream *stream, esrpc_status reason, void *user_data) {
    (void)stream, (void)reason, (void)user_data;
    count(&test.closed);
}

static void server_stream_destroyed(void *user_data) {
    free(user_data);
    count(&test.destroyed);
}

static void server_stream(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *first_message,
                          void *user_data) {
    esrpc_stream_callbacks callbacks;
    bool *first;
    (void)connection, (void)first_message, (void)user_data;
    if (is_text(esrpc_stream_get_operation(stream), "refused")) return;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_message = server_message;
    callbacks.on_closed = server_stream_closed;
    callbacks.on_destroy = server_stream_destroyed;
    first = (bool *)malloc(sizeof *first);
    CHECK(first != NULL);
    *first = true;
    CHECK_OK(esrpc_stream_accept(stream, &callbacks, first));
    count(&test.accepted);
}

static void server_protocol(esrpc_connection *connection, const esrpc_message *message, void *user_data) {
    (void)user_data;
    if (esrpc_message_get_type(message) == ESRPC_MESSAGE_TYPE_CONNECT)
        CHECK_OK(esrpc_connection_send_protocol_message(connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK,
                                                        ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, NULL, bytes(NULL, 0), NULL,
                                                        NULL));
}

static void server_connection(esrpc_listener *listener, esrpc_connection *connection, void *user_data) {
    esrpc_connection_callbacks callbacks;
    (void)listener, (void)user_data;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_protocol_message = server_protocol;
    callbacks.on_incoming_stream = server_stream;
    CHECK_OK(esrpc_connection_accept(connection, &callbacks, NULL));
    test.server_connection = esrpc_connection_acquire(connection);
}

/* Callers */

static bool has_begun_to_end(void) {
    pthread_mutex_lock(&test.lock);
    bool ending = test.ending;
    pthread_mutex_unlock(&test.lock);
    return ending;
}

/* What the end of the connection makes of a call. */
static bool is_status_of_the_end(esrpc_status status) {
    switch (test.end) {
    case CLOSE:
    case ABORT: return status == ESRPC_ERROR_CONNECTION_CLOSED;
    case CLIENT_SHUT_DOWN: return status == ESRPC_ERROR_RUNTIME_SHUTDOWN || status == ESRPC_ERROR_CONNECTION_CLOSED;
    case CLIENT_DRAINED: return status == ESRPC_ERROR_DRAINING || status == ESRPC_ERROR_CONNECTION_CLOSED;
    default:
        /* IO: a write to a peer that has closed; INCOMPLETE: it went away inside a message. */
        return status == ESRPC_ERROR_PEER_CLOSED || status == ESRPC_ERROR_CONNECTION_RESET || status == ESRPC_ERROR_IO ||
               status == ESRPC_ERROR_CONNECTION_CLOSED || status == ESRPC_ERROR_INCOMPLETE;
    }
}

static void check_status_of(const char *what, esrpc_status status, bool expected, bool timed_out) {
    bool ending = has_begun_to_end();
    if (expected || timed_out || (ending && is_status_of_the_end(status))) return;
    fprintf(stderr, "seed %lu, end by %s (%s): %s answers %s: %s\n", test.seed, end_names[test.end],
            ending ? "begun" : "not begun", what, esrpc_status_name(status), esrpc_last_error_message());
    abort();
}

static bool was_executed(uint32_t id) {
    pthread_mutex_lock(&test.lock);
    bool executed = test.executed[id] == 1;
    pthread_mutex_unlock(&test.lock);
    return executed;
}

/* 0 for as long as it takes: the end of the connection ends every call. */
static uint32_t random_timeout(uint64_t *random) {
    static const uint32_t timeouts[] = {0, 1, 2, 5, 20, 60000, ESRPC_NO_TIMEOUT, ESRPC_NO_TIMEOUT};
    return timeouts[below(random, sizeof timeouts / sizeof *timeouts)];
}

/* Whether that is true. */
static bool is_timeout(esrpc_status status, esrpc_status expected, int64_t began, uint32_t timeout_ms) {
    if (status != expected) return false;
    CHECK(timeout_ms != ESRPC_NO_TIMEOUT && now_ms() - began >= (int64_t)timeout_ms - 1);
    return true;
}

static bool one_call(uint64_t *random, enum operation operation, uint32_t id) {
    static uint8_t large[LARGE];
    uint8_t payload[sizeof large];
    esrpc_message *reply = NULL;
    uint32_t timeout_ms = operation == OP_SILENT && below(random, 8) != 0 ? (uint32_t)below(random, 10) : random_timeout(random);
    int64_t began = now_ms();
    esrpc_status status;
    bool expected, timed_out;
    memcpy(payload, large, sizeof payload);
    memcpy(payload, &id, sizeof id);
    status = esrpc_connection_call(test.connection, esrpc_text(names[operation]), NULL,
                                   bytes(payload, operation == OP_LARGE ? (size_t)LARGE : sizeof id), timeout_ms, &reply);
    CHECK((reply != NULL) == (status == ESRPC_OK || status == ESRPC_ERROR_APPLICATION_ERROR));
    CHECK(status == ESRPC_OK || esrpc_last_error_message()[0] != '\0');
    timed_out = is_timeout(status, ESRPC_ERROR_TIMED_OUT, began, timeout_ms);
    switch (operation) {
    case OP_EMPTY: expected = status == ESRPC_OK; break;
    case OP_SILENT: expected = false; break;
    case OP_FAIL: expected = status == ESRPC_ERROR_APPLICATION_ERROR && last_error_says("failed as asked"); break;
    case OP_REFUSED: expected = status == ESRPC_ERROR_APPLICATION_ERROR && last_error_says("not accepted here"); break;
    default: expected = status == ESRPC_OK && esrpc_bytes_equal(esrpc_message_get_payload(reply), bytes(&id, sizeof id));
    }
    if (expected && operation != OP_REFUSED) CHECK(was_executed(id));
    if (status == ESRPC_ERROR_APPLICATION_ERROR && last_error_says("drained")) {
        CHECK(test.end == LISTENER_DRAINED && has_begun_to_end() && !was_executed(id));
        expected = true;
    }
    check_status_of(names[operation], status, expected, timed_out);
    esrpc_message_release(reply);
    return expected || timed_out;
}

/* A stream that is read, to its end or not, and ended by either side. */
static bool one_conversation(uint64_t *random, uint32_t id) {
    esrpc_stream *stream = NULL;
    esrpc_status status = esrpc_connection_new_stream(test.connection, NULL, NULL, &stream);
    size_t got = 0, wanted = below(random, FLOOD + 3);
    bool refused = false;
    check_status_of("a new stream", status, status == ESRPC_OK, false);
    if (status != ESRPC_OK) return false;
    do {
        status = esrpc_stream_activate(stream, esrpc_text("flood"), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL,
                                       bytes(&id, sizeof id), NULL, NULL);
    } while (status == ESRPC_ERROR_WOULD_BLOCK && esrpc_connection_wait_flush(test.connection, 10) != ESRPC_ERROR_INTERNAL);
    check_status_of("an activation", status, status == ESRPC_OK, false);
    while (status == ESRPC_OK && got < wanted) {
        esrpc_message *message = NULL;
        uint32_t timeout_ms = random_timeout(random);
        int64_t began = now_ms();
        status = esrpc_stream_read(stream, timeout_ms, &message);
        CHECK((message != NULL) == (status == ESRPC_OK));
        if (is_timeout(status, ESRPC_ERROR_TIMED_OUT, began, timeout_ms)) {
            if (below(random, 4) == 0) break;
            status = ESRPC_OK;
            continue;
        }
        /* The stream's end comes behind its last message, and not before. */
        if (status == ESRPC_OK && esrpc_message_get_type(message) == ESRPC_MESSAGE_TYPE_APPLICATION_ERROR) refused = true;
        check_status_of("a read", status, status == ESRPC_OK || (status == ESRPC_ERROR_STREAM_CLOSED && (refused || got == FLOOD + 1)),
                        false);
        got += status == ESRPC_OK;
        if (status == ESRPC_OK && !refused)
            CHECK(got <= FLOOD ? esrpc_message_get_payload(message).len == PIECE
                               : is_text(esrpc_message_get_payload(message), "that was all"));
        esrpc_message_release(message);
    }
    if (status == ESRPC_OK && below(random, 2) == 0) {
        uint32_t timeout_ms = random_timeout(random);
        int64_t began = now_ms();
        esrpc_status sent = esrpc_stream_send_blocking(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL,
                                                       bytes(&id, sizeof id), timeout_ms);
        check_status_of("a send", sent, sent == ESRPC_OK || sent == ESRPC_ERROR_STREAM_CLOSED,
                        is_timeout(sent, ESRPC_ERROR_TIMED_OUT, began, timeout_ms));
    }
    if (below(random, 2) == 0) {
        esrpc_status closed = esrpc_stream_close(stream);
        CHECK(closed == ESRPC_OK || closed == ESRPC_ERROR_STREAM_CLOSED || closed == ESRPC_ERROR_CONNECTION_CLOSED ||
              closed == ESRPC_ERROR_STREAM_NOT_ACTIVATED);
        esrpc_stream_release(stream);
    } else {
        /* It goes on without a reader, and must not stop the others. */
        esrpc_stream_release(stream);
    }
    return true;
}

static void *be_a_caller(void *data) {
    unsigned number = *(unsigned *)data;
    uint64_t random = test.seed * 1000003u + number * 7919u + 1;
    bool goes_on = true;
    for (unsigned i = 0; i < MOST_CALLS && goes_on; i++) {
        enum operation operation = (enum operation)below(&random, OPERATIONS);
        uint32_t id = number * MOST_CALLS + i;
        count(&test.begun);
        goes_on = operation == OP_FLOOD ? one_conversation(&random, id) : one_call(&random, operation, id);
        count(&test.returned);
    }
    return NULL;
}

static void end_connection(void) {
    pthread_mutex_lock(&test.lock);
    test.ending = true;
    pthread_mutex_unlock(&test.lock);
    switch (test.end) {
    case CLOSE: CHECK_OK(esrpc_connection_close(test.connection, ESRPC_OK)); break;
    case ABORT: CHECK_OK(esrpc_connection_abort(test.connection)); break;
    case SERVER_ABORTS: CHECK_OK(esrpc_connection_abort(test.server_connection)); break;
    case SERVER_CLOSES: CHECK_OK(esrpc_connection_close(test.server_connection, ESRPC_OK)); break;
    case SERVER_SHUT_DOWN: CHECK_OK(esrpc_runtime_shutdown(test.server_runtime)); break;
    case CLIENT_SHUT_DOWN: CHECK_OK(esrpc_runtime_shutdown(test.client_runtime)); break;
    case LISTENER_DRAINED: CHECK_OK(esrpc_listener_drain(test.listener, 200)); break;
    default: CHECK_OK(esrpc_runtime_drain(test.client_runtime, 200));
    }
}

static void begin_round(void) {
    esrpc_listener_options *listener_options = esrpc_listener_options_new();
    esrpc_client_options *client_options = esrpc_client_options_new();
    esrpc_connection_options *limits = esrpc_connection_options_new();
    esrpc_listener_callbacks callbacks;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_incoming_connection = server_connection;
    CHECK_OK(esrpc_connection_options_set_outbound_limit(limits, OUTBOUND_LIMIT));
    CHECK_OK(esrpc_connection_options_set_stream_queue_limit(limits, QUEUE_LIMIT));
    CHECK_OK(esrpc_runtime_new(NULL, &test.client_runtime));
    CHECK_OK(esrpc_runtime_new(NULL, &test.server_runtime));
    CHECK_OK(esrpc_listener_options_set_host(listener_options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_options_set_runtime(listener_options, test.server_runtime));
    CHECK_OK(esrpc_listener_listen(listener_options, &callbacks, NULL, &test.listener));
    CHECK_OK(esrpc_client_options_set_host(client_options, esrpc_text("127.0.0.1"), esrpc_listener_get_port(test.listener)));
    CHECK_OK(esrpc_client_options_set_runtime(client_options, test.client_runtime));
    CHECK_OK(esrpc_client_options_set_connection_options(client_options, limits));
    CHECK_OK(esrpc_connection_connect_blocking(client_options, PATIENCE_MS, &test.connection));
    esrpc_connection_options_release(limits);
    esrpc_client_options_release(client_options);
    esrpc_listener_options_release(listener_options);
}

static void end_round(void) {
    CHECK_ENDED(esrpc_connection_wait_shutdown(test.connection, PATIENCE_MS));
    esrpc_connection_release(test.connection);
    CHECK_OK(esrpc_connection_abort(test.server_connection));
    esrpc_connection_release(test.server_connection);
    CHECK_OK(esrpc_listener_close(test.listener));
    CHECK_OK(esrpc_listener_wait_closed(test.listener, PATIENCE_MS));
    esrpc_listener_release(test.listener);
    CHECK_OK(esrpc_runtime_join(test.client_runtime, PATIENCE_MS));
    CHECK_OK(esrpc_runtime_join(test.server_runtime, PATIENCE_MS));
    esrpc_runtime_release(test.client_runtime);
    esrpc_runtime_release(test.server_runtime);
    CHECK(test.accepted == test.closed && test.accepted == test.destroyed);
    for (size_t i = 0; i < IDS; i++) CHECK(test.executed[i] <= 1);
}

static void run_round(unsigned long seed) {
    uint64_t random = seed * 69069u + 12345u;
    pthread_t threads[THREADS];
    unsigned numbers[THREADS];
    size_t end_after;
    memset(&test, 0, sizeof test);
    CHECK(pthread_mutex_init(&test.lock, NULL) == 0 && pthread_cond_init(&test.changed, NULL) == 0);
    test.seed = seed;
    test.end = (enum end)(seed % ENDS);
    end_after = below(&random, IDS / 2);
    fprintf(stderr, "seed %lu: %s after %zu of %d calls\n", seed, end_names[test.end], end_after, IDS);
    begin_round();
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&threads[i], NULL, be_a_caller, &numbers[i]) == 0);
    }
    /* All threads may wait forever before this many have returned: then this is the moment. */
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 2;
    pthread_mutex_lock(&test.lock);
    while (test.returned < end_after && pthread_cond_timedwait(&test.changed, &test.lock, &deadline) == 0) continue;
    pthread_mutex_unlock(&test.lock);
    end_connection();
    for (unsigned i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(test.begun == test.returned);
    end_round();
    printf("seed %lu (%s): %zu calls, %zu served\n", seed, end_names[test.end], test.returned, test.accepted);
    pthread_cond_destroy(&test.changed);
    pthread_mutex_destroy(&test.lock);
}

/* ESRPC_TEST_SEED=SEED begins with another seed, such as one that failed. */
static void calls_return_however_the_connection_ends(void) {
    const char *seed = getenv("ESRPC_TEST_SEED");
    unsigned long first = seed != NULL ? strtoul(seed, NULL, 10) : 1, rounds = is_watched() ? 8 : 48;
    for (unsigned long i = 0; i < rounds; i++) run_round(first + i);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {TEST(calls_return_however_the_connection_ends)};
    return RUN_TESTS(tests, argc, argv);
}
