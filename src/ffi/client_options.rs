//! Options of a client's connection.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use super::bytes::esrpc_bytes;
use super::connection_options::esrpc_connection_options;
use super::constants::esrpc_address_family::*;
use super::counted::esrpc_runtime;
use super::failure::{Failure, required};
use super::handle::{ArcHandle, BoxHandle};
use super::headers::esrpc_headers;
use super::out::check_out;
use super::runtime::chosen_runtime;
use super::status::{ESRPC_ERROR_TLS_SERVER_NAME_REQUIRED, esrpc_status};
use super::tls_config::check_alpn;
use super::{endpoint, guard};
use crate::codec::HeaderList;
use crate::runtime::{ConnectRequest, Runtime, Settings};
use crate::transport::{AddressFamily, Endpoint, TlsConfig, check_server_name};

/// Where and how to connect; esrpc_connection_connect copies it. Release it with esrpc_client_options_release.
#[derive(Default)]
pub struct esrpc_client_options {
    pub(crate) endpoint: Option<Endpoint>,
    /// The socket in `endpoint` belongs to a connection already.
    pub(crate) socket_taken: Cell<bool>,
    /// None for the default runtime.
    runtime: Option<Arc<Runtime>>,
    settings: Settings,
    handshake: Option<(HeaderList, Vec<u8>)>,
    family: AddressFamily,
    local_address: Option<SocketAddr>,
    interface: Option<String>,
    /// An empty name stands for the host.
    pub(crate) tls: Option<(TlsConfig, String)>,
    /// The names of application protocols, if not those of the TLS settings.
    alpn: Option<Vec<Vec<u8>>>,
}

/// More names than anybody offers, and few enough for the handshake's message.
const MAX_ALPN_COUNT: usize = 100;

impl BoxHandle for esrpc_client_options {}

impl esrpc_client_options {
    pub(crate) fn request(&self) -> Result<ConnectRequest, Failure> {
        let endpoint = self.endpoint.clone().ok_or_else(|| {
            Failure::invalid_argument(
                "options have no address to connect to: set a host, a Unix path, an abstract name or a socket",
            )
        })?;
        if matches!(endpoint, Endpoint::Socket(_)) && self.socket_taken.get() {
            return Err(Failure::invalid_state("the socket of these options belongs to an earlier connection"));
        }
        let mut settings = self.settings.clone();
        settings.socket.family = self.family;
        settings.socket.local_address = self.local_address;
        settings.socket.interface.clone_from(&self.interface);
        Ok(ConnectRequest { endpoint, settings, handshake: self.handshake.clone(), tls: self.tls()? })
    }

    fn tls(&self) -> Result<Option<(TlsConfig, String)>, Failure> {
        let Some((config, name)) = &self.tls else { return Ok(None) };
        let name = match &self.endpoint {
            _ if !name.is_empty() => name,
            Some(Endpoint::Tcp { host, .. }) => host,
            _ => {
                let detail = "a Unix socket or the caller's own socket has no host name: pass a server_name to esrpc_client_options_set_tls";
                return Err(Failure::new(ESRPC_ERROR_TLS_SERVER_NAME_REQUIRED, detail));
            }
        };
        check_server_name(name)?;
        let config = self.alpn.as_ref().map_or_else(|| config.clone(), |names| config.with_alpn(names));
        Ok(Some((config, name.clone())))
    }

    pub(crate) fn runtime(&self) -> Result<Arc<Runtime>, Failure> {
        chosen_runtime(self.runtime.as_ref())
    }
}

/// Creates client settings without an address to connect to.
///
/// @return New settings, to be released with esrpc_client_options_release. NULL only inside a log callback.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_client_options_new() -> *mut esrpc_client_options {
    guard::value(std::ptr::null_mut(), || esrpc_client_options::default().give())
}

/// Frees client settings. Connections made with them have their own copy.
///
/// @param options Not to be used afterwards; NULL: nothing happens.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_client_options_release(options: *mut esrpc_client_options) {
    guard::system_value((), || {
        // SAFETY: NULL or live settings that the caller gives up.
        unsafe { esrpc_client_options::release(options) }
    })
}

/// Sets a TCP host and port to connect to, replacing any earlier setting.
///
/// @param options Modified.
/// @param host A name, or an IPv4 or IPv6 address, as UTF-8 text, 1 to 255 bytes, copied. A name is resolved on one
/// of the library's own threads. An IPv6 address may be in brackets and may have a scope id ("fe80::1%2").
/// @param port 0 to 65535.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL, port is out of range, or host is not UTF-8 text of
/// that length, has a port of its own or is a URL.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_client_options_set_host(
    options: Option<&mut esrpc_client_options>,
    host: esrpc_bytes,
    port: u32,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let host = unsafe { host.as_slice("host") }?;
        options.endpoint = Some(endpoint::tcp(host, port)?);
        Ok(())
    })
}

/// Sets the path of a Unix socket to connect to, replacing any earlier setting; on Windows the name of a named pipe,
/// "\\\\.\\pipe\\NAME", of this machine. The server of a pipe may learn which user the client is, but cannot act as
/// that user (SECURITY_IDENTIFICATION).
///
/// @param options Modified.
/// @param path At least one byte, without NUL; copied. The system's limit is 107 bytes (a pipe's name: 256
/// characters); a longer path fails at setup with ESRPC_ERROR_PATH_TOO_LONG.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or path is empty or has a NUL;
/// ESRPC_ERROR_UNSUPPORTED on Windows if path is not the name of a pipe, in UTF-8.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_client_options_set_unix_path(
    options: Option<&mut esrpc_client_options>,
    path: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let path = unsafe { path.as_slice("path") }?;
        options.endpoint = Some(endpoint::unix_path(path)?);
        Ok(())
    })
}

/// Sets the abstract name of a Unix socket to connect to (Linux), replacing any earlier setting.
///
/// @param options Modified.
/// @param name At least one byte, without the leading NUL that the system uses; copied.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or name is empty; ESRPC_ERROR_UNSUPPORTED on
/// systems other than Linux.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_client_options_set_unix_abstract(
    options: Option<&mut esrpc_client_options>,
    name: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let name = unsafe { name.as_slice("name") }?;
        options.endpoint = Some(endpoint::unix_abstract(name)?);
        Ok(())
    })
}

/// Restricts which addresses of a host name are tried. Default: all, IPv6 and IPv4 alternating, each 250 ms after the
/// previous one unless that fails sooner (RFC 8305); the first to connect is used.
///
/// @param options Modified.
/// @param family An ESRPC_ADDRESS_FAMILY_ constant.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or family is not such a constant.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_client_options_set_address_family(
    options: Option<&mut esrpc_client_options>,
    family: i32,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        options.family = match family {
            family if family == ESRPC_ADDRESS_FAMILY_ANY as i32 => AddressFamily::Any,
            family if family == ESRPC_ADDRESS_FAMILY_IPV4 as i32 => AddressFamily::V4,
            family if family == ESRPC_ADDRESS_FAMILY_IPV6 as i32 => AddressFamily::V6,
            _ => return Err(Failure::invalid_argument(format!("family is {family}; it must be 0, 4 or 6"))),
        };
        Ok(())
    })
}

/// Sets this side's own address for TCP. Default: the system chooses. The host's addresses of the other family are not
/// tried.
///
/// @param options Modified.
/// @param address An IPv4 or IPv6 address of this machine as UTF-8 text, copied; empty: the system chooses.
/// @param port 0 to 65535; 0: the system chooses.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL, address is not an IP address, or port is out of
/// range. If the system refuses the address, setup fails; it fails with ESRPC_ERROR_CONNECT_FAILED if the host has no
/// address of its family.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_client_options_set_local_address(
    options: Option<&mut esrpc_client_options>,
    address: esrpc_bytes,
    port: u32,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let address = unsafe { address.as_slice("address") }?;
        options.local_address = match address {
            [] => None,
            _ => Some(endpoint::local_address(address, port)?),
        };
        Ok(())
    })
}

/// Restricts TCP to one network interface (Linux). Default: whichever leads to the address. Does nothing for Unix
/// sockets and for the caller's own socket.
///
/// @param options Modified.
/// @param name The interface's name as UTF-8 text, such as "eth0", at most 15 bytes without a NUL, copied; empty:
/// any.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or name is too long, contains a NUL or is not UTF-8;
/// ESRPC_ERROR_UNSUPPORTED for a name on systems other than Linux. At setup: ESRPC_ERROR_INTERFACE_NOT_FOUND, or
/// ESRPC_ERROR_ACCESS_DENIED on systems that require a privilege.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_client_options_set_interface(
    options: Option<&mut esrpc_client_options>,
    name: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let name = unsafe { name.as_slice("name") }?;
        options.interface = endpoint::interface(name)?;
        Ok(())
    })
}

/// Sets the runtime whose threads the connection lives on. Default: the process-wide default runtime.
///
/// @param options Modified; it keeps a reference to the runtime.
/// @param runtime Borrowed; NULL: the default one.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL; ESRPC_ERROR_FORKED in a forked child if the
/// runtime is its parent's.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_client_options_set_runtime(
    options: Option<&mut esrpc_client_options>,
    runtime: *mut esrpc_runtime,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        // SAFETY: NULL or a live handle.
        options.runtime = unsafe { esrpc_runtime::share_optional(runtime) }?;
        Ok(())
    })
}

/// Sets the connection's limits and times, replacing any earlier setting.
///
/// @param options Modified.
/// @param connection_options Copied; NULL: defaults.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_client_options_set_connection_options(
    options: Option<&mut esrpc_client_options>,
    connection_options: Option<&esrpc_connection_options>,
) -> esrpc_status {
    guard::call(|| {
        required(options, "options")?.settings = esrpc_connection_options::settings(connection_options);
        Ok(())
    })
}

/// Makes the library do the handshake: it sends CONNECT itself, and on_setup is called after the server's CONNECT_ACK.
/// That message is not passed to on_protocol_message; esrpc_connection_get_connect_ack returns it. If the server
/// refuses, setup fails with ESRPC_ERROR_HANDSHAKE_REFUSED. Without this option the caller sends CONNECT after
/// on_setup.
///
/// @param options Modified.
/// @param headers CONNECT's headers, copied; NULL: none. Most services require the string header ":version" =
/// "0.1.0".
/// @param payload CONNECT's payload, copied; may be empty.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL, headers is a message's list, or payload is NULL
/// with a length other than 0. Whether the message can be sent is checked by esrpc_connection_connect.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_client_options_set_handshake(
    options: Option<&mut esrpc_client_options>,
    headers: Option<&esrpc_headers>,
    payload: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        let headers = esrpc_headers::for_sending(headers)?.cloned().unwrap_or_default();
        // SAFETY: the caller's bytes stay unchanged during the call.
        let payload = unsafe { payload.as_slice("payload") }?.to_vec();
        options.handshake = Some((headers, payload));
        Ok(())
    })
}

/// Sets the application protocols (ALPN) that this client offers in its TLS handshake, instead of those of its TLS
/// settings: for programs that share settings and resumable sessions among connections to different services.
///
/// @param options Modified.
/// @param protocols An array of count names, each 1 to 255 bytes, copied, in order of preference; may be NULL if
/// count is 0.
/// @param count The number of names; 0: none are offered.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL, protocols is NULL with a count other than 0,
/// count is more than 100, or a name is too short or too long or has a NUL. Without TLS the names have no effect.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_client_options_set_tls_alpn(
    options: Option<&mut esrpc_client_options>,
    protocols: *const esrpc_bytes,
    count: usize,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        if count > MAX_ALPN_COUNT {
            let detail = format!("count is {count}; it must be 0 to {MAX_ALPN_COUNT}");
            return Err(Failure::invalid_argument(detail));
        }
        let mut names = Vec::with_capacity(count);
        if count > 0 {
            check_out(protocols.cast_mut(), "protocols")?;
            // SAFETY: the caller's array of `count` names.
            for name in unsafe { std::slice::from_raw_parts(protocols, count) } {
                // SAFETY: the caller's bytes stay unchanged during the call.
                let name = unsafe { name.as_slice("protocol") }?;
                check_alpn(name)?;
                names.push(name.to_vec());
            }
        }
        options.alpn = Some(names);
        Ok(())
    })
}
