//! System calls on sockets of any family.

use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::FromRawFd;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::{SockRef, Socket};

use super::RawSocket;

/// Writing must not raise SIGPIPE. Apple's systems have an option of the socket for that.
#[cfg(not(target_vendor = "apple"))]
pub const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL;
#[cfg(target_vendor = "apple")]
pub const SEND_FLAGS: i32 = 0;

/// What to poll for. Linux reports urgent data separately from other input.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// Whether a write that takes only a part of its bytes means that the socket is full now.
pub const SHORT_WRITE_ENDS_ROOM: bool = true;

/// Whether connecting goes on.
pub fn is_in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS)
}

/// Whether the process or the system has no descriptors left, which passes when others are closed.
pub fn is_descriptor_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(code) if code == libc::EMFILE || code == libc::ENFILE)
}

/// Whether the system does not know the network interface.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn is_unknown_interface(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENODEV)
}

/// Whether bytes wait in the socket: unread ones, or on TCP unacknowledged ones, where the system says how many.
pub fn has_unfinished_bytes(socket: &SockRef<'_>, is_tcp: bool) -> bool {
    let descriptor = socket.as_raw_fd();
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let unacknowledged = if is_tcp { queue_length(descriptor, libc::TIOCOUTQ as _) } else { 0 };
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let (unacknowledged, _) = (0, is_tcp);
    queue_length(descriptor, libc::FIONREAD as _) > 0 || unacknowledged > 0
}

/// What ioctl takes.
#[cfg(any(target_os = "linux", target_os = "android"))]
type Request = libc::Ioctl;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
type Request = libc::c_ulong;

fn queue_length(descriptor: RawFd, request: Request) -> libc::c_int {
    let mut length: libc::c_int = 0;
    // SAFETY: both requests write one int, for which `length` is the place; the descriptor is open as its owner is borrowed.
    let result = unsafe { libc::ioctl(descriptor, request, &mut length) };
    if result == 0 { length } else { 0 }
}

/// Watches a listening socket.
pub struct ListenSource;

impl ListenSource {
    pub fn new(_: &Socket) -> io::Result<ListenSource> {
        Ok(ListenSource)
    }

    pub fn register(&mut self, socket: &Socket, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)
    }

    pub fn deregister(&mut self, socket: &Socket, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut SourceFd(&socket.as_raw_fd()))
    }

    /// The next connection, non-blocking and closed on exec from the first moment.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn accept(&self, socket: &Socket) -> io::Result<Socket> {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let (nobody, no_len) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: nobody asks for the peer's address; the descriptor is open as `socket` is borrowed.
        match unsafe { libc::accept4(socket.as_raw_fd(), nobody, no_len, flags) } {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: a new descriptor, which nobody else knows.
            accepted => Ok(unsafe { Socket::from_raw_fd(accepted) }),
        }
    }

    /// The next connection, non-blocking.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub fn accept(&self, socket: &Socket) -> io::Result<Socket> {
        let (accepted, _) = socket.accept()?;
        accepted.set_nonblocking(true)?;
        Ok(accepted)
    }
}

/// Whether the connection ended while it was queued; Linux also reports network errors in this way.
pub fn is_lost(error: &io::Error) -> bool {
    const LOST: [i32; 8] = [
        libc::ECONNABORTED,
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::EOPNOTSUPP,
        libc::ENETDOWN,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
    ];
    error.raw_os_error().is_some_and(|code| LOST.contains(&code))
}

/// Prepares a TCP socket that is to listen.
pub fn prepare_listening(socket: &Socket) -> io::Result<()> {
    // Otherwise a server could not restart while connections of the previous one are in TIME_WAIT.
    socket.set_reuse_address(true)
}

pub fn into_raw(socket: Socket) -> RawSocket {
    socket.into_raw_fd()
}
