use std::sync::Mutex;

use super::wait::lock;

/// Bytes that the buffers of one loop may hold while nobody uses them.
const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Smaller ones cost the allocator little.
const WORTH_KEEPING: usize = 1024;
/// What may stay for ever. More than that makes the loop look after it, and each wait with a time costs a timer.
const MAY_STAY: usize = 64 * 1024;
/// A buffer that is so many times too large is left for larger messages.
const LARGEST_EXCESS: usize = 8;
/// What was not needed during so many waits of the loop is freed though the loop is busy.
const WAITS_UNUSED: usize = 64;

/// Buffers of one loop's connections for messages on their way in and out, so that a busy connection neither asks the
/// system for memory, nor gives it back, for each message. Any thread may take one.
#[derive(Default)]
pub struct BufferPool {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The last one given back is the first one taken, so that what nobody needs gathers at the front.
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    /// The smallest number of bytes during the last `waits` waits.
    least_bytes: usize,
    waits: usize,
}

impl BufferPool {
    /// An empty buffer with room for `len` bytes.
    pub fn take(&self, len: usize) -> Vec<u8> {
        self.take_for(len, len)
    }

    /// The same for something that may grow to `final_len` bytes.
    pub fn take_for(&self, len: usize, final_len: usize) -> Vec<u8> {
        let mut kept = lock(&self.kept);
        let fits = |buffer: &Vec<u8>| (len..=final_len.saturating_mul(LARGEST_EXCESS)).contains(&buffer.capacity());
        if let Some(at) = kept.buffers.iter().rposition(fits) {
            let buffer = kept.buffers.remove(at);
            kept.bytes -= buffer.capacity();
            kept.least_bytes = kept.least_bytes.min(kept.bytes);
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

    /// The loop is about to wait: frees what it did not need for a while. Whether so much is left that it must be cleared
    /// if nothing happens for some time.
    pub fn settle(&self) -> bool {
        let mut kept = lock(&self.kept);
        kept.waits += 1;
        if kept.waits == WAITS_UNUSED {
            let mut unused = kept.least_bytes;
            while kept.bytes > MAY_STAY
                && let Some(first) = kept.buffers.first().map(Vec::capacity).filter(|first| *first <= unused)
            {
                kept.buffers.remove(0);
                kept.bytes -= first;
                unused -= first;
            }
            kept.waits = 0;
            kept.least_bytes = kept.bytes;
        }
        kept.bytes > MAY_STAY
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
        assert_eq!(lock(&pool.kept).bytes, 0);
    }

    #[test]
    fn a_buffer_that_is_far_too_large_is_left_for_what_needs_it() {
        let pool = BufferPool::default();
        pool.give_back(Vec::with_capacity(1024 * 1024));
        assert_eq!(pool.take(1024).capacity(), 1024);
        assert_eq!(pool.take_for(1024, 512 * 1024).capacity(), 1024 * 1024);
        pool.give_back(Vec::with_capacity(1024 * 1024));
        assert_eq!(pool.take(512 * 1024).capacity(), 1024 * 1024);
    }

    #[test]
    fn what_is_not_needed_goes_though_the_loop_is_busy() {
        let pool = BufferPool::default();
        pool.give_back(Vec::with_capacity(1024 * 1024));
        pool.give_back(Vec::with_capacity(MAY_STAY));
        for _ in 0..2 * WAITS_UNUSED {
            let used = pool.take(MAY_STAY);
            pool.give_back(used);
            pool.settle();
        }
        assert!(!pool.settle(), "{} bytes are left", lock(&pool.kept).bytes);
        assert_eq!(lock(&pool.kept).buffers.len(), 1);
    }

    #[test]
    fn what_is_needed_now_and_then_stays_until_a_rest() {
        let pool = BufferPool::default();
        pool.give_back(Vec::with_capacity(1024 * 1024));
        for wait in 0..10 * WAITS_UNUSED {
            if wait % (WAITS_UNUSED / 2) == 0 {
                let used = pool.take(1024 * 1024);
                pool.give_back(used);
            }
            assert!(pool.settle());
        }
        pool.clear();
        assert!(!pool.settle());
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
        assert!(lock(&pool.kept).buffers.is_empty() && lock(&pool.kept).bytes == 0);
    }
}
