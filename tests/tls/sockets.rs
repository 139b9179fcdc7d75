//! TLS on the streams of the event loop, over TCP.
#![cfg(unix)]

use std::io::{self, IoSlice};

use eventstream_rpc::transport::{
    Endpoint, Error, ErrorKind, HandshakeProgress, Listener, LocalOptions, Readiness, SocketOptions, Stream, TlsConfig,
    TlsErrorKind, TlsSession, literal,
};

use crate::certificates::Authority;
use crate::peers::{NAME, assert_fails, client_config, fitting_configs, kind, server_config};

const MIB: usize = 1024 * 1024;

/// Calls `step` until it returns something. The sockets are local, so the wait is short.
fn until<T>(mut step: impl FnMut() -> Option<T>) -> T {
    loop {
        match step() {
            Some(result) => return result,
            None => std::thread::yield_now(),
        }
    }
}

/// Two streams that are connected, without TLS.
fn plain() -> (Stream, Stream) {
    let options = SocketOptions::default();
    let endpoint = Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
    let mut listener = Listener::bind(&endpoint, &LocalOptions::default(), &options).expect("a listener");
    let address = literal("127.0.0.1", listener.port()).expect("an address").into();
    let client = Stream::dial(&address, &options).expect("a dial");
    until(|| (client.finish_dial() == Ok(Readiness::Ready)).then_some(()));
    let server = until(|| listener.accept().expect("a connection"));
    (client, server)
}

fn with_tls(client: &TlsConfig, server: &TlsConfig) -> (Stream, Stream) {
    let (mut at_client, mut at_server) = plain();
    assert!(at_client.short_read_ends_input() && at_client.short_write_ends_room());
    at_client.start_tls(TlsSession::client(client, NAME).expect("a session"));
    at_server.start_tls(TlsSession::server(server).expect("a session"));
    assert!(!at_client.short_read_ends_input() && !at_client.short_write_ends_room());
    assert!(at_client.tls_info().is_none());
    (at_client, at_server)
}

fn shake(client: &mut Stream, server: &mut Stream) -> (Result<(), Error>, Result<(), Error>) {
    let outcome = |progress| match progress {
        Ok(HandshakeProgress::Pending) => None,
        Ok(HandshakeProgress::Done) => Some(Ok(())),
        Err(error) => Some(Err(error)),
    };
    let (mut at_client, mut at_server) = (None, None);
    until(|| {
        at_client = at_client.take().or_else(|| outcome(client.handshake()));
        at_server = at_server.take().or_else(|| outcome(server.handshake()));
        if at_client == Some(Ok(())) {
            // Its last words would leave with the first data.
            client.flush().expect("there is room");
        }
        at_client.clone().zip(at_server.clone())
    })
}

/// Nothing if the call would have to wait.
fn done(result: io::Result<usize>) -> Option<io::Result<usize>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        result => Some(result),
    }
}

#[test]
fn a_stream_without_tls_has_nothing_to_do_for_it() {
    let (mut client, _server) = plain();
    assert_eq!(client.handshake(), Ok(HandshakeProgress::Done));
    assert!(client.close_notify() && !client.wants_flush() && client.tls_info().is_none());
    client.flush().expect("nothing to write");
}

#[test]
fn mebibytes_go_each_way_and_the_end_is_orderly() {
    let (client, server) = fitting_configs();
    let (mut client, mut server) = with_tls(&client, &server);
    assert_eq!(shake(&mut client, &mut server), (Ok(()), Ok(())));
    assert_eq!(client.tls_info().expect("done").version, c"TLSv1.3");

    let sent: Vec<_> = (0..4 * MIB).map(|index| (index % 253) as u8).collect();
    let mut written = [0, 0];
    let mut received = [Vec::new(), Vec::new()];
    let mut buffer = vec![0; MIB];
    until(|| {
        for (index, stream) in [&mut client, &mut server].into_iter().enumerate() {
            if written[index] < sent.len() {
                let rest = IoSlice::new(&sent[written[index]..]);
                written[index] += done(stream.write(&[rest])).map_or(0, |result| result.expect("a write"));
            }
            let count = done(stream.read(&mut buffer)).map_or(0, |result| result.expect("a read"));
            received[index].extend_from_slice(&buffer[..count]);
        }
        received.iter().all(|received| received.len() == sent.len()).then_some(())
    });
    assert!(received.iter().all(|received| *received == sent));

    assert!(client.close_notify());
    client.shutdown_write();
    assert_eq!(until(|| done(server.read(&mut buffer))).expect("an orderly end"), 0);
}

#[test]
fn a_stream_that_is_cut_says_so() {
    let (client, server) = fitting_configs();
    let (mut client, mut server) = with_tls(&client, &server);
    assert_eq!(shake(&mut client, &mut server), (Ok(()), Ok(())));
    server.write(&[IoSlice::new(b"last words")]).expect("there is room");
    drop(server);
    let mut buffer = [0; 100];
    assert_eq!(until(|| done(client.read(&mut buffer))).expect("the words"), 10);
    let error = until(|| done(client.read(&mut buffer))).expect_err("no orderly end");
    let error = Error::from_io("reading from the peer", &error, ErrorKind::Io);
    assert_eq!(error.kind, kind(TlsErrorKind::Truncated), "{error}");
}

#[test]
fn a_refusal_reaches_the_peer() {
    let server = server_config(&Authority::new("other CA").server(&[NAME]), |_| {});
    let client = client_config(&Authority::new("test CA"), |_| {});
    let (mut client, mut server) = with_tls(&client, &server);
    let (at_client, at_server) = shake(&mut client, &mut server);
    assert_fails(at_client, TlsErrorKind::UnknownCa, "not trusted");
    assert_fails(at_server, TlsErrorKind::AlertReceived, "unknown_ca");
}
