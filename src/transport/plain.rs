//! A connected socket: plain bytes.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;

use mio::event::Source;
use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;
use socket2::{Domain, SockRef, Socket};

/// The process at the other end of a Unix socket, as it was when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

/// Dropping it shuts the socket down before it is closed: a child that was forked meanwhile has a duplicate, and closing alone
/// would leave the peer waiting for that.
pub struct PlainStream {
    kind: Kind,
    /// The last read ended early because something else came with its bytes, such as descriptors.
    ended_early: bool,
}

enum Kind {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl PlainStream {
    /// Takes a connected, non-blocking socket.
    pub fn new(socket: Socket, domain: Domain) -> io::Result<PlainStream> {
        let kind = if domain == Domain::UNIX {
            #[cfg(unix)]
            {
                Kind::Unix(UnixStream::from_std(std::os::fd::OwnedFd::from(socket).into()))
            }
            #[cfg(not(unix))]
            return Err(io::ErrorKind::Unsupported.into());
        } else {
            Kind::Tcp(TcpStream::from_std(socket.into()))
        };
        Ok(PlainStream { kind, ended_early: false })
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn is_tcp(&self) -> bool {
        matches!(self.kind, Kind::Tcp(_))
    }

    pub fn socket(&self) -> SockRef<'_> {
        match &self.kind {
            Kind::Tcp(stream) => SockRef::from(stream),
            #[cfg(unix)]
            Kind::Unix(stream) => SockRef::from(stream),
        }
    }

    pub fn source(&mut self) -> &mut dyn Source {
        match &mut self.kind {
            Kind::Tcp(stream) => stream,
            #[cfg(unix)]
            Kind::Unix(stream) => stream,
        }
    }

    /// Whether the last read, if it filled only a part of its buffer, took all that the socket had, but for what lies behind
    /// urgent data. Linux ends a read also behind a message of a Unix socket with descriptors, and between messages with
    /// different credentials if the socket receives those; both show in that read. Not relied on elsewhere.
    pub fn short_read_ends_input(&self) -> bool {
        cfg!(any(target_os = "linux", target_os = "android")) && !self.ended_early
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
        loop {
            let result = match &self.kind {
                Kind::Tcp(stream) => SockRef::from(stream).recv(buffer),
                #[cfg(unix)]
                Kind::Unix(stream) => receive_noting(stream, buffer, &mut self.ended_early),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// `None` on other sockets than Unix ones, and where the system does not say.
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        match &self.kind {
            Kind::Tcp(_) => None,
            #[cfg(unix)]
            Kind::Unix(stream) => credentials_of(stream),
        }
    }
}

impl Drop for PlainStream {
    fn drop(&mut self) {
        // An error means that the connection is over already, or was never made.
        let _ = self.socket().shutdown(Shutdown::Both);
    }
}

impl Read for PlainStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // mio's own read takes fewer instructions, and there is nothing to note.
        if let Kind::Tcp(stream) = &mut self.kind {
            loop {
                match stream.read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => return result,
                }
            }
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
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
        const FLAGS: i32 = libc::MSG_NOSIGNAL;
        #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
        const FLAGS: i32 = 0;
        loop {
            match self.socket().send_vectored_with_flags(buffers, FLAGS) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One read, and whether anything came with it that there was no room for, such as descriptors, which the system then closes.
#[cfg(unix)]
fn receive_noting(stream: &UnixStream, buffer: &mut [MaybeUninit<u8>], ended_early: &mut bool) -> io::Result<usize> {
    use std::os::fd::AsRawFd;
    let mut place = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a msghdr of zeros is one without address, buffers and control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut place;
    message.msg_iovlen = 1;
    // SAFETY: the one place is `buffer`, which is borrowed for the call, as is the owner of the descriptor.
    let count = unsafe { libc::recvmsg(stream.as_raw_fd(), &raw mut message, 0) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    *ended_early = message.msg_flags & libc::MSG_CTRUNC != 0;
    Ok(count)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn credentials_of(stream: &UnixStream) -> Option<PeerCredentials> {
    use std::os::fd::AsRawFd;
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: the option is a ucred, for which `peer` is the place and `len` its size; the descriptor is open as its owner
    // is borrowed.
    let result =
        unsafe { libc::getsockopt(stream.as_raw_fd(), level, option, std::ptr::from_mut(&mut peer).cast(), &mut len) };
    (result == 0).then_some(PeerCredentials { pid: peer.pid, uid: peer.uid, gid: peer.gid })
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
fn credentials_of(_: &UnixStream) -> Option<PeerCredentials> {
    None
}
