/* A whole conversation (handshake, a call, a stream of several messages, a ping, close) while every call fails in every way
   that the system allows: short, interrupted and delayed reads and writes change nothing; a connection that fails at byte k,
   for every k, and a system call that fails once end it with the promised callbacks. Each time nothing is left behind.

   Needs fault_shim.c in LD_PRELOAD. ESRPC_FAULTS=all tries every place over Unix sockets and TLS too (some minutes). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "client.h"

#include "certificates.h"
#include "fault_shim.h"
#include "process.h"

#include <dlfcn.h>
#include <malloc.h>

enum { MAX_SENDS = 16, LARGE = 700, WARM_UP = 11 };

static fault_set_function *fault_set;
static fault_fired_function *fault_fired;
static fault_bytes_function *fault_bytes;

static esrpc_tls_config *client_tls, *server_tls_config;
static size_t one_in; /* one place in this many is tried */
static size_t conversations;

static const char *const side_names[] = {"client", "server"}, *const way_names[] = {"in", "out"};

/* The flush callbacks of one side's accepted sends, by their numbers. */
struct sends {
    char names[MAX_SENDS][16];
    size_t accepted;
};

static struct sends client_sends, server_sends;

static void sends_begin(struct sends *sends, const char *name) {
    sends->accepted = 0;
    for (int i = 0; i < MAX_SENDS; i++) snprintf(sends->names[i], sizeof sends->names[i], "%s-%d", name, i);
}

static void *next_name(struct sends *sends) {
    CHECK(sends->accepted < MAX_SENDS);
    return sends->names[sends->accepted];
}

/* A send is accepted, or its connection or stream has ended. */
static void count_send(struct sends *sends, esrpc_status status) {
    CHECK(status == ESRPC_OK || status == ESRPC_ERROR_CONNECTION_CLOSED || status == ESRPC_ERROR_STREAM_CLOSED);
    sends->accepted += status == ESRPC_OK;
}

/* Sends on the handler's own loop, where nothing can flush before it is counted. */
static void answer(struct party *self, const struct moment *now) {
    esrpc_bytes payload;
    int32_t flags;
    (void)self;
    if (!is(now, "message")) return;
    payload = esrpc_message_get_payload(now->message);
    flags = is_text(payload, "call") || is_text(payload, "end") ? LAST : 0;
    count_send(&server_sends,
               esrpc_stream_send_message(now->stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, flags, NULL, payload, on_flush,
                                         next_name(&server_sends)));
}

static void say(esrpc_stream *stream, int32_t flags, const void *data, size_t len) {
    count_send(&client_sends,
               esrpc_stream_send_message(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, flags, NULL, bytes(data, len),
                                         on_flush, next_name(&client_sends)));
}

static esrpc_stream *begin_stream(esrpc_connection *connection, struct party *party, const char *payload) {
    esrpc_stream_callbacks callbacks = stream_callbacks();
    esrpc_stream *stream = NULL;
    esrpc_status status = esrpc_connection_new_stream(connection, &callbacks, party, &stream);
    if (status != ESRPC_OK) {
        CHECK(status == ESRPC_ERROR_CONNECTION_CLOSED);
        return NULL;
    }
    note("made %s", party->name);
    status = activate(stream, 0, payload, (const char *)next_name(&client_sends));
    count_send(&client_sends, status);
    if (status == ESRPC_OK) {
        note("activated %s", party->name);
        return stream;
    }
    esrpc_stream_release(stream);
    return NULL;
}

static void talk(esrpc_connection *connection, struct party *call, struct party *chat) {
    static char large[LARGE];
    esrpc_stream *stream = begin_stream(connection, call, "call");
    if (stream != NULL) await_either("call closed", "client shutdown");
    esrpc_stream_release(stream);
    stream = begin_stream(connection, chat, "first");
    if (stream == NULL) return;
    say(stream, 0, "second", 6);
    say(stream, 0, large, sizeof large);
    count_send(&client_sends, ping(connection, "ping", (const char *)next_name(&client_sends)));
    say(stream, 0, "end", 3);
    await_either("chat closed", "client shutdown");
    esrpc_stream_release(stream);
}

/* Nothing of the first kind came after the first of the second. */
static void check_none_after(const char *first, const char *second) {
    if (count_of(first) > 0 && count_of(second) > 0) CHECK_BEFORE(first, second);
}

static void check_flushes(const struct sends *sends, const char *name) {
    char pattern[32];
    size_t last = 0;
    for (size_t i = 0; i < MAX_SENDS; i++) {
        snprintf(pattern, sizeof pattern, "flush %s", sends->names[i]);
        CHECK_COUNT(i < sends->accepted, pattern);
        if (i >= sends->accepted) continue;
        CHECK(place_of(pattern, false) >= last);
        last = place_of(pattern, false);
        snprintf(pattern, sizeof pattern, "%s shutdown", name);
        CHECK(last < place_of(pattern, false));
    }
}

static void check_stream(const char *name) {
    char made[32], activated[32], closed[32], destroyed[32], message[32];
    snprintf(made, sizeof made, "made %s", name);
    snprintf(activated, sizeof activated, "activated %s", name);
    snprintf(closed, sizeof closed, "%s closed", name);
    snprintf(destroyed, sizeof destroyed, "%s destroy", name);
    snprintf(message, sizeof message, "%s message", name);
    CHECK_COUNT(count_of(made), destroyed);
    CHECK_COUNT(count_of(activated), closed);
    CHECK(count_of(closed) <= 1);
    check_none_after(message, closed);
    check_none_after(closed, destroyed);
    check_none_after(closed, "client shutdown");
}

/* Everything that is promised however the conversation went. */
static void check_promises(void) {
    check_flushes(&client_sends, "client");
    check_flushes(&server_sends, "server");
    check_stream("call");
    check_stream("chat");
    check_none_after("client setup", "client protocol");
    check_none_after("client protocol", "client shutdown");
    check_none_after("client shutdown", "client destroy");
    check_none_after("server accepted", "server protocol");
    check_none_after("server protocol", "server shutdown");
    check_none_after("handler closed", "server shutdown");
    check_none_after("server shutdown", "server destroy");
    check_none_after("listener closed", "listener destroy");
    /* What was not done was reported. */
    if (count_of("chat closed OK") == 0 && count_of("client setup") > 0)
        CHECK(count_of("client setup OK") == 0 || count_of("client shutdown OK") == 0);
}

/* Everything was said and heard. */
static void check_complete(void) {
    CHECK_EVENTS("client", "setup OK", "protocol PING_RESPONSE ping", "shutdown OK", "destroy");
    CHECK_EVENTS("call", "message call (last)", "closed OK", "destroy");
    CHECK_EVENTS("chat", "message first", "message second", "message 700 bytes", "message end (last)", "closed OK",
                 "destroy");
    CHECK_EVENTS("server", "accepted", "protocol CONNECT connect", "stream call", "stream first", "shutdown PEER_CLOSED",
                 "destroy");
    CHECK_COUNT(2, "handler closed OK");
    CHECK(client_sends.accepted == 6 && server_sends.accepted == 5);
    for (size_t i = 0; i < client_sends.accepted; i++) {
        char pattern[32];
        snprintf(pattern, sizeof pattern, "flush %s OK", client_sends.names[i]);
        CHECK_ONCE(pattern);
    }
}

static esrpc_listener *try_to_listen(struct pair *pair) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener_callbacks callbacks = listener_callbacks();
    esrpc_listener *listener = NULL;
    if (over_unix_socket)
        CHECK_OK(esrpc_listener_options_set_unix_abstract(options, esrpc_text(pair->unix_name)));
    else
        CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_options_set_runtime(options, pair->server_runtime));
    CHECK_OK(esrpc_listener_options_set_connection_options(options, pair->server_options));
    if (server_tls_config != NULL) CHECK_OK(esrpc_listener_options_set_tls(options, server_tls_config));
    esrpc_status status = esrpc_listener_listen(options, &callbacks, &pair->listener, &listener);
    CHECK((status == ESRPC_OK) == (listener != NULL));
    esrpc_listener_options_release(options);
    return listener;
}

static void converse_in(struct pair *pair, struct party *call, struct party *chat) {
    esrpc_client_options *options = pair_client_options(pair);
    esrpc_connection_callbacks callbacks = connection_callbacks();
    esrpc_status status;
    if (client_tls != NULL) CHECK_OK(esrpc_client_options_set_tls(options, client_tls, esrpc_text("server.example")));
    status = esrpc_connection_connect(options, &callbacks, &pair->client, &pair->client_connection);
    esrpc_client_options_release(options);
    if (status != ESRPC_OK) return;
    await("client setup");
    if (count_of("client setup OK") > 0) {
        talk(pair->client_connection, call, chat);
        CHECK_OK(esrpc_connection_close(pair->client_connection, ESRPC_OK));
        CHECK_ENDED(esrpc_connection_wait_shutdown(pair->client_connection, PATIENCE_MS));
        if (count_of("server accepted") > 0) await("server shutdown");
    }
    /* Whoever waits for the destruction must not hold the connection. */
    esrpc_connection_release(pair->client_connection);
    pair->client_connection = NULL;
}

/* A runtime that the plan did not let begin. */
static bool begin_or_give_up(struct pair *pair) {
    memset(pair, 0, sizeof *pair);
    pair->client = a_party("client", NULL, pair);
    pair->server = a_party("server", NULL, pair);
    pair->listener = a_party("listener", NULL, pair);
    pair->handler = a_party("handler", answer, pair);
    snprintf(pair->unix_name, sizeof pair->unix_name, "esrpc-faults-%ld-%zu", (long)getpid(), conversations);
    if (esrpc_runtime_new(NULL, &pair->client_runtime) == ESRPC_OK) {
        if (esrpc_runtime_new(NULL, &pair->server_runtime) == ESRPC_OK) {
            pair->client_options = esrpc_connection_options_new();
            pair->server_options = esrpc_connection_options_new();
            CHECK_OK(esrpc_connection_options_set_answer_pings(pair->server_options, true));
            return true;
        }
        CHECK_OK(esrpc_runtime_join(pair->client_runtime, PATIENCE_MS));
        esrpc_runtime_release(pair->client_runtime);
    }
    return false;
}

/* Has one conversation under the plan. Answers how often that struck. */
static unsigned converse(const struct fault_plan *plan) {
    static size_t descriptors;
    struct pair pair;
    struct party call = a_party("call", NULL, NULL), chat = a_party("chat", NULL, NULL);
    if (descriptors == 0) descriptors = count_descriptors();
    recorder_clear();
    sends_begin(&client_sends, "c");
    sends_begin(&server_sends, "s");
    conversations++;
    fault_set(plan);
    if (begin_or_give_up(&pair)) {
        pair.listening = try_to_listen(&pair);
        if (pair.listening != NULL) {
            converse_in(&pair, &call, &chat);
            /* It may have ended by itself, with an error. */
            CHECK_OK(esrpc_listener_close(pair.listening));
            await("listener closed");
            esrpc_listener_release(pair.listening);
            pair.listening = NULL;
        }
        pair_end(&pair);
        check_promises();
    }
    fault_set(NULL);
    await_descriptors(descriptors);
    return fault_fired();
}

static size_t bytes_in_use(void) {
#ifdef __GLIBC__
    return mallinfo2().uordblks;
#else
    return 0; /* not reported */
#endif
}

/* Tries some of something, then all: the second time must leave no more memory behind than the first. */
static void leaves_nothing(void (*try_all)(void)) {
    size_t before, after, count, places = one_in;
    one_in *= WARM_UP;
    try_all();
    one_in = places;
    count = conversations;
    before = bytes_in_use();
    try_all();
    after = bytes_in_use();
    fprintf(stderr, "  %zu conversations; bytes in use: %zu, then %zu\n", conversations - count, before, after);
    /* Sanitizers and valgrind see leaks by themselves, and have memory of their own. */
    if (getenv("ESRPC_TEST_CFLAGS") == NULL && getenv("ESRPC_TEST_WRAPPER") == NULL) CHECK(after < before + 16 * 1024);
}

static void complete_under(struct fault_plan plan) {
    plan.ways = 1 << FAULT_IN | 1 << FAULT_OUT;
    for (plan.sides = 1; plan.sides <= 3; plan.sides++) {
        CHECK(converse(&plan) > 0);
        check_complete();
    }
}

static struct fault_plan no_plan(void) {
    struct fault_plan plan;
    memset(&plan, 0, sizeof plan);
    return plan;
}

static void try_short_calls(void) {
    static const size_t lengths[] = {1, 2, 3, 7, 11, 12, 13, 16, 17, 100, 699, 4096};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct fault_plan plan = no_plan();
        /* No call is longer in a plain conversation. */
        if (lengths[i] > LARGE && client_tls == NULL) continue;
        plan.most = lengths[i];
        /* A byte at a time through a TLS handshake is slow. */
        if (lengths[i] < 7 && client_tls != NULL && one_in > 1) continue;
        plan.sides = plan.ways = 3;
        converse(&plan);
        check_complete();
        plan.most = lengths[i];
        if (lengths[i] < LARGE) complete_under(plan);
    }
}

static void short_reads_and_writes_change_nothing(void) {
    leaves_nothing(try_short_calls);
}

static void try_interruptions(void) {
    for (unsigned count = 1; count <= 3; count++) {
        struct fault_plan plan = no_plan();
        plan.interrupted = count;
        complete_under(plan);
        plan.interrupted = 0;
        plan.delayed = count;
        complete_under(plan);
        plan.interrupted = plan.delayed = count;
        plan.most = 40;
        complete_under(plan);
    }
}

static void interrupted_and_delayed_calls_change_nothing(void) {
    leaves_nothing(try_interruptions);
}

static void try_chance(void) {
    for (unsigned start = 1; start <= 100; start++) {
        struct fault_plan plan = no_plan();
        plan.random = start * 7919;
        plan.sides = plan.ways = 3;
        plan.interrupted = plan.delayed = 3;
        plan.most = 1 + start * 5;
        converse(&plan);
        check_complete();
    }
}

static void any_mixture_of_those_changes_nothing(void) {
    leaves_nothing(try_chance);
}

/* How many bytes go that way on that side's connection in a conversation without faults. */
static size_t length_of(int side, int way) {
    struct fault_plan plan = no_plan();
    converse(&plan);
    check_complete();
    return fault_bytes(side, way);
}

static void try_failures_at_every_byte(void) {
    static const struct {
        int way, error;
    } failures[] = {{FAULT_IN, ECONNRESET}, {FAULT_OUT, ECONNRESET}, {FAULT_OUT, EPIPE}};
    for (size_t i = 0; i < 2 * sizeof failures / sizeof *failures; i++) {
        int side = (int)i % 2, way = failures[i / 2].way;
        size_t length = length_of(side, way), struck = 0, tried = 0;
        for (size_t place = i % one_in; place <= length; place += one_in) {
            struct fault_plan plan = no_plan();
            plan.sides = 1U << side;
            plan.ways = 1U << way;
            plan.error = failures[i / 2].error;
            plan.fails_at = place;
            tried++;
            if (converse(&plan) > 0) struck++;
            else check_complete();
        }
        fprintf(stderr, "  %s %s, error %d: %zu bytes, %zu places, %zu of them struck\n", side_names[side], way_names[way],
                failures[i / 2].error, length, tried, struck);
        /* Nothing is written after the last byte, and signatures differ in length. */
        CHECK(struck + 8 >= tried);
    }
}

static void a_connection_may_fail_at_every_byte(void) {
    leaves_nothing(try_failures_at_every_byte);
}

/* What the system may return to each call of the library. */
static const struct {
    const char *call;
    int errors[4];
} calls[] = {
    {"socket", {EMFILE, ENOBUFS}},
    {"connect", {ECONNREFUSED, ENETUNREACH, ETIMEDOUT, EADDRNOTAVAIL}},
    {"accept4", {EMFILE, ECONNABORTED, EINTR, EAGAIN}},
    {"epoll_ctl", {ENOMEM, ENOSPC}},
    {"epoll_create1", {EMFILE}},
    {"eventfd", {EMFILE}},
    {"bind", {EADDRINUSE, ENOMEM}},
    {"listen", {EADDRINUSE}},
    {"getsockname", {ENOBUFS}},
    {"getpeername", {ENOTCONN, ENOBUFS}},
    {"getsockopt", {ENOBUFS, ENOPROTOOPT}},
    {"setsockopt", {ENOPROTOOPT, ENOMEM, EINVAL}},
    {"shutdown", {ENOTCONN}},
    {"fcntl", {EMFILE}},
    {"ioctl", {EINVAL}},
    {"close", {EINTR, EIO}},
    {"epoll_wait", {EINTR, ENOMEM}},
};

/* The nth call of the function fails, for every n that there is. Answers how many there are. */
static size_t try_every(const char *call, int error) {
    enum { MOST = 200 };
    for (unsigned nth = 1; nth < MOST; nth++) {
        struct fault_plan plan = no_plan();
        plan.call = call;
        plan.nth = nth;
        plan.call_error = error;
        if (converse(&plan) == 0) {
            check_complete();
            return nth - 1;
        }
    }
    return MOST;
}

static void try_failing_calls(void) {
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        for (size_t j = 0; j < 4 && calls[i].errors[j] != 0; j++) {
            size_t count = try_every(calls[i].call, calls[i].errors[j]);
            fprintf(stderr, "  %s, error %d: %zu calls\n", calls[i].call, calls[i].errors[j], count);
        }
    }
}

static void every_system_call_may_fail_once(void) {
    leaves_nothing(try_failing_calls);
}

static void *shim(const char *name) {
    void *address = dlsym(RTLD_DEFAULT, name);
    if (address == NULL) fprintf(stderr, "LD_PRELOAD does not name fault_shim.c's library\n");
    CHECK(address != NULL);
    return address;
}

/* One place in this many is tried. */
static size_t places_per_trial(void) {
    const char *which = getenv("ESRPC_FAULTS");
    size_t places = over_tls ? 17 : over_unix_socket ? 5 : 1;
    if (which != NULL && strcmp(which, "all") == 0) return 1;
    return is_watched() ? places * 50 : places;
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(short_reads_and_writes_change_nothing),
        TEST(interrupted_and_delayed_calls_change_nothing),
        TEST(any_mixture_of_those_changes_nothing),
        TEST(a_connection_may_fail_at_every_byte),
        TEST(every_system_call_may_fail_once),
    };
    void *address;
    int result;
    address = shim("fault_set");
    memcpy((void *)&fault_set, (const void *)&address, sizeof address);
    address = shim("fault_fired");
    memcpy((void *)&fault_fired, (const void *)&address, sizeof address);
    address = shim("fault_bytes");
    memcpy((void *)&fault_bytes, (const void *)&address, sizeof address);
    read_command_line(argc, argv);
    one_in = places_per_trial();
    if (over_tls) {
        esrpc_tls_config_builder *builder = esrpc_tls_config_builder_new_client();
        CHECK_OK(esrpc_tls_config_builder_add_ca_file(builder, file("ca.pem")));
        /* Every handshake is a whole one, and as long as the others. */
        CHECK_OK(esrpc_tls_config_builder_set_session_resumption(builder, false));
        client_tls = build(builder);
        server_tls_config = server_tls();
    }
    result = RUN_TESTS(tests, argc, argv);
    esrpc_tls_config_release(client_tls);
    esrpc_tls_config_release(server_tls_config);
    return result;
}
