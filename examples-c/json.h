/* A small JSON reader: is a text valid JSON, and which string stands at a member of an object in it?
 * It reads in place, allocates nothing and goes JSON_MAX_DEPTH deep, so that no input can exhaust the stack. */
#ifndef EXAMPLES_JSON_H
#define EXAMPLES_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { JSON_MAX_DEPTH = 64, JSON_END_OF_STRING = -1, JSON_INVALID = -2 };

/* The text not yet read. */
struct json {
    const uint8_t *at;
    const uint8_t *end;
};

static inline void json_skip_space(struct json *json)
{
    while (json->at < json->end && (*json->at == ' ' || *json->at == '\t' || *json->at == '\n' || *json->at == '\r'))
        json->at++;
}

/* Reads `byte`, if it comes next. */
static inline bool json_take(struct json *json, char byte)
{
    if (json->at == json->end || *json->at != (uint8_t)byte) return false;
    json->at++;
    return true;
}

static inline bool json_take_word(struct json *json, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(json->end - json->at) < len || memcmp(json->at, word, len) != 0) return false;
    json->at += len;
    return true;
}

static inline bool json_take_digits(struct json *json)
{
    const uint8_t *start = json->at;
    while (json->at < json->end && *json->at >= '0' && *json->at <= '9') json->at++;
    return json->at > start;
}

static inline bool json_take_number(struct json *json)
{
    json_take(json, '-');
    if (!json_take(json, '0') && !json_take_digits(json)) return false;
    if (json_take(json, '.') && !json_take_digits(json)) return false;
    if (json_take(json, 'e') || json_take(json, 'E')) {
        if (!json_take(json, '+')) json_take(json, '-');
        return json_take_digits(json);
    }
    return true;
}

/* The rest of an escape, whose backslash was read: its UTF-16 unit, or JSON_INVALID. */
static inline int32_t json_next_escape(struct json *json)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    int32_t unit = 0;
    if (json->at == json->end) return JSON_INVALID;
    uint8_t name = *json->at++;
    const char *found = memchr(names, name, sizeof names - 1);
    if (found != NULL) return meanings[found - names];
    if (name != 'u' || json->end - json->at < 4) return JSON_INVALID;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef";
        uint8_t digit = *json->at++;
        if (digit >= 'A' && digit <= 'F') digit = (uint8_t)(digit - 'A' + 'a');
        found = memchr(digits, digit, sizeof digits - 1);
        if (found == NULL) return JSON_INVALID;
        unit = unit * 16 + (int32_t)(found - digits);
    }
    return unit;
}

/* The rest of a UTF-8 sequence that began with `lead`: its code point, or JSON_INVALID (also if it is overlong, a
 * surrogate or too high). */
static inline int32_t json_next_utf8(struct json *json, uint8_t lead)
{
    int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    static const int32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (lead < 0xc2 || lead > 0xf4 || json->end - json->at < more) return JSON_INVALID;
    int32_t code = lead & (0x3f >> more);
    for (int i = 0; i < more; i++) {
        if ((*json->at & 0xc0) != 0x80) return JSON_INVALID;
        code = code << 6 | (*json->at++ & 0x3f);
    }
    if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return JSON_INVALID;
    return code;
}

/* The next character of a string whose opening quote was read, JSON_END_OF_STRING at its closing one. */
static inline int32_t json_next_char(struct json *json)
{
    if (json->at == json->end) return JSON_INVALID;
    uint8_t byte = *json->at++;
    if (byte == '"') return JSON_END_OF_STRING;
    if (byte == '\\') return json_next_escape(json);
    if (byte < 0x20) return JSON_INVALID;
    return byte < 0x80 ? byte : json_next_utf8(json, byte);
}

static inline bool json_take_string(struct json *json)
{
    int32_t next;
    if (!json_take(json, '"')) return false;
    while ((next = json_next_char(json)) >= 0) continue;
    return next == JSON_END_OF_STRING;
}

/* A value, with the space around it. */
static inline bool json_take_value(struct json *json, int depth)
{
    bool valid = false;
    json_skip_space(json);
    if (json->at == json->end || depth == JSON_MAX_DEPTH) return false;
    uint8_t first = *json->at;
    if (first == '{' || first == '[') {
        const char close = first == '{' ? '}' : ']';
        json->at++;
        json_skip_space(json);
        valid = json_take(json, close);
        while (!valid) {
            if (first == '{') {
                json_skip_space(json);
                if (!json_take_string(json)) return false;
                json_skip_space(json);
                if (!json_take(json, ':')) return false;
            }
            if (!json_take_value(json, depth + 1)) return false;
            valid = json_take(json, close);
            if (!valid && !json_take(json, ',')) return false;
        }
    } else if (first == '"') {
        valid = json_take_string(json);
    } else {
        valid = json_take_word(json, "null") || json_take_word(json, "true") || json_take_word(json, "false") ||
                json_take_number(json);
    }
    json_skip_space(json);
    return valid;
}

static inline bool json_is_valid(const uint8_t *data, size_t len)
{
    struct json json = {data, data + len};
    return len > 0 && json_take_value(&json, 0) && json.at == json.end;
}

/* Reads a string and says whether it is `text`, which is ASCII; with `any_case` also in other letters. */
static inline bool json_take_string_equal(struct json *json, const char *text, bool any_case)
{
    bool equal = json_take(json, '"');
    int32_t next = JSON_INVALID;
    while (equal && (next = json_next_char(json)) >= 0) {
        if (any_case && next >= 'A' && next <= 'Z') next += 'a' - 'A';
        equal = *text != '\0' && next == *text++;
    }
    return equal && next == JSON_END_OF_STRING && *text == '\0';
}

/* Moves `json` from an object to the value of its member `name` (of repeated ones the last). The text is valid JSON. */
static inline bool json_enter_member(struct json *json, const char *name)
{
    struct json found = {NULL, json->end};
    json_skip_space(json);
    if (!json_take(json, '{')) return false;
    for (;;) {
        json_skip_space(json);
        struct json key = *json;
        if (!json_take_string(json)) break;
        json_skip_space(json);
        if (!json_take(json, ':')) break;
        json_skip_space(json);
        if (json_take_string_equal(&key, name, false)) found.at = json->at;
        if (!json_take_value(json, 1) || !json_take(json, ',')) break;
    }
    *json = found;
    return found.at != NULL;
}

/* Writes `text` as the inside of a JSON string, what is not UTF-8 as '?'; `out` holds 6 * len + 1 bytes. Says how many
 * it used. */
static inline size_t json_escape(const uint8_t *data, size_t len, char *out)
{
    struct json text = {data, data + len};
    size_t used = 0;
    while (text.at < text.end) {
        const uint8_t *start = text.at++;
        if (*start < 0x20) {
            used += (size_t)sprintf(out + used, "\\u%04x", *start);
        } else if (*start >= 0x80 && json_next_utf8(&text, *start) == JSON_INVALID) {
            text.at = start + 1;
            out[used++] = '?';
        } else {
            if (*start == '"' || *start == '\\') out[used++] = '\\';
            memcpy(out + used, start, (size_t)(text.at - start));
            used += (size_t)(text.at - start);
        }
    }
    return used;
}

#endif
