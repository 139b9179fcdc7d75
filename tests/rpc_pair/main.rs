//! Two state machines of the RPC protocol, a client's and a server's, connected in memory. Bytes are moved by hand, so
//! every cut and every order of events can be had.

mod encoding;
mod ending;
mod handshake;
mod in_transit;
mod limits;
mod pings;
mod pressure;
mod refusals;
mod streams;
mod violations;

use eventstream_rpc::codec::{self, HeaderList, HeaderValue, Message};
use eventstream_rpc::rpc::{
    self, CONNECTION_ACCEPTED, Connection, Ended, Ending, Error, Limits, MessageType, Outgoing, Received, Role,
    TERMINATE_STREAM, Written,
};
use std::collections::VecDeque;
use std::mem;
use std::time::Instant;

const HANDSHAKE_LIMIT: usize = 64 * 1024;
const OUTBOUND_LIMIT: usize = 1024 * 1024;

/// Streams and those who wait for a send are known by name.
type Name = &'static str;

/// One side, and the bytes that it has not decoded yet.
struct Side {
    rpc: Connection<Name, Name>,
    input: Vec<u8>,
    /// The time at which messages come.
    now: Instant,
}

impl Side {
    fn new(role: Role) -> Side {
        Side::with_outbound_limit(role, OUTBOUND_LIMIT)
    }

    fn with_outbound_limit(role: Role, outbound: usize) -> Side {
        Side::with_limits(role, Limits { max_handshake_message_len: HANDSHAKE_LIMIT, outbound, ..Limits::default() })
    }

    fn with_limits(role: Role, limits: Limits) -> Side {
        let rpc = Connection::new(role, limits);
        Side { rpc, input: Vec::new(), now: Instant::now() }
    }

    fn send(&mut self, message_type: MessageType, flags: i32) -> Result<Option<Ending>, Error> {
        self.send_for("", message_type, flags)
    }

    /// Sends a protocol message that `token` waits for; "" is nobody.
    fn send_for(&mut self, token: Name, message_type: MessageType, flags: i32) -> Result<Option<Ending>, Error> {
        let message = Outgoing::empty(message_type, flags);
        let message = message.prepare(false, self.rpc.limits())?;
        self.rpc.send_protocol(message, (!token.is_empty()).then_some(token))
    }

    fn activate(&mut self, stream: Name, flags: i32) -> Result<i32, Error> {
        let operation = Some(stream.as_bytes());
        let message = Outgoing { operation, ..Outgoing::empty(MessageType::ApplicationMessage, flags) };
        let message = message.prepare(true, self.rpc.limits())?;
        self.rpc.activate(stream, message, Some(stream))
    }

    fn send_on(&mut self, id: i32, token: Name, flags: i32) -> Result<(), Error> {
        self.send_payload_on(id, token, flags, token.as_bytes())
    }

    fn send_payload_on(&mut self, id: i32, token: Name, flags: i32, payload: &[u8]) -> Result<(), Error> {
        let message = Outgoing { payload, ..Outgoing::empty(MessageType::ApplicationMessage, flags) };
        let message = message.prepare(true, self.rpc.limits())?;
        self.rpc.send_on_stream(id, message, Some(token), false)
    }

    /// Ends a stream as the library does for the application: empty, and exempt from the outbound limit.
    fn end_stream(&mut self, id: i32) -> Result<(), Error> {
        let message = Outgoing::empty(MessageType::ApplicationMessage, TERMINATE_STREAM);
        self.rpc.send_on_stream(id, message.prepare(true, self.rpc.limits())?, None, true)
    }

    fn accept_stream(&mut self, id: i32, stream: Name) {
        assert_eq!(self.rpc.accept_stream(id, stream, stream.len()), Ok(()));
    }

    /// Takes what waits to be written; the writing itself is told by `wrote`.
    fn take(&mut self) -> Vec<u8> {
        let mut segments = VecDeque::new();
        self.rpc.take_segments(&mut segments);
        segments.into_iter().flatten().collect()
    }

    fn wrote(&mut self, count: usize) -> Vec<Written<Name>> {
        let mut due = VecDeque::new();
        self.rpc.written(count, &mut due);
        due.into_iter().map(|due| due.written).filter(|due| due.terminates || due.token.is_some()).collect()
    }

    /// Takes and writes everything.
    fn flush(&mut self) -> (Vec<u8>, Vec<Written<Name>>) {
        let bytes = self.take();
        let due = self.wrote(bytes.len());
        (bytes, due)
    }

    /// Decodes the next whole message and takes it in; nothing if there is none.
    fn receive_next(&mut self) -> Option<Result<Received<Name, Name>, String>> {
        let input = mem::take(&mut self.input);
        match Message::decode(&input, &self.rpc.receive_limits()) {
            Ok((message, len)) => {
                let received = self.rpc.receive(&message, self.now).map_err(|violation| violation.to_string());
                self.input = input[len..].to_vec();
                Some(received)
            }
            Err(codec::Error::Incomplete { .. }) => {
                self.input = input;
                None
            }
            Err(error) => Some(Err(error.to_string())),
        }
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<Vec<Received<Name, Name>>, String> {
        self.input.extend_from_slice(bytes);
        let mut all = Vec::new();
        while let Some(received) = self.receive_next() {
            all.push(received?);
        }
        Ok(all)
    }

    fn receive_one(&mut self, bytes: &[u8]) -> Result<Received<Name, Name>, String> {
        let mut all = self.receive(bytes)?;
        assert_eq!(all.len(), 1, "{all:?}");
        Ok(all.remove(0))
    }
}

/// Moves everything that `from` has queued.
fn transfer(from: &mut Side, to: &mut Side) -> Vec<Received<Name, Name>> {
    let (bytes, _) = from.flush();
    to.receive(&bytes).expect("no violation")
}

/// Client and server after an accepted handshake.
fn open_pair() -> (Side, Side) {
    opened(Side::new(Role::Client), Side::new(Role::Server))
}

fn opened(mut client: Side, mut server: Side) -> (Side, Side) {
    client.send(MessageType::Connect, 0).expect("CONNECT is first");
    transfer(&mut client, &mut server);
    server.send(MessageType::ConnectAck, CONNECTION_ACCEPTED).expect("CONNECT came");
    transfer(&mut server, &mut client);
    assert!(client.rpc.is_handshake_done() && server.rpc.is_handshake_done());
    (client, server)
}

/// As `open_pair`, with streams 1 "a" and 2 "b" open on both sides and nothing under way.
fn pair_with_two_streams() -> (Side, Side) {
    let (mut client, mut server) = open_pair();
    for (id, stream) in [(1, "a"), (2, "b")] {
        assert_eq!(client.activate(stream, 0), Ok(id));
        assert_eq!(transfer(&mut client, &mut server), [Received::NewStream { id, ends: false }]);
        server.accept_stream(id, stream);
    }
    (client, server)
}

fn protocol(message_type: MessageType) -> Received<Name, Name> {
    Received::Protocol { message_type, ending: None, handled: false }
}

fn on(stream: Name) -> Received<Name, Name> {
    Received::Stream { stream, ended: None }
}

fn ended(stream: Name, cancelled: &[Name]) -> Received<Name, Name> {
    Received::Stream { stream, ended: Some(cancelled.to_vec()) }
}

fn written(stream_id: i32, token: Name) -> Written<Name> {
    Written { stream_id, terminates: false, token: Some(token) }
}

/// The bytes of any message, also of those that no side would send.
fn raw(message_type: i32, flags: i32, stream_id: i32, operation: Option<&[u8]>) -> Vec<u8> {
    let mut headers = HeaderList::new();
    let fields: [(&[u8], i32); 3] =
        [(b":message-type", message_type), (b":message-flags", flags), (b":stream-id", stream_id)];
    for (name, number) in fields {
        headers.add(name, HeaderValue::Int32(number)).expect("a good header");
    }
    if let Some(operation) = operation {
        headers.add(b"operation", HeaderValue::String(operation)).expect("a good header");
    }
    let mut bytes = Vec::new();
    codec::encode_into(&[headers.as_bytes()], b"", &mut bytes);
    bytes
}

/// Type, flags, stream id and text of a message with which the library says something to people.
fn text_of(bytes: &[u8]) -> (MessageType, i32, i32, String) {
    let (message, len) = Message::decode(bytes, &codec::Limits::DEFAULT).expect("a message");
    assert_eq!(len, bytes.len(), "one message");
    let content_type = message.headers.find(b":content-type").and_then(|header| header.data);
    assert_eq!(content_type, Some(&b"application/json"[..]));
    let payload: serde_json::Value = serde_json::from_slice(message.payload).expect("JSON");
    let envelope = rpc::Envelope::read(&message.headers);
    let [message_type, flags, id] =
        [envelope.message_type, envelope.flags, envelope.stream_id].map(|number| number.expect("a header"));
    let message_type = MessageType::from_number(message_type).expect("a known type");
    (message_type, flags, id, payload["message"].as_str().expect("a text").to_owned())
}

const PROTOCOL_TYPES: [MessageType; 6] = [
    MessageType::Ping,
    MessageType::PingResponse,
    MessageType::Connect,
    MessageType::ConnectAck,
    MessageType::ProtocolError,
    MessageType::InternalError,
];
