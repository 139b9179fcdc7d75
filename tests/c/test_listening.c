/* Where a listener can listen, what it returns where it cannot, and what becomes of socket files. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* for setegid and seteuid */
#endif
#include "client.h"

#include "process.h"

static esrpc_listener_options *on_host(const char *host, uint32_t port) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text(host), port));
    return options;
}

static esrpc_listener_options *on_path(const char *path) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    CHECK_OK(esrpc_listener_options_set_unix_path(options, esrpc_text(path)));
    return options;
}

/* Who listens here accepts no connection. */
static struct pair refusing;

static void accept_nobody(void) {
    refusing.ignore_connections = true;
    refusing.listener = a_party("listener", NULL, &refusing);
}

/* Of a listener that was not made nothing is ever heard. */
static struct party unmade;

/* Listens with the options, which are released. */
static esrpc_status try_to_listen(esrpc_listener_options *options, struct party *party, esrpc_listener **out_listener) {
    esrpc_listener_callbacks callbacks = listener_callbacks();
    esrpc_status status = esrpc_listener_listen(options, &callbacks, party, out_listener);
    esrpc_listener_options_release(options);
    return status;
}

static esrpc_listener *listen_with(esrpc_listener_options *options) {
    esrpc_listener *listener = NULL;
    CHECK_OK(try_to_listen(options, &refusing.listener, &listener));
    return listener;
}

static void check_listen_fails(esrpc_listener_options *options, esrpc_status expected, const char *says,
                               const char *says_too) {
    esrpc_listener *listener = NULL;
    CHECK_STATUS(expected, try_to_listen(options, &unmade, &listener));
    CHECK(listener == NULL);
    if (!last_error_says(says) || !last_error_says(says_too)) {
        fprintf(stderr, "\"%s\" does not say \"%s\" and \"%s\"\n", esrpc_last_error_message(), says, says_too);
        abort();
    }
    CHECK_NEVER("unmade");
}

static void stop_listening(esrpc_listener *listener) {
    CHECK_OK(esrpc_listener_close(listener));
    CHECK_OK(esrpc_listener_wait_closed(listener, PATIENCE_MS));
    esrpc_listener_release(listener);
}

/* A client gets through, up to the listener's refusal of it. */
static void check_can_be_reached(esrpc_client_options *options) {
    struct client client;
    recorder_clear();
    client_begin(&client);
    client_dial(&client, options);
    await("listener incoming");
    check_end(client.connection, ESRPC_ERROR_PEER_CLOSED, "closed the connection");
    client_end(&client);
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

static void a_port_of_the_systems_choice(void) {
    char expected[32];
    esrpc_listener *listener = listen_with(on_host("127.0.0.1", 0));
    uint32_t port = esrpc_listener_get_port(listener);
    CHECK(port > 0 && port <= 65535);
    snprintf(expected, sizeof expected, "127.0.0.1:%u", (unsigned)port);
    CHECK(strcmp(esrpc_listener_get_address(listener), expected) == 0);
    check_can_be_reached(to_host("127.0.0.1", port));
    stop_listening(listener);
    /* The port is free again at once. */
    stop_listening(listen_with(on_host("127.0.0.1", port)));
}

static void an_ipv6_port(void) {
    char expected[32];
    esrpc_listener *listener = NULL;
    esrpc_status status = try_to_listen(on_host("::1", 0), &refusing.listener, &listener);
    if (status != ESRPC_OK) {
        fprintf(stderr, "  skipped: this machine has no IPv6: %s\n", esrpc_last_error_message());
        CHECK(status == ESRPC_ERROR_ADDRESS_UNAVAILABLE || status == ESRPC_ERROR_IO);
        return;
    }
    snprintf(expected, sizeof expected, "[::1]:%u", (unsigned)esrpc_listener_get_port(listener));
    CHECK(strcmp(esrpc_listener_get_address(listener), expected) == 0);
    check_can_be_reached(to_host("::1", esrpc_listener_get_port(listener)));
    check_can_be_reached(to_host("[::1]", esrpc_listener_get_port(listener)));
    stop_listening(listener);
    stop_listening(listen_with(on_host("[::1]", 0)));
}

static void an_address_in_use(void) {
    char where[48];
    esrpc_listener *listener = listen_with(on_host("127.0.0.1", 0));
    uint32_t port = esrpc_listener_get_port(listener);
    snprintf(where, sizeof where, "cannot listen on 127.0.0.1:%u: ", (unsigned)port);
    check_listen_fails(on_host("127.0.0.1", port), ESRPC_ERROR_ADDRESS_IN_USE, where,
                       "(errno 98); stop the program that uses this port");
    check_can_be_reached(to_host("127.0.0.1", port));
    stop_listening(listener);
}

static void addresses_that_cannot_be_had(void) {
    check_listen_fails(on_host("192.0.2.1", 0), ESRPC_ERROR_ADDRESS_UNAVAILABLE, "cannot listen on 192.0.2.1:0: ",
                       "(errno 99); the host has to be an address of this machine");
    check_listen_fails(on_host("a.host", 0), ESRPC_ERROR_ADDRESS_INVALID, "a.host", "not an IPv4 or IPv6 address");
    check_listen_fails(on_host("1.2.3", 0), ESRPC_ERROR_ADDRESS_INVALID, "1.2.3", "not an IPv4 or IPv6 address");
}

static void listen_on_port_1_as_nobody(void *unused) {
    (void)unused;
    if (geteuid() == 0) CHECK(setegid(65534) == 0 && seteuid(65534) == 0);
    check_listen_fails(on_host("127.0.0.1", 1), ESRPC_ERROR_ACCESS_DENIED, "cannot listen on 127.0.0.1:1: ",
                       "(errno 13); ports below 1024 usually need more rights");
}

static void a_privileged_port(void) {
    int first_free = 1024;
    FILE *file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "r");
    if (file != NULL) {
        CHECK(fscanf(file, "%d", &first_free) == 1);
        fclose(file);
    }
    if (first_free <= 1) {
        fprintf(stderr, "  skipped: this machine has no privileged ports\n");
        return;
    }
    in_child(listen_on_port_1_as_nobody, NULL);
}

/* Socket files */

static mode_t mode_of(const char *path) {
    struct stat file;
    CHECK(stat(path, &file) == 0);
    return file.st_mode & 07777;
}

static bool exists(const char *path) {
    struct stat file;
    return lstat(path, &file) == 0;
}

static void a_socket_file_lives_as_long_as_its_listener(void) {
    char folder[60], path[108], expected[120];
    esrpc_listener *listener;
    make_folder(folder);
    in_folder(folder, "sock", path);
    listener = listen_with(on_path(path));
    snprintf(expected, sizeof expected, "unix:%s", path);
    CHECK(strcmp(esrpc_listener_get_address(listener), expected) == 0);
    CHECK(esrpc_listener_get_port(listener) == 0);
    check_can_be_reached(to_path(path));
    stop_listening(listener);
    CHECK(!exists(path));
    CHECK(rmdir(folder) == 0);
}

static void a_socket_file_goes_with_its_runtime(void) {
    char folder[60], path[108];
    make_folder(folder);
    esrpc_listener_release(listen_with(on_path(in_folder(folder, "sock", path))));
    CHECK(exists(path));
    CHECK_OK(esrpc_runtime_shutdown(NULL));
    CHECK_OK(esrpc_runtime_join(NULL, PATIENCE_MS));
    CHECK_EVENTS("listener", "closed RUNTIME_SHUTDOWN", "destroy");
    CHECK(!exists(path));
    CHECK(rmdir(folder) == 0);
}

static void the_mode_is_exact_whatever_the_umask(void) {
    static const mode_t masks[] = {0077, 0000, 0777};
    static const uint32_t modes[] = {0600, 0666, 0660, 0777, 0400, 0};
    char folder[60], path[108];
    mode_t usual = umask(022);
    make_folder(folder);
    in_folder(folder, "sock", path);
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        esrpc_listener *listener;
        umask(masks[i]);
        listener = listen_with(on_path(path));
        CHECK(mode_of(path) == 0600);
        stop_listening(listener);
        for (size_t k = 0; k < sizeof modes / sizeof *modes; k++) {
            esrpc_listener_options *options = on_path(path);
            CHECK_OK(esrpc_listener_options_set_unix_mode(options, modes[k]));
            listener = listen_with(options);
            CHECK(mode_of(path) == modes[k]);
            stop_listening(listener);
        }
        CHECK(umask(022) == masks[i]);
    }
    umask(usual);
    CHECK(rmdir(folder) == 0);
}

static int bind_socket_file(const char *path) {
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path);
    CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

static void a_stale_socket_file_is_replaced(void) {
    char folder[60], path[108];
    esrpc_listener *listener;
    make_folder(folder);
    close(bind_socket_file(in_folder(folder, "sock", path)));
    CHECK(exists(path));
    listener = listen_with(on_path(path));
    CHECK(mode_of(path) == 0600);
    check_can_be_reached(to_path(path));
    stop_listening(listener);
    CHECK(!exists(path));
    CHECK(rmdir(folder) == 0);
}

static void a_live_servers_socket_file_is_not_replaced(void) {
    char folder[60], path[108], where[140];
    esrpc_listener *listener;
    int fd;
    make_folder(folder);
    in_folder(folder, "sock", path);
    snprintf(where, sizeof where, "cannot listen on unix:%s: ", path);
    listener = listen_with(on_path(path));
    check_listen_fails(on_path(path), ESRPC_ERROR_ADDRESS_IN_USE, where,
                       "(errno 98); another server is listening there");
    check_can_be_reached(to_path(path));
    stop_listening(listener);
    /* Also if that server is too busy to take connections. */
    fd = bind_socket_file(path);
    CHECK(listen(fd, 0) == 0);
    check_listen_fails(on_path(path), ESRPC_ERROR_ADDRESS_IN_USE, where, "(errno 98)");
    check_listen_fails(on_path(path), ESRPC_ERROR_ADDRESS_IN_USE, where, "(errno 98)");
    check_listen_fails(on_path(path), ESRPC_ERROR_ADDRESS_IN_USE, where, "(errno 98)");
    CHECK(exists(path));
    close(fd);
    CHECK(unlink(path) == 0);
    CHECK(rmdir(folder) == 0);
}

static void check_dial_fails(const char *path, const char *says) {
    esrpc_client_options *options = to_path(path);
    esrpc_connection *connection = NULL;
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_REFUSED, esrpc_connection_connect_blocking(options, PATIENCE_MS, &connection));
    CHECK(last_error_says(path) && last_error_says(says));
    esrpc_client_options_release(options);
}

static void what_is_not_a_socket_is_left_alone(void) {
    char folder[60], path[108], target[108], content[8] = "";
    FILE *file;
    make_folder(folder);
    file = fopen(in_folder(folder, "regular", path), "w");
    CHECK(file != NULL && fputs("mine", file) >= 0 && fclose(file) == 0);
    check_listen_fails(on_path(path), ESRPC_ERROR_ADDRESS_IN_USE, path,
                       "(errno 98); there is a file at this path that is not a socket");
    check_dial_fails(path, "there is a file at this path that is not a socket");
    file = fopen(path, "r");
    CHECK(file != NULL && fgets(content, sizeof content, file) != NULL && fclose(file) == 0);
    CHECK(strcmp(content, "mine") == 0);
    CHECK(unlink(path) == 0);
    /* A link, even to a stale socket, was made on purpose. */
    close(bind_socket_file(in_folder(folder, "target", target)));
    CHECK(symlink(target, in_folder(folder, "link", path)) == 0);
    check_listen_fails(on_path(path), ESRPC_ERROR_ADDRESS_IN_USE, path,
                       "(errno 98); there is a link at this path, not a socket");
    CHECK(exists(path) && exists(target));
    CHECK(unlink(path) == 0 && unlink(target) == 0);
    check_listen_fails(on_path(folder), ESRPC_ERROR_ADDRESS_IN_USE, folder,
                       "(errno 98); there is a folder at this path, not a socket");
    check_dial_fails(folder, "there is a folder at this path, not a socket");
    CHECK(rmdir(folder) == 0);
}

static void a_file_that_took_the_place_of_ours_is_left_alone(void) {
    char folder[60], path[108];
    esrpc_listener *listener;
    make_folder(folder);
    listener = listen_with(on_path(in_folder(folder, "sock", path)));
    CHECK(unlink(path) == 0);
    close(bind_socket_file(path));
    stop_listening(listener);
    CHECK(exists(path));
    CHECK(unlink(path) == 0);
    CHECK(rmdir(folder) == 0);
}

static void listen_in_a_folder_as_nobody(void *path) {
    if (geteuid() == 0) CHECK(setegid(65534) == 0 && seteuid(65534) == 0);
    check_listen_fails(on_path((const char *)path), ESRPC_ERROR_ACCESS_DENIED, (const char *)path,
                       "(errno 13); this process needs the right to write to the folder");
}

static void folders_where_no_file_can_be_made(void) {
    char folder[60], path[108], long_path[200];
    make_folder(folder);
    check_listen_fails(on_path(in_folder(folder, "none/sock", path)), ESRPC_ERROR_NOT_FOUND, path,
                       "(errno 2); there is no such folder");
    CHECK(chmod(folder, 0555) == 0);
    in_folder(folder, "sock", path);
    in_child(listen_in_a_folder_as_nobody, path);
    memset(long_path, 'x', sizeof long_path);
    long_path[sizeof long_path - 1] = '\0';
    check_listen_fails(on_path(long_path), ESRPC_ERROR_PATH_TOO_LONG, "199 bytes", "too long");
    CHECK(rmdir(folder) == 0);
}

static void an_abstract_name(void) {
    char name[60], expected[80];
    esrpc_client_options *client = esrpc_client_options_new();
    esrpc_listener_options *options = esrpc_listener_options_new(), *again = esrpc_listener_options_new();
    esrpc_listener *listener;
    snprintf(name, sizeof name, "esrpc-abstract-%ld", (long)getpid());
    snprintf(expected, sizeof expected, "unix:@%s", name);
    CHECK_OK(esrpc_listener_options_set_unix_abstract(options, esrpc_text(name)));
    CHECK_OK(esrpc_listener_options_set_unix_abstract(again, esrpc_text(name)));
    CHECK_OK(esrpc_client_options_set_unix_abstract(client, esrpc_text(name)));
    listener = listen_with(options);
    CHECK(strcmp(esrpc_listener_get_address(listener), expected) == 0);
    CHECK(!exists(name));
    check_listen_fails(again, ESRPC_ERROR_ADDRESS_IN_USE, expected, "(errno 98)");
    check_can_be_reached(client);
    stop_listening(listener);
}

static void a_listener_without_descriptors(void) {
    esrpc_listener *listener = NULL;
    esrpc_status status;
    rlim_t limit;
    /* The default runtime has its own already. */
    stop_listening(listen_with(on_host("127.0.0.1", 0)));
    limit = forbid_descriptors();
    status = try_to_listen(on_host("127.0.0.1", 0), &unmade, &listener);
    allow_descriptors(limit);
    CHECK(status == ESRPC_ERROR_TOO_MANY_FILES && listener == NULL);
    CHECK(last_error_says("cannot listen on 127.0.0.1:0: "));
    CHECK(last_error_says("(errno 24)"));
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_port_of_the_systems_choice),
        TEST(an_ipv6_port),
        TEST(an_address_in_use),
        TEST(addresses_that_cannot_be_had),
        TEST(a_privileged_port),
        TEST(a_socket_file_lives_as_long_as_its_listener),
        TEST(a_socket_file_goes_with_its_runtime),
        TEST(the_mode_is_exact_whatever_the_umask),
        TEST(a_stale_socket_file_is_replaced),
        TEST(a_live_servers_socket_file_is_not_replaced),
        TEST(what_is_not_a_socket_is_left_alone),
        TEST(a_file_that_took_the_place_of_ours_is_left_alone),
        TEST(folders_where_no_file_can_be_made),
        TEST(an_abstract_name),
        TEST(a_listener_without_descriptors),
    };
    unmade = a_party("unmade", NULL, NULL);
    accept_nobody();
    return RUN_TESTS(tests, argc, argv);
}
