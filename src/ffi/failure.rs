//! Why a call failed, and the last failure of each thread.

use std::cell::RefCell;
use std::ffi::{CString, c_char};

use crate::runtime;
use crate::transport::Cause;

use super::status::{ESRPC_ERROR_INVALID_ARGUMENT, ESRPC_ERROR_INVALID_STATE, esrpc_status, sentence};

/// Why a call failed: the status that it returns, and a sentence for this very case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub status: esrpc_status,
    /// Empty if the general sentence of the status says it all.
    pub detail: String,
    /// The number of the system's error or of a TLS alert.
    pub cause: Option<Cause>,
}

impl Failure {
    pub(crate) fn new(status: impl Into<esrpc_status>, detail: impl Into<String>) -> Failure {
        Failure { status: status.into(), detail: detail.into(), cause: None }
    }

    /// For an argument that is NULL and must not be.
    #[cold]
    #[inline(never)]
    pub(crate) fn null(argument: &str) -> Failure {
        Failure::new(ESRPC_ERROR_INVALID_ARGUMENT, format!("{argument} is NULL"))
    }

    pub(crate) fn invalid_argument(detail: impl Into<String>) -> Failure {
        Failure::new(ESRPC_ERROR_INVALID_ARGUMENT, detail)
    }

    pub(crate) fn invalid_state(detail: impl Into<String>) -> Failure {
        Failure::new(ESRPC_ERROR_INVALID_STATE, detail)
    }

    /// The sentence for C.
    pub(crate) fn message(&self) -> CString {
        if self.detail.is_empty() {
            return sentence(self.status).to_owned();
        }
        runtime::sentence(&self.detail)
    }
}

/// Returns an argument that must not be NULL.
#[inline]
pub(crate) fn required<T>(argument: Option<T>, name: &str) -> Result<T, Failure> {
    argument.ok_or_else(|| Failure::null(name))
}

/// What a thread can still ask of its last failure.
#[derive(Default)]
struct LastError {
    message: CString,
    status: esrpc_status,
    cause: Option<Cause>,
}

thread_local! {
    static LAST_ERROR: RefCell<LastError> = RefCell::default();
}

/// Makes `failure` the one that esrpc_last_error_message explains on this thread.
pub(crate) fn set_last_error(failure: &Failure) {
    let last_error = LastError { message: failure.message(), status: failure.status, cause: failure.cause };
    // While the thread is ending, nobody can ask for it any more.
    let _ = LAST_ERROR.try_with(|last| *last.borrow_mut() = last_error);
}

/// Inside a callback that reports success there is nothing to explain.
pub(crate) fn clear_last_error() {
    let clear = |last: &RefCell<LastError>| {
        if last.borrow().status != 0 {
            *last.borrow_mut() = LastError::default();
        }
    };
    let _ = LAST_ERROR.try_with(clear);
}

/// The sentence of this thread's last failure; empty if there was none.
pub(crate) fn last_error() -> *const c_char {
    LAST_ERROR.try_with(|last| last.borrow().message.as_ptr()).unwrap_or(c"".as_ptr())
}

/// The status of this thread's last failure, and the number behind it.
pub(crate) fn last_error_numbers() -> (esrpc_status, Option<Cause>) {
    LAST_ERROR.try_with(|last| (last.borrow().status, last.borrow().cause)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::status::ESRPC_ERROR_IO;
    use super::*;

    #[test]
    fn a_control_character_neither_cuts_nor_breaks_the_message() {
        let failure = Failure::invalid_argument("a\0b\nc\u{9b}d");
        assert_eq!(failure.message().to_str(), Ok("a b c d"));
    }

    #[test]
    fn a_failure_without_a_detail_says_the_general_sentence() {
        assert_eq!(Failure::new(ESRPC_ERROR_IO, "").message().as_c_str(), sentence(ESRPC_ERROR_IO.into()));
    }
}
