//! Bytes that are cut, or altered, between the sides.

use super::*;

/// What a side made of one message: who it was for, and what it said.
type Delivered = (Received<Name, Name>, Vec<u8>);

/// Takes in whatever whole messages `input` holds, and answers as an application would. True when it ends.
fn take_in(side: &mut Side, delivered: &mut Vec<Delivered>) -> bool {
    loop {
        let payload = match Message::decode(&side.input, &side.rpc.receive_limits()) {
            Ok((message, _)) => message.payload.to_vec(),
            Err(codec::Error::Incomplete { .. }) => return false,
            Err(_) => return true,
        };
        let Some(Ok(received)) = side.receive_next() else { return true };
        match &received {
            Received::Protocol { ending: Some(_), .. } => {
                delivered.push((received, payload));
                return true;
            }
            Received::Protocol { message_type: MessageType::Connect, .. } => {
                side.send(MessageType::ConnectAck, CONNECTION_ACCEPTED).expect("CONNECT came");
            }
            Received::Protocol { message_type: MessageType::ConnectAck, .. } => {
                side.activate("a", 0).expect("the handshake is done");
                side.send_on(1, "request", 0).expect("the stream is open");
                side.send(MessageType::Ping, 0).expect("the handshake is done");
                side.send_on(1, "end", TERMINATE_STREAM).expect("the stream is open");
            }
            Received::NewStream { id, .. } => {
                side.accept_stream(*id, "a");
                side.send_on(*id, "reply", 0).expect("the stream is open");
                side.send(MessageType::Ping, 0).expect("the handshake is done");
                side.send_on(*id, "last", TERMINATE_STREAM).expect("the stream is open");
            }
            Received::Stream { ended: Some(_), .. } => {
                side.rpc.remove_stream(1);
            }
            _ => {}
        }
        delivered.push((received, payload));
    }
}

/// A client that has sent its CONNECT, or a server.
fn start(role: Role) -> Side {
    let mut side = Side::new(role);
    if role == Role::Client {
        side.send(MessageType::Connect, 0).expect("CONNECT is first");
    }
    side
}

/// What a side of this role is sent in the conversation, and what it makes of that.
fn conversation(role: Role) -> (Vec<u8>, Vec<Delivered>) {
    let (mut client, mut server) = (start(Role::Client), start(Role::Server));
    let (mut to_client, mut to_server) = (Vec::new(), Vec::new());
    let (mut by_client, mut by_server) = (Vec::new(), Vec::new());
    loop {
        let (from_client, from_server) = (client.take(), server.take());
        if from_client.is_empty() && from_server.is_empty() {
            break;
        }
        server.input.extend_from_slice(&from_client);
        client.input.extend_from_slice(&from_server);
        to_server.extend(from_client);
        to_client.extend(from_server);
        assert!(!take_in(&mut server, &mut by_server) && !take_in(&mut client, &mut by_client));
    }
    if role == Role::Client { (to_client, by_client) } else { (to_server, by_server) }
}

#[test]
fn every_cut_of_the_bytes_gives_the_same_conversation() {
    for role in [Role::Client, Role::Server] {
        let (bytes, expected) = conversation(role);
        assert_eq!(expected.len(), if role == Role::Client { 4 } else { 5 });
        for cut in 0..=bytes.len() {
            let (mut side, mut delivered) = (start(role), Vec::new());
            for part in [&bytes[..cut], &bytes[cut..]] {
                side.input.extend_from_slice(part);
                assert!(!take_in(&mut side, &mut delivered));
            }
            assert_eq!(delivered, expected, "{role:?}, cut at {cut}");
        }
        for chunk_len in [1, 2, 7, 13] {
            let (mut side, mut delivered) = (start(role), Vec::new());
            for chunk in bytes.chunks(chunk_len) {
                side.input.extend_from_slice(chunk);
                assert!(!take_in(&mut side, &mut delivered));
            }
            assert_eq!(delivered, expected, "{role:?}, in chunks of {chunk_len}");
        }
    }
}

#[test]
fn every_cut_of_the_writing_tells_each_sender_at_its_last_byte() {
    let (mut client, _) = pair_with_two_streams();
    let mut ends = Vec::new();
    for (token, flags) in [("a1", 0), ("a2", 0), ("last", TERMINATE_STREAM)] {
        client.send_on(1, token, flags).expect("the stream is open");
        ends.push(client.rpc.outbound_len());
    }
    let bytes = client.take();
    for at in 1..=bytes.len() {
        let due = client.wrote(1);
        assert_eq!(due.len(), usize::from(ends.contains(&at)), "byte {at} of ends {ends:?}");
    }
    assert_eq!(client.rpc.outbound_len(), 0);
}

#[test]
fn a_flipped_bit_is_noticed_before_its_message_is_delivered() {
    for role in [Role::Client, Role::Server] {
        let (bytes, expected) = conversation(role);
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let (mut side, mut delivered) = (start(role), Vec::new());
            side.input = altered;
            take_in(&mut side, &mut delivered);
            let good = expected.get(..delivered.len()).expect("no more than was sent");
            assert_eq!(delivered, good, "{role:?}, bit {bit}");
            assert!(delivered.len() < expected.len(), "{role:?}, bit {bit} was not noticed");
        }
    }
}
