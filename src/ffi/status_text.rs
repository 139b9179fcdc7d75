//! Statuses and failures as text.

use std::ffi::c_char;

use super::failure::last_error;
use super::guard;
use super::status::{esrpc_status, name, sentence};

/// Returns the library's version, such as "0.1.0".
///
/// @return Text that is valid as long as the library is loaded; never NULL.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_version() -> *const c_char {
    guard::value(c"".as_ptr(), || concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast())
}

/// Returns the name of a status, such as "ESRPC_ERROR_INCOMPLETE".
///
/// @param status Any number.
/// @return Text that is valid as long as the library is loaded, never NULL: the constant's name; "APPLICATION_REASON"
/// for a number from 1000 up; "ESRPC_ERROR_UNKNOWN" for any other.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_status_name(status: esrpc_status) -> *const c_char {
    guard::value(c"".as_ptr(), || name(status).as_ptr())
}

/// Returns a sentence that says in general what a status means; esrpc_last_error_message says more about one case.
///
/// @param status Any number.
/// @return Text that is valid as long as the library is loaded; never NULL.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_status_message(status: esrpc_status) -> *const c_char {
    guard::value(c"".as_ptr(), || sentence(status).as_ptr())
}

/// Returns a sentence about the last call that failed on this thread, with the operating system's error if there is
/// one. When a callback with a status begins, the sentence explains that status and is empty for ESRPC_OK.
///
/// @return UTF-8 text that is valid until the next call fails, or the next callback begins, on this thread: copy it
/// to keep it. Never NULL; empty if no call has failed.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_last_error_message() -> *const c_char {
    guard::value(c"".as_ptr(), last_error)
}
