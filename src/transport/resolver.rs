use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::transport::{Error, ErrorKind};

/// Lookups that run at once. One that was given up does not count: its thread ends alone, whenever the system answers.
const MAX_THREADS: usize = 4;

/// What a lookup found.
pub type Resolved = Result<Vec<SocketAddr>, Error>;

/// Looks names up on threads of its own, since the system's function blocks.
#[derive(Clone)]
pub struct Resolver {
    state: Arc<Mutex<State>>,
    /// Starts a thread as the owner wants its threads started.
    spawn: fn(Box<dyn FnOnce() + Send>) -> std::io::Result<()>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// Threads whose lookup is still wanted, or that look for the next one.
    working: usize,
}

struct Job {
    host: String,
    port: u16,
    tell: Box<dyn FnOnce(Resolved) + Send>,
    ticket: Arc<Ticket>,
}

#[derive(Default)]
struct Ticket {
    given_up: AtomicBool,
    /// The thread that works on it does not count any more.
    detached: AtomicBool,
}

/// A lookup that somebody waits for. Dropping it gives it up.
pub struct Lookup {
    ticket: Arc<Ticket>,
    resolver: Resolver,
}

/// The address, if the host is one and needs no lookup.
pub fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = literal.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, port));
    }
    // A numeric scope id ("fe80::1%2") is part of the socket address only; a named one is for the lookup.
    format!("[{literal}]:{port}").parse().ok()
}

impl Resolver {
    pub fn new(spawn: fn(Box<dyn FnOnce() + Send>) -> std::io::Result<()>) -> Resolver {
        Resolver { state: Arc::default(), spawn }
    }

    /// Begins a lookup; `tell` is called on a resolver thread, unless it is given up before.
    pub fn look_up(
        &self,
        host: &str,
        port: u16,
        tell: impl FnOnce(Resolved) + Send + 'static,
    ) -> Result<Lookup, Error> {
        let ticket = Arc::new(Ticket::default());
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).to_owned();
        let job = Job { host, port, tell: Box::new(tell), ticket: ticket.clone() };
        lock(&self.state).waiting.push_back(job);
        // If no thread can be had, its drop takes the job back.
        let lookup = Lookup { ticket, resolver: self.clone() };
        self.start_thread_if_needed()?;
        Ok(lookup)
    }

    fn start_thread_if_needed(&self) -> Result<(), Error> {
        {
            let mut state = lock(&self.state);
            if state.waiting.is_empty() || state.working >= MAX_THREADS {
                return Ok(());
            }
            state.working += 1;
        }
        let shared = self.state.clone();
        (self.spawn)(Box::new(move || work(&shared))).map_err(|error| {
            lock(&self.state).working -= 1;
            Error::from_io("starting a thread to look names up", &error, ErrorKind::Io)
        })
    }
}

fn work(state: &Mutex<State>) {
    loop {
        let job = {
            let mut state = lock(state);
            match state.waiting.pop_front() {
                Some(job) => job,
                None => {
                    state.working -= 1;
                    return;
                }
            }
        };
        if !job.ticket.given_up.load(Ordering::Acquire) {
            let found = look_up(&job.host, job.port);
            if !job.ticket.given_up.load(Ordering::Acquire) {
                (job.tell)(found);
            }
        }
        if job.ticket.detached.swap(true, Ordering::AcqRel) {
            // Given up meanwhile: another thread may have been started in place of this one.
            return;
        }
    }
}

fn look_up(host: &str, port: u16) -> Resolved {
    let failed =
        |error: std::io::Error| Error::new(ErrorKind::ResolveFailed, format!("looking up {host:?} failed: {error}"));
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(failed)?.collect();
    if addresses.is_empty() {
        return Err(Error::new(ErrorKind::ResolveFailed, format!("looking up {host:?} gave no address")));
    }
    Ok(addresses)
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.ticket.given_up.store(true, Ordering::Release);
        if !self.ticket.detached.swap(true, Ordering::AcqRel) {
            // Its thread may be stuck in the system's function: it does not count any more, so that others go on.
            // A job that no thread has taken yet is still in the queue and counts for none.
            let mut state = lock(&self.resolver.state);
            let before = state.waiting.len();
            state.waiting.retain(|job| !Arc::ptr_eq(&job.ticket, &self.ticket));
            if state.waiting.len() == before {
                state.working = state.working.saturating_sub(1);
            }
            drop(state);
            // If no thread can be had, those that work go on with the queue.
            let _ = self.resolver.start_thread_if_needed();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
