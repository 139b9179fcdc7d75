use super::header::{self, Header, Parsed};
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
            rest = match header::parse(rest, rest.len(), count, limits.max_value_len)? {
                Parsed::Header(_, len) => rest.get(len..).unwrap_or_default(),
                // Cannot happen: what does not fit the section is an overrun, and the section is all there.
                Parsed::NeedBytes(_) => return Err(Error::HeaderOverrun { index: count }),
            };
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
    pub fn read_at(&self, offset: usize) -> Option<(Header<'a>, usize)> {
        let (header, len) = read(self.section.get(offset..)?)?;
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

    fn next(&mut self) -> Option<Header<'a>> {
        let (header, len) = read(self.rest)?;
        self.rest = self.rest.get(len..)?;
        self.left = self.left.saturating_sub(1);
        Some(header)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for HeadersIter<'_> {}

/// One header of a section whose limits were checked before.
fn read(bytes: &[u8]) -> Option<(Header<'_>, usize)> {
    match header::parse(bytes, bytes.len(), 0, usize::MAX) {
        Ok(Parsed::Header(header, len)) => Some((header, len)),
        _ => None,
    }
}
