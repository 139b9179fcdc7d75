//! Sockets that the application hands over, or is given.

use super::client_options::esrpc_client_options;
use super::counted::esrpc_listener;
use super::endpoint;
use super::failure::required;
use super::guard;
use super::handle::ArcHandle;
use super::listener_options::{Place, esrpc_listener_options};
use super::out::{check_out, write_out};
use super::status::esrpc_status;
use crate::transport::{RawSocket, SocketUse};

/// A socket as the system names it: int, or uintptr_t on Windows. build.rs writes it into the header.
pub type esrpc_socket = RawSocket;

/// Sets a connected socket to be used as it is, replacing any earlier setting: one end of a socketpair, an inherited
/// descriptor, a connection made through a proxy. Nothing is resolved or connected, so the address, family and
/// interface options are ignored; socket options are set on it. With TLS, esrpc_client_options_set_tls needs a
/// server_name.
///
/// The socket belongs to the caller until esrpc_connection_connect has returned ESRPC_OK, and still after an error.
/// From then on it belongs to the library, which makes it non-blocking (also for other descriptors of the same
/// socket) and close-on-exec, and shuts it down and closes it when the connection ends, so that duplicates of it end
/// too. Settings that would interfere are undone: SO_LINGER, SO_RCVLOWAT, SO_OOBINLINE, TCP_CORK, O_ASYNC, and on
/// Unix sockets SO_PASSCRED, SO_PASSSEC, SO_PASSPIDFD and SO_PASSRIGHTS. The options cannot be used for another
/// connect before another socket or address is set.
///
/// @param options Modified, unless the call fails.
/// @param socket A connected stream socket of TCP or Unix. It is checked here and again when connecting.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL; ESRPC_ERROR_WRONG_SOCKET if socket is negative,
/// not open, not a stream socket of TCP or Unix (on Windows: of TCP), not connected, or listening; ESRPC_ERROR_IO.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_client_options_set_socket(
    options: Option<&mut esrpc_client_options>,
    socket: esrpc_socket,
) -> esrpc_status {
    guard::system_call(|| {
        let options = required(options, "options")?;
        options.endpoint = Some(endpoint::socket(socket, SocketUse::Connection)?);
        options.socket_taken.set(false);
        Ok(())
    })
}

/// Sets a listening socket to be used as it is, replacing any earlier setting: from a supervisor (socket activation),
/// from a parent process, or from esrpc_listener_dup_socket. Its backlog, permissions and interface stay as they are,
/// and a socket file is never removed.
///
/// The socket belongs to the caller until esrpc_listener_listen has returned ESRPC_OK, and still after an error. From
/// then on it belongs to the library, which makes it non-blocking (also for other descriptors of the same socket) and
/// close-on-exec, and undoes the settings that esrpc_client_options_set_socket lists, since connections would inherit
/// them. When the listener closes, the library closes the socket without shutting it down; clients are refused once
/// every descriptor of it, in all processes, is closed. The options cannot be used to listen again before another
/// socket or address is set.
///
/// @param options Modified, unless the call fails.
/// @param socket A listening stream socket of TCP or Unix. It is checked here and again when listening.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL; ESRPC_ERROR_WRONG_SOCKET if socket is negative,
/// not open, not a stream socket of TCP or Unix (on Windows: of TCP), or not listening; ESRPC_ERROR_IO.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_listener_options_set_socket(
    options: Option<&mut esrpc_listener_options>,
    socket: esrpc_socket,
) -> esrpc_status {
    guard::system_call(|| {
        let options = required(options, "options")?;
        options.place = Place::Endpoint(endpoint::socket(socket, SocketUse::Listener)?);
        options.socket_taken.set(false);
        Ok(())
    })
}

/// Makes a listener that listens nowhere and has no address, replacing any earlier setting: its connections come only
/// from esrpc_listener_adopt_connection.
///
/// @param options Modified.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_listener_options_set_adopt_only(options: Option<&mut esrpc_listener_options>) -> esrpc_status {
    guard::system_call(|| {
        required(options, "options")?.place = Place::Nowhere;
        Ok(())
    })
}

/// Passes a connected socket to a listener as if it had been accepted there: one that a supervisor accepted (inetd), or
/// one end of a socketpair. The listener's TLS and limits apply. The connection is announced by on_incoming_connection
/// or reported by on_failed_connection; if the listener is closed before that, it is closed without a callback.
///
/// The socket belongs to the library once the call has returned ESRPC_OK, and still to the caller after an error. The
/// library makes it non-blocking (also for other descriptors of the same socket) and close-on-exec, undoes the settings
/// that esrpc_client_options_set_socket lists, and shuts it down and closes it when the connection ends.
///
/// @param listener Borrowed; any listener, whether it listens on an address or not.
/// @param socket A connected stream socket of TCP or Unix.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if listener is NULL; ESRPC_ERROR_WRONG_SOCKET if socket is
/// negative, not open, not a stream socket of TCP or Unix, not connected, or listening; ESRPC_ERROR_INVALID_STATE if
/// the listener is closed or drained; ESRPC_ERROR_TOO_MANY_CONNECTIONS if it has as many as
/// esrpc_listener_options_set_max_connections allows; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_IO;
/// ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_adopt_connection(
    listener: *mut esrpc_listener,
    socket: esrpc_socket,
) -> esrpc_status {
    guard::system_call(|| {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_listener::share(listener) }?.adopt_connection(socket)?;
        Ok(())
    })
}

/// Duplicates the listening socket for a successor: another listener of this process
/// (esrpc_listener_options_set_socket), or another program, which inherits it once the caller has cleared
/// close-on-exec. While the descriptor is open, clients can connect even when the listener is closed: they wait to be
/// accepted. For a Unix path see also esrpc_listener_options_set_keep_unix_file.
///
/// @param listener Borrowed.
/// @param out_socket Receives the descriptor, close-on-exec, which the caller closes.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if listener or out_socket is NULL; ESRPC_ERROR_INVALID_STATE if the
/// listener is closed or drained (call this before), or does not listen on a socket; ESRPC_ERROR_TOO_MANY_FILES;
/// ESRPC_ERROR_IO; ESRPC_ERROR_UNSUPPORTED for a named pipe; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_dup_socket(
    listener: *mut esrpc_listener,
    out_socket: *mut esrpc_socket,
) -> esrpc_status {
    guard::system_call(|| {
        check_out(out_socket, "out_socket")?;
        // SAFETY: NULL or a live or lent handle.
        let socket = unsafe { esrpc_listener::share(listener) }?.duplicate_socket()?;
        // SAFETY: the caller's variable.
        unsafe { write_out(out_socket, socket, "out_socket") }
    })
}
