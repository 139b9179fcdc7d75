/* Header lists: adding, reading, finding, removing; limits; the list of a message. */
#include "events.h"

static const uint8_t UUID[16] = {0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3,
                                 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0x00};
static const char UUID_TEXT[] = "123e4567-e89b-12d3-a456-426614174000";

static esrpc_headers *list_with_every_type(void) {
    esrpc_headers *headers = esrpc_headers_new();
    CHECK_OK(esrpc_headers_add_bool(headers, esrpc_text("true"), true));
    CHECK_OK(esrpc_headers_add_bool(headers, esrpc_text("false"), false));
    CHECK_OK(esrpc_headers_add_byte(headers, esrpc_text("byte"), INT8_MIN));
    CHECK_OK(esrpc_headers_add_int16(headers, esrpc_text("int16"), INT16_MIN));
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text("int32"), INT32_MIN));
    CHECK_OK(esrpc_headers_add_int64(headers, esrpc_text("int64"), INT64_MIN));
    CHECK_OK(esrpc_headers_add_byte_buf(headers, esrpc_text("byte_buf"), bytes("\0\xff", 2)));
    CHECK_OK(esrpc_headers_add_string(headers, esrpc_text("string"), esrpc_text("text")));
    CHECK_OK(esrpc_headers_add_timestamp(headers, esrpc_text("timestamp"), 1700000000000));
    CHECK_OK(esrpc_headers_add_uuid(headers, esrpc_text("uuid"), UUID));
    return headers;
}

static void check_header(const esrpc_headers *headers, size_t index, const char *name, int32_t type, int64_t number,
                         esrpc_bytes value) {
    esrpc_header header;
    CHECK_OK(esrpc_headers_get(headers, index, &header));
    CHECK(is_text(header.name, name));
    CHECK(header.type == type);
    CHECK(header.number == number);
    CHECK(esrpc_bytes_equal(header.bytes, value));
}

static void check_every_type(const esrpc_headers *headers) {
    const esrpc_bytes none = bytes(NULL, 0);
    CHECK(esrpc_headers_count(headers) == 10);
    check_header(headers, 0, "true", ESRPC_HEADER_TYPE_BOOL_TRUE, 1, none);
    check_header(headers, 1, "false", ESRPC_HEADER_TYPE_BOOL_FALSE, 0, none);
    check_header(headers, 2, "byte", ESRPC_HEADER_TYPE_BYTE, INT8_MIN, none);
    check_header(headers, 3, "int16", ESRPC_HEADER_TYPE_INT16, INT16_MIN, none);
    check_header(headers, 4, "int32", ESRPC_HEADER_TYPE_INT32, INT32_MIN, none);
    check_header(headers, 5, "int64", ESRPC_HEADER_TYPE_INT64, INT64_MIN, none);
    check_header(headers, 6, "byte_buf", ESRPC_HEADER_TYPE_BYTE_BUF, 0, bytes("\0\xff", 2));
    check_header(headers, 7, "string", ESRPC_HEADER_TYPE_STRING, 0, esrpc_text("text"));
    check_header(headers, 8, "timestamp", ESRPC_HEADER_TYPE_TIMESTAMP, 1700000000000, none);
    check_header(headers, 9, "uuid", ESRPC_HEADER_TYPE_UUID, 0, bytes(UUID, 16));
}

static esrpc_message *encode_and_decode(const esrpc_headers *headers, esrpc_buffer **wire) {
    esrpc_message *message = NULL;
    CHECK_OK(esrpc_message_encode_to_buffer(headers, esrpc_text("p"), wire));
    CHECK_OK(esrpc_message_decode(esrpc_buffer_get_bytes(*wire), &message, NULL));
    return message;
}

static void every_type_is_added_and_read(void) {
    esrpc_headers *headers = list_with_every_type();
    check_every_type(headers);
    esrpc_header header;
    CHECK_STATUS(ESRPC_ERROR_HEADER_NOT_FOUND, esrpc_headers_get(headers, 10, &header));
    CHECK_STATUS(ESRPC_ERROR_HEADER_NOT_FOUND, esrpc_headers_get(headers, SIZE_MAX, &header));
    esrpc_headers_release(headers);
}

static void the_list_of_a_message_reads_the_same_in_any_order(void) {
    esrpc_headers *headers = list_with_every_type();
    esrpc_buffer *wire = NULL;
    esrpc_message *message = encode_and_decode(headers, &wire);
    esrpc_headers_release(headers);
    const esrpc_headers *received = esrpc_message_get_headers(message);
    check_every_type(received);
    check_every_type(received);
    esrpc_header header;
    for (size_t index = 10; index-- > 0;) {
        CHECK_OK(esrpc_headers_get(received, index, &header));
        CHECK(header.type == (int32_t)index);
    }
    CHECK_STATUS(ESRPC_ERROR_HEADER_NOT_FOUND, esrpc_headers_get(received, 10, &header));
    esrpc_message_release(message);
    esrpc_buffer_release(wire);
}

/* Reads the whole list into an array and adds it to another one. */
static void what_is_read_as_a_range_can_be_added_again(void) {
    esrpc_headers *headers = list_with_every_type();
    esrpc_headers *copy = esrpc_headers_new();
    esrpc_header read[10];
    size_t count;
    CHECK_OK(esrpc_headers_get_range(headers, 0, read, 10, &count));
    CHECK_OK(esrpc_headers_add(copy, read, count));
    check_every_type(copy);
    CHECK_OK(esrpc_headers_add(copy, NULL, 0));
    /* Of its own list, whose bytes move. */
    CHECK_OK(esrpc_headers_get_range(copy, 0, read, 10, &count));
    for (int i = 0; i < 50; i++) {
        CHECK_OK(esrpc_headers_add(copy, read, count));
        CHECK_OK(esrpc_headers_get_range(copy, 10, read, 10, &count));
    }
    CHECK(esrpc_headers_count(copy) == 510);
    check_header(copy, 509, "uuid", ESRPC_HEADER_TYPE_UUID, 0, bytes(UUID, 16));
    esrpc_headers_release(copy);
    esrpc_headers_release(headers);
}

static void check_nothing_is_added(esrpc_status status, esrpc_header wrong) {
    esrpc_headers *headers = esrpc_headers_new();
    CHECK_OK(esrpc_headers_add_bool(headers, esrpc_text("first"), 1));
    esrpc_header added[2];
    memset(added, 0, sizeof added);
    added[0].name = esrpc_text("good");
    added[1] = wrong;
    CHECK_STATUS(status, esrpc_headers_add(headers, added, 2));
    CHECK(esrpc_headers_count(headers) == 1);
    CHECK_OK(esrpc_headers_add(headers, added, 1));
    check_header(headers, 1, "good", ESRPC_HEADER_TYPE_BOOL_TRUE, 1, bytes(NULL, 0));
    esrpc_headers_release(headers);
}

static void of_several_headers_all_are_added_or_none(void) {
    static const char long_text[32768] = "";
    esrpc_header header;
    memset(&header, 0, sizeof header);
    header.name = bytes(NULL, 0);
    check_nothing_is_added(ESRPC_ERROR_HEADER_NAME_LENGTH, header);
    header.name = bytes("\xff", 1);
    check_nothing_is_added(ESRPC_ERROR_INVALID_UTF8, header);
    header.name = esrpc_text("wrong");
    header.type = 10;
    check_nothing_is_added(ESRPC_ERROR_INVALID_ARGUMENT, header);
    CHECK(last_error_says("type of header 1 is 10"));
    header.type = -1;
    check_nothing_is_added(ESRPC_ERROR_INVALID_ARGUMENT, header);
    header.type = ESRPC_HEADER_TYPE_BYTE;
    header.number = 128;
    check_nothing_is_added(ESRPC_ERROR_INVALID_ARGUMENT, header);
    header.type = ESRPC_HEADER_TYPE_INT16;
    header.number = -32769;
    check_nothing_is_added(ESRPC_ERROR_INVALID_ARGUMENT, header);
    header.type = ESRPC_HEADER_TYPE_INT32;
    header.number = (int64_t)INT32_MAX + 1;
    check_nothing_is_added(ESRPC_ERROR_INVALID_ARGUMENT, header);
    header.type = ESRPC_HEADER_TYPE_UUID;
    header.bytes = esrpc_text("short");
    check_nothing_is_added(ESRPC_ERROR_INVALID_ARGUMENT, header);
    CHECK(last_error_says("5 bytes, not 16"));
    header.type = ESRPC_HEADER_TYPE_STRING;
    header.bytes = bytes("\xff", 1);
    check_nothing_is_added(ESRPC_ERROR_INVALID_UTF8, header);
    header.bytes = bytes(long_text, sizeof long_text);
    check_nothing_is_added(ESRPC_ERROR_HEADER_VALUE_TOO_LONG, header);
    header.bytes = no_bytes_of_length_one();
    check_nothing_is_added(ESRPC_ERROR_INVALID_ARGUMENT, header);
}

static void as_many_headers_are_added_at_once_as_a_list_holds(void) {
    static esrpc_header added[1025];
    for (size_t i = 0; i < 1025; i++) added[i].name = esrpc_text("n");
    esrpc_headers *headers = esrpc_headers_new();
    CHECK_STATUS(ESRPC_ERROR_TOO_MANY_HEADERS, esrpc_headers_add(headers, added, 1025));
    CHECK_STATUS(ESRPC_ERROR_TOO_MANY_HEADERS, esrpc_headers_add(headers, added, SIZE_MAX));
    CHECK_OK(esrpc_headers_add(headers, added, 1024));
    CHECK_STATUS(ESRPC_ERROR_TOO_MANY_HEADERS, esrpc_headers_add(headers, added, 1));
    CHECK(esrpc_headers_count(headers) == 1024);
    esrpc_headers_release(headers);
}

static void headers_are_written_and_read_without_a_message(void) {
    esrpc_headers *headers = list_with_every_type();
    esrpc_buffer *wire = NULL;
    esrpc_message *message = encode_and_decode(headers, &wire);
    const esrpc_headers *received = esrpc_message_get_headers(message);
    uint8_t block[256], again[256];
    size_t len, len_again;
    CHECK_STATUS(ESRPC_ERROR_BUFFER_TOO_SMALL, esrpc_headers_encode(headers, NULL, 0, &len));
    CHECK(len > 0 && len < sizeof block);
    CHECK_STATUS(ESRPC_ERROR_BUFFER_TOO_SMALL, esrpc_headers_encode(headers, block, len - 1, &len));
    CHECK_OK(esrpc_headers_encode(headers, block, len, &len));
    /* It is what stands between the prelude and the payload. */
    CHECK(memcmp(block, esrpc_buffer_get_bytes(wire).data + 12, len) == 0);
    CHECK_OK(esrpc_headers_encode(received, again, sizeof again, &len_again));
    CHECK(len_again == len && memcmp(block, again, len) == 0);
    esrpc_headers *decoded = NULL;
    CHECK_OK(esrpc_headers_decode(bytes(block, len), &decoded));
    memset(block, 0, sizeof block);
    check_every_type(decoded);
    CHECK_OK(esrpc_headers_add_bool(decoded, esrpc_text("one more"), 1));
    esrpc_headers_release(decoded);
    esrpc_message_release(message);
    esrpc_buffer_release(wire);
    esrpc_headers_release(headers);

    CHECK_OK(esrpc_headers_encode(NULL, NULL, 0, &len));
    CHECK(len == 0);
    CHECK_OK(esrpc_headers_decode(bytes(NULL, 0), &decoded));
    CHECK(esrpc_headers_count(decoded) == 0);
    esrpc_headers_release(decoded);
}

static void a_damaged_header_block_is_refused(void) {
    esrpc_headers *headers = NULL;
    CHECK_STATUS(ESRPC_ERROR_HEADER_OVERRUN, esrpc_headers_decode(bytes("\x01n\x07\0\x02v", 6), &headers));
    CHECK_STATUS(ESRPC_ERROR_UNKNOWN_HEADER_TYPE, esrpc_headers_decode(bytes("\x01n\x0a", 3), &headers));
    char many[3 * 1025];
    for (size_t i = 0; i < 1025; i++) memcpy(many + 3 * i, "\x01n\0", 3);
    CHECK_STATUS(ESRPC_ERROR_TOO_MANY_HEADERS, esrpc_headers_decode(bytes(many, sizeof many), &headers));
    CHECK(headers == NULL);
    CHECK_OK(esrpc_headers_decode(bytes(many, sizeof many - 3), &headers));
    CHECK(esrpc_headers_count(headers) == 1024);
    esrpc_headers_release(headers);
}

static void check_ranges(const esrpc_headers *headers) {
    esrpc_header read[12];
    size_t count;
    for (size_t first = 0; first <= 12; first++) {
        for (size_t capacity = 0; capacity <= 12; capacity++) {
            size_t left = first < 10 ? 10 - first : 0;
            CHECK_OK(esrpc_headers_get_range(headers, first, read, capacity, &count));
            CHECK(count == (capacity < left ? capacity : left));
            for (size_t i = 0; i < count; i++) {
                esrpc_header one;
                CHECK_OK(esrpc_headers_get(headers, first + i, &one));
                CHECK(read[i].type == one.type && read[i].number == one.number);
                CHECK(read[i].name.data == one.name.data && read[i].name.len == one.name.len);
                CHECK(read[i].bytes.data == one.bytes.data && read[i].bytes.len == one.bytes.len);
            }
        }
    }
    CHECK_OK(esrpc_headers_get_range(headers, SIZE_MAX, read, 12, &count));
    CHECK(count == 0);
    /* Page by page, with a look at another one in between. */
    size_t seen = 0;
    do {
        CHECK_OK(esrpc_headers_get_range(headers, seen, read, 3, &count));
        for (size_t i = 0; i < count; i++) CHECK(read[i].type == (int32_t)(seen + i));
        seen += count;
        CHECK_OK(esrpc_headers_get(headers, 9 - seen % 10, &read[0]));
    } while (count == 3);
    CHECK(seen == 10);
}

static void several_headers_are_read_at_once(void) {
    esrpc_headers *headers = list_with_every_type();
    check_ranges(headers);
    esrpc_buffer *wire = NULL;
    esrpc_message *message = encode_and_decode(headers, &wire);
    esrpc_headers_release(headers);
    check_ranges(esrpc_message_get_headers(message));
    esrpc_message_release(message);
    esrpc_buffer_release(wire);
}

static void the_list_of_a_message_cannot_be_changed(void) {
    esrpc_headers *headers = list_with_every_type();
    esrpc_buffer *wire = NULL;
    esrpc_message *message = encode_and_decode(headers, &wire);
    esrpc_headers *received = (esrpc_headers *)esrpc_message_get_headers(message);
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_headers_add_bool(received, esrpc_text("b"), true));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_headers_add_from(received, headers, false));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_headers_add_from(received, received, false));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_headers_remove(received, esrpc_text("byte")));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_headers_remove_at(received, 0));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_headers_clear(received));
    esrpc_headers_release(received);
    check_every_type(received);
    esrpc_message_release(message);
    esrpc_buffer_release(wire);
    esrpc_headers_release(headers);
}

static void typed_getters_read_their_type_and_refuse_others(void) {
    esrpc_headers *headers = list_with_every_type();
    bool boolean = false;
    int8_t byte = 0;
    int16_t int16 = 0;
    int32_t int32 = 0;
    int64_t int64 = 0;
    int64_t timestamp = 0;
    esrpc_bytes value;
    uint8_t uuid[16];
    CHECK_OK(esrpc_headers_get_bool(headers, esrpc_text("true"), &boolean));
    CHECK(boolean);
    CHECK_OK(esrpc_headers_get_bool(headers, esrpc_text("FALSE"), &boolean));
    CHECK(!boolean);
    CHECK_OK(esrpc_headers_get_byte(headers, esrpc_text("byte"), &byte));
    CHECK(byte == INT8_MIN);
    CHECK_OK(esrpc_headers_get_int16(headers, esrpc_text("int16"), &int16));
    CHECK(int16 == INT16_MIN);
    CHECK_OK(esrpc_headers_get_int32(headers, esrpc_text("int32"), &int32));
    CHECK(int32 == INT32_MIN);
    CHECK_OK(esrpc_headers_get_int64(headers, esrpc_text("int64"), &int64));
    CHECK(int64 == INT64_MIN);
    CHECK_OK(esrpc_headers_get_timestamp(headers, esrpc_text("timestamp"), &timestamp));
    CHECK(timestamp == 1700000000000);
    CHECK_OK(esrpc_headers_get_byte_buf(headers, esrpc_text("byte_buf"), &value));
    CHECK(esrpc_bytes_equal(value, bytes("\0\xff", 2)));
    CHECK_OK(esrpc_headers_get_string(headers, esrpc_text("String"), &value));
    CHECK(is_text(value, "text"));
    CHECK_OK(esrpc_headers_get_uuid(headers, esrpc_text("uuid"), uuid));
    CHECK(memcmp(uuid, UUID, 16) == 0);

    byte = 42;
    CHECK_STATUS(ESRPC_ERROR_WRONG_TYPE, esrpc_headers_get_byte(headers, esrpc_text("int16"), &byte));
    CHECK(last_error_says("\"int16\" has the type int16, not byte"));
    CHECK(byte == 42);
    CHECK_STATUS(ESRPC_ERROR_WRONG_TYPE, esrpc_headers_get_bool(headers, esrpc_text("byte"), &boolean));
    CHECK_STATUS(ESRPC_ERROR_WRONG_TYPE, esrpc_headers_get_int16(headers, esrpc_text("int32"), &int16));
    CHECK_STATUS(ESRPC_ERROR_WRONG_TYPE, esrpc_headers_get_int32(headers, esrpc_text("int64"), &int32));
    CHECK_STATUS(ESRPC_ERROR_WRONG_TYPE, esrpc_headers_get_int64(headers, esrpc_text("timestamp"), &int64));
    CHECK_STATUS(ESRPC_ERROR_WRONG_TYPE, esrpc_headers_get_timestamp(headers, esrpc_text("int64"), &timestamp));
    CHECK_STATUS(ESRPC_ERROR_WRONG_TYPE, esrpc_headers_get_byte_buf(headers, esrpc_text("string"), &value));
    CHECK_STATUS(ESRPC_ERROR_WRONG_TYPE, esrpc_headers_get_string(headers, esrpc_text("byte_buf"), &value));
    CHECK_STATUS(ESRPC_ERROR_WRONG_TYPE, esrpc_headers_get_uuid(headers, esrpc_text("true"), uuid));
    CHECK_STATUS(ESRPC_ERROR_HEADER_NOT_FOUND, esrpc_headers_get_int32(headers, esrpc_text("int33"), &int32));
    CHECK(last_error_says("int33"));
    esrpc_headers_release(headers);
}

static void names_match_without_case_and_the_last_counts(void) {
    esrpc_headers *headers = esrpc_headers_new();
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text("Name"), 1));
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text("other"), 2));
    CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text("nAME"), 3));
    esrpc_header header;
    CHECK_OK(esrpc_headers_find(headers, esrpc_text("name"), &header));
    CHECK(header.number == 3);
    CHECK(is_text(header.name, "nAME"));
    CHECK_STATUS(ESRPC_ERROR_HEADER_NOT_FOUND, esrpc_headers_find(headers, esrpc_text("nam"), &header));
    CHECK_STATUS(ESRPC_ERROR_HEADER_NOT_FOUND, esrpc_headers_find(headers, bytes(NULL, 0), &header));

    CHECK_OK(esrpc_headers_remove(headers, esrpc_text("NAME")));
    CHECK(esrpc_headers_count(headers) == 1);
    CHECK_STATUS(ESRPC_ERROR_HEADER_NOT_FOUND, esrpc_headers_remove(headers, esrpc_text("name")));
    CHECK_STATUS(ESRPC_ERROR_HEADER_NOT_FOUND, esrpc_headers_remove_at(headers, 1));
    CHECK_OK(esrpc_headers_remove_at(headers, 0));
    CHECK(esrpc_headers_count(headers) == 0);
    CHECK_OK(esrpc_headers_clear(headers));
    esrpc_headers_release(headers);
}

static void limits_are_kept_and_change_nothing(void) {
    esrpc_headers *headers = esrpc_headers_new();
    static char data[70000];
    memset(data, 'x', sizeof data);
    CHECK_OK(esrpc_headers_add_bool(headers, bytes(data, true), 1));
    CHECK_OK(esrpc_headers_add_bool(headers, bytes(data, 255), true));
    CHECK_OK(esrpc_headers_add_string(headers, bytes("s", 1), bytes(data, 32767)));
    CHECK_OK(esrpc_headers_add_byte_buf(headers, bytes("b", 1), bytes(data, 32767)));
    CHECK_OK(esrpc_headers_add_string(headers, bytes("e", 1), bytes(NULL, 0)));
    CHECK_STATUS(ESRPC_ERROR_HEADER_NAME_LENGTH, esrpc_headers_add_bool(headers, bytes(data, 256), true));
    CHECK_STATUS(ESRPC_ERROR_HEADER_NAME_LENGTH, esrpc_headers_add_bool(headers, bytes(NULL, false), 1));
    CHECK_STATUS(ESRPC_ERROR_HEADER_VALUE_TOO_LONG,
                 esrpc_headers_add_string(headers, bytes("s", 1), bytes(data, 32768)));
    CHECK_STATUS(ESRPC_ERROR_HEADER_VALUE_TOO_LONG,
                 esrpc_headers_add_byte_buf(headers, bytes("b", 1), bytes(data, 65536)));
    CHECK_STATUS(ESRPC_ERROR_INVALID_UTF8, esrpc_headers_add_bool(headers, bytes("\xff", true), 1));
    CHECK_STATUS(ESRPC_ERROR_INVALID_UTF8, esrpc_headers_add_string(headers, bytes("s", 1), bytes("\xc3", 1)));
    CHECK_STATUS(ESRPC_ERROR_INVALID_UUID, esrpc_headers_add_uuid_text(headers, bytes("u", 1), bytes("u", 1)));
    CHECK(esrpc_headers_count(headers) == 5);

    CHECK_OK(esrpc_headers_clear(headers));
    for (int i = 0; i < 1024; i++) {
        CHECK_OK(esrpc_headers_add_int32(headers, bytes("n", 1), i));
    }
    CHECK_STATUS(ESRPC_ERROR_TOO_MANY_HEADERS, esrpc_headers_add_int32(headers, bytes("n", 1), 0));
    CHECK(esrpc_headers_count(headers) == 1024);
    esrpc_headers_release(headers);
}

static void copying_leaves_the_protocols_headers_out_unless_asked(void) {
    esrpc_headers *source = esrpc_headers_new();
    CHECK_OK(esrpc_headers_add_int32(source, esrpc_text(":Message-Type"), 0));
    CHECK_OK(esrpc_headers_add_string(source, esrpc_text("a"), esrpc_text("1")));
    CHECK_OK(esrpc_headers_add_int32(source, esrpc_text(":message-flags"), 2));
    CHECK_OK(esrpc_headers_add_int32(source, esrpc_text(":stream-id"), 1));
    CHECK_OK(esrpc_headers_add_string(source, esrpc_text("operation"), esrpc_text("o")));
    esrpc_buffer *wire = NULL;
    esrpc_message *message = encode_and_decode(source, &wire);

    esrpc_headers *copy = esrpc_headers_new();
    CHECK_OK(esrpc_headers_add_from(copy, esrpc_message_get_headers(message), false));
    CHECK(esrpc_headers_count(copy) == 2);
    check_header(copy, 0, "a", ESRPC_HEADER_TYPE_STRING, 0, esrpc_text("1"));
    check_header(copy, 1, "operation", ESRPC_HEADER_TYPE_STRING, 0, esrpc_text("o"));
    CHECK_OK(esrpc_headers_add_from(copy, source, true));
    CHECK(esrpc_headers_count(copy) == 7);
    check_header(copy, 2, ":Message-Type", ESRPC_HEADER_TYPE_INT32, 0, bytes(NULL, 0));
    CHECK_OK(esrpc_headers_add_from(copy, copy, false));
    CHECK(esrpc_headers_count(copy) == 11);
    esrpc_headers_release(copy);
    esrpc_message_release(message);
    esrpc_buffer_release(wire);
    esrpc_headers_release(source);
}

/* A list gives views of its own bytes, and adding moves them. */
static void what_a_list_gave_can_be_added_to_it(void) {
    esrpc_headers *headers = esrpc_headers_new();
    CHECK_OK(esrpc_headers_add_string(headers, esrpc_text("name"), esrpc_text("value")));
    esrpc_header header;
    for (int i = 0; i < 500; i++) {
        CHECK_OK(esrpc_headers_get(headers, 0, &header));
        CHECK_OK(esrpc_headers_add_string(headers, header.name, header.bytes));
    }
    for (size_t index = 0; index < 501; index++) {
        check_header(headers, index, "name", ESRPC_HEADER_TYPE_STRING, 0, esrpc_text("value"));
    }
    CHECK_OK(esrpc_headers_get(headers, 3, &header));
    CHECK_OK(esrpc_headers_remove(headers, header.name));
    CHECK(esrpc_headers_count(headers) == 0);
    esrpc_headers_release(headers);
}

static void uuids_have_a_text_form(void) {
    char text[37];
    uint8_t uuid[16];
    CHECK_OK(esrpc_uuid_to_text(UUID, text, sizeof text));
    CHECK(strcmp(text, UUID_TEXT) == 0);
    CHECK_STATUS(ESRPC_ERROR_BUFFER_TOO_SMALL, esrpc_uuid_to_text(UUID, text, 36));
    CHECK_OK(esrpc_uuid_from_text(esrpc_text("123E4567-E89B-12d3-A456-426614174000"), uuid));
    CHECK(memcmp(uuid, UUID, 16) == 0);
    const char *const wrong[] = {"", "123e4567", "123e4567e89b12d3a456426614174000",
                                 "{123e4567-e89b-12d3-a456-426614174000}", "123e4567-e89b-12d3-a456-42661417400g",
                                 "urn:uuid:123e4567-e89b-12d3-a456-426614174000"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK_STATUS(ESRPC_ERROR_INVALID_UUID, esrpc_uuid_from_text(esrpc_text(wrong[i]), uuid));
    }
    esrpc_headers *headers = esrpc_headers_new();
    CHECK_OK(esrpc_headers_add_uuid_text(headers, esrpc_text("u"), esrpc_text(UUID_TEXT)));
    check_header(headers, 0, "u", ESRPC_HEADER_TYPE_UUID, 0, bytes(UUID, 16));
    esrpc_headers_release(headers);
}

/* A caller whose bool is a whole byte, as in other languages, may pass any number. */
static void a_boolean_of_2_is_true(void) {
    typedef esrpc_status (*add_byte_as_bool)(esrpc_headers *headers, esrpc_bytes name, uint8_t value);
    add_byte_as_bool add = (add_byte_as_bool)(void (*)(void))esrpc_headers_add_bool;
    esrpc_headers *headers = esrpc_headers_new();
    CHECK_OK(add(headers, esrpc_text("two"), 2));
    CHECK_OK(add(headers, esrpc_text("all bits"), 255));
    CHECK_OK(add(headers, esrpc_text("none"), 0));
    check_header(headers, 0, "two", ESRPC_HEADER_TYPE_BOOL_TRUE, 1, bytes(NULL, 0));
    check_header(headers, 1, "all bits", ESRPC_HEADER_TYPE_BOOL_TRUE, 1, bytes(NULL, 0));
    check_header(headers, 2, "none", ESRPC_HEADER_TYPE_BOOL_FALSE, 0, bytes(NULL, 0));
    esrpc_headers_release(headers);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(every_type_is_added_and_read),
        TEST(a_boolean_of_2_is_true),
        TEST(the_list_of_a_message_reads_the_same_in_any_order),
        TEST(several_headers_are_read_at_once),
        TEST(what_is_read_as_a_range_can_be_added_again),
        TEST(of_several_headers_all_are_added_or_none),
        TEST(as_many_headers_are_added_at_once_as_a_list_holds),
        TEST(headers_are_written_and_read_without_a_message),
        TEST(a_damaged_header_block_is_refused),
        TEST(the_list_of_a_message_cannot_be_changed),
        TEST(typed_getters_read_their_type_and_refuse_others),
        TEST(names_match_without_case_and_the_last_counts),
        TEST(limits_are_kept_and_change_nothing),
        TEST(copying_leaves_the_protocols_headers_out_unless_asked),
        TEST(what_a_list_gave_can_be_added_to_it),
        TEST(uuids_have_a_text_form),
    };
    return RUN_TESTS(tests, argc, argv);
}
