//! A message as one line of JSON.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;
use super::headers::type_name;
use super::status::ESRPC_ERROR_INTERNAL;
use crate::codec::{Header, HeaderValue, Message, uuid_to_text};

/// The members in the order in which they are written.
#[derive(Serialize)]
struct Line<'a> {
    total_length: u32,
    headers: Vec<HeaderLine<'a>>,
    payload: String,
}

#[derive(Serialize)]
struct HeaderLine<'a> {
    name: Cow<'a, str>,
    #[serde(rename = "type")]
    header_type: &'static str,
    value: Value,
}

/// The line, without a newline at its end.
pub(super) fn line(message: &Message<'_>) -> Result<Vec<u8>, Failure> {
    let line = Line {
        total_length: message.prelude.total_len,
        headers: message.headers.iter().map(header_line).collect(),
        payload: STANDARD.encode(message.payload),
    };
    serde_json::to_vec(&line).map_err(|error| Failure::new(ESRPC_ERROR_INTERNAL, error.to_string()))
}

fn header_line(header: Header<'_>) -> HeaderLine<'_> {
    HeaderLine {
        name: text(header.name),
        header_type: type_name(header.value.header_type()),
        value: value(header.value),
    }
}

fn value(value: HeaderValue<'_>) -> Value {
    match value {
        HeaderValue::Bool(value) => value.into(),
        HeaderValue::Byte(value) => value.into(),
        HeaderValue::Int16(value) => value.into(),
        HeaderValue::Int32(value) => value.into(),
        HeaderValue::Int64(value) | HeaderValue::Timestamp(value) => value.into(),
        HeaderValue::ByteBuf(value) => STANDARD.encode(value).into(),
        HeaderValue::String(value) => text(value).into(),
        HeaderValue::Uuid(value) => uuid_to_text(value).into(),
    }
}

/// The bytes as text; what is not UTF-8 is replaced.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{HeaderList, Limits, encode_into};

    fn line_of(headers: &[(&str, HeaderValue<'_>)], payload: &[u8]) -> String {
        let mut list = HeaderList::new();
        for (name, value) in headers {
            list.add(name.as_bytes(), *value).expect("a valid header");
        }
        let mut bytes = Vec::new();
        encode_into(&[list.as_bytes()], payload, &mut bytes);
        line_of_bytes(&bytes)
    }

    fn line_of_bytes(bytes: &[u8]) -> String {
        let (message, _) = Message::decode(bytes, &Limits::default()).expect("a valid message");
        String::from_utf8(line(&message).expect("it can be written")).expect("UTF-8")
    }

    #[test]
    fn the_line_is_as_documented() {
        assert_eq!(
            line_of(&[("h", HeaderValue::Int64(-1))], b"p"),
            r#"{"total_length":28,"headers":[{"name":"h","type":"int64","value":-1}],"payload":"cA=="}"#
        );
    }

    #[test]
    fn text_stays_one_line_and_valid_json() {
        let text = "quote \" backslash \\ newline \n tab \t bell \u{7} delete \u{7f} é \u{1f600}";
        let line = line_of(&[("s", HeaderValue::String(text.as_bytes()))], b"");
        assert!(!line.contains('\n'));
        let parsed: serde_json::Value = serde_json::from_str(&line).expect("valid JSON");
        assert_eq!(parsed["headers"][0]["value"], text);
    }

    #[test]
    fn text_that_is_not_utf8_is_made_so() {
        let mut bytes = Vec::new();
        encode_into(&[b"\x01h\x07\0\x03a\xffb"], b"", &mut bytes);
        let line = line_of_bytes(&bytes);
        assert!(line.contains("\"value\":\"a\u{fffd}b\""), "{line}");
    }

    #[test]
    fn every_type_has_its_form() {
        let uuid = *b"\x12\x3e\x45\x67\xe8\x9b\x12\xd3\xa4\x56\x42\x66\x14\x17\x40\x00";
        let cases = [
            (HeaderValue::Bool(true), r#""bool_true","value":true"#),
            (HeaderValue::Bool(false), r#""bool_false","value":false"#),
            (HeaderValue::Byte(-128), r#""byte","value":-128"#),
            (HeaderValue::Int16(-2), r#""int16","value":-2"#),
            (HeaderValue::Int32(3), r#""int32","value":3"#),
            (HeaderValue::Int64(i64::MIN), r#""int64","value":-9223372036854775808"#),
            (HeaderValue::ByteBuf(&[0, 255]), r#""byte_buf","value":"AP8=""#),
            (HeaderValue::String(b""), r#""string","value":"""#),
            (HeaderValue::Timestamp(8), r#""timestamp","value":8"#),
            (HeaderValue::Uuid(&uuid), r#""uuid","value":"123e4567-e89b-12d3-a456-426614174000""#),
        ];
        for (value, expected) in cases {
            let line = line_of(&[("n", value)], b"");
            assert!(line.contains(&format!(r#"[{{"name":"n","type":{expected}}}]"#)), "{line}");
        }
    }
}
