//! Reads the codec cases of tests/data/vectors into one plain shape, for the tests of the Rust and of the C interface.

use eventstream_rpc::codec::{self, HeaderValue};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;

/// Some bytes and what every decoder has to make of them.
pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
    /// What decodes, in order.
    pub messages: Vec<Message>,
    /// How decoding ends after those; none if the input ends where a message ends.
    pub end: Option<ErrorKind>,
    /// Whether the format allows it without any doubt, so that a sender may build it too.
    pub valid: bool,
    /// The byte at which aws-c-event-stream's streaming decoder reported its error.
    pub peer_error_at: Option<usize>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub total_len: u32,
    pub headers_len: u32,
    pub prelude_crc: u32,
    pub message_crc: u32,
    pub headers: Vec<Header>,
    pub payload: Vec<u8>,
}

/// A header in the shape of the C interface's `esrpc_header`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub name: Vec<u8>,
    pub header_type: u8,
    /// Booleans (0 or 1), integers and timestamps.
    pub number: i64,
    /// Data of byte_buf, string and uuid.
    pub bytes: Vec<u8>,
}

/// The error without its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    Incomplete,
    PreludeChecksum,
    MessageChecksum,
    MessageLength,
    HeadersLength,
    HeaderOverrun,
    UnknownHeaderType,
    MessageTooLarge,
}

/// The cases of vectors.json and of published/, each checked against its SHA-256.
pub fn load() -> Vec<Case> {
    let own = read_json("vectors.json");
    let published = read_json("published/published.json");
    let own = array(&own, "cases").iter().map(own_case);
    let cases: Vec<Case> = own.chain(array(&published, "entries").iter().map(published_case)).collect();
    assert_eq!(cases.len(), 133 + 36, "a case was lost");
    cases
}

impl Header {
    pub fn value(&self) -> HeaderValue<'_> {
        match self.header_type {
            0 => HeaderValue::Bool(true),
            1 => HeaderValue::Bool(false),
            2 => HeaderValue::Byte(self.number as i8),
            3 => HeaderValue::Int16(self.number as i16),
            4 => HeaderValue::Int32(self.number as i32),
            5 => HeaderValue::Int64(self.number),
            6 => HeaderValue::ByteBuf(&self.bytes),
            7 => HeaderValue::String(&self.bytes),
            8 => HeaderValue::Timestamp(self.number),
            9 => HeaderValue::Uuid(self.bytes[..].try_into().expect("a uuid has 16 bytes")),
            other => panic!("no header type {other}"),
        }
    }
}

fn own_case(case: &Value) -> Case {
    let name = text(case, "name").to_owned();
    let contents: Vec<_> = match case.get("messages") {
        Some(messages) => messages.as_array().expect("a list").iter().map(contents).collect(),
        None => empty_name_case(&name).into_iter().collect(),
    };
    let bytes = match (case.get("file"), case.get("hex")) {
        (Some(file), _) => read(file.as_str().expect("a file name")),
        (None, Some(hex)) => from_hex(hex.as_str().expect("hex")),
        (None, None) => encode(&contents[0]),
    };
    check_sha256(case, &name, &bytes);

    let invalid = text(case, "verdict") == "invalid";
    let messages = if invalid { Vec::new() } else { complete(contents, &bytes) };
    if let (false, Some(stated)) = (invalid, case.get("messages")) {
        check_stated_figures(&name, stated, &messages);
    }
    let ends_inside = case["peer"]["stream"]["ends_inside_message"].as_bool().unwrap_or(false);
    let end = match case.get("error_class").and_then(Value::as_str).filter(|_| invalid) {
        Some(class) => Some(error_kind(class)),
        None => ends_inside.then_some(ErrorKind::Incomplete),
    };
    let peer_error_at = case["peer"].get("stream_error_after_bytes").and_then(Value::as_u64).map(|at| at as usize);
    Case { name, bytes, messages, end, valid: text(case, "verdict") == "valid", peer_error_at }
}

fn published_case(entry: &Value) -> Case {
    let (name, bytes) = match entry.get("file") {
        Some(file) => {
            let file = file.as_str().expect("a file name");
            (file.to_owned(), read(&format!("published/{file}")))
        }
        None => (text(entry, "name").to_owned(), generated_botocore_case(entry)),
    };
    check_sha256(entry, &name, &bytes);

    let end = (text(entry, "verdict") == "invalid").then(|| published_error(entry));
    let contents = match (&end, entry.get("decoded_file")) {
        (Some(_), _) => Vec::new(),
        (None, Some(file)) => vec![decoded_by_sdk_go(&read_json(&format!("published/{}", file.as_str().unwrap())))],
        (None, None) => vec![stated_in_source(&name, &entry["source_expectation"], &bytes)],
    };
    let messages = complete(contents, &bytes);
    if let Some(crc) = entry["source_expectation"].get("crc") {
        assert_eq!(messages[0].message_crc, crc_from_hex(crc), "{name}: checksum");
    }
    Case { name, bytes, messages, end, valid: text(entry, "verdict") == "valid", peer_error_at: None }
}

/// The headers and the payload of a case in vectors.json.
fn contents(message: &Value) -> Message {
    let headers = array(message, "headers").iter().map(own_header).collect();
    let payload = match message["payload"].get("hex") {
        Some(hex) => from_hex(hex.as_str().expect("hex")),
        None => repeat(&message["payload"], "repeat_byte"),
    };
    Message { headers, payload, ..Message::default() }
}

fn own_header(header: &Value) -> Header {
    const TYPES: [&str; 10] =
        ["bool_true", "bool_false", "byte", "int16", "int32", "int64", "byte_buf", "string", "timestamp", "uuid"];
    let name = match (header.get("name"), header.get("name_hex")) {
        (Some(name), _) => name.as_str().expect("a name").as_bytes().to_vec(),
        (None, Some(hex)) => from_hex(hex.as_str().expect("hex")),
        (None, None) => repeat(&header["name_repeat"], "byte"),
    };
    let header_type = TYPES.iter().position(|known| *known == text(header, "type")).expect("a known type") as u8;
    let bytes = match (header.get("value_hex"), header.get("value_repeat")) {
        (Some(hex), _) => from_hex(hex.as_str().expect("hex")),
        (None, Some(repeated)) => repeat(repeated, "byte"),
        (None, None) => Vec::new(),
    };
    let number = if (6..=7).contains(&header_type) || header_type == 9 { 0 } else { number(&header["value"]) };
    Header { name, header_type, number, bytes }
}

/// vectors.json leaves the contents of these open; this library accepts empty names.
fn empty_name_case(name: &str) -> Option<Message> {
    let header = match name {
        "zero_length_name_string" => Header { header_type: 7, bytes: b"v".to_vec(), ..Header::default() },
        "zero_length_name_bool" => Header { header_type: 0, number: 1, ..Header::default() },
        "zero_length_name_int32" => Header { header_type: 4, number: 1, ..Header::default() },
        _ => return None,
    };
    Some(Message { headers: vec![header], payload: b"p".to_vec(), ..Message::default() })
}

/// The decoded files of aws-sdk-go: data in base64, CRCs as signed numbers.
fn decoded_by_sdk_go(decoded: &Value) -> Message {
    let headers = array(decoded, "headers").iter().map(|header| {
        let header_type = number(&header["type"]) as u8;
        let name = text(header, "name").as_bytes().to_vec();
        match header["value"].as_str() {
            Some(data) => Header { name, header_type, number: 0, bytes: from_base64(data) },
            None => Header { name, header_type, number: number(&header["value"]), bytes: Vec::new() },
        }
    });
    let payload = from_base64(text(decoded, "payload"));
    let message = Message {
        total_len: number(&decoded["total_length"]) as u32,
        headers_len: number(&decoded["headers_length"]) as u32,
        prelude_crc: number(&decoded["prelude_crc"]) as u32,
        message_crc: number(&decoded["message_crc"]) as u32,
        headers: headers.collect(),
        payload,
    };
    assert_ne!(message.total_len, 0, "a decoded file states all figures");
    message
}

/// What botocore and smithy-rs expect. Their header types follow from the names or are stated in their tests.
fn stated_in_source(name: &str, stated: &Value, bytes: &[u8]) -> Message {
    let header = |name: &str, header_type, number, bytes: &[u8]| Header {
        name: name.as_bytes().to_vec(),
        header_type,
        number,
        bytes: bytes.to_vec(),
    };
    let uuid = from_hex("b79bc914de214e13b8b2bc47e85b7f0b");
    let (headers, payload): (_, &[u8]) = match name {
        "smithy-rs/valid_empty_payload" => (vec![header("some-header", 3, 500, b"")], b""),
        "smithy-rs/valid_no_headers" => (Vec::new(), b"another test payload"),
        "smithy-rs/valid_with_all_headers_and_payload" => (
            vec![
                header("true", 0, 1, b""),
                header("false", 1, 0, b""),
                header("byte", 2, 50, b""),
                header("short", 3, 20_000, b""),
                header("int", 4, 500_000, b""),
                header("long", 5, 50_000_000_000, b""),
                header("bytes", 6, 0, b"some bytes"),
                header("str", 7, 0, b"some str"),
                header("time", 8, 5_000_000_000, b""),
                header("uuid", 9, 0, &uuid),
            ],
            b"some payload",
        ),
        // botocore refuses repeated names; this library keeps them.
        "botocore/duplicate_header" => (vec![header("test", 4, 0x6173_6466, b""); 2], b""),
        _ => return stated_by_botocore(stated, bytes),
    };
    Message { headers, payload: payload.to_vec(), ..Message::default() }
}

fn stated_by_botocore(stated: &Value, bytes: &[u8]) -> Message {
    let mut headers: Vec<_> = stated["headers"]
        .as_object()
        .expect("headers by name")
        .iter()
        .map(|(name, value)| {
            let header_type = match name.as_str() {
                "byte" => 2,
                "short" => 3,
                "integer" => 4,
                "long" => 5,
                digit if digit.len() == 1 => digit.parse().expect("named after its type"),
                _ => 7,
            };
            let (number, bytes) = match (value.as_str(), value.get("hex")) {
                (Some(text), _) => (0, text.as_bytes().to_vec()),
                (None, Some(hex)) => (0, from_hex(hex.as_str().expect("hex"))),
                (None, None) => (number(value), Vec::new()),
            };
            Header { name: name.clone().into_bytes(), header_type, number, bytes }
        })
        .collect();
    // They come from a dictionary; the wire has an order.
    headers.sort_by_key(|header| {
        let start = [&[header.name.len() as u8], &header.name[..], &[header.header_type]].concat();
        bytes.windows(start.len()).position(|window| window == start)
    });
    let payload = from_hex(text(stated, "payload_hex"));
    Message { headers, payload, ..Message::default() }
}

/// Adds lengths and CRCs, which the wire has at known places, unless the case states them.
fn complete(contents: Vec<Message>, bytes: &[u8]) -> Vec<Message> {
    let mut rest = bytes;
    let mut messages = Vec::new();
    for message in contents {
        let word = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().expect("four bytes"));
        let figures = [word(0), word(4), word(8), word(word(0) as usize - 4)];
        if message.total_len != 0 {
            assert_eq!(figures, [message.total_len, message.headers_len, message.prelude_crc, message.message_crc]);
        }
        let [total_len, headers_len, prelude_crc, message_crc] = figures;
        rest = &rest[total_len as usize..];
        messages.push(Message { total_len, headers_len, prelude_crc, message_crc, ..message });
    }
    messages
}

fn check_stated_figures(name: &str, stated: &Value, messages: &[Message]) {
    for (stated, message) in stated.as_array().expect("a list").iter().zip(messages) {
        assert_eq!(number(&stated["total_len"]), i64::from(message.total_len), "{name}: total length");
        assert_eq!(number(&stated["headers_len"]), i64::from(message.headers_len), "{name}: headers length");
        if let Some(crc) = stated.get("prelude_crc") {
            assert_eq!(crc_from_hex(crc), message.prelude_crc, "{name}: prelude checksum");
        }
        if let Some(crc) = stated.get("message_crc") {
            assert_eq!(crc_from_hex(crc), message.message_crc, "{name}: message checksum");
        }
    }
}

fn error_kind(class: &str) -> ErrorKind {
    match class {
        "incomplete" => ErrorKind::Incomplete,
        "length_too_small" => ErrorKind::MessageLength,
        "message_too_large" => ErrorKind::MessageTooLarge,
        "headers_length" => ErrorKind::HeadersLength,
        "prelude_checksum" => ErrorKind::PreludeChecksum,
        "message_checksum" => ErrorKind::MessageChecksum,
        "header_overrun" => ErrorKind::HeaderOverrun,
        "unknown_header_type" => ErrorKind::UnknownHeaderType,
        other => panic!("no error class {other}"),
    }
}

/// What the source projects call our errors. A header length that runs past the section is an overrun here.
fn published_error(entry: &Value) -> ErrorKind {
    match text(entry, "source_expectation") {
        "Prelude checksum mismatch" | "PreludeChecksumMismatch" => ErrorKind::PreludeChecksum,
        "Message checksum mismatch" | "MessageChecksumMismatch" => ErrorKind::MessageChecksum,
        "InvalidHeadersLength" => ErrorKind::HeadersLength,
        "InvalidPayloadLength" => ErrorKind::MessageTooLarge,
        "InvalidHeaderNameLength" | "InvalidUtf8String" | "InvalidHeaderValue" => ErrorKind::HeaderOverrun,
        "InvalidHeaderValueType(0x60)" => ErrorKind::UnknownHeaderType,
        // botocore does not say which checksum; the peer does.
        "ChecksumMismatch" => match entry["peer"]["stream"]["result"].as_str() {
            Some("AWS_ERROR_EVENT_STREAM_PRELUDE_CHECKSUM_FAILURE") => ErrorKind::PreludeChecksum,
            _ => ErrorKind::MessageChecksum,
        },
        other => panic!("no error {other}"),
    }
}

/// Builds the bytes that a `generator` describes.
fn encode(contents: &Message) -> Vec<u8> {
    let mut headers = Vec::new();
    for header in &contents.headers {
        codec::write_header(&header.name, header.value(), &mut headers);
    }
    let mut bytes = Vec::new();
    codec::encode_into(&[&headers], &contents.payload, &mut bytes);
    bytes
}

fn generated_botocore_case(entry: &Value) -> Vec<u8> {
    let recipe = "12 bytes 0180002100000000dd3f33b1, then 25165825 bytes of 0x30, then 2ab4c5a5";
    assert_eq!(text(entry, "generator"), recipe);
    [from_hex("0180002100000000dd3f33b1"), vec![0x30; 25_165_825], from_hex("2ab4c5a5")].concat()
}

fn check_sha256(case: &Value, name: &str, bytes: &[u8]) {
    if let Some(expected) = case.get("sha256") {
        assert_eq!(Sha256::digest(bytes).to_vec(), from_hex(expected.as_str().expect("hex")), "{name}: SHA-256");
    }
}

fn read(path: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/vectors").join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read_json(path: &str) -> Value {
    serde_json::from_slice(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key} in {value}"))
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no list {key} in {value}"))
}

fn number(value: &Value) -> i64 {
    match value {
        Value::Bool(value) => i64::from(*value),
        value => value.as_i64().unwrap_or_else(|| panic!("no number: {value}")),
    }
}

/// `{"byte": "61", "len": 3}` is aaa.
fn repeat(value: &Value, key: &str) -> Vec<u8> {
    from_hex(text(value, key)).repeat(number(&value["len"]) as usize)
}

fn crc_from_hex(value: &Value) -> u32 {
    u32::from_str_radix(value.as_str().expect("a checksum in hex"), 16).expect("a checksum in hex")
}

fn from_hex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "half a byte in {hex}");
    let digits = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
    digits.collect::<Result<_, _>>().expect("hex")
}

fn from_base64(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}
