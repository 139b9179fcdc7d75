//! From the queue of the connection to the socket.

use std::collections::VecDeque;
use std::io::IoSlice;

use super::super::deadlines::Deadline;
use super::super::state::Flush;
use super::{Driver, Turn};
use crate::rpc::Mark;
use crate::runtime::event_loop::Context;
use crate::transport;

/// Small messages share a segment, so these are many; each costs time to fill in whether it is used or not.
const SLICES_PER_WRITE: usize = 16;

/// Room for so many segments is kept for the next connection that writes.
const KEPT_SEGMENTS: usize = 64;

/// Memory that the connections of a loop share, empty between two uses.
#[derive(Default)]
struct Scratch {
    due: VecDeque<Mark<Flush>>,
    /// What a connection takes out of its queue.
    segments: VecDeque<Vec<u8>>,
}

impl Driver {
    /// Writes what is queued, and tells who waits for it.
    pub(super) fn transmit(&mut self, turn: &mut Turn, context: &mut Context) {
        let mut scratch = context.take_scratch();
        self.write_all(&mut scratch, turn, context);
        context.give_back_scratch(scratch);
    }

    fn write_all(&mut self, scratch: &mut Scratch, turn: &mut Turn, context: &mut Context) {
        let mut has_written = false;
        while self.writable && self.io_error.is_none() && turn.write > 0 {
            {
                let mut shared = self.connection.lock();
                if shared.aborted {
                    return;
                }
                if self.writing.is_empty() {
                    std::mem::swap(&mut self.writing, &mut scratch.segments);
                }
                shared.rpc.take_segments(&mut self.writing);
            }
            if self.writing.is_empty() {
                if self.stream.wants_flush() {
                    // A broken socket is told by the next read or write.
                    let result = self.stream.flush();
                    self.writable = !result.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
                }
                return;
            }
            if std::mem::replace(&mut has_written, true) {
                turn.look();
                if turn.is_over() {
                    return;
                }
            }
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let mut used = 0;
            let mut wanted = 0;
            for segment in self.writing.iter().take(SLICES_PER_WRITE) {
                let from = if used == 0 { self.written_of_first } else { 0 };
                let len = (segment.len() - from).min(turn.write - wanted);
                slices[used] = IoSlice::new(&segment[from..from + len]);
                wanted += len;
                used += 1;
                if wanted == turn.write {
                    break;
                }
            }
            match self.stream.write(&slices[..used]) {
                Ok(count) => {
                    self.writable = count == wanted || !self.stream.short_write_ends_room();
                    turn.write = turn.write.saturating_sub(count);
                    self.note_written(count, scratch);
                    if !self.writable {
                        self.give_spare_memory_back();
                    } else if self.writing.is_empty() && !self.stream.wants_flush() {
                        // What was queued meanwhile is seen at the end of the turn.
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    self.give_spare_memory_back();
                }
                Err(error) => {
                    let kind = transport::ErrorKind::Io;
                    let error = transport::Error::from_io(
                        &format!("writing to {}", self.connection.remote_address().peer_name()),
                        &error,
                        kind,
                    );
                    self.io_error = Some(error.into());
                    // Whoever waits for room before it reads on would wait for ever.
                    self.connection.lock().end_pauses();
                    // What the peer sent before it went away is still there to be read.
                    self.readable = true;
                    self.read_until_end = true;
                    self.receive(turn, context);
                }
            }
        }
    }

    /// A peer that reads slowly holds no more memory than its messages take.
    fn give_spare_memory_back(&mut self) {
        for segment in self.writing.iter_mut().filter(|segment| segment.len() < segment.capacity() / 4) {
            let exact = segment.as_slice().to_vec();
            self.connection.buffers().give_back(std::mem::replace(segment, exact));
        }
    }

    fn note_written(&mut self, count: usize, scratch: &mut Scratch) {
        let mut left = count;
        while let Some(first) = self.writing.front() {
            let rest = first.len() - self.written_of_first;
            if left < rest {
                self.written_of_first += left;
                break;
            }
            left -= rest;
            self.written_of_first = 0;
            if let Some(segment) = self.writing.pop_front() {
                self.connection.buffers().give_back(segment);
            }
        }
        if self.writing.is_empty() {
            if self.writing.capacity() <= KEPT_SEGMENTS {
                std::mem::swap(&mut self.writing, &mut scratch.segments);
            }
            if self.writing.capacity() > 0 {
                self.writing = VecDeque::new();
            }
        }
        // Progress: the time for the next begins anew.
        self.deadlines.clear(Deadline::Write);
        if !self.lingering {
            self.deadlines.clear(Deadline::Linger);
        }
        self.sent = true;
        self.connection.note_written(count, &mut scratch.due, &mut self.writable_streams);
    }
}
