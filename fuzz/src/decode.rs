//! Whole decode against incremental decode: the same messages, the same error, at the same byte, however the input is cut.

use arbitrary::{Arbitrary, Result, Unstructured};
use eventstream_rpc::codec::{
    DecodeEvents, Error, EventDecoder, FlatHeader, Limits, MESSAGE_CRC_LEN, MIN_MESSAGE_LEN, Message, MessageDecoder,
    PRELUDE_LEN, Prelude,
};

/// A message that is cut is completed with zeros up to this length, to see that its error was certain.
const LONGEST_COMPLETED: usize = 64 * 1024;

#[derive(Debug)]
struct Input {
    limits: Limits,
    chunks: Chunks,
    bytes: Vec<u8>,
}

/// No fuzzer guesses a checksum, so most inputs get right ones.
#[derive(Arbitrary, Debug)]
struct Repair {
    preludes: bool,
    messages: bool,
    /// Cuts lengths that are out of all proportion, so that there is more than one message.
    lengths: bool,
}

/// Lengths of the pieces in which the input is pushed, again and again in this order.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Chunks {
    lengths: [u8; 3],
    /// Messages are taken after every so many pushes.
    taking: u8,
}

impl Chunks {
    fn of<'a>(&self, mut bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut lengths = self.lengths.into_iter().map(usize::from).cycle();
        // An empty chunk is one, too, but the input has to end.
        let mut is_first = true;
        std::iter::from_fn(move || {
            let wanted = lengths.next().unwrap_or(1).max(usize::from(!is_first));
            is_first = false;
            let (chunk, rest) = bytes.split_at(wanted.min(bytes.len()));
            let is_end = chunk.is_empty() && rest.is_empty();
            bytes = rest;
            (!is_end).then_some(chunk)
        })
    }
}

fn limits(u: &mut Unstructured) -> Result<Limits> {
    let [message, count, headers, value] = <[u8; 4]>::arbitrary(u)?;
    let of = |small: u8, default| if small >= 128 { default } else { usize::from(small) };
    Ok(Limits {
        max_message_len: if message >= 128 { Limits::DEFAULT.max_message_len } else { usize::from(message) * 4 },
        max_payload_len: Limits::DEFAULT.max_payload_len,
        max_headers: of(count, Limits::DEFAULT.max_headers),
        max_headers_len: of(headers, Limits::DEFAULT.max_headers_len),
        max_value_len: of(value, Limits::DEFAULT.max_value_len),
    })
}

impl Input {
    fn read(mut u: Unstructured) -> Result<Input> {
        let (limits, repair) = (limits(&mut u)?, Repair::arbitrary(&mut u)?);
        let chunks = Chunks::arbitrary(&mut u)?;
        let mut bytes = u.take_rest().to_vec();
        repair.apply(&mut bytes);
        Ok(Input { limits, chunks, bytes })
    }
}

impl Repair {
    fn apply(&self, bytes: &mut [u8]) {
        let mut rest = bytes;
        while rest.len() >= PRELUDE_LEN {
            let mut total = u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            if self.lengths && total > rest.len() {
                total = MIN_MESSAGE_LEN + total % (rest.len() + 8);
                rest[..4].copy_from_slice(&(total as u32).to_be_bytes());
                rest[4..6].copy_from_slice(&[0, 0]);
            }
            if self.preludes {
                let crc = crc32fast::hash(&rest[..8]);
                rest[8..PRELUDE_LEN].copy_from_slice(&crc.to_be_bytes());
            }
            if total < MIN_MESSAGE_LEN || total > rest.len() {
                return;
            }
            let (message, following) = rest.split_at_mut(total);
            if self.messages {
                let (covered, stored) = message.split_at_mut(total - MESSAGE_CRC_LEN);
                stored.copy_from_slice(&crc32fast::hash(covered).to_be_bytes());
            }
            rest = following;
        }
    }
}

/// What a decoder says of an input: its messages, and what came after the last.
#[derive(Debug, PartialEq)]
struct Story {
    messages: Vec<Said>,
    end: std::result::Result<(), Error>,
}

/// All of a message. Headers: name, type number, number, data.
#[derive(Debug, PartialEq)]
struct Said {
    prelude: Prelude,
    headers: Vec<(Vec<u8>, u8, i64, Vec<u8>)>,
    payload: Vec<u8>,
    crc: u32,
}

fn said_header(header: &FlatHeader<'_>) -> (Vec<u8>, u8, i64, Vec<u8>) {
    let data = header.data.unwrap_or_default().to_vec();
    (header.name.to_vec(), header.header_type as u8, header.number, data)
}

impl Said {
    fn of(message: &Message<'_>) -> Said {
        let mut headers = Vec::new();
        let mut at = 0;
        while let Some((header, next)) = message.headers.read_at(at) {
            headers.push(said_header(&header));
            at = next;
        }
        assert_eq!(at, message.headers.as_bytes().len());
        assert_eq!((headers.len(), message.headers.iter().count()), (message.headers.len(), message.headers.len()));
        let Message { prelude, payload, crc, .. } = *message;
        Said { prelude, headers, payload: payload.to_vec(), crc }
    }
}

/// Decodes message by message. `Incomplete` counts from the beginning of the last message.
fn whole(bytes: &[u8], limits: &Limits) -> Story {
    let (mut messages, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        match Message::decode(&bytes[at..], limits) {
            Ok((message, used)) => {
                assert_eq!(used, message.prelude.total_len as usize);
                messages.push(Said::of(&message));
                at += used;
            }
            Err(error) => return Story { messages, end: Err(error) },
        }
    }
    Story { messages, end: Ok(()) }
}

/// Pushes chunk by chunk and takes messages now and then. Says also after how many bytes the error came.
fn gathered(bytes: &[u8], limits: &Limits, chunks: Chunks) -> (Story, usize) {
    let mut decoder = MessageDecoder::new(*limits);
    let (mut messages, mut pushed, mut failed_at) = (Vec::new(), 0, None);
    for (number, chunk) in chunks.of(bytes).enumerate() {
        let result = decoder.push(chunk);
        pushed += chunk.len();
        match (&result, failed_at) {
            (Err(_), None) => failed_at = Some(pushed),
            (Ok(()), Some(_)) => panic!("an error does not stay"),
            _ => {}
        }
        if number % (usize::from(chunks.taking) + 1) == 0 {
            while let Ok(Some(message)) = decoder.next_message() {
                messages.push(Said::of(&message));
            }
        }
    }
    while let Ok(Some(message)) = decoder.next_message() {
        messages.push(Said::of(&message));
    }
    (Story { messages, end: decoder.finish() }, failed_at.unwrap_or(pushed))
}

/// Notes everything that an event decoder tells, and that it tells it in the right order.
#[derive(Default)]
struct Notes {
    messages: Vec<Said>,
    current: Option<Said>,
}

impl DecodeEvents for Notes {
    fn on_prelude(&mut self, prelude: &Prelude) {
        assert!(self.current.is_none(), "a message begins inside another");
        self.current = Some(Said { prelude: *prelude, headers: Vec::new(), payload: Vec::new(), crc: 0 });
    }

    fn on_header(&mut self, header: &FlatHeader<'_>) {
        let current = self.current.as_mut().expect("a header comes inside a message");
        assert!(current.payload.is_empty(), "headers come before the payload");
        current.headers.push(said_header(header));
    }

    fn on_payload(&mut self, segment: &[u8]) {
        let current = self.current.as_mut().expect("a payload comes inside a message");
        assert!(!segment.is_empty());
        current.payload.extend_from_slice(segment);
        assert!(current.payload.len() <= current.prelude.payload_len());
    }

    fn on_complete(&mut self, message_crc: u32) {
        let mut message = self.current.take().expect("an end comes inside a message");
        message.crc = message_crc;
        self.messages.push(message);
    }
}

/// As `gathered`, by events.
fn told<'a>(chunks: impl Iterator<Item = &'a [u8]>, limits: &Limits) -> (Story, usize) {
    let mut decoder = EventDecoder::new(*limits);
    let (mut notes, mut pushed) = (Notes::default(), 0);
    for chunk in chunks {
        pushed += chunk.len();
        if let Err(error) = decoder.push(chunk, &mut notes) {
            assert_eq!(decoder.push(b"late", &mut notes), Err(error.clone()), "an error does not stay");
            assert_eq!(decoder.finish(), Err(error));
            break;
        }
    }
    (Story { messages: notes.messages, end: decoder.finish() }, pushed)
}

/// What whole decode would say if the message that is cut there were complete.
fn completed(message: &[u8], need: usize, limits: &Limits) -> std::result::Result<(), Error> {
    let mut message = message.to_vec();
    message.resize(need, 0);
    Message::decode(&message, limits).map(drop)
}

fn check(Input { limits, chunks, bytes }: &Input) {
    let whole = whole(bytes, limits);
    let (gathered, gathered_at) = gathered(bytes, limits, *chunks);
    let (in_chunks, in_chunks_at) = told(chunks.of(bytes), limits);
    let (by_bytes, failed_at) = told(bytes.chunks(1), limits);

    assert_eq!(gathered, in_chunks, "gathered and in events");
    assert_eq!(gathered, by_bytes, "in chunks and byte by byte");
    assert_eq!(gathered.messages, whole.messages);
    if let Err(error) = &gathered.end
        && !matches!(error, Error::Incomplete { .. })
    {
        assert_eq!(gathered_at, in_chunks_at);
        let mut pushed = 0;
        let ends = chunks.of(bytes).map(|chunk| {
            pushed += chunk.len();
            pushed
        });
        let first = ends.into_iter().find(|end| *end >= failed_at);
        assert_eq!(first, Some(gathered_at), "the error comes with the byte that shows it");
    }
    if gathered.end != whole.end {
        // Only whole decode waits for all of a message, whose beginning may be wrong already.
        let Err(Error::Incomplete { have, need }) = whole.end else { panic!("{gathered:?} against {whole:?}") };
        let error = gathered.end.expect_err("the input ends inside a message");
        let is_of_headers = matches!(
            error,
            Error::HeaderOverrun { .. }
                | Error::UnknownHeaderType { .. }
                | Error::TooManyHeaders { .. }
                | Error::HeaderValueTooLong { .. }
        );
        assert!(is_of_headers, "{error:?}");
        if need <= LONGEST_COMPLETED {
            assert_eq!(completed(&bytes[bytes.len() - have..], need, limits), Err(error));
        }
    }
}

/// Gives messages lengths and checksums that are right.
pub(crate) fn repair(bytes: &mut [u8]) {
    Repair { preludes: true, messages: true, lengths: true }.apply(bytes);
}

pub fn run(bytes: &[u8]) {
    if let Ok(input) = Input::read(Unstructured::new(bytes)) {
        check(&input);
    }
}
