//! From the errors of rustls to kinds and sentences.

use std::io;
use std::net::IpAddr;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};

use super::TlsRole;
use super::revocation::explain_list;
use super::wording::{take_remark, words};
use crate::codec::{Expected, Sender, describe_first_bytes, tls_alert_name};
use crate::transport::{Cause, Error, ErrorKind, TlsErrorKind};

/// How far a session is, for sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Handshake,
    Established,
}

/// The peer sent `bytes`, which are not TLS.
pub fn not_tls(bytes: &[u8], role: TlsRole) -> Error {
    let sender = match role {
        TlsRole::Client => Sender::Server,
        TlsRole::Server => Sender::Client,
    };
    let part = describe_first_bytes(bytes, Expected::Tls, sender);
    let part =
        part.map_or("check the host and port, and that both sides use TLS".to_owned(), |part| format!("it {part}"));
    let sentence = format!("the TLS handshake failed: what the {} sent is not TLS; {part}", peer(role));
    Error::new(ErrorKind::Tls(TlsErrorKind::HandshakeFailed), sentence)
}

/// The peer closed the connection; `is_silent`: before it sent anything.
pub fn closed_in_handshake(is_silent: bool, role: TlsRole) -> Error {
    let hint = if is_silent { " without sending anything: does it use TLS at this port?" } else { "" };
    let sentence = format!("the {} closed the connection during the TLS handshake{hint}", peer(role));
    Error::new(ErrorKind::Tls(TlsErrorKind::PeerClosed), sentence)
}

/// Whether the peer's bytes are not even the header of a record.
pub fn is_not_tls(error: &rustls::Error) -> bool {
    let is_bad_header = |error: &InvalidMessage| {
        matches!(error, InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion)
    };
    matches!(error, rustls::Error::InvalidMessage(error) if is_bad_header(error))
}

/// What `error` means to the side with `role`.
pub fn from_rustls(error: &rustls::Error, role: TlsRole, stage: Stage) -> Error {
    let (kind, what) = explain(error, role);
    let start = match stage {
        Stage::Handshake => "the TLS handshake failed",
        Stage::Established => "the TLS connection failed",
    };
    let sent = sent_alert(error, role).map(u8::from);
    let alert = match error {
        rustls::Error::AlertReceived(received) => Some(u8::from(*received)),
        _ => sent,
    };
    let sent = match sent {
        Some(code) => format!("; this side sent the alert {} ({code})", tls_alert_name(code)),
        None => String::new(),
    };
    Error::new(ErrorKind::Tls(kind), format!("{start}: {what}{sent}")).caused_by(alert.map(Cause::Alert))
}

/// The alert that rustls sends because of `error`; nothing where it is not the same at each place.
fn sent_alert(error: &rustls::Error, role: TlsRole) -> Option<AlertDescription> {
    use PeerIncompatible as Reason;
    use rustls::Error;
    match (error, role) {
        (Error::InvalidCertificate(error), _) => Some(error.clone().into()),
        (Error::InvalidCertRevocationList(_), _) => Some(AlertDescription::HandshakeFailure),
        (Error::NoCertificatesPresented, TlsRole::Server) => Some(AlertDescription::CertificateRequired),
        (Error::NoApplicationProtocol, TlsRole::Server) => Some(AlertDescription::NoApplicationProtocol),
        (Error::PeerIncompatible(reason), TlsRole::Server) => match reason {
            Reason::SupportedVersionsExtensionRequired | Reason::Tls12NotOffered | Reason::Tls12NotOfferedOrEnabled => {
                Some(AlertDescription::ProtocolVersion)
            }
            Reason::NoCipherSuitesInCommon | Reason::NoKxGroupsInCommon | Reason::NoSignatureSchemesInCommon => {
                Some(AlertDescription::HandshakeFailure)
            }
            _ => None,
        },
        _ => None,
    }
}

fn explain(error: &rustls::Error, role: TlsRole) -> (TlsErrorKind, String) {
    use rustls::Error;
    match error {
        Error::InvalidCertificate(error) => explain_certificate(error, role),
        Error::InvalidCertRevocationList(reason) => {
            let what = format!("a revocation list for the {}'s certificate {}", peer(role), explain_list(reason));
            (TlsErrorKind::BadRevocationList, what)
        }
        Error::NoCertificatesPresented => match role {
            TlsRole::Server => (TlsErrorKind::CertificateRequired, "the client sent no certificate".to_owned()),
            TlsRole::Client => (TlsErrorKind::BadCertificate, "the server sent no certificate".to_owned()),
        },
        Error::PeerIncompatible(reason) => explain_incompatible(reason, role),
        Error::NoApplicationProtocol => {
            let what = format!("the {} offers no application protocol (ALPN) that this side has", peer(role));
            (TlsErrorKind::NoCommonAlpn, what)
        }
        Error::AlertReceived(alert) => explain_alert(*alert, role),
        error if is_not_tls(error) => {
            (TlsErrorKind::HandshakeFailed, format!("what the {} sent is not TLS", peer(role)))
        }
        other => (TlsErrorKind::HandshakeFailed, explain_other(other, role)),
    }
}

/// Errors that no peer of ours causes, and few others.
fn explain_other(error: &rustls::Error, role: TlsRole) -> String {
    use rustls::Error;
    let peer = peer(role);
    match error {
        Error::InvalidMessage(
            InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::CertificatePayloadTooLarge,
        ) => format!(
            "the {peer} sent a message of more than 65,535 bytes, such as a long chain of certificates: shorten it"
        ),
        Error::InvalidMessage(reason) => format!("the {peer} sent a malformed message ({})", words(reason)),
        Error::PeerMisbehaved(reason) => format!("the {peer} broke the rules of TLS ({})", words(reason)),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            format!("the {peer} sent a message that does not belong there")
        }
        Error::DecryptError => format!("what the {peer} sent cannot be decrypted"),
        Error::PeerSentOversizedRecord => format!("the {peer} sent a record that is too long"),
        Error::FailedToGetRandomBytes => "the system gives no random bytes".to_owned(),
        Error::FailedToGetCurrentTime => "the system does not know the time".to_owned(),
        other => words(other),
    }
}

fn explain_certificate(error: &CertificateError, role: TlsRole) -> (TlsErrorKind, String) {
    let of = format!("the {}'s certificate", peer(role));
    let (kind, what) = explain_verdict(error, &of);
    match take_remark() {
        Some(remark) => (kind, format!("{of} {remark}")),
        None => (kind, what),
    }
}

/// `of` names the certificate.
fn explain_verdict(error: &CertificateError, of: &str) -> (TlsErrorKind, String) {
    use CertificateError as Certificate;
    match error {
        Certificate::UnknownIssuer => {
            (TlsErrorKind::UnknownCa, format!("{of} comes from a CA that is not trusted here"))
        }
        Certificate::Expired => (TlsErrorKind::CertificateExpired, format!("{of} has expired")),
        Certificate::ExpiredContext { time, not_after } => (
            TlsErrorKind::CertificateExpired,
            format!("{of} expired at {}; it is now {}", date(*not_after), date(*time)),
        ),
        Certificate::NotValidYet => (TlsErrorKind::CertificateNotYetValid, format!("{of} is not valid yet")),
        Certificate::NotValidYetContext { time, not_before } => {
            let what = format!("{of} is valid from {} on; it is now {}", date(*not_before), date(*time));
            (TlsErrorKind::CertificateNotYetValid, what)
        }
        Certificate::NotValidForName => (TlsErrorKind::WrongName, format!("{of} is for another name")),
        Certificate::NotValidForNameContext { expected, presented } => {
            (TlsErrorKind::WrongName, format!("{of} {}", explain_names(&expected.to_str(), presented)))
        }
        Certificate::Revoked => {
            (TlsErrorKind::CertificateRevoked, format!("{of}, or one that vouches for it, is revoked"))
        }
        Certificate::UnknownRevocationStatus => {
            let what = format!("no revocation list here is for {of} or for one that vouches for it");
            (TlsErrorKind::RevocationUnknown, what)
        }
        Certificate::ExpiredRevocationList => {
            (TlsErrorKind::RevocationListExpired, format!("the revocation list for {of} has expired"))
        }
        Certificate::ExpiredRevocationListContext { time, next_update } => {
            let (end, now) = (date(*next_update), date(*time));
            let what = format!("the revocation list for {of} expired at {end}; it is now {now}");
            (TlsErrorKind::RevocationListExpired, what)
        }
        Certificate::BadEncoding => (TlsErrorKind::BadCertificate, format!("{of} cannot be read")),
        Certificate::BadSignature => {
            (TlsErrorKind::BadCertificate, format!("{of}, or one that vouches for it, has a signature that is wrong"))
        }
        Certificate::InvalidPurposeContext { required, .. } => {
            (TlsErrorKind::BadCertificate, format!("{of} may not be used for {required}"))
        }
        Certificate::InvalidPurpose => (TlsErrorKind::BadCertificate, format!("{of} may not be used for this purpose")),
        Certificate::Other(reason) => {
            (TlsErrorKind::BadCertificate, format!("{of} cannot be accepted ({})", words(&reason.0)))
        }
        other => (TlsErrorKind::BadCertificate, format!("{of} cannot be accepted ({})", words(other))),
    }
}

fn explain_incompatible(reason: &PeerIncompatible, role: TlsRole) -> (TlsErrorKind, String) {
    use PeerIncompatible as Reason;
    match reason {
        Reason::ServerDoesNotSupportTls12Or13
        | Reason::ServerTlsVersionIsDisabledByOurConfig
        | Reason::SupportedVersionsExtensionRequired
        | Reason::Tls12NotOffered
        | Reason::Tls12NotOfferedOrEnabled => {
            let what =
                format!("the {} has no TLS version that this side has turned on ({})", peer(role), words(reason));
            (TlsErrorKind::NoCommonVersion, what)
        }
        Reason::NoCipherSuitesInCommon
        | Reason::NoKxGroupsInCommon
        | Reason::NoSignatureSchemesInCommon
        | Reason::NoCertificateRequestSignatureSchemesInCommon
        | Reason::NoEcPointFormatsInCommon => {
            let what = format!(
                "the {} has no cipher suite, key exchange group or signature scheme that this side has ({})",
                peer(role),
                words(reason)
            );
            (TlsErrorKind::NoCommonCipher, what)
        }
        other => (TlsErrorKind::HandshakeFailed, format!("the {} lacks what is needed ({})", peer(role), words(other))),
    }
}

fn explain_alert(alert: AlertDescription, role: TlsRole) -> (TlsErrorKind, String) {
    let code = u8::from(alert);
    let meaning = match alert {
        AlertDescription::HandshakeFailure => {
            ": it has no cipher suite, key exchange group or kind of certificate key in common with this side"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown => ": it does not accept this side's certificate",
        AlertDescription::UnknownCA => ": it does not trust the CA of this side's certificate",
        AlertDescription::CertificateRequired => ": this side has to show a certificate",
        AlertDescription::UnrecognisedName => ": it has no certificate for the name that it was asked for",
        _ => "",
    };
    let what = format!("the {} sent the alert {} ({code}){meaning}", peer(role), tls_alert_name(code));
    let kind = match alert {
        // These two say exactly what the other side's kind says.
        AlertDescription::NoApplicationProtocol => TlsErrorKind::NoCommonAlpn,
        AlertDescription::ProtocolVersion => TlsErrorKind::NoCommonVersion,
        _ => TlsErrorKind::AlertReceived,
    };
    (kind, what)
}

/// The other side.
fn peer(role: TlsRole) -> &'static str {
    match role {
        TlsRole::Client => "server",
        TlsRole::Server => "client",
    }
}

/// What names a certificate is for, as the end of "the certificate ...", if `expected` is not among them.
fn explain_names(expected: &str, presented: &[String]) -> String {
    if presented.is_empty() {
        return format!(
            "is not for {expected}: it has no subject alternative name at all, and a common name does not count; have one \
             made with a subject alternative name"
        );
    }
    let names: Vec<_> = presented.iter().map(|name| bare_name(name)).collect();
    let is_same_text = |(name, bare): (&String, &&str)| *bare == expected && name.starts_with("DnsName(");
    if expected.parse::<IpAddr>().is_ok() && presented.iter().zip(&names).any(is_same_text) {
        return format!(
            "is not for the address {expected}: it has {expected} as a DNS name, but an address has to be there as an IP \
             address (subjectAltName = IP:{expected}); have it issued anew"
        );
    }
    format!("is not for {expected}, but for {}", names.join(", "))
}

/// `DnsName("a.example")` and `IpAddress(127.0.0.1)`, as the verifier writes them, without the wrapping.
fn bare_name(name: &str) -> &str {
    let inner = ["DnsName(", "IpAddress("].iter().find_map(|start| name.strip_prefix(start)?.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

/// A point in time in the calendar, UTC.
fn date(time: UnixTime) -> String {
    const DAY: u64 = 24 * 60 * 60;
    let (days, second) = (time.as_secs() / DAY, time.as_secs() % DAY);
    // Years that begin in March have the leap day at their end, and 400 of them always 146,097 days; 719,468 days lie
    // between the March of year 0 and 1970.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02} UTC", second % 60)
}

/// An error of the session as reads and writes return it; `Error::from_io` gets it back.
pub fn as_io(error: &Error) -> io::Error {
    let kind = match error.kind {
        ErrorKind::Tls(TlsErrorKind::Truncated) => io::ErrorKind::UnexpectedEof,
        ErrorKind::Reset => io::ErrorKind::ConnectionReset,
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, error.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn date_of(seconds: u64) -> String {
        date(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date_of(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date_of(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(date_of(1_767_225_599), "2025-12-31 23:59:59 UTC");
        assert_eq!(date_of(4_107_542_400), "2100-03-01 00:00:00 UTC");
    }

    #[test]
    fn alerts_have_their_names() {
        let error = rustls::Error::AlertReceived(AlertDescription::UnknownCA);
        let error = from_rustls(&error, TlsRole::Client, Stage::Handshake);
        assert_eq!(error.kind, ErrorKind::Tls(TlsErrorKind::AlertReceived));
        assert_eq!(
            error.to_string(),
            "the TLS handshake failed: the server sent the alert unknown_ca (48): it does not trust the CA of this side's certificate"
        );
    }

    #[test]
    fn names_of_a_certificate_stand_bare() {
        assert_eq!(bare_name("DnsName(\"a.example\")"), "a.example");
        assert_eq!(bare_name("IpAddress(127.0.0.1)"), "127.0.0.1");
        assert_eq!(bare_name("other"), "other");
    }
}
