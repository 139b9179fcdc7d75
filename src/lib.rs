//! libeventstream_rpc: AWS event-stream messages and event-stream RPC behind a C interface.
//!
//! The layers, each using only those before it: `codec` (bytes and messages), `rpc` (the protocol's state machine),
//! `transport` (sockets), `runtime` (event loops), `ffi` (the C interface, the only one that knows C).

pub mod codec;
pub mod ffi;
pub mod rpc;
pub mod runtime;
pub mod transport;
