/* The incremental decoder: whole messages, callbacks, calls from inside callbacks, limits. */
#include "events.h"

/* Two messages: header h = -1 and payload "payload"; no header, no payload. */
static size_t two_messages(uint8_t *wire, size_t capacity) {
    esrpc_headers *headers = esrpc_headers_new();
    size_t first = 0, second = 0;
    CHECK_OK(esrpc_headers_add_int64(headers, esrpc_text("h"), -1));
    CHECK_OK(esrpc_message_encode(headers, esrpc_text("payload"), wire, capacity, &first));
    CHECK_OK(esrpc_message_encode(NULL, bytes(NULL, 0), wire + first, capacity - first, &second));
    esrpc_headers_release(headers);
    return first + second;
}

static void whole_messages_come_out_however_the_input_is_cut(void) {
    uint8_t wire[128];
    const size_t len = two_messages(wire, sizeof wire);
    for (size_t chunk = 1; chunk <= len; chunk++) {
        esrpc_decoder *decoder = NULL;
        CHECK_OK(esrpc_decoder_new(NULL, NULL, &decoder));
        int count = 0;
        for (size_t at = 0; at < len; at += chunk) {
            CHECK_OK(esrpc_decoder_push(decoder, bytes(wire + at, chunk < len - at ? chunk : len - at)));
            const esrpc_message *message = NULL;
            for (;;) {
                CHECK_OK(esrpc_decoder_next_message(decoder, &message));
                if (message == NULL) {
                    break;
                }
                CHECK(is_text(esrpc_message_get_payload(message), count == 0 ? "payload" : ""));
                esrpc_message_release((esrpc_message *)message); /* only lent: does nothing */
                count++;
            }
            const bool is_between = at + chunk == 34 || at + chunk >= len;
            const esrpc_status end = is_between ? ESRPC_OK : ESRPC_ERROR_INCOMPLETE;
            CHECK(esrpc_decoder_finish(decoder) == end);
        }
        CHECK(count == 2);
        esrpc_decoder_release(decoder);
    }
}

static void lent_messages_live_side_by_side_until_the_next_push(void) {
    enum { COUNT = 200 };
    static uint8_t wire[COUNT * 20];
    const esrpc_message *messages[COUNT];
    esrpc_decoder *decoder = NULL;
    CHECK_OK(esrpc_decoder_new(NULL, NULL, &decoder));
    for (int round = 0; round < 3; round++) {
        size_t end = 0;
        for (int i = 0; i < COUNT; i++) {
            const uint8_t payload[2] = {(uint8_t)i, (uint8_t)round};
            size_t len = 0;
            CHECK_OK(esrpc_message_encode(NULL, bytes(payload, 2), wire + end, sizeof wire - end, &len));
            end += len;
        }
        CHECK_OK(esrpc_decoder_push(decoder, bytes(wire, end)));
        for (int i = 0; i < COUNT; i++) {
            CHECK_OK(esrpc_decoder_next_message(decoder, &messages[i]));
        }
        for (int i = 0; i < COUNT; i++) {
            const uint8_t payload[2] = {(uint8_t)i, (uint8_t)round};
            CHECK(esrpc_bytes_equal(esrpc_message_get_payload(messages[i]), bytes(payload, 2)));
        }
    }
    esrpc_decoder_release(decoder);
}

static void good_messages_come_before_the_error_which_stays(void) {
    uint8_t wire[128];
    size_t len = two_messages(wire, sizeof wire);
    wire[len - 1] ^= 1;
    esrpc_decoder *decoder = NULL;
    const esrpc_message *message = NULL;
    CHECK_OK(esrpc_decoder_new(NULL, NULL, &decoder));
    CHECK_STATUS(ESRPC_ERROR_MESSAGE_CHECKSUM, esrpc_decoder_push(decoder, bytes(wire, len)));
    CHECK_OK(esrpc_decoder_next_message(decoder, &message));
    CHECK(message != NULL && is_text(esrpc_message_get_payload(message), "payload"));
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(ESRPC_ERROR_MESSAGE_CHECKSUM, esrpc_decoder_next_message(decoder, &message));
        CHECK_STATUS(ESRPC_ERROR_MESSAGE_CHECKSUM, esrpc_decoder_push(decoder, esrpc_text("x")));
        CHECK_STATUS(ESRPC_ERROR_MESSAGE_CHECKSUM, esrpc_decoder_finish(decoder));
    }
    esrpc_decoder_release(decoder);
}

/* What came in callbacks, as text. */
typedef struct {
    char log[512];
    /* What to do inside on_header. */
    bool call_inside;
    bool release_inside;
} trace;

static void trace_add(trace *self, const char *text) {
    strncat(self->log, text, sizeof self->log - strlen(self->log) - 1);
}

static void on_prelude(esrpc_decoder *decoder, uint32_t total_length, uint32_t headers_length, uint32_t prelude_crc,
                       void *user_data) {
    char text[64];
    (void)decoder;
    CHECK(prelude_crc != 0);
    snprintf(text, sizeof text, "(%u,%u", (unsigned)total_length, (unsigned)headers_length);
    trace_add((trace *)user_data, text);
}

static void on_header(esrpc_decoder *decoder, const esrpc_header *header, void *user_data) {
    trace *self = (trace *)user_data;
    char text[64];
    snprintf(text, sizeof text, " %.*s=%ld ", (int)header->name.len, (const char *)header->name.data,
             (long)header->number);
    trace_add(self, text);
    if (self->call_inside) {
        const esrpc_message *message = NULL;
        esrpc_connection_options *options = esrpc_connection_options_new();
        CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_decoder_push(decoder, esrpc_text("x")));
        CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_decoder_next_message(decoder, &message));
        CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_decoder_finish(decoder));
        CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_decoder_set_limits(decoder, options));
        esrpc_connection_options_release(options);
    }
    if (self->release_inside) {
        esrpc_decoder_release(decoder);
    }
}

static void on_payload(esrpc_decoder *decoder, const uint8_t *data, size_t len, void *user_data) {
    char text[64];
    (void)decoder;
    snprintf(text, sizeof text, "%.*s", (int)len, (const char *)data);
    trace_add((trace *)user_data, text);
}

static void on_complete(esrpc_decoder *decoder, uint32_t message_crc, void *user_data) {
    (void)decoder;
    CHECK(message_crc != 0);
    trace_add((trace *)user_data, ")");
}

static void on_error(esrpc_decoder *decoder, esrpc_status status, void *user_data) {
    (void)decoder;
    CHECK(strlen(esrpc_last_error_message()) > 5);
    trace_add((trace *)user_data, "!");
    trace_add((trace *)user_data, esrpc_status_name(status));
}

static esrpc_decoder *tracing_decoder(trace *self) {
    esrpc_decoder_callbacks callbacks = {sizeof callbacks, on_prelude, on_header, on_payload, on_complete, on_error};
    esrpc_decoder *decoder = NULL;
    CHECK_OK(esrpc_decoder_new(&callbacks, self, &decoder));
    return decoder;
}

static void callbacks_come_in_the_order_of_the_wire_however_the_input_is_cut(void) {
    uint8_t wire[128];
    const size_t len = two_messages(wire, sizeof wire);
    for (size_t chunk = 1; chunk <= len; chunk++) {
        trace self = {"", true, false};
        esrpc_decoder *decoder = tracing_decoder(&self);
        for (size_t at = 0; at < len; at += chunk) {
            CHECK_OK(esrpc_decoder_push(decoder, bytes(wire + at, chunk < len - at ? chunk : len - at)));
        }
        CHECK_OK(esrpc_decoder_finish(decoder));
        CHECK(strcmp(self.log, "(34,11 h=-1 payload)(16,0)") == 0);
        const esrpc_message *message = NULL;
        CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_decoder_next_message(decoder, &message));
        esrpc_decoder_release(decoder);
    }
}

static void an_error_is_called_back_once_at_the_first_byte_that_shows_it(void) {
    uint8_t wire[128];
    const size_t len = two_messages(wire, sizeof wire);
    wire[len - 8] ^= 1; /* the checksum of the second prelude */
    trace self = {"", false, false};
    esrpc_decoder *decoder = tracing_decoder(&self);
    size_t at = 0;
    while (esrpc_decoder_push(decoder, bytes(wire + at, 1)) == ESRPC_OK) {
        at++;
    }
    CHECK(at + 1 == len - 4);
    CHECK_STATUS(ESRPC_ERROR_PRELUDE_CHECKSUM, esrpc_decoder_push(decoder, bytes(wire, len)));
    CHECK_STATUS(ESRPC_ERROR_PRELUDE_CHECKSUM, esrpc_decoder_finish(decoder));
    CHECK(strcmp(self.log, "(34,11 h=-1 payload)!ESRPC_ERROR_PRELUDE_CHECKSUM") == 0);
    esrpc_decoder_release(decoder);
}

static void a_release_inside_a_callback_ends_the_callbacks(void) {
    uint8_t wire[128];
    const size_t len = two_messages(wire, sizeof wire);
    trace self = {"", true, true};
    CHECK_STATUS(ESRPC_ERROR_CANCELLED, esrpc_decoder_push(tracing_decoder(&self), bytes(wire, len)));
    CHECK(strcmp(self.log, "(34,11 h=-1 ") == 0);
}

static void a_table_may_be_empty_short_or_long(void) {
    struct {
        esrpc_decoder_callbacks known;
        void *unknown;
    } long_table;
    uint8_t wire[128];
    const size_t len = two_messages(wire, sizeof wire);
    esrpc_decoder *decoder = NULL;

    esrpc_decoder_callbacks table;
    memset(&table, 0, sizeof table);
    table.struct_size = sizeof table;
    CHECK_OK(esrpc_decoder_new(&table, NULL, &decoder));
    CHECK_OK(esrpc_decoder_push(decoder, bytes(wire, len)));
    esrpc_decoder_release(decoder);

    trace self = {"", false, false};
    table.on_prelude = on_prelude;
    table.on_header = on_header;
    table.struct_size = offsetof(esrpc_decoder_callbacks, on_header);
    CHECK_OK(esrpc_decoder_new(&table, &self, &decoder));
    CHECK_OK(esrpc_decoder_push(decoder, bytes(wire, len)));
    CHECK(strcmp(self.log, "(34,11(16,0") == 0);
    esrpc_decoder_release(decoder);

    memset(&long_table, 0, sizeof long_table);
    long_table.known.struct_size = sizeof long_table;
    CHECK_OK(esrpc_decoder_new(&long_table.known, NULL, &decoder));
    esrpc_decoder_release(decoder);
    long_table.unknown = &long_table;
    CHECK_INVALID(esrpc_decoder_new(&long_table.known, NULL, &decoder));
}

static void limits_can_be_set_before_the_first_push(void) {
    uint8_t wire[128];
    const size_t len = two_messages(wire, sizeof wire);
    esrpc_connection_options *options = esrpc_connection_options_new();
    for (size_t limit = 33; limit <= 34; limit++) {
        esrpc_decoder *decoder = NULL;
        CHECK_OK(esrpc_connection_options_set_max_message_size(options, limit));
        CHECK_OK(esrpc_decoder_new(NULL, NULL, &decoder));
        CHECK_OK(esrpc_decoder_set_limits(decoder, options));
        CHECK_STATUS(limit < 34 ? ESRPC_ERROR_MESSAGE_TOO_LARGE : ESRPC_OK,
                     esrpc_decoder_push(decoder, bytes(wire, len)));
        CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_decoder_set_limits(decoder, options));
        esrpc_decoder_release(decoder);
    }
    CHECK_OK(esrpc_connection_options_set_max_headers(options, 0));
    trace self = {"", false, false};
    esrpc_decoder *decoder = tracing_decoder(&self);
    CHECK_OK(esrpc_decoder_set_limits(decoder, options));
    CHECK_STATUS(ESRPC_ERROR_TOO_MANY_HEADERS, esrpc_decoder_push(decoder, bytes(wire, len)));
    CHECK(strcmp(self.log, "(34,11!ESRPC_ERROR_TOO_MANY_HEADERS") == 0);
    esrpc_decoder_release(decoder);
    esrpc_connection_options_release(options);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(whole_messages_come_out_however_the_input_is_cut),
        TEST(lent_messages_live_side_by_side_until_the_next_push),
        TEST(good_messages_come_before_the_error_which_stays),
        TEST(callbacks_come_in_the_order_of_the_wire_however_the_input_is_cut),
        TEST(an_error_is_called_back_once_at_the_first_byte_that_shows_it),
        TEST(a_release_inside_a_callback_ends_the_callbacks),
        TEST(a_table_may_be_empty_short_or_long),
        TEST(limits_can_be_set_before_the_first_push),
    };
    return RUN_TESTS(tests, argc, argv);
}
