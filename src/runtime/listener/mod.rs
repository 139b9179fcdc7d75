//! A listening socket and the connections that come in by it.

mod driver;
mod handle;
mod listen;

pub use handle::{Listener, ListenerHandler};
pub use listen::ListenRequest;

#[cfg(all(test, unix))]
mod tests;
