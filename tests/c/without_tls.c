/* A library that was built without TLS: tests/without_tls.rs. */
#include "blocking.h"

#define CHECK_NO_TLS(call)                              \
    do {                                                \
        CHECK_STATUS(ESRPC_ERROR_UNSUPPORTED, call);    \
        CHECK(last_error_says("has no TLS"));           \
        CHECK(last_error_says("aws-lc-rs or ring"));    \
    } while (0)

static void check_builder(esrpc_tls_config_builder *builder) {
    const esrpc_bytes text = esrpc_text("text");
    esrpc_tls_config *config = NULL;
    CHECK(builder != NULL);
    CHECK_NO_TLS(esrpc_tls_config_builder_add_ca_file(builder, text));
    CHECK_NO_TLS(esrpc_tls_config_builder_add_ca_dir(builder, text));
    CHECK_NO_TLS(esrpc_tls_config_builder_add_ca(builder, text));
    CHECK_NO_TLS(esrpc_tls_config_builder_add_crl_file(builder, text));
    CHECK_NO_TLS(esrpc_tls_config_builder_add_crl(builder, text));
    CHECK_NO_TLS(esrpc_tls_config_builder_set_revocation(builder, ESRPC_TLS_REVOCATION_DEPTH_CHAIN, false));
    CHECK_NO_TLS(esrpc_tls_config_builder_set_certificate_files(builder, text, text));
    CHECK_NO_TLS(esrpc_tls_config_builder_set_certificate(builder, text, text));
    CHECK_NO_TLS(esrpc_tls_config_builder_add_alpn(builder, text));
    CHECK_NO_TLS(esrpc_tls_config_builder_set_versions(builder, ESRPC_TLS_VERSION_1_2, ESRPC_TLS_VERSION_1_3));
    CHECK_NO_TLS(esrpc_tls_config_builder_dangerous_disable_verification(builder));
    CHECK_NO_TLS(esrpc_tls_config_builder_set_client_auth(builder, ESRPC_TLS_CLIENT_AUTH_REQUIRED));
    CHECK_NO_TLS(esrpc_tls_config_builder_set_session_resumption(builder, true));
    CHECK_NO_TLS(esrpc_tls_config_builder_set_key_log_file(builder, text));
    CHECK_NO_TLS(esrpc_tls_config_builder_build(builder, &config));
    CHECK(config == NULL);
    esrpc_tls_config_builder_release(builder);
}

static void nothing_of_tls_can_be_made(void) {
    CHECK(strcmp(esrpc_tls_get_provider(), "") == 0);
    check_builder(esrpc_tls_config_builder_new_client());
    check_builder(esrpc_tls_config_builder_new_server());
    esrpc_tls_config_release(NULL);
    CHECK(esrpc_tls_config_acquire(NULL) == NULL);
}

/* Without settings these do what they do for plain connections elsewhere. */
static void options_that_need_no_settings(void) {
    esrpc_client_options *client = esrpc_client_options_new();
    esrpc_listener_options *server = esrpc_listener_options_new();
    esrpc_connection_options *connection = esrpc_connection_options_new();
    const esrpc_bytes protocol = esrpc_text("protocol");
    CHECK_OK(esrpc_client_options_set_tls(client, NULL, esrpc_text("server.example")));
    CHECK_OK(esrpc_client_options_set_tls_alpn(client, &protocol, 1));
    CHECK_OK(esrpc_listener_options_set_tls(server, NULL));
    CHECK_OK(esrpc_connection_options_set_tls_timeout_ms(connection, 1000));
    esrpc_connection_options_release(connection);
    esrpc_listener_options_release(server);
    esrpc_client_options_release(client);
}

static void check_is_plain(const esrpc_connection *connection) {
    esrpc_bytes certificate = esrpc_text("unchanged");
    CHECK(strcmp(esrpc_connection_get_tls_version(connection), "") == 0);
    CHECK(strcmp(esrpc_connection_get_tls_cipher_suite(connection), "") == 0);
    CHECK(strcmp(esrpc_connection_get_tls_key_exchange(connection), "") == 0);
    CHECK(strcmp(esrpc_connection_get_tls_alpn(connection), "") == 0);
    CHECK(!esrpc_connection_is_tls_resumed(connection));
    CHECK_INVALID(esrpc_connection_get_tls_peer_certificate(connection, 0, &certificate));
    CHECK(is_text(certificate, "unchanged"));
}

static void connections_are_plain(void) {
    struct pair pair;
    esrpc_client_options *options;
    blocking_begin(&pair);
    pair_listen(&pair);
    options = pair_client_options(&pair);
    CHECK_OK(esrpc_client_options_set_tls(options, NULL, esrpc_text(NULL)));
    CHECK_OK(esrpc_connection_connect_blocking(options, PATIENCE_MS, &pair.client_connection));
    esrpc_client_options_release(options);
    await("server accepted");
    check_call(pair.client_connection, "echo", "echo");
    check_is_plain(pair.client_connection);
    check_is_plain(pair.server_connection);
    CHECK_INVALID(esrpc_listener_set_tls(pair.listening, NULL));
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {{"nothing_of_tls_can_be_made", nothing_of_tls_can_be_made},
                                        {"options_that_need_no_settings", options_that_need_no_settings},
                                        {"connections_are_plain", connections_are_plain}};
    return RUN_TESTS(tests, argc, argv);
}
