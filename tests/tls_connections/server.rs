//! A server of ours: it accepts every CONNECT and echoes what comes on streams.

use crate::recorder::*;
use crate::rig::*;
use crate::settings::{self, Tls};
use eventstream_rpc::ffi::adopted_sockets::*;
use eventstream_rpc::ffi::connection::*;
use eventstream_rpc::ffi::connection_options::*;
use eventstream_rpc::ffi::drain::*;
use eventstream_rpc::ffi::listener::*;
use eventstream_rpc::ffi::listener_options::*;
use eventstream_rpc::ffi::message::esrpc_message;
use eventstream_rpc::ffi::status::esrpc_status;
use eventstream_rpc::ffi::stream::*;
use eventstream_rpc::ffi::tls_info::*;
use std::ffi::c_void;
use std::ops::Deref;
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A listener; its callbacks and those of its connections are in `side`.
pub struct Server {
    listener: *mut esrpc_listener,
    pub side: Arc<Side>,
}

/// A server with settings for its clients.
pub struct FittingServer {
    pub client_tls: Tls,
    server: Server,
}

impl FittingServer {
    pub fn start(runtime: &Runtime, change: impl FnOnce(*mut esrpc_connection_options)) -> FittingServer {
        let (client_tls, server) = settings::fitting();
        FittingServer { client_tls, server: Server::start_with(runtime, &server, None, change) }
    }
}

impl Deref for FittingServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Server {
    pub fn start(runtime: &Runtime, tls: &Tls) -> Server {
        Server::start_with(runtime, tls, None, |_| {})
    }

    pub fn start_at(runtime: &Runtime, tls: &Tls, path: &Path) -> Server {
        Server::start_with(runtime, tls, Some(path), |_| {})
    }

    pub fn start_with(
        runtime: &Runtime,
        tls: &Tls,
        path: Option<&Path>,
        change: impl FnOnce(*mut esrpc_connection_options),
    ) -> Server {
        let side = Arc::new(Side::default());
        let callbacks = esrpc_listener_callbacks {
            struct_size: size_of::<esrpc_listener_callbacks>(),
            on_incoming_connection: Some(on_incoming_connection),
            on_failed_connection: Some(on_failed_connection),
            on_closed: None,
            on_destroy: Some(on_listener_destroy),
        };
        let mut listener = ptr::null_mut();
        // SAFETY: what is lent lives during the calls; the listener's on_destroy gives the user data back.
        unsafe {
            let options = esrpc_listener_options_new();
            assert_eq!(esrpc_listener_options_set_runtime(options.as_mut(), runtime.0), OK);
            match path {
                None => assert_eq!(esrpc_listener_options_set_host(options.as_mut(), lend(b"127.0.0.1"), 0), OK),
                Some(path) => {
                    let path = lend(path.as_os_str().as_encoded_bytes());
                    assert_eq!(esrpc_listener_options_set_unix_path(options.as_mut(), path), OK);
                }
            }
            assert_eq!(esrpc_listener_options_set_tls(options.as_mut(), tls.0), OK);
            let settings = esrpc_connection_options_new();
            change(settings);
            assert_eq!(esrpc_listener_options_set_connection_options(options.as_mut(), settings.as_ref()), OK);
            esrpc_connection_options_release(settings);
            assert_eq!(esrpc_listener_listen(options.as_ref(), &callbacks, side.to_user_data(), &mut listener), OK);
            esrpc_listener_options_release(options);
        }
        Server { listener, side }
    }

    pub fn port(&self) -> u16 {
        // SAFETY: a live handle.
        unsafe { esrpc_listener_get_port(self.listener) }.try_into().expect("a port")
    }

    pub fn place(&self) -> Place<'static> {
        Place::Port(self.port())
    }

    /// Hands over one end of a pair of sockets; returns the other.
    pub fn adopt(&self) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("two sockets");
        // SAFETY: a live handle.
        assert_eq!(unsafe { esrpc_listener_adopt_connection(self.listener, theirs.into_raw_fd()) }, OK);
        ours
    }

    pub fn drain(&self, deadline_ms: u32) {
        // SAFETY: a live handle.
        assert_eq!(unsafe { esrpc_listener_drain(self.listener, deadline_ms) }, OK);
    }

    /// Waits until it is closed and, if it was drained, its connections have ended.
    pub fn wait_closed(&self) {
        // SAFETY: a live handle.
        assert_eq!(unsafe { esrpc_listener_wait_closed(self.listener, PATIENCE.as_millis() as u32) }, OK);
    }

    /// Connections that are accepted, those in their TLS handshake included.
    pub fn open_connections(&self) -> usize {
        // SAFETY: a live handle.
        unsafe { esrpc_listener_get_open_connections(self.listener) }
    }

    pub fn set_tls(&self, tls: &Tls) {
        // SAFETY: live handles.
        assert_eq!(unsafe { esrpc_listener_set_tls(self.listener, tls.0) }, OK);
    }

    /// What the newest connection agreed on.
    pub fn facts(&self) -> TlsFacts {
        self.side.facts.lock().expect("no panic").clone().expect("a connection came")
    }

    /// The newest connection, borrowed.
    #[track_caller]
    pub fn connection(&self) -> *mut esrpc_connection {
        self.side.wait_for("incoming");
        self.side.connection.load(Ordering::Acquire)
    }

    pub fn close_connection(&self) {
        // SAFETY: a live handle.
        assert_eq!(unsafe { esrpc_connection_close(self.connection(), OK) }, OK);
    }

    pub fn pause(&self) {
        // SAFETY: a live handle.
        assert_eq!(unsafe { esrpc_connection_pause_reading(self.connection()) }, OK);
    }

    pub fn resume(&self) {
        // SAFETY: a live handle.
        assert_eq!(unsafe { esrpc_connection_resume_reading(self.connection()) }, OK);
    }

    /// A PING, answered with the status of the send.
    pub fn ping(&self, payload: &[u8]) -> esrpc_status {
        // SAFETY: a live handle; the flush callback gives the user data back.
        unsafe { send_protocol(&self.side, self.connection(), PING, 0, payload) }
    }
}

const PING: i32 = eventstream_rpc::ffi::constants::esrpc_message_type::ESRPC_MESSAGE_TYPE_PING as i32;

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: live handles, each released once.
        unsafe {
            let connection = self.side.connection.swap(ptr::null_mut(), Ordering::AcqRel);
            if !connection.is_null() {
                esrpc_connection_abort(connection);
                esrpc_connection_release(connection);
            }
            esrpc_listener_close(self.listener);
            esrpc_listener_release(self.listener);
        }
    }
}

/// # Safety
/// A live connection.
unsafe fn send_protocol(
    side: &Arc<Side>,
    connection: *mut esrpc_connection,
    message_type: i32,
    flags: i32,
    payload: &[u8],
) -> esrpc_status {
    let user_data = side.to_user_data();
    // SAFETY: what the caller promised; a refused send calls nothing back.
    unsafe {
        let payload = lend(payload);
        let status = esrpc_connection_send_protocol_message(
            connection,
            message_type,
            flags,
            None,
            payload,
            Some(on_flush),
            user_data,
        );
        if status != OK {
            Side::give_back(user_data);
        }
        status
    }
}

unsafe extern "C" fn on_listener_destroy(user_data: *mut c_void) {
    // SAFETY: the last callback of the listener that got it.
    unsafe { Side::give_back(user_data) }
}

unsafe extern "C" fn on_failed_connection(_: *mut esrpc_listener, status: esrpc_status, user_data: *mut c_void) {
    // SAFETY: a side.
    unsafe { Side::of(user_data) }.note_end("failed", status);
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
        on_destroy: Some(on_destroy),
    };
    // SAFETY: a side; the connection is lent, and its on_destroy gives the new reference back.
    unsafe {
        let side = Side::share(user_data);
        *side.facts.lock().expect("no panic") = Some(TlsFacts::of(connection));
        assert_eq!(esrpc_connection_accept(connection, &callbacks, side.to_user_data()), OK);
        let before = side.connection.swap(esrpc_connection_acquire(connection), Ordering::AcqRel);
        esrpc_connection_release(before);
        side.callbacks.note("incoming");
    }
}

unsafe extern "C" fn on_protocol_message(
    connection: *mut esrpc_connection,
    message: *const esrpc_message,
    user_data: *mut c_void,
) {
    // SAFETY: a side, a message that lives during the callback, and a lent connection.
    unsafe {
        let (side, seen) = (Side::of(user_data), Seen::of(message));
        side.callbacks.note(format!("protocol {} {}", type_name(seen.message_type), shown(seen.payload)));
        if seen.message_type == CONNECT {
            let (flags, none) = (ACCEPTED, lend(b""));
            let status = esrpc_connection_send_protocol_message(
                connection,
                CONNECT_ACK,
                flags,
                None,
                none,
                None,
                ptr::null_mut(),
            );
            assert_eq!(status, OK);
        }
    }
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
        on_closed: None,
        on_destroy: Some(on_stream_destroy),
    };
    // SAFETY: a side; the stream is lent; its on_destroy gives the new reference back.
    unsafe {
        assert_eq!(esrpc_stream_accept(stream, &callbacks, Side::share(user_data).to_user_data()), OK);
    }
}

/// Operation "count" sends nothing back, "unary" ends the stream with the echo, others echo.
unsafe extern "C" fn on_stream_message(
    stream: *mut esrpc_stream,
    message: *const esrpc_message,
    user_data: *mut c_void,
) {
    // SAFETY: a side; stream and message are lent.
    unsafe {
        let (side, seen) = (Side::of(user_data), Seen::of(message));
        side.received.fetch_add(seen.payload.len(), Ordering::Relaxed);
        side.callbacks.note(format!("stream message {}", shown(seen.payload)));
        let operation = borrow(esrpc_stream_get_operation(stream));
        if operation == b"count" || seen.flags & TERMINATE != 0 {
            return;
        }
        let flags = if operation == b"unary" { TERMINATE } else { 0 };
        let (type_, payload) = (APPLICATION_MESSAGE, lend(seen.payload));
        let status = esrpc_stream_send_message(stream, type_, flags, None, payload, None, ptr::null_mut());
        if status != OK {
            side.callbacks.note(format!("answer {}", status_name(status)));
        }
    }
}

unsafe extern "C" fn on_stream_destroy(user_data: *mut c_void) {
    // SAFETY: the last callback of the stream that got it.
    unsafe { Side::give_back(user_data) }
}
