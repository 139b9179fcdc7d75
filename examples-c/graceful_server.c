/* The echo service that stops, and is replaced by a new version of itself, without dropping a call.
 *
 * graceful_server [--drain-ms MILLISECONDS] and the options of echo_server
 * Prints `listening on ... (process PID)` when it is ready.
 * SIGTERM, SIGINT: listens no more, finishes the calls that are open, and ends; those that are open after --drain-ms (10000) are cut
 *   off, as all are at a second signal.
 * SIGHUP: starts the program anew on the same listening socket. The successor stops this process by SIGTERM once it is ready; if it
 *   cannot start, this one goes on. Clients are refused at no time. */
#define _POSIX_C_SOURCE 200809L
#include "common.h"
#include "echo_operations.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define USAGE \
    "[--drain-ms MILLISECONDS] " SERVER_USAGE "\n" \
    "SIGTERM and SIGINT end it once the open calls are over, or after --drain-ms (10000); SIGHUP starts a successor."

extern char **environ;

/* What a successor is told beside the options of its predecessor. */
static const char socket_option[] = "--inherited-socket", predecessor_option[] = "--predecessor";

static void on_protocol_message(esrpc_connection *connection, const esrpc_message *message, void *user_data)
{
    (void)user_data;
    if (esrpc_message_get_type(message) == ESRPC_MESSAGE_TYPE_CONNECT)
        echo_after_send(connection, esrpc_connection_send_protocol_message(
                                        connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK,
                                        ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, NULL, esrpc_text(NULL), NULL, NULL));
}

static void on_incoming_connection(esrpc_listener *listener, esrpc_connection *connection, void *user_data)
{
    static const esrpc_connection_callbacks callbacks = {.struct_size = sizeof callbacks,
                                                         .on_protocol_message = on_protocol_message,
                                                         .on_incoming_stream = echo_on_incoming_stream};
    esrpc_status status = esrpc_connection_accept(connection, &callbacks, NULL);
    (void)listener, (void)user_data;
    if (status != ESRPC_OK) report("cannot accept a connection", status, esrpc_last_error_message());
}

/* The same command line, and the listening socket, which alone goes through the exec. */
static void start_successor(esrpc_listener *listener, int argc, char **argv, char *drain_ms)
{
    char descriptor[16], process[16];
    esrpc_socket socket;
    pid_t child;
    esrpc_status status = esrpc_listener_dup_socket(listener, &socket);
    if (status != ESRPC_OK) {
        report("cannot hand the socket on", status, esrpc_last_error_message());
        return;
    }
    char *added[] = {"--drain-ms", drain_ms, (char *)socket_option, descriptor, (char *)predecessor_option, process, NULL};
    char **arguments = malloc(((size_t)argc + sizeof added / sizeof *added) * sizeof *arguments);
    snprintf(descriptor, sizeof descriptor, "%d", socket);
    snprintf(process, sizeof process, "%ld", (long)getpid());
    if (arguments != NULL) {
        memcpy(arguments, argv, (size_t)argc * sizeof *argv);
        memcpy(arguments + argc, added, sizeof added);
    }
    if (arguments == NULL || fcntl(socket, F_SETFD, 0) != 0 ||
        posix_spawnp(&child, argv[0], NULL, NULL, arguments, environ) != 0)
        fprintf(stderr, "graceful_server: cannot start %s: this process goes on\n", argv[0]);
    close(socket);
    free(arguments);
}

/* Waits until every connection has ended; a second signal cuts off what is open. */
static esrpc_status drain(esrpc_listener *listener, uint32_t drain_ms)
{
    static const struct timespec now = {0, 0};
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    size_t calls = esrpc_listener_get_open_streams(listener), connections = esrpc_listener_get_open_connections(listener);
    esrpc_status status = esrpc_listener_drain(listener, drain_ms);
    printf("draining: %zu call%s on %zu connection%s\n", calls, calls == 1 ? "" : "s", connections,
           connections == 1 ? "" : "s");
    fflush(stdout);
    while (status == ESRPC_OK && (status = esrpc_listener_wait_closed(listener, 50)) == ESRPC_ERROR_TIMED_OUT)
        status = sigtimedwait(&stop, NULL, &now) > 0 ? esrpc_listener_drain(listener, 0) : ESRPC_OK;
    return status;
}

/* Serves until it is told to stop. */
static bool serve(esrpc_listener *listener, int argc, char **argv, char *drain_ms, const sigset_t *signals)
{
    int caught = 0;
    while (sigwait(signals, &caught) == 0) {
        if (caught == SIGTERM || caught == SIGINT) return true;
        if (caught == SIGHUP) start_successor(listener, argc, argv, drain_ms);
        if (caught == SIGCHLD) /* it was not ready, or it would have stopped this process first */
            while (waitpid(-1, NULL, WNOHANG) > 0) fprintf(stderr, "graceful_server: the successor ended\n");
    }
    perror("sigwait");
    return false;
}

int main(int argc, char **argv)
{
    static const esrpc_listener_callbacks callbacks = {.struct_size = sizeof callbacks,
                                                       .on_incoming_connection = on_incoming_connection};
    static const int handled[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
    const char *drain_option = take_option(&argc, argv, "--drain-ms");
    const char *inherited = take_option(&argc, argv, socket_option);
    const char *predecessor = take_option(&argc, argv, predecessor_option);
    char *drain_text = (char *)(drain_option == NULL ? "10000" : drain_option);
    uint32_t drain_ms, number = 0;
    struct endpoint endpoint;
    sigset_t signals;
    bool failed = false;
    const char *step = "cannot start";
    esrpc_runtime *runtime = NULL;
    esrpc_listener *listener = NULL;
    esrpc_tls_config *tls = NULL;
    if (!parse_endpoint(argc, argv, true, &endpoint))
        return explain_usage("graceful_server", USAGE, endpoint.mistake);
    if (!parse_number(drain_text, 0, ESRPC_NO_TIMEOUT - 1, &drain_ms))
        return explain_usage("graceful_server", USAGE, "--drain-ms takes a number of milliseconds");
    /* Blocked here, they stay pending until sigwait takes them; the library's threads take none. */
    sigemptyset(&signals);
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++) sigaddset(&signals, handled[i]);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0) {
        perror("sigprocmask");
        return EXIT_FAILED;
    }
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_connection_options *connections = esrpc_connection_options_new();
    esrpc_status status = esrpc_runtime_new(NULL, &runtime);
    if (status == ESRPC_OK) status = esrpc_listener_options_set_runtime(options, runtime);
    if (status == ESRPC_OK)
        status = inherited != NULL && parse_number(inherited, 0, INT32_MAX, &number)
                     ? esrpc_listener_options_set_socket(options, (esrpc_socket)number)
                     : choose_address(options, &endpoint);
    /* The file belongs to whoever listens last: the next start replaces one that is left. */
    if (status == ESRPC_OK) status = esrpc_listener_options_set_keep_unix_file(options, true);
    if (status == ESRPC_OK) status = set_times(&endpoint, connections);
    if (status == ESRPC_OK) status = esrpc_connection_options_set_answer_pings(connections, true);
    if (status == ESRPC_OK) status = esrpc_listener_options_set_connection_options(options, connections);
    if (status == ESRPC_OK) status = make_tls(&endpoint, &tls);
    if (status == ESRPC_OK) status = esrpc_listener_options_set_tls(options, tls);
    if (status == ESRPC_OK) {
        step = "cannot listen";
        status = esrpc_listener_listen(options, &callbacks, NULL, &listener);
    }
    if (status == ESRPC_OK) {
        const char *address = esrpc_listener_get_address(listener);
        printf("listening on %s (process %ld)\n", strncmp(address, "unix:", 5) == 0 ? address + 5 : address, (long)getpid());
        fflush(stdout);
        if (predecessor != NULL && parse_number(predecessor, 2, INT32_MAX, &number) && kill((pid_t)number, SIGTERM) != 0)
            perror("cannot stop the predecessor");
        failed = !serve(listener, argc, argv, drain_text, &signals);
        step = "cannot stop";
        status = drain(listener, drain_ms);
    }
    if (status != ESRPC_OK) report(step, status, esrpc_last_error_message());
    esrpc_listener_release(listener);
    esrpc_connection_options_release(connections);
    esrpc_listener_options_release(options);
    esrpc_tls_config_release(tls);
    if (!end_runtime(runtime)) failed = true;
    return status == ESRPC_OK && !failed ? EXIT_OK : EXIT_FAILED;
}
