//! TLS: settings, and sessions that turn plaintext into records and back over any non-blocking byte stream.

mod config;
mod error;
mod files;
mod key_log;
mod provider;
mod revocation;
mod session;
mod verifier;

pub use config::{ClientAuth, TlsConfig, TlsConfigBuilder, TlsRole, TlsVersion};
pub use error::TlsErrorKind;
pub use session::{HandshakeProgress, TlsInfo, TlsSession, check_server_name};
