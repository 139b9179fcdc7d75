/* Sentences of the header, one by one: each SAYS quotes one, and what stands behind it shows that it is true.
   tests/documentation.rs looks for every quotation in the header. */
#include "harness.h"

#define SAYS(sentence) (void)sentence

static const esrpc_bytes NAME = {(const uint8_t *)"name", 4};

static esrpc_headers *list_of(const char *first, const char *second) {
    esrpc_headers *headers = esrpc_headers_new();
    CHECK_OK(esrpc_headers_add_string(headers, esrpc_text(first), esrpc_text("1")));
    if (second != NULL) CHECK_OK(esrpc_headers_add_string(headers, esrpc_text(second), esrpc_text("2")));
    return headers;
}

static esrpc_buffer *encoded(const esrpc_headers *headers, const char *payload) {
    esrpc_buffer *buffer = NULL;
    CHECK_OK(esrpc_message_encode_to_buffer(headers, esrpc_text(payload), &buffer));
    return buffer;
}

static void statuses_and_text(void) {
    SAYS("Returns the library's version, such as \"0.1.0\".");
    CHECK(strcmp(esrpc_version(), ESRPC_VERSION) == 0);
    SAYS("the constant's name; \"APPLICATION_REASON\" for a number from 1000 up; \"ESRPC_ERROR_UNKNOWN\" for any other.");
    CHECK(strcmp(esrpc_status_name(ESRPC_ERROR_IO), "ESRPC_ERROR_IO") == 0);
    CHECK(strcmp(esrpc_status_name(1000), "APPLICATION_REASON") == 0);
    CHECK(strcmp(esrpc_status_name(-7), "ESRPC_ERROR_UNKNOWN") == 0);
    SAYS("UTF-8 text that is valid until the next call fails, or the next callback begins, on this thread: copy it to keep it.");
    CHECK_INVALID(esrpc_connection_abort(NULL));
    const char *text = esrpc_last_error_message();
    esrpc_headers *headers = list_of("a", NULL);
    CHECK(text == esrpc_last_error_message() && strcmp(text, "connection is NULL") == 0);
    esrpc_headers_release(headers);
    SAYS("Borrowed; NULL: returns empty bytes.");
    CHECK(esrpc_buffer_get_bytes(NULL).len == 0);
    SAYS("Compares two byte sequences; case matters.");
    CHECK(esrpc_bytes_equal(esrpc_text("a"), esrpc_text("a")) && !esrpc_bytes_equal(esrpc_text("a"), esrpc_text("A")));
    SAYS("It is followed by a NUL that the length does not count, so text can be used as a C string.");
    esrpc_buffer *buffer = encoded(NULL, "end");
    esrpc_bytes content = esrpc_buffer_get_bytes(buffer);
    CHECK(content.len == 19 && content.data[content.len] == '\0');
    esrpc_buffer_release(buffer);
}

static void uuids(void) {
    char text[37];
    uint8_t uuid[16];
    SAYS("Reads a UUID from its text form with hyphens, in either case.");
    CHECK_OK(esrpc_uuid_from_text(esrpc_text("123E4567-e89b-12d3-a456-426614174000"), uuid));
    SAYS("Writes a UUID as text: lower case, with hyphens, NUL at the end.");
    CHECK_OK(esrpc_uuid_to_text(uuid, text, sizeof text));
    CHECK(strcmp(text, "123e4567-e89b-12d3-a456-426614174000") == 0);
    SAYS("ESRPC_ERROR_BUFFER_TOO_SMALL if capacity is below 37;");
    CHECK_STATUS(ESRPC_ERROR_BUFFER_TOO_SMALL, esrpc_uuid_to_text(uuid, text, 36));
    SAYS("ESRPC_ERROR_INVALID_UUID if text is not of this form;");
    CHECK_STATUS(ESRPC_ERROR_INVALID_UUID, esrpc_uuid_from_text(esrpc_text("123e4567e89b12d3a456426614174000"), uuid));
}

static void reading_lists(void) {
    esrpc_headers *headers = list_of("one", "ONE");
    esrpc_header header, both[3];
    esrpc_bytes value;
    int32_t number;
    size_t count;
    SAYS("The number; repeated names count each time.");
    CHECK(esrpc_headers_count(headers) == 2);
    SAYS("Receives how many were read: fewer than capacity at the end of the list, 0 past it.");
    CHECK_OK(esrpc_headers_get_range(headers, 1, both, 3, &count));
    CHECK(count == 1);
    CHECK_OK(esrpc_headers_get_range(headers, 9, both, 3, &count));
    CHECK(count == 0);
    SAYS("Reads the header with a given name: the last one if the name is repeated.");
    SAYS("Borrowed; the case of ASCII letters does not matter.");
    CHECK_OK(esrpc_headers_find(headers, esrpc_text("One"), &header));
    CHECK(is_text(header.name, "ONE") && is_text(header.bytes, "2"));
    SAYS("ESRPC_ERROR_HEADER_NOT_FOUND if there is none at this index;");
    CHECK_STATUS(ESRPC_ERROR_HEADER_NOT_FOUND, esrpc_headers_get(headers, 2, &header));
    SAYS("ESRPC_ERROR_WRONG_TYPE if its value has another type;");
    CHECK_STATUS(ESRPC_ERROR_WRONG_TYPE, esrpc_headers_get_int32(headers, esrpc_text("one"), &number));
    SAYS("Reads the text with a given name, from the last header if the name is repeated.");
    CHECK_OK(esrpc_headers_get_string(headers, esrpc_text("one"), &value));
    CHECK(is_text(value, "2"));
    esrpc_headers_release(headers);
}

static void changing_lists(void) {
    esrpc_headers *headers = list_of("one", "two"), *copy = list_of("zero", NULL);
    esrpc_header header;
    char *long_value = (char *)calloc(1, 32768);
    SAYS("Appends copies of the headers of another list, in order, for example to pass on a received message.");
    CHECK_OK(esrpc_headers_add_from(copy, headers, false));
    CHECK_OK(esrpc_headers_get(copy, 1, &header));
    CHECK(is_text(header.name, "one") && esrpc_headers_count(copy) == 3);
    SAYS("Removes one header from a list; those after it move up.");
    CHECK_OK(esrpc_headers_remove_at(copy, 0));
    CHECK_OK(esrpc_headers_get(copy, 0, &header));
    CHECK(is_text(header.name, "one"));
    SAYS("Removes all headers with a given name from a list.");
    CHECK_OK(esrpc_headers_remove(copy, esrpc_text("one")));
    CHECK_STATUS(ESRPC_ERROR_HEADER_NOT_FOUND, esrpc_headers_find(copy, esrpc_text("one"), &header));
    SAYS("Removes all headers from a list, which can be filled again.");
    CHECK_OK(esrpc_headers_clear(copy));
    CHECK(esrpc_headers_count(copy) == 0);
    SAYS("ESRPC_ERROR_HEADER_VALUE_TOO_LONG beyond 32767 bytes;");
    CHECK_OK(esrpc_headers_add_byte_buf(copy, NAME, bytes(long_value, 32767)));
    CHECK_STATUS(ESRPC_ERROR_HEADER_VALUE_TOO_LONG, esrpc_headers_add_byte_buf(copy, NAME, bytes(long_value, 32768)));
    SAYS("ESRPC_ERROR_HEADER_NAME_LENGTH if name is not 1 to 255 bytes long;");
    CHECK_STATUS(ESRPC_ERROR_HEADER_NAME_LENGTH, esrpc_headers_add_bool(copy, esrpc_text(""), true));
    SAYS("ESRPC_ERROR_TOO_MANY_HEADERS beyond 1024 headers;");
    while (esrpc_headers_count(headers) < 1024) CHECK_OK(esrpc_headers_add_bool(headers, NAME, true));
    CHECK_STATUS(ESRPC_ERROR_TOO_MANY_HEADERS, esrpc_headers_add_bool(headers, NAME, true));
    SAYS("Adds a UUID given as text to a list, which keeps the 16 bytes.");
    CHECK_OK(esrpc_headers_add_uuid_text(copy, esrpc_text("id"), esrpc_text("123e4567-e89b-12d3-a456-426614174000")));
    CHECK_OK(esrpc_headers_find(copy, esrpc_text("id"), &header));
    CHECK(header.type == ESRPC_HEADER_TYPE_UUID && header.bytes.len == 16 && header.bytes.data[1] == 0x3e);
    free(long_value);
    esrpc_headers_release(headers);
    esrpc_headers_release(copy);
}

static void lists_at_once(void) {
    esrpc_headers *headers = esrpc_headers_new(), *decoded = NULL;
    esrpc_header added[2], header;
    uint8_t block[64];
    size_t len;
    memset(added, 0, sizeof added);
    added[0].name = esrpc_text("flag");
    added[0].type = ESRPC_HEADER_TYPE_BOOL_TRUE;
    added[1].name = esrpc_text("small");
    added[1].type = ESRPC_HEADER_TYPE_BYTE;
    added[1].number = 128;
    SAYS("Adds several headers to a list at once, all or none:");
    CHECK_INVALID(esrpc_headers_add(headers, added, 2));
    CHECK(esrpc_headers_count(headers) == 0);
    SAYS("Of each header, name, type, and either number or bytes are used, depending on the type; booleans use neither.");
    added[1].number = 127;
    CHECK_OK(esrpc_headers_add(headers, added, 2));
    CHECK_OK(esrpc_headers_get(headers, 0, &header));
    CHECK(header.type == ESRPC_HEADER_TYPE_BOOL_TRUE && header.number == 1);
    SAYS("Receives the size of the headers, also if the buffer is too small for them.");
    CHECK_STATUS(ESRPC_ERROR_BUFFER_TOO_SMALL, esrpc_headers_encode(headers, block, 3, &len));
    CHECK(len == 1 + 4 + 1 + 1 + 5 + 1 + 1);
    SAYS("Encodes a list as the headers of a message, without prelude and payload,");
    CHECK_OK(esrpc_headers_encode(headers, block, sizeof block, &len));
    CHECK(block[0] == 4 && memcmp(block + 1, "flag", 4) == 0 && block[5] == 0);
    SAYS("Decodes the headers of a message: the reverse of esrpc_headers_encode.");
    CHECK_OK(esrpc_headers_decode(bytes(block, len), &decoded));
    CHECK(esrpc_headers_count(decoded) == 2);
    esrpc_headers_release(decoded);
    SAYS("ESRPC_ERROR_HEADER_OVERRUN if data ends inside a header,");
    CHECK_STATUS(ESRPC_ERROR_HEADER_OVERRUN, esrpc_headers_decode(bytes(block, len - 1), &decoded));
    SAYS("The headers and nothing else, copied; empty: an empty list.");
    CHECK_OK(esrpc_headers_decode(bytes(NULL, 0), &decoded));
    CHECK(esrpc_headers_count(decoded) == 0);
    esrpc_headers_release(decoded);
    esrpc_headers_release(headers);
}

static void messages(void) {
    esrpc_headers *headers = list_of("h", NULL), *list;
    esrpc_buffer *buffer = encoded(headers, "payload"), *json = NULL;
    esrpc_bytes data = esrpc_buffer_get_bytes(buffer);
    esrpc_message *message = NULL;
    uint8_t small[4];
    size_t len, used;
    SAYS("Receives the size of the message, also if the buffer is too small for it.");
    CHECK_STATUS(ESRPC_ERROR_BUFFER_TOO_SMALL, esrpc_message_encode(headers, esrpc_text("payload"), small, 4, &len));
    CHECK(len == data.len);
    SAYS("ESRPC_ERROR_INCOMPLETE if data ends before the message does;");
    CHECK_STATUS(ESRPC_ERROR_INCOMPLETE, esrpc_message_decode(bytes(data.data, data.len - 1), &message, &used));
    SAYS("Receives the length of the message, after which the next one begins; may be NULL.");
    CHECK_OK(esrpc_message_decode(data, &message, &used));
    CHECK(used == data.len);
    SAYS("The message is a view of them: they must stay in place, unmodified, until it is released.");
    esrpc_bytes payload = esrpc_message_get_payload(message);
    CHECK(payload.data > data.data && payload.data + payload.len < data.data + data.len);
    SAYS("-1 if the message has no such header of type int32.");
    CHECK(esrpc_message_get_type(message) == -1 && esrpc_message_get_stream_id(message) == -1);
    SAYS("0 if the message has no such header of type int32.");
    CHECK(esrpc_message_get_flags(message) == 0);
    SAYS("A list that is valid as long as the message; it cannot be modified and must not be released.");
    list = (esrpc_headers *)esrpc_message_get_headers(message);
    SAYS("ESRPC_ERROR_INVALID_STATE for the list of a message;");
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_headers_add_bool(list, NAME, true));
    SAYS("Does nothing to the list of a message.");
    esrpc_headers_release(list);
    CHECK(esrpc_headers_count(list) == 1);
    SAYS("The payload and byte_buf values are in base64, UUIDs in their text form;");
    CHECK_OK(esrpc_message_to_json(message, &json));
    CHECK(strstr((const char *)esrpc_buffer_get_bytes(json).data, "\"payload\":\"cGF5bG9hZA==\"") != NULL);
    esrpc_buffer_release(json);
    SAYS("ESRPC_ERROR_MESSAGE_TOO_LARGE if the payload has more than 24 MiB;");
    CHECK_STATUS(ESRPC_ERROR_MESSAGE_TOO_LARGE, esrpc_message_encode(NULL, bytes(data.data, 24 * 1024 * 1024 + 1), NULL, 0, &len));
    esrpc_message_release(message);
    esrpc_buffer_release(buffer);
    esrpc_headers_release(headers);
}

struct pieces {
    int calls;
    const uint8_t *from, *to;
    bool is_inside;
};

static void on_piece(esrpc_decoder *decoder, const uint8_t *data, size_t len, void *user_data) {
    struct pieces *pieces = (struct pieces *)user_data;
    (void)decoder;
    pieces->calls++;
    pieces->is_inside = len > 0 && data >= pieces->from && data + len <= pieces->to;
}

static void decoders(void) {
    esrpc_buffer *buffer = encoded(NULL, "payload");
    esrpc_bytes data = esrpc_buffer_get_bytes(buffer);
    esrpc_connection_options *options = esrpc_connection_options_new();
    struct pieces pieces = {0, data.data, data.data + data.len, false};
    esrpc_decoder_callbacks callbacks;
    esrpc_decoder *decoder = NULL;
    const esrpc_message *message = NULL;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_payload = on_piece;
    CHECK_OK(esrpc_decoder_new(&callbacks, &pieces, &decoder));
    SAYS("Callbacks are called on this thread before the call returns.");
    SAYS("A piece of the payload, at least one byte; data points into the bytes that were pushed.");
    CHECK_OK(esrpc_decoder_push(decoder, data));
    CHECK(pieces.calls == 1 && pieces.is_inside);
    SAYS("ESRPC_ERROR_INVALID_STATE if the decoder was made with callbacks;");
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_decoder_next_message(decoder, &message));
    SAYS("ESRPC_ERROR_INVALID_STATE after the first push,");
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_decoder_set_limits(decoder, options));
    esrpc_decoder_release(decoder);

    CHECK_OK(esrpc_decoder_new(NULL, NULL, &decoder));
    CHECK_OK(esrpc_decoder_push(decoder, bytes(data.data, 5)));
    SAYS("NULL if more bytes are needed.");
    CHECK_OK(esrpc_decoder_next_message(decoder, &message));
    CHECK(message == NULL);
    SAYS("ESRPC_ERROR_INCOMPLETE if it ended inside a message;");
    CHECK_STATUS(ESRPC_ERROR_INCOMPLETE, esrpc_decoder_finish(decoder));
    SAYS("The result does not depend on how the input is split into pushes.");
    for (size_t i = 5; i < data.len; i++) CHECK_OK(esrpc_decoder_push(decoder, bytes(data.data + i, 1)));
    SAYS("it is final, and every later push returns it.");
    uint8_t zeros[12] = {0};
    CHECK_STATUS(ESRPC_ERROR_PRELUDE_CHECKSUM, esrpc_decoder_push(decoder, bytes(zeros, 12)));
    SAYS("Messages completed before it can still be taken.");
    CHECK_OK(esrpc_decoder_next_message(decoder, &message));
    CHECK(is_text(esrpc_message_get_payload(message), "payload"));
    CHECK_STATUS(ESRPC_ERROR_PRELUDE_CHECKSUM, esrpc_decoder_push(decoder, data));
    esrpc_decoder_release(decoder);
    esrpc_connection_options_release(options);
    esrpc_buffer_release(buffer);
}

static void options(void) {
    esrpc_connection_options *connection = esrpc_connection_options_new();
    esrpc_client_options *client = esrpc_client_options_new();
    esrpc_listener_options *listener = esrpc_listener_options_new();
    esrpc_runtime_options *runtime = esrpc_runtime_options_new();
    SAYS("The number of streams, 1 to 2147483647.");
    CHECK_INVALID(esrpc_connection_options_set_max_streams(connection, 0));
    CHECK_OK(esrpc_connection_options_set_max_streams(connection, INT32_MAX));
    SAYS("Milliseconds, 1 to 86400000 (a day), or ESRPC_NO_TIMEOUT.");
    CHECK_INVALID(esrpc_connection_options_set_idle_timeout_ms(connection, 0));
    CHECK_INVALID(esrpc_connection_options_set_idle_timeout_ms(connection, 86400001));
    CHECK_OK(esrpc_connection_options_set_idle_timeout_ms(connection, 86400000));
    CHECK_OK(esrpc_connection_options_set_idle_timeout_ms(connection, ESRPC_NO_TIMEOUT));
    SAYS("Milliseconds, 0 to 86400000 (a day), or ESRPC_NO_TIMEOUT; 0: what the system does not take at once is dropped.");
    CHECK_OK(esrpc_connection_options_set_linger_ms(connection, 0));
    CHECK_INVALID(esrpc_connection_options_set_linger_ms(connection, 86400001));
    SAYS("Whether it is on; if not, the numbers are ignored.");
    CHECK_OK(esrpc_connection_options_set_tcp_keep_alive(connection, false, UINT32_MAX, 1, UINT32_MAX));
    CHECK_INVALID(esrpc_connection_options_set_tcp_keep_alive(connection, true, UINT32_MAX, 1, 1));
    SAYS("At least one byte, without NUL; copied.");
    CHECK_INVALID(esrpc_client_options_set_unix_path(client, esrpc_text("")));
    CHECK_INVALID(esrpc_client_options_set_unix_path(client, bytes("a\0b", 3)));
    SAYS("An IPv6 address may be in brackets");
    CHECK_OK(esrpc_client_options_set_host(client, esrpc_text("[::1]"), 1));
    SAYS("Permission bits, 0 to 0777.");
    CHECK_OK(esrpc_listener_options_set_unix_mode(listener, 0777));
    CHECK_INVALID(esrpc_listener_options_set_unix_mode(listener, 01000));
    SAYS("1 to 64.");
    CHECK_INVALID(esrpc_runtime_options_set_thread_count(runtime, 0));
    CHECK_OK(esrpc_runtime_options_set_thread_count(runtime, 64));
    CHECK_INVALID(esrpc_runtime_options_set_thread_count(runtime, 65));
    esrpc_runtime_options_release(runtime);
    esrpc_listener_options_release(listener);
    esrpc_client_options_release(client);
    esrpc_connection_options_release(connection);
}

static void runtimes(void) {
    struct pair pair;
    pair_open(&pair);
    SAYS("The same handle, to be released one more time.");
    CHECK(esrpc_runtime_acquire(pair.client_runtime) == pair.client_runtime);
    esrpc_runtime_release(pair.client_runtime);
    SAYS("ESRPC_ERROR_TIMED_OUT if something is still alive;");
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_runtime_join(pair.client_runtime, 0));
    SAYS("Returns how many connections of a runtime, clients' and servers', have not ended, including those being set up.");
    CHECK(esrpc_runtime_get_open_connections(pair.client_runtime) == 1);
    SAYS("0: the system chooses; esrpc_listener_get_port returns its choice.");
    CHECK(over_unix_socket || esrpc_listener_get_port(pair.listening) > 0);
    pair_end(&pair);
    SAYS("@return ESRPC_OK, also if it was stopped before, or if NULL is passed and there is no default runtime;");
    CHECK_OK(esrpc_runtime_stop(NULL, 0));
}

static void note_task(esrpc_status status, void *user_data) {
    (void)status, (void)user_data;
    note("task");
}

static void connections_and_streams(void) {
    struct pair pair;
    struct party call = a_party("call", NULL, NULL);
    esrpc_message *reply = NULL;
    pair_open(&pair);
    SAYS("true in the state ESRPC_CONNECTION_STATE_OPEN; false otherwise,");
    CHECK(esrpc_connection_get_state(pair.client_connection) == ESRPC_CONNECTION_STATE_OPEN);
    CHECK(esrpc_connection_is_open(pair.client_connection));
    SAYS("Returns the user_data that was passed with the callbacks.");
    CHECK(esrpc_connection_get_user_data(pair.client_connection) == &pair.client);
    SAYS("Nothing is sent and no id is used until it is activated.");
    SAYS("1 or more; 0 if it is not activated, if stream is NULL, and in a forked child.");
    esrpc_stream *unused = new_stream(pair.client_connection, &call), *stream = NULL;
    CHECK(esrpc_stream_get_id(unused) == 0);
    CHECK_OK(esrpc_connection_new_stream(pair.client_connection, NULL, NULL, &stream));
    CHECK_OK(activate(stream, 0, "first", NULL));
    CHECK(esrpc_stream_get_id(stream) == 1);
    SAYS("0: only what has arrived.");
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_stream_read(stream, 0, &reply));
    SAYS("ESRPC_ERROR_STREAM_NOT_ACTIVATED;");
    CHECK_STATUS(ESRPC_ERROR_STREAM_NOT_ACTIVATED, send_text(unused, 0, "x", NULL));
    SAYS("ESRPC_ERROR_INVALID_STATE on a server's connection;");
    esrpc_stream *none = NULL;
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_connection_new_stream(pair.server_connection, NULL, NULL, &none));
    SAYS("The reason that on_shutdown reports: ESRPC_OK, or any number of the application's choice from 1000 up.");
    CHECK_INVALID(esrpc_connection_close(pair.client_connection, 999));
    CHECK_OK(esrpc_connection_close(pair.client_connection, 1000));
    SAYS("sends return ESRPC_ERROR_CONNECTION_CLOSED.");
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, ping(pair.client_connection, "late", NULL));
    SAYS("ESRPC_OK or the reason passed to esrpc_connection_close if this side closed the connection,");
    CHECK_STATUS(1000, esrpc_connection_wait_shutdown(pair.client_connection, PATIENCE_MS));
    SAYS("ESRPC_ERROR_PEER_CLOSED if the peer did;");
    CHECK_STATUS(ESRPC_ERROR_PEER_CLOSED, esrpc_connection_wait_shutdown(pair.server_connection, PATIENCE_MS));
    SAYS("Works as long as the caller has a reference, also after the connection has ended.");
    CHECK_OK(esrpc_connection_run_on_loop(pair.client_connection, note_task, NULL));
    await("task");
    esrpc_stream_release(unused);
    esrpc_stream_release(stream);
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(statuses_and_text), TEST(uuids),    TEST(reading_lists), TEST(changing_lists), TEST(lists_at_once),
        TEST(messages),          TEST(decoders), TEST(options),       TEST(runtimes),       TEST(connections_and_streams),
    };
    return RUN_TESTS(tests, argc, argv);
}
