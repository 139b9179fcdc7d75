//! The objects that C counts references to, and when a call on each may reach it.

use std::sync::Arc;

use super::handle::ArcHandle;
use crate::runtime::{Connection, Error, Listener, Runtime, Stream};
use crate::transport::TlsConfig;

/// TLS settings for clients or for servers; they never change. Counted; any number of connections and listeners may use
/// the same settings, and then share their resumable sessions. A forked child may use the settings of its parent, but
/// resumes no sessions with them.
pub struct esrpc_tls_config {
    _private: [u8; 0],
}

impl ArcHandle for esrpc_tls_config {
    type Inner = TlsConfig;
    const NAME: &'static str = "config";

    /// Settings have no thread and no lock.
    #[inline]
    fn is_foreign(_: &TlsConfig) -> bool {
        false
    }

    #[inline]
    fn check_usable(_: &TlsConfig) -> Result<(), Error> {
        Ok(())
    }
}

/// One or more event-loop threads and what lives on them. Counted; the threads end when the last handle is released
/// and nothing lives on the runtime any more, or by esrpc_runtime_join.
pub struct esrpc_runtime {
    _private: [u8; 0],
}

impl ArcHandle for esrpc_runtime {
    type Inner = Runtime;
    const NAME: &'static str = "runtime";

    #[inline]
    fn is_foreign(inner: &Runtime) -> bool {
        !inner.process().is_current()
    }

    /// One that was stopped can still be asked for its figures, and be stopped again.
    #[inline]
    fn check_usable(inner: &Runtime) -> Result<(), Error> {
        if esrpc_runtime::is_foreign(inner) { Err(Error::Forked) } else { Ok(()) }
    }
}

/// One connection, a client's or a server's. Counted: esrpc_connection_acquire, esrpc_connection_release. It stays
/// open until it is closed, even if no handles are left.
pub struct esrpc_connection {
    _private: [u8; 0],
}

impl ArcHandle for esrpc_connection {
    type Inner = Connection;
    const NAME: &'static str = "connection";

    #[inline]
    fn is_foreign(inner: &Connection) -> bool {
        inner.is_foreign()
    }

    #[inline]
    fn check_usable(inner: &Connection) -> Result<(), Error> {
        inner.check_usable()
    }

    /// A connection that was deferred is refused once nobody can accept it.
    #[inline]
    fn acquired(inner: &Connection) {
        inner.hold();
    }

    #[inline]
    fn released(inner: &Arc<Connection>) {
        inner.let_go();
    }
}

/// One stream of a connection: a call, as its client or its server sees it. Counted: esrpc_stream_acquire,
/// esrpc_stream_release. It keeps its connection's handle valid.
pub struct esrpc_stream {
    _private: [u8; 0],
}

impl ArcHandle for esrpc_stream {
    type Inner = Stream;
    const NAME: &'static str = "stream";

    #[inline]
    fn is_foreign(inner: &Stream) -> bool {
        inner.connection().is_foreign()
    }

    #[inline]
    fn check_usable(inner: &Stream) -> Result<(), Error> {
        inner.connection().check_usable()
    }

    /// Unread messages are kept as long as somebody can read them.
    #[inline]
    fn acquired(inner: &Stream) {
        inner.hold();
    }

    #[inline]
    fn released(inner: &Arc<Stream>) {
        inner.let_go();
    }
}

/// A listening server socket. Counted: esrpc_listener_acquire, esrpc_listener_release. It listens until it is closed,
/// even if no handles are left.
pub struct esrpc_listener {
    _private: [u8; 0],
}

impl ArcHandle for esrpc_listener {
    type Inner = Listener;
    const NAME: &'static str = "listener";

    #[inline]
    fn is_foreign(inner: &Listener) -> bool {
        inner.is_foreign()
    }

    #[inline]
    fn check_usable(inner: &Listener) -> Result<(), Error> {
        inner.check_usable()
    }
}
