//! TLS records, in memory of the caller, so that a session holds no buffer while nothing is on its way.

use std::sync::Arc;

use rustls::client::{ClientSessionStore, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus};
use rustls::{CommonState, ServerConfig};

use super::backlog::Backlog;
use super::config::ClientSettings;

/// Turns records into plaintext and back, for either side of a session.
pub enum Records {
    Client(UnbufferedClientConnection, Option<Box<Remembered>>),
    Server(UnbufferedServerConnection),
}

/// Where a client finds the session that it resumes; kept during the handshake.
pub struct Remembered {
    sessions: Arc<dyn ClientSessionStore>,
    server_name: ServerName<'static>,
}

/// The result of taking records in.
#[derive(Debug, Default)]
pub struct Intake {
    /// How many bytes at the front are used up; the others are to be passed again, before those that follow.
    pub used: usize,
    /// The peer ended its side of the session in order.
    pub peer_closed: bool,
    pub failure: Option<rustls::Error>,
}

/// How to continue after one state of rustls.
enum Next {
    Again,
    NeedsInput,
    PeerClosed,
    Failed(rustls::Error),
}

/// What one encryption is for.
enum Outbound<'a> {
    Data(&'a [u8]),
    CloseNotify,
}

impl Records {
    pub fn client(settings: ClientSettings, server_name: ServerName<'static>) -> Result<Records, rustls::Error> {
        let remembered =
            settings.sessions.map(|sessions| Box::new(Remembered { sessions, server_name: server_name.clone() }));
        Ok(Records::Client(UnbufferedClientConnection::new(settings.config, server_name)?, remembered))
    }

    pub fn server(config: Arc<ServerConfig>) -> Result<Records, rustls::Error> {
        UnbufferedServerConnection::new(config).map(Records::Server)
    }

    pub fn state(&self) -> &CommonState {
        match self {
            Records::Client(client, _) => client,
            Records::Server(server) => server,
        }
    }

    /// Goes through all whole records of `input`, decrypting them there. Their plaintext goes to `data`; what is to be said to
    /// the peer (of the handshake, or an alert) to the end of `outgoing`.
    pub fn take_in(&mut self, input: &mut [u8], outgoing: &mut Backlog, mut data: impl FnMut(&[u8])) -> Intake {
        let mut intake = Intake::default();
        // After a failure nothing more is taken in, but the alert for the peer is still written.
        while intake.failure.is_none() || self.state().wants_write() {
            let rest = input.get_mut(intake.used..).unwrap_or_default();
            let (used, next) = match self {
                Records::Client(client, _) => advance(client.process_tls_records(rest), outgoing, &mut data),
                Records::Server(server) => advance(server.process_tls_records(rest), outgoing, &mut data),
            };
            intake.used += used;
            match next {
                Next::Again => {}
                Next::PeerClosed => intake.peer_closed = true,
                Next::NeedsInput => break,
                Next::Failed(failure) => intake.failure = Some(failure),
            }
        }
        if intake.peer_closed || intake.failure.is_some() {
            // What follows is ignored.
            intake.used = input.len();
        }
        self.forget_unusable_session(intake.failure.as_ref());
        intake
    }

    /// Forgets a session of TLS 1.2 that the server resumes with other keys: it would fail every time. rustls does this itself,
    /// but not in its unbuffered interface.
    fn forget_unusable_session(&mut self, failure: Option<&rustls::Error>) {
        if let Records::Client(client, remembered) = self
            && (failure.is_some() || !client.is_handshaking())
            && let Some(remembered) = remembered.take()
            && failure == Some(&rustls::Error::DecryptError)
        {
            remembered.sessions.remove_tls12_session(&remembered.server_name);
        }
    }

    /// Writes `data`, at most a full record of it, as a record from `at` on into `out`, which grows if it must; returns how many
    /// bytes that are. `input` is what `take_in` left of its input. After the handshake only.
    pub fn encrypt(
        &mut self,
        input: &mut [u8],
        data: &[u8],
        out: &mut Vec<u8>,
        at: usize,
    ) -> Result<usize, EncryptError> {
        self.write(input, &Outbound::Data(data), out, at)
    }

    /// The last record that this side writes, to the end of `outgoing`; nothing if it was written before, or the handshake is
    /// not over.
    pub fn close(&mut self, input: &mut [u8], outgoing: &mut Backlog) {
        outgoing.push_with(|out, at| self.write(input, &Outbound::CloseNotify, out, at).unwrap_or_default());
    }

    fn write(
        &mut self,
        input: &mut [u8],
        what: &Outbound<'_>,
        out: &mut Vec<u8>,
        at: usize,
    ) -> Result<usize, EncryptError> {
        match self {
            Records::Client(client, _) => encrypt(client.process_tls_records(input), what, out, at),
            Records::Server(server) => encrypt(server.process_tls_records(input), what, out, at),
        }
    }
}

/// Handles one state; returns how many bytes of the input are used up.
fn advance<Side>(
    status: UnbufferedStatus<'_, '_, Side>,
    outgoing: &mut Backlog,
    data: &mut impl FnMut(&[u8]),
) -> (usize, Next) {
    let mut used = status.discard;
    let next = match status.state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    used += record.discard;
                    data(record.payload);
                }
                Some(Err(failure)) => break Next::Failed(failure),
                None => break Next::Again,
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut record)) => {
            outgoing.push_with(|out, at| fill(out, at, |place| record.encode(place), encode_needs).unwrap_or_default());
            Next::Again
        }
        Ok(ConnectionState::TransmitTlsData(transmit)) => {
            transmit.done();
            Next::Again
        }
        Ok(ConnectionState::PeerClosed) => Next::PeerClosed,
        // Early data is never turned on; Closed and WriteTraffic need nothing.
        Ok(_) => Next::NeedsInput,
        Err(failure) => Next::Failed(failure),
    };
    (used, next)
}

fn encrypt<Side>(
    status: UnbufferedStatus<'_, '_, Side>,
    what: &Outbound<'_>,
    out: &mut Vec<u8>,
    at: usize,
) -> Result<usize, EncryptError> {
    let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state else {
        return Err(EncryptError::EncryptExhausted);
    };
    let attempt = |place: &mut [u8]| match what {
        Outbound::Data(data) => traffic.encrypt(data, place),
        Outbound::CloseNotify => traffic.queue_close_notify(place),
    };
    fill(out, at, attempt, encrypt_needs)
}

/// Lets `attempt` write into `out` from `at` on, a second time if it needs more room.
fn fill<E>(
    out: &mut Vec<u8>,
    at: usize,
    mut attempt: impl FnMut(&mut [u8]) -> Result<usize, E>,
    needs: impl FnOnce(&E) -> Option<usize>,
) -> Result<usize, E> {
    match attempt(out.get_mut(at..).unwrap_or_default()) {
        Err(error) => match needs(&error) {
            Some(room) => {
                out.resize(at + room, 0);
                attempt(&mut out[at..])
            }
            None => Err(error),
        },
        done => done,
    }
}

fn encode_needs(error: &EncodeError) -> Option<usize> {
    match error {
        EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
        EncodeError::AlreadyEncoded => None,
    }
}

fn encrypt_needs(error: &EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
        EncryptError::EncryptExhausted => None,
    }
}
