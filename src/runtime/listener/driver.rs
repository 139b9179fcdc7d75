//! The loop thread's side of a listener.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Token;

use super::handle::{Arrival, Listener};
use crate::runtime::admission::MayAccept;
use crate::runtime::error::Error;
use crate::runtime::event_loop::{AbortCause, Context, Flow, Place, Resident, TimerKey};
use crate::runtime::log::Repeated;
use crate::transport;

/// Connections accepted in one go, before others get their turn.
const ACCEPTS_PER_RUN: usize = 64;
/// When the system has no room for a connection, accepting is tried again after this.
const RETRY: Duration = Duration::from_millis(100);

/// The loop thread's side of a listener.
pub struct ListenerDriver {
    listener: Arc<Listener>,
    /// Gone once it is closed or drained; never there if connections come from the application alone.
    socket: Option<Box<transport::Listener>>,
    token: Token,
    /// The loop watches the socket: there is, or may be, room for a connection.
    watched: bool,
    /// It stands in the loop's line and runs when its turn comes.
    in_line: bool,
    retry: Option<TimerKey>,
    /// Turns until what was closed is gone from the poll, and so from the system.
    turns_to_go: u8,
}

/// The first may come before the poll is asked again.
const TURNS_OF_POLL: u8 = 2;

impl ListenerDriver {
    pub fn start(
        listener: Arc<Listener>,
        mut socket: Option<Box<transport::Listener>>,
        token: Token,
        context: &mut Context,
    ) -> Option<ListenerDriver> {
        if context.shutting_down {
            drop(socket);
            listener.end(Err(Error::RuntimeShutdown));
            return None;
        }
        if let Some(Err(error)) = socket.as_mut().map(|socket| watch(socket, token, context)) {
            drop(socket);
            listener.end(Err(error.into()));
            return None;
        }
        Some(ListenerDriver { listener, socket, token, watched: true, in_line: false, retry: None, turns_to_go: 0 })
    }

    /// Accepts what waits, in fair parts, or does the next step of its end.
    fn accept_waiting(&mut self, context: &mut Context) -> Flow {
        for _ in 0..ACCEPTS_PER_RUN {
            let Some(arrival) = self.listener.begin_arrival() else {
                return self.wind_up(context);
            };
            let Some(socket) = self.socket.as_mut().filter(|_| !self.in_line) else {
                return Flow::Continue;
            };
            let may_accept = self.listener.admission.may_accept(Instant::now());
            if may_accept != MayAccept::Now {
                if std::mem::take(&mut self.watched) {
                    socket.deregister(&context.registry);
                }
                match may_accept {
                    MayAccept::At(at) => self.run_again_at(at, context),
                    _ => self.listener.log_repeated(Repeated::FullListener, || {
                        "the listener has as many connections as max_connections allows and accepts no more for now"
                            .to_owned()
                    }),
                }
                return Flow::Continue;
            }
            if !self.watched {
                if let Err(error) = watch(socket, self.token, context) {
                    self.try_later(error, context);
                    return Flow::Continue;
                }
                self.watched = true;
            }
            match socket.accept() {
                Ok(Some(stream)) => {
                    let stays = socket.binds_connections_to_its_poll();
                    self.hand_over(stream, stays, arrival);
                }
                Ok(None) => return Flow::Continue,
                Err(failure) if failure.is_lost => self.listener.failed(&failure.error.into()),
                Err(failure) => {
                    // The event does not come again for a connection that is still in the queue.
                    self.try_later(failure.error, context);
                    return Flow::Continue;
                }
            }
        }
        self.in_line = true;
        context.ready.push_back(self.token);
        Flow::Continue
    }

    fn try_later(&mut self, error: transport::Error, context: &mut Context) {
        self.run_again_at(Instant::now() + RETRY, context);
        self.listener.failed(&error.into());
    }

    fn run_again_at(&mut self, at: Instant, context: &mut Context) {
        if self.retry.is_none() {
            self.retry = Some(context.timers.set(at, self.token));
        }
    }

    fn hand_over(&self, stream: transport::Stream, stays: bool, arrival: Arrival) {
        let seat = self.listener.admission.seat_of_accepted();
        match if stays { self.listener.enter_here() } else { self.listener.enter() } {
            Ok(live) => self.listener.take_in(stream, live, seat, arrival),
            Err(error) => {
                drop(stream);
                self.listener.failed(&error);
            }
        }
    }

    /// Listens no more. Once it is closed, or drained and without connections, it is over.
    fn wind_up(&mut self, context: &mut Context) -> Flow {
        if self.socket.as_ref().is_some_and(|socket| socket.binds_connections_to_its_poll()) {
            self.turns_to_go = TURNS_OF_POLL;
        }
        self.give_up_socket(context);
        if self.turns_to_go > 0 {
            if !self.in_line {
                self.turns_to_go -= 1;
                self.in_line = true;
                context.ready.push_back(self.token);
            }
            return Flow::Continue;
        }
        if self.listener.is_draining() && !self.listener.connections().is_empty() {
            return Flow::Continue;
        }
        self.listener.end(Ok(()));
        Flow::Leave
    }

    /// Closes the socket without a callback.
    fn give_up_socket(&mut self, context: &mut Context) {
        if let Some(mut socket) = self.socket.take() {
            socket.deregister(&context.registry);
        }
        if let Some(key) = self.retry.take() {
            context.timers.cancel(key);
        }
    }
}

impl Resident for ListenerDriver {
    fn place(&self) -> &Place {
        &self.listener.place
    }

    fn run(&mut self, context: &mut Context) -> Flow {
        self.accept_waiting(context)
    }

    fn take_turn(&mut self, context: &mut Context) -> Flow {
        self.in_line = false;
        self.run(context)
    }

    fn expire(&mut self, key: TimerKey, context: &mut Context) -> Flow {
        if self.retry != Some(key) {
            return Flow::Continue;
        }
        self.retry = None;
        self.run(context)
    }

    fn abort(&mut self, cause: AbortCause, context: &mut Context) -> Flow {
        self.give_up_socket(context);
        self.listener.end(Err(cause.into()));
        Flow::Leave
    }

    fn discard(&mut self, context: &mut Context) {
        self.give_up_socket(context);
    }
}

fn watch(socket: &mut transport::Listener, token: Token, context: &Context) -> Result<(), transport::Error> {
    let kind = transport::ErrorKind::Io;
    let failed = |error| transport::Error::from_io("watching a listening socket", &error, kind);
    socket.register(&context.registry, token).map_err(failed)
}
