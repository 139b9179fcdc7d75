/* Calls an operation of AWS IoT Greengrass from inside a component: the nucleus, or the nucleus lite, tells the component by two
 * environment variables where its Unix socket is and with which token the component identifies itself.
 *
 * greengrass_client OPERATION [JSON]
 * for example: greengrass_client aws.greengrass#GetConfiguration '{"keyPath":[]}'
 *
 * Prints the reply. Exit codes: 0 a reply, 1 none or an error of the service's, 2 wrong arguments or environment. */
#include "common.h"
#include "json.h"

#include <stdlib.h>

#define SOCKET_VARIABLE "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"
#define TOKEN_VARIABLE "SVCUID"
#define USAGE \
    "OPERATION [JSON]\n" \
    "Calls an operation of AWS IoT Greengrass with this request, or with {}, and prints the reply. A component's environment\n" \
    "says where the nucleus is and with which token to connect: " SOCKET_VARIABLE "\nand " TOKEN_VARIABLE "."

/* {"authToken":"..."}; to be freed. NULL: no memory. */
static char *connect_payload(const char *token)
{
    static const char before[] = "{\"authToken\":\"", after[] = "\"}";
    size_t token_len = strlen(token), len = sizeof before - 1;
    char *payload = malloc(sizeof before + 6 * token_len + sizeof after);
    if (payload == NULL) return NULL;
    memcpy(payload, before, len);
    len += json_escape((const uint8_t *)token, token_len, payload + len);
    memcpy(payload + len, after, sizeof after);
    return payload;
}

static esrpc_status connect_to_nucleus(const char *path, const char *token, esrpc_connection **out_connection)
{
    char *payload = connect_payload(token);
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_headers *headers = esrpc_headers_new();
    esrpc_status status = esrpc_headers_add_string(headers, esrpc_text(":version"), esrpc_text("0.1.0"));
    if (status == ESRPC_OK) status = esrpc_client_options_set_handshake(options, headers, esrpc_text(payload));
    if (status == ESRPC_OK) status = esrpc_client_options_set_unix_path(options, esrpc_text(path));
    if (status == ESRPC_OK) status = esrpc_connection_connect_blocking(options, TIMEOUT_MS, out_connection);
    esrpc_headers_release(headers);
    esrpc_client_options_release(options);
    free(payload);
    return status;
}

/* The service finds the type of a request by its name: the operation's with "Request" behind it. */
static esrpc_status call(esrpc_connection *connection, const char *operation, const char *json, esrpc_message **out_reply)
{
    char model_type[256];
    esrpc_headers *headers = esrpc_headers_new();
    snprintf(model_type, sizeof model_type, "%sRequest", operation);
    esrpc_status status =
        esrpc_headers_add_string(headers, esrpc_text(":content-type"), esrpc_text("application/json"));
    if (status == ESRPC_OK)
        status = esrpc_headers_add_string(headers, esrpc_text("service-model-type"), esrpc_text(model_type));
    /* The reply of a unary call may leave the stream open: this ends it. */
    if (status == ESRPC_OK)
        status = esrpc_connection_call(connection, esrpc_text(operation), headers, esrpc_text(json), TIMEOUT_MS, out_reply);
    esrpc_headers_release(headers);
    return status;
}

int main(int argc, char **argv)
{
    const char *path = getenv(SOCKET_VARIABLE), *token = getenv(TOKEN_VARIABLE);
    const char *json = argc > 2 ? argv[2] : "{}";
    esrpc_connection *connection = NULL;
    esrpc_message *reply = NULL;
    if (argc == 2 && is_help(argv[1])) return explain_usage("greengrass_client", USAGE, "");
    if (argc < 2 || argc > 3 || argv[1][0] == '\0') {
        return explain_usage("greengrass_client", USAGE, "it takes an operation, and a request in JSON or none");
    }
    if (!json_is_valid((const uint8_t *)json, strlen(json))) {
        fprintf(stderr, "greengrass_client: this is not JSON: %s\n", json);
        return EXIT_USAGE;
    }
    if (path == NULL || *path == '\0' || token == NULL || *token == '\0') {
        fprintf(stderr, "greengrass_client: %s is not set: run this as a component of Greengrass\n",
                path == NULL || *path == '\0' ? SOCKET_VARIABLE : TOKEN_VARIABLE);
        return EXIT_USAGE;
    }
    const char *step = "cannot connect";
    esrpc_status status = connect_to_nucleus(path, token, &connection);
    if (status == ESRPC_OK) {
        step = argv[1];
        status = call(connection, argv[1], json, &reply);
    }
    if (status == ESRPC_OK) {
        esrpc_bytes payload = esrpc_message_get_payload(reply);
        printf("%.*s\n", (int)payload.len, (const char *)payload.data);
    } else {
        /* For an error message of the service's the sentence repeats what it says. */
        report(step, status, esrpc_last_error_message());
    }
    /* What was sent, the end of the stream too, is written before the connection closes. */
    if (connection != NULL) {
        esrpc_connection_close(connection, ESRPC_OK);
        esrpc_connection_wait_shutdown(connection, TIMEOUT_MS);
    }
    esrpc_message_release(reply);
    esrpc_connection_release(connection);
    return status == ESRPC_OK ? EXIT_OK : EXIT_FAILED;
}
