/* esrpc-call --bench: many calls at once, and how long they take. Everything about a connection happens on its event-loop
 * thread; the main thread only looks at the counters. */
#include "call.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { DEFAULT_DURATION_MS = 5000, LOOK_MS = 200, MOST_VAIN_CALLS = 100 };
/* Latencies in nanoseconds: up to SUB exactly, above it SUB buckets for each power of two, so within 1.6 %. */
enum { SUB_BITS = 6, SUB = 1 << SUB_BITS, HIGHEST_BIT = 42, BUCKETS = (HIGHEST_BIT - SUB_BITS + 2) * SUB };

struct bench;
struct lane;

/* One call at a time. */
struct slot {
    struct lane *lane;
    esrpc_stream *stream;
    uint64_t start_ns;
    bool is_replied;
};

/* One connection. */
struct lane {
    struct bench *bench;
    esrpc_connection *connection;
    struct slot *slots;
    atomic_ullong calls, errors, failures, bytes;
    atomic_ullong max_ns, last_ns;
    atomic_uint buckets[BUCKETS];
    /* The first failure, and the first reply that is an error. Written on the loop thread before the lane is idle. */
    esrpc_status status;
    int32_t alert;
    char sentence[512];
    esrpc_message *error;
};

struct bench {
    struct call *call;
    uint32_t in_flight, lane_count;
    struct lane *lanes;
    uint64_t begin_ns;
    atomic_ullong started;
    atomic_bool is_stopping;
    atomic_bool has_success;
    atomic_uint vain_calls; /* that ended before the first success */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t busy; /* slots with a call; under the lock */
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static size_t bucket_of(uint64_t ns)
{
    unsigned shift = 0;
    while (ns >> shift >= 2 * SUB && shift < HIGHEST_BIT - SUB_BITS) shift++;
    uint64_t within = ns >> shift;
    if (within >= 2 * SUB) within = 2 * SUB - 1;
    return within < SUB ? (size_t)within : shift * SUB + (size_t)within;
}

/* The middle of a bucket. */
static uint64_t bucket_value(size_t bucket)
{
    if (bucket < 2 * SUB) return bucket;
    size_t shift = bucket / SUB - 1;
    return ((uint64_t)(bucket % SUB + SUB) << shift) + (((uint64_t)1 << shift) >> 1);
}

/* One thread writes each counter, so that no sum can be lost. */
static void add_to(atomic_ullong *counter, unsigned long long more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_relaxed);
}

/* A load of which nothing succeeds shows nothing. */
static void note_vain_call(struct bench *bench)
{
    if (atomic_load_explicit(&bench->has_success, memory_order_relaxed)) return;
    if (atomic_fetch_add(&bench->vain_calls, 1) + 1 >= MOST_VAIN_CALLS) atomic_store(&bench->is_stopping, true);
}

static void note_failure(struct lane *lane, esrpc_status status, const char *sentence)
{
    add_to(&lane->failures, 1);
    note_vain_call(lane->bench);
    if (lane->status != ESRPC_OK) return;
    lane->status = status;
    lane->alert = last_alert();
    snprintf(lane->sentence, sizeof lane->sentence, "%s", sentence);
}

static void become_idle(struct slot *slot)
{
    struct bench *bench = slot->lane->bench;
    esrpc_stream_release(slot->stream);
    slot->stream = NULL;
    pthread_mutex_lock(&bench->lock);
    if (--bench->busy == 0) pthread_cond_signal(&bench->changed);
    pthread_mutex_unlock(&bench->lock);
}

static void activate(struct slot *slot)
{
    struct call *call = slot->lane->bench->call;
    slot->start_ns = now_ns();
    esrpc_status status =
        esrpc_stream_activate(slot->stream, esrpc_text(call->operation), ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE,
                              ESRPC_MESSAGE_FLAG_NONE, call->headers, text_bytes(&call->payload), NULL, NULL);
    if (status == ESRPC_OK || status == ESRPC_ERROR_WOULD_BLOCK) return; /* on_writable follows */
    note_failure(slot->lane, status, esrpc_last_error_message());
    become_idle(slot);
}

static void on_message(esrpc_stream *stream, const esrpc_message *message, void *user_data)
{
    struct slot *slot = user_data;
    struct lane *lane = slot->lane;
    add_to(&lane->bytes, esrpc_message_get_payload(message).len);
    if (!slot->is_replied) {
        uint64_t now = now_ns(), latency = now - slot->start_ns;
        atomic_uint *bucket = &lane->buckets[bucket_of(latency)];
        slot->is_replied = true;
        atomic_store_explicit(bucket, atomic_load_explicit(bucket, memory_order_relaxed) + 1, memory_order_relaxed);
        if (latency > atomic_load_explicit(&lane->max_ns, memory_order_relaxed))
            atomic_store_explicit(&lane->max_ns, latency, memory_order_relaxed);
        atomic_store_explicit(&lane->last_ns, now, memory_order_relaxed);
        add_to(&lane->calls, 1);
        if (esrpc_message_get_type(message) == ESRPC_MESSAGE_TYPE_APPLICATION_ERROR) {
            add_to(&lane->errors, 1);
            if (lane->error == NULL) esrpc_message_copy(message, &lane->error);
            note_vain_call(lane->bench);
        } else if (!atomic_load_explicit(&lane->bench->has_success, memory_order_relaxed)) {
            atomic_store(&lane->bench->has_success, true);
        }
    }
    if ((esrpc_message_get_flags(message) & ESRPC_MESSAGE_FLAG_TERMINATE_STREAM) == 0) esrpc_stream_close(stream);
}

static void on_writable(esrpc_stream *stream, void *user_data)
{
    if (esrpc_stream_get_state(stream) == ESRPC_STREAM_STATE_NEW) activate(user_data);
}

static void begin_call(struct slot *slot);

static void on_closed(esrpc_stream *stream, esrpc_status reason, void *user_data)
{
    struct slot *slot = user_data;
    if (reason != ESRPC_OK) note_failure(slot->lane, reason, esrpc_stream_get_end_message(stream));
    else if (!slot->is_replied) note_failure(slot->lane, ESRPC_ERROR_STREAM_CLOSED, "a stream ended without a reply");
    begin_call(slot);
}

/* The slot has a call before and after, or becomes idle. */
static void begin_call(struct slot *slot)
{
    static const esrpc_stream_callbacks callbacks = {
        .struct_size = sizeof callbacks, .on_message = on_message, .on_writable = on_writable, .on_closed = on_closed};
    struct lane *lane = slot->lane;
    struct bench *bench = lane->bench;
    esrpc_stream_release(slot->stream);
    slot->stream = NULL;
    slot->is_replied = false;
    if (atomic_load(&bench->is_stopping) || !esrpc_connection_is_open(lane->connection) ||
        (bench->call->count != 0 && atomic_fetch_add(&bench->started, 1) >= bench->call->count)) {
        become_idle(slot);
        return;
    }
    esrpc_status status = esrpc_connection_new_stream(lane->connection, &callbacks, slot, &slot->stream);
    if (status == ESRPC_OK) status = esrpc_stream_set_deadline_ms(slot->stream, timeout_of(bench->call));
    if (status == ESRPC_OK) {
        activate(slot);
    } else {
        note_failure(lane, status, esrpc_last_error_message());
        become_idle(slot);
    }
}

static void begin_lane(esrpc_status status, void *user_data)
{
    struct lane *lane = user_data;
    if (status != ESRPC_OK) note_failure(lane, status, esrpc_last_error_message());
    for (uint32_t i = 0; i < lane->bench->in_flight; i++) {
        lane->slots[i].lane = lane;
        if (status == ESRPC_OK) begin_call(&lane->slots[i]);
        else become_idle(&lane->slots[i]);
    }
}

/* --- The figures --- */

struct figures {
    unsigned long long calls, errors, failures, bytes, max_ns, last_ns;
    unsigned long long buckets[BUCKETS];
};

static void add_up(const struct bench *bench, struct figures *figures)
{
    memset(figures, 0, sizeof *figures);
    for (uint32_t i = 0; i < bench->lane_count; i++) {
        const struct lane *lane = &bench->lanes[i];
        unsigned long long max_ns = atomic_load(&lane->max_ns), last_ns = atomic_load(&lane->last_ns);
        figures->calls += atomic_load(&lane->calls);
        figures->errors += atomic_load(&lane->errors);
        figures->failures += atomic_load(&lane->failures);
        figures->bytes += atomic_load(&lane->bytes);
        if (max_ns > figures->max_ns) figures->max_ns = max_ns;
        if (last_ns > figures->last_ns) figures->last_ns = last_ns;
        for (size_t j = 0; j < BUCKETS; j++)
            figures->buckets[j] += atomic_load_explicit(&lane->buckets[j], memory_order_relaxed);
    }
}

/* The latency in milliseconds that this share of the calls did not exceed. */
static double percentile(const struct figures *figures, double share)
{
    unsigned long long total = 0, seen = 0;
    for (size_t i = 0; i < BUCKETS; i++) total += figures->buckets[i];
    unsigned long long rank = (unsigned long long)(share * (double)total);
    if ((double)rank < share * (double)total) rank++;
    if (rank == 0) rank = 1;
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += figures->buckets[i];
        if (seen < rank) continue;
        uint64_t value = bucket_value(i);
        return (double)(value < figures->max_ns ? value : figures->max_ns) / 1e6;
    }
    return 0;
}

static void show_progress(const struct bench *bench, struct figures *figures, unsigned long long *before)
{
    add_up(bench, figures);
    fprintf(stderr, "\r\033[K%.1f s  %llu calls  %.0f/s  p50 %.3f ms  p99 %.3f ms  max %.3f ms",
            (double)(now_ns() - bench->begin_ns) / 1e9, figures->calls, (double)(figures->calls - *before) * 1000 / LOOK_MS,
            percentile(figures, 0.5), percentile(figures, 0.99), (double)figures->max_ns / 1e6);
    if (figures->errors + figures->failures > 0) fprintf(stderr, "  %llu errors", figures->errors + figures->failures);
    *before = figures->calls;
}

static bool print_figures(const struct bench *bench, const struct figures *figures)
{
    static const double shares[] = {0.5, 0.9, 0.99, 0.999};
    static const char *const names[] = {"p50", "p90", "p99", "p99.9"};
    const double seconds =
        figures->last_ns > bench->begin_ns ? (double)(figures->last_ns - bench->begin_ns) / 1e9 : 0;
    const double rate = seconds > 0 ? (double)figures->calls / seconds : 0;
    struct text text = {NULL, 0, 0};
    if (bench->call->is_json) {
        text_print(&text, "{\"operation\":");
        if (is_utf8(esrpc_text(bench->call->operation))) text_add_string(&text, esrpc_text(bench->call->operation));
        else text_print(&text, "null");
        text_print(&text,
                   ",\"connections\":%lu,\"in_flight\":%lu,\"calls\":%llu,\"error_replies\":%llu,\"failures\":%llu,"
                   "\"seconds\":%.3f,\"calls_per_second\":%.1f,\"payload_bytes_received\":%llu,\"latency_ms\":{",
                   (unsigned long)bench->lane_count, (unsigned long)bench->in_flight, figures->calls, figures->errors,
                   figures->failures, seconds, rate, figures->bytes);
        for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++)
            text_print(&text, "\"%s\":%.4f,", names[i], percentile(figures, shares[i]));
        text_print(&text, "\"max\":%.4f}}\n", (double)figures->max_ns / 1e6);
    } else {
        text_print(&text, "connections   %lu, with %lu call%s at once on each\n", (unsigned long)bench->lane_count,
                   (unsigned long)bench->in_flight, bench->in_flight == 1 ? "" : "s");
        text_print(&text, "calls         %llu in %.3f s: %.1f per second\n", figures->calls, seconds, rate);
        text_print(&text, "failures      %llu calls without a reply, %llu replies that are errors\n", figures->failures,
                   figures->errors);
        text_print(&text, "received      %.3f MB of payload: %.3f MB per second\n", (double)figures->bytes / 1e6,
                   seconds > 0 ? (double)figures->bytes / 1e6 / seconds : 0);
        text_print(&text, "latency");
        for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++)
            text_print(&text, "%s%-6s %10.4f ms\n", i == 0 ? "       " : "              ", names[i],
                       percentile(figures, shares[i]));
        text_print(&text, "              max    %10.4f ms\n", (double)figures->max_ns / 1e6);
    }
    bool written = write_output(text.data, text.len);
    free(text.data);
    return written;
}

/* --- The run --- */

static volatile sig_atomic_t is_interrupted;

/* The first Ctrl+C ends the load and shows its figures, the next one ends the program. */
static void on_interrupt(int number)
{
    (void)number;
    is_interrupted = 1;
}

static void watch_for_interrupt(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
}

static int connect_lanes(struct bench *bench, esrpc_runtime *runtime)
{
    int exit_code = EXIT_OK;
    uint32_t begun = 0;
    esrpc_client_options *options = make_client_options(bench->call, runtime, &exit_code);
    esrpc_status status = ESRPC_OK;
    if (options == NULL) return exit_code;
    while (status == ESRPC_OK && begun < bench->lane_count) {
        struct lane *lane = &bench->lanes[begun];
        status = esrpc_connection_connect(options, NULL, NULL, &lane->connection);
        if (status == ESRPC_OK) begun++;
    }
    for (uint32_t i = 0; status == ESRPC_OK && i < begun; i++) {
        status = esrpc_connection_wait_setup(bench->lanes[i].connection, timeout_of(bench->call));
        if (status != ESRPC_OK)
            exit_code = say_failure(bench->call, "cannot connect to @", status, esrpc_last_error_message(), last_alert(), false);
    }
    if (status != ESRPC_OK && begun < bench->lane_count)
        exit_code = say_failure(bench->call, "cannot connect to @", status, esrpc_last_error_message(), last_alert(), false);
    esrpc_client_options_release(options);
    return exit_code;
}

/* Waits until no call is left; at the end of the duration no more are begun. */
static void wait_for_calls(struct bench *bench)
{
    const struct call *call = bench->call;
    const bool is_shown = !call->is_quiet && isatty(STDERR_FILENO);
    const uint64_t duration_ms = call->duration_ms != 0 ? call->duration_ms : DEFAULT_DURATION_MS;
    struct figures *figures = allocate(sizeof *figures);
    unsigned long long before = 0;
    pthread_mutex_lock(&bench->lock);
    while (bench->busy > 0) {
        uint64_t passed_ms = (now_ns() - bench->begin_ns) / 1000000;
        uint64_t rest_ms = LOOK_MS;
        if (is_interrupted || (call->count == 0 && passed_ms >= duration_ms)) atomic_store(&bench->is_stopping, true);
        else if (call->count == 0 && duration_ms - passed_ms < rest_ms) rest_ms = duration_ms - passed_ms;
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += (long)rest_ms * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (pthread_cond_timedwait(&bench->changed, &bench->lock, &until) != ETIMEDOUT || !is_shown) continue;
        pthread_mutex_unlock(&bench->lock);
        show_progress(bench, figures, &before);
        pthread_mutex_lock(&bench->lock);
    }
    pthread_mutex_unlock(&bench->lock);
    if (is_shown) fputs("\r\033[K", stderr);
    free(figures);
}

static const esrpc_message *first_error(const struct bench *bench)
{
    for (uint32_t i = 0; i < bench->lane_count; i++)
        if (bench->lanes[i].error != NULL) return bench->lanes[i].error;
    return NULL;
}

static int report_figures(struct bench *bench)
{
    struct figures *figures = allocate(sizeof *figures);
    int exit_code = EXIT_OK;
    add_up(bench, figures);
    /* The rate of failures is not for people. */
    const bool is_in_vain = !bench->has_success && bench->vain_calls >= MOST_VAIN_CALLS;
    if ((bench->call->is_json || !is_in_vain) && !print_figures(bench, figures)) exit_code = EXIT_FAILED;
    if (is_in_vain)
        say("%s: none of the first %u calls succeeded: no more were made", bench->call->operation, (unsigned)bench->vain_calls);
    for (uint32_t i = 0; i < bench->lane_count && exit_code == EXIT_OK; i++) {
        struct lane *lane = &bench->lanes[i];
        if (lane->status != ESRPC_OK)
            exit_code = say_failure(bench->call, "the first call to @ that failed", lane->status, lane->sentence, lane->alert,
                                    true);
    }
    if (exit_code == EXIT_OK && figures->errors > 0) {
        const esrpc_message *error = first_error(bench);
        say("%s: %llu of %llu replies are errors; the first one follows", bench->call->operation, figures->errors, figures->calls);
        exit_code = error != NULL ? say_error_reply(bench->call, error) : EXIT_ERROR_REPLY;
    }
    free(figures);
    return exit_code;
}

static int run(struct bench *bench)
{
    bench->busy = (size_t)bench->lane_count * bench->in_flight;
    bench->begin_ns = now_ns();
    for (uint32_t i = 0; i < bench->lane_count; i++) {
        struct lane *lane = &bench->lanes[i];
        lane->slots = allocate(bench->in_flight * sizeof *lane->slots);
        esrpc_status status = esrpc_connection_run_on_loop(lane->connection, begin_lane, lane);
        if (status != ESRPC_OK) begin_lane(status, lane);
    }
    watch_for_interrupt();
    wait_for_calls(bench);
    return report_figures(bench);
}

int call_bench(struct call *call)
{
    struct bench bench = {.call = call, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    esrpc_runtime_options *options = esrpc_runtime_options_new();
    esrpc_runtime *runtime = NULL;
    bench.in_flight = call->in_flight != 0 ? call->in_flight : 1;
    bench.lane_count = call->connections != 0 ? call->connections : 1;
    bench.lanes = allocate(bench.lane_count * sizeof *bench.lanes);
    for (uint32_t i = 0; i < bench.lane_count; i++) bench.lanes[i].bench = &bench;
    esrpc_runtime_options_set_thread_count(options, call->threads != 0 ? call->threads : 1);
    esrpc_status status = esrpc_runtime_new(options, &runtime);
    esrpc_runtime_options_release(options);
    int exit_code = EXIT_FAILED;
    if (status != ESRPC_OK) {
        say_status("cannot start", status, esrpc_last_error_message());
    } else {
        exit_code = connect_lanes(&bench, runtime);
        if (exit_code == EXIT_OK) exit_code = run(&bench);
    }
    for (uint32_t i = 0; i < bench.lane_count; i++) {
        struct lane *lane = &bench.lanes[i];
        if (lane->connection != NULL) {
            esrpc_connection_close(lane->connection, ESRPC_OK);
            if (exit_code == EXIT_OK) esrpc_connection_wait_shutdown(lane->connection, DEFAULT_TIMEOUT_MS);
        }
        esrpc_connection_release(lane->connection);
    }
    /* If it does not end, its callbacks still use the lanes. */
    if (!end_runtime(runtime)) return EXIT_FAILED;
    for (uint32_t i = 0; i < bench.lane_count; i++) {
        free(bench.lanes[i].slots);
        esrpc_message_release(bench.lanes[i].error);
    }
    free(bench.lanes);
    return exit_code;
}
