/* esrpc-call --stream: lines of standard input become messages, replies become lines of JSON. The main thread reads replies,
 * another one the input. */
#include "call.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { SLICE_MS = 100, MOST_LINE = 24 * 1024 * 1024 };

/* Standard input, line by line. Reading can be ended from another thread by a byte in the pipe. */
struct input {
    struct text buffer;
    size_t start;   /* of the next line in the buffer */
    size_t scanned; /* no line ends before here */
    int wake[2];
    bool is_over;
};

struct stream {
    struct call *call;
    esrpc_stream *stream;
    struct input input;
    /* Set by the thread that reads the input. */
    atomic_bool input_ended;
    atomic_ullong sent;
    esrpc_status send_status; /* why a line could not be sent; read after that thread has ended */
    char send_sentence[512];
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The next line without its end, which stays valid until the next call; false at the end of the input. The last line may lack its
 * end. */
static bool next_line(struct input *input, esrpc_bytes *out_line)
{
    struct text *buffer = &input->buffer;
    for (;;) {
        char *start = buffer->data + input->start;
        char *end = buffer->len > input->scanned
                        ? memchr(buffer->data + input->scanned, '\n', buffer->len - input->scanned)
                        : NULL;
        if (end != NULL || (input->is_over && buffer->len > input->start)) {
            size_t len = end != NULL ? (size_t)(end - start) : buffer->len - input->start;
            *out_line = (esrpc_bytes){(const uint8_t *)start, len};
            input->start += len + (end != NULL ? 1 : 0);
            input->scanned = input->start;
            return true;
        }
        if (input->is_over) return false;
        if (input->start > 0) {
            memmove(buffer->data, start, buffer->len - input->start);
            buffer->len -= input->start;
            input->start = 0;
        }
        input->scanned = buffer->len;
        /* What is too long for a message is handed out, so that its sending fails. */
        if (buffer->len > MOST_LINE) {
            input->is_over = true;
            continue;
        }
        struct pollfd ready[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = input->wake[0], .events = POLLIN}};
        if (poll(ready, 2, -1) < 0 && errno != EINTR) ready[0].revents = POLLERR;
        if (ready[1].revents != 0) return false;
        if (ready[0].revents == 0) continue;
        text_reserve(buffer, 65536);
        ssize_t count = read(STDIN_FILENO, buffer->data + buffer->len, buffer->capacity - buffer->len);
        if (count > 0) buffer->len += (size_t)count;
        if (count < 0 && errno != EINTR && errno != EAGAIN) say("cannot read standard input: %s", strerror(errno));
        if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN)) input->is_over = true;
    }
}

/* The other thread. If the stream ends meanwhile, the main thread says why. */
static void *send_lines(void *user_data)
{
    struct stream *stream = user_data;
    esrpc_bytes line;
    while (next_line(&stream->input, &line)) {
        esrpc_status status = esrpc_stream_send_blocking(stream->stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE,
                                                         ESRPC_MESSAGE_FLAG_NONE, stream->call->message_headers, line,
                                                         ESRPC_NO_TIMEOUT);
        if (status != ESRPC_OK) {
            stream->send_status = status;
            snprintf(stream->send_sentence, sizeof stream->send_sentence, "%s", esrpc_last_error_message());
            if (is_bad_message(status)) esrpc_stream_close(stream->stream);
            break;
        }
        atomic_fetch_add(&stream->sent, 1);
    }
    atomic_store(&stream->input_ended, true);
    return NULL;
}

struct progress {
    bool is_shown;
    uint64_t begin_ms, last_ms;
    unsigned long long received, bytes;
};

static void show_progress(struct progress *progress, struct stream *stream, bool is_last)
{
    uint64_t now = now_ms();
    if (!progress->is_shown || (!is_last && now - progress->last_ms < 2 * SLICE_MS)) return;
    progress->last_ms = now;
    fprintf(stderr, "\r\033[K%llu sent, %llu received (%.1f kB), %.1f s%s", atomic_load(&stream->sent), progress->received,
            (double)progress->bytes / 1000, (double)(now - progress->begin_ms) / 1000, is_last ? "\n" : "");
}

/* Reads replies until the stream ends or is to be ended; returns the exit code. */
static int read_replies(struct stream *stream)
{
    struct call *call = stream->call;
    struct progress progress = {.is_shown = !call->is_quiet && isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO)};
    const uint32_t slice = progress.is_shown || call->wait_ms != ESRPC_NO_TIMEOUT ? SLICE_MS : ESRPC_NO_TIMEOUT;
    uint64_t last_reply = progress.begin_ms = now_ms();
    int exit_code = EXIT_OK;
    bool is_over = false;
    bool had_input = false; /* the silence counts from the end of the input */
    while (!is_over) {
        esrpc_message *message = NULL;
        show_progress(&progress, stream, false);
        esrpc_status status = esrpc_stream_read(stream->stream, slice, &message);
        if (status == ESRPC_ERROR_TIMED_OUT) {
            if (!atomic_load(&stream->input_ended) || call->wait_ms == ESRPC_NO_TIMEOUT) continue;
            if (!had_input) last_reply = now_ms();
            had_input = true;
            if (now_ms() - last_reply >= call->wait_ms) break;
            continue;
        }
        if (status == ESRPC_ERROR_STREAM_CLOSED) break;
        if (status != ESRPC_OK) {
            if (progress.is_shown) fputs("\r\033[K", stderr);
            exit_code = say_failure(call, "the stream to @ has ended", status, esrpc_last_error_message(), last_alert(), true);
            break;
        }
        struct text line = {NULL, 0, 0};
        last_reply = now_ms();
        progress.received++;
        progress.bytes += esrpc_message_get_payload(message).len;
        text_add_message(&line, message);
        if (!write_output(line.data, line.len)) {
            exit_code = EXIT_FAILED;
            is_over = true;
        } else if (esrpc_message_get_type(message) == ESRPC_MESSAGE_TYPE_APPLICATION_ERROR) {
            if (progress.is_shown) fputs("\r\033[K", stderr);
            exit_code = say_error_reply(call, message);
        }
        if (call->replies != 0 && progress.received >= call->replies) is_over = true;
        free(line.data);
        esrpc_message_release(message);
    }
    show_progress(&progress, stream, true);
    return exit_code;
}

/* Opens the stream with --data or the first line. */
static int open_stream(struct stream *stream)
{
    struct call *call = stream->call;
    esrpc_bytes first = text_bytes(&call->payload);
    if (call->data == NULL && !next_line(&stream->input, &first)) {
        say("standard input is empty: its first line opens the stream, unless --data gives the first message");
        return EXIT_USAGE;
    }
    esrpc_status status = ESRPC_OK;
    if (call->timeout_ms != 0) status = esrpc_stream_set_deadline_ms(stream->stream, call->timeout_ms);
    if (status == ESRPC_OK)
        status = esrpc_stream_activate(stream->stream, esrpc_text(call->operation), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE,
                                       ESRPC_MESSAGE_FLAG_NONE, call->headers, first, NULL, NULL);
    if (status == ESRPC_OK) {
        atomic_store(&stream->sent, 1);
        return EXIT_OK;
    }
    int exit_code =
        say_failure(call, "cannot open the stream to @", status, esrpc_last_error_message(), last_alert(), true);
    return is_bad_message(status) ? EXIT_USAGE : exit_code;
}

int call_stream(struct call *call, esrpc_connection *connection)
{
    struct stream stream = {.call = call};
    pthread_t sender;
    int exit_code;
    esrpc_status status = esrpc_connection_new_stream(connection, NULL, NULL, &stream.stream);
    if (status != ESRPC_OK)
        return say_failure(call, "cannot open a stream to @", status, esrpc_last_error_message(), last_alert(), true);
    if (pipe(stream.input.wake) != 0) {
        say("cannot make a pipe: %s", strerror(errno));
        esrpc_stream_release(stream.stream);
        return EXIT_FAILED;
    }
    exit_code = open_stream(&stream);
    if (exit_code == EXIT_OK) {
        int error = pthread_create(&sender, NULL, send_lines, &stream);
        if (error != 0) {
            say("cannot start a thread: %s", strerror(error));
            exit_code = EXIT_FAILED;
        } else {
            exit_code = read_replies(&stream);
            /* The other thread may wait for input or for room in the queue. */
            esrpc_stream_close(stream.stream);
            if (write(stream.input.wake[1], "", 1) != 1) say("cannot end the reading of standard input");
            pthread_join(sender, NULL);
            if (exit_code == EXIT_OK && is_bad_message(stream.send_status)) {
                say_status("a line of standard input cannot be sent", stream.send_status, stream.send_sentence);
                exit_code = EXIT_USAGE;
            }
        }
    }
    close(stream.input.wake[0]);
    close(stream.input.wake[1]);
    free(stream.input.buffer.data);
    esrpc_stream_release(stream.stream);
    return exit_code;
}
