//! Who may open a pipe, and who has opened it.

use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::{self, NonNull};

use windows_sys::Win32::Foundation::{HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{GetTokenInformation, RevertToSelf, TOKEN_QUERY, TOKEN_USER, TokenUser};
use windows_sys::Win32::System::Pipes::ImpersonateNamedPipeClient;
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetCurrentThread, OpenProcess, OpenProcessToken, OpenThreadToken,
    PROCESS_QUERY_LIMITED_INFORMATION,
};

use crate::transport::{Error, ErrorKind};

/// Who may open a pipe, in the system's form.
pub struct SecurityDescriptor(NonNull<core::ffi::c_void>);

// SAFETY: it is memory that nobody changes until the owner frees it.
unsafe impl Send for SecurityDescriptor {}

impl SecurityDescriptor {
    pub fn from_sddl(sddl: &str) -> io::Result<SecurityDescriptor> {
        let wide = wide(sddl);
        let mut descriptor = ptr::null_mut();
        // SAFETY: `wide` ends with a NUL; `descriptor` is the place for the result; nobody asks for its size.
        let made = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                wide.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                ptr::null_mut(),
            )
        };
        NonNull::new(descriptor).filter(|_| made != 0).map(SecurityDescriptor).ok_or_else(io::Error::last_os_error)
    }

    /// Everything for the user of this process, nothing for others.
    pub fn of_this_user() -> io::Result<SecurityDescriptor> {
        SecurityDescriptor::from_sddl(&format!("D:P(A;;GA;;;{})", own_sid()?))
    }

    pub fn as_ptr(&self) -> *mut core::ffi::c_void {
        self.0.as_ptr()
    }
}

impl Drop for SecurityDescriptor {
    fn drop(&mut self) {
        // SAFETY: the system has allocated it with LocalAlloc, and nobody uses it any more.
        unsafe { LocalFree(self.0.as_ptr()) };
    }
}

/// Whether the text describes who may open a pipe.
pub fn check_pipe_security(sddl: &str) -> Result<(), Error> {
    SecurityDescriptor::from_sddl(sddl)
        .map(drop)
        .map_err(|error| Error::from_io("reading the security descriptor", &error, ErrorKind::Io))
}

/// The user of this process.
fn own_sid() -> io::Result<String> {
    // SAFETY: the pseudo handle of this process needs no owner.
    let process = unsafe { BorrowedHandle::borrow_raw(GetCurrentProcess().cast()) };
    sid_of_token(&token_of(process)?)
}

/// The user of another process, if this one may know.
pub fn sid_of_process(id: u32) -> io::Result<String> {
    // SAFETY: plain numbers; the result is a handle of ours, or null.
    let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, id) };
    let process = owned(process)?;
    // SAFETY: `process` owns the handle and outlives the borrow.
    sid_of_token(&token_of(unsafe { BorrowedHandle::borrow_raw(process.as_raw_handle()) })?)
}

/// The user who has opened the other end of a pipe, of which this end, the server's, has read something.
pub fn sid_of_client(pipe: BorrowedHandle<'_>) -> io::Result<String> {
    // SAFETY: the pipe is open as its owner is borrowed. The thread is itself again at the end of this function.
    if unsafe { ImpersonateNamedPipeClient(pipe.as_raw_handle().cast()) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let mut token = ptr::null_mut();
    // SAFETY: the pseudo handle of this thread needs no owner; `token` is the place for the result. As itself, since the
    // client may have no right to open the token.
    let opened = unsafe { OpenThreadToken(GetCurrentThread(), TOKEN_QUERY, 1, &raw mut token) };
    let token = if opened == 0 { Err(io::Error::last_os_error()) } else { owned(token) };
    // SAFETY: it takes nothing.
    if unsafe { RevertToSelf() } == 0 {
        // The thread would go on with the rights of a stranger.
        std::process::abort();
    }
    sid_of_token(&token?)
}

fn token_of(process: BorrowedHandle<'_>) -> io::Result<OwnedHandle> {
    let mut token = ptr::null_mut();
    // SAFETY: the process is open as its owner is borrowed; `token` is the place for the result.
    match unsafe { OpenProcessToken(process.as_raw_handle().cast(), TOKEN_QUERY, &raw mut token) } {
        0 => Err(io::Error::last_os_error()),
        _ => owned(token),
    }
}

fn owned(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new handle, which nobody else knows.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle.cast()) })
}

fn sid_of_token(token: &OwnedHandle) -> io::Result<String> {
    // Room for a TOKEN_USER, aligned as one, and the SID behind it, which has at most 68 bytes.
    let mut user = [0u64; 32];
    let mut len = 0;
    let (room, place) = (size_of_val(&user) as u32, user.as_mut_ptr());
    // SAFETY: `place` has as many bytes as `room` says.
    let known =
        unsafe { GetTokenInformation(token.as_raw_handle().cast(), TokenUser, place.cast(), room, &raw mut len) };
    if known == 0 {
        return Err(io::Error::last_os_error());
    }
    let mut text = ptr::null_mut();
    // SAFETY: the system has filled in a TOKEN_USER, whose SID lies in the same place; `text` is the place for the result.
    if unsafe { ConvertSidToStringSidW((*place.cast::<TOKEN_USER>()).User.Sid, &raw mut text) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system's text ends with a NUL, and is ours to free with LocalFree.
    unsafe {
        let len = (0..).take_while(|at| *text.add(*at) != 0).count();
        let sid = String::from_utf16_lossy(std::slice::from_raw_parts(text, len));
        LocalFree(text.cast());
        Ok(sid)
    }
}

/// The text as the system's functions want it.
pub fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}
