/* The figures of connections, listeners and runtimes: those of a known conversation, each limit's just outside of it, and sums
   that remain when connections have ended. */
#include "listener_limits.h"

enum { KIB = 1024, MIB = 1024 * 1024 };

static esrpc_stats empty_stats(void) {
    esrpc_stats stats;
    memset(&stats, 0xff, sizeof stats);
    stats.struct_size = sizeof stats;
    return stats;
}

static esrpc_stats of_connection(const esrpc_connection *connection) {
    esrpc_stats stats = empty_stats();
    CHECK_OK(esrpc_connection_get_stats(connection, &stats));
    return stats;
}

static esrpc_stats of_listener(const esrpc_listener *listener) {
    esrpc_stats stats = empty_stats();
    CHECK_OK(esrpc_listener_get_stats(listener, &stats));
    return stats;
}

static esrpc_stats of_runtime(const esrpc_runtime *runtime) {
    esrpc_stats stats = empty_stats();
    CHECK_OK(esrpc_runtime_get_stats(runtime, &stats));
    return stats;
}

/* The number of the first figure that is not the same on both sides; or -1. */
static int find_difference(const esrpc_stats *first, const esrpc_stats *second) {
    const uint64_t *ours = &first->messages_received, *theirs = &second->messages_received;
    int count = (int)((sizeof *first - offsetof(esrpc_stats, messages_received)) / sizeof *ours);
    for (int i = 0; i < count; i++)
        if (ours[i] != theirs[i]) return i;
    return -1;
}

static void check_same(const esrpc_stats *first, const esrpc_stats *second) {
    int place = find_difference(first, second);
    if (place < 0) return;
    fprintf(stderr, "figure %d is %llu on one side and %llu on the other\n", place,
            (unsigned long long)(&first->messages_received)[place], (unsigned long long)(&second->messages_received)[place]);
    abort();
}

/* The runtime, and the listener, has the sum of what its ended connections had. */
static void check_sums(const struct pair *pair, const esrpc_stats *client, const esrpc_stats *server) {
    esrpc_stats clients = of_runtime(pair->client_runtime), servers = of_runtime(pair->server_runtime);
    esrpc_stats listener = of_listener(pair->listening);
    check_same(&clients, client);
    check_same(&servers, server);
    check_same(&listener, server);
}

/* The system may wake a loop between two looks at a connection that lives: what differs is looked at once more. */
enum { LOOKS = 1000 };

static void check_sums_of_the_living(const struct pair *pair) {
    esrpc_stats client, server;
    for (int i = 0; i < LOOKS; i++) {
        esrpc_stats clients = of_runtime(pair->client_runtime), servers = of_runtime(pair->server_runtime);
        esrpc_stats listener = of_listener(pair->listening);
        client = of_connection(pair->client_connection);
        server = of_connection(pair->server_connection);
        if (find_difference(&clients, &client) < 0 && find_difference(&servers, &server) < 0 &&
            find_difference(&listener, &server) < 0)
            return;
    }
    check_sums(pair, &client, &server);
}

static void check_runtime_has_the_same(const struct pair *pair) {
    esrpc_stats listener, all;
    for (int i = 0; i < LOOKS; i++) {
        listener = of_listener(pair->listening);
        all = of_runtime(pair->server_runtime);
        if (find_difference(&listener, &all) < 0) return;
    }
    check_same(&listener, &all);
}

/* Closes the connection and waits for the end of both sides. */
static void end_both(struct pair *pair) {
    CHECK_OK(esrpc_connection_close(pair->client_connection, ESRPC_OK));
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair->client_connection, PATIENCE_MS));
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair->server_connection, PATIENCE_MS));
}

static void look_while_called(struct party *self, const struct moment *now) {
    struct pair *pair = (struct pair *)self->data;
    if (now->connection == NULL) return;
    esrpc_stats stats = of_connection(now->connection), all = of_runtime(pair->client_runtime);
    CHECK(stats.connections_opened == 1 && all.connections_opened == 1);
    note("looked");
}

static void a_known_conversation_is_counted_on_both_sides(void) {
    struct party first = a_party("first", NULL, NULL), second = a_party("second", NULL, NULL);
    struct pair pair;
    esrpc_stats client, server;
    esrpc_stream *taken, *refused;
    pair_begin(&pair);
    pair.client.hook = look_while_called;
    pair.keep_streams = true;
    CHECK_OK(esrpc_connection_options_set_max_streams(pair.server_options, 1));
    pair_connect(&pair);
    taken = open_stream(pair.client_connection, &first);
    await("handler message first");
    refused = open_stream(pair.client_connection, &second);
    await("second closed OK");
    CHECK_OK(send_text(pair.handler_stream, 0, "answer", NULL));
    await("first message answer");
    await_loop(pair.client_connection);
    await_loop(pair.server_connection);

    /* CONNECT, two first messages; CONNECT_ACK, a refusal, an answer. */
    client = of_connection(pair.client_connection);
    server = of_connection(pair.server_connection);
    CHECK(client.messages_sent == 3 && server.messages_received == 3);
    CHECK(server.messages_sent == 3 && client.messages_received == 3);
    CHECK(client.bytes_sent > 0 && client.bytes_sent == server.bytes_received);
    CHECK(server.bytes_sent > 0 && server.bytes_sent == client.bytes_received);
    CHECK(client.outbound_size == 0 && client.outbound_size_max > 0);
    CHECK(client.streams_opened == 2 && client.streams_open == 1 && client.streams_refused == 0);
    CHECK(server.streams_opened == 1 && server.streams_open == 1);
    CHECK(server.streams_refused == 1 && server.streams_refused_by_limit == 1);
    CHECK(client.connections_opened == 1 && client.connections_open == 1);
    CHECK(server.connections_opened == 1 && server.connections_open == 1);
    CHECK(client.turns > 0 && server.turns > 0 && server.longest_turn_us > 0);
    CHECK(client.tls_handshakes == 0 && server.handshakes_unfinished == 0 && server.violation_ends == 0);
    check_sums_of_the_living(&pair);

    CHECK_OK(esrpc_stream_close(taken));
    await("first closed OK");
    await("handler closed OK");
    end_both(&pair);
    client = of_connection(pair.client_connection);
    server = of_connection(pair.server_connection);
    CHECK(client.messages_sent == 4 && server.messages_received == 4);
    CHECK(client.bytes_sent == server.bytes_received && server.bytes_sent == client.bytes_received);
    CHECK(client.streams_open == 0 && server.streams_open == 0 && client.connections_open == 0);
    check_sums(&pair, &client, &server);

    /* The connections have ended, and the figures about them stay. */
    esrpc_stream_release(taken);
    esrpc_stream_release(refused);
    esrpc_connection_release(pair.client_connection);
    pair.client_connection = NULL;
    await("client destroy");
    check_sums(&pair, &client, &server);
    pair_end(&pair);
    await("looked");
}

static void sums_are_of_all_connections_that_live_and_that_have_ended(void) {
    enum { CLIENTS = 5 };
    struct pair pair;
    esrpc_connection *clients[CLIENTS];
    esrpc_stats before, after;
    pair_begin(&pair);
    pair_listen(&pair);
    for (size_t i = 0; i < CLIENTS; i++) pair_dial_as(&pair, &pair.client, &clients[i]);
    await_count("client setup OK", CLIENTS);
    for (size_t i = 0; i < CLIENTS; i++) await_loop(clients[i]);
    before = of_runtime(pair.client_runtime);
    CHECK(before.connections_opened == CLIENTS && before.connections_open == CLIENTS);
    CHECK(before.messages_sent == CLIENTS && before.messages_received == CLIENTS);
    for (size_t i = 0; i < CLIENTS; i++) {
        CHECK_OK(esrpc_connection_close(clients[i], ESRPC_OK));
        CHECK_ENDED(esrpc_connection_wait_shutdown(clients[i], PATIENCE_MS));
        esrpc_connection_release(clients[i]);
        after = of_runtime(pair.client_runtime);
        CHECK(after.connections_open == CLIENTS - 1 - i && after.connections_opened == CLIENTS);
        CHECK(after.messages_sent == before.messages_sent && after.bytes_sent == before.bytes_sent);
        CHECK(after.messages_received == before.messages_received && after.bytes_received == before.bytes_received);
    }
    CHECK_OK(esrpc_listener_drain(pair.listening, ESRPC_NO_TIMEOUT));
    CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
    after = of_listener(pair.listening);
    CHECK(after.messages_received == CLIENTS && after.bytes_received == before.bytes_sent);
    CHECK(after.connections_opened == CLIENTS && after.connections_open == 0);
    pair_end(&pair);
}

/* Limits of a connection */

static void sends_that_would_block(void) {
    struct pair pair;
    struct gate gate;
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_outbound_limit(pair.client_options, KIB));
    pair_connect(&pair);
    hold_loop(pair.client_connection, &gate);
    static char text[KIB];
    memset(text, 'x', sizeof text - 1);
    CHECK_OK(ping(pair.client_connection, text, NULL));
    esrpc_stats inside = of_connection(pair.client_connection);
    CHECK_STATUS(ESRPC_ERROR_WOULD_BLOCK, ping(pair.client_connection, "one more", NULL));
    esrpc_stats outside = of_connection(pair.client_connection);
    CHECK(inside.sends_refused == 0 && outside.sends_refused == 1 && outside.messages_sent == inside.messages_sent);
    CHECK(outside.outbound_size >= KIB && outside.outbound_size == esrpc_connection_get_outbound_size(pair.client_connection));
    CHECK(outside.outbound_size_max == outside.outbound_size);
    gate_open(&gate);
    await("client writable");
    await_loop(pair.client_connection);
    outside = of_connection(pair.client_connection);
    CHECK(outside.outbound_size == 0 && outside.outbound_size_max >= KIB);
    pair_end(&pair);
}

static void end_at_once(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "message")) CHECK_OK(esrpc_stream_close(now->stream));
}

static void abnormal_events(void) {
    struct pair pair;
    struct raw raw;
    esrpc_stats stats;
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_abnormal_event_limit(pair.server_options, 1, 20));
    pair.handler.hook = end_at_once;
    call_server(&pair, &raw);
    raw_send_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 1, "test#Operation", "");
    esrpc_message_release(raw_await_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE));
    await("handler closed OK");
    for (int i = 0; i < 20; i++) raw_send_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 1, NULL, "late");
    raw_send_message(&raw, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "still here");
    await("server protocol PING still here");
    stats = of_connection(pair.server_connection);
    CHECK(stats.late_messages == 20 && stats.abnormal_event_ends == 0 && stats.violation_ends == 0);
    for (int i = 0; i < 40; i++) raw_send_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 1, NULL, "late");
    esrpc_message_release(raw_await_message(&raw, ESRPC_MESSAGE_TYPE_PROTOCOL_ERROR));
    raw_close(&raw);
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair.server_connection, PATIENCE_MS));
    stats = of_listener(pair.listening);
    CHECK(stats.late_messages > 20 && stats.abnormal_event_ends == 1 && stats.violation_ends == 1);
    pair_end(&pair);
}

static void unanswered_ends(void) {
    struct pair pair;
    struct raw raw;
    pair_begin(&pair);
    call_server(&pair, &raw);
    for (int32_t id = 1; id <= 3; id++) {
        raw_send_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, id, "test#Operation", "");
        raw_send_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, LAST, id, NULL, "");
    }
    await_count("handler closed OK", 3);
    CHECK(of_connection(pair.server_connection).unanswered_ends == 3);
    /* A first message that ends its stream is an ordinary call without an answer. */
    raw_send_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, LAST, 4, "test#Operation", "");
    await_count("handler closed OK", 4);
    CHECK(of_connection(pair.server_connection).unanswered_ends == 3);
    raw_close(&raw);
    await("server shutdown");
    pair_end(&pair);
}

static void pings_above_the_limit(void) {
    enum { INSIDE = 3, MORE = 50 };
    struct pair pair;
    struct raw client;
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_answer_pings(pair.server_options, true));
    CHECK_OK(esrpc_connection_options_set_ping_answer_limit(pair.server_options, 1, INSIDE));
    call_server(&pair, &client);
    for (int i = 0; i < INSIDE; i++) raw_send_message(&client, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "ping");
    for (int i = 0; i < INSIDE; i++)
        esrpc_message_release(raw_await_message(&client, ESRPC_MESSAGE_TYPE_PING_RESPONSE));
    CHECK(of_connection(pair.server_connection).pings_unanswered == 0);
    for (int i = 0; i < MORE; i++) raw_send_message(&client, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "ping");
    CHECK(shutdown(client.descriptor, SHUT_WR) == 0);
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair.server_connection, PATIENCE_MS));
    esrpc_stats stats = of_connection(pair.server_connection);
    /* CONNECT was one message, and its answer another. */
    CHECK(stats.messages_received == 1 + INSIDE + MORE && stats.pings_unanswered > 0);
    CHECK(stats.messages_sent - 1 + stats.pings_unanswered == INSIDE + MORE);
    raw_close(&client);
    pair_end(&pair);
}

static void a_server_that_stops_reading(void) {
    struct pair pair;
    struct raw raw;
    pair_begin(&pair);
    pair.ignore_streams = true;
    call_server_with_little_room(&pair, &raw);
    CHECK(of_connection(pair.server_connection).reading_stops == 0);
    int32_t opened = raw_open_until_unread(&raw, pair.server_connection);
    await_loop(pair.server_connection);
    /* The system may take some more of what waits, and then the server reads and stops again. */
    CHECK(of_connection(pair.server_connection).reading_stops >= 1);
    for (int32_t id = 1; id <= opened; id++)
        esrpc_message_release(raw_await_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_ERROR));
    raw_close(&raw);
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair.server_connection, PATIENCE_MS));
    CHECK(of_connection(pair.server_connection).streams_refused >= (uint64_t)opened);
    CHECK(of_connection(pair.server_connection).streams_refused_by_limit == 0);
    pair_end(&pair);
}

static void deadlines(void) {
    struct pair pair;
    struct raw raw;
    patient_pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_idle_timeout_ms(pair.server_options, SHORT_MS));
    call_server(&pair, &raw);
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair.server_connection, PATIENCE_MS));
    raw_close(&raw);
    esrpc_stats stats = of_connection(pair.server_connection), sum = of_listener(pair.listening);
    CHECK(stats.deadline_ends == 1 && stats.violation_ends == 0 && stats.failures_timed_out == 0);
    check_same(&stats, &sum);
    pair_end(&pair);
}

/* Limits of a listener */

static void connections(void) {
    struct pair pair;
    struct raw clients[2];
    int both[2];
    memset(&limits, 0, sizeof limits);
    limits.connections = 2;
    limited_begin(&pair);
    pair_listen(&pair);
    adopt(&pair, &clients[0]);
    shake_hands(&clients[0]);
    esrpc_stats stats = of_listener(pair.listening);
    CHECK(stats.accept_pauses == 0 && stats.adoptions_refused == 0);
    raw_dial(&clients[1], &pair);
    shake_hands(&clients[1]);
    make_pair_of_sockets(both);
    CHECK_STATUS(ESRPC_ERROR_TOO_MANY_CONNECTIONS, esrpc_listener_adopt_connection(pair.listening, both[1]));
    close(both[0]);
    close(both[1]);
    /* The turn in which the listener took the last one has ended. */
    await_loop(pair.server_connection);
    stats = of_listener(pair.listening);
    CHECK(stats.accept_pauses == 1 && stats.adoptions_refused == 1);
    CHECK(stats.connections_opened == 2 && stats.connections_open == 2);
    check_runtime_has_the_same(&pair);
    for (size_t i = 0; i < 2; i++) raw_close(&clients[i]);
    await_count("server shutdown", 2);
    pair_end(&pair);
}

static void handshakes(void) {
    struct pair pair;
    struct raw first, second;
    memset(&limits, 0, sizeof limits);
    limits.handshakes = 1;
    limited_begin(&pair);
    pair_listen(&pair);
    adopt(&pair, &first);
    await("listener incoming");
    CHECK(of_listener(pair.listening).handshakes_ended_by_limit == 0);
    adopt(&pair, &second);
    raw_expect_end(&first);
    raw_close(&first);
    await("server shutdown TOO_MANY_HANDSHAKES");
    raw_close(&second);
    await("server shutdown PEER_CLOSED");
    CHECK_OK(esrpc_listener_drain(pair.listening, ESRPC_NO_TIMEOUT));
    CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
    esrpc_stats stats = of_listener(pair.listening);
    CHECK(stats.handshakes_ended_by_limit == 1 && stats.handshakes_unfinished == 1 && stats.connections_opened == 2);
    check_runtime_has_the_same(&pair);
    pair_end(&pair);
}

static void held_bytes(void) {
    struct pair pair;
    struct raw client;
    uint8_t *zeros = (uint8_t *)calloc(2, MIB);
    CHECK(zeros != NULL);
    memset(&limits, 0, sizeof limits);
    limits.bytes = MIB;
    limited_begin(&pair);
    pair_listen(&pair);
    adopt(&pair, &client);
    shake_hands(&client);
    await("server protocol CONNECT");
    CHECK(of_listener(pair.listening).holders_ended_by_limit == 0);
    CHECK_OK(esrpc_connection_send_protocol_message(pair.server_connection, ESRPC_MESSAGE_TYPE_PING, 0, NULL,
                                                    bytes(zeros, 2 * MIB), NULL, NULL));
    free(zeros);
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair.server_connection, PATIENCE_MS));
    esrpc_stats stats = of_listener(pair.listening), own = of_connection(pair.server_connection);
    CHECK(stats.holders_ended_by_limit == 1 && stats.outbound_size == 0 && stats.outbound_size_max > 2 * MIB);
    check_same(&stats, &own);
    raw_close(&client);
    pair_end(&pair);
}

/* Connections that failed before they were set up */

static void a_server_that_is_not_there(void) {
    struct pair pair;
    struct raw_listener listener;
    pair_begin(&pair);
    raw_listen(&listener, -1);
    /* A TCP port stays taken without a listener; a Unix socket listens, and its name is not used again. */
    if (over_unix_socket) raw_listener_close(&listener);
    dial_raw(&pair, &pair.client, &listener, &pair.client_connection);
    await("client setup CONNECTION_REFUSED");
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair.client_connection, PATIENCE_MS));
    esrpc_stats stats = of_connection(pair.client_connection), all = of_runtime(pair.client_runtime);
    CHECK(stats.failures_connect == 1 && stats.connections_opened == 1 && stats.connections_open == 0);
    check_same(&stats, &all);
    if (!over_unix_socket) raw_listener_close(&listener);
    pair_end(&pair);
}

static void servers_that_do_not_want_it(void) {
    struct pair pair;
    pair_begin(&pair);
    pair.refuse_connect = true;
    pair_listen(&pair);
    pair_dial(&pair);
    await("client setup HANDSHAKE_REFUSED");
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair.client_connection, PATIENCE_MS));
    await("server shutdown");
    CHECK(of_runtime(pair.client_runtime).failures_refused == 1);
    CHECK(of_listener(pair.listening).connections_refused == 0);
    CHECK(of_listener(pair.listening).handshakes_unfinished == 0);
    pair_end(&pair);

    recorder_clear();
    pair_begin(&pair);
    pair.ignore_connections = true;
    pair_listen(&pair);
    pair_dial(&pair);
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair.client_connection, PATIENCE_MS));
    CHECK_OK(esrpc_listener_drain(pair.listening, ESRPC_NO_TIMEOUT));
    CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
    esrpc_stats server = of_listener(pair.listening);
    CHECK(server.connections_refused == 1 && server.connections_opened == 1 && server.handshakes_unfinished == 1);
    check_runtime_has_the_same(&pair);
    pair_end(&pair);
}

static void setups_that_take_too_long_or_are_given_up(void) {
    for (int give_up = 0; give_up <= 1; give_up++) {
        struct pair pair;
        struct raw_listener listener;
        recorder_clear();
        patient_pair_begin(&pair);
        if (!give_up) CHECK_OK(esrpc_connection_options_set_handshake_timeout_ms(pair.client_options, SHORT_MS));
        raw_listen(&listener, 1);
        dial_raw(&pair, &pair.client, &listener, &pair.client_connection);
        if (give_up) CHECK_OK(esrpc_connection_abort(pair.client_connection));
        CHECK_ENDED(esrpc_connection_wait_shutdown(pair.client_connection, PATIENCE_MS));
        esrpc_stats stats = of_runtime(pair.client_runtime);
        CHECK(stats.failures_cancelled == (uint64_t)give_up && stats.failures_timed_out == (uint64_t)!give_up);
        CHECK(stats.deadline_ends == 0 && stats.connections_opened == 1);
        raw_listener_close(&listener);
        pair_end(&pair);
    }
}

/* TLS */

static void dial_tls(struct pair *pair, esrpc_tls_config *tls) {
    esrpc_client_options *options = pair_client_options(pair);
    CHECK_OK(esrpc_client_options_set_tls(options, tls, esrpc_text("server.example")));
    dial_with(pair, &pair->client, options, &pair->client_connection);
}

static void resumed_sessions_of_tls(void) {
    struct pair pair;
    esrpc_tls_config *tls = client_that_trusts("ca.pem");
    memset(&limits, 0, sizeof limits);
    limits.over_tls = true;
    limited_begin(&pair);
    pair_listen(&pair);
    for (uint64_t resumed = 0; resumed <= 1; resumed++) {
        dial_tls(&pair, tls);
        await_count("client setup OK", (size_t)resumed + 1);
        await_loop(pair.client_connection);
        CHECK(of_connection(pair.client_connection).tls_handshakes == 1);
        CHECK(of_connection(pair.client_connection).tls_resumptions == resumed);
        end_both(&pair);
        esrpc_stats client = of_runtime(pair.client_runtime), server = of_listener(pair.listening);
        CHECK(client.tls_handshakes == resumed + 1 && client.tls_resumptions == resumed);
        CHECK(server.tls_handshakes == resumed + 1 && server.tls_resumptions == resumed);
        /* Of the messages, so both sides see the same. */
        CHECK(client.bytes_sent == server.bytes_received && server.bytes_sent == client.bytes_received);
        esrpc_connection_release(pair.client_connection);
        pair.client_connection = NULL;
    }
    esrpc_tls_config_release(tls);
    pair_end(&pair);
}

static void handshakes_of_tls_that_fail(void) {
    struct pair pair;
    esrpc_tls_config *tls = client_that_trusts("other-ca.pem");
    memset(&limits, 0, sizeof limits);
    limits.over_tls = true;
    limited_begin(&pair);
    pair_listen(&pair);
    dial_tls(&pair, tls);
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair.client_connection, PATIENCE_MS));
    await("listener failed");
    CHECK_OK(esrpc_listener_drain(pair.listening, ESRPC_NO_TIMEOUT));
    CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
    esrpc_stats client = of_runtime(pair.client_runtime), server = of_listener(pair.listening);
    CHECK(client.failures_tls == 1 && client.tls_handshakes == 0);
    CHECK(server.failures_tls == 1 && server.tls_handshakes == 0 && server.connections_opened == 1);
    check_runtime_has_the_same(&pair);
    esrpc_tls_config_release(tls);
    pair_end(&pair);
}

/* The struct */

static void shorter_and_longer_structs(void) {
    union {
        esrpc_stats known;
        uint8_t bytes[sizeof(esrpc_stats) + 64];
    } newer;
    esrpc_stats older;
    struct pair pair;
    pair_open(&pair);
    memset(&older, 0xff, sizeof older);
    older.struct_size = offsetof(esrpc_stats, bytes_received);
    CHECK_OK(esrpc_connection_get_stats(pair.client_connection, &older));
    CHECK(older.struct_size == offsetof(esrpc_stats, bytes_received));
    CHECK(older.messages_received == 1 && older.messages_sent == 1);
    CHECK(older.bytes_received == UINT64_MAX && older.longest_turn_us == UINT64_MAX);

    memset(&newer, 0xff, sizeof newer);
    newer.known.struct_size = sizeof newer;
    CHECK_OK(esrpc_connection_get_stats(pair.client_connection, &newer.known));
    CHECK(newer.known.struct_size == sizeof newer && newer.known.messages_sent == 1);
    for (size_t i = sizeof(esrpc_stats); i < sizeof newer; i++) CHECK(newer.bytes[i] == 0);

    const size_t wrong[] = {0, 1, sizeof(size_t) - 1, sizeof older - 1, 5000, SIZE_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memset(&older, 0xff, sizeof older);
        older.struct_size = wrong[i];
        CHECK_INVALID(esrpc_connection_get_stats(pair.client_connection, &older));
        CHECK(last_error_says("struct_size"));
        CHECK_INVALID(esrpc_listener_get_stats(pair.listening, &older));
        CHECK_INVALID(esrpc_runtime_get_stats(pair.client_runtime, &older));
        CHECK(older.struct_size == wrong[i] && older.messages_received == UINT64_MAX);
    }
    CHECK_INVALID(esrpc_connection_get_stats(pair.client_connection, NULL));
    CHECK_INVALID(esrpc_listener_get_stats(pair.listening, NULL));
    CHECK_INVALID(esrpc_runtime_get_stats(pair.client_runtime, NULL));
    pair_end(&pair);
}

static void a_stopped_runtime_keeps_its_figures(void) {
    struct pair pair;
    esrpc_stats stats = empty_stats();
    pair_open(&pair);
    end_both(&pair);
    CHECK_OK(esrpc_runtime_stop(pair.client_runtime, PATIENCE_MS));
    CHECK(of_runtime(pair.client_runtime).connections_opened == 1);
    CHECK(of_runtime(pair.client_runtime).messages_sent == 1);
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_get_stats(pair.client_connection, &stats));
    esrpc_connection_release(pair.client_connection);
    esrpc_runtime_release(pair.client_runtime);
    CHECK_OK(esrpc_listener_close(pair.listening));
    await("listener closed OK");
    esrpc_listener_release(pair.listening);
    esrpc_connection_release(pair.server_connection);
    CHECK_OK(esrpc_runtime_join(pair.server_runtime, PATIENCE_MS));
    esrpc_runtime_release(pair.server_runtime);
    esrpc_connection_options_release(pair.client_options);
    esrpc_connection_options_release(pair.server_options);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_known_conversation_is_counted_on_both_sides),
        TEST(sums_are_of_all_connections_that_live_and_that_have_ended),
        TEST(sends_that_would_block),
        TEST(abnormal_events),
        TEST(unanswered_ends),
        TEST(pings_above_the_limit),
        TEST(a_server_that_stops_reading),
        TEST(deadlines),
        TEST(connections),
        TEST(handshakes),
        TEST(held_bytes),
        TEST(a_server_that_is_not_there),
        TEST(servers_that_do_not_want_it),
        TEST(setups_that_take_too_long_or_are_given_up),
        TEST(resumed_sessions_of_tls),
        TEST(handshakes_of_tls_that_fail),
        TEST(shorter_and_longer_structs),
        TEST(a_stopped_runtime_keeps_its_figures),
    };
    return RUN_TESTS(tests, argc, argv);
}
