//! Sockets: endpoints, dialling, listening, byte streams, plain or TLS. Knows nothing of messages.

mod endpoint;
mod error;
mod listener;
mod stream;
mod tls;

pub use endpoint::{Endpoint, UnixName};
pub use error::{Error, ErrorKind};
pub use listener::Listener;
pub use stream::{Readiness, Stream};
pub use tls::{
    ClientAuth, HandshakeProgress, TlsConfig, TlsConfigBuilder, TlsErrorKind, TlsInfo, TlsRole, TlsSession, TlsVersion,
};
