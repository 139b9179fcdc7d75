//! The end of the connection.

use super::*;

#[test]
fn terminate_stream_on_stream_0_ends_the_connection_for_both() {
    let (mut client, mut server) = pair_with_two_streams();
    assert_eq!(client.send_on(1, "before", 0), Ok(()));
    let bye = client.send_for("bye", MessageType::Ping, TERMINATE_STREAM);
    assert_eq!(bye, Ok(Some(Ending::Terminated)));
    assert_eq!(client.send(MessageType::Ping, 0), Err(Error::ConnectionClosed));
    assert_eq!(client.send_on(1, "after", 0), Err(Error::ConnectionClosed));
    assert_eq!(client.activate("c", 0), Err(Error::ConnectionClosed));
    let ending = Some(Ending::Terminated);
    let terminated = Received::Protocol { message_type: MessageType::Ping, ending, handled: false };
    assert_eq!(transfer(&mut client, &mut server), [on("a"), terminated]);
}

#[test]
fn answers_all_that_was_open_in_order() {
    let (mut client, _) = pair_with_two_streams();
    client.rpc.close_sending();
    assert_eq!(client.send(MessageType::Ping, 0), Err(Error::ConnectionClosed));

    let (mut client, _) = pair_with_two_streams();
    assert_eq!(client.activate("c", 0), Ok(3));
    assert_eq!(client.send_for("ping", MessageType::Ping, 0), Ok(None));
    assert_eq!(client.send_on(2, "b1", TERMINATE_STREAM), Ok(()));
    let Ended { tokens, streams } = client.rpc.end();
    assert_eq!(tokens, ["c", "ping", "b1"]);
    assert_eq!(streams, ["a", "b", "c"]);
    assert_eq!(client.take(), b"");
    let Ended { tokens, streams } = client.rpc.end();
    assert!(tokens.is_empty() && streams.is_empty(), "once");
    assert_eq!(client.activate("d", 0), Err(Error::ConnectionClosed));
}
