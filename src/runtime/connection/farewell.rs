//! The end of a connection, reported to all who were promised a callback: in parts, so that the many streams of one connection
//! do not keep the others of its loop waiting.

use std::sync::Arc;
use std::vec;

use super::driver::Turn;
use super::handle::{Connection, Stream};
use super::state::Flush;
use crate::runtime::error::{Error, Outcome};
use crate::runtime::log::Level;

/// Who is still to learn that the connection is over.
pub(super) struct Farewell {
    outcome: Outcome,
    /// The same for those to whom "well" means that it ended without them.
    reason: Error,
    unwritten: Outcome,
    streams_end: Outcome,
    was_open: bool,
    sends: vec::IntoIter<Flush>,
    streams: vec::IntoIter<Arc<Stream>>,
}

impl Connection {
    /// Ends the connection for all who ask; nothing if that was done before. `lost` says why sends were not written, if that is
    /// not the outcome.
    pub(super) fn begin_farewell(self: &Arc<Self>, outcome: Outcome, lost: Option<Error>) -> Option<Farewell> {
        let remains = self.lock().end()?;
        let closing = remains.closing.as_ref();
        let by_this_side = closing.is_some_and(|closing| closing.by_this_side);
        let was_open = closing.is_some_and(|closing| closing.was_open);
        let reason = outcome.clone().err().unwrap_or(Error::ConnectionClosed);
        let unwritten = Err(lost.unwrap_or_else(|| reason.clone()));
        let streams_end = Err(if by_this_side { Error::ConnectionClosed } else { reason.clone() });
        let (sends, streams) = (remains.rpc.tokens.into_iter(), remains.rpc.streams.into_iter());
        Some(Farewell { outcome, reason, unwritten, streams_end, was_open, sends, streams })
    }
}

impl Farewell {
    /// Goes on until the turn is over. True once all reports are made, that to the connection's owner last.
    pub fn advance(&mut self, connection: &Arc<Connection>, turn: &mut Turn) -> bool {
        for flush in &mut self.sends {
            connection.tell(flush, &self.unwritten);
            if turn.note_call(0) {
                return false;
            }
        }
        for stream in &mut self.streams {
            connection.end_stream(&stream, &self.streams_end);
            if turn.note_call(0) {
                return false;
            }
        }
        self.tell_owner(connection);
        true
    }

    fn tell_owner(&self, connection: &Arc<Connection>) {
        connection.log_line(Level::Info, || match &self.outcome {
            Ok(()) => "ended".to_owned(),
            Err(error) => format!("ended: {error}"),
        });
        connection.set_end(self.outcome.clone());
        if !self.was_open {
            connection.lock().note_failed_setup(self.reason.clone());
        }
        if let Some(handler) = connection.handler() {
            if self.was_open {
                handler.on_shutdown(connection, &self.outcome);
            } else {
                handler.on_setup(Err(&self.reason));
            }
        }
        connection.leave();
        let mut shared = connection.lock();
        shared.note_reported_end();
        connection.notify(&shared);
    }
}
