//! How connections over TLS end.

use crate::certificates::Authority;
use crate::raw::{Door, RawTls, dial, message};
use crate::recorder::*;
use crate::rig::*;
use crate::server::Server;
use crate::settings::{self, NAME};
use eventstream_rpc::ffi::connection::esrpc_connection_run_on_loop;
use eventstream_rpc::ffi::status::esrpc_status;
use eventstream_rpc::transport::TlsVersion;
use std::ffi::c_void;
use std::sync::Barrier;

/// A client of ours at a raw server, after the handshakes of TLS and of the protocol.
fn client_at_raw_server(runtime: &Runtime) -> (Client, RawTls) {
    let authority = Authority::new("test CA");
    let tls = settings::client(&authority, |_| {});
    let door = Door::open();
    let how = How { tls: Some((&tls, NAME)), handshake: true, options: None };
    let client = Client::connect(runtime, Place::Port(door.port()), how);
    let mut server = RawTls::server(door.accept(), &authority.server(&[NAME]), TlsVersion::V1_3);
    server.read_message();
    server.write(&message(CONNECT_ACK, ACCEPTED, 0, &[], b""));
    server.flush();
    assert_eq!(client.side.wait_for("setup"), "setup OK");
    (client, server)
}

/// A server of ours with a raw client, after the handshakes.
fn raw_client_at_server(server: &Server, authority: &Authority) -> RawTls {
    let mut client = RawTls::client(dial(server.port()), authority, TlsVersion::V1_3);
    client.write(&message(CONNECT, 0, 0, &[], b""));
    client.flush();
    client.read_message();
    client
}

#[test]
fn a_cut_without_close_notify_is_reported_after_the_data_that_came_before() {
    let runtime = Runtime::start();
    let (client, mut server) = client_at_raw_server(&runtime);
    let call = client.call("any", b"", 0);
    server.read_message();
    server.write(&message(APPLICATION_MESSAGE, 0, 1, &[], b"one"));
    server.write(&message(APPLICATION_MESSAGE, 0, 1, &[], b"two"));
    server.cut();
    let end = client.side.wait_for("shutdown");
    assert!(end.starts_with("shutdown TLS_TRUNCATED: ") && end.contains("close_notify"), "{end}");
    let told = ["flushed OK", "message one", "message two", "closed TLS_TRUNCATED"];
    assert_eq!(call.side.outline(), told);
    assert_eq!(client.side.outline(), ["setup OK", "shutdown TLS_TRUNCATED"]);
    drop((call, client));
    runtime.join();
}

#[test]
fn a_cut_is_reported_to_a_server_as_well() {
    let runtime = Runtime::start();
    let authority = Authority::new("test CA");
    let server = Server::start(&runtime, &settings::server(&authority.server(&[NAME]), |_| {}));
    let mut client = raw_client_at_server(&server, &authority);
    client.write(&message(APPLICATION_MESSAGE, 0, 1, &[("operation", "count")], b"last words"));
    client.cut();
    server.side.wait_for("shutdown TLS_TRUNCATED");
    let told = ["incoming", "protocol CONNECT ", "stream message last words", "shutdown TLS_TRUNCATED"];
    assert_eq!(&server.side.outline()[..4], told);
    drop(server);
    runtime.join();
}

#[test]
fn a_cut_is_seen_if_it_comes_with_the_end_of_the_handshake() {
    let runtime = Runtime::with_threads(1);
    let authority = Authority::new("test CA");
    let server = Server::start(&runtime, &settings::server(&authority.server(&[NAME]), |_| {}));
    let other = raw_client_at_server(&server, &authority);
    let mut client = RawTls::client(dial(server.port()), &authority, TlsVersion::V1_3);
    // More than the server takes in one read for its handshake, so that it finds the rest, and the end, later.
    client.write(&message(CONNECT, 0, 0, &[], &[b'x'; 6000]));
    let busy = Barrier::new(2);
    // SAFETY: a live connection; the barrier lives until the task has met it twice.
    let status = unsafe {
        let user_data = (&raw const busy).cast_mut().cast();
        esrpc_connection_run_on_loop(server.connection(), Some(meet_twice), user_data)
    };
    assert_eq!(status, OK);
    // The loop sees all of this at once.
    busy.wait();
    client.cut_sending();
    busy.wait();
    server.side.wait_for("shutdown TLS_TRUNCATED");
    drop((other, server));
    runtime.join();
}

unsafe extern "C" fn meet_twice(_: esrpc_status, barrier: *mut c_void) {
    // SAFETY: a barrier that lives until it was met twice.
    let barrier = unsafe { &*barrier.cast::<Barrier>() };
    barrier.wait();
    barrier.wait();
}

#[test]
fn a_cut_inside_a_message_is_a_cut() {
    let runtime = Runtime::start();
    let (client, mut server) = client_at_raw_server(&runtime);
    let whole = message(APPLICATION_MESSAGE, 0, 1, &[], b"never seen");
    server.write(&whole[..whole.len() - 1]);
    server.cut();
    client.side.wait_for("shutdown TLS_TRUNCATED");
    drop(client);
    runtime.join();
}

#[test]
fn an_orderly_end_inside_a_message_is_an_incomplete_message() {
    let runtime = Runtime::start();
    let (client, mut server) = client_at_raw_server(&runtime);
    let whole = message(APPLICATION_MESSAGE, 0, 1, &[], b"never seen");
    server.write(&whole[..whole.len() - 1]);
    server.end();
    client.side.wait_for("shutdown INCOMPLETE");
    drop(client);
    runtime.join();
}

#[test]
fn an_orderly_end_by_the_server_is_peer_closed_after_its_data() {
    let runtime = Runtime::start();
    let (client, mut server) = client_at_raw_server(&runtime);
    let call = client.call("any", b"", 0);
    server.read_message();
    server.write(&message(APPLICATION_MESSAGE, 0, 1, &[], b"one"));
    server.end();
    client.side.wait_for("shutdown PEER_CLOSED");
    assert_eq!(call.side.outline(), ["flushed OK", "message one", "closed PEER_CLOSED"]);
    drop((call, client));
    runtime.join();
}

#[test]
fn our_close_ends_the_session_in_order() {
    let runtime = Runtime::start();
    let (client, mut server) = client_at_raw_server(&runtime);
    let call = client.call("any", b"accepted before the close", 0);
    client.close();
    server.read_message();
    assert_eq!(server.read_end().expect("close_notify came"), 0);
    server.end();
    client.side.wait_for("shutdown OK");
    assert_eq!(call.side.outline(), ["flushed OK", "closed CONNECTION_CLOSED"]);
    drop((call, client));
    runtime.join();
}

#[test]
fn a_servers_close_ends_the_session_in_order() {
    let runtime = Runtime::start();
    let authority = Authority::new("test CA");
    let server = Server::start(&runtime, &settings::server(&authority.server(&[NAME]), |_| {}));
    let mut client = raw_client_at_server(&server, &authority);
    server.close_connection();
    assert_eq!(client.read_end().expect("close_notify came"), 0);
    client.end();
    server.side.wait_for("shutdown OK");
    drop(server);
    runtime.join();
}

#[test]
fn what_a_client_sends_in_answer_to_the_last_data_of_its_server_is_written_before_the_end() {
    let runtime = Runtime::start();
    let authority = Authority::new("test CA");
    let server = Server::start(&runtime, &settings::server(&authority.server(&[NAME]), |_| {}));
    let mut client = raw_client_at_server(&server, &authority);
    // The client ends its side of the session with its call; the answer still reaches it.
    client.write(&message(APPLICATION_MESSAGE, 0, 1, &[("operation", "unary")], b"the question"));
    client.end_sending();
    let answer = client.read_message();
    assert!(answer.windows(12).any(|window| window == b"the question"));
    assert_eq!(client.read_end().expect("close_notify came"), 0);
    server.side.wait_for("shutdown PEER_CLOSED");
    drop(server);
    runtime.join();
}

#[test]
fn what_the_callbacks_sent_before_a_cut_is_written() {
    let runtime = Runtime::start();
    let authority = Authority::new("test CA");
    let server = Server::start(&runtime, &settings::server(&authority.server(&[NAME]), |_| {}));
    let mut client = raw_client_at_server(&server, &authority);
    client.write(&message(APPLICATION_MESSAGE, 0, 1, &[("operation", "unary")], b"the question"));
    client.cut_sending();
    let answer = client.read_message();
    assert!(answer.windows(12).any(|window| window == b"the question"));
    assert_eq!(client.read_end().expect("close_notify came"), 0);
    server.side.wait_for("shutdown TLS_TRUNCATED");
    drop(server);
    runtime.join();
}
