/* One call to an echo server on this machine: quick_call [PORT] */
#include <eventstream_rpc.h>
#include <stdio.h>
#include <stdlib.h>

static void on_message(esrpc_stream *stream, const esrpc_message *message, void *user_data)
{
    esrpc_bytes payload = esrpc_message_get_payload(message);
    (void)stream, (void)user_data;
    printf("%.*s\n", (int)payload.len, (const char *)payload.data);
}

int main(int argc, char **argv)
{
    esrpc_stream_callbacks callbacks = {.struct_size = sizeof callbacks, .on_message = on_message};
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_headers *connect = esrpc_headers_new();
    esrpc_connection *connection = NULL;
    esrpc_stream *stream = NULL;
    char *rest = "";
    unsigned long port = argc > 1 ? strtoul(argv[1], &rest, 10) : 8033;
    if (argc > 2 || *rest != '\0' || port == 0 || port > 65535) {
        fprintf(stderr, "usage: quick_call [PORT]; PORT is a number from 1 to 65535\n");
        return 2;
    }
    int failed =
        esrpc_headers_add_string(connect, esrpc_text(":version"), esrpc_text("0.1.0")) ||
        esrpc_headers_add_string(connect, esrpc_text("client-name"), esrpc_text("accepted.me")) ||
        esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), (uint32_t)port) ||
        esrpc_client_options_set_handshake(options, connect, esrpc_text(NULL)) ||
        esrpc_connection_connect(options, NULL, NULL, &connection) ||
        esrpc_connection_wait_setup(connection, 5000) ||
        esrpc_connection_new_stream(connection, &callbacks, NULL, &stream) ||
        esrpc_stream_activate(stream, esrpc_text("awstest#EchoMessage"), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE,
                              ESRPC_MESSAGE_FLAG_NONE, NULL, esrpc_text("{\"hello\":\"world\"}"), NULL, NULL) ||
        esrpc_stream_wait_closed(stream, 5000) || esrpc_connection_close(connection, ESRPC_OK) ||
        esrpc_connection_wait_shutdown(connection, 5000);
    if (failed) fprintf(stderr, "%s\n", esrpc_last_error_message());
    esrpc_stream_release(stream);
    esrpc_connection_release(connection);
    esrpc_headers_release(connect);
    esrpc_client_options_release(options);
    return failed;
}
