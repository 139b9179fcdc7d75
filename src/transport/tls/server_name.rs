//! The names by which TLS knows servers.

use std::net::{IpAddr, Ipv6Addr};

use rustls::pki_types::ServerName;

use crate::transport::{Error, ErrorKind, TlsErrorKind};

/// Whether a certificate can be for this name.
pub fn check_server_name(text: &str) -> Result<(), Error> {
    parse_server_name(text).map(drop)
}

/// What certificates can name. Brackets and the scope of an IPv6 address belong to the address of a socket, not to a name.
pub fn parse_server_name(text: &str) -> Result<ServerName<'static>, Error> {
    if text.is_empty() {
        let sentence = "a TLS client needs the name of the server, which its certificate must have";
        return Err(Error::new(ErrorKind::Tls(TlsErrorKind::ServerNameRequired), sentence));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.split_once('%').map_or(bare, |(address, _scope)| address);
    if let Ok(address) = address.parse::<Ipv6Addr>() {
        return Ok(ServerName::from(IpAddr::V6(address)));
    }
    ServerName::try_from(text.to_owned()).map_err(|_| {
        let sentence = format!("{text:?} cannot be the name of a TLS server: it is neither a host name nor an address");
        Error::new(ErrorKind::AddressInvalid, sentence)
    })
}
