//! The program of the recorded clients, with our library: what it did follows from its messages and its callbacks.

use super::recorder::*;
use super::transcripts::{Case, RawPeer, Side, Step, encode, strings};
use eventstream_rpc::ffi::callbacks::esrpc_flush_callback;
use eventstream_rpc::ffi::client_options::*;
use eventstream_rpc::ffi::connection::*;
use eventstream_rpc::ffi::connection_info::esrpc_connection_is_open;
use eventstream_rpc::ffi::constants::esrpc_message_flag::ESRPC_MESSAGE_FLAG_TERMINATE_STREAM;
use eventstream_rpc::ffi::constants::esrpc_stream_state::ESRPC_STREAM_STATE_CLOSED;
use eventstream_rpc::ffi::headers::*;
use eventstream_rpc::ffi::headers_add::esrpc_headers_add_from;
use eventstream_rpc::ffi::message::*;
use eventstream_rpc::ffi::status::esrpc_status;
use eventstream_rpc::ffi::stream::*;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::fmt::Write;
use std::ptr;
use std::sync::Arc;

/// A client of our library that repeats what a recorded one did.
pub struct Program<'a> {
    connection: *mut esrpc_connection,
    /// By their numbers in the recording.
    streams: BTreeMap<usize, *mut esrpc_stream>,
    stream_count: usize,
    /// The recorded messages of the client that are still to be sent.
    messages: Vec<&'a [u8]>,
    connect_sent: bool,
    recorder: Arc<Recorder>,
}

/// User data of a stream, and of a flush callback.
struct Noted {
    recorder: Arc<Recorder>,
    what: String,
}

impl Program<'_> {
    pub fn connect<'a>(case: &'a Case, port: u16, runtime: &Runtime) -> Program<'a> {
        let recorder = Arc::new(Recorder::default());
        let callbacks = esrpc_connection_callbacks {
            struct_size: size_of::<esrpc_connection_callbacks>(),
            on_setup: Some(on_setup),
            on_protocol_message: Some(on_protocol_message),
            on_incoming_stream: None,
            on_writable: None,
            on_shutdown: Some(on_shutdown),
            on_destroy: Some(on_destroy),
        };
        let mut connection = ptr::null_mut();
        // SAFETY: the options are live until they are released; the connection's on_destroy gives the recorder back.
        unsafe {
            let options = esrpc_client_options_new();
            assert_eq!(esrpc_client_options_set_host(options.as_mut(), lend(b"127.0.0.1"), port.into()), OK);
            assert_eq!(esrpc_client_options_set_runtime(options.as_mut(), runtime.0), OK);
            let user_data = recorder.to_user_data();
            assert_eq!(esrpc_connection_connect(options.as_ref(), &callbacks, user_data, &mut connection), OK);
            esrpc_client_options_release(options);
        }
        let messages = case.steps.iter().filter_map(|step| match step {
            Step::Send(Side::Client, bytes) => Some(&bytes[..]),
            _ => None,
        });
        let numbers = case.client_events.iter().filter_map(|event| {
            let name = event.strip_prefix("flushed activate ").or(event.strip_prefix("not sent on "))?;
            name.split(' ').next()?.parse().ok()
        });
        let stream_count = numbers.max().unwrap_or(0);
        let (messages, streams) = (messages.collect(), BTreeMap::new());
        Program { connection, streams, stream_count, messages, connect_sent: false, recorder }
    }

    pub fn wait_for_events(&self, count: usize) -> Result<(), String> {
        self.recorder.wait_until(&format!("callback {count}"), |events| events.len() >= count)
    }

    /// Does what leads to this callback, if the program caused it.
    pub fn act(&mut self, event: &str) {
        let words: Vec<&str> = event.split(' ').collect();
        match words[..] {
            ["flushed", "proto", name, _] | ["not", "sent", "proto", name, _] => self.send_protocol_message(name),
            ["flushed", "activate", number, _] | ["not", "sent", "activate", number, _] => self.activate(number),
            ["flushed", "message", number, _] => {
                let message = self.take_message(|message| !message.has_operation && message.stream_id > 0);
                self.send_on_stream(number, &message.expect("a recorded message"));
            }
            ["not", "sent", "on", number, _] => self.try_to_send_on_stream(number),
            _ => {}
        }
    }

    fn send_protocol_message(&mut self, name: &str) {
        let found = self.take_message(|message| type_name(message.message_type) == name);
        let message = found.unwrap_or_else(|| {
            let message_type = TYPE_NAMES.iter().position(|known| *known == name).expect("a type") as i32;
            Recorded::decode(&encode(&strings(&[(":version", "0.1.0")]), message_type, 1, 0, b""))
        });
        let label = format!("proto {name}");
        let connection = self.connection;
        let status = self.send(&label, |on_flush, user_data| {
            let (message_type, flags) = (message.message_type, message.flags);
            let payload = lend(&message.payload);
            // SAFETY: a live handle; headers and payload live during the call, the user data until the flush.
            unsafe {
                let headers = message.headers.0;
                esrpc_connection_send_protocol_message(
                    connection,
                    message_type,
                    flags,
                    headers.as_ref(),
                    payload,
                    on_flush,
                    user_data,
                )
            }
        });
        self.connect_sent |= name == "CONNECT" && status == OK;
        self.note_refused(&label, status);
    }

    fn activate(&mut self, number: &str) {
        let message = self.take_message(|message| message.has_operation).expect("a recorded message");
        let label = format!("activate {number}");
        let stream = match self.stream(number) {
            Ok(stream) => stream,
            Err(status) => return self.note_refused(&label, status),
        };
        let status = self.send(&label, |on_flush, user_data| {
            let (message_type, flags) = (message.message_type, message.flags);
            let (operation, payload) = (lend(&message.operation), lend(&message.payload));
            let headers = message.headers.0;
            // SAFETY: as in send_protocol_message.
            unsafe {
                esrpc_stream_activate(
                    stream,
                    operation,
                    message_type,
                    flags,
                    headers.as_ref(),
                    payload,
                    on_flush,
                    user_data,
                )
            }
        });
        self.note_refused(&label, status);
    }

    fn send_on_stream(&mut self, number: &str, message: &Recorded) {
        let stream = self.stream(number).expect("a stream");
        let label = format!("message {number}");
        let status = self.send(&label, |on_flush, user_data| {
            let (message_type, flags) = (message.message_type, message.flags);
            let (headers, payload) = (message.headers.0, lend(&message.payload));
            // SAFETY: as in send_protocol_message.
            unsafe {
                esrpc_stream_send_message(stream, message_type, flags, headers.as_ref(), payload, on_flush, user_data)
            }
        });
        self.note_refused(&label, status);
    }

    /// An ordinary message and the end of the stream have to be refused alike.
    fn try_to_send_on_stream(&mut self, number: &str) {
        let stream = self.stream(number).expect("a stream");
        let terminate = ESRPC_MESSAGE_FLAG_TERMINATE_STREAM as i32;
        for flags in [0, terminate] {
            let status = self.send("a message that is not sent", |on_flush, user_data| {
                // SAFETY: as in send_protocol_message.
                unsafe { esrpc_stream_send_message(stream, 0, flags, None, lend(b""), on_flush, user_data) }
            });
            // SAFETY: a live handle.
            let close_status = unsafe { esrpc_stream_close(stream) };
            assert_eq!(status_name(close_status), status_name(status), "closing the stream");
            if flags == terminate {
                self.note_refused(&format!("on {number}"), status);
            }
        }
    }

    /// Streams are made in another order than they are activated, which gives them their ids.
    fn stream(&mut self, number: &str) -> Result<*mut esrpc_stream, esrpc_status> {
        let number: usize = number.parse().expect("a number");
        for number in (1..=self.stream_count.max(number)).rev() {
            if self.streams.contains_key(&number) {
                continue;
            }
            let callbacks = esrpc_stream_callbacks {
                struct_size: size_of::<esrpc_stream_callbacks>(),
                on_message: Some(on_stream_message),
                on_writable: None,
                on_closed: Some(on_stream_closed),
                on_destroy: Some(drop_noted),
            };
            let mut stream = ptr::null_mut();
            let user_data = self.noted(number.to_string());
            // SAFETY: a live handle; the stream's on_destroy frees the user data, or nobody ever uses it.
            unsafe {
                let status = esrpc_connection_new_stream(self.connection, &callbacks, user_data, &mut stream);
                if status != OK {
                    drop_noted(user_data);
                    return Err(status);
                }
            }
            self.streams.insert(number, stream);
        }
        Ok(self.streams[&number])
    }

    fn noted(&self, what: String) -> *mut c_void {
        Box::into_raw(Box::new(Noted { recorder: self.recorder.clone(), what })).cast()
    }

    /// Sends with a flush callback that is recorded as `label`.
    fn send(&self, label: &str, send: impl FnOnce(esrpc_flush_callback, *mut c_void) -> esrpc_status) -> esrpc_status {
        let user_data = self.noted(label.to_owned());
        let status = send(Some(on_flush), user_data);
        if status != OK {
            // SAFETY: a send that was not accepted calls nothing back.
            unsafe { drop_noted(user_data) };
        }
        status
    }

    fn note_refused(&self, label: &str, status: esrpc_status) {
        if status != OK {
            self.recorder.note(format!("not sent {label} {}", status_name(status)));
        }
    }

    fn take_message(&mut self, wanted: impl Fn(&Recorded) -> bool) -> Option<Recorded> {
        let found = self.messages.iter().position(|message| wanted(&Recorded::decode(message)))?;
        Some(Recorded::decode(self.messages.remove(found)))
    }

    pub fn note_is_open(&self) {
        // SAFETY: a live handle.
        let is_open = unsafe { esrpc_connection_is_open(self.connection) };
        self.recorder.note(format!("is_open {is_open}"));
    }

    /// A PING gets through to the program, if need be after the rest of the handshake; the transcript does not have
    /// these.
    pub fn prove_that_it_is_open(&mut self, server: &mut RawPeer) -> Result<(), String> {
        let before = self.recorder.events().len();
        let is_acknowledged = self.recorder.events().iter().any(|event| event.starts_with("protocol_message"));
        if !self.connect_sent {
            self.messages.clear();
            self.send_protocol_message("CONNECT");
            self.expect_and_forget(before, "flushed proto CONNECT OK")?;
            let connect = server.read_message()?;
            if !connect.as_ref().is_some_and(|message| message.starts_with("CONNECT ")) {
                return Err(format!("{connect:?} instead of CONNECT"));
            }
        }
        if !is_acknowledged {
            server.write(&encode(b"", 5, 1, 0, b""))?;
            self.expect_and_forget(before, "protocol_message CONNECT_ACK flags=1")?;
        }
        server.write(&encode(b"", 2, 0, 0, b"are you there"))?;
        self.expect_and_forget(before, "protocol_message PING flags=0")
    }

    fn expect_and_forget(&self, index: usize, event: &str) -> Result<(), String> {
        self.wait_for_events(index + 1)?;
        let came = self.recorder.take_at(index);
        if came.starts_with(event) { Ok(()) } else { Err(format!("{came} instead of {event}")) }
    }

    pub fn close(&self) {
        // SAFETY: a live handle.
        assert_eq!(unsafe { esrpc_connection_close(self.connection, OK) }, OK);
    }

    /// Releases everything; returns all callbacks, none of which came after the last one.
    pub fn finish(mut self) -> Result<Vec<String>, String> {
        self.release();
        self.recorder.wait_until("end", |events| events.iter().any(|event| event == "destroyed"))?;
        let mut events = self.recorder.events();
        if events.pop().as_deref() == Some("destroyed") {
            Ok(events)
        } else {
            Err(format!("callbacks after the last one: {events:#?}"))
        }
    }

    fn release(&mut self) {
        // SAFETY: live handles, each released once.
        unsafe {
            for stream in std::mem::take(&mut self.streams).into_values() {
                esrpc_stream_release(stream);
            }
            esrpc_connection_release(std::mem::replace(&mut self.connection, ptr::null_mut()));
        }
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        if !self.connection.is_null() {
            // A failed test leaves nothing open.
            // SAFETY: a live handle.
            unsafe { esrpc_connection_abort(self.connection) };
            self.release();
        }
    }
}

/// A recorded message, with what a program gives to send it again.
struct Recorded {
    message_type: i32,
    flags: i32,
    stream_id: i32,
    has_operation: bool,
    operation: Vec<u8>,
    headers: HeaderList,
    payload: Vec<u8>,
}

impl Recorded {
    fn decode(bytes: &[u8]) -> Recorded {
        let mut message = ptr::null_mut();
        let headers = HeaderList::new();
        // SAFETY: the bytes outlive the message, which is released once, and what is read from it is copied before.
        unsafe {
            assert_eq!(esrpc_message_decode(lend(bytes), &mut message, ptr::null_mut()), OK);
            let seen = Seen::of(message);
            assert_eq!(esrpc_headers_add_from(headers.0, seen.headers, false.into()), OK);
            let mut operation: esrpc_header = std::mem::zeroed();
            let name = lend(b"operation");
            let has_operation = esrpc_headers_find(seen.headers.as_ref(), name, &mut operation) == OK;
            esrpc_headers_remove(headers.0, name);
            let recorded = Recorded {
                message_type: seen.message_type,
                flags: seen.flags,
                stream_id: esrpc_message_get_stream_id(message.as_ref()),
                has_operation,
                operation: borrow(operation.bytes).to_vec(),
                headers,
                payload: seen.payload.to_vec(),
            };
            esrpc_message_release(message);
            recorded
        }
    }
}

unsafe extern "C" fn on_setup(_: *mut esrpc_connection, status: esrpc_status, user_data: *mut c_void) {
    // SAFETY: a recorder.
    unsafe { Recorder::of(user_data) }.note(format!("setup {}", status_name(status)));
}

unsafe extern "C" fn on_protocol_message(
    _: *mut esrpc_connection,
    message: *const esrpc_message,
    user_data: *mut c_void,
) {
    // SAFETY: a recorder, and a message that lives during the callback.
    let (recorder, seen) = unsafe { (Recorder::of(user_data), Seen::of(message)) };
    let (name, flags) = (type_name(seen.message_type), seen.shown_flags());
    recorder.note(format!(
        "protocol_message {name} flags={flags} headers={} payload={}",
        seen.header_count,
        hex(seen.payload)
    ));
}

unsafe extern "C" fn on_shutdown(_: *mut esrpc_connection, reason: esrpc_status, user_data: *mut c_void) {
    // SAFETY: a recorder.
    unsafe { Recorder::of(user_data) }.note(format!("shutdown {}", status_name(reason)));
}

unsafe extern "C" fn on_destroy(user_data: *mut c_void) {
    // SAFETY: the last callback of the connection that got it.
    unsafe {
        Recorder::of(user_data).note("destroyed");
        Recorder::drop_user_data(user_data);
    }
}

unsafe extern "C" fn on_stream_message(
    stream: *mut esrpc_stream,
    message: *const esrpc_message,
    user_data: *mut c_void,
) {
    // SAFETY: the stream's user data; stream and message live during the callback.
    let (noted, seen, state) =
        unsafe { (&*user_data.cast::<Noted>(), Seen::of(message), esrpc_stream_get_state(stream)) };
    let (name, flags) = (type_name(seen.message_type), seen.shown_flags());
    noted.recorder.note(format!(
        "stream_message {} {name} flags={flags} headers={} closed={} payload={}",
        noted.what,
        seen.header_count,
        state == ESRPC_STREAM_STATE_CLOSED as i32,
        hex(seen.payload)
    ));
}

unsafe extern "C" fn on_stream_closed(_: *mut esrpc_stream, _: esrpc_status, user_data: *mut c_void) {
    // SAFETY: the stream's user data.
    let noted = unsafe { &*user_data.cast::<Noted>() };
    noted.recorder.note(format!("stream_closed {}", noted.what));
}

unsafe extern "C" fn on_flush(status: esrpc_status, user_data: *mut c_void) {
    // SAFETY: the user data of this send, which is called once.
    let noted = unsafe { Box::from_raw(user_data.cast::<Noted>()) };
    noted.recorder.note(format!("flushed {} {}", noted.what, status_name(status)));
}

unsafe extern "C" fn drop_noted(user_data: *mut c_void) {
    // SAFETY: the user data of a stream in its last callback, or of a call that was refused.
    drop(unsafe { Box::from_raw(user_data.cast::<Noted>()) });
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
