//! What src/runtime gets in a model instead of the parts of the standard library and mio that shuttle has to see.

pub mod sync {
    pub use shuttle::sync::{Condvar, Mutex, MutexGuard, atomic};
    pub use std::sync::{Arc, OnceLock, PoisonError, Weak};
}

pub mod thread {
    pub use shuttle::thread::*;
}

pub use shuttle::thread_local;

/// For locks that outlive a schedule: nothing may happen under them that lets another thread of the model run.
pub fn std_lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

use std::cell::{Cell, RefCell};

/// The methods of the standard library's keys that shuttle's lack.
pub trait CellKey<T> {
    fn get(&'static self) -> T;
    fn set(&'static self, value: T);
}

impl<T: Copy> CellKey<T> for shuttle::thread::LocalKey<Cell<T>> {
    fn get(&'static self) -> T {
        self.with(Cell::get)
    }

    fn set(&'static self, value: T) {
        self.with(|cell| cell.set(value));
    }
}

/// As `CellKey`, for cells that lend what they hold.
pub trait RefCellKey<T> {
    fn with_borrow<R>(&'static self, look: impl FnOnce(&T) -> R) -> R;
    fn with_borrow_mut<R>(&'static self, change: impl FnOnce(&mut T) -> R) -> R;
}

impl<T> RefCellKey<T> for shuttle::thread::LocalKey<RefCell<T>> {
    fn with_borrow<R>(&'static self, look: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| look(&cell.borrow()))
    }

    fn with_borrow_mut<R>(&'static self, change: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| change(&mut cell.borrow_mut()))
    }
}

/// mio, whose poll lets other threads of the model run while it waits. Sockets and their events are real; time stands
/// still, so that only an event ends a wait.
pub mod mio {
    pub use ::mio::{Events, Interest, Registry, Token};

    use std::io;
    use std::time::Duration;

    use shuttle::sync::{Condvar, Mutex};

    shuttle::lazy_static! {
        /// Counts what may have made events come. It lives for one schedule.
        static ref CHANGES: (Mutex<u64>, Condvar) = (Mutex::new(0), Condvar::new());
    }

    /// Makes all waiting loops look for events.
    pub fn kick() -> u64 {
        let mut changes = CHANGES.0.lock().unwrap();
        *changes += 1;
        CHANGES.1.notify_all();
        *changes
    }

    pub struct Waker(::mio::Waker);

    impl Waker {
        pub fn new(registry: &Registry, token: Token) -> io::Result<Waker> {
            ::mio::Waker::new(registry, token).map(Waker)
        }

        pub fn wake(&self) -> io::Result<()> {
            self.0.wake()?;
            kick();
            Ok(())
        }
    }

    pub struct Poll {
        poll: ::mio::Poll,
        /// Something has been done since the last wait that may concern sockets of other loops.
        busy: bool,
    }

    impl Poll {
        pub fn new() -> io::Result<Poll> {
            Ok(Poll { poll: ::mio::Poll::new()?, busy: false })
        }

        pub fn registry(&self) -> &Registry {
            self.poll.registry()
        }

        pub fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
            let mut seen = if std::mem::take(&mut self.busy) { kick() } else { *CHANGES.0.lock().unwrap() };
            loop {
                self.poll.poll(events, Some(Duration::ZERO))?;
                if !events.is_empty() || timeout == Some(Duration::ZERO) {
                    self.busy = true;
                    return Ok(());
                }
                let mut changes = CHANGES.0.lock().unwrap();
                while *changes == seen {
                    changes = CHANGES.1.wait(changes).unwrap();
                }
                seen = *changes;
            }
        }
    }
}
