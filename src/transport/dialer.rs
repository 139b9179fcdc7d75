use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::socket::Readiness;
use crate::transport::{Address, AddressFamily, Endpoint, Error, ErrorKind, SocketOptions, Stream};
use mio::{Registry, Token};

/// How long one address has for itself before the next is tried beside it (RFC 8305, section 5).
const NEXT_ATTEMPT: Duration = Duration::from_millis(250);
/// There is no event for when a Unix socket or named pipe with a full backlog has room, so it is tried again after this.
const BACKLOG_RETRY: Duration = Duration::from_millis(20);

/// Connects to the first of several addresses that responds: each in turn, the next one as soon as one has failed or taken
/// long, the families alternating.
pub struct Dialer {
    /// What was asked for, for errors.
    endpoint: Endpoint,
    options: SocketOptions,
    waiting: VecDeque<Address>,
    attempts: Vec<Attempt>,
    failures: Vec<(String, Error)>,
    /// The local address is of one family, and there were addresses of the other only.
    other_family_only: bool,
    next_at: Option<Instant>,
    /// The next address is tried again and again until its backlog has room.
    backlog_full: bool,
}

struct Attempt {
    stream: Stream,
    address: Address,
}

/// Where dialling is.
pub enum Dialing {
    Connected(Stream),
    Failed(Error),
    /// Look again at an event, or at this time.
    Pending(Option<Instant>),
}

impl Dialer {
    pub fn new(endpoint: Endpoint, addresses: Vec<Address>, options: SocketOptions) -> Dialer {
        let found_some = !addresses.is_empty();
        let waiting: VecDeque<_> =
            addresses.into_iter().filter(|address| fits(address, options.local_address)).collect();
        let other_family_only = found_some && waiting.is_empty();
        let (attempts, failures) = (Vec::new(), Vec::new());
        Dialer { endpoint, options, waiting, attempts, failures, other_family_only, next_at: None, backlog_full: false }
    }

    /// Starts and checks attempts. All of them report to the same token.
    pub fn advance(&mut self, registry: &Registry, token: Token, now: Instant) -> Dialing {
        if let Some(stream) = self.check_attempts(registry) {
            return Dialing::Connected(stream);
        }
        while self.may_start(now) {
            self.start(registry, token, now);
            if let Some(stream) = self.check_attempts(registry) {
                return Dialing::Connected(stream);
            }
        }
        if self.attempts.is_empty() && self.waiting.is_empty() {
            return Dialing::Failed(self.failure());
        }
        Dialing::Pending(if self.waiting.is_empty() { None } else { self.next_at })
    }

    fn may_start(&self, now: Instant) -> bool {
        !self.waiting.is_empty() && self.next_at.is_none_or(|at| at <= now)
    }

    fn start(&mut self, registry: &Registry, token: Token, now: Instant) {
        let Some(address) = self.waiting.pop_front() else { return };
        let name = address.to_string();
        match Stream::dial(&address, &self.options) {
            Ok(mut stream) => match stream.register(registry, token) {
                Ok(()) => {
                    self.attempts.push(Attempt { stream, address });
                    self.next_at = Some(now + NEXT_ATTEMPT);
                }
                Err(error) => {
                    let error = Error::from_io("watching a socket", &error, ErrorKind::Io);
                    self.failures.push((name, error));
                }
            },
            Err(error) if error.kind == ErrorKind::BacklogFull => {
                self.waiting.push_front(address);
                self.backlog_full = true;
                self.next_at = Some(now + BACKLOG_RETRY);
            }
            Err(error) => self.failures.push((name, error)),
        }
    }

    /// The first attempt that has succeeded; failed ones make room for the next at once.
    fn check_attempts(&mut self, registry: &Registry) -> Option<Stream> {
        let mut at = 0;
        while let Some(attempt) = self.attempts.get(at) {
            match attempt.stream.finish_dial() {
                Ok(Readiness::Pending) => at += 1,
                Ok(Readiness::Ready) => {
                    let winner = self.attempts.swap_remove(at);
                    self.give_up(registry);
                    return Some(winner.stream);
                }
                Err(error) => {
                    let mut failed = self.attempts.remove(at);
                    failed.stream.deregister(registry);
                    self.failures.push((failed.address.to_string(), error));
                    self.next_at = None;
                }
            }
        }
        None
    }

    /// Closes what is still being tried.
    pub fn give_up(&mut self, registry: &Registry) {
        for mut attempt in self.attempts.drain(..) {
            attempt.stream.deregister(registry);
        }
        self.waiting.clear();
    }

    /// What was asked for and what was tried so far, for the error of a deadline.
    pub fn progress(&self) -> String {
        if self.has_name() { format!("{} ({})", self.endpoint, self.tried()) } else { self.tried() }
    }

    /// The host is a name, so that its addresses say something new.
    fn has_name(&self) -> bool {
        matches!(&self.endpoint, Endpoint::Tcp { host, .. } if super::literal(host, 0).is_none())
    }

    fn tried(&self) -> String {
        let failed = self.failures.iter().map(|(address, error)| format!("{address}: {error}"));
        let open = self.attempts.iter().map(|attempt| format!("{}: no answer", attempt.address));
        let full = self.waiting.front().filter(|_| self.backlog_full);
        let full = full.map(|address| format!("{address}: the server's backlog is full"));
        failed.chain(open).chain(full).collect::<Vec<_>>().join("; ")
    }

    fn failure(&mut self) -> Error {
        let endpoint = &self.endpoint;
        match self.failures.as_slice() {
            [] => {
                let family = match self.options.local_address {
                    Some(local) if self.other_family_only => format!("of the local address {}", local.ip()),
                    _ => "asked for".to_owned(),
                };
                let sentence = format!("cannot connect to {endpoint}: it has no address of the family {family}");
                Error::new(ErrorKind::ConnectFailed, sentence)
            }
            [(_, only)] if !self.has_name() => {
                let advice = endpoint.advice_to_client(only.kind);
                only.clone().with_sentence(format!("cannot connect to {endpoint}: {only}{advice}"))
            }
            [(_, first), rest @ ..] => {
                // One reason for all is the reason; several are just a failure to connect.
                let same = rest.iter().all(|(_, error)| error.kind == first.kind);
                let sentence = format!("cannot connect to {endpoint}: {}", self.tried());
                if same {
                    let advice = endpoint.advice_to_client(first.kind);
                    first.clone().with_sentence(format!("{sentence}{advice}"))
                } else {
                    Error::new(ErrorKind::ConnectFailed, sentence)
                }
            }
        }
    }
}

/// Whether a socket with that local address can connect to it.
fn fits(address: &Address, local: Option<SocketAddr>) -> bool {
    match (address.as_ip(), local) {
        (Some(remote), Some(local)) => remote.is_ipv6() == local.is_ipv6(),
        _ => true,
    }
}

/// The order in which addresses are tried: as the system gave them, the families alternating (RFC 8305, section 4).
pub fn interleave(addresses: Vec<SocketAddr>, wanted: AddressFamily) -> Vec<Address> {
    let wanted = addresses.into_iter().filter(|address| match wanted {
        AddressFamily::Any => true,
        AddressFamily::V4 => address.is_ipv4(),
        AddressFamily::V6 => address.is_ipv6(),
    });
    let mut all: Vec<SocketAddr> = Vec::new();
    for address in wanted {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    let first_is_v6 = all.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = all.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut ordered = Vec::new();
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let pair = [first.next(), second.next()];
        if pair.iter().all(Option::is_none) {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten().map(Address::from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_in_the_order_of_the_system() {
        let parse = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let addresses = ["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1", "2.2.2.2:1", "1.1.1.1:1"].map(parse).to_vec();
        let order =
            |wanted| interleave(addresses.clone(), wanted).iter().map(Address::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(order(AddressFamily::Any), "[::1]:1 1.1.1.1:1 [::2]:1 2.2.2.2:1 [::3]:1");
        assert_eq!(order(AddressFamily::V4), "1.1.1.1:1 2.2.2.2:1");
        assert_eq!(order(AddressFamily::V6), "[::1]:1 [::2]:1 [::3]:1");
    }
}
