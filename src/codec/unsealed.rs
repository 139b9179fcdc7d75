use crc32fast::Hasher;

use crate::codec::message::{SUM_BLOCK_LEN, put_prelude};
use crate::codec::{MESSAGE_CRC_LEN, PRELUDE_LEN, append_bytes, checksum};

/// An encoded message in which a few header bytes may still change. The payload, which is most of the work, is already copied
/// and summed, so a large message can be encoded before its stream id is known.
pub struct Unsealed {
    bytes: Vec<u8>,
    headers_end: usize,
    payload_hasher: Hasher,
}

impl Unsealed {
    /// Encodes all but the checksum; `put_headers` appends the headers section. Lengths were checked with `encoded_len`, which
    /// returned `total_len`.
    pub fn encode(
        total_len: usize,
        payload: &[u8],
        mut bytes: Vec<u8>,
        put_headers: impl FnOnce(&mut Vec<u8>),
    ) -> Unsealed {
        let headers_end = total_len - MESSAGE_CRC_LEN - payload.len();
        bytes.clear();
        bytes.reserve_exact(total_len);
        put_prelude(total_len, headers_end - PRELUDE_LEN, &mut bytes);
        put_headers(&mut bytes);
        let mut payload_hasher = checksum::hasher();
        for block in payload.chunks(SUM_BLOCK_LEN) {
            append_bytes(&mut bytes, block);
            payload_hasher.update(block);
        }
        Unsealed { bytes, headers_end, payload_hasher }
    }

    /// Writes `value` at position `at`, within the headers, and appends the checksum.
    pub fn seal(mut self, at: usize, value: &[u8]) -> Vec<u8> {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
        let mut hasher = checksum::hasher();
        hasher.update(self.bytes.get(..self.headers_end).unwrap_or_default());
        hasher.combine(&self.payload_hasher);
        self.bytes.extend_from_slice(&hasher.finalize().to_be_bytes());
        self.bytes
    }
}
