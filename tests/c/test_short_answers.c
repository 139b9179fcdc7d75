/* What makes a small server small: the library answers CONNECT, a call is answered by one function, an error by another. */
#include "harness.h"

/* The listener's gatekeeper: what it does, and with whom. */
static struct {
    bool accepts, answers, closes;
    int calls;
} gate_plan;

/* A server that leaves CONNECT to the library. */
static void begin_hosted(struct pair *pair, void (*prepare)(esrpc_listener_options *)) {
    pair_begin(pair);
    pair->ignore_connect = true;
    pair->prepare_listener = prepare;
    memset(&gate_plan, 0, sizeof gate_plan);
}

static void accept_every_client(esrpc_listener_options *options) {
    CHECK_OK(esrpc_listener_options_set_handshake(options, NULL, NULL));
}

static void every_client_is_accepted_without_a_callback(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    begin_hosted(&pair, accept_every_client);
    pair_connect(&pair);
    const esrpc_message *ack = esrpc_connection_get_connect_ack(pair.client_connection);
    CHECK(esrpc_message_get_flags(ack) == ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED);
    CHECK(esrpc_message_get_payload(ack).len == 0);
    esrpc_stream *stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    /* Other messages come as always. */
    CHECK_OK(ping(pair.client_connection, "hello", NULL));
    await("server protocol PING hello");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_NEVER("server protocol CONNECT connect");
}

static bool decide(esrpc_connection *connection, const esrpc_message *connect, void *user_data) {
    CHECK(user_data == &gate_plan);
    CHECK(esrpc_message_get_type(connect) == ESRPC_MESSAGE_TYPE_CONNECT);
    CHECK(is_text(esrpc_message_get_payload(connect), "connect"));
    CHECK(esrpc_connection_is_open(connection));
    gate_plan.calls++;
    if (gate_plan.answers) {
        int32_t flags = ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED;
        CHECK_OK(send_protocol(connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK, flags, "by hand", NULL));
    }
    if (gate_plan.closes) CHECK_OK(esrpc_connection_close(connection, 1234));
    note("decided");
    return gate_plan.accepts;
}

static void ask(esrpc_listener_options *options) {
    CHECK_OK(esrpc_listener_options_set_handshake(options, decide, &gate_plan));
}

static void a_callback_accepts_a_client(void) {
    struct pair pair;
    begin_hosted(&pair, ask);
    gate_plan.accepts = true;
    pair_connect(&pair);
    pair_end(&pair);
    CHECK(gate_plan.calls == 1);
}

static void a_callback_refuses_a_client(void) {
    struct pair pair;
    begin_hosted(&pair, ask);
    pair_listen(&pair);
    pair_dial(&pair);
    await("client setup HANDSHAKE_REFUSED");
    await("server shutdown OK");
    pair_end(&pair);
    CHECK(gate_plan.calls == 1);
}

static void a_callback_may_answer_with_a_message_of_its_own(void) {
    struct pair pair;
    begin_hosted(&pair, ask);
    gate_plan.answers = true;
    pair_connect(&pair);
    const esrpc_message *ack = esrpc_connection_get_connect_ack(pair.client_connection);
    CHECK(is_text(esrpc_message_get_payload(ack), "by hand"));
    pair_end(&pair);
}

static void a_callback_may_close_the_connection(void) {
    struct pair pair;
    begin_hosted(&pair, ask);
    gate_plan.accepts = gate_plan.closes = true;
    pair_listen(&pair);
    pair_dial(&pair);
    await("server shutdown 1234");
    await("client setup PEER_CLOSED");
    pair_end(&pair);
}

/* Hooks of the server. */
static void reply_at_once(struct party *self, const struct moment *now) {
    (void)self;
    if (!is(now, "stream")) return;
    CHECK_OK(esrpc_stream_reply(now->stream, NULL, esrpc_message_get_payload(now->message)));
    CHECK(esrpc_stream_get_state(now->stream) == ESRPC_STREAM_STATE_CLOSED);
    CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, esrpc_stream_reply(now->stream, NULL, esrpc_text("again")));
    CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, esrpc_stream_fail(now->stream, esrpc_text(NULL), esrpc_text("again")));
    esrpc_stream_callbacks callbacks = stream_callbacks();
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_stream_accept(now->stream, &callbacks, NULL));
}

static void fail_at_once(struct party *self, const struct moment *now) {
    (void)self;
    if (!is(now, "stream")) return;
    CHECK_STATUS(ESRPC_ERROR_INVALID_UTF8, esrpc_stream_fail(now->stream, bytes("\xff", 1), esrpc_text("no")));
    CHECK_STATUS(ESRPC_ERROR_INVALID_UTF8, esrpc_stream_fail(now->stream, esrpc_text(NULL), bytes("\xff", 1)));
    CHECK_OK(esrpc_stream_fail(now->stream, esrpc_text("awstest#ServiceError"), esrpc_text("say \"please\"")));
}

static void open_unaccepted(struct pair *pair, void (*hook)(struct party *, const struct moment *)) {
    pair_begin(pair);
    pair->ignore_streams = true;
    pair->server.hook = hook;
    pair_connect(pair);
}

static void a_call_is_answered_without_accepting_its_stream(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    open_unaccepted(&pair, reply_at_once);
    esrpc_message *reply = NULL;
    CHECK_OK(esrpc_connection_call(pair.client_connection, esrpc_text("echo"), NULL, esrpc_text("hello"), PATIENCE_MS,
                                   &reply));
    CHECK(is_text(esrpc_message_get_payload(reply), "hello"));
    CHECK(esrpc_message_get_type(reply) == ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE);
    CHECK(esrpc_message_get_flags(reply) == ESRPC_MESSAGE_FLAG_TERMINATE_STREAM);
    esrpc_message_release(reply);
    esrpc_stream *stream = open_stream(pair.client_connection, &party);
    await("call message first (last)");
    await("call closed OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_NEVER("handler closed OK");
}

static void an_error_has_the_form_that_generated_clients_read(void) {
    struct pair pair;
    open_unaccepted(&pair, fail_at_once);
    esrpc_message *reply = NULL;
    CHECK_STATUS(ESRPC_ERROR_APPLICATION_ERROR, esrpc_connection_call(pair.client_connection, esrpc_text("echo"), NULL,
                                                                      esrpc_text("hello"), PATIENCE_MS, &reply));
    CHECK(strcmp(esrpc_last_error_message(), "the server replied with an error message, awstest#ServiceError; it says: "
                                             "{\"message\":\"say \\\"please\\\"\"}") == 0);
    CHECK(is_text(esrpc_message_get_payload(reply), "{\"message\":\"say \\\"please\\\"\"}"));
    CHECK(esrpc_message_get_flags(reply) == ESRPC_MESSAGE_FLAG_TERMINATE_STREAM);
    const esrpc_headers *headers = esrpc_message_get_headers(reply);
    esrpc_bytes value;
    CHECK_OK(esrpc_headers_get_string(headers, esrpc_text("service-model-type"), &value));
    CHECK(is_text(value, "awstest#ServiceError"));
    CHECK_OK(esrpc_headers_get_string(headers, esrpc_text(":content-type"), &value));
    CHECK(is_text(value, "application/json"));
    esrpc_message_release(reply);
    pair_end(&pair);
}

/* The handler's hook: accepted streams are answered in the same way. */
static void answer_accepted(struct party *self, const struct moment *now) {
    (void)self;
    if (!is(now, "message")) return;
    if (is_text(esrpc_message_get_payload(now->message), "first"))
        CHECK_OK(esrpc_stream_reply(now->stream, NULL, esrpc_text("done")));
    else
        CHECK_OK(esrpc_stream_fail(now->stream, esrpc_text(NULL), esrpc_text(NULL)));
    CHECK(esrpc_stream_get_state(now->stream) == ESRPC_STREAM_STATE_CLOSING);
    CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, esrpc_stream_reply(now->stream, NULL, esrpc_text("again")));
}

static void an_accepted_stream_is_answered_in_the_same_way(void) {
    struct pair pair;
    struct party call = a_party("call", NULL, NULL), other = a_party("other", NULL, NULL);
    pair_begin(&pair);
    pair.handler.hook = answer_accepted;
    pair_connect(&pair);
    esrpc_stream *stream = new_stream(pair.client_connection, &call);
    esrpc_stream *second = new_stream(pair.client_connection, &other);
    CHECK_STATUS(ESRPC_ERROR_STREAM_NOT_ACTIVATED, esrpc_stream_reply(stream, NULL, esrpc_text("early")));
    CHECK_OK(activate(stream, 0, "first", NULL));
    CHECK_OK(activate(second, 0, "second", NULL));
    await("call message done (last)");
    await("call closed OK");
    await("other error {\"message\":\"\"} (last)");
    await("other closed OK");
    await("handler closed OK");
    esrpc_stream_release(stream);
    esrpc_stream_release(second);
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(every_client_is_accepted_without_a_callback),
        TEST(a_callback_accepts_a_client),
        TEST(a_callback_refuses_a_client),
        TEST(a_callback_may_answer_with_a_message_of_its_own),
        TEST(a_callback_may_close_the_connection),
        TEST(a_call_is_answered_without_accepting_its_stream),
        TEST(an_error_has_the_form_that_generated_clients_read),
        TEST(an_accepted_stream_is_answered_in_the_same_way),
    };
    return RUN_TESTS(tests, argc, argv);
}
