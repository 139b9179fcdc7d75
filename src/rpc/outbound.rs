use std::collections::VecDeque;
use std::sync::Arc;

use crate::rpc::{Buffers, Prepared};

/// A segment takes small messages as long as this has room.
const SEGMENT_LEN: usize = 64 * 1024;

/// Encoded messages on their way out, and who is to be told when they are written.
///
/// The bytes are taken out segment by segment to be written; `written` says how far that came.
pub struct Outbound<T> {
    buffers: Arc<dyn Buffers>,
    segments: VecDeque<Vec<u8>>,
    /// Bytes ever queued; the position of the queue's end.
    queued_total: u64,
    /// Bytes ever written; never above `queued_total`.
    written_total: u64,
    /// In the order of their ends.
    marks: VecDeque<Mark<T>>,
    /// The number of the last mark; the first one has 1.
    last_mark: u64,
    /// Where messages lie that are taken whatever the limit: positions of their beginning and end, in order.
    exempt: VecDeque<(u64, u64)>,
    /// The sum of the lengths of these.
    exempt_len: u64,
    /// Messages ever queued.
    messages: u64,
    /// The most bytes that waited at a time, as far as a write has looked.
    most_len: usize,
}

/// What is due once the queue is written up to a place.
pub struct Mark<T> {
    end: u64,
    /// The number of the same stream's mark before this one, which may have left the queue; 0 if there was none.
    before: u64,
    pub written: Written<T>,
}

/// The marks of one stream in the queue, from the last one back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trail {
    /// The number of the stream's last mark; 0 if it never had one.
    last: u64,
}

/// What was due at a place that has been written: nothing if the stream ended before that.
#[derive(Debug, PartialEq, Eq)]
pub struct Written<T> {
    /// Of the stream whose message is written; 0 for protocol messages.
    pub stream_id: i32,
    /// The message ended its stream.
    pub terminates: bool,
    pub token: Option<T>,
}

impl<T> Outbound<T> {
    pub fn new(buffers: Arc<dyn Buffers>) -> Outbound<T> {
        Outbound {
            buffers,
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

    /// The most bytes that waited at a time.
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

    /// Whether messages that were taken whatever the limit and are not yet written have more than `len` bytes.
    #[inline]
    pub fn exempt_exceeds(&self, len: u64) -> bool {
        // Most often there are none, which is seen at once.
        self.exempt_len > len && self.exempt_len - self.written_of_first_exempt() > len
    }

    fn written_of_first_exempt(&self) -> u64 {
        self.exempt.front().map_or(0, |(start, _)| self.written_total.saturating_sub(*start))
    }

    /// Encodes a message that belongs to no stream, or of whose stream nobody waits for it.
    pub fn push(&mut self, message: Prepared<'_>, stream_id: i32, token: Option<T>) {
        self.push_on_stream(message, stream_id, false, token, &mut Trail::default());
    }

    /// The same for one that is taken whatever the limit.
    pub fn push_exempt(&mut self, message: Prepared<'_>, stream_id: i32) {
        let start = self.queued_total;
        self.push(message, stream_id, None);
        self.note_exempt(start);
    }

    /// What was queued from `start` on is taken whatever the limit.
    #[inline(never)]
    pub fn note_exempt(&mut self, start: u64) {
        let end = self.queued_total;
        self.exempt_len += end - start;
        match self.exempt.back_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => self.exempt.push_back((start, end)),
        }
    }

    /// Encodes a message of a stream at the end of the queue.
    pub fn push_on_stream(
        &mut self,
        message: Prepared<'_>,
        stream_id: i32,
        terminates: bool,
        token: Option<T>,
        trail: &mut Trail,
    ) {
        let (segments, buffers) = (&mut self.segments, &self.buffers);
        let mut before = 0;
        let segment = message.finish(stream_id, |len| {
            let segment = match segments.back() {
                Some(last) if last.capacity() - last.len() >= len => segments.pop_back().unwrap_or_default(),
                _ => buffers.take(len.max(SEGMENT_LEN)),
            };
            before = segment.len();
            segment
        });
        self.queued_total += (segment.len() - before) as u64;
        self.messages += 1;
        self.segments.push_back(segment);
        if terminates || token.is_some() {
            let written = Written { stream_id, terminates, token };
            self.last_mark += 1;
            let before = std::mem::replace(&mut trail.last, self.last_mark);
            self.marks.push_back(Mark { end: self.queued_total, before, written });
        }
    }

    /// Moves all segments that wait to be written.
    pub fn take_segments(&mut self, into: &mut VecDeque<Vec<u8>>) {
        if into.is_empty() {
            // Its memory serves for the next ones.
            std::mem::swap(into, &mut self.segments);
        } else {
            into.append(&mut self.segments);
        }
    }

    /// `count` more bytes are written: moves what is due now to `due`, which is empty, in the order of the sends.
    pub fn written(&mut self, count: usize, due: &mut VecDeque<Mark<T>>) {
        // The queue grows until something is written: it is longest just before that.
        self.most_len = self.most_len();
        self.written_total = (self.written_total + count as u64).min(self.queued_total);
        while let Some((start, end)) = self.exempt.front().filter(|(_, end)| *end <= self.written_total) {
            self.exempt_len -= end - start;
            self.exempt.pop_front();
        }
        if self.marks.back().is_some_and(|last| last.end <= self.written_total) {
            // All of it. The memory of `due` serves for what is sent from now on.
            std::mem::swap(due, &mut self.marks);
            return;
        }
        while self.marks.front().is_some_and(|mark| mark.end <= self.written_total) {
            due.extend(self.marks.pop_front());
        }
    }

    /// Nothing is sent for now: an empty queue keeps no memory.
    pub fn rest(&mut self) {
        if self.marks.capacity() > 0 && self.marks.is_empty() {
            self.marks = VecDeque::new();
        }
        if self.exempt.capacity() > 0 && self.exempt.is_empty() {
            self.exempt = VecDeque::new();
        }
    }

    /// Takes the tokens of one stream's messages that are not yet written, in the order of the sends; the bytes stay. Looks
    /// at this stream's marks only, however many others wait; what is taken leaves an empty mark.
    #[inline]
    pub fn cancel_stream(&mut self, trail: Trail) -> Vec<T> {
        // Most often nothing waits.
        if trail.last <= self.marks_gone() { Vec::new() } else { self.cancel_from(trail) }
    }

    /// Marks that have left the queue: the number of the last one of them.
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

    /// Takes every token that is left, in the order of the sends, and forgets the bytes.
    pub fn drain(&mut self) -> Vec<T> {
        self.segments.clear();
        self.marks.drain(..).filter_map(|mark| mark.written.token).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Limits;
    use crate::rpc::{MessageType, NewBuffers, Outgoing};

    #[test]
    fn an_empty_queue_keeps_no_memory() {
        let mut outbound = Outbound::new(Arc::new(NewBuffers));
        for number in 0..10_000 {
            let message = Outgoing::empty(MessageType::Ping, 0);
            let message = message.prepare(false, &Limits::DEFAULT);
            outbound.push(message.expect("a good message"), 0, Some(number));
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
