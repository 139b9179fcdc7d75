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
    CHECK(strcmp(esrpc_connection_get_tls_version(pair.client_connection), "") == 0);
    CHECK(!esrpc_connection_is_tls_resumed(pair.client_connection));
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {{"nothing_of_tls_can_be_made", nothing_of_tls_can_be_made},
                                        {"connections_are_plain", connections_are_plain}};
    return RUN_TESTS(tests, argc, argv);
}
