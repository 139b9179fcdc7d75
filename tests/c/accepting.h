/* For programs that define accept4, which the library then calls. Include it after harness.h. */
#ifndef ACCEPTING_H
#define ACCEPTING_H

#include <fcntl.h>
#include <sys/socket.h>

int accept4(int descriptor, struct sockaddr *address, socklen_t *len, int flags);

/* Does what the system's accept4 does. */
static inline int accept_with_flags(int descriptor, struct sockaddr *address, socklen_t *len, int flags) {
    int accepted = accept(descriptor, address, len);
    if (accepted >= 0) {
        CHECK(fcntl(accepted, F_SETFD, (flags & SOCK_CLOEXEC) != 0 ? FD_CLOEXEC : 0) == 0);
        CHECK(fcntl(accepted, F_SETFL, (flags & SOCK_NONBLOCK) != 0 ? O_NONBLOCK : 0) == 0);
    }
    return accepted;
}

#endif
