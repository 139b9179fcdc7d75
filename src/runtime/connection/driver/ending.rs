//! How a connection closes and ends: what is left is written, the peer gets its time, then everybody learns of it.

use std::time::Instant;

use super::super::deadlines::{Deadline, LAST_WORDS};
use super::super::life::Closing;
use super::super::state::ClosingLook;
use super::{Driver, Stage, Turn};
use crate::runtime::error::{Error, Outcome};
use crate::runtime::event_loop::{Context, Flow};

impl Driver {
    /// Does the next step of a connection that is closing, of which so many bytes are unwritten.
    pub(super) fn close_further(&mut self, closing: ClosingLook, unwritten: usize, context: &mut Context) -> Flow {
        self.input.gathered.clear();
        if closing.at_once {
            return self.end(context);
        }
        if unwritten > 0 {
            if self.output.failure.is_some() {
                return self.end(context);
            }
            self.wait_for_room(context);
            return Flow::Continue;
        }
        if self.input.has_ended || self.output.failure.is_some() {
            return self.end(context);
        }
        if matches!(self.stage, Stage::Lingering) {
            return Flow::Continue;
        }
        if !closing.owes_linger {
            // Asked before the end of the TLS session is written, which is on its way for a while and is no data.
            let has_unfinished_data = self.input.was_refused || self.stream.has_unfinished_bytes();
            if !self.stream.close_notify() {
                self.wait_for_room(context);
                return Flow::Continue;
            }
            if !has_unfinished_data {
                return self.end(context);
            }
            self.stream.shutdown_write();
        }
        self.stage = Stage::Lingering;
        self.deadlines.set(Deadline::Linger, context.now + LAST_WORDS);
        Flow::Continue
    }

    fn wait_for_room(&mut self, context: &Context) {
        if !self.deadlines.is_set(Deadline::Linger) {
            self.start_clock(Deadline::Linger, context);
        }
    }

    pub(super) fn linger_expired(&mut self, context: &mut Context) -> Flow {
        if matches!(self.stage, Stage::Lingering) {
            // What came since the poll would turn the close into a reset.
            self.input.is_ready = true;
            let mut turn = Turn::begin(context.now);
            while !self.input.has_ended && turn.read > 0 && self.read_and_drop(&mut turn, context) {}
        } else {
            let unwritten = self.connection.outbound_len();
            let linger = self.connection.settings().times.linger.unwrap_or_default();
            self.output.failure = Some(Error::LingerExpired { unwritten, linger });
        }
        self.end(context)
    }

    /// Ends the connection at once, for a reason that is not the application's.
    pub(super) fn end_for(&mut self, error: Error, context: &mut Context) -> Flow {
        if matches!(self.stage, Stage::Farewell(_)) {
            // It stands in the line, unless it is here that it has failed.
            return if self.in_line { Flow::Continue } else { self.go_on_with_farewell(context) };
        }
        {
            let mut shared = self.connection.lock();
            shared.close(Err(error), false);
            shared.abort();
        }
        self.end(context)
    }

    /// Closes the socket and calls nobody.
    pub(super) fn drop_socket(&mut self, context: &mut Context) {
        self.stream.deregister(&context.registry);
        self.output.drop_all();
        self.input.gathered.clear();
    }

    /// The connection ends: everybody learns of it, and the socket is closed with its place on the loop.
    fn end(&mut self, context: &mut Context) -> Flow {
        self.deadlines.cancel(&mut context.timers);
        // Best effort: what the system takes at once.
        self.stream.close_notify();
        self.drop_socket(context);
        let (outcome, lost) = self.outcome();
        let Some(farewell) = self.connection.begin_farewell(outcome, lost) else { return Flow::Leave };
        self.stage = Stage::Farewell(Box::new(farewell));
        let flow = self.go_on_with_farewell(context);
        if flow == Flow::Continue {
            // The peer need not wait for the rest.
            self.stream.shut_down();
        }
        flow
    }

    /// Calls the next part of those who are to learn of the end.
    pub(super) fn go_on_with_farewell(&mut self, context: &mut Context) -> Flow {
        let Stage::Farewell(farewell) = &mut self.stage else { return Flow::Leave };
        let all_told = farewell.advance(&self.connection, &mut Turn::begin(Instant::now()));
        let ended = self.connection.lock().take_ended_timers();
        ended.into_iter().for_each(|key| context.timers.cancel(key));
        if all_told {
            return Flow::Leave;
        }
        self.in_line = true;
        context.ready.push_back(self.token);
        Flow::Continue
    }

    /// How the connection ends, and why what is not written is lost if that is another reason.
    fn outcome(&self) -> (Outcome, Option<Error>) {
        let (closing, unwritten, eviction) = {
            let shared = self.connection.lock();
            (shared.life().closing().cloned(), shared.rpc.outbound_len(), shared.eviction().cloned())
        };
        let Some(Closing { reason, by_this_side, was_open }) = closing else {
            return (Err(Error::Internal("a connection ended without a reason".to_owned())), None);
        };
        let lingered = matches!(self.output.failure, Some(Error::LingerExpired { .. }));
        if unwritten == 0 || !(by_this_side || lingered) {
            return (reason, None);
        }
        let lost = self.output.failure.clone().or(eviction).unwrap_or(Error::Aborted { unwritten });
        // Lost bytes count for more than the reason that this side gave; an end for a graver reason keeps that.
        let tells_loss = by_this_side && was_open;
        (if tells_loss { Err(lost.clone()) } else { reason }, Some(lost))
    }
}
