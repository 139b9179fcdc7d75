//! Options of a runtime.

use std::ffi::{CString, c_char, c_void};

use super::callbacks::UserData;
use super::failure::{Failure, required};
use super::guard;
use super::handle::BoxHandle;
use super::host_call;
use super::status::esrpc_status;
use crate::runtime::{Level, Log, OnEnded, sentence};

const MAX_THREADS: usize = 64;

/// Receives log messages. Called on any thread of the library or of the caller, also on several at once. Inside it
/// every function of the library does nothing and returns ESRPC_ERROR_INVALID_STATE, or, if it returns no status,
/// what it returns for NULL: 0, false, NULL or an empty text. That includes releases.
///
/// @param level An ESRPC_LOG_LEVEL_ constant, ESRPC_LOG_LEVEL_ERROR to ESRPC_LOG_LEVEL_TRACE.
/// @param target The part of the library that logs. Valid until the callback returns.
/// @param message One line without a line ending. Valid until the callback returns.
/// @param user_data The pointer passed with the callback.
pub type esrpc_log_callback =
    Option<unsafe extern "C" fn(level: i32, target: *const c_char, message: *const c_char, user_data: *mut c_void)>;

/// Called once when everything on a runtime has ended. It is the last of the runtime's callbacks, and is called on the
/// last event-loop thread, which ends when the callback returns. It must not wait for a runtime.
///
/// @param user_data The pointer passed with the callback.
pub type esrpc_ended_callback = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// Settings of a runtime; esrpc_runtime_new and esrpc_runtime_set_default_options copy them. Release them with
/// esrpc_runtime_options_release.
#[derive(Clone)]
pub struct esrpc_runtime_options {
    pub(crate) thread_count: usize,
    level: Level,
    callback: esrpc_log_callback,
    user_data: UserData,
    on_ended: Option<(EndedFunction, UserData)>,
}

type EndedFunction = unsafe extern "C" fn(user_data: *mut c_void);

impl Default for esrpc_runtime_options {
    fn default() -> esrpc_runtime_options {
        let user_data = UserData(std::ptr::null_mut());
        esrpc_runtime_options { thread_count: 1, level: Level::Off, callback: None, user_data, on_ended: None }
    }
}

impl BoxHandle for esrpc_runtime_options {}

impl esrpc_runtime_options {
    pub(crate) fn on_ended(&self) -> Option<OnEnded> {
        let (function, user_data) = self.on_ended?;
        Some(Box::new(move || {
            // Captures the whole struct, which is Send and Sync, rather than the pointer inside, which is not.
            let user_data: UserData = user_data;
            // SAFETY: the caller gave the function together with the pointer, for the runtime's last thread.
            unsafe { host_call::call(function, (user_data.0,)) }
        }))
    }

    pub(crate) fn log(&self) -> Log {
        let (Some(callback), user_data) = (self.callback, self.user_data) else {
            return Log::off();
        };
        Log::new(self.level, move |level, target, message| {
            // Captures the whole struct, which is Send and Sync, rather than the pointer inside, which is not.
            let user_data: UserData = user_data;
            if guard::is_inside_log_callback() {
                return;
            }
            let target = CString::new(target).unwrap_or_default();
            let message = sentence(message);
            guard::inside_log_callback(|| {
                // SAFETY: the caller gave the callback together with the pointer, for any thread.
                unsafe { host_call::call(callback, (level as i32, target.as_ptr(), message.as_ptr(), user_data.0)) }
            });
        })
    }
}

/// Creates runtime settings with every option at its default.
///
/// @return New settings, to be released with esrpc_runtime_options_release. NULL only inside a log callback.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_runtime_options_new() -> *mut esrpc_runtime_options {
    guard::value(std::ptr::null_mut(), || esrpc_runtime_options::default().give())
}

/// Frees runtime settings. Runtimes made with them have their own copy.
///
/// @param options Not to be used afterwards; NULL: nothing happens.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_runtime_options_release(options: *mut esrpc_runtime_options) {
    guard::value((), || {
        // SAFETY: NULL or live settings that the caller gives up.
        unsafe { esrpc_runtime_options::release(options) }
    })
}

/// Sets how many event-loop threads the runtime starts; connections are spread over them in turn. Default: 1.
///
/// @param options Modified.
/// @param count 1 to 64.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or count is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_runtime_options_set_thread_count(
    options: Option<&mut esrpc_runtime_options>,
    count: usize,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        if !(1..=MAX_THREADS).contains(&count) {
            let detail = format!("the thread count is {count}; it must be 1 to {MAX_THREADS}");
            return Err(Failure::invalid_argument(detail));
        }
        options.thread_count = count;
        Ok(())
    })
}

/// Sets a callback for the runtime's end, after which everything that its callbacks use may be unloaded or freed: for
/// plug-ins and bindings that release a runtime without waiting for it in esrpc_runtime_join. A runtime ends when its
/// last handle is released, or it is shut down or joined, and nothing lives on it any more. Default: none.
///
/// @param options Modified.
/// @param on_ended Called once for each runtime created with these options; NULL: none. Not called after
/// esrpc_runtime_stop or esrpc_stop_all, nor if the application has ended one of the runtime's threads inside a
/// callback.
/// @param user_data Passed to on_ended.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_runtime_options_set_on_ended(
    options: Option<&mut esrpc_runtime_options>,
    on_ended: esrpc_ended_callback,
    user_data: *mut c_void,
) -> esrpc_status {
    guard::call(|| {
        required(options, "options")?.on_ended = on_ended.map(|function| (function, UserData(user_data)));
        Ok(())
    })
}

/// Sets where log messages go. Default: nowhere; each then costs one comparison.
///
/// @param options Modified.
/// @param level The most detailed level to log, ESRPC_LOG_LEVEL_OFF to ESRPC_LOG_LEVEL_TRACE.
/// @param callback Called for each message until the runtime's threads have ended; NULL: none.
/// @param user_data Passed to the callback.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or level is not an ESRPC_LOG_LEVEL_ constant.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_runtime_options_set_log(
    options: Option<&mut esrpc_runtime_options>,
    level: i32,
    callback: esrpc_log_callback,
    user_data: *mut c_void,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        let levels = [Level::Off, Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
        let known = levels.into_iter().find(|known| *known as i32 == level);
        options.level =
            known.ok_or_else(|| Failure::invalid_argument(format!("level is {level}; it must be 0 to 5")))?;
        options.callback = callback;
        options.user_data = UserData(user_data);
        Ok(())
    })
}
