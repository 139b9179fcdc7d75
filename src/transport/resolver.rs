use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::transport::{Error, ErrorKind};

/// How many threads look names up, including those stuck in the system's function: an abandoned look-up occupies its thread
/// until the system returns.
const MAX_THREADS: usize = 4;

/// What a lookup found.
pub type Resolved = Result<Vec<SocketAddr>, Error>;

type LookUp = dyn Fn(&str, u16) -> Resolved + Send + Sync;

/// Looks names up on its own threads, since the system's function blocks.
#[derive(Clone)]
pub struct Resolver {
    state: Arc<Mutex<State>>,
    /// Starts a thread as the owner wants its threads started.
    spawn: fn(Box<dyn FnOnce() + Send>) -> std::io::Result<()>,
    look_up: Arc<LookUp>,
}

#[derive(Default)]
struct State {
    /// By their numbers, which rise, so that one that is given up is found at once.
    waiting: BTreeMap<u64, Job>,
    last_number: u64,
    threads: usize,
}

struct Job {
    host: String,
    port: u16,
    tell: Arc<Mutex<Option<Box<Tell>>>>,
}

type Tell = dyn FnOnce(Resolved) + Send;

/// A pending lookup. Dropping it abandons it.
pub struct Lookup {
    number: u64,
    /// Taken by whoever is first: the thread that has a result, or the drop.
    tell: Arc<Mutex<Option<Box<Tell>>>>,
    state: Arc<Mutex<State>>,
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
        Resolver::with(spawn, look_up)
    }

    /// With another function in place of the system's.
    fn with(
        spawn: fn(Box<dyn FnOnce() + Send>) -> std::io::Result<()>,
        look_up: impl Fn(&str, u16) -> Resolved + Send + Sync + 'static,
    ) -> Resolver {
        Resolver { state: Arc::default(), spawn, look_up: Arc::new(look_up) }
    }

    /// Begins a lookup; `tell` is called on a resolver thread, unless it is given up before.
    pub fn look_up(
        &self,
        host: &str,
        port: u16,
        tell: impl FnOnce(Resolved) + Send + 'static,
    ) -> Result<Lookup, Error> {
        let tell: Arc<Mutex<Option<Box<Tell>>>> = Arc::new(Mutex::new(Some(Box::new(tell))));
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).to_owned();
        let (number, start_thread) = {
            let mut state = lock(&self.state);
            state.last_number += 1;
            let number = state.last_number;
            state.waiting.insert(number, Job { host, port, tell: tell.clone() });
            let start_thread = state.threads < MAX_THREADS;
            state.threads += usize::from(start_thread);
            (number, start_thread)
        };
        // If no thread can be started, dropping it takes the job back.
        let lookup = Lookup { number, tell, state: self.state.clone() };
        if start_thread {
            self.start_thread()?;
        }
        Ok(lookup)
    }

    fn start_thread(&self) -> Result<(), Error> {
        let (state, look_up) = (self.state.clone(), self.look_up.clone());
        let Err(error) = (self.spawn)(Box::new(move || work(&state, &*look_up))) else { return Ok(()) };
        let mut state = lock(&self.state);
        state.threads -= 1;
        // The existing threads work through the queue.
        if state.threads > 0 {
            return Ok(());
        }
        Err(Error::from_io("starting a thread to resolve host names", &error, ErrorKind::Io))
    }
}

fn work(state: &Mutex<State>, look_up: &LookUp) {
    loop {
        let job = {
            let mut state = lock(state);
            match state.waiting.pop_first() {
                Some((_, job)) => job,
                None => {
                    state.threads -= 1;
                    return;
                }
            }
        };
        // A panic must neither leave the connection without a result nor this thread in the count.
        let found = catch_unwind(AssertUnwindSafe(|| look_up(&job.host, job.port))).unwrap_or_else(|_| {
            let host = &job.host;
            Err(Error::new(ErrorKind::ResolveFailed, format!("resolving {host:?} failed: a defect in the library")))
        });
        let tell = lock(&job.tell).take();
        if let Some(tell) = tell {
            tell(found);
        }
    }
}

fn look_up(host: &str, port: u16) -> Resolved {
    let failed = |error: std::io::Error| {
        let text = error.to_string();
        // The standard library's words, before those of the system.
        let reason = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
        Error::new(ErrorKind::ResolveFailed, format!("resolving {host:?} failed: {reason}"))
    };
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(failed)?.collect();
    if addresses.is_empty() {
        return Err(Error::new(ErrorKind::ResolveFailed, format!("resolving {host:?}: it has no address")));
    }
    Ok(addresses)
}

impl Drop for Lookup {
    fn drop(&mut self) {
        // Unless a thread has taken it, which then finds nobody waiting.
        let job = lock(&self.state).waiting.remove(&self.number);
        let tell = lock(&self.tell).take();
        drop((job, tell));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Condvar;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn spawn(work: Box<dyn FnOnce() + Send>) -> std::io::Result<()> {
        std::thread::Builder::new().spawn(work).map(drop)
    }

    /// Holds the look-ups of names that begin with "stuck" until it is opened.
    #[derive(Default)]
    struct Door {
        is_open: Mutex<bool>,
        opened: Condvar,
    }

    impl Door {
        fn pass(&self) {
            let open = lock(&self.is_open);
            let (open, _) = self.opened.wait_timeout_while(open, PATIENCE, |open| !*open).expect("no panic");
            assert!(*open);
        }

        fn open(&self) {
            *lock(&self.is_open) = true;
            self.opened.notify_all();
        }
    }

    /// A resolver behind a door, and the names whose look-ups have begun.
    fn resolver() -> (Resolver, Arc<Door>, Receiver<String>) {
        let door = Arc::new(Door::default());
        let (begun, names) = channel();
        let (their_door, begun) = (door.clone(), Mutex::new(begun));
        let resolver = Resolver::with(spawn, move |host, port| {
            let _ = lock(&begun).send(host.to_owned());
            if host.starts_with("stuck") {
                their_door.pass();
            }
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
        });
        (resolver, door, names)
    }

    fn next<T>(receiver: &Receiver<T>) -> T {
        receiver.recv_timeout(PATIENCE).expect("it comes")
    }

    fn begin(resolver: &Resolver, host: &str, found: &Sender<u16>) -> Lookup {
        let found = found.clone();
        let tell = move |resolved: Resolved| {
            let _ = found.send(resolved.expect("an address")[0].port());
        };
        resolver.look_up(host, 80, tell).expect("a thread can be had")
    }

    #[test]
    fn a_look_up_that_panics_fails_and_its_thread_goes_on() {
        let resolver = Resolver::with(spawn, |_, _| panic!("in the look-up"));
        for _ in 0..2 * MAX_THREADS {
            let (found, results) = channel();
            let _lookup = resolver.look_up("host.example", 80, move |resolved| drop(found.send(resolved)));
            next(&results).expect_err("there is no result");
        }
    }

    #[test]
    fn three_that_are_stuck_delay_no_other() {
        let (resolver, door, names) = resolver();
        let (found, results) = channel();
        let stuck = [(); MAX_THREADS - 1].map(|()| begin(&resolver, "stuck", &found));
        stuck.iter().for_each(|_| assert_eq!(next(&names), "stuck"));
        for _ in 0..10 {
            let _lookup = begin(&resolver, "good", &found);
            assert_eq!(next(&results), 80);
        }
        door.open();
        stuck.iter().for_each(|_| assert_eq!(next(&results), 80));
    }

    #[test]
    fn threads_that_are_stuck_count_though_their_lookups_were_given_up() {
        let (resolver, door, names) = resolver();
        let (found, results) = channel();
        for _ in 0..MAX_THREADS {
            let _given_up = begin(&resolver, "stuck", &found);
            assert_eq!(next(&names), "stuck");
        }
        for _ in 0..2000 {
            let _given_up = begin(&resolver, "good", &found);
        }
        let last = begin(&resolver, "last", &found);
        assert_eq!(lock(&resolver.state).threads, MAX_THREADS);
        assert_eq!(lock(&resolver.state).waiting.len(), 1);
        assert!(names.try_recv().is_err());

        // None of those that were given up is begun or reported.
        door.open();
        assert_eq!(next(&results), 80);
        assert_eq!(next(&names), "last");
        drop(last);
        assert!(results.try_recv().is_err());
    }

    /// It is found by its number: nothing is done to those before it.
    #[test]
    fn the_last_of_many_is_given_up_as_fast_as_the_first() {
        let (resolver, door, names) = resolver();
        let (found, results) = channel();
        let stuck = [(); MAX_THREADS].map(|()| begin(&resolver, "stuck", &found));
        stuck.iter().for_each(|_| assert_eq!(next(&names), "stuck"));
        let mut waiting: Vec<_> = (0..200_000).map(|_| begin(&resolver, "good", &found)).collect();
        // Scanning those that are left would take 20,000,000,000 steps.
        while waiting.pop().is_some() {}
        assert!(lock(&resolver.state).waiting.is_empty());
        door.open();
        stuck.iter().for_each(|_| assert_eq!(next(&results), 80));
    }

    #[test]
    fn without_a_thread_there_is_no_lookup() {
        let resolver = Resolver::with(|_| Err(std::io::ErrorKind::WouldBlock.into()), |_, _| Ok(Vec::new()));
        for _ in 0..2 * MAX_THREADS {
            let error = resolver.look_up("good", 80, |_| ()).err().expect("no thread");
            assert_eq!(error.kind, ErrorKind::Io);
        }
        let state = lock(&resolver.state);
        assert_eq!((state.threads, state.waiting.len()), (0, 0));
    }
}
