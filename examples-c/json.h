/* A small JSON reader: whether a text is valid JSON, where it is not, and its members, elements and values one by one.
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
    if (name != 'u' || json->end - json->at < 4) {
        json->at--;
        return JSON_INVALID;
    }
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef";
        uint8_t digit = *json->at++;
        if (digit >= 'A' && digit <= 'F') digit = (uint8_t)(digit - 'A' + 'a');
        found = memchr(digits, digit, sizeof digits - 1);
        if (found == NULL) {
            json->at--;
            return JSON_INVALID;
        }
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
    if (byte < 0x20) {
        json->at--;
        return JSON_INVALID;
    }
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

/* The line and the column of `at` in a text that begins at `start`, both from 1; columns count characters, not bytes. */
static inline void json_locate(const uint8_t *start, const uint8_t *at, size_t *out_line, size_t *out_column)
{
    *out_line = *out_column = 1;
    for (; start < at; start++) {
        if (*start == '\n') {
            ++*out_line;
            *out_column = 1;
        } else if ((*start & 0xc0) != 0x80) {
            ++*out_column;
        }
    }
}

/* The functions from here to json_take_integer walk through a text that is valid JSON, as json_take_value has found.
 *
 * Enters an object ('{') or an array ('['); false if the value is something else, at which `json` stays. */
static inline bool json_enter(struct json *json, char open)
{
    json_skip_space(json);
    return json_take(json, open);
}

/* In an object: moves to the value of the next member, which the caller has to take; false at the end of the object. */
static inline bool json_next_member(struct json *json, struct json *out_key)
{
    json_skip_space(json);
    json_take(json, ',');
    json_skip_space(json);
    if (json_take(json, '}')) return false;
    *out_key = *json;
    if (!json_take_string(json)) return false;
    json_skip_space(json);
    if (!json_take(json, ':')) return false;
    json_skip_space(json);
    return true;
}

/* In an array: moves to the next element, which the caller has to take; false at the end of the array. */
static inline bool json_next_element(struct json *json)
{
    json_skip_space(json);
    json_take(json, ',');
    json_skip_space(json);
    return json->at < json->end && !json_take(json, ']');
}

/* Reads a string as UTF-8 into `out`, which has room for as many bytes as the string has in the text. False if it is
 * something else or holds half a surrogate pair. */
static inline bool json_take_text(struct json *json, uint8_t *out, size_t *out_len)
{
    int32_t next, high = 0;
    size_t len = 0;
    json_skip_space(json);
    if (!json_take(json, '"')) return false;
    while ((next = json_next_char(json)) >= 0) {
        bool is_low = next >= 0xdc00 && next <= 0xdfff;
        if (is_low != (high != 0)) return false;
        if (next >= 0xd800 && next <= 0xdbff) {
            high = next;
            continue;
        }
        if (is_low) next = 0x10000 + ((high - 0xd800) << 10) + (next - 0xdc00);
        high = 0;
        int more = next < 0x80 ? 0 : next < 0x800 ? 1 : next < 0x10000 ? 2 : 3;
        static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
        out[len++] = (uint8_t)(lead[more] | next >> 6 * more);
        while (more-- > 0) out[len++] = (uint8_t)(0x80 | (next >> 6 * more & 0x3f));
    }
    *out_len = len;
    return next == JSON_END_OF_STRING && high == 0;
}

/* Reads a number without fraction and exponent that is at least `min` and at most `max`. */
static inline bool json_take_integer(struct json *json, int64_t min, int64_t max, int64_t *out_number)
{
    json_skip_space(json);
    struct json rest = *json;
    bool negative = json_take(&rest, '-');
    int64_t number = 0;
    const uint8_t *first = rest.at;
    for (; rest.at < rest.end && *rest.at >= '0' && *rest.at <= '9'; rest.at++) {
        int digit = *rest.at - '0';
        /* Counted downwards, since the lowest number has no positive counterpart. */
        if (number < (INT64_MIN + digit) / 10) return false;
        number = number * 10 - digit;
    }
    if (rest.at == first) return false;
    if (rest.at < rest.end && (*rest.at == '.' || *rest.at == 'e' || *rest.at == 'E')) return false;
    if (!negative && number == INT64_MIN) return false;
    if (!negative) number = -number;
    if (number < min || number > max) return false;
    *json = rest;
    *out_number = number;
    return true;
}

/* Whether a terminal may obey the character: those below the space, DEL, and the second set of them, as in ISO 6429. */
static inline bool json_is_control(int32_t code)
{
    return code < ' ' || (code >= 0x7f && code < 0xa0);
}

/* Writes `text` as the inside of a JSON string, control characters as escapes and what is not UTF-8 as '?'; `out` holds
 * 6 * len + 1 bytes. Says how many it used. */
static inline size_t json_escape(const uint8_t *data, size_t len, char *out)
{
    struct json text = {data, data + len};
    size_t used = 0;
    while (text.at < text.end) {
        const uint8_t *start = text.at++;
        const int32_t code = *start < 0x80 ? *start : json_next_utf8(&text, *start);
        if (code == JSON_INVALID) {
            text.at = start + 1;
            out[used++] = '?';
        } else if (json_is_control(code)) {
            used += (size_t)sprintf(out + used, "\\u%04x", (unsigned)code);
        } else {
            if (*start == '"' || *start == '\\') out[used++] = '\\';
            memcpy(out + used, start, (size_t)(text.at - start));
            used += (size_t)(text.at - start);
        }
    }
    return used;
}

#endif
