//! PEM as tools and people leave it: with a byte order mark, as UTF-16, with text around the sections, joined without a line end.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::der;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
/// Padding may be missing; bits that do not matter may be set.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What stands between a BEGIN line and its END line.
#[derive(Debug)]
pub struct Section {
    pub label: String,
    pub content: Result<Vec<u8>, Fault>,
    /// In the old way of OpenSSL, which says so in lines before the content.
    pub is_encrypted: bool,
}

/// What is wrong with a section, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    pub what: &'static str,
    pub offset: usize,
    pub line: usize,
}

/// The sections of `bytes`; none if they are not PEM.
pub fn sections(bytes: &[u8]) -> Vec<Section> {
    let (text, unit) = plain_text(bytes);
    let mut sections = Vec::new();
    let mut from = 0;
    // A place up to which lines are counted, and its line: places of damage come in order.
    let mut counted = (0, 1);
    while let Some(begin) = find(&text, BEGIN, from) {
        let label_at = begin + BEGIN.len();
        let Some(label_end) = find(&text, DASHES, label_at) else { break };
        let body_at = label_end + DASHES.len();
        let label = String::from_utf8_lossy(&text[label_at..label_end]).into_owned();
        let limit = find(&text, BEGIN, body_at).unwrap_or(text.len());
        let end = find(&text[..limit], &[END, label.as_bytes(), DASHES].concat(), body_at);
        let mut fault = |what, at: usize| {
            let (before, line) = counted;
            counted = (at, line + text[before..at].iter().filter(|byte| **byte == b'\n').count());
            Fault { what, offset: at * unit, line: counted.1 }
        };
        let body = &text[body_at..end.unwrap_or(limit)];
        let (headers_len, is_encrypted) = headers(body);
        let content = match end {
            Some(_) => decode(&body[headers_len..]).map_err(|(what, at)| fault(what, body_at + headers_len + at)),
            None => Err(fault("its END line is missing or differs from its BEGIN line", begin)),
        };
        sections.push(Section { label, content, is_encrypted });
        from = end.map_or(limit, |end| end + END.len());
    }
    sections
}

/// UTF-16 as some tools of Windows write it becomes one byte per character; each is so many bytes in the file.
fn plain_text(bytes: &[u8]) -> (Cow<'_, [u8]>, usize) {
    let narrow =
        |at: usize| bytes.chunks_exact(2).map(|pair| if pair[1 - at] == 0 { pair[at] } else { b'?' }).collect();
    match bytes {
        [0xff, 0xfe, ..] => (Cow::Owned(narrow(0)), 2),
        [0xfe, 0xff, ..] => (Cow::Owned(narrow(1)), 2),
        _ => (Cow::Borrowed(bytes), 1),
    }
}

/// How many bytes the lines "Name: value" at the beginning take, and whether they speak of encryption.
fn headers(body: &[u8]) -> (usize, bool) {
    let mut len = 0;
    let mut is_encrypted = false;
    let mut has_headers = false;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let is_blank = line.trim_ascii().is_empty();
        let is_continued = has_headers && line.starts_with(b" ");
        if !(is_blank || is_continued || line.contains(&b':')) {
            break;
        }
        has_headers |= !is_blank;
        is_encrypted |= line.starts_with(b"Proc-Type:") && find(line, b"ENCRYPTED", 0).is_some();
        len += line.len();
    }
    (if has_headers { len } else { 0 }, is_encrypted)
}

fn decode(body: &[u8]) -> Result<Vec<u8>, (&'static str, usize)> {
    let mut digits = Vec::with_capacity(body.len());
    let mut padding_at = None;
    for (at, byte) in body.iter().enumerate() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding_at.is_none() => digits.push(*byte),
            b'=' => _ = padding_at.get_or_insert(at),
            byte if byte.is_ascii_whitespace() => {}
            _ => return Err(("a character that base64 does not allow there", at)),
        }
    }
    BASE64.decode(&digits).map_err(|_| ("base64 that is cut short", padding_at.unwrap_or(body.len())))
}

/// Whether `bytes` are base64 of DER, without BEGIN and END lines.
pub fn is_bare_base64(bytes: &[u8]) -> bool {
    bytes.starts_with(b"M")
        && decode(bytes)
            .is_ok_and(|content| der::expect(&content, der::SEQUENCE).is_some_and(|(_, rest)| rest.is_empty()))
}

fn find(bytes: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(wanted.len()).position(|window| window == wanted).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN ONE-----\nAQID\n-----END ONE-----";

    fn contents(bytes: &[u8]) -> Vec<(String, Result<Vec<u8>, Fault>)> {
        sections(bytes).into_iter().map(|section| (section.label, section.content)).collect()
    }

    #[test]
    fn sections_are_found_however_they_are_written() {
        let one = || ("ONE".to_owned(), Ok(vec![1, 2, 3]));
        let two = "-----BEGIN TWO-----\r\nBAU=\r\n-----END TWO-----\r\n";
        assert_eq!(contents(ONE.as_bytes()), [one()]);
        assert_eq!(contents(format!("\u{feff}{ONE}\n").as_bytes()), [one()]);
        assert_eq!(contents(ONE.replace('\n', "\r\n").as_bytes()), [one()]);
        assert_eq!(contents(ONE.replace('\n', "\r").as_bytes()), [one()]);
        assert_eq!(contents(ONE.replace('\n', "").as_bytes()), [one()]);
        assert_eq!(contents(format!("Certificate:\n  Data\n{ONE}\nmore - text --").as_bytes()), [one()]);
        assert_eq!(contents(format!("{ONE}{two}").as_bytes()), [one(), ("TWO".to_owned(), Ok(vec![4, 5]))]);
        assert_eq!(contents(two.replace('=', "").as_bytes()), [("TWO".to_owned(), Ok(vec![4, 5]))]);
        let wide: Vec<u8> = format!("\u{feff}{ONE}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(contents(&wide), [one()]);
        let wide: Vec<u8> = format!("\u{feff}{ONE}").encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(contents(&wide), [one()]);
        assert_eq!(contents(b"nothing"), []);
        assert_eq!(contents(b"-----BEGIN "), []);
    }

    #[test]
    fn the_place_of_damage_is_reported() {
        let damaged = |text: &str| contents(text.as_bytes()).swap_remove(0).1.expect_err("damaged");
        assert_eq!((damaged(&ONE.replace("ID", "*D")).offset, damaged(&ONE.replace("ID", "*D")).line), (22, 2));
        assert_eq!(damaged(&ONE.replace("AQID", "AQIDB")).what, "base64 that is cut short");
        let fault = damaged(&format!("text\n{}", ONE.replace("END ONE", "END TWO")));
        assert_eq!((fault.offset, fault.line), (5, 2));
        let cut = format!("{}{ONE}", &ONE[..22]);
        assert_eq!(contents(cut.as_bytes()).len(), 2);
        assert_eq!(damaged(&cut).offset, 0);
    }

    #[test]
    fn lines_before_the_content_are_passed_over() {
        let text = "-----BEGIN KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAQID\n-----END KEY-----\n";
        let section = sections(text.as_bytes()).swap_remove(0);
        assert_eq!((section.content, section.is_encrypted), (Ok(vec![1, 2, 3]), true));
        assert!(!sections(ONE.as_bytes())[0].is_encrypted);
    }

    #[test]
    fn base64_alone_is_recognised() {
        assert!(is_bare_base64(b"MAMC\nAQc=\n"));
        assert!(!is_bare_base64(b"MAMC is text"));
        assert!(!is_bare_base64(b"AAAA"));
    }
}
