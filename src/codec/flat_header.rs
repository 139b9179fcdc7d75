use super::{Header, HeaderType, HeaderValue};

/// A header whose value is either a number or bytes, as C gets it. Reading this form directly takes half the time of reading
/// a [`Header`] and taking it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlatHeader<'a> {
    pub name: &'a [u8],
    pub header_type: HeaderType,
    /// The value of a boolean (0 or 1), a byte, an integer or a timestamp; otherwise 0.
    pub number: i64,
    /// The value of a byte_buf, a string or a UUID.
    pub data: Option<&'a [u8]>,
}

impl<'a> FlatHeader<'a> {
    /// Length of a string or byte_buf value, 0 for all other types.
    #[inline]
    pub(super) fn variable_len(&self) -> usize {
        self.data.filter(|_| self.header_type.has_length()).map_or(0, <[u8]>::len)
    }

    /// The header with a value of its own type; always `Some` for a header that was read from bytes.
    #[inline]
    pub fn header(&self) -> Option<Header<'a>> {
        let value = match self.header_type {
            HeaderType::BoolTrue => HeaderValue::Bool(true),
            HeaderType::BoolFalse => HeaderValue::Bool(false),
            HeaderType::Byte => HeaderValue::Byte(self.number as i8),
            HeaderType::Int16 => HeaderValue::Int16(self.number as i16),
            HeaderType::Int32 => HeaderValue::Int32(self.number as i32),
            HeaderType::Int64 => HeaderValue::Int64(self.number),
            HeaderType::Timestamp => HeaderValue::Timestamp(self.number),
            HeaderType::ByteBuf => HeaderValue::ByteBuf(self.data?),
            HeaderType::String => HeaderValue::String(self.data?),
            HeaderType::Uuid => HeaderValue::Uuid(self.data?.first_chunk()?),
        };
        Some(Header { name: self.name, value })
    }
}
