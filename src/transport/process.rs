//! Whether this is still the process that made an object: it may be a forked child.

use std::sync::atomic::{AtomicU32, Ordering};

use super::system::current_process;

/// The process that made an object, distinct from every process that it was forked from. Not by its id, which may be the
/// same in another namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessMark(u32);

impl ProcessMark {
    pub fn current() -> ProcessMark {
        ProcessMark(current_process())
    }

    /// The mark of no process.
    #[cfg(test)]
    pub fn other() -> ProcessMark {
        ProcessMark(0)
    }

    /// Whether the caller is the process that made the mark, not a forked child of it.
    pub fn is_current(self) -> bool {
        self.0 == current_process()
    }
}

/// The process that may use something, until nobody may any more: one comparison checks both.
#[derive(Debug)]
pub struct UseMark(AtomicU32);

impl UseMark {
    /// For the calling process.
    pub fn of_this_process() -> UseMark {
        UseMark(AtomicU32::new(current_process()))
    }

    /// Whether the caller is that process, and may still use it.
    pub fn is_current(&self) -> bool {
        self.0.load(Ordering::Acquire) == current_process()
    }

    /// From now on nobody may.
    pub fn end(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    pub fn is_ended(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}
