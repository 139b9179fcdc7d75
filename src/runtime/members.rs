use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use crate::runtime::statistics::Figures;
use crate::runtime::{Drain, lock};

/// Who lives on a listener or a runtime, so that all of them can be asked to end. Does not keep them.
pub struct Members<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    /// By address.
    members: HashMap<usize, Weak<T>>,
    drain: Option<Drain>,
    /// Of those who have left.
    past: Figures,
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Members { state: Mutex::new(State { members: HashMap::new(), drain: None, past: Figures::default() }) }
    }
}

impl<T> Members<T> {
    /// Counts one in; answers what was asked of all before.
    pub fn join(&self, member: &Arc<T>) -> Option<Drain> {
        let mut state = lock(&self.state);
        state.members.insert(Arc::as_ptr(member) as usize, Arc::downgrade(member));
        state.drain
    }

    /// Whether this was the last of those that are drained. `figures` are added to those of the past, once.
    pub fn leave(&self, member: &T, figures: &Figures) -> bool {
        let mut state = lock(&self.state);
        let was_here = state.members.remove(&(std::ptr::from_ref(member) as usize)).is_some();
        if was_here {
            state.past.add(figures);
        }
        was_here && state.members.is_empty() && state.drain.is_some()
    }

    /// The figures of those who have left, and the others.
    pub fn past_and_present(&self) -> (Figures, Vec<Arc<T>>) {
        let state = lock(&self.state);
        (state.past, state.members.values().filter_map(Weak::upgrade).collect())
    }

    /// Those who are to be told; whoever joins later is told then.
    pub fn begin_drain(&self, drain: Drain) -> Vec<Arc<T>> {
        let mut state = lock(&self.state);
        state.drain = Some(drain.and(state.drain));
        state.members.values().filter_map(Weak::upgrade).collect()
    }

    pub fn len(&self) -> usize {
        lock(&self.state).members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn all(&self) -> Vec<Arc<T>> {
        // A member that goes away leaves, for which it takes the lock: not while it is held here.
        lock(&self.state).members.values().filter_map(Weak::upgrade).collect()
    }
}
