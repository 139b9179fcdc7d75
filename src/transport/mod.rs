//! Sockets: endpoints, dialling, listening, byte streams, plain or TLS; and what is asked of the process. Knows nothing of
//! messages.

mod adopted;
mod dialer;
mod endpoint;
mod error;
mod listener;
mod plain;
mod process;
mod resolver;
#[cfg(unix)]
mod socket_file;
mod socket_options;
mod stream;
mod tls;

/// An address in the system's form.
pub use socket2::SockAddr as Address;

pub use adopted::{RawSocket, SocketUse, check_socket};
pub use dialer::{Dialer, Dialing, interleave};
pub use endpoint::{AddressText, Endpoint, UnixName};
pub use error::{Cause, Error, ErrorKind, TlsErrorKind};
pub use listener::{AcceptError, Listener, ListeningSocket};
pub use plain::PeerCredentials;
pub use process::{ProcessMark, UseMark, never_cancelled, uncancelled, with_signals_blocked};
pub use resolver::{Lookup, Resolved, Resolver, literal};
pub use socket_options::{AddressFamily, KeepAlive, SocketOptions};
pub use stream::{Readiness, Stream};
pub use tls::{
    ClientAuth, HandshakeProgress, TlsConfig, TlsConfigBuilder, TlsInfo, TlsRole, TlsSession, TlsVersion,
    check_server_name,
};
