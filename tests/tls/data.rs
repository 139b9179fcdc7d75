//! Data through a session, and its end.

use std::io::{self, Write};

use eventstream_rpc::transport::{ErrorKind, TlsErrorKind};

use crate::peers::*;

const MIB: usize = 1024 * 1024;

/// Bytes that are not all alike.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

/// The count, or nothing if the call would have to wait.
fn unless_blocked(result: io::Result<usize>) -> Option<usize> {
    match result {
        Ok(count) => Some(count),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_mebibyte_each_way_comes_through_a_narrow_pipe() {
    let (client, server) = fitting_configs();
    let (mut client, mut server) = connected(&client, &server, 700);
    let sent = pattern(MIB);
    let mut written = [0, 0];
    let mut received = [Vec::new(), Vec::new()];
    let mut buffer = vec![0; 3000];
    while received.iter().any(|received| received.len() < MIB) {
        for (index, peer) in [&mut client, &mut server].into_iter().enumerate() {
            if written[index] < MIB {
                written[index] += unless_blocked(peer.write(&sent[written[index]..])).unwrap_or(0);
            }
            let count = unless_blocked(peer.read(&mut buffer)).unwrap_or(0);
            received[index].extend_from_slice(&buffer[..count]);
        }
    }
    assert!(received.iter().all(|received| *received == sent));
}

#[test]
fn what_a_write_returns_has_left() {
    const STEP: usize = 256 * 1024;
    let (client, server) = fitting_configs();
    let (mut client, mut server) = connected(&client, &server, 5000);
    let sent = pattern(400 * 1024);
    let mut answers = Vec::new();
    let mut received = Vec::new();
    let mut buffer = vec![0; 5000];
    let mut answered = 0;
    while answered < STEP {
        match unless_blocked(client.write(&sent[answered..])) {
            Some(count) => {
                answers.push(count);
                answered += count;
                while let Some(count) = unless_blocked(server.read(&mut buffer)) {
                    received.extend_from_slice(&buffer[..count]);
                }
                assert!(received.len() >= answered, "{} of {answered}", received.len());
            }
            None => {
                assert!(client.session.wants_flush(), "some of it waits");
                let count = unless_blocked(server.read(&mut buffer)).unwrap_or(0);
                received.extend_from_slice(&buffer[..count]);
            }
        }
    }
    assert!(answers.len() > 10 && answers.iter().all(|count| *count > 0), "{answers:?}");
    assert_eq!(answered, STEP, "so much is made into records at once");
    assert!(!client.session.wants_flush());
    assert!(received == sent[..STEP], "nothing else was sent, and nothing of it kept back");
}

#[test]
fn a_write_that_finds_room_takes_a_step_at_once() {
    let (client, server) = fitting_configs();
    let (mut client, mut server) = connected(&client, &server, ROOMY);
    let sent = pattern(400 * 1024);
    assert_eq!(client.write(&sent).expect("there is room"), 256 * 1024);
    assert_eq!(server.read_some(), &sent[..256 * 1024]);
    assert_eq!(client.write(&sent[256 * 1024..]).expect("there is room"), 144 * 1024);
    assert_eq!(server.read_some(), &sent[256 * 1024..]);
}

#[test]
fn a_write_takes_its_bytes_from_many_pieces() {
    let (client, server) = fitting_configs();
    let (mut client, mut server) = connected(&client, &server, ROOMY);
    let sent = pattern(1000);
    let pieces: Vec<_> = sent.chunks(10).map(io::IoSlice::new).collect();
    let count = client.session.write(&mut client.end, &pieces).expect("there is room");
    assert!(count > 0 && count <= 1000);
    assert_eq!(server.read_some(), &sent[..count]);
    assert_eq!(client.write(&[]).expect("nothing to wait for"), 0);
}

#[test]
fn one_read_takes_the_data_of_many_records() {
    let (client, server) = fitting_configs();
    let (mut client, mut server) = connected(&client, &server, ROOMY);
    let sent = pattern(100 * 1024);
    let mut written = 0;
    while written < sent.len() {
        written += client.write(&sent[written..]).expect("there is room");
    }
    assert_eq!(server.read_some(), sent);
    assert_eq!(server.read(&mut [0; 10]).expect_err("that was all").kind(), io::ErrorKind::WouldBlock);
    assert_eq!(server.read(&mut []).expect("no room, no wait"), 0);
}

#[cfg(unix)]
#[test]
fn a_read_knows_whether_it_took_all_that_was_there() {
    let (client, server) = fitting_configs();
    let (mut client, mut server) = connected(&client, &server, ROOMY);
    client.write(&pattern(5000)).expect("there is room");
    assert_eq!(server.read(&mut [0; 100]).expect("there is data"), 100);
    assert_eq!(server.read_some().len(), 4900);
    assert!(server.session.is_drained());

    client.write(b"last words").expect("there is room");
    assert!(client.session.close_notify(&mut client.end));
    assert_eq!(server.read_some(), b"last words");
    assert!(!server.session.is_drained(), "the end is to be told, and no event announces it");
    assert_eq!(server.read(&mut [0; 10]).expect("an orderly end"), 0);

    let (client, server) = fitting_configs();
    let (mut client, mut server) = connected(&client, &server, ROOMY);
    server.write(b"answer").expect("there is room");
    server.end.write_all(b"no record").expect("there is room");
    assert_eq!(client.read_some(), b"answer");
    assert!(!client.session.is_drained(), "what is wrong is to be told");
    assert_eq!(client.read_error().kind, kind(TlsErrorKind::HandshakeFailed));
}

#[test]
fn the_end_of_the_session_is_reported_after_the_data() {
    let (client, server) = fitting_configs();
    let (mut client, mut server) = connected(&client, &server, ROOMY);
    client.write(b"last words").expect("there is room");
    assert!(client.session.close_notify(&mut client.end));
    client.end.close();
    assert_eq!(server.read_some(), b"last words");
    assert_eq!(server.read(&mut [0; 10]).expect("an orderly end"), 0);
    assert_eq!(server.read(&mut [0; 10]).expect("it stays so"), 0);
    // The other direction is still open.
    server.write(b"answer").expect("there is room");
    assert_eq!(client.read_some(), b"answer");
}

#[test]
fn what_follows_the_end_of_the_session_is_ignored() {
    let (client, server) = fitting_configs();
    let (mut client, mut server) = connected(&client, &server, ROOMY);
    client.write(b"last words").expect("there is room");
    assert!(client.session.close_notify(&mut client.end));
    client.end.write_all(&pattern(200 * 1024)).expect("there is room");
    assert_eq!(server.read_some(), b"last words");
    assert_eq!(server.read(&mut [0; 10]).expect("an orderly end"), 0);
    server.write(b"answer").expect("there is room");
    assert_eq!(client.read_some(), b"answer");
}

#[test]
fn the_end_of_the_session_waits_for_room_and_is_sent_once() {
    let (client, server) = fitting_configs();
    let (mut client, mut server) = connected(&client, &server, 10);
    // What the server sent after the handshake is out of the way.
    while server.session.flush(&mut server.end).is_err() {
        unless_blocked(client.read(&mut [0; 100]));
    }
    while !client.session.close_notify(&mut client.end) {
        assert!(client.session.wants_flush());
        if let Some(count) = unless_blocked(server.read(&mut [0; 100])) {
            panic!("{count} bytes before the end is here");
        }
    }
    assert_eq!(server.read(&mut [0; 100]).expect("the end"), 0);
    assert!(client.session.close_notify(&mut client.end));
    assert_eq!(client.end.in_flight(), 0);
}

#[test]
fn a_cut_connection_differs_from_an_orderly_end_and_its_data_comes_first() {
    let (client, server) = fitting_configs();
    let (mut client, mut server) = connected(&client, &server, ROOMY);
    client.write(b"last words").expect("there is room");
    client.end.close();
    assert_eq!(server.read_some(), b"last words");
    let error = server.read_error();
    assert_eq!(error.kind, kind(TlsErrorKind::Truncated));
    assert!(error.to_string().contains("close_notify"), "{error}");
    assert_eq!(server.read_error(), error, "and again");
}

#[test]
fn data_before_damage_comes_first() {
    let (client, server) = fitting_configs();
    let (mut client, mut server) = connected(&client, &server, ROOMY);
    client.write(b"good").expect("there is room");
    client.end.write_all(&[23, 3, 3, 0, 20]).expect("there is room");
    client.end.write_all(&[0; 20]).expect("there is room");
    assert_eq!(server.read_some(), b"good");
    assert_eq!(server.read_error().kind, kind(TlsErrorKind::HandshakeFailed));
    let error = server.write(b"more").expect_err("the session is over");
    assert_eq!(eventstream_rpc::transport::Error::from_io("", &error, ErrorKind::Io), server.read_error());
    // The client hears why.
    let error = client.read_error();
    assert_eq!(error.kind, kind(TlsErrorKind::AlertReceived));
    assert!(error.to_string().contains("the server sent the alert bad_record_mac (20)"), "{error}");
}

#[test]
fn a_peer_that_has_closed_ends_the_close_too() {
    let (client, server) = fitting_configs();
    let (mut client, server) = connected(&client, &server, ROOMY);
    drop(server);
    assert!(client.session.close_notify(&mut client.end), "nothing to wait for");
}
