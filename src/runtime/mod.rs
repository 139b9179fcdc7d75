//! Event-loop threads, and the connections, streams and listeners that live on them.

mod admission;
mod blocking;
mod connection;
mod default;
mod error;
mod event_loop;
mod handlers;
mod listener;
mod log;
mod members;
mod runtime;
mod settings;
mod statistics;

pub use admission::ListenerLimits;
pub use blocking::Reply;
pub use connection::deadlines::Deadline;
pub use connection::drain::Drain;
pub use connection::handle::{ConnectRequest, Connection, Flush, Phase};
pub use connection::inbox::Inbox;
pub use connection::stream::{Stream, StreamPhase};
pub use default::{all_runtimes, default_runtime, take_default_if_ended};
pub use error::{Error, Outcome, quoted};
pub use event_loop::{Task, check_may_wait, is_loop_thread};
pub use handlers::{ConnectionHandler, ListenerHandler, StreamHandler};
pub use listener::handle::{ListenRequest, Listener};
pub use log::{Level, Log, Repeated};
pub use runtime::{Runtime, stop_runtimes};
pub use settings::{Settings, Times};
pub use statistics::Figures;

pub use crate::transport::{ProcessMark, uncancelled};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a panic elsewhere while the lock was held does not spread, since every critical section leaves its data whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
