/* Every function of TLS settings with NULL where it is not allowed, and bytes that are NULL with a length. */
#include "events.h"

static void releases_of_nothing(void) {
    esrpc_tls_config_builder_release(NULL);
    esrpc_tls_config_release(NULL);
    CHECK(esrpc_tls_config_acquire(NULL) == NULL);
}

static void no_builder(void) {
    const esrpc_bytes text = esrpc_text("x");
    esrpc_tls_config *config = NULL;
    CHECK_INVALID(esrpc_tls_config_builder_add_ca_file(NULL, text));
    CHECK_INVALID(esrpc_tls_config_builder_add_ca_dir(NULL, text));
    CHECK_INVALID(esrpc_tls_config_builder_add_ca(NULL, text));
    CHECK_INVALID(esrpc_tls_config_builder_add_crl(NULL, text));
    CHECK_INVALID(esrpc_tls_config_builder_add_crl_file(NULL, text));
    CHECK_INVALID(esrpc_tls_config_builder_set_revocation(NULL, ESRPC_TLS_REVOCATION_DEPTH_LEAF, true));
    CHECK_INVALID(esrpc_tls_config_builder_set_certificate_files(NULL, text, text));
    CHECK_INVALID(esrpc_tls_config_builder_set_certificate(NULL, text, text));
    CHECK_INVALID(esrpc_tls_config_builder_add_alpn(NULL, text));
    CHECK_INVALID(esrpc_tls_config_builder_set_versions(NULL, ESRPC_TLS_VERSION_1_2, ESRPC_TLS_VERSION_1_3));
    CHECK_INVALID(esrpc_tls_config_builder_dangerous_disable_verification(NULL));
    CHECK_INVALID(esrpc_tls_config_builder_set_client_auth(NULL, ESRPC_TLS_CLIENT_AUTH_NONE));
    CHECK_INVALID(esrpc_tls_config_builder_set_session_resumption(NULL, true));
    CHECK_INVALID(esrpc_tls_config_builder_set_key_log_file(NULL, text));
    CHECK_INVALID(esrpc_tls_config_builder_build(NULL, &config));
    CHECK(config == NULL);
}

static void no_bytes(void) {
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_server();
    const esrpc_bytes none = no_bytes_of_length_one();
    const esrpc_bytes text = esrpc_text("x");
    CHECK_INVALID(esrpc_tls_config_builder_add_ca_file(builder, none));
    CHECK_INVALID(esrpc_tls_config_builder_add_ca_dir(builder, none));
    CHECK_INVALID(esrpc_tls_config_builder_add_ca(builder, none));
    CHECK_INVALID(esrpc_tls_config_builder_add_crl(builder, none));
    CHECK_INVALID(esrpc_tls_config_builder_add_crl_file(builder, none));
    CHECK_INVALID(esrpc_tls_config_builder_set_certificate_files(builder, none, text));
    CHECK_INVALID(esrpc_tls_config_builder_set_certificate_files(builder, text, none));
    CHECK_INVALID(esrpc_tls_config_builder_set_certificate(builder, none, text));
    CHECK_INVALID(esrpc_tls_config_builder_set_certificate(builder, text, none));
    CHECK_INVALID(esrpc_tls_config_builder_add_alpn(builder, none));
    CHECK_INVALID(esrpc_tls_config_builder_add_alpn(builder, bytes("a\0b", 3)));
    CHECK(last_error_says("NUL"));
    CHECK_INVALID(esrpc_tls_config_builder_set_key_log_file(builder, none));
    CHECK_INVALID(esrpc_tls_config_builder_build(builder, NULL));
    esrpc_tls_config_builder_release(builder);
}

static void no_connection_or_listener(void) {
    esrpc_bytes certificate = esrpc_text("unchanged");
    CHECK_INVALID(esrpc_client_options_set_tls(NULL, NULL, esrpc_text("server.example")));
    CHECK_INVALID(esrpc_listener_options_set_tls(NULL, NULL));
    CHECK_INVALID(esrpc_listener_set_tls(NULL, NULL));
    CHECK(*esrpc_connection_get_tls_version(NULL) == 0);
    CHECK(*esrpc_connection_get_tls_cipher_suite(NULL) == 0);
    CHECK(*esrpc_connection_get_tls_key_exchange(NULL) == 0);
    CHECK(*esrpc_connection_get_tls_alpn(NULL) == 0);
    CHECK(!esrpc_connection_is_tls_resumed(NULL));
    CHECK_INVALID(esrpc_connection_get_tls_peer_certificate(NULL, 0, &certificate));
    CHECK(certificate.len == strlen("unchanged"));
}

static void options(void) {
    esrpc_client_options *client = esrpc_client_options_new();
    esrpc_listener_options *server = esrpc_listener_options_new();
    CHECK_INVALID(esrpc_client_options_set_tls(client, NULL, no_bytes_of_length_one()));
    CHECK(esrpc_client_options_set_tls(client, NULL, bytes("\xff", 1)) == ESRPC_ERROR_INVALID_UTF8);
    CHECK_OK(esrpc_client_options_set_tls(client, NULL, bytes(NULL, 0))); /* no TLS, as by default */
    CHECK_OK(esrpc_listener_options_set_tls(server, NULL));
    esrpc_client_options_release(client);
    esrpc_listener_options_release(server);
}

/* A connection without TLS reports nothing about it, and its listener cannot be given TLS. */
static void plain_connection(void) {
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_client();
    esrpc_tls_config *of_client = NULL;
    esrpc_listener_options *listener_options = esrpc_listener_options_new();
    esrpc_client_options *client_options = esrpc_client_options_new();
    esrpc_listener_callbacks listener_callbacks;
    esrpc_connection_callbacks callbacks;
    esrpc_listener *listener = NULL;
    esrpc_connection *connection = NULL;
    esrpc_bytes certificate;
    memset(&listener_callbacks, 0, sizeof listener_callbacks);
    memset(&callbacks, 0, sizeof callbacks);
    listener_callbacks.struct_size = sizeof listener_callbacks;
    callbacks.struct_size = sizeof callbacks;
    CHECK_OK(esrpc_tls_config_builder_dangerous_disable_verification(builder));
    CHECK_OK(esrpc_tls_config_builder_build(builder, &of_client));
    CHECK(esrpc_listener_options_set_tls(listener_options, of_client) == ESRPC_ERROR_INVALID_STATE);
    CHECK_OK(esrpc_listener_options_set_host(listener_options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_listen(listener_options, &listener_callbacks, NULL, &listener));
    CHECK_INVALID(esrpc_listener_set_tls(listener, NULL));
    CHECK(esrpc_listener_set_tls(listener, of_client) == ESRPC_ERROR_INVALID_STATE);
    CHECK_OK(esrpc_client_options_set_host(client_options, esrpc_text("127.0.0.1"), esrpc_listener_get_port(listener)));
    CHECK_OK(esrpc_connection_connect(client_options, &callbacks, NULL, &connection));
    CHECK(*esrpc_connection_get_tls_version(connection) == 0);
    CHECK(!esrpc_connection_is_tls_resumed(connection));
    CHECK_INVALID(esrpc_connection_get_tls_peer_certificate(connection, 0, NULL));
    CHECK_INVALID(esrpc_connection_get_tls_peer_certificate(connection, 0, &certificate));
    esrpc_connection_abort(connection);
    esrpc_connection_release(connection);
    esrpc_listener_close(listener);
    esrpc_listener_release(listener);
    esrpc_client_options_release(client_options);
    esrpc_listener_options_release(listener_options);
    esrpc_tls_config_release(of_client);
    esrpc_tls_config_builder_release(builder);
    CHECK_OK(esrpc_runtime_shutdown(NULL));
    CHECK_OK(esrpc_runtime_join(NULL, 10000));
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(releases_of_nothing),
        TEST(no_builder),
        TEST(no_bytes),
        TEST(no_connection_or_listener),
        TEST(options),
        TEST(plain_connection),
    };
    return RUN_TESTS(tests, argc, argv);
}
