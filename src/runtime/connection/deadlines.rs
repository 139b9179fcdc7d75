use std::time::{Duration, Instant};

use mio::Token;

use crate::runtime::error::TimeLimit;
use crate::runtime::event_loop::{TimerKey, Timers};
use crate::runtime::settings::Times;

/// How long a server that refused, or a side with unread input, waits for the peer's end before it closes.
pub const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a connection may be waiting for, each with its own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Deadline {
    /// CONNECT and its answer.
    Handshake,
    /// The peer takes nothing of what is to be written.
    Write,
    /// A message has begun and has not ended.
    Message,
    Idle,
    /// Not a failure: a PING is due.
    Ping,
    /// The answer to our PING.
    PingResponse,
    /// A closing connection's last bytes, or the peer's end.
    Linger,
    /// The peer has ended its side and we wait for our streams.
    HalfOpen,
    /// What a drained connection still has open.
    Drain,
    // The rest are for the setup alone: an open connection has no room for them.
    /// Not a failure: the dialer wants to try the next address.
    NextAttempt,
    Resolve,
    Connect,
    Tls,
}

impl Deadline {
    /// How long it is, if that is an option.
    pub fn time(self, times: &Times) -> Option<Duration> {
        match self {
            Deadline::Resolve => times.resolve,
            Deadline::Connect => times.connect,
            Deadline::Tls => times.tls,
            Deadline::Handshake => times.handshake,
            Deadline::Write => times.write,
            Deadline::Message => times.message,
            Deadline::Idle => times.idle,
            Deadline::Ping => times.ping,
            Deadline::PingResponse => times.ping_response,
            Deadline::HalfOpen => times.half_open,
            Deadline::Linger => times.linger,
            Deadline::NextAttempt | Deadline::Drain => None,
        }
    }

    /// The limit that has been passed with it, if that is a failure of its own.
    pub fn limit(self) -> Option<TimeLimit> {
        match self {
            Deadline::Resolve => Some(TimeLimit::Resolve),
            Deadline::Connect => Some(TimeLimit::Connect),
            Deadline::Tls => Some(TimeLimit::Tls),
            Deadline::Handshake => Some(TimeLimit::Handshake),
            Deadline::Write => Some(TimeLimit::Write),
            Deadline::Message => Some(TimeLimit::Message),
            Deadline::Idle => Some(TimeLimit::Idle),
            Deadline::PingResponse => Some(TimeLimit::PingResponse),
            Deadline::NextAttempt | Deadline::Ping | Deadline::Linger | Deadline::HalfOpen | Deadline::Drain => None,
        }
    }
}

/// How many of them a connection has room for while it is set up, and afterwards.
pub const ALL: usize = Deadline::Tls as usize + 1;
pub const AFTER_SETUP: usize = Deadline::Drain as usize + 1;

/// The first `N` deadlines of one connection, of which the loop's timers know only the next: moving one on, as every message
/// does, costs a store.
pub struct Deadlines<const N: usize> {
    times: [Option<Instant>; N],
    armed: Option<(Instant, TimerKey)>,
}

impl<const N: usize> Default for Deadlines<N> {
    fn default() -> Self {
        Deadlines { times: [None; N], armed: None }
    }
}

impl<const N: usize> Deadlines<N> {
    pub fn set(&mut self, deadline: Deadline, at: Instant) {
        self.times[deadline as usize] = Some(at);
    }

    pub fn clear(&mut self, deadline: Deadline) {
        self.times[deadline as usize] = None;
    }

    pub fn is_set(&self, deadline: Deadline) -> bool {
        self.times[deadline as usize].is_some()
    }

    /// Sees to it that the loop looks here in time. A timer that is early is left: it is cheaper to look once too often.
    pub fn arm(&mut self, timers: &mut Timers, token: Token) {
        let next = self.times.iter().flatten().min().copied();
        match (next, self.armed) {
            (None, _) => {}
            (Some(next), Some((at, _))) if at <= next => {}
            (Some(next), armed) => {
                if let Some((_, key)) = armed {
                    timers.cancel(key);
                }
                self.armed = Some((next, timers.set(next, token)));
            }
        }
    }

    /// The timer fired: whether it is ours.
    pub fn fired(&mut self, key: TimerKey) -> bool {
        let ours = self.armed.is_some_and(|(_, armed)| armed == key);
        if ours {
            self.armed = None;
        }
        ours
    }

    /// Whether one of them has passed.
    pub fn is_any_over(&self, now: Instant) -> bool {
        self.times.iter().flatten().any(|at| *at <= now)
    }

    /// Takes one deadline that has passed.
    pub fn take_expired(&mut self, now: Instant) -> Option<Deadline> {
        use Deadline::*;
        const IN_ORDER: [Deadline; ALL] = [
            Handshake,
            Write,
            Message,
            Idle,
            Ping,
            PingResponse,
            Linger,
            HalfOpen,
            Drain,
            NextAttempt,
            Resolve,
            Connect,
            Tls,
        ];
        let over = |deadline: &Deadline| self.times[*deadline as usize].is_some_and(|at| at <= now);
        let expired = IN_ORDER.into_iter().take(N).find(over)?;
        self.clear(expired);
        Some(expired)
    }

    /// Nothing is waited for any more.
    pub fn cancel(&mut self, timers: &mut Timers) {
        self.times = [None; N];
        if let Some((_, key)) = self.armed.take() {
            timers.cancel(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_is_asked_for_the_next_deadline_only() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        let mut deadlines = Deadlines::<AFTER_SETUP>::default();
        deadlines.set(Deadline::Idle, at(10));
        deadlines.set(Deadline::Write, at(5));
        deadlines.arm(&mut timers, Token(1));
        assert_eq!(timers.next_deadline(), Some(at(5)));

        // Moved on: the early timer stays, and finds nothing.
        deadlines.set(Deadline::Write, at(20));
        deadlines.arm(&mut timers, Token(1));
        assert_eq!(timers.next_deadline(), Some(at(5)));
        let (key, _) = timers.take_expired(at(6)).expect("the early timer");
        assert!(deadlines.fired(key));
        assert_eq!(deadlines.take_expired(at(6)), None);
        deadlines.arm(&mut timers, Token(1));
        assert_eq!(timers.next_deadline(), Some(at(10)));

        assert_eq!(deadlines.take_expired(at(30)), Some(Deadline::Write));
        assert_eq!(deadlines.take_expired(at(30)), Some(Deadline::Idle));
        assert_eq!(deadlines.take_expired(at(30)), None);
        deadlines.cancel(&mut timers);
        assert_eq!(timers.next_deadline(), None);
    }
}
