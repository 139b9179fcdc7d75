/* The echo service that the public test suites of event-stream RPC clients expect: this file has the connections, and
 * echo_operations.c what happens on their streams.
 *
 * echo_server [--host ADDRESS] [--port PORT] [--unix PATH] [--abstract NAME] [--setup-timeout MS] [--idle-timeout MS]
 *             [--keep-alive MS] [--cert FILE --key FILE [--client-ca FILE [--crl FILE]] [--alpn NAME]]
 * Port 0 lets the system choose. A listening socket that a supervisor passes (LISTEN_FDS) is used instead. Prints
 * `listening on ...` when it is ready; SIGINT and SIGTERM end it. */
#define _POSIX_C_SOURCE 200809L
#include "common.h"
#include "echo_operations.h"

#include "stopping.h"

#include <stdlib.h>

static void send_protocol_message(esrpc_connection *connection, int32_t type, int32_t flags,
                                  const esrpc_headers *headers, esrpc_bytes payload)
{
    echo_after_send(connection, esrpc_connection_send_protocol_message(connection, type, flags, headers, payload,
                                                                       echo_on_flush, connection));
}

static void answer_connect(esrpc_connection *connection, const esrpc_headers *headers)
{
    esrpc_bytes version, name;
    bool accepted = esrpc_headers_get_string(headers, esrpc_text(":version"), &version) == ESRPC_OK &&
                    esrpc_bytes_equal(version, esrpc_text("0.1.0")) &&
                    esrpc_headers_get_string(headers, esrpc_text("client-name"), &name) == ESRPC_OK &&
                    starts_with(name, "accepted.");
    if (!accepted)
        complain("refused %s: CONNECT needs the headers :version=0.1.0 and client-name=accepted.NAME\n",
                 esrpc_connection_get_remote_address(connection));
    /* Without the flag the message refuses, and the library ends the connection once it is written. */
    int32_t flags = accepted ? ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED : ESRPC_MESSAGE_FLAG_NONE;
    send_protocol_message(connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK, flags, NULL, esrpc_text(NULL));
}

static void answer_ping(esrpc_connection *connection, const esrpc_message *ping)
{
    esrpc_header header;
    esrpc_headers *headers = esrpc_headers_new();
    esrpc_status status = esrpc_headers_add_from(headers, esrpc_message_get_headers(ping), false);
    for (size_t i = esrpc_headers_count(headers); status == ESRPC_OK && i-- > 0;) {
        status = esrpc_headers_get(headers, i, &header);
        if (status == ESRPC_OK && starts_with(header.name, ":")) status = esrpc_headers_remove_at(headers, i);
    }
    if (status == ESRPC_OK)
        send_protocol_message(connection, ESRPC_MESSAGE_TYPE_PING_RESPONSE, ESRPC_MESSAGE_FLAG_NONE, headers,
                              esrpc_message_get_payload(ping));
    else
        echo_after_send(connection, status);
    esrpc_headers_release(headers);
}

static void on_protocol_message(esrpc_connection *connection, const esrpc_message *message, void *user_data)
{
    (void)user_data;
    switch (esrpc_message_get_type(message)) {
    case ESRPC_MESSAGE_TYPE_CONNECT:
        answer_connect(connection, esrpc_message_get_headers(message));
        break;
    case ESRPC_MESSAGE_TYPE_PING:
        answer_ping(connection, message);
        break;
    case ESRPC_MESSAGE_TYPE_PING_RESPONSE:
        break;
    default: {
        esrpc_headers *headers = echo_reply_headers("application/json", NULL);
        send_protocol_message(connection, ESRPC_MESSAGE_TYPE_INTERNAL_ERROR, ESRPC_MESSAGE_FLAG_NONE, headers,
                              esrpc_text("{\"error\":\"Unrecognized Message Type\"}"));
        esrpc_headers_release(headers);
        esrpc_connection_close(connection, ESRPC_OK);
    }
    }
}

/* Tells of each connection that did not end because one of the two sides wanted it to. */
static void on_shutdown(esrpc_connection *connection, esrpc_status reason, void *user_data)
{
    (void)user_data;
    if (reason != ESRPC_OK && reason != ESRPC_ERROR_PEER_CLOSED && reason != ESRPC_ERROR_RUNTIME_SHUTDOWN)
        report(esrpc_connection_get_remote_address(connection), reason, esrpc_connection_get_end_message(connection));
}

static void on_incoming_connection(esrpc_listener *listener, esrpc_connection *connection, void *user_data)
{
    static const esrpc_connection_callbacks callbacks = {.struct_size = sizeof callbacks,
                                                         .on_protocol_message = on_protocol_message,
                                                         .on_incoming_stream = echo_on_incoming_stream,
                                                         .on_shutdown = on_shutdown};
    esrpc_status status = esrpc_connection_accept(connection, &callbacks, NULL);
    (void)listener, (void)user_data;
    if (status != ESRPC_OK) report("cannot accept a connection", status, esrpc_last_error_message());
}

static void on_failed_connection(esrpc_listener *listener, esrpc_status status, void *user_data)
{
    (void)listener, (void)user_data;
    report("a connection failed", status, esrpc_last_error_message());
}

/* Without a listener there is nothing to wait for. */
static void on_listener_closed(esrpc_listener *listener, esrpc_status reason, void *failed)
{
    (void)listener;
    if (reason == ESRPC_OK) return;
    report("the listener ended", reason, esrpc_last_error_message());
    *(bool *)failed = true;
    stop_now();
}

#define NO_SOCKET ((esrpc_socket)-1)

/* The socket that a supervisor passes: descriptor 3, if the environment says that there is one for this process (socket
 * activation), or NO_SOCKET. */
static esrpc_socket inherited_socket(bool *mistaken)
{
#ifndef _WIN32
    enum { FIRST_PASSED = 3 };
    uint32_t pid = 0, count = 0;
    const char *for_process = getenv("LISTEN_PID"), *descriptors = getenv("LISTEN_FDS");
    if (for_process == NULL || descriptors == NULL || !parse_number(for_process, 1, INT32_MAX, &pid) ||
        (pid_t)pid != getpid())
        return NO_SOCKET;
    *mistaken = !parse_number(descriptors, 1, 1, &count);
    return FIRST_PASSED;
#else
    *mistaken = false;
    return NO_SOCKET;
#endif
}

int main(int argc, char **argv)
{
    static const esrpc_listener_callbacks callbacks = {.struct_size = sizeof callbacks,
                                                       .on_incoming_connection = on_incoming_connection,
                                                       .on_failed_connection = on_failed_connection,
                                                       .on_closed = on_listener_closed};
    struct endpoint endpoint;
    bool failed = false;
    const char *step = "cannot start";
    esrpc_runtime *runtime = NULL;
    esrpc_listener *listener = NULL;
    esrpc_tls_config *tls = NULL;
    if (!parse_endpoint(argc, argv, true, &endpoint))
        return explain_usage("echo_server", SERVER_USAGE, endpoint.mistake);
    esrpc_socket passed = inherited_socket(&failed);
    if (failed) {
        fprintf(stderr, "echo_server: LISTEN_FDS must be 1: this server takes one socket\n");
        return EXIT_USAGE;
    }
    if (!prepare_to_stop()) {
        fprintf(stderr, "echo_server: it cannot be told to stop\n");
        return EXIT_FAILED;
    }
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_connection_options *times = esrpc_connection_options_new();
    esrpc_status status = esrpc_runtime_new(NULL, &runtime);
    if (status == ESRPC_OK) status = esrpc_listener_options_set_runtime(options, runtime);
    if (status == ESRPC_OK)
        status = passed == NO_SOCKET ? choose_address(options, &endpoint) : esrpc_listener_options_set_socket(options, passed);
    if (status == ESRPC_OK) status = make_tls(&endpoint, &tls);
    if (status == ESRPC_OK) status = esrpc_listener_options_set_tls(options, tls);
    if (status == ESRPC_OK) status = set_times(&endpoint, times);
    if (status == ESRPC_OK) status = esrpc_listener_options_set_connection_options(options, times);
    if (status == ESRPC_OK) {
        step = "cannot listen";
        status = esrpc_listener_listen(options, &callbacks, &failed, &listener);
    }
    if (status == ESRPC_OK) {
        const char *address = esrpc_listener_get_address(listener);
        printf("listening on %s\n", strncmp(address, "unix:", 5) == 0 ? address + 5 : address);
        if (fflush(stdout) != 0 || !await_stop()) {
            perror("echo_server");
            failed = true;
        }
        step = "cannot stop";
        status = esrpc_listener_close(listener);
    }
    if (status != ESRPC_OK) report(step, status, esrpc_last_error_message());
    esrpc_listener_release(listener);
    esrpc_listener_options_release(options);
    esrpc_connection_options_release(times);
    esrpc_tls_config_release(tls);
    if (!end_runtime(runtime)) failed = true;
    return status == ESRPC_OK && !failed ? EXIT_OK : EXIT_FAILED;
}
