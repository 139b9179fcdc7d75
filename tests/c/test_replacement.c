/* Servers under load are drained and replaced one after the other on the same listening descriptor: no call is lost, and none
   is executed twice, by clients that repeat a call only if it was refused, or got no reply, because of a drain. */
#include "events.h"

#include <unistd.h>

enum {
    CONNECTIONS = 4,
    CALLERS_PER_CONNECTION = 4,
    CALLERS = CONNECTIONS * CALLERS_PER_CONNECTION,
    REPLACEMENTS = 12,
    CALLS_PER_SERVER = 400,
    HELD = 3, /* calls that a server keeps for when it is drained */
    MOST_CALLS = 200000
};

struct held {
    esrpc_stream *stream;
    uint32_t id;
};

struct server {
    esrpc_runtime *runtime;
    esrpc_listener *listener;
    /* Under the lock. */
    struct held held[HELD];
    size_t held_count;
    bool draining;
};

/* Callers share it, and the first one to see its end replaces it. */
struct link {
    pthread_mutex_t lock;
    esrpc_connection *connection;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct link links[CONNECTIONS];
    uint32_t port;
    char name[60];
    esrpc_runtime *client_runtime;
    uint32_t next_id;
    size_t answered, refused, unanswered, failed_setups, answered_in_drain;
    bool over;
    uint8_t executed[MOST_CALLS];
} test;

/* Servers */

static void answer(esrpc_stream *stream, uint32_t id) {
    CHECK_OK(esrpc_stream_send_message(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, ESRPC_MESSAGE_FLAG_TERMINATE_STREAM, NULL,
                                       bytes(&id, sizeof id), NULL, NULL));
}

/* Each call is executed: counted, and answered now or when the server is drained. */
static void on_call(esrpc_stream *stream, const esrpc_message *message, void *user_data) {
    struct server *server = (struct server *)user_data;
    esrpc_bytes payload = esrpc_message_get_payload(message);
    bool keep;
    uint32_t id;
    CHECK(payload.len == sizeof id);
    memcpy(&id, payload.data, sizeof id);
    CHECK(id < MOST_CALLS);
    pthread_mutex_lock(&test.lock);
    test.executed[id]++;
    keep = !server->draining && server->held_count < HELD;
    if (keep) {
        server->held[server->held_count].stream = esrpc_stream_acquire(stream);
        server->held[server->held_count++].id = id;
    }
    pthread_cond_broadcast(&test.changed);
    pthread_mutex_unlock(&test.lock);
    if (!keep) answer(stream, id);
}

static void on_incoming_stream(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *first_message,
                               void *user_data) {
    esrpc_stream_callbacks callbacks;
    (void)connection, (void)first_message;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_message = on_call;
    CHECK_OK(esrpc_stream_accept(stream, &callbacks, user_data));
}

static void on_protocol_message(esrpc_connection *connection, const esrpc_message *message, void *user_data) {
    (void)user_data;
    CHECK(esrpc_message_get_type(message) == ESRPC_MESSAGE_TYPE_CONNECT);
    CHECK_OK(esrpc_connection_send_protocol_message(connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK,
                                                    ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, NULL, bytes(NULL, 0), NULL, NULL));
}

static void on_incoming_connection(esrpc_listener *listener, esrpc_connection *connection, void *user_data) {
    esrpc_connection_callbacks callbacks;
    (void)listener;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_protocol_message = on_protocol_message;
    callbacks.on_incoming_stream = on_incoming_stream;
    CHECK_OK(esrpc_connection_accept(connection, &callbacks, user_data));
}

/* A server on the descriptor of the one before, or the first. */
static void begin_server(struct server *server, esrpc_listener *before) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_runtime_options *threads = esrpc_runtime_options_new();
    esrpc_listener_callbacks callbacks;
    esrpc_socket descriptor;
    memset(server, 0, sizeof *server);
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_incoming_connection = on_incoming_connection;
    CHECK_OK(esrpc_runtime_options_set_thread_count(threads, 2));
    CHECK_OK(esrpc_runtime_new(threads, &server->runtime));
    CHECK_OK(esrpc_listener_options_set_runtime(options, server->runtime));
    if (before != NULL) {
        CHECK_OK(esrpc_listener_dup_socket(before, &descriptor));
        CHECK_OK(esrpc_listener_options_set_socket(options, descriptor));
    } else if (over_unix_socket) {
        CHECK_OK(esrpc_listener_options_set_unix_abstract(options, esrpc_text(test.name)));
    } else {
        CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    }
    CHECK_OK(esrpc_listener_listen(options, &callbacks, server, &server->listener));
    esrpc_runtime_options_release(threads);
    esrpc_listener_options_release(options);
}

/* Answers what it holds, and holds no more. Answers how many that were. */
static size_t let_go(struct server *server) {
    pthread_mutex_lock(&test.lock);
    server->draining = true;
    size_t count = server->held_count;
    pthread_mutex_unlock(&test.lock);
    for (size_t i = 0; i < count; i++) {
        answer(server->held[i].stream, server->held[i].id);
        esrpc_stream_release(server->held[i].stream);
    }
    server->held_count = 0;
    return count;
}

/* Drains it, finishes the calls that it holds, and waits for its end. */
static void end_server(struct server *server) {
    CHECK_OK(esrpc_listener_drain(server->listener, ESRPC_NO_TIMEOUT));
    size_t open = esrpc_listener_get_open_streams(server->listener);
    size_t held = let_go(server);
    CHECK(open >= held);
    test.answered_in_drain += held;
    CHECK_OK(esrpc_listener_wait_closed(server->listener, PATIENCE_MS));
    CHECK(esrpc_listener_get_open_connections(server->listener) == 0);
    esrpc_listener_release(server->listener);
    CHECK_OK(esrpc_runtime_join(server->runtime, PATIENCE_MS));
    esrpc_runtime_release(server->runtime);
}

/* Callers */

static void add(size_t *counter) {
    pthread_mutex_lock(&test.lock);
    ++*counter;
    pthread_cond_broadcast(&test.changed);
    pthread_mutex_unlock(&test.lock);
}

/* Of a connection that the server ended, or closed before its handshake was done. */
static bool is_end_by_server(esrpc_status status) {
    return status == ESRPC_ERROR_PEER_CLOSED || status == ESRPC_ERROR_CONNECTION_RESET ||
           status == ESRPC_ERROR_CONNECTION_CLOSED || status == ESRPC_ERROR_IO;
}

static esrpc_connection *connect_once(void) {
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_connection *connection = NULL;
    if (over_unix_socket)
        CHECK_OK(esrpc_client_options_set_unix_abstract(options, esrpc_text(test.name)));
    else
        CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), test.port));
    CHECK_OK(esrpc_client_options_set_runtime(options, test.client_runtime));
    esrpc_status status = esrpc_connection_connect_blocking(options, PATIENCE_MS, &connection);
    esrpc_client_options_release(options);
    if (status != ESRPC_OK) {
        /* There is a listener at all times: no connection is ever refused. */
        if (!is_end_by_server(status)) CHECK_OK(status);
        add(&test.failed_setups);
    }
    return connection;
}

/* A connection that is not `ended`. The one that ended goes on with the calls of others until its server closes it. */
static esrpc_connection *next_connection(struct link *link, const esrpc_connection *ended) {
    esrpc_connection *connection;
    pthread_mutex_lock(&link->lock);
    if (link->connection == ended) {
        esrpc_connection_release(link->connection);
        do {
            link->connection = connect_once();
        } while (link->connection == NULL);
    }
    connection = esrpc_connection_acquire(link->connection);
    pthread_mutex_unlock(&link->lock);
    return connection;
}

static void *be_a_caller(void *data) {
    struct link *link = (struct link *)data;
    esrpc_connection *connection = next_connection(link, NULL);
    for (;;) {
        esrpc_message *reply = NULL;
        esrpc_status status;
        uint32_t id;
        pthread_mutex_lock(&test.lock);
        bool over = test.over;
        id = over ? 0 : test.next_id++;
        pthread_mutex_unlock(&test.lock);
        if (over) break;
        CHECK(id < MOST_CALLS);
        for (;;) {
            status = esrpc_connection_call(connection, esrpc_text("count"), NULL, bytes(&id, sizeof id), ESRPC_NO_TIMEOUT, &reply);
            if (status == ESRPC_OK) break;
            if (status == ESRPC_ERROR_APPLICATION_ERROR) {
                CHECK(last_error_says("drained"));
                add(&test.refused);
                esrpc_message_release(reply);
            } else {
                if (!is_end_by_server(status)) CHECK_OK(status);
                add(&test.unanswered);
            }
            esrpc_connection *ended = connection;
            connection = next_connection(link, ended);
            esrpc_connection_release(ended);
        }
        CHECK(esrpc_bytes_equal(esrpc_message_get_payload(reply), bytes(&id, sizeof id)));
        esrpc_message_release(reply);
        add(&test.answered);
    }
    esrpc_connection_release(connection);
    return NULL;
}

static void await_answers(const struct server *server, size_t count) {
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += PATIENCE_SECONDS;
    pthread_mutex_lock(&test.lock);
    while (test.answered < count || server->held_count < HELD)
        CHECK(pthread_cond_timedwait(&test.changed, &test.lock, &deadline) == 0);
    pthread_mutex_unlock(&test.lock);
}

static void no_call_is_lost_or_executed_twice(void) {
    pthread_t threads[CALLERS];
    struct server servers[2];
    memset(&test, 0, sizeof test);
    CHECK(pthread_mutex_init(&test.lock, NULL) == 0 && pthread_cond_init(&test.changed, NULL) == 0);
    snprintf(test.name, sizeof test.name, "esrpc-replaced-%ld", (long)getpid());
    for (int i = 0; i < CONNECTIONS; i++) CHECK(pthread_mutex_init(&test.links[i].lock, NULL) == 0);
    CHECK_OK(esrpc_runtime_new(NULL, &test.client_runtime));
    begin_server(&servers[0], NULL);
    test.port = esrpc_listener_get_port(servers[0].listener);
    for (int i = 0; i < CALLERS; i++)
        CHECK(pthread_create(&threads[i], NULL, be_a_caller, &test.links[i % CONNECTIONS]) == 0);
    for (int i = 0; i < REPLACEMENTS; i++) {
        struct server *old = &servers[i % 2], *next = &servers[(i + 1) % 2];
        pthread_mutex_lock(&test.lock);
        size_t answered = test.answered;
        pthread_mutex_unlock(&test.lock);
        await_answers(old, answered + CALLS_PER_SERVER);
        begin_server(next, old->listener);
        end_server(old);
    }
    pthread_mutex_lock(&test.lock);
    test.over = true;
    pthread_mutex_unlock(&test.lock);
    struct server *last = &servers[REPLACEMENTS % 2];
    (void)let_go(last);
    for (int i = 0; i < CALLERS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < CONNECTIONS; i++) {
        CHECK_OK(esrpc_connection_close(test.links[i].connection, ESRPC_OK));
        esrpc_connection_release(test.links[i].connection);
        CHECK(pthread_mutex_destroy(&test.links[i].lock) == 0);
    }
    CHECK_OK(esrpc_runtime_join(test.client_runtime, PATIENCE_MS));
    esrpc_runtime_release(test.client_runtime);
    end_server(last);

    CHECK(test.answered == test.next_id && test.answered >= (size_t)REPLACEMENTS * CALLS_PER_SERVER);
    for (uint32_t id = 0; id < test.next_id; id++) CHECK(test.executed[id] == 1);
    CHECK(test.answered_in_drain == (size_t)REPLACEMENTS * HELD);
    printf("%zu calls, each executed once by one of %d servers; %zu finished while their server was drained; repeated: %zu refused, "
           "%zu without an answer; %zu setups failed\n",
           test.answered, REPLACEMENTS + 1, test.answered_in_drain, test.refused, test.unanswered, test.failed_setups);
    pthread_cond_destroy(&test.changed);
    pthread_mutex_destroy(&test.lock);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {TEST(no_call_is_lost_or_executed_twice)};
    return RUN_TESTS(tests, argc, argv);
}
