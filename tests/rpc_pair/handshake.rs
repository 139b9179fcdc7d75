//! Who may say what until the handshake is done.

use super::*;

#[test]
fn goes_from_connect_over_ack_to_done() {
    let (mut client, mut server) = (Side::new(Role::Client), Side::new(Role::Server));
    assert_eq!(client.send_for("connect", MessageType::Connect, 0), Ok(None));
    let (bytes, due) = client.flush();
    assert_eq!(due, [written(0, "connect")]);
    assert_eq!(server.receive_one(&bytes), Ok(protocol(MessageType::Connect)));
    assert!(!server.rpc.is_handshake_done());

    assert_eq!(server.send(MessageType::ConnectAck, CONNECTION_ACCEPTED), Ok(None));
    assert!(server.rpc.is_handshake_done());
    assert_eq!(transfer(&mut server, &mut client), [protocol(MessageType::ConnectAck)]);
    assert!(client.rpc.is_handshake_done());
    assert!(!client.rpc.owes_linger() && !server.rpc.owes_linger());
}

#[test]
fn a_client_sends_nothing_but_connect_first() {
    let mut client = Side::new(Role::Client);
    for message_type in PROTOCOL_TYPES {
        match (message_type, client.send(message_type, 0)) {
            (MessageType::Connect, _) => client = Side::new(Role::Client),
            (MessageType::ConnectAck, sent) => assert!(matches!(sent, Err(Error::WrongMessageType(_)))),
            (_, sent) => assert!(matches!(sent, Err(Error::HandshakePending(_))), "{message_type:?}: {sent:?}"),
        }
    }
    assert!(matches!(client.activate("a", 0), Err(Error::HandshakePending(_))));
    assert_eq!(client.rpc.outbound_len(), 0, "what is refused leaves no bytes");
    assert_eq!(client.send(MessageType::Connect, 0), Ok(None), "and changes nothing");
}

#[test]
fn a_client_sends_nothing_between_connect_and_its_answer() {
    let mut client = Side::new(Role::Client);
    client.send(MessageType::Connect, 0).expect("CONNECT is first");
    let queued = client.rpc.outbound_len();
    for message_type in PROTOCOL_TYPES {
        match (message_type, client.send(message_type, 0)) {
            (MessageType::Connect, sent) => assert!(matches!(sent, Err(Error::HandshakeAlreadyDone(_)))),
            (MessageType::ConnectAck, sent) => assert!(matches!(sent, Err(Error::WrongMessageType(_)))),
            (_, sent) => assert!(matches!(sent, Err(Error::HandshakePending(_))), "{message_type:?}: {sent:?}"),
        }
    }
    assert!(matches!(client.activate("a", 0), Err(Error::HandshakePending(_))));
    assert_eq!(client.rpc.outbound_len(), queued);
}

#[test]
fn a_server_says_only_that_something_is_wrong_before_it_acknowledges() {
    let connected = || {
        let mut server = Side::new(Role::Server);
        server.receive(&raw(MessageType::Connect as i32, 0, 0, None)).expect("CONNECT is first");
        server
    };
    for message_type in PROTOCOL_TYPES {
        let before_connect = Side::new(Role::Server).send(message_type, CONNECTION_ACCEPTED);
        let before_ack = connected().send(message_type, CONNECTION_ACCEPTED);
        match message_type {
            MessageType::Connect => {
                assert!(matches!(before_connect, Err(Error::WrongMessageType(_))));
                assert!(matches!(before_ack, Err(Error::WrongMessageType(_))));
            }
            MessageType::ConnectAck => {
                assert!(matches!(before_connect, Err(Error::HandshakePending(_))));
                assert_eq!(before_ack, Ok(None));
            }
            MessageType::ProtocolError | MessageType::InternalError => {
                assert_eq!((before_connect, before_ack), (Ok(None), Ok(None)));
            }
            _ => {
                assert!(matches!(before_connect, Err(Error::HandshakePending(_))));
                assert!(matches!(before_ack, Err(Error::HandshakePending(_))));
            }
        }
    }
}

#[test]
fn is_done_once() {
    let (mut client, mut server) = open_pair();
    assert!(matches!(client.send(MessageType::Connect, 0), Err(Error::HandshakeAlreadyDone(_))));
    for flags in [0, CONNECTION_ACCEPTED] {
        assert!(matches!(server.send(MessageType::ConnectAck, flags), Err(Error::HandshakeAlreadyDone(_))));
    }
    let again = server.receive(&raw(MessageType::Connect as i32, 0, 0, None));
    assert_eq!(again, Err("CONNECT came a second time".to_owned()));
    let again = client.receive(&raw(MessageType::ConnectAck as i32, CONNECTION_ACCEPTED, 0, None));
    assert_eq!(again, Err("CONNECT_ACK came a second time".to_owned()));
}

#[test]
fn a_refusal_ends_both_sides() {
    let (mut client, mut server) = (Side::new(Role::Client), Side::new(Role::Server));
    client.send(MessageType::Connect, 0).expect("CONNECT is first");
    transfer(&mut client, &mut server);
    assert_eq!(server.send_for("refusal", MessageType::ConnectAck, 0), Ok(Some(Ending::Refused)));
    assert!(server.rpc.owes_linger(), "the client must get the time to read the refusal");
    assert_eq!(server.send(MessageType::InternalError, 0), Err(Error::ConnectionClosed));

    let (bytes, due) = server.flush();
    assert_eq!(due, [written(0, "refusal")]);
    let ending = Some(Ending::Refused);
    let refused = Received::Protocol { message_type: MessageType::ConnectAck, ending, handled: false };
    assert_eq!(client.receive_one(&bytes), Ok(refused));
    assert!(!client.rpc.is_handshake_done() && !client.rpc.owes_linger());
    for message_type in [MessageType::Ping, MessageType::Connect] {
        assert_eq!(client.send(message_type, 0), Err(Error::ConnectionClosed));
    }
    assert_eq!(client.activate("a", 0), Err(Error::ConnectionClosed));
    assert_eq!(client.rpc.outbound_len(), 0);
}

#[test]
fn an_error_message_in_place_of_the_ack_refuses_too() {
    for message_type in [MessageType::ProtocolError, MessageType::InternalError] {
        let (mut client, mut server) = (Side::new(Role::Client), Side::new(Role::Server));
        client.send(MessageType::Connect, 0).expect("CONNECT is first");
        assert_eq!(server.send(message_type, 0), Ok(None));
        assert!(server.rpc.owes_linger());
        let refused = Received::Protocol { message_type, ending: Some(Ending::Refused), handled: false };
        assert_eq!(transfer(&mut server, &mut client), [refused]);
        assert_eq!(client.send(MessageType::Ping, 0), Err(Error::ConnectionClosed));
    }
}

#[test]
fn messages_are_held_to_a_smaller_size_until_it_is_done() {
    let (mut client, mut server) = (Side::new(Role::Client), Side::new(Role::Server));
    for side in [&client, &server] {
        assert_eq!(side.rpc.receive_limits().max_message_len, HANDSHAKE_LIMIT);
    }
    client.send(MessageType::Connect, 0).expect("CONNECT is first");
    transfer(&mut client, &mut server);
    assert_eq!(server.rpc.receive_limits().max_message_len, HANDSHAKE_LIMIT);
    server.send(MessageType::ConnectAck, CONNECTION_ACCEPTED).expect("CONNECT came");
    assert_eq!(server.rpc.receive_limits(), codec::Limits::ON_CONNECTION);
    transfer(&mut server, &mut client);
    assert_eq!(client.rpc.receive_limits(), codec::Limits::ON_CONNECTION);
}

#[test]
fn the_limit_before_it_is_done_never_widens_that_of_the_connection() {
    let messages = codec::Limits { max_message_len: 1000, ..codec::Limits::ON_CONNECTION };
    let rpc = Connection::<Name, Name>::new(Role::Server, Limits { messages, ..Limits::default() });
    assert_eq!(rpc.receive_limits().max_message_len, 1000);
}
