use std::fmt;

use crate::codec::{HeaderType, Headers, Message, is_same_name};

/// Flag of CONNECT_ACK: the server accepts the connection.
pub const CONNECTION_ACCEPTED: i32 = 1;
/// Flag: the last message of its stream (on stream-id 0: of the connection).
pub const TERMINATE_STREAM: i32 = 2;

pub const MESSAGE_TYPE_HEADER: &[u8] = MESSAGE_TYPE;
pub const MESSAGE_FLAGS_HEADER: &[u8] = MESSAGE_FLAGS;
pub const STREAM_ID_HEADER: &[u8] = STREAM_ID;
pub const OPERATION_HEADER: &[u8] = OPERATION;

// The same names as arrays: comparing with an array takes a few instructions, comparing with a slice a call.
const MESSAGE_TYPE: &[u8; 13] = b":message-type";
const MESSAGE_FLAGS: &[u8; 14] = b":message-flags";
const STREAM_ID: &[u8; 10] = b":stream-id";
const OPERATION: &[u8; 9] = b"operation";

pub const PROTOCOL_HEADERS_LEN: usize = 55;
/// The three int32 headers of every message, one after the other, as this library and existing peers send them.
const PROTOCOL_HEADERS: &[u8; PROTOCOL_HEADERS_LEN] =
    b"\x0d:message-type\x04\0\0\0\0\x0e:message-flags\x04\0\0\0\0\x0a:stream-id\x04\0\0\0\0";
/// Where the three values are; the third one ends the headers.
const VALUES_AT: [usize; 3] = [15, 35, 51];

/// The purpose of a message, from its header `:message-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum MessageType {
    ApplicationMessage = 0,
    ApplicationError = 1,
    Ping = 2,
    PingResponse = 3,
    Connect = 4,
    ConnectAck = 5,
    ProtocolError = 6,
    InternalError = 7,
}

impl MessageType {
    pub fn from_number(number: i32) -> Option<MessageType> {
        // Written out, this is one comparison.
        Some(match number {
            0 => MessageType::ApplicationMessage,
            1 => MessageType::ApplicationError,
            2 => MessageType::Ping,
            3 => MessageType::PingResponse,
            4 => MessageType::Connect,
            5 => MessageType::ConnectAck,
            6 => MessageType::ProtocolError,
            7 => MessageType::InternalError,
            _ => return None,
        })
    }

    /// The name in the protocol's documentation.
    pub fn name(self) -> &'static str {
        match self {
            MessageType::ApplicationMessage => "APPLICATION_MESSAGE",
            MessageType::ApplicationError => "APPLICATION_ERROR",
            MessageType::Ping => "PING",
            MessageType::PingResponse => "PING_RESPONSE",
            MessageType::Connect => "CONNECT",
            MessageType::ConnectAck => "CONNECT_ACK",
            MessageType::ProtocolError => "PROTOCOL_ERROR",
            MessageType::InternalError => "INTERNAL_ERROR",
        }
    }

    /// Application messages go only on streams, all others only on stream-id 0.
    pub fn belongs_on_stream(self) -> bool {
        matches!(self, MessageType::ApplicationMessage | MessageType::ApplicationError)
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether the library itself adds a header with this name to every message that it sends.
pub fn is_protocol_header(name: &[u8]) -> bool {
    [MESSAGE_TYPE_HEADER, MESSAGE_FLAGS_HEADER, STREAM_ID_HEADER].iter().any(|known| is_same_name(name, known))
}

/// Whether `name` is `known`, ignoring ASCII case.
#[inline]
fn is_name<const N: usize>(name: &[u8], known: &[u8; N]) -> bool {
    name == known.as_slice() || is_same_name(name, known)
}

/// The headers of a message that the protocol reads. Of repeated headers the last one counts; a header of the wrong type counts
/// as missing (both as observed in aws-c-event-stream).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub message_type: Option<i32>,
    pub flags: Option<i32>,
    pub stream_id: Option<i32>,
    pub operation: Option<&'a [u8]>,
}

/// A received message, and what the protocol reads from it, so that it is read only once.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    pub message: &'a Message<'a>,
    pub envelope: Envelope<'a>,
}

impl<'a> Incoming<'a> {
    pub fn read(message: &'a Message<'a>) -> Incoming<'a> {
        Incoming { message, envelope: Envelope::read(&message.headers) }
    }
}

/// The three headers of every message, with these values.
pub fn protocol_headers(values: [i32; 3]) -> [u8; PROTOCOL_HEADERS_LEN] {
    let mut headers = *PROTOCOL_HEADERS;
    for (at, value) in VALUES_AT.into_iter().zip(values) {
        headers[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    headers
}

/// The values of the three headers, if the bytes are those. Comparing them as a whole takes a fraction of the time of reading
/// each.
#[inline]
fn read_protocol_headers(bytes: &[u8; PROTOCOL_HEADERS_LEN]) -> Option<[i32; 3]> {
    let [first, second, third] = VALUES_AT;
    let known = bytes[..first] == PROTOCOL_HEADERS[..first]
        && bytes[first + 4..second] == PROTOCOL_HEADERS[first + 4..second]
        && bytes[second + 4..third] == PROTOCOL_HEADERS[second + 4..third];
    let value = |at: usize| i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    known.then(|| [value(first), value(second), value(third)])
}

impl<'a> Envelope<'a> {
    /// Finds the headers of the protocol.
    #[inline]
    pub fn read(headers: &Headers<'a>) -> Envelope<'a> {
        // Most messages on a stream have these and no others.
        match headers.as_bytes().try_into().ok().and_then(read_protocol_headers) {
            Some([message_type, flags, stream_id]) => Envelope {
                message_type: Some(message_type),
                flags: Some(flags),
                stream_id: Some(stream_id),
                operation: None,
            },
            None => Envelope::read_any(headers),
        }
    }

    fn read_any(headers: &Headers<'a>) -> Envelope<'a> {
        let mut envelope = Envelope::default();
        let mut at = 0;
        loop {
            let rest = headers.as_bytes().get(at..).unwrap_or_default();
            if let Some([message_type, flags, stream_id]) = rest.first_chunk().and_then(read_protocol_headers) {
                envelope.message_type = Some(message_type);
                envelope.flags = Some(flags);
                envelope.stream_id = Some(stream_id);
                at += PROTOCOL_HEADERS_LEN;
            }
            let Some((header, next)) = headers.read_at(at) else { return envelope };
            let number = (header.header_type == HeaderType::Int32).then_some(header.number as i32);
            if is_name(header.name, MESSAGE_TYPE) {
                envelope.message_type = number;
            } else if is_name(header.name, MESSAGE_FLAGS) {
                envelope.flags = number;
            } else if is_name(header.name, STREAM_ID) {
                envelope.stream_id = number;
            } else if is_name(header.name, OPERATION) {
                envelope.operation = header.data.filter(|_| header.header_type == HeaderType::String);
            }
            at = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{HeaderValue, Limits, write_header};

    /// Reads the headers one by one, by their names.
    fn envelope_by_names<'a>(headers: &Headers<'a>) -> Envelope<'a> {
        let number = |name| headers.find(name).filter(|header| header.header_type == HeaderType::Int32);
        let number = |name| number(name).map(|header| header.number as i32);
        let operation = headers.find(OPERATION).filter(|header| header.header_type == HeaderType::String);
        Envelope {
            message_type: number(MESSAGE_TYPE),
            flags: number(MESSAGE_FLAGS),
            stream_id: number(STREAM_ID),
            operation: operation.and_then(|header| header.data),
        }
    }

    #[test]
    fn the_three_headers_are_what_is_written_one_by_one() {
        let mut bytes = Vec::new();
        for (name, value) in [(&MESSAGE_TYPE[..], 1), (MESSAGE_FLAGS, -2), (STREAM_ID, i32::MAX)] {
            write_header(name, HeaderValue::Int32(value), &mut bytes);
        }
        assert_eq!(protocol_headers([1, -2, i32::MAX]).as_slice(), bytes);
    }

    #[test]
    fn headers_mean_the_same_wherever_they_stand_and_however_often() {
        let three = protocol_headers([1, 2, 3]);
        let others = protocol_headers([-4, 5, i32::MIN]);
        let own = b"\x01a\x07\0\x04text";
        let operation = b"\x09operation\x07\0\x02op";
        let parts: [&[u8]; 7] = [b"", own, operation, &three, &others, &three[..19], &three[39..]];
        for numbers in 0..parts.len().pow(3) {
            let chosen = [numbers, numbers / parts.len(), numbers / parts.len().pow(2)];
            let section = chosen.map(|number| parts[number % parts.len()]).concat();
            let headers = Headers::parse(&section, &Limits::DEFAULT).expect("good headers");
            assert_eq!(Envelope::read(&headers), envelope_by_names(&headers), "{}", section.escape_ascii());
        }
    }

    #[test]
    fn message_types_have_the_numbers_of_the_protocol() {
        for number in -1..=8 {
            let found = MessageType::from_number(number).map(|message_type| message_type as i32);
            assert_eq!(found, (0..8).contains(&number).then_some(number));
        }
    }

    #[test]
    fn no_byte_of_the_three_may_differ() {
        let sound = protocol_headers([1, 2, 3]);
        let mut read = 0;
        for at in 0..sound.len() {
            for other in 0..=u8::MAX {
                let mut section = sound;
                section[at] = other;
                if let Ok(headers) = Headers::parse(&section, &Limits::DEFAULT) {
                    assert_eq!(Envelope::read(&headers), envelope_by_names(&headers), "{}", section.escape_ascii());
                    read += 1;
                }
            }
        }
        assert!(read > 12 * 256, "{read} sections were good");
    }
}
