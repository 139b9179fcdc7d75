//! The event-stream RPC protocol as a state machine: bytes and calls in, events and bytes out. No socket, thread, lock or
//! clock, so two of them can be connected in memory.

mod buffers;
mod connection;
mod error;
mod limits;
mod outbound;
mod outgoing;
mod protocol;
mod rate_limit;
mod streams;

pub use buffers::{Buffers, NewBuffers};
pub use connection::{
    Connection, Counts, Ended, Ending, HELD_BY_STREAM, MAX_EXEMPT_LEN, Received, Role, Violation, violation_message,
};
pub use error::Error;
pub use limits::Limits;
pub use outbound::{Mark, Written};
pub use outgoing::{Outgoing, Prepared};
pub use protocol::{
    CONNECTION_ACCEPTED, Envelope, Incoming, MESSAGE_FLAGS_HEADER, MESSAGE_TYPE_HEADER, MessageType, OPERATION_HEADER,
    STREAM_ID_HEADER, TERMINATE_STREAM, is_protocol_header,
};
pub use rate_limit::{Rate, RateLimit};
