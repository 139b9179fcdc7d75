//! Sockets that the application made or inherited: checking them and taking them over.

use std::io;
use std::os::windows::io::{AsRawSocket, BorrowedSocket, FromRawSocket};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use windows_sys::Win32::Networking::WinSock::{INVALID_SOCKET, SO_ACCEPTCONN, SOL_SOCKET, getsockopt};

use super::RawSocket;
use crate::transport::socket::SocketUse;
use crate::transport::{Error, ErrorKind};

/// See `check_socket`. Returns the address of its own side.
pub fn inspect(raw: RawSocket, wanted: SocketUse) -> Result<SockAddr, Error> {
    let wrong = |what: &str| Error::new(ErrorKind::WrongSocket, format!("the socket {raw} {what}"));
    if raw == INVALID_SOCKET {
        return Err(wrong("is not a socket: it is INVALID_SOCKET"));
    }
    // SAFETY: the caller keeps it open during the call; for a number that is no open socket the calls below fail.
    let borrowed = unsafe { BorrowedSocket::borrow_raw(raw as _) };
    let socket = SockRef::from(&borrowed);
    let Ok(kind) = socket.r#type() else {
        return Err(wrong("is not an open socket"));
    };
    // A socket that is neither bound nor connected has no address.
    let address = socket.local_addr().map_err(|_| match wanted {
        SocketUse::Connection => wrong("is a socket that is not connected, or no longer"),
        SocketUse::Listener => wrong("is a socket that does not listen"),
    })?;
    if kind != Type::STREAM || ![Domain::IPV4, Domain::IPV6].contains(&address.domain()) {
        return Err(wrong("is a socket, but not a stream socket of TCP"));
    }
    match (wanted, is_listening(&socket), socket.peer_addr().is_ok()) {
        (SocketUse::Connection, true, _) => Err(wrong("is a listening socket; a connected one is needed here")),
        (SocketUse::Connection, _, false) => Err(wrong("is a socket that is not connected, or no longer")),
        (SocketUse::Listener, _, true) => Err(wrong("is a connected socket; a listening one is needed here")),
        (SocketUse::Listener, false, _) => Err(wrong("is a socket that does not listen")),
        _ => Ok(address),
    }
}

fn is_listening(socket: &SockRef<'_>) -> bool {
    let mut value: i32 = 0;
    let mut len = size_of::<i32>() as i32;
    let place = (&raw mut value).cast::<u8>();
    // SAFETY: the option is an int, for which `value` is the place and `len` its size; the socket's owner is borrowed.
    let result = unsafe { getsockopt(socket.as_raw_socket() as usize, SOL_SOCKET, SO_ACCEPTCONN, place, &raw mut len) };
    result == 0 && value != 0
}

/// Takes the socket over: from here on it is ours to close, non-blocking and not inherited, and what the application set on it
/// that would interfere is undone. `prepare` sees it before that; after an error it is still the caller's, and open.
/// Returns the address of its own side, too.
pub fn take_socket(
    raw: RawSocket,
    wanted: SocketUse,
    prepare: impl FnOnce(&Socket, Domain) -> io::Result<()>,
) -> Result<(Socket, SockAddr), Error> {
    let address = inspect(raw, wanted)?;
    let failed = |error| Error::from_io(&format!("preparing the socket {raw}"), &error, ErrorKind::Io);
    {
        // SAFETY: `inspect` found it open, and the caller keeps it open for the time of the call.
        let borrowed = unsafe { BorrowedSocket::borrow_raw(raw as _) };
        let socket = SockRef::from(&borrowed);
        prepare(&socket, address.domain()).map_err(failed)?;
        socket.set_linger(None).map_err(failed)?;
        socket.set_out_of_band_inline(false).map_err(failed)?;
        socket.set_no_inherit(true).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
    }
    // SAFETY: it is an open socket, and the caller gives it up with this success.
    Ok((unsafe { Socket::from_raw_socket(raw as _) }, address))
}
