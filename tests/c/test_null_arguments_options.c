/* Options of times, names and sockets with NULL where it is not allowed and with numbers just inside and just outside their
   ranges. */
#include "events.h"

static const uint32_t A_DAY = 24u * 60 * 60 * 1000;

typedef esrpc_status (*set_time)(esrpc_connection_options *options, uint32_t timeout_ms);

static void times(void) {
    static const set_time setters[] = {
        esrpc_connection_options_set_resolve_timeout_ms, esrpc_connection_options_set_connect_timeout_ms,
        esrpc_connection_options_set_tls_timeout_ms,     esrpc_connection_options_set_handshake_timeout_ms,
        esrpc_connection_options_set_write_timeout_ms,   esrpc_connection_options_set_message_timeout_ms,
        esrpc_connection_options_set_idle_timeout_ms,    esrpc_connection_options_set_half_open_ms,
    };
    esrpc_connection_options *options = esrpc_connection_options_new();
    const size_t count = sizeof setters / sizeof setters[0];
    for (size_t i = 0; i < count; i++) {
        CHECK_INVALID(setters[i](NULL, 1));
        CHECK_INVALID(setters[i](options, A_DAY + 1));
        CHECK_INVALID(setters[i](options, ESRPC_NO_TIMEOUT - 1));
        CHECK_OK(setters[i](options, ESRPC_NO_TIMEOUT));
        CHECK_OK(setters[i](options, A_DAY));
        /* No time at all is a mistake, except where it says that nothing is waited for. */
        if (i == count - 1) {
            CHECK_OK(setters[i](options, 0));
        } else {
            CHECK_INVALID(setters[i](options, 0));
            CHECK(last_error_says("ESRPC_NO_TIMEOUT"));
        }
    }
    esrpc_connection_options_release(options);
}

/* The option that is wrong is named, with the number and its range. */
static void a_wrong_time_is_named(void) {
    esrpc_connection_options *options = esrpc_connection_options_new();
    CHECK_INVALID(esrpc_connection_options_set_resolve_timeout_ms(options, A_DAY + 1));
    CHECK(last_error_says("resolve_timeout_ms is 86400001; it must be at most 86400000 (a day), or ESRPC_NO_TIMEOUT"));
    CHECK_INVALID(esrpc_connection_options_set_connect_timeout_ms(options, A_DAY + 1));
    CHECK(last_error_says("connect_timeout_ms"));
    CHECK_INVALID(esrpc_connection_options_set_tls_timeout_ms(options, A_DAY + 1));
    CHECK(last_error_says("tls_timeout_ms"));
    CHECK_INVALID(esrpc_connection_options_set_handshake_timeout_ms(options, A_DAY + 1));
    CHECK(last_error_says("handshake_timeout_ms"));
    CHECK_INVALID(esrpc_connection_options_set_write_timeout_ms(options, A_DAY + 1));
    CHECK(last_error_says("write_timeout_ms"));
    CHECK_INVALID(esrpc_connection_options_set_message_timeout_ms(options, A_DAY + 1));
    CHECK(last_error_says("message_timeout_ms"));
    CHECK_INVALID(esrpc_connection_options_set_idle_timeout_ms(options, A_DAY + 1));
    CHECK(last_error_says("idle_timeout_ms"));
    CHECK_INVALID(esrpc_connection_options_set_half_open_ms(options, A_DAY + 1));
    CHECK(last_error_says("half_open_ms"));
    esrpc_connection_options_release(options);
}

static void pings(void) {
    esrpc_connection_options *options = esrpc_connection_options_new();
    CHECK_INVALID(esrpc_connection_options_set_keep_alive_ping(NULL, 1, 1));
    CHECK_INVALID(esrpc_connection_options_set_keep_alive_ping(options, A_DAY + 1, 1));
    CHECK(last_error_says("interval_ms"));
    CHECK_INVALID(esrpc_connection_options_set_keep_alive_ping(options, 1, A_DAY + 1));
    CHECK(last_error_says("timeout_ms"));
    CHECK_OK(esrpc_connection_options_set_keep_alive_ping(options, A_DAY, A_DAY));
    CHECK_OK(esrpc_connection_options_set_keep_alive_ping(options, ESRPC_NO_TIMEOUT, ESRPC_NO_TIMEOUT));
    CHECK_INVALID(esrpc_connection_options_set_keep_alive_ping(options, 0, 1));
    CHECK(last_error_says("interval_ms is 0"));
    CHECK_INVALID(esrpc_connection_options_set_keep_alive_ping(options, 1, 0));
    CHECK(last_error_says("ESRPC_NO_TIMEOUT"));
    CHECK_INVALID(esrpc_connection_options_set_answer_pings(NULL, true));
    CHECK_OK(esrpc_connection_options_set_answer_pings(options, true));
    CHECK_OK(esrpc_connection_options_set_answer_pings(options, false));
    CHECK_INVALID(esrpc_connection_options_set_ping_answer_limit(NULL, 1, 1));
    CHECK_INVALID(esrpc_connection_options_set_ping_answer_limit(options, 0, 1));
    CHECK_INVALID(esrpc_connection_options_set_ping_answer_limit(options, 1, 0));
    CHECK_INVALID(esrpc_connection_options_set_ping_answer_limit(options, 1000001, 1));
    CHECK_INVALID(esrpc_connection_options_set_ping_answer_limit(options, 1, UINT32_MAX));
    CHECK_OK(esrpc_connection_options_set_ping_answer_limit(options, 1000000, 1000000));
    CHECK_INVALID(esrpc_connection_options_set_abnormal_event_limit(NULL, 1, 1));
    CHECK_INVALID(esrpc_connection_options_set_abnormal_event_limit(options, 0, 1));
    CHECK_INVALID(esrpc_connection_options_set_abnormal_event_limit(options, 1, 1000001));
    CHECK_OK(esrpc_connection_options_set_abnormal_event_limit(options, 1000000, 1000000));
    CHECK_INVALID(esrpc_connection_options_set_max_streams(NULL, 1));
    CHECK_INVALID(esrpc_connection_options_set_max_streams(options, 0));
    CHECK_INVALID(esrpc_connection_options_set_max_streams(options, (size_t)INT32_MAX + 1));
    CHECK_OK(esrpc_connection_options_set_max_streams(options, INT32_MAX));
    esrpc_connection_options_release(options);
}

static void sockets(void) {
    esrpc_connection_options *options = esrpc_connection_options_new();
    CHECK_INVALID(esrpc_connection_options_set_tcp_nodelay(NULL, true));
    CHECK_OK(esrpc_connection_options_set_tcp_nodelay(options, true));
    CHECK_OK(esrpc_connection_options_set_tcp_nodelay(options, false));
    CHECK_INVALID(esrpc_connection_options_set_tcp_keep_alive(NULL, true, 0, 0, 0));
    CHECK_INVALID(esrpc_connection_options_set_tcp_keep_alive(options, true, 32767001, 0, 0));
    CHECK(last_error_says("idle_ms"));
    CHECK_INVALID(esrpc_connection_options_set_tcp_keep_alive(options, true, 0, 32767001, 0));
    CHECK(last_error_says("interval_ms"));
    CHECK_INVALID(esrpc_connection_options_set_tcp_keep_alive(options, true, 0, 0, 128));
    CHECK(last_error_says("probes"));
    CHECK_OK(esrpc_connection_options_set_tcp_keep_alive(options, true, 32767000, 32767000, 127));
    CHECK_OK(esrpc_connection_options_set_tcp_keep_alive(options, false, 99999999, UINT32_MAX, 1000));
    CHECK_INVALID(esrpc_connection_options_set_socket_buffers(NULL, 1, 1));
    CHECK_INVALID(esrpc_connection_options_set_socket_buffers(options, ((size_t)1 << 30) + 1, 1));
    CHECK(last_error_says("send_bytes"));
    CHECK_INVALID(esrpc_connection_options_set_socket_buffers(options, 1, SIZE_MAX));
    CHECK(last_error_says("receive_bytes"));
    CHECK_OK(esrpc_connection_options_set_socket_buffers(options, (size_t)1 << 30, (size_t)1 << 30));
    CHECK_OK(esrpc_connection_options_set_socket_buffers(options, 0, 0));
    esrpc_connection_options_release(options);
}

static void names_and_addresses(void) {
    char long_name[256];
    esrpc_client_options *options = esrpc_client_options_new();
    memset(long_name, 'a', sizeof long_name);
    CHECK_OK(esrpc_client_options_set_host(options, bytes(long_name, 255), 65535));
    CHECK_INVALID(esrpc_client_options_set_host(options, bytes(long_name, 256), 1));
    CHECK(last_error_says("256 bytes"));
    CHECK_INVALID(esrpc_client_options_set_host(options, bytes("a\0b", 3), 1));
    CHECK(last_error_says("NUL"));
    CHECK_INVALID(esrpc_client_options_set_host(options, bytes("\xff", 1), 1));
    CHECK_INVALID(esrpc_client_options_set_host(options, esrpc_text("localhost"), 65536));
    CHECK(last_error_says("65536"));
    CHECK_INVALID(esrpc_client_options_set_host(options, esrpc_text("localhost"), UINT32_MAX));
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("localhost"), 0));
    /* More than a host. */
    CHECK_INVALID(esrpc_client_options_set_host(options, esrpc_text("localhost:8033"), 8033));
    CHECK(last_error_says("host is \"localhost:8033\"; pass the port as its own argument"));
    CHECK_INVALID(esrpc_client_options_set_host(options, esrpc_text("[::1]:8033"), 8033));
    CHECK_INVALID(esrpc_client_options_set_host(options, esrpc_text("tcp://localhost"), 8033));
    CHECK(last_error_says("URL"));
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("::1"), 0));
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("[fe80::1%2]"), 0));

    CHECK_INVALID(esrpc_client_options_set_address_family(NULL, ESRPC_ADDRESS_FAMILY_ANY));
    CHECK_INVALID(esrpc_client_options_set_address_family(options, -1));
    CHECK_INVALID(esrpc_client_options_set_address_family(options, 5));
    CHECK_INVALID(esrpc_client_options_set_address_family(options, INT32_MAX));
    CHECK_OK(esrpc_client_options_set_address_family(options, ESRPC_ADDRESS_FAMILY_IPV4));
    CHECK_OK(esrpc_client_options_set_address_family(options, ESRPC_ADDRESS_FAMILY_IPV6));
    CHECK_OK(esrpc_client_options_set_address_family(options, ESRPC_ADDRESS_FAMILY_ANY));

    CHECK_INVALID(esrpc_client_options_set_local_address(NULL, esrpc_text("127.0.0.1"), 0));
    CHECK_INVALID(esrpc_client_options_set_local_address(options, no_bytes_of_length_one(), 0));
    CHECK_INVALID(esrpc_client_options_set_local_address(options, esrpc_text("localhost"), 0));
    CHECK_INVALID(esrpc_client_options_set_local_address(options, esrpc_text("127.0.0.1"), 65536));
    CHECK_OK(esrpc_client_options_set_local_address(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_client_options_set_local_address(options, esrpc_text("::1"), 65535));
    CHECK_OK(esrpc_client_options_set_local_address(options, bytes(NULL, 0), 0));
    esrpc_client_options_release(options);
}

static void adopted_sockets(void) {
    esrpc_client_options *client = esrpc_client_options_new();
    esrpc_listener_options *server = esrpc_listener_options_new();
    esrpc_listener *listener = NULL;
    esrpc_socket duplicate = -1;
    CHECK_INVALID(esrpc_client_options_set_socket(NULL, 0));
    CHECK_INVALID(esrpc_listener_options_set_socket(NULL, 0));
    CHECK_STATUS(ESRPC_ERROR_WRONG_SOCKET, esrpc_client_options_set_socket(client, -1));
    CHECK_STATUS(ESRPC_ERROR_WRONG_SOCKET, esrpc_listener_options_set_socket(server, -1));
    CHECK_INVALID(esrpc_listener_options_set_adopt_only(NULL));
    CHECK_INVALID(esrpc_listener_options_set_pipe_security(NULL, esrpc_text("D:")));
#ifndef _WIN32
    CHECK_STATUS(ESRPC_ERROR_UNSUPPORTED, esrpc_listener_options_set_pipe_security(server, esrpc_text("D:")));
#endif
    CHECK_INVALID(esrpc_listener_options_set_keep_unix_file(NULL, true));
    CHECK_OK(esrpc_listener_options_set_keep_unix_file(server, true));
    CHECK_INVALID(esrpc_listener_adopt_connection(NULL, 0));
    CHECK_INVALID(esrpc_listener_dup_socket(NULL, &duplicate));
    CHECK(duplicate == (esrpc_socket)-1);
    /* A socket that was refused is not set. */
    CHECK_INVALID(esrpc_listener_listen(server, NULL, NULL, &listener));
    CHECK(last_error_says("no address"));
    CHECK_OK(esrpc_listener_options_set_adopt_only(server));
    CHECK_OK(esrpc_listener_listen(server, NULL, NULL, &listener));
    CHECK_INVALID(esrpc_listener_dup_socket(listener, NULL));
    CHECK_STATUS(ESRPC_ERROR_WRONG_SOCKET, esrpc_listener_adopt_connection(listener, -1));
    CHECK_OK(esrpc_listener_close(listener));
    esrpc_listener_release(listener);
    CHECK_OK(esrpc_runtime_shutdown(NULL));
    CHECK_OK(esrpc_runtime_join(NULL, 10000));
    CHECK_INVALID(esrpc_connection_get_peer_credentials(NULL, NULL));
    esrpc_client_options_release(client);
    esrpc_listener_options_release(server);
}

static void interfaces(void) {
    esrpc_client_options *client = esrpc_client_options_new();
    esrpc_listener_options *server = esrpc_listener_options_new();
    CHECK_INVALID(esrpc_client_options_set_interface(NULL, esrpc_text("lo")));
    CHECK_INVALID(esrpc_listener_options_set_interface(NULL, esrpc_text("lo")));
    CHECK_INVALID(esrpc_client_options_set_interface(client, no_bytes_of_length_one()));
    CHECK_INVALID(esrpc_listener_options_set_interface(server, no_bytes_of_length_one()));
    CHECK_OK(esrpc_client_options_set_interface(client, esrpc_text("a234567890abcde")));
    CHECK_INVALID(esrpc_client_options_set_interface(client, esrpc_text("a234567890abcdef")));
    CHECK(last_error_says("16 bytes"));
    CHECK_INVALID(esrpc_listener_options_set_interface(server, bytes("l\0o", 3)));
    CHECK_INVALID(esrpc_listener_options_set_interface(server, bytes("\xff", 1)));
    CHECK_OK(esrpc_listener_options_set_interface(server, bytes(NULL, 0)));
    esrpc_client_options_release(client);
    esrpc_listener_options_release(server);
}

static void limits_of_listeners(void) {
    typedef esrpc_status (*set_limit)(esrpc_listener_options *options, size_t limit);
    static const set_limit setters[] = {esrpc_listener_options_set_max_connections,
                                        esrpc_listener_options_set_max_pending_handshakes,
                                        esrpc_listener_options_set_max_held_bytes};
    static const char *const names[] = {"max_connections is 0", "max_pending_handshakes is 0", "max_held_bytes is 0"};
    esrpc_listener_options *options = esrpc_listener_options_new();
    CHECK_INVALID(esrpc_listener_options_set_max_connections(NULL, 1));
    CHECK_INVALID(esrpc_listener_options_set_max_pending_handshakes(NULL, 1));
    CHECK_INVALID(esrpc_listener_options_set_max_held_bytes(NULL, 1));
    for (size_t i = 0; i < 3; i++) {
        CHECK_INVALID(setters[i](options, 0));
        CHECK(last_error_says(names[i]));
        CHECK_OK(setters[i](options, 1));
        CHECK_OK(setters[i](options, INT32_MAX));
        CHECK_STATUS(i == 2 ? ESRPC_OK : ESRPC_ERROR_INVALID_ARGUMENT, setters[i](options, (size_t)INT32_MAX + 1));
        CHECK_STATUS(i == 2 ? ESRPC_OK : ESRPC_ERROR_INVALID_ARGUMENT, setters[i](options, SIZE_MAX));
    }
    esrpc_listener_options_release(options);
}

static void deadlines_of_streams(void) {
    CHECK_INVALID(esrpc_stream_set_deadline_ms(NULL, 1));
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(times),
        TEST(a_wrong_time_is_named),
        TEST(pings),
        TEST(sockets),
        TEST(names_and_addresses),
        TEST(adopted_sockets),
        TEST(interfaces),
        TEST(limits_of_listeners),
        TEST(deadlines_of_streams),
    };
    return RUN_TESTS(tests, argc, argv);
}
