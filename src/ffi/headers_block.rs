//! Many headers at once: from an array, and to and from their form on the wire.

use std::slice;

use super::bytes::esrpc_bytes;
use super::failure::Failure;
use super::guard;
use super::handle::BoxHandle;
use super::headers::{esrpc_header, esrpc_headers};
use super::out::{check_out, write_out};
use super::status::{ESRPC_ERROR_BUFFER_TOO_SMALL, esrpc_status};
use crate::codec::{self, HeaderList, HeaderType, HeaderValue, Headers, Limits};

/// The value of the header at `index` of the caller's array.
///
/// # Safety
/// The header's bytes live during `'a`.
unsafe fn value_of<'a>(header: &esrpc_header, index: usize) -> Result<HeaderValue<'a>, Failure> {
    let number = header.number;
    let outside = || Failure::invalid_argument(format!("number of header {index} is {number}, too large for its type"));
    // SAFETY: what the caller promised.
    let bytes = || unsafe { header.bytes.as_slice("bytes of a header") };
    let known = u8::try_from(header.r#type).ok().and_then(HeaderType::from_wire);
    let Some(header_type) = known else {
        let detail = format!("type of header {index} is {}, not an ESRPC_HEADER_TYPE_ constant", header.r#type);
        return Err(Failure::invalid_argument(detail));
    };
    Ok(match header_type {
        HeaderType::BoolTrue => HeaderValue::Bool(true),
        HeaderType::BoolFalse => HeaderValue::Bool(false),
        HeaderType::Byte => HeaderValue::Byte(number.try_into().map_err(|_| outside())?),
        HeaderType::Int16 => HeaderValue::Int16(number.try_into().map_err(|_| outside())?),
        HeaderType::Int32 => HeaderValue::Int32(number.try_into().map_err(|_| outside())?),
        HeaderType::Int64 => HeaderValue::Int64(number),
        HeaderType::ByteBuf => HeaderValue::ByteBuf(bytes()?),
        HeaderType::String => HeaderValue::String(bytes()?),
        HeaderType::Timestamp => HeaderValue::Timestamp(number),
        HeaderType::Uuid => {
            let bytes = bytes()?;
            let uuid = bytes.try_into().map_err(|_| {
                Failure::invalid_argument(format!("header {index} is a UUID of {} bytes, not 16", bytes.len()))
            })?;
            HeaderValue::Uuid(uuid)
        }
    })
}

/// Adds several headers to a list at once, all or none: the reverse of esrpc_headers_get_range, for bindings in which
/// each call is expensive and for programs that keep headers in an array.
///
/// @param headers Modified.
/// @param added An array of count headers, copied; may be NULL if count is 0. Of each header, name, type, and either
/// number or bytes are used, depending on the type; booleans use neither.
/// @param count How many headers to add.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NAME_LENGTH if a name is not 1 to 255 bytes long;
/// ESRPC_ERROR_HEADER_VALUE_TOO_LONG beyond 32767 bytes; ESRPC_ERROR_INVALID_UTF8 if a name or the value of a string
/// is not UTF-8; ESRPC_ERROR_TOO_MANY_HEADERS beyond 1024 headers; ESRPC_ERROR_HEADERS_TOO_LARGE beyond 24 MiB;
/// ESRPC_ERROR_INVALID_STATE for the list of a message; ESRPC_ERROR_INVALID_ARGUMENT if headers is NULL, added is
/// NULL with a count other than 0, a type is not an ESRPC_HEADER_TYPE_ constant, a number does not fit its type, a
/// UUID is not 16 bytes long, or bytes are NULL with a length.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_add(
    headers: *mut esrpc_headers,
    added: *const esrpc_header,
    count: usize,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live; a builder has one user.
        let list = unsafe { esrpc_headers::builder_mut(headers) }?;
        if count == 0 {
            return Ok(());
        }
        check_out(added.cast_mut(), "added")?;
        let limit = Limits::DEFAULT.max_headers;
        if list.len().saturating_add(count) > limit {
            return Err(codec::Error::TooManyHeaders { limit }.into());
        }
        // Collected first: the bytes may lie in this very list, which moves when it grows.
        let mut collected = HeaderList::new();
        // SAFETY: the caller's array of `count` headers, of which there are few enough.
        for (index, header) in unsafe { slice::from_raw_parts(added, count) }.iter().enumerate() {
            // SAFETY: the caller's bytes stay unchanged during the call.
            let (name, value) = unsafe { (header.name.as_slice("name of a header")?, value_of(header, index)?) };
            collected.add(name, value)?;
        }
        list.add_copies(collected.as_headers(), |_| true)?;
        Ok(())
    })
}

/// Encodes a list as the headers of a message, without prelude and payload, for example to store, sign or compare a
/// header block.
///
/// @param headers Borrowed; NULL: none. The list of a message may be given.
/// @param buffer Receives the headers; may be NULL if capacity is 0, to learn the size. Must not overlap the list.
/// @param capacity The size of buffer in bytes.
/// @param out_len Receives the size of the headers, also if the buffer is too small for them.
/// @return ESRPC_OK; ESRPC_ERROR_BUFFER_TOO_SMALL if capacity is below the size of the headers;
/// ESRPC_ERROR_TOO_MANY_HEADERS beyond 1024 headers; ESRPC_ERROR_INVALID_ARGUMENT if out_len is NULL, or buffer is
/// NULL with a capacity other than 0.
///
/// Thread: any; headers: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_encode(
    headers: Option<&esrpc_headers>,
    buffer: *mut u8,
    capacity: usize,
    out_len: *mut usize,
) -> esrpc_status {
    guard::call(|| {
        let headers = esrpc_headers::optional(headers);
        check_out(out_len, "out_len")?;
        if capacity != 0 {
            check_out(buffer, "buffer")?;
        }
        let limit = Limits::DEFAULT.max_headers;
        if headers.len() > limit {
            return Err(codec::Error::TooManyHeaders { limit }.into());
        }
        let bytes = headers.as_bytes();
        // SAFETY: the caller's variable.
        unsafe { write_out(out_len, bytes.len(), "out_len") }?;
        if capacity < bytes.len() {
            let detail = format!("the headers take {} bytes, the capacity is {capacity}", bytes.len());
            return Err(Failure::new(ESRPC_ERROR_BUFFER_TOO_SMALL, detail));
        }
        if !bytes.is_empty() {
            // SAFETY: the buffer has room for `capacity` bytes, which is no less; a copy takes overlapping bytes as well.
            unsafe { std::ptr::copy(bytes.as_ptr(), buffer, bytes.len()) };
        }
        Ok(())
    })
}

/// Decodes the headers of a message: the reverse of esrpc_headers_encode.
///
/// @param data The headers and nothing else, copied; empty: an empty list.
/// @param out_headers Receives a new list, to be released with esrpc_headers_release. Received names and values are
/// kept as they are, as with esrpc_headers_add_from.
/// @return ESRPC_OK; ESRPC_ERROR_HEADERS_TOO_LARGE beyond 24 MiB; ESRPC_ERROR_TOO_MANY_HEADERS beyond 1024 headers,
/// ESRPC_ERROR_HEADER_OVERRUN if data ends inside a header, or ESRPC_ERROR_UNKNOWN_HEADER_TYPE, for the first defect;
/// ESRPC_ERROR_INVALID_ARGUMENT if out_headers is NULL, or data is NULL with a length other than 0.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_decode(data: esrpc_bytes, out_headers: *mut *mut esrpc_headers) -> esrpc_status {
    guard::call(|| {
        // SAFETY: the caller's bytes stay unchanged during the call.
        let data = unsafe { data.as_slice("data") }?;
        check_out(out_headers, "out_headers")?;
        let (len, limit) = (data.len(), Limits::DEFAULT.max_headers_len);
        if len > limit {
            return Err(codec::Error::HeadersTooLarge { len, limit }.into());
        }
        let mut list = HeaderList::new();
        list.add_copies(Headers::parse(data, &Limits::DEFAULT)?, |_| true)?;
        // SAFETY: the caller's variable.
        unsafe { write_out(out_headers, esrpc_headers::built(list).give(), "out_headers") }
    })
}
