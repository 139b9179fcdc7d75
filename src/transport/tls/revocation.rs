//! Certificate revocation lists: which there are, and how strictly they are applied.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::{ServerCertVerifierBuilder, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateRevocationListDer, Der, TrustAnchor};
use rustls::server::ClientCertVerifierBuilder;

use super::files;
use crate::transport::{Error, ErrorKind, TlsErrorKind};

/// Lists that peers' certificates must not be on. A list whose time is over is not believed.
#[derive(Default)]
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
}

/// Whether the list can be read. Only a verifier of rustls reads lists, and it wants a CA first: any will do.
fn check(list: &CertificateRevocationListDer<'static>, provider: &Arc<CryptoProvider>) -> Result<(), String> {
    let nobody = Der::from_slice(&[]);
    let anchor =
        TrustAnchor { subject: nobody.clone(), subject_public_key_info: nobody.clone(), name_constraints: None };
    let anybody = Arc::new(RootCertStore { roots: vec![anchor] });
    let verifier = WebPkiServerVerifier::builder_with_provider(anybody, provider.clone());
    verifier.with_crls([list.clone()]).build().map(drop).map_err(|error| error.to_string())
}
