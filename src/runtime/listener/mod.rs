//! A listening socket and the connections that come in by it.

pub mod handle;

#[cfg(all(test, unix))]
mod tests;
