/* esrpc-call: calls an operation of an event-stream RPC service from the shell. Its manual is docs/man/esrpc-call.1.
 *
 * Here are its options and the plain call; call_connect.c connects, call_stream.c and call_bench.c are the other two ways. */
#include "call.h"

#include <signal.h>
#include <stdlib.h>

static const char help[] =
    "Usage: esrpc-call HOST:PORT --operation NAME [OPTION]...\n"
    "       esrpc-call --unix PATH --operation NAME [OPTION]...\n"
    "       esrpc-call --greengrass --operation NAME [OPTION]...\n"
    "Calls an operation of an event-stream RPC service and prints the payload of its reply.\n"
    "\n"
    "Where:\n"
    "  HOST:PORT, [IPV6]:PORT     a TCP server\n"
    "  --unix PATH                a Unix socket; @NAME for Linux's abstract names\n"
    "  --greengrass               socket and token from the environment, as components of\n"
    "                             AWS IoT Greengrass have them; adds the headers it wants\n"
    "TLS:\n"
    "  --tls                      use TLS; each of the following does so, too\n"
    "  --ca FILE                  trust the certificates in FILE, not the system's CAs\n"
    "  --cert FILE --key FILE     present this certificate\n"
    "  --server-name NAME         the name in the server's certificate, if not HOST\n"
    "  --alpn NAME                offer this application protocol\n"
    "  --insecure                 accept any certificate: for tests on one machine only\n"
    "Handshake:\n"
    "  --connect-header HEADER    a header of CONNECT (repeatable); :version=0.1.0 is\n"
    "                             added unless you give another\n"
    "  --connect-data DATA        the payload of CONNECT\n"
    "The call:\n"
    "  --operation NAME           what to call\n"
    "  --header HEADER            a header of the first message (repeatable)\n"
    "  --data DATA                its payload: @FILE, - for standard input, or text\n"
    "  --timeout SECONDS          for connecting and again for the reply (10), or for a\n"
    "                             whole stream (none)\n"
    "  --json                     print the reply as a line of JSON, with its headers\n"
    "  --quiet                    do not say that messages may follow the reply, and show\n"
    "                             no progress with --stream and --bench\n"
    "Streams:\n"
    "  --stream                   send each line of standard input as a message, and\n"
    "                             print each reply as a line of JSON; without --data the\n"
    "                             first line opens the stream\n"
    "  --message-header HEADER    a header of each later message (repeatable)\n"
    "  --replies N                end the stream after N replies\n"
    "  --wait SECONDS             end it when the input has ended and nothing has come\n"
    "                             for this long; otherwise the server ends it\n"
    "Load:\n"
    "  --bench                    call again and again; print rate and latencies; stop if\n"
    "                             none of the first 100 calls succeeds\n"
    "  --connections N            on this many connections (1)\n"
    "  --in-flight N              with this many calls at once on each (1)\n"
    "  --duration SECONDS         for this long (5), or\n"
    "  --count N                  this many times\n"
    "  --threads N                event-loop threads of the client (1)\n"
    "  --json                     print the figures as JSON\n"
    "\n"
    "HEADER is NAME=VALUE, or NAME:TYPE=VALUE with one of the types bool, byte, short,\n"
    "integer, long, bytes (base64), string, timestamp (milliseconds since 1970), uuid.\n"
    "\n"
    "Exit codes: 0 a reply; 1 another failure; 2 wrong arguments; 3 no connection; 4 TLS;\n"
    "5 the server refused the handshake; 6 an error of the service; 7 out of time;\n"
    "8 the connection was lost.\n"
    "\n"
    "Example:\n"
    "  esrpc-call 127.0.0.1:8033 --connect-header client-name=accepted.me \\\n"
    "      --operation awstest#EchoMessage --data '{\"message\":{\"stringMessage\":\"hello\"}}'\n";

static void read_arguments(int argc, char **argv, struct call *call)
{
    struct tls_files *tls = &call->tls;
    const struct option options[] = {
        {"--unix", OPTION_TEXT, &call->unix_path, 0, 0},
        {"--greengrass", OPTION_FLAG, &call->is_greengrass, 0, 0},
        {"--tls", OPTION_FLAG, &tls->is_on, 0, 0},
        {"--ca", OPTION_TEXT, &tls->ca, 0, 0},
        {"--cert", OPTION_TEXT, &tls->certificate, 0, 0},
        {"--key", OPTION_TEXT, &tls->key, 0, 0},
        {"--server-name", OPTION_TEXT, &tls->server_name, 0, 0},
        {"--alpn", OPTION_TEXT, &tls->alpn, 0, 0},
        {"--insecure", OPTION_FLAG, &tls->is_insecure, 0, 0},
        {"--connect-header", OPTION_LIST, &call->connect_headers, 0, 0},
        {"--connect-data", OPTION_TEXT, &call->connect_data, 0, 0},
        {"--operation", OPTION_TEXT, &call->operation, 0, 0},
        {"--header", OPTION_LIST, &call->header_specs, 0, 0},
        {"--data", OPTION_TEXT, &call->data, 0, 0},
        {"--timeout", OPTION_SECONDS, &call->timeout_ms, 1, 0},
        {"--json", OPTION_FLAG, &call->is_json, 0, 0},
        {"--stream", OPTION_FLAG, &call->is_stream, 0, 0},
        {"--message-header", OPTION_LIST, &call->message_header_specs, 0, 0},
        {"--replies", OPTION_NUMBER, &call->replies, 1, UINT32_MAX},
        {"--wait", OPTION_SECONDS, &call->wait_ms, 0, 0},
        {"--quiet", OPTION_FLAG, &call->is_quiet, 0, 0},
        {"--bench", OPTION_FLAG, &call->is_bench, 0, 0},
        {"--connections", OPTION_NUMBER, &call->connections, 1, 10000},
        {"--in-flight", OPTION_NUMBER, &call->in_flight, 1, 10000},
        {"--duration", OPTION_SECONDS, &call->duration_ms, 1, 0},
        {"--count", OPTION_NUMBER, &call->count, 1, UINT32_MAX},
        {"--threads", OPTION_NUMBER, &call->threads, 1, 64},
    };
    const struct command_line line = {"esrpc-call", help, options, sizeof options / sizeof options[0], "HOST:PORT",
                                      " An operation is given as --operation NAME, its payload as --data TEXT"};
    call->wait_ms = ESRPC_NO_TIMEOUT;
    call->address = read_command_line(argc, argv, &line);
    check_target(call);
    if (call->operation == NULL || call->operation[0] == '\0')
        usage_error("which operation? Give --operation NAME, such as awstest#EchoMessage");
    if (call->is_stream && call->is_bench) usage_error("--stream and --bench exclude each other");
    if (!call->is_stream && (call->replies != 0 || call->wait_ms != ESRPC_NO_TIMEOUT || call->message_header_specs.count > 0))
        usage_error("--replies, --wait and --message-header are for --stream");
    if (!call->is_bench &&
        (call->connections != 0 || call->in_flight != 0 || call->duration_ms != 0 || call->count != 0 || call->threads != 0))
        usage_error("--connections, --in-flight, --duration, --count and --threads are for --bench");
    if (call->duration_ms != 0 && call->count != 0) usage_error("--duration and --count exclude each other");
    if (call->duration_ms == ESRPC_NO_TIMEOUT) usage_error("--duration takes seconds, such as 2 or 0.5");
    bool data_is_stdin = call->data != NULL && strcmp(call->data, "-") == 0;
    bool connect_data_is_stdin = call->connect_data != NULL && strcmp(call->connect_data, "-") == 0;
    if (data_is_stdin && call->is_stream)
        usage_error("with --stream standard input holds the messages: give the first one with --data @FILE or --data TEXT");
    if (connect_data_is_stdin && (data_is_stdin || call->is_stream))
        usage_error("standard input can be read only once: give CONNECT's payload with --connect-data @FILE");
}

/* Greengrass finds the type of a request by its name: the operation's with "Request" behind it. */
static void add_greengrass_headers(struct call *call)
{
    const esrpc_bytes content_type = esrpc_text(":content-type"), model_type = esrpc_text("service-model-type");
    esrpc_header header;
    if (esrpc_headers_find(call->headers, content_type, &header) != ESRPC_OK)
        esrpc_headers_add_string(call->headers, content_type, esrpc_text("application/json"));
    if (esrpc_headers_find(call->headers, model_type, &header) != ESRPC_OK) {
        struct text name = {NULL, 0, 0};
        text_print(&name, "%sRequest", call->operation);
        esrpc_headers_add_string(call->headers, model_type, text_bytes(&name));
        free(name.data);
    }
}

static bool prepare_message(struct call *call)
{
    call->headers = esrpc_headers_new();
    call->message_headers = esrpc_headers_new();
    for (size_t i = 0; i < call->header_specs.count; i++)
        add_header_option(call->headers, "--header", call->header_specs.items[i]);
    for (size_t i = 0; i < call->message_header_specs.count; i++)
        add_header_option(call->message_headers, "--message-header", call->message_header_specs.items[i]);
    if (call->is_greengrass) add_greengrass_headers(call);
    if (call->data == NULL && call->is_greengrass && !call->is_stream) call->data = "{}";
    return call->data == NULL || read_data("--data", call->data, &call->payload);
}

int say_error_reply(const struct call *call, const esrpc_message *reply)
{
    esrpc_bytes type = {NULL, 0}, payload = esrpc_message_get_payload(reply);
    enum { MOST = 2000 };
    esrpc_headers_get_string(esrpc_message_get_headers(reply), esrpc_text("service-model-type"), &type);
    if (!is_utf8(type)) type.len = 0;
    if (!is_utf8(payload)) payload = esrpc_text("(a payload that is not text: see it with --json)");
    say("%s: the service answered with an error%s%.*s%s%.*s%s", call->operation, type.len > 0 ? ", " : "", (int)type.len,
        (const char *)type.data, payload.len > 0 ? ": " : " without a payload",
        (int)(payload.len < MOST ? payload.len : MOST), (const char *)payload.data, payload.len > MOST ? "..." : "");
    return EXIT_ERROR_REPLY;
}

/* The payload as it is; on a terminal with a line's end behind it. */
static bool print_reply(const struct call *call, const esrpc_message *reply)
{
    struct text text = {NULL, 0, 0};
    if (call->is_json) {
        text_add_message(&text, reply);
    } else {
        esrpc_bytes payload = esrpc_message_get_payload(reply);
        text_add(&text, payload.data, payload.len);
        if (payload.len > 0 && payload.data[payload.len - 1] != '\n' && isatty(STDOUT_FILENO)) text_add(&text, "\n", 1);
    }
    bool written = write_output(text.data, text.len);
    free(text.data);
    return written;
}

int call_once(struct call *call, esrpc_connection *connection)
{
    esrpc_message *reply = NULL;
    int exit_code = EXIT_OK;
    esrpc_status status = esrpc_connection_call(connection, esrpc_text(call->operation), call->headers,
                                                text_bytes(&call->payload), timeout_of(call), &reply);
    bool is_error = status == ESRPC_ERROR_APPLICATION_ERROR;
    /* If a message from the server were too large, the connection would have ended. */
    bool is_mistake = is_bad_message(status) && esrpc_connection_is_open(connection);
    if (status != ESRPC_OK && !is_error) {
        exit_code = say_failure(call, "the call to @ failed", status, esrpc_last_error_message(), last_alert(), true);
        if (is_mistake) exit_code = EXIT_USAGE;
    } else if ((!is_error || call->is_json) && !print_reply(call, reply)) {
        exit_code = EXIT_FAILED;
    } else if (!is_error && !call->is_quiet && (esrpc_message_get_flags(reply) & ESRPC_MESSAGE_FLAG_TERMINATE_STREAM) == 0) {
        say("%s: this reply does not end the stream: add --stream to read the messages that follow", call->operation);
    }
    if (is_error && exit_code == EXIT_OK) exit_code = say_error_reply(call, reply);
    esrpc_message_release(reply);
    return exit_code;
}

int main(int argc, char **argv)
{
    struct call call = {.timeout_ms = 0};
    int exit_code = EXIT_USAGE;
    signal(SIGPIPE, SIG_IGN); /* write_output notices that nobody reads */
    read_arguments(argc, argv, &call);
    if (prepare_message(&call)) {
        if (call.is_bench) {
            exit_code = call_bench(&call);
        } else {
            esrpc_connection *connection = connect_to_server(&call, &exit_code);
            if (connection != NULL) {
                exit_code = call.is_stream ? call_stream(&call, connection) : call_once(&call, connection);
                /* What was sent, the end of the stream too, is written before the connection closes. */
                esrpc_connection_close(connection, ESRPC_OK);
                esrpc_connection_wait_shutdown(connection, DEFAULT_TIMEOUT_MS);
                esrpc_connection_release(connection);
            }
        }
    }
    esrpc_headers_release(call.headers);
    esrpc_headers_release(call.message_headers);
    free(call.payload.data);
    free(call.header_specs.items);
    free(call.message_header_specs.items);
    free(call.connect_headers.items);
    esrpc_runtime_join(NULL, DEFAULT_TIMEOUT_MS);
    return exit_code;
}
