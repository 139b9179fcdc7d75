use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, TcpKeepalive};

use crate::transport::AddressFamily;

/// How sockets are made.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// Which addresses of a name are used.
    pub family: AddressFamily,
    /// Send small messages at once instead of waiting for the acknowledgement of earlier ones (Nagle's algorithm off).
    pub no_delay: bool,
    /// The system asks a silent peer whether it is still there.
    pub keep_alive: Option<KeepAlive>,
    /// Sizes of the system's buffers, in bytes.
    pub send_buffer: Option<usize>,
    pub receive_buffer: Option<usize>,
    /// A client's own address.
    pub local_address: Option<SocketAddr>,
}

/// Times of the system's keep-alive; nothing is the system's default.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepAlive {
    pub idle: Option<Duration>,
    pub interval: Option<Duration>,
    pub probes: Option<u32>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions {
            family: AddressFamily::Any,
            no_delay: true,
            keep_alive: None,
            send_buffer: None,
            receive_buffer: None,
            local_address: None,
        }
    }
}

impl SocketOptions {
    /// Sets what holds for every connected socket of the family.
    pub(super) fn apply(&self, socket: &Socket, domain: Domain) -> io::Result<()> {
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if domain == Domain::UNIX {
            return Ok(());
        }
        // During the handshakes in any case; see Stream::allow_delay.
        socket.set_tcp_nodelay(true)?;
        if let Some(keep_alive) = &self.keep_alive {
            socket.set_keepalive(true)?;
            let mut times = TcpKeepalive::new();
            if let Some(idle) = keep_alive.idle {
                times = times.with_time(idle);
            }
            if let Some(interval) = keep_alive.interval {
                times = times.with_interval(interval);
            }
            #[cfg(unix)]
            if let Some(probes) = keep_alive.probes {
                times = times.with_retries(probes);
            }
            socket.set_tcp_keepalive(&times)?;
        }
        Ok(())
    }
}
