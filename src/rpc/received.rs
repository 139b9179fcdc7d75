use std::fmt;

use crate::codec;
use crate::rpc::MessageType;

/// What a received message is, and what has to be done with it.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<S, T> {
    /// A protocol message; it may end the connection. `handled`: it is not to be delivered, since it is a PING that was
    /// answered or dropped, or the answer to a PING of the library's own.
    Protocol { message_type: MessageType, ending: Option<Ending>, handled: bool },
    /// A message for an open stream. If it ends the stream, `ended` holds the tokens of sends that are not written.
    Stream { stream: S, ended: Option<Vec<T>> },
    /// The first message of a stream that the client opens. It is to be accepted or refused now.
    NewStream { id: i32, ends: bool },
    /// The first message of a stream that is one too many. It has been refused.
    ExcessStream { id: i32 },
    /// A message for a stream that is over.
    Late,
}

/// How an accepted message ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The server refuses the CONNECT.
    Refused,
    /// TERMINATE_STREAM on stream-id 0.
    Terminated,
}

/// What the peer did that ends the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// It broke a rule of the protocol. The text says which.
    Rule(String),
    /// It did too often what an honest peer does rarely: see [`Limits::abnormal_events`](crate::rpc::Limits).
    TooManyAbnormalEvents,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Rule(text) => f.write_str(text),
            Violation::TooManyAbnormalEvents => f.write_str(
                "too many messages for streams that have ended, or too many streams ended before anything was sent on them",
            ),
        }
    }
}

impl std::error::Error for Violation {}

/// What is wrong with input that is not a sound message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The headers of a message that is otherwise sound. The peer gets PROTOCOL_ERROR.
    Headers(codec::Error),
    /// The message is longer than a peer may send before the handshake is done.
    TooLargeForHandshake { len: usize, limit: usize },
    /// The framing: where the next message begins is not known.
    Framing(codec::Error),
}
