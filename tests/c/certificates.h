/* TLS settings from certificates and keys, in a folder that the driver makes. */
#ifndef CERTIFICATES_H
#define CERTIFICATES_H

#include "check.h"

static inline const char *certificate_folder(void) {
    return from_driver("ESRPC_TEST_CERTIFICATES");
}

/* The path of a file of the folder, until the next call but three. */
static inline esrpc_bytes file(const char *name) {
    static char paths[4][4096];
    static int next = 0;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", certificate_folder(), name);
    return esrpc_text(path);
}

/* Builds the settings and releases the builder. */
static inline esrpc_tls_config *build(esrpc_tls_config_builder *builder) {
    esrpc_tls_config *config = NULL;
    CHECK_OK(esrpc_tls_config_builder_build(builder, &config));
    esrpc_tls_config_builder_release(builder);
    return config;
}

static inline esrpc_tls_config *client_that_trusts(const char *ca) {
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_client();
    CHECK_OK(esrpc_tls_config_builder_add_ca_file(builder, file(ca)));
    return build(builder);
}

static inline esrpc_tls_config *server_tls(void) {
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_server();
    CHECK_OK(esrpc_tls_config_builder_set_certificate_files(builder, file("server.pem"),
                                                            file("server.key")));
    return build(builder);
}

#endif
