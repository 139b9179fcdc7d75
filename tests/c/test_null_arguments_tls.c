/* Every function of TLS settings with NULL where it is not allowed, and bytes that are NULL with a length. */
#include "check.h"

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
    CHECK_INVALID(esrpc_tls_config_builder_set_certificate_files(NULL, text, text));
    CHECK_INVALID(esrpc_tls_config_builder_set_certificate(NULL, text, text));
    CHECK_INVALID(esrpc_tls_config_builder_add_alpn(NULL, text));
    CHECK_INVALID(esrpc_tls_config_builder_set_versions(NULL, ESRPC_TLS_VERSION_1_2, ESRPC_TLS_VERSION_1_3));
    CHECK_INVALID(esrpc_tls_config_builder_dangerous_disable_verification(NULL));
    CHECK_INVALID(esrpc_tls_config_builder_set_client_auth(NULL, ESRPC_TLS_CLIENT_AUTH_NONE));
    CHECK_INVALID(esrpc_tls_config_builder_set_session_resumption(NULL, 1));
    CHECK_INVALID(esrpc_tls_config_builder_set_key_log_file(NULL, text));
    CHECK_INVALID(esrpc_tls_config_builder_build(NULL, &config));
    CHECK(config == NULL);
}

static void no_bytes(esrpc_tls_config_builder *builder) {
    const esrpc_bytes none = no_bytes_of_length_one();
    const esrpc_bytes text = esrpc_text("x");
    CHECK_INVALID(esrpc_tls_config_builder_add_ca_file(builder, none));
    CHECK_INVALID(esrpc_tls_config_builder_add_ca_dir(builder, none));
    CHECK_INVALID(esrpc_tls_config_builder_add_ca(builder, none));
    CHECK_INVALID(esrpc_tls_config_builder_set_certificate_files(builder, none, text));
    CHECK_INVALID(esrpc_tls_config_builder_set_certificate_files(builder, text, none));
    CHECK_INVALID(esrpc_tls_config_builder_set_certificate(builder, none, text));
    CHECK_INVALID(esrpc_tls_config_builder_set_certificate(builder, text, none));
    CHECK_INVALID(esrpc_tls_config_builder_add_alpn(builder, none));
    CHECK_INVALID(esrpc_tls_config_builder_set_key_log_file(builder, none));
    CHECK_INVALID(esrpc_tls_config_builder_build(builder, NULL));
}

int main(void) {
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_server();
    releases_of_nothing();
    no_builder();
    no_bytes(builder);
    esrpc_tls_config_builder_release(builder);
    return 0;
}
