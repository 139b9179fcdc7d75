//! What C's callbacks have in common.

use std::ffi::c_void;

use super::errors::explained;
use super::host_call;
use super::status::esrpc_status;
use crate::runtime::{Flush, Outcome};

/// Called once for every accepted send: when the system has taken the message's last byte, or when it is certain that
/// it will not. Called on the connection's event-loop thread.
///
/// @param status ESRPC_OK if it is written, otherwise why not: ESRPC_ERROR_CONNECTION_CLOSED if the connection
/// ended with ESRPC_OK, else why it ended, such as ESRPC_ERROR_ABORTED.
/// esrpc_last_error_message explains it inside the callback.
/// @param user_data The pointer passed with the send.
pub type esrpc_flush_callback = Option<unsafe extern "C" fn(status: esrpc_status, user_data: *mut c_void)>;

/// Called once on the event-loop thread of the connection whose esrpc_connection_run_on_loop was called.
///
/// @param status ESRPC_OK, or ESRPC_ERROR_RUNTIME_SHUTDOWN if that thread has ended; then it is called inside
/// esrpc_connection_run_on_loop, or as the thread ends.
/// @param user_data The pointer passed with the call.
pub type esrpc_task_callback = Option<unsafe extern "C" fn(status: esrpc_status, user_data: *mut c_void)>;

/// The caller's pointer, which is passed on to its callbacks and never dereferenced.
#[derive(Clone, Copy)]
pub(crate) struct UserData(pub *mut c_void);

// SAFETY: the library only hands the pointer back, and the header says on which threads.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

type StatusFunction = unsafe extern "C" fn(status: esrpc_status, user_data: *mut c_void);

/// The flush callback in the form in which the layers below keep it, if there is one.
pub(crate) fn flush_callback(callback: esrpc_flush_callback, user_data: *mut c_void) -> Option<Flush> {
    callback.map(|function| Flush { run: run_flush, words: [function as usize, user_data as usize] })
}

fn run_flush([function, user_data]: [usize; 2], outcome: &Outcome) {
    let status = explained(outcome.as_ref().copied());
    // SAFETY: the first word is a callback of that very type, put there by flush_callback.
    let function = unsafe { std::mem::transmute::<*const (), StatusFunction>(function as *const ()) };
    // SAFETY: the caller gave the function together with the pointer, to be called once.
    unsafe { host_call::call(function, (status, user_data as *mut c_void)) }
}
