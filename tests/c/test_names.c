/* Host names: lookups that fail, hang and are given up; names with several addresses, dead and alive. */
#include "names.h"

#include <dirent.h>

/* An address where nothing listens and nothing else can: bound, but not listening. */
static void refuse_at(struct raw_listener *refusing, const char *ip, uint32_t port) {
    CHECK(raw_listen_at(refusing, ip, port, -1));
}

/* Nothing answers there. */
static void be_dead_at(struct raw_listener *dead, const char *ip, uint32_t port) {
    CHECK(raw_listen_at(dead, ip, port, 0));
    raw_fill_backlog(dead);
}

static void a_lookup_that_hangs_is_given_up_after_resolve_timeout_ms(void) {
    struct pair pair;
    patient_pair_begin(&pair);
    names_stick();
    pair.client.hook = note_end;
    CHECK_OK(esrpc_connection_options_set_resolve_timeout_ms(pair.client_options, SHORT_MS));
    int64_t started = now_ns();
    dial_host(&pair, &pair.client, "stuck.test", 80, &pair.client_connection);
    check_ends_in_time("client", started, SHORT_MS);
    check_end_message_says(pair.client_connection, "resolve_timeout_ms (150 ms)");
    check_end_message_says(pair.client_connection, "stuck.test:80");
    pair_end(&pair);
    names_let_go();
    CHECK_EVENTS("client", "setup RESOLVE_TIMED_OUT", "destroy");
}

static void an_unknown_name_is_named_in_the_error(void) {
    char long_name[256];
    const char *hosts[] = {"unknown.test", "empty.test", long_name};
    memset(long_name, 'x', sizeof long_name);
    memcpy(long_name, "unknown", 7);
    long_name[255] = '\0';
    for (size_t i = 0; i < 3; i++) {
        struct pair pair;
        recorder_clear();
        patient_pair_begin(&pair);
        dial_host(&pair, &pair.client, hosts[i], 80, &pair.client_connection);
        await("client setup RESOLVE_FAILED");
        check_end_message_says(pair.client_connection, hosts[i]);
        CHECK(strcmp(esrpc_connection_get_host(pair.client_connection), hosts[i]) == 0);
        CHECK(esrpc_connection_get_port(pair.client_connection) == 80);
        pair_end(&pair);
        CHECK_EVENTS("client", "setup RESOLVE_FAILED", "destroy");
    }
}

static void close_and_abort_do_not_wait_for_a_lookup(void) {
    for (int abort_it = 0; abort_it <= 1; abort_it++) {
        struct pair pair;
        recorder_clear();
        patient_pair_begin(&pair);
        names_stick();
        dial_host(&pair, &pair.client, "stuck.test", 80, &pair.client_connection);
        await("lookup stuck.test");
        if (abort_it)
            CHECK_OK(esrpc_connection_abort(pair.client_connection));
        else
            CHECK_OK(esrpc_connection_close(pair.client_connection, 1234));
        await("client setup CANCELLED");
        /* Neither does the end of the runtime. */
        pair_end(&pair);
        CHECK_EVENTS("client", "setup CANCELLED", "destroy");
        names_let_go();
        CHECK_EVENTS("client", "setup CANCELLED", "destroy");
    }
}

static void a_runtime_that_is_shut_down_does_not_wait_for_a_lookup(void) {
    struct pair pair;
    patient_pair_begin(&pair);
    names_stick();
    dial_host(&pair, &pair.client, "stuck.test", 80, &pair.client_connection);
    await("lookup stuck.test");
    CHECK_OK(esrpc_runtime_shutdown(pair.client_runtime));
    await("client setup RUNTIME_SHUTDOWN");
    pair_end(&pair);
    names_let_go();
    CHECK_EVENTS("client", "setup RUNTIME_SHUTDOWN", "destroy");
}

static void a_lookup_that_hangs_delays_no_other(void) {
    struct pair pair;
    struct party stuck = a_party("stuck", NULL, NULL);
    esrpc_connection *waiting[3] = {NULL, NULL, NULL};
    patient_pair_begin(&pair);
    pair_listen(&pair);
    names_set("127.0.0.1", NULL);
    names_stick();
    for (size_t i = 0; i < 3; i++) dial_host(&pair, &stuck, "stuck.test", 80, &waiting[i]);
    await_count("lookup stuck.test", 3);
    dial_host(&pair, &pair.client, "good.test", esrpc_listener_get_port(pair.listening), &pair.client_connection);
    await("client setup OK");
    CHECK_NEVER("stuck");
    for (size_t i = 0; i < 3; i++) {
        CHECK_OK(esrpc_connection_abort(waiting[i]));
        esrpc_connection_release(waiting[i]);
    }
    pair_end(&pair);
    names_let_go();
    CHECK_COUNT(3, "stuck setup CANCELLED");
    CHECK_COUNT(3, "stuck destroy");
}

/* Threads of this process whose names begin with the text. */
static size_t threads_named(const char *name) {
    size_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        char path[300], text[40];
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *file = fopen(path, "r");
        if (file == NULL) continue; /* "." and "..", or it has ended */
        if (fgets(text, sizeof text, file) != NULL) count += strncmp(text, name, strlen(name)) == 0;
        fclose(file);
    }
    closedir(tasks);
    return count;
}

/* Also if they were given up: their threads are still stuck. Who has an address needs none of them. */
static void at_most_four_threads_look_names_up(void) {
    enum { STUCK = 2000 };
    struct pair pair;
    struct party stuck = a_party("stuck", NULL, NULL);
    struct party late = a_party("late", NULL, NULL);
    esrpc_connection *connection = NULL, *waiting = NULL;
    patient_pair_begin(&pair);
    pair_listen(&pair);
    names_set("127.0.0.1", NULL);
    names_stick();
    for (size_t i = 0; i < STUCK; i++) {
        dial_host(&pair, &stuck, "stuck.test", 80, &connection);
        if (i < 4) await_count("lookup stuck.test", i + 1);
        CHECK_OK(esrpc_connection_abort(connection));
        esrpc_connection_release(connection);
    }
    dial_host(&pair, &late, "late.test", esrpc_listener_get_port(pair.listening), &waiting);
    await_count("stuck setup CANCELLED", STUCK);
    await_count("stuck destroy", STUCK);
    pair_dial(&pair);
    await("client setup OK");
    CHECK_COUNT(4, "lookup");
    CHECK(threads_named("esrpc-resolver") == 4);
    CHECK_NEVER("late");

    names_let_go();
    await("late setup OK");
    CHECK_COUNT(5, "lookup");
    CHECK_OK(esrpc_connection_abort(waiting));
    esrpc_connection_release(waiting);
    pair_end(&pair);
}

static void a_lookup_that_waits_for_its_turn_has_its_deadline(void) {
    struct pair pair;
    struct party stuck = a_party("stuck", NULL, NULL);
    esrpc_connection *waiting[4] = {NULL, NULL, NULL, NULL};
    patient_pair_begin(&pair);
    names_set("127.0.0.1", NULL);
    names_stick();
    for (size_t i = 0; i < 4; i++) dial_host(&pair, &stuck, "stuck.test", 80, &waiting[i]);
    await_count("lookup stuck.test", 4);
    CHECK_OK(esrpc_connection_options_set_resolve_timeout_ms(pair.client_options, SHORT_MS));
    pair.client.hook = note_end;
    int64_t started = now_ns();
    dial_host(&pair, &pair.client, "good.test", 80, &pair.client_connection);
    check_ends_in_time("client", started, SHORT_MS);
    CHECK_ONCE("client setup RESOLVE_TIMED_OUT");
    CHECK_NEVER("stuck setup");
    for (size_t i = 0; i < 4; i++) {
        CHECK_OK(esrpc_connection_abort(waiting[i]));
        esrpc_connection_release(waiting[i]);
    }
    pair_end(&pair);
    names_let_go();
    CHECK_NEVER("lookup good.test");
}

static void a_live_address_is_found_beside_a_dead_one(void) {
    for (int dead_first = 0; dead_first <= 1; dead_first++) {
        struct pair pair;
        struct raw_listener dead;
        recorder_clear();
        patient_pair_begin(&pair);
        pair_listen(&pair);
        uint32_t port = esrpc_listener_get_port(pair.listening);
        be_dead_at(&dead, "127.0.0.2", port);
        if (dead_first)
            names_set("127.0.0.2", "127.0.0.1");
        else
            names_set("127.0.0.1", "127.0.0.2");
        int64_t started = now_ns();
        dial_host(&pair, &pair.client, "two.test", port, &pair.client_connection);
        await("client setup OK");
        int64_t took_ms = (now_ns() - started) / 1000000;
        CHECK(took_ms < LONG_MS / 2);
        CHECK(!dead_first || took_ms >= 250);
        CHECK(strncmp(esrpc_connection_get_remote_address(pair.client_connection), "127.0.0.1:", 10) == 0);
        raw_listener_close(&dead);
        pair_end(&pair);
        CHECK_ONCE("listener incoming");
    }
}

static void an_address_that_refuses_makes_way_at_once(void) {
    struct pair pair;
    struct raw_listener refusing;
    patient_pair_begin(&pair);
    pair_listen(&pair);
    refuse_at(&refusing, "127.0.0.2", esrpc_listener_get_port(pair.listening));
    names_set("127.0.0.2", "127.0.0.1");
    dial_host(&pair, &pair.client, "two.test", refusing.port, &pair.client_connection);
    await("client setup OK");
    raw_listener_close(&refusing);
    pair_end(&pair);
}

static void if_all_refuse_the_error_names_host_addresses_and_reasons(void) {
    struct pair pair;
    struct raw_listener first, second;
    char text[60];
    patient_pair_begin(&pair);
    refuse_at(&first, "127.0.0.2", 0);
    refuse_at(&second, "127.0.0.3", first.port);
    names_set("127.0.0.2", "127.0.0.3");
    dial_host(&pair, &pair.client, "two.test", first.port, &pair.client_connection);
    await("client setup CONNECTION_REFUSED");
    snprintf(text, sizeof text, "two.test:%u", (unsigned)first.port);
    check_end_message_says(pair.client_connection, text);
    snprintf(text, sizeof text, "127.0.0.2:%u: Connection refused", (unsigned)first.port);
    check_end_message_says(pair.client_connection, text);
    snprintf(text, sizeof text, "127.0.0.3:%u: Connection refused", (unsigned)first.port);
    check_end_message_says(pair.client_connection, text);
    raw_listener_close(&first);
    raw_listener_close(&second);
    pair_end(&pair);
    CHECK_EVENTS("client", "setup CONNECTION_REFUSED", "destroy");
}

static void if_they_fail_for_different_reasons_connecting_failed(void) {
    struct pair pair;
    struct raw_listener refusing;
    patient_pair_begin(&pair);
    refuse_at(&refusing, "127.0.0.2", 0);
    names_set("127.0.0.2", "224.0.0.1"); /* a group, to which nobody can connect */
    dial_host(&pair, &pair.client, "two.test", refusing.port, &pair.client_connection);
    await("client setup CONNECT_FAILED");
    check_end_message_says(pair.client_connection, "127.0.0.2:");
    check_end_message_says(pair.client_connection, "Connection refused");
    check_end_message_says(pair.client_connection, "224.0.0.1:");
    check_end_message_says(pair.client_connection, "unreachable");
    raw_listener_close(&refusing);
    pair_end(&pair);
    CHECK_EVENTS("client", "setup CONNECT_FAILED", "destroy");
}

static void if_some_never_answer_the_deadline_names_them(void) {
    struct pair pair;
    struct raw_listener refusing, dead;
    patient_pair_begin(&pair);
    pair.client.hook = note_end;
    CHECK_OK(esrpc_connection_options_set_connect_timeout_ms(pair.client_options, SHORT_MS * 3));
    refuse_at(&refusing, "127.0.0.2", 0);
    be_dead_at(&dead, "127.0.0.3", refusing.port);
    names_set("127.0.0.2", "127.0.0.3");
    int64_t started = now_ns();
    dial_host(&pair, &pair.client, "two.test", refusing.port, &pair.client_connection);
    check_ends_in_time("client", started, SHORT_MS * 3);
    check_end_message_says(pair.client_connection, "connect_timeout_ms (450 ms): two.test:");
    check_end_message_says(pair.client_connection, "127.0.0.2:");
    check_end_message_says(pair.client_connection, "Connection refused");
    check_end_message_says(pair.client_connection, "127.0.0.3:");
    check_end_message_says(pair.client_connection, "no answer");
    raw_listener_close(&refusing);
    raw_listener_close(&dead);
    pair_end(&pair);
    CHECK_EVENTS("client", "setup CONNECT_TIMED_OUT", "destroy");
}

static void an_address_family_leaves_the_others_out(void) {
    struct pair pair;
    esrpc_client_options *options = esrpc_client_options_new();
    struct party second = a_party("second", NULL, NULL);
    esrpc_connection *connection = NULL;
    patient_pair_begin(&pair);
    pair_listen(&pair);
    names_set("::1", "127.0.0.1");
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("two.test"), esrpc_listener_get_port(pair.listening)));
    CHECK_OK(esrpc_client_options_set_address_family(options, ESRPC_ADDRESS_FAMILY_IPV4));
    dial_with(&pair, &pair.client, options, &pair.client_connection);
    await("client setup OK");
    CHECK(strncmp(esrpc_connection_get_remote_address(pair.client_connection), "127.0.0.1:", 10) == 0);

    names_set("127.0.0.1", NULL);
    options = esrpc_client_options_new();
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("one.test"), esrpc_listener_get_port(pair.listening)));
    CHECK_OK(esrpc_client_options_set_address_family(options, ESRPC_ADDRESS_FAMILY_IPV6));
    dial_with(&pair, &second, options, &connection);
    await("second setup CONNECT_FAILED");
    check_end_message_says(connection, "no address of the family");
    check_end_message_says(connection, "one.test");
    esrpc_connection_release(connection);
    pair_end(&pair);
}

static esrpc_client_options *from_address(const char *local, const char *host, uint32_t port) {
    esrpc_client_options *options = esrpc_client_options_new();
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text(host), port));
    CHECK_OK(esrpc_client_options_set_local_address(options, esrpc_text(local), 0));
    return options;
}

static void a_local_address_leaves_the_other_family_out(void) {
    struct pair pair;
    struct raw_listener refusing;
    struct party second = a_party("second", NULL, NULL);
    esrpc_connection *connection = NULL;
    patient_pair_begin(&pair);
    refuse_at(&refusing, "127.0.0.2", 0);
    names_set("::1", "127.0.0.2");
    dial_with(&pair, &pair.client, from_address("127.0.0.1", "two.test", refusing.port), &pair.client_connection);
    await("client setup CONNECTION_REFUSED");
    CHECK(strstr(esrpc_connection_get_end_message(pair.client_connection), "::1") == NULL);

    /* Nothing is left: of a name, and of an address. */
    dial_with(&pair, &second, from_address("::1", "127.0.0.2", refusing.port), &connection);
    await("second setup CONNECT_FAILED");
    check_end_message_says(connection, "127.0.0.2:");
    check_end_message_says(connection, "no address of the family of the local address ::1");
    esrpc_connection_release(connection);
    names_set("::1", NULL);
    dial_with(&pair, &second, from_address("127.0.0.1", "one.test", refusing.port), &connection);
    await_count("second setup CONNECT_FAILED", 2);
    check_end_message_says(connection, "one.test:");
    check_end_message_says(connection, "no address of the family of the local address 127.0.0.1");
    esrpc_connection_release(connection);
    raw_listener_close(&refusing);
    pair_end(&pair);
}

/* Numbers need no lookup, in whatever form; a scope that has a name does. */
static void addresses_are_not_looked_up(void) {
    static const char *const addresses[] = {"127.0.0.1", "::1", "[::1]", "::1%1", "[::1%1]"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        struct pair pair;
        recorder_clear();
        patient_pair_begin(&pair);
        dial_host(&pair, &pair.client, addresses[i], 1, &pair.client_connection);
        await("client setup");
        pair_end(&pair);
        CHECK_NEVER("lookup");
    }
    struct pair pair;
    recorder_clear();
    patient_pair_begin(&pair);
    names_set(NULL, NULL);
    dial_host(&pair, &pair.client, "[fe80::1%lo]", 1, &pair.client_connection);
    await("client setup RESOLVE_FAILED");
    CHECK_ONCE("lookup fe80::1%lo");
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_lookup_that_hangs_is_given_up_after_resolve_timeout_ms),
        TEST(an_unknown_name_is_named_in_the_error),
        TEST(close_and_abort_do_not_wait_for_a_lookup),
        TEST(a_runtime_that_is_shut_down_does_not_wait_for_a_lookup),
        TEST(a_lookup_that_hangs_delays_no_other),
        TEST(at_most_four_threads_look_names_up),
        TEST(a_lookup_that_waits_for_its_turn_has_its_deadline),
        TEST(a_live_address_is_found_beside_a_dead_one),
        TEST(an_address_that_refuses_makes_way_at_once),
        TEST(if_all_refuse_the_error_names_host_addresses_and_reasons),
        TEST(if_they_fail_for_different_reasons_connecting_failed),
        TEST(if_some_never_answer_the_deadline_names_them),
        TEST(an_address_family_leaves_the_others_out),
        TEST(a_local_address_leaves_the_other_family_out),
        TEST(addresses_are_not_looked_up),
    };
    return RUN_TESTS(tests, argc, argv);
}
