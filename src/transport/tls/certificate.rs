//! What a certificate says of itself, for decisions and for sentences.

use rustls::pki_types::UnixTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

use super::{der, keys};

/// Peers and the verifier take no longer ones.
pub const MAX_LEN: usize = 65_535;
/// Text that a peer chose is cut after so many characters.
const MAX_TEXT: usize = 120;
/// Extensions 2.5.29.x that are known where they are critical: key usage, subject alternative name, basic constraints, name
/// constraints, distribution points of revocation lists, extended key usage.
const KNOWN_CRITICAL: [u8; 6] = [15, 17, 19, 30, 31, 37];
const STANDARD_EXTENSIONS: [u8; 2] = [0x55, 0x1d];

/// What a peer's certificate is to be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    Server,
    Client,
}

/// A certificate that can be read.
pub struct Certificate<'a> {
    parsed: X509Certificate<'a>,
}

impl<'a> Certificate<'a> {
    pub fn parse(der: &'a [u8]) -> Option<Certificate<'a>> {
        match X509Certificate::from_der(der) {
            Ok((&[], parsed)) => Some(Certificate { parsed }),
            _ => None,
        }
    }

    pub fn is_version_3(&self) -> bool {
        self.parsed.version() == X509Version::V3
    }

    /// DER, with its tag and length, as `issuer`.
    pub fn subject(&self) -> &'a [u8] {
        self.parsed.tbs_certificate.subject.as_raw()
    }

    pub fn issuer(&self) -> &'a [u8] {
        self.parsed.tbs_certificate.issuer.as_raw()
    }

    pub fn issuer_text(&self) -> String {
        printable(&self.parsed.issuer().to_string())
    }

    pub fn serial(&self) -> &'a [u8] {
        self.parsed.raw_serial()
    }

    /// SubjectPublicKeyInfo.
    pub fn key_info(&self) -> &'a [u8] {
        self.parsed.tbs_certificate.subject_pki.raw
    }

    /// The kind of its key, if that cannot be used.
    pub fn unusable_key(&self) -> Option<String> {
        keys::public(self.key_info()).filter(|kind| !kind.is_usable).map(|kind| kind.name)
    }

    /// The method of its signature, if that is one that is not accepted.
    pub fn refused_signature(&self) -> Option<String> {
        let identifier = self.parsed.signature_algorithm.algorithm.as_bytes();
        match SIGNATURES.iter().find(|(known, ..)| *known == identifier) {
            Some((.., true)) => None,
            Some((_, name, false)) => Some((*name).to_owned()),
            None => Some(format!("the method {}", der::identifier_text(identifier))),
        }
    }

    pub fn not_before(&self) -> UnixTime {
        unix_time(self.parsed.validity().not_before.timestamp())
    }

    pub fn not_after(&self) -> UnixTime {
        unix_time(self.parsed.validity().not_after.timestamp())
    }

    /// What it says of being a CA's; nothing if it does not mention that.
    pub fn is_ca(&self) -> Option<bool> {
        self.parsed.basic_constraints().ok().flatten().map(|constraints| constraints.value.ca)
    }

    /// Whether it may vouch for others: it is a CA's and its key may sign certificates (RFC 5280, 4.2.1.3 and 4.2.1.9), or it
    /// is of version 1, which can say neither.
    pub fn may_vouch(&self) -> bool {
        let may_sign = match self.parsed.key_usage() {
            Ok(None) => true,
            Ok(Some(key_usage)) => key_usage.value.key_cert_sign(),
            Err(_) => false,
        };
        !self.is_version_3() || self.is_ca() == Some(true) && may_sign
    }

    /// Whether the extended key usage allows that; without this extension everything is allowed.
    pub fn has_purpose(&self, usage: Usage) -> bool {
        match self.parsed.extended_key_usage() {
            Ok(None) => true,
            Ok(Some(purposes)) => match usage {
                Usage::Server => purposes.value.server_auth,
                Usage::Client => purposes.value.client_auth,
            },
            Err(_) => false,
        }
    }

    /// Whether the key usage allows that, by the rule of OpenSSL; without this extension everything is allowed.
    pub fn key_may_be_used(&self, usage: Usage) -> bool {
        match self.parsed.key_usage() {
            Ok(None) => true,
            Ok(Some(key_usage)) => {
                let key_usage = key_usage.value;
                let agrees = key_usage.digital_signature() || key_usage.key_agreement();
                agrees || usage == Usage::Server && key_usage.key_encipherment()
            }
            Err(_) => false,
        }
    }

    fn unknown_critical_extension(&self) -> Option<String> {
        let is_unknown = |identifier: &[u8]| match identifier.strip_prefix(&STANDARD_EXTENSIONS) {
            Some([last]) => !KNOWN_CRITICAL.contains(last),
            _ => true,
        };
        let extensions = self.parsed.iter_extensions();
        let mut unknown = extensions.filter(|extension| extension.critical && is_unknown(extension.oid.as_bytes()));
        unknown.next().map(|extension| der::identifier_text(extension.oid.as_bytes()))
    }
}

/// Methods of signatures, and whether they are accepted. The last bytes distinguish the methods of RSA and ECDSA.
const SIGNATURES: &[(&[u8], &str, bool)] = &[
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4], "MD5 with RSA", false),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5], "SHA-1 with RSA", false),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 14], "SHA-224 with RSA", false),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10], "RSASSA-PSS", true),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11], "SHA-256 with RSA", true),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12], "SHA-384 with RSA", true),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13], "SHA-512 with RSA", true),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1], "SHA-1 with ECDSA", false),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 1], "SHA-224 with ECDSA", false),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], "SHA-256 with ECDSA", true),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3], "SHA-384 with ECDSA", true),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4], "SHA-512 with ECDSA", true),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 3], "SHA-1 with DSA", false),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 2], "SHA-256 with DSA", false),
    (&[0x2b, 0x65, 0x70], "Ed25519", true),
    (&[0x2b, 0x65, 0x71], "Ed448", false),
];

/// What keeps a certificate from being used at all as a peer's, as the end of "the certificate ...": what it is and what to do.
pub fn obstacle(der: &[u8]) -> Option<String> {
    if let Some(length) = excess_length(der) {
        return Some(length);
    }
    let Some(certificate) = Certificate::parse(der) else { return Some(unreadable(der)) };
    if !certificate.is_version_3() {
        let version = certificate.parsed.version().0 + 1;
        return Some(format!(
            "is of version {version}, which cannot say what names and uses it is for: have one of version 3 made, with a \
             subject alternative name"
        ));
    }
    if let Some(extension) = certificate.unknown_critical_extension() {
        return Some(format!(
            "has the extension {extension}, which is marked critical and not known here: have one made without it, or \
             where it is not critical"
        ));
    }
    let tbs = &certificate.parsed.tbs_certificate;
    if tbs.issuer_uid.is_some() || tbs.subject_uid.is_some() {
        return Some(
            "has a unique identifier of its issuer or subject, which is obsolete: have one made without".to_owned(),
        );
    }
    None
}

/// The end of "the certificate ..." for one that is too long.
pub fn excess_length(der: &[u8]) -> Option<String> {
    let is_too_long = der.len() > MAX_LEN;
    is_too_long.then(|| format!("is {} bytes long, which is more than the {MAX_LEN} that can be used", der.len()))
}

/// The end of "the certificate ..." for bytes that are none.
pub fn unreadable(der: &[u8]) -> String {
    match der::fault(der) {
        Some(offset) => format!("is damaged: {}", der::fault_text(offset)),
        None => "is damaged: it is DER, but does not have the parts of a certificate".to_owned(),
    }
}

pub fn unix_time(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds.try_into().unwrap_or(0)))
}

/// Text out of a certificate, without what could disturb a log.
fn printable(text: &str) -> String {
    let clean: String = text.chars().take(MAX_TEXT).map(|c| if c.is_control() { '?' } else { c }).collect();
    if clean.len() < text.len() && text.chars().nth(MAX_TEXT).is_some() { clean + "..." } else { clean }
}
