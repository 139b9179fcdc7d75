//! Peers that stall.

use crate::raw::{Door, dial};
use crate::recorder::*;
use crate::rig::*;
use crate::server::{FittingServer, Server};
use crate::settings::{self, NAME};
use eventstream_rpc::ffi::connection::esrpc_connection_abort;
use eventstream_rpc::ffi::connection_options::*;
use eventstream_rpc::ffi::connection_times::*;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const DEADLINE_MS: u32 = 300;
/// For the deadlines that must not expire first.
const LONG_MS: u32 = 60_000;

fn short_tls_deadline(options: *mut esrpc_connection_options) {
    // SAFETY: live options.
    unsafe {
        assert_eq!(esrpc_connection_options_set_tls_timeout_ms(options.as_mut(), DEADLINE_MS), OK);
        // The next larger ones, which are not to come first.
        assert_eq!(esrpc_connection_options_set_connect_timeout_ms(options.as_mut(), LONG_MS), OK);
        assert_eq!(esrpc_connection_options_set_handshake_timeout_ms(options.as_mut(), LONG_MS), OK);
    }
}

fn assert_in_time(begun: Instant) {
    let elapsed = begun.elapsed();
    assert!(elapsed >= Duration::from_millis(DEADLINE_MS.into()), "after {elapsed:?}");
    assert!(elapsed < Duration::from_millis(LONG_MS.into()), "after {elapsed:?}");
}

#[test]
fn a_server_that_is_silent_in_the_tls_handshake() {
    let runtime = Runtime::start();
    let (tls, _) = settings::fitting();
    let door = Door::open();
    let begun = Instant::now();
    let how = How { tls: Some((&tls, NAME)), handshake: true, options: Some(&short_tls_deadline) };
    let client = Client::connect(&runtime, Place::Port(door.port()), how);
    let _silent = door.accept();
    let end = client.side.wait_for("setup");
    assert_in_time(begun);
    assert!(end.starts_with("setup TLS_TIMED_OUT: ") && end.contains("300 ms"), "{end}");
    assert!(end.contains("does the server use TLS there?"), "{end}");
    let side = client.side.clone();
    drop(client);
    side.wait_for("destroy");
    assert_eq!(side.outline(), ["setup TLS_TIMED_OUT", "destroy"]);
    runtime.join();
}

#[test]
fn a_server_that_stalls_in_the_middle_of_its_answer() {
    let runtime = Runtime::start();
    let (tls, _) = settings::fitting();
    let door = Door::open();
    let begun = Instant::now();
    let how = How { tls: Some((&tls, NAME)), handshake: false, options: Some(&short_tls_deadline) };
    let client = Client::connect(&runtime, Place::Port(door.port()), how);
    let mut server = door.accept();
    server.write_all(&[22, 3, 3, 1, 0, 2, 0]).expect("the client takes the beginning of a ServerHello");
    client.side.wait_for("setup TLS_TIMED_OUT");
    assert_in_time(begun);
    drop(client);
    runtime.join();
}

#[test]
fn clients_that_stall_in_the_tls_handshake() {
    for sent in [&[][..], &[22, 3, 1, 2, 0, 1][..]] {
        let runtime = Runtime::start();
        let (_, server) = settings::fitting();
        let server = Server::start_with(&runtime, &server, None, short_tls_deadline);
        let begun = Instant::now();
        let mut client = dial(server.port());
        client.write_all(sent).expect("the server takes it");
        let failed = server.side.wait_for("failed");
        assert_in_time(begun);
        assert!(failed.starts_with("failed TLS_TIMED_OUT: "), "{failed}");
        // The socket is closed as well; a reset shows that something was unread.
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
        assert_eq!(server.side.outline(), ["failed TLS_TIMED_OUT"]);
        drop(server);
        runtime.join();
    }
}

#[test]
fn the_tls_deadline_ends_with_the_tls_handshake() {
    let runtime = Runtime::start();
    let (tls, server) = settings::fitting();
    let server = Server::start_with(&runtime, &server, None, short_tls_deadline);
    let how = How { tls: Some((&tls, NAME)), handshake: true, options: Some(&short_tls_deadline) };
    let client = Client::connect(&runtime, server.place(), how);
    assert_eq!(client.side.wait_for("setup"), "setup OK");
    // A later connection whose own deadline expires shows that the time of the first has passed too.
    let _stalled = dial(server.port());
    server.side.wait_for("failed TLS_TIMED_OUT");
    client.call("unary", b"still here", 0).side.wait_for("message still here");
    client.end();
    drop(server);
    runtime.join();
}

/// CONNECT's clock starts when the connection is set up, so a TLS handshake may take longer than that.
#[test]
fn the_time_for_connect_begins_after_the_tls_handshake() {
    let runtime = Runtime::start();
    let (tls, _) = settings::fitting();
    let door = Door::open();
    let begun = Instant::now();
    let change = |options: *mut esrpc_connection_options| {
        short_tls_deadline(options);
        // SAFETY: live options.
        assert_eq!(unsafe { esrpc_connection_options_set_handshake_timeout_ms(options.as_mut(), 1) }, OK);
    };
    let how = How { tls: Some((&tls, NAME)), handshake: true, options: Some(&change) };
    let client = Client::connect(&runtime, Place::Port(door.port()), how);
    let _silent = door.accept();
    let end = client.side.wait_for("setup");
    assert_in_time(begun);
    assert!(end.starts_with("setup TLS_TIMED_OUT: "), "{end}");
    drop(client);
    runtime.join();
}

/// A client of ours with more in its queue than the system buffers for a server that reads nothing.
fn client_with_a_full_pipe(
    runtime: &Runtime,
    server: &FittingServer,
    change: &dyn Fn(*mut esrpc_connection_options),
) -> (Client, Call) {
    let (tls, name) = (&server.client_tls, NAME);
    let how = How { tls: Some((tls, name)), handshake: true, options: Some(change) };
    let client = Client::connect(runtime, server.place(), how);
    assert_eq!(client.side.wait_for("setup"), "setup OK");
    server.pause();
    let call = client.call("count", &vec![b'x'; 15 * 1024 * 1024], 0);
    (client, call)
}

#[test]
fn a_close_gives_up_on_a_peer_that_stops_reading() {
    let runtime = Runtime::start();
    let server = FittingServer::start(&runtime, |_| {});
    let change = |options: *mut esrpc_connection_options| {
        // SAFETY: live options.
        assert_eq!(unsafe { esrpc_connection_options_set_linger_ms(options.as_mut(), DEADLINE_MS) }, OK);
    };
    let (client, call) = client_with_a_full_pipe(&runtime, &server, &change);
    let begun = Instant::now();
    client.close();
    let end = client.side.wait_for("shutdown");
    assert!(end.starts_with("shutdown LINGER_EXPIRED: "), "{end}");
    assert_in_time(begun);
    assert_eq!(call.side.outline(), ["flushed LINGER_EXPIRED", "closed CONNECTION_CLOSED"]);
    drop((call, client, server));
    runtime.join();
}

#[test]
fn an_abort_does_not_wait_for_a_peer_that_stops_reading() {
    let runtime = Runtime::start();
    let server = FittingServer::start(&runtime, |_| {});
    let change = |options: *mut esrpc_connection_options| {
        // SAFETY: live options.
        unsafe {
            assert_eq!(esrpc_connection_options_set_linger_ms(options.as_mut(), LONG_MS), OK);
            assert_eq!(esrpc_connection_options_set_write_timeout_ms(options.as_mut(), LONG_MS), OK);
        }
    };
    let (client, call) = client_with_a_full_pipe(&runtime, &server, &change);
    // A close that waits is cut short.
    client.close();
    // SAFETY: a live handle.
    assert_eq!(unsafe { esrpc_connection_abort(client.handle) }, OK);
    client.side.wait_for("shutdown ABORTED: ");
    assert_eq!(call.side.outline(), ["flushed ABORTED", "closed CONNECTION_CLOSED"]);
    drop((call, client, server));
    runtime.join();
}

#[test]
fn a_write_to_a_peer_that_stops_reading_times_out() {
    let runtime = Runtime::start();
    let server = FittingServer::start(&runtime, |_| {});
    let change = |options: *mut esrpc_connection_options| {
        // SAFETY: live options.
        assert_eq!(unsafe { esrpc_connection_options_set_write_timeout_ms(options.as_mut(), DEADLINE_MS) }, OK);
    };
    let begun = Instant::now();
    let (client, call) = client_with_a_full_pipe(&runtime, &server, &change);
    let end = client.side.wait_for("shutdown");
    assert!(end.starts_with("shutdown WRITE_TIMED_OUT: "), "{end}");
    assert_in_time(begun);
    call.side.wait_for("closed WRITE_TIMED_OUT");
    drop((call, client, server));
    runtime.join();
}
