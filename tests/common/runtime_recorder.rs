//! Handlers that record their calls and do what a test asks of them, for the tests of the runtime.

// Each test uses a part of this.
#![allow(dead_code)]

use eventstream_rpc::codec::{self, HeaderList, HeaderValue, Message};
use eventstream_rpc::rpc::{CONNECTION_ACCEPTED, Envelope, Incoming, MessageType, Outgoing};
use eventstream_rpc::runtime::{
    ConnectRequest, Connection, ConnectionHandler, Destroyed, Error, Flush, ListenRequest, Listener, ListenerHandler,
    ListenerLimits, Log, Outcome, Runtime, Settings, Stream, StreamHandler,
};
use eventstream_rpc::transport::{Endpoint, LocalOptions};
use std::any::Any;
use std::io::Read;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Long enough for any machine; a test that needs it has failed.
pub const LONG: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Setup(Outcome),
    /// The type's number and the payload.
    Protocol(i32, Vec<u8>),
    IncomingStream(i32),
    Writable,
    Shutdown(Outcome),
    Destroyed,
    Message(i32, Vec<u8>),
    Closed(i32, Outcome),
    StreamDestroyed,
    Flushed(Outcome),
}

/// What a handler is called with, for a test to act upon.
pub enum On<'a> {
    Setup(Result<&'a Arc<Connection>, &'a Error>),
    Protocol(&'a Arc<Connection>, i32),
    IncomingStream(&'a Arc<Connection>, &'a Arc<Stream>, &'a Message<'a>),
    Message(&'a Arc<Stream>),
    Closed(&'a Arc<Stream>),
    Shutdown(&'a Arc<Connection>),
}

type React = dyn Fn(&Recorder, On<'_>) + Send + Sync;

/// A handler of connections and streams. Clones write into the same list.
#[derive(Clone)]
pub struct Recorder {
    events: Sender<Event>,
    react: Arc<React>,
    is_on_stream: bool,
}

impl Recorder {
    pub fn new(react: impl Fn(&Recorder, On<'_>) + Send + Sync + 'static) -> (Recorder, Receiver<Event>) {
        let (events, list) = channel();
        (Recorder { events, react: Arc::new(react), is_on_stream: false }, list)
    }

    /// The same list, written by a handler of a stream.
    pub fn on_stream(&self) -> Box<Recorder> {
        Box::new(Recorder { is_on_stream: true, ..self.clone() })
    }

    fn note(&self, event: Event) {
        // A test that has ended no longer receives.
        let _ = self.events.send(event);
    }

    /// A flush callback that is recorded. It leaks a little, as tests may.
    pub fn flush(&self) -> Option<Flush> {
        let sender = Box::into_raw(Box::new(self.events.clone())) as usize;
        let run = |[sender, _]: [usize; 2], outcome: &Outcome| {
            // SAFETY: the word is the pointer above, which is never freed.
            let sender = unsafe { &*(sender as *const Sender<Event>) };
            let _ = sender.send(Event::Flushed(outcome.clone()));
        };
        Some(Flush { run, words: [sender, 0] })
    }
}

impl ConnectionHandler for Recorder {
    fn on_setup(&self, result: Result<&Arc<Connection>, &Error>) {
        self.note(Event::Setup(result.map(|_| ()).map_err(Error::clone)));
        (self.react)(self, On::Setup(result));
    }

    fn on_protocol_message(&self, connection: &Arc<Connection>, Incoming { message, .. }: &Incoming<'_>) {
        let number = Envelope::read(&message.headers).message_type.unwrap_or(-1);
        self.note(Event::Protocol(number, message.payload.to_vec()));
        (self.react)(self, On::Protocol(connection, number));
    }

    fn on_incoming_stream(
        &self,
        connection: &Arc<Connection>,
        stream: &Arc<Stream>,
        Incoming { message, .. }: &Incoming<'_>,
    ) {
        self.note(Event::IncomingStream(stream.id()));
        (self.react)(self, On::IncomingStream(connection, stream, message));
    }

    fn on_writable(&self, _: &Arc<Connection>) {
        self.note(Event::Writable);
    }

    fn on_shutdown(&self, connection: &Arc<Connection>, outcome: &Outcome) {
        self.note(Event::Shutdown(outcome.clone()));
        (self.react)(self, On::Shutdown(connection));
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Destroyed for Recorder {
    fn on_destroy(&self) {
        self.note(if self.is_on_stream { Event::StreamDestroyed } else { Event::Destroyed });
    }
}

impl StreamHandler for Recorder {
    fn on_message(&self, stream: &Arc<Stream>, Incoming { message, .. }: &Incoming<'_>) {
        self.note(Event::Message(stream.id(), message.payload.to_vec()));
        (self.react)(self, On::Message(stream));
    }

    fn on_writable(&self, _: &Arc<Stream>) {}

    fn on_closed(&self, stream: &Arc<Stream>, outcome: &Outcome) {
        self.note(Event::Closed(stream.id(), outcome.clone()));
        (self.react)(self, On::Closed(stream));
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The server of a test: accepts CONNECT and streams.
pub fn serve(recorder: &Recorder, on: On<'_>) {
    match on {
        On::Protocol(connection, number) if number == MessageType::Connect as i32 => {
            let ack = Outgoing::empty(MessageType::ConnectAck, CONNECTION_ACCEPTED);
            connection.send_protocol(ack, None).expect("CONNECT can be answered");
        }
        On::IncomingStream(_, stream, _) => {
            stream.accept(recorder.on_stream()).expect("the stream is being announced");
        }
        _ => {}
    }
}

type OnIncoming = dyn Fn(&Arc<Connection>) + Send + Sync;

struct Doorman(Box<OnIncoming>);

impl ListenerHandler for Doorman {
    fn on_incoming_connection(&self, _: &Arc<Listener>, connection: &Arc<Connection>) {
        (self.0)(connection);
    }

    fn on_failed_connection(&self, _: &Arc<Listener>, _: &Error) {}

    fn on_closed(&self, _: &Arc<Listener>, _: &Outcome) {}

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Destroyed for Doorman {
    fn on_destroy(&self) {}
}

pub fn runtime() -> Arc<Runtime> {
    Runtime::new(1, Log::off()).expect("a thread")
}

/// A listener on a loopback port that the system chose.
pub fn listen(
    runtime: &Arc<Runtime>,
    settings: Settings,
    on_incoming: impl Fn(&Arc<Connection>) + Send + Sync + 'static,
) -> Arc<Listener> {
    let endpoint = Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
    let endpoint = Some(endpoint);
    let limits = ListenerLimits::default();
    let request =
        ListenRequest { endpoint, settings, limits, local: LocalOptions::default(), tls: None, gatekeeper: None };
    let made = Mutex::new(None);
    let store = |listener: &Arc<Listener>| *made.lock().expect("no panic") = Some(listener.clone());
    Listener::listen(runtime, request, Box::new(Doorman(Box::new(on_incoming))), store).expect("a free port");
    made.into_inner().expect("no panic").expect("stored")
}

/// A server whose connections all have this handler.
pub fn serve_with(runtime: &Arc<Runtime>, settings: Settings, recorder: &Recorder) -> Arc<Listener> {
    let recorder = recorder.clone();
    listen(runtime, settings, move |connection| {
        connection.accept(Box::new(recorder.clone())).expect("the connection is being announced");
    })
}

pub fn connect(
    runtime: &Arc<Runtime>,
    endpoint: Endpoint,
    handshake: Option<(HeaderList, Vec<u8>)>,
    recorder: &Recorder,
) -> Arc<Connection> {
    connect_with(runtime, Settings::default(), endpoint, handshake, recorder)
}

pub fn connect_with(
    runtime: &Arc<Runtime>,
    settings: Settings,
    endpoint: Endpoint,
    handshake: Option<(HeaderList, Vec<u8>)>,
    recorder: &Recorder,
) -> Arc<Connection> {
    let request = ConnectRequest { endpoint, settings, handshake, tls: None };
    let made = Mutex::new(None);
    let store = |connection: &Arc<Connection>| *made.lock().expect("no panic") = Some(connection.clone());
    Connection::connect(runtime, request, Box::new(recorder.clone()), store).expect("the runtime is up");
    made.into_inner().expect("no panic").expect("stored")
}

pub fn endpoint_of(listener: &Listener) -> Endpoint {
    Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: listener.port() }
}

/// A peer without the library: bytes over a socket.
pub fn raw_peer(listener: &Listener) -> TcpStream {
    let peer = TcpStream::connect(("127.0.0.1", listener.port())).expect("somebody listens");
    peer.set_read_timeout(Some(LONG)).expect("a time");
    peer
}

/// The next whole message from the socket of a raw peer: type and payload.
pub fn read_message(peer: &mut TcpStream) -> (i32, Vec<u8>) {
    let mut bytes = vec![0; 4];
    peer.read_exact(&mut bytes).expect("a message");
    let total_len = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    bytes.resize(total_len, 0);
    peer.read_exact(&mut bytes[4..]).expect("the rest of the message");
    let (message, _) = Message::decode(&bytes, &codec::Limits::DEFAULT).expect("a good message");
    let number = Envelope::read(&message.headers).message_type.expect("a type");
    (number, message.payload.to_vec())
}

/// A message as bytes.
pub fn message(message_type: MessageType, flags: i32, stream_id: i32, payload: &[u8]) -> Vec<u8> {
    with_operation(message_type, flags, stream_id, None, payload)
}

pub fn with_operation(
    message_type: MessageType,
    flags: i32,
    stream_id: i32,
    operation: Option<&[u8]>,
    payload: &[u8],
) -> Vec<u8> {
    let mut headers = HeaderList::new();
    let fields: [(&[u8], i32); 3] =
        [(b":message-type", message_type as i32), (b":message-flags", flags), (b":stream-id", stream_id)];
    for (name, number) in fields {
        headers.add(name, HeaderValue::Int32(number)).expect("a good header");
    }
    if let Some(operation) = operation {
        headers.add(b"operation", HeaderValue::String(operation)).expect("a good header");
    }
    let mut bytes = Vec::new();
    codec::encode_into(&[headers.as_bytes()], payload, &mut bytes);
    bytes
}

/// The next event that `wanted` accepts; others are skipped.
pub fn wait_for(events: &Receiver<Event>, wanted: impl Fn(&Event) -> bool) -> Event {
    loop {
        let event = events.recv_timeout(LONG).expect("the event that the test waits for");
        if wanted(&event) {
            return event;
        }
    }
}
