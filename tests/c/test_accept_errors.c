/* accept4 returns what this program decides, also for the library, as one of LD_PRELOAD would: connections that are lost
   before they are accepted, and a system that has no room for more. */
#include "harness.h"

#include "accepting.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { MOST = 16 };

/* What the next calls return, up to the first 0. */
static atomic_int answers[MOST];
/* How often the thread that accepts has waited for events before each call. */
static atomic_uint waits_before[MOST];
static atomic_uint calls;
static _Thread_local unsigned waits;

int accept4(int descriptor, struct sockaddr *address, socklen_t *len, int flags) {
    unsigned call = atomic_fetch_add(&calls, 1);
    int answer = call < MOST ? atomic_load(&answers[call]) : 0;
    if (call < MOST) atomic_store(&waits_before[call], waits);
    if (answer == 0) return accept_with_flags(descriptor, address, len, flags);
    errno = answer;
    return -1;
}

int epoll_wait(int descriptor, struct epoll_event *events, int most, int timeout_ms) {
    waits++;
    return epoll_pwait(descriptor, events, most, timeout_ms, NULL);
}

static void answer_with(const int *errors, size_t count) {
    for (size_t i = 0; i < MOST; i++) atomic_store(&answers[i], i < count ? errors[i] : 0);
    atomic_store(&calls, 0);
}

/* The one that comes after them is accepted in the same turn. */
static void connections_that_are_lost_delay_no_other(void) {
    static const int errors[] = {ECONNABORTED, EPROTO, EINTR, ENETDOWN, EHOSTUNREACH};
    enum { ERRORS = sizeof errors / sizeof *errors };
    struct pair pair;
    pair_begin(&pair);
    answer_with(errors, ERRORS);
    pair_connect(&pair);
    CHECK(atomic_load(&calls) > ERRORS);
    for (size_t i = 1; i <= ERRORS; i++) CHECK(atomic_load(&waits_before[i]) == atomic_load(&waits_before[0]));
    pair_end(&pair);
    /* Each is reported except the interruption, which is not an error. */
    CHECK_COUNT(4, "listener failed CONNECTION_RESET");
    CHECK_COUNT(4, "listener failed");
}

/* The connection is still in the queue, and no further event announces it. */
static void a_shortage_is_reported_and_waited_out(void) {
    static const int shortages[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
    static const char *const told[] = {"listener failed TOO_MANY_FILES", "listener failed TOO_MANY_FILES",
                                       "listener failed IO", "listener failed IO"};
    for (size_t i = 0; i < sizeof shortages / sizeof *shortages; i++) {
        struct pair pair;
        recorder_clear();
        pair_begin(&pair);
        answer_with(&shortages[i], 1);
        pair_connect(&pair);
        CHECK(atomic_load(&waits_before[1]) > atomic_load(&waits_before[0]));
        CHECK_ONCE("listener failed");
        CHECK_BEFORE(told[i], "server accepted");
        pair_end(&pair);
    }
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(connections_that_are_lost_delay_no_other),
        TEST(a_shortage_is_reported_and_waited_out),
    };
    return RUN_TESTS(tests, argc, argv);
}
