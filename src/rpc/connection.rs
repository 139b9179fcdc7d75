use std::collections::VecDeque;
use std::sync::Arc;

use crate::codec::{Limits, Message};
use crate::rpc::outbound::{Buffers, Mark, NewBuffers, Outbound};
use crate::rpc::protocol::{CONNECTION_ACCEPTED, TERMINATE_STREAM};
use crate::rpc::streams::{Entry, StreamTable};
use crate::rpc::{Envelope, Error, MessageType, Outgoing, Prepared};

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

/// The peer broke a rule of the protocol. The text says which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

/// What was open when a connection ended.
pub struct Ended<S, T> {
    /// Of sends that were not written, in their order.
    pub tokens: Vec<T>,
    /// In the order of their ids.
    pub streams: Vec<S>,
}

/// One side of an event-stream RPC connection. `S` stands for a stream, `T` for whoever waits for a send to be written.
pub struct Connection<S, T> {
    role: Role,
    limits: Limits,
    max_handshake_message_len: usize,
    outbound_limit: usize,
    handshake: Handshake,
    /// Client: the last id given away. Server: the last id that the client used.
    last_stream_id: i32,
    streams: StreamTable<S>,
    outbound: Outbound<T>,
    /// Nothing more is accepted for sending.
    sending_closed: bool,
    sent_error_message: bool,
    late_messages: u64,
}

impl<S: Clone, T> Connection<S, T> {
    pub fn new(role: Role, limits: Limits, max_handshake_message_len: usize, outbound_limit: usize) -> Self {
        let buffers = Arc::new(NewBuffers);
        Connection::with_buffers(role, limits, max_handshake_message_len, outbound_limit, buffers)
    }

    /// With a source of memory for what is queued.
    pub fn with_buffers(
        role: Role,
        limits: Limits,
        max_handshake_message_len: usize,
        outbound_limit: usize,
        buffers: Arc<dyn Buffers>,
    ) -> Self {
        Connection {
            role,
            limits,
            max_handshake_message_len,
            outbound_limit,
            handshake: Handshake::Start,
            last_stream_id: 0,
            streams: StreamTable::default(),
            outbound: Outbound::new(buffers),
            sending_closed: false,
            sent_error_message: false,
            late_messages: 0,
        }
    }

    pub fn role(&self) -> Role {
        self.role
    }

    pub fn is_handshake_done(&self) -> bool {
        self.handshake == Handshake::Done
    }

    /// The limits for what is received now: tighter until the handshake is done.
    pub fn receive_limits(&self) -> Limits {
        let mut limits = self.limits;
        if self.handshake != Handshake::Done {
            limits.max_message_len = limits.max_message_len.min(self.max_handshake_message_len);
        }
        limits
    }

    /// The limits for what is sent.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// This side sent a refusal or an error message: the peer must get the time to read it.
    pub fn owes_linger(&self) -> bool {
        self.role == Role::Server && (self.sent_error_message || self.handshake == Handshake::Refused)
    }

    /// Messages received for streams that were over, without TERMINATE_STREAM.
    pub fn late_messages(&self) -> u64 {
        self.late_messages
    }

    pub fn outbound_len(&self) -> usize {
        self.outbound.len()
    }

    pub fn outbound_limit(&self) -> usize {
        self.outbound_limit
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
        self.outbound.push(message, 0, false, token);
        Ok(ending)
    }

    /// Queues a protocol message of the library's own, whatever the outbound limit.
    pub fn send_own(&mut self, message: Prepared<'_>) -> Result<(), Error> {
        if self.sending_closed {
            return Err(Error::ConnectionClosed);
        }
        self.handshake_after_sending(message.message_type, message.flags())?;
        self.outbound.push(message, 0, false, None);
        Ok(())
    }

    /// Ends a stream from this side at once: the peer is told, and what waits to be written is given back.
    pub fn cut_stream(&mut self, id: i32, message: Prepared<'_>) -> Option<(S, Vec<T>)> {
        let entry = self.take_entry(id)?;
        let waiting = self.outbound.cancel_stream(id);
        if !entry.ended_here && !entry.ended_by_peer && !self.sending_closed {
            self.outbound.push(message, id, false, None);
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

    fn check_room(&self) -> Result<(), Error> {
        let (queued, limit) = (self.outbound.len(), self.outbound_limit);
        if queued >= limit { Err(Error::WouldBlock { queued, limit }) } else { Ok(()) }
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
        self.outbound.push(message, id, ended_here, token);
        let queued_until = self.outbound.queued_total();
        self.streams.insert(id, Entry { stream, ended_here, ended_by_peer: false, queued_until });
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
        let (queued, limit) = (self.outbound.len(), self.outbound_limit);
        if !exempt && queued >= limit {
            return Err(Error::WouldBlock { queued, limit });
        }
        let terminates = message.flags() & TERMINATE_STREAM != 0;
        entry.ended_here = terminates;
        self.outbound.push(message, id, terminates, token);
        entry.queued_until = self.outbound.queued_total();
        Ok(())
    }

    /// The application takes the stream that `Received::NewStream` announced.
    pub fn accept_stream(&mut self, id: i32, stream: S, ends: bool) {
        self.streams.insert(id, Entry { stream, ended_here: false, ended_by_peer: ends, queued_until: 0 });
    }

    /// The application does not take it: the answer is APPLICATION_ERROR with TERMINATE_STREAM.
    pub fn refuse_stream(&mut self, id: i32, message: Prepared<'_>) -> Result<(), Error> {
        if self.sending_closed {
            return Err(Error::ConnectionClosed);
        }
        self.outbound.push(message, id, false, None);
        Ok(())
    }

    fn take_entry(&mut self, id: i32) -> Option<Entry<S>> {
        let entry = self.streams.remove(&id)?;
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

    /// The open streams, in no order.
    pub fn streams(&self) -> impl Iterator<Item = &S> {
        self.streams.values().map(|entry| &entry.stream)
    }

    /// Takes one received message.
    pub fn receive(&mut self, message: &Message<'_>) -> Result<Received<S, T>, Violation> {
        self.receive_envelope(&Envelope::read(&message.headers))
    }

    pub fn receive_envelope(&mut self, envelope: &Envelope<'_>) -> Result<Received<S, T>, Violation> {
        let missing = |name: &str| Violation(format!("a message has no int32 header {name}"));
        let number = envelope.message_type.ok_or_else(|| missing(":message-type"))?;
        let flags = envelope.flags.ok_or_else(|| missing(":message-flags"))?;
        let id = envelope.stream_id.ok_or_else(|| missing(":stream-id"))?;
        let message_type = MessageType::from_number(number)
            .ok_or_else(|| Violation(format!("{number} is not a message type (0 to 7)")))?;
        if id < 0 {
            return Err(Violation(format!("the stream id {id} is negative")));
        }
        if message_type.belongs_on_stream() != (id > 0) {
            return Err(Violation(format!("{message_type:?} cannot come on stream-id {id}")));
        }
        if id == 0 {
            let ending = self.receive_protocol(message_type, flags)?;
            return Ok(Received::Protocol { message_type, ending });
        }
        if self.handshake != Handshake::Done {
            return Err(Violation(format!("{message_type:?} came on stream {id} before the handshake was done")));
        }
        self.receive_on_stream(id, flags & TERMINATE_STREAM != 0, envelope.operation)
    }

    fn receive_protocol(&mut self, message_type: MessageType, flags: i32) -> Result<Option<Ending>, Violation> {
        use MessageType::{Connect, ConnectAck, InternalError, ProtocolError};
        let violation = |text: &str| Err(Violation(format!("{message_type:?} {text}")));
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
            _ => {}
        }
        Ok((flags & TERMINATE_STREAM != 0).then_some(Ending::Terminated))
    }

    fn receive_on_stream(
        &mut self,
        id: i32,
        ends: bool,
        operation: Option<&[u8]>,
    ) -> Result<Received<S, T>, Violation> {
        if let Some(entry) = self.streams.get_mut(&id) {
            let stream = entry.stream.clone();
            if !ends {
                return Ok(Received::Stream { stream, ended: None });
            }
            entry.ended_by_peer = true;
            // Most often all is written, and the queue, which may be long, need not be searched.
            let waiting = entry.queued_until > self.outbound.written_total();
            let cancelled = if waiting { self.outbound.cancel_stream(id) } else { Vec::new() };
            return Ok(Received::Stream { stream, ended: Some(cancelled) });
        }
        if id <= self.last_stream_id {
            self.late_messages += u64::from(!ends);
            return Ok(Received::Late);
        }
        let last = self.last_stream_id;
        if self.role == Role::Client {
            return Err(Violation(format!("a message came on stream {id}; the last one opened is {last}")));
        }
        if last.checked_add(1) != Some(id) {
            return Err(Violation(format!("stream {id} was opened, the next id after {last} was expected")));
        }
        if operation.is_none() {
            return Err(Violation(format!("the first message of stream {id} has no string header \"operation\"")));
        }
        self.last_stream_id = id;
        Ok(Received::NewStream { id, ends })
    }

    /// Queues PROTOCOL_ERROR for a peer that broke a rule, if this side has to say so, and takes no more sends. A client
    /// says nothing before the handshake is done (as observed in aws-c-event-stream).
    pub fn send_violation(&mut self, message: Prepared<'_>) {
        if !self.sending_closed && (self.role == Role::Server || self.handshake == Handshake::Done) {
            self.sent_error_message = true;
            self.outbound.push(message, 0, false, None);
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
        let mut connection = Connection::new(role, Limits::DEFAULT, usize::MAX, usize::MAX);
        connection.handshake = Handshake::Done;
        connection.last_stream_id = i32::MAX - 1;
        connection
    }

    #[test]
    fn a_client_says_when_all_stream_ids_are_used() {
        let mut client = after_the_last_but_one_id(Role::Client);
        let mut activate = || {
            let message = Outgoing::empty(MessageType::ApplicationMessage, 0);
            let message = message.prepare(true, &Limits::DEFAULT);
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
            server.receive_envelope(&Envelope { message_type: Some(0), flags: Some(0), stream_id: Some(id), operation })
        };
        assert_eq!(open(i32::MAX), Ok(Received::NewStream { id: i32::MAX, ends: false }));
        assert_eq!(open(i32::MAX), Ok(Received::Late));
        assert!(open(i32::MIN).is_err());
    }
}
