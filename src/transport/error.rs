use std::fmt;
use std::io;

use super::system;

/// The kind of a failure of a socket, a file or TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    AccessDenied,
    AddressInUse,
    AddressInvalid,
    AddressUnavailable,
    /// The backlog of a Unix socket is full; there is no event for when it has room.
    BacklogFull,
    ConnectFailed,
    InterfaceNotFound,
    Io,
    NotFound,
    PathTooLong,
    Refused,
    Reset,
    ResolveFailed,
    Tls(TlsErrorKind),
    TooManyFiles,
    Unsupported,
    /// A descriptor from the application is not the kind of socket that is needed.
    WrongSocket,
}

/// The kind of a TLS failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsErrorKind {
    /// Settings that contradict each other, or that the cryptography provider refuses.
    Config,
    NoCertificate,
    BadKey,
    KeyEncrypted,
    KeyMismatch,
    ServerNameRequired,
    /// Anything without a kind of its own.
    HandshakeFailed,
    UnknownCa,
    CertificateExpired,
    CertificateNotYetValid,
    WrongName,
    BadCertificate,
    NoCommonVersion,
    NoCommonAlpn,
    AlertReceived,
    /// Closed during the handshake.
    PeerClosed,
    /// Ended without close_notify.
    Truncated,
    /// The client did not send one.
    CertificateRequired,
    NoCommonCipher,
    /// It cannot be read, or is not signed by its CA.
    BadRevocationList,
    CertificateRevoked,
    /// No list covers a certificate.
    RevocationUnknown,
    RevocationListExpired,
}

/// A failed call: what was tried, on what, and what the system said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    sentence: String,
    cause: Option<Cause>,
}

/// The number behind a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The system's error: errno, or that of WSAGetLastError.
    System(i32),
    /// The alert of TLS that the peer or this side sent.
    Alert(u8),
}

impl Error {
    pub fn new(kind: ErrorKind, sentence: impl Into<String>) -> Error {
        Error { kind, sentence: sentence.into(), cause: None }
    }

    pub fn caused_by(self, cause: Option<Cause>) -> Error {
        Error { cause, ..self }
    }

    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// The same failure, with more to its sentence.
    pub fn with_sentence(self, sentence: String) -> Error {
        Error { sentence, ..self }
    }

    /// `action` says what failed, as in "reading key.pem". `otherwise` is the kind for errors without one of their own.
    /// An error of this type inside `error` is returned as it is.
    pub fn from_io(action: &str, error: &io::Error, otherwise: ErrorKind) -> Error {
        if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            return inner.clone();
        }
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::AccessDenied,
            io::ErrorKind::AddrInUse => ErrorKind::AddressInUse,
            io::ErrorKind::AddrNotAvailable => ErrorKind::AddressUnavailable,
            io::ErrorKind::ConnectionRefused => ErrorKind::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                ErrorKind::Reset
            }
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ if system::is_descriptor_shortage(error) => ErrorKind::TooManyFiles,
            _ => otherwise,
        };
        Error {
            kind,
            sentence: format!("{action}: {}", words_of(error)),
            cause: error.raw_os_error().map(Cause::System),
        }
    }
}

/// What the system says, with its number under the name that C programmers know.
pub fn words_of(error: &io::Error) -> String {
    let words = error.to_string();
    let number = error.raw_os_error().map(|code| (format!(" (os error {code})"), code));
    match number.and_then(|(tail, code)| Some((words.strip_suffix(&tail)?, code))) {
        Some((words, code)) if cfg!(windows) => format!("{} (error {code})", words.trim_end_matches('.')),
        Some((words, code)) => format!("{words} (errno {code})"),
        None => words,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Error {}
