//! The runtimes of the process: the default one, and all others.

use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::error::Error;
use super::event_loop::{check_may_wait, deadline_after, lock};
use super::life::{OnEnded, Runtime};
use super::log::Log;
use crate::transport::ProcessMark;

/// The runtimes of one process. A forked child makes a slot of its own, since the parent's lock may have been held
/// by another thread at the moment of the fork; the parent's stays reachable through `_parent`.
struct Slot {
    process: ProcessMark,
    default: Mutex<DefaultRuntime>,
    /// All that are not gone, with the default one.
    all: Mutex<Vec<Weak<Runtime>>>,
    _parent: *mut Slot,
}

#[derive(Default)]
struct DefaultRuntime {
    /// The default runtime, until it has ended.
    runtime: Option<Arc<Runtime>>,
    /// How the next one is made, if not with the defaults.
    options: Option<DefaultOptions>,
}

/// How the default runtime is made.
pub struct DefaultOptions {
    pub thread_count: usize,
    pub make_log: Box<dyn Fn() -> Log + Send>,
    pub make_on_ended: Box<dyn Fn() -> Option<OnEnded> + Send>,
}

static SLOT: AtomicPtr<Slot> = AtomicPtr::new(std::ptr::null_mut());

fn slot() -> &'static Slot {
    loop {
        let current = SLOT.load(Ordering::Acquire);
        // SAFETY: a slot that was published in SLOT is never freed.
        if let Some(slot) = unsafe { current.as_ref() }
            && slot.process.is_current()
        {
            return slot;
        }
        let (default, all) = (Mutex::default(), Mutex::new(Vec::new()));
        let slot = Slot { process: ProcessMark::current(), default, all, _parent: current };
        let new = Box::into_raw(Box::new(slot));
        if SLOT.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: `new` was not published, so this is its only use.
            drop(unsafe { Box::from_raw(new) });
        }
    }
}

impl DefaultRuntime {
    /// A runtime whose threads have all died, or that was stopped and has not ended in time, is replaced by the next use.
    fn running(&self) -> Option<&Arc<Runtime>> {
        self.runtime.as_ref().filter(|runtime| !runtime.is_dead() && !runtime.is_stopped())
    }

    fn start(&self) -> Result<Arc<Runtime>, Error> {
        match &self.options {
            Some(options) => start(options.thread_count, (options.make_log)(), (options.make_on_ended)()),
            None => start(1, Log::off(), None),
        }
    }
}

/// The default runtime, which the first use makes.
pub fn default_runtime() -> Result<Arc<Runtime>, Error> {
    let mut default = lock(&slot().default);
    if let Some(runtime) = default.running() {
        return Ok(runtime.clone());
    }
    let runtime = default.start()?;
    default.runtime = Some(runtime.clone());
    drop(default);
    // Without the lock: the log callback may take its time, or end this thread.
    runtime.announce();
    Ok(runtime)
}

/// The default runtime, if there is one.
pub fn existing_default_runtime() -> Option<Arc<Runtime>> {
    lock(&slot().default).runtime.clone()
}

/// Sets how the default runtime is made from now on; nothing for the defaults.
pub fn set_default_options(options: Option<DefaultOptions>) -> Result<(), Error> {
    let mut default = lock(&slot().default);
    if default.running().is_some() {
        return Err(Error::InvalidState(
            "the default runtime is running: set its options before its first use, or after esrpc_runtime_join or \
             esrpc_runtime_stop has ended it",
        ));
    }
    default.options = options;
    Ok(())
}

/// Starts a runtime, one of the process from now on.
fn start(thread_count: usize, log: Log, on_ended: Option<OnEnded>) -> Result<Arc<Runtime>, Error> {
    let runtime = Runtime::start(thread_count, log, on_ended)?;
    let mut all = lock(&slot().all);
    all.retain(|runtime| runtime.strong_count() > 0);
    all.push(Arc::downgrade(&runtime));
    Ok(runtime)
}

impl Runtime {
    /// Starts a runtime with so many event-loop threads.
    pub fn new(thread_count: usize, log: Log) -> Result<Arc<Runtime>, Error> {
        Runtime::with_end(thread_count, log, None)
    }

    /// The same, with somebody who is called once nothing of it runs any more.
    pub fn with_end(thread_count: usize, log: Log, on_ended: Option<OnEnded>) -> Result<Arc<Runtime>, Error> {
        let runtime = start(thread_count, log, on_ended)?;
        runtime.announce();
        Ok(runtime)
    }
}

/// Those of this process that are not gone.
pub fn all_runtimes() -> Vec<Arc<Runtime>> {
    lock(&slot().all).iter().filter_map(Weak::upgrade).collect()
}

/// Forgets the default runtime once it has ended, so that the next use makes a new one.
pub fn take_default_if_ended(ended: &Arc<Runtime>) {
    let mut default = lock(&slot().default);
    if default.runtime.as_ref().is_some_and(|current| Arc::ptr_eq(current, ended)) {
        default.runtime = None;
    }
}

/// Halts the runtimes and waits for their threads: nobody is called any more, whatever still lives.
pub fn stop_runtimes(runtimes: &[Arc<Runtime>], timeout: Option<Duration>) -> Result<(), Error> {
    check_may_wait()?;
    let deadline = deadline_after(timeout);
    runtimes.iter().for_each(|runtime| runtime.halt());
    let mut result = Ok(());
    for runtime in runtimes {
        match runtime.wait_halted(deadline) {
            Ok(()) => take_default_if_ended(runtime),
            error => result = error,
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::runtime::event_loop::Command;
    use crate::runtime::life::Kind;

    #[test]
    fn the_use_after_a_stop_that_timed_out_makes_a_new_default_runtime() {
        let default = || default_runtime().expect("a thread");
        let stopped = default();
        let (begin, has_begun) = channel();
        let (open, door) = channel::<()>();
        let wait = move |_| {
            let _ = begin.send(());
            let _ = door.recv();
        };
        let live = stopped.enter(Kind::Connection).expect("it is up");
        live.event_loop().post(Command::Run(Box::new(wait), None));
        has_begun.recv().expect("the callback runs");
        let stop = |timeout| stop_runtimes(std::slice::from_ref(&stopped), timeout);
        assert!(matches!(stop(Some(Duration::ZERO)), Err(Error::TimedOut(_))));
        let next = default();
        assert!(!Arc::ptr_eq(&stopped, &next) && next.enter(Kind::Connection).is_ok());
        drop(open);
        assert_eq!(stop(None), Ok(()));
        assert!(Arc::ptr_eq(&next, &default()), "the end of the first does not touch the second");
        assert_eq!(stop_runtimes(&[next], None), Ok(()));
    }
}
