//! A connected Unix socket.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::event::Source;
use mio::net::UnixStream;
use socket2::{Domain, SockAddr, SockRef, Socket};

use super::adopted::refuse_descriptors;
use super::sockets::has_unfinished_bytes;
use crate::transport::endpoint::AddressText;
use crate::transport::peer_credentials::PeerCredentials;
use crate::transport::socket::{Readiness, begin_connect, connect_error, finish_connect, new_socket, send};
use crate::transport::{Error, SocketOptions};

/// Dropping it shuts the socket down, as with TCP.
pub struct LocalStream {
    stream: UnixStream,
    /// The last read ended early because something else came with its bytes, such as descriptors.
    ended_early: bool,
}

impl LocalStream {
    /// Takes a non-blocking socket.
    pub fn new(socket: Socket) -> LocalStream {
        LocalStream { stream: UnixStream::from_std(OwnedFd::from(socket).into()), ended_early: false }
    }

    /// Begins to connect.
    pub fn dial(address: &SockAddr, options: &SocketOptions) -> Result<LocalStream, Error> {
        let failed = |error: io::Error| connect_error(&error);
        let socket = new_socket(Domain::UNIX).map_err(failed)?;
        options.apply_to_any(&socket).map_err(failed)?;
        refuse_descriptors(&socket, Domain::UNIX);
        begin_connect(&socket, address)?;
        Ok(LocalStream::new(socket))
    }

    fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.stream)
    }

    pub fn finish_dial(&self) -> Result<Readiness, Error> {
        finish_connect(&self.socket())
    }

    pub fn source(&mut self) -> &mut dyn Source {
        &mut self.stream
    }

    /// Linux ends a read also behind a message with descriptors, and between messages with different credentials if the socket
    /// receives those; both show in that read.
    pub fn short_read_ends_input(&self) -> bool {
        !self.ended_early
    }

    /// One read, and whether anything came with it that there was no room for, such as descriptors, which the system then closes.
    pub fn receive(&mut self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let mut place = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: a msghdr of zeros is one without address, buffers and control data.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut place;
        message.msg_iovlen = 1;
        // SAFETY: the one place is `buffer`, which is borrowed for the call, as is the owner of the descriptor.
        let count = unsafe { libc::recvmsg(self.stream.as_raw_fd(), &raw mut message, 0) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        self.ended_early = message.msg_flags & libc::MSG_CTRUNC != 0;
        Ok(count)
    }

    /// The system knows the peer since it connected.
    pub fn identify_peer(&mut self) -> Readiness {
        Readiness::Ready
    }

    pub fn note_room(&mut self) {}

    /// Whether the socket has taken all that was written.
    pub fn is_written(&self) -> bool {
        true
    }

    pub fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        send(&self.socket(), buffers)
    }

    pub fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        self.socket().shutdown(how)
    }

    pub fn has_unfinished_bytes(&self) -> bool {
        has_unfinished_bytes(&self.socket(), false)
    }

    pub fn local_address(&self) -> AddressText {
        AddressText::of_socket(self.socket().local_addr())
    }

    pub fn remote_address(&self) -> AddressText {
        AddressText::of_socket(self.socket().peer_addr())
    }

    /// `None` where the system does not say.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
        let mut len = size_of::<libc::ucred>() as libc::socklen_t;
        let (descriptor, level, option) = (self.stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED);
        // SAFETY: the option is a ucred, for which `peer` is the place and `len` its size; the descriptor is open as its owner
        // is borrowed.
        let result =
            unsafe { libc::getsockopt(descriptor, level, option, std::ptr::from_mut(&mut peer).cast(), &mut len) };
        let (pid, uid, gid) = (peer.pid, peer.uid, peer.gid);
        (result == 0).then_some(PeerCredentials { pid, uid, gid, sid: String::new() })
    }

    /// `None` where the system does not say.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        None
    }
}

impl Drop for LocalStream {
    fn drop(&mut self) {
        // An error means that the connection is over already, or was never made.
        let _ = self.shut_down(Shutdown::Both);
    }
}
