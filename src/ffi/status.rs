//! Statuses: their numbers, names and sentences, and the last error of each thread.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};

use super::guard;
use crate::codec;

/// The answer of a function, or the reason of an end: ESRPC_OK, one of the ESRPC_ERROR_* constants, or, as a reason that
/// the application gave to esrpc_connection_close, any number from 1000 up.
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
    /// This platform or build does not offer it.
    ESRPC_ERROR_UNSUPPORTED = 4,
    /// A waiting function was called on one of the library's event-loop threads.
    ESRPC_ERROR_WOULD_DEADLOCK = 5,
    /// The time given to a waiting function is over; what it waited for goes on.
    ESRPC_ERROR_TIMED_OUT = 6,
    /// Given up because this side closed or aborted first.
    ESRPC_ERROR_CANCELLED = 7,
    /// The object belongs to the parent process of this forked child.
    ESRPC_ERROR_FORKED = 8,
    /// The runtime has been shut down.
    ESRPC_ERROR_RUNTIME_SHUTDOWN = 9,
    /// The caller's buffer is too small.
    ESRPC_ERROR_BUFFER_TOO_SMALL = 10,
    /// There is no header of that name or at that index.
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
    /// The peer broke a rule of the protocol, or says that this side did.
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
    /// The stream of a call ended without a reply.
    ESRPC_ERROR_NO_REPLY = 211,
    /// Not begun, or cut off, because this side's listener or runtime is being drained.
    ESRPC_ERROR_DRAINING = 212,
    /// The peer ended the connection.
    ESRPC_ERROR_PEER_CLOSED = 300,
    /// The connection was reset.
    ESRPC_ERROR_CONNECTION_RESET = 301,
    /// Nobody listens at the address.
    ESRPC_ERROR_CONNECTION_REFUSED = 302,
    /// The connection could not be made for another reason.
    ESRPC_ERROR_CONNECT_FAILED = 303,
    /// The address is in use.
    ESRPC_ERROR_ADDRESS_IN_USE = 304,
    /// The text is no address that can be used here.
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
    /// The process or the system has no file descriptor left.
    ESRPC_ERROR_TOO_MANY_FILES = 311,
    /// There is no such file.
    ESRPC_ERROR_NOT_FOUND = 312,
    /// The host name could not be looked up.
    ESRPC_ERROR_RESOLVE_FAILED = 313,
    /// A descriptor is not open, no socket, or not the kind of socket that is needed.
    ESRPC_ERROR_WRONG_SOCKET = 314,
    /// There is no network interface of that name.
    ESRPC_ERROR_INTERFACE_NOT_FOUND = 315,
    /// TLS settings that cannot go together, or that the cryptography in use refuses.
    ESRPC_ERROR_TLS_CONFIG = 400,
    /// A file, a folder or bytes hold no certificate.
    ESRPC_ERROR_TLS_NO_CERTIFICATE = 401,
    /// A file or bytes hold no private key that can be used.
    ESRPC_ERROR_TLS_BAD_KEY = 402,
    /// The private key is encrypted.
    ESRPC_ERROR_TLS_KEY_ENCRYPTED = 403,
    /// The private key is not that of the certificate.
    ESRPC_ERROR_TLS_KEY_MISMATCH = 404,
    /// A TLS client was not told the name of its server.
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
    /// A certificate is not well-formed, wrongly signed, or not for this use.
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
    /// A message exceeds the limit of a message's size.
    ESRPC_ERROR_MESSAGE_TOO_LARGE = 500,
    /// A message exceeds the limit of headers.
    ESRPC_ERROR_TOO_MANY_HEADERS = 501,
    /// The headers of a message exceed the limit of their size.
    ESRPC_ERROR_HEADERS_TOO_LARGE = 502,
    /// A header's value exceeds the limit of its size.
    ESRPC_ERROR_HEADER_VALUE_TOO_LONG = 503,
    /// The connection's outbound queue is full; on_writable tells when there is room.
    ESRPC_ERROR_WOULD_BLOCK = 504,
    /// The peer stopped taking bytes while the connection was closing; some were lost.
    ESRPC_ERROR_LINGER_EXPIRED = 505,
    /// A message before the end of the handshake exceeds the limit for such messages.
    ESRPC_ERROR_HANDSHAKE_MESSAGE_TOO_LARGE = 506,
    /// The connection has used all its stream ids.
    ESRPC_ERROR_STREAM_IDS_EXHAUSTED = 507,
    /// Looking up the host name took longer than resolve_timeout_ms.
    ESRPC_ERROR_RESOLVE_TIMED_OUT = 510,
    /// Connecting took longer than connect_timeout_ms.
    ESRPC_ERROR_CONNECT_TIMED_OUT = 511,
    /// The TLS handshake took longer than tls_timeout_ms.
    ESRPC_ERROR_TLS_TIMED_OUT = 512,
    /// CONNECT was not sent and answered within handshake_timeout_ms.
    ESRPC_ERROR_HANDSHAKE_TIMED_OUT = 513,
    /// The stream did not end within its deadline.
    ESRPC_ERROR_STREAM_TIMED_OUT = 514,
    /// The peer took nothing of what was to be written for write_timeout_ms.
    ESRPC_ERROR_WRITE_TIMED_OUT = 515,
    /// A message that had begun did not end within message_timeout_ms and a second per 64 KiB.
    ESRPC_ERROR_MESSAGE_TIMED_OUT = 516,
    /// Nothing came or went for idle_timeout_ms.
    ESRPC_ERROR_IDLE_TIMED_OUT = 517,
    /// The peer did not answer the library's PING.
    ESRPC_ERROR_KEEP_ALIVE_TIMED_OUT = 518,
    /// The listener has as many connections as esrpc_listener_options_set_max_connections allows.
    ESRPC_ERROR_TOO_MANY_CONNECTIONS = 520,
    /// The connection was ended during its handshake to make room for newer ones; see
    /// esrpc_listener_options_set_max_pending_handshakes.
    ESRPC_ERROR_TOO_MANY_HANDSHAKES = 521,
    /// The connections of the listener held too much memory, and this one held the most; see
    /// esrpc_listener_options_set_max_held_bytes.
    ESRPC_ERROR_TOO_MANY_HELD_BYTES = 522,
    /// The peer sent too many messages for streams that were over, or ended too many streams before they were answered; see
    /// esrpc_connection_options_set_abnormal_event_limit.
    ESRPC_ERROR_TOO_MANY_ABNORMAL_EVENTS = 523,
    /// A defect of the library.
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

struct Entry {
    status: Status,
    name: &'static CStr,
    sentence: &'static CStr,
}

const fn entry(status: Status, name: &'static CStr, sentence: &'static CStr) -> Entry {
    Entry { status, name, sentence }
}

/// Every status with its name and its general sentence.
#[rustfmt::skip]
static TABLE: &[Entry] = &[
    entry(ESRPC_OK, c"ESRPC_OK", c"success"),
    entry(ESRPC_ERROR_INVALID_ARGUMENT, c"ESRPC_ERROR_INVALID_ARGUMENT", c"an argument is NULL where it may not be, out of its range, or not allowed here"),
    entry(ESRPC_ERROR_INVALID_STATE, c"ESRPC_ERROR_INVALID_STATE", c"the object's state or kind does not allow this call"),
    entry(ESRPC_ERROR_NOT_READY, c"ESRPC_ERROR_NOT_READY", c"the connection is not set up yet"),
    entry(ESRPC_ERROR_UNSUPPORTED, c"ESRPC_ERROR_UNSUPPORTED", c"not supported on this platform or in this build"),
    entry(ESRPC_ERROR_WOULD_DEADLOCK, c"ESRPC_ERROR_WOULD_DEADLOCK", c"waiting on an event-loop thread would never end"),
    entry(ESRPC_ERROR_TIMED_OUT, c"ESRPC_ERROR_TIMED_OUT", c"the time to wait is over"),
    entry(ESRPC_ERROR_CANCELLED, c"ESRPC_ERROR_CANCELLED", c"given up because this side closed or aborted first"),
    entry(ESRPC_ERROR_FORKED, c"ESRPC_ERROR_FORKED", c"the object belongs to the parent of this forked process"),
    entry(ESRPC_ERROR_RUNTIME_SHUTDOWN, c"ESRPC_ERROR_RUNTIME_SHUTDOWN", c"the runtime has been shut down"),
    entry(ESRPC_ERROR_BUFFER_TOO_SMALL, c"ESRPC_ERROR_BUFFER_TOO_SMALL", c"the buffer is too small"),
    entry(ESRPC_ERROR_HEADER_NOT_FOUND, c"ESRPC_ERROR_HEADER_NOT_FOUND", c"there is no such header"),
    entry(ESRPC_ERROR_WRONG_TYPE, c"ESRPC_ERROR_WRONG_TYPE", c"the header's value has another type"),
    entry(ESRPC_ERROR_INCOMPLETE, c"ESRPC_ERROR_INCOMPLETE", c"the data ends before the message does"),
    entry(ESRPC_ERROR_PRELUDE_CHECKSUM, c"ESRPC_ERROR_PRELUDE_CHECKSUM", c"the checksum of the message's prelude is wrong"),
    entry(ESRPC_ERROR_MESSAGE_CHECKSUM, c"ESRPC_ERROR_MESSAGE_CHECKSUM", c"the checksum of the message is wrong"),
    entry(ESRPC_ERROR_MESSAGE_LENGTH, c"ESRPC_ERROR_MESSAGE_LENGTH", c"the message's total length is below 16 bytes"),
    entry(ESRPC_ERROR_HEADERS_LENGTH, c"ESRPC_ERROR_HEADERS_LENGTH", c"the length of the headers does not fit the message's total length"),
    entry(ESRPC_ERROR_HEADER_OVERRUN, c"ESRPC_ERROR_HEADER_OVERRUN", c"a header reaches beyond the end of the headers"),
    entry(ESRPC_ERROR_UNKNOWN_HEADER_TYPE, c"ESRPC_ERROR_UNKNOWN_HEADER_TYPE", c"a header has an unknown type"),
    entry(ESRPC_ERROR_HEADER_NAME_LENGTH, c"ESRPC_ERROR_HEADER_NAME_LENGTH", c"a header's name must be 1 to 255 bytes long"),
    entry(ESRPC_ERROR_INVALID_UTF8, c"ESRPC_ERROR_INVALID_UTF8", c"the text is not UTF-8"),
    entry(ESRPC_ERROR_INVALID_UUID, c"ESRPC_ERROR_INVALID_UUID", c"the text is not a UUID"),
    entry(ESRPC_ERROR_PROTOCOL_VIOLATION, c"ESRPC_ERROR_PROTOCOL_VIOLATION", c"a rule of the protocol was broken"),
    entry(ESRPC_ERROR_HANDSHAKE_PENDING, c"ESRPC_ERROR_HANDSHAKE_PENDING", c"the connection's handshake is not done yet"),
    entry(ESRPC_ERROR_HANDSHAKE_ALREADY_DONE, c"ESRPC_ERROR_HANDSHAKE_ALREADY_DONE", c"the connection's handshake was done before"),
    entry(ESRPC_ERROR_HANDSHAKE_REFUSED, c"ESRPC_ERROR_HANDSHAKE_REFUSED", c"the server refused the connection"),
    entry(ESRPC_ERROR_STREAM_CLOSED, c"ESRPC_ERROR_STREAM_CLOSED", c"the stream has ended"),
    entry(ESRPC_ERROR_STREAM_NOT_ACTIVATED, c"ESRPC_ERROR_STREAM_NOT_ACTIVATED", c"the stream has not been activated"),
    entry(ESRPC_ERROR_STREAM_ALREADY_ACTIVATED, c"ESRPC_ERROR_STREAM_ALREADY_ACTIVATED", c"the stream was activated before"),
    entry(ESRPC_ERROR_CONNECTION_CLOSED, c"ESRPC_ERROR_CONNECTION_CLOSED", c"the connection is closed or closing"),
    entry(ESRPC_ERROR_WRONG_MESSAGE_TYPE, c"ESRPC_ERROR_WRONG_MESSAGE_TYPE", c"a message of this type may not be sent here"),
    entry(ESRPC_ERROR_RESERVED_HEADER, c"ESRPC_ERROR_RESERVED_HEADER", c"a header has a name that the library sets itself"),
    entry(ESRPC_ERROR_APPLICATION_ERROR, c"ESRPC_ERROR_APPLICATION_ERROR", c"the server answered with an error message"),
    entry(ESRPC_ERROR_NO_REPLY, c"ESRPC_ERROR_NO_REPLY", c"the stream ended without a reply"),
    entry(ESRPC_ERROR_DRAINING, c"ESRPC_ERROR_DRAINING", c"this side is being drained"),
    entry(ESRPC_ERROR_PEER_CLOSED, c"ESRPC_ERROR_PEER_CLOSED", c"the peer ended the connection"),
    entry(ESRPC_ERROR_CONNECTION_RESET, c"ESRPC_ERROR_CONNECTION_RESET", c"the connection was reset"),
    entry(ESRPC_ERROR_CONNECTION_REFUSED, c"ESRPC_ERROR_CONNECTION_REFUSED", c"nobody listens at the address"),
    entry(ESRPC_ERROR_CONNECT_FAILED, c"ESRPC_ERROR_CONNECT_FAILED", c"the connection could not be made"),
    entry(ESRPC_ERROR_ADDRESS_IN_USE, c"ESRPC_ERROR_ADDRESS_IN_USE", c"the address is in use"),
    entry(ESRPC_ERROR_ADDRESS_INVALID, c"ESRPC_ERROR_ADDRESS_INVALID", c"the address cannot be used"),
    entry(ESRPC_ERROR_ADDRESS_UNAVAILABLE, c"ESRPC_ERROR_ADDRESS_UNAVAILABLE", c"the address is not one of this machine"),
    entry(ESRPC_ERROR_ACCESS_DENIED, c"ESRPC_ERROR_ACCESS_DENIED", c"the operating system denies access"),
    entry(ESRPC_ERROR_PATH_TOO_LONG, c"ESRPC_ERROR_PATH_TOO_LONG", c"the path of the Unix domain socket is too long"),
    entry(ESRPC_ERROR_IO, c"ESRPC_ERROR_IO", c"the operating system reported an error"),
    entry(ESRPC_ERROR_ABORTED, c"ESRPC_ERROR_ABORTED", c"the connection was aborted"),
    entry(ESRPC_ERROR_TOO_MANY_FILES, c"ESRPC_ERROR_TOO_MANY_FILES", c"no file descriptor is left"),
    entry(ESRPC_ERROR_NOT_FOUND, c"ESRPC_ERROR_NOT_FOUND", c"there is no such file"),
    entry(ESRPC_ERROR_RESOLVE_FAILED, c"ESRPC_ERROR_RESOLVE_FAILED", c"the host name could not be looked up"),
    entry(ESRPC_ERROR_WRONG_SOCKET, c"ESRPC_ERROR_WRONG_SOCKET", c"the descriptor is not the kind of socket that is needed"),
    entry(ESRPC_ERROR_INTERFACE_NOT_FOUND, c"ESRPC_ERROR_INTERFACE_NOT_FOUND", c"there is no network interface of that name"),
    entry(ESRPC_ERROR_TLS_CONFIG, c"ESRPC_ERROR_TLS_CONFIG", c"the TLS settings cannot be used"),
    entry(ESRPC_ERROR_TLS_NO_CERTIFICATE, c"ESRPC_ERROR_TLS_NO_CERTIFICATE", c"there is no certificate"),
    entry(ESRPC_ERROR_TLS_BAD_KEY, c"ESRPC_ERROR_TLS_BAD_KEY", c"the private key cannot be used"),
    entry(ESRPC_ERROR_TLS_KEY_ENCRYPTED, c"ESRPC_ERROR_TLS_KEY_ENCRYPTED", c"the private key is encrypted"),
    entry(ESRPC_ERROR_TLS_KEY_MISMATCH, c"ESRPC_ERROR_TLS_KEY_MISMATCH", c"the private key is not that of the certificate"),
    entry(ESRPC_ERROR_TLS_SERVER_NAME_REQUIRED, c"ESRPC_ERROR_TLS_SERVER_NAME_REQUIRED", c"the name of the TLS server is missing"),
    entry(ESRPC_ERROR_TLS_BAD_CRL, c"ESRPC_ERROR_TLS_BAD_CRL", c"a certificate revocation list cannot be used"),
    entry(ESRPC_ERROR_TLS_HANDSHAKE_FAILED, c"ESRPC_ERROR_TLS_HANDSHAKE_FAILED", c"TLS failed"),
    entry(ESRPC_ERROR_TLS_UNKNOWN_CA, c"ESRPC_ERROR_TLS_UNKNOWN_CA", c"the peer's certificate comes from a CA that is not trusted"),
    entry(ESRPC_ERROR_TLS_CERTIFICATE_EXPIRED, c"ESRPC_ERROR_TLS_CERTIFICATE_EXPIRED", c"the peer's certificate has expired"),
    entry(ESRPC_ERROR_TLS_CERTIFICATE_NOT_YET_VALID, c"ESRPC_ERROR_TLS_CERTIFICATE_NOT_YET_VALID", c"the peer's certificate is not valid yet"),
    entry(ESRPC_ERROR_TLS_WRONG_NAME, c"ESRPC_ERROR_TLS_WRONG_NAME", c"the server's certificate is for another name"),
    entry(ESRPC_ERROR_TLS_BAD_CERTIFICATE, c"ESRPC_ERROR_TLS_BAD_CERTIFICATE", c"a certificate is not good"),
    entry(ESRPC_ERROR_TLS_NO_COMMON_VERSION, c"ESRPC_ERROR_TLS_NO_COMMON_VERSION", c"the two sides have no TLS version in common"),
    entry(ESRPC_ERROR_TLS_NO_COMMON_ALPN, c"ESRPC_ERROR_TLS_NO_COMMON_ALPN", c"the two sides have no application protocol in common"),
    entry(ESRPC_ERROR_TLS_ALERT_RECEIVED, c"ESRPC_ERROR_TLS_ALERT_RECEIVED", c"the peer ended TLS with an alert"),
    entry(ESRPC_ERROR_TLS_PEER_CLOSED, c"ESRPC_ERROR_TLS_PEER_CLOSED", c"the peer closed the connection during the TLS handshake"),
    entry(ESRPC_ERROR_TLS_TRUNCATED, c"ESRPC_ERROR_TLS_TRUNCATED", c"the connection ended without the end of the TLS session"),
    entry(ESRPC_ERROR_TLS_CERTIFICATE_REQUIRED, c"ESRPC_ERROR_TLS_CERTIFICATE_REQUIRED", c"the client sent no certificate"),
    entry(ESRPC_ERROR_TLS_NO_COMMON_CIPHER, c"ESRPC_ERROR_TLS_NO_COMMON_CIPHER", c"the two sides have no cryptography in common"),
    entry(ESRPC_ERROR_TLS_CERTIFICATE_REVOKED, c"ESRPC_ERROR_TLS_CERTIFICATE_REVOKED", c"the peer's certificate is revoked"),
    entry(ESRPC_ERROR_TLS_REVOCATION_UNKNOWN, c"ESRPC_ERROR_TLS_REVOCATION_UNKNOWN", c"no revocation list is for the peer's certificate"),
    entry(ESRPC_ERROR_TLS_CRL_EXPIRED, c"ESRPC_ERROR_TLS_CRL_EXPIRED", c"the revocation list has expired"),
    entry(ESRPC_ERROR_MESSAGE_TOO_LARGE, c"ESRPC_ERROR_MESSAGE_TOO_LARGE", c"the message is larger than the limit"),
    entry(ESRPC_ERROR_TOO_MANY_HEADERS, c"ESRPC_ERROR_TOO_MANY_HEADERS", c"the message has more headers than the limit"),
    entry(ESRPC_ERROR_HEADERS_TOO_LARGE, c"ESRPC_ERROR_HEADERS_TOO_LARGE", c"the headers are larger than the limit"),
    entry(ESRPC_ERROR_HEADER_VALUE_TOO_LONG, c"ESRPC_ERROR_HEADER_VALUE_TOO_LONG", c"a header's value is longer than the limit"),
    entry(ESRPC_ERROR_WOULD_BLOCK, c"ESRPC_ERROR_WOULD_BLOCK", c"the connection's outbound queue is full"),
    entry(ESRPC_ERROR_LINGER_EXPIRED, c"ESRPC_ERROR_LINGER_EXPIRED", c"the peer stopped taking bytes while the connection was closing"),
    entry(ESRPC_ERROR_HANDSHAKE_MESSAGE_TOO_LARGE, c"ESRPC_ERROR_HANDSHAKE_MESSAGE_TOO_LARGE", c"a message of the handshake is larger than the limit"),
    entry(ESRPC_ERROR_STREAM_IDS_EXHAUSTED, c"ESRPC_ERROR_STREAM_IDS_EXHAUSTED", c"the connection has used all its stream ids"),
    entry(ESRPC_ERROR_RESOLVE_TIMED_OUT, c"ESRPC_ERROR_RESOLVE_TIMED_OUT", c"looking up the host name took too long"),
    entry(ESRPC_ERROR_CONNECT_TIMED_OUT, c"ESRPC_ERROR_CONNECT_TIMED_OUT", c"connecting took too long"),
    entry(ESRPC_ERROR_TLS_TIMED_OUT, c"ESRPC_ERROR_TLS_TIMED_OUT", c"the TLS handshake took too long"),
    entry(ESRPC_ERROR_HANDSHAKE_TIMED_OUT, c"ESRPC_ERROR_HANDSHAKE_TIMED_OUT", c"CONNECT was not sent and answered in time"),
    entry(ESRPC_ERROR_STREAM_TIMED_OUT, c"ESRPC_ERROR_STREAM_TIMED_OUT", c"the stream did not end within its deadline"),
    entry(ESRPC_ERROR_WRITE_TIMED_OUT, c"ESRPC_ERROR_WRITE_TIMED_OUT", c"the peer stopped taking bytes"),
    entry(ESRPC_ERROR_MESSAGE_TIMED_OUT, c"ESRPC_ERROR_MESSAGE_TIMED_OUT", c"a message that had begun did not end in time"),
    entry(ESRPC_ERROR_IDLE_TIMED_OUT, c"ESRPC_ERROR_IDLE_TIMED_OUT", c"nothing came or went for too long"),
    entry(ESRPC_ERROR_KEEP_ALIVE_TIMED_OUT, c"ESRPC_ERROR_KEEP_ALIVE_TIMED_OUT", c"the peer did not answer a keep-alive PING"),
    entry(ESRPC_ERROR_TOO_MANY_CONNECTIONS, c"ESRPC_ERROR_TOO_MANY_CONNECTIONS", c"the listener has as many connections as it may"),
    entry(ESRPC_ERROR_TOO_MANY_HANDSHAKES, c"ESRPC_ERROR_TOO_MANY_HANDSHAKES", c"the connection was ended during its handshake to make room for newer ones"),
    entry(ESRPC_ERROR_TOO_MANY_HELD_BYTES, c"ESRPC_ERROR_TOO_MANY_HELD_BYTES", c"the listener's connections held too many bytes together, and this one held the most"),
    entry(ESRPC_ERROR_TOO_MANY_ABNORMAL_EVENTS, c"ESRPC_ERROR_TOO_MANY_ABNORMAL_EVENTS", c"the peer sent too many late messages, or ended too many streams before their answer"),
    entry(ESRPC_ERROR_INTERNAL, c"ESRPC_ERROR_INTERNAL", c"a defect of the library"),
];

fn lookup(status: esrpc_status) -> (&'static CStr, &'static CStr) {
    match TABLE.iter().find(|entry| entry.status as esrpc_status == status) {
        Some(entry) => (entry.name, entry.sentence),
        None if status >= FIRST_APPLICATION_REASON => (c"APPLICATION_REASON", c"a reason that the application gave"),
        None => (c"ESRPC_ERROR_UNKNOWN", c"not a status of this library"),
    }
}

/// Whether the number is a status of this library.
pub(crate) fn is_status(status: esrpc_status) -> bool {
    TABLE.iter().any(|entry| entry.status as esrpc_status == status)
}

/// The constant's name, for messages.
pub(crate) fn name(status: esrpc_status) -> &'static CStr {
    lookup(status).0
}

/// The general sentence, for messages.
pub(crate) fn sentence(status: esrpc_status) -> &'static CStr {
    lookup(status).1
}

/// Why a call failed: the status it answers, and a sentence for this very case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub status: esrpc_status,
    /// Empty: the general sentence of the status says it all.
    pub detail: String,
}

impl Failure {
    pub(crate) fn new(status: impl Into<esrpc_status>, detail: impl Into<String>) -> Failure {
        Failure { status: status.into(), detail: detail.into() }
    }

    /// An argument that may not be NULL is.
    #[cold]
    #[inline(never)]
    pub(crate) fn null(argument: &str) -> Failure {
        Failure::new(ESRPC_ERROR_INVALID_ARGUMENT, format!("{argument} is NULL"))
    }

    pub(crate) fn invalid_argument(detail: impl Into<String>) -> Failure {
        Failure::new(ESRPC_ERROR_INVALID_ARGUMENT, detail)
    }

    pub(crate) fn invalid_state(detail: impl Into<String>) -> Failure {
        Failure::new(ESRPC_ERROR_INVALID_STATE, detail)
    }

    /// The sentence that C gets to see. A NUL in it (from a name or a path) becomes U+FFFD.
    pub(crate) fn message(&self) -> CString {
        if self.detail.is_empty() {
            return sentence(self.status).to_owned();
        }
        CString::new(self.detail.replace('\0', "\u{fffd}")).unwrap_or_default()
    }
}

/// The status that stands for an error of the message format.
pub(crate) fn codec_status(error: &codec::Error) -> Status {
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
        Error::MessageTooLarge { .. } => ESRPC_ERROR_MESSAGE_TOO_LARGE,
        Error::TooManyHeaders { .. } => ESRPC_ERROR_TOO_MANY_HEADERS,
        Error::HeadersTooLarge { .. } => ESRPC_ERROR_HEADERS_TOO_LARGE,
        Error::HeaderValueTooLong { .. } => ESRPC_ERROR_HEADER_VALUE_TOO_LONG,
    }
}

impl From<codec::Error> for Failure {
    #[cold]
    #[inline(never)]
    fn from(error: codec::Error) -> Failure {
        Failure::new(codec_status(&error), error.to_string())
    }
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::new(CString::default());
}

/// Makes `failure` the one that esrpc_last_error_message explains on this thread.
pub(crate) fn set_last_error(failure: &Failure) {
    let message = failure.message();
    // While the thread ends there is nobody left to ask for the message.
    let _ = LAST_ERROR.try_with(|last| *last.borrow_mut() = message);
}

/// The library's version, such as "0.1.0".
///
/// @return Text that is valid as long as the library is loaded; never NULL.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_version() -> *const c_char {
    guard::value(c"".as_ptr(), || concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast())
}

/// The name of a status, such as "ESRPC_ERROR_INCOMPLETE".
///
/// @param status Any number.
/// @return Text that is valid as long as the library is loaded, never NULL: the constant's name; "APPLICATION_REASON"
/// for a number from 1000 up; "ESRPC_ERROR_UNKNOWN" for any other.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_status_name(status: esrpc_status) -> *const c_char {
    guard::value(c"".as_ptr(), || name(status).as_ptr())
}

/// A sentence that says in general what a status means; esrpc_last_error_message says more about one case.
///
/// @param status Any number.
/// @return Text that is valid as long as the library is loaded; never NULL.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_status_message(status: esrpc_status) -> *const c_char {
    guard::value(c"".as_ptr(), || sentence(status).as_ptr())
}

/// A sentence about the last call that failed on this thread, with the operating system's error where there is one.
/// Inside a callback that was given a status other than ESRPC_OK, it explains that status.
///
/// @return UTF-8 text that is valid until the next call to this library fails, or the next callback comes, on this
/// thread: copy it to keep it. Never NULL; empty if no call has failed.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_last_error_message() -> *const c_char {
    guard::value(c"".as_ptr(), || LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variants of the enum, as this file spells them.
    fn declared() -> Vec<(String, i32)> {
        let source = include_str!("status.rs");
        let start = source.find("pub enum esrpc_status_code").expect("the enum");
        let body = &source[start..start + source[start..].find("\n}").expect("its end")];
        let variants = body.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = "));
        variants.map(|(name, number)| (name.to_owned(), number.parse().expect("a number"))).collect()
    }

    #[test]
    fn every_constant_has_its_number_and_name_in_the_table() {
        let table: Vec<_> =
            TABLE.iter().map(|entry| (entry.name.to_str().expect("ASCII").to_owned(), entry.status as i32)).collect();
        assert_eq!(declared(), table);
    }

    #[test]
    fn numbers_rise_so_that_none_is_used_twice() {
        assert!(TABLE.windows(2).all(|pair| (pair[0].status as i32) < pair[1].status as i32));
    }

    #[test]
    fn numbers_outside_the_table_have_names_too() {
        assert_eq!(name(1000), c"APPLICATION_REASON");
        assert_eq!(name(i32::MAX), c"APPLICATION_REASON");
        assert_eq!(name(-1), c"ESRPC_ERROR_UNKNOWN");
        assert_eq!(name(999), c"ESRPC_ERROR_UNKNOWN");
    }

    #[test]
    fn a_nul_inside_a_detail_does_not_cut_the_message() {
        let failure = Failure::invalid_argument("a\0b");
        assert_eq!(failure.message().to_str(), Ok("a\u{fffd}b"));
    }

    #[test]
    fn a_failure_without_a_detail_says_the_general_sentence() {
        assert_eq!(Failure::new(ESRPC_ERROR_IO, "").message().as_c_str(), sentence(ESRPC_ERROR_IO.into()));
    }
}
