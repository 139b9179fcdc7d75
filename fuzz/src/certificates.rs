//! PEM and DER as TLS settings take them: certificates, chains, keys and revocation lists.

use arbitrary::{Arbitrary, Unstructured};
use eventstream_rpc::transport::{
    ClientAuth, ErrorKind, HandshakeProgress, TlsConfigBuilder, TlsRole, TlsSession, TlsVersion, check_server_name,
};

use crate::identities::{Both, NAME, identities};

const MAX_STEPS: usize = 20;

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    AddCa(Source<'a>),
    AddCrl(Source<'a>),
    SetCertificate(Source<'a>, Source<'a>),
    /// With the other one good.
    SetChain(Source<'a>),
    SetKey(Source<'a>),
    SetRevocation(bool, bool),
    SetClientAuth(u8),
    SetVersions(u8),
    AddAlpn(&'a [u8]),
    DisableVerification,
    SetResumption(bool),
    Name(&'a [u8]),
    Build,
}

/// Bytes as they come, or something good that was altered.
#[derive(Arbitrary, Debug)]
enum Source<'a> {
    Raw(&'a [u8]),
    Known {
        which: u8,
        pem: bool,
        edits: Edits<'a>,
    },
    /// Several, one behind the other.
    Joined {
        which: [u8; 3],
        between: &'a [u8],
        edits: Edits<'a>,
    },
    /// DER in PEM of any label.
    Labelled {
        label: u8,
        which: u8,
        edits: Edits<'a>,
    },
    LabelledRaw {
        label: u8,
        bytes: &'a [u8],
    },
}

#[derive(Arbitrary, Debug)]
struct Edits<'a> {
    count: u8,
    edits: [Edit<'a>; 3],
}

#[derive(Arbitrary, Debug)]
enum Edit<'a> {
    Set(u16, u8),
    Insert(u16, &'a [u8]),
    Remove(u16, u8),
    Truncate(u16),
    Double(u16, u8),
}

const LABELS: [&str; 9] = [
    "CERTIFICATE",
    "X509 CRL",
    "PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "TRUSTED CERTIFICATE",
    "X509 CERTIFICATE",
    "",
];

fn known(which: u8) -> &'static Both {
    let known = identities();
    [&known.authority, &known.certificate, &known.key, &known.other_key, &known.revocation_list][usize::from(which) % 5]
}

impl Edits<'_> {
    fn apply(&self, bytes: &mut Vec<u8>) {
        for edit in self.edits.iter().take(usize::from(self.count % 4)) {
            let place = |at: u16| usize::from(at) % bytes.len().max(1);
            match *edit {
                Edit::Set(at, value) => {
                    let at = place(at);
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = value;
                    }
                }
                Edit::Insert(at, inserted) => {
                    let at = place(at).min(bytes.len());
                    bytes.splice(at..at, inserted.iter().copied());
                }
                Edit::Remove(at, count) => {
                    let at = place(at).min(bytes.len());
                    let end = (at + usize::from(count)).min(bytes.len());
                    bytes.drain(at..end);
                }
                Edit::Truncate(at) => bytes.truncate(place(at)),
                Edit::Double(at, count) => {
                    let at = place(at).min(bytes.len());
                    let part = bytes[at..(at + usize::from(count)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
    }

    fn is_none(&self) -> bool {
        self.count.is_multiple_of(4)
    }
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n").into_bytes();
    for (index, group) in der.chunks(3).enumerate() {
        let bits = group.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let is_there = digit <= group.len();
            text.push(if is_there { DIGITS[bits >> (18 - 6 * digit) & 63] } else { b'=' });
        }
        if index % 16 == 15 {
            text.push(b'\n');
        }
    }
    text.extend_from_slice(format!("\n-----END {label}-----\n").as_bytes());
    text
}

impl Source<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Source::Raw(bytes) => bytes.to_vec(),
            Source::Known { which, pem, edits } => {
                let known = known(*which);
                let mut bytes = if *pem { known.pem.clone() } else { known.der.clone() };
                edits.apply(&mut bytes);
                bytes
            }
            Source::Joined { which, between, edits } => {
                let mut bytes = which.map(|which| known(which).pem.clone()).join(*between);
                edits.apply(&mut bytes);
                bytes
            }
            Source::Labelled { label, which, edits } => {
                let mut der = known(*which).der.clone();
                edits.apply(&mut der);
                pem(LABELS[usize::from(*label) % LABELS.len()], &der)
            }
            Source::LabelledRaw { label, bytes } => pem(LABELS[usize::from(*label) % LABELS.len()], bytes),
        }
    }

    /// Exactly one of the good ones.
    fn is_sound(&self, wanted: u8) -> bool {
        matches!(self, Source::Known { which, edits, .. } if which % 5 == wanted && edits.is_none())
    }
}

/// A failure says so: its sentence is not empty, and it is one of TLS.
fn check<T>(result: Result<T, eventstream_rpc::transport::Error>, must_succeed: bool) -> bool {
    match result {
        Ok(_) => true,
        Err(error) => {
            assert!(!must_succeed, "{error}");
            assert!(matches!(error.kind, ErrorKind::Tls(_)) && !error.to_string().is_empty());
            false
        }
    }
}

fn act(builder: &mut TlsConfigBuilder, step: &Step<'_>) {
    match step {
        Step::AddCa(source) => {
            let is_sound = source.is_sound(0) || source.is_sound(1);
            check(builder.add_ca(&source.bytes()), is_sound);
        }
        Step::AddCrl(source) => _ = check(builder.add_crl(&source.bytes()), source.is_sound(4)),
        Step::SetCertificate(chain, key) => {
            let is_sound = chain.is_sound(1) && key.is_sound(2);
            let is_set = check(builder.set_certificate(&chain.bytes(), &key.bytes()), is_sound);
            assert!(!(is_set && chain.is_sound(1) && key.is_sound(3)), "the key of somebody else");
        }
        Step::SetChain(chain) => {
            check(builder.set_certificate(&chain.bytes(), &identities().key.der), chain.is_sound(1));
        }
        Step::SetKey(key) => {
            let is_set = check(builder.set_certificate(&identities().certificate.der, &key.bytes()), key.is_sound(2));
            assert!(!(is_set && key.is_sound(3)), "the key of somebody else");
        }
        Step::SetRevocation(leaf_only, allow_unknown) => builder.set_revocation(*leaf_only, *allow_unknown),
        Step::SetClientAuth(number) => {
            let all = [ClientAuth::None, ClientAuth::Optional, ClientAuth::Required];
            builder.set_client_auth(all[usize::from(*number) % 3]);
        }
        Step::SetVersions(number) => {
            let (older, newer) = (TlsVersion::V1_2, TlsVersion::V1_3);
            let all = [(older, newer), (older, older), (newer, newer)];
            let (min, max) = all[usize::from(*number) % 3];
            builder.set_versions(min, max);
        }
        Step::AddAlpn(name) if (1..256).contains(&name.len()) => builder.add_alpn(name),
        Step::AddAlpn(_) => {}
        Step::DisableVerification => builder.dangerous_disable_verification(),
        Step::SetResumption(on) => builder.set_session_resumption(*on),
        Step::Name(name) => {
            if let Ok(name) = std::str::from_utf8(name) {
                let is_good = check_server_name(name).is_ok();
                assert!(is_good || !name.eq_ignore_ascii_case(NAME));
            }
        }
        Step::Build => build(builder),
    }
}

/// What was built can begin a session.
fn build(builder: &TlsConfigBuilder) {
    let Ok(config) = builder.build() else { return };
    assert_eq!(config.role(), builder.role());
    let session = match config.role() {
        TlsRole::Client => TlsSession::client(&config, NAME),
        TlsRole::Server => TlsSession::server(&config),
    };
    let mut session = session.expect("a session");
    let mut nothing = Nothing;
    assert_eq!(session.handshake(&mut nothing).expect("nothing came yet"), HandshakeProgress::Pending);
}

/// A peer that says nothing and takes everything.
struct Nothing;

impl std::io::Read for Nothing {
    fn read(&mut self, _buffer: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::WouldBlock.into())
    }
}

impl std::io::Write for Nothing {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub fn run(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    let Ok(is_client) = bool::arbitrary(&mut u) else { return };
    let mut builder = TlsConfigBuilder::new(if is_client { TlsRole::Client } else { TlsRole::Server });
    // The system's trust store is not what is tried here, and takes long to read.
    if is_client {
        builder.add_ca(&identities().authority.pem).expect("a CA");
    }
    for _ in 0..MAX_STEPS {
        if u.is_empty() {
            break;
        }
        let Ok(step) = Step::arbitrary(&mut u) else { break };
        act(&mut builder, &step);
    }
    build(&builder);
}
