use super::{Error, FlatHeader, Header, HeaderType};

/// What can be said about a header from the bytes of it that are there.
pub(super) enum Parsed<'a> {
    /// The header and its length on the wire.
    Header(FlatHeader<'a>, usize),
    /// At least this many bytes of the header are needed before anything more can be decided.
    NeedBytes(usize),
}

/// Reads one header from `bytes`, the part of it that is there; `section_left` bytes remain of the headers section.
///
/// All decoders use this one function. It fails at the first byte at which failure is certain, however few bytes are there, so
/// that the result and the byte at which it comes do not depend on how the input is split.
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

/// Reads the header at `at` and returns where it ends, if all of it is in `bytes` and its type is known. Works with positions:
/// ever shorter slices, each with two ends, cost more instructions.
#[inline]
pub(super) fn read_flat(bytes: &[u8], at: usize) -> Option<(FlatHeader<'_>, usize)> {
    let (name, header_type, at) = read_name(bytes, at)?;
    let (number, data, end) = match header_type {
        HeaderType::BoolTrue => (1, None, at),
        HeaderType::BoolFalse => (0, None, at),
        HeaderType::Byte => (i8::from_be_bytes(*array_at(bytes, at)?).into(), None, at + 1),
        HeaderType::Int16 => (i16::from_be_bytes(*array_at(bytes, at)?).into(), None, at + 2),
        HeaderType::Int32 => (i32::from_be_bytes(*array_at(bytes, at)?).into(), None, at + 4),
        HeaderType::Int64 | HeaderType::Timestamp => (i64::from_be_bytes(*array_at(bytes, at)?), None, at + 8),
        HeaderType::ByteBuf | HeaderType::String => read_data(bytes, at).map(|(data, end)| (0, Some(data), end))?,
        HeaderType::Uuid => (0, Some(array_at::<16>(bytes, at)?.as_slice()), at + 16),
    };
    Some((FlatHeader { name, header_type, number, data }, end))
}

/// As [`read_flat`], with a value of the header's own type.
#[inline(always)]
pub(super) fn read_whole(bytes: &[u8], at: usize) -> Option<(Header<'_>, usize)> {
    let (flat, end) = read_flat(bytes, at)?;
    Some((flat.header()?, end))
}

/// The name and type of the header at `at`, and where its value, or the length of its value, begins.
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

/// The value whose length field is at `at`, and where the value ends.
#[inline]
pub(super) fn read_data(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let len = usize::from(u16::from_be_bytes(*array_at(bytes, at)?));
    let end = at + 2 + len;
    Some((bytes.get(at + 2..end)?, end))
}

/// Where the header at `at` ends, if its type is known and its value is not too long. The caller checks that this lies within
/// `bytes`.
#[inline]
pub(super) fn end_of(bytes: &[u8], at: usize, max_value_len: usize) -> Option<usize> {
    let name_len = usize::from(*bytes.get(at)?);
    let type_at = at + 1 + name_len;
    // Branches, not a table of lengths: with a table, the CPU could not start on a header before it is done with the last one.
    match HeaderType::from_wire(*bytes.get(type_at)?)? {
        HeaderType::Int32 => Some(type_at + 5),
        HeaderType::ByteBuf | HeaderType::String => {
            let len = usize::from(u16::from_be_bytes(*array_at(bytes, type_at + 1)?));
            (len <= max_value_len).then_some(type_at + 3 + len)
        }
        header_type => Some(type_at + 1 + header_type.fixed_len()),
    }
}

/// What is wrong with the header at the start of `section`, the rest of a headers section; otherwise its length.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{HeaderValue, write_header};

    #[test]
    fn a_header_is_read_as_it_was_written_if_it_is_all_there() {
        let values = [
            HeaderValue::Bool(true),
            HeaderValue::Bool(false),
            HeaderValue::Byte(-2),
            HeaderValue::Int16(-300),
            HeaderValue::Int32(i32::MIN),
            HeaderValue::Int64(i64::MIN),
            HeaderValue::ByteBuf(b"\x00\xff"),
            HeaderValue::String(b""),
            HeaderValue::Timestamp(-1),
            HeaderValue::Uuid(b"0123456789abcdef"),
        ];
        for value in values {
            let mut bytes = Vec::new();
            write_header(b"name", value, &mut bytes);
            let len = bytes.len();
            bytes.extend_from_slice(b"next");
            for end in 0..=bytes.len() {
                let expected = (end >= len).then_some((Header { name: b"name", value }, len));
                assert_eq!(read_whole(&bytes[..end], 0), expected, "{value:?}, {end} bytes");
                assert_eq!(read_flat(&bytes[..end], 0).is_some(), end >= len, "{value:?}, {end} bytes");
            }
        }
        assert_eq!(read_flat(b"\x01n\x0a", 0), None);
    }
}
