//! The event-stream RPC protocol as a state machine: bytes and calls in, events and bytes out. No socket, thread, lock or
//! clock, so two of them can be connected in memory.

mod buffers;
mod connection;
mod counts;
mod error;
mod handshake;
mod limits;
mod outbound;
mod outgoing;
mod pings;
mod protocol;
mod rate_limit;
mod received;
mod streams;
mod texts;

pub use buffers::{Buffers, NewBuffers};
pub use connection::{Connection, Ended, HELD_BY_STREAM, MAX_EXEMPT_LEN};
pub use counts::Counts;
pub use error::Error;
pub use handshake::Role;
pub use limits::Limits;
pub use outbound::{Mark, Written};
pub use outgoing::{Outgoing, Prepared};
pub use protocol::{
    CONNECTION_ACCEPTED, Envelope, Incoming, MESSAGE_FLAGS_HEADER, MESSAGE_TYPE_HEADER, MessageType, OPERATION_HEADER,
    STREAM_ID_HEADER, TERMINATE_STREAM, is_protocol_header,
};
pub use rate_limit::{Rate, RateLimit};
pub use received::{Defect, Ending, Received, Violation};
pub use streams::StreamState;
pub use texts::{Refusal, application_error, error_message, handshake_refused, peer_error, quoted};
