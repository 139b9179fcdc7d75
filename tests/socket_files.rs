//! Socket files of listeners: who gets one, who loses one, and what lies beside them.
#![cfg(unix)]

use eventstream_rpc::transport::{Endpoint, Error, ErrorKind, Listener, LocalName, LocalOptions, SocketOptions};
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier, PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, Instant};

/// Rounds of a race, as many as fit into the time.
const ROUNDS: usize = 3000;
const TIME_FOR_ROUNDS: Duration = Duration::from_secs(10);

/// Held for writing while forking, since children inherit all sockets that are open then, and keep them open.
static FORKS: RwLock<()> = RwLock::new(());

/// A new folder, removed at the end, in which nothing may be left.
struct Folder(PathBuf, #[allow(dead_code, reason = "held, not read")] Option<RwLockReadGuard<'static, ()>>);

impl Folder {
    fn new(name: &str) -> Folder {
        let no_forks = FORKS.read().unwrap_or_else(PoisonError::into_inner);
        Folder(Folder::create(name), Some(no_forks))
    }

    fn create(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("esrpc-{name}-{}", std::process::id()));
        fs::create_dir(&folder).expect("a new folder");
        folder
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }

    fn lock(&self) -> PathBuf {
        self.0.join("socket.esrpc-lock")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !thread::panicking() {
            assert_eq!(self.names(), [""; 0]);
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn listen(path: &Path) -> Result<Listener, Error> {
    listen_with(path, 0o600, false)
}

fn listen_with(path: &Path, mode: u32, keep_file: bool) -> Result<Listener, Error> {
    let local = LocalOptions { unix_mode: mode, keep_unix_file: keep_file, pipe_security: None };
    Listener::bind(&Endpoint::Local(LocalName::Path(path.to_owned())), &local, &SocketOptions::default())
}

/// A file that a server has left behind.
fn leave_stale_file(path: &Path) {
    drop(UnixListener::bind(path).expect("a socket"));
}

fn rounds() -> impl Iterator<Item = usize> {
    let end = Instant::now() + TIME_FOR_ROUNDS;
    (0..ROUNDS).take_while(move |round| {
        let in_time = Instant::now() < end;
        assert!(in_time || *round > 50, "{round} rounds in {TIME_FOR_ROUNDS:?}");
        in_time
    })
}

/// A connection to the listener through the file.
fn assert_reached(listener: &mut Listener, path: &Path) {
    let _client = UnixStream::connect(path).expect("somebody listens");
    assert!(listener.accept().is_ok_and(|connection| connection.is_some()), "somebody else listens");
}

/// One server for each try, at the same moment; returns the one that listens.
fn race(servers: usize, path: &Path) -> Listener {
    let barrier = Arc::new(Barrier::new(servers));
    let start = |_| {
        let (barrier, path) = (barrier.clone(), path.to_owned());
        thread::spawn(move || {
            barrier.wait();
            listen(&path)
        })
    };
    let threads: Vec<_> = (0..servers).map(start).collect();
    let (mut winners, losers): (Vec<_>, Vec<_>) =
        threads.into_iter().map(|thread| thread.join().expect("no panic")).partition(Result::is_ok);
    assert_eq!(winners.len(), 1, "{:?}", losers.into_iter().map(Result::err).collect::<Vec<_>>());
    for loser in losers {
        assert_eq!(loser.err().map(|error| error.kind), Some(ErrorKind::AddressInUse));
    }
    let mut winner = winners.pop().and_then(Result::ok).expect("one");
    // The others looked whether it is there.
    while winner.accept().is_ok_and(|connection| connection.is_some()) {}
    winner
}

#[test]
fn one_of_several_servers_gets_a_stale_file() {
    let folder = Folder::new("stale");
    for round in rounds() {
        leave_stale_file(&folder.socket());
        let mut winner = race(2 + round % 3, &folder.socket());
        assert_reached(&mut winner, &folder.socket());
    }
}

#[test]
fn one_of_several_servers_gets_a_new_file() {
    let folder = Folder::new("new");
    for round in rounds() {
        let mut winner = race(2 + round % 3, &folder.socket());
        assert_reached(&mut winner, &folder.socket());
    }
}

#[test]
fn one_of_several_processes_gets_a_stale_file() {
    const PROCESSES: usize = 3;
    let _forks = FORKS.write().unwrap_or_else(PoisonError::into_inner);
    let folder = Folder(Folder::create("processes"), None);
    for _ in rounds().take(300) {
        leave_stale_file(&folder.socket());
        let (mut start, mut go) = ([0; 2], [0; 2]);
        // SAFETY: two places for each pipe's descriptors.
        assert!(unsafe { libc::pipe(start.as_mut_ptr()) == 0 && libc::pipe(go.as_mut_ptr()) == 0 });
        let children: Vec<_> = (0..PROCESSES).map(|_| fork_server(&folder.socket(), start, go)).collect();
        // SAFETY: descriptors of this function; the end of a pipe starts the children.
        let results: Vec<u8> = unsafe {
            libc::close(start[1]);
            libc::close(start[0]);
            libc::close(go[1]);
            let read_one = |_| {
                let mut result = 0;
                assert_eq!(libc::read(go[0], (&raw mut result).cast(), 1), 1);
                result
            };
            (0..PROCESSES).map(read_one).collect()
        };
        assert_eq!(results.iter().filter(|result| **result == b'w').count(), 1, "{results:?}");
        drop(UnixStream::connect(folder.socket()).expect("the winner is reached"));
        for child in children {
            let mut status = 0;
            // SAFETY: children of this function's; a place for the status.
            unsafe {
                libc::kill(child, libc::SIGKILL);
                assert_eq!(libc::waitpid(child, &mut status, 0), child);
            }
        }
        // SAFETY: a descriptor of this function's.
        unsafe { libc::close(go[0]) };
        fs::remove_file(folder.socket()).expect("nobody has removed it");
    }
}

/// A process that listens when `start` ends, writes how that went to `go`, and stays until it is killed.
fn fork_server(path: &Path, start: [i32; 2], go: [i32; 2]) -> libc::pid_t {
    // SAFETY: the child listens, which takes memory, as glibc lets forked children do, and system calls.
    unsafe {
        match libc::fork() {
            0 => {
                libc::alarm(60);
                libc::close(start[1]);
                let mut byte = 0u8;
                libc::read(start[0], (&raw mut byte).cast(), 1);
                let listener = listen(path);
                let result = if listener.is_ok() { b'w' } else { b'l' };
                libc::write(go[1], (&raw const result).cast(), 1);
                loop {
                    libc::pause();
                }
            }
            child => {
                assert!(child > 0);
                child
            }
        }
    }
}

#[test]
fn the_file_of_a_successor_survives_the_old_listener() {
    let folder = Folder::new("successor");
    let path = folder.socket();
    for round in rounds() {
        let old = listen(&path).expect("nobody listens");
        let successor = {
            let path = path.clone();
            thread::spawn(move || {
                loop {
                    if let Ok(listener) = listen(&path) {
                        return listener;
                    }
                }
            })
        };
        for _ in 0..(round % 50) * 200 {
            std::hint::spin_loop();
        }
        drop(old);
        assert_reached(&mut successor.join().expect("no panic"), &path);
    }
}

#[test]
fn a_file_in_place_of_ones_own_is_not_removed() {
    let folder = Folder::new("replaced");
    let old = listen(&folder.socket()).expect("nobody listens");
    fs::remove_file(folder.socket()).expect("a file");
    let mut new = listen(&folder.socket()).expect("no file");
    drop(old);
    assert_reached(&mut new, &folder.socket());
}

#[test]
fn only_the_socket_is_there_while_a_server_listens() {
    let folder = Folder::new("alone");
    let listener = listen_with(&folder.socket(), 0o640, false).expect("nobody listens");
    assert_eq!(folder.names(), ["socket"]);
    let file = fs::symlink_metadata(folder.socket()).expect("the file");
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o7777, 0o640);
    assert_eq!(listen(&folder.socket()).err().map(|error| error.kind), Some(ErrorKind::AddressInUse));
    assert_eq!(folder.names(), ["socket"]);
    drop(listener);
    assert_eq!(folder.names(), [""; 0]);
    drop(listen_with(&folder.socket(), 0o600, true).expect("nobody listens"));
    assert_eq!(folder.names(), ["socket"]);
    fs::remove_file(folder.socket()).expect("it was to be kept");
}

#[test]
fn a_lock_that_a_killed_process_left_behind_is_taken_and_removed() {
    let folder = Folder::new("left");
    fs::write(folder.lock(), "").expect("a new file");
    leave_stale_file(&folder.socket());
    let mut listener = listen(&folder.socket()).expect("nobody holds it");
    assert_eq!(folder.names(), ["socket"]);
    assert_reached(&mut listener, &folder.socket());
}

#[test]
fn a_lock_that_is_kept_is_an_error_rather_than_an_endless_wait() {
    let folder = Folder::new("held");
    let lock = fs::File::create(folder.lock()).expect("a new file");
    lock.lock().expect("nobody holds it");
    let error = listen(&folder.socket()).err().expect("it is held");
    assert_eq!(error.kind, ErrorKind::AddressInUse);
    assert!(error.to_string().contains("socket.esrpc-lock"), "{error}");
    assert!(!error.to_string().contains("server"), "nobody listens: {error}");
    drop(lock);
    drop(listen(&folder.socket()).expect("nobody holds it any more"));
}

#[test]
fn a_lock_that_leads_elsewhere_is_left_alone() {
    let folder = Folder::new("link");
    let target = folder.0.join("target");
    fs::write(&target, "precious").expect("a new file");
    std::os::unix::fs::symlink(&target, folder.lock()).expect("a link");
    drop(listen(&folder.socket()).expect("nobody listens"));
    assert_eq!(fs::read_to_string(&target).expect("the file"), "precious");
    for path in [folder.lock(), target] {
        fs::remove_file(path).expect("it is still there");
    }
}
