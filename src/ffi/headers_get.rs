//! Reading values of a header list by name and type.

use super::bytes::esrpc_bytes;
use super::failure::{Failure, required};
use super::guard;
use super::headers::{esrpc_headers, not_found, type_name};
use super::out::{check_out, write_out};
use super::status::{ESRPC_ERROR_WRONG_TYPE, esrpc_status};
use crate::codec::{HeaderType, HeaderValue};

/// Finds a header by name and writes its value, which `pick` takes if it has the right type.
///
/// # Safety
/// `name` lives during the call; `out` is NULL or may be written.
unsafe fn write_value<T>(
    headers: Option<&esrpc_headers>,
    name: esrpc_bytes,
    (out, argument): (*mut T, &str),
    wanted: &str,
    pick: impl FnOnce(HeaderValue<'_>) -> Option<T>,
) -> Result<(), Failure> {
    let list = required(headers, "headers")?;
    // SAFETY: what the caller promised.
    let name = unsafe { name.as_slice("name") }?;
    check_out(out, argument)?;
    let header = list.find(name).ok_or_else(|| not_found(name))?;
    let value = header.header().and_then(|header| pick(header.value));
    let value = value.ok_or_else(|| wrong_type(name, header.header_type, wanted))?;
    // SAFETY: what the caller promised.
    unsafe { write_out(out, value, argument) }
}

#[cold]
#[inline(never)]
fn wrong_type(name: &[u8], found: HeaderType, wanted: &str) -> Failure {
    let (name, found) = (String::from_utf8_lossy(name), type_name(found));
    Failure::new(ESRPC_ERROR_WRONG_TYPE, format!("the header \"{name}\" has the type {found}, not {wanted}"))
}

/// Reads the boolean with a given name, from the last header if the name is repeated.
///
/// @param headers Borrowed.
/// @param name Borrowed; the case of ASCII letters does not matter.
/// @param out_value Receives the value.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NOT_FOUND if there is no header with this name; ESRPC_ERROR_WRONG_TYPE if its
/// value has another type; ESRPC_ERROR_INVALID_ARGUMENT if headers or out_value is NULL, or name is NULL with a
/// length other than 0.
///
/// Thread: owner; any for the list of a message. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_get_bool(
    headers: Option<&esrpc_headers>,
    name: esrpc_bytes,
    out_value: *mut bool,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: the caller's bytes stay unchanged during the call, and out_value is NULL or may be written.
        unsafe {
            write_value(headers, name, (out_value, "out_value"), "bool", |value| match value {
                HeaderValue::Bool(value) => Some(value),
                _ => None,
            })
        }
    })
}

/// Reads the 8-bit signed integer with a given name, from the last header if the name is repeated.
///
/// @param headers Borrowed.
/// @param name Borrowed; the case of ASCII letters does not matter.
/// @param out_value Receives the value.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NOT_FOUND if there is no header with this name; ESRPC_ERROR_WRONG_TYPE if its
/// value has another type; ESRPC_ERROR_INVALID_ARGUMENT if headers or out_value is NULL, or name is NULL with a
/// length other than 0.
///
/// Thread: owner; any for the list of a message. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_get_byte(
    headers: Option<&esrpc_headers>,
    name: esrpc_bytes,
    out_value: *mut i8,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: the caller's bytes stay unchanged during the call, and out_value is NULL or may be written.
        unsafe {
            write_value(headers, name, (out_value, "out_value"), "byte", |value| match value {
                HeaderValue::Byte(value) => Some(value),
                _ => None,
            })
        }
    })
}

/// Reads the 16-bit signed integer with a given name, from the last header if the name is repeated.
///
/// @param headers Borrowed.
/// @param name Borrowed; the case of ASCII letters does not matter.
/// @param out_value Receives the value.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NOT_FOUND if there is no header with this name; ESRPC_ERROR_WRONG_TYPE if its
/// value has another type; ESRPC_ERROR_INVALID_ARGUMENT if headers or out_value is NULL, or name is NULL with a
/// length other than 0.
///
/// Thread: owner; any for the list of a message. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_get_int16(
    headers: Option<&esrpc_headers>,
    name: esrpc_bytes,
    out_value: *mut i16,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: the caller's bytes stay unchanged during the call, and out_value is NULL or may be written.
        unsafe {
            write_value(headers, name, (out_value, "out_value"), "int16", |value| match value {
                HeaderValue::Int16(value) => Some(value),
                _ => None,
            })
        }
    })
}

/// Reads the 32-bit signed integer with a given name, from the last header if the name is repeated.
///
/// @param headers Borrowed.
/// @param name Borrowed; the case of ASCII letters does not matter.
/// @param out_value Receives the value.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NOT_FOUND if there is no header with this name; ESRPC_ERROR_WRONG_TYPE if its
/// value has another type; ESRPC_ERROR_INVALID_ARGUMENT if headers or out_value is NULL, or name is NULL with a
/// length other than 0.
///
/// Thread: owner; any for the list of a message. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_get_int32(
    headers: Option<&esrpc_headers>,
    name: esrpc_bytes,
    out_value: *mut i32,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: the caller's bytes stay unchanged during the call, and out_value is NULL or may be written.
        unsafe {
            write_value(headers, name, (out_value, "out_value"), "int32", |value| match value {
                HeaderValue::Int32(value) => Some(value),
                _ => None,
            })
        }
    })
}

/// Reads the 64-bit signed integer with a given name, from the last header if the name is repeated.
///
/// @param headers Borrowed.
/// @param name Borrowed; the case of ASCII letters does not matter.
/// @param out_value Receives the value.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NOT_FOUND if there is no header with this name; ESRPC_ERROR_WRONG_TYPE if its
/// value has another type; ESRPC_ERROR_INVALID_ARGUMENT if headers or out_value is NULL, or name is NULL with a
/// length other than 0.
///
/// Thread: owner; any for the list of a message. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_get_int64(
    headers: Option<&esrpc_headers>,
    name: esrpc_bytes,
    out_value: *mut i64,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: the caller's bytes stay unchanged during the call, and out_value is NULL or may be written.
        unsafe {
            write_value(headers, name, (out_value, "out_value"), "int64", |value| match value {
                HeaderValue::Int64(value) => Some(value),
                _ => None,
            })
        }
    })
}

/// Reads the timestamp with a given name, from the last header if the name is repeated.
///
/// @param headers Borrowed.
/// @param name Borrowed; the case of ASCII letters does not matter.
/// @param out_value Receives the value as it was sent: by convention milliseconds since 1970-01-01 UTC.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NOT_FOUND if there is no header with this name; ESRPC_ERROR_WRONG_TYPE if its
/// value has another type; ESRPC_ERROR_INVALID_ARGUMENT if headers or out_value is NULL, or name is NULL with a
/// length other than 0.
///
/// Thread: owner; any for the list of a message. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_get_timestamp(
    headers: Option<&esrpc_headers>,
    name: esrpc_bytes,
    out_value: *mut i64,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: the caller's bytes stay unchanged during the call, and out_value is NULL or may be written.
        unsafe {
            write_value(headers, name, (out_value, "out_value"), "timestamp", |value| match value {
                HeaderValue::Timestamp(value) => Some(value),
                _ => None,
            })
        }
    })
}

/// Reads the bytes with a given name, from the last header if the name is repeated.
///
/// @param headers Borrowed.
/// @param name Borrowed; the case of ASCII letters does not matter.
/// @param out_value Receives the bytes, valid until the list is modified or released.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NOT_FOUND if there is no header with this name; ESRPC_ERROR_WRONG_TYPE if its
/// value has another type; ESRPC_ERROR_INVALID_ARGUMENT if headers or out_value is NULL, or name is NULL with a
/// length other than 0.
///
/// Thread: owner; any for the list of a message. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_get_byte_buf(
    headers: Option<&esrpc_headers>,
    name: esrpc_bytes,
    out_value: *mut esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: the caller's bytes stay unchanged during the call, and out_value is NULL or may be written.
        unsafe {
            write_value(headers, name, (out_value, "out_value"), "byte_buf", |value| match value {
                HeaderValue::ByteBuf(value) => Some(esrpc_bytes::from_slice(value)),
                _ => None,
            })
        }
    })
}

/// Reads the text with a given name, from the last header if the name is repeated.
///
/// @param headers Borrowed.
/// @param name Borrowed; the case of ASCII letters does not matter.
/// @param out_value Receives the text, valid until the list is modified or released; received text is not necessarily
/// UTF-8.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NOT_FOUND if there is no header with this name; ESRPC_ERROR_WRONG_TYPE if its
/// value has another type; ESRPC_ERROR_INVALID_ARGUMENT if headers or out_value is NULL, or name is NULL with a
/// length other than 0.
///
/// Thread: owner; any for the list of a message. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_get_string(
    headers: Option<&esrpc_headers>,
    name: esrpc_bytes,
    out_value: *mut esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: the caller's bytes stay unchanged during the call, and out_value is NULL or may be written.
        unsafe {
            write_value(headers, name, (out_value, "out_value"), "string", |value| match value {
                HeaderValue::String(value) => Some(esrpc_bytes::from_slice(value)),
                _ => None,
            })
        }
    })
}

/// Reads the UUID with a given name, from the last header if the name is repeated.
///
/// @param headers Borrowed.
/// @param name Borrowed; the case of ASCII letters does not matter.
/// @param out_uuid Receives the 16 bytes.
/// @return ESRPC_OK; ESRPC_ERROR_HEADER_NOT_FOUND if there is no header with this name; ESRPC_ERROR_WRONG_TYPE if its
/// value has another type; ESRPC_ERROR_INVALID_ARGUMENT if headers or out_uuid is NULL, or name is NULL with a length
/// other than 0.
///
/// Thread: owner; any for the list of a message. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_headers_get_uuid(
    headers: Option<&esrpc_headers>,
    name: esrpc_bytes,
    out_uuid: *mut u8,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: the caller's bytes stay unchanged during the call, and out_value is NULL or may be written.
        unsafe {
            write_value(headers, name, (out_uuid.cast::<[u8; 16]>(), "out_uuid"), "uuid", |value| match value {
                HeaderValue::Uuid(value) => Some(*value),
                _ => None,
            })
        }
    })
}
