//! The files of listening Unix sockets.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

/// How long to wait for others that are replacing the file, which takes them microseconds.
const PATIENCE: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_micros(50);

/// The file of a listening socket, to be removed before that is closed.
pub struct SocketFile {
    path: PathBuf,
    /// Only our own file is removed, not one that somebody else has put in its place; none if it is to stay.
    identity: Option<Identity>,
}

/// Device and inode.
type Identity = (u64, u64);

impl SocketFile {
    /// Binds and listens so that the file never has more permissions than `mode`: it is set on the socket before the file exists,
    /// where the system lessens it by the umask, and made exact afterwards. A stale file is replaced, a live server's is not. Of
    /// several that try at once, exactly one succeeds: one after the other looks at the file and finds either no server, or one
    /// that listens already.
    pub fn listen(socket: &Socket, address: &SockAddr, path: &Path, mode: u32, backlog: i32) -> io::Result<SocketFile> {
        let _lock = Lock::take(path)?;
        // SAFETY: fchmod takes plain numbers; the descriptor is open as `socket` is borrowed.
        if unsafe { libc::fchmod(socket.as_raw_fd(), mode as libc::mode_t) } != 0 && cfg!(target_os = "linux") {
            return Err(io::Error::last_os_error());
        }
        match socket.bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(address, path) => {
                fs::remove_file(path)?;
                socket.bind(address)?;
            }
            result => result?,
        }
        // From here on, an error removes the file.
        let file = SocketFile { path: path.to_owned(), identity: identity_of(path) };
        set_mode(path, mode)?;
        socket.listen(backlog)?;
        Ok(file)
    }

    /// It is not removed.
    pub fn kept(mut self) -> SocketFile {
        self.identity = None;
        self
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && self.identity == identity_of(&self.path) {
            // A failure could not be reported here, and the next bind replaces the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Does not follow a link that somebody has put in place of the file: what that leads to may be any file of ours.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let text = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the text ends with NUL and outlives the call; the rest are plain numbers.
    if unsafe { libc::fchmodat(libc::AT_FDCWD, text.as_ptr(), mode as libc::mode_t, libc::AT_SYMLINK_NOFOLLOW) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if !is_socket(path) {
        let sentence = format!("{} was replaced while it was being made", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, sentence));
    }
    // Not every system can do it this way.
    if error.raw_os_error() == Some(libc::EOPNOTSUPP) {
        return fs::set_permissions(path, Permissions::from_mode(mode));
    }
    Err(error)
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

fn identity_of(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// A socket file that nobody listens on any more.
fn is_stale(address: &SockAddr, path: &Path) -> bool {
    let refused = || {
        let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        probe.set_nonblocking(true)?;
        probe.connect(address)
    };
    is_socket(path) && refused().is_err_and(|error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// A file beside the socket's, locked while that is looked at and put in its place. It is there only for that time; one that a
/// process left behind when it was killed just then is harmless, and the next one to listen there removes it. Who can make it
/// can make the socket's file as well, so it gives nobody a new way to be in the way.
struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// None if there can be no such file: then binding most often fails too, and says why.
    fn take(socket_path: &Path) -> io::Result<Option<Lock>> {
        let mut path = socket_path.as_os_str().to_owned();
        path.push(".esrpc-lock");
        let path = PathBuf::from(path);
        let deadline = Instant::now() + PATIENCE;
        let mut pause = SHORTEST_PAUSE;
        loop {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600);
            let Ok(file) = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path) else {
                return Ok(None);
            };
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => return Ok(Some(Lock { path, file })),
                // The one who had it has removed it, so that others now have another file.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => {
                    let sentence = format!("another process has kept {} locked for {PATIENCE:?}", path.display());
                    return Err(io::Error::new(io::ErrorKind::AddrInUse, sentence));
                }
                Err(TryLockError::Error(_)) => return Ok(None),
            }
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    file.metadata().is_ok_and(|file| identity_of(path) == Some((file.dev(), file.ino())))
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Failures could not be reported. The lock is released explicitly, since a child that was forked meanwhile
        // has it too.
        let _ = fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}
