//! Both sides write and read at random, through a pipe whose room changes.

use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use eventstream_rpc::transport::{HandshakeProgress, TlsSession, TlsVersion};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConnection};

use crate::certificates::Authority;
use crate::peers::*;
use crate::unusual_servers::{server_config_of, until};

const SEEDS: u64 = 30;

/// Random numbers that a seed reproduces (xorshift64*).
struct Random(u64);

impl Random {
    fn of(seed: u64) -> Random {
        println!("seed {seed}");
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    /// A few as often as many.
    fn size(&mut self) -> usize {
        let limit = [10, 100, 3_000, 20_000, 100_000][self.below(5)];
        self.below(limit)
    }

    fn bytes(&mut self) -> Vec<u8> {
        let (len, step) = (3 * self.size(), 1 + self.below(250));
        (0..len).map(|index| (index * step % 251) as u8).collect()
    }
}

enum Session {
    Ours(Box<TlsSession>),
    Rustls(Box<Connection>),
}

struct Side {
    session: Session,
    end: End,
    is_shaken: bool,
    data: Vec<u8>,
    /// This many bytes of the data are written, as `write` returned.
    answered: usize,
    /// The writes were offered the data up to here.
    offered: usize,
    told_end: bool,
    received: Vec<u8>,
    heard_end: bool,
    /// Whether a read may find something: after an event, until a read took all.
    is_readable: bool,
}

impl Side {
    fn new(session: Session, end: End, data: Vec<u8>) -> Side {
        let (is_shaken, told_end, heard_end, is_readable) = (false, false, false, true);
        let (answered, offered, received) = (0, 0, Vec::new());
        Side { session, end, is_shaken, data, answered, offered, told_end, received, heard_end, is_readable }
    }

    fn act(&mut self, other: &mut Side, random: &mut Random) {
        let before = (self.end.in_flight(), self.told_end);
        self.do_something(other, random);
        other.is_readable |= self.end.in_flight() > before.0 || self.told_end != before.1;
    }

    fn do_something(&mut self, other: &mut Side, random: &mut Random) {
        match random.below(8) {
            _ if !self.is_shaken => self.shake(),
            0..3 => self.write(other, random),
            3..6 if self.is_readable => {
                let room = random.size();
                self.read(other, room);
            }
            6 => self.change_keys(),
            _ => self.flush(),
        }
        if random.below(8) == 0 {
            self.end.set_room(1 + random.size());
        }
    }

    fn shake(&mut self) {
        match &mut self.session {
            Session::Ours(session) => {
                self.is_shaken = session.handshake(&mut self.end).expect("a handshake") == HandshakeProgress::Done;
            }
            Session::Rustls(session) => {
                let _ = session.read_tls(&mut self.end);
                session.process_new_packets().expect("a handshake");
                let _ = session.write_tls(&mut self.end);
                self.is_shaken = !session.is_handshaking();
            }
        }
    }

    fn write(&mut self, other: &mut Side, random: &mut Random) {
        if self.answered == self.data.len() {
            return self.tell_end();
        }
        // What was offered before is offered again until it is taken.
        self.offered = self.offered.max(self.answered + 1 + random.size()).min(self.data.len());
        let offer = &self.data[self.answered..self.offered];
        let count = match &mut self.session {
            Session::Ours(session) => {
                let (one, two) = offer.split_at(random.below(offer.len() + 1));
                let (two, three) = two.split_at(random.below(two.len() + 1));
                unless_blocked(session.write(&mut self.end, &[one, two, three].map(IoSlice::new)))
            }
            Session::Rustls(session) => Some(session.writer().write(offer).expect("there may be no room")),
        };
        self.answered += count.unwrap_or(0);
        assert!(self.answered <= self.offered);
        if let Session::Ours(session) = &self.session {
            assert!(count != Some(0), "blocked writes say so");
            assert!(count.is_some() || session.wants_flush());
            // It has left: the other side gets it without a word more of this side.
            if count.is_some() && other.is_shaken && random.below(4) == 0 {
                until(|| !other.read(self, ROOMY) && self.end.in_flight() == 0);
                assert!(other.received.len() >= self.answered, "{} of {}", other.received.len(), self.answered);
            }
        }
    }

    fn tell_end(&mut self) {
        let is_written = match &mut self.session {
            Session::Ours(session) => session.close_notify(&mut self.end),
            Session::Rustls(session) => {
                session.send_close_notify();
                let _ = session.write_tls(&mut self.end);
                !session.wants_write()
            }
        };
        if is_written {
            self.end.close();
            self.told_end = true;
        }
    }

    /// Whether anything came.
    fn read(&mut self, other: &Side, room: usize) -> bool {
        let before = self.received.len();
        let (result, took_all) = match &mut self.session {
            Session::Ours(session) if room.is_multiple_of(2) => {
                let result = session.read_more(&mut self.end, &mut self.received, room);
                (result, session.is_drained())
            }
            Session::Ours(session) => {
                let mut buffer = vec![0; room];
                let result = session.read(&mut self.end, &mut buffer);
                self.received.extend_from_slice(&buffer[..*result.as_ref().unwrap_or(&0)]);
                (result, session.is_drained())
            }
            Session::Rustls(session) => {
                let _ = session.read_tls(&mut self.end);
                session.process_new_packets().expect("good records");
                let result = session.reader().take(room as u64).read_to_end(&mut self.received);
                // It reports the bytes first, as we do.
                let count = self.received.len() - before;
                (if count > 0 { Ok(count) } else { result }, false)
            }
        };
        let count = self.received.len() - before;
        match unless_blocked(result) {
            Some(0) if room > 0 => {
                self.heard_end = true;
                assert!(other.answered == other.data.len(), "an end in the middle");
            }
            Some(told) => {
                assert!(told == count && count <= room);
                self.is_readable = count == room || !took_all;
            }
            None => {
                assert!(count == 0);
                self.is_readable = matches!(self.session, Session::Rustls(_));
            }
        }
        count > 0
    }

    fn flush(&mut self) {
        let result = match &mut self.session {
            Session::Ours(session) => session.flush(&mut self.end),
            Session::Rustls(session) => session.write_tls(&mut self.end).map(drop),
        };
        assert!(result.is_ok() || self.end.in_flight() > 0);
    }

    /// TLS 1.3 only. Not many times without data in between, which peers refuse.
    fn change_keys(&mut self) {
        if let Session::Rustls(session) = &mut self.session
            && self.answered < self.data.len()
            && !session.wants_write()
        {
            session.refresh_traffic_keys().expect("TLS 1.3");
            self.answered += session.writer().write(&self.data[self.answered..][..1]).expect("there may be no room");
        }
    }

    fn is_done(&self) -> bool {
        self.told_end && self.heard_end
    }
}

/// The count, or nothing if the call would have to wait.
fn unless_blocked(result: io::Result<usize>) -> Option<usize> {
    match result {
        Ok(count) => Some(count),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

fn converse(client: Session, server: Session, random: &mut Random) {
    let (client_end, server_end) = pipe(1 + random.size());
    let mut one = Side::new(client, client_end, random.bytes());
    let mut two = Side::new(server, server_end, random.bytes());
    for _ in 0..50_000 {
        if random.below(2) == 0 {
            one.act(&mut two, random)
        } else {
            two.act(&mut one, random)
        }
        if one.is_done() && two.is_done() {
            assert!(one.received == two.data && two.received == one.data);
            return;
        }
    }
    panic!("it goes on and on: {} of {}, {} of {}", one.answered, one.data.len(), two.answered, two.data.len());
}

#[test]
fn all_data_and_the_end_come_through_in_order() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let authority = Authority::new("test CA");
        let client = client_config(&authority, |builder| builder.set_versions(version, version));
        let server = server_config(&authority.server(&[NAME]), |_| {});
        for seed in 1..=SEEDS {
            let mut random = Random::of(seed);
            let sessions = [TlsSession::client(&client, NAME), TlsSession::server(&server)];
            let [client, server] = sessions.map(|session| Session::Ours(Box::new(session.expect("a session"))));
            converse(client, server, &mut random);
        }
    }
}

#[test]
fn a_server_may_change_its_keys_at_any_time() {
    let authority = Authority::new("test CA");
    let client = client_config(&authority, |_| {});
    let server = server_config_of(&authority, &TLS13, &[], |_| {});
    for seed in 1..=SEEDS {
        let session = TlsSession::client(&client, NAME).expect("a session");
        let server = ServerConnection::new(server.clone()).expect("a session");
        let server = Session::Rustls(Box::new(server.into()));
        converse(Session::Ours(Box::new(session)), server, &mut Random::of(seed));
    }
}

#[test]
fn a_client_may_change_its_keys_at_any_time() {
    let authority = Authority::new("test CA");
    let server = server_config(&authority.server(&[NAME]), |_| {});
    let mut authorities = RootCertStore::empty();
    authorities.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("a certificate")).expect("a CA");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).expect("a version");
    let config = Arc::new(builder.with_root_certificates(authorities).with_no_client_auth());
    for seed in 1..=SEEDS {
        let name = ServerName::try_from(NAME).expect("a name");
        let client = ClientConnection::new(config.clone(), name).expect("a session");
        let session = TlsSession::server(&server).expect("a session");
        let client = Session::Rustls(Box::new(client.into()));
        converse(client, Session::Ours(Box::new(session)), &mut Random::of(seed));
    }
}
