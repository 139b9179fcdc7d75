//! What a TLS session says of itself.

use std::ffi::CString;

use rustls::{CommonState, HandshakeKind, ProtocolVersion};

use crate::transport::tls_terms::TlsInfo;

/// Nothing before the handshake is done.
pub fn info_of(state: &CommonState) -> Option<TlsInfo> {
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

/// None of these has a NUL: they are names of rustls, and protocols that the settings were given.
fn text(name: impl Into<Vec<u8>>) -> CString {
    CString::new(name).unwrap_or_default()
}
