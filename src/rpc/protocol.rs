use crate::codec::{HeaderType, Headers, Message, is_same_name};

/// Flag of CONNECT_ACK: the server accepts the connection.
pub const CONNECTION_ACCEPTED: i32 = 1;
/// Flag: the last message of its stream (on stream-id 0: of the connection).
pub const TERMINATE_STREAM: i32 = 2;

pub const MESSAGE_TYPE_HEADER: &[u8] = MESSAGE_TYPE;
pub const MESSAGE_FLAGS_HEADER: &[u8] = MESSAGE_FLAGS;
pub const STREAM_ID_HEADER: &[u8] = STREAM_ID;
pub const OPERATION_HEADER: &[u8] = OPERATION;

// The same as arrays: to compare with one takes a few instructions, with a slice a call.
const MESSAGE_TYPE: &[u8; 13] = b":message-type";
const MESSAGE_FLAGS: &[u8; 14] = b":message-flags";
const STREAM_ID: &[u8; 10] = b":stream-id";
const OPERATION: &[u8; 9] = b"operation";

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
    [MESSAGE_TYPE_HEADER, MESSAGE_FLAGS_HEADER, STREAM_ID_HEADER].iter().any(|known| is_same_name(name, known))
}

/// Whether `name` is one of the names above, without regard to ASCII case.
#[inline]
fn is_name<const N: usize>(name: &[u8], known: &[u8; N]) -> bool {
    name.as_array().is_some_and(|name| name == known) || is_same_name(name, known)
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

/// A received message, and what the protocol reads from it: once, for all who ask.
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

impl<'a> Envelope<'a> {
    /// Finds the headers of the protocol. Of repeated ones the last counts; one of another type is as good as none.
    pub fn read(headers: &Headers<'a>) -> Envelope<'a> {
        let mut envelope = Envelope::default();
        let mut at = 0;
        while let Some((header, next)) = headers.read_at(at) {
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
        envelope
    }
}
