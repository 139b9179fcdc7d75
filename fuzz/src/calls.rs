//! The functions of the C interface that make, use and end connections, called in any order, from outside and from
//! callbacks, against the promises of the header: which callbacks come, how often, and in which order.
//!
//! The sockets are the two ends of a pair. Both are the library's, or one is a peer that writes what it likes.

use std::collections::{HashSet, VecDeque};
use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use eventstream_rpc::codec::{self, HeaderList, HeaderValue};
use eventstream_rpc::ffi::adopted_sockets::*;
use eventstream_rpc::ffi::blocking::*;
use eventstream_rpc::ffi::client_options::*;
use eventstream_rpc::ffi::connection::*;
use eventstream_rpc::ffi::connection_info::*;
use eventstream_rpc::ffi::connection_options::*;
use eventstream_rpc::ffi::connection_times::*;
use eventstream_rpc::ffi::drain::*;
use eventstream_rpc::ffi::listener::*;
use eventstream_rpc::ffi::listener_options::*;
use eventstream_rpc::ffi::message::*;
use eventstream_rpc::ffi::runtime::*;
use eventstream_rpc::ffi::status::esrpc_status;
use eventstream_rpc::ffi::status::esrpc_status_code::*;
use eventstream_rpc::ffi::stream::*;

use crate::headers::{borrow, lend};

const OK: esrpc_status = ESRPC_OK as esrpc_status;
const MAX_STEPS: usize = 60;
const MAX_STREAMS: usize = 30;
/// What takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(20);
/// Ordinary waits: long enough to see the other thread act now and then.
const SHORT_MS: u32 = 2;
const A_LITTLE: Duration = Duration::from_millis(5);
const STOPPED: esrpc_status = ESRPC_ERROR_RUNTIME_SHUTDOWN as esrpc_status;

#[derive(Arbitrary, Debug)]
enum Step {
    NewStream {
        table: bool,
    },
    /// A new stream and its activation.
    Open {
        flags: u8,
        len: u16,
    },
    Stream {
        stream: u8,
        call: StreamCall,
    },
    Connection {
        server: bool,
        call: ConnectionCall,
    },
    Call {
        len: u16,
    },
    Accept(u8),
    /// What callbacks do, from now on, one thing each.
    InCallbacks([Inside; 4]),
    Raw(Vec<u8>),
    RawMessage {
        message_type: i8,
        flags: u8,
        stream: u8,
        operation: bool,
        len: u8,
    },
    RawEnd,
    Listener(u8),
    /// Some stop the runtime.
    Odd(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum StreamCall {
    Activate { flags: u8, len: u16 },
    Send { flags: u8, is_error: bool, len: u16 },
    SendBlocking { len: u16 },
    Read,
    Close,
    Release,
    SetDeadline(u8),
    WaitClosed,
    Getters,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum ConnectionCall {
    Send { message_type: u8, flags: u8, len: u16 },
    Close { reason: u8 },
    Abort,
    Pause,
    Resume,
    RunOnLoop,
    WaitSetup,
    WaitFlush,
    WaitShutdown,
    Getters,
}

/// What a callback does with the handle that it is given.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Inside {
    Nothing,
    Accept,
    Refuse,
    Send(u8),
    SendLast,
    Answer,
    Close,
    Abort,
    PauseBriefly,
    NewStream,
    Getters,
    /// These are refused there.
    Wait,
}

#[derive(Arbitrary, Debug)]
struct Settings {
    peers: u8,
    outbound_limit: u16,
    message_limit: u8,
    queue_limit: u8,
    linger: u8,
    handshake: bool,
    answers: bool,
    closes: bool,
    /// Begins once the connection is set up, if it ever is.
    is_patient: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Client,
    Server,
    Stream,
    Listener,
}

/// What callbacks of one object have told.
struct Object {
    kind: Kind,
    world: Arc<World>,
    /// Of a stream: its connection's.
    parent: Option<Arc<Object>>,
    is_set_up: AtomicBool,
    /// Set before the call, as callbacks may come before it returns.
    may_be_active: AtomicBool,
    is_active: AtomicBool,
    has_ended: AtomicBool,
    /// Accepted sends that were not answered.
    owed: AtomicU32,
    last_numbers: Mutex<[u32; 2]>,
}

/// All of one run.
struct World {
    /// Objects whose on_destroy has to come, flush callbacks and tasks that have to come.
    awaited: Mutex<Awaited>,
    changed: Condvar,
    inside: Mutex<VecDeque<Inside>>,
    is_in_callback: AtomicBool,
    numbers: [AtomicU32; 2],
    /// Handles that callbacks took for the main thread.
    connections: Mutex<Vec<Owned<esrpc_connection>>>,
    streams: Mutex<Vec<Owned<esrpc_stream>>>,
    accepts: AtomicBool,
    /// A peer of its own writes what it likes, numbers too.
    has_raw_peer: bool,
    /// What the library has to give back.
    lent: Mutex<HashSet<Lent>>,
}

/// Memory that is handed to the library as user data.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Lent {
    Object(usize),
    Flush(usize),
    Task(usize),
}

impl Lent {
    /// # Safety
    /// It is alive, and nobody uses it any more.
    unsafe fn free(self) {
        // SAFETY: what the caller promised.
        unsafe {
            match self {
                Lent::Object(address) => drop(Box::from_raw(address as *mut Arc<Object>)),
                Lent::Flush(address) => drop(Box::from_raw(address as *mut Flush)),
                Lent::Task(address) => drop(Box::from_raw(address as *mut Task)),
            }
        }
    }
}

#[derive(Debug, Default)]
struct Awaited {
    objects: u32,
    flushes: u32,
    tasks: u32,
}

impl Awaited {
    fn left(&self) -> u32 {
        self.objects + self.flushes + self.tasks
    }
}

/// A reference that the main thread gives back, and the object that it belongs to.
struct Owned<T>(*mut T, Option<Arc<Object>>);

// SAFETY: handles may be used on any thread.
unsafe impl<T> Send for Owned<T> {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics and goes on")
}

impl World {
    fn change(&self, change: impl FnOnce(&mut Awaited)) {
        change(&mut lock(&self.awaited));
        self.changed.notify_all();
    }

    fn lend(&self, lent: Lent) {
        assert!(lock(&self.lent).insert(lent));
    }

    fn note_back(&self, lent: Lent) {
        assert!(lock(&self.lent).remove(&lent));
    }

    /// Nothing is called any more: what was lent is freed now, so that whoever uses it all the same is found out.
    fn forget_all(&self) {
        for lent in lock(&self.lent).drain() {
            // SAFETY: it was not given back, and the library does not use it after a stop.
            unsafe { lent.free() };
        }
        self.change(|awaited| *awaited = Awaited::default());
    }

    fn next_inside(&self) -> Inside {
        lock(&self.inside).pop_front().unwrap_or(Inside::Nothing)
    }

    /// Whether nothing more has to come; waits for it a little.
    fn is_all_told(&self) -> bool {
        let mut awaited = lock(&self.awaited);
        if awaited.left() > 0 {
            awaited = self.changed.wait_timeout(awaited, A_LITTLE).expect("nobody panics and goes on").0;
        }
        awaited.left() == 0
    }

    /// A payload with a number that rises on each sending thread.
    fn payload(&self, inside: bool, len: usize) -> Vec<u8> {
        let tag = usize::from(inside);
        let number = self.numbers[tag].fetch_add(1, Ordering::Relaxed);
        let mut payload = vec![tag as u8];
        payload.extend(number.to_be_bytes());
        payload.resize(payload.len() + len, 0xee);
        payload
    }
}

impl Object {
    fn new(kind: Kind, world: &Arc<World>, parent: Option<Arc<Object>>) -> Arc<Object> {
        Arc::new(Object {
            kind,
            world: world.clone(),
            parent,
            is_set_up: AtomicBool::new(false),
            may_be_active: AtomicBool::new(false),
            is_active: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            owed: AtomicU32::new(0),
            last_numbers: Mutex::new([0; 2]),
        })
    }

    /// For a callback table. It is freed by on_destroy: whatever is called later finds freed memory.
    fn user_data(self: &Arc<Object>) -> *mut c_void {
        self.world.change(|awaited| awaited.objects += 1);
        let user_data = Box::into_raw(Box::new(self.clone()));
        self.world.lend(Lent::Object(user_data as usize));
        user_data.cast()
    }

    /// Of a call that has made nothing.
    unsafe fn take_back(user_data: *mut c_void) {
        // SAFETY: made by user_data, and nobody calls with it.
        let object = unsafe { Box::from_raw(user_data.cast::<Arc<Object>>()) };
        object.world.note_back(Lent::Object(user_data as usize));
        object.world.change(|awaited| awaited.objects -= 1);
    }

    /// The connection that this is, or that it belongs to.
    fn connection(self: &Arc<Object>) -> Arc<Object> {
        self.parent.clone().unwrap_or_else(|| self.clone())
    }

    /// A message's number rises on each stream, for each thread that sends.
    fn check_order(&self, payload: &[u8]) {
        let [tag @ (0 | 1), a, b, c, d, ..] = *payload else { return };
        let number = u32::from_be_bytes([a, b, c, d]) + 1;
        let last = &mut lock(&self.last_numbers)[usize::from(tag)];
        assert!(number > *last, "{number} comes after {last}");
        *last = number;
    }
}

/// Every callback begins and ends with these: one at a time, and all on the runtime's only thread.
struct InCallback(Arc<Object>);

/// Of the runtime that runs now.
static LOOP_THREAD: Mutex<Option<ThreadId>> = Mutex::new(None);
/// The runtime is being stopped or was, and another was not made yet: calls inside a callback that runs meanwhile may be refused.
static IS_STOPPING: AtomicBool = AtomicBool::new(false);
/// The stop has returned.
static IS_STOPPED: AtomicBool = AtomicBool::new(false);

fn assert_not_stopped() {
    assert!(!IS_STOPPED.load(Ordering::SeqCst), "called after the stop");
}

impl InCallback {
    unsafe fn enter(user_data: *mut c_void) -> InCallback {
        assert_not_stopped();
        // SAFETY: made by Object::user_data; on_destroy has not come.
        let object = unsafe { &*user_data.cast::<Arc<Object>>() }.clone();
        let this_thread = thread::current().id();
        assert_eq!(*lock(&LOOP_THREAD).get_or_insert(this_thread), this_thread);
        assert!(!object.world.is_in_callback.swap(true, Ordering::SeqCst), "a callback inside a callback");
        InCallback(object)
    }
}

impl Drop for InCallback {
    fn drop(&mut self) {
        assert_not_stopped();
        assert!(self.0.world.is_in_callback.swap(false, Ordering::SeqCst));
    }
}

unsafe extern "C" fn on_setup(connection: *mut esrpc_connection, status: esrpc_status, user_data: *mut c_void) {
    // SAFETY: a client's object.
    let callback = unsafe { InCallback::enter(user_data) };
    let object = &callback.0;
    assert!(object.kind == Kind::Client && !object.is_set_up.load(Ordering::SeqCst));
    assert!(!object.has_ended.load(Ordering::SeqCst), "a setup after a setup that failed");
    assert_eq!(connection.is_null(), status != OK);
    if status == OK {
        object.is_set_up.store(true, Ordering::SeqCst);
        // SAFETY: a lent handle.
        unsafe { act_on_connection(object, connection) };
    } else {
        object.has_ended.store(true, Ordering::SeqCst);
    }
}

unsafe extern "C" fn on_protocol_message(
    connection: *mut esrpc_connection,
    message: *const esrpc_message,
    user_data: *mut c_void,
) {
    // SAFETY: a connection's object, and lent handles.
    unsafe {
        let callback = InCallback::enter(user_data);
        assert!(callback.0.is_set_up.load(Ordering::SeqCst) && !callback.0.has_ended.load(Ordering::SeqCst));
        assert_eq!(esrpc_message_get_stream_id(message.as_ref()), 0);
        assert!((2..8).contains(&esrpc_message_get_type(message.as_ref())));
        read_message(message);
        act_on_connection(&callback.0, connection);
    }
}

unsafe extern "C" fn on_incoming_stream(
    connection: *mut esrpc_connection,
    stream: *mut esrpc_stream,
    message: *const esrpc_message,
    user_data: *mut c_void,
) {
    // SAFETY: a server's object, and lent handles.
    unsafe {
        let callback = InCallback::enter(user_data);
        let object = &callback.0;
        assert!(object.kind == Kind::Server && !object.has_ended.load(Ordering::SeqCst));
        let id = esrpc_stream_get_id(stream);
        assert!(esrpc_message_get_stream_id(message.as_ref()) == id || is_stopping());
        read_message(message);
        let next = object.world.next_inside();
        match next {
            Inside::Refuse => _ = esrpc_stream_refuse(stream, None, lend(b"no")),
            Inside::Close => _ = esrpc_connection_close(connection, OK),
            Inside::Abort => _ = esrpc_connection_abort(connection),
            Inside::Nothing if !object.world.accepts.load(Ordering::SeqCst) => {}
            _ => accept_stream(object, stream, matches!(next, Inside::Getters)),
        }
    }
}

/// # Safety
/// A lent handle, inside on_incoming_stream.
unsafe fn accept_stream(connection: &Arc<Object>, stream: *mut esrpc_stream, without_table: bool) {
    let object = Object::new(Kind::Stream, &connection.world, Some(connection.clone()));
    // SAFETY: what the caller promised.
    unsafe {
        if without_table {
            let status = esrpc_stream_accept(stream, ptr::null(), ptr::null_mut());
            if status == OK {
                lock(&connection.world.streams).push(Owned(esrpc_stream_acquire(stream), None));
            }
            return;
        }
        object.may_be_active.store(true, Ordering::SeqCst);
        let user_data = object.user_data();
        if esrpc_stream_accept(stream, &STREAM_TABLE, user_data) == OK {
            object.is_active.store(true, Ordering::SeqCst);
            lock(&connection.world.streams).push(Owned(esrpc_stream_acquire(stream), Some(object)));
        } else {
            Object::take_back(user_data);
        }
    }
}

unsafe extern "C" fn on_connection_writable(connection: *mut esrpc_connection, user_data: *mut c_void) {
    // SAFETY: a connection's object and a lent handle.
    unsafe {
        let callback = InCallback::enter(user_data);
        assert!(!callback.0.has_ended.load(Ordering::SeqCst));
        act_on_connection(&callback.0, connection);
    }
}

unsafe extern "C" fn on_shutdown(connection: *mut esrpc_connection, _reason: esrpc_status, user_data: *mut c_void) {
    // SAFETY: a connection's object and a lent handle.
    unsafe {
        let callback = InCallback::enter(user_data);
        let object = &callback.0;
        assert!(object.is_set_up.load(Ordering::SeqCst), "a shutdown without a setup");
        assert!(!object.has_ended.swap(true, Ordering::SeqCst), "a second shutdown");
        assert!(!esrpc_connection_is_open(connection));
        act_on_connection(object, connection);
    }
}

/// Also of streams and listeners.
unsafe extern "C" fn on_destroy(user_data: *mut c_void) {
    // SAFETY: the last callback with it.
    let object = unsafe {
        drop(InCallback::enter(user_data));
        Box::from_raw(user_data.cast::<Arc<Object>>())
    };
    let has_ended = object.has_ended.load(Ordering::SeqCst);
    match object.kind {
        Kind::Stream => assert_eq!(has_ended, object.is_active.load(Ordering::SeqCst), "on_closed if it was active"),
        Kind::Server | Kind::Client | Kind::Listener => assert!(has_ended),
    }
    assert_eq!(object.owed.load(Ordering::SeqCst), 0, "on_destroy before a flush callback");
    object.world.note_back(Lent::Object(user_data as usize));
    object.world.change(|awaited| awaited.objects -= 1);
}

unsafe extern "C" fn on_message(stream: *mut esrpc_stream, message: *const esrpc_message, user_data: *mut c_void) {
    // SAFETY: a stream's object and lent handles.
    unsafe {
        let callback = InCallback::enter(user_data);
        let object = &callback.0;
        assert!(object.may_be_active.load(Ordering::SeqCst) && !object.has_ended.load(Ordering::SeqCst));
        assert!(!object.connection().has_ended.load(Ordering::SeqCst));
        let id = esrpc_stream_get_id(stream);
        assert!(esrpc_message_get_stream_id(message.as_ref()) == id || is_stopping());
        assert!((0..2).contains(&esrpc_message_get_type(message.as_ref())));
        if !object.world.has_raw_peer {
            object.check_order(borrow(esrpc_message_get_payload(message.as_ref())));
        }
        read_message(message);
        act_on_stream(object, stream);
    }
}

unsafe extern "C" fn on_stream_writable(stream: *mut esrpc_stream, user_data: *mut c_void) {
    // SAFETY: a stream's object and a lent handle.
    unsafe {
        let callback = InCallback::enter(user_data);
        assert!(!callback.0.has_ended.load(Ordering::SeqCst));
        act_on_stream(&callback.0, stream);
    }
}

unsafe extern "C" fn on_stream_closed(stream: *mut esrpc_stream, _reason: esrpc_status, user_data: *mut c_void) {
    // SAFETY: a stream's object and a lent handle.
    unsafe {
        let callback = InCallback::enter(user_data);
        let object = &callback.0;
        assert!(object.may_be_active.load(Ordering::SeqCst), "on_closed of a stream that was not active");
        assert!(!object.has_ended.swap(true, Ordering::SeqCst), "a second on_closed");
        assert!(!object.connection().has_ended.load(Ordering::SeqCst), "on_closed after on_shutdown");
        act_on_stream(object, stream);
    }
}

unsafe extern "C" fn on_incoming_connection(
    _listener: *mut esrpc_listener,
    connection: *mut esrpc_connection,
    user_data: *mut c_void,
) {
    // SAFETY: a listener's object and a lent handle.
    unsafe {
        let callback = InCallback::enter(user_data);
        let world = &callback.0.world;
        assert!(!callback.0.has_ended.load(Ordering::SeqCst), "a connection after the listener's on_closed");
        if !world.accepts.load(Ordering::SeqCst) {
            return;
        }
        let object = Object::new(Kind::Server, world, None);
        object.is_set_up.store(true, Ordering::SeqCst);
        let user_data = object.user_data();
        if esrpc_connection_accept(connection, &CONNECTION_TABLE, user_data) == OK {
            lock(&world.connections).push(Owned(esrpc_connection_acquire(connection), Some(object)));
        } else {
            Object::take_back(user_data);
        }
    }
}

unsafe extern "C" fn on_listener_closed(_listener: *mut esrpc_listener, _reason: esrpc_status, user_data: *mut c_void) {
    // SAFETY: a listener's object.
    let callback = unsafe { InCallback::enter(user_data) };
    assert!(!callback.0.has_ended.swap(true, Ordering::SeqCst), "a second on_closed");
}

const CONNECTION_TABLE: esrpc_connection_callbacks = esrpc_connection_callbacks {
    struct_size: size_of::<esrpc_connection_callbacks>(),
    on_setup: Some(on_setup),
    on_protocol_message: Some(on_protocol_message),
    on_incoming_stream: Some(on_incoming_stream),
    on_writable: Some(on_connection_writable),
    on_shutdown: Some(on_shutdown),
    on_destroy: Some(on_destroy),
};

const STREAM_TABLE: esrpc_stream_callbacks = esrpc_stream_callbacks {
    struct_size: size_of::<esrpc_stream_callbacks>(),
    on_message: Some(on_message),
    on_writable: Some(on_stream_writable),
    on_closed: Some(on_stream_closed),
    on_destroy: Some(on_destroy),
};

const LISTENER_TABLE: esrpc_listener_callbacks = esrpc_listener_callbacks {
    struct_size: size_of::<esrpc_listener_callbacks>(),
    on_incoming_connection: Some(on_incoming_connection),
    on_failed_connection: None,
    on_closed: Some(on_listener_closed),
    on_destroy: Some(on_destroy),
};

/// A flush callback that has to come once: its user data is freed by it.
struct Flush {
    /// None for a stream or a connection without a table.
    object: Option<Arc<Object>>,
    world: Arc<World>,
}

unsafe extern "C" fn on_flush(_status: esrpc_status, user_data: *mut c_void) {
    assert_not_stopped();
    // SAFETY: made by `with_flush` and called once.
    let flush = unsafe { Box::from_raw(user_data.cast::<Flush>()) };
    assert!(!flush.world.is_in_callback.load(Ordering::SeqCst), "a flush callback inside a callback");
    if let Some(object) = &flush.object {
        assert!(!object.has_ended.load(Ordering::SeqCst), "a flush callback after the end");
        object.owed.fetch_sub(1, Ordering::SeqCst);
    }
    flush.world.note_back(Lent::Flush(user_data as usize));
    flush.world.change(|awaited| awaited.flushes -= 1);
}

/// A send that wants to know when it is written.
fn with_flush(
    world: &Arc<World>,
    object: Option<&Arc<Object>>,
    send: impl FnOnce(*mut c_void) -> esrpc_status,
) -> esrpc_status {
    let flush = Box::new(Flush { object: object.cloned(), world: world.clone() });
    world.change(|awaited| awaited.flushes += 1);
    if let Some(object) = object {
        object.owed.fetch_add(1, Ordering::SeqCst);
    }
    let user_data = Box::into_raw(flush);
    world.lend(Lent::Flush(user_data as usize));
    let status = send(user_data.cast());
    if status != OK {
        world.note_back(Lent::Flush(user_data as usize));
        // SAFETY: what was not accepted is not answered.
        drop(unsafe { Box::from_raw(user_data) });
        if let Some(object) = object {
            object.owed.fetch_sub(1, Ordering::SeqCst);
        }
        world.change(|awaited| awaited.flushes -= 1);
    }
    status
}

struct Task(Arc<World>);

unsafe extern "C" fn on_loop(_status: esrpc_status, user_data: *mut c_void) {
    assert_not_stopped();
    // SAFETY: made by `run_on_loop` and called once.
    let task = unsafe { Box::from_raw(user_data.cast::<Task>()) };
    task.0.note_back(Lent::Task(user_data as usize));
    task.0.change(|awaited| awaited.tasks -= 1);
}

fn run_on_loop(world: &Arc<World>, connection: *mut esrpc_connection) {
    world.change(|awaited| awaited.tasks += 1);
    let task = Box::into_raw(Box::new(Task(world.clone())));
    world.lend(Lent::Task(task as usize));
    // SAFETY: a live handle or NULL.
    let status = unsafe { esrpc_connection_run_on_loop(connection, Some(on_loop), task.cast()) };
    if status != OK {
        world.note_back(Lent::Task(task as usize));
        // SAFETY: it is not called.
        drop(unsafe { Box::from_raw(task) });
        world.change(|awaited| awaited.tasks -= 1);
    }
}

fn is_stopping() -> bool {
    IS_STOPPING.load(Ordering::SeqCst)
}

/// The status of a call that has returned before.
fn assert_status(status: esrpc_status, expected: esrpc_status) {
    if IS_STOPPED.load(Ordering::SeqCst) {
        assert_eq!(status, STOPPED);
    } else if !is_stopping() {
        assert_eq!(status, expected);
    }
}

fn flags(number: u8) -> i32 {
    match number {
        0..170 => 0,
        170..200 => 2,
        200..250 => 1,
        _ => i32::from(number),
    }
}

/// Seldom large.
fn len(number: u16) -> usize {
    if number.is_multiple_of(32) { usize::from(number) } else { usize::from(number % 200) }
}

/// # Safety
/// A lent or live handle.
unsafe fn act_on_connection(object: &Arc<Object>, connection: *mut esrpc_connection) {
    let world = &object.world;
    // SAFETY: what the caller promised.
    unsafe {
        match world.next_inside() {
            Inside::Nothing | Inside::Accept | Inside::Refuse => {
                if object.kind == Kind::Server {
                    // Most handshakes are to succeed.
                    send_protocol(object, connection, 5, 1, 0);
                }
            }
            Inside::Send(kind) => _ = send_protocol(object, connection, 2 + i32::from(kind % 6), 0, 3),
            Inside::SendLast => _ = send_protocol(object, connection, 3, 2, 0),
            Inside::Answer => _ = send_protocol(object, connection, 5, 1, 10),
            Inside::Close => assert_status(esrpc_connection_close(connection, 1000), OK),
            Inside::Abort => assert_status(esrpc_connection_abort(connection), OK),
            Inside::PauseBriefly => {
                let paused = esrpc_connection_pause_reading(connection);
                assert_status(esrpc_connection_resume_reading(connection), paused);
            }
            Inside::NewStream => {
                if let Some(owned) = new_stream(object, connection, true) {
                    lock(&world.streams).push(owned);
                }
            }
            Inside::Getters => connection_getters(connection),
            Inside::Wait => {
                let status = esrpc_connection_wait_shutdown(connection, 1000);
                assert_status(status, ESRPC_ERROR_WOULD_DEADLOCK as esrpc_status);
            }
        }
    }
}

/// # Safety
/// A lent or live handle.
unsafe fn act_on_stream(object: &Arc<Object>, stream: *mut esrpc_stream) {
    // SAFETY: what the caller promised.
    unsafe {
        match object.world.next_inside() {
            Inside::Nothing | Inside::Accept | Inside::Refuse | Inside::NewStream => {}
            Inside::Send(size) => send_on_stream(object, stream, 0, i32::from(size % 2), size.into(), true),
            Inside::SendLast => send_on_stream(object, stream, 2, 0, 1, true),
            Inside::Answer => send_on_stream(object, stream, 0, 0, 0, true),
            Inside::Close => _ = esrpc_stream_close(stream),
            Inside::Abort => {
                let connection = esrpc_stream_get_connection(stream);
                assert_status(esrpc_connection_abort(connection), OK);
            }
            Inside::PauseBriefly => esrpc_stream_release(esrpc_stream_acquire(stream)),
            Inside::Getters => stream_getters(stream),
            Inside::Wait => {
                let status = esrpc_stream_wait_closed(stream, 1000);
                assert_status(status, ESRPC_ERROR_WOULD_DEADLOCK as esrpc_status);
            }
        }
    }
}

/// # Safety
/// A lent message.
unsafe fn read_message(message: *const esrpc_message) {
    // SAFETY: what the caller promised.
    unsafe {
        let payload = borrow(esrpc_message_get_payload(message.as_ref()));
        let mut copy = ptr::null_mut();
        assert_eq!(esrpc_message_copy(message.as_ref(), &mut copy), OK);
        assert_eq!(borrow(esrpc_message_get_payload(copy.as_ref())), payload);
        assert_eq!(esrpc_message_get_flags(copy.as_ref()), esrpc_message_get_flags(message.as_ref()));
        esrpc_message_release(copy);
    }
}

/// # Safety
/// Text that ends with NUL.
unsafe fn read_text(text: *const c_char) {
    if text.is_null() && is_stopping() {
        return;
    }
    assert!(!text.is_null());
    // SAFETY: what the caller promised.
    _ = unsafe { CStr::from_ptr(text) }.to_bytes().len();
}

/// # Safety
/// A lent or live handle, or NULL.
unsafe fn connection_getters(connection: *mut esrpc_connection) {
    // SAFETY: what the caller promised.
    unsafe {
        assert!((0..=4).contains(&esrpc_connection_get_state(connection)));
        esrpc_connection_is_open(connection);
        esrpc_connection_get_user_data(connection);
        read_text(esrpc_connection_get_local_address(connection));
        read_text(esrpc_connection_get_remote_address(connection));
        read_text(esrpc_connection_get_host(connection));
        read_text(esrpc_connection_get_end_message(connection));
        esrpc_connection_get_port(connection);
        esrpc_connection_get_outbound_size(connection);
        esrpc_connection_get_end_status(connection);
        let ack = esrpc_connection_get_connect_ack(connection);
        assert!(ack.is_null() || esrpc_message_get_type(ack.as_ref()) == 5);
        let mut peer = esrpc_peer_credentials {
            struct_size: size_of::<esrpc_peer_credentials>(),
            ..esrpc_peer_credentials::default()
        };
        esrpc_connection_get_peer_credentials(connection, &mut peer);
        esrpc_connection_release(esrpc_connection_acquire(connection));
    }
}

/// # Safety
/// A lent or live handle, or NULL.
unsafe fn stream_getters(stream: *mut esrpc_stream) {
    // SAFETY: what the caller promised.
    unsafe {
        assert!((0..=4).contains(&esrpc_stream_get_state(stream)));
        assert!(esrpc_stream_get_id(stream) >= 0);
        esrpc_stream_get_user_data(stream);
        _ = borrow(esrpc_stream_get_operation(stream)).len();
        read_text(esrpc_stream_get_end_message(stream));
        esrpc_stream_get_end_status(stream);
    }
}

/// # Safety
/// A lent or live handle.
unsafe fn send_protocol(
    object: &Arc<Object>,
    connection: *mut esrpc_connection,
    message_type: i32,
    flags: i32,
    len: usize,
) -> esrpc_status {
    let payload = vec![0x11; len];
    with_flush(&object.world, Some(object), |user_data| {
        // SAFETY: what the caller promised.
        unsafe {
            esrpc_connection_send_protocol_message(
                connection,
                message_type,
                flags,
                None,
                lend(&payload),
                Some(on_flush),
                user_data,
            )
        }
    })
}

/// # Safety
/// A lent or live handle.
unsafe fn send_on_stream(
    object: &Arc<Object>,
    stream: *mut esrpc_stream,
    flags: i32,
    message_type: i32,
    len: usize,
    inside: bool,
) {
    let payload = object.world.payload(inside, len);
    with_flush(&object.world, Some(object), |user_data| {
        // SAFETY: what the caller promised.
        unsafe {
            esrpc_stream_send_message(stream, message_type, flags, None, lend(&payload), Some(on_flush), user_data)
        }
    });
}

/// # Safety
/// A lent or live handle.
unsafe fn new_stream(
    connection: &Arc<Object>,
    handle: *mut esrpc_connection,
    table: bool,
) -> Option<Owned<esrpc_stream>> {
    let mut stream = ptr::null_mut();
    // SAFETY: what the caller promised.
    unsafe {
        if !table {
            let status = esrpc_connection_new_stream(handle, ptr::null(), ptr::null_mut(), &mut stream);
            return (status == OK).then_some(Owned(stream, None));
        }
        let object = Object::new(Kind::Stream, &connection.world, Some(connection.clone()));
        let user_data = object.user_data();
        if esrpc_connection_new_stream(handle, &STREAM_TABLE, user_data, &mut stream) == OK {
            Some(Owned(stream, Some(object)))
        } else {
            assert!(stream.is_null());
            Object::take_back(user_data);
            None
        }
    }
}

impl World {
    fn new(accepts: bool, has_raw_peer: bool) -> Arc<World> {
        Arc::new(World {
            awaited: Mutex::default(),
            changed: Condvar::new(),
            inside: Mutex::default(),
            is_in_callback: AtomicBool::new(false),
            numbers: [AtomicU32::new(0), AtomicU32::new(0)],
            connections: Mutex::default(),
            streams: Mutex::default(),
            accepts: AtomicBool::new(accepts),
            has_raw_peer,
            lent: Mutex::default(),
        })
    }
}

struct Shared(*mut esrpc_runtime);

// SAFETY: a runtime may be used on any thread.
unsafe impl Send for Shared {}

static RUNTIME: Mutex<Option<Shared>> = Mutex::new(None);

/// One runtime of one thread for all runs, until one of them stops it.
fn runtime() -> *mut esrpc_runtime {
    lock(&RUNTIME).get_or_insert_with(new_runtime).0
}

fn new_runtime() -> Shared {
    use eventstream_rpc::ffi::runtime_options::*;
    let mut runtime = ptr::null_mut();
    *lock(&LOOP_THREAD) = None;
    // SAFETY: live settings and a variable.
    unsafe {
        let options = esrpc_runtime_options_new();
        assert_eq!(esrpc_runtime_options_set_thread_count(options.as_mut(), 1), OK);
        assert_eq!(esrpc_runtime_new(options.as_ref(), &mut runtime), OK);
        esrpc_runtime_options_release(options);
    }
    Shared(runtime)
}

fn connection_options(settings: &Settings) -> *mut esrpc_connection_options {
    // SAFETY: live settings.
    unsafe {
        let options = esrpc_connection_options_new();
        if settings.outbound_limit < 30_000 {
            let limit = usize::from(settings.outbound_limit) + 1;
            assert_eq!(esrpc_connection_options_set_outbound_limit(options.as_mut(), limit), OK);
        }
        if settings.message_limit < 100 {
            // Whether it is taken or not: some are too small.
            esrpc_connection_options_set_max_message_size(options.as_mut(), 10 * usize::from(settings.message_limit));
        }
        match settings.queue_limit {
            limit @ 0..128 => _ = esrpc_connection_options_set_stream_queue_limit(options.as_mut(), limit.into()),
            limit @ 128..160 => {
                assert_eq!(esrpc_connection_options_set_max_streams(options.as_mut(), usize::from(limit) - 127), OK);
            }
            limit @ 160..192 => {
                let burst = u32::from(limit) - 159;
                assert_eq!(esrpc_connection_options_set_abnormal_event_limit(options.as_mut(), 10 * burst, burst), OK);
            }
            _ => {}
        }
        esrpc_connection_options_set_linger_ms(options.as_mut(), u32::from(settings.linger) / 8);
        esrpc_connection_options_set_answer_pings(options.as_mut(), settings.answers.into());
        options
    }
}

fn socket_pair() -> [i32; 2] {
    let mut both = [-1; 2];
    // SAFETY: room for two descriptors.
    let result =
        unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0, both.as_mut_ptr()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    both
}

struct Run {
    world: Arc<World>,
    listener: *mut esrpc_listener,
    /// The first is the client, if there is one; others are the server's.
    connections: Vec<Owned<esrpc_connection>>,
    streams: Vec<Owned<esrpc_stream>>,
    /// The end of a peer that is not the library's.
    raw: Option<i32>,
}

impl Run {
    fn new(settings: &Settings) -> Run {
        let world = World::new(settings.peers % 8 != 7, settings.peers % 3 != 2);
        let options = connection_options(settings);
        let mut run = Run { world, listener: ptr::null_mut(), connections: Vec::new(), streams: Vec::new(), raw: None };
        let [one, other] = socket_pair();
        let has_client = !settings.peers.is_multiple_of(3);
        let has_server = settings.peers % 3 != 1;
        if has_server {
            run.listen(options, other);
        } else {
            run.raw = Some(other);
        }
        if has_client {
            run.connect(options, one, settings.handshake);
        } else {
            run.raw = Some(one);
        }
        // SAFETY: given up here, and a live handle.
        unsafe {
            esrpc_connection_options_release(options);
            if let Some(Owned(connection, _)) = run.connections.first()
                && settings.is_patient
            {
                esrpc_connection_wait_setup(*connection, 10 * SHORT_MS);
            }
        }
        run
    }

    fn listen(&mut self, connection_options: *mut esrpc_connection_options, socket: i32) {
        let object = Object::new(Kind::Listener, &self.world, None);
        // SAFETY: live settings and handles.
        unsafe {
            let options = esrpc_listener_options_new();
            assert_eq!(esrpc_listener_options_set_adopt_only(options.as_mut()), OK);
            assert_eq!(esrpc_listener_options_set_runtime(options.as_mut(), runtime()), OK);
            assert_eq!(
                esrpc_listener_options_set_connection_options(options.as_mut(), connection_options.as_ref()),
                OK
            );
            assert_eq!(
                esrpc_listener_listen(options.as_ref(), &LISTENER_TABLE, object.user_data(), &mut self.listener),
                OK
            );
            esrpc_listener_options_release(options);
            assert_eq!(esrpc_listener_adopt_connection(self.listener, socket), OK);
        }
    }

    fn connect(&mut self, connection_options: *mut esrpc_connection_options, socket: i32, handshake: bool) {
        let object = Object::new(Kind::Client, &self.world, None);
        let mut connection = ptr::null_mut();
        // SAFETY: live settings and handles.
        unsafe {
            let options = esrpc_client_options_new();
            assert_eq!(esrpc_client_options_set_socket(options.as_mut(), socket), OK);
            assert_eq!(esrpc_client_options_set_runtime(options.as_mut(), runtime()), OK);
            assert_eq!(esrpc_client_options_set_connection_options(options.as_mut(), connection_options.as_ref()), OK);
            if handshake {
                assert_eq!(esrpc_client_options_set_handshake(options.as_mut(), None, lend(b"hello")), OK);
            }
            let user_data = object.user_data();
            let status = esrpc_connection_connect(options.as_ref(), &CONNECTION_TABLE, user_data, &mut connection);
            if status == OK {
                self.connections.push(Owned(connection, Some(object)));
            } else {
                // CONNECT may be too long for a limit of messages.
                Object::take_back(user_data);
                libc::close(socket);
            }
            esrpc_client_options_release(options);
        }
    }

    /// What callbacks took for this thread.
    fn collect(&mut self) {
        self.connections.append(&mut lock(&self.world.connections));
        self.streams.append(&mut lock(&self.world.streams));
    }

    fn act(&mut self, step: Step) {
        self.collect();
        match step {
            Step::NewStream { table } => {
                if let Some(Owned(handle, Some(object))) = self.connections.first()
                    && self.streams.len() < MAX_STREAMS
                {
                    // SAFETY: a live handle.
                    self.streams.extend(unsafe { new_stream(object, *handle, table) });
                }
            }
            Step::Open { flags, len } => {
                self.act(Step::NewStream { table: true });
                let newest = self.streams.len().saturating_sub(1);
                self.call_stream(newest, StreamCall::Activate { flags, len });
            }
            Step::Stream { stream, call } => self.call_stream(stream.into(), call),
            Step::Connection { server, call } => {
                let index = if server { self.connections.len().saturating_sub(1) } else { 0 };
                self.call_connection(index, call);
            }
            Step::Call { len } => self.call(len.into()),
            Step::Accept(number) => self.world.accepts.store(number % 4 != 0, Ordering::SeqCst),
            Step::InCallbacks(inside) => lock(&self.world.inside).extend(inside),
            Step::Raw(bytes) => self.write_raw(&bytes),
            Step::RawMessage { message_type, flags, stream, operation, len } => {
                self.write_raw(&message(message_type.into(), flags, stream.into(), operation, len.into()));
            }
            Step::RawEnd => {
                if let Some(socket) = self.raw {
                    // SAFETY: an open descriptor of this run.
                    unsafe { libc::shutdown(socket, libc::SHUT_WR) };
                }
            }
            Step::Listener(number) => self.call_listener(number),
            Step::Odd(number) if number >= 224 => self.stop(number % 2 == 0),
            Step::Odd(number) => odd(number),
        }
    }

    fn call_stream(&mut self, index: usize, call: StreamCall) {
        if self.streams.is_empty() {
            return;
        }
        let index = index % self.streams.len();
        let Owned(handle, object) = &self.streams[index];
        let (handle, object) = (*handle, object.as_ref());
        // SAFETY: a live handle of this thread's.
        unsafe {
            match call {
                StreamCall::Activate { flags: number, len: size } => {
                    activate(&self.world, object, handle, flags(number), len(size));
                }
                StreamCall::Send { flags: number, is_error, len: size } => match object {
                    Some(object) => {
                        send_on_stream(object, handle, flags(number), i32::from(is_error), len(size), false);
                    }
                    None => {
                        let payload = self.world.payload(false, len(size));
                        let kind = i32::from(is_error);
                        let payload = lend(&payload);
                        esrpc_stream_send_message(handle, kind, flags(number), None, payload, None, ptr::null_mut());
                    }
                },
                StreamCall::SendBlocking { len: size } => {
                    let payload = self.world.payload(false, len(size));
                    esrpc_stream_send_blocking(handle, 0, 0, None, lend(&payload), SHORT_MS);
                }
                StreamCall::Read => {
                    let mut message = ptr::null_mut();
                    if esrpc_stream_read(handle, SHORT_MS, &mut message) == OK {
                        assert!(object.is_none(), "a stream with a table is not read");
                        read_message(message);
                        esrpc_message_release(message);
                    }
                }
                StreamCall::Close => _ = esrpc_stream_close(handle),
                StreamCall::Release => {
                    esrpc_stream_release(handle);
                    self.streams.swap_remove(index);
                }
                StreamCall::SetDeadline(ms) => _ = esrpc_stream_set_deadline_ms(handle, ms.into()),
                StreamCall::WaitClosed => {
                    if esrpc_stream_wait_closed(handle, SHORT_MS) == OK {
                        assert_eq!(esrpc_stream_get_state(handle), 4);
                    }
                }
                StreamCall::Getters => stream_getters(handle),
            }
        }
    }

    fn call_connection(&mut self, index: usize, call: ConnectionCall) {
        let Some(Owned(handle, Some(object))) = self.connections.get(index) else { return };
        let handle = *handle;
        // SAFETY: a live handle of this thread's.
        unsafe {
            match call {
                ConnectionCall::Send { message_type, flags: number, len: size } => {
                    send_protocol(object, handle, i32::from(message_type % 9), flags(number), len(size));
                }
                ConnectionCall::Close { reason } => {
                    let reason = if reason < 128 { OK } else { 900 + esrpc_status::from(reason) };
                    esrpc_connection_close(handle, reason);
                }
                ConnectionCall::Abort => assert_status(esrpc_connection_abort(handle), OK),
                ConnectionCall::Pause => _ = esrpc_connection_pause_reading(handle),
                ConnectionCall::Resume => _ = esrpc_connection_resume_reading(handle),
                ConnectionCall::RunOnLoop => run_on_loop(&self.world, handle),
                ConnectionCall::WaitSetup => _ = esrpc_connection_wait_setup(handle, SHORT_MS),
                ConnectionCall::WaitFlush => _ = esrpc_connection_wait_flush(handle, SHORT_MS),
                ConnectionCall::WaitShutdown => {
                    if esrpc_connection_wait_shutdown(handle, SHORT_MS) == OK {
                        assert!(!esrpc_connection_is_open(handle));
                    }
                }
                ConnectionCall::Getters => connection_getters(handle),
            }
        }
    }

    /// A blocking call of an operation.
    fn call(&mut self, size: usize) {
        let Some(Owned(handle, _)) = self.connections.first() else { return };
        let (payload, mut reply) = (self.world.payload(false, size % 1000), ptr::null_mut());
        // SAFETY: a live handle.
        unsafe {
            let status = esrpc_connection_call(*handle, lend(b"call"), None, lend(&payload), SHORT_MS, &mut reply);
            let has_reply = status == OK || status == ESRPC_ERROR_APPLICATION_ERROR as esrpc_status;
            assert_eq!(!reply.is_null(), has_reply);
            if has_reply {
                read_message(reply);
            }
            esrpc_message_release(reply);
        }
    }

    fn call_listener(&self, number: u8) {
        // SAFETY: a live handle, or NULL.
        unsafe {
            match number % 5 {
                0 => _ = esrpc_listener_close(self.listener),
                1 => _ = esrpc_listener_drain(self.listener, u32::from(number) / 16),
                2 => _ = esrpc_listener_wait_closed(self.listener, SHORT_MS),
                3 => {
                    esrpc_listener_get_open_connections(self.listener);
                    esrpc_listener_get_open_streams(self.listener);
                }
                _ => esrpc_listener_release(esrpc_listener_acquire(self.listener)),
            }
        }
    }

    fn write_raw(&self, bytes: &[u8]) {
        if let Some(socket) = self.raw {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: an open descriptor, and bytes as many as said.
            unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), flags) };
            // What comes back is not looked at, but taken: now and then.
            let mut buffer = [0_u8; 4096];
            // SAFETY: as above.
            unsafe { libc::recv(socket, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
        }
    }

    /// From its return on nothing is called. Handles are used and released as before.
    fn stop(&self, twice: bool) {
        let patience = PATIENCE.as_millis() as u32;
        // SAFETY: a live runtime.
        unsafe {
            IS_STOPPING.store(true, Ordering::SeqCst);
            if twice {
                let status = esrpc_runtime_stop(runtime(), 0);
                assert!(status == OK || status == ESRPC_ERROR_TIMED_OUT as esrpc_status);
            }
            assert_eq!(esrpc_runtime_stop(runtime(), patience), OK);
            IS_STOPPED.store(true, Ordering::SeqCst);
            assert!(!self.world.is_in_callback.load(Ordering::SeqCst), "a callback runs after the stop");
            assert_eq!(esrpc_runtime_join(runtime(), 0), STOPPED);
        }
        self.world.forget_all();
    }

    /// Gives back all handles, also those that callbacks have taken just now.
    fn release_all(&mut self) {
        self.collect();
        // SAFETY: live handles of this thread's, each released once.
        unsafe {
            for Owned(connection, _) in self.connections.drain(..) {
                esrpc_connection_abort(connection);
                let patience = PATIENCE.as_millis() as u32;
                let status = esrpc_connection_wait_shutdown(connection, patience);
                assert_ne!(status, ESRPC_ERROR_TIMED_OUT as esrpc_status);
                esrpc_connection_release(connection);
            }
            for Owned(stream, _) in self.streams.drain(..) {
                esrpc_stream_release(stream);
            }
        }
    }

    /// Everything ends, and everything is told.
    fn finish(mut self, closes: bool) {
        lock(&self.world.inside).clear();
        // SAFETY: live handles of this thread's, each released once.
        unsafe {
            if closes {
                self.collect();
                for Owned(connection, _) in &self.connections {
                    esrpc_connection_close(*connection, OK);
                    esrpc_connection_wait_shutdown(*connection, SHORT_MS);
                }
            }
            if !self.listener.is_null() {
                assert_status(esrpc_listener_close(self.listener), OK);
                let patience = PATIENCE.as_millis() as u32;
                assert_status(esrpc_listener_wait_closed(self.listener, patience), OK);
            }
            if let Some(socket) = self.raw {
                libc::close(socket);
            }
            esrpc_listener_release(self.listener);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.release_all();
            if self.world.is_all_told() {
                break;
            }
            assert!(Instant::now() < deadline, "waited in vain: {:?}", lock(&self.world.awaited));
        }
        // SAFETY: a live runtime.
        while unsafe { esrpc_runtime_get_open_connections(runtime()) } > 0 {
            assert!(Instant::now() < deadline, "a connection stays open");
            thread::yield_now();
        }
        if IS_STOPPED.load(Ordering::SeqCst) {
            let Shared(stopped) = lock(&RUNTIME).take().expect("the runtime that was stopped");
            // SAFETY: the last handle.
            unsafe { esrpc_runtime_release(stopped) };
            check_leaks(deadline);
            IS_STOPPED.store(false, Ordering::SeqCst);
            IS_STOPPING.store(false, Ordering::SeqCst);
        }
    }
}

/// Reports what has leaked, once in a while and when no thread of the library is left. libFuzzer would do it after each
/// run, but LeakSanitizer (LLVM 22) does not scan a thread that has the id of an earlier one: system thread ids come again
/// after some ten thousand, and then all that a loop holds would be reported.
fn check_leaks(deadline: Instant) {
    static STOPS: AtomicUsize = AtomicUsize::new(0);
    if STOPS.fetch_add(1, Ordering::Relaxed) % 32 != 0 {
        return;
    }
    // A joined thread is listed for a moment longer.
    let is_loop = |task: std::io::Result<std::fs::DirEntry>| {
        let name = task.and_then(|task| std::fs::read_to_string(task.path().join("comm")));
        name.is_ok_and(|name| name.starts_with("esrpc-loop"))
    };
    while std::fs::read_dir("/proc/self/task").expect("the list of threads").any(is_loop) {
        assert!(Instant::now() < deadline, "the loop thread stays");
        thread::yield_now();
    }
    // SAFETY: a name that ends with NUL.
    let check = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__lsan_do_recoverable_leak_check".as_ptr()) };
    if !check.is_null() {
        // SAFETY: the function of that name in every program with LeakSanitizer.
        let check = unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> libc::c_int>(check) };
        assert_eq!(check(), 0, "something has leaked in this run or one of the last");
    }
}

/// # Safety
/// A live handle.
unsafe fn activate(
    world: &Arc<World>,
    object: Option<&Arc<Object>>,
    stream: *mut esrpc_stream,
    flags: i32,
    len: usize,
) {
    let payload = world.payload(false, len);
    // Only the first activation of a stream counts.
    let is_first = object.is_some_and(|object| !object.may_be_active.swap(true, Ordering::SeqCst));
    if let Some(object) = object.filter(|_| is_first) {
        object.is_active.store(true, Ordering::SeqCst);
    }
    let status = with_flush(world, object, |user_data| {
        // SAFETY: what the caller promised.
        unsafe {
            esrpc_stream_activate(stream, lend(b"operation"), 0, flags, None, lend(&payload), Some(on_flush), user_data)
        }
    });
    if let Some(object) = object.filter(|_| is_first && status != OK) {
        object.is_active.store(false, Ordering::SeqCst);
        object.may_be_active.store(false, Ordering::SeqCst);
    }
}

/// A good message, which the protocol may not allow.
fn message(message_type: i32, flag_bits: u8, stream: i32, operation: bool, len: usize) -> Vec<u8> {
    let mut headers = HeaderList::new();
    let fields: [(&[u8], i32); 3] =
        [(b":message-type", message_type), (b":message-flags", flags(flag_bits)), (b":stream-id", stream)];
    for (name, number) in fields {
        headers.add(name, HeaderValue::Int32(number)).expect("a good header");
    }
    if operation {
        headers.add(b"operation", HeaderValue::String(b"operation")).expect("a good header");
    }
    let mut bytes = Vec::new();
    codec::encode_into(&[headers.as_bytes()], &vec![0x22; len], &mut bytes);
    bytes
}

/// Wrong arguments are refused.
fn odd(number: u8) {
    let invalid = ESRPC_ERROR_INVALID_ARGUMENT as esrpc_status;
    let none = ptr::null_mut();
    // SAFETY: NULL is checked.
    unsafe {
        let status = match number % 8 {
            0 => esrpc_connection_close(none, OK),
            1 => esrpc_connection_abort(none),
            2 => esrpc_stream_close(ptr::null_mut()),
            3 => esrpc_connection_new_stream(none, &STREAM_TABLE, none.cast(), ptr::null_mut()),
            4 => esrpc_stream_wait_closed(ptr::null_mut(), 0),
            5 => esrpc_listener_adopt_connection(ptr::null_mut(), -1),
            6 => {
                connection_getters(ptr::null_mut());
                invalid
            }
            _ => {
                stream_getters(ptr::null_mut());
                invalid
            }
        };
        assert_eq!(status, invalid);
    }
}

pub fn run(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    let Ok(settings) = Settings::arbitrary(&mut u) else { return };
    let mut run = Run::new(&settings);
    for _ in 0..MAX_STEPS {
        if u.is_empty() {
            break;
        }
        let Ok(step) = Step::arbitrary(&mut u) else { break };
        run.act(step);
    }
    run.finish(settings.closes);
}
