//! What TCP sockets and Unix sockets have in common.

use std::io::{self, IoSlice};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::error::words_of;
use super::system;
use crate::transport::{Error, ErrorKind};

/// Whether a dial is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    Pending,
}

/// What a socket of the application's is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketUse {
    Connection,
    Listener,
}

/// A non-blocking stream socket.
pub fn new_socket(domain: Domain) -> io::Result<Socket> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return Socket::new(domain, Type::STREAM.nonblocking(), None);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

/// Begins to connect; the socket becomes writable when that is over.
pub fn begin_connect(socket: &Socket, address: &SockAddr) -> Result<(), Error> {
    match socket.connect(address) {
        Ok(()) => Ok(()),
        Err(error) if system::is_in_progress(&error) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(Error::new(ErrorKind::BacklogFull, "the server's backlog is full"))
        }
        Err(error) => Err(connect_error(&error)),
    }
}

/// Whether connecting is over, and how.
pub fn finish_connect(socket: &SockRef<'_>) -> Result<Readiness, Error> {
    if let Some(error) = socket.take_error().map_err(|error| connect_error(&error))? {
        return Err(connect_error(&error));
    }
    match socket.peer_addr() {
        Ok(_) => Ok(Readiness::Ready),
        Err(error) if error.kind() == io::ErrorKind::NotConnected || system::is_in_progress(&error) => {
            Ok(Readiness::Pending)
        }
        Err(error) => Err(connect_error(&error)),
    }
}

pub fn connect_error(error: &io::Error) -> Error {
    Error::from_io("", error, ErrorKind::ConnectFailed).with_sentence(words_of(error))
}

/// Writes without ever raising SIGPIPE.
#[inline]
pub fn send(socket: &SockRef<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    socket.send_vectored_with_flags(buffers, system::SEND_FLAGS)
}

/// Calls again as long as a signal interrupts.
#[inline(always)]
pub fn uninterrupted<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
