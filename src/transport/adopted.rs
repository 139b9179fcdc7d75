//! Sockets that the application made or inherited: checking them and taking them over.

use std::io;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::socket::SocketUse;
use super::system::{self, RawSocket};
use crate::transport::{Error, ErrorKind};

/// Whether the descriptor is an open stream socket of TCP or Unix, in the state that is needed. The error says what it is
/// instead.
pub fn check_socket(raw: RawSocket, wanted: SocketUse) -> Result<(), Error> {
    inspect(&SockRef::from(&system::borrow_socket(raw)?), raw, wanted).map(drop)
}

/// The address of its own side.
fn inspect(socket: &SockRef<'_>, raw: RawSocket, wanted: SocketUse) -> Result<SockAddr, Error> {
    let wrong = |what: &str| Err(system::wrong_socket(raw, what));
    let unfit = |found: &str, needed: &str| wrong(&format!("is a {found} socket; a {needed} one is needed here"));
    let unconnected = || wrong("is a socket that is not connected, or no longer");
    let silent = || wrong("is a socket that does not listen");
    let Ok(kind) = socket.r#type() else {
        return wrong(system::IS_NO_SOCKET);
    };
    // On Windows, a socket that is neither bound nor connected has no address.
    let Ok(address) = socket.local_addr() else {
        return if wanted == SocketUse::Connection { unconnected() } else { silent() };
    };
    if kind != Type::STREAM || !system::SOCKET_DOMAINS.contains(&address.domain()) {
        return wrong(system::IS_OF_ANOTHER_KIND);
    }
    match (wanted, system::is_listening(socket), socket.peer_addr().is_ok()) {
        (SocketUse::Connection, Some(true), _) => unfit("listening", "connected"),
        (SocketUse::Connection, _, false) => unconnected(),
        (SocketUse::Listener, _, true) => unfit("connected", "listening"),
        (SocketUse::Listener, Some(false), _) => silent(),
        _ => Ok(address),
    }
}

/// Takes the socket over: from here on it is ours to close, non-blocking and not inherited by programs that are run, and what the
/// application set on it is as the library needs it, see `reset_socket`. `prepare` sees it before that; after an error it is
/// still the caller's, and open. Returns the address of its own side, too.
pub fn take_socket(
    raw: RawSocket,
    wanted: SocketUse,
    prepare: impl FnOnce(&Socket, Domain) -> io::Result<()>,
) -> Result<(Socket, SockAddr), Error> {
    let borrowed = system::borrow_socket(raw)?;
    let socket = SockRef::from(&borrowed);
    let address = inspect(&socket, raw, wanted)?;
    prepare(&socket, address.domain())
        .and_then(|()| system::reset_socket(&socket, address.domain()))
        .map_err(|error| Error::from_io(&format!("preparing the socket {raw}"), &error, ErrorKind::Io))?;
    Ok((system::own_socket(borrowed), address))
}
