//! The process-wide default runtime, and all others of the process.

use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::runtime::{Error, Log, ProcessMark, Runtime, lock};

/// The runtimes of one process. A forked child makes a slot of its own, since the parent's lock may have been held
/// by another thread at the moment of the fork; the parent's stays reachable through `_parent`.
struct Slot {
    process: ProcessMark,
    runtime: Mutex<Option<Arc<Runtime>>>,
    /// All that are not gone, with the default one.
    all: Mutex<Vec<Weak<Runtime>>>,
    _parent: *mut Slot,
}

static SLOT: AtomicPtr<Slot> = AtomicPtr::new(std::ptr::null_mut());

fn slot() -> &'static Slot {
    loop {
        let current = SLOT.load(Ordering::Acquire);
        // SAFETY: a slot that was published in SLOT is never freed.
        if let Some(slot) = unsafe { current.as_ref() }
            && slot.process.is_current()
        {
            return slot;
        }
        let (runtime, all) = (Mutex::new(None), Mutex::new(Vec::new()));
        let slot = Slot { process: ProcessMark::current(), runtime, all, _parent: current };
        let new = Box::into_raw(Box::new(slot));
        if SLOT.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: `new` was not published, so this is its only use.
            drop(unsafe { Box::from_raw(new) });
        }
    }
}

/// The default runtime; made if `create`.
pub fn default_runtime(create: bool) -> Result<Option<Arc<Runtime>>, Error> {
    let mut runtime = lock(&slot().runtime);
    if create && runtime.as_ref().is_none_or(|runtime| runtime.is_dead()) {
        *runtime = Some(Runtime::new(1, Log::off())?);
    }
    Ok(runtime.clone())
}

/// Notes a new runtime.
pub(super) fn register(runtime: &Arc<Runtime>) {
    let mut all = lock(&slot().all);
    all.retain(|runtime| runtime.strong_count() > 0);
    all.push(Arc::downgrade(runtime));
}

/// Those of this process that are not gone.
pub fn all_runtimes() -> Vec<Arc<Runtime>> {
    lock(&slot().all).iter().filter_map(Weak::upgrade).collect()
}

/// Forgets the default runtime once it has ended, so that the next use makes a new one.
pub fn take_default_if_ended(ended: &Arc<Runtime>) {
    let mut runtime = lock(&slot().runtime);
    if runtime.as_ref().is_some_and(|current| Arc::ptr_eq(current, ended)) {
        *runtime = None;
    }
}
