/// Length of a prelude: total length, headers length and the CRC of these two.
pub const PRELUDE_LEN: usize = 12;
/// Length of the CRC at the end of a message.
pub const MESSAGE_CRC_LEN: usize = 4;
/// Length of a message without headers and payload.
pub const MIN_MESSAGE_LEN: usize = PRELUDE_LEN + MESSAGE_CRC_LEN;

/// The longest string or byte_buf value that is sent; existing peers do not accept longer ones.
pub const MAX_SENT_VALUE_LEN: usize = 32_767;
/// The longest header name: its length is one byte on the wire.
pub const MAX_NAME_LEN: usize = 255;

/// The most that the format's specification allows a payload.
const MOST_BYTES: usize = 24 * 1024 * 1024;

/// What a decoder accepts and an encoder produces at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Total length of a message in bytes.
    pub max_message_len: usize,
    /// Bytes of one message's payload.
    pub max_payload_len: usize,
    /// Headers of one message.
    pub max_headers: usize,
    /// Bytes of one message's headers section.
    pub max_headers_len: usize,
    /// Bytes of a received string or byte_buf value.
    pub max_value_len: usize,
}

impl Limits {
    /// A payload of 24 MiB as the format's specification allows, and beside it 1024 headers of 24 MiB in total, with values of
    /// any length that fits in 16 bits.
    pub const DEFAULT: Limits = Limits {
        max_message_len: MIN_MESSAGE_LEN + 2 * MOST_BYTES,
        max_payload_len: MOST_BYTES,
        max_headers: 1024,
        max_headers_len: MOST_BYTES,
        max_value_len: 65_535,
    };

    /// What existing peers take on a connection: messages of 24 MiB in all, headers included.
    pub const ON_CONNECTION: Limits =
        Limits { max_message_len: MOST_BYTES, max_payload_len: usize::MAX, ..Limits::DEFAULT };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}
