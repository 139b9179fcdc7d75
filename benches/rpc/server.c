/* The benchmark's server: serves the operations of wire.h until SIGTERM, and prints READY and the port or path first. */
#include "options.h"
#include "server_flood.h"
#include "wire.h"

#include <eventstream_rpc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static bool is_operation(esrpc_bytes operation, const char *name)
{
    return operation.len == strlen(name) && memcmp(operation.data, name, operation.len) == 0;
}

static void echo_call(esrpc_stream *stream, const esrpc_message *message, void *user_data)
{
    (void)user_data;
    esrpc_stream_send_message(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, ESRPC_MESSAGE_FLAG_TERMINATE_STREAM, NULL,
                              esrpc_message_get_payload(message), NULL, NULL);
}

static void echo_stream(esrpc_stream *stream, const esrpc_message *message, void *user_data)
{
    (void)user_data;
    if (!(esrpc_message_get_flags(message) & ESRPC_MESSAGE_FLAG_TERMINATE_STREAM))
        esrpc_stream_send_message(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, ESRPC_MESSAGE_FLAG_NONE, NULL,
                                  esrpc_message_get_payload(message), NULL, NULL);
}

static void on_incoming_stream(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *first_message,
                               void *user_data)
{
    static const esrpc_stream_callbacks call = {.struct_size = sizeof call, .on_message = echo_call};
    static const esrpc_stream_callbacks stream_echo = {.struct_size = sizeof stream_echo, .on_message = echo_stream};
    esrpc_bytes operation = esrpc_stream_get_operation(stream);
    (void)connection, (void)user_data;
    if (is_operation(operation, OPERATION_ECHO))
        esrpc_stream_accept(stream, &call, NULL);
    else if (is_operation(operation, OPERATION_ECHO_STREAM))
        esrpc_stream_accept(stream, &stream_echo, NULL);
    else if (is_operation(operation, OPERATION_FLOOD))
        flood_accept(stream, first_message);
}

static void on_protocol_message(esrpc_connection *connection, const esrpc_message *message, void *user_data)
{
    (void)user_data;
    if (esrpc_message_get_type(message) == ESRPC_MESSAGE_TYPE_CONNECT)
        esrpc_connection_send_protocol_message(connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK,
                                               ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, NULL, esrpc_text(NULL), NULL, NULL);
}

static void on_incoming_connection(esrpc_listener *listener, esrpc_connection *connection, void *user_data)
{
    static const esrpc_connection_callbacks callbacks = {.struct_size = sizeof callbacks,
                                                         .on_protocol_message = on_protocol_message,
                                                         .on_incoming_stream = on_incoming_stream};
    (void)listener, (void)user_data;
    esrpc_connection_accept(connection, &callbacks, NULL);
}

static esrpc_status set_tls(esrpc_listener_options *listener, const struct options *options)
{
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_server();
    esrpc_tls_config *config = NULL;
    esrpc_status status = esrpc_tls_config_builder_set_certificate_files(builder, esrpc_text(options->certificate),
                                                                         esrpc_text(options->key));
    if (!status)
        status = esrpc_tls_config_builder_set_session_resumption(builder, false);
    if (!status)
        status = esrpc_tls_config_builder_build(builder, &config);
    if (!status)
        status = esrpc_listener_options_set_tls(listener, config);
    esrpc_tls_config_release(config);
    esrpc_tls_config_builder_release(builder);
    return status;
}

/* For scale.open_streams. */
static esrpc_status allow_many_streams(esrpc_listener_options *listener)
{
    esrpc_connection_options *options = esrpc_connection_options_new();
    esrpc_status status = esrpc_connection_options_set_max_streams(options, 1000000);
    if (!status)
        status = esrpc_listener_options_set_connection_options(listener, options);
    esrpc_connection_options_release(options);
    return status;
}

static esrpc_status listen_at(const struct options *options, esrpc_runtime *runtime, esrpc_listener **listener)
{
    esrpc_listener_callbacks callbacks = {.struct_size = sizeof callbacks, .on_incoming_connection = on_incoming_connection};
    esrpc_listener_options *at = esrpc_listener_options_new();
    esrpc_status status = esrpc_listener_options_set_runtime(at, runtime);
    if (!status && options->transport == TRANSPORT_UNIX)
        status = esrpc_listener_options_set_unix_path(at, esrpc_text(options->path));
    else if (!status)
        status = esrpc_listener_options_set_host(at, esrpc_text("127.0.0.1"), options->port);
    if (!status && options->transport == TRANSPORT_TLS)
        status = set_tls(at, options);
    if (!status)
        status = esrpc_listener_options_set_max_connections(at, 1000000);
    if (!status)
        status = esrpc_listener_options_set_max_pending_handshakes(at, 1000000);
    if (!status)
        status = esrpc_listener_options_set_max_held_bytes(at, SIZE_MAX);
    if (!status)
        status = allow_many_streams(at);
    if (!status)
        status = esrpc_listener_listen(at, &callbacks, NULL, listener);
    esrpc_listener_options_release(at);
    return status;
}

int main(int argc, char **argv)
{
    struct options options;
    esrpc_runtime_options *runtime_options = esrpc_runtime_options_new();
    esrpc_runtime *runtime = NULL;
    esrpc_listener *listener = NULL;
    sigset_t stop;
    int signal_number, failed;

    options_parse(&options, false, argc, argv);
    /* before the library's threads exist, so that the signal finds nobody but sigwait */
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    sigprocmask(SIG_BLOCK, &stop, NULL);

    failed = esrpc_runtime_options_set_thread_count(runtime_options, options.loops) ||
             esrpc_runtime_new(runtime_options, &runtime) || listen_at(&options, runtime, &listener);
    if (failed) {
        fprintf(stderr, "%s\n", esrpc_last_error_message());
    } else {
        if (options.transport == TRANSPORT_UNIX)
            printf("READY %s\n", options.path);
        else
            printf("READY %u\n", (unsigned)esrpc_listener_get_port(listener));
        fflush(stdout);
        sigwait(&stop, &signal_number);
    }
    esrpc_listener_close(listener);
    esrpc_listener_release(listener);
    esrpc_runtime_shutdown(runtime);
    esrpc_runtime_join(runtime, 5000);
    esrpc_runtime_release(runtime);
    esrpc_runtime_options_release(runtime_options);
    return failed;
}
