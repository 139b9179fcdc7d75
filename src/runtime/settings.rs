use std::time::Duration;

use crate::rpc::{Limits, Rate};
use crate::transport::SocketOptions;

/// What client and listener options share.
#[derive(Clone, Debug)]
pub struct Settings {
    pub limits: Limits,
    /// Bytes of a stream's messages that wait to be read; then reading from the connection pauses.
    pub stream_queue_limit: usize,
    pub times: Times,
    pub socket: SocketOptions,
    /// PINGs are answered by the library and not delivered.
    pub answer_pings: bool,
    /// How many of them; the rest is dropped.
    pub ping_answers: Rate,
}

/// How long each phase may take; nothing means without end, or never.
#[derive(Clone, Debug)]
pub struct Times {
    pub resolve: Option<Duration>,
    pub connect: Option<Duration>,
    pub tls: Option<Duration>,
    /// From setup until CONNECT is answered.
    pub handshake: Option<Duration>,
    /// The peer takes nothing of what is to be written.
    pub write: Option<Duration>,
    /// A message that has begun, and a second more for each 64 KiB of it.
    pub message: Option<Duration>,
    pub idle: Option<Duration>,
    /// Nothing came for so long: a PING is sent.
    pub ping: Option<Duration>,
    pub ping_response: Option<Duration>,
    /// How long open streams may go on after the peer's end; zero is not at all.
    pub half_open: Option<Duration>,
    /// How long a closing connection waits for the peer to take some of what is left; zero is one attempt to write.
    pub linger: Option<Duration>,
}

impl Settings {
    /// The limits for the protocol: with the answers to PINGs, which are set apart from them.
    pub fn rpc_limits(&self) -> Limits {
        Limits { ping_answers: self.answer_pings.then_some(self.ping_answers), ..self.limits }
    }
}

impl Default for Times {
    fn default() -> Self {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        Times {
            resolve: seconds(10),
            connect: seconds(10),
            tls: seconds(10),
            handshake: seconds(10),
            write: seconds(30),
            message: seconds(30),
            idle: None,
            ping: None,
            ping_response: seconds(10),
            half_open: Some(Duration::ZERO),
            linger: seconds(10),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            limits: Limits::default(),
            stream_queue_limit: 1024 * 1024,
            times: Times::default(),
            socket: SocketOptions::default(),
            answer_pings: false,
            ping_answers: Rate { per_second: 10, burst: 100 },
        }
    }
}
