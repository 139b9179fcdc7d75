/* The server of the floor: one thread, epoll, one read and one write for what has come; see sockets.h. */
#include "sockets.h"
#include "wire.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct connection {
    int fd;
    uint32_t events; /* asked of epoll */
    uint8_t request[FLOOR_REQUEST_SIZE];
    size_t request_length;
    bool echoes;
    /* what is to be written: bytes of an echo, */
    uint8_t *buffer;
    size_t begin, end;
    /* or of a flood, whose pattern repeats every `length` bytes */
    uint64_t flood_left;
    size_t flood_length, flood_at;
};

static int epoll;
static uint8_t *flood_pattern;

static bool write_echo(struct connection *connection)
{
    while (connection->begin < connection->end) {
        ssize_t written = write(connection->fd, connection->buffer + connection->begin, connection->end - connection->begin);
        if (written < 0)
            return errno == EAGAIN;
        connection->begin += (size_t)written;
    }
    connection->begin = connection->end = 0;
    return true;
}

static bool write_flood(struct connection *connection)
{
    size_t period = FLOOR_BUFFER_SIZE / connection->flood_length * connection->flood_length;
    while (connection->flood_left) {
        size_t size = period - connection->flood_at;
        ssize_t written;
        if (size > connection->flood_left)
            size = (size_t)connection->flood_left;
        written = write(connection->fd, flood_pattern + connection->flood_at, size);
        if (written < 0)
            return errno == EAGAIN;
        connection->flood_at = (connection->flood_at + (size_t)written) % period;
        connection->flood_left -= (uint64_t)written;
    }
    return true;
}

static bool take_request(struct connection *connection)
{
    uint64_t count = wire_get_u32(connection->request);
    uint32_t length = wire_get_u32(connection->request + 4);
    size_t at;
    connection->request_length = 0;
    if (count == 0) {
        connection->echoes = true;
        connection->buffer = malloc(FLOOR_BUFFER_SIZE);
        return connection->buffer != NULL;
    }
    if (length < 4 || length > FLOOR_BUFFER_SIZE)
        return false;
    for (at = 0; at + length <= FLOOR_BUFFER_SIZE; at += length)
        wire_put_u32(flood_pattern + at, length);
    connection->flood_left = count * length;
    connection->flood_length = length;
    connection->flood_at = 0;
    return write_flood(connection);
}

/* 1: something was read; 0: nothing is there; -1: the connection is over */
static int read_some(struct connection *connection, uint8_t *to, size_t room, size_t *length)
{
    ssize_t size = read(connection->fd, to, room);
    if (size <= 0)
        return size < 0 && errno == EAGAIN ? 0 : -1;
    *length += (size_t)size;
    return 1;
}

static bool read_request(struct connection *connection)
{
    while (!connection->echoes && !connection->flood_left) {
        int result = read_some(connection, connection->request + connection->request_length,
                               FLOOR_REQUEST_SIZE - connection->request_length, &connection->request_length);
        if (result <= 0)
            return result == 0;
        if (connection->request_length == FLOOR_REQUEST_SIZE && !take_request(connection))
            return false;
    }
    return true;
}

static bool read_echo(struct connection *connection)
{
    size_t room;
    int result;
    if (connection->begin) {
        memmove(connection->buffer, connection->buffer + connection->begin, connection->end - connection->begin);
        connection->end -= connection->begin;
        connection->begin = 0;
    }
    room = FLOOR_BUFFER_SIZE - connection->end;
    if (room == 0)
        return true; /* the client does not read */
    result = read_some(connection, connection->buffer + connection->end, room, &connection->end);
    /* what is left in the socket is told by epoll again */
    return result < 0 ? false : write_echo(connection);
}

static bool serve(struct connection *connection, uint32_t events)
{
    uint32_t wanted = EPOLLIN;
    if (events & EPOLLOUT && !(connection->echoes ? write_echo(connection) : write_flood(connection)))
        return false;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        if (!connection->echoes && !read_request(connection))
            return false;
        if (connection->echoes && !read_echo(connection))
            return false;
    }
    if (connection->flood_left || connection->begin < connection->end)
        wanted |= EPOLLOUT;
    if (connection->echoes && connection->end - connection->begin == FLOOR_BUFFER_SIZE)
        wanted &= ~(uint32_t)EPOLLIN;
    if (wanted != connection->events) {
        struct epoll_event event = {.events = wanted, .data.ptr = connection};
        connection->events = wanted;
        epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event);
    }
    return true;
}

static void accept_all(const struct options *options, int listener)
{
    int fd;
    while ((fd = floor_accept(options, listener)) >= 0) {
        struct connection *connection = calloc(1, sizeof *connection);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        if (!connection)
            die_errno("calloc");
        connection->fd = fd;
        connection->events = EPOLLIN;
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

/* At once: a flag could be set between its test and epoll_wait. */
static void stop(int number)
{
    (void)number;
    _exit(0);
}

int main(int argc, char **argv)
{
    struct options options;
    struct sigaction action = {.sa_handler = stop};
    struct epoll_event events[64], event = {.events = EPOLLIN, .data.ptr = NULL};
    int listener;
    options_parse(&options, false, argc, argv);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    flood_pattern = calloc(1, FLOOR_BUFFER_SIZE);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    listener = floor_listen(&options);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    floor_announce(&options, listener);
    for (;;) {
        int count = epoll_wait(epoll, events, 64, -1), i;
        for (i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!connection) {
                accept_all(&options, listener);
            } else if (!serve(connection, events[i].events)) {
                close(connection->fd);
                free(connection->buffer);
                free(connection);
            }
        }
    }
}
