//! Streams that a server accepts or refuses later. Until then, and until the application has been given them in order, their
//! messages wait.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::driver::Turn;
use super::handle::{Connection, SharedState, Stream, StreamHandler};
use super::inbox::{Inbox, held_by};
use crate::codec::MessageCopy;
use crate::rpc::{self, Incoming, Refusal};
use crate::runtime::error::{Error, Outcome};
use crate::runtime::event_loop::Destroyed;

/// Stands for the handler of a stream that was deferred. Its stage changes under the connection's lock.
#[derive(Default)]
pub(super) struct Deferral {
    /// The application's, once it has accepted.
    accepted: OnceLock<Box<dyn StreamHandler>>,
    stage: AtomicU8,
    inbox: Inbox,
    /// The peer has ended the stream, which is still to be reported to the application. Loop thread only.
    ended_by_peer: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    /// The application has not decided.
    Waiting,
    /// It has accepted, and has not been given all that came before.
    Ripe,
    /// Messages go to it directly.
    Flowing,
    /// Refused or ended.
    Over,
}

impl Deferral {
    fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Waiting,
            1 => Stage::Ripe,
            2 => Stage::Flowing,
            _ => Stage::Over,
        }
    }

    fn enter(&self, stage: Stage, _shared: &mut SharedState) {
        self.stage.store(stage as u8, Ordering::Release);
    }

    pub fn is_waiting(&self) -> bool {
        self.stage() == Stage::Waiting
    }

    pub fn is_over(&self) -> bool {
        self.stage() == Stage::Over
    }

    fn keep(&self, stream: &Arc<Stream>, incoming: &Incoming<'_>) {
        let connection = stream.connection();
        let copy = MessageCopy::of(incoming.message);
        let held = held_by(&copy);
        connection.note_unread(held);
        match self.inbox.put(copy, connection.settings().stream_queue_limit) {
            None => connection.note_read(held),
            Some(pressure) => connection.note_pressure(pressure),
        }
        if self.is_over() {
            // Refused meanwhile, on another thread.
            self.empty(connection);
        }
    }

    /// Gives the application the next message that waits; false if there is none. Returns its length.
    fn deliver_next(&self, stream: &Arc<Stream>) -> Option<usize> {
        let connection = stream.connection();
        let limit = connection.settings().stream_queue_limit;
        let (copy, pressure) = self.inbox.take(limit, None, || Err(Error::Cancelled)).ok()?;
        connection.note_read(held_by(&copy));
        connection.note_pressure(pressure);
        if let Some(handler) = self.accepted.get() {
            handler.on_message(stream, &Incoming::read(&copy.message()));
        }
        Some(copy.total_len())
    }

    /// Gives the application, if it has accepted, all that came before an end, unless this side wants no more.
    fn deliver_all(&self, stream: &Arc<Stream>) {
        let connection = stream.connection();
        while self.stage() == Stage::Ripe
            && !connection.wants_no_more()
            && !connection.is_inert()
            && self.deliver_next(stream).is_some()
        {}
    }

    fn empty(&self, connection: &Arc<Connection>) {
        connection.note_emptied(self.inbox.abandon());
    }
}

impl StreamHandler for Deferral {
    fn on_message(&self, stream: &Arc<Stream>, incoming: &Incoming<'_>) {
        match (self.stage(), self.accepted.get()) {
            (Stage::Flowing, Some(handler)) => handler.on_message(stream, incoming),
            (Stage::Waiting | Stage::Ripe, _) if self.ended_by_peer.load(Ordering::Relaxed) => {
                stream.connection().drop_late();
            }
            (Stage::Waiting | Stage::Ripe, _) => self.keep(stream, incoming),
            _ => {}
        }
    }

    fn on_writable(&self, stream: &Arc<Stream>) {
        if let Some(handler) = self.accepted.get() {
            handler.on_writable(stream);
        }
    }

    fn on_closed(&self, stream: &Arc<Stream>, outcome: &Outcome) {
        let connection = stream.connection();
        if outcome.is_err() {
            self.deliver_all(stream);
        }
        let before = {
            let mut shared = connection.lock();
            let before = self.stage();
            self.enter(Stage::Over, &mut shared);
            before
        };
        self.empty(connection);
        if matches!(before, Stage::Ripe | Stage::Flowing)
            && !connection.is_inert()
            && let Some(handler) = self.accepted.get()
        {
            handler.on_closed(stream, outcome);
        }
    }

    fn inbox(&self) -> Option<&Inbox> {
        self.accepted.get().and_then(|handler| handler.inbox())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Destroyed for Deferral {
    fn on_destroy(&self) {
        if let Some(handler) = self.accepted.get() {
            handler.on_destroy();
        }
    }
}

impl Stream {
    pub(super) fn deferral(&self) -> Option<&Deferral> {
        self.handler.get()?.as_any().downcast_ref()
    }

    /// The application's side, for whoever knows its type, once it has accepted.
    pub fn owner(&self) -> Option<&dyn Any> {
        let handler = self.handler()?;
        match self.deferral() {
            None => Some(handler.as_any()),
            Some(deferral) => deferral.accepted.get().map(|handler| handler.as_any()),
        }
    }

    /// Whether it has been accepted, or is a client's.
    pub(super) fn is_accepted(&self) -> bool {
        self.handler.get().is_some() && self.deferral().is_none_or(|deferral| deferral.accepted.get().is_some())
    }

    /// Whether its deadline matters: of a client's stream, or of one that is to be decided on.
    pub(super) fn awaits_deadline(&self) -> bool {
        self.deferral().is_none_or(Deferral::is_waiting)
    }

    /// Lets the application decide later; only while the callback announces the stream. Without a time it may take as long
    /// as the connection lives.
    pub fn defer(self: &Arc<Self>, time: Option<Duration>) -> Result<(), Error> {
        let mut shared = self.connection().lock();
        shared.rpc.defer_stream(self.id(), self.clone(), self.operation().len())?;
        let _ = self.handler.set(Box::new(Deferral::default()));
        if let Some(time) = time {
            self.deadline_ms.store(u32::try_from(time.as_millis()).unwrap_or(u32::MAX), Ordering::Release);
            shared.note_stream_deadline(self.clone(), Instant::now() + time);
        }
        drop(shared);
        self.connection().log_stream_begin(self, "deferred");
        Ok(())
    }

    pub(super) fn accept_deferred(
        self: &Arc<Self>,
        deferral: &Deferral,
        handler: Box<dyn StreamHandler>,
    ) -> Result<(), Error> {
        let connection = self.connection();
        let mut shared = connection.lock();
        shared.check_ready()?;
        if !deferral.is_waiting() {
            return Err(rpc::Error::StreamNotAnnounced.into());
        }
        shared.rpc.accept_deferred(self.id())?;
        let _ = deferral.accepted.set(handler);
        deferral.enter(Stage::Ripe, &mut shared);
        self.note_decided(&mut shared);
        shared.note_ripe(self.clone());
        connection.schedule(&mut shared);
        drop(shared);
        connection.log_stream_begin(self, "accepted");
        Ok(())
    }

    /// Its deadline does not matter any more.
    fn note_decided(&self, shared: &mut SharedState) {
        if let Some(key) = self.timer() {
            shared.note_ended_timer(key);
        }
    }

    /// The application has answered it instead of accepting it: with the lock held.
    pub(super) fn note_answered(&self, deferral: &Deferral, shared: &mut SharedState) {
        deferral.enter(Stage::Over, shared);
        self.note_decided(shared);
    }

    /// Refuses it on the library's own account, unless the application has decided.
    pub(super) fn refuse_undecided(&self, refusal: Refusal<'_>) {
        let Some(deferral) = self.deferral().filter(|deferral| deferral.is_waiting()) else { return };
        let connection = self.connection();
        if connection.is_inert() {
            return;
        }
        let mut shared = connection.lock();
        if !deferral.is_waiting() {
            return;
        }
        let refused = shared.rpc.refuse_deferred_for(self.id(), refusal);
        self.note_answered(deferral, &mut shared);
        connection.notify(&shared);
        connection.schedule(&mut shared);
        drop(shared);
        drop(refused);
        self.drop_deferred();
        connection.log_refusal(self.id(), refusal);
    }

    /// No more comes for it: what came before it was accepted goes to the application now. Then its reads end, as on any stream,
    /// unless the peer had ended it before, which is still to be reported.
    pub(super) fn end_reads(self: &Arc<Self>, outcome: &Outcome) {
        if let Some(deferral) = self.deferral() {
            deferral.deliver_all(self);
            if deferral.ended_by_peer.load(Ordering::Relaxed) {
                return;
            }
        }
        self.end_unread(outcome);
    }

    /// Drops the messages of a stream that was not accepted.
    pub(super) fn drop_deferred(&self) {
        if let Some(deferral) = self.deferral() {
            deferral.empty(self.connection());
        }
    }
}

impl Connection {
    /// The peer has ended the stream; that is reported at once, or after the messages that came before.
    pub(super) fn end_by_peer(self: &Arc<Self>, stream: &Arc<Stream>) {
        {
            let mut shared = self.lock();
            if let Some(deferral) = stream.deferral()
                && matches!(deferral.stage(), Stage::Waiting | Stage::Ripe)
            {
                shared.rpc.close_deferred(stream.id());
                deferral.ended_by_peer.store(true, Ordering::Relaxed);
                return;
            }
            shared.rpc.remove_stream(stream.id());
        }
        self.end_stream(stream, &Ok(()));
    }

    /// Gives the application what came for streams before it accepted them.
    pub(super) fn deliver_ripe(self: &Arc<Self>, turn: &mut Turn) {
        while !turn.is_over()
            && let Some(stream) = self.next_ripe()
            && let Some(deferral) = stream.deferral()
        {
            match deferral.deliver_next(&stream) {
                Some(len) => _ = turn.note_call(len),
                None => self.let_flow(&stream, deferral),
            }
        }
    }

    /// This side has closed the connection.
    fn wants_no_more(&self) -> bool {
        self.lock().life().closing().is_some_and(|closing| closing.by_this_side)
    }

    fn next_ripe(&self) -> Option<Arc<Stream>> {
        if self.is_inert() { None } else { self.lock().next_ripe() }
    }

    fn let_flow(self: &Arc<Self>, stream: &Arc<Stream>, deferral: &Deferral) {
        let is_ended = {
            let mut shared = self.lock();
            shared.drop_ripe();
            if deferral.is_over() {
                return;
            }
            deferral.enter(Stage::Flowing, &mut shared);
            let is_ended = deferral.ended_by_peer.load(Ordering::Relaxed);
            if is_ended {
                shared.rpc.remove_stream(stream.id());
            }
            is_ended
        };
        if is_ended {
            self.end_stream(stream, &Ok(()));
        }
    }
}
