#include "server_flood.h"
#include "wire.h"

#include <stdlib.h>

struct flood {
    esrpc_stream *stream; /* borrowed: nothing is sent after the stream's end */
    uint8_t *payload;
    uint32_t size, left, unflushed, unflushed_limit;
};

static void send_more(struct flood *flood);

static void on_flush(esrpc_status status, void *user_data)
{
    struct flood *flood = user_data;
    flood->unflushed--;
    if (status == ESRPC_OK)
        send_more(flood);
}

static void send_more(struct flood *flood)
{
    esrpc_bytes payload = {flood->payload, flood->size};
    while (flood->left && flood->unflushed < flood->unflushed_limit) {
        if (esrpc_stream_send_message(flood->stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, ESRPC_MESSAGE_FLAG_NONE, NULL,
                                      payload, on_flush, flood))
            return;
        flood->unflushed++;
        if (--flood->left == 0)
            esrpc_stream_close(flood->stream);
    }
}

static void on_message(esrpc_stream *stream, const esrpc_message *message, void *user_data)
{
    struct flood *flood = user_data;
    (void)message;
    if (!flood->stream) {
        flood->stream = stream;
        send_more(flood);
    }
}

static void on_destroy(void *user_data)
{
    struct flood *flood = user_data;
    free(flood->payload);
    free(flood);
}

void flood_accept(esrpc_stream *stream, const esrpc_message *request)
{
    static const esrpc_stream_callbacks callbacks = {
        .struct_size = sizeof callbacks, .on_message = on_message, .on_destroy = on_destroy};
    esrpc_bytes numbers = esrpc_message_get_payload(request);
    struct flood *flood = calloc(1, sizeof *flood);
    if (!flood || numbers.len != FLOOD_REQUEST_SIZE) {
        free(flood);
        return;
    }
    flood->left = wire_get_u32(numbers.data);
    flood->size = wire_get_u32(numbers.data + 4);
    flood->unflushed_limit = wire_get_u32(numbers.data + 8);
    flood->payload = calloc(1, flood->size + 1u);
    if (!flood->payload || esrpc_stream_accept(stream, &callbacks, flood))
        on_destroy(flood);
}
