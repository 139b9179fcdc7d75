//! What has happened on connections, listeners and runtimes, in numbers. A connection keeps its own under the lock that it
//! takes anyway; when it is over they are added to those of its listener and its runtime.

use std::sync::{Arc, Mutex};

use super::error::Error;
use super::event_loop::lock;
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
        Error::TimeLimit { .. } => |figures| &mut figures.failures_timed_out,
        Error::HandshakeRefused(_) => |figures| &mut figures.failures_refused,
        Error::TooManyHandshakes { .. } | Error::TooManyHeldBytes { .. } => return None,
        Error::Cancelled | Error::ConnectionClosed | Error::Draining(_) | Error::RuntimeShutdown => {
            |figures| &mut figures.failures_cancelled
        }
        _ => |figures| &mut figures.failures_other,
    })
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
