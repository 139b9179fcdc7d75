//! In the place of TLS in a build of the library without it: nothing of it can be made, so no connection has it.

use std::ffi::CStr;
use std::io::{self, IoSlice, Read, Write};
use std::path::Path;

use super::tls_terms::{ClientAuth, HandshakeProgress, TlsInfo, TlsRole, TlsVersion};
use crate::transport::{Error, ErrorKind};

pub const PROVIDER_NAME: &CStr = c"";

fn absent() -> Error {
    let sentence = "this build of the library has no TLS: build it with the cargo feature aws-lc-rs or ring";
    Error::new(ErrorKind::Unsupported, sentence)
}

pub fn new_tls_config_builder(_: TlsRole) -> Result<TlsConfigBuilder, Error> {
    Err(absent())
}

pub fn check_server_name(_: &str) -> Result<(), Error> {
    Err(absent())
}

/// Of this there is no value.
#[derive(Clone)]
enum Never {}

pub struct TlsConfigBuilder(Never);

#[derive(Clone)]
pub struct TlsConfig(Never);

pub struct TlsSession(Never);

impl TlsConfigBuilder {
    pub fn role(&self) -> TlsRole {
        match self.0 {}
    }

    pub fn add_ca_file(&mut self, _: &Path) -> Result<(), Error> {
        match self.0 {}
    }

    pub fn add_ca_dir(&mut self, _: &Path) -> Result<(), Error> {
        match self.0 {}
    }

    pub fn add_ca(&mut self, _: &[u8]) -> Result<(), Error> {
        match self.0 {}
    }

    pub fn add_crl_file(&mut self, _: &Path) -> Result<(), Error> {
        match self.0 {}
    }

    pub fn add_crl(&mut self, _: &[u8]) -> Result<(), Error> {
        match self.0 {}
    }

    pub fn set_revocation(&mut self, _: bool, _: bool) {
        match self.0 {}
    }

    pub fn set_certificate_files(&mut self, _: &Path, _: &Path) -> Result<(), Error> {
        match self.0 {}
    }

    pub fn set_certificate(&mut self, _: &[u8], _: &[u8]) -> Result<(), Error> {
        match self.0 {}
    }

    pub fn add_alpn(&mut self, _: &[u8]) {
        match self.0 {}
    }

    pub fn set_versions(&mut self, _: TlsVersion, _: TlsVersion) {
        match self.0 {}
    }

    pub fn dangerous_disable_verification(&mut self) {
        match self.0 {}
    }

    pub fn set_client_auth(&mut self, _: ClientAuth) {
        match self.0 {}
    }

    pub fn set_session_resumption(&mut self, _: bool) {
        match self.0 {}
    }

    pub fn set_key_log_file(&mut self, _: &Path) -> Result<(), Error> {
        match self.0 {}
    }

    pub fn build(&self) -> Result<TlsConfig, Error> {
        match self.0 {}
    }
}

impl TlsConfig {
    pub fn role(&self) -> TlsRole {
        match self.0 {}
    }

    #[must_use]
    pub fn with_alpn(&self, _: &[Vec<u8>]) -> TlsConfig {
        match self.0 {}
    }
}

impl TlsSession {
    pub fn client(config: &TlsConfig, _: &str) -> Result<TlsSession, Error> {
        match config.0 {}
    }

    pub fn server(config: &TlsConfig) -> Result<TlsSession, Error> {
        match config.0 {}
    }

    pub fn handshake(&mut self, _: &mut (impl Read + Write)) -> Result<HandshakeProgress, Error> {
        match self.0 {}
    }

    pub fn read(&mut self, _: &mut (impl Read + Write), _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn read_more(&mut self, _: &mut (impl Read + Write), _: &mut Vec<u8>, _: usize) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn is_cut_off(&self) -> bool {
        match self.0 {}
    }

    pub fn take_wire_len(&mut self) -> usize {
        match self.0 {}
    }

    pub fn is_drained(&self) -> bool {
        match self.0 {}
    }

    pub fn write(&mut self, _: &mut (impl Read + Write), _: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn wants_flush(&self) -> bool {
        match self.0 {}
    }

    pub fn kept_len(&self) -> usize {
        match self.0 {}
    }

    pub fn flush(&mut self, _: &mut (impl Read + Write)) -> io::Result<()> {
        match self.0 {}
    }

    pub fn close_notify(&mut self, _: &mut (impl Read + Write)) -> bool {
        match self.0 {}
    }

    pub fn info(&self) -> Option<TlsInfo> {
        match self.0 {}
    }
}
