//! Graceful ends: what a connection does when its listener or runtime is to end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::runtime::connection::handle::Shared;
use crate::runtime::members::Members;
use crate::runtime::runtime::deadline_after;
use crate::runtime::{Connection, Error, Listener, Phase};

/// Of a connection that is drained before it was set up.
pub(in crate::runtime) const DRAINED_BEFORE_SETUP: &str =
    "the connection was not set up yet when its runtime or listener was drained";

/// What is open may be finished, and nothing new is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Nothing: as long as it takes.
    pub until: Option<Instant>,
}

impl Drain {
    pub fn within(time: Option<Duration>) -> Drain {
        Drain { until: deadline_after(time) }
    }

    /// Of several deadlines the earliest counts.
    pub fn and(self, before: Option<Drain>) -> Drain {
        Drain { until: [self.until, before.and_then(|drain| drain.until)].into_iter().flatten().min() }
    }
}

impl Members<Connection> {
    pub fn open_streams(&self) -> usize {
        self.all().iter().map(|connection| connection.open_streams()).sum()
    }
}

impl Connection {
    pub(in crate::runtime) fn open_streams(&self) -> usize {
        self.lock().rpc.open_streams()
    }

    /// Counts the connection in where somebody may want to drain it.
    pub(in crate::runtime) fn join(self: &Arc<Self>) {
        let runtime = self.live.as_ref().and_then(|live| live.runtime().connections().join(self));
        let listener = self.listener().and_then(|listener| listener.connections().join(self));
        [runtime, listener].into_iter().flatten().for_each(|drain| self.drain(drain));
    }

    /// The connection is over for those who drain it.
    pub(in crate::runtime) fn leave(&self) {
        let figures = self.last_figures();
        if let Some(live) = &self.live {
            live.runtime().connections().leave(self, &figures);
        }
        if let Some(listener) = self.listener() {
            listener.left_by(self, &figures);
        }
        if let Some(seat) = &self.seat {
            seat.leave();
        }
    }

    /// Of a server's connection, unless it is gone.
    fn listener(&self) -> Option<Arc<Listener>> {
        self.seat.as_ref()?.listener()
    }

    /// Makes the loop look at a connection that is not set up yet.
    pub(in crate::runtime) fn wake_setup(self: &Arc<Self>) {
        let mut shared = self.lock();
        if shared.phase == Phase::Connecting {
            self.schedule(&mut shared);
        }
    }

    /// Lets the open streams go on until they end or the time is over, takes no new ones, then closes.
    pub(in crate::runtime) fn drain(self: &Arc<Self>, drain: Drain) {
        let mut shared = self.lock();
        shared.drain = Some(drain.and(shared.drain));
        if shared.phase != Phase::Closed {
            self.schedule(&mut shared);
        }
    }
}

impl Shared {
    /// The connection is to end as soon as nothing is open on it: what a drain asks for. Whether it begins to with that; then
    /// the driver has to look at it from the start, as at one that is closed: what has come and was not read is dropped.
    pub fn end_if_drained(&mut self) -> bool {
        if self.drain.is_none() || self.rpc.open_streams() > 0 {
            return false;
        }
        match self.phase {
            Phase::Connecting => self.begin_close(Err(Error::Draining(DRAINED_BEFORE_SETUP)), false),
            Phase::Open => self.begin_close(Ok(()), true),
            Phase::Closing | Phase::Closed => return false,
        }
        self.dirty = true;
        true
    }
}
