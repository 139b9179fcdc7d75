//! Event-loop threads, and the connections, streams and listeners that live on them.

mod admission;
mod blocking;
mod buffers;
mod connection;
mod deadlines;
mod default;
mod dispatch;
mod drain;
mod driver;
mod error;
mod event_loop;
mod farewell;
mod handlers;
mod inbox;
mod lifecycle;
mod listener;
mod log;
mod log_lines;
mod members;
mod operation_name;
mod settings;
mod setup;
mod statistics;
mod stream;
mod timers;

pub use admission::ListenerLimits;
pub use blocking::Reply;
pub use connection::{ConnectRequest, Connection, Flush, Phase};
pub use deadlines::Deadline;
pub use default::{DefaultOptions, all_runtimes, default_runtime, set_default_options, take_default_if_ended};
pub use drain::Drain;
pub use error::{Error, Outcome};
pub use event_loop::{Task, check_may_wait, is_loop_thread};
pub use handlers::{ConnectionHandler, ListenerHandler, StreamHandler};
pub use inbox::Inbox;
pub use lifecycle::{Runtime, stop_runtimes};
pub use listener::{ListenRequest, Listener};
pub use log::{Level, Log, Repeated};
pub use settings::{Settings, Times};
pub use statistics::Figures;
pub use stream::{Stream, StreamPhase};

pub use crate::transport::{ProcessMark, uncancelled};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a panic elsewhere while the lock was held does not spread, since every critical section leaves its data whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
