/* TLS settings: what a builder takes and what it refuses. */
#include "events.h"

#include "certificates.h"

/* The content of a file in the folder; freed by the caller. */
static esrpc_bytes content(const char *name) {
    FILE *stream = fopen((const char *)file(name).data, "rb");
    CHECK(stream != NULL);
    uint8_t *data = (uint8_t *)malloc(65536);
    CHECK(data != NULL);
    size_t len = fread(data, 1, 65536, stream);
    fclose(stream);
    return bytes(data, len);
}

static void a_client(void) {
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_client();
    CHECK_OK(esrpc_tls_config_builder_add_ca_file(builder, file("ca.pem")));
    CHECK_OK(esrpc_tls_config_builder_add_ca_dir(builder, esrpc_text(certificate_folder())));
    CHECK_OK(esrpc_tls_config_builder_set_certificate_files(builder, file("server.pem"), file("server.key")));
    CHECK_OK(esrpc_tls_config_builder_add_alpn(builder, esrpc_text("eventstream")));
    CHECK_OK(esrpc_tls_config_builder_set_session_resumption(builder, false));
    CHECK_OK(esrpc_tls_config_builder_set_session_resumption(builder, true));
    CHECK_OK(esrpc_tls_config_builder_set_key_log_file(builder, file("keys")));

    esrpc_tls_config *config = NULL;
    CHECK_OK(esrpc_tls_config_builder_build(builder, &config));
    CHECK(config != NULL);
    esrpc_tls_config *other = NULL;
    CHECK_OK(esrpc_tls_config_builder_build(builder, &other));
    CHECK(other != NULL && other != config);
    esrpc_tls_config_builder_release(builder);
    CHECK(esrpc_tls_config_acquire(config) == config);
    esrpc_tls_config_release(config);
    esrpc_tls_config_release(config);
    esrpc_tls_config_release(other);
}

static void a_server(void) {
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_server();
    esrpc_tls_config *config = NULL;
    CHECK_STATUS(ESRPC_ERROR_TLS_CONFIG, esrpc_tls_config_builder_build(builder, &config));
    CHECK(last_error_says("certificate"));
    CHECK(config == NULL);

    esrpc_bytes chain = content("server.pem"), key = content("server.key"), ca = content("ca.pem");
    CHECK_OK(esrpc_tls_config_builder_set_certificate(builder, chain, key));
    CHECK_OK(esrpc_tls_config_builder_set_client_auth(builder, ESRPC_TLS_CLIENT_AUTH_REQUIRED));
    CHECK_STATUS(ESRPC_ERROR_TLS_CONFIG, esrpc_tls_config_builder_build(builder, &config));
    CHECK(last_error_says("CA"));
    CHECK_OK(esrpc_tls_config_builder_add_ca(builder, ca));
    CHECK_OK(esrpc_tls_config_builder_build(builder, &config));
    esrpc_tls_config_release(config);

    /* A failed call leaves what was set before. */
    CHECK_STATUS(ESRPC_ERROR_TLS_BAD_KEY, esrpc_tls_config_builder_set_certificate(builder, chain, chain));
    CHECK_OK(esrpc_tls_config_builder_build(builder, &config));
    esrpc_tls_config_release(config);
    esrpc_tls_config_builder_release(builder);
    free((void *)chain.data);
    free((void *)key.data);
    free((void *)ca.data);
}

static void files_that_cannot_be_used(void) {
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_server();
    CHECK_STATUS(ESRPC_ERROR_NOT_FOUND, esrpc_tls_config_builder_add_ca_file(builder, file("missing")));
    CHECK(last_error_says("missing"));
    CHECK_STATUS(ESRPC_ERROR_NOT_FOUND, esrpc_tls_config_builder_add_ca_dir(builder, file("missing")));
    CHECK_STATUS(ESRPC_ERROR_IO, esrpc_tls_config_builder_add_ca_file(builder, esrpc_text(certificate_folder())));
    CHECK_STATUS(ESRPC_ERROR_TLS_NO_CERTIFICATE, esrpc_tls_config_builder_add_ca_file(builder, file("server.key")));
    CHECK(last_error_says("server.key"));
    CHECK_STATUS(ESRPC_ERROR_TLS_NO_CERTIFICATE, esrpc_tls_config_builder_add_ca(builder, esrpc_text("words")));
    CHECK_STATUS(ESRPC_ERROR_TLS_BAD_CERTIFICATE, esrpc_tls_config_builder_add_ca(builder, bytes("\x30\x00", 2)));
    CHECK_STATUS(ESRPC_ERROR_TLS_KEY_MISMATCH,
                 esrpc_tls_config_builder_set_certificate_files(builder, file("server.pem"), file("other.key")));
    CHECK(last_error_says("other.key"));
    CHECK_STATUS(ESRPC_ERROR_TLS_KEY_ENCRYPTED,
                 esrpc_tls_config_builder_set_certificate_files(builder, file("server.pem"), file("encrypted.key")));
    CHECK(last_error_says("encrypted.key"));
    CHECK_STATUS(ESRPC_ERROR_TLS_BAD_KEY,
                 esrpc_tls_config_builder_set_certificate_files(builder, file("server.pem"), file("ca.pem")));
    CHECK_STATUS(ESRPC_ERROR_NOT_FOUND,
                 esrpc_tls_config_builder_set_certificate_files(builder, file("server.pem"), file("missing")));
    CHECK_STATUS(ESRPC_ERROR_NOT_FOUND, esrpc_tls_config_builder_set_key_log_file(builder, file("missing/keys")));
    esrpc_tls_config_builder_release(builder);
}

static void revocation_lists(void) {
    esrpc_tls_config_builder *client = esrpc_tls_config_builder_new_client();
    esrpc_tls_config_builder *server = esrpc_tls_config_builder_new_server();
    esrpc_tls_config *config = NULL;
    esrpc_bytes list = content("good.crl");
    CHECK_STATUS(ESRPC_ERROR_NOT_FOUND, esrpc_tls_config_builder_add_crl_file(client, file("missing")));
    CHECK(last_error_says("missing"));
    CHECK_STATUS(ESRPC_ERROR_TLS_BAD_CRL, esrpc_tls_config_builder_add_crl_file(client, file("ca.pem")));
    CHECK(last_error_says("ca.pem"));
    CHECK_STATUS(ESRPC_ERROR_TLS_BAD_CRL, esrpc_tls_config_builder_add_crl_file(client, file("damaged.crl")));
    CHECK(last_error_says("damaged.crl"));
    CHECK_STATUS(ESRPC_ERROR_TLS_BAD_CRL, esrpc_tls_config_builder_add_crl(client, bytes("\x30\x00", 2)));
    CHECK_STATUS(ESRPC_ERROR_TLS_BAD_CRL, esrpc_tls_config_builder_add_crl(client, bytes(list.data, list.len / 2)));
    CHECK_STATUS(ESRPC_ERROR_TLS_BAD_CRL, esrpc_tls_config_builder_add_crl(client, esrpc_text("no list")));
    CHECK_OK(esrpc_tls_config_builder_add_ca_file(client, file("ca.pem")));
    CHECK_OK(esrpc_tls_config_builder_add_crl_file(client, file("good.crl")));
    CHECK_OK(esrpc_tls_config_builder_add_crl(client, list));
    CHECK_OK(esrpc_tls_config_builder_build(client, &config));
    esrpc_tls_config_release(config);
    esrpc_tls_config_builder_release(client);

    /* A list that would never be looked at is a mistake. */
    config = NULL;
    CHECK_OK(esrpc_tls_config_builder_set_certificate_files(server, file("server.pem"), file("server.key")));
    CHECK_OK(esrpc_tls_config_builder_add_crl(server, list));
    CHECK_STATUS(ESRPC_ERROR_TLS_CONFIG, esrpc_tls_config_builder_build(server, &config));
    CHECK(last_error_says("revocation list"));
    client = esrpc_tls_config_builder_new_client();
    CHECK_OK(esrpc_tls_config_builder_dangerous_disable_verification(client));
    CHECK_OK(esrpc_tls_config_builder_add_crl(client, list));
    CHECK_STATUS(ESRPC_ERROR_TLS_CONFIG, esrpc_tls_config_builder_build(client, &config));
    CHECK(last_error_says("revocation list"));
    CHECK(config == NULL);
    esrpc_tls_config_builder_release(client);
    esrpc_tls_config_builder_release(server);
    free((void *)list.data);
}

static void numbers_and_lengths(void) {
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_server();
    const int32_t v12 = ESRPC_TLS_VERSION_1_2, v13 = ESRPC_TLS_VERSION_1_3;
    CHECK_OK(esrpc_tls_config_builder_set_versions(builder, v12, v12));
    CHECK_OK(esrpc_tls_config_builder_set_versions(builder, v13, v13));
    CHECK_OK(esrpc_tls_config_builder_set_versions(builder, v12, v13));
    CHECK_INVALID(esrpc_tls_config_builder_set_versions(builder, v13, v12));
    CHECK_INVALID(esrpc_tls_config_builder_set_versions(builder, 0x0302, v13));
    CHECK_INVALID(esrpc_tls_config_builder_set_versions(builder, v12, 0x0305));
    CHECK_INVALID(esrpc_tls_config_builder_set_versions(builder, 0, 0));
    CHECK_INVALID(esrpc_tls_config_builder_set_versions(builder, -1, INT32_MAX));
    CHECK_OK(esrpc_tls_config_builder_set_client_auth(builder, ESRPC_TLS_CLIENT_AUTH_NONE));
    CHECK_OK(esrpc_tls_config_builder_set_client_auth(builder, ESRPC_TLS_CLIENT_AUTH_OPTIONAL));
    CHECK_INVALID(esrpc_tls_config_builder_set_client_auth(builder, -1));
    CHECK_INVALID(esrpc_tls_config_builder_set_client_auth(builder, 3));
    CHECK_OK(esrpc_tls_config_builder_set_revocation(builder, ESRPC_TLS_REVOCATION_DEPTH_LEAF, true));
    CHECK_OK(esrpc_tls_config_builder_set_revocation(builder, ESRPC_TLS_REVOCATION_DEPTH_CHAIN, false));
    CHECK_INVALID(esrpc_tls_config_builder_set_revocation(builder, 2, false));
    CHECK_INVALID(esrpc_tls_config_builder_set_revocation(builder, -1, false));
    CHECK_OK(esrpc_tls_config_builder_set_revocation(builder, 0, true));

    uint8_t long_name[256];
    memset(long_name, 'x', sizeof long_name);
    CHECK_OK(esrpc_tls_config_builder_add_alpn(builder, bytes(long_name, 255)));
    CHECK_INVALID(esrpc_tls_config_builder_add_alpn(builder, bytes(long_name, 256)));
    CHECK_INVALID(esrpc_tls_config_builder_add_alpn(builder, bytes(NULL, 0)));
    CHECK_INVALID(esrpc_tls_config_builder_add_ca_file(builder, bytes("a\0b", 3)));
    CHECK_INVALID(esrpc_tls_config_builder_add_ca_file(builder, bytes(NULL, 0)));
    CHECK_INVALID(esrpc_tls_config_builder_add_ca_dir(builder, bytes(NULL, 0)));
    CHECK_INVALID(esrpc_tls_config_builder_add_ca(builder, bytes(NULL, 0)));
    CHECK_INVALID(esrpc_tls_config_builder_set_certificate(builder, bytes(NULL, 0), esrpc_text("x")));
    CHECK_INVALID(esrpc_tls_config_builder_set_certificate(builder, esrpc_text("x"), bytes(NULL, 0)));
    CHECK_INVALID(esrpc_tls_config_builder_set_certificate_files(builder, bytes(NULL, 0), file("server.key")));
    CHECK_INVALID(esrpc_tls_config_builder_set_certificate_files(builder, file("server.pem"), bytes(NULL, 0)));
    CHECK_INVALID(esrpc_tls_config_builder_set_key_log_file(builder, bytes(NULL, 0)));
    esrpc_tls_config_builder_release(builder);
}

static void settings_of_the_other_role(void) {
    esrpc_tls_config_builder *client = esrpc_tls_config_builder_new_client();
    esrpc_tls_config_builder *server = esrpc_tls_config_builder_new_server();
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE,
                 esrpc_tls_config_builder_set_client_auth(client, ESRPC_TLS_CLIENT_AUTH_REQUIRED));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_tls_config_builder_dangerous_disable_verification(server));

    esrpc_tls_config *config = NULL;
    CHECK_OK(esrpc_tls_config_builder_dangerous_disable_verification(client));
    CHECK_OK(esrpc_tls_config_builder_build(client, &config));
    esrpc_tls_config_release(config);
    CHECK_OK(esrpc_tls_config_builder_add_ca_file(client, file("ca.pem")));
    config = NULL;
    CHECK_STATUS(ESRPC_ERROR_TLS_CONFIG, esrpc_tls_config_builder_build(client, &config));
    CHECK(config == NULL);
    esrpc_tls_config_builder_release(client);
    esrpc_tls_config_builder_release(server);
}

static void the_provider_is_named(void) {
    const char *name = esrpc_tls_get_provider();
    CHECK(strcmp(name, "aws-lc-rs") == 0 || strcmp(name, "ring") == 0);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(the_provider_is_named),
        TEST(a_client),
        TEST(a_server),
        TEST(files_that_cannot_be_used),
        TEST(revocation_lists),
        TEST(numbers_and_lengths),
        TEST(settings_of_the_other_role),
    };
    return RUN_TESTS(tests, argc, argv);
}
