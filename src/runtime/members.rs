//! Who lives on a runtime or came by a listener, and how all of them are asked to end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::event_loop::{LoopHandle, deadline_after, lock};
use super::statistics::Figures;

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

/// A connection or a listener, as its runtime or its listener sees it.
pub trait Member: Send + Sync {
    /// Lets what is open go on until it ends or the time has passed, and takes nothing new.
    fn drain(self: Arc<Self>, drain: Drain);
    /// Makes those who wait for it look at it again.
    fn wake_waits(&self);
    /// The loop has been halted or has died, and calls nobody any more. Does nothing to who lives on another loop.
    fn fall_silent_with(&self, event_loop: &LoopHandle);
    /// What brought it here takes no more, which ends those that are not set up yet.
    fn note_closed_listener(self: Arc<Self>) {}
    /// Whether only its handles are left of it.
    fn has_ended(&self) -> bool {
        false
    }
    fn figures(&self) -> Figures {
        Figures::default()
    }
    fn open_streams(&self) -> usize {
        0
    }
}

/// The members of a listener or a runtime, so that all of them can be asked to end. Does not keep them.
#[derive(Default)]
pub struct Members {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By address.
    members: HashMap<usize, Weak<dyn Member>>,
    drain: Option<Drain>,
    /// Of those who have left.
    past: Figures,
}

impl Members {
    /// Counts one in; returns what was asked of all before.
    pub fn join<T: Member + 'static>(&self, member: &Arc<T>) -> Option<Drain> {
        let mut state = lock(&self.state);
        let weak: Weak<T> = Arc::downgrade(member);
        state.members.insert(Arc::as_ptr(member) as usize, weak);
        state.drain
    }

    /// Whether this was the last of those that are drained. `figures` are added to those of the past, once.
    pub fn leave<T: Member>(&self, member: &T, figures: &Figures) -> bool {
        let mut state = lock(&self.state);
        let was_here = state.members.remove(&(std::ptr::from_ref(member) as usize)).is_some();
        if was_here {
            state.past.add(figures);
        }
        was_here && state.members.is_empty() && state.drain.is_some()
    }

    /// Of those who are here and those who have left, each counted once.
    pub fn figures(&self) -> Figures {
        let (mut figures, members) = {
            let state = lock(&self.state);
            (state.past, state.present())
        };
        members.iter().for_each(|member| figures.add(&member.figures()));
        figures
    }

    pub fn open_streams(&self) -> usize {
        self.all().iter().map(|member| member.open_streams()).sum()
    }

    /// Drains all; whoever joins later learns of it then.
    pub fn drain(&self, drain: Drain) {
        let members = {
            let mut state = lock(&self.state);
            state.drain = Some(drain.and(state.drain));
            state.present()
        };
        members.into_iter().for_each(|member| member.drain(drain));
    }

    pub fn len(&self) -> usize {
        lock(&self.state).members.len()
    }

    /// How many have not ended, of those that stay until their handles are released.
    pub fn open(&self) -> usize {
        self.all().iter().filter(|member| !member.has_ended()).count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn all(&self) -> Vec<Arc<dyn Member>> {
        lock(&self.state).present()
    }
}

impl State {
    /// To be used once the lock is free: a member that goes away leaves, for which it takes the lock.
    fn present(&self) -> Vec<Arc<dyn Member>> {
        self.members.values().filter_map(Weak::upgrade).collect()
    }
}
