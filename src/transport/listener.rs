use std::io;
use std::sync::{Arc, Weak};

#[cfg(unix)]
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::transport::adopted::{refuse_descriptors, take_socket};
use crate::transport::endpoint::address_text;
#[cfg(unix)]
use crate::transport::socket_file::SocketFile;
use crate::transport::{Endpoint, Error, ErrorKind, RawSocket, SocketOptions, SocketUse, Stream, UnixName};

/// How many connections the system queues until they are accepted.
const BACKLOG: i32 = 1024;

/// A listening socket. Dropping it removes the socket file it made and closes it.
pub struct Listener {
    /// Removes the socket file when the listener goes. Before the socket is closed: until then nobody takes the file for a stale
    /// one and puts its own in its place.
    #[cfg(unix)]
    _file: Option<SocketFile>,
    /// Shared only with `ListeningSocket`, which does not keep it.
    socket: Arc<Socket>,
    address: SockAddr,
    /// For the connections.
    options: SocketOptions,
    /// Other processes have the socket too, and connections would inherit what they set on it.
    is_adopted: bool,
}

/// What any thread may do with the socket of a listener that another thread has.
pub struct ListeningSocket {
    socket: Weak<Socket>,
}

impl ListeningSocket {
    /// A descriptor of its own for the caller, closed on exec; nothing if the listener is gone.
    #[cfg(unix)]
    pub fn duplicate(&self) -> Option<Result<RawSocket, Error>> {
        use std::os::fd::IntoRawFd;
        let failed = |error: io::Error| Error::from_io("duplicating the listening socket", &error, ErrorKind::Io);
        self.socket.upgrade().map(|socket| socket.try_clone().map(IntoRawFd::into_raw_fd).map_err(failed))
    }

    #[cfg(not(unix))]
    pub fn duplicate(&self) -> Option<Result<RawSocket, Error>> {
        self.socket
            .upgrade()
            .map(|_| Err(Error::new(ErrorKind::Unsupported, "sockets can be duplicated on Unix systems only")))
    }
}

impl Listener {
    /// Binds and listens, or takes over the application's listening socket, which after an error keeps it. `unix_mode` is
    /// the permission of a socket file, which stays behind if it is to be kept.
    pub fn bind(
        endpoint: &Endpoint,
        unix_mode: u32,
        keep_file: bool,
        options: &SocketOptions,
    ) -> Result<Listener, Error> {
        if let Endpoint::Socket(raw) = endpoint {
            return Listener::adopt(*raw, options);
        }
        let address = endpoint.address()?;
        let failed = |error: io::Error| {
            let remark = match error.kind() {
                io::ErrorKind::AddrInUse => endpoint.remark().unwrap_or_default(),
                _ => "",
            };
            let failed = Error::from_io(&format!("listening on {endpoint}"), &error, ErrorKind::Io);
            let sentence = format!("{failed}{remark}");
            failed.with_sentence(sentence)
        };
        let socket = Socket::new(address.domain(), Type::STREAM, None).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        refuse_descriptors(&socket, address.domain());
        options.bind_interface(&socket, address.domain())?;
        #[cfg(unix)]
        let file = match endpoint {
            Endpoint::Unix(UnixName::Path(path)) => {
                let file = SocketFile::listen(&socket, &address, path, unix_mode, BACKLOG).map_err(failed)?;
                Some(if keep_file { file.kept() } else { file })
            }
            _ => None,
        };
        #[cfg(not(unix))]
        let (file, _, _) = (None::<()>, unix_mode, keep_file);
        if file.is_none() {
            // Otherwise a server could not restart while connections of the previous one are in TIME_WAIT.
            #[cfg(unix)]
            if address.domain() != Domain::UNIX {
                socket.set_reuse_address(true).map_err(failed)?;
            }
            socket.bind(&address).map_err(failed)?;
            socket.listen(BACKLOG).map_err(failed)?;
        }
        let address = socket.local_addr().map_err(failed)?;
        Ok(Listener {
            #[cfg(unix)]
            _file: file,
            socket: Arc::new(socket),
            address,
            options: options.clone(),
            is_adopted: false,
        })
    }

    fn adopt(raw: RawSocket, options: &SocketOptions) -> Result<Listener, Error> {
        let (socket, address) = take_socket(raw, SocketUse::Listener, |_, _| Ok(()))?;
        Ok(Listener {
            // Whoever made the file may have others listen at it.
            #[cfg(unix)]
            _file: None,
            socket: Arc::new(socket),
            address,
            options: options.clone(),
            is_adopted: true,
        })
    }

    pub fn shared_socket(&self) -> ListeningSocket {
        ListeningSocket { socket: Arc::downgrade(&self.socket) }
    }

    pub fn address(&self) -> String {
        address_text(&self.address)
    }

    /// 0 for Unix sockets.
    pub fn port(&self) -> u16 {
        self.address.as_socket().map_or(0, |address| address.port())
    }

    #[cfg(unix)]
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        registry.register(&mut SourceFd(&self.socket.as_raw_fd()), token, Interest::READABLE)
    }

    #[cfg(unix)]
    pub fn deregister(&mut self, registry: &Registry) {
        use std::os::fd::AsRawFd;
        // Closing the socket takes it out of the poll as well.
        let _ = registry.deregister(&mut SourceFd(&self.socket.as_raw_fd()));
    }

    /// The next connection, or nothing if none waits.
    pub fn accept(&mut self) -> Result<Option<Stream>, AcceptError> {
        let failed = |error: io::Error, is_lost: bool| {
            let otherwise = if is_lost { ErrorKind::Reset } else { ErrorKind::Io };
            AcceptError {
                error: Error::from_io(&format!("accepting on {}", self.address()), &error, otherwise),
                is_lost,
            }
        };
        loop {
            match accept(&self.socket) {
                // The socket is ours, so an error here concerns this connection only.
                Ok(socket) => return self.prepare(socket).map(Some).map_err(|error| failed(error, true)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let is_lost = is_lost(&error);
                    return Err(failed(error, is_lost));
                }
            }
        }
    }
}

impl Listener {
    fn prepare(&self, socket: Socket) -> io::Result<Stream> {
        let domain = self.address.domain();
        if self.is_adopted && domain != Domain::UNIX {
            socket.set_linger(None)?;
        }
        self.options.apply(&socket, domain)?;
        Stream::new(socket, domain, &self.options)
    }
}

/// Non-blocking and closed on exec from the first moment.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn accept(socket: &Socket) -> io::Result<Socket> {
    use std::os::fd::{AsRawFd, FromRawFd};
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let (nobody, no_len) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: nobody asks for the peer's address; the descriptor is open as `socket` is borrowed.
    match unsafe { libc::accept4(socket.as_raw_fd(), nobody, no_len, flags) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: a new descriptor, which nobody else knows.
        accepted => Ok(unsafe { Socket::from_raw_fd(accepted) }),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn accept(socket: &Socket) -> io::Result<Socket> {
    let (accepted, _) = socket.accept()?;
    accepted.set_nonblocking(true)?;
    Ok(accepted)
}

/// Why no connection was accepted.
#[derive(Debug)]
pub struct AcceptError {
    pub error: Error,
    /// It is gone, and the next one can be had at once. Otherwise it still waits, and the next try meets the same error until
    /// the system has room again.
    pub is_lost: bool,
}

/// Whether the connection ended while it was queued; Linux also reports network errors in this way.
fn is_lost(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        const LOST: [i32; 8] = [
            libc::ECONNABORTED,
            libc::EPROTO,
            libc::ENOPROTOOPT,
            libc::EOPNOTSUPP,
            libc::ENETDOWN,
            libc::ENETUNREACH,
            libc::EHOSTDOWN,
            libc::EHOSTUNREACH,
        ];
        error.raw_os_error().is_some_and(|code| LOST.contains(&code))
    }
    #[cfg(not(unix))]
    {
        matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
    }
}
