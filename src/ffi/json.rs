//! A message as one line of JSON.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::headers::type_name;
use crate::codec::{HeaderValue, Message, uuid_to_text};

/// The line, without a newline at its end.
pub(super) fn line(message: &Message<'_>) -> String {
    let mut out = String::new();
    push(&mut out, format_args!("{{\"total_length\":{},\"headers\":[", message.prelude.total_len));
    for (index, header) in message.headers.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str("{\"name\":");
        push_text(&mut out, header.name);
        push(&mut out, format_args!(",\"type\":\"{}\",\"value\":", type_name(header.value.header_type())));
        push_value(&mut out, header.value);
        out.push('}');
    }
    out.push_str("],\"payload\":");
    push_base64(&mut out, message.payload);
    out.push('}');
    out
}

fn push_value(out: &mut String, value: HeaderValue<'_>) {
    match value {
        HeaderValue::Bool(value) => push(out, format_args!("{value}")),
        HeaderValue::Byte(value) => push(out, format_args!("{value}")),
        HeaderValue::Int16(value) => push(out, format_args!("{value}")),
        HeaderValue::Int32(value) => push(out, format_args!("{value}")),
        HeaderValue::Int64(value) | HeaderValue::Timestamp(value) => push(out, format_args!("{value}")),
        HeaderValue::ByteBuf(value) => push_base64(out, value),
        HeaderValue::String(value) => push_text(out, value),
        HeaderValue::Uuid(value) => push(out, format_args!("\"{}\"", uuid_to_text(value))),
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

fn push_base64(out: &mut String, bytes: &[u8]) {
    out.push('"');
    STANDARD.encode_string(bytes, out);
    out.push('"');
}

fn push_text(out: &mut String, text: &[u8]) {
    out.push('"');
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => push(out, format_args!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
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
        line(&Message::decode(&bytes, &Limits::default()).expect("a valid message").0)
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
    fn text_that_is_no_utf8_is_made_so() {
        let mut out = String::new();
        push_text(&mut out, b"a\xffb");
        assert_eq!(out, "\"a\u{fffd}b\"");
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
