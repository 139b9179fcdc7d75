use std::ops::Deref;

/// Input of a connection that is not dispatched yet: the beginning of a message, or whole ones for which there was no time, or
/// that came while reading was paused. What is dispatched is skipped, not moved away message by message.
#[derive(Default)]
pub(super) struct Gathered {
    bytes: Vec<u8>,
    /// What lies before this is dispatched.
    start: usize,
}

impl Deref for Gathered {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl From<Vec<u8>> for Gathered {
    fn from(bytes: Vec<u8>) -> Gathered {
        Gathered { bytes, start: 0 }
    }
}

impl Gathered {
    /// The bytes, for appending to them.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        &mut self.bytes
    }

    /// The first `count` bytes are dispatched. Once all are, the memory is given to `keep`.
    pub fn skip(&mut self, count: usize, keep: impl FnOnce(Vec<u8>)) {
        self.start += count;
        if self.start >= self.bytes.len() {
            self.start = 0;
            keep(std::mem::take(&mut self.bytes));
        }
    }

    /// Forgets the bytes, and keeps the memory for others.
    pub fn forget(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }

    /// Forgets everything, the memory included.
    pub fn clear(&mut self) {
        *self = Gathered::default();
    }

    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
