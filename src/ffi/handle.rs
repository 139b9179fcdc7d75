//! Who owns the object behind a pointer that C holds. A handle type is either boxed (one owner) or counted, and is
//! freed by its own trait's function, so freeing one kind as the other does not compile. The names are the same in
//! both traits: a type that claimed to be both could call neither.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use super::failure::Failure;

/// A handle with one owner: the pointer is that of a `Box<Self>`.
pub(crate) trait BoxHandle: Sized {
    /// Hands the object to C.
    fn give(self) -> *mut Self {
        Box::into_raw(Box::new(self))
    }

    /// The object behind `handle`, or the failure that names the argument.
    ///
    /// # Safety
    /// NULL, or a live handle that nobody changes during `'a`.
    unsafe fn borrow<'a>(handle: *const Self, argument: &str) -> Result<&'a Self, Failure> {
        // SAFETY: what the caller promised.
        unsafe { handle.as_ref() }.ok_or_else(|| Failure::null(argument))
    }

    /// Takes the object back from C and frees it. NULL is fine.
    ///
    /// # Safety
    /// NULL, or a handle made by `give` and not used afterwards.
    unsafe fn release(handle: *mut Self) {
        if !handle.is_null() {
            // SAFETY: not NULL, and what the caller promised.
            drop(unsafe { Box::from_raw(handle) });
        }
    }
}

/// A counted handle: the pointer is that of an `Arc<Self::Inner>`, and `Self` is only its name for C.
pub(crate) trait ArcHandle: Sized {
    type Inner;

    /// Hands one reference to C.
    fn give(inner: Arc<Self::Inner>) -> *mut Self {
        Arc::into_raw(inner).cast_mut().cast()
    }

    /// The pointer without a reference of its own, for the time of a callback or as a borrowed answer.
    fn lend(inner: &Arc<Self::Inner>) -> *mut Self {
        Arc::as_ptr(inner).cast_mut().cast()
    }

    /// The object behind `handle`, or the failure that names the argument.
    ///
    /// # Safety
    /// NULL, or a handle that holds a reference, or is lent, during `'a`.
    unsafe fn borrow<'a>(handle: *const Self, argument: &str) -> Result<&'a Self::Inner, Failure> {
        // SAFETY: what the caller promised; the pointer came from `give` or `lend`.
        unsafe { handle.cast::<Self::Inner>().as_ref() }.ok_or_else(|| Failure::null(argument))
    }

    /// One more reference for the library itself, or the failure that names the argument.
    ///
    /// # Safety
    /// As for `borrow`, for the time of this call.
    unsafe fn share(handle: *const Self, argument: &str) -> Result<Arc<Self::Inner>, Failure> {
        // SAFETY: what the caller promised.
        Ok(Arc::clone(&*unsafe { Self::hold(handle, argument) }?))
    }

    /// The caller's reference, used for the time of this call without counting another; or the failure that names the
    /// argument. For calls that are made for each message.
    ///
    /// # Safety
    /// As for `borrow`, for the time of this call.
    unsafe fn hold(handle: *const Self, argument: &str) -> Result<ManuallyDrop<Arc<Self::Inner>>, Failure> {
        if handle.is_null() {
            return Err(Failure::null(argument));
        }
        // SAFETY: the pointer came from `give` or `lend`, and a reference exists; it is not given up here.
        Ok(ManuallyDrop::new(unsafe { Arc::from_raw(handle.cast::<Self::Inner>()) }))
    }

    /// One more reference for C. NULL gives NULL.
    ///
    /// # Safety
    /// As for `share`.
    unsafe fn acquire(handle: *mut Self) -> *mut Self {
        if !handle.is_null() {
            // SAFETY: as in `share`.
            unsafe { Arc::increment_strong_count(handle.cast_const().cast::<Self::Inner>()) };
        }
        handle
    }

    /// Takes one reference back from C. NULL is fine.
    ///
    /// # Safety
    /// NULL, or a handle with a reference that the caller gives up with this call.
    unsafe fn release(handle: *mut Self) {
        if !handle.is_null() {
            // SAFETY: not NULL, and what the caller promised.
            unsafe { Arc::decrement_strong_count(handle.cast_const().cast::<Self::Inner>()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    struct Counted;
    impl ArcHandle for Counted {
        type Inner = u32;
    }

    struct Owned(u32);
    impl BoxHandle for Owned {}

    #[test]
    fn references_of_a_counted_handle_are_counted() {
        let inner = Arc::new(7);
        let handle = Counted::give(Arc::clone(&inner));
        assert_eq!(handle, Counted::lend(&inner));
        assert_eq!(Arc::strong_count(&inner), 2);
        // SAFETY: the handle holds the reference given above until the last release.
        unsafe {
            assert_eq!(Counted::borrow(handle, "x"), Ok(&7));
            assert_eq!(Counted::acquire(handle), handle);
            assert_eq!(Arc::strong_count(&inner), 3);
            drop(Counted::share(handle, "x").expect("not NULL"));
            Counted::release(handle);
            Counted::release(handle);
        }
        assert_eq!(Arc::strong_count(&inner), 1);
    }

    #[test]
    fn null_is_released_in_silence_and_otherwise_named() {
        // SAFETY: NULL is allowed everywhere.
        unsafe {
            Counted::release(ptr::null_mut());
            Owned::release(ptr::null_mut());
            assert!(Counted::acquire(ptr::null_mut()).is_null());
            assert_eq!(Counted::borrow(ptr::null(), "connection"), Err(Failure::null("connection")));
            assert_eq!(Counted::share(ptr::null(), "connection"), Err(Failure::null("connection")));
            assert!(Owned::borrow(ptr::null(), "headers").is_err());
        }
    }

    #[test]
    fn an_owned_handle_goes_to_c_and_back() {
        let handle = Owned(1).give();
        // SAFETY: the handle is live until `release`, and nobody else has it.
        unsafe {
            assert_eq!(Owned::borrow(handle, "x").expect("not NULL").0, 1);
            Owned::release(handle);
        }
    }
}
