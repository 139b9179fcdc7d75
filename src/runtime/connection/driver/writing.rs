//! From the queue of the connection to the socket.

use std::collections::VecDeque;
use std::io::IoSlice;

use super::super::deadlines::Deadline;
use super::super::state::Flush;
use super::output::SLICES_PER_WRITE;
use super::{Driver, Round, Stage, Turn, look};
use crate::rpc::Mark;
use crate::runtime::error::Error;
use crate::runtime::event_loop::Context;
use crate::transport;

/// Memory that the connections of a loop share, empty between two uses.
#[derive(Default)]
struct Scratch {
    due: VecDeque<Mark<Flush>>,
    /// What a connection takes out of its queue.
    segments: VecDeque<Vec<u8>>,
}

impl Driver {
    /// Writes what is queued, and calls who waits for it between two writes. Returns what there is to be done next, unless
    /// that has to be looked for: when a callback has run since, or one is still to run. `begins`: the turn begins with it.
    pub(super) fn transmit(&mut self, begins: bool, turn: &mut Turn, context: &mut Context) -> Option<Round> {
        let mut scratch = None;
        let round = self.write_all(begins, &mut scratch, turn, context);
        if let Some(scratch) = scratch {
            context.give_back_scratch(scratch);
        }
        round
    }

    fn write_all(
        &mut self,
        mut begins: bool,
        scratch: &mut Option<Box<Scratch>>,
        turn: &mut Turn,
        context: &mut Context,
    ) -> Option<Round> {
        let mut written = None;
        loop {
            let mut shared = self.connection.lock();
            if std::mem::take(&mut begins) {
                shared.begin_turn();
            }
            let mut has_room_again = false;
            if let Some((count, scratch)) = written.zip(scratch.as_mut()) {
                shared.rpc.written(count, &mut scratch.due);
                if let Some(streams) = shared.take_refused() {
                    has_room_again = true;
                    self.output.streams_with_room.extend(streams);
                }
                self.connection.notify(&shared);
            }
            let may_write = self.output.may_write() && turn.write > 0 && !shared.is_cut();
            if may_write && !self.output.segments.is_empty() {
                shared.rpc.take_segments(&mut self.output.segments);
            } else if may_write && shared.rpc.outbound_len() > 0 {
                let scratch = scratch.get_or_insert_with(|| context.take_scratch());
                std::mem::swap(&mut self.output.segments, &mut scratch.segments);
                shared.rpc.take_segments(&mut self.output.segments);
            }
            let has_more = may_write && !self.output.segments.is_empty();
            let is_due = scratch.as_ref().is_some_and(|scratch| !scratch.due.is_empty());
            let is_quiet = !is_due && !has_room_again && self.output.streams_with_room.is_empty();
            if !has_more && is_quiet && !self.input.has_ended && !self.stream.wants_flush() {
                return Some(look(&mut shared, &self.input, &self.output, turn, context));
            }
            drop(shared);
            if let Some(scratch) = scratch.as_mut().filter(|_| is_due) {
                self.connection.tell_written(&mut scratch.due);
            }
            if has_room_again {
                self.connection.tell_room();
            }
            if !has_more {
                if may_write && self.stream.wants_flush() {
                    // The next read or write reports a broken socket.
                    let result = self.stream.flush();
                    self.output.is_ready = !result.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
                }
                return None;
            }
            if written.is_some() {
                turn.look();
                if turn.is_over() {
                    return None;
                }
            }
            written = self.write_once(scratch.get_or_insert_with(|| context.take_scratch()), turn);
        }
    }

    /// One write: how many bytes the system took, if it took any.
    fn write_once(&mut self, scratch: &mut Scratch, turn: &mut Turn) -> Option<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
        let (used, wanted) = self.output.fill(&mut slices, turn.write);
        match self.stream.write(&slices[..used]) {
            Ok(count) => {
                self.output.is_ready = count == wanted || !self.stream.short_write_ends_room();
                turn.write = turn.write.saturating_sub(count);
                self.note_progress(count, scratch);
                if !self.output.is_ready {
                    self.output.give_spare_memory_back(self.connection.buffers());
                }
                Some(count)
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                self.output.is_ready = false;
                self.output.give_spare_memory_back(self.connection.buffers());
                None
            }
            Err(error) => {
                let kind = transport::ErrorKind::Io;
                let what = format!("writing to {}", self.connection.remote_address().peer_name());
                self.note_failed_write(transport::Error::from_io(&what, &error, kind).into());
                None
            }
        }
    }

    fn note_progress(&mut self, count: usize, scratch: &mut Scratch) {
        self.output.note_written(count, self.connection.buffers(), &mut scratch.segments);
        // The time for the next begins anew.
        self.deadlines.clear(Deadline::Write);
        if !matches!(self.stage, Stage::Lingering) {
            self.deadlines.clear(Deadline::Linger);
        }
    }

    fn note_failed_write(&mut self, error: Error) {
        self.output.failure = Some(error);
        // Whoever waits for room before it reads on would wait for ever.
        self.connection.lock().note_failed_write();
        // What the peer sent before it went away is still there to be read.
        self.input.is_ready = true;
        self.input.is_read_to_end = true;
    }
}
