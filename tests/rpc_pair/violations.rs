//! Rules that a peer may break, and what becomes of that.

use super::*;

/// Sides in each state of the handshake.
fn side(role: Role, state: &str) -> Side {
    let (mut client, mut server) = (Side::new(Role::Client), Side::new(Role::Server));
    match state {
        "start" => {}
        "connecting" => {
            client.send(MessageType::Connect, 0).expect("CONNECT is first");
            transfer(&mut client, &mut server);
        }
        _ => (client, server) = open_pair(),
    }
    if role == Role::Client { client } else { server }
}

#[test]
fn of_the_handshake_are_noticed_by_both_sides() {
    use MessageType::*;
    let rows = [
        (Role::Server, "start", ConnectAck, "CONNECT_ACK came before CONNECT"),
        (Role::Server, "start", Ping, "PING came before CONNECT"),
        (Role::Server, "start", InternalError, "INTERNAL_ERROR came before CONNECT"),
        (Role::Server, "connecting", Connect, "CONNECT came before CONNECT was acknowledged"),
        (Role::Server, "connecting", Ping, "PING came before CONNECT was acknowledged"),
        (Role::Server, "done", Connect, "CONNECT came a second time"),
        (Role::Server, "done", ConnectAck, "CONNECT_ACK is for clients"),
        (Role::Client, "done", Connect, "CONNECT is for servers"),
        (Role::Client, "start", Ping, "PING came before CONNECT was sent"),
        (Role::Client, "start", ConnectAck, "CONNECT_ACK came before CONNECT was sent"),
        (Role::Client, "connecting", Ping, "PING came in place of CONNECT_ACK"),
        (Role::Client, "connecting", Connect, "CONNECT came in place of CONNECT_ACK"),
        (Role::Client, "done", ConnectAck, "CONNECT_ACK came a second time"),
    ];
    for (role, state, message_type, text) in rows {
        let received = side(role, state).receive(&raw(message_type as i32, CONNECTION_ACCEPTED, 0, None));
        assert_eq!(received, Err(text.to_owned()), "{role:?}, {state}");
    }
    for (role, state) in [(Role::Server, "start"), (Role::Server, "connecting"), (Role::Client, "connecting")] {
        let received = side(role, state).receive(&raw(0, 0, 1, Some(b"a")));
        let text = "APPLICATION_MESSAGE came on stream 1 before the handshake was done";
        assert_eq!(received, Err(text.to_owned()), "{role:?}, {state}");
    }
}

#[test]
fn of_types_and_stream_ids_are_noticed_by_both_sides() {
    for role in [Role::Client, Role::Server] {
        for (message_type, stream_id, text) in [
            (0, 0, "APPLICATION_MESSAGE cannot come on stream-id 0"),
            (1, 0, "APPLICATION_ERROR cannot come on stream-id 0"),
            (2, 1, "PING cannot come on stream-id 1"),
            (6, 3, "PROTOCOL_ERROR cannot come on stream-id 3"),
            (8, 0, "8 is not a message type (0 to 7)"),
            (-1, 0, "-1 is not a message type (0 to 7)"),
            (99, 1, "99 is not a message type (0 to 7)"),
            (0, -1, "the stream id -1 is negative"),
            (2, i32::MIN, "the stream id -2147483648 is negative"),
        ] {
            let received = side(role, "done").receive(&raw(message_type, 0, stream_id, Some(b"a")));
            assert_eq!(received, Err(text.to_owned()), "{role:?}");
        }
    }
}

#[test]
fn each_of_the_three_headers_is_needed_as_int32() {
    let fields: [&[u8]; 3] = [b":message-type", b":message-flags", b":stream-id"];
    for missing in fields {
        for wrong in [None, Some(HeaderValue::Int16(2)), Some(HeaderValue::String(b"2"))] {
            let mut headers = HeaderList::new();
            for name in fields {
                let good = if name == b":message-type" { 2 } else { 0 };
                match wrong {
                    _ if name != missing => headers.add(name, HeaderValue::Int32(good)).expect("a good header"),
                    Some(value) => headers.add(name, value).expect("a good header"),
                    None => {}
                }
            }
            let mut bytes = Vec::new();
            codec::encode_into(&[headers.as_bytes()], b"", &mut bytes);
            let text = format!("a message has no int32 header {}", String::from_utf8_lossy(missing));
            assert_eq!(open_pair().1.receive(&bytes), Err(text));
        }
    }
}

#[test]
fn of_stream_ids_by_the_client_are_noticed_by_the_server() {
    for id in [2, 3, i32::MAX] {
        let received = open_pair().1.receive(&raw(0, 0, id, Some(b"a")));
        assert_eq!(received, Err(format!("stream {id} was opened, the next id after 0 was expected")));
    }
    let received = open_pair().1.receive(&raw(0, 0, 1, None));
    assert_eq!(received, Err("the first message of stream 1 has no string header \"operation\"".to_owned()));
}

#[test]
fn of_stream_ids_by_the_server_are_noticed_by_the_client() {
    for flags in [0, TERMINATE_STREAM] {
        let (mut client, _) = pair_with_two_streams();
        let received = client.receive(&raw(0, flags, 3, Some(b"a")));
        assert_eq!(received, Err("a message came on stream 3; the last one opened is 2".to_owned()));
    }
}

#[test]
fn are_told_to_the_peer_and_end_all_sending() {
    let headers = HeaderList::new();
    let tell = |side: &mut Side| {
        let message = rpc::violation_message(&headers, b"why");
        let message = message.prepare(false, side.rpc.limits());
        side.rpc.send_violation(message.expect("a good message"));
        assert_eq!(side.send(MessageType::Ping, 0), Err(Error::ConnectionClosed));
        side.take()
    };
    for state in ["start", "connecting", "done"] {
        let mut server = side(Role::Server, state);
        let bytes = tell(&mut server);
        let (message, _) = Message::decode(&bytes, &codec::Limits::DEFAULT).expect("a message");
        assert_eq!(message.payload, b"why");
        assert!(server.rpc.owes_linger());
    }
    assert!(!tell(&mut side(Role::Client, "done")).is_empty());
    for state in ["start", "connecting"] {
        assert!(tell(&mut side(Role::Client, state)).is_empty(), "a client says nothing before the handshake");
    }
    let mut closed = side(Role::Server, "done");
    closed.rpc.close_sending();
    assert!(tell(&mut closed).is_empty(), "after a close nothing is added");
}
