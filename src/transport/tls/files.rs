//! Certificates and keys out of files and memory, PEM or DER.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::transport::{Error, ErrorKind, TlsErrorKind};

const PEM_MARK: &[u8] = b"-----BEGIN ";
const PEM_CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
const PEM_REVOCATION_LIST: &[u8] = b"-----BEGIN X509 CRL-----";
/// PKCS#8 and the older form of OpenSSL.
const PEM_ENCRYPTED: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];
/// The beginnings of the object identifiers of password-based encryption: PKCS#5 and PKCS#12.
const DER_ENCRYPTION: [&[u8]; 2] =
    [&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5], &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12]];
const DER_SEQUENCE: u8 = 0x30;
const DER_OBJECT_IDENTIFIER: u8 = 0x06;

/// A file's content; the error names the file.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| Error::from_io(&format!("reading {}", path.display()), &error, ErrorKind::Io))
}

/// The certificates in `bytes`, at least one. `source` names the bytes in errors.
pub fn certificates(bytes: &[u8], source: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    if !contains(bytes, PEM_MARK) {
        return if bytes.first() == Some(&DER_SEQUENCE) {
            Ok(vec![CertificateDer::from(bytes.to_vec())])
        } else {
            let kind = ErrorKind::Tls(TlsErrorKind::NoCertificate);
            Err(Error::new(kind, format!("{source} holds no certificate, neither PEM nor DER")))
        };
    }
    let begun = bytes.windows(PEM_CERTIFICATE.len()).filter(|window| *window == PEM_CERTIFICATE).count();
    if begun == 0 {
        let kind = ErrorKind::Tls(TlsErrorKind::NoCertificate);
        return Err(Error::new(kind, format!("{source} is PEM, but holds no section CERTIFICATE")));
    }
    // Other sections, such as the key, may be damaged or in a form that the parser does not know.
    let found: Vec<_> = CertificateDer::pem_slice_iter(bytes).filter_map(Result::ok).collect();
    if found.len() < begun {
        let sentence = format!("{source} begins {begun} certificates, but only {} are well-formed PEM", found.len());
        return Err(Error::new(ErrorKind::Tls(TlsErrorKind::BadCertificate), sentence));
    }
    Ok(found)
}

/// The certificate revocation lists in `bytes`, at least one. `source` names the bytes in errors.
pub fn revocation_lists(bytes: &[u8], source: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    let failed = |what: String| Err(Error::new(ErrorKind::Tls(TlsErrorKind::BadRevocationList), what));
    if !contains(bytes, PEM_MARK) {
        return if bytes.first() == Some(&DER_SEQUENCE) {
            Ok(vec![CertificateRevocationListDer::from(bytes.to_vec())])
        } else {
            failed(format!("{source} holds no certificate revocation list, neither PEM nor DER"))
        };
    }
    let begun = bytes.windows(PEM_REVOCATION_LIST.len()).filter(|window| *window == PEM_REVOCATION_LIST).count();
    let found: Vec<_> = CertificateRevocationListDer::pem_slice_iter(bytes).filter_map(Result::ok).collect();
    if begun == 0 {
        return failed(format!("{source} is PEM, but holds no section X509 CRL"));
    }
    if found.len() < begun {
        let well = found.len();
        return failed(format!("{source} begins {begun} revocation lists, but only {well} are well-formed PEM"));
    }
    Ok(found)
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
    let failed = |kind, what: &str| Err(Error::new(ErrorKind::Tls(kind), format!("{source} {what}")));
    let is_pem = contains(bytes, PEM_MARK);
    let key =
        if is_pem { PrivateKeyDer::from_pem_slice(bytes).ok() } else { PrivateKeyDer::try_from(bytes.to_vec()).ok() };
    match key {
        Some(key) => Ok(key),
        None if is_encrypted(bytes) => {
            failed(TlsErrorKind::KeyEncrypted, "is encrypted; decrypt it first, such as with openssl pkey")
        }
        None if is_pem => failed(TlsErrorKind::BadKey, "holds no well-formed private key in PEM"),
        None => failed(TlsErrorKind::BadKey, "holds no private key, neither PEM nor DER (PKCS#8, PKCS#1, SEC1)"),
    }
}

fn is_encrypted(bytes: &[u8]) -> bool {
    PEM_ENCRYPTED.iter().any(|mark| contains(bytes, mark)) || is_encrypted_der(bytes).unwrap_or(false)
}

/// EncryptedPrivateKeyInfo: a sequence that begins with a sequence that begins with the method's identifier.
fn is_encrypted_der(bytes: &[u8]) -> Option<bool> {
    let method = contents(contents(bytes, DER_SEQUENCE)?, DER_SEQUENCE)?;
    let identifier = contents(method, DER_OBJECT_IDENTIFIER)?;
    Some(DER_ENCRYPTION.iter().any(|known| identifier.starts_with(known)))
}

/// What follows the tag and the length of a DER element.
fn contents(der: &[u8], expected_tag: u8) -> Option<&[u8]> {
    let (&[tag, length], rest) = der.split_first_chunk::<2>()?;
    let length_bytes = if length < 0x80 { 0 } else { usize::from(length & 0x7f) };
    if tag == expected_tag { rest.get(length_bytes..) } else { None }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
