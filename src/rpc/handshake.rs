use crate::rpc::protocol::CONNECTION_ACCEPTED;
use crate::rpc::{Error, MessageType, Violation};

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

/// How far the handshake has come. A protocol message, sent or received, leads to the next state or is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// No CONNECT yet.
    Start,
    /// CONNECT was sent or received, CONNECT_ACK was not.
    Connecting,
    /// CONNECT_ACK with CONNECTION_ACCEPTED.
    Done,
    /// CONNECT_ACK without it, or an error message instead of it.
    Refused,
}

impl Handshake {
    /// The state after this side has sent such a message.
    pub fn after_sending(self, role: Role, message_type: MessageType, flags: i32) -> Result<Handshake, Error> {
        use Handshake::*;
        use MessageType::{Connect, ConnectAck, InternalError, ProtocolError};
        match (role, message_type, self) {
            (Role::Client, ConnectAck, _) => {
                Err(Error::WrongMessageType("CONNECT_ACK is sent by servers only".to_owned()))
            }
            (Role::Server, Connect, _) => Err(Error::WrongMessageType("CONNECT is sent by clients only".to_owned())),
            (Role::Client, Connect, Start) => Ok(Connecting),
            (Role::Client, Connect, _) => {
                Err(Error::HandshakeAlreadyDone("CONNECT was sent before on this connection"))
            }
            (Role::Client, _, Start) => Err(Error::HandshakePending(
                "the handshake has not begun: send CONNECT first, or set the handshake option before connecting",
            )),
            (Role::Client, _, Connecting) => Err(Error::HandshakePending(
                "the handshake is not done: wait for the server's CONNECT_ACK in on_protocol_message",
            )),
            (Role::Server, ConnectAck, Start) => Err(Error::HandshakePending(
                "the client has not sent CONNECT yet: send CONNECT_ACK when it arrives in on_protocol_message",
            )),
            (Role::Server, ConnectAck, Connecting) => Ok(if flags & CONNECTION_ACCEPTED != 0 { Done } else { Refused }),
            (Role::Server, ConnectAck, _) => {
                Err(Error::HandshakeAlreadyDone("CONNECT_ACK was sent before on this connection"))
            }
            (Role::Server, ProtocolError | InternalError, state) => Ok(state),
            (Role::Server, _, Start | Connecting) => Err(Error::HandshakePending(
                "the handshake is not done: answer the client's CONNECT with CONNECT_ACK first, or set the listener's handshake option",
            )),
            (_, _, state) => Ok(state),
        }
    }

    /// The state after such a message from the peer.
    pub fn after_receiving(self, role: Role, message_type: MessageType, flags: i32) -> Result<Handshake, Violation> {
        use Handshake::*;
        use MessageType::{Connect, ConnectAck, InternalError, ProtocolError};
        let violation = |text: &str| Err(Violation::Rule(format!("{message_type} {text}")));
        match (role, self, message_type) {
            (Role::Server, Start, Connect) => Ok(Connecting),
            (Role::Server, Start, _) => violation("came before CONNECT"),
            (Role::Server, Connecting, _) => violation("arrived before CONNECT was acknowledged"),
            (Role::Server, Done, Connect) => violation("came a second time"),
            (Role::Client, Start, _) => violation("arrived before CONNECT was sent"),
            (Role::Client, Connecting, ConnectAck) if flags & CONNECTION_ACCEPTED != 0 => Ok(Done),
            // With an error message the server says why it does not acknowledge; it cannot do so any more.
            (Role::Client, Connecting, ConnectAck | ProtocolError | InternalError) => Ok(Refused),
            (Role::Client, Connecting, _) => violation("arrived instead of CONNECT_ACK"),
            (Role::Client, Done, ConnectAck) => violation("came a second time"),
            (Role::Client, _, Connect) => violation("is for servers"),
            (Role::Server, _, ConnectAck) => violation("is for clients"),
            (_, state, _) => Ok(state),
        }
    }
}
