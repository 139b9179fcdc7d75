#include "measure.h"
#include "wire.h"
#include "workloads.h"

#include <semaphore.h>

#define MAX_CALLS 64
#define MAX_LATENCIES (1u << 20)

struct unary;

struct call {
    struct unary *unary;
    esrpc_stream *stream;
    uint64_t begun_at;
    bool answered;
};

struct unary {
    esrpc_connection *connection;
    esrpc_bytes payload, operation;
    size_t outstanding;
    struct rate rate;
    struct latencies latencies; /* of one call at a time */
    struct call calls[MAX_CALLS];
    sem_t ended;
};

static void on_message(esrpc_stream *stream, const esrpc_message *message, void *user_data)
{
    struct call *call = user_data;
    (void)stream;
    call->answered = esrpc_message_get_payload(message).len == call->unary->payload.len;
}

static void on_closed(esrpc_stream *stream, esrpc_status reason, void *user_data);

static void begin_call(struct call *call)
{
    static const esrpc_stream_callbacks callbacks = {
        .struct_size = sizeof callbacks, .on_message = on_message, .on_closed = on_closed};
    struct unary *unary = call->unary;
    call->answered = false;
    if (unary->latencies.capacity)
        call->begun_at = now_ns();
    check(esrpc_connection_new_stream(unary->connection, &callbacks, call, &call->stream));
    check(esrpc_stream_activate(call->stream, unary->operation, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE,
                                ESRPC_MESSAGE_FLAG_NONE, NULL, unary->payload, NULL, NULL));
}

static void on_closed(esrpc_stream *stream, esrpc_status reason, void *user_data)
{
    struct call *call = user_data;
    struct unary *unary = call->unary;
    check(reason);
    if (!call->answered)
        die("a call was not answered");
    esrpc_stream_release(stream);
    if (unary->latencies.capacity && unary->rate.state == RATE_MEASURING)
        latencies_add(&unary->latencies, now_ns() - call->begun_at);
    if (rate_add(&unary->rate, 1))
        begin_call(call);
    else if (--unary->outstanding == 0)
        sem_post(&unary->ended);
}

static void begin_all(esrpc_status status, void *user_data)
{
    struct unary *unary = user_data;
    size_t i;
    check(status);
    for (i = 0; i < unary->outstanding; i++) {
        unary->calls[i].unary = unary;
        begin_call(&unary->calls[i]);
    }
}

static void run(struct client *client, size_t outstanding)
{
    struct unary unary = {.connection = client_connect(client),
                          .payload = make_payload(client->options->size),
                          .operation = esrpc_text(OPERATION_ECHO),
                          .outstanding = outstanding};
    sem_init(&unary.ended, 0, 0);
    if (outstanding == 1)
        latencies_new(&unary.latencies, MAX_LATENCIES);
    rate_begin(&unary.rate, client->options);
    client_run_on_loop(unary.connection, begin_all, &unary);
    while (sem_wait(&unary.ended))
        ;
    rate_print(&unary.rate, outstanding > 1 ? unary.payload.len : 0, "call/s");
    if (outstanding == 1)
        latencies_print(&unary.latencies);
    client_disconnect(unary.connection);
    sem_destroy(&unary.ended);
}

void run_unary_seq(struct client *client)
{
    run(client, 1);
}

void run_unary_p64(struct client *client)
{
    run(client, MAX_CALLS);
}
