/* The process ends, or becomes another program, while connections are open and threads of the library run: it does so at
   once, with its own status, and peers notice.

   Each end is one of a new process: the program starts itself, with the place of the end as its argument. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "client.h"

#include "process.h"

#include <signal.h>

enum { STATUS = 7 };

static const char *place; /* the event in which to end */

static void end_here(const char *name, const char *what) {
    char here[40];
    snprintf(here, sizeof here, "%s %s", name, what);
    if (strcmp(here, place) == 0) exit(STATUS);
}

static void hook(struct party *self, const struct moment *now) {
    end_here(self->name, now->what);
    if (is(now, "message") && is_text(esrpc_message_get_payload(now->message), "first"))
        (void)send_text(now->stream, LAST, "reply", NULL);
}

static void flush_hook(esrpc_status status, void *user_data) {
    (void)status, (void)user_data;
    end_here("flush", "callback");
    note("flush came");
}

static void task_hook(esrpc_status status, void *user_data) {
    (void)status, (void)user_data;
    end_here("task", "callback");
    note("task came");
}

/* Checks what the main thread called. A callback may be ending the process meanwhile: exit first runs the destructors of its
   thread, so that what lives on that thread is over before the process is, and its peer is closed. */
static void go_on(esrpc_status status) {
    if (status == ESRPC_ERROR_RUNTIME_SHUTDOWN || status == ESRPC_ERROR_CONNECTION_CLOSED)
        for (;;) pause();
    CHECK_OK(status);
}

static esrpc_stream *begin_call(esrpc_connection *connection, struct party *party) {
    esrpc_stream_callbacks callbacks = stream_callbacks();
    esrpc_stream *stream = NULL;
    go_on(esrpc_connection_new_stream(connection, &callbacks, party, &stream));
    go_on(activate(stream, 0, "first", NULL));
    return stream;
}

/* A conversation with every callback; static, since other threads use it while the process ends. */
static int end_in_conversation(void) {
    static struct pair pair;
    static struct party call;
    recorder_begin();
    pair_begin(&pair);
    call = a_party("call", hook, &pair);
    pair.client.hook = pair.server.hook = pair.listener.hook = pair.handler.hook = hook;
    CHECK_OK(esrpc_connection_options_set_answer_pings(pair.server_options, true));
    pair_connect(&pair);
    go_on(esrpc_connection_run_on_loop(pair.client_connection, task_hook, NULL));
    await("task came");
    esrpc_stream *stream = begin_call(pair.client_connection, &call);
    go_on(esrpc_connection_send_protocol_message(pair.client_connection, ESRPC_MESSAGE_TYPE_PING, 0, NULL,
                                                 esrpc_text("ping"), flush_hook, NULL));
    await("flush came");
    await("call closed");
    await("client protocol");
    /* One more that stays open, with bytes on their way. */
    esrpc_stream_release(begin_call(pair.client_connection, &call));
    if (strcmp(place, "main") == 0) exit(STATUS);
    if (strcmp(place, "return from main") == 0) return STATUS;
    if (strcmp(place, "_exit") == 0) _exit(STATUS);
    if (strcmp(place, "quick_exit") == 0) quick_exit(STATUS);
    esrpc_stream_release(stream);
    await("call destroy");
    go_on(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    esrpc_connection_release(pair.client_connection);
    esrpc_connection_release(pair.server_connection);
    go_on(esrpc_listener_close(pair.listening));
    esrpc_listener_release(pair.listening);
    for (;;) pause();
}

static int become_another_program(const char *port) {
    static struct client client;
    recorder_begin();
    client_begin(&client);
    client_dial(&client, client_options_for((uint32_t)strtoul(port, NULL, 10), "", true));
    await("client setup OK");
    CHECK_OK(ping(client.connection, "last words", "words"));
    await("flush words OK");
    execl("/bin/sleep", "sleep", "100", (char *)NULL);
    return 1;
}

static pid_t start_myself(const char *kind, const char *argument) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(PATIENCE_SECONDS); /* an end that hangs is a SIGALRM */
        execl("/proc/self/exe", "test_guest_exits", kind, argument, (char *)NULL);
        _exit(1);
    }
    return pid;
}

static void the_process_may_exit_everywhere(void) {
    static const char *const places[] = {
        "main",           "return from main", "_exit",           "quick_exit",      "listener incoming", "server protocol",
        "client setup",   "task callback",    "server stream",   "handler message", "flush callback",    "call message",
        "handler closed", "call closed",      "client protocol", "handler destroy", "call destroy",      "client shutdown",
        "client destroy", "server shutdown",  "server destroy",  "listener closed", "listener destroy",
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        int status;
        pid_t pid = start_myself("--end", places[i]);
        CHECK(waitpid(pid, &status, 0) == pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS) continue;
        fprintf(stderr, "exit in \"%s\": the process ended with status %x\n", places[i], (unsigned)status);
        abort();
    }
}

static void another_program_takes_no_connections_over(void) {
    char port[16];
    struct raw_listener listener;
    struct raw peer;
    pid_t pid;
    raw_listen(&listener, 8);
    snprintf(port, sizeof port, "%u", (unsigned)listener.port);
    pid = start_myself("--exec", port);
    raw_accept(&listener, &peer);
    raw_send_connect_ack(&peer);
    while (raw_read(&peer, 4096) > 0) continue;
    /* The program that has taken its place still runs. */
    CHECK(waitpid(pid, NULL, WNOHANG) == 0);
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    raw_close(&peer);
    raw_listener_close(&listener);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(the_process_may_exit_everywhere),
        TEST(another_program_takes_no_connections_over),
    };
    if (argc == 3 && strcmp(argv[1], "--end") == 0) {
        place = argv[2];
        return end_in_conversation();
    }
    if (argc == 3 && strcmp(argv[1], "--exec") == 0) return become_another_program(argv[2]);
    return RUN_TESTS(tests, argc, argv);
}
