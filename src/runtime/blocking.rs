//! Whole steps for programs without a loop of their own: each call waits for its outcome.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::{
    ConnectRequest, Connection, ConnectionHandler, Inbox, Phase, Stream, StreamHandler, StreamPhase,
};
use super::error::{Error, Outcome};
use super::event_loop::{Destroyed, check_may_wait, deadline_after};
use super::life::Runtime;
use crate::codec::MessageCopy;
use crate::rpc::{self, Envelope, Incoming, MessageType, Outgoing, TERMINATE_STREAM};

/// The reply to a call.
pub struct Reply {
    pub message: MessageCopy,
    /// It is an APPLICATION_ERROR.
    pub is_error: bool,
}

/// The handler of a stream that only a call sees.
#[derive(Default)]
struct CallHandler {
    inbox: Inbox,
}

impl StreamHandler for CallHandler {
    fn on_message(&self, stream: &Arc<Stream>, incoming: &Incoming<'_>) {
        stream.keep_unread(incoming.message);
    }

    fn on_writable(&self, _: &Arc<Stream>) {}

    fn on_closed(&self, stream: &Arc<Stream>, outcome: &Outcome) {
        stream.end_unread(outcome);
    }

    fn inbox(&self) -> Option<&Inbox> {
        Some(&self.inbox)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Destroyed for CallHandler {
    fn on_destroy(&self) {}
}

/// Holds a stream as long as somebody reads from it.
struct Held<'a>(&'a Arc<Stream>);

impl<'a> Held<'a> {
    fn new(stream: &'a Arc<Stream>) -> Held<'a> {
        stream.hold();
        Held(stream)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

impl Connection {
    /// Connects, does the handshake and waits for both. Without one in the request it is an empty CONNECT.
    /// `begun` is called once connecting has begun, whatever comes of it.
    pub fn connect_and_wait(
        runtime: &Arc<Runtime>,
        mut request: ConnectRequest,
        handler: Box<dyn ConnectionHandler>,
        timeout: Option<Duration>,
        begun: impl FnOnce(),
    ) -> Result<Arc<Connection>, Error> {
        check_may_wait()?;
        request.handshake.get_or_insert_default();
        let mut made = None;
        Connection::connect(runtime, request, handler, |connection| made = Some(connection.clone()))?;
        begun();
        let Some(connection) = made else {
            return Err(Error::Internal("a connection was begun and not stored".to_owned()));
        };
        match connection.wait_setup(timeout) {
            Ok(Ok(())) => Ok(connection),
            Ok(Err(error)) => Err(error),
            Err(error) => {
                connection.abort();
                Err(error)
            }
        }
    }

    /// Opens a stream with the message and waits for the first one that comes back; then this side ends the stream unless
    /// the peer has.
    pub fn call(self: &Arc<Self>, message: Outgoing<'_>, timeout: Option<Duration>) -> Result<Reply, Error> {
        check_may_wait()?;
        let deadline = deadline_after(timeout);
        let stream = Stream::new(self, Box::new(CallHandler::default()))?;
        let _held = Held::new(&stream);
        let take = |deadline| {
            let inbox =
                stream.inbox().ok_or_else(|| Error::Internal("the stream of a call has no inbox".to_owned()))?;
            stream.take_unread(inbox, deadline)
        };
        let too_late = |sent| Error::CallTimedOut { time: timeout.unwrap_or_default(), sent };
        self.when_there_is_room(deadline, || stream.try_activate(message, None)).map_err(|error| match error {
            Error::TimedOut(_) => too_late(false),
            error => error,
        })?;
        let answer = match take(deadline) {
            Err(Error::TimedOut(_)) => {
                self.cut_stream(&stream, too_late(true));
                // The reply, or another end, may have come first after all.
                take(Some(Instant::now()))
            }
            answer => answer,
        };
        match answer {
            Ok(message) => Ok(reply(&stream, message)),
            Err(error @ Error::PeerError(_)) => {
                // The connection may stay up, and nobody waits for the stream's end.
                self.cut_stream(&stream, error.clone());
                Err(error)
            }
            // The connection ends at this very moment.
            Err(Error::TimedOut(_)) => Err(too_late(true)),
            Err(error) => Err(error),
        }
    }

    /// Tries until it is not refused for the outbound limit any more.
    fn when_there_is_room(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        loop {
            match attempt() {
                Err(Error::Rpc(rpc::Error::WouldBlock { .. })) => {}
                done => return done,
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            self.wait(left, "the outbound queue stayed full for the given time", |shared| {
                (shared.phase() != Phase::Open || shared.has_room()).then_some(())
            })?;
        }
    }
}

impl Stream {
    /// Waits for the next message of a stream without callbacks.
    pub fn read(self: &Arc<Self>, timeout: Option<Duration>) -> Result<MessageCopy, Error> {
        check_may_wait()?;
        let Some(handler) = self.handler() else {
            self.connection().check_usable()?;
            return Err(Error::InvalidState("the stream is not accepted yet: accept it first"));
        };
        let Some(inbox) = handler.inbox() else {
            return Err(Error::InvalidState("the stream has callbacks, and its messages go to on_message"));
        };
        if self.phase() == StreamPhase::New {
            return Err(Error::StreamNotActivated);
        }
        self.take_unread(inbox, deadline_after(timeout))
    }

    /// Queues a message, and waits until there is room for it.
    pub fn send_when_there_is_room(
        self: &Arc<Self>,
        message: Outgoing<'_>,
        timeout: Option<Duration>,
    ) -> Result<(), Error> {
        check_may_wait()?;
        self.connection().when_there_is_room(deadline_after(timeout), || self.try_send(message, None))
    }
}

/// What the first message of a reply is.
fn reply(stream: &Arc<Stream>, copy: MessageCopy) -> Reply {
    let message = copy.message();
    let envelope = Envelope::read(&message.headers);
    let is_last = envelope.flags.is_some_and(|flags| flags & TERMINATE_STREAM != 0);
    let is_error = envelope.message_type == Some(MessageType::ApplicationError as i32);
    if !is_last {
        // Not possible only if the stream has ended already.
        let _ = stream.close();
    }
    Reply { message: copy, is_error }
}
