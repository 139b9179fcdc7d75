//! The bound of what waits to be written.

use super::*;

const LIMIT: usize = 1000;

/// A client with a stream, whose queue is empty and takes `LIMIT` bytes.
fn bounded_client() -> Side {
    let mut client = Side::with_outbound_limit(Role::Client, LIMIT);
    client.send(MessageType::Connect, 0).expect("CONNECT is first");
    let ack = raw(MessageType::ConnectAck as i32, CONNECTION_ACCEPTED, 0, None);
    client.receive(&ack).expect("the ack was expected");
    assert_eq!(client.activate("a", 0), Ok(1));
    client.flush();
    client
}

#[test]
fn a_send_is_refused_when_the_queue_holds_the_limit_already() {
    let mut client = bounded_client();
    let empty_len = raw(0, 0, 1, None).len();
    let up_to_one_less = vec![0; LIMIT - 1 - empty_len];
    assert_eq!(client.send_payload_on(1, "first", 0, &up_to_one_less), Ok(()));
    assert_eq!(client.rpc.outbound_len(), LIMIT - 1);
    assert_eq!(client.send_payload_on(1, "second", 0, &[0; 5000]), Ok(()), "there was room for a byte");

    let queued = client.rpc.outbound_len();
    let full = Error::WouldBlock { queued, limit: LIMIT };
    assert_eq!(client.send_on(1, "third", 0), Err(full.clone()));
    assert_eq!(client.send_on(1, "third", TERMINATE_STREAM), Err(full.clone()), "it has a payload");
    assert_eq!(client.send(MessageType::Ping, 0), Err(full.clone()));
    assert_eq!(client.send(MessageType::Ping, TERMINATE_STREAM), Err(full.clone()));
    assert_eq!(client.activate("b", 0), Err(full.clone()));
    assert_eq!(client.rpc.outbound_len(), queued, "nothing has changed");

    // Taken is not written yet.
    let bytes = client.take();
    assert_eq!(client.activate("b", 0), Err(full));
    assert_eq!(client.wrote(queued - LIMIT), [written(1, "first")]);
    assert!(matches!(client.activate("b", 0), Err(Error::WouldBlock { queued: LIMIT, limit: LIMIT })));
    assert_eq!(client.wrote(1), []);
    assert_eq!(client.activate("b", 0), Ok(2), "no id was taken meanwhile");
    assert_eq!(bytes.len(), queued);
}

#[test]
fn ending_a_stream_with_an_empty_message_is_always_taken() {
    let mut client = bounded_client();
    assert_eq!(client.send_payload_on(1, "much", 0, &[0; 2 * LIMIT]), Ok(()));
    assert_eq!(client.end_stream(1), Ok(()));
    let (_, due) = client.flush();
    assert_eq!(due, [written(1, "much"), Written { stream_id: 1, terminates: true, token: None }]);
}

#[test]
fn a_refused_handshake_message_changes_nothing() {
    let mut server = Side::with_outbound_limit(Role::Server, 1);
    server.receive(&raw(MessageType::Connect as i32, 0, 0, None)).expect("CONNECT is first");
    assert_eq!(server.send(MessageType::InternalError, 0), Ok(None));
    for flags in [0, CONNECTION_ACCEPTED] {
        let sent = server.send(MessageType::ConnectAck, flags);
        assert!(matches!(sent, Err(Error::WouldBlock { .. })));
        assert!(!server.rpc.is_handshake_done());
    }
    server.flush();
    assert_eq!(server.send(MessageType::ConnectAck, CONNECTION_ACCEPTED), Ok(None));
}

#[test]
fn positions_count_every_byte_once() {
    let mut client = bounded_client();
    let (start, written) = client.rpc.outbound_positions();
    assert_eq!(start, written);
    assert_eq!(client.send_on(1, "x", 0), Ok(()));
    let (queued, _) = client.rpc.outbound_positions();
    assert_eq!((queued - start) as usize, client.rpc.outbound_len());
    let bytes = client.take();
    client.wrote(bytes.len());
    assert_eq!(client.rpc.outbound_positions(), (queued, queued));
    client.wrote(1);
    assert_eq!(client.rpc.outbound_len(), 0, "what was never queued cannot be written");
}
