use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use crate::runtime::lifecycle::wait_until;
use crate::runtime::lock;

/// How much a log message matters; a log takes its own level and the graver ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum Level {
    Off = 0,
    Error = 1,
    Warn = 2,
    Info = 3,
    Debug = 4,
    Trace = 5,
}

thread_local! {
    /// The log whose sink runs on this thread. Without a destructor, so that it can be read while the thread ends.
    static IN_SINK_OF: Cell<*const Log> = const { Cell::new(std::ptr::null()) };
}

type Sink = dyn Fn(Level, &str, &str) + Send + Sync;

/// Where a runtime's log messages go.
pub struct Log {
    level: Level,
    sink: Option<Box<Sink>>,
    is_silent: AtomicBool,
    /// Messages that the sink is being given.
    running: AtomicUsize,
    /// For those who wait until there is none.
    waiting: Mutex<()>,
    changed: Condvar,
}

impl Log {
    /// No log at all: one comparison per place that would write one.
    pub fn off() -> Log {
        Log::with(Level::Off, None)
    }

    pub fn new(level: Level, sink: impl Fn(Level, &str, &str) + Send + Sync + 'static) -> Log {
        Log::with(level, Some(Box::new(sink)))
    }

    /// The message is made only if somebody wants it.
    pub fn write(&self, level: Level, target: &str, message: impl FnOnce() -> String) {
        if level <= self.level
            && let Some(sink) = &self.sink
        {
            self.running.fetch_add(1, Ordering::SeqCst);
            if !self.is_silent.load(Ordering::SeqCst) {
                let outer = IN_SINK_OF.replace(self);
                sink(level, target, &message());
                IN_SINK_OF.set(outer);
            }
            self.note_returned();
        }
    }

    fn note_returned(&self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
        if self.is_silent.load(Ordering::SeqCst) {
            let _waiting = lock(&self.waiting);
            self.changed.notify_all();
        }
    }

    /// The host has ended this thread, perhaps in the sink, which does not return then.
    pub(super) fn note_dead_thread(&self) {
        if std::ptr::eq(IN_SINK_OF.replace(std::ptr::null()), self) {
            self.note_returned();
        }
    }

    fn with(level: Level, sink: Option<Box<Sink>>) -> Log {
        let (is_silent, running) = (AtomicBool::new(false), AtomicUsize::new(0));
        Log { level, sink, is_silent, running, waiting: Mutex::new(()), changed: Condvar::new() }
    }

    /// From here on the sink is given nothing more; what it was given before may still be in its hands.
    pub(super) fn silence(&self) {
        self.is_silent.store(true, Ordering::SeqCst);
    }

    /// Waits until it has nothing in its hands; false at the deadline.
    pub(super) fn wait_silent(&self, deadline: Option<Instant>) -> bool {
        let mut waiting = lock(&self.waiting);
        while self.running.load(Ordering::SeqCst) > 0 {
            let (next, in_time) = wait_until(&self.changed, waiting, deadline);
            waiting = next;
            if !in_time {
                return self.running.load(Ordering::SeqCst) == 0;
            }
        }
        true
    }
}
