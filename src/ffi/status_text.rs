//! Statuses and failures as text.

use std::ffi::c_char;

use super::failure::{last_error, last_error_numbers};
use super::guard;
use super::status::{esrpc_status, name, sentence};
use super::table::write_table;
use crate::transport::Cause;

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
/// one, and with what the peer said if it refused. When a callback with a status begins, the sentence explains that
/// status and is empty for ESRPC_OK.
///
/// @return UTF-8 text that is valid until the next call fails, or the next callback begins, on this thread: copy it
/// to keep it. Never NULL; empty if no call has failed.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_last_error_message() -> *const c_char {
    guard::value(c"".as_ptr(), last_error)
}

/// The numbers behind this thread's last failed call, from esrpc_last_error_get_info.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct esrpc_error_info {
    /// sizeof(esrpc_error_info), set by the caller before the call.
    pub struct_size: usize,
    /// The status that the call returned, or that was passed to the callback; ESRPC_OK if no call has failed.
    pub status: esrpc_status,
    /// The system's error: errno, on Windows the result of GetLastError; 0 if there is none.
    pub system_error: i32,
    /// The alert with which TLS ended, received or sent, with its number on the wire (RFC 8446, 6), such as 48 for
    /// unknown_ca; -1 if there is none.
    pub tls_alert: i32,
    /// Always 0.
    pub reserved: i32,
}

/// Reports the numbers behind the failure that esrpc_last_error_message explains: for programs that act on the system's
/// error or on a TLS alert.
///
/// @param out_info Filled in. Set its struct_size to sizeof the struct first.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if out_info is NULL or out_info->struct_size is not the size of such
/// a struct.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_last_error_get_info(out_info: *mut esrpc_error_info) -> esrpc_status {
    guard::call(|| {
        let (status, cause) = last_error_numbers();
        let info = esrpc_error_info {
            struct_size: size_of::<esrpc_error_info>(),
            status,
            system_error: cause.map_or(0, |cause| if let Cause::System(number) = cause { number } else { 0 }),
            tls_alert: cause.map_or(-1, |cause| if let Cause::Alert(number) = cause { number.into() } else { -1 }),
            reserved: 0,
        };
        // SAFETY: NULL or the caller's variable, which begins with its size.
        unsafe { write_table(out_info, &info, "out_info") }
    })
}
