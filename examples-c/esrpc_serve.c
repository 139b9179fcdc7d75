/* esrpc-serve: a server that answers as a JSON file says, for those who write clients. The file is described in serve.h, and the
 * program in docs/man/esrpc-serve.1.
 *
 * Everything happens on one event-loop thread, except that another one waits until delayed replies are due. */
#include "serve.h"
#include "stopping.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

static const char help[] =
    "Usage: esrpc-serve [OPTION]... FILE|-\n"
    "Listens for event-stream RPC clients and answers as a JSON file describes. Prints\n"
    "\"listening on ADDRESS\" when it is ready; SIGINT and SIGTERM end it.\n"
    "\n"
    "  --host ADDRESS             where to listen (127.0.0.1)\n"
    "  --port PORT                and at which port (8033); 0: one that is free, see the\n"
    "                             line that is printed\n"
    "  --unix PATH                listen on a Unix socket; @NAME for Linux's abstract names\n"
    "  --cert FILE --key FILE     use TLS with this certificate; --tls may be given, too\n"
    "  --client-ca FILE           and require certificates of clients from this CA\n"
    "  --alpn NAME                the application protocol of TLS\n"
    "  --verbose                  print each message that arrives to stderr, as JSON\n"
    "  --check                    only read the file\n"
    "\n"
    "The file is an object:\n"
    "  {\"connect\": {                            all members of it are optional\n"
    "     \"accept\": false,                      refuse every client\n"
    "     \"headers\": {\"client-name\": \"me\"},     CONNECT must have these\n"
    "     \"token\": \"s3cret\",                    and {\"authToken\":\"s3cret\"} as payload\n"
    "     \"reply\": {\"headers\": {}, \"json\": {}}  what CONNECT_ACK holds\n"
    "   },\n"
    "   \"operations\": {\n"
    "     \"One\": {\"replies\": [{\"json\": {\"a\": 1}}]},\n"
    "     \"Fails\": {\"error\": {\"type\": \"my#Error\", \"message\": \"as asked\"}},\n"
    "     \"Stream\": {\"replies\": [{\"text\": \"tick\", \"times\": 10, \"delay_ms\": 100}],\n"
    "                \"on_message\": [{\"echo\": true}],   to each later message\n"
    "                \"keep_open\": true}                the last reply does not end it\n"
    "  }}\n"
    "A reply has \"text\", \"json\", \"base64\" or \"echo\": true; and, if wanted, \"headers\" (names\n"
    "and values, or an array of {\"name\", \"type\", \"value\"}), \"type\", \"flags\", \"delay_ms\" and\n"
    "\"times\"; or it is an \"error\". The last of \"replies\" ends the stream. An operation that\n"
    "is not in the file is answered with an APPLICATION_ERROR.\n"
    "\n"
    "Exit codes: 0 it was asked to stop; 1 it cannot listen; 2 wrong arguments, or a mistake in\n"
    "the file; 4 TLS cannot be set up.\n";

enum { RETRY_MS = 5, MOST_WAITING = 1000, MOST_HELD = 64 * 1024 * 1024 };

struct serve {
    const char *path, *host, *unix_path;
    uint32_t port;
    struct tls_files tls;
    bool is_verbose, is_check;
    struct script script;
};

static struct serve serve = {.host = "127.0.0.1", .port = 8033};

/* The user data of a connection. */
struct client {
    size_t references; /* of the connection and of jobs; under the lock of clock_of_jobs */
    /* The others are for the loop thread. */
    size_t waiting, held; /* jobs that wait, and bytes that they will echo */
    size_t pauses;        /* reasons not to read from it */
    bool is_full, is_reported;
};

/* A list of replies that is being sent on a stream. */
struct job {
    struct job *next;
    uint64_t due_ms;
    esrpc_stream *stream;  /* a reference */
    struct answer *answer; /* the stream's user data */
    struct client *client; /* a reference */
    const struct replies *replies;
    size_t index;
    uint32_t sent; /* how often the reply at `index` was sent */
    bool has_waited, has_paused;
    struct text echo; /* a copy of the payload that is answered, if it is echoed */
};

/* Jobs that wait, the next one first. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job *first;
    bool is_over;
} clock_of_jobs = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* The user data of a stream. */
struct answer {
    const struct operation *operation;
    struct client *client;
    size_t waiting; /* jobs */
    bool is_begun;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now); /* the clock of pthread_cond_timedwait */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- Clients that are not read from --- */

static void acquire_client(struct client *client)
{
    pthread_mutex_lock(&clock_of_jobs.lock);
    client->references++;
    pthread_mutex_unlock(&clock_of_jobs.lock);
}

static void release_client(void *user_data)
{
    struct client *client = user_data;
    pthread_mutex_lock(&clock_of_jobs.lock);
    bool is_last = --client->references == 0;
    pthread_mutex_unlock(&clock_of_jobs.lock);
    if (is_last) free(client);
}

static void pause_client(struct client *client, esrpc_connection *connection)
{
    if (client->pauses++ == 0) esrpc_connection_pause_reading(connection);
}

static void resume_client(struct client *client, esrpc_connection *connection)
{
    if (--client->pauses == 0) esrpc_connection_resume_reading(connection);
}

/* --- Replies --- */

static void free_job(struct job *job)
{
    esrpc_stream_release(job->stream);
    free(job->echo.data);
    release_client(job->client);
    free(job);
}

static void end_job(struct job *job)
{
    if (job->has_paused) resume_client(job->client, esrpc_stream_get_connection(job->stream));
    free_job(job);
}

/* A client that sends without end, to be answered later, is not read from while too much waits. */
static void count_waiting(struct job *job)
{
    struct client *client = job->client;
    esrpc_connection *connection = esrpc_stream_get_connection(job->stream);
    job->answer->waiting++;
    client->waiting++;
    client->held += job->echo.len;
    if (client->is_full || (client->waiting < MOST_WAITING && client->held < MOST_HELD)) return;
    client->is_full = true;
    pause_client(client, connection);
    if (!client->is_reported)
        complain("%zu lists of replies, with %zu bytes to echo, wait to be sent to %s: it is not read from until fewer wait\n",
                 client->waiting, client->held, esrpc_connection_get_remote_address(connection));
    client->is_reported = true;
}

static void count_due(struct job *job)
{
    struct client *client = job->client;
    job->answer->waiting--;
    client->waiting--;
    client->held -= job->echo.len;
    if (!client->is_full || client->waiting > MOST_WAITING / 2 || client->held > MOST_HELD / 2) return;
    client->is_full = false;
    resume_client(client, esrpc_stream_get_connection(job->stream));
}

static void wait_with(struct job *job, uint32_t delay_ms)
{
    struct job **place = &clock_of_jobs.first;
    job->due_ms = now_ms() + delay_ms;
    count_waiting(job);
    pthread_mutex_lock(&clock_of_jobs.lock);
    bool is_over = clock_of_jobs.is_over;
    while (!is_over && *place != NULL && (*place)->due_ms <= job->due_ms) place = &(*place)->next;
    if (!is_over) {
        job->next = *place;
        *place = job;
        pthread_cond_signal(&clock_of_jobs.changed);
    }
    pthread_mutex_unlock(&clock_of_jobs.lock);
    if (is_over) free_job(job);
}

/* Sends what is due, on the loop thread. */
static void go_on(struct job *job)
{
    while (job->index < job->replies->count) {
        const struct reply *reply = &job->replies->items[job->index];
        if (job->sent >= reply->times) {
            job->index++;
            job->sent = 0;
            continue;
        }
        if (reply->delay_ms > 0 && !job->has_waited) {
            job->has_waited = true;
            wait_with(job, reply->delay_ms);
            return;
        }
        esrpc_bytes payload = text_bytes(reply->is_echo ? &job->echo : &reply->payload);
        int32_t flags = reply->flags;
        if (job->sent + 1 < reply->times) flags &= ~ESRPC_MESSAGE_FLAG_TERMINATE_STREAM;
        esrpc_status status =
            esrpc_stream_send_message(job->stream, reply->type, flags, reply->headers, payload, NULL, NULL);
        if (status == ESRPC_ERROR_WOULD_BLOCK) {
            /* A client that does not read is not read from, and asked again soon. */
            if (!job->has_paused) pause_client(job->client, esrpc_stream_get_connection(job->stream));
            job->has_paused = true;
            job->has_waited = true;
            wait_with(job, RETRY_MS);
            return;
        }
        if (status != ESRPC_OK) {
            if (status != ESRPC_ERROR_STREAM_CLOSED && status != ESRPC_ERROR_CONNECTION_CLOSED)
                report("cannot send a reply", status, esrpc_last_error_message());
            break;
        }
        job->sent++;
        job->has_waited = false;
    }
    end_job(job);
}

static void on_due(esrpc_status status, void *user_data)
{
    if (status != ESRPC_OK) {
        free_job(user_data);
        return;
    }
    count_due(user_data);
    go_on(user_data);
}

/* The thread that waits. */
static void *watch_clock(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&clock_of_jobs.lock);
    while (!clock_of_jobs.is_over) {
        struct job *job = clock_of_jobs.first;
        uint64_t now = now_ms();
        if (job == NULL) {
            pthread_cond_wait(&clock_of_jobs.changed, &clock_of_jobs.lock);
        } else if (job->due_ms > now) {
            struct timespec until = {.tv_sec = (time_t)(job->due_ms / 1000), .tv_nsec = (long)(job->due_ms % 1000) * 1000000};
            pthread_cond_timedwait(&clock_of_jobs.changed, &clock_of_jobs.lock, &until);
        } else {
            clock_of_jobs.first = job->next;
            pthread_mutex_unlock(&clock_of_jobs.lock);
            if (esrpc_connection_run_on_loop(esrpc_stream_get_connection(job->stream), on_due, job) != ESRPC_OK) free_job(job);
            pthread_mutex_lock(&clock_of_jobs.lock);
        }
    }
    pthread_mutex_unlock(&clock_of_jobs.lock);
    return NULL;
}

static void end_clock(pthread_t watcher)
{
    pthread_mutex_lock(&clock_of_jobs.lock);
    clock_of_jobs.is_over = true;
    pthread_cond_signal(&clock_of_jobs.changed);
    pthread_mutex_unlock(&clock_of_jobs.lock);
    pthread_join(watcher, NULL);
    while (clock_of_jobs.first != NULL) {
        struct job *job = clock_of_jobs.first;
        clock_of_jobs.first = job->next;
        free_job(job);
    }
}

/* --- Streams --- */

static void show_message(esrpc_connection *connection, esrpc_bytes operation, const esrpc_message *message)
{
    struct text line = {NULL, 0, 0};
    if (!serve.is_verbose) return;
    text_print(&line, "%s ", esrpc_connection_get_remote_address(connection));
    if (operation.len > 0) {
        text_add_string(&line, operation);
        text_add(&line, " ", 1);
    }
    text_add_message(&line, message);
    complain("%.*s", (int)line.len, line.data);
    free(line.data);
}

static void on_message(esrpc_stream *stream, const esrpc_message *message, void *user_data)
{
    struct answer *answer = user_data;
    const struct replies *replies = answer->is_begun ? &answer->operation->later : &answer->operation->first;
    answer->is_begun = true;
    show_message(esrpc_stream_get_connection(stream), esrpc_stream_get_operation(stream), message);
    if (replies->count == 0) return;
    struct job *job = allocate(sizeof *job);
    job->stream = esrpc_stream_acquire(stream);
    job->answer = answer;
    job->client = answer->client;
    acquire_client(answer->client);
    job->replies = replies;
    const esrpc_bytes payload = esrpc_message_get_payload(message);
    if (replies->has_echo) text_add(&job->echo, payload.data, payload.len);
    go_on(job);
}

/* What waits for it would wait for nothing. */
static void on_closed(esrpc_stream *stream, esrpc_status reason, void *user_data)
{
    struct answer *answer = user_data;
    struct job **place = &clock_of_jobs.first, *dropped = NULL;
    (void)stream, (void)reason;
    if (answer->waiting == 0) return;
    pthread_mutex_lock(&clock_of_jobs.lock);
    while (*place != NULL) {
        struct job *job = *place;
        if (job->answer != answer) {
            place = &job->next;
            continue;
        }
        *place = job->next;
        job->next = dropped;
        dropped = job;
    }
    pthread_mutex_unlock(&clock_of_jobs.lock);
    while (dropped != NULL) {
        struct job *job = dropped;
        dropped = job->next;
        count_due(job);
        end_job(job);
    }
}

static void on_incoming_stream(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *first_message,
                               void *user_data)
{
    static const esrpc_stream_callbacks callbacks = {
        .struct_size = sizeof callbacks, .on_message = on_message, .on_closed = on_closed, .on_destroy = free};
    const esrpc_bytes name = esrpc_stream_get_operation(stream);
    const struct operation *operation = find_operation(&serve.script, name);
    esrpc_status status;
    if (operation != NULL) {
        struct answer *answer = allocate(sizeof *answer);
        answer->operation = operation;
        answer->client = user_data;
        status = esrpc_stream_accept(stream, &callbacks, answer);
        if (status != ESRPC_OK) free(answer);
    } else {
        struct text sentence = {NULL, 0, 0};
        text_print(&sentence, "there is no operation ");
        text_add_string(&sentence, name);
        text_print(&sentence, " in the file of esrpc-serve");
        show_message(connection, name, first_message);
        complain("refused a call of %s: %.*s\n", esrpc_connection_get_remote_address(connection), (int)sentence.len,
                 sentence.data);
        status = esrpc_stream_fail(stream, esrpc_text(NULL), text_bytes(&sentence));
        free(sentence.data);
    }
    if (status != ESRPC_OK) report("cannot answer a call", status, esrpc_last_error_message());
}

/* --- Connections --- */

static bool has_token(const esrpc_message *connect)
{
    const esrpc_bytes payload = esrpc_message_get_payload(connect);
    struct json json = {payload.data, payload.data + payload.len};
    struct text token = {NULL, 0, 0};
    struct mistake ignored;
    bool equal = json_is_valid(payload.data, payload.len) && json_enter_member(&json, "authToken") &&
                 take_text(&json, &token, &ignored) && esrpc_bytes_equal(text_bytes(&token), text_bytes(&serve.script.token));
    free(token.data);
    return equal;
}

/* Why a client is not accepted, NULL if it is. */
static const char *find_objection(const esrpc_message *connect, struct text *out_name)
{
    const struct script *script = &serve.script;
    esrpc_header wanted, found;
    if (!script->accepts) return "the file accepts none (\"accept\": false)";
    for (size_t i = 0; esrpc_headers_get(script->required, i, &wanted) == ESRPC_OK; i++) {
        text_add_string(out_name, wanted.name);
        if (esrpc_headers_find(esrpc_message_get_headers(connect), wanted.name, &found) != ESRPC_OK)
            return "its CONNECT lacks this header";
        if (found.type != wanted.type || found.number != wanted.number || !esrpc_bytes_equal(found.bytes, wanted.bytes))
            return "its CONNECT has another value, or type, in this header";
        out_name->len = 0;
    }
    if (script->has_token && !has_token(connect)) return "the payload of its CONNECT is not {\"authToken\":...} with the token";
    return NULL;
}

static void on_protocol_message(esrpc_connection *connection, const esrpc_message *message, void *user_data)
{
    struct text name = {NULL, 0, 0};
    const struct reply *ack = &serve.script.ack;
    (void)user_data;
    show_message(connection, esrpc_text(NULL), message);
    if (esrpc_message_get_type(message) != ESRPC_MESSAGE_TYPE_CONNECT) return;
    const char *objection = find_objection(message, &name);
    if (objection != NULL)
        complain("refused %s: %s%s%.*s\n", esrpc_connection_get_remote_address(connection), objection, name.len > 0 ? ": " : "",
                 (int)name.len, name.data != NULL ? name.data : "");
    esrpc_status status = esrpc_connection_send_protocol_message(
        connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK,
        objection == NULL ? ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED : ESRPC_MESSAGE_FLAG_NONE, ack->headers,
        ack->is_echo ? esrpc_message_get_payload(message) : text_bytes(&ack->payload), NULL, NULL);
    if (status != ESRPC_OK) report("cannot answer CONNECT", status, esrpc_last_error_message());
    free(name.data);
}

static void report_end(const char *what, esrpc_status status)
{
    const char *advice = advise_tls(status, last_alert(), &serve.tls, true);
    report(what, status, esrpc_last_error_message());
    if (advice[0] != '\0') complain("what to do: %s\n", advice);
}

static void on_shutdown(esrpc_connection *connection, esrpc_status reason, void *user_data)
{
    char what[160];
    (void)user_data;
    if (reason == ESRPC_OK || reason == ESRPC_ERROR_PEER_CLOSED || reason == ESRPC_ERROR_RUNTIME_SHUTDOWN ||
        reason == ESRPC_ERROR_HANDSHAKE_REFUSED)
        return;
    snprintf(what, sizeof what, "the connection from %.100s has ended", esrpc_connection_get_remote_address(connection));
    report_end(what, reason);
}

static void on_incoming_connection(esrpc_listener *listener, esrpc_connection *connection, void *user_data)
{
    static const esrpc_connection_callbacks callbacks = {.struct_size = sizeof callbacks,
                                                         .on_protocol_message = on_protocol_message,
                                                         .on_incoming_stream = on_incoming_stream,
                                                         .on_shutdown = on_shutdown,
                                                         .on_destroy = release_client};
    struct client *client = allocate(sizeof *client);
    (void)listener, (void)user_data;
    client->references = 1;
    esrpc_status status = esrpc_connection_accept(connection, &callbacks, client);
    if (status == ESRPC_OK) return;
    report("cannot accept a connection", status, esrpc_last_error_message());
    release_client(client);
}

static void on_failed_connection(esrpc_listener *listener, esrpc_status status, void *user_data)
{
    (void)listener, (void)user_data;
    report_end("a connection failed", status);
}

/* --- The program --- */

static esrpc_status listen_at(esrpc_runtime *runtime, const esrpc_tls_config *tls, esrpc_listener **out_listener)
{
    static const esrpc_listener_callbacks callbacks = {.struct_size = sizeof callbacks,
                                                       .on_incoming_connection = on_incoming_connection,
                                                       .on_failed_connection = on_failed_connection};
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_connection_options *connections = esrpc_connection_options_new();
    esrpc_status status = esrpc_connection_options_set_answer_pings(connections, true);
    if (status == ESRPC_OK) status = esrpc_listener_options_set_connection_options(options, connections);
    if (status == ESRPC_OK) status = esrpc_listener_options_set_runtime(options, runtime);
    if (status == ESRPC_OK) status = esrpc_listener_options_set_tls(options, tls);
    if (status == ESRPC_OK && serve.unix_path == NULL)
        status = esrpc_listener_options_set_host(options, esrpc_text(serve.host), serve.port);
    else if (status == ESRPC_OK && serve.unix_path[0] == '@')
        status = esrpc_listener_options_set_unix_abstract(options, esrpc_text(serve.unix_path + 1));
    else if (status == ESRPC_OK)
        status = esrpc_listener_options_set_unix_path(options, esrpc_text(serve.unix_path));
    if (status == ESRPC_OK) status = esrpc_listener_listen(options, &callbacks, NULL, out_listener);
    esrpc_connection_options_release(connections);
    esrpc_listener_options_release(options);
    return status;
}

/* What the library's own advice leaves open: which option. */
static const char *advise_listening(esrpc_status status)
{
    if (status == ESRPC_ERROR_ADDRESS_UNAVAILABLE || status == ESRPC_ERROR_ADDRESS_INVALID)
        return "give an address of this machine with --host, such as 127.0.0.1, or 0.0.0.0 for all";
    return status == ESRPC_ERROR_ADDRESS_IN_USE && serve.unix_path == NULL ? "--port 0 takes a port that is free" : "";
}

/* Until it is asked to stop. */
static int run(esrpc_runtime *runtime, const esrpc_tls_config *tls)
{
    esrpc_listener *listener = NULL;
    int exit_code = EXIT_FAILED;
    esrpc_status status = listen_at(runtime, tls, &listener);
    if (status != ESRPC_OK) {
        const char *sentence = esrpc_last_error_message(), *advice = advise_listening(status);
        say_status("cannot listen", status, sentence);
        if (advice[0] != '\0') say("what to do: %s", advice);
        return EXIT_FAILED;
    }
    const char *address = esrpc_listener_get_address(listener);
    struct text line = {NULL, 0, 0};
    text_print(&line, "listening on %s\n", starts_with(esrpc_text(address), "unix:") ? address + 5 : address);
    if (write_output(line.data, line.len) && await_stop()) exit_code = EXIT_OK;
    free(line.data);
    esrpc_listener_close(listener);
    esrpc_listener_release(listener);
    return exit_code;
}

static int serve_clients(void)
{
    esrpc_runtime *runtime = NULL;
    esrpc_tls_config *tls = NULL;
    pthread_t watcher;
    int exit_code = EXIT_FAILED;
    if (make_tls_config(&serve.tls, true, &tls) != ESRPC_OK) return EXIT_TLS;
    esrpc_status status = esrpc_runtime_new(NULL, &runtime);
    int error = status == ESRPC_OK ? pthread_create(&watcher, NULL, watch_clock, NULL) : 0;
    if (status != ESRPC_OK) {
        say_status("cannot start", status, esrpc_last_error_message());
    } else if (error != 0) {
        say("cannot start a thread: %s", strerror(error));
    } else {
        exit_code = run(runtime, tls);
        end_clock(watcher);
    }
    esrpc_tls_config_release(tls);
    /* After it no callback uses the script. */
    if (!end_runtime(runtime)) exit(EXIT_FAILED);
    return exit_code;
}

int main(int argc, char **argv)
{
    const struct option options[] = {
        {"--host", OPTION_TEXT, &serve.host, 0, 0},
        {"--port", OPTION_NUMBER, &serve.port, 0, UINT16_MAX},
        {"--unix", OPTION_TEXT, &serve.unix_path, 0, 0},
        {"--tls", OPTION_FLAG, &serve.tls.is_on, 0, 0},
        {"--cert", OPTION_TEXT, &serve.tls.certificate, 0, 0},
        {"--key", OPTION_TEXT, &serve.tls.key, 0, 0},
        {"--client-ca", OPTION_TEXT, &serve.tls.ca, 0, 0},
        {"--alpn", OPTION_TEXT, &serve.tls.alpn, 0, 0},
        {"--verbose", OPTION_FLAG, &serve.is_verbose, 0, 0},
        {"--check", OPTION_FLAG, &serve.is_check, 0, 0},
    };
    const struct command_line line = {"esrpc-serve", help, options, sizeof options / sizeof options[0], "FILE", ""};
    struct text file = {NULL, 0, 0};
    struct mistake mistake = {NULL, ""};
    int exit_code = EXIT_USAGE;
    signal(SIGPIPE, SIG_IGN); /* write_output notices that nobody reads */
    serve.path = read_command_line(argc, argv, &line);
    if (serve.path == NULL) usage_error("which file says what to answer? Give its name, or - for standard input");
    if (serve.tls.is_on && serve.tls.certificate == NULL && serve.tls.key == NULL)
        usage_error("--tls: a server needs a certificate and its key: give --cert FILE and --key FILE");
    serve.tls.is_on = serve.tls.certificate != NULL;
    if ((serve.tls.certificate != NULL) != (serve.tls.key != NULL)) usage_error("--cert and --key go together");
    if (!serve.tls.is_on && (serve.tls.ca != NULL || serve.tls.alpn != NULL))
        usage_error("--client-ca and --alpn are for TLS, which needs --cert and --key");
    if (!prepare_to_stop()) {
        say("cannot block signals: %s", strerror(errno));
        return EXIT_FAILED;
    }
    if (!read_file(serve.path, &file)) return EXIT_USAGE;
    if (!read_script(text_bytes(&file), &serve.script, &mistake))
        say_mistake(serve.path, text_bytes(&file), &mistake);
    else
        exit_code = serve.is_check ? EXIT_OK : serve_clients();
    free_script(&serve.script);
    free(file.data);
    return exit_code;
}
