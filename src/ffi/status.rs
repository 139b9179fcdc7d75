//! Statuses: their numbers, names and sentences. The enum is the one place where a status is described: build.rs makes
//! `TABLE` from it, and the comment of a status, up to its first semicolon, is the sentence that C can ask for.

use std::ffi::CStr;

/// What a function returns, or why something ended: ESRPC_OK, one of the ESRPC_ERROR_* constants, or any number from
/// 1000 up that the application passed to esrpc_connection_close.
pub type esrpc_status = i32;

/// The library's statuses. Numbers are never reused. Bands: 1 use, 100 message format, 200 protocol, 300 transport and
/// operating system, 400 TLS, 500 limits and deadlines, 900 internal.
/// cbindgen:prefix-with-name=false
/// cbindgen:rename-all=None
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum esrpc_status_code {
    /// Success; as a reason: ended as this side asked, nothing lost.
    ESRPC_OK = 0,
    /// An argument is NULL where it may not be, out of its range, or not allowed here.
    ESRPC_ERROR_INVALID_ARGUMENT = 1,
    /// The object is not in a state, or of a kind, that allows the call.
    ESRPC_ERROR_INVALID_STATE = 2,
    /// The connection is not set up yet.
    ESRPC_ERROR_NOT_READY = 3,
    /// This platform or build does not support it.
    ESRPC_ERROR_UNSUPPORTED = 4,
    /// A waiting function was called on one of the library's event-loop threads.
    ESRPC_ERROR_WOULD_DEADLOCK = 5,
    /// The time given to a waiting function ran out; what it waited for goes on.
    ESRPC_ERROR_TIMED_OUT = 6,
    /// Cancelled because this side closed or aborted first.
    ESRPC_ERROR_CANCELLED = 7,
    /// The object belongs to the parent process of this forked child.
    ESRPC_ERROR_FORKED = 8,
    /// The runtime has been shut down.
    ESRPC_ERROR_RUNTIME_SHUTDOWN = 9,
    /// The caller's buffer is too small.
    ESRPC_ERROR_BUFFER_TOO_SMALL = 10,
    /// There is no header with that name or at that index.
    ESRPC_ERROR_HEADER_NOT_FOUND = 11,
    /// The header has a value of another type.
    ESRPC_ERROR_WRONG_TYPE = 12,
    /// The data ends before the message does.
    ESRPC_ERROR_INCOMPLETE = 100,
    /// The checksum over the first eight bytes of a message is wrong.
    ESRPC_ERROR_PRELUDE_CHECKSUM = 101,
    /// The checksum over a whole message is wrong.
    ESRPC_ERROR_MESSAGE_CHECKSUM = 102,
    /// A message claims a total length below 16 bytes.
    ESRPC_ERROR_MESSAGE_LENGTH = 103,
    /// A message claims more bytes of headers than its total length has room for.
    ESRPC_ERROR_HEADERS_LENGTH = 104,
    /// A header reaches beyond the end of the headers.
    ESRPC_ERROR_HEADER_OVERRUN = 105,
    /// A header has a type above 9.
    ESRPC_ERROR_UNKNOWN_HEADER_TYPE = 106,
    /// A header's name, when added, is not 1 to 255 bytes long.
    ESRPC_ERROR_HEADER_NAME_LENGTH = 107,
    /// Text is not UTF-8.
    ESRPC_ERROR_INVALID_UTF8 = 108,
    /// Text is not a UUID.
    ESRPC_ERROR_INVALID_UUID = 109,
    /// The peer broke a rule of the protocol.
    ESRPC_ERROR_PROTOCOL_VIOLATION = 200,
    /// The handshake (CONNECT, CONNECT_ACK) is not done yet.
    ESRPC_ERROR_HANDSHAKE_PENDING = 201,
    /// The handshake was done before and cannot be repeated.
    ESRPC_ERROR_HANDSHAKE_ALREADY_DONE = 202,
    /// The server refused the connection in its CONNECT_ACK.
    ESRPC_ERROR_HANDSHAKE_REFUSED = 203,
    /// The stream is over, or this side has ended it.
    ESRPC_ERROR_STREAM_CLOSED = 204,
    /// The stream has not been activated.
    ESRPC_ERROR_STREAM_NOT_ACTIVATED = 205,
    /// The stream was activated before.
    ESRPC_ERROR_STREAM_ALREADY_ACTIVATED = 206,
    /// The connection is closed or closing.
    ESRPC_ERROR_CONNECTION_CLOSED = 207,
    /// A message of this type may not be sent here.
    ESRPC_ERROR_WRONG_MESSAGE_TYPE = 208,
    /// A header has one of the names that the library sets itself.
    ESRPC_ERROR_RESERVED_HEADER = 209,
    /// The server answered a call with an error message.
    ESRPC_ERROR_APPLICATION_ERROR = 210,
    /// The peer sent PROTOCOL_ERROR or INTERNAL_ERROR after the handshake.
    ESRPC_ERROR_PEER_ERROR = 211,
    /// Refused or cut off because this side's listener or runtime is being drained.
    ESRPC_ERROR_DRAINING = 212,
    /// The peer ended the connection.
    ESRPC_ERROR_PEER_CLOSED = 300,
    /// The connection was reset.
    ESRPC_ERROR_CONNECTION_RESET = 301,
    /// Nothing is listening on the address.
    ESRPC_ERROR_CONNECTION_REFUSED = 302,
    /// Connecting failed for another reason.
    ESRPC_ERROR_CONNECT_FAILED = 303,
    /// The address is in use.
    ESRPC_ERROR_ADDRESS_IN_USE = 304,
    /// The text is not an address that can be used here.
    ESRPC_ERROR_ADDRESS_INVALID = 305,
    /// The address is not one of this machine.
    ESRPC_ERROR_ADDRESS_UNAVAILABLE = 306,
    /// The operating system denies access.
    ESRPC_ERROR_ACCESS_DENIED = 307,
    /// The path of a Unix domain socket is too long.
    ESRPC_ERROR_PATH_TOO_LONG = 308,
    /// The operating system reported another error.
    ESRPC_ERROR_IO = 309,
    /// The connection was aborted.
    ESRPC_ERROR_ABORTED = 310,
    /// The process or the system has run out of file descriptors.
    ESRPC_ERROR_TOO_MANY_FILES = 311,
    /// There is no such file.
    ESRPC_ERROR_NOT_FOUND = 312,
    /// The host name could not be resolved.
    ESRPC_ERROR_RESOLVE_FAILED = 313,
    /// A descriptor is not open, not a socket, or not the kind of socket that is needed.
    ESRPC_ERROR_WRONG_SOCKET = 314,
    /// There is no network interface with that name.
    ESRPC_ERROR_INTERFACE_NOT_FOUND = 315,
    /// TLS settings that contradict each other, or that the cryptography in use refuses.
    ESRPC_ERROR_TLS_CONFIG = 400,
    /// The file, folder or bytes hold no certificate.
    ESRPC_ERROR_TLS_NO_CERTIFICATE = 401,
    /// The file or bytes hold no private key that can be used.
    ESRPC_ERROR_TLS_BAD_KEY = 402,
    /// The private key is encrypted.
    ESRPC_ERROR_TLS_KEY_ENCRYPTED = 403,
    /// The private key does not belong to the certificate.
    ESRPC_ERROR_TLS_KEY_MISMATCH = 404,
    /// A TLS client was not given the name of its server.
    ESRPC_ERROR_TLS_SERVER_NAME_REQUIRED = 405,
    /// A certificate revocation list cannot be read, or is not signed by its CA.
    ESRPC_ERROR_TLS_BAD_CRL = 406,
    /// TLS failed for a reason that has no status of its own.
    ESRPC_ERROR_TLS_HANDSHAKE_FAILED = 410,
    /// The peer's certificate comes from a CA that is not trusted.
    ESRPC_ERROR_TLS_UNKNOWN_CA = 411,
    /// The peer's certificate has expired.
    ESRPC_ERROR_TLS_CERTIFICATE_EXPIRED = 412,
    /// The peer's certificate is not valid yet.
    ESRPC_ERROR_TLS_CERTIFICATE_NOT_YET_VALID = 413,
    /// The server's certificate is for another name.
    ESRPC_ERROR_TLS_WRONG_NAME = 414,
    /// A certificate is malformed, wrongly signed, or not for this use.
    ESRPC_ERROR_TLS_BAD_CERTIFICATE = 415,
    /// The two sides have no TLS version in common.
    ESRPC_ERROR_TLS_NO_COMMON_VERSION = 416,
    /// The two sides have no application protocol (ALPN) in common.
    ESRPC_ERROR_TLS_NO_COMMON_ALPN = 417,
    /// The peer ended TLS with an alert; the message names it.
    ESRPC_ERROR_TLS_ALERT_RECEIVED = 418,
    /// The peer closed the connection during the TLS handshake.
    ESRPC_ERROR_TLS_PEER_CLOSED = 419,
    /// The connection ended without the end of the TLS session (close_notify): data may be missing.
    ESRPC_ERROR_TLS_TRUNCATED = 420,
    /// The client sent no certificate, which the server requires.
    ESRPC_ERROR_TLS_CERTIFICATE_REQUIRED = 421,
    /// The two sides have no cipher suite, key exchange group or signature scheme in common.
    ESRPC_ERROR_TLS_NO_COMMON_CIPHER = 422,
    /// The peer's certificate, or one that vouches for it, is on a revocation list.
    ESRPC_ERROR_TLS_CERTIFICATE_REVOKED = 423,
    /// There are revocation lists, but none for the peer's certificate or for one that vouches for it.
    ESRPC_ERROR_TLS_REVOCATION_UNKNOWN = 424,
    /// The revocation list for the peer's certificate has expired: a newer one is needed.
    ESRPC_ERROR_TLS_CRL_EXPIRED = 425,
    /// A message exceeds the limit on the size of a message.
    ESRPC_ERROR_MESSAGE_TOO_LARGE = 500,
    /// A message exceeds the limit on the number of its headers.
    ESRPC_ERROR_TOO_MANY_HEADERS = 501,
    /// The headers of a message exceed the limit on their size.
    ESRPC_ERROR_HEADERS_TOO_LARGE = 502,
    /// A header's value exceeds the limit on its size.
    ESRPC_ERROR_HEADER_VALUE_TOO_LONG = 503,
    /// The connection's outbound queue is full; on_writable follows when there is room.
    ESRPC_ERROR_WOULD_BLOCK = 504,
    /// The peer stopped taking bytes while the connection was closing; some were lost.
    ESRPC_ERROR_LINGER_EXPIRED = 505,
    /// A message before the end of the handshake exceeds the limit for such messages.
    ESRPC_ERROR_HANDSHAKE_MESSAGE_TOO_LARGE = 506,
    /// The connection has used all its stream ids.
    ESRPC_ERROR_STREAM_IDS_EXHAUSTED = 507,
    /// Resolving the host name took longer than resolve_timeout_ms.
    ESRPC_ERROR_RESOLVE_TIMED_OUT = 510,
    /// Connecting took longer than connect_timeout_ms.
    ESRPC_ERROR_CONNECT_TIMED_OUT = 511,
    /// The TLS handshake took longer than tls_timeout_ms.
    ESRPC_ERROR_TLS_TIMED_OUT = 512,
    /// The handshake (CONNECT, CONNECT_ACK) was not done within handshake_timeout_ms.
    ESRPC_ERROR_HANDSHAKE_TIMED_OUT = 513,
    /// The stream did not end within its deadline.
    ESRPC_ERROR_STREAM_TIMED_OUT = 514,
    /// The peer accepted no bytes for write_timeout_ms.
    ESRPC_ERROR_WRITE_TIMED_OUT = 515,
    /// A message that had begun did not end within message_timeout_ms and a second per 64 KiB.
    ESRPC_ERROR_MESSAGE_TIMED_OUT = 516,
    /// The connection was idle for idle_timeout_ms.
    ESRPC_ERROR_IDLE_TIMED_OUT = 517,
    /// The peer did not respond to the library's PING.
    ESRPC_ERROR_KEEP_ALIVE_TIMED_OUT = 518,
    /// The listener has as many connections as esrpc_listener_options_set_max_connections allows.
    ESRPC_ERROR_TOO_MANY_CONNECTIONS = 520,
    /// The connection was ended during its handshake to make room for newer ones; see
    /// esrpc_listener_options_set_max_pending_handshakes.
    ESRPC_ERROR_TOO_MANY_HANDSHAKES = 521,
    /// The connections of the listener held too much memory, and this one held the most; see
    /// esrpc_listener_options_set_max_held_bytes.
    ESRPC_ERROR_TOO_MANY_HELD_BYTES = 522,
    /// The peer sent too many messages for streams that were over, or ended too many streams before they were answered;
    /// see esrpc_connection_options_set_abnormal_event_limit.
    ESRPC_ERROR_TOO_MANY_ABNORMAL_EVENTS = 523,
    /// A defect in the library.
    ESRPC_ERROR_INTERNAL = 900,
}

pub(crate) use esrpc_status_code as Status;
pub(crate) use esrpc_status_code::*;

impl From<Status> for esrpc_status {
    fn from(status: Status) -> esrpc_status {
        status as esrpc_status
    }
}

/// The first of the numbers that belong to the application.
pub(crate) const FIRST_APPLICATION_REASON: esrpc_status = 1000;

/// Every status with its name and its sentence.
static TABLE: &[(Status, &CStr, &CStr)] = &include!(concat!(env!("OUT_DIR"), "/status_table.rs"));

fn find(status: esrpc_status) -> Option<(&'static CStr, &'static CStr)> {
    let known = TABLE.iter().find(|(known, ..)| esrpc_status::from(*known) == status);
    known.map(|&(_, name, sentence)| (name, sentence))
}

/// The constant's name.
pub(crate) fn name(status: esrpc_status) -> &'static CStr {
    match find(status) {
        Some((name, _)) => name,
        None if status >= FIRST_APPLICATION_REASON => c"APPLICATION_REASON",
        None => c"ESRPC_ERROR_UNKNOWN",
    }
}

/// What the status means in general.
pub(crate) fn sentence(status: esrpc_status) -> &'static CStr {
    match find(status) {
        Some((_, sentence)) => sentence,
        None if status >= FIRST_APPLICATION_REASON => c"a reason that the application gave",
        None => c"not a status of this library",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_constant_has_its_name_and_sentence() {
        let constants =
            include_str!("status.rs").lines().filter(|line| line.starts_with("    ESRPC_") && line.ends_with(','));
        assert_eq!(TABLE.len(), constants.count());
        assert_eq!(name(ESRPC_ERROR_TLS_CONFIG.into()), c"ESRPC_ERROR_TLS_CONFIG");
        assert_eq!(sentence(ESRPC_OK.into()), c"success");
        assert_eq!(sentence(ESRPC_ERROR_IO.into()), c"the operating system reported another error");
        assert_eq!(sentence(ESRPC_ERROR_TLS_TIMED_OUT.into()), c"the TLS handshake took longer than tls_timeout_ms");
        let abbreviation = c"TLS failed for a reason that has no status of its own";
        assert_eq!(sentence(ESRPC_ERROR_TLS_HANDSHAKE_FAILED.into()), abbreviation);
        let of_two_lines = c"the connection was ended during its handshake to make room for newer ones";
        assert_eq!(sentence(ESRPC_ERROR_TOO_MANY_HANDSHAKES.into()), of_two_lines);
    }

    #[test]
    fn numbers_rise_so_that_none_is_used_twice() {
        assert!(TABLE.windows(2).all(|pair| (pair[0].0 as i32) < pair[1].0 as i32));
    }

    #[test]
    fn numbers_outside_the_table_have_names_too() {
        assert_eq!(name(1000), c"APPLICATION_REASON");
        assert_eq!(name(i32::MAX), c"APPLICATION_REASON");
        assert_eq!(name(-1), c"ESRPC_ERROR_UNKNOWN");
        assert_eq!(name(999), c"ESRPC_ERROR_UNKNOWN");
    }
}
