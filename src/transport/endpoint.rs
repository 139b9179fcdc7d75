use std::fmt;
use std::io;
use std::net::SocketAddr;

use socket2::SockAddr;

use super::address::Address;
use super::resolver::literal;
use super::system::{LocalName, RawSocket, socket_address_text};
use crate::transport::{Error, ErrorKind};

/// Where to connect to or listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Tcp {
        host: String,
        port: u16,
    },
    /// A Unix socket; on Windows a named pipe.
    Local(LocalName),
    /// A socket of the application's, which is connected or listens already.
    Socket(RawSocket),
}

impl Endpoint {
    /// What to do when nobody can connect there because of such a failure: the end of its sentence, or nothing.
    pub fn advice_to_client(&self, failure: ErrorKind) -> &'static str {
        match (self, failure) {
            (Endpoint::Local(name), _) => name.advice_to_client(failure),
            (_, ErrorKind::Refused) => "; no server is listening there: start it, or check host and port",
            _ => "",
        }
    }

    /// The same when nobody can listen there.
    pub fn advice_to_server(&self, failure: ErrorKind) -> &'static str {
        match (self, failure) {
            (Endpoint::Local(name), _) => name.advice_to_server(failure),
            (_, ErrorKind::AddressInUse) => "; stop the program that uses this port, or choose another port",
            (_, ErrorKind::AddressUnavailable) => "; the host has to be an address of this machine",
            (Endpoint::Tcp { port: 1..1024, .. }, ErrorKind::AccessDenied) if cfg!(unix) => {
                "; ports below 1024 usually need more rights: choose another port"
            }
            _ => "",
        }
    }

    /// The address, if it is one that needs no lookup.
    pub fn address(&self) -> Result<Address, Error> {
        match self {
            Endpoint::Tcp { host, port } => literal(host, *port).map(Address::from).ok_or_else(|| {
                Error::new(ErrorKind::AddressInvalid, format!("{host:?} is not an IPv4 or IPv6 address"))
            }),
            Endpoint::Local(name) => name.resolve().map(Address::Local),
            Endpoint::Socket(_) => Err(Error::new(ErrorKind::AddressInvalid, "an existing socket is not bound again")),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } if host.contains(':') && !host.starts_with('[') => {
                write!(f, "[{host}]:{port}")
            }
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Local(name) => name.fmt(f),
            Endpoint::Socket(socket) => write!(f, "the given socket {socket}"),
        }
    }
}

/// An address as text: "127.0.0.1:80", "[::1]:80", "unix:/path", "unix:@name", "unix:" (a socket without a name).
pub fn address_text(address: &SockAddr) -> String {
    AddressText::of(address).to_string()
}

/// An address that can be shown in these forms; empty if it is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressText {
    Socket(SocketAddr),
    Other(String),
}

impl AddressText {
    pub fn of(address: &SockAddr) -> AddressText {
        match address.as_socket() {
            Some(address) => AddressText::Socket(address),
            None => AddressText::Other(socket_address_text(address)),
        }
    }

    /// Of a socket that was asked for it.
    pub fn of_socket(address: io::Result<SockAddr>) -> AddressText {
        address.map(|address| AddressText::of(&address)).unwrap_or_default()
    }

    /// The peer that has it, for sentences; some sockets have no name.
    pub fn peer_name(&self) -> String {
        match self.to_string() {
            text if text.is_empty() || text == "unix:" => "the peer".to_owned(),
            text => format!("the peer {text}"),
        }
    }
}

impl Default for AddressText {
    fn default() -> AddressText {
        AddressText::Other(String::new())
    }
}

impl fmt::Display for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressText::Socket(address) => address.fmt(f),
            AddressText::Other(text) => text.fmt(f),
        }
    }
}
