//! What has happened on connections, listeners and runtimes, in numbers. A connection keeps its own under the lock that it
//! takes anyway; when it has ended they are added to those of its listener and its runtime.

use std::sync::{Arc, Mutex};

use super::error::Error;
use super::event_loop::lock;
use crate::transport;

/// Hands the names of all figures to a macro: those that are added up, and those of which the largest counts.
macro_rules! with_figures {
    ($then:ident) => {
        $then! {
            [
                messages_received,
                messages_sent,
                bytes_received,
                bytes_sent,
                outbound_size,
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
            ]
            [outbound_size_max, longest_turn_us]
        }
    };
}
pub(crate) use with_figures;

macro_rules! define_figures {
    ([$($sum:ident,)*] [$($most:ident),*]) => {
        /// The figures of a connection, or of several together; `esrpc_stats` says what each one is.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Figures {
            $(pub $sum: u64,)*
            $(pub $most: u64,)*
        }

        impl Figures {
            pub fn add(&mut self, other: &Figures) {
                $(self.$sum += other.$sum;)*
                $(self.$most = self.$most.max(other.$most);)*
            }
        }
    };
}

with_figures!(define_figures);

/// One of the figures.
pub type Counter = fn(&mut Figures) -> &mut u64;

/// Which one counts a connection that failed; none if that is counted where it was found out.
pub fn failure_counter(error: &Error) -> Option<Counter> {
    Some(match error {
        Error::Transport(error) => match error.kind {
            transport::ErrorKind::Tls(_) => |figures| &mut figures.failures_tls,
            transport::ErrorKind::ResolveFailed => |figures| &mut figures.failures_resolve,
            _ => |figures| &mut figures.failures_connect,
        },
        Error::TimeLimit(_) => |figures| &mut figures.failures_timed_out,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_added_up_but_for_the_largest_ones() {
        let mut figures = Figures { turns: 2, longest_turn_us: 5, ..Figures::default() };
        figures.add(&Figures { turns: 3, longest_turn_us: 4, outbound_size_max: 7, ..Figures::default() });
        let expected = Figures { turns: 5, longest_turn_us: 5, outbound_size_max: 7, ..Figures::default() };
        assert_eq!(figures, expected);
    }
}
