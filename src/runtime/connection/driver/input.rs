use super::gathered::Gathered;
use crate::codec::{MIN_MESSAGE_LEN, PRELUDE_LEN, Prelude};
use crate::runtime::error::Error;

/// What a driver knows of its socket's input.
pub(super) struct Input {
    /// The poll said so, and no read has contradicted it since.
    pub is_ready: bool,
    /// The peer's end, or something behind urgent data, is to be read: a short read is not the last one.
    pub is_read_to_end: bool,
    pub has_ended: bool,
    pub gathered: Gathered,
    /// The turn ended before the decoder saw what is gathered.
    pub is_unseen: bool,
    /// Bytes came since the deadlines were last looked at.
    pub has_come: bool,
    /// The peer's TLS session did not end in order; what it sent before that, and what we write, is not touched.
    pub cut_short: Option<Error>,
    /// It was wrong from somewhere on: more of it may be on its way.
    pub was_refused: bool,
}

impl Input {
    /// Of a socket that is new to the driver: the first read tells, since the poll's events, also that of the peer's end, may
    /// lie before this.
    pub fn new() -> Input {
        Input {
            is_ready: true,
            is_read_to_end: true,
            has_ended: false,
            gathered: Gathered::default(),
            is_unseen: false,
            has_come: false,
            cut_short: None,
            was_refused: false,
        }
    }

    /// Whether there is something to read or to dispatch, as far as is known.
    pub fn is_waiting(&self) -> bool {
        self.is_ready || self.holds_message()
    }

    /// After a pause whole messages may lie in `gathered`.
    pub fn holds_message(&self) -> bool {
        let len = self.gathered.len();
        (self.is_unseen && len >= PRELUDE_LEN) || (len >= MIN_MESSAGE_LEN && self.missing_len() == 0)
    }

    /// How many bytes the first gathered message still needs; nothing if it is complete or wrong.
    pub fn missing_len(&self) -> usize {
        Prelude::missing_len(&self.gathered)
    }

    pub fn end(&mut self) {
        self.has_ended = true;
        self.is_ready = false;
    }
}
