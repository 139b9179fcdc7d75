//! Who owns the object behind a pointer that C holds. A handle type is either boxed (one owner) or counted, and is
//! freed by its own trait's function, so freeing one kind as the other does not compile. The names are the same in
//! both traits: a type that claimed to be both could call neither.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use super::failure::Failure;
use crate::runtime::Error;

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
///
/// The object may belong to the parent of this forked process. Its threads do not run here and its locks may be held by
/// one of them, so every way to the object checks that first, before any lock is taken.
pub(crate) trait ArcHandle: Sized {
    type Inner;

    /// The argument, in failures.
    const NAME: &'static str;

    /// Whether the object belongs to the parent of this forked process.
    fn is_foreign(inner: &Self::Inner) -> bool;

    /// Fails if calls on the object can do nothing any more: it is foreign, or the thread on which it lived has ended.
    fn check_usable(inner: &Self::Inner) -> Result<(), Error>;

    /// C has one more reference.
    #[inline]
    fn acquired(_: &Self::Inner) {}

    /// C has one reference less.
    #[inline]
    fn released(_: &Self::Inner) {}

    /// Hands one reference to C.
    fn give(inner: Arc<Self::Inner>) -> *mut Self {
        Self::acquired(&inner);
        Arc::into_raw(inner).cast_mut().cast()
    }

    /// The pointer without a reference of its own, for the time of a callback or as a borrowed return value.
    fn lend(inner: &Arc<Self::Inner>) -> *mut Self {
        Arc::as_ptr(inner).cast_mut().cast()
    }

    /// What an accessor returns: `default` for NULL and for a foreign object.
    ///
    /// # Safety
    /// NULL, or a handle that holds a reference, or is lent, during `'a`.
    #[inline]
    unsafe fn read<'a, T>(handle: *const Self, default: T, f: impl FnOnce(&'a Self::Inner) -> T) -> T
    where
        Self::Inner: 'a,
    {
        // SAFETY: what the caller promised; the pointer came from `give` or `lend`.
        match unsafe { handle.cast::<Self::Inner>().as_ref() } {
            Some(inner) if !Self::is_foreign(inner) => f(inner),
            _ => default,
        }
    }

    /// One more reference for the library itself, if the object is usable.
    ///
    /// # Safety
    /// NULL, or a handle that holds a reference, or is lent, for the time of this call.
    unsafe fn share(handle: *const Self) -> Result<Arc<Self::Inner>, Failure> {
        // SAFETY: what the caller promised.
        Ok(Arc::clone(&*unsafe { Self::hold(handle) }?))
    }

    /// The same where NULL stands for no object.
    ///
    /// # Safety
    /// As for `share`.
    unsafe fn share_optional(handle: *const Self) -> Result<Option<Arc<Self::Inner>>, Failure> {
        if handle.is_null() {
            return Ok(None);
        }
        // SAFETY: what the caller promised.
        unsafe { Self::share(handle) }.map(Some)
    }

    /// The caller's reference, used without counting another one, if the object is usable. For calls that are made for
    /// each message; as a function of its own it would cost them 21 instructions more.
    ///
    /// # Safety
    /// NULL, or a handle that stays live or lent as long as the result is used.
    #[inline(always)]
    unsafe fn hold(handle: *const Self) -> Result<ManuallyDrop<Arc<Self::Inner>>, Failure> {
        if handle.is_null() {
            return Err(Failure::null(Self::NAME));
        }
        // SAFETY: the pointer came from `give` or `lend`, and a reference exists; it is not given up here.
        let inner = ManuallyDrop::new(unsafe { Arc::from_raw(handle.cast::<Self::Inner>()) });
        Self::check_usable(&inner)?;
        Ok(inner)
    }

    /// One more reference for C. NULL gives NULL.
    ///
    /// # Safety
    /// As for `share`.
    unsafe fn acquire(handle: *mut Self) -> *mut Self {
        // SAFETY: what the caller promised; counting takes no lock, so a foreign object may be counted too.
        unsafe {
            if let Some(inner) = handle.cast::<Self::Inner>().as_ref() {
                Self::acquired(inner);
                Arc::increment_strong_count(handle.cast_const().cast::<Self::Inner>());
            }
        }
        handle
    }

    /// Takes one reference back from C. NULL is fine, and a foreign object is left alone.
    ///
    /// # Safety
    /// NULL, or a handle with a reference that the caller gives up with this call.
    unsafe fn release(handle: *mut Self) {
        // SAFETY: what the caller promised.
        if let Some(inner) = unsafe { handle.cast::<Self::Inner>().as_ref() }
            && !Self::is_foreign(inner)
        {
            Self::released(inner);
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
        const NAME: &'static str = "number";

        fn is_foreign(inner: &u32) -> bool {
            *inner == FOREIGN
        }

        fn check_usable(inner: &u32) -> Result<(), Error> {
            match *inner {
                FOREIGN => Err(Error::Forked),
                ENDED => Err(Error::RuntimeShutdown),
                _ => Ok(()),
            }
        }
    }

    const FOREIGN: u32 = 1;
    const ENDED: u32 = 2;

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
            assert_eq!(Counted::read(handle, 0, |number| *number), 7);
            assert_eq!(Counted::acquire(handle), handle);
            assert_eq!(Arc::strong_count(&inner), 3);
            drop(Counted::share(handle).expect("not NULL"));
            assert!(Counted::share_optional(handle).is_ok_and(|number| number.is_some()));
            Counted::release(handle);
            Counted::release(handle);
        }
        assert_eq!(Arc::strong_count(&inner), 1);
    }

    #[test]
    fn a_foreign_object_is_neither_read_nor_released() {
        let inner = Arc::new(FOREIGN);
        let handle = Counted::give(Arc::clone(&inner));
        // SAFETY: the handle holds the reference given above.
        unsafe {
            assert_eq!(Counted::read(handle, 0, |number| *number), 0);
            assert_eq!(Counted::share(handle), Err(Error::Forked.into()));
            assert_eq!(Counted::share_optional(handle), Err(Error::Forked.into()));
            assert_eq!(Counted::hold(handle).map(drop), Err(Error::Forked.into()));
            Counted::release(handle);
        }
        assert_eq!(Arc::strong_count(&inner), 2);
        // SAFETY: the reference given above, which nobody else gives up.
        drop(unsafe { Arc::from_raw(handle.cast_const().cast::<u32>()) });
    }

    #[test]
    fn an_object_whose_thread_has_ended_is_read_and_released() {
        let inner = Arc::new(ENDED);
        let handle = Counted::give(Arc::clone(&inner));
        // SAFETY: the handle holds the reference given above until the release.
        unsafe {
            assert_eq!(Counted::read(handle, 0, |number| *number), ENDED);
            assert_eq!(Counted::share(handle), Err(Error::RuntimeShutdown.into()));
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
            assert_eq!(Counted::read(ptr::null(), 5, |number| *number), 5);
            assert_eq!(Counted::share(ptr::null()), Err(Failure::null("number")));
            assert_eq!(Counted::share_optional(ptr::null()), Ok(None));
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
