//! Settings are checked when they are given.

use std::fs;
use std::path::Path;

use eventstream_rpc::transport::{
    ClientAuth, Error, ErrorKind, TlsConfig, TlsConfigBuilder, TlsErrorKind, TlsRole, TlsSession,
};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};

use crate::certificates::{Authority, encrypted_pkcs8, in_year, older_form, pem};
use crate::peers::*;

fn client() -> TlsConfigBuilder {
    TlsConfigBuilder::new(TlsRole::Client)
}

fn server() -> TlsConfigBuilder {
    TlsConfigBuilder::new(TlsRole::Server)
}

/// Whether a client with these settings accepts a server of `authority`.
fn trusts(client: &TlsConfig, authority: &Authority) -> bool {
    let (mut client, mut server) = peers(client, &server_config(&authority.server(&[NAME]), |_| {}), ROOMY);
    shake(&mut client, &mut server).0.is_ok()
}

#[track_caller]
fn assert_file_fails(result: Result<(), Error>, kind: ErrorKind, path: &Path) {
    let error = result.expect_err("a file that cannot be used");
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
}

#[test]
fn authorities_come_from_files_folders_and_memory_in_pem_and_der() {
    let folder = folder("authorities");
    let (first, second, third) = (Authority::new("first"), Authority::new("second"), Authority::new("third"));
    let (pem_file, der_file) = (folder.join("ca.pem"), folder.join("ca.der"));
    fs::write(&pem_file, format!("Some words before.\n{}{}", first.pem, second.pem)).expect("written");
    fs::write(&der_file, &third.der).expect("written");

    let mut builder = client();
    builder.add_ca_file(&pem_file).expect("PEM");
    let config = builder.build().expect("settings");
    assert!(trusts(&config, &first) && trusts(&config, &second) && !trusts(&config, &third));
    builder.add_ca_file(&der_file).expect("DER");
    assert!(trusts(&builder.build().expect("settings"), &third), "beside those before");
    assert!(trusts(&builder.build().expect("settings"), &first), "which stay");

    let mut builder = client();
    builder.add_ca_dir(&folder).expect("two files");
    let config = builder.build().expect("settings");
    assert!(trusts(&config, &first) && trusts(&config, &second) && trusts(&config, &third));

    let mut builder = client();
    builder.add_ca(&third.der).expect("DER");
    builder.add_ca(first.pem.as_bytes()).expect("PEM");
    let config = builder.build().expect("settings");
    assert!(trusts(&config, &first) && !trusts(&config, &second) && trusts(&config, &third));
}

#[cfg(unix)]
#[test]
fn a_folder_may_hold_other_things_than_certificates() {
    let folder = folder("mixed_folder");
    let authority = Authority::new("test CA");
    fs::write(folder.join("README"), "no certificate").expect("written");
    fs::write(folder.join("empty"), "").expect("written");
    fs::write(folder.join("damaged.pem"), "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n")
        .expect("written");
    fs::create_dir(folder.join("folder")).expect("made");
    std::os::unix::fs::symlink("nowhere", folder.join("dangling")).expect("linked");
    assert_file_fails(client().add_ca_dir(&folder), kind(TlsErrorKind::NoCertificate), &folder);

    fs::write(folder.join("ca.pem"), &authority.pem).expect("written");
    std::os::unix::fs::symlink("ca.pem", folder.join("0123abcd.0")).expect("linked");
    let mut builder = client();
    builder.add_ca_dir(&folder).expect("one certificate");
    assert!(trusts(&builder.build().expect("settings"), &authority));
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = folder("bad_files");
    let missing = folder.join("missing.pem");
    let (text, empty, damaged) = (folder.join("text"), folder.join("empty"), folder.join("damaged.pem"));
    let (key_only, no_x509) = (folder.join("key.pem"), folder.join("no_x509.pem"));
    fs::write(&text, "no certificate").expect("written");
    fs::write(&empty, "").expect("written");
    fs::write(&damaged, "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n").expect("written");
    fs::write(&key_only, KeyPair::generate().expect("a key").serialize_pem()).expect("written");
    fs::write(&no_x509, pem("CERTIFICATE", &[0x30, 0])).expect("written");

    assert_file_fails(client().add_ca_file(&missing), ErrorKind::NotFound, &missing);
    assert_file_fails(client().add_ca_dir(&missing), ErrorKind::NotFound, &missing);
    assert_file_fails(client().add_ca_file(&folder), ErrorKind::Io, &folder);
    assert_file_fails(client().add_ca_dir(&text), ErrorKind::Io, &text);
    for path in [&text, &empty, &key_only] {
        assert_file_fails(client().add_ca_file(path), kind(TlsErrorKind::NoCertificate), path);
    }
    for path in [&damaged, &no_x509] {
        assert_file_fails(client().add_ca_file(path), kind(TlsErrorKind::BadCertificate), path);
    }

    let identity = Authority::new("test CA").server(&[NAME]);
    let (chain, key) = (folder.join("chain.pem"), folder.join("its_key.pem"));
    fs::write(&chain, &identity.certificate).expect("written");
    fs::write(&key, &identity.key).expect("written");
    let mut builder = server();
    assert_file_fails(builder.set_certificate_files(&missing, &key), ErrorKind::NotFound, &missing);
    assert_file_fails(builder.set_certificate_files(&chain, &missing), ErrorKind::NotFound, &missing);
    assert_file_fails(builder.set_certificate_files(&text, &key), kind(TlsErrorKind::NoCertificate), &text);
    assert_file_fails(builder.set_certificate_files(&no_x509, &key), kind(TlsErrorKind::BadCertificate), &no_x509);
    assert_file_fails(builder.set_certificate_files(&chain, &text), kind(TlsErrorKind::BadKey), &text);
    assert_file_fails(builder.set_certificate_files(&chain, &chain), kind(TlsErrorKind::BadKey), &chain);
    assert_file_fails(builder.set_certificate_files(&chain, &key_only), kind(TlsErrorKind::KeyMismatch), &key_only);
    assert_file_fails(builder.set_key_log_file(&missing.join("keys")), ErrorKind::NotFound, &missing);
    // None of this has set anything.
    assert_fails(builder.build(), TlsErrorKind::Config, "a server needs a certificate");
    builder.set_certificate_files(&chain, &key).expect("they fit");
    builder.build().expect("settings");
}

#[test]
fn keys_may_have_any_usual_form() {
    let authority = Authority::new("test CA");
    let keys = [
        (KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256), Some("EC PRIVATE KEY")),
        (KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384), Some("EC PRIVATE KEY")),
        (KeyPair::generate_for(&PKCS_RSA_SHA256), Some("RSA PRIVATE KEY")),
        (KeyPair::generate_for(&PKCS_ED25519), None),
    ];
    for (key, older) in keys {
        let identity = authority.issue_for(key.expect("a key"), &[NAME], |_| {});
        let mut forms = vec![identity.key.clone().into_bytes(), identity.key_der.clone()];
        if let Some(label) = older {
            let der = older_form(&identity.key_der);
            forms.push(pem(label, &der).into_bytes());
            forms.push(der);
        }
        for form in forms {
            for chain in [identity.certificate.as_bytes(), &identity.certificate_der] {
                let mut builder = server();
                builder.set_certificate(chain, &form).expect("a key of the certificate");
                connected(&client_config(&authority, |_| {}), &builder.build().expect("settings"), ROOMY);
            }
        }
    }
}

#[test]
fn certificate_and_key_may_be_in_one_file_in_any_order() {
    let identity = Authority::new("test CA").server(&[NAME]);
    for text in
        [format!("{}{}", identity.certificate, identity.key), format!("{}{}", identity.key, identity.certificate)]
    {
        server().set_certificate(text.as_bytes(), text.as_bytes()).expect("both are there");
    }
}

#[test]
fn a_chain_is_shown_whole() {
    let root = Authority::new("root");
    let identity = root.server(&[NAME]);
    let text = format!("{}{}", identity.certificate, root.pem);
    let mut builder = server();
    builder.set_certificate(text.as_bytes(), identity.key.as_bytes()).expect("a chain");
    let (client, _server) = connected(&client_config(&root, |_| {}), &builder.build().expect("settings"), ROOMY);
    let shown = client.session.info().expect("done").peer_certificates;
    assert_eq!(shown, [identity.certificate_der, root.der]);
}

#[test]
fn encrypted_keys_and_bad_ones_have_different_errors() {
    let identity = Authority::new("test CA").server(&[NAME]);
    let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n\
                  -----END RSA PRIVATE KEY-----\n";
    let encrypted = encrypted_pkcs8();
    let modern = pem("ENCRYPTED PRIVATE KEY", &encrypted);
    for key in [legacy.as_bytes(), modern.as_bytes(), &encrypted] {
        let result = server().set_certificate(identity.certificate.as_bytes(), key);
        assert_fails(result, TlsErrorKind::KeyEncrypted, "the given key is encrypted");
    }
    let damaged = pem("PRIVATE KEY", &[0x30, 3, 2, 1, 0]);
    for key in
        [&b"no key"[..], &[0x30], &[0x30, 0x84], &[0x30, 3, 2, 1, 0], damaged.as_bytes(), &identity.certificate_der]
    {
        let result = server().set_certificate(identity.certificate.as_bytes(), key);
        assert_fails(result, TlsErrorKind::BadKey, "the given key");
    }
}

#[test]
fn the_key_of_another_certificate_is_refused() {
    let authority = Authority::new("test CA");
    let (one, other) = (authority.server(&[NAME]), authority.server(&[NAME]));
    let result = client().set_certificate(one.certificate.as_bytes(), other.key.as_bytes());
    assert_fails(result, TlsErrorKind::KeyMismatch, "the given key is not the key of the first certificate");
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let authority = Authority::new("test CA");
    let identity = authority.server(&[NAME]);
    assert_fails(server().build(), TlsErrorKind::Config, "a server needs a certificate");

    let mut builder = server();
    builder.set_certificate(identity.certificate.as_bytes(), identity.key.as_bytes()).expect("a certificate");
    for client_auth in [ClientAuth::Optional, ClientAuth::Required] {
        builder.set_client_auth(client_auth);
        assert_fails(builder.build(), TlsErrorKind::Config, "client authentication needs a CA");
    }
    builder.add_ca(authority.pem.as_bytes()).expect("a CA");
    builder.build().expect("now they do");
    builder.set_client_auth(ClientAuth::None);
    assert_fails(builder.build(), TlsErrorKind::Config, "no certificates are asked for");

    let mut builder = client();
    builder.dangerous_disable_verification();
    builder.build().expect("dangerous, but possible");
    builder.add_ca(authority.pem.as_bytes()).expect("a CA");
    assert_fails(builder.build(), TlsErrorKind::Config, "verification is off");
}

#[test]
fn a_builder_builds_again() {
    let authority = Authority::new("test CA");
    let mut builder = client();
    builder.add_ca(authority.pem.as_bytes()).expect("a CA");
    let first = builder.build().expect("settings");
    builder.add_alpn(b"mqtt");
    let second = builder.build().expect("settings");
    let server = server_config(&authority.server(&[NAME]), |builder| builder.add_alpn(b"eventstream"));
    connected(&first.clone(), &server, ROOMY);
    let (mut client, mut server) = peers(&second, &server, ROOMY);
    assert_fails(shake(&mut client, &mut server).1, TlsErrorKind::NoCommonAlpn, "ALPN");
    assert_eq!((first.role(), second.role()), (TlsRole::Client, TlsRole::Client));
}

#[test]
fn one_connection_can_offer_other_protocols_than_its_settings() {
    let authority = Authority::new("test CA");
    let mut builder = client();
    builder.add_ca(authority.pem.as_bytes()).expect("a CA");
    builder.add_alpn(b"mqtt");
    let settings = builder.build().expect("settings");
    let server = server_config(&authority.server(&[NAME]), |builder| builder.add_alpn(b"eventstream"));
    connected(&settings.with_alpn(&[b"eventstream".to_vec()]), &server, ROOMY);
    connected(&settings.with_alpn(&[]), &server, ROOMY);
    let (mut client, mut server) = peers(&settings, &server, ROOMY);
    assert_fails(shake(&mut client, &mut server).1, TlsErrorKind::NoCommonAlpn, "ALPN");
}

/// In a process of its own, since the environment names the place of the system's trust store.
#[cfg(unix)]
#[test]
fn a_client_without_an_authority_uses_the_systems() {
    let folder = folder("system_store");
    let key = KeyPair::generate().expect("a key");
    let same_key = KeyPair::try_from(key.serialize_der().as_slice()).expect("a key");
    let authority = Authority::with(key, "the system's", |_| {});
    let expired = Authority::with(same_key, "the system's", |params| in_year(params, 2001));
    let identity = authority.server(&[NAME]);
    fs::write(folder.join("ca.pem"), &authority.pem).expect("written");
    fs::write(folder.join("expired.pem"), &expired.pem).expect("written");
    fs::write(folder.join("both.pem"), format!("{}{}", expired.pem, authority.pem)).expect("written");
    fs::write(folder.join("server.pem"), format!("{}{}", identity.certificate, identity.key)).expect("written");
    fs::write(folder.join("empty.pem"), "").expect("written");
    let stores =
        [("ca.pem", "trusted"), ("empty.pem", "empty"), ("expired.pem", "out of date"), ("both.pem", "trusted")];
    for (store, expected) in stores {
        let mut command = std::process::Command::new(std::env::current_exe().expect("a test knows where it is"));
        command.args(["--exact", "config::in_a_process_of_its_own", "--ignored", "--nocapture"]);
        command.env("SSL_CERT_FILE", folder.join(store)).env_remove("SSL_CERT_DIR");
        command.env("ESRPC_TEST_SERVER", folder.join("server.pem"));
        // Other libraries write their secrets there.
        command.env("SSLKEYLOGFILE", folder.join("keys"));
        let output = command.output().expect("the test runs");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(printed.contains(&format!("the store is {expected}")), "{store}: {printed}");
        assert!(!folder.join("keys").exists(), "no environment variable turns key logging on");
    }
}

#[cfg(unix)]
#[test]
#[ignore = "a_client_without_an_authority_uses_the_systems runs it"]
fn in_a_process_of_its_own() {
    let identity = std::env::var("ESRPC_TEST_SERVER").expect("a file");
    let config = match client().build() {
        Ok(config) => config,
        Err(error) => {
            assert_eq!(error.kind, kind(TlsErrorKind::NoCertificate), "{error}");
            println!("the store is empty");
            return;
        }
    };
    let mut builder = server();
    builder.set_certificate_files(identity.as_ref(), identity.as_ref()).expect("a certificate");
    let (mut client, mut server) = peers(&config, &builder.build().expect("settings"), ROOMY);
    let (outcome, _) = shake(&mut client, &mut server);
    if outcome.is_ok() {
        println!("the store is trusted");
    } else {
        let sentence = "is vouched for by a CA's certificate that has expired or is not valid yet";
        assert_fails(outcome, TlsErrorKind::CertificateExpired, sentence);
        println!("the store is out of date");
    }
}

#[test]
fn sessions_are_made_by_many_threads_at_once() {
    let (client, server) = fitting_configs();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..3 {
                    connected(&client, &server, ROOMY);
                    TlsSession::server(&server).expect("a session");
                }
            });
        }
    });
}
