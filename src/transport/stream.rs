use std::io::{self, IoSlice, Read, Write};

use mio::{Registry, Token};
use socket2::{Domain, Socket};

use super::address::Address;
use super::adopted::take_socket;
use super::endpoint::AddressText;
use super::peer_credentials::PeerCredentials;
use super::plain::PlainStream;
use super::socket::{Readiness, SocketUse, begin_connect, connect_error, new_socket};
use super::system::{self, LocalStream, RawSocket};
use crate::transport::{Error, ErrorKind, HandshakeProgress, SocketOptions, TlsInfo, TlsSession};

/// A non-blocking byte stream between two processes, plain until TLS is started on it. Dropping it ends the connection also
/// for duplicates of the socket in other processes.
pub struct Stream {
    plain: PlainStream,
    tls: Option<Box<TlsSession>>,
    /// Small messages are to wait for the acknowledgement of earlier ones (Nagle's algorithm), once `allow_delay` is called.
    delays: bool,
}

impl Stream {
    /// Begins to connect; the socket becomes writable when that is over.
    pub fn dial(address: &Address, options: &SocketOptions) -> Result<Stream, Error> {
        let plain = match address {
            Address::Ip(address) => {
                let failed = |error: io::Error| connect_error(&error);
                let socket = new_socket(Domain::for_address(*address)).map_err(failed)?;
                // Before connecting, because the receive buffer decides which window the peer is offered.
                options.apply_to_tcp(&socket).map_err(failed)?;
                options.bind_interface(&socket)?;
                if let Some(local) = options.local_address {
                    let action = format!("binding to the local address {local}");
                    let failed = |error: io::Error| Error::from_io(&action, &error, ErrorKind::Io);
                    socket.bind(&local.into()).map_err(failed)?;
                }
                begin_connect(&socket, &(*address).into())?;
                PlainStream::tcp(socket)
            }
            Address::Local(address) => PlainStream::Local(LocalStream::dial(address, options)?),
        };
        Ok(Stream::new(plain, options))
    }

    /// Whether the dial is over, and how.
    pub fn finish_dial(&self) -> Result<Readiness, Error> {
        self.plain.finish_dial()
    }

    /// Takes over a connected socket from the application, which keeps it if that fails.
    pub fn adopt(raw: RawSocket, options: &SocketOptions) -> Result<Stream, Error> {
        let prepare = |socket: &Socket, domain| options.apply(socket, domain);
        let (socket, address) = take_socket(raw, SocketUse::Connection, prepare)?;
        let plain = match address.domain() {
            Domain::UNIX => PlainStream::Local(LocalStream::new(socket)),
            _ => PlainStream::tcp(socket),
        };
        Ok(Stream::new(plain, options))
    }

    pub(super) fn new(plain: PlainStream, options: &SocketOptions) -> Stream {
        let delays = !options.no_delay;
        Stream { plain, tls: None, delays }
    }

    /// The handshakes are done; from here on small messages may be delayed (Nagle's algorithm), if that was asked for.
    pub fn allow_delay(&mut self) {
        if std::mem::take(&mut self.delays) {
            self.plain.allow_delay();
        }
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(self.plain.source(), token, system::INTEREST)
    }

    pub fn deregister(&mut self, registry: &Registry) {
        // Closing the socket takes it out of the poll as well, so an error changes nothing.
        let _ = registry.deregister(self.plain.source());
    }

    /// Puts TLS on top of the connected socket; `handshake` is next.
    pub fn start_tls(&mut self, session: TlsSession) {
        self.tls = Some(Box::new(session));
    }

    /// Continues the TLS handshake as far as possible; done at once without TLS. When it is done there may be input that no event
    /// announces, so read at once; and TLS may want a flush, which a write does too.
    pub fn handshake(&mut self) -> Result<HandshakeProgress, Error> {
        if self.plain.identify_peer() == Readiness::Pending {
            return Ok(HandshakeProgress::Pending);
        }
        match &mut self.tls {
            Some(tls) => tls.handshake(&mut self.plain),
            None => Ok(HandshakeProgress::Done),
        }
    }

    /// Whether `handshake` waits for the peer's first bytes, also without TLS.
    pub fn begins_with_peer(&mut self) -> bool {
        self.plain.identify_peer() == Readiness::Pending
    }

    /// The poll has reported room for more.
    #[inline]
    pub fn note_room(&mut self) {
        self.plain.note_room();
    }

    /// What the TLS handshake agreed on; nothing before it is done or without TLS.
    pub fn tls_info(&self) -> Option<TlsInfo> {
        self.tls.as_ref()?.info()
    }

    /// Whether a last read that filled only a part of its buffer means that the socket is empty now. It does not after urgent data,
    /// which the poll reports; then only WouldBlock means that.
    pub fn short_read_ends_input(&self) -> bool {
        self.plain.short_read_ends_input() && self.tls.as_ref().is_none_or(|tls| tls.is_drained())
    }

    /// Whether there may be more to read although the last read returned WouldBlock: it stopped so that others get their turn.
    pub fn is_cut_off(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_cut_off())
    }

    /// Bytes that came over the wire since the last call; the last read turned them into `count` bytes of data.
    pub fn take_wire_len(&mut self, count: usize) -> usize {
        self.tls.as_mut().map_or(count, |tls| tls.take_wire_len())
    }

    /// Whether a write that takes only a part of its bytes means that the socket is full now. With TLS it does not: only WouldBlock
    /// means that.
    pub fn short_write_ends_room(&self) -> bool {
        self.tls.is_none() && system::SHORT_WRITE_ENDS_ROOM
    }

    /// 0 at the peer's end; with TLS only if the peer ended its session in order.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.read(&mut self.plain, buffer),
            None => self.plain.read(buffer),
        }
    }

    /// Appends at most `room` bytes to `bytes`, whose memory is not cleared first.
    pub fn read_more(&mut self, bytes: &mut Vec<u8>, room: usize) -> io::Result<usize> {
        bytes.reserve(room);
        if let Some(tls) = &mut self.tls {
            return tls.read_more(&mut self.plain, bytes, room);
        }
        self.plain.read_more(bytes, room)
    }

    /// Writes without ever raising SIGPIPE. With TLS the next write must begin with the bytes after those that were taken, the
    /// same ones after WouldBlock.
    pub fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.write(&mut self.plain, buffers),
            None => self.plain.write_vectored(buffers),
        }
    }

    /// Whether TLS has something of its own to write, for which `flush` is to be called when the socket is writable.
    pub fn wants_flush(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_flush())
    }

    /// Bytes of memory in which TLS keeps what is cut, or waits to be read or written.
    pub fn kept_len(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.kept_len())
    }

    /// Writes what TLS has of its own; WouldBlock if some of it is left.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.flush(&mut self.plain),
            None => Ok(()),
        }
    }

    /// Ends the TLS session in order, before `shutdown_write`. True once that and all before it is written, or cannot be.
    pub fn close_notify(&mut self) -> bool {
        let has_ended = match &mut self.tls {
            Some(tls) => tls.close_notify(&mut self.plain),
            None => true,
        };
        has_ended && self.plain.is_written()
    }

    /// Ends a stream whose TLS handshake has failed, so that the peer gets the alert: writes the rest of it, ends our side, and
    /// drops some of what the peer still sends. Returns what `read` would; after 0 or an error other than WouldBlock it can be
    /// closed.
    pub fn drain(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(tls) = &mut self.tls
            && !tls.flush(&mut self.plain).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        {
            self.tls = None;
            self.shutdown_write();
        }
        self.plain.read(buffer)
    }

    /// Ends the outgoing side of the connection.
    pub fn shutdown_write(&self) {
        self.plain.shutdown_write();
    }

    /// Ends the connection for both sides at once, whoever else has the socket.
    pub fn shut_down(&self) {
        self.plain.shut_down();
    }

    /// Whether closing now could lose bytes: some that arrived are unread (the peer's system would throw away ours), or,
    /// on TCP, some that were written are unacknowledged.
    pub fn has_unfinished_bytes(&self) -> bool {
        self.plain.has_unfinished_bytes()
    }

    pub fn local_address(&self) -> AddressText {
        self.plain.local_address()
    }

    pub fn remote_address(&self) -> AddressText {
        self.plain.remote_address()
    }

    /// `None` on TCP connections, and where the system does not say.
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        self.plain.peer_credentials()
    }
}
