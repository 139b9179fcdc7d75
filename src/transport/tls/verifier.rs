//! The judgement of peers' certificates: chains that lead to a CA, certificates that are trusted as themselves, and none at all.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::authorities::Chains;
use super::certificate::{Certificate, Usage, obstacle};
use super::given::Pinned;
use super::keys;
use super::wording::set_remark;

/// Judges servers' certificates for clients.
pub struct ServerVerifier {
    /// Nothing if no certificate was given that may vouch for others.
    pub chains: Option<Chains<WebPkiServerVerifier>>,
    pub common: Common,
}

/// Judges clients' certificates for servers.
pub struct ClientVerifier {
    pub chains: Option<Chains<dyn ClientCertVerifier>>,
    pub common: Common,
    pub hints: Vec<DistinguishedName>,
    pub is_mandatory: bool,
}

/// Usual chains have a few thousand bytes. Longer ones are refused without a close look, which would cost a stranger less than
/// this side.
const LONGEST_WITH_REMARK: usize = 16 * 1024;

/// What both judges need.
pub struct Common {
    pub pinned: Pinned,
    pub provider: Arc<CryptoProvider>,
}

impl Common {
    /// The verdict on a chain, or on the certificate itself if that was given.
    fn decide(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: Usage,
        chain: Result<(), Error>,
        check_name: impl FnOnce(&ParsedCertificate<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut verdict = chain;
        if let Err(error) = &verdict
            && *error != Error::InvalidCertificate(CertificateError::Revoked)
            && let Some(checked) = self.pinned.check(end_entity, usage, now)
        {
            verdict = ParsedCertificate::try_from(end_entity).and_then(|parsed| {
                checked?;
                check_name(&parsed)
            });
        }
        // Forgets a remark that nobody fetched.
        set_remark(None);
        if self.is_unknown_all_the_same(&verdict, end_entity) {
            verdict = Err(CertificateError::UnknownIssuer.into());
        }
        let Err(Error::InvalidCertificate(error)) = &verdict else { return verdict };
        let len = end_entity.len() + intermediates.iter().map(|der| der.len()).sum::<usize>();
        if len > LONGEST_WITH_REMARK {
            return verdict;
        }
        set_remark(self.remark(error, end_entity, intermediates, usage));
        verdict
    }

    /// Whether the issuer is unknown although the verifier of chains says something else: a self-signed certificate that is
    /// not the one that was given, or one of a CA that has the name of a given one and another key.
    fn is_unknown_all_the_same(&self, verdict: &Result<(), Error>, end_entity: &CertificateDer<'_>) -> bool {
        if verdict.is_ok() || end_entity.len() > LONGEST_WITH_REMARK {
            return false;
        }
        let Some(certificate) = Certificate::parse(end_entity) else { return false };
        let is_wrong_signature = *verdict == Err(Error::InvalidCertificate(CertificateError::BadSignature));
        is_ca_as_peer(verdict) && certificate.subject() == certificate.issuer()
            || is_wrong_signature && self.pinned.with_subject(certificate.issuer()).next().is_some()
    }

    /// What to say of a refused certificate beyond what `error` says.
    fn remark(
        &self,
        error: &CertificateError,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: Usage,
    ) -> Option<String> {
        use CertificateError as Refused;
        match error {
            Refused::BadEncoding | Refused::UnhandledCriticalExtension => obstacle(end_entity),
            Refused::UnknownIssuer => self.remark_on_issuer(&Certificate::parse(end_entity)?, intermediates),
            Refused::InvalidPurpose => {
                let (certificate, wanted) = (Certificate::parse(end_entity)?, usage.name());
                let (extension, value) = match (certificate.has_purpose(usage), usage) {
                    (true, _) => ("key usage", "digitalSignature"),
                    (false, Usage::Server) => ("extended key usage", "serverAuth"),
                    (false, Usage::Client) => ("extended key usage", "clientAuth"),
                };
                Some(format!("may not be used for {wanted}: its {extension} does not have {value}"))
            }
            Refused::Other(reason) => obstacle(end_entity)
                .or_else(|| {
                    let of_chain = intermediates.iter().find_map(|der| obstacle(der));
                    of_chain.map(|what| format!("comes with a CA's certificate that {what}"))
                })
                .or_else(|| explain_reason(&format!("{:?}", reason.0))),
            Refused::Expired
            | Refused::ExpiredContext { .. }
            | Refused::NotValidYet
            | Refused::NotValidYetContext { .. } => {
                let now = UnixTime::now();
                let is_valid = |it: &Certificate<'_>| (it.not_before()..=it.not_after()).contains(&now);
                let is_of_chain = Certificate::parse(end_entity).is_some_and(|it| is_valid(&it));
                is_of_chain
                    .then(|| "is vouched for by a CA's certificate that has expired or is not valid yet".to_owned())
            }
            Refused::BadSignature => self.remark_on_signature(end_entity, intermediates),
            _ if is_about_signature(error) => self.remark_on_signature(end_entity, intermediates),
            _ => None,
        }
    }

    fn remark_on_issuer(&self, certificate: &Certificate<'_>, intermediates: &[CertificateDer<'_>]) -> Option<String> {
        let issuer = certificate.issuer_text();
        if certificate.subject() == certificate.issuer() {
            let what = "is self-signed";
            return Some(if self.pinned.with_subject(certificate.subject()).next().is_some() {
                format!(
                    "{what} and is not the one of that name that is trusted here ({issuer}): it may have been renewed; give \
                     the one that the peer has now as a CA"
                )
            } else {
                format!("{what} and is not trusted here ({issuer}): give that very certificate as a CA")
            });
        }
        if self.pinned.with_subject(certificate.issuer()).any(|is_ca| is_ca == Some(false)) {
            return Some(format!(
                "comes from a CA that is not trusted here: the certificate of {issuer} was given, but says that it is not a \
                 CA's (CA:FALSE)"
            ));
        }
        let weak = intermediates.iter().find_map(|der| Certificate::parse(der)?.unusable_key());
        if let Some(key) = weak {
            return Some(format!("is vouched for by a CA with {key}, which is not accepted: {}", keys::USABLE));
        }
        let is_trusted = |name: &[u8]| self.pinned.with_subject(name).next().is_some();
        let mut chain = intermediates.iter().filter_map(|der| Certificate::parse(der));
        let is_sent = chain.any(|it| it.subject() == certificate.issuer());
        let hint = match (is_trusted(certificate.issuer()), is_sent) {
            (true, _) => "a CA of that name is trusted, but has another key: it may have been renewed",
            (false, true) => "give the CA's certificate",
            (false, false) => {
                "give the CA's certificate; if that is an intermediate one, the peer has to send it as well"
            }
        };
        Some(format!("comes from a CA that is not trusted here ({issuer}): {hint}"))
    }

    /// A signature in the chain, or of the handshake, that is wrong or of a kind that is not accepted.
    fn remark_on_signature(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Option<String> {
        let mut chain = std::iter::once(end_entity).chain(intermediates);
        if let Some(method) = chain.find_map(|der| Certificate::parse(der)?.refused_signature()) {
            return Some(format!(
                "is signed, or a CA's above it, with {method}, which is not accepted: have it issued anew"
            ));
        }
        let certificate = Certificate::parse(end_entity)?;
        let unusable_key = |der: &CertificateDer<'_>| Certificate::parse(der)?.unusable_key();
        let mut of_issuer = self.pinned.ders_with_subject(certificate.issuer());
        let weak = of_issuer.find_map(unusable_key).or_else(|| intermediates.iter().find_map(unusable_key));
        weak.map(|key| format!("is vouched for by a CA with {key}, which is not accepted: {}", keys::USABLE))
    }
}

impl Usage {
    fn name(self) -> &'static str {
        match self {
            Usage::Server => "server authentication",
            Usage::Client => "client authentication",
        }
    }
}

/// The verifier's name for a peer that shows the certificate of a CA.
const CA_AS_PEER: &str = "CaUsedAsEndEntity";

fn is_ca_as_peer(verdict: &Result<(), Error>) -> bool {
    let Err(Error::InvalidCertificate(CertificateError::Other(reason))) = verdict else { return false };
    format!("{:?}", reason.0) == CA_AS_PEER
}

fn is_about_signature(error: &CertificateError) -> bool {
    matches!(
        error,
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
    )
}

/// The end of "the peer's certificate ..." for a reason that the verifier of chains names.
fn explain_reason(reason: &str) -> Option<String> {
    let sentence = match reason {
        CA_AS_PEER => {
            "is that of a CA (CA:TRUE), which is trusted as a peer's own only if that very certificate is given as a CA"
        }
        "EndEntityUsedAsCa" => "is vouched for by a certificate that is not a CA's (CA:FALSE)",
        "PathLenConstraintViolated" => "has more CAs above it than one of them allows (path length)",
        "NameConstraintViolation" => "has a name that a CA above it may not vouch for (name constraints)",
        "MaximumPathDepthExceeded" => "has too many CAs above it: more than six",
        "MaximumSignatureChecksExceeded"
        | "MaximumPathBuildCallsExceeded"
        | "MaximumNameConstraintComparisonsExceeded" => "comes with so many certificates that they are not all checked",
        "SignatureAlgorithmMismatch" => "names two different methods for its signature",
        "InvalidSerialNumber" => "has a serial number that is not allowed",
        "MalformedExtensions" | "ExtensionValueInvalid" => "has an extension that cannot be read",
        "MalformedDnsIdentifier" | "MalformedNameConstraint" => "has a name that cannot be read",
        _ => return None,
    };
    Some(sentence.to_owned())
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = match &self.chains {
            Some(chains) => chains.verify(now, |verifier| {
                verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }),
            None => nobody_vouches(end_entity),
        };
        let check_name = |certificate: &ParsedCertificate<'_>| verify_server_name(certificate, server_name);
        self.common.decide(end_entity, intermediates, now, Usage::Server, chain, check_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature_12(&self.common.provider, message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature_13(&self.common.provider, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.common.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain = match &self.chains {
            Some(chains) => chains.verify(now, |verifier| verifier.verify_client_cert(end_entity, intermediates, now)),
            None => nobody_vouches(end_entity),
        };
        self.common.decide(end_entity, intermediates, now, Usage::Client, chain, |_| Ok(()))?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature_12(&self.common.provider, message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature_13(&self.common.provider, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.common.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Where only certificates of peers themselves were given.
fn nobody_vouches(end_entity: &CertificateDer<'_>) -> Result<(), Error> {
    ParsedCertificate::try_from(end_entity)?;
    Err(CertificateError::UnknownIssuer.into())
}

fn check_signature_12(
    provider: &CryptoProvider,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let checked = verify_tls12_signature(message, certificate, signature, &provider.signature_verification_algorithms);
    checked.inspect_err(|_| remark_on_key(certificate))
}

fn check_signature_13(
    provider: &CryptoProvider,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let checked = verify_tls13_signature(message, certificate, signature, &provider.signature_verification_algorithms);
    checked.inspect_err(|_| remark_on_key(certificate))
}

/// The signature of the handshake cannot be checked, or is wrong.
fn remark_on_key(certificate: &CertificateDer<'_>) {
    let unusable = || Certificate::parse(certificate)?.unusable_key();
    let of_key = || unusable().map(|key| format!("has {key}, which is not accepted: {}", keys::USABLE));
    set_remark(obstacle(certificate).or_else(of_key));
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerVerifier")
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientVerifier")
    }
}

/// Takes any certificate of any name; only checks that the server has the certificate's key.
#[derive(Debug)]
pub struct AcceptAnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl AcceptAnyCertificate {
    pub fn new(provider: Arc<CryptoProvider>) -> AcceptAnyCertificate {
        AcceptAnyCertificate { provider }
    }
}

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature_12(&self.provider, message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature_13(&self.provider, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair};

    use super::*;
    use crate::transport::tls::given::Given;
    use crate::transport::tls::provider::provider;
    use crate::transport::tls::revocation::Revocation;
    use crate::transport::tls::wording::take_remark;

    fn verifier(given: &[CertificateDer<'static>]) -> ServerVerifier {
        let (provider, mut all) = (provider(), Given::default());
        all.add(given.to_vec()).expect("certificates");
        let pinned = all.pin(&Revocation::default(), &provider);
        let common = Common { pinned, provider: provider.clone() };
        let build = move |store| {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone());
            Ok(verifier.build().expect("a verifier"))
        };
        ServerVerifier { chains: Chains::new(all.authorities(), build).expect("a verifier"), common }
    }

    fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["server.example".to_owned()]).expect("a name");
        change(&mut params);
        params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").der().clone()
    }

    fn judge(verifier: &ServerVerifier, der: &CertificateDer<'_>) -> Result<(), Error> {
        let name = ServerName::try_from("server.example").expect("a name");
        let intermediates = std::slice::from_ref(der);
        verifier.verify_server_cert(der, intermediates, &name, &[], UnixTime::now()).map(drop)
    }

    #[test]
    fn no_altered_certificate_is_taken_and_each_has_its_sentence() {
        let given = self_signed(|_| {});
        let verifier = verifier(std::slice::from_ref(&given));
        assert_eq!(judge(&verifier, &given), Ok(()));
        for at in 0..given.len() {
            for change in [1, 0x80, 0xff] {
                let mut altered = given.to_vec();
                altered[at] ^= change;
                assert!(judge(&verifier, &altered.into()).is_err(), "byte {at}");
                assert_ne!(take_remark(), Some(String::new()));
            }
            assert!(judge(&verifier, &given[..at].to_vec().into()).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn chains_of_unusual_length_get_no_close_look() {
        let given = verifier(&[self_signed(|_| {})]);
        let with_extensions = |count| {
            self_signed(|params| {
                params.distinguished_name.push(DnType::CommonName, "a stranger");
                let extension = |n: u64| CustomExtension::from_oid_content(&[2, 5, 29, 1000 + n], vec![5, 0]);
                params.custom_extensions = (0..count).map(extension).collect();
            })
        };
        for (count, is_long) in [(10, false), (3000, true)] {
            let der = with_extensions(count);
            assert_eq!(2 * der.len() > LONGEST_WITH_REMARK, is_long);
            assert_eq!(judge(&given, &der), Err(CertificateError::UnknownIssuer.into()));
            assert_eq!(take_remark().is_none(), is_long);
        }
    }
}
