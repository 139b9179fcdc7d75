//! Locks, and waits for what loops do, by threads that are not loops themselves.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::transport::ProcessMark;

/// Why a loop cannot do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopError {
    /// Its thread has ended, or is about to.
    Stopped,
    /// A loop thread was to wait for a loop.
    WouldDeadlock,
    /// It is the parent's, and this is a forked child.
    Forked,
}

thread_local! {
    /// The process in which this is an event-loop thread; none on other threads. A child that was forked in a callback has
    /// that thread's copy, but runs no loop on it.
    static LOOP_OF: Cell<Option<ProcessMark>> = const { Cell::new(None) };
}

/// Makes this thread an event-loop thread.
pub fn note_loop_thread() {
    LOOP_OF.set(Some(ProcessMark::current()));
}

/// Whether this is an event-loop thread of the library, whatever its runtime.
pub fn is_loop_thread() -> bool {
    LOOP_OF.get().is_some_and(ProcessMark::is_current)
}

/// Fails on an event-loop thread, which must not wait for a loop.
pub fn check_may_wait() -> Result<(), LoopError> {
    if is_loop_thread() { Err(LoopError::WouldDeadlock) } else { Ok(()) }
}

/// Locks. A panic elsewhere while the lock was held does not spread, since every critical section leaves its data whole.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end of a wait that begins now; none without a timeout.
pub fn deadline_after(timeout: Option<Duration>) -> Option<Instant> {
    timeout.map(|timeout| Instant::now() + timeout)
}

/// Waits for a change until the deadline; false if that has passed.
pub fn wait_until<'a, T>(
    changed: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> (MutexGuard<'a, T>, bool) {
    match deadline {
        None => (changed.wait(guard).unwrap_or_else(PoisonError::into_inner), true),
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return (guard, false);
            }
            (changed.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0, true)
        }
    }
}
