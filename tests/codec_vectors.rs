//! Every codec case of tests/data/vectors, in every decoder alike and however its bytes are cut.

#[path = "common/vectors.rs"]
mod vectors;

use eventstream_rpc::codec::{
    self, DecodeEvents, Error, EventDecoder, HeaderList, HeaderValue, Limits, MessageDecoder, PRELUDE_LEN, Prelude,
};
use std::iter;
use std::sync::LazyLock;
use vectors::{Case, ErrorKind, Header, Message};

static CASES: LazyLock<Vec<Case>> = LazyLock::new(vectors::load);

/// Cases up to this size are cut at every position.
const SMALL: usize = 600;

/// Feeding larger ones byte by byte takes long and shows nothing new.
const BYTE_BY_BYTE: usize = 4 * 1024 * 1024;

#[derive(Debug, PartialEq)]
struct Decoded {
    messages: Vec<Message>,
    /// What ended decoding; none if the input ended where a message ended.
    error: Option<Error>,
}

/// What one feeding of an incremental decoder gave.
#[derive(Debug, PartialEq)]
struct Fed {
    decoded: Decoded,
    /// How many bytes had been fed, chunk by chunk, when the error came.
    error_at: Option<usize>,
}

#[test]
fn whole_decode_gives_what_each_case_says() {
    for case in CASES.iter() {
        check(case, &decode_whole(&case.bytes));
    }
}

#[test]
fn incremental_decoders_agree_with_whole_decode_however_the_input_is_cut() {
    for case in CASES.iter() {
        let whole = decode_whole(&case.bytes);
        let mut events = feed_events(case.bytes.chunks(usize::MAX));
        let partial = events.1;
        assert_eq!(events.0.decoded, whole, "{}: events, fed at once", case.name);
        assert_eq!(feed_messages(case.bytes.chunks(usize::MAX)).decoded, whole, "{}: messages, at once", case.name);

        for chunk_len in [7, 1] {
            if chunk_len == 1 && case.bytes.len() > BYTE_BY_BYTE {
                continue;
            }
            let chunks = || case.bytes.chunks(chunk_len);
            events = feed_events(chunks());
            assert_eq!(events.0.decoded, whole, "{}: events, in chunks of {chunk_len}", case.name);
            assert_eq!(events.1, partial, "{}: message cut short, in chunks of {chunk_len}", case.name);
            assert_eq!(feed_messages(chunks()), events.0, "{}: messages, in chunks of {chunk_len}", case.name);
        }
    }
}

#[test]
fn small_cases_may_be_cut_in_two_anywhere() {
    for case in CASES.iter().filter(|case| case.bytes.len() <= SMALL) {
        let whole = decode_whole(&case.bytes);
        for at in 0..=case.bytes.len() {
            let (head, tail) = case.bytes.split_at(at);
            let (events, _) = feed_events([head, tail].into_iter());
            assert_eq!(events.decoded, whole, "{}: events, cut at {at}", case.name);
            assert_eq!(feed_messages([head, tail].into_iter()), events, "{}: messages, cut at {at}", case.name);
        }
    }
}

#[test]
fn errors_come_at_the_first_byte_that_shows_them() {
    let mut compared_with_peer = 0;
    for case in CASES.iter().filter(|case| case.bytes.len() <= BYTE_BY_BYTE) {
        let Some(kind) = case.end.filter(|kind| *kind != ErrorKind::Incomplete) else { continue };
        let at = feed_events(case.bytes.chunks(1)).0.error_at.expect("an error");
        let total_len = u32::from_be_bytes(*case.bytes.first_chunk().expect("a length")) as usize;
        match kind {
            ErrorKind::HeaderOverrun | ErrorKind::UnknownHeaderType => {
                assert!(at > PRELUDE_LEN && at < total_len, "{}: at byte {at}", case.name);
            }
            ErrorKind::MessageChecksum => assert_eq!(at, total_len, "{}", case.name),
            _ => assert_eq!(at, PRELUDE_LEN, "{}", case.name),
        }
        if let Some(peer) = case.peer_error_at {
            assert!(at <= peer, "{}: at byte {at}, the peer at {peer}", case.name);
            compared_with_peer += 1;
        }
    }
    assert!(compared_with_peer >= 35, "only {compared_with_peer} cases say where the peer noticed");
}

#[test]
fn a_cut_message_is_incomplete_unless_its_prelude_is_bad() {
    for case in CASES.iter().filter(|case| case.bytes.len() <= SMALL) {
        let prelude_is_bad = case.messages.is_empty() && case.end.is_some_and(is_prelude_error);
        let stated_len = case.bytes.first_chunk().map_or(usize::MAX, |len| u32::from_be_bytes(*len) as usize);
        let first_len = if prelude_is_bad { usize::MAX } else { stated_len }.min(case.bytes.len());
        for len in 0..first_len {
            let error = codec::Message::decode(&case.bytes[..len], &Limits::default()).expect_err("a cut message");
            match case.end {
                Some(end) if is_prelude_error(end) && len >= PRELUDE_LEN => assert_eq!(kind_of(&error), end),
                _ => assert!(
                    matches!(error, Error::Incomplete { have, need } if have == len && need > len),
                    "{} cut at {len}: {error:?}",
                    case.name
                ),
            }
        }
    }
}

#[test]
fn what_decodes_encodes_to_the_same_bytes() {
    for case in CASES.iter() {
        let mut encoded = Vec::new();
        for message in &case.messages {
            let headers = header_list(case, message);
            let len = codec::encoded_len(headers.as_bytes().len(), message.payload.len(), &Limits::default());
            let before = encoded.len();
            codec::encode_into(&[headers.as_bytes()], &message.payload, &mut encoded);
            assert_eq!(Ok(encoded.len() - before), len, "{}: length said before encoding", case.name);
            assert!(codec::Message::is_intact(&encoded[before..]), "{}", case.name);
        }
        assert!(case.bytes.starts_with(&encoded), "{}: other bytes", case.name);
        assert!(case.end.is_some() || case.bytes.len() == encoded.len(), "{}: too few bytes", case.name);
    }
}

/// Valid headers can all be added; received ones beyond that can be copied.
fn header_list(case: &Case, message: &Message) -> HeaderList {
    let mut list = HeaderList::new();
    for header in &message.headers {
        let added = list.add(&header.name, header.value());
        if let Err(error) = added {
            assert!(!case.valid, "{}: {error}", case.name);
            let copy = codec::Header { name: &header.name, value: header.value() };
            list.add_unchecked_copy(&copy).expect("within the size of a message");
        }
    }
    assert_eq!(list.len(), message.headers.len());
    list
}

fn check(case: &Case, decoded: &Decoded) {
    assert_eq!(decoded.error.as_ref().map(kind_of), case.end, "{}: {:?}", case.name, decoded.error);
    assert_eq!(decoded.messages.len(), case.messages.len(), "{}: number of messages", case.name);
    for (decoded, expected) in decoded.messages.iter().zip(&case.messages) {
        assert_eq!(decoded.headers, expected.headers, "{}", case.name);
        assert!(decoded == expected, "{}: lengths, checksums or payload differ", case.name);
    }
}

/// Walks over concatenated messages.
fn decode_whole(bytes: &[u8]) -> Decoded {
    let mut rest = bytes;
    let mut messages = Vec::new();
    while !rest.is_empty() {
        match codec::Message::decode(rest, &Limits::default()) {
            Ok((message, used)) => {
                messages.push(owned_message(&message));
                rest = &rest[used..];
            }
            Err(error) => return Decoded { messages, error: Some(error) },
        }
    }
    Decoded { messages, error: None }
}

/// Also answers what had come of the message that was not completed.
fn feed_events<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Fed, Message) {
    let mut decoder = EventDecoder::new(Limits::default());
    let mut gathered = Gathered::default();
    let mut fed = 0;
    for chunk in chunks {
        fed += chunk.len();
        if let Err(error) = decoder.push(chunk, &mut gathered) {
            assert_eq!(decoder.error(), Some(&error));
            assert_eq!(decoder.push(b"more", &mut gathered), Err(error.clone()), "the error is sticky");
            assert_eq!(decoder.finish(), Err(error.clone()));
            let decoded = Decoded { messages: gathered.whole, error: Some(error) };
            return (Fed { decoded, error_at: Some(fed) }, gathered.current);
        }
    }
    let decoded = Decoded { messages: gathered.whole, error: decoder.finish().err() };
    (Fed { decoded, error_at: None }, gathered.current)
}

fn feed_messages<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Fed {
    let mut decoder = MessageDecoder::new(Limits::default());
    let mut messages = Vec::new();
    let mut fed = 0;
    for chunk in chunks {
        fed += chunk.len();
        let pushed = decoder.push(chunk);
        let good = iter::from_fn(|| decoder.next_message().ok().flatten().map(|message| owned_message(&message)));
        messages.extend(good);
        if let Err(error) = pushed {
            assert_eq!(decoder.next_message(), Err(error.clone()), "the error follows the good messages");
            assert_eq!(decoder.push(b"more"), Err(error.clone()), "the error is sticky");
            assert_eq!(decoder.finish(), Err(error.clone()));
            return Fed { decoded: Decoded { messages, error: Some(error) }, error_at: Some(fed) };
        }
    }
    Fed { decoded: Decoded { messages, error: decoder.finish().err() }, error_at: None }
}

/// Puts messages together from events.
#[derive(Default)]
struct Gathered {
    whole: Vec<Message>,
    current: Message,
}

impl DecodeEvents for Gathered {
    fn on_prelude(&mut self, prelude: &Prelude) {
        assert_eq!(self.current, Message::default(), "one message at a time");
        self.current.total_len = prelude.total_len;
        self.current.headers_len = prelude.headers_len;
        self.current.prelude_crc = prelude.crc;
    }

    fn on_header(&mut self, header: &codec::FlatHeader<'_>) {
        assert!(self.current.payload.is_empty(), "headers come before the payload");
        self.current.headers.push(owned_header(&header.header().expect("a value")));
    }

    fn on_payload(&mut self, segment: &[u8]) {
        assert!(!segment.is_empty(), "a payload segment has bytes");
        self.current.payload.extend_from_slice(segment);
    }

    fn on_complete(&mut self, message_crc: u32) {
        self.current.message_crc = message_crc;
        self.whole.push(std::mem::take(&mut self.current));
    }
}

fn owned_message(message: &codec::Message<'_>) -> Message {
    assert_eq!(message.prelude.payload_len(), message.payload.len());
    assert_eq!(message.headers.as_bytes().len(), message.prelude.headers_len as usize);
    assert_eq!(message.headers.len(), message.headers.iter().count());
    Message {
        total_len: message.prelude.total_len,
        headers_len: message.prelude.headers_len,
        prelude_crc: message.prelude.crc,
        message_crc: message.crc,
        headers: message.headers.iter().map(|header| owned_header(&header)).collect(),
        payload: message.payload.to_vec(),
    }
}

fn owned_header(header: &codec::Header<'_>) -> Header {
    let (number, bytes): (i64, &[u8]) = match header.value {
        HeaderValue::Bool(value) => (value.into(), &[]),
        HeaderValue::Byte(value) => (value.into(), &[]),
        HeaderValue::Int16(value) => (value.into(), &[]),
        HeaderValue::Int32(value) => (value.into(), &[]),
        HeaderValue::Int64(value) | HeaderValue::Timestamp(value) => (value, &[]),
        HeaderValue::ByteBuf(data) | HeaderValue::String(data) => (0, data),
        HeaderValue::Uuid(data) => (0, data),
    };
    let header_type = header.value.header_type() as u8;
    Header { name: header.name.to_vec(), header_type, number, bytes: bytes.to_vec() }
}

fn is_prelude_error(kind: ErrorKind) -> bool {
    use ErrorKind::*;
    matches!(kind, PreludeChecksum | MessageLength | HeadersLength | MessageTooLarge)
}

fn kind_of(error: &Error) -> ErrorKind {
    match error {
        Error::Incomplete { .. } => ErrorKind::Incomplete,
        Error::PreludeChecksum { .. } => ErrorKind::PreludeChecksum,
        Error::MessageChecksum { .. } => ErrorKind::MessageChecksum,
        Error::MessageLength { .. } => ErrorKind::MessageLength,
        Error::HeadersLength { .. } => ErrorKind::HeadersLength,
        Error::HeaderOverrun { .. } => ErrorKind::HeaderOverrun,
        Error::UnknownHeaderType { .. } => ErrorKind::UnknownHeaderType,
        Error::MessageTooLarge { .. } | Error::PayloadTooLarge { .. } => ErrorKind::MessageTooLarge,
        other => panic!("no case expects {other:?}"),
    }
}
