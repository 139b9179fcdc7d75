#include "measure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* So seldom that the clock costs nothing, so often that it ends soon. */
#define OPERATIONS_BETWEEN_LOOKS 16

static uint64_t ns_of(struct timespec time)
{
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    return clock_gettime(clock, &time) ? 0 : ns_of(time);
}

uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void print_value(const char *metric, double value, const char *unit)
{
    printf("%s %.*f %s\n", metric, value >= 1000 ? 0 : value >= 10 ? 2 : 4, value, unit);
    fflush(stdout);
}

void die(const char *why)
{
    fprintf(stderr, "%s\n", why);
    fflush(NULL);
    _Exit(3);
}

double resident_kib(pid_t pid)
{
    /* VmRSS of status is counted in batches for each thread; this is exact. */
    char path[64], line[256];
    double kib = 0;
    FILE *file;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "Rss:", 4) == 0)
            kib = strtod(line + 4, NULL);
    if (file)
        fclose(file);
    return kib;
}

void wait_seconds(double seconds)
{
    struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

struct cpu cpu_begin(pid_t server_pid)
{
    struct cpu cpu = {server_pid, cpu_ns(), 0};
    clockid_t clock;
    if (server_pid && clock_getcpuclockid(server_pid, &clock) == 0)
        cpu.server_ns = clock_ns(clock);
    return cpu;
}

struct cpu cpu_since(const struct cpu *begin)
{
    struct cpu cpu = cpu_begin(begin->server_pid);
    cpu.client_ns -= begin->client_ns;
    cpu.server_ns -= begin->server_ns;
    return cpu;
}

void cpu_print(const struct cpu *used, double operations)
{
    print_value("cpu_client", (double)used->client_ns / 1e3 / operations, "us/op");
    if (used->server_pid)
        print_value("cpu_server", (double)used->server_ns / 1e3 / operations, "us/op");
}

static void begin_measuring(struct rate *rate)
{
    rate->state = RATE_MEASURING;
    rate->count_at_begin = rate->count;
    rate->cpu = cpu_begin(rate->cpu.server_pid);
    rate->begun_at = now_ns();
}

void rate_begin(struct rate *rate, const struct options *options)
{
    memset(rate, 0, sizeof *rate);
    rate->cpu.server_pid = options->server_pid;
    rate->limit = options->messages;
    rate->next_look = options->messages ? options->messages : 1;
    rate->warm_until = now_ns() + (uint64_t)(options->warm_up * 1e9);
    rate->stop_at = rate->warm_until + (uint64_t)(options->seconds * 1e9);
    if (options->messages)
        begin_measuring(rate);
}

void rate_stop(struct rate *rate)
{
    if (rate->state != RATE_MEASURING)
        return;
    rate->ns = now_ns() - rate->begun_at;
    rate->cpu = cpu_since(&rate->cpu);
    rate->measured = rate->count - rate->count_at_begin;
    rate->state = RATE_DONE;
}

bool rate_look(struct rate *rate)
{
    uint64_t now = now_ns();
    rate->next_look = rate->count + OPERATIONS_BETWEEN_LOOKS;
    if (rate->state == RATE_WARMING_UP && now >= rate->warm_until)
        begin_measuring(rate);
    else if (rate->limit || now >= rate->stop_at)
        rate_stop(rate);
    if (rate->state == RATE_DONE)
        rate->next_look = 0;
    return rate->state != RATE_DONE;
}

void rate_print(const struct rate *rate, size_t payload_size, const char *unit)
{
    double per_second = (double)rate->measured * 1e9 / (double)rate->ns;
    if (rate->state != RATE_DONE || rate->measured == 0)
        die("the workload ended before it was measured");
    print_value("rate", per_second, unit);
    if (payload_size)
        print_value("throughput", per_second * (double)payload_size / 1e6, "MB/s");
    cpu_print(&rate->cpu, (double)rate->measured);
}

void latencies_new(struct latencies *latencies, size_t capacity)
{
    latencies->count = 0;
    latencies->capacity = capacity;
    latencies->ns = calloc(capacity, sizeof *latencies->ns);
    if (!latencies->ns)
        die("no memory for latencies");
}

void latencies_add(struct latencies *latencies, uint64_t ns)
{
    if (latencies->count < latencies->capacity)
        latencies->ns[latencies->count++] = ns;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void latencies_print(struct latencies *latencies)
{
    size_t count = latencies->count;
    if (count == 0)
        die("no latency was measured");
    qsort(latencies->ns, count, sizeof *latencies->ns, compare);
    print_value("p50", (double)latencies->ns[count / 2] / 1e3, "us");
    print_value("p99", (double)latencies->ns[count / 100 * 99] / 1e3, "us");
    free(latencies->ns);
    latencies->ns = NULL;
}
