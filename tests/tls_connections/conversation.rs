//! Connections over TLS without failures.

use crate::certificates::Authority;
use crate::raw::{Door, RawTls, dial, message};
use crate::recorder::*;
use crate::rig::*;
use crate::server::Server;
use crate::settings::{self, NAME, Tls};
use eventstream_rpc::ffi::constants::esrpc_tls_version::*;
use eventstream_rpc::transport::TlsVersion;
use std::io::Read;
use std::path::PathBuf;

/// A unary and a streaming call, then an orderly close by the client.
fn talk(client: Client, server: &Server) {
    let unary = client.call("unary", b"hello", 0);
    unary.side.wait_for("closed");
    let streaming = client.call("echo", b"one", 0);
    streaming.side.wait_for("message one");
    streaming.send(b"two", 0);
    streaming.side.wait_for("message two");
    streaming.send(b"", TERMINATE);
    streaming.side.wait_for("closed");
    assert_eq!(unary.side.callbacks.events(), ["flushed OK", "message hello, last", "closed OK"]);
    let expected = ["flushed OK", "message one", "flushed OK", "message two", "flushed OK", "closed OK"];
    assert_eq!(streaming.side.callbacks.events(), expected);
    client.close();
    client.side.wait_for("shutdown");
    assert_eq!(client.side.callbacks.events(), ["setup OK", "shutdown OK"]);
    assert_eq!(server.side.wait_for("shutdown").split(':').next(), Some("shutdown PEER_CLOSED"));
}

/// A file that is not there yet.
fn new_path(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tls_connections");
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    let path = folder.join(name);
    let _ = std::fs::remove_file(&path);
    path
}

#[test]
fn unary_and_streaming_calls_over_tcp() {
    let runtime = Runtime::start();
    let (client, server) = settings::fitting();
    let server = Server::start(&runtime, &server);
    talk(Client::ready(&runtime, server.place(), &client, NAME), &server);
    drop(server);
    runtime.join();
}

#[test]
fn unary_and_streaming_calls_over_a_unix_socket() {
    let runtime = Runtime::start();
    let (client, server) = settings::fitting();
    let path = new_path("talk.sock");
    let server = Server::start_at(&runtime, &server, &path);
    talk(Client::ready(&runtime, Place::Path(&path), &client, NAME), &server);
    drop(server);
    runtime.join();
}

#[test]
fn both_versions_of_tls_carry_a_conversation() {
    for (version, name) in [(ESRPC_TLS_VERSION_1_2, "TLSv1.2"), (ESRPC_TLS_VERSION_1_3, "TLSv1.3")] {
        let runtime = Runtime::start();
        let authority = Authority::new("test CA");
        let server = settings::server(&authority.server(&[NAME]), |_| {});
        let tls = settings::client(&authority, |builder| builder.only(version));
        let server = Server::start(&runtime, &server);
        let client = Client::ready(&runtime, server.place(), &tls, NAME);
        assert_eq!(client.facts().version, name);
        talk(client, &server);
        drop(server);
        runtime.join();
    }
}

#[test]
fn an_application_without_the_handshake_option_is_set_up_after_tls() {
    let runtime = Runtime::start();
    let (client, server) = settings::fitting();
    let server = Server::start(&runtime, &server);
    let how = How { tls: Some((&client, NAME)), ..How::default() };
    let client = Client::connect(&runtime, server.place(), how);
    assert_eq!(client.side.wait_for("setup"), "setup OK");
    client.send_connect();
    client.side.wait_for("protocol CONNECT_ACK");
    client.end();
    drop(server);
    runtime.join();
}

#[test]
fn the_host_is_the_name_unless_another_is_given() {
    let runtime = Runtime::start();
    let authority = Authority::new("test CA");
    let tls = settings::client(&authority, |_| {});
    let server = Server::start(&runtime, &settings::server(&authority.server(&["127.0.0.1"]), |_| {}));
    Client::ready(&runtime, server.place(), &tls, "").end();
    drop(server);
    runtime.join();
}

#[test]
fn a_unix_socket_needs_the_name_of_the_server() {
    let runtime = Runtime::start();
    let (client, _) = settings::fitting();
    let path = new_path("nobody.sock");
    let how = How { tls: Some((&client, "")), ..How::default() };
    let refused = Client::try_connect(&runtime, Place::Path(&path), how).err().map(status_name);
    assert_eq!(refused.as_deref(), Some("TLS_SERVER_NAME_REQUIRED"));
    runtime.join();
}

#[test]
fn a_name_that_no_certificate_can_have_is_refused_before_anything_is_tried() {
    let runtime = Runtime::start();
    let (client, _) = settings::fitting();
    for name in ["two words", "a..b", "[::1", "\0"] {
        let how = How { tls: Some((&client, name)), ..How::default() };
        let refused = Client::try_connect(&runtime, Place::Port(1), how).err().map(status_name);
        assert_eq!(refused.as_deref(), Some("ADDRESS_INVALID"), "{name:?}");
    }
    runtime.join();
}

#[test]
fn the_name_is_sent_to_the_server_but_an_address_is_not() {
    for (name, is_sent) in [(NAME, true), ("127.0.0.1", false)] {
        let runtime = Runtime::start();
        let (client, _) = settings::fitting();
        let door = Door::open();
        let how = How { tls: Some((&client, name)), ..How::default() };
        let client = Client::connect(&runtime, Place::Port(door.port()), how);
        let mut server = door.accept();
        let mut record = [0; 5];
        server.read_exact(&mut record).expect("the beginning of a ClientHello");
        let mut hello = vec![0; u16::from_be_bytes([record[3], record[4]]).into()];
        server.read_exact(&mut hello).expect("the rest of it");
        assert_eq!(hello.windows(name.len()).any(|window| window == name.as_bytes()), is_sent, "{name}");
        drop(client);
        runtime.join();
    }
}

#[test]
fn with_verification_off_anybody_is_taken_for_the_server() {
    let runtime = Runtime::start();
    let identity = Authority::new("any CA").server(&["other.example"]);
    let server = Server::start(&runtime, &settings::server(&identity, |_| {}));
    let client = Client::ready(&runtime, server.place(), &settings::client_without_verification(), NAME);
    assert_eq!(client.facts().certificates, [identity.certificate_der]);
    client.end();
    drop(server);
    runtime.join();
}

#[test]
fn secrets_are_logged_to_the_file_that_was_named() {
    let runtime = Runtime::start();
    let authority = Authority::new("test CA");
    let path = new_path("keys.log");
    let tls = settings::client(&authority, |builder| builder.log_keys(&path));
    let server = Server::start(&runtime, &settings::server(&authority.server(&[NAME]), |_| {}));
    Client::ready(&runtime, server.place(), &tls, NAME).end();
    let lines = std::fs::read_to_string(&path).expect("the file was made");
    assert!(lines.lines().any(|line| line.starts_with("CLIENT_TRAFFIC_SECRET_0 ")), "{lines}");
    drop(server);
    runtime.join();
}

#[test]
fn both_sides_show_what_tls_agreed_on() {
    let runtime = Runtime::start();
    let authority = Authority::new("test CA");
    let identity = authority.server(&[NAME]);
    let server = settings::server(&identity, |builder| ["x", "rpc"].iter().for_each(|name| builder.alpn(name)));
    let tls = settings::client(&authority, |builder| ["rpc", "y"].iter().for_each(|name| builder.alpn(name)));
    let server = Server::start(&runtime, &server);
    let client = Client::ready(&runtime, server.place(), &tls, NAME);
    let (ours, theirs) = (client.facts(), server.facts());
    assert_eq!((ours.version.as_str(), ours.alpn.as_str(), ours.resumed), ("TLSv1.3", "rpc", false));
    assert!(ours.cipher_suite.starts_with("TLS_"), "{}", ours.cipher_suite);
    assert!(ours.key_exchange.starts_with("X25519"), "{}", ours.key_exchange);
    #[cfg(feature = "aws-lc-rs")]
    assert_eq!(ours.key_exchange, "X25519MLKEM768");
    assert_eq!(ours.certificates, std::slice::from_ref(&identity.certificate_der));
    assert_eq!(theirs, TlsFacts { certificates: Vec::new(), ..ours });
    client.end();
    drop(server);
    runtime.join();
}

/// Connects, waits for a session ticket, closes; returns whether the session was resumed.
fn is_resumed(runtime: &Runtime, server: &Server, tls: &Tls) -> bool {
    let client = Client::ready(runtime, server.place(), tls, NAME);
    // Tickets come before what the server sends later.
    let call = client.call("unary", b"x", 0);
    call.side.wait_for("closed OK");
    let resumed = client.facts().resumed;
    assert_eq!(server.facts().resumed, resumed, "the two sides agree");
    client.end();
    resumed
}

#[test]
fn a_second_connection_takes_up_the_session_of_the_first() {
    for version in [ESRPC_TLS_VERSION_1_2, ESRPC_TLS_VERSION_1_3] {
        let runtime = Runtime::start();
        let authority = Authority::new("test CA");
        let server = settings::server(&authority.server(&[NAME]), |_| {});
        let tls = settings::client(&authority, |builder| builder.only(version));
        let server = Server::start(&runtime, &server);
        let resumed = [(); 3].map(|()| is_resumed(&runtime, &server, &tls));
        assert_eq!(resumed, [false, true, true], "{version:?}");
        drop(server);
        runtime.join();
    }
}

#[test]
fn either_side_can_turn_resumption_off() {
    let runtime = Runtime::start();
    let authority = Authority::new("test CA");
    let identity = authority.server(&[NAME]);
    for (client_has_it, server_has_it) in [(false, true), (true, false)] {
        let turn_off = |has_it: bool| {
            move |builder: &settings::Builder| {
                if !has_it {
                    builder.without_resumption()
                }
            }
        };
        let server = Server::start(&runtime, &settings::server(&identity, turn_off(server_has_it)));
        let tls = settings::client(&authority, turn_off(client_has_it));
        assert_eq!([(); 2].map(|()| is_resumed(&runtime, &server, &tls)), [false, false]);
    }
    runtime.join();
}

#[test]
fn new_settings_of_a_listener_are_for_new_handshakes() {
    let runtime = Runtime::start();
    let authority = Authority::new("test CA");
    let (old, renewed) = (authority.server(&[NAME]), authority.server(&[NAME]));
    let tls = settings::client(&authority, |_| {});
    let server = Server::start(&runtime, &settings::server(&old, |_| {}));
    let first = Client::ready(&runtime, server.place(), &tls, NAME);
    server.set_tls(&settings::server(&renewed, |_| {}));
    let second = Client::ready(&runtime, server.place(), &tls, NAME);
    assert_eq!(first.facts().certificates, [old.certificate_der]);
    assert_eq!(second.facts().certificates, [renewed.certificate_der]);
    assert!(!second.facts().resumed, "the session of the old settings is not taken up");
    // The old connection goes on.
    first.call("unary", b"still", 0).side.wait_for("message still");
    first.end();
    second.end();
    drop(server);
    runtime.join();
}

#[test]
fn data_in_the_segment_that_ends_the_handshake_is_dealt_with_at_once_by_a_server() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let runtime = Runtime::start();
        let authority = Authority::new("test CA");
        let server = Server::start(&runtime, &settings::server(&authority.server(&[NAME]), |_| {}));
        let mut client = RawTls::client(dial(server.port()), &authority, version);
        client.write(&message(CONNECT, 0, 0, &[], b"early"));
        client.write(&message(APPLICATION_MESSAGE, 0, 1, &[("operation", "count")], b"more"));
        client.flush();
        // The first message after CONNECT breaks the protocol, as the answer was not awaited: both are looked at.
        client.read_message();
        let events = || server.side.callbacks.events();
        assert_eq!(&events()[..2], ["incoming", "protocol CONNECT early"], "{version:?}");
        client.end();
        server.side.wait_for("shutdown");
        drop(server);
        runtime.join();
    }
}

#[test]
fn data_in_the_segment_that_ends_the_handshake_is_dealt_with_at_once_by_a_client() {
    let runtime = Runtime::start();
    let authority = Authority::new("test CA");
    let tls = settings::client(&authority, |_| {});
    let door = Door::open();
    let how = How { tls: Some((&tls, NAME)), ..How::default() };
    let client = Client::connect(&runtime, Place::Port(door.port()), how);
    // A full handshake of TLS 1.2 ends with the server.
    let mut server = RawTls::server(door.accept(), &authority.server(&[NAME]), TlsVersion::V1_2);
    server.write(&message(CONNECT_ACK, ACCEPTED, 0, &[], b""));
    server.flush();
    // A client that has not sent CONNECT expects nothing: that it complains shows that it looked.
    let end = client.side.wait_for("shutdown");
    assert!(end.starts_with("shutdown PROTOCOL_VIOLATION: "), "{end}");
    server.end();
    drop(client);
    runtime.join();
}
