//! Runtimes.

use std::sync::Arc;

pub use super::counted::esrpc_runtime;
use super::failure::Failure;
use super::guard;
use super::handle::ArcHandle;
use super::out::{check_out, write_out};
use super::runtime_options::esrpc_runtime_options;
use super::status::esrpc_status;
use super::times::timeout;
use crate::runtime::{
    DefaultOptions, Error, Runtime, all_runtimes, check_may_wait, default_runtime, existing_default_runtime,
    set_default_options, stop_runtimes, take_default_if_ended,
};

/// The runtime that options name, or the default one.
pub(crate) fn chosen_runtime(chosen: Option<&Arc<Runtime>>) -> Result<Arc<Runtime>, Failure> {
    let Some(runtime) = chosen else { return Ok(default_runtime()?) };
    esrpc_runtime::check_usable(runtime)?;
    Ok(runtime.clone())
}

/// The runtime, or for NULL the default one, which is not made for this.
///
/// # Safety
/// NULL or a live handle.
pub(crate) unsafe fn existing_runtime(runtime: *const esrpc_runtime) -> Result<Option<Arc<Runtime>>, Failure> {
    // SAFETY: what the caller promised.
    Ok(unsafe { esrpc_runtime::share_optional(runtime) }?.or_else(existing_default_runtime))
}

/// Starts the threads of a new runtime.
///
/// @param options Borrowed; NULL: defaults.
/// @param out_runtime Receives the runtime, to be released with esrpc_runtime_release.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if out_runtime is NULL; ESRPC_ERROR_TOO_MANY_FILES or
/// ESRPC_ERROR_IO if the system provides no event queue or thread.
///
/// Thread: any; options: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_runtime_new(
    options: Option<&esrpc_runtime_options>,
    out_runtime: *mut *mut esrpc_runtime,
) -> esrpc_status {
    guard::system_call(|| {
        check_out(out_runtime, "out_runtime")?;
        let defaults = esrpc_runtime_options::default();
        let options = options.unwrap_or(&defaults);
        let runtime = Runtime::with_end(options.thread_count, options.log(), options.on_ended())?;
        // SAFETY: the caller's variable.
        unsafe { write_out(out_runtime, esrpc_runtime::give(runtime), "out_runtime") }
    })
}

/// Sets the options of the default runtime, the one that NULL stands for. They apply to every default runtime created
/// afterwards: the first use of NULL creates one, and so does the next use after esrpc_runtime_join,
/// esrpc_runtime_stop or esrpc_stop_all has ended it. The log callback must stay callable until the options have been
/// replaced and the default runtime has ended. A forked child starts with the defaults.
///
/// @param options Copied; NULL: back to the defaults, one thread and no log.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_STATE while the default runtime exists.
///
/// Thread: any; options: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_runtime_set_default_options(options: Option<&esrpc_runtime_options>) -> esrpc_status {
    guard::call(|| {
        let options = options.cloned().map(|options| {
            let twin = options.clone();
            DefaultOptions {
                thread_count: options.thread_count,
                make_log: Box::new(move || options.log()),
                make_on_ended: Box::new(move || twin.on_ended()),
            }
        });
        Ok(set_default_options(options)?)
    })
}

/// Adds a reference.
///
/// @param runtime Borrowed; NULL: returns NULL.
/// @return The same handle, to be released one more time.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_runtime_acquire(runtime: *mut esrpc_runtime) -> *mut esrpc_runtime {
    guard::value(std::ptr::null_mut(), || {
        // SAFETY: NULL or a live handle.
        unsafe { esrpc_runtime::acquire(runtime) }
    })
}

/// Releases a reference. Never waits. Connections and listeners on the runtime go on; its threads end after them.
///
/// @param runtime Not to be used afterwards; NULL, or, in a forked child, a handle of its parent: nothing happens.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_runtime_release(runtime: *mut esrpc_runtime) {
    guard::system_value((), || {
        // SAFETY: NULL or a live handle, whose reference the caller gives up.
        unsafe { esrpc_runtime::release(runtime) }
    })
}

/// Aborts every connection and closes every listener of the runtime, with the reason ESRPC_ERROR_RUNTIME_SHUTDOWN,
/// and accepts no new ones. Returns at once; all callbacks that are due are called on the event-loop threads.
///
/// @param runtime Borrowed; NULL: the default runtime, if there is one.
/// @return ESRPC_OK, also if it was shut down before; ESRPC_ERROR_FORKED in a forked child.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_runtime_shutdown(runtime: *mut esrpc_runtime) -> esrpc_status {
    guard::system_call(|| {
        // SAFETY: NULL or a live handle.
        if let Some(runtime) = unsafe { existing_runtime(runtime) }? {
            runtime.shut_down();
        }
        Ok(())
    })
}

/// Waits until all connections and listeners of the runtime have ended and their handles are released, so that every
/// on_destroy has been called, and its threads have ended. Shuts nothing down by itself. Afterwards the runtime
/// accepts nothing new; the next use of NULL creates a new default runtime.
///
/// @param runtime Borrowed; NULL: the default runtime; if there is none, there is nothing to wait for.
/// @param timeout_ms Milliseconds to wait at most, or ESRPC_NO_TIMEOUT.
/// @return ESRPC_OK; ESRPC_ERROR_TIMED_OUT if something is still alive; ESRPC_ERROR_RUNTIME_SHUTDOWN if some on_destroy
/// will never be called, because the runtime was stopped by esrpc_runtime_stop or esrpc_stop_all, or the application
/// has ended one of its threads inside a callback; ESRPC_ERROR_WOULD_DEADLOCK on an event-loop thread;
/// ESRPC_ERROR_FORKED in a forked child.
///
/// Thread: not-loop. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_runtime_join(runtime: *mut esrpc_runtime, timeout_ms: u32) -> esrpc_status {
    guard::system_call(|| {
        // Even if there is nothing to wait for, so that the mistake shows at once.
        check_may_wait().map_err(Error::from)?;
        // SAFETY: NULL or a live handle.
        if let Some(runtime) = unsafe { existing_runtime(runtime) }? {
            runtime.join(timeout(timeout_ms))?;
            take_default_if_ended(&runtime);
        }
        Ok(())
    })
}

/// Ends a runtime while handles of it are still in use, for an interpreter or a plug-in that goes away and cannot
/// wait until all of them are released. No callback of the runtime begins after the call. The function waits for the
/// callbacks that are running and for the event-loop threads to end. When it returns ESRPC_OK, no callback runs and
/// none is ever called again, not even a flush callback, a task, on_closed, on_shutdown, on_destroy or the log
/// callback; the sockets are closed, and everything that user_data points to may be freed. Unwritten messages are
/// lost. Calls on other threads that are waiting for something on the runtime return ESRPC_ERROR_RUNTIME_SHUTDOWN.
/// One of the library's threads that is resolving a host name may go on for a while; it then ends without calling
/// anything.
///
/// Handles stay valid until they are released, which frees their memory as always. Connections and activated streams
/// are closed, with the reason ESRPC_ERROR_RUNTIME_SHUTDOWN unless they had ended before. Calls on them and on
/// listeners return ESRPC_ERROR_RUNTIME_SHUTDOWN; functions that return a value return what is known, or 0, NULL or
/// empty bytes. esrpc_runtime_shutdown and esrpc_runtime_drain do nothing and return ESRPC_OK, and
/// esrpc_runtime_get_stats fills in the last figures.
///
/// To end in order, with every callback, use esrpc_runtime_drain or esrpc_runtime_shutdown and then
/// esrpc_runtime_join.
///
/// @param runtime Borrowed; NULL: the default runtime, if there is one; the next use of NULL then creates a new one.
/// @param timeout_ms Milliseconds to wait at most, or ESRPC_NO_TIMEOUT.
/// @return ESRPC_OK, also if it was stopped before, or if NULL is passed and there is no default runtime;
/// ESRPC_ERROR_TIMED_OUT if a callback has not returned or a thread has not ended in time: no other callback is called,
/// and the function may be called again to go on waiting; ESRPC_ERROR_WOULD_DEADLOCK on an event-loop thread of any
/// runtime; ESRPC_ERROR_FORKED in a forked child if the runtime is its parent's.
///
/// Thread: not-loop. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_runtime_stop(runtime: *mut esrpc_runtime, timeout_ms: u32) -> esrpc_status {
    guard::system_call(|| {
        // SAFETY: NULL or a live handle.
        let runtime = unsafe { existing_runtime(runtime) }?;
        stop_runtimes(runtime.as_slice(), timeout(timeout_ms))?;
        Ok(())
    })
}

/// Stops every runtime of the process as esrpc_runtime_stop does, including the default one and those created by
/// other code. For a program that is about to exit or to unload the code behind its callbacks.
///
/// @param timeout_ms Milliseconds to wait at most, or ESRPC_NO_TIMEOUT.
/// @return ESRPC_OK, also if there is none, as in a forked child that has created none; ESRPC_ERROR_TIMED_OUT if a
/// callback has not returned or a thread has not ended in time: no other callback is called, and the function may be
/// called again to go on waiting; ESRPC_ERROR_WOULD_DEADLOCK on an event-loop thread.
///
/// Thread: not-loop. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_stop_all(timeout_ms: u32) -> esrpc_status {
    guard::system_call(|| Ok(stop_runtimes(&all_runtimes(), timeout(timeout_ms))?))
}
