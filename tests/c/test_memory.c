/* What a connection costs its server in memory: many idle ones, then after a call of 64 KiB on each. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* for mallinfo2 */
#endif
#include "events.h"

#include "process.h"

#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* The goal is 8 KiB for a connection. */
enum { CALL_SIZE = 64 * 1024, BATCH = 100, CONNECTIONS = 1000, CEILING = 8192 };

struct figures {
    long long resident; /* of the process, as the system counts it */
    long long heap;     /* allocated and not freed */
};

/* The server, in a process of its own, so that nothing else is counted */

static void server_message(esrpc_stream *stream, const esrpc_message *message, void *user_data) {
    (void)user_data;
    CHECK_OK(esrpc_stream_send_message(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE,
                                       ESRPC_MESSAGE_FLAG_TERMINATE_STREAM, NULL, esrpc_message_get_payload(message), NULL,
                                       NULL));
}

static void server_stream(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *message,
                          void *user_data) {
    esrpc_stream_callbacks callbacks;
    (void)connection, (void)message, (void)user_data;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_message = server_message;
    CHECK_OK(esrpc_stream_accept(stream, &callbacks, NULL));
}

static void server_protocol_message(esrpc_connection *connection, const esrpc_message *message, void *user_data) {
    (void)message, (void)user_data;
    CHECK_OK(esrpc_connection_send_protocol_message(connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK,
                                                    ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, NULL, esrpc_text(NULL), NULL,
                                                    NULL));
}

static void server_connection(esrpc_listener *listener, esrpc_connection *connection, void *user_data) {
    esrpc_connection_callbacks callbacks;
    (void)listener, (void)user_data;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_protocol_message = server_protocol_message;
    callbacks.on_incoming_stream = server_stream;
    /* The server keeps a handle, as most do. */
    CHECK_OK(esrpc_connection_accept(esrpc_connection_acquire(connection), &callbacks, NULL));
}

static struct figures measure(void) {
    struct figures figures;
    long size, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%ld %ld", &size, &pages) == 2);
    fclose(file);
    figures.resident = (long long)pages * sysconf(_SC_PAGESIZE);
    figures.heap = (long long)mallinfo2().uordblks + (long long)mallinfo2().hblkhd;
    return figures;
}

/* Answers every byte that comes with the figures of now. */
static void serve(int questions, int answers) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener_callbacks callbacks;
    esrpc_listener *listener;
    uint32_t port;
    char question;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_incoming_connection = server_connection;
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_options_set_max_connections(options, 1000000));
    CHECK_OK(esrpc_listener_options_set_max_pending_handshakes(options, 1000000));
    CHECK_OK(esrpc_listener_listen(options, &callbacks, NULL, &listener));
    esrpc_listener_options_release(options);
    port = esrpc_listener_get_port(listener);
    CHECK(write(answers, &port, sizeof port) == (ssize_t)sizeof port);
    while (read(questions, &question, 1) == 1) {
        struct figures figures = measure();
        CHECK(write(answers, &figures, sizeof figures) == (ssize_t)sizeof figures);
    }
    _exit(0);
}

static int ask_fd, answer_fd;

static struct figures ask(void) {
    struct figures figures;
    CHECK(write(ask_fd, "?", 1) == 1);
    CHECK(read(answer_fd, &figures, sizeof figures) == (ssize_t)sizeof figures);
    return figures;
}

static void show(const char *what, struct figures now, struct figures before, long long connections) {
    printf("%-40s resident %7lld bytes, heap %7lld bytes per connection\n", what,
           (now.resident - before.resident) / connections, (now.heap - before.heap) / connections);
}

static esrpc_connection *connect_to(uint32_t port) {
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_connection *connection;
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), port));
    CHECK_OK(esrpc_client_options_set_handshake(options, NULL, esrpc_text(NULL)));
    CHECK_OK(esrpc_connection_connect(options, NULL, NULL, &connection));
    esrpc_client_options_release(options);
    CHECK_OK(esrpc_connection_wait_setup(connection, PATIENCE_MS));
    return connection;
}

static void begin_call(esrpc_connection *connection, esrpc_stream **out_stream) {
    static uint8_t payload[CALL_SIZE];
    CHECK_OK(esrpc_connection_new_stream(connection, NULL, NULL, out_stream));
    CHECK_OK(esrpc_stream_activate(*out_stream, esrpc_text("memory#Call"), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL,
                                   bytes(payload, sizeof payload), NULL, NULL));
}

static void end_call(esrpc_stream *stream) {
    CHECK_OK(esrpc_stream_wait_closed(stream, PATIENCE_MS));
    esrpc_stream_release(stream);
}

static void raise_descriptor_limit(rlim_t wanted) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > wanted ? wanted : limit.rlim_max;
        CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    }
}

static void an_idle_connection_takes_little_memory(void) {
    static esrpc_connection *connections[CONNECTIONS];
    esrpc_stream *streams[BATCH];
    struct figures begin, idle, now;
    esrpc_connection *first;
    int questions[2], answers[2], status;
    uint32_t port;
    pid_t server;
    if (is_watched()) return; /* valgrind and sanitizers have memory of their own */
    raise_descriptor_limit(CONNECTIONS + 64);
    CHECK(pipe(questions) == 0 && pipe(answers) == 0);
    server = fork();
    CHECK(server >= 0);
    if (server == 0) {
        close(questions[1]);
        close(answers[0]);
        serve(questions[0], answers[1]);
    }
    close(questions[0]);
    close(answers[1]);
    ask_fd = questions[1];
    answer_fd = answers[0];
    CHECK(read(answer_fd, &port, sizeof port) == (ssize_t)sizeof port);

    /* What the first call of a process costs is not a connection's. */
    first = connect_to(port);
    begin_call(first, &streams[0]);
    end_call(streams[0]);
    begin = ask();
    printf("server with one connection: resident %lld bytes, heap %lld bytes\n", begin.resident, begin.heap);
    for (size_t i = 0; i < CONNECTIONS; i++) connections[i] = connect_to(port);
    idle = ask();
    show("idle:", idle, begin, (long long)CONNECTIONS);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        begin_call(connections[i], &streams[0]);
        end_call(streams[0]);
    }
    show("after a call of 64 KiB on each:", ask(), begin, (long long)CONNECTIONS);
    for (size_t i = 0; i + BATCH <= CONNECTIONS; i += BATCH) {
        for (size_t k = 0; k < BATCH; k++) begin_call(connections[i + k], &streams[k]);
        for (size_t k = 0; k < BATCH; k++) end_call(streams[k]);
    }
    now = ask();
    show("after such calls on 100 at a time:", now, begin, (long long)CONNECTIONS);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        CHECK_OK(esrpc_connection_abort(connections[i]));
        esrpc_connection_release(connections[i]);
    }
    CHECK_OK(esrpc_connection_abort(first));
    esrpc_connection_release(first);
    CHECK_OK(esrpc_runtime_join(NULL, PATIENCE_MS));
    close(ask_fd);
    CHECK(waitpid(server, &status, 0) == server && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK((idle.heap - begin.heap) / (long long)CONNECTIONS <= CEILING);
    CHECK((idle.resident - begin.resident) / (long long)CONNECTIONS <= CEILING);
    CHECK((now.heap - begin.heap) / (long long)CONNECTIONS <= CEILING);
    CHECK((now.resident - begin.resident) / (long long)CONNECTIONS <= CEILING);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {TEST(an_idle_connection_takes_little_memory)};
    return RUN_TESTS(tests, argc, argv);
}
