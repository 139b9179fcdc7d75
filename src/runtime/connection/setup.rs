//! A connection before it is usable: looking the name up, dialling, the TLS handshake.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use mio::Token;

use super::deadlines::{ALL, Deadline, Deadlines, LAST_WORDS};
use super::driver::{Driver, TURN_LEN, Turn};
use super::handle::Connection;
use super::life::Phase;
use super::state::DRAINED_BEFORE_SETUP;
use crate::rpc::Role;
use crate::runtime::error::{Error, PassedLimit, TimeLimit};
use crate::runtime::event_loop::{AbortCause, Command, Context, Flow, Owner, Place, Resident, TimerKey, lock};
use crate::runtime::log::Level;
use crate::transport::{
    self, Address, Dialer, Dialing, Endpoint, HandshakeProgress, Lookup, Resolved, TlsConfig, TlsSession, interleave,
    literal,
};

/// Brought a server's connection, and still has to learn what became of it. Dropped once that is done.
pub trait Arrival: Send {
    /// The connection is not wanted any more; with an error if that is a failure to be reported.
    fn refusal(&self) -> Option<Result<(), Error>>;
    /// Calls the listener's owner, who may accept the connection.
    fn announce(&self, connection: &Arc<Connection>);
    fn note_failure(&self, error: &Error);
}

/// The loop thread's side of a connection that is being set up.
pub struct Setup {
    connection: Arc<Connection>,
    /// Of a server's connection, until it was announced to its listener.
    arrival: Option<Box<dyn Arrival>>,
    token: Token,
    stage: Stage,
    /// It stands in the loop's line, once, and drops more when its turn comes.
    in_line: bool,
    deadlines: Deadlines<ALL>,
}

/// How a client gets its socket.
pub enum Origin {
    /// The application has connected it.
    Adopted(Box<transport::Stream>),
    Dialed(Endpoint),
}

enum Stage {
    Resolving {
        endpoint: Endpoint,
        _lookup: Lookup,
        found: Arc<Mutex<Option<Resolved>>>,
    },
    Dialing(Box<Dialer>),
    Handshaking(transport::Stream),
    /// It was announced to the application, which decides later. Nothing is read meanwhile.
    Deferred(transport::Stream),
    /// An accepted socket that cannot be used, which is still to be reported.
    Unusable(Error),
    /// The TLS handshake has failed, which was reported; the peer gets a moment to read the alert.
    Lingering(transport::Stream),
    /// The stream has been handed on, or the setup has failed.
    Ended,
}

/// How a setup ends that others have decided on.
enum Verdict {
    Fail(Error),
    /// Whoever is to know of it knows.
    Vanish,
    /// It was accepted later.
    Proceed,
}

/// What the application has made of a connection that was announced.
pub enum Announcement {
    Accepted,
    Deferred,
    Refused,
}

impl Setup {
    /// Begins to connect a client.
    pub fn connect(connection: Arc<Connection>, origin: Origin, token: Token, context: &mut Context) -> Option<Setup> {
        let mut setup = Setup {
            connection,
            arrival: None,
            token,
            stage: Stage::Ended,
            in_line: false,
            deadlines: Deadlines::default(),
        };
        let begun = if context.shutting_down {
            // Before a callback, which may end the thread.
            drop(origin);
            Err(Error::RuntimeShutdown)
        } else {
            setup.begin(origin, context)
        };
        match begun {
            Ok(()) => Some(setup),
            Err(error) => {
                setup.fail(error, context);
                None
            }
        }
    }

    fn begin(&mut self, origin: Origin, context: &mut Context) -> Result<(), Error> {
        let endpoint = match origin {
            Origin::Adopted(mut stream) => {
                stream.register(&context.registry, self.token).map_err(|error| not_watched(&error))?;
                return Ok(self.begin_tls(*stream, context)?);
            }
            Origin::Dialed(endpoint) => endpoint,
        };
        let address = match &endpoint {
            Endpoint::Local(_) | Endpoint::Socket(_) => endpoint.address()?,
            Endpoint::Tcp { host, port } => match literal(host, *port) {
                Some(address) => Address::from(address),
                None => return self.look_up(host.clone(), *port, endpoint, context),
            },
        };
        self.dial(endpoint, vec![address], context);
        Ok(())
    }

    fn look_up(&mut self, host: String, port: u16, endpoint: Endpoint, context: &Context) -> Result<(), Error> {
        self.connection.log_line(Level::Debug, || "resolving the host name".to_owned());
        let found = Arc::new(Mutex::new(None));
        // A lookup that is given up may go on for long; it must not keep the connection.
        let (place, connection) = (found.clone(), Arc::downgrade(&self.connection));
        let lookup = self.connection.resolver().look_up(&host, port, move |resolved| {
            *lock(&place) = Some(resolved);
            if let Some(connection) = connection.upgrade() {
                connection.post(Command::Visit(connection.clone()));
            }
        })?;
        self.stage = Stage::Resolving { endpoint, _lookup: lookup, found };
        self.start_clock(Deadline::Resolve, context);
        Ok(())
    }

    fn dial(&mut self, endpoint: Endpoint, addresses: Vec<Address>, context: &Context) {
        self.connection.log_line(Level::Debug, || match addresses.len() {
            1 => "connecting".to_owned(),
            count => format!("connecting, {count} addresses to try"),
        });
        let options = self.connection.settings().socket.clone();
        self.stage = Stage::Dialing(Box::new(Dialer::new(endpoint, addresses, options)));
        self.start_clock(Deadline::Connect, context);
    }

    /// Takes over a connection that a listener accepted.
    pub fn accept(
        connection: Arc<Connection>,
        mut stream: transport::Stream,
        tls: Option<TlsConfig>,
        arrival: Box<dyn Arrival>,
        token: Token,
        context: &mut Context,
    ) -> Option<Setup> {
        if context.shutting_down {
            return None;
        }
        let prepared = stream.register(&context.registry, token).map_err(|error| not_watched(&error));
        let prepared = prepared.and_then(|()| match &tls {
            Some(config) => TlsSession::server(config).map(|session| stream.start_tls(session)),
            None => Ok(()),
        });
        // A failure is reported from the setup's place, where the arrival is found if the host ends the thread meanwhile.
        let mut begins_with_peer = false;
        let stage = match prepared {
            Ok(()) => {
                begins_with_peer = stream.begins_with_peer();
                Stage::Handshaking(stream)
            }
            Err(error) => {
                stream.deregister(&context.registry);
                Stage::Unusable(error.into())
            }
        };
        let mut setup =
            Setup { connection, arrival: Some(arrival), token, stage, in_line: false, deadlines: Deadlines::default() };
        if tls.is_some() {
            setup.start_clock(Deadline::Tls, context);
        } else if begins_with_peer {
            setup.start_clock(Deadline::Handshake, context);
        }
        Some(setup)
    }

    fn start_clock(&mut self, deadline: Deadline, context: &Context) {
        if let Some(time) = deadline.time(&self.connection.settings().times) {
            self.deadlines.set(deadline, context.now + time);
        }
    }

    fn go_on(&mut self, context: &mut Context) -> Flow {
        match self.verdict() {
            Some(Verdict::Fail(error)) => return self.fail(error, context),
            Some(Verdict::Vanish) => return self.vanish(context),
            Some(Verdict::Proceed) => return self.hand_over(context),
            None => {}
        }
        let step = self.advance(context);
        self.deadlines.arm(&mut context.timers, self.token);
        step
    }

    /// What others have decided since the last look.
    fn verdict(&self) -> Option<Verdict> {
        let (phase, closing, is_drained, eviction) = {
            let mut shared = self.connection.lock();
            shared.begin_setup_visit();
            (shared.phase(), shared.life().closing().cloned(), shared.is_draining(), shared.eviction().cloned())
        };
        if matches!(self.stage, Stage::Lingering(_)) {
            return (is_drained || eviction.is_some()).then_some(Verdict::Vanish);
        }
        let was_open = phase == Phase::Open || closing.as_ref().is_some_and(|closing| closing.was_open);
        if matches!(self.stage, Stage::Deferred(_)) && was_open {
            return Some(Verdict::Proceed);
        }
        if eviction.is_some() {
            return eviction.map(Verdict::Fail);
        }
        if phase != Phase::Connecting {
            let reason = closing.and_then(|closing| closing.reason.err());
            return Some(Verdict::Fail(reason.unwrap_or(Error::Cancelled)));
        }
        if is_drained {
            return Some(Verdict::Fail(Error::Draining(DRAINED_BEFORE_SETUP)));
        }
        self.arrival.as_ref()?.refusal().map(|refusal| refusal.err().map_or(Verdict::Vanish, Verdict::Fail))
    }

    fn advance(&mut self, context: &mut Context) -> Flow {
        if let Stage::Unusable(error) = &self.stage {
            let error = error.clone();
            return self.fail(error, context);
        }
        if let Stage::Resolving { endpoint, found, .. } = &self.stage {
            let Some(resolved) = lock(found).take() else { return Flow::Continue };
            let endpoint = endpoint.clone();
            self.deadlines.clear(Deadline::Resolve);
            let family = self.connection.settings().socket.family;
            match resolved {
                Ok(addresses) => self.dial(endpoint, interleave(addresses, family), context),
                Err(error) => return self.fail(error.into(), context),
            }
        }
        if let Stage::Dialing(dialer) = &mut self.stage {
            match dialer.advance(&context.registry, self.token, context.now) {
                Dialing::Pending(next) => {
                    match next {
                        Some(at) => self.deadlines.set(Deadline::NextAttempt, at),
                        None => self.deadlines.clear(Deadline::NextAttempt),
                    }
                    return Flow::Continue;
                }
                Dialing::Failed(error) => return self.fail(error.into(), context),
                Dialing::Connected(stream) => {
                    self.deadlines.clear(Deadline::NextAttempt);
                    self.deadlines.clear(Deadline::Connect);
                    if let Err(error) = self.begin_tls(stream, context) {
                        return self.fail(error.into(), context);
                    }
                }
            }
        }
        match &mut self.stage {
            Stage::Handshaking(stream) => match stream.handshake() {
                Ok(HandshakeProgress::Pending) => Flow::Continue,
                Ok(HandshakeProgress::Done) => self.establish(context),
                Err(error) => self.fail_handshake(error.into(), context),
            },
            Stage::Lingering(_) => self.linger(context),
            _ => Flow::Continue,
        }
    }

    fn begin_tls(&mut self, mut stream: transport::Stream, context: &Context) -> Result<(), transport::Error> {
        if let Some((config, server_name)) = self.connection.tls() {
            self.connection.log_line(Level::Debug, || format!("connected; TLS handshake for {server_name}"));
            stream.start_tls(TlsSession::client(config, server_name)?);
            self.start_clock(Deadline::Tls, context);
        }
        self.stage = Stage::Handshaking(stream);
        Ok(())
    }

    fn establish(&mut self, context: &mut Context) -> Flow {
        self.deadlines.cancel(&mut context.timers);
        let Stage::Handshaking(stream) = &self.stage else { return Flow::Continue };
        self.connection.describe(stream);
        if let Some(info) = self.connection.tls_info() {
            self.connection.log_line(Level::Debug, || format!("TLS handshake done: {}", info.summary()));
        }
        // Meanwhile the socket and the arrival stay where they are found if the host ends the thread.
        let announcement = match &self.arrival {
            Some(arrival) => self.connection.announce(&**arrival),
            None => Announcement::Accepted,
        };
        self.arrival = None;
        // The callback may have taken its time.
        context.now = Instant::now();
        match (announcement, std::mem::replace(&mut self.stage, Stage::Ended)) {
            (Announcement::Refused, Stage::Handshaking(mut stream)) => {
                // Closing is not enough if another process has the socket too.
                stream.deregister(&context.registry);
                drop(stream);
                Flow::Leave
            }
            (Announcement::Deferred, Stage::Handshaking(stream)) => {
                self.stage = Stage::Deferred(stream);
                self.start_clock(Deadline::Handshake, context);
                // It may have been decided on meanwhile, on another thread.
                self.go_on(context)
            }
            (_, stage) => {
                self.stage = stage;
                self.hand_over(context)
            }
        }
    }

    /// The application has the connection: its driver takes over.
    fn hand_over(&mut self, context: &mut Context) -> Flow {
        self.deadlines.cancel(&mut context.timers);
        let stage = std::mem::replace(&mut self.stage, Stage::Ended);
        let (Stage::Handshaking(stream) | Stage::Deferred(stream)) = stage else { return Flow::Continue };
        context.successor = Some(Box::new(Driver::new(self.connection.clone(), stream, self.token)));
        Flow::Leave
    }

    fn fail(&mut self, error: Error, context: &mut Context) -> Flow {
        self.close(context);
        self.tell_failure(error);
        Flow::Leave
    }

    /// Closes the socket without a callback.
    fn close(&mut self, context: &mut Context) {
        self.deadlines.cancel(&mut context.timers);
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Dialing(mut dialer) => dialer.give_up(&context.registry),
            Stage::Handshaking(mut stream) | Stage::Deferred(mut stream) => stream.deregister(&context.registry),
            Stage::Lingering(mut stream) => {
                stream.deregister(&context.registry);
                drop(stream);
                if self.connection.role() == Role::Server {
                    self.connection.leave();
                }
            }
            Stage::Resolving { .. } | Stage::Unusable(_) | Stage::Ended => {}
        }
    }

    /// The peer learns it from an alert, which a socket that is closed with input unread could lose again.
    fn fail_handshake(&mut self, error: Error, context: &mut Context) -> Flow {
        let step = match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Handshaking(stream) if stream.wants_flush() || stream.has_unfinished_bytes() => {
                self.stage = Stage::Lingering(stream);
                self.deadlines.cancel(&mut context.timers);
                self.deadlines.set(Deadline::Linger, context.now + LAST_WORDS);
                self.linger(context)
            }
            stage => {
                self.stage = stage;
                self.close(context);
                Flow::Leave
            }
        };
        self.tell_failure(error);
        step
    }

    /// Drops what the peer sends, until its end.
    fn linger(&mut self, context: &mut Context) -> Flow {
        let Stage::Lingering(stream) = &mut self.stage else { return Flow::Leave };
        if self.in_line {
            return Flow::Continue;
        }
        let mut budget = TURN_LEN;
        while budget > 0 {
            match stream.drain(&mut context.read_buffer) {
                Ok(count) if count > 0 => budget = budget.saturating_sub(count),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Flow::Continue,
                _ => {
                    self.close(context);
                    return Flow::Leave;
                }
            }
        }
        // No event reports what is there already.
        self.in_line = true;
        context.ready.push_back(self.token);
        Flow::Continue
    }

    /// Ends a connection without a callback: its listener is closed, or its failure was reported before.
    fn vanish(&mut self, context: &mut Context) -> Flow {
        self.close(context);
        drop(self.connection.lock().end());
        self.connection.leave();
        self.arrival = None;
        Flow::Leave
    }

    fn tell_failure(&mut self, error: Error) {
        match &self.arrival {
            // This connection was not announced; only the listener learns of it. The arrival stays in its place meanwhile, as above.
            Some(arrival) => {
                drop(self.connection.lock().end());
                arrival.note_failure(&error);
                if !matches!(self.stage, Stage::Lingering(_)) {
                    self.connection.leave();
                }
                self.arrival = None;
            }
            None => {
                let outcome = {
                    let mut shared = self.connection.lock();
                    // If the application has closed it meanwhile, that stays the reason.
                    shared.close(Err(error), false);
                    shared.life().closing().map_or(Ok(()), |closing| closing.reason.clone())
                };
                // No stream can be open yet: one turn is enough.
                if let Some(mut farewell) = self.connection.begin_farewell(outcome, None) {
                    farewell.advance(&self.connection, &mut Turn::begin(Instant::now()));
                }
            }
        }
    }
}

impl Resident for Setup {
    fn place(&self) -> &Place {
        self.connection.place()
    }

    fn run(&mut self, context: &mut Context) -> Flow {
        self.go_on(context)
    }

    fn take_turn(&mut self, context: &mut Context) -> Flow {
        self.in_line = false;
        self.run(context)
    }

    fn expire(&mut self, key: TimerKey, context: &mut Context) -> Flow {
        if !self.deadlines.fired(key) {
            return Flow::Continue;
        }
        // What came while the loop was busy with others is not late.
        let step = self.run(context);
        if step == Flow::Leave {
            return step;
        }
        while let Some(deadline) = self.deadlines.take_expired(context.now) {
            match deadline {
                Deadline::NextAttempt => continue,
                Deadline::Linger => {
                    self.close(context);
                    return Flow::Leave;
                }
                _ => {}
            }
            let Some(limit) = deadline.limit() else { continue };
            let time = deadline.time(&self.connection.settings().times).unwrap_or_default();
            let detail = match &self.stage {
                Stage::Dialing(dialer) => dialer.progress(),
                _ => match (self.connection.endpoint(), limit) {
                    (Some(endpoint), TimeLimit::Tls) => format!("{endpoint}; does the server use TLS there?"),
                    (Some(endpoint), _) => endpoint.to_string(),
                    (None, _) => String::new(),
                },
            };
            return self.fail(Error::TimeLimit(Box::new(PassedLimit { limit, time, detail })), context);
        }
        Flow::Continue
    }

    fn abort(&mut self, cause: AbortCause, context: &mut Context) -> Flow {
        if matches!(self.stage, Stage::Lingering(_)) {
            self.close(context);
        } else {
            self.fail(cause.into(), context);
        }
        Flow::Leave
    }

    fn discard(&mut self, context: &mut Context) {
        self.close(context);
    }
}

fn not_watched(error: &std::io::Error) -> transport::Error {
    transport::Error::from_io("watching a socket", error, transport::ErrorKind::Io)
}
