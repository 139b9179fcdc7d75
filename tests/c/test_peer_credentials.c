/* Who is at the other end of a connection. */
#include "adopted_sockets.h"

static void note_peer(struct party *self, const struct moment *now) {
    esrpc_peer_credentials peer;
    (void)self;
    if (!is(now, "incoming")) return;
    peer.struct_size = sizeof peer;
    CHECK_OK(esrpc_connection_get_peer_credentials(now->connection, &peer));
    note("peer %ld %lu %lu", (long)peer.pid, (unsigned long)peer.uid, (unsigned long)peer.gid);
}

static const char *program;

/* What the program is when it is called with "--connect PATH". */
static void be_a_client(const char *path) {
    struct sockaddr_un address;
    int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    char end;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path);
    CHECK(connect(descriptor, (const struct sockaddr *)&address, sizeof address) == 0);
    CHECK(shutdown(descriptor, SHUT_WR) == 0);
    CHECK(recv(descriptor, &end, 1, 0) == 0);
}

static void write_peer(char expected[60], long pid) {
    snprintf(expected, 60, "peer %ld %lu %lu", pid, (unsigned long)geteuid(), (unsigned long)getegid());
}

/* Runs a client in another process to its end; `expected` becomes what is noted of it. */
static void run_another_client(const char *path, char expected[60]) {
    int status;
    pid_t other = fork();
    CHECK(other >= 0);
    if (other == 0) {
        execl(program, program, "--connect", path, (char *)NULL);
        _exit(1);
    }
    write_peer(expected, other);
    CHECK(waitpid(other, &status, 0) == other);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_unix_socket_shows_who_is_at_its_other_end(void) {
    char folder[60], path[108], expected[60];
    esrpc_peer_credentials peer;
    struct pair pair;
    peer.struct_size = sizeof peer;
    esrpc_listener_options *options = esrpc_listener_options_new();
    make_folder(folder);
    pair_begin(&pair);
    pair.listener.hook = note_peer;
    CHECK_OK(esrpc_listener_options_set_unix_path(options, esrpc_text(in_folder(folder, "socket", path))));
    listen_with(&pair, options);
    connect_to_path(&pair, path);
    await("client setup OK");
    write_peer(expected, getpid());
    await(expected);
    CHECK_OK(esrpc_connection_get_peer_credentials(pair.client_connection, &peer));
    CHECK(peer.pid == (int32_t)getpid() && peer.uid == (uint32_t)geteuid() && peer.gid == (uint32_t)getegid());
    peer.struct_size = 1;
    CHECK_INVALID(esrpc_connection_get_peer_credentials(pair.client_connection, &peer));
    peer.struct_size = sizeof peer;

    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    await("client shutdown OK");
    await("server shutdown PEER_CLOSED");
    peer.pid = -1;
    CHECK_OK(esrpc_connection_get_peer_credentials(pair.server_connection, &peer));
    CHECK(peer.pid == (int32_t)getpid());

    /* Another process is another one. */
    run_another_client(path, expected);
    await(expected);
    pair_end(&pair);
    CHECK(rmdir(folder) == 0);
}

static void tcp_does_not_show_who_is_at_its_other_end(void) {
    struct pair pair;
    struct raw_listener nobody;
    esrpc_connection *unready = NULL;
    struct party party = a_party("unready", NULL, NULL);
    esrpc_peer_credentials peer;
    peer.struct_size = sizeof peer;
    peer.pid = 7;
    pair_open(&pair);
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE,
                 esrpc_connection_get_peer_credentials(pair.server_connection, &peer));
    CHECK(last_error_says("TCP"));
    CHECK(raw_listen_at(&nobody, "127.0.0.1", 0, -1));
    dial_host(&pair, &party, "127.0.0.1", nobody.port, &unready);
    await("unready setup CONNECTION_REFUSED");
    CHECK_STATUS(ESRPC_ERROR_NOT_READY, esrpc_connection_get_peer_credentials(unready, &peer));
    CHECK(peer.pid == 7);
    esrpc_connection_release(unready);
    raw_listener_close(&nobody);
    pair_end(&pair);
}

int main(int argc, char **argv) {
    program = argv[0];
    if (argc == 3 && strcmp(argv[1], "--connect") == 0) {
        be_a_client(argv[2]);
        return 0;
    }
    static const struct test tests[] = {
        TEST(a_unix_socket_shows_who_is_at_its_other_end),
        TEST(tcp_does_not_show_who_is_at_its_other_end),
    };
    return RUN_TESTS(tests, argc, argv);
}
