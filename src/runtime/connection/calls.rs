//! What the application asks of a connection, on any thread.

use std::sync::Arc;
use std::time::Duration;

use super::handle::{Connection, SharedState};
use super::inbox::Inbox;
use super::state::{Flush, Phase};
use crate::rpc::{self, MessageType, Outgoing};
use crate::runtime::error::{Error, Outcome};
use crate::runtime::event_loop::{Command, LoopError, LoopHandle, check_may_wait, deadline_after, wait_until};

impl Connection {
    /// Writes what was accepted, then closes.
    pub fn close(self: &Arc<Self>, outcome: Outcome) {
        self.end_here(outcome, false);
    }

    /// Closes without writing what is left.
    pub fn abort(self: &Arc<Self>) {
        self.end_here(Ok(()), true);
    }

    fn end_here(self: &Arc<Self>, outcome: Outcome, abort: bool) {
        let mut shared = self.lock();
        match shared.phase {
            Phase::Closed => return,
            Phase::Closing if !abort => return shared.give_reason(outcome),
            Phase::Closing => {}
            Phase::Connecting => shared.begin_close(Err(Error::Cancelled), true),
            Phase::Open => shared.begin_close(outcome, true),
        }
        shared.aborted |= abort;
        self.schedule(&mut shared);
        self.notify(&shared);
        let readers: Vec<_> = shared.rpc.streams().filter(|stream| stream.inbox().is_some()).cloned().collect();
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
                    shared.begin_close(Ok(()), true);
                }
                self.schedule(&mut shared);
                drop(shared);
                self.log_sent(&message, 0);
                Ok(())
            }
            Err(error) => {
                shared.blocked |= matches!(error, rpc::Error::WouldBlock { .. });
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
        shared.reading_paused = paused && !shared.writing_failed;
        if !paused {
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
        self.wait(timeout, what, |shared| shared.setup.clone())
    }

    /// Waits until on_shutdown has returned.
    pub fn wait_shutdown(&self, timeout: Option<Duration>) -> Result<Outcome, Error> {
        let what = "the connection did not end within the given time";
        self.wait(timeout, what, |shared| shared.shutdown_told.then(|| self.end.outcome().unwrap_or(Ok(()))))
    }

    /// Waits until all that was accepted before the call is written, or cannot be.
    pub fn wait_flush(&self, timeout: Option<Duration>) -> Result<Outcome, Error> {
        let mut goal = None;
        self.wait(timeout, "not everything was written within the given time", |shared| {
            if shared.phase == Phase::Connecting {
                return Some(Err(Error::NotReady));
            }
            let (queued, written) = shared.rpc.outbound_positions();
            if written >= *goal.get_or_insert(queued) {
                return Some(Ok(Ok(())));
            }
            shared.shutdown_told.then(|| Ok(self.end.outcome().unwrap_or(Ok(())).and(Err(Error::ConnectionClosed))))
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
        shared.waiters += 1;
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
        shared.waiters -= 1;
        result
    }
}
