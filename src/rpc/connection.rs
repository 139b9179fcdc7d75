use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::codec::{self, Message};
use crate::rpc::outbound::{Mark, Outbound, Trail};
use crate::rpc::protocol::{CONNECTION_ACCEPTED, TERMINATE_STREAM};
use crate::rpc::streams::{Entry, StreamTable};
use crate::rpc::{Buffers, Envelope, Error, Limits, MessageType, NewBuffers, Outgoing, Prepared, RateLimit};

/// While more than this of what a server sends whatever its outbound limit waits to be written, it reads nothing.
pub const MAX_EXEMPT_LEN: usize = 64 * 1024;

/// What an open stream counts for in what a connection holds, beside the name of its operation.
pub const HELD_BY_STREAM: usize = 640;

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handshake {
    /// No CONNECT yet.
    Start,
    /// CONNECT was sent or received, CONNECT_ACK was not.
    Connecting,
    /// CONNECT_ACK with CONNECTION_ACCEPTED.
    Done,
    /// CONNECT_ACK without it.
    Refused,
}

/// What a received message is, and what has to be done with it.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<S, T> {
    /// A protocol message to deliver; it may end the connection.
    Protocol { message_type: MessageType, ending: Option<Ending> },
    /// A message for an open stream. If it ends the stream, `ended` holds the tokens of sends that are not written.
    Stream { stream: S, ended: Option<Vec<T>> },
    /// The first message of a stream that the client opens.
    NewStream { id: i32, ends: bool },
    /// The first message of a stream that would be one too many: it is to be refused.
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
    /// It did too often what an honest peer does rarely: see [`Limits::abnormal_events`].
    TooManyAbnormalEvents,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Rule(text) => f.write_str(text),
            Violation::TooManyAbnormalEvents => f.write_str(
                "too many messages for streams that are over, or too many streams ended before they were answered",
            ),
        }
    }
}

impl std::error::Error for Violation {}

/// What was open when a connection ended.
pub struct Ended<S, T> {
    /// Of sends that were not written, in their order.
    pub tokens: Vec<T>,
    /// In the order of their ids.
    pub streams: Vec<S>,
}

/// What has happened on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub messages_received: u64,
    /// Accepted for sending.
    pub messages_sent: u64,
    /// Activated by a client, accepted by a server.
    pub streams_opened: u64,
    /// On servers, for whatever reason.
    pub streams_refused: u64,
    /// Of these, for the limit of streams.
    pub streams_in_excess: u64,
    /// For streams that were over, without TERMINATE_STREAM.
    pub late_messages: u64,
    /// Streams that the client ended before the server had sent anything on them.
    pub unanswered_ends: u64,
    /// Sends and activations for which there was no room.
    pub sends_refused: u64,
}

/// One side of an event-stream RPC connection. `S` stands for a stream, `T` for whoever waits for a send to be written.
pub struct Connection<S, T> {
    role: Role,
    limits: Limits,
    handshake: Handshake,
    /// Client: the last id given away. Server: the last id that the client used.
    last_stream_id: i32,
    streams: StreamTable<S>,
    /// The sum over `streams` of the lengths of their operations' names.
    operations_len: usize,
    outbound: Outbound<T>,
    /// Nothing more is accepted for sending.
    sending_closed: bool,
    sent_error_message: bool,
    counts: Counts,
    abnormal_events: RateLimit,
}

impl<S: Clone, T> Connection<S, T> {
    pub fn new(role: Role, limits: Limits) -> Self {
        Connection::with_buffers(role, limits, Arc::new(NewBuffers))
    }

    /// With a source of memory for what is queued.
    pub fn with_buffers(role: Role, limits: Limits, buffers: Arc<dyn Buffers>) -> Self {
        Connection {
            role,
            limits,
            handshake: Handshake::Start,
            last_stream_id: 0,
            streams: StreamTable::default(),
            operations_len: 0,
            outbound: Outbound::new(buffers),
            sending_closed: false,
            sent_error_message: false,
            counts: Counts::default(),
            abnormal_events: RateLimit::default(),
        }
    }

    pub fn role(&self) -> Role {
        self.role
    }

    pub fn is_handshake_done(&self) -> bool {
        self.handshake == Handshake::Done
    }

    /// Well or not.
    pub fn is_handshake_answered(&self) -> bool {
        matches!(self.handshake, Handshake::Done | Handshake::Refused)
    }

    /// The limits for what is received now: tighter until the handshake is done.
    pub fn receive_limits(&self) -> codec::Limits {
        let mut limits = self.limits.messages;
        if self.handshake != Handshake::Done {
            limits.max_message_len = limits.max_message_len.min(self.limits.max_handshake_message_len);
        }
        limits
    }

    /// The limits for what is sent.
    pub fn limits(&self) -> &codec::Limits {
        &self.limits.messages
    }

    /// A server takes nothing from a peer that does not read what this side cannot refuse to send. A client goes on: what
    /// it sends in this way is bounded by the streams that it opened, and two sides that both wait would wait for ever.
    pub fn must_not_read(&self) -> bool {
        self.outbound.exempt_exceeds(MAX_EXEMPT_LEN as u64) && self.role == Role::Server
    }

    /// This side sent a refusal or an error message: the peer must get the time to read it.
    pub fn owes_linger(&self) -> bool {
        self.role == Role::Server && (self.sent_error_message || self.handshake == Handshake::Refused)
    }

    pub fn counts(&self) -> Counts {
        Counts { messages_sent: self.outbound.messages(), ..self.counts }
    }

    /// The most bytes that waited to be written at a time.
    pub fn most_outbound_len(&self) -> usize {
        self.outbound.most_len()
    }

    pub fn outbound_len(&self) -> usize {
        self.outbound.len()
    }

    pub fn outbound_limit(&self) -> usize {
        self.limits.outbound
    }

    /// Positions in the outgoing bytes: what was ever accepted, what was ever written.
    pub fn outbound_positions(&self) -> (u64, u64) {
        (self.outbound.queued_total(), self.outbound.written_total())
    }

    /// Nothing more is accepted from now on; what was accepted is still to be written.
    pub fn close_sending(&mut self) {
        self.sending_closed = true;
    }

    /// Queues a protocol message. Answers how it ends the connection, if it does.
    pub fn send_protocol(&mut self, message: Prepared<'_>, token: Option<T>) -> Result<Option<Ending>, Error> {
        if self.sending_closed {
            return Err(Error::ConnectionClosed);
        }
        let next = self.handshake_after_sending(message.message_type, message.flags())?;
        self.check_room()?;
        self.handshake = next;
        let ending = if next == Handshake::Refused {
            Some(Ending::Refused)
        } else if message.flags() & TERMINATE_STREAM != 0 {
            Some(Ending::Terminated)
        } else {
            None
        };
        self.sending_closed = ending.is_some();
        self.sent_error_message |=
            matches!(message.message_type, MessageType::ProtocolError | MessageType::InternalError);
        self.outbound.push(message, 0, token);
        Ok(ending)
    }

    /// Queues a protocol message of the library's own, whatever the outbound limit.
    pub fn send_own(&mut self, message: Prepared<'_>) -> Result<(), Error> {
        if self.sending_closed {
            return Err(Error::ConnectionClosed);
        }
        self.handshake_after_sending(message.message_type, message.flags())?;
        self.outbound.push_exempt(message, 0);
        Ok(())
    }

    /// Ends a stream from this side at once: the peer is told, and what waits to be written is given back.
    pub fn cut_stream(&mut self, id: i32, message: Prepared<'_>) -> Option<(S, Vec<T>)> {
        let entry = self.take_entry(id)?;
        let waiting = self.outbound.cancel_stream(entry.trail);
        if !entry.ended_here && !entry.ended_by_peer && !self.sending_closed {
            self.outbound.push_exempt(message, id);
        }
        Some((entry.stream, waiting))
    }

    fn handshake_after_sending(&self, message_type: MessageType, flags: i32) -> Result<Handshake, Error> {
        use Handshake::*;
        use MessageType::{Connect, ConnectAck, InternalError, ProtocolError};
        match (self.role, message_type, self.handshake) {
            (Role::Client, ConnectAck, _) => {
                Err(Error::WrongMessageType("CONNECT_ACK is sent by servers only".to_owned()))
            }
            (Role::Server, Connect, _) => Err(Error::WrongMessageType("CONNECT is sent by clients only".to_owned())),
            (Role::Client, Connect, Start) => Ok(Connecting),
            (Role::Client, Connect, _) => {
                Err(Error::HandshakeAlreadyDone("CONNECT was sent before on this connection"))
            }
            (Role::Client, _, Start) => Err(Error::HandshakePending("CONNECT has to be sent first")),
            (Role::Client, _, Connecting) => {
                Err(Error::HandshakePending("the server has not answered CONNECT with CONNECT_ACK yet"))
            }
            (Role::Server, ConnectAck, Start) => {
                Err(Error::HandshakePending("the client has not sent CONNECT yet, there is nothing to acknowledge"))
            }
            (Role::Server, ConnectAck, Connecting) => Ok(if flags & CONNECTION_ACCEPTED != 0 { Done } else { Refused }),
            (Role::Server, ConnectAck, _) => {
                Err(Error::HandshakeAlreadyDone("CONNECT_ACK was sent before on this connection"))
            }
            (Role::Server, ProtocolError | InternalError, state) => Ok(state),
            (Role::Server, _, Start | Connecting) => {
                Err(Error::HandshakePending("the client's CONNECT has to be answered with CONNECT_ACK first"))
            }
            (_, _, state) => Ok(state),
        }
    }

    fn check_room(&mut self) -> Result<(), Error> {
        let (queued, limit) = (self.outbound.len(), self.limits.outbound);
        if queued < limit {
            return Ok(());
        }
        self.counts.sends_refused += 1;
        Err(Error::WouldBlock { queued, limit })
    }

    /// Opens a stream with its first message. Answers its id.
    pub fn activate(&mut self, stream: S, message: Prepared<'_>, token: Option<T>) -> Result<i32, Error> {
        if self.sending_closed {
            return Err(Error::ConnectionClosed);
        }
        if self.handshake != Handshake::Done {
            return Err(Error::HandshakePending("a stream can be activated only after CONNECT_ACK has come"));
        }
        let id = self.last_stream_id.checked_add(1).ok_or(Error::StreamIdsExhausted)?;
        self.check_room()?;
        self.last_stream_id = id;
        let ended_here = message.flags() & TERMINATE_STREAM != 0;
        self.counts.streams_opened += 1;
        let operation_len = message.operation_len() as u32;
        let mut trail = Trail::default();
        self.outbound.push_on_stream(message, id, ended_here, token, &mut trail);
        self.insert(id, Entry { stream, operation_len, ended_here, ended_by_peer: false, answered: true, trail });
        Ok(id)
    }

    /// Queues a message on an open stream. `exempt`: it may exceed the outbound limit.
    pub fn send_on_stream(
        &mut self,
        id: i32,
        message: Prepared<'_>,
        token: Option<T>,
        exempt: bool,
    ) -> Result<(), Error> {
        if self.sending_closed {
            return Err(Error::ConnectionClosed);
        }
        let entry = self.streams.get_mut(&id).ok_or(Error::StreamClosed("the stream is over"))?;
        if entry.ended_by_peer {
            return Err(Error::StreamClosed("the peer has ended the stream"));
        }
        if entry.ended_here {
            return Err(Error::StreamClosed("TERMINATE_STREAM was sent on the stream before"));
        }
        let (queued, limit) = (self.outbound.len(), self.limits.outbound);
        if !exempt && queued >= limit {
            self.counts.sends_refused += 1;
            return Err(Error::WouldBlock { queued, limit });
        }
        let terminates = message.flags() & TERMINATE_STREAM != 0;
        entry.ended_here = terminates;
        entry.answered = true;
        let start = self.outbound.queued_total();
        self.outbound.push_on_stream(message, id, terminates, token, &mut entry.trail);
        if exempt {
            self.outbound.note_exempt(start);
        }
        Ok(())
    }

    /// The application takes the stream that `Received::NewStream` announced, whose operation's name has so many bytes.
    pub fn accept_stream(&mut self, id: i32, stream: S, operation_len: usize, ends: bool) {
        self.counts.streams_opened += 1;
        let (trail, operation_len, ended_by_peer) = (Trail::default(), operation_len as u32, ends);
        self.insert(id, Entry { stream, operation_len, ended_here: false, ended_by_peer, answered: false, trail });
    }

    /// The application does not take it: the answer is APPLICATION_ERROR with TERMINATE_STREAM.
    pub fn refuse_stream(&mut self, id: i32, message: Prepared<'_>) -> Result<(), Error> {
        if self.sending_closed {
            return Err(Error::ConnectionClosed);
        }
        self.counts.streams_refused += 1;
        self.outbound.push_exempt(message, id);
        Ok(())
    }

    fn insert(&mut self, id: i32, entry: Entry<S>) {
        self.operations_len += entry.operation_len as usize;
        self.streams.insert(id, entry);
    }

    fn take_entry(&mut self, id: i32) -> Option<Entry<S>> {
        let entry = self.streams.remove(&id)?;
        self.operations_len -= entry.operation_len as usize;
        if self.streams.is_empty() {
            // An idle connection holds no memory for them.
            self.streams = StreamTable::default();
        }
        Some(entry)
    }

    /// Forgets a stream that is over.
    pub fn remove_stream(&mut self, id: i32) -> Option<S> {
        self.take_entry(id).map(|entry| entry.stream)
    }

    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// About how many bytes of memory the open streams take, messages aside.
    pub fn held_by_streams(&self) -> usize {
        self.streams.len() * HELD_BY_STREAM + self.operations_len
    }

    /// The open streams, in no order.
    pub fn streams(&self) -> impl Iterator<Item = &S> {
        self.streams.values().map(|entry| &entry.stream)
    }

    /// Takes one message that was received at about `now`.
    pub fn receive(&mut self, message: &Message<'_>, now: Instant) -> Result<Received<S, T>, Violation> {
        self.receive_envelope(&Envelope::read(&message.headers), now)
    }

    pub fn receive_envelope(&mut self, envelope: &Envelope<'_>, now: Instant) -> Result<Received<S, T>, Violation> {
        self.counts.messages_received += 1;
        let missing = |name: &str| Violation::Rule(format!("a message has no int32 header {name}"));
        let number = envelope.message_type.ok_or_else(|| missing(":message-type"))?;
        let flags = envelope.flags.ok_or_else(|| missing(":message-flags"))?;
        let id = envelope.stream_id.ok_or_else(|| missing(":stream-id"))?;
        let message_type = MessageType::from_number(number)
            .ok_or_else(|| Violation::Rule(format!("{number} is not a message type (0 to 7)")))?;
        if id < 0 {
            return Err(Violation::Rule(format!("the stream id {id} is negative")));
        }
        if message_type.belongs_on_stream() != (id > 0) {
            return Err(Violation::Rule(format!("{message_type} cannot come on stream-id {id}")));
        }
        if id == 0 {
            let ending = self.receive_protocol(message_type, flags)?;
            return Ok(Received::Protocol { message_type, ending });
        }
        if self.handshake != Handshake::Done {
            return Err(Violation::Rule(format!("{message_type} came on stream {id} before the handshake was done")));
        }
        self.receive_on_stream(id, flags & TERMINATE_STREAM != 0, envelope.operation, now)
    }

    fn receive_protocol(&mut self, message_type: MessageType, flags: i32) -> Result<Option<Ending>, Violation> {
        use MessageType::{Connect, ConnectAck, InternalError, ProtocolError};
        let violation = |text: &str| Err(Violation::Rule(format!("{message_type} {text}")));
        match (self.role, self.handshake, message_type) {
            (Role::Server, Handshake::Start, Connect) => self.handshake = Handshake::Connecting,
            (Role::Server, Handshake::Start, _) => return violation("came before CONNECT"),
            (Role::Server, Handshake::Connecting, _) => return violation("came before CONNECT was acknowledged"),
            (Role::Server, Handshake::Done, Connect) => return violation("came a second time"),
            (Role::Client, Handshake::Start, _) => return violation("came before CONNECT was sent"),
            (Role::Client, Handshake::Connecting, ConnectAck) if flags & CONNECTION_ACCEPTED != 0 => {
                self.handshake = Handshake::Done;
            }
            // The server says why in place of CONNECT_ACK; the handshake cannot be done any more.
            (Role::Client, Handshake::Connecting, ConnectAck | ProtocolError | InternalError) => {
                self.handshake = Handshake::Refused;
                self.sending_closed = true;
                return Ok(Some(Ending::Refused));
            }
            (Role::Client, Handshake::Connecting, _) => return violation("came in place of CONNECT_ACK"),
            (Role::Client, Handshake::Done, ConnectAck) => return violation("came a second time"),
            (Role::Client, _, Connect) => return violation("is for servers"),
            (Role::Server, _, ConnectAck) => return violation("is for clients"),
            _ => {}
        }
        Ok((flags & TERMINATE_STREAM != 0).then_some(Ending::Terminated))
    }

    /// Inline, since all messages of streams come this way.
    #[inline(always)]
    fn receive_on_stream(
        &mut self,
        id: i32,
        ends: bool,
        operation: Option<&[u8]>,
        now: Instant,
    ) -> Result<Received<S, T>, Violation> {
        if let Some(entry) = self.streams.get_mut(&id) {
            let stream = entry.stream.clone();
            if !ends {
                return Ok(Received::Stream { stream, ended: None });
            }
            self.counts.unanswered_ends += u64::from(!entry.answered);
            if !entry.answered && !self.abnormal_events.take(self.limits.abnormal_events, now) {
                return Err(Violation::TooManyAbnormalEvents);
            }
            entry.ended_by_peer = true;
            return Ok(Received::Stream { stream, ended: Some(self.outbound.cancel_stream(entry.trail)) });
        }
        self.receive_without_stream(id, ends, operation, now)
    }

    /// A message for a stream that is not open: over, or new.
    #[inline(never)]
    fn receive_without_stream(
        &mut self,
        id: i32,
        ends: bool,
        operation: Option<&[u8]>,
        now: Instant,
    ) -> Result<Received<S, T>, Violation> {
        if id <= self.last_stream_id {
            if !ends {
                self.counts.late_messages += 1;
                // A client drops them uncounted: it cannot know what a server had sent before it read the end.
                if self.role == Role::Server && !self.abnormal_events.take(self.limits.abnormal_events, now) {
                    return Err(Violation::TooManyAbnormalEvents);
                }
            }
            return Ok(Received::Late);
        }
        let last = self.last_stream_id;
        if self.role == Role::Client {
            return Err(Violation::Rule(format!("a message came on stream {id}; the last one opened is {last}")));
        }
        if last.checked_add(1) != Some(id) {
            return Err(Violation::Rule(format!("stream {id} was opened, the next id after {last} was expected")));
        }
        if operation.is_none() {
            return Err(Violation::Rule(format!(
                "the first message of stream {id} has no string header \"operation\""
            )));
        }
        self.last_stream_id = id;
        if self.streams.len() >= self.limits.max_streams {
            self.counts.streams_in_excess += 1;
            return Ok(Received::ExcessStream { id });
        }
        Ok(Received::NewStream { id, ends })
    }

    /// Queues PROTOCOL_ERROR for a peer that broke a rule, if this side has to say so, and takes no more sends. A client
    /// says nothing before the handshake is done (as observed in aws-c-event-stream).
    pub fn send_violation(&mut self, message: Prepared<'_>) {
        if !self.sending_closed && (self.role == Role::Server || self.handshake == Handshake::Done) {
            self.sent_error_message = true;
            self.outbound.push_exempt(message, 0);
        }
        self.sending_closed = true;
    }

    /// Moves what waits to be written.
    pub fn take_segments(&mut self, into: &mut VecDeque<Vec<u8>>) {
        self.outbound.take_segments(into);
    }

    /// `count` more of the moved bytes are written: moves what is due now to `due`, which is empty.
    pub fn written(&mut self, count: usize, due: &mut VecDeque<Mark<T>>) {
        self.outbound.written(count, due);
    }

    /// Nothing is sent for now: what is empty keeps no memory.
    pub fn rest(&mut self) {
        self.outbound.rest();
    }

    /// The connection is over.
    pub fn end(&mut self) -> Ended<S, T> {
        self.sending_closed = true;
        self.operations_len = 0;
        let mut streams: Vec<_> = self.streams.drain().collect();
        streams.sort_unstable_by_key(|(id, _)| *id);
        Ended { tokens: self.outbound.drain(), streams: streams.into_iter().map(|(_, entry)| entry.stream).collect() }
    }
}

/// The PROTOCOL_ERROR that tells the peer which rule it broke.
pub fn violation_message<'a>(headers: &'a crate::codec::HeaderList, payload: &'a [u8]) -> Outgoing<'a> {
    Outgoing {
        message_type: MessageType::ProtocolError as i32,
        flags: 0,
        headers: Some(headers),
        operation: None,
        payload,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_the_last_but_one_id(role: Role) -> Connection<(), ()> {
        let mut connection = Connection::new(role, Limits::default());
        connection.handshake = Handshake::Done;
        connection.last_stream_id = i32::MAX - 1;
        connection
    }

    #[test]
    fn a_client_says_when_all_stream_ids_are_used() {
        let mut client = after_the_last_but_one_id(Role::Client);
        let mut activate = || {
            let message = Outgoing::empty(MessageType::ApplicationMessage, 0);
            let message = message.prepare(true, &codec::Limits::DEFAULT);
            client.activate((), message.expect("a good message"), None)
        };
        assert_eq!(activate(), Ok(i32::MAX));
        assert_eq!(activate(), Err(Error::StreamIdsExhausted));
    }

    #[test]
    fn a_server_takes_the_last_stream_id_and_none_after_it() {
        let mut server = after_the_last_but_one_id(Role::Server);
        let mut open = |id| {
            let operation = Some(&b"operation"[..]);
            let envelope = Envelope { message_type: Some(0), flags: Some(0), stream_id: Some(id), operation };
            server.receive_envelope(&envelope, Instant::now())
        };
        assert_eq!(open(i32::MAX), Ok(Received::NewStream { id: i32::MAX, ends: false }));
        assert_eq!(open(i32::MAX), Ok(Received::Late));
        assert!(open(i32::MIN).is_err());
    }
}
