//! What the fuzzers do with their bytes. Each target is a function that panics when it finds something, so that plain
//! `cargo test` can replay the corpora, too.

pub mod calls;
pub mod certificates;
pub mod decode;
pub mod decoder_calls;
pub mod headers;
mod identities;
pub mod rpc;
pub mod tls;

/// Takes the bytes of one input.
pub type Target = fn(&[u8]);

/// Every target and its name, which is also that of its folder in `corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("decode", decode::run),
    ("headers", headers::run),
    ("rpc_server", rpc::run_server),
    ("rpc_client", rpc::run_client),
    ("rpc_pair", rpc::run_pair),
    ("tls", tls::run),
    ("calls", calls::run),
    ("decoder_calls", decoder_calls::run),
    ("certificates", certificates::run),
];
