/* Named pipes (Windows). Other tests run over them as well, as "over_unix". */
#include "blocking.h"

static void listen_as(struct pair *pair, const char *sddl) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener_callbacks callbacks = listener_callbacks();
    CHECK_OK(esrpc_listener_options_set_unix_abstract(options, esrpc_text(pair->unix_name)));
    CHECK_OK(esrpc_listener_options_set_pipe_security(options, esrpc_text(sddl)));
    CHECK_OK(esrpc_listener_options_set_runtime(options, pair->server_runtime));
    CHECK_OK(esrpc_listener_options_set_connection_options(options, pair->server_options));
    CHECK_OK(esrpc_listener_listen(options, &callbacks, &pair->listener, &pair->listening));
    esrpc_listener_options_release(options);
}

static void note_peer(struct party *self, const struct moment *now) {
    esrpc_peer_credentials peer;
    if (!is(now, "incoming") && !is(now, "setup")) return;
    peer.struct_size = sizeof peer;
    CHECK_OK(esrpc_connection_get_peer_credentials(now->connection, &peer));
    CHECK(peer.uid == UINT32_MAX && peer.gid == UINT32_MAX); /* 0 would be root elsewhere */
    note("%s sees %ld %s", self->name, (long)peer.pid, peer.sid);
}

static void both_ends_know_who_the_other_is(void) {
    struct pair pair;
    char expected[60];
    pair_begin(&pair);
    pair.listener.hook = pair.client.hook = note_peer;
    pair_connect(&pair);
    snprintf(expected, sizeof expected, "listener sees %ld S-1-5", (long)getpid());
    CHECK(place_of("listener sees", false) < place_of("server protocol", false));
    pair_end(&pair);
    size_t place = place_of("listener sees", false);
    CHECK(strncmp(recorder.events[place].text, expected, strlen(expected)) == 0);
    /* The same user and process. */
    CHECK(strcmp(strstr(recorder.events[place_of("client sees", false)].text, " sees "),
                 strstr(recorder.events[place].text, " sees ")) == 0);
}

static void addresses_name_the_pipe(void) {
    struct pair pair;
    char name[80];
    pair_open(&pair);
    snprintf(name, sizeof name, "pipe:\\\\.\\pipe\\%s", pair.unix_name);
    CHECK(strcmp(esrpc_listener_get_address(pair.listening), name) == 0);
    CHECK(strcmp(esrpc_connection_get_remote_address(pair.client_connection), name) == 0);
    CHECK(strcmp(esrpc_connection_get_local_address(pair.client_connection), "pipe:") == 0);
    CHECK(strcmp(esrpc_connection_get_local_address(pair.server_connection), name) == 0);
    CHECK(esrpc_listener_get_port(pair.listening) == 0);
    pair_end(&pair);
}

static void paths_that_name_no_pipe_are_refused(void) {
    static const char *const paths[] = {"/tmp/socket", "C:\\socket", "\\\\.\\pipe\\", "\\\\server\\pipe\\x", "\\\\.\\pip"};
    esrpc_client_options *client = esrpc_client_options_new();
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        CHECK_STATUS(ESRPC_ERROR_UNSUPPORTED, esrpc_client_options_set_unix_path(client, esrpc_text(paths[i])));
        CHECK(last_error_says("\\\\.\\pipe\\NAME"));
    }
    CHECK_OK(esrpc_client_options_set_unix_path(client, esrpc_text("\\\\.\\PIPE\\x")));
    esrpc_client_options_release(client);
}

static void a_name_may_have_256_characters(void) {
    char name[300] = "\\\\.\\pipe\\";
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener *listener = NULL;
    memset(name + 9, 'n', 257 - 9);
    CHECK_OK(esrpc_listener_options_set_unix_path(options, esrpc_text(name)));
    CHECK_STATUS(ESRPC_ERROR_PATH_TOO_LONG, esrpc_listener_listen(options, NULL, NULL, &listener));
    CHECK(last_error_says("257 characters"));
    esrpc_listener_options_release(options);
}

static void a_security_descriptor_says_who_may_connect(void) {
    struct pair pair;
    esrpc_listener_options *options = esrpc_listener_options_new();
    CHECK_INVALID(esrpc_listener_options_set_pipe_security(options, esrpc_text("nonsense")));
    CHECK_INVALID(esrpc_listener_options_set_pipe_security(options, bytes("\xff", 1)));
    CHECK_STATUS(ESRPC_ERROR_UNSUPPORTED, esrpc_listener_options_set_unix_mode(options, 0600));
    esrpc_listener_options_release(options);
    pair_begin(&pair);
    listen_as(&pair, "D:P(A;;GA;;;WD)");
    pair_dial(&pair);
    await("client setup OK");
    pair_end(&pair);
}

static void a_silent_client_is_given_up(void) {
    struct pair pair;
    pair_begin(&pair);
    pair.no_handshake = true;
    CHECK_OK(esrpc_connection_options_set_handshake_timeout_ms(pair.server_options, 100));
    pair_listen(&pair);
    pair_dial(&pair);
    await("client setup OK");
    await("listener failed HANDSHAKE_TIMED_OUT");
    await("client shutdown PEER_CLOSED");
    CHECK_NEVER("listener incoming");
    pair_end(&pair);
}

static void the_name_is_free_when_the_listener_has_closed(void) {
    for (int i = 0; i < 20; i++) {
        struct pair pair;
        pair_begin(&pair);
        strcpy(pair.unix_name, "esrpc-test-again");
        pair_connect(&pair);
        CHECK_OK(esrpc_listener_close(pair.listening));
        CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
        esrpc_client_options *options = pair_client_options(&pair);
        esrpc_connection *late = NULL;
        /* The connection still has its instance, at which nobody waits. */
        CHECK_OK(esrpc_connection_abort(pair.client_connection));
        await("server shutdown");
        CHECK_STATUS(ESRPC_ERROR_NOT_FOUND, esrpc_connection_connect_blocking(options, PATIENCE_MS, &late));
        esrpc_client_options_release(options);
        pair_end(&pair);
        recorder_clear();
    }
}

enum { CROWD = 60 };

/* More than instances wait: those who find the pipe busy try again. */
static void a_crowd_gets_in(void) {
    struct pair pair;
    esrpc_connection *crowd[CROWD] = {NULL};
    blocking_begin(&pair);
    pair_listen(&pair);
    for (int i = 0; i < CROWD; i++) pair_dial_as(&pair, &pair.client, &crowd[i]);
    await_count("client setup OK", CROWD);
    for (int i = 0; i < CROWD; i++) {
        check_call(crowd[i], "echo", "echo");
        CHECK_OK(esrpc_connection_close(crowd[i], ESRPC_OK));
        esrpc_connection_release(crowd[i]);
    }
    await_count("client destroy", CROWD);
    await_count("server shutdown", CROWD);
    pair_end(&pair);
}

/* What was written before a close arrives, however much it is. */
static void what_was_sent_before_a_close_arrives(void) {
    struct pair pair;
    struct party call = a_party("call", NULL, NULL);
    pair_open(&pair);
    esrpc_stream *stream = open_stream(pair.client_connection, &call);
    await("handler message first");
    CHECK_OK(send_zeros(stream, 5 * 1024 * 1024, "zeros"));
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    await("handler message 5242880 bytes");
    await("flush zeros OK");
    await("server shutdown PEER_CLOSED");
    esrpc_stream_release(stream);
    pair_end(&pair);
}

/* A peer that reads nothing cannot hold the pipe of a connection that has ended. */
static void an_abort_does_not_wait_for_the_reader(void) {
    struct pair pair;
    struct party call = a_party("call", NULL, NULL);
    pair_open(&pair);
    esrpc_stream *stream = open_stream(pair.client_connection, &call);
    await("handler message first");
    CHECK_OK(esrpc_connection_pause_reading(pair.server_connection));
    await_loop(pair.server_connection);
    CHECK_OK(send_zeros(stream, 5 * 1024 * 1024, "zeros"));
    CHECK_OK(esrpc_connection_abort(pair.client_connection));
    await("flush zeros ABORTED");
    await("client shutdown ABORTED");
    CHECK_OK(esrpc_connection_resume_reading(pair.server_connection));
    await("server shutdown");
    esrpc_stream_release(stream);
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(both_ends_know_who_the_other_is),
        TEST(addresses_name_the_pipe),
        TEST(paths_that_name_no_pipe_are_refused),
        TEST(a_name_may_have_256_characters),
        TEST(a_security_descriptor_says_who_may_connect),
        TEST(a_silent_client_is_given_up),
        TEST(the_name_is_free_when_the_listener_has_closed),
        TEST(a_crowd_gets_in),
        TEST(what_was_sent_before_a_close_arrives),
        TEST(an_abort_does_not_wait_for_the_reader),
    };
    over_unix_socket = true;
    return RUN_TESTS(tests, argc, argv);
}
