/* Intercepts the socket calls of the C library (LD_PRELOAD) and lets them go wrong as a system may: short, interrupted, not
   ready yet, or failing after so many bytes. Only calls through the loader are seen: those of the library under test, and of
   the test.

   A program configures it with the functions of fault_shim.h, or anybody through the environment: FAULT_RANDOM is the start
   of chance, FAULT_RESET_IN the number of calls of which one resets its connection. */
#define _GNU_SOURCE
/* The C library declares addresses as unions of pointers to their kinds. */
#pragma GCC diagnostic ignored "-Wpedantic"
#include "fault_shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DESCRIPTORS = 65536, PIECES = 64 };

/* A socket between its creation and its close. */
struct entry {
    bool is_connection;
    int side;
    size_t moved[FAULT_WAYS];
    unsigned interrupted[FAULT_WAYS], delayed[FAULT_WAYS]; /* faults in a row */
    bool is_dead;                                          /* reset: nothing works any longer */
    int epoll;                                             /* plus one */
    struct epoll_event event;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry table[DESCRIPTORS];
static struct fault_plan plan;
static bool armed;
static unsigned calls, fired;
static size_t most_moved[FAULT_SIDES][FAULT_WAYS];
static uint64_t chance;

__attribute__((visibility("default"))) void fault_set(const struct fault_plan *new_plan) {
    pthread_mutex_lock(&lock);
    armed = new_plan != NULL;
    if (armed) {
        plan = *new_plan;
        chance = plan.random;
        calls = fired = 0;
        memset(most_moved, 0, sizeof most_moved);
    }
    pthread_mutex_unlock(&lock);
}

__attribute__((visibility("default"))) unsigned fault_fired(void) {
    pthread_mutex_lock(&lock);
    unsigned count = fired;
    pthread_mutex_unlock(&lock);
    return count;
}

__attribute__((visibility("default"))) size_t fault_bytes(int side, int way) {
    pthread_mutex_lock(&lock);
    size_t count = most_moved[side][way];
    pthread_mutex_unlock(&lock);
    return count;
}

__attribute__((constructor)) static void begin(void) {
    const char *random = getenv("FAULT_RANDOM"), *reset_in = getenv("FAULT_RESET_IN");
    if (random == NULL) return;
    struct fault_plan wanted = {.sides = 3, .ways = 3, .most = 4000, .interrupted = 2, .delayed = 2};
    wanted.random = (unsigned)strtoul(random, NULL, 10);
    wanted.reset_in = reset_in == NULL ? 0 : (unsigned)strtoul(reset_in, NULL, 10);
    fault_set(&wanted);
}

/* The function that this library stands before. */
#define REAL(name, result, ...)                                      \
    static result (*real)(__VA_ARGS__);                              \
    if (real == NULL) {                                              \
        void *address = dlsym(RTLD_NEXT, name);                      \
        memcpy((void *)&real, (const void *)&address, sizeof address); \
    }

static unsigned next_random(void) {
    chance = chance * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)(chance >> 33);
}

/* Whether the plan lets this call of the function fail; sets errno. */
static bool fails_now(const char *call) {
    bool fails = false;
    pthread_mutex_lock(&lock);
    if (armed && plan.call != NULL && strcmp(plan.call, call) == 0 && ++calls == plan.nth) {
        fails = true;
        fired++;
    }
    int error = plan.call_error;
    pthread_mutex_unlock(&lock);
    if (fails) errno = error;
    return fails;
}

static struct entry *entry_of(int fd) {
    return fd >= 0 && fd < DESCRIPTORS ? &table[fd] : NULL;
}

static void forget(int fd) {
    pthread_mutex_lock(&lock);
    if (entry_of(fd) != NULL) memset(entry_of(fd), 0, sizeof *entry_of(fd));
    pthread_mutex_unlock(&lock);
}

static void become(int fd, int side) {
    pthread_mutex_lock(&lock);
    if (entry_of(fd) != NULL) {
        entry_of(fd)->is_connection = true;
        entry_of(fd)->side = side;
    }
    pthread_mutex_unlock(&lock);
}

/* Reports the events that are due again, as if something had come only now. */
static void tell_again(int fd) {
    REAL("epoll_ctl", int, int, int, int, struct epoll_event *)
    pthread_mutex_lock(&lock);
    int epoll = entry_of(fd)->epoll;
    struct epoll_event event = entry_of(fd)->event;
    pthread_mutex_unlock(&lock);
    if (epoll > 0) real(epoll - 1, EPOLL_CTL_MOD, fd, &event);
}

/* What is to become of a call that wants to move some bytes. */
struct verdict {
    ssize_t result; /* below 0: fails with `error`; 0: an end; else how many bytes it may move */
    int error;
    bool again; /* an event is to follow */
};

static struct verdict verdict_of(ssize_t result, int error, bool again) {
    struct verdict verdict = {result, error, again};
    fired++;
    return verdict;
}

/* A row of EINTR and EAGAIN before a call that succeeds. */
static bool is_put_off(struct entry *entry, int way, struct verdict *verdict) {
    if (entry->interrupted[way] < plan.interrupted) {
        entry->interrupted[way]++;
        *verdict = verdict_of(-1, EINTR, false);
        return true;
    }
    if (entry->delayed[way] < plan.delayed) {
        entry->delayed[way]++;
        entry->interrupted[way] = 0;
        *verdict = verdict_of(-1, EAGAIN, true);
        return true;
    }
    entry->interrupted[way] = entry->delayed[way] = 0;
    return false;
}

static struct verdict judge(struct entry *entry, int way, size_t wanted) {
    struct verdict verdict = {(ssize_t)(wanted > SSIZE_MAX ? SSIZE_MAX : wanted), 0, false};
    if (entry->is_dead) return way == FAULT_IN ? verdict_of(0, 0, false) : verdict_of(-1, EPIPE, false);
    if (plan.error != 0) {
        size_t left = plan.fails_at > entry->moved[way] ? plan.fails_at - entry->moved[way] : 0;
        if (left == 0) {
            if (plan.error == ECONNRESET) entry->is_dead = true;
            return verdict_of(-1, plan.error, false);
        }
        if (left < wanted) verdict = verdict_of((ssize_t)left, 0, true);
    }
    size_t most = plan.most;
    if (plan.random != 0) {
        if (plan.reset_in > 0 && next_random() % plan.reset_in == 0) {
            entry->is_dead = true;
            return verdict_of(-1, ECONNRESET, false);
        }
        unsigned kind = next_random() % 6;
        if (kind == 0 && entry->interrupted[way]++ < plan.interrupted) return verdict_of(-1, EINTR, false);
        if (kind == 1 && entry->delayed[way]++ < plan.delayed) return verdict_of(-1, EAGAIN, true);
        entry->interrupted[way] = entry->delayed[way] = 0;
        most = kind == 2 && plan.most > 0 ? 1 + next_random() % plan.most : 0;
    } else if (is_put_off(entry, way, &verdict)) {
        return verdict;
    }
    if (most > 0 && most < (size_t)verdict.result) verdict = verdict_of((ssize_t)most, 0, true);
    return verdict;
}

static bool is_chosen(const struct entry *entry, int way) {
    return armed && entry != NULL && entry->is_connection && (plan.sides >> entry->side & 1) != 0 &&
           (plan.ways >> way & 1) != 0;
}

/* A call is about to move bytes. False: it has its result already. */
static bool may_move(int fd, int way, size_t *bytes, ssize_t *result, bool *again) {
    struct verdict verdict = {1, 0, false};
    pthread_mutex_lock(&lock);
    bool chosen = is_chosen(entry_of(fd), way) || (armed && entry_of(fd) != NULL && entry_of(fd)->is_dead);
    if (chosen) verdict = judge(entry_of(fd), way, *bytes);
    pthread_mutex_unlock(&lock);
    *again = verdict.again;
    if (!chosen) return true;
    if (verdict.result > 0) {
        *bytes = (size_t)verdict.result;
        return true;
    }
    if (verdict.again) tell_again(fd);
    errno = verdict.error;
    *result = verdict.result;
    return false;
}

static ssize_t moved(int fd, int way, ssize_t count, bool again) {
    int error = errno;
    pthread_mutex_lock(&lock);
    struct entry *entry = entry_of(fd);
    if (count > 0 && entry != NULL && entry->is_connection) {
        entry->moved[way] += (size_t)count;
        if (entry->moved[way] > most_moved[entry->side][way]) most_moved[entry->side][way] = entry->moved[way];
    }
    pthread_mutex_unlock(&lock);
    if (again) tell_again(fd);
    errno = error;
    return count;
}

/* As much of the buffers as may be moved. */
static int cut(const struct iovec *from, size_t count, size_t bytes, struct iovec *to) {
    int used = 0;
    for (size_t i = 0; i < count && i < PIECES && bytes > 0; i++) {
        to[used] = from[i];
        if (to[used].iov_len > bytes) to[used].iov_len = bytes;
        bytes -= to[used++].iov_len;
    }
    return used;
}

static size_t total(const struct iovec *buffers, size_t count) {
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) bytes += buffers[i].iov_len;
    return bytes;
}

ssize_t recv(int fd, void *buffer, size_t len, int flags) {
    REAL("recv", ssize_t, int, void *, size_t, int)
    ssize_t result;
    bool again;
    if ((flags & MSG_PEEK) != 0) return real(fd, buffer, len, flags);
    if (!may_move(fd, FAULT_IN, &len, &result, &again)) return result;
    return moved(fd, FAULT_IN, real(fd, buffer, len, flags), again);
}

ssize_t recvfrom(int fd, void *buffer, size_t len, int flags, struct sockaddr *restrict address,
                 socklen_t *restrict address_len) {
    REAL("recvfrom", ssize_t, int, void *, size_t, int, struct sockaddr *restrict, socklen_t *restrict)
    ssize_t result;
    bool again;
    if (!may_move(fd, FAULT_IN, &len, &result, &again)) return result;
    return moved(fd, FAULT_IN, real(fd, buffer, len, flags, address, address_len), again);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    REAL("recvmsg", ssize_t, int, struct msghdr *, int)
    struct iovec pieces[PIECES];
    struct msghdr shorter = *message;
    size_t len = total(message->msg_iov, message->msg_iovlen);
    ssize_t result;
    bool again;
    if (!may_move(fd, FAULT_IN, &len, &result, &again)) return result;
    shorter.msg_iovlen = (size_t)cut(message->msg_iov, message->msg_iovlen, len, pieces);
    shorter.msg_iov = pieces;
    result = moved(fd, FAULT_IN, real(fd, &shorter, flags), again);
    message->msg_namelen = shorter.msg_namelen;
    message->msg_controllen = shorter.msg_controllen;
    message->msg_flags = shorter.msg_flags;
    return result;
}

ssize_t read(int fd, void *buffer, size_t len) {
    REAL("read", ssize_t, int, void *, size_t)
    ssize_t result;
    bool again;
    if (!may_move(fd, FAULT_IN, &len, &result, &again)) return result;
    return moved(fd, FAULT_IN, real(fd, buffer, len), again);
}

ssize_t readv(int fd, const struct iovec *buffers, int count) {
    REAL("readv", ssize_t, int, const struct iovec *, int)
    struct iovec pieces[PIECES];
    size_t len = total(buffers, (size_t)count);
    ssize_t result;
    bool again;
    if (!may_move(fd, FAULT_IN, &len, &result, &again)) return result;
    return moved(fd, FAULT_IN, real(fd, pieces, cut(buffers, (size_t)count, len, pieces)), again);
}

ssize_t send(int fd, const void *data, size_t len, int flags) {
    REAL("send", ssize_t, int, const void *, size_t, int)
    ssize_t result;
    bool again;
    if (!may_move(fd, FAULT_OUT, &len, &result, &again)) return result;
    return moved(fd, FAULT_OUT, real(fd, data, len, flags), again);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL("sendmsg", ssize_t, int, const struct msghdr *, int)
    struct iovec pieces[PIECES];
    struct msghdr shorter = *message;
    size_t len = total(message->msg_iov, message->msg_iovlen);
    ssize_t result;
    bool again;
    if (!may_move(fd, FAULT_OUT, &len, &result, &again)) return result;
    shorter.msg_iovlen = (size_t)cut(message->msg_iov, message->msg_iovlen, len, pieces);
    shorter.msg_iov = pieces;
    return moved(fd, FAULT_OUT, real(fd, &shorter, flags), again);
}

ssize_t write(int fd, const void *data, size_t len) {
    REAL("write", ssize_t, int, const void *, size_t)
    ssize_t result;
    bool again;
    if (!may_move(fd, FAULT_OUT, &len, &result, &again)) return result;
    return moved(fd, FAULT_OUT, real(fd, data, len), again);
}

ssize_t writev(int fd, const struct iovec *buffers, int count) {
    REAL("writev", ssize_t, int, const struct iovec *, int)
    struct iovec pieces[PIECES];
    size_t len = total(buffers, (size_t)count);
    ssize_t result;
    bool again;
    if (!may_move(fd, FAULT_OUT, &len, &result, &again)) return result;
    return moved(fd, FAULT_OUT, real(fd, pieces, cut(buffers, (size_t)count, len, pieces)), again);
}

int socket(int domain, int type, int protocol) {
    REAL("socket", int, int, int, int)
    return fails_now("socket") ? -1 : real(domain, type, protocol);
}

int connect(int fd, const struct sockaddr *address, socklen_t len) {
    REAL("connect", int, int, const struct sockaddr *, socklen_t)
    if (fails_now("connect")) return -1;
    become(fd, FAULT_CLIENT);
    return real(fd, address, len);
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict len, int flags) {
    REAL("accept4", int, int, struct sockaddr *restrict, socklen_t *restrict, int)
    if (fails_now("accept4")) {
        int error = errno;
        if (error == EAGAIN) tell_again(fd);
        errno = error;
        return -1;
    }
    int accepted = real(fd, address, len, flags);
    if (accepted >= 0) become(accepted, FAULT_SERVER);
    return accepted;
}

int close(int fd) {
    REAL("close", int, int)
    forget(fd);
    int result = real(fd);
    /* The descriptor is closed all the same, as on Linux. */
    return fails_now("close") ? -1 : result;
}

int shutdown(int fd, int how) {
    REAL("shutdown", int, int, int)
    return fails_now("shutdown") ? -1 : real(fd, how);
}

int bind(int fd, const struct sockaddr *address, socklen_t len) {
    REAL("bind", int, int, const struct sockaddr *, socklen_t)
    return fails_now("bind") ? -1 : real(fd, address, len);
}

int listen(int fd, int backlog) {
    REAL("listen", int, int, int)
    return fails_now("listen") ? -1 : real(fd, backlog);
}

int getsockname(int fd, struct sockaddr *restrict address, socklen_t *restrict len) {
    REAL("getsockname", int, int, struct sockaddr *restrict, socklen_t *restrict)
    return fails_now("getsockname") ? -1 : real(fd, address, len);
}

int getpeername(int fd, struct sockaddr *restrict address, socklen_t *restrict len) {
    REAL("getpeername", int, int, struct sockaddr *restrict, socklen_t *restrict)
    return fails_now("getpeername") ? -1 : real(fd, address, len);
}

int getsockopt(int fd, int level, int option, void *restrict value, socklen_t *restrict len) {
    REAL("getsockopt", int, int, int, int, void *restrict, socklen_t *restrict)
    return fails_now("getsockopt") ? -1 : real(fd, level, option, value, len);
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t len) {
    REAL("setsockopt", int, int, int, int, const void *, socklen_t)
    return fails_now("setsockopt") ? -1 : real(fd, level, option, value, len);
}

int eventfd(unsigned count, int flags) {
    REAL("eventfd", int, unsigned, int)
    return fails_now("eventfd") ? -1 : real(count, flags);
}

int fcntl(int fd, int command, ...) {
    REAL("fcntl", int, int, int, ...)
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return fails_now("fcntl") ? -1 : real(fd, command, argument);
}

int ioctl(int fd, unsigned long request, ...) {
    REAL("ioctl", int, int, unsigned long, ...)
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return fails_now("ioctl") ? -1 : real(fd, request, argument);
}

int epoll_create1(int flags) {
    REAL("epoll_create1", int, int)
    return fails_now("epoll_create1") ? -1 : real(flags);
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    REAL("epoll_ctl", int, int, int, int, struct epoll_event *)
    if (fails_now("epoll_ctl")) return -1;
    pthread_mutex_lock(&lock);
    if (entry_of(fd) != NULL && operation != EPOLL_CTL_DEL && event != NULL) {
        entry_of(fd)->epoll = epoll + 1;
        entry_of(fd)->event = *event;
    }
    if (entry_of(fd) != NULL && operation == EPOLL_CTL_DEL) entry_of(fd)->epoll = 0;
    pthread_mutex_unlock(&lock);
    return real(epoll, operation, fd, event);
}

/* Interrupted as often as reads are; then one event at a time if bytes come a few at a time. */
int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout) {
    static __thread unsigned interrupted;
    REAL("epoll_wait", int, int, struct epoll_event *, int, int)
    if (fails_now("epoll_wait")) return -1;
    pthread_mutex_lock(&lock);
    unsigned wanted = armed ? plan.interrupted : 0;
    if (armed && plan.most > 0) most = 1;
    pthread_mutex_unlock(&lock);
    if (interrupted < wanted) {
        interrupted++;
        errno = EINTR;
        return -1;
    }
    interrupted = 0;
    return real(epoll, events, most, timeout);
}
