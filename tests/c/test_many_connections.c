/* 10,000 connections one after another, some of them over TLS, half of them failing in one phase or another: in the end the
   process has the descriptors, the threads and the memory that it had. */
#include "names.h"

#include "certificates.h"
#include "process.h"

enum {
    WARM_UP = 1000,
    CONNECTIONS = 10000,
    /* One in this many is over TLS, besides those that fail in its handshake. */
    TLS_ONE_IN = 12,
    /* Fragmentation; a leak of 120 bytes per connection would exceed it. */
    TOLERATED_KIB = 1024
};

enum fate {
    SUCCEED,
    UNKNOWN_NAME,
    LOOKUP_GIVEN_UP,
    REFUSED,
    CONNECT_TIMED_OUT,
    CANCELLED,
    NOT_ACCEPTED,
    CONNECT_REFUSED,
    CONNECT_NOT_ANSWERED,
    ABORTED_AT_CONNECT,
    ABORTED_AT_CALL,
    CALL_NOT_ANSWERED,
    ABORT_WITH_CALL,
    GARBAGE,
    GONE_AT_ONCE,
    TLS_UNKNOWN_CA,
    TLS_WRONG_NAME,
    TLS_TIMED_OUT,
    TLS_GARBAGE,
    TLS_GONE_AT_ONCE,
    FATES
};

/* The payload of CONNECT, or of a call, says what the server is to do. */
static const char *const orders[] = {"answer", "refuse", "wait", "abort"};

static struct {
    struct pair pair;
    struct raw_listener refusing, full, silent;
    esrpc_listener *unwilling, *secure;
    esrpc_tls_config *trusting, *distrusting;
    /* How often each callback came; under the recorder's lock. */
    size_t failed, accepted, shut_down, destroyed, calls_accepted, calls_closed;
    size_t client_set_up, client_failed, client_shut_down, client_destroyed, call_closed, call_destroyed;
} all;

static void count(size_t *counter) {
    pthread_mutex_lock(&recorder.lock);
    (*counter)++;
    pthread_cond_broadcast(&recorder.changed);
    pthread_mutex_unlock(&recorder.lock);
}

static size_t value_of(const size_t *counter) {
    size_t value;
    pthread_mutex_lock(&recorder.lock);
    value = *counter;
    pthread_mutex_unlock(&recorder.lock);
    return value;
}

static void await_equal(const size_t *counter, const size_t *expected) {
    struct timespec deadline = deadline_in(PATIENCE_SECONDS);
    pthread_mutex_lock(&recorder.lock);
    while (*counter != *expected) CHECK(wait_locked(&deadline));
    pthread_mutex_unlock(&recorder.lock);
}

static void await_more(const size_t *counter, size_t than) {
    struct timespec deadline = deadline_in(PATIENCE_SECONDS);
    pthread_mutex_lock(&recorder.lock);
    while (*counter <= than) CHECK(wait_locked(&deadline));
    pthread_mutex_unlock(&recorder.lock);
}

static void await_number(const size_t *counter, size_t expected) {
    await_equal(counter, &expected);
}

static void server_call_on_message(esrpc_stream *stream, const esrpc_message *message, void *user_data) {
    (void)user_data;
    if (is_text(esrpc_message_get_payload(message), "answer"))
        CHECK_OK(send_text(stream, LAST, "answer", NULL));
}

static void server_call_on_closed(esrpc_stream *stream, esrpc_status reason, void *user_data) {
    (void)stream;
    (void)reason;
    (void)user_data;
    count(&all.calls_closed);
}

static void server_on_stream(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *first_message,
                             void *user_data) {
    esrpc_stream_callbacks callbacks;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_message = server_call_on_message;
    callbacks.on_closed = server_call_on_closed;
    CHECK_OK(esrpc_stream_accept(stream, &callbacks, user_data));
    count(&all.calls_accepted);
    if (is_text(esrpc_message_get_payload(first_message), "abort")) CHECK_OK(esrpc_connection_abort(connection));
}

static void server_on_message(esrpc_connection *connection, const esrpc_message *message, void *user_data) {
    const int32_t ack = ESRPC_MESSAGE_TYPE_CONNECT_ACK;
    (void)user_data;
    if (is_text(esrpc_message_get_payload(message), "answer"))
        CHECK_OK(send_protocol(connection, ack, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, "", NULL));
    else if (is_text(esrpc_message_get_payload(message), "refuse"))
        CHECK_OK(send_protocol(connection, ack, 0, "", NULL));
    else if (is_text(esrpc_message_get_payload(message), "abort"))
        CHECK_OK(esrpc_connection_abort(connection));
}

static void server_on_shutdown(esrpc_connection *connection, esrpc_status reason, void *user_data) {
    (void)connection;
    (void)reason;
    (void)user_data;
    count(&all.shut_down);
}

static void server_on_destroy(void *user_data) {
    (void)user_data;
    count(&all.destroyed);
}

static void on_incoming(esrpc_listener *listener, esrpc_connection *connection, void *user_data) {
    esrpc_connection_callbacks callbacks;
    (void)listener;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_protocol_message = server_on_message;
    callbacks.on_incoming_stream = server_on_stream;
    callbacks.on_shutdown = server_on_shutdown;
    callbacks.on_destroy = server_on_destroy;
    CHECK_OK(esrpc_connection_accept(connection, &callbacks, user_data));
    count(&all.accepted);
}

static void on_failed(esrpc_listener *listener, esrpc_status status, void *user_data) {
    (void)listener;
    (void)status;
    (void)user_data;
    count(&all.failed);
}

/* Over TLS, or with NULL not; released here. */
static esrpc_listener *listen_with(void (*on_incoming_connection)(esrpc_listener *, esrpc_connection *, void *),
                                   esrpc_tls_config *tls) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener_callbacks callbacks;
    esrpc_listener *listener = NULL;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_incoming_connection = on_incoming_connection;
    callbacks.on_failed_connection = on_failed;
    if (tls != NULL) CHECK_OK(esrpc_listener_options_set_tls(options, tls));
    esrpc_tls_config_release(tls);
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_options_set_runtime(options, all.pair.server_runtime));
    CHECK_OK(esrpc_listener_listen(options, &callbacks, NULL, &listener));
    esrpc_listener_options_release(options);
    return listener;
}

static void stop_listening(esrpc_listener *listener) {
    CHECK_OK(esrpc_listener_close(listener));
    CHECK_OK(esrpc_listener_wait_closed(listener, PATIENCE_MS));
    esrpc_listener_release(listener);
}

static void client_on_setup(esrpc_connection *connection, esrpc_status status, void *user_data) {
    (void)connection;
    (void)user_data;
    count(status == ESRPC_OK ? &all.client_set_up : &all.client_failed);
}

static void client_on_shutdown(esrpc_connection *connection, esrpc_status reason, void *user_data) {
    (void)connection;
    (void)reason;
    (void)user_data;
    count(&all.client_shut_down);
}

static void client_on_destroy(void *user_data) {
    (void)user_data;
    count(&all.client_destroyed);
}

static void call_on_closed(esrpc_stream *stream, esrpc_status reason, void *user_data) {
    (void)stream;
    (void)reason;
    (void)user_data;
    count(&all.call_closed);
}

static void call_on_destroy(void *user_data) {
    (void)user_data;
    count(&all.call_destroyed);
}

/* How the next dials are made: whom they trust (NULL: no TLS), for whom they take the server, their deadlines. */
static struct {
    esrpc_tls_config *tls;
    const char *name;
    uint32_t connect_ms, tls_ms, handshake_ms;
} how;

static esrpc_connection *dial(const char *host, uint32_t port, const char *order) {
    esrpc_connection_options *connection_options = esrpc_connection_options_new();
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_connection_callbacks callbacks;
    esrpc_connection *connection = NULL;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_setup = client_on_setup;
    callbacks.on_shutdown = client_on_shutdown;
    callbacks.on_destroy = client_on_destroy;
    CHECK_OK(esrpc_connection_options_set_connect_timeout_ms(connection_options, how.connect_ms));
    CHECK_OK(esrpc_connection_options_set_handshake_timeout_ms(connection_options, how.handshake_ms));
    CHECK_OK(esrpc_connection_options_set_tls_timeout_ms(connection_options, how.tls_ms));
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text(host), port));
    if (how.tls != NULL) CHECK_OK(esrpc_client_options_set_tls(options, how.tls, esrpc_text(how.name)));
    CHECK_OK(esrpc_client_options_set_runtime(options, all.pair.client_runtime));
    CHECK_OK(esrpc_client_options_set_connection_options(options, connection_options));
    CHECK_OK(esrpc_client_options_set_handshake(options, NULL, esrpc_text(order)));
    CHECK_OK(esrpc_connection_connect(options, &callbacks, NULL, &connection));
    esrpc_client_options_release(options);
    esrpc_connection_options_release(connection_options);
    return connection;
}

/* A call; waits for its end, unless the connection is aborted first. */
static esrpc_status call(esrpc_connection *connection, const char *order, uint32_t deadline_ms, bool abort_it) {
    esrpc_stream_callbacks callbacks;
    esrpc_stream *stream = NULL;
    esrpc_status end = ESRPC_OK;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_closed = call_on_closed;
    callbacks.on_destroy = call_on_destroy;
    CHECK_OK(esrpc_connection_new_stream(connection, &callbacks, NULL, &stream));
    CHECK_OK(esrpc_stream_set_deadline_ms(stream, deadline_ms));
    CHECK_OK(activate(stream, 0, order, NULL));
    if (abort_it) CHECK_OK(esrpc_connection_abort(connection));
    CHECK_ENDED(end = esrpc_stream_wait_closed(stream, PATIENCE_MS));
    esrpc_stream_release(stream);
    return end;
}

static void expect(esrpc_status expected, esrpc_status status) {
    if (status == expected) return;
    fprintf(stderr, "%s instead of %s\n", esrpc_status_name(status), esrpc_status_name(expected));
    abort();
}

static void expect_setup(esrpc_connection *connection, esrpc_status expected) {
    esrpc_status status = ESRPC_ERROR_INTERNAL;
    CHECK_ENDED(status = esrpc_connection_wait_setup(connection, PATIENCE_MS));
    expect(expected, status);
}

static bool is_loss(esrpc_status status) {
    return status == ESRPC_ERROR_PEER_CLOSED || status == ESRPC_ERROR_CONNECTION_RESET;
}

static void expect_loss(esrpc_connection *connection) {
    esrpc_status status = ESRPC_OK;
    CHECK_ENDED(status = esrpc_connection_wait_setup(connection, PATIENCE_MS));
    CHECK(is_loss(status));
}

/* A plain socket that breaks the rules, or nothing but connects; each raises the counter, as those before it may. */
static void break_the_rules(esrpc_listener *listener, const char *bytes_to_send, const size_t *counter) {
    struct raw raw;
    struct pair place = all.pair;
    size_t before = value_of(counter);
    place.listening = listener;
    raw_dial(&raw, &place);
    if (*bytes_to_send != '\0') {
        raw_send(&raw, bytes_to_send, strlen(bytes_to_send));
        while (raw_read(&raw, 1024) > 0) {
        }
    }
    raw_close(&raw);
    await_more(counter, before);
}

static void live_and_die(enum fate fate, uint32_t random, bool tls_count) {
    uint32_t port = esrpc_listener_get_port(tls_count ? all.secure : all.pair.listening);
    static const char nonsense[] = "GET / HTTP/1.1\r\n\r\n";
    struct raw raw;
    const char *host = random % 4 == 0 ? "two.test" : "127.0.0.1";
    esrpc_connection *connection = NULL;
    names_set("127.0.0.2", "127.0.0.1"); /* the first refuses */
    how.tls = tls_count ? all.trusting : NULL;
    how.name = "server.example";
    how.connect_ms = how.tls_ms = how.handshake_ms = LONG_MS;
    switch (fate) {
        case SUCCEED:
            connection = dial(host, port, orders[0]);
            expect_setup(connection, ESRPC_OK);
            expect(ESRPC_OK, call(connection, orders[0], LONG_MS, false));
            break;
        case UNKNOWN_NAME:
            connection = dial("unknown.test", port, orders[0]);
            expect_setup(connection, ESRPC_ERROR_RESOLVE_FAILED);
            break;
        case LOOKUP_GIVEN_UP:
            names_stick();
            connection = dial("stuck.test", port, orders[0]);
            CHECK_OK(esrpc_connection_abort(connection));
            expect_setup(connection, ESRPC_ERROR_CANCELLED);
            names_let_go();
            break;
        case REFUSED:
            connection = dial("127.0.0.1", all.refusing.port, orders[0]);
            expect_setup(connection, ESRPC_ERROR_CONNECTION_REFUSED);
            break;
        case CONNECT_TIMED_OUT:
            how.connect_ms = 1;
            connection = dial("127.0.0.1", all.full.port, orders[0]);
            expect_setup(connection, ESRPC_ERROR_CONNECT_TIMED_OUT);
            break;
        case CANCELLED:
            connection = dial(host, port, orders[0]);
            break; /* somewhere on its way */
        case NOT_ACCEPTED:
            connection = dial("127.0.0.1", esrpc_listener_get_port(all.unwilling), orders[0]);
            expect_loss(connection);
            break;
        case CONNECT_REFUSED:
            connection = dial(host, port, orders[1]);
            expect_setup(connection, ESRPC_ERROR_HANDSHAKE_REFUSED);
            break;
        case CONNECT_NOT_ANSWERED:
            how.handshake_ms = 10;
            connection = dial("127.0.0.1", port, orders[2]);
            expect_setup(connection, ESRPC_ERROR_HANDSHAKE_TIMED_OUT);
            break;
        case ABORTED_AT_CONNECT:
            connection = dial(host, port, orders[3]);
            expect_loss(connection);
            break;
        case ABORTED_AT_CALL:
            connection = dial(host, port, orders[0]);
            expect_setup(connection, ESRPC_OK);
            CHECK(is_loss(call(connection, orders[3], LONG_MS, false)));
            break;
        case CALL_NOT_ANSWERED:
            connection = dial(host, port, orders[0]);
            expect_setup(connection, ESRPC_OK);
            expect(ESRPC_ERROR_STREAM_TIMED_OUT, call(connection, orders[2], 1, false));
            break;
        case ABORT_WITH_CALL:
            connection = dial(host, port, orders[0]);
            expect_setup(connection, ESRPC_OK);
            expect(ESRPC_ERROR_CONNECTION_CLOSED, call(connection, orders[2], LONG_MS, true));
            break;
        case GARBAGE:
            break_the_rules(all.pair.listening, nonsense, &all.accepted);
            return;
        case GONE_AT_ONCE:
            break_the_rules(all.pair.listening, "", &all.accepted);
            return;
        case TLS_UNKNOWN_CA:
            how.tls = all.distrusting;
            connection = dial(host, port, orders[0]);
            expect_setup(connection, ESRPC_ERROR_TLS_UNKNOWN_CA);
            break;
        case TLS_WRONG_NAME:
            how.name = "other.example";
            connection = dial(host, port, orders[0]);
            expect_setup(connection, ESRPC_ERROR_TLS_WRONG_NAME);
            break;
        case TLS_TIMED_OUT:
            how.tls_ms = 20;
            connection = dial("127.0.0.1", all.silent.port, orders[0]);
            raw_accept(&all.silent, &raw);
            expect_setup(connection, ESRPC_ERROR_TLS_TIMED_OUT);
            raw_close(&raw);
            break;
        case TLS_GARBAGE:
            break_the_rules(all.secure, nonsense, &all.failed);
            return;
        case TLS_GONE_AT_ONCE:
        default:
            break_the_rules(all.secure, "", &all.failed);
            return;
    }
    if (random % 8 < 4)
        CHECK_OK(esrpc_connection_abort(connection));
    else
        CHECK_OK(esrpc_connection_close(connection, ESRPC_OK));
    CHECK_ENDED(esrpc_connection_wait_shutdown(connection, PATIENCE_MS));
    esrpc_connection_release(connection);
    recorder_clear();
}

/* Everything that began has ended. */
static void await_rest(size_t clients) {
    await_number(&all.client_destroyed, clients);
    CHECK(all.client_set_up + all.client_failed == clients);
    CHECK(all.client_set_up == all.client_shut_down);
    await_equal(&all.destroyed, &all.accepted);
    await_equal(&all.shut_down, &all.accepted);
    CHECK(all.calls_accepted == all.calls_closed);
    await_equal(&all.call_destroyed, &all.call_closed);
}

static size_t resident_kib(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[128];
    unsigned long kib = 0;
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "VmRSS: %lu", &kib) == 1) break;
    }
    fclose(file);
    CHECK(kib > 0);
    return kib;
}

static void ten_thousand_connections_leave_nothing_behind(void) {
    const size_t connections = is_watched() ? WARM_UP : CONNECTIONS;
    uint32_t random = 20240607;
    size_t clients = 0, failures = 0, tls_count = 0, descriptors, threads, kib = 0;
    pair_begin(&all.pair);
    CHECK(raw_listen_at(&all.refusing, "127.0.0.1", 0, -1));
    CHECK(raw_listen_at(&all.full, "127.0.0.1", 0, 0));
    raw_fill_backlog(&all.full);
    CHECK(raw_listen_at(&all.silent, "127.0.0.1", 0, 16));
    all.trusting = client_that_trusts("ca.pem");
    all.distrusting = client_that_trusts("other-ca.pem");
    all.pair.listening = listen_with(on_incoming, NULL);
    all.unwilling = listen_with(NULL, NULL);
    all.secure = listen_with(on_incoming, server_tls());
    descriptors = count_descriptors();
    threads = count_threads();
    for (size_t i = 0; i < connections; i++) {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        enum fate fate = (random & 1) == 0 ? SUCCEED : (enum fate)(1 + random / 2 % (FATES - 1));
        bool tls = fate >= TLS_UNKNOWN_CA || (random / 1024 % TLS_ONE_IN == 0 && fate != NOT_ACCEPTED);
        live_and_die(fate, random / 64, tls);
        clients += fate != GARBAGE && fate != GONE_AT_ONCE && fate != TLS_GARBAGE && fate != TLS_GONE_AT_ONCE;
        tls_count += tls;
        failures += fate != SUCCEED;
        if (i + 1 == WARM_UP) {
            await_rest(clients);
            kib = resident_kib();
        }
    }
    await_rest(clients);
    /* A thread that looked a name up, or a socket that the server has yet to accept, may take a moment to go. */
    await_descriptors(descriptors);
    await_threads(threads);
    size_t grown = resident_kib() > kib ? resident_kib() - kib : 0;
    fprintf(stderr, "  %zu of %zu failed, %zu were over TLS; memory grew by %zu KiB from %zu\n", failures, connections,
            tls_count, grown, kib);
    CHECK(failures > connections * 9 / 20 && failures < connections * 11 / 20);
    CHECK(tls_count > connections * 15 / 100);
    if (!is_watched()) CHECK(grown <= TOLERATED_KIB);

    stop_listening(all.unwilling);
    stop_listening(all.secure);
    stop_listening(all.pair.listening);
    all.pair.listening = NULL;
    esrpc_tls_config_release(all.trusting);
    esrpc_tls_config_release(all.distrusting);
    raw_listener_close(&all.silent);
    raw_listener_close(&all.refusing);
    raw_listener_close(&all.full);
    pair_end(&all.pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(ten_thousand_connections_leave_nothing_behind),
    };
    return RUN_TESTS(tests, argc, argv);
}
