//! UUIDs as text.

use std::ffi::c_char;
use std::ptr;

use super::bytes::esrpc_bytes;
use super::failure::Failure;
use super::guard;
use super::headers_add::uuid_at;
use super::out::{check_out, write_out};
use super::status::{ESRPC_ERROR_BUFFER_TOO_SMALL, esrpc_status};
use crate::codec;

/// The size of the text form with its NUL.
const TEXT_SIZE: usize = 37;

/// Writes a UUID as text: lower case, with hyphens, NUL at the end.
///
/// @param uuid The 16 bytes; borrowed.
/// @param out_text Receives 37 bytes.
/// @param capacity The size of out_text in bytes.
/// @return ESRPC_OK; ESRPC_ERROR_BUFFER_TOO_SMALL if capacity is below 37; ESRPC_ERROR_INVALID_ARGUMENT if uuid or
/// out_text is NULL.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_uuid_to_text(uuid: *const u8, out_text: *mut c_char, capacity: usize) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL, or 16 bytes of the caller's.
        let mut text = codec::uuid_to_text(unsafe { uuid_at(uuid) }?);
        check_out(out_text, "out_text")?;
        text.push('\0');
        if capacity < text.len() {
            let detail = format!("a UUID as text takes {TEXT_SIZE} bytes, the capacity is {capacity}");
            return Err(Failure::new(ESRPC_ERROR_BUFFER_TOO_SMALL, detail));
        }
        // SAFETY: the caller's buffer has room for `capacity` bytes, and the text is no longer.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), out_text.cast(), text.len()) };
        Ok(())
    })
}

/// Reads a UUID from its text form with hyphens, in either case.
///
/// @param text Such as "123e4567-e89b-12d3-a456-426614174000"; borrowed.
/// @param out_uuid Receives 16 bytes.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_UUID if text is not of this form; ESRPC_ERROR_INVALID_ARGUMENT if out_uuid is NULL,
/// or text is NULL with a length other than 0.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_uuid_from_text(text: esrpc_bytes, out_uuid: *mut u8) -> esrpc_status {
    guard::call(|| {
        check_out(out_uuid, "out_uuid")?;
        // SAFETY: the caller's text lives during the call.
        let uuid = codec::uuid_from_text(unsafe { text.as_slice("text") }?)?;
        // SAFETY: the caller's 16 bytes.
        unsafe { write_out(out_uuid.cast::<[u8; 16]>(), uuid, "out_uuid") }
    })
}
