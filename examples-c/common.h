/* What the example programs share: reading the command line, and saying what went wrong. */
#ifndef EXAMPLES_COMMON_H
#define EXAMPLES_COMMON_H

#include <eventstream_rpc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifndef _WIN32
#include <poll.h>
#include <unistd.h>
#endif

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, TIMEOUT_MS = 10000 };

#define ENDPOINT_USAGE \
    "[--host HOST] [--port PORT] [--unix PATH] [--abstract NAME]\n" \
    "    [--setup-timeout MS] [--idle-timeout MS] [--keep-alive MS]\n"
#define SERVER_USAGE \
    ENDPOINT_USAGE "    [--cert FILE --key FILE [--client-ca FILE [--crl FILE]] [--alpn NAME]]\n" \
    "It listens on 127.0.0.1:8033 unless the options say otherwise; with --port 0 the system chooses the port.\n" \
    "With --cert and --key (or --tls-cert and --tls-key) it uses TLS, and with --client-ca clients need certificates."
#define CLIENT_USAGE \
    ENDPOINT_USAGE "    [--ca FILE [--crl FILE] [--server-name NAME] [--cert FILE --key FILE] [--alpn NAME]] [--ip 4|6]\n" \
    "It connects to 127.0.0.1:8033 unless the options say otherwise, and uses TLS with --ca. --tls-cert and --tls-key\n" \
    "are other names of --cert and --key."
#define TOKEN_FORM "1 to 254 visible ASCII characters without quotes and backslashes"
#define TOKEN_USAGE "The first line of the token's file is the token: " TOKEN_FORM "."

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
    const char *crl;               /* revocation lists on which it must not be */
    const char *server_name;       /* which the server's certificate must have; NULL: the host */
    const char *alpn;              /* the application protocol that TLS is to agree on */
    uint32_t setup_timeout_ms;     /* for each phase of connecting */
    uint32_t idle_timeout_ms, keep_alive_ms; /* ESRPC_NO_TIMEOUT: none */
    uint32_t ip;                   /* the address family, an ESRPC_ADDRESS_FAMILY_ constant */
    char mistake[128];             /* what is wrong with the command line; "" if it asks for help */
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

static inline bool is_help(const char *argument)
{
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

static inline bool mistaken(struct endpoint *endpoint, const char *option, const char *mistake)
{
    snprintf(endpoint->mistake, sizeof endpoint->mistake, "%.50s %s", option, mistake);
    return false;
}

/* Reads the options of SERVER_USAGE or CLIENT_USAGE; false, with the mistake, if there is anything else. Then explain_usage is to be
 * called. */
static inline bool parse_endpoint(int argc, char **argv, bool is_server, struct endpoint *endpoint)
{
    enum { DAY_MS = 24 * 60 * 60 * 1000 };
    memset(endpoint, 0, sizeof *endpoint);
    endpoint->is_server = is_server;
    endpoint->host = "127.0.0.1";
    endpoint->port = 8033;
    endpoint->setup_timeout_ms = TIMEOUT_MS;
    endpoint->idle_timeout_ms = endpoint->keep_alive_ms = ESRPC_NO_TIMEOUT;
    for (int i = 1; i < argc; i += 2) {
        const char *value = argv[i + 1]; /* argv ends with a NULL */
        const char **text = NULL;
        uint32_t *number = NULL, least = 0, most = DAY_MS;
        if (strcmp(argv[i], "--host") == 0) text = &endpoint->host;
        if (strcmp(argv[i], "--unix") == 0) text = &endpoint->unix_path;
        if (strcmp(argv[i], "--abstract") == 0) text = &endpoint->abstract_name;
        if (is_help(argv[i])) return false;
        if (strcmp(argv[i], "--cert") == 0 || strcmp(argv[i], "--tls-cert") == 0) text = &endpoint->certificate;
        if (strcmp(argv[i], "--key") == 0 || strcmp(argv[i], "--tls-key") == 0) text = &endpoint->key;
        if (strcmp(argv[i], is_server ? "--client-ca" : "--ca") == 0) text = &endpoint->ca;
        if (strcmp(argv[i], "--crl") == 0) text = &endpoint->crl;
        if (strcmp(argv[i], "--alpn") == 0) text = &endpoint->alpn;
        if (!is_server && strcmp(argv[i], "--server-name") == 0) text = &endpoint->server_name;
        if (strcmp(argv[i], "--port") == 0) number = &endpoint->port, most = UINT16_MAX;
        if (strcmp(argv[i], "--setup-timeout") == 0) number = &endpoint->setup_timeout_ms, least = 1;
        if (strcmp(argv[i], "--idle-timeout") == 0) number = &endpoint->idle_timeout_ms, least = 1;
        if (strcmp(argv[i], "--keep-alive") == 0) number = &endpoint->keep_alive_ms, least = 1;
        if (!is_server && strcmp(argv[i], "--ip") == 0) number = &endpoint->ip, least = 4, most = 6;
        if (strcmp(argv[i], "--tls") == 0)
            return mistaken(endpoint, argv[i], is_server ? "is not needed: --cert and --key turn TLS on" : "is not needed: --ca turns TLS on");
        if (text == NULL && number == NULL)
            return mistaken(endpoint, argv[i],
                            value == NULL && strncmp(argv[i], "--", 2) == 0
                                ? "needs a value after it, or is not an option of this program"
                                : "is not an option of this program");
        if (value == NULL) return mistaken(endpoint, argv[i], "needs a value after it");
        if (text != NULL) {
            *text = value;
        } else if (!parse_number(value, least, most, number) || (number == &endpoint->ip && *number == 5)) {
            char range[60];
            snprintf(range, sizeof range, "takes a number from %u to %u", (unsigned)least, (unsigned)most);
            return mistaken(endpoint, argv[i], number == &endpoint->ip ? "takes 4 or 6" : range);
        }
    }
    bool shows_certificate = endpoint->certificate != NULL;
    if (endpoint->unix_path != NULL && endpoint->abstract_name != NULL)
        return mistaken(endpoint, "--unix", "and --abstract exclude each other: a socket has one name");
    if (shows_certificate != (endpoint->key != NULL))
        return mistaken(endpoint, "--cert", "and --key go together");
    if (is_server && endpoint->ca != NULL && !shows_certificate)
        return mistaken(endpoint, "--client-ca", "is for TLS, which needs --cert and --key");
    if (!is_server && endpoint->ca == NULL && (shows_certificate || endpoint->server_name != NULL))
        return mistaken(endpoint, "--ca", "is needed for TLS: the CA of the server's certificate");
    if (endpoint->crl != NULL && endpoint->ca == NULL)
        return mistaken(endpoint, "--crl", "needs the CA whose certificates it is about");
    if (endpoint->alpn != NULL && !shows_certificate && endpoint->ca == NULL)
        return mistaken(endpoint, "--alpn", "is for TLS, which needs a certificate or a CA");
    return true;
}

/* Returns the exit code. Without a mistake the usage is what was asked for. */
static inline int explain_usage(const char *program, const char *usage, const char *mistake)
{
    const bool is_asked_for = mistake[0] == '\0';
    fprintf(is_asked_for ? stdout : stderr, "usage: %s %s\n", program, usage);
    if (!is_asked_for) fprintf(stderr, "%s: %s\n", program, mistake);
    return is_asked_for ? EXIT_OK : EXIT_USAGE;
}

/* Takes an option that not every program has, and its value, out of the command line; NULL if it is not there. */
static inline const char *take_option(int *argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < *argc; i += 2) {
        if (strcmp(argv[i], name) != 0) continue;
        const char *value = argv[i + 1];
        memmove(argv + i, argv + i + 2, (size_t)(*argc - i - 1) * sizeof *argv);
        *argc -= 2;
        return value;
    }
    return NULL;
}

/* Reads a token: the first line of a file, 1 to 254 visible ASCII characters without quotes. Says if it cannot. */
enum { TOKEN_SIZE = 256 };
static inline bool read_token(const char *path, char token[TOKEN_SIZE])
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        return false;
    }
    size_t len = fgets(token, TOKEN_SIZE, file) == NULL ? 0 : strcspn(token, "\r\n");
    bool good = len > 0 && (token[len] != '\0' || len + 1 < TOKEN_SIZE);
    fclose(file);
    token[len] = '\0';
    for (size_t i = 0; i < len; i++)
        good = good && token[i] > ' ' && token[i] < 127 && token[i] != '"' && token[i] != '\\';
    if (!good) fprintf(stderr, "%s: its first line is not a token: %s\n", path, TOKEN_FORM);
    return good;
}

/* Writes to stderr, unless nobody reads it and it is full: waiting in a callback would stop the event loop. A pipe that has room
 * takes LEAST_ROOM bytes at once; the rest of a longer text has a moment for each such piece, and is given up if nobody reads. */
static inline void complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
#ifdef _WIN32 /* where a console is always read */
    vfprintf(stderr, format, arguments);
#else
    enum { LEAST_ROOM = 4096, MOMENT_MS = 20 };
    struct pollfd err = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&err, 1, 0) == 1 && (err.revents & POLLOUT) != 0) {
        va_list again;
        va_copy(again, arguments);
        const int len = vsnprintf(NULL, 0, format, again);
        va_end(again);
        char *text = len >= 0 ? (char *)malloc((size_t)len + 1) : NULL;
        if (text != NULL) vsnprintf(text, (size_t)len + 1, format, arguments);
        for (int at = 0; text != NULL && at < len; at += LEAST_ROOM) {
            if (at > 0 && (poll(&err, 1, MOMENT_MS) != 1 || (err.revents & POLLOUT) == 0)) break;
            fwrite(text + at, 1, (size_t)(len - at < LEAST_ROOM ? len - at : LEAST_ROOM), stderr);
        }
        free(text);
    }
#endif
    va_end(arguments);
}

/* `sentence` is esrpc_last_error_message() for a call, or the end message of a connection or stream. */
static inline void report(const char *what, esrpc_status status, const char *sentence)
{
    const size_t len = strlen(what);
    if (sentence[0] == '\0') sentence = esrpc_status_message(status);
    if (strncmp(sentence, what, len) == 0 && sentence[len] == ' ') sentence += len + 1; /* not "cannot listen" twice */
    complain("%s: %s: %s\n", what, esrpc_status_name(status), sentence);
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
    if (status == ESRPC_OK && endpoint->crl != NULL)
        status = esrpc_tls_config_builder_add_crl_file(builder, esrpc_text(endpoint->crl));
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

/* Where a server listens. */
static inline esrpc_status choose_address(esrpc_listener_options *options, const struct endpoint *endpoint)
{
    if (endpoint->unix_path != NULL)
        return esrpc_listener_options_set_unix_path(options, esrpc_text(endpoint->unix_path));
    if (endpoint->abstract_name != NULL)
        return esrpc_listener_options_set_unix_abstract(options, esrpc_text(endpoint->abstract_name));
    return esrpc_listener_options_set_host(options, esrpc_text(endpoint->host), endpoint->port);
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

/* All of a file, in memory to be freed; NULL if it does not fit. Whether it could be read, ferror says. */
static inline uint8_t *read_all(FILE *file, size_t *out_len)
{
    size_t capacity = 0, len = 0;
    uint8_t *data = NULL;
    do {
        if (len == capacity) {
            capacity = capacity == 0 ? 64 * 1024 : 2 * capacity;
            uint8_t *larger = realloc(data, capacity);
            if (larger == NULL) {
                free(data);
                return NULL;
            }
            data = larger;
        }
        len += fread(data + len, 1, capacity - len, file);
    } while (!feof(file) && !ferror(file));
    *out_len = len;
    return data;
}

static inline bool starts_with(esrpc_bytes text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && memcmp(text.data, prefix, len) == 0;
}

#endif
