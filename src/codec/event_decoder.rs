use super::header_parser::{self, Parsed};
use super::{Error, FlatHeader, Limits, MESSAGE_CRC_LEN, PRELUDE_LEN, Prelude, checksum};
use crc32fast::Hasher;

/// A larger buffer for an incomplete header is freed as soon as that header is complete.
const KEPT_CAPACITY: usize = 1024;

/// What an [`EventDecoder`] reports, in wire order. Headers and payload come before the message's CRC is known.
pub trait DecodeEvents {
    fn on_prelude(&mut self, prelude: &Prelude);
    fn on_header(&mut self, header: &FlatHeader<'_>);
    /// A part of the payload as it arrived, never empty.
    fn on_payload(&mut self, segment: &[u8]);
    /// The message is whole and its CRC is right.
    fn on_complete(&mut self, message_crc: u32);
}

/// Decodes messages from chunks of any size, without ever holding a payload.
///
/// It holds at most an incomplete prelude, header or CRC. An error is reported at the first byte at which it is certain, and
/// is final.
pub struct EventDecoder {
    limits: Limits,
    stage: Stage,
    /// The beginning of a prelude, header or CRC that the last chunk did not complete.
    held: Vec<u8>,
    /// Checksum of the current message, from its first byte on.
    hasher: Hasher,
    prelude: Prelude,
    headers_left: usize,
    header_index: usize,
    payload_left: usize,
    error: Option<Error>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Prelude,
    Headers,
    Payload,
    Checksum,
}

/// Whether there was enough input to finish a stage.
#[derive(PartialEq, Eq)]
enum Progress {
    Done,
    NeedInput,
}

impl EventDecoder {
    pub fn new(limits: Limits) -> EventDecoder {
        EventDecoder {
            limits,
            stage: Stage::Prelude,
            held: Vec::new(),
            hasher: checksum::hasher(),
            prelude: Prelude { total_len: 0, headers_len: 0, crc: 0 },
            headers_left: 0,
            header_index: 0,
            payload_left: 0,
            error: None,
        }
    }

    /// Decodes the next bytes of the input. After an error, every push returns that error again.
    pub fn push(&mut self, bytes: &[u8], events: &mut dyn DecodeEvents) -> Result<(), Error> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let result = self.advance(bytes, events);
        if let Err(error) = &result {
            self.error = Some(error.clone());
            self.held = Vec::new();
        }
        result
    }

    /// Ends the input: returns the final error if there was one, or `Incomplete` inside a message.
    pub fn finish(&self) -> Result<(), Error> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let total_len = self.prelude.total_len as usize;
        let missing = match self.stage {
            Stage::Prelude if self.held.is_empty() => return Ok(()),
            Stage::Prelude => return Err(Error::Incomplete { have: self.held.len(), need: PRELUDE_LEN }),
            Stage::Headers => self.headers_left - self.held.len() + self.payload_left + MESSAGE_CRC_LEN,
            Stage::Payload => self.payload_left + MESSAGE_CRC_LEN,
            Stage::Checksum => MESSAGE_CRC_LEN - self.held.len(),
        };
        Err(Error::Incomplete { have: total_len - missing, need: total_len })
    }

    /// The error that ended decoding, if one did.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    fn advance(&mut self, mut input: &[u8], events: &mut dyn DecodeEvents) -> Result<(), Error> {
        // The bytes that a checksum covers are contiguous in the input, so they are summed in one go.
        let mut unsummed = input;
        loop {
            let progress = match self.stage {
                Stage::Prelude => self.take_prelude(&mut input, events)?,
                Stage::Headers => self.take_headers(&mut input, events)?,
                Stage::Payload => self.take_payload(&mut input, events),
                Stage::Checksum => {
                    self.sum(&mut unsummed, input);
                    let progress = self.take_checksum(&mut input, events)?;
                    unsummed = input;
                    progress
                }
            };
            if progress == Progress::NeedInput {
                self.sum(&mut unsummed, input);
                return Ok(());
            }
        }
    }

    /// Adds the consumed part of `unsummed` to the checksum; `input` is its tail that is not consumed yet.
    fn sum<'a>(&mut self, unsummed: &mut &'a [u8], input: &'a [u8]) {
        let consumed = unsummed.len() - input.len();
        if let Some(consumed) = unsummed.get(..consumed).filter(|consumed| !consumed.is_empty()) {
            self.hasher.update(consumed);
        }
        *unsummed = input;
    }

    fn take_prelude(&mut self, input: &mut &[u8], events: &mut dyn DecodeEvents) -> Result<Progress, Error> {
        let Some(bytes) = self.take_array::<PRELUDE_LEN>(input) else { return Ok(Progress::NeedInput) };
        let prelude = Prelude::parse(&bytes, &self.limits)?;
        self.headers_left = prelude.headers_len as usize;
        self.header_index = 0;
        self.payload_left = prelude.payload_len();
        self.prelude = prelude;
        self.stage = Stage::Headers;
        events.on_prelude(&prelude);
        Ok(Progress::Done)
    }

    fn take_headers(&mut self, input: &mut &[u8], events: &mut dyn DecodeEvents) -> Result<Progress, Error> {
        while self.headers_left > 0 {
            if input.is_empty() {
                return Ok(Progress::NeedInput);
            }
            if self.header_index >= self.limits.max_headers {
                return Err(Error::TooManyHeaders { limit: self.limits.max_headers });
            }
            let mut taken = None;
            if self.held.is_empty() {
                taken = self.take_header(input, events)?;
            }
            if taken.is_none() {
                taken = self.take_cut_header(input, events)?;
            }
            let Some(header_len) = taken else { return Ok(Progress::NeedInput) };
            self.headers_left -= header_len;
            self.header_index += 1;
        }
        self.stage = Stage::Payload;
        Ok(Progress::Done)
    }

    /// Reads a header that is complete in the input; otherwise consumes nothing.
    fn take_header(&mut self, input: &mut &[u8], events: &mut dyn DecodeEvents) -> Result<Option<usize>, Error> {
        match header_parser::parse(input, self.headers_left, self.header_index, self.limits.max_value_len)? {
            Parsed::Header(header, len) => {
                events.on_header(&header);
                *input = input.get(len..).unwrap_or_default();
                Ok(Some(len))
            }
            Parsed::NeedBytes(_) => Ok(None),
        }
    }

    /// Gathers a header from several chunks, stopping wherever a length or a type decides how to go on.
    fn take_cut_header(&mut self, input: &mut &[u8], events: &mut dyn DecodeEvents) -> Result<Option<usize>, Error> {
        loop {
            match header_parser::parse(&self.held, self.headers_left, self.header_index, self.limits.max_value_len)? {
                Parsed::Header(header, len) => {
                    events.on_header(&header);
                    self.release_held();
                    return Ok(Some(len));
                }
                Parsed::NeedBytes(need) => {
                    if !self.hold(input, need) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn take_payload(&mut self, input: &mut &[u8], events: &mut dyn DecodeEvents) -> Progress {
        let (segment, rest) = input.split_at(input.len().min(self.payload_left));
        *input = rest;
        self.payload_left -= segment.len();
        if !segment.is_empty() {
            events.on_payload(segment);
        }
        if self.payload_left > 0 {
            return Progress::NeedInput;
        }
        self.stage = Stage::Checksum;
        Progress::Done
    }

    fn take_checksum(&mut self, input: &mut &[u8], events: &mut dyn DecodeEvents) -> Result<Progress, Error> {
        let Some(bytes) = self.take_array::<MESSAGE_CRC_LEN>(input) else { return Ok(Progress::NeedInput) };
        let stored = u32::from_be_bytes(bytes);
        let computed = std::mem::replace(&mut self.hasher, checksum::hasher()).finalize();
        if stored != computed {
            return Err(Error::MessageChecksum { stored, computed });
        }
        self.stage = Stage::Prelude;
        events.on_complete(stored);
        Ok(Progress::Done)
    }

    /// Takes `N` bytes from what is held and from the input, or nothing while they are not all there.
    fn take_array<const N: usize>(&mut self, input: &mut &[u8]) -> Option<[u8; N]> {
        if self.held.is_empty()
            && let Some((array, rest)) = input.split_first_chunk::<N>()
        {
            *input = rest;
            return Some(*array);
        }
        if !self.hold(input, N) {
            return None;
        }
        let array = self.held.first_chunk::<N>().copied();
        self.release_held();
        array
    }

    /// Moves input to `held` until that has `need` bytes; returns false if there is not enough input.
    fn hold(&mut self, input: &mut &[u8], need: usize) -> bool {
        let missing = need.saturating_sub(self.held.len());
        let (taken, rest) = input.split_at(input.len().min(missing));
        self.held.extend_from_slice(taken);
        *input = rest;
        taken.len() == missing
    }

    fn release_held(&mut self) {
        self.held.clear();
        if self.held.capacity() > KEPT_CAPACITY {
            self.held = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode_into;

    /// Looks at nothing.
    struct Ignore;

    impl DecodeEvents for Ignore {
        fn on_prelude(&mut self, _prelude: &Prelude) {}
        fn on_header(&mut self, _header: &FlatHeader<'_>) {}
        fn on_payload(&mut self, _segment: &[u8]) {}
        fn on_complete(&mut self, _message_crc: u32) {}
    }

    fn message(headers: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_into(&[headers], payload, &mut bytes);
        bytes
    }

    /// The byte of the headers section, counted from 1, that shows the error.
    fn error_byte(headers: &[u8], limits: Limits) -> (usize, Error) {
        let mut decoder = EventDecoder::new(limits);
        for (at, byte) in message(headers, b"payload").into_iter().enumerate() {
            if let Err(error) = decoder.push(&[byte], &mut Ignore) {
                return (at + 1 - PRELUDE_LEN, error);
            }
        }
        panic!("no error in {}", headers.escape_ascii());
    }

    #[test]
    fn a_header_fails_at_the_byte_that_decides() {
        let overrun = |index| Error::HeaderOverrun { index };
        let unknown = Error::UnknownHeaderType { index: 0, header_type: 10 };
        let cases: [(&[u8], usize, Error); 8] = [
            // A name that leaves no room for its type.
            (b"\x03abc", 1, overrun(0)),
            (b"\x01a\x00\x00", 4, overrun(1)),
            (b"\x01a\x0a\x00\x00", 3, unknown),
            // Too little room for a number, for a length, for the value of that length.
            (b"\x01a\x04\0\0\0", 3, overrun(0)),
            (b"\x01a\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 3, overrun(0)),
            (b"\x01a\x07\0", 3, overrun(0)),
            (b"\x01a\x07\0\x03ab", 5, overrun(0)),
            (b"\x01a\x01\x01b\x06\xff\xff", 8, overrun(1)),
        ];
        for (headers, byte, error) in cases {
            assert_eq!(error_byte(headers, Limits::DEFAULT), (byte, error), "{}", headers.escape_ascii());
        }
    }

    #[test]
    fn limits_fail_at_the_byte_that_passes_them() {
        let two_headers = Limits { max_headers: 2, ..Limits::DEFAULT };
        let three = b"\x01a\x00\x01b\x00\x01c\x00";
        assert_eq!(error_byte(three, two_headers), (7, Error::TooManyHeaders { limit: 2 }));
        let short_values = Limits { max_value_len: 1, ..Limits::DEFAULT };
        let too_long = Error::HeaderValueTooLong { len: 2, limit: 1 };
        assert_eq!(error_byte(b"\x01a\x07\0\x02vv", short_values), (5, too_long));

        for (headers, limits) in [(&three[..6], two_headers), (b"\x01a\x07\0\x01v", short_values)] {
            let mut decoder = EventDecoder::new(limits);
            assert_eq!(decoder.push(&message(headers, b""), &mut Ignore), Ok(()));
            assert_eq!(decoder.finish(), Ok(()));
        }
    }

    #[test]
    fn the_end_of_input_inside_a_message_says_what_is_missing() {
        let bytes = message(b"\x01a\x07\0\x02vv\x01b\x00", b"payload");
        let mut decoder = EventDecoder::new(Limits::DEFAULT);
        for (have, byte) in [&bytes[..], &bytes[..]].concat().into_iter().enumerate() {
            let have = have % bytes.len();
            let need = if have < PRELUDE_LEN { PRELUDE_LEN } else { bytes.len() };
            let expected = if have == 0 { Ok(()) } else { Err(Error::Incomplete { have, need }) };
            assert_eq!(decoder.finish(), expected);
            assert_eq!(decoder.push(&[byte], &mut Ignore), Ok(()));
        }
        assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn a_long_header_is_held_only_as_far_as_it_came_and_given_back() {
        let value = [b'v'; 60_000];
        let bytes = message(&[b"\x01a\x07\xea\x60".as_slice(), &value].concat(), &[b'p'; 100_000]);
        let mut decoder = EventDecoder::new(Limits::DEFAULT);
        let (start, rest) = bytes.split_at(100);
        assert_eq!(decoder.push(start, &mut Ignore), Ok(()));
        assert!(decoder.held.capacity() < 1000, "a claimed length takes no memory");
        for chunk in rest.chunks(1000) {
            assert_eq!(decoder.push(chunk, &mut Ignore), Ok(()));
            assert!(decoder.held.capacity() < 130_000, "never a payload");
        }
        assert_eq!(decoder.finish(), Ok(()));
        assert!(decoder.held.capacity() <= KEPT_CAPACITY);
    }
}
