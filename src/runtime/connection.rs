use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, Weak};
use std::time::{Duration, Instant};

use mio::Token;

use crate::codec::HeaderList;
use crate::rpc::{self, MessageType, Outgoing, Role};
use crate::runtime::admission::Seat;
use crate::runtime::error::{End, Ended, text};
use crate::runtime::event_loop::{Command, LoopHandle, Task};
use crate::runtime::inbox::Inbox;
use crate::runtime::lifecycle::{Live, deadline_after, wait_until};
use crate::runtime::statistics::Tally;
use crate::runtime::timers::TimerKey;
use crate::runtime::{
    ConnectionHandler, Drain, Error, Level, Log, Outcome, Runtime, Settings, Stream, check_may_wait, lock,
};
use crate::transport::{self, Endpoint, PeerCredentials, Resolver, TlsConfig, TlsInfo};

/// Who is told that a send was written: a function and two words of its owner's. No memory of its own, so that a send
/// makes none.
#[derive(Clone, Copy)]
pub struct Flush {
    pub run: fn([usize; 2], &Outcome),
    pub words: [usize; 2],
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Connecting,
    Open,
    Closing,
    Closed,
}

/// What is needed to connect.
pub struct ConnectRequest {
    pub endpoint: Endpoint,
    pub settings: Settings,
    /// CONNECT's headers and payload, if the library is to do the handshake.
    pub handshake: Option<(HeaderList, Vec<u8>)>,
    /// TLS settings and the name that the server's certificate must have.
    pub tls: Option<(TlsConfig, String)>,
}

/// What a client asked for.
struct Target {
    host: CString,
    endpoint: Endpoint,
    handshake: Option<(HeaderList, Vec<u8>)>,
    tls: Option<(TlsConfig, String)>,
}

/// One connection, as all threads see it. The socket belongs to its driver on the loop thread.
pub struct Connection {
    // Constant after creation.
    role: Role,
    /// A listener's connections have the listener's.
    settings: Arc<Settings>,
    /// Nothing on a server.
    target: Option<Box<Target>>,
    event_loop: Arc<LoopHandle>,
    /// Of a server's connection.
    pub(super) seat: Option<Seat>,
    /// Always there until the drop.
    pub(super) live: Option<Live>,
    /// Of the runtime's log: looked at for each message.
    pub(super) log_level: Level,

    // Written once, on the loop thread or in accept.
    handler: OnceLock<Box<dyn ConnectionHandler>>,
    addresses: OnceLock<(CString, CString)>,
    peer_credentials: OnceLock<PeerCredentials>,
    connect_ack: OnceLock<Vec<u8>>,
    tls_info: OnceLock<Box<TlsInfo>>,
    end: End,
    /// Place on the loop plus one; 0 before it has one.
    place: AtomicUsize,

    shared: Mutex<Shared>,
    changed: Condvar,
}

pub(super) struct Shared {
    pub phase: Phase,
    pub rpc: rpc::Connection<Arc<Stream>, Flush>,
    /// Why the connection ends; the first reason stays.
    pub closing: Option<Closing>,
    /// Do not write what is left.
    pub aborted: bool,
    /// Why the library aborts it on its own account.
    pub eviction: Option<Error>,
    /// By the application.
    pub reading_paused: bool,
    /// Streams whose messages nobody has read: reading is paused as long as there is one.
    pub full_queues: usize,
    /// Writing failed: reading cannot be paused any more.
    pub writing_failed: bool,
    /// Too much has come after that for a queue that nobody reads.
    pub queue_overrun: bool,
    /// The incoming-connection callback is running.
    pub may_accept: bool,
    /// The driver will look at this connection without being asked again.
    pub scheduled: bool,
    /// Something other than the outgoing queue changed since the driver last looked.
    pub dirty: bool,
    /// A send on the connection itself met the outbound limit.
    pub blocked: bool,
    pub blocked_streams: Vec<Arc<Stream>>,
    pub setup: Option<Outcome>,
    pub shutdown_told: bool,
    /// It ends when its last stream does.
    pub drain: Option<Drain>,
    /// Threads that wait for something other than setup and shutdown.
    pub waiters: usize,
    /// Streams that threads wait to read from, each once per thread.
    pub readers: Vec<Arc<Stream>>,
    /// Streams that ended with messages that nobody had read, and that may still be read.
    pub unread_streams: Vec<Weak<Stream>>,
    /// It ended without a word to anybody.
    pub is_silent: bool,
    /// Activated with a deadline that the loop does not know yet.
    pub new_stream_deadlines: Vec<(Arc<Stream>, Instant)>,
    /// Of streams that are over.
    pub ended_stream_timers: Vec<TimerKey>,
    pub tally: Tally,
}

/// Why a connection ends.
#[derive(Clone, Debug)]
pub(super) struct Closing {
    pub outcome: Outcome,
    /// This side asked for it.
    pub by_this_side: bool,
}

impl Connection {
    /// Begins to connect; everything after that is told to the handler.
    pub fn connect(
        runtime: &Arc<Runtime>,
        request: ConnectRequest,
        handler: Box<dyn ConnectionHandler>,
        store: impl FnOnce(&Arc<Connection>),
    ) -> Result<(), Error> {
        let ConnectRequest { endpoint, settings, handshake, tls } = request;
        if let Some((headers, payload)) = &handshake {
            connect_message(headers, payload).prepare(false, &settings.limits.messages)?;
        }
        let live = runtime.enter()?;
        let host = match &endpoint {
            Endpoint::Tcp { host, .. } => text(host.clone()),
            Endpoint::Unix(_) => text(endpoint.to_string()),
            Endpoint::Socket(_) => CString::default(),
        };
        // The last that can fail: from here on the socket is ours.
        let adopted = match endpoint {
            Endpoint::Socket(raw) => Some(Box::new(transport::Stream::adopt(raw, &settings.socket)?)),
            Endpoint::Tcp { .. } | Endpoint::Unix(_) => None,
        };
        let target = Some(Box::new(Target { host, endpoint, handshake, tls }));
        let connection = Connection::new(Role::Client, Arc::new(settings), live, target, None);
        let _ = connection.handler.set(handler);
        connection.join();
        // The caller has its handle before the loop, and so any callback, knows of the connection.
        store(&connection);
        connection.event_loop.post(Command::Connect(connection.clone(), adopted));
        Ok(())
    }

    /// A connection that a listener has accepted, for its loop.
    pub(super) fn incoming(settings: Arc<Settings>, live: Live, seat: Option<Seat>) -> Arc<Connection> {
        let connection = Connection::new(Role::Server, settings, live, None, seat);
        connection.join();
        connection
    }

    fn new(
        role: Role,
        settings: Arc<Settings>,
        live: Live,
        target: Option<Box<Target>>,
        seat: Option<Seat>,
    ) -> Arc<Connection> {
        let event_loop = live.event_loop().clone();
        let shared = Shared {
            phase: Phase::Connecting,
            rpc: rpc::Connection::with_buffers(role, settings.rpc_limits(), event_loop.clone()),
            closing: None,
            aborted: false,
            eviction: None,
            reading_paused: false,
            full_queues: 0,
            writing_failed: false,
            queue_overrun: false,
            may_accept: false,
            scheduled: false,
            dirty: false,
            blocked: false,
            blocked_streams: Vec::new(),
            setup: None,
            shutdown_told: false,
            drain: None,
            waiters: 0,
            readers: Vec::new(),
            unread_streams: Vec::new(),
            is_silent: false,
            new_stream_deadlines: Vec::new(),
            ended_stream_timers: Vec::new(),
            tally: Tally::default(),
        };
        let log_level = live.runtime().log().level();
        Arc::new(Connection {
            role,
            log_level,
            settings,
            target,
            event_loop,
            seat,
            live: Some(live),
            handler: OnceLock::new(),
            addresses: OnceLock::new(),
            peer_credentials: OnceLock::new(),
            connect_ack: OnceLock::new(),
            tls_info: OnceLock::new(),
            end: End::default(),
            place: AtomicUsize::new(0),
            shared: Mutex::new(shared),
            changed: Condvar::new(),
        })
    }

    pub fn role(&self) -> Role {
        self.role
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.target.as_ref().map(|target| &target.endpoint)
    }

    /// The host, or the Unix socket, that was asked for.
    pub fn host(&self) -> &CStr {
        self.target.as_ref().map_or(c"", |target| &target.host)
    }

    pub(super) fn handshake(&self) -> Option<&(HeaderList, Vec<u8>)> {
        self.target.as_ref()?.handshake.as_ref()
    }

    pub(super) fn tls(&self) -> Option<&(TlsConfig, String)> {
        self.target.as_ref()?.tls.as_ref()
    }

    /// What TLS agreed on, once the connection is set up; nothing on a plain one.
    pub fn tls_info(&self) -> Option<&TlsInfo> {
        self.tls_info.get().map(Box::as_ref)
    }

    pub(super) fn resolver(&self) -> Option<&Resolver> {
        self.live.as_ref().map(|live| live.runtime().resolver())
    }

    pub(super) fn log(&self) -> Option<&Log> {
        self.live.as_ref().map(|live| live.runtime().log())
    }

    /// The connection's process is another one: this is a forked child.
    pub fn is_foreign(&self) -> bool {
        self.live.as_ref().is_some_and(|live| !live.runtime().process().is_current())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    /// Wakes the threads that wait for a change, if there are any: that asks the system. With the lock held.
    pub(super) fn notify(&self, shared: &Shared) {
        if shared.waiters > 0 {
            self.changed.notify_all();
        }
    }

    /// Who is told of what happens; nobody once the loop is halted.
    pub fn handler(&self) -> Option<&dyn ConnectionHandler> {
        self.handler.get().filter(|_| !self.is_inert()).map(Box::as_ref)
    }

    /// Tells whom the send was made for.
    pub(super) fn tell(&self, flush: Flush, outcome: &Outcome) {
        if !self.is_inert() {
            (flush.run)(flush.words, outcome);
        }
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

    pub fn phase(&self) -> Phase {
        if self.is_inert() { Phase::Closed } else { self.lock().phase }
    }

    pub(super) fn token(&self) -> Option<Token> {
        self.place.load(Ordering::Acquire).checked_sub(1).map(Token)
    }

    pub(super) fn set_token(&self, token: Token) {
        self.place.store(token.0 + 1, Ordering::Release);
    }

    /// Local and remote address, once it is connected.
    pub fn addresses(&self) -> Option<&(CString, CString)> {
        self.addresses.get()
    }

    /// Who is at the other end of a Unix socket, once it is connected.
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        self.peer_credentials.get().copied()
    }

    /// Notes what the stream, which is connected now, can tell; it may be asked on any thread, also after its end.
    pub(super) fn describe(&self, stream: &transport::Stream) {
        if let Some(credentials) = stream.peer_credentials() {
            let _ = self.peer_credentials.set(credentials);
        }
        if let Some(info) = stream.tls_info() {
            let _ = self.tls_info.set(Box::new(info));
        }
        // The last: whoever sees the addresses finds the rest.
        let _ = self.addresses.set((text(stream.local_address()), text(stream.remote_address())));
    }

    /// The peer with its address, if it has one, for sentences.
    pub(super) fn peer_name(&self) -> String {
        match self.addresses.get().map(|(_, remote)| remote.to_string_lossy()) {
            Some(remote) if !remote.is_empty() && remote != "unix:" => format!("the peer {remote}"),
            _ => "the peer".to_owned(),
        }
    }

    /// The bytes of the CONNECT_ACK that the library itself waited for.
    pub fn connect_ack(&self) -> Option<&[u8]> {
        self.connect_ack.get().map(Vec::as_slice)
    }

    pub(super) fn set_connect_ack(&self, message: Vec<u8>) {
        let _ = self.connect_ack.set(message);
    }

    /// How the connection ended, with the sentence; nothing while it has not.
    pub fn end(&self) -> Option<&Ended> {
        self.end.get()
    }

    pub(super) fn set_end(&self, outcome: Outcome) {
        self.end.set(&outcome);
    }

    pub fn outbound_len(&self) -> usize {
        self.lock().rpc.outbound_len()
    }

    /// Takes an incoming connection; only while the listener's callback announces it.
    pub fn accept(&self, handler: Box<dyn ConnectionHandler>) -> Result<(), Error> {
        let mut shared = self.lock();
        if !shared.may_accept {
            return Err(Error::InvalidState(
                "a connection can be accepted once, and only inside the on_incoming_connection that announces it",
            ));
        }
        if shared.phase != Phase::Connecting {
            return Err(rpc::Error::ConnectionClosed.into());
        }
        shared.may_accept = false;
        let _ = self.handler.set(handler);
        shared.phase = Phase::Open;
        if let Some(error) = shared.eviction.clone() {
            shared.begin_close(Err(error), false);
        }
        Ok(())
    }

    /// Makes the driver look at the connection.
    pub(super) fn schedule(self: &Arc<Self>, shared: &mut Shared) {
        shared.dirty = true;
        self.schedule_write(shared);
    }

    /// Makes the driver write what was queued: when its turn ends it looks whether something is.
    pub(super) fn schedule_write(self: &Arc<Self>, shared: &mut Shared) {
        if !shared.scheduled {
            shared.scheduled = true;
            self.event_loop.post(Command::Service(self.clone()));
        }
    }

    /// Writes what was accepted, then closes.
    pub fn close(self: &Arc<Self>, outcome: Outcome) {
        self.end_here(outcome, false);
    }

    /// Closes without writing what is left.
    pub fn abort(self: &Arc<Self>) {
        self.end_here(Ok(()), true);
    }

    fn end_here(self: &Arc<Self>, outcome: Outcome, abort: bool) {
        let mut shared = self.lock();
        match shared.phase {
            Phase::Closed => return,
            Phase::Closing if !abort => return,
            Phase::Closing => {}
            Phase::Connecting => shared.begin_close(Err(Error::Cancelled), true),
            Phase::Open => shared.begin_close(outcome, true),
        }
        shared.aborted |= abort;
        self.schedule(&mut shared);
        self.notify(&shared);
        let readers: Vec<_> = shared.rpc.streams().filter(|stream| stream.inbox().is_some()).cloned().collect();
        drop(shared);
        readers.iter().filter_map(|stream| stream.inbox()).for_each(Inbox::wake);
    }

    /// Queues a protocol message.
    pub fn send_protocol(self: &Arc<Self>, message: Outgoing<'_>, flush: Option<Flush>) -> Result<(), Error> {
        let prepared = message.prepare_in(false, &self.settings.limits.messages, self.buffers())?;
        let mut shared = self.lock();
        shared.check_ready()?;
        match shared.rpc.send_protocol(prepared, flush) {
            Ok(ending) => {
                if message.message_type == MessageType::ConnectAck as i32
                    && let Some(seat) = &self.seat
                {
                    seat.end_handshake();
                }
                if ending.is_some() {
                    // A refusal and TERMINATE_STREAM end the connection well, once they are written.
                    shared.begin_close(Ok(()), true);
                }
                self.schedule(&mut shared);
                drop(shared);
                self.log_sent(&message, 0);
                Ok(())
            }
            Err(error) => {
                shared.blocked |= matches!(error, rpc::Error::WouldBlock { .. });
                Err(error.into())
            }
        }
    }

    /// Asks a silent peer for a sign of life; false if that is not allowed now, as before the handshake is done.
    pub(super) fn send_keep_alive(self: &Arc<Self>) -> bool {
        let mut shared = self.lock();
        let is_sent = shared.rpc.send_keep_alive();
        if is_sent {
            self.schedule(&mut shared);
        }
        is_sent
    }

    /// Stops or resumes reading from the peer.
    pub fn set_reading_paused(self: &Arc<Self>, paused: bool) -> Result<(), Error> {
        let mut shared = self.lock();
        shared.check_ready()?;
        shared.reading_paused = paused && !shared.writing_failed;
        if !paused {
            self.schedule(&mut shared);
        }
        Ok(())
    }

    /// Runs the task once on the connection's loop thread.
    pub fn run_on_loop(self: &Arc<Self>, task: Task) {
        self.event_loop.post(Command::Task(task, Some(self.clone())));
    }

    /// Where the memory of large messages comes from, and goes.
    pub(super) fn buffers(&self) -> &LoopHandle {
        &self.event_loop
    }

    pub(super) fn post(&self, command: Command) {
        self.event_loop.post(command);
    }

    pub fn wait_setup(&self, timeout: Option<Duration>) -> Result<Outcome, Error> {
        let what = "the connection was not set up within the given time";
        self.wait(timeout, what, |shared| shared.setup.clone())
    }

    /// Waits until on_shutdown has returned.
    pub fn wait_shutdown(&self, timeout: Option<Duration>) -> Result<Outcome, Error> {
        let what = "the connection did not end within the given time";
        self.wait(timeout, what, |shared| {
            shared.shutdown_told.then(|| self.end().map_or(Ok(()), |(outcome, _)| outcome.clone()))
        })
    }

    /// Waits until all that was accepted before the call is written, or cannot be.
    pub fn wait_flush(&self, timeout: Option<Duration>) -> Result<Outcome, Error> {
        let mut goal = None;
        self.wait(timeout, "not everything was written within the given time", |shared| {
            let (queued, written) = shared.rpc.outbound_positions();
            if written >= *goal.get_or_insert(queued) {
                return Some(Ok(()));
            }
            shared.shutdown_told.then(|| match self.end() {
                Some((Err(error), _)) => Err(error.clone()),
                _ => Err(Error::ConnectionClosed),
            })
        })
    }

    /// Makes all who wait look at the connection.
    pub(super) fn wake_waits(&self) {
        let readers = {
            let shared = self.lock();
            self.changed.notify_all();
            shared.readers.clone()
        };
        readers.iter().filter_map(|stream| stream.inbox()).for_each(Inbox::wake);
    }

    /// Ends without a word to anybody, as its loop has been halted or has died: lets go of what it holds, and wakes those who
    /// wait. Does nothing to the connection of another loop.
    pub(super) fn fall_silent_with(&self, event_loop: &LoopHandle) {
        if !std::ptr::eq(&*self.event_loop, event_loop) {
            return;
        }
        let outcome = Err(Error::RuntimeShutdown);
        let (ended, kept_streams) = {
            let mut shared = self.lock();
            shared.begin_close(outcome.clone(), false);
            shared.phase = Phase::Closed;
            shared.is_silent = true;
            let kept = (std::mem::take(&mut shared.blocked_streams), std::mem::take(&mut shared.new_stream_deadlines));
            (shared.rpc.end(), kept)
        };
        self.set_end(outcome.clone());
        ended.streams.iter().for_each(|stream| stream.set_end(&outcome));
        drop((ended, kept_streams));
        self.leave();
        self.wake_waits();
    }

    /// Waits for something that a thread signals by `notify`.
    pub(super) fn wait<R>(
        &self,
        timeout: Option<Duration>,
        what: &str,
        mut ready: impl FnMut(&Shared) -> Option<R>,
    ) -> Result<R, Error> {
        check_may_wait()?;
        let deadline = deadline_after(timeout);
        let mut shared = self.lock();
        shared.waiters += 1;
        let result = loop {
            if self.is_inert() {
                break Err(Error::RuntimeShutdown);
            }
            if let Some(result) = ready(&shared) {
                break Ok(result);
            }
            let (next, in_time) = wait_until(&self.changed, shared, deadline);
            shared = next;
            if !in_time {
                break Err(Error::TimedOut(what.to_owned()));
            }
        };
        shared.waiters -= 1;
        result
    }
}

impl Shared {
    /// Ends the connection: nothing is accepted or dispatched from now on. The first reason stays.
    pub fn begin_close(&mut self, outcome: Outcome, by_this_side: bool) {
        self.phase = Phase::Closing;
        self.rpc.close_sending();
        self.closing.get_or_insert(Closing { outcome, by_this_side });
    }

    /// Writing has failed, so the connection ends once what has come is delivered.
    pub fn end_pauses(&mut self) {
        self.writing_failed = true;
        self.reading_paused = false;
    }

    /// Nothing is to be read from the peer now.
    pub fn is_reading_paused(&self) -> bool {
        self.reading_paused || (self.full_queues > 0 || self.rpc.must_not_read()) && !self.writing_failed
    }

    /// Enough of the outbound queue is written for those who were refused.
    pub fn has_room(&self) -> bool {
        self.rpc.outbound_len() <= self.rpc.outbound_limit() / 2
    }

    pub fn check_ready(&self) -> Result<(), Error> {
        match self.phase {
            Phase::Connecting => Err(Error::NotReady),
            Phase::Open => Ok(()),
            Phase::Closing | Phase::Closed if self.is_silent => Err(Error::RuntimeShutdown),
            Phase::Closing | Phase::Closed => Err(rpc::Error::ConnectionClosed.into()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.leave();
        if let (Some(handler), Some(live)) = (self.handler.take(), self.live.take()) {
            self.event_loop.post(Command::DestroyConnection(handler, Box::new(live)));
        }
    }
}

/// The CONNECT that the library sends itself.
pub(super) fn connect_message<'a>(headers: &'a HeaderList, payload: &'a [u8]) -> Outgoing<'a> {
    let message_type = MessageType::Connect as i32;
    Outgoing { message_type, flags: 0, headers: Some(headers), operation: None, payload }
}
