//! Options of a client's connection.

use std::sync::Arc;

use super::bytes::esrpc_bytes;
use super::connection_options::esrpc_connection_options;
use super::handle::BoxHandle;
use super::headers::esrpc_headers;
use super::runtime::{esrpc_runtime, runtime_or_default};
use super::status::{Failure, esrpc_status};
use super::{endpoint, guard};
use crate::codec::HeaderList;
use crate::runtime::{ConnectRequest, Runtime, Settings};
use crate::transport::Endpoint;

/// Where and how to connect; esrpc_connection_connect copies it. Release it with esrpc_client_options_release.
#[derive(Default)]
pub struct esrpc_client_options {
    endpoint: Option<Endpoint>,
    runtime: Option<Arc<Runtime>>,
    settings: Settings,
    handshake: Option<(HeaderList, Vec<u8>)>,
}

impl BoxHandle for esrpc_client_options {}

impl esrpc_client_options {
    pub(crate) fn request(&self) -> Result<ConnectRequest, Failure> {
        let endpoint = self.endpoint.clone().ok_or_else(|| {
            Failure::invalid_argument(
                "options name no place to connect to: set a host, a Unix path or an abstract name",
            )
        })?;
        Ok(ConnectRequest { endpoint, settings: self.settings.clone(), handshake: self.handshake.clone(), tls: None })
    }

    /// Nothing for the default runtime.
    pub(crate) fn runtime(&self) -> Option<Arc<Runtime>> {
        self.runtime.clone()
    }
}

/// Changes one option.
///
/// # Safety
/// `options` is NULL or live, and nobody else uses it.
unsafe fn set(
    options: *mut esrpc_client_options,
    change: impl FnOnce(&mut esrpc_client_options) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // SAFETY: what the caller promised.
    change(unsafe { esrpc_client_options::borrow_mut(options, "options") }?)
}

/// Makes client settings that name no place to connect to yet.
///
/// @return New settings, to be released with esrpc_client_options_release. NULL only inside a log callback, where nothing
/// may be called.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_client_options_new() -> *mut esrpc_client_options {
    guard::value(std::ptr::null_mut(), || esrpc_client_options::default().give())
}

/// Frees client settings. Connections made with them keep their copy.
///
/// @param options Given up by the caller; NULL does nothing.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_client_options_release(options: *mut esrpc_client_options) {
    guard::value((), || {
        // SAFETY: NULL or live settings that the caller gives up.
        unsafe { esrpc_client_options::release(options) }
    })
}

/// Sets a TCP host and port to connect to, in place of what was set before.
///
/// @param options Changed.
/// @param host An IPv4 or IPv6 address as UTF-8 text, 1 to 255 bytes, copied; names are not resolved in this version. An
/// IPv6 address may stand in brackets and may have a scope id ("fe80::1%2").
/// @param port 0 to 65535.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL, or host or port is out of its range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_client_options_set_host(
    options: *mut esrpc_client_options,
    host: esrpc_bytes,
    port: u32,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live settings of this thread, and bytes that stay during the call.
        unsafe {
            set(options, |options| {
                options.endpoint = Some(endpoint::tcp(host, port)?);
                Ok(())
            })
        }
    })
}

/// Sets the path of a Unix socket to connect to, in place of what was set before.
///
/// @param options Changed.
/// @param path At least one byte, no NUL; copied. What the system takes is at most 107 bytes; a longer one is
/// ESRPC_ERROR_PATH_TOO_LONG at setup.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or path is empty or has a NUL;
/// ESRPC_ERROR_UNSUPPORTED where there are no Unix sockets.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_client_options_set_unix_path(
    options: *mut esrpc_client_options,
    path: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live settings of this thread, and bytes that stay during the call.
        unsafe {
            set(options, |options| {
                options.endpoint = Some(endpoint::unix_path(path)?);
                Ok(())
            })
        }
    })
}

/// Sets the abstract name of a Unix socket to connect to (Linux), in place of what was set before.
///
/// @param options Changed.
/// @param name At least one byte, without the leading NUL of the system's form; copied.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or name is empty; ESRPC_ERROR_UNSUPPORTED elsewhere
/// than on Linux.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_client_options_set_unix_abstract(
    options: *mut esrpc_client_options,
    name: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live settings of this thread, and bytes that stay during the call.
        unsafe {
            set(options, |options| {
                options.endpoint = Some(endpoint::unix_abstract(name)?);
                Ok(())
            })
        }
    })
}

/// Sets the runtime whose threads the connection lives on. Default: the process-wide default runtime.
///
/// @param options Changed; it keeps a reference to the runtime.
/// @param runtime Borrowed; NULL: the default one.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL; ESRPC_ERROR_FORKED if the runtime belongs to a forked
/// child's parent.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_client_options_set_runtime(
    options: *mut esrpc_client_options,
    runtime: *mut esrpc_runtime,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, both; the settings of this thread.
        unsafe {
            set(options, |options| {
                options.runtime = if runtime.is_null() { None } else { Some(runtime_or_default(runtime)?) };
                Ok(())
            })
        }
    })
}

/// Sets the connection's limits and times, in place of what was set before.
///
/// @param options Changed.
/// @param connection_options Copied; NULL: defaults.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_client_options_set_connection_options(
    options: *mut esrpc_client_options,
    connection_options: *const esrpc_connection_options,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, both; the settings of this thread.
        unsafe {
            set(options, |options| {
                options.settings = esrpc_connection_options::settings(connection_options.as_ref());
                Ok(())
            })
        }
    })
}

/// Makes the library do the handshake: it sends CONNECT itself, and on_setup comes after the server's CONNECT_ACK, which
/// esrpc_connection_get_connect_ack shows and on_protocol_message does not get. A refusal is a failed setup,
/// ESRPC_ERROR_HANDSHAKE_REFUSED. Without this option the caller sends CONNECT after on_setup.
///
/// @param options Changed.
/// @param headers CONNECT's headers, copied; NULL: none. Most services want the string header ":version" = "0.1.0".
/// @param payload CONNECT's payload, copied; may be empty.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL, headers is a message's list, or payload is NULL with a
/// length other than 0. A message that could not be sent is told by esrpc_connection_connect.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_client_options_set_handshake(
    options: *mut esrpc_client_options,
    headers: *const esrpc_headers,
    payload: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, all; the settings and the headers of this thread.
        unsafe {
            set(options, |options| {
                let headers = esrpc_headers::for_sending(headers)?.cloned().unwrap_or_default();
                options.handshake = Some((headers, payload.as_slice("payload")?.to_vec()));
                Ok(())
            })
        }
    })
}
