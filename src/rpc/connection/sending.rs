use super::Connection;
use crate::rpc::handshake::Handshake;
use crate::rpc::outbound::{Room, Trail};
use crate::rpc::protocol::TERMINATE_STREAM;
use crate::rpc::streams::Entry;
use crate::rpc::texts::text_message;
use crate::rpc::{Ending, Error, MessageType, Outgoing, Prepared, Refusal, Role, StreamState, Written};

impl<S: Clone, T> Connection<S, T> {
    /// Queues a protocol message. Returns how it ends the connection, if it does.
    pub fn send_protocol(&mut self, mut message: Prepared<'_>, token: Option<T>) -> Result<Option<Ending>, Error> {
        let queue = self.outbound.open()?;
        let (message_type, flags) = (message.message_type, message.flags());
        let next = self.handshake.after_sending(self.role, message_type, flags)?;
        let written = Written { stream_id: 0, terminates: false, token };
        queue.push(&mut message, written, Room::Limited, &mut Trail::default())?;
        self.handshake = next;
        let ending = match next {
            Handshake::Refused => Some(Ending::Refused),
            _ => (flags & TERMINATE_STREAM != 0).then_some(Ending::Terminated),
        };
        if ending.is_some() {
            self.outbound.close();
        }
        match message_type {
            MessageType::Ping => self.pings.note_sent(),
            MessageType::ProtocolError | MessageType::InternalError => self.sent_error_message = true,
            _ => {}
        }
        Ok(ending)
    }

    /// Queues a PING of the library's own, regardless of the outbound limit; false if none may be sent now, as before the
    /// handshake is done. Its answer is not delivered.
    pub fn send_keep_alive(&mut self) -> bool {
        let is_sent = self.send_own(&Outgoing::empty(MessageType::Ping, 0));
        if is_sent {
            self.pings.note_own();
        }
        is_sent
    }

    /// Queues a protocol message of the library's own, if one of its type may be sent now.
    pub(super) fn send_own(&mut self, message: &Outgoing<'_>) -> bool {
        let Ok(queue) = self.outbound.open() else { return false };
        let Ok(message) = message.prepare(false, &self.limits.messages) else { return false };
        let is_allowed = self.handshake.after_sending(self.role, message.message_type, message.flags()).is_ok();
        if is_allowed {
            queue.push_own(message, 0);
        }
        is_allowed
    }

    /// Queues PROTOCOL_ERROR for a peer that broke a rule, if this side has to say so, and closes the queue. A client says
    /// nothing before the handshake is done (as observed in aws-c-event-stream).
    pub(super) fn send_violation(&mut self, text: &str) {
        let says_so = self.role == Role::Server || self.handshake == Handshake::Done;
        let (headers, payload) = text_message(text);
        let bare = Outgoing::empty(MessageType::ProtocolError, 0);
        let message = Outgoing { headers: Some(&headers), payload: &payload, ..bare };
        if says_so
            && let Ok(queue) = self.outbound.open()
            && let Ok(message) = message.prepare(false, &self.limits.messages)
        {
            queue.push_own(message, 0);
            self.sent_error_message = true;
        }
        self.outbound.close();
    }

    /// Opens a stream with its first message. Returns its id.
    pub fn activate(&mut self, stream: S, mut message: Prepared<'_>, token: Option<T>) -> Result<i32, Error> {
        let queue = self.outbound.open()?;
        if self.handshake != Handshake::Done {
            return Err(Error::HandshakePending(
                "the handshake is not done: activate streams after the server's CONNECT_ACK, or set the handshake option before connecting",
            ));
        }
        let id = self.last_stream_id.checked_add(1).ok_or(Error::StreamIdsExhausted)?;
        let (terminates, operation_len) = (message.flags() & TERMINATE_STREAM != 0, message.operation_len() as u32);
        let mut trail = Trail::default();
        queue.push(&mut message, Written { stream_id: id, terminates, token }, Room::Limited, &mut trail)?;
        self.last_stream_id = id;
        let state = if terminates { StreamState::Closing } else { StreamState::Open };
        self.insert(id, Entry { stream, operation_len, state, answered: true, trail });
        self.counts.streams_opened += 1;
        Ok(id)
    }

    /// Queues a message on an open stream. `exempt`: regardless of the outbound limit.
    pub fn send_on_stream(
        &mut self,
        id: i32,
        mut message: Prepared<'_>,
        token: Option<T>,
        exempt: bool,
    ) -> Result<(), Error> {
        let queue = self.outbound.open()?;
        let entry = match self.streams.get_mut(&id) {
            Some(entry) if entry.state == StreamState::Open => entry,
            entry => return Err(not_open(entry)),
        };
        let terminates = message.flags() & TERMINATE_STREAM != 0;
        let room = if exempt { Room::Exempt } else { Room::Limited };
        queue.push(&mut message, Written { stream_id: id, terminates, token }, room, &mut entry.trail)?;
        entry.answered = true;
        if terminates {
            entry.state = StreamState::Closing;
        }
        Ok(())
    }

    /// Ends a stream from this side at once: the peer gets its end, and unwritten messages are given back.
    pub fn cut_stream(&mut self, id: i32) -> Option<(S, Vec<T>)> {
        let entry = self.take_entry(id)?;
        let waiting = self.outbound.cancel_stream(entry.trail);
        if entry.state == StreamState::Open
            && let Ok(queue) = self.outbound.open()
            && let Ok(message) =
                Outgoing::empty(MessageType::ApplicationMessage, TERMINATE_STREAM).prepare(true, &self.limits.messages)
        {
            queue.push_own(message, id);
        }
        Some((entry.stream, waiting))
    }

    /// The application accepts the stream that `Received::NewStream` announced; the name of its operation has so many bytes.
    pub fn accept_stream(&mut self, id: i32, stream: S, operation_len: usize) -> Result<(), Error> {
        let announced = self.take_announced(id)?;
        let state = if announced.ends { StreamState::Closed } else { StreamState::Open };
        let (trail, operation_len) = (Trail::default(), operation_len as u32);
        self.insert(id, Entry { stream, operation_len, state, answered: false, trail });
        self.counts.streams_opened += 1;
        Ok(())
    }

    /// The application decides on it later.
    pub fn defer_stream(&mut self, id: i32, stream: S, operation_len: usize) -> Result<(), Error> {
        self.take_announced(id)?;
        let (trail, operation_len, state) = (Trail::default(), operation_len as u32, StreamState::Announced);
        self.insert(id, Entry { stream, operation_len, state, answered: false, trail });
        Ok(())
    }

    /// The application accepts a stream that was deferred. If the peer has ended it meanwhile, it stays ended.
    pub fn accept_deferred(&mut self, id: i32) -> Result<(), Error> {
        let entry = self.streams.get_mut(&id).ok_or(Error::StreamNotAnnounced)?;
        match entry.state {
            StreamState::Announced => entry.state = StreamState::Open,
            StreamState::Closed => {}
            StreamState::Open | StreamState::Closing => return Err(Error::StreamNotAnnounced),
        }
        self.counts.streams_opened += 1;
        Ok(())
    }

    /// The application answers a stream that was deferred, as in `answer_stream`, but within the outbound limit. Returns it.
    pub fn answer_deferred(&mut self, id: i32, mut message: Prepared<'_>) -> Result<Option<S>, Error> {
        let queue = self.outbound.open()?;
        match self.streams.get_mut(&id) {
            Some(entry) if entry.state == StreamState::Announced => {}
            entry => return Err(not_open(entry)),
        }
        let written = Written { stream_id: id, terminates: false, token: None };
        queue.push(&mut message, written, Room::Limited, &mut Trail::default())?;
        let message_type = message.message_type;
        self.count_answered(message_type);
        Ok(self.remove_stream(id))
    }

    /// The library refuses a stream that was deferred, if the peer has not ended it. Returns it.
    pub fn refuse_deferred_for(&mut self, id: i32, refusal: Refusal<'_>) -> Option<S> {
        let entry = self.take_entry(id)?;
        if entry.state == StreamState::Announced {
            self.send_refusal(id, refusal);
        }
        Some(entry.stream)
    }

    /// The peer has ended a stream that was deferred, which stays until the application knows.
    pub fn close_deferred(&mut self, id: i32) {
        if let Some(entry) = self.streams.get_mut(&id) {
            entry.state = StreamState::Closed;
        }
    }

    /// The application answers it with this message, which has TERMINATE_STREAM, and does not accept it. An APPLICATION_ERROR
    /// is a refusal.
    pub fn answer_stream(&mut self, id: i32, message: Prepared<'_>) -> Result<(), Error> {
        self.take_announced(id)?;
        let message_type = message.message_type;
        self.outbound.open()?.push_own(message, id);
        self.count_answered(message_type);
        Ok(())
    }

    fn count_answered(&mut self, message_type: MessageType) {
        match message_type {
            MessageType::ApplicationError => self.counts.streams_refused += 1,
            _ => self.counts.streams_opened += 1,
        }
    }

    /// The library refuses it.
    pub fn refuse_stream_for(&mut self, id: i32, refusal: Refusal<'_>) -> Result<(), Error> {
        self.take_announced(id)?;
        self.send_refusal(id, refusal);
        Ok(())
    }

    /// Queues the library's refusal; while sending is closed the peer learns of the connection's end instead.
    pub(super) fn send_refusal(&mut self, id: i32, refusal: Refusal<'_>) {
        let (headers, payload) = text_message(&refusal.to_string());
        let bare = Outgoing::empty(MessageType::ApplicationError, TERMINATE_STREAM);
        let message = Outgoing { headers: Some(&headers), payload: &payload, ..bare };
        // Under some limits the text does not fit.
        let limits = &self.limits.messages;
        if let Ok(message) = message.prepare(true, limits).or_else(|_| bare.prepare(true, limits))
            && let Ok(queue) = self.outbound.open()
        {
            queue.push_own(message, id);
            self.counts.streams_refused += 1;
        }
    }

    fn take_announced(&mut self, id: i32) -> Result<super::Announced, Error> {
        self.announced.take_if(|announced| announced.id == id).ok_or(Error::StreamNotAnnounced)
    }
}

#[cold]
fn not_open<S>(entry: Option<&mut Entry<S>>) -> Error {
    Error::StreamClosed(match entry.map(|entry| entry.state) {
        Some(StreamState::Closing) => "this side has ended the stream with TERMINATE_STREAM",
        Some(_) => "the peer has ended the stream",
        None => "the stream has ended",
    })
}
