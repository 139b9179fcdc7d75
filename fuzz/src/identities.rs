//! Certificates and keys, made anew by each process: none is stored.

use std::sync::OnceLock;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

pub const NAME: &str = "server.example";

/// PEM and DER of the same.
pub struct Both {
    pub pem: Vec<u8>,
    pub der: Vec<u8>,
}

pub struct Identities {
    pub authority: Both,
    pub certificate: Both,
    pub key: Both,
    /// The key of nobody here.
    pub other_key: Both,
    pub revocation_list: Both,
}

pub fn identities() -> &'static Identities {
    static MADE: OnceLock<Identities> = OnceLock::new();
    MADE.get_or_init(make)
}

fn make() -> Identities {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names to be wrong");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("a certificate");
    let issuer = Issuer::new(params, key);

    let mut params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let (key, other_key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");

    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(7_u64),
        revocation_time: date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2090, 12, 31),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&issuer).expect("a list");
    let key_of = |key: &KeyPair| Both { pem: key.serialize_pem().into(), der: key.serialize_der() };
    Identities {
        authority: Both { pem: authority.pem().into(), der: authority.der().to_vec() },
        certificate: Both { pem: certificate.pem().into(), der: certificate.der().to_vec() },
        key: key_of(&key),
        other_key: key_of(&other_key),
        revocation_list: Both { pem: list.pem().expect("PEM").into(), der: list.der().to_vec() },
    }
}
