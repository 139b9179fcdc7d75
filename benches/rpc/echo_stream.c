#include "echo_stream.h"
#include "wire.h"

static void send_next(struct echo_stream *echo)
{
    echo->in_flight++;
    check(esrpc_stream_send_message(echo->stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, ESRPC_MESSAGE_FLAG_NONE, NULL,
                                    echo->payload, NULL, NULL));
}

static void on_message(esrpc_stream *stream, const esrpc_message *message, void *user_data)
{
    struct echo_stream *echo = user_data;
    if (esrpc_message_get_payload(message).len != echo->payload.len)
        die("an echo has the wrong size");
    echo->in_flight--;
    if (rate_add(&echo->rate, 1))
        send_next(echo);
    else if (echo->in_flight == 0)
        check(esrpc_stream_close(stream));
}

static void on_closed(esrpc_stream *stream, esrpc_status reason, void *user_data)
{
    struct echo_stream *echo = user_data;
    (void)stream;
    check(reason);
    sem_post(&echo->ended);
}

static void fill_window(esrpc_status status, void *user_data)
{
    struct echo_stream *echo = user_data;
    check(status);
    while (echo->in_flight < echo->window)
        send_next(echo);
}

void echo_stream_start(struct echo_stream *echo, esrpc_connection *connection, const struct options *options, size_t window)
{
    static const esrpc_stream_callbacks callbacks = {
        .struct_size = sizeof callbacks, .on_message = on_message, .on_closed = on_closed};
    echo->payload = make_payload(options->size);
    echo->window = window;
    echo->in_flight = 1;
    sem_init(&echo->ended, 0, 0);
    rate_begin(&echo->rate, options);
    /* the callbacks that come meanwhile find the handle, which is written by the call that makes it */
    check(esrpc_connection_new_stream(connection, &callbacks, echo, &echo->stream));
    check(esrpc_stream_activate(echo->stream, esrpc_text(OPERATION_ECHO_STREAM), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE,
                                ESRPC_MESSAGE_FLAG_NONE, NULL, echo->payload, NULL, NULL));
    client_run_on_loop(connection, fill_window, echo);
}

void echo_stream_finish(struct echo_stream *echo)
{
    while (sem_wait(&echo->ended))
        ;
    esrpc_stream_release(echo->stream);
    sem_destroy(&echo->ended);
}
