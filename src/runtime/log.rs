use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::event_loop::{lock, wait_until};

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

/// Lines that a stranger, or a lasting fault, can cause in any number: of each kind one is written a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Repeated {
    FailedConnection,
    Unaccepted,
    FullListener,
    Violation,
    Poll,
    Panic,
}

const KINDS: usize = Repeated::Panic as usize + 1;
const PAUSE: Duration = Duration::from_secs(1);

thread_local! {
    /// The log whose sink runs on this thread. Without a destructor, so that it can be read while the thread ends.
    static IN_SINK_OF: Cell<*const Log> = const { Cell::new(std::ptr::null()) };
}

type Sink = dyn Fn(Level, &str, &str) + Send + Sync;

/// Where a runtime's log messages go.
pub struct Log {
    level: Level,
    sink: Option<Box<Sink>>,
    repeated: [Mutex<Muted>; KINDS],
    is_silent: AtomicBool,
    /// Messages that the sink is being given.
    running: AtomicUsize,
    /// For those who wait until there is none.
    waiting: Mutex<()>,
    changed: Condvar,
}

/// When lines of one kind were left out.
#[derive(Default)]
struct Muted {
    until: Option<Instant>,
    left_out: u64,
}

impl Log {
    /// No log at all: one comparison per place that would write one.
    pub fn off() -> Log {
        Log::with(Level::Off, None)
    }

    pub fn new(level: Level, sink: impl Fn(Level, &str, &str) + Send + Sync + 'static) -> Log {
        Log::with(level, Some(Box::new(sink)))
    }

    /// The least grave level that is written.
    pub fn level(&self) -> Level {
        if self.sink.is_some() { self.level } else { Level::Off }
    }

    /// The message is made only if somebody wants it.
    pub fn write(&self, level: Level, target: &str, message: impl FnOnce() -> String) {
        if level <= self.level
            && let Some(sink) = &self.sink
        {
            // Before it counts as running: a panic in here would leave it so, and a stop would wait for it.
            let message = message();
            self.running.fetch_add(1, Ordering::SeqCst);
            if !self.is_silent.load(Ordering::SeqCst) {
                let outer = IN_SINK_OF.with(|place| place.replace(self));
                sink(level, target, &message);
                IN_SINK_OF.set(outer);
            }
            self.note_returned();
        }
    }

    /// The same for a line that may come in any number: at most one of its kind is written a second, with the number of those
    /// that were left out since.
    pub fn write_repeated(&self, kind: Repeated, level: Level, target: &str, message: impl FnOnce() -> String) {
        if level <= self.level() {
            self.write_repeated_at(Instant::now(), kind, level, target, message);
        }
    }

    fn write_repeated_at(
        &self,
        now: Instant,
        kind: Repeated,
        level: Level,
        target: &str,
        message: impl FnOnce() -> String,
    ) {
        let left_out = {
            let mut muted = lock(&self.repeated[kind as usize]);
            if muted.until.is_some_and(|until| now < until) {
                muted.left_out += 1;
                return;
            }
            muted.until = Some(now + PAUSE);
            std::mem::take(&mut muted.left_out)
        };
        self.write(level, target, || match left_out {
            0 => message(),
            1 => format!("{} (1 line like this was left out before it)", message()),
            count => format!("{} ({count} lines like this were left out before it)", message()),
        });
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
        if std::ptr::eq(IN_SINK_OF.with(|place| place.replace(std::ptr::null())), self) {
            self.note_returned();
        }
    }

    fn with(level: Level, sink: Option<Box<Sink>>) -> Log {
        let (is_silent, running) = (AtomicBool::new(false), AtomicUsize::new(0));
        let repeated = Default::default();
        Log { level, sink, repeated, is_silent, running, waiting: Mutex::new(()), changed: Condvar::new() }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_line_that_panics_is_not_waited_for() {
        let log = Log::new(Level::Warn, |_, _, _| ());
        let line = || log.write(Level::Warn, "target", || panic!("in the line"));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(line)).expect_err("a panic");
        log.silence();
        assert!(log.wait_silent(Some(Instant::now())));
    }

    #[test]
    fn of_lines_that_repeat_one_of_each_kind_is_written_a_second() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = lines.clone();
        let log = Log::new(Level::Warn, move |_, _, line| lock(&written).push(line.to_owned()));
        let start = Instant::now();
        let write = |kind, ms, level| {
            let now = start + Duration::from_millis(ms);
            log.write_repeated_at(now, kind, level, "target", || format!("{kind:?} at {ms}"));
        };
        for ms in [0, 1, 999, 1000, 1500, 2100] {
            write(Repeated::Violation, ms, Level::Warn);
        }
        write(Repeated::Poll, 1, Level::Error);
        let expected = [
            "Violation at 0",
            "Violation at 1000 (2 lines like this were left out before it)",
            "Violation at 2100 (1 line like this was left out before it)",
            "Poll at 1",
        ];
        assert_eq!(*lock(&lines), expected);
    }
}
