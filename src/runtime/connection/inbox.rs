use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use crate::codec::MessageCopy;
use crate::rpc;
use crate::runtime::error::{Error, Outcome};
use crate::runtime::event_loop::{lock, wait_until};

/// What a message that waits takes of memory beside its bytes.
const HELD_BY_MESSAGE: usize = 128;

/// More than any system keeps of what the peer sent before it went away.
const MOST_AFTER_A_FAILED_WRITE: usize = 64 * 1024 * 1024;

/// A stream's messages that wait for a thread to take them: what a stream without callbacks has in their place. It returns
/// what its fill means for the connection, and leaves that to whoever asked.
#[derive(Default)]
pub struct Inbox {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<MessageCopy>,
    bytes: usize,
    /// It has reached its limit, and not come down to half of it since.
    full: bool,
    end: Option<Outcome>,
}

/// What a call has made of the messages that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    Same,
    /// The limit is reached: nothing more should come.
    Full,
    /// More has come all the same than can be kept.
    Overrun,
    /// There is room again.
    Eased,
}

/// What left the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emptied {
    /// Memory that it held.
    pub held: usize,
    pub pressure: Pressure,
}

/// How much memory a message holds while it waits.
pub fn held_by(message: &MessageCopy) -> usize {
    message.total_len() + HELD_BY_MESSAGE
}

impl Inbox {
    /// Keeps the message; nothing, and it is dropped, once the stream has ended.
    pub fn put(&self, message: MessageCopy, limit: usize) -> Option<Pressure> {
        let mut queue = lock(&self.queue);
        if queue.end.is_some() {
            return None;
        }
        queue.bytes += message.total_len();
        queue.messages.push_back(message);
        self.changed.notify_one();
        let was_full = queue.full;
        queue.full |= queue.bytes >= limit;
        Some(match queue.full {
            true if !was_full => Pressure::Full,
            true if queue.bytes >= limit + MOST_AFTER_A_FAILED_WRITE => Pressure::Overrun,
            _ => Pressure::Same,
        })
    }

    /// The stream has ended, and no message comes any more. Whether some are still to be read, and what the end means.
    pub fn end(&self, outcome: &Outcome) -> (bool, Pressure) {
        let mut queue = lock(&self.queue);
        queue.end.get_or_insert_with(|| outcome.clone());
        let pressure = queue.ease();
        self.changed.notify_all();
        (!queue.messages.is_empty(), pressure)
    }

    /// Drops the messages for the memory that they hold, so that whoever wants to read them gets the error.
    pub fn give_up(&self, error: &Error) -> Emptied {
        let mut queue = lock(&self.queue);
        if !queue.messages.is_empty() {
            queue.end = Some(Err(error.clone()));
        }
        self.changed.notify_all();
        queue.drop_all()
    }

    /// Nobody can take the messages any more.
    pub fn abandon(&self) -> Emptied {
        lock(&self.queue).drop_all()
    }

    /// Makes those who wait look again whether they should.
    pub fn wake(&self) {
        let _queue = lock(&self.queue);
        self.changed.notify_all();
    }

    /// Waits for the next message, or the stream's end behind the last one. `may_wait` says whether a message can still come;
    /// when its result changes, the inbox has to be woken.
    pub fn take(
        &self,
        limit: usize,
        deadline: Option<Instant>,
        mut may_wait: impl FnMut() -> Result<(), Error>,
    ) -> Result<(MessageCopy, Pressure), Error> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(message) = queue.messages.pop_front() {
                queue.bytes -= message.total_len();
                let pressure = if queue.bytes <= limit / 2 { queue.ease() } else { Pressure::Same };
                return Ok((message, pressure));
            }
            match &queue.end {
                Some(Ok(())) => {
                    return Err(rpc::Error::StreamClosed("the stream has ended and has no more messages").into());
                }
                Some(Err(error)) => return Err(error.clone()),
                None => {}
            }
            may_wait()?;
            let (next, in_time) = wait_until(&self.changed, queue, deadline);
            queue = next;
            if !in_time {
                return Err(Error::TimedOut("no message arrived within the given time".to_owned()));
            }
        }
    }
}

impl Queue {
    fn ease(&mut self) -> Pressure {
        if std::mem::take(&mut self.full) { Pressure::Eased } else { Pressure::Same }
    }

    fn drop_all(&mut self) -> Emptied {
        let held = std::mem::take(&mut self.bytes) + self.messages.len() * HELD_BY_MESSAGE;
        self.messages = VecDeque::new();
        Emptied { held, pressure: self.ease() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Limits, Message, encode_into};

    fn message(len: usize) -> MessageCopy {
        let mut bytes = Vec::new();
        encode_into(&[], &vec![0; len], &mut bytes);
        MessageCopy::of(&Message::decode(&bytes, &Limits::DEFAULT).expect("a message").0)
    }

    #[test]
    fn a_full_inbox_says_so_once_and_again_when_half_of_it_is_taken() {
        let inbox = Inbox::default();
        let limit = 2 * message(100).total_len();
        let put = || inbox.put(message(100), limit);
        assert_eq!([put(), put(), put()], [Pressure::Same, Pressure::Full, Pressure::Same].map(Some));
        let take = || inbox.take(limit, None, || Err(Error::Cancelled)).map(|(_, pressure)| pressure);
        assert_eq!([take(), take(), take()], [Pressure::Same, Pressure::Eased, Pressure::Same].map(Ok));
        assert_eq!(take(), Err(Error::Cancelled), "the caller decides whether to wait");
    }

    #[test]
    fn what_was_not_read_can_be_read_after_the_end_unless_it_is_given_up() {
        let inbox = Inbox::default();
        assert_eq!(inbox.put(message(1), 1), Some(Pressure::Full));
        assert_eq!(inbox.put(message(2), 1), Some(Pressure::Same));
        assert_eq!(inbox.end(&Ok(())), (true, Pressure::Eased));
        assert_eq!(inbox.put(message(3), 1), None);
        let take = || inbox.take(1, None, || Ok(())).map(|(message, _)| message.message().payload.len());
        assert_eq!(take(), Ok(1));
        let emptied = inbox.give_up(&Error::Cancelled);
        assert_eq!(emptied, Emptied { held: held_by(&message(2)), pressure: Pressure::Same });
        assert_eq!(take(), Err(Error::Cancelled));
    }

    #[test]
    fn after_a_failed_write_there_is_an_end_to_what_is_kept() {
        let inbox = Inbox::default();
        let put = || inbox.put(message(8 * 1024 * 1024), 1);
        assert_eq!(put(), Some(Pressure::Full));
        assert!((0..6).all(|_| put() == Some(Pressure::Same)));
        assert_eq!(put(), Some(Pressure::Overrun));
    }

    #[test]
    fn a_message_that_fills_it_far_beyond_the_limit_fills_it_all_the_same() {
        let inbox = Inbox::default();
        lock(&inbox.queue).bytes = MOST_AFTER_A_FAILED_WRITE;
        assert_eq!(inbox.put(message(100), 1), Some(Pressure::Full));
        assert_eq!(inbox.put(message(100), 1), Some(Pressure::Overrun));
    }
}
