//! What the library needs from its process.

use std::ptr;

use windows_sys::Win32::System::LibraryLoader::{
    GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_PIN, GetModuleHandleExW,
};

/// There is no fork: the process is always the same.
pub fn current_process() -> u32 {
    1
}

/// Runs `spawn`, whose threads need the code of the library: from here on FreeLibrary leaves it where it is.
pub fn guest_threads<R>(spawn: impl FnOnce() -> R) -> R {
    let flags = GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS;
    let mut module = ptr::null_mut();
    let here = (current_process as fn() -> u32) as *const u16;
    // SAFETY: with these flags the second argument is an address in the module, which is only looked at; `module` is the place
    // for the result. A failure leaves the module as it was.
    unsafe { GetModuleHandleExW(flags, here, &raw mut module) };
    spawn()
}

pub fn never_cancelled() {}

pub fn uncancelled<R>(work: impl FnOnce() -> R) -> R {
    work()
}
