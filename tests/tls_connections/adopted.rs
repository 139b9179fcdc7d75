//! TLS over sockets of the application: the same settings, names, certificates and deadlines as over others.

use crate::certificates::Authority;
use crate::recorder::*;
use crate::rig::*;
use crate::server::{FittingServer, Server};
use crate::settings::{self, NAME};
use eventstream_rpc::ffi::connection_options::*;
use eventstream_rpc::ffi::connection_times::*;
use eventstream_rpc::ffi::constants::esrpc_tls_client_auth::*;
use std::io::Read;

#[test]
fn both_ends_of_a_pair_of_sockets_speak_tls() {
    let authority = Authority::new("test CA");
    let identity = authority.client("a client");
    let server = settings::server(&authority.server(&[NAME]), |builder| {
        builder.ask_clients(&authority, ESRPC_TLS_CLIENT_AUTH_REQUIRED);
    });
    let client = settings::client(&authority, |builder| builder.show(&identity));
    let runtime = Runtime::start();
    let server = Server::start(&runtime, &server);
    let client = Client::ready(&runtime, Place::Socket(server.adopt().into()), &client, NAME);
    assert_eq!(client.facts().version, "TLSv1.3");
    assert_eq!(server.facts().certificates, [identity.certificate_der]);
    client.call("unary", b"hello", 0).side.wait_for("message hello");
    client.end();
    drop(server);
    runtime.join();
}

#[test]
fn the_name_of_the_server_is_verified() {
    let runtime = Runtime::start();
    let server = FittingServer::start(&runtime, |_| {});
    let how = How { tls: Some((&server.client_tls, "other.example")), ..How::default() };
    let client = Client::connect(&runtime, Place::Socket(server.adopt().into()), how);
    client.side.wait_for("setup TLS_WRONG_NAME");
    server.side.wait_for("failed TLS_ALERT_RECEIVED");
    drop(client);
    drop(server);
    runtime.join();
}

#[test]
fn a_socket_has_no_name_of_its_own() {
    let runtime = Runtime::start();
    let server = FittingServer::start(&runtime, |_| {});
    let how = How { tls: Some((&server.client_tls, "")), ..How::default() };
    let refused = Client::try_connect(&runtime, Place::Socket(server.adopt().into()), how);
    assert_eq!(refused.err().map(status_name).as_deref(), Some("TLS_SERVER_NAME_REQUIRED"));
    server.side.wait_for("failed");
    drop(server);
    runtime.join();
}

#[test]
fn a_peer_that_says_nothing_is_given_up() {
    let runtime = Runtime::start();
    let server = FittingServer::start(&runtime, |options: *mut esrpc_connection_options| {
        // SAFETY: live settings.
        assert_eq!(unsafe { esrpc_connection_options_set_tls_timeout_ms(options.as_mut(), 100) }, OK);
    });
    let mut silent = server.adopt();
    let failed = server.side.wait_for("failed TLS_TIMED_OUT");
    assert!(failed.contains("100 ms"), "{failed}");
    assert_eq!(silent.read(&mut [0; 16]).expect("an end in order"), 0);
    drop(server);
    runtime.join();
}
