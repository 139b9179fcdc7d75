use super::Error;

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
        match self {
            HeaderType::BoolTrue | HeaderType::BoolFalse => 0,
            HeaderType::Byte => 1,
            HeaderType::Int16 | HeaderType::ByteBuf | HeaderType::String => 2,
            HeaderType::Int32 => 4,
            HeaderType::Int64 | HeaderType::Timestamp => 8,
            HeaderType::Uuid => 16,
        }
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
    Header(Header<'a>, usize),
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
    let overrun = Error::HeaderOverrun { index };

    let Some((&name_len, rest)) = bytes.split_first() else { return Ok(Parsed::NeedBytes(1)) };
    let type_end = 1 + usize::from(name_len) + 1;
    if type_end > section_left {
        return Err(overrun);
    }
    let Some((name, rest)) = rest.split_at_checked(usize::from(name_len)) else {
        return Ok(Parsed::NeedBytes(type_end));
    };
    let Some((&type_number, rest)) = rest.split_first() else { return Ok(Parsed::NeedBytes(type_end)) };
    let Some(header_type) = HeaderType::from_wire(type_number) else {
        return Err(Error::UnknownHeaderType { index, header_type: type_number });
    };
    let fixed_end = type_end + header_type.fixed_len();
    if fixed_end > section_left {
        return Err(overrun);
    }

    let fixed = match header_type {
        HeaderType::BoolTrue => Some(HeaderValue::Bool(true)),
        HeaderType::BoolFalse => Some(HeaderValue::Bool(false)),
        HeaderType::Byte => rest.first_chunk().map(|chunk| HeaderValue::Byte(i8::from_be_bytes(*chunk))),
        HeaderType::Int16 => rest.first_chunk().map(|chunk| HeaderValue::Int16(i16::from_be_bytes(*chunk))),
        HeaderType::Int32 => rest.first_chunk().map(|chunk| HeaderValue::Int32(i32::from_be_bytes(*chunk))),
        HeaderType::Int64 => rest.first_chunk().map(|chunk| HeaderValue::Int64(i64::from_be_bytes(*chunk))),
        HeaderType::Timestamp => rest.first_chunk().map(|chunk| HeaderValue::Timestamp(i64::from_be_bytes(*chunk))),
        HeaderType::Uuid => rest.first_chunk().map(HeaderValue::Uuid),
        HeaderType::ByteBuf | HeaderType::String => {
            let Some((len, rest)) = rest.split_first_chunk() else { return Ok(Parsed::NeedBytes(fixed_end)) };
            let len = usize::from(u16::from_be_bytes(*len));
            let value_end = fixed_end + len;
            if value_end > section_left {
                return Err(overrun);
            }
            if len > max_value_len {
                return Err(Error::HeaderValueTooLong { len, limit: max_value_len });
            }
            let Some(data) = rest.get(..len) else { return Ok(Parsed::NeedBytes(value_end)) };
            let value = match header_type {
                HeaderType::ByteBuf => HeaderValue::ByteBuf(data),
                _ => HeaderValue::String(data),
            };
            return Ok(Parsed::Header(Header { name, value }, value_end));
        }
    };
    Ok(match fixed {
        Some(value) => Parsed::Header(Header { name, value }, fixed_end),
        None => Parsed::NeedBytes(fixed_end),
    })
}
