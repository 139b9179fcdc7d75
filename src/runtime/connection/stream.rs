//! What the application asks of a stream, and what becomes of it.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::handle::{Connection, SharedState, Stream, StreamHandler, StreamPhase};
use super::life::Phase;
use super::operation_name::OperationName;
use super::state::Flush;
use crate::codec::HeaderList;
use crate::rpc::{self, MessageType, Outgoing, Role, TERMINATE_STREAM};
use crate::runtime::error::{End, Ended, Error, Outcome};
use crate::runtime::event_loop::{TimerKey, check_may_wait};

impl Stream {
    /// A client's stream, not activated.
    pub fn new(connection: &Arc<Connection>, handler: Box<dyn StreamHandler>) -> Result<Arc<Stream>, Error> {
        if connection.role() != Role::Client {
            return Err(Error::InvalidState("only a client's connection opens streams"));
        }
        connection.lock().check_ready()?;
        let stream = Stream::with(connection.clone(), 0);
        let _ = stream.handler.set(handler);
        Ok(Arc::new(stream))
    }

    /// A stream that the peer opens.
    pub(super) fn announced(connection: Arc<Connection>, id: i32, operation: &[u8]) -> Arc<Stream> {
        let stream = Stream::with(connection, id);
        let _ = stream.operation.set(OperationName::new(operation));
        Arc::new(stream)
    }

    fn with(connection: Arc<Connection>, id: i32) -> Stream {
        Stream {
            connection,
            handler: OnceLock::new(),
            operation: OnceLock::new(),
            end: End::default(),
            id: AtomicI32::new(id),
            deadline_ms: AtomicU32::new(0),
            timer: OnceLock::new(),
            holders: AtomicUsize::new(0),
            blocked: AtomicBool::new(false),
            closed_told: AtomicBool::new(false),
        }
    }

    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Receives what happens; none once the loop is halted.
    pub fn handler(&self) -> Option<&dyn StreamHandler> {
        self.handler.get().filter(|_| !self.connection().is_inert()).map(Box::as_ref)
    }

    /// 0 until the stream is activated.
    pub fn id(&self) -> i32 {
        self.id.load(Ordering::Acquire)
    }

    fn is_new(&self) -> bool {
        self.id() == 0
    }

    pub fn phase(&self) -> StreamPhase {
        if self.is_new() { StreamPhase::New } else { self.phase_in(&self.connection().lock()) }
    }

    /// The same for somebody who holds the connection's lock.
    pub(super) fn phase_in(&self, shared: &SharedState) -> StreamPhase {
        if self.is_new() { StreamPhase::New } else { shared.rpc.stream_state(self.id()).into() }
    }

    /// How long the stream may take from its activation on.
    pub fn deadline(&self) -> Option<Duration> {
        let ms = self.deadline_ms.load(Ordering::Acquire);
        (ms > 0).then(|| Duration::from_millis(ms.into()))
    }

    /// Sets the deadline, in milliseconds, or that there is none. Only before the activation.
    pub fn set_deadline(&self, ms: Option<NonZeroU32>) -> Result<(), Error> {
        let _shared = self.connection().lock();
        if !self.is_new() {
            return Err(Error::StreamAlreadyActivated);
        }
        self.deadline_ms.store(ms.map_or(0, NonZeroU32::get), Ordering::Release);
        Ok(())
    }

    pub(super) fn timer(&self) -> Option<TimerKey> {
        self.timer.get().copied()
    }

    pub(super) fn set_timer(&self, key: TimerKey) {
        let _ = self.timer.set(key);
    }

    pub fn operation(&self) -> &[u8] {
        self.operation.get().map_or(&[], OperationName::as_slice)
    }

    pub fn end(&self) -> Option<Ended<'_>> {
        self.end.get()
    }

    pub(super) fn set_end(&self, outcome: &Outcome) {
        self.end.set(outcome);
    }

    /// Takes a stream that the peer opened; only while the callback announces it, or once later if it was deferred.
    pub fn accept(self: &Arc<Self>, handler: Box<dyn StreamHandler>) -> Result<(), Error> {
        if let Some(deferral) = self.deferral() {
            return self.accept_deferred(deferral, handler);
        }
        let mut shared = self.connection().lock();
        shared.rpc.accept_stream(self.id(), self.clone(), self.operation().len())?;
        let _ = self.handler.set(handler);
        drop(shared);
        self.connection().log_stream_begin(self, "accepted");
        Ok(())
    }

    /// Answers it with one message, an error if it is refused, and does not accept it. Not bounded by the outbound limit while
    /// the callback announces it: the peer waits for it, and the server reads no more from a peer for which too much waits. If it
    /// was deferred, a refusal for want of room is followed by on_writable of the connection.
    pub fn answer(self: &Arc<Self>, mut message: Outgoing<'_>) -> Result<(), Error> {
        message.flags = TERMINATE_STREAM;
        let connection = self.connection();
        let prepared = message.prepare_in(true, &connection.settings().limits.messages, connection.buffers())?;
        let mut shared = connection.lock();
        if self.deferral().is_some() {
            shared.check_ready()?;
        }
        let deferral = self.deferral().filter(|deferral| deferral.is_waiting());
        let answered = match deferral {
            None => shared.rpc.answer_stream(self.id(), prepared).map(|()| None),
            Some(_) => shared.rpc.answer_deferred(self.id(), prepared),
        };
        if let Err(rpc::Error::WouldBlock { .. }) = answered {
            shared.note_refused();
        }
        connection.notify(&shared);
        let answered = answered?;
        if let Some(deferral) = deferral {
            self.note_answered(deferral, &mut shared);
        }
        connection.schedule(&mut shared);
        drop(shared);
        drop(answered);
        self.drop_deferred();
        let is_refusal = message.message_type == MessageType::ApplicationError as i32;
        connection.log_stream_begin(self, if is_refusal { "refused" } else { "answered" });
        connection.log_sent(&message, self.id());
        Ok(())
    }

    /// Sends the last message, on a stream that is open or is being announced.
    pub fn finish(self: &Arc<Self>, mut message: Outgoing<'_>) -> Result<(), Error> {
        if self.phase() == StreamPhase::Announced {
            return self.answer(message);
        }
        message.flags = TERMINATE_STREAM;
        self.send(message, None)
    }

    /// Sends the first message, which opens the stream. A refusal for want of room is followed by on_writable.
    pub fn activate(self: &Arc<Self>, message: Outgoing<'_>, flush: Option<Flush>) -> Result<(), Error> {
        self.activate_or(message, flush, Stream::note_blocked)
    }

    /// As `activate`, for somebody who waits for room by himself.
    pub(in crate::runtime) fn try_activate(
        self: &Arc<Self>,
        message: Outgoing<'_>,
        flush: Option<Flush>,
    ) -> Result<(), Error> {
        self.activate_or(message, flush, |_, _| ())
    }

    fn activate_or(
        self: &Arc<Self>,
        message: Outgoing<'_>,
        flush: Option<Flush>,
        blocked: impl FnOnce(&Arc<Self>, &mut SharedState),
    ) -> Result<(), Error> {
        if self.connection().role() != Role::Client {
            return Err(Error::InvalidState("only a client activates streams; a server's are open when accepted"));
        }
        let prepared =
            message.prepare_in(true, &self.connection().settings().limits.messages, self.connection().buffers())?;
        let mut shared = self.connection().lock();
        if !self.is_new() {
            return Err(Error::StreamAlreadyActivated);
        }
        shared.check_ready()?;
        if shared.is_draining() {
            return Err(Error::Draining("the runtime is being drained: its connections open no new streams"));
        }
        match shared.rpc.activate(self.clone(), prepared, flush) {
            Ok(id) => {
                self.id.store(id, Ordering::Release);
                let _ = self.operation.set(OperationName::new(message.operation.unwrap_or_default()));
                if let Some(time) = self.deadline() {
                    shared.note_stream_deadline(self.clone(), Instant::now() + time);
                }
                self.connection().schedule_write(&mut shared);
                drop(shared);
                self.connection().log_stream_begin(self, "activated");
                self.connection().log_sent(&message, id);
                Ok(())
            }
            Err(error) => Err(self.not_accepted(error, &mut shared, blocked)),
        }
    }

    /// Queues a message. An empty one that ends the stream may exceed the outbound limit: ending must always work. A refusal
    /// for want of room is followed by on_writable.
    pub fn send(self: &Arc<Self>, message: Outgoing<'_>, flush: Option<Flush>) -> Result<(), Error> {
        self.send_or(message, flush, Stream::note_blocked)
    }

    /// As `send`, for somebody who waits for room by himself.
    pub(in crate::runtime) fn try_send(
        self: &Arc<Self>,
        message: Outgoing<'_>,
        flush: Option<Flush>,
    ) -> Result<(), Error> {
        self.send_or(message, flush, |_, _| ())
    }

    fn send_or(
        self: &Arc<Self>,
        message: Outgoing<'_>,
        flush: Option<Flush>,
        blocked: impl FnOnce(&Arc<Self>, &mut SharedState),
    ) -> Result<(), Error> {
        let connection = self.connection();
        let prepared = message.prepare_in(true, &connection.settings().limits.messages, connection.buffers())?;
        let terminates = message.flags & TERMINATE_STREAM != 0;
        let mut shared = connection.lock();
        if self.is_new() {
            return Err(Error::StreamNotActivated);
        }
        let exempt = terminates && message.payload.is_empty() && message.headers.is_none_or(HeaderList::is_empty);
        match shared.rpc.send_on_stream(self.id(), prepared, flush, exempt) {
            Ok(()) => {
                connection.schedule_write(&mut shared);
                drop(shared);
                connection.log_sent(&message, self.id());
                Ok(())
            }
            Err(error) => Err(self.not_accepted(error, &mut shared, blocked)),
        }
    }

    /// Ends the stream with an empty message.
    pub fn close(self: &Arc<Self>) -> Result<(), Error> {
        self.send(Outgoing::empty(MessageType::ApplicationMessage, TERMINATE_STREAM), None)
    }

    fn not_accepted(
        self: &Arc<Self>,
        error: rpc::Error,
        shared: &mut SharedState,
        blocked: impl FnOnce(&Arc<Self>, &mut SharedState),
    ) -> Error {
        if matches!(error, rpc::Error::WouldBlock { .. }) {
            blocked(self, shared);
        }
        if self.connection().is_inert() {
            return Error::RuntimeShutdown;
        }
        if self.phase_in(shared) == StreamPhase::Announced {
            return Error::InvalidState("the stream is not accepted yet: accept it first");
        }
        // A stream that has ended says so, whatever became of its connection since.
        match (&error, self.end()) {
            (rpc::Error::ConnectionClosed, Some(Ok(()))) => rpc::Error::StreamClosed("the stream has ended").into(),
            _ => error.into(),
        }
    }

    /// There is room again for a stream whose send was refused.
    pub(super) fn tell_writable(self: &Arc<Self>) {
        self.blocked.store(false, Ordering::Release);
        if let Some(handler) = self.handler()
            && matches!(self.phase(), StreamPhase::New | StreamPhase::Open)
        {
            handler.on_writable(self);
        }
    }

    fn note_blocked(self: &Arc<Self>, shared: &mut SharedState) {
        if !self.blocked.swap(true, Ordering::AcqRel) {
            shared.note_refused_stream(self.clone());
        }
    }

    /// Waits until on_closed has returned; a stream that was refused has none.
    pub fn wait_closed(&self, timeout: Option<Duration>) -> Result<Outcome, Error> {
        check_may_wait()?;
        if self.is_new() && self.connection().phase() != Phase::Connecting {
            return Err(Error::StreamNotActivated);
        }
        self.connection().wait(timeout, "the stream did not end within the given time", |shared| {
            let refused = self.phase_in(shared) == StreamPhase::Closed && !self.is_accepted();
            let over = refused || self.closed_told.load(Ordering::Acquire);
            over.then(|| self.end.outcome().unwrap_or(Ok(())))
        })
    }
}
