use std::fmt;

use crate::codec;

/// Why a send or an activation was not accepted. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The message breaks a limit of the codec.
    Codec(codec::Error),
    /// The handshake has to be done first.
    HandshakePending(&'static str),
    /// The handshake message was sent before.
    HandshakeAlreadyDone(&'static str),
    /// The message type may not be sent here.
    WrongMessageType(String),
    /// The caller gave a header that the protocol adds itself.
    ReservedHeader(String),
    /// The stream is over for sending.
    StreamClosed(&'static str),
    /// No such stream waits to be accepted or refused.
    StreamNotAnnounced,
    /// The connection takes no more messages.
    ConnectionClosed,
    /// The outbound queue holds its limit already.
    WouldBlock { queued: usize, limit: usize },
    /// All 2,147,483,647 stream ids of the connection are used.
    StreamIdsExhausted,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Codec(error) => error.fmt(f),
            Error::HandshakePending(what) | Error::HandshakeAlreadyDone(what) | Error::StreamClosed(what) => {
                f.write_str(what)
            }
            Error::WrongMessageType(what) => f.write_str(what),
            Error::ReservedHeader(name) => {
                write!(f, "the header {name:?} is added by the library and must not be passed")
            }
            Error::StreamNotAnnounced => f.write_str(
                "a stream can be accepted or refused once, inside the on_incoming_stream that announces it or after it was deferred there",
            ),
            Error::ConnectionClosed => f.write_str("the connection is closing or closed and accepts no more messages"),
            Error::WouldBlock { queued, limit } => write!(
                f,
                "{queued} bytes are waiting to be written, and the outbound limit is {limit} bytes; send again after on_writable"
            ),
            Error::StreamIdsExhausted => {
                f.write_str("all 2147483647 stream ids of this connection are used; open a new connection")
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<codec::Error> for Error {
    fn from(error: codec::Error) -> Self {
        Error::Codec(error)
    }
}
