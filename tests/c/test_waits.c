/* Tasks on the loop, waits, and the log. */
#include "client.h"

enum { TASK_THREADS = 4, TASKS = 2000 };

/* Tasks of several threads, each with its number. */
struct task {
    int thread, number;
    int runs;
};

static struct task tasks[TASK_THREADS][TASKS];
static esrpc_connection *task_connection;
static pthread_t task_loop;
static int next_number[TASK_THREADS], tasks_run; /* on the loop thread, and read after it */

static void run_task(esrpc_status status, void *user_data) {
    struct task *task = (struct task *)user_data;
    CHECK(status == ESRPC_OK);
    CHECK(pthread_equal(task_loop, pthread_self()));
    CHECK(task->number == next_number[task->thread]);
    next_number[task->thread]++;
    task->runs++;
    if (++tasks_run == TASK_THREADS * TASKS) note("all tasks");
}

static void *post_tasks(void *data) {
    int thread = *(int *)data;
    for (int i = 0; i < TASKS; i++) {
        tasks[thread][i].thread = thread;
        tasks[thread][i].number = i;
        CHECK_OK(esrpc_connection_run_on_loop(task_connection, run_task, &tasks[thread][i]));
    }
    return NULL;
}

static void note_loop(esrpc_status status, void *user_data) {
    (void)user_data;
    CHECK(status == ESRPC_OK);
    task_loop = pthread_self();
    note("loop known");
}

static void tasks_of_many_threads_run_once_and_in_order(void) {
    pthread_t threads[TASK_THREADS];
    int numbers[TASK_THREADS];
    struct pair pair;
    pair_open(&pair);
    task_connection = pair.client_connection;
    CHECK_OK(esrpc_connection_run_on_loop(task_connection, note_loop, NULL));
    await("loop known");
    for (int i = 0; i < TASK_THREADS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&threads[i], NULL, post_tasks, &numbers[i]) == 0);
    }
    for (int i = 0; i < TASK_THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    await("all tasks");
    pair_end(&pair);
    for (int i = 0; i < TASK_THREADS; i++)
        for (int k = 0; k < TASKS; k++) CHECK(tasks[i][k].runs == 1);
}

static void note_task(esrpc_status status, void *user_data) {
    enter_callback();
    note_status("task", (const char *)user_data, status);
    leave_callback();
}

static void task_with_a_task(esrpc_status status, void *user_data) {
    note_task(status, (void *)"outer");
    CHECK_OK(esrpc_connection_run_on_loop((esrpc_connection *)user_data, note_task, (void *)"inner"));
    /* It does not run inside this one. */
    CHECK_NEVER("task inner");
}

/* Whatever the connection is doing, and even if no handle is left. */
static void tasks_run_whatever_becomes_of_the_connection(void) {
    struct pair pair;
    pair_begin(&pair);
    pair_listen(&pair);
    pair_dial(&pair);
    CHECK_OK(esrpc_connection_run_on_loop(pair.client_connection, note_task, (void *)"early"));
    await("client setup OK");
    CHECK_OK(esrpc_connection_run_on_loop(pair.client_connection, task_with_a_task, pair.client_connection));
    await("task inner");
    CHECK_OK(esrpc_connection_abort(pair.client_connection));
    await("client shutdown OK");
    CHECK_OK(esrpc_connection_run_on_loop(pair.client_connection, note_task, (void *)"after the end"));
    CHECK_OK(esrpc_runtime_shutdown(pair.client_runtime));
    CHECK_OK(esrpc_connection_run_on_loop(pair.client_connection, note_task, (void *)"after shutdown"));
    esrpc_connection_release(pair.client_connection);
    pair.client_connection = NULL;
    CHECK_OK(esrpc_runtime_join(pair.client_runtime, PATIENCE_MS));
    CHECK_EVENTS("task", "early OK", "outer OK", "inner OK", "after the end", "after shutdown");
    await("server shutdown");
    pair_end(&pair);
}

/* Waits */

static void waits_of_no_time(void) {
    struct party call = a_party("call", NULL, NULL);
    struct raw peer;
    struct client client;
    client_begin(&client);
    client_dial_raw(&client, &peer, true);
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_wait_setup(client.connection, 0));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_wait_setup(client.connection, 1));
    raw_accept_connect(&peer);
    CHECK_OK(esrpc_connection_wait_setup(client.connection, ESRPC_NO_TIMEOUT));
    CHECK_OK(esrpc_connection_wait_setup(client.connection, 0));
    CHECK_OK(esrpc_connection_wait_flush(client.connection, 0));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_wait_shutdown(client.connection, 0));

    client.stream = new_stream(client.connection, &call);
    CHECK_STATUS(ESRPC_ERROR_STREAM_NOT_ACTIVATED, esrpc_stream_wait_closed(client.stream, ESRPC_NO_TIMEOUT));
    CHECK_OK(activate(client.stream, 0, "first", NULL));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_stream_wait_closed(client.stream, 0));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_stream_wait_closed(client.stream, 1));
    raw_send_message(&peer, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, LAST, 1, NULL, "last");
    CHECK_OK(esrpc_stream_wait_closed(client.stream, ESRPC_NO_TIMEOUT));
    CHECK_OK(esrpc_stream_wait_closed(client.stream, 0));

    raw_finish(&peer);
    CHECK_STATUS(ESRPC_ERROR_PEER_CLOSED, esrpc_connection_wait_shutdown(client.connection, ESRPC_NO_TIMEOUT));
    CHECK_STATUS(ESRPC_ERROR_PEER_CLOSED, esrpc_connection_wait_shutdown(client.connection, 0));
    /* What was, was. */
    CHECK_OK(esrpc_connection_wait_setup(client.connection, 0));
    client_end(&client);
}

static void wait_flush_reports_whether_all_is_written(void) {
    enum { SENDS = 12, LARGE = 1024 * 1024 };
    uint8_t *payload = (uint8_t *)calloc(1, LARGE);
    struct raw peer;
    struct client client;
    client_begin(&client);
    client_dial_raw(&client, &peer, true);
    raw_send_connect_ack(&peer);
    await("client setup OK");
    CHECK_OK(ping(client.connection, "small", "small"));
    CHECK_OK(esrpc_connection_wait_flush(client.connection, ESRPC_NO_TIMEOUT));
    /* The peer reads nothing. */
    for (int i = 0; i < SENDS; i++)
        CHECK_OK(esrpc_connection_send_protocol_message(client.connection, ESRPC_MESSAGE_TYPE_PING, 0, NULL,
                                                        bytes(payload, LARGE), NULL, NULL));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_wait_flush(client.connection, 0));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_wait_flush(client.connection, 5));
    CHECK(esrpc_connection_get_outbound_size(client.connection) > 0);
    CHECK_OK(esrpc_connection_abort(client.connection));
    CHECK_STATUS(ESRPC_ERROR_ABORTED, esrpc_connection_wait_flush(client.connection, ESRPC_NO_TIMEOUT));
    raw_reset(&peer);
    client_end(&client);
    free(payload);
}

enum { WAITERS = 12 };

struct waiter {
    struct client *client;
    esrpc_listener *listener;
    int number;
    esrpc_status status;
};

static void *wait_for_something(void *data) {
    struct waiter *waiter = (struct waiter *)data;
    esrpc_connection *connection = waiter->client->connection;
    uint32_t timeout = waiter->number % 2 == 0 ? ESRPC_NO_TIMEOUT : (uint32_t)PATIENCE_MS;
    note("waiter ready");
    switch (waiter->number % 4) {
    case 0: CHECK_ENDED(waiter->status = esrpc_connection_wait_setup(connection, timeout)); break;
    case 1: CHECK_ENDED(waiter->status = esrpc_connection_wait_shutdown(connection, timeout)); break;
    case 2:
        /* The connection may not be set up yet. */
        waiter->status = esrpc_connection_wait_flush(connection, timeout);
        CHECK(waiter->status == ESRPC_OK || waiter->status == ESRPC_ERROR_NOT_READY);
        break;
    default: CHECK_OK(esrpc_listener_wait_closed(waiter->listener, timeout)); break;
    }
    return NULL;
}

static void many_threads_wait_at_once(void) {
    struct waiter waiters[WAITERS];
    pthread_t threads[WAITERS];
    struct raw peer;
    struct client client;
    esrpc_listener *listener;
    esrpc_listener_options *options = esrpc_listener_options_new();
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_listen(options, NULL, NULL, &listener));
    esrpc_listener_options_release(options);
    client_begin(&client);
    client_dial_raw(&client, &peer, true);
    for (int i = 0; i < WAITERS; i++) {
        waiters[i].client = &client;
        waiters[i].listener = listener;
        waiters[i].number = i;
        waiters[i].status = ESRPC_ERROR_INTERNAL;
        CHECK(pthread_create(&threads[i], NULL, wait_for_something, &waiters[i]) == 0);
    }
    await_count("waiter ready", WAITERS);
    raw_send_connect_ack(&peer);
    await("client setup OK");
    raw_finish(&peer);
    CHECK_OK(esrpc_listener_close(listener));
    for (int i = 0; i < WAITERS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        if (i % 4 == 0) CHECK(waiters[i].status == ESRPC_OK);
        if (i % 4 == 1) CHECK(waiters[i].status == ESRPC_ERROR_PEER_CLOSED);
    }
    esrpc_listener_release(listener);
    client_end(&client);
}

static void *wait_for_stream(void *stream) {
    note("waiter ready");
    CHECK_OK(esrpc_stream_wait_closed((esrpc_stream *)stream, ESRPC_NO_TIMEOUT));
    return NULL;
}

static void many_threads_wait_for_one_stream(void) {
    struct party call = a_party("call", NULL, NULL);
    pthread_t threads[WAITERS];
    struct pair pair;
    esrpc_stream *stream;
    pair_open(&pair);
    stream = open_stream(pair.client_connection, &call);
    for (int i = 0; i < WAITERS; i++) CHECK(pthread_create(&threads[i], NULL, wait_for_stream, stream) == 0);
    await_count("waiter ready", WAITERS);
    CHECK_OK(esrpc_stream_close(stream));
    for (int i = 0; i < WAITERS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    esrpc_stream_release(stream);
    pair_end(&pair);
}

/* The log */

struct log {
    pthread_mutex_t lock;
    size_t lines[ESRPC_LOG_LEVEL_TRACE + 1];
    esrpc_connection *connection;
};

/* Whatever it calls returns an error and does nothing. */
static void call_the_library(struct log *log) {
    esrpc_runtime *runtime = NULL;
    CHECK(esrpc_runtime_new(NULL, &runtime) == ESRPC_ERROR_INVALID_STATE && runtime == NULL);
    CHECK(strcmp(esrpc_last_error_message(), "") == 0);
    CHECK(esrpc_runtime_shutdown(NULL) == ESRPC_ERROR_INVALID_STATE);
    CHECK(esrpc_runtime_join(NULL, 0) == ESRPC_ERROR_INVALID_STATE);
    CHECK(esrpc_headers_new() == NULL);
    CHECK(esrpc_client_options_new() == NULL);
    if (log->connection == NULL) return;
    CHECK(esrpc_connection_abort(log->connection) == ESRPC_ERROR_INVALID_STATE);
    CHECK(ping(log->connection, "from the log", "log") == ESRPC_ERROR_INVALID_STATE);
    CHECK(esrpc_connection_wait_flush(log->connection, ESRPC_NO_TIMEOUT) == ESRPC_ERROR_INVALID_STATE);
    CHECK(!esrpc_connection_is_open(log->connection));
    CHECK(esrpc_connection_get_state(log->connection) == 0);
}

static void take_line(int32_t level, const char *target, const char *message, void *user_data) {
    struct log *log = (struct log *)user_data;
    CHECK(level >= ESRPC_LOG_LEVEL_ERROR && level <= ESRPC_LOG_LEVEL_TRACE);
    CHECK(target[0] != '\0' && message[0] != '\0');
    CHECK(strchr(message, '\n') == NULL);
    pthread_mutex_lock(&log->lock);
    log->lines[level]++;
    call_the_library(log);
    pthread_mutex_unlock(&log->lock);
}

static size_t lines_of(struct log *log, int32_t level) {
    size_t lines;
    pthread_mutex_lock(&log->lock);
    lines = log->lines[level];
    pthread_mutex_unlock(&log->lock);
    return lines;
}

/* A conversation with a violation at its end, logged up to that level. */
static void converse_with_log(struct log *log, int32_t level) {
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    struct pair pair;
    struct raw raw;
    memset(log, 0, sizeof *log);
    CHECK(pthread_mutex_init(&log->lock, NULL) == 0);
    recorder_clear();
    pair_begin(&pair);
    esrpc_runtime_release(pair.server_runtime);
    CHECK_OK(esrpc_runtime_options_set_log(options, level, take_line, log));
    CHECK_OK(esrpc_runtime_new(options, &pair.server_runtime));
    esrpc_runtime_options_release(options);
    pair_connect(&pair);
    pthread_mutex_lock(&log->lock);
    log->connection = pair.server_connection;
    pthread_mutex_unlock(&log->lock);
    raw_dial(&raw, &pair);
    raw_send_message(&raw, ESRPC_MESSAGE_TYPE_PING, 0, 0, NULL, "before CONNECT");
    raw_finish(&raw);
    await("server shutdown PROTOCOL_VIOLATION");
    /* The first connection did not notice what the log tried to do with it. */
    CHECK_OK(ping(pair.client_connection, "still here", NULL));
    await("server protocol PING still here");
    CHECK_NEVER("flush log");
    pthread_mutex_lock(&log->lock);
    log->connection = NULL;
    pthread_mutex_unlock(&log->lock);
    pair_end(&pair);
    CHECK(pthread_mutex_destroy(&log->lock) == 0);
    CHECK(pthread_mutex_init(&log->lock, NULL) == 0);
}

static void the_log_gets_lines_of_its_level_and_graver_ones(void) {
    struct log log;
    converse_with_log(&log, ESRPC_LOG_LEVEL_OFF);
    for (int32_t level = ESRPC_LOG_LEVEL_ERROR; level <= ESRPC_LOG_LEVEL_TRACE; level++) CHECK(lines_of(&log, level) == 0);
    converse_with_log(&log, ESRPC_LOG_LEVEL_WARN);
    CHECK(lines_of(&log, ESRPC_LOG_LEVEL_WARN) > 0);
    for (int32_t level = ESRPC_LOG_LEVEL_INFO; level <= ESRPC_LOG_LEVEL_TRACE; level++) CHECK(lines_of(&log, level) == 0);
    converse_with_log(&log, ESRPC_LOG_LEVEL_TRACE);
    CHECK(lines_of(&log, ESRPC_LOG_LEVEL_WARN) > 0);
    CHECK(lines_of(&log, ESRPC_LOG_LEVEL_INFO) > 0);
    CHECK(lines_of(&log, ESRPC_LOG_LEVEL_DEBUG) > 0);
}

static void note_unaccepted(int32_t level, const char *target, const char *message, void *user_data) {
    (void)target, (void)user_data;
    if (strstr(message, "on_incoming_connection neither accepted nor deferred it") != NULL) note("warned at %d", (int)level);
}

/* All that its clients see is the end of the connection. */
static void a_server_that_accepts_nobody_is_warned(void) {
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    struct pair pair;
    char expected[20];
    pair_begin(&pair);
    esrpc_runtime_release(pair.server_runtime);
    CHECK_OK(esrpc_runtime_options_set_log(options, ESRPC_LOG_LEVEL_WARN, note_unaccepted, NULL));
    CHECK_OK(esrpc_runtime_new(options, &pair.server_runtime));
    esrpc_runtime_options_release(options);
    pair.ignore_connections = true;
    pair_listen(&pair);
    pair_dial(&pair);
    snprintf(expected, sizeof expected, "warned at %d", ESRPC_LOG_LEVEL_WARN);
    await(expected);
    await("client setup");
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(tasks_of_many_threads_run_once_and_in_order),
        TEST(tasks_run_whatever_becomes_of_the_connection),
        TEST(waits_of_no_time),
        TEST(wait_flush_reports_whether_all_is_written),
        TEST(many_threads_wait_at_once),
        TEST(many_threads_wait_for_one_stream),
        TEST(the_log_gets_lines_of_its_level_and_graver_ones),
        TEST(a_server_that_accepts_nobody_is_warned),
    };
    return RUN_TESTS(tests, argc, argv);
}
