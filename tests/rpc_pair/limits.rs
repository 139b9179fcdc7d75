//! What a peer cannot make a server hold, or do.

use super::*;
use eventstream_rpc::rpc::{HELD_BY_STREAM, MAX_EXEMPT_LEN, Rate, StreamState, Violation};
use std::time::{Duration, Instant};

/// Streams are numbered and nobody waits for a send but numbers.
type Numbered = Connection<i32, i32>;

fn server_with(limits: Limits) -> (Side, Side) {
    opened(Side::new(Role::Client), Side::with_limits(Role::Server, limits))
}

fn message(flags: i32) -> Outgoing<'static> {
    Outgoing::empty(MessageType::ApplicationMessage, flags)
}

#[test]
fn a_server_announces_as_many_streams_as_the_limit_and_refuses_the_next() {
    let (mut client, mut server) = server_with(Limits { max_streams: 2, ..Limits::default() });
    for (id, stream) in [(1, "a"), (2, "b")] {
        assert_eq!(client.activate(stream, 0), Ok(id));
        assert_eq!(transfer(&mut client, &mut server), [Received::NewStream { id, ends: false }]);
        server.accept_stream(id, stream);
    }
    assert_eq!(client.activate("c", 0), Ok(3));
    assert_eq!(transfer(&mut client, &mut server), [Received::ExcessStream { id: 3 }]);
    assert_eq!(server.rpc.stream_state(3), StreamState::Closed);
    assert_eq!((server.rpc.counts().streams_refused, server.rpc.counts().streams_in_excess), (1, 1));
    let (refusal, _) = server.flush();
    let text = "2 streams are open on this connection, and the server allows no more";
    assert_eq!(text_of(&refusal), (MessageType::ApplicationError, TERMINATE_STREAM, 3, text.to_owned()));
    assert_eq!(client.receive_one(&refusal), Ok(ended("c", &[])));

    server.rpc.remove_stream(1);
    assert_eq!(client.activate("d", 0), Ok(4));
    assert_eq!(transfer(&mut client, &mut server), [Received::NewStream { id: 4, ends: false }]);
}

#[test]
fn an_open_stream_is_held_with_its_operations_name() {
    let (mut client, mut server) = open_pair();
    for (id, name) in [(1, "short"), (2, "a much longer name"), (3, "another")] {
        assert_eq!(client.activate(name, 0), Ok(id));
        transfer(&mut client, &mut server);
        server.accept_stream(id, name);
    }
    for side in [&mut client, &mut server] {
        assert_eq!(side.rpc.held_by_streams(), 3 * HELD_BY_STREAM + "shorta much longer nameanother".len());
        assert_eq!(side.rpc.remove_stream(2), Some("a much longer name"));
        assert_eq!(side.rpc.remove_stream(2), None);
        assert_eq!(side.rpc.held_by_streams(), 2 * HELD_BY_STREAM + "shortanother".len());
        assert_eq!(side.end_stream(1), Ok(()));
        assert_eq!(side.rpc.held_by_streams(), 2 * HELD_BY_STREAM + "shortanother".len(), "until it is over");
        side.rpc.end();
        assert_eq!(side.rpc.held_by_streams(), 0);
    }
}

#[test]
fn a_server_takes_as_many_abnormal_events_as_the_limit_and_more_with_time() {
    let rate = Rate { per_second: 10, burst: 3 };
    let (_, mut server) = server_with(Limits { abnormal_events: rate, ..Limits::default() });
    let start = server.now;
    assert_eq!(server.receive_one(&raw(0, 0, 1, Some(b"a"))), Ok(Received::NewStream { id: 1, ends: false }));
    let late = raw(0, 0, 1, None);
    for _ in 0..3 {
        assert_eq!(server.receive_one(&late), Ok(Received::Late));
        assert_eq!(server.receive_one(&raw(0, TERMINATE_STREAM, 1, None)), Ok(Received::Late), "it is not counted");
    }
    server.now = start + Duration::from_millis(100);
    assert_eq!(server.receive_one(&late), Ok(Received::Late));
    assert_eq!(server.receive_one(&late), Err(Violation::TooManyAbnormalEvents.to_string()));
}

#[test]
fn streams_that_end_before_they_are_answered_are_abnormal() {
    let rate = Rate { per_second: 1, burst: 1 };
    let open = |server: &mut Side, id, flags| {
        let received = server.receive_one(&raw(0, flags, id, Some(b"a")));
        assert_eq!(received, Ok(Received::NewStream { id, ends: flags != 0 }));
        server.accept_stream(id, "a");
    };
    let (_, mut server) = server_with(Limits { abnormal_events: rate, ..Limits::default() });
    for id in 1..10 {
        open(&mut server, id, 0);
        if id % 2 == 0 {
            assert_eq!(server.send_on(id, "answer", 0), Ok(()));
        } else {
            assert_eq!(server.end_stream(id), Ok(()));
        }
        let received = server.receive_one(&raw(0, TERMINATE_STREAM, id, None));
        assert!(matches!(received, Ok(Received::Stream { ended: Some(_), .. })), "answered, or ended by both");
        server.rpc.remove_stream(id);
    }
    open(&mut server, 10, TERMINATE_STREAM);
    server.rpc.remove_stream(10);

    for (id, allowed) in [(11, true), (12, false)] {
        open(&mut server, id, 0);
        let received = server.receive_one(&raw(0, TERMINATE_STREAM, id, None));
        let expected = if allowed { Ok(ended("a", &[])) } else { Err(Violation::TooManyAbnormalEvents.to_string()) };
        assert_eq!(received, expected);
    }
}

#[test]
fn a_client_drops_late_messages_uncounted() {
    let rate = Rate { per_second: 1, burst: 1 };
    let client = Side::with_limits(Role::Client, Limits { abnormal_events: rate, ..Limits::default() });
    let (mut client, _) = opened(client, Side::new(Role::Server));
    assert_eq!(client.activate("a", 0), Ok(1));
    client.rpc.remove_stream(1);
    for _ in 0..100 {
        assert_eq!(client.receive_one(&raw(0, 0, 1, None)), Ok(Received::Late));
    }
}

#[test]
fn a_server_reads_nothing_while_what_it_cannot_refuse_to_send_waits() {
    let (_, mut server) = open_pair();
    let refusal_len = raw(0, 0, 1, None).len();
    let mut refused = 0;
    while !server.rpc.must_not_read() {
        refused += 1;
        let new = Received::NewStream { id: refused as i32, ends: false };
        assert_eq!(server.receive_one(&raw(0, 0, refused as i32, Some(b"a"))), Ok(new));
        assert_eq!(server.rpc.outbound_len(), (refused - 1) * refusal_len);
        let refusal = Outgoing::empty(MessageType::ApplicationError, TERMINATE_STREAM);
        let refusal = refusal.prepare(true, server.rpc.limits()).expect("a good message");
        assert_eq!(server.rpc.answer_stream(refused as i32, refusal), Ok(()));
    }
    assert_eq!(refused, MAX_EXEMPT_LEN / refusal_len + 1);

    // A part of the first that the system has taken counts at once.
    server.take();
    server.wrote(refused * refusal_len - MAX_EXEMPT_LEN - 1);
    assert!(server.rpc.must_not_read());
    server.wrote(1);
    assert!(!server.rpc.must_not_read());

    // The application's own messages stop nobody from reading, nor does a client stop.
    let (mut client, mut server) = open_pair();
    assert_eq!(client.activate("a", 0), Ok(1));
    transfer(&mut client, &mut server);
    server.accept_stream(1, "a");
    assert_eq!(server.send_payload_on(1, "much", 0, &vec![0; 10 * MAX_EXEMPT_LEN]), Ok(()));
    assert!(!server.rpc.must_not_read());
    for id in 2..3000 {
        assert_eq!(client.activate("b", 0), Ok(id));
        assert_eq!(client.end_stream(id), Ok(()));
    }
    assert!(!client.rpc.must_not_read());
}

/// A server with streams 1 to `streams`, on each of which `sends` messages wait to be written, by turns.
fn waiting(streams: i32, sends: i32) -> Numbered {
    let limits = Limits { outbound: usize::MAX, max_streams: usize::MAX, ..Limits::default() };
    let mut server = Numbered::new(Role::Server, limits);
    let now = Instant::now();
    let receive = |server: &mut Numbered, bytes: &[u8]| {
        let (message, _) = Message::decode(bytes, &codec::Limits::DEFAULT).expect("a message");
        server.receive(&message, now).expect("no violation");
    };
    receive(&mut server, &raw(MessageType::Connect as i32, 0, 0, None));
    let ack = Outgoing::empty(MessageType::ConnectAck, CONNECTION_ACCEPTED);
    server.send_protocol(ack.prepare(false, &codec::Limits::DEFAULT).expect("a message"), None).expect("CONNECT came");
    for id in 1..=streams {
        receive(&mut server, &raw(0, 0, id, Some(b"a")));
        assert_eq!(server.accept_stream(id, id, 1), Ok(()));
    }
    for number in 0..sends {
        for id in 1..=streams {
            let message = message(0);
            let message = message.prepare(true, &codec::Limits::DEFAULT).expect("a message");
            server.send_on_stream(id, message, Some(number * streams + id), false).expect("there is room");
        }
    }
    server
}

fn cut(server: &mut Numbered, id: i32) -> Vec<i32> {
    server.cut_stream(id).map_or(Vec::new(), |(_, waiting)| waiting)
}

#[test]
fn a_streams_end_takes_its_own_waiting_sends_in_their_order() {
    const STREAMS: i32 = 7;
    const SENDS: i32 = 11;
    let len = raw(0, 0, 1, None).len();
    let ack_len = raw(MessageType::ConnectAck as i32, CONNECTION_ACCEPTED, 0, None).len();
    for written in 0..=(STREAMS * SENDS) as usize {
        let mut server = waiting(STREAMS, SENDS);
        let mut segments = VecDeque::new();
        server.take_segments(&mut segments);
        let mut due = VecDeque::new();
        server.written(ack_len + written * len, &mut due);
        let mut told: Vec<i32> = due.drain(..).filter_map(|due| due.written.token).collect();
        assert_eq!(told.len(), written);
        for id in [3, 7, 1] {
            let cancelled = cut(&mut server, id);
            let all = (0..SENDS).map(|number| number * STREAMS + id);
            assert!(cancelled.iter().copied().eq(all.filter(|token| *token > written as i32)), "{id}, {written}");
            told.extend(cancelled);
        }
        server.written(usize::MAX / 2, &mut due);
        told.extend(due.drain(..).filter_map(|due| due.written.token));
        told.sort_unstable();
        assert!(told.iter().copied().eq(1..=STREAMS * SENDS), "each is told once");
    }
}

#[test]
fn a_streams_end_costs_the_same_however_many_sends_of_others_wait() {
    let time_of_ends = |sends| {
        let mut server = waiting(1000, sends);
        let start = Instant::now();
        for id in 1..=500 {
            assert_eq!(cut(&mut server, id).len(), sends as usize);
        }
        start.elapsed()
    };
    // The least of several is not disturbed by others on this machine.
    let least = |sends| (0..5).map(|_| time_of_ends(sends)).min().expect("five of them");
    let (few, many) = (least(2), least(64));
    assert!(
        many < few * 32 * 6,
        "{few:?} with 2000 waiting, {many:?} with 32 times as many: more than 6 times as much each"
    );
}
