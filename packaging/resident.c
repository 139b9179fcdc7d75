/* How much memory a component takes that calls a server on a Unix socket, for sizes.sh: resident SOCKET */
#include <eventstream_rpc.h>
#include <stdio.h>
#include <string.h>

/* Prints what the system says of this process: all resident memory, and what no other process shares. */
static void print_memory(const char *when)
{
    char line[256];
    long all = 0, anonymous = 0;
    FILE *status = fopen("/proc/self/status", "r");
    if (status == NULL) return;
    while (fgets(line, sizeof line, status) != NULL) {
        sscanf(line, "VmRSS: %ld", &all);
        sscanf(line, "RssAnon: %ld", &anonymous);
    }
    fclose(status);
    printf("%-58s %6ld KiB %6ld KiB\n", when, all, anonymous);
}

static int call(esrpc_connection *connection)
{
    esrpc_message *reply = NULL;
    int failed = esrpc_connection_call(connection, esrpc_text("awstest#EchoMessage"), NULL,
                                       esrpc_text("{\"keyPath\":[]}"), 5000, &reply);
    esrpc_message_release(reply);
    return failed;
}

int main(int argc, char **argv)
{
    esrpc_client_options *options;
    esrpc_headers *connect;
    esrpc_connection *connection = NULL;
    int failed;
    if (argc != 2) return 2;
    print_memory("before the first call of the library");
    options = esrpc_client_options_new();
    connect = esrpc_headers_new();
    failed = esrpc_headers_add_string(connect, esrpc_text(":version"), esrpc_text("0.1.0")) ||
             esrpc_client_options_set_handshake(options, connect, esrpc_text(NULL)) ||
             esrpc_client_options_set_unix_path(options, esrpc_text(argv[1])) ||
             esrpc_connection_connect_blocking(options, 5000, &connection);
    if (!failed) print_memory("an idle client");
    for (int i = 0; i < 10000 && !failed; i++) failed = call(connection);
    if (!failed) print_memory("after 10,000 calls");
    if (failed) fprintf(stderr, "%s\n", esrpc_last_error_message());
    if (connection != NULL) esrpc_connection_close(connection, ESRPC_OK);
    esrpc_connection_release(connection);
    esrpc_headers_release(connect);
    esrpc_client_options_release(options);
    return failed;
}
