//! What a listener's connections may have together: how many there are, how many of them are in their handshake, and how
//! many bytes they hold. Lives as long as the last of them, also when the listener is gone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use super::error::Error;
use super::event_loop::lock;
use super::members::{Drain, Member, Members};
use super::statistics::{Events, Figures, failure_counter};

/// A connection reports what it holds in steps of so many bytes, so that small messages do not touch what all share.
const STEP: usize = 16 * 1024;

/// As long as every handshake that may be pending is younger than this, no more connections are accepted: many clients that
/// come at once are not to push each other out.
const GRACE: Duration = Duration::from_millis(100);

/// The limits of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// From accept to end.
    pub max_connections: usize,
    /// Accepted, and CONNECT not answered yet.
    pub max_pending_handshakes: usize,
    /// Unfinished messages, unwritten ones, and those that nobody has read from their streams.
    pub max_held_bytes: usize,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        ListenerLimits { max_connections: 1024, max_pending_handshakes: 128, max_held_bytes: 256 * 1024 * 1024 }
    }
}

/// When the listener may accept one more connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayAccept {
    Now,
    /// Or when it is woken, if that is before.
    At(Instant),
    WhenWoken,
}

/// The listener, to be woken when there is room again.
pub trait Woken: Send + Sync {
    fn wake(self: Arc<Self>);
}

/// A connection that may be one too many, or hold too much.
pub trait Evicted: Send + Sync {
    /// Ends it at once.
    fn evict(self: Arc<Self>, error: Error);
}

pub struct Admission {
    limits: ListenerLimits,
    /// Set once it exists.
    listener: OnceLock<Weak<dyn Woken>>,
    /// The connections that it has accepted and that have not ended.
    connections: Members,
    events: Events,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Seats that are taken.
    taken: usize,
    last_number: u64,
    /// The listener does not accept until it is woken.
    asleep: bool,
    /// As far as it has looked, there are as many connections as may be.
    full: bool,
    /// Those in their handshake and when they began it, the oldest first.
    pending: BTreeMap<u64, (Instant, Weak<dyn Evicted>)>,
    /// When the last one was ended for another.
    last_end_of_handshake: Option<Instant>,
    /// Those that hold something, by what they have reported.
    holders: BTreeMap<(usize, u64), Weak<dyn Evicted>>,
    /// The sum of that.
    held: usize,
}

/// One connection's place among those of its listener.
pub struct Seat {
    admission: Arc<Admission>,
    number: u64,
    /// Whose it is, once it is somebody's.
    connection: OnceLock<Weak<dyn Evicted>>,
    /// Bytes that the driver held after its last turn that was worth a report.
    in_driver: AtomicUsize,
    /// Bytes of messages that wait in inboxes.
    unread: AtomicUsize,
    /// This one's part of `State::held`. It changes under the lock of that.
    reported: AtomicUsize,
    /// Set under the same lock.
    left: AtomicBool,
}

impl State {
    /// When the oldest handshake may be ended for one more; nothing if there is room for that. Those that began together do
    /// not end together either: most of them would have finished a little later.
    fn next_end_of_handshake(&self, limit: usize) -> Option<Instant> {
        let (_, (began, _)) = self.pending.first_key_value().filter(|_| self.pending.len() >= limit)?;
        let pace = GRACE / u32::try_from(limit).unwrap_or(u32::MAX);
        let after_the_last = self.last_end_of_handshake.map(|last| last + pace);
        after_the_last.max(Some(*began + GRACE))
    }
}

impl Admission {
    /// `above` are the events of the runtime.
    pub fn new(limits: ListenerLimits, above: &Arc<Events>) -> Arc<Admission> {
        let events = Events::below(above.clone());
        let connections = Members::default();
        Arc::new(Admission { limits, listener: OnceLock::new(), connections, events, state: Mutex::default() })
    }

    /// Names the listener that is to be woken.
    pub fn open<T: Woken + 'static>(&self, listener: &Arc<T>) {
        let listener: Weak<T> = Arc::downgrade(listener);
        let _ = self.listener.set(listener);
    }

    pub fn connections(&self) -> &Members {
        &self.connections
    }

    fn wake_listener(&self) {
        if let Some(listener) = self.listener.get().and_then(Weak::upgrade) {
            listener.wake();
        }
    }

    /// What happened on the listener that is no connection's alone.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Whether the listener may accept one. If not, it is woken when a connection ends or has done its handshake.
    pub fn may_accept(&self, now: Instant) -> MayAccept {
        let mut state = lock(&self.state);
        let full = state.taken >= self.limits.max_connections;
        if full && !state.full {
            self.events.note(|figures| &mut figures.accept_pauses);
        }
        state.full = full;
        let answer = if full {
            MayAccept::WhenWoken
        } else {
            let at = state.next_end_of_handshake(self.limits.max_pending_handshakes);
            at.filter(|at| *at > now).map_or(MayAccept::Now, MayAccept::At)
        };
        state.asleep = answer != MayAccept::Now;
        answer
    }

    /// A place for one that was accepted. If the application has brought one meanwhile, it is one too many: a place that the
    /// listener kept, in case that somebody waits to be accepted, could not be had by the application.
    pub fn seat_of_accepted(self: &Arc<Self>) -> Seat {
        self.take_seat(&mut lock(&self.state))
    }

    /// A place for one that the application brings.
    pub fn seat(self: &Arc<Self>) -> Result<Seat, Error> {
        let mut state = lock(&self.state);
        let limit = self.limits.max_connections;
        if state.taken >= limit {
            self.events.note(|figures| &mut figures.adoptions_refused);
            return Err(Error::TooManyConnections { limit });
        }
        Ok(self.take_seat(&mut state))
    }

    fn take_seat(self: &Arc<Self>, state: &mut State) -> Seat {
        state.taken += 1;
        state.last_number += 1;
        Seat {
            admission: self.clone(),
            number: state.last_number,
            connection: OnceLock::new(),
            in_driver: AtomicUsize::new(0),
            unread: AtomicUsize::new(0),
            reported: AtomicUsize::new(0),
            left: AtomicBool::new(false),
        }
    }

    /// Counts a connection that failed.
    pub fn note_failure(&self, error: &Error) {
        if let Some(counter) = failure_counter(error) {
            self.events.note(counter);
        }
    }
}

impl Seat {
    /// Counts the connection in; returns what was asked of all before.
    pub fn join<T: Member + 'static>(&self, connection: &Arc<T>) -> Option<Drain> {
        self.admission.connections.join(connection)
    }

    /// Counts the connection out, which is over; `figures` are its last.
    pub fn note_over<T: Member>(&self, connection: &T, figures: &Figures) {
        if self.admission.connections.leave(connection, figures) {
            self.admission.wake_listener();
        }
        self.leave();
    }

    /// The seat is this connection's, which now begins its handshake. One too many of those ends the oldest.
    pub fn begin_handshake<T: Evicted + 'static>(&self, connection: &Arc<T>) {
        let connection: Weak<T> = Arc::downgrade(connection);
        let connection: Weak<dyn Evicted> = connection;
        let _ = self.connection.set(connection.clone());
        let limit = self.admission.limits.max_pending_handshakes;
        let oldest = {
            let mut state = lock(&self.admission.state);
            let now = Instant::now();
            state.pending.insert(self.number, (now, connection));
            let oldest = if state.pending.len() > limit { state.pending.pop_first() } else { None };
            if oldest.is_some() {
                state.last_end_of_handshake = Some(now);
            }
            oldest
        };
        if let Some(oldest) = oldest.and_then(|(_, (_, connection))| connection.upgrade()) {
            oldest.evict(Error::TooManyHandshakes { limit });
        }
    }

    /// CONNECT was answered.
    pub fn end_handshake(&self) {
        let wake = {
            let mut state = lock(&self.admission.state);
            state.pending.remove(&self.number);
            std::mem::take(&mut state.asleep)
        };
        if wake {
            self.admission.wake_listener();
        }
    }

    /// The connection is over, or there is none: what nobody has read of it yet is all that it holds. Does nothing the second
    /// time.
    pub fn leave(&self) {
        let wake = {
            let mut state = lock(&self.admission.state);
            if self.left.swap(true, Ordering::Relaxed) {
                return;
            }
            state.taken -= 1;
            state.pending.remove(&self.number);
            std::mem::take(&mut state.asleep)
        };
        self.in_driver.store(0, Ordering::Relaxed);
        if let Some(connection) = self.connection.get().filter(|connection| connection.strong_count() > 0) {
            self.report(connection);
        }
        if wake {
            self.admission.wake_listener();
        }
    }

    /// Reports what the connection holds now, if that is worth it.
    fn refresh(&self) {
        let (held, reported) = (self.held(), self.reported.load(Ordering::Relaxed));
        if (held.abs_diff(reported) >= STEP || (held == 0 && reported > 0))
            && let Some(connection) = self.connection.get()
        {
            self.report(connection);
        }
    }

    fn held(&self) -> usize {
        self.in_driver.load(Ordering::Relaxed) + self.unread.load(Ordering::Relaxed)
    }

    #[cold]
    fn report(&self, connection: &Weak<dyn Evicted>) {
        let limit = self.admission.limits.max_held_bytes;
        let mut too_much = Vec::new();
        {
            let mut state = lock(&self.admission.state);
            let before = self.reported.load(Ordering::Relaxed);
            let was_counted = state.holders.remove(&(before, self.number)).is_some();
            if before > 0 && !was_counted {
                // It was chosen for holding most: what it held is taken off already.
                return;
            }
            let held = self.held();
            self.reported.store(held, Ordering::Relaxed);
            state.held = state.held - before + held;
            if held > 0 {
                state.holders.insert((held, self.number), connection.clone());
            }
            while state.held > limit
                && let Some(((held, _), largest)) = state.holders.pop_last()
            {
                // At once, so that one excess does not end several.
                state.held -= held;
                too_much.push((held, largest));
            }
        }
        for (held, largest) in too_much {
            if let Some(largest) = largest.upgrade() {
                largest.evict(Error::TooManyHeldBytes { held, limit });
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
        let mut state = lock(&self.admission.state);
        let reported = *self.reported.get_mut();
        if state.holders.remove(&(reported, self.number)).is_some() {
            state.held -= reported;
        }
    }
}

impl Seat {
    /// What the driver holds after a turn: the unfinished message that comes in, those to be written, what TLS keeps, and
    /// open streams.
    #[inline]
    pub fn report_held(&self, in_driver: usize) {
        // So it is after most turns, and nothing has to be noted: what is there is too little to be reported.
        let held = in_driver + self.unread.load(Ordering::Relaxed);
        if held >= STEP || self.reported.load(Ordering::Relaxed) > 0 {
            self.in_driver.store(in_driver, Ordering::Relaxed);
            self.refresh();
        }
    }

    /// So many bytes more wait to be read from a stream; reported after the driver's turn.
    pub fn note_unread(&self, bytes: usize) {
        self.unread.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes of those have been read or dropped, on any thread.
    pub fn note_read(&self, bytes: usize) {
        self.unread.fetch_sub(bytes, Ordering::Relaxed);
        self.refresh();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Evicted for Nobody {
        fn evict(self: Arc<Self>, _: Error) {}
    }

    fn admission(max_connections: usize) -> Arc<Admission> {
        Admission::new(ListenerLimits { max_connections, ..ListenerLimits::default() }, &Arc::default())
    }

    /// One after another ends the oldest; all at once wait for each other, but not for long.
    #[test]
    fn who_begins_a_handshake_has_a_moment_for_it() {
        let limits = ListenerLimits { max_pending_handshakes: 2, ..ListenerLimits::default() };
        let admission = Admission::new(limits, &Arc::default());
        let began = Instant::now();
        let seats = [(); 2].map(|()| {
            let seat = admission.seat_of_accepted();
            lock(&admission.state).pending.insert(seat.number, (began, Weak::<Nobody>::new()));
            seat
        });
        assert_eq!(admission.may_accept(began), MayAccept::At(began + GRACE));
        assert!(lock(&admission.state).asleep);
        assert_eq!(admission.may_accept(began + GRACE), MayAccept::Now);
        assert_eq!(admission.may_accept(began), MayAccept::At(began + GRACE));
        seats[1].end_handshake();
        assert!(!lock(&admission.state).asleep);
        assert_eq!(admission.may_accept(began), MayAccept::Now);
    }

    #[test]
    fn a_seat_is_free_again_once() {
        let admission = admission(2);
        let (first, second) = (admission.seat().expect("one of two"), admission.seat().expect("two of two"));
        assert_eq!(admission.seat().err(), Some(Error::TooManyConnections { limit: 2 }));
        let now = Instant::now();
        assert_eq!(admission.may_accept(now), MayAccept::WhenWoken);
        first.leave();
        drop(first);
        assert_eq!(admission.may_accept(now), MayAccept::Now);
        let third = admission.seat_of_accepted();
        assert_eq!(admission.may_accept(now), MayAccept::WhenWoken);
        drop((second, third));
        assert_eq!(lock(&admission.state).taken, 0);
        let figures = admission.events().figures();
        assert_eq!((figures.accept_pauses, figures.adoptions_refused), (2, 1));
    }
}
