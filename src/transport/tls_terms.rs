//! What is said of TLS, also by a build of the library that has none.

use std::ffi::{CStr, CString};

/// Which side of connections settings are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsRole {
    Client,
    Server,
}

/// Versions of the protocol, the older first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// Whether a server asks clients for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    None,
    /// A client may have none; one that it has must be good.
    Optional,
    Required,
}

/// Whether a handshake is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeProgress {
    Done,
    Pending,
}

/// What the handshake agreed on, as text that C can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// "TLSv1.2" or "TLSv1.3".
    pub version: &'static CStr,
    /// The name in IANA's list, such as "TLS_AES_256_GCM_SHA384".
    pub cipher_suite: CString,
    /// The application protocol, if both sides spoke of one.
    pub alpn: Option<CString>,
    /// The peer's chain, DER, its own certificate first; empty if it showed none.
    pub peer_certificates: Vec<Vec<u8>>,
    /// Such as "X25519MLKEM768"; nothing in a resumed session of TLS 1.2.
    pub key_exchange_group: Option<CString>,
    /// An earlier session was taken up again.
    pub resumed: bool,
}

impl TlsInfo {
    /// In a few words.
    pub fn summary(&self) -> String {
        let resumed = if self.resumed { ", resumed" } else { "" };
        format!("{}, {}{resumed}", self.version.to_string_lossy(), self.cipher_suite.to_string_lossy())
    }
}
