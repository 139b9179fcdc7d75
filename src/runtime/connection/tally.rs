use std::time::{Duration, Instant};

/// What is counted of a connection outside of the protocol.
#[derive(Default)]
pub struct Tally {
    pub turns: u64,
    pub bytes_received: u64,
    pub longest_turn: Duration,
    /// A turn that ends before that is not longer: the one that was looked at last began so long before it.
    none_longer_until: Option<Instant>,
    pub reading_stops: u64,
    /// Since the last turn, because of a peer that does not read.
    reads_nothing: bool,
}

impl Tally {
    /// The driver has done what it could for now, in a turn that began at `begun` and has read so many bytes of messages.
    #[inline]
    pub fn note_turn(&mut self, received: usize, begun: Instant, now: Instant, reads_nothing: bool) {
        self.bytes_received += received as u64;
        // Comparing two times costs much less than their difference.
        if self.none_longer_until.is_none_or(|until| now > until) {
            self.note_time(begun, now);
        }
        self.reading_stops += u64::from(reads_nothing && !self.reads_nothing);
        self.reads_nothing = reads_nothing;
    }

    #[inline(never)]
    fn note_time(&mut self, begun: Instant, now: Instant) {
        self.longest_turn = self.longest_turn.max(now.saturating_duration_since(begun));
        self.none_longer_until = begun.checked_add(self.longest_turn);
    }
}
