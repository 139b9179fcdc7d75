use super::header::{self, Header};
use super::{Error, Limits};

/// A headers section that has been checked: walking it cannot fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    /// Exactly `count` whole headers of known types.
    section: &'a [u8],
    count: usize,
}

impl<'a> Headers<'a> {
    /// No headers.
    pub const EMPTY: Headers<'static> = Headers { section: &[], count: 0 };

    /// No headers.
    pub fn empty() -> Headers<'static> {
        Headers::EMPTY
    }

    /// Checks a whole headers section in one walk.
    pub fn parse(section: &'a [u8], limits: &Limits) -> Result<Headers<'a>, Error> {
        let mut rest = section;
        let mut count = 0;
        while !rest.is_empty() {
            if count >= limits.max_headers {
                return Err(Error::TooManyHeaders { limit: limits.max_headers });
            }
            let len = header::check(rest, count, limits.max_value_len)?;
            rest = rest.get(len..).unwrap_or_default();
            count += 1;
        }
        Ok(Headers { section, count })
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
        HeadersIter { rest: self.section, left: self.count }
    }

    /// The header of this name without regard to ASCII case; of repeated ones the last.
    pub fn find(&self, name: &[u8]) -> Option<Header<'a>> {
        self.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).last()
    }

    /// The header at `offset` (0, or a next offset that this function gave) and the next offset; none at the end.
    #[inline]
    pub fn read_at(&self, offset: usize) -> Option<(Header<'a>, usize)> {
        let (header, len) = header::read_whole(self.section.get(offset..)?)?;
        Some((header, offset + len))
    }
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
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = Header<'a>;

    #[inline]
    fn next(&mut self) -> Option<Header<'a>> {
        let (header, len) = header::read_whole(self.rest)?;
        self.rest = self.rest.get(len..)?;
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
    fn names_match_without_case_and_the_last_counts() {
        let bytes =
            section(&[(b"Name", HeaderValue::Byte(1)), (b"nAME", HeaderValue::Byte(2)), (b"", HeaderValue::Byte(3))]);
        let headers = Headers::parse(&bytes, &Limits::DEFAULT).expect("headers");
        assert_eq!(headers.find(b"name").map(|header| header.value), Some(HeaderValue::Byte(2)));
        assert_eq!(headers.find(b"").map(|header| header.value), Some(HeaderValue::Byte(3)));
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
        for offset in (0..=bytes.len() + 1).chain([usize::MAX]) {
            let _ = headers.read_at(offset);
        }
    }
}
