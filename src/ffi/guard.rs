//! The guard around every exported function: it stops panics and refuses calls from a log callback.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::failure::{Failure, set_last_error};
use super::status::{ESRPC_ERROR_INTERNAL, ESRPC_OK, esrpc_status};
use crate::runtime::uncancelled;

/// How many threads are inside a log callback. Usually none, and reading this is cheaper than reading a thread-local flag.
static LOG_CALLBACKS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Has no destructor, so that it can be read while a thread ends.
    static IN_LOG_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Runs the body of a function that returns a status; a failure becomes this thread's last error.
#[inline]
pub(crate) fn call(f: impl FnOnce() -> Result<(), Failure>) -> esrpc_status {
    if is_inside_log_callback() {
        return refuse();
    }
    // Unwind safety: whatever a panic leaves half done is unreachable afterwards, and state shared with other calls
    // is behind locks that the layers below recover.
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(())) => ESRPC_OK.into(),
        Ok(Err(failure)) => report(failure),
        Err(panic) => report(defect(panic)),
    }
}

/// `call` for a function that makes system calls on the caller's thread, at which pthread_cancel would otherwise end it.
pub(crate) fn system_call(f: impl FnOnce() -> Result<(), Failure>) -> esrpc_status {
    uncancelled(|| call(f))
}

/// Runs the body of a function that returns a value; after a panic, or in a log callback, it returns `default`.
#[inline]
pub(crate) fn value<T>(default: T, f: impl FnOnce() -> T) -> T {
    if is_inside_log_callback() {
        return default;
    }
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => value,
        Err(panic) => {
            report(defect(panic));
            default
        }
    }
}

/// `value` for a function that makes system calls.
pub(crate) fn system_value<T>(default: T, f: impl FnOnce() -> T) -> T {
    uncancelled(|| value(default, f))
}

/// Not inlined, like everything that only failures need, so that a success pays nothing for it.
#[cold]
#[inline(never)]
fn report(failure: Failure) -> esrpc_status {
    set_last_error(&failure);
    failure.status
}

#[cold]
#[inline(never)]
fn refuse() -> esrpc_status {
    report(Failure::invalid_state("a log callback may not call the library"))
}

/// Runs `f`, a log callback, during which this thread's calls of the library are refused.
pub(crate) fn inside_log_callback<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            IN_LOG_CALLBACK.set(self.0);
            LOG_CALLBACKS.fetch_sub(1, Ordering::Relaxed);
        }
    }
    LOG_CALLBACKS.fetch_add(1, Ordering::Relaxed);
    let _restore = Restore(IN_LOG_CALLBACK.replace(true));
    f()
}

/// Whether a log callback is running on this thread, during which nothing may be logged.
#[inline]
pub(crate) fn is_inside_log_callback() -> bool {
    LOG_CALLBACKS.load(Ordering::Relaxed) != 0 && this_thread_is_inside()
}

/// Not inlined: in a shared library, finding thread-local data is a function call, to be made only when necessary.
#[cold]
#[inline(never)]
fn this_thread_is_inside() -> bool {
    IN_LOG_CALLBACK.get()
}

#[cold]
#[inline(never)]
fn defect(panic: Box<dyn Any + Send>) -> Failure {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    // Dropping the payload may panic again.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(panic))).map_err(std::mem::forget);
    Failure::new(ESRPC_ERROR_INTERNAL, format!("defect in the library: {text}"))
}

#[cfg(test)]
mod tests {
    use super::super::failure::last_error as last_error_text;
    use super::super::status::*;
    use super::*;
    use std::ffi::CStr;

    fn last_error() -> String {
        // SAFETY: the function returns text that ends with NUL and is valid until the next failure on this thread.
        unsafe { CStr::from_ptr(last_error_text()) }.to_string_lossy().into_owned()
    }

    #[test]
    fn a_panic_becomes_an_internal_error() {
        assert_eq!(call(|| panic!("seven {}", 7)), ESRPC_ERROR_INTERNAL as i32);
        assert_eq!(last_error(), "defect in the library: seven 7");
        assert_eq!(value(5, || panic!("eight")), 5);
        assert_eq!(last_error(), "defect in the library: eight");
    }

    #[test]
    fn a_panic_whose_payload_panics_stops_here_too() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                if !std::thread::panicking() {
                    panic!("again");
                }
            }
        }
        assert_eq!(call(|| std::panic::panic_any(Bomb)), ESRPC_ERROR_INTERNAL as i32);
    }

    #[test]
    fn a_failure_is_remembered_and_a_success_does_not_forget_it() {
        assert_eq!(call(|| Err(Failure::null("x"))), ESRPC_ERROR_INVALID_ARGUMENT as i32);
        assert_eq!(call(|| Ok(())), ESRPC_OK as i32);
        assert_eq!(last_error(), "x is NULL");
    }

    #[test]
    fn a_log_callback_calls_nothing() {
        inside_log_callback(|| {
            assert_eq!(call(|| panic!("must not run")), ESRPC_ERROR_INVALID_STATE as i32);
            assert!(!value(false, || true));
            inside_log_callback(|| ());
            assert!(is_inside_log_callback());
        });
        assert!(value(false, || true));
    }
}
