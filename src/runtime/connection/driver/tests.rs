//! A driver whose loop is the test: each run, and its budget, is chosen by hand.

use std::any::Any;
use std::io::{IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::super::deadlines::Deadline;
use super::{Driver, Flow, Turn};
use crate::codec::{HeaderList, HeaderValue, encode_into};
use crate::rpc::{CONNECTION_ACCEPTED, Incoming, MessageType, Outgoing};
use crate::runtime::event_loop::{Context, Readiness as Ready, Resident};
use crate::runtime::life::Kind;
use crate::runtime::{
    Connection, ConnectionHandler, Destroyed, Error, Flush, Log, Outcome, Phase, Runtime, Settings, Stream,
};
use crate::transport::{self, HandshakeProgress, Readiness, TlsRole, TlsSession, new_tls_config_builder};

const PLACE: Token = Token(0);

/// A turn that ends by itself, however slow the machine is.
fn all() -> Turn {
    Turn::begin(Instant::now() + Duration::from_secs(60))
}

/// A turn in which nothing may be read.
fn no_reading() -> Turn {
    let mut turn = all();
    turn.read = 0;
    turn
}

type OnPing = dyn Fn(&Arc<Connection>) + Send + Sync;

/// Notes what is delivered; acknowledges CONNECT; calls `on_ping` for each PING.
struct Notes {
    delivered: Mutex<Vec<Vec<u8>>>,
    on_ping: Box<OnPing>,
}

impl ConnectionHandler for Arc<Notes> {
    fn on_setup(&self, _: Result<&Arc<Connection>, &Error>) {}

    fn on_protocol_message(&self, connection: &Arc<Connection>, Incoming { message, .. }: &Incoming<'_>) {
        if message.payload == b"connect" {
            let ack = Outgoing::empty(MessageType::ConnectAck, CONNECTION_ACCEPTED);
            return connection.send_protocol(ack, None).expect("CONNECT came");
        }
        self.delivered.lock().expect("no panic").push(message.payload.to_vec());
        (self.on_ping)(connection);
    }

    fn on_incoming_stream(&self, _: &Arc<Connection>, _: &Arc<Stream>, _: &Incoming<'_>) {}

    fn on_writable(&self, _: &Arc<Connection>) {}

    fn on_shutdown(&self, _: &Arc<Connection>, _: &Outcome) {
        self.delivered.lock().expect("no panic").push(b"shutdown".to_vec());
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Destroyed for Arc<Notes> {
    fn on_destroy(&self) {}
}

struct Rig {
    driver: Driver,
    context: Context,
    peer: Option<TcpStream>,
    /// The peer's session, if it speaks TLS.
    peer_tls: Option<TlsSession>,
    notes: Arc<Notes>,
    poll: Poll,
}

impl Rig {
    /// A server's connection after the handshake.
    fn new(on_ping: impl Fn(&Arc<Connection>) + Send + Sync + 'static) -> Rig {
        Rig::with(None, on_ping)
    }

    /// The sessions are of the server and of its peer.
    fn with(tls: Option<(TlsSession, TlsSession)>, on_ping: impl Fn(&Arc<Connection>) + Send + Sync + 'static) -> Rig {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let address = transport::literal("127.0.0.1", port).expect("an address").into();
        let mut stream =
            transport::Stream::dial(&address, &transport::SocketOptions::default()).expect("somebody listens");
        let (mut peer, _) = listener.accept().expect("the dial");
        assert_eq!(stream.finish_dial(), Ok(Readiness::Ready));
        let peer_tls = tls.map(|(server, client)| shake(&mut stream, server, &mut peer, client));

        let runtime = Runtime::new(1, Log::off()).expect("a thread");
        let live = runtime.enter(Kind::Connection).expect("it is up");
        let connection = Connection::incoming(Arc::new(Settings::default()), live, None, None);
        let notes = Arc::new(Notes { delivered: Mutex::default(), on_ping: Box::new(on_ping) });
        connection.lock().announce();
        connection.accept(Box::new(notes.clone())).expect("it is announced");
        connection.lock().settle_announcement(true);

        let poll = Poll::new().expect("an event queue");
        let registry = poll.registry().try_clone().expect("a descriptor");
        let context = Context::new(registry, vec![0; 256 * 1024]);
        stream.register(&context.registry, PLACE).expect("it can be watched");
        let driver = Driver::new(connection, stream, PLACE);
        let mut rig = Rig { driver, context, peer: Some(peer), peer_tls, notes, poll };
        rig.receive(&message(MessageType::Connect, b"connect"), all());
        assert!(rig.driver.connection.lock().rpc.is_handshake_done());
        rig
    }

    /// The peer writes; the driver runs once all of it has arrived.
    fn receive(&mut self, bytes: &[u8], turn: Turn) -> Flow {
        self.arrive(bytes);
        self.turn(turn)
    }

    fn turn(&mut self, turn: Turn) -> Flow {
        self.context.ready.clear();
        self.driver.in_line = false;
        self.driver.run_within(turn, &mut self.context)
    }

    fn arrive(&mut self, bytes: &[u8]) {
        let peer = self.peer.as_mut().expect("the peer is there");
        match &mut self.peer_tls {
            Some(tls) => assert_eq!(tls.write(peer, &[IoSlice::new(bytes)]).expect("room in the socket"), bytes.len()),
            None => peer.write_all(bytes).expect("room in the socket"),
        }
        let mut events = Events::with_capacity(8);
        while !events.iter().any(|event| event.is_readable()) {
            self.poll.poll(&mut events, Some(Duration::from_secs(20))).expect("an event queue");
            assert!(!events.is_empty(), "nothing came");
        }
        self.driver.note_readiness(Ready { readable: true, writable: true, until_end: false });
    }

    /// How often the work takes the lock that the driver shares with other threads.
    fn locks(&mut self, work: impl FnOnce(&mut Rig)) -> usize {
        let count = |rig: &Rig| rig.driver.connection.locks.load(Ordering::Relaxed);
        let before = count(self);
        work(self);
        count(self) - before
    }

    fn delivered(&self) -> Vec<Vec<u8>> {
        self.notes.delivered.lock().expect("no panic").clone()
    }
}

/// The TLS handshake of a connection and its peer, whose session it answers.
fn shake(
    stream: &mut transport::Stream,
    server: TlsSession,
    peer: &mut TcpStream,
    mut client: TlsSession,
) -> TlsSession {
    stream.start_tls(server);
    peer.set_nonblocking(true).expect("a socket");
    while client.handshake(peer) != Ok(HandshakeProgress::Done) {
        stream.handshake().expect("a handshake");
    }
    client.flush(peer).expect("there is room");
    while stream.handshake() != Ok(HandshakeProgress::Done) {}
    peer.set_nonblocking(false).expect("a socket");
    client
}

/// Sessions of a server and of a client that trusts it.
fn sessions() -> (TlsSession, TlsSession) {
    let made = rcgen::generate_simple_self_signed(["server.example".to_owned()]).expect("a certificate");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let mut builder = new_tls_config_builder(TlsRole::Server).expect("there is TLS");
    builder.set_certificate(certificate.as_bytes(), key.as_bytes()).expect("a certificate");
    let server = TlsSession::server(&builder.build().expect("settings")).expect("a session");
    let mut builder = new_tls_config_builder(TlsRole::Client).expect("there is TLS");
    builder.add_ca(certificate.as_bytes()).expect("a CA");
    (server, TlsSession::client(&builder.build().expect("settings"), "server.example").expect("a session"))
}

fn message(message_type: MessageType, payload: &[u8]) -> Vec<u8> {
    let mut headers = HeaderList::new();
    let fields: [(&[u8], i32); 3] =
        [(b":message-type", message_type as i32), (b":message-flags", 0), (b":stream-id", 0)];
    for (name, number) in fields {
        headers.add(name, HeaderValue::Int32(number)).expect("a good header");
    }
    let mut bytes = Vec::new();
    encode_into(&[headers.as_bytes()], payload, &mut bytes);
    bytes
}

fn pings(payloads: &[&[u8]]) -> Vec<u8> {
    payloads.iter().flat_map(|payload| message(MessageType::Ping, payload)).collect()
}

#[test]
fn input_is_delivered_though_writing_failed_and_the_turn_is_over() {
    let mut rig = Rig::new(|_| {});
    rig.arrive(&pings(&[b"one", b"two", b"three"]));
    // The peer goes away without reading the ack: its system resets the connection.
    rig.peer = None;
    let connection = rig.driver.connection.clone();
    while rig.driver.output.failure.is_none() {
        connection.send_protocol(Outgoing::empty(MessageType::Ping, 0), None).expect("it is open");
        assert_eq!(rig.turn(no_reading()), Flow::Continue);
    }
    assert_eq!(rig.delivered(), [b""; 0]);
    assert_eq!(rig.turn(all()), Flow::Leave);
    assert_eq!(rig.delivered(), [&b"one"[..], b"two", b"three", b"shutdown"]);
}

#[test]
fn messages_that_waited_for_a_resume_are_delivered_though_the_turn_is_over() {
    let mut rig = Rig::new(|connection| connection.set_reading_paused(true).expect("it is open"));
    rig.receive(&pings(&[b"one", b"two", b"three"]), all());
    assert_eq!(rig.delivered(), [b"one"]);

    rig.driver.connection.set_reading_paused(false).expect("it is open");
    rig.turn(no_reading());
    assert_eq!(rig.context.ready, [PLACE], "it comes back for the messages that it has");
}

#[test]
fn a_connection_stands_in_the_line_once() {
    let mut rig = Rig::new(|_| {});
    for payload in [b"one", b"two"] {
        rig.arrive(&pings(&[payload]));
        rig.driver.run_within(no_reading(), &mut rig.context);
    }
    assert_eq!(rig.context.ready, [PLACE]);
    rig.context.ready.clear();
    assert_eq!(rig.driver.take_turn(&mut rig.context), Flow::Continue);
    assert_eq!(rig.delivered(), [b"one", b"two"]);
}

#[test]
fn a_connection_that_tells_its_end_in_parts_stands_in_the_line_once() {
    fn slow([_, _]: [usize; 2], _: &Outcome) {
        let end = Instant::now() + Duration::from_micros(100);
        while Instant::now() < end {}
    }
    let mut rig = Rig::new(|connection| {
        for _ in 0..200 {
            let flush = Flush { run: slow, words: [0; 2] };
            connection.send_protocol(Outgoing::empty(MessageType::Ping, 0), Some(flush)).expect("it is open");
        }
        connection.abort();
    });
    rig.context.ready.clear();
    assert_eq!(rig.receive(&pings(&[b"first"]), Turn::begin(Instant::now())), Flow::Continue);
    assert_eq!(rig.context.ready, [PLACE]);
    while rig.context.ready.pop_front().is_some() && rig.driver.take_turn(&mut rig.context) == Flow::Continue {
        assert_eq!(rig.context.ready, [PLACE]);
    }
    assert!(rig.context.ready.is_empty());
    assert_eq!(rig.delivered(), [b"first".to_vec(), b"shutdown".to_vec()]);
}

#[test]
fn the_memory_of_a_large_message_grows_with_what_arrives() {
    let mut rig = Rig::new(|_| {});
    let large = message(MessageType::Ping, &vec![b'p'; 20_000_000]);
    rig.receive(&large[..30_000], all());
    assert!(rig.driver.input.gathered.capacity() < 300_000, "{} bytes", rig.driver.input.gathered.capacity());
}

#[test]
fn input_that_waits_for_its_turn_is_not_late() {
    let mut rig = Rig::new(|_| {});
    let large = message(MessageType::Ping, &vec![b'p'; 1024 * 1024]);
    rig.receive(&large[..100_000], all());
    // More came than the last turn took, and others have theirs now.
    rig.driver.in_line = true;
    let past = rig.context.now;
    rig.driver.deadlines.set(Deadline::Message, past);
    rig.driver.deadlines.arm(&mut rig.context.timers, PLACE);
    rig.context.now = Instant::now();
    let (key, _) = rig.context.timers.take_expired(rig.context.now).expect("it is over");
    assert_eq!(rig.driver.expire(key, &mut rig.context), Flow::Continue);
    assert!(matches!(rig.driver.connection.phase(), Phase::Open), "the peer is in time");
    assert!(rig.driver.deadlines.is_set(Deadline::Message), "but not for ever");
}

#[test]
fn a_connection_that_can_do_nothing_asks_for_no_turn() {
    let mut rig = Rig::new(|_| {});
    let connection = rig.driver.connection.clone();
    connection.set_reading_paused(true).expect("it is open");
    rig.receive(&pings(&[b"one"]), all());
    let much = vec![0; 15 * 1024 * 1024];
    let message = Outgoing { payload: &much, ..Outgoing::empty(MessageType::Ping, 0) };
    connection.send_protocol(message, None).expect("there is room");
    while rig.driver.output.is_ready {
        rig.turn(all());
    }
    assert_eq!(rig.turn(all()), Flow::Continue);
    assert!(rig.context.ready.is_empty(), "reading is paused and the peer takes nothing");
    assert_eq!(rig.delivered(), [b""; 0]);

    connection.close(Ok(()));
    assert_eq!(rig.turn(all()), Flow::Continue);
    assert!(rig.context.ready.is_empty(), "it waits for the peer to take some, or for its linger time");
    assert!(rig.context.timers.next_deadline().is_some());
}

#[test]
fn a_peers_end_while_reading_is_paused_is_seen_at_the_resume() {
    let mut rig = Rig::new(|connection| drop(connection.set_reading_paused(true)));
    rig.receive(&pings(&[b"one", b"two"]), all());
    let peer = rig.peer.take().expect("the peer is there");
    peer.shutdown(std::net::Shutdown::Write).expect("it is connected");
    rig.driver.note_readiness(Ready { readable: true, writable: true, until_end: true });
    assert_eq!(rig.turn(all()), Flow::Continue);
    assert!(rig.context.ready.is_empty());
    assert_eq!(rig.delivered(), [b"one"]);

    // Once for the second ping, which pauses again, once for the end.
    while rig.turn(all()) == Flow::Continue {
        rig.driver.connection.set_reading_paused(false).expect("it is open");
        rig.driver.note_readiness(Ready { readable: true, writable: true, until_end: true });
    }
    assert_eq!(rig.delivered(), [&b"one"[..], b"two", b"shutdown"]);
}

#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs TLS")]
fn a_close_waits_for_unfinished_data_alone() {
    let mut rig = Rig::with(Some(sessions()), |_| {});
    let (mut peer, mut tls) = (rig.peer.take().expect("the peer is there"), rig.peer_tls.take().expect("it has TLS"));
    let mut ack = message(MessageType::ConnectAck, b"");
    tls.read(&mut peer, &mut ack).expect("the answer to CONNECT");
    // What comes now also acknowledges that answer.
    (rig.peer, rig.peer_tls) = (Some(peer), Some(tls));
    rig.receive(&pings(&[b"one"]), all());

    rig.driver.connection.close(Ok(()));
    assert_eq!(rig.turn(all()), Flow::Leave);
    assert_eq!(rig.delivered(), [&b"one"[..], b"shutdown"]);
    let (mut peer, mut tls) = (rig.peer.take().expect("the peer is there"), rig.peer_tls.take().expect("it has TLS"));
    assert_eq!(tls.read(&mut peer, &mut [0; 10]).expect("an orderly end"), 0);
}

#[test]
fn a_peer_in_the_middle_of_a_refused_message_is_not_reset() {
    let mut rig = Rig::new(|_| {});
    let mut ack = vec![0; message(MessageType::ConnectAck, b"").len()];
    rig.peer.as_mut().expect("the peer is there").read_exact(&mut ack).expect("the answer to CONNECT");
    let too_large = message(MessageType::Ping, &vec![b'p'; 25 * 1024 * 1024]);
    assert_eq!(rig.receive(&too_large[..100], all()), Flow::Continue);

    let peer = rig.peer.as_mut().expect("the peer is there");
    assert_eq!(peer.read(&mut [0]).expect("an end, in order"), 0);
    rig.arrive(&too_large[100..200]);
    assert_eq!(rig.turn(all()), Flow::Continue);
    let peer = rig.peer.take().expect("the peer is there");
    assert_eq!((&peer).read(&mut [0]).expect("still in order"), 0);

    drop(peer);
    rig.driver.note_readiness(Ready { readable: true, writable: true, until_end: true });
    assert_eq!(rig.turn(all()), Flow::Leave);
    assert_eq!(rig.delivered(), [b"shutdown"]);
}

#[test]
fn a_message_takes_the_lock_four_times_at_most_on_its_way_in_or_out() {
    fn ignore(_: [usize; 2], _: &Outcome) {}
    let answer = Outgoing::empty(MessageType::PingResponse, 0);
    let mut rig = Rig::new(|_| {});
    let received = rig.locks(|rig| _ = rig.receive(&pings(&[b"one"]), all()));
    assert!(received <= 4, "{received} times to receive");
    // The limits may change with a protocol message, which costs one of these.
    let three = rig.locks(|rig| _ = rig.receive(&pings(&[b"one", b"two", b"three"]), all()));
    assert!(three <= received + 4, "{three} times to receive three at once");
    for flush in [None, Some(Flush { run: ignore, words: [0, 0] })] {
        let sent = rig.locks(|rig| {
            rig.driver.connection.send_protocol(answer, flush).expect("the handshake is done");
            rig.turn(all());
        });
        assert!(sent <= 4, "{sent} times to send");
    }
    let mut rig = Rig::new(move |connection| connection.send_protocol(answer, None).expect("there is room"));
    let answered = rig.locks(|rig| _ = rig.receive(&pings(&[b"one"]), all()));
    assert!(answered <= received + 2, "{answered} times to receive and answer");
}
