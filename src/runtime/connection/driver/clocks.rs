//! The deadlines of a connection.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::super::deadlines::Deadline;
use super::super::handle::Stream;
use super::super::life::Phase;
use super::super::state::{Look, StreamTimers};
use super::Driver;
use crate::runtime::error::{Error, PassedLimit, PeerEnd, TimeLimit};
use crate::runtime::event_loop::{Context, Flow, Resident, TimerKey};

/// How long a deadline is put off for which the peer is not to blame: input waits for the connection's turn on the loop.
const UNTIL_ITS_TURN: Duration = Duration::from_millis(10);

/// A message that has begun gets a second more for each of so many bytes.
const MESSAGE_BYTES_PER_SECOND: usize = 64 * 1024;

impl Driver {
    pub(super) fn start_clock(&mut self, deadline: Deadline, context: &Context) {
        if let Some(time) = deadline.time(&self.connection.settings().times) {
            self.deadlines.set(deadline, context.now + time);
        }
    }

    /// Gives the loop the deadlines of streams that were activated, and takes back those of streams that have ended.
    pub(super) fn take_over_timers(timers: StreamTimers<Stream>, context: &mut Context) {
        for (stream, at) in
            timers.new.into_iter().filter(|(stream, _)| stream.end().is_none() && stream.awaits_deadline())
        {
            let timed: Weak<Stream> = Arc::downgrade(&stream);
            stream.set_timer(context.timers.set_for(at, timed));
        }
        timers.ended.into_iter().for_each(|key| context.timers.cancel(key));
    }

    /// What is waited for now.
    pub(super) fn update_deadlines(&mut self, look: &Look<Stream>, context: &mut Context) {
        let &Look { phase, is_paused, unwritten, held_by_streams, is_handshake_done, drain_until, .. } = look;
        self.connection.report_held(self.input.gathered.len() + unwritten + held_by_streams + self.stream.kept_len());
        let (has_come, has_gone) =
            (std::mem::take(&mut self.input.has_come), std::mem::take(&mut self.output.has_gone));
        if has_come || has_gone {
            self.deadlines.clear(Deadline::Idle);
        }
        if has_come {
            self.deadlines.clear(Deadline::Ping);
            self.deadlines.clear(Deadline::PingResponse);
        }
        if is_handshake_done || phase == Phase::Closing {
            self.deadlines.clear(Deadline::Handshake);
            self.stream.allow_delay();
        }
        if phase != Phase::Open || is_paused {
            // A peer that we do not listen to cannot be late.
            [Deadline::Message, Deadline::Idle, Deadline::Ping, Deadline::PingResponse]
                .into_iter()
                .for_each(|deadline| self.deadlines.clear(deadline));
        } else {
            if self.input.gathered.is_empty() {
                self.deadlines.clear(Deadline::Message);
            } else if !self.deadlines.is_set(Deadline::Message)
                && let Some(time) = self.connection.settings().times.message
            {
                let len = self.input.gathered.len() + self.input.missing_len();
                let time = time + Duration::from_secs((len / MESSAGE_BYTES_PER_SECOND) as u64);
                self.deadlines.set(Deadline::Message, context.now + time);
            }
            if !self.deadlines.is_set(Deadline::Idle) {
                self.start_clock(Deadline::Idle, context);
            }
            if self.input.has_ended {
                // It cannot answer any more.
                self.deadlines.clear(Deadline::Ping);
                self.deadlines.clear(Deadline::PingResponse);
            } else if !self.deadlines.is_set(Deadline::Ping) && !self.deadlines.is_set(Deadline::PingResponse) {
                self.start_clock(Deadline::Ping, context);
            }
        }
        if unwritten == 0 || phase != Phase::Open {
            self.deadlines.clear(Deadline::Write);
        } else if !self.deadlines.is_set(Deadline::Write) {
            self.start_clock(Deadline::Write, context);
        }
        match drain_until {
            Some(at) if matches!(phase, Phase::Connecting | Phase::Open) => self.deadlines.set(Deadline::Drain, at),
            _ => self.deadlines.clear(Deadline::Drain),
        }
        self.deadlines.arm(&mut context.timers, self.token);
    }

    fn late(&self, deadline: Deadline, limit: TimeLimit) -> Error {
        let time = deadline.time(&self.connection.settings().times).unwrap_or_default();
        let detail = match limit {
            TimeLimit::Message => {
                let have = self.input.gathered.len();
                format!("{have} of {} bytes have come", have + self.input.missing_len())
            }
            TimeLimit::Handshake => self.connection.handshake_progress(&self.connection.lock()).to_owned(),
            _ => String::new(),
        };
        Error::TimeLimit(Box::new(PassedLimit { limit, time, detail }))
    }

    /// A timer of this connection fired.
    pub(super) fn run_expired(&mut self, key: TimerKey, context: &mut Context) -> Flow {
        if !self.deadlines.fired(key) {
            return Flow::Continue;
        }
        if self.deadlines.is_any_over(context.now) {
            // What came, or found room, while the loop was busy with others is not late.
            self.input.is_ready = true;
            self.output.is_ready = true;
            if self.run(context) == Flow::Leave {
                return Flow::Leave;
            }
        }
        while let Some(deadline) = self.deadlines.take_expired(context.now) {
            match deadline {
                Deadline::Ping => {
                    if self.connection.send_keep_alive() {
                        self.start_clock(Deadline::PingResponse, context);
                    }
                }
                // A peer cannot put this off for ever: what is waited for comes, or ends, with the bytes that it sends.
                Deadline::Message | Deadline::Idle | Deadline::PingResponse if self.in_line && self.input.is_ready => {
                    self.deadlines.set(deadline, context.now + UNTIL_ITS_TURN);
                }
                Deadline::Linger => return self.linger_expired(context),
                Deadline::HalfOpen => {
                    self.connection.lock().close(Err(Error::PeerClosed(Box::new(PeerEnd::HalfOpen))), false);
                }
                Deadline::Drain => {
                    let error = Error::Draining("the time given to drain what was open is over");
                    self.connection.lock().close(Err(error), false);
                }
                other => {
                    let Some(limit) = other.limit() else { continue };
                    let error = self.late(other, limit);
                    if limit == TimeLimit::Write {
                        return self.end_for(error, context);
                    }
                    self.connection.lock().close(Err(error), false);
                }
            }
        }
        self.run(context)
    }
}
