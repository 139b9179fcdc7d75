//! Recognises what a peer speaks instead, from the first bytes it sends, so that an error can say what to check.

use super::checksum;

/// What a side waits for when a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A message of the event-stream format.
    Message,
    /// A record of TLS.
    Tls,
}

/// Who sent the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Client,
    Server,
}

/// What bytes at the beginning of a connection look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look<'a> {
    Message,
    ClientHello,
    TlsAlert(Option<u8>),
    Tls,
    HttpRequest(&'a str),
    HttpResponse(Option<&'a str>),
    Http2,
    Json,
    Xml,
    ServerSentEvents,
    Ssh,
    Text(&'a str),
}

/// The part of a sentence that follows "what the client sent ...": what the bytes look like and what to check, such as
/// "looks like an HTTP request (GET); check ...". Nothing if they look like what was expected, or like nothing known.
pub fn describe_first_bytes(bytes: &[u8], expected: Expected, sender: Sender) -> Option<String> {
    let look = recognise(bytes)?;
    let advice = match (look, expected) {
        (Look::Message, Expected::Message) | (Look::ClientHello | Look::TlsAlert(_) | Look::Tls, Expected::Tls) => {
            return None;
        }
        (Look::Message, Expected::Tls) => match sender {
            Sender::Client => "the client does not use TLS: turn TLS on there, or off here",
            Sender::Server => "the server does not use TLS at this port: turn TLS off here, or check the port",
        },
        (Look::ClientHello | Look::TlsAlert(_) | Look::Tls, Expected::Message) => match sender {
            Sender::Client => "the client uses TLS and this side does not: turn TLS on here, or off there",
            Sender::Server => "the server expects TLS: give this client TLS settings, or check the port",
        },
        _ => match sender {
            Sender::Client => "the client does not speak event-stream RPC: check the host and port it is given",
            Sender::Server => "the server does not speak event-stream RPC at this port: check the host and port",
        },
    };
    Some(format!("looks like {}; {advice}", name(look)))
}

fn name(look: Look<'_>) -> String {
    match look {
        Look::Message => "an event-stream message without TLS".to_owned(),
        Look::ClientHello => "a TLS ClientHello".to_owned(),
        Look::TlsAlert(Some(code)) => format!("a TLS alert ({}, {code})", tls_alert_name(code)),
        Look::TlsAlert(None) => "a TLS alert".to_owned(),
        Look::Tls => "a TLS record".to_owned(),
        Look::HttpRequest(method) => format!("an HTTP request ({method})"),
        Look::HttpResponse(Some(status)) => format!("an HTTP response (status {status})"),
        Look::HttpResponse(None) => "an HTTP response".to_owned(),
        Look::Http2 => "HTTP/2".to_owned(),
        Look::Json => "JSON".to_owned(),
        Look::Xml => "XML or HTML".to_owned(),
        Look::ServerSentEvents => "server-sent events (text/event-stream, which is another format)".to_owned(),
        Look::Ssh => "SSH".to_owned(),
        Look::Text(start) => format!("text ({start:?})"),
    }
}

const METHODS: [&str; 9] = ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0";
const EVENT_FIELDS: [&str; 4] = ["data:", "event:", "id:", "retry:"];
/// Fewer characters may be there by chance.
const SHORTEST_TEXT: usize = 8;
const TEXT_SHOWN: usize = 24;

fn recognise(bytes: &[u8]) -> Option<Look<'_>> {
    if let Some(look) = recognise_tls(bytes) {
        return Some(look);
    }
    if is_prelude(bytes) {
        return Some(Look::Message);
    }
    if bytes.starts_with(HTTP2_PREFACE) || is_http2_settings(bytes) {
        return Some(Look::Http2);
    }
    let text = text(bytes);
    let words = text.trim_start();
    if let Some(rest) = text.strip_prefix("HTTP/") {
        let status = rest.split_once(' ').and_then(|(_, rest)| rest.get(..3));
        let status = status.filter(|status| status.bytes().all(|byte| byte.is_ascii_digit()));
        return Some(Look::HttpResponse(status));
    }
    let method = METHODS.into_iter().find(|method| text.strip_prefix(method).is_some_and(|rest| rest.starts_with(' ')));
    if let Some(method) = method {
        return Some(Look::HttpRequest(method));
    }
    if text.starts_with("SSH-") {
        return Some(Look::Ssh);
    }
    if EVENT_FIELDS.into_iter().any(|field| text.starts_with(field)) {
        return Some(Look::ServerSentEvents);
    }
    match words.as_bytes() {
        [b'{', ..] | [b'[', ..] if words[1..].trim_start().starts_with(['"', '{', '[', '}', ']']) => Some(Look::Json),
        [b'<', b'?' | b'!' | b'a'..=b'z' | b'A'..=b'Z', ..] => Some(Look::Xml),
        _ if text.len() >= SHORTEST_TEXT.min(bytes.len()) && words.len() >= SHORTEST_TEXT => {
            Some(Look::Text(&text[..text.len().min(TEXT_SHOWN)]))
        }
        _ => None,
    }
}

/// A record's header, and what distinguishes the kinds of record.
fn recognise_tls(bytes: &[u8]) -> Option<Look<'_>> {
    match bytes {
        [21, 3, 0..=4, 0, 2, _, code, ..] => Some(Look::TlsAlert(Some(*code))),
        [21, 3, 0..=4, 0, 2, ..] | [21, 3, 0..=4] | [21, 3, 0..=4, 0] => Some(Look::TlsAlert(None)),
        [22, 3, 0..=4, _, _, 1, ..] => Some(Look::ClientHello),
        [20..=23, 3, 0..=4, ..] => Some(Look::Tls),
        _ => None,
    }
}

fn is_prelude(bytes: &[u8]) -> bool {
    let Some((lengths, rest)) = bytes.split_first_chunk::<8>() else { return false };
    rest.first_chunk::<4>().is_some_and(|crc| u32::from_be_bytes(*crc) == checksum::of_lengths(*lengths))
}

/// What an HTTP/2 server sends first: a frame of type 4 on stream 0, whose length is a multiple of 6.
fn is_http2_settings(bytes: &[u8]) -> bool {
    matches!(bytes, [0, 0, len, 4, 0 | 1, 0, 0, 0, 0, ..] if len % 6 == 0)
}

/// The printable ASCII at the beginning.
fn text(bytes: &[u8]) -> &str {
    let is_text = |byte: &u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let end = bytes.iter().position(|byte| !is_text(byte)).unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..end]).unwrap_or_default()
}

/// The names of RFC 8446, section 6, and its predecessors.
pub fn tls_alert_name(code: u8) -> &'static str {
    match code {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => "of an unknown number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(bytes: &[u8], sender: Sender) -> String {
        describe_first_bytes(bytes, Expected::Message, sender).unwrap_or_default()
    }

    #[test]
    fn each_kind_of_stranger_is_named() {
        let known: &[(&[u8], &str)] = &[
            (b"GET / HTTP/1.1\r\n", "an HTTP request (GET)"),
            (b"CONNECT a:1 HTTP/1.1", "an HTTP request (CONNECT)"),
            (b"HTTP/1.1 400 Bad Request\r\n", "an HTTP response (status 400)"),
            (b"HTTP/", "an HTTP response"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
            (&[0, 0, 18, 4, 0, 0, 0, 0, 0, 0, 3], "HTTP/2"),
            (b" {\"a\": 1}", "JSON"),
            (b"[\n {}", "JSON"),
            (b"<?xml version", "XML or HTML"),
            (b"<html>", "XML or HTML"),
            (b"data: {}\n\n", "server-sent events"),
            (b"SSH-2.0-OpenSSH", "SSH"),
            (b"220 mail.example ESMTP ready and more\r\n", "text (\"220 mail.example ESMTP r\")"),
            (&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3], "a TLS ClientHello"),
            (&[22, 3, 3, 0, 90, 2], "a TLS record"),
            (&[21, 3, 1, 0, 2, 2, 70], "a TLS alert (protocol_version, 70)"),
            (&[21, 3, 1], "a TLS alert;"),
        ];
        for (bytes, expected) in known {
            for sender in [Sender::Client, Sender::Server] {
                let part = plain(bytes, sender);
                assert!(part.starts_with(&format!("looks like {expected}")), "{bytes:?}: {part:?}");
            }
        }
    }

    #[test]
    fn the_advice_depends_on_who_sent_the_bytes() {
        let hello = [22, 3, 1, 2, 0, 1, 0];
        assert!(plain(&hello, Sender::Client).ends_with("turn TLS on here, or off there"));
        let alert = [21, 3, 1, 0, 2, 2, 70];
        assert!(plain(&alert, Sender::Server).ends_with("give this client TLS settings, or check the port"));
        assert!(plain(b"GET / HTTP/1.1\r\n", Sender::Client).contains("the client does not speak"));
        let message = [0, 0, 0, 16, 0, 0, 0, 0, 5, 0xc2, 0x48, 0xeb];
        let part = describe_first_bytes(&message, Expected::Tls, Sender::Client).unwrap_or_default();
        assert_eq!(
            part,
            "looks like an event-stream message without TLS; the client does not use TLS: turn TLS on there, or off here"
        );
    }

    #[test]
    fn nothing_is_said_of_what_was_expected_or_is_unknown() {
        let message = [0, 0, 0, 16, 0, 0, 0, 0, 5, 0xc2, 0x48, 0xeb];
        assert_eq!(plain(&message, Sender::Server), "");
        assert_eq!(describe_first_bytes(&[22, 3, 1, 2, 0, 1, 0], Expected::Tls, Sender::Client), None);
        for unknown in [&b""[..], b"{", b"<", b"G", b"abc", &[0; 12], &[0xff; 40], b"0123\x00"] {
            assert_eq!(plain(unknown, Sender::Client), "", "{unknown:?}");
        }
    }
}
