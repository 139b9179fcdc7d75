//! Messages that wait in the inboxes of streams: what they mean for the connection, from which nothing is read while one of
//! them is full. The lock of an inbox may be held when the connection's is taken, never the other way round.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::handle::{Connection, Stream};
use super::inbox::{Emptied, Inbox, Pressure, held_by};
use super::life::Life;
use crate::codec::{Message, MessageCopy};
use crate::rpc::Refusal;
use crate::runtime::error::{Error, Outcome};

impl Stream {
    pub(in crate::runtime) fn inbox(&self) -> Option<&Inbox> {
        self.handler.get().and_then(|handler| handler.inbox())
    }

    /// One more may read from the stream.
    pub fn hold(&self) {
        self.holders.fetch_add(1, Ordering::AcqRel);
    }

    /// One of those who may read from it, or decide on it, has gone; after the last one its messages are dropped, and it is
    /// refused unless that is decided.
    pub fn let_go(&self) {
        if self.holders.fetch_sub(1, Ordering::AcqRel) == 1 {
            if let Some(inbox) = self.inbox() {
                self.connection.note_emptied(inbox.abandon());
            }
            self.refuse_undecided(Refusal::NotAccepted { operation: self.operation() });
        }
    }

    pub(super) fn is_held(&self) -> bool {
        self.holders.load(Ordering::Acquire) > 0
    }

    /// Puts a copy of the message into the stream's inbox, unless nobody is left who could take it.
    pub fn keep_unread(&self, message: &Message<'_>) {
        let Some(inbox) = self.inbox() else { return };
        let copy = MessageCopy::of(message);
        let held = held_by(&copy);
        // Before it can be taken.
        self.connection.note_unread(held);
        if !self.is_held() {
            return self.connection.note_read(held);
        }
        match inbox.put(copy, self.connection.settings().stream_queue_limit) {
            None => self.connection.note_read(held),
            Some(pressure) => self.connection.note_pressure(pressure),
        }
        if !self.is_held() {
            // The last one has gone meanwhile.
            self.connection.note_emptied(inbox.abandon());
        }
    }

    /// No message comes any more for the stream's inbox. What is in there can still be read.
    pub fn end_unread(self: &Arc<Self>, outcome: &Outcome) {
        let Some(inbox) = self.inbox() else { return };
        let (is_left, pressure) = inbox.end(outcome);
        self.connection.note_pressure(pressure);
        if is_left && let Some(error) = self.connection.note_left_unread(self) {
            self.connection.note_emptied(inbox.give_up(&error));
        }
    }

    /// Waits for the next message in the stream's inbox.
    pub(in crate::runtime) fn take_unread(
        self: &Arc<Self>,
        inbox: &Inbox,
        deadline: Option<Instant>,
    ) -> Result<MessageCopy, Error> {
        let connection = &self.connection;
        let mut reading = None;
        let (message, pressure) = inbox.take(connection.settings().stream_queue_limit, deadline, || {
            if connection.is_ended_here() {
                // Its streams end when all is written, which may take long; messages come no more.
                return Err(Error::ConnectionClosed);
            }
            reading.get_or_insert_with(|| Reading::new(self));
            if connection.is_inert() { Err(Error::RuntimeShutdown) } else { Ok(()) }
        })?;
        connection.note_emptied(Emptied { held: held_by(&message), pressure });
        Ok(message)
    }
}

/// A thread waits to read from the stream: it is woken when the connection ends without a word to its streams.
struct Reading<'a>(&'a Arc<Stream>);

impl<'a> Reading<'a> {
    fn new(stream: &'a Arc<Stream>) -> Reading<'a> {
        stream.connection().lock().begin_reading(stream.clone());
        Reading(stream)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let kept = self.0.connection().lock().end_reading(self.0);
        drop(kept);
    }
}

impl Connection {
    pub(super) fn note_pressure(self: &Arc<Self>, pressure: Pressure) {
        match pressure {
            Pressure::Same => {}
            Pressure::Full => self.lock().note_full_inbox(),
            // Writing has failed, and what came before the end is delivered: up to here.
            Pressure::Overrun => self.lock().note_overrun(),
            Pressure::Eased => {
                let mut shared = self.lock();
                if shared.note_eased_inbox() {
                    self.schedule(&mut shared);
                }
            }
        }
    }

    pub(super) fn note_emptied(self: &Arc<Self>, emptied: Emptied) {
        self.note_read(emptied.held);
        self.note_pressure(emptied.pressure);
    }

    /// So many bytes more wait to be read from a stream; reported after the driver's turn.
    pub(super) fn note_unread(&self, bytes: usize) {
        if let Some(seat) = &self.seat {
            seat.note_unread(bytes);
        }
    }

    /// So many bytes of those have been read or dropped, on any thread.
    pub(super) fn note_read(&self, bytes: usize) {
        if bytes > 0
            && let Some(seat) = &self.seat
        {
            seat.note_read(bytes);
        }
    }

    /// A stream has ended and has messages that nobody has read, which stay counted. If the connection was ended for what it
    /// holds, why: then they are to be dropped.
    fn note_left_unread(&self, stream: &Arc<Stream>) -> Option<Error> {
        let mut shared = self.lock();
        if let Some(error @ Error::TooManyHeldBytes { .. }) = shared.eviction() {
            return Some(error.clone());
        }
        shared.note_unread_stream(stream);
        None
    }

    /// Drops what nobody has read of streams that have ended.
    pub(super) fn drop_unread(self: &Arc<Self>, error: &Error) {
        let streams = self.lock().take_unread_streams();
        for stream in streams.iter().filter_map(Weak::upgrade) {
            if let Some(inbox) = stream.inbox() {
                self.note_emptied(inbox.give_up(error));
            }
        }
    }

    /// This side has ended the connection, so that no message comes any more.
    fn is_ended_here(&self) -> bool {
        matches!(self.lock().life(), Life::Closing(closing) if closing.by_this_side)
    }
}
