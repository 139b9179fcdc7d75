//! From received bytes, and bytes written, to the calls of the handlers. No lock is held in any of these calls.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::deferral::Deferral;
use super::handle::{Connection, Stream, StreamPhase};
use super::life::Phase;
use super::setup::{Announcement, Arrival};
use super::state::Flush;
use crate::codec::{self, Limits, Message};
use crate::rpc::{Defect, Ending, Incoming, Mark, MessageType, Received, Refusal, handshake_refused, peer_error};
use crate::runtime::error::{Error, Outcome, PeerEnd};
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
        if shared.is_reading_paused() || !shared.is_alive() {
            return false;
        }
        let received = match shared.rpc.receive_incoming(&incoming, now) {
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
            Ok(Received::Protocol { message_type, ending: Some(Ending::Refused), .. }) => {
                // Before the message is delivered, so that nothing can be sent inside the callback.
                let text = handshake_refused(*message_type, message);
                shared.close(Err(Error::HandshakeRefused(text)), false);
            }
            // An answer may have been queued.
            Ok(Received::Protocol { handled: true, .. } | Received::ExcessStream { .. }) => {
                self.schedule_write(&mut shared)
            }
            Err(violation) => {
                shared.close(Err(violation.clone().into()), false);
            }
            _ => {}
        }
        drop(shared);
        self.log_received(&incoming.envelope, message.payload.len());
        match received {
            Err(violation) => self.log_violation(&violation.into()),
            Ok(Received::Late) => self.log_late(),
            Ok(Received::Protocol { message_type, ending, handled }) => {
                if ending != Some(Ending::Refused)
                    && matches!(message_type, MessageType::ProtocolError | MessageType::InternalError)
                {
                    self.end_reads(peer_error(message_type, message));
                }
                self.deliver_protocol(&incoming, ending, handled, bytes);
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
                    self.end_by_peer(&stream);
                }
            }
            Ok(Received::NewStream { id, ends }) => {
                self.announce_stream(id, ends, &incoming);
            }
            Ok(Received::ExcessStream { id }) => {
                self.log_refusal(id, Refusal::TooManyStreams { limit: self.settings().limits.max_streams });
            }
        }
        true
    }

    fn deliver_protocol(
        self: &Arc<Self>,
        incoming: &Incoming<'_>,
        ending: Option<Ending>,
        handled: bool,
        bytes: &[u8],
    ) {
        if self.handshake().is_some() && self.lock().reported_setup().is_none() {
            // The library does the handshake: the answer is kept, not delivered.
            self.set_connect_ack(bytes.to_vec());
            if ending.is_none() {
                self.complete_setup();
            }
        } else if incoming.envelope.message_type == Some(MessageType::Connect as i32)
            && let Some(gatekeeper) = &self.gatekeeper
        {
            self.answer_connect(gatekeeper, incoming);
        } else if !handled && let Some(handler) = self.handler() {
            handler.on_protocol_message(self, incoming);
        }
        if ending == Some(Ending::Terminated) {
            let end = self.peer_error.get().map_or(PeerEnd::Terminated, |text| PeerEnd::AfterError(text.to_string()));
            self.lock().close(Err(Error::PeerClosed(Box::new(end))), false);
        }
    }

    /// How the peer has ended the connection, which says more than that it has.
    pub(super) fn peer_end(&self) -> PeerEnd {
        match self.peer_error.get() {
            Some(text) => PeerEnd::AfterError(text.to_string()),
            None if self.lock().rpc.awaits_connect_ack() => PeerEnd::Unanswered { peer: self.remote_address() },
            None => PeerEnd::Closed { peer: self.remote_address() },
        }
    }

    /// The peer has reported an error: those who wait for messages need not wait for more.
    fn end_reads(&self, text: String) {
        let readers: Vec<_> = self.lock().rpc.streams().filter(|stream| stream.inbox().is_some()).cloned().collect();
        let outcome = Err(Error::PeerError(text.clone()));
        readers.iter().for_each(|stream| stream.end_reads(&outcome));
        let _ = self.peer_error.set(text.into());
    }

    fn announce_stream(self: &Arc<Self>, id: i32, ends: bool, incoming: &Incoming<'_>) {
        let operation = incoming.envelope.operation.unwrap_or_default();
        if self.lock().is_draining() {
            return self.refuse_stream(id, Refusal::Draining);
        }
        let stream = Stream::announced(self.clone(), id, operation);
        if let Some(handler) = self.handler() {
            handler.on_incoming_stream(self, &stream, incoming);
        }
        if self.is_inert() {
            return;
        }
        let (phase, is_open) = {
            let shared = self.lock();
            (stream.phase_in(&shared), shared.phase() == Phase::Open)
        };
        let deferral = stream.deferral();
        if phase == StreamPhase::Announced && deferral.is_none() {
            // The application neither accepted nor refused it.
            return self.refuse_stream(id, Refusal::NotAccepted { operation });
        }
        // For a stream that was accepted the connection's end is reported if that has come.
        let Some(handler) = stream.handler().filter(|_| is_open) else { return };
        if deferral.is_some_and(Deferral::is_over) {
            return;
        }
        handler.on_message(&stream, incoming);
        if ends {
            self.end_by_peer(&stream);
        }
        if !stream.is_held() {
            // Nobody is left who could decide, if it was deferred.
            stream.refuse_undecided(Refusal::NotAccepted { operation });
        }
    }

    /// The peer sent bytes that are not a sound message.
    pub(super) fn reject(self: &Arc<Self>, error: codec::Error, bytes: &[u8]) {
        let mut shared = self.lock();
        let defect = shared.rpc.judge(error, bytes);
        let is_violation = matches!(defect, Defect::Headers(_));
        let reason = match defect {
            Defect::TooLargeForHandshake { len, limit } => Error::HandshakeMessageTooLarge { len, limit },
            Defect::Headers(error) => Error::Codec(error),
            Defect::Framing(error) => Error::of_input(error, bytes, shared.rpc.role(), shared.rpc.is_handshake_done()),
        };
        shared.close(Err(reason.clone()), false);
        drop(shared);
        if is_violation {
            self.log_violation(&reason);
        }
    }

    /// The client has sent a message on a deferred stream that it had ended.
    pub(super) fn drop_late(self: &Arc<Self>) {
        let mut shared = self.lock();
        let received = shared.rpc.receive_after_end(Instant::now()).map_err(Error::from);
        if let Err(violation) = &received {
            shared.close(Err(violation.clone()), false);
        }
        drop(shared);
        match received {
            Ok(()) => self.log_late(),
            Err(violation) => self.log_violation(&violation),
        }
    }

    fn log_late(&self) {
        self.log_line(Level::Debug, || "dropped a message for a stream that has ended".to_owned());
    }

    fn log_violation(&self, reason: &Error) {
        self.log_repeated(Repeated::Violation, Level::Warn, || reason.to_string());
    }

    /// Refuses a stream that was announced, on the library's own account.
    fn refuse_stream(self: &Arc<Self>, id: i32, refusal: Refusal<'_>) {
        let mut shared = self.lock();
        // It fails only if the application was quicker.
        if shared.rpc.refuse_stream_for(id, refusal).is_ok() {
            self.schedule_write(&mut shared);
            self.notify(&shared);
        }
        drop(shared);
        self.log_refusal(id, refusal);
    }

    pub(super) fn log_refusal(&self, id: i32, refusal: Refusal<'_>) {
        self.log_line(Level::Debug, || format!("stream {id} refused: {refusal}"));
    }

    /// The connection is usable: reports that to its owner.
    pub(super) fn complete_setup(self: &Arc<Self>) {
        {
            let mut shared = self.lock();
            if !shared.open() {
                return;
            }
            self.notify(&shared);
        }
        self.log_line(Level::Info, || "set up".to_owned());
        if let Some(handler) = self.handler() {
            handler.on_setup(Ok(self));
        }
    }

    /// Tells the listener's owner of this connection; what has become of it with that.
    pub(super) fn announce(self: &Arc<Self>, arrival: &dyn Arrival) -> Announcement {
        self.lock().announce();
        arrival.announce(self);
        let mut shared = self.lock();
        let accepted = self.handler().is_some();
        if !accepted && shared.is_deferred() && self.is_held() {
            drop(shared);
            self.log_line(Level::Info, || "deferred".to_owned());
            return Announcement::Deferred;
        }
        if !accepted {
            // Nobody is called, but somebody who kept the handle may wait for the end.
            self.set_end(Err(Error::Cancelled));
        }
        shared.settle_announcement(accepted);
        self.notify(&shared);
        drop(shared);
        if accepted {
            self.log_line(Level::Info, || "accepted".to_owned());
            return Announcement::Accepted;
        }
        self.log_repeated(Repeated::Unaccepted, Level::Warn, || {
            "closed, since on_incoming_connection neither accepted nor deferred it".to_owned()
        });
        self.leave();
        Announcement::Refused
    }

    /// Calls whom the written sends were made for, and ends the streams of which the last message is written.
    pub(super) fn tell_written(self: &Arc<Self>, due: &mut VecDeque<Mark<Flush>>) {
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
    }

    /// There is room again in the outbound queue.
    pub(super) fn tell_room(self: &Arc<Self>) {
        if let Some(handler) = self.handler() {
            handler.on_writable(self);
        }
    }

    /// Ends a stream at once, on both sides. On the loop thread, or for a stream whose handler calls nobody.
    pub(in crate::runtime) fn cut_stream(self: &Arc<Self>, stream: &Arc<Stream>, error: Error) {
        let cut = {
            let mut shared = self.lock();
            let cut = shared.rpc.cut_stream(stream.id());
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
        if let Some(key) = stream.timer() {
            shared.note_ended_timer(key);
        }
        stream.closed_told.store(true, std::sync::atomic::Ordering::Release);
        self.notify(&shared);
    }
}

impl Timed for Stream {
    /// The stream's deadline is over: both sides learn of it.
    fn expire(self: Arc<Self>) {
        if self.deferral().is_some() {
            return self.refuse_undecided(Refusal::NotDecided { time: self.deadline().unwrap_or_default() });
        }
        let error = Error::StreamDeadline { time: self.deadline().unwrap_or_default() };
        self.connection().cut_stream(&self, error);
    }
}
