/* What a listener's connections may be and have together, just inside and just outside: their number, how many of them are in
   their handshake, the bytes that they hold. */
#include "listener_limits.h"

#include "accepting.h"

#include <sys/epoll.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

/* Calls of these by the library, counted as LD_PRELOAD would. */
static unsigned accepts, waits;

int accept4(int descriptor, struct sockaddr *address, socklen_t *len, int flags) {
    int accepted = accept_with_flags(descriptor, address, len, flags);
    if (accepted >= 0) __atomic_fetch_add(&accepts, 1u, __ATOMIC_SEQ_CST);
    return accepted;
}

int epoll_wait(int descriptor, struct epoll_event *events, int most, int timeout_ms) {
    __atomic_fetch_add(&waits, 1u, __ATOMIC_SEQ_CST);
    return epoll_pwait(descriptor, events, most, timeout_ms, NULL);
}

/* Connections */

static void one_connection_more_waits_until_another_has_ended(void) {
    enum { MOST = 3, ROUNDS = 50 };
    struct pair pair;
    struct raw clients[MOST], next;
    memset(&limits, 0, sizeof limits);
    limits.connections = MOST;
    limited_begin(&pair);
    pair_listen(&pair);
    __atomic_store_n(&accepts, 0u, __ATOMIC_SEQ_CST);
    for (size_t i = 0; i < MOST; i++) {
        raw_dial(&clients[i], &pair);
        shake_hands(&clients[i]);
    }
    raw_dial(&next, &pair);
    raw_send_connect(&next);
    /* The loop goes round, and neither accepts nor is woken by what waits. */
    unsigned waits_before = __atomic_load_n(&waits, __ATOMIC_SEQ_CST);
    for (size_t i = 0; i < ROUNDS; i++) await_loop(pair.server_connection);
    CHECK(__atomic_load_n(&accepts, __ATOMIC_SEQ_CST) == MOST);
    CHECK(__atomic_load_n(&waits, __ATOMIC_SEQ_CST) - waits_before <= 4 * ROUNDS);
    CHECK_COUNT(MOST, "listener incoming");
    CHECK(esrpc_listener_get_open_connections(pair.listening) == MOST);

    raw_close(&clients[0]);
    expect_ack(&next);
    CHECK(__atomic_load_n(&accepts, __ATOMIC_SEQ_CST) == MOST + 1);
    raw_close(&next);
    await_count("server shutdown PEER_CLOSED", 2);
    for (size_t i = 1; i < MOST; i++) raw_close(&clients[i]);
    await_count("server shutdown PEER_CLOSED", MOST + 1);
    pair_end(&pair);
    CHECK_NEVER("listener failed");
}

static void a_full_listener_can_be_closed_and_drained(void) {
    for (int drain = 0; drain <= 1; drain++) {
        struct pair pair;
        struct raw client, next;
        recorder_clear();
        memset(&limits, 0, sizeof limits);
        limits.connections = 1;
        limited_begin(&pair);
        pair_listen(&pair);
        raw_dial(&client, &pair);
        shake_hands(&client);
        raw_dial(&next, &pair);
        if (drain)
            CHECK_OK(esrpc_listener_drain(pair.listening, ESRPC_NO_TIMEOUT));
        else
            CHECK_OK(esrpc_listener_close(pair.listening));
        CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
        raw_expect_end(&next);
        raw_close(&client);
        await("server shutdown");
        raw_close(&next);
        pair_end(&pair);
        CHECK_ONCE("listener incoming");
    }
}

static unsigned full_lines;

static void count_full_lines(int32_t level, const char *target, const char *message, void *user_data) {
    (void)target;
    (void)user_data;
    if (level == ESRPC_LOG_LEVEL_WARN && strstr(message, "max_connections"))
        __atomic_fetch_add(&full_lines, 1u, __ATOMIC_SEQ_CST);
}

static void a_full_listener_says_so_once_a_second_however_many_come_and_go(void) {
    enum { CLIENTS = 30 };
    struct pair pair;
    struct raw client;
    struct timespec begun, now;
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    memset(&limits, 0, sizeof limits);
    limits.connections = 1;
    limited_begin(&pair);
    CHECK_OK(esrpc_runtime_shutdown(pair.server_runtime));
    CHECK_OK(esrpc_runtime_join(pair.server_runtime, PATIENCE_MS));
    esrpc_runtime_release(pair.server_runtime);
    CHECK_OK(esrpc_runtime_options_set_log(options, ESRPC_LOG_LEVEL_WARN, count_full_lines, NULL));
    CHECK_OK(esrpc_runtime_new(options, &pair.server_runtime));
    esrpc_runtime_options_release(options);
    pair_listen(&pair);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (size_t i = 0; i < CLIENTS; i++) {
        raw_dial(&client, &pair);
        shake_hands(&client);
        raw_close(&client);
        await_count("server shutdown PEER_CLOSED", i + 1);
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    unsigned lines = __atomic_load_n(&full_lines, __ATOMIC_SEQ_CST);
    CHECK(lines >= 1 && lines <= (unsigned)(now.tv_sec - begun.tv_sec) + 2);
    pair_end(&pair);
}

static void one_adopted_connection_more_is_refused(void) {
    enum { MOST = 2 };
    struct pair pair;
    struct raw clients[MOST + 1];
    int both[2];
    memset(&limits, 0, sizeof limits);
    limits.connections = MOST;
    limits.adopt_only = true;
    limited_begin(&pair);
    pair_listen(&pair);
    for (size_t i = 0; i < MOST; i++) {
        adopt(&pair, &clients[i]);
        shake_hands(&clients[i]);
    }
    make_pair_of_sockets(both);
    CHECK_STATUS(ESRPC_ERROR_TOO_MANY_CONNECTIONS, esrpc_listener_adopt_connection(pair.listening, both[1]));
    CHECK(last_error_says("max_connections") && last_error_says("2 connections"));
    CHECK(is_ours(both[1]));
    close(both[0]);
    /* A failed adoption takes no place, and one that has ended leaves its own. */
    CHECK_OK(esrpc_connection_abort(pair.server_connection));
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair.server_connection, PATIENCE_MS));
    close(both[1]);
    CHECK_STATUS(ESRPC_ERROR_WRONG_SOCKET, esrpc_listener_adopt_connection(pair.listening, both[1]));
    adopt(&pair, &clients[MOST]);
    shake_hands(&clients[MOST]);
    for (size_t i = 0; i <= MOST; i++) raw_close(&clients[i]);
    await_count("server shutdown", MOST + 1);
    pair_end(&pair);
}

/* Handshakes */

static void one_handshake_more_ends_the_oldest(void) {
    enum { MOST = 3 };
    struct pair pair;
    struct raw clients[2 * MOST], more;
    memset(&limits, 0, sizeof limits);
    limits.handshakes = MOST;
    limited_begin(&pair);
    pair_listen(&pair);
    for (size_t i = 0; i < MOST; i++) adopt(&pair, &clients[i]);
    await_count("listener incoming", MOST);
    CHECK_NEVER("server shutdown");
    adopt(&pair, &more);
    raw_expect_end(&clients[0]);
    await("server shutdown TOO_MANY_HANDSHAKES");
    raw_close(&clients[0]);
    clients[0] = more;
    /* Once CONNECT is answered a connection does not count as one of these. */
    for (size_t i = 0; i < MOST; i++) shake_hands(&clients[i]);
    for (size_t i = MOST; i < 2 * MOST; i++) adopt(&pair, &clients[i]);
    for (size_t i = MOST; i < 2 * MOST; i++) shake_hands(&clients[i]);
    CHECK_ONCE("server shutdown");
    for (size_t i = 0; i < 2 * MOST; i++) raw_close(&clients[i]);
    await_count("server shutdown", 2 * MOST + 1);
    pair_end(&pair);
    CHECK_NEVER("listener failed");
}

/* Not at once, but soon, and nothing else has to happen for it. */
static void silent_clients_make_room_at_the_listening_socket(void) {
    enum { MOST = 3, MORE = 4 };
    struct pair pair;
    struct raw clients[MOST + MORE];
    memset(&limits, 0, sizeof limits);
    limits.handshakes = MOST;
    limited_begin(&pair);
    pair_listen(&pair);
    for (size_t i = 0; i < MOST + MORE; i++) raw_dial(&clients[i], &pair);
    for (size_t i = 0; i < MORE; i++) raw_expect_end(&clients[i]);
    for (size_t i = MORE; i < MOST + MORE; i++) shake_hands(&clients[i]);
    for (size_t i = 0; i < MOST + MORE; i++) raw_close(&clients[i]);
    await_count("server shutdown", MOST + MORE);
    pair_end(&pair);
    CHECK_COUNT(MORE, "server shutdown TOO_MANY_HANDSHAKES");
    CHECK_COUNT(MOST, "server shutdown PEER_CLOSED");
}

/* A CONNECT that waits for its answer counts as a handshake; one that is refused no longer does. */
static void a_connect_that_is_not_answered_counts(void) {
    for (int refuse = 0; refuse <= 1; refuse++) {
        struct pair pair;
        struct raw first, second;
        recorder_clear();
        memset(&limits, 0, sizeof limits);
        limits.handshakes = 1;
        limited_begin(&pair);
        pair.ignore_connect = !refuse;
        pair.refuse_connect = refuse;
        pair_listen(&pair);
        adopt(&pair, &first);
        raw_send_connect(&first);
        await("server protocol CONNECT");
        adopt(&pair, &second);
        if (refuse)
            raw_expect(&first, ESRPC_MESSAGE_TYPE_CONNECT_ACK, 0, "ack");
        else
            raw_expect_end(&first);
        raw_close(&first);
        await(refuse ? "server shutdown OK" : "server shutdown TOO_MANY_HANDSHAKES");
        raw_close(&second);
        await("server shutdown PEER_CLOSED");
        pair_end(&pair);
    }
}

static void check_sentence(struct party *self, const struct moment *now) {
    (void)self;
    if (now->status == ESRPC_ERROR_TOO_MANY_HANDSHAKES) CHECK(last_error_says("more than 3 connections (max_pending_handshakes)"));
}

static void a_tls_handshake_that_is_given_up_is_reported_to_the_listener(void) {
    enum { MOST = 3, MORE = 5 };
    struct pair pair;
    struct raw clients[MOST + MORE];
    memset(&limits, 0, sizeof limits);
    limits.handshakes = MOST;
    limits.over_tls = true;
    limited_begin(&pair);
    pair.listener.hook = check_sentence;
    pair_listen(&pair);
    for (size_t i = 0; i < MOST + MORE; i++) adopt(&pair, &clients[i]);
    for (size_t i = 0; i < MORE; i++) raw_expect_end(&clients[i]);
    await_count("listener failed TOO_MANY_HANDSHAKES", MORE);
    CHECK_COUNT(MORE, "listener failed");
    for (size_t i = 0; i < MOST + MORE; i++) raw_close(&clients[i]);
    await_count("listener failed TLS_PEER_CLOSED", MOST);
    pair_end(&pair);
    CHECK_NEVER("listener incoming");
}

/* The connection is ended while it is being announced: it is accepted, and then ends. */
static struct gate announcing;

static void wait_once(struct party *self, const struct moment *now) {
    if (is(now, "incoming") && count_of("listener incoming") == 1) gate_pass(&announcing);
    (void)self;
}

static void accept_late(esrpc_listener *listener, esrpc_connection *connection, void *user_data) {
    struct pair *pair = (struct pair *)((struct party *)user_data)->data;
    esrpc_connection_callbacks callbacks = connection_callbacks();
    (void)listener;
    happen((struct party *)user_data, moment_of("incoming", connection, NULL, NULL, ESRPC_OK));
    CHECK_OK(esrpc_connection_accept(connection, &callbacks, &pair->server));
    note("server accepted");
}

static void one_that_is_being_announced_is_accepted_and_ends(void) {
    struct pair pair;
    struct raw clients[2];
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener_callbacks callbacks = listener_callbacks();
    memset(&limits, 0, sizeof limits);
    memset(&announcing, 0, sizeof announcing);
    limits.handshakes = 1;
    limits.adopt_only = true;
    limited_begin(&pair);
    pair.listener.hook = wait_once;
    callbacks.on_incoming_connection = accept_late;
    set_limits(options);
    CHECK_OK(esrpc_listener_options_set_runtime(options, pair.server_runtime));
    CHECK_OK(esrpc_listener_listen(options, &callbacks, &pair.listener, &pair.listening));
    esrpc_listener_options_release(options);
    adopt(&pair, &clients[0]);
    gate_await(&announcing);
    adopt(&pair, &clients[1]);
    gate_open(&announcing);
    raw_expect_end(&clients[0]);
    await("server shutdown TOO_MANY_HANDSHAKES");
    await_count("server accepted", 2);
    for (size_t i = 0; i < 2; i++) raw_close(&clients[i]);
    await("server shutdown PEER_CLOSED");
    pair_end(&pair);
    CHECK_NEVER("listener failed");
}

/* As many as are left are in their handshake; who comes with something to say is served. */
static void of_a_crowd_that_says_nothing_the_limit_is_left(void) {
    enum { MOST = 128, CROWD = 500 };
    static struct raw crowd[CROWD];
    for (int over_tls = 0; over_tls <= 1; over_tls++) {
        struct pair pair;
        struct raw honest;
        recorder_clear();
        memset(&limits, 0, sizeof limits);
        limits.over_tls = over_tls;
        limited_begin(&pair);
        pair_listen(&pair);
        for (size_t i = 0; i < CROWD; i++) adopt(&pair, &crowd[i]);
        for (size_t i = 0; i < CROWD - MOST; i++) raw_expect_end(&crowd[i]);
        if (!over_tls) {
            adopt(&pair, &honest);
            shake_hands(&honest);
            raw_close(&honest);
        }
        for (size_t i = 0; i < CROWD; i++) raw_close(&crowd[i]);
        CHECK_OK(esrpc_listener_drain(pair.listening, ESRPC_NO_TIMEOUT));
        CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
        size_t ended = count_of("server shutdown TOO_MANY_HANDSHAKES") + count_of("listener failed TOO_MANY_HANDSHAKES");
        CHECK(ended == (size_t)CROWD - MOST + !over_tls);
        pair_end(&pair);
    }
}

/* Bytes */

/* A message of that payload; to be released. */
static esrpc_buffer *large_message(size_t len, const char *operation, int32_t stream) {
    uint8_t *zeros = (uint8_t *)calloc(len, 1);
    CHECK(zeros != NULL);
    esrpc_buffer *buffer = raw_message(stream == 0 ? ESRPC_MESSAGE_TYPE_PING : ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, stream,
                                       operation, bytes(zeros, len));
    free(zeros);
    return buffer;
}

/* Sends the bytes of a message from `from` on, all but the last `left`; false if the peer has ended. */
static bool send_part(struct raw *client, esrpc_buffer *message, size_t from, size_t left) {
    esrpc_bytes data = esrpc_buffer_get_bytes(message);
    return raw_send(client, data.data + from, data.len - from - left);
}

static void unfinished_messages_are_counted_together(void) {
    enum { FIRST = 400 * KIB, INSIDE = 590 * KIB, OUTSIDE = 660 * KIB, REST = 1000 };
    for (int outside = 0; outside <= 1; outside++) {
        struct pair pair;
        struct raw clients[2];
        char second[60];
        esrpc_buffer *messages[2];
        recorder_clear();
        memset(&limits, 0, sizeof limits);
        limits.bytes = MIB;
        limited_begin(&pair);
        pair_listen(&pair);
        messages[0] = large_message(FIRST, NULL, 0);
        messages[1] = large_message(outside ? OUTSIDE : INSIDE, NULL, 0);
        snprintf(second, sizeof second, "server protocol PING %d bytes", outside ? (int)OUTSIDE : (int)INSIDE);
        for (size_t i = 0; i < 2; i++) {
            adopt(&pair, &clients[i]);
            shake_hands(&clients[i]);
            send_part(&clients[i], messages[i], 0, REST);
        }
        if (outside) {
            /* The one that holds most. */
            await("server shutdown TOO_MANY_HELD_BYTES");
            check_end_message_says(pair.server_connection, "1048576 bytes together (max_held_bytes)");
            raw_close(&clients[1]);
        } else {
            CHECK(send_part(&clients[1], messages[1], esrpc_buffer_get_bytes(messages[1]).len - REST, 0));
            await(second);
        }
        CHECK(send_part(&clients[0], messages[0], esrpc_buffer_get_bytes(messages[0]).len - REST, 0));
        await("server protocol PING 409600 bytes");
        for (size_t i = 0; i < 2; i++) {
            esrpc_buffer_release(messages[i]);
            if (clients[i].descriptor >= 0) raw_close(&clients[i]);
        }
        await_count("server shutdown", 2);
        pair_end(&pair);
        CHECK_COUNT(outside ? 0 : 1, second);
        CHECK_COUNT(outside ? 1 : 0, "server shutdown TOO_MANY_HELD_BYTES");
    }
}

/* What has ended holds nothing: so much passes in turn, from one connection and from many. */
static void what_has_come_to_its_end_is_not_counted(void) {
    enum { LEN = 900 * KIB, TIMES = 8 };
    struct pair pair;
    struct raw client;
    esrpc_buffer *message = large_message(LEN, NULL, 0);
    size_t passed = 0;
    memset(&limits, 0, sizeof limits);
    limits.bytes = MIB;
    limited_begin(&pair);
    pair_listen(&pair);
    for (int i = 0; i < TIMES; i++) {
        adopt(&pair, &client);
        shake_hands(&client);
        for (int twice = 0; twice < 2; twice++) {
            CHECK(send_part(&client, message, 0, 0));
            await_count("server protocol PING 921600 bytes", ++passed);
        }
        CHECK(send_part(&client, message, 0, 1));
        raw_close(&client);
        await_count("server shutdown", (size_t)i + 1);
    }
    esrpc_buffer_release(message);
    pair_end(&pair);
    CHECK_NEVER("server shutdown TOO_MANY_HELD_BYTES");
}

static void messages_that_are_not_written_are_counted(void) {
    struct pair pair;
    struct raw client;
    memset(&limits, 0, sizeof limits);
    limits.bytes = MIB;
    limited_begin(&pair);
    pair_listen(&pair);
    adopt(&pair, &client);
    shake_hands(&client);
    await("server protocol CONNECT");
    /* Within the connection's own limit, and taken. */
    uint8_t *zeros = (uint8_t *)calloc(2, MIB);
    CHECK(zeros != NULL);
    CHECK_OK(esrpc_connection_send_protocol_message(pair.server_connection, ESRPC_MESSAGE_TYPE_PING, 0, NULL,
                                                    bytes(zeros, 2 * MIB), on_flush, (void *)"large"));
    free(zeros);
    await("server shutdown TOO_MANY_HELD_BYTES");
    CHECK_ONCE("flush large TOO_MANY_HELD_BYTES");
    raw_close(&client);
    pair_end(&pair);
}

/* The stream is read, by whoever has `kept`. */
static esrpc_stream *kept;

static void keep_to_read(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *first, void *user_data) {
    (void)connection;
    (void)first;
    (void)user_data;
    CHECK_OK(esrpc_stream_accept(stream, NULL, NULL));
    kept = esrpc_stream_acquire(stream);
    note("kept");
}

static void accept_to_read(esrpc_listener *listener, esrpc_connection *connection, void *user_data) {
    struct pair *pair = (struct pair *)((struct party *)user_data)->data;
    esrpc_connection_callbacks callbacks = connection_callbacks();
    (void)listener;
    callbacks.on_protocol_message = server_on_protocol_message;
    callbacks.on_incoming_stream = keep_to_read;
    CHECK_OK(esrpc_connection_accept(connection, &callbacks, &pair->server));
    note("server accepted");
}

/* A listener whose connections may hold a MiB together, and whose streams are read. */
static void listen_to_read(struct pair *pair) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener_callbacks callbacks = listener_callbacks();
    memset(&limits, 0, sizeof limits);
    limits.bytes = MIB;
    limits.adopt_only = true;
    limited_begin(pair);
    CHECK_OK(esrpc_connection_options_set_stream_queue_limit(pair->server_options, 8 * MIB));
    callbacks.on_incoming_connection = accept_to_read;
    set_limits(options);
    CHECK_OK(esrpc_listener_options_set_runtime(options, pair->server_runtime));
    CHECK_OK(esrpc_listener_options_set_connection_options(options, pair->server_options));
    CHECK_OK(esrpc_listener_listen(options, &callbacks, &pair->listener, &pair->listening));
    esrpc_listener_options_release(options);
}

static void messages_that_nobody_has_read_are_counted(void) {
    enum { LEN = 300 * KIB, INSIDE = 3, TIMES = 4 };
    struct pair pair;
    struct raw client;
    esrpc_message *message = NULL;
    esrpc_buffer *first = large_message(LEN, "test#Operation", 1), *next = large_message(LEN, NULL, 1);
    listen_to_read(&pair);
    adopt(&pair, &client);
    shake_hands(&client);
    /* As many as there is room for, read and sent again, several times over. */
    for (size_t i = 0; i < INSIDE * TIMES; i++) {
        CHECK(send_part(&client, i == 0 ? first : next, 0, 0));
        await("kept");
        if (i % INSIDE < INSIDE - 1) continue;
        for (size_t read = 0; read < INSIDE; read++) {
            CHECK_OK(esrpc_stream_read(kept, PATIENCE_MS, &message));
            esrpc_message_release(message);
        }
    }
    CHECK_NEVER("server shutdown");
    for (size_t i = 0; i <= INSIDE; i++) send_part(&client, next, 0, 0);
    await("server shutdown TOO_MANY_HELD_BYTES");
    CHECK_STATUS(ESRPC_ERROR_TOO_MANY_HELD_BYTES, esrpc_stream_read(kept, PATIENCE_MS, &message));
    raw_close(&client);
    esrpc_stream_release(kept);
    esrpc_buffer_release(first);
    esrpc_buffer_release(next);
    pair_end(&pair);
}

/* Clients that leave and come again do not fill the memory with what nobody has read yet. */
static void messages_that_nobody_has_read_are_counted_after_the_end(void) {
    enum { LEN = 300 * KIB, CLIENTS = 3 };
    static const size_t messages[CLIENTS] = {2, 1, 1};
    struct pair pair;
    struct raw client;
    esrpc_stream *streams[CLIENTS];
    esrpc_message *message = NULL;
    esrpc_buffer *first = large_message(LEN, "test#Operation", 1), *next = large_message(LEN, NULL, 1);
    listen_to_read(&pair);
    for (size_t i = 0; i < CLIENTS; i++) {
        adopt(&pair, &client);
        shake_hands(&client);
        for (size_t sent = 0; sent < messages[i]; sent++) CHECK(send_part(&client, sent == 0 ? first : next, 0, 0));
        await_count("kept", i + 1);
        streams[i] = kept;
        raw_close(&client);
        await_count("server shutdown PEER_CLOSED", i + 1);
    }
    await_loop(esrpc_stream_get_connection(streams[CLIENTS - 1]));
    /* The first holds most. */
    CHECK_STATUS(ESRPC_ERROR_TOO_MANY_HELD_BYTES, esrpc_stream_read(streams[0], PATIENCE_MS, &message));
    for (size_t i = 1; i < CLIENTS; i++) {
        CHECK_OK(esrpc_stream_read(streams[i], PATIENCE_MS, &message));
        esrpc_message_release(message);
        CHECK_STATUS(ESRPC_ERROR_PEER_CLOSED, esrpc_stream_read(streams[i], PATIENCE_MS, &message));
    }
    for (size_t i = 0; i < CLIENTS; i++) esrpc_stream_release(streams[i]);
    esrpc_buffer_release(first);
    esrpc_buffer_release(next);
    pair_end(&pair);
}

/* The same for streams that have ended while their connection lives: all of its messages go with it. */
static void messages_of_ended_streams_go_with_their_connection(void) {
    enum { LEN = 300 * KIB, STREAMS = 3 };
    struct pair pair;
    struct raw client;
    esrpc_stream *streams[STREAMS];
    esrpc_message *message = NULL;
    listen_to_read(&pair);
    adopt(&pair, &client);
    shake_hands(&client);
    for (size_t i = 0; i <= STREAMS; i++) {
        esrpc_buffer *only = large_message(LEN, "test#Operation", (int32_t)i + 1);
        send_part(&client, only, 0, 0);
        esrpc_buffer_release(only);
        if (i == STREAMS) break;
        await_count("kept", i + 1);
        streams[i] = kept;
        raw_send_message(&client, 0, ESRPC_MESSAGE_FLAG_TERMINATE_STREAM, (int32_t)i + 1, NULL, "");
    }
    await("server shutdown TOO_MANY_HELD_BYTES");
    await_loop(esrpc_stream_get_connection(streams[0]));
    for (size_t i = 0; i < STREAMS; i++) {
        CHECK_STATUS(ESRPC_ERROR_TOO_MANY_HELD_BYTES, esrpc_stream_read(streams[i], PATIENCE_MS, &message));
        esrpc_stream_release(streams[i]);
    }
    raw_close(&client);
    pair_end(&pair);
}

/* A text of this many of the letter; to be freed. */
static char *long_name(size_t len) {
    char *name = (char *)malloc(len + 1);
    CHECK(name != NULL);
    memset(name, 'n', len);
    name[len] = '\0';
    return name;
}

static void open_streams_are_counted_with_the_names_of_their_operations(void) {
    enum { NAME = 30 * KIB, BESIDE = 640, INSIDE = MIB / (NAME + BESIDE), CLIENTS = 3 };
    struct pair pair;
    struct raw clients[CLIENTS];
    char *name = long_name(NAME);
    memset(&limits, 0, sizeof limits);
    limits.bytes = MIB;
    limited_begin(&pair);
    pair_listen(&pair);
    /* What has ended holds nothing. */
    for (int i = 0; i < CLIENTS; i++) {
        struct raw *client = &clients[i];
        size_t accepted = count_of("handler accepted");
        adopt(&pair, client);
        shake_hands(client);
        for (int32_t id = 1; id <= INSIDE; id++)
            raw_send_message(client, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, id, name, "");
        await_count("handler accepted", accepted + INSIDE);
        for (int32_t id = 1; id <= INSIDE; id++)
            raw_send_message(client, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, LAST, id, NULL, "");
        await_count("handler closed OK", accepted + INSIDE);
    }
    CHECK_NEVER("server shutdown");
    for (int32_t id = INSIDE + 1; id <= 2 * INSIDE + 1; id++)
        raw_send_message(&clients[0], ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, id, name, "");
    await("server shutdown TOO_MANY_HELD_BYTES");
    for (int i = 0; i < CLIENTS; i++) raw_close(&clients[i]);
    await_count("server shutdown", CLIENTS);
    free(name);
    pair_end(&pair);
    CHECK_ONCE("server shutdown TOO_MANY_HELD_BYTES");
}

/* Bytes of memory that the process has now. */
static size_t resident(void) {
    size_t kib = 0;
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "VmRSS:", 6) == 0) kib = (size_t)strtoul(line + 6, NULL, 10);
    fclose(file);
    return kib * KIB;
}

/* Under valgrind or a sanitizer, whose memory beside that of the program is not ours. */
static bool is_slow(void) {
    const char *wrapper = getenv("ESRPC_TEST_WRAPPER"), *flags = getenv("ESRPC_TEST_CFLAGS");
    return (wrapper != NULL && *wrapper != '\0') || (flags != NULL && *flags != '\0');
}

/* Each within all limits of its own. */
static void forty_peers_with_twenty_mib_each_hold_no_more_than_the_limit(void) {
    enum { PEERS = 40, FIT = 12 };
    const size_t unit = is_slow() ? MIB / 16 : MIB, len = 20 * unit, limit = 256 * unit;
    struct pair pair;
    struct raw peers[PEERS], honest;
    esrpc_buffer *message = large_message(len, NULL, 0);
    memset(&limits, 0, sizeof limits);
    if (is_slow()) limits.bytes = limit; /* else it is the default */
    limited_begin(&pair);
    pair_listen(&pair);
    size_t before = resident(), most = before;
    for (size_t i = 0; i < PEERS; i++) {
        adopt(&pair, &peers[i]);
        shake_hands(&peers[i]);
        send_part(&peers[i], message, 0, 1);
        if (resident() > most) most = resident();
    }
    await_count("server shutdown TOO_MANY_HELD_BYTES", PEERS - FIT - 1);
    CHECK(count_of("server shutdown TOO_MANY_HELD_BYTES") <= PEERS - FIT);
    adopt(&pair, &honest);
    shake_hands(&honest);
    fprintf(stderr, "    %zu MiB at most\n", (most - before) / MIB);
    if (!is_slow()) CHECK(most - before < limit + 4 * len);
    raw_close(&honest);
    for (size_t i = 0; i < PEERS; i++) raw_close(&peers[i]);
    esrpc_buffer_release(message);
    await_count("server shutdown", PEERS + 1);
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(one_connection_more_waits_until_another_has_ended),
        TEST(a_full_listener_can_be_closed_and_drained),
        TEST(a_full_listener_says_so_once_a_second_however_many_come_and_go),
        TEST(one_adopted_connection_more_is_refused),
        TEST(one_handshake_more_ends_the_oldest),
        TEST(silent_clients_make_room_at_the_listening_socket),
        TEST(a_connect_that_is_not_answered_counts),
        TEST(a_tls_handshake_that_is_given_up_is_reported_to_the_listener),
        TEST(one_that_is_being_announced_is_accepted_and_ends),
        TEST(of_a_crowd_that_says_nothing_the_limit_is_left),
        TEST(unfinished_messages_are_counted_together),
        TEST(what_has_come_to_its_end_is_not_counted),
        TEST(messages_that_are_not_written_are_counted),
        TEST(messages_that_nobody_has_read_are_counted),
        TEST(messages_that_nobody_has_read_are_counted_after_the_end),
        TEST(messages_of_ended_streams_go_with_their_connection),
        TEST(open_streams_are_counted_with_the_names_of_their_operations),
        TEST(forty_peers_with_twenty_mib_each_hold_no_more_than_the_limit),
    };
    return RUN_TESTS(tests, argc, argv);
}
