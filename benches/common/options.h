/* The command line that all RPC programs share; options.c prints its usage. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum transport { TRANSPORT_NONE, TRANSPORT_TCP, TRANSPORT_UNIX, TRANSPORT_TLS };

struct options {
    enum transport transport;
    uint16_t port;               /* TCP and TLS, on 127.0.0.1 */
    const char *path;            /* of the Unix socket */
    const char *ca;              /* client: PEM file of the CA to trust */
    const char *certificate;     /* server: PEM files */
    const char *key;
    size_t loops;                /* event-loop threads */

    /* clients only */
    char workload[64];           /* "echo_p64" of "echo_p64.64B" */
    size_t size;                 /* 64 of "echo_p64.64B"; 0 without */
    pid_t server_pid;            /* whose CPU time and memory are shown too; 0: not shown */
    double seconds;              /* how long rates are measured, */
    double warm_up;              /* after so many seconds that are not */
    uint64_t messages;           /* instead of a time: exactly so many operations, no warm-up; 0: by time */
    size_t round_trips;          /* of a ping-pong, after a tenth as many that are not measured */
    size_t connections;          /* busy ones, or held ones of mem */
    size_t idle_connections;     /* beside the busy one */
    size_t idle_streams;         /* on the busy connection */
    size_t unflushed;            /* messages that the server of a flood keeps in its queue */
};

/* The first argument of a client is its workload. A wrong command line ends the process. */
void options_parse(struct options *options, bool is_client, int argc, char **argv);

#endif
