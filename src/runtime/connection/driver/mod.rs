mod clocks;
mod ending;
mod gathered;
mod reading;
mod turn;
mod writing;

pub(super) use turn::{TURN_LEN, Turn};

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use mio::Token;

use self::gathered::Gathered;
use super::deadlines::{Deadline, Deadlines};
use super::farewell::Farewell;
use super::handle::{Connection, Stream, connect_message};
use super::state::Phase;
use crate::rpc::Role;
use crate::runtime::error::Error;
use crate::runtime::event_loop::{AbortCause, Context, Flow, Owner, Place, Readiness, Resident, TimerKey};
use crate::transport;

/// The loop thread's side of a connection: it alone owns the socket.
pub struct Driver {
    pub(super) connection: Arc<Connection>,
    stream: transport::Stream,
    token: Token,
    /// It stands in the loop's line and runs when its turn comes, whatever asks for it meanwhile.
    in_line: bool,
    /// What the poll said and no read or write has contradicted since.
    readable: bool,
    writable: bool,
    /// The peer's end, or something behind urgent data, is to be read: a short read is not the last one.
    read_until_end: bool,
    gathered: Gathered,
    /// Taken from the connection's queue, the first one up to `written_of_first`.
    writing: VecDeque<Vec<u8>>,
    written_of_first: usize,
    /// Nothing can be written any more: the socket is broken, or the time to linger is over.
    io_error: Option<Error>,
    /// The peer's TLS session did not end in order; what it sent before that, and what we write, is not touched.
    cut_short: Option<Error>,
    peer_ended: bool,
    /// Bytes came, or went, since the deadlines were last looked at.
    received: bool,
    sent: bool,
    /// Input was wrong from somewhere on: more of it may be on its way.
    refused_input: bool,
    /// All is written; the rest of the input is dropped until the peer's end.
    lingering: bool,
    deadlines: Deadlines,
    /// Streams that are to be told that there is room again.
    writable_streams: VecDeque<Arc<Stream>>,
    /// The connection is over, which is being told.
    farewell: Option<Box<Farewell>>,
}

impl Driver {
    /// Takes over a socket that is connected, with its TLS handshake done, and registered at the token.
    pub fn new(connection: Arc<Connection>, stream: transport::Stream, token: Token) -> Driver {
        Driver {
            connection,
            stream,
            token,
            in_line: false,
            // The first tries tell; the poll's events, also that of the peer's end, may lie before this.
            readable: true,
            writable: true,
            read_until_end: true,
            gathered: Gathered::default(),
            writing: VecDeque::new(),
            written_of_first: 0,
            io_error: None,
            cut_short: None,
            peer_ended: false,
            received: false,
            sent: false,
            refused_input: false,
            lingering: false,
            deadlines: Deadlines::default(),
            writable_streams: VecDeque::new(),
            farewell: None,
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
                    shared.begin_close(Err(error.into()), false);
                }
                drop(shared);
                self.connection.log_sent(&connect, 0);
            }
        }
    }

    fn note_readiness(&mut self, readiness: Readiness) {
        self.readable |= readiness.readable;
        self.writable |= readiness.writable;
        self.read_until_end |= readiness.until_end;
    }

    /// Does all that can be done now, in fair parts.
    fn run_within(&mut self, mut turn: Turn, context: &mut Context) -> Flow {
        if self.in_line {
            return Flow::Continue;
        }
        if self.farewell.is_some() {
            return self.go_on_with_farewell(context);
        }
        {
            let mut shared = self.connection.lock();
            // Until this is over, whoever changes the connection need not ask for another look.
            shared.scheduled = true;
            shared.dirty = false;
            shared.tally.turns += 1;
        }
        loop {
            self.receive(&mut turn, context);
            self.transmit(&mut turn, context);
            self.tell_writable(&mut turn);
            if self.peer_ended {
                // The last of the streams that a half-open connection waits for may have ended with that.
                self.end_of_input(context);
            }
            // The callbacks may have taken their time, and clocks that start now must not start in the past.
            context.now = Instant::now();
            if self.conclude(&mut turn, context) == Flow::Finished {
                return Flow::Finished;
            }
            if self.farewell.is_some() {
                // It stands in the line, and there is nothing else to do.
                return Flow::Continue;
            }
            let mut shared = self.connection.lock();
            let more_to_read =
                !self.peer_ended && self.has_input() && (!shared.is_reading_paused() || shared.phase != Phase::Open);
            let more_to_write = self.writable && self.io_error.is_none() && shared.rpc.outbound_len() > 0;
            let more_to_tell = shared.dirty || !self.writable_streams.is_empty();
            if !(more_to_read || more_to_write || more_to_tell) {
                shared.scheduled = false;
                shared.rpc.rest();
                break;
            }
            turn.look_at(context.now);
            if turn.is_over() || (more_to_read && turn.read == 0) || (more_to_write && turn.write == 0) {
                // Still scheduled: the place in the line is the promise to come back.
                self.in_line = true;
                context.ready.push_back(self.token);
                break;
            }
            shared.dirty = false;
        }
        self.update_deadlines(context);
        Flow::Continue
    }

    /// Tells streams whose sends were refused that there is room.
    fn tell_writable(&mut self, turn: &mut Turn) {
        while !turn.is_over()
            && let Some(stream) = self.writable_streams.pop_front()
        {
            stream.tell_writable();
            turn.note_call(0);
        }
    }
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
        self.abort_for(cause.into(), context)
    }

    fn discard(&mut self, context: &mut Context) {
        self.close(context);
    }
}

#[cfg(test)]
mod tests;
