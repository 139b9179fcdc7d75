//! An event loop: a thread with a poll, timers, memory and a queue of commands, and the residents that it runs. What they
//! are it does not know.

mod buffers;
mod handle;
mod resident;
mod share;
mod timers;
mod wait;

pub use handle::{Command, LoopHandle};
pub use resident::{AbortCause, Context, Destroyed, Flow, Newcomer, Owner, Place, Readiness, Resident};
pub use share::Share;
pub use timers::{Timed, TimerKey, Timers};
pub use wait::{LoopError, check_may_wait, deadline_after, is_loop_thread, lock, wait_until};

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use self::timers::Due;
use self::wait::note_loop_thread;
use crate::transport::{ProcessMark, never_cancelled};

const WAKE: Token = Token(usize::MAX);
/// The memory that each loop keeps for reading, at first and at most: small messages need no more than the first.
const FIRST_READ_BUFFER: usize = 16 * 1024;
const LARGEST_READ_BUFFER: usize = 256 * 1024;
/// Rounds of commands before the sockets get their turn again.
const COMMAND_ROUNDS: usize = 16;
const EVENTS_PER_PASS: usize = 512;
/// After so long without an event the loop gives the memory back that it keeps for large messages.
const IDLE: Duration = Duration::from_secs(1);
/// When the system cannot wait for events just now, the first and the longest pause before the next try.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Whose loops these are. Called on the loop thread.
pub trait LoopOwner: Send {
    /// Something went wrong that the loop has dealt with.
    fn report(&self, trouble: Trouble<'_>);
    /// The system gives no events any more: everything on the loop has been aborted.
    fn broke(&self);
    /// The loop has run for the last time, in order or since it was halted. Like a callback, it may end the thread.
    fn ending(&self, event_loop: &LoopHandle);
    /// Nothing lives on the loop any more, and its thread is about to end. `ending` says how it came to that.
    fn ended(&self, event_loop: &LoopHandle, ending: LoopEnding);
}

/// What may go wrong on a loop.
pub enum Trouble<'a> {
    /// Waiting for events failed, and is tried again.
    Poll(&'a io::Error),
    /// It failed for good.
    Broken(&'a io::Error),
    CommandPanicked,
    ResidentPanicked,
    TimedPanicked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopEnding {
    /// On request, when nothing was left on it.
    InOrder,
    /// It was halted.
    Halted,
    /// The host ended the thread inside a callback.
    Died,
}

struct EventLoop {
    /// Whose loop it is, not that of a forked child.
    process: ProcessMark,
    handle: Arc<LoopHandle>,
    owner: Box<dyn LoopOwner>,
    poll: Poll,
    /// What to wait before the system is asked for events again; nothing if the last time went well.
    pause: Option<Duration>,
    /// The system gives no events any more.
    is_deaf: bool,
    /// Taken from the queue and not yet run.
    commands: VecDeque<Command>,
    context: Context,
    /// By token.
    residents: Vec<Option<Box<dyn Resident>>>,
    free: Vec<usize>,
    /// Freed in this pass; used again from the next one on, when no event of theirs can be left.
    freed: Vec<usize>,
    stopping: bool,
    /// Its thread goes on to its own end, rather than to one that the host has put to it.
    returned: bool,
}

thread_local! {
    /// The loop of this thread. It lies here, not on the stack, so that it is there when the host ends the thread inside a
    /// callback: its drop, which then runs among the destructors of the thread, ends what lives on the loop.
    static LOOP: RefCell<OfThread> = const { RefCell::new(OfThread(None)) };
}

/// The loop of a thread, or of a copy of that thread.
struct OfThread(Option<EventLoop>);

impl Drop for OfThread {
    fn drop(&mut self) {
        // A child that was forked in a callback and ends there: the sockets are its parent's, and its parent's locks may be held
        // for ever.
        if self.0.as_ref().is_some_and(|event_loop| !event_loop.process.is_current()) {
            std::mem::forget(self.0.take());
        }
    }
}

/// Makes a read buffer longer, if there is memory for that.
fn grow_to(buffer: &mut Vec<u8>, len: usize) -> io::Result<()> {
    buffer.try_reserve_exact(len.saturating_sub(buffer.len())).map_err(|_| io::ErrorKind::OutOfMemory)?;
    buffer.resize(len, 0);
    Ok(())
}

/// Grows a buffer that a read has filled; without memory for that, reading goes on in smaller pieces.
pub fn grow_read_buffer(buffer: &mut Vec<u8>) {
    if buffer.len() < LARGEST_READ_BUFFER {
        let _ = grow_to(buffer, buffer.len() * 4);
    }
}

pub fn spawn_loop(number: usize, owner: Box<dyn LoopOwner>) -> io::Result<(Arc<LoopHandle>, JoinHandle<()>)> {
    let poll = Poll::new()?;
    let mut read_buffer = Vec::new();
    grow_to(&mut read_buffer, FIRST_READ_BUFFER)?;
    let handle = Arc::new(LoopHandle::new(number, Waker::new(poll.registry(), WAKE)?));
    let event_loop = EventLoop {
        process: ProcessMark::current(),
        handle: handle.clone(),
        owner,
        context: Context::new(poll.registry().try_clone()?, read_buffer),
        poll,
        pause: None,
        is_deaf: false,
        commands: VecDeque::new(),
        residents: Vec::new(),
        free: Vec::new(),
        freed: Vec::new(),
        stopping: false,
        returned: false,
    };
    let thread = std::thread::Builder::new().name(format!("esrpc-loop-{number}")).spawn(move || {
        never_cancelled();
        note_loop_thread();
        let ended = LOOP.with_borrow_mut(|place| {
            place.0.insert(event_loop).run();
            place.0.take()
        });
        drop(ended);
    })?;
    Ok((handle, thread))
}

impl EventLoop {
    fn run(&mut self) {
        let halted = self.handle.clone();
        let mut events = Events::with_capacity(EVENTS_PER_PASS);
        while !self.is_ending() {
            let timeout = self.begin_poll();
            self.wait(&mut events, timeout);
            // What is posted from here on, most often by the callbacks of this pass, is seen without a wake.
            self.handle.note_awake();
            if events.is_empty() && timeout == Some(IDLE) {
                self.handle.buffers.clear();
            }
            for event in events.iter().take_while(|_| !halted.is_halted()) {
                let readiness = Readiness {
                    readable: event.is_readable() || event.is_read_closed() || event.is_error(),
                    writable: event.is_writable() || event.is_write_closed() || event.is_error(),
                    until_end: event.is_read_closed() || event.is_error() || event.is_priority(),
                };
                self.at(event.token(), |resident, context| resident.run_on_event(readiness, context));
            }
            self.run_commands();
            self.run_ready();
            self.run_timers();
            self.free.append(&mut self.freed);
        }
        self.close_queue();
        let _ = catch_unwind(AssertUnwindSafe(|| self.owner.ending(&self.handle)));
        self.returned = true;
    }

    /// Takes no more commands. Tasks that are left learn that they cannot run any more, unless nobody is called any more.
    fn close_queue(&mut self) {
        self.handle.close(&mut self.commands);
        while let Some(command) = self.commands.pop_front() {
            let _ = catch_unwind(AssertUnwindSafe(|| self.handle.refuse(command)));
        }
    }

    fn is_ending(&self) -> bool {
        self.stopping || self.handle.is_halted()
    }

    /// Waits for events, or a command, until the time has passed.
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) {
        if self.is_deaf {
            return self.handle.await_command(timeout);
        }
        let error = match self.poll.poll(events, timeout) {
            Ok(()) => {
                self.pause = None;
                return;
            }
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock => {
                let pause = self.pause.unwrap_or(FIRST_PAUSE);
                self.owner.report(Trouble::Poll(&error));
                std::thread::sleep(pause);
                self.pause = Some(LONGEST_PAUSE.min(pause * 2));
            }
            _ => {
                self.owner.report(Trouble::Broken(&error));
                self.is_deaf = true;
                self.handle.drop_waker();
                self.abort_all();
                self.owner.broke();
            }
        }
    }

    /// How long the poll may take. From here on the loop has to be woken for a command.
    fn begin_poll(&mut self) -> Option<Duration> {
        if !self.context.ready.is_empty() || !self.commands.is_empty() || !self.handle.fall_asleep() {
            return Some(Duration::ZERO);
        }
        let until_deadline = self.context.timers.next_deadline().map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            // The system counts whole milliseconds: a rounded-down wait would spin until the deadline.
            if left.is_zero() { left } else { left + Duration::from_millis(1) }
        });
        match (until_deadline, self.handle.buffers.settle()) {
            (Some(left), _) if left < IDLE => Some(left),
            (_, true) => Some(IDLE),
            (until_deadline, false) => until_deadline,
        }
    }

    fn run_commands(&mut self) {
        let mut share = None;
        for _ in 0..COMMAND_ROUNDS {
            // Some may be left of the last pass.
            if self.commands.is_empty() {
                self.handle.take_commands(&mut self.commands);
            }
            if self.commands.is_empty() {
                break;
            }
            // Clocks that start now must not start in the past.
            self.context.now = Instant::now();
            let share = share.get_or_insert_with(|| Share::begin(self.context.now));
            // A panic of ours ends the work on its command, not the thread.
            match catch_unwind(AssertUnwindSafe(|| self.run_batch(share))) {
                Ok(true) => return,
                Ok(false) => {}
                Err(_) => self.owner.report(Trouble::CommandPanicked),
            }
        }
    }

    /// Runs commands until there are no more, or their share of the time is used: then true.
    fn run_batch(&mut self, share: &mut Share) -> bool {
        while !self.handle.is_halted()
            && let Some(command) = self.commands.pop_front()
        {
            self.run_command(command);
            if share.note_call(0) {
                return true;
            }
        }
        false
    }

    fn run_command(&mut self, command: Command) {
        match command {
            Command::Settle(newcomer) => self.settle(newcomer),
            Command::Visit(owner) => {
                if let Some(token) = owner.place().token() {
                    self.at(token, |resident, context| resident.run(context));
                }
            }
            Command::Run(task, _kept) => task(Ok(())),
            Command::Destroy(destroyed, kept) => {
                destroyed.on_destroy();
                drop(destroyed);
                drop(kept);
            }
            Command::ShutDown => self.abort_all(),
            Command::Stop => self.stopping = true,
        }
    }

    fn abort_all(&mut self) {
        self.context.shutting_down = true;
        for index in 0..self.residents.len() {
            self.at(Token(index), |resident, context| resident.abort(AbortCause::Shutdown, context));
        }
    }

    fn run_ready(&mut self) {
        for _ in 0..self.context.ready.len() {
            let Some(token) = self.context.ready.pop_front().filter(|_| !self.handle.is_halted()) else { break };
            self.at(token, |resident, context| resident.take_turn(context));
        }
    }

    fn run_timers(&mut self) {
        if self.context.timers.next_deadline().is_none() {
            return;
        }
        self.context.now = Instant::now();
        let mut share = Share::begin(self.context.now);
        while !share.is_used()
            && let Some((key, due)) = self.context.timers.take_expired(self.context.now)
        {
            share.note_call(0);
            match due {
                Due::Place(token) => self.at(token, |resident, context| resident.expire(key, context)),
                Due::Object(object) => {
                    // A panic of ours ends the work on this object, not the thread.
                    let expire = || object.upgrade().map(|object| object.expire());
                    if catch_unwind(AssertUnwindSafe(expire)).is_err() {
                        self.owner.report(Trouble::TimedPanicked);
                    }
                }
            }
        }
    }

    /// Runs `work` on the resident at the token, and gives its place to its successor, if there is one, or frees it if that
    /// was its last.
    fn at(&mut self, token: Token, work: impl FnOnce(&mut dyn Resident, &mut Context) -> Flow) {
        let mut flow = self.run_at(token, work);
        while flow == Flow::Leave
            && let Some(successor) = self.context.successor.take()
        {
            self.residents[token.0] = Some(successor);
            flow = self.run_at(token, |resident, context| resident.begin(context));
        }
        if flow == Flow::Leave
            && let Some(resident) = self.residents[token.0].take()
        {
            resident.place().leave();
            self.freed.push(token.0);
        }
    }

    /// A panic ends that one resident, not the loop.
    fn run_at(&mut self, token: Token, work: impl FnOnce(&mut dyn Resident, &mut Context) -> Flow) -> Flow {
        let context = &mut self.context;
        let Some(Some(resident)) = self.residents.get_mut(token.0) else { return Flow::Continue };
        // The callbacks before this may have taken their time.
        context.now = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| work(&mut **resident, context))) {
            Ok(flow) => flow,
            Err(_) => {
                self.owner.report(Trouble::ResidentPanicked);
                // The panic may have come while the buffer was lent out; reads into an empty one look like the peer's end.
                context.read_buffer.resize(FIRST_READ_BUFFER, 0);
                // Even telling its owner may panic; then the place is just freed.
                catch_unwind(AssertUnwindSafe(|| resident.abort(AbortCause::Panic, context))).unwrap_or(Flow::Leave)
            }
        }
    }

    fn settle(&mut self, newcomer: Newcomer) {
        let token = Token(self.free.pop().unwrap_or_else(|| {
            self.residents.push(None);
            self.residents.len() - 1
        }));
        match newcomer(token, &mut self.context) {
            Some(resident) => {
                resident.place().take(token);
                self.residents[token.0] = Some(resident);
                // Whatever happened before the place was taken is seen now.
                self.context.ready.push_back(token);
            }
            None => self.freed.push(token.0),
        }
    }
}

impl Drop for EventLoop {
    /// On the loop thread, after the last pass or, without that, when the host has ended the thread. Then no code of the host
    /// runs in here.
    fn drop(&mut self) {
        let ending = match (self.returned, self.handle.is_halted()) {
            (false, _) => LoopEnding::Died,
            (true, true) => LoopEnding::Halted,
            (true, false) => LoopEnding::InOrder,
        };
        if ending == LoopEnding::Died {
            self.handle.halt();
        }
        // A panic in a destructor of the thread would end the process.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            self.close_queue();
            self.handle.drop_waker();
            for resident in self.residents.iter_mut().flatten() {
                resident.discard(&mut self.context);
            }
            self.residents.clear();
        }));
        self.handle.buffers.clear();
        let _ = catch_unwind(AssertUnwindSafe(|| self.owner.ended(&self.handle, ending)));
    }
}
