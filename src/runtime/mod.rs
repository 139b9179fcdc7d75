//! Event-loop threads, and the connections, streams and listeners that live on them. From the ground up: `event_loop`, then
//! errors and the log, then `life`, that of the threads, then connections with their streams, then listeners, and the
//! blocking helpers on top.

mod admission;
mod blocking;
mod connection;
mod default;
mod error;
mod event_loop;
mod life;
mod listener;
mod log;
mod members;
mod settings;
mod statistics;

pub use admission::ListenerLimits;
pub use blocking::Reply;
pub use connection::{
    ConnectRequest, Connection, ConnectionHandler, Flush, Gatekeeper, Inbox, Phase, Stream, StreamHandler, StreamPhase,
};
pub use default::{
    DefaultOptions, all_runtimes, default_runtime, existing_default_runtime, set_default_options, stop_runtimes,
    take_default_if_ended,
};
pub use error::{Described, Ended, Error, Outcome, TimeLimit, sentence};
pub use event_loop::{Destroyed, check_may_wait, is_loop_thread};
pub use life::{OnEnded, Runtime};
pub use listener::{ListenRequest, Listener, ListenerHandler};
pub use log::{Level, Log, Repeated};
pub use members::Drain;
pub use settings::{Settings, Times};
pub use statistics::Figures;
pub(crate) use statistics::with_figures;

pub use crate::transport::{ProcessMark, uncancelled};
