/* Promise 6, function by function: each function of the header is called in each callback of a conversation, with the objects
   that are at hand there. It returns, what waits returns WOULD_DEADLOCK, and every object has a whole life all the same.
   tests/c/every_call.rs makes every_call.h from the header. Each function is a scenario. */
#include "reentrancy.h"

#include "process.h"

#include <errno.h>
#include <sys/socket.h>

/* What a call is given. Builders are new ones. */
struct hands {
    struct scene *scene;
    esrpc_runtime *runtime;
    esrpc_connection *connection;
    esrpc_stream *stream, *new_stream; /* the second is not activated; both may be NULL */
    esrpc_listener *listener;
    esrpc_headers *headers;
    esrpc_message *message;
    esrpc_buffer *buffer;
    esrpc_decoder *decoder;
    esrpc_client_options *client_options;
    esrpc_listener_options *listener_options;
    esrpc_connection_options *connection_options;
    esrpc_runtime_options *runtime_options;
    esrpc_tls_config_builder *tls_config_builder;
    esrpc_tls_config *tls_config;
    esrpc_connection_callbacks connection_callbacks;
    esrpc_stream_callbacks stream_callbacks;
    esrpc_listener_callbacks listener_callbacks;
    esrpc_decoder_callbacks decoder_callbacks;
    esrpc_status status; /* of the call */
};

static struct party dialled, heard;

static void count_task(esrpc_status status, void *user_data) {
    (void)status, (void)user_data;
    note("extra task ran");
}

static void note_line(int32_t level, const char *target, const char *message, void *user_data) {
    (void)level, (void)target, (void)message, (void)user_data;
}

/* Two connected sockets; the second one is closed by the first one's owner. */
static void socket_pair(int fds[2]) {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
}

#include "every_call.h"

static int wanted; /* the function that is called */

static void hands_begin(struct hands *hands, struct scene *scene, const struct moment *now, esrpc_connection *connection,
                        esrpc_connection *bystander) {
    memset(hands, 0, sizeof *hands);
    hands->scene = scene;
    hands->runtime = scene->pair.client_runtime;
    hands->connection = connection == NULL ? bystander : connection;
    hands->stream = now->stream;
    hands->listener = scene->pair.listening;
    hands->headers = esrpc_headers_new();
    CHECK_OK(esrpc_headers_add_string(hands->headers, esrpc_text("name"), esrpc_text("value")));
    CHECK_OK(esrpc_message_encode_to_buffer(hands->headers, esrpc_text("payload"), &hands->buffer));
    if (now->message != NULL) CHECK_OK(esrpc_message_copy(now->message, &hands->message));
    else CHECK_OK(esrpc_message_decode(esrpc_buffer_get_bytes(hands->buffer), &hands->message, NULL));
    hands->decoder_callbacks.struct_size = sizeof hands->decoder_callbacks;
    CHECK_OK(esrpc_decoder_new(NULL, NULL, &hands->decoder));
    hands->client_options = pair_client_options(&scene->pair);
    hands->listener_options = esrpc_listener_options_new();
    CHECK_OK(esrpc_listener_options_set_host(hands->listener_options, esrpc_text("127.0.0.1"), 0));
    CHECK_OK(esrpc_listener_options_set_runtime(hands->listener_options, scene->pair.server_runtime));
    hands->connection_options = esrpc_connection_options_new();
    hands->runtime_options = esrpc_runtime_options_new();
    hands->tls_config_builder = esrpc_tls_config_builder_new_client();
    if (*esrpc_tls_get_provider() != 0) {
        CHECK_OK(esrpc_tls_config_builder_dangerous_disable_verification(hands->tls_config_builder));
        CHECK_OK(esrpc_tls_config_builder_build(hands->tls_config_builder, &hands->tls_config));
    }
    hands->connection_callbacks = connection_callbacks();
    hands->stream_callbacks = stream_callbacks();
    hands->listener_callbacks = listener_callbacks();
    if (esrpc_connection_new_stream(hands->connection, &hands->stream_callbacks, &scene->extra, &hands->new_stream) ==
        ESRPC_OK)
        note("extra made");
    if (hands->stream == NULL) hands->stream = hands->new_stream;
}

static void hands_end(struct hands *hands) {
    esrpc_stream_release(hands->new_stream);
    esrpc_headers_release(hands->headers);
    esrpc_message_release(hands->message);
    esrpc_buffer_release(hands->buffer);
    esrpc_decoder_release(hands->decoder);
    esrpc_client_options_release(hands->client_options);
    esrpc_listener_options_release(hands->listener_options);
    esrpc_connection_options_release(hands->connection_options);
    esrpc_runtime_options_release(hands->runtime_options);
    esrpc_tls_config_builder_release(hands->tls_config_builder);
    esrpc_tls_config_release(hands->tls_config);
}

/* Once in a conversation. */
static void call_wanted(struct scene *scene, const struct moment *now, esrpc_connection *connection,
                        esrpc_connection *bystander) {
    struct hands hands;
    bool again = count_of("called") > 0;
    if (again) return;
    hands_begin(&hands, scene, now, connection, bystander);
    call_function(wanted, &hands);
    note("called %s", call_names[wanted]);
    hands_end(&hands);
}

static void call_in(const char *callback) {
    struct scene scene;
    recorder_clear();
    memset(&scene, 0, sizeof scene);
    dialled = a_party("dialled", NULL, NULL);
    heard = a_party("heard", NULL, NULL);
    scene.callback = callback;
    scene.act = call_wanted;
    play(&scene);
    await("called");
    finish(&scene);
    CHECK_COUNT(count_of("made dialled"), "dialled setup");
    CHECK_COUNT(count_of("made dialled"), "dialled destroy");
    CHECK_COUNT(count_of("dialled setup OK"), "dialled shutdown");
    CHECK_COUNT(count_of("made heard"), "heard closed");
    CHECK_COUNT(count_of("made heard"), "heard destroy");
    CHECK_COUNT(count_of("sent extra"), "flush extra");
    CHECK_COUNT(count_of("begun task"), "extra task ran");
}

int main(int argc, char **argv) {
    static const char *const callbacks[] = {
        "client setup",    "client protocol",   "client writable", "client shutdown", "client destroy", "server protocol",
        "server stream",   "server shutdown",   "call message",    "call writable",   "call closed",    "call destroy",
        "handler message", "handler closed",    "handler destroy", "flush",           "task",           "listener incoming",
        "listener closed",
    };
    const char *function = read_command_line(argc, argv);
    /* Of all of them, valgrind and sanitizers have time for some. */
    int step = function == NULL && is_watched() ? 20 : 1;
    size_t calls = 0;
    recorder_begin();
    for (wanted = 0; wanted < CALL_COUNT; wanted += step) {
        if (function != NULL && strcmp(call_names[wanted], function) != 0) continue;
        fprintf(stderr, "%s\n", call_names[wanted]);
        for (size_t i = 0; i < sizeof callbacks / sizeof *callbacks; i++, calls++) call_in(callbacks[i]);
    }
    CHECK(calls > 0);
    recorder_end();
    return 0;
}
