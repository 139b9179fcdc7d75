use std::collections::VecDeque;
use std::sync::Arc;

use crate::rpc::{Buffers, Error, Prepared};

/// Small messages share segments of this size.
const SEGMENT_LEN: usize = 64 * 1024;

/// Encoded messages on their way out, and who waits for them to be written.
///
/// The bytes are taken out segment by segment to be written; `written` says how far that came.
pub struct Outbound<T> {
    buffers: Arc<dyn Buffers>,
    /// While this many bytes wait, only exempt messages are accepted.
    limit: usize,
    is_closed: bool,
    /// Messages for which there was no room.
    refused: u64,
    segments: VecDeque<Vec<u8>>,
    /// Bytes ever queued; the position of the queue's end.
    queued_total: u64,
    /// Bytes ever written; never above `queued_total`.
    written_total: u64,
    /// In the order of their positions.
    marks: VecDeque<Mark<T>>,
    /// The number of the last mark; the first one has 1.
    last_mark: u64,
    /// Where exempt messages lie: positions of their beginning and end, in order.
    exempt: VecDeque<(u64, u64)>,
    /// The sum of the lengths of these.
    exempt_len: u64,
    /// Messages ever queued.
    messages: u64,
    /// The most bytes that ever waited at once, as of the last write.
    most_len: usize,
}

/// The queue while it is not closed: what takes a message.
pub struct OpenQueue<'a, T>(&'a mut Outbound<T>);

/// Whether the outbound limit holds for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Limited,
    /// The message is taken however much waits.
    Exempt,
}

/// What is due once the queue is written up to `end`.
pub struct Mark<T> {
    end: u64,
    /// The number of the previous mark of the same stream, which may have left the queue already; 0 if there was none.
    before: u64,
    pub written: Written<T>,
}

/// The marks of one stream in the queue, from the last one backwards.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trail {
    /// The number of the stream's last mark; 0 if it never had one.
    last: u64,
}

/// What is due when a message is written; emptied if its stream ends before that.
#[derive(Debug, PartialEq, Eq)]
pub struct Written<T> {
    /// Of the stream whose message is written; 0 for protocol messages.
    pub stream_id: i32,
    /// The message ended its stream.
    pub terminates: bool,
    pub token: Option<T>,
}

impl<T> Outbound<T> {
    pub fn new(limit: usize, buffers: Arc<dyn Buffers>) -> Outbound<T> {
        Outbound {
            buffers,
            limit,
            is_closed: false,
            refused: 0,
            segments: VecDeque::new(),
            queued_total: 0,
            written_total: 0,
            marks: VecDeque::new(),
            last_mark: 0,
            exempt: VecDeque::new(),
            exempt_len: 0,
            messages: 0,
            most_len: 0,
        }
    }

    /// Bytes accepted and not yet written.
    pub fn len(&self) -> usize {
        (self.queued_total - self.written_total) as usize
    }

    /// The most bytes that ever waited at once.
    pub fn most_len(&self) -> usize {
        self.most_len.max(self.len())
    }

    /// Messages ever queued.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    pub fn queued_total(&self) -> u64 {
        self.queued_total
    }

    pub fn written_total(&self) -> u64 {
        self.written_total
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Messages for which there was no room.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Takes no more messages from now on; what was taken is still to be written.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// The queue, for one more message.
    #[inline]
    pub fn open(&mut self) -> Result<OpenQueue<'_, T>, Error> {
        if self.is_closed { Err(Error::ConnectionClosed) } else { Ok(OpenQueue(self)) }
    }

    /// Whether exempt messages that are not yet written have more than `len` bytes.
    #[inline]
    pub fn exempt_exceeds(&self, len: u64) -> bool {
        // Usually there are none, and the first comparison says so.
        self.exempt_len > len && self.exempt_len - self.written_of_first_exempt() > len
    }

    fn written_of_first_exempt(&self) -> u64 {
        self.exempt.front().map_or(0, |(start, _)| self.written_total.saturating_sub(*start))
    }

    /// What was queued from `start` on is exempt from the limit.
    #[inline(never)]
    fn note_exempt(&mut self, start: u64) {
        let end = self.queued_total;
        self.exempt_len += end - start;
        match self.exempt.back_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => self.exempt.push_back((start, end)),
        }
    }

    /// Encodes a message at the end of the queue.
    #[inline]
    fn append(&mut self, message: &mut Prepared<'_>, written: Written<T>, trail: &mut Trail) {
        let len = message.len();
        match message.take_encoded(written.stream_id) {
            Some(segment) => self.segments.push_back(segment),
            None => {
                if self.segments.back().is_none_or(|last| last.capacity() - last.len() < len) {
                    self.segments.push_back(self.buffers.take(len.max(SEGMENT_LEN)));
                }
                if let Some(segment) = self.segments.back_mut() {
                    message.encode(written.stream_id, segment);
                }
            }
        }
        self.queued_total += len as u64;
        self.messages += 1;
        if written.terminates || written.token.is_some() {
            self.last_mark += 1;
            let before = std::mem::replace(&mut trail.last, self.last_mark);
            self.marks.push_back(Mark { end: self.queued_total, before, written });
        }
    }

    /// Moves all segments that wait to be written to `into`.
    pub fn take_segments(&mut self, into: &mut VecDeque<Vec<u8>>) {
        if into.is_empty() {
            // Its memory is used for the next segments.
            std::mem::swap(into, &mut self.segments);
        } else {
            into.append(&mut self.segments);
        }
    }

    /// `count` more bytes are written: moves what is due now to `due`, which is empty, in the order of the sends.
    pub fn written(&mut self, count: usize, due: &mut VecDeque<Mark<T>>) {
        // The queue grows until something is written, so it is longest just before that.
        self.most_len = self.most_len();
        self.written_total = (self.written_total + count as u64).min(self.queued_total);
        while let Some((start, end)) = self.exempt.front().filter(|(_, end)| *end <= self.written_total) {
            self.exempt_len -= end - start;
            self.exempt.pop_front();
        }
        if self.marks.back().is_some_and(|last| last.end <= self.written_total) {
            // Everything is due. The memory of `due` is used for the marks to come.
            std::mem::swap(due, &mut self.marks);
            return;
        }
        while self.marks.front().is_some_and(|mark| mark.end <= self.written_total) {
            due.extend(self.marks.pop_front());
        }
    }

    /// Frees the memory of an empty queue, when nothing is being sent.
    pub fn rest(&mut self) {
        if self.marks.capacity() > 0 && self.marks.is_empty() {
            self.marks = VecDeque::new();
        }
        if self.exempt.capacity() > 0 && self.exempt.is_empty() {
            self.exempt = VecDeque::new();
        }
    }

    /// Takes the tokens of one stream's messages that are not yet written, in the order of the sends; the bytes stay. Visits only
    /// this stream's marks, however many others wait, and leaves them empty.
    #[inline]
    pub fn cancel_stream(&mut self, trail: Trail) -> Vec<T> {
        // Usually nothing waits.
        if trail.last <= self.marks_gone() { Vec::new() } else { self.cancel_from(trail) }
    }

    /// The number of the last mark that has left the queue.
    fn marks_gone(&self) -> u64 {
        self.last_mark - self.marks.len() as u64
    }

    #[inline(never)]
    fn cancel_from(&mut self, trail: Trail) -> Vec<T> {
        let mut cancelled = Vec::new();
        let gone = self.marks_gone();
        let mut next = trail.last;
        while next > gone
            && let Some(mark) = self.marks.get_mut((next - gone - 1) as usize)
        {
            cancelled.extend(mark.written.token.take());
            mark.written.terminates = false;
            next = mark.before;
        }
        cancelled.reverse();
        cancelled
    }

    /// Closes the queue for good: returns every token that is left, in the order of the sends, and forgets the bytes.
    pub fn end(&mut self) -> Vec<T> {
        self.is_closed = true;
        self.segments.clear();
        self.marks.drain(..).filter_map(|mark| mark.written.token).collect()
    }
}

impl<T> OpenQueue<'_, T> {
    /// Takes a message if there is room. `written` says what is due when it is written, `trail` leads to what is due on the same
    /// stream before it. The message is lent, since to move it takes longer than to look at it.
    #[inline]
    pub fn push(
        self,
        message: &mut Prepared<'_>,
        written: Written<T>,
        room: Room,
        trail: &mut Trail,
    ) -> Result<(), Error> {
        let OpenQueue(outbound) = self;
        let (queued, limit) = (outbound.len(), outbound.limit);
        if room == Room::Limited && queued >= limit {
            outbound.refused += 1;
            return Err(Error::WouldBlock { queued, limit });
        }
        let start = outbound.queued_total;
        outbound.append(message, written, trail);
        if room == Room::Exempt {
            outbound.note_exempt(start);
        }
        Ok(())
    }

    /// Takes a message of the library's own, for whose writing nobody waits.
    pub fn push_own(self, mut message: Prepared<'_>, stream_id: i32) {
        let written = Written { stream_id, terminates: false, token: None };
        // There is always room for it.
        let _ = self.push(&mut message, written, Room::Exempt, &mut Trail::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Limits;
    use crate::rpc::{MessageType, NewBuffers, Outgoing};

    #[test]
    fn an_empty_queue_keeps_no_memory() {
        let mut outbound = Outbound::new(usize::MAX, Arc::new(NewBuffers));
        for number in 0..10_000 {
            let message = Outgoing::empty(MessageType::Ping, 0);
            let message = message.prepare(false, &Limits::DEFAULT);
            let written = Written { stream_id: 0, terminates: false, token: Some(number) };
            let queue = outbound.open().expect("it is not closed");
            let pushed =
                queue.push(&mut message.expect("a good message"), written, Room::Limited, &mut Trail::default());
            assert_eq!(pushed, Ok(()));
        }
        let mut segments = VecDeque::new();
        outbound.take_segments(&mut segments);
        let mut due = VecDeque::with_capacity(10);
        outbound.written(segments.iter().map(Vec::len).sum(), &mut due);
        assert!(due.iter().map(|due| due.written.token).eq((0..10_000).map(Some)));
        outbound.rest();
        assert_eq!(outbound.len(), 0);
        assert_eq!((outbound.marks.capacity(), outbound.segments.capacity()), (0, 0));
    }
}
