//! From the socket to the messages that are dispatched.

use std::time::Duration;

use super::super::deadlines::Deadline;
use super::super::handle::SharedState;
use super::gathered::Gathered;
use super::{Driver, Turn};
use crate::codec::{self, Limits, Message, PRELUDE_LEN, Prelude};
use crate::runtime::error::Error;
use crate::runtime::event_loop::{Context, grow_read_buffer};
use crate::transport::{self, TlsErrorKind};

/// A cut message up to this size is completed where the loop reads, a larger one in a buffer of its own.
const SMALL_REST: usize = 4 * 1024;

/// What one read of a large message takes at most.
const LARGEST_READ: usize = 256 * 1024;

/// What to do with input.
pub(super) enum Mode {
    Dispatch(Limits),
    Drop,
    Keep,
}

pub(super) fn mode(shared: &SharedState) -> Mode {
    match shared.is_alive() {
        true if shared.is_reading_paused() => Mode::Keep,
        true => Mode::Dispatch(shared.rpc.receive_limits()),
        false => Mode::Drop,
    }
}

impl Driver {
    /// Reads and dispatches until nothing is there, or may be taken, or the budget is used.
    pub(super) fn receive(&mut self, mut mode: Mode, turn: &mut Turn, context: &mut Context) {
        while !self.input.has_ended && turn.read > 0 {
            match mode {
                Mode::Keep => return,
                Mode::Drop => {
                    self.input.gathered.clear();
                    if !self.read_and_drop(turn, context) {
                        return;
                    }
                }
                Mode::Dispatch(limits) => {
                    if self.input.holds_message() {
                        self.dispatch_gathered(limits, turn);
                    } else if !self.input.is_ready || !self.read_and_dispatch(limits, turn, context) {
                        return;
                    }
                }
            }
            if !self.input.is_waiting() {
                return;
            }
            mode = self.mode();
        }
    }

    fn mode(&self) -> Mode {
        mode(&self.connection.lock())
    }

    /// False when there is nothing more to read now.
    fn read_and_dispatch(&mut self, limits: Limits, turn: &mut Turn, context: &mut Context) -> bool {
        let missing = self.input.missing_len();
        if self.input.gathered.len() >= PRELUDE_LEN && (missing > SMALL_REST || self.input.gathered.len() > SMALL_REST)
        {
            return self.read_rest(missing, limits, turn);
        }
        let mut buffer = std::mem::take(&mut context.read_buffer);
        let more = self.read_into_buffer(&mut buffer, limits, turn);
        context.read_buffer = buffer;
        more
    }

    /// Reads more of a large message to the bytes of it that are there: the memory grows with what arrives.
    fn read_rest(&mut self, missing: usize, limits: Limits, turn: &mut Turn) -> bool {
        let room = missing.min(self.input.gathered.len().clamp(SMALL_REST, LARGEST_READ));
        let count =
            self.read_into(turn, |driver| (driver.stream.read_more(driver.input.gathered.bytes_mut(), room), room));
        if count.is_some() && self.input.missing_len() == 0 {
            self.dispatch_gathered(limits, turn);
        }
        count.is_some()
    }

    /// Reads and dispatches; goes on as long as a message that was cut by the buffer's end fits in it when moved to the
    /// front.
    fn read_into_buffer(&mut self, buffer: &mut Vec<u8>, mut limits: Limits, turn: &mut Turn) -> bool {
        let mut kept = self.input.gathered.len();
        buffer[..kept].copy_from_slice(&self.input.gathered);
        self.input.gathered.forget();
        let (rest, more) = loop {
            let count = self.read_into(turn, |driver| {
                let result = driver.stream.read(&mut buffer[kept..]);
                (result, buffer.len() - kept)
            });
            // Without a byte more there is nothing new to find.
            let Some(count) = count else { break (0..kept, false) };
            let end = kept + count;
            let used = self.dispatch(&buffer[..end], limits, turn);
            kept = end - used;
            let missing = Prelude::missing_len(&buffer[used..end]);
            if missing == 0 || kept + missing > buffer.len() || !self.input.is_ready || turn.read == 0 {
                break (used..end, true);
            }
            match self.mode() {
                Mode::Dispatch(next) => limits = next,
                Mode::Drop | Mode::Keep => break (used..end, true),
            }
            codec::move_to_front(buffer, used, end);
        };
        let is_full = rest.end == buffer.len();
        self.gather(&buffer[rest]);
        if is_full {
            grow_read_buffer(buffer);
        }
        more
    }

    /// Keeps what is not dispatched; what is kept already is none of it.
    fn gather(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.input.gathered.clear();
            return;
        }
        if bytes.len() > SMALL_REST && self.input.gathered.capacity() < bytes.len() {
            let final_len = bytes.len() + Prelude::missing_len(bytes);
            self.input.gathered = Gathered::from(self.connection.buffers().take_for(bytes.len(), final_len));
        }
        codec::append_bytes(self.input.gathered.bytes_mut(), bytes);
    }

    /// Decodes and delivers the messages at the start of `bytes`; returns how many bytes are used up.
    pub(in crate::runtime) fn dispatch(&mut self, bytes: &[u8], mut limits: Limits, turn: &mut Turn) -> usize {
        let mut used = 0;
        self.input.is_unseen = false;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            match Message::decode(rest, &limits) {
                Ok((message, len)) => {
                    if !self.connection.deliver(&message, &rest[..len], &mut limits, turn.now()) {
                        break;
                    }
                    used += len;
                    if turn.note_call(len) {
                        self.input.is_unseen = true;
                        break;
                    }
                }
                Err(codec::Error::Incomplete { .. }) => break,
                Err(error) => {
                    self.connection.reject(error, rest);
                    self.input.was_refused = true;
                    return bytes.len();
                }
            }
        }
        if used > 0 {
            // What lies in the buffer now is the beginning of another message, with a time of its own.
            self.deadlines.clear(Deadline::Message);
        }
        used
    }

    /// Dispatches what was gathered, as far as it goes.
    fn dispatch_gathered(&mut self, limits: Limits, turn: &mut Turn) {
        let mut gathered = std::mem::take(&mut self.input.gathered);
        let used = self.dispatch(&gathered, limits, turn);
        gathered.skip(used, |memory| self.connection.buffers().give_back(memory));
        self.input.gathered = gathered;
    }

    /// One read: how many bytes came, or nothing at the end, on an error, or when there is nothing now.
    fn read_into(
        &mut self,
        turn: &mut Turn,
        read: impl FnOnce(&mut Self) -> (std::io::Result<usize>, usize),
    ) -> Option<usize> {
        let (result, room) = read(self);
        let wire_len = self.stream.take_wire_len(result.as_ref().map_or(0, |count| *count));
        turn.read = turn.read.saturating_sub(wire_len);
        match (result, room) {
            (Ok(0), _) => {
                self.input.end();
                None
            }
            (Ok(count), room) => {
                self.input.has_come = true;
                turn.received += count;
                // Less than asked for: the socket is empty, and what comes later comes with an event.
                self.input.is_ready =
                    count == room || self.input.is_read_to_end || !self.stream.short_read_ends_input();
                Some(count)
            }
            (Err(error), _) if error.kind() == std::io::ErrorKind::WouldBlock => {
                self.input.is_ready = self.stream.is_cut_off();
                self.input.is_read_to_end &= self.input.is_ready;
                None
            }
            (Err(error), _) => {
                self.input.end();
                let kind = transport::ErrorKind::Io;
                let error = transport::Error::from_io(
                    &format!("reading from {}", self.connection.remote_address().peer_name()),
                    &error,
                    kind,
                );
                let place = match error.kind {
                    transport::ErrorKind::Tls(TlsErrorKind::Truncated) => &mut self.input.cut_short,
                    _ => &mut self.output.failure,
                };
                place.get_or_insert(error.into());
                None
            }
        }
    }

    pub(super) fn read_and_drop(&mut self, turn: &mut Turn, context: &mut Context) -> bool {
        if !self.input.is_ready {
            return false;
        }
        let mut buffer = std::mem::take(&mut context.read_buffer);
        let count = self.read_into(turn, |driver| (driver.stream.read(&mut buffer), buffer.len()));
        context.read_buffer = buffer;
        count.is_some()
    }

    /// The peer's bytes are all dispatched and it sends no more: what the callbacks accepted is written, then it is over.
    pub(super) fn end_of_input(&mut self, context: &Context) {
        let error =
            match (self.output.failure.as_ref().or(self.input.cut_short.as_ref()), self.input.gathered.is_empty()) {
                (Some(error), _) => error.clone(),
                (None, true) => Error::PeerClosed(Box::new(self.connection.peer_end())),
                (None, false) => {
                    let have = self.input.gathered.len();
                    let error = codec::Error::Incomplete { have, need: have + self.input.missing_len().max(1) };
                    let shared = self.connection.lock();
                    Error::of_input(error, &self.input.gathered, shared.rpc.role(), shared.rpc.is_handshake_done())
                }
            };
        let clean = matches!(error, Error::PeerClosed(_));
        self.input.gathered.clear();
        let mut shared = self.connection.lock();
        if clean
            && shared.is_alive()
            && shared.rpc.open_streams() > 0
            && self.connection.settings().times.half_open != Some(Duration::ZERO)
        {
            drop(shared);
            if !self.deadlines.is_set(Deadline::HalfOpen) {
                self.start_clock(Deadline::HalfOpen, context);
            }
            return;
        }
        shared.close(Err(error), false);
    }
}
