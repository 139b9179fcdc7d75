#include "measure.h"
#include "wire.h"
#include "workloads.h"

#include <semaphore.h>

struct flood {
    uint32_t size, count, came;
    uint64_t ended_at;
    sem_t ended;
};

static void on_message(esrpc_stream *stream, const esrpc_message *message, void *user_data)
{
    struct flood *flood = user_data;
    (void)stream;
    if (esrpc_message_get_payload(message).len == flood->size)
        flood->came++;
    if (esrpc_message_get_flags(message) & ESRPC_MESSAGE_FLAG_TERMINATE_STREAM)
        flood->ended_at = now_ns();
}

static void on_closed(esrpc_stream *stream, esrpc_status reason, void *user_data)
{
    struct flood *flood = user_data;
    (void)stream;
    check(reason);
    sem_post(&flood->ended);
}

/* Lets count messages come and tells how many seconds that took. */
static double flood_once(esrpc_connection *connection, struct flood *flood, uint32_t count, uint32_t unflushed)
{
    static const esrpc_stream_callbacks callbacks = {
        .struct_size = sizeof callbacks, .on_message = on_message, .on_closed = on_closed};
    uint8_t request[FLOOD_REQUEST_SIZE];
    esrpc_bytes payload = {request, sizeof request};
    uint64_t begun_at = now_ns();
    esrpc_stream *stream;
    wire_put_u32(request, count);
    wire_put_u32(request + 4, flood->size);
    wire_put_u32(request + 8, unflushed);
    flood->came = 0;
    stream = client_open_stream(connection, &callbacks, flood, OPERATION_FLOOD, payload);
    while (sem_wait(&flood->ended))
        ;
    esrpc_stream_release(stream);
    if (flood->came != count)
        die("messages are missing");
    return (double)(flood->ended_at - begun_at) / 1e9;
}

void run_flood(struct client *client)
{
    const struct options *options = client->options;
    esrpc_connection *connection = client_connect(client);
    struct flood flood = {.size = (uint32_t)options->size};
    uint32_t unflushed = (uint32_t)options->unflushed;
    double count = (double)options->messages, seconds;
    struct cpu cpu;
    sem_init(&flood.ended, 0, 0);
    if (!options->messages) {
        /* the number of messages that takes about the time wanted */
        uint32_t trial = options->size > 8192 ? 1000 : 20000;
        count = trial / flood_once(connection, &flood, trial, unflushed) * options->seconds;
        if (count > 5e7)
            count = 5e7;
    }
    cpu = cpu_begin(options->server_pid);
    seconds = flood_once(connection, &flood, (uint32_t)count + 1, unflushed);
    cpu = cpu_since(&cpu);
    count = (uint32_t)count + 1;
    print_value("rate", count / seconds, "msg/s");
    print_value("throughput", count * (double)options->size / seconds / 1e6, "MB/s");
    cpu_print(&cpu, count);
    client_disconnect(connection);
    sem_destroy(&flood.ended);
}
