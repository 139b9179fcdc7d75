//! Maps the errors of the layers below to statuses.

use std::ffi::c_char;

use super::failure::{Failure, clear_last_error, set_last_error};
use super::status::*;
use crate::runtime::{Described, Ended, Error, Outcome, TimeLimit};
use crate::{codec, rpc, transport};

/// The status for an error.
pub(crate) fn status_of(error: &Error) -> esrpc_status {
    let status = match error {
        Error::Rpc(error) => rpc_status(error),
        Error::Codec(error) => codec_status(error),
        Error::Stranger(seen) => codec_status(&seen.0),
        Error::HandshakeMessageTooLarge { .. } => ESRPC_ERROR_HANDSHAKE_MESSAGE_TOO_LARGE,
        Error::Violation(_) => ESRPC_ERROR_PROTOCOL_VIOLATION,
        Error::TooManyAbnormalEvents => ESRPC_ERROR_TOO_MANY_ABNORMAL_EVENTS,
        Error::HandshakeRefused(_) => ESRPC_ERROR_HANDSHAKE_REFUSED,
        Error::Transport(error) => transport_status(error.kind),
        Error::PeerClosed(_) => ESRPC_ERROR_PEER_CLOSED,
        Error::LingerExpired { .. } => ESRPC_ERROR_LINGER_EXPIRED,
        Error::Aborted { .. } => ESRPC_ERROR_ABORTED,
        Error::TimeLimit(passed) => time_limit_status(passed.limit),
        Error::StreamDeadline { .. } => ESRPC_ERROR_STREAM_TIMED_OUT,
        Error::CallTimedOut { .. } => ESRPC_ERROR_TIMED_OUT,
        Error::PeerError(_) => ESRPC_ERROR_PEER_ERROR,
        Error::TooManyConnections { .. } => ESRPC_ERROR_TOO_MANY_CONNECTIONS,
        Error::TooManyHandshakes { .. } => ESRPC_ERROR_TOO_MANY_HANDSHAKES,
        Error::TooManyHeldBytes { .. } => ESRPC_ERROR_TOO_MANY_HELD_BYTES,
        Error::Draining(_) => ESRPC_ERROR_DRAINING,
        Error::ConnectionClosed => ESRPC_ERROR_CONNECTION_CLOSED,
        Error::StreamClosed => ESRPC_ERROR_STREAM_CLOSED,
        Error::StreamNotActivated => ESRPC_ERROR_STREAM_NOT_ACTIVATED,
        Error::StreamAlreadyActivated => ESRPC_ERROR_STREAM_ALREADY_ACTIVATED,
        Error::Cancelled => ESRPC_ERROR_CANCELLED,
        Error::NotReady => ESRPC_ERROR_NOT_READY,
        Error::RuntimeShutdown => ESRPC_ERROR_RUNTIME_SHUTDOWN,
        Error::WouldDeadlock => ESRPC_ERROR_WOULD_DEADLOCK,
        Error::TimedOut(_) => ESRPC_ERROR_TIMED_OUT,
        Error::InvalidState(_) => ESRPC_ERROR_INVALID_STATE,
        Error::Forked => ESRPC_ERROR_FORKED,
        Error::Application(reason) => return *reason,
        Error::Internal(_) => ESRPC_ERROR_INTERNAL,
    };
    status.into()
}

fn time_limit_status(limit: TimeLimit) -> Status {
    match limit {
        TimeLimit::Resolve => ESRPC_ERROR_RESOLVE_TIMED_OUT,
        TimeLimit::Connect => ESRPC_ERROR_CONNECT_TIMED_OUT,
        TimeLimit::Tls => ESRPC_ERROR_TLS_TIMED_OUT,
        TimeLimit::Handshake => ESRPC_ERROR_HANDSHAKE_TIMED_OUT,
        TimeLimit::Write => ESRPC_ERROR_WRITE_TIMED_OUT,
        TimeLimit::Message => ESRPC_ERROR_MESSAGE_TIMED_OUT,
        TimeLimit::Idle => ESRPC_ERROR_IDLE_TIMED_OUT,
        TimeLimit::PingResponse => ESRPC_ERROR_KEEP_ALIVE_TIMED_OUT,
    }
}

fn rpc_status(error: &rpc::Error) -> Status {
    use rpc::Error;
    match error {
        Error::Codec(error) => codec_status(error),
        Error::HandshakePending(_) => ESRPC_ERROR_HANDSHAKE_PENDING,
        Error::HandshakeAlreadyDone(_) => ESRPC_ERROR_HANDSHAKE_ALREADY_DONE,
        Error::WrongMessageType(_) => ESRPC_ERROR_WRONG_MESSAGE_TYPE,
        Error::ReservedHeader(_) => ESRPC_ERROR_RESERVED_HEADER,
        Error::StreamClosed(_) => ESRPC_ERROR_STREAM_CLOSED,
        Error::StreamNotAnnounced => ESRPC_ERROR_INVALID_STATE,
        Error::ConnectionClosed => ESRPC_ERROR_CONNECTION_CLOSED,
        Error::WouldBlock { .. } => ESRPC_ERROR_WOULD_BLOCK,
        Error::StreamIdsExhausted => ESRPC_ERROR_STREAM_IDS_EXHAUSTED,
    }
}

fn codec_status(error: &codec::Error) -> Status {
    use codec::Error;
    match error {
        Error::Incomplete { .. } => ESRPC_ERROR_INCOMPLETE,
        Error::PreludeChecksum { .. } => ESRPC_ERROR_PRELUDE_CHECKSUM,
        Error::MessageChecksum { .. } => ESRPC_ERROR_MESSAGE_CHECKSUM,
        Error::MessageLength { .. } => ESRPC_ERROR_MESSAGE_LENGTH,
        Error::HeadersLength { .. } => ESRPC_ERROR_HEADERS_LENGTH,
        Error::HeaderOverrun { .. } => ESRPC_ERROR_HEADER_OVERRUN,
        Error::UnknownHeaderType { .. } => ESRPC_ERROR_UNKNOWN_HEADER_TYPE,
        Error::HeaderNameLength { .. } => ESRPC_ERROR_HEADER_NAME_LENGTH,
        Error::InvalidUtf8 { .. } => ESRPC_ERROR_INVALID_UTF8,
        Error::InvalidUuid => ESRPC_ERROR_INVALID_UUID,
        Error::MessageTooLarge { .. } | Error::PayloadTooLarge { .. } => ESRPC_ERROR_MESSAGE_TOO_LARGE,
        Error::TooManyHeaders { .. } => ESRPC_ERROR_TOO_MANY_HEADERS,
        Error::HeadersTooLarge { .. } => ESRPC_ERROR_HEADERS_TOO_LARGE,
        Error::HeaderValueTooLong { .. } => ESRPC_ERROR_HEADER_VALUE_TOO_LONG,
    }
}

fn transport_status(kind: transport::ErrorKind) -> Status {
    use transport::ErrorKind;
    match kind {
        ErrorKind::AccessDenied => ESRPC_ERROR_ACCESS_DENIED,
        ErrorKind::AddressInUse => ESRPC_ERROR_ADDRESS_IN_USE,
        ErrorKind::AddressInvalid => ESRPC_ERROR_ADDRESS_INVALID,
        ErrorKind::AddressUnavailable => ESRPC_ERROR_ADDRESS_UNAVAILABLE,
        ErrorKind::BacklogFull | ErrorKind::ConnectFailed => ESRPC_ERROR_CONNECT_FAILED,
        ErrorKind::InterfaceNotFound => ESRPC_ERROR_INTERFACE_NOT_FOUND,
        ErrorKind::Io => ESRPC_ERROR_IO,
        ErrorKind::NotFound => ESRPC_ERROR_NOT_FOUND,
        ErrorKind::PathTooLong => ESRPC_ERROR_PATH_TOO_LONG,
        ErrorKind::Refused => ESRPC_ERROR_CONNECTION_REFUSED,
        ErrorKind::ResolveFailed => ESRPC_ERROR_RESOLVE_FAILED,
        ErrorKind::Reset => ESRPC_ERROR_CONNECTION_RESET,
        ErrorKind::Tls(kind) => tls_status(kind),
        ErrorKind::TooManyFiles => ESRPC_ERROR_TOO_MANY_FILES,
        ErrorKind::Unsupported => ESRPC_ERROR_UNSUPPORTED,
        ErrorKind::WrongSocket => ESRPC_ERROR_WRONG_SOCKET,
    }
}

fn tls_status(kind: transport::TlsErrorKind) -> Status {
    use transport::TlsErrorKind;
    match kind {
        TlsErrorKind::Config => ESRPC_ERROR_TLS_CONFIG,
        TlsErrorKind::NoCertificate => ESRPC_ERROR_TLS_NO_CERTIFICATE,
        TlsErrorKind::BadKey => ESRPC_ERROR_TLS_BAD_KEY,
        TlsErrorKind::KeyEncrypted => ESRPC_ERROR_TLS_KEY_ENCRYPTED,
        TlsErrorKind::KeyMismatch => ESRPC_ERROR_TLS_KEY_MISMATCH,
        TlsErrorKind::ServerNameRequired => ESRPC_ERROR_TLS_SERVER_NAME_REQUIRED,
        TlsErrorKind::HandshakeFailed => ESRPC_ERROR_TLS_HANDSHAKE_FAILED,
        TlsErrorKind::UnknownCa => ESRPC_ERROR_TLS_UNKNOWN_CA,
        TlsErrorKind::CertificateExpired => ESRPC_ERROR_TLS_CERTIFICATE_EXPIRED,
        TlsErrorKind::CertificateNotYetValid => ESRPC_ERROR_TLS_CERTIFICATE_NOT_YET_VALID,
        TlsErrorKind::WrongName => ESRPC_ERROR_TLS_WRONG_NAME,
        TlsErrorKind::BadCertificate => ESRPC_ERROR_TLS_BAD_CERTIFICATE,
        TlsErrorKind::NoCommonVersion => ESRPC_ERROR_TLS_NO_COMMON_VERSION,
        TlsErrorKind::NoCommonAlpn => ESRPC_ERROR_TLS_NO_COMMON_ALPN,
        TlsErrorKind::AlertReceived => ESRPC_ERROR_TLS_ALERT_RECEIVED,
        TlsErrorKind::PeerClosed => ESRPC_ERROR_TLS_PEER_CLOSED,
        TlsErrorKind::Truncated => ESRPC_ERROR_TLS_TRUNCATED,
        TlsErrorKind::CertificateRequired => ESRPC_ERROR_TLS_CERTIFICATE_REQUIRED,
        TlsErrorKind::NoCommonCipher => ESRPC_ERROR_TLS_NO_COMMON_CIPHER,
        TlsErrorKind::BadRevocationList => ESRPC_ERROR_TLS_BAD_CRL,
        TlsErrorKind::CertificateRevoked => ESRPC_ERROR_TLS_CERTIFICATE_REVOKED,
        TlsErrorKind::RevocationUnknown => ESRPC_ERROR_TLS_REVOCATION_UNKNOWN,
        TlsErrorKind::RevocationListExpired => ESRPC_ERROR_TLS_CRL_EXPIRED,
    }
}

impl From<codec::Error> for Failure {
    #[cold]
    #[inline(never)]
    fn from(error: codec::Error) -> Failure {
        Failure::new(codec_status(&error), error.to_string())
    }
}

impl From<transport::Error> for Failure {
    fn from(error: transport::Error) -> Failure {
        Failure { cause: error.cause(), ..Failure::new(transport_status(error.kind), error.to_string()) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let cause = match &error {
            Error::Transport(error) => error.cause(),
            _ => None,
        };
        Failure { cause, ..Failure::new(status_of(&error), error.to_string()) }
    }
}

/// The status of how a connection or stream ended.
pub(crate) fn end_status(ended: Ended<'_>) -> esrpc_status {
    ended.err().map_or(ESRPC_OK.into(), |error| status_of(error.value()))
}

/// The sentence for that, which lives as long as what has ended.
pub(crate) fn end_message(ended: Ended<'_>) -> *const c_char {
    ended.err().map_or(c"", Described::sentence).as_ptr()
}

/// The status of an outcome for a callback, inside which esrpc_last_error_message explains it or is empty.
pub(crate) fn explained(outcome: Result<(), &Error>) -> esrpc_status {
    match outcome {
        Ok(()) => {
            clear_last_error();
            ESRPC_OK.into()
        }
        Err(error) => {
            let failure = Failure::from(error.clone());
            set_last_error(&failure);
            failure.status
        }
    }
}

/// The outcome that an application requests by closing with a reason.
pub(crate) fn requested_outcome(reason: esrpc_status) -> Result<Outcome, Failure> {
    if reason == esrpc_status::from(ESRPC_OK) {
        return Ok(Ok(()));
    }
    if reason >= FIRST_APPLICATION_REASON {
        return Ok(Err(Error::Application(reason)));
    }
    Err(Failure::invalid_argument(format!(
        "reason is {reason}; it must be ESRPC_OK or a number of the application's own, {FIRST_APPLICATION_REASON} or above"
    )))
}
