use super::Error;
use super::flat_header::{FlatHeader, read_flat};

/// The type byte of a header on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HeaderType {
    BoolTrue = 0,
    BoolFalse,
    Byte,
    Int16,
    Int32,
    Int64,
    ByteBuf,
    String,
    Timestamp,
    Uuid,
}

impl HeaderType {
    /// The type with this number on the wire, or none.
    pub fn from_wire(number: u8) -> Option<HeaderType> {
        Some(match number {
            0 => HeaderType::BoolTrue,
            1 => HeaderType::BoolFalse,
            2 => HeaderType::Byte,
            3 => HeaderType::Int16,
            4 => HeaderType::Int32,
            5 => HeaderType::Int64,
            6 => HeaderType::ByteBuf,
            7 => HeaderType::String,
            8 => HeaderType::Timestamp,
            9 => HeaderType::Uuid,
            _ => return None,
        })
    }

    /// Bytes right after the type byte whose number the type alone decides: the value, or a value's length field.
    fn fixed_len(self) -> usize {
        const LENGTHS: [u8; 10] = [0, 0, 1, 2, 4, 8, 2, 2, 8, 16];
        usize::from(LENGTHS[self as usize])
    }

    /// Whether a length field of two bytes comes before the value.
    pub(super) fn has_length(self) -> bool {
        matches!(self, HeaderType::ByteBuf | HeaderType::String)
    }
}

/// The value of a header. Received strings are raw bytes: they need not be UTF-8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HeaderValue<'a> {
    Bool(bool),
    Byte(i8),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    ByteBuf(&'a [u8]),
    String(&'a [u8]),
    Timestamp(i64),
    Uuid(&'a [u8; 16]),
}

impl HeaderValue<'_> {
    /// The type that this value has on the wire.
    pub fn header_type(&self) -> HeaderType {
        match self {
            HeaderValue::Bool(true) => HeaderType::BoolTrue,
            HeaderValue::Bool(false) => HeaderType::BoolFalse,
            HeaderValue::Byte(_) => HeaderType::Byte,
            HeaderValue::Int16(_) => HeaderType::Int16,
            HeaderValue::Int32(_) => HeaderType::Int32,
            HeaderValue::Int64(_) => HeaderType::Int64,
            HeaderValue::ByteBuf(_) => HeaderType::ByteBuf,
            HeaderValue::String(_) => HeaderType::String,
            HeaderValue::Timestamp(_) => HeaderType::Timestamp,
            HeaderValue::Uuid(_) => HeaderType::Uuid,
        }
    }

    /// Length of a string or byte_buf value, 0 for all other types.
    pub(super) fn variable_len(&self) -> usize {
        match self {
            HeaderValue::ByteBuf(data) | HeaderValue::String(data) => data.len(),
            _ => 0,
        }
    }
}

/// One header: a name (raw bytes, as received) and a typed value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Header<'a> {
    pub name: &'a [u8],
    pub value: HeaderValue<'a>,
}

impl Header<'_> {
    /// Bytes that this header takes on the wire.
    pub fn wire_len(&self) -> usize {
        2 + self.name.len() + self.value.header_type().fixed_len() + self.value.variable_len()
    }
}

/// Appends the wire form of one header. Nothing is checked: the name has at most 255 bytes and the value at most 65,535.
pub fn write_header(name: &[u8], value: HeaderValue<'_>, out: &mut Vec<u8>) {
    out.reserve(Header { name, value }.wire_len());
    out.push(name.len() as u8);
    out.extend_from_slice(name);
    out.push(value.header_type() as u8);
    match value {
        HeaderValue::Bool(_) => {}
        HeaderValue::Byte(number) => out.extend_from_slice(&number.to_be_bytes()),
        HeaderValue::Int16(number) => out.extend_from_slice(&number.to_be_bytes()),
        HeaderValue::Int32(number) => out.extend_from_slice(&number.to_be_bytes()),
        HeaderValue::Int64(number) | HeaderValue::Timestamp(number) => out.extend_from_slice(&number.to_be_bytes()),
        HeaderValue::ByteBuf(data) | HeaderValue::String(data) => {
            out.extend_from_slice(&(data.len() as u16).to_be_bytes());
            out.extend_from_slice(data);
        }
        HeaderValue::Uuid(uuid) => out.extend_from_slice(uuid),
    }
}

/// What the first bytes of a header say.
pub(super) enum Parsed<'a> {
    /// The header and its length on the wire.
    Header(FlatHeader<'a>, usize),
    /// So many bytes of this header must be there before anything more can be decided.
    NeedBytes(usize),
}

/// Reads one header from `bytes`, the part of it that is there; `section_left` bytes remain of the headers section.
///
/// All decoders use this one function. It fails at the first byte at which failure is certain, however few bytes
/// are there, so that every split of the input gives the same answer at the same byte.
#[inline]
pub(super) fn parse(
    bytes: &[u8],
    section_left: usize,
    index: usize,
    max_value_len: usize,
) -> Result<Parsed<'_>, Error> {
    let there = bytes.get(..section_left).unwrap_or(bytes);
    match read_flat(there, 0) {
        Some((header, len)) if header.variable_len() <= max_value_len => Ok(Parsed::Header(header, len)),
        _ => why_not_whole(there, section_left, index, max_value_len).map(Parsed::NeedBytes),
    }
}

/// Reads the header at `at`, if it lies whole in `bytes` and has a known type, and answers where it ends.
#[inline(always)]
pub(super) fn read_whole(bytes: &[u8], at: usize) -> Option<(Header<'_>, usize)> {
    let (flat, end) = read_flat(bytes, at)?;
    Some((flat.header()?, end))
}

/// The name and type of the header at `at`, and where its value or that one's length begins.
#[inline]
pub(super) fn read_name(bytes: &[u8], at: usize) -> Option<(&[u8], HeaderType, usize)> {
    let name_len = usize::from(*bytes.get(at)?);
    let type_at = at + 1 + name_len;
    let header_type = HeaderType::from_wire(*bytes.get(type_at)?)?;
    Some((bytes.get(at + 1..type_at)?, header_type, type_at + 1))
}

#[inline]
pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk()
}

/// The value whose length is at `at`, and where it ends.
#[inline]
pub(super) fn read_data(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let len = usize::from(u16::from_be_bytes(*array_at(bytes, at)?));
    let end = at + 2 + len;
    Some((bytes.get(at + 2..end)?, end))
}

/// The end of the header at `at`, which must have a known type and a value of an accepted length. That it lies in `bytes`
/// is for the caller to see.
#[inline]
pub(super) fn end_of(bytes: &[u8], at: usize, max_value_len: usize) -> Option<usize> {
    let name_len = usize::from(*bytes.get(at)?);
    let type_at = at + 1 + name_len;
    // A branch for the most frequent types: a table of lengths would make each header wait for the one before it.
    match HeaderType::from_wire(*bytes.get(type_at)?)? {
        HeaderType::Int32 => Some(type_at + 5),
        HeaderType::ByteBuf | HeaderType::String => {
            let len = usize::from(u16::from_be_bytes(*array_at(bytes, type_at + 1)?));
            (len <= max_value_len).then_some(type_at + 3 + len)
        }
        header_type => Some(type_at + 1 + header_type.fixed_len()),
    }
}

/// What is wrong with the header at the start of the rest of a section, if anything is; otherwise its length.
#[cold]
pub(super) fn check(section: &[u8], index: usize, max_value_len: usize) -> Result<usize, Error> {
    why_not_whole(section, section.len(), index, max_value_len)
}

/// What is wrong with a header that could not be read, or how many of its bytes are needed.
#[cold]
fn why_not_whole(bytes: &[u8], section_left: usize, index: usize, max_value_len: usize) -> Result<usize, Error> {
    let overrun = Error::HeaderOverrun { index };
    let Some(&name_len) = bytes.first() else { return Ok(1) };
    let type_at = 1 + usize::from(name_len);
    if type_at + 1 > section_left {
        return Err(overrun);
    }
    let Some(&type_number) = bytes.get(type_at) else { return Ok(type_at + 1) };
    let Some(header_type) = HeaderType::from_wire(type_number) else {
        return Err(Error::UnknownHeaderType { index, header_type: type_number });
    };
    let fixed_end = type_at + 1 + header_type.fixed_len();
    if fixed_end > section_left {
        return Err(overrun);
    }
    let len = match bytes.get(type_at + 1..).and_then(<[u8]>::first_chunk) {
        Some(len) if header_type.has_length() => usize::from(u16::from_be_bytes(*len)),
        _ => 0,
    };
    if fixed_end + len > section_left {
        return Err(overrun);
    }
    if len > max_value_len {
        return Err(Error::HeaderValueTooLong { len, limit: max_value_len });
    }
    Ok(fixed_end + len)
}
