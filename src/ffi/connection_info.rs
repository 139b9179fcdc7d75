//! Getters of a connection, and functions that wait for it.

use std::ffi::{c_char, c_void};
use std::time::Duration;

use super::connection::Callbacks;
use super::constants::esrpc_connection_state;
use super::counted::esrpc_connection;
use super::errors::{end_message, end_status};
use super::failure::Failure;
use super::guard;
use super::handle::ArcHandle;
use super::message::esrpc_message;
use super::status::{ESRPC_ERROR_UNSUPPORTED, ESRPC_OK, esrpc_status};
use super::table::write_table;
use super::times::timeout;
use crate::runtime::{Connection, Error, Outcome, Phase};
use crate::transport::Endpoint;

/// Returns the connection's state.
///
/// @param connection Borrowed.
/// @return An ESRPC_CONNECTION_STATE_ constant; 0 if connection is NULL, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_get_state(connection: *const esrpc_connection) -> i32 {
    guard::value(0, || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_connection::read(connection, 0, |connection| state_number(connection.phase())) }
    })
}

fn state_number(phase: Phase) -> i32 {
    use esrpc_connection_state::*;
    let state = match phase {
        Phase::Connecting => ESRPC_CONNECTION_STATE_CONNECTING,
        Phase::Open => ESRPC_CONNECTION_STATE_OPEN,
        Phase::Closing => ESRPC_CONNECTION_STATE_CLOSING,
        Phase::Closed => ESRPC_CONNECTION_STATE_CLOSED,
    };
    state as i32
}

/// Returns whether the connection is set up and neither side has begun to end it.
///
/// @param connection Borrowed.
/// @return true in the state ESRPC_CONNECTION_STATE_OPEN; false otherwise, if connection is NULL, and in a forked
/// child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_is_open(connection: *const esrpc_connection) -> bool {
    guard::value(false, || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_connection::read(connection, false, |connection| connection.phase() == Phase::Open) }
    })
}

/// Returns the user_data that was passed with the callbacks.
///
/// @param connection Borrowed.
/// @return The pointer; NULL if connection is NULL or not accepted yet, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_get_user_data(connection: *const esrpc_connection) -> *mut c_void {
    guard::value(std::ptr::null_mut(), || {
        let none = std::ptr::null_mut();
        // SAFETY: NULL or a live or lent handle.
        unsafe {
            esrpc_connection::read(connection, none, |c| {
                Callbacks::of(c).map_or(none, |callbacks| callbacks.user_data.0)
            })
        }
    })
}

/// Returns the address of this side's socket: "127.0.0.1:80", "[::1]:80", "unix:/path", "unix:@name", "unix:" for a
/// Unix socket without a name, or "pipe:" and the name of a named pipe on Windows.
///
/// @param connection Borrowed.
/// @return Text that is valid as long as the handle; "" before the connection is established, if connection is NULL,
/// and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_get_local_address(connection: *const esrpc_connection) -> *const c_char {
    guard::value(c"".as_ptr(), || {
        // SAFETY: NULL or a live or lent handle.
        unsafe {
            esrpc_connection::read(connection, c"".as_ptr(), |c| {
                c.addresses().map_or(c"".as_ptr(), |(local, _)| local.text().as_ptr())
            })
        }
    })
}

/// Returns the address of the peer's socket, in the forms of esrpc_connection_get_local_address.
///
/// @param connection Borrowed.
/// @return Text that is valid as long as the handle; "" before the connection is established, if connection is NULL,
/// and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_get_remote_address(connection: *const esrpc_connection) -> *const c_char {
    guard::value(c"".as_ptr(), || {
        // SAFETY: NULL or a live or lent handle.
        unsafe {
            esrpc_connection::read(connection, c"".as_ptr(), |c| {
                c.addresses().map_or(c"".as_ptr(), |(_, peer)| peer.text().as_ptr())
            })
        }
    })
}

/// The size of the text of a Windows security identifier with its NUL, in bytes.
pub const ESRPC_SID_SIZE: usize = 188;

/// Which process is at the other end of a Unix socket or named pipe.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct esrpc_peer_credentials {
    /// sizeof(esrpc_peer_credentials), set by the caller before the call.
    pub struct_size: usize,
    /// The process id; 0 if it cannot be seen from this process's namespace.
    pub pid: i32,
    /// The effective user id; UINT32_MAX on Windows.
    pub uid: u32,
    /// The effective group id; UINT32_MAX on Windows.
    pub gid: u32,
    /// Always 0.
    pub reserved: u32,
    /// On Windows the user's security identifier as text, such as "S-1-5-18", with a NUL; "" if it is not known, and on
    /// other systems.
    pub sid: [c_char; ESRPC_SID_SIZE],
}

impl Default for esrpc_peer_credentials {
    fn default() -> esrpc_peer_credentials {
        esrpc_peer_credentials { struct_size: 0, pid: 0, uid: 0, gid: 0, reserved: 0, sid: [0; ESRPC_SID_SIZE] }
    }
}

/// Reports which process is at the other end of a Unix socket, as the system recorded it when that end connected (on
/// a client: when the server began to listen; for a socketpair: when the pair was made). It describes the process at
/// that time: the pid may belong to another process by now.
///
/// On a named pipe, a server reports the user in whose name the client opened the pipe; a client reports the user that
/// the server's process runs as, if it is allowed to know.
///
/// @param connection Borrowed; available on a server from on_incoming_connection on, on a client from on_setup on,
/// and also after the end.
/// @param out_credentials Filled in. Set its struct_size to sizeof the struct first.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if connection or out_credentials is NULL or
/// out_credentials->struct_size is not the size of such a struct; ESRPC_ERROR_NOT_READY before the connection is
/// established, also if it never was; ESRPC_ERROR_INVALID_STATE if it is not over a Unix socket
/// or named pipe; ESRPC_ERROR_UNSUPPORTED on systems other than Linux and Windows; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_get_peer_credentials(
    connection: *const esrpc_connection,
    out_credentials: *mut esrpc_peer_credentials,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live or lent handle.
        let connection = unsafe { esrpc_connection::share(connection) }?;
        let Some((local, _)) = connection.addresses() else { return Err(Error::NotReady.into()) };
        let Some(peer) = connection.peer_credentials() else {
            let local = local.text().to_bytes();
            return Err(if local.starts_with(b"unix:") || local.starts_with(b"pipe:") {
                Failure::new(ESRPC_ERROR_UNSUPPORTED, "this system does not report who is at the other end of a socket")
            } else {
                Failure::invalid_state("only Unix sockets report who is at the other end; this is a TCP connection")
            });
        };
        let credentials = esrpc_peer_credentials {
            struct_size: size_of::<esrpc_peer_credentials>(),
            pid: peer.pid,
            uid: peer.uid,
            gid: peer.gid,
            reserved: 0,
            sid: text_field(&peer.sid),
        };
        // SAFETY: NULL or the caller's variable, which begins with its size.
        unsafe { write_table(out_credentials, &credentials, "out_credentials") }
    })
}

/// The text in a field of a struct, cut off if it is too long, and zeros.
fn text_field<const SIZE: usize>(text: &str) -> [c_char; SIZE] {
    let mut field = [0; SIZE];
    field.iter_mut().zip(text.bytes().take(SIZE - 1)).for_each(|(place, byte)| *place = byte as c_char);
    field
}

/// Returns the host from the client options, unchanged; for a Unix socket "unix:/path" or "unix:@name"; "" for the
/// caller's own socket.
///
/// @param connection Borrowed.
/// @return Text that is valid as long as the handle; "" on a server's connection, if connection is NULL, and in a
/// forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_get_host(connection: *const esrpc_connection) -> *const c_char {
    guard::value(c"".as_ptr(), || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_connection::read(connection, c"".as_ptr(), |connection| connection.host().as_ptr()) }
    })
}

/// Returns the port from the client options.
///
/// @param connection Borrowed.
/// @return The port; 0 for a Unix socket, on a server's connection, if connection is NULL, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_get_port(connection: *const esrpc_connection) -> u32 {
    guard::value(0, || {
        let port = |connection: &Connection| match connection.endpoint() {
            Some(Endpoint::Tcp { port, .. }) => u32::from(*port),
            _ => 0,
        };
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_connection::read(connection, 0, port) }
    })
}

/// Returns how many bytes were accepted for sending but are not written yet.
///
/// @param connection Borrowed.
/// @return Bytes, including preludes and headers; 0 if connection is NULL, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_get_outbound_size(connection: *const esrpc_connection) -> usize {
    guard::value(0, || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_connection::read(connection, 0, Connection::outbound_len) }
    })
}

/// Returns the CONNECT_ACK to the CONNECT that the library sent for the handshake option, also if it was a refusal, or
/// the PROTOCOL_ERROR or INTERNAL_ERROR that the server sent instead.
///
/// @param connection Borrowed.
/// @return The message, valid as long as the handle; NULL without the handshake option, before the CONNECT_ACK, if
/// connection is NULL, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_get_connect_ack(connection: *const esrpc_connection) -> *const esrpc_message {
    guard::value(std::ptr::null(), || {
        let ack = |connection: &Connection| {
            let message = Callbacks::of(connection).and_then(|callbacks| callbacks.connect_ack(connection));
            message.map_or(std::ptr::null(), std::ptr::from_ref)
        };
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_connection::read(connection, std::ptr::null(), ack) }
    })
}

/// Returns why the connection ended, as reported by on_shutdown or a failed on_setup.
///
/// @param connection Borrowed.
/// @return The reason; ESRPC_OK while the connection has not ended, if connection is NULL, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_get_end_status(connection: *const esrpc_connection) -> esrpc_status {
    guard::value(ESRPC_OK.into(), || {
        let status = |connection: &Connection| connection.end().map_or(ESRPC_OK.into(), end_status);
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_connection::read(connection, ESRPC_OK.into(), status) }
    })
}

/// Explains why the connection ended, with the system's error if there is one.
///
/// @param connection Borrowed.
/// @return One sentence that is valid as long as the handle; "" while the connection has not ended, if it ended with
/// ESRPC_OK, if connection is NULL, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_get_end_message(connection: *const esrpc_connection) -> *const c_char {
    guard::value(c"".as_ptr(), || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_connection::read(connection, c"".as_ptr(), |c| c.end().map_or(c"".as_ptr(), end_message)) }
    })
}

/// Waits and returns the outcome of what was waited for.
///
/// # Safety
/// `connection` is NULL or live.
unsafe fn wait(
    connection: *mut esrpc_connection,
    timeout_ms: u32,
    wait: impl FnOnce(&Connection, Option<Duration>) -> Result<Outcome, Error>,
) -> Result<(), Failure> {
    // SAFETY: what the caller promised.
    let connection = unsafe { esrpc_connection::share(connection) }?;
    Ok(wait(&connection, timeout(timeout_ms))??)
}

/// Waits until the connection is set up, or setting it up has failed, and returns the outcome. It may return while
/// on_setup has not been called yet or is running.
///
/// @param connection Borrowed.
/// @param timeout_ms Milliseconds to wait at most, or ESRPC_NO_TIMEOUT.
/// @return ESRPC_OK if the connection is set up; otherwise the status that on_setup gets, such as
/// ESRPC_ERROR_CONNECTION_REFUSED; ESRPC_ERROR_TIMED_OUT if neither happened within timeout_ms;
/// ESRPC_ERROR_WOULD_DEADLOCK on an event-loop thread; ESRPC_ERROR_INVALID_ARGUMENT if connection is NULL;
/// ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: not-loop. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_wait_setup(
    connection: *mut esrpc_connection,
    timeout_ms: u32,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live handle.
        unsafe { wait(connection, timeout_ms, Connection::wait_setup) }
    })
}

/// Waits until every message that was accepted before this call is written to the socket, on all streams of the
/// connection, or cannot be.
///
/// @param connection Borrowed.
/// @param timeout_ms Milliseconds to wait at most, or ESRPC_NO_TIMEOUT.
/// @return ESRPC_OK if all of it is written; ESRPC_ERROR_TIMED_OUT if not within timeout_ms; the reason of the
/// connection's end if that came first, ESRPC_ERROR_CONNECTION_CLOSED if it ended with ESRPC_OK; ESRPC_ERROR_NOT_READY
/// before setup; ESRPC_ERROR_WOULD_DEADLOCK on an event-loop thread; ESRPC_ERROR_INVALID_ARGUMENT if connection is NULL;
/// ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: not-loop. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_wait_flush(
    connection: *mut esrpc_connection,
    timeout_ms: u32,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live handle.
        unsafe { wait(connection, timeout_ms, Connection::wait_flush) }
    })
}

/// Waits until the connection has ended and its on_shutdown, or failed on_setup, has returned. Returns the reason of
/// the end.
///
/// @param connection Borrowed.
/// @param timeout_ms Milliseconds to wait at most, or ESRPC_NO_TIMEOUT.
/// @return The status that on_shutdown, or the failed on_setup, was given: ESRPC_OK or the reason passed to
/// esrpc_connection_close if this side closed the connection, ESRPC_ERROR_PEER_CLOSED if the peer did;
/// ESRPC_ERROR_TIMED_OUT if it has not ended within timeout_ms; ESRPC_ERROR_WOULD_DEADLOCK on an event-loop thread;
/// ESRPC_ERROR_INVALID_ARGUMENT if connection is NULL; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: not-loop. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_wait_shutdown(
    connection: *mut esrpc_connection,
    timeout_ms: u32,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live handle.
        unsafe { wait(connection, timeout_ms, Connection::wait_shutdown) }
    })
}
