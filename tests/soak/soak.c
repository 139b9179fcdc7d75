/* Clients of all kinds come, talk, and go for as long as they are asked to: plain, TLS and Unix sockets; calls, streams read by
   threads, streams with callbacks; peers that send garbage. With fault_shim.c preloaded, the system fails them too.

   soak SECONDS FOLDER: the folder has ca.pem, server.pem and server.key. Now and then everybody pauses: then nothing may be left
   of what has ended, and figures are printed. They may not grow. */
#define _GNU_SOURCE
#include "certificates.h"
#include "process.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>

enum { WORKERS = 8, KINDS = 3, TIMEOUT_MS = 20000, LARGEST = 400 * 1000, STATUSES = 1000 };

static struct {
    atomic_size_t dialled, set_up, failed, shut_down, destroyed; /* clients with callbacks */
    atomic_size_t accepted, server_shut_down, server_destroyed, refused;
    atomic_size_t streams, streams_closed, streams_destroyed; /* with callbacks, either side */
    atomic_size_t sends, flushes;
    atomic_size_t connections, calls, messages, bytes, garbage; /* what was done */
    atomic_size_t by_status[STATUSES];                          /* how operations of clients failed */
} total;

static esrpc_runtime *client_runtime, *server_runtime;
static esrpc_listener *listeners[KINDS]; /* TCP, TLS, Unix */
static esrpc_tls_config *client_tls;
static char unix_name[40];

static atomic_bool is_over;
/* Workers pass in turns: all stand still while a sample is taken. */
static pthread_rwlock_t pause_lock;

static unsigned next_random(uint64_t *state) {
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)(*state >> 33);
}

static void on_flush(esrpc_status status, void *user_data) {
    (void)status, (void)user_data;
    total.flushes++;
}

static void count_send(esrpc_status status) {
    if (status == ESRPC_OK) total.sends++;
}

/* --- the server --- */

static void echo(esrpc_stream *stream, const esrpc_message *message, void *user_data) {
    int32_t last = esrpc_message_get_flags(message) & ESRPC_MESSAGE_FLAG_TERMINATE_STREAM;
    esrpc_status status;
    (void)user_data;
    status = esrpc_stream_send_message(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, last, NULL,
                                       esrpc_message_get_payload(message), on_flush, NULL);
    count_send(status);
    if (status == ESRPC_ERROR_WOULD_BLOCK) (void)esrpc_stream_close(stream);
}

static void stream_on_closed(esrpc_stream *stream, esrpc_status reason, void *user_data) {
    (void)stream, (void)reason, (void)user_data;
    total.streams_closed++;
}

static void stream_on_destroy(void *user_data) {
    (void)user_data;
    total.streams_destroyed++;
}

static void server_on_protocol_message(esrpc_connection *connection, const esrpc_message *message, void *user_data) {
    (void)user_data;
    if (esrpc_message_get_type(message) != ESRPC_MESSAGE_TYPE_CONNECT) return;
    count_send(esrpc_connection_send_protocol_message(connection, ESRPC_MESSAGE_TYPE_CONNECT_ACK,
                                                      ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, NULL, esrpc_text(""), on_flush,
                                                      NULL));
}

static void server_on_incoming_stream(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *first,
                                      void *user_data) {
    esrpc_stream_callbacks callbacks;
    (void)connection, (void)first, (void)user_data;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_message = echo;
    callbacks.on_closed = stream_on_closed;
    callbacks.on_destroy = stream_on_destroy;
    if (esrpc_stream_accept(stream, &callbacks, NULL) == ESRPC_OK) total.streams++;
}

static void server_on_shutdown(esrpc_connection *connection, esrpc_status reason, void *user_data) {
    (void)connection, (void)reason, (void)user_data;
    total.server_shut_down++;
}

static void server_on_destroy(void *user_data) {
    (void)user_data;
    total.server_destroyed++;
}

static void on_incoming_connection(esrpc_listener *listener, esrpc_connection *connection, void *user_data) {
    esrpc_connection_callbacks callbacks;
    (void)listener, (void)user_data;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_protocol_message = server_on_protocol_message;
    callbacks.on_incoming_stream = server_on_incoming_stream;
    callbacks.on_shutdown = server_on_shutdown;
    callbacks.on_destroy = server_on_destroy;
    if (esrpc_connection_accept(connection, &callbacks, NULL) == ESRPC_OK) total.accepted++;
}

static void on_failed_connection(esrpc_listener *listener, esrpc_status status, void *user_data) {
    (void)listener, (void)status, (void)user_data;
    total.refused++;
}

static esrpc_listener *listen_as(int kind) {
    esrpc_listener_options *options = esrpc_listener_options_new();
    esrpc_listener_callbacks callbacks;
    esrpc_listener *listener;
    esrpc_tls_config *tls = server_tls();
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_incoming_connection = on_incoming_connection;
    callbacks.on_failed_connection = on_failed_connection;
    if (kind == 2) CHECK_OK(esrpc_listener_options_set_unix_abstract(options, esrpc_text(unix_name)));
    else CHECK_OK(esrpc_listener_options_set_host(options, esrpc_text("127.0.0.1"), 0));
    if (kind == 1) CHECK_OK(esrpc_listener_options_set_tls(options, tls));
    CHECK_OK(esrpc_listener_options_set_runtime(options, server_runtime));
    CHECK_OK(esrpc_listener_listen(options, &callbacks, NULL, &listener));
    esrpc_listener_options_release(options);
    esrpc_tls_config_release(tls);
    return listener;
}

/* --- the clients --- */

static void client_on_setup(esrpc_connection *connection, esrpc_status status, void *user_data) {
    (void)connection, (void)user_data;
    if (status == ESRPC_OK) total.set_up++;
    else total.failed++;
}

static void client_on_shutdown(esrpc_connection *connection, esrpc_status reason, void *user_data) {
    (void)connection, (void)reason, (void)user_data;
    total.shut_down++;
}

static void client_on_destroy(void *user_data) {
    (void)user_data;
    total.destroyed++;
}

/* Failures are what this is about; which ones there are is printed. */
static bool succeeds(esrpc_status status) {
    if (status == ESRPC_OK) return true;
    CHECK(status > 0 && status < STATUSES);
    total.by_status[status]++;
    return false;
}

static esrpc_connection *dial(int kind, bool with_callbacks) {
    esrpc_client_options *options = esrpc_client_options_new();
    esrpc_connection *connection = NULL;
    esrpc_connection_callbacks callbacks;
    if (kind == 2) CHECK_OK(esrpc_client_options_set_unix_abstract(options, esrpc_text(unix_name)));
    else CHECK_OK(esrpc_client_options_set_host(options, esrpc_text("127.0.0.1"), esrpc_listener_get_port(listeners[kind])));
    if (kind == 1) CHECK_OK(esrpc_client_options_set_tls(options, client_tls, esrpc_text("server.example")));
    CHECK_OK(esrpc_client_options_set_runtime(options, client_runtime));
    if (!with_callbacks) {
        if (!succeeds(esrpc_connection_connect_blocking(options, TIMEOUT_MS, &connection))) connection = NULL;
        esrpc_client_options_release(options);
        return connection;
    }
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_setup = client_on_setup;
    callbacks.on_shutdown = client_on_shutdown;
    callbacks.on_destroy = client_on_destroy;
    CHECK_OK(esrpc_client_options_set_handshake(options, NULL, esrpc_text("")));
    CHECK_OK(esrpc_connection_connect(options, &callbacks, NULL, &connection));
    total.dialled++;
    esrpc_client_options_release(options);
    esrpc_status status = ESRPC_OK;
    CHECK_ENDED(status = esrpc_connection_wait_setup(connection, ESRPC_NO_TIMEOUT));
    if (succeeds(status)) return connection;
    esrpc_connection_release(connection);
    return NULL;
}

/* What comes back is what was sent. */
static void check_echo(const esrpc_message *message, const uint8_t *data, size_t len) {
    CHECK(esrpc_bytes_equal(esrpc_message_get_payload(message), bytes(data, len)));
    total.messages++;
    total.bytes += len;
}

static bool call(esrpc_connection *connection, const uint8_t *data, size_t len) {
    esrpc_message *reply = NULL;
    if (!succeeds(esrpc_connection_call(connection, esrpc_text("soak#Echo"), NULL, bytes(data, len), TIMEOUT_MS, &reply)))
        return false;
    check_echo(reply, data, len);
    esrpc_message_release(reply);
    total.calls++;
    return true;
}

static bool converse(esrpc_connection *connection, const uint8_t *data, size_t len, unsigned count) {
    esrpc_stream *stream = NULL;
    bool good = succeeds(esrpc_connection_new_stream(connection, NULL, NULL, &stream));
    good = good && succeeds(esrpc_stream_activate(stream, esrpc_text("soak#Echo"), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0,
                                                  NULL, bytes(data, len), NULL, NULL));
    for (unsigned i = 0; good && i < count; i++)
        good = succeeds(esrpc_stream_send_blocking(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0, NULL, bytes(data, len),
                                                   TIMEOUT_MS));
    for (unsigned i = 0; good && i < count + 1; i++) {
        esrpc_message *message = NULL;
        good = succeeds(esrpc_stream_read(stream, TIMEOUT_MS, &message));
        if (good) check_echo(message, data, len);
        esrpc_message_release(message);
    }
    if (stream != NULL) (void)esrpc_stream_close(stream);
    esrpc_stream_release(stream);
    return good;
}

/* A stream whose callbacks are counted; sends do not wait for what comes back. */
static bool flood(esrpc_connection *connection, const uint8_t *data, size_t len, unsigned count) {
    esrpc_stream_callbacks callbacks;
    esrpc_stream *stream = NULL;
    bool good;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.struct_size = sizeof callbacks;
    callbacks.on_closed = stream_on_closed;
    callbacks.on_destroy = stream_on_destroy;
    if (!succeeds(esrpc_connection_new_stream(connection, &callbacks, NULL, &stream))) return false;
    esrpc_status status = esrpc_stream_activate(stream, esrpc_text("soak#Echo"), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, 0,
                                                NULL, bytes(data, len), on_flush, NULL);
    count_send(status);
    good = succeeds(status);
    if (good) total.streams++;
    else total.streams_destroyed--; /* it is destroyed, but never closed */
    for (unsigned i = 0; good && i <= count; i++) {
        int32_t flags = i == count ? ESRPC_MESSAGE_FLAG_TERMINATE_STREAM : 0;
        status = esrpc_stream_send_message(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, flags, NULL, bytes(data, len),
                                           on_flush, NULL);
        count_send(status);
        good = succeeds(status);
    }
    if (good) good = succeeds(esrpc_stream_wait_closed(stream, TIMEOUT_MS));
    esrpc_stream_release(stream);
    return good;
}

static void send_garbage(uint64_t *random, int kind) {
    uint8_t garbage[200];
    struct sockaddr_in address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)esrpc_listener_get_port(listeners[kind % 2]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (size_t i = 0; i < sizeof garbage; i++) garbage[i] = (uint8_t)next_random(random);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        (void)!send(fd, garbage, next_random(random) % sizeof garbage, MSG_NOSIGNAL);
    if (fd >= 0) close(fd);
    total.garbage++;
}

static void visit(uint64_t *random, const uint8_t *data) {
    int kind = (int)(next_random(random) % KINDS);
    unsigned rounds = next_random(random) % 20;
    bool good = true;
    if (next_random(random) % 16 == 0) {
        send_garbage(random, kind);
        return;
    }
    esrpc_connection *connection = dial(kind, next_random(random) % 2 == 0);
    if (connection == NULL) return;
    total.connections++;
    while (good && rounds-- > 0) {
        size_t len = next_random(random) % (next_random(random) % 32 == 0 ? LARGEST : 3000);
        switch (next_random(random) % 3) {
            case 0: good = call(connection, data, len); break;
            case 1: good = converse(connection, data, len, next_random(random) % 10); break;
            default: good = flood(connection, data, len, next_random(random) % 20); break;
        }
    }
    switch (next_random(random) % 3) {
        case 0: CHECK_OK(esrpc_connection_abort(connection)); break;
        case 1: CHECK_OK(esrpc_connection_close(connection, ESRPC_OK)); break;
        default:
            CHECK_OK(esrpc_connection_close(connection, 1234));
            CHECK_ENDED(esrpc_connection_wait_shutdown(connection, ESRPC_NO_TIMEOUT));
            break;
    }
    esrpc_connection_release(connection);
}

static void *work(void *argument) {
    uint64_t random = (uint64_t)(size_t)argument * 7919 + 1;
    uint8_t *data = (uint8_t *)malloc(LARGEST);
    CHECK(data != NULL);
    for (size_t i = 0; i < LARGEST; i++) data[i] = (uint8_t)next_random(&random);
    while (!is_over) {
        pthread_rwlock_rdlock(&pause_lock);
        visit(&random, data);
        pthread_rwlock_unlock(&pause_lock);
    }
    free(data);
    return NULL;
}

/* --- the samples --- */

struct sample {
    size_t rss_kib, heap_kib, descriptors, threads;
};

static size_t resident_kib(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[128];
    unsigned long kib = 0;
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL && sscanf(line, "VmRSS: %lu", &kib) != 1) {}
    fclose(file);
    return kib;
}

static bool is_at_rest(void) {
    return esrpc_runtime_get_open_connections(client_runtime) == 0 &&
           esrpc_runtime_get_open_connections(server_runtime) == 0 && total.dialled == total.set_up + total.failed &&
           total.set_up == total.shut_down && total.dialled == total.destroyed && total.accepted == total.server_shut_down &&
           total.accepted == total.server_destroyed && total.streams == total.streams_closed &&
           total.streams == total.streams_destroyed && total.sends == total.flushes;
}

static void print_counts(void) {
    fprintf(stderr,
            "  clients %zu dialled, %zu set up, %zu failed, %zu shut down, %zu destroyed; servers %zu accepted, %zu shut down, "
            "%zu destroyed, %zu refused; streams %zu, %zu closed, %zu destroyed; sends %zu, %zu flushed\n",
            (size_t)total.dialled, (size_t)total.set_up, (size_t)total.failed, (size_t)total.shut_down,
            (size_t)total.destroyed, (size_t)total.accepted, (size_t)total.server_shut_down, (size_t)total.server_destroyed,
            (size_t)total.refused, (size_t)total.streams, (size_t)total.streams_closed, (size_t)total.streams_destroyed,
            (size_t)total.sends, (size_t)total.flushes);
}

/* With everybody standing still. */
static struct sample take_sample(void) {
    struct timespec now, deadline = deadline_in(PATIENCE_SECONDS);
    struct sample sample;
    while (!is_at_rest()) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec > deadline.tv_sec) {
            fprintf(stderr, "something does not end:\n");
            print_counts();
            abort();
        }
        usleep(1000);
    }
    usleep(1500 * 1000); /* loops keep memory for large messages until nothing has come for a second */
    sample.rss_kib = resident_kib();
    sample.heap_kib = mallinfo2().uordblks / 1024;
    sample.descriptors = count_descriptors();
    sample.threads = count_threads();
    return sample;
}

static void print_sample(size_t seconds, const struct sample *sample) {
    printf("%5zu s: %7zu connections %8zu calls %9zu messages %7zu MB; %6zu KiB resident %6zu KiB heap %3zu descriptors "
           "%2zu threads\n",
           seconds, (size_t)total.connections, (size_t)total.calls, (size_t)total.messages, (size_t)total.bytes / 1000000,
           sample->rss_kib, sample->heap_kib, sample->descriptors, sample->threads);
    fflush(stdout);
}

static void check_growth(const struct sample *first, const struct sample *now) {
    CHECK(now->descriptors == first->descriptors);
    CHECK(now->threads == first->threads);
    CHECK(now->heap_kib <= first->heap_kib + 2 * 1024);
    CHECK(now->rss_kib <= first->rss_kib + first->rss_kib / 4 + 8 * 1024);
}

static esrpc_runtime *runtime_with(size_t threads) {
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    esrpc_runtime *runtime;
    CHECK_OK(esrpc_runtime_options_set_thread_count(options, threads));
    CHECK_OK(esrpc_runtime_new(options, &runtime));
    esrpc_runtime_options_release(options);
    return runtime;
}

int main(int argc, char **argv) {
    pthread_t workers[WORKERS];
    pthread_rwlockattr_t attributes;
    struct sample first;
    size_t seconds, step, passed = 0;
    CHECK(argc == 3);
    seconds = strtoul(argv[1], NULL, 10);
    setenv("ESRPC_TEST_CERTIFICATES", argv[2], 1);
    step = seconds / 5 < 60 ? seconds / 5 : 60;
    CHECK(step > 0);
    snprintf(unix_name, sizeof unix_name, "esrpc-soak-%ld", (long)getpid());
    /* Who wants to take a sample must not be kept waiting by workers. */
    CHECK(pthread_rwlockattr_init(&attributes) == 0);
    CHECK(pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) == 0);
    CHECK(pthread_rwlock_init(&pause_lock, &attributes) == 0);
    client_runtime = runtime_with(2);
    server_runtime = runtime_with(2);
    client_tls = client_that_trusts("ca.pem");
    for (int kind = 0; kind < KINDS; kind++) listeners[kind] = listen_as(kind);
    for (size_t i = 0; i < WORKERS; i++) CHECK(pthread_create(&workers[i], NULL, work, (void *)i) == 0);

    memset(&first, 0, sizeof first);
    while (passed < seconds) {
        struct sample sample;
        sleep((unsigned)step);
        passed += step;
        pthread_rwlock_wrlock(&pause_lock);
        sample = take_sample();
        print_sample(passed, &sample);
        if (passed == step) first = sample;
        check_growth(&first, &sample);
        pthread_rwlock_unlock(&pause_lock);
    }
    is_over = true;
    for (size_t i = 0; i < WORKERS; i++) CHECK(pthread_join(workers[i], NULL) == 0);
    for (int kind = 0; kind < KINDS; kind++) {
        CHECK_OK(esrpc_listener_close(listeners[kind]));
        esrpc_listener_release(listeners[kind]);
    }
    CHECK_OK(esrpc_runtime_join(client_runtime, PATIENCE_MS));
    CHECK_OK(esrpc_runtime_join(server_runtime, PATIENCE_MS));
    print_counts();
    for (int status = 0; status < STATUSES; status++)
        if (total.by_status[status] > 0) printf("  %8zu %s\n", (size_t)total.by_status[status], esrpc_status_name(status));
    CHECK(is_at_rest());
    esrpc_runtime_release(client_runtime);
    esrpc_runtime_release(server_runtime);
    esrpc_tls_config_release(client_tls);
    return 0;
}
