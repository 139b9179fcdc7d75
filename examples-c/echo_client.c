/* Talks to the echo service: a unary call, a streaming call, a PING. Prints the conversation, and exits 0 if it went as
 * it should.
 *
 * echo_client [--host HOST] [--port PORT] [--ip 4|6] [--unix PATH] [--abstract NAME] [--setup-timeout MS]
 *             [--idle-timeout MS] [--keep-alive MS] [--ca FILE [--crl FILE] [--server-name NAME] [--alpn NAME]
 *             [--cert FILE --key FILE]] [--token-file FILE]
 * The token, the first line of its file, goes into CONNECT: {"authToken":"..."}. */
#include "common.h"

/* What the callbacks know. Only the loop thread uses it until the connection has shut down. */
struct client {
    const char *expected;  /* payload that the next reply must bring back */
    size_t next_message;   /* of stream_messages */
    unsigned replies;      /* as expected */
    unsigned surprises;    /* anything else */
};

static const char unary_message[] = "{\"message\":{\"stringMessage\":\"hello\"}}";
static const char ping_payload[] = "are you there?";
static const char *const stream_messages[] = {
    "{\"streamMessage\":{\"stringMessage\":\"one\"}}",
    "{\"keyValuePair\":{\"key\":\"two\",\"value\":\"2\"}}",
    "{\"streamMessage\":{\"stringMessage\":\"close\"}}", /* after its echo the server ends the stream */
};
enum { STREAM_MESSAGES = sizeof stream_messages / sizeof stream_messages[0] };
/* Unary reply, the stream's opening and echoes, PING_RESPONSE. */
enum { EXPECTED_REPLIES = 1 + 1 + STREAM_MESSAGES + 1 };

static void print_received(const char *what, const esrpc_message *message)
{
    esrpc_bytes payload = esrpc_message_get_payload(message);
    bool last = (esrpc_message_get_flags(message) & ESRPC_MESSAGE_FLAG_TERMINATE_STREAM) != 0;
    printf("<- %s%s%.*s%s\n", what, payload.len > 0 ? " " : "", (int)payload.len, (const char *)payload.data,
           last ? " (last)" : "");
}

static void check_reply(struct client *client, const esrpc_message *message)
{
    if (client->expected != NULL &&
        esrpc_bytes_equal(esrpc_message_get_payload(message), esrpc_text(client->expected)))
        client->replies++;
    else
        client->surprises++;
    client->expected = NULL;
}

static void on_unary_message(esrpc_stream *stream, const esrpc_message *message, void *user_data)
{
    (void)stream;
    print_received("reply", message);
    check_reply(user_data, message);
}

/* Each echo is answered with the next message, until the server ends the stream with an empty one. */
static void on_stream_message(esrpc_stream *stream, const esrpc_message *message, void *user_data)
{
    struct client *client = user_data;
    print_received("event", message);
    if (client->expected == NULL && client->next_message == STREAM_MESSAGES) return;
    check_reply(client, message);
    if (client->next_message == STREAM_MESSAGES) return;
    client->expected = stream_messages[client->next_message++];
    printf("-> event %s\n", client->expected);
    if (esrpc_stream_send_message(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, ESRPC_MESSAGE_FLAG_NONE, NULL,
                                  esrpc_text(client->expected), NULL, NULL) != ESRPC_OK)
        client->surprises++;
}

/* The conversation is over when the PING is answered. */
static void on_protocol_message(esrpc_connection *connection, const esrpc_message *message, void *user_data)
{
    bool answered = esrpc_message_get_type(message) == ESRPC_MESSAGE_TYPE_PING_RESPONSE;
    print_received(answered ? "PING_RESPONSE" : "unexpected protocol message", message);
    check_reply(user_data, message);
    if (answered) esrpc_connection_close(connection, ESRPC_OK);
}

static esrpc_status make_options(esrpc_client_options *options, esrpc_headers *connect, esrpc_runtime *runtime,
                                 const char *token, const struct endpoint *endpoint)
{
    char payload[TOKEN_SIZE + 32] = "";
    if (token[0] != '\0') snprintf(payload, sizeof payload, "{\"authToken\":\"%s\"}", token);
    esrpc_status status = esrpc_headers_add_string(connect, esrpc_text(":version"), esrpc_text("0.1.0"));
    if (status == ESRPC_OK)
        status = esrpc_headers_add_string(connect, esrpc_text("client-name"), esrpc_text("accepted.echo_client"));
    if (status == ESRPC_OK) status = esrpc_client_options_set_handshake(options, connect, esrpc_text(payload));
    if (status == ESRPC_OK) status = esrpc_client_options_set_runtime(options, runtime);
    esrpc_tls_config *tls = NULL;
    if (status == ESRPC_OK) status = make_tls(endpoint, &tls);
    if (status == ESRPC_OK) status = esrpc_client_options_set_tls(options, tls, esrpc_text(endpoint->server_name));
    esrpc_tls_config_release(tls); /* the options keep it */
    esrpc_connection_options *times = esrpc_connection_options_new();
    if (status == ESRPC_OK) status = set_times(endpoint, times);
    if (status == ESRPC_OK) status = esrpc_client_options_set_connection_options(options, times);
    esrpc_connection_options_release(times); /* of these they have a copy */
    if (status == ESRPC_OK) status = esrpc_client_options_set_address_family(options, (int32_t)endpoint->ip);
    if (status != ESRPC_OK) return status;
    if (endpoint->unix_path != NULL)
        return esrpc_client_options_set_unix_path(options, esrpc_text(endpoint->unix_path));
    if (endpoint->abstract_name != NULL)
        return esrpc_client_options_set_unix_abstract(options, esrpc_text(endpoint->abstract_name));
    return esrpc_client_options_set_host(options, esrpc_text(endpoint->host), endpoint->port);
}

/* Calls `operation` and waits for the end of its stream. */
static esrpc_status call(esrpc_connection *connection, struct client *client, const char *operation,
                         const char *payload,
                         void (*on_message)(esrpc_stream *, const esrpc_message *, void *))
{
    const esrpc_stream_callbacks callbacks = {.struct_size = sizeof callbacks, .on_message = on_message};
    esrpc_stream *stream = NULL;
    esrpc_status status = esrpc_connection_new_stream(connection, &callbacks, client, &stream);
    if (status == ESRPC_OK) {
        client->expected = payload;
        printf("-> %s %s\n", operation, payload);
        status = esrpc_stream_activate(stream, esrpc_text(operation), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE,
                                       ESRPC_MESSAGE_FLAG_NONE, NULL, esrpc_text(payload), NULL, NULL);
    }
    if (status == ESRPC_OK) status = esrpc_stream_wait_closed(stream, TIMEOUT_MS);
    if (status != ESRPC_OK) report(operation, status, esrpc_last_error_message());
    esrpc_stream_release(stream);
    return status;
}

/* The PING goes last: its answer makes on_protocol_message close the connection. */
static esrpc_status ping_and_close(esrpc_connection *connection, struct client *client)
{
    client->expected = ping_payload;
    printf("-> PING %s\n", ping_payload);
    esrpc_status status = esrpc_connection_send_protocol_message(connection, ESRPC_MESSAGE_TYPE_PING,
                                                                 ESRPC_MESSAGE_FLAG_NONE, NULL,
                                                                 esrpc_text(ping_payload), NULL, NULL);
    if (status == ESRPC_OK) status = esrpc_connection_wait_shutdown(connection, TIMEOUT_MS);
    if (status != ESRPC_OK) report("PING", status, esrpc_last_error_message());
    return status;
}

static esrpc_status converse(esrpc_connection *connection, struct client *client)
{
    esrpc_status status = esrpc_connection_wait_setup(connection, TIMEOUT_MS);
    if (status != ESRPC_OK) {
        report("cannot connect", status, esrpc_last_error_message());
        return status;
    }
    const char *tls = esrpc_connection_get_tls_version(connection);
    printf("connected to %s%s%s\n", esrpc_connection_get_remote_address(connection), *tls != 0 ? " by " : "", tls);
    status = call(connection, client, "awstest#EchoMessage", unary_message, on_unary_message);
    if (status == ESRPC_OK) status = call(connection, client, "awstest#EchoStreamMessages", "{}", on_stream_message);
    if (status == ESRPC_OK) status = ping_and_close(connection, client);
    return status;
}

int main(int argc, char **argv)
{
    static const esrpc_connection_callbacks callbacks = {.struct_size = sizeof callbacks,
                                                         .on_protocol_message = on_protocol_message};
    struct endpoint endpoint;
    struct client client = {NULL, 0, 0, 0};
    esrpc_runtime *runtime = NULL;
    esrpc_connection *connection = NULL;
    char token[TOKEN_SIZE] = "";
    const char *token_file = take_option(&argc, argv, "--token-file");
    if (!parse_endpoint(argc, argv, false, &endpoint))
        return explain_usage("echo_client", "[--token-file FILE] " CLIENT_USAGE "\n" TOKEN_USAGE, endpoint.mistake);
    if (token_file != NULL && !read_token(token_file, token)) return EXIT_USAGE;
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_headers *connect = esrpc_headers_new();
    esrpc_status status = esrpc_runtime_new(NULL, &runtime);
    if (status == ESRPC_OK) status = make_options(options, connect, runtime, token, &endpoint);
    if (status == ESRPC_OK) status = esrpc_connection_connect(options, &callbacks, &client, &connection);
    if (status == ESRPC_OK)
        status = converse(connection, &client);
    else
        report("cannot connect", status, esrpc_last_error_message());
    esrpc_connection_release(connection);
    esrpc_headers_release(connect);
    esrpc_client_options_release(options);
    if (!end_runtime(runtime)) status = ESRPC_ERROR_INTERNAL;
    if (status == ESRPC_OK && (client.replies != EXPECTED_REPLIES || client.surprises != 0)) {
        fprintf(stderr, "%u of %d replies as expected, %u surprises\n", client.replies, (int)EXPECTED_REPLIES,
                client.surprises);
        return EXIT_FAILED;
    }
    if (status == ESRPC_OK) printf("all %d replies as expected\n", (int)EXPECTED_REPLIES);
    return status == ESRPC_OK ? EXIT_OK : EXIT_FAILED;
}
