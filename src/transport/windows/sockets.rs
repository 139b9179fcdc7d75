//! System calls on sockets.

use std::io;
use std::os::windows::io::{FromRawSocket, IntoRawSocket};

use mio::{Interest, Registry, Token};
use socket2::{SockRef, Socket};
use windows_sys::Win32::Foundation::ERROR_TOO_MANY_OPEN_FILES;
use windows_sys::Win32::Networking::WinSock::WSAEMFILE;

use super::RawSocket;

/// There are no signals.
pub const SEND_FLAGS: i32 = 0;

/// What to poll for.
pub const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// Whether a write that takes only a part of its bytes means that the socket is full now.
pub const SHORT_WRITE_ENDS_ROOM: bool = false;

/// Whether connecting goes on.
pub fn is_in_progress(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Whether the process or the system has no handles left, which passes when others are closed.
pub fn is_descriptor_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(code) if code == WSAEMFILE || code == ERROR_TOO_MANY_OPEN_FILES as i32)
}

/// The system does not say what is unacknowledged, so it may be that some bytes are.
pub fn has_unfinished_bytes(_: &SockRef<'_>, is_tcp: bool) -> bool {
    is_tcp
}

/// Watches a listening socket, and accepts by way of mio, which asks for the next event only if it sees WouldBlock.
pub struct ListenSource(mio::net::TcpListener);

impl ListenSource {
    pub fn new(socket: &Socket) -> io::Result<ListenSource> {
        Ok(ListenSource(mio::net::TcpListener::from_std(socket.try_clone()?.into())))
    }

    pub fn register(&mut self, _: &Socket, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.0, token, Interest::READABLE)
    }

    pub fn deregister(&mut self, _: &Socket, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut self.0)
    }

    /// The next connection, which does not block.
    pub fn accept(&self, _: &Socket) -> io::Result<Socket> {
        let (accepted, _) = self.0.accept()?;
        // SAFETY: the handle is that of a socket, which its owner has just given up.
        Ok(unsafe { Socket::from_raw_socket(accepted.into_raw_socket()) })
    }
}

/// Whether the connection ended while it was queued.
pub fn is_lost(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// Prepares a TCP socket that is to listen. SO_REUSEADDR, which Unix servers need, would let others take the port here.
pub fn prepare_listening(_: &Socket) -> io::Result<()> {
    Ok(())
}

pub fn into_raw(socket: Socket) -> RawSocket {
    // The documentation of Windows lets a SOCKET be any number but INVALID_SOCKET, of the size of a pointer.
    socket.into_raw_socket() as RawSocket
}
