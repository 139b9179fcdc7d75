//! Where a connection is in its life, and how it may go on from there.

use crate::rpc;
use crate::runtime::error::{Error, Outcome};

/// Where a connection is in its life, as the application sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Connecting,
    Open,
    Closing,
    Closed,
}

/// A connection that is to end: nothing is accepted or delivered any more, what was accepted is still written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::runtime) struct Closing {
    pub reason: Outcome,
    /// This side asked for it.
    pub by_this_side: bool,
    /// It was open before.
    pub was_open: bool,
}

const NOT_ANNOUNCED: Error = Error::InvalidState(
    "a connection is accepted or deferred once, inside the on_incoming_connection that announces it; a deferred one may be accepted later",
);

#[derive(Debug, PartialEq, Eq)]
pub(in crate::runtime) enum Life {
    /// Not set up, or on a server not accepted.
    Connecting,
    /// On a server: the callback that announces it is running, in which it may be accepted.
    Announced,
    /// On a server: the application decides later whether it accepts it.
    Deferred,
    Open,
    Closing(Closing),
    /// Nothing moves any more, whether everybody has learned of it or not. Without a `Closing` if it was never closed.
    Ended(Option<Closing>),
    /// The same without a word to anybody, since its loop was halted or has died.
    Silent,
}

/// A connection that may be closed, since it is neither closing nor has ended.
pub(in crate::runtime) struct Alive<'a>(&'a mut Life);

impl Alive<'_> {
    pub fn close(self, reason: Outcome, by_this_side: bool) {
        let was_open = *self.0 == Life::Open;
        *self.0 = Life::Closing(Closing { reason, by_this_side, was_open });
    }
}

impl Life {
    pub fn phase(&self) -> Phase {
        match self {
            Life::Connecting | Life::Announced | Life::Deferred => Phase::Connecting,
            Life::Open => Phase::Open,
            Life::Closing(_) => Phase::Closing,
            Life::Ended(_) | Life::Silent => Phase::Closed,
        }
    }

    pub fn is_alive(&self) -> bool {
        matches!(self, Life::Connecting | Life::Announced | Life::Deferred | Life::Open)
    }

    pub fn alive(&mut self) -> Option<Alive<'_>> {
        self.is_alive().then_some(Alive(self))
    }

    /// Why it is closing, or was.
    pub fn closing(&self) -> Option<&Closing> {
        match self {
            Life::Closing(closing) | Life::Ended(Some(closing)) => Some(closing),
            _ => None,
        }
    }

    /// The application's reason takes the place of a refused CONNECT's.
    pub fn give_reason(&mut self, reason: Outcome) {
        if let Life::Closing(closing) = self
            && matches!(closing.reason, Err(Error::HandshakeRefused(_)))
        {
            closing.reason = reason;
            closing.by_this_side = true;
        }
    }

    /// Whether sends are accepted.
    pub fn check_open(&self) -> Result<(), Error> {
        match self {
            Life::Open => Ok(()),
            Life::Connecting | Life::Announced | Life::Deferred => Err(Error::NotReady),
            Life::Closing(_) | Life::Ended(_) => Err(rpc::Error::ConnectionClosed.into()),
            Life::Silent => Err(Error::RuntimeShutdown),
        }
    }

    /// A client's connection is usable; false if it was closed meanwhile.
    pub fn open(&mut self) -> bool {
        let is_due = *self == Life::Connecting;
        if is_due {
            *self = Life::Open;
        }
        is_due
    }

    /// From here on until `withdraw` a server's connection may be accepted.
    pub fn announce(&mut self) {
        if *self == Life::Connecting {
            *self = Life::Announced;
        }
    }

    /// The callback that announced it has returned.
    pub fn withdraw(&mut self) {
        if *self == Life::Announced {
            *self = Life::Connecting;
        }
    }

    pub fn accept(&mut self) -> Result<(), Error> {
        match self {
            Life::Announced | Life::Deferred => *self = Life::Open,
            Life::Closing(Closing { was_open: false, .. }) | Life::Ended(Some(Closing { was_open: false, .. })) => {
                return Err(rpc::Error::ConnectionClosed.into());
            }
            _ => return Err(NOT_ANNOUNCED),
        }
        Ok(())
    }

    pub fn defer(&mut self) -> Result<(), Error> {
        match self {
            Life::Announced => *self = Life::Deferred,
            Life::Closing(Closing { was_open: false, .. }) => return Err(rpc::Error::ConnectionClosed.into()),
            _ => return Err(NOT_ANNOUNCED),
        }
        Ok(())
    }

    /// It has ended, and everybody is to learn of it; returns how it was closed. Nothing if it had ended before.
    pub fn end(&mut self) -> Option<Option<Closing>> {
        let closing = match std::mem::replace(self, Life::Silent) {
            over @ (Life::Ended(_) | Life::Silent) => {
                *self = over;
                return None;
            }
            Life::Closing(closing) => Some(closing),
            Life::Connecting | Life::Announced | Life::Deferred | Life::Open => None,
        };
        *self = Life::Ended(closing.clone());
        Some(closing)
    }

    /// It has ended, and nobody learns of it; false if it had ended before.
    pub fn fall_silent(&mut self) -> bool {
        let was_over = matches!(self, Life::Ended(_) | Life::Silent);
        *self = Life::Silent;
        !was_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(life: &mut Life, reason: Outcome) -> bool {
        life.alive().map(|alive| alive.close(reason, true)).is_some()
    }

    #[test]
    fn the_first_reason_stays_to_the_end() {
        let mut life = Life::Connecting;
        assert!(life.open() && !life.open());
        assert!(closed(&mut life, Err(Error::Cancelled)));
        assert!(!closed(&mut life, Ok(())));
        let closing = Closing { reason: Err(Error::Cancelled), by_this_side: true, was_open: true };
        assert_eq!(life.end(), Some(Some(closing.clone())));
        assert_eq!((life.end(), life.phase(), life.closing()), (None, Phase::Closed, Some(&closing)));
        assert!(!closed(&mut life, Ok(())));
    }

    #[test]
    fn a_server_accepts_once_and_while_the_connection_is_announced() {
        let accept = |life: &mut Life| life.accept().is_ok();
        let mut life = Life::Connecting;
        assert!(!accept(&mut life));
        life.announce();
        assert!(accept(&mut life) && !accept(&mut life));
        life.withdraw();
        assert_eq!(life.phase(), Phase::Open);

        let mut late = Life::Connecting;
        late.announce();
        late.withdraw();
        assert!(!accept(&mut late));
        assert_eq!(late.end(), Some(None));

        let mut closed_before = Life::Connecting;
        closed_before.announce();
        assert!(closed(&mut closed_before, Ok(())));
        assert_eq!(closed_before.accept(), Err(rpc::Error::ConnectionClosed.into()));
        assert_eq!(closed_before.closing().map(|closing| closing.was_open), Some(false));
    }

    #[test]
    fn a_deferred_connection_is_accepted_once_unless_it_has_ended() {
        let mut life = Life::Connecting;
        assert_eq!(life.defer(), Err(NOT_ANNOUNCED));
        life.announce();
        assert_eq!((life.defer(), life.defer()), (Ok(()), Err(NOT_ANNOUNCED)));
        life.withdraw();
        assert_eq!((life.phase(), life.check_open()), (Phase::Connecting, Err(Error::NotReady)));
        assert_eq!((life.accept(), life.accept()), (Ok(()), Err(NOT_ANNOUNCED)));

        let mut late = Life::Deferred;
        assert!(closed(&mut late, Err(Error::Cancelled)));
        assert_eq!(late.accept(), Err(rpc::Error::ConnectionClosed.into()));
        assert!(late.end().is_some());
        assert_eq!(late.accept(), Err(rpc::Error::ConnectionClosed.into()));
    }

    #[test]
    fn what_falls_silent_says_so_and_nothing_more() {
        let mut life = Life::Open;
        assert!(life.fall_silent() && !life.fall_silent());
        assert_eq!(life.check_open(), Err(Error::RuntimeShutdown));
        assert_eq!((life.end(), life.phase()), (None, Phase::Closed));
    }
}
