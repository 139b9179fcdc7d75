//! Makes endpoints from C's arguments.

use std::net::SocketAddr;

use super::failure::Failure;
use super::status::ESRPC_ERROR_UNSUPPORTED;
use crate::transport::{Endpoint, LocalName, RawSocket, SocketUse, check_socket, literal};

const MAX_HOST_LEN: usize = 255;
/// Linux's IFNAMSIZ without the NUL.
const MAX_INTERFACE_LEN: usize = 15;

/// A socket that exists already, if it is in the right state.
pub(crate) fn socket(raw: RawSocket, wanted: SocketUse) -> Result<Endpoint, Failure> {
    check_socket(raw, wanted)?;
    Ok(Endpoint::Socket(raw))
}

/// The name of a network interface; none, if it is empty, for any interface.
pub(crate) fn interface(name: &[u8]) -> Result<Option<String>, Failure> {
    if name.is_empty() {
        return Ok(None);
    }
    if name.is_empty() {
        return Ok(None);
    }
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        let detail = "sockets cannot be bound to a network interface on this system";
        return Err(Failure::new(ESRPC_ERROR_UNSUPPORTED, detail));
    }
    if name.len() > MAX_INTERFACE_LEN || name.contains(&0) {
        let detail = format!("name has {} bytes; it must be at most {MAX_INTERFACE_LEN} without a NUL", name.len());
        return Err(Failure::invalid_argument(detail));
    }
    let name = std::str::from_utf8(name).map_err(|_| Failure::invalid_argument("name is not UTF-8 text"))?;
    Ok(Some(name.to_owned()))
}

/// A host and a port.
pub(crate) fn tcp(host: &[u8], port: u32) -> Result<Endpoint, Failure> {
    let port =
        u16::try_from(port).map_err(|_| Failure::invalid_argument(format!("port is {port}; it must be 0 to 65535")))?;
    if host.is_empty() || host.len() > MAX_HOST_LEN || host.contains(&0) {
        let detail = format!("host has {} bytes; it must be 1 to {MAX_HOST_LEN} bytes without a NUL", host.len());
        return Err(Failure::invalid_argument(detail));
    }
    let host = std::str::from_utf8(host).map_err(|_| Failure::invalid_argument("host is not UTF-8 text"))?;
    if let Some(advice) = not_a_host(host) {
        return Err(Failure::invalid_argument(format!("host is {host:?}; {advice}")));
    }
    Ok(Endpoint::Tcp { host: host.to_owned(), port })
}

/// What to do about text that is more than a host.
fn not_a_host(host: &str) -> Option<&'static str> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if host.contains("://") {
        return Some("pass the host alone, without the rest of the URL, and the port as its own argument");
    }
    let (name, port) = host.rsplit_once(':')?;
    let is_host = name.ends_with(']') || !name.contains(':');
    (is_host && is_number(port)).then_some("pass the port as its own argument")
}

/// An address of this machine.
pub(crate) fn local_address(address: &[u8], port: u32) -> Result<SocketAddr, Failure> {
    match tcp(address, port)? {
        Endpoint::Tcp { host, port } => literal(&host, port)
            .ok_or_else(|| Failure::invalid_argument(format!("{host:?} is not an IPv4 or IPv6 address"))),
        Endpoint::Local(_) | Endpoint::Socket(_) => Err(Failure::invalid_argument("address is not a TCP address")),
    }
}

/// The path of a socket file.
pub(crate) fn unix_path(path: &[u8]) -> Result<Endpoint, Failure> {
    if path.is_empty() || path.contains(&0) {
        return Err(Failure::invalid_argument("path must be at least one byte, without a NUL"));
    }
    Ok(Endpoint::Local(LocalName::from_path(path)?))
}

/// An abstract name, which is not in the file system.
pub(crate) fn unix_abstract(name: &[u8]) -> Result<Endpoint, Failure> {
    if name.is_empty() {
        return Err(Failure::invalid_argument("name must be at least one byte"));
    }
    Ok(Endpoint::Local(LocalName::from_abstract(name)?))
}
