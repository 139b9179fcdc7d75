//! Names of named pipes.

use std::fmt;
use std::path::PathBuf;

use socket2::SockAddr;

use crate::transport::{Error, ErrorKind};

/// What the name of a pipe of this machine begins with; the system takes small and capital letters for the same.
const PREFIX: &str = r"\\.\pipe\";
/// In characters, as CreateNamedPipe says.
const LONGEST: usize = 256;

/// A name in the system's form.
pub type LocalAddress = LocalName;

/// The name of a pipe, as in `\\.\pipe\name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalName(String);

impl LocalName {
    pub fn from_path(path: &[u8]) -> Result<LocalName, Error> {
        let invalid = |sentence: String| Error::new(ErrorKind::Unsupported, sentence);
        let text = String::from_utf8_lossy(path);
        let name = text.get(PREFIX.len()..).filter(|_| text[..PREFIX.len()].eq_ignore_ascii_case(PREFIX));
        if std::str::from_utf8(path).is_err() || name.is_none_or(str::is_empty) {
            let sentence =
                format!(r"on Windows this has to be the name of a pipe, \\.\pipe\NAME, in UTF-8; it is {text:?}");
            return Err(invalid(sentence));
        }
        Ok(LocalName(text.into_owned()))
    }

    pub fn from_abstract(_: &[u8]) -> Result<LocalName, Error> {
        Err(Error::new(ErrorKind::Unsupported, "abstract Unix socket names exist on Linux only"))
    }

    /// The system's form of the name.
    pub fn resolve(&self) -> Result<LocalAddress, Error> {
        let len = self.0.encode_utf16().count();
        if len > LONGEST {
            let sentence = format!("the name of the pipe has {len} characters; Windows allows {LONGEST}");
            return Err(Error::new(ErrorKind::PathTooLong, sentence));
        }
        Ok(self.clone())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn advice_to_client(&self, failure: ErrorKind) -> &'static str {
        match failure {
            ErrorKind::NotFound => "; there is no such pipe: start the server, or check the name",
            ErrorKind::AccessDenied => "; the server's pipe_security does not allow this user",
            _ => "",
        }
    }

    pub fn advice_to_server(&self, _: ErrorKind) -> &'static str {
        ""
    }
}

impl fmt::Display for LocalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pipe:{}", self.0)
    }
}

/// The address of a pipe as text.
pub fn local_address_text(address: &LocalAddress) -> String {
    address.to_string()
}

/// Only sockets of TCP are used, whose addresses are shown elsewhere.
pub fn socket_address_text(_: &SockAddr) -> String {
    String::new()
}

/// A path in the file system.
pub fn path_from_bytes(path: &[u8]) -> Result<PathBuf, Error> {
    let text = std::str::from_utf8(path);
    text.map(PathBuf::from).map_err(|_| Error::new(ErrorKind::Unsupported, "is not UTF-8 text"))
}
