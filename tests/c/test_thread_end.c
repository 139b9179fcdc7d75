/* Promise 10: a host that ends the thread inside a callback, as an interpreter does when it exits: the process goes on, what
   lived on the thread is silent and inert, its peers see an end, and nothing waits for it forever.

   Beside the scenarios of its table, the name of each callback is one, such as esrpc_stream_callbacks.on_message. */
#include "raw_peer.h"

#include "process.h"

/* The callback in which the thread ends. */
static const char *fatal = "";
/* Which runtime's thread that was. */
static const char *side = "";

static void end_thread_in(const char *slot, const char *whose) {
    if (strcmp(slot, fatal) != 0) return;
    side = whose;
    note("died");
    pthread_exit(NULL);
}

/* The name of the slot behind an event. */
static const char *slot_of(const char *party, const char *what, char slot[80]) {
    static const char *const names[][2] = {
        {"setup", "on_setup"},       {"protocol", "on_protocol_message"},  {"stream", "on_incoming_stream"},
        {"shutdown", "on_shutdown"}, {"incoming", "on_incoming_connection"}, {"failed", "on_failed_connection"},
        {"message", "on_message"},   {"writable", "on_writable"},          {"closed", "on_closed"},
        {"destroy", "on_destroy"},
    };
    const char *table = strcmp(party, "listener") == 0 ? "listener" : strcmp(party, "call") == 0 ? "stream" : "connection";
    const char *name = "";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i][0], what) == 0) name = names[i][1];
    }
    snprintf(slot, 80, "esrpc_%s_callbacks.%s", table, name);
    return slot;
}

static void die_if_fatal(struct party *self, const struct moment *now) {
    char slot[80];
    bool is_server = strcmp(self->name, "server") == 0 || strcmp(self->name, "listener") == 0;
    /* Of what both sides have, only the client's ends its thread. */
    if (strcmp(self->name, "server") == 0 && !is(now, "stream")) return;
    end_thread_in(slot_of(self->name, now->what, slot), is_server ? "server" : "client");
}

/* The server's side of a stream: sends back what comes. */
static void answer(struct party *self, const struct moment *now) {
    (void)self;
    if (is(now, "message")) (void)send_text(now->stream, 0, "answer", NULL);
}

static void fatal_flush(esrpc_status status, void *user_data) {
    (void)user_data;
    end_thread_in("esrpc_flush_callback", "client");
    note_status("flushed", "fatal", status);
}

static void fatal_task(esrpc_status status, void *user_data) {
    (void)user_data;
    end_thread_in("esrpc_task_callback", "client");
    note_status("ran", "fatal", status);
}

static bool fatal_connect(esrpc_connection *connection, const esrpc_message *connect, void *user_data) {
    (void)connection, (void)connect, (void)user_data;
    end_thread_in("esrpc_connect_callback", "server");
    return true;
}

/* CONNECT is a callback's, if that is the one in question. */
static void prepare_fatal_listener(esrpc_listener_options *options) {
    if (strcmp(fatal, "esrpc_connect_callback") == 0)
        CHECK_OK(esrpc_listener_options_set_handshake(options, fatal_connect, NULL));
}

/* Whether the thread ends in the callback that notes the event. */
static bool is_fatal(const char *event) {
    char party[20], what[20], slot[80];
    return sscanf(event, "%19s %19s", party, what) == 2 && strcmp(slot_of(party, what, slot), fatal) == 0 &&
           (strcmp(party, "server") != 0 || strcmp(what, "stream") == 0);
}

/* Waits for the event; false if the thread has died, before or in it. */
static bool reached(const char *pattern) {
    struct timespec deadline = deadline_in(PATIENCE_SECONDS);
    bool died;
    /* The event is noted before the thread ends. */
    if (is_fatal(pattern)) pattern = "died";
    pthread_mutex_lock(&recorder.lock);
    while (count_locked(pattern) == 0 && count_locked("died") == 0) {
        if (!wait_locked(&deadline)) {
            fprintf(stderr, "waited in vain for \"%s\"\n", pattern);
            print_events();
            abort();
        }
    }
    died = count_locked("died") > 0;
    pthread_mutex_unlock(&recorder.lock);
    return !died;
}

static bool fill(struct pair *pair, esrpc_stream *stream) {
    struct gate gate;
    esrpc_status status;
    hold_loop(pair->client_connection, &gate);
    do {
        status = send_zeros(stream, 16 * 1024, NULL);
    } while (status == ESRPC_OK);
    CHECK(status == ESRPC_ERROR_WOULD_BLOCK);
    CHECK_STATUS(ESRPC_ERROR_WOULD_BLOCK, ping(pair->client_connection, "x", NULL));
    gate_open(&gate);
    return reached("client writable") && reached("call writable");
}

/* A client that the listener has no descriptor for. */
static bool fail_a_connection(struct pair *pair) {
    struct sockaddr_in address = ipv4_address("127.0.0.1", esrpc_listener_get_port(pair->listening));
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    rlim_t before;
    bool alive;
    CHECK(client >= 0);
    before = forbid_descriptors();
    CHECK(connect(client, (const struct sockaddr *)&address, sizeof address) == 0);
    alive = reached("listener failed");
    allow_descriptors(before);
    close(client);
    return alive;
}

/* Every callback of the RPC, in one conversation, until the thread dies. */
static void converse(struct pair *pair, struct party *call, esrpc_stream **stream) {
    esrpc_connection *connection;
    pair_dial(pair);
    if (!reached("client setup") || !reached("server accepted")) return;
    connection = pair->client_connection;
    CHECK_OK(esrpc_connection_send_protocol_message(connection, ESRPC_MESSAGE_TYPE_PING, 0, NULL, esrpc_text("x"),
                                                    fatal_flush, NULL));
    if (!reached("flushed fatal OK") || !reached("server protocol PING")) return;
    CHECK_OK(send_protocol(pair->server_connection, ESRPC_MESSAGE_TYPE_PING, 0, "y", NULL));
    if (!reached("client protocol PING")) return;
    CHECK_OK(esrpc_connection_run_on_loop(connection, fatal_task, NULL));
    if (!reached("ran fatal OK")) return;
    *stream = open_stream(connection, call);
    if (!reached("server stream") || !reached("call message")) return;
    if (!fill(pair, *stream)) return;
    CHECK_OK(esrpc_stream_close(*stream));
    if (!reached("call closed")) return;
    esrpc_stream_release(*stream);
    *stream = NULL;
    if (!reached("call destroy")) return;
    if (!fail_a_connection(pair)) return;
    CHECK_OK(esrpc_connection_close(connection, ESRPC_OK));
    if (!reached("client shutdown")) return;
    esrpc_connection_release(connection);
    pair->client_connection = NULL;
    if (!reached("client destroy")) return;
    CHECK_OK(esrpc_listener_close(pair->listening));
    if (!reached("listener closed")) return;
    esrpc_listener_release(pair->listening);
    pair->listening = NULL;
    (void)reached("listener destroy");
}

static size_t count_all(void) {
    pthread_mutex_lock(&recorder.lock);
    size_t count = recorder.count;
    pthread_mutex_unlock(&recorder.lock);
    return count;
}

static size_t events_of(const char *runtime) {
    return strcmp(runtime, "client") == 0 ? count_of("client") + count_of("call")
                                          : count_of("server") + count_of("listener");
}

/* A connection whose thread has ended on one side. */
static void check_dead(esrpc_connection *connection, esrpc_stream *stream) {
    esrpc_message *message = NULL;
    esrpc_stream *other = NULL;
    if (connection != NULL) {
        CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_close(connection, ESRPC_OK));
        CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, ping(connection, "x", "never"));
        CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_run_on_loop(connection, fatal_task, NULL));
        CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_new_stream(connection, NULL, NULL, &other));
        CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_wait_setup(connection, PATIENCE_MS));
        CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_wait_flush(connection, PATIENCE_MS));
        CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_wait_shutdown(connection, PATIENCE_MS));
        CHECK(!esrpc_connection_is_open(connection));
    }
    if (stream != NULL) {
        CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, send_text(stream, 0, "x", "never"));
        CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_stream_close(stream));
        CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_stream_wait_closed(stream, PATIENCE_MS));
        CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_stream_read(stream, PATIENCE_MS, &message));
    }
}

static void die_in_a_conversation(void) {
    struct party call = a_party("call", die_if_fatal, NULL);
    esrpc_stream *stream = NULL;
    esrpc_client_options *options;
    esrpc_connection *late = NULL;
    struct pair pair;
    bool client_died;
    size_t events;
    pair_begin(&pair);
    pair.client.hook = pair.server.hook = pair.listener.hook = die_if_fatal;
    pair.handler.hook = answer;
    CHECK_OK(esrpc_connection_options_set_outbound_limit(pair.client_options, 64 * 1024));
    pair.prepare_listener = prepare_fatal_listener;
    pair_listen(&pair);
    options = pair_client_options(&pair);
    converse(&pair, &call, &stream);
    await("died");
    client_died = strcmp(side, "client") == 0;
    /* The thread is still ending: its end is what the join waits for. */
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN,
                 esrpc_runtime_join(client_died ? pair.client_runtime : pair.server_runtime, PATIENCE_MS));
    events = events_of(side);
    if (client_died) {
        check_dead(pair.client_connection, stream);
        CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_connect(options, NULL, NULL, &late));
        if (pair.listening != NULL && pair.server_connection != NULL)
            CHECK_ENDED(esrpc_connection_wait_shutdown(pair.server_connection, PATIENCE_MS));
    } else {
        check_dead(pair.server_connection, NULL);
        if (pair.listening != NULL) {
            CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_listener_close(pair.listening));
            CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
        }
        if (pair.client_connection != NULL)
            CHECK_ENDED(esrpc_connection_wait_shutdown(pair.client_connection, PATIENCE_MS));
    }
    esrpc_stream_release(stream);
    esrpc_connection_release(pair.client_connection);
    esrpc_connection_release(pair.server_connection);
    esrpc_listener_release(pair.listening);
    esrpc_client_options_release(options);
    if (client_died) {
        CHECK_OK(esrpc_runtime_shutdown(pair.server_runtime));
        CHECK_OK(esrpc_runtime_join(pair.server_runtime, PATIENCE_MS));
    } else {
        CHECK_OK(esrpc_runtime_shutdown(pair.client_runtime));
        CHECK_OK(esrpc_runtime_join(pair.client_runtime, PATIENCE_MS));
    }
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN,
                 esrpc_runtime_join(client_died ? pair.client_runtime : pair.server_runtime, PATIENCE_MS));
    /* Not even destroy came. */
    CHECK(events_of(side) == events);
    esrpc_runtime_release(pair.client_runtime);
    esrpc_runtime_release(pair.server_runtime);
    esrpc_connection_options_release(pair.client_options);
    esrpc_connection_options_release(pair.server_options);
}

/* Callbacks that run on one of the host's threads. */
static void log_and_die(int32_t level, const char *target, const char *message, void *user_data) {
    (void)level, (void)target, (void)message, (void)user_data;
    end_thread_in("esrpc_log_callback", "own");
}

static void *log_something(void *data) {
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    (void)data;
    CHECK_OK(esrpc_runtime_options_set_log(options, ESRPC_LOG_LEVEL_TRACE, log_and_die, NULL));
    CHECK_OK(esrpc_runtime_new(options, (esrpc_runtime **)data));
    note("survived");
    return NULL;
}

static void decoder_prelude(esrpc_decoder *decoder, uint32_t total, uint32_t headers, uint32_t crc, void *user_data) {
    (void)decoder, (void)total, (void)headers, (void)crc, (void)user_data;
    end_thread_in("esrpc_decoder_callbacks.on_prelude", "own");
}

static void decoder_header(esrpc_decoder *decoder, const esrpc_header *header, void *user_data) {
    (void)decoder, (void)header, (void)user_data;
    end_thread_in("esrpc_decoder_callbacks.on_header", "own");
}

static void decoder_payload(esrpc_decoder *decoder, const uint8_t *data, size_t len, void *user_data) {
    (void)decoder, (void)data, (void)len, (void)user_data;
    end_thread_in("esrpc_decoder_callbacks.on_payload", "own");
}

static void decoder_complete(esrpc_decoder *decoder, uint32_t crc, void *user_data) {
    (void)decoder, (void)crc, (void)user_data;
    end_thread_in("esrpc_decoder_callbacks.on_complete", "own");
}

static void decoder_error(esrpc_decoder *decoder, esrpc_status status, void *user_data) {
    (void)decoder, (void)status, (void)user_data;
    end_thread_in("esrpc_decoder_callbacks.on_error", "own");
}

static void *decode_something(void *data) {
    esrpc_decoder_callbacks callbacks;
    esrpc_headers *headers = esrpc_headers_new();
    uint8_t message[100];
    size_t len;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_prelude = decoder_prelude;
    callbacks.on_header = decoder_header;
    callbacks.on_payload = decoder_payload;
    callbacks.on_complete = decoder_complete;
    callbacks.on_error = decoder_error;
    CHECK_OK(esrpc_decoder_new(&callbacks, NULL, (esrpc_decoder **)data));
    CHECK_OK(esrpc_headers_add_string(headers, esrpc_text("name"), esrpc_text("value")));
    CHECK_OK(esrpc_message_encode(headers, esrpc_text("payload"), message, sizeof message, &len));
    esrpc_headers_release(headers);
    CHECK_OK(esrpc_decoder_push(*(esrpc_decoder **)data, bytes(message, len)));
    message[0] = 0xff;
    (void)esrpc_decoder_push(*(esrpc_decoder **)data, bytes(message, len));
    note("survived");
    return NULL;
}

static void die_on_an_own_thread(void *(*work)(void *)) {
    void *object = NULL;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, work, &object) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_ONCE("died");
    CHECK_NEVER("survived");
}

/* Every way to wait for something on a thread that dies. */
struct waits {
    struct pair *pair;
    esrpc_stream *read, *closed;
};

struct waiter {
    esrpc_status (*wait)(struct waits *waits);
    struct waits *waits;
    pthread_t thread;
    char task[64]; /* its folder in /proc */
    bool started;
};

static esrpc_status wait_shutdown(struct waits *waits) {
    return esrpc_connection_wait_shutdown(waits->pair->client_connection, ESRPC_NO_TIMEOUT);
}

static esrpc_status wait_read(struct waits *waits) {
    esrpc_message *message = NULL;
    return esrpc_stream_read(waits->read, ESRPC_NO_TIMEOUT, &message);
}

static esrpc_status wait_closed(struct waits *waits) {
    return esrpc_stream_wait_closed(waits->closed, ESRPC_NO_TIMEOUT);
}

static esrpc_status wait_flush(struct waits *waits) {
    return esrpc_connection_wait_flush(waits->pair->client_connection, ESRPC_NO_TIMEOUT);
}

static esrpc_status wait_call(struct waits *waits) {
    esrpc_message *reply = NULL;
    return esrpc_connection_call(waits->pair->client_connection, esrpc_text("x"), NULL, esrpc_text("x"), ESRPC_NO_TIMEOUT,
                                 &reply);
}

static esrpc_status wait_send(struct waits *waits) {
    esrpc_status status;
    do {
        status = esrpc_stream_send_blocking(waits->closed, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL,
                                            esrpc_text("some bytes"), ESRPC_NO_TIMEOUT);
    } while (status == ESRPC_OK);
    return status;
}

static esrpc_status wait_connect(struct waits *waits) {
    esrpc_client_options *options = pair_client_options(waits->pair);
    esrpc_connection *connection = NULL;
    esrpc_status status = esrpc_connection_connect_blocking(options, ESRPC_NO_TIMEOUT, &connection);
    esrpc_client_options_release(options);
    return status;
}

static esrpc_status wait_join(struct waits *waits) {
    return esrpc_runtime_join(waits->pair->client_runtime, ESRPC_NO_TIMEOUT);
}

static void *run_waiter(void *data) {
    struct waiter *waiter = (struct waiter *)data;
    esrpc_status status;
    pthread_mutex_lock(&recorder.lock);
    CHECK(readlink("/proc/thread-self", waiter->task, sizeof waiter->task - 1) > 0);
    waiter->started = true;
    pthread_mutex_unlock(&recorder.lock);
    status = waiter->wait(waiter->waits);
    note_status("wait", "ended", status);
    return NULL;
}

/* Waits until the thread sleeps in the system. */
static void await_sleep(struct waiter *waiter) {
    struct timespec now, deadline = deadline_in(PATIENCE_SECONDS);
    bool sleeps = false;
    while (!sleeps) {
        char path[100], line[200] = "";
        bool started;
        pthread_mutex_lock(&recorder.lock);
        started = waiter->started;
        pthread_mutex_unlock(&recorder.lock);
        if (started) {
            FILE *file;
            snprintf(path, sizeof path, "/proc/%.60s/stat", waiter->task);
            file = fopen(path, "r");
            CHECK(file != NULL);
            sleeps = fgets(line, sizeof line, file) != NULL && strstr(line, ") S ") != NULL;
            fclose(file);
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
        CHECK(now.tv_sec < deadline.tv_sec);
        sched_yield();
    }
}

static void every_wait_returns(void) {
    static esrpc_status (*const kinds[])(struct waits *) = {wait_shutdown, wait_read, wait_closed, wait_call,
                                                            wait_flush,         wait_send, wait_join,   wait_connect};
    enum { KINDS = sizeof kinds / sizeof *kinds };
    struct waiter waiters[KINDS];
    struct party call = a_party("call", NULL, NULL);
    struct waits waits;
    struct pair pair;
    struct gate server_gate;
    pair_begin(&pair);
    make_patient(pair.client_options);
    make_patient(pair.server_options);
    pair_connect(&pair);
    memset(&waits, 0, sizeof waits);
    waits.pair = &pair;
    CHECK_OK(esrpc_connection_new_stream(pair.client_connection, NULL, NULL, &waits.read));
    CHECK_OK(activate(waits.read, 0, "read", NULL));
    waits.closed = open_stream(pair.client_connection, &call);
    await("handler message first");
    /* From here on the server reads nothing, and does not answer CONNECT. */
    hold_loop(pair.server_connection, &server_gate);
    for (size_t i = 0; i < KINDS; i++) {
        memset(&waiters[i], 0, sizeof waiters[i]);
        waiters[i].wait = kinds[i];
        waiters[i].waits = &waits;
        /* What is to be flushed must not leave. */
        if (kinds[i] == wait_flush) CHECK_OK(send_zeros(waits.closed, TOO_MUCH, NULL));
        CHECK(pthread_create(&waiters[i].thread, NULL, run_waiter, &waiters[i]) == 0);
        /* The others have to be under way before nothing new is taken. */
        await_sleep(&waiters[i]);
    }
    fatal = "esrpc_task_callback";
    CHECK_OK(esrpc_connection_run_on_loop(pair.client_connection, fatal_task, NULL));
    for (size_t i = 0; i < KINDS; i++) CHECK(pthread_join(waiters[i].thread, NULL) == 0);
    CHECK_COUNT(KINDS, "wait ended");
    CHECK_COUNT(KINDS, "wait ended RUNTIME_SHUTDOWN");
    gate_open(&server_gate);
    CHECK_ENDED(esrpc_connection_wait_shutdown(pair.server_connection, PATIENCE_MS));
    CHECK_NEVER("client shutdown");
    CHECK_NEVER("call closed");
    esrpc_stream_release(waits.read);
    esrpc_stream_release(waits.closed);
    esrpc_connection_release(pair.client_connection);
    esrpc_connection_release(pair.server_connection);
    esrpc_listener_release(pair.listening);
    CHECK_OK(esrpc_runtime_shutdown(pair.server_runtime));
    CHECK_OK(esrpc_runtime_join(pair.server_runtime, PATIENCE_MS));
    esrpc_runtime_release(pair.client_runtime);
    esrpc_runtime_release(pair.server_runtime);
    esrpc_connection_options_release(pair.client_options);
    esrpc_connection_options_release(pair.server_options);
}

/* The default runtime, whose one thread dies: the next use makes a new one. */
static void the_default_runtime_is_made_anew(void) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener *listener = NULL, *other = NULL;
    esrpc_client_options *client = esrpc_client_options_new();
    esrpc_connection *connection = NULL;
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_listen(options, NULL, NULL, &listener));
    CHECK_OK(esrpc_client_options_set_host(client, esrpc_text("127.0.0.1"), esrpc_listener_get_port(listener)));
    CHECK_OK(esrpc_connection_connect(client, NULL, NULL, &connection));
    fatal = "esrpc_task_callback";
    CHECK_OK(esrpc_connection_run_on_loop(connection, fatal_task, NULL));
    await("died");
    /* The thread is still ending: its end is what the join waits for. */
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_runtime_join(NULL, PATIENCE_MS));
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_wait_shutdown(connection, PATIENCE_MS));
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_listener_wait_closed(listener, PATIENCE_MS));
    CHECK_OK(esrpc_listener_listen(options, NULL, NULL, &other));
    CHECK_OK(esrpc_listener_close(other));
    CHECK_OK(esrpc_listener_wait_closed(other, PATIENCE_MS));
    esrpc_listener_release(other);
    esrpc_listener_release(listener);
    esrpc_connection_release(connection);
    esrpc_client_options_release(client);
    esrpc_listener_options_release(options);
    CHECK_OK(esrpc_runtime_join(NULL, PATIENCE_MS));
}

static void *use_the_default_runtime(void *data) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_listen(options, NULL, NULL, (esrpc_listener **)data));
    esrpc_listener_options_release(options);
    return NULL;
}

/* A thread of the host's dies in the log callback while it makes the default runtime: the others can use it. */
static void the_default_runtime_after_a_death_in_its_log(void) {
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    esrpc_listener *listener = NULL;
    CHECK_OK(esrpc_runtime_options_set_log(options, ESRPC_LOG_LEVEL_DEBUG, log_and_die, NULL));
    CHECK_OK(esrpc_runtime_set_default_options(options));
    esrpc_runtime_options_release(options);
    fatal = "esrpc_log_callback";
    die_on_an_own_thread(use_the_default_runtime);
    fatal = "nothing";
    CHECK_STATUS(ESRPC_ERROR_INVALID_STATE, esrpc_runtime_set_default_options(NULL));
    (void)use_the_default_runtime(&listener);
    CHECK_OK(esrpc_listener_close(listener));
    CHECK_OK(esrpc_listener_wait_closed(listener, PATIENCE_MS));
    esrpc_listener_release(listener);
    CHECK_OK(esrpc_runtime_join(NULL, PATIENCE_MS));
    CHECK_OK(esrpc_runtime_set_default_options(NULL));
}

/* A thread that dies in the log callback is not waited for. */
static void a_stop_after_a_death_in_the_log(void) {
    esrpc_runtime_options *runtime_options = esrpc_runtime_options_new();
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_connection *connection = NULL;
    esrpc_runtime *runtime;
    fatal = "nothing";
    CHECK_OK(esrpc_runtime_options_set_log(runtime_options, ESRPC_LOG_LEVEL_INFO, log_and_die, NULL));
    CHECK_OK(esrpc_runtime_new(runtime_options, &runtime));
    esrpc_runtime_options_release(runtime_options);
    /* Nobody listens there, which is logged on the loop's thread. */
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), 1));
    CHECK_OK(esrpc_client_options_set_runtime(options, runtime));
    fatal = "esrpc_log_callback";
    CHECK_OK(esrpc_connection_connect(options, NULL, NULL, &connection));
    await("died");
    CHECK_OK(esrpc_runtime_stop(runtime, PATIENCE_MS));
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_wait_setup(connection, PATIENCE_MS));
    esrpc_connection_release(connection);
    esrpc_client_options_release(options);
    esrpc_runtime_release(runtime);
}

/* Of two threads one dies: the other goes on, and new connections go there. */
static void the_other_threads_go_on(void) {
    enum { CONNECTIONS = 4 };
    esrpc_runtime_options *runtime_options = esrpc_runtime_options_new();
    esrpc_runtime *two;
    esrpc_connection *connections[CONNECTIONS], *later = NULL;
    esrpc_client_options *options;
    struct pair pair;
    size_t alive = 0;
    pair_begin(&pair);
    pair_connect(&pair);
    CHECK_OK(esrpc_runtime_options_set_thread_count(runtime_options, 2));
    CHECK_OK(esrpc_runtime_new(runtime_options, &two));
    esrpc_runtime_options_release(runtime_options);
    options = pair_client_options(&pair);
    CHECK_OK(esrpc_client_options_set_runtime(options, two));
    for (size_t i = 0; i < CONNECTIONS; i++) {
        CHECK_OK(esrpc_connection_connect_blocking(options, PATIENCE_MS, &connections[i]));
    }
    fatal = "esrpc_task_callback";
    CHECK_OK(esrpc_connection_run_on_loop(connections[0], fatal_task, NULL));
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_connection_wait_shutdown(connections[0], PATIENCE_MS));
    for (size_t i = 0; i < CONNECTIONS; i++) alive += esrpc_connection_is_open(connections[i]);
    CHECK(alive == CONNECTIONS / 2);
    for (size_t i = 0; i < 3; i++) {
        CHECK_OK(esrpc_connection_connect_blocking(options, PATIENCE_MS, &later));
        CHECK_OK(ping(later, "alive", NULL));
        CHECK_OK(esrpc_connection_wait_flush(later, PATIENCE_MS));
        CHECK_OK(esrpc_connection_close(later, ESRPC_OK));
        esrpc_connection_release(later);
    }
    for (size_t i = 0; i < CONNECTIONS; i++) {
        (void)esrpc_connection_close(connections[i], ESRPC_OK);
        esrpc_connection_release(connections[i]);
    }
    esrpc_client_options_release(options);
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_runtime_join(two, PATIENCE_MS));
    esrpc_runtime_release(two);
    pair_end(&pair);
}

/* A connection's thread ends while the connection is announced; the listener, on another thread, can be closed. */
static void the_listener_goes_on(void) {
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    struct pair pair;
    pair_begin(&pair);
    esrpc_runtime_release(pair.server_runtime);
    CHECK_OK(esrpc_runtime_options_set_thread_count(options, 2));
    CHECK_OK(esrpc_runtime_new(options, &pair.server_runtime));
    esrpc_runtime_options_release(options);
    pair.listener.hook = die_if_fatal;
    pair_listen(&pair);
    fatal = "esrpc_listener_callbacks.on_incoming_connection";
    pair_dial(&pair);
    await("died");
    /* The peer sees an end. */
    await("client setup");
    esrpc_connection_release(pair.client_connection);
    CHECK_OK(esrpc_listener_close(pair.listening));
    CHECK_OK(esrpc_listener_wait_closed(pair.listening, PATIENCE_MS));
    CHECK_ONCE("listener closed OK");
    esrpc_listener_release(pair.listening);
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_runtime_join(pair.server_runtime, PATIENCE_MS));
    CHECK_OK(esrpc_runtime_join(pair.client_runtime, PATIENCE_MS));
    esrpc_runtime_release(pair.client_runtime);
    esrpc_runtime_release(pair.server_runtime);
    esrpc_connection_options_release(pair.client_options);
    esrpc_connection_options_release(pair.server_options);
}

static void run_with_recorder(void (*scenario)(void)) {
    recorder_begin();
    scenario();
    CHECK(count_all() > 0);
    recorder_end();
}

static void die_in_the_log(void) {
    die_on_an_own_thread(log_something);
}

static void die_in_a_decoder(void) {
    die_on_an_own_thread(decode_something);
}

static void end_and_die(void *user_data) {
    (void)user_data;
    end_thread_in("esrpc_ended_callback", "own");
}

static void die_at_a_runtimes_end(void) {
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    esrpc_runtime *runtime;
    CHECK_OK(esrpc_runtime_options_set_thread_count(options, 2));
    CHECK_OK(esrpc_runtime_options_set_on_ended(options, end_and_die, NULL));
    CHECK_OK(esrpc_runtime_new(options, &runtime));
    esrpc_runtime_options_release(options);
    CHECK_STATUS(ESRPC_ERROR_RUNTIME_SHUTDOWN, esrpc_runtime_join(runtime, PATIENCE_MS));
    await("died");
    esrpc_runtime_release(runtime);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(every_wait_returns),      TEST(the_default_runtime_is_made_anew), TEST(a_stop_after_a_death_in_the_log),
        TEST(the_other_threads_go_on), TEST(the_listener_goes_on),
        TEST(the_default_runtime_after_a_death_in_its_log),
    };
    const char *wanted = read_command_line(argc, argv);
    /* A process runs one of them: what was in the hands of a thread that has ended stays there. */
    CHECK(wanted != NULL);
    if (strncmp(wanted, "esrpc_", 6) == 0) {
        fatal = wanted;
        if (strcmp(fatal, "esrpc_log_callback") == 0)
            run_with_recorder(die_in_the_log);
        else if (strncmp(fatal, "esrpc_decoder_callbacks", 23) == 0)
            run_with_recorder(die_in_a_decoder);
        else if (strcmp(fatal, "esrpc_ended_callback") == 0)
            run_with_recorder(die_at_a_runtimes_end);
        else
            run_with_recorder(die_in_a_conversation);
    } else {
        CHECK(run_scenarios(tests, sizeof tests / sizeof *tests, argc, argv, recorder_begin, recorder_end) == 0);
    }
    /* Not by exit, where a leak checker would count what that thread had. */
    _exit(0);
}
