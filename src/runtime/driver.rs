use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Token;

use crate::codec::{self, MIN_MESSAGE_LEN, PRELUDE_LEN};
use crate::runtime::connection::{Closing, Connection, connect_message};
use crate::runtime::event_loop::Context;
use crate::runtime::listener::Accepted;
use crate::runtime::timers::TimerKey;
use crate::runtime::{Error, Level, Outcome, Phase};
use crate::transport::{self, Readiness};

/// What one connection may read, and write, before the others get their turn.
const BUDGET: usize = 1024 * 1024;
/// How long a server that refused, or a side with unread input, waits for the peer's end before it closes.
const LAST_WORDS: Duration = Duration::from_secs(1);
const SLICES_PER_WRITE: usize = 64;
/// A cut message up to this size is completed where the loop reads, a larger one in a buffer of its own.
const SMALL_REST: usize = 4 * 1024;

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
    dialing: bool,
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
    /// All is written; the rest of the input is dropped until the peer's end.
    lingering: bool,
    timer: Option<TimerKey>,
}

/// What to do with input.
enum Input {
    Dispatch(codec::Limits),
    Drop,
    Keep,
}

impl Driver {
    /// Begins to connect.
    pub fn dial(connection: Arc<Connection>, token: Token, context: &mut Context) -> Option<Driver> {
        let result = match connection.endpoint() {
            _ if context.shutting_down => Err(Error::RuntimeShutdown),
            Some(endpoint) => transport::Stream::dial(endpoint).map_err(Error::from),
            None => Err(Error::Internal("a client connection without an endpoint".to_owned())),
        };
        let result = result.and_then(|stream| Driver::place(connection.clone(), stream, token, context));
        match result {
            Ok(mut driver) => {
                driver.dialing = true;
                Some(driver)
            }
            Err(error) => {
                let outcome = {
                    let mut shared = connection.lock();
                    // If the application has closed it meanwhile, that stays the reason.
                    shared.begin_close(Err(error), false);
                    shared.closing.as_ref().map_or(Ok(()), |closing| closing.outcome.clone())
                };
                connection.finish(outcome, None);
                None
            }
        }
    }

    /// Takes over a connection that a listener accepted, if the application takes it.
    pub fn accept(accepted: Accepted, token: Token, context: &mut Context) -> Option<Driver> {
        let Accepted { listener, connection, stream } = accepted;
        if context.shutting_down || listener.is_closed() {
            return None;
        }
        let driver = match Driver::place(connection.clone(), stream, token, context) {
            Ok(driver) => driver,
            Err(error) => {
                listener.failed(&error);
                return None;
            }
        };
        driver.note_addresses();
        if connection.announce(&listener) {
            return Some(driver);
        }
        context.log.write(Level::Debug, "listener", || "a connection was refused by the application".to_owned());
        None
    }

    fn place(
        connection: Arc<Connection>,
        mut stream: transport::Stream,
        token: Token,
        context: &mut Context,
    ) -> Result<Driver, Error> {
        stream.register(&context.registry, token).map_err(|error| {
            let kind = transport::ErrorKind::Io;
            Error::Transport(transport::Error::from_io("watching a socket", &error, kind))
        })?;
        connection.set_token(token);
        Ok(Driver {
            connection,
            stream,
            token,
            dialing: false,
            // The first tries tell; the poll's events may lie before the registration.
            readable: true,
            writable: true,
            read_until_end: false,
            gathered: Vec::new(),
            writing: VecDeque::new(),
            written_of_first: 0,
            io_error: None,
            peer_ended: false,
            lingering: false,
            timer: None,
        })
    }

    fn note_addresses(&self) {
        self.connection.set_addresses(self.stream.local_address(), self.stream.remote_address());
    }

    pub fn note_readiness(&mut self, readable: bool, writable: bool, end_follows: bool) {
        self.readable |= readable;
        self.writable |= writable;
        self.read_until_end |= end_follows;
    }

    /// Does all that can be done now.
    pub fn run(&mut self, context: &mut Context) -> Flow {
        {
            let mut shared = self.connection.lock();
            // Until this is over, whoever changes the connection need not ask for another look.
            shared.scheduled = true;
            shared.dirty = false;
        }
        let mut budget = Budget { read: BUDGET, write: BUDGET };
        loop {
            if self.dialing && !self.finish_dial() {
                let mut shared = self.connection.lock();
                if shared.phase == Phase::Connecting {
                    shared.scheduled = false;
                    return Flow::Continue;
                }
                drop(shared);
                return self.finish(context);
            }
            self.receive(&mut budget, context);
            self.transmit(&mut budget, context);
            if self.conclude(context) == Flow::Finished {
                return Flow::Finished;
            }
            let mut shared = self.connection.lock();
            let more_to_read =
                self.readable && (self.lingering || !shared.reading_paused || shared.phase != Phase::Open);
            let more_to_write = self.writable && self.io_error.is_none() && shared.rpc.outbound_len() > 0;
            if (more_to_read && budget.read == 0) || (more_to_write && budget.write == 0) {
                // Still scheduled: the place in the line is the promise to come back.
                context.ready.push_back(self.token);
                return Flow::Continue;
            }
            if !std::mem::take(&mut shared.dirty) {
                shared.scheduled = false;
                return Flow::Continue;
            }
        }
    }

    /// False while the dial goes on, and when it failed or was given up: then the connection is closing.
    fn finish_dial(&mut self) -> bool {
        if self.connection.lock().phase != Phase::Connecting {
            return false;
        }
        let result = match self.connection.endpoint() {
            Some(endpoint) => self.stream.finish_dial(endpoint),
            None => Ok(Readiness::Pending),
        };
        match result {
            Ok(Readiness::Pending) => false,
            Ok(Readiness::Ready) => {
                self.dialing = false;
                self.note_addresses();
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
                true
            }
            Err(error) => {
                self.connection.lock().begin_close(Err(error.into()), false);
                false
            }
        }
    }

    /// Reads and dispatches until nothing is there, or may be taken, or the budget is used.
    fn receive(&mut self, budget: &mut Budget, context: &mut Context) {
        self.read_all(budget, context);
        if self.peer_ended {
            self.end_of_input();
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
                    // After a pause whole messages may lie here.
                    if self.gathered.len() >= MIN_MESSAGE_LEN && self.missing_of_gathered() == 0 {
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
                budget.read = budget.read.saturating_sub(count);
                // Less than asked for: the socket is empty, and what comes later comes with an event.
                self.readable = count == room || self.read_until_end || cfg!(not(unix));
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
                let error = transport::Error::from_io("reading from the peer", &error, kind);
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
    fn end_of_input(&mut self) {
        let error = match (&self.io_error, self.gathered.is_empty()) {
            (Some(error), _) => error.clone(),
            (None, true) => Error::PeerClosed("the peer closed the connection".to_owned()),
            (None, false) => {
                let have = self.gathered.len();
                Error::Codec(codec::Error::Incomplete { have, need: have + self.missing_of_gathered().max(1) })
            }
        };
        self.gathered = Vec::new();
        let mut shared = self.connection.lock();
        if matches!(shared.phase, Phase::Connecting | Phase::Open) {
            shared.begin_close(Err(error), false);
        }
    }

    /// Writes what is queued, and tells who waits for it.
    fn transmit(&mut self, budget: &mut Budget, context: &mut Context) {
        while self.writable && !self.dialing && self.io_error.is_none() && budget.write > 0 {
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
                return;
            }
            match self.stream.write(&slices[..used]) {
                Ok(count) => {
                    self.writable = count == wanted;
                    budget.write = budget.write.saturating_sub(count);
                    self.note_written(count, context);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) => {
                    let kind = transport::ErrorKind::Io;
                    let error = transport::Error::from_io("writing to the peer", &error, kind);
                    self.io_error = Some(error.into());
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
        self.cancel_timer(context);
        self.connection.note_written(count, &mut context.due);
    }

    /// If the connection is to end, does the next step of that.
    fn conclude(&mut self, context: &mut Context) -> Flow {
        let (unwritten, owes_linger) = {
            let mut shared = self.connection.lock();
            if let Some(error) = &self.io_error
                && matches!(shared.phase, Phase::Connecting | Phase::Open)
                && (!shared.reading_paused || self.peer_ended)
            {
                // Nothing more can be read either, or it would have been: the write's error is the reason.
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
            if self.timer.is_none() {
                let linger = self.connection.settings().linger;
                self.timer = Some(context.timers.set(Instant::now() + linger, self.token));
            }
            return Flow::Continue;
        }
        if self.peer_ended || self.io_error.is_some() {
            return self.finish(context);
        }
        if self.lingering {
            return Flow::Continue;
        }
        self.cancel_timer(context);
        if !owes_linger {
            if !self.stream.has_unfinished_bytes() {
                return self.finish(context);
            }
            self.stream.shutdown_write();
        }
        self.lingering = true;
        self.timer = Some(context.timers.set(Instant::now() + LAST_WORDS, self.token));
        Flow::Continue
    }

    /// A deadline of this connection is over.
    pub fn expire(&mut self, key: TimerKey, context: &mut Context) -> Flow {
        if self.timer != Some(key) {
            return Flow::Continue;
        }
        self.timer = None;
        if !self.lingering {
            let unwritten = self.connection.outbound_len();
            let linger_ms = self.connection.settings().linger.as_millis();
            self.io_error = Some(Error::LingerExpired { unwritten, linger_ms });
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
        self.cancel_timer(context);
        self.stream.deregister(&context.registry);
        self.writing = VecDeque::new();
        self.gathered = Vec::new();
        let (outcome, lost) = self.outcome();
        self.connection.finish(outcome, lost);
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

    fn cancel_timer(&mut self, context: &mut Context) {
        if let Some(key) = self.timer.take() {
            context.timers.cancel(key);
        }
    }
}

/// Bytes that a connection may still move before the others get their turn.
struct Budget {
    read: usize,
    write: usize,
}
