//! The server of the recorded transcripts, with our library: what tests/data/vectors/README.md says it does, on the
//! operations of the public echo test service, and what a Greengrass nucleus answers to the two recorded clients.

use super::recorder::*;
use eventstream_rpc::ffi::connection::*;
use eventstream_rpc::ffi::constants::esrpc_message_flag::*;
use eventstream_rpc::ffi::constants::esrpc_message_type::*;
use eventstream_rpc::ffi::headers::*;
use eventstream_rpc::ffi::headers_add::esrpc_headers_add_from;
use eventstream_rpc::ffi::headers_get::esrpc_headers_get_string;
use eventstream_rpc::ffi::listener::*;
use eventstream_rpc::ffi::listener_options::*;
use eventstream_rpc::ffi::message::esrpc_message;
use eventstream_rpc::ffi::status::esrpc_status;
use eventstream_rpc::ffi::stream::*;
use serde_json::{Value, json};
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

pub const APPLICATION_MESSAGE: i32 = ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE as i32;
pub const APPLICATION_ERROR: i32 = ESRPC_MESSAGE_TYPE_APPLICATION_ERROR as i32;
pub const PING: i32 = ESRPC_MESSAGE_TYPE_PING as i32;
pub const PING_RESPONSE: i32 = ESRPC_MESSAGE_TYPE_PING_RESPONSE as i32;
pub const CONNECT: i32 = ESRPC_MESSAGE_TYPE_CONNECT as i32;
pub const CONNECT_ACK: i32 = ESRPC_MESSAGE_TYPE_CONNECT_ACK as i32;
pub const INTERNAL_ERROR: i32 = ESRPC_MESSAGE_TYPE_INTERNAL_ERROR as i32;
pub const TERMINATE_STREAM: i32 = ESRPC_MESSAGE_FLAG_TERMINATE_STREAM as i32;
pub const CONNECTION_ACCEPTED: i32 = ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED as i32;

/// What a refused stream is sent.
pub const REFUSAL_HEADERS: [(&str, &str); 1] = [(":content-type", "text/plain")];
pub const REFUSAL: &[u8] = b"refused";

/// Listens for one connection and records its callbacks.
pub struct EchoService {
    listener: *mut esrpc_listener,
    pub recorder: Arc<Recorder>,
}

impl EchoService {
    pub fn start(runtime: &Runtime) -> EchoService {
        let recorder = Arc::new(Recorder::default());
        let callbacks = esrpc_listener_callbacks {
            struct_size: size_of::<esrpc_listener_callbacks>(),
            on_incoming_connection: Some(on_incoming_connection),
            on_failed_connection: None,
            on_closed: None,
            on_destroy: Some(on_listener_destroy),
        };
        let mut listener = ptr::null_mut();
        // SAFETY: the options are live until they are released; the listener's on_destroy gives the recorder back.
        unsafe {
            let options = esrpc_listener_options_new();
            assert_eq!(esrpc_listener_options_set_host(options.as_mut(), lend(b"127.0.0.1"), 0), OK);
            assert_eq!(esrpc_listener_options_set_runtime(options.as_mut(), runtime.0), OK);
            assert_eq!(esrpc_listener_listen(options.as_ref(), &callbacks, recorder.to_user_data(), &mut listener), OK);
            esrpc_listener_options_release(options);
        }
        EchoService { listener, recorder }
    }

    pub fn port(&self) -> u16 {
        // SAFETY: a live handle.
        unsafe { esrpc_listener_get_port(self.listener) }.try_into().expect("a port")
    }
}

impl Drop for EchoService {
    fn drop(&mut self) {
        // SAFETY: a live handle, released once.
        unsafe {
            esrpc_listener_close(self.listener);
            esrpc_listener_release(self.listener);
        }
    }
}

unsafe extern "C" fn on_listener_destroy(user_data: *mut c_void) {
    // SAFETY: the last callback of the listener that got it.
    unsafe { Recorder::drop_user_data(user_data) }
}

unsafe extern "C" fn on_incoming_connection(
    _: *mut esrpc_listener,
    connection: *mut esrpc_connection,
    user_data: *mut c_void,
) {
    let callbacks = esrpc_connection_callbacks {
        struct_size: size_of::<esrpc_connection_callbacks>(),
        on_setup: None,
        on_protocol_message: Some(on_protocol_message),
        on_incoming_stream: Some(on_incoming_stream),
        on_writable: None,
        on_shutdown: Some(on_shutdown),
        on_destroy: Some(on_connection_destroy),
    };
    // SAFETY: a recorder; the connection is lent, and its on_destroy gives the new reference back.
    unsafe {
        let recorder = Recorder::share(user_data);
        recorder.note("new_connection");
        note_failure(&recorder, esrpc_connection_accept(connection, &callbacks, recorder.to_user_data()));
    }
}

unsafe extern "C" fn on_shutdown(_: *mut esrpc_connection, reason: esrpc_status, user_data: *mut c_void) {
    // SAFETY: a recorder.
    unsafe { Recorder::of(user_data) }.note(format!("shutdown {}", status_name(reason)));
}

unsafe extern "C" fn on_connection_destroy(user_data: *mut c_void) {
    // SAFETY: the last callback of the connection that got it.
    unsafe {
        Recorder::of(user_data).note("destroyed");
        Recorder::drop_user_data(user_data);
    }
}

/// Sends that failed appear among the events.
fn note_failure(recorder: &Recorder, status: esrpc_status) {
    if status != OK {
        recorder.note(format!("answer {}", status_name(status)));
    }
}

unsafe extern "C" fn on_protocol_message(
    connection: *mut esrpc_connection,
    message: *const esrpc_message,
    user_data: *mut c_void,
) {
    // SAFETY: a recorder, and a message that lives during the callback.
    let (recorder, seen) = unsafe { (Recorder::of(user_data), Seen::of(message)) };
    let (name, payload_len) = (type_name(seen.message_type), seen.payload.len());
    recorder.note(format!(
        "protocol_message {name} flags={} payload_len={payload_len} headers={}",
        seen.shown_flags(),
        seen.header_count
    ));
    let send = |message_type, flags, headers: &HeaderList, payload: &[u8]| {
        // SAFETY: the connection is lent; headers and payload live during the call.
        note_failure(recorder, unsafe {
            esrpc_connection_send_protocol_message(
                connection,
                message_type,
                flags,
                headers.0.as_ref(),
                lend(payload),
                None,
                ptr::null_mut(),
            )
        });
    };
    match seen.message_type {
        CONNECT if string_header(&seen, "no-ack").is_some() => recorder.note("not_acking"),
        CONNECT if accepts(&seen) => send(CONNECT_ACK, CONNECTION_ACCEPTED, &HeaderList::new(), b""),
        CONNECT => send(CONNECT_ACK, 0, &HeaderList::new(), b""),
        PING => send(PING_RESPONSE, 0, &headers_to_echo(&seen), seen.payload),
        PING_RESPONSE => {}
        _ => {
            let headers = HeaderList::with_strings(&[(":content-type", "application/json")]);
            send(INTERNAL_ERROR, 0, &headers, br#"{"message":"unexpected message type"}"#);
            // SAFETY: the connection is lent.
            note_failure(recorder, unsafe { esrpc_connection_close(connection, OK) });
        }
    }
}

fn accepts(connect: &Seen<'_>) -> bool {
    let has_name = match string_header(connect, "client-name") {
        Some(name) => name.starts_with("accepted."),
        // A Greengrass client shows a token instead of a name.
        None => serde_json::from_slice::<Value>(connect.payload).is_ok_and(|payload| payload["authToken"].is_string()),
    };
    has_name && string_header(connect, ":version").as_deref() == Some("0.1.0")
}

fn string_header(seen: &Seen<'_>, name: &str) -> Option<String> {
    let mut value = lend(b"");
    // SAFETY: the list lives as long as `seen`.
    unsafe {
        let status = esrpc_headers_get_string(seen.headers.as_ref(), lend(name.as_bytes()), &mut value);
        (status == OK).then(|| String::from_utf8_lossy(borrow(value)).into_owned())
    }
}

/// All headers but those whose names start with ":".
fn headers_to_echo(seen: &Seen<'_>) -> HeaderList {
    let list = HeaderList::new();
    // SAFETY: both lists are live; a name is read before the list changes.
    unsafe {
        assert_eq!(esrpc_headers_add_from(list.0, seen.headers, false.into()), OK);
        for index in (0..esrpc_headers_count(list.0.as_ref())).rev() {
            let empty = lend(b"");
            let mut header = esrpc_header { name: empty, r#type: 0, reserved: 0, number: 0, bytes: empty };
            assert_eq!(esrpc_headers_get(list.0.as_ref(), index, &mut header), OK);
            if borrow(header.name).starts_with(b":") {
                assert_eq!(esrpc_headers_remove_at(list.0, index), OK);
            }
        }
    }
    list
}

/// One stream's user data.
struct Call {
    recorder: Arc<Recorder>,
    operation: String,
    messages: usize,
}

unsafe extern "C" fn on_incoming_stream(
    _: *mut esrpc_connection,
    stream: *mut esrpc_stream,
    _: *const esrpc_message,
    user_data: *mut c_void,
) {
    let callbacks = esrpc_stream_callbacks {
        struct_size: size_of::<esrpc_stream_callbacks>(),
        on_message: Some(on_stream_message),
        on_writable: None,
        on_closed: Some(on_stream_closed),
        on_destroy: Some(on_stream_destroy),
    };
    // SAFETY: a recorder; the stream is lent, and its on_destroy frees the call.
    unsafe {
        let recorder = Recorder::share(user_data);
        let operation = String::from_utf8_lossy(borrow(esrpc_stream_get_operation(stream))).into_owned();
        if operation == "test#RefuseStream" {
            recorder.note("incoming_stream_refused");
            let headers = HeaderList::with_strings(&REFUSAL_HEADERS);
            note_failure(&recorder, esrpc_stream_refuse(stream, headers.0.as_ref(), lend(REFUSAL)));
            return;
        }
        recorder.note(format!("incoming_stream {operation}"));
        let call = Box::new(Call { recorder: recorder.clone(), operation, messages: 0 });
        note_failure(&recorder, esrpc_stream_accept(stream, &callbacks, Box::into_raw(call).cast()));
    }
}

unsafe extern "C" fn on_stream_message(
    stream: *mut esrpc_stream,
    message: *const esrpc_message,
    user_data: *mut c_void,
) {
    // SAFETY: the call of this stream, whose callbacks come one at a time; the message lives during the callback.
    let (call, seen) = unsafe { (&mut *user_data.cast::<Call>(), Seen::of(message)) };
    call.messages += 1;
    call.recorder.note(format!(
        "stream_message {} n={} {} flags={} payload_len={} headers={}",
        call.operation,
        call.messages,
        type_name(seen.message_type),
        seen.shown_flags(),
        seen.payload.len(),
        seen.header_count
    ));
    answer(stream, call, &seen);
}

unsafe extern "C" fn on_stream_closed(_: *mut esrpc_stream, _: esrpc_status, user_data: *mut c_void) {
    // SAFETY: the call of this stream.
    let call = unsafe { &*user_data.cast::<Call>() };
    call.recorder.note(format!("stream_closed {}", call.operation));
}

unsafe extern "C" fn on_stream_destroy(user_data: *mut c_void) {
    // SAFETY: the last callback of the stream that got it.
    drop(unsafe { Box::from_raw(user_data.cast::<Call>()) });
}

struct Reply<'a> {
    message_type: i32,
    flags: i32,
    content_type: &'a str,
    model_type: Option<&'a str>,
    payload: &'a [u8],
}

fn answer(stream: *mut esrpc_stream, call: &Call, seen: &Seen<'_>) {
    let first = call.messages == 1;
    // The client wants no answer to a stream that it ends with its first message, or with an empty one.
    if seen.flags & TERMINATE_STREAM != 0 && (first || seen.payload.is_empty()) {
        return;
    }
    let json = serde_json::from_slice::<Value>(seen.payload);
    let send = |reply: Reply<'_>| {
        let mut strings = vec![(":content-type", reply.content_type)];
        strings.extend(reply.model_type.map(|model_type| ("service-model-type", model_type)));
        let headers = HeaderList::with_strings(&strings);
        let payload = lend(reply.payload);
        // SAFETY: the stream is lent; headers and payload live during the call.
        note_failure(&call.recorder, unsafe {
            let (message_type, flags) = (reply.message_type, reply.flags);
            esrpc_stream_send_message(stream, message_type, flags, headers.0.as_ref(), payload, None, ptr::null_mut())
        });
    };
    let message = |flags, model_type: &str, payload: &[u8]| {
        let content_type = "application/json";
        let model_type = Some(model_type);
        send(Reply { message_type: APPLICATION_MESSAGE, flags, content_type, model_type, payload });
    };
    let error = |content_type: &str, model_type: Option<&str>, payload: &str| {
        let (message_type, flags) = (APPLICATION_ERROR, TERMINATE_STREAM);
        send(Reply { message_type, flags, content_type, model_type, payload: payload.as_bytes() });
    };
    let service_error = |text: &str| {
        let payload = format!(
            r#"{{"message":"{text}","_service":"awstest#EchoTestRPC","_message":"{text}","_errorCode":"ServiceError"}}"#
        );
        error("application/json", Some("awstest#ServiceError"), &payload);
    };
    match (call.operation.as_str(), first) {
        ("awstest#EchoMessage", true) if json.is_ok() => {
            message(TERMINATE_STREAM, "awstest#EchoMessageResponse", seen.payload);
        }
        ("awstest#EchoStreamMessages", true) => message(0, "awstest#EchoStreamingResponse", b"{}"),
        ("awstest#EchoStreamMessages", false) if json.is_ok() => {
            message(0, "awstest#EchoStreamingMessage", seen.payload);
            let text = json.unwrap_or(json!(null))["streamMessage"]["stringMessage"].clone();
            if text.as_str().is_some_and(|text| text.eq_ignore_ascii_case("close")) {
                // SAFETY: the stream is lent.
                note_failure(&call.recorder, unsafe { esrpc_stream_close(stream) });
            }
        }
        ("awstest#EchoMessage" | "awstest#EchoStreamMessages", _) => error("text/plain", None, "InternalServerError"),
        ("awstest#CauseServiceError", true) => service_error("Intentionally thrown ServiceError"),
        ("awstest#CauseStreamServiceToError", true) => message(0, "awstest#EchoStreamingResponse", b"{}"),
        ("awstest#CauseStreamServiceToError", false) => service_error("Intentionally caused ServiceError on stream"),
        ("awstest#GetAllProducts", true) => message(TERMINATE_STREAM, "awstest#GetAllProductsResponse", b"{}"),
        ("awstest#GetAllCustomers", true) => message(TERMINATE_STREAM, "awstest#GetAllCustomersResponse", b"{}"),
        // A nucleus leaves it to the client to end the stream.
        ("aws.greengrass#PublishToTopic", true) => message(0, "aws.greengrass#PublishToTopicResponse", b"{}"),
        (_, true) => {
            let text = format!("{} is an unsupported operation.", call.operation);
            let payload = format!(r#"{{ "error": "Unsupported Operation", "message": "{text}" }}"#);
            error("application/json", None, &payload);
        }
        (_, false) => {}
    }
}
