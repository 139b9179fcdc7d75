//! Endpoints as C gives them.

use std::net::SocketAddr;

use super::bytes::esrpc_bytes;
use super::status::{ESRPC_ERROR_UNSUPPORTED, Failure};
use crate::transport::{Endpoint, UnixName, literal};

const MAX_HOST_LEN: usize = 255;

/// A host and a port.
///
/// # Safety
/// `host` points to its bytes.
pub(crate) unsafe fn tcp(host: esrpc_bytes, port: u32) -> Result<Endpoint, Failure> {
    // SAFETY: what the caller promised.
    let host = unsafe { host.as_slice("host") }?;
    let port =
        u16::try_from(port).map_err(|_| Failure::invalid_argument(format!("port is {port}; it must be 0 to 65535")))?;
    if host.is_empty() || host.len() > MAX_HOST_LEN || host.contains(&0) {
        let detail = format!("host has {} bytes; it must be 1 to {MAX_HOST_LEN} bytes without a NUL", host.len());
        return Err(Failure::invalid_argument(detail));
    }
    let host = std::str::from_utf8(host).map_err(|_| Failure::invalid_argument("host is not UTF-8 text"))?;
    Ok(Endpoint::Tcp { host: host.to_owned(), port })
}

/// An address of this machine.
///
/// # Safety
/// `address` points to its bytes.
pub(crate) unsafe fn local_address(address: esrpc_bytes, port: u32) -> Result<SocketAddr, Failure> {
    // SAFETY: what the caller promised.
    match unsafe { tcp(address, port) }? {
        Endpoint::Tcp { host, port } => literal(&host, port)
            .ok_or_else(|| Failure::invalid_argument(format!("{host:?} is not an IPv4 or IPv6 address"))),
        Endpoint::Unix(_) => Err(Failure::invalid_argument("address is not one of TCP")),
    }
}

/// The path of a socket file.
///
/// # Safety
/// `path` points to its bytes.
pub(crate) unsafe fn unix_path(path: esrpc_bytes) -> Result<Endpoint, Failure> {
    // SAFETY: what the caller promised.
    let path = unsafe { path.as_slice("path") }?;
    if path.is_empty() || path.contains(&0) {
        return Err(Failure::invalid_argument("path must be at least one byte, without a NUL"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Ok(Endpoint::Unix(UnixName::Path(std::ffi::OsStr::from_bytes(path).into())))
    }
    #[cfg(not(unix))]
    {
        Err(Failure::new(ESRPC_ERROR_UNSUPPORTED, "Unix sockets are not available on this platform"))
    }
}

/// A name outside the file system.
///
/// # Safety
/// `name` points to its bytes.
pub(crate) unsafe fn unix_abstract(name: esrpc_bytes) -> Result<Endpoint, Failure> {
    // SAFETY: what the caller promised.
    let name = unsafe { name.as_slice("name") }?;
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return Err(Failure::new(ESRPC_ERROR_UNSUPPORTED, "abstract Unix socket names exist on Linux only"));
    }
    if name.is_empty() {
        return Err(Failure::invalid_argument("name must be at least one byte"));
    }
    Ok(Endpoint::Unix(UnixName::Abstract(name.to_vec())))
}
