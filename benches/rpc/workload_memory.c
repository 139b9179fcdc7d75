#include "measure.h"
#include "wire.h"
#include "workloads.h"

#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#define CALL_SIZE (64u << 10)

struct memory {
    double server, client;
};

static struct memory resident(pid_t server_pid)
{
    struct memory memory;
    wait_seconds(0.5); /* the last connection's loop pass */
    memory.server = resident_kib(server_pid);
    memory.client = resident_kib(getpid());
    return memory;
}

static void on_closed(esrpc_stream *stream, esrpc_status reason, void *user_data)
{
    (void)stream;
    check(reason);
    sem_post(user_data);
}

static void call(esrpc_connection *connection, esrpc_bytes payload)
{
    static const esrpc_stream_callbacks callbacks = {.struct_size = sizeof callbacks, .on_closed = on_closed};
    esrpc_stream *stream;
    sem_t closed;
    sem_init(&closed, 0, 0);
    stream = client_open_stream(connection, &callbacks, &closed, OPERATION_ECHO, payload);
    while (sem_wait(&closed))
        ;
    check(esrpc_stream_wait_closed(stream, ESRPC_NO_TIMEOUT));
    esrpc_stream_release(stream);
    sem_destroy(&closed);
}

void run_mem(struct client *client)
{
    size_t count = client->options->size ? client->options->size : 1000, i;
    esrpc_connection **connections = calloc(count + 1, sizeof *connections);
    esrpc_bytes payload = make_payload(CALL_SIZE);
    struct memory base, idle, used;
    if (!connections || !client->options->server_pid)
        die("mem needs --server-pid");
    /* the first one pays for what is allocated once */
    connections[count] = client_connect(client);
    call(connections[count], payload);
    base = resident(client->options->server_pid);
    for (i = 0; i < count; i++)
        connections[i] = client_connect(client);
    idle = resident(client->options->server_pid);
    for (i = 0; i < count; i++)
        call(connections[i], payload);
    used = resident(client->options->server_pid);
    print_value("server_idle", (idle.server - base.server) / (double)count, "KiB/conn");
    print_value("client_idle", (idle.client - base.client) / (double)count, "KiB/conn");
    print_value("server_after_64KiB_call", (used.server - base.server) / (double)count, "KiB/conn");
    print_value("client_after_64KiB_call", (used.client - base.client) / (double)count, "KiB/conn");
    for (i = 0; i <= count; i++)
        client_disconnect(connections[i]);
    free(connections);
}
