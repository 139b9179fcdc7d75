//! Words for what rustls has only names for.

use std::cell::RefCell;
use std::fmt::Debug;

thread_local! {
    /// Why this thread has just refused a certificate: the errors of rustls decide on the alert, but most of them have no room
    /// for words.
    static REMARK: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The end of "the peer's certificate ..." for the certificate that this thread refuses; nothing if the error says it all.
pub fn set_remark(remark: Option<String>) {
    REMARK.set(remark);
}

/// What was set since the last call.
pub fn take_remark() -> Option<String> {
    REMARK.take()
}

/// The name of a reason in words: "NoCipherSuitesInCommon" becomes "no cipher suites in common".
pub fn words(reason: &impl Debug) -> String {
    let name = format!("{reason:?}");
    let name = name.split(['(', '{', ' ']).next().unwrap_or_default();
    let mut words = String::new();
    let mut was_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && was_lower {
            words.push(' ');
        }
        was_lower = c.is_lowercase() || c.is_ascii_digit();
        words.extend(c.to_lowercase());
    }
    let abbreviations =
        [("tls12 or13", "TLS 1.2 or 1.3"), ("tls12", "TLS 1.2"), ("tls13", "TLS 1.3"), ("kx", "key exchange")];
    abbreviations.iter().fold(words, |words, (short, long)| words.replace(short, long))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_words() {
        assert_eq!(words(&rustls::PeerIncompatible::NoCipherSuitesInCommon), "no cipher suites in common");
        assert_eq!(words(&rustls::PeerIncompatible::Tls12NotOffered), "TLS 1.2 not offered");
        let reason = rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13;
        assert_eq!(words(&reason), "server does not support TLS 1.2 or 1.3");
        assert_eq!(words(&rustls::Error::General("x".to_owned())), "general");
    }
}
