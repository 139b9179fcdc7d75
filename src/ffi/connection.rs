//! Connections: connecting, sending, ending.

use std::any::Any;
use std::ffi::c_void;
use std::sync::{Arc, OnceLock};

use super::bytes::esrpc_bytes;
use super::callbacks::{UserData, esrpc_flush_callback, esrpc_task_callback, flush_callback};
use super::client_options::esrpc_client_options;
pub use super::counted::esrpc_connection;
use super::counted::esrpc_stream;
use super::errors::{explained, requested_outcome};
use super::failure::{Failure, required};
use super::guard;
use super::handle::ArcHandle;
use super::headers::esrpc_headers;
use super::host_call;
use super::message::{esrpc_message, outgoing, with_view};
use super::out::check_out;
use super::reasons;
use super::status::esrpc_status;
use super::table::read_table;
use crate::codec::{Limits, Message};
use crate::rpc::Incoming;
use crate::runtime::{Connection, ConnectionHandler, Destroyed, Error, Outcome, Stream};

/// What a connection calls. Every slot may be NULL. All callbacks are called on the connection's event-loop thread,
/// one at a time, with no lock held: they may call any function that does not wait, and may close or release this
/// very connection. Handles passed to callbacks are borrowed; messages and bytes are valid until the callback
/// returns. Set struct_size to sizeof(esrpc_connection_callbacks).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct esrpc_connection_callbacks {
    /// The size of this struct.
    pub struct_size: usize,
    /// Client only, once and first. ESRPC_OK: the connection can be used. Otherwise connecting failed: connection
    /// is NULL, status says why, and only on_destroy follows.
    ///
    /// The address: ESRPC_ERROR_RESOLVE_FAILED, ESRPC_ERROR_RESOLVE_TIMED_OUT, ESRPC_ERROR_ADDRESS_INVALID,
    /// ESRPC_ERROR_ADDRESS_UNAVAILABLE, ESRPC_ERROR_ADDRESS_IN_USE (the local one), ESRPC_ERROR_NOT_FOUND and
    /// ESRPC_ERROR_PATH_TOO_LONG (the path of a Unix socket), ESRPC_ERROR_INTERFACE_NOT_FOUND,
    /// ESRPC_ERROR_UNSUPPORTED. Connecting: ESRPC_ERROR_CONNECTION_REFUSED, ESRPC_ERROR_CONNECT_TIMED_OUT,
    /// ESRPC_ERROR_TOO_MANY_FILES, ESRPC_ERROR_CONNECT_FAILED for anything else.
    ///
    /// TLS: ESRPC_ERROR_TLS_TIMED_OUT, ESRPC_ERROR_TLS_PEER_CLOSED, ESRPC_ERROR_TLS_NO_COMMON_VERSION,
    /// ESRPC_ERROR_TLS_NO_COMMON_CIPHER, ESRPC_ERROR_TLS_NO_COMMON_ALPN; the server's certificate:
    /// ESRPC_ERROR_TLS_UNKNOWN_CA, ESRPC_ERROR_TLS_CERTIFICATE_EXPIRED,
    /// ESRPC_ERROR_TLS_CERTIFICATE_NOT_YET_VALID, ESRPC_ERROR_TLS_WRONG_NAME,
    /// ESRPC_ERROR_TLS_BAD_CERTIFICATE, ESRPC_ERROR_TLS_CERTIFICATE_REVOKED,
    /// ESRPC_ERROR_TLS_REVOCATION_UNKNOWN, ESRPC_ERROR_TLS_BAD_CRL, ESRPC_ERROR_TLS_CRL_EXPIRED.
    ///
    /// This side: ESRPC_ERROR_CANCELLED if it was closed or aborted before. Everything else that ends a
    /// connection, most of it only while the library does the handshake: see on_shutdown.
    pub on_setup:
        Option<unsafe extern "C" fn(connection: *mut esrpc_connection, status: esrpc_status, user_data: *mut c_void)>,
    /// A message on stream-id 0 has arrived. A server gets the client's CONNECT first; until it has sent a CONNECT_ACK
    /// that accepts the client, any other message is refused with PROTOCOL_ERROR and ends the connection. The headers
    /// of CONNECT, ":version" among them, are for the application to check.
    pub on_protocol_message: Option<
        unsafe extern "C" fn(connection: *mut esrpc_connection, message: *const esrpc_message, user_data: *mut c_void),
    >,
    /// Server only: the client opens a stream. Call esrpc_stream_accept, esrpc_stream_refuse, esrpc_stream_reply,
    /// esrpc_stream_fail or esrpc_stream_defer inside; otherwise it is refused. The first message may be inspected
    /// here; it is passed again, to on_message of the accepted stream.
    pub on_incoming_stream: Option<
        unsafe extern "C" fn(
            connection: *mut esrpc_connection,
            stream: *mut esrpc_stream,
            first_message: *const esrpc_message,
            user_data: *mut c_void,
        ),
    >,
    /// Sends returned ESRPC_ERROR_WOULD_BLOCK, on the connection or on a stream, and half of the outbound limit is free
    /// now. Called once each time this happens.
    pub on_writable: Option<unsafe extern "C" fn(connection: *mut esrpc_connection, user_data: *mut c_void)>,
    /// The connection has ended. Once, if it was set up, after every flush callback and every on_closed.
    ///
    /// This side: ESRPC_OK or the number passed to esrpc_connection_close, and nothing was lost; ESRPC_OK also after a
    /// drain; ESRPC_ERROR_DRAINING: the time to drain was over; ESRPC_ERROR_LINGER_EXPIRED and ESRPC_ERROR_ABORTED:
    /// something was not written; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_INTERNAL: a defect in the library.
    ///
    /// The peer or the network: ESRPC_ERROR_PEER_CLOSED, ESRPC_ERROR_CONNECTION_RESET, ESRPC_ERROR_IO,
    /// ESRPC_ERROR_ACCESS_DENIED (the system forbids it), ESRPC_ERROR_TLS_ALERT_RECEIVED,
    /// ESRPC_ERROR_TLS_HANDSHAKE_FAILED (records that are not valid TLS), ESRPC_ERROR_TLS_TRUNCATED.
    ///
    /// What the peer sent: ESRPC_ERROR_HANDSHAKE_REFUSED, ESRPC_ERROR_PROTOCOL_VIOLATION, ESRPC_ERROR_INCOMPLETE
    /// (it ended inside a message), ESRPC_ERROR_PRELUDE_CHECKSUM, ESRPC_ERROR_MESSAGE_CHECKSUM,
    /// ESRPC_ERROR_MESSAGE_LENGTH, ESRPC_ERROR_HEADERS_LENGTH, ESRPC_ERROR_HEADER_OVERRUN,
    /// ESRPC_ERROR_UNKNOWN_HEADER_TYPE; beyond a limit: ESRPC_ERROR_MESSAGE_TOO_LARGE,
    /// ESRPC_ERROR_HANDSHAKE_MESSAGE_TOO_LARGE, ESRPC_ERROR_TOO_MANY_HEADERS, ESRPC_ERROR_HEADERS_TOO_LARGE,
    /// ESRPC_ERROR_HEADER_VALUE_TOO_LONG, ESRPC_ERROR_TOO_MANY_ABNORMAL_EVENTS; of a listener:
    /// ESRPC_ERROR_TOO_MANY_HANDSHAKES, ESRPC_ERROR_TOO_MANY_HELD_BYTES.
    ///
    /// Time: ESRPC_ERROR_HANDSHAKE_TIMED_OUT, ESRPC_ERROR_WRITE_TIMED_OUT, ESRPC_ERROR_MESSAGE_TIMED_OUT,
    /// ESRPC_ERROR_IDLE_TIMED_OUT, ESRPC_ERROR_KEEP_ALIVE_TIMED_OUT.
    pub on_shutdown:
        Option<unsafe extern "C" fn(connection: *mut esrpc_connection, reason: esrpc_status, user_data: *mut c_void)>,
    /// The last callback, called once: user_data is not used any more. Called when the connection has ended, its
    /// streams are destroyed and the last handle is released.
    pub on_destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
}

const NO_CALLBACKS: esrpc_connection_callbacks = esrpc_connection_callbacks {
    struct_size: size_of::<esrpc_connection_callbacks>(),
    on_setup: None,
    on_protocol_message: None,
    on_incoming_stream: None,
    on_writable: None,
    on_shutdown: None,
    on_destroy: None,
};

/// The caller's side of a connection.
pub(crate) struct Callbacks {
    table: esrpc_connection_callbacks,
    pub(crate) user_data: UserData,
    /// Made on first use.
    pub(crate) connect_ack: OnceLock<Option<Box<esrpc_message>>>,
}

// In each of the calls below:
// SAFETY: the caller gave the function together with the pointer, to be called on the connection's loop thread.
impl ConnectionHandler for Callbacks {
    fn on_setup(&self, result: Result<&Arc<Connection>, &Error>) {
        if let Some(function) = self.table.on_setup {
            let connection = result.map_or(std::ptr::null_mut(), esrpc_connection::lend);
            let status = explained(result.map(|_| ()));
            reasons::check_listed("on_setup", &[reasons::OF_SETUP, reasons::OF_TLS, reasons::OF_SHUTDOWN], status);
            // SAFETY: see above.
            unsafe { host_call::call(function, (connection, status, self.user_data.0)) }
        }
    }

    fn on_protocol_message(&self, connection: &Arc<Connection>, incoming: &Incoming<'_>) {
        if let Some(function) = self.table.on_protocol_message {
            with_view(incoming, |view| {
                // SAFETY: see above.
                unsafe { host_call::call(function, (esrpc_connection::lend(connection), view, self.user_data.0)) }
            });
        }
    }

    fn on_incoming_stream(&self, connection: &Arc<Connection>, stream: &Arc<Stream>, incoming: &Incoming<'_>) {
        if let Some(function) = self.table.on_incoming_stream {
            let (connection, stream) = (esrpc_connection::lend(connection), esrpc_stream::lend(stream));
            with_view(incoming, |view| {
                // SAFETY: see above.
                unsafe { host_call::call(function, (connection, stream, view, self.user_data.0)) }
            });
        }
    }

    fn on_writable(&self, connection: &Arc<Connection>) {
        if let Some(function) = self.table.on_writable {
            // SAFETY: see above.
            unsafe { host_call::call(function, (esrpc_connection::lend(connection), self.user_data.0)) }
        }
    }

    fn on_shutdown(&self, connection: &Arc<Connection>, outcome: &Outcome) {
        if let Some(function) = self.table.on_shutdown {
            let reason = explained(outcome.as_ref().copied());
            reasons::check_listed("on_shutdown", &[reasons::OF_SHUTDOWN], reason);
            // SAFETY: see above.
            unsafe { host_call::call(function, (esrpc_connection::lend(connection), reason, self.user_data.0)) }
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Destroyed for Callbacks {
    fn on_destroy(&self) {
        if let Some(function) = self.table.on_destroy {
            // SAFETY: see above.
            unsafe { host_call::call(function, (self.user_data.0,)) }
        }
    }
}

impl Callbacks {
    /// # Safety
    /// The table is NULL or as large as its struct_size says.
    pub(crate) unsafe fn new(
        table: *const esrpc_connection_callbacks,
        user_data: *mut c_void,
    ) -> Result<Box<Callbacks>, Failure> {
        // SAFETY: what the caller promised.
        let table = unsafe { read_table(table, NO_CALLBACKS, "callbacks") }?;
        Ok(Box::new(Callbacks { table, user_data: UserData(user_data), connect_ack: OnceLock::new() }))
    }

    /// The connection's callbacks, if it has been given some.
    pub(crate) fn of(connection: &Connection) -> Option<&Callbacks> {
        connection.handler()?.as_any().downcast_ref()
    }

    /// The CONNECT_ACK that the library waited for.
    pub(crate) fn connect_ack(&self, connection: &Connection) -> Option<&esrpc_message> {
        let bytes = connection.connect_ack()?;
        let make = || {
            let len = bytes.len();
            let limits = Limits { max_message_len: len, max_payload_len: len, max_headers: len, ..Limits::DEFAULT };
            Message::decode(bytes, &limits).ok().map(|(message, _)| Box::new(esrpc_message::owned(&message)))
        };
        self.connect_ack.get_or_init(make).as_deref()
    }
}

/// Begins to connect a client. Returns at once; on_setup reports the outcome. Without the handshake option the caller
/// then sends CONNECT, and may open streams once a CONNECT_ACK with ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED has
/// arrived.
///
/// @param options Borrowed.
/// @param callbacks Copied; NULL: none.
/// @param user_data Passed to the callbacks; it may be freed in on_destroy.
/// @param out_connection Receives the connection, one reference, to be released with esrpc_connection_release whether
/// setup succeeds or not. It is written before any callback can be called.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options or out_connection is NULL, options have no address, or
/// callbacks has a wrong struct_size; for the caller's own socket ESRPC_ERROR_WRONG_SOCKET, or
/// ESRPC_ERROR_INVALID_STATE if an earlier connection took it; ESRPC_ERROR_TLS_SERVER_NAME_REQUIRED; for the
/// handshake option's CONNECT ESRPC_ERROR_RESERVED_HEADER, ESRPC_ERROR_TOO_MANY_HEADERS,
/// ESRPC_ERROR_HEADERS_TOO_LARGE or ESRPC_ERROR_MESSAGE_TOO_LARGE; for the name of a TLS server
/// ESRPC_ERROR_ADDRESS_INVALID; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_DRAINING; ESRPC_ERROR_FORKED;
/// ESRPC_ERROR_TOO_MANY_FILES or ESRPC_ERROR_IO if the default runtime cannot be started.
///
/// Thread: any; options: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_connect(
    options: Option<&esrpc_client_options>,
    callbacks: *const esrpc_connection_callbacks,
    user_data: *mut c_void,
    out_connection: *mut *mut esrpc_connection,
) -> esrpc_status {
    guard::system_call(|| {
        check_out(out_connection, "out_connection")?;
        let options = required(options, "options")?;
        // SAFETY: NULL or a table of the size it says.
        let callbacks = unsafe { Callbacks::new(callbacks, user_data) }?;
        let (request, runtime) = (options.request()?, options.runtime()?);
        Connection::connect(&runtime, request, callbacks, |connection| {
            // SAFETY: the caller's variable, checked above.
            unsafe { out_connection.write(esrpc_connection::give(connection.clone())) }
        })?;
        options.socket_taken.set(true);
        Ok(())
    })
}

/// Adds a reference.
///
/// @param connection Borrowed; NULL: returns NULL.
/// @return The same handle, to be released one more time.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_acquire(connection: *mut esrpc_connection) -> *mut esrpc_connection {
    guard::value(std::ptr::null_mut(), || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_connection::acquire(connection) }
    })
}

/// Releases a reference. Never waits and never closes the connection.
///
/// @param connection Not to be used afterwards; NULL, or, in a forked child, a handle of its parent: nothing happens.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_release(connection: *mut esrpc_connection) {
    guard::system_value((), || {
        // SAFETY: NULL or a live handle, whose reference the caller gives up.
        unsafe { esrpc_connection::release(connection) }
    })
}

/// Lets a server decide later, on any thread, whether to accept a connection, for example after asking another service
/// about its address or certificate: nothing has been read yet, so the decision cannot depend on CONNECT. To decide
/// later about a CONNECT, copy it in on_protocol_message and send CONNECT_ACK then, on any thread, without
/// esrpc_listener_options_set_handshake. May only be called inside the on_incoming_connection that announces it:
/// acquire the connection there, and later call esrpc_connection_accept to accept it or esrpc_connection_close to
/// refuse it. The library closes it if that takes longer than the handshake timeout of its listener's connection
/// options, if its last handle is released before, or if too many handshakes are pending.
///
/// Meanwhile nothing is read from the client: what it sends waits in the system's buffers, and its end is noticed
/// after the decision. The connection counts as one of its listener's, with a pending handshake; it outlives its
/// listener's close, but not a drain. If it is not accepted, no callback is called for it;
/// esrpc_connection_wait_shutdown and esrpc_connection_get_end_status report its end.
///
/// @param connection Borrowed.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if connection is NULL; ESRPC_ERROR_INVALID_STATE if it is not being
/// announced, or was accepted or deferred; ESRPC_ERROR_CONNECTION_CLOSED if it was closed;
/// ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: loop. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_defer(connection: *mut esrpc_connection) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a lent handle.
        unsafe { esrpc_connection::share(connection) }?.defer()?;
        Ok(())
    })
}

/// Accepts a connection that a listener announces. May only be called inside that on_incoming_connection, or once
/// after esrpc_connection_defer; a connection that is neither accepted nor deferred there is closed. The connection
/// is open from now on: its CONNECT is passed to on_protocol_message, which has to send CONNECT_ACK, then or later
/// and from any thread, unless esrpc_listener_options_set_handshake leaves that to the library.
///
/// @param connection Borrowed; acquire it to keep it.
/// @param callbacks Copied; NULL: none.
/// @param user_data Passed to the callbacks; it may be freed in on_destroy.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if connection is NULL or callbacks has a wrong struct_size;
/// ESRPC_ERROR_INVALID_STATE if it is not being announced, or was accepted; ESRPC_ERROR_CONNECTION_CLOSED if it was
/// closed, or was deferred and has ended; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: loop; any after esrpc_connection_defer. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_accept(
    connection: *mut esrpc_connection,
    callbacks: *const esrpc_connection_callbacks,
    user_data: *mut c_void,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a lent handle, and a table of the size it says.
        let (connection, callbacks) =
            unsafe { (esrpc_connection::share(connection)?, Callbacks::new(callbacks, user_data)?) };
        connection.accept(callbacks)?;
        Ok(())
    })
}

/// Closes the connection once everything accepted before is written. Returns at once; on_shutdown is called when it has
/// ended. After the call returns no message callback begins (one may be running), and sends return
/// ESRPC_ERROR_CONNECTION_CLOSED. If the peer takes nothing for linger_ms, the rest is dropped and the reason is
/// ESRPC_ERROR_LINGER_EXPIRED. Before setup it cancels: on_setup reports ESRPC_ERROR_CANCELLED. On a connection that is
/// closing or closed it does nothing, except that reason replaces ESRPC_ERROR_HANDSHAKE_REFUSED if the call is made
/// before on_shutdown, for example inside the callback that delivers the refusing CONNECT_ACK.
///
/// @param connection Borrowed.
/// @param reason The reason that on_shutdown reports: ESRPC_OK, or any number of the application's choice from 1000 up.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if connection is NULL or reason is another number;
/// ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_close(
    connection: *mut esrpc_connection,
    reason: esrpc_status,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live or lent handle.
        let connection = unsafe { esrpc_connection::share(connection) }?;
        connection.close(requested_outcome(reason)?);
        Ok(())
    })
}

/// Closes the connection at once, without writing the rest. May also be called while it is closing. Returns at once.
/// The flush callbacks of unwritten sends report ESRPC_ERROR_CONNECTION_CLOSED or ESRPC_ERROR_ABORTED; on_shutdown
/// reports ESRPC_OK if there were none, otherwise ESRPC_ERROR_ABORTED. Before setup it cancels, as
/// esrpc_connection_close does.
///
/// @param connection Borrowed.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if connection is NULL; ESRPC_ERROR_RUNTIME_SHUTDOWN;
/// ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_abort(connection: *mut esrpc_connection) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_connection::share(connection) }?.abort();
        Ok(())
    })
}

/// Sends a message on stream-id 0. It is copied and queued; messages are sent in the order of the calls. With
/// ESRPC_MESSAGE_FLAG_TERMINATE_STREAM, or as a CONNECT_ACK without ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED, it ends
/// the connection once it is written.
///
/// @param connection Borrowed.
/// @param message_type ESRPC_MESSAGE_TYPE_PING to ESRPC_MESSAGE_TYPE_INTERNAL_ERROR; CONNECT only on a client,
/// CONNECT_ACK only on a server.
/// @param message_flags ESRPC_MESSAGE_FLAG_ bits; unknown ones are sent as they are.
/// @param headers Copied; NULL: none. ":message-type", ":message-flags" and ":stream-id" are added by the library.
/// @param payload Copied; may be empty.
/// @param on_flush Called once if the send is accepted, otherwise never; NULL: none.
/// @param flush_user_data Passed to on_flush.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if connection is NULL, headers is a message's list, or payload is
/// NULL with a length; ESRPC_ERROR_WRONG_MESSAGE_TYPE; ESRPC_ERROR_RESERVED_HEADER; ESRPC_ERROR_TOO_MANY_HEADERS,
/// ESRPC_ERROR_HEADERS_TOO_LARGE, ESRPC_ERROR_MESSAGE_TOO_LARGE; ESRPC_ERROR_NOT_READY before setup;
/// ESRPC_ERROR_HANDSHAKE_PENDING or ESRPC_ERROR_HANDSHAKE_ALREADY_DONE if the handshake forbids the message now;
/// ESRPC_ERROR_CONNECTION_CLOSED; ESRPC_ERROR_WOULD_BLOCK if the outbound limit is reached (on_writable follows);
/// ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: any; headers: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_send_protocol_message(
    connection: *mut esrpc_connection,
    message_type: i32,
    message_flags: i32,
    headers: Option<&esrpc_headers>,
    payload: esrpc_bytes,
    on_flush: esrpc_flush_callback,
    flush_user_data: *mut c_void,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, all, and unchanged during the call.
        let (connection, message) =
            unsafe { (esrpc_connection::share(connection)?, outgoing(message_type, message_flags, headers, payload)?) };
        connection.send_protocol(message, flush_callback(on_flush, flush_user_data))?;
        Ok(())
    })
}

/// Stops reading from the peer, independently of full queues (esrpc_stream_read); the peer has to stop sending once its
/// own buffers are full. Messages that were already read wait until reading resumes. While reading is paused the end of
/// the connection is not noticed, until a write fails: that ends the pause, so that no flush callback is kept waiting.
///
/// @param connection Borrowed.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if connection is NULL; ESRPC_ERROR_NOT_READY before setup;
/// ESRPC_ERROR_CONNECTION_CLOSED; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_pause_reading(connection: *mut esrpc_connection) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_connection::share(connection) }?.set_reading_paused(true)?;
        Ok(())
    })
}

/// Resumes reading from the peer, beginning with the messages that wait, unless the queue of a stream is full.
///
/// @param connection Borrowed.
/// @return ESRPC_OK, also if reading was not paused; ESRPC_ERROR_INVALID_ARGUMENT if connection is NULL;
/// ESRPC_ERROR_NOT_READY before setup; ESRPC_ERROR_CONNECTION_CLOSED; ESRPC_ERROR_RUNTIME_SHUTDOWN;
/// ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_resume_reading(connection: *mut esrpc_connection) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_connection::share(connection) }?.set_reading_paused(false)?;
        Ok(())
    })
}

/// Runs a function once on the connection's event-loop thread, after everything requested of that thread before.
/// Works as long as the caller has a reference, also after the connection has ended.
///
/// @param connection Borrowed.
/// @param task Called once if the call returns ESRPC_OK, otherwise never.
/// @param user_data Passed to task.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if connection or task is NULL; ESRPC_ERROR_RUNTIME_SHUTDOWN;
/// ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_run_on_loop(
    connection: *mut esrpc_connection,
    task: esrpc_task_callback,
    user_data: *mut c_void,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live or lent handle.
        let connection = unsafe { esrpc_connection::share(connection) }?;
        let function = task.ok_or_else(|| Failure::null("task"))?;
        let user_data = UserData(user_data);
        connection.run_on_loop(move |outcome| {
            // Captures the whole struct, which is Send, rather than the pointer inside, which is not.
            let user_data: UserData = user_data;
            let status = explained(outcome.as_ref().copied());
            // SAFETY: the caller gave the function together with the pointer, to be called once.
            unsafe { host_call::call(function, (status, user_data.0)) }
        });
        Ok(())
    })
}
