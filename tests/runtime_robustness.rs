//! Corners of the runtime in which a call might never return, or a message might be lost.

#[path = "common/runtime_recorder.rs"]
mod runtime_recorder;

use eventstream_rpc::rpc::{MessageType, Outgoing, TERMINATE_STREAM};
use eventstream_rpc::runtime::{Error, Phase, Settings, Stream, Times};
use eventstream_rpc::transport::{Endpoint, LocalName};
use runtime_recorder::*;
use std::cell::RefCell;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CONNECT: i32 = MessageType::Connect as i32;
const PING: i32 = MessageType::Ping as i32;

fn nowhere() -> Endpoint {
    Endpoint::Local(LocalName::Path("/no-such-folder/socket".into()))
}

#[test]
fn a_panic_on_one_connection_leaves_the_others_alone() {
    let runtime = runtime();
    let (recorder, events) = Recorder::new(|recorder, on| match on {
        On::Protocol(_, PING) => panic!("a handler's own"),
        on => serve(recorder, on),
    });
    let listener = serve_with(&runtime, Settings::default(), &recorder);
    let (mut good, mut bad) = (raw_peer(&listener), raw_peer(&listener));
    for peer in [&mut good, &mut bad] {
        peer.write_all(&message(MessageType::Connect, 0, 0, b"")).expect("the server reads");
        read_message(peer);
    }
    bad.write_all(&message(MessageType::Ping, 0, 0, b"")).expect("the server reads");
    let end = wait_for(&events, |event| matches!(event, Event::Shutdown(_)));
    assert!(matches!(end, Event::Shutdown(Err(Error::Internal(_)))), "{end:?}");

    good.write_all(&message(MessageType::PingResponse, 0, 0, b"still there")).expect("the server reads");
    let next = wait_for(&events, |event| matches!(event, Event::Protocol(..) | Event::Shutdown(_)));
    assert_eq!(next, Event::Protocol(MessageType::PingResponse as i32, b"still there".to_vec()));
}

#[test]
fn waiting_for_a_connection_that_nobody_accepted_comes_to_an_end() {
    let runtime = runtime();
    let (kept, connections) = channel();
    let kept = Mutex::new(kept);
    let listener = listen(&runtime, Settings::default(), move |connection| {
        kept.lock().expect("no panic").send(connection.clone()).expect("the test listens");
    });
    let mut peer = raw_peer(&listener);
    let connection = connections.recv_timeout(LONG).expect("a connection");
    assert_eq!(peer.read(&mut [0; 1]).unwrap_or(0), 0, "it is closed");
    let setup = connection.wait_setup(Some(LONG)).expect("it is over");
    assert_eq!(setup, Err(Error::Cancelled));
    assert_eq!(connection.wait_shutdown(Some(LONG)).expect("it is over"), Err(Error::Cancelled));
    assert_eq!(connection.phase(), Phase::Closed);
}

#[test]
fn waiting_for_a_stream_that_was_refused_comes_to_an_end() {
    let runtime = runtime();
    let (kept, streams) = channel();
    let kept = Mutex::new(kept);
    let (recorder, _events) = Recorder::new(move |recorder, on| match on {
        On::IncomingStream(_, stream, _) => kept.lock().expect("no panic").send(stream.clone()).expect("it listens"),
        on => serve(recorder, on),
    });
    let listener = serve_with(&runtime, Settings::default(), &recorder);
    let mut peer = raw_peer(&listener);
    peer.write_all(&message(MessageType::Connect, 0, 0, b"")).expect("the server reads");
    read_message(&mut peer);
    let open = with_operation(MessageType::ApplicationMessage, 0, 1, Some(b"unknown"), b"");
    peer.write_all(&open).expect("the server reads");
    let stream = streams.recv_timeout(LONG).expect("a stream");
    assert_eq!(read_message(&mut peer).0, MessageType::ApplicationError as i32);
    assert_eq!(stream.wait_closed(Some(LONG)), Ok(Ok(())));
}

#[test]
fn a_stream_that_is_not_accepted_is_refused_however_long_its_operation() {
    let runtime = runtime();
    let (recorder, _events) = Recorder::new(|recorder, on| match on {
        On::IncomingStream(..) => {}
        on => serve(recorder, on),
    });
    let mut settings = Settings::default();
    settings.limits.messages.max_message_len = 2000;
    let listener = serve_with(&runtime, settings, &recorder);
    let mut peer = raw_peer(&listener);
    peer.write_all(&message(MessageType::Connect, 0, 0, b"")).expect("the server reads");
    read_message(&mut peer);
    let operation = vec![b'"'; 1800];
    let open = with_operation(MessageType::ApplicationMessage, 0, 1, Some(&operation), b"");
    peer.write_all(&open).expect("the server reads");
    assert_eq!(read_message(&mut peer).0, MessageType::ApplicationError as i32);
}

#[test]
fn a_connection_closed_before_it_could_fail_is_cancelled() {
    let runtime = runtime();
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let (blocker, blocked) = Recorder::new(move |_, on| {
        if matches!(on, On::Setup(_)) {
            let _ = released.lock().expect("no panic").recv_timeout(LONG);
        }
    });
    let _first = connect(&runtime, nowhere(), None, &blocker);
    wait_for(&blocked, |event| matches!(event, Event::Setup(_)));

    // The loop is busy in the callback: it cannot have looked at the second connection yet.
    let (recorder, events) = Recorder::new(|_, _| {});
    let second = connect(&runtime, nowhere(), None, &recorder);
    second.close(Ok(()));
    release.send(()).expect("the callback waits");
    let setup = wait_for(&events, |event| matches!(event, Event::Setup(_)));
    assert_eq!(setup, Event::Setup(Err(Error::Cancelled)));
}

#[test]
fn the_handshake_limit_ends_with_the_ack_not_with_the_next_read() {
    let runtime = runtime();
    let (recorder, events) = Recorder::new(serve);
    let listener = serve_with(&runtime, Settings::default(), &recorder);
    let mut peer = raw_peer(&listener);
    let large = vec![b'p'; 100_000];
    let both = [message(MessageType::Connect, 0, 0, b""), message(MessageType::Ping, 0, 0, &large)].concat();
    peer.write_all(&both).expect("the server reads");
    assert_eq!(wait_for(&events, |_| true), Event::Protocol(CONNECT, Vec::new()));
    assert!(wait_for(&events, |_| true) == Event::Protocol(PING, large), "the ping arrives whole");
}

#[test]
fn an_abort_flushes_sends_as_lost_and_so_ends_the_close_that_it_cut_short() {
    let runtime = runtime();
    let (recorder, events) = Recorder::new(|recorder, on| match on {
        On::Protocol(connection, PING) => {
            let payload = vec![0; 15 * 1024 * 1024];
            let much = Outgoing { payload: &payload, ..Outgoing::empty(MessageType::PingResponse, 0) };
            connection.send_protocol(much, recorder.flush()).expect("there is room");
            connection.close(Err(Error::Application(1234)));
            connection.abort();
        }
        on => serve(recorder, on),
    });
    let listener = serve_with(&runtime, Settings::default(), &recorder);
    let mut peer = raw_peer(&listener);
    peer.write_all(&message(MessageType::Connect, 0, 0, b"")).expect("the server reads");
    read_message(&mut peer);
    peer.write_all(&message(MessageType::Ping, 0, 0, b"")).expect("the server reads");
    let flushed = wait_for(&events, |event| matches!(event, Event::Flushed(_)));
    assert!(matches!(flushed, Event::Flushed(Err(Error::Aborted { .. }))), "{flushed:?}");
    let end = wait_for(&events, |event| matches!(event, Event::Shutdown(_)));
    assert!(matches!(end, Event::Shutdown(Err(Error::Aborted { .. }))), "{end:?}");
}

#[test]
fn a_peer_that_broke_a_rule_and_reads_nothing_does_not_hide_that() {
    let runtime = runtime();
    let (recorder, events) = Recorder::new(|recorder, on| match on {
        On::Protocol(connection, PING) => {
            let payload = vec![0; 15 * 1024 * 1024];
            let much = Outgoing { payload: &payload, ..Outgoing::empty(MessageType::PingResponse, 0) };
            connection.send_protocol(much, recorder.flush()).expect("there is room");
        }
        on => serve(recorder, on),
    });
    let times = Times { linger: Some(Duration::from_millis(50)), ..Times::default() };
    let settings = Settings { times, ..Settings::default() };
    let listener = serve_with(&runtime, settings, &recorder);
    let mut peer = raw_peer(&listener);
    peer.write_all(&message(MessageType::Connect, 0, 0, b"")).expect("the server reads");
    read_message(&mut peer);
    let ping = message(MessageType::Ping, 0, 0, b"");
    let violation = message(MessageType::Connect, 0, 0, b"");
    peer.write_all(&[ping, violation].concat()).expect("the server reads");
    let flushed = wait_for(&events, |event| matches!(event, Event::Flushed(_)));
    assert!(matches!(flushed, Event::Flushed(Err(Error::LingerExpired { .. }))), "{flushed:?}");
    let end = wait_for(&events, |event| matches!(event, Event::Shutdown(_)));
    assert!(matches!(end, Event::Shutdown(Err(Error::Violation(_)))), "{end:?}");
}

#[test]
fn every_join_returns_after_the_threads_have_ended() {
    /// Ends with its thread, not before a join has returned or a while has passed.
    struct Last(Receiver<()>, Arc<AtomicBool>);
    impl Drop for Last {
        fn drop(&mut self) {
            let _ = self.0.recv_timeout(Duration::from_millis(200));
            self.1.store(true, Ordering::SeqCst);
        }
    }
    thread_local! {
        static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
    }

    let runtime = runtime();
    let (returned, joins) = channel();
    let ended = Arc::new(AtomicBool::new(false));
    let (recorder, events) = Recorder::new(|_, _| {});
    let connection = connect(&runtime, nowhere(), None, &recorder);
    let last = Last(joins, ended.clone());
    connection.run_on_loop(|_| LAST.set(Some(last)));
    drop(connection);
    wait_for(&events, |event| *event == Event::Destroyed);

    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (runtime, ended, returned) = (&runtime, &ended, returned.clone());
            scope.spawn(move || {
                assert_eq!(runtime.join(Some(LONG)), Ok(()));
                let in_order = ended.load(Ordering::SeqCst);
                let _ = returned.send(());
                assert!(in_order, "join returned before the thread had ended");
            });
        }
    });
}

#[test]
fn everything_that_is_made_is_destroyed_once_and_the_runtime_ends() {
    let runtime = runtime();
    let (server, server_events) = Recorder::new(|recorder, on| match on {
        On::Message(stream) => stream
            .send(Outgoing::empty(MessageType::ApplicationMessage, TERMINATE_STREAM), None)
            .expect("the stream is open"),
        on => serve(recorder, on),
    });
    let listener = serve_with(&runtime, Settings::default(), &server);
    let (client, client_events) = Recorder::new(|_, _| {});
    let connection = connect(&runtime, endpoint_of(&listener), Some(Default::default()), &client);
    assert_eq!(connection.wait_setup(Some(LONG)), Ok(Ok(())));
    let stream = Stream::new(&connection, client.on_stream()).expect("it is open");
    let first = Outgoing { operation: Some(b"o"), ..Outgoing::empty(MessageType::ApplicationMessage, 0) };
    stream.activate(first, client.flush()).expect("it is open");
    assert_eq!(stream.wait_closed(Some(LONG)), Ok(Ok(())));
    connection.close(Ok(()));
    listener.close();
    drop((stream, connection, listener));
    assert_eq!(runtime.join(Some(LONG)), Ok(()));
    drop((server, client));

    let count = |events: Receiver<Event>, wanted: Event| events.try_iter().filter(|event| *event == wanted).count();
    let of_client: Vec<Event> = client_events.try_iter().collect();
    let expected = [
        Event::Setup(Ok(())),
        Event::Flushed(Ok(())),
        Event::Message(1, Vec::new()),
        Event::Closed(1, Ok(())),
        Event::StreamDestroyed,
        Event::Shutdown(Ok(())),
        Event::Destroyed,
    ];
    assert_eq!(of_client.len(), expected.len(), "{of_client:?}");
    assert!(expected.iter().all(|event| of_client.contains(event)), "{of_client:?}");
    assert_eq!(of_client.last(), Some(&Event::Destroyed));
    assert_eq!(count(server_events, Event::Destroyed), 1);
    assert_eq!(Arc::strong_count(&runtime), 1);
}
