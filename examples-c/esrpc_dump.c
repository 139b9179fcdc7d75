/* esrpc-dump: shows event-stream messages with the offsets of their parts, as JSON, and makes messages from JSON. Its manual is
 * docs/man/esrpc-dump.1. */
#include "tool.h"

#include <signal.h>
#include <stdlib.h>

static const char help[] =
    "Usage: esrpc-dump [--all] [--recover] FILE|-\n"
    "       esrpc-dump --json [--recover] FILE|-\n"
    "       esrpc-dump --encode FILE|-\n"
    "Shows the event-stream messages of a file: each part with its offset, and the payload\n"
    "in readable form. If the file is damaged, says where and what is wrong there.\n"
    "\n"
    "  --json      print each message as a line of JSON, from which --encode makes the same\n"
    "              bytes again\n"
    "  --encode    read JSON and write messages: objects with the members headers (an array\n"
    "              of {\"name\", \"type\", \"value\"}, or an object of names and values),\n"
    "              payload (text) or payload_base64, and, for messages of RPC, type, flags\n"
    "              and stream_id; the lines of codec_dump and of esrpc-call are such objects\n"
    "  --all       print long payloads to their end\n"
    "  --recover   after damage go on with the next message that is whole\n"
    "\n"
    "Exit codes: 0 all messages are intact; 1 the input is damaged or cannot be read;\n"
    "2 wrong arguments, or JSON that does not describe messages.\n"
    "\n"
    "Example:\n"
    "  esrpc-dump --json messages.bin | jq -c 'del(.payload)'\n";

enum { PRELUDE = 12, CHECKSUM = 4, SHORTEST = PRELUDE + CHECKSUM, TEXT_SHOWN = 2000, BYTES_SHOWN = 256, CHECKS_OF_A_BYTE = 16 };

struct dump {
    bool is_json, is_encode, is_all, is_recover;
    const char *path;
    struct text input;
    /* The message that is being shown. */
    size_t number, start;
    uint32_t total_length, headers_length;
    size_t header_at; /* offset of the next header */
    size_t payload_len;
    struct text out;
    bool is_closed; /* standard output */
    size_t checked; /* bytes of messages that are not whole */
};

/* --- The readable form --- */

static void add_line(struct dump *dump, size_t offset, const char *what)
{
    text_print(&dump->out, "%10zu  %-16s  ", offset, what);
}

/* UTF-8 on lines of its own; control characters, which a terminal would obey, as in JSON. */
static void add_readable(struct text *out, esrpc_bytes bytes)
{
    struct json text = {bytes.data, bytes.data + bytes.len};
    text_add(out, "            ", 12);
    while (text.at < text.end) {
        const uint8_t *start = text.at++;
        const int32_t code = *start < 0x80 ? *start : json_next_utf8(&text, *start);
        if (code == '\n') text_print(out, "\n            ");
        else if (code == '\t' || !json_is_control(code)) text_add(out, start, (size_t)(text.at - start));
        else text_print(out, "\\u%04x", (unsigned)code);
    }
    text_add(out, "\n", 1);
}

static void add_hex(struct text *out, esrpc_bytes bytes, size_t offset)
{
    for (size_t i = 0; i < bytes.len; i += 16) {
        text_print(out, "            %08zx ", offset + i);
        for (size_t j = i; j < i + 16; j++) {
            if (j < bytes.len) text_print(out, " %02x", bytes.data[j]);
            else text_print(out, "   ");
        }
        text_print(out, "  ");
        for (size_t j = i; j < i + 16 && j < bytes.len; j++)
            text_print(out, "%c", bytes.data[j] >= ' ' && bytes.data[j] < 127 ? bytes.data[j] : '.');
        text_add(out, "\n", 1);
    }
}

static void add_payload(struct dump *dump)
{
    const size_t at = dump->start + PRELUDE + dump->headers_length;
    esrpc_bytes payload = {(const uint8_t *)dump->input.data + at, dump->payload_len};
    if (payload.len == 0) return;
    bool is_text = is_utf8(payload) && memchr(payload.data, '\0', payload.len) == NULL;
    const char *kind = !is_text ? "bytes" : json_is_valid(payload.data, payload.len) ? "bytes of JSON" : "bytes of text";
    size_t most = dump->is_all ? payload.len : is_text ? TEXT_SHOWN : BYTES_SHOWN;
    add_line(dump, at, "payload");
    text_print(&dump->out, "%zu %s\n", payload.len, kind);
    size_t left = payload.len > most ? payload.len - most : 0;
    payload.len -= left;
    /* Not in the middle of a character. */
    while (is_text && left > 0 && payload.len > 0 && (payload.data[payload.len] & 0xc0) == 0x80) payload.len--, left++;
    if (is_text) add_readable(&dump->out, payload);
    else add_hex(&dump->out, payload, at);
    if (left > 0) text_print(&dump->out, "            ... and %zu bytes more: --all shows them\n", left);
}

static void on_prelude(esrpc_decoder *decoder, uint32_t total_length, uint32_t headers_length, uint32_t prelude_crc,
                       void *user_data)
{
    struct dump *dump = user_data;
    (void)decoder;
    dump->number++;
    dump->total_length = total_length;
    dump->headers_length = headers_length;
    dump->header_at = dump->start + PRELUDE;
    dump->payload_len = 0;
    text_print(&dump->out, "message %zu, %lu bytes\n", dump->number, (unsigned long)total_length);
    add_line(dump, dump->start, "total length");
    text_print(&dump->out, "%lu\n", (unsigned long)total_length);
    add_line(dump, dump->start + 4, "headers length");
    text_print(&dump->out, "%lu\n", (unsigned long)headers_length);
    add_line(dump, dump->start + 8, "prelude checksum");
    text_print(&dump->out, "0x%08lx\n", (unsigned long)prelude_crc);
}

/* What a number of the protocol means; "" if nothing is known. */
static const char *meaning(const esrpc_header *header)
{
    static const char *const flags[] = {" none", " connection_accepted", " terminate_stream",
                                        " connection_accepted and terminate_stream"};
    static char name[32];
    if (header->type != ESRPC_HEADER_TYPE_INT32) return "";
    if (esrpc_bytes_equal(header->name, esrpc_text(":message-flags")))
        return header->number >= 0 && header->number < 4 ? flags[header->number] : "";
    if (!esrpc_bytes_equal(header->name, esrpc_text(":message-type")) || header->number > INT32_MAX) return "";
    const char *known = message_type_name((int32_t)header->number);
    snprintf(name, sizeof name, " %s", known != NULL ? known : "");
    return known != NULL ? name : "";
}

static size_t value_size(const esrpc_header *header)
{
    bool has_length = header->type == ESRPC_HEADER_TYPE_BYTE_BUF || header->type == ESRPC_HEADER_TYPE_STRING;
    return header_number_size(header->type) + (has_length ? 2 : 0) + header->bytes.len;
}

static void on_header(esrpc_decoder *decoder, const esrpc_header *header, void *user_data)
{
    struct dump *dump = user_data;
    char uuid[37] = "";
    (void)decoder;
    add_line(dump, dump->header_at, "header");
    text_add_string(&dump->out, header->name);
    text_print(&dump->out, " %s ", header_type_name(header->type));
    switch (header->type) {
    case ESRPC_HEADER_TYPE_BOOL_TRUE:
    case ESRPC_HEADER_TYPE_BOOL_FALSE:
        text_print(&dump->out, "%s", header->number != 0 ? "true" : "false");
        break;
    case ESRPC_HEADER_TYPE_STRING:
        text_add_string(&dump->out, header->bytes);
        if (!is_utf8(header->bytes)) text_print(&dump->out, " (not UTF-8)");
        break;
    case ESRPC_HEADER_TYPE_BYTE_BUF:
        text_print(&dump->out, "base64 ");
        text_add_base64(&dump->out, header->bytes);
        break;
    case ESRPC_HEADER_TYPE_UUID:
        esrpc_uuid_to_text(header->bytes.data, uuid, sizeof uuid);
        text_print(&dump->out, "%s", uuid);
        break;
    default:
        text_print(&dump->out, "%lld%s", (long long)header->number, meaning(header));
        break;
    }
    text_add(&dump->out, "\n", 1);
    dump->header_at += 1 + header->name.len + 1 + value_size(header);
}

static void on_payload(esrpc_decoder *decoder, const uint8_t *data, size_t len, void *user_data)
{
    (void)decoder, (void)data;
    ((struct dump *)user_data)->payload_len += len;
}

static void flush(struct dump *dump)
{
    if (!dump->is_closed) dump->is_closed = !write_output(dump->out.data, dump->out.len);
    dump->out.len = 0;
}

static void on_complete(esrpc_decoder *decoder, uint32_t message_crc, void *user_data)
{
    struct dump *dump = user_data;
    (void)decoder;
    add_payload(dump);
    add_line(dump, dump->start + dump->total_length - CHECKSUM, "message checksum");
    text_print(&dump->out, "0x%08lx\n", (unsigned long)message_crc);
    flush(dump);
    dump->start += dump->total_length;
    dump->total_length = 0;
}

/* Shows the messages from `start` on; an error is about the one that begins at `start` then. */
static esrpc_status show_messages(struct dump *dump)
{
    static const esrpc_decoder_callbacks callbacks = {.struct_size = sizeof callbacks,
                                                      .on_prelude = on_prelude,
                                                      .on_header = on_header,
                                                      .on_payload = on_payload,
                                                      .on_complete = on_complete};
    esrpc_decoder *decoder = NULL;
    const esrpc_bytes rest = {(const uint8_t *)dump->input.data + dump->start, dump->input.len - dump->start};
    dump->total_length = 0;
    esrpc_status status = esrpc_decoder_new(&callbacks, dump, &decoder);
    if (status == ESRPC_OK) status = esrpc_decoder_push(decoder, rest);
    if (status == ESRPC_OK) status = esrpc_decoder_finish(decoder);
    /* What came before the damage. */
    if (status != ESRPC_OK && dump->total_length != 0) {
        if (dump->payload_len > 0) add_payload(dump);
        flush(dump);
    } else if (status != ESRPC_OK) {
        dump->number++;
    }
    esrpc_decoder_release(decoder);
    return status;
}

/* --- JSON --- */

static esrpc_status print_json(struct dump *dump)
{
    esrpc_status status = ESRPC_OK;
    while (status == ESRPC_OK && dump->start < dump->input.len && !dump->is_closed) {
        const esrpc_bytes rest = {(const uint8_t *)dump->input.data + dump->start, dump->input.len - dump->start};
        esrpc_message *message = NULL;
        size_t used = 0;
        dump->number++;
        status = esrpc_message_decode(rest, &message, &used);
        if (status != ESRPC_OK) break;
        text_print(&dump->out, "{\"offset\":%zu,", dump->start);
        text_add_headers(&dump->out, esrpc_message_get_headers(message), true);
        text_add(&dump->out, ",", 1);
        text_add_payload(&dump->out, esrpc_message_get_payload(message));
        text_add(&dump->out, "}\n", 2);
        flush(dump);
        esrpc_message_release(message);
        dump->start += used;
    }
    return status;
}

/* --- Damage --- */

static uint32_t read_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* The offset in the headers of the length, the type or the name with which they stop making sense. */
static size_t find_bad_header(const uint8_t *headers, size_t len)
{
    size_t at = 0;
    while (at < len) {
        const size_t type_at = at + 1 + headers[at];
        if (type_at >= len) return at;
        const uint8_t type = headers[type_at];
        if (type > ESRPC_HEADER_TYPE_UUID) return type_at;
        size_t size = type == ESRPC_HEADER_TYPE_UUID ? 16 : header_number_size(type);
        if (type == ESRPC_HEADER_TYPE_BYTE_BUF || type == ESRPC_HEADER_TYPE_STRING) {
            if (len - type_at < 3) return type_at;
            size = 2 + ((size_t)headers[type_at + 1] << 8 | headers[type_at + 2]);
            if (size > len - type_at - 1) return type_at + 1;
        }
        if (size > len - type_at - 1) return type_at;
        at = type_at + 1 + size;
    }
    return at;
}

/* The offset of what is wrong, in a message of which `len` bytes are there. */
static size_t find_damage(const uint8_t *message, size_t len, esrpc_status status)
{
    switch (status) {
    case ESRPC_ERROR_PRELUDE_CHECKSUM:
        return 8;
    case ESRPC_ERROR_HEADERS_LENGTH:
    case ESRPC_ERROR_HEADERS_TOO_LARGE:
        return 4;
    case ESRPC_ERROR_HEADER_OVERRUN:
    case ESRPC_ERROR_UNKNOWN_HEADER_TYPE: {
        size_t headers_length = read_u32(message + 4);
        if (headers_length > len - PRELUDE) headers_length = len - PRELUDE;
        return PRELUDE + find_bad_header(message + PRELUDE, headers_length);
    }
    case ESRPC_ERROR_TOO_MANY_HEADERS:
        return PRELUDE;
    case ESRPC_ERROR_MESSAGE_CHECKSUM:
        return read_u32(message) - CHECKSUM;
    case ESRPC_ERROR_INCOMPLETE:
        return len;
    default:
        return 0;
    }
}

/* Counts a message that is not whole. A file can be made of beginnings that are sound, behind each of which everything to its end
 * has to be checked; the limit keeps the work in proportion to the file. */
static void count_checked(struct dump *dump, size_t at, esrpc_status status)
{
    const size_t rest = dump->input.len - at;
    if (rest < PRELUDE || status == ESRPC_ERROR_PRELUDE_CHECKSUM) return;
    const size_t total_length = read_u32((const uint8_t *)dump->input.data + at);
    dump->checked += total_length < rest ? total_length : rest;
}

static bool is_limit_reached(const struct dump *dump)
{
    return dump->checked / CHECKS_OF_A_BYTE > dump->input.len;
}

/* The offset of the next message that is whole, the input's length if there is none. Ends early when the limit is reached. */
static size_t find_whole_message(struct dump *dump)
{
    const uint8_t *data = (const uint8_t *)dump->input.data;
    const size_t end = dump->input.len;
    for (size_t at = dump->start + 1; at < end && end - at >= SHORTEST && !is_limit_reached(dump); at++) {
        const uint32_t total_length = read_u32(data + at), headers_length = read_u32(data + at + 4);
        esrpc_message *message = NULL;
        if (total_length < SHORTEST || total_length > end - at || headers_length > total_length - SHORTEST) continue;
        const esrpc_bytes rest = {data + at, end - at};
        const esrpc_status status = esrpc_message_decode(rest, &message, NULL);
        esrpc_message_release(message);
        if (status == ESRPC_OK) return at;
        count_checked(dump, at, status);
    }
    return end;
}

/* What a file is that begins like this, "" if that is not known. */
static const char *recognize(esrpc_bytes start)
{
    static const struct {
        const char *start, *kind;
    } kinds[] = {
        {"\x89PNG", "a PNG image"},
        {"\xff\xd8\xff", "a JPEG image"},
        {"GIF8", "a GIF image"},
        {"%PDF", "a PDF document"},
        {"PK\x03\x04", "a ZIP archive"},
        {"\x1f\x8b", "gzip: decompress it first"},
        {"\x7f"
         "ELF",
         "a program"},
        {"\xd4\xc3\xb2\xa1", "a packet capture: extract what the connection carried first"},
        {"\x0a\x0d\x0d\x0a", "a packet capture: extract what the connection carried first"},
        {"\x16\x03", "TLS: it has to be decrypted first"},
        {"HTTP/", "an HTTP response"},
        {"GET ", "an HTTP request"},
        {"POST ", "an HTTP request"},
        {"PRI * HTTP/2", "HTTP/2"},
        {"event:", "server-sent events"},
        {"data:", "server-sent events"},
        {"{", "JSON: --encode makes messages of it"},
        {"<", "XML or HTML"},
        {"AAAA", "base64: decode it first (base64 -d)"},
        {"000000", "hexadecimal text: convert it to bytes first (xxd -r -p)"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (starts_with(start, kinds[i].start)) return kinds[i].kind;
    return "";
}

/* Whether the input begins with something other than a damaged message: even the lengths at its beginning make no sense. */
static bool is_foreign(const struct dump *dump, esrpc_status status)
{
    enum { HIGHEST_FIRST_BYTE = 3 }; /* of a length: no message has 64 MiB */
    const uint8_t *data = (const uint8_t *)dump->input.data;
    if (dump->start != 0 || dump->input.len == 0) return false;
    const bool is_too_long = data[0] > HIGHEST_FIRST_BYTE;
    if (dump->input.len < PRELUDE) return is_too_long;
    if (status != ESRPC_ERROR_PRELUDE_CHECKSUM) return false;
    return is_too_long || read_u32(data) < SHORTEST || read_u32(data + 4) > read_u32(data) - SHORTEST;
}

/* Text up to the end of its first line, other bytes in hexadecimal. */
static void add_beginning(struct text *out, esrpc_bytes start)
{
    enum { SHOWN = 24, LONGEST_CHARACTER = 4 };
    size_t len = 0;
    while (len < start.len && len < SHOWN && start.data[len] >= ' ') len++;
    esrpc_bytes line = {start.data, len};
    while (len == SHOWN && line.len > SHOWN - LONGEST_CHARACTER && !is_utf8(line)) line.len--; /* not inside a character */
    const bool is_text = len == start.len || len == SHOWN || start.data[len] == '\n' || start.data[len] == '\r';
    if (is_text && is_utf8(line)) {
        text_add_string(out, line);
        return;
    }
    for (size_t i = 0; i < start.len && i < SHOWN; i++) text_print(out, "%s%02x", i > 0 ? " " : "", start.data[i]);
}

static void say_foreign(const struct dump *dump)
{
    const char *kind = recognize(text_bytes(&dump->input));
    struct text shown = {NULL, 0, 0};
    add_beginning(&shown, text_bytes(&dump->input));
    say("%s does not look like event-stream messages: it begins with %.*s%s%s", dump->path, (int)shown.len, shown.data,
        kind[0] != '\0' ? "; it may be " : "", kind);
    free(shown.data);
}

static void say_damage(const struct dump *dump, esrpc_status status, const char *sentence)
{
    const uint8_t *message = (const uint8_t *)dump->input.data + dump->start;
    const size_t len = dump->input.len - dump->start, at = dump->start + find_damage(message, len, status);
    say("%s: message %zu, which begins at offset %zu, is damaged at offset %zu (0x%zx): %s (%s)", dump->path, dump->number,
        dump->start, at, at, sentence, esrpc_status_name(status));
    if (status == ESRPC_ERROR_MESSAGE_CHECKSUM)
        say("its lengths are right, so at least one of its bytes from offset %zu to %zu has changed", dump->start + PRELUDE,
            at + CHECKSUM - 1);
    if (status == ESRPC_ERROR_PRELUDE_CHECKSUM)
        say("one of the 12 bytes from offset %zu on has changed, or no message begins there, because bytes are missing or too many "
            "before it",
            dump->start);
}

static int show(struct dump *dump)
{
    int exit_code = EXIT_OK;
    for (;;) {
        esrpc_status status = dump->is_json ? print_json(dump) : show_messages(dump);
        if (dump->is_closed) return EXIT_FAILED;
        if (status == ESRPC_OK) return exit_code;
        exit_code = EXIT_FAILED;
        struct text sentence = {NULL, 0, 0};
        text_print(&sentence, "%s", esrpc_last_error_message());
        count_checked(dump, dump->start, status);
        const size_t next = find_whole_message(dump);
        const bool has_next = next < dump->input.len, is_other = !has_next && is_foreign(dump, status);
        if (is_other) say_foreign(dump);
        else say_damage(dump, status, sentence.data);
        free(sentence.data);
        if (!has_next && is_limit_reached(dump))
            say("the search for the next whole message was given up: too much looks like the beginning of one (%zu bytes were checked, "
                "the file has %zu)",
                dump->checked, dump->input.len);
        else if (!has_next)
            say("no whole message follows");
        if (!has_next) return exit_code;
        say("the next message that is whole begins at offset %zu%s", next, dump->is_recover ? "" : ": --recover goes on there");
        if (!dump->is_recover) return exit_code;
        dump->start = next;
    }
}

/* --- JSON to messages --- */

/* The parts of a message in JSON, as far as they are given. */
struct parts {
    struct json headers, payload;
    bool is_base64, is_of_codec_dump;
    int64_t numbers[3]; /* type, flags, stream */
    bool has_number[3];
};

static bool take_parts(struct json *json, struct parts *parts, struct mistake *mistake)
{
    static const char *const names[] = {"headers", "payload", "payload_base64", "type",        "flags",
                                        "stream_id", "offset", "total_length"};
    enum { HEADERS, PAYLOAD, PAYLOAD_BASE64, TYPE, FLAGS, STREAM_ID, OFFSET, TOTAL_LENGTH, NAMES };
    struct json key;
    if (!json_enter(json, '{'))
        return mistake_at(mistake, json->at, "a message is an object, such as {\"headers\":[],\"payload\":\"\"}");
    while (json_next_member(json, &key)) {
        const size_t name = find_name(key, names, NAMES);
        struct json value = *json;
        if (name == HEADERS) {
            parts->headers = value;
        } else if (name == PAYLOAD || name == PAYLOAD_BASE64) {
            parts->payload = value;
            parts->is_base64 = name == PAYLOAD_BASE64;
        } else if (name == TYPE || name == FLAGS || name == STREAM_ID) {
            int64_t *number = &parts->numbers[name - TYPE];
            parts->has_number[name - TYPE] = true;
            if (name == TYPE && !take_message_type(&value, number, mistake)) return false;
            if (name != TYPE && !json_take_integer(&value, INT32_MIN, INT32_MAX, number))
                return mistake_at(mistake, value.at, "%s is a whole number of 32 bits", names[name]);
        } else if (name == TOTAL_LENGTH) {
            parts->is_of_codec_dump = true;
        } else if (name == NAMES) {
            return mistake_at(mistake, key.at,
                              "a message has no such member; these are: headers, payload, payload_base64, type, flags, stream_id");
        }
        json_take_value(json, 1);
    }
    return true;
}

static bool encode_message(struct json *json, struct dump *dump, struct mistake *mistake)
{
    static const char *const names[] = {":message-type", ":message-flags", ":stream-id"};
    struct parts parts = {.is_base64 = false};
    struct text payload = {NULL, 0, 0}, base64 = {NULL, 0, 0};
    esrpc_headers *headers = esrpc_headers_new();
    esrpc_buffer *buffer = NULL;
    const uint8_t *at = json->at;
    bool good = take_parts(json, &parts, mistake);
    for (size_t i = 0; good && i < sizeof names / sizeof names[0]; i++)
        if (parts.has_number[i]) esrpc_headers_add_int32(headers, esrpc_text(names[i]), (int32_t)parts.numbers[i]);
    if (good && parts.headers.at != NULL) good = add_headers_from_json(headers, &parts.headers, mistake);
    if (good && parts.payload.at != NULL) {
        const uint8_t *payload_at = parts.payload.at;
        bool is_base64 = parts.is_base64 || parts.is_of_codec_dump;
        good = take_text(&parts.payload, is_base64 ? &base64 : &payload, mistake);
        if (good && is_base64 && !decode_base64(text_bytes(&base64), &payload))
            good = mistake_at(mistake, payload_at, "this string is not base64");
    }
    if (good && esrpc_message_encode_to_buffer(headers, text_bytes(&payload), &buffer) != ESRPC_OK)
        good = mistake_at(mistake, at, "this message cannot be encoded: %.150s", esrpc_last_error_message());
    esrpc_bytes bytes = esrpc_buffer_get_bytes(buffer);
    if (good) text_add(&dump->out, bytes.data, bytes.len);
    esrpc_buffer_release(buffer);
    esrpc_headers_release(headers);
    free(payload.data);
    free(base64.data);
    return good;
}

/* Writes nothing if there is a mistake anywhere. */
static int encode(struct dump *dump)
{
    struct json json = {(const uint8_t *)dump->input.data, (const uint8_t *)dump->input.data + dump->input.len};
    struct mistake mistake = {NULL, ""};
    bool good = true;
    if (isatty(STDOUT_FILENO)) usage_error("--encode writes bytes that are not text: send them to a file or a pipe");
    json_skip_space(&json);
    while (good && json.at < json.end) {
        struct json message;
        good = take_json(&json, &message, &mistake) && encode_message(&message, dump, &mistake);
    }
    if (good) return write_output(dump->out.data, dump->out.len) ? EXIT_OK : EXIT_FAILED;
    say_mistake(dump->path, text_bytes(&dump->input), &mistake);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct dump dump = {.is_json = false};
    const struct option options[] = {
        {"--json", OPTION_FLAG, &dump.is_json, 0, 0},
        {"--encode", OPTION_FLAG, &dump.is_encode, 0, 0},
        {"--all", OPTION_FLAG, &dump.is_all, 0, 0},
        {"--recover", OPTION_FLAG, &dump.is_recover, 0, 0},
    };
    const struct command_line line = {"esrpc-dump", help, options, sizeof options / sizeof options[0], "FILE", ""};
    signal(SIGPIPE, SIG_IGN); /* write_output notices that nobody reads */
    dump.path = read_command_line(argc, argv, &line);
    if (dump.path == NULL) usage_error("which file? Give its name, or - for standard input");
    if (dump.is_encode && (dump.is_json || dump.is_all || dump.is_recover))
        usage_error("--encode goes with no other option");
    int exit_code = EXIT_FAILED;
    if (read_file(dump.path, &dump.input)) {
        if (strcmp(dump.path, "-") == 0) dump.path = "standard input";
        exit_code = dump.is_encode ? encode(&dump) : show(&dump);
    }
    free(dump.input.data);
    free(dump.out.data);
    return exit_code;
}
