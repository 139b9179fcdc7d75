//! Names of Unix sockets.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use socket2::SockAddr;

use crate::transport::{Error, ErrorKind};

/// A name in the system's form.
pub type LocalAddress = SockAddr;

/// The name of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalName {
    Path(PathBuf),
    /// A name outside the file system (Linux).
    Abstract(Vec<u8>),
}

impl LocalName {
    pub fn from_path(path: &[u8]) -> Result<LocalName, Error> {
        Ok(LocalName::Path(path_from_bytes(path)?))
    }

    pub fn from_abstract(name: &[u8]) -> Result<LocalName, Error> {
        if cfg!(any(target_os = "linux", target_os = "android")) {
            Ok(LocalName::Abstract(name.to_vec()))
        } else {
            Err(Error::new(ErrorKind::Unsupported, "abstract Unix socket names exist on Linux only"))
        }
    }

    /// The system's form of the name.
    pub fn resolve(&self) -> Result<LocalAddress, Error> {
        match self {
            LocalName::Path(path) => SockAddr::unix(path).map_err(|_| {
                let len = path.as_os_str().len();
                Error::new(
                    ErrorKind::PathTooLong,
                    format!("a Unix socket path of {len} bytes is too long for the system (the usual limit is 107)"),
                )
            }),
            LocalName::Abstract(name) => {
                let path = [b"\0", name.as_slice()].concat();
                SockAddr::unix(OsStr::from_bytes(&path)).map_err(|_| {
                    let len = name.len();
                    Error::new(
                        ErrorKind::PathTooLong,
                        format!("an abstract Unix socket name of {len} bytes is too long for the system (at most 107)"),
                    )
                })
            }
        }
    }

    pub fn advice_to_client(&self, failure: ErrorKind) -> &'static str {
        match (failure, self) {
            // Connecting follows links.
            (ErrorKind::Refused, LocalName::Path(path)) => not_a_socket(fs::metadata(path))
                .unwrap_or("; no server is listening on this socket: start it, or check the path"),
            (ErrorKind::Refused, LocalName::Abstract(_)) => {
                "; no server is listening there: start it, or check the name"
            }
            (ErrorKind::NotFound, _) => "; there is no such socket: start the server, or check the path",
            (ErrorKind::AccessDenied, _) => {
                "; this process needs the right to write to the socket, and to enter its folder"
            }
            _ => "",
        }
    }

    pub fn advice_to_server(&self, failure: ErrorKind) -> &'static str {
        match (failure, self) {
            // Listening does not follow links.
            (ErrorKind::AddressInUse, LocalName::Path(path)) => not_a_socket(fs::symlink_metadata(path))
                .unwrap_or("; another server is listening there: stop it, or choose another path"),
            (ErrorKind::AddressInUse, LocalName::Abstract(_)) => {
                "; another server is listening there: stop it, or choose another name"
            }
            (ErrorKind::NotFound, _) => "; there is no such folder: make it, or check the path",
            (ErrorKind::AccessDenied, _) => "; this process needs the right to write to the folder",
            _ => "",
        }
    }
}

/// What is at a path instead of a socket; nothing if a socket is, or if that is not known.
fn not_a_socket(found: io::Result<Metadata>) -> Option<&'static str> {
    let kind = found.ok()?.file_type();
    match (kind.is_socket(), kind.is_dir(), kind.is_symlink()) {
        (true, ..) => None,
        (_, true, _) => Some("; there is a folder at this path, not a socket"),
        (.., true) => Some("; there is a link at this path, not a socket"),
        _ => Some("; there is a file at this path that is not a socket"),
    }
}

impl fmt::Display for LocalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalName::Path(path) => write!(f, "unix:{}", path.display()),
            LocalName::Abstract(name) => write!(f, "unix:@{}", String::from_utf8_lossy(name)),
        }
    }
}

/// The address of a Unix socket as text: "unix:/path", "unix:@name", "unix:" (a socket without a name). Peers choose theirs:
/// control characters become U+FFFD like what is not UTF-8, since a NUL would make the text that of another name.
pub fn socket_address_text(address: &SockAddr) -> String {
    let text = if let Some(path) = address.as_pathname() {
        format!("unix:{}", path.display())
    } else if let Some(name) = address.as_abstract_namespace() {
        format!("unix:@{}", String::from_utf8_lossy(name))
    } else {
        "unix:".to_owned()
    };
    text.replace(char::is_control, "\u{fffd}")
}

/// Whether the text describes who may open a pipe.
pub fn check_pipe_security(_: &str) -> Result<(), Error> {
    Err(Error::new(ErrorKind::Unsupported, "there are named pipes on Windows only"))
}

/// A path in the file system.
pub fn path_from_bytes(path: &[u8]) -> Result<PathBuf, Error> {
    Ok(OsStr::from_bytes(path).into())
}
