//! The event-stream message format: bytes to messages and back.
//!
//! A message is a prelude (total length, headers length, CRC-32 of those 8 bytes), headers, a payload and the CRC-32
//! of everything before it; all integers are big-endian. Nothing here does I/O, knows the time, or depends on who uses it.
#![forbid(unsafe_code)]

mod checksum;
mod copying;
mod error;
mod event_decoder;
mod first_bytes;
mod flat_header;
mod header;
mod header_list;
mod header_parser;
mod headers;
mod limits;
mod message;
mod message_copy;
mod message_decoder;
mod prelude;
mod unsealed;
mod uuid_text;

pub use copying::{append_bytes, move_to_front};
pub use error::{Error, counted};
pub use event_decoder::{DecodeEvents, EventDecoder};
pub use first_bytes::{Expected, Sender, describe_first_bytes, tls_alert_name};
pub use flat_header::FlatHeader;
pub use header::{Header, HeaderType, HeaderValue, write_header};
pub use header_list::HeaderList;
pub use headers::{Headers, HeadersIter, is_same_name};
pub use limits::{Limits, MAX_NAME_LEN, MAX_SENT_VALUE_LEN, MESSAGE_CRC_LEN, MIN_MESSAGE_LEN, PRELUDE_LEN};
pub use message::{Filling, Message, Output, encode_into, encode_to, encode_with, encoded_len};
pub use message_copy::MessageCopy;
pub use message_decoder::MessageDecoder;
pub use prelude::Prelude;
pub use unsealed::Unsealed;
pub use uuid_text::{uuid_from_text, uuid_to_text};
