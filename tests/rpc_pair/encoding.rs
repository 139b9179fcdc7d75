//! From what a caller gives to the bytes on the wire.

use super::*;

/// What goes on the wire, with the id taken late, and the same encoded in one go.
fn both(payload: &[u8], headers: Option<&HeaderList>, operation: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
    let (mut client, _) = pair_with_two_streams();
    let flags = 0x7654_3210 & !TERMINATE_STREAM;
    let outgoing = Outgoing { message_type: 1, flags, headers, operation, payload };
    let message = outgoing.prepare(true, &codec::Limits::DEFAULT).expect("within the limits");
    let id = if operation.is_some() {
        client.rpc.activate("c", message, None).expect("the connection is open")
    } else {
        client.rpc.send_on_stream(2, message, None, false).expect("the stream is open");
        2
    };
    let mut all = HeaderList::new();
    let own = headers.map_or(&b""[..], HeaderList::as_bytes);
    all.add(b":message-type", HeaderValue::Int32(1)).expect("a good header");
    all.add(b":message-flags", HeaderValue::Int32(flags)).expect("a good header");
    all.add(b":stream-id", HeaderValue::Int32(id)).expect("a good header");
    if let Some(operation) = operation {
        all.add(b"operation", HeaderValue::String(operation)).expect("a good header");
    }
    let mut plain = Vec::new();
    codec::encode_into(&[own, all.as_bytes()], payload, &mut plain);
    (client.take(), plain)
}

#[test]
fn of_large_messages_ahead_of_their_id_gives_the_same_bytes() {
    let mut own = HeaderList::new();
    own.add(b":content-type", HeaderValue::String(b"application/json")).expect("a good header");
    own.add(b"number", HeaderValue::Int64(-1)).expect("a good header");
    for len in [0, 1, 8 * 1024 - 1, 8 * 1024, 8 * 1024 + 1, 64 * 1024, 300_000] {
        let payload: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        for headers in [None, Some(&own)] {
            for operation in [None, Some(&b""[..]), Some(b"service#Operation")] {
                let (sent, plain) = both(&payload, headers, operation);
                assert!(sent == plain, "{len} bytes, headers {headers:?}, operation {operation:?}");
            }
        }
    }
}

#[test]
fn keeps_the_order_of_small_and_large_messages() {
    let (mut client, mut server) = pair_with_two_streams();
    let lens = [0, 100_000, 3, 8 * 1024, 8 * 1024 + 1, 10, 70_000, 70_000, 1];
    for (number, len) in lens.into_iter().enumerate() {
        client.send_payload_on(1, "x", 0, &vec![number as u8; len]).expect("the stream is open");
    }
    let (bytes, due) = client.flush();
    assert_eq!(due.len(), lens.len());
    let mut rest = &bytes[..];
    for (number, len) in lens.into_iter().enumerate() {
        let (message, used) = Message::decode(rest, &codec::Limits::DEFAULT).expect("a message");
        assert!(message.payload == vec![number as u8; len], "message {number}");
        rest = &rest[used..];
    }
    assert_eq!(server.receive(&bytes).expect("no violation").len(), lens.len());
}

#[test]
fn refuses_headers_that_the_protocol_adds_itself() {
    let prepare = |name: &[u8], operation: Option<&[u8]>| {
        let mut headers = HeaderList::new();
        headers.add(name, HeaderValue::Bool(true)).expect("a good header");
        let message = Outgoing::empty(MessageType::ApplicationMessage, 0);
        Outgoing { headers: Some(&headers), operation, ..message }.prepare(true, &codec::Limits::DEFAULT).map(|_| ())
    };
    for name in [":message-type", ":Message-Flags", ":STREAM-ID"] {
        assert_eq!(prepare(name.as_bytes(), None), Err(Error::ReservedHeader(name.to_owned())));
    }
    assert_eq!(prepare(b"Operation", Some(b"a")), Err(Error::ReservedHeader("Operation".to_owned())));
    assert_eq!(prepare(b"operation", None), Ok(()), "only the first message of a stream has one");
    assert_eq!(prepare(b":content-type", None), Ok(()));
}

#[test]
fn refuses_types_that_do_not_belong_there() {
    for number in 0..8 {
        let message_type = MessageType::from_number(number).expect("a type");
        for on_stream in [false, true] {
            let prepared = Outgoing::empty(message_type, 0).prepare(on_stream, &codec::Limits::DEFAULT).map(|_| ());
            assert_eq!(prepared.is_ok(), on_stream == (number < 2), "{message_type:?}, on a stream: {on_stream}");
        }
    }
    for message_type in [-1, 8, i32::MIN, i32::MAX] {
        let outgoing = Outgoing { message_type, ..Outgoing::empty(MessageType::Ping, 0) };
        let prepared = outgoing.prepare(false, &codec::Limits::DEFAULT).map(|_| ());
        assert!(matches!(prepared, Err(Error::WrongMessageType(_))), "{message_type}");
    }
}

#[test]
fn holds_sizes_to_the_limits_with_the_headers_of_the_protocol_counted() {
    let empty_len = raw(0, 0, 1, None).len();
    let fits = codec::Limits { max_message_len: empty_len + 100, ..codec::Limits::ON_CONNECTION };
    let prepare = |payload: &[u8], limits: &codec::Limits| {
        let outgoing = Outgoing { payload, ..Outgoing::empty(MessageType::ApplicationMessage, 0) };
        outgoing.prepare(true, limits).map(|_| ())
    };
    assert_eq!(prepare(&[0; 100], &fits), Ok(()));
    let too_large = codec::Error::MessageTooLarge { len: empty_len + 101, limit: empty_len + 100 };
    assert_eq!(prepare(&[0; 101], &fits), Err(Error::Codec(too_large)));
    assert_eq!(prepare(&[], &codec::Limits { max_headers: 3, ..codec::Limits::DEFAULT }), Ok(()));
    let too_many = codec::Error::TooManyHeaders { limit: 2 };
    assert_eq!(prepare(&[], &codec::Limits { max_headers: 2, ..codec::Limits::DEFAULT }), Err(Error::Codec(too_many)));

    let operation = vec![b'o'; codec::MAX_SENT_VALUE_LEN + 1];
    let prepare = |operation| {
        let message = Outgoing::empty(MessageType::ApplicationMessage, 0);
        Outgoing { operation: Some(operation), ..message }.prepare(true, &codec::Limits::DEFAULT).map(|_| ())
    };
    assert_eq!(prepare(&operation[1..]), Ok(()));
    assert!(matches!(prepare(&operation), Err(Error::Codec(codec::Error::HeaderValueTooLong { .. }))));
}
