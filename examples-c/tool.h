/* What the tools esrpc-call, esrpc-dump and esrpc-serve share: their command lines, text, messages as JSON, TLS, and what they
 * say when something goes wrong. For POSIX systems. */
#ifndef EXAMPLES_TOOL_H
#define EXAMPLES_TOOL_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "common.h"
#include "json.h"

/* The exit codes after those of common.h. They are in the manual pages; their numbers stay. */
enum {
    EXIT_CONNECT = 3,
    EXIT_TLS = 4,
    EXIT_REFUSED = 5,
    EXIT_ERROR_REPLY = 6,
    EXIT_TIMED_OUT = 7,
    EXIT_LOST = 8
};

/* --- The command line --- */

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_NUMBER, OPTION_SECONDS, OPTION_LIST };

/* The values of an option that may be given several times. */
struct list {
    const char **items;
    size_t count;
};

/* `value` points to a bool, a const char *, a uint32_t, a uint32_t of milliseconds or a struct list. A number lies between `min`
 * and `max`. */
struct option {
    const char *name;
    enum option_kind kind;
    void *value;
    uint32_t min, max;
};

struct command_line {
    const char *program, *help;
    const struct option *options;
    size_t option_count;
    const char *operand;     /* what --help calls it */
    const char *second_hint; /* what to do about a second one, "" if there is nothing to say */
};

/* Reads the command line and returns its operand, NULL if there is none. Does not return if --help or --version is asked for or
 * there is a mistake. Call it first of all: it also sets the name that the functions below speak in. */
const char *read_command_line(int argc, char **argv, const struct command_line *line);

/* Says what is wrong with the command line, and exits. */
#ifdef __GNUC__
__attribute__((format(printf, 1, 2)))
#endif
_Noreturn void usage_error(const char *format, ...);

/* --- Errors --- */

/* One line on stderr, with the program's name in front. */
#ifdef __GNUC__
__attribute__((format(printf, 1, 2)))
#endif
void say(const char *format, ...);

/* Says that `what` failed, unless the library's sentence begins with that ("cannot connect to HOST: ..."), and why: the sentence
 * and the status's name. */
void say_status(const char *what, esrpc_status status, const char *sentence);

/* Whether a status that a send returned says that the message itself cannot be sent. */
bool is_bad_message(esrpc_status status);

/* The exit code for a status; `connected` if it came after setup. */
int exit_code_of(esrpc_status status, bool connected);

/* --- Memory --- Running out of it ends the program, with a sentence. */

void *allocate(size_t size);
void *reallocate(void *memory, size_t size);

/* Text that grows. Zeros are an empty one; free its data. */
struct text {
    char *data;
    size_t len, capacity;
};

void text_reserve(struct text *text, size_t more);
void text_add(struct text *text, const void *data, size_t len);
#ifdef __GNUC__
__attribute__((format(printf, 2, 3)))
#endif
void text_print(struct text *text, const char *format, ...);
/* A JSON string, with its quotes; the bytes are UTF-8. */
void text_add_string(struct text *text, esrpc_bytes bytes);
void text_add_base64(struct text *text, esrpc_bytes bytes);

static inline esrpc_bytes text_bytes(const struct text *text)
{
    const esrpc_bytes bytes = {(const uint8_t *)text->data, text->len};
    return bytes;
}

/* --- Bytes --- */

bool is_utf8(esrpc_bytes bytes);
/* Appends what the base64 text stands for; false if it is not base64. */
bool decode_base64(esrpc_bytes base64, struct text *out);
/* Reads a file, or standard input for "-"; false, with the mistake said, if it cannot be read. */
bool read_file(const char *path, struct text *out);
/* What the value of --data and its like stands for: @FILE, - for standard input, or the text itself. */
bool read_data(const char *option, const char *value, struct text *out);

/* Writes to standard output and flushes; false if it cannot. Then it has said why, unless the reader has gone. */
bool write_output(const void *data, size_t len);

/* --- Messages --- */

/* A mistake in a JSON text, and where. */
struct mistake {
    const uint8_t *at;
    char what[240];
};

#ifdef __GNUC__
__attribute__((format(printf, 3, 4)))
#endif
bool mistake_at(struct mistake *mistake, const uint8_t *at, const char *format, ...);

/* Whether a text is one JSON value; otherwise where it is not. */
bool check_json(esrpc_bytes text, struct mistake *mistake);
/* Takes the next of several JSON values, and where it ends. */
bool take_json(struct json *json, struct json *out_value, struct mistake *mistake);
/* Says a mistake with its line and column in the file. */
void say_mistake(const char *file, esrpc_bytes text, const struct mistake *mistake);
/* The index of the name that a member of a JSON object has, `count` if it has another. */
size_t find_name(struct json key, const char *const *names, size_t count);

/* The name of a type of header as the tools write it. */
const char *header_type_name(int32_t type);

/* How many bytes a number of this type has in a message; 0 if its values are not numbers. */
size_t header_number_size(int32_t type);

/* Adds the header that NAME=VALUE or NAME:TYPE=VALUE describes; does not return if there is a mistake in it. */
void add_header_option(esrpc_headers *headers, const char *option, const char *spec);

/* Adds headers from JSON: an array of {"name", "type", "value"}, or an object of names and values. */
bool add_headers_from_json(esrpc_headers *headers, struct json *json, struct mistake *mistake);

/* Takes a string and appends it. */
bool take_text(struct json *json, struct text *out, struct mistake *mistake);

/* "headers":[...]; without :message-type, :message-flags and :stream-id unless `all`. */
void text_add_headers(struct text *text, const esrpc_headers *headers, bool all);
/* "payload":"..." if it is UTF-8, otherwise "payload_base64":"...". */
void text_add_payload(struct text *text, esrpc_bytes payload);
/* A line of JSON: {"type":..,"flags":..,"headers":[..],"payload":..} */
void text_add_message(struct text *text, const esrpc_message *message);
/* The name of a type of message, NULL if it has none. */
const char *message_type_name(int32_t type);
/* Takes a type of message: a number or a name. */
bool take_message_type(struct json *json, int64_t *out_type, struct mistake *mistake);

/* --- TLS --- */

struct tls_files {
    bool is_on, is_insecure;
    const char *ca, *certificate, *key, *alpn, *server_name;
};

/* Settings from files, NULL without TLS. Says what failed, about which file. */
esrpc_status make_tls_config(const struct tls_files *files, bool is_server, esrpc_tls_config **out_config);

/* Says what to do about a failure of TLS, which side shows what, and by which option of this tool; "" if there is nothing to
 * add. `is_server`: of the side that this tool is. */
const char *advise_tls(esrpc_status status, int32_t alert, const struct tls_files *files, bool is_server);

/* The alert that belongs to this thread's last failed call, -1 if there is none. */
int32_t last_alert(void);

#endif
