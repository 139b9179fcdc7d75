//! A connection and its streams, as all threads see them.

use std::any::Any;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};

use super::inbox::Inbox;
use super::life::Phase;
use super::operation_name::OperationName;
use super::state::{Flush, Shared};
use crate::codec::HeaderList;
use crate::rpc::{self, Incoming, MessageType, Outgoing, Role, StreamState};
use crate::runtime::admission::Seat;
use crate::runtime::error::{Described, End, Ended, Error, Outcome};
use crate::runtime::event_loop::{Command, Destroyed, LoopHandle, Owner, Place, TimerKey, lock};
use crate::runtime::life::Live;
use crate::runtime::log::{Level, Log};
use crate::runtime::settings::Settings;
use crate::transport::{self, AddressText, Endpoint, PeerCredentials, Resolver, TlsConfig, TlsInfo};

/// Receives what happens on a connection. All calls come on the connection's event-loop thread, with no lock held.
pub trait ConnectionHandler: Destroyed {
    /// Client only; the error if there is no connection.
    fn on_setup(&self, result: Result<&Arc<Connection>, &Error>);
    fn on_protocol_message(&self, connection: &Arc<Connection>, incoming: &Incoming<'_>);
    /// Server only; the stream is refused unless it is accepted meanwhile.
    fn on_incoming_stream(&self, connection: &Arc<Connection>, stream: &Arc<Stream>, incoming: &Incoming<'_>);
    fn on_writable(&self, connection: &Arc<Connection>);
    fn on_shutdown(&self, connection: &Arc<Connection>, outcome: &Outcome);
    /// The owner's side, for whoever knows its type.
    fn as_any(&self) -> &dyn Any;
}

/// Receives what happens on a stream; same rules.
pub trait StreamHandler: Destroyed {
    fn on_message(&self, stream: &Arc<Stream>, incoming: &Incoming<'_>);
    fn on_writable(&self, stream: &Arc<Stream>);
    fn on_closed(&self, stream: &Arc<Stream>, outcome: &Outcome);
    /// Where the messages wait, if they are to be read.
    fn inbox(&self) -> Option<&Inbox> {
        None
    }
    fn as_any(&self) -> &dyn Any;
}

/// Who decides on a client's CONNECT, which is not delivered then.
#[derive(Clone)]
pub enum Gatekeeper {
    /// Every client is accepted.
    AcceptAll,
    /// Returns whether it is accepted. Called on the connection's loop thread.
    Ask(Arc<AskGatekeeper>),
}

/// Whether the client with this CONNECT is accepted.
pub type AskGatekeeper = dyn Fn(&Arc<Connection>, &Incoming<'_>) -> bool + Send + Sync;

/// What a client asked for.
pub(super) struct Target {
    pub host: CString,
    pub endpoint: Endpoint,
    pub handshake: Option<(HeaderList, Vec<u8>)>,
    pub tls: Option<(TlsConfig, String)>,
}

/// One connection, as all threads see it. The socket belongs to its driver on the loop thread.
pub struct Connection {
    // Constant after creation.
    pub(super) role: Role,
    /// A listener's connections have the listener's.
    pub(super) settings: Arc<Settings>,
    /// Nothing on a server.
    pub(super) target: Option<Box<Target>>,
    pub(super) event_loop: Arc<LoopHandle>,
    /// Of a server's connection.
    pub(in crate::runtime) seat: Option<Seat>,
    pub(super) live: Arc<Live>,
    /// Server only: the library answers CONNECT.
    pub(super) gatekeeper: Option<Gatekeeper>,
    /// Of the runtime's log: looked at for each message.
    pub(super) log_level: Level,

    // Written once, on the loop thread or in accept.
    pub(super) handler: OnceLock<Box<dyn ConnectionHandler>>,
    pub(super) addresses: OnceLock<(Described<AddressText>, Described<AddressText>)>,
    pub(super) peer_credentials: OnceLock<PeerCredentials>,
    pub(super) connect_ack: OnceLock<Box<[u8]>>,
    pub(super) tls_info: OnceLock<Box<TlsInfo>>,
    /// The sentence for the first error message of the peer's after the handshake.
    pub(super) peer_error: OnceLock<Box<str>>,
    pub(super) end: End,
    pub(super) place: Place,
    /// Handles that the application has.
    pub(super) holders: AtomicUsize,

    pub(super) shared: Mutex<SharedState>,
    /// How often it was locked.
    #[cfg(test)]
    pub(super) locks: std::sync::atomic::AtomicUsize,
    pub(super) changed: Condvar,
}

pub type SharedState = Shared<Stream>;

/// Where a stream is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamPhase {
    /// A client's stream that is not activated.
    New,
    /// A client's stream that the server's application has not accepted yet.
    Announced,
    Open,
    /// This side's TERMINATE_STREAM is accepted and not yet written.
    Closing,
    Closed,
}

impl From<StreamState> for StreamPhase {
    fn from(state: StreamState) -> StreamPhase {
        match state {
            StreamState::Announced => StreamPhase::Announced,
            StreamState::Open => StreamPhase::Open,
            StreamState::Closing => StreamPhase::Closing,
            StreamState::Closed => StreamPhase::Closed,
        }
    }
}

/// One stream of a connection, as all threads see it. The connection's state machine knows where it is in its life and what
/// its messages may do, under the connection's lock; `id` changes under that lock only.
pub struct Stream {
    pub(super) connection: Arc<Connection>,
    pub(super) handler: OnceLock<Box<dyn StreamHandler>>,
    pub(super) operation: OnceLock<OperationName>,
    pub(super) end: End,
    pub(super) id: AtomicI32,
    /// Set before the activation.
    pub(super) deadline_ms: AtomicU32,
    /// Of the deadline; loop thread only.
    pub(super) timer: OnceLock<TimerKey>,
    /// Of those who may read from it.
    pub(super) holders: AtomicUsize,
    /// It is in the connection's list of streams that wait for room.
    pub(super) blocked: AtomicBool,
    pub(super) closed_told: AtomicBool,
}

impl Connection {
    /// A connection that a listener has accepted, for its loop.
    pub(in crate::runtime) fn incoming(
        settings: Arc<Settings>,
        live: Live,
        seat: Option<Seat>,
        gatekeeper: Option<Gatekeeper>,
    ) -> Arc<Connection> {
        let connection = Connection::new(Role::Server, settings, live, None, seat, gatekeeper);
        connection.join();
        connection
    }

    pub(super) fn new(
        role: Role,
        settings: Arc<Settings>,
        live: Live,
        target: Option<Box<Target>>,
        seat: Option<Seat>,
        gatekeeper: Option<Gatekeeper>,
    ) -> Arc<Connection> {
        let event_loop = live.event_loop().clone();
        let rpc = rpc::Connection::with_buffers(role, settings.rpc_limits(), event_loop.clone());
        let shared = Shared::new(rpc);
        let log_level = live.runtime().log().level();
        Arc::new(Connection {
            role,
            log_level,
            settings,
            target,
            event_loop,
            seat,
            live: Arc::new(live),
            gatekeeper,
            handler: OnceLock::new(),
            addresses: OnceLock::new(),
            peer_credentials: OnceLock::new(),
            connect_ack: OnceLock::new(),
            tls_info: OnceLock::new(),
            peer_error: OnceLock::new(),
            end: End::default(),
            place: Place::default(),
            holders: AtomicUsize::new(0),
            shared: Mutex::new(shared),
            #[cfg(test)]
            locks: std::sync::atomic::AtomicUsize::new(0),
            changed: Condvar::new(),
        })
    }

    pub fn role(&self) -> Role {
        self.role
    }

    pub(in crate::runtime) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.target.as_ref().map(|target| &target.endpoint)
    }

    /// The host, or the Unix socket, that was asked for.
    pub fn host(&self) -> &CStr {
        self.target.as_ref().map_or(c"", |target| &target.host)
    }

    pub(in crate::runtime) fn handshake(&self) -> Option<&(HeaderList, Vec<u8>)> {
        self.target.as_ref()?.handshake.as_ref()
    }

    pub(in crate::runtime) fn tls(&self) -> Option<&(TlsConfig, String)> {
        self.target.as_ref()?.tls.as_ref()
    }

    /// What TLS agreed on, once the connection is set up; nothing on a plain one.
    pub fn tls_info(&self) -> Option<&TlsInfo> {
        self.tls_info.get().map(Box::as_ref)
    }

    pub(in crate::runtime) fn resolver(&self) -> &Resolver {
        self.live.runtime().resolver()
    }

    pub(in crate::runtime) fn log(&self) -> &Log {
        self.live.runtime().log()
    }

    /// The connection's process is another one: this is a forked child.
    pub fn is_foreign(&self) -> bool {
        self.event_loop.is_foreign()
    }

    pub(in crate::runtime) fn lock(&self) -> MutexGuard<'_, SharedState> {
        #[cfg(test)]
        self.locks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        lock(&self.shared)
    }

    /// Wakes the threads that wait for a change, if there are any: that asks the system. With the lock held.
    pub(in crate::runtime) fn notify(&self, shared: &SharedState) {
        if shared.has_waiters() {
            self.changed.notify_all();
        }
    }

    pub(super) fn notify_all(&self) {
        self.changed.notify_all();
    }

    /// Receives what happens; none once the loop is halted.
    pub fn handler(&self) -> Option<&dyn ConnectionHandler> {
        self.handler.get().filter(|_| !self.is_inert()).map(Box::as_ref)
    }

    /// Tells whom the send was made for.
    pub(in crate::runtime) fn tell(&self, flush: Flush, outcome: &Outcome) {
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
        Ok(self.event_loop.check_usable()?)
    }

    pub fn phase(&self) -> Phase {
        if self.is_inert() { Phase::Closed } else { self.lock().phase() }
    }

    /// Local and remote address, once it is connected.
    pub fn addresses(&self) -> Option<&(Described<AddressText>, Described<AddressText>)> {
        self.addresses.get()
    }

    /// Who is at the other end of a Unix socket, once it is connected.
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        self.peer_credentials.get().cloned()
    }

    /// Notes the facts about the stream, which is connected now; any thread may ask for them, also after its end.
    pub(in crate::runtime) fn describe(&self, stream: &transport::Stream) {
        if let Some(credentials) = stream.peer_credentials() {
            let _ = self.peer_credentials.set(credentials);
        }
        if let Some(info) = stream.tls_info() {
            let _ = self.tls_info.set(Box::new(info));
        }
        // The last: whoever sees the addresses finds the rest.
        let _ = self.addresses.set((Described::new(stream.local_address()), Described::new(stream.remote_address())));
    }

    /// The peer's address, empty while it is not known.
    pub(in crate::runtime) fn remote_address(&self) -> AddressText {
        self.addresses.get().map(|(_, remote)| remote.value().clone()).unwrap_or_default()
    }

    /// The bytes of the CONNECT_ACK that the library itself waited for.
    pub fn connect_ack(&self) -> Option<&[u8]> {
        self.connect_ack.get().map(Box::as_ref)
    }

    pub(in crate::runtime) fn set_connect_ack(&self, message: Vec<u8>) {
        let _ = self.connect_ack.set(message.into());
    }

    /// How the connection ended; nothing while it has not.
    pub fn end(&self) -> Option<Ended<'_>> {
        self.end.get()
    }

    pub(in crate::runtime) fn set_end(&self, outcome: Outcome) {
        self.end.set(&outcome);
    }

    pub fn outbound_len(&self) -> usize {
        self.lock().rpc.outbound_len()
    }

    /// Takes an incoming connection; only while the listener's callback announces it, or once later if it was deferred.
    pub fn accept(self: &Arc<Self>, handler: Box<dyn ConnectionHandler>) -> Result<(), Error> {
        let mut shared = self.lock();
        let was_deferred = shared.is_deferred();
        shared.accept()?;
        let _ = self.handler.set(handler);
        if was_deferred {
            self.notify(&shared);
            self.schedule(&mut shared);
        }
        Ok(())
    }

    /// Lets the application decide later; only while the listener's callback announces the connection.
    pub fn defer(&self) -> Result<(), Error> {
        self.lock().defer()
    }

    /// The application has one more handle.
    pub fn hold(&self) {
        self.holders.fetch_add(1, Ordering::AcqRel);
    }

    /// The application has one handle less. Without any nobody can accept the connection, if that is to be decided.
    pub fn let_go(self: &Arc<Self>) {
        if self.holders.fetch_sub(1, Ordering::AcqRel) == 1 && self.role == Role::Server && !self.is_inert() {
            let mut shared = self.lock();
            if shared.is_deferred() {
                shared.close(Err(Error::Cancelled), true);
                self.schedule(&mut shared);
            }
        }
    }

    pub(super) fn is_held(&self) -> bool {
        self.holders.load(Ordering::Acquire) > 0
    }

    /// Makes the driver look at the connection.
    pub(in crate::runtime) fn schedule(self: &Arc<Self>, shared: &mut SharedState) {
        if shared.ask_to_look() {
            self.event_loop.post(Command::Visit(self.clone()));
        }
    }

    /// Makes the driver write what was queued: when its turn ends it looks whether something is.
    pub(in crate::runtime) fn schedule_write(self: &Arc<Self>, shared: &mut SharedState) {
        if shared.ask_to_write() {
            self.event_loop.post(Command::Visit(self.clone()));
        }
    }
}

impl Owner for Connection {
    fn place(&self) -> &Place {
        &self.place
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.leave();
        if let Some(handler) = self.handler.take() {
            self.event_loop.post(Command::Destroy(handler, self.live.clone()));
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(handler) = self.handler.take() {
            self.connection.post(Command::Destroy(handler, self.connection.clone()));
        }
    }
}

/// The CONNECT that the library sends itself.
pub(super) fn connect_message<'a>(headers: &'a HeaderList, payload: &'a [u8]) -> Outgoing<'a> {
    let message_type = MessageType::Connect as i32;
    Outgoing { message_type, flags: 0, headers: Some(headers), operation: None, payload }
}
