/* Promise 6: all callbacks of a connection come on one thread; what may not be called there returns a status. */
#include "harness.h"

/* Every event of these names came on the same thread. */
static void check_one_thread(const char *const *names, size_t count) {
    const struct event *first = NULL;
    for (size_t i = 0; i < recorder.count; i++) {
        for (size_t j = 0; j < count; j++) {
            if (!begins_with(recorder.events[i].text, names[j])) continue;
            if (first == NULL) first = &recorder.events[i];
            CHECK(pthread_equal(first->thread, recorder.events[i].thread));
        }
    }
    CHECK(first != NULL);
}

static void all_callbacks_of_a_connection_and_its_streams_come_on_one_thread(void) {
    static const char *const of_client[] = {"client", "call", "flush"}, *const of_server[] = {"server", "handler"};
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    esrpc_stream *stream;
    pair_begin(&pair);
    pair.keep_streams = true;
    /* Threads to choose from. */
    CHECK_OK(esrpc_runtime_options_set_thread_count(options, 4));
    esrpc_runtime_release(pair.client_runtime);
    esrpc_runtime_release(pair.server_runtime);
    CHECK_OK(esrpc_runtime_new(options, &pair.client_runtime));
    CHECK_OK(esrpc_runtime_new(options, &pair.server_runtime));
    esrpc_runtime_options_release(options);
    pair_connect(&pair);
    for (int i = 0; i < 20; i++) {
        stream = new_stream(pair.client_connection, &party);
        CHECK_OK(activate(stream, 0, "first", "activation"));
        CHECK_OK(send_text(stream, LAST, "last", "last"));
        CHECK_OK(ping(pair.server_connection, "hello", NULL));
        esrpc_stream_release(stream);
    }
    await_count("call destroy", 20);
    await_count("client protocol PING hello", 20);
    pair_end(&pair);
    check_one_thread(of_client, 3);
    check_one_thread(of_server, 2);
}

static void connections_are_spread_over_the_threads_of_a_runtime(void) {
    struct pair pair;
    struct party parties[4];
    esrpc_connection *connections[4];
    static const char *const names[] = {"a", "b", "c", "d"};
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    size_t different = 0;
    pair_begin(&pair);
    CHECK_OK(esrpc_runtime_options_set_thread_count(options, 2));
    esrpc_runtime_release(pair.client_runtime);
    CHECK_OK(esrpc_runtime_new(options, &pair.client_runtime));
    esrpc_runtime_options_release(options);
    pair_listen(&pair);
    for (int i = 0; i < 4; i++) {
        parties[i] = a_party(names[i], NULL, NULL);
        pair_dial_as(&pair, &parties[i], &connections[i]);
        CHECK_OK(esrpc_connection_wait_setup(connections[i], PATIENCE_MS));
    }
    for (int i = 0; i < 4; i++) {
        await(names[i]);
        CHECK_OK(esrpc_connection_close(connections[i], ESRPC_OK));
        esrpc_connection_release(connections[i]);
    }
    pair_end(&pair);
    for (int i = 1; i < 4; i++) {
        pthread_t first = recorder.events[place_of("a", false)].thread;
        different += !pthread_equal(first, recorder.events[place_of(names[i], false)].thread);
    }
    CHECK(different == 2); /* in turn */
}

static void wait_for_everything(esrpc_status status, void *user_data) {
    struct pair *pair = (struct pair *)user_data;
    struct party party = a_party("unused", NULL, NULL);
    esrpc_stream *stream = NULL;
    enter_callback();
    CHECK(status == ESRPC_OK);
    CHECK_OK(esrpc_connection_new_stream(pair->client_connection, NULL, &party, &stream));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_connection_wait_setup(pair->client_connection, 0));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_connection_wait_flush(pair->client_connection, 0));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_connection_wait_shutdown(pair->client_connection, 0));
    /* Also on objects of another runtime. */
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_connection_wait_shutdown(pair->server_connection, 0));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_stream_wait_closed(pair->handler_stream, 0));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_stream_wait_closed(stream, 0));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_listener_wait_closed(pair->listening, 0));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_runtime_join(pair->client_runtime, 0));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_runtime_join(pair->server_runtime, 0));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_runtime_join(NULL, 0));
    esrpc_stream_release(stream);
    note("waits refused");
    leave_callback();
}

static void waiting_on_a_loop_thread_returns_would_deadlock(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    pair_begin(&pair);
    pair.keep_streams = true;
    pair_connect(&pair);
    esrpc_stream_release(open_stream(pair.client_connection, &party));
    await("handler message first");
    CHECK_OK(esrpc_connection_run_on_loop(pair.client_connection, wait_for_everything, &pair));
    await("waits refused");
    pair_end(&pair);
}

static void note_task(esrpc_status status, void *user_data) {
    enter_callback();
    note_status("task", (const char *)user_data, status);
    leave_callback();
}

static void a_task_runs_once_after_what_was_asked_before_also_when_the_connection_has_ended(void) {
    struct pair pair;
    struct gate gate;
    pair_open(&pair);
    hold_loop(pair.client_connection, &gate);
    CHECK_OK(esrpc_connection_run_on_loop(pair.client_connection, note_task, (void *)"one"));
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    CHECK_OK(esrpc_connection_run_on_loop(pair.client_connection, note_task, (void *)"two"));
    CHECK_NEVER("task");
    gate_open(&gate);
    await("task two OK");
    await("client shutdown OK");
    CHECK_OK(esrpc_connection_run_on_loop(pair.client_connection, note_task, (void *)"three"));
    await("task three OK");
    pair_end(&pair);
    CHECK_EVENTS("task", "one OK", "two OK", "three OK");
    CHECK_BEFORE("task one", "client shutdown");
}

static void on_prelude(esrpc_decoder *decoder, uint32_t total_length, uint32_t headers_length, uint32_t crc,
                       void *user_data) {
    (void)total_length, (void)headers_length, (void)crc, (void)user_data;
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_decoder_push(decoder, esrpc_text("x")));
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_decoder_finish(decoder));
    note("decoder prelude");
    esrpc_decoder_release(decoder);
}

static void on_complete(esrpc_decoder *decoder, uint32_t crc, void *user_data) {
    (void)decoder, (void)crc, (void)user_data;
    note("decoder complete");
}

static void a_decoder_inside_its_callback_takes_no_push_and_is_released_on_return(void) {
    esrpc_decoder_callbacks callbacks;
    esrpc_decoder *decoder = NULL;
    uint8_t message[16];
    size_t len;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_prelude = on_prelude;
    callbacks.on_complete = on_complete;
    CHECK_OK(esrpc_message_encode(NULL, bytes(NULL, 0), message, sizeof message, &len));
    CHECK_OK(esrpc_decoder_new(&callbacks, NULL, &decoder));
    CHECK_STATUS(ESRPC_ERROR_CANCELLED, esrpc_decoder_push(decoder, bytes(message, len)));
    CHECK_EVENTS("decoder", "prelude"); /* nothing after the release */
}

struct log_check {
    int calls;
    esrpc_headers *headers;
};

static void on_log(int32_t level, const char *target, const char *message, void *user_data) {
    struct log_check *check = (struct log_check *)user_data;
    CHECK(level >= ESRPC_LOG_LEVEL_ERROR && level <= ESRPC_LOG_LEVEL_TRACE);
    CHECK(*target != '\0' && *message != '\0' && strchr(message, '\n') == NULL);
    CHECK(esrpc_headers_clear(check->headers) == ESRPC_ERROR_INVALID_STATE);
    CHECK(esrpc_headers_new() == NULL);
    CHECK(esrpc_headers_count(check->headers) == 0);
    CHECK(esrpc_runtime_join(NULL, 0) == ESRPC_ERROR_INVALID_STATE);
    pthread_mutex_lock(&recorder.lock);
    check->calls++;
    pthread_mutex_unlock(&recorder.lock);
}

static void a_log_callback_comes_for_its_level_and_may_call_nothing(void) {
    for (int32_t level = ESRPC_LOG_LEVEL_OFF; level <= ESRPC_LOG_LEVEL_TRACE; level += ESRPC_LOG_LEVEL_TRACE) {
        struct pair pair;
        struct log_check check;
        esrpc_runtime_options *options = esrpc_runtime_options_new();
        recorder_clear();
        check.calls = 0;
        check.headers = esrpc_headers_new();
        CHECK_OK(esrpc_headers_add_bool(check.headers, esrpc_text("h"), true));
        CHECK_OK(esrpc_runtime_options_set_log(options, level, on_log, &check));
        pair_begin(&pair);
        esrpc_runtime_release(pair.server_runtime);
        CHECK_OK(esrpc_runtime_new(options, &pair.server_runtime));
        esrpc_runtime_options_release(options);
        pair_connect(&pair);
        pair_end(&pair);
        CHECK((check.calls > 0) == (level == ESRPC_LOG_LEVEL_TRACE));
        CHECK(esrpc_headers_count(check.headers) == 1);
        esrpc_headers_release(check.headers);
    }
}

static void note_log(int32_t level, const char *target, const char *message, void *user_data) {
    const char *text = strstr(message, ": ");
    CHECK(text != NULL || strcmp(target, "connection") != 0);
    note("%s log %d %s", (const char *)user_data, (int)level, text == NULL ? message : text + 2);
}

static esrpc_runtime *logging_runtime(int32_t level, const char *name) {
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    esrpc_runtime *runtime = NULL;
    CHECK_OK(esrpc_runtime_options_set_log(options, level, note_log, (void *)name));
    CHECK_OK(esrpc_runtime_new(options, &runtime));
    esrpc_runtime_options_release(options);
    return runtime;
}

/* One call with a request and a reply, whose end is written by the server. */
static void a_conversation_at(int32_t level) {
    struct pair pair;
    struct party call = a_party("call", NULL, NULL);
    esrpc_stream *stream;
    recorder_clear();
    pair_begin(&pair);
    esrpc_runtime_release(pair.client_runtime);
    esrpc_runtime_release(pair.server_runtime);
    pair.client_runtime = logging_runtime(level, "client");
    pair.server_runtime = logging_runtime(level, "server");
    pair.keep_streams = true;
    pair_connect(&pair);
    stream = open_stream(pair.client_connection, &call);
    await("handler message first");
    CHECK_OK(send_text(pair.handler_stream, LAST, "reply", NULL));
    await("call closed OK");
    await("handler closed OK");
    esrpc_stream_release(stream);
    pair_end(&pair);
}

static void a_log_shows_each_message_at_trace_and_steps_and_streams_at_debug(void) {
    a_conversation_at(ESRPC_LOG_LEVEL_TRACE);
    CHECK_COUNT(1, "client log 5 accepted for sending: CONNECT, flags 0, stream 0, 7 bytes of payload");
    CHECK_COUNT(1, "server log 5 received: CONNECT, flags 0, stream 0, 7 bytes of payload");
    CHECK_COUNT(1, "server log 5 accepted for sending: CONNECT_ACK, flags 1, stream 0, 3 bytes of payload");
    CHECK_COUNT(1, "client log 5 received: CONNECT_ACK, flags 1, stream 0, 3 bytes of payload");
    CHECK_COUNT(1, "client log 5 accepted for sending: APPLICATION_MESSAGE, flags 0, stream 1, 5 bytes of payload");
    CHECK_COUNT(1, "server log 5 received: APPLICATION_MESSAGE, flags 0, stream 1, 5 bytes of payload");
    CHECK_COUNT(1, "server log 5 accepted for sending: APPLICATION_MESSAGE, flags 2, stream 1, 5 bytes of payload");
    CHECK_COUNT(1, "client log 5 received: APPLICATION_MESSAGE, flags 2, stream 1, 5 bytes of payload");
    CHECK_COUNT(4, "client log 5");
    CHECK_COUNT(4, "server log 5");
}

static void a_log_below_trace_leaves_the_messages_out(void) {
    a_conversation_at(ESRPC_LOG_LEVEL_DEBUG);
    CHECK_COUNT(1, "client log 4 connecting");
    CHECK_COUNT(1, "client log 4 stream 1 activated: \"test#Operation\"");
    CHECK_COUNT(1, "client log 4 stream 1 ended");
    CHECK_COUNT(1, "server log 4 stream 1 accepted: \"test#Operation\"");
    CHECK_COUNT(1, "server log 4 stream 1 ended");
    CHECK_COUNT(1, "client log 3 set up");
    CHECK_COUNT(1, "server log 3 accepted");
    /* Either side may see the other's end first, and then says so. */
    CHECK(count_of("client log 3 ended") + count_of("client log 3 ended:") == 1);
    CHECK(count_of("server log 3 ended") + count_of("server log 3 ended:") == 1);
    CHECK_COUNT(0, "client log 5");
    a_conversation_at(ESRPC_LOG_LEVEL_INFO);
    CHECK_COUNT(0, "client log 4");
    CHECK_COUNT(1, "client log 3 set up");
    a_conversation_at(ESRPC_LOG_LEVEL_WARN);
    CHECK_COUNT(0, "client log");
    CHECK_COUNT(0, "server log");
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(all_callbacks_of_a_connection_and_its_streams_come_on_one_thread),
        TEST(connections_are_spread_over_the_threads_of_a_runtime),
        TEST(waiting_on_a_loop_thread_returns_would_deadlock),
        TEST(a_task_runs_once_after_what_was_asked_before_also_when_the_connection_has_ended),
        TEST(a_decoder_inside_its_callback_takes_no_push_and_is_released_on_return),
        TEST(a_log_callback_comes_for_its_level_and_may_call_nothing),
        TEST(a_log_shows_each_message_at_trace_and_steps_and_streams_at_debug),
        TEST(a_log_below_trace_leaves_the_messages_out),
    };
    return RUN_TESTS(tests, argc, argv);
}
