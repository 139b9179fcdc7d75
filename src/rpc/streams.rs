use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::rpc::outbound::Trail;

/// Where a stream that has an id is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// The client opens it, and the server's application has not yet accepted or refused it.
    Announced,
    /// Both sides may send.
    Open,
    /// TERMINATE_STREAM was accepted for sending, and not yet written.
    Closing,
    /// The peer has ended it, or it is over.
    Closed,
}

/// A stream that is open on the connection, or of which the last message is being delivered.
pub struct Entry<S> {
    pub stream: S,
    /// Small enough for this type: it was the length of a header's value, of 16 bits.
    pub operation_len: u32,
    /// `Announced` if the application decides later.
    pub state: StreamState,
    /// This side has sent something on it.
    pub answered: bool,
    /// Those of its messages that wait to be written.
    pub trail: Trail,
}

/// The open streams by id.
pub type StreamTable<S> = HashMap<i32, Entry<S>, BuildHasherDefault<IdHasher>>;

/// Ids are small numbers in sequence that nobody chooses freely, so spreading them is enough.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn write_i32(&mut self, id: i32) {
        self.0 = u64::from(id as u32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
