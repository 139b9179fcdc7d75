/* The client of the floor: the same workloads with messages of the same length, neither encoded nor checked. */
#include "measure.h"
#include "sockets.h"
#include "wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CONNECTIONS 20000
#define PATIENCE_MS 10000

struct channel {
    int fd, epoll;
    uint32_t events;
};

static void await(struct channel *channel, uint32_t events)
{
    struct epoll_event event = {.events = events};
    int count;
    if (events != channel->events) {
        channel->events = events;
        epoll_ctl(channel->epoll, EPOLL_CTL_MOD, channel->fd, &event);
    }
    while ((count = epoll_wait(channel->epoll, &event, 1, PATIENCE_MS)) < 0 && errno == EINTR)
        ;
    if (count == 0)
        die("nothing came");
}

static struct channel channel_open(const struct options *options)
{
    struct channel channel = {floor_connect(options), epoll_create1(EPOLL_CLOEXEC), EPOLLOUT};
    struct epoll_event event = {.events = EPOLLOUT};
    int error = 0;
    socklen_t length = sizeof error;
    epoll_ctl(channel.epoll, EPOLL_CTL_ADD, channel.fd, &event);
    await(&channel, EPOLLOUT);
    if (getsockopt(channel.fd, SOL_SOCKET, SO_ERROR, &error, &length) || error)
        die("no connection");
    return channel;
}

static void channel_close(struct channel *channel)
{
    close(channel->fd);
    close(channel->epoll);
}

/* Writes what the socket takes. */
static size_t write_some(struct channel *channel, const uint8_t *data, size_t size)
{
    ssize_t written = write(channel->fd, data, size);
    if (written < 0 && errno != EAGAIN)
        die_errno("write");
    return written < 0 ? 0 : (size_t)written;
}

static size_t read_some(struct channel *channel, uint8_t *data, size_t room)
{
    ssize_t size = read(channel->fd, data, room);
    if (size == 0 || (size < 0 && errno != EAGAIN))
        die_errno("read");
    return size < 0 ? 0 : (size_t)size;
}

static void write_all(struct channel *channel, const uint8_t *data, size_t size)
{
    size_t done = write_some(channel, data, size);
    while (done < size) {
        await(channel, EPOLLOUT);
        done += write_some(channel, data + done, size - done);
    }
}

static void read_all(struct channel *channel, uint8_t *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        await(channel, EPOLLIN);
        done += read_some(channel, data + done, size - done);
    }
}

static void request(struct channel *channel, uint32_t count, uint32_t length)
{
    uint8_t bytes[FLOOR_REQUEST_SIZE];
    wire_put_u32(bytes, count);
    wire_put_u32(bytes + 4, length);
    write_all(channel, bytes, sizeof bytes);
}

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory)
        die("no memory");
    return memory;
}

static void pingpong(const struct options *options)
{
    size_t length = WIRE_LENGTH(options->size), warm_up = options->round_trips / 10 + 1, i;
    uint8_t *message = allocate(length);
    struct channel channel = channel_open(options);
    struct latencies latencies;
    latencies_new(&latencies, options->round_trips);
    request(&channel, 0, 0);
    for (i = 0; i < warm_up + options->round_trips; i++) {
        uint64_t begun_at = now_ns();
        write_all(&channel, message, length);
        read_all(&channel, message, length);
        if (i >= warm_up)
            latencies_add(&latencies, now_ns() - begun_at);
    }
    latencies_print(&latencies);
    channel_close(&channel);
    free(message);
}

static void echo(const struct options *options, size_t window)
{
    size_t length = WIRE_LENGTH(options->size), window_size = length * window;
    uint8_t *messages = allocate(window_size), *buffer = allocate(FLOOR_BUFFER_SIZE);
    uint64_t written = 0, to_write = window_size, came = 0, done = 0;
    struct channel channel = channel_open(options);
    struct rate rate;
    bool more = true;
    request(&channel, 0, 0);
    rate_begin(&rate, options);
    while (more || came < to_write) {
        uint64_t news;
        while (written < to_write) {
            size_t at = (size_t)(written % window_size), size = window_size - at, taken;
            if (size > to_write - written)
                size = (size_t)(to_write - written);
            taken = write_some(&channel, messages + at, size);
            written += taken;
            if (taken < size)
                break;
        }
        await(&channel, written < to_write ? EPOLLIN | EPOLLOUT : EPOLLIN);
        came += read_some(&channel, buffer, FLOOR_BUFFER_SIZE);
        news = came / length - done;
        done += news;
        if (more && news)
            more = rate_add(&rate, news);
        if (more)
            to_write += news * length;
    }
    rate_print(&rate, options->size, "msg/s");
    channel_close(&channel);
    free(messages);
    free(buffer);
}

static double flood_once(struct channel *channel, uint8_t *buffer, uint32_t count, size_t length)
{
    uint64_t left = (uint64_t)count * length, begun_at = now_ns();
    request(channel, count, (uint32_t)length);
    while (left) {
        await(channel, EPOLLIN);
        left -= read_some(channel, buffer, FLOOR_BUFFER_SIZE);
    }
    return (double)(now_ns() - begun_at) / 1e9;
}

static void flood(const struct options *options)
{
    size_t length = WIRE_LENGTH(options->size);
    uint8_t *buffer = allocate(FLOOR_BUFFER_SIZE);
    struct channel channel = channel_open(options);
    double count = (double)options->messages, seconds;
    struct cpu cpu;
    if (!options->messages) {
        uint32_t trial = options->size > 8192 ? 1000 : 100000;
        count = trial / flood_once(&channel, buffer, trial, length) * options->seconds;
    }
    if (count > 1e8)
        count = 1e8;
    count = (uint32_t)count + 1;
    cpu = cpu_begin(options->server_pid);
    seconds = flood_once(&channel, buffer, (uint32_t)count, length);
    cpu = cpu_since(&cpu);
    print_value("rate", count / seconds, "msg/s");
    print_value("throughput", count * (double)options->size / seconds / 1e6, "MB/s");
    cpu_print(&cpu, count);
    channel_close(&channel);
    free(buffer);
}

/* Connect, one message of CONNECT's length there and back, close. */
static void conn_seq(const struct options *options)
{
    uint8_t bytes[FLOOR_REQUEST_SIZE + WIRE_LENGTH(0)] = {0};
    struct latencies latencies;
    struct rate rate;
    size_t count = 0;
    latencies_new(&latencies, MAX_CONNECTIONS);
    rate_begin(&rate, options);
    do {
        uint64_t begun_at = now_ns();
        struct channel channel = channel_open(options);
        write_all(&channel, bytes, sizeof bytes);
        read_all(&channel, bytes, WIRE_LENGTH(0));
        if (rate.state == RATE_MEASURING)
            latencies_add(&latencies, now_ns() - begun_at);
        channel_close(&channel);
    } while (rate_add(&rate, 1) && ++count < MAX_CONNECTIONS);
    rate_stop(&rate);
    rate_print(&rate, 0, "conn/s");
    latencies_print(&latencies);
}

int main(int argc, char **argv)
{
    struct options options;
    options_parse(&options, true, argc, argv);
    if (strcmp(options.workload, "pingpong") == 0)
        pingpong(&options);
    else if (strcmp(options.workload, "echo_p64") == 0)
        echo(&options, 64);
    else if (strcmp(options.workload, "echo_p8") == 0)
        echo(&options, 8);
    else if (strcmp(options.workload, "flood") == 0)
        flood(&options);
    else if (strcmp(options.workload, "conn_seq") == 0)
        conn_seq(&options);
    else
        die("the floor has no such workload");
    return 0;
}
