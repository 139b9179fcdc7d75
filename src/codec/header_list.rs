use super::{Error, Header, HeaderValue, Headers, Limits, MAX_NAME_LEN, MAX_SENT_VALUE_LEN, write_header};

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

    /// Adds a copy of a received header, which may have what [`HeaderList::add`] refuses; only the wire format and
    /// the total size of 24 MiB bound it. On an error nothing changes.
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

    pub fn get(&self, index: usize) -> Option<Header<'_>> {
        let offset = *self.offsets.get(index)?;
        self.as_headers().read_at(offset).map(|(header, _)| header)
    }

    /// Removes the header at `index`; false if there is none.
    pub fn remove_at(&mut self, index: usize) -> bool {
        if index >= self.len() {
            return false;
        }
        self.retain(|position, _| position != index);
        true
    }

    /// Removes every header of this name, without regard to ASCII case, and says how many there were.
    pub fn remove(&mut self, name: &[u8]) -> usize {
        let before = self.len();
        self.retain(|_, header| !header.name.eq_ignore_ascii_case(name));
        before - self.len()
    }

    /// Rewrites the list without the headers that `keep` rejects.
    fn retain(&mut self, keep: impl Fn(usize, &Header<'_>) -> bool) {
        let mut kept = HeaderList::new();
        for (position, header) in self.as_headers().iter().enumerate() {
            if keep(position, &header) {
                kept.offsets.push(kept.bytes.len());
                write_header(header.name, header.value, &mut kept.bytes);
            }
        }
        *self = kept;
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
    match std::str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::InvalidUtf8 { offset: error.valid_up_to() }),
    }
}
