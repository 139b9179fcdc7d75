//! Certificates of peers that were given as they are, without the CA behind them or with none at all.

use std::sync::Arc;

use eventstream_rpc::transport::{ClientAuth, TlsConfig, TlsConfigBuilder, TlsErrorKind, TlsRole, TlsVersion};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;

use crate::certificates::{Authority, Identity, in_year};
use crate::peers::*;
use crate::unusual_servers::{connect, until};

/// A certificate that is signed with its own key, as `openssl req -x509` makes it (CA:TRUE), which `change` makes into
/// another.
fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Identity {
    self_signed_with_key(change).0
}

fn self_signed_with_key(change: impl FnOnce(&mut CertificateParams)) -> (Identity, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, "itself");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.serial_number = Some(SerialNumber::from(7_u64));
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let identity = Identity {
        certificate: certificate.pem(),
        certificate_der: certificate.der().to_vec(),
        key: key.serialize_pem(),
        key_der: key.serialize_der(),
    };
    (identity, Issuer::new(params, key))
}

/// A certificate that this issuer signed.
fn vouched_for(issuer: &Issuer<'static, KeyPair>) -> Identity {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    Identity {
        certificate: certificate.pem(),
        certificate_der: certificate.der().to_vec(),
        key: key.serialize_pem(),
        key_der: key.serialize_der(),
    }
}

/// A client that was given this certificate.
fn client_given(identity: &Identity, change: impl FnOnce(&mut TlsConfigBuilder)) -> TlsConfig {
    let mut builder = TlsConfigBuilder::new(TlsRole::Client);
    builder.add_ca(identity.certificate.as_bytes()).expect("a certificate");
    change(&mut builder);
    builder.build().expect("settings")
}

/// A server that demands certificates of clients, and was given this one.
fn server_given(identity: &Identity, change: impl FnOnce(&mut TlsConfigBuilder)) -> TlsConfig {
    server_config(&self_signed(|_| {}), |builder| {
        builder.add_ca(identity.certificate.as_bytes()).expect("a certificate");
        builder.set_client_auth(ClientAuth::Required);
        change(builder);
    })
}

/// A client that shows this certificate and trusts any server.
fn client_showing(identity: &Identity) -> TlsConfig {
    let mut builder = TlsConfigBuilder::new(TlsRole::Client);
    builder.dangerous_disable_verification();
    builder.set_certificate(identity.certificate.as_bytes(), identity.key.as_bytes()).expect("a certificate");
    builder.build().expect("settings")
}

fn assert_server_is_trusted(identity: &Identity) {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let client = client_given(identity, |builder| builder.set_versions(version, version));
        connected(&client, &server_config(identity, |_| {}), ROOMY);
    }
}

fn assert_client_is_trusted(identity: &Identity) {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let server = server_given(identity, |builder| builder.set_versions(version, version));
        let (client, _server) = connected(&client_showing(identity), &server, ROOMY);
        drop(client);
    }
}

#[track_caller]
fn assert_server_is_refused(client: &TlsConfig, identity: &Identity, kind: TlsErrorKind, sentence: &str) {
    let (mut client, mut server) = peers(client, &server_config(identity, |_| {}), ROOMY);
    assert_fails(shake(&mut client, &mut server).0, kind, sentence);
}

#[track_caller]
fn assert_client_is_refused(server: &TlsConfig, identity: &Identity, kind: TlsErrorKind, sentence: &str) {
    let (mut client, mut server) = peers(&client_showing(identity), server, ROOMY);
    assert_fails(shake(&mut client, &mut server).1, kind, sentence);
}

#[test]
fn the_very_certificate_is_trusted_whether_a_ca_or_not() {
    let authority = Authority::new("a CA that is not given");
    let any_use = |params: &mut CertificateParams| params.extended_key_usages.clear();
    let leaf = authority.issue(&[NAME], any_use);
    let kinds = [IsCa::Ca(BasicConstraints::Unconstrained), IsCa::ExplicitNoCa, IsCa::NoCa];
    for identity in kinds.map(|is_ca| self_signed(|params| params.is_ca = is_ca)).iter().chain([&leaf]) {
        assert_server_is_trusted(identity);
        assert_client_is_trusted(identity);
    }
}

#[test]
fn another_certificate_of_the_same_name_is_refused() {
    let (given, other) = (self_signed(|_| {}), self_signed(|_| {}));
    let sentence = "is self-signed and is not the one of that name that is trusted here (CN=itself)";
    assert_server_is_refused(&client_given(&given, |_| {}), &other, TlsErrorKind::UnknownCa, sentence);
    assert_client_is_refused(&server_given(&given, |_| {}), &other, TlsErrorKind::UnknownCa, sentence);
    let not_a_ca = || self_signed(|params| params.is_ca = IsCa::NoCa);
    assert_server_is_refused(&client_given(&not_a_ca(), |_| {}), &not_a_ca(), TlsErrorKind::UnknownCa, sentence);
    let stranger = self_signed(|params| params.distinguished_name.push(DnType::CommonName, "a stranger"));
    let sentence = "is self-signed and is not trusted here (CN=a stranger): give that very certificate as a CA";
    assert_server_is_refused(&client_given(&given, |_| {}), &stranger, TlsErrorKind::UnknownCa, sentence);
}

#[test]
fn a_ca_that_was_renewed_is_another_one() {
    let (old, new) = (Authority::new("test CA"), Authority::new("test CA"));
    let sentence =
        "comes from a CA that is not trusted here (CN=test CA): a CA of that name is trusted, but has another key";
    let mut builder = TlsConfigBuilder::new(TlsRole::Client);
    builder.add_ca(old.pem.as_bytes()).expect("a CA");
    let client = builder.build().expect("settings");
    assert_server_is_refused(&client, &new.server(&[NAME]), TlsErrorKind::UnknownCa, sentence);
}

#[test]
fn a_given_certificate_that_is_not_a_ca_vouches_for_nobody() {
    let (given, issuer) = self_signed_with_key(|params| params.is_ca = IsCa::ExplicitNoCa);
    let below = vouched_for(&issuer);
    let sentence = "the certificate of CN=itself was given, but says that it is not a CA's (CA:FALSE)";
    assert_server_is_refused(&client_given(&given, |_| {}), &below, TlsErrorKind::UnknownCa, sentence);
    assert_client_is_refused(&server_given(&given, |_| {}), &below, TlsErrorKind::UnknownCa, sentence);
    // One that is not given as a CA's and one that is, together: both ways are open.
    let authority = Authority::new("test CA");
    let client = client_given(&given, |builder| builder.add_ca(authority.pem.as_bytes()).expect("a CA"));
    connected(&client, &server_config(&given, |_| {}), ROOMY);
    connected(&client, &server_config(&authority.server(&[NAME]), |_| {}), ROOMY);
}

/// Who holds the key of one peer that is trusted as itself must not be able to pose as another.
#[test]
fn a_given_certificate_without_the_right_to_sign_vouches_for_nobody() {
    let silent = |params: &mut CertificateParams| params.is_ca = IsCa::NoCa;
    let no_signer = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    };
    for change in [silent as fn(&mut CertificateParams), no_signer] {
        let (given, issuer) = self_signed_with_key(change);
        let below = vouched_for(&issuer);
        assert_server_is_refused(&client_given(&given, |_| {}), &below, TlsErrorKind::UnknownCa, "");
        assert_client_is_refused(&server_given(&given, |_| {}), &below, TlsErrorKind::UnknownCa, "");
    }
}

/// A CA with this key that is valid in this year alone, or now.
fn authority_in(key: &KeyPair, year: Option<i32>) -> Authority {
    let key = KeyPair::try_from(key.serialize_der().as_slice()).expect("a key");
    Authority::with(key, "test CA", |params| year.into_iter().for_each(|year| in_year(params, year)))
}

#[test]
fn a_ca_vouches_for_others_only_while_it_is_valid() {
    let key = KeyPair::generate().expect("a key");
    let now = authority_in(&key, None);
    let cases = [(2001, TlsErrorKind::CertificateExpired), (3001, TlsErrorKind::CertificateNotYetValid)];
    for (year, kind) in cases {
        let given = authority_in(&key, Some(year));
        let (server, client) = (given.server(&[NAME]), given.client("a client"));
        let sentence = "is vouched for by a CA's certificate that has expired or is not valid yet";
        let client_given = |authorities: &[&Authority]| {
            let mut builder = TlsConfigBuilder::new(TlsRole::Client);
            authorities.iter().for_each(|it| builder.add_ca(it.pem.as_bytes()).expect("a CA"));
            builder.build().expect("settings")
        };
        let server_given = |authorities: &[&Authority]| {
            server_config(&self_signed(|_| {}), |builder| {
                authorities.iter().for_each(|it| builder.add_ca(it.pem.as_bytes()).expect("a CA"));
                builder.set_client_auth(ClientAuth::Required);
            })
        };
        assert_server_is_refused(&client_given(&[&given]), &server, kind, sentence);
        assert_client_is_refused(&server_given(&[&given]), &client, kind, sentence);
        let stranger = Authority::new("another CA");
        assert_server_is_refused(&client_given(&[&stranger, &given]), &server, kind, sentence);
        // Another one with its name and its key, which is valid.
        for authorities in [[&given, &now], [&now, &given]] {
            connected(&client_given(&authorities), &server_config(&server, |_| {}), ROOMY);
            connected(&client_showing(&client), &server_given(&authorities), ROOMY);
        }
        // Trusted as itself, it needs nobody to vouch for it.
        let mut builder = TlsConfigBuilder::new(TlsRole::Client);
        builder.add_ca(given.pem.as_bytes()).expect("a CA");
        builder.add_ca(server.certificate.as_bytes()).expect("a certificate");
        connected(&builder.build().expect("settings"), &server_config(&server, |_| {}), ROOMY);
    }
}

#[test]
fn revocation_counts_where_one_of_two_cas_has_expired() {
    let key = KeyPair::generate().expect("a key");
    let (old, new) = (authority_in(&key, Some(2001)), authority_in(&key, None));
    let good = new.issue(&[NAME], |params| params.serial_number = Some(SerialNumber::from(8_u64)));
    let revoked = new.issue(&[NAME], |params| params.serial_number = Some(SerialNumber::from(7_u64)));
    let mut builder = TlsConfigBuilder::new(TlsRole::Client);
    [&old, &new].iter().for_each(|it| builder.add_ca(it.pem.as_bytes()).expect("a CA"));
    builder.add_crl(&new.revocation_list(&[7], 2400).1).expect("a list");
    let client = builder.build().expect("settings");
    connected(&client, &server_config(&good, |_| {}), ROOMY);
    assert_server_is_refused(&client, &revoked, TlsErrorKind::CertificateRevoked, "is revoked");
}

#[test]
fn a_given_certificate_that_does_not_clearly_say_that_it_is_a_ca_vouches_for_nobody() {
    let basic_constraints = |content: &[u8]| CustomExtension::from_oid_content(&[2, 5, 29, 19], content.to_vec());
    let (is_ca, unreadable) = ([0x30, 3, 1, 1, 0xff], [0x30, 3, 1, 9, 0xff]);
    for contents in [&[&is_ca[..], &is_ca][..], &[&unreadable], &[&[0x30, 0]]] {
        let (given, issuer) = self_signed_with_key(|params| {
            params.is_ca = IsCa::NoCa;
            params.custom_extensions = contents.iter().map(|content| basic_constraints(content)).collect();
        });
        let mut builder = TlsConfigBuilder::new(TlsRole::Client);
        builder.add_ca(Authority::new("another CA").pem.as_bytes()).expect("a CA");
        let is_repeated = contents.len() > 1;
        assert_eq!(builder.add_ca(given.certificate.as_bytes()).is_err(), is_repeated);
        let below = vouched_for(&issuer);
        assert_server_is_refused(&builder.build().expect("settings"), &below, TlsErrorKind::UnknownCa, "");
    }
}

#[test]
fn its_name_still_counts() {
    let nameless = self_signed(|params| params.subject_alt_names.clear());
    let sentence = "it has no subject alternative name at all, and a common name does not count";
    assert_server_is_refused(&client_given(&nameless, |_| {}), &nameless, TlsErrorKind::WrongName, sentence);
    let given = self_signed(|_| {});
    let (mut client, mut server) =
        peers_for(&client_given(&given, |_| {}), "other.example", &server_config(&given, |_| {}), ROOMY);
    let sentence = "is not for other.example, but for server.example";
    assert_fails(shake(&mut client, &mut server).0, TlsErrorKind::WrongName, sentence);
    // Nobody asks for a client's name.
    assert_client_is_trusted(&nameless);
}

#[test]
fn its_time_still_counts() {
    let cases = [
        (2001, TlsErrorKind::CertificateExpired, "expired at 2001-12-31"),
        (3001, TlsErrorKind::CertificateNotYetValid, "is valid from 3001-01-01"),
    ];
    for (year, kind, sentence) in cases {
        let identity = self_signed(|params| in_year(params, year));
        assert_server_is_refused(&client_given(&identity, |_| {}), &identity, kind, sentence);
        assert_client_is_refused(&server_given(&identity, |_| {}), &identity, kind, sentence);
    }
}

#[test]
fn its_uses_still_count() {
    let with_purpose = |purpose| self_signed(|params| params.extended_key_usages = vec![purpose]);
    let server = with_purpose(ExtendedKeyUsagePurpose::ServerAuth);
    let client = with_purpose(ExtendedKeyUsagePurpose::ClientAuth);
    let bad = TlsErrorKind::BadCertificate;
    assert_server_is_trusted(&server);
    assert_client_is_trusted(&client);
    let sentence = "may not be used for server authentication: its extended key usage does not have serverAuth";
    assert_server_is_refused(&client_given(&client, |_| {}), &client, bad, sentence);
    let sentence = "may not be used for client authentication: its extended key usage does not have clientAuth";
    assert_client_is_refused(&server_given(&server, |_| {}), &server, bad, sentence);

    let signs_alone = self_signed(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    let sentence = "may not be used for server authentication: its key usage does not have digitalSignature";
    assert_server_is_refused(&client_given(&signs_alone, |_| {}), &signs_alone, bad, sentence);
    let sentence = "may not be used for client authentication: its key usage does not have digitalSignature";
    assert_client_is_refused(&server_given(&signs_alone, |_| {}), &signs_alone, bad, sentence);
    let usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let signs_all = self_signed(|params| params.key_usages = usages);
    assert_server_is_trusted(&signs_all);
    assert_client_is_trusted(&signs_all);
}

/// A list of the certificate's own key.
fn own_list(issuer: &Issuer<'static, KeyPair>, serials: &[u64], until: i32) -> Vec<u8> {
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(until, 12, 31),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).expect("a list").der().to_vec()
}

#[test]
fn its_revocation_still_counts() {
    let (identity, issuer) = self_signed_with_key(|_| {});
    let (_, forger) = self_signed_with_key(|_| {});
    let authority = Authority::new("another CA");
    let cases = [
        (own_list(&issuer, &[7], 2400), TlsErrorKind::CertificateRevoked, "is revoked"),
        (own_list(&issuer, &[8], 2021), TlsErrorKind::RevocationListExpired, "expired at 2021-12-31"),
        (own_list(&forger, &[8], 2400), TlsErrorKind::RevocationUnknown, "no revocation list"),
        (authority.revocation_list(&[8], 2400).1, TlsErrorKind::RevocationUnknown, "no revocation list"),
    ];
    for (list, kind, sentence) in &cases {
        let refuse = |builder: &mut TlsConfigBuilder| builder.add_crl(list).expect("a list");
        assert_server_is_refused(&client_given(&identity, refuse), &identity, *kind, sentence);
        assert_client_is_refused(&server_given(&identity, refuse), &identity, *kind, sentence);
    }
    let taken: [(&[u8], bool); 2] = [(&own_list(&issuer, &[8], 2400), false), (&cases[3].0, true)];
    for (list, allow_unknown) in taken {
        let refuse = |builder: &mut TlsConfigBuilder| {
            builder.add_crl(list).expect("a list");
            builder.set_revocation(false, allow_unknown);
        };
        connected(&client_given(&identity, refuse), &server_config(&identity, |_| {}), ROOMY);
        connected(&client_showing(&identity), &server_given(&identity, refuse), ROOMY);
    }
}

#[test]
fn a_leaf_whose_ca_revoked_it_is_refused_although_it_was_given() {
    let authority = Authority::new("test CA");
    let leaf = authority.issue(&[NAME], |params| params.serial_number = Some(SerialNumber::from(7_u64)));
    let list = authority.revocation_list(&[7], 2400).1;
    for with_ca in [false, true] {
        let client = client_given(&leaf, |builder| {
            builder.add_crl(&list).expect("a list");
            if with_ca {
                builder.add_ca(authority.pem.as_bytes()).expect("a CA");
            }
        });
        assert_server_is_refused(&client, &leaf, TlsErrorKind::CertificateRevoked, "is revoked");
    }
}

/// Shows a certificate without having its key.
#[derive(Debug)]
struct Impostor(Arc<CertifiedKey>);

impl ResolvesServerCert for Impostor {
    fn resolve(&self, _hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

#[test]
fn who_shows_it_has_to_have_its_key() {
    let identity = self_signed(|_| {});
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_slice(self_signed(|_| {}).key.as_bytes()).expect("a key");
    let key = provider.key_provider.load_private_key(key).expect("a key");
    let shown = CertifiedKey::new(vec![CertificateDer::from(identity.certificate_der.clone())], key);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[version]);
        let resolver = Arc::new(Impostor(Arc::new(shown.clone())));
        let config = builder.expect("a version").with_no_client_auth().with_cert_resolver(resolver);
        let (mut client, mut server, mut end) = connect(&client_given(&identity, |_| {}), &Arc::new(config), ROOMY);
        let mut failure = None;
        until(|| {
            let _ = server.complete_io(&mut end);
            failure = client.handshake().err();
            failure.is_some()
        });
        let sentence = "the server's certificate, or one that vouches for it, has a signature that is wrong";
        assert_fails::<()>(Err(failure.expect("an impostor")), TlsErrorKind::BadCertificate, sentence);
    }
}
