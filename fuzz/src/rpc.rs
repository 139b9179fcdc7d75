//! One side of an RPC connection, or two that are connected in memory, under arbitrary bytes and arbitrary calls, against a
//! simple model of the protocol.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use eventstream_rpc::codec::{self, HeaderList, HeaderType, HeaderValue, Message};
use eventstream_rpc::rpc::{
    CONNECTION_ACCEPTED, Connection, Counts, Defect, Ending, Envelope, Error, Limits, MAX_EXEMPT_LEN, MessageType,
    Outgoing, Rate, Received, Refusal, Role, StreamState, TERMINATE_STREAM, Violation, Written,
};

const MAX_STEPS: usize = 300;
/// Each message holds three headers of the protocol, of 55 bytes, and those of the format, of 16.
const SMALLEST_MESSAGE: usize = 71;

#[derive(Arbitrary, Debug)]
struct Settings {
    message_limit: u8,
    handshake_limit: u8,
    outbound_limit: u8,
    is_shaken: bool,
}

impl Settings {
    fn limits(&self) -> Limits {
        let defaults = Limits::default();
        Limits {
            messages: codec::Limits { max_message_len: self.max_message_len(), ..defaults.messages },
            max_handshake_message_len: self.max_handshake_message_len(),
            outbound: self.outbound_limit(),
            max_streams: self.max_streams().unwrap_or(defaults.max_streams),
            abnormal_events: self.abnormal_events().unwrap_or(defaults.abnormal_events),
            ping_answers: None,
        }
    }

    fn max_message_len(&self) -> usize {
        match self.message_limit % 4 {
            0 => 100 + usize::from(self.message_limit),
            1 => 3000,
            _ => codec::Limits::ON_CONNECTION.max_message_len,
        }
    }

    fn max_handshake_message_len(&self) -> usize {
        if self.handshake_limit < 128 { 50 + usize::from(self.handshake_limit) } else { 64 * 1024 }
    }

    fn outbound_limit(&self) -> usize {
        match self.outbound_limit % 4 {
            0 => usize::from(self.outbound_limit),
            1 => 4 * usize::from(self.outbound_limit),
            _ => 64 * 1024,
        }
    }

    /// The bits that are left where the limit of the handshake is wide.
    fn max_streams(&self) -> Option<usize> {
        (128..160).contains(&self.handshake_limit).then(|| usize::from(self.handshake_limit - 127))
    }

    /// The bits that are left where the outbound limit is wide.
    fn abnormal_events(&self) -> Option<Rate> {
        let bits = u32::from(self.outbound_limit / 4);
        let is_tight = self.outbound_limit % 4 == 3;
        is_tight.then(|| Rate { per_second: 1 << (bits / 4), burst: 1 + bits % 4 })
    }
}

/// What the application and the library around the state machine do.
#[derive(Arbitrary, Debug)]
enum Call {
    SendProtocol {
        message: Text,
        message_type: u8,
        waits: bool,
    },
    SendKeepAlive,
    Activate {
        message: Text,
        operation: u16,
        is_error: bool,
        waits: bool,
    },
    SendOnStream {
        stream: u8,
        message: Text,
        is_error: bool,
        waits: bool,
        exempt: bool,
    },
    CutStream {
        stream: u8,
    },
    CloseSending,
    Take,
    Written {
        count: u16,
    },
    Rest,
    Violate,
    End,
    /// Every number is odd: one such is 1 in 200.
    SendOdd {
        message_type: i32,
        on_stream: bool,
        reserved: u8,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Text {
    flags: u8,
    len: u16,
    header: bool,
}

impl Text {
    fn flags(self) -> i32 {
        match self.flags {
            0..100 => 0,
            100..150 => TERMINATE_STREAM,
            150..210 => CONNECTION_ACCEPTED,
            210..230 => CONNECTION_ACCEPTED | TERMINATE_STREAM,
            _ => !(i32::from(self.flags) & TERMINATE_STREAM),
        }
    }

    /// Seldom so much that it is encoded before.
    fn payload(self) -> Vec<u8> {
        let len = usize::from(self.len);
        vec![self.flags; if len % 16 == 0 { len / 3 } else { len % 100 }]
    }
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Call(Call),
    /// A good message, but perhaps one that the protocol does not allow here.
    Message {
        message_type: i8,
        flags: u8,
        stream: i8,
        operation: Option<u8>,
        payload: u8,
    },
    /// Headers as they come.
    Headers(&'a [u8]),
    Bytes(&'a [u8]),
    /// How the next streams are met: a bit each, 1 accepts. As many milliseconds pass.
    Policy(u8),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Handshake {
    Start,
    Connecting,
    Done,
    Refused,
}

#[derive(Debug)]
struct OpenStream {
    key: u32,
    ended_here: bool,
    ended_by_peer: bool,
    /// The server has sent something on it.
    is_answered: bool,
}

/// What is left of a limit's burst, as the time in which it comes back.
struct Bucket {
    rate: Rate,
    left: Duration,
    at: Instant,
}

impl Bucket {
    fn new(rate: Rate, now: Instant) -> Bucket {
        let mut bucket = Bucket { rate, left: Duration::ZERO, at: now };
        bucket.left = bucket.burst();
        bucket
    }

    fn one(&self) -> Duration {
        Duration::from_nanos(1_000_000_000 / u64::from(self.rate.per_second))
    }

    fn burst(&self) -> Duration {
        self.one() * self.rate.burst
    }

    fn take(&mut self, now: Instant) -> bool {
        self.left = self.burst().min(self.left + (now - self.at));
        self.at = now;
        let left = self.left.checked_sub(self.one());
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

/// A message that was accepted for sending.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    message_type: i32,
    flags: i32,
    id: i32,
    payload: Vec<u8>,
    operation: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Waiting {
    end: u64,
    id: i32,
    terminates: bool,
    token: Option<u32>,
}

struct Side {
    rpc: Connection<u32, u32>,
    role: Role,
    limits: Limits,
    now: Instant,
    input: Vec<u8>,
    /// Written, and not yet at the peer.
    wire: VecDeque<u8>,
    moved: VecDeque<Vec<u8>>,
    policy: u8,

    // The model.
    handshake: Handshake,
    last_id: i32,
    streams: BTreeMap<i32, OpenStream>,
    sending_closed: bool,
    queue: VecDeque<Waiting>,
    queued: u64,
    taken: u64,
    written: u64,
    /// The most that waited at a time.
    most: u64,
    /// Of messages that are taken whatever the limit.
    exempt: Vec<(u64, u64)>,
    abnormal_events: Bucket,
    counts: Counts,
    next_key: u32,
    next_token: u32,
    /// Keep-alive PINGs and others that are not answered, in order.
    pings: VecDeque<bool>,
    /// Tokens of accepted sends that were not given back yet.
    owed: Vec<u32>,
    /// Nothing more is dispatched: a violation, or an end.
    is_over: bool,
    has_ended: bool,
    sent: VecDeque<Sent>,
    /// A stream of this side may stay open on the other one.
    has_lost_ends: bool,
}

impl Side {
    fn new(role: Role, settings: &Settings) -> Side {
        let (limits, now) = (settings.limits(), Instant::now());
        Side {
            rpc: Connection::new(role, limits),
            role,
            limits,
            now,
            input: Vec::new(),
            wire: VecDeque::new(),
            moved: VecDeque::new(),
            policy: 0xff,
            handshake: Handshake::Start,
            last_id: 0,
            streams: BTreeMap::new(),
            sending_closed: false,
            queue: VecDeque::new(),
            queued: 0,
            taken: 0,
            written: 0,
            most: 0,
            exempt: Vec::new(),
            abnormal_events: Bucket::new(limits.abnormal_events, now),
            counts: Counts::default(),
            next_key: 0,
            next_token: 0,
            pings: VecDeque::new(),
            owed: Vec::new(),
            is_over: false,
            has_ended: false,
            sent: VecDeque::new(),
            has_lost_ends: false,
        }
    }

    fn check(&self) {
        for (id, stream) in &self.streams {
            let state = match (stream.ended_here, stream.ended_by_peer) {
                (_, true) => StreamState::Closed,
                (true, false) => StreamState::Closing,
                (false, false) => StreamState::Open,
            };
            assert_eq!(self.rpc.stream_state(*id), state);
        }
        assert_eq!(self.rpc.outbound_positions(), (self.queued, self.written));
        assert_eq!(self.rpc.outbound_len() as u64, self.queued - self.written);
        assert_eq!(self.rpc.open_streams(), self.streams.len());
        assert_eq!(self.rpc.is_handshake_done(), self.handshake == Handshake::Done);
        assert_eq!(self.rpc.counts(), self.counts);
        assert_eq!(self.rpc.most_outbound_len() as u64, self.most);
        let left_of = |(start, end): &(u64, u64)| *end.max(&self.written) - *start.max(&self.written);
        let exempt: u64 = self.exempt.iter().map(left_of).sum();
        assert_eq!(self.rpc.must_not_read(), self.role == Role::Server && exempt > MAX_EXEMPT_LEN as u64);
        let longest = self.limits.messages.max_message_len;
        let in_handshake = longest.min(self.limits.max_handshake_message_len);
        let longest = if self.handshake == Handshake::Done { longest } else { in_handshake };
        assert_eq!(self.rpc.receive_limits(), codec::Limits { max_message_len: longest, ..self.limits.messages });
    }

    /// The id of an open stream, or, now and then, any.
    fn pick(&self, stream: u8) -> i32 {
        let index = usize::from(stream & 0x7f);
        if stream < 0x80 && !self.streams.is_empty() {
            *self.streams.keys().nth(index % self.streams.len()).expect("an index below the length")
        } else {
            i32::from(stream & 0x7f) - 2
        }
    }

    fn token(&mut self, waits: bool) -> Option<u32> {
        self.next_token += 1;
        waits.then_some(self.next_token)
    }

    /// Asked of what would be accepted otherwise.
    fn has_room(&mut self) -> bool {
        let has_room = ((self.queued - self.written) as usize) < self.limits.outbound;
        self.counts.sends_refused += u64::from(!has_room);
        has_room
    }

    /// Notes in the model that a message was accepted.
    fn queue(&mut self, sent: Sent, own_len: usize, terminates: bool, token: Option<u32>) {
        let operation = sent.operation.as_ref().map_or(0, |operation| 13 + operation.len());
        self.queued += (SMALLEST_MESSAGE + own_len + operation + sent.payload.len()) as u64;
        self.most = self.most.max(self.queued - self.written);
        self.counts.messages_sent += 1;
        self.owed.extend(token);
        if token.is_some() || (terminates && sent.id != 0) {
            self.queue.push_back(Waiting { end: self.queued, id: sent.id, terminates, token });
        }
        self.sent.push_back(sent);
    }

    /// The same for a message that is taken whatever the limit.
    fn queue_exempt(&mut self, sent: Sent, own_len: usize, terminates: bool, token: Option<u32>) {
        let start = self.queued;
        self.queue(sent, own_len, terminates, token);
        self.exempt.push((start, self.queued));
    }

    /// These senders are told now, and never again.
    fn give_back(&mut self, tokens: impl IntoIterator<Item = u32>) {
        for token in tokens {
            let at = self.owed.iter().position(|owed| *owed == token).expect("each token comes back once");
            self.owed.remove(at);
        }
    }

    /// In the model: takes those that wait for a stream's messages, as the peer's end and a cut do.
    fn cancel(&mut self, id: i32) -> Vec<u32> {
        let (cancelled, left) = mem::take(&mut self.queue).into_iter().partition(|waiting| waiting.id == id);
        self.queue = left;
        let cancelled: VecDeque<Waiting> = cancelled;
        cancelled.into_iter().filter_map(|waiting| waiting.token).collect()
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::SendProtocol { message, message_type, waits } => self.send_protocol(message, message_type, waits),
            Call::SendKeepAlive => self.send_keep_alive(),
            // The layer above opens streams of clients only.
            Call::Activate { .. } if self.role == Role::Server => {}
            Call::Activate { message, operation, is_error, waits } => {
                self.activate(message, operation, is_error, waits);
            }
            Call::SendOnStream { stream, message, is_error, waits, exempt } => {
                self.send_on_stream(self.pick(stream), message, is_error, waits, exempt);
            }
            Call::CutStream { stream } => self.cut_stream(self.pick(stream)),
            Call::CloseSending => {
                self.rpc.close_sending();
                self.sending_closed = true;
            }
            Call::Take => self.take(),
            Call::Written { count } => self.write(count.into()),
            Call::Rest => self.rpc.rest(),
            Call::Violate => self.violate(),
            Call::End => self.end(),
            Call::SendOdd { message_type, on_stream, reserved } => self.refuse_odd(message_type, on_stream, reserved),
        }
    }

    /// What the model says of a protocol message.
    fn may_send(&self, message_type: MessageType) -> Result<(), &'static str> {
        use MessageType::*;
        match (self.role, message_type) {
            (Role::Client, ConnectAck) | (Role::Server, Connect) => Err("wrong"),
            (Role::Client, Connect) if self.handshake == Handshake::Start => Ok(()),
            (Role::Client, Connect) => Err("done"),
            (Role::Server, ConnectAck) if self.handshake == Handshake::Connecting => Ok(()),
            (Role::Server, ConnectAck) if self.handshake == Handshake::Start => Err("pending"),
            (Role::Server, ConnectAck) => Err("done"),
            (Role::Server, ProtocolError | InternalError) => Ok(()),
            _ if matches!(self.handshake, Handshake::Start | Handshake::Connecting) => Err("pending"),
            _ => Ok(()),
        }
    }

    fn send_protocol(&mut self, message: Text, message_type: u8, waits: bool) {
        let (message_type, flags, token) = (protocol_type(message_type), message.flags(), self.token(waits));
        let (headers, payload) = (own_headers(message), message.payload());
        let outgoing = Outgoing {
            message_type: message_type as i32,
            flags,
            headers: Some(&headers),
            operation: None,
            payload: &payload,
        };
        let Some(prepared) = self.prepare(&outgoing, false) else { return };
        let result = self.rpc.send_protocol(prepared, token);
        let expected = self.may_send(message_type);
        let name = match &result {
            Ok(_) => "accepted",
            Err(error) => error_name(error),
        };
        if self.sending_closed {
            return assert_eq!(name, "closed");
        }
        if let Err(expected) = expected {
            return assert_eq!(name, expected);
        }
        if !self.has_room() {
            return assert_eq!(name, "would block");
        }
        let ending = match (message_type, flags & CONNECTION_ACCEPTED != 0) {
            (MessageType::ConnectAck, false) => {
                self.handshake = Handshake::Refused;
                Some(Ending::Refused)
            }
            (MessageType::ConnectAck, true) => {
                self.handshake = Handshake::Done;
                (flags & TERMINATE_STREAM != 0).then_some(Ending::Terminated)
            }
            (MessageType::Connect, _) => {
                self.handshake = Handshake::Connecting;
                (flags & TERMINATE_STREAM != 0).then_some(Ending::Terminated)
            }
            _ => (flags & TERMINATE_STREAM != 0).then_some(Ending::Terminated),
        };
        assert_eq!(result, Ok(ending));
        self.sending_closed = ending.is_some();
        if message_type == MessageType::Ping {
            self.pings.push_back(false);
        }
        self.queue(sent(&outgoing, 0), headers.as_bytes().len(), false, token);
    }

    /// As the library does on its own account.
    fn send_keep_alive(&mut self) {
        let outgoing = Outgoing::empty(MessageType::Ping, 0);
        let fits = self.prepare(&outgoing, false).is_some();
        let is_sent = self.rpc.send_keep_alive();
        assert_eq!(is_sent, fits && !self.sending_closed && self.may_send(MessageType::Ping).is_ok());
        if is_sent {
            self.pings.push_back(true);
            self.queue_exempt(sent(&outgoing, 0), 0, false, None);
        }
    }

    fn activate(&mut self, message: Text, operation: u16, is_error: bool, waits: bool) {
        let (flags, token) = (message.flags(), self.token(waits));
        let (headers, payload) = (own_headers(message), message.payload());
        let operation = vec![b'o'; usize::from(operation % 80) + 1];
        let outgoing = Outgoing {
            message_type: application_type(is_error),
            flags,
            headers: Some(&headers),
            operation: Some(&operation),
            payload: &payload,
        };
        let key = self.next_key;
        let Some(prepared) = self.prepare(&outgoing, true) else { return };
        let result = self.rpc.activate(key, prepared, token);
        if self.sending_closed {
            return assert_eq!(result, Err(Error::ConnectionClosed));
        }
        if self.handshake != Handshake::Done {
            return assert!(matches!(result, Err(Error::HandshakePending(_))));
        }
        if !self.has_room() {
            return assert!(matches!(result, Err(Error::WouldBlock { .. })));
        }
        assert_eq!(result, Ok(self.last_id + 1), "ids rise by one");
        self.last_id += 1;
        self.next_key += 1;
        let ended_here = flags & TERMINATE_STREAM != 0;
        self.streams.insert(self.last_id, OpenStream { key, ended_here, ended_by_peer: false, is_answered: true });
        self.counts.streams_opened += 1;
        self.queue(sent(&outgoing, self.last_id), headers.as_bytes().len(), ended_here, token);
    }

    fn send_on_stream(&mut self, id: i32, message: Text, is_error: bool, waits: bool, exempt: bool) {
        let (flags, token) = (message.flags(), self.token(waits));
        let (headers, payload) = (own_headers(message), message.payload());
        let message_type = application_type(is_error);
        let outgoing = Outgoing { message_type, flags, headers: Some(&headers), operation: None, payload: &payload };
        let Some(prepared) = self.prepare(&outgoing, true) else { return };
        let result = self.rpc.send_on_stream(id, prepared, token, exempt);
        if self.sending_closed {
            return assert_eq!(result, Err(Error::ConnectionClosed));
        }
        let is_open = self.streams.get(&id).is_some_and(|stream| !stream.ended_here && !stream.ended_by_peer);
        if !is_open {
            return assert!(matches!(result, Err(Error::StreamClosed(_))));
        }
        if !exempt && !self.has_room() {
            return assert!(matches!(result, Err(Error::WouldBlock { .. })));
        }
        assert_eq!(result, Ok(()));
        let terminates = flags & TERMINATE_STREAM != 0;
        let stream = self.streams.get_mut(&id).expect("an open stream");
        stream.ended_here = terminates;
        stream.is_answered = true;
        let own_len = headers.as_bytes().len();
        if exempt {
            self.queue_exempt(sent(&outgoing, id), own_len, terminates, token);
        } else {
            self.queue(sent(&outgoing, id), own_len, terminates, token);
        }
    }

    /// As a stream's deadline does.
    fn cut_stream(&mut self, id: i32) {
        let outgoing = Outgoing::empty(MessageType::ApplicationMessage, TERMINATE_STREAM);
        let fits = self.prepare(&outgoing, true).is_some();
        let result = self.rpc.cut_stream(id);
        let Some(stream) = self.streams.remove(&id) else { return assert_eq!(result, None) };
        let cancelled = self.cancel(id);
        assert_eq!(result, Some((stream.key, cancelled.clone())));
        self.give_back(cancelled);
        if stream.ended_here || stream.ended_by_peer {
            return;
        }
        if self.sending_closed || !fits {
            self.has_lost_ends = true;
        } else {
            self.queue_exempt(sent(&outgoing, id), 0, false, None);
        }
    }

    /// None of these may be prepared.
    fn refuse_odd(&mut self, message_type: i32, on_stream: bool, reserved: u8) {
        let known = [":message-type", ":message-FLAGS", ":stream-id", "Operation"];
        let mut headers = HeaderList::new();
        let name = known[usize::from(reserved) % known.len()];
        let is_activation = reserved % 8 >= 4 && on_stream;
        let value = if reserved >= 128 { HeaderValue::String(b"text") } else { HeaderValue::Int32(1) };
        headers.add(name.as_bytes(), value).expect("a good header");
        let operation = is_activation.then_some(&b"operation"[..]);
        let outgoing = Outgoing { message_type, flags: 0, headers: Some(&headers), operation, payload: b"" };
        let result = outgoing.prepare(on_stream, &self.limits.messages).map(drop);
        let is_known = (0..8).contains(&message_type);
        if !is_known || (message_type < 2) != on_stream {
            assert!(matches!(result, Err(Error::WrongMessageType(_))));
        } else if name.starts_with(':') || is_activation {
            assert!(matches!(result, Err(Error::ReservedHeader(_))));
        }
    }

    /// A message that keeps the limits, or nothing.
    fn prepare<'a>(&self, outgoing: &'a Outgoing<'a>, on_stream: bool) -> Option<eventstream_rpc::rpc::Prepared<'a>> {
        let own_len = outgoing.headers.map_or(0, |headers| headers.as_bytes().len());
        let operation_len = outgoing.operation.map_or(0, |operation| 13 + operation.len());
        let len = SMALLEST_MESSAGE + own_len + operation_len + outgoing.payload.len();
        let limit = self.limits.messages.max_message_len;
        match outgoing.prepare(on_stream, self.rpc.limits()) {
            Ok(prepared) => {
                assert!(len <= limit);
                Some(prepared)
            }
            Err(error) => {
                assert!(len > limit);
                assert_eq!(error, Error::Codec(codec::Error::MessageTooLarge { len, limit }));
                None
            }
        }
    }

    fn take(&mut self) {
        let before: usize = self.moved.iter().map(Vec::len).sum();
        self.rpc.take_segments(&mut self.moved);
        let after: usize = self.moved.iter().map(Vec::len).sum();
        self.taken += (after - before) as u64;
        if !self.has_ended {
            assert_eq!(self.taken, self.queued, "all of it is moved");
        }
    }

    fn write(&mut self, count: usize) {
        let count = count.min((self.taken - self.written) as usize);
        let mut left = count;
        while let Some(segment) = self.moved.front_mut()
            && left > 0
        {
            let written = left.min(segment.len());
            self.wire.extend(segment.drain(..written));
            left -= written;
            if segment.is_empty() {
                self.moved.pop_front();
            }
        }
        assert_eq!(left, 0, "as many bytes are moved as were taken");
        let mut due = VecDeque::new();
        self.rpc.written(count, &mut due);
        self.written += count as u64;
        let mut told = Vec::new();
        for mark in due {
            let Written { stream_id, terminates, token } = mark.written;
            if token.is_none() && !terminates {
                // Its stream has ended before, and who waited has been told.
                continue;
            }
            let expected = self.queue.pop_front().expect("nobody is told who does not wait");
            assert!(expected.end <= self.written, "told before its last byte has left");
            assert_eq!((stream_id, terminates, token), (expected.id, expected.terminates, expected.token));
            told.extend(token);
            if terminates {
                let stream = self.streams.remove(&stream_id).expect("a stream ends once");
                assert_eq!(self.rpc.remove_stream(stream_id), Some(stream.key));
            }
        }
        self.give_back(told);
        assert!(self.queue.front().is_none_or(|next| next.end > self.written), "told too late");
    }

    /// The peer sends a message whose headers are wrong.
    fn violate(&mut self) {
        let mut bytes = Vec::new();
        codec::encode_into(&[b"\x01a\x0a"], b"", &mut bytes);
        self.judge(codec::Error::UnknownHeaderType { index: 0, header_type: 10 }, &bytes);
    }

    /// The input cannot be decoded.
    fn judge(&mut self, error: codec::Error, bytes: &[u8]) {
        match self.rpc.judge(error.clone(), bytes) {
            Defect::Headers(defect) => {
                assert_eq!(defect, error);
                return self.note_violation(&error.to_string());
            }
            Defect::TooLargeForHandshake { limit, .. } => assert_eq!(limit, self.limits.max_handshake_message_len),
            Defect::Framing(defect) => assert_eq!(defect, error),
        }
        self.rpc.close_sending();
        self.sending_closed = true;
        self.is_over = true;
    }

    /// In the model: the peer broke a rule, and was told if it has to be.
    fn note_violation(&mut self, why: &str) {
        let (headers, payload) = said(why);
        let outgoing =
            Outgoing { headers: Some(&headers), payload: &payload, ..Outgoing::empty(MessageType::ProtocolError, 0) };
        let says_so = !self.sending_closed && (self.role == Role::Server || self.handshake == Handshake::Done);
        if says_so && self.prepare(&outgoing, false).is_some() {
            self.queue_exempt(sent(&outgoing, 0), headers.as_bytes().len(), false, None);
            assert!(self.role == Role::Client || self.rpc.owes_linger());
        }
        self.sending_closed = true;
        self.is_over = true;
    }

    fn end(&mut self) {
        let ended = self.rpc.end();
        let waiting: Vec<u32> = mem::take(&mut self.queue).into_iter().filter_map(|waiting| waiting.token).collect();
        assert_eq!(ended.tokens, waiting, "in the order of the sends");
        self.give_back(waiting);
        let keys: Vec<u32> = mem::take(&mut self.streams).into_values().map(|stream| stream.key).collect();
        assert_eq!(ended.streams, keys, "in the order of the ids");
        self.sending_closed = true;
        self.is_over = true;
        self.has_ended = true;
        assert!(self.owed.is_empty(), "nobody waits any more");
    }

    /// Takes in what is whole in the input, as long as it may.
    fn receive(&mut self, from: Option<&mut VecDeque<Sent>>) {
        let mut from = from;
        let input = mem::take(&mut self.input);
        let mut at = 0;
        while !self.is_over && !self.rpc.must_not_read() {
            let (message, len) = match Message::decode(&input[at..], &self.rpc.receive_limits()) {
                Ok(decoded) => decoded,
                Err(codec::Error::Incomplete { .. }) => break,
                Err(error) => {
                    assert!(from.is_none(), "the peer's bytes are good: {error}");
                    return self.judge(error, &input[at..]);
                }
            };
            at += len;
            if let Some(sent) = &mut from {
                check_delivery(&message, sent);
            }
            self.take_in(&message, from.is_some());
            self.check();
        }
        if !self.is_over {
            self.input = input[at..].to_vec();
        }
    }

    fn take_in(&mut self, message: &Message<'_>, is_honest: bool) {
        let envelope = Envelope::read(&message.headers);
        let expected = self.expect(&envelope);
        self.counts.messages_received += 1;
        let received = match self.rpc.receive(message, self.now) {
            Ok(received) => received,
            Err(violation) => {
                let text = violation.to_string();
                match violation {
                    Violation::Rule(_) => {
                        // A server may fail before it hears of its client.
                        let is_early = self.role == Role::Client && self.handshake == Handshake::Start;
                        assert!(!is_honest || is_early, "{text}");
                        assert!(matches!(expected, Expected::Violation), "{expected:?}: {text}");
                    }
                    Violation::TooManyAbnormalEvents => {
                        assert!(matches!(expected, Expected::TooManyAbnormalEvents), "{expected:?}");
                    }
                }
                return self.note_violation(&text);
            }
        };
        match (received, expected) {
            (Received::Protocol { message_type, ending, handled }, Expected::Protocol(expected)) => {
                assert_eq!(Some(message_type as i32), envelope.message_type);
                assert_eq!(ending, expected);
                let answers_own = message_type == MessageType::PingResponse && self.pings.pop_front() == Some(true);
                assert_eq!(handled, answers_own);
                self.is_over |= ending.is_some();
            }
            (Received::Stream { stream, ended }, Expected::Stream { id, key, ends }) => {
                assert_eq!(stream, key);
                let cancelled = if ends { Some(self.cancel(id)) } else { None };
                assert_eq!(ended, cancelled);
                if let Some(cancelled) = cancelled {
                    self.give_back(cancelled);
                    self.streams.remove(&id);
                    assert_eq!(self.rpc.remove_stream(id), Some(key));
                    assert_eq!(self.rpc.remove_stream(id), None);
                }
            }
            (Received::NewStream { id, ends }, Expected::NewStream { id: next, ends: last }) => {
                assert_eq!((id, ends), (next, last));
                assert_eq!(self.rpc.stream_state(id), StreamState::Announced);
                self.meet(id, ends);
            }
            (Received::ExcessStream { id }, Expected::ExcessStream { id: next }) => {
                assert_eq!(id, next);
                self.note_refusal(id, Refusal::TooManyStreams { limit: self.limits.max_streams });
            }
            (Received::Late, Expected::Late) => {}
            (received, expected) => panic!("{received:?}, expected {expected:?}"),
        }
    }

    fn meet_next(&mut self, policy: u8) {
        self.policy = policy;
        self.now += Duration::from_millis(policy.into());
    }

    /// The application accepts a new stream or refuses it.
    fn meet(&mut self, id: i32, ends: bool) {
        let accepts = self.policy & 1 == 1;
        self.policy = self.policy.rotate_right(1);
        if accepts {
            let key = self.next_key;
            self.next_key += 1;
            assert_eq!(self.rpc.accept_stream(id, key, 0), Ok(()));
            self.streams.insert(id, OpenStream { key, ended_here: false, ended_by_peer: ends, is_answered: false });
            self.counts.streams_opened += 1;
            if ends {
                // What the library does after the message is delivered.
                assert_eq!(self.rpc.remove_stream(id), Some(key));
                self.streams.remove(&id);
            }
            return;
        }
        self.refuse(id);
    }

    fn refuse(&mut self, id: i32) {
        let outgoing = Outgoing::empty(MessageType::ApplicationError, TERMINATE_STREAM);
        let Some(prepared) = self.prepare(&outgoing, true) else {
            assert_eq!(self.rpc.refuse_stream_for(id, Refusal::Draining), Ok(()));
            return self.note_refusal(id, Refusal::Draining);
        };
        let result = self.rpc.answer_stream(id, prepared);
        if self.sending_closed {
            self.has_lost_ends = true;
            return assert_eq!(result, Err(Error::ConnectionClosed));
        }
        assert_eq!(result, Ok(()));
        self.counts.streams_refused += 1;
        self.queue_exempt(sent(&outgoing, id), 0, false, None);
    }

    /// In the model: the library has refused a stream.
    fn note_refusal(&mut self, id: i32, refusal: Refusal<'_>) {
        let (headers, payload) = said(&refusal.to_string());
        let bare = Outgoing::empty(MessageType::ApplicationError, TERMINATE_STREAM);
        let full = Outgoing { headers: Some(&headers), payload: &payload, ..bare };
        let fitting = [&full, &bare].into_iter().find(|outgoing| self.prepare(outgoing, true).is_some());
        let Some(outgoing) = fitting.filter(|_| !self.sending_closed) else { return self.has_lost_ends = true };
        self.counts.streams_refused += 1;
        let own_len = outgoing.headers.map_or(0, |headers| headers.as_bytes().len());
        self.queue_exempt(sent(outgoing, id), own_len, false, None);
    }

    /// What the protocol says of a message that comes now. Changes the model.
    fn expect(&mut self, envelope: &Envelope<'_>) -> Expected {
        use MessageType::*;
        let (Some(number), Some(flags), Some(id)) = (envelope.message_type, envelope.flags, envelope.stream_id) else {
            return Expected::Violation;
        };
        if !(0..8).contains(&number) || id < 0 || (number < 2) != (id > 0) {
            return Expected::Violation;
        }
        let ends = flags & TERMINATE_STREAM != 0;
        if id > 0 {
            return self.expect_on_stream(id, ends, envelope.operation);
        }
        let ending = ends.then_some(Ending::Terminated);
        let message_type = MessageType::from_number(number).expect("0 to 7");
        match (self.role, self.handshake, message_type) {
            (Role::Server, Handshake::Start, Connect) => {
                self.handshake = Handshake::Connecting;
                Expected::Protocol(ending)
            }
            (Role::Server, Handshake::Start | Handshake::Connecting, _) => Expected::Violation,
            (Role::Server, Handshake::Done, Connect) => Expected::Violation,
            (Role::Client, Handshake::Start, _) => Expected::Violation,
            (Role::Client, Handshake::Connecting, ConnectAck) if flags & CONNECTION_ACCEPTED != 0 => {
                self.handshake = Handshake::Done;
                Expected::Protocol(ending)
            }
            (Role::Client, Handshake::Connecting, ConnectAck | ProtocolError | InternalError) => {
                self.handshake = Handshake::Refused;
                self.sending_closed = true;
                Expected::Protocol(Some(Ending::Refused))
            }
            (Role::Client, Handshake::Connecting, _) => Expected::Violation,
            (Role::Client, Handshake::Done, ConnectAck) => Expected::Violation,
            (Role::Server, _, ConnectAck) | (Role::Client, _, Connect) => Expected::Violation,
            _ => Expected::Protocol(ending),
        }
    }

    fn expect_on_stream(&mut self, id: i32, ends: bool, operation: Option<&[u8]>) -> Expected {
        if self.handshake != Handshake::Done {
            return Expected::Violation;
        }
        if let Some(stream) = self.streams.get_mut(&id) {
            if ends && !stream.is_answered {
                self.counts.unanswered_ends += 1;
                if !self.abnormal_events.take(self.now) {
                    return Expected::TooManyAbnormalEvents;
                }
            }
            stream.ended_by_peer |= ends;
            return Expected::Stream { id, key: stream.key, ends };
        }
        if id <= self.last_id {
            self.counts.late_messages += u64::from(!ends);
            // What a server has sent before it hears of an end is no fault of its.
            if !ends && self.role == Role::Server && !self.abnormal_events.take(self.now) {
                return Expected::TooManyAbnormalEvents;
            }
            return Expected::Late;
        }
        if self.role == Role::Client || id != self.last_id + 1 || operation.is_none_or(<[u8]>::is_empty) {
            return Expected::Violation;
        }
        self.last_id = id;
        if self.streams.len() >= self.limits.max_streams {
            self.counts.streams_in_excess += 1;
            return Expected::ExcessStream { id };
        }
        Expected::NewStream { id, ends }
    }

    /// A raw message that this side may or may not like.
    fn message(&mut self, message_type: i8, flags: u8, stream: i8, operation: Option<u8>, payload: u8) {
        let id = if stream == i8::MAX { self.last_id + 1 } else { i32::from(stream) };
        let flags = Text { flags, len: 0, header: false }.flags();
        let mut headers = HeaderList::new();
        // In any order.
        let fields: [(&[u8], i32); 3] =
            [(b":message-type", message_type.into()), (b":message-flags", flags), (b":stream-id", id)];
        for index in 0..3 {
            let (name, number) = fields[(index + usize::from(payload)) % 3];
            headers.add(name, HeaderValue::Int32(number)).expect("a good header");
        }
        if let Some(len) = operation {
            let operation = vec![b'o'; len.into()];
            headers.add(b"operation", HeaderValue::String(&operation)).expect("a good header");
        }
        let read = Envelope::read(&headers.as_headers());
        assert_eq!(
            [read.message_type, read.flags, read.stream_id],
            fields.map(|(name, _)| {
                let header = headers.as_headers().find(name).filter(|header| header.header_type == HeaderType::Int32);
                header.map(|header| header.number as i32)
            })
        );
        assert_eq!(read.operation.map(<[u8]>::len), operation.map(usize::from));
        self.add_message(headers.as_bytes(), &vec![b'p'; payload.into()]);
    }

    fn add_message(&mut self, headers: &[u8], payload: &[u8]) {
        codec::encode_into(&[headers], payload, &mut self.input);
    }

    /// All bytes that left, as messages: exactly those that were accepted.
    fn check_sent(&mut self) {
        let bytes: Vec<u8> = self.wire.drain(..).collect();
        let mut at = 0;
        while let Ok((message, len)) = Message::decode(&bytes[at..], &codec::Limits::DEFAULT) {
            check_delivery(&message, &mut self.sent);
            at += len;
        }
        let is_cut =
            matches!(Message::decode(&bytes[at..], &codec::Limits::DEFAULT), Err(codec::Error::Incomplete { .. }));
        assert!(is_cut, "what leaves are messages");
        assert_eq!(bytes.len() as u64, self.written);
    }
}

/// What is to happen with a message.
#[derive(Debug)]
enum Expected {
    Violation,
    TooManyAbnormalEvents,
    Protocol(Option<Ending>),
    Stream { id: i32, key: u32, ends: bool },
    NewStream { id: i32, ends: bool },
    ExcessStream { id: i32 },
    Late,
}

fn protocol_type(number: u8) -> MessageType {
    use MessageType::*;
    [Ping, PingResponse, Connect, ConnectAck, ProtocolError, InternalError][usize::from(number) % 6]
}

fn application_type(is_error: bool) -> i32 {
    i32::from(is_error)
}

/// What the library says to people.
fn said(text: &str) -> (HeaderList, Vec<u8>) {
    let mut headers = HeaderList::new();
    headers.add(b":content-type", HeaderValue::String(b"application/json")).expect("a good header");
    let escaped: String =
        text.chars().flat_map(|c| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c])).collect();
    (headers, format!("{{\"message\":\"{escaped}\"}}").into_bytes())
}

fn own_headers(message: Text) -> HeaderList {
    let mut headers = HeaderList::new();
    if message.header {
        headers.add(b"own", HeaderValue::ByteBuf(&[message.flags])).expect("a good header");
    }
    headers
}

fn sent(outgoing: &Outgoing<'_>, id: i32) -> Sent {
    Sent {
        message_type: outgoing.message_type,
        flags: outgoing.flags,
        id,
        payload: outgoing.payload.to_vec(),
        operation: outgoing.operation.map(<[u8]>::to_vec),
    }
}

fn error_name(error: &Error) -> &'static str {
    match error {
        Error::HandshakePending(_) => "pending",
        Error::HandshakeAlreadyDone(_) => "done",
        Error::WrongMessageType(_) => "wrong",
        Error::ConnectionClosed => "closed",
        Error::WouldBlock { .. } => "would block",
        _ => "another",
    }
}

/// The message is the next one that was sent.
fn check_delivery(message: &Message<'_>, sent: &mut VecDeque<Sent>) {
    let envelope = Envelope::read(&message.headers);
    let expected = sent.pop_front().expect("nothing comes that was not sent");
    let delivered = Sent {
        message_type: envelope.message_type.unwrap_or(-1),
        flags: envelope.flags.unwrap_or(-1),
        id: envelope.stream_id.unwrap_or(-1),
        payload: message.payload.to_vec(),
        operation: envelope.operation.map(<[u8]>::to_vec),
    };
    assert_eq!(delivered, expected);
}

/// Brings a side past its handshake, as most connections are most of the time.
fn shake(side: &mut Side) {
    let (sends, hears) = match side.role {
        Role::Client => (MessageType::Connect, MessageType::ConnectAck),
        Role::Server => (MessageType::ConnectAck, MessageType::Connect),
    };
    let number = |wanted| (0..6).find(|number| protocol_type(*number) == wanted).expect("a type of the protocol");
    let accepting = Text { flags: 150, len: 1, header: false };
    if side.role == Role::Client {
        side.send_protocol(accepting, number(sends), false);
    }
    side.message(hears as i8, 150, 0, None, 0);
    side.receive(None);
    if side.role == Role::Server && !side.is_over {
        side.send_protocol(accepting, number(sends), false);
    }
}

fn run_one(role: Role, bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    let Ok(settings) = Settings::arbitrary(&mut u) else { return };
    let mut side = Side::new(role, &settings);
    if settings.is_shaken {
        shake(&mut side);
    }
    for _ in 0..MAX_STEPS {
        if u.is_empty() {
            break;
        }
        let Ok(step) = Step::arbitrary(&mut u) else { break };
        match step {
            Step::Call(call) => side.call(call),
            Step::Message { message_type, flags, stream, operation, payload } => {
                side.message(message_type, flags, stream, operation, payload);
            }
            Step::Headers(headers) => side.add_message(headers, b"payload"),
            Step::Bytes(bytes) => side.input.extend_from_slice(bytes),
            Step::Policy(policy) => side.meet_next(policy),
        }
        side.receive(None);
        side.check();
    }
    if !side.has_ended {
        side.take();
        side.write(usize::MAX);
    }
    side.check_sent();
    side.end();
}

pub fn run_server(bytes: &[u8]) {
    run_one(Role::Server, bytes);
}

pub fn run_client(bytes: &[u8]) {
    run_one(Role::Client, bytes);
}

#[derive(Arbitrary, Debug)]
enum PairStep {
    Call(bool, Call),
    Policy(u8),
    /// So many bytes that one side has written arrive at the other.
    Transfer(bool, u16),
    Exchange,
}

/// Moves bytes from one side to the other.
fn transfer(from: &mut Side, to: &mut Side, count: usize) {
    if to.rpc.must_not_read() {
        return;
    }
    let count = count.min(from.wire.len());
    to.input.extend(from.wire.drain(..count));
    to.receive(Some(&mut from.sent));
}

fn exchange(client: &mut Side, server: &mut Side) {
    for _ in 0..10 {
        for side in [&mut *client, &mut *server] {
            if !side.has_ended {
                side.take();
                side.write(usize::MAX);
            }
        }
        transfer(client, server, usize::MAX);
        transfer(server, client, usize::MAX);
    }
}

pub fn run_pair(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    let Ok(mut settings) = Settings::arbitrary(&mut u) else { return };
    // What one side may send the other takes.
    settings.message_limit |= 2;
    settings.handshake_limit |= 128;
    let (mut client, mut server) = (Side::new(Role::Client, &settings), Side::new(Role::Server, &settings));
    if settings.is_shaken {
        let accepting = Text { flags: 150, len: 1, header: false };
        client.send_protocol(accepting, 2, false);
        exchange(&mut client, &mut server);
        server.send_protocol(accepting, 3, false);
        exchange(&mut client, &mut server);
    }
    for _ in 0..MAX_STEPS {
        if u.is_empty() {
            break;
        }
        let Ok(step) = PairStep::arbitrary(&mut u) else { break };
        match step {
            PairStep::Call(true, call) => client.call(call),
            PairStep::Call(false, call) => server.call(call),
            PairStep::Policy(policy) => server.meet_next(policy),
            PairStep::Transfer(true, count) => transfer(&mut client, &mut server, count.into()),
            PairStep::Transfer(false, count) => transfer(&mut server, &mut client, count.into()),
            PairStep::Exchange => exchange(&mut client, &mut server),
        }
        client.check();
        server.check();
    }
    exchange(&mut client, &mut server);
    let are_open = [&client, &server].iter().all(|side| !side.is_over && !side.sending_closed && !side.has_lost_ends);
    if are_open {
        assert!(client.streams.keys().eq(server.streams.keys()), "{:?}, {:?}", client.streams, server.streams);
        assert!(client.owed.is_empty() && server.owed.is_empty());
    }
    client.end();
    server.end();
}
