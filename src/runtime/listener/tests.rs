//! Commands that come late, when another has the place of the one that they are for; and what is counted.

use std::any::Any;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::rpc::Incoming;
use crate::runtime::event_loop::{Command, LoopHandle, Owner, lock};
use crate::runtime::{
    ConnectRequest, Connection, ConnectionHandler, Destroyed, Drain, Error, Level, ListenRequest, Listener,
    ListenerHandler, ListenerLimits, Log, Outcome, Runtime, Settings, Stream,
};
use crate::transport::{Endpoint, LocalOptions};

const PATIENCE: Duration = Duration::from_secs(60);
/// A place that is free is the next one's sooner or later.
const TRIES: usize = 1000;

struct Nobody;

impl ListenerHandler for Nobody {
    fn on_incoming_connection(&self, _: &Arc<Listener>, _: &Arc<Connection>) {}
    fn on_failed_connection(&self, _: &Arc<Listener>, _: &Error) {}
    fn on_closed(&self, _: &Arc<Listener>, _: &Outcome) {}
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Destroyed for Nobody {
    fn on_destroy(&self) {}
}

impl ConnectionHandler for Nobody {
    fn on_setup(&self, _: Result<&Arc<Connection>, &Error>) {}
    fn on_protocol_message(&self, _: &Arc<Connection>, _: &Incoming<'_>) {}
    fn on_incoming_stream(&self, _: &Arc<Connection>, _: &Arc<Stream>, _: &Incoming<'_>) {}
    fn on_writable(&self, _: &Arc<Connection>) {}
    fn on_shutdown(&self, _: &Arc<Connection>, _: &Outcome) {}
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What the loop was asked before is done.
fn settle(event_loop: &LoopHandle) {
    // Whatever its turns have led to is seen in the next pass.
    for _ in 0..2 {
        let (done, is_done) = channel();
        event_loop.post(Command::Run(Box::new(move |_| done.send(()).expect("the test waits")), None));
        is_done.recv_timeout(PATIENCE).expect("the loop runs");
    }
}

fn listen(runtime: &Arc<Runtime>) -> Arc<Listener> {
    listen_with(runtime, ListenerLimits::default())
}

fn listen_with(runtime: &Arc<Runtime>, limits: ListenerLimits) -> Arc<Listener> {
    listen_at(None, runtime, limits)
}

fn listen_at(endpoint: Option<Endpoint>, runtime: &Arc<Runtime>, limits: ListenerLimits) -> Arc<Listener> {
    let mut stored = None;
    let request = ListenRequest {
        endpoint,
        settings: Settings::default(),
        limits,
        local: LocalOptions::default(),
        gatekeeper: None,
        tls: None,
    };
    Listener::listen(runtime, request, Box::new(Nobody), |listener| stored = Some(listener.clone()))
        .expect("a listener");
    let listener = stored.expect("it is stored");
    settle(&listener.event_loop);
    listener
}

/// The second is where the first has been.
fn two_at_one_place<T: Owner>(mut make: impl FnMut() -> Arc<T>, end: impl Fn(&Arc<T>)) -> (Arc<T>, Arc<T>) {
    for _ in 0..TRIES {
        let first = make();
        let place = first.place().token();
        assert!(place.is_some());
        end(&first);
        let second = make();
        if place == second.place().token() {
            return (first, second);
        }
        end(&second);
    }
    panic!("places are not used again");
}

#[test]
fn a_late_close_leaves_the_listener_alone_that_has_the_place_now() {
    let runtime = Runtime::new(1, Log::off()).expect("a thread");
    // It ends by a drain, so that its close is still to come: from a thread that was preempted on its way.
    let end = |listener: &Arc<Listener>| {
        listener.drain(Drain::within(None));
        listener.wait_closed(Some(PATIENCE)).expect("it has no connections");
    };
    let (first, second) = two_at_one_place(|| listen(&runtime), end);
    first.event_loop.post(Command::Visit(first.clone()));
    settle(&first.event_loop);
    assert!(!second.is_closed());
    second.close();
    second.wait_closed(Some(PATIENCE)).expect("it has no connections");
}

#[test]
fn what_happens_on_a_listener_is_counted() {
    let runtime = Runtime::new(1, Log::off()).expect("a thread");
    let limits = ListenerLimits { max_connections: 2, max_pending_handshakes: 1, ..ListenerLimits::default() };
    let listener = listen_with(&runtime, limits);
    // Nothing ends meanwhile.
    let (open, door) = channel::<()>();
    let wait = move |_| {
        let _ = door.recv_timeout(PATIENCE);
    };
    listener.event_loop.post(Command::Run(Box::new(wait), None));
    let adopt = || {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("two sockets");
        let result = listener.adopt_connection(theirs.as_raw_fd());
        if result.is_ok() {
            // It is the listener's.
            std::mem::forget(theirs);
        }
        (ours, result)
    };
    let adopted: Vec<_> = (0..4).map(|_| adopt()).collect();
    assert_eq!(adopted.iter().filter(|(_, result)| result.is_ok()).count(), 2);
    drop(open);
    listener.close();
    listener.wait_closed(Some(PATIENCE)).expect("it has a loop");
    let figures = listener.figures();
    assert_eq!((figures.connections_opened, figures.connections_open, figures.adoptions_refused), (2, 0, 2));
    assert_eq!((figures.handshakes_ended_by_limit, figures.handshakes_unfinished), (1, 1));
    assert_eq!(runtime.figures(), figures);
}

#[test]
fn clients_that_come_and_go_do_not_fill_the_log_with_the_limit() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let written = lines.clone();
    let log = Log::new(Level::Warn, move |_, _, line| lock(&written).push(line.to_owned()));
    let runtime = Runtime::new(1, log).expect("a thread");
    let endpoint = Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
    let limits = ListenerLimits { max_connections: 1, ..ListenerLimits::default() };
    let begun = Instant::now();
    let listener = listen_at(Some(endpoint), &runtime, limits);
    for _ in 0..20 {
        // Nobody accepts it, so that there is room for the next one.
        let mut client = TcpStream::connect(("127.0.0.1", listener.port())).expect("the system takes it");
        client.set_read_timeout(Some(PATIENCE)).expect("a time");
        assert!(!client.read(&mut [0]).is_ok_and(|count| count > 0));
    }
    listener.close();
    listener.wait_closed(Some(PATIENCE)).expect("it has a loop");
    assert!(listener.figures().accept_pauses > 0);
    let lines = lock(&lines);
    let count = lines.iter().filter(|line| line.contains("max_connections")).count() as u64;
    assert!((1..=1 + begun.elapsed().as_secs()).contains(&count), "{lines:?}");
}

#[test]
fn a_late_command_for_a_connection_is_not_run_on_another() {
    let runtime = Runtime::new(1, Log::off()).expect("a thread");
    let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let peers = Mutex::new(Vec::new());
    let connect = || {
        let mut stored = None;
        let socket = TcpStream::connect(server.local_addr().expect("an address")).expect("the server listens");
        lock(&peers).push(server.accept().expect("the client"));
        let endpoint = Endpoint::Socket(socket.into_raw_fd());
        let request = ConnectRequest { endpoint, settings: Settings::default(), handshake: None, tls: None };
        Connection::connect(&runtime, request, Box::new(Nobody), |connection| stored = Some(connection.clone()))
            .expect("a connection");
        let connection: Arc<Connection> = stored.expect("it is stored");
        connection.wait_setup(Some(PATIENCE)).expect("it is connected").expect("it is connected");
        connection
    };
    let end = |connection: &Arc<Connection>| {
        connection.abort();
        let _ = connection.wait_shutdown(Some(PATIENCE)).expect("an end");
        settle(connection.buffers());
    };
    let (first, second) = two_at_one_place(connect, end);
    settle(second.buffers());
    // A run would take this back.
    assert!(second.lock().ask_to_write());
    first.post(Command::Visit(first.clone()));
    settle(first.buffers());
    assert!(!second.lock().ask_to_write());
    second.post(Command::Visit(second.clone()));
    settle(second.buffers());
    assert!(second.lock().ask_to_write());
    second.post(Command::Visit(second.clone()));
    end(&second);
}

#[test]
fn a_name_that_cannot_be_found_is_counted() {
    let runtime = Runtime::new(1, Log::off()).expect("a thread");
    let mut stored = None;
    // No system finds an empty label, nor asks anybody for it.
    let endpoint = Endpoint::Tcp { host: "a..b".to_owned(), port: 1 };
    let request = ConnectRequest { endpoint, settings: Settings::default(), handshake: None, tls: None };
    Connection::connect(&runtime, request, Box::new(Nobody), |connection| stored = Some(connection.clone()))
        .expect("it is begun");
    let connection: Arc<Connection> = stored.expect("it is stored");
    let setup = connection.wait_setup(Some(PATIENCE)).expect("an outcome");
    assert!(setup.is_err());
    let _ = connection.wait_shutdown(Some(PATIENCE)).expect("an end");
    let figures = runtime.figures();
    assert_eq!((figures.failures_resolve, figures.failures_other, figures.connections_opened), (1, 0, 1), "{setup:?}");
}
