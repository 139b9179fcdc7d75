//! A server's CONNECTs that the library answers.

use std::sync::Arc;

use super::handle::{Connection, Gatekeeper};
use crate::rpc::{CONNECTION_ACCEPTED, Incoming, MessageType, Outgoing};

impl Connection {
    /// Answers a client's CONNECT, unless the gatekeeper has done that, or has closed the connection.
    pub(super) fn answer_connect(self: &Arc<Self>, gatekeeper: &Gatekeeper, incoming: &Incoming<'_>) {
        let is_accepted = match gatekeeper {
            Gatekeeper::AcceptAll => true,
            Gatekeeper::Ask(ask) => ask(self, incoming),
        };
        if !self.is_inert() {
            let flags = if is_accepted { CONNECTION_ACCEPTED } else { 0 };
            let _ = self.send_protocol(Outgoing::empty(MessageType::ConnectAck, flags), None);
        }
    }
}
