#include "sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in tcp;
    struct sockaddr_un local;
};

void die_errno(const char *what)
{
    perror(what);
    exit(1);
}

static socklen_t address_of(const struct options *options, union address *address)
{
    memset(address, 0, sizeof *address);
    if (options->transport == TRANSPORT_UNIX) {
        address->local.sun_family = AF_UNIX;
        strncpy(address->local.sun_path, options->path, sizeof address->local.sun_path - 1);
        return sizeof address->local;
    }
    address->tcp.sin_family = AF_INET;
    address->tcp.sin_port = htons(options->port);
    address->tcp.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return sizeof address->tcp;
}

static int new_socket(const union address *address)
{
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        die_errno("socket");
    return fd;
}

static void set_nodelay(const struct options *options, int fd)
{
    int on = 1;
    if (options->transport != TRANSPORT_UNIX && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on))
        die_errno("TCP_NODELAY");
}

int floor_listen(const struct options *options)
{
    union address address;
    socklen_t length = address_of(options, &address);
    int fd = new_socket(&address), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, &address.any, length) || listen(fd, 1024))
        die_errno("listen");
    return fd;
}

void floor_announce(const struct options *options, int listener)
{
    union address address;
    socklen_t length = sizeof address;
    if (options->transport == TRANSPORT_UNIX) {
        printf("READY %s\n", options->path);
    } else {
        if (getsockname(listener, &address.any, &length))
            die_errno("getsockname");
        printf("READY %u\n", (unsigned)ntohs(address.tcp.sin_port));
    }
    fflush(stdout);
}

int floor_accept(const struct options *options, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && errno != EAGAIN)
        die_errno("accept");
    if (fd >= 0)
        set_nodelay(options, fd);
    return fd;
}

int floor_connect(const struct options *options)
{
    union address address;
    socklen_t length = address_of(options, &address);
    int fd = new_socket(&address);
    set_nodelay(options, fd);
    if (connect(fd, &address.any, length) && errno != EINPROGRESS)
        die_errno("connect");
    return fd;
}
