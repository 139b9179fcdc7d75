//! Which statuses on_setup, on_shutdown and on_failed_connection may report. The header lists them, and the tests notice one that is missing.

use super::status::*;

/// Why a connection ended that was set up; with the library's handshake on_setup may report these too.
pub(crate) const OF_SHUTDOWN: &[esrpc_status_code] = &[
    // The peer or the network ended it.
    ESRPC_ERROR_PEER_CLOSED,
    ESRPC_ERROR_CONNECTION_RESET,
    ESRPC_ERROR_IO,
    ESRPC_ERROR_ACCESS_DENIED,
    ESRPC_ERROR_TLS_ALERT_RECEIVED,
    ESRPC_ERROR_TLS_HANDSHAKE_FAILED,
    ESRPC_ERROR_TLS_TRUNCATED,
    // What the peer sent.
    ESRPC_ERROR_HANDSHAKE_REFUSED,
    ESRPC_ERROR_PROTOCOL_VIOLATION,
    ESRPC_ERROR_INCOMPLETE,
    ESRPC_ERROR_PRELUDE_CHECKSUM,
    ESRPC_ERROR_MESSAGE_CHECKSUM,
    ESRPC_ERROR_MESSAGE_LENGTH,
    ESRPC_ERROR_HEADERS_LENGTH,
    ESRPC_ERROR_HEADER_OVERRUN,
    ESRPC_ERROR_UNKNOWN_HEADER_TYPE,
    ESRPC_ERROR_MESSAGE_TOO_LARGE,
    ESRPC_ERROR_HANDSHAKE_MESSAGE_TOO_LARGE,
    ESRPC_ERROR_TOO_MANY_HEADERS,
    ESRPC_ERROR_HEADERS_TOO_LARGE,
    ESRPC_ERROR_HEADER_VALUE_TOO_LONG,
    // Limits and times.
    ESRPC_ERROR_TOO_MANY_HANDSHAKES,
    ESRPC_ERROR_TOO_MANY_HELD_BYTES,
    ESRPC_ERROR_TOO_MANY_ABNORMAL_EVENTS,
    ESRPC_ERROR_HANDSHAKE_TIMED_OUT,
    ESRPC_ERROR_WRITE_TIMED_OUT,
    ESRPC_ERROR_MESSAGE_TIMED_OUT,
    ESRPC_ERROR_IDLE_TIMED_OUT,
    ESRPC_ERROR_KEEP_ALIVE_TIMED_OUT,
    // This side.
    ESRPC_ERROR_ABORTED,
    ESRPC_ERROR_LINGER_EXPIRED,
    ESRPC_ERROR_DRAINING,
    ESRPC_ERROR_RUNTIME_SHUTDOWN,
    ESRPC_ERROR_INTERNAL,
];

/// Why a client could not be set up, beside those.
pub(crate) const OF_SETUP: &[esrpc_status_code] = &[
    ESRPC_ERROR_CANCELLED,
    // The address.
    ESRPC_ERROR_RESOLVE_FAILED,
    ESRPC_ERROR_RESOLVE_TIMED_OUT,
    ESRPC_ERROR_CONNECT_TIMED_OUT,
    ESRPC_ERROR_CONNECTION_REFUSED,
    ESRPC_ERROR_CONNECT_FAILED,
    ESRPC_ERROR_NOT_FOUND,
    ESRPC_ERROR_ADDRESS_INVALID,
    ESRPC_ERROR_ADDRESS_IN_USE,
    ESRPC_ERROR_ADDRESS_UNAVAILABLE,
    ESRPC_ERROR_INTERFACE_NOT_FOUND,
    ESRPC_ERROR_PATH_TOO_LONG,
    ESRPC_ERROR_TOO_MANY_FILES,
    ESRPC_ERROR_UNSUPPORTED,
    ESRPC_ERROR_TLS_WRONG_NAME,
];

/// Why TLS did not begin.
pub(crate) const OF_TLS: &[esrpc_status_code] = &[
    ESRPC_ERROR_TLS_TIMED_OUT,
    ESRPC_ERROR_TLS_PEER_CLOSED,
    ESRPC_ERROR_TLS_NO_COMMON_VERSION,
    ESRPC_ERROR_TLS_NO_COMMON_CIPHER,
    ESRPC_ERROR_TLS_NO_COMMON_ALPN,
    ESRPC_ERROR_TLS_BAD_CERTIFICATE,
    ESRPC_ERROR_TLS_UNKNOWN_CA,
    ESRPC_ERROR_TLS_CERTIFICATE_EXPIRED,
    ESRPC_ERROR_TLS_CERTIFICATE_NOT_YET_VALID,
    ESRPC_ERROR_TLS_CERTIFICATE_REVOKED,
    ESRPC_ERROR_TLS_REVOCATION_UNKNOWN,
    ESRPC_ERROR_TLS_BAD_CRL,
    ESRPC_ERROR_TLS_CRL_EXPIRED,
];

/// Why a listener lost a connection before it announced it, beside those of TLS.
pub(crate) const OF_FAILED_CONNECTION: &[esrpc_status_code] = &[
    ESRPC_ERROR_TOO_MANY_FILES,
    ESRPC_ERROR_CONNECTION_RESET,
    ESRPC_ERROR_IO,
    ESRPC_ERROR_ACCESS_DENIED,
    ESRPC_ERROR_TOO_MANY_HANDSHAKES,
    ESRPC_ERROR_HANDSHAKE_TIMED_OUT,
    ESRPC_ERROR_RUNTIME_SHUTDOWN,
    ESRPC_ERROR_DRAINING,
    ESRPC_ERROR_TLS_ALERT_RECEIVED,
    ESRPC_ERROR_TLS_HANDSHAKE_FAILED,
    ESRPC_ERROR_TLS_TRUNCATED,
    ESRPC_ERROR_TLS_CERTIFICATE_REQUIRED,
    ESRPC_ERROR_INTERNAL,
];

/// In builds with debug assertions, as those of the tests are: the status is one of those that the header lists.
#[inline]
pub(crate) fn check_listed(callback: &str, lists: &[&[esrpc_status_code]], status: esrpc_status) {
    let is_listed = || {
        let of_application = status >= FIRST_APPLICATION_REASON;
        let is = |listed: &&esrpc_status_code| **listed as esrpc_status == status;
        status == ESRPC_OK as esrpc_status
            || of_application
            || lists.iter().flat_map(|list| list.iter()).any(|listed| is(&listed))
    };
    debug_assert!(is_listed(), "the header does not say that {callback} may report {status}");
}

#[cfg(test)]
mod tests {
    use super::super::status_text::esrpc_status_name;
    use super::*;
    use std::ffi::CStr;

    /// What the header says of a callback.
    fn comment_of(member: &str) -> &'static str {
        let header = include_str!("../../include/eventstream_rpc.h");
        let before = header.split(&format!("*{member})(")).next().unwrap_or_default();
        before.rsplit("/**").next().unwrap_or_default()
    }

    fn unlisted(member: &str, statuses: &[esrpc_status_code]) -> Vec<String> {
        let name = |status: &esrpc_status_code| {
            // SAFETY: the function returns text that ends with NUL and is there as long as the library.
            unsafe { CStr::from_ptr(esrpc_status_name(*status as esrpc_status)) }.to_string_lossy().into_owned()
        };
        let words: Vec<_> = comment_of(member).split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        statuses.iter().map(name).filter(|name| !words.contains(&name.as_str())).collect()
    }

    #[test]
    fn the_header_lists_every_reason() {
        assert_eq!(unlisted("on_shutdown", OF_SHUTDOWN), [""; 0]);
        assert_eq!(unlisted("on_setup", OF_SETUP), [""; 0]);
        assert_eq!(unlisted("on_setup", OF_TLS), [""; 0]);
        assert_eq!(unlisted("on_failed_connection", OF_FAILED_CONNECTION), [""; 0]);
        assert!(comment_of("on_failed_connection").contains("on_setup"), "the reasons of TLS are not repeated");
        assert!(comment_of("on_setup").contains("on_shutdown"), "the reasons of both are not repeated");
    }

    #[test]
    #[should_panic(expected = "on_setup may report 6")]
    fn a_reason_that_is_not_listed_is_noticed() {
        check_listed("on_setup", &[OF_SETUP, OF_TLS, OF_SHUTDOWN], ESRPC_ERROR_TIMED_OUT as esrpc_status);
    }
}
