use std::time::Duration;

use crate::codec::Limits;

/// What client and listener options share.
#[derive(Clone, Debug)]
pub struct Settings {
    pub limits: Limits,
    pub max_handshake_message_len: usize,
    pub outbound_limit: usize,
    /// How long a closing connection waits for the peer to take some of what is left.
    pub linger: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            limits: Limits::default(),
            max_handshake_message_len: 64 * 1024,
            outbound_limit: 16 * 1024 * 1024,
            linger: Duration::from_secs(10),
        }
    }
}
