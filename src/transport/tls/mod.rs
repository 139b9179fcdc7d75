//! TLS: settings, and sessions that turn plaintext into records and back over any non-blocking byte stream.

mod authorities;
mod backlog;
mod certificate;
mod config;
mod der;
mod error;
mod files;
mod formats;
mod given;
mod in_flight;
mod info;
mod key_log;
mod keys;
mod pem;
mod provider;
mod records;
mod revocation;
mod server_name;
mod session;
mod verifier;
mod wording;

pub use config::{ClientAuth, TlsConfig, TlsConfigBuilder, TlsRole, TlsVersion};
pub use info::TlsInfo;
pub use server_name::check_server_name;
pub use session::{HandshakeProgress, TlsSession};
