/* Peers that die, reset or send garbage: this side gets exactly the callbacks that it was promised, with the reason. */
#include "client.h"

#include <signal.h>
#include <sys/wait.h>

/* A server in a process of its own. */
struct server_process {
    pid_t pid;
    int got_connect; /* readable once CONNECT has come */
    uint32_t port;
    char unix_name[40];
};

static void answer_and_stop_reading(struct party *self, const struct moment *now) {
    struct pair *pair = (struct pair *)self->data;
    if (!is(now, "message")) return;
    CHECK_OK(send_text(now->stream, 0, "reply", NULL));
    CHECK_OK(esrpc_connection_pause_reading(pair->server_connection));
}

static int connect_noted;

static void note_connect(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "protocol")) CHECK(write(connect_noted, "", 1) == 1);
}

static void serve_until_killed(int ready, bool ignore_connect) {
    struct pair pair;
    struct server_process self;
    pair_begin(&pair);
    connect_noted = ready;
    pair.server.hook = note_connect;
    pair.ignore_connect = ignore_connect;
    pair.handler.hook = answer_and_stop_reading;
    pair_listen(&pair);
    memset(&self, 0, sizeof self);
    self.port = esrpc_listener_get_port(pair.listening);
    strcpy(self.unix_name, pair.unix_name);
    CHECK(write(ready, &self, sizeof self) == (ssize_t)sizeof self);
    for (;;) pause();
}

static struct server_process start_server(bool ignore_connect) {
    struct server_process server;
    int ready[2];
    pid_t pid, parent = getpid();
    CHECK(pipe(ready) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        /* It must not outlive a test that fails. */
        alarm(PATIENCE_SECONDS * 4);
        CHECK(getppid() == parent);
        close(ready[0]);
        serve_until_killed(ready[1], ignore_connect);
    }
    close(ready[1]);
    CHECK(read(ready[0], &server, sizeof server) == (ssize_t)sizeof server);
    server.pid = pid;
    server.got_connect = ready[0];
    return server;
}

static void kill_server(const struct server_process *server) {
    int status;
    CHECK(kill(server->pid, SIGKILL) == 0);
    CHECK(waitpid(server->pid, &status, 0) == server->pid);
    CHECK(WIFSIGNALED(status));
    close(server->got_connect);
}

/* The system reports a killed peer as an end, or as a reset if the peer had not read everything. */
static const char *check_killed(struct client *client) {
    esrpc_status status;
    CHECK_ENDED(status = esrpc_connection_wait_shutdown(client->connection, PATIENCE_MS));
    if (status == ESRPC_ERROR_PEER_CLOSED) {
        check_end(client->connection, ESRPC_ERROR_PEER_CLOSED, "closed the connection");
        return "PEER_CLOSED";
    }
    check_end(client->connection, ESRPC_ERROR_CONNECTION_RESET, "(errno ");
    return "CONNECTION_RESET";
}

static void a_server_killed_in_mid_conversation(void) {
    struct server_process server = start_server(false);
    struct client client;
    char shutdown_event[40], closed_event[40];
    const char *reason;
    client_begin(&client);
    client_dial(&client, client_options_for(server.port, server.unix_name, true));
    await("client setup OK");
    client.stream = open_stream(client.connection, &client.call);
    await("call message reply");
    kill_server(&server);
    reason = check_killed(&client);
    CHECK(esrpc_stream_get_end_status(client.stream) == esrpc_connection_get_end_status(client.connection));
    CHECK(strcmp(esrpc_stream_get_end_message(client.stream), esrpc_connection_get_end_message(client.connection)) == 0);
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, ping(client.connection, "late", "late"));
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, send_text(client.stream, 0, "late", "late"));
    client_end(&client);
    snprintf(closed_event, sizeof closed_event, "closed %s", reason);
    snprintf(shutdown_event, sizeof shutdown_event, "shutdown %s", reason);
    CHECK_EVENTS_MADE("call", "message reply", closed_event, "destroy");
    CHECK_EVENTS_MADE("client", "setup OK", shutdown_event, "destroy");
    CHECK_BEFORE("call closed", "client shutdown");
    CHECK_BEFORE("call destroy", "client destroy");
    CHECK_NEVER("flush late");
}

static void a_server_killed_while_sends_wait(void) {
    enum { SENDS = 12, SIZE = 1024 * 1024 };
    struct server_process server = start_server(false);
    struct client client;
    uint8_t *payload = (uint8_t *)calloc(1, SIZE);
    char lost_event[48];
    client_begin(&client);
    client_dial(&client, client_options_for(server.port, server.unix_name, true));
    await("client setup OK");
    client.stream = open_stream(client.connection, &client.call);
    await("call message reply");
    for (int i = 0; i < SENDS; i++)
        CHECK_OK(esrpc_stream_send_message(client.stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL,
                                           bytes(payload, SIZE), on_flush, (void *)"large"));
    kill_server(&server);
    snprintf(lost_event, sizeof lost_event, "flush large %s", check_killed(&client));
    client_end(&client);
    CHECK_COUNT(SENDS, "flush large");
    CHECK(count_of("flush large OK") < SENDS);
    CHECK_COUNT(SENDS - count_of("flush large OK"), lost_event);
    CHECK_BEFORE("flush large", "call closed");
    CHECK_ONCE("call closed");
    CHECK_ONCE("client shutdown");
    free(payload);
}

static void a_server_killed_before_it_answers_connect(void) {
    struct server_process server = start_server(true);
    struct client client;
    char setup_event[40], byte;
    client_begin(&client);
    client_dial(&client, client_options_for(server.port, server.unix_name, true));
    CHECK(read(server.got_connect, &byte, 1) == 1);
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_wait_setup(client.connection, 0));
    kill_server(&server);
    snprintf(setup_event, sizeof setup_event, "setup %s", check_killed(&client));
    client_end(&client);
    CHECK_EVENTS_MADE("client", setup_event, "destroy");
}

/* Garbage */

static uint32_t crc32_of(const uint8_t *data, size_t len) {
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xedb88320 & (0 - (crc & 1)));
    }
    return ~crc;
}

static void put_u32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* A prelude whose checksum is right, whatever it claims. */
static void put_prelude(uint8_t *at, uint32_t total_length, uint32_t headers_length) {
    put_u32(at, total_length);
    put_u32(at + 4, headers_length);
    put_u32(at + 8, crc32_of(at, 8));
}

struct garbage {
    uint8_t data[64];
    size_t len;
    /* Before the end of the handshake, and after it. */
    esrpc_status early, late;
    const char *says;
};

static struct garbage a_garbage(size_t len, esrpc_status early, esrpc_status late, const char *says) {
    struct garbage garbage;
    memset(&garbage, 0, sizeof garbage);
    garbage.len = len;
    garbage.early = early;
    garbage.late = late;
    garbage.says = says;
    return garbage;
}

enum { GARBAGES = 8 };

static void make_garbages(struct garbage *all) {
    all[0] = a_garbage(28, ESRPC_ERROR_PRELUDE_CHECKSUM, ESRPC_ERROR_PRELUDE_CHECKSUM, "prelude");
    memcpy(all[0].data, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    /* What it claims does not have to come. */
    all[1] = a_garbage(12, ESRPC_ERROR_HANDSHAKE_MESSAGE_TOO_LARGE, ESRPC_ERROR_MESSAGE_TOO_LARGE, "4294967295");
    put_prelude(all[1].data, 0xffffffff, 0);
    all[2] = a_garbage(12, ESRPC_ERROR_MESSAGE_LENGTH, ESRPC_ERROR_MESSAGE_LENGTH, "15");
    put_prelude(all[2].data, 15, 0);
    all[3] = a_garbage(12, ESRPC_ERROR_HEADERS_LENGTH, ESRPC_ERROR_HEADERS_LENGTH, "85");
    put_prelude(all[3].data, 100, 85);
    all[4] = a_garbage(16, ESRPC_ERROR_MESSAGE_CHECKSUM, ESRPC_ERROR_MESSAGE_CHECKSUM, "checksum");
    put_prelude(all[4].data, 16, 0);
    /* Cut off. */
    all[5] = a_garbage(14, ESRPC_ERROR_INCOMPLETE, ESRPC_ERROR_INCOMPLETE, "14");
    put_prelude(all[5].data, 1000, 0);
    all[6] = a_garbage(3, ESRPC_ERROR_INCOMPLETE, ESRPC_ERROR_INCOMPLETE, "3");
    /* A header of type 10 in a sound frame. */
    all[7] = a_garbage(19, ESRPC_ERROR_UNKNOWN_HEADER_TYPE, ESRPC_ERROR_UNKNOWN_HEADER_TYPE, "10");
    put_prelude(all[7].data, 19, 3);
    memcpy(all[7].data + 12, "\1x\12", 3);
    put_u32(all[7].data + 15, crc32_of(all[7].data, 15));
}

static void garbage_instead_of_the_handshake(void) {
    struct garbage all[GARBAGES];
    make_garbages(all);
    for (int i = 0; i < GARBAGES; i++) {
        struct raw peer;
        struct client client;
        char event[64], name[16];
        recorder_clear();
        client_begin(&client);
        client_dial_raw(&client, &peer, true);
        CHECK(raw_send(&peer, all[i].data, all[i].len));
        raw_finish(&peer);
        check_end(client.connection, all[i].early, all[i].says);
        client_end(&client);
        snprintf(event, sizeof event, "setup %s", short_name(all[i].early, name));
        CHECK_EVENTS_MADE("client", event, "destroy");
    }
}

static void garbage_before_a_handshake_that_the_application_does(void) {
    struct garbage all[GARBAGES];
    make_garbages(all);
    for (int i = 0; i < GARBAGES; i++) {
        struct raw peer;
        struct client client;
        char event[64], name[16];
        recorder_clear();
        client_begin(&client);
        client_dial_raw(&client, &peer, false);
        await("client setup OK");
        CHECK(raw_send(&peer, all[i].data, all[i].len));
        raw_finish(&peer);
        check_end(client.connection, all[i].early, all[i].says);
        client_end(&client);
        snprintf(event, sizeof event, "shutdown %s", short_name(all[i].early, name));
        CHECK_EVENTS_MADE("client", "setup OK", event, "destroy");
    }
}

static void garbage_in_a_conversation(void) {
    struct garbage all[GARBAGES];
    make_garbages(all);
    for (int i = 0; i < GARBAGES; i++) {
        struct raw peer;
        struct client client;
        char closed[64], event[64], name[16];
        recorder_clear();
        client_begin(&client);
        client_dial_raw(&client, &peer, true);
        raw_send_connect_ack(&peer);
        await("client setup OK");
        client.stream = open_stream(client.connection, &client.call);
        /* What came before the garbage is delivered, also if it comes in the same read. */
        raw_send_message(&peer, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, 1, NULL, "sound");
        CHECK(raw_send(&peer, all[i].data, all[i].len));
        raw_finish(&peer);
        check_end(client.connection, all[i].late, all[i].says);
        client_end(&client);
        snprintf(closed, sizeof closed, "closed %s", short_name(all[i].late, name));
        snprintf(event, sizeof event, "shutdown %s", short_name(all[i].late, name));
        CHECK_EVENTS_MADE("call", "message sound", closed, "destroy");
        CHECK_EVENTS_MADE("client", "setup OK", event, "destroy");
    }
}

static void garbage_from_clients_ends_only_their_connections(void) {
    struct garbage all[GARBAGES];
    struct pair pair;
    make_garbages(all);
    pair_open(&pair);
    for (int i = 0; i < GARBAGES * 2; i++) {
        const struct garbage *garbage = &all[i / 2];
        bool after_handshake = i % 2 == 1;
        char event[64], name[16];
        size_t before;
        struct raw raw;
        snprintf(event, sizeof event, "server shutdown %s",
                 short_name(after_handshake ? garbage->late : garbage->early, name));
        before = count_of(event);
        raw_dial(&raw, &pair);
        if (after_handshake) {
            raw_send_connect(&raw);
            await_count("server protocol CONNECT", (size_t)(2 + i / 2));
        }
        CHECK(raw_send(&raw, garbage->data, garbage->len));
        raw_finish(&raw);
        await_count(event, before + 1);
    }
    /* The client that was there before goes on, and new ones can come. */
    CHECK_OK(ping(pair.client_connection, "still here", NULL));
    await("server protocol PING still here");
    CHECK_COUNT(1 + GARBAGES * 2, "server accepted");
    CHECK_NEVER("listener failed");
    CHECK_NEVER("client shutdown");
    pair_end(&pair);
}

static long resident_bytes(void) {
    long size, pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(statm != NULL && fscanf(statm, "%ld %ld", &size, &pages) == 2);
    fclose(statm);
    return pages * sysconf(_SC_PAGESIZE);
}

static void an_announced_but_unsent_message_takes_no_memory(void) {
    enum { CLIENTS = 50, CLAIMED = 20 * 1024 * 1024 };
    struct pair pair;
    struct raw raws[CLIENTS];
    uint8_t prelude[12];
    long before;
    put_prelude(prelude, CLAIMED, 0);
    pair_open(&pair);
    for (size_t i = 0; i < CLIENTS; i++) {
        raw_dial(&raws[i], &pair);
        raw_send_connect(&raws[i]);
        await_count("server protocol CONNECT", i + 2);
    }
    before = resident_bytes();
    for (int i = 0; i < CLIENTS; i++) CHECK(raw_send(&raws[i], prelude, sizeof prelude));
    /* Its answer comes after those bytes were looked at. */
    CHECK_OK(ping(pair.client_connection, "still here", NULL));
    await("server protocol PING still here");
    CHECK(resident_bytes() - before < CLAIMED / 2);
    for (int i = 0; i < CLIENTS; i++) raw_finish(&raws[i]);
    await_count("server shutdown INCOMPLETE", CLIENTS);
    pair_end(&pair);
}

static void a_peer_that_hangs_up_at_once(void) {
    struct raw peer;
    struct client client;
    client_begin(&client);
    client_dial_raw(&client, &peer, true);
    raw_finish(&peer);
    check_end(client.connection, ESRPC_ERROR_PEER_CLOSED,
              over_unix_socket ? "the peer unix:@esrpc-raw" : "the peer 127.0.0.1:");
    client_end(&client);
    CHECK_EVENTS("client", "setup PEER_CLOSED", "destroy");
}

static void a_peer_that_resets(void) {
    struct raw peer;
    struct client client;
    if (over_unix_socket) return; /* there it is an end as any other */
    client_begin(&client);
    client_dial_raw(&client, &peer, true);
    raw_send_connect_ack(&peer);
    await("client setup OK");
    client.stream = open_stream(client.connection, &client.call);
    raw_reset(&peer);
    check_end(client.connection, ESRPC_ERROR_CONNECTION_RESET, "127.0.0.1");
    CHECK(strstr(esrpc_connection_get_end_message(client.connection), "(errno 104)") != NULL);
    client_end(&client);
    CHECK_EVENTS("call", "closed CONNECTION_RESET", "destroy");
    CHECK_EVENTS("client", "setup OK", "shutdown CONNECTION_RESET", "destroy");
}

static void clients_that_hang_up_at_once(void) {
    enum { CLIENTS = 20 };
    struct pair pair;
    pair_open(&pair);
    for (int i = 0; i < CLIENTS; i++) {
        struct raw raw;
        raw_dial(&raw, &pair);
        if (i % 2 == 0)
            raw_reset(&raw);
        else
            raw_close(&raw);
    }
    await_count("server shutdown", CLIENTS);
    CHECK_OK(ping(pair.client_connection, "still here", NULL));
    await("server protocol PING still here");
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_server_killed_in_mid_conversation),
        TEST(a_server_killed_while_sends_wait),
        TEST(a_server_killed_before_it_answers_connect),
        TEST(garbage_instead_of_the_handshake),
        TEST(garbage_before_a_handshake_that_the_application_does),
        TEST(garbage_in_a_conversation),
        TEST(garbage_from_clients_ends_only_their_connections),
        TEST(an_announced_but_unsent_message_takes_no_memory),
        TEST(a_peer_that_hangs_up_at_once),
        TEST(a_peer_that_resets),
        TEST(clients_that_hang_up_at_once),
    };
    return RUN_TESTS(tests, argc, argv);
}
