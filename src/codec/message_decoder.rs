use super::{
    DecodeEvents, Error, EventDecoder, FlatHeader, Headers, Limits, MESSAGE_CRC_LEN, Message, PRELUDE_LEN, Prelude,
    append_bytes,
};
use std::collections::VecDeque;

/// An empty buffer larger than this is freed, unless the next input fills a good part of it again.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Gathers whole messages from chunks of any size.
///
/// An [`EventDecoder`] does the checking, so both report the same error at the same byte.
pub struct MessageDecoder {
    decoder: EventDecoder,
    /// Input that is still needed: complete messages, then the beginning of the next one.
    buffer: Vec<u8>,
    /// Complete messages that were not taken yet.
    whole: VecDeque<Whole>,
    /// Where in `buffer` the first message that was not taken starts.
    taken_end: usize,
    /// Where in `buffer` the incomplete message starts.
    whole_end: usize,
    /// What is known of that message.
    current: Progress,
}

/// A complete message in the buffer, at `start`.
struct Whole {
    start: usize,
    prelude: Prelude,
    header_count: usize,
    crc: u32,
}

#[derive(Default)]
struct Progress {
    prelude: Option<Prelude>,
    header_count: usize,
}

impl MessageDecoder {
    pub fn new(limits: Limits) -> MessageDecoder {
        MessageDecoder {
            decoder: EventDecoder::new(limits),
            buffer: Vec::new(),
            whole: VecDeque::new(),
            taken_end: 0,
            whole_end: 0,
            current: Progress::default(),
        }
    }

    /// Takes the next bytes of the input. Messages completed before an error can still be taken.
    ///
    /// Until the next push the bytes of all messages, taken or not, stay where they are.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Some(error) = self.decoder.error() {
            return Err(error.clone());
        }
        self.drop_taken(bytes.len());
        append_bytes(&mut self.buffer, bytes);
        let mut collector =
            Collector { whole: &mut self.whole, whole_end: &mut self.whole_end, current: &mut self.current };
        let result = self.decoder.push(bytes, &mut collector);
        if result.is_err() {
            self.buffer.truncate(self.whole_end);
        }
        result
    }

    /// The next complete message, `None` if more input is needed, or the final error once all good messages are taken.
    pub fn next_message(&mut self) -> Result<Option<Message<'_>>, Error> {
        let Some(whole) = self.whole.pop_front() else {
            return match self.decoder.error() {
                Some(error) => Err(error.clone()),
                None => Ok(None),
            };
        };
        let end = whole.start + whole.prelude.total_len as usize;
        self.taken_end = end;
        let headers_start = whole.start + PRELUDE_LEN;
        let payload_start = headers_start + whole.prelude.headers_len as usize;
        let section = self.buffer.get(headers_start..payload_start).unwrap_or_default();
        let payload = self.buffer.get(payload_start..end - MESSAGE_CRC_LEN).unwrap_or_default();
        let headers = Headers::from_checked(section, whole.header_count);
        Ok(Some(Message { prelude: whole.prelude, headers, payload, crc: whole.crc }))
    }

    /// Ends the input: returns the final error if there was one, or `Incomplete` inside a message.
    pub fn finish(&self) -> Result<(), Error> {
        self.decoder.finish()
    }

    /// Makes room for `input_len` new bytes. The rest is moved down only once it is the smaller part, so that the cost stays
    /// proportional to the input however small its chunks are.
    fn drop_taken(&mut self, input_len: usize) {
        if self.taken_end == self.buffer.len() {
            self.buffer.clear();
            if input_len < self.buffer.capacity() / 4 {
                self.buffer.shrink_to(KEPT_CAPACITY);
            }
        } else if self.taken_end > self.buffer.len() / 2 {
            self.buffer.drain(..self.taken_end);
        } else {
            return;
        }
        for whole in &mut self.whole {
            whole.start -= self.taken_end;
        }
        self.whole_end -= self.taken_end;
        self.taken_end = 0;
    }
}

/// Notes where messages end.
struct Collector<'a> {
    whole: &'a mut VecDeque<Whole>,
    whole_end: &'a mut usize,
    current: &'a mut Progress,
}

impl DecodeEvents for Collector<'_> {
    fn on_prelude(&mut self, prelude: &Prelude) {
        *self.current = Progress { prelude: Some(*prelude), header_count: 0 };
    }

    fn on_header(&mut self, _header: &FlatHeader<'_>) {
        self.current.header_count += 1;
    }

    fn on_payload(&mut self, _segment: &[u8]) {}

    fn on_complete(&mut self, message_crc: u32) {
        let Progress { prelude: Some(prelude), header_count } = std::mem::take(self.current) else { return };
        let start = *self.whole_end;
        *self.whole_end = start + prelude.total_len as usize;
        self.whole.push_back(Whole { start, prelude, header_count, crc: message_crc });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode_into;

    fn message(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_into(&[b"\x01n\x02\x07"], payload, &mut bytes);
        bytes
    }

    fn next_payload(decoder: &mut MessageDecoder) -> Option<Vec<u8>> {
        let message = decoder.next_message().expect("no error")?;
        assert_eq!(message.headers.iter().map(|header| header.name).collect::<Vec<_>>(), [b"n"]);
        Some(message.payload.to_vec())
    }

    #[test]
    fn messages_that_are_not_taken_wait_through_later_pushes() {
        let mut decoder = MessageDecoder::new(Limits::default());
        let stream: Vec<u8> = (0..100u8).flat_map(|number| message(&[number; 20])).collect();
        let mut taken = 0;
        for (at, chunk) in stream.chunks(33).enumerate() {
            assert_eq!(decoder.push(chunk), Ok(()));
            // Messages arrive faster than they are taken.
            if at % 3 == 0 && next_payload(&mut decoder).is_some_and(|payload| payload == [taken; 20]) {
                taken += 1;
            }
        }
        assert!(taken > 10 && taken < 90);
        for number in taken..100 {
            assert_eq!(next_payload(&mut decoder), Some(vec![number; 20]));
        }
        assert_eq!(next_payload(&mut decoder), None);
        assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn good_messages_come_before_the_error_of_the_same_push() {
        let mut decoder = MessageDecoder::new(Limits::default());
        let mut bytes = [message(b"one"), message(b"two"), message(b"bad")].concat();
        *bytes.last_mut().expect("a byte") ^= 1;
        let error = decoder.push(&bytes).expect_err("a wrong checksum");
        assert!(matches!(error, Error::MessageChecksum { .. }));
        assert_eq!(decoder.buffer.len(), 2 * message(b"one").len(), "the bad message is not kept");
        assert_eq!(decoder.push(&message(b"late")), Err(error.clone()));
        assert_eq!(next_payload(&mut decoder), Some(b"one".to_vec()));
        assert_eq!(next_payload(&mut decoder), Some(b"two".to_vec()));
        assert_eq!(decoder.next_message(), Err(error.clone()));
        assert_eq!(decoder.next_message(), Err(error));
    }

    #[test]
    fn the_buffer_grows_with_what_arrived_and_is_given_back() {
        let mut decoder = MessageDecoder::new(Limits::default());
        let large = message(&vec![b'p'; 10_000_000]);
        let (start, rest) = large.split_at(1000);
        assert_eq!(decoder.push(start), Ok(()));
        assert!(decoder.buffer.capacity() < 10_000, "a claimed length takes no memory");
        assert_eq!(decoder.push(rest), Ok(()));
        assert_eq!(next_payload(&mut decoder).map(|payload| payload.len()), Some(10_000_000));
        assert_eq!(decoder.push(&message(b"small")), Ok(()));
        assert!(decoder.buffer.capacity() <= KEPT_CAPACITY);
    }

    #[test]
    fn a_steady_stream_is_not_kept() {
        let mut decoder = MessageDecoder::new(Limits::default());
        let stream = message(&[b'p'; 100]).repeat(10_000);
        for chunk in stream.chunks(77) {
            assert_eq!(decoder.push(chunk), Ok(()));
            while next_payload(&mut decoder).is_some() {}
            assert!(decoder.buffer.capacity() < 2000);
        }
    }
}
