/* One call to an echo server on this machine: blocking_call [PORT, or the PATH of a Unix socket] */
#include <eventstream_rpc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    const char *place = argc == 2 ? argv[1] : "8033";
    char *rest;
    unsigned long port = strtoul(place, &rest, 10);
    if (argc > 2 || (strchr(place, '/') == NULL && (*rest != '\0' || port == 0 || port > 65535))) {
        fprintf(stderr, "usage: blocking_call [PORT, or the PATH of a Unix socket]\n");
        return 2;
    }
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_headers *connect = esrpc_headers_new();
    esrpc_connection *connection = NULL;
    esrpc_message *reply = NULL;
    int failed =
        esrpc_headers_add_string(connect, esrpc_text(":version"), esrpc_text("0.1.0")) ||
        esrpc_headers_add_string(connect, esrpc_text("client-name"), esrpc_text("accepted.me")) ||
        esrpc_client_options_set_handshake(options, connect, esrpc_text(NULL)) ||
        (strchr(place, '/') != NULL ? esrpc_client_options_set_unix_path(options, esrpc_text(place))
                                    : esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), (uint32_t)port)) ||
        esrpc_connection_connect_blocking(options, 5000, &connection) ||
        esrpc_connection_call(connection, esrpc_text("awstest#EchoMessage"), NULL,
                              esrpc_text("{\"hello\":\"world\"}"), 5000, &reply);
    esrpc_bytes payload = esrpc_message_get_payload(reply);
    if (failed)
        fprintf(stderr, "%s\n", esrpc_last_error_message());
    else
        printf("%.*s\n", (int)payload.len, (const char *)payload.data);
    if (connection != NULL) esrpc_connection_close(connection, ESRPC_OK);
    esrpc_message_release(reply);
    esrpc_connection_release(connection);
    esrpc_headers_release(connect);
    esrpc_client_options_release(options);
    return failed;
}
