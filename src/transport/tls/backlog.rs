//! Bytes that wait to be read or written.

/// A queue of bytes that holds no memory while it is empty.
#[derive(Default)]
pub struct Backlog {
    bytes: Vec<u8>,
    taken: usize,
}

impl Backlog {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Lets `write` append bytes from the given index on; it returns how many.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>, usize) -> usize) {
        let end = self.bytes.len();
        let count = write(&mut self.bytes, end);
        self.bytes.truncate(end + count);
        self.release_if_empty();
    }

    /// Removes the first `count` bytes.
    pub fn take(&mut self, count: usize) {
        self.taken += count;
        self.release_if_empty();
    }

    fn release_if_empty(&mut self) {
        if self.taken >= self.bytes.len() {
            *self = Backlog::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_taken_in_order_and_then_no_memory_is_left() {
        let mut backlog = Backlog::default();
        assert!(backlog.is_empty());
        backlog.push(b"one");
        backlog.push_with(|bytes, end| {
            bytes.resize(end + 10, b'2');
            2
        });
        assert_eq!(backlog.as_slice(), b"one22");
        backlog.take(2);
        assert_eq!(backlog.as_slice(), b"e22");
        backlog.push(b"3");
        assert_eq!(backlog.as_slice(), b"e223");
        backlog.take(4);
        assert!(backlog.is_empty());
        assert_eq!(backlog.capacity(), 0);
    }
}
