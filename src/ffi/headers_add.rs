//! Filling a header list.

use super::boolean::esrpc_bool;
use super::bytes::esrpc_bytes;
use super::failure::Failure;
use super::guard;
use super::handle::BoxHandle;
use super::headers::{esrpc_headers, lies_in};
use super::status::esrpc_status;
use crate::codec::{self, HeaderValue};
use crate::rpc::is_protocol_header;

/// Adds one header.
///
/// # Safety
/// `headers` is NULL or a live list with one user; `name` and what `value` borrows live during the call.
unsafe fn add(headers: *mut esrpc_headers, name: esrpc_bytes, value: HeaderValue<'_>) -> Result<(), Failure> {
    // SAFETY: what the caller promised.
    let (list, name) = unsafe { (esrpc_headers::builder_mut(headers)?, name.as_slice("name")?) };
    let value_bytes: &[u8] = match value {
        HeaderValue::ByteBuf(bytes) | HeaderValue::String(bytes) => bytes,
        HeaderValue::Uuid(bytes) => bytes,
        _ => &[],
    };
    if lies_in(name, list.as_bytes()) || lies_in(value_bytes, list.as_bytes()) {
        // The caller adds what it has read from this very list, whose bytes move when it grows.
        let (name, bytes) = (name.to_vec(), value_bytes.to_vec());
        let value = match value {
            HeaderValue::ByteBuf(_) => HeaderValue::ByteBuf(&bytes),
            HeaderValue::String(_) => HeaderValue::String(&bytes),
            HeaderValue::Uuid(uuid) => HeaderValue::Uuid(bytes.first_chunk().unwrap_or(uuid)),
            number => number,
        };
        list.add(&name, value)?;
    } else {
        list.add(name, value)?;
    }
    Ok(())
}

/// The 16 bytes of a UUID that C points to.
///
/// # Safety
/// `uuid` is NULL or points to 16 bytes that live during `'a`.
pub(super) unsafe fn uuid_at<'a>(uuid: *const u8) -> Result<&'a [u8; 16], Failure> {
    // SAFETY: what the caller promised.
    unsafe { uuid.cast::<[u8; 16]>().as_ref() }.ok_or_else(|| Failure::null("uuid"))
}

/// Adds a boolean to a list.
///
/// @param headers Modified.
/// @param name The header's name, UTF-8, 1 to 255 bytes; copied.
/// @param value The boolean.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NAME_LENGTH if name is not 1 to 255 bytes long; ESRPC_ERROR_INVALID_UTF8 if
/// name is not UTF-8; ESRPC_ERROR_TOO_MANY_HEADERS beyond 1024 headers; ESRPC_ERROR_HEADERS_TOO_LARGE beyond 24 MiB;
/// ESRPC_ERROR_INVALID_STATE for the list of a message; ESRPC_ERROR_INVALID_ARGUMENT if headers is NULL, or name is
/// NULL with a length other than 0.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_add_bool(
    headers: *mut esrpc_headers,
    name: esrpc_bytes,
    value: esrpc_bool,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, all of them; a builder has one user.
        unsafe { add(headers, name, HeaderValue::Bool(value.is_true())) }
    })
}

/// Adds an 8-bit signed integer to a list.
///
/// @param headers Modified.
/// @param name The header's name, UTF-8, 1 to 255 bytes; copied.
/// @param value The number.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NAME_LENGTH if name is not 1 to 255 bytes long; ESRPC_ERROR_INVALID_UTF8 if
/// name is not UTF-8; ESRPC_ERROR_TOO_MANY_HEADERS beyond 1024 headers; ESRPC_ERROR_HEADERS_TOO_LARGE beyond 24 MiB;
/// ESRPC_ERROR_INVALID_STATE for the list of a message; ESRPC_ERROR_INVALID_ARGUMENT if headers is NULL, or name is
/// NULL with a length other than 0.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_add_byte(
    headers: *mut esrpc_headers,
    name: esrpc_bytes,
    value: i8,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, all of them; a builder has one user.
        unsafe { add(headers, name, HeaderValue::Byte(value)) }
    })
}

/// Adds a 16-bit signed integer to a list.
///
/// @param headers Modified.
/// @param name The header's name, UTF-8, 1 to 255 bytes; copied.
/// @param value The number.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NAME_LENGTH if name is not 1 to 255 bytes long; ESRPC_ERROR_INVALID_UTF8 if
/// name is not UTF-8; ESRPC_ERROR_TOO_MANY_HEADERS beyond 1024 headers; ESRPC_ERROR_HEADERS_TOO_LARGE beyond 24 MiB;
/// ESRPC_ERROR_INVALID_STATE for the list of a message; ESRPC_ERROR_INVALID_ARGUMENT if headers is NULL, or name is
/// NULL with a length other than 0.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_add_int16(
    headers: *mut esrpc_headers,
    name: esrpc_bytes,
    value: i16,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, all of them; a builder has one user.
        unsafe { add(headers, name, HeaderValue::Int16(value)) }
    })
}

/// Adds a 32-bit signed integer to a list.
///
/// @param headers Modified.
/// @param name The header's name, UTF-8, 1 to 255 bytes; copied.
/// @param value The number.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NAME_LENGTH if name is not 1 to 255 bytes long; ESRPC_ERROR_INVALID_UTF8 if
/// name is not UTF-8; ESRPC_ERROR_TOO_MANY_HEADERS beyond 1024 headers; ESRPC_ERROR_HEADERS_TOO_LARGE beyond 24 MiB;
/// ESRPC_ERROR_INVALID_STATE for the list of a message; ESRPC_ERROR_INVALID_ARGUMENT if headers is NULL, or name is
/// NULL with a length other than 0.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_add_int32(
    headers: *mut esrpc_headers,
    name: esrpc_bytes,
    value: i32,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, all of them; a builder has one user.
        unsafe { add(headers, name, HeaderValue::Int32(value)) }
    })
}

/// Adds a 64-bit signed integer to a list.
///
/// @param headers Modified.
/// @param name The header's name, UTF-8, 1 to 255 bytes; copied.
/// @param value The number.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NAME_LENGTH if name is not 1 to 255 bytes long; ESRPC_ERROR_INVALID_UTF8 if
/// name is not UTF-8; ESRPC_ERROR_TOO_MANY_HEADERS beyond 1024 headers; ESRPC_ERROR_HEADERS_TOO_LARGE beyond 24 MiB;
/// ESRPC_ERROR_INVALID_STATE for the list of a message; ESRPC_ERROR_INVALID_ARGUMENT if headers is NULL, or name is
/// NULL with a length other than 0.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_add_int64(
    headers: *mut esrpc_headers,
    name: esrpc_bytes,
    value: i64,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, all of them; a builder has one user.
        unsafe { add(headers, name, HeaderValue::Int64(value)) }
    })
}

/// Adds a timestamp to a list.
///
/// @param headers Modified.
/// @param name The header's name, UTF-8, 1 to 255 bytes; copied.
/// @param value The number, which is sent as given: by convention milliseconds since 1970-01-01 UTC.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NAME_LENGTH if name is not 1 to 255 bytes long; ESRPC_ERROR_INVALID_UTF8 if
/// name is not UTF-8; ESRPC_ERROR_TOO_MANY_HEADERS beyond 1024 headers; ESRPC_ERROR_HEADERS_TOO_LARGE beyond 24 MiB;
/// ESRPC_ERROR_INVALID_STATE for the list of a message; ESRPC_ERROR_INVALID_ARGUMENT if headers is NULL, or name is
/// NULL with a length other than 0.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_add_timestamp(
    headers: *mut esrpc_headers,
    name: esrpc_bytes,
    value: i64,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, all of them; a builder has one user.
        unsafe { add(headers, name, HeaderValue::Timestamp(value)) }
    })
}

/// Adds bytes to a list.
///
/// @param headers Modified.
/// @param name The header's name, UTF-8, 1 to 255 bytes; copied.
/// @param value The bytes, at most 32767; copied.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NAME_LENGTH if name is not 1 to 255 bytes long; ESRPC_ERROR_INVALID_UTF8 if
/// name is not UTF-8; ESRPC_ERROR_HEADER_VALUE_TOO_LONG beyond 32767 bytes; ESRPC_ERROR_TOO_MANY_HEADERS beyond 1024
/// headers; ESRPC_ERROR_HEADERS_TOO_LARGE beyond 24 MiB; ESRPC_ERROR_INVALID_STATE for the list of a message;
/// ESRPC_ERROR_INVALID_ARGUMENT if headers is NULL, or name or value is NULL with a length other than 0.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_add_byte_buf(
    headers: *mut esrpc_headers,
    name: esrpc_bytes,
    value: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, all of them; a builder has one user.
        unsafe { add(headers, name, HeaderValue::ByteBuf(value.as_slice("value")?)) }
    })
}

/// Adds text to a list.
///
/// @param headers Modified.
/// @param name The header's name, UTF-8, 1 to 255 bytes; copied.
/// @param value The text, UTF-8, at most 32767 bytes; copied.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NAME_LENGTH if name is not 1 to 255 bytes long; ESRPC_ERROR_INVALID_UTF8 if
/// name or value is not UTF-8; ESRPC_ERROR_HEADER_VALUE_TOO_LONG beyond 32767 bytes; ESRPC_ERROR_TOO_MANY_HEADERS
/// beyond 1024 headers; ESRPC_ERROR_HEADERS_TOO_LARGE beyond 24 MiB; ESRPC_ERROR_INVALID_STATE for the list of a
/// message; ESRPC_ERROR_INVALID_ARGUMENT if headers is NULL, or name or value is NULL with a length other than 0.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_add_string(
    headers: *mut esrpc_headers,
    name: esrpc_bytes,
    value: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, all of them; a builder has one user.
        unsafe { add(headers, name, HeaderValue::String(value.as_slice("value")?)) }
    })
}

/// Adds a UUID to a list.
///
/// @param headers Modified.
/// @param name The header's name, UTF-8, 1 to 255 bytes; copied.
/// @param uuid The 16 bytes of the UUID; copied.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NAME_LENGTH if name is not 1 to 255 bytes long; ESRPC_ERROR_INVALID_UTF8 if
/// name is not UTF-8; ESRPC_ERROR_TOO_MANY_HEADERS beyond 1024 headers; ESRPC_ERROR_HEADERS_TOO_LARGE beyond 24 MiB;
/// ESRPC_ERROR_INVALID_STATE for the list of a message; ESRPC_ERROR_INVALID_ARGUMENT if headers or uuid is NULL, or
/// name is NULL with a length other than 0.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_add_uuid(
    headers: *mut esrpc_headers,
    name: esrpc_bytes,
    uuid: *const u8,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live, all of them; a builder has one user.
        unsafe { add(headers, name, HeaderValue::Uuid(uuid_at(uuid)?)) }
    })
}

/// Adds a UUID given as text to a list, which keeps the 16 bytes.
///
/// @param headers Modified.
/// @param name The header's name, UTF-8, 1 to 255 bytes; copied.
/// @param text The UUID, such as "123e4567-e89b-12d3-a456-426614174000", in either case; copied.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NAME_LENGTH if name is not 1 to 255 bytes long; ESRPC_ERROR_INVALID_UTF8 if
/// name is not UTF-8; ESRPC_ERROR_INVALID_UUID if text is not a UUID; ESRPC_ERROR_TOO_MANY_HEADERS beyond 1024
/// headers; ESRPC_ERROR_HEADERS_TOO_LARGE beyond 24 MiB; ESRPC_ERROR_INVALID_STATE for the list of a message;
/// ESRPC_ERROR_INVALID_ARGUMENT if headers is NULL, or name or text is NULL with a length other than 0.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_add_uuid_text(
    headers: *mut esrpc_headers,
    name: esrpc_bytes,
    text: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or live.
        let uuid = codec::uuid_from_text(unsafe { text.as_slice("text") }?)?;
        // SAFETY: NULL or live, all of them; a builder has one user.
        unsafe { add(headers, name, HeaderValue::Uuid(&uuid)) }
    })
}

/// Appends copies of the headers of another list, in order, for example to pass on a received message. The limits on
/// names, values and number of headers are not checked again.
///
/// @param headers Modified.
/// @param source Borrowed; may be the same list as headers, or the list of a message.
/// @param keep_protocol_headers Whether :message-type, :message-flags and :stream-id, which a send would refuse, are
/// copied too.
/// @return ESRPC_OK; ESRPC_ERROR_HEADERS_TOO_LARGE beyond 24 MiB; ESRPC_ERROR_INVALID_STATE if headers is the list of
/// a message; ESRPC_ERROR_INVALID_ARGUMENT if headers or source is NULL.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_add_from(
    headers: *mut esrpc_headers,
    source: *const esrpc_headers,
    keep_protocol_headers: esrpc_bool,
) -> esrpc_status {
    guard::call(|| {
        let wanted = |name: &[u8]| keep_protocol_headers.is_true() || !is_protocol_header(name);
        if headers.cast_const() == source {
            // SAFETY: NULL or live; a builder has one user.
            let list = unsafe { esrpc_headers::builder_mut(headers) }?;
            let source = list.clone();
            list.add_copies(source.as_headers(), wanted)?;
        } else {
            // SAFETY: NULL or live, both; they are two objects, and a builder has one user.
            let (list, source) =
                unsafe { (esrpc_headers::builder_mut(headers)?, esrpc_headers::borrow(source, "source")?) };
            list.add_copies(source.as_headers(), wanted)?;
        }
        Ok(())
    })
}
