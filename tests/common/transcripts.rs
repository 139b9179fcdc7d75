//! The recorded conversations of tests/data/vectors/rpc, the raw end that plays one side of them, and the table of the
//! cases in which this library differs from the recorded one on purpose.

use super::recorder::TYPE_NAMES;
use eventstream_rpc::codec::{self, HeaderValue, Limits, Message};
use eventstream_rpc::rpc::{Envelope, OPERATION_HEADER, is_protocol_header};
use serde_json::Value;
use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::time::Instant;
use std::{fs, panic, thread};

/// Longer messages are not written byte by byte.
const BYTEWISE_LEN: usize = 600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

pub enum Step {
    Send(Side, Vec<u8>),
    Close(Side),
}

/// One recorded conversation.
pub struct Case {
    pub name: String,
    pub steps: Vec<Step>,
    pub client_events: Vec<String>,
    pub server_events: Vec<String>,
    /// The server left the connection open and answered a PING.
    pub stays_open: bool,
}

/// What one side did in a conversation, as the other side and its own callbacks saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub sent: Vec<String>,
    pub events: Vec<String>,
    pub stays_open: bool,
}

/// A case in which this library differs, and the rule that says so.
pub struct Difference {
    pub case: &'static str,
    pub rule: &'static str,
    /// Turns what was recorded into what this library does.
    pub ours: fn(&mut Outcome),
}

/// How the raw end writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    StepByStep,
    /// What follows without waiting for an answer goes in one write.
    OneWrite,
    ByteByByte,
}

pub fn load(file: &str) -> Vec<Case> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/vectors/rpc").join(file);
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let document: Value = serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    document["cases"].as_array().expect("a list of cases").iter().map(case).collect()
}

fn case(case: &Value) -> Case {
    let name = case["name"].as_str().expect("a name").to_owned();
    let events = |key: &str| match case[key].as_array() {
        Some(events) => events.iter().map(event).collect(),
        None => Vec::new(),
    };
    let role = case["peer_role"].as_str().unwrap_or_default();
    Case {
        steps: case["steps"].as_array().expect("steps").iter().map(|step| self::step(&name, step)).collect(),
        client_events: events(if role == "client" { "peer_events" } else { "client_events" }),
        server_events: events(if role == "server" { "peer_events" } else { "server_events" }),
        stays_open: case["ping_answered_afterwards"] == true,
        name,
    }
}

fn step(case: &str, step: &Value) -> Step {
    let side = match step["from"].as_str() {
        Some("client") => Side::Client,
        Some("server") => Side::Server,
        other => panic!("{case}: a step from {other:?}"),
    };
    match (step["hex"].as_str(), step["len"].as_u64()) {
        (Some(hex), _) => Step::Send(side, from_hex(hex)),
        (None, Some(len)) => Step::Send(side, rebuild(case, side, len as usize)),
        (None, None) => {
            let note = step["note"].as_str().expect("a note");
            assert!(note.contains("clos"), "{case}: {note}");
            Step::Close(side)
        }
    }
}

/// The messages that are too long to be stored, made from their description.
fn rebuild(case: &str, side: Side, len: usize) -> Vec<u8> {
    let mut headers = Vec::new();
    let value_len = case.strip_prefix("header_value_").map(|len| len.parse().expect("a length"));
    match value_len {
        Some(value_len) => codec::write_header(b"s", HeaderValue::String(&vec![b'x'; value_len]), &mut headers),
        None => {
            assert_eq!(case, "client_headers_1025");
            for number in 0..1022 {
                codec::write_header(format!("h{number}").as_bytes(), HeaderValue::Bool(true), &mut headers);
            }
        }
    }
    let message_type = if value_len.is_some() && side == Side::Server { 3 } else { 2 };
    let message = encode(&headers, message_type, 0, 0, b"");
    assert_eq!(message.len(), len, "{case}: the description was misunderstood");
    message
}

/// A message with the three headers of the protocol after the given ones.
pub fn encode(headers: &[u8], message_type: i32, flags: i32, stream_id: i32, payload: &[u8]) -> Vec<u8> {
    let mut protocol = Vec::new();
    for (name, value) in [(":message-type", message_type), (":message-flags", flags), (":stream-id", stream_id)] {
        codec::write_header(name.as_bytes(), HeaderValue::Int32(value), &mut protocol);
    }
    let mut message = Vec::new();
    codec::encode_into(&[headers, &protocol], payload, &mut message);
    message
}

pub fn strings(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in headers {
        codec::write_header(name.as_bytes(), HeaderValue::String(value.as_bytes()), &mut bytes);
    }
    bytes
}

/// The same messages with their headers in the order in which this library writes them.
pub fn in_our_order(outcome: &mut Outcome) {
    for described in &mut outcome.sent {
        let hex = described.split(' ').next_back().expect("a message in hex");
        let message = from_hex(hex);
        let (decoded, _) = decode(&message).expect("a sound message");
        let (mut own, mut protocol, mut operation) = (Vec::new(), Vec::new(), Vec::new());
        for header in decoded.headers.iter() {
            let part = match header.name {
                OPERATION_HEADER => &mut operation,
                name if is_protocol_header(name) => &mut protocol,
                _ => &mut own,
            };
            codec::write_header(header.name, header.value, part);
        }
        let mut reordered = Vec::new();
        codec::encode_into(&[&own, &protocol, &operation], decoded.payload, &mut reordered);
        *described = describe(&reordered);
    }
}

/// A callback of the recorded side, as our recorders write it.
fn event(event: &Value) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or_else(|| panic!("no {key} in {event}"));
    let number = |key: &str| event[key].as_u64().unwrap_or_else(|| panic!("no {key} in {event}"));
    let status = || status_of(text("error"));
    match (text("ev"), event.get("payload_hex").and_then(Value::as_str)) {
        ("new_connection", _) => "new_connection".to_owned(),
        ("setup", _) => format!("setup {}", status()),
        // The recorded side calls back with the reason for which it did not take a message; here the send returns it.
        ("flushed", _) if status() != "OK" => format!("not sent {} {}", text("what"), status()),
        ("flushed", _) => format!("flushed {} OK", text("what")),
        ("stream_send_failed", _) => format!("not sent on {} {}", number("id"), status()),
        ("protocol_message", None) => {
            let (name, flags, headers) = (text("type"), number("flags"), number("headers"));
            format!("protocol_message {name} flags={flags} payload_len={} headers={headers}", number("payload_len"))
        }
        ("protocol_message", Some(payload)) => {
            let (name, flags, headers) = (text("type"), number("flags"), number("headers"));
            format!("protocol_message {name} flags={flags} headers={headers} payload={payload}")
        }
        ("continuation_message", None) => {
            let (operation, n, name, flags) = (text("op"), number("n"), text("type"), number("flags"));
            let (payload_len, headers) = (number("payload_len"), number("headers"));
            format!("stream_message {operation} n={n} {name} flags={flags} payload_len={payload_len} headers={headers}")
        }
        ("continuation_message", Some(payload)) => {
            let (id, name, flags, headers) = (number("id"), text("type"), number("flags"), number("headers"));
            let closed = event["is_closed_in_callback"].as_bool().expect("a bool");
            format!("stream_message {id} {name} flags={flags} headers={headers} closed={closed} payload={payload}")
        }
        ("continuation_closed", _) => match event.get("op") {
            Some(_) => format!("stream_closed {}", text("op")),
            None => format!("stream_closed {}", number("id")),
        },
        ("incoming_stream", _) => format!("incoming_stream {}", text("op")),
        ("incoming_stream_refused", _) => "incoming_stream_refused".to_owned(),
        ("not_acking", _) => "not_acking".to_owned(),
        ("is_open", _) => format!("is_open {}", event["value"]),
        ("shutdown" | "connection_shutdown", _) => format!("shutdown {}", status()),
        (other, _) => panic!("no event {other}"),
    }
}

/// Our status for an error of the recorded side.
fn status_of(error: &str) -> &'static str {
    match error {
        "AWS_ERROR_SUCCESS" => "OK",
        "AWS_IO_SOCKET_CLOSED" => "PEER_CLOSED",
        "AWS_ERROR_EVENT_STREAM_RPC_PROTOCOL_ERROR" => "PROTOCOL_VIOLATION",
        "AWS_ERROR_EVENT_STREAM_RPC_CONNECTION_CLOSED" => "CONNECTION_CLOSED",
        "AWS_ERROR_EVENT_STREAM_RPC_STREAM_CLOSED" => "STREAM_CLOSED",
        "AWS_ERROR_EVENT_STREAM_RPC_STREAM_NOT_ACTIVATED" => "STREAM_NOT_ACTIVATED",
        "AWS_ERROR_EVENT_STREAM_PRELUDE_CHECKSUM_FAILURE" => "PRELUDE_CHECKSUM",
        "AWS_ERROR_EVENT_STREAM_MESSAGE_CHECKSUM_FAILURE" => "MESSAGE_CHECKSUM",
        "AWS_ERROR_EVENT_STREAM_BUFFER_LENGTH_MISMATCH" => "MESSAGE_LENGTH",
        "AWS_ERROR_EVENT_STREAM_MESSAGE_INVALID_HEADERS_LEN" => "HEADERS_LENGTH",
        "AWS_ERROR_EVENT_STREAM_MESSAGE_FIELD_SIZE_EXCEEDED" => "MESSAGE_TOO_LARGE",
        other => panic!("no status for {other}"),
    }
}

impl Case {
    /// What the recorded side did.
    pub fn recorded(&self, side: Side) -> Outcome {
        let sent = self.steps.iter().filter_map(|step| match step {
            Step::Send(from, bytes) if *from == side => Some(describe(bytes)),
            _ => None,
        });
        let events = if side == Side::Server { &self.server_events } else { &self.client_events };
        Outcome { sent: sent.collect(), events: events.clone(), stays_open: self.stays_open }
    }

    /// What our side has to do.
    pub fn expected(&self, side: Side, table: &[Difference]) -> Outcome {
        let recorded = self.recorded(side);
        let mut expected = recorded.clone();
        for difference in table.iter().filter(|difference| difference.case == self.name) {
            (difference.ours)(&mut expected);
            assert!(expected != recorded, "{}: there is no difference; {}", self.name, difference.rule);
        }
        expected
    }

    /// The position after which the bytes of one side are no messages any more, if there is one: the reader ends
    /// the connection there, and the system resets the connection for bytes beyond.
    pub fn damaged_from(&self, side: Side) -> usize {
        let sends = self.steps.iter().filter_map(|step| match step {
            Step::Send(from, bytes) if *from == side => Some(&bytes[..]),
            _ => None,
        });
        let all = sends.collect::<Vec<_>>().concat();
        let mut at = 0;
        while at < all.len() {
            let total_len = all[at..].first_chunk().map_or(0, |len| u32::from_be_bytes(*len) as usize);
            match decode(&all[at..]) {
                Ok((_, len)) => at += len,
                Err(codec::Error::Incomplete { .. }) => break,
                Err(codec::Error::MessageChecksum { .. }) => return at + total_len,
                Err(codec::Error::HeaderOverrun { .. } | codec::Error::UnknownHeaderType { .. }) => at += total_len,
                Err(codec::Error::TooManyHeaders { .. }) => at += total_len,
                Err(_) => return at + codec::PRELUDE_LEN,
            }
        }
        usize::MAX
    }
}

impl Outcome {
    /// Exactly one event differs.
    pub fn replace_event(&mut self, from: &str, to: &str) {
        let found = self.events.iter_mut().filter(|event| event.starts_with(from)).map(|event| *event = to.to_owned());
        assert_eq!(found.count(), 1, "{from}");
    }

    pub fn remove_events(&mut self, from: &str) {
        self.events.retain(|event| !event.starts_with(from));
    }
}

/// Every row of the table names a case that exists.
pub fn check_table(cases: &[Case], table: &[Difference]) {
    let names: HashSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    for difference in table {
        assert!(names.contains(difference.case), "the table names an unknown case: {}", difference.case);
    }
}

/// Runs a check of every case, all at once, and reports all that failed.
pub fn check_all(cases: &[Case], check: impl Fn(&Case) -> Result<(), String> + Sync) {
    let failed: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = cases.iter().map(|case| (case, scope.spawn(|| check(case)))).collect();
        let results = threads.into_iter().map(|(case, thread)| match thread.join() {
            Ok(Ok(())) => None,
            Ok(Err(text)) => Some(format!("{}: {text}", case.name)),
            Err(cause) => panic::resume_unwind(cause),
        });
        results.flatten().collect()
    });
    assert!(failed.is_empty(), "{} cases failed\n{}", failed.len(), failed.join("\n"));
}

/// Whether our side did what it has to do.
pub fn compare(expected: &Outcome, ours: &Outcome) -> Result<(), String> {
    if ours == expected {
        return Ok(());
    }
    Err(format!("expected {expected:#?}\nours {ours:#?}"))
}

/// A message as it is compared: byte for byte, but error messages of the library by type and flags only.
pub fn describe(message: &[u8]) -> String {
    let hex: String = message.iter().map(|byte| format!("{byte:02x}")).collect();
    let Ok((decoded, _)) = decode(message) else { return format!("no message {hex}") };
    let envelope = Envelope::read(&decoded.headers);
    let name = envelope.message_type.and_then(|number| TYPE_NAMES.get(usize::try_from(number).ok()?));
    match (name, envelope.flags, envelope.stream_id) {
        (Some(name @ &("PROTOCOL_ERROR" | "INTERNAL_ERROR")), Some(flags), Some(0)) => format!("{name} flags={flags}"),
        _ => format!("{} {hex}", name.unwrap_or(&"unknown type")),
    }
}

/// A PROTOCOL_ERROR of this library says what was wrong, as a JSON object with `message`.
fn check_error_message(message: &[u8]) -> Result<(), String> {
    let (decoded, _) = decode(message).map_err(|error| error.to_string())?;
    let content_type =
        decoded.headers.find(b":content-type").and_then(|header| header.header()).map(|header| header.value);
    let payload: Value = serde_json::from_slice(decoded.payload).map_err(|error| error.to_string())?;
    let is_good = content_type == Some(HeaderValue::String(b"application/json")) && payload["message"].is_string();
    if is_good { Ok(()) } else { Err(format!("an error message without a message: {payload}")) }
}

pub fn decode(bytes: &[u8]) -> Result<(Message<'_>, usize), codec::Error> {
    Message::decode(bytes, &Limits::default())
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
    digits.collect::<Result<_, _>>().expect("hex")
}

/// The side of the conversation without the library: plain bytes on a socket.
pub struct RawPeer {
    stream: TcpStream,
    pace: Pace,
    left_to_write: usize,
    last_write: Instant,
    is_half_closed: bool,
}

impl RawPeer {
    /// `damaged_from`: nothing is written beyond that, counted over all writes, when it goes byte by byte.
    pub fn new(stream: TcpStream, pace: Pace, damaged_from: usize) -> RawPeer {
        stream.set_nodelay(true).expect("a live socket");
        stream.set_read_timeout(Some(super::recorder::PATIENCE)).expect("a live socket");
        stream.set_write_timeout(Some(super::recorder::PATIENCE)).expect("a live socket");
        let left_to_write = if pace == Pace::ByteByByte { damaged_from } else { usize::MAX };
        RawPeer { stream, pace, left_to_write, last_write: Instant::now(), is_half_closed: false }
    }

    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// When the last write began.
    pub fn last_write(&self) -> Instant {
        self.last_write
    }

    pub fn is_half_closed(&self) -> bool {
        self.is_half_closed
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let bytes = &bytes[..bytes.len().min(self.left_to_write)];
        self.left_to_write -= bytes.len();
        self.last_write = Instant::now();
        let step = if self.pace == Pace::ByteByByte && bytes.len() <= BYTEWISE_LEN { 1 } else { bytes.len().max(1) };
        bytes.chunks(step).try_for_each(|chunk| self.stream.write_all(chunk)).map_err(|error| format!("write: {error}"))
    }

    /// The next message, described; nothing at the end of the stream, which has to be a clean one.
    pub fn read_message(&mut self) -> Result<Option<String>, String> {
        let mut message = vec![0; codec::PRELUDE_LEN];
        match self.stream.read(&mut message[..1]) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err("reset, not closed".to_owned()),
            Err(error) => return Err(format!("read: {error}")),
        }
        let inside = |error| format!("inside a message: {error}");
        self.stream.read_exact(&mut message[1..]).map_err(inside)?;
        let total_len = message.first_chunk().map_or(0, |len| u32::from_be_bytes(*len) as usize);
        let start = message.len();
        message.resize(total_len.max(start), 0);
        self.stream.read_exact(&mut message[start..]).map_err(inside)?;
        let described = describe(&message);
        if described.starts_with("PROTOCOL_ERROR") {
            check_error_message(&message)?;
        }
        Ok(Some(described))
    }

    /// Reads until there are `count` messages, or the stream ends.
    pub fn read_up_to(&mut self, count: usize, messages: &mut Vec<String>) -> Result<(), String> {
        while messages.len() < count {
            match self.read_message()? {
                Some(message) => messages.push(message),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Sends the end of the stream; reading goes on.
    pub fn half_close(&mut self) {
        self.is_half_closed = true;
        // An error means that the other side has closed already, which the next read shows.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}
