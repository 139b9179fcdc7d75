/* Every function of the codec half with NULL where it is not allowed, numbers out of range, and bytes that are NULL with
   a length: a status, or 0, NULL or empty from those that return a value. Never a crash, and nothing is made. */
#include "events.h"

static const uint8_t UUID[16] = {0};

static bool is_empty(esrpc_bytes value) {
    return value.len == 0;
}

static void values_of_nothing(void) {
    CHECK(is_empty(esrpc_text(NULL)));
    CHECK(!esrpc_bytes_equal(no_bytes_of_length_one(), esrpc_text("x")));
    CHECK(!esrpc_bytes_equal(esrpc_text("x"), no_bytes_of_length_one()));
    CHECK(!esrpc_bytes_equal(no_bytes_of_length_one(), no_bytes_of_length_one()));
    CHECK(is_empty(esrpc_buffer_get_bytes(NULL)));
    CHECK(esrpc_headers_count(NULL) == 0);
    CHECK(esrpc_message_get_headers(NULL) == NULL);
    CHECK(is_empty(esrpc_message_get_payload(NULL)));
    esrpc_message_info info;
    memset(&info, 0, sizeof info);
    CHECK_INVALID(esrpc_message_get_info(NULL, &info));
    CHECK_INVALID(esrpc_last_error_get_info(NULL));
    CHECK(esrpc_message_get_type(NULL) == -1);
    CHECK(esrpc_message_get_flags(NULL) == 0);
    CHECK(esrpc_message_get_stream_id(NULL) == -1);
}

static void releases_of_nothing(void) {
    esrpc_buffer_release(NULL);
    esrpc_headers_release(NULL);
    esrpc_message_release(NULL);
    esrpc_decoder_release(NULL);
    esrpc_connection_options_release(NULL);
}

static void uuids(void) {
    char text[37];
    uint8_t uuid[16];
    CHECK_INVALID(esrpc_uuid_to_text(NULL, text, sizeof text));
    CHECK_INVALID(esrpc_uuid_to_text(UUID, NULL, sizeof text));
    CHECK_STATUS(ESRPC_ERROR_BUFFER_TOO_SMALL, esrpc_uuid_to_text(UUID, text, 0));
    CHECK_INVALID(esrpc_uuid_from_text(no_bytes_of_length_one(), uuid));
    CHECK_INVALID(esrpc_uuid_from_text(esrpc_text("00000000-0000-0000-0000-000000000000"), NULL));
    CHECK_STATUS(ESRPC_ERROR_INVALID_UUID, esrpc_uuid_from_text(bytes(NULL, 0), uuid));
}

static void filling_headers(void) {
    const esrpc_bytes bad = no_bytes_of_length_one();
    const esrpc_bytes name = esrpc_text("n");
    esrpc_headers *headers = esrpc_headers_new();

    CHECK_INVALID(esrpc_headers_add_bool(NULL, name, true));
    CHECK(last_error_says("headers is NULL"));
    CHECK_INVALID(esrpc_headers_add_byte(NULL, name, 1));
    CHECK_INVALID(esrpc_headers_add_int16(NULL, name, 1));
    CHECK_INVALID(esrpc_headers_add_int32(NULL, name, 1));
    CHECK_INVALID(esrpc_headers_add_int64(NULL, name, 1));
    CHECK_INVALID(esrpc_headers_add_timestamp(NULL, name, 1));
    CHECK_INVALID(esrpc_headers_add_byte_buf(NULL, name, name));
    CHECK_INVALID(esrpc_headers_add_string(NULL, name, name));
    CHECK_INVALID(esrpc_headers_add_uuid(NULL, name, UUID));
    CHECK_INVALID(esrpc_headers_add_uuid_text(NULL, name, esrpc_text("00000000-0000-0000-0000-000000000000")));

    CHECK_INVALID(esrpc_headers_add_bool(headers, bad, true));
    CHECK(last_error_says("name is NULL"));
    CHECK_INVALID(esrpc_headers_add_byte(headers, bad, 1));
    CHECK_INVALID(esrpc_headers_add_int16(headers, bad, 1));
    CHECK_INVALID(esrpc_headers_add_int32(headers, bad, 1));
    CHECK_INVALID(esrpc_headers_add_int64(headers, bad, 1));
    CHECK_INVALID(esrpc_headers_add_timestamp(headers, bad, 1));
    CHECK_INVALID(esrpc_headers_add_byte_buf(headers, bad, name));
    CHECK_INVALID(esrpc_headers_add_byte_buf(headers, name, bad));
    CHECK(last_error_says("value is NULL"));
    CHECK_INVALID(esrpc_headers_add_byte_buf(headers, name, bytes("x", SIZE_MAX)));
    CHECK_INVALID(esrpc_headers_add_string(headers, bad, name));
    CHECK_INVALID(esrpc_headers_add_string(headers, name, bad));
    CHECK_INVALID(esrpc_headers_add_uuid(headers, bad, UUID));
    CHECK_INVALID(esrpc_headers_add_uuid(headers, name, NULL));
    CHECK_INVALID(esrpc_headers_add_uuid_text(headers, name, bad));
    CHECK_INVALID(esrpc_headers_add_uuid_text(headers, bad, esrpc_text("00000000-0000-0000-0000-000000000000")));
    CHECK_INVALID(esrpc_headers_add(NULL, NULL, 0));
    CHECK_INVALID(esrpc_headers_add(headers, NULL, 1));
    CHECK_INVALID(esrpc_headers_add_from(NULL, headers, false));
    CHECK_INVALID(esrpc_headers_add_from(headers, NULL, false));
    CHECK_INVALID(esrpc_headers_add_from(NULL, NULL, false));
    CHECK_INVALID(esrpc_headers_remove(NULL, name));
    CHECK_INVALID(esrpc_headers_remove(headers, bad));
    CHECK_INVALID(esrpc_headers_remove_at(NULL, 0));
    CHECK_STATUS(ESRPC_ERROR_HEADER_NOT_FOUND, esrpc_headers_remove_at(headers, SIZE_MAX));
    CHECK_INVALID(esrpc_headers_clear(NULL));
    CHECK(esrpc_headers_count(headers) == 0);
    esrpc_headers_release(headers);
}

static void header_blocks(void) {
    size_t len = 7;
    esrpc_headers *headers = NULL;
    CHECK_INVALID(esrpc_headers_encode(NULL, NULL, 0, NULL));
    CHECK_INVALID(esrpc_headers_encode(NULL, NULL, 1, &len));
    CHECK(len == 7);
    CHECK_INVALID(esrpc_headers_decode(no_bytes_of_length_one(), &headers));
    CHECK_INVALID(esrpc_headers_decode(bytes(NULL, 0), NULL));
    CHECK(headers == NULL);
}

static void reading_headers(void) {
    const esrpc_bytes bad = no_bytes_of_length_one();
    const esrpc_bytes name = esrpc_text("n");
    esrpc_headers *headers = esrpc_headers_new();
    esrpc_header header;
    bool boolean;
    int8_t byte;
    int16_t int16;
    int32_t int32;
    int64_t int64;
    esrpc_bytes value;
    uint8_t uuid[16];
    CHECK_OK(esrpc_headers_add_bool(headers, name, true));

    CHECK_INVALID(esrpc_headers_get(NULL, 0, &header));
    CHECK_INVALID(esrpc_headers_get(headers, 0, NULL));
    CHECK_STATUS(ESRPC_ERROR_HEADER_NOT_FOUND, esrpc_headers_get(headers, SIZE_MAX, &header));
    size_t count = 7;
    CHECK_INVALID(esrpc_headers_get_range(NULL, 0, &header, 1, &count));
    CHECK_INVALID(esrpc_headers_get_range(headers, 0, NULL, 1, &count));
    CHECK_INVALID(esrpc_headers_get_range(headers, 0, &header, 1, NULL));
    CHECK(count == 7);
    CHECK_OK(esrpc_headers_get_range(headers, 0, NULL, 0, &count));
    CHECK(count == 0);
    CHECK_INVALID(esrpc_headers_find(NULL, name, &header));
    CHECK_INVALID(esrpc_headers_find(headers, bad, &header));
    CHECK_INVALID(esrpc_headers_find(headers, name, NULL));
    CHECK_INVALID(esrpc_headers_get_bool(NULL, name, &boolean));
    CHECK_INVALID(esrpc_headers_get_bool(headers, bad, &boolean));
    CHECK_INVALID(esrpc_headers_get_bool(headers, name, NULL));
    CHECK_INVALID(esrpc_headers_get_byte(NULL, name, &byte));
    CHECK_INVALID(esrpc_headers_get_byte(headers, bad, &byte));
    CHECK_INVALID(esrpc_headers_get_byte(headers, name, NULL));
    CHECK_INVALID(esrpc_headers_get_int16(NULL, name, &int16));
    CHECK_INVALID(esrpc_headers_get_int16(headers, bad, &int16));
    CHECK_INVALID(esrpc_headers_get_int16(headers, name, NULL));
    CHECK_INVALID(esrpc_headers_get_int32(NULL, name, &int32));
    CHECK_INVALID(esrpc_headers_get_int32(headers, bad, &int32));
    CHECK_INVALID(esrpc_headers_get_int32(headers, name, NULL));
    CHECK_INVALID(esrpc_headers_get_int64(NULL, name, &int64));
    CHECK_INVALID(esrpc_headers_get_int64(headers, bad, &int64));
    CHECK_INVALID(esrpc_headers_get_int64(headers, name, NULL));
    CHECK_INVALID(esrpc_headers_get_timestamp(NULL, name, &int64));
    CHECK_INVALID(esrpc_headers_get_timestamp(headers, bad, &int64));
    CHECK_INVALID(esrpc_headers_get_timestamp(headers, name, NULL));
    CHECK_INVALID(esrpc_headers_get_byte_buf(NULL, name, &value));
    CHECK_INVALID(esrpc_headers_get_byte_buf(headers, bad, &value));
    CHECK_INVALID(esrpc_headers_get_byte_buf(headers, name, NULL));
    CHECK_INVALID(esrpc_headers_get_string(NULL, name, &value));
    CHECK_INVALID(esrpc_headers_get_string(headers, bad, &value));
    CHECK_INVALID(esrpc_headers_get_string(headers, name, NULL));
    CHECK_INVALID(esrpc_headers_get_uuid(NULL, name, uuid));
    CHECK_INVALID(esrpc_headers_get_uuid(headers, bad, uuid));
    CHECK_INVALID(esrpc_headers_get_uuid(headers, name, NULL));
    esrpc_headers_release(headers);
}

static void messages(void) {
    const esrpc_bytes bad = no_bytes_of_length_one();
    uint8_t buffer[16];
    size_t len = 0;
    esrpc_buffer *made = NULL;
    esrpc_message *message = NULL, *copy = NULL;

    CHECK_INVALID(esrpc_message_encode(NULL, bad, buffer, sizeof buffer, &len));
    CHECK_INVALID(esrpc_message_encode(NULL, bytes(NULL, 0), NULL, sizeof buffer, &len));
    CHECK_INVALID(esrpc_message_encode(NULL, bytes(NULL, 0), buffer, sizeof buffer, NULL));
    CHECK_INVALID(esrpc_message_encode(NULL, bytes("x", SIZE_MAX), buffer, sizeof buffer, &len));
    CHECK(len == 0);
    CHECK_INVALID(esrpc_message_encode_to_buffer(NULL, bad, &made));
    CHECK_INVALID(esrpc_message_encode_to_buffer(NULL, bytes(NULL, 0), NULL));
    CHECK(made == NULL);

    CHECK_OK(esrpc_message_encode(NULL, bytes(NULL, 0), buffer, SIZE_MAX, &len));
    CHECK_INVALID(esrpc_message_decode(bad, &message, &len));
    CHECK_INVALID(esrpc_message_decode(bytes(buffer, 16), NULL, &len));
    CHECK_STATUS(ESRPC_ERROR_INCOMPLETE, esrpc_message_decode(bytes(NULL, 0), &message, &len));
    CHECK(message == NULL);
    CHECK_OK(esrpc_message_decode(bytes(buffer, 16), &message, NULL));
    CHECK_INVALID(esrpc_message_copy(NULL, &copy));
    CHECK_INVALID(esrpc_message_copy(message, NULL));
    CHECK_INVALID(esrpc_message_to_json(NULL, &made));
    CHECK_INVALID(esrpc_message_to_json(message, NULL));
    CHECK(copy == NULL && made == NULL);
    esrpc_message_release(message);
}

static void decoders(void) {
    esrpc_decoder *decoder = NULL;
    const esrpc_message *message = NULL;
    esrpc_decoder_callbacks callbacks;
    esrpc_connection_options *options = esrpc_connection_options_new();
    memset(&callbacks, 0, sizeof callbacks);

    const size_t wrong_sizes[] = {0, 1, sizeof(size_t) - 1, sizeof(size_t) + 1, sizeof callbacks - 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof wrong_sizes / sizeof wrong_sizes[0]; i++) {
        callbacks.struct_size = wrong_sizes[i];
        CHECK_INVALID(esrpc_decoder_new(&callbacks, NULL, &decoder));
        CHECK(last_error_says("struct_size"));
    }
    CHECK_INVALID(esrpc_decoder_new(NULL, NULL, NULL));
    CHECK(decoder == NULL);
    CHECK_OK(esrpc_decoder_new(NULL, NULL, &decoder));
    CHECK_INVALID(esrpc_decoder_set_limits(NULL, options));
    CHECK_INVALID(esrpc_decoder_set_limits(decoder, NULL));
    CHECK_INVALID(esrpc_decoder_push(NULL, esrpc_text("x")));
    CHECK_INVALID(esrpc_decoder_push(decoder, no_bytes_of_length_one()));
    CHECK_OK(esrpc_decoder_push(decoder, bytes(NULL, 0)));
    CHECK_INVALID(esrpc_decoder_next_message(NULL, &message));
    CHECK_INVALID(esrpc_decoder_next_message(decoder, NULL));
    CHECK_INVALID(esrpc_decoder_finish(NULL));
    CHECK_OK(esrpc_decoder_finish(decoder));
    esrpc_decoder_release(decoder);
    esrpc_connection_options_release(options);
}

static void options(void) {
    esrpc_connection_options *options = esrpc_connection_options_new();
    CHECK_INVALID(esrpc_connection_options_set_max_message_size(NULL, 16));
    CHECK_INVALID(esrpc_connection_options_set_max_handshake_message_size(NULL, 16));
    CHECK_INVALID(esrpc_connection_options_set_max_headers(NULL, 1));
    CHECK_INVALID(esrpc_connection_options_set_max_headers_size(NULL, 1));
    CHECK_INVALID(esrpc_connection_options_set_max_header_value_size(NULL, 1));
    CHECK_INVALID(esrpc_connection_options_set_outbound_limit(NULL, 1));
    CHECK_INVALID(esrpc_connection_options_set_stream_queue_limit(NULL, 1));
    CHECK_INVALID(esrpc_connection_options_set_linger_ms(NULL, 1));

    CHECK_OK(esrpc_connection_options_set_max_message_size(options, 16));
    CHECK_OK(esrpc_connection_options_set_max_message_size(options, 0x7fffffff));
    CHECK_INVALID(esrpc_connection_options_set_max_message_size(options, 15));
    CHECK(last_error_says("the maximum message size is 15; it must be 16 to 2147483647"));
    CHECK_INVALID(esrpc_connection_options_set_max_message_size(options, 0x80000000));
    CHECK_OK(esrpc_connection_options_set_max_handshake_message_size(options, 16));
    CHECK_INVALID(esrpc_connection_options_set_max_handshake_message_size(options, 15));
    CHECK_INVALID(esrpc_connection_options_set_max_handshake_message_size(options, SIZE_MAX));
    CHECK_OK(esrpc_connection_options_set_max_headers(options, 0));
    CHECK_INVALID(esrpc_connection_options_set_max_headers(options, SIZE_MAX));
    CHECK_OK(esrpc_connection_options_set_max_headers_size(options, 0));
    CHECK_INVALID(esrpc_connection_options_set_max_headers_size(options, SIZE_MAX));
    CHECK_OK(esrpc_connection_options_set_max_header_value_size(options, 65535));
    CHECK_INVALID(esrpc_connection_options_set_max_header_value_size(options, 65536));
    CHECK_OK(esrpc_connection_options_set_outbound_limit(options, 1));
    CHECK_OK(esrpc_connection_options_set_stream_queue_limit(options, 1));
    CHECK_INVALID(esrpc_connection_options_set_stream_queue_limit(options, 0));
    CHECK_INVALID(esrpc_connection_options_set_stream_queue_limit(options, SIZE_MAX));
    CHECK_INVALID(esrpc_connection_options_set_outbound_limit(options, 0));
    CHECK_INVALID(esrpc_connection_options_set_outbound_limit(options, SIZE_MAX));
    CHECK_OK(esrpc_connection_options_set_linger_ms(options, 86400000));
    CHECK_OK(esrpc_connection_options_set_linger_ms(options, 0));
    CHECK_OK(esrpc_connection_options_set_linger_ms(options, ESRPC_NO_TIMEOUT));
    CHECK_INVALID(esrpc_connection_options_set_linger_ms(options, 86400001));
    CHECK_INVALID(esrpc_connection_options_set_linger_ms(options, ESRPC_NO_TIMEOUT - 1));
    esrpc_connection_options_release(options);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(values_of_nothing),
        TEST(releases_of_nothing),
        TEST(uuids),
        TEST(filling_headers),
        TEST(header_blocks),
        TEST(reading_headers),
        TEST(messages),
        TEST(decoders),
        TEST(options),
    };
    return RUN_TESTS(tests, argc, argv);
}
