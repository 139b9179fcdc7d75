/* What the programs agree on: lengths on the wire and the operations of the benchmark's server. */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdint.h>

/* Prelude, the three headers that every RPC message has, and the checksum at the end. */
#define WIRE_PRELUDE 12
#define WIRE_RPC_HEADERS (19 + 20 + 16)
#define WIRE_LENGTH(payload) (WIRE_PRELUDE + WIRE_RPC_HEADERS + (payload) + 4)

/* Answers with the request's payload and ends the stream. */
#define OPERATION_ECHO "bench#Echo"
/* Sends every message back, the first one too. A message that ends the stream is not answered. */
#define OPERATION_ECHO_STREAM "bench#EchoStream"
/* The payload is three u32, big-endian: how many messages to send, their size, and how many of them to keep in the outbound
 * queue. An empty message ends the stream. */
#define OPERATION_FLOOD "bench#Flood"
#define FLOOD_REQUEST_SIZE 12

static inline void wire_put_u32(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value >> 24);
    to[1] = (uint8_t)(value >> 16);
    to[2] = (uint8_t)(value >> 8);
    to[3] = (uint8_t)value;
}

static inline uint32_t wire_get_u32(const uint8_t *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

#endif
