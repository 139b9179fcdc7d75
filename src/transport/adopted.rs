//! Sockets that the application made or inherited: what they must be, and taking them over.

#[cfg(unix)]
use std::os::fd::{BorrowedFd, FromRawFd, RawFd};

#[cfg(unix)]
use socket2::{Domain, SockRef, Type};
use socket2::{SockAddr, Socket};

use crate::transport::{Error, ErrorKind};

/// A descriptor as the application gives it; nobody has looked at it yet.
#[cfg(not(windows))]
pub type RawSocket = std::ffi::c_int;
#[cfg(windows)]
pub type RawSocket = usize;

/// What a socket is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketUse {
    Connection,
    Listener,
}

/// Whether the descriptor is an open stream socket of TCP or Unix, in the state that is needed. The error says what it is
/// instead.
pub fn check_socket(raw: RawSocket, wanted: SocketUse) -> Result<(), Error> {
    inspect(raw, wanted).map(drop)
}

#[cfg(unix)]
fn inspect(raw: RawFd, wanted: SocketUse) -> Result<SockAddr, Error> {
    let wrong = |what: &str| Error::new(ErrorKind::WrongSocket, format!("the descriptor {raw} {what}"));
    if raw < 0 {
        return Err(wrong("is no descriptor: it is negative"));
    }
    // SAFETY: fcntl with F_GETFD takes plain numbers and answers an error for a descriptor that is not open.
    if unsafe { libc::fcntl(raw, libc::F_GETFD) } < 0 {
        return Err(wrong("is not open"));
    }
    // SAFETY: it is open, and the caller keeps it open for the time of the call.
    let descriptor = unsafe { BorrowedFd::borrow_raw(raw) };
    let socket = SockRef::from(&descriptor);
    let Ok(kind) = socket.r#type() else {
        return Err(wrong("is not a socket"));
    };
    let failed = |error| Error::from_io(&format!("looking at the socket {raw}"), &error, ErrorKind::Io);
    let address = socket.local_addr().map_err(failed)?;
    if kind != Type::STREAM || ![Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&address.domain()) {
        return Err(wrong("is a socket, but not a stream socket of TCP or Unix"));
    }
    match (wanted, is_listening(&socket), socket.peer_addr().is_ok()) {
        (SocketUse::Connection, Some(true), _) => {
            Err(wrong("is a listening socket; here one that is connected is needed"))
        }
        (SocketUse::Connection, _, false) => Err(wrong("is a socket that is not connected, or not any more")),
        (SocketUse::Listener, _, true) => Err(wrong("is a connected socket; here one that listens is needed")),
        (SocketUse::Listener, Some(false), _) => Err(wrong("is a socket that does not listen")),
        _ => Ok(address),
    }
}

/// Nothing where the system cannot be asked.
#[cfg(unix)]
fn is_listening(socket: &SockRef<'_>) -> Option<bool> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    {
        socket.is_listener().ok()
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    {
        let _ = socket;
        None
    }
}

/// Takes the descriptor over: from here on it is ours to close, non-blocking and closed on exec. `prepare` sees it before
/// that; after an error it is still the caller's, and open. Answers the address of its own side, too.
#[cfg(unix)]
pub(super) fn take_socket(
    raw: RawSocket,
    wanted: SocketUse,
    prepare: impl FnOnce(&Socket, Domain) -> std::io::Result<()>,
) -> Result<(Socket, SockAddr), Error> {
    let address = inspect(raw, wanted)?;
    let failed = |error| Error::from_io(&format!("preparing the socket {raw}"), &error, ErrorKind::Io);
    {
        // SAFETY: `inspect` found it open, and the caller keeps it open for the time of the call.
        let descriptor = unsafe { BorrowedFd::borrow_raw(raw) };
        let socket = SockRef::from(&descriptor);
        prepare(&socket, address.domain()).map_err(failed)?;
        #[cfg(target_vendor = "apple")]
        socket.set_nosigpipe(true).map_err(failed)?;
        socket.set_cloexec(true).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
    }
    // SAFETY: it is an open socket, and the caller gives it up with this success.
    Ok((unsafe { Socket::from_raw_fd(raw) }, address))
}

#[cfg(not(unix))]
fn inspect(_: RawSocket, _: SocketUse) -> Result<SockAddr, Error> {
    Err(Error::new(ErrorKind::Unsupported, "sockets of the application's are taken on Unix systems only"))
}

#[cfg(not(unix))]
pub(super) fn take_socket(
    raw: RawSocket,
    wanted: SocketUse,
    _: impl FnOnce(&Socket, socket2::Domain) -> std::io::Result<()>,
) -> Result<(Socket, SockAddr), Error> {
    inspect(raw, wanted).and_then(|_| Err(Error::new(ErrorKind::Unsupported, "")))
}
