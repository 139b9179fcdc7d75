//! Sockets: endpoints, dialling, listening, byte streams, plain or TLS; and what is asked of the process. Knows nothing of
//! messages.

mod address;
mod adopted;
mod dialer;
mod endpoint;
mod error;
mod listener;
mod local_options;
#[cfg(not(feature = "tls"))]
mod no_tls;
mod peer_credentials;
mod plain;
mod process;
mod resolver;
mod socket;
mod socket_listener;
mod socket_options;
mod stream;
#[cfg(feature = "tls")]
mod tls;
mod tls_terms;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(not(feature = "tls"))]
use no_tls as tls;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub use address::Address;
pub use adopted::check_socket;
pub use dialer::{Dialer, Dialing, interleave};
pub use endpoint::{AddressText, Endpoint};
pub use error::{Cause, Error, ErrorKind, TlsErrorKind, words_of};
pub use listener::{AcceptError, Listener};
pub use local_options::LocalOptions;
pub use peer_credentials::PeerCredentials;
pub use process::{ProcessMark, UseMark};
pub use resolver::{Lookup, Resolved, Resolver, literal};
pub use socket::{Readiness, SocketUse};
pub use socket_listener::ListeningSocket;
pub use socket_options::{AddressFamily, KeepAlive, SocketOptions};
pub use stream::Stream;
pub use system::{
    LocalName, RawSocket, check_pipe_security, guest_threads, never_cancelled, path_from_bytes, uncancelled,
};
pub use tls::{PROVIDER_NAME, TlsConfig, TlsConfigBuilder, TlsSession, check_server_name, new_tls_config_builder};
pub use tls_terms::{ClientAuth, HandshakeProgress, TlsInfo, TlsRole, TlsVersion};
