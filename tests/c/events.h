/* What happened, in the order in which it happened: callbacks are noted as lines such as "client setup ESRPC_OK",
   and tests wait for lines, count them and compare their order. Include it first, since it selects POSIX. */
#ifndef EVENTS_H
#define EVENTS_H

#if !defined(_POSIX_C_SOURCE) && !defined(__cplusplus)
#define _POSIX_C_SOURCE 200809L
#endif

#include <pthread.h>
#include <stdarg.h>
#include <time.h>

#include "check.h"

/* Long enough for valgrind on a busy machine; an event that takes longer will not come. */
enum { PATIENCE_SECONDS = 60, PATIENCE_MS = PATIENCE_SECONDS * 1000 };

struct event {
    char text[120];
    pthread_t thread;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct event *events;
    size_t count, capacity;
    pthread_t main_thread;
    pthread_key_t inside_callback;
} recorder;

static inline void recorder_begin(void) {
    pthread_condattr_t attributes;
    CHECK(pthread_mutex_init(&recorder.lock, NULL) == 0);
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&recorder.changed, &attributes) == 0);
    CHECK(pthread_condattr_destroy(&attributes) == 0);
    CHECK(pthread_key_create(&recorder.inside_callback, NULL) == 0);
    recorder.main_thread = pthread_self();
}

static inline void recorder_clear(void) {
    pthread_mutex_lock(&recorder.lock);
    recorder.count = 0;
    pthread_mutex_unlock(&recorder.lock);
}

static inline void recorder_end(void) {
    free(recorder.events);
    pthread_key_delete(recorder.inside_callback);
    pthread_cond_destroy(&recorder.changed);
    pthread_mutex_destroy(&recorder.lock);
}

#ifdef __GNUC__
__attribute__((format(printf, 1, 2)))
#endif
static inline void note(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&recorder.lock);
    if (recorder.count == recorder.capacity) {
        recorder.capacity = recorder.capacity == 0 ? 256 : recorder.capacity * 2;
        recorder.events = (struct event *)realloc(recorder.events, recorder.capacity * sizeof *recorder.events);
        CHECK(recorder.events != NULL);
    }
    vsnprintf(recorder.events[recorder.count].text, sizeof recorder.events->text, format, arguments);
    recorder.events[recorder.count++].thread = pthread_self();
    pthread_cond_broadcast(&recorder.changed);
    pthread_mutex_unlock(&recorder.lock);
    va_end(arguments);
}

/* Whether the text begins with the words of the pattern. */
static inline bool begins_with(const char *text, const char *pattern) {
    size_t len = strlen(pattern);
    return strncmp(text, pattern, len) == 0 && (text[len] == '\0' || text[len] == ' ');
}

static inline size_t count_locked(const char *pattern) {
    size_t count = 0;
    for (size_t i = 0; i < recorder.count; i++) count += begins_with(recorder.events[i].text, pattern);
    return count;
}

static inline size_t count_of(const char *pattern) {
    pthread_mutex_lock(&recorder.lock);
    size_t count = count_locked(pattern);
    pthread_mutex_unlock(&recorder.lock);
    return count;
}

static inline void print_events(void) {
    for (size_t i = 0; i < recorder.count; i++) fprintf(stderr, "    %s\n", recorder.events[i].text);
}

/* Waits for a change until the deadline. Under the lock. */
static inline bool wait_locked(const struct timespec *deadline) {
    return pthread_cond_timedwait(&recorder.changed, &recorder.lock, deadline) == 0;
}

static inline struct timespec deadline_in(time_t seconds) {
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += seconds;
    return deadline;
}

/* Waits until `count` events begin with the pattern. */
static inline void await_count(const char *pattern, size_t count) {
    struct timespec deadline = deadline_in(PATIENCE_SECONDS);
    pthread_mutex_lock(&recorder.lock);
    while (count_locked(pattern) < count) {
        if (!wait_locked(&deadline)) {
            fprintf(stderr, "no event \"%s\" (%zu times); what happened:\n", pattern, count);
            print_events();
            abort();
        }
    }
    pthread_mutex_unlock(&recorder.lock);
}

static inline void await(const char *pattern) {
    await_count(pattern, 1);
}

static inline void await_either(const char *a, const char *b) {
    struct timespec deadline = deadline_in(PATIENCE_SECONDS);
    pthread_mutex_lock(&recorder.lock);
    while (count_locked(a) == 0 && count_locked(b) == 0) {
        if (wait_locked(&deadline)) continue;
        fprintf(stderr, "no event \"%s\" or \"%s\"; what happened:\n", a, b);
        print_events();
        abort();
    }
    pthread_mutex_unlock(&recorder.lock);
}

/* The index of the first, or the last, event that begins with the pattern; the number of events if there is none. */
static inline size_t place_of(const char *pattern, bool last) {
    pthread_mutex_lock(&recorder.lock);
    size_t place = recorder.count;
    for (size_t i = 0; i < recorder.count; i++) {
        if (begins_with(recorder.events[i].text, pattern)) {
            place = i;
            if (!last) break;
        }
    }
    pthread_mutex_unlock(&recorder.lock);
    return place;
}

#define CHECK_COUNT(expected, pattern) check_count((expected), (pattern), __FILE__, __LINE__)
#define CHECK_NEVER(pattern) CHECK_COUNT(0, pattern)
#define CHECK_ONCE(pattern) CHECK_COUNT(1, pattern)
/* Both happened, and every event of the first pattern came before every one of the second. */
#define CHECK_BEFORE(first, second) check_before((first), (second), __FILE__, __LINE__)
/* The events whose first word is `name` are these and no others, in this order. Each may be given by its beginning. */
#define CHECK_EVENTS(name, ...)                                                                           \
    do {                                                                                                  \
        static const char *const expected_events[] = {__VA_ARGS__};                                       \
        check_events((name), expected_events, sizeof expected_events / sizeof *expected_events, __FILE__, __LINE__); \
    } while (0)

static inline void check_count(size_t expected, const char *pattern, const char *file, int line) {
    size_t count = count_of(pattern);
    if (count != expected) {
        fprintf(stderr, "%s:%d: \"%s\" happened %zu times, not %zu:\n", file, line, pattern, count, expected);
        print_events();
        abort();
    }
}

static inline void check_before(const char *first, const char *second, const char *file, int line) {
    if (count_of(first) == 0 || count_of(second) == 0 || place_of(first, true) > place_of(second, false)) {
        fprintf(stderr, "%s:%d: \"%s\" did not happen before \"%s\":\n", file, line, first, second);
        print_events();
        abort();
    }
}

static inline void check_events(const char *name, const char *const *expected, size_t count, const char *file,
                                int line) {
    size_t found = 0;
    bool same = true;
    pthread_mutex_lock(&recorder.lock);
    for (size_t i = 0; i < recorder.count; i++) {
        const char *text = recorder.events[i].text;
        if (!begins_with(text, name)) continue;
        same = same && found < count && begins_with(text + strlen(name) + 1, expected[found]);
        found++;
    }
    if (!same || found != count) {
        fprintf(stderr, "%s:%d: %s was not called as expected; what happened:\n", file, line, name);
        print_events();
        abort();
    }
    pthread_mutex_unlock(&recorder.lock);
}

/* A gate at which a callback waits while the test decides what happens. */
struct gate {
    bool open;
    unsigned waiting;
};

static inline void gate_pass(struct gate *gate) {
    struct timespec deadline = deadline_in(PATIENCE_SECONDS);
    pthread_mutex_lock(&recorder.lock);
    gate->waiting++;
    pthread_cond_broadcast(&recorder.changed);
    while (!gate->open) CHECK(wait_locked(&deadline));
    gate->waiting--;
    pthread_cond_broadcast(&recorder.changed);
    pthread_mutex_unlock(&recorder.lock);
}

/* Waits until a thread waits at the gate. */
static inline void gate_await(struct gate *gate) {
    struct timespec deadline = deadline_in(PATIENCE_SECONDS);
    pthread_mutex_lock(&recorder.lock);
    while (gate->waiting == 0) CHECK(wait_locked(&deadline));
    pthread_mutex_unlock(&recorder.lock);
}

/* Returns when no thread waits at the gate any longer, so that it may go out of scope. */
static inline void gate_open(struct gate *gate) {
    struct timespec deadline = deadline_in(PATIENCE_SECONDS);
    pthread_mutex_lock(&recorder.lock);
    gate->open = true;
    pthread_cond_broadcast(&recorder.changed);
    while (gate->waiting > 0) CHECK(wait_locked(&deadline));
    pthread_mutex_unlock(&recorder.lock);
}

/* Every callback begins and ends with these: callbacks run one at a time, and on a thread of the library. */
static inline void enter_callback(void) {
    CHECK(!pthread_equal(pthread_self(), recorder.main_thread));
    CHECK(pthread_getspecific(recorder.inside_callback) == NULL);
    pthread_setspecific(recorder.inside_callback, &recorder);
}

static inline void leave_callback(void) {
    pthread_setspecific(recorder.inside_callback, NULL);
}

#define RUN_TESTS(tests, argc, argv) run_tests((tests), sizeof(tests) / sizeof *(tests), (argc), (argv))

/* After a scenario nothing of the default runtime is left either. */
static inline void join_default_runtime(void) {
    CHECK_OK(esrpc_runtime_join(NULL, PATIENCE_MS));
}

static inline int run_tests(const struct test *tests, size_t count, int argc, char **argv) {
    recorder_begin();
    int failed = run_scenarios(tests, count, argc, argv, recorder_clear, join_default_runtime);
    recorder_end();
    return failed;
}

#endif
