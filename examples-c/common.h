/* What the example programs share: reading the command line, and saying what went wrong. */
#ifndef EXAMPLES_COMMON_H
#define EXAMPLES_COMMON_H

#include <eventstream_rpc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, TIMEOUT_MS = 10000 };

#define ENDPOINT_USAGE \
    "[--host HOST] [--port PORT] [--unix PATH] [--abstract NAME] [--tls-cert FILE --tls-key FILE] [--alpn NAME] " \
    "[--setup-timeout MS] [--idle-timeout MS] [--keep-alive MS] "
#define SERVER_USAGE ENDPOINT_USAGE "[--client-ca FILE]"
#define CLIENT_USAGE ENDPOINT_USAGE "[--ca FILE] [--server-name NAME] [--ip 4|6]"

/* Where to listen or to connect: a Unix socket if one of its two names is given, else host and port; with TLS if there is a
 * certificate to show (a server) or a CA to trust (a client). */
struct endpoint {
    bool is_server;
    const char *host;
    uint32_t port;
    const char *unix_path;
    const char *abstract_name;
    const char *certificate, *key; /* of this side */
    const char *ca;                /* which the peer's certificate must come from */
    const char *server_name;       /* which the server's certificate must have; NULL: the host */
    const char *alpn;              /* the application protocol that TLS is to agree on */
    uint32_t setup_timeout_ms;     /* for each phase of connecting */
    uint32_t idle_timeout_ms, keep_alive_ms; /* 0: none */
    uint32_t ip;                   /* the address family, an ESRPC_ADDRESS_FAMILY_ constant */
};

/* A decimal number from min to max, and nothing else; strtoul would also take a sign, spaces and a tail. */
static inline bool parse_number(const char *text, uint32_t min, uint32_t max, uint32_t *out_number)
{
    uint64_t number = 0;
    if (*text == '\0') return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') return false;
        number = number * 10 + (uint64_t)(*text - '0');
        if (number > max) return false;
    }
    if (number < min) return false;
    *out_number = (uint32_t)number;
    return true;
}

/* Reads the options of SERVER_USAGE or CLIENT_USAGE; false if there is anything else on the command line. */
static inline bool parse_endpoint(int argc, char **argv, bool is_server, struct endpoint *out_endpoint)
{
    enum { DAY_MS = 24 * 60 * 60 * 1000 };
    struct endpoint endpoint = {.is_server = is_server, .host = "127.0.0.1", .port = 8033, .setup_timeout_ms = TIMEOUT_MS};
    for (int i = 1; i < argc; i += 2) {
        const char *value = argv[i + 1]; /* argv ends with a NULL */
        if (value == NULL) return false;
        if (strcmp(argv[i], "--host") == 0) {
            endpoint.host = value;
        } else if (strcmp(argv[i], "--port") == 0) {
            if (!parse_number(value, 0, UINT16_MAX, &endpoint.port)) return false;
        } else if (strcmp(argv[i], "--unix") == 0) {
            endpoint.unix_path = value;
        } else if (strcmp(argv[i], "--abstract") == 0) {
            endpoint.abstract_name = value;
        } else if (strcmp(argv[i], "--tls-cert") == 0) {
            endpoint.certificate = value;
        } else if (strcmp(argv[i], "--tls-key") == 0) {
            endpoint.key = value;
        } else if (strcmp(argv[i], is_server ? "--client-ca" : "--ca") == 0) {
            endpoint.ca = value;
        } else if (!is_server && strcmp(argv[i], "--server-name") == 0) {
            endpoint.server_name = value;
        } else if (strcmp(argv[i], "--alpn") == 0) {
            endpoint.alpn = value;
        } else if (strcmp(argv[i], "--setup-timeout") == 0) {
            if (!parse_number(value, 1, DAY_MS, &endpoint.setup_timeout_ms)) return false;
        } else if (strcmp(argv[i], "--idle-timeout") == 0) {
            if (!parse_number(value, 0, DAY_MS, &endpoint.idle_timeout_ms)) return false;
        } else if (strcmp(argv[i], "--keep-alive") == 0) {
            if (!parse_number(value, 0, DAY_MS, &endpoint.keep_alive_ms)) return false;
        } else if (!is_server && strcmp(argv[i], "--ip") == 0) {
            if (!parse_number(value, 4, 6, &endpoint.ip) || endpoint.ip == 5) return false;
        } else {
            return false;
        }
    }
    if (endpoint.unix_path != NULL && endpoint.abstract_name != NULL) return false;
    if ((endpoint.certificate == NULL) != (endpoint.key == NULL)) return false;
    if (endpoint.alpn != NULL && endpoint.certificate == NULL && endpoint.ca == NULL) return false;
    if (is_server ? endpoint.ca != NULL && endpoint.certificate == NULL
                  : endpoint.ca == NULL && (endpoint.certificate != NULL || endpoint.server_name != NULL))
        return false;
    *out_endpoint = endpoint;
    return true;
}

/* `sentence` is esrpc_last_error_message() for a call, or the end message of a connection or stream. */
static inline void report(const char *what, esrpc_status status, const char *sentence)
{
    if (sentence[0] == '\0') sentence = esrpc_status_message(status);
    fprintf(stderr, "%s: %s: %s\n", what, esrpc_status_name(status), sentence);
}

/* The TLS settings that the command line asks for; NULL if it asks for none. */
static inline esrpc_status make_tls(const struct endpoint *endpoint, esrpc_tls_config **out_config)
{
    esrpc_status status = ESRPC_OK;
    *out_config = NULL;
    if (endpoint->certificate == NULL && endpoint->ca == NULL) return ESRPC_OK;
    esrpc_tls_config_builder *builder =
        endpoint->is_server ? esrpc_tls_config_builder_new_server() : esrpc_tls_config_builder_new_client();
    if (endpoint->certificate != NULL)
        status = esrpc_tls_config_builder_set_certificate_files(builder, esrpc_text(endpoint->certificate),
                                                                esrpc_text(endpoint->key));
    if (status == ESRPC_OK && endpoint->ca != NULL)
        status = esrpc_tls_config_builder_add_ca_file(builder, esrpc_text(endpoint->ca));
    if (status == ESRPC_OK && endpoint->is_server && endpoint->ca != NULL)
        status = esrpc_tls_config_builder_set_client_auth(builder, ESRPC_TLS_CLIENT_AUTH_REQUIRED);
    if (status == ESRPC_OK && endpoint->alpn != NULL)
        status = esrpc_tls_config_builder_add_alpn(builder, esrpc_text(endpoint->alpn));
    if (status == ESRPC_OK) status = esrpc_tls_config_builder_build(builder, out_config);
    esrpc_tls_config_builder_release(builder);
    return status;
}

/* Sets the times that the command line asks for. */
static inline esrpc_status set_times(const struct endpoint *endpoint, esrpc_connection_options *options)
{
    const uint32_t setup = endpoint->setup_timeout_ms;
    esrpc_status status = esrpc_connection_options_set_resolve_timeout_ms(options, setup);
    if (status == ESRPC_OK) status = esrpc_connection_options_set_connect_timeout_ms(options, setup);
    if (status == ESRPC_OK) status = esrpc_connection_options_set_tls_timeout_ms(options, setup);
    if (status == ESRPC_OK) status = esrpc_connection_options_set_handshake_timeout_ms(options, setup);
    if (status == ESRPC_OK) status = esrpc_connection_options_set_idle_timeout_ms(options, endpoint->idle_timeout_ms);
    if (status == ESRPC_OK)
        status = esrpc_connection_options_set_keep_alive_ping(options, endpoint->keep_alive_ms, TIMEOUT_MS);
    return status;
}

/* Ends a runtime of ours, and the connections that are still open on it. After it no callback comes any more, so what
 * callbacks were given as user data may go. The caller has released its handles. NULL: nothing to do. */
static inline bool end_runtime(esrpc_runtime *runtime)
{
    if (runtime == NULL) return true;
    esrpc_status status = esrpc_runtime_shutdown(runtime);
    if (status == ESRPC_OK) status = esrpc_runtime_join(runtime, TIMEOUT_MS);
    if (status != ESRPC_OK) report("cannot end the runtime", status, esrpc_last_error_message());
    esrpc_runtime_release(runtime);
    return status == ESRPC_OK;
}

static inline bool starts_with(esrpc_bytes text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && memcmp(text.data, prefix, len) == 0;
}

#endif
