//! Files as tools and people leave them, and what is said of those that cannot be used.

use eventstream_rpc::transport::{TlsConfigBuilder, TlsErrorKind, TlsRole};
use rcgen::{CustomExtension, DnType};

use crate::certificates::{Authority, Identity, der, pem, version_1};
use crate::peers::*;

fn builder() -> TlsConfigBuilder {
    TlsConfigBuilder::new(TlsRole::Client)
}

/// Trusting these bytes fails.
#[track_caller]
fn assert_untrusted(bytes: &[u8], kind: TlsErrorKind, sentence: &str) {
    assert_fails(builder().add_ca(bytes), kind, &format!("the given CA {sentence}"));
}

/// Showing the certificate of `identity` with these bytes for a key fails.
#[track_caller]
fn assert_bad_key(identity: &Identity, key: &[u8], kind: TlsErrorKind, sentence: &str) {
    let result = builder().set_certificate(identity.certificate.as_bytes(), key);
    assert_fails(result, kind, &format!("the given key {sentence}"));
}

fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn pem_is_read_however_it_is_written() {
    let authority = Authority::new("test CA");
    let identity = authority.server(&[NAME]);
    let dressings: [fn(&str) -> Vec<u8>; 8] = [
        |text| text.replace('\n', "\r\n").into(),
        |text| format!("\u{feff}{text}").into(),
        |text| format!("\u{feff}{text}").replace('\n', "\r\n").into(),
        utf16,
        |text| text.trim_end().into(),
        |text| format!("Bag Attributes\n    friendlyName: x\nsubject=/CN=x: y\n\n{text}\nsome more - text").into(),
        |text| text.replace("-----\n", "----- \n").replace('\n', " \t\n").into(),
        |text| text.replace('\n', "\n\n").into(),
    ];
    for dress in dressings {
        let mut client = builder();
        client.add_ca(&dress(&authority.pem)).expect("a CA");
        let mut server = TlsConfigBuilder::new(TlsRole::Server);
        server.set_certificate(&dress(&identity.certificate), &dress(&identity.key)).expect("a certificate and a key");
        connected(&client.build().expect("settings"), &server.build().expect("settings"), ROOMY);
    }
}

#[test]
fn files_may_be_joined() {
    let (one, other) = (Authority::new("one CA"), Authority::new("another CA"));
    let joined: [Vec<u8>; 4] = [
        format!("{}{}", one.pem, other.pem).into(),
        format!("{}{}", one.pem.trim_end(), other.pem).into(),
        format!("{}\u{feff}{}", one.pem, other.pem).into(),
        [&one.der[..], &other.der].concat(),
    ];
    for bytes in joined {
        let mut client = builder();
        client.add_ca(&bytes).expect("two CAs");
        let client = client.build().expect("settings");
        for authority in [&one, &other] {
            connected(&client, &server_config(&authority.server(&[NAME]), |_| {}), ROOMY);
        }
    }
}

#[test]
fn certificates_with_other_labels_are_read() {
    let authority = Authority::new("test CA");
    // With data of OpenSSL's own behind it.
    let trusted = [&authority.der[..], &[0x30, 0]].concat();
    for text in [pem("X509 CERTIFICATE", &authority.der), pem("TRUSTED CERTIFICATE", &trusted)] {
        let mut client = builder();
        client.add_ca(text.as_bytes()).expect("a CA");
        let client = client.build().expect("settings");
        connected(&client, &server_config(&authority.server(&[NAME]), |_| {}), ROOMY);
    }
}

const DATA: [u8; 11] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const SIGNED_DATA: [u8; 11] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];

#[test]
fn files_of_other_kinds_are_named() {
    let identity = Authority::new("test CA").server(&[NAME]);
    let pkcs12 = der(0x30, &[&[2, 1, 3][..], &der(0x30, &DATA), &[0x30, 0]].concat());
    let pkcs7 = der(0x30, &[&SIGNED_DATA[..], &[0xa0, 0]].concat());
    let request = der(0x30, &der(0x30, &[2, 1, 0, 0x30, 0, 0x30, 0, 0xa0, 0]));
    let bare = pem("X", &identity.certificate_der).lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let cases: [(&[u8], &str); 9] = [
        (b"", "is empty"),
        (&pkcs12, "is a PKCS#12 file (.p12, .pfx): convert it with"),
        (&pkcs12[..pkcs12.len() - 1], "is a PKCS#12 file"),
        (&pkcs7, "is a PKCS#7 file (.p7b): convert it with"),
        (pem("PKCS7", &pkcs7).leak().as_bytes(), "is a PKCS#7 file (.p7b)"),
        (&[0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2], "is a Java key store: convert it with"),
        (&request, "is a request for a certificate (CSR), which a CA has to sign first"),
        (bare.as_bytes(), "is base64 without the lines BEGIN and END around it"),
        (&identity.key_der, "is a private key"),
    ];
    for (bytes, sentence) in cases {
        assert_untrusted(bytes, TlsErrorKind::NoCertificate, sentence);
        if bytes != identity.key_der {
            assert_bad_key(&identity, bytes, TlsErrorKind::BadKey, sentence);
        }
    }
    assert_untrusted(identity.key.as_bytes(), TlsErrorKind::NoCertificate, "is PEM, but holds no certificate (section");
    assert_untrusted(b"words", TlsErrorKind::NoCertificate, "holds no certificate, neither PEM nor DER");
    assert_bad_key(&identity, &identity.certificate_der, TlsErrorKind::BadKey, "is a certificate, not a private key");
    let sentence = "is PEM, but holds no private key (section PRIVATE KEY), only CERTIFICATE";
    assert_bad_key(&identity, identity.certificate.as_bytes(), TlsErrorKind::BadKey, sentence);
    let openssh = pem("OPENSSH PRIVATE KEY", b"openssh-key-v1\0");
    assert_bad_key(&identity, openssh.as_bytes(), TlsErrorKind::BadKey, "is a key of OpenSSH: convert a copy of it");
}

/// A PKCS#8 key of this kind, with nothing in it.
fn key_of_kind(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    der(0x30, &[&[2, 1, 0][..], &der(0x30, algorithm), &der(4, key)].concat())
}

#[test]
fn keys_that_cannot_be_used_are_named() {
    let identity = Authority::new("test CA").server(&[NAME]);
    let rsa = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let numbers = der(0x30, &[&[2, 1, 0][..], &der(2, &[&[0, 0x80][..], &[1; 127]].concat())].concat());
    let curve = |curve: &[u8]| [&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1][..], curve].concat();
    let cases = [
        (key_of_kind(&rsa, &numbers), "is an RSA key of 1024 bits, which cannot be used here: use RSA with 2048"),
        (
            key_of_kind(&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10], &[]),
            "is an RSA key for PSS signatures only",
        ),
        (key_of_kind(&curve(&[6, 5, 0x2b, 0x81, 4, 0, 10]), &[]), "is a key on the curve secp256k1"),
        (key_of_kind(&curve(&[6, 9, 0x2b, 0x24, 3, 3, 2, 8, 1, 1, 7]), &[]), "is a key on the curve brainpoolP256r1"),
        (key_of_kind(&curve(&[0x30, 0]), &[]), "is an elliptic-curve key whose curve is written out"),
        (key_of_kind(&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1], &[]), "is a DSA key"),
        (key_of_kind(&[6, 3, 0x2b, 0x65, 0x71], &[]), "is an Ed448 key"),
        (key_of_kind(&[6, 3, 0x2b, 0x65, 0x6e], &[]), "is an X25519 key, which cannot sign"),
        (key_of_kind(&[6, 3, 0x55, 0x55, 1], &[]), "is a key of the kind 2.5.85.1"),
    ];
    for (key, sentence) in &cases {
        assert_bad_key(&identity, key, TlsErrorKind::BadKey, sentence);
        assert_bad_key(&identity, pem("PRIVATE KEY", key).as_bytes(), TlsErrorKind::BadKey, sentence);
    }
    let sec1 = der(0x30, &[&[2, 1, 1, 4, 1, 7][..], &der(0xa0, &[6, 5, 0x2b, 0x81, 4, 0, 10])].concat());
    let text = pem("EC PRIVATE KEY", &sec1);
    assert_bad_key(&identity, text.as_bytes(), TlsErrorKind::BadKey, "is a key on the curve secp256k1");
    let damaged = key_of_kind(&curve(&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]), &[]);
    let sentence = "is a key on the curve P-256, but is damaged";
    assert_bad_key(&identity, &damaged, TlsErrorKind::BadKey, sentence);
}

#[test]
fn the_place_of_damage_is_named() {
    let authority = Authority::new("test CA");
    let identity = authority.server(&[NAME]);
    let (bad_certificate, bad_key) = (TlsErrorKind::BadCertificate, TlsErrorKind::BadKey);
    let damage = |text: &str, at: usize| format!("{}*{}", &text[..at], &text[at + 1..]);

    let second = format!("{}{}", authority.pem, damage(&authority.pem, 100));
    let sentence = format!("certificate 2 of the given CA is damaged at byte {} (line ", authority.pem.len() + 100);
    assert_fails(builder().add_ca(second.as_bytes()), bad_certificate, &sentence);
    let cut = &authority.pem[..200];
    let sentence = "certificate 1 of the given CA is damaged at byte 0 (line 1): its END line is missing";
    assert_fails(builder().add_ca(cut.as_bytes()), bad_certificate, sentence);
    let sentence = "holds a private key that is damaged at byte 60 (line 2): a character that base64 does not allow";
    assert_bad_key(&identity, damage(&identity.key, 60).as_bytes(), bad_key, sentence);

    let der = &authority.der;
    assert_untrusted(&der[..der.len() - 1], bad_certificate, "is damaged: the element of DER that begins at byte 0");
    let mut longer = der.clone();
    // The length of what is signed.
    longer[7] ^= 1;
    let sentence = "certificate 1 is damaged: byte 4 of its DER begins an element that does not fit there";
    longer[6] = 0xff;
    assert_fails(builder().add_ca(&longer), bad_certificate, sentence);
    let sentence = "certificate 1 is damaged: it is DER, but does not have the parts of a certificate";
    assert_fails(builder().add_ca(&[0x30, 0]), bad_certificate, sentence);
    assert_bad_key(&identity, &identity.key_der[..40], bad_key, "is a private key, but damaged: byte 0 of its DER");
}

fn huge(authority: &Authority) -> Identity {
    authority.issue(&[NAME], |params| {
        let comment = CustomExtension::from_oid_content(&[2, 5, 29, 99], der(4, &[7; 110_000]));
        params.custom_extensions.push(comment);
    })
}

#[test]
fn a_certificate_of_110_kb_is_called_too_long() {
    let authority = Authority::new("test CA");
    let huge = huge(&authority);
    let sentence =
        format!("is {} bytes long, which is more than the 65535 that can be used", huge.certificate_der.len());
    assert_fails(builder().add_ca(&huge.certificate_der), TlsErrorKind::BadCertificate, &sentence);
    let result = builder().set_certificate(huge.certificate.as_bytes(), huge.key.as_bytes());
    assert_fails(result, TlsErrorKind::BadCertificate, &sentence);
}

/// Bundles have some that nobody can use.
#[test]
fn one_that_can_be_used_is_enough() {
    let authority = Authority::new("test CA");
    let text = format!("{}{}", pem("CERTIFICATE", &huge(&authority).certificate_der), authority.pem);
    let mut client = builder();
    client.add_ca(text.as_bytes()).expect("one of two");
    let client = client.build().expect("settings");
    connected(&client, &server_config(&authority.server(&[NAME]), |_| {}), ROOMY);
}

#[test]
fn version_1_may_be_shown_but_is_not_taken_from_a_peer() {
    let old = version_1(NAME);
    let mut client = builder();
    client.add_ca(old.certificate.as_bytes()).expect("a CA");
    let client = client.build().expect("settings");
    let (mut client, mut server) = peers(&client, &server_config(&old, |_| {}), ROOMY);
    let sentence = "the server's certificate is of version 1, which cannot say what names and uses it is for: have one of \
                    version 3 made, with a subject alternative name; this side sent the alert";
    assert_fails(shake(&mut client, &mut server).0, TlsErrorKind::BadCertificate, sentence);

    // A CA's may be of version 1.
    let mut client = builder();
    client.set_certificate(old.certificate.as_bytes(), old.key.as_bytes()).expect("it may be shown");
    client.dangerous_disable_verification();
    let authority = Authority::new("test CA");
    let server = server_config(&authority.server(&[NAME]), |builder| {
        builder.add_ca(old.certificate.as_bytes()).expect("a CA");
        builder.set_client_auth(eventstream_rpc::transport::ClientAuth::Required);
    });
    let (mut client, mut server) = peers(&client.build().expect("settings"), &server, ROOMY);
    let sentence = "the client's certificate is of version 1";
    assert_fails(shake(&mut client, &mut server).1, TlsErrorKind::BadCertificate, sentence);
}

#[test]
fn an_unknown_critical_extension_is_named() {
    let authority = Authority::new("test CA");
    let identity = authority.issue(&[NAME], |params| {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
        params.distinguished_name.push(DnType::CommonName, "critical");
    });
    let client = client_config(&authority, |_| {});
    let (mut client, mut server) = peers(&client, &server_config(&identity, |_| {}), ROOMY);
    let sentence = "the server's certificate has the extension 1.2.3.4, which is marked critical and not known here";
    assert_fails(shake(&mut client, &mut server).0, TlsErrorKind::BadCertificate, sentence);
}
