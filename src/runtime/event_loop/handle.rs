//! The side of a loop that other threads see.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use mio::Waker;

use super::buffers::BufferPool;
use super::resident::{Destroyed, Newcomer, Owner};
use super::wait::{LoopError, lock};
use crate::rpc::Buffers;
use crate::transport::{ProcessMark, UseMark, uncancelled};

/// A function to be run once on a loop thread, with an error if that cannot be.
pub type Task = Box<dyn FnOnce(Result<(), LoopError>) + Send>;

/// Keeps something alive.
pub type Kept = Arc<dyn Send + Sync>;

/// What other threads, and callbacks, ask of a loop.
pub enum Command {
    /// Gives a newcomer its place.
    Settle(Newcomer),
    /// Runs the resident, if it has a place: something has changed for it.
    Visit(Arc<dyn Owner>),
    /// Runs the task, and keeps something until it has run.
    Run(Task, Option<Kept>),
    /// Calls the last one, and keeps something until that has returned.
    Destroy(Box<dyn Destroyed>, Kept),
    /// Aborts all that lives on the loop.
    ShutDown,
    /// Ends the thread.
    Stop,
}

/// The side of a loop that other threads see.
pub struct LoopHandle {
    number: usize,
    process: ProcessMark,
    queue: Mutex<Queue>,
    /// Nothing once the loop has stopped, since its descriptor does not wait for the last of those who know the loop; and
    /// nothing when the system gives no events any more.
    waker: Mutex<Option<Waker>>,
    /// A command has come, for a loop without a waker.
    arrived: Condvar,
    /// Once it is ended, no callback begins any more, and what lives on the loop is inert.
    used_by: UseMark,
    pub(super) buffers: BufferPool,
}

struct Queue {
    commands: VecDeque<Command>,
    /// The loop will look into the queue without being woken.
    awake: bool,
    stopped: bool,
}

impl LoopHandle {
    pub(super) fn new(number: usize, waker: Waker) -> LoopHandle {
        LoopHandle {
            number,
            process: ProcessMark::current(),
            queue: Mutex::new(Queue { commands: VecDeque::new(), awake: false, stopped: false }),
            waker: Mutex::new(Some(waker)),
            arrived: Condvar::new(),
            used_by: UseMark::of_this_process(),
            buffers: BufferPool::default(),
        }
    }

    /// Queues a command. After the loop has stopped, tasks fail and the rest is dropped.
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
    pub(super) fn refuse(&self, command: Command) {
        if let Command::Run(task, _kept) = command
            && !self.is_halted()
        {
            task(Err(LoopError::Stopped));
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

    /// Whether the caller's process is another one than the loop's: a forked child.
    pub fn is_foreign(&self) -> bool {
        !self.process.is_current()
    }

    /// Fails if what lives on the loop may not be used: in a forked child, and once the loop is halted.
    #[inline(always)]
    pub fn check_usable(&self) -> Result<(), LoopError> {
        if self.used_by.is_current() { Ok(()) } else { Err(self.unusable()) }
    }

    #[cold]
    #[inline(never)]
    fn unusable(&self) -> LoopError {
        if self.is_foreign() { LoopError::Forked } else { LoopError::Stopped }
    }

    /// From here on no callback begins; the loop ends once the one that runs has returned.
    pub fn halt(&self) {
        self.used_by.end();
        self.post(Command::Stop);
    }

    /// The loop looks into the queue before it waits: what is posted from here on is seen without a wake.
    pub(super) fn note_awake(&self) {
        lock(&self.queue).awake = true;
    }

    /// The loop is about to wait, and has to be woken for a command; false if there is one already.
    pub(super) fn fall_asleep(&self) -> bool {
        let mut queue = lock(&self.queue);
        if !queue.commands.is_empty() {
            return false;
        }
        queue.awake = false;
        true
    }

    /// Exchanges the queue for an empty one.
    pub(super) fn take_commands(&self, empty: &mut VecDeque<Command>) {
        let mut queue = lock(&self.queue);
        queue.awake = true;
        std::mem::swap(empty, &mut queue.commands);
    }

    /// Takes no more commands; moves those that are left.
    pub(super) fn close(&self, left: &mut VecDeque<Command>) {
        let mut queue = lock(&self.queue);
        queue.stopped = true;
        left.append(&mut queue.commands);
    }

    /// From here on the loop is woken by a condition variable.
    pub(super) fn drop_waker(&self) {
        lock(&self.waker).take();
    }

    /// Waits for a command without asking the system for events.
    pub(super) fn await_command(&self, timeout: Option<Duration>) {
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
