//! Certificates and keys, which every test that needs them makes: none are stored.
#![allow(dead_code, reason = "each test uses a part of it")]

use base64::Engine;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

/// A certificate authority.
pub struct Authority {
    pub pem: String,
    pub der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, PEM.
pub struct Identity {
    pub certificate: String,
    pub certificate_der: Vec<u8>,
    pub key: String,
    pub key_der: Vec<u8>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let params = authority_params(name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let (pem, der) = (certificate.pem(), certificate.der().to_vec());
        Authority { pem, der, issuer: Issuer::new(params, key) }
    }

    /// An authority that this one vouches for, with this serial number.
    pub fn intermediate(&self, name: &str, serial: u64) -> Authority {
        let mut params = authority_params(name);
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let (pem, der) = (certificate.pem(), certificate.der().to_vec());
        Authority { pem, der, issuer: Issuer::new(params, key) }
    }

    /// A revocation list, PEM and DER, that holds until the end of that year.
    pub fn revocation_list(&self, serials: &[u64], until: i32) -> (String, Vec<u8>) {
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
        let list = params.signed_by(&self.issuer).expect("a list");
        (list.pem().expect("PEM"), list.der().to_vec())
    }

    /// A server's certificate for these names and addresses.
    pub fn server(&self, names: &[&str]) -> Identity {
        self.issue(names, |_| {})
    }

    /// A client's certificate.
    pub fn client(&self, name: &str) -> Identity {
        self.issue(&[], |params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    /// A certificate for servers, which `change` makes into something else.
    pub fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        self.issue_for(KeyPair::generate().expect("a key"), names, change)
    }

    pub fn issue_for(&self, key: KeyPair, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names and addresses");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            certificate: certificate.pem(),
            certificate_der: certificate.der().to_vec(),
            key: key.serialize_pem(),
            key_der: key.serialize_der(),
        }
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names to be wrong");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Valid only in `year`.
pub fn in_year(params: &mut CertificateParams, year: i32) {
    params.not_before = date_time_ymd(year, 1, 1);
    params.not_after = date_time_ymd(year, 12, 31);
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The key inside PKCS#8, which is in the older form of its kind: PKCS#1 (RSA) or SEC1 (elliptic curves).
pub fn older_form(pkcs8: &[u8]) -> Vec<u8> {
    let (_, inside, _) = element(pkcs8);
    let (_, _version, rest) = element(inside);
    let (_, _algorithm, rest) = element(rest);
    let (tag, key, _) = element(rest);
    assert_eq!(tag, 4, "an octet string");
    key.to_vec()
}

/// Tag, content, and rest of the first DER element.
fn element(der: &[u8]) -> (u8, &[u8], &[u8]) {
    let (tag, first) = (der[0], usize::from(der[1]));
    let length_bytes = if first < 0x80 { 0 } else { first & 0x7f };
    let length = match length_bytes {
        0 => first,
        _ => der[2..2 + length_bytes].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
    };
    let (content, rest) = der[2 + length_bytes..].split_at(length);
    (tag, content, rest)
}

/// What an encrypted PKCS#8 key begins with (PBES2 of PKCS#5); its content is nothing.
pub fn encrypted_pkcs8() -> Vec<u8> {
    let method = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
    let mut der = vec![0x30, 0x11, 0x30, 0x0b];
    der.extend(method);
    der.extend([0x04, 0x02, 0, 0]);
    der
}
