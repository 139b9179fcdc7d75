//! TLS settings and their builder.

use std::ffi::c_char;
use std::path::PathBuf;
use std::sync::Arc;

use super::boolean::esrpc_bool;
use super::bytes::esrpc_bytes;
use super::constants::esrpc_tls_client_auth::*;
use super::constants::esrpc_tls_version::*;
pub use super::counted::esrpc_tls_config;
use super::failure::{Failure, required};
use super::guard;
use super::handle::{ArcHandle, BoxHandle};
use super::out::{check_out, write_out};
use super::status::esrpc_status;
use crate::transport::{
    self, ClientAuth, PROVIDER_NAME, TlsConfigBuilder, TlsRole, TlsVersion, new_tls_config_builder, path_from_bytes,
};

/// The most bytes that the name of a protocol may have in ALPN.
const MAX_ALPN_LEN: usize = 255;

/// Collects TLS settings. Release it with esrpc_tls_config_builder_release.
pub struct esrpc_tls_config_builder {
    /// Why there is none: the library was built without TLS.
    builder: Result<TlsConfigBuilder, transport::Error>,
}

impl BoxHandle for esrpc_tls_config_builder {}

impl esrpc_tls_config_builder {
    pub(super) fn of_any(&mut self) -> Result<&mut TlsConfigBuilder, Failure> {
        self.builder.as_mut().map_err(|error| error.clone().into())
    }

    /// The builder, if it is for clients.
    fn of_client(&mut self) -> Result<&mut TlsConfigBuilder, Failure> {
        let builder = self.of_any()?;
        match builder.role() {
            TlsRole::Client => Ok(builder),
            TlsRole::Server => Err(Failure::invalid_state("builder is for servers; this is a setting of clients")),
        }
    }

    /// The builder, if it is for servers.
    fn of_server(&mut self) -> Result<&mut TlsConfigBuilder, Failure> {
        let builder = self.of_any()?;
        match builder.role() {
            TlsRole::Server => Ok(builder),
            TlsRole::Client => Err(Failure::invalid_state("builder is for clients; this is a setting of servers")),
        }
    }
}

/// A path in the file system.
pub(super) fn file_path(bytes: &[u8], argument: &str) -> Result<PathBuf, Failure> {
    if bytes.is_empty() || bytes.contains(&0) {
        return Err(Failure::invalid_argument(format!("{argument} must be at least one byte, without a NUL")));
    }
    path_from_bytes(bytes).map_err(|error| Failure::invalid_argument(format!("{argument} {error}")))
}

/// Returns the bytes, which must not be empty.
pub(super) fn some_bytes<'a>(bytes: &'a [u8], argument: &str) -> Result<&'a [u8], Failure> {
    if bytes.is_empty() { Err(Failure::invalid_argument(format!("{argument} is empty"))) } else { Ok(bytes) }
}

fn version(number: i32, argument: &str) -> Result<TlsVersion, Failure> {
    match number {
        _ if number == ESRPC_TLS_VERSION_1_2 as i32 => Ok(TlsVersion::V1_2),
        _ if number == ESRPC_TLS_VERSION_1_3 as i32 => Ok(TlsVersion::V1_3),
        _ => Err(Failure::invalid_argument(format!(
            "{argument} is {number:#06x}; it must be one of ESRPC_TLS_VERSION_*"
        ))),
    }
}

/// Returns the name of the cryptography that TLS uses, which is chosen when the library is built.
///
/// @return "aws-lc-rs" or "ring"; "" if the library was built without TLS. Valid as long as the library is loaded;
/// never NULL.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_tls_get_provider() -> *const c_char {
    guard::system_value(c"".as_ptr(), || PROVIDER_NAME.as_ptr())
}

/// Creates a builder of TLS settings for clients: TLS 1.2 and 1.3, servers verified against the system's trust store,
/// resumption on.
///
/// @return A new builder, to be released with esrpc_tls_config_builder_release. NULL only inside a log callback.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_tls_config_builder_new_client() -> *mut esrpc_tls_config_builder {
    guard::system_value(std::ptr::null_mut(), || {
        esrpc_tls_config_builder { builder: new_tls_config_builder(TlsRole::Client) }.give()
    })
}

/// Creates a builder of TLS settings for servers: TLS 1.2 and 1.3, no certificate requested from clients, resumption
/// on. A certificate has to be set.
///
/// @return A new builder, to be released with esrpc_tls_config_builder_release. NULL only inside a log callback.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_tls_config_builder_new_server() -> *mut esrpc_tls_config_builder {
    guard::system_value(std::ptr::null_mut(), || {
        esrpc_tls_config_builder { builder: new_tls_config_builder(TlsRole::Server) }.give()
    })
}

/// Frees a builder. Settings built with it stay valid.
///
/// @param builder Not to be used afterwards; NULL: nothing happens.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_tls_config_builder_release(builder: *mut esrpc_tls_config_builder) {
    guard::system_value((), || {
        // SAFETY: NULL or a live builder that the caller gives up.
        unsafe { esrpc_tls_config_builder::release(builder) }
    })
}

/// Trusts the certificates in a file, in addition to earlier ones. A client with any such certificate does not use
/// the system's trust store. On a server they are the CAs of its clients' certificates.
///
/// Only a CA's certificate vouches for others (CA:TRUE, and keyCertSign if it has key usages; or version 1), and only
/// while it is valid. A peer that presents exactly a certificate given here is trusted as itself, whether that is a
/// CA's certificate or not: a self-signed one, or one whose CA is not given. Its subject alternative names (on a
/// client), validity, key usages and revocation are checked like those of any other. "openssl req -x509" writes
/// CA:TRUE: a peer trusted by such a certificate of its own also vouches for others. To prevent that, have it made with
/// "-addext basicConstraints=critical,CA:FALSE" (OpenSSL 3).
///
/// A PEM file may have a byte order mark, any line endings and text around its sections, and may be in UTF-16.
///
/// @param builder Modified.
/// @param path The path of a file with one or more certificates in PEM or DER; at least one byte, without NUL. Read
/// by this call.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if builder is NULL or path is empty or has a NUL;
/// ESRPC_ERROR_NOT_FOUND, ESRPC_ERROR_ACCESS_DENIED or ESRPC_ERROR_TOO_MANY_FILES; ESRPC_ERROR_IO if the file cannot
/// be read; ESRPC_ERROR_TLS_NO_CERTIFICATE if it holds none; ESRPC_ERROR_TLS_BAD_CERTIFICATE if none of them can be
/// used, or one is damaged. The error message says where, or what the file is; ESRPC_ERROR_UNSUPPORTED without TLS.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_tls_config_builder_add_ca_file(
    builder: Option<&mut esrpc_tls_config_builder>,
    path: esrpc_bytes,
) -> esrpc_status {
    guard::system_call(|| {
        let builder = required(builder, "builder")?.of_any()?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let path = unsafe { path.as_slice("path") }?;
        Ok(builder.add_ca_file(&file_path(path, "path")?)?)
    })
}

/// Trusts the certificates in the files of a folder, in addition to earlier ones; see
/// esrpc_tls_config_builder_add_ca_file. Files of any name are read; files without certificates and folders inside
/// are skipped.
///
/// @param builder Modified.
/// @param path The path of a folder; at least one byte, without NUL. Read by this call.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if builder is NULL or path is empty or has a NUL;
/// ESRPC_ERROR_NOT_FOUND, ESRPC_ERROR_ACCESS_DENIED or ESRPC_ERROR_TOO_MANY_FILES; ESRPC_ERROR_IO if the folder or a
/// file in it cannot be read; ESRPC_ERROR_TLS_NO_CERTIFICATE if none of its files holds a certificate;
/// ESRPC_ERROR_TLS_BAD_CERTIFICATE if they hold none that can be used; ESRPC_ERROR_UNSUPPORTED without TLS.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_tls_config_builder_add_ca_dir(
    builder: Option<&mut esrpc_tls_config_builder>,
    path: esrpc_bytes,
) -> esrpc_status {
    guard::system_call(|| {
        let builder = required(builder, "builder")?.of_any()?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let path = unsafe { path.as_slice("path") }?;
        Ok(builder.add_ca_dir(&file_path(path, "path")?)?)
    })
}

/// Trusts certificates in memory, in addition to earlier ones; see esrpc_tls_config_builder_add_ca_file.
///
/// @param builder Modified.
/// @param certificates One or more certificates in PEM or DER; at least one byte; copied.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if builder is NULL or certificates is empty;
/// ESRPC_ERROR_TLS_NO_CERTIFICATE if the bytes hold none; ESRPC_ERROR_TLS_BAD_CERTIFICATE if none of them can be used,
/// or one is damaged; ESRPC_ERROR_UNSUPPORTED without TLS.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_tls_config_builder_add_ca(
    builder: Option<&mut esrpc_tls_config_builder>,
    certificates: esrpc_bytes,
) -> esrpc_status {
    guard::system_call(|| {
        let builder = required(builder, "builder")?.of_any()?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let certificates = unsafe { certificates.as_slice("certificates") }?;
        Ok(builder.add_ca(some_bytes(certificates, "certificates")?)?)
    })
}

/// Sets the certificate that this side presents, and its key, from files, replacing any earlier setting. A client
/// presents it if the server asks for one.
///
/// @param builder Modified, unless the call fails.
/// @param chain_path The path of a file with the certificate followed by those that lead to its CA, in PEM, or with
/// the certificate alone, in DER; at least one byte, without NUL. Read by this call.
/// @param key_path The path of a file with the private key, PEM or DER: PKCS#8, PKCS#1 or SEC1, not encrypted; at
/// least one byte, without NUL. It may be the same file. Read by this call.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if builder is NULL or a path is empty or has a NUL;
/// ESRPC_ERROR_NOT_FOUND, ESRPC_ERROR_ACCESS_DENIED or ESRPC_ERROR_TOO_MANY_FILES; ESRPC_ERROR_IO if a file cannot be
/// read; ESRPC_ERROR_TLS_NO_CERTIFICATE if there is no certificate; ESRPC_ERROR_TLS_BAD_CERTIFICATE if one is damaged
/// or longer than 65,535 bytes; ESRPC_ERROR_TLS_BAD_KEY if there is no key that can be used;
/// ESRPC_ERROR_TLS_KEY_ENCRYPTED; ESRPC_ERROR_TLS_KEY_MISMATCH if the key is not that of the first certificate;
/// ESRPC_ERROR_TLS_CONFIG if the system provides no random bytes; ESRPC_ERROR_UNSUPPORTED without TLS.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_tls_config_builder_set_certificate_files(
    builder: Option<&mut esrpc_tls_config_builder>,
    chain_path: esrpc_bytes,
    key_path: esrpc_bytes,
) -> esrpc_status {
    guard::system_call(|| {
        let builder = required(builder, "builder")?.of_any()?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let (chain, key) = unsafe { (chain_path.as_slice("chain_path")?, key_path.as_slice("key_path")?) };
        let (chain, key) = (file_path(chain, "chain_path")?, file_path(key, "key_path")?);
        Ok(builder.set_certificate_files(&chain, &key)?)
    })
}

/// Sets the certificate that this side presents, and its key, from memory, replacing any earlier setting; see
/// esrpc_tls_config_builder_set_certificate_files.
///
/// @param builder Modified, unless the call fails.
/// @param chain The certificate followed by those that lead to its CA, in PEM, or the certificate alone, in DER; at
/// least one byte; copied.
/// @param key The private key, PEM or DER: PKCS#8, PKCS#1 or SEC1, not encrypted; at least one byte; copied.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if builder is NULL or chain or key is empty;
/// ESRPC_ERROR_TLS_NO_CERTIFICATE if there is no certificate; ESRPC_ERROR_TLS_BAD_CERTIFICATE if one is damaged or
/// longer than 65,535 bytes; ESRPC_ERROR_TLS_BAD_KEY if there is no key that can be used;
/// ESRPC_ERROR_TLS_KEY_ENCRYPTED; ESRPC_ERROR_TLS_KEY_MISMATCH if the key is not that of the first certificate;
/// ESRPC_ERROR_TLS_CONFIG if the system provides no random bytes; ESRPC_ERROR_UNSUPPORTED without TLS.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_tls_config_builder_set_certificate(
    builder: Option<&mut esrpc_tls_config_builder>,
    chain: esrpc_bytes,
    key: esrpc_bytes,
) -> esrpc_status {
    guard::system_call(|| {
        let builder = required(builder, "builder")?.of_any()?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let (chain, key) = unsafe { (chain.as_slice("chain")?, key.as_slice("key")?) };
        Ok(builder.set_certificate(some_bytes(chain, "chain")?, some_bytes(key, "key")?)?)
    })
}

/// Adds an application protocol (ALPN) after earlier ones, in order of preference. A server with protocols refuses
/// clients that offer only others; a client that offers none is accepted, without a protocol.
///
/// @param builder Modified.
/// @param protocol The protocol's name, 1 to 255 bytes without a NUL, copied.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if builder is NULL, or protocol is empty, too long or contains a
/// NUL; ESRPC_ERROR_UNSUPPORTED without TLS.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_tls_config_builder_add_alpn(
    builder: Option<&mut esrpc_tls_config_builder>,
    protocol: esrpc_bytes,
) -> esrpc_status {
    guard::system_call(|| {
        let builder = required(builder, "builder")?.of_any()?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let protocol = unsafe { protocol.as_slice("protocol") }?;
        check_alpn(protocol)?;
        builder.add_alpn(protocol);
        Ok(())
    })
}

/// Whether this can be the name of an application protocol.
pub(super) fn check_alpn(protocol: &[u8]) -> Result<(), Failure> {
    if protocol.is_empty() || protocol.len() > MAX_ALPN_LEN {
        let detail = format!("protocol has {} bytes; it must be 1 to {MAX_ALPN_LEN}", protocol.len());
        return Err(Failure::invalid_argument(detail));
    }
    if protocol.contains(&0) {
        return Err(Failure::invalid_argument("protocol contains a NUL byte"));
    }
    Ok(())
}

/// Sets the versions of TLS to use. Default: TLS 1.2 to TLS 1.3.
///
/// @param builder Modified.
/// @param min_version The lowest, one of the ESRPC_TLS_VERSION_* constants.
/// @param max_version The highest, one of the ESRPC_TLS_VERSION_* constants, not below min_version.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if builder is NULL or a version is out of range;
/// ESRPC_ERROR_UNSUPPORTED without TLS.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_tls_config_builder_set_versions(
    builder: Option<&mut esrpc_tls_config_builder>,
    min_version: i32,
    max_version: i32,
) -> esrpc_status {
    guard::system_call(|| {
        let builder = required(builder, "builder")?.of_any()?;
        let (min, max) = (version(min_version, "min_version")?, version(max_version, "max_version")?);
        if min > max {
            return Err(Failure::invalid_argument("min_version is above max_version"));
        }
        builder.set_versions(min, max);
        Ok(())
    })
}

/// Makes clients accept any certificate, for any name, from any CA, expired or not. DANGEROUS: anyone on the path
/// between client and server can then impersonate the server, and read and modify everything. For tests on one
/// machine only; to use your own certificate, add it as a CA instead.
///
/// @param builder Modified; a client's.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if builder is NULL; ESRPC_ERROR_INVALID_STATE if it is for servers;
/// ESRPC_ERROR_UNSUPPORTED without TLS.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_tls_config_builder_dangerous_disable_verification(
    builder: Option<&mut esrpc_tls_config_builder>,
) -> esrpc_status {
    guard::system_call(|| {
        let builder = required(builder, "builder")?.of_client()?;
        builder.dangerous_disable_verification();
        Ok(())
    })
}

/// Sets whether a server requests a certificate from its clients. It must come from a CA added with one of the
/// esrpc_tls_config_builder_add_ca functions. Default: ESRPC_TLS_CLIENT_AUTH_NONE.
///
/// @param builder Modified; a server's.
/// @param client_auth One of the ESRPC_TLS_CLIENT_AUTH_* constants.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if builder is NULL or client_auth is out of range;
/// ESRPC_ERROR_INVALID_STATE if the builder is for clients; ESRPC_ERROR_UNSUPPORTED without TLS.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_tls_config_builder_set_client_auth(
    builder: Option<&mut esrpc_tls_config_builder>,
    client_auth: i32,
) -> esrpc_status {
    guard::system_call(|| {
        let builder = required(builder, "builder")?.of_server()?;
        builder.set_client_auth(match client_auth {
            _ if client_auth == ESRPC_TLS_CLIENT_AUTH_NONE as i32 => ClientAuth::None,
            _ if client_auth == ESRPC_TLS_CLIENT_AUTH_OPTIONAL as i32 => ClientAuth::Optional,
            _ if client_auth == ESRPC_TLS_CLIENT_AUTH_REQUIRED as i32 => ClientAuth::Required,
            _ => {
                let detail = format!("client_auth is {client_auth}; it must be one of ESRPC_TLS_CLIENT_AUTH_*");
                return Err(Failure::invalid_argument(detail));
            }
        });
        Ok(())
    })
}

/// Sets whether sessions can be resumed, so that later connections need a shorter handshake, in which certificates
/// are not sent again. Default: on.
///
/// @param builder Modified.
/// @param on Whether they can.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if builder is NULL; ESRPC_ERROR_UNSUPPORTED without TLS.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_tls_config_builder_set_session_resumption(
    builder: Option<&mut esrpc_tls_config_builder>,
    on: esrpc_bool,
) -> esrpc_status {
    guard::system_call(|| {
        let builder = required(builder, "builder")?.of_any()?;
        builder.set_session_resumption(on.is_true());
        Ok(())
    })
}

/// Appends the secrets of every session to a file, in the format that Wireshark and others read. Whoever has the file
/// can decrypt captured traffic: for debugging only. No environment variable turns this on.
///
/// @param builder Modified.
/// @param path The path of the file; at least one byte, without NUL. Opened by this call, and created with mode 0600
/// if it does not exist. Failures to write to it later are ignored.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if builder is NULL or path is empty or has a NUL;
/// ESRPC_ERROR_NOT_FOUND, ESRPC_ERROR_ACCESS_DENIED, ESRPC_ERROR_TOO_MANY_FILES or ESRPC_ERROR_IO if the file cannot
/// be opened; ESRPC_ERROR_UNSUPPORTED without TLS.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_tls_config_builder_set_key_log_file(
    builder: Option<&mut esrpc_tls_config_builder>,
    path: esrpc_bytes,
) -> esrpc_status {
    guard::system_call(|| {
        let builder = required(builder, "builder")?.of_any()?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let path = unsafe { path.as_slice("path") }?;
        Ok(builder.set_key_log_file(&file_path(path, "path")?)?)
    })
}

/// Builds settings. The builder is not changed and may be used for others. If a client has no CA, the system's trust
/// store is read here; its certificates, too, vouch for servers only while they are valid.
///
/// A sandbox such as seccomp must be in place before this call or allow getrandom: if the system refuses random bytes
/// after TLS was first used, the cryptography library may abort the process.
///
/// @param builder Borrowed.
/// @param out_config Receives the settings, to be released with esrpc_tls_config_release.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if builder or out_config is NULL; ESRPC_ERROR_TLS_CONFIG if settings
/// do not go together (a server without a certificate; client authentication without a CA, or a CA or revocation list
/// without it; a CA or revocation list without verification) or cannot be used, or if the system refuses to give
/// random bytes (getrandom is missing in a sandbox); ESRPC_ERROR_TLS_NO_CERTIFICATE if the system's trust store is
/// needed and empty; ESRPC_ERROR_UNSUPPORTED without TLS.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_tls_config_builder_build(
    builder: Option<&esrpc_tls_config_builder>,
    out_config: *mut *mut esrpc_tls_config,
) -> esrpc_status {
    guard::system_call(|| {
        let builder = required(builder, "builder")?;
        check_out(out_config, "out_config")?;
        let builder = builder.builder.as_ref().map_err(|error| error.clone())?;
        let config = esrpc_tls_config::give(Arc::new(builder.build()?));
        // SAFETY: the caller's variable.
        unsafe { write_out(out_config, config, "out_config") }
    })
}

/// Adds a reference.
///
/// @param config Borrowed; NULL: returns NULL.
/// @return The same handle, to be released one more time.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_tls_config_acquire(config: *mut esrpc_tls_config) -> *mut esrpc_tls_config {
    guard::system_value(std::ptr::null_mut(), || {
        // SAFETY: NULL or a live handle.
        unsafe { esrpc_tls_config::acquire(config) }
    })
}

/// Releases a reference. What uses the settings keeps them.
///
/// @param config Not to be used afterwards; NULL: nothing happens.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_tls_config_release(config: *mut esrpc_tls_config) {
    guard::system_value((), || {
        // SAFETY: NULL or a live handle, whose reference the caller gives up.
        unsafe { esrpc_tls_config::release(config) }
    })
}
