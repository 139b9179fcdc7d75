//! Sockets that the application made or inherited: checking them and taking them over.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, RawFd};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::RawSocket;
use crate::transport::socket::SocketUse;
use crate::transport::{Error, ErrorKind};

/// See `check_socket`. Returns the address of its own side.
pub fn inspect(raw: RawSocket, wanted: SocketUse) -> Result<SockAddr, Error> {
    let wrong = |what: &str| Error::new(ErrorKind::WrongSocket, format!("the descriptor {raw} {what}"));
    if raw < 0 {
        return Err(wrong("is not a descriptor: it is negative"));
    }
    // SAFETY: fcntl with F_GETFD takes plain numbers and returns an error for a descriptor that is not open.
    if unsafe { libc::fcntl(raw, libc::F_GETFD) } < 0 {
        return Err(wrong("is not open"));
    }
    // SAFETY: it is open, and the caller keeps it open during the call.
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
        (SocketUse::Connection, Some(true), _) => Err(wrong("is a listening socket; a connected one is needed here")),
        (SocketUse::Connection, _, false) => Err(wrong("is a socket that is not connected, or no longer")),
        (SocketUse::Listener, _, true) => Err(wrong("is a connected socket; a listening one is needed here")),
        (SocketUse::Listener, Some(false), _) => Err(wrong("is a socket that does not listen")),
        _ => Ok(address),
    }
}

/// Nothing where the system cannot be asked.
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

/// Takes the descriptor over: from here on it is ours to close, non-blocking and closed on exec, and what the application set on
/// it is as the library needs it, see `reset`. `prepare` sees it before that; after an error it is still the caller's, and
/// open. Answers the address of its own side, too.
pub fn take_socket(
    raw: RawSocket,
    wanted: SocketUse,
    prepare: impl FnOnce(&Socket, Domain) -> io::Result<()>,
) -> Result<(Socket, SockAddr), Error> {
    let address = inspect(raw, wanted)?;
    let failed = |error| Error::from_io(&format!("preparing the socket {raw}"), &error, ErrorKind::Io);
    {
        // SAFETY: `inspect` found it open, and the caller keeps it open for the time of the call.
        let descriptor = unsafe { BorrowedFd::borrow_raw(raw) };
        let socket = SockRef::from(&descriptor);
        prepare(&socket, address.domain()).map_err(failed)?;
        reset(&socket, address.domain()).map_err(failed)?;
        #[cfg(target_vendor = "apple")]
        socket.set_nosigpipe(true).map_err(failed)?;
        socket.set_cloexec(true).map_err(failed)?;
        set_status_flags(raw).map_err(failed)?;
    }
    // SAFETY: it is an open socket, and the caller gives it up with this success.
    Ok((unsafe { Socket::from_raw_fd(raw) }, address))
}

/// Undoes what an application may have set on a socket and the library cannot have there. A listening socket hands most of it
/// on to those that it accepts, so it is reset as well.
///
/// | set before | would | here |
/// | --- | --- | --- |
/// | `SO_LINGER` | make close stop the loop, or reset the connection | off; also on what an adopted listener accepts |
/// | `SO_RCVLOWAT` | hold messages back until there are more | 1 byte |
/// | `SO_OOBINLINE` | put urgent bytes among those of the messages | off: they are dropped |
/// | `TCP_CORK` | hold small messages back for 200 ms, whatever `TCP_NODELAY` is | off |
/// | `TCP_NODELAY`, buffer sizes, keep-alive | | as the options of the connection say, if they do |
/// | `SO_PASSCRED`, `SO_PASSPIDFD`, `SO_PASSSEC` | end reads between messages of different senders | off: a read less |
/// | `SO_PASSRIGHTS` (Linux 6.16) | let a peer pass descriptors, see `refuse_descriptors` | off |
/// | blocking | stop the loop | `O_NONBLOCK`, for all who share the description of the socket |
/// | `O_ASYNC` | raise SIGIO, which ends a process that does not expect it | off, for all who share it |
/// | no close-on-exec | leak the socket into programs that are run | `FD_CLOEXEC` |
/// | `SO_RCVTIMEO`, `SO_SNDTIMEO` | have no effect on a socket that does not block | left |
/// | addresses, interface, priority, marks, `TCP_USER_TIMEOUT` and the like | do what the application meant | left |
fn reset(socket: &Socket, domain: Domain) -> io::Result<()> {
    socket.set_linger(None)?;
    set_option(socket, libc::SO_RCVLOWAT, 1)?;
    if domain == Domain::UNIX {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        for option in [libc::SO_PASSCRED, libc::SO_PASSSEC, SO_PASSPIDFD] {
            // A system that does not know the option does not do what it turns off.
            let _ = set_option(socket, option, 0);
        }
        refuse_descriptors(socket, domain);
    } else {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        socket.set_tcp_cork(false)?;
    }
    socket.set_out_of_band_inline(false)
}

/// Linux 6.5.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SO_PASSPIDFD: libc::c_int = 76;

/// Makes sending descriptors to this Unix socket fail at the sender. The library wants none, and the system would close them on
/// our thread, where closing a lingering socket blocks: a peer could hold the loop as long as it likes. Connections inherit this
/// from the listening socket. Systems that do not support it (Linux before 6.16) are left as they are.
pub fn refuse_descriptors(socket: &Socket, domain: Domain) {
    #[cfg(all(
        any(target_os = "linux", target_os = "android"),
        not(any(target_arch = "sparc", target_arch = "sparc64", target_arch = "mips", target_arch = "mips64"))
    ))]
    if domain == Domain::UNIX {
        const SO_PASSRIGHTS: libc::c_int = 83;
        let _ = set_option(socket, SO_PASSRIGHTS, 0);
    }
    let _ = (socket, domain);
}

fn set_option(socket: &Socket, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the options are ints, of which `value` is one; the descriptor is open as its owner is borrowed.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, std::ptr::from_ref(&value).cast(), len)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Non-blocking, and without signals.
fn set_status_flags(raw: RawFd) -> io::Result<()> {
    // SAFETY: fcntl with these requests takes plain numbers.
    let flags = unsafe { libc::fcntl(raw, libc::F_GETFL) };
    let wanted = (flags | libc::O_NONBLOCK) & !libc::O_ASYNC;
    // SAFETY: as above.
    if flags < 0 || flags != wanted && unsafe { libc::fcntl(raw, libc::F_SETFL, wanted) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
