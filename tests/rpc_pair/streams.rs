//! Streams: ids, messages, and ends by either side.

use super::*;
use eventstream_rpc::rpc::StreamState;

#[test]
fn get_their_ids_in_the_order_of_activation() {
    let (mut client, mut server) = open_pair();
    for (id, stream) in [(1, "a"), (2, "b"), (3, "c")] {
        assert_eq!(client.activate(stream, 0), Ok(id));
    }
    let announced = transfer(&mut client, &mut server);
    assert_eq!(announced, [1, 2, 3].map(|id| Received::NewStream { id, ends: false }));
}

#[test]
fn carry_messages_both_ways_in_order() {
    let (mut client, mut server) = pair_with_two_streams();
    for (id, text) in [(1, "one"), (2, "two"), (1, "three")] {
        assert_eq!(client.send_on(id, text, 0), Ok(()));
        assert_eq!(server.send_on(id, text, 0), Ok(()));
    }
    assert_eq!(transfer(&mut client, &mut server), [on("a"), on("b"), on("a")]);
    assert_eq!(transfer(&mut server, &mut client), [on("a"), on("b"), on("a")]);
}

#[test]
fn ended_by_the_client_take_messages_until_that_is_written() {
    let (mut client, mut server) = pair_with_two_streams();
    assert_eq!(client.send_on(1, "last", TERMINATE_STREAM), Ok(()));
    assert!(matches!(client.send_on(1, "more", 0), Err(Error::StreamClosed(_))));
    assert!(matches!(client.end_stream(1), Err(Error::StreamClosed(_))));
    assert_eq!(server.send_on(1, "reply", 0), Ok(()));
    assert_eq!(transfer(&mut server, &mut client), [on("a")], "the stream is still open to the peer");

    let bytes = client.take();
    assert_eq!(client.wrote(bytes.len() - 1), []);
    let last = Written { stream_id: 1, terminates: true, token: Some("last") };
    assert_eq!(client.wrote(1), [last]);
    assert_eq!(client.rpc.remove_stream(1), Some("a"));
    assert_eq!(client.rpc.remove_stream(1), None, "it is over once");

    assert_eq!(server.receive_one(&bytes), Ok(ended("a", &[])));
    assert!(matches!(server.send_on(1, "late", 0), Err(Error::StreamClosed(_))));
    assert_eq!(server.rpc.remove_stream(1), Some("a"));
    assert!(matches!(server.send_on(1, "late", 0), Err(Error::StreamClosed(_))));
    assert_eq!(client.rpc.open_streams() + server.rpc.open_streams(), 2, "the other stream is open");
}

#[test]
fn ended_by_the_peer_answer_the_sends_that_wait() {
    let (mut client, mut server) = pair_with_two_streams();
    for (id, text) in [(1, "a1"), (2, "b1"), (1, "a2"), (2, "b2")] {
        assert_eq!(client.send_on(id, text, 0), Ok(()));
    }
    let before = client.rpc.outbound_len();
    server.end_stream(1).expect("the stream is open");
    assert_eq!(transfer(&mut server, &mut client), [ended("a", &["a1", "a2"])], "those of this stream, in order");
    assert!(matches!(client.send_on(1, "a3", 0), Err(Error::StreamClosed(_))));

    assert_eq!(client.rpc.outbound_len(), before, "the bytes leave all the same");
    let (bytes, due) = client.flush();
    assert_eq!(due, [written(2, "b1"), written(2, "b2")]);
    assert_eq!(server.rpc.remove_stream(1), Some("a"));
    let received = server.receive(&bytes).expect("late messages are no violation");
    assert_eq!(received, [Received::Late, on("b"), Received::Late, on("b")]);
}

#[test]
fn ended_by_both_at_once_end_once_on_each_side() {
    let (mut client, mut server) = pair_with_two_streams();
    assert_eq!(client.send_on(1, "client's last", TERMINATE_STREAM), Ok(()));
    assert_eq!(server.send_on(1, "server's last", TERMINATE_STREAM), Ok(()));
    let (to_server, to_client) = (client.take(), server.take());

    // The client's is not written when the server's comes, the server's is.
    assert_eq!(client.receive_one(&to_client), Ok(ended("a", &["client's last"])));
    assert_eq!(client.rpc.remove_stream(1), Some("a"));
    assert_eq!(client.wrote(to_server.len()), [], "nobody is told a second time");

    let last = Written { stream_id: 1, terminates: true, token: Some("server's last") };
    assert_eq!(server.wrote(to_client.len()), [last]);
    assert_eq!(server.rpc.remove_stream(1), Some("a"));
    assert_eq!(server.receive_one(&to_server), Ok(Received::Late));
    assert_eq!(server.rpc.counts().late_messages, 0, "it has TERMINATE_STREAM, as two sides may well do");
}

#[test]
fn may_be_ended_by_their_first_message() {
    let (mut client, mut server) = open_pair();
    assert_eq!(client.activate("a", TERMINATE_STREAM), Ok(1));
    assert!(matches!(client.send_on(1, "more", 0), Err(Error::StreamClosed(_))));
    let (bytes, due) = client.flush();
    assert_eq!(due, [Written { stream_id: 1, terminates: true, token: Some("a") }]);
    assert_eq!(server.receive_one(&bytes), Ok(Received::NewStream { id: 1, ends: true }));
    server.accept_stream(1, "a");
    assert!(matches!(server.send_on(1, "reply", 0), Err(Error::StreamClosed(_))));
}

#[test]
fn that_are_over_count_late_messages_only_without_terminate() {
    let (mut client, mut server) = pair_with_two_streams();
    client.rpc.remove_stream(1);
    server.rpc.remove_stream(1);
    for side in [&mut client, &mut server] {
        for (flags, count) in [(0, 1), (TERMINATE_STREAM, 1), (CONNECTION_ACCEPTED, 2)] {
            assert_eq!(side.receive_one(&raw(0, flags, 1, None)), Ok(Received::Late));
            assert_eq!(side.rpc.counts().late_messages, count);
        }
    }
    assert_eq!(client.activate("c", 0), Ok(3), "the ids go on");
}

#[test]
fn that_the_server_refuses_end_at_the_client_and_leave_the_connection_open() {
    let (mut client, mut server) = open_pair();
    assert_eq!(client.activate("a", 0), Ok(1));
    assert_eq!(client.send_on(1, "more", 0), Ok(()));
    let (bytes, _) = client.flush();
    server.input.extend_from_slice(&bytes);
    assert_eq!(server.receive_next(), Some(Ok(Received::NewStream { id: 1, ends: false })));
    let refusal = Outgoing::empty(MessageType::ApplicationError, TERMINATE_STREAM);
    let refusal = refusal.prepare(true, server.rpc.limits()).expect("a good message");
    assert_eq!(server.rpc.answer_stream(1, refusal), Ok(()));
    assert_eq!(server.receive_next(), Some(Ok(Received::Late)));
    assert_eq!(server.rpc.open_streams(), 0);

    assert_eq!(transfer(&mut server, &mut client), [ended("a", &[])]);
    client.rpc.remove_stream(1);
    assert_eq!(client.activate("b", 0), Ok(2));
    assert_eq!(transfer(&mut client, &mut server), [Received::NewStream { id: 2, ends: false }]);
}

#[test]
fn flags_that_nobody_knows_pass_unchanged_and_end_nothing() {
    let (mut client, mut server) = pair_with_two_streams();
    let unknown = !(CONNECTION_ACCEPTED | TERMINATE_STREAM);
    assert_eq!(client.send_on(1, "odd", unknown), Ok(()));
    let (bytes, _) = client.flush();
    let (message, _) = Message::decode(&bytes, &codec::Limits::DEFAULT).expect("a message");
    assert_eq!(rpc::Envelope::read(&message.headers).flags, Some(unknown));
    assert_eq!(server.receive_one(&bytes), Ok(on("a")));
}

#[test]
fn have_one_state_from_their_announcement_to_their_end() {
    use StreamState::{Announced, Closed, Closing, Open};
    let states = |side: &Side| [1, 2].map(|id| side.rpc.stream_state(id));
    let (mut client, mut server) = open_pair();
    assert_eq!(client.activate("a", 0), Ok(1));
    assert_eq!(states(&client), [Open, Closed]);
    transfer(&mut client, &mut server);
    assert_eq!(states(&server), [Announced, Closed]);
    server.accept_stream(1, "a");
    assert_eq!(states(&server), [Open, Closed]);

    assert_eq!(server.end_stream(1), Ok(()));
    assert_eq!(states(&server), [Closing, Closed]);
    let (end, due) = server.flush();
    assert_eq!(due, [Written { stream_id: 1, terminates: true, token: None }]);
    server.rpc.remove_stream(1);
    assert_eq!(states(&server), [Closed, Closed]);
    assert_eq!(client.receive_one(&end), Ok(ended("a", &[])));
    assert_eq!(states(&client), [Closed, Closed], "while the last message is delivered");
    assert!(matches!(client.send_on(1, "more", 0), Err(Error::StreamClosed("the peer has ended the stream"))));

    assert_eq!(client.activate("b", TERMINATE_STREAM), Ok(2));
    assert_eq!(states(&client), [Closed, Closing]);
    transfer(&mut client, &mut server);
    assert_eq!(states(&server), [Closed, Announced]);
    server.accept_stream(2, "b");
    assert_eq!(states(&server), [Closed, Closed], "its first message ended it");
    server.rpc.end();
    client.rpc.end();
    assert_eq!((states(&client), states(&server)), ([Closed, Closed], [Closed, Closed]));
}
