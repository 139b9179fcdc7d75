/* Connections that cannot be made: a failed setup that says what was tried, where, and what the system said. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* for setegid and seteuid */
#endif
#include "client.h"

#include "process.h"

/* Dials with the options, which fails; then there is on_setup with that status and on_destroy, and nothing else. */
static void check_setup_fails(esrpc_client_options *options, esrpc_status expected, const char *says,
                              const char *says_too) {
    struct client client;
    char event[64], name[16];
    recorder_clear();
    client_begin(&client);
    client_dial(&client, options);
    check_end(client.connection, expected, says);
    check_end(client.connection, expected, says_too);
    CHECK(esrpc_connection_get_state(client.connection) == ESRPC_CONNECTION_STATE_CLOSED);
    CHECK(!esrpc_connection_is_open(client.connection));
    CHECK_OK(esrpc_connection_close(client.connection, ESRPC_OK));
    client_end(&client);
    snprintf(event, sizeof event, "setup %s", short_name(expected, name));
    CHECK_EVENTS_MADE("client", event, "destroy");
}

static esrpc_client_options *to_host(const char *host, uint32_t port) {
    esrpc_client_options *options = esrpc_client_options_new();
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text(host), port));
    return options;
}

static esrpc_client_options *to_path(const char *path) {
    esrpc_client_options *options = esrpc_client_options_new();
    CHECK_OK(esrpc_client_options_set_unix_path(options, esrpc_text(path)));
    return options;
}

static void nothing_listens_at_the_port(void) {
    struct raw_listener listener;
    char where[40];
    CHECK(raw_listen_at(&listener, "127.0.0.1", 0, -1));
    snprintf(where, sizeof where, "cannot connect to 127.0.0.1:%u: ", (unsigned)listener.port);
    check_setup_fails(to_host("127.0.0.1", listener.port), ESRPC_ERROR_CONNECTION_REFUSED, where,
                      "Connection refused (errno 111); no server is listening there: start it, or check host and port");
    /* With a handshake too. */
    {
        esrpc_client_options *options = to_host("127.0.0.1", listener.port);
        CHECK_OK(esrpc_client_options_set_handshake(options, NULL, esrpc_text("connect")));
        check_setup_fails(options, ESRPC_ERROR_CONNECTION_REFUSED, where, "(errno 111)");
    }
    raw_listener_close(&listener);
}

static void nothing_listens_at_the_ipv6_port(void) {
    struct sockaddr_in6 address;
    socklen_t len = sizeof address;
    char where[40];
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_loopback;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0) {
        fprintf(stderr, "  skipped: this machine has no IPv6\n");
        if (fd >= 0) close(fd);
        return;
    }
    CHECK(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    snprintf(where, sizeof where, "cannot connect to [::1]:%u: ", (unsigned)ntohs(address.sin6_port));
    check_setup_fails(to_host("::1", ntohs(address.sin6_port)), ESRPC_ERROR_CONNECTION_REFUSED, where, "refused");
    check_setup_fails(to_host("[::1]", ntohs(address.sin6_port)), ESRPC_ERROR_CONNECTION_REFUSED, where, "refused");
    close(fd);
}

static void addresses_that_are_not_valid(void) {
    esrpc_client_options *options = esrpc_client_options_new();
    CHECK_INVALID(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), 65536));
    CHECK(last_error_says("65536"));
    esrpc_client_options_release(options);
    check_setup_fails(to_host("256.0.0.1", 80), ESRPC_ERROR_RESOLVE_FAILED, "256.0.0.1", "resolving");
    check_setup_fails(to_host("::1::1", 80), ESRPC_ERROR_RESOLVE_FAILED, "::1::1", "resolving");
}

static void socket_files_that_are_not_there(void) {
    char folder[60], path[108], long_path[200];
    make_folder(folder);
    check_setup_fails(to_path(in_folder(folder, "none", path)), ESRPC_ERROR_NOT_FOUND, path,
                      "(errno 2); there is no such socket: start the server, or check the path");
    check_setup_fails(to_path(in_folder(folder, "none/none", path)), ESRPC_ERROR_NOT_FOUND, path, "(errno 2)");
    memset(long_path, 'x', sizeof long_path);
    long_path[sizeof long_path - 1] = '\0';
    memcpy(long_path, folder, strlen(folder));
    long_path[strlen(folder)] = '/';
    check_setup_fails(to_path(long_path), ESRPC_ERROR_PATH_TOO_LONG, "199 bytes", "too long");
    CHECK(rmdir(folder) == 0);
}

static void socket_files_behind_which_nothing_listens(void) {
    char folder[60], path[108];
    struct sockaddr_un address;
    FILE *file;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    make_folder(folder);
    in_folder(folder, "stale", path);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path);
    CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    close(fd);
    check_setup_fails(to_path(path), ESRPC_ERROR_CONNECTION_REFUSED, path,
                      "(errno 111); no server is listening on this socket: start it, or check the path");
    CHECK(unlink(path) == 0);
    file = fopen(in_folder(folder, "regular", path), "w");
    CHECK(file != NULL && fclose(file) == 0);
    check_setup_fails(to_path(path), ESRPC_ERROR_CONNECTION_REFUSED, path,
                      "(errno 111); there is a file at this path that is not a socket");
    CHECK(unlink(path) == 0);
    CHECK(rmdir(folder) == 0);
}

static void dial_as_nobody(void *path) {
    /* Root may open every file; another user may not. */
    if (geteuid() == 0) CHECK(setegid(65534) == 0 && seteuid(65534) == 0);
    check_setup_fails(to_path((const char *)path), ESRPC_ERROR_ACCESS_DENIED, (const char *)path,
                      "(errno 13); this process needs the right to write to the socket");
}

static void a_socket_file_without_permission(void) {
    char folder[60], path[108];
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener *listener;
    make_folder(folder);
    CHECK_OK(esrpc_listener_options_set_unix_path(options, esrpc_text(in_folder(folder, "sock", path))));
    CHECK_OK(esrpc_listener_options_set_unix_mode(options, 0));
    CHECK_OK(esrpc_listener_listen(options, NULL, NULL, &listener));
    esrpc_listener_options_release(options);
    in_child(dial_as_nobody, path);
    CHECK_OK(esrpc_listener_close(listener));
    esrpc_listener_release(listener);
    CHECK_OK(esrpc_runtime_join(NULL, PATIENCE_MS));
    CHECK(rmdir(folder) == 0);
}

static void abstract_names_that_do_not_exist(void) {
    esrpc_client_options *options = esrpc_client_options_new();
    char long_name[120];
    CHECK_OK(esrpc_client_options_set_unix_abstract(options, esrpc_text("esrpc-nobody")));
    check_setup_fails(options, ESRPC_ERROR_CONNECTION_REFUSED, "unix:@esrpc-nobody",
                      "(errno 111); no server is listening there: start it, or check the name");
    memset(long_name, 'x', sizeof long_name);
    options = esrpc_client_options_new();
    CHECK_OK(esrpc_client_options_set_unix_abstract(options, bytes(long_name, sizeof long_name)));
    check_setup_fails(options, ESRPC_ERROR_PATH_TOO_LONG, "120 bytes", "too long");
}

static void a_client_without_descriptors(void) {
    struct client client;
    rlim_t limit;
    client_begin(&client);
    limit = forbid_descriptors();
    client_dial(&client, to_host("127.0.0.1", 1));
    check_end(client.connection, ESRPC_ERROR_TOO_MANY_FILES, "(errno 24)");
    allow_descriptors(limit);
    client_end(&client);
    CHECK_EVENTS("client", "setup TOO_MANY_FILES", "destroy");
}

static void a_runtime_without_descriptors(void) {
    esrpc_runtime *runtime = NULL;
    rlim_t limit = forbid_descriptors();
    esrpc_status status = esrpc_runtime_new(NULL, &runtime);
    allow_descriptors(limit);
    CHECK(status == ESRPC_ERROR_TOO_MANY_FILES);
    CHECK(last_error_says("(errno 24)"));
    CHECK(runtime == NULL);
}

static void a_server_without_descriptors_accepts_when_it_has_some_again(void) {
    struct pair pair;
    struct raw raw;
    rlim_t limit;
    int descriptor;
    if (is_under_valgrind()) {
        fprintf(stderr, "  skipped: valgrind answers EMFILE itself, and drops the connection\n");
        return;
    }
    pair_begin(&pair);
    pair_listen(&pair);
    descriptor = raw_socket_for_pair();
    limit = forbid_descriptors();
    raw_dial_from(&raw, descriptor, &pair);
    await("listener failed TOO_MANY_FILES");
    CHECK_NEVER("server accepted");
    allow_descriptors(limit);
    await("server accepted");
    raw_send_connect(&raw);
    await("server protocol CONNECT connect");
    raw_finish(&raw);
    await("server shutdown PEER_CLOSED");
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(nothing_listens_at_the_port),
        TEST(nothing_listens_at_the_ipv6_port),
        TEST(addresses_that_are_not_valid),
        TEST(socket_files_that_are_not_there),
        TEST(socket_files_behind_which_nothing_listens),
        TEST(a_socket_file_without_permission),
        TEST(abstract_names_that_do_not_exist),
        TEST(a_client_without_descriptors),
        TEST(a_runtime_without_descriptors),
        TEST(a_server_without_descriptors_accepts_when_it_has_some_again),
    };
    return RUN_TESTS(tests, argc, argv);
}
