//! Listeners.

use std::any::Any;
use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::callbacks::UserData;
use super::counted::esrpc_connection;
pub use super::counted::esrpc_listener;
use super::errors::explained;
use super::failure::required;
use super::guard;
use super::handle::ArcHandle;
use super::host_call;
use super::listener_options::esrpc_listener_options;
use super::out::check_out;
use super::reasons;
use super::status::esrpc_status;
use super::table::read_table;
use super::times::timeout;
use crate::runtime::{Connection, Destroyed, Error, Listener, ListenerHandler, Outcome};

/// What a listener calls. Every slot may be NULL. The callbacks are called with no lock held and may call any
/// function that does not wait. Set struct_size to sizeof(esrpc_listener_callbacks).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct esrpc_listener_callbacks {
    /// The size of this struct.
    pub struct_size: usize,
    /// A client has connected. Call esrpc_connection_accept or esrpc_connection_defer inside; otherwise the
    /// connection is closed. Called on the event-loop thread of that connection, so on several at once if the runtime
    /// has more than one.
    pub on_incoming_connection: Option<
        unsafe extern "C" fn(listener: *mut esrpc_listener, connection: *mut esrpc_connection, user_data: *mut c_void),
    >,
    /// A connection was lost before on_incoming_connection; the listener goes on. Called on the event-loop thread of the
    /// listener or of that connection, so perhaps several at once.
    ///
    /// The system: ESRPC_ERROR_TOO_MANY_FILES, ESRPC_ERROR_CONNECTION_RESET, ESRPC_ERROR_ACCESS_DENIED, ESRPC_ERROR_IO
    /// for anything else. Limits: ESRPC_ERROR_TOO_MANY_HANDSHAKES (it made room for newer ones),
    /// ESRPC_ERROR_HANDSHAKE_TIMED_OUT (on a named pipe: the client sent nothing in time), ESRPC_ERROR_DRAINING,
    /// ESRPC_ERROR_RUNTIME_SHUTDOWN. TLS: ESRPC_ERROR_TLS_ALERT_RECEIVED, ESRPC_ERROR_TLS_HANDSHAKE_FAILED,
    /// ESRPC_ERROR_TLS_TRUNCATED, ESRPC_ERROR_TLS_CERTIFICATE_REQUIRED, and the others that on_setup lists, here about
    /// the client's certificate. ESRPC_ERROR_INTERNAL: a defect in the library.
    pub on_failed_connection:
        Option<unsafe extern "C" fn(listener: *mut esrpc_listener, status: esrpc_status, user_data: *mut c_void)>,
    /// The socket is closed, and a socket file removed; after esrpc_listener_drain its connections have ended, too.
    /// Called once, after every on_incoming_connection and on_failed_connection has returned, on the listener's
    /// event-loop thread. The reason is ESRPC_OK if this side closed or drained it, or ESRPC_ERROR_RUNTIME_SHUTDOWN.
    pub on_closed:
        Option<unsafe extern "C" fn(listener: *mut esrpc_listener, reason: esrpc_status, user_data: *mut c_void)>,
    /// The last callback, called once: user_data is not used any more. Called when the listener is closed and the
    /// last handle is released.
    pub on_destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
}

const NO_CALLBACKS: esrpc_listener_callbacks = esrpc_listener_callbacks {
    struct_size: size_of::<esrpc_listener_callbacks>(),
    on_incoming_connection: None,
    on_failed_connection: None,
    on_closed: None,
    on_destroy: None,
};

/// The caller's side of a listener.
struct Callbacks {
    table: esrpc_listener_callbacks,
    user_data: UserData,
}

// In each of the calls below:
// SAFETY: the caller gave the function together with the pointer, to be called on the loop thread that the table names.
impl ListenerHandler for Callbacks {
    fn on_incoming_connection(&self, listener: &Arc<Listener>, connection: &Arc<Connection>) {
        if let Some(function) = self.table.on_incoming_connection {
            let (listener, connection) = (esrpc_listener::lend(listener), esrpc_connection::lend(connection));
            // SAFETY: see above.
            unsafe { host_call::call(function, (listener, connection, self.user_data.0)) }
        }
    }

    fn on_failed_connection(&self, listener: &Arc<Listener>, error: &Error) {
        if let Some(function) = self.table.on_failed_connection {
            let status = explained(Err(error));
            reasons::check_listed("on_failed_connection", &[reasons::OF_TLS, reasons::OF_FAILED_CONNECTION], status);
            // SAFETY: see above.
            unsafe { host_call::call(function, (esrpc_listener::lend(listener), status, self.user_data.0)) }
        }
    }

    fn on_closed(&self, listener: &Arc<Listener>, outcome: &Outcome) {
        if let Some(function) = self.table.on_closed {
            let reason = explained(outcome.as_ref().copied());
            // SAFETY: see above.
            unsafe { host_call::call(function, (esrpc_listener::lend(listener), reason, self.user_data.0)) }
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

/// Binds and listens. When it returns, clients can connect.
///
/// @param options Borrowed.
/// @param callbacks Copied; NULL: none, and every connection is closed.
/// @param user_data Passed to the callbacks; it may be freed in on_destroy.
/// @param out_listener Receives the listener, one reference, to be released with esrpc_listener_release. It is
/// written before any callback can be called.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options or out_listener is NULL, options have no address, or
/// callbacks has a wrong struct_size; ESRPC_ERROR_ADDRESS_INVALID, ESRPC_ERROR_ADDRESS_IN_USE,
/// ESRPC_ERROR_ADDRESS_UNAVAILABLE, ESRPC_ERROR_ACCESS_DENIED, ESRPC_ERROR_PATH_TOO_LONG, ESRPC_ERROR_NOT_FOUND (no
/// such folder), ESRPC_ERROR_INTERFACE_NOT_FOUND, ESRPC_ERROR_TOO_MANY_FILES or ESRPC_ERROR_IO for the system's
/// error; for the caller's own socket ESRPC_ERROR_WRONG_SOCKET, or ESRPC_ERROR_INVALID_STATE if an earlier listener
/// took it; ESRPC_ERROR_UNSUPPORTED; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_DRAINING; ESRPC_ERROR_FORKED.
///
/// Thread: any; options: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_listen(
    options: Option<&esrpc_listener_options>,
    callbacks: *const esrpc_listener_callbacks,
    user_data: *mut c_void,
    out_listener: *mut *mut esrpc_listener,
) -> esrpc_status {
    guard::system_call(|| {
        check_out(out_listener, "out_listener")?;
        let options = required(options, "options")?;
        // SAFETY: NULL or a table of the size it says.
        let table = unsafe { read_table(callbacks, NO_CALLBACKS, "callbacks") }?;
        let request = options.request()?;
        let runtime = options.runtime()?;
        let callbacks = Box::new(Callbacks { table, user_data: UserData(user_data) });
        Listener::listen(&runtime, request, callbacks, |listener| {
            // SAFETY: the caller's variable, checked above.
            unsafe { out_listener.write(esrpc_listener::give(listener.clone())) }
        })?;
        options.socket_taken.set(true);
        Ok(())
    })
}

/// Adds a reference.
///
/// @param listener Borrowed; NULL: returns NULL.
/// @return The same handle, to be released one more time.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_acquire(listener: *mut esrpc_listener) -> *mut esrpc_listener {
    guard::value(std::ptr::null_mut(), || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_listener::acquire(listener) }
    })
}

/// Releases a reference. Never waits and never closes the listener.
///
/// @param listener Not to be used afterwards; NULL, or, in a forked child, a handle of its parent: nothing happens.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_release(listener: *mut esrpc_listener) {
    guard::system_value((), || {
        // SAFETY: NULL or a live handle, whose reference the caller gives up.
        unsafe { esrpc_listener::release(listener) }
    })
}

/// Stops listening. Returns at once; on_closed is called when the address is free again. Connections that were
/// announced stay open; esrpc_listener_drain ends them too. Others, whose TLS handshake is not done, are closed
/// without a callback.
///
/// @param listener Borrowed.
/// @return ESRPC_OK, also if it was closed before; ESRPC_ERROR_INVALID_ARGUMENT if listener is NULL;
/// ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_close(listener: *mut esrpc_listener) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_listener::share(listener) }?.close();
        Ok(())
    })
}

/// Returns the address that the listener listens on: "127.0.0.1:80", "[::1]:80", "unix:/path", "unix:@name" or, on
/// Windows, "pipe:" and the pipe's name; "" if the listener only adopts connections.
///
/// @param listener Borrowed.
/// @return Text that is valid as long as the handle; "" if listener is NULL, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_get_address(listener: *const esrpc_listener) -> *const c_char {
    guard::value(c"".as_ptr(), || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_listener::read(listener, c"".as_ptr(), |listener| listener.address().as_ptr()) }
    })
}

/// Returns the TCP port that the listener listens on, also if the system chose it.
///
/// @param listener Borrowed.
/// @return The port; 0 for Unix sockets, if listener is NULL, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_get_port(listener: *const esrpc_listener) -> u32 {
    guard::value(0, || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_listener::read(listener, 0, |listener| u32::from(listener.port())) }
    })
}

/// Returns the user_data that was passed with the callbacks.
///
/// @param listener Borrowed.
/// @return The pointer; NULL if listener is NULL, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_get_user_data(listener: *const esrpc_listener) -> *mut c_void {
    guard::value(std::ptr::null_mut(), || {
        let none = std::ptr::null_mut();
        let user_data = |listener: &Listener| {
            let callbacks = listener.handler().and_then(|handler| handler.as_any().downcast_ref::<Callbacks>());
            callbacks.map_or(none, |callbacks| callbacks.user_data.0)
        };
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_listener::read(listener, none, user_data) }
    })
}

/// Waits until the listener is closed and its on_closed has returned: after esrpc_listener_drain, until its connections have
/// ended and their on_shutdown has returned. Does not close it.
///
/// @param listener Borrowed.
/// @param timeout_ms Milliseconds to wait at most, or ESRPC_NO_TIMEOUT.
/// @return ESRPC_OK if it is closed; ESRPC_ERROR_TIMED_OUT; ESRPC_ERROR_WOULD_DEADLOCK on an event-loop thread;
/// ESRPC_ERROR_INVALID_ARGUMENT if listener is NULL; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: not-loop. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_wait_closed(listener: *mut esrpc_listener, timeout_ms: u32) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live handle.
        unsafe { esrpc_listener::share(listener) }?.wait_closed(timeout(timeout_ms))?;
        Ok(())
    })
}
