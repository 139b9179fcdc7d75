/* Functions that wait for a whole step: connecting, a call, the next message of a stream, room for a send. */
#include "blocking.h"

static void a_call_is_answered(void) {
    struct pair pair;
    esrpc_message *reply = NULL;
    blocking_open(&pair);
    CHECK(esrpc_connection_is_open(pair.client_connection));
    CHECK(is_text(esrpc_message_get_payload(esrpc_connection_get_connect_ack(pair.client_connection)), "ack"));
    CHECK_OK(call_text(pair.client_connection, "echo", ESRPC_NO_TIMEOUT, &reply));
    CHECK(is_text(esrpc_message_get_payload(reply), "echo"));
    CHECK(esrpc_message_get_flags(reply) == LAST);
    esrpc_message_release(reply);
    for (int i = 0; i < 100; i++) check_call(pair.client_connection, "echo", "echo");
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair.client_connection, PATIENCE_MS));
    pair_end(&pair);
    CHECK_COUNT(101, "handler closed OK");
}

static void without_a_handshake_in_the_options_an_empty_connect_is_sent(void) {
    struct pair pair;
    blocking_begin(&pair);
    pair.no_handshake = true;
    blocking_connect(&pair);
    check_call(pair.client_connection, "echo", "echo");
    esrpc_message *reply = NULL;
    CHECK_INVALID(esrpc_connection_call(pair.client_connection, esrpc_text(""), NULL, esrpc_text("x"), 0, &reply));
    CHECK(last_error_says("operation is empty"));
    pair_end(&pair);
    CHECK_EVENTS("server", "accepted", "protocol CONNECT", "stream echo", "shutdown", "destroy");
}

static void a_stream_that_the_server_leaves_open_is_ended_by_the_caller(void) {
    struct pair pair;
    blocking_open(&pair);
    check_call(pair.client_connection, "open", "still open");
    await("handler closed OK");
    pair_end(&pair);
    CHECK_EVENTS("handler", "accepted", "message open", "message (last)", "closed OK", "destroy");
}

static void an_error_message_is_handed_out_with_a_status_of_its_own(void) {
    struct pair pair;
    esrpc_message *reply = NULL;
    blocking_open(&pair);
    CHECK_STATUS(ESRPC_ERROR_APPLICATION_ERROR, call_text(pair.client_connection, "fail", PATIENCE_MS, &reply));
    CHECK(last_error_says("it is a Monday"));
    CHECK(esrpc_message_get_type(reply) == ESRPC_MESSAGE_TYPE_APPLICATION_ERROR);
    CHECK(is_text(esrpc_message_get_payload(reply), "it is a Monday"));
    esrpc_message_release(reply);
    pair_end(&pair);
}

static void a_refused_stream_is_an_error_message(void) {
    struct pair pair;
    esrpc_message *reply = NULL;
    blocking_begin(&pair);
    pair.ignore_streams = true;
    blocking_connect(&pair);
    CHECK_STATUS(ESRPC_ERROR_APPLICATION_ERROR, call_text(pair.client_connection, "echo", PATIENCE_MS, &reply));
    CHECK(last_error_says("test#Operation is not accepted here"));
    esrpc_message_release(reply);
    pair_end(&pair);
}

static void an_empty_last_message_is_a_reply(void) {
    struct pair pair;
    esrpc_message *reply = NULL;
    blocking_open(&pair);
    CHECK_OK(call_text(pair.client_connection, "empty", PATIENCE_MS, &reply));
    CHECK(reply != NULL && esrpc_message_get_flags(reply) == LAST && esrpc_message_get_payload(reply).len == 0);
    esrpc_message_release(reply);
    check_call(pair.client_connection, "echo", "echo");
    pair_end(&pair);
}

static void a_call_that_is_not_answered_ends_on_both_sides_and_the_connection_stays(void) {
    struct pair pair;
    esrpc_message *reply = NULL;
    int64_t started, took_ms;
    blocking_open(&pair);
    started = now_ns();
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, call_text(pair.client_connection, "silent", SHORT_MS, &reply));
    took_ms = (now_ns() - started) / 1000000;
    CHECK(reply == NULL && last_error_says("no reply to the call arrived within its timeout_ms (150 ms)"));
    CHECK(took_ms >= SHORT_MS && took_ms < LONG_MS);
    await("handler closed OK");
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, call_text(pair.client_connection, "silent", 0, &reply));
    check_call(pair.client_connection, "echo", "echo");
    pair_end(&pair);
    CHECK_COUNT(2, "handler message (last)");
}

/* Room */

struct caller {
    esrpc_connection *connection;
    esrpc_stream *stream;
    const char *payload;
    uint32_t timeout_ms;
    esrpc_status status;
    char sentence[160];
};

static void remember(struct caller *caller, esrpc_status status) {
    caller->status = status;
    snprintf(caller->sentence, sizeof caller->sentence, "%s", esrpc_last_error_message());
    note("returned");
}

static void *call_in_thread(void *data) {
    struct caller *caller = (struct caller *)data;
    esrpc_message *reply = NULL;
    esrpc_status status = call_text(caller->connection, caller->payload, caller->timeout_ms, &reply);
    CHECK((reply != NULL) == (status == ESRPC_OK || status == ESRPC_ERROR_APPLICATION_ERROR));
    remember(caller, status);
    esrpc_message_release(reply);
    return NULL;
}

static void *read_in_thread(void *data) {
    struct caller *caller = (struct caller *)data;
    esrpc_message *message = NULL;
    esrpc_status status = esrpc_stream_read(caller->stream, caller->timeout_ms, &message);
    CHECK((message != NULL) == (status == ESRPC_OK));
    remember(caller, status);
    esrpc_message_release(message);
    return NULL;
}

static void *send_in_thread(void *data) {
    struct caller *caller = (struct caller *)data;
    remember(caller, esrpc_stream_send_blocking(caller->stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL,
                                                esrpc_text(caller->payload), caller->timeout_ms));
    return NULL;
}

static struct caller a_caller(esrpc_connection *connection, const char *payload) {
    struct caller caller;
    memset(&caller, 0, sizeof caller);
    caller.connection = connection;
    caller.payload = payload;
    caller.timeout_ms = ESRPC_NO_TIMEOUT;
    return caller;
}

/* Takes what was sent to the raw side until the stream's last message. */
static void read_much(struct raw *server, size_t len) {
    while (len > 0) {
        size_t count = raw_read(server, 64 * 1024);
        CHECK(count > 0);
        len -= count < len ? count : len;
        server->len = 0;
    }
}

static void a_full_queue_is_waited_for(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw server;
    struct party filler = a_party("filler", NULL, NULL);
    struct caller caller;
    pthread_t thread;
    esrpc_message *reply;
    size_t queued;
    patient_pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_outbound_limit(pair.client_options, 64 * 1024));
    serve_client(&pair, &listener, &server);
    esrpc_stream *stream = open_stream(pair.client_connection, &filler);
    raw_expect(&server, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, "first");
    CHECK_OK(send_zeros(stream, TOO_MUCH, NULL));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, call_text(pair.client_connection, "echo", SHORT_MS, &reply));
    CHECK(last_error_says("could not be sent within its timeout_ms (150 ms)"));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT,
                 esrpc_stream_send_blocking(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL, esrpc_text("x"), SHORT_MS));

    caller = a_caller(pair.client_connection, "sent");
    caller.stream = stream;
    CHECK(pthread_create(&thread, NULL, send_in_thread, &caller) == 0);
    queued = esrpc_connection_get_outbound_size(pair.client_connection);
    CHECK(queued > 0);
    CHECK_NEVER("returned");
    read_much(&server, TOO_MUCH);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(caller.status == ESRPC_OK);
    /* A waiting call reports the end itself; no callback does. */
    CHECK_NEVER("client writable");
    CHECK_NEVER("filler writable");
    esrpc_stream_release(stream);
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
}

/* Connecting */

static void a_refusal_leaves_nothing_but_its_status(void) {
    struct pair pair;
    blocking_begin(&pair);
    pair.refuse_connect = true;
    pair_listen(&pair);
    CHECK_STATUS(ESRPC_ERROR_HANDSHAKE_REFUSED, connect_blocking(&pair, ESRPC_NO_TIMEOUT));
    CHECK(pair.client_connection == NULL && last_error_says("it says: ack"));
    pair_end(&pair);
}

static void an_end_before_the_handshake_leaves_nothing_but_its_status(void) {
    struct pair pair;
    esrpc_status status;
    blocking_begin(&pair);
    pair.ignore_connections = true;
    pair_listen(&pair);
    status = connect_blocking(&pair, ESRPC_NO_TIMEOUT);
    CHECK(status == ESRPC_ERROR_PEER_CLOSED || status == ESRPC_ERROR_CONNECTION_RESET || status == ESRPC_ERROR_IO);
    CHECK(pair.client_connection == NULL);
    pair_end(&pair);
}

static void a_server_that_closes_without_answering_connect_is_named(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw raw;
    pair_begin(&pair);
    raw_listen(&listener, 16);
    dial_raw(&pair, &pair.client, &listener, &pair.client_connection);
    raw_accept(&listener, &raw);
    raw_expect(&raw, ESRPC_MESSAGE_TYPE_CONNECT, 0, "connect");
    CHECK_STATUS(ESRPC_ERROR_NOT_READY, esrpc_connection_wait_flush(pair.client_connection, PATIENCE_MS));
    raw_close(&raw);
    await("client setup PEER_CLOSED");
    check_end_message_says(pair.client_connection, "closed the connection without answering CONNECT");
    raw_listener_close(&listener);
    pair_end(&pair);
}

static void a_timeout_leaves_nothing_but_its_status(void) {
    struct pair pair;
    int64_t started;
    blocking_begin(&pair);
    pair.ignore_connect = true;
    pair_listen(&pair);
    started = now_ns();
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, connect_blocking(&pair, SHORT_MS));
    CHECK(last_error_says("connected, but the server has sent nothing; it may expect TLS"));
    CHECK((now_ns() - started) / 1000000 >= SHORT_MS);
    CHECK_OK(esrpc_connection_options_set_handshake_timeout_ms(pair.client_options, SHORT_MS));
    CHECK_STATUS(ESRPC_ERROR_HANDSHAKE_TIMED_OUT, connect_blocking(&pair, ESRPC_NO_TIMEOUT));
    CHECK(pair.client_connection == NULL);
    await_count("server shutdown", 2);
    pair_end(&pair);
}

static void a_connection_that_cannot_be_begun_leaves_nothing_but_its_status(void) {
    struct pair pair;
    struct raw_listener listener;
    esrpc_client_options *options = esrpc_client_options_new();
    blocking_begin(&pair);
    CHECK(raw_listen_at(&listener, "127.0.0.1", 0, -1)); /* bound, but it does not listen */
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), listener.port));
    CHECK_OK(esrpc_client_options_set_runtime(options, pair.client_runtime));
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_REFUSED,
                 esrpc_connection_connect_blocking(options, ESRPC_NO_TIMEOUT, &pair.client_connection));
    CHECK(listen(listener.descriptor, 1) == 0);
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_connect_blocking(options, 0, &pair.client_connection));
    CHECK_OK(esrpc_runtime_shutdown(pair.client_runtime));
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN,
                 esrpc_connection_connect_blocking(options, ESRPC_NO_TIMEOUT, &pair.client_connection));
    CHECK(pair.client_connection == NULL);
    esrpc_client_options_release(options);
    raw_listener_close(&listener);
    pair_end(&pair);
}

static void *connect_in_thread(void *data) {
    struct caller *caller = (struct caller *)data;
    struct pair *pair = (struct pair *)caller->payload;
    remember(caller, connect_blocking(pair, ESRPC_NO_TIMEOUT));
    return NULL;
}

static void a_shutdown_of_the_runtime_interrupts_connecting(void) {
    struct pair pair;
    struct caller caller;
    pthread_t thread;
    blocking_begin(&pair);
    pair.ignore_connect = true;
    pair_listen(&pair);
    caller = a_caller(NULL, (const char *)&pair);
    CHECK(pthread_create(&thread, NULL, connect_in_thread, &caller) == 0);
    await("server protocol CONNECT");
    CHECK_OK(esrpc_runtime_shutdown(pair.client_runtime));
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(caller.status == ESRPC_ERROR_RUNTIME_SHUTDOWN);
    pair_end(&pair);
}

/* Reading */

static void a_stream_is_read_to_its_end(void) {
    struct pair pair;
    esrpc_message *message = NULL;
    struct party party = a_party("call", NULL, NULL);
    esrpc_stream *stream = NULL, *with_callbacks;
    blocking_begin(&pair);
    pair.keep_streams = true;
    blocking_connect(&pair);
    with_callbacks = new_stream(pair.client_connection, &party);
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_stream_read(with_callbacks, ESRPC_NO_TIMEOUT, &message));
    CHECK(last_error_says("on_message"));
    esrpc_stream_release(with_callbacks);
    CHECK_OK(esrpc_connection_new_stream(pair.client_connection, NULL, &party, &stream));
    CHECK(esrpc_stream_get_user_data(stream) == &party);
    CHECK_STATUS(ESRPC_ERROR_STREAM_NOT_ACTIVATED, esrpc_stream_read(stream, ESRPC_NO_TIMEOUT, &message));
    CHECK_OK(activate(stream, 0, "open", NULL));
    check_read(stream, "still open");
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_stream_read(stream, 0, &message));
    int64_t started = now_ns();
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_stream_read(stream, SHORT_MS, &message));
    CHECK((now_ns() - started) / 1000000 >= SHORT_MS);
    CHECK(message == NULL);
    for (int i = 0; i < 20; i++) {
        char text[8];
        snprintf(text, sizeof text, "%d", i);
        CHECK_OK(send_text(pair.handler_stream, i == 19 ? LAST : 0, text, NULL));
    }
    CHECK_ENDED(esrpc_stream_wait_closed(stream, PATIENCE_MS));
    for (int i = 0; i < 20; i++) {
        char text[8];
        snprintf(text, sizeof text, "%d", i);
        check_read(stream, text);
    }
    for (int i = 0; i < 2; i++) CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, esrpc_stream_read(stream, PATIENCE_MS, &message));
    esrpc_stream_release(stream);
    pair_end(&pair);
}

static esrpc_stream *accepted;

static void accept_to_read(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *first_message,
                           void *user_data) {
    esrpc_message *message = NULL;
    (void)connection, (void)first_message, (void)user_data;
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_stream_read(stream, 0, &message));
    CHECK_OK(esrpc_stream_accept(stream, NULL, NULL));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_stream_read(stream, 0, &message));
    accepted = esrpc_stream_acquire(stream);
    note("kept");
}

static void accept_connection_to_read(struct party *self, const struct moment *now) {
    esrpc_connection_callbacks callbacks = connection_callbacks();
    if (!is(now, "incoming")) return;
    callbacks.on_protocol_message = server_on_protocol_message;
    callbacks.on_incoming_stream = accept_to_read;
    CHECK_OK(esrpc_connection_accept(now->connection, &callbacks, &((struct pair *)self->data)->server));
    note("server accepted");
}

static void a_server_reads_from_the_first_message_on(void) {
    struct pair pair;
    esrpc_message *message = NULL;
    blocking_begin(&pair);
    pair.ignore_connections = true;
    pair.listener.hook = accept_connection_to_read;
    blocking_connect(&pair);
    esrpc_stream *stream = open_read_stream(pair.client_connection, "question");
    await("kept");
    check_read(accepted, "question");
    CHECK_OK(send_text(stream, 0, "and another", NULL));
    check_read(accepted, "and another");
    CHECK_OK(esrpc_stream_send_blocking(accepted, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, LAST, NULL, esrpc_text("answer"),
                                        ESRPC_NO_TIMEOUT));
    check_read(stream, "answer");
    CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, esrpc_stream_read(stream, ESRPC_NO_TIMEOUT, &message));
    CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, esrpc_stream_read(accepted, ESRPC_NO_TIMEOUT, &message));
    CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED,
                 esrpc_stream_send_blocking(accepted, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL, esrpc_text("x"), 0));
    esrpc_stream_release(accepted);
    esrpc_stream_release(stream);
    pair_end(&pair);
}

/* The queue's limit */

enum { QUEUE = 64 * 1024, PIECE = 16 * 1024 };

/* A client's stream with a small queue, which the server fills, and more than the system keeps. */
static esrpc_stream *open_and_flood(struct pair *pair) {
    blocking_begin(pair);
    CHECK_OK(esrpc_connection_options_set_stream_queue_limit(pair->client_options, QUEUE));
    pair->keep_streams = true;
    blocking_connect(pair);
    esrpc_stream *stream = open_read_stream(pair->client_connection, "flood me");
    await("handler message flood me");
    for (size_t sent = 0; sent < TOO_MUCH; sent += PIECE) CHECK_OK(send_zeros(pair->handler_stream, PIECE, NULL));
    CHECK_OK(send_text(pair->handler_stream, LAST, "end", NULL));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_wait_flush(pair->server_connection, 100));
    return stream;
}

static void read_flood(esrpc_stream *stream, size_t from, size_t to) {
    for (size_t got = from; got < to; got += PIECE) {
        esrpc_message *message = NULL;
        CHECK_OK(esrpc_stream_read(stream, PATIENCE_MS, &message));
        CHECK(esrpc_message_get_payload(message).len == PIECE);
        esrpc_message_release(message);
    }
}

static void a_full_queue_stops_the_peer_and_reading_lets_it_go_on(void) {
    struct pair pair;
    esrpc_stream *stream = open_and_flood(&pair);
    esrpc_message *message = NULL;
    read_flood(stream, 0, TOO_MUCH);
    check_read(stream, "end");
    CHECK_STATUS(ESRPC_ERROR_STREAM_CLOSED, esrpc_stream_read(stream, PATIENCE_MS, &message));
    CHECK_OK(esrpc_connection_wait_flush(pair.server_connection, PATIENCE_MS));
    esrpc_stream_release(stream);
    pair_end(&pair);
}

static void the_applications_pause_and_that_of_a_queue_do_not_undo_each_other(void) {
    struct pair pair;
    esrpc_stream *stream = open_and_flood(&pair);
    esrpc_message *message = NULL;
    size_t got = 0;
    CHECK_OK(esrpc_connection_pause_reading(pair.client_connection));
    CHECK_OK(esrpc_connection_resume_reading(pair.client_connection));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_wait_flush(pair.server_connection, 100));
    CHECK_OK(esrpc_connection_pause_reading(pair.client_connection));
    while (esrpc_stream_read(stream, 0, &message) == ESRPC_OK) {
        got += esrpc_message_get_payload(message).len;
        esrpc_message_release(message);
    }
    CHECK(got >= QUEUE - PIECE && got <= QUEUE + PIECE);
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_stream_read(stream, 100, &message));
    CHECK_OK(esrpc_connection_resume_reading(pair.client_connection));
    read_flood(stream, got, TOO_MUCH);
    check_read(stream, "end");
    esrpc_stream_release(stream);
    pair_end(&pair);
}

static void a_queue_that_is_no_longer_read_does_not_stop_the_connection(void) {
    for (int how = 0; how < 3; how++) {
        struct pair pair;
        recorder_clear();
        esrpc_stream *stream = open_and_flood(&pair);
        /* The replies behind the flood are still missing. */
        esrpc_message *reply = NULL;
        CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, call_text(pair.client_connection, "echo", 50, &reply));
        if (how == 0) {
            esrpc_stream_release(esrpc_stream_acquire(stream));
            esrpc_stream_release(stream);
        } else if (how == 1) {
            CHECK_OK(esrpc_stream_close(stream));
        } else {
            CHECK(esrpc_stream_acquire(stream) == stream);
            esrpc_stream_release(stream);
            CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, call_text(pair.client_connection, "echo", 50, &reply));
            esrpc_stream_release(stream);
        }
        check_call(pair.client_connection, "echo", "echo");
        if (how == 1) esrpc_stream_release(stream);
        pair_end(&pair);
    }
}

/* A thread that waits for room does not read: the peer's death ends that all the same, and what had come can be read. */
static void the_peers_death_is_noticed_though_a_queue_is_full(void) {
    struct pair pair;
    struct caller caller;
    pthread_t thread;
    esrpc_message *message = NULL;
    size_t got = 0;
    esrpc_status status;
    blocking_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_stream_queue_limit(pair.client_options, QUEUE));
    CHECK_OK(esrpc_connection_options_set_outbound_limit(pair.client_options, QUEUE));
    pair.keep_streams = true;
    blocking_connect(&pair);
    esrpc_stream *stream = open_read_stream(pair.client_connection, "flood me");
    await("handler message flood me");
    CHECK_OK(esrpc_connection_pause_reading(pair.server_connection));
    CHECK_OK(send_zeros(stream, TOO_MUCH, NULL));
    for (size_t sent = 0; sent < TOO_MUCH; sent += PIECE) CHECK_OK(send_zeros(pair.handler_stream, PIECE, NULL));
    CHECK_STATUS(ESRPC_ERROR_TIMED_OUT, esrpc_connection_wait_flush(pair.server_connection, 100));
    caller = a_caller(pair.client_connection, "more");
    caller.stream = stream;
    CHECK(pthread_create(&thread, NULL, send_in_thread, &caller) == 0);
    int64_t started = now_ns();
    CHECK_OK(esrpc_connection_abort(pair.server_connection));
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK((now_ns() - started) / 1000000 < LONG_MS); /* no deadline ended it */
    CHECK(caller.status == ESRPC_ERROR_CONNECTION_CLOSED || caller.status == ESRPC_ERROR_STREAM_CLOSED);
    while ((status = esrpc_stream_read(stream, PATIENCE_MS, &message)) == ESRPC_OK) {
        got += esrpc_message_get_payload(message).len;
        esrpc_message_release(message);
    }
    CHECK(got >= QUEUE - PIECE);
    CHECK(status == ESRPC_ERROR_PEER_CLOSED || status == ESRPC_ERROR_CONNECTION_RESET || status == ESRPC_ERROR_IO ||
          status == ESRPC_ERROR_INCOMPLETE);
    esrpc_stream_release(stream);
    pair_end(&pair);
}

/* The least that can be: every message fills the queue. */
static void a_message_that_exceeds_the_limit_alone_is_read_all_the_same(void) {
    struct pair pair;
    blocking_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_stream_queue_limit(pair.client_options, 1));
    pair.keep_streams = true;
    blocking_connect(&pair);
    esrpc_stream *stream = open_read_stream(pair.client_connection, "send me");
    await("handler message send me");
    for (int i = 0; i < 10; i++) CHECK_OK(send_zeros(pair.handler_stream, PIECE, NULL));
    read_flood(stream, 0, (size_t)10 * PIECE);
    esrpc_stream_release(stream);
    pair_end(&pair);
}

/* PROTOCOL_ERROR and INTERNAL_ERROR end what waits, with the peer's text, whether the peer then closes or not. */
static void an_error_message_of_the_peers_ends_what_waits(void) {
    for (int how = 0; how < 3; how++) {
        const bool closes = how == 1;
        const int32_t type = how == 0 ? ESRPC_MESSAGE_TYPE_PROTOCOL_ERROR : ESRPC_MESSAGE_TYPE_INTERNAL_ERROR;
        struct pair pair;
        struct raw_listener listener;
        struct raw raw;
        pthread_t calling, reading;
        recorder_clear();
        patient_pair_begin(&pair);
        serve_client(&pair, &listener, &raw);
        struct caller call = a_caller(pair.client_connection, "called"), read = call;
        read.stream = open_read_stream(pair.client_connection, "opened");
        raw_expect(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, "opened");
        CHECK(pthread_create(&calling, NULL, call_in_thread, &call) == 0);
        CHECK(pthread_create(&reading, NULL, read_in_thread, &read) == 0);
        raw_expect(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, "called");
        raw_send_message(&raw, type, how == 2 ? LAST : 0, 0, NULL, "out of disks");
        if (closes) raw_finish(&raw);
        CHECK(pthread_join(calling, NULL) == 0 && pthread_join(reading, NULL) == 0);
        CHECK(call.status == ESRPC_ERROR_PEER_ERROR && read.status == ESRPC_ERROR_PEER_ERROR);
        CHECK(strstr(call.sentence, "it says: out of disks") && strstr(read.sentence, "it says: out of disks"));
        if (how == 0) {
            raw_expect(&raw, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, LAST, "");
            CHECK(esrpc_connection_is_open(pair.client_connection));
        } else {
            await("client shutdown PEER_CLOSED");
            check_end_message_says(pair.client_connection, "it says: out of disks");
        }
        esrpc_stream_release(read.stream);
        if (!closes) raw_close(&raw);
        raw_listener_close(&listener);
        pair_end(&pair);
    }
}

static void what_came_before_the_peers_end_can_be_read_after_it(void) {
    struct pair pair;
    esrpc_message *message = NULL;
    blocking_begin(&pair);
    pair.keep_streams = true;
    blocking_connect(&pair);
    esrpc_stream *stream = open_read_stream(pair.client_connection, "tell me");
    await("handler message tell me");
    CHECK_OK(send_text(pair.handler_stream, 0, "first words", NULL));
    CHECK_OK(send_text(pair.handler_stream, 0, "last words", NULL));
    CHECK_OK(esrpc_connection_close(pair.server_connection, ESRPC_OK));
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair.client_connection, PATIENCE_MS));
    check_read(stream, "first words");
    check_read(stream, "last words");
    for (int i = 0; i < 2; i++) CHECK_STATUS(ESRPC_ERROR_PEER_CLOSED, esrpc_stream_read(stream, PATIENCE_MS, &message));
    CHECK_STATUS(ESRPC_ERROR_CONNECTION_CLOSED, call_text(pair.client_connection, "echo", PATIENCE_MS, &message));
    esrpc_stream_release(stream);
    pair_end(&pair);
}

/* Interruptions */

enum interruption { CLOSE, ABORT, SERVER_DIES, SHUTDOWN, INTERRUPTIONS };

static void interrupt(struct pair *pair, int how) {
    switch (how) {
    case CLOSE: CHECK_OK(esrpc_connection_close(pair->client_connection, ESRPC_OK)); break;
    case ABORT: CHECK_OK(esrpc_connection_abort(pair->client_connection)); break;
    case SERVER_DIES: CHECK_OK(esrpc_connection_abort(pair->server_connection)); break;
    default: CHECK_OK(esrpc_runtime_shutdown(pair->client_runtime));
    }
}

static void check_interrupted(const struct caller *caller, int how) {
    static const esrpc_status expected[] = {ESRPC_ERROR_CONNECTION_CLOSED, ESRPC_ERROR_CONNECTION_CLOSED,
                                            ESRPC_ERROR_PEER_CLOSED, ESRPC_ERROR_RUNTIME_SHUTDOWN};
    bool reset = how == SERVER_DIES && caller->status == ESRPC_ERROR_CONNECTION_RESET;
    if (caller->status != expected[how] && !reset) {
        fprintf(stderr, "interrupted (%d): %s: %s\n", how, esrpc_status_name(caller->status), caller->sentence);
        abort();
    }
    CHECK(caller->sentence[0] != '\0');
}

static void calls_and_reads_are_interrupted(void) {
    enum { THREADS = 6 };
    for (int how = 0; how < INTERRUPTIONS; how++) {
        struct pair pair;
        struct caller callers[THREADS];
        pthread_t threads[THREADS];
        recorder_clear();
        blocking_open(&pair);
        esrpc_stream *stream = open_read_stream(pair.client_connection, "silent");
        for (int i = 0; i < THREADS; i++) {
            callers[i] = a_caller(pair.client_connection, "silent");
            callers[i].stream = stream;
            CHECK(pthread_create(&threads[i], NULL, i % 2 == 0 ? call_in_thread : read_in_thread, &callers[i]) == 0);
        }
        await_count("handler message silent", 1 + THREADS / 2);
        interrupt(&pair, how);
        for (int i = 0; i < THREADS; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
            check_interrupted(&callers[i], how);
        }
        esrpc_stream_release(stream);
        pair_end(&pair);
    }
}

/* The close itself waits for a peer that reads nothing. */
static void a_close_that_takes_long_interrupts_at_once(void) {
    struct pair pair;
    struct raw_listener listener;
    struct raw server;
    struct party filler = a_party("filler", NULL, NULL);
    struct caller callers[3];
    pthread_t threads[3];
    void *(*const works[])(void *) = {call_in_thread, read_in_thread, send_in_thread};
    patient_pair_begin(&pair);
    CHECK_OK(esrpc_connection_options_set_outbound_limit(pair.client_options, 64 * 1024));
    serve_client(&pair, &listener, &server);
    esrpc_stream *filling = open_stream(pair.client_connection, &filler);
    esrpc_stream *reading = open_read_stream(pair.client_connection, "read");
    CHECK_OK(send_zeros(filling, TOO_MUCH, NULL));
    for (int i = 0; i < 3; i++) {
        callers[i] = a_caller(pair.client_connection, "silent");
        callers[i].stream = i == 1 ? reading : filling;
        CHECK(pthread_create(&threads[i], NULL, works[i], &callers[i]) == 0);
    }
    CHECK_OK(esrpc_connection_close(pair.client_connection, ESRPC_OK));
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        check_interrupted(&callers[i], CLOSE);
    }
    CHECK_NEVER("client shutdown");
    CHECK_OK(esrpc_connection_abort(pair.client_connection));
    await("client shutdown");
    esrpc_stream_release(reading);
    esrpc_stream_release(filling);
    raw_close(&server);
    raw_listener_close(&listener);
    pair_end(&pair);
}

/* Loop threads */

static void wait_in_callback(esrpc_status status, void *user_data) {
    struct pair *pair = (struct pair *)user_data;
    esrpc_message *message = NULL;
    esrpc_connection *connection = NULL;
    esrpc_client_options *options = pair_client_options(pair);
    esrpc_stream *stream = NULL;
    CHECK_OK(status);
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, call_text(pair->client_connection, "echo", 0, &message));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_connection_connect_blocking(options, 0, &connection));
    CHECK_OK(esrpc_connection_new_stream(pair->client_connection, NULL, NULL, &stream));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_stream_read(stream, 0, &message));
    CHECK_STATUS(ESRPC_ERROR_WOULD_DEADLOCK, esrpc_stream_send_blocking(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0,
                                                                        NULL, esrpc_text("x"), 0));
    CHECK(message == NULL && connection == NULL);
    esrpc_stream_release(stream);
    esrpc_client_options_release(options);
    note("refused to wait");
}

static void no_loop_thread_of_the_library_waits(void) {
    struct pair pair;
    blocking_open(&pair);
    CHECK_OK(esrpc_connection_run_on_loop(pair.client_connection, wait_in_callback, &pair));
    CHECK_OK(esrpc_connection_run_on_loop(pair.server_connection, wait_in_callback, &pair));
    await_count("refused to wait", 2);
    CHECK_NEVER("handler");
    check_call(pair.client_connection, "echo", "echo");
    pair_end(&pair);
}

static void a_server_makes_no_calls(void) {
    struct pair pair;
    esrpc_message *reply = NULL;
    blocking_open(&pair);
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, call_text(pair.server_connection, "echo", PATIENCE_MS, &reply));
    pair_end(&pair);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(a_call_is_answered),
        TEST(without_a_handshake_in_the_options_an_empty_connect_is_sent),
        TEST(a_stream_that_the_server_leaves_open_is_ended_by_the_caller),
        TEST(an_error_message_is_handed_out_with_a_status_of_its_own),
        TEST(a_refused_stream_is_an_error_message),
        TEST(an_empty_last_message_is_a_reply),
        TEST(a_call_that_is_not_answered_ends_on_both_sides_and_the_connection_stays),
        TEST(a_full_queue_is_waited_for),
        TEST(a_refusal_leaves_nothing_but_its_status),
        TEST(an_end_before_the_handshake_leaves_nothing_but_its_status),
        TEST(a_server_that_closes_without_answering_connect_is_named),
        TEST(a_timeout_leaves_nothing_but_its_status),
        TEST(a_connection_that_cannot_be_begun_leaves_nothing_but_its_status),
        TEST(a_shutdown_of_the_runtime_interrupts_connecting),
        TEST(a_stream_is_read_to_its_end),
        TEST(a_server_reads_from_the_first_message_on),
        TEST(a_full_queue_stops_the_peer_and_reading_lets_it_go_on),
        TEST(the_applications_pause_and_that_of_a_queue_do_not_undo_each_other),
        TEST(a_queue_that_is_no_longer_read_does_not_stop_the_connection),
        TEST(the_peers_death_is_noticed_though_a_queue_is_full),
        TEST(a_message_that_exceeds_the_limit_alone_is_read_all_the_same),
        TEST(an_error_message_of_the_peers_ends_what_waits),
        TEST(what_came_before_the_peers_end_can_be_read_after_it),
        TEST(calls_and_reads_are_interrupted),
        TEST(a_close_that_takes_long_interrupts_at_once),
        TEST(no_loop_thread_of_the_library_waits),
        TEST(a_server_makes_no_calls),
    };
    return RUN_TESTS(tests, argc, argv);
}
