/// The longest string or byte_buf value that is sent; existing peers do not accept longer ones.
pub const MAX_SENT_VALUE_LEN: usize = 32_767;
/// The longest header name: its length is one byte on the wire.
pub const MAX_NAME_LEN: usize = 255;

/// What a decoder accepts and an encoder produces at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Total length of a message in bytes.
    pub max_message_len: usize,
    /// Headers of one message.
    pub max_headers: usize,
    /// Bytes of one message's headers section.
    pub max_headers_len: usize,
    /// Bytes of a received string or byte_buf value.
    pub max_value_len: usize,
}

impl Limits {
    /// Messages of 24 MiB, 1024 headers of 24 MiB in total, and values of any length that fits in 16 bits.
    pub const DEFAULT: Limits = Limits {
        max_message_len: 24 * 1024 * 1024,
        max_headers: 1024,
        max_headers_len: 24 * 1024 * 1024,
        max_value_len: 65_535,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}
