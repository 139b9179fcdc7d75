/*
 * Encoding and decoding through the C functions, in turn with the floor: memcpy and a CRC32 pass over the same bytes, for
 * decoding the CRC32 pass alone. Prints "ours.codec.NAME.SIZE.rate VALUE msg/s" and the same for floor.
 *
 * usage: codec SECONDS [NAME.SIZE]
 */
#include "message.h"
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    work *ours, *floor;
} CASES[] = {
    {"encode", encode, floor_encode},
    {"encode_new_list", encode_new_list, floor_encode},
    {"decode", decode, floor_decode},
    {"decode_chunks", decode_chunks, floor_decode_chunks},
};

static const struct {
    const char *name;
    size_t payload;
} SIZES[] = {{"0B", 0}, {"64B", 64}, {"1KiB", 1u << 10}, {"16KiB", 16u << 10}, {"1MiB", 1u << 20}};

/* Messages per second of CPU time, which others on the machine do not take away, over about that many seconds. */
static double rate_of(work *function, struct message *message, double seconds)
{
    uint64_t messages = 0, batch = 1, begun_at = cpu_ns(), limit = (uint64_t)(seconds * 1e9), ns;
    do {
        messages += function(message, batch);
        ns = cpu_ns() - begun_at;
        if (ns < limit / 16)
            batch *= 2; /* until the clock costs nothing */
    } while (ns < limit);
    return (double)messages * 1e9 / (double)ns;
}

static void measure(size_t number, size_t size, struct message *message, double seconds)
{
    char name[96];
    rate_of(CASES[number].ours, message, seconds / 10); /* warm up */
    snprintf(name, sizeof name, "ours.codec.%s.%s.rate", CASES[number].name, SIZES[size].name);
    print_value(name, rate_of(CASES[number].ours, message, seconds), "msg/s");
    rate_of(CASES[number].floor, message, seconds / 10);
    snprintf(name, sizeof name, "floor.codec.%s.%s.rate", CASES[number].name, SIZES[size].name);
    print_value(name, rate_of(CASES[number].floor, message, seconds), "msg/s");
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 0.2;
    size_t number, size;
    for (size = 0; size < sizeof SIZES / sizeof *SIZES; size++) {
        struct message message;
        message_make(&message, SIZES[size].payload);
        for (number = 0; number < sizeof CASES / sizeof *CASES; number++) {
            char name[64];
            snprintf(name, sizeof name, "%s.%s", CASES[number].name, SIZES[size].name);
            if (argc < 3 || strcmp(argv[2], name) == 0)
                measure(number, size, &message, seconds);
        }
        message_free(&message);
    }
    return 0;
}
