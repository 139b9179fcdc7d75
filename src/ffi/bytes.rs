//! Bytes and text across the boundary: slices by value, and buffers that the library allocates.

use std::ffi::{CStr, c_char};
use std::ptr;
use std::slice;

use super::failure::Failure;
use super::guard;
use super::handle::BoxHandle;

/// Bytes that somebody else owns: text (UTF-8, not NUL-terminated) or data. As an argument they are copied before the
/// call returns; the function that returns a view says how long it is valid.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct esrpc_bytes {
    /// The first byte; may be NULL only if len is 0.
    pub data: *const u8,
    /// The number of bytes.
    pub len: usize,
}

impl esrpc_bytes {
    pub(crate) const EMPTY: esrpc_bytes = esrpc_bytes { data: ptr::null(), len: 0 };

    /// The view for C. It must not outlive `bytes`.
    pub(crate) fn from_slice(bytes: &[u8]) -> esrpc_bytes {
        esrpc_bytes { data: bytes.as_ptr(), len: bytes.len() }
    }

    /// The bytes, or the failure that names the argument.
    ///
    /// # Safety
    /// `data` points to `len` bytes that live and do not change during `'a`, or is NULL.
    pub(crate) unsafe fn as_slice<'a>(self, argument: &str) -> Result<&'a [u8], Failure> {
        // SAFETY: what the caller promised.
        unsafe { slice_at(self.data, self.len, argument) }
    }
}

/// The `len` bytes at `data`, or the failure that names the argument.
///
/// # Safety
/// As for `esrpc_bytes::as_slice`.
pub(crate) unsafe fn slice_at<'a>(data: *const u8, len: usize, argument: &str) -> Result<&'a [u8], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() || len > isize::MAX.unsigned_abs() {
        return Err(no_slice(data, len, argument));
    }
    // SAFETY: not NULL, not too long, and what the caller promised.
    Ok(unsafe { slice::from_raw_parts(data, len) })
}

#[cold]
#[inline(never)]
fn no_slice(data: *const u8, len: usize, argument: &str) -> Failure {
    Failure::invalid_argument(if data.is_null() {
        format!("{argument} is NULL but has the length {len}")
    } else {
        format!("{argument} has the length {len}, more than any object has")
    })
}

/// Bytes allocated by the library. Release them with esrpc_buffer_release.
pub struct esrpc_buffer {
    /// Ends with a NUL that is not part of the content.
    bytes: Vec<u8>,
}

impl BoxHandle for esrpc_buffer {}

impl esrpc_buffer {
    pub(crate) fn new(mut bytes: Vec<u8>) -> esrpc_buffer {
        bytes.push(0);
        esrpc_buffer { bytes }
    }

    fn content(&self) -> &[u8] {
        self.bytes.split_last().map_or(&[], |(_, content)| content)
    }
}

/// Returns a C string as esrpc_bytes, without copying it.
///
/// @param text Borrowed; NULL: returns empty bytes.
/// @return The text without its NUL, valid as long as the text is.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_text(text: *const c_char) -> esrpc_bytes {
    guard::value(esrpc_bytes::EMPTY, || {
        if text.is_null() {
            return esrpc_bytes::EMPTY;
        }
        // SAFETY: the caller's text ends with NUL.
        esrpc_bytes::from_slice(unsafe { CStr::from_ptr(text) }.to_bytes())
    })
}

/// Compares two byte sequences; case matters. The time it takes depends on the bytes, so compare secrets such as tokens
/// with a function made for that.
///
/// @param a Borrowed.
/// @param b Borrowed.
/// @return Whether they have the same length and the same bytes; false if one is NULL with a length other than 0.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_bytes_equal(a: esrpc_bytes, b: esrpc_bytes) -> bool {
    guard::value(false, || {
        // SAFETY: the caller's bytes live during the call.
        match unsafe { (a.as_slice("a"), b.as_slice("b")) } {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        }
    })
}

/// Returns the content of a buffer. It is followed by a NUL that the length does not count, so text can be used as a
/// C string.
///
/// @param buffer Borrowed; NULL: returns empty bytes.
/// @return The content, valid until the buffer is released.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_buffer_get_bytes(buffer: Option<&esrpc_buffer>) -> esrpc_bytes {
    guard::value(esrpc_bytes::EMPTY, || {
        buffer.map_or(esrpc_bytes::EMPTY, |buffer| esrpc_bytes::from_slice(buffer.content()))
    })
}

/// Frees a buffer.
///
/// @param buffer Not to be used afterwards; NULL: nothing happens.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_buffer_release(buffer: *mut esrpc_buffer) {
    guard::value((), || {
        // SAFETY: NULL or a live buffer that the caller gives up.
        unsafe { esrpc_buffer::release(buffer) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_empty_if_and_only_if_the_length_is_zero() {
        let bytes = |data: *const u8, len| esrpc_bytes { data, len };
        // SAFETY: either NULL, or refused before a byte is read, or one byte of a live array.
        unsafe {
            assert_eq!(bytes(ptr::null(), 0).as_slice("x"), Ok(&[][..]));
            assert!(bytes(ptr::null(), 1).as_slice("x").is_err());
            assert!(bytes([1u8].as_ptr(), usize::MAX).as_slice("x").is_err());
            assert_eq!(bytes([1u8].as_ptr(), 1).as_slice("x"), Ok(&[1][..]));
        }
    }

    #[test]
    fn a_buffer_is_followed_by_a_nul() {
        let buffer = esrpc_buffer::new(b"text".to_vec()).give();
        // SAFETY: the buffer is live until it is released.
        unsafe {
            let content = esrpc_buffer_get_bytes(buffer.as_ref());
            assert_eq!(content.len, 4);
            assert_eq!(CStr::from_ptr(content.data.cast()), c"text");
            esrpc_buffer_release(buffer);
        }
    }
}
