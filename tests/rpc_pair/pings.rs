//! PINGs that the library answers, or sends.

use super::*;
use eventstream_rpc::rpc::Rate;
use std::time::Duration;

const RATE: Rate = Rate { per_second: 10, burst: 3 };

/// A client, and a server that answers PINGs.
fn pair() -> (Side, Side) {
    let limits = Limits { ping_answers: Some(RATE), outbound: OUTBOUND_LIMIT, ..Limits::default() };
    opened(Side::new(Role::Client), Side::with_limits(Role::Server, limits))
}

fn handled(message_type: MessageType) -> Received<Name, Name> {
    Received::Protocol { message_type, ending: None, handled: true }
}

#[test]
fn are_answered_with_their_headers_and_payload_and_not_delivered() {
    let (mut client, mut server) = pair();
    let mut headers = HeaderList::new();
    headers.add(b"own", HeaderValue::Int64(7)).expect("a good header");
    headers.add(b":other", HeaderValue::Bool(true)).expect("a good header");
    let bare = Outgoing::empty(MessageType::Ping, 0);
    let ping = Outgoing { headers: Some(&headers), payload: b"payload", ..bare };
    let ping = ping.prepare(false, client.rpc.limits()).expect("a good message");
    assert_eq!(client.rpc.send_protocol(ping, None), Ok(None));
    assert_eq!(transfer(&mut client, &mut server), [handled(MessageType::Ping)]);

    let (answer, _) = server.flush();
    let (message, _) = Message::decode(&answer, &codec::Limits::DEFAULT).expect("a message");
    assert_eq!(message.payload, b"payload");
    assert_eq!(message.headers.find(b"own").map(|header| header.number), Some(7));
    assert_eq!(message.headers.find(b":other"), None, "the protocol's own names are not for answers");
    assert_eq!(client.receive_one(&answer), Ok(protocol(MessageType::PingResponse)));
}

#[test]
fn are_delivered_unless_the_library_is_asked_to_answer() {
    let (mut client, mut server) = open_pair();
    assert_eq!(client.send(MessageType::Ping, 0), Ok(None));
    assert_eq!(transfer(&mut client, &mut server), [protocol(MessageType::Ping)]);
    assert!(server.take().is_empty());
}

#[test]
fn that_end_the_connection_are_answered_before_it_ends() {
    let (mut client, mut server) = pair();
    assert_eq!(client.send(MessageType::Ping, TERMINATE_STREAM), Ok(Some(Ending::Terminated)));
    let ending = Some(Ending::Terminated);
    let expected = Received::Protocol { message_type: MessageType::Ping, ending, handled: true };
    assert_eq!(transfer(&mut client, &mut server), [expected]);
    assert!(!server.take().is_empty());
}

#[test]
fn above_the_rate_are_dropped_and_counted() {
    let (_, mut server) = pair();
    let ping = raw(MessageType::Ping as i32, 0, 0, None);
    for _ in 0..5 {
        assert_eq!(server.receive_one(&ping), Ok(handled(MessageType::Ping)));
    }
    assert_eq!((server.take().len(), server.rpc.counts().pings_unanswered), (3 * ping.len(), 2));
    server.now += Duration::from_millis(100);
    assert_eq!(server.receive_one(&ping), Ok(handled(MessageType::Ping)));
    assert_eq!((server.take().len(), server.rpc.counts().pings_unanswered), (ping.len(), 2));
}

#[test]
fn of_a_peer_that_does_not_read_are_dropped_and_counted() {
    let (mut client, mut server) = pair();
    assert_eq!(client.activate("a", 0), Ok(1));
    transfer(&mut client, &mut server);
    server.accept_stream(1, "a");
    assert_eq!(server.send_payload_on(1, "much", 0, &vec![0; OUTBOUND_LIMIT]), Ok(()));
    let waiting = server.rpc.outbound_len();
    assert_eq!(server.receive_one(&raw(MessageType::Ping as i32, 0, 0, None)), Ok(handled(MessageType::Ping)));
    assert_eq!((server.rpc.outbound_len(), server.rpc.counts().pings_unanswered), (waiting, 1));
}

#[test]
fn of_the_librarys_own_have_answers_that_are_not_delivered() {
    let (mut client, mut server) = pair();
    assert!(client.rpc.send_keep_alive());
    assert_eq!(client.send(MessageType::Ping, 0), Ok(None));
    assert!(client.rpc.send_keep_alive());
    transfer(&mut client, &mut server);
    let answers = [handled, protocol, handled].map(|received| received(MessageType::PingResponse));
    assert_eq!(transfer(&mut server, &mut client), answers);
    assert_eq!(
        client.receive_one(&raw(MessageType::PingResponse as i32, 0, 0, None)),
        Ok(protocol(MessageType::PingResponse)),
        "nobody asked"
    );
}

#[test]
fn of_the_librarys_own_wait_for_the_handshake_and_end_with_the_close() {
    for mut side in [Side::new(Role::Client), Side::new(Role::Server)] {
        assert!(!side.rpc.send_keep_alive());
        assert!(side.take().is_empty());
    }
    let (mut client, _) = pair();
    client.rpc.close_sending();
    assert!(!client.rpc.send_keep_alive());
    assert!(client.take().is_empty());
}
