//! Handshakes that fail: the status and the message on each side, and exactly the promised callbacks.

use crate::certificates::{Authority, Identity, in_year};
use crate::raw::{Door, dial, message};
use crate::recorder::*;
use crate::rig::*;
use crate::server::Server;
use crate::settings::{self, Builder, NAME, Tls};
use eventstream_rpc::ffi::constants::esrpc_tls_version::*;
use std::io::{ErrorKind, Read, Write};

/// The client's failure; what the server's listener hears of it, if anything; parts of the messages.
#[track_caller]
pub fn assert_fails(client: &Tls, server: &Tls, failure: &str, sentence: &str, server_failure: &str) {
    for handshake in [false, true] {
        let runtime = Runtime::start();
        let server = Server::start(&runtime, server);
        let how = How { tls: Some((client, NAME)), handshake, options: None };
        let client = Client::connect(&runtime, server.place(), how);
        let setup = client.side.wait_for("setup");
        assert!(setup.starts_with(&format!("setup {failure}: ")), "{setup}");
        assert!(setup.contains(sentence), "{setup} does not say {sentence:?}");
        let failed = server.side.wait_for("failed");
        assert!(failed.starts_with(&format!("failed {server_failure}: ")), "{failed}");
        let side = client.side.clone();
        drop(client);
        side.wait_for("destroy");
        assert_eq!(side.outline(), [&format!("setup {failure}"), "destroy"]);
        assert_eq!(server.side.outline(), [format!("failed {server_failure}")]);
        drop(server);
        runtime.join();
    }
}

fn showing(identity: &Identity) -> Tls {
    settings::server(identity, |_| {})
}

#[test]
fn a_server_of_an_unknown_ca() {
    let client = settings::client(&Authority::new("one CA"), |_| {});
    let server = showing(&Authority::new("another CA").server(&[NAME]));
    assert_fails(&client, &server, "TLS_UNKNOWN_CA", "comes from a CA that is not trusted", "TLS_ALERT_RECEIVED");
}

#[test]
fn a_server_whose_certificate_has_expired() {
    let authority = Authority::new("test CA");
    let client = settings::client(&authority, |_| {});
    let server = showing(&authority.issue(&[NAME], |params| in_year(params, 2020)));
    assert_fails(&client, &server, "TLS_CERTIFICATE_EXPIRED", "expired at 2020-12-31", "TLS_ALERT_RECEIVED");
}

#[test]
fn a_server_whose_certificate_is_not_valid_yet() {
    let authority = Authority::new("test CA");
    let client = settings::client(&authority, |_| {});
    let server = showing(&authority.issue(&[NAME], |params| in_year(params, 2400)));
    assert_fails(&client, &server, "TLS_CERTIFICATE_NOT_YET_VALID", "is valid from 2400-01-01", "TLS_ALERT_RECEIVED");
}

#[test]
fn a_server_of_another_name() {
    let authority = Authority::new("test CA");
    let client = settings::client(&authority, |_| {});
    let server = showing(&authority.server(&["other.example"]));
    let sentence = "is not for server.example, but for other.example";
    assert_fails(&client, &server, "TLS_WRONG_NAME", sentence, "TLS_ALERT_RECEIVED");
}

#[test]
fn a_certificate_that_is_not_for_servers() {
    let authority = Authority::new("test CA");
    let client = settings::client(&authority, |_| {});
    let server = showing(&authority.client("a client"));
    assert_fails(&client, &server, "TLS_BAD_CERTIFICATE", "may not be used for server", "TLS_ALERT_RECEIVED");
}

#[test]
fn no_version_in_common() {
    let authority = Authority::new("test CA");
    let client = settings::client(&authority, |builder| builder.only(ESRPC_TLS_VERSION_1_2));
    let server = settings::server(&authority.server(&[NAME]), |builder| builder.only(ESRPC_TLS_VERSION_1_3));
    assert_fails(&client, &server, "TLS_NO_COMMON_VERSION", "protocol_version", "TLS_NO_COMMON_VERSION");
}

#[test]
fn no_application_protocol_in_common() {
    let authority = Authority::new("test CA");
    let with = |name: &'static str| move |builder: &Builder| builder.alpn(name);
    let client = settings::client(&authority, with("one"));
    let server = settings::server(&authority.server(&[NAME]), with("other"));
    assert_fails(&client, &server, "TLS_NO_COMMON_ALPN", "no_application_protocol", "TLS_NO_COMMON_ALPN");
}

/// What a client of ours reports if its server does `answer` after the ClientHello has begun.
#[track_caller]
fn assert_client_fails(answer: &[u8], failure: &str, sentence: &str) {
    let runtime = Runtime::start();
    let tls = settings::client(&Authority::new("test CA"), |_| {});
    let door = Door::open();
    let how = How { tls: Some((&tls, NAME)), ..How::default() };
    let client = Client::connect(&runtime, Place::Port(door.port()), how);
    let mut server = door.accept();
    server.read_exact(&mut [0; 5]).expect("the beginning of a ClientHello");
    server.write_all(answer).expect("the client takes it");
    server.shutdown(std::net::Shutdown::Write).expect("a socket");
    let setup = client.side.wait_for("setup");
    assert!(setup.starts_with(&format!("setup {failure}: ")) && setup.contains(sentence), "{setup}");
    let side = client.side.clone();
    drop(client);
    side.wait_for("destroy");
    assert_eq!(side.outline(), [&format!("setup {failure}"), "destroy"]);
    runtime.join();
}

#[test]
fn an_alert_has_its_name_in_the_sentence() {
    let fatal_access_denied = [21, 3, 3, 0, 2, 2, 49];
    assert_client_fails(&fatal_access_denied, "TLS_ALERT_RECEIVED", "access_denied (49)");
}

#[test]
fn a_server_that_closes_during_the_handshake() {
    let sentence =
        "the server closed the connection during the TLS handshake without sending anything: does it use TLS";
    assert_client_fails(b"", "TLS_PEER_CLOSED", sentence);
}

#[test]
fn a_server_that_does_not_speak_tls() {
    let cases: [(&[u8], &str); 4] = [
        (b"HTTP/1.0 400 Bad Request\r\n\r\n", "looks like an HTTP response (status 400); the server does not speak"),
        (b"{\"error\": \"bad request\"}", "looks like JSON; the server does not speak event-stream RPC at this port"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n", "looks like SSH"),
        (
            &message(CONNECT_ACK, ACCEPTED, 0, &[], b""),
            "looks like an event-stream message without TLS; the server does",
        ),
    ];
    for (answer, part) in cases {
        let sentence = format!("what the server sent is not TLS; it {part}");
        assert_client_fails(answer, "TLS_HANDSHAKE_FAILED", &sentence);
    }
}

#[test]
fn a_server_that_sends_much_that_is_not_tls_gets_an_alert_rather_than_a_reset() {
    let runtime = Runtime::start();
    let tls = settings::client(&Authority::new("test CA"), |_| {});
    let door = Door::open();
    let how = How { tls: Some((&tls, NAME)), ..How::default() };
    let client = Client::connect(&runtime, Place::Port(door.port()), how);
    let mut server = door.accept();
    server.write_all(&[b'x'; 1_000_000]).expect("the client takes it");
    // It does not keep its application waiting for this side's end.
    client.side.wait_for("setup TLS_HANDSHAKE_FAILED");
    server.shutdown(std::net::Shutdown::Write).expect("a socket");
    let mut told = Vec::new();
    server.read_to_end(&mut told).expect("an orderly end");
    let (_hello, alert) = told.split_at(told.len() - 7);
    assert!(alert.starts_with(&[21, 3]), "no alert: {alert:?}");
    drop(client);
    runtime.join();
}

/// What a listener of ours reports if its client does nothing but send this.
#[track_caller]
fn assert_server_fails(bytes: &[u8], failure: &str, sentence: &str) {
    let runtime = Runtime::start();
    let (tls, server) = settings::fitting();
    let server = Server::start(&runtime, &server);
    let mut client = dial(server.port());
    client.write_all(bytes).expect("the server takes it");
    client.shutdown(std::net::Shutdown::Write).expect("a socket");
    let failed = server.side.wait_for("failed");
    assert!(failed.starts_with(&format!("failed {failure}: ")) && failed.contains(sentence), "{failed}");
    // It goes on.
    Client::ready(&runtime, server.place(), &tls, NAME).end();
    assert_eq!(server.side.outline()[0], format!("failed {failure}"));
    drop(server);
    runtime.join();
}

#[test]
fn a_client_that_closes_during_the_handshake() {
    let sentence = "the client closed the connection during the TLS handshake";
    assert_server_fails(b"", "TLS_PEER_CLOSED", sentence);
    assert_server_fails(&[22, 3, 1, 2, 0, 1], "TLS_PEER_CLOSED", sentence);
}

#[test]
fn a_client_that_does_not_speak_tls() {
    let cases: [(&[u8], &str); 3] = [
        (b"GET / HTTP/1.0\r\n\r\n", "looks like an HTTP request (GET); the client does not speak event-stream RPC"),
        (b"<?xml version='1.0'?>", "looks like XML or HTML"),
        (
            &message(CONNECT, 0, 0, &[], b""),
            "looks like an event-stream message without TLS; the client does not use TLS",
        ),
    ];
    for (bytes, part) in cases {
        let sentence = format!("what the client sent is not TLS; it {part}");
        assert_server_fails(bytes, "TLS_HANDSHAKE_FAILED", &sentence);
    }
}

#[test]
fn a_client_without_tls_at_a_server_with_it() {
    let runtime = Runtime::start();
    let (_, server) = settings::fitting();
    let server = Server::start(&runtime, &server);
    let client = Client::connect(&runtime, server.place(), How { handshake: true, ..How::default() });
    let setup = client.side.wait_for("setup");
    let sentence = "what the peer sent is not an event-stream message; it looks like a TLS alert (decode_error, 50); the \
                    server expects TLS: give this client TLS settings, or check the port";
    assert!(setup.starts_with("setup INCOMPLETE: ") && setup.contains(sentence), "{setup}");
    let failed = server.side.wait_for("failed");
    let sentence = "what the client sent is not TLS; it looks like an event-stream message without TLS; the client does not \
                    use TLS: turn TLS on there, or off here";
    assert!(failed.starts_with("failed TLS_HANDSHAKE_FAILED: ") && failed.contains(sentence), "{failed}");
    drop((client, server));
    runtime.join();
}

#[test]
fn a_client_with_tls_at_a_server_without_it() {
    let runtime = Runtime::start();
    let (tls, _) = settings::fitting();
    let server = Server::start(&runtime, &Tls(std::ptr::null_mut()));
    let client = Client::connect(&runtime, server.place(), How { tls: Some((&tls, NAME)), ..How::default() });
    let setup = client.side.wait_for("setup");
    let sentence =
        "the server closed the connection during the TLS handshake without sending anything: does it use TLS";
    assert!(setup.starts_with("setup TLS_PEER_CLOSED: ") && setup.contains(sentence), "{setup}");
    let shutdown = server.side.wait_for("shutdown");
    let sentence =
        "it looks like a TLS ClientHello; the client uses TLS and this side does not: turn TLS on here, or off there";
    assert!(shutdown.starts_with("shutdown PRELUDE_CHECKSUM: ") && shutdown.contains(sentence), "{shutdown}");
    drop((client, server));
    runtime.join();
}

/// What a server of ours without TLS says of a client that does nothing but send this.
#[track_caller]
fn assert_plain_server_says(bytes: &[u8], sentence: &str) {
    let runtime = Runtime::start();
    let server = Server::start(&runtime, &Tls(std::ptr::null_mut()));
    let mut client = dial(server.port());
    client.write_all(bytes).expect("the server takes it");
    client.shutdown(std::net::Shutdown::Write).expect("a socket");
    let shutdown = server.side.wait_for("shutdown");
    assert!(shutdown.contains(sentence), "{shutdown}");
    drop((client, server));
    runtime.join();
}

#[test]
fn strangers_at_a_server_without_tls() {
    let http =
        "it looks like an HTTP request (GET); the client does not speak event-stream RPC: check the host and port";
    assert_plain_server_says(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", http);
    assert_plain_server_says(b"{\"jsonrpc\": \"2.0\"}", "it looks like JSON");
    assert_plain_server_says(b"<?xml version='1.0'?>", "it looks like XML or HTML");
    assert_plain_server_says(b"GET /", "it looks like an HTTP request (GET)");
    // After a message of its own a client is no stranger.
    let connect_and_text = [&message(CONNECT, 0, 0, &[], b"")[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
    assert_plain_server_says(&connect_and_text, "the prelude checksum is");
}

#[test]
fn strangers_as_servers_without_tls() {
    let cases: [(&[u8], &str); 3] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it looks like an HTTP response (status 400); the server does not speak"),
        (
            b"event: message\ndata: {}\n\n",
            "it looks like server-sent events (text/event-stream, which is another format)",
        ),
        (&[21, 3, 1, 0, 2, 2, 70], "it looks like a TLS alert (protocol_version, 70); the server expects TLS"),
    ];
    for (answer, sentence) in cases {
        let runtime = Runtime::start();
        let door = Door::open();
        let how = How { handshake: true, ..How::default() };
        let client = Client::connect(&runtime, Place::Port(door.port()), how);
        let mut server = door.accept();
        server.write_all(answer).expect("the client takes it");
        server.shutdown(std::net::Shutdown::Write).expect("a socket");
        let setup = client.side.wait_for("setup");
        assert!(setup.contains(sentence), "{setup}");
        drop(client);
        runtime.join();
    }
}

/// What is left unread would turn the server's close into a reset, which may overtake the alert.
#[test]
fn a_client_that_sends_much_that_is_not_tls_gets_an_alert_rather_than_a_reset() {
    let runtime = Runtime::start();
    let (tls, server) = settings::fitting();
    let server = Server::start(&runtime, &server);
    let mut client = dial(server.port());
    client.write_all(&[b'x'; 1_000_000]).expect("the server takes it");
    client.shutdown(std::net::Shutdown::Write).expect("a socket");
    let mut told = Vec::new();
    client.read_to_end(&mut told).expect("an orderly end");
    assert!(told.starts_with(&[21, 3]), "no alert: {told:?}");
    assert!(server.side.wait_for("failed").starts_with("failed TLS_HANDSHAKE_FAILED: "));
    // It goes on.
    Client::ready(&runtime, server.place(), &tls, NAME).end();
    drop(server);
    runtime.join();
}

/// The server waits only briefly for a client whose handshake it has failed.
#[test]
fn a_client_that_goes_on_after_the_alert_is_cut_off() {
    let runtime = Runtime::start();
    let (_, server) = settings::fitting();
    let server = Server::start(&runtime, &server);
    let mut client = dial(server.port());
    client.write_all(&[b'x'; 100_000]).expect("the server takes it");
    let mut told = Vec::new();
    client.read_to_end(&mut told).expect("the server's side ends in order");
    assert!(told.starts_with(&[21, 3]), "no alert: {told:?}");
    // Until the server has ended; a write that blocks for long would be an error of its own.
    let error = loop {
        if let Err(error) = client.write_all(&[b'x'; 10_000]) {
            break error;
        }
    };
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    drop(server);
    runtime.join();
}

#[test]
fn a_close_during_the_handshake_cancels_the_setup() {
    let runtime = Runtime::start();
    let (tls, _) = settings::fitting();
    let door = Door::open();
    let how = How { tls: Some((&tls, NAME)), ..How::default() };
    let client = Client::connect(&runtime, Place::Port(door.port()), how);
    let _server = door.accept();
    client.close();
    client.side.wait_for("setup CANCELLED");
    drop(client);
    runtime.join();
}
