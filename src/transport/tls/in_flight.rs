//! How much of a write's data the system has taken, as records.

/// Plaintext of a full record.
pub const FULL_RECORD: usize = 16 * 1024;

/// Records of data that are being written: all of them full but the last, behind what TLS itself had to say before them.
///
/// While `plaintext` is 0 there are no records, and the other counters mean nothing.
#[derive(Debug, Default)]
pub struct InFlight {
    /// Bytes of TLS's own that leave before the records and are not written yet.
    own: usize,
    /// Plaintext of the records that were not reported as written.
    plaintext: usize,
    /// What one of the records takes on the wire at most: a record before which new keys are announced takes more than others.
    record_len: usize,
    /// Bytes of the records that the system has taken, less `record_len` for each record that was reported.
    written: usize,
}

impl InFlight {
    /// No records yet; `own` bytes of TLS's own leave before those that are added.
    pub fn behind(own: usize) -> InFlight {
        InFlight { own, ..InFlight::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.plaintext == 0
    }

    /// One more record, which takes `len` bytes on the wire. None may follow one that is not full.
    pub fn add(&mut self, plaintext: usize, len: usize) {
        self.plaintext += plaintext;
        self.record_len = self.record_len.max(len);
    }

    /// The system has taken `count` bytes more.
    pub fn note_written(&mut self, count: usize) {
        let own = count.min(self.own);
        self.own -= own;
        self.written += count - own;
    }

    /// All records are written: returns the plaintext of those that were not reported before.
    pub fn take_all(&mut self) -> usize {
        std::mem::take(self).plaintext
    }

    /// Some records still wait: returns the plaintext of those that are certainly written and were not reported before. So a
    /// slow peer is seen taking some of it.
    pub fn take_written(&mut self) -> usize {
        let records = self.written / self.record_len.max(1);
        let count = self.plaintext.min(records * FULL_RECORD);
        self.plaintext -= count;
        self.written -= records * self.record_len;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: usize = FULL_RECORD + 22;

    /// Three full records and a short one, behind 100 bytes of TLS's own.
    fn records() -> InFlight {
        let mut records = InFlight::behind(100);
        for _ in 0..3 {
            records.add(FULL_RECORD, RECORD);
        }
        records.add(500, 522);
        records
    }

    #[test]
    fn whole_records_are_reported_as_their_last_byte_leaves() {
        let mut records = records();
        records.note_written(100);
        assert_eq!(records.take_written(), 0, "TLS's own bytes are no data");
        records.note_written(RECORD - 1);
        assert_eq!(records.take_written(), 0);
        records.note_written(1);
        assert_eq!(records.take_written(), FULL_RECORD);
        assert_eq!(records.take_written(), 0, "once");
        records.note_written(2 * RECORD + 10);
        assert_eq!(records.take_written(), 2 * FULL_RECORD);
        assert!(!records.is_empty());
        assert_eq!(records.take_all(), 500);
        assert!(records.is_empty());
    }

    #[test]
    fn every_way_of_dividing_the_bytes_reports_all_plaintext_and_nothing_too_early() {
        let total = 100 + 3 * RECORD + 522;
        for step in [1, 7, 99, 100, 101, 500, RECORD - 1, RECORD, RECORD + 1, 3 * RECORD, total] {
            let mut records = records();
            let (mut written, mut reported) = (0, 0);
            while written < total {
                let count = step.min(total - written);
                written += count;
                records.note_written(count);
                reported += if written == total { records.take_all() } else { records.take_written() };
                let whole = written.saturating_sub(100) / RECORD * FULL_RECORD;
                assert!(reported >= whole.min(3 * FULL_RECORD), "{reported} at {written}");
                assert!(reported <= whole || written == total, "{reported} at {written}");
            }
            assert_eq!(reported, 3 * FULL_RECORD + 500, "in steps of {step}");
            assert!(records.is_empty());
        }
    }

    #[test]
    fn records_of_different_lengths_are_reported_late_rather_than_early() {
        let mut records = InFlight::behind(0);
        // New keys are announced before the second one.
        for len in [RECORD, RECORD + 27, RECORD] {
            records.add(FULL_RECORD, len);
        }
        records.note_written(RECORD);
        assert_eq!(records.take_written(), 0);
        records.note_written(27);
        assert_eq!(records.take_written(), FULL_RECORD);
        records.note_written(RECORD);
        assert_eq!(records.take_written(), 0, "27 bytes more would make a record of the longest kind");
        assert_eq!(records.take_all(), 2 * FULL_RECORD);
    }

    #[test]
    fn bytes_of_tls_itself_behind_the_records_count_for_no_data() {
        let mut records = InFlight::behind(0);
        records.add(500, 522);
        records.note_written(522 + 40);
        assert_eq!(records.take_written(), 500);
        assert!(records.is_empty());
        records.note_written(1000);
        assert_eq!(records.take_written(), 0);
    }
}
