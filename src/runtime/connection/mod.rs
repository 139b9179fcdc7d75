//! A connection and its streams: what all threads see of them, and the loop thread's side.

mod calls;
mod connect;
mod deadlines;
mod deferral;
mod driver;
mod farewell;
mod figures;
mod gatekeeper;
pub(super) mod handle;
mod inbox;
pub(super) mod life;
mod log_lines;
mod membership;
mod operation_name;
pub(super) mod setup;
pub(super) mod state;
mod stream;
mod tally;
mod telling;
mod unread;

pub use connect::ConnectRequest;
pub use handle::{Connection, ConnectionHandler, Gatekeeper, Stream, StreamHandler, StreamPhase};
pub use inbox::Inbox;
pub use life::Phase;
pub use state::Flush;
