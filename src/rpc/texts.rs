//! What the library says to peers, and about them, on its own account.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde_json::json;

use crate::codec::{self, HeaderList, HeaderValue};
use crate::rpc::MessageType;

/// Why the library refuses a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal<'a> {
    TooManyStreams {
        limit: usize,
    },
    Draining,
    /// The application neither accepted nor refused it.
    NotAccepted {
        operation: &'a [u8],
    },
    /// The application had so much time to decide.
    NotDecided {
        time: Duration,
    },
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::TooManyStreams { limit } => {
                write!(f, "{limit} streams are open on this connection, and the server allows no more")
            }
            Refusal::Draining => {
                f.write_str("this side is being drained and takes no new streams; nothing was done for this one")
            }
            Refusal::NotAccepted { operation } => {
                write!(f, "the operation {} is not accepted here", quoted(operation))
            }
            Refusal::NotDecided { time } => {
                write!(f, "the server did not decide within {} ms whether it accepts the call", time.as_millis())
            }
        }
    }
}

/// The sentence for a CONNECT that the server refused with such a message.
pub fn handshake_refused(message_type: MessageType, payload: &[u8]) -> String {
    let text = match message_type {
        MessageType::ConnectAck => {
            "the server refused the connection: CONNECT_ACK without CONNECTION_ACCEPTED".to_owned()
        }
        other => format!("the server answered CONNECT with {other}"),
    };
    match quoted(payload) {
        said if said.is_empty() => text,
        said => format!("{text}; it says: {said}"),
    }
}

/// The sentence for a PROTOCOL_ERROR or INTERNAL_ERROR after the handshake.
pub fn peer_error(message_type: MessageType, payload: &[u8]) -> String {
    match quoted(payload) {
        said if said.is_empty() => format!("the peer sent {message_type}"),
        said => format!("the peer sent {message_type}; it says: {said}"),
    }
}

/// A peer's bytes as text for a sentence, cut if they are long.
pub fn quoted(bytes: &[u8]) -> Cow<'_, str> {
    const MAX_LEN: usize = 256;
    String::from_utf8_lossy(bytes.get(..MAX_LEN).unwrap_or(bytes))
}

/// Headers and payload of a message that says something to people.
pub fn text_message(text: &str) -> (HeaderList, Vec<u8>) {
    let mut headers = HeaderList::new();
    // Cannot fail: name and value are short text.
    let _ = headers.add(b":content-type", HeaderValue::String(b"application/json"));
    (headers, json!({ "message": text }).to_string().into_bytes())
}

/// The same for an error that a service models, of this type; nothing is said of the type if it is empty. Fails if that cannot
/// be the value of a header.
pub fn error_message(error_type: &[u8], text: &str) -> Result<(HeaderList, Vec<u8>), codec::Error> {
    let (mut headers, payload) = text_message(text);
    if !error_type.is_empty() {
        headers.add(b"service-model-type", HeaderValue::String(error_type))?;
    }
    Ok((headers, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_sent_as_json() {
        for text in ["plain", "quotes \" and \\", "a line\nand a tab\t, \u{7f}, é"] {
            let (_, payload) = text_message(text);
            let read: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
            assert_eq!(read, json!({ "message": text }));
        }
        assert_eq!(text_message("as \"before\"").1, br#"{"message":"as \"before\""}"#);
    }

    #[test]
    fn a_peers_words_are_cut() {
        assert_eq!(quoted(&[b'x'; 1000]).len(), 256);
        assert_eq!(
            handshake_refused(MessageType::InternalError, b""),
            "the server answered CONNECT with INTERNAL_ERROR"
        );
        let text = handshake_refused(MessageType::ConnectAck, b"not you \xff");
        assert!(text.ends_with("without CONNECTION_ACCEPTED; it says: not you \u{fffd}"), "{text}");
    }
}
