/* Sockets that the application made: connected ones for clients and servers, listening ones, and who is to close them. */
#include "adopted_sockets.h"

typedef void (*make_sockets)(int both[2]);
static const make_sockets makers[] = {make_pair_of_sockets, make_tcp_pair};

/* Both ends know each other and get a message through. */
static void check_conversation(struct pair *pair) {
    struct party call = a_party("call", NULL, NULL);
    size_t before = count_of("call destroy");
    esrpc_stream *stream = open_stream(pair->client_connection, &call);
    await_count("handler message first", before + 1);
    CHECK_OK(esrpc_stream_close(stream));
    CHECK_ENDED(esrpc_stream_wait_closed(stream, PATIENCE_MS));
    esrpc_stream_release(stream);
    await_count("call destroy", before + 1);
}

static void a_client_takes_a_connected_socket(void) {
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
        int both[2];
        struct raw server;
        struct pair pair;
        recorder_clear();
        patient_pair_begin(&pair);
        makers[i](both);
        raw_begin(&server, both[1]);
        dial_with(&pair, &pair.client, options_with(both[0]), &pair.client_connection);
        CHECK(is_the_librarys(both[0]));
        CHECK(fcntl(both[1], F_SETFL, O_NONBLOCK) == 0);
        raw_accept_connect(&server);
        await("client setup OK");
        CHECK(strcmp(esrpc_connection_get_host(pair.client_connection), "") == 0);
        CHECK(esrpc_connection_get_port(pair.client_connection) == 0);
        CHECK(begins_with(esrpc_connection_get_local_address(pair.client_connection), "unix:") == (i == 0));
        CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
        raw_expect_end(&server);
        await("client shutdown OK");
        raw_close(&server);
        pair_end(&pair);
        CHECK(!is_open(both[0]));
    }
}

static void a_listener_takes_connected_sockets_beside_its_own(void) {
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
        int both[2];
        struct pair pair;
        recorder_clear();
        pair_begin(&pair);
        pair_listen(&pair);
        makers[i](both);
        CHECK_OK(esrpc_listener_adopt_connection(pair.listening, both[1]));
        CHECK(is_the_librarys(both[1]));
        dial_with(&pair, &pair.client, options_with(both[0]), &pair.client_connection);
        await("client setup OK");
        check_conversation(&pair);
        CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
        await("server shutdown PEER_CLOSED");
        esrpc_connection_release(pair.client_connection);
        pair_dial(&pair);
        await_count("client setup OK", 2);
        await_count("server accepted", 2);
        pair_end(&pair);
        CHECK(!is_open(both[0]) && !is_open(both[1]));
    }
}

static void a_listener_may_live_of_adopted_sockets_alone(void) {
    int both[2];
    esrpc_socket duplicate = (esrpc_socket)-1;
    struct pair pair;
    pair_begin(&pair);
    listen_nowhere(&pair);
    CHECK(strcmp(esrpc_listener_get_address(pair.listening), "") == 0);
    CHECK(esrpc_listener_get_port(pair.listening) == 0);
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_listener_dup_socket(pair.listening, &duplicate));
    CHECK(duplicate == (esrpc_socket)-1);
    make_pair_of_sockets(both);
    CHECK_OK(esrpc_listener_adopt_connection(pair.listening, both[1]));
    dial_with(&pair, &pair.client, options_with(both[0]), &pair.client_connection);
    await("client setup OK");
    check_conversation(&pair);
    CHECK_OK(esrpc_listener_close(pair.listening));
    await("listener closed OK");

    /* What it accepted lives on; a new socket stays the caller's. */
    check_conversation(&pair);
    make_pair_of_sockets(both);
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_listener_adopt_connection(pair.listening, both[1]));
    CHECK(is_ours(both[1]));
    close(both[0]);
    close(both[1]);
    pair_end(&pair);
    CHECK_EVENTS("listener", "incoming", "closed OK", "destroy");
}

static void an_adopted_connection_that_is_not_accepted_is_closed(void) {
    int both[2];
    struct raw client;
    struct pair pair;
    pair_begin(&pair);
    pair.ignore_connections = true;
    listen_nowhere(&pair);
    make_pair_of_sockets(both);
    CHECK_OK(esrpc_listener_adopt_connection(pair.listening, both[1]));
    CHECK(fcntl(both[0], F_SETFL, O_NONBLOCK) == 0);
    raw_begin(&client, both[0]);
    raw_expect_end(&client);
    raw_close(&client);
    pair_end(&pair);
    CHECK_ONCE("listener incoming");
}

static void what_a_client_sent_before_the_adoption_is_read(void) {
    int both[2];
    struct raw client;
    struct pair pair;
    pair_begin(&pair);
    listen_nowhere(&pair);
    make_pair_of_sockets(both);
    raw_begin(&client, both[0]);
    raw_send_message(&client, ESRPC_MESSAGE_TYPE_CONNECT, 0, 0, NULL, "early");
    CHECK_OK(esrpc_listener_adopt_connection(pair.listening, both[1]));
    await("server protocol CONNECT early");
    raw_close(&client);
    pair_end(&pair);
}

enum { HANDED_OVER = 200 };

/* Hands sockets over until the listener refuses them. Every client end is closed, every refused one too. */
static void *hand_over(void *data) {
    esrpc_listener *listener = (esrpc_listener *)data;
    for (int i = 0; i < HANDED_OVER; i++) {
        int both[2];
        esrpc_socket duplicate = (esrpc_socket)-1;
        esrpc_status status;
        make_pair_of_sockets(both);
        status = esrpc_listener_adopt_connection(listener, both[1]);
        CHECK(status == ESRPC_OK || status == ESRPC_ERROR_INVALID_STATE);
        if (status != ESRPC_OK) close(both[1]);
        close(both[0]);
        status = esrpc_listener_dup_socket(listener, &duplicate);
        CHECK(status == ESRPC_OK || status == ESRPC_ERROR_INVALID_STATE);
        if (status == ESRPC_OK) close(duplicate);
    }
    return NULL;
}

static void every_socket_has_one_owner_while_the_listener_closes(void) {
    size_t before = count_descriptors();
    pthread_t threads[2];
    struct pair pair;
    pair_begin(&pair);
    pair_listen(&pair);
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, hand_over, pair.listening) == 0);
    await_count("server accepted", HANDED_OVER / 4);
    CHECK_OK(esrpc_listener_close(pair.listening));
    for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    await("listener closed OK"); /* from here on no connection replaces the one that the pair keeps */
    pair_end(&pair);
    CHECK(count_descriptors() == before);
}

static void a_client_on_an_adopted_socket_has_its_deadlines(void) {
    int both[2];
    struct pair pair;
    patient_pair_begin(&pair);
    make_pair_of_sockets(both);
    CHECK_OK(esrpc_connection_options_set_handshake_timeout_ms(pair.client_options, SHORT_MS));
    dial_with(&pair, &pair.client, options_with(both[0]), &pair.client_connection);
    await("client setup HANDSHAKE_TIMED_OUT");
    close(both[1]);
    pair_end(&pair);
}

/* -- whose it is --------------------------------------------------------------------------------------------------- */

static void after_a_failed_connect_the_socket_is_the_callers(void) {
    int both[2];
    struct pair pair;
    esrpc_connection *connection = NULL;
    esrpc_connection_callbacks callbacks = connection_callbacks();
    esrpc_headers *reserved = esrpc_headers_new();
    esrpc_client_options *options;
    esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_client();
    esrpc_tls_config *tls = NULL;
    pair_begin(&pair);
    listen_nowhere(&pair);
    make_pair_of_sockets(both);
    options = options_with(both[0]);
    CHECK_OK(esrpc_client_options_set_runtime(options, pair.client_runtime));
    CHECK_OK(esrpc_headers_add_int32(reserved, esrpc_text(":stream-id"), 1));
    CHECK_OK(esrpc_client_options_set_handshake(options, reserved, esrpc_text("x")));
    CHECK_STATUS(ESRPC_ERROR_RESERVED_HEADER, esrpc_connection_connect(options, &callbacks, NULL, &connection));
    CHECK(is_ours(both[0]));
    CHECK_OK(esrpc_client_options_set_handshake(options, NULL, esrpc_text("x")));

    /* There is no host name for TLS to ask for. */
    CHECK_OK(esrpc_tls_config_builder_dangerous_disable_verification(builder));
    CHECK_OK(esrpc_tls_config_builder_build(builder, &tls));
    CHECK_OK(esrpc_client_options_set_tls(options, tls, bytes(NULL, 0)));
    CHECK_STATUS(ESRPC_ERROR_TLS_SERVER_NAME_REQUIRED,
                 esrpc_connection_connect(options, &callbacks, NULL, &connection));
    CHECK(is_ours(both[0]));
    CHECK_OK(esrpc_client_options_set_tls(options, NULL, bytes(NULL, 0)));

    CHECK_OK(esrpc_runtime_shutdown(pair.client_runtime));
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_connect(options, &callbacks, NULL, &connection));
    CHECK(is_ours(both[0]));
    CHECK_OK(esrpc_client_options_set_runtime(options, pair.server_runtime));
    CHECK_OK(esrpc_connection_connect(options, &callbacks, &pair.client, &pair.client_connection));
    CHECK(is_the_librarys(both[0]));

    /* And not a second time: by then the number may be another socket's. */
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_connection_connect(options, &callbacks, NULL, &connection));
    CHECK(connection == NULL);
    CHECK_OK(esrpc_listener_adopt_connection(pair.listening, both[1]));
    await("client setup OK");
    make_pair_of_sockets(both);
    CHECK_OK(esrpc_client_options_set_socket(options, both[0]));
    CHECK_OK(esrpc_connection_connect(options, NULL, NULL, &connection));
    CHECK_OK(esrpc_connection_abort(connection));
    esrpc_connection_release(connection);
    esrpc_client_options_release(options);
    esrpc_headers_release(reserved);
    esrpc_tls_config_release(tls);
    esrpc_tls_config_builder_release(builder);
    close(both[1]);
    pair_end(&pair);
}

/* A blocking connect takes the socket once it has begun, whether it succeeds or not. */
static void a_blocking_connect_takes_a_socket_once(void) {
    int both[2];
    struct pair pair;
    esrpc_client_options *options;
    esrpc_connection *connection = NULL;
    esrpc_status status;
    pair_begin(&pair);
    make_pair_of_sockets(both);
    options = options_with(both[0]);
    CHECK_OK(esrpc_client_options_set_runtime(options, pair.client_runtime));
    close(both[1]);
    status = esrpc_connection_connect_blocking(options, PATIENCE_MS, &connection);
    CHECK(status == ESRPC_ERROR_PEER_CLOSED || status == ESRPC_ERROR_CONNECTION_RESET || status == ESRPC_ERROR_IO);
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_connection_connect_blocking(options, PATIENCE_MS, &connection));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_connection_connect(options, NULL, NULL, &connection));
    CHECK(connection == NULL);
    esrpc_client_options_release(options);
    pair_end(&pair);
}

static void after_a_failed_listen_or_adoption_the_socket_is_the_callers(void) {
    int both[2];
    struct raw_listener listener;
    struct pair pair;
    esrpc_runtime *over = NULL;
    esrpc_listener *first = NULL, *second = NULL;
    esrpc_listener_options *options = esrpc_listener_options_new();
    CHECK_OK(esrpc_runtime_new(NULL, &over));
    pair_begin(&pair);
    CHECK(raw_listen_at(&listener, "127.0.0.1", 0, 1));
    CHECK(fcntl(listener.descriptor, F_SETFL, 0) == 0 && fcntl(listener.descriptor, F_SETFD, 0) == 0);
    make_pair_of_sockets(both);
    CHECK_OK(esrpc_listener_options_set_runtime(options, over));
    CHECK_OK(esrpc_listener_options_set_adopt_only(options));
    CHECK_OK(esrpc_listener_listen(options, NULL, NULL, &first));
    CHECK_OK(esrpc_runtime_shutdown(over));
    CHECK_OK(esrpc_listener_wait_closed(first, PATIENCE_MS));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_listener_adopt_connection(first, both[0]));
    CHECK(is_ours(both[0]));
    esrpc_listener_release(first);

    CHECK_OK(esrpc_listener_options_set_socket(options, listener.descriptor));
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_listener_listen(options, NULL, NULL, &second));
    CHECK(is_ours(listener.descriptor));
    CHECK_OK(esrpc_listener_options_set_runtime(options, pair.server_runtime));
    CHECK_OK(esrpc_listener_listen(options, NULL, NULL, &first));
    CHECK(is_the_librarys(listener.descriptor));
    CHECK(esrpc_listener_get_port(first) == listener.port);
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_listener_listen(options, NULL, NULL, &second));
    CHECK(second == NULL);
    CHECK_OK(esrpc_listener_close(first));
    CHECK_OK(esrpc_listener_wait_closed(first, PATIENCE_MS));
    CHECK(!is_open(listener.descriptor));
    esrpc_listener_release(first);
    esrpc_listener_options_release(options);
    close(both[0]);
    close(both[1]);
    CHECK_OK(esrpc_runtime_join(over, PATIENCE_MS));
    esrpc_runtime_release(over);
    pair_end(&pair);
}

/* -- listening sockets --------------------------------------------------------------------------------------------- */

static void the_file_of_an_adopted_unix_listener_stays(void) {
    char folder[60], path[108];
    int descriptor;
    struct pair pair;
    make_folder(folder);
    descriptor = listening_unix_socket(in_folder(folder, "socket", path));
    pair_begin(&pair);
    listen_on(&pair, descriptor);
    CHECK(strstr(esrpc_listener_get_address(pair.listening), path) != NULL);
    connect_to_path(&pair, path);
    await("client setup OK");
    check_conversation(&pair);
    CHECK_OK(esrpc_listener_close(pair.listening));
    await("listener closed OK");
    CHECK(!is_open(descriptor));
    CHECK(access(path, F_OK) == 0);
    pair_end(&pair);
    CHECK(unlink(path) == 0 && rmdir(folder) == 0);
}

/* Who connects between the two listeners waits in the socket. */
static void a_successor_goes_on_with_the_socket_of_a_closed_listener(void) {
    char folder[60], path[108];
    esrpc_socket duplicate = (esrpc_socket)-1;
    struct pair pair;
    struct party first = a_party("first", NULL, NULL);
    esrpc_listener *predecessor = NULL;
    esrpc_listener_callbacks callbacks = listener_callbacks();
    esrpc_listener_options *options = esrpc_listener_options_new();
    make_folder(folder);
    pair_begin(&pair);
    CHECK_OK(esrpc_listener_options_set_unix_path(options, esrpc_text(in_folder(folder, "socket", path))));
    CHECK_OK(esrpc_listener_options_set_keep_unix_file(options, true));
    CHECK_OK(esrpc_listener_options_set_runtime(options, pair.server_runtime));
    CHECK_OK(esrpc_listener_listen(options, &callbacks, &first, &predecessor));
    esrpc_listener_options_release(options);
    CHECK_OK(esrpc_listener_dup_socket(predecessor, &duplicate));
    CHECK((fcntl(duplicate, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK_OK(esrpc_listener_close(predecessor));
    await("first closed OK");
    {
        esrpc_socket late = (esrpc_socket)-1;
        CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_listener_dup_socket(predecessor, &late));
        CHECK(late == (esrpc_socket)-1);
    }
    esrpc_listener_release(predecessor);
    connect_to_path(&pair, path);
    listen_on(&pair, duplicate);
    await("client setup OK");
    check_conversation(&pair);
    pair_end(&pair);
    CHECK_EVENTS("first", "closed OK", "destroy");
    CHECK(access(path, F_OK) == 0);
    CHECK(unlink(path) == 0 && rmdir(folder) == 0);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_client_takes_a_connected_socket),
        TEST(a_listener_takes_connected_sockets_beside_its_own),
        TEST(a_listener_may_live_of_adopted_sockets_alone),
        TEST(an_adopted_connection_that_is_not_accepted_is_closed),
        TEST(what_a_client_sent_before_the_adoption_is_read),
        TEST(every_socket_has_one_owner_while_the_listener_closes),
        TEST(a_client_on_an_adopted_socket_has_its_deadlines),
        TEST(after_a_failed_connect_the_socket_is_the_callers),
        TEST(a_blocking_connect_takes_a_socket_once),
        TEST(after_a_failed_listen_or_adoption_the_socket_is_the_callers),
        TEST(the_file_of_an_adopted_unix_listener_stays),
        TEST(a_successor_goes_on_with_the_socket_of_a_closed_listener),
    };
    return RUN_TESTS(tests, argc, argv);
}
