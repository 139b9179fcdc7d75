//! What the threads that use a connection share with its loop, under one lock.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::life::{Closing, Life, Phase};
use super::tally::Tally;
use crate::rpc;
use crate::runtime::error::{Error, Outcome};
use crate::runtime::event_loop::TimerKey;
use crate::runtime::members::Drain;

/// Whom to call once a send is written or lost: a function and two words of its owner's. No memory of its own, so that a send
/// makes none.
#[derive(Clone, Copy)]
pub struct Flush {
    pub run: fn([usize; 2], &Outcome),
    pub words: [usize; 2],
}

/// Why a connection ends that is drained before it was set up.
pub(in crate::runtime) const DRAINED_BEFORE_SETUP: &str =
    "the connection was not set up yet when its runtime or listener was drained";

/// `S` is a stream.
pub(in crate::runtime) struct Shared<S> {
    pub rpc: rpc::Connection<Arc<S>, Flush>,
    pub tally: Tally,
    life: Life,
    reported: Reported,
    cut: Option<Cut>,
    attention: Attention,
    gate: Gate,
    /// A send on the connection itself met the outbound limit.
    refused: bool,
    /// It ends when its last stream does.
    drain: Option<Drain>,
    /// Threads that wait for something other than messages.
    waiters: usize,
    timers: Option<Box<StreamTimers<S>>>,
    noted: Option<Box<Noted<S>>>,
}

/// What has been reported to the owner of the connection.
enum Reported {
    Nothing,
    /// Whether it was set up.
    Setup(Outcome),
    /// And that it has ended.
    End(Outcome),
}

/// Why what is left is not written.
enum Cut {
    Aborted,
    /// The library has chosen it to make room for others.
    Evicted(Error),
}

/// Whether the driver is going to look at the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attention {
    /// Not unless it is asked.
    Absent,
    /// It will, without being asked again, and then writes what is queued.
    Coming,
    /// And there is more for it than the outgoing queue since it last looked.
    News,
}

/// What keeps the driver from reading.
#[derive(Default)]
struct Gate {
    closed_by_application: bool,
    /// Below zero while an inbox has eased of which it is still to be noted that it was full.
    full_inboxes: isize,
    failure: WriteFailure,
}

/// Once writing has failed nothing may keep the driver from reading: what came before the peer's end is delivered.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum WriteFailure {
    #[default]
    None,
    Failed,
    /// More has come since than an inbox that nobody reads can keep.
    Overrun,
}

/// Streams that are noted for something: most connections never have any.
struct Noted<S> {
    /// Their sends met the outbound limit, and they are called once there is room.
    refused: Vec<Arc<S>>,
    /// Threads wait to read from them, each once per thread.
    readers: Vec<Arc<S>>,
    /// They ended with messages that nobody had read, and that may still be read.
    unread: Vec<Weak<S>>,
    /// They were accepted later, and messages wait that came before.
    ripe: VecDeque<Arc<S>>,
}

impl<S> Default for Noted<S> {
    fn default() -> Self {
        Noted { refused: Vec::new(), readers: Vec::new(), unread: Vec::new(), ripe: VecDeque::new() }
    }
}

/// Deadlines of streams, on their way to the loop's timers.
pub(in crate::runtime) struct StreamTimers<S> {
    /// Of streams that were activated.
    pub new: Vec<(Arc<S>, Instant)>,
    /// Of streams that have ended.
    pub ended: Vec<TimerKey>,
}

impl<S> Default for StreamTimers<S> {
    fn default() -> Self {
        StreamTimers { new: Vec::new(), ended: Vec::new() }
    }
}

/// What was open when a connection ended.
pub(in crate::runtime) struct Remains<S> {
    pub closing: Option<Closing>,
    pub rpc: rpc::Ended<Arc<S>, Flush>,
    /// Streams hold their connection: kept, these would keep it for ever. To be dropped without the lock.
    _kept: (Option<Box<StreamTimers<S>>>, Option<Noted<S>>),
}

/// What the driver has to know of the other threads' side after a round, from one look.
pub(in crate::runtime) struct Look<S> {
    pub phase: Phase,
    /// It is closing: whether it is still to be written what is left, and the peer to be waited for.
    pub closing: Option<ClosingLook>,
    pub is_paused: bool,
    pub unwritten: usize,
    /// Memory held by open streams.
    pub held_by_streams: usize,
    pub is_handshake_done: bool,
    pub drain_until: Option<Instant>,
    pub timers: Option<Box<StreamTimers<S>>>,
    /// The driver has to look again, from the start.
    pub has_news: bool,
    /// Messages may be delivered that came before their streams were accepted.
    pub has_ripe: bool,
}

#[derive(Clone, Copy)]
pub(in crate::runtime) struct ClosingLook {
    pub at_once: bool,
    pub owes_linger: bool,
}

impl<S> Shared<S> {
    pub fn new(rpc: rpc::Connection<Arc<S>, Flush>) -> Shared<S> {
        Shared {
            rpc,
            tally: Tally::default(),
            life: Life::Connecting,
            reported: Reported::Nothing,
            cut: None,
            attention: Attention::Absent,
            gate: Gate::default(),
            refused: false,
            drain: None,
            waiters: 0,
            timers: None,
            noted: None,
        }
    }

    // The life.

    pub fn life(&self) -> &Life {
        &self.life
    }

    pub fn phase(&self) -> Phase {
        self.life.phase()
    }

    pub fn is_alive(&self) -> bool {
        self.life.is_alive()
    }

    /// Closes it, if it is neither closing nor has ended: nothing is accepted or delivered from now on. Whether it was not.
    pub fn close(&mut self, reason: Outcome, by_this_side: bool) -> bool {
        let Some(alive) = self.life.alive() else { return false };
        alive.close(reason, by_this_side);
        self.rpc.close_sending();
        true
    }

    /// The application gives the reason for an end that a refused CONNECT has begun, and that has not been reported yet.
    pub fn give_reason(&mut self, reason: Outcome) {
        if matches!(self.reported, Reported::Setup(Ok(()))) {
            self.life.give_reason(reason);
        }
    }

    pub fn check_ready(&self) -> Result<(), Error> {
        self.life.check_open()
    }

    pub fn announce(&mut self) {
        self.life.announce();
    }

    pub fn accept(&mut self) -> Result<(), Error> {
        let was_deferred = self.life == Life::Deferred;
        self.life.accept()?;
        if was_deferred {
            self.reported = Reported::Setup(Ok(()));
        }
        if let Some(Cut::Evicted(error)) = &self.cut {
            let reason = Err(error.clone());
            self.close(reason, false);
        }
        Ok(())
    }

    /// The application decides later; only while it is announced.
    pub fn defer(&mut self) -> Result<(), Error> {
        self.life.defer()
    }

    pub fn is_deferred(&self) -> bool {
        self.life == Life::Deferred
    }

    /// The callback that announced it has returned, and it is not deferred; whether it was accepted.
    pub fn settle_announcement(&mut self, accepted: bool) {
        self.life.withdraw();
        self.reported = if accepted {
            Reported::Setup(Ok(()))
        } else {
            self.life.end();
            Reported::End(Err(Error::Cancelled))
        };
    }

    /// A client's connection is usable; false if it was closed meanwhile.
    pub fn open(&mut self) -> bool {
        let is_open = self.life.open();
        if is_open {
            self.reported = Reported::Setup(Ok(()));
        }
        is_open
    }

    /// It has ended; nothing if it had before.
    pub fn end(&mut self) -> Option<Remains<S>> {
        let closing = self.life.end()?;
        Some(self.remains(closing))
    }

    /// It has ended without a word to anybody.
    pub fn fall_silent(&mut self) -> Remains<S> {
        self.life.fall_silent();
        self.remains(None)
    }

    fn remains(&mut self, closing: Option<Closing>) -> Remains<S> {
        let timers = self.timers.as_mut().map(|timers| {
            let new = std::mem::take(&mut timers.new);
            Box::new(StreamTimers { new, ended: Vec::new() })
        });
        let noted = self.noted.as_mut().map(|noted| {
            let (refused, ripe) = (std::mem::take(&mut noted.refused), std::mem::take(&mut noted.ripe));
            Noted { refused, ripe, ..Noted::default() }
        });
        Remains { closing, rpc: self.rpc.end(), _kept: (timers, noted) }
    }

    /// It is to end as soon as nothing is open on it: what a drain asks for. Whether it begins to with that; then the driver
    /// has to look at it from the start, as at one that is closed: what has come and was not read is dropped.
    fn close_if_drained(&mut self) -> bool {
        if self.drain.is_none() || self.rpc.open_streams() > 0 {
            return false;
        }
        match self.phase() {
            Phase::Connecting => self.close(Err(Error::Draining(DRAINED_BEFORE_SETUP)), false),
            Phase::Open => self.close(Ok(()), true),
            Phase::Closing | Phase::Closed => false,
        }
    }

    pub fn drain(&mut self, drain: Drain) {
        self.drain = Some(drain.and(self.drain));
    }

    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// What is left is not to be written.
    pub fn abort(&mut self) {
        self.cut.get_or_insert(Cut::Aborted);
    }

    /// It is to end to make room for others. The first such reason stays.
    pub fn evict(&mut self, error: &Error) {
        if self.life == Life::Open {
            self.close(Err(error.clone()), false);
        }
        // Before that, and after, whoever sets the connection up, or ends it, looks at this.
        if self.eviction().is_none() {
            self.cut = Some(Cut::Evicted(error.clone()));
        }
    }

    pub fn eviction(&self) -> Option<&Error> {
        match &self.cut {
            Some(Cut::Evicted(error)) => Some(error),
            Some(Cut::Aborted) | None => None,
        }
    }

    pub fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    // What its owner knows of it.

    pub fn note_failed_setup(&mut self, reason: Error) {
        self.reported = Reported::Setup(Err(reason));
    }

    pub fn note_reported_end(&mut self) {
        self.reported = match std::mem::replace(&mut self.reported, Reported::Nothing) {
            Reported::Nothing => Reported::End(Ok(())),
            Reported::Setup(outcome) | Reported::End(outcome) => Reported::End(outcome),
        };
    }

    pub fn reported_setup(&self) -> Option<&Outcome> {
        match &self.reported {
            Reported::Nothing => None,
            Reported::Setup(outcome) | Reported::End(outcome) => Some(outcome),
        }
    }

    pub fn is_end_reported(&self) -> bool {
        matches!(self.reported, Reported::End(_))
    }

    // The driver's visits.

    /// There is something to write; true if the driver has to be asked for a visit.
    #[must_use]
    pub fn ask_to_write(&mut self) -> bool {
        let is_absent = self.attention == Attention::Absent;
        if is_absent {
            self.attention = Attention::Coming;
        }
        is_absent
    }

    /// Something other than the queue has changed; true if the driver has to be asked for a visit.
    #[must_use]
    pub fn ask_to_look(&mut self) -> bool {
        std::mem::replace(&mut self.attention, Attention::News) == Attention::Absent
    }

    /// A setup has come that was asked for: whoever changes something from now on has to ask again.
    pub fn begin_setup_visit(&mut self) {
        self.attention = Attention::Absent;
    }

    /// The driver has come: until it leaves nobody need ask for it.
    pub fn begin_turn(&mut self) {
        self.attention = Attention::Coming;
        self.tally.turns += 1;
    }

    /// The driver looks at everything after a round.
    pub fn look(&mut self) -> Look<S> {
        let is_drained = self.close_if_drained();
        let has_news = is_drained || self.attention == Attention::News;
        self.attention = Attention::Coming;
        let closing = match &self.life {
            Life::Closing(closing) if !is_drained => Some(ClosingLook {
                at_once: self.cut.is_some() || !closing.was_open,
                owes_linger: self.rpc.owes_linger(),
            }),
            _ => None,
        };
        Look {
            phase: self.phase(),
            closing,
            is_paused: self.is_reading_paused(),
            unwritten: self.rpc.outbound_len(),
            held_by_streams: self.rpc.held_by_streams(),
            is_handshake_done: self.rpc.is_handshake_done(),
            drain_until: self.drain.and_then(|drain| drain.until),
            timers: self.timers.take(),
            has_news,
            has_ripe: self.first_ripe().is_some(),
        }
    }

    /// The driver leaves: whoever wants something asks for it.
    pub fn end_turn(&mut self) {
        self.attention = Attention::Absent;
        self.rpc.rest();
    }

    // Reading.

    pub fn pause_reading(&mut self) {
        self.gate.closed_by_application = self.gate.failure == WriteFailure::None;
    }

    pub fn resume_reading(&mut self) {
        self.gate.closed_by_application = false;
    }

    pub fn note_full_inbox(&mut self) {
        self.gate.full_inboxes += 1;
    }

    /// Whether nothing else keeps the driver from reading now.
    pub fn note_eased_inbox(&mut self) -> bool {
        self.gate.full_inboxes -= 1;
        self.gate.full_inboxes == 0 && self.phase() != Phase::Closed
    }

    pub fn note_failed_write(&mut self) {
        self.gate.failure = WriteFailure::Failed;
        self.gate.closed_by_application = false;
    }

    pub fn note_overrun(&mut self) {
        if self.gate.failure == WriteFailure::Failed {
            self.gate.failure = WriteFailure::Overrun;
        }
    }

    pub fn is_overrun(&self) -> bool {
        self.gate.failure == WriteFailure::Overrun
    }

    /// Nothing is to be read from the peer now.
    pub fn is_reading_paused(&self) -> bool {
        self.gate.closed_by_application
            || (self.gate.full_inboxes > 0 || self.rpc.must_not_read()) && self.gate.failure == WriteFailure::None
    }

    // The outbound limit.

    /// Enough of the outbound queue is written for those who were refused.
    pub fn has_room(&self) -> bool {
        self.rpc.outbound_len() <= self.rpc.outbound_limit() / 2
    }

    pub fn note_refused(&mut self) {
        self.refused = true;
    }

    pub fn note_refused_stream(&mut self, stream: Arc<S>) {
        self.noted_mut().refused.push(stream);
    }

    /// Those who were refused, if there is room again.
    pub fn take_refused(&mut self) -> Option<Vec<Arc<S>>> {
        let any_stream = self.noted.as_ref().is_some_and(|noted| !noted.refused.is_empty());
        let is_due = (self.refused || any_stream) && self.has_room();
        is_due.then(|| {
            self.refused = false;
            self.noted.as_mut().map(|noted| std::mem::take(&mut noted.refused)).unwrap_or_default()
        })
    }

    // Streams and those who wait.

    fn noted_mut(&mut self) -> &mut Noted<S> {
        self.noted.get_or_insert_default()
    }

    pub fn note_ripe(&mut self, stream: Arc<S>) {
        self.noted_mut().ripe.push_back(stream);
    }

    fn first_ripe(&self) -> Option<&Arc<S>> {
        let first = self.noted.as_ref()?.ripe.front()?;
        (!self.gate.closed_by_application && self.phase() == Phase::Open).then_some(first)
    }

    /// The next stream whose messages that came before it was accepted may be delivered.
    pub fn next_ripe(&self) -> Option<Arc<S>> {
        self.first_ripe().cloned()
    }

    /// All of them are delivered.
    pub fn drop_ripe(&mut self) {
        self.noted_mut().ripe.pop_front();
    }

    pub fn note_stream_deadline(&mut self, stream: Arc<S>, at: Instant) {
        self.timers.get_or_insert_default().new.push((stream, at));
    }

    pub fn note_ended_timer(&mut self, key: TimerKey) {
        self.timers.get_or_insert_default().ended.push(key);
    }

    pub fn take_ended_timers(&mut self) -> Vec<TimerKey> {
        self.timers.as_mut().map(|timers| std::mem::take(&mut timers.ended)).unwrap_or_default()
    }

    pub fn begin_wait(&mut self) {
        self.waiters += 1;
    }

    pub fn end_wait(&mut self) {
        self.waiters -= 1;
    }

    pub fn has_waiters(&self) -> bool {
        self.waiters > 0
    }

    pub fn begin_reading(&mut self, stream: Arc<S>) {
        self.noted_mut().readers.push(stream);
    }

    /// What was kept for the reader, to be dropped without the lock.
    pub fn end_reading(&mut self, stream: &Arc<S>) -> Option<Arc<S>> {
        let readers = &mut self.noted.as_mut()?.readers;
        let at = readers.iter().position(|reader| Arc::ptr_eq(reader, stream))?;
        Some(readers.swap_remove(at))
    }

    pub fn readers(&self) -> Vec<Arc<S>> {
        self.noted.as_ref().map(|noted| noted.readers.clone()).unwrap_or_default()
    }

    pub fn note_unread_stream(&mut self, stream: &Arc<S>) {
        let unread = &mut self.noted_mut().unread;
        if unread.len() == unread.capacity() {
            // Those that were read and released meanwhile go; the room doubles if most were not.
            unread.retain(|stream| stream.strong_count() > 0);
            unread.reserve(unread.len() + 1);
        }
        unread.push(Arc::downgrade(stream));
    }

    pub fn take_unread_streams(&mut self) -> Vec<Weak<S>> {
        self.noted.as_mut().map(|noted| std::mem::take(&mut noted.unread)).unwrap_or_default()
    }
}
