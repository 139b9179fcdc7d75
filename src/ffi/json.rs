//! A message as one line of JSON.

use std::borrow::Cow;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::failure::Failure;
use super::headers::type_name;
use super::status::ESRPC_ERROR_INTERNAL;
use crate::codec::{Header, HeaderValue, Message, uuid_to_text};

/// The line, without a newline at its end.
pub(super) fn line(message: &Message<'_>) -> Result<Vec<u8>, Failure> {
    write_line(message).map_err(|error| Failure::new(ESRPC_ERROR_INTERNAL, error.to_string()))
}

/// Written piece by piece: with serde_json's Value and derived serializers the library would be 30 KiB larger.
fn write_line(message: &Message<'_>) -> serde_json::Result<Vec<u8>> {
    let mut line = format!("{{\"total_length\":{},\"headers\":[", message.prelude.total_len);
    for (number, header) in message.headers.iter().enumerate() {
        if number > 0 {
            line.push(',');
        }
        write_header(&mut line, header)?;
    }
    line.push_str("],\"payload\":\"");
    STANDARD.encode_string(message.payload, &mut line);
    line.push_str("\"}");
    Ok(line.into_bytes())
}

fn write_header(line: &mut String, header: Header<'_>) -> serde_json::Result<()> {
    let name = serde_json::to_string(&*text(header.name))?;
    let header_type = type_name(header.value.header_type());
    let value = match header.value {
        HeaderValue::Bool(value) => value.to_string(),
        HeaderValue::Byte(value) => value.to_string(),
        HeaderValue::Int16(value) => value.to_string(),
        HeaderValue::Int32(value) => value.to_string(),
        HeaderValue::Int64(value) | HeaderValue::Timestamp(value) => value.to_string(),
        HeaderValue::ByteBuf(value) => format!("\"{}\"", STANDARD.encode(value)),
        HeaderValue::String(value) => serde_json::to_string(&*text(value))?,
        HeaderValue::Uuid(value) => format!("\"{}\"", uuid_to_text(value)),
    };
    // Cannot fail: a String takes everything.
    let _ = write!(line, "{{\"name\":{name},\"type\":\"{header_type}\",\"value\":{value}}}");
    Ok(())
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
