use std::any::Any;
use std::sync::Arc;

use crate::rpc::Incoming;
use crate::runtime::{Connection, Error, Inbox, Listener, Outcome, Stream};

/// Who is told of what happens on a connection. All calls come on the connection's event-loop thread, with no lock held.
pub trait ConnectionHandler: Send + Sync {
    /// Client only; the error if there is no connection.
    fn on_setup(&self, result: Result<&Arc<Connection>, &Error>);
    fn on_protocol_message(&self, connection: &Arc<Connection>, incoming: &Incoming<'_>);
    /// Server only; the stream is refused unless it is accepted meanwhile.
    fn on_incoming_stream(&self, connection: &Arc<Connection>, stream: &Arc<Stream>, incoming: &Incoming<'_>);
    fn on_writable(&self, connection: &Arc<Connection>);
    fn on_shutdown(&self, connection: &Arc<Connection>, outcome: &Outcome);
    fn on_destroy(&self);
    /// The owner's side, for whoever knows its type.
    fn as_any(&self) -> &dyn Any;
}

/// Who is told of what happens on a stream; same rules.
pub trait StreamHandler: Send + Sync {
    fn on_message(&self, stream: &Arc<Stream>, incoming: &Incoming<'_>);
    fn on_writable(&self, stream: &Arc<Stream>);
    fn on_closed(&self, stream: &Arc<Stream>, outcome: &Outcome);
    fn on_destroy(&self);
    /// Where the messages wait, if they are to be read.
    fn inbox(&self) -> Option<&Inbox> {
        None
    }
    fn as_any(&self) -> &dyn Any;
}

/// Who is told of what happens on a listener. `on_incoming_connection` comes on the connection's event-loop thread, the
/// rest on the listener's.
pub trait ListenerHandler: Send + Sync {
    /// The connection is refused unless it is accepted meanwhile.
    fn on_incoming_connection(&self, listener: &Arc<Listener>, connection: &Arc<Connection>);
    fn on_failed_connection(&self, listener: &Arc<Listener>, error: &Error);
    fn on_closed(&self, listener: &Arc<Listener>, outcome: &Outcome);
    fn on_destroy(&self);
    fn as_any(&self) -> &dyn Any;
}
