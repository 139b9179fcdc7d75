//! What sockets of the application's are on Unix systems, and what the library changes of them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};

use socket2::{Domain, SockRef, Socket};

use super::RawSocket;
use crate::transport::{Error, ErrorKind};

pub const SOCKET_DOMAINS: &[Domain] = &[Domain::IPV4, Domain::IPV6, Domain::UNIX];
pub const IS_NO_SOCKET: &str = "is not a socket";
pub const IS_OF_ANOTHER_KIND: &str = "is a socket, but not a stream socket of TCP or Unix";

pub fn wrong_socket(raw: RawSocket, what: &str) -> Error {
    Error::new(ErrorKind::WrongSocket, format!("the descriptor {raw} {what}"))
}

/// The caller keeps it open for as long as it is borrowed.
pub fn borrow_socket<'a>(raw: RawSocket) -> Result<BorrowedFd<'a>, Error> {
    if raw < 0 {
        return Err(wrong_socket(raw, "is not a descriptor: it is negative"));
    }
    // SAFETY: fcntl with F_GETFD takes plain numbers and returns an error for a descriptor that is not open.
    if unsafe { libc::fcntl(raw, libc::F_GETFD) } < 0 {
        return Err(wrong_socket(raw, "is not open"));
    }
    // SAFETY: it is open, and the caller keeps it open.
    Ok(unsafe { BorrowedFd::borrow_raw(raw) })
}

/// The caller gives it up.
pub fn own_socket(borrowed: BorrowedFd<'_>) -> Socket {
    // SAFETY: it is an open socket, and from here on nobody else closes it.
    unsafe { Socket::from_raw_fd(borrowed.as_raw_fd()) }
}

/// Nothing where the system cannot be asked.
pub fn is_listening(socket: &SockRef<'_>) -> Option<bool> {
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
pub fn reset_socket(socket: &Socket, domain: Domain) -> io::Result<()> {
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
    socket.set_out_of_band_inline(false)?;
    #[cfg(target_vendor = "apple")]
    socket.set_nosigpipe(true)?;
    socket.set_cloexec(true)?;
    set_status_flags(socket)
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
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the options are ints, of which `value` is one; the descriptor is open as its owner is borrowed.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, std::ptr::from_ref(&value).cast(), len)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Non-blocking, and without signals.
fn set_status_flags(socket: &Socket) -> io::Result<()> {
    let raw = socket.as_raw_fd();
    // SAFETY: fcntl with these requests takes plain numbers.
    let flags = unsafe { libc::fcntl(raw, libc::F_GETFL) };
    let wanted = (flags | libc::O_NONBLOCK) & !libc::O_ASYNC;
    // SAFETY: as above.
    if flags < 0 || flags != wanted && unsafe { libc::fcntl(raw, libc::F_SETFL, wanted) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
