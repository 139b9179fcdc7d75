//! The deadlines of a connection.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::super::deadlines::Deadline;
use super::super::handle::{Stream, StreamPhase};
use super::super::state::Phase;
use super::Driver;
use crate::runtime::error::{Error, PeerEnd, TimeLimit};
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

    /// What is waited for now.
    pub(super) fn update_deadlines(&mut self, context: &mut Context) {
        let (phase, paused, unwritten, of_streams, handshake_done, drain_until, new_timers, ended_timers) = {
            let mut shared = self.connection.lock();
            let new_timers = std::mem::take(&mut shared.new_stream_deadlines);
            let ended_timers = std::mem::take(&mut shared.ended_stream_timers);
            let done = shared.rpc.is_handshake_done();
            let (paused, drain_until) = (shared.is_reading_paused(), shared.drain.and_then(|drain| drain.until));
            let (unwritten, of_streams) = (shared.rpc.outbound_len(), shared.rpc.held_by_streams());
            (shared.phase, paused, unwritten, of_streams, done, drain_until, new_timers, ended_timers)
        };
        self.connection.report_held(self.gathered.len() + unwritten + of_streams + self.stream.kept_len());
        for (stream, at) in new_timers.into_iter().filter(|(stream, _)| stream.phase() != StreamPhase::Closed) {
            let timed: Weak<Stream> = Arc::downgrade(&stream);
            stream.set_timer(context.timers.set_for(at, timed));
        }
        ended_timers.into_iter().for_each(|key| context.timers.cancel(key));
        let (received, sent) = (std::mem::take(&mut self.received), std::mem::take(&mut self.sent));
        if received || sent {
            self.deadlines.clear(Deadline::Idle);
        }
        if received {
            self.deadlines.clear(Deadline::Ping);
            self.deadlines.clear(Deadline::PingResponse);
        }
        if handshake_done || phase == Phase::Closing {
            self.deadlines.clear(Deadline::Handshake);
            self.stream.allow_delay();
        }
        if phase != Phase::Open || paused {
            // A peer that we do not listen to cannot be late.
            [Deadline::Message, Deadline::Idle, Deadline::Ping, Deadline::PingResponse]
                .into_iter()
                .for_each(|deadline| self.deadlines.clear(deadline));
        } else {
            if self.gathered.is_empty() {
                self.deadlines.clear(Deadline::Message);
            } else if !self.deadlines.is_set(Deadline::Message)
                && let Some(time) = self.connection.settings().times.message
            {
                let len = self.gathered.len() + self.missing_of_gathered();
                let time = time + Duration::from_secs((len / MESSAGE_BYTES_PER_SECOND) as u64);
                self.deadlines.set(Deadline::Message, context.now + time);
            }
            if !self.deadlines.is_set(Deadline::Idle) {
                self.start_clock(Deadline::Idle, context);
            }
            if self.peer_ended {
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
                let have = self.gathered.len();
                format!("{have} of {} bytes have come", have + self.missing_of_gathered())
            }
            _ => String::new(),
        };
        Error::TimeLimit { limit, time, detail }
    }

    /// A timer of this connection fired.
    pub(super) fn run_expired(&mut self, key: TimerKey, context: &mut Context) -> Flow {
        if !self.deadlines.fired(key) {
            return Flow::Continue;
        }
        if self.deadlines.is_any_over(context.now) {
            // What came, or found room, while the loop was busy with others is not late.
            self.readable = true;
            self.writable = true;
            if self.run(context) == Flow::Finished {
                return Flow::Finished;
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
                Deadline::Message | Deadline::Idle | Deadline::PingResponse if self.in_line && self.readable => {
                    self.deadlines.set(deadline, context.now + UNTIL_ITS_TURN);
                }
                Deadline::Linger => return self.linger_expired(context),
                Deadline::HalfOpen => {
                    self.connection.lock().begin_close(Err(Error::PeerClosed(PeerEnd::HalfOpen)), false);
                }
                Deadline::Drain => {
                    let error = Error::Draining("the time given to drain what was open is over");
                    self.connection.lock().begin_close(Err(error), false);
                }
                other => {
                    let Some(limit) = other.limit() else { continue };
                    let error = self.late(other, limit);
                    if limit == TimeLimit::Write {
                        return self.abort_for(error, context);
                    }
                    let mut shared = self.connection.lock();
                    if matches!(shared.phase, Phase::Connecting | Phase::Open) {
                        shared.begin_close(Err(error), false);
                    }
                }
            }
        }
        self.run(context)
    }
}
