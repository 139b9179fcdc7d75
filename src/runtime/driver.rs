use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Token;

use crate::codec::{self, MIN_MESSAGE_LEN, PRELUDE_LEN};
use crate::rpc::Role;
use crate::runtime::connection::{Closing, Connection, connect_message};
use crate::runtime::deadlines::{Deadline, Deadlines};
use crate::runtime::event_loop::Context;
use crate::runtime::timers::TimerKey;
use crate::runtime::{Error, Outcome, Phase, StreamPhase};
use crate::transport;

/// What one connection may read, and write, before the others get their turn.
const BUDGET: usize = 1024 * 1024;
/// How long a server that refused, or a side with unread input, waits for the peer's end before it closes.
const LAST_WORDS: Duration = Duration::from_secs(1);
const SLICES_PER_WRITE: usize = 64;
/// A cut message up to this size is completed where the loop reads, a larger one in a buffer of its own.
const SMALL_REST: usize = 4 * 1024;
/// A message that has begun gets a second more for each of so many bytes.
const MESSAGE_BYTES_PER_SECOND: usize = 64 * 1024;

/// Whether the place on the loop is still needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Continue,
    Finished,
}

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
    /// The peer's end is to be read: a short read is not the last one.
    read_until_end: bool,
    /// Input that is not dispatched yet: the beginning of a message, or more if reading was paused.
    gathered: Vec<u8>,
    /// Taken from the connection's queue, the first one up to `written_of_first`.
    writing: VecDeque<Vec<u8>>,
    written_of_first: usize,
    /// Nothing can be written any more: the socket is broken, or the time to linger is over.
    io_error: Option<Error>,
    peer_ended: bool,
    /// Bytes came, or went, since the deadlines were last looked at.
    received: bool,
    sent: bool,
    /// All is written; the rest of the input is dropped until the peer's end.
    lingering: bool,
    deadlines: Deadlines,
}

/// What to do with input.
enum Input {
    Dispatch(codec::Limits),
    Drop,
    Keep,
}

impl Driver {
    /// Takes over a socket that is connected, with its TLS handshake done, and registered at the token.
    pub fn new(connection: Arc<Connection>, stream: transport::Stream, token: Token) -> Driver {
        Driver {
            connection,
            stream,
            token,
            in_line: false,
            // The first tries tell; the poll's events may lie before this.
            readable: true,
            writable: true,
            read_until_end: false,
            gathered: Vec::new(),
            writing: VecDeque::new(),
            written_of_first: 0,
            io_error: None,
            peer_ended: false,
            received: false,
            sent: false,
            lingering: false,
            deadlines: Deadlines::default(),
        }
    }

    /// The connection is established: begins the handshake, or leaves it to the application.
    pub fn begin(&mut self, context: &mut Context) {
        self.start_clock(Deadline::Handshake, context);
        if self.connection.role() == Role::Server {
            return;
        }
        match self.connection.handshake() {
            None => self.connection.complete_setup(),
            Some((headers, payload)) => {
                let mut shared = self.connection.lock();
                let message = connect_message(headers, payload).prepare(false, shared.rpc.limits());
                let sent = message.and_then(|message| shared.rpc.send_protocol(message, None));
                if let Err(error) = sent {
                    shared.begin_close(Err(error.into()), false);
                }
            }
        }
    }

    fn start_clock(&mut self, deadline: Deadline, context: &Context) {
        if let Some(time) = self.connection.settings().times.of(deadline) {
            self.deadlines.set(deadline, context.now + time);
        }
    }

    pub fn note_readiness(&mut self, readable: bool, writable: bool, end_follows: bool) {
        self.readable |= readable;
        self.writable |= writable;
        self.read_until_end |= end_follows;
    }

    /// The turn has come for which it stood in the line.
    pub fn take_turn(&mut self, context: &mut Context) -> Flow {
        self.in_line = false;
        self.run(context)
    }

    /// Does all that can be done now, in fair parts.
    pub fn run(&mut self, context: &mut Context) -> Flow {
        self.run_within(Budget { read: BUDGET, write: BUDGET }, context)
    }

    fn run_within(&mut self, mut budget: Budget, context: &mut Context) -> Flow {
        if self.in_line {
            return Flow::Continue;
        }
        {
            let mut shared = self.connection.lock();
            // Until this is over, whoever changes the connection need not ask for another look.
            shared.scheduled = true;
            shared.dirty = false;
        }
        loop {
            self.receive(&mut budget, context);
            self.transmit(&mut budget, context);
            if self.peer_ended {
                // The last of the streams that a half-open connection waits for may have ended with that.
                self.end_of_input(context);
            }
            // The callbacks may have taken their time, and clocks that start now must not start in the past.
            context.now = Instant::now();
            if self.conclude(context) == Flow::Finished {
                return Flow::Finished;
            }
            let mut shared = self.connection.lock();
            let more_to_read = self.has_input() && (!shared.reading_paused || shared.phase != Phase::Open);
            let more_to_write = self.writable && self.io_error.is_none() && shared.rpc.outbound_len() > 0;
            if (more_to_read && budget.read == 0) || (more_to_write && budget.write == 0) {
                // Still scheduled: the place in the line is the promise to come back.
                self.in_line = true;
                context.ready.push_back(self.token);
                break;
            }
            if !std::mem::take(&mut shared.dirty) {
                shared.scheduled = false;
                break;
            }
        }
        self.update_deadlines(context);
        Flow::Continue
    }

    /// Reads and dispatches until nothing is there, or may be taken, or the budget is used.
    fn receive(&mut self, budget: &mut Budget, context: &mut Context) {
        self.read_all(budget, context);
        if self.peer_ended {
            self.end_of_input(context);
        }
    }

    fn read_all(&mut self, budget: &mut Budget, context: &mut Context) {
        while !self.peer_ended && budget.read > 0 {
            match self.input_mode() {
                Input::Keep => return,
                Input::Drop => {
                    self.gathered = Vec::new();
                    if !self.read_and_drop(budget, context) {
                        return;
                    }
                }
                Input::Dispatch(limits) => {
                    if self.holds_message() {
                        let bytes = std::mem::take(&mut self.gathered);
                        let used = self.dispatch(&bytes, limits);
                        budget.read = budget.read.saturating_sub(used);
                        self.keep_rest(bytes, used);
                    } else if !self.readable || !self.read_and_dispatch(limits, budget, context) {
                        return;
                    }
                }
            }
        }
    }

    fn input_mode(&self) -> Input {
        let shared = self.connection.lock();
        match shared.phase {
            Phase::Connecting | Phase::Open if shared.reading_paused => Input::Keep,
            Phase::Connecting | Phase::Open => Input::Dispatch(shared.rpc.receive_limits()),
            Phase::Closing | Phase::Closed => Input::Drop,
        }
    }

    /// Whether there is something to read or to dispatch, as far as is known.
    fn has_input(&self) -> bool {
        self.readable || self.holds_message()
    }

    /// After a pause whole messages may lie in `gathered`.
    fn holds_message(&self) -> bool {
        self.gathered.len() >= MIN_MESSAGE_LEN && self.missing_of_gathered() == 0
    }

    /// How many bytes the first gathered message still needs; nothing if it is complete or wrong.
    fn missing_of_gathered(&self) -> usize {
        match self.gathered.first_chunk::<4>() {
            Some(total_len) if self.gathered.len() >= PRELUDE_LEN => {
                (u32::from_be_bytes(*total_len) as usize).saturating_sub(self.gathered.len())
            }
            _ => PRELUDE_LEN.saturating_sub(self.gathered.len()),
        }
    }

    /// False when there is nothing more to read now.
    fn read_and_dispatch(&mut self, limits: codec::Limits, budget: &mut Budget, context: &mut Context) -> bool {
        let missing = self.missing_of_gathered();
        if self.gathered.len() >= PRELUDE_LEN && (missing > SMALL_REST || self.gathered.len() > SMALL_REST) {
            // The rest of a large message: the memory grows with what arrives, and nothing is cleared before it is read.
            let mut buffer = std::mem::take(&mut context.read_buffer);
            let room = missing.min(buffer.len());
            let count = self.read_into(budget, |driver| (driver.stream.read(&mut buffer[..room]), room));
            self.gathered.extend_from_slice(&buffer[..count.unwrap_or(0)]);
            context.read_buffer = buffer;
            if count.is_some() && self.missing_of_gathered() == 0 {
                let bytes = std::mem::take(&mut self.gathered);
                let used = self.dispatch(&bytes, limits);
                self.keep_rest(bytes, used);
            }
            return count.is_some();
        }
        let mut buffer = std::mem::take(&mut context.read_buffer);
        let start = self.gathered.len();
        buffer[..start].copy_from_slice(&self.gathered);
        self.gathered.clear();
        let count = self.read_into(budget, |driver| {
            let result = driver.stream.read(&mut buffer[start..]);
            (result, buffer.len() - start)
        });
        let bytes = &buffer[..start + count.unwrap_or(0)];
        // Without a byte more there is nothing new to find.
        let used = if count.is_some() { self.dispatch(bytes, limits) } else { 0 };
        self.gathered.extend_from_slice(&bytes[used..]);
        if self.gathered.is_empty() {
            self.gathered = Vec::new();
        }
        context.read_buffer = buffer;
        count.is_some()
    }

    /// What lies in the buffer now is the beginning of another message, with a time of its own.
    pub(super) fn note_message_end(&mut self) {
        self.deadlines.clear(Deadline::Message);
    }

    fn keep_rest(&mut self, mut bytes: Vec<u8>, used: usize) {
        if used < bytes.len() {
            bytes.drain(..used);
            self.gathered = bytes;
        }
    }

    /// One read: how many bytes came, or nothing at the end, on an error, or when there is nothing now.
    fn read_into(
        &mut self,
        budget: &mut Budget,
        read: impl FnOnce(&mut Self) -> (std::io::Result<usize>, usize),
    ) -> Option<usize> {
        match read(self) {
            (Ok(0), _) => {
                self.peer_ended = true;
                self.readable = false;
                None
            }
            (Ok(count), room) => {
                self.received = true;
                budget.read = budget.read.saturating_sub(count);
                // Less than asked for: the socket is empty, and what comes later comes with an event.
                self.readable = count == room || self.read_until_end || !self.stream.ends_by_short_read();
                Some(count)
            }
            (Err(error), _) if error.kind() == std::io::ErrorKind::WouldBlock => {
                self.readable = false;
                self.read_until_end = false;
                None
            }
            (Err(error), _) => {
                self.peer_ended = true;
                self.readable = false;
                let kind = transport::ErrorKind::Io;
                let error =
                    transport::Error::from_io(&format!("reading from {}", self.connection.peer_name()), &error, kind);
                self.io_error.get_or_insert(error.into());
                None
            }
        }
    }

    fn read_and_drop(&mut self, budget: &mut Budget, context: &mut Context) -> bool {
        if !self.readable {
            return false;
        }
        let mut buffer = std::mem::take(&mut context.read_buffer);
        let count = self.read_into(budget, |driver| (driver.stream.read(&mut buffer), buffer.len()));
        context.read_buffer = buffer;
        count.is_some()
    }

    /// The peer's bytes are all dispatched and it sends no more: what the callbacks accepted is written, then it is over.
    fn end_of_input(&mut self, context: &Context) {
        let error = match (&self.io_error, self.gathered.is_empty()) {
            (Some(error), _) => error.clone(),
            (None, true) => Error::PeerClosed(format!("{} closed the connection", self.connection.peer_name())),
            (None, false) => {
                let have = self.gathered.len();
                Error::Codec(codec::Error::Incomplete { have, need: have + self.missing_of_gathered().max(1) })
            }
        };
        let clean = matches!(error, Error::PeerClosed(_));
        self.gathered = Vec::new();
        let mut shared = self.connection.lock();
        if !matches!(shared.phase, Phase::Connecting | Phase::Open) {
            return;
        }
        if clean && shared.rpc.open_streams() > 0 && self.connection.settings().times.half_open.is_some() {
            drop(shared);
            if !self.deadlines.is_set(Deadline::HalfOpen) {
                self.start_clock(Deadline::HalfOpen, context);
            }
            return;
        }
        shared.begin_close(Err(error), false);
    }

    /// Writes what is queued, and tells who waits for it.
    fn transmit(&mut self, budget: &mut Budget, context: &mut Context) {
        while self.writable && self.io_error.is_none() && budget.write > 0 {
            {
                let mut shared = self.connection.lock();
                if shared.aborted {
                    return;
                }
                shared.rpc.take_segments(&mut self.writing);
            }
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let mut used = 0;
            let mut wanted = 0;
            for segment in self.writing.iter().take(SLICES_PER_WRITE) {
                let from = if used == 0 { self.written_of_first } else { 0 };
                slices[used] = IoSlice::new(&segment[from..]);
                wanted += segment.len() - from;
                used += 1;
            }
            if used == 0 {
                if self.stream.wants_flush() {
                    // A broken socket is told by the next read or write.
                    let result = self.stream.flush();
                    self.writable = !result.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
                }
                return;
            }
            match self.stream.write(&slices[..used]) {
                Ok(count) => {
                    self.writable = count == wanted || !self.stream.ends_by_short_read();
                    budget.write = budget.write.saturating_sub(count);
                    self.note_written(count, context);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) => {
                    let kind = transport::ErrorKind::Io;
                    let error =
                        transport::Error::from_io(&format!("writing to {}", self.connection.peer_name()), &error, kind);
                    self.io_error = Some(error.into());
                    // Whoever waits for room before it reads on would wait for ever.
                    self.connection.lock().end_pauses();
                    // What the peer sent before it went away is still there to be read.
                    self.readable = true;
                    self.read_until_end = true;
                    self.receive(budget, context);
                }
            }
        }
    }

    fn note_written(&mut self, count: usize, context: &mut Context) {
        let mut left = count;
        while let Some(first) = self.writing.front() {
            let rest = first.len() - self.written_of_first;
            if left < rest {
                self.written_of_first += left;
                break;
            }
            left -= rest;
            self.written_of_first = 0;
            self.writing.pop_front();
        }
        if self.writing.is_empty() {
            self.writing = VecDeque::new();
        }
        // Progress: the time for the next begins anew.
        self.deadlines.clear(Deadline::Write);
        if !self.lingering {
            self.deadlines.clear(Deadline::Linger);
        }
        self.sent = true;
        self.connection.note_written(count, &mut context.due);
    }

    /// If the connection is to end, does the next step of that.
    fn conclude(&mut self, context: &mut Context) -> Flow {
        let (unwritten, owes_linger) = {
            let mut shared = self.connection.lock();
            if let Some(error) = &self.io_error
                && matches!(shared.phase, Phase::Connecting | Phase::Open)
                && (self.peer_ended || !(shared.reading_paused || self.has_input()))
            {
                // Nothing more can be read either: the write's error is the reason.
                shared.begin_close(Err(error.clone()), false);
            }
            if shared.phase != Phase::Closing {
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
            if !self.stream.close_notify() {
                // It waits for room as everything else does.
                if !self.deadlines.is_set(Deadline::Linger) {
                    self.start_clock(Deadline::Linger, context);
                }
                return Flow::Continue;
            }
            if !self.stream.has_unfinished_bytes() {
                return self.finish(context);
            }
            self.stream.shutdown_write();
        }
        self.lingering = true;
        self.deadlines.set(Deadline::Linger, context.now + LAST_WORDS);
        Flow::Continue
    }

    /// What is waited for now.
    fn update_deadlines(&mut self, context: &mut Context) {
        let (phase, paused, unwritten, handshake_done, new_timers, ended_timers) = {
            let mut shared = self.connection.lock();
            let new_timers = std::mem::take(&mut shared.new_stream_deadlines);
            let ended_timers = std::mem::take(&mut shared.ended_stream_timers);
            let done = shared.rpc.is_handshake_done();
            (shared.phase, shared.reading_paused, shared.rpc.outbound_len(), done, new_timers, ended_timers)
        };
        for (stream, at) in new_timers.into_iter().filter(|(stream, _)| stream.phase() != StreamPhase::Closed) {
            stream.set_timer(context.timers.set_stream(at, &stream));
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
        self.deadlines.arm(&mut context.timers, self.token);
    }

    /// A timer of this connection fired.
    pub fn expire(&mut self, key: TimerKey, context: &mut Context) -> Flow {
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
            let times = &self.connection.settings().times;
            let time = times.of(deadline).unwrap_or_default();
            match deadline {
                Deadline::Ping => {
                    if self.connection.send_keep_alive() {
                        self.start_clock(Deadline::PingResponse, context);
                    }
                }
                Deadline::Linger => return self.linger_expired(context),
                Deadline::HalfOpen => {
                    let error = Error::PeerClosed("the peer closed the connection while streams were open".to_owned());
                    self.connection.lock().begin_close(Err(error), false);
                }
                Deadline::Write => return self.abort(Error::deadline(deadline, time, ""), context),
                _ => {
                    let detail = match deadline {
                        Deadline::Message => {
                            let have = self.gathered.len();
                            format!("{have} of {} bytes have come", have + self.missing_of_gathered())
                        }
                        _ => String::new(),
                    };
                    let mut shared = self.connection.lock();
                    if matches!(shared.phase, Phase::Connecting | Phase::Open) {
                        shared.begin_close(Err(Error::deadline(deadline, time, &detail)), false);
                    }
                }
            }
        }
        self.run(context)
    }

    fn linger_expired(&mut self, context: &mut Context) -> Flow {
        if !self.lingering {
            let unwritten = self.connection.outbound_len();
            let linger_ms = self.connection.settings().times.linger.as_millis();
            self.io_error = Some(Error::LingerExpired { unwritten, linger_ms });
        } else {
            // What came since the poll would turn the close into a reset.
            self.readable = true;
            let mut budget = Budget { read: BUDGET, write: 0 };
            while !self.peer_ended && budget.read > 0 && self.read_and_drop(&mut budget, context) {}
        }
        self.finish(context)
    }

    /// Ends the connection at once, for a reason that is not the application's.
    pub fn abort(&mut self, error: Error, context: &mut Context) -> Flow {
        {
            let mut shared = self.connection.lock();
            if matches!(shared.phase, Phase::Connecting | Phase::Open) {
                shared.begin_close(Err(error), false);
            }
            shared.aborted = true;
        }
        self.finish(context)
    }

    /// The connection is over: closes the socket, then tells everybody.
    fn finish(&mut self, context: &mut Context) -> Flow {
        self.deadlines.cancel(&mut context.timers);
        // Best effort: what the system takes at once.
        self.stream.close_notify();
        self.stream.deregister(&context.registry);
        self.writing = VecDeque::new();
        self.gathered = Vec::new();
        let (outcome, lost) = self.outcome();
        self.connection.finish(outcome, lost);
        let ended = std::mem::take(&mut self.connection.lock().ended_stream_timers);
        ended.into_iter().for_each(|key| context.timers.cancel(key));
        Flow::Finished
    }

    /// How the connection ends, and why what is not written is lost if that is another reason.
    fn outcome(&self) -> (Outcome, Option<Error>) {
        let (closing, unwritten, was_set_up) = {
            let shared = self.connection.lock();
            (shared.closing.clone(), shared.rpc.outbound_len(), shared.setup == Some(Ok(())))
        };
        let Some(Closing { outcome, by_this_side }) = closing else {
            return (Err(Error::Internal("a connection ended without a reason".to_owned())), None);
        };
        let lingered = matches!(self.io_error, Some(Error::LingerExpired { .. }));
        if unwritten == 0 || !(by_this_side || lingered) {
            return (outcome, None);
        }
        let lost = self.io_error.clone().unwrap_or(Error::Aborted { unwritten });
        // Lost bytes count for more than the reason that this side gave; an end for a graver reason keeps that.
        let tells_loss = by_this_side && was_set_up;
        (if tells_loss { Err(lost.clone()) } else { outcome }, Some(lost))
    }
}

/// Bytes that a connection may still move before the others get their turn.
struct Budget {
    read: usize,
    write: usize,
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
