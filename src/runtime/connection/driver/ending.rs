//! How a connection ends: what is left is written, the peer gets its time, then everybody is told.

use std::collections::VecDeque;
use std::time::Instant;

use super::super::deadlines::{Deadline, LAST_WORDS};
use super::super::state::{Closing, Phase};
use super::{Driver, Turn};
use crate::runtime::error::{Error, Outcome};
use crate::runtime::event_loop::{Context, Flow};

impl Driver {
    /// If the connection is to end, does the next step of that.
    pub(super) fn conclude(&mut self, turn: &mut Turn, context: &mut Context) -> Flow {
        let (unwritten, owes_linger) = {
            let mut shared = self.connection.lock();
            let (received, reads_nothing) = (std::mem::take(&mut turn.received), shared.rpc.must_not_read());
            shared.tally.note_turn(received, turn.begun(), context.now, reads_nothing);
            if let Some(error) = &self.io_error
                && matches!(shared.phase, Phase::Connecting | Phase::Open)
                && (self.peer_ended || shared.queue_overrun || !(shared.is_reading_paused() || self.has_input()))
            {
                // Nothing more can be read either: the write's error is the reason.
                shared.begin_close(Err(error.clone()), false);
            }
            if shared.end_if_drained() || shared.phase != Phase::Closing {
                return Flow::Continue;
            }
            if shared.aborted || shared.setup.is_none() && self.connection.endpoint().is_some() {
                drop(shared);
                return self.finish(context);
            }
            (shared.rpc.outbound_len(), shared.rpc.owes_linger())
        };
        if unwritten > 0 {
            if self.io_error.is_some() {
                return self.finish(context);
            }
            if !self.deadlines.is_set(Deadline::Linger) {
                self.start_clock(Deadline::Linger, context);
            }
            return Flow::Continue;
        }
        if self.peer_ended || self.io_error.is_some() {
            return self.finish(context);
        }
        if self.lingering {
            return Flow::Continue;
        }
        if !owes_linger {
            // Asked before the end of the TLS session is written, which is on its way for a while and is no data.
            let has_unfinished_data = self.refused_input || self.stream.has_unfinished_bytes();
            if !self.stream.close_notify() {
                // It waits for room as everything else does.
                if !self.deadlines.is_set(Deadline::Linger) {
                    self.start_clock(Deadline::Linger, context);
                }
                return Flow::Continue;
            }
            if !has_unfinished_data {
                return self.finish(context);
            }
            self.stream.shutdown_write();
        }
        self.lingering = true;
        self.deadlines.set(Deadline::Linger, context.now + LAST_WORDS);
        Flow::Continue
    }

    pub(super) fn linger_expired(&mut self, context: &mut Context) -> Flow {
        if !self.lingering {
            let unwritten = self.connection.outbound_len();
            let linger_ms = self.connection.settings().times.linger.unwrap_or_default().as_millis();
            self.io_error = Some(Error::LingerExpired { unwritten, linger_ms });
        } else {
            // What came since the poll would turn the close into a reset.
            self.readable = true;
            let mut turn = Turn::begin(context.now);
            while !self.peer_ended && turn.read > 0 && self.read_and_drop(&mut turn, context) {}
        }
        self.finish(context)
    }

    /// Ends the connection at once, for a reason that is not the application's.
    pub(super) fn abort_for(&mut self, error: Error, context: &mut Context) -> Flow {
        if self.farewell.is_some() {
            // It stands in the line, unless it is here that it has failed.
            return if self.in_line { Flow::Continue } else { self.go_on_with_farewell(context) };
        }
        {
            let mut shared = self.connection.lock();
            if matches!(shared.phase, Phase::Connecting | Phase::Open) {
                shared.begin_close(Err(error), false);
            }
            shared.aborted = true;
        }
        self.finish(context)
    }

    /// Closes the socket and tells nobody of it.
    pub(super) fn close(&mut self, context: &mut Context) {
        self.stream.deregister(&context.registry);
        self.writing = VecDeque::new();
        self.gathered.clear();
    }

    /// The connection is over: tells everybody, and closes the socket with its place on the loop.
    pub(super) fn finish(&mut self, context: &mut Context) -> Flow {
        self.deadlines.cancel(&mut context.timers);
        // Best effort: what the system takes at once.
        self.stream.close_notify();
        self.stream.deregister(&context.registry);
        self.writing = VecDeque::new();
        self.gathered.clear();
        self.writable_streams = VecDeque::new();
        let (outcome, lost) = self.outcome();
        self.farewell = self.connection.begin_farewell(outcome, lost).map(Box::new);
        let flow = self.go_on_with_farewell(context);
        if flow == Flow::Continue {
            // The peer need not wait for the rest.
            self.stream.shut_down();
        }
        flow
    }

    /// Tells the next part of those who are to be told of the end.
    pub(super) fn go_on_with_farewell(&mut self, context: &mut Context) -> Flow {
        let Some(farewell) = &mut self.farewell else { return Flow::Finished };
        let all_told = farewell.advance(&self.connection, &mut Turn::begin(Instant::now()));
        let ended = std::mem::take(&mut self.connection.lock().ended_stream_timers);
        ended.into_iter().for_each(|key| context.timers.cancel(key));
        if all_told {
            return Flow::Finished;
        }
        self.in_line = true;
        context.ready.push_back(self.token);
        Flow::Continue
    }

    /// How the connection ends, and why what is not written is lost if that is another reason.
    fn outcome(&self) -> (Outcome, Option<Error>) {
        let (closing, unwritten, was_set_up, eviction) = {
            let shared = self.connection.lock();
            let eviction = shared.eviction.clone();
            (shared.closing.clone(), shared.rpc.outbound_len(), shared.setup == Some(Ok(())), eviction)
        };
        let Some(Closing { outcome, by_this_side }) = closing else {
            return (Err(Error::Internal("a connection ended without a reason".to_owned())), None);
        };
        let lingered = matches!(self.io_error, Some(Error::LingerExpired { .. }));
        if unwritten == 0 || !(by_this_side || lingered) {
            return (outcome, None);
        }
        let lost = self.io_error.clone().or(eviction).unwrap_or(Error::Aborted { unwritten });
        // Lost bytes count for more than the reason that this side gave; an end for a graver reason keeps that.
        let tells_loss = by_this_side && was_set_up;
        (if tells_loss { Err(lost.clone()) } else { outcome }, Some(lost))
    }
}
