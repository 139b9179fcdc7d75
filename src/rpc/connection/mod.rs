mod receiving;
mod sending;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::codec;
use crate::rpc::handshake::Handshake;
use crate::rpc::outbound::{Mark, Outbound};
use crate::rpc::pings::Pings;
use crate::rpc::streams::{Entry, StreamTable};
use crate::rpc::{Buffers, Counts, Limits, NewBuffers, RateLimit, Role, StreamState};

/// While more than this of what a server sends regardless of its outbound limit waits to be written, it reads nothing.
pub const MAX_EXEMPT_LEN: usize = 64 * 1024;

/// What an open stream counts for in what a connection holds, beside the name of its operation.
pub const HELD_BY_STREAM: usize = 640;

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
    handshake: Handshake,
    /// Client: the last id given away. Server: the last id that the client used.
    last_stream_id: i32,
    streams: StreamTable<S>,
    /// The stream that the application is to accept or refuse.
    announced: Option<Announced>,
    /// The sum over `streams` of the lengths of their operations' names.
    operations_len: usize,
    outbound: Outbound<T>,
    sent_error_message: bool,
    pings: Pings,
    ping_answers: RateLimit,
    counts: Counts,
    abnormal_events: RateLimit,
}

/// A stream that the client opens.
#[derive(Clone, Copy)]
struct Announced {
    id: i32,
    /// Its first message is its last one.
    ends: bool,
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
            announced: None,
            operations_len: 0,
            outbound: Outbound::new(limits.outbound, buffers),
            sent_error_message: false,
            pings: Pings::default(),
            ping_answers: RateLimit::default(),
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

    /// Whether CONNECT was sent, or received.
    pub fn has_connect(&self) -> bool {
        self.handshake != Handshake::Start
    }

    /// Whether CONNECT was answered, well or not.
    pub fn is_handshake_answered(&self) -> bool {
        matches!(self.handshake, Handshake::Done | Handshake::Refused)
    }

    /// Whether this client has sent CONNECT and the server has not answered it.
    pub fn awaits_connect_ack(&self) -> bool {
        self.role == Role::Client && self.handshake == Handshake::Connecting
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

    /// A server reads nothing from a peer that does not read what this side cannot refuse to send. A client goes on reading:
    /// what it sends in this way is bounded by the streams that it opened, and two sides that both wait would wait for ever.
    pub fn must_not_read(&self) -> bool {
        self.outbound.exempt_exceeds(MAX_EXEMPT_LEN as u64) && self.role == Role::Server
    }

    /// Whether this side sent a refusal or an error message, which the peer must get the time to read.
    pub fn owes_linger(&self) -> bool {
        self.role == Role::Server && (self.sent_error_message || self.handshake == Handshake::Refused)
    }

    pub fn counts(&self) -> Counts {
        Counts { messages_sent: self.outbound.messages(), sends_refused: self.outbound.refused(), ..self.counts }
    }

    /// The most bytes that waited to be written at a time.
    pub fn most_outbound_len(&self) -> usize {
        self.outbound.most_len()
    }

    pub fn outbound_len(&self) -> usize {
        self.outbound.len()
    }

    pub fn outbound_limit(&self) -> usize {
        self.outbound.limit()
    }

    /// Positions in the outgoing bytes: what was ever accepted, what was ever written.
    pub fn outbound_positions(&self) -> (u64, u64) {
        (self.outbound.queued_total(), self.outbound.written_total())
    }

    /// Where the stream with this id is in its life. It needs no copy of this: all that changes it goes through the connection.
    pub fn stream_state(&self, id: i32) -> StreamState {
        match self.streams.get(&id) {
            Some(entry) => entry.state,
            None if self.announced.is_some_and(|announced| announced.id == id) => StreamState::Announced,
            None => StreamState::Closed,
        }
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

    /// Nothing more is accepted from now on; what was accepted is still to be written.
    pub fn close_sending(&mut self) {
        self.outbound.close();
    }

    /// The connection is over: returns all that was open.
    pub fn end(&mut self) -> Ended<S, T> {
        self.operations_len = 0;
        self.announced = None;
        let mut streams: Vec<_> = self.streams.drain().collect();
        streams.sort_unstable_by_key(|(id, _)| *id);
        Ended { tokens: self.outbound.end(), streams: streams.into_iter().map(|(_, entry)| entry.stream).collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::codec::{Message, encode_into};
    use crate::rpc::protocol::protocol_headers;
    use crate::rpc::{Error, MessageType, Outgoing, Received};

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
            let operation = b"\x09operation\x07\0\x02op";
            let mut bytes = Vec::new();
            encode_into(&[&protocol_headers([0, 0, id]), operation], b"", &mut bytes);
            let (message, _) = Message::decode(&bytes, &codec::Limits::DEFAULT).expect("a message");
            server.receive(&message, Instant::now())
        };
        assert_eq!(open(i32::MAX), Ok(Received::NewStream { id: i32::MAX, ends: false }));
        assert_eq!(open(i32::MAX), Ok(Received::Late));
        assert!(open(i32::MIN).is_err());
    }
}
