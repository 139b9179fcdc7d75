//! A connection as its runtime and its listener see it: drained, evicted, fallen silent, counted.

use std::sync::Arc;

use super::handle::Connection;
use super::life::Phase;
use crate::runtime::admission::Evicted;
use crate::runtime::error::Error;
use crate::runtime::event_loop::LoopHandle;
use crate::runtime::members::{Drain, Member};
use crate::runtime::statistics::Figures;

impl Member for Connection {
    fn drain(self: Arc<Self>, drain: Drain) {
        let mut shared = self.lock();
        shared.drain(drain);
        if shared.phase() != Phase::Closed {
            self.schedule(&mut shared);
        }
    }

    fn wake_waits(&self) {
        let readers = {
            let shared = self.lock();
            self.notify_all();
            shared.readers()
        };
        readers.iter().filter_map(|stream| stream.inbox()).for_each(|inbox| inbox.wake());
    }

    /// Lets go of what it holds, and wakes those who wait.
    fn fall_silent_with(&self, event_loop: &LoopHandle) {
        if !std::ptr::eq(self.buffers(), event_loop) {
            return;
        }
        let outcome = Err(Error::RuntimeShutdown);
        let remains = self.lock().fall_silent();
        self.set_end(outcome.clone());
        remains.rpc.streams.iter().for_each(|stream| stream.set_end(&outcome));
        drop(remains);
        self.leave();
        self.wake_waits();
    }

    fn note_closed_listener(self: Arc<Self>) {
        let mut shared = self.lock();
        if shared.phase() == Phase::Connecting {
            self.schedule(&mut shared);
        }
    }

    fn figures(&self) -> Figures {
        Connection::figures(self)
    }

    fn open_streams(&self) -> usize {
        self.lock().rpc.open_streams()
    }
}

impl Evicted for Connection {
    /// If it has ended already, what it holds are messages that nobody has read.
    fn evict(self: Arc<Self>, error: Error) {
        let is_held_by_inboxes = matches!(error, Error::TooManyHeldBytes { .. });
        let mut shared = self.lock();
        shared.evict(&error);
        self.schedule(&mut shared);
        self.notify(&shared);
        drop(shared);
        if is_held_by_inboxes {
            self.drop_unread(&error);
        }
    }
}

impl Connection {
    /// Counts the connection in where somebody may want to drain it.
    pub(in crate::runtime) fn join(self: &Arc<Self>) {
        let runtime = self.live.runtime().connections().join(self);
        let listener = self.seat.as_ref().and_then(|seat| seat.join(self));
        [runtime, listener].into_iter().flatten().for_each(|drain| self.clone().drain(drain));
    }

    /// It has ended, for those who drain it.
    pub(super) fn leave(&self) {
        let figures = self.last_figures();
        self.live.runtime().connections().leave(self, &figures);
        if let Some(seat) = &self.seat {
            seat.note_over(self, &figures);
        }
    }

    /// What the driver holds after a turn.
    #[inline]
    pub(super) fn report_held(&self, in_driver: usize) {
        if let Some(seat) = &self.seat {
            seat.report_held(in_driver);
        }
    }
}
