/* Sockets of the floor: nonblocking, TCP_NODELAY. Whatever fails ends the process. */
#ifndef BENCH_FLOOR_SOCKETS_H
#define BENCH_FLOOR_SOCKETS_H

#include "options.h"

/* The floor's protocol: a connection begins with two u32, big-endian, a number of messages and their length on the wire. With
 * number 0 the server echoes every byte from then on; otherwise it sends that many messages, then takes the next request. */
#define FLOOR_REQUEST_SIZE 8

#define FLOOR_BUFFER_SIZE (1u << 20)

int floor_listen(const struct options *options);
/* Prints READY and the port or path. */
void floor_announce(const struct options *options, int listener);
/* -1 if nobody is waiting. */
int floor_accept(const struct options *options, int listener);
/* In progress, perhaps. */
int floor_connect(const struct options *options);
void die_errno(const char *what);

#endif
