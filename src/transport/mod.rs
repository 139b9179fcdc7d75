//! Sockets: endpoints, dialling, listening, byte streams. Knows nothing of messages.

mod endpoint;
mod error;
mod listener;
mod stream;

pub use endpoint::{Endpoint, UnixName};
pub use error::{Error, ErrorKind};
pub use listener::Listener;
pub use stream::{Readiness, Stream};
