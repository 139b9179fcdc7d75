//! Out parameters: checked before work is done, written only on success.

use super::failure::Failure;

/// Fails if `out` is NULL, so that nothing is made that could not be handed over.
pub(crate) fn check_out<T>(out: *mut T, argument: &str) -> Result<(), Failure> {
    if out.is_null() { Err(Failure::null(argument)) } else { Ok(()) }
}

/// Writes `value` where C wants it, or the failure that names the argument.
///
/// # Safety
/// `out` is NULL or may be written.
pub(crate) unsafe fn write_out<T>(out: *mut T, value: T, argument: &str) -> Result<(), Failure> {
    check_out(out, argument)?;
    // SAFETY: not NULL, and what the caller promised. What was there before is C's and has no destructor.
    unsafe { out.write(value) };
    Ok(())
}

/// Writes `value` where C wants it, unless C does not care.
///
/// # Safety
/// `out` is NULL or may be written.
pub(crate) unsafe fn write_optional<T>(out: *mut T, value: T) {
    if !out.is_null() {
        // SAFETY: as in `write_out`.
        unsafe { out.write(value) };
    }
}
