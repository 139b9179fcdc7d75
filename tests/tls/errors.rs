//! How handshakes fail: each reason has its kind and a helpful message.

use std::io::{Read, Write};

use eventstream_rpc::transport::{
    ClientAuth, Error, ErrorKind, HandshakeProgress, TlsConfigBuilder, TlsErrorKind, TlsRole, TlsSession, TlsVersion,
};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, SanType};

use crate::certificates::{Authority, Identity, in_year};
use crate::peers::*;

/// How a client that trusts `authority` fails with a server that shows `identity`, which gets an alert.
#[track_caller]
fn assert_client_refuses(authority: &Authority, identity: &Identity, kind: TlsErrorKind, sentence: &str, alert: &str) {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let client = client_config(authority, |builder| builder.set_versions(version, version));
        let (mut client, mut server) = peers(&client, &server_config(identity, |_| {}), ROOMY);
        let (at_client, at_server) = shake(&mut client, &mut server);
        assert_fails(at_server, TlsErrorKind::AlertReceived, alert);
        let named = alert.rsplit("alert ").next().unwrap_or_default();
        let sent = format!("; this side sent the alert {named}");
        assert_fails(at_client.clone(), kind, &sent);
        assert_fails(at_client, kind, sentence);
    }
}

#[test]
fn a_certificate_of_an_unknown_authority() {
    let identity = Authority::new("other CA").server(&[NAME]);
    let sentence = "the TLS handshake failed: the server's certificate comes from a CA that is not trusted";
    assert_client_refuses(
        &Authority::new("test CA"),
        &identity,
        TlsErrorKind::UnknownCa,
        sentence,
        "the client sent the alert unknown_ca (48)",
    );
}

#[test]
fn a_certificate_that_has_expired() {
    let authority = Authority::new("test CA");
    let identity = authority.issue(&[NAME], |params| in_year(params, 2001));
    let sentence = "the server's certificate expired at 2001-12-31 00:00:00 UTC; it is now 2";
    let alert = "certificate_expired (45)";
    assert_client_refuses(&authority, &identity, TlsErrorKind::CertificateExpired, sentence, alert);
}

#[test]
fn a_certificate_that_is_not_valid_yet() {
    let authority = Authority::new("test CA");
    let identity = authority.issue(&[NAME], |params| in_year(params, 3001));
    let sentence = "the server's certificate is valid from 3001-01-01 00:00:00 UTC on; it is now 2";
    let alert = "certificate_expired (45)";
    assert_client_refuses(&authority, &identity, TlsErrorKind::CertificateNotYetValid, sentence, alert);
}

#[test]
fn a_certificate_for_another_name() {
    let authority = Authority::new("test CA");
    let identity = authority.server(&["a.example", "127.0.0.1"]);
    let sentence = "the server's certificate is not for server.example, but for a.example, 127.0.0.1";
    assert_client_refuses(&authority, &identity, TlsErrorKind::WrongName, sentence, "bad_certificate (42)");
    let sentence =
        "is not for server.example: it has no subject alternative name at all, and a common name does not count";
    assert_client_refuses(
        &authority,
        &authority.server(&[]),
        TlsErrorKind::WrongName,
        sentence,
        "bad_certificate (42)",
    );
}

#[test]
fn an_address_in_the_place_of_a_name() {
    let authority = Authority::new("test CA");
    let identity = authority.issue(&[], |params| {
        params.subject_alt_names = vec![SanType::DnsName("127.0.0.1".try_into().expect("ASCII"))];
    });
    let client = client_config(&authority, |_| {});
    let (mut client, mut server) = peers_for(&client, "127.0.0.1", &server_config(&identity, |_| {}), ROOMY);
    let sentence =
        "is not for the address 127.0.0.1: it has 127.0.0.1 as a DNS name, but an address has to be there as an IP";
    assert_fails(shake(&mut client, &mut server).0, TlsErrorKind::WrongName, sentence);
}

#[test]
fn a_certificate_for_another_use() {
    let authority = Authority::new("test CA");
    let identity = authority.issue(&[NAME], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let sentence = "may not be used for server authentication";
    let alert = "unsupported_certificate (43)";
    assert_client_refuses(&authority, &identity, TlsErrorKind::BadCertificate, sentence, alert);
}

#[test]
fn the_certificate_of_an_authority_as_that_of_a_server() {
    let authority = Authority::new("test CA");
    let identity = authority.issue(&[NAME], |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let sentence = "the server's certificate is that of a CA (CA:TRUE), which is trusted as a peer's own only if";
    let alert = "certificate_unknown (46)";
    assert_client_refuses(&authority, &identity, TlsErrorKind::BadCertificate, sentence, alert);
}

#[test]
fn a_client_that_the_server_does_not_trust() {
    let authority = Authority::new("test CA");
    let client_identity = Authority::new("other CA").client("stranger");
    let client = client_config(&authority, |builder| {
        let (certificate, key) = (client_identity.certificate.as_bytes(), client_identity.key.as_bytes());
        builder.set_certificate(certificate, key).expect("a certificate");
    });
    let server = server_config(&authority.server(&[NAME]), |builder| {
        builder.add_ca(authority.pem.as_bytes()).expect("a CA");
        builder.set_client_auth(ClientAuth::Optional);
    });
    let (mut client, mut server) = peers(&client, &server, ROOMY);
    let (at_client, at_server) = shake(&mut client, &mut server);
    assert_fails(at_server, TlsErrorKind::UnknownCa, "the client's certificate comes from a CA that is not trusted");
    // The client was done before it was judged, and hears of it when it reads.
    assert_eq!(at_client, Ok(()));
    let sentence = "the TLS connection failed: the server sent the alert unknown_ca (48)";
    assert_fails::<()>(Err(client.read_error()), TlsErrorKind::AlertReceived, sentence);
}

#[test]
fn no_version_in_common() {
    let authority = Authority::new("test CA");
    let identity = authority.server(&[NAME]);
    let alone = |version| move |builder: &mut TlsConfigBuilder| builder.set_versions(version, version);
    for (at_client, at_server) in [(TlsVersion::V1_2, TlsVersion::V1_3), (TlsVersion::V1_3, TlsVersion::V1_2)] {
        let client = client_config(&authority, alone(at_client));
        let server = server_config(&identity, alone(at_server));
        let (mut client, mut server) = peers(&client, &server, ROOMY);
        let (at_client, at_server) = shake(&mut client, &mut server);
        assert_fails(at_server, TlsErrorKind::NoCommonVersion, "the client has no TLS version");
        assert_fails(at_client, TlsErrorKind::NoCommonVersion, "the server sent the alert protocol_version (70)");
    }
}

#[test]
fn no_application_protocol_in_common() {
    let authority = Authority::new("test CA");
    let client = client_config(&authority, |builder| builder.add_alpn(b"mqtt"));
    let server = server_config(&authority.server(&[NAME]), |builder| builder.add_alpn(b"eventstream"));
    let (mut client, mut server) = peers(&client, &server, ROOMY);
    let (at_client, at_server) = shake(&mut client, &mut server);
    assert_fails(at_server, TlsErrorKind::NoCommonAlpn, "the client offers no application protocol (ALPN)");
    assert_fails(at_client, TlsErrorKind::NoCommonAlpn, "the server sent the alert no_application_protocol (120)");
}

/// A ClientHello of TLS 1.2 whose only cipher suite is one that is no longer safe.
fn outdated_client_hello() -> Vec<u8> {
    let extensions: &[&[u8]] = &[
        &[0, 10, 0, 4, 0, 2, 0, 29], // supported_groups: x25519
        &[0, 11, 0, 2, 1, 0],        // ec_point_formats: uncompressed
        &[0, 13, 0, 4, 0, 2, 4, 3],  // signature_algorithms: ecdsa_secp256r1_sha256
        &[0, 23, 0, 0],              // extended_main_secret
    ];
    let extensions = extensions.concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0, 0x2f, 1, 0]); // no session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression
    body.extend([0, extensions.len() as u8]);
    body.extend(extensions);
    let mut hello = vec![22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    hello.extend(body);
    hello
}

#[test]
fn no_cipher_suite_in_common() {
    let (_, server) = fitting_configs();
    let (mut client_end, server_end) = pipe(ROOMY);
    let mut server = Peer { session: TlsSession::server(&server).expect("a session"), end: server_end };
    client_end.write_all(&outdated_client_hello()).expect("there is room");
    assert_fails(server.handshake(), TlsErrorKind::NoCommonCipher, "no cipher suite, key exchange group or signature");
    // The alert handshake_failure went out.
    let mut alert = [0; 7];
    client_end.read_exact(&mut alert).expect("an alert");
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, 40]);
}

/// How a side of TLS fares with a peer that sends `bytes` and nothing else.
fn with_stranger(role: TlsRole, bytes: &[u8]) -> Error {
    let (client, server) = fitting_configs();
    let (mut plain, end) = pipe(ROOMY);
    let session = match role {
        TlsRole::Client => TlsSession::client(&client, NAME),
        TlsRole::Server => TlsSession::server(&server),
    };
    let mut peer = Peer { session: session.expect("a session"), end };
    plain.write_all(bytes).expect("there is room");
    plain.close();
    let error = peer.handshake().expect_err("a stranger");
    assert_eq!(peer.handshake(), Err(error.clone()), "a failure is kept");
    error
}

const MESSAGE: [u8; 16] = [0, 0, 0, 16, 0, 0, 0, 0, 5, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];

#[test]
fn a_client_that_does_not_use_tls() {
    let cases: [(&[u8], &str); 4] = [
        (&MESSAGE, "looks like an event-stream message without TLS; the client does not use TLS"),
        (b"GET / HTTP/1.1\r\n\r\n", "looks like an HTTP request (GET); the client does not speak event-stream RPC"),
        (b"{\"type\": \"connect\"}", "looks like JSON"),
        (&[0xff; 40], "check the host and port, and that both sides use TLS"),
    ];
    for (bytes, part) in cases {
        let error = with_stranger(TlsRole::Server, bytes);
        assert_fails::<()>(Err(error.clone()), TlsErrorKind::HandshakeFailed, part);
        assert_fails::<()>(Err(error), TlsErrorKind::HandshakeFailed, "what the client sent is not TLS; ");
    }
}

#[test]
fn a_server_that_does_not_use_tls() {
    let cases: [(&[u8], &str); 3] = [
        (&MESSAGE, "it looks like an event-stream message without TLS; the server does not use TLS at this port"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it looks like an HTTP response (status 400); the server does not speak"),
        (b"SSH-2.0-OpenSSH_9.2p1", "it looks like SSH"),
    ];
    for (bytes, part) in cases {
        assert_fails::<()>(Err(with_stranger(TlsRole::Client, bytes)), TlsErrorKind::HandshakeFailed, part);
    }
}

#[test]
fn a_peer_that_closes_at_once() {
    let silent = "the server closed the connection during the TLS handshake without sending anything: does it use TLS";
    assert_fails::<()>(Err(with_stranger(TlsRole::Client, b"")), TlsErrorKind::PeerClosed, silent);
    let short = "it looks like an HTTP request";
    assert_fails::<()>(Err(with_stranger(TlsRole::Server, b"GET ")), TlsErrorKind::HandshakeFailed, short);
    let cut = "the client closed the connection during the TLS handshake";
    assert_fails::<()>(Err(with_stranger(TlsRole::Server, &[22, 3, 1])), TlsErrorKind::PeerClosed, cut);
}

#[test]
fn a_peer_that_goes_away_in_the_middle() {
    let (client, server) = fitting_configs();
    let (mut client, mut server) = peers(&client, &server, ROOMY);
    assert_eq!(client.handshake(), Ok(HandshakeProgress::Pending));
    assert_eq!(server.handshake(), Ok(HandshakeProgress::Pending));
    server.end.close();
    // The server's part came before it went; the client finishes and finds the end then. The server never hears more.
    client.end.close();
    assert_fails(server.handshake(), TlsErrorKind::PeerClosed, "closed the connection during the TLS handshake");
}

#[test]
fn a_peer_that_has_closed_before_anything_is_written() {
    let (client, server) = fitting_configs();
    let (mut client, server) = peers(&client, &server, ROOMY);
    drop(server);
    let error = client.handshake().expect_err("nobody is there");
    assert_eq!(error.kind, ErrorKind::Reset);
    assert!(error.to_string().starts_with("the TLS handshake failed: writing to the peer"), "{error}");
}

#[test]
fn a_failure_is_kept() {
    let identity = Authority::new("other CA").server(&[NAME]);
    let client = client_config(&Authority::new("test CA"), |_| {});
    let (mut client, mut server) = peers(&client, &server_config(&identity, |_| {}), ROOMY);
    let (failed, _) = shake(&mut client, &mut server);
    let error = failed.expect_err("an unknown CA");
    assert_eq!(client.handshake(), Err(error.clone()));
    assert_eq!(client.read_error(), error);
    assert_eq!(client.session.info(), None);
}

#[test]
fn a_server_without_a_name() {
    let (client, _) = fitting_configs();
    assert_fails(TlsSession::client(&client, ""), TlsErrorKind::ServerNameRequired, "needs the name of the server");
    for name in ["a b", "-.example", "x\0y", "ünïcode.example", &"long.".repeat(60)] {
        let error = TlsSession::client(&client, name).err().expect("no name of a server");
        assert_eq!(error.kind, ErrorKind::AddressInvalid, "{name}: {error}");
    }
}

#[test]
fn settings_of_the_other_role() {
    let (client, server) = fitting_configs();
    assert_fails(TlsSession::client(&server, NAME), TlsErrorKind::Config, "for servers");
    assert_fails(TlsSession::server(&client), TlsErrorKind::Config, "for clients");
}
