//! What a handshake agrees on.

use std::fs;

use eventstream_rpc::transport::{
    ClientAuth, HandshakeProgress, TlsConfig, TlsConfigBuilder, TlsErrorKind, TlsRole, TlsVersion,
};

use crate::certificates::{Authority, in_year};
use crate::peers::*;

#[test]
fn the_newest_version_is_used_and_described() {
    let authority = Authority::new("test CA");
    let identity = authority.server(&[NAME]);
    let client = client_config(&authority, |_| {});
    let (client, server) = connected(&client, &server_config(&identity, |_| {}), ROOMY);
    let (at_client, at_server) = (client.session.info().expect("done"), server.session.info().expect("done"));
    assert_eq!(at_client.version, c"TLSv1.3");
    let cipher_suite = at_client.cipher_suite.to_str().expect("a name of IANA's");
    assert!(cipher_suite.starts_with("TLS_"), "{cipher_suite}");
    assert!(!cipher_suite.contains("TLS13"), "{cipher_suite}");
    assert_eq!(at_client.peer_certificates, [identity.certificate_der]);
    assert_eq!(at_client.alpn, None);
    assert!(!at_client.resumed);
    assert_eq!(at_server.version, at_client.version);
    assert_eq!(at_server.cipher_suite, at_client.cipher_suite);
    assert_eq!(at_server.key_exchange_group, at_client.key_exchange_group);
    assert!(at_server.peer_certificates.is_empty());
}

#[test]
fn nothing_is_reported_before_the_handshake_is_done() {
    let (client, server) = fitting_configs();
    let (client, _server) = peers(&client, &server, ROOMY);
    assert_eq!(client.session.info(), None);
}

#[test]
fn each_version_can_be_had_alone() {
    let authority = Authority::new("test CA");
    let identity = authority.server(&[NAME]);
    for (version, name) in [(TlsVersion::V1_2, c"TLSv1.2"), (TlsVersion::V1_3, c"TLSv1.3")] {
        let client = client_config(&authority, |builder| builder.set_versions(version, version));
        let (client, _server) = connected(&client, &server_config(&identity, |_| {}), ROOMY);
        assert_eq!(client.session.info().expect("done").version, name);

        let server = server_config(&identity, |builder| builder.set_versions(version, version));
        let (client, _server) = connected(&client_config(&authority, |_| {}), &server, ROOMY);
        assert_eq!(client.session.info().expect("done").version, name);
    }
}

#[cfg(feature = "aws-lc-rs")]
#[test]
fn the_key_exchange_is_a_hybrid_with_a_post_quantum_one() {
    let (client, server) = fitting_configs();
    let (client, _server) = connected(&client, &server, ROOMY);
    assert_eq!(client.session.info().expect("done").key_exchange_group.as_deref(), Some(c"X25519MLKEM768"));
}

#[test]
fn the_servers_first_protocol_that_the_client_offers_is_agreed_on() {
    let authority = Authority::new("test CA");
    let client = client_config(&authority, |builder| {
        builder.add_alpn(b"other");
        builder.add_alpn(b"mqtt");
        builder.add_alpn(b"eventstream");
    });
    let server = server_config(&authority.server(&[NAME]), |builder| {
        builder.add_alpn(b"eventstream");
        builder.add_alpn(b"mqtt");
    });
    let (client, server) = connected(&client, &server, ROOMY);
    assert_eq!(client.session.info().expect("done").alpn.as_deref(), Some(c"eventstream"));
    assert_eq!(server.session.info().expect("done").alpn.as_deref(), Some(c"eventstream"));
}

#[test]
fn a_side_without_protocols_is_taken() {
    let authority = Authority::new("test CA");
    let identity = authority.server(&[NAME]);
    let with = |builder: &mut TlsConfigBuilder| builder.add_alpn(b"eventstream");
    let pairs = [
        (client_config(&authority, with), server_config(&identity, |_| {})),
        (client_config(&authority, |_| {}), server_config(&identity, with)),
    ];
    for (client, server) in pairs {
        let (client, _server) = connected(&client, &server, ROOMY);
        assert_eq!(client.session.info().expect("done").alpn, None);
    }
}

/// Connects twice; whether the second session was resumed.
fn second_is_resumed(client: &TlsConfig, server: &TlsConfig) -> bool {
    let (mut first, mut first_server) = connected(client, server, ROOMY);
    // In TLS 1.3 the tickets come after the handshake, with the data.
    first_server.write(b"x").expect("there is room");
    assert_eq!(first.read_some(), b"x");
    let (mut second, mut second_server) = connected(client, server, ROOMY);
    second_server.write(b"y").expect("there is room");
    assert_eq!(second.read_some(), b"y");
    let resumed = second.session.info().expect("done").resumed;
    assert_eq!(second_server.session.info().expect("done").resumed, resumed);
    resumed
}

#[test]
fn a_second_session_is_resumed_unless_a_side_turned_that_off() {
    let authority = Authority::new("test CA");
    let identity = authority.server(&[NAME]);
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        for (client_on, server_on) in [(true, true), (true, false), (false, true)] {
            let client = client_config(&authority, |builder| {
                builder.set_versions(version, version);
                builder.set_session_resumption(client_on);
            });
            let server = server_config(&identity, |builder| builder.set_session_resumption(server_on));
            let expected = client_on && server_on;
            assert_eq!(second_is_resumed(&client, &server), expected, "{version:?} {client_on} {server_on}");
        }
    }
}

#[test]
fn a_resumed_session_still_knows_the_client() {
    let authority = Authority::new("test CA");
    let (identity, client_identity) = (authority.server(&[NAME]), authority.client("some client"));
    let client = client_config(&authority, |builder| {
        let (certificate, key) = (client_identity.certificate.as_bytes(), client_identity.key.as_bytes());
        builder.set_certificate(certificate, key).expect("a certificate");
    });
    let server = server_config(&identity, |builder| {
        builder.add_ca(authority.pem.as_bytes()).expect("a CA");
        builder.set_client_auth(ClientAuth::Required);
    });
    assert!(second_is_resumed(&client, &server));
    let (_client, server) = connected(&client, &server, ROOMY);
    let info = server.session.info().expect("done");
    assert!(info.resumed);
    assert_eq!(info.peer_certificates, [client_identity.certificate_der]);
}

#[test]
fn new_settings_of_a_server_resume_no_sessions_of_the_old_ones() {
    let authority = Authority::new("test CA");
    let identity = authority.server(&[NAME]);
    let client = client_config(&authority, |_| {});
    assert!(second_is_resumed(&client, &server_config(&identity, |_| {})));
    let (client, _server) = connected(&client, &server_config(&identity, |_| {}), ROOMY);
    assert!(!client.session.info().expect("done").resumed);
}

#[test]
fn clients_show_certificates_as_the_server_asks() {
    let authority = Authority::new("test CA");
    let (identity, client_identity) = (authority.server(&[NAME]), authority.client("some client"));
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        for client_auth in [ClientAuth::None, ClientAuth::Optional, ClientAuth::Required] {
            for shows in [false, true] {
                let client = client_config(&authority, |builder| {
                    builder.set_versions(version, version);
                    if shows {
                        let (certificate, key) =
                            (client_identity.certificate.as_bytes(), client_identity.key.as_bytes());
                        builder.set_certificate(certificate, key).expect("a certificate");
                    }
                });
                let server = server_config(&identity, |builder| {
                    if client_auth != ClientAuth::None {
                        builder.add_ca(authority.pem.as_bytes()).expect("a CA");
                    }
                    builder.set_client_auth(client_auth);
                });
                let (mut client, mut server) = peers(&client, &server, ROOMY);
                let (at_client, at_server) = shake(&mut client, &mut server);
                if client_auth == ClientAuth::Required && !shows {
                    assert_fails(at_server, TlsErrorKind::CertificateRequired, "the client sent no certificate");
                    // In TLS 1.3 the client is done before it is judged.
                    let at_client = at_client.and_then(|()| Err(client.read_error()));
                    assert_fails::<()>(at_client, TlsErrorKind::AlertReceived, "alert");
                    continue;
                }
                assert_eq!((at_client, at_server), (Ok(()), Ok(())));
                let seen = server.session.info().expect("done").peer_certificates;
                let is_seen = shows && client_auth != ClientAuth::None;
                assert_eq!(seen, if is_seen { vec![client_identity.certificate_der.clone()] } else { vec![] });
            }
        }
    }
}

#[test]
fn a_handshake_goes_through_the_narrowest_pipe() {
    let (client, server) = fitting_configs();
    for room in [1, 7, 100] {
        let (mut client, mut server) = connected(&client, &server, room);
        assert_eq!(client.handshake(), Ok(HandshakeProgress::Done));
        assert_eq!(server.handshake(), Ok(HandshakeProgress::Done));
    }
}

#[test]
fn the_last_words_of_a_client_leave_with_its_first_data() {
    let (client, server) = fitting_configs();
    let (mut client, mut server) = peers(&client, &server, ROOMY);
    assert_eq!(client.handshake(), Ok(HandshakeProgress::Pending));
    assert_eq!(server.handshake(), Ok(HandshakeProgress::Pending));
    assert_eq!(client.handshake(), Ok(HandshakeProgress::Done));
    assert!(client.session.wants_flush() && client.end.in_flight() == 0);
    // Records that are not data's are not taken for data that has left: there is room for a full record, but not for both.
    client.end.set_room(16_406 + 20);
    let data = vec![b'd'; 30_000];
    assert_eq!(client.write(&data).expect_err("there is too little room").kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(server.handshake(), Ok(HandshakeProgress::Done));
    assert_eq!(client.write(&data).expect("the rest fits"), data.len());
    assert!(server.read_some() == data);
}

#[test]
fn data_and_the_end_that_come_with_the_end_of_the_handshake_are_there_at_once() {
    let authority = Authority::new("test CA");
    let identity = authority.server(&[NAME]);
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let client = client_config(&authority, |builder| builder.set_versions(version, version));
        let (mut client, mut server) = peers(&client, &server_config(&identity, |_| {}), ROOMY);
        // The side whose Finished is the last one is done first, and writes at once.
        let (first, last) = loop {
            if client.handshake() == Ok(HandshakeProgress::Done) {
                break (&mut client, &mut server);
            }
            if server.handshake() == Ok(HandshakeProgress::Done) {
                break (&mut server, &mut client);
            }
        };
        assert_eq!(first.write(b"first words, and last ones").expect("there is room"), 26);
        assert!(first.session.close_notify(&mut first.end));
        assert_eq!(last.handshake(), Ok(HandshakeProgress::Done));
        assert_eq!(first.end.in_flight(), 0, "one read took it all");
        assert_eq!(last.read_some(), b"first words, and last ones");
        assert_eq!(last.read(&mut [0; 10]).expect("an orderly end"), 0);
    }
}

#[cfg(unix)]
#[test]
fn secrets_are_logged_to_a_named_file_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let authority = Authority::new("test CA");
    let identity = authority.server(&[NAME]);
    let path = folder("key_log").join("keys");
    let client = client_config(&authority, |builder| builder.set_key_log_file(&path).expect("the folder is there"));
    let mode = fs::metadata(&path).expect("the file is made").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    connected(&client, &server_config(&identity, |_| {}), ROOMY);
    let lines = fs::read_to_string(&path).expect("text");
    for label in ["CLIENT_TRAFFIC_SECRET_0 ", "SERVER_TRAFFIC_SECRET_0 "] {
        let line = lines.lines().find_map(|line| line.strip_prefix(label)).expect("a line of this label");
        let (random, secret) = line.split_once(' ').expect("two numbers");
        assert_eq!(random.len(), 64);
        assert!(secret.len() >= 64 && secret.chars().all(|c| c.is_ascii_hexdigit()), "{secret}");
    }

    // A server that logs to the same file adds to it.
    let server = server_config(&identity, |builder| {
        builder.set_versions(TlsVersion::V1_2, TlsVersion::V1_2);
        builder.set_key_log_file(&path).expect("the file is there");
    });
    connected(&client_config(&authority, |_| {}), &server, ROOMY);
    let more = fs::read_to_string(&path).expect("text");
    assert!(more.starts_with(&lines));
    assert!(more.lines().any(|line| line.starts_with("CLIENT_RANDOM ")), "{more}");
}

#[test]
fn a_server_may_be_named_by_its_address() {
    let authority = Authority::new("test CA");
    let server = server_config(&authority.server(&["127.0.0.1", "::1"]), |_| {});
    let client = client_config(&authority, |_| {});
    for name in ["127.0.0.1", "::1", "[::1]", "::1%lo", "[::1%1]"] {
        let (mut client, mut server) = peers_for(&client, name, &server, ROOMY);
        assert_eq!(shake(&mut client, &mut server), (Ok(()), Ok(())), "{name}");
    }
}

#[test]
fn verification_that_is_off_takes_anything() {
    let identity = Authority::new("some CA").issue(&["other.example"], |params| in_year(params, 2001));
    let server = server_config(&identity, |_| {});
    let mut builder = TlsConfigBuilder::new(TlsRole::Client);
    builder.dangerous_disable_verification();
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        builder.set_versions(version, version);
        connected(&builder.build().expect("settings"), &server, ROOMY);
    }
}
