//! Streams that a server refuses, and what it says then.

use super::*;
use eventstream_rpc::rpc::{Refusal, StreamState};

/// A server to which stream 1 was announced.
fn server_with_announced_stream(limits: Limits) -> Side {
    let (mut client, mut server) = opened(Side::new(Role::Client), Side::with_limits(Role::Server, limits));
    assert_eq!(client.activate("a", 0), Ok(1));
    assert_eq!(transfer(&mut client, &mut server), [Received::NewStream { id: 1, ends: false }]);
    assert_eq!(server.rpc.stream_state(1), StreamState::Announced);
    server
}

#[test]
fn by_the_library_say_why() {
    for (refusal, text) in [
        (
            Refusal::Draining,
            "this side is being drained and accepts no new streams; nothing was done for this one".to_owned(),
        ),
        (
            Refusal::NotAccepted { operation: b"\"quoted\"\n" },
            "the operation \"quoted\"\n is not accepted here".to_owned(),
        ),
        (
            Refusal::NotAccepted { operation: &[b'x'; 1000] },
            format!("the operation {} is not accepted here", "x".repeat(256)),
        ),
    ] {
        let mut server = server_with_announced_stream(Limits::default());
        assert_eq!(server.rpc.refuse_stream_for(1, refusal), Ok(()));
        assert_eq!(text_of(&server.take()), (MessageType::ApplicationError, TERMINATE_STREAM, 1, text));
        assert_eq!(server.rpc.stream_state(1), StreamState::Closed);
        assert_eq!(server.rpc.counts().streams_refused, 1);
    }
}

#[test]
fn whose_text_breaks_a_limit_go_without_it() {
    let bare = raw(MessageType::ApplicationError as i32, TERMINATE_STREAM, 1, None);
    let messages = codec::Limits { max_message_len: bare.len() + 20, ..codec::Limits::ON_CONNECTION };
    let mut server = server_with_announced_stream(Limits { messages, ..Limits::default() });
    assert_eq!(server.rpc.refuse_stream_for(1, Refusal::Draining), Ok(()));
    assert_eq!(server.take(), bare);
}

#[test]
fn and_acceptances_come_once_and_only_for_the_stream_that_was_announced() {
    let mut server = server_with_announced_stream(Limits::default());
    assert_eq!(server.rpc.accept_stream(2, "b", 1), Err(Error::StreamNotAnnounced));
    assert_eq!(server.rpc.accept_stream(1, "a", 1), Ok(()));
    assert_eq!(server.rpc.accept_stream(1, "a", 1), Err(Error::StreamNotAnnounced));
    assert_eq!(server.rpc.refuse_stream_for(1, Refusal::Draining), Err(Error::StreamNotAnnounced));
    assert_eq!((server.rpc.stream_state(1), server.take()), (StreamState::Open, Vec::new()));

    let mut server = server_with_announced_stream(Limits::default());
    let refusal = Outgoing::empty(MessageType::ApplicationError, TERMINATE_STREAM);
    let refusal = || refusal.prepare(true, &codec::Limits::DEFAULT).expect("a good message");
    assert_eq!(server.rpc.answer_stream(1, refusal()), Ok(()));
    assert_eq!(server.rpc.answer_stream(1, refusal()), Err(Error::StreamNotAnnounced));
    assert_eq!(server.rpc.accept_stream(1, "a", 1), Err(Error::StreamNotAnnounced));
    assert_eq!(server.rpc.counts().streams_refused, 1);

    let mut server = server_with_announced_stream(Limits::default());
    server.rpc.close_sending();
    assert_eq!(server.rpc.answer_stream(1, refusal()), Err(Error::ConnectionClosed));
    assert_eq!((server.rpc.stream_state(1), server.rpc.counts().streams_refused), (StreamState::Closed, 0));
}
