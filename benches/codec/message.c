#include "message.h"
#include "measure.h"

#include <stdlib.h>
#include <string.h>

#define ROW_SIZE (1u << 20)
#define CHUNK (64u << 10)

/* rust/src/lib.rs */
uint32_t floor_crc32(const uint8_t *data, size_t len);

static void check(esrpc_status status)
{
    if (status)
        die(esrpc_last_error_message());
}

/* Makes the compiler believe that the bytes are looked at. */
static void use(const void *bytes)
{
    __asm__ volatile("" : : "r"(bytes) : "memory");
}

static void add_headers(esrpc_headers *headers)
{
    check(esrpc_headers_add_int32(headers, esrpc_text(":message-type"), 0));
    check(esrpc_headers_add_int32(headers, esrpc_text(":message-flags"), 0));
    check(esrpc_headers_add_int32(headers, esrpc_text(":stream-id"), 17));
    check(esrpc_headers_add_string(headers, esrpc_text("operation"), esrpc_text("bench#Echo")));
}

static void on_header(esrpc_decoder *decoder, const esrpc_header *header, void *user_data)
{
    struct message *message = user_data;
    (void)decoder;
    message->seen += (uint64_t)header->number + header->bytes.len;
}

static void on_payload(esrpc_decoder *decoder, const uint8_t *data, size_t len, void *user_data)
{
    struct message *message = user_data;
    (void)decoder;
    use(data);
    message->seen += len;
}

void message_make(struct message *message, size_t payload_size)
{
    static const esrpc_decoder_callbacks callbacks = {
        .struct_size = sizeof callbacks, .on_header = on_header, .on_payload = on_payload};
    uint8_t *payload = malloc(payload_size + 1);
    size_t i;
    memset(message, 0, sizeof *message);
    message->headers = esrpc_headers_new();
    add_headers(message->headers);
    for (i = 0; payload && i < payload_size; i++)
        payload[i] = (uint8_t)(i * 31 + (i >> 8) + 7);
    message->payload.data = payload;
    message->payload.len = payload_size;
    esrpc_message_encode(message->headers, message->payload, NULL, 0, &message->length);
    message->encoded = malloc(message->length);
    message->in_row = message->length < ROW_SIZE ? ROW_SIZE / message->length : 1;
    message->row = malloc(message->in_row * message->length);
    if (!payload || !message->encoded || !message->row)
        die("no memory for a message");
    encode(message, 1);
    for (i = 0; i < message->in_row; i++)
        memcpy(message->row + i * message->length, message->encoded, message->length);
    check(esrpc_decoder_new(&callbacks, message, &message->decoder));
}

void message_free(struct message *message)
{
    esrpc_decoder_release(message->decoder);
    esrpc_headers_release(message->headers);
    free((void *)message->payload.data);
    free(message->encoded);
    free(message->row);
}

uint64_t encode(struct message *message, uint64_t times)
{
    uint64_t i;
    size_t length;
    for (i = 0; i < times; i++)
        check(esrpc_message_encode(message->headers, message->payload, message->encoded, message->length, &length));
    return times;
}

uint64_t encode_new_list(struct message *message, uint64_t times)
{
    uint64_t i;
    size_t length;
    for (i = 0; i < times; i++) {
        esrpc_headers *headers = esrpc_headers_new();
        add_headers(headers);
        check(esrpc_message_encode(headers, message->payload, message->encoded, message->length, &length));
        esrpc_headers_release(headers);
    }
    return times;
}

uint64_t decode(struct message *message, uint64_t times)
{
    esrpc_bytes data = {message->encoded, message->length};
    uint64_t i;
    for (i = 0; i < times; i++) {
        esrpc_message *decoded;
        esrpc_header headers[8];
        size_t count, number;
        check(esrpc_message_decode(data, &decoded, NULL));
        check(esrpc_headers_get_range(esrpc_message_get_headers(decoded), 0, headers, 8, &count));
        for (number = 0; number < count; number++)
            use(&headers[number]);
        message->seen += esrpc_message_get_payload(decoded).len;
        esrpc_message_release(decoded);
    }
    return times;
}

uint64_t decode_chunks(struct message *message, uint64_t times)
{
    size_t size = message->in_row * message->length, at;
    uint64_t done = 0;
    while (done < times) {
        for (at = 0; at < size; at += CHUNK) {
            esrpc_bytes chunk = {message->row + at, size - at < CHUNK ? size - at : CHUNK};
            check(esrpc_decoder_push(message->decoder, chunk));
        }
        check(esrpc_decoder_finish(message->decoder));
        done += message->in_row;
    }
    return done;
}

uint64_t floor_encode(struct message *message, uint64_t times)
{
    uint64_t i;
    for (i = 0; i < times; i++) {
        memcpy(message->encoded, message->row, message->length);
        use(message->encoded);
        message->seen += floor_crc32(message->encoded, message->length);
    }
    return times;
}

uint64_t floor_decode(struct message *message, uint64_t times)
{
    uint64_t i;
    for (i = 0; i < times; i++) {
        use(message->encoded);
        message->seen += floor_crc32(message->encoded, message->length);
    }
    return times;
}

uint64_t floor_decode_chunks(struct message *message, uint64_t times)
{
    uint64_t done = 0;
    size_t i;
    while (done < times) {
        for (i = 0; i < message->in_row; i++)
            message->seen += floor_crc32(message->row + i * message->length, message->length);
        done += message->in_row;
    }
    return done;
}
