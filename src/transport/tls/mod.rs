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

pub use config::{TlsConfig, TlsConfigBuilder};
pub use provider::PROVIDER_NAME;
pub use server_name::check_server_name;
pub use session::TlsSession;

use crate::transport::Error;
use crate::transport::tls_terms::TlsRole;

/// An error if this build of the library has no TLS.
pub fn new_tls_config_builder(role: TlsRole) -> Result<TlsConfigBuilder, Error> {
    Ok(TlsConfigBuilder::new(role))
}
