/* Reads the JSON file of esrpc-serve; see serve.h. */
#include "serve.h"

#include <stdlib.h>

/* Which of the names a member has; notes it in `seen`, and that it comes twice as a mistake. */
static bool take_name(struct json key, const char *const *names, size_t count, size_t *out_index, uint32_t *seen,
                      struct mistake *mistake)
{
    const size_t index = find_name(key, names, count);
    if (index == count) {
        struct text all = {NULL, 0, 0};
        for (size_t i = 0; i < count; i++) text_print(&all, "%s%s", i == 0 ? "" : ", ", names[i]);
        struct text given = {NULL, 0, 0};
        struct json name = key;
        take_text(&name, &given, mistake);
        mistake_at(mistake, key.at, "there is no member \"%.*s\" here; these are: %.*s", given.len < 40 ? (int)given.len : 40,
                   given.len > 0 ? given.data : "", (int)all.len, all.data);
        free(given.data);
        free(all.data);
        return false;
    }
    if (*seen >> index & 1) return mistake_at(mistake, key.at, "%s is given twice", names[index]);
    *seen |= (uint32_t)1 << index;
    *out_index = index;
    return true;
}

static bool take_bool(struct json *json, bool *out, struct mistake *mistake)
{
    *out = json_take_word(json, "true");
    return *out || json_take_word(json, "false") || mistake_at(mistake, json->at, "true or false is needed here");
}

static bool take_u32(struct json *json, uint32_t max, uint32_t *out, struct mistake *mistake)
{
    int64_t number = 0;
    if (!json_take_integer(json, 0, max, &number))
        return mistake_at(mistake, json->at, "a whole number from 0 to %lu is needed here", (unsigned long)max);
    *out = (uint32_t)number;
    return true;
}

static bool set_content_type(struct reply *reply)
{
    esrpc_header header;
    const esrpc_bytes name = esrpc_text(":content-type");
    return esrpc_headers_find(reply->headers, name, &header) == ESRPC_OK ||
           esrpc_headers_add_string(reply->headers, name, esrpc_text("application/json")) == ESRPC_OK;
}

/* {"type": "...", "message": "..."}, both optional, in the form that generated clients expect. */
static bool take_error(struct json *json, struct reply *reply, struct mistake *mistake)
{
    static const char *const names[] = {"type", "message"};
    struct text type = {NULL, 0, 0}, sentence = {NULL, 0, 0};
    struct json key;
    uint32_t seen = 0;
    const uint8_t *at = json->at;
    bool good = json_enter(json, '{') || mistake_at(mistake, json->at, "an error is an object with type and message");
    while (good && json_next_member(json, &key)) {
        size_t name = 0;
        good = take_name(key, names, 2, &name, &seen, mistake) && take_text(json, name == 0 ? &type : &sentence, mistake);
    }
    if (good) {
        reply->type = ESRPC_MESSAGE_TYPE_APPLICATION_ERROR;
        reply->flags = ESRPC_MESSAGE_FLAG_TERMINATE_STREAM;
        text_print(&reply->payload, "{\"message\":");
        text_add_string(&reply->payload, text_bytes(&sentence));
        text_add(&reply->payload, "}", 1);
        if (type.len > 0 &&
            esrpc_headers_add_string(reply->headers, esrpc_text("service-model-type"), text_bytes(&type)) != ESRPC_OK)
            good = mistake_at(mistake, at, "the type of this error is too long");
        set_content_type(reply);
    }
    free(type.data);
    free(sentence.data);
    return good;
}

/* The value as it stands in the file, without the space around it. */
static void take_as_it_is(struct json *json, struct text *out)
{
    const uint8_t *start = json->at, *end;
    json_take_value(json, 1);
    for (end = json->at; end > start && memchr(" \t\r\n", end[-1], 4) != NULL;) end--;
    text_add(out, start, (size_t)(end - start));
}

static bool take_base64_payload(struct json *json, struct reply *reply, struct mistake *mistake)
{
    struct text base64 = {NULL, 0, 0};
    const uint8_t *at = json->at;
    bool good = take_text(json, &base64, mistake);
    if (good && !decode_base64(text_bytes(&base64), &reply->payload)) good = mistake_at(mistake, at, "this string is not base64");
    free(base64.data);
    return good;
}

/* The flags of a reply that does not give its own. */
enum { DEFAULT_FLAGS = INT32_MIN };

/* `reply` is empty, and released by the caller whether this succeeds or not. */
static bool take_reply(struct json *json, struct reply *reply, struct mistake *mistake)
{
    static const char *const names[] = {"headers", "text", "json", "base64", "echo", "error", "type", "flags", "delay_ms", "times"};
    enum { HEADERS, TEXT, JSON, BASE64, ECHO, ERROR, TYPE, FLAGS, DELAY, TIMES, NAMES };
    enum { PAYLOADS = 1 << TEXT | 1 << JSON | 1 << BASE64 | 1 << ECHO | 1 << ERROR, DAY_MS = 24 * 60 * 60 * 1000 };
    struct json key;
    uint32_t seen = 0;
    json_skip_space(json);
    *reply = (struct reply){.headers = esrpc_headers_new(), .times = 1, .flags = DEFAULT_FLAGS};
    if (!json_enter(json, '{')) return mistake_at(mistake, json->at, "a reply is an object, such as {\"text\":\"hello\"}");
    while (json_next_member(json, &key)) {
        const uint32_t before = seen;
        int64_t number = 0;
        size_t name = 0;
        bool good = take_name(key, names, NAMES, &name, &seen, mistake);
        if (good && (1 << name & PAYLOADS) != 0 && (before & PAYLOADS) != 0)
            good = mistake_at(mistake, key.at, "a reply has only one of text, json, base64, echo and error");
        if (!good) return false;
        switch (name) {
        case HEADERS:
            good = add_headers_from_json(reply->headers, json, mistake);
            break;
        case TEXT:
            good = take_text(json, &reply->payload, mistake);
            break;
        case JSON:
            take_as_it_is(json, &reply->payload);
            break;
        case BASE64:
            good = take_base64_payload(json, reply, mistake);
            break;
        case ECHO:
            good = take_bool(json, &reply->is_echo, mistake);
            break;
        case ERROR:
            good = take_error(json, reply, mistake);
            break;
        case TYPE:
            good = take_message_type(json, &number, mistake);
            if (good && number != ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE && number != ESRPC_MESSAGE_TYPE_APPLICATION_ERROR)
                good = mistake_at(mistake, key.at, "only APPLICATION_MESSAGE and APPLICATION_ERROR can be sent on a stream");
            reply->type = (int32_t)number;
            break;
        case FLAGS:
            if (!json_take_integer(json, 0, INT32_MAX, &number))
                good = mistake_at(mistake, json->at, "flags are a whole number, such as 2 for the end of the stream");
            reply->flags = (int32_t)number;
            break;
        case DELAY:
            good = take_u32(json, DAY_MS, &reply->delay_ms, mistake);
            break;
        default:
            good = take_u32(json, INT32_MAX, &reply->times, mistake);
            break;
        }
        if (!good) return false;
    }
    if ((seen >> JSON & 1) != 0) set_content_type(reply);
    return true;
}

static void free_replies(struct replies *replies)
{
    for (size_t i = 0; i < replies->count; i++) {
        esrpc_headers_release(replies->items[i].headers);
        free(replies->items[i].payload.data);
    }
    free(replies->items);
}

static struct reply *add_reply(struct replies *replies)
{
    replies->items = reallocate(replies->items, (replies->count + 1) * sizeof *replies->items);
    memset(&replies->items[replies->count], 0, sizeof *replies->items);
    return &replies->items[replies->count++];
}

static bool take_replies(struct json *json, struct replies *replies, struct mistake *mistake)
{
    if (!json_enter(json, '[')) return mistake_at(mistake, json->at, "replies are an array");
    while (json_next_element(json)) {
        struct reply *reply = add_reply(replies);
        if (!take_reply(json, reply, mistake)) return false;
        replies->has_echo = replies->has_echo || reply->is_echo;
    }
    return true;
}

static bool take_operation(struct json *json, struct operation *operation, struct mistake *mistake)
{
    static const char *const names[] = {"replies", "error", "on_message", "keep_open"};
    enum { REPLIES, ERROR, ON_MESSAGE, KEEP_OPEN, NAMES };
    struct json key;
    uint32_t seen = 0;
    bool good = true, is_kept_open = false;
    json_skip_space(json);
    if (json->at < json->end && *json->at == '[') {
        good = take_replies(json, &operation->first, mistake);
    } else if (!json_enter(json, '{')) {
        return mistake_at(mistake, json->at, "an operation is an object with replies or an error, or an array of replies");
    } else {
        while (good && json_next_member(json, &key)) {
            size_t name = 0;
            good = take_name(key, names, NAMES, &name, &seen, mistake);
            if (good && name <= ERROR && (seen & 3) == 3)
                good = mistake_at(mistake, key.at, "an operation has either replies or an error");
            if (!good) break;
            if (name == REPLIES) {
                good = take_replies(json, &operation->first, mistake);
            } else if (name == ON_MESSAGE) {
                good = take_replies(json, &operation->later, mistake);
            } else if (name == KEEP_OPEN) {
                good = take_bool(json, &is_kept_open, mistake);
            } else {
                struct reply *reply = add_reply(&operation->first);
                *reply = (struct reply){.headers = esrpc_headers_new(), .times = 1};
                good = take_error(json, reply, mistake);
            }
        }
    }
    struct replies *lists[] = {&operation->first, &operation->later};
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < lists[i]->count; j++) {
            struct reply *reply = &lists[i]->items[j];
            bool is_last = i == 0 && j + 1 == lists[i]->count && !is_kept_open;
            if (reply->flags != DEFAULT_FLAGS) continue;
            reply->flags = is_last ? ESRPC_MESSAGE_FLAG_TERMINATE_STREAM : ESRPC_MESSAGE_FLAG_NONE;
        }
    }
    return good;
}

static bool take_connect(struct json *json, struct script *script, struct mistake *mistake)
{
    static const char *const names[] = {"accept", "headers", "token", "reply"};
    enum { ACCEPT, HEADERS, TOKEN, REPLY, NAMES };
    struct json key;
    uint32_t seen = 0;
    bool good = json_enter(json, '{') || mistake_at(mistake, json->at, "connect is an object");
    while (good && json_next_member(json, &key)) {
        size_t name = 0;
        good = take_name(key, names, NAMES, &name, &seen, mistake);
        if (!good) break;
        if (name == ACCEPT) good = take_bool(json, &script->accepts, mistake);
        if (name == HEADERS) good = add_headers_from_json(script->required, json, mistake);
        if (name == TOKEN) good = take_text(json, &script->token, mistake);
        if (name == REPLY) {
            esrpc_headers_release(script->ack.headers);
            good = take_reply(json, &script->ack, mistake);
        }
    }
    script->has_token = (seen >> TOKEN & 1) != 0;
    return good;
}

static bool take_operations(struct json *json, struct script *script, struct mistake *mistake)
{
    struct json key;
    bool good = json_enter(json, '{') || mistake_at(mistake, json->at, "operations are an object of names and operations");
    while (good && json_next_member(json, &key)) {
        const uint8_t *at = key.at;
        struct operation *operation;
        script->operations = reallocate(script->operations, (script->operation_count + 1) * sizeof *operation);
        operation = &script->operations[script->operation_count];
        memset(operation, 0, sizeof *operation);
        good = take_text(&key, &operation->name, mistake);
        /* Before it counts. */
        if (good && find_operation(script, text_bytes(&operation->name)) != NULL)
            good = mistake_at(mistake, at, "this operation is given twice");
        script->operation_count++;
        good = good && take_operation(json, operation, mistake);
    }
    return good;
}

bool read_script(esrpc_bytes text, struct script *script, struct mistake *mistake)
{
    static const char *const names[] = {"connect", "operations"};
    struct json json = {text.data, text.data + text.len}, key;
    uint32_t seen = 0;
    *script = (struct script){.accepts = true, .required = esrpc_headers_new(), .ack = {.headers = esrpc_headers_new()}};
    if (!check_json(text, mistake)) return false;
    if (!json_enter(&json, '{')) return mistake_at(mistake, json.at, "the file has to hold an object with the member operations");
    while (json_next_member(&json, &key)) {
        size_t name = 0;
        if (!take_name(key, names, 2, &name, &seen, mistake)) return false;
        if (name == 0 ? !take_connect(&json, script, mistake) : !take_operations(&json, script, mistake)) return false;
    }
    return true;
}

void free_script(struct script *script)
{
    for (size_t i = 0; i < script->operation_count; i++) {
        free(script->operations[i].name.data);
        free_replies(&script->operations[i].first);
        free_replies(&script->operations[i].later);
    }
    free(script->operations);
    esrpc_headers_release(script->required);
    esrpc_headers_release(script->ack.headers);
    free(script->ack.payload.data);
    free(script->token.data);
}

const struct operation *find_operation(const struct script *script, esrpc_bytes name)
{
    for (size_t i = 0; i < script->operation_count; i++)
        if (esrpc_bytes_equal(name, text_bytes(&script->operations[i].name))) return &script->operations[i];
    return NULL;
}
