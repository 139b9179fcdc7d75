/* Promise 13, sending: the outbound queue is bounded, and who was refused is told when there is room. */
#include "harness.h"

enum { LIMIT = 4000 };

static void begin_bounded(struct pair *pair) {
    pair_begin(pair);
    pair->keep_streams = true;
    CHECK_OK(esrpc_connection_options_set_outbound_limit(pair->client_options, LIMIT));
    CHECK_OK(esrpc_connection_options_set_outbound_limit(pair->server_options, LIMIT));
    pair_connect(pair);
}

/* Pings until one is refused; answers how many were accepted. The loop must be held. */
static size_t fill(esrpc_connection *connection) {
    size_t accepted = 0;
    esrpc_status status;
    while ((status = ping(connection, "filler", "filler")) == ESRPC_OK) accepted++;
    CHECK(status == ESRPC_ERROR_WOULD_BLOCK);
    CHECK(esrpc_connection_get_outbound_size(connection) >= LIMIT);
    return accepted;
}

static void check_room(struct party *self, const struct moment *now) {
    esrpc_connection *connection = now->connection;
    (void)self;
    if (now->stream != NULL) connection = esrpc_stream_get_connection(now->stream);
    if (is(now, "writable")) CHECK(esrpc_connection_get_outbound_size(connection) <= LIMIT / 2);
}

static void a_send_into_a_full_queue_is_refused_and_on_writable_follows_when_half_is_free(void) {
    struct pair pair;
    struct gate gate;
    size_t accepted, size;
    begin_bounded(&pair);
    pair.client.hook = check_room;
    hold_loop(pair.client_connection, &gate);
    accepted = fill(pair.client_connection);
    size = esrpc_connection_get_outbound_size(pair.client_connection);
    for (int i = 0; i < 10; i++)
        CHECK_STATUS(ESRPC_ERROR_WOULD_BLOCK, ping(pair.client_connection, "refused", "refused"));
    CHECK(esrpc_connection_get_outbound_size(pair.client_connection) == size);
    CHECK_NEVER("client writable");
    gate_open(&gate);
    await("client writable");
    CHECK_OK(ping(pair.client_connection, "after", "after"));
    await("server protocol PING after");
    await("flush after OK");
    pair_end(&pair);
    CHECK_ONCE("client writable"); /* once, however often it was refused */
    CHECK_COUNT(accepted, "server protocol PING filler");
    CHECK_COUNT(accepted, "flush filler OK");
    CHECK_NEVER("flush refused");
    CHECK_NEVER("server protocol PING refused");
}

static void each_episode_of_refusals_ends_with_one_on_writable(void) {
    struct pair pair;
    begin_bounded(&pair);
    for (size_t episode = 1; episode <= 3; episode++) {
        struct gate gate;
        hold_loop(pair.client_connection, &gate);
        fill(pair.client_connection);
        gate_open(&gate);
        await_count("client writable", episode);
    }
    pair_end(&pair);
    CHECK_COUNT(3, "client writable");
}

static void on_writable_is_not_called_when_nothing_was_refused(void) {
    struct pair pair;
    struct gate gate;
    begin_bounded(&pair);
    hold_loop(pair.client_connection, &gate);
    while (esrpc_connection_get_outbound_size(pair.client_connection) < LIMIT)
        CHECK_OK(ping(pair.client_connection, "", "ping"));
    gate_open(&gate);
    CHECK_OK(esrpc_connection_wait_flush(pair.client_connection, PATIENCE_MS));
    pair_end(&pair);
    CHECK_NEVER("client writable");
}

static void each_stream_that_was_refused_gets_one_on_writable_and_no_other(void) {
    struct pair pair;
    struct party refused = a_party("refused", check_room, NULL), quiet = a_party("quiet", NULL, NULL);
    struct party ended = a_party("ended", NULL, NULL);
    struct gate gate;
    esrpc_stream *a, *b, *c;
    begin_bounded(&pair);
    a = open_stream(pair.client_connection, &refused);
    b = open_stream(pair.client_connection, &quiet);
    c = open_stream(pair.client_connection, &ended);
    await_count("handler message first", 3);
    hold_loop(pair.client_connection, &gate);
    fill(pair.client_connection);
    for (int i = 0; i < 3; i++) CHECK_STATUS(ESRPC_ERROR_WOULD_BLOCK, send_text(a, 0, "more", "refused"));
    CHECK_STATUS(ESRPC_ERROR_WOULD_BLOCK, send_text(c, 0, "more", "refused"));
    CHECK_OK(esrpc_stream_close(c)); /* it has nothing to say any more */
    gate_open(&gate);
    await("client writable");
    await("refused writable");
    CHECK_OK(send_text(a, 0, "again", "again"));
    await("handler message again");
    await("ended closed OK");
    esrpc_stream_release(a);
    esrpc_stream_release(b);
    esrpc_stream_release(c);
    pair_end(&pair);
    CHECK_ONCE("client writable");
    CHECK_ONCE("refused writable");
    CHECK_NEVER("quiet writable");
    CHECK_NEVER("ended writable");
    CHECK_NEVER("flush refused");
    CHECK_NEVER("handler message more");
}

static void a_refused_activation_takes_no_id_and_may_be_repeated(void) {
    struct pair pair;
    struct party first = a_party("first", NULL, NULL), late = a_party("late", NULL, NULL);
    struct gate gate;
    esrpc_stream *a, *b;
    begin_bounded(&pair);
    a = open_stream(pair.client_connection, &first);
    b = new_stream(pair.client_connection, &late);
    await("handler message first");
    CHECK(esrpc_stream_get_id(a) == 1);
    hold_loop(pair.client_connection, &gate);
    fill(pair.client_connection);
    CHECK_STATUS(ESRPC_ERROR_WOULD_BLOCK, activate(b, 0, "late", "refused"));
    CHECK(esrpc_stream_get_id(b) == 0);
    CHECK(esrpc_stream_get_state(b) == ESRPC_STREAM_STATE_NEW);
    gate_open(&gate);
    await("late writable");
    CHECK_OK(activate(b, 0, "late", "repeated"));
    CHECK(esrpc_stream_get_id(b) == 2);
    await("handler message late");
    await("flush repeated OK");
    CHECK(esrpc_stream_get_id(pair.handler_stream) == 2);
    esrpc_stream_release(a);
    esrpc_stream_release(b);
    pair_end(&pair);
    CHECK_ONCE("late writable");
    CHECK_NEVER("flush refused");
}

static void an_empty_last_message_is_never_refused(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_headers *headers = esrpc_headers_new();
    struct gate gate;
    esrpc_stream *a, *b;
    begin_bounded(&pair);
    a = open_stream(pair.client_connection, &party);
    b = open_stream(pair.client_connection, &party);
    await_count("handler message first", 2);
    CHECK_OK(esrpc_headers_add_bool(headers, esrpc_text("h"), true));
    hold_loop(pair.client_connection, &gate);
    fill(pair.client_connection);
    CHECK_STATUS(ESRPC_ERROR_WOULD_BLOCK, send_text(a, LAST, "not empty", "refused"));
    CHECK_STATUS(ESRPC_ERROR_WOULD_BLOCK, esrpc_stream_send_message(a, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, LAST, headers,
                                                                     esrpc_text(NULL), on_flush, (void *)"refused"));
    CHECK_STATUS(ESRPC_ERROR_WOULD_BLOCK, send_protocol(pair.client_connection, ESRPC_MESSAGE_TYPE_PING, LAST, "", "refused"));
    CHECK_OK(send_text(a, LAST, "", "end"));
    CHECK_OK(esrpc_stream_close(b));
    gate_open(&gate);
    await_count("call closed OK", 2);
    esrpc_headers_release(headers);
    esrpc_stream_release(a);
    esrpc_stream_release(b);
    pair_end(&pair);
    CHECK_ONCE("flush end OK");
    CHECK_NEVER("flush refused");
}

static void one_message_larger_than_the_limit_may_go_at_a_time(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    struct gate gate;
    esrpc_stream *stream;
    begin_bounded(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK_OK(esrpc_connection_wait_flush(pair.client_connection, PATIENCE_MS));
    hold_loop(pair.client_connection, &gate);
    CHECK_OK(send_zeros(stream, 10 * LIMIT, "large"));
    CHECK_STATUS(ESRPC_ERROR_WOULD_BLOCK, send_zeros(stream, 10 * LIMIT, "large"));
    gate_open(&gate);
    await("call writable");
    await("handler message 40000 bytes");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_COUNT(1, "flush large OK");
}

static void a_server_is_refused_and_gets_an_alert_in_the_same_way(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    struct gate gate;
    esrpc_stream *stream;
    begin_bounded(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    hold_loop(pair.server_connection, &gate);
    fill(pair.server_connection);
    CHECK_STATUS(ESRPC_ERROR_WOULD_BLOCK, send_text(pair.handler_stream, 0, "more", "refused"));
    gate_open(&gate);
    await("server writable");
    await("handler writable");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_ONCE("server writable");
    CHECK_ONCE("handler writable");
}

static void fill_when_a_stream_comes(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "stream")) fill(now->connection);
}

static void what_the_library_sends_itself_is_not_refused(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream;
    pair_begin(&pair);
    pair.ignore_streams = true;
    pair.server.hook = fill_when_a_stream_comes;
    CHECK_OK(esrpc_connection_options_set_outbound_limit(pair.server_options, LIMIT));
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("call closed OK"); /* by the refusal, which stood behind a full queue */
    CHECK_ONCE("call error");
    esrpc_stream_release(stream);
    pair_end(&pair);
}

static void send_until_full(struct party *self, const struct moment *now) {
    int *left = (int *)self->data;
    if (!is(now, "writable")) return;
    while (*left > 0 && send_text(now->stream, 0, "paced", NULL) == ESRPC_OK) --*left;
    if (*left == 0) esrpc_stream_close(now->stream);
}

static void on_writable_is_enough_to_send_any_amount(void) {
    struct pair pair;
    int left = 3000;
    struct party party = a_party("call", send_until_full, &left);
    struct gate gate;
    esrpc_stream *stream;
    begin_bounded(&pair);
    stream = open_stream(pair.client_connection, &party);
    hold_loop(pair.client_connection, &gate);
    fill(pair.client_connection);
    CHECK_STATUS(ESRPC_ERROR_WOULD_BLOCK, send_text(stream, 0, "refused", NULL));
    gate_open(&gate);
    await("call closed OK");
    await("handler closed OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK(left == 0);
    CHECK_COUNT(3000, "handler message paced");
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_send_into_a_full_queue_is_refused_and_on_writable_follows_when_half_is_free),
        TEST(each_episode_of_refusals_ends_with_one_on_writable),
        TEST(on_writable_is_not_called_when_nothing_was_refused),
        TEST(each_stream_that_was_refused_gets_one_on_writable_and_no_other),
        TEST(a_refused_activation_takes_no_id_and_may_be_repeated),
        TEST(an_empty_last_message_is_never_refused),
        TEST(one_message_larger_than_the_limit_may_go_at_a_time),
        TEST(a_server_is_refused_and_gets_an_alert_in_the_same_way),
        TEST(what_the_library_sends_itself_is_not_refused),
        TEST(on_writable_is_enough_to_send_any_amount),
    };
    return RUN_TESTS(tests, argc, argv);
}
