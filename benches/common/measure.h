/* Clocks, counters and the lines that the programs print: "metric value unit". */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "options.h"

uint64_t now_ns(void);
/* CPU time of this process. */
uint64_t cpu_ns(void);
void print_value(const char *metric, double value, const char *unit);
/* Ends the process, since the threads that a broken workload waits for cannot be stopped. */
void die(const char *why);
/* Resident memory of a process, KiB. */
double resident_kib(pid_t pid);
void wait_seconds(double seconds);

/* CPU time, ns, that this process and the server's have used since cpu_begin. */
struct cpu {
    pid_t server_pid;
    uint64_t client_ns;
    uint64_t server_ns;
};
struct cpu cpu_begin(pid_t server_pid);
struct cpu cpu_since(const struct cpu *begin);
void cpu_print(const struct cpu *used, double operations);

/* Counts operations during a time that follows a warm-up, or a given number of operations. */
struct rate {
    uint64_t count;
    uint64_t next_look; /* the count at which the clock is looked at again, which is not free */
    uint64_t warm_until, stop_at, limit;
    enum { RATE_WARMING_UP, RATE_MEASURING, RATE_DONE } state;
    uint64_t begun_at, count_at_begin;
    uint64_t ns, measured;
    struct cpu cpu;
};
void rate_begin(struct rate *rate, const struct options *options);
bool rate_look(struct rate *rate);
/* Measures up to this moment, if it is measuring. */
void rate_stop(struct rate *rate);
/* Prints rate, cpu_client and cpu_server, and with a payload size the throughput in one direction. */
void rate_print(const struct rate *rate, size_t payload_size, const char *unit);

/* True as long as more operations are to be begun. */
static inline bool rate_add(struct rate *rate, uint64_t operations)
{
    rate->count += operations;
    return rate->count < rate->next_look ? true : rate_look(rate);
}

struct latencies {
    size_t count, capacity;
    uint64_t *ns;
};
void latencies_new(struct latencies *latencies, size_t capacity);
/* What exceeds the capacity is dropped. */
void latencies_add(struct latencies *latencies, uint64_t ns);
/* Prints p50 and p99, and frees the numbers. */
void latencies_print(struct latencies *latencies);

#endif
