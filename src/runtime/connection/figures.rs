//! What has happened on a connection, in numbers.

use super::handle::Connection;
use super::life::Phase;
use crate::rpc::Role;
use crate::runtime::error::{Described, Error};
use crate::runtime::statistics::{Figures, failure_counter};

/// Counts the end, for that reason, of a connection that was set up.
fn count_end(figures: &mut Figures, error: &Error) {
    match error {
        Error::TooManyAbnormalEvents => {
            figures.abnormal_event_ends += 1;
            figures.violation_ends += 1;
        }
        Error::Codec(_) | Error::Stranger(_) | Error::HandshakeMessageTooLarge { .. } | Error::Violation(_) => {
            figures.violation_ends += 1
        }
        Error::TimeLimit(_) | Error::LingerExpired { .. } => figures.deadline_ends += 1,
        _ => {}
    }
}

impl Connection {
    pub fn figures(&self) -> Figures {
        self.count(false)
    }

    /// Those that stay when the connection has ended.
    pub(super) fn last_figures(&self) -> Figures {
        self.count(true)
    }

    fn count(&self, is_over: bool) -> Figures {
        let tls = self.tls_info();
        let end = self.end().and_then(|ended| ended.err().map(Described::value));
        let shared = self.lock();
        let (counts, tally, is_open) =
            (shared.rpc.counts(), &shared.tally, !is_over && shared.phase() != Phase::Closed);
        let mut figures = Figures {
            messages_received: counts.messages_received,
            messages_sent: counts.messages_sent,
            bytes_received: tally.bytes_received,
            bytes_sent: shared.rpc.outbound_positions().1,
            // What is not written when a connection ends is lost.
            outbound_size: if is_open { shared.rpc.outbound_len() as u64 } else { 0 },
            outbound_size_max: shared.rpc.most_outbound_len() as u64,
            streams_opened: counts.streams_opened,
            streams_open: shared.rpc.open_streams() as u64,
            streams_refused: counts.streams_refused,
            streams_refused_by_limit: counts.streams_in_excess,
            sends_refused: counts.sends_refused,
            late_messages: counts.late_messages,
            unanswered_ends: counts.unanswered_ends,
            pings_unanswered: counts.pings_unanswered,
            reading_stops: tally.reading_stops,
            connections_opened: 1,
            connections_open: u64::from(is_open),
            tls_handshakes: u64::from(tls.is_some()),
            tls_resumptions: u64::from(tls.is_some_and(|info| info.resumed)),
            turns: tally.turns,
            longest_turn_us: u64::try_from(tally.longest_turn.as_micros()).unwrap_or(u64::MAX),
            ..Figures::default()
        };
        match shared.eviction() {
            Some(Error::TooManyHandshakes { .. }) => figures.handshakes_ended_by_limit = 1,
            Some(Error::TooManyHeldBytes { .. }) => figures.holders_ended_by_limit = 1,
            _ => {}
        }
        match (shared.reported_setup(), self.role()) {
            (Some(Ok(())), _) => {
                let closing = shared.life().closing().and_then(|closing| closing.reason.as_ref().err());
                if let Some(error) = end.or(closing) {
                    count_end(&mut figures, error);
                }
            }
            (Some(Err(error)), Role::Client) => {
                if let Some(counter) = failure_counter(error) {
                    *counter(&mut figures) += 1;
                }
            }
            (Some(Err(_)), Role::Server) => figures.connections_refused = 1,
            // A server's failure before that is an event of its listener.
            (None, _) => {}
        }
        let is_unfinished = self.role() == Role::Server && !shared.rpc.is_handshake_answered();
        figures.handshakes_unfinished = u64::from(is_unfinished && !is_open && figures.handshakes_ended_by_limit == 0);
        figures
    }
}
