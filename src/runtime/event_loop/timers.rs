use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use mio::Token;

/// Something small with a deadline of its own and no place, which may be gone when the deadline comes.
pub trait Timed: Send + Sync {
    fn expire(self: Arc<Self>);
}

/// All deadlines of one event loop, the next first.
#[derive(Default)]
pub struct Timers {
    deadlines: BTreeMap<TimerKey, Due>,
    last_number: u64,
}

/// Whose time is over.
pub enum Due {
    /// A resident.
    Place(Token),
    /// It may be gone.
    Object(Weak<dyn Timed>),
}

/// Names one deadline, to cancel it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerKey {
    at: Instant,
    /// Tells deadlines of the same instant apart.
    number: u64,
}

impl Timers {
    pub fn set(&mut self, at: Instant, token: Token) -> TimerKey {
        self.insert(at, Due::Place(token))
    }

    pub fn set_for(&mut self, at: Instant, object: Weak<dyn Timed>) -> TimerKey {
        self.insert(at, Due::Object(object))
    }

    fn insert(&mut self, at: Instant, due: Due) -> TimerKey {
        self.last_number += 1;
        let key = TimerKey { at, number: self.last_number };
        self.deadlines.insert(key, due);
        key
    }

    pub fn cancel(&mut self, key: TimerKey) {
        self.deadlines.remove(&key);
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first_key_value().map(|(key, _)| key.at)
    }

    /// Takes the next deadline that has passed.
    pub fn take_expired(&mut self, now: Instant) -> Option<(TimerKey, Due)> {
        let first = self.deadlines.first_entry().filter(|first| first.key().at <= now)?;
        Some(first.remove_entry())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn deadlines_come_in_order_and_not_early() {
        let start = Instant::now();
        let mut timers = Timers::default();
        let late = timers.set(start + Duration::from_secs(2), Token(2));
        timers.set(start + Duration::from_secs(1), Token(1));
        let cancelled = timers.set(start, Token(9));
        timers.cancel(cancelled);
        assert_eq!(timers.next_deadline(), Some(start + Duration::from_secs(1)));
        assert!(timers.take_expired(start).is_none());
        let (_, first) = timers.take_expired(start + Duration::from_secs(1)).expect("the first is over");
        assert!(matches!(first, Due::Place(Token(1))));
        let (key, _) = timers.take_expired(start + Duration::from_secs(5)).expect("the second is over");
        assert_eq!(key, late);
        assert_eq!(timers.next_deadline(), None);
    }
}
