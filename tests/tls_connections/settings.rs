//! TLS settings, made through the C interface.

use crate::certificates::{Authority, Identity};
use crate::recorder::{OK, lend, status_name};
use eventstream_rpc::ffi::constants::{esrpc_tls_client_auth, esrpc_tls_revocation_depth, esrpc_tls_version};
use eventstream_rpc::ffi::status_text::esrpc_last_error_message;
use eventstream_rpc::ffi::tls_config::*;
use eventstream_rpc::ffi::tls_revocation::*;
use std::ffi::CStr;
use std::path::Path;
use std::ptr;

pub const NAME: &str = "server.example";

/// Settings of either side.
pub struct Tls(pub *mut esrpc_tls_config);

impl Drop for Tls {
    fn drop(&mut self) {
        // SAFETY: a live handle, released once.
        unsafe { esrpc_tls_config_release(self.0) }
    }
}

/// Settings under construction.
pub struct Builder(*mut esrpc_tls_config_builder);

impl Builder {
    pub fn trust(&self, authority: &Authority) {
        // SAFETY: a live builder, and bytes that live during the call.
        assert_eq!(unsafe { esrpc_tls_config_builder_add_ca(self.0.as_mut(), lend(authority.pem.as_bytes())) }, OK);
    }

    pub fn refuse_revoked(&self, list: &[u8]) {
        // SAFETY: as above.
        assert_eq!(unsafe { esrpc_tls_config_builder_add_crl(self.0.as_mut(), lend(list)) }, OK);
    }

    pub fn look_up(&self, depth: esrpc_tls_revocation_depth, allow_unknown: bool) {
        // SAFETY: a live builder.
        let status =
            unsafe { esrpc_tls_config_builder_set_revocation(self.0.as_mut(), depth as i32, allow_unknown.into()) };
        assert_eq!(status, OK);
    }

    pub fn show(&self, identity: &Identity) {
        let (chain, key) = (lend(identity.certificate.as_bytes()), lend(identity.key.as_bytes()));
        // SAFETY: as above.
        assert_eq!(unsafe { esrpc_tls_config_builder_set_certificate(self.0.as_mut(), chain, key) }, OK);
    }

    pub fn alpn(&self, protocol: &str) {
        // SAFETY: as above.
        assert_eq!(unsafe { esrpc_tls_config_builder_add_alpn(self.0.as_mut(), lend(protocol.as_bytes())) }, OK);
    }

    pub fn only(&self, version: esrpc_tls_version) {
        let version = version as i32;
        // SAFETY: a live builder.
        assert_eq!(unsafe { esrpc_tls_config_builder_set_versions(self.0.as_mut(), version, version) }, OK);
    }

    pub fn ask_clients(&self, authority: &Authority, auth: esrpc_tls_client_auth) {
        self.trust(authority);
        // SAFETY: a live builder.
        assert_eq!(unsafe { esrpc_tls_config_builder_set_client_auth(self.0.as_mut(), auth as i32) }, OK);
    }

    pub fn require_certificates(&self) {
        let required = esrpc_tls_client_auth::ESRPC_TLS_CLIENT_AUTH_REQUIRED as i32;
        // SAFETY: a live builder.
        assert_eq!(unsafe { esrpc_tls_config_builder_set_client_auth(self.0.as_mut(), required) }, OK);
    }

    pub fn without_resumption(&self) {
        // SAFETY: a live builder.
        assert_eq!(unsafe { esrpc_tls_config_builder_set_session_resumption(self.0.as_mut(), false.into()) }, OK);
    }

    pub fn log_keys(&self, path: &Path) {
        let path = lend(path.as_os_str().as_encoded_bytes());
        // SAFETY: as above.
        assert_eq!(unsafe { esrpc_tls_config_builder_set_key_log_file(self.0.as_mut(), path) }, OK);
    }

    /// Gives the sentence of a certificate or key that is not taken.
    pub fn try_to_show(&self, identity: &Identity) -> Result<(), String> {
        let (chain, key) = (lend(identity.certificate.as_bytes()), lend(identity.key.as_bytes()));
        // SAFETY: a live builder, and bytes that live during the call.
        match unsafe { esrpc_tls_config_builder_set_certificate(self.0.as_mut(), chain, key) } {
            OK => Ok(()),
            status => {
                // SAFETY: text that lives until the next call on this thread.
                let sentence = unsafe { CStr::from_ptr(esrpc_last_error_message()) }.to_string_lossy();
                Err(format!("{}: {sentence}", status_name(status)))
            }
        }
    }

    /// As `trust`, with the content of a file.
    pub fn trust_file(&self, content: &[u8]) {
        // SAFETY: as above.
        assert_eq!(unsafe { esrpc_tls_config_builder_add_ca(self.0.as_mut(), lend(content)) }, OK);
    }

    fn build(self) -> Tls {
        let mut config = ptr::null_mut();
        // SAFETY: a live builder, released once.
        unsafe {
            assert_eq!(esrpc_tls_config_builder_build(self.0.as_ref(), &mut config), OK);
            esrpc_tls_config_builder_release(self.0);
        }
        Tls(config)
    }
}

/// A client that trusts `authority`, and what `change` does.
pub fn client(authority: &Authority, change: impl FnOnce(&Builder)) -> Tls {
    let builder = Builder(esrpc_tls_config_builder_new_client());
    builder.trust(authority);
    change(&builder);
    builder.build()
}

/// A client that trusts what `change` gives it.
pub fn client_with(change: impl FnOnce(&Builder)) -> Tls {
    let builder = Builder(esrpc_tls_config_builder_new_client());
    change(&builder);
    builder.build()
}

/// A server that shows `identity`, if it can.
pub fn try_server(identity: &Identity) -> Result<Tls, String> {
    let builder = Builder(esrpc_tls_config_builder_new_server());
    let shown = builder.try_to_show(identity);
    shown.map(|()| builder.build())
}

/// A client that accepts any server.
pub fn client_without_verification() -> Tls {
    let builder = Builder(esrpc_tls_config_builder_new_client());
    // SAFETY: a live builder.
    assert_eq!(unsafe { esrpc_tls_config_builder_dangerous_disable_verification(builder.0.as_mut()) }, OK);
    builder.build()
}

/// A server that shows `identity`, and what `change` does.
pub fn server(identity: &Identity, change: impl FnOnce(&Builder)) -> Tls {
    let builder = Builder(esrpc_tls_config_builder_new_server());
    builder.show(identity);
    change(&builder);
    builder.build()
}

/// Settings of both sides that fit together, for the name `NAME`.
pub fn fitting() -> (Tls, Tls) {
    let authority = Authority::new("test CA");
    (client(&authority, |_| {}), server(&authority.server(&[NAME]), |_| {}))
}
