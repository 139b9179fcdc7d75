/* The message of the codec's benchmark - three int32 headers, a string, a payload - and what is done with it. */
#ifndef BENCH_CODEC_MESSAGE_H
#define BENCH_CODEC_MESSAGE_H

#include <eventstream_rpc.h>

struct message {
    esrpc_headers *headers;
    esrpc_bytes payload;
    uint8_t *encoded; /* to encode to, and to decode from */
    size_t length;
    /* the same message again and again, about 1 MiB, or one that is larger */
    uint8_t *row;
    size_t in_row;
    esrpc_decoder *decoder;
    uint64_t seen; /* what the decoder called back, so that nothing is left out */
};

void message_make(struct message *message, size_t payload_size);
void message_free(struct message *message);

/* Does it at least that many times; answers how often. */
typedef uint64_t work(struct message *message, uint64_t times);

work encode;              /* header list built once */
work encode_new_list;     /* and built for each message */
work decode;              /* whole, and every header read */
work decode_chunks;       /* in chunks of 64 KiB, with callbacks */
work floor_encode;        /* memcpy, CRC32 */
work floor_decode;        /* CRC32 */
work floor_decode_chunks; /* CRC32 of each message of the row */

#endif
