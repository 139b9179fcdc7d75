use std::time::{Duration, Instant};

/// How often something may happen: `burst` times at once, and `per_second` in the long run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Both at least 1.
    pub per_second: u32,
    pub burst: u32,
}

/// A token bucket, kept as the time at which it will be full again.
#[derive(Debug, Default)]
pub struct RateLimit {
    full_at: Option<Instant>,
}

impl RateLimit {
    /// Takes one token if there is one.
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let refill = Duration::from_secs(1) / rate.per_second.max(1);
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + refill;
        let allowed = full_at - now <= refill * rate.burst;
        if allowed {
            self.full_at = Some(full_at);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };

    #[test]
    fn a_burst_is_taken_at_once_and_the_next_when_a_token_has_come_back() {
        let start = Instant::now();
        let mut limit = RateLimit::default();
        let taken = |limit: &mut RateLimit, at| (0..10).filter(|_| limit.take(RATE, start + at)).count();
        assert_eq!(taken(&mut limit, Duration::ZERO), 3);
        assert_eq!(taken(&mut limit, Duration::from_millis(99)), 0);
        assert_eq!(taken(&mut limit, Duration::from_millis(100)), 1);
        assert_eq!(taken(&mut limit, Duration::from_millis(300)), 2);
    }

    #[test]
    fn a_long_rest_does_not_save_more_than_a_burst() {
        let start = Instant::now();
        let mut limit = RateLimit::default();
        assert!(limit.take(RATE, start));
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..10).filter(|_| limit.take(RATE, later)).count(), 3);
    }
}
