//! Certificate revocation lists: which there are, and how strictly they are applied.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use rustls::client::{ServerCertVerifierBuilder, VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateRevocationListDer, Der, TrustAnchor, UnixTime};
use rustls::server::ClientCertVerifierBuilder;
use rustls::{CertRevocationListError, RootCertStore};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::certificate::{Certificate, unix_time};
use super::wording::words;
use super::{der, files};
use crate::transport::{Error, ErrorKind, TlsErrorKind};

/// Lists that peers' certificates must not be on. A list whose time is over is not believed.
#[derive(Clone, Default)]
pub struct Revocation {
    lists: Vec<CertificateRevocationListDer<'static>>,
    leaf_only: bool,
    allow_unknown: bool,
}

impl Revocation {
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    pub fn add_file(&mut self, path: &Path, provider: &Arc<CryptoProvider>) -> Result<(), Error> {
        self.add(&files::read(path)?, &path.display().to_string(), provider)
    }

    /// PEM or DER. `source` names the bytes in errors.
    pub fn add(&mut self, bytes: &[u8], source: &str, provider: &Arc<CryptoProvider>) -> Result<(), Error> {
        let found = files::revocation_lists(bytes, source)?;
        for (index, list) in found.iter().enumerate() {
            check(list, provider).map_err(|reason| {
                let sentence = format!("revocation list {} of {source} cannot be used: {reason}", index + 1);
                Error::new(ErrorKind::Tls(TlsErrorKind::BadRevocationList), sentence)
            })?;
        }
        self.lists.extend(found);
        Ok(())
    }

    pub fn set_policy(&mut self, leaf_only: bool, allow_unknown: bool) {
        (self.leaf_only, self.allow_unknown) = (leaf_only, allow_unknown);
    }

    /// For the certificates of servers.
    pub fn apply_to_servers(&self, verifier: ServerCertVerifierBuilder) -> ServerCertVerifierBuilder {
        let mut verifier = verifier.with_crls(self.lists.clone()).enforce_revocation_expiration();
        if self.leaf_only {
            verifier = verifier.only_check_end_entity_revocation();
        }
        if self.allow_unknown { verifier.allow_unknown_revocation_status() } else { verifier }
    }

    /// For the certificates of clients.
    pub fn apply_to_clients(&self, verifier: ClientCertVerifierBuilder) -> ClientCertVerifierBuilder {
        let mut verifier = verifier.with_crls(self.lists.clone()).enforce_revocation_expiration();
        if self.leaf_only {
            verifier = verifier.only_check_end_entity_revocation();
        }
        if self.allow_unknown { verifier.allow_unknown_revocation_status() } else { verifier }
    }

    /// Whether a certificate that no list speaks of is good.
    pub fn allows_unknown(&self) -> bool {
        self.lists.is_empty() || self.allow_unknown
    }

    /// What the lists say of certificates that are trusted as themselves, in the order of `certificates`. A list that has one
    /// of them counts in any case; one that has it not counts if it is signed with the key of one of `certificates`.
    pub fn standings(&self, certificates: &[Certificate<'_>], provider: &CryptoProvider) -> Vec<Standing> {
        let mut standings: Vec<_> = certificates.iter().map(|_| Standing::default()).collect();
        for list in &self.lists {
            // The verifier of chains took it.
            let Ok((_, parsed)) = CertificateRevocationList::from_der(list) else { continue };
            let issuer = parsed.issuer().as_raw();
            let revoked: HashSet<_> =
                parsed.iter_revoked_certificates().map(|revoked| revoked.raw_serial().to_vec()).collect();
            let mut issuers = certificates.iter().filter(|certificate| certificate.subject() == issuer);
            // A list for a part of a CA's certificates, as its extension says, says nothing of those that are not on it.
            let is_whole =
                !parsed.extensions().iter().any(|extension| extension.oid.as_bytes() == ISSUING_DISTRIBUTION_POINT);
            let is_sound = is_whole && issuers.any(|issuer| is_signed_by(list, issuer.key_info(), provider));
            let end = parsed.next_update().map(|time| unix_time(time.timestamp())).filter(|_| is_sound);
            for (standing, certificate) in standings.iter_mut().zip(certificates) {
                if certificate.issuer() == issuer {
                    standing.is_revoked |= revoked.contains(certificate.serial());
                    standing.good_until = standing.good_until.max(end);
                }
            }
        }
        standings
    }
}

/// What revocation lists say of a certificate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    pub is_revoked: bool,
    /// The end of the last list that could have it and has not.
    pub good_until: Option<UnixTime>,
}

/// 2.5.29.28.
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];

/// Whether a list has a good signature of the key in a SubjectPublicKeyInfo.
fn is_signed_by(list: &[u8], key_info: &[u8], provider: &CryptoProvider) -> bool {
    let check = || {
        let (fields, _) = der::expect(list, der::SEQUENCE)?;
        let (signed, rest) = der::read(fields)?;
        let (method, rest) = der::expect(rest, der::SEQUENCE)?;
        let (signature, _) = der::expect(rest, der::BIT_STRING)?;
        let (key_algorithm, rest) = der::expect(der::expect(key_info, der::SEQUENCE)?.0, der::SEQUENCE)?;
        let (key, _) = der::expect(rest, der::BIT_STRING)?;
        // The first byte counts the bits at the end that are not used: none.
        let (signature, key) = (signature.get(1..)?, key.get(1..)?);
        let mut algorithms = provider.signature_verification_algorithms.all.iter();
        Some(algorithms.any(|algorithm| {
            algorithm.signature_alg_id().as_ref() == method
                && algorithm.public_key_alg_id().as_ref() == key_algorithm
                && algorithm.verify_signature(key, signed.whole, signature).is_ok()
        }))
    };
    check().unwrap_or(false)
}

/// What is wrong with a revocation list, as the end of "the list ...".
pub fn explain_list(reason: &CertRevocationListError) -> String {
    use CertRevocationListError as Reason;
    let what = match reason {
        Reason::BadSignature => "has a signature that its CA did not make",
        Reason::InvalidCrlNumber => "has a list number (crlNumber) that is not valid",
        Reason::InvalidRevokedCertSerialNumber => "has a serial number that is not valid",
        Reason::IssuerInvalidForCrl => "comes from a CA whose key usage does not allow that (cRLSign)",
        Reason::ParseError => {
            "is damaged, is of version 1 (without extensions), or has no time at which the next one comes (nextUpdate)"
        }
        Reason::UnsupportedCrlVersion => "is not of version 2",
        Reason::UnsupportedCriticalExtension => "has an extension that is marked critical and not known here",
        Reason::UnsupportedDeltaCrl => "is a delta list, which holds changes only: give the complete one",
        Reason::UnsupportedIndirectCrl => "is an indirect list, which covers several CAs: give the list of each",
        Reason::UnsupportedRevocationReason => "has a reason for a revocation that is not known",
        Reason::UnsupportedSignatureAlgorithmContext { .. }
        | Reason::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is signed with a method that is not accepted, such as SHA-1"
        }
        other => return format!("cannot be used ({})", words(other)),
    };
    what.to_owned()
}

/// Whether the list can be read. Only a verifier of rustls reads lists, and it wants a CA first: any will do.
fn check(list: &CertificateRevocationListDer<'static>, provider: &Arc<CryptoProvider>) -> Result<(), String> {
    let nobody = Der::from_slice(&[]);
    let anchor =
        TrustAnchor { subject: nobody.clone(), subject_public_key_info: nobody.clone(), name_constraints: None };
    let anybody = Arc::new(RootCertStore { roots: vec![anchor] });
    let verifier = WebPkiServerVerifier::builder_with_provider(anybody, provider.clone());
    verifier.with_crls([list.clone()]).build().map(drop).map_err(|error| match error {
        VerifierBuilderError::InvalidCrl(reason) => explain_list(&reason),
        error => error.to_string(),
    })
}
