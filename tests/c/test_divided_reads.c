/* Linux ends a read early, with more to be had, behind a descriptor that was passed, where the sender's credentials change and
   at the urgent mark. What lies behind that is delivered all the same, without waiting for the peer to send more. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* for SO_PASSCRED */
#endif
#include "adopted_sockets.h"

#include "certificates.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16 */
#endif

/* A client and a server of the library, and between them a relay that the test controls. */
struct relay {
    struct pair pair;
    int client_side, server_side;
};

static size_t relay_once(int from, int to) {
    char buffer[64 * 1024];
    ssize_t count = recv(from, buffer, sizeof buffer, MSG_DONTWAIT);
    if (count <= 0) return 0;
    CHECK(send(to, buffer, (size_t)count, MSG_NOSIGNAL) == count);
    return (size_t)count;
}

/* Passes everything on until that has happened. */
static void relay_until(const struct relay *relay, const char *event) {
    struct timespec now, deadline = deadline_in(PATIENCE_SECONDS);
    struct pollfd sides[2];
    memset(sides, 0, sizeof sides);
    sides[0].fd = relay->client_side;
    sides[1].fd = relay->server_side;
    sides[0].events = sides[1].events = POLLIN;
    while (count_of(event) == 0) {
        poll(sides, 2, 10); /* the event may come after the last byte */
        relay_once(relay->client_side, relay->server_side);
        relay_once(relay->server_side, relay->client_side);
        clock_gettime(CLOCK_MONOTONIC, &now);
        CHECK(now.tv_sec < deadline.tv_sec);
    }
}

/* The relay's server side is the other end of a socket on which `prepare` is called before the library gets it. */
static void relay_begin(struct relay *relay, void (*prepare)(int server_socket)) {
    int client[2], server[2];
    esrpc_client_options *options;
    esrpc_listener_options *listener_options = esrpc_listener_options_new();
    memset(relay, 0, sizeof *relay);
    patient_pair_begin(&relay->pair);
    CHECK_OK(esrpc_connection_options_set_tls_timeout_ms(relay->pair.client_options, LONG_MS));
    CHECK_OK(esrpc_connection_options_set_tls_timeout_ms(relay->pair.server_options, LONG_MS));
    CHECK_OK(esrpc_listener_options_set_adopt_only(listener_options));
    (over_unix_socket ? make_pair_of_sockets : make_tcp_pair)(client);
    (over_unix_socket ? make_pair_of_sockets : make_tcp_pair)(server);
    options = options_with(client[0]);
    if (over_tls) {
        esrpc_tls_config *trusting = client_that_trusts("ca.pem"), *serving = server_tls();
        CHECK_OK(esrpc_client_options_set_tls(options, trusting, esrpc_text("server.example")));
        CHECK_OK(esrpc_listener_options_set_tls(listener_options, serving));
        esrpc_tls_config_release(trusting);
        esrpc_tls_config_release(serving);
    }
    listen_with(&relay->pair, listener_options);
    relay->client_side = client[1];
    relay->server_side = server[0];
    if (prepare != NULL) prepare(server[1]);
    CHECK_OK(esrpc_listener_adopt_connection(relay->pair.listening, server[1]));
    dial_with(&relay->pair, &relay->pair.client, options, &relay->pair.client_connection);
    relay_until(relay, "client setup OK");
}

static void relay_end(struct relay *relay) {
    CHECK_OK(esrpc_connection_abort(relay->pair.client_connection));
    close(relay->client_side);
    close(relay->server_side);
    pair_end(&relay->pair);
}

/* The bytes that a PING of the client's has on the wire. */
static size_t bytes_of_ping(const struct relay *relay, const char *payload, char *bytes, size_t capacity) {
    ssize_t count;
    CHECK_OK(ping(relay->pair.client_connection, payload, NULL));
    CHECK_OK(esrpc_connection_wait_flush(relay->pair.client_connection, PATIENCE_MS));
    count = recv(relay->client_side, bytes, capacity, 0);
    CHECK(count > 0 && (size_t)count < capacity);
    return (size_t)count;
}

typedef void (*send_function)(int to, const char *bytes, size_t count);

static void send_plainly(int to, const char *bytes, size_t count) {
    CHECK(send(to, bytes, count, MSG_NOSIGNAL) == (ssize_t)count);
}

/* False if the other side takes none. */
static bool pass_a_descriptor(int to, const char *bytes, size_t count) {
    ssize_t sent;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part;
    struct msghdr message;
    int passed = 2;
    memset(&message, 0, sizeof message);
    memset(&control, 0, sizeof control);
    part.iov_base = (void *)bytes;
    part.iov_len = count;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &passed, sizeof passed);
    sent = sendmsg(to, &message, MSG_NOSIGNAL);
    CHECK(sent == (ssize_t)count || (sent < 0 && errno == EPERM));
    return sent >= 0;
}

static void send_with_a_descriptor(int to, const char *bytes, size_t count) {
    CHECK(pass_a_descriptor(to, bytes, count));
}

/* The sender is another process. */
static void send_from_a_child(int to, const char *bytes, size_t count) {
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        if (send(to, bytes, count, MSG_NOSIGNAL) == (ssize_t)count) execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void send_and_mark_as_urgent(int to, const char *bytes, size_t count) {
    send_plainly(to, bytes, count);
    if (send(to, "!", 1, MSG_OOB | MSG_NOSIGNAL) < 0) CHECK(over_unix_socket && errno == EOPNOTSUPP);
}

/* Two messages lie in the socket when the server reads again, the first one sent in a special way; then two more, so that it
   is seen that the first time changed nothing. */
static void check_both_arrive(const struct relay *relay, send_function send_first, send_function send_second) {
    static const char *const payloads[] = {"one", "two", "three", "four"};
    esrpc_connection *server = relay->pair.server_connection;
    char data[4096], event[60];
    for (size_t i = 0; i < 4; i += 2) {
        struct gate gate;
        hold_loop(server, &gate);
        send_first(relay->server_side, data, bytes_of_ping(relay, payloads[i], data, sizeof data));
        send_second(relay->server_side, data, bytes_of_ping(relay, payloads[i + 1], data, sizeof data));
        gate_open(&gate);
        snprintf(event, sizeof event, "server protocol PING %s", payloads[i + 1]);
        await(event);
        CHECK_ONCE(event);
    }
}

static void set_option(int socket, int option, int value) {
    /* Older systems do not know SO_PASSRIGHTS. */
    CHECK(setsockopt(socket, SOL_SOCKET, option, &value, sizeof value) == 0 || errno == ENOPROTOOPT);
}

static int kept;

static void keep_a_duplicate(int server_socket) {
    kept = dup(server_socket);
    CHECK(kept >= 0);
}

/* The application has kept a duplicate of the socket, and undoes what the library has set on it. */
static void what_lies_behind_a_passed_descriptor_is_delivered(void) {
    struct relay relay;
    size_t descriptors;
    if (!over_unix_socket) return; /* TCP passes none */
    relay_begin(&relay, keep_a_duplicate);
    set_option(kept, SO_PASSRIGHTS, 1);
    close(kept);
    descriptors = count_descriptors();
    check_both_arrive(&relay, send_with_a_descriptor, send_plainly);
    CHECK(count_descriptors() == descriptors);
    relay_end(&relay);
}

static void want_credentials(int server_socket) {
    set_option(server_socket, SO_PASSCRED, 1);
}

static void what_another_process_sends_is_delivered(void) {
    struct relay relay;
    relay_begin(&relay, over_unix_socket ? want_credentials : NULL);
    check_both_arrive(&relay, send_plainly, send_from_a_child);
    relay_end(&relay);
}

static void what_another_process_sends_is_delivered_also_if_the_socket_changes(void) {
    struct relay relay;
    if (!over_unix_socket) return;
    relay_begin(&relay, keep_a_duplicate);
    want_credentials(kept);
    close(kept);
    check_both_arrive(&relay, send_plainly, send_from_a_child);
    relay_end(&relay);
}

/* The system would close what is passed on the loop's thread, and a socket that lingers takes its time for that. */
static void a_peer_cannot_hold_the_loop_by_a_descriptor_that_closes_slowly(void) {
    int probe[2], value;
    socklen_t len = sizeof value;
    struct raw_listener listener;
    struct raw raw;
    struct relay relay;
    make_pair_of_sockets(probe);
    bool can_refuse = getsockopt(probe[0], SOL_SOCKET, SO_PASSRIGHTS, &value, &len) == 0;
    close(probe[0]);
    close(probe[1]);
    if (!over_unix_socket || over_tls || !can_refuse) return;

    relay_begin(&relay, NULL);
    CHECK(!pass_a_descriptor(relay.server_side, "x", 1)); /* adopted */
    relay_end(&relay);

    recorder_clear();
    pair_begin(&relay.pair);
    call_server(&relay.pair, &raw);
    CHECK(!pass_a_descriptor(raw.descriptor, "x", 1)); /* accepted */
    raw_close(&raw);
    pair_end(&relay.pair);

    recorder_clear();
    pair_begin(&relay.pair);
    serve_client(&relay.pair, &listener, &raw);
    CHECK(!pass_a_descriptor(raw.descriptor, "x", 1)); /* dialled */
    raw_close(&raw);
    raw_listener_close(&listener);
    pair_end(&relay.pair);
}

static void what_lies_behind_the_urgent_mark_is_delivered(void) {
    struct relay relay;
    relay_begin(&relay, NULL);
    check_both_arrive(&relay, send_and_mark_as_urgent, send_plainly);
    relay_end(&relay);
}

static void want_urgent_bytes_inline(int server_socket) {
    set_option(server_socket, SO_OOBINLINE, 1);
}

/* An adopted socket may have been set to deliver urgent bytes among the others, where they would damage a message. */
static void urgent_bytes_are_not_part_of_the_messages(void) {
    struct relay relay;
    relay_begin(&relay, want_urgent_bytes_inline);
    check_both_arrive(&relay, send_and_mark_as_urgent, send_plainly);
    relay_end(&relay);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(what_lies_behind_a_passed_descriptor_is_delivered),
        TEST(what_another_process_sends_is_delivered),
        TEST(what_another_process_sends_is_delivered_also_if_the_socket_changes),
        TEST(a_peer_cannot_hold_the_loop_by_a_descriptor_that_closes_slowly),
        TEST(what_lies_behind_the_urgent_mark_is_delivered),
        TEST(urgent_bytes_are_not_part_of_the_messages),
    };
    return RUN_TESTS(tests, argc, argv);
}
