/* Sockets with inherited state: options that the application has set do no harm. And what a forked child inherits: its
   duplicates of the connections' sockets do not keep the peers waiting. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* for SO_PASSCRED and O_ASYNC */
#endif
#include "adopted_sockets.h"

#include <netinet/tcp.h>

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

static void set_option(int socket, int level, int option, int value) {
    CHECK(setsockopt(socket, level, option, &value, sizeof value) == 0 || errno == ENOPROTOOPT || errno == EOPNOTSUPP);
}

/* 0 where the system does not know the option. */
static int get_option(int socket, int level, int option) {
    int value = -1;
    socklen_t len = sizeof value;
    if (getsockopt(socket, level, option, &value, &len) != 0) {
        CHECK(errno == ENOPROTOOPT || errno == EOPNOTSUPP);
        return 0;
    }
    return value;
}

/* So long that no test waits for the end of it. */
static void make_linger(int socket) {
    struct linger linger;
    linger.l_onoff = 1;
    linger.l_linger = 10000;
    CHECK(setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
}

static bool lingers(int socket) {
    struct linger linger;
    socklen_t len = sizeof linger;
    CHECK(getsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, &len) == 0);
    return linger.l_onoff != 0;
}

/* Everything that could be in the way. */
static void make_awkward(int socket, bool is_tcp) {
    make_linger(socket);
    set_option(socket, SOL_SOCKET, SO_RCVLOWAT, 100000);
    set_option(socket, SOL_SOCKET, SO_OOBINLINE, 1);
    if (is_tcp) {
        set_option(socket, IPPROTO_TCP, TCP_CORK, 1);
    } else {
        set_option(socket, SOL_SOCKET, SO_PASSCRED, 1);
        set_option(socket, SOL_SOCKET, SO_PASSSEC, 1);
        set_option(socket, SOL_SOCKET, SO_PASSPIDFD, 1);
    }
    /* SIGIO, which ends a process that does not expect it. */
    CHECK(fcntl(socket, F_SETOWN, getpid()) == 0);
    CHECK(fcntl(socket, F_SETFL, O_ASYNC) == 0);
}

static void check_is_usual(int socket, bool is_tcp) {
    CHECK(!lingers(socket));
    CHECK(get_option(socket, SOL_SOCKET, SO_RCVLOWAT) == 1);
    CHECK(get_option(socket, SOL_SOCKET, SO_OOBINLINE) == 0);
    if (is_tcp) {
        CHECK(get_option(socket, IPPROTO_TCP, TCP_CORK) == 0);
    } else {
        CHECK(get_option(socket, SOL_SOCKET, SO_PASSCRED) == 0);
        CHECK(get_option(socket, SOL_SOCKET, SO_PASSSEC) == 0);
        CHECK(get_option(socket, SOL_SOCKET, SO_PASSPIDFD) == 0);
    }
    CHECK((fcntl(socket, F_GETFL) & (O_ASYNC | O_NONBLOCK)) == O_NONBLOCK);
}

static void an_adopted_connection_is_as_any_other(void) {
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        int both[2], watched[2];
        struct pair pair;
        recorder_clear();
        pair_begin(&pair);
        listen_nowhere(&pair);
        (is_tcp ? make_tcp_pair : make_pair_of_sockets)(both);
        for (int i = 0; i < 2; i++) {
            make_awkward(both[i], is_tcp);
            CHECK((watched[i] = dup(both[i])) >= 0);
        }
        CHECK_OK(esrpc_listener_adopt_connection(pair.listening, both[1]));
        dial_with(&pair, &pair.client, options_with(both[0]), &pair.client_connection);
        await("client setup OK");
        for (int i = 0; i < 2; i++) check_is_usual(watched[i], is_tcp);
        CHECK_OK(ping(pair.client_connection, "small", NULL));
        await("server protocol PING small");
        for (int i = 0; i < 2; i++) close(watched[i]);
        pair_end(&pair);
    }
}

static void the_connections_of_an_adopted_listener_are_as_any_other(void) {
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        char folder[60], path[108];
        int descriptor, watched;
        struct raw_listener listener;
        struct pair pair;
        recorder_clear();
        pair_begin(&pair);
        make_folder(folder);
        if (is_tcp)
            CHECK(raw_listen_at(&listener, "127.0.0.1", 0, 8));
        else
            listener.descriptor = listening_unix_socket(in_folder(folder, "socket", path));
        descriptor = listener.descriptor;
        make_awkward(descriptor, is_tcp);
        CHECK((watched = dup(descriptor)) >= 0);
        listen_on(&pair, descriptor);
        check_is_usual(watched, is_tcp);
        close(watched);
        if (is_tcp)
            dial_host(&pair, &pair.client, "127.0.0.1", listener.port, &pair.client_connection);
        else
            connect_to_path(&pair, path);
        await("client setup OK");
        CHECK_OK(ping(pair.client_connection, "small", NULL));
        await("server protocol PING small");
        pair_end(&pair);
        if (!is_tcp) CHECK(unlink(path) == 0);
        CHECK(rmdir(folder) == 0);
    }
}

/* Fills the socket with what the peer does not read, ends the connection, and finds its loop at work afterwards: that calls
   on_destroy. */
static void check_close_does_not_wait(esrpc_connection **connection_of, const char *destroyed) {
    static uint8_t much[16 * 1024 * 1024];
    esrpc_connection *connection = *connection_of;
    *connection_of = NULL;
    CHECK_OK(esrpc_connection_send_protocol_message(connection, ESRPC_MESSAGE_TYPE_PING, 0, NULL, bytes(much, sizeof much),
                                                    NULL, NULL));
    await_loop(connection);
    CHECK(esrpc_connection_get_outbound_size(connection) > 0);
    CHECK_OK(esrpc_connection_abort(connection));
    esrpc_connection_release(connection);
    await(destroyed);
}

static void closing_an_adopted_socket_that_lingers_takes_no_time(void) {
    int both[2];
    struct pair pair;
    struct raw server;
    pair_begin(&pair);
    make_tcp_pair(both);
    make_linger(both[0]);
    raw_begin(&server, both[1]);
    CHECK(fcntl(both[1], F_SETFL, O_NONBLOCK) == 0);
    dial_with(&pair, &pair.client, options_with(both[0]), &pair.client_connection);
    raw_accept_connect(&server);
    await("client setup OK");
    check_close_does_not_wait(&pair.client_connection, "client destroy");
    raw_close(&server);
    pair_end(&pair);
}

/* The application goes on to use a duplicate of the listening socket. */
static void closing_an_accepted_socket_that_lingers_takes_no_time(void) {
    int duplicate;
    struct raw_listener listener;
    struct raw client;
    struct sockaddr_in address;
    struct pair pair;
    pair_begin(&pair);
    CHECK(raw_listen_at(&listener, "127.0.0.1", 0, 8));
    CHECK((duplicate = dup(listener.descriptor)) >= 0);
    listen_on(&pair, listener.descriptor);
    make_linger(duplicate);
    close(duplicate);
    address = ipv4_address("127.0.0.1", listener.port);
    raw_begin(&client, raw_connect((const struct sockaddr *)&address, sizeof address));
    raw_send_connect(&client);
    raw_expect(&client, ESRPC_MESSAGE_TYPE_CONNECT_ACK, ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, "ack");
    await("server protocol CONNECT connect");
    check_close_does_not_wait(&pair.server_connection, "server destroy");
    raw_close(&client);
    pair_end(&pair);
}

/* -- forked children ----------------------------------------------------------------------------------------------- */

/* A child that has all descriptors of its parent and does nothing until it is ended. */
struct idle_child {
    pid_t pid;
    int lifeline;
};

static void idle_child_begin(struct idle_child *child) {
    int ends[2];
    char byte;
    CHECK(pipe(ends) == 0);
    child->pid = fork();
    CHECK(child->pid >= 0);
    if (child->pid == 0) {
        close(ends[1]);
        alarm(PATIENCE_SECONDS * 2);
        if (read(ends[0], &byte, 1) == 0) execl("/bin/true", "true", (char *)NULL); /* see in_child */
        _exit(1);
    }
    close(ends[0]);
    child->lifeline = ends[1];
}

static void idle_child_end(struct idle_child *child) {
    int status;
    CHECK(waitpid(child->pid, &status, WNOHANG) == 0); /* it was there all the time */
    close(child->lifeline);
    CHECK(waitpid(child->pid, &status, 0) == child->pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void expect_end_without_a_reset(struct raw *raw) {
    raw_expect_end(raw);
    raw_close(raw);
}

static void the_peer_of_a_closed_connection_sees_its_end(void) {
    struct raw_listener listener;
    struct raw server;
    struct idle_child child;
    struct pair pair;
    pair_begin(&pair);
    serve_client(&pair, &listener, &server);
    idle_child_begin(&child);
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    expect_end_without_a_reset(&server);
    idle_child_end(&child);
    raw_listener_close(&listener);
    pair_end(&pair);
}

static void the_peer_of_an_aborted_connection_sees_its_end(void) {
    struct raw client;
    struct idle_child child;
    struct pair pair;
    pair_begin(&pair);
    call_server(&pair, &client);
    idle_child_begin(&child);
    CHECK_OK(esrpc_connection_abort(pair.server_connection));
    expect_end_without_a_reset(&client);
    idle_child_end(&child);
    pair_end(&pair);
}

static void the_peers_of_a_runtime_that_shuts_down_see_its_end(void) {
    struct raw_listener listener;
    struct raw server;
    struct idle_child child;
    struct pair pair;
    pair_begin(&pair);
    serve_client(&pair, &listener, &server);
    idle_child_begin(&child);
    CHECK_OK(esrpc_runtime_shutdown(pair.client_runtime));
    expect_end_without_a_reset(&server);
    idle_child_end(&child);
    raw_listener_close(&listener);
    pair_end(&pair);
}

static void fork_while_accepting(struct party *self, const struct moment *now) {
    struct pair *pair = (struct pair *)self->data;
    (void)now;
    if (count_of("listener incoming") != 1) return;
    idle_child_begin((struct idle_child *)pair->handler.data);
    note("forked");
}

static void a_peer_that_the_application_refuses_sees_its_end(void) {
    struct raw client;
    struct idle_child child;
    struct pair pair;
    pair_begin(&pair);
    pair.ignore_connections = true;
    pair.listener.hook = fork_while_accepting;
    pair.handler.data = &child;
    pair_listen(&pair);
    raw_dial(&client, &pair);
    await("forked");
    expect_end_without_a_reset(&client);
    idle_child_end(&child);
    pair_end(&pair);
}

static void the_peer_of_a_failed_setup_sees_its_end(void) {
    struct raw_listener listener;
    struct raw server;
    struct idle_child child;
    struct pair pair;
    pair_begin(&pair);
    raw_listen(&listener, 4);
    dial_raw(&pair, &pair.client, &listener, &pair.client_connection);
    raw_accept(&listener, &server);
    raw_expect(&server, ESRPC_MESSAGE_TYPE_CONNECT, 0, "connect");
    idle_child_begin(&child);
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    await("client setup CANCELLED");
    expect_end_without_a_reset(&server);
    idle_child_end(&child);
    raw_listener_close(&listener);
    pair_end(&pair);
}

static void a_connection_that_is_no_longer_wanted_is_not_made(void) {
    struct raw_listener listener;
    struct raw server;
    struct idle_child child;
    struct pair pair;
    pair_begin(&pair);
    raw_listen(&listener, 4);
    dial_raw(&pair, &pair.client, &listener, &pair.client_connection);
    raw_accept(&listener, &server);
    idle_child_begin(&child);
    CHECK_OK(esrpc_connection_abort(pair.client_connection));
    await("client setup CANCELLED");
    while (raw_read(&server, 1024) > 0) {
    }
    raw_close(&server);
    idle_child_end(&child);
    raw_listener_close(&listener);
    pair_end(&pair);
}

/* -- what a child does ---------------------------------------------------------------------------------------------- */

static void exit_in_a_child(struct pair *pair, bool release) {
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(PATIENCE_SECONDS * 2);
        if (release) {
            esrpc_connection_release(pair->client_connection);
            esrpc_connection_release(pair->server_connection);
            esrpc_listener_release(pair->listening);
            esrpc_runtime_release(pair->client_runtime);
            esrpc_runtime_release(pair->server_runtime);
        }
        exit(0); /* and the destructors of this thread run */
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void exit_task(esrpc_status status, void *user_data) {
    enter_callback();
    CHECK(status == ESRPC_OK);
    exit_in_a_child((struct pair *)user_data, true);
    exit_in_a_child((struct pair *)user_data, false);
    note("children ended");
    leave_callback();
}

static void a_child_that_ends_leaves_the_parents_connections_alone(void) {
    struct pair pair;
    if (is_watched()) return; /* what the parent's threads had in their hands would count as leaked, see in_child */
    pair_open(&pair);
    exit_in_a_child(&pair, true);
    exit_in_a_child(&pair, false);
    CHECK_OK(ping(pair.client_connection, "after children of the main thread", NULL));
    await("server protocol PING after children of the main thread");
    CHECK_OK(esrpc_connection_run_on_loop(pair.client_connection, exit_task, &pair));
    await("children ended");
    CHECK_OK(ping(pair.client_connection, "after children of a loop thread", NULL));
    await("server protocol PING after children of a loop thread");
    CHECK_OK(ping(pair.server_connection, "back", NULL));
    await("client protocol PING back");
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(an_adopted_connection_is_as_any_other),
        TEST(the_connections_of_an_adopted_listener_are_as_any_other),
        TEST(closing_an_adopted_socket_that_lingers_takes_no_time),
        TEST(closing_an_accepted_socket_that_lingers_takes_no_time),
        TEST(the_peer_of_a_closed_connection_sees_its_end),
        TEST(the_peer_of_an_aborted_connection_sees_its_end),
        TEST(the_peers_of_a_runtime_that_shuts_down_see_its_end),
        TEST(a_peer_that_the_application_refuses_sees_its_end),
        TEST(the_peer_of_a_failed_setup_sees_its_end),
        TEST(a_connection_that_is_no_longer_wanted_is_not_made),
        TEST(a_child_that_ends_leaves_the_parents_connections_alone),
    };
    return RUN_TESTS(tests, argc, argv);
}
