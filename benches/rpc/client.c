/* The benchmark's client: runs one workload against the server. */
#include "workloads.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    void (*run)(struct client *client);
} WORKLOADS[] = {
    {"pingpong", run_pingpong},
    {"pingpong_after_1MiB", run_pingpong_after_1mib},
    {"pingpong_sync", run_pingpong_sync},
    {"echo_p64", run_echo_p64},
    {"echo_p8", run_echo_p8},
    {"echo_connections", run_echo_connections},
    {"unary_seq", run_unary_seq},
    {"unary_p64", run_unary_p64},
    {"flood", run_flood},
    {"conn_seq", run_conn_seq},
    {"conn_c32", run_conn_c32},
    {"mem", run_mem},
};

int main(int argc, char **argv)
{
    struct options options;
    struct client client;
    size_t i;
    options_parse(&options, true, argc, argv);
    for (i = 0; i < sizeof WORKLOADS / sizeof *WORKLOADS; i++) {
        if (strcmp(WORKLOADS[i].name, options.workload) == 0) {
            client_start(&client, &options);
            WORKLOADS[i].run(&client);
            client_stop(&client);
            return 0;
        }
    }
    fprintf(stderr, "there is no workload %s\n", options.workload);
    return 2;
}
