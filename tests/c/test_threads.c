/* Promise 9: any thread may call any function on a connection, stream, listener or runtime at any time. */
#include "harness.h"

enum { THREADS = 8, ROUNDS = 40 };

/* What the threads share. */
struct work {
    struct pair *pair;
    struct party *party;
    esrpc_stream *stream;
};

static void run_on_threads(void *(*function)(void *), struct work *work) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, function, work) == 0);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

static void *open_and_use_streams(void *argument) {
    struct work *work = (struct work *)argument;
    for (int i = 0; i < ROUNDS; i++) {
        esrpc_stream *stream = new_stream(work->pair->client_connection, work->party);
        CHECK_OK(activate(stream, 0, "first", "activation"));
        CHECK(esrpc_stream_get_id(stream) > 0);
        CHECK_OK(send_zeros(stream, 10000, "large"));
        CHECK_OK(ping(work->pair->client_connection, "hello", "ping"));
        CHECK_OK(ping(work->pair->server_connection, "hello", "ping"));
        CHECK_OK(send_text(stream, LAST, "last", "last"));
        esrpc_stream_release(stream);
    }
    return NULL;
}

/* The server would end the connection if an id were not the next one. */
static void threads_may_open_streams_and_send_on_one_connection(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    struct work work = {&pair, &party, NULL};
    pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_outbound_limit(pair.client_options, 1024 * 1024 * 1024));
    pair_connect(&pair);
    run_on_threads(open_and_use_streams, &work);
    await_count("call destroy", THREADS * ROUNDS);
    await_count("handler destroy", THREADS * ROUNDS);
    await_count("client protocol PING hello", THREADS * ROUNDS);
    pair_end(&pair);
    CHECK_COUNT(THREADS * ROUNDS, "call closed OK");
    CHECK_COUNT(THREADS * ROUNDS, "handler message 10000 bytes");
    CHECK_COUNT(THREADS * ROUNDS, "handler message last (last)");
    CHECK_COUNT(THREADS * ROUNDS, "flush activation OK");
    CHECK_COUNT(THREADS * ROUNDS, "flush large OK");
    CHECK_COUNT(THREADS * ROUNDS, "flush last OK");
    CHECK_COUNT(2 * THREADS * ROUNDS, "flush ping OK");
}

static void *send_until_closed(void *argument) {
    struct work *work = (struct work *)argument;
    esrpc_status status;
    while ((status = send_text(work->stream, 0, "text", "send")) == ESRPC_OK) {
        note("send accepted");
        if (count_of("send accepted") >= 300) CHECK_OK(esrpc_connection_abort(work->pair->client_connection));
    }
    CHECK(status == ESRPC_ERROR_CONNECTION_CLOSED);
    return NULL;
}

static void every_send_that_races_with_an_abort_is_accepted_and_answered_or_refused(void) {
    for (int i = 0; i < 5; i++) {
        struct pair pair;
        struct party party = a_party("call", NULL, NULL);
        struct work work = {&pair, &party, NULL};
        recorder_clear();
        pair_begin(&pair);
        CHECK_OK(esrpc_connection_options_set_outbound_limit(pair.client_options, 1024 * 1024 * 1024));
        pair_connect(&pair);
        work.stream = open_stream(pair.client_connection, &party);
        run_on_threads(send_until_closed, &work);
        await("client shutdown");
        CHECK_COUNT(count_of("send accepted"), "flush send");
        esrpc_stream_release(work.stream);
        pair_end(&pair);
        CHECK_ONCE("call closed");
    }
}

static void *do_a_bit_of_everything(void *argument) {
    struct work *work = (struct work *)argument;
    esrpc_connection *connection = work->pair->client_connection;
    for (int i = 0; i < ROUNDS; i++) {
        esrpc_connection_release(esrpc_connection_acquire(connection));
        esrpc_stream_release(esrpc_stream_acquire(work->stream));
        esrpc_runtime_release(esrpc_runtime_acquire(work->pair->client_runtime));
        CHECK_OK(esrpc_connection_pause_reading(connection));
        CHECK(esrpc_connection_get_state(connection) == ESRPC_CONNECTION_STATE_OPEN);
        CHECK(*esrpc_connection_get_remote_address(connection) != '\0' || over_unix_socket);
        CHECK(esrpc_connection_get_user_data(connection) == &work->pair->client);
        CHECK(esrpc_connection_get_end_status(connection) == ESRPC_OK);
        CHECK(esrpc_stream_get_connection(work->stream) == connection);
        CHECK(is_text(esrpc_stream_get_operation(work->stream), "test#Operation"));
        CHECK_OK(esrpc_connection_resume_reading(connection));
        CHECK_OK(esrpc_connection_wait_flush(connection, PATIENCE_MS));
        CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_wait_shutdown(connection, 0));
        CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_stream_wait_closed(work->stream, 0));
        CHECK(*esrpc_listener_get_address(work->pair->listening) != '\0');
    }
    return NULL;
}

static void threads_may_ask_pause_and_wait_at_once(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    struct work work = {&pair, &party, NULL};
    pair_open(&pair);
    work.stream = open_stream(pair.client_connection, &party);
    run_on_threads(do_a_bit_of_everything, &work);
    CHECK_OK(ping(pair.server_connection, "hello", NULL));
    await("client protocol PING hello"); /* the last to speak resumed */
    esrpc_stream_release(work.stream);
    pair_end(&pair);
}

static void *wait_for_the_end(void *argument) {
    struct work *work = (struct work *)argument;
    esrpc_status reason = ESRPC_OK;
    note("waiting");
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, esrpc_stream_wait_closed(work->stream, PATIENCE_MS));
    CHECK_ENDED(reason = esrpc_connection_wait_shutdown(work->pair->client_connection, ESRPC_NO_TIMEOUT));
    CHECK(reason == 1234);
    CHECK_OK(esrpc_listener_wait_closed(work->pair->listening, ESRPC_NO_TIMEOUT));
    return NULL;
}

static void *end_everything(void *argument) {
    struct work *work = (struct work *)argument;
    await_count("waiting", THREADS);
    CHECK_OK(esrpc_connection_close(work->pair->client_connection, 1234));
    CHECK_OK(esrpc_listener_close(work->pair->listening));
    return NULL;
}

static void many_threads_may_wait_for_the_same_end(void) {
    struct pair pair;
    struct party party = a_party("call", NULL, NULL);
    struct work work = {&pair, &party, NULL};
    pthread_t ender;
    pair_open(&pair);
    work.stream = open_stream(pair.client_connection, &party);
    await("handler message first");
    CHECK(pthread_create(&ender, NULL, end_everything, &work) == 0);
    run_on_threads(wait_for_the_end, &work);
    CHECK(pthread_join(ender, NULL) == 0);
    esrpc_stream_release(work.stream);
    pair_end(&pair);
}

static void *close_and_abort(void *argument) {
    struct work *work = (struct work *)argument;
    esrpc_connection_close(work->pair->client_connection, 1234);
    esrpc_stream_close(work->stream);
    esrpc_connection_abort(work->pair->server_connection);
    esrpc_connection_close(work->pair->server_connection, 4321);
    esrpc_listener_close(work->pair->listening);
    esrpc_connection_abort(work->pair->client_connection);
    return NULL;
}

static void threads_may_end_everything_at_once(void) {
    for (int i = 0; i < 20; i++) {
        struct pair pair;
        struct party party = a_party("call", NULL, NULL);
        struct work work = {&pair, &party, NULL};
        recorder_clear();
        pair_open(&pair);
        work.stream = open_stream(pair.client_connection, &party);
        run_on_threads(close_and_abort, &work);
        esrpc_stream_release(work.stream);
        pair_end(&pair);
        CHECK_ONCE("call closed");
        CHECK_ONCE("call destroy");
    }
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(threads_may_open_streams_and_send_on_one_connection),
        TEST(every_send_that_races_with_an_abort_is_accepted_and_answered_or_refused),
        TEST(threads_may_ask_pause_and_wait_at_once),
        TEST(many_threads_may_wait_for_the_same_end),
        TEST(threads_may_end_everything_at_once),
    };
    return RUN_TESTS(tests, argc, argv);
}
