use super::header_parser::{self, read_flat};
use super::{Error, FlatHeader, Header, Limits};

/// A headers section that has been checked, so that reading it cannot fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    /// Exactly `count` whole headers of known types.
    section: &'a [u8],
    count: usize,
}

impl<'a> Headers<'a> {
    /// No headers.
    pub const EMPTY: Headers<'static> = Headers { section: &[], count: 0 };

    /// Checks a whole headers section in one pass; only if something is wrong does a second pass find out what.
    #[inline]
    pub fn parse(section: &'a [u8], limits: &Limits) -> Result<Headers<'a>, Error> {
        match count_sound(section, limits) {
            Some(count) => Ok(Headers { section, count }),
            None => Err(first_defect(section, limits)),
        }
    }

    /// Headers that were checked, or written, one by one.
    pub(super) fn from_checked(section: &'a [u8], count: usize) -> Headers<'a> {
        Headers { section, count }
    }

    /// The wire form of all headers.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.section
    }

    /// How many headers there are, repeated names counted each time.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers in wire order.
    pub fn iter(&self) -> HeadersIter<'a> {
        HeadersIter { section: self.section, at: 0, left: self.count }
    }

    /// The header with this name, ignoring ASCII case; of several, the last one.
    pub fn find(&self, name: &[u8]) -> Option<FlatHeader<'a>> {
        let mut found = None;
        let mut at = 0;
        while let Some(end) = header_parser::end_of(self.section, at, usize::MAX) {
            if self.is_name_at(at, name) {
                found = Some(at);
            }
            at = end;
        }
        read_flat(self.section, found?).map(|(header, _)| header)
    }

    /// The offset of the header `count` headers after the one at `offset`, for [`Headers::read_at`].
    pub fn offset_behind(&self, offset: usize, count: usize) -> Option<usize> {
        (0..count).try_fold(offset, |at, _| header_parser::end_of(self.section, at, usize::MAX))
    }

    /// The header at `offset` (0, or a next offset returned before) and the next offset; `None` at the end.
    #[inline]
    pub fn read_at(&self, offset: usize) -> Option<(FlatHeader<'a>, usize)> {
        read_flat(self.section, offset)
    }

    /// The name of the header at `offset`, as in [`Headers::read_at`], and the next offset.
    #[inline]
    pub(super) fn name_at(&self, offset: usize) -> Option<(&'a [u8], usize)> {
        let (name, _, _) = header_parser::read_name(self.section, offset)?;
        Some((name, header_parser::end_of(self.section, offset, usize::MAX)?))
    }

    #[inline]
    fn is_name_at(&self, at: usize, name: &[u8]) -> bool {
        self.section.get(at).is_some_and(|len| usize::from(*len) == name.len())
            && self
                .section
                .get(at + 1..)
                .and_then(|rest| rest.get(..name.len()))
                .is_some_and(|found| is_same_name(found, name))
    }
}

/// How many headers there are, if all of them are sound.
#[inline]
fn count_sound(section: &[u8], limits: &Limits) -> Option<usize> {
    let (mut at, mut count) = (0, 0);
    while at < section.len() {
        if count >= limits.max_headers {
            return None;
        }
        at = header_parser::end_of(section, at, limits.max_value_len)?;
        count += 1;
    }
    (at == section.len()).then_some(count)
}

/// The first defect of a section in which there is one.
#[cold]
#[inline(never)]
fn first_defect(section: &[u8], limits: &Limits) -> Error {
    let (mut rest, mut index) = (section, 0);
    while !rest.is_empty() {
        if index >= limits.max_headers {
            return Error::TooManyHeaders { limit: limits.max_headers };
        }
        match header_parser::check(rest, index, limits.max_value_len) {
            Ok(len) => rest = rest.get(len..).unwrap_or_default(),
            Err(error) => return error,
        }
        index += 1;
    }
    // Cannot happen: `count_sound` accepts a section without any of these defects.
    Error::HeaderOverrun { index }
}

/// Whether two names are the same, ignoring ASCII case. Most names are equal byte by byte, or differ in length.
#[inline]
pub fn is_same_name(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && (a == b || is_same_but_for_case(a, b))
}

/// Not inlined: it is long, and most names come in the expected case.
#[inline(never)]
fn is_same_but_for_case(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b)
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = Header<'a>;
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

/// Walks checked headers in wire order.
#[derive(Clone, Debug)]
pub struct HeadersIter<'a> {
    section: &'a [u8],
    at: usize,
    left: usize,
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = Header<'a>;

    #[inline]
    fn next(&mut self) -> Option<Header<'a>> {
        let (header, end) = header_parser::read_whole(self.section, self.at)?;
        self.at = end;
        self.left = self.left.saturating_sub(1);
        Some(header)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for HeadersIter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{HeaderValue, write_header};

    fn section(headers: &[(&[u8], HeaderValue<'_>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, value) in headers {
            write_header(name, *value, &mut bytes);
        }
        bytes
    }

    #[test]
    fn as_many_headers_as_the_limit_are_accepted() {
        let limits = Limits { max_headers: 2, ..Limits::DEFAULT };
        let [two, three] = [2, 3].map(|count| section(&vec![(b"h".as_slice(), HeaderValue::Byte(1)); count]));
        assert_eq!(Headers::parse(&two, &limits).map(|headers| headers.len()), Ok(2));
        assert_eq!(Headers::parse(&three, &limits), Err(Error::TooManyHeaders { limit: 2 }));
    }

    #[test]
    fn values_as_long_as_the_limit_are_accepted() {
        let limits = Limits { max_value_len: 3, ..Limits::DEFAULT };
        for value in [HeaderValue::String, HeaderValue::ByteBuf] {
            let [inside, outside] = [b"abc".as_slice(), b"abcd"].map(|data| section(&[(b"h", value(data))]));
            assert!(Headers::parse(&inside, &limits).is_ok());
            assert_eq!(Headers::parse(&outside, &limits), Err(Error::HeaderValueTooLong { len: 4, limit: 3 }));
        }
    }

    #[test]
    fn the_first_defect_is_told_whatever_follows() {
        let limits = Limits { max_headers: 2, max_value_len: 1, ..Limits::DEFAULT };
        let cases: [(&[u8], Error); 6] = [
            (b"\x01a\x00\x01b\x00\x01c\x0a", Error::TooManyHeaders { limit: 2 }),
            (b"\x01a\x00\x01b\x0a\x01c\x00", Error::UnknownHeaderType { index: 1, header_type: 10 }),
            (b"\x01a\x07\x00\x02vv\x01b\x0a", Error::HeaderValueTooLong { len: 2, limit: 1 }),
            (b"\x01a\x04\0\0\0", Error::HeaderOverrun { index: 0 }),
            (b"\x01a\x00\x01b\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", Error::HeaderOverrun { index: 1 }),
            (b"\x01a\x00\x01", Error::HeaderOverrun { index: 1 }),
        ];
        for (section, error) in cases {
            assert_eq!(Headers::parse(section, &limits), Err(error), "{}", section.escape_ascii());
        }
    }

    #[test]
    fn the_last_of_repeated_names_is_found_in_whatever_case_and_of_whatever_type() {
        let values = [HeaderValue::Int32(1), HeaderValue::String(b"text"), HeaderValue::Uuid(b"0123456789abcdef")];
        for last in values {
            let mut headers: Vec<(&[u8], _)> = values.iter().map(|value| (b"name".as_slice(), *value)).collect();
            headers.extend([
                (b"NAmE".as_slice(), last),
                (b"nam", HeaderValue::Byte(1)),
                (b"name_", HeaderValue::Byte(2)),
            ]);
            let bytes = section(&headers);
            let headers = Headers::parse(&bytes, &Limits::DEFAULT).expect("headers");
            assert_eq!(
                headers.find(b"naMe").and_then(|header| header.header()),
                Some(Header { name: b"NAmE", value: last })
            );
        }
        // Only ASCII letters have a case here: these differ in the same bit.
        let bytes = section(&[(b"a@", HeaderValue::Byte(1)), ("\u{c4}".as_bytes(), HeaderValue::Byte(2))]);
        let headers = Headers::parse(&bytes, &Limits::DEFAULT).expect("headers");
        assert_eq!((headers.find(b"a`"), headers.find("\u{e4}".as_bytes())), (None, None));
        assert!(headers.find(b"A@").is_some());
    }

    #[test]
    fn names_match_without_case_and_the_last_counts() {
        let bytes =
            section(&[(b"Name", HeaderValue::Byte(1)), (b"nAME", HeaderValue::Byte(2)), (b"", HeaderValue::Byte(3))]);
        let headers = Headers::parse(&bytes, &Limits::DEFAULT).expect("headers");
        assert_eq!(headers.find(b"name").map(|header| header.number), Some(2));
        assert_eq!(headers.find(b"").map(|header| header.number), Some(3));
        assert_eq!(headers.find(b"names"), None);
    }

    #[test]
    fn offsets_lead_from_header_to_header_and_wrong_ones_do_no_harm() {
        let bytes = section(&[(b"a", HeaderValue::String(b"text")), (b"b", HeaderValue::Bool(true))]);
        let headers = Headers::parse(&bytes, &Limits::DEFAULT).expect("headers");
        let (first, next) = headers.read_at(0).expect("the first");
        let (second, end) = headers.read_at(next).expect("the second");
        assert_eq!((first.name, second.name), (b"a".as_slice(), b"b".as_slice()));
        assert_eq!(headers.read_at(end), None);
        assert_eq!([0, 1, 2].map(|count| headers.offset_behind(0, count)), [Some(0), Some(next), Some(end)]);
        assert_eq!((headers.offset_behind(next, 1), headers.offset_behind(0, 3)), (Some(end), None));
        for offset in (0..=bytes.len() + 1).chain([usize::MAX]) {
            let _ = (headers.read_at(offset), headers.offset_behind(offset, 1));
        }
    }
}
