#include "echo_stream.h"
#include "wire.h"
#include "workloads.h"

#include <stdlib.h>

/* Streams that were opened and lie there, each after one message there and back. */
struct idle_streams {
    esrpc_stream **streams;
    size_t count, answered;
    esrpc_connection *connection;
    sem_t all_answered;
};

static void on_idle_message(esrpc_stream *stream, const esrpc_message *message, void *user_data)
{
    struct idle_streams *idle = user_data;
    (void)stream, (void)message;
    if (++idle->answered == idle->count)
        sem_post(&idle->all_answered);
}

static void open_idle_streams(struct idle_streams *idle, esrpc_connection *connection, size_t count)
{
    static const esrpc_stream_callbacks callbacks = {.struct_size = sizeof callbacks, .on_message = on_idle_message};
    size_t i;
    idle->count = count;
    idle->answered = 0;
    idle->streams = calloc(count + 1, sizeof *idle->streams);
    sem_init(&idle->all_answered, 0, 0);
    for (i = 0; i < count; i++)
        idle->streams[i] = client_open_stream(connection, &callbacks, idle, OPERATION_ECHO_STREAM, esrpc_text("idle"));
    while (count && sem_wait(&idle->all_answered))
        ;
}

static void release_idle_streams(struct idle_streams *idle)
{
    size_t i;
    for (i = 0; i < idle->count; i++)
        esrpc_stream_release(idle->streams[i]);
    free(idle->streams);
    sem_destroy(&idle->all_answered);
}

static void run_echo(struct client *client, size_t window)
{
    const struct options *options = client->options;
    esrpc_connection **others = calloc(options->idle_connections + 1, sizeof *others);
    esrpc_connection *connection = client_connect(client);
    struct idle_streams idle;
    struct echo_stream echo;
    size_t i;
    for (i = 0; i < options->idle_connections; i++)
        others[i] = client_connect(client);
    open_idle_streams(&idle, connection, options->idle_streams);

    echo_stream_start(&echo, connection, options, window);
    echo_stream_finish(&echo);
    rate_print(&echo.rate, options->size, "msg/s");

    client_disconnect(connection);
    release_idle_streams(&idle);
    for (i = 0; i < options->idle_connections; i++)
        client_disconnect(others[i]);
    free(others);
}

void run_echo_p64(struct client *client)
{
    run_echo(client, 64);
}

void run_echo_p8(struct client *client)
{
    run_echo(client, 8);
}

void run_echo_connections(struct client *client)
{
    size_t count = client->options->connections, i;
    struct echo_stream *echoes = calloc(count, sizeof *echoes);
    esrpc_connection **connections = calloc(count, sizeof *connections);
    double per_second = 0, operations = 0;
    struct cpu cpu;
    if (!echoes || !connections)
        die("no memory for connections");
    for (i = 0; i < count; i++)
        connections[i] = client_connect(client);
    cpu = cpu_begin(client->options->server_pid);
    for (i = 0; i < count; i++)
        echo_stream_start(&echoes[i], connections[i], client->options, 64);
    for (i = 0; i < count; i++)
        echo_stream_finish(&echoes[i]);
    cpu = cpu_since(&cpu);
    for (i = 0; i < count; i++) {
        per_second += (double)echoes[i].rate.measured * 1e9 / (double)echoes[i].rate.ns;
        operations += (double)echoes[i].rate.count;
        client_disconnect(connections[i]);
    }
    print_value("rate", per_second, "msg/s");
    cpu_print(&cpu, operations);
    free(connections);
    free(echoes);
}
