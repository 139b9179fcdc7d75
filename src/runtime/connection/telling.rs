//! From received bytes, and bytes written, to the calls of the handlers. No lock is held in any of these calls.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::handle::{Connection, Stream, StreamPhase};
use super::setup::Arrival;
use super::state::{Flush, Phase, PingOrigin};
use crate::codec::{self, HeaderList, HeaderValue, Limits, Message};
use crate::rpc::{Ending, Incoming, Mark, MessageType, Outgoing, Received, TERMINATE_STREAM, Violation};
use crate::runtime::error::{Error, Outcome, quoted};
use crate::runtime::event_loop::Timed;
use crate::runtime::log::{Level, Repeated};

impl Connection {
    /// Hands one message to whom it is for, and sets the limits of the next one if that changes them. False, and the message
    /// is not taken, when none may be dispatched now.
    pub(super) fn deliver(
        self: &Arc<Self>,
        message: &Message<'_>,
        bytes: &[u8],
        limits: &mut Limits,
        now: Instant,
    ) -> bool {
        let incoming = Incoming::read(message);
        let mut shared = self.lock();
        if shared.is_reading_paused() || !matches!(shared.phase, Phase::Connecting | Phase::Open) {
            return false;
        }
        let received = match shared.rpc.receive_envelope(&incoming.envelope, now) {
            // Most messages are such.
            Ok(Received::Stream { stream, ended: None }) => {
                drop(shared);
                self.log_received(&incoming.envelope, message.payload.len());
                if let Some(handler) = stream.handler() {
                    handler.on_message(&stream, &incoming);
                }
                return true;
            }
            other => other,
        };
        match &received {
            Ok(Received::Stream { stream, .. }) => stream.set_phase(StreamPhase::Closed),
            Ok(Received::Protocol { message_type, ending: Some(Ending::Refused) }) => {
                // Before the message is delivered, so that a close inside the callback does not hide the reason.
                shared.begin_close(Err(refused(*message_type, message)), false);
            }
            _ => {}
        }
        drop(shared);
        self.log_received(&incoming.envelope, message.payload.len());
        match received {
            Err(violation) => self.violated(violation),
            Ok(Received::Late) => {
                self.log_line(Level::Debug, || "a message for a stream that is over: dropped".to_owned())
            }
            Ok(Received::Protocol { message_type, ending }) => {
                self.deliver_protocol(message_type, &incoming, ending, bytes, now);
                // The message, or its callback, may have done the handshake.
                *limits = self.lock().rpc.receive_limits();
            }
            Ok(Received::Stream { stream, ended }) => {
                if let Some(handler) = stream.handler() {
                    handler.on_message(&stream, &incoming);
                }
                if let Some(waiting) = ended {
                    for flush in waiting {
                        self.tell(flush, &Err(Error::StreamClosed));
                    }
                    self.lock().rpc.remove_stream(stream.id());
                    self.end_stream(&stream, &Ok(()));
                }
            }
            Ok(Received::NewStream { id, ends }) => {
                self.announce_stream(id, ends, &incoming);
            }
            Ok(Received::ExcessStream { id }) => {
                let limit = self.settings().limits.max_streams;
                self.refuse_stream(
                    id,
                    &format!("{limit} streams are open on this connection, and the server allows no more"),
                );
            }
        }
        true
    }

    fn deliver_protocol(
        self: &Arc<Self>,
        message_type: MessageType,
        incoming: &Incoming<'_>,
        ending: Option<Ending>,
        bytes: &[u8],
        now: Instant,
    ) {
        if self.handshake().is_some() && self.lock().setup.is_none() {
            // The library does the handshake: the answer is kept, not delivered.
            self.set_connect_ack(bytes.to_vec());
            if ending.is_none() {
                self.complete_setup();
            }
        } else if !self.answers_itself(message_type, incoming.message, now)
            && let Some(handler) = self.handler()
        {
            handler.on_protocol_message(self, incoming);
        }
        if ending == Some(Ending::Terminated) {
            let what = "the peer ended the connection: TERMINATE_STREAM on stream-id 0";
            self.lock().begin_close(Err(Error::PeerClosed(what.to_owned())), false);
        }
    }

    /// Deals with PINGs that the library was asked to answer, and with answers to its own.
    fn answers_itself(self: &Arc<Self>, message_type: MessageType, message: &Message<'_>, now: Instant) -> bool {
        match message_type {
            MessageType::PingResponse => self.lock().pings.pop_front() == Some(PingOrigin::KeepAlive),
            MessageType::Ping if self.settings().answer_pings => {
                if !self.may_answer_ping(now) {
                    return true;
                }
                let mut headers = HeaderList::new();
                // What came fits on the way back.
                let _ = headers.add_copies(message.headers, |name| name.first() != Some(&b':'));
                let message_type = MessageType::PingResponse as i32;
                let answer = Outgoing {
                    message_type,
                    flags: 0,
                    headers: Some(&headers),
                    operation: None,
                    payload: message.payload,
                };
                let mut shared = self.lock();
                if let Ok(answer) = answer.prepare(false, shared.rpc.limits())
                    && shared.rpc.send_own(answer).is_ok()
                {
                    self.schedule(&mut shared);
                }
                true
            }
            _ => false,
        }
    }

    /// A peer that asks too often, or does not read the answers, gets no more of them for a while.
    fn may_answer_ping(&self, now: Instant) -> bool {
        let mut shared = self.lock();
        let has_room = shared.rpc.outbound_len() < shared.rpc.outbound_limit();
        let may = has_room && shared.ping_answers.take(self.settings().ping_answers, now);
        shared.tally.pings_unanswered += u64::from(!may);
        may
    }

    fn announce_stream(self: &Arc<Self>, id: i32, ends: bool, incoming: &Incoming<'_>) {
        let operation = incoming.envelope.operation.unwrap_or_default();
        if self.lock().drain.is_some() {
            let text = "this side is being drained and takes no new streams; nothing was done for this one";
            return self.refuse_stream(id, text);
        }
        let stream = Stream::announced(self.clone(), id, operation, ends);
        if let Some(handler) = self.handler() {
            handler.on_incoming_stream(self, &stream, incoming);
        }
        if self.is_inert() {
            return;
        }
        if stream.phase() == StreamPhase::Announced {
            // The application neither accepted nor refused it.
            self.refuse_stream(id, &format!("the operation {} is not accepted here", quoted(operation)));
            stream.note_refused();
        }
        let Some(handler) = stream.handler() else { return };
        if self.lock().phase != Phase::Open {
            // The stream is told of the connection's end.
            return;
        }
        handler.on_message(&stream, incoming);
        if ends {
            self.lock().rpc.remove_stream(id);
            self.end_stream(&stream, &Ok(()));
        }
    }

    /// The peer sent something that is no sound message.
    pub(super) fn reject(self: &Arc<Self>, error: codec::Error, bytes: &[u8]) {
        let is_bad_header = matches!(
            error,
            codec::Error::HeaderOverrun { .. }
                | codec::Error::UnknownHeaderType { .. }
                | codec::Error::TooManyHeaders { .. }
                | codec::Error::HeaderValueTooLong { .. }
        );
        if is_bad_header && message_is_whole(bytes) {
            return self.end_by_violation(&error.to_string(), Error::Codec(error));
        }
        let mut shared = self.lock();
        let reason = match error {
            codec::Error::MessageTooLarge { len, limit } if limit < shared.rpc.limits().max_message_len => {
                Error::HandshakeMessageTooLarge { len, limit }
            }
            error => Error::Codec(error),
        };
        shared.begin_close(Err(reason), false);
    }

    /// Refuses a stream that the peer opened, on the library's own account.
    fn refuse_stream(self: &Arc<Self>, id: i32, text: &str) {
        let (headers, payload) = json_message(text);
        let bare = Outgoing::empty(MessageType::ApplicationError, TERMINATE_STREAM);
        let refusal = Outgoing { headers: Some(&headers), payload: &payload, ..bare };
        let mut shared = self.lock();
        // Under some limits the text does not fit.
        let prepared = refusal.prepare(true, shared.rpc.limits()).or_else(|_| bare.prepare(true, shared.rpc.limits()));
        // It fails only while the connection is closing, which the peer learns anyway.
        if prepared.and_then(|prepared| shared.rpc.refuse_stream(id, prepared)).is_ok() {
            self.schedule_write(&mut shared);
        }
        drop(shared);
        self.log_line(Level::Debug, || format!("stream {id} refused: {text}"));
    }

    fn violated(self: &Arc<Self>, violation: Violation) {
        let text = violation.to_string();
        self.end_by_violation(&text, violation.into());
    }

    /// Tells the peer what was wrong and ends the connection.
    fn end_by_violation(self: &Arc<Self>, text: &str, reason: Error) {
        self.log_repeated(Repeated::Violation, Level::Warn, || reason.to_string());
        let (headers, payload) = json_message(text);
        let message = crate::rpc::violation_message(&headers, &payload);
        let mut shared = self.lock();
        if let Ok(prepared) = message.prepare(false, shared.rpc.limits()) {
            shared.rpc.send_violation(prepared);
        }
        shared.begin_close(Err(reason), false);
    }

    /// The connection is usable: tells its owner.
    pub(super) fn complete_setup(self: &Arc<Self>) {
        {
            let mut shared = self.lock();
            if shared.phase != Phase::Connecting {
                return;
            }
            shared.phase = Phase::Open;
            shared.setup = Some(Ok(()));
            self.notify(&shared);
        }
        self.log_line(Level::Info, || "set up".to_owned());
        if let Some(handler) = self.handler() {
            handler.on_setup(Ok(self));
        }
    }

    /// Tells the listener's owner of this connection; whether it was accepted.
    pub(super) fn announce(self: &Arc<Self>, arrival: &dyn Arrival) -> bool {
        self.lock().may_accept = true;
        arrival.announce(self);
        let mut shared = self.lock();
        shared.may_accept = false;
        let accepted = self.handler().is_some();
        if accepted {
            shared.setup = Some(Ok(()));
        } else {
            // Nobody is called, but somebody who kept the handle may wait for the end.
            let outcome = Err(Error::Cancelled);
            self.set_end(outcome.clone());
            shared.phase = Phase::Closed;
            shared.setup = Some(outcome);
            shared.shutdown_told = true;
        }
        self.notify(&shared);
        drop(shared);
        self.log_line(Level::Info, || if accepted { "accepted" } else { "refused by the application" }.to_owned());
        if !accepted {
            self.leave();
        }
        accepted
    }

    /// `count` bytes more are written: tells whom that concerns. If there is room again, tells the connection's owner, and
    /// moves the streams that wait for it to `writable`.
    pub(super) fn note_written(
        self: &Arc<Self>,
        count: usize,
        due: &mut VecDeque<Mark<Flush>>,
        writable: &mut VecDeque<Arc<Stream>>,
    ) {
        let mut has_room_again = false;
        {
            let mut shared = self.lock();
            shared.rpc.written(count, due);
            if shared.has_room() && (shared.blocked || !shared.blocked_streams.is_empty()) {
                shared.blocked = false;
                has_room_again = true;
                writable.extend(std::mem::take(&mut shared.blocked_streams));
            }
            self.notify(&shared);
        }
        for Mark { written, .. } in due.drain(..) {
            if let Some(flush) = written.token {
                self.tell(flush, &Ok(()));
            }
            if written.terminates {
                let ended = self.lock().rpc.remove_stream(written.stream_id);
                if let Some(stream) = ended {
                    self.end_stream(&stream, &Ok(()));
                }
            }
        }
        if has_room_again && let Some(handler) = self.handler() {
            handler.on_writable(self);
        }
    }

    /// Ends a stream at once, on both sides. On the loop thread, or for a stream whose handler calls nobody.
    pub(in crate::runtime) fn cut_stream(self: &Arc<Self>, stream: &Arc<Stream>, error: Error) {
        let ending = Outgoing::empty(MessageType::ApplicationMessage, TERMINATE_STREAM);
        let Ok(ending) = ending.prepare(true, &self.settings().limits.messages) else { return };
        let cut = {
            let mut shared = self.lock();
            let cut = shared.rpc.cut_stream(stream.id(), ending);
            if cut.is_some() {
                self.schedule(&mut shared);
            }
            cut
        };
        let Some((stream, waiting)) = cut else { return };
        let outcome = Err(error);
        for flush in waiting {
            self.tell(flush, &outcome);
        }
        self.end_stream(&stream, &outcome);
    }

    pub(super) fn end_stream(self: &Arc<Self>, stream: &Arc<Stream>, outcome: &Outcome) {
        stream.set_end(outcome);
        self.log_stream_end(stream, outcome);
        if let Some(handler) = stream.handler() {
            handler.on_closed(stream, outcome);
        }
        let mut shared = self.lock();
        shared.ended_stream_timers.extend(stream.timer());
        stream.closed_told.store(true, std::sync::atomic::Ordering::Release);
        self.notify(&shared);
    }
}

impl Timed for Stream {
    /// The stream's deadline is over: both sides learn of it.
    fn expire(self: Arc<Self>) {
        let error = Error::StreamDeadline { time: self.deadline().unwrap_or_default() };
        self.connection().cut_stream(&self, error);
    }
}

/// Whether the bytes hold a whole message whose checksum is right, so that only its headers are wrong.
fn message_is_whole(bytes: &[u8]) -> bool {
    let total_len = bytes.first_chunk::<4>().map_or(0, |len| u32::from_be_bytes(*len) as usize);
    bytes.get(..total_len).is_some_and(Message::has_valid_checksum)
}

fn refused(message_type: MessageType, message: &Message<'_>) -> Error {
    let said = quoted(message.payload);
    let mut text = match message_type {
        MessageType::ConnectAck => {
            "the server refused the connection: CONNECT_ACK without CONNECTION_ACCEPTED".to_owned()
        }
        other => format!("the server answered CONNECT with {other}"),
    };
    if !said.is_empty() {
        text = format!("{text}; it says: {said}");
    }
    Error::HandshakeRefused(text)
}

/// Headers and payload of a message that says something to people.
fn json_message(text: &str) -> (HeaderList, Vec<u8>) {
    let mut headers = HeaderList::new();
    // Cannot fail: the name and the value are short text.
    let _ = headers.add(b":content-type", HeaderValue::String(b"application/json"));
    let mut payload = String::from("{\"message\":\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => payload.extend(['\\', character]),
            control if control.is_control() => payload.push(' '),
            other => payload.push(other),
        }
    }
    payload.push_str("\"}");
    (headers, payload.into_bytes())
}
