//! Connections over TLS, from end to end through the C interface: both sides ours, or one of them a raw peer.
#![cfg(unix)]

mod adopted;
#[path = "../common/certificates.rs"]
mod certificates;
mod client_certificates;
mod conversation;
mod deadlines;
mod draining;
mod endings;
mod failures;
mod large;
mod matrix;
mod matrix_cases;
mod openssl;
mod raw;
#[path = "../common/recorder.rs"]
#[allow(dead_code, reason = "the transcripts use the rest")]
mod recorder;
mod revocation;
mod rig;
mod server;
mod settings;
