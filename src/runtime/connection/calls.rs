//! What the application asks of a connection, on any thread.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::handle::{Connection, SharedState};
use super::inbox::Inbox;
use super::life::Phase;
use super::state::Flush;
use crate::rpc::{self, MessageType, Outgoing, Role};
use crate::runtime::error::{Error, Outcome};
use crate::runtime::event_loop::{Command, LoopError, LoopHandle, check_may_wait, deadline_after, wait_until};

impl Connection {
    /// Writes what was accepted, then closes.
    pub fn close(self: &Arc<Self>, reason: Outcome) {
        let mut shared = self.lock();
        if self.close_in(&mut shared, reason.clone()) {
            self.note_closed(shared);
        } else {
            shared.give_reason(reason);
        }
    }

    /// Closes without writing what is left.
    pub fn abort(self: &Arc<Self>) {
        let mut shared = self.lock();
        if shared.phase() != Phase::Closed {
            self.close_in(&mut shared, Ok(()));
            shared.abort();
            self.note_closed(shared);
        }
    }

    fn close_in(&self, shared: &mut SharedState, reason: Outcome) -> bool {
        let reason = if shared.phase() == Phase::Connecting { Err(Error::Cancelled) } else { reason };
        shared.close(reason, true)
    }

    /// Lets the driver, and those who wait, see that this side has closed the connection.
    fn note_closed(self: &Arc<Self>, mut shared: MutexGuard<'_, SharedState>) {
        self.schedule(&mut shared);
        self.notify(&shared);
        let readers = shared.readers();
        drop(shared);
        readers.iter().filter_map(|stream| stream.inbox()).for_each(Inbox::wake);
    }

    /// Queues a protocol message.
    pub fn send_protocol(self: &Arc<Self>, message: Outgoing<'_>, flush: Option<Flush>) -> Result<(), Error> {
        let prepared = message.prepare_in(false, &self.settings.limits.messages, self.buffers())?;
        let mut shared = self.lock();
        shared.check_ready()?;
        match shared.rpc.send_protocol(prepared, flush) {
            Ok(ending) => {
                if message.message_type == MessageType::ConnectAck as i32
                    && let Some(seat) = &self.seat
                {
                    seat.end_handshake();
                }
                if ending.is_some() {
                    // A refusal and TERMINATE_STREAM end the connection well, once they are written.
                    shared.close(Ok(()), true);
                    self.schedule(&mut shared);
                } else {
                    self.schedule_write(&mut shared);
                }
                drop(shared);
                self.log_sent(&message, 0);
                Ok(())
            }
            Err(error) => {
                if matches!(error, rpc::Error::WouldBlock { .. }) {
                    shared.note_refused();
                }
                Err(error.into())
            }
        }
    }

    /// Asks a silent peer for a sign of life; false if that is not allowed now, as before the handshake is done.
    pub(in crate::runtime) fn send_keep_alive(self: &Arc<Self>) -> bool {
        let mut shared = self.lock();
        let is_sent = shared.rpc.send_keep_alive();
        if is_sent {
            self.schedule(&mut shared);
        }
        is_sent
    }

    /// Stops or resumes reading from the peer.
    pub fn set_reading_paused(self: &Arc<Self>, paused: bool) -> Result<(), Error> {
        let mut shared = self.lock();
        shared.check_ready()?;
        if paused {
            shared.pause_reading();
        } else {
            shared.resume_reading();
            self.schedule(&mut shared);
        }
        Ok(())
    }

    /// Runs the task once on the connection's loop thread.
    pub fn run_on_loop(self: &Arc<Self>, task: impl FnOnce(Outcome) + Send + 'static) {
        let task = Box::new(|ran: Result<(), LoopError>| task(ran.map_err(Error::from)));
        self.event_loop.post(Command::Run(task, Some(self.clone())));
    }

    /// Where the memory of large messages comes from, and goes.
    pub(in crate::runtime) fn buffers(&self) -> &LoopHandle {
        &self.event_loop
    }

    pub(in crate::runtime) fn post(&self, command: Command) {
        self.event_loop.post(command);
    }

    pub fn wait_setup(&self, timeout: Option<Duration>) -> Result<Outcome, Error> {
        let what = "the connection was not set up within the given time";
        let result = self.wait(timeout, what, |shared| shared.reported_setup().cloned());
        result.map_err(|error| match error {
            Error::TimedOut(what) => Error::TimedOut(format!("{what}: {}", self.setup_progress())),
            other => other,
        })
    }

    fn setup_progress(&self) -> String {
        match (self.addresses(), self.handshake(), self.endpoint()) {
            (None, _, Some(endpoint)) if self.tls().is_some() => {
                format!("still connecting to {endpoint}, or in the TLS handshake")
            }
            (None, _, Some(endpoint)) => format!("still connecting to {endpoint}"),
            (Some(_), Some(_), _) => self.handshake_progress(&self.lock()).to_owned(),
            _ => "this side has not decided whether to accept it".to_owned(),
        }
    }

    /// What a handshake that is not done waits for.
    pub(super) fn handshake_progress(&self, shared: &SharedState) -> &'static str {
        let is_silent = shared.tally.bytes_received == 0;
        let has_connect = shared.rpc.has_connect();
        match (self.role(), has_connect, is_silent) {
            (Role::Client, false, _) => "this side has not sent CONNECT",
            (Role::Client, true, true) if self.tls_info().is_none() => {
                "connected, but the server has sent nothing; it may expect TLS, or speak another protocol"
            }
            (Role::Client, true, true) => "connected, but the server has sent nothing; it may speak another protocol",
            (Role::Client, true, false) => "the server's CONNECT_ACK has not arrived completely",
            (Role::Server, false, true) => "the client has sent nothing",
            (Role::Server, false, false) => "the client's CONNECT has not arrived completely",
            (Role::Server, true, _) => "this side has not answered CONNECT with CONNECT_ACK",
        }
    }

    /// Waits until on_shutdown has returned.
    pub fn wait_shutdown(&self, timeout: Option<Duration>) -> Result<Outcome, Error> {
        let what = "the connection did not end within the given time";
        self.wait(timeout, what, |shared| shared.is_end_reported().then(|| self.end.outcome().unwrap_or(Ok(()))))
    }

    /// Waits until all that was accepted before the call is written, or cannot be.
    pub fn wait_flush(&self, timeout: Option<Duration>) -> Result<Outcome, Error> {
        let mut goal = None;
        self.wait(timeout, "not everything was written within the given time", |shared| {
            if shared.phase() == Phase::Connecting {
                return Some(Err(Error::NotReady));
            }
            let (queued, written) = shared.rpc.outbound_positions();
            if written >= *goal.get_or_insert(queued) {
                return Some(Ok(Ok(())));
            }
            shared.is_end_reported().then(|| Ok(self.end.outcome().unwrap_or(Ok(())).and(Err(Error::ConnectionClosed))))
        })?
    }

    /// Waits for something that a thread signals by `notify`.
    pub(in crate::runtime) fn wait<R>(
        &self,
        timeout: Option<Duration>,
        what: &str,
        mut ready: impl FnMut(&SharedState) -> Option<R>,
    ) -> Result<R, Error> {
        check_may_wait()?;
        let deadline = deadline_after(timeout);
        let mut shared = self.lock();
        shared.begin_wait();
        let result = loop {
            if self.is_inert() {
                break Err(Error::RuntimeShutdown);
            }
            if let Some(result) = ready(&shared) {
                break Ok(result);
            }
            let (next, in_time) = wait_until(&self.changed, shared, deadline);
            shared = next;
            if !in_time {
                break Err(Error::TimedOut(what.to_owned()));
            }
        };
        shared.end_wait();
        result
    }
}
