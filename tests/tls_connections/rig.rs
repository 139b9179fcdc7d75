//! The parts of a connection that the tests need on either side: its callbacks as text, what TLS agreed on, and a client.

use crate::recorder::*;
use crate::settings::Tls;
use eventstream_rpc::ffi::adopted_sockets::*;
use eventstream_rpc::ffi::client_options::*;
use eventstream_rpc::ffi::connection::*;
use eventstream_rpc::ffi::connection_options::*;
use eventstream_rpc::ffi::constants::esrpc_message_flag::*;
use eventstream_rpc::ffi::constants::esrpc_message_type::*;
use eventstream_rpc::ffi::message::esrpc_message;
use eventstream_rpc::ffi::status::esrpc_status;
use eventstream_rpc::ffi::status_text::esrpc_last_error_message;
use eventstream_rpc::ffi::stream::*;
use eventstream_rpc::ffi::tls_info::*;
use std::ffi::{CStr, c_void};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

pub const APPLICATION_MESSAGE: i32 = ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE as i32;
pub const CONNECT: i32 = ESRPC_MESSAGE_TYPE_CONNECT as i32;
pub const CONNECT_ACK: i32 = ESRPC_MESSAGE_TYPE_CONNECT_ACK as i32;
pub const ACCEPTED: i32 = ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED as i32;
pub const TERMINATE: i32 = ESRPC_MESSAGE_FLAG_TERMINATE_STREAM as i32;

/// The operation of a stream each of whose messages pauses reading at the client.
const PAUSE: &[u8] = b"pause after each";

/// What the callbacks of a connection, a stream or a flush know.
#[derive(Default)]
pub struct Side {
    pub callbacks: Recorder,
    /// The bytes of payload that arrived on streams.
    pub received: AtomicUsize,
    /// A server's connection, to which a reference is held.
    pub connection: AtomicPtr<esrpc_connection>,
    pub facts: Mutex<Option<TlsFacts>>,
}

impl Side {
    pub fn to_user_data(self: &Arc<Self>) -> *mut c_void {
        Arc::into_raw(self.clone()).cast_mut().cast()
    }

    /// # Safety
    /// From `to_user_data`, and not released yet.
    pub unsafe fn of<'a>(user_data: *mut c_void) -> &'a Side {
        // SAFETY: what the caller promised.
        unsafe { &*user_data.cast_const().cast() }
    }

    /// # Safety
    /// As for `of`.
    pub unsafe fn share(user_data: *mut c_void) -> Arc<Side> {
        // SAFETY: what the caller promised; the new reference is counted before it is made.
        unsafe {
            Arc::increment_strong_count(user_data.cast_const().cast::<Side>());
            Arc::from_raw(user_data.cast_const().cast())
        }
    }

    /// # Safety
    /// As for `of`; the reference is released.
    pub unsafe fn give_back(user_data: *mut c_void) {
        // SAFETY: what the caller promised.
        drop(unsafe { Arc::from_raw(user_data.cast_const().cast::<Side>()) });
    }

    /// Waits for a callback that begins like this, and returns it.
    #[track_caller]
    pub fn wait_for(&self, start: &str) -> String {
        let is_it = |event: &String| event.starts_with(start);
        self.callbacks.wait_until(start, |events| events.iter().any(is_it)).unwrap_or_else(|error| panic!("{error}"));
        self.callbacks.events().into_iter().find(is_it).expect("it was there")
    }

    /// Records the message of a callback as well.
    pub fn note_end(&self, what: &str, status: esrpc_status) {
        // SAFETY: text that lives until the next call on this thread.
        let sentence = unsafe { CStr::from_ptr(esrpc_last_error_message()) }.to_string_lossy();
        self.callbacks.note(match status {
            OK => format!("{what} OK"),
            _ => format!("{what} {}: {sentence}", status_name(status)),
        });
    }

    /// The names of the callbacks with their statuses, without sentences.
    pub fn outline(&self) -> Vec<String> {
        let bare = |event: String| event.split(':').next().unwrap_or_default().to_owned();
        self.callbacks.events().into_iter().map(bare).collect()
    }
}

/// What the getters return about TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    pub version: String,
    pub cipher_suite: String,
    pub key_exchange: String,
    pub alpn: String,
    pub resumed: bool,
    pub certificates: Vec<Vec<u8>>,
}

impl TlsFacts {
    /// # Safety
    /// A live or lent connection.
    pub unsafe fn of(connection: *mut esrpc_connection) -> TlsFacts {
        // SAFETY: what the caller promised; the texts are copied while it lives.
        unsafe {
            let text = |text| CStr::from_ptr(text).to_str().expect("UTF-8").to_owned();
            let mut certificates = Vec::new();
            let mut der = lend(b"");
            while esrpc_connection_get_tls_peer_certificate(connection, certificates.len(), &mut der) == OK {
                certificates.push(borrow(der).to_vec());
            }
            TlsFacts {
                version: text(esrpc_connection_get_tls_version(connection)),
                cipher_suite: text(esrpc_connection_get_tls_cipher_suite(connection)),
                key_exchange: text(esrpc_connection_get_tls_key_exchange(connection)),
                alpn: text(esrpc_connection_get_tls_alpn(connection)),
                resumed: esrpc_connection_is_tls_resumed(connection),
                certificates,
            }
        }
    }
}

/// Short payloads as they are, long ones by their length.
pub fn shown(payload: &[u8]) -> String {
    match payload.len() {
        0..=100 => String::from_utf8_lossy(payload).into_owned(),
        len => format!("{len} bytes"),
    }
}

/// A client connection; its callbacks are in `side`.
pub struct Client {
    pub handle: *mut esrpc_connection,
    pub side: Arc<Side>,
}

/// How a client connects, apart from the address.
#[derive(Default)]
pub struct How<'a> {
    pub tls: Option<(&'a Tls, &'a str)>,
    /// The library sends CONNECT itself.
    pub handshake: bool,
    pub options: Option<&'a dyn Fn(*mut esrpc_connection_options)>,
}

pub enum Place<'a> {
    Port(u16),
    Path(&'a Path),
    /// A connected socket, which the connection takes over.
    Socket(OwnedFd),
}

impl Client {
    pub fn connect(runtime: &Runtime, place: Place<'_>, how: How<'_>) -> Client {
        Client::try_connect(runtime, place, how).unwrap_or_else(|status| panic!("{}", status_name(status)))
    }

    pub fn try_connect(runtime: &Runtime, place: Place<'_>, how: How<'_>) -> Result<Client, esrpc_status> {
        let side = Arc::new(Side::default());
        let callbacks = esrpc_connection_callbacks {
            struct_size: size_of::<esrpc_connection_callbacks>(),
            on_setup: Some(on_setup),
            on_protocol_message: Some(on_protocol_message),
            on_incoming_stream: None,
            on_writable: Some(on_writable),
            on_shutdown: Some(on_shutdown),
            on_destroy: Some(on_destroy),
        };
        let mut handle = ptr::null_mut();
        // SAFETY: everything lent lives during the calls; the connection's on_destroy gives the user data back.
        unsafe {
            let options = esrpc_client_options_new();
            assert_eq!(esrpc_client_options_set_runtime(options.as_mut(), runtime.0), OK);
            let mut adopted = None;
            match place {
                Place::Port(port) => {
                    assert_eq!(esrpc_client_options_set_host(options.as_mut(), lend(b"127.0.0.1"), port.into()), OK);
                }
                Place::Path(path) => {
                    let path = lend(path.as_os_str().as_encoded_bytes());
                    assert_eq!(esrpc_client_options_set_unix_path(options.as_mut(), path), OK);
                }
                Place::Socket(socket) => {
                    assert_eq!(esrpc_client_options_set_socket(options.as_mut(), socket.as_raw_fd()), OK);
                    adopted = Some(socket);
                }
            }
            if let Some((tls, name)) = how.tls {
                assert_eq!(esrpc_client_options_set_tls(options.as_mut(), tls.0, lend(name.as_bytes())), OK);
            }
            if how.handshake {
                assert_eq!(esrpc_client_options_set_handshake(options.as_mut(), None, lend(b"")), OK);
            }
            let settings = esrpc_connection_options_new();
            if let Some(change) = how.options {
                change(settings);
            }
            assert_eq!(esrpc_client_options_set_connection_options(options.as_mut(), settings.as_ref()), OK);
            esrpc_connection_options_release(settings);
            let user_data = side.to_user_data();
            let status = esrpc_connection_connect(options.as_ref(), &callbacks, user_data, &mut handle);
            esrpc_client_options_release(options);
            if status != OK {
                Side::give_back(user_data);
                return Err(status);
            }
            // It is the library's now.
            let _ = adopted.map(IntoRawFd::into_raw_fd);
        }
        Ok(Client { handle, side })
    }

    /// Connects and has its CONNECT accepted.
    #[track_caller]
    pub fn ready(runtime: &Runtime, place: Place<'_>, tls: &Tls, name: &str) -> Client {
        let client = Client::connect(runtime, place, How { tls: Some((tls, name)), handshake: true, options: None });
        assert_eq!(client.side.wait_for("setup"), "setup OK");
        client
    }

    pub fn facts(&self) -> TlsFacts {
        // SAFETY: a live handle.
        unsafe { TlsFacts::of(self.handle) }
    }

    pub fn send_connect(&self) {
        // SAFETY: a live handle.
        let status = unsafe {
            let none = lend(b"");
            esrpc_connection_send_protocol_message(self.handle, CONNECT, 0, None, none, None, ptr::null_mut())
        };
        assert_eq!(status, OK);
    }

    /// Opens a stream with its first message.
    pub fn call(&self, operation: &str, payload: &[u8], flags: i32) -> Call {
        let side = Arc::new(Side::default());
        let callbacks = esrpc_stream_callbacks {
            struct_size: size_of::<esrpc_stream_callbacks>(),
            on_message: Some(on_stream_message),
            on_writable: None,
            on_closed: Some(on_stream_closed),
            on_destroy: Some(on_destroy),
        };
        let mut handle = ptr::null_mut();
        // SAFETY: a live connection; the stream's on_destroy and the flush callback give the user data back.
        unsafe {
            let user_data = side.to_user_data();
            assert_eq!(esrpc_connection_new_stream(self.handle, &callbacks, user_data, &mut handle), OK);
            let (operation, payload) = (lend(operation.as_bytes()), lend(payload));
            let (type_, data) = (APPLICATION_MESSAGE, side.to_user_data());
            let status = esrpc_stream_activate(handle, operation, type_, flags, None, payload, Some(on_flush), data);
            assert_eq!(status, OK);
        }
        Call { handle, side }
    }

    pub fn close(&self) {
        // SAFETY: a live handle.
        assert_eq!(unsafe { esrpc_connection_close(self.handle, OK) }, OK);
    }

    pub fn resume(&self) {
        // SAFETY: a live handle.
        assert_eq!(unsafe { esrpc_connection_resume_reading(self.handle) }, OK);
    }

    /// Closes in order.
    #[track_caller]
    pub fn end(self) {
        self.close();
        assert_eq!(self.side.wait_for("shutdown"), "shutdown OK");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: a live handle, released once.
        unsafe {
            esrpc_connection_abort(self.handle);
            esrpc_connection_release(self.handle);
        }
    }
}

/// A stream of a client.
pub struct Call {
    pub handle: *mut esrpc_stream,
    pub side: Arc<Side>,
}

impl Call {
    pub fn send(&self, payload: &[u8], flags: i32) {
        let user_data = self.side.to_user_data();
        let (type_, payload) = (APPLICATION_MESSAGE, lend(payload));
        // SAFETY: a live handle; the flush callback gives the user data back.
        let status =
            unsafe { esrpc_stream_send_message(self.handle, type_, flags, None, payload, Some(on_flush), user_data) };
        assert_eq!(status, OK);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // SAFETY: a live handle, released once.
        unsafe { esrpc_stream_release(self.handle) }
    }
}

unsafe extern "C" fn on_setup(connection: *mut esrpc_connection, status: esrpc_status, user_data: *mut c_void) {
    // SAFETY: a side; the connection is lent.
    let side = unsafe { Side::of(user_data) };
    assert_eq!(connection.is_null(), status != OK);
    side.note_end("setup", status);
}

unsafe extern "C" fn on_protocol_message(
    _: *mut esrpc_connection,
    message: *const esrpc_message,
    user_data: *mut c_void,
) {
    // SAFETY: a side, and a message that lives during the callback.
    let (side, seen) = unsafe { (Side::of(user_data), Seen::of(message)) };
    side.callbacks.note(format!("protocol {} {}", type_name(seen.message_type), shown(seen.payload)));
}

unsafe extern "C" fn on_writable(_: *mut esrpc_connection, user_data: *mut c_void) {
    // SAFETY: a side.
    unsafe { Side::of(user_data) }.callbacks.note("writable");
}

pub unsafe extern "C" fn on_shutdown(_: *mut esrpc_connection, reason: esrpc_status, user_data: *mut c_void) {
    // SAFETY: a side.
    unsafe { Side::of(user_data) }.note_end("shutdown", reason);
}

pub unsafe extern "C" fn on_destroy(user_data: *mut c_void) {
    // SAFETY: the last callback of what got the user data.
    unsafe {
        Side::of(user_data).callbacks.note("destroy");
        Side::give_back(user_data);
    }
}

pub unsafe extern "C" fn on_flush(status: esrpc_status, user_data: *mut c_void) {
    // SAFETY: the only callback of this send.
    unsafe {
        Side::of(user_data).note_end("flushed", status);
        Side::give_back(user_data);
    }
}

unsafe extern "C" fn on_stream_message(
    stream: *mut esrpc_stream,
    message: *const esrpc_message,
    user_data: *mut c_void,
) {
    // SAFETY: a side, and a message that lives during the callback.
    let (side, seen, operation) =
        unsafe { (Side::of(user_data), Seen::of(message), borrow(esrpc_stream_get_operation(stream))) };
    if operation == PAUSE {
        // SAFETY: the connection of a live stream.
        assert_eq!(unsafe { esrpc_connection_pause_reading(esrpc_stream_get_connection(stream)) }, OK);
    }
    side.received.fetch_add(seen.payload.len(), Ordering::Relaxed);
    let end = if seen.flags & TERMINATE != 0 { ", last" } else { "" };
    side.callbacks.note(format!("message {}{end}", shown(seen.payload)));
}

pub unsafe extern "C" fn on_stream_closed(_: *mut esrpc_stream, reason: esrpc_status, user_data: *mut c_void) {
    // SAFETY: a side.
    unsafe { Side::of(user_data) }.note_end("closed", reason);
}
