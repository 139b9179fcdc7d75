/* Promise 11: errors explain themselves, to the thread that made the call and to whoever holds the handle. */
#include "raw_peer.h"

#include "certificates.h"

#include <errno.h>

static void every_status_has_a_name_and_a_sentence(void) {
    CHECK(strcmp(esrpc_status_name(ESRPC_OK), "ESRPC_OK") == 0);
    CHECK(strcmp(esrpc_status_name(ESRPC_ERROR_WOULD_BLOCK), "ESRPC_ERROR_WOULD_BLOCK") == 0);
    CHECK(strcmp(esrpc_status_name(1000), "APPLICATION_REASON") == 0);
    CHECK(strcmp(esrpc_status_name(INT32_MAX), "APPLICATION_REASON") == 0);
    for (esrpc_status status = -10; status < 1100; status++) {
        CHECK(*esrpc_status_name(status) != '\0');
        CHECK(*esrpc_status_message(status) != '\0');
    }
    CHECK(strcmp(esrpc_status_name(INT32_MIN), "ESRPC_ERROR_UNKNOWN") == 0);
    CHECK(strcmp(esrpc_status_name(999), "ESRPC_ERROR_UNKNOWN") == 0);
}

static void *fail_on_another_thread(void *argument) {
    (void)argument;
    CHECK(strcmp(esrpc_last_error_message(), "") == 0);
    CHECK_INVALID(esrpc_stream_close(NULL));
    CHECK(last_error_says("stream is NULL"));
    return NULL;
}

static void the_last_error_is_that_of_this_thread_and_stays_until_the_next(void) {
    pthread_t thread;
    esrpc_headers *headers;
    CHECK_INVALID(esrpc_connection_abort(NULL));
    CHECK(last_error_says("connection is NULL"));
    CHECK(pthread_create(&thread, NULL, fail_on_another_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    headers = esrpc_headers_new();
    CHECK_OK(esrpc_headers_add_bool(headers, esrpc_text("h"), true));
    esrpc_headers_release(headers);
    CHECK(last_error_says("connection is NULL"));
}

static void look_at_the_explanation(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "setup") && now->status != ESRPC_OK) note("setup says: %s", esrpc_last_error_message());
    if (is(now, "shutdown")) note("shutdown says: %s", esrpc_last_error_message());
    if (is(now, "closed")) note("closed says: %s", esrpc_last_error_message());
}

static void a_failed_setup_is_explained_with_the_systems_error_inside_and_after_the_callback(void) {
    struct pair pair;
    esrpc_client_options *options;
    esrpc_connection_callbacks callbacks = connection_callbacks();
    const char *text;
    char expected[120];
    pair_begin(&pair);
    pair.client.hook = look_at_the_explanation;
    pair_listen(&pair);
    options = pair_client_options(&pair);
    CHECK_OK(esrpc_listener_close(pair.listening));
    await("listener closed OK");
    CHECK_OK(esrpc_connection_connect(options, &callbacks, &pair.client, &pair.client_connection));
    esrpc_client_options_release(options);
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair.client_connection, PATIENCE_MS));
    text = esrpc_connection_get_end_message(pair.client_connection);
    CHECK(strstr(text, "refused") != NULL);
    CHECK(strstr(text, over_unix_socket ? pair.unix_name : "127.0.0.1:") != NULL); /* where */
    snprintf(expected, sizeof expected, "setup says: %s", text);
    CHECK_COUNT(1, expected);
    pair_end(&pair);
}

static void a_peer_that_ends_the_connection_is_named_to_connection_and_stream(void) {
    struct pair pair;
    struct party party = a_party("call", look_at_the_explanation, NULL);
    esrpc_stream *stream;
    char expected[120];
    pair_begin(&pair);
    pair.client.hook = look_at_the_explanation;
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK_OK(send_protocol(pair.server_connection, ESRPC_MESSAGE_TYPE_INTERNAL_ERROR, LAST, "", NULL));
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair.client_connection, PATIENCE_MS));
    CHECK(strstr(esrpc_connection_get_end_message(pair.client_connection), "the peer sent INTERNAL_ERROR") != NULL);
    snprintf(expected, sizeof expected, "shutdown says: %s", esrpc_connection_get_end_message(pair.client_connection));
    CHECK_COUNT(1, expected);
    snprintf(expected, sizeof expected, "closed says: %s", esrpc_stream_get_end_message(stream));
    CHECK_COUNT(1, expected);
    esrpc_stream_release(stream);
    pair_end(&pair);
}

/* Whatever failed before on the thread. */
static void fail_and_look(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "setup") || is(now, "closed") || is(now, "shutdown")) CHECK(strcmp(esrpc_last_error_message(), "") == 0);
    CHECK_INVALID(esrpc_connection_abort(NULL));
    CHECK(last_error_says("connection is NULL"));
}

static void look_after_a_failure(esrpc_status status, void *user_data) {
    CHECK(status == ESRPC_OK && strcmp(esrpc_last_error_message(), "") == 0);
    CHECK_INVALID(esrpc_connection_abort(NULL));
    note("%s", (const char *)user_data);
}

static void a_callback_that_reports_success_has_nothing_to_explain(void) {
    struct pair pair;
    struct party party = a_party("call", fail_and_look, NULL);
    pair_begin(&pair);
    pair.client.hook = fail_and_look;
    pair_connect(&pair);
    CHECK_OK(esrpc_connection_run_on_loop(pair.client_connection, look_after_a_failure, (void *)"task"));
    await("task");
    esrpc_stream *stream = open_stream(pair.client_connection, &party);
    CHECK_OK(esrpc_stream_send_message(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, LAST, NULL, esrpc_text("last"),
                                       look_after_a_failure, (void *)"flushed"));
    await("flushed");
    await("call closed OK");
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    await("client shutdown OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
}

static esrpc_error_info last_error_info(void) {
    esrpc_error_info info;
    memset(&info, 0xff, sizeof info);
    info.struct_size = sizeof info;
    CHECK_OK(esrpc_last_error_get_info(&info));
    CHECK(info.reserved == 0);
    return info;
}

static void note_numbers(struct party *self, const struct moment *now) {
    (void)self;
    if (!is(now, "setup")) return;
    esrpc_error_info info = last_error_info();
    note("setup numbers: %d, %d, %d", (int)info.status, (int)info.system_error, (int)info.tls_alert);
}

static void the_systems_error_is_there_as_a_number(void) {
    struct pair pair;
    esrpc_connection_callbacks callbacks = connection_callbacks();
    esrpc_error_info info;
    char expected[80];
    pair_begin(&pair);
    pair.client.hook = note_numbers;
    pair_listen(&pair);
    esrpc_client_options *options = pair_client_options(&pair);
    CHECK_OK(esrpc_listener_close(pair.listening));
    await("listener closed OK");
    CHECK_OK(esrpc_connection_connect(options, &callbacks, &pair.client, &pair.client_connection));
    esrpc_client_options_release(options);
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_REFUSED, esrpc_connection_wait_shutdown(pair.client_connection, PATIENCE_MS));
    info = last_error_info();
    CHECK(info.status == ESRPC_ERROR_CONNECTION_REFUSED && info.system_error == ECONNREFUSED && info.tls_alert == -1);
    snprintf(expected, sizeof expected, "setup numbers: %d, %d, -1", ESRPC_ERROR_CONNECTION_REFUSED, ECONNREFUSED);
    CHECK_COUNT(1, expected);
    /* A failure without such a number. */
    CHECK_INVALID(esrpc_connection_abort(NULL));
    info = last_error_info();
    CHECK(info.status == ESRPC_ERROR_INVALID_ARGUMENT && info.system_error == 0 && info.tls_alert == -1);
    info.struct_size = 1;
    CHECK_INVALID(esrpc_last_error_get_info(&info));
    pair_end(&pair);
}

static void note_alert(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "failed")) note("alert %d", (int)last_error_info().tls_alert);
}

static void serve_tls(esrpc_listener_options *options) {
    esrpc_tls_config *tls = server_tls();
    CHECK_OK(esrpc_listener_options_set_tls(options, tls));
    esrpc_tls_config_release(tls);
}

/* The client sends the alert and the server receives it: 48 is unknown_ca (RFC 8446, 6). */
static void a_tls_alert_is_there_as_a_number_on_both_sides(void) {
    struct pair pair;
    pair_begin(&pair);
    pair.listener.hook = note_alert;
    pair.prepare_listener = serve_tls;
    pair_listen(&pair);
    esrpc_client_options *options = pair_client_options(&pair);
    esrpc_tls_config *tls = client_that_trusts("other-ca.pem");
    CHECK_OK(esrpc_client_options_set_tls(options, tls, esrpc_text("server.example")));
    esrpc_tls_config_release(tls);
    CHECK_STATUS(ESRPC_ERROR_TLS_UNKNOWN_CA, esrpc_connection_connect_blocking(options, PATIENCE_MS, &pair.client_connection));
    esrpc_error_info info = last_error_info();
    CHECK(info.status == ESRPC_ERROR_TLS_UNKNOWN_CA && info.system_error == 0 && info.tls_alert == 48);
    await("listener failed TLS_ALERT_RECEIVED");
    await("alert 48");
    esrpc_client_options_release(options);
    pair_end(&pair);
}

static void a_refusal_says_what_the_server_said(void) {
    struct pair pair;
    pair_begin(&pair);
    pair.refuse_connect = true;
    pair_listen(&pair);
    pair_dial(&pair);
    await("client setup HANDSHAKE_REFUSED");
    CHECK(strstr(esrpc_connection_get_end_message(pair.client_connection), "CONNECT_ACK") != NULL);
    CHECK(strstr(esrpc_connection_get_end_message(pair.client_connection), "it says: ack") != NULL);
    pair_end(&pair);
}

static void look_for_control_characters(struct party *self, const struct moment *now) {
    look_at_the_explanation(self, now);
    if (!is(now, "setup")) return;
    for (const char *at = esrpc_last_error_message(); *at != '\0'; at++)
        CHECK((unsigned char)*at >= ' ' && *at != 127 && strncmp(at, "\xc2\x9b", 2) != 0);
}

static void a_refusal_cannot_break_the_line_or_reach_the_terminal(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw raw;
    const char *const words = "no\nforged: line\r\x1b[2J\x7f\xc2\x9b" "31m";
    const char *const shown = "it says: no forged: line  [2J  31m";
    pair_begin(&pair);
    pair.client.hook = look_for_control_characters;
    raw_listen(&listener, 1);
    dial_raw(&pair, &pair.client, &listener, &pair.client_connection);
    raw_accept(&listener, &raw);
    raw_expect(&raw, ESRPC_MESSAGE_TYPE_CONNECT, 0, "connect");
    raw_send_message(&raw, ESRPC_MESSAGE_TYPE_CONNECT_ACK, 0, 0, NULL, words);
    await("client setup HANDSHAKE_REFUSED");
    CHECK(strstr(esrpc_connection_get_end_message(pair.client_connection), shown) != NULL);
    raw_close(&raw);
    raw_listener_close(&listener);
    pair_end(&pair);
}

static void sentences_name_the_argument_and_its_range(void) {
    struct pair pair;
    esrpc_connection_options *options = esrpc_connection_options_new();
    CHECK_INVALID(esrpc_connection_options_set_linger_ms(options, 86400001));
    CHECK(last_error_says("linger"));
    CHECK(last_error_says("86400000"));
    esrpc_connection_options_release(options);
    pair_open(&pair);
    CHECK_INVALID(esrpc_connection_close(pair.client_connection, 999));
    CHECK(last_error_says("999"));
    CHECK_STATUS(ESRPC_ERROR_WRONG_MESSAGE_TYPE, send_protocol(pair.client_connection, 8, 0, "", NULL));
    CHECK(last_error_says("8"));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_runtime_join(pair.client_runtime, 1));
    CHECK(last_error_says("1 connection"));
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(every_status_has_a_name_and_a_sentence),
        TEST(the_last_error_is_that_of_this_thread_and_stays_until_the_next),
        TEST(a_failed_setup_is_explained_with_the_systems_error_inside_and_after_the_callback),
        TEST(a_peer_that_ends_the_connection_is_named_to_connection_and_stream),
        TEST(a_callback_that_reports_success_has_nothing_to_explain),
        TEST(the_systems_error_is_there_as_a_number),
        TEST(a_tls_alert_is_there_as_a_number_on_both_sides),
        TEST(a_refusal_says_what_the_server_said),
        TEST(a_refusal_cannot_break_the_line_or_reach_the_terminal),
        TEST(sentences_name_the_argument_and_its_range),
    };
    return RUN_TESTS(tests, argc, argv);
}
