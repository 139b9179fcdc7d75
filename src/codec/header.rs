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
    /// The type with this number on the wire, if there is one.
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

    /// How many bytes after the type byte are given by the type alone: the value, or the length field of the value.
    pub(super) fn fixed_len(self) -> usize {
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
    /// How many bytes this header takes on the wire.
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
