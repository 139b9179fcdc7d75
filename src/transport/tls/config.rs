//! Settings of TLS: a builder that is filled step by step, and what it builds, which never changes.

use std::path::Path;
use std::sync::Arc;

use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion, version};

use super::authorities::{Authorities, Chains};
use super::certificate::{Certificate, excess_length, unreadable};
use super::given::{Given, Pinned};
use super::key_log::FileKeyLog;
use super::provider::{check_randomness, provider, ticketer};
use super::revocation::Revocation;
use super::verifier::{AcceptAnyCertificate, ClientVerifier, Common, ServerVerifier};
use super::{der, files, keys};
use crate::transport::tls_terms::{ClientAuth, TlsRole, TlsVersion};
use crate::transport::{Error, ErrorKind, ProcessMark, TlsErrorKind};

/// Sessions that a side remembers for resumption, unless they are in tickets.
const REMEMBERED_SESSIONS: usize = 256;

/// Collects settings and checks each as far as that is possible alone.
pub struct TlsConfigBuilder {
    role: TlsRole,
    provider: Arc<CryptoProvider>,
    /// In place of the system's trust store; nothing until one is given.
    given: Option<Given>,
    revocation: Arc<Revocation>,
    identity: Option<Arc<CertifiedKey>>,
    alpn: Vec<Vec<u8>>,
    versions: (TlsVersion, TlsVersion),
    verification: bool,
    client_auth: ClientAuth,
    resumption: bool,
    key_log: Option<Arc<FileKeyLog>>,
}

/// Settings of one role. Clones share them.
#[derive(Clone)]
pub struct TlsConfig {
    inner: Arc<Inner>,
    /// A client's protocols, if they are not those of `inner`.
    alpn: Option<Arc<[Vec<u8>]>>,
}

struct Inner {
    side: Side,
    /// The process that made them.
    process: ProcessMark,
}

enum Side {
    Client(ClientSettings),
    Server(Arc<ServerConfig>),
}

/// What clients' sessions are made with.
#[derive(Clone)]
pub(super) struct ClientSettings {
    pub config: Arc<ClientConfig>,
    /// Where `config` remembers sessions, if it does.
    pub sessions: Option<Arc<dyn ClientSessionStore>>,
}

impl TlsConfigBuilder {
    pub fn new(role: TlsRole) -> TlsConfigBuilder {
        TlsConfigBuilder {
            role,
            provider: provider(),
            given: None,
            revocation: Arc::default(),
            identity: None,
            alpn: Vec::new(),
            versions: (TlsVersion::V1_2, TlsVersion::V1_3),
            verification: true,
            client_auth: ClientAuth::None,
            resumption: true,
            key_log: None,
        }
    }

    pub fn role(&self) -> TlsRole {
        self.role
    }

    /// Trusts the certificates in a file, PEM or DER.
    pub fn add_ca_file(&mut self, path: &Path) -> Result<(), Error> {
        let source = path.display().to_string();
        let found = files::certificates(&files::read(path)?, &source)?;
        self.trust(found, &source)
    }

    /// Trusts the certificates in the files of a folder.
    pub fn add_ca_dir(&mut self, path: &Path) -> Result<(), Error> {
        let found = files::certificates_of_folder(path)?;
        self.trust(found, &format!("the folder {}", path.display()))
    }

    /// Trusts certificates, PEM or DER.
    pub fn add_ca(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let source = "the given CA";
        self.trust(files::certificates(bytes, source)?, source)
    }

    fn trust(&mut self, certificates: Vec<CertificateDer<'static>>, source: &str) -> Result<(), Error> {
        let mut given = self.given.clone().unwrap_or_default();
        given.add(certificates).map_err(|(number, reason)| {
            let sentence = format!("{source} holds no certificate that can be used: certificate {number} {reason}");
            failed(TlsErrorKind::BadCertificate, sentence)
        })?;
        self.given = Some(given);
        Ok(())
    }

    /// Refuses the certificates on lists in a file, PEM or DER.
    pub fn add_crl_file(&mut self, path: &Path) -> Result<(), Error> {
        Arc::make_mut(&mut self.revocation).add_file(path, &self.provider)
    }

    /// Refuses the certificates on lists, PEM or DER.
    pub fn add_crl(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Arc::make_mut(&mut self.revocation).add(bytes, "the given bytes", &self.provider)
    }

    /// `leaf_only`: the certificates that vouch for the peer's are not looked up. `allow_unknown`: a certificate whose CA has
    /// no list here is good.
    pub fn set_revocation(&mut self, leaf_only: bool, allow_unknown: bool) {
        Arc::make_mut(&mut self.revocation).set_policy(leaf_only, allow_unknown);
    }

    /// The certificate to show, with those that lead to its CA, and its key.
    pub fn set_certificate_files(&mut self, chain: &Path, key: &Path) -> Result<(), Error> {
        let (chain_source, key_source) = (chain.display().to_string(), key.display().to_string());
        let certificates = files::certificates(&files::read(chain)?, &chain_source)?;
        let private_key = files::private_key(&files::read(key)?, &key_source)?;
        self.identify(certificates, private_key, &chain_source, &key_source)
    }

    /// As `set_certificate_files`, from memory, PEM or DER.
    pub fn set_certificate(&mut self, chain: &[u8], key: &[u8]) -> Result<(), Error> {
        let (chain_source, key_source) = ("the given certificate chain", "the given key");
        let certificates = files::certificates(chain, chain_source)?;
        let private_key = files::private_key(key, key_source)?;
        self.identify(certificates, private_key, chain_source, key_source)
    }

    fn identify(
        &mut self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        chain_source: &str,
        key_source: &str,
    ) -> Result<(), Error> {
        for (index, certificate) in chain.iter().enumerate() {
            let parsed = Certificate::parse(certificate);
            if let Some(what) = excess_length(certificate).or_else(|| parsed.is_none().then(|| unreadable(certificate)))
            {
                let sentence = format!("certificate {} of {chain_source} {what}", index + 1);
                return Err(failed(TlsErrorKind::BadCertificate, sentence));
            }
        }
        check_randomness()?;
        let (kind, fault) = (keys::private(&key), der::fault(key.secret_der()));
        let key = self.provider.key_provider.load_private_key(key).map_err(|_| {
            let what = match (kind, fault) {
                (_, Some(offset)) => format!("is a private key, but damaged: {}", der::fault_text(offset)),
                (Some(kind), None) if !kind.is_usable => {
                    format!("is {}, which cannot be used here: {}", kind.name, keys::USABLE)
                }
                (Some(kind), None) => format!("is {}, but is damaged or contradicts itself", kind.name),
                (None, None) => "is damaged: it is DER, but does not have the parts of a private key".to_owned(),
            };
            failed(TlsErrorKind::BadKey, format!("{key_source} {what}"))
        })?;
        // Not CertifiedKey::from_der, which takes certificates of version 3 alone.
        let of_certificate =
            chain.first().and_then(|first| Certificate::parse(first)).map(|first| first.key_info().to_vec());
        let is_other = |own: SubjectPublicKeyInfoDer<'_>| of_certificate.is_some_and(|info| info != own.as_ref());
        if key.public_key().is_some_and(is_other) {
            let sentence = format!("{key_source} is not the key of the first certificate of {chain_source}");
            return Err(failed(TlsErrorKind::KeyMismatch, sentence));
        }
        let identity = CertifiedKey::new(chain, key);
        self.identity = Some(Arc::new(identity));
        Ok(())
    }

    /// Adds a protocol, the most wanted first: 1 to 255 bytes.
    pub fn add_alpn(&mut self, protocol: &[u8]) {
        self.alpn.push(protocol.to_vec());
    }

    pub fn set_versions(&mut self, min: TlsVersion, max: TlsVersion) {
        self.versions = (min, max);
    }

    /// Client: takes any certificate from anybody, so that whoever is on the way can read and change everything.
    pub fn dangerous_disable_verification(&mut self) {
        self.verification = false;
    }

    /// Server: whether clients are asked for a certificate.
    pub fn set_client_auth(&mut self, client_auth: ClientAuth) {
        self.client_auth = client_auth;
    }

    pub fn set_session_resumption(&mut self, on: bool) {
        self.resumption = on;
    }

    /// Writes the secrets of all sessions to a file.
    pub fn set_key_log_file(&mut self, path: &Path) -> Result<(), Error> {
        self.key_log = Some(Arc::new(FileKeyLog::open(path)?));
        Ok(())
    }

    /// Makes the settings. The builder stays as it is.
    pub fn build(&self) -> Result<TlsConfig, Error> {
        check_randomness()?;
        let side = match self.role {
            TlsRole::Client => Side::Client(self.build_client()?),
            TlsRole::Server => Side::Server(Arc::new(self.build_server()?)),
        };
        Ok(TlsConfig { inner: Arc::new(Inner { side, process: ProcessMark::current() }), alpn: None })
    }

    fn build_client(&self) -> Result<ClientSettings, Error> {
        if !self.verification && self.given.is_some() {
            let sentence = "a CA was given, but verification is off and would not use it";
            return Err(failed(TlsErrorKind::Config, sentence));
        }
        if !self.verification && !self.revocation.is_empty() {
            let sentence = "a revocation list was given, but verification is off and would not use it";
            return Err(failed(TlsErrorKind::Config, sentence));
        }
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&self.protocol_versions())
            .map_err(refused)?;
        let builder = if self.verification {
            let (authorities, pinned) = match &self.given {
                Some(given) => (given.authorities(), given.pin(&self.revocation, &self.provider)),
                None => (system_trust_store()?, Pinned::default()),
            };
            let (provider, revocation) = (self.provider.clone(), self.revocation.clone());
            let chains = Chains::new(authorities, move |store| {
                let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone());
                revocation.apply_to_servers(verifier).build().map_err(refused)
            })?;
            let verifier = ServerVerifier { chains, common: Common { pinned, provider: self.provider.clone() } };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        } else {
            let verifier = AcceptAnyCertificate::new(self.provider.clone());
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        };
        let mut config = match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.clone()))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.clone();
        let sessions: Option<Arc<dyn ClientSessionStore>> =
            if self.resumption { Some(Arc::new(ClientSessionMemoryCache::new(REMEMBERED_SESSIONS))) } else { None };
        config.resumption = sessions.clone().map_or_else(Resumption::disabled, Resumption::store);
        if let Some(key_log) = &self.key_log {
            config.key_log = key_log.clone();
        }
        Ok(ClientSettings { config: Arc::new(config), sessions })
    }

    fn build_server(&self) -> Result<ServerConfig, Error> {
        let Some(identity) = &self.identity else {
            return Err(failed(TlsErrorKind::Config, "a server needs a certificate and its key"));
        };
        let builder = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&self.protocol_versions())
            .map_err(refused)?;
        let builder = match (self.client_auth, &self.given) {
            (ClientAuth::None, None) if !self.revocation.is_empty() => {
                let sentence =
                    "a revocation list was given, but no certificates are asked for: turn client authentication on";
                return Err(failed(TlsErrorKind::Config, sentence));
            }
            (ClientAuth::None, None) => builder.with_no_client_auth(),
            (ClientAuth::None, Some(_)) => {
                let sentence = "a CA was given, but no certificates are asked for: turn client authentication on";
                return Err(failed(TlsErrorKind::Config, sentence));
            }
            (ClientAuth::Optional | ClientAuth::Required, None) => {
                let sentence = "client authentication needs a CA that the certificates of clients come from";
                return Err(failed(TlsErrorKind::Config, sentence));
            }
            (client_auth, Some(given)) => {
                let is_mandatory = client_auth == ClientAuth::Required;
                builder.with_client_cert_verifier(Arc::new(self.client_verifier(given, is_mandatory)?))
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.clone())));
        config.alpn_protocols = self.alpn.clone();
        if self.resumption {
            config.ticketer = ticketer().map_err(refused)?;
            config.session_storage = ServerSessionMemoryCache::new(REMEMBERED_SESSIONS);
        } else {
            forget_sessions(&mut config);
        }
        if let Some(key_log) = &self.key_log {
            config.key_log = key_log.clone();
        }
        Ok(config)
    }

    fn client_verifier(&self, given: &Given, is_mandatory: bool) -> Result<ClientVerifier, Error> {
        let (provider, revocation) = (self.provider.clone(), self.revocation.clone());
        let chains = Chains::new(given.authorities(), move |store| {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider.clone());
            revocation.apply_to_clients(verifier).build().map_err(refused)
        })?;
        let pinned = given.pin(&self.revocation, &self.provider);
        let common = Common { pinned, provider: self.provider.clone() };
        Ok(ClientVerifier { chains, common, hints: given.hints(), is_mandatory })
    }

    fn protocol_versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let (min, max) = self.versions;
        let all = [(TlsVersion::V1_2, &version::TLS12), (TlsVersion::V1_3, &version::TLS13)];
        all.into_iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, supported)| supported).collect()
    }
}

impl TlsConfig {
    pub fn role(&self) -> TlsRole {
        match self.inner.side {
            Side::Client(_) => TlsRole::Client,
            Side::Server(_) => TlsRole::Server,
        }
    }

    /// The same settings, but a client that offers these application protocols.
    pub fn with_alpn(&self, protocols: &[Vec<u8>]) -> TlsConfig {
        TlsConfig { inner: self.inner.clone(), alpn: Some(protocols.into()) }
    }

    /// For a session of this role, which must be a client's.
    pub(super) fn client(&self) -> Result<ClientSettings, Error> {
        let mut settings = self.client_settings()?;
        if let Some(protocols) = &self.alpn {
            let mut config = ClientConfig::clone(&settings.config);
            config.alpn_protocols = protocols.to_vec();
            settings.config = Arc::new(config);
        }
        Ok(settings)
    }

    fn client_settings(&self) -> Result<ClientSettings, Error> {
        match &self.inner.side {
            Side::Client(settings) if self.is_inherited() => {
                let mut config = ClientConfig::clone(&settings.config);
                config.resumption = Resumption::disabled();
                Ok(ClientSettings { config: Arc::new(config), sessions: None })
            }
            Side::Client(settings) => Ok(settings.clone()),
            Side::Server(_) => Err(failed(TlsErrorKind::Config, "these TLS settings are for servers")),
        }
    }

    /// For a session of this role, which must be a server's.
    pub(super) fn server(&self) -> Result<Arc<ServerConfig>, Error> {
        match &self.inner.side {
            Side::Server(config) if self.is_inherited() => {
                let mut config = ServerConfig::clone(config);
                forget_sessions(&mut config);
                Ok(Arc::new(config))
            }
            Side::Server(config) => Ok(config.clone()),
            Side::Client(_) => Err(failed(TlsErrorKind::Config, "these TLS settings are for clients")),
        }
    }

    /// In a forked child the locks of remembered sessions may be held for ever by a thread that did not come along, so
    /// they are not touched there.
    fn is_inherited(&self) -> bool {
        !self.inner.process.is_current()
    }
}

/// No resumption, in any of the forms it has.
fn forget_sessions(config: &mut ServerConfig) {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::new(NoTickets);
    config.send_tls13_tickets = 0;
}

#[derive(Debug)]
struct NoTickets;

impl rustls::server::ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _cipher: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

fn system_trust_store() -> Result<Authorities, Error> {
    let found = rustls_native_certs::load_native_certs();
    let authorities = Authorities::of(&found.certs);
    if !authorities.is_empty() {
        return Ok(authorities);
    }
    let reasons: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
    let sentence = match reasons.as_slice() {
        [] => "the trust store of the system is empty; give a CA".to_owned(),
        _ => format!("the trust store of the system holds no usable certificate: {}", reasons.join("; ")),
    };
    Err(failed(TlsErrorKind::NoCertificate, sentence))
}

fn failed(kind: TlsErrorKind, sentence: impl Into<String>) -> Error {
    Error::new(ErrorKind::Tls(kind), sentence)
}

/// What the provider of cryptography, or the verifier, does not take.
fn refused(error: impl std::fmt::Display) -> Error {
    failed(TlsErrorKind::Config, format!("these TLS settings cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_touches_no_remembered_sessions() {
        let key = rcgen::generate_simple_self_signed(["server.example".to_owned()]).expect("a certificate");
        let (certificate, key) = (key.cert.pem(), key.signing_key.serialize_pem());

        let mut builder = TlsConfigBuilder::new(TlsRole::Server);
        builder.set_certificate(certificate.as_bytes(), key.as_bytes()).expect("a certificate");
        let side = || Side::Server(Arc::new(builder.build_server().expect("settings")));
        let of_process = |side, process| TlsConfig { inner: Arc::new(Inner { side, process }), alpn: None };
        let ours = of_process(side(), ProcessMark::current()).server().expect("settings of a server");
        assert!(ours.ticketer.enabled() && ours.session_storage.can_cache());
        let inherited = of_process(side(), ProcessMark::other()).server().expect("settings of a server");
        assert!(!inherited.ticketer.enabled() && !inherited.session_storage.can_cache());
        assert_eq!(inherited.send_tls13_tickets, 0);

        let mut builder = TlsConfigBuilder::new(TlsRole::Client);
        builder.add_ca(certificate.as_bytes()).expect("a CA");
        let side = || Side::Client(builder.build_client().expect("settings"));
        let ours = of_process(side(), ProcessMark::current()).client().expect("settings of a client");
        let inherited = of_process(side(), ProcessMark::other()).client().expect("settings of a client");
        assert!(ours.sessions.is_some() && inherited.sessions.is_none());
        let [ours, inherited] = [ours, inherited].map(|settings| format!("{:?}", settings.config.resumption));
        assert_ne!(inherited, ours);
        assert_eq!(inherited, format!("{:?}", Resumption::disabled()));
    }
}
