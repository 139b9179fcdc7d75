/* A server that decides on a CONNECT later, on a thread of its own: until then no message of that client is dispatched. */
#include "raw_peer.h"

/* A server whose CONNECTs are left to the test, and a client that is a plain socket and has sent its CONNECT. */
static void begin_undecided(struct pair *pair, struct raw *raw) {
    patient_pair_begin(pair);
    pair->ignore_connect = true;
    pair_listen(pair);
    raw_dial(raw, pair);
    raw_send_message(raw, ESRPC_MESSAGE_TYPE_CONNECT, 0, 0, NULL, "token");
    await("server protocol CONNECT token");
}

/* The server ends the connection; this side's end saves it the wait for that. */
static void expect_end(struct raw *raw) {
    CHECK(shutdown(raw->descriptor, SHUT_WR) == 0);
    raw_expect_end(raw);
    raw_close(raw);
}

static void expect_protocol_error_and_end(struct raw *raw) {
    esrpc_message_release(raw_await_message(raw, ESRPC_MESSAGE_TYPE_PROTOCOL_ERROR));
    expect_end(raw);
}

struct decision {
    esrpc_connection *connection;
    int32_t flags;
    esrpc_status answer;
};

static void *decide(void *data) {
    struct decision *decision = (struct decision *)data;
    decision->answer =
        send_protocol(decision->connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK, decision->flags, "decided", "decision");
    return NULL;
}

/* Answers CONNECT on another thread; returns what the call there returned. */
static esrpc_status decide_elsewhere(struct pair *pair, int32_t flags) {
    pthread_t thread;
    struct decision decision;
    decision.connection = pair->server_connection;
    decision.flags = flags;
    decision.answer = ESRPC_OK;
    CHECK(pthread_create(&thread, NULL, decide, &decision) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    return decision.answer;
}

static void the_application_may_accept_later_from_another_thread(void) {
    struct pair pair;
    struct raw raw;
    begin_undecided(&pair, &raw);
    /* The connection is open, but nothing else can be said before the decision. */
    CHECK(esrpc_connection_is_open(pair.server_connection));
    CHECK_STATUS(ESRPC_ERROR_HANDSHAKE_PENDING, ping(pair.server_connection, "early", NULL));
    CHECK_OK(decide_elsewhere(&pair, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED));
    await("flush decision OK");
    raw_expect(&raw, ESRPC_MESSAGE_TYPE_CONNECT_ACK, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, "decided");
    CHECK_STATUS(ESRPC_ERROR_HANDSHAKE_ALREADY_DONE, decide_elsewhere(&pair, 0));
    raw_send_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 1, "test#Operation", "first");
    await("server stream first");
    raw_close(&raw);
    pair_end(&pair);
    CHECK_BEFORE("server protocol CONNECT", "flush decision OK");
}

static void the_application_may_refuse_later_from_another_thread(void) {
    struct pair pair;
    struct raw raw;
    begin_undecided(&pair, &raw);
    CHECK_OK(decide_elsewhere(&pair, 0));
    raw_expect(&raw, ESRPC_MESSAGE_TYPE_CONNECT_ACK, 0, "decided");
    expect_end(&raw);
    await("server shutdown OK");
    pair_end(&pair);
    CHECK_EVENTS("server", "accepted", "protocol CONNECT token", "shutdown OK", "destroy");
}

/* What comes before the decision breaks the protocol, whatever it is, and reaches no callback. */
static void what_a_client_sends_before_the_decision_is_a_violation(void) {
    for (int kind = 0; kind < 3; kind++) {
        struct pair pair;
        struct raw raw;
        recorder_clear();
        begin_undecided(&pair, &raw);
        if (kind == 0)
            raw_send_message(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 1, "test#Operation", "early");
        else if (kind == 1)
            raw_send_message(&raw, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "early");
        else
            raw_send_message(&raw, ESRPC_MESSAGE_TYPE_CONNECT, 0, 0, NULL, "again");
        expect_protocol_error_and_end(&raw);
        await("server shutdown PROTOCOL_VIOLATION");
        CHECK(decide_elsewhere(&pair, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED) == ESRPC_ERROR_CONNECTION_CLOSED);
        pair_end(&pair);
        CHECK_EVENTS("server", "accepted", "protocol CONNECT token", "shutdown PROTOCOL_VIOLATION", "destroy");
    }
}

/* Nor does it when it came in one piece with CONNECT. */
static void what_comes_together_with_connect_is_not_dispatched(void) {
    struct pair pair;
    struct raw raw;
    esrpc_buffer *both[2];
    patient_pair_begin(&pair);
    pair.ignore_connect = true;
    pair_listen(&pair);
    raw_dial(&raw, &pair);
    both[0] = raw_message(ESRPC_MESSAGE_TYPE_CONNECT, 0, 0, NULL, esrpc_text("token"));
    both[1] = raw_message(ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 1, "test#Operation", esrpc_text("early"));
    raw_send_together(&raw, both, 2);
    expect_protocol_error_and_end(&raw);
    pair_end(&pair);
    CHECK_EVENTS("server", "accepted", "protocol CONNECT token", "shutdown PROTOCOL_VIOLATION", "destroy");
}

static void a_decision_that_takes_too_long_ends_the_connection(void) {
    struct pair pair;
    struct raw raw;
    int64_t started;
    patient_pair_begin(&pair);
    pair.ignore_connect = true;
    pair.server.hook = note_end;
    CHECK_OK(esrpc_connection_options_set_handshake_timeout_ms(pair.server_options, SHORT_MS));
    started = now_ns();
    pair_listen(&pair);
    raw_dial(&raw, &pair);
    raw_send_message(&raw, ESRPC_MESSAGE_TYPE_CONNECT, 0, 0, NULL, "token");
    check_ends_in_time("server", started, SHORT_MS);
    CHECK(decide_elsewhere(&pair, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED) == ESRPC_ERROR_CONNECTION_CLOSED);
    raw_expect_end(&raw);
    raw_close(&raw);
    pair_end(&pair);
    CHECK_ONCE("server shutdown HANDSHAKE_TIMED_OUT");
    CHECK_NEVER("flush decision");
}

static void a_client_that_leaves_before_the_decision_is_noticed(void) {
    struct pair pair;
    struct raw raw;
    begin_undecided(&pair, &raw);
    raw_close(&raw);
    await("server shutdown PEER_CLOSED");
    CHECK(decide_elsewhere(&pair, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED) == ESRPC_ERROR_CONNECTION_CLOSED);
    pair_end(&pair);
    CHECK_NEVER("flush decision");
}

/* The library's client is set up by the decision, not before. */
static void the_clients_setup_waits_for_the_decision(void) {
    struct pair pair;
    patient_pair_begin(&pair);
    pair.ignore_connect = true;
    pair_listen(&pair);
    pair_dial(&pair);
    await("server protocol CONNECT connect");
    CHECK_NEVER("client setup");
    CHECK_OK(decide_elsewhere(&pair, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED));
    await("client setup OK");
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(the_application_may_accept_later_from_another_thread),
        TEST(the_application_may_refuse_later_from_another_thread),
        TEST(what_a_client_sends_before_the_decision_is_a_violation),
        TEST(what_comes_together_with_connect_is_not_dispatched),
        TEST(a_decision_that_takes_too_long_ends_the_connection),
        TEST(a_client_that_leaves_before_the_decision_is_noticed),
        TEST(the_clients_setup_waits_for_the_decision),
    };
    return RUN_TESTS(tests, argc, argv);
}
