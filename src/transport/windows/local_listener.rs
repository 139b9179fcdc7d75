//! A named pipe that waits for clients.

use std::io;
use std::os::windows::io::FromRawHandle;

use mio::windows::NamedPipe;
use mio::{Registry, Token};
use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, PIPE_ACCESS_DUPLEX,
};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE, PIPE_UNLIMITED_INSTANCES,
};

use super::local_name::LocalName;
use super::local_stream::LocalStream;
use super::security::{SecurityDescriptor, wide};
use super::sockets::INTEREST;
use crate::transport::SocketOptions;
use crate::transport::error::words_of;
use crate::transport::local_options::LocalOptions;
use crate::transport::socket_listener::{ListeningSocket, SocketListener};

/// Instances that wait for clients: so many can connect before the next is accepted. Others find the pipe busy and try again.
const INSTANCES: usize = 16;
/// The system's buffers of an instance, in bytes.
const BUFFER_LEN: u32 = 64 * 1024;

pub struct LocalListener {
    name: LocalName,
    security: SecurityDescriptor,
    waiting: Vec<NamedPipe>,
    /// Who watches the instances.
    watcher: Option<(Registry, Token)>,
}

impl LocalListener {
    pub fn bind(name: &LocalName, options: &LocalOptions) -> io::Result<LocalListener> {
        let security = match &options.pipe_security {
            Some(sddl) => SecurityDescriptor::from_sddl(sddl)?,
            None => SecurityDescriptor::of_this_user()?,
        };
        // Only the first of a name has a say in who may open it, and whoever is not the first is not the server.
        let first = make_instance(name, &security, FILE_FLAG_FIRST_PIPE_INSTANCE).map_err(|error| {
            match error.raw_os_error() {
                Some(code) if code == ERROR_ACCESS_DENIED as i32 => io::Error::new(
                    io::ErrorKind::AddrInUse,
                    format!(
                        "another server has this pipe already: {}; stop it, or choose another name",
                        words_of(&error)
                    ),
                ),
                _ => error,
            }
        })?;
        let mut listener = LocalListener { name: name.clone(), security, waiting: vec![first], watcher: None };
        while listener.waiting.len() < INSTANCES {
            listener.waiting.push(make_instance(name, &listener.security, 0)?);
        }
        Ok(listener)
    }

    /// A pipe's instances cannot be handed over.
    pub fn adopted(_: SocketListener) -> LocalListener {
        unreachable!("no socket that can be taken over is a pipe")
    }

    pub fn share(&self) -> ListeningSocket {
        ListeningSocket::None
    }

    pub fn address(&self) -> String {
        self.name.to_string()
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let watcher = (registry.try_clone()?, token);
        for index in 0..self.waiting.len() {
            if let Err(error) = registry.register(&mut self.waiting[index], token, INTEREST) {
                for pipe in &mut self.waiting[..index] {
                    let _ = registry.deregister(pipe);
                }
                return Err(error);
            }
        }
        self.watcher = Some(watcher);
        for pipe in &self.waiting {
            // Begins to wait for a client; what becomes of that is for `accept`.
            let _ = pipe.connect();
        }
        Ok(())
    }

    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.watcher = None;
        for pipe in &mut self.waiting {
            registry.deregister(pipe)?;
        }
        Ok(())
    }

    /// The next connection. The inner error is about that alone.
    pub fn accept(&mut self, _: &SocketOptions) -> io::Result<io::Result<LocalStream>> {
        let Some((registry, token)) = &self.watcher else { return Err(io::ErrorKind::WouldBlock.into()) };
        for pipe in &mut self.waiting {
            let failure = pipe.take_error()?;
            let connected = match (failure, pipe.connect()) {
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => continue,
                (None, Ok(())) => Ok(()),
                (Some(error), _) | (None, Err(error)) => Err(error),
            };
            // Before the instance is taken, which otherwise keeps its client waiting until another try.
            let mut fresh = make_instance(&self.name, &self.security, 0)?;
            registry.register(&mut fresh, *token, INTEREST)?;
            // From here on clients may come, and an event says so.
            let begun = fresh.connect();
            let mut taken = std::mem::replace(pipe, fresh);
            registry.deregister(&mut taken)?;
            if let Err(error) = begun
                && error.kind() != io::ErrorKind::WouldBlock
            {
                return Err(error);
            }
            return Ok(connected.map(|()| LocalStream::accepted(taken, &self.name)));
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

fn make_instance(name: &LocalName, security: &SecurityDescriptor, flags: u32) -> io::Result<NamedPipe> {
    let name = wide(name.as_str());
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: security.as_ptr(),
        bInheritHandle: 0,
    };
    // SAFETY: `name` ends with a NUL, and `attributes` and what they point to live during the call.
    let handle = unsafe {
        CreateNamedPipeW(
            name.as_ptr(),
            PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | flags,
            PIPE_TYPE_BYTE | PIPE_REJECT_REMOTE_CLIENTS,
            PIPE_UNLIMITED_INSTANCES,
            BUFFER_LEN,
            BUFFER_LEN,
            0,
            &raw const attributes,
        )
    };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new handle of a pipe with overlapped operations, which nobody else knows.
    Ok(unsafe { NamedPipe::from_raw_handle(handle.cast()) })
}
