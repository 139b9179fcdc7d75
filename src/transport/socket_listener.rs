//! A socket that listens, of TCP or Unix.

use std::io;
use std::sync::{Arc, Weak};

use mio::{Registry, Token};
use socket2::{SockAddr, Socket};

use super::adopted::take_socket;
use super::socket::{SocketUse, uninterrupted};
use super::system::{self, ListenSource, RawSocket};
use crate::transport::{Error, ErrorKind};

/// How many connections the system queues until they are accepted.
pub const BACKLOG: i32 = 1024;

pub struct SocketListener {
    /// Shared only with `ListeningSocket`, which does not keep it.
    socket: Arc<Socket>,
    source: ListenSource,
    address: SockAddr,
}

/// What any thread may do with the socket of a listener that another thread has.
pub enum ListeningSocket {
    Socket(Weak<Socket>),
    /// It listens without one.
    None,
}

impl ListeningSocket {
    /// A descriptor of its own for the caller, closed on exec; nothing if the listener is gone.
    pub fn duplicate(&self) -> Option<Result<RawSocket, Error>> {
        let failed = |error: io::Error| Error::from_io("duplicating the listening socket", &error, ErrorKind::Io);
        match self {
            ListeningSocket::Socket(socket) => {
                socket.upgrade().map(|socket| socket.try_clone().map(system::into_raw).map_err(failed))
            }
            ListeningSocket::None => {
                Some(Err(Error::new(ErrorKind::Unsupported, "a named pipe has no socket to be duplicated")))
            }
        }
    }
}

impl SocketListener {
    /// Takes a socket that listens and does not block.
    pub fn new(socket: Socket) -> io::Result<SocketListener> {
        let (address, source) = (socket.local_addr()?, ListenSource::new(&socket)?);
        Ok(SocketListener { socket: Arc::new(socket), source, address })
    }

    /// Takes a listening socket of the application's, which after an error is still the application's.
    pub fn adopt(raw: RawSocket) -> Result<SocketListener, Error> {
        let mut source = None;
        let (socket, address) = take_socket(raw, SocketUse::Listener, |socket, _| {
            source = Some(ListenSource::new(socket)?);
            Ok(())
        })?;
        let source = source.expect("taking the socket prepared it");
        Ok(SocketListener { socket: Arc::new(socket), source, address })
    }

    pub fn share(&self) -> ListeningSocket {
        ListeningSocket::Socket(Arc::downgrade(&self.socket))
    }

    pub fn address(&self) -> &SockAddr {
        &self.address
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.source.register(&self.socket, registry, token)
    }

    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source.deregister(&self.socket, registry)
    }

    /// The next connection's socket, which does not block.
    pub fn accept(&self) -> io::Result<Socket> {
        uninterrupted(|| self.source.accept(&self.socket))
    }
}
