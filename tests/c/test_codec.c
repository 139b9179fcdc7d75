/* Statuses and small helpers; whole messages: encoding, decoding, copying, JSON. */
#include "events.h"

static void statuses_have_names_and_sentences(void) {
    CHECK(strcmp(esrpc_version(), ESRPC_VERSION) == 0);
    CHECK(strcmp(esrpc_status_name(ESRPC_OK), "ESRPC_OK") == 0);
    CHECK(strcmp(esrpc_status_name(ESRPC_ERROR_INCOMPLETE), "ESRPC_ERROR_INCOMPLETE") == 0);
    CHECK(strcmp(esrpc_status_name(12345), "APPLICATION_REASON") == 0);
    CHECK(strcmp(esrpc_status_name(999), "ESRPC_ERROR_UNKNOWN") == 0);
    CHECK(strcmp(esrpc_status_name(-1), "ESRPC_ERROR_UNKNOWN") == 0);
    for (esrpc_status status = -1; status < 1100; status++) {
        CHECK(strlen(esrpc_status_message(status)) > 5);
    }
}

static void bytes_compare_by_content(void) {
    CHECK(esrpc_bytes_equal(esrpc_text("abc"), bytes("abcd", 3)));
    CHECK(!esrpc_bytes_equal(esrpc_text("abc"), esrpc_text("abC")));
    CHECK(!esrpc_bytes_equal(esrpc_text("abc"), esrpc_text("ab")));
    CHECK(esrpc_bytes_equal(esrpc_text(NULL), esrpc_text("")));
}

static esrpc_headers *one_header(void) {
    esrpc_headers *headers = esrpc_headers_new();
    CHECK_OK(esrpc_headers_add_int64(headers, esrpc_text("h"), -1));
    return headers;
}

static void a_message_is_encoded_into_the_callers_buffer(void) {
    esrpc_headers *headers = one_header();
    uint8_t buffer[64];
    size_t len = 0;
    CHECK_STATUS(ESRPC_ERROR_BUFFER_TOO_SMALL, esrpc_message_encode(headers, esrpc_text("p"), NULL, 0, &len));
    CHECK(len == 28);
    memset(buffer, 0xee, sizeof buffer);
    len = 0;
    CHECK_STATUS(ESRPC_ERROR_BUFFER_TOO_SMALL, esrpc_message_encode(headers, esrpc_text("p"), buffer, 27, &len));
    CHECK(len == 28);
    CHECK(buffer[0] == 0xee);
    CHECK_OK(esrpc_message_encode(headers, esrpc_text("p"), buffer, 28, &len));
    CHECK(len == 28);
    CHECK(buffer[28] == 0xee);

    esrpc_buffer *same = NULL;
    CHECK_OK(esrpc_message_encode_to_buffer(headers, esrpc_text("p"), &same));
    CHECK(esrpc_bytes_equal(esrpc_buffer_get_bytes(same), bytes(buffer, 28)));
    CHECK(esrpc_buffer_get_bytes(same).data[28] == 0);
    esrpc_buffer_release(same);
    esrpc_headers_release(headers);
}

static void a_payload_may_lie_in_the_buffer_that_it_is_encoded_into(void) {
    uint8_t buffer[64];
    size_t len = 0;
    memcpy(buffer, "payload", 7);
    CHECK_OK(esrpc_message_encode(NULL, bytes(buffer, 7), buffer, sizeof buffer, &len));
    esrpc_message *message = NULL;
    CHECK_OK(esrpc_message_decode(bytes(buffer, len), &message, NULL));
    CHECK(is_text(esrpc_message_get_payload(message), "payload"));
    esrpc_message_release(message);
}

static void a_decoded_message_is_a_view_with_all_figures(void) {
    /* The vector header_only_bool_true. */
    static const uint8_t wire[] = {0x00, 0x00, 0x00, 0x13, 0x00, 0x00, 0x00, 0x03, 0xdb, 0x6b,
                                   0x63, 0x81, 0x01, 'b',  0x00, 0x34, 0x53, 0x2c, 0xff, 0x55};
    esrpc_message *message = NULL;
    size_t used = 0;
    CHECK_OK(esrpc_message_decode(bytes(wire, sizeof wire), &message, &used));
    CHECK(used == 19);
    esrpc_message_info info;
    info.struct_size = sizeof info;
    CHECK_OK(esrpc_message_get_info(message, &info));
    CHECK(info.total_length == 19 && info.headers_length == 3 && info.header_count == 1);
    CHECK(info.prelude_crc == 0xdb6b6381 && info.message_crc == 0x34532cff);
    CHECK(info.message_type == -1 && info.flags == 0 && info.stream_id == -1);
    CHECK(esrpc_message_get_payload(message).len == 0);
    esrpc_header header;
    CHECK_OK(esrpc_headers_get(esrpc_message_get_headers(message), 0, &header));
    CHECK(header.name.data == wire + 13);
    CHECK(esrpc_message_get_type(message) == -1);
    CHECK(esrpc_message_get_flags(message) == 0);
    CHECK(esrpc_message_get_stream_id(message) == -1);
    esrpc_message_release(message);
}

static void concatenated_messages_can_be_walked(void) {
    uint8_t wire[256];
    size_t end = 0;
    const char *const payloads[] = {"one", "", "three"};
    for (int i = 0; i < 3; i++) {
        size_t len = 0;
        CHECK_OK(esrpc_message_encode(NULL, esrpc_text(payloads[i]), wire + end, sizeof wire - end, &len));
        end += len;
    }
    size_t at = 0;
    for (int i = 0; i < 3; i++) {
        esrpc_message *message = NULL;
        size_t used = 0;
        CHECK_OK(esrpc_message_decode(bytes(wire + at, end - at), &message, &used));
        CHECK(is_text(esrpc_message_get_payload(message), payloads[i]));
        esrpc_message_release(message);
        at += used;
    }
    CHECK(at == end);
}

static void damage_is_named_and_nothing_is_made(void) {
    uint8_t wire[64];
    size_t len = 0;
    esrpc_headers *headers = one_header();
    CHECK_OK(esrpc_message_encode(headers, esrpc_text("p"), wire, sizeof wire, &len));
    esrpc_message *message = NULL;
    size_t used = 77;
    for (size_t cut = 0; cut < len; cut++) {
        CHECK_STATUS(ESRPC_ERROR_INCOMPLETE, esrpc_message_decode(bytes(wire, cut), &message, &used));
    }
    wire[len - 1] ^= 1;
    CHECK_STATUS(ESRPC_ERROR_MESSAGE_CHECKSUM, esrpc_message_decode(bytes(wire, len), &message, &used));
    wire[8] ^= 1;
    CHECK_STATUS(ESRPC_ERROR_PRELUDE_CHECKSUM, esrpc_message_decode(bytes(wire, 12), &message, &used));
    CHECK(message == NULL);
    CHECK(used == 77);
    esrpc_headers_release(headers);
}

static void the_protocols_headers_are_read_by_accessors(void) {
    esrpc_headers *headers = esrpc_headers_new();
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":STREAM-ID"), 7));
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":message-type"), 3));
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":message-type"), ESRPC_MESSAGE_TYPE_PING));
    CHECK_OK(esrpc_headers_add_string(headers, esrpc_text(":message-flags"), esrpc_text("2")));
    esrpc_buffer *wire = NULL;
    esrpc_message *message = NULL;
    CHECK_OK(esrpc_message_encode_to_buffer(headers, bytes(NULL, 0), &wire));
    CHECK_OK(esrpc_message_decode(esrpc_buffer_get_bytes(wire), &message, NULL));
    CHECK(esrpc_message_get_stream_id(message) == 7);
    CHECK(esrpc_message_get_type(message) == ESRPC_MESSAGE_TYPE_PING);
    CHECK(esrpc_message_get_flags(message) == 0);
    esrpc_message_release(message);
    esrpc_buffer_release(wire);
    esrpc_headers_release(headers);
}

static void a_copy_outlives_its_original(void) {
    esrpc_headers *headers = one_header();
    esrpc_buffer *wire = NULL;
    esrpc_message *view = NULL, *copy = NULL, *copy_of_copy = NULL;
    CHECK_OK(esrpc_message_encode_to_buffer(headers, esrpc_text("p"), &wire));
    CHECK_OK(esrpc_message_decode(esrpc_buffer_get_bytes(wire), &view, NULL));
    CHECK_OK(esrpc_message_copy(view, &copy));
    esrpc_message_release(view);
    esrpc_buffer_release(wire);
    CHECK_OK(esrpc_message_copy(copy, &copy_of_copy));
    esrpc_message_release(copy);

    int64_t value = 0;
    CHECK_OK(esrpc_headers_get_int64(esrpc_message_get_headers(copy_of_copy), esrpc_text("H"), &value));
    CHECK(value == -1);
    CHECK(is_text(esrpc_message_get_payload(copy_of_copy), "p"));
    esrpc_message_info info;
    info.struct_size = sizeof info;
    CHECK_OK(esrpc_message_get_info(copy_of_copy, &info));
    CHECK(info.total_length == 28 && info.headers_length == 11);

    esrpc_buffer *json = NULL;
    CHECK_OK(esrpc_message_to_json(copy_of_copy, &json));
    CHECK(is_text(esrpc_buffer_get_bytes(json),
                  "{\"total_length\":28,\"headers\":[{\"name\":\"h\",\"type\":\"int64\",\"value\":-1}],"
                  "\"payload\":\"cA==\"}"));
    CHECK(strlen((const char *)esrpc_buffer_get_bytes(json).data) == esrpc_buffer_get_bytes(json).len);
    esrpc_buffer_release(json);

    /* The list of a message can be encoded again. */
    CHECK_OK(esrpc_message_encode_to_buffer(esrpc_message_get_headers(copy_of_copy), esrpc_text("p"), &wire));
    CHECK(esrpc_buffer_get_bytes(wire).len == 28);
    esrpc_buffer_release(wire);
    esrpc_message_release(copy_of_copy);
    esrpc_headers_release(headers);
}

/* Payload and headers are counted apart, and encoders and decoders have the same limits. */
static void a_payload_may_have_24_mib_beside_the_headers_and_no_more(void) {
    const size_t limit = 24u * 1024 * 1024;
    uint8_t *payload = (uint8_t *)calloc(limit + 1, 1);
    CHECK(payload != NULL);
    esrpc_headers *headers = esrpc_headers_new();
    CHECK_OK(esrpc_headers_add_byte_buf(headers, esrpc_text("h"), bytes(payload, 32767)));
    esrpc_buffer *wire = NULL;
    size_t len = 0;
    CHECK_STATUS(ESRPC_ERROR_MESSAGE_TOO_LARGE, esrpc_message_encode_to_buffer(headers, bytes(payload, limit + 1), &wire));
    CHECK(strstr(esrpc_last_error_message(), "the payload has 25165825 bytes, over the limit of 25165824") != NULL);
    CHECK_STATUS(ESRPC_ERROR_MESSAGE_TOO_LARGE, esrpc_message_encode(headers, bytes(payload, limit + 1), NULL, 0, &len));
    CHECK(wire == NULL);
    CHECK_STATUS(ESRPC_ERROR_BUFFER_TOO_SMALL, esrpc_message_encode(headers, bytes(payload, limit), NULL, 0, &len));
    CHECK_OK(esrpc_message_encode_to_buffer(headers, bytes(payload, limit), &wire));
    CHECK(esrpc_buffer_get_bytes(wire).len == len && len > limit + 32767);

    esrpc_message *decoded = NULL;
    CHECK_OK(esrpc_message_decode(esrpc_buffer_get_bytes(wire), &decoded, NULL));
    CHECK(esrpc_message_get_payload(decoded).len == limit);
    esrpc_message_release(decoded);

    esrpc_decoder *decoder = NULL;
    const esrpc_message *message = NULL;
    CHECK_OK(esrpc_decoder_new(NULL, NULL, &decoder));
    CHECK_OK(esrpc_decoder_push(decoder, esrpc_buffer_get_bytes(wire)));
    CHECK_OK(esrpc_decoder_next_message(decoder, &message));
    CHECK(message != NULL && esrpc_message_get_payload(message).len == limit);
    esrpc_decoder_release(decoder);

    esrpc_buffer_release(wire);
    esrpc_headers_release(headers);
    free(payload);
}

/* What is encoded can be decoded: a list grows past the limit only by copies of others. */
static void a_message_may_have_1024_headers_and_no_more(void) {
    esrpc_headers *headers = esrpc_headers_new();
    esrpc_headers *one = esrpc_headers_new();
    uint8_t message[8192];
    size_t len = 0;
    CHECK_OK(esrpc_headers_add_bool(headers, esrpc_text("n"), true));
    CHECK_OK(esrpc_headers_add_from(one, headers, true));
    for (int i = 0; i < 10; i++) CHECK_OK(esrpc_headers_add_from(headers, headers, true));
    CHECK(esrpc_headers_count(headers) == 1024);
    CHECK_OK(esrpc_message_encode(headers, esrpc_text("p"), message, sizeof message, &len));
    esrpc_message *decoded = NULL;
    CHECK_OK(esrpc_message_decode(bytes(message, len), &decoded, NULL));
    esrpc_message_release(decoded);

    esrpc_buffer *wire = NULL;
    CHECK_OK(esrpc_headers_add_from(headers, one, true));
    CHECK_STATUS(ESRPC_ERROR_TOO_MANY_HEADERS, esrpc_message_encode_to_buffer(headers, esrpc_text("p"), &wire));
    CHECK(wire == NULL);
    CHECK_STATUS(ESRPC_ERROR_TOO_MANY_HEADERS, esrpc_message_encode(headers, esrpc_text("p"), message, sizeof message, &len));
    CHECK_STATUS(ESRPC_ERROR_TOO_MANY_HEADERS, esrpc_message_encode(headers, esrpc_text("p"), NULL, 0, &len));
    esrpc_headers_release(one);
    esrpc_headers_release(headers);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(statuses_have_names_and_sentences),
        TEST(bytes_compare_by_content),
        TEST(a_message_is_encoded_into_the_callers_buffer),
        TEST(a_payload_may_lie_in_the_buffer_that_it_is_encoded_into),
        TEST(a_decoded_message_is_a_view_with_all_figures),
        TEST(concatenated_messages_can_be_walked),
        TEST(damage_is_named_and_nothing_is_made),
        TEST(the_protocols_headers_are_read_by_accessors),
        TEST(a_copy_outlives_its_original),
        TEST(a_payload_may_have_24_mib_beside_the_headers_and_no_more),
        TEST(a_message_may_have_1024_headers_and_no_more),
    };
    return RUN_TESTS(tests, argc, argv);
}
