/* The echo service for those who may use it. Over a Unix socket that is one user alone; everywhere it is those who know the
 * token, which CONNECT's payload has to bring: {"authToken":"..."}. A thread of its own looks tokens up, as if it had to ask
 * somebody else for that; until it has decided, nothing else of that client's is dispatched.
 *
 * token_server --token-file FILE [--uid UID] and the options of echo_server; UID: who runs it, if it is not given.
 * Prints `listening on ...` when it is ready; SIGINT and SIGTERM end it. */
#define _POSIX_C_SOURCE 200809L
#include "common.h"
#include "echo_operations.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* Why a connection is closed that nobody can answer for want of memory; the numbers from 1000 up are ours. */
enum { CANNOT_ANSWER = 1000 };

#define USAGE "--token-file FILE [--uid UID] " SERVER_USAGE "\n" TOKEN_USAGE

/* A client that waits for the decision. */
struct applicant {
    struct applicant *next;
    esrpc_connection *connection; /* a reference of ours */
    esrpc_message *connect;       /* a copy */
};

static struct {
    char token[TOKEN_SIZE];
    uint32_t uid;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct applicant *first, **end;
    bool over;
} office = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .end = &office.first};

/* Takes as long for a token that is nearly right as for any other. */
static bool is_token(esrpc_bytes payload)
{
    static const char before[] = "{\"authToken\":\"", after[] = "\"}";
    char expected[sizeof before + sizeof after + TOKEN_SIZE];
    size_t len = (size_t)snprintf(expected, sizeof expected, "%s%s%s", before, office.token, after);
    uint8_t difference = 0;
    if (payload.len != len) return false;
    for (size_t i = 0; i < len; i++) difference |= (uint8_t)(payload.data[i] ^ (uint8_t)expected[i]);
    return difference == 0;
}

static void free_applicant(struct applicant *applicant)
{
    esrpc_message_release(applicant->connect);
    esrpc_connection_release(applicant->connection);
    free(applicant);
}

/* On a loop thread, which must not wait: the application is only noted. */
static void apply(esrpc_connection *connection, const esrpc_message *connect)
{
    struct applicant *applicant = calloc(1, sizeof *applicant);
    if (applicant == NULL || esrpc_message_copy(connect, &applicant->connect) != ESRPC_OK) {
        esrpc_connection_close(connection, CANNOT_ANSWER);
        free(applicant);
        return;
    }
    applicant->connection = esrpc_connection_acquire(connection);
    pthread_mutex_lock(&office.lock);
    bool noted = !office.over;
    if (noted) {
        *office.end = applicant;
        office.end = &applicant->next;
        pthread_cond_signal(&office.changed);
    }
    pthread_mutex_unlock(&office.lock);
    if (!noted) free_applicant(applicant); /* the program ends, and the connection with it */
}

static struct applicant *next_applicant(void)
{
    pthread_mutex_lock(&office.lock);
    while (office.first == NULL && !office.over) pthread_cond_wait(&office.changed, &office.lock);
    struct applicant *applicant = office.first;
    if (applicant != NULL) office.first = applicant->next;
    if (office.first == NULL) office.end = &office.first;
    pthread_mutex_unlock(&office.lock);
    return applicant;
}

/* The thread that decides. A client that has gone meanwhile, or that was kept waiting too long, needs no answer. */
static void *decide(void *unused)
{
    struct applicant *applicant;
    (void)unused;
    while ((applicant = next_applicant()) != NULL) {
        bool knows_token = is_token(esrpc_message_get_payload(applicant->connect));
        int32_t flags = knows_token ? ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED : ESRPC_MESSAGE_FLAG_NONE;
        esrpc_status status = esrpc_connection_send_protocol_message(
            applicant->connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK, flags, NULL, esrpc_text(NULL), NULL, NULL);
        if (status != ESRPC_OK && status != ESRPC_ERROR_CONNECTION_CLOSED)
            report("cannot answer CONNECT", status, esrpc_last_error_message());
        else if (!knows_token)
            complain("refused a client whose token is wrong or missing\n");
        free_applicant(applicant);
    }
    return NULL;
}

static void on_protocol_message(esrpc_connection *connection, const esrpc_message *message, void *user_data)
{
    (void)user_data;
    if (esrpc_message_get_type(message) == ESRPC_MESSAGE_TYPE_CONNECT)
        apply(connection, message);
}

/* Whoever is not accepted here is disconnected. TCP does not tell who calls: there the token alone decides. */
static void on_incoming_connection(esrpc_listener *listener, esrpc_connection *connection, void *user_data)
{
    static const esrpc_connection_callbacks callbacks = {.struct_size = sizeof callbacks,
                                                         .on_protocol_message = on_protocol_message,
                                                         .on_incoming_stream = echo_on_incoming_stream};
    esrpc_peer_credentials peer = {.struct_size = sizeof peer, .uid = office.uid};
    esrpc_status status = esrpc_connection_get_peer_credentials(connection, &peer);
    (void)listener, (void)user_data;
    if (peer.uid != office.uid) {
        complain("turned process %ld of user %lu away\n", (long)peer.pid, (unsigned long)peer.uid);
        return;
    }
    if (status == ESRPC_OK || status == ESRPC_ERROR_INVALID_STATE)
        status = esrpc_connection_accept(connection, &callbacks, NULL);
    if (status != ESRPC_OK) report("cannot accept a connection", status, esrpc_last_error_message());
}

static void on_failed_connection(esrpc_listener *listener, esrpc_status status, void *user_data)
{
    (void)listener, (void)user_data;
    report("a connection failed", status, esrpc_last_error_message());
}

static esrpc_status listen_at(const struct endpoint *endpoint, esrpc_runtime *runtime, esrpc_listener **out_listener)
{
    static const esrpc_listener_callbacks callbacks = {.struct_size = sizeof callbacks,
                                                       .on_incoming_connection = on_incoming_connection,
                                                       .on_failed_connection = on_failed_connection};
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_connection_options *connections = esrpc_connection_options_new();
    esrpc_tls_config *tls = NULL;
    esrpc_status status = esrpc_connection_options_set_answer_pings(connections, true);
    if (status == ESRPC_OK) status = set_times(endpoint, connections);
    if (status == ESRPC_OK) status = esrpc_listener_options_set_connection_options(options, connections);
    if (status == ESRPC_OK) status = esrpc_listener_options_set_runtime(options, runtime);
    if (status == ESRPC_OK) status = choose_address(options, endpoint);
    /* Everybody may knock at the socket's file: who they are is looked at when they come in. */
    if (status == ESRPC_OK) status = esrpc_listener_options_set_unix_mode(options, 0666);
    if (status == ESRPC_OK) status = make_tls(endpoint, &tls);
    if (status == ESRPC_OK) status = esrpc_listener_options_set_tls(options, tls);
    if (status == ESRPC_OK) status = esrpc_listener_listen(options, &callbacks, NULL, out_listener);
    esrpc_tls_config_release(tls);
    esrpc_connection_options_release(connections);
    esrpc_listener_options_release(options);
    return status;
}

int main(int argc, char **argv)
{
    struct endpoint endpoint;
    sigset_t stop;
    int caught;
    pthread_t decider;
    esrpc_runtime *runtime = NULL;
    esrpc_listener *listener = NULL;
    const char *token_file = take_option(&argc, argv, "--token-file"), *uid = take_option(&argc, argv, "--uid");
    office.uid = (uint32_t)geteuid();
    if (!parse_endpoint(argc, argv, true, &endpoint)) return explain_usage("token_server", USAGE, endpoint.mistake);
    if (token_file == NULL)
        return explain_usage("token_server", USAGE, "--token-file is needed");
    if (uid != NULL && !parse_number(uid, 0, UINT32_MAX, &office.uid))
        return explain_usage("token_server", USAGE, "--uid takes the number of a user, not a name");
    if (!read_token(token_file, office.token)) return EXIT_USAGE;
    /* Blocked here, the two signals stay pending until sigwait takes them; the library's threads take none. */
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &stop, NULL) != 0 || pthread_create(&decider, NULL, decide, NULL) != 0) {
        fprintf(stderr, "token_server: cannot start\n");
        return EXIT_FAILED;
    }
    esrpc_status status = esrpc_runtime_new(NULL, &runtime);
    if (status == ESRPC_OK) status = listen_at(&endpoint, runtime, &listener);
    if (status == ESRPC_OK) {
        const char *address = esrpc_listener_get_address(listener);
        printf("listening on %s\n", strncmp(address, "unix:", 5) == 0 ? address + 5 : address);
        if (fflush(stdout) != 0 || sigwait(&stop, &caught) != 0) perror("token_server");
        status = esrpc_listener_close(listener);
    }
    if (status != ESRPC_OK) report("cannot listen", status, esrpc_last_error_message());
    pthread_mutex_lock(&office.lock);
    office.over = true;
    pthread_cond_signal(&office.changed);
    pthread_mutex_unlock(&office.lock);
    pthread_join(decider, NULL);
    esrpc_listener_release(listener);
    bool ended = end_runtime(runtime);
    return status == ESRPC_OK && ended ? EXIT_OK : EXIT_FAILED;
}
