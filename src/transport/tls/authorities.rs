//! The CAs that vouch for peers' certificates while they are valid themselves.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};

use super::certificate::Certificate;

/// The trust anchors, and from when to when each is valid.
pub struct Authorities {
    store: RootCertStore,
    validities: Vec<(UnixTime, UnixTime)>,
}

impl Authorities {
    /// Takes the certificates that can be read: without their validity, the others cannot vouch for anyone.
    pub fn of<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> Authorities {
        let mut authorities = Authorities { store: RootCertStore::empty(), validities: Vec::new() };
        for der in certificates {
            let Some(certificate) = Certificate::parse(der) else { continue };
            if authorities.store.add(der.clone()).is_ok() {
                authorities.validities.push((certificate.not_before(), certificate.not_after()));
            }
        }
        authorities
    }

    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    pub fn store(&self) -> &RootCertStore {
        &self.store
    }

    /// Those that are valid at `now`, if not all of them are.
    fn valid_at(&self, now: UnixTime) -> Option<RootCertStore> {
        let is_valid = |(not_before, not_after): &(UnixTime, UnixTime)| (not_before..=not_after).contains(&&now);
        if self.validities.iter().all(is_valid) {
            return None;
        }
        let all = self.store.roots.iter().zip(&self.validities);
        Some(all.filter(|(_, validity)| is_valid(validity)).map(|(anchor, _)| anchor.clone()).collect())
    }

    /// Why a certificate is refused that only CAs vouch for that are not valid at `now`.
    fn refusal(&self, now: UnixTime) -> Error {
        let has_expired = self.validities.iter().any(|(_, not_after)| *not_after < now);
        if has_expired { CertificateError::Expired.into() } else { CertificateError::NotValidYet.into() }
    }
}

/// Judges chains that lead to a CA. The verifier does not know how long its trust anchors are valid.
pub struct Chains<V: ?Sized> {
    authorities: Authorities,
    verifier: Arc<V>,
    build: Box<BuildVerifier<V>>,
}

type BuildVerifier<V> = dyn Fn(RootCertStore) -> Result<Arc<V>, crate::transport::Error> + Send + Sync;

impl<V: ?Sized> Chains<V> {
    /// Nothing without a CA.
    pub fn new(
        authorities: Authorities,
        build: impl Fn(RootCertStore) -> Result<Arc<V>, crate::transport::Error> + Send + Sync + 'static,
    ) -> Result<Option<Chains<V>>, crate::transport::Error> {
        if authorities.is_empty() {
            return Ok(None);
        }
        let verifier = build(authorities.store.clone())?;
        Ok(Some(Chains { authorities, verifier, build: Box::new(build) }))
    }

    /// The verdict of `verify` with the CAs that are valid at `now`. Only for a chain that leads to a CA, and only if some CA
    /// is not valid, a second verifier is built: another CA with the same name, or another path, may still vouch for it.
    pub fn verify<T>(&self, now: UnixTime, verify: impl Fn(&V) -> Result<T, Error>) -> Result<(), Error> {
        verify(&self.verifier)?;
        let Some(valid) = self.authorities.valid_at(now) else { return Ok(()) };
        let revoked = Error::InvalidCertificate(CertificateError::Revoked);
        match (self.build)(valid).map(|verifier| verify(&verifier)) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error == revoked => Err(error),
            _ => Err(self.authorities.refusal(now)),
        }
    }
}
