//! A listening Unix socket.

use std::io;

use mio::{Registry, Token};
use socket2::{Domain, SockAddr};

use super::adopted::refuse_descriptors;
use super::local_stream::LocalStream;
use super::socket_file::SocketFile;
use crate::transport::SocketOptions;
use crate::transport::endpoint::address_text;
use crate::transport::local_options::LocalOptions;
use crate::transport::socket::new_socket;
use crate::transport::socket_listener::{BACKLOG, ListeningSocket, SocketListener};

pub struct LocalListener {
    /// Removes the socket file when the listener goes. Before the socket is closed: until then nobody takes the file for a stale
    /// one and puts its own in its place.
    _file: Option<SocketFile>,
    socket: SocketListener,
}

impl LocalListener {
    pub fn bind(address: &SockAddr, options: &LocalOptions) -> io::Result<LocalListener> {
        let socket = new_socket(Domain::UNIX)?;
        refuse_descriptors(&socket, Domain::UNIX);
        let file = match address.as_pathname() {
            Some(path) => {
                let file = SocketFile::listen(&socket, address, path, options.unix_mode, BACKLOG)?;
                Some(if options.keep_unix_file { file.kept() } else { file })
            }
            None => {
                socket.bind(address)?;
                socket.listen(BACKLOG)?;
                None
            }
        };
        Ok(LocalListener { _file: file, socket: SocketListener::new(socket)? })
    }

    /// Whoever made the file may have others listen on it.
    pub fn adopted(socket: SocketListener) -> LocalListener {
        LocalListener { _file: None, socket }
    }

    pub fn share(&self) -> ListeningSocket {
        self.socket.share()
    }

    pub fn address(&self) -> String {
        address_text(self.socket.address())
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.register(registry, token)
    }

    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }

    /// The next connection. The inner error is about that alone.
    pub fn accept(&mut self, options: &SocketOptions) -> io::Result<io::Result<LocalStream>> {
        let socket = self.socket.accept()?;
        Ok(options.apply_to_any(&socket).map(|()| LocalStream::new(socket)))
    }
}
