use crate::codec::{HeaderValue, Headers};

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

/// Whether the name is one of the three headers that the library adds to every message.
pub fn is_protocol_header(name: &[u8]) -> bool {
    name.first() == Some(&b':')
        && [MESSAGE_TYPE_HEADER, MESSAGE_FLAGS_HEADER, STREAM_ID_HEADER].iter().any(|h| h.eq_ignore_ascii_case(name))
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
    pub fn read(headers: &Headers<'a>) -> Envelope<'a> {
        let mut envelope = Envelope::default();
        for header in headers.iter() {
            match header.value {
                HeaderValue::Int32(number) if header.name.first() == Some(&b':') => {
                    let name = header.name;
                    if name.eq_ignore_ascii_case(MESSAGE_TYPE_HEADER) {
                        envelope.message_type = Some(number);
                    } else if name.eq_ignore_ascii_case(MESSAGE_FLAGS_HEADER) {
                        envelope.flags = Some(number);
                    } else if name.eq_ignore_ascii_case(STREAM_ID_HEADER) {
                        envelope.stream_id = Some(number);
                    }
                }
                HeaderValue::String(text) if header.name.eq_ignore_ascii_case(OPERATION_HEADER) => {
                    envelope.operation = Some(text);
                }
                _ => {}
            }
        }
        envelope
    }
}
