/* An echo server on this machine, until its input ends: quick_server [PORT, or the PATH of a Unix socket]
 * In the background of a terminal, which stops programs that read: tail -f /dev/null | quick_server & */
#include <eventstream_rpc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_incoming_stream(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *message,
                               void *user_data)
{
    (void)connection, (void)user_data;
    if (esrpc_bytes_equal(esrpc_stream_get_operation(stream), esrpc_text("awstest#EchoMessage")))
        esrpc_stream_reply(stream, NULL, esrpc_message_get_payload(message));
    else
        esrpc_stream_fail(stream, esrpc_text("awstest#ServiceError"), esrpc_text("there is no such operation"));
}

static void on_incoming_connection(esrpc_listener *listener, esrpc_connection *connection, void *user_data)
{
    esrpc_connection_callbacks callbacks = {.struct_size = sizeof callbacks, .on_incoming_stream = on_incoming_stream};
    (void)listener;
    esrpc_connection_accept(connection, &callbacks, user_data);
}

int main(int argc, char **argv)
{
    const char *place = argc == 2 ? argv[1] : "8033";
    char *rest;
    unsigned long port = strtoul(place, &rest, 10);
    if (argc > 2 || (strchr(place, '/') == NULL && (*place == '\0' || *rest != '\0' || port > 65535))) {
        fprintf(stderr, "usage: quick_server [PORT, or the PATH of a Unix socket]\n");
        return 2;
    }
    esrpc_listener_callbacks callbacks = {.struct_size = sizeof callbacks,
                                          .on_incoming_connection = on_incoming_connection};
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener *listener = NULL;
    int failed =
        esrpc_listener_options_set_handshake(options, NULL, NULL) || /* every client is accepted */
        (strchr(place, '/') != NULL
             ? esrpc_listener_options_set_unix_path(options, esrpc_text(place))
             : esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), (uint32_t)port)) ||
        esrpc_listener_listen(options, &callbacks, NULL, &listener);
    if (!failed) {
        printf("listening on %s\n", esrpc_listener_get_address(listener));
        fflush(stdout);
        while (getchar() != EOF) continue;
        failed = esrpc_listener_drain(listener, 1000) || esrpc_listener_wait_closed(listener, 5000);
    }
    if (failed) fprintf(stderr, "%s\n", esrpc_last_error_message());
    esrpc_listener_release(listener);
    esrpc_listener_options_release(options);
    return failed;
}
