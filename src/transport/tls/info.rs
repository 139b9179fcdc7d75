//! What a TLS session says of itself.

use std::ffi::{CStr, CString};

use rustls::{CommonState, HandshakeKind, ProtocolVersion};

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
    /// Nothing before the handshake is done.
    pub fn of(state: &CommonState) -> Option<TlsInfo> {
        if state.is_handshaking() {
            return None;
        }
        let suite = state.negotiated_cipher_suite()?;
        let version = match state.protocol_version()? {
            ProtocolVersion::TLSv1_2 => c"TLSv1.2",
            ProtocolVersion::TLSv1_3 => c"TLSv1.3",
            _ => c"unknown",
        };
        let name = format!("{:?}", suite.suite());
        let certificates = state.peer_certificates().unwrap_or_default();
        Some(TlsInfo {
            version,
            // rustls writes the version into the names of those of TLS 1.3; IANA does not.
            cipher_suite: text(name.strip_prefix("TLS13_").map(|rest| format!("TLS_{rest}")).unwrap_or(name)),
            alpn: state.alpn_protocol().map(text),
            peer_certificates: certificates.iter().map(|der| der.to_vec()).collect(),
            key_exchange_group: state.negotiated_key_exchange_group().map(|group| text(format!("{:?}", group.name()))),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        })
    }

    /// In a few words.
    pub fn summary(&self) -> String {
        let resumed = if self.resumed { ", resumed" } else { "" };
        format!("{}, {}{resumed}", self.version.to_string_lossy(), self.cipher_suite.to_string_lossy())
    }
}

/// None of these has a NUL: they are names of rustls, and protocols that the settings were given.
fn text(name: impl Into<Vec<u8>>) -> CString {
    CString::new(name).unwrap_or_default()
}
