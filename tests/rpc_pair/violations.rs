//! Rules that a peer may break, and what becomes of that.

use super::*;
use eventstream_rpc::rpc::Defect;

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
        (Role::Server, "connecting", Connect, "CONNECT arrived before CONNECT was acknowledged"),
        (Role::Server, "connecting", Ping, "PING arrived before CONNECT was acknowledged"),
        (Role::Server, "done", Connect, "CONNECT came a second time"),
        (Role::Server, "done", ConnectAck, "CONNECT_ACK is for clients"),
        (Role::Client, "done", Connect, "CONNECT is for servers"),
        (Role::Client, "start", Ping, "PING arrived before CONNECT was sent"),
        (Role::Client, "start", ConnectAck, "CONNECT_ACK arrived before CONNECT was sent"),
        (Role::Client, "connecting", Ping, "PING arrived instead of CONNECT_ACK"),
        (Role::Client, "connecting", Connect, "CONNECT arrived instead of CONNECT_ACK"),
        (Role::Client, "done", ConnectAck, "CONNECT_ACK came a second time"),
    ];
    for (role, state, message_type, text) in rows {
        let received = side(role, state).receive(&raw(message_type as i32, CONNECTION_ACCEPTED, 0, None));
        assert_eq!(received, Err(text.to_owned()), "{role:?}, {state}");
    }
    for (role, state) in [(Role::Server, "start"), (Role::Server, "connecting"), (Role::Client, "connecting")] {
        let received = side(role, state).receive(&raw(0, 0, 1, Some(b"a")));
        let text = "APPLICATION_MESSAGE arrived on stream 1 before the handshake was done";
        assert_eq!(received, Err(text.to_owned()), "{role:?}, {state}");
    }
}

#[test]
fn of_types_and_stream_ids_are_noticed_by_both_sides() {
    for role in [Role::Client, Role::Server] {
        for (message_type, stream_id, text) in [
            (0, 0, "APPLICATION_MESSAGE must not be sent on stream-id 0"),
            (1, 0, "APPLICATION_ERROR must not be sent on stream-id 0"),
            (2, 1, "PING must not be sent on stream-id 1"),
            (6, 3, "PROTOCOL_ERROR must not be sent on stream-id 3"),
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
        assert_eq!(received, Err("a message arrived on stream 3; the last one opened is 2".to_owned()));
    }
}

#[test]
fn are_answered_with_protocol_error_and_end_all_sending() {
    let violate = |side: &mut Side| {
        side.receive(&raw(99, 0, 0, None)).expect_err("no such type");
        assert_eq!(side.send(MessageType::Ping, 0), Err(Error::ConnectionClosed));
        side.take()
    };
    for state in ["start", "connecting", "done"] {
        let mut server = side(Role::Server, state);
        let text = "99 is not a message type (0 to 7)".to_owned();
        assert_eq!(text_of(&violate(&mut server)), (MessageType::ProtocolError, 0, 0, text));
        assert!(server.rpc.owes_linger());
    }
    assert!(!violate(&mut side(Role::Client, "done")).is_empty());
    for state in ["start", "connecting"] {
        assert!(violate(&mut side(Role::Client, state)).is_empty(), "a client says nothing before the handshake");
    }
    let mut closed = side(Role::Server, "done");
    closed.rpc.close_sending();
    assert!(violate(&mut closed).is_empty(), "after a close nothing is added");
}

/// A PING with these bytes as its headers section.
fn with_headers(headers: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode_into(&[headers], b"payload", &mut bytes);
    bytes
}

fn judge(side: &mut Side, bytes: &[u8]) -> Defect {
    let error = Message::decode(bytes, &side.rpc.receive_limits()).expect_err("not a sound message");
    side.rpc.judge(error, bytes)
}

#[test]
fn of_headers_in_sound_framing_are_answered_and_damaged_framing_is_not() {
    let text = "header 0 has the unknown type 10";
    let defect = codec::Error::UnknownHeaderType { index: 0, header_type: 10 };
    let mut bytes = with_headers(b"\x01a\x0a");
    let mut server = side(Role::Server, "done");
    assert_eq!(judge(&mut server, &bytes), Defect::Headers(defect.clone()));
    assert_eq!(text_of(&server.take()), (MessageType::ProtocolError, 0, 0, text.to_owned()));
    assert_eq!(server.send(MessageType::Ping, 0), Err(Error::ConnectionClosed));

    let mut server = side(Role::Server, "done");
    bytes[PAYLOAD_AT] ^= 1;
    assert_eq!(judge(&mut server, &bytes), Defect::Framing(defect), "nor is its checksum right");
    let mut bytes = with_headers(b"\x01a\x00");
    bytes[PAYLOAD_AT] ^= 1;
    assert!(matches!(judge(&mut server, &bytes), Defect::Framing(codec::Error::MessageChecksum { .. })));
    bytes[0] ^= 1;
    assert!(matches!(judge(&mut server, &bytes), Defect::Framing(codec::Error::PreludeChecksum { .. })));
    assert!(server.take().is_empty());
    assert_eq!(server.send(MessageType::Ping, 0), Ok(None), "closing is for the caller to do");
}

/// Behind a prelude and one header of three bytes.
const PAYLOAD_AT: usize = 15;

#[test]
fn of_size_before_the_handshake_have_a_name_of_their_own() {
    let claim = |len: usize| {
        let mut bytes = Vec::new();
        codec::encode_into(&[], &vec![0; len - 16], &mut bytes);
        bytes
    };
    let limit = HANDSHAKE_LIMIT;
    let mut server = side(Role::Server, "start");
    assert_eq!(judge(&mut server, &claim(limit + 1)), Defect::TooLargeForHandshake { len: limit + 1, limit });
    let (len, limit) = (codec::Limits::ON_CONNECTION.max_message_len + 1, codec::Limits::ON_CONNECTION.max_message_len);
    let mut server = side(Role::Server, "done");
    assert_eq!(judge(&mut server, &claim(len)), Defect::Framing(codec::Error::MessageTooLarge { len, limit }));
    assert!(server.take().is_empty());
}
