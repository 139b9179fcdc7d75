#include "measure.h"
#include "wire.h"
#include "workloads.h"

#include <semaphore.h>

#define LARGE (1u << 20)

struct pingpong {
    esrpc_stream *stream;
    esrpc_bytes payload;
    size_t warm_up, left; /* round trips to go */
    size_t reply_size;
    bool sync; /* the main thread sends */
    uint64_t sent_at;
    struct latencies latencies;
    sem_t replied; /* with sync after every reply, otherwise after the last */
};

static void send_ping(struct pingpong *pingpong)
{
    pingpong->reply_size = pingpong->payload.len;
    pingpong->sent_at = now_ns();
    check(esrpc_stream_send_message(pingpong->stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, ESRPC_MESSAGE_FLAG_NONE, NULL,
                                    pingpong->payload, NULL, NULL));
}

static void note_round_trip(struct pingpong *pingpong)
{
    uint64_t now = now_ns();
    if (pingpong->warm_up)
        pingpong->warm_up--;
    else
        latencies_add(&pingpong->latencies, now - pingpong->sent_at);
    pingpong->left--;
}

static void on_message(esrpc_stream *stream, const esrpc_message *message, void *user_data)
{
    struct pingpong *pingpong = user_data;
    (void)stream;
    if (esrpc_message_get_payload(message).len != pingpong->reply_size)
        die("an echo has the wrong size");
    if (pingpong->sync) {
        sem_post(&pingpong->replied);
        return;
    }
    note_round_trip(pingpong);
    if (pingpong->left)
        send_ping(pingpong);
    else
        sem_post(&pingpong->replied);
}

static void await_reply(struct pingpong *pingpong)
{
    while (sem_wait(&pingpong->replied))
        ;
}

static void run(struct client *client, size_t first_size, bool sync)
{
    static const esrpc_stream_callbacks callbacks = {.struct_size = sizeof callbacks, .on_message = on_message};
    size_t round_trips = client->options->round_trips;
    esrpc_connection *connection = client_connect(client);
    esrpc_bytes first = make_payload(first_size);
    struct pingpong pingpong = {.payload = make_payload(client->options->size),
                                .warm_up = round_trips / 10 + 1,
                                .left = round_trips + round_trips / 10 + 1,
                                .reply_size = first_size,
                                .sync = sync};
    latencies_new(&pingpong.latencies, round_trips);
    sem_init(&pingpong.replied, 0, 0);
    pingpong.sent_at = now_ns();
    check(esrpc_connection_new_stream(connection, &callbacks, &pingpong, &pingpong.stream));
    check(esrpc_stream_activate(pingpong.stream, esrpc_text(OPERATION_ECHO_STREAM),
                                ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, ESRPC_MESSAGE_FLAG_NONE, NULL, first, NULL, NULL));
    await_reply(&pingpong);
    while (pingpong.left) {
        send_ping(&pingpong);
        await_reply(&pingpong);
        note_round_trip(&pingpong);
    }
    latencies_print(&pingpong.latencies);
    client_disconnect(connection);
    esrpc_stream_release(pingpong.stream);
    sem_destroy(&pingpong.replied);
}

void run_pingpong(struct client *client)
{
    run(client, client->options->size, false);
}

void run_pingpong_after_1mib(struct client *client)
{
    run(client, LARGE, false);
}

void run_pingpong_sync(struct client *client)
{
    run(client, client->options->size, true);
}
