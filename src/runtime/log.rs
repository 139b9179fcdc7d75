use std::sync::{Condvar, Mutex};
use std::thread::ThreadId;
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

type Sink = dyn Fn(Level, &str, &str) + Send + Sync;

/// Where a runtime's log messages go.
pub struct Log {
    level: Level,
    sink: Option<Box<Sink>>,
    repeated: [Mutex<Muted>; KINDS],
    giving: Mutex<Giving>,
    changed: Condvar,
}

/// Which messages the sink is being given.
#[derive(Default)]
struct Giving {
    is_silent: bool,
    /// One for each message, in no order. Not in variables of the threads, some of which are gone on some systems when what lives
    /// on a thread that the host has ended is told so.
    threads: Vec<ThreadId>,
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
            // Before it counts as being given: a panic in here would leave it so, and a stop would wait for it.
            let message = message();
            let thread = std::thread::current().id();
            {
                let mut giving = lock(&self.giving);
                if giving.is_silent {
                    return;
                }
                giving.threads.push(thread);
            }
            sink(level, target, &message);
            let mut giving = lock(&self.giving);
            if let Some(place) = giving.threads.iter().position(|giver| *giver == thread) {
                giving.threads.swap_remove(place);
            }
            self.changed.notify_all();
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

    /// The host has ended this thread, perhaps in the sink, which does not return then.
    pub(super) fn note_dead_thread(&self) {
        let thread = std::thread::current().id();
        lock(&self.giving).threads.retain(|giver| *giver != thread);
        self.changed.notify_all();
    }

    fn with(level: Level, sink: Option<Box<Sink>>) -> Log {
        Log { level, sink, repeated: Default::default(), giving: Mutex::default(), changed: Condvar::new() }
    }

    /// From here on the sink is given nothing more; what it was given before may still be in its hands.
    pub(super) fn silence(&self) {
        lock(&self.giving).is_silent = true;
    }

    /// Waits until it has nothing in its hands; false at the deadline.
    pub(super) fn wait_silent(&self, deadline: Option<Instant>) -> bool {
        let mut giving = lock(&self.giving);
        while !giving.threads.is_empty() {
            let (next, in_time) = wait_until(&self.changed, giving, deadline);
            giving = next;
            if !in_time {
                return giving.threads.is_empty();
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
