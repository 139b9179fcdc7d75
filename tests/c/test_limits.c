/* The limits of connections, just inside and just outside, with the status that each side gets. */
#include "harness.h"

/* A PING without headers of its own: prelude, three headers of the protocol, checksum. */
enum { PING_SIZE = 12 + 55 + 4, PROTOCOL_HEADERS = 3, PROTOCOL_HEADERS_SIZE = 55 };

static esrpc_status ping_with(esrpc_connection *connection, const esrpc_headers *headers, size_t payload_size) {
    uint8_t *zeros = (uint8_t *)calloc(payload_size + 1, 1);
    esrpc_status status;
    CHECK(zeros != NULL);
    status = esrpc_connection_send_protocol_message(connection, ESRPC_MESSAGE_TYPE_PING, 0, headers,
                                                    bytes(zeros, payload_size), on_flush, (void *)"ping");
    free(zeros);
    return status;
}

static void await_pings(const char *who, size_t count) {
    char pattern[40];
    snprintf(pattern, sizeof pattern, "%s protocol PING", who);
    await_count(pattern, count);
}

/* What the receiver ends with, and what its peer sees of it. */
static void await_end(const char *receiver, const char *reason, bool says_why) {
    const char *sender = strcmp(receiver, "client") == 0 ? "server" : "client";
    char pattern[64];
    snprintf(pattern, sizeof pattern, "%s shutdown %s", receiver, reason);
    await(pattern);
    snprintf(pattern, sizeof pattern, "%s shutdown PEER_CLOSED", sender);
    await(pattern);
    snprintf(pattern, sizeof pattern, "%s protocol PROTOCOL_ERROR", sender);
    CHECK_COUNT(says_why ? 1 : 0, pattern);
}

static void a_message_above_the_limit_is_not_sent(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream;
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_max_message_size(pair.client_options, 1000));
    pair_connect(&pair);
    stream = new_stream(pair.client_connection, &party);
    CHECK_OK(ping_with(pair.client_connection, NULL, 1000 - PING_SIZE));
    CHECK_STATUS(ESRPC_ERROR_MESSAGE_TOO_LARGE, ping_with(pair.client_connection, NULL, 1001 - PING_SIZE));
    CHECK_OK(activate(stream, 0, "first", NULL));
    CHECK_OK(send_zeros(stream, 1000 - PING_SIZE, NULL));
    CHECK_STATUS(ESRPC_ERROR_MESSAGE_TOO_LARGE, send_zeros(stream, 1001 - PING_SIZE, "large"));
    await("handler message 929 bytes");
    await("flush ping OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_COUNT(1, "flush");
}

static void a_received_message_above_the_limit_ends_the_connection(void) {
    struct pair pair;
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_max_message_size(pair.server_options, 1000));
    pair_connect(&pair);
    CHECK_OK(ping_with(pair.client_connection, NULL, 1000 - PING_SIZE));
    await_pings("server", 1);
    CHECK_OK(ping_with(pair.client_connection, NULL, 1001 - PING_SIZE));
    await_end("server", "MESSAGE_TOO_LARGE", false);
    pair_end(&pair);
    CHECK_COUNT(1, "server protocol PING");
}

static void the_usual_limit_is_24_mib(void) {
    const size_t limit = 24 * 1024 * 1024;
    struct pair pair;
    pair_open(&pair);
    CHECK_STATUS(ESRPC_ERROR_MESSAGE_TOO_LARGE, ping_with(pair.client_connection, NULL, limit + 1 - PING_SIZE));
    CHECK_OK(ping_with(pair.client_connection, NULL, limit - PING_SIZE));
    await_pings("server", 1);
    pair_end(&pair);
}

static void connect_with(struct pair *pair, size_t payload_size) {
    uint8_t *zeros = (uint8_t *)calloc(payload_size, 1);
    CHECK(zeros != NULL);
    CHECK_OK(esrpc_connection_send_protocol_message(pair->client_connection, ESRPC_MESSAGE_TYPE_CONNECT, 0, NULL,
                                                    bytes(zeros, payload_size), NULL, NULL));
    free(zeros);
}

static void a_connect_above_the_limit_of_the_handshake_ends_the_connection(void) {
    for (int outside = 0; outside <= 1; outside++) {
        struct pair pair;
        recorder_clear();
        pair_begin(&pair);
        pair.no_handshake = true;
        pair_connect(&pair);
        connect_with(&pair, (size_t)(64 * 1024 - PING_SIZE + outside));
        if (outside) {
            await_end("server", "HANDSHAKE_MESSAGE_TOO_LARGE", false);
        } else {
            await("client protocol CONNECT_ACK");
            CHECK_OK(ping_with(pair.client_connection, NULL, 100000)); /* the handshake is done */
            await_pings("server", 1);
        }
        pair_end(&pair);
    }
}

static void an_ack_above_the_limit_of_the_handshake_is_a_failed_setup(void) {
    for (int outside = 0; outside <= 1; outside++) {
        struct pair pair;
        recorder_clear();
        pair_begin(&pair);
        pair.ignore_connect = true;
        CHECK_OK(esrpc_connection_options_set_max_handshake_message_size(pair.client_options, 100));
        pair_listen(&pair);
        pair_dial(&pair);
        await("server protocol CONNECT connect");
        CHECK_OK(esrpc_connection_send_protocol_message(pair.server_connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK,
                                                        ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, NULL,
                                                        bytes("01234567890123456789012345678901234567890123456789",
                                                              (size_t)(100 - PING_SIZE + outside)),
                                                        NULL, NULL));
        await(outside ? "client setup HANDSHAKE_MESSAGE_TOO_LARGE" : "client setup OK");
        pair_end(&pair);
    }
}

static esrpc_headers *headers_of(size_t count) {
    esrpc_headers *headers = esrpc_headers_new();
    for (size_t i = 0; i < count; i++) CHECK_OK(esrpc_headers_add_bool(headers, esrpc_text("h"), true));
    return headers;
}

static void too_many_headers_are_not_sent(void) {
    struct pair pair;
    esrpc_headers *inside = headers_of(10 - PROTOCOL_HEADERS), *outside = headers_of(11 - PROTOCOL_HEADERS);
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_max_headers(pair.client_options, 10));
    pair_connect(&pair);
    CHECK_OK(ping_with(pair.client_connection, inside, 0));
    CHECK_STATUS(ESRPC_ERROR_TOO_MANY_HEADERS, ping_with(pair.client_connection, outside, 0));
    await_pings("server", 1);
    esrpc_headers_release(inside);
    esrpc_headers_release(outside);
    pair_end(&pair);
}

static void too_many_received_headers_are_a_violation(void) {
    struct pair pair;
    esrpc_headers *inside = headers_of(1024 - PROTOCOL_HEADERS), *outside = headers_of(1025 - PROTOCOL_HEADERS);
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_max_headers(pair.client_options, 2000));
    pair_connect(&pair);
    CHECK_OK(ping_with(pair.client_connection, inside, 0));
    await_pings("server", 1);
    CHECK_OK(ping_with(pair.client_connection, outside, 0));
    await_end("server", "TOO_MANY_HEADERS", true);
    esrpc_headers_release(inside);
    esrpc_headers_release(outside);
    pair_end(&pair);
    CHECK_COUNT(1, "server protocol PING");
}

/* One header "v" of a byte_buf: 1 + 1 + 1 + 2 bytes and the value. */
static esrpc_headers *header_with_value(size_t size) {
    esrpc_headers *headers = esrpc_headers_new();
    uint8_t value[32767];
    memset(value, 'x', sizeof value);
    CHECK(size <= sizeof value);
    CHECK_OK(esrpc_headers_add_byte_buf(headers, esrpc_text("v"), bytes(value, size)));
    return headers;
}

static void headers_above_the_limit_of_bytes_are_not_sent_and_end_the_connection_when_received(void) {
    const size_t limit = 500, overhead = PROTOCOL_HEADERS_SIZE + 5;
    esrpc_headers *inside = header_with_value(limit - overhead), *outside = header_with_value(limit + 1 - overhead);
    struct pair pair;
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_max_headers_size(pair.server_options, limit));
    pair_connect(&pair);
    CHECK_OK(ping_with(pair.server_connection, inside, 0));
    CHECK_STATUS(ESRPC_ERROR_HEADERS_TOO_LARGE, ping_with(pair.server_connection, outside, 0));
    await_pings("client", 1);
    CHECK_OK(ping_with(pair.client_connection, inside, 0));
    await_pings("server", 1);
    CHECK_OK(ping_with(pair.client_connection, outside, 0));
    await_end("server", "HEADERS_TOO_LARGE", false);
    esrpc_headers_release(inside);
    esrpc_headers_release(outside);
    pair_end(&pair);
    CHECK_COUNT(1, "server protocol PING");
}

static void a_received_value_above_the_limit_is_a_violation(void) {
    esrpc_headers *inside = header_with_value(100), *outside = header_with_value(101);
    struct pair pair;
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_max_header_value_size(pair.client_options, 100));
    pair_connect(&pair);
    CHECK_OK(ping_with(pair.server_connection, inside, 0));
    await_pings("client", 1);
    CHECK_OK(ping_with(pair.server_connection, outside, 0));
    await_end("client", "HEADER_VALUE_TOO_LONG", true);
    esrpc_headers_release(inside);
    esrpc_headers_release(outside);
    pair_end(&pair);
    CHECK_COUNT(1, "client protocol PING");
}

static void values_of_32767_bytes_are_sent_and_longer_ones_are_refused(void) {
    static char text[32769];
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_headers *headers = header_with_value(32767);
    esrpc_stream *stream;
    memset(text, 'x', 32768);
    pair_begin(&pair);
    pair.keep_streams = true;
    pair_connect(&pair);
    CHECK_OK(ping_with(pair.client_connection, headers, 0));
    await_pings("server", 1);
    CHECK_STATUS(ESRPC_ERROR_HEADER_VALUE_TOO_LONG,
                 esrpc_headers_add_string(headers, esrpc_text("v"), bytes(text, 32768)));
    stream = new_stream(pair.client_connection, &party);
    CHECK_STATUS(ESRPC_ERROR_HEADER_VALUE_TOO_LONG,
                 esrpc_stream_activate(stream, bytes(text, 32768), 0, 0, NULL, esrpc_text(NULL), on_flush, (void *)"long"));
    CHECK_OK(esrpc_stream_activate(stream, bytes(text, 32767), 0, 0, NULL, esrpc_text("first"), NULL, NULL));
    await("handler message first");
    CHECK(esrpc_stream_get_operation(pair.handler_stream).len == 32767);
    esrpc_headers_release(headers);
    esrpc_stream_release(stream);
    pair_end(&pair);
    CHECK_NEVER("flush long");
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_message_above_the_limit_is_not_sent),
        TEST(a_received_message_above_the_limit_ends_the_connection),
        TEST(the_usual_limit_is_24_mib),
        TEST(a_connect_above_the_limit_of_the_handshake_ends_the_connection),
        TEST(an_ack_above_the_limit_of_the_handshake_is_a_failed_setup),
        TEST(too_many_headers_are_not_sent),
        TEST(too_many_received_headers_are_a_violation),
        TEST(headers_above_the_limit_of_bytes_are_not_sent_and_end_the_connection_when_received),
        TEST(a_received_value_above_the_limit_is_a_violation),
        TEST(values_of_32767_bytes_are_sent_and_longer_ones_are_refused),
    };
    return RUN_TESTS(tests, argc, argv);
}
