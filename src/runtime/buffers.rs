use std::sync::Mutex;

use crate::runtime::lock;

/// Bytes that the buffers of one loop may hold while nobody uses them.
const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Smaller ones cost the allocator little.
const WORTH_KEEPING: usize = 1024;

/// Buffers of one loop's connections for messages on their way in and out, so that a busy connection neither asks the
/// system for memory, nor gives it back, for each message. Any thread may take one.
#[derive(Default)]
pub struct BufferPool {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl BufferPool {
    /// An empty buffer with room for `len` bytes.
    pub fn take(&self, len: usize) -> Vec<u8> {
        let mut kept = lock(&self.kept);
        if let Some(at) = kept.buffers.iter().rposition(|buffer| buffer.capacity() >= len) {
            let buffer = kept.buffers.swap_remove(at);
            kept.bytes -= buffer.capacity();
            return buffer;
        }
        drop(kept);
        Vec::with_capacity(len)
    }

    pub fn give_back(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() < WORTH_KEEPING {
            return;
        }
        buffer.clear();
        let mut kept = lock(&self.kept);
        if kept.bytes + buffer.capacity() <= KEPT_BYTES {
            kept.bytes += buffer.capacity();
            kept.buffers.push(buffer);
        }
    }

    pub fn is_empty(&self) -> bool {
        lock(&self.kept).buffers.is_empty()
    }

    /// Frees what nobody uses.
    pub fn clear(&self) {
        let unused = std::mem::take(&mut *lock(&self.kept));
        drop(unused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_to_whoever_it_is_large_enough_for() {
        let pool = BufferPool::default();
        let mut buffer = pool.take(2000);
        buffer.push(1);
        let memory = buffer.as_ptr();
        pool.give_back(buffer);
        let larger = pool.take(3000);
        assert_ne!(larger.as_ptr(), memory);
        let again = pool.take(2000);
        assert!(again.is_empty() && again.as_ptr() == memory);
        assert!(pool.is_empty());
    }

    #[test]
    fn no_more_than_the_limit_is_kept_and_nothing_after_a_clear() {
        let pool = BufferPool::default();
        for _ in 0..100 {
            pool.give_back(Vec::with_capacity(KEPT_BYTES / 8));
        }
        assert_eq!(lock(&pool.kept).buffers.len(), 8);
        pool.give_back(Vec::new());
        pool.clear();
        assert!(pool.is_empty() && lock(&pool.kept).bytes == 0);
    }
}
