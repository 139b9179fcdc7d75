//! Promises in every schedule that shuttle tries: see run.sh. A call that hangs is a deadlock that shuttle reports.

use std::any::Any;
use std::env;
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use eventstream_rpc::codec::HeaderList;
use eventstream_rpc::model::thread::{JoinHandle, spawn};
use eventstream_rpc::rpc::{CONNECTION_ACCEPTED, Envelope, Incoming, MessageType, Outgoing, TERMINATE_STREAM};
use eventstream_rpc::runtime::{
    ConnectRequest, Connection, ConnectionHandler, Destroyed, Drain, Error, Flush, ListenRequest, Listener,
    ListenerHandler, Log, Outcome, Phase, Runtime, Settings, Stream, StreamHandler,
};
use eventstream_rpc::transport::{Endpoint, LocalOptions};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// Runs it in many schedules, half of them random and half by priorities that change a few times.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let schedules = env::var("ESRPC_SCHEDULES").ok().and_then(|count| count.parse().ok()).unwrap_or(1000);
    let model = Arc::new(model);
    let mut config = Config::new();
    config.stack_size = 1024 * 1024;
    config.max_steps = shuttle::MaxSteps::FailAfter(200_000);
    let again = model.clone();
    Runner::new(RandomScheduler::new(schedules / 2), config.clone()).run(move || again());
    Runner::new(PctScheduler::new(3, schedules / 2), config).run(move || model());
}

/// What was made and what came of it. With a lock of the standard library, which is not part of the model.
#[derive(Default)]
struct Tally {
    connections: AtomicUsize,
    setups: AtomicUsize,
    set_up: AtomicUsize,
    shutdowns: AtomicUsize,
    streams: AtomicUsize,
    activated: AtomicUsize,
    closed: AtomicUsize,
    messages: AtomicUsize,
    sends: AtomicUsize,
    flushed: AtomicUsize,
    listeners: AtomicUsize,
    listeners_closed: AtomicUsize,
    incoming: AtomicUsize,
    tasks: AtomicUsize,
    destroyed: AtomicUsize,
    /// No callback may run any longer.
    is_stopped: AtomicBool,
}

fn add(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::SeqCst);
}

fn value(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::SeqCst)
}

impl Tally {
    /// After the runtime has ended: everything lived to its end.
    fn check(&self) {
        assert_eq!(value(&self.sends), value(&self.flushed), "flush callbacks");
        assert_eq!(value(&self.activated), value(&self.closed), "on_closed");
        assert_eq!(value(&self.set_up), value(&self.shutdowns), "on_shutdown");
        assert_eq!(value(&self.listeners), value(&self.listeners_closed), "on_closed of listeners");
        let made = value(&self.connections) + value(&self.streams) + value(&self.listeners);
        assert_eq!(made, value(&self.destroyed), "on_destroy");
    }
}

/// One connection, stream or listener, whose callbacks must come in order.
struct Party {
    tally: Arc<Tally>,
    /// 0 new, 1 begun, 2 ended, 3 destroyed.
    state: AtomicUsize,
    /// What its connection has not reported yet.
    streams: Option<Arc<AtomicUsize>>,
    on_stream: Option<Arc<OnStream>>,
    /// Streams are deferred, and not accepted, before `on_stream` gets them.
    defers: bool,
}

type OnStream = dyn Fn(&Arc<Stream>) + Send + Sync;

impl Party {
    fn new(tally: &Arc<Tally>) -> Party {
        Party { tally: tally.clone(), state: AtomicUsize::new(0), streams: None, on_stream: None, defers: false }
    }

    /// For a handler that is called only if it is taken.
    fn accepted(tally: &Arc<Tally>) -> Party {
        let party = Party::new(tally);
        party.step(&[0], 1);
        party
    }

    fn step(&self, from: &[usize], to: usize) {
        assert!(!self.tally.is_stopped.load(Ordering::SeqCst), "a callback after the stop");
        let before = self.state.swap(to, Ordering::SeqCst);
        assert!(from.contains(&before), "a callback in the wrong order: {before} then {to}");
    }

    fn destroy(&self) {
        self.step(&[0, 2], 3);
        add(&self.tally.destroyed);
    }
}

impl ConnectionHandler for Party {
    fn on_setup(&self, result: Result<&Arc<Connection>, &Error>) {
        add(&self.tally.setups);
        self.step(&[0], if result.is_ok() { 1 } else { 2 });
        if result.is_ok() {
            add(&self.tally.set_up);
        }
    }

    fn on_protocol_message(&self, connection: &Arc<Connection>, incoming: &Incoming<'_>) {
        assert_eq!(self.state.load(Ordering::SeqCst), 1);
        if Envelope::read(&incoming.message.headers).message_type == Some(MessageType::Connect as i32) {
            let _ = connection.send_protocol(Outgoing::empty(MessageType::ConnectAck, CONNECTION_ACCEPTED), None);
        }
    }

    fn on_incoming_stream(&self, _: &Arc<Connection>, stream: &Arc<Stream>, _: &Incoming<'_>) {
        assert_eq!(self.state.load(Ordering::SeqCst), 1);
        if self.defers {
            stream.defer(None).expect("it is being announced");
        } else {
            add(&self.tally.streams);
            add(&self.tally.activated);
            stream.accept(Box::new(Party::accepted(&self.tally))).expect("it is being announced");
        }
        if let Some(act) = &self.on_stream {
            act(stream);
        }
    }

    fn on_writable(&self, _: &Arc<Connection>) {}

    fn on_shutdown(&self, _: &Arc<Connection>, _: &Outcome) {
        if let Some(streams) = &self.streams {
            assert_eq!(value(streams), 0, "on_shutdown before on_closed");
        }
        self.step(&[1], 2);
        add(&self.tally.shutdowns);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Destroyed for Party {
    fn on_destroy(&self) {
        self.destroy();
    }
}

impl StreamHandler for Party {
    fn on_message(&self, _: &Arc<Stream>, _: &Incoming<'_>) {
        assert!(self.state.load(Ordering::SeqCst) < 2, "a message after on_closed");
        add(&self.tally.messages);
    }

    fn on_writable(&self, _: &Arc<Stream>) {}

    fn on_closed(&self, _: &Arc<Stream>, _: &Outcome) {
        // A client's stream may end before the thread that has activated it says so.
        self.step(&[0, 1], 2);
        add(&self.tally.closed);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl ListenerHandler for Party {
    fn on_incoming_connection(&self, _: &Arc<Listener>, connection: &Arc<Connection>) {
        assert_eq!(self.state.load(Ordering::SeqCst), 0, "a connection after on_closed");
        let mut party = Party::accepted(&self.tally);
        party.on_stream = self.on_stream.clone();
        party.defers = self.defers;
        if connection.accept(Box::new(party)).is_ok() {
            add(&self.tally.incoming);
            add(&self.tally.connections);
            add(&self.tally.set_up);
        }
    }

    fn on_failed_connection(&self, _: &Arc<Listener>, _: &Error) {}

    fn on_closed(&self, _: &Arc<Listener>, _: &Outcome) {
        self.step(&[0], 2);
        add(&self.tally.listeners_closed);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A runtime with a loop for the listener and the server's connections, and one for clients, in turns.
struct Scene {
    runtime: Arc<Runtime>,
    tally: Arc<Tally>,
    on_stream: Option<Arc<OnStream>>,
    defers: bool,
}

impl Scene {
    fn new(loops: usize) -> Arc<Scene> {
        Scene::with(loops, None)
    }

    fn with(loops: usize, on_stream: Option<Arc<OnStream>>) -> Arc<Scene> {
        let runtime = Runtime::new(loops, Log::off()).expect("loops");
        Arc::new(Scene { runtime, tally: Arc::default(), on_stream, defers: false })
    }

    /// Each stream of a server is deferred, and a thread of its own decides on it.
    fn deciding_later(decide: fn(&Arc<Stream>, &Arc<Tally>)) -> Arc<Scene> {
        let tally = Arc::<Tally>::default();
        let of = tally.clone();
        let on_stream = move |stream: &Arc<Stream>| {
            let (stream, tally) = (stream.clone(), of.clone());
            stream.hold();
            // The runtime does not end before the thread gives the stream back.
            drop(spawn(move || {
                decide(&stream, &tally);
                stream.let_go();
            }));
        };
        let runtime = Runtime::new(2, Log::off()).expect("loops");
        Arc::new(Scene { runtime, tally, on_stream: Some(Arc::new(on_stream)), defers: true })
    }

    fn try_listen(&self) -> Option<Arc<Listener>> {
        let settings = Settings::default();
        let request = ListenRequest {
            endpoint: None,
            limits: Default::default(),
            settings,
            local: LocalOptions::default(),
            gatekeeper: None,
            tls: None,
        };
        let made = OnceLock::new();
        let mut party = Party::new(&self.tally);
        party.on_stream = self.on_stream.clone();
        party.defers = self.defers;
        let store = |listener: &Arc<Listener>| {
            add(&self.tally.listeners);
            let _ = made.set(listener.clone());
        };
        let result = Listener::listen(&self.runtime, request, Box::new(party), store);
        assert_eq!(result.is_ok(), made.get().is_some());
        made.into_inner()
    }

    fn listen(&self) -> Arc<Listener> {
        self.try_listen().expect("the runtime is up")
    }

    /// A client of the listener; the server may not take its side.
    fn connect(&self, listener: &Arc<Listener>) -> Option<Arc<Connection>> {
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        let raw = theirs.into_raw_fd();
        if listener.adopt_connection(raw).is_err() {
            // SAFETY: after an error it is still ours.
            drop(unsafe { <UnixStream as std::os::fd::FromRawFd>::from_raw_fd(raw) });
        }
        let raw = ours.into_raw_fd();
        let handshake = Some((HeaderList::new(), Vec::new()));
        let settings = Settings::default();
        let request = ConnectRequest { endpoint: Endpoint::Socket(raw), settings, handshake, tls: None };
        let made = OnceLock::new();
        let store = |connection: &Arc<Connection>| {
            add(&self.tally.connections);
            let _ = made.set(connection.clone());
        };
        let result = Connection::connect(&self.runtime, request, Box::new(Party::new(&self.tally)), store);
        if result.is_err() {
            // SAFETY: as above.
            drop(unsafe { <UnixStream as std::os::fd::FromRawFd>::from_raw_fd(raw) });
        }
        made.into_inner()
    }

    /// Both sides of a conversation, ready to talk.
    fn meet(&self, listener: &Arc<Listener>) -> Arc<Connection> {
        let connection = self.connect(listener).expect("the runtime is up");
        connection.wait_setup(None).expect("not a loop thread").expect("the server takes everybody");
        connection
    }

    fn new_stream(&self, connection: &Arc<Connection>) -> Option<Arc<Stream>> {
        let stream = Stream::new(connection, Box::new(Party::new(&self.tally))).ok()?;
        add(&self.tally.streams);
        Some(stream)
    }

    /// Whether it was accepted.
    fn activate(&self, stream: &Arc<Stream>, flags: i32) -> bool {
        let message = Outgoing {
            message_type: MessageType::ApplicationMessage as i32,
            flags,
            headers: None,
            operation: Some(b"operation"),
            payload: b"first",
        };
        let taken = stream.activate(message, self.flush()).is_ok();
        if taken {
            add(&self.tally.sends);
            add(&self.tally.activated);
        }
        taken
    }

    fn send(&self, stream: &Arc<Stream>, flags: i32) -> bool {
        let message = Outgoing {
            message_type: MessageType::ApplicationMessage as i32,
            flags,
            headers: None,
            operation: None,
            payload: b"more",
        };
        let taken = stream.send(message, self.flush()).is_ok();
        if taken {
            add(&self.tally.sends);
        }
        taken
    }

    fn ping(&self, connection: &Arc<Connection>) -> bool {
        let taken = connection.send_protocol(Outgoing::empty(MessageType::Ping, 0), self.flush()).is_ok();
        if taken {
            add(&self.tally.sends);
        }
        taken
    }

    fn flush(&self) -> Option<Flush> {
        fn flushed([tally, _]: [usize; 2], _: &Outcome) {
            // SAFETY: the scene, which outlives its runtime's threads, holds the tally.
            add(unsafe { &(*(tally as *const Tally)).flushed });
        }
        Some(Flush { run: flushed, words: [Arc::as_ptr(&self.tally) as usize, 0] })
    }

    /// When everything was released: it ends, and all of it was reported.
    fn end(&self) {
        self.runtime.join(None).expect("not a loop thread");
        self.tally.check();
    }

    fn begin(self: &Arc<Self>, work: impl FnOnce(&Scene) + Send + 'static) -> JoinHandle<()> {
        let scene = self.clone();
        spawn(move || work(&scene))
    }
}

fn finish(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

/// The loop's wake protocol: the first to post wakes it, and nothing that is posted is left behind.
#[test]
fn every_task_that_is_posted_runs() {
    check(|| {
        let scene = Scene::new(1);
        let listener = scene.listen();
        let connection = scene.connect(&listener).expect("the runtime is up");
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let connection = connection.clone();
                scene.begin(move |scene| {
                    for _ in 0..2 {
                        let tally = scene.tally.clone();
                        connection.run_on_loop(move |outcome| {
                            assert!(outcome.is_ok());
                            add(&tally.tasks);
                        });
                    }
                })
            })
            .collect();
        finish(threads);
        connection.abort();
        connection.wait_shutdown(None).expect("not a loop thread").ok();
        drop(connection);
        listener.close();
        drop(listener);
        scene.end();
        assert_eq!(value(&scene.tally.tasks), 6);
    });
}

#[test]
fn close_against_activate() {
    check(|| {
        let scene = Scene::new(2);
        let listener = scene.listen();
        let connection = scene.meet(&listener);
        let mut threads = Vec::new();
        for flags in [0, TERMINATE_STREAM] {
            let connection = connection.clone();
            threads.push(scene.begin(move |scene| {
                let Some(stream) = scene.new_stream(&connection) else { return };
                if scene.activate(&stream, flags) {
                    scene.send(&stream, 0);
                    stream.wait_closed(None).expect("not a loop thread").ok();
                }
            }));
        }
        let closing = connection.clone();
        threads.push(scene.begin(move |_| closing.close(Ok(()))));
        finish(threads);
        drop(connection);
        listener.close();
        drop(listener);
        scene.end();
    });
}

/// Two threads of the client and the server's handler end one stream; the others get the status of an ended stream.
#[test]
fn a_stream_that_every_side_ends() {
    check(|| {
        let scene = Scene::with(2, Some(Arc::new(|stream: &Arc<Stream>| drop(stream.close()))));
        let listener = scene.listen();
        let connection = scene.meet(&listener);
        let stream = scene.new_stream(&connection).expect("the connection is open");
        assert!(scene.activate(&stream, 0));
        let ended = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (stream, ended) = (stream.clone(), ended.clone());
                scene.begin(move |scene| {
                    if scene.send(&stream, TERMINATE_STREAM) {
                        add(&ended);
                    }
                    assert!(!scene.send(&stream, 0), "a send after the end");
                })
            })
            .collect();
        finish(threads);
        stream.wait_closed(None).expect("not a loop thread").ok();
        assert!(value(&ended) <= 1, "ended twice");
        drop(stream);
        connection.close(Ok(()));
        drop(connection);
        listener.close();
        drop(listener);
        scene.end();
    });
}

fn accept_deferred(stream: &Arc<Stream>, tally: &Arc<Tally>) {
    if stream.accept(Box::new(Party::accepted(tally))).is_ok() {
        add(&tally.streams);
        add(&tally.activated);
    }
}

fn answer_deferred(stream: &Arc<Stream>, _: &Arc<Tally>) {
    drop(stream.answer(Outgoing::empty(MessageType::ApplicationMessage, 0)));
}

/// Whenever it is accepted, the server gets every message before the end, though the client ends all at once.
#[test]
fn accept_a_deferred_stream_against_its_end() {
    check(|| {
        let scene = Scene::deciding_later(accept_deferred);
        let listener = scene.listen();
        let connection = scene.meet(&listener);
        let stream = scene.new_stream(&connection).expect("the connection is open");
        assert!(scene.activate(&stream, 0) && scene.send(&stream, 0) && scene.send(&stream, TERMINATE_STREAM));
        drop(stream);
        connection.close(Ok(()));
        drop(connection);
        listener.close();
        drop(listener);
        scene.end();
        // The client's stream was the first.
        let accepted = value(&scene.tally.streams) - 1;
        assert_eq!(value(&scene.tally.messages), 3 * accepted, "messages of an accepted stream");
    });
}

/// A deferred stream is accepted, answered or forgotten while its client goes away and its server ends.
#[test]
fn decide_against_aborts() {
    for decide in [accept_deferred as fn(&Arc<Stream>, &Arc<Tally>), answer_deferred, |_, _| ()] {
        check(move || {
            let scene = Scene::deciding_later(decide);
            let listener = scene.listen();
            let connection = scene.meet(&listener);
            let stream = scene.new_stream(&connection).expect("the connection is open");
            assert!(scene.activate(&stream, 0));
            let of = connection.clone();
            let aborts = scene.begin(move |_| of.abort());
            let at = listener.clone();
            let drains = scene.begin(move |_| at.drain(Drain::within(None)));
            scene.send(&stream, TERMINATE_STREAM);
            finish([aborts, drains]);
            drop((stream, connection, listener));
            scene.end();
        });
    }
}

/// What one thread asks of a listener that is closed must not hit one that has taken its place.
#[test]
fn listeners_that_take_each_others_places() {
    check(|| {
        let scene = Scene::new(1);
        let first = scene.listen();
        let mut threads = Vec::new();
        let listener = first.clone();
        threads.push(scene.begin(move |_| listener.close()));
        let listener = first.clone();
        threads.push(scene.begin(move |_| listener.drain(Drain::within(None))));
        let listener = first.clone();
        threads.push(scene.begin(move |scene| {
            if let Some(connection) = scene.connect(&listener) {
                connection.abort();
            }
        }));
        threads.push(scene.begin(move |scene| {
            for _ in 0..2 {
                let second = scene.listen();
                // Nobody but this thread closes it.
                let incoming = value(&scene.tally.incoming);
                let connection = scene.meet(&second);
                assert!(value(&scene.tally.incoming) > incoming);
                assert!(!second.is_closed());
                connection.abort();
                drop(connection);
                second.close();
                second.wait_closed(None).expect("not a loop thread");
            }
        }));
        finish(threads);
        first.wait_closed(None).expect("not a loop thread");
        drop(first);
        scene.end();
    });
}

#[test]
fn every_send_that_is_taken_is_flushed_once() {
    check(|| {
        let scene = Scene::new(2);
        let listener = scene.listen();
        let connection = scene.meet(&listener);
        let mut threads = Vec::new();
        for _ in 0..2 {
            let connection = connection.clone();
            threads.push(scene.begin(move |scene| while scene.ping(&connection) && value(&scene.tally.sends) < 6 {}));
        }
        let (closing, aborting) = (connection.clone(), connection.clone());
        threads.push(scene.begin(move |_| closing.close(Ok(()))));
        threads.push(scene.begin(move |_| aborting.abort()));
        let waiting = connection.clone();
        threads.push(scene.begin(move |_| drop(waiting.wait_flush(None).expect("not a loop thread"))));
        finish(threads);
        connection.wait_shutdown(None).expect("not a loop thread").ok();
        assert_eq!(connection.phase(), Phase::Closed);
        assert_eq!(value(&scene.tally.sends), value(&scene.tally.flushed), "on_shutdown before a flush callback");
        drop(connection);
        listener.close();
        drop(listener);
        scene.end();
    });
}

/// The runtime is shut down while everything else is begun and ended.
#[test]
fn stop_against_everything() {
    check(|| {
        let scene = Scene::new(2);
        let listener = scene.listen();
        let connection = scene.meet(&listener);
        let mut threads = Vec::new();
        threads.push(scene.begin(|scene| scene.runtime.shut_down()));
        threads.push(scene.begin(|scene| drop(scene.try_listen())));
        let at = listener.clone();
        threads.push(scene.begin(move |scene| {
            if let Some(connection) = scene.connect(&at) {
                connection.wait_setup(None).expect("not a loop thread").ok();
                connection.close(Ok(()));
            }
        }));
        let of = connection.clone();
        threads.push(scene.begin(move |scene| {
            let Some(stream) = scene.new_stream(&of) else { return };
            if scene.activate(&stream, 0) {
                stream.wait_closed(None).expect("not a loop thread").ok();
            }
        }));
        let at = listener.clone();
        threads.push(scene.begin(move |_| at.drain(Drain::within(None))));
        finish(threads);
        connection.wait_shutdown(None).expect("not a loop thread").ok();
        listener.wait_closed(None).expect("not a loop thread");
        drop(connection);
        drop(listener);
        scene.end();
    });
}

/// A model that cannot fail shows nothing: shuttle finds the lost update.
#[test]
#[should_panic(expected = "lost")]
fn a_lost_update_is_found() {
    check(|| {
        let counter = Arc::new(eventstream_rpc::model::sync::atomic::AtomicUsize::new(0));
        let other = counter.clone();
        let thread = spawn(move || other.store(other.load(Ordering::SeqCst) + 1, Ordering::SeqCst));
        counter.store(counter.load(Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread.join().expect("no panic");
        assert_eq!(counter.load(Ordering::SeqCst), 2, "lost");
    });
}
