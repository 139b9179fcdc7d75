/* What the JSON file of esrpc-serve says. */
#ifndef EXAMPLES_SERVE_H
#define EXAMPLES_SERVE_H

#include "tool.h"

/* The file is an object with two members, both optional:
 *
 * {
 *   "connect": {                                  which clients are accepted; without it all are
 *     "accept": true,                             false: none is
 *     "headers": {"client-name": "accepted.me"},  CONNECT has to have these
 *     "token": "s3cret",                          its payload has to be {"authToken":"s3cret"}
 *     "reply": {"headers": {}, "json": {}}        what the CONNECT_ACK holds
 *   },
 *   "operations": {
 *     "awstest#EchoMessage": {"replies": [{"echo": true}]},
 *     "awstest#CauseServiceError": {"error": {"type": "awstest#ServiceError", "message": "as asked"}},
 *     "awstest#EchoStreamMessages": {
 *       "replies": [{"json": {}}],                for the message that opens the stream
 *       "on_message": [{"echo": true}],           for each later message
 *       "keep_open": true                         do not end the stream with the last of the replies
 *     }
 *   }
 * }
 *
 * A reply has one payload at most: "text", "json" (any value, sent as it stands in the file, with :content-type
 * application/json), "base64", or "echo": true (the payload that it answers). Further members, all optional: "headers" (an object
 * of names and values, or an array of {"name", "type", "value"}), "type" ("APPLICATION_MESSAGE", "APPLICATION_ERROR" or a number),
 * "flags" (a number; the last of "replies" has 2, which ends the stream, unless "keep_open" is true, all others 0), "delay_ms"
 * (before it is sent) and "times" (how often). Or it is an error: {"error": {"type": "...", "message": "..."}}, which ends the
 * stream. An operation may also be the array of its replies, or an object with only an "error". */

struct reply {
    esrpc_headers *headers;
    struct text payload;
    bool is_echo;
    int32_t type, flags;
    uint32_t delay_ms, times;
};

struct replies {
    struct reply *items;
    size_t count;
    bool has_echo;
};

struct operation {
    struct text name;
    struct replies first, later;
};

struct script {
    bool accepts;
    esrpc_headers *required;
    struct text token;
    bool has_token;
    struct reply ack;
    struct operation *operations;
    size_t operation_count;
};

/* Reads a script from valid or invalid JSON. In either case release it with free_script. */
bool read_script(esrpc_bytes text, struct script *script, struct mistake *mistake);
void free_script(struct script *script);

const struct operation *find_operation(const struct script *script, esrpc_bytes name);

#endif
