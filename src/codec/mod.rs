//! The event-stream message format.
