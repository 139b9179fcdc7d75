//! Much data over TLS, and reading that is paused.

use crate::certificates::Authority;
use crate::raw::{Door, RawTls, dial, message};
use crate::recorder::*;
use crate::rig::*;
use crate::server::{FittingServer, Server};
use crate::settings::{self, NAME};
use eventstream_rpc::ffi::connection_options::*;
use eventstream_rpc::transport::TlsVersion;
use std::sync::atomic::Ordering;

const MIB: usize = 1024 * 1024;

/// Bytes in which a lost or doubled piece shows.
fn counting(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

fn roomy(options: *mut esrpc_connection_options) {
    // SAFETY: live options.
    unsafe {
        assert_eq!(esrpc_connection_options_set_outbound_limit(options.as_mut(), 64 * MIB), OK);
        assert_eq!(esrpc_connection_options_set_max_message_size(options.as_mut(), 25 * MIB), OK);
    }
}

#[test]
fn a_close_after_24_mib_to_a_slow_reader_loses_no_byte() {
    let runtime = Runtime::start();
    let authority = Authority::new("test CA");
    let tls = settings::client(&authority, |_| {});
    let door = Door::open();
    let how = How { tls: Some((&tls, NAME)), handshake: true, options: Some(&roomy) };
    let client = Client::connect(&runtime, Place::Port(door.port()), how);
    let mut server = RawTls::server(door.accept(), &authority.server(&[NAME]), TlsVersion::V1_3);
    server.read_message();
    server.write(&message(CONNECT_ACK, ACCEPTED, 0, &[], b""));
    server.flush();
    client.side.wait_for("setup OK");
    let payload = counting(24 * MIB);
    let call = client.call("any", &payload, 0);
    client.close();
    // The reader is slow as it takes little at a time, and nothing before the close.
    let mut first = server.read(4);
    let length = u32::from_be_bytes([first[0], first[1], first[2], first[3]]) as usize;
    while first.len() < length {
        first.extend(server.read((length - first.len()).min(5000)));
    }
    assert!(first[..first.len() - 4].ends_with(&payload), "every byte arrived, in its place");
    assert_eq!(server.read_end().expect("close_notify came"), 0);
    server.end();
    assert_eq!(client.side.wait_for("shutdown"), "shutdown OK");
    assert_eq!(call.side.outline(), ["flushed OK", "closed CONNECTION_CLOSED"]);
    drop((call, client));
    runtime.join();
}

#[test]
fn a_servers_close_after_24_mib_loses_no_byte() {
    let runtime = Runtime::start();
    let authority = Authority::new("test CA");
    let server = settings::server(&authority.server(&[NAME]), |_| {});
    let server = Server::start_with(&runtime, &server, None, roomy);
    let mut client = RawTls::client(dial(server.port()), &authority, TlsVersion::V1_2);
    client.write(&message(CONNECT, 0, 0, &[], b""));
    client.read_message();
    let payload = counting(24 * MIB);
    assert_eq!(server.ping(&payload), OK);
    server.close_connection();
    let ping = client.read_message();
    assert!(ping[..ping.len() - 4].ends_with(&payload), "every byte arrived, in its place");
    assert_eq!(client.read_end().expect("close_notify came"), 0);
    client.end();
    assert_eq!(server.side.wait_for("shutdown"), "shutdown OK");
    server.side.wait_for("flushed OK");
    drop(server);
    runtime.join();
}

#[test]
fn large_messages_both_ways_at_once() {
    let runtime = Runtime::start();
    let server = FittingServer::start(&runtime, roomy);
    let how = How { tls: Some((&server.client_tls, NAME)), handshake: true, options: Some(&roomy) };
    let client = Client::connect(&runtime, server.place(), how);
    client.side.wait_for("setup OK");
    // Every message is echoed while the next ones are on their way.
    let payload = counting(8 * MIB);
    let calls: Vec<_> = (0..4).map(|_| client.call("echo", &payload, 0)).collect();
    for call in &calls {
        call.side.wait_for(&format!("message {} bytes", payload.len()));
        call.side.wait_for("flushed OK");
    }
    assert_eq!(server.side.received.load(Ordering::Relaxed), 4 * payload.len());
    client.end();
    drop((calls, server));
    runtime.join();
}

#[test]
fn nothing_is_stuck_in_the_tls_session_of_a_client_that_paused_reading() {
    let runtime = Runtime::start();
    let authority = Authority::new("test CA");
    let tls = settings::client(&authority, |_| {});
    let door = Door::open();
    let how = How { tls: Some((&tls, NAME)), handshake: true, options: None };
    let client = Client::connect(&runtime, Place::Port(door.port()), how);
    let mut server = RawTls::server(door.accept(), &authority.server(&[NAME]), TlsVersion::V1_3);
    server.read_message();
    server.write(&message(CONNECT_ACK, ACCEPTED, 0, &[], b""));
    server.flush();
    client.side.wait_for("setup OK");
    // The first message pauses; all the others come in the same segment, so TLS has decrypted them by then.
    let call = client.call("pause after each", b"", 0);
    server.read_message();
    for number in 0..20 {
        server.write(&message(APPLICATION_MESSAGE, 0, 1, &[], format!("{number}").as_bytes()));
    }
    server.flush();
    for number in 0..20 {
        call.side.wait_for(&format!("message {number}"));
        let messages = call.side.callbacks.events().iter().filter(|event| event.starts_with("message")).count();
        assert_eq!(messages, number + 1, "no message comes while reading is paused");
        client.resume();
    }
    server.end();
    client.side.wait_for("shutdown PEER_CLOSED");
    drop((call, client));
    runtime.join();
}

#[test]
fn what_came_during_a_pause_is_delivered_before_the_peers_end() {
    let runtime = Runtime::start();
    let authority = Authority::new("test CA");
    let server = Server::start(&runtime, &settings::server(&authority.server(&[NAME]), |_| {}));
    let mut client = RawTls::client(dial(server.port()), &authority, TlsVersion::V1_3);
    client.write(&message(CONNECT, 0, 0, &[], b""));
    client.read_message();
    server.pause();
    let mut total = 0;
    for id in 1..=30 {
        let payload = counting(id * 1000);
        client.write(&message(APPLICATION_MESSAGE, 0, id as i32, &[("operation", "count")], &payload));
        total += payload.len();
    }
    client.end_sending();
    client.flush();
    assert_eq!(server.side.received.load(Ordering::Relaxed), 0);
    server.resume();
    server.side.wait_for("shutdown PEER_CLOSED");
    assert_eq!(server.side.received.load(Ordering::Relaxed), total);
    client.end();
    drop(server);
    runtime.join();
}
