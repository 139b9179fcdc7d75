//! What sockets of the application's are on Windows, and what the library changes of them.

use std::io;
use std::os::windows::io::{AsRawSocket, BorrowedSocket, FromRawSocket};

use socket2::{Domain, SockRef, Socket};
use windows_sys::Win32::Networking::WinSock::{INVALID_SOCKET, SO_ACCEPTCONN, SOL_SOCKET, getsockopt};

use super::RawSocket;
use crate::transport::{Error, ErrorKind};

pub const SOCKET_DOMAINS: &[Domain] = &[Domain::IPV4, Domain::IPV6];
pub const IS_NO_SOCKET: &str = "is not an open socket";
pub const IS_OF_ANOTHER_KIND: &str = "is a socket, but not a stream socket of TCP";

pub fn wrong_socket(raw: RawSocket, what: &str) -> Error {
    Error::new(ErrorKind::WrongSocket, format!("the socket {raw} {what}"))
}

/// The caller keeps it open for as long as it is borrowed.
pub fn borrow_socket<'a>(raw: RawSocket) -> Result<BorrowedSocket<'a>, Error> {
    if raw == INVALID_SOCKET {
        return Err(wrong_socket(raw, "is not a socket: it is INVALID_SOCKET"));
    }
    // SAFETY: the caller keeps it open; for a number that is not an open socket, every call fails.
    Ok(unsafe { BorrowedSocket::borrow_raw(raw as _) })
}

/// The caller gives it up.
pub fn own_socket(borrowed: BorrowedSocket<'_>) -> Socket {
    // SAFETY: it is an open socket, and from here on nobody else closes it.
    unsafe { Socket::from_raw_socket(borrowed.as_raw_socket()) }
}

pub fn is_listening(socket: &SockRef<'_>) -> Option<bool> {
    let mut value: i32 = 0;
    let mut len = size_of::<i32>() as i32;
    let place = (&raw mut value).cast::<u8>();
    // SAFETY: the option is an int, for which `value` is the place and `len` its size; the socket's owner is borrowed.
    let result = unsafe { getsockopt(socket.as_raw_socket() as usize, SOL_SOCKET, SO_ACCEPTCONN, place, &raw mut len) };
    (result == 0).then_some(value != 0)
}

/// Undoes what an application may have set on a socket and the library cannot have there.
pub fn reset_socket(socket: &Socket, _: Domain) -> io::Result<()> {
    socket.set_linger(None)?;
    socket.set_out_of_band_inline(false)?;
    socket.set_no_inherit(true)?;
    socket.set_nonblocking(true)
}
