use std::ffi::CString;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use mio::Token;

use crate::runtime::admission::{Admission, MayAccept, Seat};
use crate::runtime::connection::driver::Flow;
use crate::runtime::error::text;
use crate::runtime::event_loop::timers::TimerKey;
use crate::runtime::event_loop::{Command, Context, LoopHandle};
use crate::runtime::members::Members;
use crate::runtime::runtime::{Live, deadline_after, wait_until};
use crate::runtime::statistics::{Events, Figures};
use crate::runtime::{
    Connection, Drain, Error, Level, ListenerHandler, ListenerLimits, Outcome, Repeated, Runtime, Settings,
    check_may_wait, lock,
};
use crate::transport::{self, Endpoint, ListeningSocket, RawSocket, TlsConfig};

/// Connections accepted in one go, before others get their turn.
const ACCEPTS_PER_RUN: usize = 64;
/// When the system has no room for a connection, accepting is tried again after this.
const RETRY: Duration = Duration::from_millis(100);

const LISTENER_CLOSED: Error = Error::InvalidState("the listener is closed");

/// What is needed to listen.
pub struct ListenRequest {
    /// Nothing: connections come only by `Listener::adopt_connection`.
    pub endpoint: Option<Endpoint>,
    pub settings: Settings,
    pub limits: ListenerLimits,
    /// Permissions of the socket file.
    pub unix_mode: u32,
    /// The socket file stays when the listener closes.
    pub keep_unix_file: bool,
    pub tls: Option<TlsConfig>,
}

/// A listening socket, as all threads see it.
pub struct Listener {
    settings: Arc<Settings>,
    pub(super) event_loop: Arc<LoopHandle>,
    /// Always there until the drop.
    live: Option<Live>,
    handler: OnceLock<Box<dyn ListenerHandler>>,
    address: CString,
    port: u16,
    socket: Option<ListeningSocket>,
    /// Place on the loop plus one; 0 before it has one.
    place: AtomicUsize,
    /// In force for connections accepted from now on.
    tls: Mutex<Option<TlsConfig>>,
    connections: Members<Connection>,
    admission: Arc<Admission>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// No connection is announced any more.
    closed: bool,
    /// It was closed by a drain: connections that are not announced yet are told of.
    draining: bool,
    /// Connections on their way to be announced, or to be told of as failed: on_closed comes after them.
    arrivals: usize,
    /// The socket is gone and all that a drain waits for is over.
    ended: Option<Outcome>,
    /// on_closed is called, or was.
    closing: bool,
    /// on_closed has returned.
    closed_told: bool,
}

/// A connection of which the listener's owner is still to be told, in one way or another.
pub struct Arrival {
    listener: Arc<Listener>,
}

impl Arrival {
    pub fn listener(&self) -> &Arc<Listener> {
        &self.listener
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut state = lock(&self.listener.state);
        state.arrivals -= 1;
        if state.arrivals == 0 && state.ended.is_some() {
            drop(state);
            self.listener.event_loop.post(Command::ServiceListener(self.listener.clone()));
        }
    }
}

/// A connection on its way from the listener's loop to its own.
pub struct Accepted {
    pub arrival: Arrival,
    pub connection: Arc<Connection>,
    pub stream: transport::Stream,
    pub tls: Option<TlsConfig>,
}

impl Listener {
    /// Binds and listens at once; connections are announced from then on.
    pub fn listen(
        runtime: &Arc<Runtime>,
        request: ListenRequest,
        handler: Box<dyn ListenerHandler>,
        store: impl FnOnce(&Arc<Listener>),
    ) -> Result<(), Error> {
        let live = runtime.enter()?;
        let bind = |endpoint: &Endpoint| {
            transport::Listener::bind(endpoint, request.unix_mode, request.keep_unix_file, &request.settings.socket)
        };
        let socket = request.endpoint.as_ref().map(bind).transpose()?;
        let listener = Arc::new(Listener {
            settings: Arc::new(request.settings),
            event_loop: live.event_loop().clone(),
            live: Some(live),
            handler: OnceLock::new(),
            address: text(socket.as_ref().map(transport::Listener::address).unwrap_or_default()),
            port: socket.as_ref().map_or(0, transport::Listener::port),
            socket: socket.as_ref().map(transport::Listener::shared_socket),
            place: AtomicUsize::new(0),
            tls: Mutex::new(request.tls),
            connections: Members::default(),
            admission: Admission::new(request.limits, runtime.events()),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        });
        let _ = listener.handler.set(handler);
        listener.admission.open(&listener);
        store(&listener);
        listener.event_loop.post(Command::Listen(listener.clone(), socket.map(Box::new)));
        if let Some(drain) = runtime.listeners().join(&listener) {
            listener.drain(drain);
        }
        Ok(())
    }

    /// Who is told of what happens; nobody once the loop is halted.
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
        if self.event_loop.is_usable() { Ok(()) } else { Err(self.unusable()) }
    }

    #[cold]
    #[inline(never)]
    fn unusable(&self) -> Error {
        if self.is_foreign() { Error::Forked } else { Error::RuntimeShutdown }
    }

    /// Makes those who wait see that the listener is inert.
    pub(in crate::runtime) fn wake_waits(&self) {
        let _state = lock(&self.state);
        self.changed.notify_all();
    }

    pub fn address(&self) -> &CString {
        &self.address
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn is_foreign(&self) -> bool {
        self.live.as_ref().is_some_and(|live| !live.runtime().process().is_current())
    }

    pub fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    pub(in crate::runtime) fn is_draining(&self) -> bool {
        lock(&self.state).draining
    }

    pub(in crate::runtime) fn token(&self) -> Option<Token> {
        self.place.load(Ordering::Acquire).checked_sub(1).map(Token)
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

    /// Stops listening. Connections that were announced live on; the others are ended, and nobody is told of them.
    pub fn close(self: &Arc<Self>) {
        if !std::mem::replace(&mut lock(&self.state).closed, true) {
            self.connections.all().iter().for_each(Connection::wake_setup);
            self.wake();
        }
    }

    /// Stops listening at once; connections end with their streams, or when the time is over. The listener is closed when
    /// they all have ended.
    pub fn drain(self: &Arc<Self>, drain: Drain) {
        {
            let mut state = lock(&self.state);
            state.draining |= !state.closed;
            state.closed = true;
        }
        self.connections.begin_drain(drain).iter().for_each(|connection| connection.drain(drain));
        self.wake();
    }

    /// Makes the loop look at the listener.
    pub(in crate::runtime) fn wake(self: &Arc<Self>) {
        self.event_loop.post(Command::ServiceListener(self.clone()));
    }

    pub(in crate::runtime) fn connections(&self) -> &Members<Connection> {
        &self.connections
    }

    /// Connections that were accepted and are not over.
    pub fn open_connections(&self) -> usize {
        self.connections.len()
    }

    pub fn open_streams(&self) -> usize {
        self.connections.open_streams()
    }

    pub(in crate::runtime) fn events(&self) -> &Events {
        self.admission.events()
    }

    /// The connection is over.
    pub(in crate::runtime) fn left_by(self: &Arc<Self>, connection: &Connection, figures: &Figures) {
        if self.connections.leave(connection, figures) {
            self.wake();
        }
    }

    /// A descriptor of the listening socket for the caller.
    pub fn duplicate_socket(&self) -> Result<RawSocket, Error> {
        let Some(socket) = &self.socket else {
            return Err(Error::InvalidState("the listener has no socket of its own"));
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
        let Some(live) = self.enter()? else { return Err(Error::RuntimeShutdown) };
        let seat = self.admission.seat()?;
        let stream = transport::Stream::adopt(raw, &self.settings.socket)?;
        self.take_in(stream, live, seat, arrival);
        Ok(())
    }

    /// Nothing if the listener is closed.
    fn begin_arrival(self: &Arc<Self>) -> Option<Arrival> {
        let mut state = lock(&self.state);
        if state.closed {
            return None;
        }
        state.arrivals += 1;
        Some(Arrival { listener: self.clone() })
    }

    /// Counts a new connection in.
    fn enter(&self) -> Result<Option<Live>, Error> {
        self.live.as_ref().map(|live| live.runtime().enter()).transpose()
    }

    /// Sends a connected stream on its way to be announced.
    fn take_in(self: &Arc<Self>, stream: transport::Stream, live: Live, seat: Seat, arrival: Arrival) {
        let event_loop = live.event_loop().clone();
        let connection = Connection::incoming(self.settings.clone(), live, Some(seat));
        if let Some(seat) = &connection.seat {
            seat.begin_handshake(&connection);
        }
        let tls = lock(&self.tls).clone();
        let accepted = Accepted { arrival, connection, stream, tls };
        event_loop.post(Command::Accepted(Box::new(accepted)));
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

    /// Tells of a connection that could not be had.
    pub(in crate::runtime) fn failed(self: &Arc<Self>, error: &Error) {
        self.admission.note_failure(error);
        self.log_repeated(Repeated::FailedConnection, || error.to_string());
        if let Some(handler) = self.handler() {
            handler.on_failed_connection(self, error);
        }
    }

    fn log(&self, level: Level, message: impl FnOnce() -> String) {
        if let Some(live) = &self.live {
            live.runtime().log().write(level, "listener", message);
        }
    }

    /// The same at WARN, for a line that strangers can cause in any number.
    fn log_repeated(&self, kind: Repeated, message: impl FnOnce() -> String) {
        if let Some(live) = &self.live {
            live.runtime().log().write_repeated(kind, Level::Warn, "listener", message);
        }
    }

    /// The listener is over but for its arrivals. On its loop thread.
    fn end(self: &Arc<Self>, outcome: Outcome) {
        {
            let mut state = lock(&self.state);
            state.closed = true;
            state.ended.get_or_insert(outcome);
        }
        self.tell_end();
    }

    /// Tells the listener's owner that it is closed, if all is told that comes before that. On its loop thread.
    pub(in crate::runtime) fn tell_end(self: &Arc<Self>) {
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
            format!("a listener is closed; it had {} connections", self.figures().connections_opened)
        });
        if let Some(handler) = self.handler() {
            handler.on_closed(self, &outcome);
        }
        lock(&self.state).closed_told = true;
        self.changed.notify_all();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(live) = &self.live {
            live.runtime().listeners().leave(self, &Figures::default());
        }
        if let (Some(handler), Some(live)) = (self.handler.take(), self.live.take()) {
            self.event_loop.post(Command::DestroyListener(handler, Box::new(live)));
        }
    }
}

/// The loop thread's side of a listener.
pub struct ListenerDriver {
    listener: Arc<Listener>,
    /// Gone once it is closed or drained; never there if connections come from the application alone.
    socket: Option<Box<transport::Listener>>,
    token: Token,
    /// The loop watches the socket: there is, or may be, room for a connection.
    watched: bool,
    /// It stands in the loop's line and runs when its turn comes.
    in_line: bool,
    retry: Option<TimerKey>,
}

impl ListenerDriver {
    pub fn start(
        listener: Arc<Listener>,
        mut socket: Option<Box<transport::Listener>>,
        token: Token,
        context: &mut Context,
    ) -> Option<ListenerDriver> {
        if context.shutting_down {
            drop(socket);
            listener.end(Err(Error::RuntimeShutdown));
            return None;
        }
        if let Some(Err(error)) = socket.as_mut().map(|socket| watch(socket, token, context)) {
            drop(socket);
            listener.end(Err(error.into()));
            return None;
        }
        listener.place.store(token.0 + 1, Ordering::Release);
        Some(ListenerDriver { listener, socket, token, watched: true, in_line: false, retry: None })
    }

    pub fn is_of(&self, listener: &Arc<Listener>) -> bool {
        Arc::ptr_eq(&self.listener, listener)
    }

    /// The turn has come for which it stood in the line.
    pub fn take_turn(&mut self, context: &mut Context) -> Flow {
        self.in_line = false;
        self.run(context)
    }

    /// Accepts what waits, in fair parts, or does the next step of its end.
    pub fn run(&mut self, context: &mut Context) -> Flow {
        for _ in 0..ACCEPTS_PER_RUN {
            let Some(arrival) = self.listener.begin_arrival() else {
                return self.wind_up(context);
            };
            let Some(socket) = self.socket.as_mut().filter(|_| !self.in_line) else {
                return Flow::Continue;
            };
            let may_accept = self.listener.admission.may_accept(Instant::now());
            if may_accept != MayAccept::Now {
                if std::mem::take(&mut self.watched) {
                    socket.deregister(&context.registry);
                }
                match may_accept {
                    MayAccept::At(at) => self.run_again_at(at, context),
                    _ => self.listener.log_repeated(Repeated::FullListener, || {
                        "the listener has max_connections and accepts no more".to_owned()
                    }),
                }
                return Flow::Continue;
            }
            if !self.watched {
                if let Err(error) = watch(socket, self.token, context) {
                    self.try_later(error, context);
                    return Flow::Continue;
                }
                self.watched = true;
            }
            match socket.accept() {
                Ok(Some(stream)) => self.hand_over(stream, arrival),
                Ok(None) => return Flow::Continue,
                Err(failure) if failure.is_lost => self.listener.failed(&failure.error.into()),
                Err(failure) => {
                    // The event does not come again for a connection that is still in the queue.
                    self.try_later(failure.error, context);
                    return Flow::Continue;
                }
            }
        }
        self.in_line = true;
        context.ready.push_back(self.token);
        Flow::Continue
    }

    fn try_later(&mut self, error: transport::Error, context: &mut Context) {
        self.run_again_at(Instant::now() + RETRY, context);
        self.listener.failed(&error.into());
    }

    fn run_again_at(&mut self, at: Instant, context: &mut Context) {
        if self.retry.is_none() {
            self.retry = Some(context.timers.set(at, self.token));
        }
    }

    fn hand_over(&self, stream: transport::Stream, arrival: Arrival) {
        let seat = self.listener.admission.seat_of_accepted();
        match self.listener.enter() {
            Ok(Some(live)) => self.listener.take_in(stream, live, seat, arrival),
            Ok(None) => {}
            Err(error) => {
                drop(stream);
                self.listener.failed(&error);
            }
        }
    }

    pub fn expire(&mut self, key: TimerKey, context: &mut Context) -> Flow {
        if self.retry != Some(key) {
            return Flow::Continue;
        }
        self.retry = None;
        self.run(context)
    }

    /// Listens no more. Once it is closed, or drained and without connections, it is over.
    fn wind_up(&mut self, context: &mut Context) -> Flow {
        self.give_up_socket(context);
        if self.listener.is_draining() && !self.listener.connections.is_empty() {
            return Flow::Continue;
        }
        self.listener.end(Ok(()));
        Flow::Finished
    }

    /// Ends the listener for a reason that is not the application's.
    pub fn abort(&mut self, error: Error, context: &mut Context) -> Flow {
        self.give_up_socket(context);
        self.listener.end(Err(error));
        Flow::Finished
    }

    /// Closes the socket and tells nobody of it.
    pub fn give_up_socket(&mut self, context: &mut Context) {
        if let Some(mut socket) = self.socket.take() {
            socket.deregister(&context.registry);
        }
        if let Some(key) = self.retry.take() {
            context.timers.cancel(key);
        }
    }
}

fn watch(socket: &mut transport::Listener, token: Token, context: &Context) -> Result<(), transport::Error> {
    let kind = transport::ErrorKind::Io;
    let failed = |error| transport::Error::from_io("watching a listening socket", &error, kind);
    socket.register(&context.registry, token).map_err(failed)
}
