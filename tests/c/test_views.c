/* Promise 14, and how callback tables grow: views last for the callback, copies as long as one likes, and what the caller
   passes in may go when the call returns. */
#include "harness.h"

struct kept {
    esrpc_message *message;
    esrpc_headers *headers;
};

static void keep_first_message(struct party *self, const struct moment *now) {
    struct kept *kept = (struct kept *)self->data;
    if (!is(now, "message") || kept->message != NULL) return;
    CHECK_OK(esrpc_message_copy(now->message, &kept->message));
    CHECK_OK(esrpc_headers_add_from(kept->headers, esrpc_message_get_headers(now->message), false));
    esrpc_message_release((esrpc_message *)(uintptr_t)now->message); /* only lent: does nothing */
    CHECK(is_text(esrpc_message_get_payload(now->message), "first"));
    note("kept");
}

static void copies_of_messages_and_headers_outlive_the_callback_and_the_connection(void) {
    struct pair pair;
    struct kept kept = {NULL, NULL};
    struct party party = a_party("call", NULL, NULL);
    esrpc_headers *headers = esrpc_headers_new();
    esrpc_stream *stream;
    esrpc_bytes value;
    int32_t number;
    kept.headers = esrpc_headers_new();
    pair_begin(&pair);
    pair.handler = a_party("handler", keep_first_message, &kept);
    pair_connect(&pair);
    CHECK_OK(esrpc_headers_add_string(headers, esrpc_text("Name"), esrpc_text("value")));
    stream = new_stream(pair.client_connection, &party);
    CHECK_OK(esrpc_stream_activate(stream, esrpc_text("Op"), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0x40, headers,
                                   esrpc_text("first"), NULL, NULL));
    await("kept");
    CHECK_OK(send_zeros(stream, 100000, NULL)); /* what was read before is overwritten */
    await("handler message 100000 bytes");
    esrpc_stream_release(stream);
    esrpc_headers_release(headers);
    pair_end(&pair);

    CHECK(is_text(esrpc_message_get_payload(kept.message), "first"));
    CHECK(esrpc_message_get_type(kept.message) == ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE);
    CHECK(esrpc_message_get_flags(kept.message) == 0x40); /* an unknown bit passes */
    CHECK(esrpc_message_get_stream_id(kept.message) == 1);
    CHECK(esrpc_headers_count(esrpc_message_get_headers(kept.message)) == 5);
    CHECK_OK(esrpc_headers_get_int32(esrpc_message_get_headers(kept.message), esrpc_text(":stream-id"), &number));
    CHECK_OK(esrpc_headers_get_string(esrpc_message_get_headers(kept.message), esrpc_text("operation"), &value));
    CHECK(is_text(value, "Op"));
    CHECK(esrpc_headers_count(kept.headers) == 2);
    CHECK_OK(esrpc_headers_get_string(kept.headers, esrpc_text("name"), &value));
    CHECK(is_text(value, "value"));
    esrpc_message_release(kept.message);
    esrpc_headers_release(kept.headers);
}

static void what_is_passed_in_may_be_changed_when_the_call_returns(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    struct gate gate;
    char payload[] = "payload", operation[] = "operation", name[] = "name", value[] = "value";
    esrpc_headers *headers = esrpc_headers_new();
    esrpc_client_options *options;
    esrpc_connection_callbacks callbacks = connection_callbacks();
    esrpc_stream_callbacks of_stream = stream_callbacks();
    esrpc_stream *stream = NULL;
    pair_begin(&pair);
    pair.keep_streams = true;
    pair_listen(&pair);
    options = pair_client_options(&pair);
    CHECK_OK(esrpc_client_options_set_handshake(options, NULL, esrpc_text(payload)));
    memset(payload, 'x', sizeof payload - 1);
    CHECK_OK(esrpc_connection_connect(options, &callbacks, &pair.client, &pair.client_connection));
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("192.0.2.1"), 1));
    esrpc_client_options_release(options);
    memset(&callbacks, 0, sizeof callbacks);
    await("client setup OK");
    await("server protocol CONNECT payload");

    hold_loop(pair.client_connection, &gate);
    CHECK_OK(esrpc_connection_new_stream(pair.client_connection, &of_stream, &party, &stream));
    memset(&of_stream, 0, sizeof of_stream);
    CHECK_OK(esrpc_headers_add_string(headers, esrpc_text(name), esrpc_text(value)));
    memset(value, 'x', sizeof value - 1);
    strcpy(payload, "first");
    CHECK_OK(esrpc_stream_activate(stream, esrpc_text(operation), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, headers,
                                   esrpc_text(payload), NULL, NULL));
    CHECK_OK(esrpc_headers_clear(headers));
    memset(payload, 'x', sizeof payload - 1);
    memset(operation, 'x', sizeof operation - 1);
    gate_open(&gate);
    await("handler message first");
    CHECK(is_text(esrpc_stream_get_operation(pair.handler_stream), "operation"));
    CHECK(is_text(esrpc_stream_get_operation(stream), "operation"));
    CHECK_OK(esrpc_stream_close(pair.handler_stream));
    await("call closed OK");
    esrpc_headers_release(headers);
    esrpc_stream_release(stream);
    pair_end(&pair);
}

static void the_list_of_a_message_cannot_be_changed_or_sent(void) {
    struct pair pair;
    struct kept kept = {NULL, NULL};
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream;
    const esrpc_headers *list;
    kept.headers = esrpc_headers_new();
    pair_begin(&pair);
    pair.handler = a_party("handler", keep_first_message, &kept);
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("kept");
    list = esrpc_message_get_headers(kept.message);
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_headers_clear((esrpc_headers *)(uintptr_t)list));
    CHECK_INVALID(esrpc_stream_send_message(stream, 0, 0, list, esrpc_text(NULL), on_flush, (void *)"send"));
    CHECK_INVALID(esrpc_connection_send_protocol_message(pair.client_connection, 2, 0, list, esrpc_text(NULL), on_flush,
                                                         (void *)"send"));
    esrpc_stream_release(stream);
    pair_end(&pair);
    esrpc_message_release(kept.message);
    esrpc_headers_release(kept.headers);
    CHECK_NEVER("flush");
}

/* A header of another version: more slots, or fewer. */
struct larger_connection_callbacks {
    esrpc_connection_callbacks known;
    void (*on_something_new)(void *user_data);
};

struct larger_stream_callbacks {
    esrpc_stream_callbacks known;
    void (*on_something_new)(void *user_data);
};

struct larger_listener_callbacks {
    esrpc_listener_callbacks known;
    void (*on_something_new)(void *user_data);
};

static void something_new(void *user_data) {
    (void)user_data;
}

static void a_larger_table_is_taken_if_its_new_slots_are_empty(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL), other = a_party("other", NULL, NULL);
    struct larger_connection_callbacks of_connection;
    struct larger_stream_callbacks of_stream;
    struct larger_listener_callbacks of_listener;
    esrpc_client_options *options;
    esrpc_listener_options *listener_options = esrpc_listener_options_new();
    esrpc_connection *none = NULL, *connection = NULL;
    esrpc_stream *stream = NULL;
    esrpc_listener *listener = NULL;
    memset(&of_connection, 0, sizeof of_connection);
    memset(&of_stream, 0, sizeof of_stream);
    memset(&of_listener, 0, sizeof of_listener);
    of_connection.known = connection_callbacks();
    of_stream.known = stream_callbacks();
    of_listener.known = listener_callbacks();
    of_connection.known.struct_size = sizeof of_connection;
    of_stream.known.struct_size = sizeof of_stream;
    of_listener.known.struct_size = sizeof of_listener;
    pair_open(&pair);
    options = pair_client_options(&pair);
    CHECK_OK(esrpc_listener_options_set_host(listener_options, esrpc_text("127.0.0.1"), 0));

    for (int set = 0; set <= 1; set++) {
        esrpc_status expected = set ? ESRPC_ERROR_INVALID_ARGUMENT : ESRPC_OK;
        of_connection.on_something_new = set ? something_new : NULL;
        of_stream.on_something_new = set ? something_new : NULL;
        of_listener.on_something_new = set ? something_new : NULL;
        CHECK_STATUS(expected, esrpc_connection_connect(options, &of_connection.known, &other, set ? &none : &connection));
        CHECK_STATUS(expected, esrpc_connection_new_stream(pair.client_connection, &of_stream.known, &party, &stream));
        CHECK_STATUS(expected, esrpc_listener_listen(listener_options, &of_listener.known, &other, &listener));
        if (set) break;
        CHECK_OK(activate(stream, 0, "first", NULL));
        esrpc_stream_release(stream);
        CHECK_OK(esrpc_listener_close(listener));
        esrpc_listener_release(listener);
        await("other setup OK");
        await("other closed OK");
        CHECK_OK(esrpc_connection_abort(connection));
        esrpc_connection_release(connection);
    }
    CHECK(none == NULL);
    CHECK_OK(esrpc_runtime_join(NULL, PATIENCE_MS)); /* the listener lived on the default runtime */
    esrpc_client_options_release(options);
    esrpc_listener_options_release(listener_options);
    pair_end(&pair);
    CHECK_ONCE("call destroy");
    CHECK_COUNT(2, "other destroy");
}

/* An older header knew fewer slots: those behind its size are not read. */
static void a_smaller_table_leaves_the_other_slots_empty(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream_callbacks callbacks = stream_callbacks();
    esrpc_connection_callbacks of_connection = connection_callbacks();
    esrpc_connection *connection = NULL;
    esrpc_client_options *options;
    esrpc_stream *stream = NULL;
    pair_begin(&pair);
    pair.keep_streams = true;
    pair_connect(&pair);
    callbacks.struct_size = offsetof(esrpc_stream_callbacks, on_writable);
    CHECK_OK(esrpc_connection_new_stream(pair.client_connection, &callbacks, &party, &stream));
    CHECK_OK(activate(stream, 0, "first", NULL));
    await("handler message first");
    CHECK_OK(send_text(pair.handler_stream, LAST, "reply", NULL));
    CHECK_ENDED(esrpc_stream_wait_closed(stream, PATIENCE_MS));
    esrpc_stream_release(stream);

    options = pair_client_options(&pair);
    of_connection.struct_size = sizeof of_connection.struct_size; /* none at all */
    CHECK_OK(esrpc_connection_connect(options, &of_connection, &party, &connection));
    CHECK_OK(esrpc_connection_wait_setup(connection, PATIENCE_MS));
    CHECK_OK(esrpc_connection_close(connection, ESRPC_OK));
    CHECK_ENDED(esrpc_connection_wait_shutdown(connection, PATIENCE_MS));
    esrpc_connection_release(connection);
    esrpc_client_options_release(options);
    pair_end(&pair);
    CHECK_EVENTS("call", "message reply (last)");
}

static void a_whole_conversation_needs_no_callback_on_the_clients_side(void) {
    struct pair pair;
    esrpc_client_options *options;
    esrpc_connection *connection = NULL;
    esrpc_stream *stream = NULL;
    pair_begin(&pair);
    pair_listen(&pair);
    options = pair_client_options(&pair);
    CHECK_OK(esrpc_connection_connect(options, NULL, NULL, &connection));
    esrpc_client_options_release(options);
    CHECK_OK(esrpc_connection_wait_setup(connection, PATIENCE_MS));
    CHECK_OK(esrpc_connection_new_stream(connection, NULL, NULL, &stream));
    CHECK_OK(activate(stream, LAST, "only", NULL));
    CHECK_OK(esrpc_stream_wait_closed(stream, PATIENCE_MS));
    CHECK_OK(esrpc_connection_close(connection, ESRPC_OK));
    CHECK_OK(esrpc_connection_wait_shutdown(connection, PATIENCE_MS));
    esrpc_stream_release(stream);
    esrpc_connection_release(connection);
    await("handler closed OK");
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(copies_of_messages_and_headers_outlive_the_callback_and_the_connection),
        TEST(what_is_passed_in_may_be_changed_when_the_call_returns),
        TEST(the_list_of_a_message_cannot_be_changed_or_sent),
        TEST(a_larger_table_is_taken_if_its_new_slots_are_empty),
        TEST(a_smaller_table_leaves_the_other_slots_empty),
        TEST(a_whole_conversation_needs_no_callback_on_the_clients_side),
    };
    return RUN_TESTS(tests, argc, argv);
}
