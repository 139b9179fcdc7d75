use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use super::super::handle::Stream;
use crate::runtime::error::Error;
use crate::runtime::event_loop::LoopHandle;

/// Small messages share a segment, so these are many; each costs time to fill in whether it is used or not.
pub(super) const SLICES_PER_WRITE: usize = 16;

/// Room for so many segments is kept for the next connection that writes.
const KEPT_SEGMENTS: usize = 64;

/// What a driver knows of its socket's output.
pub(super) struct Output {
    /// The poll said so, and no write has contradicted it since.
    pub is_ready: bool,
    /// Taken from the connection's queue, the first one up to `written_of_first`.
    pub segments: VecDeque<Vec<u8>>,
    written_of_first: usize,
    /// Nothing can be written any more: the socket is broken, or the time to linger has passed.
    pub failure: Option<Error>,
    /// Bytes went since the deadlines were last looked at.
    pub has_gone: bool,
    /// Those to be called since there is room again.
    pub streams_with_room: VecDeque<Arc<Stream>>,
}

impl Output {
    pub fn new() -> Output {
        Output {
            is_ready: true,
            segments: VecDeque::new(),
            written_of_first: 0,
            failure: None,
            has_gone: false,
            streams_with_room: VecDeque::new(),
        }
    }

    pub fn may_write(&self) -> bool {
        self.is_ready && self.failure.is_none()
    }

    /// What one write takes of the segments, at most `most` bytes; returns how many slices and bytes that are.
    pub fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES_PER_WRITE], most: usize) -> (usize, usize) {
        let (mut used, mut wanted) = (0, 0);
        for segment in self.segments.iter().take(SLICES_PER_WRITE) {
            let from = if used == 0 { self.written_of_first } else { 0 };
            let len = (segment.len() - from).min(most - wanted);
            slices[used] = IoSlice::new(&segment[from..from + len]);
            wanted += len;
            used += 1;
            if wanted == most {
                break;
            }
        }
        (used, wanted)
    }

    /// Gives back the segments that `count` more bytes have written; an empty queue leaves its memory to `spare`.
    pub fn note_written(&mut self, count: usize, buffers: &LoopHandle, spare: &mut VecDeque<Vec<u8>>) {
        self.has_gone = true;
        let mut left = count;
        while let Some(first) = self.segments.front() {
            let rest = first.len() - self.written_of_first;
            if left < rest {
                self.written_of_first += left;
                break;
            }
            left -= rest;
            self.written_of_first = 0;
            if let Some(segment) = self.segments.pop_front() {
                buffers.give_back(segment);
            }
        }
        if self.segments.is_empty() {
            if self.segments.capacity() <= KEPT_SEGMENTS {
                std::mem::swap(&mut self.segments, spare);
            }
            if self.segments.capacity() > 0 {
                self.segments = VecDeque::new();
            }
        }
    }

    /// A peer that reads slowly holds no more memory than its messages take.
    pub fn give_spare_memory_back(&mut self, buffers: &LoopHandle) {
        for segment in self.segments.iter_mut().filter(|segment| segment.len() < segment.capacity() / 4) {
            let exact = segment.as_slice().to_vec();
            buffers.give_back(std::mem::replace(segment, exact));
        }
    }

    /// Nothing more is written.
    pub fn drop_all(&mut self) {
        self.segments = VecDeque::new();
        self.streams_with_room = VecDeque::new();
    }
}
