//! Streams.

use std::any::Any;
use std::ffi::{c_char, c_void};
use std::num::NonZeroU32;
use std::sync::Arc;

use super::bytes::esrpc_bytes;
use super::callbacks::{UserData, esrpc_flush_callback, flush_callback};
use super::constants::{ESRPC_NO_TIMEOUT, esrpc_stream_state};
use super::counted::esrpc_connection;
pub use super::counted::esrpc_stream;
use super::errors::{end_message, end_status, explained};
use super::failure::Failure;
use super::guard;
use super::handle::ArcHandle;
use super::headers::esrpc_headers;
use super::host_call;
use super::message::{esrpc_message, outgoing, outgoing_first, with_view};
use super::out::check_out;
use super::status::{ESRPC_ERROR_INVALID_UTF8, ESRPC_OK, esrpc_status};
use super::table::read_table;
use super::times::timeout;
use crate::rpc::{Incoming, MessageType, Outgoing, error_message};
use crate::runtime::{Destroyed, Inbox, Outcome, Stream, StreamHandler, StreamPhase};

/// What a stream calls. Every slot may be NULL. A stream without a table is read with esrpc_stream_read. The rules of
/// esrpc_connection_callbacks apply. Set struct_size to sizeof(esrpc_stream_callbacks).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct esrpc_stream_callbacks {
    /// The size of this struct.
    pub struct_size: usize,
    /// A message has arrived. If it has ESRPC_MESSAGE_FLAG_TERMINATE_STREAM, it is the last one, nothing more can be
    /// sent (the state is ESRPC_STREAM_STATE_CLOSED already), and on_closed follows.
    pub on_message:
        Option<unsafe extern "C" fn(stream: *mut esrpc_stream, message: *const esrpc_message, user_data: *mut c_void)>,
    /// A send or the activation returned ESRPC_ERROR_WOULD_BLOCK, and half of the connection's outbound limit is free
    /// now. Called once each time this happens.
    pub on_writable: Option<unsafe extern "C" fn(stream: *mut esrpc_stream, user_data: *mut c_void)>,
    /// The stream is over. Called once, if it was activated or accepted, after its flush callbacks. ESRPC_OK: ended
    /// by ESRPC_MESSAGE_FLAG_TERMINATE_STREAM from either side. ESRPC_ERROR_STREAM_TIMED_OUT: its deadline passed.
    /// Otherwise its connection ended: with the reason of on_shutdown, or ESRPC_ERROR_CONNECTION_CLOSED if this side
    /// closed it.
    pub on_closed:
        Option<unsafe extern "C" fn(stream: *mut esrpc_stream, reason: esrpc_status, user_data: *mut c_void)>,
    /// The last callback, called once: user_data is not used any more. Called when the stream has ended or was never
    /// activated, and the last handle is released.
    pub on_destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
}

const APPLICATION_MESSAGE: i32 = MessageType::ApplicationMessage as i32;
const APPLICATION_ERROR: i32 = MessageType::ApplicationError as i32;

const NO_CALLBACKS: esrpc_stream_callbacks = esrpc_stream_callbacks {
    struct_size: size_of::<esrpc_stream_callbacks>(),
    on_message: None,
    on_writable: None,
    on_closed: None,
    on_destroy: None,
};

/// The caller's side of a stream.
struct Callbacks {
    table: esrpc_stream_callbacks,
    user_data: UserData,
    /// For a stream without a table: its messages, which wait to be read.
    inbox: Option<Inbox>,
}

impl Callbacks {
    /// # Safety
    /// The table is NULL or as large as its struct_size says.
    unsafe fn new(table: *const esrpc_stream_callbacks, user_data: *mut c_void) -> Result<Box<Callbacks>, Failure> {
        // SAFETY: what the caller promised.
        let slots = unsafe { read_table(table, NO_CALLBACKS, "callbacks") }?;
        let inbox = table.is_null().then(Inbox::default);
        Ok(Box::new(Callbacks { table: slots, user_data: UserData(user_data), inbox }))
    }
}

// In each of the calls below:
// SAFETY: the caller gave the function together with the pointer, to be called on the connection's loop thread.
impl StreamHandler for Callbacks {
    fn on_message(&self, stream: &Arc<Stream>, incoming: &Incoming<'_>) {
        if self.inbox.is_some() {
            stream.keep_unread(incoming.message);
        }
        if let Some(function) = self.table.on_message {
            with_view(incoming, |view| {
                // SAFETY: see above.
                unsafe { host_call::call(function, (esrpc_stream::lend(stream), view, self.user_data.0)) }
            });
        }
    }

    fn on_writable(&self, stream: &Arc<Stream>) {
        if let Some(function) = self.table.on_writable {
            // SAFETY: see above.
            unsafe { host_call::call(function, (esrpc_stream::lend(stream), self.user_data.0)) }
        }
    }

    fn on_closed(&self, stream: &Arc<Stream>, outcome: &Outcome) {
        if self.inbox.is_some() {
            stream.end_unread(outcome);
        }
        if let Some(function) = self.table.on_closed {
            let reason = explained(outcome.as_ref().copied());
            // SAFETY: see above.
            unsafe { host_call::call(function, (esrpc_stream::lend(stream), reason, self.user_data.0)) }
        }
    }

    fn inbox(&self) -> Option<&Inbox> {
        self.inbox.as_ref()
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

/// Creates a stream on a client's connection. Nothing is sent and no id is used until it is activated. Without a
/// table its messages wait for esrpc_stream_read.
///
/// @param connection Borrowed; the stream has its own reference.
/// @param callbacks Copied; NULL: none, the messages are read with esrpc_stream_read.
/// @param user_data Passed to the callbacks; it may be freed in on_destroy.
/// @param out_stream Receives the stream, one reference, to be released with esrpc_stream_release.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if connection or out_stream is NULL or callbacks has a wrong
/// struct_size; ESRPC_ERROR_INVALID_STATE on a server's connection; ESRPC_ERROR_NOT_READY before setup;
/// ESRPC_ERROR_CONNECTION_CLOSED; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_new_stream(
    connection: *mut esrpc_connection,
    callbacks: *const esrpc_stream_callbacks,
    user_data: *mut c_void,
    out_stream: *mut *mut esrpc_stream,
) -> esrpc_status {
    guard::call(|| {
        check_out(out_stream, "out_stream")?;
        // SAFETY: NULL or a live or lent handle, and a table of the size it says.
        let (connection, callbacks) =
            unsafe { (esrpc_connection::share(connection)?, Callbacks::new(callbacks, user_data)?) };
        let stream = Stream::new(&connection, callbacks)?;
        // SAFETY: the caller's variable, checked above.
        unsafe { out_stream.write(esrpc_stream::give(stream)) };
        Ok(())
    })
}

/// Adds a reference.
///
/// @param stream Borrowed; NULL: returns NULL.
/// @return The same handle, to be released one more time.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_acquire(stream: *mut esrpc_stream) -> *mut esrpc_stream {
    guard::value(std::ptr::null_mut(), || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_stream::acquire(stream) }
    })
}

/// Releases a reference. Never waits and never ends the stream.
///
/// @param stream Not to be used afterwards; NULL, or, in a forked child, a handle of its parent: nothing happens.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_release(stream: *mut esrpc_stream) {
    guard::value((), || {
        // SAFETY: NULL or a live handle, whose reference the caller gives up.
        unsafe { esrpc_stream::release(stream) }
    })
}

/// Sets a deadline for a client's stream, counted from its activation. When it passes, the stream ends on this side:
/// on_closed and the flush callbacks of unwritten sends report ESRPC_ERROR_STREAM_TIMED_OUT, and the peer is sent an
/// empty message with ESRPC_MESSAGE_FLAG_TERMINATE_STREAM.
///
/// @param stream Borrowed; not activated yet.
/// @param deadline_ms Milliseconds, 1 to 4294967294, or ESRPC_NO_TIMEOUT, the default.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if stream is NULL or deadline_ms is 0;
/// ESRPC_ERROR_STREAM_ALREADY_ACTIVATED; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_set_deadline_ms(stream: *mut esrpc_stream, deadline_ms: u32) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live or lent handle.
        let stream = unsafe { esrpc_stream::share(stream) }?;
        let deadline = NonZeroU32::new(deadline_ms).ok_or_else(|| {
            Failure::invalid_argument("deadline_ms is 0; for no deadline it must be ESRPC_NO_TIMEOUT")
        })?;
        stream.set_deadline((deadline_ms != ESRPC_NO_TIMEOUT).then_some(deadline))?;
        Ok(())
    })
}

/// Opens a client's stream with its first message. The stream takes the connection's next id at this moment.
///
/// @param stream Borrowed.
/// @param operation The operation's name, UTF-8, 1 to 32767 bytes, copied; sent as the string header "operation".
/// @param message_type ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE or ESRPC_MESSAGE_TYPE_APPLICATION_ERROR.
/// @param message_flags ESRPC_MESSAGE_FLAG_ bits; with ESRPC_MESSAGE_FLAG_TERMINATE_STREAM the stream ends once the
/// message is written.
/// @param headers Copied; NULL: none. ":message-type", ":message-flags", ":stream-id" and "operation" are added by
/// the library.
/// @param payload Copied; may be empty.
/// @param on_flush Called once if the activation is accepted, otherwise never; NULL: none.
/// @param flush_user_data Passed to on_flush.
/// @return ESRPC_OK; after an error the activation may be tried again: ESRPC_ERROR_INVALID_ARGUMENT if stream is
/// NULL, headers is a message's list, operation is empty, or operation or payload is NULL with a length;
/// ESRPC_ERROR_INVALID_UTF8 and ESRPC_ERROR_HEADER_VALUE_TOO_LONG for operation; ESRPC_ERROR_WRONG_MESSAGE_TYPE;
/// ESRPC_ERROR_RESERVED_HEADER; ESRPC_ERROR_TOO_MANY_HEADERS, ESRPC_ERROR_HEADERS_TOO_LARGE,
/// ESRPC_ERROR_MESSAGE_TOO_LARGE; ESRPC_ERROR_STREAM_ALREADY_ACTIVATED; ESRPC_ERROR_INVALID_STATE on a server;
/// ESRPC_ERROR_HANDSHAKE_PENDING before CONNECT_ACK; ESRPC_ERROR_CONNECTION_CLOSED; ESRPC_ERROR_DRAINING if the
/// runtime is being drained; ESRPC_ERROR_WOULD_BLOCK (on_writable follows); ESRPC_ERROR_STREAM_IDS_EXHAUSTED;
/// ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: any; headers: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_activate(
    stream: *mut esrpc_stream,
    operation: esrpc_bytes,
    message_type: i32,
    message_flags: i32,
    headers: Option<&esrpc_headers>,
    payload: esrpc_bytes,
    on_flush: esrpc_flush_callback,
    flush_user_data: *mut c_void,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, all, and unchanged during the call.
        let (stream, message) = unsafe {
            (esrpc_stream::share(stream)?, outgoing_first(operation, message_type, message_flags, headers, payload)?)
        };
        stream.activate(message, flush_callback(on_flush, flush_user_data))?;
        Ok(())
    })
}

/// Sends a message on an open stream. It is copied and queued; messages are sent in the order of the calls.
///
/// @param stream Borrowed.
/// @param message_type ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE or ESRPC_MESSAGE_TYPE_APPLICATION_ERROR.
/// @param message_flags ESRPC_MESSAGE_FLAG_ bits; with ESRPC_MESSAGE_FLAG_TERMINATE_STREAM nothing more can be sent,
/// and the stream ends once the message is written.
/// @param headers Copied; NULL: none. ":message-type", ":message-flags" and ":stream-id" are added by the library.
/// @param payload Copied; may be empty.
/// @param on_flush Called once if the send is accepted, otherwise never; NULL: none.
/// @param flush_user_data Passed to on_flush.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if stream is NULL, headers is a message's list, or payload is NULL
/// with a length; ESRPC_ERROR_WRONG_MESSAGE_TYPE; ESRPC_ERROR_RESERVED_HEADER; ESRPC_ERROR_TOO_MANY_HEADERS,
/// ESRPC_ERROR_HEADERS_TOO_LARGE, ESRPC_ERROR_MESSAGE_TOO_LARGE; ESRPC_ERROR_STREAM_NOT_ACTIVATED;
/// ESRPC_ERROR_INVALID_STATE if a server has not accepted it yet; ESRPC_ERROR_STREAM_CLOSED if either side has ended
/// it; ESRPC_ERROR_CONNECTION_CLOSED; ESRPC_ERROR_WOULD_BLOCK (on_writable follows); ESRPC_ERROR_RUNTIME_SHUTDOWN;
/// ESRPC_ERROR_FORKED. An empty message with ESRPC_MESSAGE_FLAG_TERMINATE_STREAM is accepted whatever the outbound
/// limit.
///
/// Thread: any; headers: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_send_message(
    stream: *mut esrpc_stream,
    message_type: i32,
    message_flags: i32,
    headers: Option<&esrpc_headers>,
    payload: esrpc_bytes,
    on_flush: esrpc_flush_callback,
    flush_user_data: *mut c_void,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, all, and unchanged during the call.
        let (stream, message) =
            unsafe { (esrpc_stream::hold(stream)?, outgoing(message_type, message_flags, headers, payload)?) };
        stream.send(message, flush_callback(on_flush, flush_user_data))?;
        Ok(())
    })
}

/// Ends the stream by sending an empty message with ESRPC_MESSAGE_FLAG_TERMINATE_STREAM, whatever the outbound limit.
///
/// @param stream Borrowed.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if stream is NULL; ESRPC_ERROR_STREAM_NOT_ACTIVATED;
/// ESRPC_ERROR_INVALID_STATE if a server has not accepted it yet; ESRPC_ERROR_STREAM_CLOSED if either side has ended
/// it; ESRPC_ERROR_CONNECTION_CLOSED; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_close(stream: *mut esrpc_stream) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_stream::share(stream) }?.close()?;
        Ok(())
    })
}

/// Lets a server decide later, on any thread, whether to accept a stream, for example after asking another service.
/// May only be called inside the on_incoming_stream that announces it: acquire the stream there, and later call
/// esrpc_stream_accept, esrpc_stream_refuse, esrpc_stream_reply or esrpc_stream_fail, until one of them returns
/// ESRPC_OK; after ESRPC_ERROR_WOULD_BLOCK the call may be repeated while there is time. The library refuses the
/// stream with an APPLICATION_ERROR if its time runs out or its last handle is released before that.
///
/// Messages that arrive meanwhile wait and are delivered in order once it is accepted, followed by on_closed if the
/// client has ended the stream. If they fill the queue (esrpc_connection_options_set_stream_queue_limit), nothing is
/// read from the whole connection until the decision. The stream counts as open. If its connection ends first, no
/// callback is called for it, and the decision returns ESRPC_ERROR_CONNECTION_CLOSED. Once the client has ended it, its
/// time is over or its connection has ended, esrpc_stream_get_state returns ESRPC_STREAM_STATE_CLOSED: check this
/// before doing work for it.
///
/// @param stream Borrowed.
/// @param deadline_ms Milliseconds until it is refused, at least 1; or ESRPC_NO_TIMEOUT.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if stream is NULL or deadline_ms is 0; ESRPC_ERROR_INVALID_STATE if
/// it is not being announced, or was accepted, refused or deferred; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: loop. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_defer(stream: *mut esrpc_stream, deadline_ms: u32) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a lent handle.
        let stream = unsafe { esrpc_stream::share(stream) }?;
        if deadline_ms == 0 {
            return Err(Failure::invalid_argument("deadline_ms is 0: there would be no time to decide"));
        }
        stream.defer(timeout(deadline_ms))?;
        Ok(())
    })
}

/// Accepts a stream that a client opens. May only be called inside the on_incoming_stream that announces it, or once
/// after esrpc_stream_defer. Without a table its messages, beginning with the first, wait for esrpc_stream_read if
/// the stream is acquired here; otherwise they are dropped.
///
/// @param stream Borrowed; acquire it to keep it.
/// @param callbacks Copied; NULL: none, the messages are read with esrpc_stream_read.
/// @param user_data Passed to the callbacks; it may be freed in on_destroy.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if stream is NULL or callbacks has a wrong struct_size;
/// ESRPC_ERROR_INVALID_STATE if it is not being announced, or was accepted or refused; ESRPC_ERROR_CONNECTION_CLOSED
/// if it was deferred and its connection has ended; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: loop; any after esrpc_stream_defer. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_accept(
    stream: *mut esrpc_stream,
    callbacks: *const esrpc_stream_callbacks,
    user_data: *mut c_void,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a lent handle, and a table of the size it says.
        let (stream, callbacks) = unsafe { (esrpc_stream::share(stream)?, Callbacks::new(callbacks, user_data)?) };
        stream.accept(callbacks)?;
        Ok(())
    })
}

/// Refuses a stream that a client opens, with an APPLICATION_ERROR that ends it; the connection stays open. May only
/// be called inside the on_incoming_stream that announces it, or once after esrpc_stream_defer.
///
/// @param stream Borrowed.
/// @param headers The error's headers, copied; NULL: none.
/// @param payload The error's payload, copied; may be empty.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if stream is NULL, headers is a message's list, or payload is NULL
/// with a length; ESRPC_ERROR_INVALID_STATE if it is not being announced, or was accepted or refused;
/// ESRPC_ERROR_RESERVED_HEADER; ESRPC_ERROR_TOO_MANY_HEADERS, ESRPC_ERROR_HEADERS_TOO_LARGE,
/// ESRPC_ERROR_MESSAGE_TOO_LARGE; ESRPC_ERROR_CONNECTION_CLOSED; after esrpc_stream_defer also
/// ESRPC_ERROR_STREAM_CLOSED if the client has ended it, and ESRPC_ERROR_WOULD_BLOCK (the connection's on_writable
/// follows); ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: loop; any after esrpc_stream_defer. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_refuse(
    stream: *mut esrpc_stream,
    headers: Option<&esrpc_headers>,
    payload: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, all, and unchanged during the call.
        let (stream, message) =
            unsafe { (esrpc_stream::share(stream)?, outgoing(APPLICATION_ERROR, 0, headers, payload)?) };
        stream.answer(message)?;
        Ok(())
    })
}

/// Sends the last message of a call: an APPLICATION_MESSAGE with ESRPC_MESSAGE_FLAG_TERMINATE_STREAM, which ends the
/// stream once it is written. A server that needs only the first message calls this inside on_incoming_stream, instead
/// of esrpc_stream_accept: then no callback of the stream follows, and the outbound queue may exceed its limit; the
/// server reads nothing from that client while more than 64 KiB of what it cannot refuse to send, such replies among
/// it, are unwritten. For an accepted stream, on_closed follows.
///
/// @param stream Borrowed; open, announced by the on_incoming_stream that is running, or deferred.
/// @param headers Copied; NULL: none.
/// @param payload Copied; may be empty.
/// @return ESRPC_OK; ESRPC_ERROR_WOULD_BLOCK if the stream is open and the outbound queue is full (on_writable follows;
/// for a deferred stream, that of the connection); or what esrpc_stream_send_message returns:
/// ESRPC_ERROR_INVALID_ARGUMENT, ESRPC_ERROR_RESERVED_HEADER, ESRPC_ERROR_TOO_MANY_HEADERS,
/// ESRPC_ERROR_HEADERS_TOO_LARGE, ESRPC_ERROR_MESSAGE_TOO_LARGE, ESRPC_ERROR_STREAM_NOT_ACTIVATED,
/// ESRPC_ERROR_STREAM_CLOSED, ESRPC_ERROR_CONNECTION_CLOSED, ESRPC_ERROR_RUNTIME_SHUTDOWN, ESRPC_ERROR_FORKED.
///
/// Thread: any; headers: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_reply(
    stream: *mut esrpc_stream,
    headers: Option<&esrpc_headers>,
    payload: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, all, and unchanged during the call.
        let (stream, message) =
            unsafe { (esrpc_stream::share(stream)?, outgoing(APPLICATION_MESSAGE, 0, headers, payload)?) };
        stream.finish(message)?;
        Ok(())
    })
}

/// Ends a call with an error, in the form that clients generated from a service's model expect: an APPLICATION_ERROR
/// with ESRPC_MESSAGE_FLAG_TERMINATE_STREAM, the headers "service-model-type" and ":content-type" ("application/json"),
/// and the payload {"message": "..."}. For an error in another form, use esrpc_stream_refuse or
/// esrpc_stream_send_message; to get rid of a stream whose client reads too slowly, use esrpc_stream_close, which a
/// full queue does not stop. May be called wherever esrpc_stream_reply may.
///
/// @param stream Borrowed; open, announced by the on_incoming_stream that is running, or deferred.
/// @param error_type The error's name in the model, such as "aws.greengrass#ServiceError", UTF-8, at most 32767
/// bytes, copied; empty: that header is left out, and clients report an error of unknown type.
/// @param message A sentence for people, UTF-8, copied; may be empty.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_UTF8; ESRPC_ERROR_HEADER_VALUE_TOO_LONG for error_type; or what
/// esrpc_stream_reply returns: ESRPC_ERROR_INVALID_ARGUMENT, ESRPC_ERROR_WOULD_BLOCK, ESRPC_ERROR_TOO_MANY_HEADERS,
/// ESRPC_ERROR_HEADERS_TOO_LARGE, ESRPC_ERROR_MESSAGE_TOO_LARGE, ESRPC_ERROR_STREAM_NOT_ACTIVATED,
/// ESRPC_ERROR_STREAM_CLOSED, ESRPC_ERROR_CONNECTION_CLOSED, ESRPC_ERROR_RUNTIME_SHUTDOWN, ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_fail(
    stream: *mut esrpc_stream,
    error_type: esrpc_bytes,
    message: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, all, and unchanged during the call.
        let (stream, error_type, text) =
            unsafe { (esrpc_stream::share(stream)?, error_type.as_slice("error_type")?, message.as_slice("message")?) };
        let text = std::str::from_utf8(text)
            .map_err(|_| Failure::new(ESRPC_ERROR_INVALID_UTF8, "message is not UTF-8 text"))?;
        let (headers, payload) = error_message(error_type, text)?;
        let (headers, operation) = (Some(&headers), None);
        stream.finish(Outgoing { message_type: APPLICATION_ERROR, flags: 0, headers, operation, payload: &payload })?;
        Ok(())
    })
}

/// Returns the stream's id on its connection.
///
/// @param stream Borrowed.
/// @return 1 or more; 0 if it is not activated, if stream is NULL, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_get_id(stream: *const esrpc_stream) -> i32 {
    guard::value(0, || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_stream::read(stream, 0, Stream::id) }
    })
}

/// Returns the stream's state.
///
/// @param stream Borrowed.
/// @return An ESRPC_STREAM_STATE_ constant; 0 if stream is NULL, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_get_state(stream: *const esrpc_stream) -> i32 {
    guard::value(0, || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_stream::read(stream, 0, |stream| state_number(stream.phase())) }
    })
}

fn state_number(phase: StreamPhase) -> i32 {
    use esrpc_stream_state::*;
    let state = match phase {
        StreamPhase::New | StreamPhase::Announced => ESRPC_STREAM_STATE_NEW,
        StreamPhase::Open => ESRPC_STREAM_STATE_OPEN,
        StreamPhase::Closing => ESRPC_STREAM_STATE_CLOSING,
        StreamPhase::Closed => ESRPC_STREAM_STATE_CLOSED,
    };
    state as i32
}

/// Returns the stream's connection.
///
/// @param stream Borrowed.
/// @return The connection, borrowed: acquire it to keep it longer than the stream; NULL if stream is NULL, and in a
/// forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_get_connection(stream: *const esrpc_stream) -> *mut esrpc_connection {
    guard::value(std::ptr::null_mut(), || {
        // SAFETY: NULL or a live or lent handle.
        unsafe {
            esrpc_stream::read(stream, std::ptr::null_mut(), |stream| esrpc_connection::lend(stream.connection()))
        }
    })
}

/// Returns the user_data that was passed with the callbacks.
///
/// @param stream Borrowed.
/// @return The pointer; NULL if stream is NULL or not accepted yet, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_get_user_data(stream: *const esrpc_stream) -> *mut c_void {
    guard::value(std::ptr::null_mut(), || {
        let none = std::ptr::null_mut();
        let user_data = |stream: &Stream| {
            let callbacks = stream.owner().and_then(|owner| owner.downcast_ref::<Callbacks>());
            callbacks.map_or(none, |callbacks| callbacks.user_data.0)
        };
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_stream::read(stream, none, user_data) }
    })
}

/// Returns the operation that the stream was opened for.
///
/// @param stream Borrowed.
/// @return Bytes that are valid as long as the handle; on a server as received, not necessarily UTF-8; empty if it is
/// not activated or stream is NULL, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_get_operation(stream: *const esrpc_stream) -> esrpc_bytes {
    guard::value(esrpc_bytes::EMPTY, || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_stream::read(stream, esrpc_bytes::EMPTY, |stream| esrpc_bytes::from_slice(stream.operation())) }
    })
}

/// Returns why the stream ended, as reported by on_closed.
///
/// @param stream Borrowed.
/// @return The reason; ESRPC_OK while the stream has not ended, for a deferred one that the library refused, if stream
/// is NULL, and in a forked child. A server sees a client's timeout as ESRPC_OK: such a client ends the stream like any
/// other.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_get_end_status(stream: *const esrpc_stream) -> esrpc_status {
    guard::value(ESRPC_OK.into(), || {
        let status = |stream: &Stream| stream.end().map_or(ESRPC_OK.into(), end_status);
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_stream::read(stream, ESRPC_OK.into(), status) }
    })
}

/// Explains why the stream ended.
///
/// @param stream Borrowed.
/// @return One sentence that is valid as long as the handle; "" while the stream has not ended, if it ended with
/// ESRPC_OK, if stream is NULL, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_get_end_message(stream: *const esrpc_stream) -> *const c_char {
    guard::value(c"".as_ptr(), || {
        let message = |stream: &Stream| stream.end().map_or(c"".as_ptr(), end_message);
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_stream::read(stream, c"".as_ptr(), message) }
    })
}

/// Waits until the stream is over and its on_closed has returned. Returns the reason of the end.
///
/// @param stream Borrowed.
/// @param timeout_ms Milliseconds to wait at most, or ESRPC_NO_TIMEOUT.
/// @return The status that on_closed was given: ESRPC_OK if the stream ended in order, ESRPC_ERROR_STREAM_TIMED_OUT,
/// or why the connection ended, such as ESRPC_ERROR_PEER_CLOSED; ESRPC_ERROR_TIMED_OUT if it is not over within
/// timeout_ms; ESRPC_ERROR_STREAM_NOT_ACTIVATED; ESRPC_ERROR_WOULD_DEADLOCK on an event-loop thread;
/// ESRPC_ERROR_INVALID_ARGUMENT if stream is NULL; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: not-loop. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_wait_closed(stream: *mut esrpc_stream, timeout_ms: u32) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live handle.
        let stream = unsafe { esrpc_stream::share(stream) }?;
        Ok(stream.wait_closed(timeout(timeout_ms))??)
    })
}
