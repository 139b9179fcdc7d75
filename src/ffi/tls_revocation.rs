//! Certificate revocation lists in TLS settings.

use super::boolean::esrpc_bool;
use super::bytes::esrpc_bytes;
use super::constants::esrpc_tls_revocation_depth::*;
use super::failure::{Failure, required};
use super::guard;
use super::status::esrpc_status;
use super::tls_config::{esrpc_tls_config_builder, file_path, some_bytes};

/// Adds certificate revocation lists (CRLs) to earlier ones. A peer whose certificate is on one is refused with
/// ESRPC_ERROR_TLS_CERTIFICATE_REVOKED. Once there is any list, a peer is also refused if there is none for its CA
/// (ESRPC_ERROR_TLS_REVOCATION_UNKNOWN; esrpc_tls_config_builder_set_revocation can allow it) or if that list has
/// expired (ESRPC_ERROR_TLS_CRL_EXPIRED). Nothing is downloaded; a running listener gets newer lists with
/// esrpc_listener_set_tls. Resumed sessions are not checked again; new settings do not resume sessions of older ones.
///
/// A certificate that is trusted as itself (see esrpc_tls_config_builder_add_ca_file) is checked as well, against the
/// lists of its issuer; a list counts only if it is signed with the key of a certificate that was given.
///
/// @param builder Modified, unless the call fails.
/// @param lists One or more lists in PEM (X509 CRL) or DER; at least one byte; copied.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if builder is NULL or lists is empty; ESRPC_ERROR_TLS_BAD_CRL if
/// there is no list, or one is malformed or not supported (delta lists, partial lists); ESRPC_ERROR_UNSUPPORTED
/// without TLS.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_tls_config_builder_add_crl(
    builder: Option<&mut esrpc_tls_config_builder>,
    lists: esrpc_bytes,
) -> esrpc_status {
    guard::system_call(|| {
        let builder = required(builder, "builder")?.of_any()?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let lists = unsafe { lists.as_slice("lists") }?;
        Ok(builder.add_crl(some_bytes(lists, "lists")?)?)
    })
}

/// Adds the certificate revocation lists in a file; see esrpc_tls_config_builder_add_crl.
///
/// @param builder Modified, unless the call fails.
/// @param path The path of a file with one or more lists in PEM (X509 CRL) or DER; at least one byte, without NUL.
/// Read by this call.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if builder is NULL or path is empty or has a NUL;
/// ESRPC_ERROR_NOT_FOUND, ESRPC_ERROR_ACCESS_DENIED or ESRPC_ERROR_TOO_MANY_FILES; ESRPC_ERROR_IO if the file cannot
/// be read; ESRPC_ERROR_TLS_BAD_CRL if it holds no list, or one is malformed or not supported; ESRPC_ERROR_UNSUPPORTED
/// without TLS.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_tls_config_builder_add_crl_file(
    builder: Option<&mut esrpc_tls_config_builder>,
    path: esrpc_bytes,
) -> esrpc_status {
    guard::system_call(|| {
        let builder = required(builder, "builder")?.of_any()?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let path = unsafe { path.as_slice("path") }?;
        Ok(builder.add_crl_file(&file_path(path, "path")?)?)
    })
}

/// Sets how revocation lists are applied. Has no effect without a list.
///
/// @param builder Modified.
/// @param depth An ESRPC_TLS_REVOCATION_DEPTH_ constant. Default: ESRPC_TLS_REVOCATION_DEPTH_CHAIN.
/// @param allow_unknown Whether a certificate whose CA has no list here is accepted. Default: it is refused.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if builder is NULL or depth is not one of the constants;
/// ESRPC_ERROR_UNSUPPORTED without TLS.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_tls_config_builder_set_revocation(
    builder: Option<&mut esrpc_tls_config_builder>,
    depth: i32,
    allow_unknown: esrpc_bool,
) -> esrpc_status {
    guard::system_call(|| {
        let builder = required(builder, "builder")?.of_any()?;
        let leaf_only = match depth {
            _ if depth == ESRPC_TLS_REVOCATION_DEPTH_CHAIN as i32 => false,
            _ if depth == ESRPC_TLS_REVOCATION_DEPTH_LEAF as i32 => true,
            _ => {
                let detail = format!("depth is {depth}; it must be one of ESRPC_TLS_REVOCATION_DEPTH_*");
                return Err(Failure::invalid_argument(detail));
            }
        };
        builder.set_revocation(leaf_only, allow_unknown.is_true());
        Ok(())
    })
}
