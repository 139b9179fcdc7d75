/* The settings of docs/tls.md, which tests/pages.rs puts before this, with the certificates that its commands have made in
 * the folder named by the argument. */

static void accept_it(esrpc_listener *listener, esrpc_connection *connection, void *user_data) {
    (void)listener;
    CHECK_OK(esrpc_connection_accept(connection, NULL, user_data));
}

static esrpc_status connects_with(esrpc_tls_config *server_config, esrpc_tls_config *client_config,
                                  esrpc_connection **out_connection) {
    esrpc_listener_options *listener_options = esrpc_listener_options_new();
    esrpc_client_options *client_options = esrpc_client_options_new();
    esrpc_listener_callbacks callbacks;
    esrpc_listener *listener = NULL;
    esrpc_status status;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_incoming_connection = accept_it;
    CHECK_OK(esrpc_listener_options_set_tls(listener_options, server_config));
    CHECK_OK(esrpc_listener_options_set_handshake(listener_options, NULL, NULL));
    CHECK_OK(esrpc_listener_options_set_host(listener_options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_listen(listener_options, &callbacks, NULL, &listener));
    CHECK_OK(esrpc_client_options_set_tls(client_options, client_config, esrpc_text(NULL)));
    CHECK_OK(esrpc_client_options_set_host(client_options, esrpc_text("127.0.0.1"), esrpc_listener_get_port(listener)));
    status = esrpc_connection_connect_blocking(client_options, ESRPC_NO_TIMEOUT, out_connection);
    CHECK_OK(esrpc_listener_close(listener));
    esrpc_listener_release(listener);
    esrpc_listener_options_release(listener_options);
    esrpc_client_options_release(client_options);
    return status;
}

static void ends(esrpc_connection *connection) {
    CHECK_OK(esrpc_connection_close(connection, ESRPC_OK));
    CHECK_OK(esrpc_connection_wait_shutdown(connection, ESRPC_NO_TIMEOUT));
    esrpc_connection_release(connection);
}

static void with_a_ca(esrpc_tls_config *server_config, esrpc_tls_config *client_config) {
    esrpc_connection *connection = NULL;
    CHECK_OK(connects_with(server_config, client_config, &connection));
    CHECK(strcmp(esrpc_connection_get_tls_version(connection), "TLSv1.3") == 0);
    ends(connection);
}

static void with_a_list(esrpc_tls_config *client_config) {
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_server();
    esrpc_tls_config *server_config = NULL;
    esrpc_connection *connection = NULL;
    CHECK_OK(esrpc_tls_config_builder_set_certificate_files(builder, esrpc_text("server.pem"), esrpc_text("server.key")));
    CHECK_OK(esrpc_tls_config_builder_add_ca_file(builder, esrpc_text("ca.pem")));
    CHECK_OK(esrpc_tls_config_builder_set_client_auth(builder, ESRPC_TLS_CLIENT_AUTH_REQUIRED));
    CHECK_STATUS(ESRPC_ERROR_TLS_BAD_CRL, esrpc_tls_config_builder_add_crl_file(builder, esrpc_text("old.crl")));
    CHECK(strstr(esrpc_last_error_message(), "version 1") != NULL);
    CHECK_OK(esrpc_tls_config_builder_add_crl_file(builder, esrpc_text("ca.crl")));
    CHECK_OK(esrpc_tls_config_builder_build(builder, &server_config));
    CHECK_STATUS(ESRPC_ERROR_TLS_ALERT_RECEIVED, connects_with(server_config, client_config, &connection));
    CHECK(strstr(esrpc_last_error_message(), "revoked") != NULL);
    esrpc_tls_config_builder_release(builder);
    esrpc_tls_config_release(server_config);
}

/* The server's own certificate, trusted as itself; and certificate and key from one file. */
static void with_one_certificate(const char *chain, const char *key, const char *trusted) {
    esrpc_tls_config_builder *server = esrpc_tls_config_builder_new_server();
    esrpc_tls_config_builder *client = esrpc_tls_config_builder_new_client();
    esrpc_tls_config *server_config = NULL, *client_config = NULL;
    esrpc_connection *connection = NULL;
    CHECK_OK(esrpc_tls_config_builder_set_certificate_files(server, esrpc_text(chain), esrpc_text(key)));
    CHECK_OK(esrpc_tls_config_builder_build(server, &server_config));
    CHECK_OK(esrpc_tls_config_builder_add_ca_file(client, esrpc_text(trusted)));
    CHECK_OK(esrpc_tls_config_builder_build(client, &client_config));
    CHECK_OK(connects_with(server_config, client_config, &connection));
    ends(connection);
    esrpc_tls_config_release(server_config);
    esrpc_tls_config_release(client_config);
    esrpc_tls_config_builder_release(server);
    esrpc_tls_config_builder_release(client);
}

int main(int argc, char **argv) {
    esrpc_tls_config *server_config = NULL, *client_config = NULL;
    CHECK(argc == 2 && chdir(argv[1]) == 0);
    CHECK_OK(server_tls(&server_config));
    CHECK_OK(client_tls(&client_config));
    with_a_ca(server_config, client_config);
    with_a_list(client_config);
    with_one_certificate("own.pem", "own.key", "own.pem");
    with_one_certificate("both.pem", "both.pem", "ca.pem");
    esrpc_tls_config_release(server_config);
    esrpc_tls_config_release(client_config);
    CHECK_OK(esrpc_runtime_join(NULL, ESRPC_NO_TIMEOUT));
    return 0;
}
