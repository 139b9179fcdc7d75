use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::codec::HeaderList;
use crate::rpc::{self, MessageType, Outgoing, Role, TERMINATE_STREAM};
use crate::runtime::connection::{Flush, Shared};
use crate::runtime::error::{End, Ended};
use crate::runtime::event_loop::Command;
use crate::runtime::operation_name::OperationName;
use crate::runtime::timers::TimerKey;
use crate::runtime::{Connection, Error, Inbox, Outcome, Phase, StreamHandler, check_may_wait};

/// Where a stream is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum StreamPhase {
    /// A client's stream that is not activated.
    New,
    /// A client's stream that the server's application has not accepted yet.
    Announced,
    Open,
    /// This side's TERMINATE_STREAM is accepted and not yet written.
    Closing,
    Closed,
}

/// One stream of a connection, as all threads see it. What its messages may do is decided by the connection's state
/// machine, under the connection's lock; `phase` and `id` change under that lock only.
pub struct Stream {
    connection: Arc<Connection>,
    handler: OnceLock<Box<dyn StreamHandler>>,
    operation: OnceLock<OperationName>,
    end: End,
    id: AtomicI32,
    phase: AtomicU8,
    /// Set before the activation.
    deadline_ms: AtomicU32,
    /// Of the deadline; loop thread only.
    timer: OnceLock<TimerKey>,
    /// Of those who may read from it.
    holders: AtomicUsize,
    /// It stands in the connection's list of those to be told when there is room.
    pub(super) blocked: AtomicBool,
    pub(super) closed_told: AtomicBool,
}

impl Stream {
    /// A client's stream, not activated.
    pub fn new(connection: &Arc<Connection>, handler: Box<dyn StreamHandler>) -> Result<Arc<Stream>, Error> {
        if connection.role() != Role::Client {
            return Err(Error::InvalidState("only a client's connection opens streams"));
        }
        connection.lock().check_ready()?;
        let stream = Stream::with(connection.clone(), 0, StreamPhase::New);
        let _ = stream.handler.set(handler);
        Ok(Arc::new(stream))
    }

    /// A stream that the peer opens.
    pub(super) fn announced(connection: Arc<Connection>, id: i32, operation: &[u8]) -> Arc<Stream> {
        let stream = Stream::with(connection, id, StreamPhase::Announced);
        let _ = stream.operation.set(OperationName::new(operation));
        Arc::new(stream)
    }

    fn with(connection: Arc<Connection>, id: i32, phase: StreamPhase) -> Stream {
        Stream {
            connection,
            handler: OnceLock::new(),
            operation: OnceLock::new(),
            end: End::default(),
            id: AtomicI32::new(id),
            phase: AtomicU8::new(phase as u8),
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

    /// Who is told of what happens; nobody once the loop is halted.
    pub fn handler(&self) -> Option<&dyn StreamHandler> {
        self.handler.get().filter(|_| !self.connection().is_inert()).map(Box::as_ref)
    }

    pub(super) fn inbox(&self) -> Option<&Inbox> {
        self.handler.get().and_then(|handler| handler.inbox())
    }

    /// One more may read from the stream.
    pub fn hold(&self) {
        self.holders.fetch_add(1, Ordering::AcqRel);
    }

    /// One of those who may read from it has gone; after the last one its messages are dropped.
    pub fn let_go(&self) {
        if self.holders.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(inbox) = self.inbox()
        {
            inbox.abandon(&self.connection);
        }
    }

    pub(super) fn is_held(&self) -> bool {
        self.holders.load(Ordering::Acquire) > 0
    }

    /// 0 until the stream is activated.
    pub fn id(&self) -> i32 {
        self.id.load(Ordering::Acquire)
    }

    pub fn phase(&self) -> StreamPhase {
        match self.phase.load(Ordering::Acquire) {
            0 => StreamPhase::New,
            1 => StreamPhase::Announced,
            2 => StreamPhase::Open,
            3 => StreamPhase::Closing,
            _ => StreamPhase::Closed,
        }
    }

    pub(super) fn set_phase(&self, phase: StreamPhase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// How long the stream may take from its activation on.
    pub fn deadline(&self) -> Option<Duration> {
        let ms = self.deadline_ms.load(Ordering::Acquire);
        (ms > 0).then(|| Duration::from_millis(ms.into()))
    }

    /// Sets the deadline, in milliseconds; 0 for none. Only before the activation.
    pub fn set_deadline(&self, ms: u32) -> Result<(), Error> {
        let _shared = self.connection().lock();
        if self.phase() != StreamPhase::New {
            return Err(Error::StreamAlreadyActivated);
        }
        self.deadline_ms.store(ms, Ordering::Release);
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

    pub fn end(&self) -> Option<&Ended> {
        self.end.get()
    }

    pub(super) fn set_end(&self, outcome: &Outcome) {
        self.set_phase(StreamPhase::Closed);
        self.end.set(outcome);
    }

    /// Takes a stream that the peer opened; only while the callback announces it.
    pub fn accept(self: &Arc<Self>, handler: Box<dyn StreamHandler>) -> Result<(), Error> {
        let mut shared = self.connection().lock();
        self.check_announced()?;
        let _ = self.handler.set(handler);
        self.set_phase(StreamPhase::Open);
        shared.rpc.accept_stream(self.id(), self.clone(), self.operation().len())?;
        drop(shared);
        self.connection().log_stream_begin(self, "accepted");
        Ok(())
    }

    /// Refuses it with a message of the caller's. Not bounded by the outbound limit: the peer waits for it.
    pub fn refuse(self: &Arc<Self>, mut message: Outgoing<'_>) -> Result<(), Error> {
        message.message_type = MessageType::ApplicationError as i32;
        message.flags = TERMINATE_STREAM;
        let prepared =
            message.prepare_in(true, &self.connection().settings().limits.messages, self.connection().buffers())?;
        let mut shared = self.connection().lock();
        self.check_announced()?;
        self.set_phase(StreamPhase::Closed);
        self.connection().notify(&shared);
        shared.rpc.refuse_stream(self.id(), prepared)?;
        self.connection().schedule_write(&mut shared);
        drop(shared);
        self.connection().log_stream_begin(self, "refused");
        self.connection().log_sent(&message, self.id());
        Ok(())
    }

    /// The library has refused it.
    pub(super) fn note_refused(&self) {
        let shared = self.connection().lock();
        self.set_phase(StreamPhase::Closed);
        self.connection().notify(&shared);
    }

    fn check_announced(&self) -> Result<(), Error> {
        if self.phase() == StreamPhase::Announced {
            return Ok(());
        }
        Err(Error::InvalidState(
            "a stream can be accepted or refused once, and only inside the on_incoming_stream that announces it",
        ))
    }

    /// Sends the first message, which opens the stream. A refusal for want of room is followed by on_writable.
    pub fn activate(self: &Arc<Self>, message: Outgoing<'_>, flush: Option<Flush>) -> Result<(), Error> {
        self.activate_or(message, flush, Stream::note_blocked)
    }

    /// As `activate`, for somebody who waits for room by himself.
    pub(super) fn try_activate(self: &Arc<Self>, message: Outgoing<'_>, flush: Option<Flush>) -> Result<(), Error> {
        self.activate_or(message, flush, |_, _| ())
    }

    fn activate_or(
        self: &Arc<Self>,
        message: Outgoing<'_>,
        flush: Option<Flush>,
        blocked: impl FnOnce(&Arc<Self>, &mut Shared),
    ) -> Result<(), Error> {
        if self.connection().role() != Role::Client {
            return Err(Error::InvalidState("only a client activates streams; a server's are open when accepted"));
        }
        let prepared =
            message.prepare_in(true, &self.connection().settings().limits.messages, self.connection().buffers())?;
        let terminates = prepared.flags() & TERMINATE_STREAM != 0;
        let mut shared = self.connection().lock();
        if self.phase() != StreamPhase::New {
            return Err(Error::StreamAlreadyActivated);
        }
        shared.check_ready()?;
        if shared.drain.is_some() {
            return Err(Error::Draining("the runtime is being drained: its connections open no new streams"));
        }
        match shared.rpc.activate(self.clone(), prepared, flush) {
            Ok(id) => {
                self.id.store(id, Ordering::Release);
                let _ = self.operation.set(OperationName::new(message.operation.unwrap_or_default()));
                self.set_phase(if terminates { StreamPhase::Closing } else { StreamPhase::Open });
                if let Some(time) = self.deadline() {
                    shared.new_stream_deadlines.push((self.clone(), Instant::now() + time));
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
    pub(super) fn try_send(self: &Arc<Self>, message: Outgoing<'_>, flush: Option<Flush>) -> Result<(), Error> {
        self.send_or(message, flush, |_, _| ())
    }

    fn send_or(
        self: &Arc<Self>,
        message: Outgoing<'_>,
        flush: Option<Flush>,
        blocked: impl FnOnce(&Arc<Self>, &mut Shared),
    ) -> Result<(), Error> {
        let connection = self.connection();
        let prepared = message.prepare_in(true, &connection.settings().limits.messages, connection.buffers())?;
        let terminates = message.flags & TERMINATE_STREAM != 0;
        let mut shared = connection.lock();
        if self.phase() < StreamPhase::Open {
            return Err(self.not_begun());
        }
        let exempt = terminates && message.payload.is_empty() && message.headers.is_none_or(HeaderList::is_empty);
        match shared.rpc.send_on_stream(self.id(), prepared, flush, exempt) {
            Ok(()) => {
                if terminates {
                    self.set_phase(StreamPhase::Closing);
                }
                connection.schedule_write(&mut shared);
                drop(shared);
                connection.log_sent(&message, self.id());
                Ok(())
            }
            Err(error) => Err(self.not_accepted(error, &mut shared, blocked)),
        }
    }

    #[cold]
    fn not_begun(&self) -> Error {
        match self.phase() {
            StreamPhase::New => Error::StreamNotActivated,
            _ => Error::InvalidState("the stream has to be accepted first"),
        }
    }

    /// Ends the stream with an empty message.
    pub fn close(self: &Arc<Self>) -> Result<(), Error> {
        self.send(Outgoing::empty(MessageType::ApplicationMessage, TERMINATE_STREAM), None)
    }

    fn not_accepted(
        self: &Arc<Self>,
        error: rpc::Error,
        shared: &mut Shared,
        blocked: impl FnOnce(&Arc<Self>, &mut Shared),
    ) -> Error {
        if matches!(error, rpc::Error::WouldBlock { .. }) {
            blocked(self, shared);
        }
        if self.connection().is_inert() {
            return Error::RuntimeShutdown;
        }
        // A stream that is over says so, whatever became of its connection since.
        match (&error, self.end()) {
            (rpc::Error::ConnectionClosed, Some((Ok(()), _))) => rpc::Error::StreamClosed("the stream is over").into(),
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

    fn note_blocked(self: &Arc<Self>, shared: &mut Shared) {
        if !self.blocked.swap(true, Ordering::AcqRel) {
            shared.blocked_streams.push(self.clone());
        }
    }

    /// Waits until on_closed has returned; a stream that was refused has none.
    pub fn wait_closed(&self, timeout: Option<Duration>) -> Result<Outcome, Error> {
        check_may_wait()?;
        if self.phase() == StreamPhase::New && self.connection().phase() != Phase::Connecting {
            return Err(Error::StreamNotActivated);
        }
        self.connection().wait(timeout, "the stream did not end within the given time", |_| {
            let refused = self.phase() == StreamPhase::Closed && self.handler().is_none();
            let over = refused || self.closed_told.load(Ordering::Acquire);
            over.then(|| self.end().map_or(Ok(()), |(outcome, _)| outcome.clone()))
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(handler) = self.handler.take() {
            self.connection.post(Command::DestroyStream(handler, self.connection.clone()));
        }
    }
}
