/* What a server takes and refuses: connections and streams, only inside the callback that announces them. */
#include "harness.h"

static void accept_again(struct party *self, const struct moment *now) {
    esrpc_connection_callbacks callbacks = connection_callbacks();
    esrpc_stream_callbacks of_stream = stream_callbacks();
    if (is(now, "incoming"))
        CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_connection_accept(now->connection, &callbacks, self));
    if (is(now, "stream")) {
        CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_stream_accept(now->stream, &of_stream, self));
        CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_stream_refuse(now->stream, NULL, esrpc_text("no")));
    }
}

static void what_was_accepted_cannot_be_accepted_or_refused_again(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream;
    pair_begin(&pair);
    pair.listener.hook = pair.server.hook = accept_again;
    pair_connect(&pair);
    stream = new_stream(pair.client_connection, &party);
    CHECK_OK(activate(stream, LAST, "only", NULL));
    await("handler closed OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_NEVER("call error");
}

static void accepting_outside_the_callback_returns_invalid_state(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_connection_callbacks callbacks = connection_callbacks();
    esrpc_stream_callbacks of_stream = stream_callbacks();
    esrpc_stream *stream;
    pair_begin(&pair);
    pair.keep_streams = true;
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_connection_accept(pair.server_connection, &callbacks, &pair.server));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_connection_accept(pair.client_connection, &callbacks, &pair.server));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_stream_accept(pair.handler_stream, &of_stream, &pair.handler));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_stream_accept(stream, &of_stream, &pair.handler));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_stream_refuse(pair.handler_stream, NULL, esrpc_text(NULL)));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_stream_refuse(stream, NULL, esrpc_text(NULL)));
    esrpc_stream_release(stream);
    pair_end(&pair);
}

/* Handles of what was not accepted may be kept, but they are of no use any longer. */
static esrpc_connection *kept_connection;
static esrpc_stream *kept_stream;

static void keep_only(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "incoming")) kept_connection = esrpc_connection_acquire(now->connection);
    if (is(now, "stream")) {
        CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, send_text(now->stream, 0, "too early", "early"));
        kept_stream = esrpc_stream_acquire(now->stream);
    }
    if (is(now, "incoming") || is(now, "stream")) note("kept");
}

static void a_connection_that_is_not_accepted_is_closed(void) {
    for (int with_handshake = 0; with_handshake <= 1; with_handshake++) {
        struct pair pair;
        esrpc_connection_callbacks callbacks = connection_callbacks();
        recorder_clear();
        pair_begin(&pair);
        pair.no_handshake = !with_handshake;
        pair.ignore_connections = true;
        pair.listener.hook = keep_only;
        pair_listen(&pair);
        pair_dial(&pair);
        await("kept");
        await(with_handshake ? "client setup" : "client shutdown");
        CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_connection_accept(kept_connection, &callbacks, &pair.server));
        CHECK_ENDED(esrpc_connection_wait_shutdown(kept_connection, PATIENCE_MS));
        CHECK(esrpc_connection_get_state(kept_connection) == ESRPC_CONNECTION_STATE_CLOSED);
        CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, ping(kept_connection, "", "ping"));
        CHECK_OK(esrpc_connection_close(kept_connection, ESRPC_OK));
        CHECK_OK(esrpc_connection_abort(kept_connection));
        esrpc_connection_release(kept_connection);
        pair_end(&pair);
        CHECK(count_of("client setup OK") == (with_handshake ? 0 : 1));
        CHECK_NEVER("server");
        CHECK_NEVER("flush");
    }
}

static void a_listener_without_callbacks_refuses_every_connection(void) {
    struct pair pair;
    esrpc_listener_options *options = esrpc_listener_options_new();
    pair_begin(&pair);
    CHECK_OK(esrpc_listener_options_set_unix_abstract(options, esrpc_text(pair.unix_name)));
    CHECK_OK(esrpc_listener_options_set_runtime(options, pair.server_runtime));
    CHECK_OK(esrpc_listener_listen(options, NULL, NULL, &pair.listening));
    esrpc_listener_options_release(options);
    esrpc_client_options *client_options = esrpc_client_options_new();
    esrpc_connection_callbacks callbacks = connection_callbacks();
    CHECK_OK(esrpc_client_options_set_unix_abstract(client_options, esrpc_text(pair.unix_name)));
    CHECK_OK(esrpc_client_options_set_runtime(client_options, pair.client_runtime));
    CHECK_OK(esrpc_client_options_set_handshake(client_options, NULL, esrpc_text(NULL)));
    CHECK_OK(esrpc_connection_connect(client_options, &callbacks, &pair.client, &pair.client_connection));
    esrpc_client_options_release(client_options);
    await("client setup");
    CHECK_NEVER("client setup OK");
    CHECK_OK(esrpc_listener_close(pair.listening));
    CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
    esrpc_listener_release(pair.listening);
    pair.listening = NULL;
    pair_end(&pair);
}

static void a_stream_that_is_not_accepted_is_refused_and_the_connection_stays(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream_callbacks callbacks = stream_callbacks();
    esrpc_stream *stream;
    pair_begin(&pair);
    pair.ignore_streams = true;
    pair.server.hook = keep_only;
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("call closed OK");
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_stream_accept(kept_stream, &callbacks, &pair.handler));
    CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, send_text(kept_stream, 0, "too late", "late"));
    CHECK_ENDED(esrpc_stream_wait_closed(kept_stream, PATIENCE_MS));
    esrpc_stream_release(kept_stream);
    CHECK_OK(send_protocol(pair.client_connection, ESRPC_MESSAGE_TYPE_PING, 0, "still there?", NULL));
    await("server protocol PING still there?");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_ONCE("call error");
    CHECK_EVENTS("call", "error", "closed OK", "destroy");
    CHECK_NEVER("handler");
    CHECK_NEVER("flush");
}

static void refuse_with_headers(struct party *self, const struct moment *now) {
    esrpc_headers *headers;
    (void)self;
    if (!is(now, "stream")) return;
    headers = esrpc_headers_new();
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":message-flags"), 0));
    CHECK_STATUS(ESRPC_ERROR_RESERVED_HEADER, esrpc_stream_refuse(now->stream, headers, esrpc_text("no")));
    CHECK_OK(esrpc_headers_clear(headers));
    CHECK_OK(esrpc_headers_add_string(headers, esrpc_text("why"), esrpc_text("because")));
    CHECK_OK(esrpc_stream_refuse(now->stream, headers, esrpc_text("not today")));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_stream_refuse(now->stream, NULL, esrpc_text("really")));
    CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, send_text(now->stream, 0, "but", "late"));
    esrpc_headers_release(headers);
}

static void look_at_the_refusal(struct party *self, const struct moment *now) {
    esrpc_bytes why;
    (void)self;
    if (!is(now, "error")) return;
    CHECK_OK(esrpc_headers_get_string(esrpc_message_get_headers(now->message), esrpc_text("why"), &why));
    CHECK(is_text(why, "because"));
    CHECK(esrpc_message_get_flags(now->message) == ESRPC_MESSAGE_FLAG_TERMINATE_STREAM);
}

static void a_refusal_carries_the_servers_headers_and_payload(void) {
    struct pair pair;
    struct party party = a_party("call", look_at_the_refusal, NULL);
    pair_begin(&pair);
    pair.ignore_streams = true;
    pair.server.hook = refuse_with_headers;
    pair_connect(&pair);
    for (size_t i = 1; i <= 3; i++) {
        esrpc_stream *stream = open_stream(pair.client_connection, &party);
        await_count("call closed OK", i);
        CHECK(esrpc_stream_get_id(stream) == (int32_t)i);
        esrpc_stream_release(stream);
    }
    CHECK(esrpc_connection_is_open(pair.client_connection));
    CHECK(esrpc_connection_is_open(pair.server_connection));
    pair_end(&pair);
    CHECK_COUNT(3, "call error not today (last)");
}

static void close_instead_of_accepting(struct party *self, const struct moment *now) {
    struct pair *pair = (struct pair *)self->data;
    esrpc_connection_callbacks callbacks = connection_callbacks();
    if (!is(now, "incoming")) return;
    CHECK_OK(esrpc_connection_close(now->connection, ESRPC_OK));
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, esrpc_connection_accept(now->connection, &callbacks, &pair->server));
}

static void a_connection_that_was_closed_before_it_was_accepted_cannot_be(void) {
    struct pair pair;
    pair_begin(&pair);
    pair.ignore_connections = true;
    pair.listener.hook = close_instead_of_accepting;
    pair_listen(&pair);
    pair_dial(&pair);
    await("client setup");
    CHECK_NEVER("client setup OK");
    pair_end(&pair);
    CHECK_NEVER("server");
}

static void close_after_accepting_stream(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "stream")) CHECK_OK(esrpc_connection_close(now->connection, ESRPC_OK));
}

static void a_stream_that_was_accepted_while_its_connection_closes_gets_on_closed_and_no_message(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    pair_begin(&pair);
    pair.server.hook = close_after_accepting_stream;
    pair_connect(&pair);
    esrpc_stream_release(open_stream(pair.client_connection, &party));
    await("server shutdown OK");
    pair_end(&pair);
    CHECK_EVENTS("handler", "accepted", "closed CONNECTION_CLOSED", "destroy");
    CHECK_ONCE("call closed");
}

static void a_bind_that_fails_returns_at_once_with_the_systems_message(void) {
    struct pair pair;
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener_callbacks callbacks = listener_callbacks();
    struct party party = a_party("second", NULL, NULL);
    esrpc_listener *none = NULL;
    pair_begin(&pair);
    pair_listen(&pair);
    if (over_unix_socket)
        CHECK_OK(esrpc_listener_options_set_unix_abstract(options, esrpc_text(pair.unix_name)));
    else
        CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), esrpc_listener_get_port(pair.listening)));
    CHECK_STATUS(ESRPC_ERROR_ADDRESS_IN_USE, esrpc_listener_listen(options, &callbacks, &party, &none));
    CHECK(last_error_says("in use"));
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("192.0.2.1"), 0));
    CHECK_STATUS(ESRPC_ERROR_ADDRESS_UNAVAILABLE, esrpc_listener_listen(options, &callbacks, &party, &none));
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("no address"), 0));
    CHECK_STATUS(ESRPC_ERROR_ADDRESS_INVALID, esrpc_listener_listen(options, &callbacks, &party, &none));
    CHECK(none == NULL);
    esrpc_listener_options_release(options);
    pair_end(&pair);
    CHECK_NEVER("second");
}

static void a_closed_listener_announces_nothing_more_and_its_address_is_free(void) {
    struct pair pair;
    struct gate gate;
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener *again = NULL;
    pair_open(&pair);
    if (over_unix_socket)
        CHECK_OK(esrpc_listener_options_set_unix_abstract(options, esrpc_text(pair.unix_name)));
    else
        CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), esrpc_listener_get_port(pair.listening)));
    hold_loop(pair.server_connection, &gate);
    {
        struct party late = a_party("late", NULL, NULL);
        esrpc_connection *connection = NULL;
        pair_dial_as(&pair, &late, &connection);
        CHECK_OK(esrpc_listener_close(pair.listening));
        gate_open(&gate);
        await("late setup");
        CHECK_OK(esrpc_connection_abort(connection));
        esrpc_connection_release(connection);
        await("late destroy");
    }
    await("listener closed OK");
    CHECK_OK(esrpc_listener_listen(options, NULL, NULL, &again));
    CHECK_OK(esrpc_listener_close(again));
    esrpc_listener_release(again);
    esrpc_listener_options_release(options);
    pair_end(&pair);
    CHECK_ONCE("listener incoming");
    CHECK_NEVER("late setup OK");
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(what_was_accepted_cannot_be_accepted_or_refused_again),
        TEST(accepting_outside_the_callback_returns_invalid_state),
        TEST(a_connection_that_is_not_accepted_is_closed),
        TEST(a_listener_without_callbacks_refuses_every_connection),
        TEST(a_stream_that_is_not_accepted_is_refused_and_the_connection_stays),
        TEST(a_refusal_carries_the_servers_headers_and_payload),
        TEST(a_connection_that_was_closed_before_it_was_accepted_cannot_be),
        TEST(a_stream_that_was_accepted_while_its_connection_closes_gets_on_closed_and_no_message),
        TEST(a_bind_that_fails_returns_at_once_with_the_systems_message),
        TEST(a_closed_listener_announces_nothing_more_and_its_address_is_free),
    };
    return RUN_TESTS(tests, argc, argv);
}
