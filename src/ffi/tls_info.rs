//! TLS on connections and listeners: putting settings in place, and what a handshake agreed on.

use std::ffi::{CStr, c_char};

use super::bytes::esrpc_bytes;
use super::client_options::esrpc_client_options;
use super::counted::{esrpc_connection, esrpc_listener, esrpc_tls_config};
use super::failure::{Failure, required};
use super::guard;
use super::handle::ArcHandle;
use super::listener_options::esrpc_listener_options;
use super::out::{check_out, write_out};
use super::status::{ESRPC_ERROR_INVALID_UTF8, esrpc_status};
use crate::runtime::Connection;
use crate::transport::{TlsConfig, TlsInfo, TlsRole};

/// Copies a handle's settings, which must be for the given role; none for NULL.
///
/// # Safety
/// NULL or a live handle.
unsafe fn settings_for(config: *const esrpc_tls_config, role: TlsRole) -> Result<Option<TlsConfig>, Failure> {
    // SAFETY: what the caller promised.
    let Some(config) = unsafe { esrpc_tls_config::share_optional(config) }? else { return Ok(None) };
    if config.role() != role {
        let (have, want) = match role {
            TlsRole::Client => ("a server", "a client"),
            TlsRole::Server => ("a client", "a server"),
        };
        return Err(Failure::invalid_state(format!(
            "these are TLS settings of {have}; here those of {want} are needed"
        )));
    }
    Ok(Some((*config).clone()))
}

/// Makes the connection use TLS, and sets the name that the server's certificate must have. If the TLS handshake
/// fails, setup fails. With TLS 1.3 a server checks the client's certificate after the client's side is set up: a
/// refusal then ends the connection with ESRPC_ERROR_TLS_ALERT_RECEIVED, reported by on_shutdown, or with
/// esrpc_client_options_set_handshake by on_setup.
///
/// @param options Modified; it keeps a reference to config.
/// @param config Settings for clients, borrowed; NULL: no TLS, the default.
/// @param server_name UTF-8 text, copied, also sent to the server (SNI); empty: the host of the TCP endpoint. For a
/// Unix socket or the caller's own socket a name is required: esrpc_connection_connect returns
/// ESRPC_ERROR_TLS_SERVER_NAME_REQUIRED without one, and ESRPC_ERROR_ADDRESS_INVALID for one that is neither a host
/// name nor an address.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL, or server_name is NULL with a length;
/// ESRPC_ERROR_INVALID_UTF8; ESRPC_ERROR_INVALID_STATE if config is for servers.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_client_options_set_tls(
    options: Option<&mut esrpc_client_options>,
    config: *const esrpc_tls_config,
    server_name: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        // SAFETY: NULL or a live handle, and bytes that stay unchanged during the call.
        let (config, name) = unsafe { (settings_for(config, TlsRole::Client)?, server_name.as_slice("server_name")?) };
        let name = std::str::from_utf8(name)
            .map_err(|_| Failure::new(ESRPC_ERROR_INVALID_UTF8, "server_name is not UTF-8 text"))?;
        options.tls = config.map(|config| (config, name.to_owned()));
        Ok(())
    })
}

/// Makes the listener's connections use TLS. on_incoming_connection is then called after the TLS handshake,
/// on_failed_connection if it fails.
///
/// @param options Modified; it keeps a reference to config.
/// @param config Settings for servers, borrowed; NULL: no TLS, the default.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL; ESRPC_ERROR_INVALID_STATE if config is for
/// clients.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_options_set_tls(
    options: Option<&mut esrpc_listener_options>,
    config: *const esrpc_tls_config,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        // SAFETY: NULL or a live handle.
        options.tls = unsafe { settings_for(config, TlsRole::Server) }?;
        Ok(())
    })
}

/// Replaces the TLS settings while listening, for example with a renewed certificate. Handshakes that begin from now
/// on use them; existing connections go on.
///
/// @param listener Borrowed; one that was made with TLS settings.
/// @param config Settings for servers, borrowed.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if listener or config is NULL; ESRPC_ERROR_INVALID_STATE if the
/// listener has no TLS or config is for clients; ESRPC_ERROR_RUNTIME_SHUTDOWN; ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_set_tls(
    listener: *mut esrpc_listener,
    config: *const esrpc_tls_config,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, both.
        let (listener, config) = unsafe { (esrpc_listener::share(listener)?, settings_for(config, TlsRole::Server)?) };
        listener.set_tls(config.ok_or_else(|| Failure::null("config"))?)?;
        Ok(())
    })
}

/// What an accessor returns: "" without TLS, for NULL and in a forked child.
///
/// # Safety
/// NULL, or a live or lent handle; the result points into it.
unsafe fn agreed<'a>(
    connection: *const esrpc_connection,
    pick: impl FnOnce(&'a TlsInfo) -> Option<&'a CStr>,
) -> *const c_char {
    let text = |connection: &'a Connection| connection.tls_info().and_then(pick);
    // SAFETY: what the caller promised.
    unsafe { esrpc_connection::read(connection, None, text) }.unwrap_or(c"").as_ptr()
}

/// Returns the version of TLS that was negotiated: "TLSv1.2" or "TLSv1.3".
///
/// @param connection Borrowed.
/// @return Text that is valid as long as the handle; "" without TLS, before setup, if connection is NULL, and in a
/// forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_get_tls_version(connection: *const esrpc_connection) -> *const c_char {
    guard::value(c"".as_ptr(), || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { agreed(connection, |info| Some(info.version)) }
    })
}

/// Returns the cipher suite that was negotiated, by its IANA name, such as "TLS_AES_128_GCM_SHA256", this library's
/// first choice as a client; a server uses the client's first choice that it supports.
///
/// @param connection Borrowed.
/// @return Text that is valid as long as the handle; "" without TLS, before setup, if connection is NULL, and in a
/// forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_get_tls_cipher_suite(connection: *const esrpc_connection) -> *const c_char {
    guard::value(c"".as_ptr(), || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { agreed(connection, |info| Some(&*info.cipher_suite)) }
    })
}

/// Returns the group of the key exchange, such as "X25519MLKEM768".
///
/// @param connection Borrowed.
/// @return Text that is valid as long as the handle; "" without TLS, in a resumed session of TLS 1.2, before setup,
/// if connection is NULL, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_get_tls_key_exchange(connection: *const esrpc_connection) -> *const c_char {
    guard::value(c"".as_ptr(), || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { agreed(connection, |info| info.key_exchange_group.as_deref()) }
    })
}

/// Returns the application protocol that was negotiated (ALPN).
///
/// @param connection Borrowed.
/// @return The protocol's bytes as text that is valid as long as the handle; "" if there is none, without TLS, before
/// setup, if connection is NULL, and in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_get_tls_alpn(connection: *const esrpc_connection) -> *const c_char {
    guard::value(c"".as_ptr(), || {
        // SAFETY: NULL or a live or lent handle.
        unsafe { agreed(connection, |info| info.alpn.as_deref()) }
    })
}

/// Returns whether the handshake resumed an earlier session.
///
/// @param connection Borrowed.
/// @return true if so; false for a full handshake, without TLS, before setup, if connection is NULL, and in a forked
/// child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_is_tls_resumed(connection: *const esrpc_connection) -> bool {
    guard::value(false, || {
        let resumed = |connection: &Connection| connection.tls_info().is_some_and(|info| info.resumed);
        // SAFETY: NULL or a live or lent handle.
        unsafe { esrpc_connection::read(connection, false, resumed) }
    })
}

/// Returns one certificate of the chain that the peer sent.
///
/// @param connection Borrowed.
/// @param index 0: the peer's own; then those that vouch for it, in the order sent.
/// @param out_certificate Receives the certificate in DER, valid as long as the handle.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if connection or out_certificate is NULL, or there is no such
/// certificate: the chain is shorter, the peer sent none, or there is no TLS; ESRPC_ERROR_RUNTIME_SHUTDOWN;
/// ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_get_tls_peer_certificate(
    connection: *const esrpc_connection,
    index: usize,
    out_certificate: *mut esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live or lent handle.
        let connection = unsafe { esrpc_connection::share(connection) }?;
        check_out(out_certificate, "out_certificate")?;
        let certificates = connection.tls_info().map_or(&[][..], |info| &info.peer_certificates);
        let certificate = certificates.get(index).ok_or_else(|| {
            let detail = format!("index is {index}; the peer sent {} certificates", certificates.len());
            Failure::invalid_argument(detail)
        })?;
        // SAFETY: the caller's variable.
        unsafe { write_out(out_certificate, esrpc_bytes::from_slice(certificate), "out_certificate") }
    })
}
