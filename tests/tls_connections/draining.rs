//! Graceful ends of TLS servers.

use crate::raw::dial;
use crate::recorder::*;
use crate::rig::*;
use crate::server::{FittingServer, Server};
use crate::settings::{self, NAME};
use eventstream_rpc::ffi::constants::ESRPC_NO_TIMEOUT;
use std::io::Read;
use std::time::Instant;

#[test]
fn an_open_stream_goes_on_and_the_end_is_a_whole_one() {
    let runtime = Runtime::start();
    let server = FittingServer::start(&runtime, |_| ());
    let client = Client::ready(&runtime, server.place(), &server.client_tls, NAME);
    let call = client.call("any", b"before", 0);
    call.side.wait_for("message before");
    server.drain(ESRPC_NO_TIMEOUT);
    call.send(b"while it is drained", 0);
    call.side.wait_for("message while it is drained");
    call.send(b"", TERMINATE);
    // Not TLS_TRUNCATED: close_notify was sent.
    assert!(client.side.wait_for("shutdown").starts_with("shutdown PEER_CLOSED"));
    server.wait_closed();
    server.side.wait_for("shutdown OK");
    drop((call, client, server));
    runtime.join();
}

#[test]
fn connections_in_their_tls_handshake_are_given_up_and_reported() {
    // Each time the drain meets the connection elsewhere on its way.
    for _ in 0..20 {
        give_up_one_in_its_handshake();
    }
}

fn give_up_one_in_its_handshake() {
    let runtime = Runtime::start();
    let (_, tls) = settings::fitting();
    let server = Server::start(&runtime, &tls);
    let mut client = dial(server.port());
    let begun = Instant::now();
    while server.open_connections() == 0 {
        assert!(begun.elapsed() < PATIENCE, "it is not accepted");
        std::thread::yield_now();
    }
    server.drain(ESRPC_NO_TIMEOUT);
    server.wait_closed();
    assert!(server.side.wait_for("failed").starts_with("failed DRAINING: "));
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert_eq!(server.side.outline(), ["failed DRAINING"]);
    drop(server);
    runtime.join();
}
