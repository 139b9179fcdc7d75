use std::time::Instant;

use super::{Announced, Connection};
use crate::codec::{self, HeaderList, Message};
use crate::rpc::handshake::Handshake;
use crate::rpc::protocol::TERMINATE_STREAM;
use crate::rpc::{
    Defect, Ending, Envelope, Incoming, MessageType, Outgoing, Rate, Received, Refusal, Role, StreamState, Violation,
};

impl<S: Clone, T> Connection<S, T> {
    /// Takes one message that was received at about `now`.
    pub fn receive(&mut self, message: &Message<'_>, now: Instant) -> Result<Received<S, T>, Violation> {
        self.receive_incoming(&Incoming::read(message), now)
    }

    /// As `receive`, for a message whose headers were read. A violation has been answered with PROTOCOL_ERROR if the peer is to
    /// be told, and nothing more is accepted for sending.
    #[inline]
    pub fn receive_incoming(&mut self, incoming: &Incoming<'_>, now: Instant) -> Result<Received<S, T>, Violation> {
        self.counts.messages_received += 1;
        let received = self.take_in(incoming, now);
        if let Err(violation) = &received {
            self.send_violation(&violation.to_string());
        }
        received
    }

    #[inline(always)]
    fn take_in(&mut self, incoming: &Incoming<'_>, now: Instant) -> Result<Received<S, T>, Violation> {
        let envelope = &incoming.envelope;
        let (message_type, flags, id) = checked(envelope)?;
        if id == 0 {
            return self.receive_protocol(message_type, flags, incoming.message, now);
        }
        if self.handshake != Handshake::Done {
            return Err(Violation::Rule(format!(
                "{message_type} arrived on stream {id} before the handshake was done"
            )));
        }
        self.receive_on_stream(id, flags & TERMINATE_STREAM != 0, envelope.operation, now)
    }

    fn receive_protocol(
        &mut self,
        message_type: MessageType,
        flags: i32,
        message: &Message<'_>,
        now: Instant,
    ) -> Result<Received<S, T>, Violation> {
        let before = self.handshake;
        self.handshake = before.after_receiving(self.role, message_type, flags)?;
        if self.handshake == Handshake::Refused && before == Handshake::Connecting {
            self.outbound.close();
            return Ok(Received::Protocol { message_type, ending: Some(Ending::Refused), handled: false });
        }
        let handled = match message_type {
            MessageType::PingResponse => self.pings.take_answer(),
            MessageType::Ping => self.limits.ping_answers.is_some_and(|rate| {
                self.answer_ping(message, rate, now);
                true
            }),
            _ => false,
        };
        let ending = (flags & TERMINATE_STREAM != 0).then_some(Ending::Terminated);
        Ok(Received::Protocol { message_type, ending, handled })
    }

    /// Answers a PING; not one of a peer that asks too often, or does not read the answers.
    fn answer_ping(&mut self, ping: &Message<'_>, rate: Rate, now: Instant) {
        let has_room = self.outbound.len() < self.outbound.limit();
        if !has_room || !self.ping_answers.take(rate, now) {
            self.counts.pings_unanswered += 1;
            return;
        }
        let mut headers = HeaderList::new();
        // What came fits on the way back.
        let _ = headers.add_copies(ping.headers, |name| name.first() != Some(&b':'));
        let bare = Outgoing::empty(MessageType::PingResponse, 0);
        self.send_own(&Outgoing { headers: Some(&headers), payload: ping.payload, ..bare });
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
            if entry.state == StreamState::Closed {
                self.take_late(now)?;
                return Ok(Received::Late);
            }
            self.counts.unanswered_ends += u64::from(!entry.answered);
            if !entry.answered && !self.abnormal_events.take(self.limits.abnormal_events, now) {
                return Err(Violation::TooManyAbnormalEvents);
            }
            entry.state = StreamState::Closed;
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
        let last = self.last_stream_id;
        if id <= last {
            if !ends {
                self.take_late(now)?;
            }
            return Ok(Received::Late);
        }
        if self.role == Role::Client {
            return Err(Violation::Rule(format!("a message arrived on stream {id}; the last one opened is {last}")));
        }
        if last.checked_add(1) != Some(id) {
            return Err(Violation::Rule(format!("stream {id} was opened, the next id after {last} was expected")));
        }
        if operation.is_none() {
            return Err(Violation::Rule(format!(
                "the first message of stream {id} has no string header \"operation\""
            )));
        }
        if operation.is_some_and(<[u8]>::is_empty) {
            return Err(Violation::Rule(format!("the header \"operation\" of stream {id} is empty")));
        }
        self.last_stream_id = id;
        if self.streams.len() >= self.limits.max_streams {
            self.counts.streams_in_excess += 1;
            self.send_refusal(id, Refusal::TooManyStreams { limit: self.limits.max_streams });
            return Ok(Received::ExcessStream { id });
        }
        self.announced = Some(Announced { id, ends });
        Ok(Received::NewStream { id, ends })
    }

    /// Counts a message for a deferred stream that the client has ended. `receive` does not check that, for the sake of all the
    /// messages of open streams.
    pub fn receive_after_end(&mut self, now: Instant) -> Result<(), Violation> {
        self.take_late(now).inspect_err(|violation| self.send_violation(&violation.to_string()))
    }

    #[cold]
    fn take_late(&mut self, now: Instant) -> Result<(), Violation> {
        self.counts.late_messages += 1;
        // A client drops them uncounted: it cannot know what a server had sent before it read the end.
        if self.role == Role::Server && !self.abnormal_events.take(self.limits.abnormal_events, now) {
            return Err(Violation::TooManyAbnormalEvents);
        }
        Ok(())
    }

    /// What is wrong with `bytes`, whose beginning could not be decoded because of `error`. A defect of the headers has been
    /// answered with PROTOCOL_ERROR, as a violation is.
    pub fn judge(&mut self, error: codec::Error, bytes: &[u8]) -> Defect {
        let is_bad_header = matches!(
            error,
            codec::Error::HeaderOverrun { .. }
                | codec::Error::UnknownHeaderType { .. }
                | codec::Error::TooManyHeaders { .. }
                | codec::Error::HeaderValueTooLong { .. }
        );
        match error {
            error if is_bad_header && Message::is_intact(bytes) => {
                self.send_violation(&error.to_string());
                Defect::Headers(error)
            }
            codec::Error::MessageTooLarge { len, limit } if limit < self.limits.messages.max_message_len => {
                Defect::TooLargeForHandshake { len, limit }
            }
            error => Defect::Framing(error),
        }
    }
}

/// Type, flags and stream id of a message, if they are there and fit each other.
#[inline(always)]
fn checked(envelope: &Envelope<'_>) -> Result<(MessageType, i32, i32), Violation> {
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
        return Err(Violation::Rule(format!("{message_type} must not be sent on stream-id {id}")));
    }
    Ok((message_type, flags, id))
}
