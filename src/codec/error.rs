use std::fmt;

/// Why bytes are not a message, or why a header or message was refused. Each error carries the figures that its sentence names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The bytes end inside a message. `need` is its total length, or the length of a prelude if not even that is complete.
    Incomplete { have: usize, need: usize },
    /// The prelude's CRC does not match its two lengths.
    PreludeChecksum { stored: u32, computed: u32 },
    /// The CRC at the end does not match the message.
    MessageChecksum { stored: u32, computed: u32 },
    /// The total length is below that of an empty message.
    MessageLength { total: u32 },
    /// The headers section does not fit in the total length.
    HeadersLength { headers: u32, total: u32 },
    /// A header runs past the end of the headers section.
    HeaderOverrun { index: usize },
    /// The type byte of a header is not one of the ten known ones.
    UnknownHeaderType { index: usize, header_type: u8 },
    /// A name to be added is empty or too long.
    HeaderNameLength { len: usize },
    /// A name or string value to be added is not UTF-8 from `offset` on.
    InvalidUtf8 { offset: usize },
    /// A text is not a UUID in its hyphenated form.
    InvalidUuid,
    /// The message is longer than the limit.
    MessageTooLarge { len: usize, limit: usize },
    /// The payload is longer than the limit.
    PayloadTooLarge { len: usize, limit: usize },
    /// The message has more headers than the limit.
    TooManyHeaders { limit: usize },
    /// The headers section is longer than the limit.
    HeadersTooLarge { len: usize, limit: usize },
    /// A string or byte_buf value is longer than the limit.
    HeaderValueTooLong { len: usize, limit: usize },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Incomplete { have, need } => {
                write!(f, "the input ends inside a message, after {have} of {need} bytes")
            }
            Error::PreludeChecksum { stored, computed } => {
                write!(f, "the prelude checksum is {stored:08x}, but its bytes have {computed:08x}")
            }
            Error::MessageChecksum { stored, computed } => {
                write!(f, "the message checksum is {stored:08x}, but its bytes have {computed:08x}")
            }
            Error::MessageLength { total } => {
                write!(f, "the total length of {} is below the minimum of 16", bytes(total as usize))
            }
            Error::HeadersLength { headers, total } => {
                let headers = bytes(headers as usize);
                write!(f, "a headers section of {headers} does not fit in a message of {total} bytes")
            }
            Error::HeaderOverrun { index } => write!(f, "header {index} runs past the end of the headers section"),
            Error::UnknownHeaderType { index, header_type } => {
                write!(f, "header {index} has the unknown type {header_type}")
            }
            Error::HeaderNameLength { len } => {
                write!(f, "a header name has {}; 1 to 255 are allowed", bytes(len))
            }
            Error::InvalidUtf8 { offset } => write!(f, "the text is not UTF-8 at byte {offset}"),
            Error::InvalidUuid => write!(f, "the text is not a UUID such as 01234567-89ab-cdef-0123-456789abcdef"),
            Error::MessageTooLarge { len, limit } => {
                write!(f, "the message has {}, over the limit of {limit}", bytes(len))
            }
            Error::PayloadTooLarge { len, limit } => {
                write!(f, "the payload has {}, over the limit of {limit}", bytes(len))
            }
            Error::TooManyHeaders { limit } => write!(f, "there are more headers than the limit of {limit}"),
            Error::HeadersTooLarge { len, limit } => {
                write!(f, "the headers section has {}, over the limit of {limit}", bytes(len))
            }
            Error::HeaderValueTooLong { len, limit } => {
                write!(f, "a header value has {}, over the limit of {limit}", bytes(len))
            }
        }
    }
}

impl std::error::Error for Error {}

/// A number and a noun that agrees with it.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn bytes(count: usize) -> String {
    counted(count, "byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_is_not_a_plural() {
        let sentence = Error::MessageLength { total: 1 }.to_string();
        assert_eq!(sentence, "the total length of 1 byte is below the minimum of 16");
        let sentence = Error::HeadersLength { headers: 1, total: 16 }.to_string();
        assert_eq!(sentence, "a headers section of 1 byte does not fit in a message of 16 bytes");
        for len in [1, 2] {
            let limit = 0;
            let too_long = [
                Error::PayloadTooLarge { len, limit },
                Error::HeadersTooLarge { len, limit },
                Error::HeaderValueTooLong { len, limit },
            ];
            for error in too_long {
                assert_eq!(error.to_string().contains("bytes"), len != 1, "{error}");
            }
        }
    }
}
