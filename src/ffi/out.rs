//! Out parameters: checked before any work is done, written only on success.

use super::failure::Failure;

/// Fails if `out` is NULL, so that nothing is made that could not be returned.
pub(crate) fn check_out<T>(out: *mut T, argument: &str) -> Result<(), Failure> {
    if out.is_null() { Err(Failure::null(argument)) } else { Ok(()) }
}

/// Writes `value` to `out`; if that is NULL, the failure names the argument.
///
/// # Safety
/// `out` is NULL or may be written.
pub(crate) unsafe fn write_out<T>(out: *mut T, value: T, argument: &str) -> Result<(), Failure> {
    check_out(out, argument)?;
    // SAFETY: not NULL, and what the caller promised. What was there before is C's and has no destructor.
    unsafe { out.write(value) };
    Ok(())
}

/// Writes `value` to `out`, unless that is NULL.
///
/// # Safety
/// `out` is NULL or may be written.
pub(crate) unsafe fn write_optional<T>(out: *mut T, value: T) {
    if !out.is_null() {
        // SAFETY: as in `write_out`.
        unsafe { out.write(value) };
    }
}
