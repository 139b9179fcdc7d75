//! A listening socket, as all threads see it.

use std::any::Any;
use std::ffi::CString;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use crate::codec::counted;
use crate::runtime::admission::{Admission, Seat, Woken};
use crate::runtime::connection::Gatekeeper;
use crate::runtime::connection::handle::Connection;
use crate::runtime::connection::setup::{self, Setup};
use crate::runtime::connection::state::DRAINED_BEFORE_SETUP;
use crate::runtime::error::{Error, Outcome};
use crate::runtime::event_loop::{
    Command, Destroyed, LoopError, LoopHandle, Owner, Place, Resident, check_may_wait, deadline_after, lock, wait_until,
};
use crate::runtime::life::{Kind, Live};
use crate::runtime::log::{Level, Repeated};
use crate::runtime::members::{Drain, Member, Members};
use crate::runtime::settings::Settings;
use crate::runtime::statistics::Figures;
use crate::transport::{self, ListeningSocket, RawSocket, TlsConfig};

/// Receives what happens on a listener. `on_incoming_connection` comes on the connection's event-loop thread, the
/// rest on the listener's.
pub trait ListenerHandler: Destroyed {
    /// The connection is refused unless it is accepted meanwhile.
    fn on_incoming_connection(&self, listener: &Arc<Listener>, connection: &Arc<Connection>);
    fn on_failed_connection(&self, listener: &Arc<Listener>, error: &Error);
    fn on_closed(&self, listener: &Arc<Listener>, outcome: &Outcome);
    fn as_any(&self) -> &dyn Any;
}

const LISTENER_CLOSED: Error = Error::InvalidState("the listener is closed");

/// A listening socket, as all threads see it.
pub struct Listener {
    pub(super) settings: Arc<Settings>,
    pub(super) event_loop: Arc<LoopHandle>,
    pub(super) live: Arc<Live>,
    pub(super) handler: OnceLock<Box<dyn ListenerHandler>>,
    pub(super) address: CString,
    pub(super) port: u16,
    pub(super) socket: Option<ListeningSocket>,
    pub(super) place: Place,
    /// In force for connections accepted from now on.
    pub(super) tls: Mutex<Option<TlsConfig>>,
    pub(super) gatekeeper: Option<Gatekeeper>,
    pub(super) admission: Arc<Admission>,
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    /// No connection is announced any more.
    closed: bool,
    /// It was closed by a drain: connections that are not announced yet are reported.
    draining: bool,
    /// Connections about to be announced or reported as failed: on_closed comes after them.
    arrivals: usize,
    /// The socket is gone and all that a drain waits for has ended.
    ended: Option<Outcome>,
    /// on_closed is called, or was.
    closing: bool,
    /// on_closed has returned.
    closed_told: bool,
}

/// A connection that is still to be announced to the listener's owner, or reported as failed.
pub struct Arrival {
    listener: Arc<Listener>,
}

impl setup::Arrival for Arrival {
    fn refusal(&self) -> Option<Result<(), Error>> {
        let state = lock(&self.listener.state);
        match (state.closed, state.draining) {
            (_, true) => Some(Err(Error::Draining(DRAINED_BEFORE_SETUP))),
            (true, false) => Some(Ok(())),
            (false, false) => None,
        }
    }

    fn announce(&self, connection: &Arc<Connection>) {
        if let Some(handler) = self.listener.handler() {
            handler.on_incoming_connection(&self.listener, connection);
        }
    }

    fn note_failure(&self, error: &Error) {
        self.listener.failed(error);
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut state = lock(&self.listener.state);
        state.arrivals -= 1;
        if state.arrivals == 0 && state.ended.is_some() {
            drop(state);
            let listener = self.listener.clone();
            let tell_end = move |ran: Result<(), LoopError>| {
                if ran.is_ok() {
                    listener.tell_end();
                }
            };
            self.listener.event_loop.post(Command::Run(Box::new(tell_end), None));
        }
    }
}

impl Listener {
    /// Receives what happens; none once the loop is halted.
    pub fn handler(&self) -> Option<&dyn ListenerHandler> {
        self.handler.get().filter(|_| !self.is_inert()).map(Box::as_ref)
    }

    /// Its loop was halted or has died: nobody is called any more and every call is refused.
    pub fn is_inert(&self) -> bool {
        self.event_loop.is_halted()
    }

    /// Whether calls on it are carried out: not in a forked child, and not once it is inert.
    #[inline(always)]
    pub fn check_usable(&self) -> Result<(), Error> {
        Ok(self.event_loop.check_usable()?)
    }

    pub fn address(&self) -> &CString {
        &self.address
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn is_foreign(&self) -> bool {
        self.event_loop.is_foreign()
    }

    pub fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    pub(super) fn is_draining(&self) -> bool {
        lock(&self.state).draining
    }

    /// Puts new TLS settings in place, for handshakes that begin from now on.
    pub fn set_tls(&self, config: TlsConfig) -> Result<(), Error> {
        let mut tls = lock(&self.tls);
        if tls.is_none() {
            return Err(Error::InvalidState("a listener without TLS cannot be given TLS settings while it listens"));
        }
        *tls = Some(config);
        Ok(())
    }

    /// Stops listening. Connections that were announced live on; the others are ended without a callback.
    pub fn close(self: &Arc<Self>) {
        if !std::mem::replace(&mut lock(&self.state).closed, true) {
            self.connections().all().into_iter().for_each(|connection| connection.note_closed_listener());
            self.visit();
        }
    }

    /// Stops listening at once; connections end with their streams, or when the time has passed. The listener is closed when
    /// they all have ended.
    pub fn drain(self: &Arc<Self>, drain: Drain) {
        {
            let mut state = lock(&self.state);
            state.draining |= !state.closed;
            state.closed = true;
        }
        self.connections().drain(drain);
        self.visit();
    }

    /// Makes the loop look at the listener.
    fn visit(self: &Arc<Self>) {
        self.event_loop.post(Command::Visit(self.clone()));
    }

    pub(super) fn connections(&self) -> &Members {
        self.admission.connections()
    }

    /// Connections that were accepted and are not over.
    pub fn open_connections(&self) -> usize {
        self.connections().len()
    }

    pub fn open_streams(&self) -> usize {
        self.connections().open_streams()
    }

    pub fn figures(&self) -> Figures {
        let mut figures = self.connections().figures();
        figures.add(&self.admission.events().figures());
        figures
    }

    /// A descriptor of the listening socket for the caller.
    pub fn duplicate_socket(&self) -> Result<RawSocket, Error> {
        let Some(socket) = &self.socket else {
            return Err(Error::InvalidState("the listener does not listen on a socket"));
        };
        if self.is_closed() {
            return Err(LISTENER_CLOSED);
        }
        Ok(socket.duplicate().ok_or(LISTENER_CLOSED)??)
    }

    /// Takes over a connected socket of the application's, as if it had been accepted. After an error it stays the
    /// application's.
    pub fn adopt_connection(self: &Arc<Self>, raw: RawSocket) -> Result<(), Error> {
        let arrival = self.begin_arrival().ok_or(LISTENER_CLOSED)?;
        let live = self.enter()?;
        let seat = self.admission.seat()?;
        let stream = transport::Stream::adopt(raw, &self.settings.socket)?;
        self.take_in(stream, live, seat, arrival);
        Ok(())
    }

    /// Nothing if the listener is closed.
    pub(super) fn begin_arrival(self: &Arc<Self>) -> Option<Arrival> {
        let mut state = lock(&self.state);
        if state.closed {
            return None;
        }
        state.arrivals += 1;
        Some(Arrival { listener: self.clone() })
    }

    /// Counts a new connection in.
    pub(super) fn enter(&self) -> Result<Live, Error> {
        self.live.runtime().enter(Kind::Connection)
    }

    /// As `enter`, on the loop of the listener.
    pub(super) fn enter_here(&self) -> Result<Live, Error> {
        self.live.runtime().enter_at(Kind::Connection, self.event_loop.number())
    }

    /// Sends a connected stream on its way to be announced.
    pub(super) fn take_in(self: &Arc<Self>, stream: transport::Stream, live: Live, seat: Seat, arrival: Arrival) {
        let event_loop = live.event_loop().clone();
        let connection = Connection::incoming(self.settings.clone(), live, Some(seat), self.gatekeeper.clone());
        if let Some(seat) = &connection.seat {
            seat.begin_handshake(&connection);
        }
        let tls = lock(&self.tls).clone();
        event_loop.post(Command::Settle(Box::new(move |token, context| {
            let setup = Setup::accept(connection, stream, tls, Box::new(arrival), token, context)?;
            Some(Box::new(setup) as Box<dyn Resident>)
        })));
    }

    /// Waits until on_closed has returned.
    pub fn wait_closed(&self, timeout: Option<Duration>) -> Result<(), Error> {
        check_may_wait()?;
        let deadline = deadline_after(timeout);
        let mut state = lock(&self.state);
        while !state.closed_told {
            if self.is_inert() {
                return Err(Error::RuntimeShutdown);
            }
            let (next, in_time) = wait_until(&self.changed, state, deadline);
            state = next;
            if !in_time {
                return Err(Error::TimedOut("the listener was not closed within the given time".to_owned()));
            }
        }
        Ok(())
    }

    /// Reports a connection that failed before it was announced.
    pub(super) fn failed(self: &Arc<Self>, error: &Error) {
        self.admission.note_failure(error);
        self.log_repeated(Repeated::FailedConnection, || error.to_string());
        if let Some(handler) = self.handler() {
            handler.on_failed_connection(self, error);
        }
    }

    fn log(&self, level: Level, message: impl FnOnce() -> String) {
        self.live.runtime().log().write(level, "listener", message);
    }

    /// The same at WARN, for a line that strangers can cause in any number.
    pub(super) fn log_repeated(&self, kind: Repeated, message: impl FnOnce() -> String) {
        self.live.runtime().log().write_repeated(kind, Level::Warn, "listener", message);
    }

    /// The listener has ended but for its arrivals. On its loop thread.
    pub(super) fn end(self: &Arc<Self>, outcome: Outcome) {
        {
            let mut state = lock(&self.state);
            state.closed = true;
            state.ended.get_or_insert(outcome);
        }
        self.tell_end();
    }

    /// Reports to the listener's owner that it is closed, once everything before that is reported. On its loop thread.
    pub(super) fn tell_end(self: &Arc<Self>) {
        let outcome = {
            let mut state = lock(&self.state);
            match &state.ended {
                Some(outcome) if state.arrivals == 0 && !state.closing => {
                    let outcome = outcome.clone();
                    state.closing = true;
                    outcome
                }
                _ => return,
            }
        };
        self.log(Level::Debug, || {
            format!("a listener is closed after {}", counted(self.figures().connections_opened as usize, "connection"))
        });
        if let Some(handler) = self.handler() {
            handler.on_closed(self, &outcome);
        }
        lock(&self.state).closed_told = true;
        self.changed.notify_all();
    }
}

impl Member for Listener {
    fn drain(self: Arc<Self>, drain: Drain) {
        Listener::drain(&self, drain);
    }

    fn wake_waits(&self) {
        let _state = lock(&self.state);
        self.changed.notify_all();
    }

    fn fall_silent_with(&self, event_loop: &LoopHandle) {
        if std::ptr::eq(&*self.event_loop, event_loop) {
            self.wake_waits();
        }
    }

    fn has_ended(&self) -> bool {
        lock(&self.state).ended.is_some()
    }
}

impl Owner for Listener {
    fn place(&self) -> &Place {
        &self.place
    }
}

impl Woken for Listener {
    fn wake(self: Arc<Self>) {
        self.visit();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.live.runtime().listeners().leave(self, &Figures::default());
        if let Some(handler) = self.handler.take() {
            self.event_loop.post(Command::Destroy(handler, self.live.clone()));
        }
    }
}
