//! What our own servers never do: the server is rustls itself.

use std::io::{Read, Write};
use std::sync::Arc;

use eventstream_rpc::transport::{HandshakeProgress, TlsConfig, TlsErrorKind, TlsSession};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ProducesTickets;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};

use crate::certificates::Authority;
use crate::peers::*;

const MIB: usize = 1024 * 1024;

/// A server whose certificate is followed by `more`, as it is before the handshake, and a client that trusts it.
fn pair(room: usize, more: &[Vec<u8>], change: impl FnOnce(&mut ServerConfig)) -> (Peer, ServerConnection, End) {
    let authority = Authority::new("test CA");
    let server = server_config_of(&authority, &TLS13, more, change);
    connect(&client_config(&authority, |_| {}), &server, room)
}

pub fn server_config_of(
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
    more: &[Vec<u8>],
    change: impl FnOnce(&mut ServerConfig),
) -> Arc<ServerConfig> {
    let identity = authority.server(&[NAME]);
    let chain = [&[identity.certificate_der], more].concat().into_iter().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
    let mut config =
        builder.expect("a version").with_no_client_auth().with_single_cert(chain, key).expect("a certificate");
    change(&mut config);
    Arc::new(config)
}

pub fn connect(client: &TlsConfig, server: &Arc<ServerConfig>, room: usize) -> (Peer, ServerConnection, End) {
    let server = ServerConnection::new(server.clone()).expect("a session");
    let (client_end, server_end) = pipe(room);
    let session = TlsSession::client(client, NAME).expect("a session");
    (Peer { session, end: client_end }, server, server_end)
}

/// Tries again until it holds, which is soon or never.
pub fn until(mut is_so: impl FnMut() -> bool) {
    assert!((0..10_000).any(|_| is_so()), "it goes on and on");
}

fn shake_hands(client: &mut Peer, server: &mut ServerConnection, end: &mut End) {
    until(|| {
        let _ = server.complete_io(end);
        client.handshake().expect("a handshake") == HandshakeProgress::Done
    });
    until(|| {
        let _ = client.session.flush(&mut client.end);
        let _ = server.complete_io(end);
        // Tickets.
        let _ = client.read(&mut [0]);
        !client.session.wants_flush() && !server.is_handshaking() && !server.wants_write()
    });
}

#[test]
fn a_flood_of_tickets_is_not_endured() {
    let (mut client, mut server, mut end) = pair(16 * ROOMY, &[], |config| config.send_tls13_tickets = 20_000);
    until(|| {
        let _ = server.complete_io(&mut end);
        client.handshake() == Ok(HandshakeProgress::Done)
    });
    client.session.flush(&mut client.end).expect("there is room");
    server.complete_io(&mut end).expect("the end of the handshake, and tickets");
    assert!(end.in_flight() > MIB);
    let error = client.read_error();
    assert_eq!(error.kind, kind(TlsErrorKind::HandshakeFailed), "{error}");
    assert!(error.to_string().contains("too long"), "{error}");
}

#[test]
fn a_chain_of_certificates_may_take_several_records() {
    let others: Vec<_> =
        (0..90).map(|_| Authority::new("another CA").server(&["other.example"]).certificate_der).collect();
    assert!(others.concat().len() > 32 * 1024);
    for room in [100, 1000, ROOMY] {
        let (mut client, mut server, mut end) = pair(room, &others, |_| {});
        shake_hands(&mut client, &mut server, &mut end);
        let shown = client.session.info().expect("done").peer_certificates;
        assert!(shown.len() == 91 && shown[1..] == others);
    }
}

#[test]
fn keys_that_change_are_followed_and_answered_with_new_ones() {
    // The announcement of new keys takes 27 bytes, and the reply 28.
    for (room, fits) in [(40, false), (ROOMY, true)] {
        let (mut client, mut server, mut end) = pair(room, &[], |_| {});
        shake_hands(&mut client, &mut server, &mut end);
        for round in 0..10 {
            let question = format!("question {round}");
            server.refresh_traffic_keys().expect("TLS 1.3");
            server.writer().write_all(question.as_bytes()).expect("there is room");
            let mut received = Vec::new();
            until(|| {
                let _ = server.write_tls(&mut end);
                let mut buffer = [0; 100];
                let count = client.read(&mut buffer).unwrap_or(0);
                received.extend_from_slice(&buffer[..count]);
                received == question.as_bytes()
            });

            assert_eq!(client.write(b"answer").is_ok(), fits);
            let mut received = Vec::new();
            until(|| {
                let _ = server.read_tls(&mut end);
                server.process_new_packets().expect("keys that fit");
                let _ = server.reader().read_to_end(&mut received);
                let _ = client.session.flush(&mut client.end);
                received == b"answer"
            });
            assert!(!client.session.wants_flush());
            if !fits {
                assert_eq!(client.write(b"answer").expect("it has left"), 6);
            }
        }
    }
}

/// Tickets that come back damaged: the server takes a session up again, with another secret than the client's.
#[derive(Debug)]
struct DamagedTickets;

impl ProducesTickets for DamagedTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        1000
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        Some(plain.to_vec())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let mut plain = cipher.to_vec();
        // The secret lies behind the server's name, the version and the cipher suite.
        plain[2 + NAME.len() + 5 + 10] ^= 1;
        Some(plain)
    }
}

#[test]
fn a_session_that_cannot_be_taken_up_again_is_forgotten() {
    let authority = Authority::new("test CA");
    let config = client_config(&authority, |_| {});
    let server_config = server_config_of(&authority, &TLS12, &[], |config| config.ticketer = Arc::new(DamagedTickets));
    let (mut client, mut server, mut end) = connect(&config, &server_config, ROOMY);
    shake_hands(&mut client, &mut server, &mut end);

    let (mut client, mut server, mut end) = connect(&config, &server_config, ROOMY);
    client.handshake().expect("the first words");
    let _ = server.complete_io(&mut end);
    let error = client.handshake().expect_err("another secret");
    assert_eq!(error.kind, kind(TlsErrorKind::HandshakeFailed), "{error}");

    let (mut client, mut server, mut end) = connect(&config, &server_config, ROOMY);
    shake_hands(&mut client, &mut server, &mut end);
    assert!(!client.session.info().expect("done").resumed);
}
