//! One TLS session over a non-blocking byte stream.

use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};

use rustls::ProtocolVersion;
use rustls::unbuffered::EncryptError;

use super::backlog::Backlog;
use super::error::{Stage, as_io, closed_in_handshake, from_rustls, is_not_tls, not_tls};
use super::in_flight::{FULL_RECORD, InFlight};
use super::info::info_of;
use super::records::Records;
use super::server_name::parse_server_name;
use super::{TlsConfig, TlsRole};
use crate::transport::tls_terms::{HandshakeProgress, TlsInfo};
use crate::transport::{Error, ErrorKind, TlsErrorKind};

/// The most plaintext that one write takes: sixteen full records.
const WRITE_STEP: usize = 256 * 1024;
/// The longest record of any version, on the wire.
const LARGEST_RECORD: usize = FULL_RECORD + 2048 + 5;
/// The most bytes of records that one read takes.
const READ_STEP: usize = 128 * 1024;
/// The longest handshake message that is accepted. TLS allows longer ones, which nobody sends.
const LARGEST_HANDSHAKE_MESSAGE: usize = 64 * 1024;
/// No honest peer sends this many bytes of records without data in a row, and such records must not keep a loop busy.
const MAX_BYTES_WITHOUT_DATA: usize = 1024 * 1024;
/// A call stops reading after this many bytes of records, which is what 256 KiB of data take. It counts records, not data,
/// because a record with little plaintext in it costs as much as a full one.
const READ_LIMIT: usize = WRITE_STEP / FULL_RECORD * LARGEST_RECORD;

thread_local! {
    /// The records that this thread is reading or writing. A session itself keeps only what is incomplete or waits for room.
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { read: Vec::new(), written: Vec::new(), record: Vec::new() }) };
}

struct Scratch {
    read: Vec<u8>,
    written: Vec<u8>,
    /// Plaintext of a record that is assembled from several pieces.
    record: Vec<u8>,
}

/// The TLS state of one connection. No call waits.
pub struct TlsSession {
    records: Records,
    role: TlsRole,
    /// Why nothing more can be read, nor, unless the peer's side was only cut, written. Plaintext decrypted before is read first.
    failure: Option<Error>,
    peer_closed: bool,
    /// An incomplete record or handshake message.
    cut: Vec<u8>,
    /// Decrypted data for which there was no room.
    plaintext: Backlog,
    /// Records that the system has not taken yet.
    outgoing: Backlog,
    /// Data whose records are not all written; the next writes report it.
    in_flight: InFlight,
    bytes_without_data: usize,
    /// Bytes of records read since the last `take_wire_len`.
    wire_len: usize,
    /// The last read stopped at its limit, although there may be more.
    is_cut_off: bool,
    /// The last read took all that the socket had.
    drained: bool,
}

impl TlsSession {
    /// A client's session with `server_name`, the host name or address that the server's certificate must have.
    pub fn client(config: &TlsConfig, server_name: &str) -> Result<TlsSession, Error> {
        let records = Records::client(config.client()?, parse_server_name(server_name)?);
        Ok(TlsSession::new(records.map_err(|error| no_session(&error))?, TlsRole::Client))
    }

    /// A server's session.
    pub fn server(config: &TlsConfig) -> Result<TlsSession, Error> {
        let records = Records::server(config.server()?);
        Ok(TlsSession::new(records.map_err(|error| no_session(&error))?, TlsRole::Server))
    }

    fn new(mut records: Records, role: TlsRole) -> TlsSession {
        let mut outgoing = Backlog::default();
        // A client writes before it has read anything.
        let intake = records.take_in(&mut [], &mut outgoing, |_| {});
        TlsSession {
            records,
            role,
            failure: intake.failure.map(|error| from_rustls(&error, role, Stage::Handshake)),
            peer_closed: false,
            cut: Vec::new(),
            plaintext: Backlog::default(),
            outgoing,
            in_flight: InFlight::default(),
            bytes_without_data: 0,
            wire_len: 0,
            is_cut_off: false,
            drained: false,
        }
    }

    /// Continues the handshake as far as possible. When it is done, plaintext may already be there, so read at once; and its last
    /// records may wait to be written with the first data, or by `flush`. After a failure, an alert was written if possible.
    pub fn handshake(&mut self, io: &mut (impl Read + Write)) -> Result<HandshakeProgress, Error> {
        loop {
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            if self.may_send_data() {
                return Ok(HandshakeProgress::Done);
            }
            if let Err(error) = self.flush(io)
                && error.kind() != io::ErrorKind::WouldBlock
            {
                return Err(self.write_failed(io, &error));
            }
            if !self.is_handshaking() {
                let is_done = self.outgoing.is_empty();
                return Ok(if is_done { HandshakeProgress::Done } else { HandshakeProgress::Pending });
            }
            match self.read_records(io, 0, |_| {}) {
                Ok(0) => {
                    let error = closed_in_handshake(self.bytes_without_data == 0, self.role);
                    return Err(self.fail(error));
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

    /// Whether this side has received all of the handshake, and what it still has to write may share a segment with data: the last
    /// records of a client, or the tickets of a server with TLS 1.3. A client with TLS 1.2 waits for the server's last records.
    fn may_send_data(&self) -> bool {
        !self.is_handshaking()
            && (self.role == TlsRole::Client
                || self.records.state().protocol_version() == Some(ProtocolVersion::TLSv1_3))
    }

    fn is_handshaking(&self) -> bool {
        self.records.state().is_handshaking()
    }

    /// Writing has failed. The reason is often in an alert that the peer sent before it closed.
    fn write_failed(&mut self, io: &mut (impl Read + Write), error: &io::Error) -> Error {
        while self.failure.is_none() && matches!(self.read_records(io, 0, |_| {}), Ok(count) if count > 0) {}
        match &self.failure {
            Some(alert) => alert.clone(),
            None => self.fail(Error::from_io("the TLS handshake failed: writing to the peer", error, ErrorKind::Io)),
        }
    }

    /// Reads as much plaintext as there is room for. 0: the peer ended the session in order. WouldBlock: there is nothing to read
    /// now. Other errors carry a transport error, which `Error::from_io` extracts.
    pub fn read(&mut self, io: &mut (impl Read + Write), buffer: &mut [u8]) -> io::Result<usize> {
        let mut room = &mut *buffer;
        // There is never more than was asked for.
        self.read_up_to(io, room.len(), |plaintext| room.write_all(plaintext).unwrap_or_default())
    }

    /// As `read`, but appends to `bytes`, whose memory is not cleared first.
    pub fn read_more(&mut self, io: &mut (impl Read + Write), bytes: &mut Vec<u8>, room: usize) -> io::Result<usize> {
        self.read_up_to(io, room, |plaintext| bytes.extend_from_slice(plaintext))
    }

    /// Passes at most `room` bytes of plaintext to `take`, in pieces, and returns how many.
    fn read_up_to(
        &mut self,
        io: &mut (impl Read + Write),
        room: usize,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<usize> {
        let mut filled = self.plaintext.as_slice().len().min(room);
        take(&self.plaintext.as_slice()[..filled]);
        self.plaintext.take(filled);
        // Something may have come since.
        self.drained = false;
        self.is_cut_off = false;
        let before = self.wire_len;
        // What is already there is returned first; the next call says why nothing follows.
        while filled < room && self.failure.is_none() && !self.peer_closed && !(filled > 0 && self.drained) {
            self.is_cut_off = self.wire_len - before >= READ_LIMIT;
            if self.is_cut_off {
                break;
            }
            let result = self.read_records(io, room - filled, |plaintext| {
                take(plaintext);
                filled += plaintext.len();
            });
            match result {
                Ok(0) => _ = self.fail(cut_short()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && filled == 0 => return Err(error),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.drained = true,
                Err(error) => _ = self.fail(Error::from_io("reading from the peer", &error, ErrorKind::Io)),
            }
        }
        self.drained &= self.plaintext.is_empty() && self.failure.is_none() && !self.peer_closed;
        match &self.failure {
            Some(failure) if filled == 0 => Err(as_io(failure)),
            None if filled == 0 && self.is_cut_off => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(filled),
        }
    }

    /// Whether the last read, even one that returned WouldBlock, stopped before it had seen everything, so that the next one need
    /// not wait for an event.
    pub fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }

    /// How many bytes of records were read since the last call of this function.
    pub fn take_wire_len(&mut self) -> usize {
        std::mem::take(&mut self.wire_len)
    }

    /// Whether the last read, if it filled only a part of its buffer, took everything, so that the next one makes sense only after
    /// an event. False while the end of the session, or a failure, is still to be reported.
    pub fn is_drained(&self) -> bool {
        self.drained
    }

    /// Writes plaintext, at most 256 KiB at once, and returns how much of it the system has taken, in complete records. WouldBlock
    /// while not even one more record is taken. The next call must begin with the bytes after these.
    pub fn write(&mut self, io: &mut (impl Read + Write), buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        if let Some(failure) = &self.failure
            && !self.may_write()
        {
            return Err(as_io(failure));
        }
        let result = if self.in_flight.is_empty() { self.write_step(io, buffers) } else { self.flush(io) };
        match result {
            Ok(()) => Ok(self.in_flight.take_all()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match self.in_flight.take_written() {
                0 => Err(error),
                count => Ok(count),
            },
            Err(error) => Err(error),
        }
    }

    /// Encrypts one step of `buffers` and writes it after the records that already wait; what the system does not take waits with
    /// them.
    fn write_step(&mut self, io: &mut (impl Read + Write), buffers: &[IoSlice<'_>]) -> io::Result<()> {
        SCRATCH.with_borrow_mut(|Scratch { written: out, record, .. }| {
            let own = self.outgoing.as_slice().len();
            out.resize(out.len().max(own + WRITE_STEP + WRITE_STEP / FULL_RECORD * (LARGEST_RECORD - FULL_RECORD)), 0);
            out[..own].copy_from_slice(self.outgoing.as_slice());
            let mut end = own;
            let mut in_flight = InFlight::behind(own);
            for_each_record(buffers, record, |plaintext| {
                let count = self.records.encrypt(&mut self.cut, plaintext, out, end)?;
                in_flight.add(plaintext.len(), count);
                end += count;
                Ok(())
            })
            .map_err(|error| as_io(&self.fail(keys_used_up(&error))))?;
            let (count, result) = write_now(io, &out[..end]);
            in_flight.note_written(count);
            self.in_flight = in_flight;
            self.outgoing = Backlog::default();
            self.outgoing.push(&out[count..end]);
            result
        })
    }

    /// Whether records wait to be written, from `write` or from TLS itself (tickets after the handshake, responses to a key
    /// update): `flush` is to be called when the socket is writable again.
    pub fn wants_flush(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Bytes of memory that hold records and plaintext waiting to be read or written.
    pub fn kept_len(&self) -> usize {
        self.cut.capacity() + self.plaintext.capacity() + self.outgoing.capacity()
    }

    /// Writes the waiting records; WouldBlock if some are left.
    pub fn flush(&mut self, io: &mut (impl Read + Write)) -> io::Result<()> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        let (count, result) = write_now(io, self.outgoing.as_slice());
        self.outgoing.take(count);
        self.in_flight.note_written(count);
        result
    }

    /// Ends this side of the session in order. True once the end is written, or cannot be.
    pub fn close_notify(&mut self, io: &mut (impl Read + Write)) -> bool {
        if self.may_write() && !self.is_handshaking() {
            self.records.close(&mut self.cut, &mut self.outgoing);
        }
        !matches!(self.flush(io), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// What the handshake agreed on; nothing before it is done.
    pub fn info(&self) -> Option<TlsInfo> {
        info_of(self.records.state())
    }

    /// Reads records once and handles them: at most `room` bytes of plaintext go to `take`, the rest is kept. Returns 0 at the end
    /// of the input.
    fn read_records(
        &mut self,
        io: &mut (impl Read + Write),
        mut room: usize,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<usize> {
        let (stage, role) = (self.stage(), self.role);
        let (count, intake, failure) = SCRATCH.with_borrow_mut(|Scratch { read: records, .. }| {
            let kept = self.cut.len();
            let wanted = (room + LARGEST_RECORD).min(READ_STEP);
            records.resize(records.len().max(kept + wanted), 0);
            let count = read_now(io, &mut records[kept..kept + wanted]);
            self.drained = cfg!(unix) && matches!(count, Ok(count) if count < wanted);
            let count = count?;
            records[..kept].copy_from_slice(&self.cut);
            let records = &mut records[..kept + count];
            let mut has_data = false;
            let intake = self.records.take_in(records, &mut self.outgoing, |plaintext| {
                let (fitting, rest) = plaintext.split_at(plaintext.len().min(room));
                take(fitting);
                self.plaintext.push(rest);
                room -= fitting.len();
                has_data = true;
            });
            let failure = intake.failure.as_ref().map(|error| {
                let is_stranger = stage == Stage::Handshake && is_not_tls(error);
                if is_stranger { not_tls(records, role) } else { from_rustls(error, role, stage) }
            });
            self.wire_len += count;
            self.bytes_without_data = if has_data { 0 } else { self.bytes_without_data.saturating_add(count) };
            // Exactly as much memory as it needs.
            self.cut = records[intake.used..].to_vec();
            Ok::<_, io::Error>((count, intake, failure))
        })?;
        if let Some(failure) = failure {
            self.fail(failure);
        }
        self.peer_closed |= intake.peer_closed;
        if stage == Stage::Established && self.bytes_without_data > MAX_BYTES_WITHOUT_DATA {
            let sentence = format!("the peer sent {MAX_BYTES_WITHOUT_DATA} bytes of TLS records without data in them");
            self.fail(Error::new(ErrorKind::Tls(TlsErrorKind::HandshakeFailed), sentence));
        }
        if self.cut.len() > LARGEST_HANDSHAKE_MESSAGE + LARGEST_RECORD {
            let sentence = format!(
                "a message of the peer's TLS handshake is too long: it has not ended after {LARGEST_HANDSHAKE_MESSAGE} bytes"
            );
            self.fail(Error::new(ErrorKind::Tls(TlsErrorKind::HandshakeFailed), sentence));
        }
        // An alert, or a response: if it cannot be written now it waits, and the next read or write reports a broken socket.
        if self.failure.is_some() || stage == Stage::Established {
            let _ = self.flush(io);
        }
        Ok(count)
    }

    fn stage(&self) -> Stage {
        if self.is_handshaking() { Stage::Handshake } else { Stage::Established }
    }

    /// Remembers the first failure.
    fn fail(&mut self, failure: Error) -> Error {
        self.failure.get_or_insert(failure).clone()
    }

    /// If the peer's side was only cut, it may still read.
    fn may_write(&self) -> bool {
        self.failure.as_ref().is_none_or(|failure| failure.kind == ErrorKind::Tls(TlsErrorKind::Truncated))
    }
}

/// Divides the first `WRITE_STEP` bytes of `buffers` into the plaintext of records, all of them full but the last. Plaintext that
/// lies in several pieces is assembled in `record`.
fn for_each_record(
    buffers: &[IoSlice<'_>],
    record: &mut Vec<u8>,
    mut take: impl FnMut(&[u8]) -> Result<(), EncryptError>,
) -> Result<(), EncryptError> {
    record.clear();
    let mut left = WRITE_STEP;
    for buffer in buffers {
        let mut bytes = &buffer[..buffer.len().min(left)];
        left -= bytes.len();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(bytes.len().min(FULL_RECORD - record.len()));
            bytes = rest;
            if piece.len() == FULL_RECORD {
                take(piece)?;
                continue;
            }
            record.extend_from_slice(piece);
            if record.len() == FULL_RECORD {
                take(record)?;
                record.clear();
            }
        }
    }
    if record.is_empty() { Ok(()) } else { take(record) }
}

/// Writes as much as the system takes now; returns how much, and why not all.
fn write_now(io: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut count = 0;
    while count < bytes.len() {
        match io.write(&bytes[count..]) {
            Ok(0) => return (count, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (count, Err(error)),
        }
    }
    (count, Ok(()))
}

fn read_now(io: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match io.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn cut_short() -> Error {
    let sentence = "the connection ended without the end of the TLS session (close_notify): data may be missing";
    Error::new(ErrorKind::Tls(TlsErrorKind::Truncated), sentence)
}

fn keys_used_up(error: &EncryptError) -> Error {
    Error::new(ErrorKind::Tls(TlsErrorKind::HandshakeFailed), format!("the TLS connection failed: {error}"))
}

fn no_session(error: &rustls::Error) -> Error {
    Error::new(ErrorKind::Tls(TlsErrorKind::Config), format!("no TLS session can be made: {error}"))
}

#[cfg(all(test, unix))]
mod tests;
