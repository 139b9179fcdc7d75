use std::collections::BTreeMap;
use std::time::Instant;

use mio::Token;

/// All deadlines of one event loop, the next first.
#[derive(Default)]
pub struct Timers {
    deadlines: BTreeMap<TimerKey, Token>,
    last_number: u64,
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
        self.last_number += 1;
        let key = TimerKey { at, number: self.last_number };
        self.deadlines.insert(key, token);
        key
    }

    pub fn cancel(&mut self, key: TimerKey) {
        self.deadlines.remove(&key);
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first_key_value().map(|(key, _)| key.at)
    }

    /// Takes the next deadline that is over.
    pub fn take_expired(&mut self, now: Instant) -> Option<(TimerKey, Token)> {
        let (key, token) = self.deadlines.first_key_value().map(|(key, token)| (*key, *token))?;
        if key.at > now {
            return None;
        }
        self.deadlines.remove(&key);
        Some((key, token))
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
        assert_eq!(timers.take_expired(start), None);
        assert_eq!(timers.take_expired(start + Duration::from_secs(1)).map(|(_, token)| token), Some(Token(1)));
        assert_eq!(timers.take_expired(start + Duration::from_secs(5)), Some((late, Token(2))));
        assert_eq!(timers.next_deadline(), None);
    }
}
