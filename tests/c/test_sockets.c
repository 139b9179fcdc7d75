/* Options of sockets, as the system has them; addresses; Unix sockets with a full backlog. */
#include "raw_peer.h"

#include <netinet/tcp.h>

static uint32_t port_of(const struct sockaddr_storage *address) {
    if (address->ss_family == AF_INET) return ntohs(((const struct sockaddr_in *)address)->sin_port);
    if (address->ss_family == AF_INET6) return ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
    return 0;
}

/* The port in text such as "127.0.0.1:80". */
static uint32_t port_in(const char *address) {
    const char *colon = strrchr(address, ':');
    CHECK(colon != NULL);
    return (uint32_t)strtoul(colon + 1, NULL, 10);
}

/* This process's socket between the two ports: the library's own descriptor. */
static int socket_between(uint32_t local_port, uint32_t remote_port) {
    for (int descriptor = 3; descriptor < 1024; descriptor++) {
        struct sockaddr_storage local, remote;
        socklen_t local_len = sizeof local, remote_len = sizeof remote;
        if (getsockname(descriptor, (struct sockaddr *)&local, &local_len) == 0 && port_of(&local) == local_port &&
            getpeername(descriptor, (struct sockaddr *)&remote, &remote_len) == 0 && port_of(&remote) == remote_port)
            return descriptor;
    }
    CHECK(!"the socket is one of this process");
    return -1;
}

static int socket_of(const esrpc_connection *connection) {
    return socket_between(port_in(esrpc_connection_get_local_address(connection)),
                          port_in(esrpc_connection_get_remote_address(connection)));
}

static int option_of(const esrpc_connection *connection, int level, int option) {
    int value = -1;
    socklen_t len = sizeof value;
    CHECK(getsockopt(socket_of(connection), level, option, &value, &len) == 0);
    return value;
}

/* Client and server alike. */
static void check_option(const struct pair *pair, int level, int option, int expected) {
    CHECK(option_of(pair->client_connection, level, option) == expected);
    CHECK(option_of(pair->server_connection, level, option) == expected);
}

static void small_messages_do_not_wait_unless_that_is_wished(void) {
    for (int delay = 0; delay <= 1; delay++) {
        struct pair pair;
        recorder_clear();
        pair_begin(&pair);
        if (delay) {
            CHECK_OK(esrpc_connection_options_set_tcp_nodelay(pair.client_options, false));
            CHECK_OK(esrpc_connection_options_set_tcp_nodelay(pair.server_options, false));
        }
        pair_connect(&pair);
        await_loop(pair.client_connection);
        await_loop(pair.server_connection);
        CHECK((option_of(pair.client_connection, IPPROTO_TCP, TCP_NODELAY) != 0) == !delay);
        CHECK((option_of(pair.server_connection, IPPROTO_TCP, TCP_NODELAY) != 0) == !delay);
        check_option(&pair, SOL_SOCKET, SO_KEEPALIVE, 0);
        pair_end(&pair);
    }
}

/* What a handshake sends is small, and waits for nothing. */
static void no_handshake_waits_whatever_the_option_says(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw server;
    struct sockaddr_storage client;
    socklen_t len = sizeof client;
    int descriptor, on = 0;
    patient_pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_tcp_nodelay(pair.client_options, false));
    raw_listen(&listener, 1);
    dial_raw(&pair, &pair.client, &listener, &pair.client_connection);
    raw_accept(&listener, &server);
    CHECK(getpeername(server.descriptor, (struct sockaddr *)&client, &len) == 0);
    descriptor = socket_between(port_of(&client), listener.port);
    len = sizeof on;
    CHECK(getsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, &len) == 0 && on != 0);
    raw_accept_connect(&server);
    await("client setup OK");
    await_loop(pair.client_connection);
    CHECK(option_of(pair.client_connection, IPPROTO_TCP, TCP_NODELAY) == 0);
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
}

static void keep_alive_of_the_system_is_set_as_wished(void) {
    struct pair pair;
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_tcp_keep_alive(pair.client_options, true, 29001, 7000, 3));
    CHECK_OK(esrpc_connection_options_set_tcp_keep_alive(pair.server_options, true, 29001, 7000, 3));
    pair_connect(&pair);
    check_option(&pair, SOL_SOCKET, SO_KEEPALIVE, 1);
    check_option(&pair, IPPROTO_TCP, TCP_KEEPIDLE, 30);
    check_option(&pair, IPPROTO_TCP, TCP_KEEPINTVL, 7);
    check_option(&pair, IPPROTO_TCP, TCP_KEEPCNT, 3);
    pair_end(&pair);
}

static void times_of_keep_alive_that_are_0_are_the_systems(void) {
    struct pair pair;
    int descriptor = raw_socket(AF_INET), idle = 0;
    socklen_t len = sizeof idle;
    CHECK(getsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &idle, &len) == 0);
    close(descriptor);
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_tcp_keep_alive(pair.client_options, true, 0, 0, 0));
    pair_connect(&pair);
    CHECK(option_of(pair.client_connection, SOL_SOCKET, SO_KEEPALIVE) == 1);
    CHECK(option_of(pair.client_connection, IPPROTO_TCP, TCP_KEEPIDLE) == idle);
    CHECK(option_of(pair.server_connection, SOL_SOCKET, SO_KEEPALIVE) == 0);
    pair_end(&pair);
}

/* Linux doubles the value. */
static void buffers_have_the_sizes_that_were_wished(void) {
    struct pair pair;
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_socket_buffers(pair.client_options, 20000, 30000));
    CHECK_OK(esrpc_connection_options_set_socket_buffers(pair.server_options, 20000, 30000));
    pair_connect(&pair);
    check_option(&pair, SOL_SOCKET, SO_SNDBUF, 40000);
    check_option(&pair, SOL_SOCKET, SO_RCVBUF, 60000);
    pair_end(&pair);
}

/* What only TCP has does not disturb Unix sockets. */
static void a_unix_socket_takes_the_options_that_it_has(void) {
    struct pair pair;
    over_unix_socket = true;
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_tcp_keep_alive(pair.client_options, true, 29001, 7000, 3));
    CHECK_OK(esrpc_connection_options_set_tcp_nodelay(pair.client_options, true));
    CHECK_OK(esrpc_connection_options_set_socket_buffers(pair.client_options, 20000, 30000));
    CHECK_OK(esrpc_connection_options_set_tcp_keep_alive(pair.server_options, true, 29001, 7000, 3));
    pair_connect(&pair);
    pair_end(&pair);
    over_unix_socket = false;
}

/* No other part of this process gets the library's descriptors, and no program that it starts does. */
static void descriptors_are_closed_on_exec_and_non_blocking(void) {
    struct pair pair;
    pair_open(&pair);
    const esrpc_connection *const both[] = {pair.client_connection, pair.server_connection};
    for (size_t i = 0; i < 2; i++) {
        CHECK((fcntl(socket_of(both[i]), F_GETFD) & FD_CLOEXEC) != 0);
        CHECK((fcntl(socket_of(both[i]), F_GETFL) & O_NONBLOCK) != 0);
    }
    pair_end(&pair);
}

static void a_client_that_binds_is_seen_at_its_address(void) {
    struct pair pair;
    esrpc_client_options *options = esrpc_client_options_new();
    char expected[40];
    struct raw_listener vacated;
    patient_pair_begin(&pair);
    pair_listen(&pair);
    CHECK(raw_listen_at(&vacated, "127.0.0.5", 0, -1));
    raw_listener_close(&vacated);
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), esrpc_listener_get_port(pair.listening)));
    CHECK_OK(esrpc_client_options_set_local_address(options, esrpc_text("127.0.0.5"), vacated.port));
    dial_with(&pair, &pair.client, options, &pair.client_connection);
    await("client setup OK");
    snprintf(expected, sizeof expected, "127.0.0.5:%u", (unsigned)vacated.port);
    CHECK(strcmp(esrpc_connection_get_local_address(pair.client_connection), expected) == 0);
    CHECK(strcmp(esrpc_connection_get_remote_address(pair.server_connection), expected) == 0);
    pair_end(&pair);
}

static void an_address_that_cannot_be_had_is_a_failed_setup(void) {
    struct pair pair;
    struct raw_listener taken;
    struct party second = a_party("second", NULL, NULL);
    esrpc_connection *connection = NULL;
    esrpc_client_options *options = esrpc_client_options_new();
    patient_pair_begin(&pair);
    pair_listen(&pair);
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), esrpc_listener_get_port(pair.listening)));
    CHECK_OK(esrpc_client_options_set_local_address(options, esrpc_text("192.0.2.1"), 0));
    dial_with(&pair, &pair.client, options, &pair.client_connection);
    await("client setup ADDRESS_UNAVAILABLE");
    check_end_message_says(pair.client_connection, "192.0.2.1");

    CHECK(raw_listen_at(&taken, "127.0.0.5", 0, 1));
    options = esrpc_client_options_new();
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), esrpc_listener_get_port(pair.listening)));
    CHECK_OK(esrpc_client_options_set_local_address(options, esrpc_text("127.0.0.5"), taken.port));
    dial_with(&pair, &second, options, &connection);
    await("second setup ADDRESS_IN_USE");
    check_end_message_says(connection, "127.0.0.5");
    esrpc_connection_release(connection);
    raw_listener_close(&taken);
    pair_end(&pair);
}

/* The system's own lookup, and the forms of an address. */
static void hosts_in_every_form_connect(void) {
    static const char *const hosts[] = {"localhost", "127.0.0.1", "[127.0.0.1]", "::1", "[::1]", "::1%1", "[::1%1]"};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        bool ipv6 = strchr(hosts[i], ':') != NULL;
        struct pair pair;
        esrpc_listener_options *options = esrpc_listener_options_new();
        esrpc_listener_callbacks callbacks = listener_callbacks();
        recorder_clear();
        patient_pair_begin(&pair);
        CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text(ipv6 ? "::1" : "127.0.0.1"), 0));
        CHECK_OK(esrpc_listener_options_set_runtime(options, pair.server_runtime));
        esrpc_status status = esrpc_listener_listen(options, &callbacks, &pair.listener, &pair.listening);
        esrpc_listener_options_release(options);
        if (ipv6 && status != ESRPC_OK) {
            fprintf(stderr, "  no IPv6 here: %s\n", esrpc_last_error_message());
        } else {
            CHECK_OK(status);
            uint32_t port = esrpc_listener_get_port(pair.listening);
            dial_host(&pair, &pair.client, hosts[i], port, &pair.client_connection);
            await("client setup OK");
            CHECK(strcmp(esrpc_connection_get_host(pair.client_connection), hosts[i]) == 0);
            CHECK(esrpc_connection_get_port(pair.client_connection) == port);
        }
        pair_end(&pair);
    }
}

/* An address of the link needs its scope: the one in the text reaches the system and appears in errors. */
static void a_scope_id_is_part_of_the_address(void) {
    struct pair pair;
    patient_pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_connect_timeout_ms(pair.client_options, SHORT_MS));
    dial_host(&pair, &pair.client, "fe80::ffff:1%4000000000", 1, &pair.client_connection);
    await("client setup");
    CHECK_NEVER("client setup OK");
    CHECK_NEVER("client setup RESOLVE_FAILED");
    check_end_message_says(pair.client_connection, "%4000000000");
    pair_end(&pair);
}

/* There is no event when a Unix socket's backlog has room again. */
static void a_unix_socket_with_a_full_backlog_is_tried_until_there_is_room(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw filler, server;
    struct party given_up = a_party("hasty", NULL, NULL);
    esrpc_connection *hasty = NULL;
    over_unix_socket = true;
    patient_pair_begin(&pair);
    raw_listen(&listener, 0);
    raw_fill_backlog(&listener);
    dial_raw(&pair, &pair.client, &listener, &pair.client_connection);
    CHECK_OK(esrpc_connection_options_set_connect_timeout_ms(pair.client_options, SHORT_MS));
    dial_raw(&pair, &given_up, &listener, &hasty);
    await("hasty setup CONNECT_TIMED_OUT");
    CHECK_NEVER("client");

    raw_accept(&listener, &filler);
    raw_accept(&listener, &server);
    raw_accept_connect(&server);
    await("client setup OK");
    esrpc_connection_release(hasty);
    raw_close(&filler);
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
    over_unix_socket = false;
}

/* It is given up like any other attempt. */
static void a_wait_for_a_full_backlog_can_be_cancelled(void) {
    struct pair pair;
    struct raw_listener listener;
    over_unix_socket = true;
    patient_pair_begin(&pair);
    raw_listen(&listener, 0);
    raw_fill_backlog(&listener);
    dial_raw(&pair, &pair.client, &listener, &pair.client_connection);
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    await("client setup CANCELLED");
    raw_listener_close(&listener);
    pair_end(&pair);
    over_unix_socket = false;
    CHECK_EVENTS("client", "setup CANCELLED", "destroy");
}

/* SO_BINDTODEVICE of Linux, which the system's headers hide from strict C. */
enum { BIND_TO_DEVICE = 25 };

static void check_interface(const esrpc_connection *connection, const char *expected) {
    char name[64] = "";
    socklen_t len = sizeof name;
    CHECK(getsockopt(socket_of(connection), SOL_SOCKET, BIND_TO_DEVICE, name, &len) == 0);
    CHECK(strcmp(name, expected) == 0);
}

/* The pair's listener, made with these options, which are released. */
static void listen_at_interface(struct pair *pair, esrpc_listener_options *options) {
    esrpc_listener_callbacks callbacks = listener_callbacks();
    CHECK_OK(esrpc_listener_options_set_runtime(options, pair->server_runtime));
    CHECK_OK(esrpc_listener_options_set_connection_options(options, pair->server_options));
    CHECK_OK(esrpc_listener_listen(options, &callbacks, &pair->listener, &pair->listening));
    esrpc_listener_options_release(options);
}

static void the_loopback_interface_leads_to_loopback(void) {
    struct pair pair;
    esrpc_listener_options *listener_options = esrpc_listener_options_new();
    esrpc_client_options *options = esrpc_client_options_new();
    pair_begin(&pair);
    CHECK_OK(esrpc_listener_options_set_host(listener_options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_options_set_interface(listener_options, esrpc_text("lo")));
    listen_at_interface(&pair, listener_options);
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), esrpc_listener_get_port(pair.listening)));
    CHECK_OK(esrpc_client_options_set_interface(options, esrpc_text("lo")));
    dial_with(&pair, &pair.client, options, &pair.client_connection);
    await("client setup OK");
    check_interface(pair.client_connection, "lo");
    check_interface(pair.server_connection, "lo");
    pair_end(&pair);
}

static void an_interface_that_is_not_there_is_named(void) {
    struct pair pair;
    esrpc_listener *none = NULL;
    esrpc_listener_options *listener_options = esrpc_listener_options_new();
    esrpc_client_options *options = esrpc_client_options_new();
    patient_pair_begin(&pair);
    CHECK_OK(esrpc_listener_options_set_host(listener_options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_options_set_interface(listener_options, esrpc_text("esrpc-none")));
    CHECK_STATUS(ESRPC_ERROR_INTERFACE_NOT_FOUND, esrpc_listener_listen(listener_options, NULL, NULL, &none));
    CHECK(last_error_says("esrpc-none"));
    CHECK(none == NULL);
    CHECK_OK(esrpc_listener_options_set_interface(listener_options, bytes(NULL, 0)));
    listen_at_interface(&pair, listener_options);
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), esrpc_listener_get_port(pair.listening)));
    CHECK_OK(esrpc_client_options_set_interface(options, esrpc_text("esrpc-none")));
    dial_with(&pair, &pair.client, options, &pair.client_connection);
    await("client setup INTERFACE_NOT_FOUND");
    check_end_message_says(pair.client_connection, "esrpc-none");
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(small_messages_do_not_wait_unless_that_is_wished),
        TEST(no_handshake_waits_whatever_the_option_says),
        TEST(keep_alive_of_the_system_is_set_as_wished),
        TEST(times_of_keep_alive_that_are_0_are_the_systems),
        TEST(buffers_have_the_sizes_that_were_wished),
        TEST(a_unix_socket_takes_the_options_that_it_has),
        TEST(descriptors_are_closed_on_exec_and_non_blocking),
        TEST(a_client_that_binds_is_seen_at_its_address),
        TEST(an_address_that_cannot_be_had_is_a_failed_setup),
        TEST(hosts_in_every_form_connect),
        TEST(a_scope_id_is_part_of_the_address),
        TEST(a_unix_socket_with_a_full_backlog_is_tried_until_there_is_room),
        TEST(a_wait_for_a_full_backlog_can_be_cancelled),
        TEST(the_loopback_interface_leads_to_loopback),
        TEST(an_interface_that_is_not_there_is_named),
    };
    return RUN_TESTS(tests, argc, argv);
}
