//! What a connection writes into its runtime's log: at INFO its beginning and end, at DEBUG its steps and its streams, at TRACE
//! each message.

use super::handle::{Connection, Stream};
use crate::rpc::{Envelope, MessageType, Outgoing, quoted};
use crate::runtime::error::Outcome;
use crate::runtime::log::{Level, Repeated};

impl Connection {
    #[inline]
    fn logs(&self, level: Level) -> bool {
        level <= self.log_level
    }

    /// Writes a line about this connection, which is made only if somebody wants it. With no lock held.
    pub(super) fn log_line(&self, level: Level, line: impl FnOnce() -> String) {
        if self.logs(level)
            && let Some(log) = self.log()
        {
            log.write(level, "connection", || format!("{}: {}", self.label(), line()));
        }
    }

    /// The same for a line that a peer can cause in any number.
    pub(super) fn log_repeated(&self, kind: Repeated, level: Level, line: impl FnOnce() -> String) {
        if self.logs(level)
            && let Some(log) = self.log()
        {
            log.write_repeated(kind, level, "connection", || format!("{}: {}", self.label(), line()));
        }
    }

    #[inline]
    pub(super) fn log_received(&self, envelope: &Envelope<'_>, len: usize) {
        if self.logs(Level::Trace) {
            let (message_type, flags) = (envelope.message_type.unwrap_or(-1), envelope.flags.unwrap_or(0));
            self.log_message("received", message_type, flags, envelope.stream_id.unwrap_or(-1), len);
        }
    }

    #[inline]
    pub(super) fn log_sent(&self, message: &Outgoing<'_>, stream_id: i32) {
        if self.logs(Level::Trace) {
            self.log_message(
                "accepted for sending",
                message.message_type,
                message.flags,
                stream_id,
                message.payload.len(),
            );
        }
    }

    #[cold]
    #[inline(never)]
    fn log_message(&self, what: &str, message_type: i32, flags: i32, stream_id: i32, len: usize) {
        self.log_line(Level::Trace, || {
            let name = MessageType::from_number(message_type).map_or("a message of an unknown type", MessageType::name);
            format!("{what}: {name}, flags {flags}, stream {stream_id}, {len} bytes of payload")
        });
    }

    #[inline]
    pub(super) fn log_stream_end(&self, stream: &Stream, outcome: &Outcome) {
        if self.logs(Level::Debug) {
            self.log_end_of(stream, outcome);
        }
    }

    #[cold]
    #[inline(never)]
    fn log_end_of(&self, stream: &Stream, outcome: &Outcome) {
        self.log_line(Level::Debug, || match outcome {
            Ok(()) => format!("stream {} ended", stream.id()),
            Err(error) => format!("stream {} ended: {error}", stream.id()),
        });
    }

    #[inline]
    pub(super) fn log_stream_begin(&self, stream: &Stream, what: &str) {
        if self.logs(Level::Debug) {
            self.log_begin_of(stream, what);
        }
    }

    #[cold]
    #[inline(never)]
    fn log_begin_of(&self, stream: &Stream, what: &str) {
        self.log_line(Level::Debug, || format!("stream {} {what}: {:?}", stream.id(), quoted(stream.operation())));
    }

    /// The peer as far as it is known: its address, or where it is looked for.
    fn label(&self) -> String {
        match (self.addresses(), self.endpoint()) {
            (Some((_, remote)), _) if !remote.text().is_empty() => remote.value().to_string(),
            (_, Some(endpoint)) => endpoint.to_string(),
            _ => "a client".to_owned(),
        }
    }
}
