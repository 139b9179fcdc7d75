#include "connecting.h"
#include "measure.h"

#include <stdlib.h>

#define PATIENCE_MS 30000

void check(esrpc_status status)
{
    if (status)
        die(esrpc_last_error_message());
}

esrpc_bytes make_payload(size_t size)
{
    uint8_t *data = malloc(size + 1);
    esrpc_bytes payload = {data, size};
    size_t i;
    if (!data)
        die("no memory for a payload");
    for (i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 31 + (i >> 8) + 7);
    return payload;
}

static void set_tls(esrpc_client_options *target, const char *ca)
{
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_client();
    esrpc_tls_config *config = NULL;
    check(esrpc_tls_config_builder_add_ca_file(builder, esrpc_text(ca)));
    check(esrpc_tls_config_builder_set_session_resumption(builder, false));
    check(esrpc_tls_config_builder_build(builder, &config));
    check(esrpc_client_options_set_tls(target, config, esrpc_text("localhost")));
    esrpc_tls_config_release(config);
    esrpc_tls_config_builder_release(builder);
}

void client_start(struct client *client, const struct options *options)
{
    esrpc_runtime_options *runtime_options = esrpc_runtime_options_new();
    client->options = options;
    client->target = esrpc_client_options_new();
    check(esrpc_runtime_options_set_thread_count(runtime_options, options->loops));
    check(esrpc_runtime_new(runtime_options, &client->runtime));
    esrpc_runtime_options_release(runtime_options);
    check(esrpc_client_options_set_runtime(client->target, client->runtime));
    check(esrpc_client_options_set_handshake(client->target, NULL, esrpc_text(NULL)));
    if (options->transport == TRANSPORT_UNIX)
        check(esrpc_client_options_set_unix_path(client->target, esrpc_text(options->path)));
    else
        check(esrpc_client_options_set_host(client->target, esrpc_text("127.0.0.1"), options->port));
    if (options->transport == TRANSPORT_TLS)
        set_tls(client->target, options->ca);
}

void client_stop(struct client *client)
{
    esrpc_client_options_release(client->target);
    check(esrpc_runtime_join(client->runtime, PATIENCE_MS));
    esrpc_runtime_release(client->runtime);
}

static void on_shutdown(esrpc_connection *connection, esrpc_status reason, void *user_data)
{
    (void)user_data;
    if (reason)
        die(esrpc_connection_get_end_message(connection));
}

esrpc_connection *client_connect(struct client *client)
{
    esrpc_connection_callbacks callbacks = {.struct_size = sizeof callbacks, .on_shutdown = on_shutdown};
    esrpc_connection *connection = NULL;
    check(esrpc_connection_connect(client->target, &callbacks, NULL, &connection));
    check(esrpc_connection_wait_setup(connection, PATIENCE_MS));
    return connection;
}

void client_disconnect(esrpc_connection *connection)
{
    check(esrpc_connection_close(connection, ESRPC_OK));
    check(esrpc_connection_wait_shutdown(connection, PATIENCE_MS));
    esrpc_connection_release(connection);
}

void client_run_on_loop(esrpc_connection *connection, esrpc_task_callback task, void *user_data)
{
    check(esrpc_connection_run_on_loop(connection, task, user_data));
}

esrpc_stream *client_open_stream(esrpc_connection *connection, const esrpc_stream_callbacks *callbacks, void *user_data,
                                 const char *operation, esrpc_bytes payload)
{
    esrpc_stream *stream = NULL;
    check(esrpc_connection_new_stream(connection, callbacks, user_data, &stream));
    check(esrpc_stream_activate(stream, esrpc_text(operation), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE,
                                ESRPC_MESSAGE_FLAG_NONE, NULL, payload, NULL, NULL));
    return stream;
}
