use std::ffi::{CStr, CString};
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::event_loop::{AbortCause, LoopError};
use crate::codec::{self, counted};
use crate::transport::AddressText;
use crate::{rpc, transport};

/// The phases and activities of a connection that have a time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeLimit {
    Resolve,
    Connect,
    Tls,
    /// CONNECT and its answer.
    Handshake,
    /// The peer takes nothing of what is to be written.
    Write,
    /// A message has begun and has not ended.
    Message,
    Idle,
    /// The answer to the library's own PING.
    PingResponse,
}

/// A limit that a phase has passed, and what else there is to say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedLimit {
    pub limit: TimeLimit,
    pub time: Duration,
    pub detail: String,
}

/// Why a call was not carried out, or why a connection or stream ended. It is kept small, since every
/// connection has room for several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A send was not accepted.
    Rpc(rpc::Error),
    /// The peer sent a malformed message.
    Codec(codec::Error),
    /// As `Codec`, of a peer whose first bytes look like something else: the end of "what it sent ...".
    Stranger(Box<(codec::Error, String)>),
    /// A message before the end of the handshake is above its limit.
    HandshakeMessageTooLarge {
        len: usize,
        limit: usize,
    },
    /// The peer broke a rule of the protocol.
    Violation(String),
    /// The peer did too often what an honest one does rarely.
    TooManyAbnormalEvents,
    HandshakeRefused(String),
    Transport(Box<transport::Error>),
    PeerClosed(Box<PeerEnd>),
    /// The peer did not take what had to be written before the close.
    LingerExpired {
        unwritten: usize,
        linger: Duration,
    },
    Aborted {
        unwritten: usize,
    },
    /// A phase took longer than its option allows.
    TimeLimit(Box<PassedLimit>),
    /// The deadline that the caller set for the stream has passed.
    StreamDeadline {
        time: Duration,
    },
    /// No reply to a call came in time, or it was not even sent for lack of room.
    CallTimedOut {
        time: Duration,
        sent: bool,
    },
    /// The peer sent PROTOCOL_ERROR or INTERNAL_ERROR after the handshake.
    PeerError(String),
    /// The listener has as many connections as it may.
    TooManyConnections {
        limit: usize,
    },
    /// Of a connection in its handshake, when more recent ones have filled what is allowed.
    TooManyHandshakes {
        limit: usize,
    },
    /// Of the connection that held most, when its listener's held too much together.
    TooManyHeldBytes {
        held: usize,
        limit: usize,
    },
    /// Not begun, or cut off, because this side is being drained.
    Draining(&'static str),
    /// This side closed the connection.
    ConnectionClosed,
    StreamClosed,
    StreamNotActivated,
    StreamAlreadyActivated,
    Cancelled,
    NotReady,
    RuntimeShutdown,
    WouldDeadlock,
    TimedOut(String),
    InvalidState(&'static str),
    Forked,
    /// The reason that the application gave when it closed.
    Application(i32),
    Internal(String),
}

impl TimeLimit {
    fn sentence(self) -> &'static str {
        match self {
            TimeLimit::Resolve => "resolving the host name took longer than resolve_timeout_ms",
            TimeLimit::Connect => "connecting took longer than connect_timeout_ms",
            TimeLimit::Tls => "the TLS handshake took longer than tls_timeout_ms",
            TimeLimit::Handshake => "the handshake (CONNECT, CONNECT_ACK) was not done within handshake_timeout_ms",
            TimeLimit::Write => "the peer accepted no bytes for write_timeout_ms",
            TimeLimit::Message => {
                "a message did not arrive completely within message_timeout_ms and a second per 64 KiB"
            }
            TimeLimit::Idle => "the connection was idle for idle_timeout_ms",
            TimeLimit::PingResponse => {
                "the peer did not respond to the keep-alive PING within the timeout_ms of keep_alive_ping"
            }
        }
    }
}

/// How something ended: well, or why not.
pub type Outcome = Result<(), Error>;

impl Error {
    /// Of `bytes` from the peer of `role` that are not a sound message because of `error`. Before the handshake they may be those
    /// of a peer that speaks something else.
    pub(super) fn of_input(error: codec::Error, bytes: &[u8], role: rpc::Role, is_handshake_done: bool) -> Error {
        let sender = match role {
            rpc::Role::Client => codec::Sender::Server,
            rpc::Role::Server => codec::Sender::Client,
        };
        let looks = (!is_handshake_done)
            .then(|| codec::describe_first_bytes(bytes, codec::Expected::Message, sender))
            .flatten();
        match looks {
            Some(looks) => Error::Stranger(Box::new((error, looks))),
            None => Error::Codec(error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Rpc(error) => error.fmt(f),
            Error::Codec(codec::Error::Incomplete { have, need }) => {
                write!(f, "the connection ended inside a message, after {have} of {need} bytes")
            }
            Error::Codec(error) => write!(f, "the peer sent a malformed message: {error}"),
            Error::Stranger(seen) => {
                let (error, looks) = &**seen;
                write!(f, "what the peer sent is not an event-stream message; it {looks} ({error})")
            }
            Error::HandshakeMessageTooLarge { len, limit } => write!(
                f,
                "the peer sent a message of {len} bytes before the handshake was done; the limit there is {limit} bytes"
            ),
            Error::Violation(text) => write!(f, "the peer broke the protocol: {text}"),
            Error::TooManyAbnormalEvents => {
                write!(
                    f,
                    "{}; the limit is abnormal_event_limit of the connection options",
                    rpc::Violation::TooManyAbnormalEvents
                )
            }
            Error::HandshakeRefused(text) => f.write_str(text),
            Error::Transport(error) => error.fmt(f),
            Error::PeerClosed(end) => end.fmt(f),
            Error::LingerExpired { unwritten, linger } => write!(
                f,
                "the peer accepted no bytes for {} ms (linger_ms) while the connection was closing; {unwritten} bytes were not written",
                linger.as_millis()
            ),
            Error::Aborted { unwritten } => {
                write!(f, "the connection was aborted while {unwritten} bytes were not written")
            }
            Error::TimeLimit(passed) => {
                let PassedLimit { limit, time, detail } = &**passed;
                write!(f, "{} ({} ms)", limit.sentence(), time.as_millis())?;
                if detail.is_empty() { Ok(()) } else { write!(f, ": {detail}") }
            }
            Error::StreamDeadline { time } => {
                write!(f, "the stream did not end within its deadline_ms ({} ms)", time.as_millis())
            }
            Error::CallTimedOut { time, sent: true } => {
                write!(f, "no reply to the call arrived within its timeout_ms ({} ms)", time.as_millis())
            }
            Error::CallTimedOut { time, sent: false } => write!(
                f,
                "the call could not be sent within its timeout_ms ({} ms): the outbound queue stayed full",
                time.as_millis()
            ),
            Error::PeerError(text) => f.write_str(text),
            Error::TooManyConnections { limit } => write!(
                f,
                "the listener has {}, as many as max_connections allows; {} has to end first",
                counted(*limit, "connection"),
                if *limit == 1 { "it" } else { "one of them" }
            ),
            Error::TooManyHandshakes { limit } => write!(
                f,
                "more than {} (max_pending_handshakes) had not finished their handshake, and this one had waited longest",
                counted(*limit, "connection")
            ),
            Error::TooManyHeldBytes { held, limit } => write!(
                f,
                "the connections of the listener held more than {limit} bytes together (max_held_bytes), and this one held the most, {held} bytes"
            ),
            Error::Draining(text) => f.write_str(text),
            Error::ConnectionClosed => f.write_str("this side closed the connection"),
            Error::StreamClosed => f.write_str("the peer ended the stream before this was written"),
            Error::StreamNotActivated => f.write_str("the stream is not activated yet"),
            Error::StreamAlreadyActivated => f.write_str("the stream was activated before"),
            Error::Cancelled => {
                f.write_str("this side closed the connection before it was set up, or did not accept it")
            }
            Error::NotReady => f.write_str("the connection is not set up yet; wait for on_setup"),
            Error::RuntimeShutdown => f.write_str("the runtime is shut down"),
            Error::WouldDeadlock => {
                f.write_str("an event-loop thread of the library cannot wait: it would wait for itself")
            }
            Error::TimedOut(text) => f.write_str(text),
            Error::InvalidState(text) => f.write_str(text),
            Error::Forked => {
                f.write_str("this object belongs to the parent process; a forked child has to make its own runtime")
            }
            Error::Application(reason) => write!(f, "this side closed the connection with its own reason {reason}"),
            Error::Internal(text) => write!(f, "internal error, please report it: {text}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<LoopError> for Error {
    fn from(error: LoopError) -> Error {
        match error {
            LoopError::Stopped => Error::RuntimeShutdown,
            LoopError::WouldDeadlock => Error::WouldDeadlock,
            LoopError::Forked => Error::Forked,
        }
    }
}

impl From<AbortCause> for Error {
    fn from(cause: AbortCause) -> Error {
        match cause {
            AbortCause::Shutdown => Error::RuntimeShutdown,
            AbortCause::Panic => Error::Internal("the event loop panicked on this connection".to_owned()),
        }
    }
}

impl From<rpc::Violation> for Error {
    fn from(violation: rpc::Violation) -> Error {
        match violation {
            rpc::Violation::Rule(text) => Error::Violation(text),
            rpc::Violation::TooManyAbnormalEvents => Error::TooManyAbnormalEvents,
        }
    }
}

impl From<rpc::Error> for Error {
    fn from(error: rpc::Error) -> Self {
        Error::Rpc(error)
    }
}

impl From<transport::Error> for Error {
    fn from(error: transport::Error) -> Self {
        Error::Transport(Box::new(error))
    }
}

/// How a peer ended a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEnd {
    Closed {
        peer: AddressText,
    },
    /// A server, before it answered CONNECT.
    Unanswered {
        peer: AddressText,
    },
    /// After it sent PROTOCOL_ERROR or INTERNAL_ERROR, with the sentence for that.
    AfterError(String),
    /// It still took what was sent on open streams, but not for longer than the limit.
    HalfOpen,
    Terminated,
}

impl fmt::Display for PeerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerEnd::Closed { peer } => write!(f, "{} closed the connection", peer.peer_name()),
            PeerEnd::Unanswered { peer } => write!(
                f,
                "{} closed the connection without answering CONNECT; its log should say why",
                peer.peer_name()
            ),
            PeerEnd::AfterError(text) => write!(f, "the peer closed the connection after an error: {text}"),
            PeerEnd::HalfOpen => f.write_str("the peer closed the connection while streams were open"),
            PeerEnd::Terminated => f.write_str("the peer ended the connection: TERMINATE_STREAM on stream-id 0"),
        }
    }
}

/// A value with its text as the C interface lends it, which is made when somebody first asks for it.
#[derive(Debug)]
pub struct Described<T> {
    value: T,
    text: OnceLock<CString>,
}

impl<T> Described<T> {
    pub fn new(value: T) -> Described<T> {
        Described { value, text: OnceLock::new() }
    }

    pub fn value(&self) -> &T {
        &self.value
    }
}

impl Described<AddressText> {
    pub fn text(&self) -> &CStr {
        self.text.get_or_init(|| text(self.value.to_string()))
    }
}

impl Described<Error> {
    pub fn sentence(&self) -> &CStr {
        self.text.get_or_init(|| sentence(&self.value.to_string()))
    }
}

/// How a connection or stream ended.
pub type Ended<'a> = Result<(), &'a Described<Error>>;

/// The place for that, filled once, on one thread. The usual end costs a store.
#[derive(Default)]
pub(in crate::runtime) struct End {
    well: AtomicBool,
    badly: OnceLock<Box<Described<Error>>>,
}

impl End {
    pub fn get(&self) -> Option<Ended<'_>> {
        if self.well.load(Ordering::Acquire) { Some(Ok(())) } else { self.badly.get().map(|end| Err(end.as_ref())) }
    }

    pub fn outcome(&self) -> Option<Outcome> {
        self.get().map(|ended| ended.map_err(|error| error.value().clone()))
    }

    pub fn set(&self, outcome: &Outcome) {
        if self.get().is_some() {
            return;
        }
        match outcome {
            Ok(()) => self.well.store(true, Ordering::Release),
            Err(error) => {
                let _ = self.badly.set(Box::new(Described::new(error.clone())));
            }
        }
    }
}

/// Text as the C interface lends it; what follows a NUL is lost.
pub(in crate::runtime) fn text(mut text: String) -> CString {
    text.truncate(text.find('\0').unwrap_or(text.len()));
    CString::new(text).unwrap_or_default()
}

/// A sentence as the C interface lends it. It may quote a peer, whose control characters must not break a line or reach a
/// terminal.
pub fn sentence(text: &str) -> CString {
    CString::new(text.replace(char::is_control, " ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_connection_is_not_a_plural() {
        let sentence = Error::TooManyConnections { limit: 1 }.to_string();
        assert_eq!(sentence, "the listener has 1 connection, as many as max_connections allows; it has to end first");
        let sentence = Error::TooManyHandshakes { limit: 1 }.to_string();
        assert!(sentence.starts_with("more than 1 connection (max_pending_handshakes) had not "), "{sentence}");
        let sentence = Error::TooManyConnections { limit: 2 }.to_string();
        assert!(
            sentence.starts_with("the listener has 2 connections, ")
                && sentence.ends_with("; one of them has to end first")
        );
    }

    #[test]
    fn the_first_end_stays() {
        let bad = || Err(Error::StreamClosed);
        for outcomes in [[Ok(()), bad(), Ok(())], [bad(), Ok(()), Err(Error::Cancelled)]] {
            let end = End::default();
            assert_eq!(end.outcome(), None);
            for outcome in &outcomes {
                end.set(outcome);
                assert_eq!(end.outcome().as_ref(), Some(&outcomes[0]));
            }
        }
    }
}
