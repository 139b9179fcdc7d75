/* The operations of the echo service: what each answers on its stream. */
#include "echo_operations.h"

#include "common.h"
#include "json.h"

#include <stdlib.h>

/* A peer that sends requests but reads no replies is not read from while this much waits for it. */
enum { HIGH_WATER = 1024 * 1024 };

enum kind { ECHO_ONE, ECHO_STREAM, FAIL_ONE, FAIL_STREAM, ANSWER_EMPTY };

struct operation {
    const char *name;
    enum kind kind;
    const char *reply_type;
};

/* One stream's user data: freed by its on_destroy, the last callback. */
struct call {
    const struct operation *operation; /* NULL if unknown */
    bool started;
};

static const struct operation operations[] = {
    {"awstest#EchoMessage", ECHO_ONE, "awstest#EchoMessageResponse"},
    {"awstest#EchoStreamMessages", ECHO_STREAM, "awstest#EchoStreamingResponse"},
    {"awstest#CauseServiceError", FAIL_ONE, "awstest#ServiceError"},
    {"awstest#CauseStreamServiceToError", FAIL_STREAM, "awstest#EchoStreamingResponse"},
    {"awstest#GetAllProducts", ANSWER_EMPTY, "awstest#GetAllProductsResponse"},
    {"awstest#GetAllCustomers", ANSWER_EMPTY, "awstest#GetAllCustomersResponse"},
};

static const struct operation *find_operation(esrpc_bytes name)
{
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (esrpc_bytes_equal(name, esrpc_text(operations[i].name))) return &operations[i];
    return NULL;
}

void echo_after_send(esrpc_connection *connection, esrpc_status status)
{
    if (status == ESRPC_OK && esrpc_connection_get_outbound_size(connection) > HIGH_WATER)
        status = esrpc_connection_pause_reading(connection);
    if (status == ESRPC_OK || status == ESRPC_ERROR_STREAM_CLOSED || status == ESRPC_ERROR_CONNECTION_CLOSED) return;
    report("cannot answer", status, esrpc_last_error_message());
    esrpc_connection_close(connection, status);
}

void echo_on_flush(esrpc_status status, void *connection)
{
    if (status == ESRPC_OK && esrpc_connection_get_outbound_size(connection) <= HIGH_WATER)
        esrpc_connection_resume_reading(connection);
}

esrpc_headers *echo_reply_headers(const char *content_type, const char *model_type)
{
    esrpc_headers *headers = esrpc_headers_new();
    esrpc_status status = esrpc_headers_add_string(headers, esrpc_text(":content-type"), esrpc_text(content_type));
    if (status == ESRPC_OK && model_type != NULL)
        status = esrpc_headers_add_string(headers, esrpc_text("service-model-type"), esrpc_text(model_type));
    if (status == ESRPC_OK) return headers;
    report("cannot make headers", status, esrpc_last_error_message());
    esrpc_headers_release(headers);
    return NULL;
}

static void reply(esrpc_stream *stream, int32_t type, int32_t flags, const char *content_type, const char *model_type,
                  esrpc_bytes payload)
{
    esrpc_connection *connection = esrpc_stream_get_connection(stream);
    esrpc_headers *headers = echo_reply_headers(content_type, model_type);
    echo_after_send(connection,
                    esrpc_stream_send_message(stream, type, flags, headers, payload, echo_on_flush, connection));
    esrpc_headers_release(headers);
}

static void reply_json(esrpc_stream *stream, int32_t flags, const char *model_type, esrpc_bytes payload)
{
    reply(stream, ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE, flags, "application/json", model_type, payload);
}

static void reply_service_error(esrpc_stream *stream, const char *message)
{
    char payload[256];
    snprintf(payload, sizeof payload,
             "{\"message\":\"%s\",\"_service\":\"awstest#EchoTestRPC\",\"_message\":\"%s\","
             "\"_errorCode\":\"ServiceError\"}",
             message, message);
    reply(stream, ESRPC_MESSAGE_TYPE_APPLICATION_ERROR, ESRPC_MESSAGE_FLAG_TERMINATE_STREAM, "application/json",
          "awstest#ServiceError", esrpc_text(payload));
}

static void answer_first_message(esrpc_stream *stream, const struct operation *operation, esrpc_bytes payload)
{
    const esrpc_bytes empty_object = esrpc_text("{}");
    switch (operation->kind) {
    case ECHO_ONE:
        reply_json(stream, ESRPC_MESSAGE_FLAG_TERMINATE_STREAM, operation->reply_type, payload);
        break;
    case FAIL_ONE:
        reply_service_error(stream, "Intentionally thrown ServiceError");
        break;
    case ANSWER_EMPTY:
        reply_json(stream, ESRPC_MESSAGE_FLAG_TERMINATE_STREAM, operation->reply_type, empty_object);
        break;
    case ECHO_STREAM:
    case FAIL_STREAM:
        reply_json(stream, ESRPC_MESSAGE_FLAG_NONE, operation->reply_type, empty_object);
        break;
    }
}

static void answer_later_message(esrpc_stream *stream, const struct operation *operation, esrpc_bytes payload)
{
    if (operation->kind == FAIL_STREAM) {
        reply_service_error(stream, "Intentionally caused ServiceError on stream");
    } else if (operation->kind == ECHO_STREAM) {
        struct json json = {payload.data, payload.data + payload.len};
        reply_json(stream, ESRPC_MESSAGE_FLAG_NONE, "awstest#EchoStreamingMessage", payload);
        if (json_enter_member(&json, "streamMessage") && json_enter_member(&json, "stringMessage") &&
            json_take_string_equal(&json, "close", true))
            echo_after_send(esrpc_stream_get_connection(stream), esrpc_stream_close(stream));
    }
}

static void on_message(esrpc_stream *stream, const esrpc_message *message, void *user_data)
{
    struct call *call = user_data;
    esrpc_bytes payload = esrpc_message_get_payload(message);
    bool first = !call->started;
    bool terminated = (esrpc_message_get_flags(message) & ESRPC_MESSAGE_FLAG_TERMINATE_STREAM) != 0;
    call->started = true;
    /* The client wants no answer to a stream that it ends with its first message, or with an empty one. */
    if (call->operation == NULL || (terminated && (first || payload.len == 0))) return;
    if (!json_is_valid(payload.data, payload.len))
        reply(stream, ESRPC_MESSAGE_TYPE_APPLICATION_ERROR, ESRPC_MESSAGE_FLAG_TERMINATE_STREAM, "text/plain", NULL,
              esrpc_text("InternalServerError"));
    else if (first)
        answer_first_message(stream, call->operation, payload);
    else
        answer_later_message(stream, call->operation, payload);
}

static void refuse_operation(esrpc_stream *stream, esrpc_bytes name)
{
    static const char before[] = "{ \"error\": \"Unsupported Operation\", \"message\": \"";
    static const char after[] = " is an unsupported operation.\" }";
    char *payload = malloc(sizeof before + 6 * name.len + sizeof after);
    esrpc_headers *headers = echo_reply_headers("application/json", NULL);
    if (payload != NULL) {
        size_t len = sizeof before - 1;
        memcpy(payload, before, len);
        len += json_escape(name.data, name.len, payload + len);
        memcpy(payload + len, after, sizeof after);
        echo_after_send(esrpc_stream_get_connection(stream), esrpc_stream_refuse(stream, headers, esrpc_text(payload)));
    }
    esrpc_headers_release(headers);
    free(payload);
}

void echo_on_incoming_stream(esrpc_connection *connection, esrpc_stream *stream, const esrpc_message *first_message,
                             void *user_data)
{
    static const esrpc_stream_callbacks callbacks = {
        .struct_size = sizeof callbacks, .on_message = on_message, .on_destroy = free};
    esrpc_bytes name = esrpc_stream_get_operation(stream);
    const struct operation *operation = find_operation(name);
    (void)user_data;
    if (operation == NULL && !(esrpc_message_get_flags(first_message) & ESRPC_MESSAGE_FLAG_TERMINATE_STREAM)) {
        refuse_operation(stream, name);
        return;
    }
    struct call *call = calloc(1, sizeof *call);
    if (call == NULL) return; /* the library refuses what is not accepted */
    call->operation = operation;
    esrpc_status status = esrpc_stream_accept(stream, &callbacks, call);
    if (status == ESRPC_OK) return;
    free(call);
    echo_after_send(connection, status);
}
