use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::Instant;

use crate::codec::{Message, MessageCopy};
use crate::rpc;
use crate::runtime::runtime::wait_until;
use crate::runtime::{Connection, Error, Outcome, Phase, Stream, lock};

/// What a message that waits takes of memory beside its bytes, counted in what the connections of a listener hold.
const HELD_BY_MESSAGE: usize = 128;

/// More than any system keeps of what the peer sent before it went away.
const MOST_AFTER_A_FAILED_WRITE: usize = 64 * 1024 * 1024;

/// A stream's messages that wait for a thread to take them: what a stream without callbacks has in their place. While it is
/// full, nothing is read from the connection; what has come meanwhile waits there.
///
/// Its lock may be held when the connection's is taken, never the other way round.
#[derive(Default)]
pub struct Inbox {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<MessageCopy>,
    bytes: usize,
    /// The connection is paused on behalf of this queue.
    full: bool,
    end: Option<Outcome>,
}

impl Inbox {
    /// Keeps a copy of the message, unless the stream is over or nobody is left who could take it.
    pub fn put(&self, stream: &Arc<Stream>, message: &Message<'_>) {
        let copy = MessageCopy::of(message);
        let mut queue = lock(&self.queue);
        if queue.end.is_some() || !stream.is_held() {
            return;
        }
        let connection = stream.connection();
        queue.bytes += copy.total_len();
        connection.note_unread(copy.total_len() + HELD_BY_MESSAGE);
        queue.messages.push_back(copy);
        if !queue.full && queue.bytes >= connection.settings().stream_queue_limit {
            queue.full = true;
            connection.pause_for_queue();
        }
        if queue.full && queue.bytes >= connection.settings().stream_queue_limit + MOST_AFTER_A_FAILED_WRITE {
            connection.end_for_overrun();
        }
        self.changed.notify_one();
    }

    /// The stream is over: no message comes any more.
    pub fn end(&self, stream: &Arc<Stream>, outcome: &Outcome) {
        let mut queue = lock(&self.queue);
        queue.end.get_or_insert_with(|| outcome.clone());
        queue.let_read_on(stream.connection());
        if !queue.messages.is_empty()
            && let Some(error) = stream.connection().note_left_unread(stream)
        {
            queue.give_up(stream.connection(), &error);
        }
        self.changed.notify_all();
    }

    /// Drops the messages for the memory that they take, and says so to whoever wants to read them.
    fn give_up(&self, stream: &Stream, error: &Error) {
        let mut queue = lock(&self.queue);
        if !queue.messages.is_empty() {
            queue.give_up(stream.connection(), error);
        }
        self.changed.notify_all();
    }

    /// Nobody can take the messages any more.
    pub(in crate::runtime) fn abandon(&self, connection: &Arc<Connection>) {
        let mut queue = lock(&self.queue);
        queue.let_read_on(connection);
        queue.drop_all(connection);
    }

    /// Makes those who wait look at the connection.
    pub(in crate::runtime) fn wake(&self) {
        let _queue = lock(&self.queue);
        self.changed.notify_all();
    }

    /// Waits for the next message, or the stream's end behind the last one.
    pub(in crate::runtime) fn take(
        &self,
        stream: &Arc<Stream>,
        deadline: Option<Instant>,
    ) -> Result<MessageCopy, Error> {
        let connection = stream.connection();
        let mut queue = lock(&self.queue);
        let mut reading = None;
        loop {
            if let Some(message) = queue.messages.pop_front() {
                queue.bytes -= message.total_len();
                connection.note_read(message.total_len() + HELD_BY_MESSAGE);
                if queue.bytes <= connection.settings().stream_queue_limit / 2 {
                    queue.let_read_on(connection);
                }
                return Ok(message);
            }
            match &queue.end {
                Some(Ok(())) => {
                    return Err(rpc::Error::StreamClosed("the stream is over and has no more messages").into());
                }
                Some(Err(error)) => return Err(error.clone()),
                None => {}
            }
            if connection.is_ended_here() {
                // Its streams end when all is written, which may take long; messages come no more.
                return Err(Error::ConnectionClosed);
            }
            reading.get_or_insert_with(|| Reading::new(stream));
            if connection.is_inert() {
                return Err(Error::RuntimeShutdown);
            }
            let (next, in_time) = wait_until(&self.changed, queue, deadline);
            queue = next;
            if !in_time {
                return Err(Error::TimedOut("no message came within the given time".to_owned()));
            }
        }
    }
}

/// A thread waits to read from the stream: it is woken when the connection ends without a word to its streams.
struct Reading<'a>(&'a Arc<Stream>);

impl<'a> Reading<'a> {
    fn new(stream: &'a Arc<Stream>) -> Reading<'a> {
        stream.connection().lock().readers.push(stream.clone());
        Reading(stream)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let taken = {
            let readers = &mut self.0.connection().lock().readers;
            readers.iter().position(|reader| Arc::ptr_eq(reader, self.0)).map(|at| readers.swap_remove(at))
        };
        drop(taken);
    }
}

impl Queue {
    fn give_up(&mut self, connection: &Arc<Connection>, error: &Error) {
        self.drop_all(connection);
        self.end = Some(Err(error.clone()));
    }

    fn drop_all(&mut self, connection: &Arc<Connection>) {
        connection.note_read(std::mem::take(&mut self.bytes) + self.messages.len() * HELD_BY_MESSAGE);
        self.messages = VecDeque::new();
    }

    fn let_read_on(&mut self, connection: &Arc<Connection>) {
        if std::mem::take(&mut self.full) {
            connection.resume_for_queue();
        }
    }
}

impl Connection {
    /// A queue is full; what the application pauses and resumes is another matter.
    pub(in crate::runtime) fn pause_for_queue(&self) {
        self.lock().full_queues += 1;
    }

    /// A stream is over and has messages that nobody has read, which stay counted. If the connection was ended for what it
    /// holds, why: then they are to be dropped.
    fn note_left_unread(&self, stream: &Arc<Stream>) -> Option<Error> {
        let mut shared = self.lock();
        if let Some(error @ Error::TooManyHeldBytes { .. }) = &shared.eviction {
            return Some(error.clone());
        }
        let unread = &mut shared.unread_streams;
        if unread.len() == unread.capacity() {
            // Those that were read and released meanwhile go; the room doubles if most were not.
            unread.retain(|stream| stream.strong_count() > 0);
            unread.reserve(unread.len() + 1);
        }
        unread.push(Arc::downgrade(stream));
        None
    }

    /// Drops what nobody has read of streams that are over.
    pub(in crate::runtime) fn drop_unread(&self, error: &Error) {
        let streams = std::mem::take(&mut self.lock().unread_streams);
        for stream in streams.iter().filter_map(Weak::upgrade) {
            if let Some(inbox) = stream.inbox() {
                inbox.give_up(&stream, error);
            }
        }
    }

    /// A full queue was given more, since writing has failed and what came before the end is delivered: up to here.
    fn end_for_overrun(&self) {
        self.lock().queue_overrun = true;
    }

    pub(in crate::runtime) fn resume_for_queue(self: &Arc<Self>) {
        let mut shared = self.lock();
        shared.full_queues = shared.full_queues.saturating_sub(1);
        if shared.full_queues == 0 && shared.phase != Phase::Closed {
            self.schedule(&mut shared);
        }
    }

    /// This side has ended the connection, so that no message comes any more.
    pub(in crate::runtime) fn is_ended_here(&self) -> bool {
        let shared = self.lock();
        shared.phase == Phase::Closing && shared.closing.as_ref().is_some_and(|closing| closing.by_this_side)
    }
}
