#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void usage(bool is_client)
{
    fputs(is_client ? "usage: client WORKLOAD (--tcp PORT | --unix PATH | --tls PORT --ca FILE) [--server-pid N] [--loops N]\n"
                      "       [--seconds S] [--warm-up S] [--messages N] [--round-trips N] [--connections N]\n"
                      "       [--idle-connections N] [--idle-streams N] [--unflushed N]\n"
                    : "usage: server (--tcp PORT | --unix PATH | --tls PORT --certificate FILE --key FILE) [--loops N]\n",
          stderr);
    exit(2);
}

/* "64B", "1KiB", "1MiB" */
static size_t size_of_name(const char *name)
{
    char *unit;
    size_t number = strtoul(name, &unit, 10);
    return strcmp(unit, "KiB") == 0 ? number << 10 : strcmp(unit, "MiB") == 0 ? number << 20 : number;
}

static void parse_workload(struct options *options, const char *text)
{
    const char *dot = strrchr(text, '.');
    size_t length = dot ? (size_t)(dot - text) : strlen(text);
    if (length >= sizeof options->workload)
        usage(true);
    memcpy(options->workload, text, length);
    options->size = dot ? size_of_name(dot + 1) : 0;
}

static bool parse_endpoint(struct options *options, const char *key, const char *value)
{
    if (strcmp(key, "--unix") == 0) {
        options->transport = TRANSPORT_UNIX;
        options->path = value;
    } else if (strcmp(key, "--tcp") == 0 || strcmp(key, "--tls") == 0) {
        options->transport = key[3] == 'c' ? TRANSPORT_TCP : TRANSPORT_TLS;
        options->port = (uint16_t)strtoul(value, NULL, 10);
    } else {
        return false;
    }
    return true;
}

static bool parse_text(struct options *options, const char *key, const char *value)
{
    if (strcmp(key, "--ca") == 0)
        options->ca = value;
    else if (strcmp(key, "--certificate") == 0)
        options->certificate = value;
    else if (strcmp(key, "--key") == 0)
        options->key = value;
    else
        return false;
    return true;
}

static bool parse_number(struct options *options, const char *key, const char *value)
{
    size_t whole = strtoul(value, NULL, 10);
    if (strcmp(key, "--server-pid") == 0)
        options->server_pid = (pid_t)whole;
    else if (strcmp(key, "--loops") == 0)
        options->loops = whole;
    else if (strcmp(key, "--seconds") == 0)
        options->seconds = strtod(value, NULL);
    else if (strcmp(key, "--warm-up") == 0)
        options->warm_up = strtod(value, NULL);
    else if (strcmp(key, "--messages") == 0)
        options->messages = whole;
    else if (strcmp(key, "--round-trips") == 0)
        options->round_trips = whole;
    else if (strcmp(key, "--connections") == 0)
        options->connections = whole;
    else if (strcmp(key, "--idle-connections") == 0)
        options->idle_connections = whole;
    else if (strcmp(key, "--idle-streams") == 0)
        options->idle_streams = whole;
    else if (strcmp(key, "--unflushed") == 0)
        options->unflushed = whole;
    else
        return false;
    return true;
}

void options_parse(struct options *options, bool is_client, int argc, char **argv)
{
    int next = is_client ? 2 : 1;
    memset(options, 0, sizeof *options);
    options->loops = 1;
    options->seconds = 1;
    options->warm_up = 0.2;
    options->round_trips = 20000;
    options->connections = 1;
    options->unflushed = 64;
    if (argc <= next)
        usage(is_client);
    if (is_client)
        parse_workload(options, argv[1]);
    for (; next + 1 < argc; next += 2) {
        const char *key = argv[next], *value = argv[next + 1];
        if (!parse_endpoint(options, key, value) && !parse_text(options, key, value) && !parse_number(options, key, value))
            usage(is_client);
    }
    if (next < argc || options->transport == TRANSPORT_NONE || options->loops == 0)
        usage(is_client);
}
