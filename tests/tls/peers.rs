//! Two peers in memory: a pipe with as little room as a test wants, and the handshake over it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::path::PathBuf;
use std::rc::Rc;

use eventstream_rpc::transport::{
    Error, ErrorKind, HandshakeProgress, TlsConfig, TlsConfigBuilder, TlsErrorKind, TlsRole, TlsSession,
};

use crate::certificates::{Authority, Identity};

#[derive(Default)]
struct Channel {
    bytes: VecDeque<u8>,
    room: usize,
    closed: bool,
}

/// One end of a pipe, which behaves as a non-blocking socket does.
pub struct End {
    incoming: Rc<RefCell<Channel>>,
    outgoing: Rc<RefCell<Channel>>,
}

/// A pipe that holds `room` bytes each way.
pub fn pipe(room: usize) -> (End, End) {
    let channel = || Rc::new(RefCell::new(Channel { room, ..Channel::default() }));
    let (one, other) = (channel(), channel());
    (End { incoming: one.clone(), outgoing: other.clone() }, End { incoming: other, outgoing: one })
}

impl End {
    /// No more bytes come from this end.
    pub fn close(&self) {
        self.outgoing.borrow_mut().closed = true;
    }

    /// From now on this many bytes of this end may wait for the other one.
    pub fn set_room(&self, room: usize) {
        self.outgoing.borrow_mut().room = room;
    }

    /// How many bytes of this end wait for the other one.
    pub fn in_flight(&self) -> usize {
        self.outgoing.borrow().bytes.len()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.close();
    }
}

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut channel = self.incoming.borrow_mut();
        let count = buffer.len().min(channel.bytes.len());
        if count == 0 && !channel.closed && !buffer.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        for (place, byte) in buffer.iter_mut().zip(channel.bytes.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }
}

impl Write for End {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if Rc::strong_count(&self.outgoing) == 1 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut channel = self.outgoing.borrow_mut();
        let count = buffer.len().min(channel.room.saturating_sub(channel.bytes.len()));
        if count == 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        channel.bytes.extend(&buffer[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One side of a connection: the session and its end of the pipe.
pub struct Peer {
    pub session: TlsSession,
    pub end: End,
}

impl Peer {
    pub fn handshake(&mut self) -> Result<HandshakeProgress, Error> {
        self.session.handshake(&mut self.end)
    }

    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.session.read(&mut self.end, buffer)
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.session.write(&mut self.end, &[IoSlice::new(bytes)])
    }

    /// Reads what is there, which must be something.
    pub fn read_some(&mut self) -> Vec<u8> {
        let mut buffer = vec![0; 1024 * 1024];
        let count = self.read(&mut buffer).expect("there is plaintext");
        buffer.truncate(count);
        buffer
    }

    /// What a read fails with.
    pub fn read_error(&mut self) -> Error {
        let error = self.read(&mut [0; 100]).expect_err("there is nothing to read");
        Error::from_io("reading", &error, ErrorKind::Io)
    }
}

pub const ROOMY: usize = 1024 * 1024;
pub const NAME: &str = "server.example";

/// A client that asks for `NAME`, and a server.
pub fn peers(client: &TlsConfig, server: &TlsConfig, room: usize) -> (Peer, Peer) {
    peers_for(client, NAME, server, room)
}

pub fn peers_for(client: &TlsConfig, name: &str, server: &TlsConfig, room: usize) -> (Peer, Peer) {
    let (client_end, server_end) = pipe(room);
    let client = TlsSession::client(client, name).expect("a client's session");
    let server = TlsSession::server(server).expect("a server's session");
    (Peer { session: client, end: client_end }, Peer { session: server, end: server_end })
}

/// Continues both handshakes until each is done or has failed; a side that failed closes.
pub fn shake(client: &mut Peer, server: &mut Peer) -> (Result<(), Error>, Result<(), Error>) {
    let mut outcomes = [None, None];
    for _ in 0..100_000 {
        for (peer, outcome) in [&mut *client, &mut *server].into_iter().zip(&mut outcomes) {
            if outcome.is_none() {
                *outcome = match peer.handshake() {
                    Ok(HandshakeProgress::Pending) => None,
                    Ok(HandshakeProgress::Done) => Some(Ok(())),
                    Err(error) => {
                        peer.end.close();
                        Some(Err(error))
                    }
                };
            }
            if let Some(Ok(())) = outcome {
                // What is left of it would leave with the first data; a pipe with little room takes it in parts.
                let _ = peer.session.flush(&mut peer.end);
            }
        }
        if let [Some(client), Some(server)] = &outcomes {
            return (client.clone(), server.clone());
        }
    }
    panic!("the handshake hangs: {outcomes:?}");
}

/// Two peers after a successful handshake.
pub fn connected(client: &TlsConfig, server: &TlsConfig, room: usize) -> (Peer, Peer) {
    let (mut client, mut server) = peers(client, server, room);
    assert_eq!(shake(&mut client, &mut server), (Ok(()), Ok(())));
    (client, server)
}

/// The client's settings: trusts `authority`, and what `change` does.
pub fn client_config(authority: &Authority, change: impl FnOnce(&mut TlsConfigBuilder)) -> TlsConfig {
    let mut builder = TlsConfigBuilder::new(TlsRole::Client);
    builder.add_ca(authority.pem.as_bytes()).expect("a CA");
    change(&mut builder);
    builder.build().expect("settings")
}

/// The server's settings: shows `identity`, and what `change` does.
pub fn server_config(identity: &Identity, change: impl FnOnce(&mut TlsConfigBuilder)) -> TlsConfig {
    let mut builder = TlsConfigBuilder::new(TlsRole::Server);
    builder.set_certificate(identity.certificate.as_bytes(), identity.key.as_bytes()).expect("a certificate");
    change(&mut builder);
    builder.build().expect("settings")
}

/// Settings of both sides that fit together.
pub fn fitting_configs() -> (TlsConfig, TlsConfig) {
    let authority = Authority::new("test CA");
    (client_config(&authority, |_| {}), server_config(&authority.server(&[NAME]), |_| {}))
}

pub fn kind(kind: TlsErrorKind) -> ErrorKind {
    ErrorKind::Tls(kind)
}

#[track_caller]
pub fn assert_fails<T>(result: Result<T, Error>, expected: TlsErrorKind, sentence: &str) {
    match result {
        Ok(_) => panic!("it goes well, but was to fail with {expected:?}"),
        Err(error) => {
            assert_eq!(error.kind, kind(expected), "{error}");
            assert!(error.to_string().contains(sentence), "{error:?} does not say {sentence:?}");
        }
    }
}

/// An empty folder for one test.
pub fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tls").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}
