//! The C interface: `extern "C"` functions, one file for each kind of object in C, on top of private plumbing.
//!
//! Every exported function consists of one call of the guard (a test checks that), so that a panic stops at the boundary.
//! The doc comments of exported items become the C header, so they are written for C programmers.

// The names are those of C, and its safety rules are stated once, in the header.
#![allow(non_camel_case_types)]
#![allow(clippy::missing_safety_doc)]

// Plumbing.
mod endpoint;
pub(crate) mod errors;
pub(crate) mod failure;
pub(crate) mod guard;
pub(crate) mod handle;
pub(crate) mod host_call;
mod json;
pub(crate) mod out;
pub(crate) mod reasons;
pub(crate) mod table;
pub(crate) mod times;

// What C sees. build.rs has the order of the header.
pub mod adopted_sockets;
pub mod blocking;
pub mod boolean;
pub mod bytes;
pub mod callbacks;
pub mod client_options;
pub mod connection;
pub mod connection_info;
pub mod connection_options;
pub mod connection_times;
pub mod constants;
pub mod counted;
pub mod decoder;
pub mod drain;
pub mod headers;
pub mod headers_add;
mod headers_block;
pub mod headers_get;
pub mod listener;
pub mod listener_options;
pub mod message;
pub mod runtime;
pub mod runtime_options;
pub mod socket_options;
pub mod statistics;
pub mod status;
pub mod status_text;
pub mod stream;
pub mod tls_config;
pub mod tls_info;
pub mod tls_revocation;
pub mod uuid;
