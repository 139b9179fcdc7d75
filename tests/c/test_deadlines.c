/* Every phase has a deadline: against a peer that stalls in just that phase it expires with its own status, neither early nor
   only when the next one would, and with the callbacks that are promised. */
#include "raw_peer.h"

static void a_server_that_lets_nobody_in_is_given_up_after_connect_timeout_ms(void) {
    struct pair pair;
    struct raw_listener listener;
    patient_pair_begin(&pair);
    pair.client.hook = note_end;
    CHECK_OK(esrpc_connection_options_set_connect_timeout_ms(pair.client_options, SHORT_MS));
    raw_listen(&listener, 0);
    raw_fill_backlog(&listener);
    int64_t started = now_ns();
    dial_raw(&pair, &pair.client, &listener, &pair.client_connection);
    check_ends_in_time("client", started, SHORT_MS);
    check_end_message_says(pair.client_connection, "connect_timeout_ms (150 ms)");
    if (over_unix_socket) {
        check_end_message_says(pair.client_connection, listener.name);
        check_end_message_says(pair.client_connection, "backlog is full");
    } else {
        check_end_message_says(pair.client_connection, "127.0.0.1:");
        check_end_message_says(pair.client_connection, "no answer");
    }
    raw_listener_close(&listener);
    pair_end(&pair);
    CHECK_EVENTS("client", "setup CONNECT_TIMED_OUT", "destroy");
}

static void with_the_handshake_option_a_server_that_does_not_answer_connect_is_a_failed_setup(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw server;
    patient_pair_begin(&pair);
    pair.client.hook = note_end;
    CHECK_OK(esrpc_connection_options_set_handshake_timeout_ms(pair.client_options, SHORT_MS));
    raw_listen(&listener, 16);
    int64_t started = now_ns();
    dial_raw(&pair, &pair.client, &listener, &pair.client_connection);
    raw_accept(&listener, &server);
    raw_expect(&server, ESRPC_MESSAGE_TYPE_CONNECT, 0, "connect");
    check_ends_in_time("client", started, SHORT_MS);
    check_end_message_says(pair.client_connection, "handshake_timeout_ms (150 ms): connected, but the "
                                                   "server has sent nothing; it may expect TLS");
    raw_expect_end(&server);
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
    CHECK_EVENTS("client", "setup HANDSHAKE_TIMED_OUT", "destroy");
}

static void without_it_the_connection_that_was_set_up_ends(void) {
    for (int send_connect = 0; send_connect <= 1; send_connect++) {
        struct pair pair;
        struct raw_listener listener;
        struct raw server;
        recorder_clear();
        patient_pair_begin(&pair);
        pair.client.hook = note_end;
        pair.no_handshake = true;
        CHECK_OK(esrpc_connection_options_set_handshake_timeout_ms(pair.client_options, SHORT_MS));
        raw_listen(&listener, 16);
        int64_t started = now_ns();
        dial_raw(&pair, &pair.client, &listener, &pair.client_connection);
        await("client setup OK");
        if (send_connect)
            CHECK_OK(send_protocol(pair.client_connection, ESRPC_MESSAGE_TYPE_CONNECT, 0, "connect", "connect"));
        check_ends_in_time("client", started, SHORT_MS);
        check_end_message_says(pair.client_connection,
                               send_connect ? "connected, but the server has sent nothing"
                                            : "handshake_timeout_ms (150 ms): this side has not sent CONNECT");
        raw_accept(&listener, &server);
        if (send_connect) raw_expect(&server, ESRPC_MESSAGE_TYPE_CONNECT, 0, "connect");
        raw_expect_end(&server);
        raw_close(&server);
        raw_listener_close(&listener);
        pair_end(&pair);
        CHECK_EVENTS("client", "setup OK", "shutdown HANDSHAKE_TIMED_OUT", "destroy");
        CHECK_COUNT((size_t)send_connect, "flush connect OK");
    }
}

static void a_client_that_does_not_send_connect_is_given_up_by_the_server(void) {
    struct pair pair;
    struct raw client;
    patient_pair_begin(&pair);
    pair.server.hook = note_end;
    CHECK_OK(esrpc_connection_options_set_handshake_timeout_ms(pair.server_options, SHORT_MS));
    pair_listen(&pair);
    int64_t started = now_ns();
    raw_dial(&client, &pair);
    await("server accepted");
    check_ends_in_time("server", started, SHORT_MS);
    check_end_message_says(pair.server_connection, "handshake_timeout_ms (150 ms): the client has sent nothing");
    raw_expect_end(&client);
    raw_close(&client);
    pair_end(&pair);
    CHECK_EVENTS("server", "accepted", "shutdown HANDSHAKE_TIMED_OUT", "destroy");
}

static void so_is_one_whose_connect_the_application_does_not_answer(void) {
    struct pair pair;
    struct raw client;
    patient_pair_begin(&pair);
    pair.server.hook = note_end;
    pair.ignore_connect = true;
    CHECK_OK(esrpc_connection_options_set_handshake_timeout_ms(pair.server_options, SHORT_MS));
    pair_listen(&pair);
    int64_t started = now_ns();
    raw_dial(&client, &pair);
    raw_send_connect(&client);
    await("server protocol CONNECT connect");
    check_ends_in_time("server", started, SHORT_MS);
    check_end_message_says(pair.server_connection, "this side has not answered CONNECT with CONNECT_ACK");
    raw_expect_end(&client);
    raw_close(&client);
    pair_end(&pair);
    CHECK_EVENTS("server", "accepted", "protocol CONNECT connect", "shutdown HANDSHAKE_TIMED_OUT", "destroy");
}

/* More than the peer's system takes, with a peer that reads none of it. */
static void a_client_whose_server_takes_nothing_ends_after_write_timeout_ms(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw server;
    struct party call = a_party("call", NULL, NULL);
    struct gate gate;
    patient_pair_begin(&pair);
    pair.client.hook = note_end;
    CHECK_OK(esrpc_connection_options_set_write_timeout_ms(pair.client_options, SHORT_MS));
    serve_client(&pair, &listener, &server);
    hold_loop(pair.client_connection, &gate); /* until all is said, however long that takes */
    esrpc_stream *stream = open_stream(pair.client_connection, &call);
    CHECK_OK(send_zeros(stream, TOO_MUCH, "zeros"));
    CHECK_OK(ping(pair.client_connection, "late", "ping"));
    int64_t started = now_ns();
    gate_open(&gate);
    check_ends_in_time("client", started, SHORT_MS);
    check_end_message_says(pair.client_connection, "write_timeout_ms (150 ms)");
    esrpc_stream_release(stream);
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
    CHECK_ONCE("flush zeros WRITE_TIMED_OUT");
    CHECK_BEFORE("flush zeros", "flush ping WRITE_TIMED_OUT");
    CHECK_BEFORE("flush ping", "call closed");
    CHECK_BEFORE("call closed", "client shutdown");
    CHECK_EVENTS("call", "closed WRITE_TIMED_OUT", "destroy");
    CHECK_EVENTS("client", "setup OK", "shutdown WRITE_TIMED_OUT", "destroy");
}

static void so_does_a_server_whose_client_takes_nothing(void) {
    struct pair pair;
    struct raw client;
    patient_pair_begin(&pair);
    pair.server.hook = note_end;
    pair.keep_streams = true;
    CHECK_OK(esrpc_connection_options_set_write_timeout_ms(pair.server_options, SHORT_MS));
    call_server(&pair, &client);
    raw_send_message(&client, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 1, "test#Operation", "first");
    await("handler message first");
    int64_t started = now_ns();
    CHECK_OK(send_zeros(pair.handler_stream, TOO_MUCH, "zeros"));
    check_ends_in_time("server", started, SHORT_MS);
    raw_close(&client);
    pair_end(&pair);
    CHECK_ONCE("flush zeros WRITE_TIMED_OUT");
    CHECK_EVENTS("handler", "accepted", "message first", "closed WRITE_TIMED_OUT", "destroy");
}

/* How long a stream's message with such a payload is. */
static size_t raw_message_len(size_t payload_len) {
    esrpc_buffer *empty = raw_message(ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 1, NULL, bytes(NULL, 0));
    size_t len = esrpc_buffer_get_bytes(empty).len + payload_len;
    esrpc_buffer_release(empty);
    return len;
}

/* The peer takes a little, again and again, for longer than the deadline. */
static void a_write_that_goes_on_slowly_is_not_stalled(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw server;
    struct party call = a_party("call", NULL, NULL);
    patient_pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_write_timeout_ms(pair.client_options, SHORT_MS * 4));
    CHECK_OK(esrpc_connection_options_set_socket_buffers(pair.client_options, 64 * 1024, 0));
    serve_client(&pair, &listener, &server);
    /* A system that sees somebody read would make the buffer as large as all that is sent. */
    int receive_buffer = 64 * 1024;
    CHECK(setsockopt(server.descriptor, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer) == 0);
    esrpc_stream *stream = open_stream(pair.client_connection, &call);
    esrpc_message_release(raw_await_message(&server, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE));
    CHECK_OK(send_zeros(stream, TOO_MUCH, "zeros"));
    size_t left = raw_message_len(TOO_MUCH);
    int64_t started = now_ns();
    while (now_ns() - started < (int64_t)SHORT_MS * 8 * 1000000) {
        CHECK(raw_read(&server, 16 * 1024) > 0);
        left -= server.len;
        server.len = 0;
        pass_time(SHORT_MS / 5);
    }
    CHECK(esrpc_connection_is_open(pair.client_connection));
    for (; left > 0; server.len = 0) {
        CHECK(raw_read(&server, 1024 * 1024) > 0);
        left -= server.len;
    }
    await("flush zeros OK");
    esrpc_stream_release(stream);
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
}

/* The first bytes of a message of that length. */
static void send_beginning(struct raw *raw, size_t payload_len, size_t len) {
    uint8_t *zeros = (uint8_t *)calloc(payload_len, 1);
    esrpc_buffer *message;
    CHECK(zeros != NULL);
    message = raw_message(ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, bytes(zeros, payload_len));
    CHECK(esrpc_buffer_get_bytes(message).len > len);
    CHECK(raw_send(raw, esrpc_buffer_get_bytes(message).data, len));
    esrpc_buffer_release(message);
    free(zeros);
}

static void a_client_does_not_wait_longer_than_message_timeout_ms_for_the_rest_of_a_message(void) {
    static const size_t lens[] = {1, 11, 12, 50};
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        struct pair pair;
        struct raw_listener listener;
        struct raw server;
        recorder_clear();
        patient_pair_begin(&pair);
        pair.client.hook = note_end;
        CHECK_OK(esrpc_connection_options_set_message_timeout_ms(pair.client_options, SHORT_MS));
        serve_client(&pair, &listener, &server);
        int64_t started = now_ns();
        raw_send_message(&server, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "whole");
        send_beginning(&server, 100, lens[i]);
        check_ends_in_time("client", started, SHORT_MS);
        check_end_message_says(pair.client_connection, "message_timeout_ms");
        raw_expect_end(&server);
        raw_close(&server);
        raw_listener_close(&listener);
        pair_end(&pair);
        CHECK_EVENTS("client", "setup OK", "protocol PING whole", "shutdown MESSAGE_TIMED_OUT", "destroy");
    }
}

/* Bytes come all the time, but not the end of the message: a server is not held up by that either. */
static void a_message_that_trickles_in_is_too_late_all_the_same(void) {
    struct pair pair;
    struct raw client;
    patient_pair_begin(&pair);
    pair.server.hook = note_end;
    CHECK_OK(esrpc_connection_options_set_message_timeout_ms(pair.server_options, SHORT_MS));
    call_server(&pair, &client);
    int64_t started = now_ns();
    send_beginning(&client, 50000, 100);
    for (size_t i = 0; i < 49000 && count_of("ended server") == 0; i++) {
        struct pollfd end;
        end.fd = client.descriptor;
        end.events = POLLIN;
        if (!raw_send(&client, "", 1) || poll(&end, 1, 5) == 1) break;
    }
    check_ends_in_time("server", started, SHORT_MS);
    raw_close(&client);
    pair_end(&pair);
    CHECK_ONCE("server shutdown MESSAGE_TIMED_OUT");
}

/* Reads that always end inside a message, for longer than the deadline of one. */
static void each_message_has_its_own_time(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw server;
    patient_pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_message_timeout_ms(pair.client_options, SHORT_MS * 4));
    serve_client(&pair, &listener, &server);
    esrpc_buffer *message = raw_message(ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, esrpc_text("whole"));
    esrpc_bytes data = esrpc_buffer_get_bytes(message);
    size_t half = data.len / 2;
    size_t count = 0;
    int64_t started = now_ns();
    CHECK(raw_send(&server, data.data, half));
    while (now_ns() - started < (int64_t)SHORT_MS * 8 * 1000000) {
        uint8_t end_and_beginning[200];
        memcpy(end_and_beginning, data.data + half, data.len - half);
        memcpy(end_and_beginning + data.len - half, data.data, half);
        CHECK(raw_send(&server, end_and_beginning, data.len));
        await_count("client protocol PING whole", ++count);
        pass_time(SHORT_MS / 5);
    }
    CHECK(esrpc_connection_is_open(pair.client_connection));
    esrpc_buffer_release(message);
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
    CHECK_NEVER("client shutdown MESSAGE_TIMED_OUT");
}

static void a_large_message_gets_a_second_more_for_each_64_kib(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw server;
    patient_pair_begin(&pair);
    pair.client.hook = note_end;
    CHECK_OK(esrpc_connection_options_set_message_timeout_ms(pair.client_options, SHORT_MS));
    serve_client(&pair, &listener, &server);
    int64_t started = now_ns();
    send_beginning(&server, 70000, 69000);
    check_ends_in_time("client", started, SHORT_MS + 1000);
    check_end_message_says(pair.client_connection, "69000 of 70071 bytes have come");
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
    CHECK_ONCE("client shutdown MESSAGE_TIMED_OUT");
}

static void a_connection_on_which_nothing_happens_ends_after_idle_timeout_ms(void) {
    for (int on_server = 0; on_server <= 1; on_server++) {
        struct pair pair;
        recorder_clear();
        patient_pair_begin(&pair);
        struct party *waiting = on_server ? &pair.server : &pair.client;
        waiting->hook = note_end;
        CHECK_OK(esrpc_connection_options_set_idle_timeout_ms(on_server ? pair.server_options : pair.client_options,
                                                              SHORT_MS));
        pair_connect(&pair);
        int64_t started = now_ns();
        CHECK_OK(ping(pair.client_connection, "traffic", NULL));
        check_ends_in_time(waiting->name, started, SHORT_MS);
        check_end_message_says(on_server ? pair.server_connection : pair.client_connection, "idle_timeout_ms (150 ms)");
        await(on_server ? "client shutdown PEER_CLOSED" : "server shutdown PEER_CLOSED");
        pair_end(&pair);
        CHECK_ONCE(on_server ? "server shutdown IDLE_TIMED_OUT" : "client shutdown IDLE_TIMED_OUT");
    }
}

/* The loop was busy for longer than the deadline, while the system connected. */
static void a_connection_that_came_while_the_loop_was_busy_is_not_late(void) {
    /* The system asks again after a second, and a loop does not make so many rounds before it looks at its sockets. */
    enum { DEADLINE_MS = 1500, ROUNDS = 20 };
    struct pair pair;
    struct party late = a_party("late", NULL, NULL);
    struct raw_listener listener;
    struct raw filler, server;
    struct gate gate;
    esrpc_connection *connection = NULL;
    int64_t started;
    if (over_unix_socket) return; /* those connect at once */
    patient_pair_begin(&pair);
    pair_connect(&pair);
    raw_listen(&listener, 0);
    raw_fill_backlog(&listener);
    CHECK_OK(esrpc_connection_options_set_connect_timeout_ms(pair.client_options, DEADLINE_MS));
    started = now_ns();
    dial_raw(&pair, &late, &listener, &connection);
    for (int i = 0; i < ROUNDS; i++) await_loop(pair.client_connection);
    hold_loop(pair.client_connection, &gate);
    raw_accept(&listener, &filler);
    raw_accept(&listener, &server);
    while (now_ns() - started < (DEADLINE_MS + 10) * (int64_t)1000000) pass_time(10);
    gate_open(&gate);
    raw_accept_connect(&server);
    await("late setup OK");
    CHECK_OK(esrpc_connection_abort(connection));
    esrpc_connection_release(connection);
    raw_close(&filler);
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_server_that_lets_nobody_in_is_given_up_after_connect_timeout_ms),
        TEST(with_the_handshake_option_a_server_that_does_not_answer_connect_is_a_failed_setup),
        TEST(without_it_the_connection_that_was_set_up_ends),
        TEST(a_client_that_does_not_send_connect_is_given_up_by_the_server),
        TEST(so_is_one_whose_connect_the_application_does_not_answer),
        TEST(a_client_whose_server_takes_nothing_ends_after_write_timeout_ms),
        TEST(so_does_a_server_whose_client_takes_nothing),
        TEST(a_write_that_goes_on_slowly_is_not_stalled),
        TEST(a_client_does_not_wait_longer_than_message_timeout_ms_for_the_rest_of_a_message),
        TEST(a_message_that_trickles_in_is_too_late_all_the_same),
        TEST(each_message_has_its_own_time),
        TEST(a_large_message_gets_a_second_more_for_each_64_kib),
        TEST(a_connection_on_which_nothing_happens_ends_after_idle_timeout_ms),
        TEST(a_connection_that_came_while_the_loop_was_busy_is_not_late),
    };
    return RUN_TESTS(tests, argc, argv);
}
