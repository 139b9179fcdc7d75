//! The parts of the C interface that the transcript tests need on either side: a log of callbacks, a runtime, short
//! forms.

use eventstream_rpc::ffi::bytes::esrpc_bytes;
use eventstream_rpc::ffi::headers::{esrpc_headers, esrpc_headers_count, esrpc_headers_new, esrpc_headers_release};
use eventstream_rpc::ffi::headers_add::esrpc_headers_add_string;
use eventstream_rpc::ffi::message::*;
use eventstream_rpc::ffi::runtime::*;
use eventstream_rpc::ffi::runtime_options::*;
use eventstream_rpc::ffi::status::esrpc_status;
use eventstream_rpc::ffi::status::esrpc_status_code::ESRPC_OK;
use eventstream_rpc::ffi::status_text::esrpc_status_name;
use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub const OK: esrpc_status = ESRPC_OK as esrpc_status;
/// The time after which a wait fails the test.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The callbacks of one connection and its streams, in their order.
#[derive(Default)]
pub struct Recorder {
    events: Mutex<Vec<String>>,
    changed: Condvar,
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note(&self, event: impl Into<String>) {
        self.lock().push(event.into());
        self.changed.notify_all();
    }

    pub fn events(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// Removes an event that the test itself caused.
    pub fn take_at(&self, index: usize) -> String {
        self.lock().remove(index)
    }

    pub fn wait_until(&self, what: &str, ready: impl Fn(&[String]) -> bool) -> Result<(), String> {
        let (events, timeout) = self
            .changed
            .wait_timeout_while(self.lock(), PATIENCE, |events| !ready(events))
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() { Err(format!("no {what}; callbacks so far: {events:#?}")) } else { Ok(()) }
    }

    /// A reference for a callback table, which `drop_user_data` releases.
    pub fn to_user_data(self: &Arc<Self>) -> *mut c_void {
        Arc::into_raw(self.clone()).cast_mut().cast()
    }

    /// # Safety
    /// From `to_user_data`, and not released yet.
    pub unsafe fn of<'a>(user_data: *mut c_void) -> &'a Recorder {
        // SAFETY: what the caller promised.
        unsafe { &*user_data.cast_const().cast() }
    }

    /// # Safety
    /// As for `of`.
    pub unsafe fn share(user_data: *mut c_void) -> Arc<Recorder> {
        // SAFETY: what the caller promised; the new reference is counted before it is made.
        unsafe {
            Arc::increment_strong_count(user_data.cast_const().cast::<Recorder>());
            Arc::from_raw(user_data.cast_const().cast())
        }
    }

    /// # Safety
    /// As for `of`; the reference is released.
    pub unsafe fn drop_user_data(user_data: *mut c_void) {
        // SAFETY: what the caller promised.
        drop(unsafe { Arc::from_raw(user_data.cast_const().cast::<Recorder>()) });
    }
}

/// Event-loop threads of one test.
pub struct Runtime(pub *mut esrpc_runtime);

// SAFETY: a runtime may be used on any thread.
unsafe impl Sync for Runtime {}

impl Runtime {
    pub fn start() -> Runtime {
        Runtime::with_threads(2)
    }

    pub fn with_threads(count: usize) -> Runtime {
        let mut runtime = ptr::null_mut();
        // SAFETY: the options are live until they are released.
        unsafe {
            let options = esrpc_runtime_options_new();
            assert_eq!(esrpc_runtime_options_set_thread_count(options.as_mut(), count), OK);
            assert_eq!(esrpc_runtime_new(options.as_ref(), &mut runtime), OK);
            esrpc_runtime_options_release(options);
        }
        Runtime(runtime)
    }

    /// Everything that was opened on it must have ended.
    pub fn join(self) {
        // SAFETY: a live handle, released once.
        unsafe {
            assert_eq!(esrpc_runtime_join(self.0, PATIENCE.as_millis() as u32), OK, "something is still open");
            esrpc_runtime_release(self.0);
        }
    }
}

/// A header list that the test builds.
pub struct HeaderList(pub *mut esrpc_headers);

impl HeaderList {
    pub fn new() -> HeaderList {
        HeaderList(esrpc_headers_new())
    }

    pub fn with_strings(strings: &[(&str, &str)]) -> HeaderList {
        let list = HeaderList::new();
        for (name, value) in strings {
            // SAFETY: a live list, and bytes that live during the call.
            let status = unsafe { esrpc_headers_add_string(list.0, lend(name.as_bytes()), lend(value.as_bytes())) };
            assert_eq!(status, OK, "{name}");
        }
        list
    }
}

impl Drop for HeaderList {
    fn drop(&mut self) {
        // SAFETY: made by esrpc_headers_new and not released before.
        unsafe { esrpc_headers_release(self.0) }
    }
}

/// A message as a callback gets it.
pub struct Seen<'a> {
    pub message_type: i32,
    pub flags: i32,
    pub header_count: usize,
    pub headers: *const esrpc_headers,
    pub payload: &'a [u8],
}

impl Seen<'_> {
    /// # Safety
    /// The message is live as long as the result.
    pub unsafe fn of<'a>(message: *const esrpc_message) -> Seen<'a> {
        // SAFETY: what the caller promised.
        unsafe {
            let headers = esrpc_message_get_headers(message.as_ref());
            Seen {
                message_type: esrpc_message_get_type(message.as_ref()),
                flags: esrpc_message_get_flags(message.as_ref()),
                header_count: esrpc_headers_count(headers.as_ref()),
                headers,
                payload: borrow(esrpc_message_get_payload(message.as_ref())),
            }
        }
    }

    /// The flags in the form of the transcripts, which have no negative ones.
    pub fn shown_flags(&self) -> u32 {
        self.flags as u32
    }
}

pub fn lend(bytes: &[u8]) -> esrpc_bytes {
    esrpc_bytes { data: bytes.as_ptr(), len: bytes.len() }
}

/// # Safety
/// The bytes live as long as the result.
pub unsafe fn borrow<'a>(bytes: esrpc_bytes) -> &'a [u8] {
    if bytes.len == 0 {
        return &[];
    }
    // SAFETY: not empty, so not NULL, and live.
    unsafe { std::slice::from_raw_parts(bytes.data, bytes.len) }
}

/// `PEER_CLOSED` for ESRPC_ERROR_PEER_CLOSED, `OK` for ESRPC_OK.
pub fn status_name(status: esrpc_status) -> String {
    // SAFETY: the name is static text.
    let name = unsafe { CStr::from_ptr(esrpc_status_name(status)) }.to_string_lossy();
    name.trim_start_matches("ESRPC_").trim_start_matches("ERROR_").to_owned()
}

pub const TYPE_NAMES: [&str; 8] = [
    "APPLICATION_MESSAGE",
    "APPLICATION_ERROR",
    "PING",
    "PING_RESPONSE",
    "CONNECT",
    "CONNECT_ACK",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
];

pub fn type_name(message_type: i32) -> &'static str {
    usize::try_from(message_type).ok().and_then(|number| TYPE_NAMES.get(number).copied()).unwrap_or("unknown type")
}
