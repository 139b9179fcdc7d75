/* Descriptors that are not the socket that is needed. */
#include "adopted_sockets.h"

typedef esrpc_status (*use_socket)(esrpc_socket socket);

static esrpc_status use_for_client(esrpc_socket socket) {
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_status status = esrpc_client_options_set_socket(options, socket);
    esrpc_client_options_release(options);
    return status;
}

static esrpc_status use_for_listener(esrpc_socket socket) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_status status = esrpc_listener_options_set_socket(options, socket);
    esrpc_listener_options_release(options);
    return status;
}

static esrpc_listener *adopter;

static esrpc_status use_for_server(esrpc_socket socket) {
    return esrpc_listener_adopt_connection(adopter, socket);
}

/* The call refuses the descriptor with these words, and leaves it as it was. */
static void check_refused(use_socket use, int descriptor, const char *says) {
    CHECK_STATUS(ESRPC_ERROR_WRONG_SOCKET, use(descriptor));
    if (!last_error_says(says)) {
        fprintf(stderr, "\"%s\" does not say \"%s\"\n", esrpc_last_error_message(), says);
        abort();
    }
    CHECK(descriptor < 0 || !is_open(descriptor) || is_ours(descriptor));
}

static void what_is_not_such_a_socket_is_refused_with_the_reason(void) {
    static const use_socket uses[] = {use_for_client, use_for_server, use_for_listener};
    struct pair pair;
    struct sockaddr_in address = ipv4_address("127.0.0.1", 0);
    int pipes[2], datagrams[2], packets[2], streams[2], closed;
    int bound = socket(AF_INET, SOCK_STREAM, 0), listening = socket(AF_INET, SOCK_STREAM, 0);
    pair_begin(&pair);
    listen_nowhere(&pair);
    adopter = pair.listening;
    CHECK(pipe(pipes) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, datagrams) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packets) == 0);
    make_pair_of_sockets(streams);
    CHECK(bind(bound, (const struct sockaddr *)&address, sizeof address) == 0);
    CHECK(bind(listening, (const struct sockaddr *)&address, sizeof address) == 0 && listen(listening, 1) == 0);
    closed = dup(bound);
    CHECK(closed >= 0 && close(closed) == 0);
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        check_refused(uses[i], -1, "negative");
        check_refused(uses[i], -2147483647 - 1, "negative");
        check_refused(uses[i], closed, "is not open");
        check_refused(uses[i], 2147483647, "is not open");
        check_refused(uses[i], pipes[0], "is not a socket");
        check_refused(uses[i], datagrams[0], "not a stream socket");
        check_refused(uses[i], packets[0], "not a stream socket");
        check_refused(uses[i], bound, uses[i] == use_for_listener ? "does not listen" : "not connected");
        if (uses[i] == use_for_listener)
            check_refused(uses[i], streams[0], "is a connected socket");
        else
            check_refused(uses[i], listening, "is a listening socket");
    }
    for (int i = 0; i < 2; i++) close(pipes[i]), close(datagrams[i]), close(packets[i]), close(streams[i]);
    close(bound);
    close(listening);
    pair_end(&pair);
    CHECK_NEVER("listener failed");
}

/* Options remember a number; what it stands for when they are used counts. */
static void a_socket_that_has_changed_since_it_was_set_is_refused(void) {
    int both[2];
    struct raw_listener listener;
    struct pair pair;
    esrpc_connection *connection = NULL;
    esrpc_listener *none = NULL;
    esrpc_client_options *options;
    esrpc_listener_options *listener_options = esrpc_listener_options_new();
    pair_begin(&pair);
    make_pair_of_sockets(both);
    options = options_with(both[0]);
    CHECK(raw_listen_at(&listener, "127.0.0.1", 0, 1));
    CHECK_OK(esrpc_listener_options_set_socket(listener_options, listener.descriptor));
    raw_listener_close(&listener);
    close(both[0]);
    CHECK_STATUS(ESRPC_ERROR_WRONG_SOCKET, esrpc_connection_connect(options, NULL, NULL, &connection));
    CHECK(connection == NULL);
    CHECK_STATUS(ESRPC_ERROR_WRONG_SOCKET, esrpc_listener_listen(listener_options, NULL, NULL, &none));
    CHECK(none == NULL);
    esrpc_client_options_release(options);
    esrpc_listener_options_release(listener_options);
    close(both[1]);
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(what_is_not_such_a_socket_is_refused_with_the_reason),
        TEST(a_socket_that_has_changed_since_it_was_set_is_refused),
    };
    return RUN_TESTS(tests, argc, argv);
}
