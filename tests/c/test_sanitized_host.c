/* A program that hands its data over through the library, without locks, as it may: what was written before a call is seen by
   the callbacks that the call leads to, and what callbacks wrote is seen after the wait that follows them. For
   ThreadSanitizer, to which tests/c_guest.rs gives docs/tsan.supp.

   With an argument it has a race: "threads", of two threads of its own; "callback", of a callback and the main thread. */
#include "check.h"

#include <pthread.h>

enum { ROUNDS = 20, MESSAGES = 50 };

/* Of one connection; no member has a lock. */
struct visitor {
    char greeting[32];
    char *heap;
    int replies, flushed, closed;
    int racing; /* the only one that two threads touch at once, if asked to */
};

static void on_flush(esrpc_status status, void *user_data) {
    ((struct visitor *)user_data)->flushed += status == ESRPC_OK;
}

static void stream_on_message(esrpc_stream *stream, const esrpc_message *message, void *user_data) {
    struct visitor *visitor = (struct visitor *)user_data;
    (void)stream;
    CHECK(is_text(esrpc_message_get_payload(message), visitor->replies + 1 < MESSAGES ? visitor->greeting : "bye"));
    strcpy(visitor->heap, "seen");
    visitor->replies++;
    visitor->racing++;
}

static void stream_on_closed(esrpc_stream *stream, esrpc_status reason, void *user_data) {
    (void)stream, (void)reason;
    ((struct visitor *)user_data)->closed++;
}

static void server_on_message(esrpc_stream *stream, const esrpc_message *message, void *user_data) {
    esrpc_bytes payload = esrpc_message_get_payload(message);
    int32_t flags = is_text(payload, "bye") ? ESRPC_MESSAGE_FLAG_TERMINATE_STREAM : 0;
    (void)user_data;
    CHECK_OK(esrpc_stream_send_message(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, flags, NULL, payload, NULL, NULL));
}

static void on_incoming_stream(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *first, void *user_data) {
    esrpc_stream_callbacks callbacks;
    (void)connection, (void)first;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_message = server_on_message;
    CHECK_OK(esrpc_stream_accept(stream, &callbacks, user_data));
}

static void on_protocol_message(esrpc_connection *connection, const esrpc_message *message, void *user_data) {
    (void)user_data;
    if (esrpc_message_get_type(message) == ESRPC_MESSAGE_TYPE_CONNECT)
        CHECK_OK(esrpc_connection_send_protocol_message(connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK,
                                                        ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, NULL, esrpc_text(""), NULL,
                                                        NULL));
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

static esrpc_listener *listen_somewhere(void) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener_callbacks callbacks;
    esrpc_listener *listener;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_incoming_connection = on_incoming_connection;
    CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_listen(options, &callbacks, NULL, &listener));
    esrpc_listener_options_release(options);
    return listener;
}

static void visit(esrpc_listener *listener, int round, bool race) {
    struct visitor visitor;
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_stream_callbacks callbacks;
    esrpc_connection *connection;
    esrpc_stream *stream;
    CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), esrpc_listener_get_port(listener)));
    CHECK_OK(esrpc_connection_connect_blocking(options, 60000, &connection));
    esrpc_client_options_release(options);

    memset(&visitor, 0, sizeof visitor);
    snprintf(visitor.greeting, sizeof visitor.greeting, "hello %d", round);
    visitor.heap = (char *)malloc(8);
    CHECK(visitor.heap != NULL);
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_message = stream_on_message;
    callbacks.on_closed = stream_on_closed;
    CHECK_OK(esrpc_connection_new_stream(connection, &callbacks, &visitor, &stream));
    CHECK_OK(esrpc_stream_activate(stream, esrpc_text("test#Echo"), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL,
                                   esrpc_text(visitor.greeting), on_flush, &visitor));
    for (int i = 1; i < MESSAGES; i++) {
        const char *payload = i + 1 < MESSAGES ? visitor.greeting : "bye";
        CHECK_OK(esrpc_stream_send_message(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL, esrpc_text(payload),
                                           on_flush, &visitor));
        if (race) visitor.racing++;
    }
    CHECK_ENDED(esrpc_stream_wait_closed(stream, 60000));
    CHECK(visitor.replies == MESSAGES && visitor.flushed == MESSAGES && visitor.closed == 1);
    CHECK(strcmp(visitor.heap, "seen") == 0);
    free(visitor.heap);
    esrpc_stream_release(stream);
    CHECK_OK(esrpc_connection_close(connection, ESRPC_OK));
    CHECK_ENDED(esrpc_connection_wait_shutdown(connection, 60000));
    esrpc_connection_release(connection);
}

static int shared;

static void *touch(void *data) {
    for (int i = 0; i < 1000; i++) shared++;
    return data;
}

int main(int argc, char **argv) {
    const char *race = argc > 1 ? argv[1] : "";
    esrpc_listener *listener = listen_somewhere();
    pthread_t thread;
    for (int round = 0; round < ROUNDS; round++) visit(listener, round, strcmp(race, "callback") == 0);
    if (strcmp(race, "threads") == 0) {
        CHECK(pthread_create(&thread, NULL, touch, NULL) == 0);
        touch(NULL);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    CHECK_OK(esrpc_listener_close(listener));
    CHECK_OK(esrpc_listener_wait_closed(listener, 60000));
    esrpc_listener_release(listener);
    CHECK_OK(esrpc_runtime_join(NULL, 60000));
    return 0;
}
