//! TLS sessions, in memory and over sockets, and their settings.

#[path = "../common/certificates.rs"]
mod certificates;
mod config;
mod data;
mod errors;
mod files;
#[cfg(feature = "aws-lc-rs")]
mod given;
mod handshake;
mod peers;
#[cfg(feature = "aws-lc-rs")]
mod random;
mod sockets;
#[cfg(feature = "aws-lc-rs")]
mod unusual_servers;
