use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustls::crypto::CipherSuiteCommon;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, SupportedCipherSuite, Tls13CipherSuite, version};

use super::*;
use crate::transport::TlsConfigBuilder;
use crate::transport::tls::config::ClientSettings;
use crate::transport::tls::provider::provider;

/// A certificate and its key.
fn identity() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["server.example".to_owned()]).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn server_session(certificate: &str, key: &str) -> TlsSession {
    let mut builder = TlsConfigBuilder::new(TlsRole::Server);
    builder.set_certificate(certificate.as_bytes(), key.as_bytes()).expect("a certificate");
    TlsSession::server(&builder.build().expect("settings")).expect("a session")
}

#[test]
fn records_without_data_are_endured_up_to_a_limit() {
    let (certificate, key) = identity();
    let mut server = server_session(&certificate, &key);
    let mut builder = TlsConfigBuilder::new(TlsRole::Client);
    builder.add_ca(certificate.as_bytes()).expect("a CA");
    let mut client = TlsSession::client(&builder.build().expect("settings"), "server.example").expect("a session");

    let (mut client_end, mut server_end) = UnixStream::pair().expect("two sockets");
    client_end.set_nonblocking(true).expect("a socket");
    server_end.set_nonblocking(true).expect("a socket");
    while client.handshake(&mut client_end) == Ok(HandshakeProgress::Pending) {
        server.handshake(&mut server_end).expect("a handshake");
    }
    client.flush(&mut client_end).expect("there is room");
    assert_eq!(server.handshake(&mut server_end), Ok(HandshakeProgress::Done));
    server.flush(&mut server_end).expect("there is room");
    // Two tickets wait, of some hundred bytes.
    client.bytes_without_data = MAX_BYTES_WITHOUT_DATA - 10;
    let error = client.read(&mut client_end, &mut [0; 10]).expect_err("too many");
    let error = Error::from_io("", &error, ErrorKind::Io);
    assert_eq!(error.kind, ErrorKind::Tls(TlsErrorKind::HandshakeFailed), "{error}");
    assert!(error.to_string().contains("without data"), "{error}");

    // Data makes up for them.
    client.failure = None;
    server.write(&mut server_end, &[IoSlice::new(b"data")]).expect("there is room");
    assert_eq!(client.read(&mut client_end, &mut [0; 10]).expect("data"), 4);
    assert_eq!(client.bytes_without_data, 0);
    for session in [&client, &server] {
        assert_eq!(session.kept_len(), 0, "a connection that rests costs no buffers");
    }
}

/// One side's socket.
#[derive(Default)]
struct Wire {
    incoming: VecDeque<u8>,
    outgoing: VecDeque<u8>,
    /// So many bytes it takes still.
    room: usize,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.incoming.read(buffer) }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = bytes.len().min(self.room);
        self.room -= count;
        self.outgoing.write(&bytes[..count])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Two sides after their handshake.
fn session_pair() -> ((TlsSession, Wire), (TlsSession, Wire)) {
    let (certificate, key) = identity();
    let mut server = server_session(&certificate, &key);
    let mut builder = TlsConfigBuilder::new(TlsRole::Client);
    builder.add_ca(certificate.as_bytes()).expect("a CA");
    let mut client = TlsSession::client(&builder.build().expect("settings"), "server.example").expect("a session");
    let [client_wire, server_wire] = shake(&mut client, &mut server);
    ((client, client_wire), (server, server_wire))
}

fn shake(client: &mut TlsSession, server: &mut TlsSession) -> [Wire; 2] {
    let [mut client_wire, mut server_wire] = [(); 2].map(|()| Wire { room: usize::MAX, ..Wire::default() });
    while client.handshake(&mut client_wire) != Ok(HandshakeProgress::Done) || client.wants_flush() {
        client.flush(&mut client_wire).expect("there is room");
        server_wire.incoming.append(&mut client_wire.outgoing);
        server.handshake(&mut server_wire).expect("a handshake");
        client_wire.incoming.append(&mut server_wire.outgoing);
    }
    server_wire.incoming.append(&mut client_wire.outgoing);
    assert_eq!(server.handshake(&mut server_wire), Ok(HandshakeProgress::Done));
    [client_wire, server_wire]
}

#[test]
fn a_read_counts_the_bytes_of_the_wire_and_stops_at_its_limit() {
    const BYTES: usize = 40_000;
    let ((mut client, mut client_wire), (mut server, mut server_wire)) = session_pair();
    for _ in 0..BYTES {
        assert_eq!(client.write(&mut client_wire, &[IoSlice::new(b"x")]).expect("there is room"), 1);
    }
    server_wire.incoming.append(&mut client_wire.outgoing);
    let sent = server_wire.incoming.len();
    assert!(sent > 3 * READ_LIMIT, "each byte is a record of its own: {sent}");

    server.take_wire_len();
    let (mut received, mut buffer, mut reads) = (0, vec![0; BYTES], 0);
    while received < BYTES {
        let before = server_wire.incoming.len();
        received += server.read(&mut server_wire, &mut buffer).expect("data");
        let wire_len = server.take_wire_len();
        assert_eq!(wire_len, before - server_wire.incoming.len());
        assert!(wire_len <= READ_LIMIT + READ_STEP, "{wire_len} bytes in one read");
        assert_eq!(server.is_cut_off(), !server_wire.incoming.is_empty());
        reads += 1;
    }
    assert!(reads >= sent / (READ_LIMIT + READ_STEP), "{reads} reads");
}

/// A client that takes new keys after so many records.
fn client_with_short_lived_keys(certificate: &str, records: u64) -> TlsSession {
    let mut provider = provider().as_ref().clone();
    let Some(SupportedCipherSuite::Tls13(suite)) = provider.cipher_suites.first() else {
        panic!("TLS 1.3 comes first")
    };
    let common = CipherSuiteCommon { confidentiality_limit: records, ..suite.common };
    let suite: &_ = Box::leak(Box::new(Tls13CipherSuite { common, ..**suite }));
    provider.cipher_suites = vec![suite.into()];
    let mut authorities = RootCertStore::empty();
    authorities.add(CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")).expect("a CA");
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&[&version::TLS13]).expect("a version");
    let config = Arc::new(builder.with_root_certificates(authorities).with_no_client_auth());
    let name = parse_server_name("server.example").expect("a name");
    let records = Records::client(ClientSettings { config, sessions: None }, name).expect("a session");
    TlsSession::new(records, TlsRole::Client)
}

#[test]
fn a_write_that_changes_keys_answers_only_for_what_has_left() {
    let (certificate, key) = identity();
    let mut client = client_with_short_lived_keys(&certificate, 3);
    let mut server = server_session(&certificate, &key);
    let [mut client_wire, mut server_wire] = shake(&mut client, &mut server);

    let data: Vec<u8> = (0..11 * FULL_RECORD + 500).map(|index| (index % 251) as u8).collect();
    let (mut answered, mut received) = (0, Vec::new());
    client_wire.room = 0;
    let mut answers = 0;
    while answered < data.len() {
        match client.write(&mut client_wire, &[IoSlice::new(&data[answered..])]) {
            Ok(count) => {
                answered += count;
                answers += 1;
                server_wire.incoming.append(&mut client_wire.outgoing);
                let _ = server.read_more(&mut server_wire, &mut received, data.len());
                assert!(received.len() >= answered, "{} of {answered}", received.len());
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                client_wire.room = 1;
            }
        }
    }
    assert!(answers > 8, "{answers}");
    assert!(received == data);
}
