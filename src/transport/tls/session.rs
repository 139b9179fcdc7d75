//! One TLS session over a non-blocking byte stream.

use std::io::{self, BufRead, IoSlice, Read, Write};
use std::net::Ipv6Addr;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection, HandshakeKind, ProtocolVersion, ServerConnection};

use super::error::{Stage, as_io, from_rustls};
use super::{TlsConfig, TlsErrorKind, TlsRole};
use crate::transport::{Error, ErrorKind};

/// Plaintext that one write takes at most: sixteen full records.
const WRITE_STEP: usize = 256 * 1024;
const SLICES_PER_WRITE: usize = 16;
/// Plaintext of a full record.
const FULL_RECORD: usize = 16 * 1024;
/// More than a full record takes on the wire, so that what TLS writes of its own between records is not taken for one.
const FULL_RECORD_WRITTEN: usize = FULL_RECORD + 256;
/// No honest peer sends so many bytes of records in a row that hold no data, and they must not keep a loop busy.
const MAX_BYTES_WITHOUT_DATA: usize = 1024 * 1024;

/// Whether a handshake is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeProgress {
    Done,
    Pending,
}

/// What the handshake agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// "TLSv1.2" or "TLSv1.3".
    pub version: &'static str,
    /// The name in IANA's list, such as "TLS_AES_256_GCM_SHA384".
    pub cipher_suite: String,
    /// The application protocol, if both sides spoke of one.
    pub alpn: Option<Vec<u8>>,
    /// The peer's chain, DER, its own certificate first; empty if it showed none.
    pub peer_certificates: Vec<Vec<u8>>,
    /// Such as "X25519MLKEM768"; nothing in a resumed session of TLS 1.2.
    pub key_exchange_group: Option<String>,
    /// An earlier session was taken up again.
    pub resumed: bool,
}

/// The TLS state of one connection. Every call does what it can without waiting.
pub struct TlsSession {
    connection: Connection,
    role: TlsRole,
    /// Why nothing more can come, nor, but for a cut, go; plaintext that was decrypted before is still read first.
    failure: Option<Error>,
    /// Plaintext whose records are not all written yet: a repeated write answers for these bytes.
    in_records: usize,
    /// How many bytes of these records the system has taken, less those of records that were answered for; nothing if
    /// records of TLS's own lie before them.
    written: Option<usize>,
    bytes_without_data: usize,
    /// The last read took all that the socket had.
    drained: bool,
}

/// The socket as rustls reads from it, which does not tell how much it asked for.
struct Source<'a, T> {
    io: &'a mut T,
    drained: bool,
}

/// A source that has nothing yet.
struct NothingNow;

impl Read for NothingNow {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl<T: Read> Read for Source<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.io.read(buffer);
        self.drained = match &result {
            Ok(count) => *count < buffer.len() && cfg!(unix),
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        result
    }
}

impl TlsSession {
    /// A client's session with the server `server_name`: a host name or an address, which its certificate must have.
    pub fn client(config: &TlsConfig, server_name: &str) -> Result<TlsSession, Error> {
        let config = config.client()?;
        let connection =
            ClientConnection::new(config, parse_server_name(server_name)?).map_err(|error| no_session(&error))?;
        Ok(TlsSession::new(connection.into(), TlsRole::Client))
    }

    /// A server's session.
    pub fn server(config: &TlsConfig) -> Result<TlsSession, Error> {
        let connection = ServerConnection::new(config.server()?).map_err(|error| no_session(&error))?;
        Ok(TlsSession::new(connection.into(), TlsRole::Server))
    }

    fn new(mut connection: Connection, role: TlsRole) -> TlsSession {
        // `write` sets the limit itself, and needs to know that all it gave was taken.
        connection.set_buffer_limit(None);
        TlsSession {
            connection,
            role,
            failure: None,
            in_records: 0,
            written: None,
            bytes_without_data: 0,
            drained: false,
        }
    }

    /// Goes on with the handshake as far as possible now. When it is done, plaintext may be here already: read at once; and
    /// the last records of it may wait to leave with the first data, or by `flush`. A failure was told to the peer, as far
    /// as it takes it.
    pub fn handshake(&mut self, io: &mut (impl Read + Write)) -> Result<HandshakeProgress, Error> {
        loop {
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            if self.may_send_data() {
                return Ok(HandshakeProgress::Done);
            }
            if let Err(error) = self.write_records(io)
                && error.kind() != io::ErrorKind::WouldBlock
            {
                return Err(self.write_failed(io, &error));
            }
            if !self.connection.is_handshaking() {
                let is_done = !self.connection.wants_write();
                return Ok(if is_done { HandshakeProgress::Done } else { HandshakeProgress::Pending });
            }
            match self.read_records(io) {
                Ok(0) => {
                    let sentence = "the peer closed the connection during the TLS handshake";
                    return Err(self.fail(Error::new(ErrorKind::Tls(TlsErrorKind::PeerClosed), sentence)));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(HandshakeProgress::Pending),
                Err(error) => {
                    let error =
                        Error::from_io("the TLS handshake failed: reading from the peer", &error, ErrorKind::Io);
                    return Err(self.fail(error));
                }
            }
        }
    }

    /// Whether this side has all of the handshake, and what it still has to write of it may have data in the same segment:
    /// a client's last words, or tickets of a server of TLS 1.3. A client of TLS 1.2 waits for the server's last words.
    fn may_send_data(&self) -> bool {
        !self.connection.is_handshaking()
            && (self.role == TlsRole::Client || self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3))
    }

    /// Nothing can be written any more; why is often in an alert that the peer sent before it went away.
    fn write_failed(&mut self, io: &mut (impl Read + Write), error: &io::Error) -> Error {
        while self.failure.is_none() && matches!(self.read_records(io), Ok(count) if count > 0) {}
        match &self.failure {
            Some(alert) => alert.clone(),
            None => self.fail(Error::from_io("the TLS handshake failed: writing to the peer", error, ErrorKind::Io)),
        }
    }

    /// Reads plaintext, as much as there is room for. 0: the peer ended the session in order. WouldBlock: nothing is there
    /// now. Other errors carry a transport error, which `Error::from_io` gets out.
    pub fn read(&mut self, io: &mut (impl Read + Write), buffer: &mut [u8]) -> io::Result<usize> {
        let mut room = &mut *buffer;
        // It never gives more than it is asked for.
        self.read_up_to(io, room.len(), |plaintext| room.write_all(plaintext).unwrap_or_default())
    }

    /// As `read`, to the end of `bytes`, whose memory is not cleared before.
    pub fn read_more(&mut self, io: &mut (impl Read + Write), bytes: &mut Vec<u8>, room: usize) -> io::Result<usize> {
        self.read_up_to(io, room, |plaintext| bytes.extend_from_slice(plaintext))
    }

    /// Gives at most `room` bytes of plaintext to `take`, in pieces, and answers how many they are.
    fn read_up_to(
        &mut self,
        io: &mut (impl Read + Write),
        room: usize,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<usize> {
        let mut filled = 0;
        // Something may have come since.
        self.drained = false;
        while filled < room {
            let mut reader = self.connection.reader();
            match reader.fill_buf() {
                Ok([]) => {
                    self.drained = false;
                    break;
                }
                Ok(plaintext) => {
                    let count = plaintext.len().min(room - filled);
                    take(&plaintext[..count]);
                    reader.consume(count);
                    filled += count;
                    self.bytes_without_data = 0;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    if self.failure.is_none() {
                        self.fail(cut_short(&error));
                    }
                }
            }
            if self.failure.is_none() {
                if filled > 0 && self.drained {
                    // rustls lets the memory of large records go when it is about to read again.
                    let _ = self.connection.read_tls(&mut NothingNow);
                    break;
                }
                match self.read_records(io) {
                    Ok(_) => continue,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return if filled > 0 { Ok(filled) } else { Err(error) };
                    }
                    Err(error) => self.fail(read_failed("reading from the peer", &error)),
                };
            }
            // What is there already is answered first; the reason comes with the next call.
            self.drained = false;
            match &self.failure {
                Some(failure) if filled == 0 => return Err(as_io(failure)),
                _ => break,
            }
        }
        Ok(filled)
    }

    /// Whether the last read, if it filled only a part of its buffer, took all that was there, so that the next one is of use
    /// after an event alone. Not so if the end of the session, or a failure, is still to be told.
    pub fn is_drained(&self) -> bool {
        self.drained
    }

    /// Writes plaintext, at most 256 KiB at once, and answers how much of it the system has taken, as records, to the last
    /// byte. WouldBlock while not even one more record is taken. The next call must begin with the bytes after these.
    pub fn write(&mut self, io: &mut (impl Read + Write), buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        // After a cut the peer may still read.
        if let Some(failure) = &self.failure
            && failure.kind != ErrorKind::Tls(TlsErrorKind::Truncated)
        {
            return Err(as_io(failure));
        }
        if self.in_records == 0 {
            self.written = if self.connection.wants_write() { None } else { Some(0) };
            let mut step = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let used = take_step(buffers, &mut step);
            let step = step.get(..used).unwrap_or_default();
            self.in_records = self.connection.writer().write_vectored(step).map_err(|error| self.unwrap(error))?;
        }
        let count = match self.write_records(io) {
            Ok(()) => self.in_records,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match self.take_full_records() {
                0 => return Err(error),
                count => count,
            },
            Err(error) => return Err(error),
        };
        self.in_records -= count;
        Ok(count)
    }

    /// Plaintext of the records that have left although others still wait: a slow peer is to be seen taking some of it.
    fn take_full_records(&mut self) -> usize {
        let Some(written) = &mut self.written else { return 0 };
        let records = *written / FULL_RECORD_WRITTEN;
        *written -= records * FULL_RECORD_WRITTEN;
        self.in_records.min(records * FULL_RECORD)
    }

    /// Whether records wait to be written, of `write` or of TLS itself (tickets after the handshake, answers to a change of
    /// keys): `flush` is to be called when the socket takes bytes again.
    pub fn wants_flush(&self) -> bool {
        self.connection.wants_write()
    }

    /// Writes the records that wait; WouldBlock if some are left.
    pub fn flush(&mut self, io: &mut (impl Read + Write)) -> io::Result<()> {
        self.write_records(io)
    }

    /// Tells the peer that nothing more comes. True once that is written, or cannot be.
    pub fn close_notify(&mut self, io: &mut (impl Read + Write)) -> bool {
        self.connection.send_close_notify();
        !matches!(self.write_records(io), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// What the handshake agreed on; nothing before it is done.
    pub fn info(&self) -> Option<TlsInfo> {
        let connection = &self.connection;
        if connection.is_handshaking() {
            return None;
        }
        let suite = connection.negotiated_cipher_suite()?;
        let version = match connection.protocol_version()? {
            ProtocolVersion::TLSv1_2 => "TLSv1.2",
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => "unknown",
        };
        let name = format!("{:?}", suite.suite());
        let certificates = connection.peer_certificates().unwrap_or_default();
        Some(TlsInfo {
            version,
            // rustls writes the version into the names of those of TLS 1.3; IANA does not.
            cipher_suite: name.strip_prefix("TLS13_").map(|rest| format!("TLS_{rest}")).unwrap_or(name),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            peer_certificates: certificates.iter().map(|der| der.to_vec()).collect(),
            key_exchange_group: connection.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name())),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        })
    }

    /// One read of records, with what follows from it. 0 at the end of input, which the reader then tells apart.
    fn read_records(&mut self, io: &mut (impl Read + Write)) -> io::Result<usize> {
        let mut source = Source { io, drained: false };
        let result = loop {
            match self.connection.read_tls(&mut source) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.drained = source.drained;
        let count = result?;
        let stage = self.stage();
        if let Err(error) = self.connection.process_new_packets() {
            self.fail(from_rustls(&error, self.role, stage));
        }
        self.bytes_without_data = self.bytes_without_data.saturating_add(count);
        if stage == Stage::Established && self.bytes_without_data > MAX_BYTES_WITHOUT_DATA {
            let sentence = format!("the peer sent {MAX_BYTES_WITHOUT_DATA} bytes of TLS records without data in them");
            self.fail(Error::new(ErrorKind::Tls(TlsErrorKind::HandshakeFailed), sentence));
        }
        // An alert, or an answer to the peer: if it cannot be written now it waits, and a broken socket is told by the
        // next read or write.
        if self.failure.is_some() || stage == Stage::Established {
            let _ = self.write_records(io);
        }
        Ok(count)
    }

    fn write_records(&mut self, io: &mut (impl Read + Write)) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(io) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written = self.written.map(|written| written + count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn stage(&self) -> Stage {
        if self.connection.is_handshaking() { Stage::Handshake } else { Stage::Established }
    }

    /// Remembers the first failure.
    fn fail(&mut self, failure: Error) -> Error {
        self.failure.get_or_insert(failure).clone()
    }

    /// The error of rustls inside an I/O error.
    fn unwrap(&self, error: io::Error) -> io::Error {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(inner) => as_io(&from_rustls(inner, self.role, self.stage())),
            None => error,
        }
    }
}

/// Puts the first `WRITE_STEP` bytes of `buffers`, or fewer if they are in many pieces, into `step`; answers in how many.
fn take_step<'a>(buffers: &'a [IoSlice<'_>], step: &mut [IoSlice<'a>]) -> usize {
    let mut left = WRITE_STEP;
    let mut used = 0;
    for (buffer, place) in buffers.iter().filter(|buffer| !buffer.is_empty()).zip(step) {
        let take = buffer.len().min(left);
        if take == 0 {
            break;
        }
        *place = IoSlice::new(buffer.get(..take).unwrap_or_default());
        left -= take;
        used += 1;
    }
    used
}

fn cut_short(error: &io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        let sentence = "the connection ended without the end of the TLS session (close_notify): data may be missing";
        return Error::new(ErrorKind::Tls(TlsErrorKind::Truncated), sentence);
    }
    Error::from_io("reading from the TLS session", error, ErrorKind::Io)
}

/// Sockets do not answer InvalidData; rustls does, when messages of the handshake's kind grow beyond what it keeps.
fn read_failed(action: &str, error: &io::Error) -> Error {
    if error.kind() == io::ErrorKind::InvalidData {
        let sentence = format!("{action}: what it sent is too long for TLS messages ({error})");
        return Error::new(ErrorKind::Tls(TlsErrorKind::HandshakeFailed), sentence);
    }
    Error::from_io(action, error, ErrorKind::Io)
}

fn no_session(error: &rustls::Error) -> Error {
    Error::new(ErrorKind::Tls(TlsErrorKind::Config), format!("no TLS session can be made: {error}"))
}

/// Whether a certificate can be for this name.
pub fn check_server_name(text: &str) -> Result<(), Error> {
    parse_server_name(text).map(drop)
}

/// What certificates can name. Brackets and the scope of an IPv6 address belong to the address of a socket, not to a name.
fn parse_server_name(text: &str) -> Result<ServerName<'static>, Error> {
    if text.is_empty() {
        let sentence = "a TLS client needs the name of the server, which its certificate must have";
        return Err(Error::new(ErrorKind::Tls(TlsErrorKind::ServerNameRequired), sentence));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.split_once('%').map_or(bare, |(address, _scope)| address);
    if let Ok(address) = address.parse::<Ipv6Addr>() {
        return Ok(ServerName::from(std::net::IpAddr::V6(address)));
    }
    ServerName::try_from(text.to_owned()).map_err(|_| {
        let sentence = format!("{text:?} cannot be the name of a TLS server: it is neither a host name nor an address");
        Error::new(ErrorKind::AddressInvalid, sentence)
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::transport::TlsConfigBuilder;
    use std::os::unix::net::UnixStream;

    #[test]
    fn records_without_data_are_endured_up_to_a_limit() {
        let made = rcgen::generate_simple_self_signed(["server.example".to_owned()]).expect("a certificate");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let mut builder = TlsConfigBuilder::new(TlsRole::Server);
        builder.set_certificate(certificate.as_bytes(), key.as_bytes()).expect("a certificate");
        let mut server = TlsSession::server(&builder.build().expect("settings")).expect("a session");
        let mut builder = TlsConfigBuilder::new(TlsRole::Client);
        builder.add_ca(certificate.as_bytes()).expect("a CA");
        let mut client = TlsSession::client(&builder.build().expect("settings"), "server.example").expect("a session");

        let (mut client_end, mut server_end) = UnixStream::pair().expect("two sockets");
        client_end.set_nonblocking(true).expect("a socket");
        server_end.set_nonblocking(true).expect("a socket");
        while client.handshake(&mut client_end) == Ok(HandshakeProgress::Pending) {
            server.handshake(&mut server_end).expect("a handshake");
        }
        client.flush(&mut client_end).expect("there is room");
        assert_eq!(server.handshake(&mut server_end), Ok(HandshakeProgress::Done));
        server.flush(&mut server_end).expect("there is room");
        // Two tickets wait, of some hundred bytes.
        client.bytes_without_data = MAX_BYTES_WITHOUT_DATA - 10;
        let error = client.read(&mut client_end, &mut [0; 10]).expect_err("too many");
        let error = Error::from_io("", &error, ErrorKind::Io);
        assert_eq!(error.kind, ErrorKind::Tls(TlsErrorKind::HandshakeFailed), "{error}");
        assert!(error.to_string().contains("without data"), "{error}");

        // Data makes up for them.
        client.failure = None;
        server.write(&mut server_end, &[IoSlice::new(b"data")]).expect("there is room");
        assert_eq!(client.read(&mut client_end, &mut [0; 10]).expect("data"), 4);
        assert_eq!(client.bytes_without_data, 0);
    }
}
