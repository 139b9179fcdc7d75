use super::{Error, Headers, Limits, Message, Prelude};

/// Accepted once, under whatever limits there were.
const UNLIMITED: Limits = Limits {
    max_message_len: usize::MAX,
    max_headers: usize::MAX,
    max_headers_len: usize::MAX,
    max_value_len: usize::MAX,
};

/// A message with bytes of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageCopy {
    prelude: Prelude,
    /// Not above the length of `bytes`.
    headers_len: usize,
    /// Headers, then payload.
    bytes: Vec<u8>,
    crc: u32,
}

impl MessageCopy {
    pub fn of(message: &Message<'_>) -> MessageCopy {
        let section = message.headers.as_bytes();
        let mut bytes = Vec::with_capacity(section.len() + message.payload.len());
        bytes.extend_from_slice(section);
        bytes.extend_from_slice(message.payload);
        MessageCopy { prelude: message.prelude, headers_len: section.len(), bytes, crc: message.crc }
    }

    /// The message, as a view of this copy.
    pub fn message(&self) -> Result<Message<'_>, Error> {
        let (section, payload) = self.bytes.split_at_checked(self.headers_len).unwrap_or_default();
        Ok(Message { prelude: self.prelude, headers: Headers::parse(section, &UNLIMITED)?, payload, crc: self.crc })
    }

    /// The size of the whole message on the wire.
    pub fn total_len(&self) -> usize {
        self.prelude.total_len as usize
    }

    /// Headers and payload, to which a view that was taken before still points: the bytes stay where they are.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
