//! Peers without the library: bare sockets, and bare TLS sessions, which do what ours would not.

use crate::certificates::{Authority, Identity};
use crate::recorder::PATIENCE;
use crate::settings::NAME;
use eventstream_rpc::codec::{self, HeaderValue};
use eventstream_rpc::transport::{HandshakeProgress, TlsConfigBuilder, TlsRole, TlsSession, TlsVersion};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

/// A bare listening socket.
pub struct Door(TcpListener);

impl Door {
    pub fn open() -> Door {
        Door(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("an address").port()
    }

    pub fn accept(&self) -> TcpStream {
        patient(self.0.accept().expect("a connection").0)
    }
}

pub fn dial(port: u16) -> TcpStream {
    patient(TcpStream::connect(("127.0.0.1", port)).expect("a connection"))
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
    stream
}

/// A socket that keeps what is written until something is read, or until it is flushed: all of it leaves in one segment.
struct Corked {
    stream: TcpStream,
    waiting: Vec<u8>,
}

impl Read for Corked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.flush()?;
        self.stream.read(buffer)
    }
}

impl Write for Corked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&std::mem::take(&mut self.waiting))
    }
}

/// A TLS session over a blocking socket.
pub struct RawTls {
    session: TlsSession,
    io: Corked,
}

impl RawTls {
    pub fn client(stream: TcpStream, authority: &Authority, version: TlsVersion) -> RawTls {
        let mut builder = TlsConfigBuilder::new(TlsRole::Client);
        builder.add_ca(authority.pem.as_bytes()).expect("a CA");
        builder.set_versions(version, version);
        let session = TlsSession::client(&builder.build().expect("settings"), NAME).expect("a session");
        RawTls::shake_hands(session, stream)
    }

    pub fn server(stream: TcpStream, identity: &Identity, version: TlsVersion) -> RawTls {
        let mut builder = TlsConfigBuilder::new(TlsRole::Server);
        builder.set_certificate(identity.certificate.as_bytes(), identity.key.as_bytes()).expect("a certificate");
        builder.set_versions(version, version);
        let session = TlsSession::server(&builder.build().expect("settings")).expect("a session");
        RawTls::shake_hands(session, stream)
    }

    /// The last bytes of the handshake wait for `flush` or a read.
    fn shake_hands(mut session: TlsSession, stream: TcpStream) -> RawTls {
        let mut io = Corked { stream, waiting: Vec::new() };
        assert_eq!(session.handshake(&mut io).expect("a handshake"), HandshakeProgress::Done);
        RawTls { session, io }
    }

    /// Waits for `flush` or a read as well.
    pub fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = self.session.write(&mut self.io, &[IoSlice::new(rest)]).expect("the cork holds everything");
            rest = &rest[count..];
        }
    }

    pub fn flush(&mut self) {
        self.io.flush().expect("the peer takes it");
    }

    /// Exactly this many bytes.
    pub fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut have = 0;
        while have < count {
            match self.session.read(&mut self.io, &mut bytes[have..]).expect("the peer sends more") {
                0 => panic!("the peer ended after {have} of {count} bytes"),
                more => have += more,
            }
        }
        bytes
    }

    /// One message, as it is.
    pub fn read_message(&mut self) -> Vec<u8> {
        let mut message = self.read(4);
        let length = u32::from_be_bytes([message[0], message[1], message[2], message[3]]);
        message.extend(self.read(length as usize - 4));
        message
    }

    /// What a read at the end returns.
    pub fn read_end(&mut self) -> io::Result<usize> {
        self.session.read(&mut self.io, &mut [0])
    }

    /// Ends this side of the session in order; the other side goes on.
    pub fn end_sending(&mut self) {
        assert!(self.session.close_notify(&mut self.io));
        self.flush();
    }

    /// Ends the session in order.
    pub fn end(mut self) {
        self.end_sending();
        let _ = self.io.stream.shutdown(Shutdown::Write);
        // A socket that is closed with input unread is reset.
        let _ = io::copy(&mut self.io.stream, &mut io::sink());
    }

    /// Ends this side of the socket without an alert of TLS; the other side goes on.
    pub fn cut_sending(&mut self) {
        self.flush();
        let _ = self.io.stream.shutdown(Shutdown::Write);
    }

    /// Cuts the connection: an end of the socket that TLS does not announce.
    pub fn cut(mut self) {
        self.cut_sending();
        let _ = io::copy(&mut self.io.stream, &mut io::sink());
    }
}

pub fn message(message_type: i32, flags: i32, stream_id: i32, strings: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in strings {
        codec::write_header(name.as_bytes(), HeaderValue::String(value.as_bytes()), &mut headers);
    }
    for (name, value) in [(":message-type", message_type), (":message-flags", flags), (":stream-id", stream_id)] {
        codec::write_header(name.as_bytes(), HeaderValue::Int32(value), &mut headers);
    }
    let mut message = Vec::new();
    codec::encode_into(&[&headers], payload, &mut message);
    message
}
