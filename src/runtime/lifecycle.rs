use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::runtime::event_loop::{Command, LoopHandle, spawn_loop};
use crate::runtime::members::Members;
use crate::runtime::process::with_signals_blocked;
use crate::runtime::{Connection, Drain, Error, Level, Listener, Log, ProcessMark, check_may_wait, lock};
use crate::transport::Resolver;

/// A set of event-loop threads. They end when nothing lives on them any more and the runtime was shut down, joined, or
/// its last handle is gone.
pub struct Runtime {
    // Constant after creation.
    loops: Vec<Arc<LoopHandle>>,
    log: Arc<Log>,
    resolver: Resolver,
    process: ProcessMark,

    next_loop: AtomicUsize,
    connections: Members<Connection>,
    listeners: Members<Listener>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Connections and listeners that are not destroyed.
    live: usize,
    /// Nothing new is taken.
    shut_down: bool,
    /// Nothing new is taken, and what is there is finished.
    draining: bool,
    joiners: usize,
    /// The threads were told to end.
    ended: bool,
    /// Until a joiner takes them to wait for them.
    threads: Vec<JoinHandle<()>>,
    /// Threads that no joiner has seen the end of.
    running: usize,
}

/// Keeps the runtime's threads for one connection or listener.
pub struct Live {
    runtime: Arc<Runtime>,
}

impl Runtime {
    pub fn new(thread_count: usize, log: Log) -> Result<Arc<Runtime>, Error> {
        let log = Arc::new(log);
        let mut loops = Vec::with_capacity(thread_count);
        let mut threads = Vec::with_capacity(thread_count);
        for number in 0..thread_count {
            match with_signals_blocked(|| spawn_loop(number, log.clone())) {
                Ok((handle, thread)) => {
                    loops.push(handle);
                    threads.push(thread);
                }
                Err(error) => {
                    loops.iter().for_each(|handle| handle.post(Command::Stop));
                    return Err(error);
                }
            }
        }
        log.write(Level::Debug, "runtime", || format!("{thread_count} event-loop threads started"));
        let (shut_down, draining, ended) = (false, false, false);
        let state = State { live: 0, shut_down, draining, joiners: 0, ended, threads, running: thread_count };
        Ok(Arc::new(Runtime {
            loops,
            log,
            resolver: Resolver::new(spawn_resolver_thread),
            process: ProcessMark::current(),
            next_loop: AtomicUsize::new(0),
            connections: Members::default(),
            listeners: Members::default(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }))
    }

    pub fn process(&self) -> ProcessMark {
        self.process
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    pub(super) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Counts a new connection or listener in.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Live, Error> {
        let mut state = lock(&self.state);
        if state.shut_down || state.ended {
            return Err(Error::RuntimeShutdown);
        }
        if state.draining {
            return Err(Error::Draining("the runtime is being drained and takes nothing new"));
        }
        state.live += 1;
        Ok(Live { runtime: self.clone() })
    }

    /// The loop for the next connection: each in turn.
    pub(super) fn pick_loop(&self) -> Arc<LoopHandle> {
        let turn = self.next_loop.fetch_add(1, Ordering::Relaxed);
        self.loops[turn % self.loops.len()].clone()
    }

    /// Aborts what is open and takes nothing new.
    pub fn shut_down(&self) {
        let mut state = lock(&self.state);
        if !state.shut_down {
            state.shut_down = true;
            self.loops.iter().for_each(|handle| handle.post(Command::Shutdown));
            self.check_end(&mut state);
        }
    }

    /// Closes the listeners at once, and each connection when its last stream ends or the time is over; takes nothing new.
    pub fn drain(&self, drain: Drain) {
        lock(&self.state).draining = true;
        self.listeners.begin_drain(drain).iter().for_each(|listener| listener.drain(drain));
        self.connections.begin_drain(drain).iter().for_each(|connection| connection.drain(drain));
    }

    pub(super) fn connections(&self) -> &Members<Connection> {
        &self.connections
    }

    pub(super) fn listeners(&self) -> &Members<Listener> {
        &self.listeners
    }

    /// Connections, of either side, that are not over.
    pub fn open_connections(&self) -> usize {
        self.connections.len()
    }

    pub fn open_streams(&self) -> usize {
        self.connections.open_streams()
    }

    /// Waits until nothing lives on the runtime and its threads have ended.
    pub fn join(&self, timeout: Option<Duration>) -> Result<(), Error> {
        check_may_wait()?;
        let deadline = deadline_after(timeout);
        let mut state = lock(&self.state);
        state.joiners += 1;
        self.check_end(&mut state);
        while state.running > 0 {
            if state.ended && !state.threads.is_empty() {
                let threads = std::mem::take(&mut state.threads);
                drop(state);
                for thread in threads {
                    // A loop thread catches its panics, so there is nothing to learn from the result.
                    let _ = thread.join();
                }
                state = lock(&self.state);
                state.running = 0;
                self.changed.notify_all();
                break;
            }
            let (next, in_time) = wait_until(&self.changed, state, deadline);
            state = next;
            if !in_time && state.running > 0 {
                state.joiners -= 1;
                let live = state.live;
                let text = format!("{live} connections and listeners are not over or their handles not released");
                return Err(Error::TimedOut(text));
            }
        }
        state.joiners -= 1;
        Ok(())
    }

    fn check_end(&self, state: &mut State) {
        if state.live == 0 && !state.ended && (state.shut_down || state.joiners > 0) {
            state.ended = true;
            self.loops.iter().for_each(|handle| handle.post(Command::Stop));
            self.changed.notify_all();
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if self.process.is_current() {
            self.loops.iter().for_each(|handle| handle.post(Command::Stop));
        } else {
            // In a forked child these threads do not exist, and the system must not be asked to let go of them.
            let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
            std::mem::forget(std::mem::take(&mut state.threads));
        }
    }
}

impl Live {
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut state = lock(&self.runtime.state);
        state.live -= 1;
        self.runtime.check_end(&mut state);
    }
}

fn spawn_resolver_thread(work: Box<dyn FnOnce() + Send>) -> std::io::Result<()> {
    let spawn = || std::thread::Builder::new().name("esrpc-resolver".to_owned()).spawn(work);
    with_signals_blocked(spawn).map(drop)
}

/// When a wait of that length is over; never without one.
pub fn deadline_after(timeout: Option<Duration>) -> Option<Instant> {
    timeout.map(|timeout| Instant::now() + timeout)
}

/// Waits for a change until the deadline; false when that has passed.
pub fn wait_until<'a, T>(
    changed: &Condvar,
    guard: std::sync::MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> (std::sync::MutexGuard<'a, T>, bool) {
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
