//! What a file is that is not the one that was wanted.

use super::{der, pem};

const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
const JAVA_KEY_STORE: [&[u8]; 2] = [&[0xfe, 0xed, 0xfe, 0xed], &[0xce, 0xce, 0xce, 0xce]];

pub const PRIVATE_KEY: &str = "is a private key";
const PKCS12: &str = "is a PKCS#12 file (.p12, .pfx): convert it with \"openssl pkcs12 -in FILE -nodes -out FILE.pem\"";
const PKCS7: &str = "is a PKCS#7 file (.p7b): convert it with \"openssl pkcs7 -print_certs -in FILE -out FILE.pem\", and with \
                     -inform DER if it is binary";
const KEY_STORE: &str = "is a Java key store: convert it with \"keytool -importkeystore -deststoretype PKCS12\", and that with \
                         \"openssl pkcs12 -nodes\"";
const BARE_BASE64: &str = "is base64 without the lines BEGIN and END around it: add them, or decode it to DER";

/// The end of "the file ...": what it is and how to make it usable; nothing if it is not known.
pub fn describe(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [] => Some("is empty"),
        _ if JAVA_KEY_STORE.iter().any(|start| bytes.starts_with(start)) => Some(KEY_STORE),
        [der::SEQUENCE, ..] => describe_der(bytes),
        _ if pem::is_bare_base64(bytes) => Some(BARE_BASE64),
        _ => None,
    }
}

fn describe_der(bytes: &[u8]) -> Option<&'static str> {
    // The beginning of a damaged file still shows it.
    let fields = der::lenient_contents(bytes)?;
    let (first, rest) = der::read(fields)?;
    match (first.tag, first.contents) {
        (der::OBJECT_IDENTIFIER, SIGNED_DATA) => Some(PKCS7),
        (der::INTEGER, [3]) if is_data(rest) => Some(PKCS12),
        (der::INTEGER, [0 | 1]) => Some(PRIVATE_KEY),
        (der::SEQUENCE, inner) => match der::read(inner)? {
            (der::Element { tag: der::INTEGER, contents: [0], .. }, after) if ends_as_request(after) => {
                Some("is a request for a certificate (CSR), which a CA has to sign first")
            }
            (der::Element { tag: der::OBJECT_IDENTIFIER, .. }, _) if der::expect(rest, der::BIT_STRING).is_some() => {
                Some("is a public key")
            }
            _ => None,
        },
        _ => None,
    }
}

/// Whether a ContentInfo for data follows, as in PKCS#12.
fn is_data(rest: &[u8]) -> bool {
    der::lenient_contents(rest)
        .and_then(|info| der::expect(info, der::OBJECT_IDENTIFIER))
        .is_some_and(|(id, _)| id == DATA)
}

/// Subject, public key and attributes: what follows the version in a request. In a certificate of version 1 with the serial
/// number 0 there are more fields.
fn ends_as_request(rest: &[u8]) -> bool {
    let tags: Vec<_> = der::elements(rest).map(|element| element.tag).collect();
    tags == [der::SEQUENCE, der::SEQUENCE, 0xa0] || tags == [der::SEQUENCE, der::SEQUENCE]
}

/// As `describe`, for a section of PEM with this label.
pub fn describe_section(label: &str) -> Option<&'static str> {
    match label {
        "PKCS7" | "CMS" => Some(PKCS7),
        "PKCS12" => Some(PKCS12),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
            Some("is a request for a certificate (CSR), which a CA has to sign first")
        }
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Some("is a public key"),
        "OPENSSH PRIVATE KEY" => {
            Some("is a key of OpenSSH: convert a copy of it with \"ssh-keygen -p -m PKCS8 -f FILE\"")
        }
        "DSA PRIVATE KEY" => Some("is a DSA key, which cannot be used for TLS here: use RSA, ECDSA or Ed25519"),
        _ if label.starts_with("PGP") => Some("is PGP data, which TLS does not use"),
        _ => None,
    }
}
