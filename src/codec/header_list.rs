use super::{
    Error, FlatHeader, Header, HeaderValue, Headers, Limits, MAX_NAME_LEN, MAX_SENT_VALUE_LEN, append_bytes,
    is_same_name, write_header,
};

/// A list of headers under construction. It keeps their wire form, so that encoding a message copies it once.
#[derive(Clone, Debug, Default)]
pub struct HeaderList {
    /// Whole headers, one after the other.
    bytes: Vec<u8>,
    /// Where each header starts in `bytes`.
    offsets: Vec<usize>,
}

impl HeaderList {
    pub fn new() -> HeaderList {
        HeaderList::default()
    }

    /// Adds a header that peers accept: a UTF-8 name of 1 to 255 bytes, a value of at most 32,767 bytes, strings
    /// UTF-8, at most 1024 headers in 24 MiB. On an error nothing changes.
    pub fn add(&mut self, name: &[u8], value: HeaderValue<'_>) -> Result<(), Error> {
        if name.is_empty() || name.len() > MAX_NAME_LEN {
            return Err(Error::HeaderNameLength { len: name.len() });
        }
        check_utf8(name)?;
        let value_len = value.variable_len();
        if value_len > MAX_SENT_VALUE_LEN {
            return Err(Error::HeaderValueTooLong { len: value_len, limit: MAX_SENT_VALUE_LEN });
        }
        if let HeaderValue::String(text) = value {
            check_utf8(text)?;
        }
        if self.len() >= Limits::DEFAULT.max_headers {
            return Err(Error::TooManyHeaders { limit: Limits::DEFAULT.max_headers });
        }
        self.append(&Header { name, value })
    }

    /// Adds a copy of a received header. Unlike [`HeaderList::add`] it accepts whatever the wire format allows, up to 24 MiB in
    /// total. On an error nothing changes.
    pub fn add_unchecked_copy(&mut self, header: &Header<'_>) -> Result<(), Error> {
        if header.name.len() > MAX_NAME_LEN {
            return Err(Error::HeaderNameLength { len: header.name.len() });
        }
        let value_len = header.value.variable_len();
        if value_len > Limits::DEFAULT.max_value_len {
            return Err(Error::HeaderValueTooLong { len: value_len, limit: Limits::DEFAULT.max_value_len });
        }
        self.append(header)
    }

    fn append(&mut self, header: &Header<'_>) -> Result<(), Error> {
        let limit = Limits::DEFAULT.max_headers_len;
        let len = self.bytes.len() + header.wire_len();
        if len > limit {
            return Err(Error::HeadersTooLarge { len, limit });
        }
        self.offsets.push(self.bytes.len());
        write_header(header.name, header.value, &mut self.bytes);
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    pub fn get(&self, index: usize) -> Option<FlatHeader<'_>> {
        self.as_headers().read_at(self.offset_of(index)?).map(|(header, _)| header)
    }

    /// Where the header at `index` starts in the wire form, for [`Headers::read_at`].
    pub fn offset_of(&self, index: usize) -> Option<usize> {
        self.offsets.get(index).copied()
    }

    /// Adds a copy of each of `headers` whose name `wanted` accepts: whatever the wire format allows, up to 24 MiB in total. On an
    /// error nothing changes.
    pub fn add_copies(&mut self, headers: Headers<'_>, mut wanted: impl FnMut(&[u8]) -> bool) -> Result<(), Error> {
        let before = self.len();
        let (section, limit) = (headers.as_bytes(), Limits::DEFAULT.max_headers_len);
        // Wanted headers are copied in runs as long as possible; the current run begins at `run`.
        let (mut at, mut run) = (0, 0);
        while let Some((name, end)) = headers.name_at(at) {
            if wanted(name) {
                let start = self.bytes.len() + at - run;
                let len = start + end - at;
                if len > limit {
                    self.truncate(before);
                    return Err(Error::HeadersTooLarge { len, limit });
                }
                self.offsets.push(start);
            } else {
                append_bytes(&mut self.bytes, section.get(run..at).unwrap_or_default());
                run = end;
            }
            at = end;
        }
        append_bytes(&mut self.bytes, section.get(run..at).unwrap_or_default());
        Ok(())
    }

    /// Removes the header at `index`; false if there is none.
    pub fn remove_at(&mut self, index: usize) -> bool {
        let Some((start, end)) = self.range_of(index) else { return false };
        self.bytes.drain(start..end);
        self.offsets.remove(index);
        self.offsets.iter_mut().skip(index).for_each(|offset| *offset -= end - start);
        true
    }

    /// Removes every header of this name, without regard to ASCII case, and says how many there were.
    pub fn remove(&mut self, name: &[u8]) -> usize {
        let before = self.len();
        // The headers that are kept move down, each of them once.
        let (mut kept, mut kept_len) = (0, 0);
        for index in 0..before {
            let Some((start, end)) = self.range_of(index) else { break };
            if self.as_headers().name_at(start).is_some_and(|(found, _)| is_same_name(found, name)) {
                continue;
            }
            if kept < index {
                self.bytes.copy_within(start..end, kept_len);
                if let Some(offset) = self.offsets.get_mut(kept) {
                    *offset = kept_len;
                }
            }
            kept += 1;
            kept_len += end - start;
        }
        self.offsets.truncate(kept);
        self.bytes.truncate(kept_len);
        before - kept
    }

    /// Removes all headers but the first `len`.
    pub fn truncate(&mut self, len: usize) {
        if let Some(end) = self.offset_of(len) {
            self.offsets.truncate(len);
            self.bytes.truncate(end);
        }
    }

    /// Where the header at `index` starts and ends.
    fn range_of(&self, index: usize) -> Option<(usize, usize)> {
        Some((self.offset_of(index)?, self.offset_of(index + 1).unwrap_or(self.bytes.len())))
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.offsets.clear();
    }

    /// A view of all headers, for reading and for [`super::Message`].
    pub fn as_headers(&self) -> Headers<'_> {
        Headers::from_checked(&self.bytes, self.offsets.len())
    }

    /// The wire form of all headers: a message's headers section.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn check_utf8(text: &[u8]) -> Result<(), Error> {
    // Short names and values usually are, and this check is faster.
    if text.is_ascii() {
        return Ok(());
    }
    match std::str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::InvalidUtf8 { offset: error.valid_up_to() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: HeaderValue<'_> = HeaderValue::Byte(1);

    /// The result of an add, after checking that a failed one changed nothing.
    fn add(list: &mut HeaderList, name: &[u8], value: HeaderValue<'_>) -> Result<(), Error> {
        let before = list.as_bytes().to_vec();
        let added = list.add(name, value);
        if added.is_err() {
            assert_eq!(list.as_bytes(), before);
            assert_eq!(list.as_headers().iter().count(), list.len());
        }
        added
    }

    fn names(list: &HeaderList) -> Vec<&[u8]> {
        (0..list.len()).map(|index| list.get(index).expect("a header").name).collect()
    }

    #[test]
    fn names_have_1_to_255_bytes() {
        let mut list = HeaderList::new();
        assert_eq!(add(&mut list, b"", VALUE), Err(Error::HeaderNameLength { len: 0 }));
        assert_eq!(add(&mut list, b"n", VALUE), Ok(()));
        assert_eq!(add(&mut list, &[b'n'; 255], VALUE), Ok(()));
        assert_eq!(add(&mut list, &[b'n'; 256], VALUE), Err(Error::HeaderNameLength { len: 256 }));
    }

    #[test]
    fn values_have_up_to_32767_bytes() {
        let mut list = HeaderList::new();
        for value in [HeaderValue::String, HeaderValue::ByteBuf] {
            assert_eq!(add(&mut list, b"n", value(&[b'v'; 32_767])), Ok(()));
            let too_long = Error::HeaderValueTooLong { len: 32_768, limit: 32_767 };
            assert_eq!(add(&mut list, b"n", value(&[b'v'; 32_768])), Err(too_long));
        }
    }

    #[test]
    fn names_and_strings_are_utf8_and_byte_buffers_need_not_be() {
        let mut list = HeaderList::new();
        assert_eq!(add(&mut list, b"ab\xff", VALUE), Err(Error::InvalidUtf8 { offset: 2 }));
        assert_eq!(add(&mut list, b"n", HeaderValue::String(b"\xc3")), Err(Error::InvalidUtf8 { offset: 0 }));
        assert_eq!(add(&mut list, b"n", HeaderValue::String("\u{e4}\0".as_bytes())), Ok(()));
        assert_eq!(add(&mut list, b"n", HeaderValue::ByteBuf(b"\xff")), Ok(()));
    }

    #[test]
    fn a_list_takes_1024_headers_of_its_own_and_any_number_of_copies() {
        let mut list = HeaderList::new();
        for _ in 0..1024 {
            assert_eq!(list.add(b"n", VALUE), Ok(()));
        }
        assert_eq!(add(&mut list, b"n", VALUE), Err(Error::TooManyHeaders { limit: 1024 }));
        assert_eq!(list.add_unchecked_copy(&Header { name: b"", value: VALUE }), Ok(()));
        assert_eq!(list.len(), 1025);
    }

    #[test]
    fn a_list_holds_24_mebibytes() {
        const LIMIT: usize = 24 * 1024 * 1024;
        let data = vec![b'v'; 32_000];
        let mut list = HeaderList::new();
        let large = Header { name: b"n", value: HeaderValue::String(&data) };
        while list.as_bytes().len() + large.wire_len() <= LIMIT {
            assert_eq!(list.add_unchecked_copy(&large), Ok(()));
        }
        let room = LIMIT - list.as_bytes().len();
        assert!(room > 5, "the last header needs room for an empty value");
        let too_large = Error::HeadersTooLarge { len: LIMIT + 1, limit: LIMIT };
        assert_eq!(add(&mut list, b"nn", HeaderValue::ByteBuf(&data[..room - 5])), Err(too_large.clone()));
        let longer = Header { name: b"n", value: HeaderValue::ByteBuf(&data[..room - 4]) };
        assert_eq!(list.add_unchecked_copy(&longer), Err(too_large));
        assert_eq!(add(&mut list, b"n", HeaderValue::ByteBuf(&data[..room - 5])), Ok(()));
        assert_eq!(list.as_bytes().len(), LIMIT);
    }

    #[test]
    fn copies_are_bound_only_by_what_the_wire_can_say() {
        let mut list = HeaderList::new();
        let long = vec![0xff; 65_536];
        let copy = |list: &mut HeaderList, name, value| list.add_unchecked_copy(&Header { name, value });
        assert_eq!(copy(&mut list, &long[..255], HeaderValue::String(&long[..65_535])), Ok(()));
        assert!(copy(&mut list, &long[..256], VALUE).is_err());
        assert!(copy(&mut list, b"n", HeaderValue::ByteBuf(&long)).is_err());
        assert_eq!(list.as_headers().iter().count(), 1);
    }

    #[test]
    fn copies_of_a_list_are_all_of_those_that_are_wanted_or_none() {
        let mut source = HeaderList::new();
        for name in [&b":a"[..], b"b", b"c", b":d", b":e", b"f", b":g"] {
            source.add(name, HeaderValue::ByteBuf(&[b'v'; 5000])).expect("a header");
        }
        let mut list = HeaderList::new();
        list.add(b"first", VALUE).expect("a header");
        assert_eq!(list.add_copies(source.as_headers(), |name| !name.starts_with(b":")), Ok(()));
        assert_eq!(names(&list), [&b"first"[..], b"b", b"c", b"f"]);
        assert_eq!(list.add_copies(source.as_headers(), |name| name.starts_with(b":")), Ok(()));
        assert_eq!(names(&list)[4..], [&b":a"[..], b":d", b":e", b":g"]);
        assert_eq!(list.add_copies(source.as_headers(), |_| false), Ok(()));
        assert_eq!(list.add_copies(Headers::EMPTY, |_| true), Ok(()));
        let expected = Headers::parse(list.as_bytes(), &Limits::DEFAULT).expect("whole headers");
        assert_eq!(expected, list.as_headers());
        assert_eq!(list.get(7).and_then(|header| header.data), Some(&[b'v'; 5000][..]));

        // Doubled until it is too large.
        let (outcome, len) = loop {
            let (copy, len) = (list.clone(), list.len());
            let outcome = list.add_copies(copy.as_headers(), |_| true);
            assert_eq!(list.as_headers().iter().count(), list.len());
            if outcome.is_err() {
                break (outcome, len);
            }
        };
        assert!(matches!(outcome, Err(Error::HeadersTooLarge { len, limit: 0x0180_0000 }) if len < 0x0180_0000 + 6000));
        assert_eq!(list.len(), len);
        list.add(b"last", VALUE).expect_err("more headers than a list of one's own takes");
        list.truncate(3);
        list.add(b"last", VALUE).expect("room");
        assert_eq!(names(&list), [&b"first"[..], b"b", b"c", b"last"]);
        list.truncate(4);
        assert_eq!(list.len(), 4);
    }

    #[test]
    fn headers_are_removed_by_place_or_by_name_without_case() {
        let mut list = HeaderList::new();
        for name in ["a", "B", "c", "b", "d"] {
            list.add(name.as_bytes(), HeaderValue::String(name.as_bytes())).expect("a header");
        }
        assert_eq!(list.remove(b"b"), 2);
        assert_eq!(list.remove(b"b"), 0);
        assert_eq!(names(&list), [b"a", b"c", b"d"]);
        assert!(list.remove_at(1));
        assert!(!list.remove_at(2));
        assert_eq!(names(&list), [b"a", b"d"]);
        assert_eq!(list.get(2), None);

        list.add(b"e", VALUE).expect("a header");
        assert_eq!(list.get(2).and_then(|header| header.header()), Some(Header { name: b"e", value: VALUE }));
        list.clear();
        assert!(list.is_empty() && list.as_bytes().is_empty() && list.get(0).is_none());
    }
}
