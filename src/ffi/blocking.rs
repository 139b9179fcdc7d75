//! Functions that wait for the outcome of a whole step, for programs without an event loop.

use std::ptr;

use super::bytes::esrpc_bytes;
use super::client_options::esrpc_client_options;
use super::connection::Callbacks;
use super::counted::{esrpc_connection, esrpc_stream};
use super::failure::{Failure, required};
use super::guard;
use super::handle::{ArcHandle, BoxHandle};
use super::headers::esrpc_headers;
use super::message::{esrpc_message, outgoing, outgoing_first};
use super::out::check_out;
use super::status::{ESRPC_ERROR_APPLICATION_ERROR, esrpc_status};
use super::times::timeout;
use crate::rpc::{MessageType, application_error};
use crate::runtime::{Connection, Error, check_may_wait};

/// Connects a client, does the handshake (CONNECT, CONNECT_ACK) and waits until the connection can open streams. The
/// connection has no callbacks; esrpc_connection_get_connect_ack returns the server's CONNECT_ACK.
///
/// @param options Borrowed. Without esrpc_client_options_set_handshake an empty CONNECT is sent. A socket in options
/// belongs to the library once connecting has begun, and is closed if that fails, that is, after any error other than
/// those of esrpc_connection_connect.
/// @param timeout_ms Milliseconds to wait at most for all of it, or ESRPC_NO_TIMEOUT; each phase has a time of its
/// own as well.
/// @param out_connection Receives the connection, one reference, to be released with esrpc_connection_release after
/// esrpc_connection_close. Written only on success.
/// @return ESRPC_OK; otherwise there is no connection: the status that on_setup would have reported, such as
/// ESRPC_ERROR_CONNECTION_REFUSED, ESRPC_ERROR_RESOLVE_FAILED, ESRPC_ERROR_HANDSHAKE_REFUSED,
/// ESRPC_ERROR_PEER_CLOSED, one of TLS, or the timeout of a phase; ESRPC_ERROR_TIMED_OUT after timeout_ms;
/// ESRPC_ERROR_WOULD_DEADLOCK on an event-loop thread; or what esrpc_connection_connect returns:
/// ESRPC_ERROR_INVALID_ARGUMENT if options or out_connection is NULL or options have no address,
/// ESRPC_ERROR_RUNTIME_SHUTDOWN, ESRPC_ERROR_DRAINING, ESRPC_ERROR_FORKED and the others there.
///
/// Thread: not-loop; options: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_connect_blocking(
    options: Option<&esrpc_client_options>,
    timeout_ms: u32,
    out_connection: *mut *mut esrpc_connection,
) -> esrpc_status {
    guard::system_call(|| {
        check_out(out_connection, "out_connection")?;
        let options = required(options, "options")?;
        // SAFETY: there is no table to read.
        let callbacks = unsafe { Callbacks::new(ptr::null(), ptr::null_mut()) }?;
        check_may_wait().map_err(Error::from)?;
        let (request, runtime) = (options.request()?, options.runtime()?);
        let begun = || options.socket_taken.set(true);
        let connection = Connection::connect_and_wait(&runtime, request, callbacks, timeout(timeout_ms), begun)?;
        // SAFETY: the caller's variable, checked above.
        unsafe { out_connection.write(esrpc_connection::give(connection)) };
        Ok(())
    })
}

/// Calls an operation of the server: opens a stream with an APPLICATION_MESSAGE, waits for the first message that
/// comes back, and ends the stream unless the server did. An empty message that ends the stream is a reply. While the
/// outbound queue is full it waits for room. Several threads may call on one connection at the same time. Closing or
/// aborting the connection on another thread ends the wait.
///
/// @param connection Borrowed: a client's connection whose handshake is done.
/// @param operation The operation's name, UTF-8, 1 to 32767 bytes, copied.
/// @param headers Copied; NULL: none.
/// @param payload Copied; may be empty.
/// @param timeout_ms Milliseconds for all of it, or ESRPC_NO_TIMEOUT; 0: the call is sent and ended at once.
/// @param out_reply Receives the reply, to be released with esrpc_message_release, with ESRPC_OK and with
/// ESRPC_ERROR_APPLICATION_ERROR; otherwise it is set to NULL.
/// @return ESRPC_OK; ESRPC_ERROR_APPLICATION_ERROR if the reply is an error message; ESRPC_ERROR_PEER_ERROR if the
/// server sent PROTOCOL_ERROR or INTERNAL_ERROR meanwhile, and esrpc_last_error_message quotes what it says;
/// ESRPC_ERROR_TIMED_OUT after timeout_ms: the stream is then ended, for the server too, but the server may have
/// carried out the call; why the connection ended if it did, such as ESRPC_ERROR_PEER_CLOSED, or
/// ESRPC_ERROR_CONNECTION_CLOSED if this side closed it, in which cases the call may have been sent or not. If the call
/// was not sent: ESRPC_ERROR_INVALID_ARGUMENT if connection or out_reply is NULL, headers is a message's list,
/// operation is empty, or operation or payload is NULL with a length; ESRPC_ERROR_WOULD_DEADLOCK on an event-loop
/// thread; ESRPC_ERROR_INVALID_UTF8, ESRPC_ERROR_HEADER_VALUE_TOO_LONG, ESRPC_ERROR_RESERVED_HEADER,
/// ESRPC_ERROR_TOO_MANY_HEADERS, ESRPC_ERROR_HEADERS_TOO_LARGE, ESRPC_ERROR_MESSAGE_TOO_LARGE;
/// ESRPC_ERROR_INVALID_STATE on a server's connection; ESRPC_ERROR_NOT_READY before setup;
/// ESRPC_ERROR_HANDSHAKE_PENDING before CONNECT_ACK; ESRPC_ERROR_CONNECTION_CLOSED; ESRPC_ERROR_DRAINING;
/// ESRPC_ERROR_STREAM_IDS_EXHAUSTED; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: not-loop; headers: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_call(
    connection: *mut esrpc_connection,
    operation: esrpc_bytes,
    headers: Option<&esrpc_headers>,
    payload: esrpc_bytes,
    timeout_ms: u32,
    out_reply: *mut *mut esrpc_message,
) -> esrpc_status {
    guard::call(|| {
        check_out(out_reply, "out_reply")?;
        // SAFETY: the caller's variable.
        unsafe { out_reply.write(ptr::null_mut()) };
        let message_type = MessageType::ApplicationMessage as i32;
        // SAFETY: NULL or live, all, and unchanged during the call.
        let (connection, message) = unsafe {
            (esrpc_connection::share(connection)?, outgoing_first(operation, message_type, 0, headers, payload)?)
        };
        let reply = connection.call(message, timeout(timeout_ms))?;
        let failure = reply
            .is_error
            .then(|| Failure::new(ESRPC_ERROR_APPLICATION_ERROR, application_error(&reply.message.message())));
        // SAFETY: the caller's variable.
        unsafe { out_reply.write(esrpc_message::keep(reply.message).give()) };
        failure.map_or(Ok(()), Err)
    })
}

/// Takes the next message of a stream that was created or accepted without a callback table, and waits for it if
/// there is none. Waiting messages are bounded by esrpc_connection_options_set_stream_queue_limit: once its queue is
/// full, a stream that is neither read nor ended nor released stops reading from its whole connection. Closing or
/// aborting the connection on another thread ends the wait; messages that arrived before can still be read.
///
/// @param stream Borrowed; activated or accepted. If several threads read the same stream, each message goes to one
/// of them.
/// @param timeout_ms Milliseconds to wait at most, or ESRPC_NO_TIMEOUT; 0: only what has arrived.
/// @param out_message Receives the message, to be released with esrpc_message_release. Written only on success.
/// @return ESRPC_OK; after the last message ESRPC_ERROR_STREAM_CLOSED if the stream was ended by
/// ESRPC_MESSAGE_FLAG_TERMINATE_STREAM from either side, otherwise the status that on_closed would have reported,
/// such as ESRPC_ERROR_PEER_CLOSED or ESRPC_ERROR_STREAM_TIMED_OUT; ESRPC_ERROR_PEER_ERROR if the peer sent
/// PROTOCOL_ERROR or INTERNAL_ERROR on the connection; ESRPC_ERROR_TIMED_OUT after timeout_ms;
/// ESRPC_ERROR_WOULD_DEADLOCK on an event-loop thread; ESRPC_ERROR_STREAM_NOT_ACTIVATED; ESRPC_ERROR_INVALID_STATE if
/// the stream has a callback table or was not accepted; ESRPC_ERROR_INVALID_ARGUMENT if stream or out_message is
/// NULL; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: not-loop. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_read(
    stream: *mut esrpc_stream,
    timeout_ms: u32,
    out_message: *mut *mut esrpc_message,
) -> esrpc_status {
    guard::call(|| {
        check_out(out_message, "out_message")?;
        // SAFETY: NULL or a live handle.
        let stream = unsafe { esrpc_stream::share(stream) }?;
        let message = esrpc_message::keep(stream.read(timeout(timeout_ms))?);
        // SAFETY: the caller's variable.
        unsafe { out_message.write(message.give()) };
        Ok(())
    })
}

/// Sends a message on an open stream as esrpc_stream_send_message does, but waits for room while the outbound queue
/// is full. When it returns, the message is accepted but may not be written yet; esrpc_connection_wait_flush, called
/// next, waits until it is.
///
/// @param stream Borrowed.
/// @param message_type ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE or ESRPC_MESSAGE_TYPE_APPLICATION_ERROR.
/// @param message_flags ESRPC_MESSAGE_FLAG_ bits.
/// @param headers Copied; NULL: none.
/// @param payload Copied; may be empty.
/// @param timeout_ms Milliseconds to wait at most, or ESRPC_NO_TIMEOUT.
/// @return ESRPC_OK; ESRPC_ERROR_TIMED_OUT; ESRPC_ERROR_WOULD_DEADLOCK on an event-loop thread; or what
/// esrpc_stream_send_message returns, except ESRPC_ERROR_WOULD_BLOCK: ESRPC_ERROR_STREAM_CLOSED,
/// ESRPC_ERROR_CONNECTION_CLOSED, ESRPC_ERROR_RUNTIME_SHUTDOWN, ESRPC_ERROR_FORKED and the others there.
///
/// Thread: not-loop; headers: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_stream_send_blocking(
    stream: *mut esrpc_stream,
    message_type: i32,
    message_flags: i32,
    headers: Option<&esrpc_headers>,
    payload: esrpc_bytes,
    timeout_ms: u32,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, all, and unchanged during the call.
        let (stream, message) =
            unsafe { (esrpc_stream::share(stream)?, outgoing(message_type, message_flags, headers, payload)?) };
        stream.send_when_there_is_room(message, timeout(timeout_ms))?;
        Ok(())
    })
}
