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

type Sink = dyn Fn(Level, &str, &str) + Send + Sync;

/// Where a runtime's log messages go.
pub struct Log {
    level: Level,
    sink: Option<Box<Sink>>,
}

impl Log {
    /// No log at all: one comparison per place that would write one.
    pub fn off() -> Log {
        Log { level: Level::Off, sink: None }
    }

    pub fn new(level: Level, sink: impl Fn(Level, &str, &str) + Send + Sync + 'static) -> Log {
        Log { level, sink: Some(Box::new(sink)) }
    }

    /// The message is made only if somebody wants it.
    pub fn write(&self, level: Level, target: &str, message: impl FnOnce() -> String) {
        if level <= self.level
            && let Some(sink) = &self.sink
        {
            sink(level, target, &message());
        }
    }
}
