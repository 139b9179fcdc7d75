//! Two TLS sessions with somebody between them who cuts, alters, reorders and invents records.
//!
//! Keys are new in each run, so inputs hold what is done to the records, not the records.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::rc::Rc;
use std::sync::OnceLock;

use arbitrary::{Arbitrary, Unstructured};
use eventstream_rpc::transport::{
    ClientAuth, Error, ErrorKind, HandshakeProgress, TlsConfig, TlsConfigBuilder, TlsRole, TlsSession, TlsVersion,
};

use crate::identities::{NAME, identities};

const MAX_STEPS: usize = 150;
const HEADER_LEN: usize = 5;
/// Written and not read, at most.
const MAX_IN_FLIGHT: usize = 200_000;

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Way {
    ToServer,
    ToClient,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    // What the two do.
    Handshake(Way),
    Write {
        way: Way,
        len: u16,
        cut: u8,
    },
    Read {
        way: Way,
        room: u16,
        more: bool,
    },
    Flush(Way),
    CloseNotify(Way),
    Deliver {
        way: Way,
        count: u16,
    },
    Room {
        way: Way,
        room: u16,
    },
    /// Everything that honest sides do until nothing more happens.
    Exchange,
    /// The sender's socket ends.
    Cut(Way),
    Reset(Way),
    // What is done to the records that are under way.
    Alter {
        way: Way,
        record: u8,
        change: Change<'a>,
    },
    Inject {
        way: Way,
        record: u8,
        kind: u8,
        version: u8,
        bytes: &'a [u8],
    },
    Raw {
        way: Way,
        bytes: &'a [u8],
    },
}

#[derive(Arbitrary, Debug)]
enum Change<'a> {
    Flip {
        at: u16,
        bits: u8,
    },
    Drop,
    Swap,
    Double,
    /// With a length that is right, or not.
    Shorten {
        by: u8,
        is_told: bool,
    },
    Pad {
        len: u8,
        is_told: bool,
    },
    Kind(u8),
    Version(u16),
    Length(u16),
    Content(&'a [u8]),
    /// Into two records.
    Split {
        at: u16,
    },
}

/// One way between the two.
#[derive(Default)]
struct Channel {
    /// What the sender wrote.
    sent: VecDeque<u8>,
    /// What the receiver may read.
    arrived: VecDeque<u8>,
    room: usize,
    is_closed: bool,
    is_reset: bool,
    is_altered: bool,
}

struct End {
    incoming: Rc<RefCell<Channel>>,
    outgoing: Rc<RefCell<Channel>>,
}

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut channel = self.incoming.borrow_mut();
        let count = buffer.len().min(channel.arrived.len());
        if count == 0 && channel.is_reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if count == 0 && !(channel.is_closed && channel.sent.is_empty()) && !buffer.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        for (place, byte) in buffer.iter_mut().zip(channel.arrived.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }
}

impl Write for End {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let mut channel = self.outgoing.borrow_mut();
        if channel.is_closed || channel.is_reset {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = buffer.len().min(channel.room.saturating_sub(channel.sent.len()));
        if count == 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        channel.sent.extend(&buffer[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Channel {
    fn deliver(&mut self, count: usize) {
        let count = count.min(self.sent.len());
        self.arrived.extend(self.sent.drain(..count));
    }

    /// Where the records that were sent begin; the last one may be cut.
    fn records(&self) -> Vec<usize> {
        let mut starts = Vec::new();
        let mut at = 0;
        while at + HEADER_LEN <= self.sent.len() {
            starts.push(at);
            at += HEADER_LEN + usize::from(u16::from_be_bytes([self.sent[at + 3], self.sent[at + 4]]));
        }
        starts
    }

    /// Takes one of the records that are under way out of them: what comes before, the record, what follows.
    fn take_record(&mut self, number: u8) -> Option<(Vec<u8>, Vec<u8>, Vec<u8>)> {
        let starts = self.records();
        let start = *starts.get(usize::from(number) % starts.len().max(1))?;
        let all: Vec<u8> = self.sent.drain(..).collect();
        let end = start + HEADER_LEN + usize::from(u16::from_be_bytes([all[start + 3], all[start + 4]]));
        let end = end.min(all.len());
        Some((all[..start].to_vec(), all[start..end].to_vec(), all[end..].to_vec()))
    }

    fn alter(&mut self, number: u8, change: &Change<'_>) {
        let Some((before, mut record, mut after)) = self.take_record(number) else { return };
        self.is_altered = true;
        let told = |record: &mut Vec<u8>| {
            let len = (record.len() - HEADER_LEN) as u16;
            record[3..HEADER_LEN].copy_from_slice(&len.to_be_bytes());
        };
        match *change {
            Change::Flip { at, bits } => {
                let at = usize::from(at) % record.len();
                record[at] ^= bits.max(1);
            }
            Change::Drop => record.clear(),
            Change::Swap => std::mem::swap(&mut record, &mut after),
            Change::Double => record.extend_from_within(..),
            Change::Shorten { by, is_told } => {
                let len = record.len().saturating_sub(usize::from(by)).max(HEADER_LEN);
                record.truncate(len);
                if is_told {
                    told(&mut record);
                }
            }
            Change::Pad { len, is_told } => {
                record.extend(std::iter::repeat_n(0, len.into()));
                if is_told {
                    told(&mut record);
                }
            }
            Change::Kind(kind) => record[0] = if kind < 128 { 20 + kind % 5 } else { kind },
            Change::Version(version) => record[1..3].copy_from_slice(&version.to_be_bytes()),
            Change::Length(len) => record[3..HEADER_LEN].copy_from_slice(&len.to_be_bytes()),
            Change::Content(bytes) => {
                record.truncate(HEADER_LEN);
                record.extend_from_slice(bytes);
                told(&mut record);
            }
            Change::Split { at } => {
                let at = HEADER_LEN + usize::from(at) % (record.len() - HEADER_LEN).max(1);
                let rest = record.split_off(at.min(record.len()));
                told(&mut record);
                record.extend_from_slice(&[record[0], record[1], record[2], 0, 0]);
                let second = record.len() - HEADER_LEN;
                record.extend_from_slice(&rest);
                record[second + 3..second + 5].copy_from_slice(&(rest.len() as u16).to_be_bytes());
            }
        }
        self.sent.extend([before, record, after].concat());
    }

    fn inject(&mut self, number: u8, kind: u8, version: u8, bytes: &[u8]) {
        let starts = self.records();
        let at = starts.get(usize::from(number) % (starts.len() + 1)).copied().unwrap_or(self.sent.len());
        let rest = self.sent.split_off(at);
        let kind = if kind < 200 { 20 + kind % 5 } else { kind };
        self.sent.extend([kind, 3, version % 5, (bytes.len() >> 8) as u8, bytes.len() as u8]);
        self.sent.extend(bytes);
        self.sent.extend(rest);
        self.is_altered = true;
    }
}

/// What a side says at a place of its data.
fn pattern(at: usize) -> u8 {
    (at.wrapping_mul(31) % 251) as u8
}

struct Side {
    session: TlsSession,
    end: End,
    is_shaken: bool,
    failure: Option<Error>,
    /// Of the data, as `write` answered.
    answered: usize,
    /// The writes were offered the data up to here.
    offered: usize,
    has_told_end: bool,
    received: usize,
    has_heard_end: bool,
    /// Nothing was done to what comes to this side, nor to what it answers.
    read_error: Option<String>,
}

impl Side {
    fn new(session: TlsSession, end: End) -> Side {
        Side {
            session,
            end,
            is_shaken: false,
            failure: None,
            answered: 0,
            offered: 0,
            has_told_end: false,
            received: 0,
            has_heard_end: false,
            read_error: None,
        }
    }

    fn is_untouched(&self) -> bool {
        [&self.end.incoming, &self.end.outgoing].iter().all(|channel| {
            let channel = channel.borrow();
            !channel.is_altered && !channel.is_closed && !channel.is_reset
        })
    }

    fn handshake(&mut self) {
        if self.is_shaken {
            return;
        }
        match (self.session.handshake(&mut self.end), &self.failure) {
            (Ok(progress), None) => self.is_shaken = progress == HandshakeProgress::Done,
            (Ok(_), Some(failure)) => panic!("a failure is forgotten: {failure:?}"),
            (Err(error), Some(failure)) => assert_eq!(&error, failure, "the first failure stays"),
            (Err(error), None) => {
                assert!(!self.is_untouched(), "{error:?}");
                self.failure = Some(error);
            }
        }
        assert!(!self.is_shaken || self.session.info().is_some());
    }

    fn write(&mut self, len: usize, cut: usize) {
        if !self.is_shaken || self.has_told_end || self.end.outgoing.borrow().sent.len() > MAX_IN_FLIGHT {
            return;
        }
        // What was offered before comes again until it is answered for.
        self.offered = self.offered.max(self.answered + 1 + len);
        let data: Vec<u8> = (self.answered..self.offered).map(pattern).collect();
        let (one, two) = data.split_at(cut.min(data.len()));
        match self.session.write(&mut self.end, &[IoSlice::new(one), IoSlice::new(two)]) {
            Ok(count) => {
                assert!(count > 0 && count <= data.len());
                self.answered += count;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => assert!(self.session.wants_flush()),
            Err(error) => assert!(!self.is_untouched() || self.has_heard_end, "{error}"),
        }
    }

    fn read(&mut self, peer: &Side, room: usize, more: bool) -> bool {
        if !self.is_shaken {
            return false;
        }
        let mut bytes = Vec::new();
        let result = if more {
            self.session.read_more(&mut self.end, &mut bytes, room)
        } else {
            bytes.resize(room, 0);
            let result = self.session.read(&mut self.end, &mut bytes);
            bytes.truncate(*result.as_ref().unwrap_or(&0));
            result
        };
        assert!(bytes.len() <= room);
        for byte in &bytes {
            assert_eq!(*byte, pattern(self.received), "what comes is what was written");
            self.received += 1;
        }
        assert!(self.received <= peer.offered);
        match result {
            Ok(count) => {
                assert_eq!(count, bytes.len());
                assert!(count == 0 || !self.has_heard_end, "data after the end");
                if count == 0 && room > 0 {
                    assert!(peer.has_told_end, "an end that the peer did not tell");
                    assert!(self.received >= peer.answered, "an end in the middle");
                    assert!(self.read_error.is_none());
                    self.has_heard_end = true;
                }
                count > 0
            }
            Err(error) => {
                assert!(bytes.is_empty());
                if error.kind() == io::ErrorKind::WouldBlock {
                    assert!(self.read_error.is_none(), "a failure is forgotten");
                    return false;
                }
                assert!(!self.is_untouched(), "{error}");
                let text = Error::from_io("reading", &error, ErrorKind::Io).to_string();
                assert_eq!(&text, self.read_error.get_or_insert_with(|| text.clone()), "the first failure stays");
                false
            }
        }
    }

    fn flush(&mut self) {
        if let Err(error) = self.session.flush(&mut self.end) {
            let is_blocked = error.kind() == io::ErrorKind::WouldBlock;
            assert!(is_blocked || !self.is_untouched(), "{error}");
            assert!(self.session.wants_flush());
        } else {
            assert!(!self.session.wants_flush());
        }
    }

    fn close_notify(&mut self) {
        // Only what is answered for is written for certain.
        if self.is_shaken && self.offered == self.answered {
            self.has_told_end = true;
            self.session.close_notify(&mut self.end);
        }
    }
}

struct Configs {
    clients: Vec<TlsConfig>,
    servers: Vec<TlsConfig>,
}

const VERSIONS: [(TlsVersion, TlsVersion); 3] =
    [(TlsVersion::V1_2, TlsVersion::V1_3), (TlsVersion::V1_2, TlsVersion::V1_2), (TlsVersion::V1_3, TlsVersion::V1_3)];

fn configs() -> &'static Configs {
    static MADE: OnceLock<Configs> = OnceLock::new();
    MADE.get_or_init(|| {
        let known = identities();
        let mut configs = Configs { clients: Vec::new(), servers: Vec::new() };
        for (min, max) in VERSIONS {
            for asks in [false, true] {
                let mut builder = TlsConfigBuilder::new(TlsRole::Client);
                builder.add_ca(&known.authority.pem).expect("a CA");
                builder.set_certificate(&known.certificate.pem, &known.key.pem).expect("a certificate");
                builder.set_versions(min, max);
                builder.set_session_resumption(asks);
                if asks {
                    builder.add_alpn(b"one");
                }
                configs.clients.push(builder.build().expect("settings"));
                let mut builder = TlsConfigBuilder::new(TlsRole::Server);
                builder.set_certificate(&known.certificate.pem, &known.key.pem).expect("a certificate");
                builder.set_versions(min, max);
                builder.add_alpn(b"one");
                if asks {
                    builder.add_ca(&known.authority.pem).expect("a CA");
                    builder.set_client_auth(ClientAuth::Required);
                }
                configs.servers.push(builder.build().expect("settings"));
            }
        }
        configs
    })
}

struct Pair {
    client: Side,
    server: Side,
    /// 1.2 against 1.3 alone: their failure is in order.
    fits: bool,
}

impl Pair {
    fn new(client: u8, server: u8) -> Pair {
        let configs = configs();
        let (client, server) = (usize::from(client) % 6, usize::from(server) % 6);
        let fits = client / 2 == 0 || server / 2 == 0 || client / 2 == server / 2;
        let channel = || Rc::new(RefCell::new(Channel { room: usize::MAX, ..Channel::default() }));
        let (to_server, to_client) = (channel(), channel());
        let client_end = End { incoming: to_client.clone(), outgoing: to_server.clone() };
        let server_end = End { incoming: to_server, outgoing: to_client };
        let client = TlsSession::client(&configs.clients[client], NAME).expect("a session");
        let server = TlsSession::server(&configs.servers[server]).expect("a session");
        let pair = Pair { client: Side::new(client, client_end), server: Side::new(server, server_end), fits };
        if !fits {
            pair.client.end.outgoing.borrow_mut().is_altered = true;
        }
        pair
    }

    /// Who sends that way, and who receives.
    fn sides(&mut self, way: Way) -> (&mut Side, &mut Side) {
        match way {
            Way::ToServer => (&mut self.client, &mut self.server),
            Way::ToClient => (&mut self.server, &mut self.client),
        }
    }

    fn exchange(&mut self) {
        // A channel may take one byte at a time, and a flight of the handshake has some thousand.
        for _ in 0..20_000 {
            let mut moved = false;
            for way in [Way::ToServer, Way::ToClient] {
                let (sender, receiver) = self.sides(way);
                sender.handshake();
                if sender.is_shaken && sender.failure.is_none() {
                    sender.flush();
                    if sender.answered < sender.offered && sender.read_error.is_none() {
                        let before = sender.answered;
                        sender.write(0, 0);
                        moved |= sender.answered > before;
                    }
                }
                let waiting = sender.end.outgoing.borrow().sent.len();
                sender.end.outgoing.borrow_mut().deliver(usize::MAX);
                moved |= waiting > 0;
                receiver.handshake();
                while receiver.read(sender, 30_000, true) {
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
        panic!("it goes on and on");
    }

    fn act(&mut self, step: Step<'_>) {
        match step {
            Step::Handshake(way) => self.sides(way).0.handshake(),
            Step::Write { way, len, cut } => self.sides(way).0.write(len.into(), usize::from(cut) * 100),
            Step::Read { way, room, more } => {
                let (sender, receiver) = self.sides(way);
                receiver.read(sender, room.into(), more);
            }
            Step::Flush(way) => self.sides(way).0.flush(),
            Step::CloseNotify(way) => self.sides(way).0.close_notify(),
            Step::Deliver { way, count } => {
                let count = if count == 0 { usize::MAX } else { count.into() };
                self.channel(way, |channel| channel.deliver(count));
            }
            Step::Room { way, room } => self.channel(way, |channel| channel.room = room.into()),
            Step::Exchange => self.exchange(),
            Step::Cut(way) => self.channel(way, |channel| channel.is_closed = true),
            Step::Reset(way) => self.channel(way, |channel| channel.is_reset = true),
            Step::Alter { way, record, change } => self.channel(way, |channel| channel.alter(record, &change)),
            Step::Inject { way, record, kind, version, bytes } => {
                self.channel(way, |channel| channel.inject(record, kind, version, bytes));
            }
            Step::Raw { way, bytes } => self.channel(way, |channel| {
                channel.is_altered |= !bytes.is_empty();
                channel.sent.extend(bytes);
            }),
        }
    }

    fn channel(&mut self, way: Way, change: impl FnOnce(&mut Channel)) {
        change(&mut self.sides(way).0.end.outgoing.borrow_mut());
    }

    /// If nobody interfered, all data and the ends are there.
    fn finish(&mut self) {
        for way in [Way::ToServer, Way::ToClient] {
            self.channel(way, |channel| channel.room = usize::MAX);
        }
        self.exchange();
        if !self.client.is_untouched() {
            return;
        }
        assert!(self.fits && self.client.is_shaken && self.server.is_shaken);
        for way in [Way::ToServer, Way::ToClient] {
            self.sides(way).0.close_notify();
        }
        self.exchange();
        for way in [Way::ToServer, Way::ToClient] {
            let (sender, receiver) = self.sides(way);
            receiver.read(sender, 1, false);
            assert_eq!((sender.answered, receiver.received), (sender.offered, sender.offered));
            assert!(receiver.has_heard_end);
        }
    }
}

pub fn run(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    let Ok([client, server, start]) = <[u8; 3]>::arbitrary(&mut u) else { return };
    let mut pair = Pair::new(client, server);
    if start % 2 == 0 {
        pair.exchange();
    }
    for _ in 0..MAX_STEPS {
        if u.is_empty() {
            break;
        }
        let Ok(step) = Step::arbitrary(&mut u) else { break };
        pair.act(step);
    }
    pair.finish();
}
