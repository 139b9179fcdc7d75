use std::time::{Duration, Instant};

/// How long it is, callbacks included.
const TIME: Duration = Duration::from_millis(1);
/// The clock is looked at after so many bytes of messages, or so many calls, each of which counts as `CALL_LEN` bytes more than
/// it has.
const BYTES_PER_LOOK: usize = 16 * 1024;
const CALLS_PER_LOOK: usize = 16;
const CALL_LEN: usize = BYTES_PER_LOOK / CALLS_PER_LOOK;

/// The share of a loop's time that one connection, or one kind of work, gets before the others have their turn.
pub struct Share {
    begun: Instant,
    /// When the clock was last looked at.
    now: Instant,
    /// Bytes until it is looked at again.
    until_look: usize,
    is_used: bool,
}

impl Share {
    pub fn begin(now: Instant) -> Share {
        Share { begun: now, now, until_look: BYTES_PER_LOOK, is_used: false }
    }

    pub fn begun(&self) -> Instant {
        self.begun
    }

    pub fn now(&self) -> Instant {
        self.now
    }

    /// What is left waits for the next turn.
    pub fn is_used(&self) -> bool {
        self.is_used
    }

    /// Looks at the clock.
    #[inline(never)]
    pub fn look(&mut self) -> bool {
        self.look_at(Instant::now())
    }

    /// The same for somebody who has just looked. Whether the share is used.
    pub fn look_at(&mut self, now: Instant) -> bool {
        (self.now, self.until_look) = (now, BYTES_PER_LOOK);
        self.is_used |= now.saturating_duration_since(self.begun) >= TIME;
        self.is_used
    }

    /// A call has been made, for a message of so many bytes or for something else. Whether the share is used.
    #[inline]
    pub fn note_call(&mut self, len: usize) -> bool {
        self.until_look = self.until_look.saturating_sub(CALL_LEN + len);
        self.until_look == 0 && self.look()
    }
}
