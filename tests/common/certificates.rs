//! Certificates and keys, which every test that needs them makes: none are stored.
#![allow(dead_code, reason = "each test uses a part of it")]

use base64::Engine;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, SigningKey, date_time_ymd,
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
        Authority::with(KeyPair::generate().expect("a key"), name, |_| {})
    }

    /// An authority with this key, which `change` makes into another.
    pub fn with(key: KeyPair, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Authority {
        let mut params = authority_params(name);
        change(&mut params);
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

/// A certificate with other fields in it, signed anew with `key`: ECDSA on P-256.
pub fn resigned(certificate: &[u8], key: &KeyPair, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    let (_, parts, _) = element(certificate);
    let (_, fields, rest) = element(parts);
    let (_, _, signature) = element(rest);
    let method = &rest[..rest.len() - signature.len()];
    let mut fields = elements(fields);
    change(&mut fields);
    let to_sign = der(0x30, &fields.concat());
    let signature = [&[0][..], &key.sign(&to_sign).expect("a signature")].concat();
    der(0x30, &[&to_sign, method, &der(3, &signature)].concat())
}

/// A certificate for servers that is signed with its own key, as `openssl req -x509` makes it, which `change` makes into
/// something else.
pub fn self_signed(key: KeyPair, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names and addresses");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    let certificate = params.self_signed(&key).expect("a certificate");
    Identity {
        certificate: certificate.pem(),
        certificate_der: certificate.der().to_vec(),
        key: key.serialize_pem(),
        key_der: key.serialize_der(),
    }
}

/// A self-signed certificate of version 1, which has no extensions.
pub fn version_1(name: &str) -> Identity {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let certificate_der = resigned(certificate.der(), &key, |fields| {
        fields.remove(0);
        fields.pop();
    });
    Identity {
        certificate: pem("CERTIFICATE", &certificate_der),
        certificate_der,
        key: key.serialize_pem(),
        key_der: key.serialize_der(),
    }
}

/// An element of DER.
pub fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = (content.len() as u32).to_be_bytes();
    let digits = &len[len.iter().position(|digit| *digit != 0).unwrap_or(3)..];
    match content.len() {
        0..0x80 => [&[tag, content.len() as u8], content].concat(),
        _ => [&[tag, 0x80 | digits.len() as u8], digits, content].concat(),
    }
}

fn elements(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let rest = element(bytes).2;
        found.push(bytes[..bytes.len() - rest.len()].to_vec());
        bytes = rest;
    }
    found
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
