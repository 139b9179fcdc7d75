//! The little of DER that shows what a file is, and where it is damaged.

pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const OBJECT_IDENTIFIER: u8 = 0x06;
pub const SEQUENCE: u8 = 0x30;
const CONSTRUCTED: u8 = 0x20;
/// Nothing that is read here lies deeper.
const MAX_DEPTH: usize = 32;

/// One element: its tag, what it contains, and all of its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    pub tag: u8,
    pub contents: &'a [u8],
    pub whole: &'a [u8],
}

/// The first element of `bytes`, and what follows it.
pub fn read(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&[tag, first], mut rest) = bytes.split_first_chunk::<2>()?;
    let mut len = usize::from(first);
    if first >= 0x80 {
        let count = usize::from(first & 0x7f);
        if tag & 0x1f == 0x1f || !(1..=4).contains(&count) {
            return None;
        }
        let (digits, after) = rest.split_at_checked(count)?;
        len = digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit));
        rest = after;
    }
    let (contents, after) = rest.split_at_checked(len)?;
    Some((Element { tag, contents, whole: &bytes[..bytes.len() - after.len()] }, after))
}

/// The contents of the first element, if it has this tag, and what follows it.
pub fn expect(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (element, rest) = read(bytes)?;
    (element.tag == tag).then_some((element.contents, rest))
}

/// What follows the tag and the length of a sequence, also if the rest of it is missing.
pub fn lenient_contents(bytes: &[u8]) -> Option<&[u8]> {
    let (&[tag, length], rest) = bytes.split_first_chunk::<2>()?;
    let length_bytes = if length < 0x80 { 0 } else { usize::from(length & 0x7f) };
    if tag == SEQUENCE { rest.get(length_bytes..) } else { None }
}

/// The elements that `bytes` consist of, up to the first that is damaged.
pub fn elements(bytes: &[u8]) -> impl Iterator<Item = Element<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (element, after) = read(rest)?;
        rest = after;
        Some(element)
    })
}

/// Where the first element begins that does not fit in the one around it.
pub fn fault(bytes: &[u8]) -> Option<usize> {
    fault_within(bytes, 0)
}

/// Says where a fault is.
pub fn fault_text(offset: usize) -> String {
    format!("byte {offset} of its DER begins an element that does not fit there")
}

fn fault_within(bytes: &[u8], depth: usize) -> Option<usize> {
    let mut at = 0;
    while at < bytes.len() {
        let Some((element, _)) = read(&bytes[at..]) else { return Some(at) };
        if element.tag & CONSTRUCTED != 0 && depth < MAX_DEPTH {
            let header_len = element.whole.len() - element.contents.len();
            if let Some(inside) = fault_within(element.contents, depth + 1) {
                return Some(at + header_len + inside);
            }
        }
        at += element.whole.len();
    }
    None
}

/// An object identifier as it is written, such as 2.5.29.15.
pub fn identifier_text(contents: &[u8]) -> String {
    let mut arcs = Vec::new();
    let mut arc = 0u64;
    for byte in contents {
        arc = arc.checked_mul(128).unwrap_or(0) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            arcs.push(std::mem::take(&mut arc));
        }
    }
    let Some((first, rest)) = arcs.split_first() else { return "an empty identifier".to_owned() };
    let top = (first / 40).min(2);
    let rest: String = rest.iter().map(|arc| format!(".{arc}")).collect();
    format!("{top}.{}{rest}", first - top * 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_one_by_one() {
        let bytes = [0x30, 3, 2, 1, 7, 4, 0x81, 1, 9];
        let found: Vec<_> = elements(&bytes).map(|element| (element.tag, element.contents.to_vec())).collect();
        assert_eq!(found, [(SEQUENCE, vec![2, 1, 7]), (OCTET_STRING, vec![9])]);
        assert_eq!(expect(&bytes, SEQUENCE), Some((&bytes[2..5], &bytes[5..])));
        assert_eq!(expect(&bytes, INTEGER), None);
    }

    #[test]
    fn the_place_of_a_fault_is_found() {
        assert_eq!(fault(&[0x30, 3, 2, 1, 7]), None);
        assert_eq!(fault(&[0x30, 3, 2, 2, 7]), Some(2));
        assert_eq!(fault(&[0x30, 6, 2, 1, 7, 0x30, 1, 2]), Some(7));
        assert_eq!(fault(&[0x30, 4, 2, 1, 7]), Some(0));
        for cut in [&[0x30][..], &[0x30, 0x84], &[0x30, 0x84, 255, 255, 255, 255], &[0x30, 0x80, 0, 0]] {
            assert_eq!(fault(cut), Some(0), "{cut:?}");
        }
        let mut deep = vec![0x30, 0];
        for _ in 0..60 {
            deep = [&[0x30, deep.len() as u8][..], &deep].concat();
        }
        assert_eq!(fault(&deep), None);
    }

    #[test]
    fn identifiers_are_written_with_points() {
        assert_eq!(identifier_text(&[0x55, 0x1d, 15]), "2.5.29.15");
        assert_eq!(identifier_text(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]), "1.2.840.113549.1.1.1");
        assert_eq!(identifier_text(&[0x88, 0x37, 1]), "2.999.1");
        assert_eq!(identifier_text(&[0xff; 30]), "an empty identifier");
    }
}
