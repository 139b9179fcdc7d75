//! A connection as its runtime and its listener see it: drained, evicted, fallen silent, counted.

use std::sync::Arc;

use super::handle::Connection;
use super::state::Phase;
use crate::runtime::admission::Evicted;
use crate::runtime::error::Error;
use crate::runtime::event_loop::LoopHandle;
use crate::runtime::members::{Drain, Member};
use crate::runtime::statistics::Figures;

impl Member for Connection {
    fn drain(self: Arc<Self>, drain: Drain) {
        let mut shared = self.lock();
        shared.drain = Some(drain.and(shared.drain));
        if shared.phase != Phase::Closed {
            self.schedule(&mut shared);
        }
    }

    fn wake_waits(&self) {
        let readers = {
            let shared = self.lock();
            self.notify_all();
            shared.readers.clone()
        };
        readers.iter().filter_map(|stream| stream.inbox()).for_each(|inbox| inbox.wake());
    }

    /// Lets go of what it holds, and wakes those who wait.
    fn fall_silent_with(&self, event_loop: &LoopHandle) {
        if !std::ptr::eq(self.buffers(), event_loop) {
            return;
        }
        let outcome = Err(Error::RuntimeShutdown);
        let (ended, kept_streams) = {
            let mut shared = self.lock();
            shared.begin_close(outcome.clone(), false);
            shared.phase = Phase::Closed;
            shared.is_silent = true;
            let kept = (std::mem::take(&mut shared.blocked_streams), std::mem::take(&mut shared.new_stream_deadlines));
            (shared.rpc.end(), kept)
        };
        self.set_end(outcome.clone());
        ended.streams.iter().for_each(|stream| stream.set_end(&outcome));
        drop((ended, kept_streams));
        self.leave();
        self.wake_waits();
    }

    fn note_closed_listener(self: Arc<Self>) {
        let mut shared = self.lock();
        if shared.phase == Phase::Connecting {
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
    /// If it is over already, what it holds are messages that nobody has read.
    fn evict(self: Arc<Self>, error: Error) {
        let is_held_by_inboxes = matches!(error, Error::TooManyHeldBytes { .. });
        let mut shared = self.lock();
        if shared.phase == Phase::Open {
            shared.begin_close(Err(error.clone()), false);
        }
        // Before that, and after, whoever sets the connection up, or ends it, looks at this.
        shared.eviction.get_or_insert_with(|| error.clone());
        shared.aborted = true;
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
        let runtime = self.live.as_ref().and_then(|live| live.runtime().connections().join(self));
        let listener = self.seat.as_ref().and_then(|seat| seat.join(self));
        [runtime, listener].into_iter().flatten().for_each(|drain| self.clone().drain(drain));
    }

    /// The connection is over for those who drain it.
    pub(super) fn leave(&self) {
        let figures = self.last_figures();
        if let Some(live) = &self.live {
            live.runtime().connections().leave(self, &figures);
        }
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
