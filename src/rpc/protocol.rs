use crate::codec::{Header, HeaderValue, Headers};

/// Flag of CONNECT_ACK: the server accepts the connection.
pub const CONNECTION_ACCEPTED: i32 = 1;
/// Flag: the last message of its stream (on stream-id 0: of the connection).
pub const TERMINATE_STREAM: i32 = 2;

pub const MESSAGE_TYPE_HEADER: &[u8] = b":message-type";
pub const MESSAGE_FLAGS_HEADER: &[u8] = b":message-flags";
pub const STREAM_ID_HEADER: &[u8] = b":stream-id";
pub const OPERATION_HEADER: &[u8] = b"operation";

/// What a message is for, as the header `:message-type` says.
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
        use MessageType::*;
        [ApplicationMessage, ApplicationError, Ping, PingResponse, Connect, ConnectAck, ProtocolError, InternalError]
            .into_iter()
            .find(|message_type| *message_type as i32 == number)
    }

    /// Application messages go only on streams, all others only on stream-id 0.
    pub fn belongs_on_stream(self) -> bool {
        matches!(self, MessageType::ApplicationMessage | MessageType::ApplicationError)
    }
}

/// Whether the library sets headers of this name itself on every message that it sends.
pub fn is_protocol_header(name: &[u8]) -> bool {
    [MESSAGE_TYPE_HEADER, MESSAGE_FLAGS_HEADER, STREAM_ID_HEADER].iter().any(|known| is_name(name, known))
}

/// Whether two names are the same, without regard to ASCII case. Most often they are so byte by byte, or differ in length.
#[inline]
fn is_name(name: &[u8], known: &[u8]) -> bool {
    name == known || (name.len() == known.len() && name.eq_ignore_ascii_case(known))
}

/// The headers of a message that the protocol reads. Of repeated ones the last counts; one of another type than it should
/// have counts as absent (both as observed in aws-c-event-stream).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub message_type: Option<i32>,
    pub flags: Option<i32>,
    pub stream_id: Option<i32>,
    pub operation: Option<&'a [u8]>,
}

impl<'a> Envelope<'a> {
    /// Finds the headers of the protocol. Of repeated ones the last counts; one of another type is as good as none.
    pub fn read(headers: &Headers<'a>) -> Envelope<'a> {
        let mut envelope = Envelope::default();
        let number = |value| match value {
            HeaderValue::Int32(number) => Some(number),
            _ => None,
        };
        for Header { name, value } in headers.iter() {
            if is_name(name, MESSAGE_TYPE_HEADER) {
                envelope.message_type = number(value);
            } else if is_name(name, MESSAGE_FLAGS_HEADER) {
                envelope.flags = number(value);
            } else if is_name(name, STREAM_ID_HEADER) {
                envelope.stream_id = number(value);
            } else if is_name(name, OPERATION_HEADER) {
                envelope.operation = match value {
                    HeaderValue::String(text) => Some(text),
                    _ => None,
                };
            }
        }
        envelope
    }
}
