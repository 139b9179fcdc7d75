//! Graceful shutdown: what is open may finish, and nothing new begins.

use super::counted::{esrpc_listener, esrpc_runtime};
use super::guard;
use super::handle::ArcHandle;
use super::runtime::existing_runtime;
use super::status::esrpc_status;
use super::times::timeout;
use crate::runtime::{Drain, Listener};

/// Ends a listener gracefully. It closes its listening socket and announces no more connections at once; new clients
/// reach the listener that listens next on the same socket (esrpc_listener_dup_socket, called before) or address. Its
/// connections go on until no stream is open on them (one whose CONNECT is not answered yet has none) and are then
/// closed as by esrpc_connection_close with ESRPC_OK: what was sent reaches the peer, messages not delivered yet are
/// dropped. A stream that a client opens meanwhile is refused without a callback, by an APPLICATION_ERROR with
/// ESRPC_MESSAGE_FLAG_TERMINATE_STREAM whose payload says that nothing was done. So a client may repeat elsewhere what
/// was refused that way. It cannot tell the end of a drained server's connection from that of one that crashed, so
/// after ESRPC_ERROR_PEER_CLOSED it repeats only what may be carried out twice. Streams without an end of their own,
/// such as subscriptions, hold up the drain: end them with esrpc_stream_reply or esrpc_stream_close. Connections that
/// are still in their TLS handshake, or not announced for another reason, are closed; on_failed_connection reports them
/// with ESRPC_ERROR_DRAINING. When the time is over, the remaining connections are closed with the reason
/// ESRPC_ERROR_DRAINING, which their streams report too. on_closed is called, and esrpc_listener_wait_closed returns,
/// when the last connection has ended.
///
/// @param listener Borrowed. If it was closed before, on_closed is not called again, and its connections are drained.
/// @param deadline_ms Milliseconds from now; 0: at once; ESRPC_NO_TIMEOUT: as long as it takes. With several calls,
/// the earliest deadline counts.
/// @return ESRPC_OK; returns at once. ESRPC_ERROR_INVALID_ARGUMENT if listener is NULL; ESRPC_ERROR_RUNTIME_SHUTDOWN;
/// ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_drain(listener: *mut esrpc_listener, deadline_ms: u32) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_listener::share(listener) }?.drain(Drain::within(timeout(deadline_ms)));
        Ok(())
    })
}

/// Ends everything on a runtime gracefully: each listener as esrpc_listener_drain does, and each client's connection
/// once no stream is open on it. From now on, activating a stream, connecting and listening return
/// ESRPC_ERROR_DRAINING, and connections being set up fail with it. It is also the reason of connections that are
/// closed because the time ran out. Afterwards the runtime accepts nothing new; esrpc_runtime_join waits until
/// everything has ended and is released.
///
/// @param runtime Borrowed; NULL: the default runtime, if there is one.
/// @param deadline_ms Milliseconds from now; 0: at once; ESRPC_NO_TIMEOUT: as long as it takes. With several calls,
/// the earliest deadline counts.
/// @return ESRPC_OK; returns at once. ESRPC_ERROR_FORKED in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_runtime_drain(runtime: *mut esrpc_runtime, deadline_ms: u32) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live handle.
        if let Some(runtime) = unsafe { existing_runtime(runtime) }? {
            runtime.drain(Drain::within(timeout(deadline_ms)));
        }
        Ok(())
    })
}

/// Returns how many streams are open on the connections that a listener has accepted.
///
/// @param listener Borrowed.
/// @return The number; 0 if listener is NULL, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_get_open_streams(listener: *const esrpc_listener) -> usize {
    guard::value(0, || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_listener::share(listener) }.map_or(0, |listener| Listener::open_streams(&listener))
    })
}

/// Returns how many connections that a listener has accepted have not ended, including those in their TLS handshake.
///
/// @param listener Borrowed.
/// @return The number; 0 if listener is NULL, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_get_open_connections(listener: *const esrpc_listener) -> usize {
    guard::value(0, || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_listener::share(listener) }.map_or(0, |listener| Listener::open_connections(&listener))
    })
}

/// Returns how many streams are open on all connections of a runtime, clients' and servers'.
///
/// @param runtime Borrowed; NULL: the default runtime, if there is one.
/// @return The number; 0 in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_runtime_get_open_streams(runtime: *const esrpc_runtime) -> usize {
    guard::value(0, || {
        // SAFETY: NULL or a live handle.
        unsafe { existing_runtime(runtime) }.ok().flatten().map_or(0, |runtime| runtime.open_streams())
    })
}

/// Returns how many connections of a runtime, clients' and servers', have not ended, including those being set up.
///
/// @param runtime Borrowed; NULL: the default runtime, if there is one.
/// @return The number; 0 in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_runtime_get_open_connections(runtime: *const esrpc_runtime) -> usize {
    guard::value(0, || {
        // SAFETY: NULL or a live handle.
        unsafe { existing_runtime(runtime) }.ok().flatten().map_or(0, |runtime| runtime.open_connections())
    })
}
