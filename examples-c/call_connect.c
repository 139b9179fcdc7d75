/* How esrpc-call finds and reaches its server, and what it says if it does not. */
#include "call.h"

#include <stdlib.h>

#define SOCKET_VARIABLE "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"
#define TOKEN_VARIABLE "SVCUID"

static void split_address(struct call *call)
{
    const char *address = call->address, *host = address, *colon = strrchr(address, ':');
    size_t len = 0;
    if (strstr(address, "://") != NULL) usage_error("\"%s\" is a URL: write HOST:PORT alone; for TLS add --tls", address);
    if (address[0] == '[') {
        const char *bracket = strchr(address, ']');
        if (bracket == NULL || bracket[1] != ':') usage_error("\"%s\": an IPv6 address is written as [ADDRESS]:PORT", address);
        host = address + 1;
        len = (size_t)(bracket - host);
        colon = bracket + 1;
    } else {
        if (colon == NULL) usage_error("\"%s\" has no port: write HOST:PORT, such as %s:8033", address, address);
        len = (size_t)(colon - host);
        if (memchr(host, ':', len) != NULL) usage_error("\"%s\": an IPv6 address is written as [ADDRESS]:PORT", address);
    }
    if (len == 0 || len >= sizeof call->host) usage_error("\"%s\" has no host of 1 to 255 characters before its port", address);
    memcpy(call->host, host, len);
    call->host[len] = '\0';
    if (!parse_number(colon + 1, 1, UINT16_MAX, &call->port))
        usage_error("\"%s\" in \"%s\" is not a port: a number from 1 to 65535 is needed after the host", colon + 1, address);
}

static void read_environment(struct call *call)
{
    call->unix_path = getenv(SOCKET_VARIABLE);
    call->token = getenv(TOKEN_VARIABLE);
    const char *missing = call->unix_path == NULL || *call->unix_path == '\0' ? SOCKET_VARIABLE
                          : call->token == NULL || *call->token == '\0'       ? TOKEN_VARIABLE
                                                                              : NULL;
    if (missing != NULL)
        usage_error("--greengrass: %s is not set in the environment: run this as a component of Greengrass", missing);
}

void check_target(struct call *call)
{
    struct tls_files *tls = &call->tls;
    int places = (call->address != NULL) + (call->unix_path != NULL) + call->is_greengrass;
    if (places == 0) usage_error("where is the server? Give HOST:PORT, --unix PATH or --greengrass");
    if (places > 1) usage_error("HOST:PORT, --unix and --greengrass exclude each other");
    if (call->is_greengrass) read_environment(call);
    if (call->address != NULL) split_address(call);
    snprintf(call->place, sizeof call->place, "%s", call->address != NULL ? call->address : call->unix_path);
    if ((tls->certificate != NULL) != (tls->key != NULL)) usage_error("--cert and --key go together");
    if (tls->is_insecure && tls->ca != NULL)
        usage_error("--insecure accepts any certificate, --ca only some: leave one of them out");
    /* Each of these says that TLS is wanted. */
    if (tls->ca != NULL || tls->certificate != NULL || tls->server_name != NULL || tls->alpn != NULL || tls->is_insecure)
        tls->is_on = true;
    if (tls->is_on && call->unix_path != NULL && tls->server_name == NULL)
        usage_error("TLS over a Unix socket needs --server-name NAME: the name in the server's certificate");
}

/* CONNECT: a version unless one is given, and on Greengrass the token. */
static esrpc_status set_handshake(struct call *call, esrpc_client_options *options)
{
    esrpc_headers *headers = esrpc_headers_new();
    struct text payload = {NULL, 0, 0};
    esrpc_header version;
    esrpc_status status = ESRPC_OK;
    for (size_t i = 0; i < call->connect_headers.count; i++)
        add_header_option(headers, "--connect-header", call->connect_headers.items[i]);
    if (esrpc_headers_find(headers, esrpc_text(":version"), &version) != ESRPC_OK)
        status = esrpc_headers_add_string(headers, esrpc_text(":version"), esrpc_text("0.1.0"));
    if (call->connect_data != NULL) {
        if (!read_data("--connect-data", call->connect_data, &payload)) exit(EXIT_USAGE);
    } else if (call->token != NULL) {
        if (!is_utf8(esrpc_text(call->token))) usage_error("%s is not UTF-8 text", TOKEN_VARIABLE);
        text_print(&payload, "{\"authToken\":");
        text_add_string(&payload, esrpc_text(call->token));
        text_add(&payload, "}", 1);
    }
    if (status == ESRPC_OK) status = esrpc_client_options_set_handshake(options, headers, text_bytes(&payload));
    esrpc_headers_release(headers);
    free(payload.data);
    return status;
}

/* All phases have the time that the user gave. */
static esrpc_status set_phases(const struct call *call, esrpc_client_options *options)
{
    const uint32_t timeout = timeout_of(call);
    esrpc_connection_options *times = esrpc_connection_options_new();
    esrpc_status status = esrpc_connection_options_set_resolve_timeout_ms(times, timeout);
    if (status == ESRPC_OK) status = esrpc_connection_options_set_connect_timeout_ms(times, timeout);
    if (status == ESRPC_OK) status = esrpc_connection_options_set_tls_timeout_ms(times, timeout);
    if (status == ESRPC_OK) status = esrpc_connection_options_set_handshake_timeout_ms(times, timeout);
    if (status == ESRPC_OK) status = esrpc_connection_options_set_answer_pings(times, true);
    if (status == ESRPC_OK) status = esrpc_client_options_set_connection_options(options, times);
    esrpc_connection_options_release(times);
    return status;
}

esrpc_client_options *make_client_options(struct call *call, esrpc_runtime *runtime, int *out_exit_code)
{
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_tls_config *tls = NULL;
    esrpc_status status = make_tls_config(&call->tls, false, &tls);
    if (status != ESRPC_OK) {
        *out_exit_code = EXIT_TLS;
        esrpc_client_options_release(options);
        return NULL;
    }
    status = set_handshake(call, options);
    if (status == ESRPC_OK) status = set_phases(call, options);
    if (status == ESRPC_OK) status = esrpc_client_options_set_runtime(options, runtime);
    if (status == ESRPC_OK) status = esrpc_client_options_set_tls(options, tls, esrpc_text(call->tls.server_name));
    esrpc_tls_config_release(tls); /* the options keep it */
    if (status == ESRPC_OK && call->unix_path == NULL)
        status = esrpc_client_options_set_host(options, esrpc_text(call->host), call->port);
    else if (status == ESRPC_OK && call->unix_path[0] == '@' && !call->is_greengrass)
        status = esrpc_client_options_set_unix_abstract(options, esrpc_text(call->unix_path + 1));
    else if (status == ESRPC_OK)
        status = esrpc_client_options_set_unix_path(options, esrpc_text(call->unix_path));
    if (status != ESRPC_OK) {
        *out_exit_code = say_failure(call, "cannot connect to @", status, esrpc_last_error_message(), -1, false);
        esrpc_client_options_release(options);
        return NULL;
    }
    return options;
}

/* What to do about a failure, "" if its sentence says it all. */
static const char *advise(const struct call *call, esrpc_status status, const char *sentence, int32_t alert, bool connected)
{
    /* What speaks there; the sentence says what to do. */
    const bool is_recognized = strstr(sentence, "check the host and port") != NULL;
    switch (status) {
    case ESRPC_ERROR_RESOLVE_FAILED:
        return "check the spelling of the host, and that this machine can look names up";
    case ESRPC_ERROR_RESOLVE_TIMED_OUT:
    case ESRPC_ERROR_CONNECT_TIMED_OUT:
        return "check host, port and firewalls, or wait longer with --timeout SECONDS";
    case ESRPC_ERROR_TLS_TIMED_OUT:
        return "check that the server uses TLS at this port, or wait longer with --timeout SECONDS";
    case ESRPC_ERROR_HANDSHAKE_TIMED_OUT:
        return "check that the server speaks event-stream RPC, and whether it wants TLS (--tls), or wait longer with --timeout "
               "SECONDS";
    case ESRPC_ERROR_TOO_MANY_FILES:
        return "allow this process more open files (ulimit -n)";
    case ESRPC_ERROR_TIMED_OUT:
        return "wait longer with --timeout SECONDS";
    case ESRPC_ERROR_STREAM_TIMED_OUT:
        return "give the stream more time with --timeout SECONDS, or leave --timeout out";
    case ESRPC_ERROR_HANDSHAKE_REFUSED:
        return call->is_greengrass ? "is the token in " TOKEN_VARIABLE " that of this component, and is it still running?"
                                   : "pass what the server expects in CONNECT with --connect-header NAME=VALUE (or "
                                     "NAME:TYPE=VALUE) and --connect-data TEXT";
    case ESRPC_ERROR_PEER_CLOSED:
    case ESRPC_ERROR_CONNECTION_RESET:
    case ESRPC_ERROR_INCOMPLETE:
    case ESRPC_ERROR_PRELUDE_CHECKSUM:
        if (connected || call->tls.is_on || is_recognized) return "";
        return "check host and port; if the server uses TLS there, add --tls, and --ca FILE if its CA is not one of the system's";
    case ESRPC_ERROR_TLS_HANDSHAKE_FAILED:
        return is_recognized ? "" : advise_tls(status, alert, &call->tls, false);
    default:
        return advise_tls(status, alert, &call->tls, false);
    }
}

int say_failure(const struct call *call, const char *what, esrpc_status status, const char *sentence, int32_t alert,
                bool connected)
{
    const char *place = strstr(what, " to @");
    const bool is_named = strstr(sentence, call->place) != NULL;
    struct text text = {NULL, 0, 0};
    text_print(&text, "%.*s%s%s%s", (int)(place - what), what, is_named ? "" : " to ", is_named ? "" : call->place, place + 5);
    text_add(&text, "", 1);
    say_status(text.data, status, sentence);
    free(text.data);
    const char *advice = advise(call, status, sentence, alert, connected);
    if (advice[0] != '\0') say("what to do: %s", advice);
    return exit_code_of(status, connected);
}

esrpc_connection *connect_to_server(struct call *call, int *out_exit_code)
{
    esrpc_connection *connection = NULL;
    esrpc_client_options *options = make_client_options(call, NULL, out_exit_code);
    if (options == NULL) return NULL;
    esrpc_status status = esrpc_connection_connect(options, NULL, NULL, &connection);
    if (status == ESRPC_OK) status = esrpc_connection_wait_setup(connection, timeout_of(call));
    esrpc_client_options_release(options);
    if (status == ESRPC_OK) return connection;
    *out_exit_code = say_failure(call, "cannot connect to @", status, esrpc_last_error_message(), last_alert(), false);
    if (connection != NULL) esrpc_connection_abort(connection);
    esrpc_connection_release(connection);
    return NULL;
}
