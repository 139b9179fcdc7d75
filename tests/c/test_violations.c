/* Promise 10: nothing from the network can do more than end its own connection, with a reason. The peer here is a plain
   socket that sends what it likes. */
#include "harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Connects a plain socket to the pair's server. */
static int dial_plain(const struct pair *pair) {
    int result, plain = socket(over_unix_socket ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
    CHECK(plain >= 0);
    if (over_unix_socket) {
        struct sockaddr_un address;
        size_t len = strlen(pair->unix_name);
        memset(&address, 0, sizeof address);
        address.sun_family = AF_UNIX;
        memcpy(address.sun_path + 1, pair->unix_name, len);
        result = connect(plain, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len));
    } else {
        struct sockaddr_in address;
        memset(&address, 0, sizeof address);
        address.sin_family = AF_INET;
        address.sin_port = htons((uint16_t)esrpc_listener_get_port(pair->listening));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        result = connect(plain, (struct sockaddr *)&address, sizeof address);
    }
    CHECK(result == 0);
    return plain;
}

/* A message with the headers of the protocol; those given as NONE are left out. */
enum { NONE = -1000 };

struct bytes_to_send {
    uint8_t bytes[4096];
    size_t len;
};

static void append(struct bytes_to_send *out, int32_t type, int32_t flags, int32_t stream_id, const char *operation) {
    esrpc_headers *headers = esrpc_headers_new();
    size_t len;
    if (type != NONE) CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":message-type"), type));
    if (flags != NONE) CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":message-flags"), flags));
    if (stream_id != NONE) CHECK_OK(esrpc_headers_add_int32(headers, esrpc_text(":stream-id"), stream_id));
    if (operation != NULL) CHECK_OK(esrpc_headers_add_string(headers, esrpc_text("operation"), esrpc_text(operation)));
    CHECK_OK(esrpc_message_encode(headers, esrpc_text("raw"), out->bytes + out->len, sizeof out->bytes - out->len, &len));
    out->len += len;
    esrpc_headers_release(headers);
}

static void send_plain(int plain, const void *data, size_t len) {
    CHECK(send(plain, data, len, MSG_NOSIGNAL) == (ssize_t)len);
}

/* Reads to the end and returns the type of the last message; NONE if there was none. */
static int32_t read_to_the_end(int plain) {
    uint8_t buffer[4096];
    esrpc_decoder *decoder = NULL;
    int32_t last = NONE;
    ssize_t count;
    CHECK_OK(esrpc_decoder_new(NULL, NULL, &decoder));
    while ((count = recv(plain, buffer, sizeof buffer, 0)) > 0) {
        const esrpc_message *message = NULL;
        CHECK_OK(esrpc_decoder_push(decoder, bytes(buffer, (size_t)count)));
        do {
            CHECK_OK(esrpc_decoder_next_message(decoder, &message));
            if (message != NULL) last = esrpc_message_get_type(message);
        } while (message != NULL);
    }
    esrpc_decoder_release(decoder);
    CHECK(close(plain) == 0);
    return last;
}

static void await_server_end(const char *reason) {
    char pattern[64];
    snprintf(pattern, sizeof pattern, "server shutdown %s", reason);
    await(pattern);
}

/* The server gets these bytes, ends for the reason, and its last message to the peer is of the type. */
static void check_ending(const void *data, size_t len, bool then_end, const char *reason, int32_t last_type) {
    struct pair pair;
    int plain;
    recorder_clear();
    pair_begin(&pair);
    pair_listen(&pair);
    plain = dial_plain(&pair);
    send_plain(plain, data, len);
    if (then_end) CHECK(shutdown(plain, SHUT_WR) == 0);
    CHECK(read_to_the_end(plain) == last_type);
    await_server_end(reason);
    CHECK(*esrpc_connection_get_end_message(pair.server_connection) != '\0');
    pair_end(&pair);
}

static void damaged_framing_ends_the_connection_without_a_message(void) {
    struct bytes_to_send out;
    uint8_t zeros[64];
    memset(zeros, 0, sizeof zeros);
    out.len = 0;
    append(&out, ESRPC_MESSAGE_TYPE_CONNECT, 0, 0, NULL);
    out.bytes[9] ^= 1;
    check_ending(out.bytes, out.len, false, "PRELUDE_CHECKSUM", NONE);
    out.bytes[9] ^= 1;
    out.bytes[out.len - 1] ^= 1;
    check_ending(out.bytes, out.len, false, "MESSAGE_CHECKSUM", NONE);
    out.bytes[out.len - 1] ^= 1;
    check_ending(out.bytes, out.len - 5, true, "INCOMPLETE", NONE);
    check_ending(out.bytes, 3, true, "INCOMPLETE", NONE);
    check_ending("GET / HTTP/1.1\r\n\r\n", 18, false, "PRELUDE_CHECKSUM", NONE);
    check_ending(zeros, sizeof zeros, false, "PRELUDE_CHECKSUM", NONE);
    check_ending(out.bytes, 0, true, "PEER_CLOSED", NONE);
}

static void check_violation(int32_t type, int32_t flags, int32_t stream_id, const char *operation) {
    struct bytes_to_send out;
    out.len = 0;
    append(&out, ESRPC_MESSAGE_TYPE_CONNECT, 0, 0, NULL);
    check_ending(out.bytes, out.len, true, "PEER_CLOSED", ESRPC_MESSAGE_TYPE_CONNECT_ACK);
    append(&out, type, flags, stream_id, operation);
    append(&out, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL); /* sound, but no longer dispatched */
    check_ending(out.bytes, out.len, true, "PROTOCOL_VIOLATION", ESRPC_MESSAGE_TYPE_PROTOCOL_ERROR);
    CHECK_COUNT(1, "server protocol");
    CHECK_NEVER("handler");
}

static void a_broken_rule_is_answered_with_protocol_error_and_nothing_more_is_dispatched(void) {
    check_violation(ESRPC_MESSAGE_TYPE_CONNECT, 0, 0, NULL);              /* a second time */
    check_violation(ESRPC_MESSAGE_TYPE_PING, 0, 1, "op");                 /* on a stream */
    check_violation(ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 0, "op");  /* on stream-id 0 */
    check_violation(ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 2, "op");  /* not the next id */
    check_violation(ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, -1, "op");
    check_violation(ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, INT32_MAX, "op");
    check_violation(ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 1, NULL);  /* no operation */
    check_violation(ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 1, "");    /* an empty one */
    check_violation(8, 0, 0, NULL);
    check_violation(-1, 0, 0, NULL);
    check_violation(INT32_MIN, 0, 0, NULL);
    check_violation(NONE, 0, 0, NULL);
    check_violation(ESRPC_MESSAGE_TYPE_PING, NONE, 0, NULL);
    check_violation(ESRPC_MESSAGE_TYPE_PING, 0, NONE, NULL);
}

static void nothing_but_connect_may_come_first(void) {
    for (int32_t type = 0; type <= 7; type++) {
        struct bytes_to_send out;
        if (type == ESRPC_MESSAGE_TYPE_CONNECT) continue;
        out.len = 0;
        append(&out, type, 0, type <= 1 ? 1 : 0, "op");
        /* A peer that stays is not waited for longer than a second; one is enough to see that. */
        check_ending(out.bytes, out.len, type != ESRPC_MESSAGE_TYPE_PING, "PROTOCOL_VIOLATION",
                     ESRPC_MESSAGE_TYPE_PROTOCOL_ERROR);
        CHECK_NEVER("server protocol");
    }
}

static void a_peer_that_resets_the_connection_ends_it_with_all_callbacks(void) {
    struct bytes_to_send out;
    struct linger no_linger;
    struct pair pair;
    int plain;
    no_linger.l_onoff = 1;
    no_linger.l_linger = 0;
    pair_begin(&pair);
    pair_listen(&pair);
    plain = dial_plain(&pair);
    out.len = 0;
    append(&out, ESRPC_MESSAGE_TYPE_CONNECT, 0, 0, NULL);
    append(&out, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 1, "op");
    send_plain(plain, out.bytes, out.len);
    await("handler message raw");
    CHECK(setsockopt(plain, SOL_SOCKET, SO_LINGER, &no_linger, sizeof no_linger) == 0);
    CHECK(close(plain) == 0);
    await("server shutdown");
    CHECK_BEFORE("handler closed", "server shutdown");
    CHECK_NEVER("server shutdown OK");
    pair_end(&pair);
}

static void one_bad_peer_does_not_disturb_the_others(void) {
    struct pair pair;
    esrpc_connection *good_server;
    int plain;
    pair_open(&pair);
    good_server = esrpc_connection_acquire(pair.server_connection);
    plain = dial_plain(&pair);
    send_plain(plain, "what is this to you?", 20);
    CHECK(read_to_the_end(plain) == NONE);
    await("server shutdown PRELUDE_CHECKSUM");
    CHECK_OK(ping(pair.client_connection, "hello", NULL));
    await("server protocol PING hello");
    CHECK(esrpc_connection_is_open(good_server));
    CHECK_OK(esrpc_connection_abort(good_server));
    esrpc_connection_release(good_server);
    pair_end(&pair);
}

/* A plain server: how a client takes replies that are not valid. */
static void a_client_survives_a_server_that_talks_nonsense(void) {
    for (int kind = 0; kind < 3; kind++) {
        struct pair pair;
        struct bytes_to_send out;
        struct sockaddr_in address;
        socklen_t len = sizeof address;
        esrpc_client_options *options = esrpc_client_options_new();
        esrpc_connection_callbacks callbacks = connection_callbacks();
        int plain, listening = socket(AF_INET, SOCK_STREAM, 0);
        recorder_clear();
        memset(&address, 0, sizeof address);
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        CHECK(bind(listening, (struct sockaddr *)&address, sizeof address) == 0);
        CHECK(listen(listening, 1) == 0);
        CHECK(getsockname(listening, (struct sockaddr *)&address, &len) == 0);
        pair_begin(&pair);
        CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), ntohs(address.sin_port)));
        CHECK_OK(esrpc_client_options_set_runtime(options, pair.client_runtime));
        CHECK_OK(esrpc_client_options_set_handshake(options, NULL, esrpc_text("connect")));
        CHECK_OK(esrpc_connection_connect(options, &callbacks, &pair.client, &pair.client_connection));
        esrpc_client_options_release(options);
        plain = accept(listening, NULL, NULL);
        CHECK(plain >= 0);
        out.len = 0;
        if (kind == 1) append(&out, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL); /* instead of CONNECT_ACK */
        if (kind == 2) append(&out, ESRPC_MESSAGE_TYPE_PROTOCOL_ERROR, 0, 0, NULL);
        if (kind == 0)
            send_plain(plain, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
        else
            send_plain(plain, out.bytes, out.len);
        await("client setup");
        CHECK(*esrpc_connection_get_end_message(pair.client_connection) != '\0');
        CHECK(close(plain) == 0);
        CHECK(close(listening) == 0);
        pair_end(&pair);
        CHECK_COUNT(kind == 0, "client setup PRELUDE_CHECKSUM");
        CHECK_COUNT(kind == 1, "client setup PROTOCOL_VIOLATION");
        CHECK_COUNT(kind == 2, "client setup HANDSHAKE_REFUSED");
        CHECK_NEVER("client protocol");
    }
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(damaged_framing_ends_the_connection_without_a_message),
        TEST(a_broken_rule_is_answered_with_protocol_error_and_nothing_more_is_dispatched),
        TEST(nothing_but_connect_may_come_first),
        TEST(a_peer_that_resets_the_connection_ends_it_with_all_callbacks),
        TEST(one_bad_peer_does_not_disturb_the_others),
        TEST(a_client_survives_a_server_that_talks_nonsense),
    };
    return RUN_TESTS(tests, argc, argv);
}
