use std::time::Instant;

use crate::runtime::event_loop::Share;

/// Bytes of the wire that one connection may read, and write, before the others get their turn.
pub(in crate::runtime) const TURN_LEN: usize = 256 * 1024;

/// What is left of a connection's turn on its loop.
pub(in crate::runtime) struct Turn {
    /// Bytes that may still be read, and written.
    pub read: usize,
    pub write: usize,
    /// Bytes of messages that were read and are not counted yet.
    pub received: usize,
    share: Share,
}

impl Turn {
    pub fn begin(now: Instant) -> Turn {
        Turn { read: TURN_LEN, write: TURN_LEN, received: 0, share: Share::begin(now) }
    }

    pub fn begun(&self) -> Instant {
        self.share.begun()
    }

    /// When the clock was last looked at.
    pub fn now(&self) -> Instant {
        self.share.now()
    }

    /// The time is over: what is left waits for the next turn.
    pub fn is_over(&self) -> bool {
        self.share.is_used()
    }

    /// Looks at the clock.
    pub fn look(&mut self) {
        if self.share.look() {
            self.read = 0;
        }
    }

    /// The same for somebody who has just looked.
    pub fn look_at(&mut self, now: Instant) {
        if self.share.look_at(now) {
            self.read = 0;
        }
    }

    /// A callback has been called, for a message of so many bytes or for something else. Whether the turn is over.
    #[inline]
    pub fn note_call(&mut self, len: usize) -> bool {
        let is_over = self.share.note_call(len);
        if is_over {
            self.read = 0;
        }
        is_over
    }
}
