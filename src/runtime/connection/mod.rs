//! A connection and its streams: what every thread sees of them, and the loop thread's side.

pub mod deadlines;
pub mod drain;
pub mod driver;
pub mod farewell;
pub mod handle;
pub mod inbox;
pub mod log_lines;
pub mod operation_name;
pub mod setup;
pub mod stream;
pub mod telling;
