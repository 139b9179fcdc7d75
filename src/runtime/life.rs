//! The life of a runtime: its threads, what lives on them, and its end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::error::Error;
use super::event_loop::{
    Command, LoopEnding, LoopHandle, LoopOwner, Trouble, check_may_wait, deadline_after, lock, spawn_loop, wait_until,
};
use super::log::{Level, Log, Repeated};
use super::members::{Drain, Members};
use super::statistics::{Events, Figures};
use crate::codec::counted;
use crate::transport::{self, ProcessMark, Resolver, guest_threads, never_cancelled, uncancelled, words_of};

/// A set of event-loop threads. They end when nothing lives on them any more and the runtime was shut down, joined, or
/// its last handle is gone.
pub struct Runtime {
    // Constant after creation.
    loops: Vec<Arc<LoopHandle>>,
    log: Arc<Log>,
    resolver: Resolver,
    process: ProcessMark,

    next_loop: AtomicUsize,
    connections: Members,
    listeners: Members,
    events: Arc<Events>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Of each loop: connections and listeners that are not destroyed.
    live: Vec<Census>,
    /// Of each loop: how its thread ended.
    endings: Vec<Option<LoopEnding>>,
    /// Nothing new is taken.
    shut_down: bool,
    /// Nothing new is taken, and what is there is finished.
    draining: bool,
    joiners: usize,
    /// The threads were asked to end.
    ended: bool,
    /// By `stop`: nobody is called any more.
    stopped: bool,
    /// Until a joiner takes them to wait for them. By the number of the loop.
    threads: Vec<JoinHandle<()>>,
    /// Threads that no joiner has seen the end of.
    running: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Census {
    connections: usize,
    listeners: usize,
}

impl Census {
    fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Connection => &mut self.connections,
            Kind::Listener => &mut self.listeners,
        }
    }
}

/// What lives on a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Connection,
    Listener,
}

/// Keeps the runtime's threads for one connection or listener, which has its place on one of them.
pub struct Live {
    kind: Kind,
    runtime: Arc<Runtime>,
    event_loop: Arc<LoopHandle>,
}

/// A loop's way to its runtime, which may be gone.
struct Home {
    runtime: Arc<OnceLock<Weak<Runtime>>>,
    log: Arc<Log>,
    end: Arc<LastEnd>,
}

/// Called once, on the last thread of a runtime, when nothing of it runs any more.
pub type OnEnded = Box<dyn Fn() + Send + Sync>;

struct LastEnd {
    /// Whose loops still run, or have died.
    threads_left: AtomicUsize,
    on_ended: Option<OnEnded>,
}

impl LastEnd {
    /// A loop has run for the last time. Nobody is called if it was halted, or another one has died.
    fn note(&self, event_loop: &LoopHandle) {
        let is_last = self.threads_left.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last
            && !event_loop.is_halted()
            && let Some(on_ended) = &self.on_ended
        {
            on_ended();
        }
    }
}

impl LoopOwner for Home {
    fn report(&self, trouble: Trouble<'_>) {
        let repeated = |kind, text: &dyn Fn() -> String| self.log.write_repeated(kind, Level::Error, "runtime", text);
        let once = |text: &dyn Fn() -> String| self.log.write(Level::Error, "runtime", text);
        match trouble {
            Trouble::Poll(error) => {
                repeated(Repeated::Poll, &|| {
                    format!("waiting for events failed, which is tried again: {}", words_of(error))
                });
            }
            Trouble::Broken(error) => {
                once(&|| format!("waiting for events failed, and the runtime ends: {}", words_of(error)))
            }
            Trouble::CommandPanicked => once(&|| "a command panicked".to_owned()),
            Trouble::ResidentPanicked => {
                repeated(Repeated::Panic, &|| "the event loop panicked on a connection".to_owned());
            }
            Trouble::TimedPanicked => once(&|| "the event loop panicked on the deadline of a stream".to_owned()),
        }
    }

    fn broke(&self) {
        if let Some(runtime) = self.runtime() {
            runtime.shut_down();
        }
    }

    fn ending(&self, event_loop: &LoopHandle) {
        self.end.note(event_loop);
    }

    fn ended(&self, event_loop: &LoopHandle, ending: LoopEnding) {
        if ending == LoopEnding::Died {
            self.log.note_dead_thread();
        }
        if let Some(runtime) = self.runtime() {
            runtime.note_end(event_loop, ending);
        }
    }
}

impl Home {
    fn runtime(&self) -> Option<Arc<Runtime>> {
        self.runtime.get()?.upgrade()
    }
}

impl Runtime {
    /// Starts the threads. Writes nothing into the log, so that it can be called while a lock is held.
    pub(super) fn start(thread_count: usize, log: Log, on_ended: Option<OnEnded>) -> Result<Arc<Runtime>, Error> {
        let log = Arc::new(log);
        let mut loops = Vec::with_capacity(thread_count);
        let mut threads = Vec::with_capacity(thread_count);
        let home = Arc::new(OnceLock::new());
        let end = Arc::new(LastEnd { threads_left: AtomicUsize::new(thread_count), on_ended });
        for number in 0..thread_count {
            let owner = Box::new(Home { runtime: home.clone(), log: log.clone(), end: end.clone() });
            match guest_threads(|| spawn_loop(number, owner)) {
                Ok((handle, thread)) => {
                    loops.push(handle);
                    threads.push(thread);
                }
                Err(error) => {
                    loops.iter().for_each(|handle| handle.post(Command::Stop));
                    let what = "starting an event-loop thread";
                    return Err(transport::Error::from_io(what, &error, transport::ErrorKind::Io).into());
                }
            }
        }
        let state = State {
            live: vec![Census::default(); thread_count],
            endings: vec![None; thread_count],
            shut_down: false,
            draining: false,
            joiners: 0,
            ended: false,
            stopped: false,
            threads,
            running: thread_count,
        };
        let runtime = Arc::new(Runtime {
            loops,
            log,
            resolver: Resolver::new(spawn_resolver_thread),
            process: ProcessMark::current(),
            next_loop: AtomicUsize::new(0),
            connections: Members::default(),
            listeners: Members::default(),
            events: Arc::default(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let _ = home.set(Arc::downgrade(&runtime));
        Ok(runtime)
    }

    /// Logs the start of the threads.
    pub(super) fn announce(&self) {
        self.log.write(Level::Debug, "runtime", || format!("event-loop threads started: {}", self.loops.len()));
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

    /// Counts a new connection or listener in, and gives it a loop: each in turn.
    pub(super) fn enter(self: &Arc<Self>, kind: Kind) -> Result<Live, Error> {
        let turn = self.next_loop.fetch_add(1, Ordering::Relaxed);
        self.enter_at(kind, turn)
    }

    /// As `enter`, on the loop of that number, or on the next one that still runs.
    pub(super) fn enter_at(self: &Arc<Self>, kind: Kind, number: usize) -> Result<Live, Error> {
        let mut state = lock(&self.state);
        if state.shut_down || state.ended {
            return Err(Error::RuntimeShutdown);
        }
        if state.draining {
            return Err(Error::Draining("the runtime is being drained and accepts nothing new"));
        }
        let in_turn = (0..self.loops.len()).map(|offset| &self.loops[number.wrapping_add(offset) % self.loops.len()]);
        let Some(event_loop) = in_turn.into_iter().find(|event_loop| !event_loop.is_halted()) else {
            return Err(Error::RuntimeShutdown);
        };
        *state.live[event_loop.number()].of(kind) += 1;
        Ok(Live { kind, runtime: self.clone(), event_loop: event_loop.clone() })
    }

    /// Aborts what is open and takes nothing new.
    pub fn shut_down(&self) {
        let mut state = lock(&self.state);
        if !state.shut_down {
            state.shut_down = true;
            self.loops.iter().for_each(|handle| handle.post(Command::ShutDown));
            self.check_end(&mut state);
        }
    }

    /// Closes the listeners at once, and each connection when its last stream ends or the time has passed; takes nothing new.
    pub fn drain(&self, drain: Drain) {
        lock(&self.state).draining = true;
        self.listeners.drain(drain);
        self.connections.drain(drain);
    }

    pub(super) fn connections(&self) -> &Members {
        &self.connections
    }

    pub(super) fn listeners(&self) -> &Members {
        &self.listeners
    }

    pub(super) fn events(&self) -> &Arc<Events> {
        &self.events
    }

    pub fn figures(&self) -> Figures {
        let mut figures = self.connections.figures();
        figures.add(&self.events.figures());
        figures
    }

    /// Connections, of either side, that have not ended.
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
        let begun = Instant::now();
        let (mut state, in_time) = self.wait_for_threads(state, |state| match (state.stopped, state.ended) {
            // A callback that does not return is waited for by who stops the runtime, not by who joins it.
            (true, _) => Some(begun),
            // Once nothing lives any more, the end is certain and near.
            (false, true) => None,
            (false, false) => deadline,
        });
        state.joiners -= 1;
        if state.stopped {
            return Err(Error::RuntimeShutdown);
        }
        if !in_time {
            return Err(Error::TimedOut(self.describe_living(state)));
        }
        if state.endings.contains(&Some(LoopEnding::Died)) {
            return Err(Error::RuntimeShutdown);
        }
        Ok(())
    }

    /// What a joiner waits for.
    fn describe_living(&self, state: MutexGuard<'_, State>) -> String {
        let sum = |of: fn(&Census) -> usize| state.live.iter().map(of).sum::<usize>();
        let (connections, listeners) = (sum(|census| census.connections), sum(|census| census.listeners));
        // Whoever looks at a member may be the last to hold it, and its end takes the lock.
        drop(state);
        let kinds =
            [("connection", connections, self.connections.len()), ("listener", listeners, self.listeners.open())];
        let list = |counts: [(&str, usize); 2]| {
            let counts = counts.into_iter().filter(|(_, count)| *count > 0);
            counts.map(|(kind, count)| counted(count, kind)).collect::<Vec<_>>().join(" and ")
        };
        let open = list(kinds.map(|(kind, _, open)| (kind, open)));
        let held = list(kinds.map(|(kind, live, open)| (kind, live.saturating_sub(open))));
        let open = (!open.is_empty()).then(|| format!("not closed yet: {open}"));
        let held =
            (!held.is_empty()).then(|| format!("ended, but with handles (of it or its streams) not released: {held}"));
        let parts: Vec<_> = [open, held].into_iter().flatten().collect();
        match parts.is_empty() {
            true => "a callback is still running, or a thread is about to end".to_owned(),
            false => format!("the runtime has not ended; {}", parts.join("; ")),
        }
    }

    /// Waits until all threads have ended, or until the deadline, at which `false` comes back.
    fn wait_for_threads<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        deadline: impl Fn(&State) -> Option<Instant>,
    ) -> (MutexGuard<'a, State>, bool) {
        while state.running > 0 {
            if !state.threads.is_empty() && state.endings.iter().all(Option::is_some) {
                let threads = std::mem::take(&mut state.threads);
                let endings = state.endings.clone();
                drop(state);
                for (thread, ending) in threads.into_iter().zip(endings) {
                    // The standard library does not take it well if the host has ended the thread; such a one is left to
                    // the system. The others catch their panics, so there is nothing to learn from the result.
                    if ending != Some(LoopEnding::Died) {
                        let _ = uncancelled(|| thread.join());
                    }
                }
                state = lock(&self.state);
                state.running = 0;
                self.changed.notify_all();
                break;
            }
            let until = deadline(&state);
            let (next, in_time) = wait_until(&self.changed, state, until);
            state = next;
            if !in_time && state.running > 0 {
                return (state, false);
            }
        }
        (state, true)
    }

    /// Calls nobody any more and ends the threads once the callbacks that run have returned. What lives on the runtime is
    /// inert from now on, and those who wait for it are woken.
    pub(super) fn halt(&self) {
        {
            let mut state = lock(&self.state);
            state.shut_down = true;
            state.ended = true;
            state.stopped = true;
        }
        self.log.silence();
        self.loops.iter().for_each(|event_loop| event_loop.halt());
        self.connections.all().iter().for_each(|connection| connection.wake_waits());
        self.listeners.all().iter().for_each(|listener| listener.wake_waits());
        let _state = lock(&self.state);
        self.changed.notify_all();
    }

    /// Waits until no callback of a halted runtime runs and its threads have ended.
    pub(super) fn wait_halted(&self, deadline: Option<Instant>) -> Result<(), Error> {
        let (state, in_time) = self.wait_for_threads(lock(&self.state), |_| deadline);
        drop(state);
        if in_time && self.log.wait_silent(deadline) {
            return Ok(());
        }
        Err(Error::TimedOut(
            "a callback is still running or a thread has not ended within the given time; no other callback begins"
                .to_owned(),
        ))
    }

    /// Whether nothing can live on it any more, though nobody has asked for that: the host has ended all its threads.
    pub fn is_dead(&self) -> bool {
        lock(&self.state).endings.iter().all(|ending| *ending == Some(LoopEnding::Died))
    }

    /// Whether it was stopped: nobody is called any more, though a callback may still run.
    pub fn is_stopped(&self) -> bool {
        lock(&self.state).stopped
    }

    /// The thread of a loop is about to end: nothing of what lived on it is over in order if it was halted or has died.
    fn note_end(&self, event_loop: &LoopHandle, ending: LoopEnding) {
        if ending != LoopEnding::InOrder {
            self.connections.all().iter().for_each(|connection| connection.fall_silent_with(event_loop));
            self.listeners.all().iter().for_each(|listener| listener.fall_silent_with(event_loop));
        }
        let mut state = lock(&self.state);
        state.endings[event_loop.number()] = Some(ending);
        if ending == LoopEnding::Died {
            // Who lived on it, and may be known to nobody but the stack that is gone, does not count any more.
            state.live[event_loop.number()] = Census::default();
            self.check_end(&mut state);
        }
        self.changed.notify_all();
    }

    fn check_end(&self, state: &mut State) {
        let is_empty = state.live.iter().all(|live| *live == Census::default());
        if is_empty && !state.ended && (state.shut_down || state.joiners > 0) {
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

    pub fn event_loop(&self) -> &Arc<LoopHandle> {
        &self.event_loop
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut state = lock(&self.runtime.state);
        let live = state.live[self.event_loop.number()].of(self.kind);
        // Those of a thread that died are not counted any more.
        *live = live.saturating_sub(1);
        self.runtime.check_end(&mut state);
    }
}

fn spawn_resolver_thread(work: Box<dyn FnOnce() + Send>) -> std::io::Result<()> {
    let work = || {
        never_cancelled();
        work();
    };
    let spawn = || std::thread::Builder::new().name("esrpc-resolver".to_owned()).spawn(work);
    guest_threads(spawn).map(drop)
}
