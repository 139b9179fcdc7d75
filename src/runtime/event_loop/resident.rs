//! What lives on a loop, and what the loop lends it.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use mio::{Registry, Token};

use super::timers::{TimerKey, Timers};

/// Whether a resident keeps its place on the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Continue,
    Leave,
}

/// What the poll reports of a resident's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    pub readable: bool,
    pub writable: bool,
    /// Behind an end, and behind urgent data, a read that ends early is not the last one.
    pub until_end: bool,
}

/// Why the loop ends a resident on its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortCause {
    /// Everything on the loop ends.
    Shutdown,
    /// The resident panicked.
    Panic,
}

/// What has a place on a loop: run on the loop's thread alone, and dropped there once it leaves.
pub trait Resident: Send {
    /// Where its owners find it.
    fn place(&self) -> &Place;
    /// Called once it has its place, where it is found even if the host ends the thread in a callback.
    fn begin(&mut self, context: &mut Context) -> Flow {
        self.run(context)
    }
    /// Does all that can be done now.
    fn run(&mut self, context: &mut Context) -> Flow;
    /// The same after an event of its socket.
    fn run_on_event(&mut self, _: Readiness, context: &mut Context) -> Flow {
        self.run(context)
    }
    /// The same when the turn comes for which it stood in the loop's line.
    fn take_turn(&mut self, context: &mut Context) -> Flow {
        self.run(context)
    }
    /// One of its timers fired, or one that it has cancelled too late.
    fn expire(&mut self, key: TimerKey, context: &mut Context) -> Flow;
    fn abort(&mut self, cause: AbortCause, context: &mut Context) -> Flow;
    /// Closes the socket and calls nobody.
    fn discard(&mut self, context: &mut Context);
}

/// Makes a resident for the place at the token, or nothing if there is nothing left to do. Dropped without a call if the
/// loop has ended.
pub type Newcomer = Box<dyn FnOnce(Token, &mut Context) -> Option<Box<dyn Resident>> + Send>;

/// What other threads hold of a resident, and can have visited.
pub trait Owner: Send + Sync {
    fn place(&self) -> &Place;
}

/// Where a resident lives on its loop. Empty before it has settled and once it has left, so that a late visit does not
/// reach the next one there. Written on the loop thread alone.
#[derive(Default)]
pub struct Place(AtomicUsize);

impl Place {
    pub fn token(&self) -> Option<Token> {
        self.0.load(Ordering::Acquire).checked_sub(1).map(Token)
    }

    pub(super) fn take(&self, token: Token) {
        self.0.store(token.0 + 1, Ordering::Release);
    }

    pub(super) fn leave(&self) {
        self.0.store(0, Ordering::Release);
    }
}

/// Whoever gets the last call, after which nothing refers to it any more.
pub trait Destroyed: Send + Sync {
    fn on_destroy(&self);
}

/// What a loop lends its residents.
pub struct Context {
    pub registry: Registry,
    pub timers: Timers,
    pub read_buffer: Vec<u8>,
    /// The loop's line: places that have work left and no event coming for it.
    pub ready: VecDeque<Token>,
    /// Whoever takes the place of the resident that leaves now.
    pub successor: Option<Box<dyn Resident>>,
    /// The time at which the work at hand began, or later.
    pub now: Instant,
    pub shutting_down: bool,
    scratch: Option<Box<dyn Any + Send>>,
}

impl Context {
    pub fn new(registry: Registry, read_buffer: Vec<u8>) -> Context {
        Context {
            registry,
            timers: Timers::default(),
            read_buffer,
            ready: VecDeque::new(),
            successor: None,
            now: Instant::now(),
            shutting_down: false,
            scratch: None,
        }
    }

    /// Memory that residents of one kind share, so that none has to keep its own between two uses. To be given back.
    #[inline]
    pub fn take_scratch<T: Default + Send + 'static>(&mut self) -> Box<T> {
        self.scratch.take().and_then(|scratch| scratch.downcast().ok()).unwrap_or_default()
    }

    #[inline]
    pub fn give_back_scratch<T: Send + 'static>(&mut self, scratch: Box<T>) {
        self.scratch = Some(scratch);
    }
}
