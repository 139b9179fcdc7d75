use crate::codec;
use crate::rpc::Rate;

/// What a connection may send, receive and hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub messages: codec::Limits,
    /// Length of a message that is received before the handshake is done.
    pub max_handshake_message_len: usize,
    /// Bytes that may wait to be written before sends are refused.
    pub outbound: usize,
    /// Streams that a client may have open at a time; a server refuses more.
    pub max_streams: usize,
    /// How often a client may do to a server what costs the server more than it costs the client: send messages, other than
    /// the end, for streams that are over; end streams that the application holds open and has not answered.
    pub abnormal_events: Rate,
    /// How often the library answers the peer's PINGs instead of delivering them; `None`: all are delivered.
    pub ping_answers: Option<Rate>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            messages: codec::Limits::ON_CONNECTION,
            max_handshake_message_len: 64 * 1024,
            outbound: 16 * 1024 * 1024,
            max_streams: 1000,
            abnormal_events: Rate { per_second: 33, burst: 1000 },
            ping_answers: None,
        }
    }
}
