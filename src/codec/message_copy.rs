use super::{Headers, Message, Prelude, append_bytes};

/// A message that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageCopy {
    prelude: Prelude,
    /// Not above the length of `bytes`.
    headers_len: usize,
    header_count: usize,
    /// Headers, then payload.
    bytes: Vec<u8>,
    crc: u32,
}

impl MessageCopy {
    pub fn of(message: &Message<'_>) -> MessageCopy {
        let section = message.headers.as_bytes();
        let mut bytes = Vec::with_capacity(section.len() + message.payload.len());
        bytes.extend_from_slice(section);
        append_bytes(&mut bytes, message.payload);
        MessageCopy {
            prelude: message.prelude,
            headers_len: section.len(),
            header_count: message.headers.len(),
            bytes,
            crc: message.crc,
        }
    }

    /// The message, as a view of this copy.
    pub fn message(&self) -> Message<'_> {
        let (section, payload) = self.bytes.split_at_checked(self.headers_len).unwrap_or_default();
        let headers = Headers::from_checked(section, self.header_count);
        Message { prelude: self.prelude, headers, payload, crc: self.crc }
    }

    /// The size of the whole message on the wire.
    pub fn total_len(&self) -> usize {
        self.prelude.total_len as usize
    }

    /// Headers and payload. The bytes do not move, so views taken before still point to them.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
