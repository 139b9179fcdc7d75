//! Names of the kinds of keys, in words that a sentence can use.

use rustls::pki_types::PrivateKeyDer;

use super::der;

/// What can be used, for the end of sentences.
pub const USABLE: &str = "use RSA with 2048 to 8192 bits, ECDSA on P-256 or P-384, or Ed25519";

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Kinds that have nothing but a name.
const KINDS: &[(&[u8], &str, bool)] = &[
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10], "an RSA key for PSS signatures only (RSASSA-PSS)", false),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1], "a DSA key", false),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 3, 1], "a Diffie-Hellman key", false),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3e, 2, 1], "a Diffie-Hellman key", false),
    (&[0x2b, 0x65, 0x6e], "an X25519 key, which cannot sign", false),
    (&[0x2b, 0x65, 0x6f], "an X448 key, which cannot sign", false),
    (&[0x2b, 0x65, 0x70], "an Ed25519 key", true),
    (&[0x2b, 0x65, 0x71], "an Ed448 key", false),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 17], "an ML-DSA-44 key", false),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 18], "an ML-DSA-65 key", false),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 19], "an ML-DSA-87 key", false),
];

const CURVES: &[(&[u8], &str, bool)] = &[
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], "P-256", true),
    (&[0x2b, 0x81, 4, 0, 0x22], "P-384", true),
    (&[0x2b, 0x81, 4, 0, 0x23], "P-521", cfg!(feature = "aws-lc-rs")),
    (&[0x2b, 0x81, 4, 0, 0x21], "P-224", false),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 1], "P-192", false),
    (&[0x2b, 0x81, 4, 0, 10], "secp256k1", false),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 7], "brainpoolP256r1", false),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 11], "brainpoolP384r1", false),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 13], "brainpoolP512r1", false),
    (&[0x2a, 0x81, 0x1c, 0xcf, 0x55, 1, 0x82, 0x2d], "SM2", false),
];

/// A kind of key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Such as "an RSA key of 1024 bits".
    pub name: String,
    pub is_usable: bool,
}

/// Of a SubjectPublicKeyInfo.
pub fn public(info: &[u8]) -> Option<Kind> {
    let (fields, _) = der::expect(info, der::SEQUENCE)?;
    let (algorithm, rest) = der::expect(fields, der::SEQUENCE)?;
    let (bits, _) = der::expect(rest, der::BIT_STRING)?;
    let modulus = bits.get(1..).and_then(|key| der::expect(key, der::SEQUENCE)).map(|(numbers, _)| numbers);
    of_algorithm(algorithm, modulus)
}

/// Of a private key: PKCS#8, PKCS#1 or SEC1.
pub fn private(key: &PrivateKeyDer<'_>) -> Option<Kind> {
    let (fields, _) = der::expect(key.secret_der(), der::SEQUENCE)?;
    let (_version, rest) = der::expect(fields, der::INTEGER)?;
    match key {
        PrivateKeyDer::Pkcs1(_) => rsa(rest),
        PrivateKeyDer::Sec1(_) => {
            let (_number, rest) = der::expect(rest, der::OCTET_STRING)?;
            const PARAMETERS: u8 = 0xa0;
            curve(der::expect(rest, PARAMETERS)?.0)
        }
        _ => {
            let (algorithm, rest) = der::expect(rest, der::SEQUENCE)?;
            let (inner, _) = der::expect(rest, der::OCTET_STRING)?;
            let numbers = der::expect(inner, der::SEQUENCE).and_then(|(fields, _)| der::expect(fields, der::INTEGER));
            of_algorithm(algorithm, numbers.map(|(_version, numbers)| numbers))
        }
    }
}

/// Of an AlgorithmIdentifier's contents. `numbers` begin with the modulus if the key is one of RSA.
fn of_algorithm(algorithm: &[u8], numbers: Option<&[u8]>) -> Option<Kind> {
    let (identifier, parameters) = der::expect(algorithm, der::OBJECT_IDENTIFIER)?;
    match identifier {
        RSA => rsa(numbers?),
        EC => curve(parameters),
        _ => Some(match KINDS.iter().find(|(known, ..)| *known == identifier) {
            Some((_, name, is_usable)) => Kind { name: (*name).to_owned(), is_usable: *is_usable },
            None => Kind { name: format!("a key of the kind {}", der::identifier_text(identifier)), is_usable: false },
        }),
    }
}

fn rsa(numbers: &[u8]) -> Option<Kind> {
    let (modulus, _) = der::expect(numbers, der::INTEGER)?;
    let first = modulus.iter().position(|byte| *byte != 0)?;
    let bits = (modulus.len() - first) * 8 - modulus[first].leading_zeros() as usize;
    Some(Kind { name: format!("an RSA key of {bits} bits"), is_usable: RSA_BITS.contains(&bits) })
}

fn curve(parameters: &[u8]) -> Option<Kind> {
    let Some((identifier, _)) = der::expect(parameters, der::OBJECT_IDENTIFIER) else {
        let name = "an elliptic-curve key whose curve is written out, not named".to_owned();
        return Some(Kind { name, is_usable: false });
    };
    let (name, is_usable) = match CURVES.iter().find(|(known, ..)| *known == identifier) {
        Some((_, name, is_usable)) => ((*name).to_owned(), *is_usable),
        None => (der::identifier_text(identifier), false),
    };
    Some(Kind { name: format!("a key on the curve {name}"), is_usable })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_private_keys_have_names() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let private_key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let expected = Kind { name: "a key on the curve P-256".to_owned(), is_usable: true };
        assert_eq!(private(&private_key), Some(expected));
        assert_eq!(private(&PrivateKeyDer::Pkcs8(vec![0x30, 0].into())), None);
        // PKCS#1 with a modulus of 1024 bits.
        let numbers = [&[2, 0x81, 0x81, 0, 0x80][..], &[1; 127]].concat();
        assert_eq!(rsa(&numbers), Some(Kind { name: "an RSA key of 1024 bits".to_owned(), is_usable: false }));
        let algorithm = [&[6, 5][..], &[0x2b, 0x24, 3, 3, 2]].concat();
        let unknown = of_algorithm(&algorithm, None).expect("a kind");
        assert_eq!(unknown.name, "a key of the kind 1.3.36.3.3.2");
    }
}
