//! What the library says to peers, and about them, on its own account.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::codec::{self, HeaderList, HeaderType, HeaderValue, Message};
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
                let streams = if *limit == 1 { "stream is" } else { "streams are" };
                write!(f, "{limit} {streams} open on this connection, and the server allows no more")
            }
            Refusal::Draining => {
                f.write_str("this side is being drained and accepts no new streams; nothing was done for this one")
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
pub fn handshake_refused(message_type: MessageType, message: &Message<'_>) -> String {
    let said = what_it_says(message);
    let text = match message_type {
        MessageType::ConnectAck if said.is_empty() => {
            "the server refused the connection (CONNECT_ACK without the flag CONNECTION_ACCEPTED) and gave no reason: \
             check which headers and payload it expects in CONNECT"
                .to_owned()
        }
        MessageType::ConnectAck => {
            "the server refused the connection (CONNECT_ACK without the flag CONNECTION_ACCEPTED)".to_owned()
        }
        other => format!("the server responded to CONNECT with {other}"),
    };
    text + &said
}

/// The sentence for a PROTOCOL_ERROR or INTERNAL_ERROR after the handshake.
pub fn peer_error(message_type: MessageType, message: &Message<'_>) -> String {
    format!("the peer sent {message_type}{}", what_it_says(message))
}

/// The sentence for a call that got an error message.
pub fn application_error(message: &Message<'_>) -> String {
    format!("the server replied with an error message{}", what_it_says(message))
}

/// The end of a sentence about an error message: its type in the model of the service, and the beginning of its payload.
fn what_it_says(message: &Message<'_>) -> String {
    let model_type = message.headers.find(SERVICE_MODEL_TYPE).filter(|found| found.header_type == HeaderType::String);
    let model_type = model_type.and_then(|found| found.data).map(quoted).unwrap_or_default();
    let said = quoted(message.payload);
    match (model_type.is_empty(), said.is_empty()) {
        (true, true) => String::new(),
        (true, false) => format!("; it says: {said}"),
        (false, true) => format!(", {model_type}"),
        (false, false) => format!(", {model_type}; it says: {said}"),
    }
}

/// The header with the name of an error in the model of a service.
const SERVICE_MODEL_TYPE: &[u8] = b"service-model-type";

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
    // Cannot fail: text is written to memory.
    let text = serde_json::to_string(text).unwrap_or_default();
    (headers, format!("{{\"message\":{text}}}").into_bytes())
}

/// The same for an error that a service models, of this type; nothing is said of the type if it is empty. Fails if that cannot
/// be the value of a header.
pub fn error_message(error_type: &[u8], text: &str) -> Result<(HeaderList, Vec<u8>), codec::Error> {
    let (mut headers, payload) = text_message(text);
    if !error_type.is_empty() {
        headers.add(SERVICE_MODEL_TYPE, HeaderValue::String(error_type))?;
    }
    Ok((headers, payload))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    /// A message with these headers, decoded.
    fn message(headers: &[u8], payload: &[u8]) -> Message<'static> {
        let mut bytes = Vec::new();
        codec::encode_into(&[headers], payload, &mut bytes);
        Message::decode(bytes.leak(), &codec::Limits::default()).expect("a sound message").0
    }

    #[test]
    fn an_error_of_a_model_is_named() {
        let (headers, payload) = error_message(b"aws.greengrass#UnauthorizedError", "no").expect("a short name");
        assert_eq!(
            application_error(&message(headers.as_bytes(), &payload)),
            "the server replied with an error message, aws.greengrass#UnauthorizedError; it says: {\"message\":\"no\"}"
        );
    }

    #[test]
    fn a_peers_words_are_cut() {
        assert_eq!(quoted(&[b'x'; 1000]).len(), 256);
        assert_eq!(
            handshake_refused(MessageType::InternalError, &message(&[], b"")),
            "the server responded to CONNECT with INTERNAL_ERROR"
        );
        let text = handshake_refused(MessageType::ConnectAck, &message(&[], b"not you \xff"));
        assert!(
            text.ends_with("(CONNECT_ACK without the flag CONNECTION_ACCEPTED); it says: not you \u{fffd}"),
            "{text}"
        );
    }
}
