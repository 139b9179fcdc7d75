/* Messages as JSON, both ways, and headers from the command line; see tool.h. */
#include "tool.h"

#include <stdlib.h>

/* The names that the tools write come first; after them those of esrpc_message_to_json, which are for JSON alone. */
static const struct {
    const char *name;
    int32_t type;
} header_types[] = {
    {"bool", ESRPC_HEADER_TYPE_BOOL_TRUE},      {"byte", ESRPC_HEADER_TYPE_BYTE},
    {"short", ESRPC_HEADER_TYPE_INT16},         {"integer", ESRPC_HEADER_TYPE_INT32},
    {"long", ESRPC_HEADER_TYPE_INT64},          {"bytes", ESRPC_HEADER_TYPE_BYTE_BUF},
    {"string", ESRPC_HEADER_TYPE_STRING},       {"timestamp", ESRPC_HEADER_TYPE_TIMESTAMP},
    {"uuid", ESRPC_HEADER_TYPE_UUID},           {"bool_true", ESRPC_HEADER_TYPE_BOOL_TRUE},
    {"bool_false", ESRPC_HEADER_TYPE_BOOL_TRUE}, {"int16", ESRPC_HEADER_TYPE_INT16},
    {"int32", ESRPC_HEADER_TYPE_INT32},         {"int64", ESRPC_HEADER_TYPE_INT64},
    {"byte_buf", ESRPC_HEADER_TYPE_BYTE_BUF},
};
enum { OWN_TYPES = 9, HEADER_TYPES = sizeof header_types / sizeof header_types[0] };
#define TYPE_NAMES "bool, byte, short, integer, long, bytes (base64), string, timestamp (milliseconds since 1970) and uuid"

const char *header_type_name(int32_t type)
{
    if (type == ESRPC_HEADER_TYPE_BOOL_FALSE) type = ESRPC_HEADER_TYPE_BOOL_TRUE;
    for (size_t i = 0; i < HEADER_TYPES; i++)
        if (header_types[i].type == type) return header_types[i].name;
    return "unknown";
}

/* Looks among the first `count` names. */
static bool find_header_type(esrpc_bytes name, size_t count, int32_t *out_type)
{
    for (size_t i = 0; i < count; i++) {
        if (!esrpc_bytes_equal(name, esrpc_text(header_types[i].name))) continue;
        *out_type = header_types[i].type;
        return true;
    }
    return false;
}

const char *message_type_name(int32_t type)
{
    static const char *const names[] = {"APPLICATION_MESSAGE", "APPLICATION_ERROR", "PING",           "PING_RESPONSE",
                                        "CONNECT",             "CONNECT_ACK",       "PROTOCOL_ERROR", "INTERNAL_ERROR"};
    return type >= 0 && type < (int32_t)(sizeof names / sizeof names[0]) ? names[type] : NULL;
}

bool mistake_at(struct mistake *mistake, const uint8_t *at, const char *format, ...)
{
    va_list arguments;
    mistake->at = at;
    va_start(arguments, format);
    vsnprintf(mistake->what, sizeof mistake->what, format, arguments);
    va_end(arguments);
    return false;
}

void say_mistake(const char *file, esrpc_bytes text, const struct mistake *mistake)
{
    size_t line, column;
    json_locate(text.data, mistake->at, &line, &column);
    say("%s:%zu:%zu: %s", strcmp(file, "-") == 0 ? "standard input" : file, line, column, mistake->what);
}

static bool no_json(const struct json *json, struct mistake *mistake)
{
    return mistake_at(mistake, json->at, json->at == json->end ? "the JSON ends too early" : "this is not JSON");
}

bool take_json(struct json *json, struct json *out_value, struct mistake *mistake)
{
    *out_value = *json;
    if (!json_take_value(json, 0)) return no_json(json, mistake);
    out_value->end = json->at;
    return true;
}

bool check_json(esrpc_bytes text, struct mistake *mistake)
{
    struct json json = {text.data, text.data + text.len};
    return (json_take_value(&json, 0) && json.at == json.end) || no_json(&json, mistake);
}

size_t find_name(struct json key, const char *const *names, size_t count)
{
    size_t index = 0;
    for (; index < count; index++) {
        struct json probe = key;
        if (json_take_string_equal(&probe, names[index], false)) break;
    }
    return index;
}

bool take_message_type(struct json *json, int64_t *out_type, struct mistake *mistake)
{
    if (json_take_integer(json, INT32_MIN, INT32_MAX, out_type)) return true;
    for (int32_t type = 0; message_type_name(type) != NULL; type++) {
        struct json probe = *json;
        if (!json_take_string_equal(&probe, message_type_name(type), false)) continue;
        *json = probe;
        *out_type = type;
        return true;
    }
    return mistake_at(mistake, json->at, "a type is a number or a name such as \"APPLICATION_MESSAGE\"");
}

size_t header_number_size(int32_t type)
{
    switch (type) {
    case ESRPC_HEADER_TYPE_BYTE:
        return 1;
    case ESRPC_HEADER_TYPE_INT16:
        return 2;
    case ESRPC_HEADER_TYPE_INT32:
        return 4;
    case ESRPC_HEADER_TYPE_INT64:
    case ESRPC_HEADER_TYPE_TIMESTAMP:
        return 8;
    default:
        return 0;
    }
}

/* The range of a type's numbers; false if its values are not numbers. */
static bool number_range(int32_t type, int64_t *out_min, int64_t *out_max)
{
    const size_t size = header_number_size(type);
    if (size == 0) return false;
    *out_max = INT64_MAX >> (64 - 8 * size);
    *out_min = -*out_max - 1;
    return true;
}

/* Adds a header as it could be received: its name and text need not be UTF-8, and may be longer or shorter than those that are
 * sent. */
static esrpc_status add_raw_header(esrpc_headers *headers, const esrpc_header *header)
{
    struct text block = {NULL, 0, 0};
    esrpc_headers *decoded = NULL;
    const uint8_t lengths[] = {(uint8_t)header->name.len, (uint8_t)header->type, (uint8_t)(header->bytes.len >> 8),
                               (uint8_t)header->bytes.len};
    size_t number_size = header_number_size(header->type);
    if (header->name.len > UINT8_MAX) return ESRPC_ERROR_HEADER_NAME_LENGTH;
    if (header->bytes.len > UINT16_MAX) return ESRPC_ERROR_HEADER_VALUE_TOO_LONG;
    text_add(&block, lengths, 1);
    text_add(&block, header->name.data, header->name.len);
    text_add(&block, lengths + 1, 1);
    while (number_size-- > 0) {
        const uint8_t byte = (uint8_t)((uint64_t)header->number >> 8 * number_size);
        text_add(&block, &byte, 1);
    }
    if (header->type == ESRPC_HEADER_TYPE_BYTE_BUF || header->type == ESRPC_HEADER_TYPE_STRING) text_add(&block, lengths + 2, 2);
    text_add(&block, header->bytes.data, header->bytes.len);
    esrpc_status status = esrpc_headers_decode(text_bytes(&block), &decoded);
    if (status == ESRPC_OK) status = esrpc_headers_add_from(headers, decoded, true);
    esrpc_headers_release(decoded);
    free(block.data);
    return status;
}

/* --- From the command line --- */

void add_header_option(esrpc_headers *headers, const char *option, const char *spec)
{
    const char *equals = strchr(spec, '=');
    if (equals == NULL || equals == spec)
        usage_error("%s takes NAME=VALUE or NAME:TYPE=VALUE, not \"%s\"", option, spec);
    esrpc_header header = {.name = {(const uint8_t *)spec, (size_t)(equals - spec)}, .type = ESRPC_HEADER_TYPE_STRING};
    const char *value = equals + 1, *colon = equals;
    while (colon > spec && *colon != ':') colon--;
    /* A colon at the beginning belongs to the name, as in :content-type. */
    if (colon > spec) {
        const esrpc_bytes type = {(const uint8_t *)colon + 1, (size_t)(equals - colon - 1)};
        if (!find_header_type(type, OWN_TYPES, &header.type))
            usage_error("%s: \"%.*s\" in \"%s\" is not a type of header; these are: " TYPE_NAMES
                        ". If the colon belongs to the name, write the type behind it, as in NAME:string=VALUE",
                        option, (int)type.len, (const char *)type.data, spec);
        header.name.len = (size_t)(colon - spec);
    }
    struct json number = {(const uint8_t *)value, (const uint8_t *)value + strlen(value)};
    struct text bytes = {NULL, 0, 0};
    uint8_t uuid[16];
    int64_t min, max;
    if (number_range(header.type, &min, &max)) {
        if (!json_take_integer(&number, min, max, &header.number) || number.at != number.end)
            usage_error("%s: \"%s\" is not a number from %lld to %lld, which the type %s of \"%s\" takes", option, value,
                        (long long)min, (long long)max, header_type_name(header.type), spec);
    } else if (header.type == ESRPC_HEADER_TYPE_BOOL_TRUE) {
        if (strcmp(value, "false") == 0) header.type = ESRPC_HEADER_TYPE_BOOL_FALSE;
        else if (strcmp(value, "true") != 0) usage_error("%s: a bool is true or false, not \"%s\"", option, value);
    } else if (header.type == ESRPC_HEADER_TYPE_UUID) {
        if (esrpc_uuid_from_text(esrpc_text(value), uuid) != ESRPC_OK)
            usage_error("%s: \"%s\" is not a UUID such as 123e4567-e89b-12d3-a456-426614174000", option, value);
        header.bytes = (esrpc_bytes){uuid, sizeof uuid};
    } else if (header.type == ESRPC_HEADER_TYPE_BYTE_BUF) {
        if (!decode_base64(esrpc_text(value), &bytes)) usage_error("%s: \"%s\" is not base64", option, value);
        header.bytes = text_bytes(&bytes);
    } else {
        header.bytes = esrpc_text(value);
    }
    esrpc_status status = esrpc_headers_add(headers, &header, 1);
    free(bytes.data);
    if (status != ESRPC_OK) usage_error("%s: \"%.200s\": %s", option, spec, esrpc_last_error_message());
}

/* --- From JSON --- */

bool take_text(struct json *json, struct text *out, struct mistake *mistake)
{
    json_skip_space(json);
    struct json value = *json;
    size_t len = 0;
    if (json->at == json->end || *json->at != '"') return mistake_at(mistake, json->at, "a string is needed here");
    text_reserve(out, (size_t)(json->end - json->at < 256 ? 256 : json->end - json->at));
    if (!json_take_text(json, (uint8_t *)out->data + out->len, &len))
        return mistake_at(mistake, value.at, "this string holds half a surrogate pair (\\ud800 to \\udfff)");
    out->len += len;
    return true;
}

static bool take_base64(struct json *json, struct text *out, struct mistake *mistake)
{
    struct text base64 = {NULL, 0, 0};
    const uint8_t *at = json->at;
    bool good = take_text(json, &base64, mistake);
    if (good && !decode_base64(text_bytes(&base64), out)) good = mistake_at(mistake, at, "this string is not base64");
    free(base64.data);
    return good;
}

/* Reads the value of a header of this type: strings into `bytes`, which the header then refers to. */
static bool take_header_value(struct json *json, esrpc_header *header, struct text *bytes, struct mistake *mistake)
{
    int64_t min, max;
    const uint8_t *at = json->at;
    if (number_range(header->type, &min, &max)) {
        if (json_take_integer(json, min, max, &header->number)) return true;
        return mistake_at(mistake, at, "the type %s takes a whole number from %lld to %lld", header_type_name(header->type),
                          (long long)min, (long long)max);
    }
    if (header->type == ESRPC_HEADER_TYPE_BOOL_TRUE) {
        if (json_take_word(json, "true")) return true;
        header->type = ESRPC_HEADER_TYPE_BOOL_FALSE;
        return json_take_word(json, "false") || mistake_at(mistake, at, "the type bool takes true or false");
    }
    if (header->type == ESRPC_HEADER_TYPE_BYTE_BUF) {
        if (!take_base64(json, bytes, mistake)) return false;
    } else if (!take_text(json, bytes, mistake)) {
        return false;
    }
    if (header->type == ESRPC_HEADER_TYPE_UUID) {
        uint8_t uuid[16];
        if (esrpc_uuid_from_text(text_bytes(bytes), uuid) != ESRPC_OK)
            return mistake_at(mistake, at, "this string is not a UUID");
        bytes->len = 0;
        text_add(bytes, uuid, sizeof uuid);
    }
    header->bytes = text_bytes(bytes);
    return true;
}

/* The type that a header has when its value alone is given. */
static int32_t type_of_value(const struct json *json)
{
    uint8_t first = json->at < json->end ? *json->at : 0;
    if (first == '"') return ESRPC_HEADER_TYPE_STRING;
    if (first == 't' || first == 'f') return ESRPC_HEADER_TYPE_BOOL_TRUE;
    if (first == '-' || (first >= '0' && first <= '9')) return ESRPC_HEADER_TYPE_INT32;
    return -1;
}

/* {"name":..,"type":..,"value":..}, of which the type may be missing; value_base64 and name_base64 for text that is not UTF-8. */
static bool take_header_object(struct json *json, esrpc_headers *headers, struct mistake *mistake)
{
    struct text name = {NULL, 0, 0}, bytes = {NULL, 0, 0}, type = {NULL, 0, 0};
    struct json key, value = {NULL, NULL};
    const uint8_t *start = json->at;
    esrpc_header header = {.type = -1};
    bool good = json_enter(json, '{') || mistake_at(mistake, json->at, "a header is an object with name, type and value");
    bool is_named = false, is_base64 = false;
    while (good && json_next_member(json, &key)) {
        static const char *const names[] = {"name", "name_base64", "type", "value", "value_base64"};
        enum { NAME, NAME_BASE64, TYPE, VALUE, VALUE_BASE64, NAMES };
        const struct json here = *json;
        const size_t member = find_name(key, names, NAMES);
        if (member == NAME || member == NAME_BASE64) {
            name.len = 0;
            is_named = true;
            good = member == NAME ? take_text(json, &name, mistake) : take_base64(json, &name, mistake);
        } else if (member == TYPE) {
            type.len = 0;
            good = take_text(json, &type, mistake);
            if (good && !find_header_type(text_bytes(&type), HEADER_TYPES, &header.type))
                good = mistake_at(mistake, here.at, "there is no such type of header; these are: " TYPE_NAMES);
        } else if (member == VALUE || member == VALUE_BASE64) {
            is_base64 = member == VALUE_BASE64;
            value = here;
            json_take_value(json, 1);
        } else {
            good = mistake_at(mistake, key.at, "a header has no such member; these are: name, type, value");
        }
    }
    if (good && (!is_named || value.at == NULL)) good = mistake_at(mistake, start, "this header lacks a name or a value");
    if (good && header.type < 0) header.type = type_of_value(&value);
    if (good && header.type < 0) good = mistake_at(mistake, value.at, "the value of a header is a string, a number or a bool");
    header.name = text_bytes(&name);
    if (good && is_base64) {
        good = take_base64(&value, &bytes, mistake);
        header.bytes = text_bytes(&bytes);
        if (good && header.type != ESRPC_HEADER_TYPE_STRING)
            good = mistake_at(mistake, start, "value_base64 is for strings that are not UTF-8: use value");
    } else if (good) {
        good = take_header_value(&value, &header, &bytes, mistake);
    }
    if (good) {
        esrpc_status status = add_raw_header(headers, &header);
        if (status != ESRPC_OK) good = mistake_at(mistake, start, "this header cannot be sent: %s", esrpc_status_message(status));
    }
    free(name.data);
    free(bytes.data);
    free(type.data);
    return good;
}

bool add_headers_from_json(esrpc_headers *headers, struct json *json, struct mistake *mistake)
{
    struct json key;
    json_skip_space(json);
    if (json_enter(json, '[')) {
        while (json_next_element(json))
            if (!take_header_object(json, headers, mistake)) return false;
        return true;
    }
    if (!json_enter(json, '{'))
        return mistake_at(mistake, json->at, "headers are an object of names and values, or an array of headers");
    while (json_next_member(json, &key)) {
        struct text name = {NULL, 0, 0}, bytes = {NULL, 0, 0};
        esrpc_header header = {.type = type_of_value(json)};
        const uint8_t *at = key.at;
        bool good = take_text(&key, &name, mistake);
        if (good && header.type < 0)
            good = mistake_at(mistake, json->at, "the value of a header is a string, a number or a bool here");
        good = good && take_header_value(json, &header, &bytes, mistake);
        header.name = text_bytes(&name);
        if (good && esrpc_headers_add(headers, &header, 1) != ESRPC_OK)
            good = mistake_at(mistake, at, "this header cannot be sent: %s", esrpc_last_error_message());
        free(name.data);
        free(bytes.data);
        if (!good) return false;
    }
    return true;
}

/* --- To JSON --- */

static void add_text_member(struct text *text, const char *name, esrpc_bytes bytes)
{
    bool is_text = is_utf8(bytes);
    text_print(text, "\"%s%s\":", name, is_text ? "" : "_base64");
    if (is_text) {
        text_add_string(text, bytes);
    } else {
        text_add(text, "\"", 1);
        text_add_base64(text, bytes);
        text_add(text, "\"", 1);
    }
}

void text_add_payload(struct text *text, esrpc_bytes payload)
{
    add_text_member(text, "payload", payload);
}

static void add_header(struct text *text, const esrpc_header *header)
{
    char uuid[37] = "";
    text_add(text, "{", 1);
    add_text_member(text, "name", header->name);
    text_print(text, ",\"type\":\"%s\",", header_type_name(header->type));
    switch (header->type) {
    case ESRPC_HEADER_TYPE_BOOL_TRUE:
    case ESRPC_HEADER_TYPE_BOOL_FALSE:
        text_print(text, "\"value\":%s", header->number != 0 ? "true" : "false");
        break;
    case ESRPC_HEADER_TYPE_BYTE_BUF:
        text_print(text, "\"value\":\"");
        text_add_base64(text, header->bytes);
        text_add(text, "\"", 1);
        break;
    case ESRPC_HEADER_TYPE_STRING:
        add_text_member(text, "value", header->bytes);
        break;
    case ESRPC_HEADER_TYPE_UUID:
        esrpc_uuid_to_text(header->bytes.data, uuid, sizeof uuid);
        text_print(text, "\"value\":\"%s\"", uuid);
        break;
    default:
        text_print(text, "\"value\":%lld", (long long)header->number);
        break;
    }
    text_add(text, "}", 1);
}

static bool is_protocol_header(const esrpc_header *header)
{
    return esrpc_bytes_equal(header->name, esrpc_text(":message-type")) ||
           esrpc_bytes_equal(header->name, esrpc_text(":message-flags")) ||
           esrpc_bytes_equal(header->name, esrpc_text(":stream-id"));
}

void text_add_headers(struct text *text, const esrpc_headers *headers, bool all)
{
    esrpc_header header;
    bool first = true;
    text_print(text, "\"headers\":[");
    for (size_t i = 0; esrpc_headers_get(headers, i, &header) == ESRPC_OK; i++) {
        if (!all && is_protocol_header(&header)) continue;
        if (!first) text_add(text, ",", 1);
        first = false;
        add_header(text, &header);
    }
    text_add(text, "]", 1);
}

void text_add_message(struct text *text, const esrpc_message *message)
{
    int32_t type = esrpc_message_get_type(message);
    const char *name = message_type_name(type);
    if (name != NULL) text_print(text, "{\"type\":\"%s\",", name);
    else text_print(text, "{\"type\":%ld,", (long)type);
    text_print(text, "\"flags\":%ld,", (long)esrpc_message_get_flags(message));
    text_add_headers(text, esrpc_message_get_headers(message), false);
    text_add(text, ",", 1);
    text_add_payload(text, esrpc_message_get_payload(message));
    text_add(text, "}\n", 2);
}
