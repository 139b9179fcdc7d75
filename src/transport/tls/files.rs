//! Certificates and keys out of files and memory, PEM or DER.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::certificate::Certificate;
use super::pem::{self, Section};
use super::{der, formats};
use crate::transport::{Error, ErrorKind, TlsErrorKind};

/// With data of OpenSSL's behind the certificate.
const TRUSTED_CERTIFICATE: &str = "TRUSTED CERTIFICATE";
const CERTIFICATE_LABELS: [&str; 3] = ["CERTIFICATE", "X509 CERTIFICATE", TRUSTED_CERTIFICATE];
const REVOCATION_LIST_LABELS: [&str; 1] = ["X509 CRL"];
/// The beginnings of the object identifiers of password-based encryption: PKCS#5 and PKCS#12.
const DER_ENCRYPTION: [&[u8]; 2] =
    [&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5], &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12]];
const ENCRYPTED: &str = "is encrypted; decrypt it first, for example with openssl pkey";

/// A file's content; the error names the file.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let content = match fs::read(path) {
        // Windows says of a folder only that access is denied.
        Err(_) if path.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        content => content,
    };
    content.map_err(|error| Error::from_io(&format!("reading {}", path.display()), &error, ErrorKind::Io))
}

/// What is looked for in a file.
struct Wanted {
    labels: &'static [&'static str],
    /// In sentences.
    name: &'static str,
    missing: TlsErrorKind,
    damaged: TlsErrorKind,
}

const CERTIFICATES: Wanted = Wanted {
    labels: &CERTIFICATE_LABELS,
    name: "certificate",
    missing: TlsErrorKind::NoCertificate,
    damaged: TlsErrorKind::BadCertificate,
};

const REVOCATION_LISTS: Wanted = Wanted {
    labels: &REVOCATION_LIST_LABELS,
    name: "certificate revocation list",
    missing: TlsErrorKind::BadRevocationList,
    damaged: TlsErrorKind::BadRevocationList,
};

/// The certificates in `bytes`, at least one. `source` names the bytes in errors.
pub fn certificates(bytes: &[u8], source: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    Ok(CERTIFICATES.find(bytes, source)?.into_iter().map(CertificateDer::from).collect())
}

/// The certificate revocation lists in `bytes`, at least one. `source` names the bytes in errors.
pub fn revocation_lists(bytes: &[u8], source: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    Ok(REVOCATION_LISTS.find(bytes, source)?.into_iter().map(CertificateRevocationListDer::from).collect())
}

impl Wanted {
    /// All that `bytes` hold of what is wanted, at least one, each in DER.
    fn find(&self, bytes: &[u8], source: &str) -> Result<Vec<Vec<u8>>, Error> {
        let sections = pem::sections(bytes);
        if sections.is_empty() { self.find_der(bytes, source) } else { self.find_pem(sections, source) }
    }

    fn find_pem(&self, sections: Vec<Section>, source: &str) -> Result<Vec<Vec<u8>>, Error> {
        let (wanted, others): (Vec<_>, Vec<_>) =
            sections.into_iter().partition(|section| self.labels.contains(&section.label.as_str()));
        if wanted.is_empty() {
            let sentence = match others.iter().find_map(|section| formats::describe_section(&section.label)) {
                Some(what) => format!("{source} {what}"),
                None => {
                    let labels = labels(&others);
                    format!("{source} is PEM, but holds no {} (section {}), only {labels}", self.name, self.labels[0])
                }
            };
            return Err(failed(self.missing, sentence));
        }
        // Other sections, such as the key, may be damaged.
        let contents = wanted.into_iter().enumerate().map(|(index, section)| {
            let is_trusted = section.label == TRUSTED_CERTIFICATE;
            let content = section.content.map_err(|fault| {
                let (pem::Fault { what, offset, line }, number) = (fault, index + 1);
                let name = self.name;
                let sentence = format!("{name} {number} of {source} is damaged at byte {offset} (line {line}): {what}");
                failed(self.damaged, sentence)
            })?;
            Ok(match der::read(&content) {
                Some((certificate, _)) if is_trusted => certificate.whole.to_vec(),
                _ => content,
            })
        });
        contents.collect()
    }

    /// One or several, one behind the other.
    fn find_der(&self, bytes: &[u8], source: &str) -> Result<Vec<Vec<u8>>, Error> {
        if let Some(what) = formats::describe(bytes) {
            return Err(failed(self.missing, format!("{source} {what}")));
        }
        if bytes.first() != Some(&der::SEQUENCE) {
            let sentence = format!("{source} holds no {}, neither PEM nor DER", self.name);
            return Err(failed(self.missing, sentence));
        }
        let found: Vec<_> = der::elements(bytes).map(|element| element.whole.to_vec()).collect();
        let len: usize = found.iter().map(Vec::len).sum();
        if len < bytes.len() {
            let (name, total) = (self.name, bytes.len());
            let sentence = format!(
                "{source} is damaged: the element of DER that begins at byte {len} does not end with the {total} bytes that \
                 are there; it holds no whole {name} from there on"
            );
            return Err(failed(self.damaged, sentence));
        }
        Ok(found)
    }
}

fn labels(sections: &[Section]) -> String {
    let labels: BTreeSet<_> = sections.iter().map(|section| section.label.as_str()).collect();
    labels.into_iter().collect::<Vec<_>>().join(", ")
}

fn failed(kind: TlsErrorKind, sentence: String) -> Error {
    Error::new(ErrorKind::Tls(kind), sentence)
}

/// The certificates of the files in a folder, at least one. Files that hold none are passed over, as OpenSSL does.
pub fn certificates_of_folder(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let failed = |error| Error::from_io(&format!("reading the folder {}", path.display()), &error, ErrorKind::Io);
    // By content: the links with hashed names, which OpenSSL makes, lead to each certificate once more.
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        // Links that lead nowhere are common in such folders.
        if !fs::metadata(&file).is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        let content = read(&file)?;
        found.extend(certificates(&content, "").unwrap_or_default().into_iter().map(|der| der.to_vec()));
    }
    if found.is_empty() {
        let sentence = format!("no file in the folder {} holds a certificate", path.display());
        return Err(Error::new(ErrorKind::Tls(TlsErrorKind::NoCertificate), sentence));
    }
    Ok(found.into_iter().map(CertificateDer::from).collect())
}

/// The first private key in `bytes`: PKCS#8, PKCS#1 or SEC1. `source` names the bytes in errors.
pub fn private_key(bytes: &[u8], source: &str) -> Result<PrivateKeyDer<'static>, Error> {
    let sections = pem::sections(bytes);
    if sections.is_empty() { key_of_der(bytes, source) } else { key_of_pem(sections, source) }
}

fn key_of_pem(sections: Vec<Section>, source: &str) -> Result<PrivateKeyDer<'static>, Error> {
    let is_key = |section: &Section| section.label.ends_with("PRIVATE KEY");
    let others = labels(&sections);
    let described = sections.iter().find_map(|section| formats::describe_section(&section.label));
    let bad = |what: String| failed(TlsErrorKind::BadKey, format!("{source} {what}"));
    let Some(section) = sections.into_iter().find(is_key) else {
        return Err(bad(match described {
            Some(what) => what.to_owned(),
            None => format!("is PEM, but holds no private key (section PRIVATE KEY), only {others}"),
        }));
    };
    if section.is_encrypted || section.label == "ENCRYPTED PRIVATE KEY" {
        return Err(failed(TlsErrorKind::KeyEncrypted, format!("{source} {ENCRYPTED}")));
    }
    let kind = section.label;
    let content = section.content.map_err(|fault| {
        let pem::Fault { what, offset, line } = fault;
        bad(format!("holds a private key that is damaged at byte {offset} (line {line}): {what}"))
    })?;
    match kind.as_str() {
        "PRIVATE KEY" => Ok(PrivateKeyDer::Pkcs8(content.into())),
        "RSA PRIVATE KEY" => Ok(PrivateKeyDer::Pkcs1(content.into())),
        "EC PRIVATE KEY" => Ok(PrivateKeyDer::Sec1(content.into())),
        label => Err(bad(match formats::describe_section(label) {
            Some(what) => what.to_owned(),
            None => format!("holds a private key in the section {label}, which is not known: convert it to PKCS#8"),
        })),
    }
}

fn key_of_der(bytes: &[u8], source: &str) -> Result<PrivateKeyDer<'static>, Error> {
    if is_encrypted_der(bytes).unwrap_or(false) {
        return Err(failed(TlsErrorKind::KeyEncrypted, format!("{source} {ENCRYPTED}")));
    }
    let what = match formats::describe(bytes) {
        Some(what) if what != formats::PRIVATE_KEY => what,
        _ => match PrivateKeyDer::try_from(bytes.to_vec()) {
            Ok(key) => return Ok(key),
            Err(_) if Certificate::parse(bytes).is_some() => "is a certificate, not a private key",
            Err(_) => "holds no private key, neither PEM nor DER (PKCS#8, PKCS#1, SEC1)",
        },
    };
    Err(failed(TlsErrorKind::BadKey, format!("{source} {what}")))
}

/// EncryptedPrivateKeyInfo: a sequence that begins with a sequence that begins with the method's identifier.
fn is_encrypted_der(bytes: &[u8]) -> Option<bool> {
    let method = der::lenient_contents(der::lenient_contents(bytes)?)?;
    let (identifier, _) = der::expect(method, der::OBJECT_IDENTIFIER)?;
    Some(DER_ENCRYPTION.iter().any(|known| identifier.starts_with(known)))
}
