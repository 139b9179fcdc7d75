//! What has happened on connections, listeners and runtimes, in numbers. A connection keeps its own under the lock that it
//! takes anyway; when it is over they are added to those of its listener and its runtime.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::rpc::Role;
use crate::runtime::connection::Shared;
use crate::runtime::driver::Turn;
use crate::runtime::members::Members;
use crate::runtime::{Connection, Error, Listener, Phase, Runtime, lock};
use crate::transport;

/// The figures of a connection, or the sums of several; `esrpc_stats` says what each one is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub messages_received: u64,
    pub messages_sent: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub outbound_size: u64,
    pub outbound_size_most: u64,
    pub streams_opened: u64,
    pub streams_open: u64,
    pub streams_refused: u64,
    pub streams_refused_by_limit: u64,
    pub sends_refused: u64,
    pub late_messages: u64,
    pub unanswered_ends: u64,
    pub abnormal_event_ends: u64,
    pub pings_unanswered: u64,
    pub reading_stops: u64,
    pub connections_opened: u64,
    pub connections_open: u64,
    pub connections_refused: u64,
    pub accept_pauses: u64,
    pub adoptions_refused: u64,
    pub handshakes_ended_by_limit: u64,
    pub holders_ended_by_limit: u64,
    pub handshakes_unfinished: u64,
    pub failures_resolve: u64,
    pub failures_connect: u64,
    pub failures_tls: u64,
    pub failures_refused: u64,
    pub failures_timed_out: u64,
    pub failures_cancelled: u64,
    pub failures_other: u64,
    pub violation_ends: u64,
    pub deadline_ends: u64,
    pub tls_handshakes: u64,
    pub tls_resumptions: u64,
    pub turns: u64,
    pub longest_turn_us: u64,
}

impl Figures {
    /// Adds those of others; of some the larger counts.
    pub fn add(&mut self, other: &Figures) {
        // All of them by name, so that none is forgotten.
        let Figures {
            messages_received,
            messages_sent,
            bytes_received,
            bytes_sent,
            outbound_size,
            outbound_size_most,
            streams_opened,
            streams_open,
            streams_refused,
            streams_refused_by_limit,
            sends_refused,
            late_messages,
            unanswered_ends,
            abnormal_event_ends,
            pings_unanswered,
            reading_stops,
            connections_opened,
            connections_open,
            connections_refused,
            accept_pauses,
            adoptions_refused,
            handshakes_ended_by_limit,
            holders_ended_by_limit,
            handshakes_unfinished,
            failures_resolve,
            failures_connect,
            failures_tls,
            failures_refused,
            failures_timed_out,
            failures_cancelled,
            failures_other,
            violation_ends,
            deadline_ends,
            tls_handshakes,
            tls_resumptions,
            turns,
            longest_turn_us,
        } = *other;
        self.messages_received += messages_received;
        self.messages_sent += messages_sent;
        self.bytes_received += bytes_received;
        self.bytes_sent += bytes_sent;
        self.outbound_size += outbound_size;
        self.outbound_size_most = self.outbound_size_most.max(outbound_size_most);
        self.streams_opened += streams_opened;
        self.streams_open += streams_open;
        self.streams_refused += streams_refused;
        self.streams_refused_by_limit += streams_refused_by_limit;
        self.sends_refused += sends_refused;
        self.late_messages += late_messages;
        self.unanswered_ends += unanswered_ends;
        self.abnormal_event_ends += abnormal_event_ends;
        self.pings_unanswered += pings_unanswered;
        self.reading_stops += reading_stops;
        self.connections_opened += connections_opened;
        self.connections_open += connections_open;
        self.connections_refused += connections_refused;
        self.accept_pauses += accept_pauses;
        self.adoptions_refused += adoptions_refused;
        self.handshakes_ended_by_limit += handshakes_ended_by_limit;
        self.holders_ended_by_limit += holders_ended_by_limit;
        self.handshakes_unfinished += handshakes_unfinished;
        self.failures_resolve += failures_resolve;
        self.failures_connect += failures_connect;
        self.failures_tls += failures_tls;
        self.failures_refused += failures_refused;
        self.failures_timed_out += failures_timed_out;
        self.failures_cancelled += failures_cancelled;
        self.failures_other += failures_other;
        self.violation_ends += violation_ends;
        self.deadline_ends += deadline_ends;
        self.tls_handshakes += tls_handshakes;
        self.tls_resumptions += tls_resumptions;
        self.turns += turns;
        self.longest_turn_us = self.longest_turn_us.max(longest_turn_us);
    }
}

/// One of the figures.
pub type Counter = fn(&mut Figures) -> &mut u64;

/// Which one counts a connection that could not be had; none if that is counted where it was found out.
pub fn failure_counter(error: &Error) -> Option<Counter> {
    Some(match error {
        Error::Transport(error) => match error.kind {
            transport::ErrorKind::Tls(_) => |figures| &mut figures.failures_tls,
            transport::ErrorKind::ResolveFailed => |figures| &mut figures.failures_resolve,
            _ => |figures| &mut figures.failures_connect,
        },
        Error::Deadline { .. } => |figures| &mut figures.failures_timed_out,
        Error::HandshakeRefused(_) => |figures| &mut figures.failures_refused,
        Error::TooManyHandshakes { .. } | Error::TooManyHeldBytes { .. } => return None,
        Error::Cancelled | Error::ConnectionClosed | Error::Draining(_) | Error::RuntimeShutdown => {
            |figures| &mut figures.failures_cancelled
        }
        _ => |figures| &mut figures.failures_other,
    })
}

/// Counts the end, for that reason, of a connection that was set up.
fn count_end(figures: &mut Figures, error: &Error) {
    match error {
        Error::TooManyAbnormalEvents => {
            figures.abnormal_event_ends += 1;
            figures.violation_ends += 1;
        }
        Error::Codec(_) | Error::HandshakeMessageTooLarge { .. } | Error::Violation(_) => figures.violation_ends += 1,
        Error::Deadline { .. } | Error::LingerExpired { .. } => figures.deadline_ends += 1,
        _ => {}
    }
}

/// Figures of a listener, or of a runtime, that belong to no connection. No other lock is taken while this one is held.
#[derive(Default)]
pub struct Events {
    figures: Mutex<Figures>,
    /// Of the runtime, where they count too.
    above: Option<Arc<Events>>,
}

impl Events {
    pub fn below(above: Arc<Events>) -> Events {
        Events { above: Some(above), ..Events::default() }
    }

    pub fn note(&self, counter: Counter) {
        *counter(&mut lock(&self.figures)) += 1;
        if let Some(above) = &self.above {
            above.note(counter);
        }
    }

    pub fn figures(&self) -> Figures {
        *lock(&self.figures)
    }
}

/// What is counted of a connection outside of the protocol.
#[derive(Default)]
pub struct Tally {
    pub turns: u64,
    bytes_received: u64,
    longest_turn: Duration,
    /// A turn that ends before that is not longer: the one that was looked at last began so long before it.
    none_longer_until: Option<Instant>,
    reading_stops: u64,
    /// Since the last turn, because of a peer that does not read.
    reads_nothing: bool,
}

impl Tally {
    #[inline(never)]
    fn note_time(&mut self, begun: Instant, now: Instant) {
        self.longest_turn = self.longest_turn.max(now.saturating_duration_since(begun));
        self.none_longer_until = begun.checked_add(self.longest_turn);
    }
}

impl Shared {
    /// The driver has done what it could in this turn for now.
    #[inline]
    pub fn note_turn(&mut self, turn: &mut Turn, now: Instant) {
        let reads_nothing = self.rpc.must_not_read();
        let tally = &mut self.tally;
        tally.bytes_received += std::mem::take(&mut turn.received) as u64;
        // Comparing two times costs much less than their difference.
        if tally.none_longer_until.is_none_or(|until| now > until) {
            tally.note_time(turn.begun(), now);
        }
        tally.reading_stops += u64::from(reads_nothing && !tally.reads_nothing);
        tally.reads_nothing = reads_nothing;
    }
}

impl Connection {
    pub fn figures(&self) -> Figures {
        self.count(false)
    }

    /// Those that stay when the connection is over.
    pub(super) fn last_figures(&self) -> Figures {
        self.count(true)
    }

    fn count(&self, is_over: bool) -> Figures {
        let tls = self.tls_info();
        let end = self.end().and_then(|(outcome, _)| outcome.as_ref().err());
        let shared = self.lock();
        let (counts, tally, is_open) = (shared.rpc.counts(), &shared.tally, !is_over && shared.phase != Phase::Closed);
        let mut figures = Figures {
            messages_received: counts.messages_received,
            messages_sent: counts.messages_sent,
            bytes_received: tally.bytes_received,
            bytes_sent: shared.rpc.outbound_positions().1,
            // What is not written when a connection ends is lost.
            outbound_size: if is_open { shared.rpc.outbound_len() as u64 } else { 0 },
            outbound_size_most: shared.rpc.most_outbound_len() as u64,
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
        match &shared.eviction {
            Some(Error::TooManyHandshakes { .. }) => figures.handshakes_ended_by_limit = 1,
            Some(Error::TooManyHeldBytes { .. }) => figures.holders_ended_by_limit = 1,
            _ => {}
        }
        match (&shared.setup, self.role()) {
            (Some(Ok(())), _) => {
                let closing = shared.closing.as_ref().and_then(|closing| closing.outcome.as_ref().err());
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

impl Members<Connection> {
    /// Of those who are here and those who have left, each counted once.
    pub fn figures(&self) -> Figures {
        let (mut figures, members) = self.past_and_present();
        members.iter().for_each(|connection| figures.add(&connection.figures()));
        figures
    }
}

impl Listener {
    pub fn figures(&self) -> Figures {
        let mut figures = self.connections().figures();
        figures.add(&self.events().figures());
        figures
    }
}

impl Runtime {
    pub fn figures(&self) -> Figures {
        let mut figures = self.connections().figures();
        figures.add(&self.events().figures());
        figures
    }
}
