use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use socket2::SockAddr;

use crate::transport::resolver::literal;
use crate::transport::{Error, ErrorKind, RawSocket};

/// Where to connect to or listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Tcp {
        host: String,
        port: u16,
    },
    Unix(UnixName),
    /// A socket of the application's, which is connected or listens already.
    Socket(RawSocket),
}

/// The name of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnixName {
    Path(PathBuf),
    /// A name outside the file system (Linux).
    Abstract(Vec<u8>),
}

impl Endpoint {
    /// What else there is to say when nobody can connect or listen there: the path is that of another kind of file.
    pub fn remark(&self) -> Option<&'static str> {
        #[cfg(unix)]
        if let Endpoint::Unix(UnixName::Path(path)) = self {
            use std::os::unix::fs::FileTypeExt;
            let kind = std::fs::metadata(path).ok()?.file_type();
            return match (kind.is_socket(), kind.is_dir()) {
                (true, _) => None,
                (_, true) => Some("; there is a folder at this path, not a socket"),
                (_, false) => Some("; there is a file at this path that is not a socket"),
            };
        }
        None
    }

    /// The address, if it is one that needs no lookup.
    pub fn address(&self) -> Result<SockAddr, Error> {
        match self {
            Endpoint::Tcp { host, port } => literal(host, *port).map(SockAddr::from).ok_or_else(|| {
                Error::new(ErrorKind::AddressInvalid, format!("{host:?} is not an IPv4 or IPv6 address"))
            }),
            Endpoint::Unix(name) => name.resolve(),
            Endpoint::Socket(_) => Err(Error::new(ErrorKind::AddressInvalid, "an existing socket is not bound again")),
        }
    }
}

impl UnixName {
    /// The system's form of the name.
    #[cfg(unix)]
    pub fn resolve(&self) -> Result<SockAddr, Error> {
        use std::os::unix::ffi::OsStrExt;
        match self {
            UnixName::Path(path) => SockAddr::unix(path).map_err(|_| {
                let len = path.as_os_str().len();
                Error::new(
                    ErrorKind::PathTooLong,
                    format!("a Unix socket path of {len} bytes is too long for the system (the usual limit is 107)"),
                )
            }),
            UnixName::Abstract(name) => {
                if !cfg!(any(target_os = "linux", target_os = "android")) {
                    let what = "abstract Unix socket names exist on Linux only";
                    return Err(Error::new(ErrorKind::Unsupported, what));
                }
                let path = [b"\0", name.as_slice()].concat();
                SockAddr::unix(std::ffi::OsStr::from_bytes(&path)).map_err(|_| {
                    let len = name.len();
                    Error::new(
                        ErrorKind::PathTooLong,
                        format!("an abstract Unix socket name of {len} bytes is too long for the system (at most 107)"),
                    )
                })
            }
        }
    }

    /// The system's form of the name.
    #[cfg(not(unix))]
    pub fn resolve(&self) -> Result<SockAddr, Error> {
        Err(Error::new(ErrorKind::Unsupported, "Unix sockets are not available on this platform"))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } if host.contains(':') && !host.starts_with('[') => {
                write!(f, "[{host}]:{port}")
            }
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Unix(UnixName::Path(path)) => write!(f, "unix:{}", path.display()),
            Endpoint::Unix(UnixName::Abstract(name)) => write!(f, "unix:@{}", String::from_utf8_lossy(name)),
            Endpoint::Socket(socket) => write!(f, "the given socket {socket}"),
        }
    }
}

/// An address as text: "127.0.0.1:80", "[::1]:80", "unix:/path", "unix:@name", "unix:" (a socket without a name).
pub fn address_text(address: &SockAddr) -> String {
    AddressText::of(address).to_string()
}

/// An address that can be shown in these forms; empty if it is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressText {
    Socket(SocketAddr),
    Other(String),
}

impl AddressText {
    pub fn of(address: &SockAddr) -> AddressText {
        match address.as_socket() {
            Some(address) => AddressText::Socket(address),
            None => AddressText::Other(unix_address_text(address)),
        }
    }
}

impl AddressText {
    /// The peer that has it, for sentences; some sockets have no name.
    pub fn peer_name(&self) -> String {
        match self.to_string() {
            text if text.is_empty() || text == "unix:" => "the peer".to_owned(),
            text => format!("the peer {text}"),
        }
    }
}

impl Default for AddressText {
    fn default() -> AddressText {
        AddressText::Other(String::new())
    }
}

impl fmt::Display for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressText::Socket(address) => address.fmt(f),
            AddressText::Other(text) => text.fmt(f),
        }
    }
}

#[cfg(unix)]
fn unix_address_text(address: &SockAddr) -> String {
    if let Some(path) = address.as_pathname() {
        format!("unix:{}", path.display())
    } else if let Some(name) = address.as_abstract_namespace() {
        format!("unix:@{}", String::from_utf8_lossy(name))
    } else {
        "unix:".to_owned()
    }
}

#[cfg(not(unix))]
fn unix_address_text(_: &SockAddr) -> String {
    String::new()
}
