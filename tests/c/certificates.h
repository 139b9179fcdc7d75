/* TLS settings from certificates and keys in a folder, which whoever runs the test has made. */
#ifndef CERTIFICATES_H
#define CERTIFICATES_H

#include "check.h"

static const char *folder;

/* A file of the folder. */
static inline esrpc_bytes file(const char *name, char path[4096]) {
    snprintf(path, 4096, "%s/%s", folder, name);
    return esrpc_text(path);
}

/* Takes the builder. */
static inline esrpc_tls_config *build(esrpc_tls_config_builder *builder) {
    esrpc_tls_config *config = NULL;
    CHECK_OK(esrpc_tls_config_builder_build(builder, &config));
    esrpc_tls_config_builder_release(builder);
    return config;
}

static inline esrpc_tls_config *client_that_trusts(const char *ca) {
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_client();
    char path[4096];
    CHECK_OK(esrpc_tls_config_builder_add_ca_file(builder, file(ca, path)));
    return build(builder);
}

static inline esrpc_tls_config *server_tls(void) {
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_server();
    char certificate[4096], key[4096];
    CHECK_OK(esrpc_tls_config_builder_set_certificate_files(builder, file("server.pem", certificate),
                                                            file("server.key", key)));
    return build(builder);
}

#endif
