/* What the tests use of POSIX, on Windows: sockets are ints that set errno, and what has no meaning there aborts. The driver
   includes it before everything else. */
#ifndef POSIX_H
#define POSIX_H

#define WIN32_LEAN_AND_MEAN
#define FD_SETSIZE 64
#include <winsock2.h>
#include <ws2tcpip.h>
#include <windows.h>

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <pthread.h>
#include <pthread_time.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The pthread library of MinGW measures the waits of conditions with this clock, whichever was asked for. */
#undef CLOCK_MONOTONIC
#define CLOCK_MONOTONIC CLOCK_REALTIME

/* As the library reports them. */
#undef ECONNREFUSED
#define ECONNREFUSED WSAECONNREFUSED
#undef EADDRINUSE
#define EADDRINUSE WSAEADDRINUSE

#define SOCK_CLOEXEC 0x1000
#define SOCK_NONBLOCK 0x2000
#define MSG_NOSIGNAL 0
#define MSG_DONTWAIT 0
#define SHUT_RD SD_RECEIVE
#define SHUT_WR SD_SEND
#define SHUT_RDWR SD_BOTH
#define F_GETFL 3
#define F_SETFL 4
#define O_NONBLOCK 0x800
#define setenv(name, value, overwrite) ((void)(overwrite), _putenv_s((name), (value)))
#define unsetenv(name) _putenv_s((name), "")

struct sockaddr_un {
    ADDRESS_FAMILY sun_family;
    char sun_path[108];
};

static inline int posix_result(int result) {
    static const struct {
        int system, posix;
    } codes[] = {{WSAEWOULDBLOCK, EAGAIN},     {WSAEINPROGRESS, EINPROGRESS}, {WSAECONNRESET, ECONNRESET},
                 {WSAECONNABORTED, ECONNRESET}, {WSAESHUTDOWN, EPIPE},         {WSAENOTCONN, ENOTCONN},
                 {WSAEADDRINUSE, EADDRINUSE},   {WSAECONNREFUSED, ECONNREFUSED}, {WSAENOTSOCK, ENOTSOCK}};
    if (result >= 0) return result;
    int code = WSAGetLastError();
    errno = EIO;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].system == code) errno = codes[i].posix;
    return -1;
}

static inline int posix_set_nonblocking(int descriptor) {
    u_long on = 1;
    return posix_result(ioctlsocket((SOCKET)descriptor, (long)FIONBIO, &on));
}

static inline int posix_socket(int family, int type, int protocol) {
    static volatile LONG begun;
    WSADATA data;
    if (InterlockedExchange(&begun, 1) == 0) WSAStartup(MAKEWORD(2, 2), &data);
    SOCKET made = socket(family, type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK), protocol);
    if (made == INVALID_SOCKET) return posix_result(-1);
    if (type & SOCK_NONBLOCK) posix_set_nonblocking((int)made);
    return (int)made;
}

static inline int posix_bind(int descriptor, const struct sockaddr *address, socklen_t len) {
    return posix_result(bind((SOCKET)descriptor, address, len));
}

static inline int posix_listen(int descriptor, int backlog) {
    return posix_result(listen((SOCKET)descriptor, backlog));
}

static inline int posix_accept(int descriptor, struct sockaddr *address, socklen_t *len) {
    SOCKET made = accept((SOCKET)descriptor, address, len);
    return made == INVALID_SOCKET ? posix_result(-1) : (int)made;
}

static inline int posix_connect(int descriptor, const struct sockaddr *address, socklen_t len) {
    int result = posix_result(connect((SOCKET)descriptor, address, len));
    if (result < 0 && errno == EAGAIN) errno = EINPROGRESS;
    return result;
}

static inline ssize_t posix_send(int descriptor, const void *data, size_t len, int flags) {
    return posix_result(send((SOCKET)descriptor, (const char *)data, (int)len, flags));
}

static inline ssize_t posix_recv(int descriptor, void *data, size_t len, int flags) {
    return posix_result(recv((SOCKET)descriptor, (char *)data, (int)len, flags));
}

static inline int posix_shutdown(int descriptor, int how) {
    return posix_result(shutdown((SOCKET)descriptor, how));
}

static inline int posix_getsockname(int descriptor, struct sockaddr *address, socklen_t *len) {
    return posix_result(getsockname((SOCKET)descriptor, address, len));
}

static inline int posix_getsockopt(int descriptor, int level, int option, void *value, socklen_t *len) {
    return posix_result(getsockopt((SOCKET)descriptor, level, option, (char *)value, len));
}

static inline int posix_setsockopt(int descriptor, int level, int option, const void *value, socklen_t len) {
    return posix_result(setsockopt((SOCKET)descriptor, level, option, (const char *)value, len));
}

/* A socket, or a file. */
static inline int posix_close(int descriptor) {
    return closesocket((SOCKET)descriptor) == 0 ? 0 : _close(descriptor);
}

static inline int fcntl(int descriptor, int command, ...) {
    return command == F_SETFL ? posix_set_nonblocking(descriptor) : 0;
}

static inline int posix_poll(struct pollfd *wanted, unsigned long count, int milliseconds) {
    if (count == 1 && wanted->fd == (SOCKET)-1) return Sleep((DWORD)milliseconds), 0;
    int ready = WSAPoll(wanted, count, milliseconds);
    return posix_result(ready);
}

/* Two connected sockets of TCP, whatever family was asked for. */
static inline int socketpair(int family, int type, int protocol, int both[2]) {
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    int listener = posix_socket(AF_INET, SOCK_STREAM, 0);
    (void)family;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (posix_bind(listener, (const struct sockaddr *)&address, len) != 0 || posix_listen(listener, 1) != 0) return -1;
    if (posix_getsockname(listener, (struct sockaddr *)&address, &len) != 0) return -1;
    both[0] = posix_socket(AF_INET, type, protocol);
    if (posix_connect(both[0], (const struct sockaddr *)&address, len) != 0) return -1;
    both[1] = posix_accept(listener, NULL, NULL);
    return both[1] < 0 ? -1 : posix_close(listener);
}

static inline int posix_missing(const char *what) {
    fprintf(stderr, "there is no %s on Windows\n", what);
    exit(77);
}

/* What does not exist here ends the program with a code that the driver knows: the test has to be left out. */
#define NOT_ON_WINDOWS(what) posix_missing(what)
#define fork() NOT_ON_WINDOWS("fork")
#define waitpid(id, status, options) ((void)(id), (void)(status), NOT_ON_WINDOWS("waitpid"))
#define WIFEXITED(status) ((status) == 0)
#define WEXITSTATUS(status) (status)
#define alarm(seconds) ((void)(seconds))
#define kill(id, signal) NOT_ON_WINDOWS("kill")
#define mkdtemp(folder) ((folder) + NOT_ON_WINDOWS("mkdtemp"))
#define readlink(path, buffer, len) ((void)(path), (void)(buffer), (void)(len), NOT_ON_WINDOWS("readlink"))
#define getegid() ((uint32_t)NOT_ON_WINDOWS("getegid"))
#define geteuid() ((uint32_t)NOT_ON_WINDOWS("geteuid"))
#define sysconf(name) NOT_ON_WINDOWS("sysconf")
#define _SC_PAGESIZE 0
#define F_GETFD 1
#define F_SETFD 2
#define FD_CLOEXEC 1
#define SIGKILL 9
#define SIGPIPE 13
#define TCP_KEEPIDLE 3
#define TCP_KEEPCNT 16
#define TCP_KEEPINTVL 17
#define TCP_CORK 0
#define SIOCOUTQ 0
#define ioctl(descriptor, request, value) ((void)(value), NOT_ON_WINDOWS("ioctl"))
#define pause() NOT_ON_WINDOWS("pause")
#define pipe(both) ((void)(both), NOT_ON_WINDOWS("pipe"))
#define symlink(path, other) NOT_ON_WINDOWS("symlink")
#define lstat(path, information) (stat((path), (information)))
#define getuid() ((uint32_t)NOT_ON_WINDOWS("getuid"))
#define setuid(id) NOT_ON_WINDOWS("setuid")
#define setgid(id) NOT_ON_WINDOWS("setgid")
#define setegid(id) NOT_ON_WINDOWS("setegid")
#define seteuid(id) NOT_ON_WINDOWS("seteuid")
typedef size_t rlim_t;
struct rlimit {
    rlim_t rlim_cur, rlim_max;
};
#define RLIMIT_NOFILE 0
#define getrlimit(what, limit) (memset((limit), 0, sizeof *(limit)), NOT_ON_WINDOWS("getrlimit"))
#define setrlimit(what, limit) ((void)*(limit), NOT_ON_WINDOWS("setrlimit"))
#define getppid() NOT_ON_WINDOWS("getppid")

/* Pipes take the place of Unix sockets: a name becomes that of a pipe. */
#include "eventstream_rpc.h"

static inline esrpc_bytes posix_pipe_name(esrpc_bytes name, char text[512]) {
    esrpc_bytes result;
    snprintf(text, 512, "\\\\.\\pipe\\%.*s", (int)name.len, (const char *)name.data);
    result.data = (const uint8_t *)text;
    result.len = strlen(text);
    return result;
}

static inline esrpc_status posix_client_name(esrpc_client_options *options, esrpc_bytes name) {
    char text[512];
    if (options == NULL || name.data == NULL || name.len == 0 || name.len > 400)
        return esrpc_client_options_set_unix_abstract(options, name);
    return esrpc_client_options_set_unix_path(options, posix_pipe_name(name, text));
}

static inline esrpc_status posix_listener_name(esrpc_listener_options *options, esrpc_bytes name) {
    char text[512];
    if (options == NULL || name.data == NULL || name.len == 0 || name.len > 400)
        return esrpc_listener_options_set_unix_abstract(options, name);
    return esrpc_listener_options_set_unix_path(options, posix_pipe_name(name, text));
}

#define esrpc_client_options_set_unix_abstract posix_client_name
#define esrpc_listener_options_set_unix_abstract posix_listener_name

#define socket posix_socket
#define bind posix_bind
#define listen posix_listen
#define accept posix_accept
#define connect posix_connect
#define send posix_send
#define recv posix_recv
#define shutdown posix_shutdown
#define getsockname posix_getsockname
#define getsockopt posix_getsockopt
#define setsockopt posix_setsockopt
#define close posix_close
#define poll posix_poll

#endif
