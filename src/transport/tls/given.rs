//! The certificates that an application gave: CAs, and peers' own, which are trusted as themselves.

use std::collections::{BTreeSet, HashMap};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, DistinguishedName, RootCertStore};

use super::authorities::Authorities;
use super::certificate::{Certificate, Usage, excess_length, unreadable};
use super::der;
use super::revocation::{Revocation, Standing};

/// Certificates that were given, in their order.
#[derive(Clone, Default)]
pub struct Given {
    certificates: Vec<CertificateDer<'static>>,
}

/// What is known of a certificate that is trusted as itself.
#[derive(Debug)]
struct Known {
    subject: Vec<u8>,
    is_ca: Option<bool>,
    validity: (UnixTime, UnixTime),
    server: bool,
    client: bool,
    standing: Standing,
}

/// Certificates that are trusted as themselves if a peer shows the very same one.
#[derive(Debug, Default)]
pub struct Pinned {
    known: HashMap<CertificateDer<'static>, Known>,
    allows_unknown: bool,
}

impl Given {
    /// Takes those that can be used: bundles often have some of unusual form. If none can, the number of the first and why.
    pub fn add(&mut self, certificates: Vec<CertificateDer<'static>>) -> Result<(), (usize, String)> {
        let mut first_reason = None;
        let before = self.certificates.len();
        for (index, certificate) in certificates.into_iter().enumerate() {
            match usable(&certificate) {
                Ok(()) => self.certificates.push(certificate),
                Err(reason) => _ = first_reason.get_or_insert((index + 1, reason)),
            }
        }
        match first_reason {
            Some(reason) if self.certificates.len() == before => Err(reason),
            _ => Ok(()),
        }
    }

    /// Those that may vouch for others.
    pub fn authorities(&self) -> Authorities {
        let may_vouch = |der: &&CertificateDer<'_>| Certificate::parse(der).is_some_and(|it| it.may_vouch());
        Authorities::of(self.certificates.iter().filter(may_vouch))
    }

    /// Names of CAs that a server asks clients for: some clients show a certificate only if its issuer is among them.
    pub fn hints(&self) -> Vec<DistinguishedName> {
        let subjects = self.authorities().store().subjects();
        let mut names: BTreeSet<Vec<u8>> = subjects.iter().map(|name| name.as_ref().to_vec()).collect();
        for certificate in self.certificates.iter().filter_map(|der| Certificate::parse(der)) {
            if certificate.is_ca() != Some(true) {
                names.extend([certificate.subject(), certificate.issuer()].map(<[u8]>::to_vec));
            }
        }
        let contents = names.iter().filter_map(|name| der::expect(name, der::SEQUENCE));
        contents.map(|(contents, _)| DistinguishedName::in_sequence(contents)).collect()
    }

    pub fn pin(&self, revocation: &Revocation, provider: &CryptoProvider) -> Pinned {
        let parsed = self.certificates.iter().filter_map(|der| Some((der, Certificate::parse(der)?)));
        let (ders, parsed): (Vec<_>, Vec<_>) = parsed.unzip();
        let standings = revocation.standings(&parsed, provider);
        let known = ders.into_iter().zip(&parsed).zip(standings).map(|((der, certificate), standing)| {
            let fits = |usage| certificate.has_purpose(usage) && certificate.key_may_be_used(usage);
            let known = Known {
                subject: certificate.subject().to_vec(),
                is_ca: certificate.is_ca(),
                validity: (certificate.not_before(), certificate.not_after()),
                server: fits(Usage::Server),
                client: fits(Usage::Client),
                standing,
            };
            (der.clone(), known)
        });
        Pinned { known: known.collect(), allows_unknown: revocation.allows_unknown() }
    }
}

fn usable(certificate: &CertificateDer<'static>) -> Result<(), String> {
    if RootCertStore::empty().add(certificate.clone()).is_ok() {
        return Ok(());
    }
    Err(excess_length(certificate).unwrap_or_else(|| match Certificate::parse(certificate) {
        Some(_) => "has fields that are not known here".to_owned(),
        None => unreadable(certificate),
    }))
}

impl Pinned {
    /// Whether a peer's certificate is trusted as itself for that use; nothing if it was not given. Its name, and whether the
    /// peer has its key, are for the caller to check.
    pub fn check(&self, der: &CertificateDer<'_>, usage: Usage, now: UnixTime) -> Option<Result<(), CertificateError>> {
        self.known.get(der).map(|known| known.check(usage, now, self.allows_unknown))
    }

    pub fn ders_with_subject(&self, subject: &[u8]) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.known.iter().filter(move |(_, known)| known.subject == subject).map(|(der, _)| der)
    }

    /// What certificates with this name say of being a CA's.
    pub fn with_subject(&self, subject: &[u8]) -> impl Iterator<Item = Option<bool>> {
        self.known.values().filter(move |known| known.subject == subject).map(|known| known.is_ca)
    }
}

impl Known {
    fn check(&self, usage: Usage, now: UnixTime, allows_unknown: bool) -> Result<(), CertificateError> {
        let (not_before, not_after) = self.validity;
        if now < not_before {
            return Err(CertificateError::NotValidYetContext { time: now, not_before });
        }
        if now > not_after {
            return Err(CertificateError::ExpiredContext { time: now, not_after });
        }
        let fits = match usage {
            Usage::Server => self.server,
            Usage::Client => self.client,
        };
        if !fits {
            return Err(CertificateError::InvalidPurpose);
        }
        match self.standing {
            Standing { is_revoked: true, .. } => Err(CertificateError::Revoked),
            Standing { good_until: Some(next_update), .. } if next_update < now => {
                Err(CertificateError::ExpiredRevocationListContext { time: now, next_update })
            }
            Standing { good_until: None, .. } if !allows_unknown => Err(CertificateError::UnknownRevocationStatus),
            _ => Ok(()),
        }
    }
}
