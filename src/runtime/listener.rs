use std::ffi::CString;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use mio::Token;

use crate::runtime::driver::Flow;
use crate::runtime::error::text;
use crate::runtime::event_loop::{Command, Context, LoopHandle};
use crate::runtime::lifecycle::{Live, deadline_after, wait_until};
use crate::runtime::members::Members;
use crate::runtime::timers::TimerKey;
use crate::runtime::{
    Connection, Drain, Error, Level, ListenerHandler, Outcome, Runtime, Settings, check_may_wait, lock,
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
    /// Permissions of the socket file.
    pub unix_mode: u32,
    /// The socket file stays when the listener closes.
    pub keep_unix_file: bool,
    pub tls: Option<TlsConfig>,
}

/// A listening socket, as all threads see it.
pub struct Listener {
    settings: Arc<Settings>,
    event_loop: Arc<LoopHandle>,
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
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// No connection is announced any more.
    closed: bool,
    /// It was closed by a drain: connections that are not announced yet are told of.
    draining: bool,
    /// on_closed has returned.
    closed_told: bool,
}

/// A connection on its way from the listener's loop to its own.
pub struct Accepted {
    pub listener: Arc<Listener>,
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
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        });
        let _ = listener.handler.set(handler);
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
    pub(super) fn wake_waits(&self) {
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

    pub(super) fn is_draining(&self) -> bool {
        lock(&self.state).draining
    }

    pub(super) fn token(&self) -> Option<Token> {
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

    /// Stops listening. Connections that were accepted live on.
    pub fn close(self: &Arc<Self>) {
        if !std::mem::replace(&mut lock(&self.state).closed, true) {
            self.event_loop.post(Command::CloseListener(self.clone()));
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
        self.event_loop.post(Command::DrainListener(self.clone()));
    }

    pub(super) fn connections(&self) -> &Members<Connection> {
        &self.connections
    }

    /// Connections that were accepted and are not over.
    pub fn open_connections(&self) -> usize {
        self.connections.len()
    }

    pub fn open_streams(&self) -> usize {
        self.connections.open_streams()
    }

    /// The connection is over.
    pub(super) fn left_by(self: &Arc<Self>, connection: &Connection) {
        if self.connections.leave(connection) {
            self.event_loop.post(Command::DrainListener(self.clone()));
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
        if self.is_closed() {
            return Err(LISTENER_CLOSED);
        }
        let Some(live) = self.enter()? else { return Err(Error::RuntimeShutdown) };
        let stream = transport::Stream::adopt(raw, &self.settings.socket)?;
        self.take_in(stream, live);
        Ok(())
    }

    /// Counts a new connection in.
    fn enter(&self) -> Result<Option<Live>, Error> {
        self.live.as_ref().map(|live| live.runtime().enter()).transpose()
    }

    /// Sends a connected stream on its way to be announced.
    fn take_in(self: &Arc<Self>, stream: transport::Stream, live: Live) {
        let event_loop = live.event_loop().clone();
        let connection = Connection::incoming(self.settings.clone(), live, Arc::downgrade(self));
        let tls = lock(&self.tls).clone();
        let accepted = Accepted { listener: self.clone(), connection, stream, tls };
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
    pub(super) fn failed(self: &Arc<Self>, error: &Error) {
        if let Some(live) = &self.live {
            live.runtime().log().write(Level::Warn, "listener", || error.to_string());
        }
        if let Some(handler) = self.handler() {
            handler.on_failed_connection(self, error);
        }
    }

    fn ended(self: &Arc<Self>, outcome: &Outcome) {
        lock(&self.state).closed = true;
        if let Some(handler) = self.handler() {
            handler.on_closed(self, outcome);
        }
        lock(&self.state).closed_told = true;
        self.changed.notify_all();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(live) = &self.live {
            live.runtime().listeners().leave(self);
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
    /// The listener's owner was told.
    over: bool,
    token: Token,
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
        if context.shutting_down || listener.is_closed() {
            drop(socket);
            listener.ended(&if context.shutting_down { Err(Error::RuntimeShutdown) } else { Ok(()) });
            return None;
        }
        if let Some(Err(error)) = socket.as_mut().map(|socket| socket.register(&context.registry, token)) {
            let kind = transport::ErrorKind::Io;
            let error = transport::Error::from_io("watching a listening socket", &error, kind);
            drop(socket);
            listener.ended(&Err(error.into()));
            return None;
        }
        listener.place.store(token.0 + 1, Ordering::Release);
        Some(ListenerDriver { listener, socket, over: false, token, in_line: false, retry: None })
    }

    /// The turn has come for which it stood in the line.
    pub fn take_turn(&mut self, context: &mut Context) -> Flow {
        self.in_line = false;
        self.run(context)
    }

    /// Accepts what waits, in fair parts.
    pub fn run(&mut self, context: &mut Context) -> Flow {
        if self.in_line {
            return Flow::Continue;
        }
        for _ in 0..ACCEPTS_PER_RUN {
            // While it is drained, what waits is for whoever listens next.
            let Some(socket) = self.socket.as_mut().filter(|_| !self.listener.is_closed()) else {
                return Flow::Continue;
            };
            match socket.accept() {
                Ok(Some(stream)) => self.hand_over(stream),
                Ok(None) => return Flow::Continue,
                Err(failure) if failure.is_lost => self.listener.failed(&failure.error.into()),
                Err(failure) => {
                    // The event does not come again for a connection that is still in the queue.
                    if self.retry.is_none() {
                        self.retry = Some(context.timers.set(Instant::now() + RETRY, self.token));
                    }
                    self.listener.failed(&failure.error.into());
                    return Flow::Continue;
                }
            }
        }
        self.in_line = true;
        context.ready.push_back(self.token);
        Flow::Continue
    }

    fn hand_over(&self, stream: transport::Stream) {
        match self.listener.enter() {
            Ok(Some(live)) => self.listener.take_in(stream, live),
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

    pub fn close(&mut self, outcome: Outcome, context: &mut Context) -> Flow {
        self.give_up_socket(context);
        if !std::mem::replace(&mut self.over, true) {
            self.listener.ended(&outcome);
        }
        Flow::Finished
    }

    /// Listens no more, and is closed once no connection is left. Does nothing to another listener in the same place.
    pub fn drain(&mut self, listener: &Arc<Listener>, context: &mut Context) -> Flow {
        if !Arc::ptr_eq(&self.listener, listener) {
            return Flow::Continue;
        }
        self.give_up_socket(context);
        if listener.connections.is_empty() { self.close(Ok(()), context) } else { Flow::Continue }
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
