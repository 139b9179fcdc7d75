//! The constants of the C interface. C passes them as plain integers, which are checked before they are used.

/// Types of a header's value, with their numbers on the wire.
/// cbindgen:prefix-with-name=false
/// cbindgen:rename-all=None
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum esrpc_header_type {
    /// The boolean true.
    ESRPC_HEADER_TYPE_BOOL_TRUE = 0,
    /// The boolean false.
    ESRPC_HEADER_TYPE_BOOL_FALSE = 1,
    /// An 8-bit signed integer.
    ESRPC_HEADER_TYPE_BYTE = 2,
    /// A 16-bit signed integer.
    ESRPC_HEADER_TYPE_INT16 = 3,
    /// A 32-bit signed integer.
    ESRPC_HEADER_TYPE_INT32 = 4,
    /// A 64-bit signed integer.
    ESRPC_HEADER_TYPE_INT64 = 5,
    /// Bytes.
    ESRPC_HEADER_TYPE_BYTE_BUF = 6,
    /// Text, UTF-8.
    ESRPC_HEADER_TYPE_STRING = 7,
    /// A time as a 64-bit signed integer. Event-stream services count milliseconds since 1970-01-01 UTC; awscrt's
    /// documentation for Python says seconds. The library converts nothing.
    ESRPC_HEADER_TYPE_TIMESTAMP = 8,
    /// The 16 bytes of a UUID.
    ESRPC_HEADER_TYPE_UUID = 9,
}

/// Types of a message, with their numbers on the wire. APPLICATION_MESSAGE and APPLICATION_ERROR are sent on streams,
/// all others on the connection.
/// cbindgen:prefix-with-name=false
/// cbindgen:rename-all=None
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum esrpc_message_type {
    /// A message of the application, on a stream.
    ESRPC_MESSAGE_TYPE_APPLICATION_MESSAGE = 0,
    /// An error of the application, on a stream.
    ESRPC_MESSAGE_TYPE_APPLICATION_ERROR = 1,
    /// Asks the peer for a PING_RESPONSE.
    ESRPC_MESSAGE_TYPE_PING = 2,
    /// The response to a PING.
    ESRPC_MESSAGE_TYPE_PING_RESPONSE = 3,
    /// The client's first message.
    ESRPC_MESSAGE_TYPE_CONNECT = 4,
    /// The server's response to CONNECT.
    ESRPC_MESSAGE_TYPE_CONNECT_ACK = 5,
    /// Reports that the peer broke a rule of the protocol.
    ESRPC_MESSAGE_TYPE_PROTOCOL_ERROR = 6,
    /// Reports that the sender failed.
    ESRPC_MESSAGE_TYPE_INTERNAL_ERROR = 7,
}

/// Flags of a message, to be combined with |. Unknown bits are passed through in both directions.
/// cbindgen:prefix-with-name=false
/// cbindgen:rename-all=None
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum esrpc_message_flag {
    /// No flag.
    ESRPC_MESSAGE_FLAG_NONE = 0,
    /// On a CONNECT_ACK: the connection is accepted.
    ESRPC_MESSAGE_FLAG_CONNECTION_ACCEPTED = 1,
    /// The last message of its stream; on a protocol message: of the connection.
    ESRPC_MESSAGE_FLAG_TERMINATE_STREAM = 2,
}

/// States of a connection.
/// cbindgen:prefix-with-name=false
/// cbindgen:rename-all=None
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum esrpc_connection_state {
    /// Not set up yet.
    ESRPC_CONNECTION_STATE_CONNECTING = 1,
    /// Set up.
    ESRPC_CONNECTION_STATE_OPEN = 2,
    /// Closing: nothing more can be sent.
    ESRPC_CONNECTION_STATE_CLOSING = 3,
    /// Over.
    ESRPC_CONNECTION_STATE_CLOSED = 4,
}

/// States of a stream.
/// cbindgen:prefix-with-name=false
/// cbindgen:rename-all=None
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum esrpc_stream_state {
    /// Not activated yet; on a server, neither accepted nor refused yet.
    ESRPC_STREAM_STATE_NEW = 1,
    /// Activated, or accepted on a server.
    ESRPC_STREAM_STATE_OPEN = 2,
    /// This side's TERMINATE_STREAM was accepted but is not written yet.
    ESRPC_STREAM_STATE_CLOSING = 3,
    /// Over.
    ESRPC_STREAM_STATE_CLOSED = 4,
}

/// Versions of TLS, with their numbers on the wire.
/// cbindgen:prefix-with-name=false
/// cbindgen:rename-all=None
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum esrpc_tls_version {
    /// TLS 1.2.
    ESRPC_TLS_VERSION_1_2 = 0x0303,
    /// TLS 1.3.
    ESRPC_TLS_VERSION_1_3 = 0x0304,
}

/// Whether a TLS server asks its clients for a certificate.
/// cbindgen:prefix-with-name=false
/// cbindgen:rename-all=None
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum esrpc_tls_client_auth {
    /// It does not.
    ESRPC_TLS_CLIENT_AUTH_NONE = 0,
    /// It does; a client may have none, but one that it sends must be valid.
    ESRPC_TLS_CLIENT_AUTH_OPTIONAL = 1,
    /// It does, and refuses clients without one.
    ESRPC_TLS_CLIENT_AUTH_REQUIRED = 2,
}

/// Which certificates of a peer's chain are looked up in revocation lists.
/// cbindgen:prefix-with-name=false
/// cbindgen:rename-all=None
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum esrpc_tls_revocation_depth {
    /// All except the CA that was given: the peer's own and those that vouch for it.
    ESRPC_TLS_REVOCATION_DEPTH_CHAIN = 0,
    /// Only the peer's own.
    ESRPC_TLS_REVOCATION_DEPTH_LEAF = 1,
}

/// Levels of log messages.
/// cbindgen:prefix-with-name=false
/// cbindgen:rename-all=None
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum esrpc_log_level {
    /// Nothing is logged.
    ESRPC_LOG_LEVEL_OFF = 0,
    /// Things that should not happen.
    ESRPC_LOG_LEVEL_ERROR = 1,
    /// What an operator should look at, such as a peer that breaks the protocol.
    ESRPC_LOG_LEVEL_WARN = 2,
    /// Connections that begin and end.
    ESRPC_LOG_LEVEL_INFO = 3,
    /// Streams, and steps of a connection.
    ESRPC_LOG_LEVEL_DEBUG = 4,
    /// Each message.
    ESRPC_LOG_LEVEL_TRACE = 5,
}

/// Which addresses of a host name are tried.
/// cbindgen:prefix-with-name=false
/// cbindgen:rename-all=None
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum esrpc_address_family {
    /// All.
    ESRPC_ADDRESS_FAMILY_ANY = 0,
    /// IPv4 only.
    ESRPC_ADDRESS_FAMILY_IPV4 = 4,
    /// IPv6 only.
    ESRPC_ADDRESS_FAMILY_IPV6 = 6,
}

/// For any time in milliseconds: no limit.
pub const ESRPC_NO_TIMEOUT: u32 = u32::MAX;
