//! What the threads that use a connection share with its loop, under one lock.

use std::sync::{Arc, Weak};
use std::time::Instant;

use super::tally::Tally;
use crate::rpc;
use crate::runtime::error::{Error, Outcome};
use crate::runtime::event_loop::TimerKey;
use crate::runtime::members::Drain;

/// Who is told that a send was written: a function and two words of its owner's. No memory of its own, so that a send
/// makes none.
#[derive(Clone, Copy)]
pub struct Flush {
    pub run: fn([usize; 2], &Outcome),
    pub words: [usize; 2],
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Connecting,
    Open,
    Closing,
    Closed,
}

/// Why a connection ends that is drained before it was set up.
pub(in crate::runtime) const DRAINED_BEFORE_SETUP: &str =
    "the connection was not set up yet when its runtime or listener was drained";

/// `S` is a stream.
pub(in crate::runtime) struct Shared<S> {
    pub phase: Phase,
    pub rpc: rpc::Connection<Arc<S>, Flush>,
    /// Why the connection ends; the first reason stays.
    pub closing: Option<Closing>,
    /// Do not write what is left.
    pub aborted: bool,
    /// Why the library aborts it on its own account.
    pub eviction: Option<Error>,
    /// By the application.
    pub reading_paused: bool,
    /// Streams whose messages nobody has read: reading is paused as long as there is one.
    /// Below zero while a queue has eased of which it is still to be noted that it was full.
    pub full_queues: isize,
    /// Writing failed: reading cannot be paused any more.
    pub writing_failed: bool,
    /// Too much has come after that for a queue that nobody reads.
    pub queue_overrun: bool,
    /// The incoming-connection callback is running.
    pub may_accept: bool,
    /// The driver will look at this connection without being asked again.
    pub scheduled: bool,
    /// Something other than the outgoing queue changed since the driver last looked.
    pub dirty: bool,
    /// A send on the connection itself met the outbound limit.
    pub blocked: bool,
    pub blocked_streams: Vec<Arc<S>>,
    pub setup: Option<Outcome>,
    pub shutdown_told: bool,
    /// It ends when its last stream does.
    pub drain: Option<Drain>,
    /// Threads that wait for something other than setup and shutdown.
    pub waiters: usize,
    /// Streams that threads wait to read from, each once per thread.
    pub readers: Vec<Arc<S>>,
    /// Streams that ended with messages that nobody had read, and that may still be read.
    pub unread_streams: Vec<Weak<S>>,
    /// It ended without a word to anybody.
    pub is_silent: bool,
    /// Activated with a deadline that the loop does not know yet.
    pub new_stream_deadlines: Vec<(Arc<S>, Instant)>,
    /// Of streams that are over.
    pub ended_stream_timers: Vec<TimerKey>,
    pub tally: Tally,
}

/// Why a connection ends.
#[derive(Clone, Debug)]
pub(in crate::runtime) struct Closing {
    pub outcome: Outcome,
    /// This side asked for it.
    pub by_this_side: bool,
}

impl<S> Shared<S> {
    pub fn new(rpc: rpc::Connection<Arc<S>, Flush>) -> Shared<S> {
        Shared {
            phase: Phase::Connecting,
            rpc,
            closing: None,
            aborted: false,
            eviction: None,
            reading_paused: false,
            full_queues: 0,
            writing_failed: false,
            queue_overrun: false,
            may_accept: false,
            scheduled: false,
            dirty: false,
            blocked: false,
            blocked_streams: Vec::new(),
            setup: None,
            shutdown_told: false,
            drain: None,
            waiters: 0,
            readers: Vec::new(),
            unread_streams: Vec::new(),
            is_silent: false,
            new_stream_deadlines: Vec::new(),
            ended_stream_timers: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Ends the connection: nothing is accepted or dispatched from now on. The first reason stays.
    pub fn begin_close(&mut self, outcome: Outcome, by_this_side: bool) {
        self.phase = Phase::Closing;
        self.rpc.close_sending();
        self.closing.get_or_insert(Closing { outcome, by_this_side });
    }

    /// The application gives the reason for an end that a refused CONNECT has begun, and that nobody has been told of.
    pub fn give_reason(&mut self, outcome: Outcome) {
        let was_set_up = self.setup == Some(Ok(()));
        if let Some(closing) = &mut self.closing
            && was_set_up
            && matches!(closing.outcome, Err(Error::HandshakeRefused(_)))
        {
            *closing = Closing { outcome, by_this_side: true };
        }
    }

    /// Writing has failed, so the connection ends once what has come is delivered.
    pub fn end_pauses(&mut self) {
        self.writing_failed = true;
        self.reading_paused = false;
    }

    /// Nothing is to be read from the peer now.
    pub fn is_reading_paused(&self) -> bool {
        self.reading_paused || (self.full_queues > 0 || self.rpc.must_not_read()) && !self.writing_failed
    }

    /// Enough of the outbound queue is written for those who were refused.
    pub fn has_room(&self) -> bool {
        self.rpc.outbound_len() <= self.rpc.outbound_limit() / 2
    }

    pub fn check_ready(&self) -> Result<(), Error> {
        match self.phase {
            Phase::Connecting => Err(Error::NotReady),
            Phase::Open => Ok(()),
            Phase::Closing | Phase::Closed if self.is_silent => Err(Error::RuntimeShutdown),
            Phase::Closing | Phase::Closed => Err(rpc::Error::ConnectionClosed.into()),
        }
    }

    /// The connection is to end as soon as nothing is open on it: what a drain asks for. Whether it begins to with that; then
    /// the driver has to look at it from the start, as at one that is closed: what has come and was not read is dropped.
    pub fn end_if_drained(&mut self) -> bool {
        if self.drain.is_none() || self.rpc.open_streams() > 0 {
            return false;
        }
        match self.phase {
            Phase::Connecting => self.begin_close(Err(Error::Draining(DRAINED_BEFORE_SETUP)), false),
            Phase::Open => self.begin_close(Ok(()), true),
            Phase::Closing | Phase::Closed => return false,
        }
        self.dirty = true;
        true
    }
}
