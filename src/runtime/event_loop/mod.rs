mod buffers;
pub mod timers;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Registry, Token, Waker};

use crate::rpc::{Buffers, Mark};
use crate::runtime::connection::driver::{Driver, Flow};
use crate::runtime::connection::handle::{Connection, Flush};
use crate::runtime::connection::setup::{Setup, Step};
use crate::runtime::event_loop::buffers::BufferPool;
use crate::runtime::event_loop::timers::{Due, TimerKey, Timers};
use crate::runtime::handlers::{ConnectionHandler, ListenerHandler, StreamHandler};
use crate::runtime::listener::handle::{Accepted, Listener, ListenerDriver};
use crate::runtime::runtime::Live;
use crate::runtime::{Error, Level, Log, Outcome, Repeated, lock};
use crate::transport::{self, ProcessMark, UseMark, never_cancelled, uncancelled};

const WAKE: Token = Token(usize::MAX);
/// What one read takes at most, and the memory each loop keeps for it.
const READ_BUFFER_LEN: usize = 256 * 1024;
/// Rounds of commands before the sockets get their turn again.
const COMMAND_ROUNDS: usize = 16;
const EVENTS_PER_PASS: usize = 512;
/// How long commands, or deadlines, may keep the sockets waiting, which is looked at after so many of them.
const SHARE: Duration = Duration::from_millis(1);
const CALLS_PER_LOOK: usize = 16;
/// After so long without an event the loop gives the memory back that it keeps for large messages.
const IDLE: Duration = Duration::from_secs(1);
/// When the system cannot wait for events just now, the first and the longest pause before the next try.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// A function to be run once on a loop thread, with an error if that cannot be.
pub type Task = Box<dyn FnOnce(Outcome) + Send>;

/// What other threads, and callbacks, ask of a loop.
pub enum Command {
    /// A new client connection, to be dialled unless it has its socket.
    Connect(Arc<Connection>, Option<Box<transport::Stream>>),
    /// A new server connection.
    Accepted(Box<Accepted>),
    /// Nothing to listen at: only what the application hands over.
    Listen(Arc<Listener>, Option<Box<transport::Listener>>),
    /// It is to be closed or drained, or something is over that it waits for.
    ServiceListener(Arc<Listener>),
    /// Something changed on the connection: bytes to write, close, abort, pause, resume.
    Service(Arc<Connection>),
    /// The connection, if it is one's, is kept until the task has run.
    Task(Task, Option<Arc<Connection>>),
    DestroyConnection(Box<dyn ConnectionHandler>, Box<Live>),
    /// The stream's connection is kept until the stream is destroyed.
    DestroyStream(Box<dyn StreamHandler>, Arc<Connection>),
    DestroyListener(Box<dyn ListenerHandler>, Box<Live>),
    /// Abort all that is open.
    Shutdown,
    /// End the thread.
    Stop,
}

/// Whose loops these are. Called on the loop thread.
pub trait LoopOwner: Send {
    /// The system gives no events any more: everything on the loop has been aborted.
    fn broke(&self);
    /// Nothing lives on the loop any more, and its thread is about to end. `ending` says how it came to that.
    fn ended(&self, event_loop: &LoopHandle, ending: LoopEnding);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopEnding {
    /// It was told to, when nothing was left on it.
    InOrder,
    /// It was halted.
    Halted,
    /// The host ended the thread inside a callback.
    Died,
}

/// The side of a loop that other threads see.
pub struct LoopHandle {
    number: usize,
    queue: Mutex<Queue>,
    /// Nothing once the loop has stopped, since its descriptor does not wait for the last of those who know the loop; and
    /// nothing when the system gives no events any more.
    waker: Mutex<Option<Waker>>,
    /// A command has come, for a loop without a waker.
    arrived: Condvar,
    /// Once it is ended, no callback begins any more, and what lives on the loop is inert.
    used_by: UseMark,
    buffers: BufferPool,
}

struct Queue {
    commands: VecDeque<Command>,
    /// The loop will look into the queue without being woken.
    awake: bool,
    stopped: bool,
}

thread_local! {
    /// The process in which this is an event-loop thread; none on other threads. A child that was forked in a callback has
    /// that thread's copy, but runs no loop on it.
    static LOOP_OF: Cell<Option<ProcessMark>> = const { Cell::new(None) };
}

/// Whether this is an event-loop thread of the library, of whichever runtime.
pub fn is_loop_thread() -> bool {
    LOOP_OF.get().is_some_and(ProcessMark::is_current)
}

/// Whether this thread may wait for a loop: not if it is one.
pub fn check_may_wait() -> Result<(), Error> {
    if is_loop_thread() { Err(Error::WouldDeadlock) } else { Ok(()) }
}

impl LoopHandle {
    /// Queues a command. After the loop has stopped, tasks are told so and the rest is dropped.
    pub fn post(&self, command: Command) {
        let mut queue = lock(&self.queue);
        if queue.stopped {
            drop(queue);
            self.refuse(command);
            return;
        }
        queue.commands.push_back(command);
        let wake = !queue.awake;
        queue.awake = true;
        drop(queue);
        if wake {
            match lock(&self.waker).as_ref() {
                // It fails only if the event queue of the system is gone, and the loop with it.
                Some(waker) => _ = uncancelled(|| waker.wake()),
                None => self.arrived.notify_one(),
            }
        }
    }

    /// Tells a task that it cannot run any more, unless nobody is called any more. Other commands are dropped.
    fn refuse(&self, command: Command) {
        if let Command::Task(task, _connection) = command
            && !self.is_halted()
        {
            task(Err(Error::RuntimeShutdown));
        }
    }

    /// Which of its runtime's loops it is.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Whether no callback may begin any more and every call on what lives on the loop is refused. Whoever waits for the
    /// loop looks at this after each wake.
    pub fn is_halted(&self) -> bool {
        self.used_by.is_ended()
    }

    /// Whether what lives on the loop may be used: not in a forked child, and not once it is halted.
    pub fn is_usable(&self) -> bool {
        self.used_by.is_current()
    }

    /// From here on no callback begins; the loop ends once the one that runs has returned.
    pub fn halt(&self) {
        self.used_by.end();
        self.post(Command::Stop);
    }

    /// Waits for a command without asking the system for events.
    fn await_command(&self, timeout: Option<Duration>) {
        let queue = lock(&self.queue);
        let is_waiting = |queue: &mut Queue| queue.commands.is_empty();
        match timeout {
            Some(timeout) => drop(self.arrived.wait_timeout_while(queue, timeout, is_waiting)),
            None => drop(self.arrived.wait_while(queue, is_waiting).unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

impl Buffers for LoopHandle {
    fn take(&self, len: usize) -> Vec<u8> {
        self.buffers.take(len)
    }
}

impl LoopHandle {
    /// Memory for the beginning of a message that has `final_len` bytes if all of it comes.
    pub fn take_for(&self, len: usize, final_len: usize) -> Vec<u8> {
        self.buffers.take_for(len, final_len)
    }

    /// Keeps the memory for the next message.
    pub fn give_back(&self, buffer: Vec<u8>) {
        self.buffers.give_back(buffer);
    }
}

/// What the objects on a loop use of it.
pub struct Context {
    pub registry: Registry,
    pub timers: Timers,
    pub read_buffer: Vec<u8>,
    /// Places that have work left and no event coming for it.
    pub ready: VecDeque<Token>,
    pub due: VecDeque<Mark<Flush>>,
    /// Empty: memory for what a connection takes out of its queue.
    pub segments: VecDeque<Vec<u8>>,
    pub log: Arc<Log>,
    /// The time at which the work at hand began, or later.
    pub now: Instant,
    pub shutting_down: bool,
}

enum Slot {
    Free,
    Setup(Box<Setup>),
    Connection(Box<Driver>),
    Listener(Box<ListenerDriver>),
}

impl Slot {
    fn run(&mut self, context: &mut Context) -> Flow {
        match self {
            Slot::Setup(setup) => {
                let step = setup.run(context);
                self.after(step, context)
            }
            Slot::Connection(driver) => driver.run(context),
            Slot::Listener(listener) => listener.run(context),
            Slot::Free => Flow::Continue,
        }
    }

    /// Runs what stood in the loop's line.
    fn take_turn(&mut self, context: &mut Context) -> Flow {
        match self {
            Slot::Setup(setup) => {
                let step = setup.take_turn(context);
                self.after(step, context)
            }
            Slot::Connection(driver) => driver.take_turn(context),
            Slot::Listener(listener) => listener.take_turn(context),
            other => other.run(context),
        }
    }

    fn expire(&mut self, key: TimerKey, context: &mut Context) -> Flow {
        match self {
            Slot::Setup(setup) => {
                let step = setup.expire(key, context);
                self.after(step, context)
            }
            Slot::Connection(driver) => driver.expire(key, context),
            Slot::Listener(listener) => listener.expire(key, context),
            Slot::Free => Flow::Continue,
        }
    }

    /// A setup that has done its work gives its place to the connection's driver.
    fn after(&mut self, step: Step, context: &mut Context) -> Flow {
        match step {
            Step::Pending => Flow::Continue,
            Step::Over => Flow::Finished,
            Step::Established(driver) => {
                *self = Slot::Connection(driver);
                // In its place already: the host may end the thread in a callback.
                if let Slot::Connection(driver) = self {
                    driver.begin(context);
                }
                self.run(context)
            }
        }
    }

    fn abort(&mut self, error: Error, context: &mut Context) -> Flow {
        match self {
            Slot::Setup(setup) => setup.abort(error, context),
            Slot::Connection(driver) => driver.abort(error, context),
            Slot::Listener(listener) => listener.abort(error, context),
            Slot::Free => Flow::Continue,
        }
    }

    /// Closes the socket and tells nobody of it.
    fn discard(&mut self, context: &mut Context) {
        match self {
            Slot::Setup(setup) => setup.close(context),
            Slot::Connection(driver) => driver.discard(context),
            Slot::Listener(listener) => listener.give_up_socket(context),
            Slot::Free => {}
        }
    }
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
    slots: Vec<Slot>,
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

#[inline]
fn is_share_used(begun: Instant, count: usize) -> bool {
    count % CALLS_PER_LOOK == CALLS_PER_LOOK - 1 && begun.elapsed() >= SHARE
}

/// The memory that a loop reads into; the process goes on if there is none.
fn make_read_buffer() -> std::io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(READ_BUFFER_LEN).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
    buffer.resize(READ_BUFFER_LEN, 0);
    Ok(buffer)
}

pub fn spawn_loop(
    number: usize,
    log: Arc<Log>,
    owner: Box<dyn LoopOwner>,
) -> Result<(Arc<LoopHandle>, JoinHandle<()>), Error> {
    let failed = |error: std::io::Error| {
        let kind = transport::ErrorKind::Io;
        Error::Transport(transport::Error::from_io("starting an event-loop thread", &error, kind))
    };
    let poll = Poll::new().map_err(failed)?;
    let waker = Waker::new(poll.registry(), WAKE).map_err(failed)?;
    let queue = Queue { commands: VecDeque::new(), awake: false, stopped: false };
    let handle = Arc::new(LoopHandle {
        number,
        queue: Mutex::new(queue),
        waker: Mutex::new(Some(waker)),
        arrived: Condvar::new(),
        used_by: UseMark::of_this_process(),
        buffers: BufferPool::default(),
    });
    let context = Context {
        registry: poll.registry().try_clone().map_err(failed)?,
        timers: Timers::default(),
        read_buffer: make_read_buffer().map_err(failed)?,
        ready: VecDeque::new(),
        due: VecDeque::new(),
        segments: VecDeque::new(),
        log,
        now: Instant::now(),
        shutting_down: false,
    };
    let event_loop = EventLoop {
        process: ProcessMark::current(),
        handle: handle.clone(),
        owner,
        poll,
        pause: None,
        is_deaf: false,
        commands: VecDeque::new(),
        context,
        slots: Vec::new(),
        free: Vec::new(),
        freed: Vec::new(),
        stopping: false,
        returned: false,
    };
    let thread = std::thread::Builder::new()
        .name(format!("esrpc-loop-{number}"))
        .spawn(move || {
            never_cancelled();
            LOOP_OF.set(Some(ProcessMark::current()));
            let ended = LOOP.with_borrow_mut(|place| {
                place.0.insert(event_loop).run();
                place.0.take()
            });
            drop(ended);
        })
        .map_err(failed)?;
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
            lock(&self.handle.queue).awake = true;
            if events.is_empty() && timeout == Some(IDLE) {
                self.handle.buffers.clear();
            }
            for event in events.iter().take_while(|_| !halted.is_halted()) {
                let readable = event.is_readable() || event.is_read_closed() || event.is_error();
                let writable = event.is_writable() || event.is_write_closed() || event.is_error();
                // Behind an end, and behind urgent data, a read that ends early is not the last one.
                let until_end = event.is_read_closed() || event.is_error() || event.is_priority();
                self.at(event.token(), |slot, context| match slot {
                    Slot::Connection(driver) => {
                        driver.note_readiness(readable, writable, until_end);
                        driver.run(context)
                    }
                    slot => slot.run(context),
                });
            }
            self.run_commands();
            self.run_ready();
            self.run_timers();
            self.free.append(&mut self.freed);
        }
        self.close_queue();
        self.returned = true;
    }

    /// Takes no more commands. Tasks that are left learn that they cannot run any more, unless nobody is called any more.
    fn close_queue(&mut self) {
        {
            let mut queue = lock(&self.handle.queue);
            queue.stopped = true;
            self.commands.append(&mut queue.commands);
        }
        while let Some(command) = self.commands.pop_front() {
            let _ = catch_unwind(AssertUnwindSafe(|| self.handle.refuse(command)));
        }
    }

    fn is_ending(&self) -> bool {
        self.stopping || self.handle.is_halted()
    }

    /// Waits for events, or a command, until the time is over.
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
            std::io::ErrorKind::Interrupted => {}
            std::io::ErrorKind::OutOfMemory | std::io::ErrorKind::WouldBlock => {
                let pause = self.pause.unwrap_or(FIRST_PAUSE);
                let text = || format!("waiting for events failed, which is tried again: {error}");
                self.context.log.write_repeated(Repeated::Poll, Level::Error, "runtime", text);
                std::thread::sleep(pause);
                self.pause = Some(LONGEST_PAUSE.min(pause * 2));
            }
            _ => {
                let text = || format!("waiting for events failed, and the runtime ends: {error}");
                self.context.log.write(Level::Error, "runtime", text);
                self.is_deaf = true;
                lock(&self.handle.waker).take();
                self.abort_all();
                self.owner.broke();
            }
        }
    }

    /// How long the poll may take. From here on the loop has to be woken for a command.
    fn begin_poll(&mut self) -> Option<Duration> {
        let mut queue = lock(&self.handle.queue);
        if !self.context.ready.is_empty() || !self.commands.is_empty() || !queue.commands.is_empty() {
            return Some(Duration::ZERO);
        }
        queue.awake = false;
        drop(queue);
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
        let mut count = 0;
        let mut begun = None;
        for _ in 0..COMMAND_ROUNDS {
            // Some may be left of the last pass.
            if self.commands.is_empty() {
                let mut queue = lock(&self.handle.queue);
                queue.awake = true;
                std::mem::swap(&mut self.commands, &mut queue.commands);
            }
            if self.commands.is_empty() {
                break;
            }
            // Clocks that start now must not start in the past.
            self.context.now = Instant::now();
            let begun = *begun.get_or_insert(self.context.now);
            // A panic of ours ends the work on its command, not the thread.
            match catch_unwind(AssertUnwindSafe(|| self.run_batch(begun, &mut count))) {
                Ok(true) => return,
                Ok(false) => {}
                Err(_) => self.context.log.write(Level::Error, "runtime", || "a command panicked".to_owned()),
            }
        }
    }

    /// Runs commands until there are no more, or their share of the time is used: then true.
    fn run_batch(&mut self, begun: Instant, count: &mut usize) -> bool {
        while !self.handle.is_halted()
            && let Some(command) = self.commands.pop_front()
        {
            self.run_command(command);
            *count += 1;
            if is_share_used(begun, *count) {
                return true;
            }
        }
        false
    }

    fn run_command(&mut self, command: Command) {
        match command {
            Command::Connect(connection, adopted) => {
                let token = self.reserve();
                match Setup::connect(connection, adopted, token, &mut self.context) {
                    Some(setup) => self.occupy(token, Slot::Setup(Box::new(setup))),
                    None => self.freed.push(token.0),
                }
            }
            Command::Accepted(accepted) => {
                let token = self.reserve();
                match Setup::accept(*accepted, token, &mut self.context) {
                    Some(setup) => self.occupy(token, Slot::Setup(Box::new(setup))),
                    None => self.freed.push(token.0),
                }
            }
            Command::Listen(listener, socket) => {
                let token = self.reserve();
                match ListenerDriver::start(listener, socket, token, &mut self.context) {
                    Some(driver) => self.occupy(token, Slot::Listener(Box::new(driver))),
                    None => self.freed.push(token.0),
                }
            }
            // Whoever is over has left its place, perhaps to another.
            Command::ServiceListener(listener) => {
                if let Some(token) = listener.token() {
                    self.at(token, |slot, context| match slot {
                        Slot::Listener(driver) if driver.is_of(&listener) => driver.run(context),
                        _ => Flow::Continue,
                    });
                }
                listener.tell_end();
            }
            Command::Service(connection) => {
                if let Some(token) = connection.token() {
                    self.at(token, |slot, context| match slot {
                        Slot::Connection(driver) if Arc::ptr_eq(&driver.connection, &connection) => driver.run(context),
                        Slot::Setup(setup) if setup.is_of(&connection) => slot.run(context),
                        _ => Flow::Continue,
                    });
                }
            }
            Command::Task(task, _connection) => task(Ok(())),
            Command::DestroyConnection(handler, live) => {
                handler.on_destroy();
                drop(live);
            }
            Command::DestroyStream(handler, connection) => {
                handler.on_destroy();
                drop(connection);
            }
            Command::DestroyListener(handler, live) => {
                handler.on_destroy();
                drop(live);
            }
            Command::Shutdown => self.abort_all(),
            Command::Stop => self.stopping = true,
        }
    }

    fn abort_all(&mut self) {
        self.context.shutting_down = true;
        for index in 0..self.slots.len() {
            self.at(Token(index), |slot, context| slot.abort(Error::RuntimeShutdown, context));
        }
    }

    fn run_ready(&mut self) {
        for _ in 0..self.context.ready.len() {
            let Some(token) = self.context.ready.pop_front().filter(|_| !self.handle.is_halted()) else { break };
            self.at(token, Slot::take_turn);
        }
    }

    fn run_timers(&mut self) {
        if self.context.timers.next_deadline().is_none() {
            return;
        }
        let begun = Instant::now();
        self.context.now = begun;
        let mut count = 0;
        while !is_share_used(begun, count)
            && let Some((key, due)) = self.context.timers.take_expired(self.context.now)
        {
            count += 1;
            match due {
                Due::Place(token) => self.at(token, |slot, context| slot.expire(key, context)),
                Due::Stream(stream) => {
                    // A panic of ours ends the work on this stream, not the thread.
                    let expire = || stream.upgrade().inspect(|stream| stream.connection().expire_stream(stream));
                    if catch_unwind(AssertUnwindSafe(expire)).is_err() {
                        let text = || "the event loop panicked on the deadline of a stream".to_owned();
                        self.context.log.write(Level::Error, "runtime", text);
                    }
                }
            }
        }
    }

    /// Runs `work` on what lives at the token, and frees the place if that says it is over. A panic ends that one
    /// connection, not the loop.
    fn at(&mut self, token: Token, work: impl FnOnce(&mut Slot, &mut Context) -> Flow) {
        let context = &mut self.context;
        let Some(slot) = self.slots.get_mut(token.0) else { return };
        // The callbacks before this may have taken their time.
        context.now = Instant::now();
        let flow = match catch_unwind(AssertUnwindSafe(|| work(slot, context))) {
            Ok(flow) => flow,
            Err(_) => {
                let sentence = || "the event loop panicked on a connection".to_owned();
                context.log.write_repeated(Repeated::Panic, Level::Error, "runtime", sentence);
                // The panic may have come while the buffer was lent out; reads into an empty one look like the peer's end.
                context.read_buffer.resize(READ_BUFFER_LEN, 0);
                let error = || Error::Internal("the event loop panicked on this connection".to_owned());
                // Even telling the connection's owner may panic; then the place is just freed.
                catch_unwind(AssertUnwindSafe(|| slot.abort(error(), context))).unwrap_or(Flow::Finished)
            }
        };
        if flow == Flow::Finished && !matches!(self.slots[token.0], Slot::Free) {
            self.slots[token.0] = Slot::Free;
            self.freed.push(token.0);
        }
    }

    fn reserve(&mut self) -> Token {
        Token(self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Free);
            self.slots.len() - 1
        }))
    }

    fn occupy(&mut self, token: Token, slot: Slot) {
        self.slots[token.0] = slot;
        // Whatever happened before the place was taken is seen now.
        self.context.ready.push_back(token);
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
            self.context.log.note_dead_thread();
        }
        // A panic in a destructor of the thread would end the process.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            self.close_queue();
            lock(&self.handle.waker).take();
            for slot in &mut self.slots {
                slot.discard(&mut self.context);
            }
            self.slots.clear();
        }));
        self.handle.buffers.clear();
        let _ = catch_unwind(AssertUnwindSafe(|| self.owner.ended(&self.handle, ending)));
    }
}
