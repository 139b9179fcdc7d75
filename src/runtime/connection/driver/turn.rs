use std::time::{Duration, Instant};

/// Bytes of the wire that one connection may read, and write, before the others get their turn.
pub(in crate::runtime) const TURN_LEN: usize = 256 * 1024;
/// How long it may take, callbacks included.
const TURN_TIME: Duration = Duration::from_millis(1);
/// The clock is looked at after so many bytes of messages, or so many messages or other callbacks, each of which counts as
/// `CALL_LEN` bytes more than it has.
const BYTES_PER_LOOK: usize = 16 * 1024;
const CALLS_PER_LOOK: usize = 16;
const CALL_LEN: usize = BYTES_PER_LOOK / CALLS_PER_LOOK;

/// What is left of a connection's turn on its loop.
pub(in crate::runtime) struct Turn {
    /// Bytes that may still be read, and written.
    pub read: usize,
    pub write: usize,
    /// Bytes of messages that were read and are not counted yet.
    pub received: usize,
    /// When the clock was last looked at.
    pub now: Instant,
    begun: Instant,
    /// Bytes until the clock is looked at again.
    until_look: usize,
    is_over: bool,
}

impl Turn {
    pub fn begin(now: Instant) -> Turn {
        Turn {
            read: TURN_LEN,
            write: TURN_LEN,
            received: 0,
            now,
            begun: now,
            until_look: BYTES_PER_LOOK,
            is_over: false,
        }
    }

    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// The time is over: what is left waits for the next turn.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Looks at the clock.
    #[inline(never)]
    pub fn look(&mut self) {
        self.look_at(Instant::now());
    }

    /// The same for somebody who has just looked.
    pub fn look_at(&mut self, now: Instant) {
        (self.now, self.until_look) = (now, BYTES_PER_LOOK);
        if now.saturating_duration_since(self.begun) >= TURN_TIME {
            self.is_over = true;
            self.read = 0;
        }
    }

    /// A callback has been called, for a message of so many bytes or for something else. Whether the turn is over.
    #[inline]
    pub fn note_call(&mut self, len: usize) -> bool {
        self.until_look = self.until_look.saturating_sub(CALL_LEN + len);
        if self.until_look == 0 {
            self.look();
            return self.is_over;
        }
        false
    }
}
