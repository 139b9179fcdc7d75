/* The formula of SECURITY.md for the memory that a listener and its connections take at most: hostile clients, all at once, try
   to exceed it. */
#include "events.h"

#include "process.h"
#include "raw_peer.h"

#include "certificates.h"

#include <malloc.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

/* What SECURITY.md says. */
enum {
    PLAIN_CONNECTION = 4 * KIB, /* C */
    TLS_CONNECTION = 16 * KIB,
    NOT_COUNTED = 80 * KIB,
    TLS_HANDSHAKE = 96 * KIB,
    LOOP = 5 * MIB, /* L */
    STREAM = 640,
};

/* The limits of the listener. */
enum { CONNECTIONS = 24, HANDSHAKES = 8, HELD = 8 * MIB, STREAMS = 100, MESSAGE = MIB, OUTBOUND = 2 * MIB };

enum { ROUNDS = 2, NAME = 32767, ANSWER = 60 * KIB };

/* How the first letter of an operation's name asks for what the server does. */
enum { KEEP = 'k', REFUSE = 'r', ANSWER_MUCH = 'a' };

/* Bytes of memory that the process has written to and not given back. */
static size_t memory(void) {
    unsigned long size, resident, shared;
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(statm != NULL && fscanf(statm, "%lu %lu %lu", &size, &resident, &shared) == 3);
    fclose(statm);
    return (size_t)(resident - shared) * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t memory_before, most_memory;

/* On any thread. */
static void look(void) {
    static pthread_mutex_t looking = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&looking);
    size_t now = memory();
    if (now > most_memory) most_memory = now;
    pthread_mutex_unlock(&looking);
}

/* What was freed before does not count from now on. */
static void look_afresh(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
    most_memory = memory_before = memory();
}

/* The server */

static uint8_t answer[ANSWER];

static void take_stream(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *message, void *user_data) {
    esrpc_stream_callbacks callbacks;
    esrpc_bytes operation = esrpc_stream_get_operation(stream);
    (void)connection, (void)message, (void)user_data;
    if (operation.data[0] == REFUSE) return;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    CHECK_OK(esrpc_stream_accept(stream, &callbacks, NULL));
    if (operation.data[0] == KEEP) return;
    while (esrpc_stream_send_message(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL, bytes(answer, sizeof answer),
                                     NULL, NULL) == ESRPC_OK)
        continue;
    look();
}

static void take_protocol_message(esrpc_connection *connection, const esrpc_message *message, void *user_data) {
    (void)user_data;
    if (esrpc_message_get_type(message) == ESRPC_MESSAGE_TYPE_CONNECT)
        CHECK_OK(send_protocol(connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, "ack", NULL));
    if (esrpc_message_get_type(message) == ESRPC_MESSAGE_TYPE_PING)
        CHECK_OK(send_protocol(connection, ESRPC_MESSAGE_TYPE_PING_RESPONSE, 0, "here", NULL));
}

static size_t ended_for_what_they_held;

static void count_end(esrpc_connection *connection, esrpc_status reason, void *user_data) {
    (void)connection, (void)user_data;
    look();
    if (reason != ESRPC_ERROR_TOO_MANY_HELD_BYTES) return;
    __atomic_fetch_add(&ended_for_what_they_held, 1, __ATOMIC_SEQ_CST);
    note("ended for what it held");
}

static void take_connection(esrpc_listener *listener, esrpc_connection *connection, void *user_data) {
    esrpc_connection_callbacks callbacks;
    (void)listener, (void)user_data;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_protocol_message = take_protocol_message;
    callbacks.on_incoming_stream = take_stream;
    callbacks.on_shutdown = count_end;
    CHECK_OK(esrpc_connection_accept(connection, &callbacks, NULL));
}

static size_t outbound = OUTBOUND;

static void server_begin(struct pair *pair, bool over_tls, size_t connections) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_connection_options *each = esrpc_connection_options_new();
    esrpc_listener_callbacks callbacks;
    memset(pair, 0, sizeof *pair);
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_incoming_connection = take_connection;
    __atomic_store_n(&ended_for_what_they_held, 0, __ATOMIC_SEQ_CST);
    if (over_tls) {
        esrpc_tls_config *tls = server_tls();
        CHECK_OK(esrpc_listener_options_set_tls(options, tls));
        esrpc_tls_config_release(tls);
    }
    look_afresh();
    make_patient(each);
    CHECK_OK(esrpc_connection_options_set_max_message_size(each, MESSAGE));
    CHECK_OK(esrpc_connection_options_set_max_streams(each, STREAMS));
    CHECK_OK(esrpc_connection_options_set_outbound_limit(each, outbound));
    CHECK_OK(esrpc_connection_options_set_socket_buffers(each, 16 * KIB, 16 * KIB));
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_options_set_max_connections(options, connections));
    if (connections == CONNECTIONS) CHECK_OK(esrpc_listener_options_set_max_pending_handshakes(options, HANDSHAKES));
    CHECK_OK(esrpc_listener_options_set_max_held_bytes(options, HELD));
    CHECK_OK(esrpc_listener_options_set_connection_options(options, each));
    CHECK_OK(esrpc_runtime_new(NULL, &pair->server_runtime));
    CHECK_OK(esrpc_listener_options_set_runtime(options, pair->server_runtime));
    CHECK_OK(esrpc_listener_listen(options, &callbacks, NULL, &pair->listening));
    esrpc_connection_options_release(each);
    esrpc_listener_options_release(options);
}

static void server_end(struct pair *pair) {
    CHECK_OK(esrpc_listener_drain(pair->listening, 0));
    CHECK_OK(esrpc_listener_wait_closed(pair->listening, PATIENCE_MS));
    esrpc_listener_release(pair->listening);
    CHECK_OK(esrpc_runtime_join(pair->server_runtime, PATIENCE_MS));
    esrpc_runtime_release(pair->server_runtime);
}

/* Plain clients */

/* Messages that are made once, before anything is measured. */
static struct {
    esrpc_buffer *unfinished, *keep[STREAMS], *refuse[4 * STREAMS], *ask;
} prepared;

static char long_name[NAME + 1];

static const char *named(char letter) {
    memset(long_name, 'n', NAME);
    long_name[0] = letter;
    return long_name;
}

static esrpc_buffer *opening(int32_t id, const char *operation) {
    return raw_message(ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, id, operation, esrpc_text(NULL));
}

static void prepare(void) {
    uint8_t *zeros = (uint8_t *)calloc(1, MESSAGE);
    CHECK(zeros != NULL);
    prepared.unfinished = raw_message(ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, bytes(zeros, MESSAGE - 1000));
    free(zeros);
    for (int32_t i = 0; i < STREAMS; i++) prepared.keep[i] = opening(i + 1, named(KEEP));
    for (int32_t i = 0; i < 4 * STREAMS; i++) prepared.refuse[i] = opening(i + 1, "refuse");
    prepared.ask = opening(1, "answer");
}

static void unprepare(void) {
    esrpc_buffer_release(prepared.unfinished);
    for (int32_t i = 0; i < STREAMS; i++) esrpc_buffer_release(prepared.keep[i]);
    for (int32_t i = 0; i < 4 * STREAMS; i++) esrpc_buffer_release(prepared.refuse[i]);
    esrpc_buffer_release(prepared.ask);
}

static bool send_buffer(struct raw *raw, esrpc_buffer *buffer, size_t cut) {
    esrpc_bytes data = esrpc_buffer_get_bytes(buffer);
    return raw_send(raw, data.data, data.len - cut);
}

static void dial(struct raw *raw, const struct pair *pair) {
    int size = 16 * KIB;
    raw_dial(raw, pair);
    CHECK(setsockopt(raw->descriptor, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) == 0);
    raw_send_connect(raw);
    raw_expect(raw, ESRPC_MESSAGE_TYPE_CONNECT_ACK, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, "ack");
    free(raw->input);
    raw->input = NULL;
    raw->capacity = 0;
}

/* The largest holder may be ended in between: what cannot be sent is not. */
static void attack(struct raw *raw, size_t kind) {
    switch (kind % 4) {
        case 0: send_buffer(raw, prepared.unfinished, 1); break;
        case 1:
            for (size_t i = 0; i < STREAMS && send_buffer(raw, prepared.keep[i], 0); i++) look();
            break;
        case 2: send_buffer(raw, prepared.ask, 0); break;
        default:
            for (size_t i = 0; i < 4 * STREAMS && send_buffer(raw, prepared.refuse[i], 0); i++) continue;
    }
}

static void ask_honestly(struct raw *honest) {
    raw_send_message(honest, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "there?");
    raw_expect(honest, ESRPC_MESSAGE_TYPE_PING_RESPONSE, 0, "here");
    look();
}

/* Not more was taken than the formula allows, and not less than connections may hold: the attack was real. */
static void check_formula(size_t connection, size_t handshakes) {
    size_t once = (size_t)LOOP + (size_t)OUTBOUND + (size_t)MESSAGE; /* there is one thread */
    size_t allowed = HELD + CONNECTIONS * (connection + NOT_COUNTED) + handshakes * TLS_HANDSHAKE + once;
    size_t taken = most_memory - memory_before;
    fprintf(stderr, "    %zu KiB of %zu KiB, %zu ended for what they held\n", taken / KIB, allowed / KIB,
            ended_for_what_they_held);
    CHECK(__atomic_load_n(&ended_for_what_they_held, __ATOMIC_SEQ_CST) > 0);
    if (is_watched()) return;
    CHECK(taken <= allowed);
    CHECK(taken >= (size_t)HELD);
}

static void plain_strangers_stay_below_the_formula(void) {
    enum { STRANGERS = CONNECTIONS - 1 };
    struct pair pair;
    struct raw strangers[STRANGERS], honest;
    prepare();
    server_begin(&pair, false, CONNECTIONS);
    dial(&honest, &pair);
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < STRANGERS; i++) {
            if (round > 0) raw_close(&strangers[i]);
            dial(&strangers[i], &pair);
            attack(&strangers[i], i + round);
            ask_honestly(&honest);
        }
    }
    for (size_t i = 0; i < STRANGERS; i++) raw_close(&strangers[i]);
    raw_close(&honest);
    server_end(&pair);
    check_formula(PLAIN_CONNECTION, 0);
    unprepare();
}

/* A number of connections to be made and held, ATTACK, or ASK for an answer on each and do not read it; then 0: they end.

   Strangers with TLS are the library's own clients, in a process of their own, so that what they take is not counted. */

enum { ATTACK = -1, ASK = -2, ASKING = 20, MANY = 200, HALVES = 100 };

struct order {
    int32_t what;
    uint32_t port;
};

static int orders, reports;

static esrpc_connection *tls_dial(uint32_t port, esrpc_tls_config *trusting) {
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_connection_options *each = esrpc_connection_options_new();
    esrpc_connection *connection = NULL;
    esrpc_status status;
    make_patient(each);
    CHECK_OK(esrpc_connection_options_set_socket_buffers(each, 16 * KIB, 16 * KIB));
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), port));
    CHECK_OK(esrpc_client_options_set_tls(options, trusting, esrpc_text("server.example")));
    CHECK_OK(esrpc_client_options_set_handshake(options, NULL, esrpc_text("connect")));
    CHECK_OK(esrpc_client_options_set_connection_options(options, each));
    CHECK_OK(esrpc_connection_connect(options, NULL, NULL, &connection));
    esrpc_connection_options_release(each);
    esrpc_client_options_release(options);
    CHECK_ENDED(status = esrpc_connection_wait_setup(connection, PATIENCE_MS));
    CHECK_OK(status);
    return connection;
}

static void tls_open(esrpc_connection *connection, const char *operation) {
    esrpc_stream *stream;
    esrpc_stream_callbacks callbacks;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    if (esrpc_connection_new_stream(connection, &callbacks, NULL, &stream) != ESRPC_OK) return;
    (void)!esrpc_stream_activate(stream, esrpc_text(operation), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL,
                                 esrpc_text(NULL), NULL, NULL);
    esrpc_stream_release(stream);
}

static void tls_attack(esrpc_connection *connection, size_t kind) {
    CHECK_OK(esrpc_connection_pause_reading(connection));
    switch (kind % 3) {
        case 0: tls_open(connection, "answer"); break;
        case 1:
            for (size_t i = 0; i < STREAMS; i++) tls_open(connection, named(KEEP));
            break;
        default:
            for (size_t i = 0; i < 4 * STREAMS; i++) tls_open(connection, "refuse");
    }
}

static void hang_up(esrpc_connection *connection) {
    CHECK_OK(esrpc_connection_abort(connection));
    esrpc_connection_release(connection);
}

static void be_strangers(void) {
    enum { STRANGERS = CONNECTIONS - HANDSHAKES };
    esrpc_connection *connections[MANY];
    esrpc_tls_config *trusting = *esrpc_tls_get_provider() == 0 ? NULL : client_that_trusts("ca.pem");
    struct order order;
    while (read(orders, &order, sizeof order) == (ssize_t)sizeof order) {
        size_t count = (size_t)order.what;
        if (order.what == ATTACK) count = STRANGERS;
        if (order.what == ASK) count = ASKING;
        for (size_t i = 0; i < count; i++) connections[i] = tls_dial(order.port, trusting);
        for (size_t round = 0; order.what == ATTACK && round < ROUNDS; round++) {
            for (size_t i = 0; i < STRANGERS; i++) {
                if (round > 0) {
                    hang_up(connections[i]);
                    connections[i] = tls_dial(order.port, trusting);
                }
                tls_attack(connections[i], i + round);
            }
        }
        for (size_t i = 0; order.what == ASK && i < ASKING; i++) tls_attack(connections[i], 0);
        CHECK(write(reports, "d", 1) == 1);
        CHECK(read(orders, &order, sizeof order) == (ssize_t)sizeof order);
        for (size_t i = 0; i < count; i++) hang_up(connections[i]);
    }
    esrpc_tls_config_release(trusting);
    _exit(0);
}

static void say(int32_t what, const struct pair *pair) {
    struct order order;
    order.what = what;
    order.port = pair->listening == NULL ? 0 : esrpc_listener_get_port(pair->listening);
    CHECK(write(orders, &order, sizeof order) == (ssize_t)sizeof order);
}

/* A ClientHello of 64 KiB, as long as one may be, in whole records, and no end of it. */
static void say_half_a_hello(struct raw *raw) {
    enum { RECORD = 16 * KIB };
    static uint8_t record[5 + RECORD];
    for (int i = 0; i < 4; i++) {
        size_t len = i < 3 ? RECORD : RECORD - 100;
        memset(record, 0, sizeof record);
        record[0] = 22;
        record[1] = 3;
        record[2] = 1;
        record[3] = (uint8_t)(len >> 8);
        record[4] = (uint8_t)len;
        if (i == 0) {
            record[5] = 1;
            record[7] = record[8] = 0xff;
        }
        if (!raw_send(raw, record, 5 + len - (i == 3))) return;
    }
}

static void await_strangers(void) {
    struct pollfd report;
    report.fd = reports;
    report.events = POLLIN;
    for (int i = 0; i < PATIENCE_MS && poll(&report, 1, 1) == 0; i++) look();
    char done;
    CHECK(read(reports, &done, 1) == 1);
    look();
}

static void tls_strangers_stay_below_the_formula(void) {
    struct pair pair;
    struct raw halves[HANDSHAKES];
    server_begin(&pair, true, CONNECTIONS);
    for (size_t i = 0; i < HANDSHAKES - 1; i++) {
        raw_dial(&halves[i], &pair);
        say_half_a_hello(&halves[i]);
        look();
    }
    say(ATTACK, &pair);
    await_strangers();
    for (size_t i = 0; i < HANDSHAKES - 1; i++) raw_close(&halves[i]);
    say(0, &pair);
    server_end(&pair);
    check_formula(TLS_CONNECTION, HANDSHAKES);
}

/* Their plaintext alone would be within the limit. */
static void records_that_nobody_reads_are_counted(void) {
    struct pair pair;
    outbound = 256 * KIB;
    CHECK(ASKING * (outbound + ANSWER) < HELD);
    server_begin(&pair, true, CONNECTIONS);
    outbound = OUTBOUND;
    say(ASK, &pair);
    await_strangers();
    await("ended for what it held");
    say(0, &pair);
    server_end(&pair);
}

/* The constants of the formula */

static void check_each(const char *what, size_t count, size_t allowed) {
    look();
    size_t each = (most_memory - memory_before) / count;
    fprintf(stderr, "    %zu bytes for each %s\n", each, what);
    if (!is_watched()) CHECK(each <= allowed);
}

static void a_stream_takes_no_more_than_is_counted_for_it(void) {
    enum { CLIENTS = 50 };
    struct pair pair;
    struct raw clients[CLIENTS];
    esrpc_buffer *openings[STREAMS];
    server_begin(&pair, false, CLIENTS);
    for (int32_t i = 0; i < STREAMS; i++) openings[i] = opening(i + 1, "keep");
    for (size_t i = 0; i < CLIENTS; i++) dial(&clients[i], &pair);
    look_afresh();
    for (size_t i = 0; i < CLIENTS; i++) {
        for (size_t k = 0; k < STREAMS; k++) CHECK(send_buffer(&clients[i], openings[k], 0));
        ask_honestly(&clients[i]);
    }
    check_each("stream", (size_t)CLIENTS * STREAMS, STREAM);
    for (size_t i = 0; i < CLIENTS; i++) raw_close(&clients[i]);
    for (size_t i = 0; i < STREAMS; i++) esrpc_buffer_release(openings[i]);
    server_end(&pair);
}

static void a_connection_takes_no_more_than_the_formula_says(void) {
    struct pair pair;
    static struct raw clients[MANY];
    char nothing;
    server_begin(&pair, false, MANY);
    dial(&clients[0], &pair);
    look_afresh();
    for (size_t i = 1; i < MANY; i++) dial(&clients[i], &pair);
    check_each("connection", MANY - 1, PLAIN_CONNECTION);
    for (size_t i = 0; i < MANY; i++) raw_close(&clients[i]);
    server_end(&pair);

    server_begin(&pair, true, 2 * MANY);
    say(1, &pair);
    await_strangers();
    say(0, &pair);
    look_afresh();
    say(MANY, &pair);
    await_strangers();
    check_each("connection with TLS", MANY, TLS_CONNECTION);
    say(0, &pair);

    look_afresh();
    for (size_t i = 0; i < HALVES; i++) {
        raw_dial(&clients[i], &pair);
        say_half_a_hello(&clients[i]);
    }
    /* Once somebody else is served, they are read. */
    say(1, &pair);
    await_strangers();
    for (size_t i = 0; i < HALVES; i++) CHECK(recv(clients[i].descriptor, &nothing, 1, 0) < 0 && errno == EAGAIN);
    check_each("half TLS handshake", HALVES, TLS_HANDSHAKE);
    for (size_t i = 0; i < HALVES; i++) raw_close(&clients[i]);
    say(0, &pair);
    server_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_stream_takes_no_more_than_is_counted_for_it),
        TEST(a_connection_takes_no_more_than_the_formula_says),
        TEST(plain_strangers_stay_below_the_formula),
        TEST(records_that_nobody_reads_are_counted),
        TEST(tls_strangers_stay_below_the_formula),
    };
    int to_strangers[2], from_strangers[2], status;
    CHECK(pipe(to_strangers) == 0 && pipe(from_strangers) == 0);
    pid_t strangers = fork();
    CHECK(strangers >= 0);
    if (strangers == 0) {
        close(to_strangers[1]);
        close(from_strangers[0]);
        orders = to_strangers[0];
        reports = from_strangers[1];
        be_strangers();
    }
    close(to_strangers[0]);
    close(from_strangers[1]);
    orders = to_strangers[1];
    reports = from_strangers[0];
    int failed = RUN_TESTS(tests, argc, argv);
    close(orders);
    CHECK(waitpid(strangers, &status, 0) == strangers && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return failed;
}
