use std::time::{Duration, Instant};

/// Bytes of the wire that one connection may read, and write, before the others get their turn.
pub(in crate::runtime) const TURN_LEN: usize = 256 * 1024;
/// How long it may take, callbacks included.
const TURN_TIME: Duration = Duration::from_millis(1);
/// The clock is looked at after so many messages or other callbacks, or so many bytes of messages.
const CALLS_PER_LOOK: usize = 16;
const BYTES_PER_LOOK: usize = 16 * 1024;

/// What is left of a connection's turn on its loop.
pub(in crate::runtime) struct Turn {
    /// Bytes that may still be read, and written.
    pub read: usize,
    pub write: usize,
    /// When the clock was last looked at.
    pub now: Instant,
    begun: Instant,
    calls: usize,
    bytes: usize,
    is_over: bool,
}

impl Turn {
    pub fn begin(now: Instant) -> Turn {
        Turn { read: TURN_LEN, write: TURN_LEN, now, begun: now, calls: 0, bytes: 0, is_over: false }
    }

    /// The time is over: what is left waits for the next turn.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Looks at the clock.
    pub fn look(&mut self) {
        self.look_at(Instant::now());
    }

    /// The same for somebody who has just looked.
    pub fn look_at(&mut self, now: Instant) {
        (self.now, self.calls, self.bytes) = (now, 0, 0);
        if now.saturating_duration_since(self.begun) >= TURN_TIME {
            self.is_over = true;
            self.read = 0;
        }
    }

    /// A callback has been called, for a message of so many bytes or for something else. Whether the turn is over.
    #[inline]
    pub fn note_call(&mut self, len: usize) -> bool {
        self.calls += 1;
        self.bytes += len;
        if self.calls >= CALLS_PER_LOOK || self.bytes >= BYTES_PER_LOOK {
            self.look();
        }
        self.is_over
    }
}
