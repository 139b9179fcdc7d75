/* What a test asks of the preloaded fault_shim.c. */
#ifndef FAULT_SHIM_H
#define FAULT_SHIM_H

#include <stdbool.h>
#include <stddef.h>

/* A socket belongs to the client if it was connected, and to the server if it was accepted. */
enum { FAULT_CLIENT, FAULT_SERVER, FAULT_SIDES };
enum { FAULT_IN, FAULT_OUT, FAULT_WAYS };

/* What goes wrong, on which side (bits: 1 << FAULT_CLIENT) and in which direction (1 << FAULT_IN). */
struct fault_plan {
    unsigned sides, ways;
    size_t most;          /* bytes that one call moves at most; an event follows for the rest. 0: any number */
    unsigned interrupted; /* this many calls in a row fail with EINTR before one succeeds */
    unsigned delayed;     /* this many in a row fail with EAGAIN, each followed by an event */
    unsigned random;      /* not 0: each call has one of the faults above, or none, by chance that begins with this */
    int error;            /* not 0: after fails_at bytes the connection fails with this error */
    size_t fails_at;
    unsigned reset_in;    /* if not 0, about one call in this many resets its connection */
    const char *call;     /* not NULL: the nth call of this function, such as "epoll_ctl", fails with call_error */
    unsigned nth;
    int call_error;
};

/* Begins with a plan and sets the counters back; NULL ends all faults. */
typedef void fault_set_function(const struct fault_plan *plan);
/* How many calls were made to fail, or cut short, since. */
typedef unsigned fault_fired_function(void);
/* The most bytes that one connection of that side moved in that direction since. */
typedef size_t fault_bytes_function(int side, int way);

#endif
