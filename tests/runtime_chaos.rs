//! Many connections on two loops, used at the same time by several threads and by their own callbacks, in random ways.
//! Whatever happens, every promised callback comes once, in order, and everything ends.

#[path = "common/runtime_recorder.rs"]
mod runtime_recorder;

use eventstream_rpc::rpc::{CONNECTION_ACCEPTED, Envelope, Incoming, MessageType, Outgoing, TERMINATE_STREAM};
use eventstream_rpc::runtime::{
    ConnectRequest, Connection, ConnectionHandler, Destroyed, Error, Flush, Listener, Log, Outcome, Runtime, Settings,
    Stream, StreamHandler, Times, is_loop_thread,
};
use runtime_recorder::{LONG, endpoint_of, listen};
use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

const ROUNDS: u64 = 3;
const CONNECTIONS_PER_ROUND: u64 = 64;
const THREADS_PER_CONNECTION: u64 = 2;
const STEPS_PER_THREAD: u64 = 30;

/// Random numbers that a seed reproduces (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

/// What one side of a connection was promised, and got.
#[derive(Default)]
struct Tally {
    accepted_sends: AtomicUsize,
    answered_sends: AtomicUsize,
    setups: AtomicUsize,
    shutdowns: AtomicUsize,
    destroyed: AtomicUsize,
    streams: AtomicUsize,
    streams_opened: AtomicUsize,
    streams_closed: AtomicUsize,
    streams_destroyed: AtomicUsize,
    /// A close has returned on the loop thread, or on another one.
    closed_on_loop: AtomicBool,
    closed_elsewhere: AtomicBool,
    /// Messages that began to be delivered after a close had returned on another thread.
    late_messages: AtomicUsize,
    /// A promise about order that was broken.
    wrong: Mutex<Option<&'static str>>,
    random: AtomicU64,
}

impl Tally {
    fn of(seed: u64) -> Arc<Tally> {
        Arc::new(Tally { random: AtomicU64::new(seed * 0x9e37_79b9 + 1), ..Tally::default() })
    }

    fn must(&self, right: bool, what: &'static str) {
        if !right {
            self.wrong.lock().expect("no panic").get_or_insert(what);
        }
    }

    /// A call that ends the connection has returned.
    fn note_end_here(&self) {
        let place = if is_loop_thread() { &self.closed_on_loop } else { &self.closed_elsewhere };
        place.store(true, SeqCst);
    }

    /// A message is being delivered: none begins after a close on the loop thread has returned, and after one on
    /// another thread at most the one that was being dispatched.
    fn note_message(&self) {
        self.must(self.shutdowns.load(SeqCst) == 0, "a message came after on_shutdown");
        self.must(!self.closed_on_loop.load(SeqCst), "a message came after a close on the loop thread");
        if self.closed_elsewhere.load(SeqCst) {
            let before = self.late_messages.fetch_add(1, SeqCst);
            self.must(before == 0, "two messages came after a close on another thread");
        }
    }

    fn below(&self, bound: u64) -> u64 {
        let mut random = Random(self.random.load(SeqCst));
        let number = random.below(bound);
        self.random.store(random.0, SeqCst);
        number
    }

    fn flush(self: &Arc<Tally>) -> Option<Flush> {
        let run = |[tally, _]: [usize; 2], _: &Outcome| {
            // SAFETY: the word is the reference that was given up below; this is called once, if the promise is kept.
            let tally = unsafe { Arc::from_raw(tally as *const Tally) };
            tally.must(tally.shutdowns.load(SeqCst) == 0, "a send was answered after on_shutdown");
            tally.answered_sends.fetch_add(1, SeqCst);
        };
        Some(Flush { run, words: [Arc::into_raw(self.clone()) as usize, 0] })
    }

    /// Counts a send that is accepted if `send` says so.
    fn send(self: &Arc<Tally>, send: impl FnOnce(Option<Flush>) -> Result<(), Error>) -> bool {
        let flush = self.flush();
        self.accepted_sends.fetch_add(1, SeqCst);
        let accepted = send(flush).is_ok();
        if !accepted {
            self.accepted_sends.fetch_sub(1, SeqCst);
            let pointer = Arc::as_ptr(self);
            // SAFETY: nobody was given the reference that `flush` gave up.
            unsafe { Arc::decrement_strong_count(pointer) };
        }
        accepted
    }

    fn check(&self, side: &str, seed: u64) {
        let get = |counter: &AtomicUsize| counter.load(SeqCst);
        assert_eq!(*self.wrong.lock().expect("no panic"), None, "{side}, seed {seed}");
        assert_eq!(get(&self.accepted_sends), get(&self.answered_sends), "{side}, seed {seed}: sends");
        assert_eq!(get(&self.streams_opened), get(&self.streams_closed), "{side}, seed {seed}: streams closed");
        assert_eq!(get(&self.streams), get(&self.streams_destroyed), "{side}, seed {seed}: streams destroyed");
        assert_eq!(get(&self.destroyed), 1, "{side}, seed {seed}: connection destroyed");
        assert_eq!(get(&self.shutdowns), get(&self.setups), "{side}, seed {seed}: shutdowns");
    }
}

/// A server's side, for the test to look at while it lives.
type Server = (Arc<Tally>, Weak<Connection>);

/// The handler of both sides' connections.
struct OnConnection {
    tally: Arc<Tally>,
    is_server: bool,
}

/// The handler of both sides' streams.
struct OnStream {
    tally: Arc<Tally>,
    closed: AtomicBool,
}

impl OnStream {
    fn new(tally: &Arc<Tally>) -> Box<OnStream> {
        tally.streams.fetch_add(1, SeqCst);
        Box::new(OnStream { tally: tally.clone(), closed: AtomicBool::new(false) })
    }
}

/// Does one random thing to a connection that may have ended long ago. True if it began to close it.
fn disturb(tally: &Arc<Tally>, connection: &Arc<Connection>) -> bool {
    match tally.below(40) {
        0..8 => {
            let payload = vec![1; tally.below(200_000) as usize];
            let message = Outgoing { payload: &payload, ..Outgoing::empty(MessageType::Ping, 0) };
            tally.send(|flush| connection.send_protocol(message, flush));
        }
        8..12 => drop(connection.set_reading_paused(true)),
        12..20 => drop(connection.set_reading_paused(false)),
        20 => {
            connection.close(Ok(()));
            tally.note_end_here();
            return true;
        }
        21 => {
            connection.abort();
            tally.note_end_here();
            return true;
        }
        22 => drop(
            tally.send(|flush| connection.send_protocol(Outgoing::empty(MessageType::Ping, TERMINATE_STREAM), flush)),
        ),
        _ => {}
    }
    false
}

fn send_on(tally: &Arc<Tally>, stream: &Arc<Stream>) {
    let payload = vec![2; if tally.below(4) == 0 { 50_000 } else { 10 }];
    let flags = if tally.below(3) == 0 { TERMINATE_STREAM } else { 0 };
    let message = Outgoing { payload: &payload, ..Outgoing::empty(MessageType::ApplicationMessage, flags) };
    tally.send(|flush| stream.send(message, flush));
}

impl ConnectionHandler for OnConnection {
    fn on_setup(&self, result: Result<&Arc<Connection>, &Error>) {
        self.tally.setups.fetch_add(usize::from(result.is_ok()), SeqCst);
        if let Ok(connection) = result {
            disturb(&self.tally, connection);
        }
    }

    fn on_protocol_message(&self, connection: &Arc<Connection>, Incoming { message, .. }: &Incoming<'_>) {
        self.tally.note_message();
        if Envelope::read(&message.headers).message_type == Some(MessageType::Connect as i32) {
            let ack = Outgoing::empty(MessageType::ConnectAck, CONNECTION_ACCEPTED);
            self.tally.send(|flush| connection.send_protocol(ack, flush));
        }
        disturb(&self.tally, connection);
    }

    fn on_incoming_stream(&self, connection: &Arc<Connection>, stream: &Arc<Stream>, _: &Incoming<'_>) {
        self.tally.note_message();
        if disturb(&self.tally, connection) || self.tally.below(8) == 0 {
            return;
        }
        let handler = OnStream::new(&self.tally);
        self.tally.streams_opened.fetch_add(1, SeqCst);
        stream.accept(handler).expect("the stream is being announced");
        send_on(&self.tally, stream);
    }

    fn on_writable(&self, connection: &Arc<Connection>) {
        disturb(&self.tally, connection);
    }

    fn on_shutdown(&self, connection: &Arc<Connection>, _: &Outcome) {
        let streams = self.tally.streams_closed.load(SeqCst);
        self.tally.must(!self.is_server || streams == self.tally.streams_opened.load(SeqCst), "a stream outlived it");
        self.tally.shutdowns.fetch_add(1, SeqCst);
        disturb(&self.tally, connection);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Destroyed for OnConnection {
    fn on_destroy(&self) {
        self.tally.destroyed.fetch_add(1, SeqCst);
    }
}

impl StreamHandler for OnStream {
    fn on_message(&self, stream: &Arc<Stream>, _: &Incoming<'_>) {
        self.tally.must(!self.closed.load(SeqCst), "a message came after on_closed");
        self.tally.note_message();
        if !disturb(&self.tally, stream.connection()) && self.tally.below(2) == 0 {
            send_on(&self.tally, stream);
        }
    }

    fn on_writable(&self, stream: &Arc<Stream>) {
        send_on(&self.tally, stream);
    }

    fn on_closed(&self, stream: &Arc<Stream>, _: &Outcome) {
        self.tally.must(!self.closed.swap(true, SeqCst), "on_closed came twice");
        self.tally.must(self.tally.shutdowns.load(SeqCst) == 0, "on_closed came after on_shutdown");
        self.tally.streams_closed.fetch_add(1, SeqCst);
        disturb(&self.tally, stream.connection());
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Destroyed for OnStream {
    fn on_destroy(&self) {
        self.tally.must(self.tally.destroyed.load(SeqCst) == 0, "a stream outlived its connection");
        self.tally.streams_destroyed.fetch_add(1, SeqCst);
    }
}

fn settings() -> Settings {
    let times = Times { linger: Some(Duration::from_millis(100)), ..Times::default() };
    let mut settings = Settings { times, ..Settings::default() };
    settings.limits.outbound = 300_000;
    settings
}

/// What an application thread does with a client's connection.
fn use_client(tally: &Arc<Tally>, connection: &Arc<Connection>, seed: u64) {
    let mut random = Random(seed);
    let mut streams: Vec<Arc<Stream>> = Vec::new();
    for _ in 0..STEPS_PER_THREAD {
        match random.below(10) {
            0..4 => {
                let handler = OnStream::new(tally);
                let Ok(stream) = Stream::new(connection, handler) else {
                    tally.streams.fetch_sub(1, SeqCst);
                    continue;
                };
                let first = Outgoing { operation: Some(b"o"), ..Outgoing::empty(MessageType::ApplicationMessage, 0) };
                tally.streams_opened.fetch_add(1, SeqCst);
                if !tally.send(|flush| stream.activate(first, flush)) {
                    tally.streams_opened.fetch_sub(1, SeqCst);
                }
                streams.push(stream);
            }
            4..8 if !streams.is_empty() => {
                let index = random.below(streams.len() as u64) as usize;
                if random.below(4) == 0 {
                    streams.swap_remove(index);
                } else {
                    send_on(tally, &streams[index]);
                }
            }
            _ => drop(disturb(tally, connection)),
        }
    }
}

/// One connection from its beginning to its end.
fn converse(runtime: &Arc<Runtime>, listener: &Listener, seed: u64) -> Arc<Tally> {
    let tally = Tally::of(seed);
    let handler = Box::new(OnConnection { tally: tally.clone(), is_server: false });
    let endpoint = endpoint_of(listener);
    let request = ConnectRequest { endpoint, settings: settings(), handshake: Some(Default::default()), tls: None };
    let made = Mutex::new(None);
    let store = |connection: &Arc<Connection>| *made.lock().expect("no panic") = Some(connection.clone());
    Connection::connect(runtime, request, handler, store).expect("the runtime is up");
    let connection = made.into_inner().expect("no panic").expect("stored");
    if tally.below(10) > 0 {
        connection.wait_setup(Some(LONG)).expect("setup is over in time").ok();
    }
    let threads: Vec<_> = (0..THREADS_PER_CONNECTION)
        .map(|number| {
            let (tally, connection) = (tally.clone(), connection.clone());
            thread::spawn(move || use_client(&tally, &connection, seed * 31 + number + 1))
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    if tally.below(4) == 0 {
        connection.abort()
    } else {
        connection.close(Ok(()))
    }
    tally.note_end_here();
    drop(connection.wait_shutdown(Some(LONG)).expect("the connection ends in time"));
    tally
}

#[test]
fn whatever_is_done_to_connections_every_promise_is_kept_once() {
    let runtime = Runtime::new(2, Log::off()).expect("two threads");
    let servers: Arc<Mutex<Vec<Server>>> = Arc::default();
    let accepted = servers.clone();
    let listener = listen(&runtime, settings(), move |connection| {
        let mut servers = accepted.lock().expect("no panic");
        let tally = Tally::of(servers.len() as u64 + 7);
        servers.push((tally.clone(), Arc::downgrade(connection)));
        drop(servers);
        tally.setups.fetch_add(1, SeqCst);
        let handler = OnConnection { tally, is_server: true };
        connection.accept(Box::new(handler)).expect("the connection is being announced");
    });

    let mut clients = Vec::new();
    for round in 0..ROUNDS {
        let seeds = round * CONNECTIONS_PER_ROUND..(round + 1) * CONNECTIONS_PER_ROUND;
        thread::scope(|scope| {
            let (runtime, listener) = (&runtime, &listener);
            let running: Vec<_> =
                seeds.map(|seed| scope.spawn(move || converse(runtime, listener, seed + 1))).collect();
            clients.extend(running.into_iter().map(|thread| thread.join().expect("the conversation ends")));
        });
    }
    // A server that paused reading does not see the end of its client.
    for (_, connection) in servers.lock().expect("no panic").iter() {
        if let Some(connection) = connection.upgrade() {
            drop(connection.set_reading_paused(false));
            connection.close(Ok(()));
        }
    }
    listener.close();
    drop(listener);
    assert_eq!(runtime.join(Some(LONG)), Ok(()));

    for (seed, tally) in clients.iter().enumerate() {
        tally.check("client", seed as u64 + 1);
    }
    for (number, (tally, _)) in servers.lock().expect("no panic").iter().enumerate() {
        tally.check("server", number as u64);
    }
}
