use std::collections::VecDeque;
use std::sync::Arc;

use crate::rpc::Prepared;

/// A segment takes small messages as long as this has room.
const SEGMENT_LEN: usize = 64 * 1024;

/// Where the memory of messages comes from, and goes when they are written.
pub trait Buffers: Send + Sync {
    /// An empty buffer with room for `len` bytes.
    fn take(&self, len: usize) -> Vec<u8>;
}

/// Memory of the allocator's.
pub struct NewBuffers;

impl Buffers for NewBuffers {
    fn take(&self, len: usize) -> Vec<u8> {
        Vec::with_capacity(len)
    }
}

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
}

/// What is due once the queue is written up to a place.
pub struct Mark<T> {
    end: u64,
    pub written: Written<T>,
}

/// What was due at a place that has been written.
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
        Outbound { buffers, segments: VecDeque::new(), queued_total: 0, written_total: 0, marks: VecDeque::new() }
    }

    /// Bytes accepted and not yet written.
    pub fn len(&self) -> usize {
        (self.queued_total - self.written_total) as usize
    }

    pub fn queued_total(&self) -> u64 {
        self.queued_total
    }

    pub fn written_total(&self) -> u64 {
        self.written_total
    }

    /// Encodes a message at the end of the queue.
    pub fn push(&mut self, message: Prepared<'_>, stream_id: i32, terminates: bool, token: Option<T>) {
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
        self.segments.push_back(segment);
        if terminates || token.is_some() {
            let written = Written { stream_id, terminates, token };
            self.marks.push_back(Mark { end: self.queued_total, written });
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
        self.written_total = (self.written_total + count as u64).min(self.queued_total);
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
        if self.marks.is_empty() && self.marks.capacity() > 0 {
            self.marks = VecDeque::new();
        }
    }

    /// Takes the tokens of one stream's messages that are not yet written; the bytes stay.
    pub fn cancel_stream(&mut self, stream_id: i32) -> Vec<T> {
        let mut cancelled = Vec::new();
        self.marks.retain_mut(|mark| {
            if mark.written.stream_id != stream_id {
                return true;
            }
            cancelled.extend(mark.written.token.take());
            false
        });
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
    use crate::rpc::{MessageType, Outgoing};

    #[test]
    fn an_empty_queue_keeps_no_memory() {
        let mut outbound = Outbound::new(Arc::new(NewBuffers));
        for number in 0..10_000 {
            let message = Outgoing::empty(MessageType::Ping, 0);
            let message = message.prepare(false, &Limits::DEFAULT);
            outbound.push(message.expect("a good message"), 0, false, Some(number));
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
