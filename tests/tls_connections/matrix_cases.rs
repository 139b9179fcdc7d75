//! Certificates as the usual tools write them, good and bad ones.

use crate::certificates::{Authority, Identity, der, in_year, pem, self_signed, version_1};
use crate::openssl::{Folder, openssl, spawn, words};
use crate::settings::NAME;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use std::process::Stdio;

pub const TAKEN: &str = "taken";
pub const REFUSED: &str = "refused";

/// A certificate, who trusts what, and the verdicts to be.
pub struct Case {
    pub tool: &'static str,
    pub what: &'static str,
    /// PEM that the judge is given.
    pub trusted: String,
    pub identity: Identity,
    /// Whom the client asks for.
    pub name: &'static str,
    /// Ours: taken, or the status.
    pub ours: &'static str,
    pub openssl: &'static str,
    /// In our sentence.
    pub sentence: &'static str,
}

impl Case {
    fn new(tool: &'static str, what: &'static str, trusted: &str, identity: Identity) -> Case {
        let trusted = trusted.to_owned();
        Case { tool, what, trusted, identity, name: NAME, ours: TAKEN, openssl: TAKEN, sentence: "" }
    }

    /// A certificate that is given itself.
    fn pinned(tool: &'static str, what: &'static str, identity: Identity) -> Case {
        let trusted = identity.certificate.clone();
        Case::new(tool, what, &trusted, identity)
    }

    fn refused_by_both(self, status: &'static str, sentence: &'static str) -> Case {
        Case { ours: status, openssl: REFUSED, sentence, ..self }
    }

    fn refused_by_us(self, status: &'static str, sentence: &'static str) -> Case {
        Case { ours: status, sentence, ..self }
    }

    fn asking_for(self, name: &'static str) -> Case {
        Case { name, ..self }
    }
}

fn ec_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn rsa_key() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key")
}

fn common_name(params: &mut CertificateParams, name: &str) {
    params.distinguished_name.push(DnType::CommonName, name);
}

/// Of an extension 1.3.6.1.4.1.311.21.x, as Windows adds them.
fn of_windows(last: u64, critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 311, 21, last], vec![0x30, 0]);
    extension.set_criticality(critical);
    extension
}

const BOTH_USES: [ExtendedKeyUsagePurpose; 2] =
    [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
const TLS_KEY_USES: [KeyUsagePurpose; 2] = [KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];

/// As `openssl req -x509 -newkey ... -addext subjectAltName=...` makes it with this kind of key.
fn by_openssl(folder: &Folder, name: &str, key: &[&str]) -> Identity {
    let (certificate, key_file) = (folder.path(&format!("{name}.pem")), folder.path(&format!("{name}.key")));
    let fixed = ["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=server.example", "-out", &certificate];
    let more = ["-keyout", &key_file, "-addext", "subjectAltName=DNS:server.example"];
    let mut command = openssl(&words(&[&fixed[..], &more, key].concat()));
    let output = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped())).wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |path| std::fs::read_to_string(path).expect("a file");
    Identity { certificate: read(certificate), certificate_der: Vec::new(), key: read(key_file), key_der: Vec::new() }
}

/// Root, intermediate and leaf of step-ca.
struct Step {
    root: Authority,
    intermediate: Authority,
    leaf: Identity,
}

impl Step {
    fn new() -> Step {
        let root = Authority::with(ec_key(), "Example Root CA", |_| {});
        let intermediate = root.intermediate("Example Intermediate CA", 5);
        let provisioner = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 37476, 9000, 64, 1], vec![0x30, 0]);
        let leaf = intermediate.issue(&[NAME], |params| {
            common_name(params, NAME);
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = BOTH_USES.to_vec();
            params.custom_extensions.push(provisioner);
            params.use_authority_key_identifier_extension = true;
        });
        Step { root, intermediate, leaf }
    }

    fn bundle(mut self) -> (Authority, Authority, Identity) {
        self.leaf.certificate.push_str(&self.intermediate.pem);
        (self.root, self.intermediate, self.leaf)
    }
}

/// A CA of cfssl and what it issues with a profile.
fn cfssl(purposes: &[ExtendedKeyUsagePurpose], names: &[&str]) -> (Authority, Identity) {
    let authority = Authority::with(ec_key(), "Example CA", |_| {});
    let leaf = authority.issue(names, |params| {
        common_name(params, "cfssl");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = TLS_KEY_USES.to_vec();
        params.extended_key_usages = purposes.to_vec();
        params.use_authority_key_identifier_extension = true;
    });
    (authority, leaf)
}

fn mkcert(purposes: &[ExtendedKeyUsagePurpose]) -> (Authority, Identity) {
    let authority = Authority::with(rsa_key(), "mkcert user@host", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::OrganizationName, "mkcert development CA");
    });
    let leaf = authority.issue_for(rsa_key(), &[NAME, "localhost", "127.0.0.1", "::1"], |params| {
        params.distinguished_name.push(DnType::OrganizationName, "mkcert development certificate");
        params.key_usages = TLS_KEY_USES.to_vec();
        params.extended_key_usages = purposes.to_vec();
        params.use_authority_key_identifier_extension = true;
    });
    (authority, leaf)
}

/// As New-SelfSignedCertificate makes it.
fn by_powershell() -> Identity {
    self_signed(rsa_key(), &[NAME], |params| {
        common_name(params, NAME);
        params.is_ca = IsCa::NoCa;
        params.key_usages = TLS_KEY_USES.to_vec();
        params.extended_key_usages = BOTH_USES.to_vec();
    })
}

/// As Active Directory's certificate services make it.
fn by_active_directory(critical: bool) -> (Authority, Identity) {
    let authority =
        Authority::with(rsa_key(), "example-DC-CA", |params| params.custom_extensions.push(of_windows(1, false)));
    let leaf = authority.issue_for(rsa_key(), &[NAME], |params| {
        params.key_usages = TLS_KEY_USES.to_vec();
        params.custom_extensions = vec![of_windows(7, false), of_windows(10, critical)];
        params.use_authority_key_identifier_extension = true;
    });
    (authority, leaf)
}

/// Below a CA of openssl, with the extensions of a file.
fn below_openssl(change: impl FnOnce(&mut CertificateParams)) -> (Authority, Identity) {
    let authority = Authority::with(ec_key(), "a CA of openssl", |_| {});
    let leaf = authority.issue(&[NAME], |params| {
        common_name(params, NAME);
        params.extended_key_usages.clear();
        change(params);
    });
    (authority, leaf)
}

fn issued(tool: &'static str, what: &'static str, (authority, leaf): (Authority, Identity)) -> Case {
    Case::new(tool, what, &authority.pem, leaf)
}

/// Certificates that servers show.
pub fn of_servers(folder: &Folder) -> Vec<Case> {
    let mut cases = usual_servers();
    cases.extend(servers_with_unusual_keys(folder));
    cases.extend(bad_servers());
    cases
}

fn usual_servers() -> Vec<Case> {
    let no_ca = |params: &mut CertificateParams| params.is_ca = IsCa::ExplicitNoCa;
    let (root, _, whole) = Step::new().bundle();
    let (_, between, partly) = Step::new().bundle();
    let alone = Step::new().leaf;
    vec![
        Case::pinned("openssl", "req -x509: self-signed, CA:TRUE", self_signed(ec_key(), &[NAME], |_| {})),
        Case::pinned("openssl", "req -x509, CA:FALSE", self_signed(ec_key(), &[NAME], no_ca)),
        issued("openssl", "x509 -req -extfile: below a CA", below_openssl(|_| {})),
        issued(
            "openssl",
            "wildcard *.server.example",
            below_openssl(|params| {
                params.subject_alt_names = vec![SanType::DnsName("*.server.example".try_into().expect("ASCII"))];
            }),
        )
        .asking_for("a.server.example"),
        issued("mkcert", "RSA, below its CA", mkcert(&[ExtendedKeyUsagePurpose::ServerAuth])),
        issued("mkcert", "the same, by its address", mkcert(&[ExtendedKeyUsagePurpose::ServerAuth]))
            .asking_for("127.0.0.1"),
        issued("cfssl", "profile server, critical CA:FALSE", cfssl(&[ExtendedKeyUsagePurpose::ServerAuth], &[NAME])),
        Case::new("step", "leaf and intermediate, root given", &root.pem, whole),
        Case::new("step", "intermediate given, not the root", &between.pem, partly),
        Case::pinned("step", "leaf alone given", alone),
        Case::pinned("Windows", "New-SelfSignedCertificate", by_powershell()),
        issued("Windows", "AD CS: template, policies", by_active_directory(false)),
    ]
}

fn servers_with_unusual_keys(folder: &Folder) -> Vec<Case> {
    let by = |name, key: &[&str]| by_openssl(folder, name, key);
    let alert = "it has no cipher suite, key exchange group or kind of certificate key in common";
    let p521 = Case::pinned("openssl", "P-521", by("p521", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"]));
    // The library ring does not know that curve.
    let p521 = if cfg!(feature = "aws-lc-rs") { p521 } else { p521.refused_by_us("TLS_ALERT_RECEIVED", alert) };
    vec![
        Case::pinned("openssl", "Ed25519", by("ed25519", &["-newkey", "ed25519"])),
        p521,
        Case::pinned("openssl", "RSA, self-signed with SHA-1", by("sha1", &["-newkey", "rsa:2048", "-sha1"])),
        Case::pinned("openssl", "RSA of 1024 bits", by("rsa1024", &["-newkey", "rsa:1024"]))
            .refused_by_both("TLS_BAD_CERTIFICATE", "has an RSA key of 1024 bits, which is not accepted"),
        Case::pinned(
            "openssl",
            "RSA for PSS only",
            by("pss", &["-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"]),
        )
        .refused_by_us("TLS_ALERT_RECEIVED", alert),
        Case::pinned("openssl", "Ed448", by("ed448", &["-newkey", "ed448"])).refused_by_us("TLS_ALERT_RECEIVED", alert),
        Case::pinned("openssl", "secp256k1", by("k1", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"]))
            .refused_by_both("TLS_ALERT_RECEIVED", alert),
    ]
}

fn bad_servers() -> Vec<Case> {
    let only = |purpose| move |params: &mut CertificateParams| params.extended_key_usages = vec![purpose];
    let name = |name: &'static str| {
        move |params: &mut CertificateParams| {
            params.subject_alt_names = vec![SanType::DnsName(name.try_into().expect("ASCII"))];
        }
    };
    let missing = Step::new();
    let mut policies = CustomExtension::from_oid_content(&[2, 5, 29, 32], der(0x30, &der(0x30, &[6, 3, 0x2a, 3, 4])));
    policies.set_criticality(true);
    let large = CustomExtension::from_oid_content(&[2, 5, 29, 99], der(4, &[7; 110_000]));
    let renewed = self_signed(ec_key(), &[NAME], |_| {});
    let bad = "TLS_BAD_CERTIFICATE";
    vec![
        issued("openssl", "common name, no SAN", below_openssl(|params| params.subject_alt_names.clear()))
            .refused_by_us("TLS_WRONG_NAME", "it has no subject alternative name at all, and a common name does not"),
        Case::pinned("openssl", "version 1", version_1(NAME)).refused_by_us(bad, "is of version 1, which cannot say"),
        issued("openssl", "another name", below_openssl(name("other.example")))
            .refused_by_both("TLS_WRONG_NAME", "is not for server.example, but for other.example"),
        issued("openssl", "the address as a DNS name", below_openssl(name("127.0.0.1")))
            .asking_for("127.0.0.1")
            .refused_by_both("TLS_WRONG_NAME", "has 127.0.0.1 as a DNS name, but an address has to be there as an IP"),
        issued("openssl", "expired", below_openssl(|params| in_year(params, 2020)))
            .refused_by_both("TLS_CERTIFICATE_EXPIRED", "expired at 2020-12-31"),
        issued("openssl", "not valid yet", below_openssl(|params| in_year(params, 2400)))
            .refused_by_both("TLS_CERTIFICATE_NOT_YET_VALID", "is valid from 2400-01-01"),
        Case::new(
            "openssl",
            "self-signed, another one given",
            &renewed.certificate,
            self_signed(ec_key(), &[NAME], |_| {}),
        )
        .refused_by_both("TLS_UNKNOWN_CA", "is self-signed and is not the one of that name that is trusted here"),
        Case::pinned(
            "openssl",
            "self-signed, keyCertSign alone",
            self_signed(ec_key(), &[NAME], |params| {
                params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            }),
        )
        .refused_by_both(bad, "its key usage does not have digitalSignature"),
        issued("openssl", "of 110 KB", below_openssl(|params| params.custom_extensions.push(large)))
            .refused_by_both("TLS_HANDSHAKE_FAILED", "a long chain of certificates"),
        issued(
            "openssl",
            "critical certificate policies",
            below_openssl(|params| params.custom_extensions.push(policies)),
        )
        .refused_by_us(bad, "has the extension 2.5.29.32, which is marked critical and not known here"),
        issued("cfssl", "profile client", cfssl(&[ExtendedKeyUsagePurpose::ClientAuth], &[NAME]))
            .refused_by_both(bad, "may not be used for server authentication"),
        issued("cfssl", "any extended key usage", below_openssl(only(ExtendedKeyUsagePurpose::Any)))
            .refused_by_both(bad, "may not be used for server authentication"),
        Case::new("step", "intermediate not sent", &missing.root.pem, missing.leaf)
            .refused_by_both("TLS_UNKNOWN_CA", "if that is an intermediate one, the peer has to send it as well"),
        issued("Windows", "AD CS: critical policies", by_active_directory(true))
            .refused_by_both(bad, "has the extension 1.3.6.1.4.1.311.21.10, which is marked critical"),
    ]
}

/// Certificates that clients show.
pub fn of_clients() -> Vec<Case> {
    let (root, _, whole) = Step::new().bundle();
    let nameless = self_signed(ec_key(), &[], |_| {});
    let authority = Authority::new("test CA");
    let text = pem("CERTIFICATE", &authority.der);
    let expired = authority.issue(&[], |params| {
        in_year(params, 2020);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    vec![
        Case::pinned("openssl", "req -x509: self-signed, CA:TRUE", nameless),
        issued("openssl", "x509 -req -extfile: below a CA", below_openssl(|_| {})),
        issued("mkcert", "-client", mkcert(&BOTH_USES)),
        issued("cfssl", "profile client", cfssl(&[ExtendedKeyUsagePurpose::ClientAuth], &[])),
        Case::new("step", "leaf and intermediate, root given", &root.pem, whole),
        Case::pinned("step", "leaf alone given", Step::new().leaf),
        Case::pinned("Windows", "New-SelfSignedCertificate", by_powershell()),
        Case::pinned("openssl", "version 1", version_1("a client"))
            .refused_by_us("TLS_BAD_CERTIFICATE", "is of version 1"),
        Case::new("openssl", "expired", &text, expired)
            .refused_by_both("TLS_CERTIFICATE_EXPIRED", "expired at 2020-12-31"),
        issued("cfssl", "profile server", cfssl(&[ExtendedKeyUsagePurpose::ServerAuth], &[]))
            .refused_by_both("TLS_BAD_CERTIFICATE", "may not be used for client authentication"),
        Case::new("step", "of another CA", &Step::new().root.pem, Step::new().leaf)
            .refused_by_both("TLS_UNKNOWN_CA", "comes from a CA that is not trusted here (CN=Example Intermediate CA)"),
    ]
}
