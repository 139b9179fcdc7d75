use std::io;

use mio::{Registry, Token};
use socket2::{Domain, Socket};

use super::endpoint::address_text;
use super::local_options::LocalOptions;
use super::plain::PlainStream;
use super::socket::new_socket;
use super::socket_listener::{BACKLOG, ListeningSocket, SocketListener};
use super::system::{self, LocalListener};
use crate::transport::{Address, Endpoint, Error, ErrorKind, RawSocket, SocketOptions, Stream};

/// Takes connections. Dropping it removes the socket file it made, and closes it.
pub struct Listener {
    kind: Kind,
    /// For the connections.
    options: SocketOptions,
    /// Other processes have the socket too, and connections would inherit what they set on it.
    is_adopted: bool,
}

enum Kind {
    Tcp(SocketListener),
    Local(LocalListener),
}

/// Why no connection was accepted.
#[derive(Debug)]
pub struct AcceptError {
    pub error: Error,
    /// It is gone, and the next one can be had at once. Otherwise it still waits, and the next try meets the same error until
    /// the system has room again.
    pub is_lost: bool,
}

impl Listener {
    /// Binds and listens, or takes over the application's listening socket, which after an error keeps it.
    pub fn bind(endpoint: &Endpoint, local: &LocalOptions, options: &SocketOptions) -> Result<Listener, Error> {
        if let Endpoint::Socket(raw) = endpoint {
            return Listener::adopt(*raw, options);
        }
        let failed = |error: io::Error| {
            let failed = Error::from_io(&format!("cannot listen on {endpoint}"), &error, ErrorKind::Io);
            // A sentence of our own says what to do itself.
            let advice = error.raw_os_error().map_or("", |_| endpoint.advice_to_server(failed.kind));
            let sentence = format!("{failed}{advice}");
            failed.with_sentence(sentence)
        };
        let kind = match endpoint.address()? {
            Address::Ip(address) => {
                let socket = new_socket(Domain::for_address(address)).map_err(failed)?;
                options.bind_interface(&socket)?;
                system::prepare_listening(&socket).map_err(failed)?;
                socket.bind(&address.into()).map_err(failed)?;
                socket.listen(BACKLOG).map_err(failed)?;
                Kind::Tcp(SocketListener::new(socket).map_err(failed)?)
            }
            Address::Local(address) => Kind::Local(LocalListener::bind(&address, local).map_err(failed)?),
        };
        Ok(Listener { kind, options: options.clone(), is_adopted: false })
    }

    fn adopt(raw: RawSocket, options: &SocketOptions) -> Result<Listener, Error> {
        let socket = SocketListener::adopt(raw)?;
        let kind = match socket.address().domain() {
            Domain::UNIX => Kind::Local(LocalListener::adopted(socket)),
            _ => Kind::Tcp(socket),
        };
        Ok(Listener { kind, options: options.clone(), is_adopted: true })
    }

    pub fn shared_socket(&self) -> ListeningSocket {
        match &self.kind {
            Kind::Tcp(socket) => socket.share(),
            Kind::Local(local) => local.share(),
        }
    }

    pub fn address(&self) -> String {
        match &self.kind {
            Kind::Tcp(socket) => address_text(socket.address()),
            Kind::Local(local) => local.address(),
        }
    }

    /// 0 for local ones.
    pub fn port(&self) -> u16 {
        match &self.kind {
            Kind::Tcp(socket) => socket.address().as_socket().map_or(0, |address| address.port()),
            Kind::Local(_) => 0,
        }
    }

    /// Whether what it accepts can be watched only by those who watch the listener.
    pub fn binds_connections_to_its_poll(&self) -> bool {
        matches!(self.kind, Kind::Local(_)) && system::LOCAL_STREAMS_STAY_WITH_THEIR_POLL
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.kind {
            Kind::Tcp(socket) => socket.register(registry, token),
            Kind::Local(local) => local.register(registry, token),
        }
    }

    pub fn deregister(&mut self, registry: &Registry) {
        // Closing it takes it out of the poll as well.
        let _ = match &mut self.kind {
            Kind::Tcp(socket) => socket.deregister(registry),
            Kind::Local(local) => local.deregister(registry),
        };
    }

    /// The next connection, or nothing if none waits.
    pub fn accept(&mut self) -> Result<Option<Stream>, AcceptError> {
        let accepted = match &mut self.kind {
            Kind::Tcp(socket) => socket.accept().map(|socket| self.prepare(socket)),
            Kind::Local(local) => local.accept(&self.options).map(|accepted| accepted.map(PlainStream::Local)),
        };
        let failed = |error: io::Error, is_lost: bool| {
            let otherwise = if is_lost { ErrorKind::Reset } else { ErrorKind::Io };
            let action = format!("accepting on {}", self.address());
            AcceptError { error: Error::from_io(&action, &error, otherwise), is_lost }
        };
        match accepted {
            Ok(Ok(plain)) => Ok(Some(Stream::new(plain, &self.options))),
            // The listener is sound, so an error here concerns this connection only.
            Ok(Err(error)) => Err(failed(error, true)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => {
                let is_lost = system::is_lost(&error);
                Err(failed(error, is_lost))
            }
        }
    }

    fn prepare(&self, socket: Socket) -> io::Result<PlainStream> {
        if self.is_adopted {
            socket.set_linger(None)?;
        }
        self.options.apply_to_tcp(&socket)?;
        Ok(PlainStream::tcp(socket))
    }
}
