//! A connected stream of plain bytes.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;

use mio::event::Source;
use mio::net::TcpStream;
use socket2::{SockRef, Socket};

use super::endpoint::AddressText;
use super::peer_credentials::PeerCredentials;
use super::socket::{Readiness, finish_connect, send, uninterrupted};
use super::system::{self, LocalStream};
use crate::transport::Error;

/// Dropping it shuts the socket down before it is closed: a child that was forked meanwhile has a duplicate, and closing alone
/// would leave the peer waiting for that.
pub enum PlainStream {
    Tcp(Tcp),
    Local(LocalStream),
}

/// A TCP connection.
pub struct Tcp(TcpStream);

impl Tcp {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.0)
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        // An error means that the connection is over already, or was never made.
        let _ = self.socket().shutdown(Shutdown::Both);
    }
}

impl PlainStream {
    /// Takes a non-blocking socket.
    pub fn tcp(socket: Socket) -> PlainStream {
        PlainStream::Tcp(Tcp(TcpStream::from_std(socket.into())))
    }

    /// Whether the dial is over, and how.
    pub fn finish_dial(&self) -> Result<Readiness, Error> {
        match self {
            PlainStream::Tcp(tcp) => finish_connect(&tcp.socket()),
            PlainStream::Local(local) => local.finish_dial(),
        }
    }

    pub fn source(&mut self) -> &mut dyn Source {
        match self {
            PlainStream::Tcp(tcp) => &mut tcp.0,
            PlainStream::Local(local) => local.source(),
        }
    }

    /// Whether the last read, if it filled only a part of its buffer, took all that the socket had, but for what lies behind
    /// urgent data. Not relied on elsewhere than on Linux.
    pub fn short_read_ends_input(&self) -> bool {
        cfg!(any(target_os = "linux", target_os = "android"))
            && match self {
                PlainStream::Tcp(_) => true,
                PlainStream::Local(local) => local.short_read_ends_input(),
            }
    }

    /// Appends at most `room` bytes to `bytes`, which has room for them.
    pub fn read_more(&mut self, bytes: &mut Vec<u8>, room: usize) -> io::Result<usize> {
        let count = self.receive(&mut bytes.spare_capacity_mut()[..room])?;
        // SAFETY: the system has written `count` bytes, at most `room`, after the ones that were there.
        unsafe { bytes.set_len(bytes.len() + count) };
        Ok(count)
    }

    #[inline]
    fn receive(&mut self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        uninterrupted(|| match self {
            // By way of mio, which on Windows asks for the next event only if it sees WouldBlock.
            PlainStream::Tcp(tcp) => tcp.0.try_io(|| tcp.socket().recv(buffer)),
            PlainStream::Local(local) => local.receive(buffer),
        })
    }

    /// Whether it is known who the peer is. The other end of a named pipe is known when something came from it.
    pub fn identify_peer(&mut self) -> Readiness {
        match self {
            PlainStream::Tcp(_) => Readiness::Ready,
            PlainStream::Local(local) => local.identify_peer(),
        }
    }

    /// The poll has reported room for more.
    #[inline]
    pub fn note_room(&mut self) {
        if let PlainStream::Local(local) = self {
            local.note_room();
        }
    }

    /// Whether the system has taken all that was written. A named pipe takes it in the background.
    pub fn is_written(&self) -> bool {
        match self {
            PlainStream::Tcp(_) => true,
            PlainStream::Local(local) => local.is_written(),
        }
    }

    /// Small messages may wait for the acknowledgement of earlier ones (Nagle's algorithm).
    pub fn allow_delay(&self) {
        if let PlainStream::Tcp(tcp) = self {
            // If the socket is broken, the next read or write reports it.
            let _ = tcp.socket().set_tcp_nodelay(false);
        }
    }

    /// Ends the outgoing side. Named pipes have no sides.
    pub fn shutdown_write(&self) {
        // An error means that the connection is already gone, which the next read reports.
        let _ = match self {
            PlainStream::Tcp(tcp) => tcp.socket().shutdown(Shutdown::Write),
            PlainStream::Local(local) => local.shut_down(Shutdown::Write),
        };
    }

    /// Ends the connection for both sides at once, whoever else has the socket.
    pub fn shut_down(&self) {
        // As above.
        let _ = match self {
            PlainStream::Tcp(tcp) => tcp.socket().shutdown(Shutdown::Both),
            PlainStream::Local(local) => local.shut_down(Shutdown::Both),
        };
    }

    /// Whether closing now could lose bytes: some that arrived are unread (the peer's system would throw away ours), or,
    /// on TCP, some that were written are unacknowledged.
    pub fn has_unfinished_bytes(&self) -> bool {
        match self {
            PlainStream::Tcp(tcp) => system::has_unfinished_bytes(&tcp.socket(), true),
            PlainStream::Local(local) => local.has_unfinished_bytes(),
        }
    }

    pub fn local_address(&self) -> AddressText {
        match self {
            PlainStream::Tcp(tcp) => AddressText::of_socket(tcp.socket().local_addr()),
            PlainStream::Local(local) => local.local_address(),
        }
    }

    pub fn remote_address(&self) -> AddressText {
        match self {
            PlainStream::Tcp(tcp) => AddressText::of_socket(tcp.socket().peer_addr()),
            PlainStream::Local(local) => local.remote_address(),
        }
    }

    /// `None` on TCP connections, and where the system does not say.
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        match self {
            PlainStream::Tcp(_) => None,
            PlainStream::Local(local) => local.peer_credentials(),
        }
    }
}

impl Read for PlainStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // mio's own read takes fewer instructions, and there is nothing to note.
        if let PlainStream::Tcp(tcp) = self {
            return uninterrupted(|| tcp.0.read(buffer));
        }
        let (start, len) = (buffer.as_mut_ptr().cast::<MaybeUninit<u8>>(), buffer.len());
        // SAFETY: the same bytes; all that happens to them is that the system writes some.
        self.receive(unsafe { std::slice::from_raw_parts_mut(start, len) })
    }
}

impl Write for PlainStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buffer)])
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        uninterrupted(|| match self {
            PlainStream::Tcp(tcp) => tcp.0.try_io(|| send(&tcp.socket(), buffers)),
            PlainStream::Local(local) => local.write_vectored(buffers),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
