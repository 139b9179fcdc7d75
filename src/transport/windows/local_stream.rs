//! A connected named pipe.

use std::fs::OpenOptions;
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, IntoRawHandle};
use std::ptr;

use mio::event::Source;
use mio::windows::NamedPipe;
use socket2::Socket;
use windows_sys::Win32::Foundation::ERROR_PIPE_BUSY;
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_OVERLAPPED, SECURITY_IDENTIFICATION};
use windows_sys::Win32::System::IO::CancelIoEx;
use windows_sys::Win32::System::Pipes::{GetNamedPipeClientProcessId, GetNamedPipeServerProcessId};

use super::local_name::LocalName;
use super::security::{sid_of_client, sid_of_process};
use crate::transport::endpoint::AddressText;
use crate::transport::peer_credentials::{NOBODY, PeerCredentials};
use crate::transport::socket::{Readiness, connect_error};
use crate::transport::{Error, ErrorKind, SocketOptions};

/// What mio reads at most in one go.
const LONGEST_READ: usize = 64 * 1024;
/// mio copies what is written, and takes nothing more until the pipe has all of it.
const LONGEST_WRITE: usize = 256 * 1024;
/// What a server reads before it knows its client.
const FIRST_READ: usize = 4096;

/// One end of a pipe. There are no sides that end one by one: the peer sees the end when the handle is closed, after it has
/// read what was written before.
pub struct LocalStream {
    pipe: NamedPipe,
    name: LocalName,
    is_server: bool,
    /// What a server has read to learn who its client is, from which bytes on it is still to be handed out.
    first: Vec<u8>,
    handed_out: usize,
    is_peer_known: bool,
    sid: String,
    /// The pipe has not taken all of the last write, as far as is known.
    is_writing: bool,
}

impl LocalStream {
    /// Opens a pipe of which a server waits for a client. The server may learn who we are, but not act in our name.
    pub fn dial(name: &LocalName, _: &SocketOptions) -> Result<LocalStream, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        options.custom_flags(FILE_FLAG_OVERLAPPED).security_qos_flags(SECURITY_IDENTIFICATION);
        let file = options.open(name.as_str()).map_err(|error| match error.raw_os_error() {
            Some(code) if code == ERROR_PIPE_BUSY as i32 => {
                Error::new(ErrorKind::BacklogFull, "all instances of the pipe are busy")
            }
            _ => connect_error(&error),
        })?;
        // SAFETY: a handle that was opened for overlapped operations, which its owner has just given up.
        let pipe = unsafe { NamedPipe::from_raw_handle(file.into_raw_handle()) };
        Ok(LocalStream::with(pipe, name, false))
    }

    /// Takes an instance to which a client has connected, and which is in no poll.
    pub fn accepted(pipe: NamedPipe, name: &LocalName) -> LocalStream {
        LocalStream::with(pipe, name, true)
    }

    fn with(pipe: NamedPipe, name: &LocalName, is_server: bool) -> LocalStream {
        let name = name.clone();
        let (first, sid) = (Vec::new(), String::new());
        LocalStream { pipe, name, is_server, first, handed_out: 0, is_peer_known: !is_server, sid, is_writing: false }
    }

    /// Windows has Unix sockets, but mio cannot watch them.
    pub fn new(socket: Socket) -> LocalStream {
        unreachable!("no socket but those of TCP is taken, as {socket:?} would be")
    }

    pub fn finish_dial(&self) -> Result<Readiness, Error> {
        Ok(Readiness::Ready)
    }

    pub fn source(&mut self) -> &mut dyn Source {
        &mut self.pipe
    }

    pub fn short_read_ends_input(&self) -> bool {
        false
    }

    /// A server may ask who its client is once it has read something from it.
    pub fn identify_peer(&mut self) -> Readiness {
        if self.is_peer_known {
            return Readiness::Ready;
        }
        let mut first = vec![0; FIRST_READ];
        match self.pipe.read(&mut first) {
            Ok(count) => {
                first.truncate(count);
                self.first = first;
                if count > 0 {
                    // Without it the peer is one whose name is not known.
                    self.sid = sid_of_client(self.handle()).unwrap_or_default();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Readiness::Pending,
            // Seen again by the next read.
            Err(_) => {}
        }
        self.is_peer_known = true;
        Readiness::Ready
    }

    pub fn receive(&mut self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let room = buffer.len().min(LONGEST_READ);
        let buffer = &mut buffer[..room];
        buffer.fill(MaybeUninit::new(0));
        // SAFETY: all of it was just written.
        let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast::<u8>(), room) };
        let mut first = &self.first[self.handed_out..];
        if !first.is_empty() {
            let count = first.read(buffer)?;
            self.handed_out += count;
            if self.handed_out == self.first.len() {
                (self.first, self.handed_out) = (Vec::new(), 0);
            }
            return Ok(count);
        }
        self.pipe.read(buffer)
    }

    pub fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(first) = buffers.iter().find(|buffer| !buffer.is_empty()) else { return Ok(0) };
        let mut len = 0;
        let fitting = buffers.iter().take_while(|buffer| {
            len += buffer.len();
            len <= LONGEST_WRITE
        });
        let count = match fitting.count() {
            0 => self.pipe.write(&first[..first.len().min(LONGEST_WRITE)])?,
            count => self.pipe.write_vectored(&buffers[..count])?,
        };
        self.is_writing = true;
        Ok(count)
    }

    /// The poll has reported room for more.
    pub fn note_room(&mut self) {
        self.is_writing = false;
    }

    /// Whether the pipe has taken all that was written.
    pub fn is_written(&self) -> bool {
        !self.is_writing
    }

    /// Nothing but closing it ends it without a loss.
    pub fn shut_down(&self, _: Shutdown) -> io::Result<()> {
        Ok(())
    }

    /// What is unread here is not the peer's loss.
    pub fn has_unfinished_bytes(&self) -> bool {
        false
    }

    /// A client's end has no name.
    pub fn local_address(&self) -> AddressText {
        AddressText::Other(if self.is_server { self.name.to_string() } else { "pipe:".to_owned() })
    }

    pub fn remote_address(&self) -> AddressText {
        AddressText::Other(if self.is_server { "pipe:".to_owned() } else { self.name.to_string() })
    }

    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        let (handle, mut id) = (self.pipe.as_raw_handle().cast(), 0);
        // SAFETY: the pipe is open as its owner is borrowed; `id` is the place for the result.
        let known = unsafe {
            match self.is_server {
                true => GetNamedPipeClientProcessId(handle, &raw mut id),
                false => GetNamedPipeServerProcessId(handle, &raw mut id),
            }
        };
        if known == 0 {
            return None;
        }
        let sid = if self.is_server { self.sid.clone() } else { sid_of_process(id).unwrap_or_default() };
        Some(PeerCredentials { pid: id as i32, uid: NOBODY, gid: NOBODY, sid })
    }

    fn handle(&self) -> BorrowedHandle<'_> {
        // SAFETY: the pipe owns the handle and is borrowed.
        unsafe { BorrowedHandle::borrow_raw(self.pipe.as_raw_handle()) }
    }
}

impl Drop for LocalStream {
    fn drop(&mut self) {
        if self.is_writing {
            // mio would keep the pipe open until the peer has read it all, which it may never do.
            // SAFETY: the pipe is open; without an OVERLAPPED all operations of this process on the handle are cancelled.
            unsafe { CancelIoEx(self.pipe.as_raw_handle().cast(), ptr::null()) };
        }
    }
}
