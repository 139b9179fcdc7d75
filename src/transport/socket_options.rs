use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, TcpKeepalive};

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::system;
use crate::transport::{Error, ErrorKind};

/// Which addresses of a name are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressFamily {
    #[default]
    Any,
    V4,
    V6,
}

/// Options of sockets.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// Which addresses of a name are used.
    pub family: AddressFamily,
    /// Send small messages at once instead of waiting for the acknowledgement of earlier ones (Nagle's algorithm off).
    pub no_delay: bool,
    /// Keep-alive probes by the system; `None`: off.
    pub keep_alive: Option<KeepAlive>,
    /// Sizes of the system's buffers, in bytes.
    pub send_buffer: Option<usize>,
    pub receive_buffer: Option<usize>,
    /// The local address of a client.
    pub local_address: Option<SocketAddr>,
    /// The name of the only network interface to use; not for Unix sockets.
    pub interface: Option<String>,
}

/// Times of the system's keep-alive; `None` is the system's default.
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
            interface: None,
        }
    }
}

impl SocketOptions {
    /// Restricts a socket that is not bound yet to the interface.
    pub(super) fn bind_interface(&self, socket: &Socket) -> Result<(), Error> {
        let Some(name) = &self.interface else { return Ok(()) };
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            socket.bind_device(Some(name.as_bytes())).map_err(|error| {
                let missing = system::is_unknown_interface(&error);
                let otherwise = if missing { ErrorKind::InterfaceNotFound } else { ErrorKind::Io };
                Error::from_io(&format!("binding to the network interface {name:?}"), &error, otherwise)
            })
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        {
            let _ = socket;
            let sentence = format!("sockets cannot be bound to a network interface ({name}) on this system");
            Err(Error::new(ErrorKind::Unsupported, sentence))
        }
    }

    /// Sets what holds for every connected socket of the family.
    pub(super) fn apply(&self, socket: &Socket, domain: Domain) -> io::Result<()> {
        if domain == Domain::UNIX { self.apply_to_any(socket) } else { self.apply_to_tcp(socket) }
    }

    /// What holds for every connected socket.
    pub(super) fn apply_to_any(&self, socket: &Socket) -> io::Result<()> {
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        Ok(())
    }

    /// What holds for every connection of TCP.
    pub(super) fn apply_to_tcp(&self, socket: &Socket) -> io::Result<()> {
        self.apply_to_any(socket)?;
        // During the handshakes in any case; see Stream::allow_delay.
        socket.set_tcp_nodelay(true)?;
        let Some(keep_alive) = &self.keep_alive else { return Ok(()) };
        socket.set_keepalive(true)?;
        let mut times = TcpKeepalive::new();
        if let Some(idle) = keep_alive.idle {
            times = times.with_time(idle);
        }
        if let Some(interval) = keep_alive.interval {
            times = times.with_interval(interval);
        }
        let Some(probes) = keep_alive.probes else { return socket.set_tcp_keepalive(&times) };
        let set = socket.set_tcp_keepalive(&times.clone().with_retries(probes));
        // Windows has a fixed number before Windows 10, version 1703.
        if cfg!(windows) && set.is_err() { socket.set_tcp_keepalive(&times) } else { set }
    }
}
