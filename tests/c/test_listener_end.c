/* A listener's on_closed is the last of its callbacks but on_destroy, also for connections that are on their way from the
   listener's thread to their own, or in their TLS handshake. */
#include "raw_peer.h"

#include "certificates.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

enum { LOOPS = 4, CLIENTS = 24, ROUNDS = 40 };

static void serve_tls(esrpc_listener_options *options) {
    esrpc_tls_config *tls = server_tls();
    CHECK_OK(esrpc_listener_options_set_tls(options, tls));
    esrpc_tls_config_release(tls);
}

/* With this many threads in the server's runtime. */
static void begin_with_loops(struct pair *pair, uint32_t loops, bool over_tls) {
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    patient_pair_begin(pair);
    esrpc_runtime_release(pair->server_runtime);
    CHECK_OK(esrpc_runtime_options_set_thread_count(options, loops));
    CHECK_OK(esrpc_runtime_new(options, &pair->server_runtime));
    esrpc_runtime_options_release(options);
    if (over_tls) pair->prepare_listener = serve_tls;
}

/* Hands the listener one end of a new connection; returns the other. */
static int adopt_one(const struct pair *pair) {
    int both[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, both) == 0);
    CHECK_OK(esrpc_listener_adopt_connection(pair->listening, both[1]));
    CHECK(fcntl(both[0], F_SETFL, O_NONBLOCK) == 0);
    return both[0];
}

/* Sends text and waits until the library has read it, which no callback reports. */
static void await_read_of(struct raw *client, const char *text) {
    int unread = 1;
    CHECK(raw_send(client, text, strlen(text)));
    for (int64_t end = now_ns() + (int64_t)PATIENCE_MS * 1000000; unread > 0 && now_ns() < end; pass_time(1))
        CHECK(ioctl(client->descriptor, SIOCOUTQ, &unread) == 0);
    CHECK(unread == 0);
}

/* All reports to the listener came before this. */
static void check_closed_is_last(void) {
    size_t closed = place_of("listener closed", false);
    CHECK_ONCE("listener closed");
    if (count_of("listener incoming") > 0) CHECK(place_of("listener incoming", true) < closed);
    if (count_of("listener failed") > 0) CHECK(place_of("listener failed", true) < closed);
    CHECK(place_of("listener destroy", false) > closed);
}

static void connections_in_their_tls_handshake_end_with_their_listener(void) {
    struct pair pair;
    struct raw clients[CLIENTS];
    begin_with_loops(&pair, 1, true);
    pair_listen(&pair);
    for (size_t i = 0; i < CLIENTS; i++) raw_begin(&clients[i], adopt_one(&pair));
    for (size_t i = 0; i < CLIENTS; i++) await_read_of(&clients[i], "\x16");
    CHECK(esrpc_listener_get_open_connections(pair.listening) == CLIENTS);
    CHECK_OK(esrpc_listener_close(pair.listening));
    CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
    for (size_t i = 0; i < CLIENTS; i++) raw_expect_end(&clients[i]);
    CHECK(esrpc_listener_get_open_connections(pair.listening) == 0);
    for (size_t i = 0; i < CLIENTS; i++) raw_close(&clients[i]);
    pair_end(&pair);
    CHECK_EVENTS("listener", "closed OK", "destroy");
}

static void a_drain_reports_them_first(void) {
    struct pair pair;
    struct raw clients[CLIENTS];
    begin_with_loops(&pair, LOOPS, true);
    pair_listen(&pair);
    for (size_t i = 0; i < CLIENTS; i++) raw_begin(&clients[i], adopt_one(&pair));
    CHECK_OK(esrpc_listener_drain(pair.listening, ESRPC_NO_TIMEOUT));
    CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
    for (size_t i = 0; i < CLIENTS; i++) raw_close(&clients[i]);
    pair_end(&pair);
    CHECK_COUNT(CLIENTS, "listener failed DRAINING");
    check_closed_is_last();
}

static void a_shutdown_reports_them_first(void) {
    struct pair pair;
    struct raw clients[CLIENTS];
    begin_with_loops(&pair, LOOPS, true);
    pair_listen(&pair);
    for (size_t i = 0; i < CLIENTS; i++) raw_begin(&clients[i], adopt_one(&pair));
    CHECK_OK(esrpc_runtime_shutdown(pair.server_runtime));
    CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
    for (size_t i = 0; i < CLIENTS; i++) raw_close(&clients[i]);
    esrpc_listener_release(pair.listening);
    pair.listening = NULL;
    pair_end(&pair);
    CHECK_ONCE("listener closed RUNTIME_SHUTDOWN");
    CHECK_COUNT(count_of("listener failed"), "listener failed RUNTIME_SHUTDOWN");
    check_closed_is_last();
}

static struct gate announcing;

static void wait_and_note(struct party *self, const struct moment *now) {
    if (!is(now, "incoming")) return;
    gate_pass(&announcing);
    note("%s announced", self->name);
}

/* The connection's thread is inside on_incoming_connection; the listener's has nothing else to do. */
static void closed_comes_after_a_connection_that_is_being_announced(void) {
    for (int drain = 0; drain <= 1; drain++) {
        struct pair pair;
        struct raw client;
        recorder_clear();
        memset(&announcing, 0, sizeof announcing);
        begin_with_loops(&pair, 2, false);
        pair.listener.hook = wait_and_note;
        pair_listen(&pair);
        raw_dial(&client, &pair);
        gate_await(&announcing);
        if (drain)
            CHECK_OK(esrpc_listener_drain(pair.listening, ESRPC_NO_TIMEOUT));
        else
            CHECK_OK(esrpc_listener_close(pair.listening));
        CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_listener_wait_closed(pair.listening, SHORT_MS));
        gate_open(&announcing);
        CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
        raw_close(&client);
        pair_end(&pair);
        CHECK_BEFORE("listener announced", "listener closed OK");
    }
}

struct crowd {
    struct pair *pair;
    struct raw clients[CLIENTS];
};

/* Clients that connect until the listener is closed; some go, some say something that is neither TLS nor a message. */
static void *come_and_go(void *argument) {
    struct crowd *crowd = (struct crowd *)argument;
    for (size_t i = 0; i < CLIENTS; i++) {
        int both[2];
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, both) == 0);
        CHECK(fcntl(both[0], F_SETFL, O_NONBLOCK) == 0);
        raw_begin(&crowd->clients[i], both[0]);
        esrpc_status status = esrpc_listener_adopt_connection(crowd->pair->listening, both[1]);
        if (status != ESRPC_OK) {
            CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, status);
            close(both[1]);
        }
        if (i % 3 == 1) raw_send(&crowd->clients[i], "GET / HTTP/1.1\r\n\r\n", 18);
        if (i % 2 == 1) raw_close(&crowd->clients[i]);
        note("came");
    }
    return NULL;
}

static void nothing_comes_after_closed_under_load(void) {
    for (size_t round = 0; round < ROUNDS; round++) {
        struct pair pair;
        struct crowd crowd;
        pthread_t thread;
        recorder_clear();
        begin_with_loops(&pair, LOOPS, round % 2 == 0);
        pair_listen(&pair);
        crowd.pair = &pair;
        CHECK(pthread_create(&thread, NULL, come_and_go, &crowd) == 0);
        await_count("came", round % CLIENTS);
        if (round % 4 < 2)
            CHECK_OK(esrpc_listener_close(pair.listening));
        else
            CHECK_OK(esrpc_listener_drain(pair.listening, 0));
        CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
        CHECK(pthread_join(thread, NULL) == 0);
        for (size_t i = 0; i < CLIENTS; i += 2) raw_close(&crowd.clients[i]);
        if (round % 4 < 2) CHECK_OK(esrpc_listener_drain(pair.listening, 0));
        pair_end(&pair);
        check_closed_is_last();
    }
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(connections_in_their_tls_handshake_end_with_their_listener),
        TEST(a_drain_reports_them_first),
        TEST(a_shutdown_reports_them_first),
        TEST(closed_comes_after_a_connection_that_is_being_announced),
        TEST(nothing_comes_after_closed_under_load),
    };
    return RUN_TESTS(tests, argc, argv);
}
