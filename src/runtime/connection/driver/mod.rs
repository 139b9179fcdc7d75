//! The loop thread's side of a connection that is established.

mod clocks;
mod ending;
mod gathered;
mod input;
mod output;
mod reading;
mod turn;
mod writing;

pub(super) use turn::{TURN_LEN, Turn};

use std::sync::Arc;
use std::time::Instant;

use mio::Token;

use self::input::Input;
use self::output::Output;
use super::deadlines::{AFTER_SETUP, Deadline, Deadlines};
use super::farewell::Farewell;
use super::handle::{Connection, SharedState, Stream, connect_message};
use super::life::Phase;
use super::state::Look;
use crate::rpc::Role;
use crate::runtime::event_loop::{AbortCause, Context, Flow, Owner, Place, Readiness, Resident, TimerKey};
use crate::transport;

/// It alone owns the socket.
pub struct Driver {
    pub(super) connection: Arc<Connection>,
    stream: transport::Stream,
    token: Token,
    /// It stands in the loop's line and runs when its turn comes, whatever asks for it meanwhile.
    in_line: bool,
    input: Input,
    output: Output,
    deadlines: Deadlines<AFTER_SETUP>,
    stage: Stage,
    /// Messages may be delivered that came before their streams were accepted.
    has_ripe: bool,
}

/// How far the connection has come.
enum Stage {
    Exchanging,
    /// All is written; the rest of the input is dropped until the peer's end.
    Lingering,
    /// It has ended, of which everybody is learning.
    Farewell(Box<Farewell>),
}

/// What the driver found when it looked after a round.
struct Round {
    look: Look<Stream>,
    more_to_read: bool,
    more_to_write: bool,
    /// Nothing more can be done now, and nobody will be overlooked: whoever has something new asks for a visit.
    is_idle: bool,
}

impl Driver {
    /// Takes over a socket that is connected, with its TLS handshake done, and registered at the token.
    pub fn new(connection: Arc<Connection>, stream: transport::Stream, token: Token) -> Driver {
        Driver {
            connection,
            stream,
            token,
            in_line: false,
            input: Input::new(),
            output: Output::new(),
            deadlines: Deadlines::default(),
            stage: Stage::Exchanging,
            has_ripe: false,
        }
    }

    /// The connection is established: begins the handshake, or leaves it to the application.
    fn begin_handshake(&mut self, context: &mut Context) {
        self.start_clock(Deadline::Handshake, context);
        if self.connection.role() == Role::Server {
            return;
        }
        match self.connection.handshake() {
            None => {
                // The end of a TLS handshake leaves with CONNECT, but does not wait for the application.
                let _ = self.stream.flush();
                self.connection.complete_setup();
            }
            Some((headers, payload)) => {
                let mut shared = self.connection.lock();
                let connect = connect_message(headers, payload);
                let sent = connect
                    .prepare(false, shared.rpc.limits())
                    .and_then(|message| shared.rpc.send_protocol(message, None));
                if let Err(error) = sent {
                    shared.close(Err(error.into()), false);
                }
                drop(shared);
                self.connection.log_sent(&connect, 0);
            }
        }
    }

    fn note_readiness(&mut self, readiness: Readiness) {
        self.input.is_ready |= readiness.readable;
        self.output.is_ready |= readiness.writable;
        if readiness.writable {
            self.stream.note_room();
        }
        self.input.is_read_to_end |= readiness.until_end;
    }

    /// Does all that can be done now, in fair parts.
    fn run_within(&mut self, mut turn: Turn, context: &mut Context) -> Flow {
        if self.in_line {
            return Flow::Continue;
        }
        if matches!(self.stage, Stage::Farewell(_)) {
            return self.go_on_with_farewell(context);
        }
        let mut is_first = true;
        let round = loop {
            if self.has_ripe {
                self.connection.deliver_ripe(&mut turn);
            }
            if self.input.is_waiting() {
                let mode = {
                    let mut shared = self.connection.lock();
                    if std::mem::take(&mut is_first) {
                        shared.begin_turn();
                    }
                    reading::mode(&shared)
                };
                self.receive(mode, &mut turn, context);
            }
            if self.input.has_ended {
                self.end_of_input(context);
            }
            let mut round = match self.transmit(std::mem::take(&mut is_first), &mut turn, context) {
                Some(round) => round,
                None => {
                    self.tell_streams_with_room(&mut turn);
                    if self.input.has_ended {
                        // The last of the streams that a half-open connection waits for may have ended with that.
                        self.end_of_input(context);
                    }
                    let mut shared = self.connection.lock();
                    look(&mut shared, &self.input, &self.output, &mut turn, context)
                }
            };
            self.has_ripe = round.look.has_ripe;
            if let Some(timers) = round.look.timers.take() {
                Driver::take_over_timers(*timers, context);
            }
            if let Some(closing) = round.look.closing
                && self.close_further(closing, round.look.unwritten, context) == Flow::Leave
            {
                return Flow::Leave;
            }
            if matches!(self.stage, Stage::Farewell(_)) {
                // It stands in the line, and there is nothing else to do.
                return Flow::Continue;
            }
            if round.is_idle {
                break round;
            }
            turn.look_at(context.now);
            if turn.is_over() || (round.more_to_read && turn.read == 0) || (round.more_to_write && turn.write == 0) {
                // Nobody need ask for a visit: the place in the line is the promise to come back.
                self.in_line = true;
                context.ready.push_back(self.token);
                break round;
            }
        };
        self.update_deadlines(&round.look, context);
        Flow::Continue
    }

    /// Calls the streams whose sends were refused, since there is room again.
    fn tell_streams_with_room(&mut self, turn: &mut Turn) {
        while !turn.is_over()
            && let Some(stream) = self.output.streams_with_room.pop_front()
        {
            stream.tell_writable();
            turn.note_call(0);
        }
    }
}

/// Looks at the other threads' side after a round.
fn look(shared: &mut SharedState, input: &Input, output: &Output, turn: &mut Turn, context: &mut Context) -> Round {
    // The callbacks may have taken their time, and clocks that start now must not start in the past.
    context.now = Instant::now();
    let (received, reads_nothing) = (std::mem::take(&mut turn.received), shared.rpc.must_not_read());
    shared.tally.note_turn(received, turn.begun(), context.now, reads_nothing);
    if let Some(error) = &output.failure
        && (input.has_ended || shared.is_overrun() || !(shared.is_reading_paused() || input.is_waiting()))
    {
        // Nothing more can be read either: the write's error is the reason.
        shared.close(Err(error.clone()), false);
    }
    let look = shared.look();
    let more_to_read = !input.has_ended && input.is_waiting() && (!look.is_paused || look.phase != Phase::Open);
    let more_to_write = output.may_write() && look.unwritten > 0;
    let more_to_tell = look.has_news || look.has_ripe || !output.streams_with_room.is_empty();
    let is_idle = !(more_to_read || more_to_write || more_to_tell);
    if is_idle {
        shared.end_turn();
    }
    Round { look, more_to_read, more_to_write, is_idle }
}

impl Resident for Driver {
    fn place(&self) -> &Place {
        self.connection.place()
    }

    fn begin(&mut self, context: &mut Context) -> Flow {
        self.begin_handshake(context);
        self.run(context)
    }

    fn run(&mut self, context: &mut Context) -> Flow {
        self.run_within(Turn::begin(context.now), context)
    }

    fn run_on_event(&mut self, readiness: Readiness, context: &mut Context) -> Flow {
        self.note_readiness(readiness);
        self.run(context)
    }

    fn take_turn(&mut self, context: &mut Context) -> Flow {
        self.in_line = false;
        self.run(context)
    }

    fn expire(&mut self, key: TimerKey, context: &mut Context) -> Flow {
        self.run_expired(key, context)
    }

    fn abort(&mut self, cause: AbortCause, context: &mut Context) -> Flow {
        self.end_for(cause.into(), context)
    }

    fn discard(&mut self, context: &mut Context) {
        self.drop_socket(context);
    }
}

#[cfg(test)]
mod tests;
