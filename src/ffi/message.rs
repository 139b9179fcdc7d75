//! Messages: lent views, views of the caller's bytes, and owned copies; encoding and decoding.

use std::{ptr, slice};

use super::bytes::{esrpc_buffer, esrpc_bytes};
use super::failure::{Failure, required};
use super::guard;
use super::handle::BoxHandle;
use super::headers::esrpc_headers;
use super::json;
use super::out::{check_out, write_optional, write_out};
use super::status::{ESRPC_ERROR_BUFFER_TOO_SMALL, ESRPC_ERROR_INVALID_UTF8, esrpc_status};
use super::table::write_table;
use crate::codec::{self, Headers, Limits, Message, MessageCopy, Prelude};
use crate::rpc::{Envelope, Incoming, Outgoing};

/// What esrpc_message_get_info reports about a message.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct esrpc_message_info {
    /// sizeof(esrpc_message_info), set by the caller before the call.
    pub struct_size: usize,
    /// What esrpc_message_get_type returns.
    pub message_type: i32,
    /// What esrpc_message_get_flags returns.
    pub flags: i32,
    /// What esrpc_message_get_stream_id returns.
    pub stream_id: i32,
    /// The size of the whole message on the wire, in bytes.
    pub total_length: u32,
    /// The size of its headers on the wire, in bytes.
    pub headers_length: u32,
    /// The number of its headers.
    pub header_count: u32,
    /// The checksum over its first eight bytes, as received.
    pub prelude_crc: u32,
    /// The checksum over the whole message, as received.
    pub message_crc: u32,
}

/// A decoded message: a view lent to a callback or by a decoder, a view of the caller's bytes (esrpc_message_decode),
/// or an owned copy (esrpc_message_copy). Several threads may read the same message.
pub struct esrpc_message {
    prelude: Prelude,
    headers: esrpc_headers,
    /// Lives only as long as the bytes of `headers`.
    payload: &'static [u8],
    crc: u32,
    /// The protocol's headers, if they have been read already.
    envelope: Option<Envelope<'static>>,
    storage: Storage,
}

enum Storage {
    /// The object lives elsewhere, on a stack or in a decoder: releasing it does nothing.
    Lent,
    /// The object and its bytes belong to C.
    View,
    /// The object belongs to C; `headers` and `payload` point into these bytes, which never change. Not a boxed slice:
    /// moving one asserts that nothing else points to its bytes.
    Owned(#[allow(dead_code, reason = "held for those who point into it")] Vec<u8>),
}

impl BoxHandle for esrpc_message {}

impl esrpc_message {
    /// # Safety
    /// What `message` borrows outlives the result.
    #[inline]
    unsafe fn new(message: &Message<'_>, storage: Storage) -> esrpc_message {
        esrpc_message {
            prelude: message.prelude,
            // SAFETY: what the caller promised.
            headers: unsafe { esrpc_headers::lent(message.headers) },
            // SAFETY: only the lifetime changes, and the caller promised that it is long enough.
            payload: unsafe { std::mem::transmute::<&[u8], &'static [u8]>(message.payload) },
            crc: message.crc,
            envelope: None,
            storage,
        }
    }

    /// A view that C owns.
    ///
    /// # Safety
    /// What `message` borrows outlives the result.
    #[inline]
    unsafe fn view(message: &Message<'_>) -> Box<esrpc_message> {
        let place = Box::new_uninit();
        // SAFETY: what the caller promised.
        Box::write(place, unsafe { esrpc_message::new(message, Storage::View) })
    }

    /// A view that a release does not free.
    ///
    /// # Safety
    /// What `message` borrows outlives the result.
    pub(crate) unsafe fn lent(message: &Message<'_>) -> esrpc_message {
        // SAFETY: what the caller promised.
        unsafe { esrpc_message::new(message, Storage::Lent) }
    }

    /// A copy with its own bytes. It can be kept, and given to C with `give`.
    pub(crate) fn owned(message: &Message<'_>) -> esrpc_message {
        esrpc_message::keep(MessageCopy::of(message))
    }

    /// A message that has been copied already.
    pub(crate) fn keep(copy: MessageCopy) -> esrpc_message {
        // SAFETY: the bytes are on the heap, where they stay when the vector moves, and the result keeps the vector.
        let mut owned = unsafe { esrpc_message::new(&copy.message(), Storage::Lent) };
        owned.storage = Storage::Owned(copy.into_bytes());
        owned
    }

    /// The message in the form that the layers below use.
    pub(crate) fn as_message(&self) -> Message<'_> {
        Message { prelude: self.prelude, headers: self.headers.as_headers(), payload: self.payload, crc: self.crc }
    }

    /// One of the headers that the RPC protocol adds. Read in place: the envelope has just been written in smaller
    /// pieces, and copying it whole would stall until those have reached memory.
    fn protocol_header(&self, pick: impl Fn(&Envelope<'_>) -> Option<i32>) -> Option<i32> {
        match &self.envelope {
            Some(envelope) => pick(envelope),
            None => pick(&Envelope::read(&self.headers.as_headers())),
        }
    }
}

/// Runs `f` with a view of the message for C, made on the stack and valid during the call only.
pub(crate) fn with_view<R>(incoming: &Incoming<'_>, f: impl FnOnce(*const esrpc_message) -> R) -> R {
    // SAFETY: what `incoming` borrows outlives this call, and the view does not.
    let (mut view, envelope) = unsafe {
        let envelope = std::mem::transmute::<Envelope<'_>, Envelope<'static>>(incoming.envelope);
        (esrpc_message::lent(incoming.message), envelope)
    };
    view.envelope = Some(envelope);
    f(&raw const view)
}

/// The message that a send was given.
///
/// # Safety
/// `payload` is live and unchanged during `'a`.
#[inline]
pub(crate) unsafe fn outgoing<'a>(
    message_type: i32,
    flags: i32,
    headers: Option<&'a esrpc_headers>,
    payload: esrpc_bytes,
) -> Result<Outgoing<'a>, Failure> {
    let headers = esrpc_headers::for_sending(headers)?;
    // SAFETY: what the caller promised.
    let payload = unsafe { payload.as_slice("payload") }?;
    Ok(Outgoing { message_type, flags, headers, operation: None, payload })
}

/// The first message of a stream that an activation was given.
///
/// # Safety
/// As for `outgoing`; `operation` too.
pub(crate) unsafe fn outgoing_first<'a>(
    operation: esrpc_bytes,
    message_type: i32,
    flags: i32,
    headers: Option<&'a esrpc_headers>,
    payload: esrpc_bytes,
) -> Result<Outgoing<'a>, Failure> {
    // SAFETY: what the caller promised.
    let (operation, message) =
        unsafe { (operation.as_slice("operation")?, outgoing(message_type, flags, headers, payload)?) };
    if operation.is_empty() {
        return Err(Failure::invalid_argument("operation is empty; name the operation that the stream is for"));
    }
    if std::str::from_utf8(operation).is_err() {
        return Err(Failure::new(ESRPC_ERROR_INVALID_UTF8, "operation is not UTF-8 text"));
    }
    Ok(Outgoing { operation: Some(operation), ..message })
}

/// The length of the encoded message, if decoders would take it.
fn needed_len(headers: Headers<'_>, payload: &[u8]) -> Result<usize, codec::Error> {
    let limits = Limits::DEFAULT;
    if headers.len() > limits.max_headers {
        return Err(codec::Error::TooManyHeaders { limit: limits.max_headers });
    }
    codec::encoded_len(headers.as_bytes().len(), payload.len(), &limits)
}

/// Encodes a message into the caller's buffer. The headers are sent as they are, repeated names included.
///
/// @param headers Borrowed; NULL: none. The list of a message may be given.
/// @param payload Borrowed; may be empty.
/// @param buffer Receives the message; may be NULL if capacity is 0, to learn the size.
/// @param capacity The size of buffer in bytes.
/// @param out_len Receives the size of the message, also if the buffer is too small for it.
/// @return ESRPC_OK; ESRPC_ERROR_BUFFER_TOO_SMALL if capacity is below the size of the message;
/// ESRPC_ERROR_MESSAGE_TOO_LARGE if the payload has more than 24 MiB; ESRPC_ERROR_HEADERS_TOO_LARGE if the headers
/// have more than 24 MiB; ESRPC_ERROR_TOO_MANY_HEADERS beyond 1024 headers; ESRPC_ERROR_INVALID_ARGUMENT if out_len
/// is NULL, or payload or buffer is NULL with a length other than 0.
///
/// Thread: any; headers: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_message_encode(
    headers: Option<&esrpc_headers>,
    payload: esrpc_bytes,
    buffer: *mut u8,
    capacity: usize,
    out_len: *mut usize,
) -> esrpc_status {
    guard::call(|| {
        let headers = esrpc_headers::optional(headers);
        // SAFETY: the caller's bytes stay unchanged during the call.
        let payload = unsafe { payload.as_slice("payload") }?;
        check_out(out_len, "out_len")?;
        if capacity != 0 {
            check_out(buffer, "buffer")?;
        }
        let needed = needed_len(headers, payload)?;
        if capacity < needed {
            // SAFETY: the caller's variable.
            unsafe { write_out(out_len, needed, "out_len") }?;
            let detail = format!("the message takes {needed} bytes, the capacity is {capacity}");
            return Err(Failure::new(ESRPC_ERROR_BUFFER_TOO_SMALL, detail));
        }
        if overlaps(payload, buffer, needed) || overlaps(headers.as_bytes(), buffer, needed) {
            let message = encode(headers, payload, needed);
            // SAFETY: the caller's buffer has room for `capacity` bytes, and the message is no longer.
            unsafe { ptr::copy_nonoverlapping(message.as_ptr(), buffer, message.len()) };
        } else {
            // SAFETY: the caller's buffer has room for `capacity` bytes, which is no less, and nothing else that is used here
            // lies in it. Uninitialised bytes do no harm: none is read before it is written.
            let place = unsafe { slice::from_raw_parts_mut(buffer, needed) };
            codec::encode_to(needed, &[headers.as_bytes()], payload, &mut codec::Filling::new(place));
        }
        // SAFETY: the caller's variable.
        unsafe { write_out(out_len, needed, "out_len") }
    })
}

/// Encodes a message into a buffer that the library allocates. The headers are sent as they are, repeated names
/// included.
///
/// @param headers Borrowed; NULL: none. The list of a message may be given.
/// @param payload Borrowed; may be empty.
/// @param out_buffer Receives the buffer, to be released with esrpc_buffer_release.
/// @return ESRPC_OK; ESRPC_ERROR_MESSAGE_TOO_LARGE if the payload has more than 24 MiB; ESRPC_ERROR_HEADERS_TOO_LARGE
/// if the headers have more than 24 MiB; ESRPC_ERROR_TOO_MANY_HEADERS beyond 1024 headers; ESRPC_ERROR_INVALID_ARGUMENT
/// if out_buffer is NULL, or payload is NULL with a length other than 0.
///
/// Thread: any; headers: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_message_encode_to_buffer(
    headers: Option<&esrpc_headers>,
    payload: esrpc_bytes,
    out_buffer: *mut *mut esrpc_buffer,
) -> esrpc_status {
    guard::call(|| {
        let headers = esrpc_headers::optional(headers);
        // SAFETY: the caller's bytes stay unchanged during the call.
        let payload = unsafe { payload.as_slice("payload") }?;
        check_out(out_buffer, "out_buffer")?;
        let needed = needed_len(headers, payload)?;
        let buffer = esrpc_buffer::new(encode(headers, payload, needed + 1));
        // SAFETY: the caller's variable.
        unsafe { write_out(out_buffer, buffer.give(), "out_buffer") }
    })
}

/// Whether the bytes overlap a buffer.
fn overlaps(bytes: &[u8], buffer: *const u8, len: usize) -> bool {
    let range = bytes.as_ptr_range();
    !bytes.is_empty() && range.start < buffer.wrapping_add(len) && buffer < range.end
}

fn encode(headers: Headers<'_>, payload: &[u8], capacity: usize) -> Vec<u8> {
    let mut message = Vec::with_capacity(capacity);
    codec::encode_into(&[headers.as_bytes()], payload, &mut message);
    message
}

/// Decodes the message at the beginning of a buffer, without copying it. The limits are those of the encoders: a
/// payload of 24 MiB, plus 1024 headers of 24 MiB in total.
///
/// @param data Begins with a message; more bytes may follow. The message is a view of them: they must stay in place,
/// unmodified, until it is released.
/// @param out_message Receives the message, to be released with esrpc_message_release.
/// @param out_used Receives the length of the message, after which the next one begins; may be NULL.
/// @return ESRPC_OK; ESRPC_ERROR_INCOMPLETE if data ends before the message does; ESRPC_ERROR_PRELUDE_CHECKSUM,
/// ESRPC_ERROR_MESSAGE_LENGTH, ESRPC_ERROR_HEADERS_LENGTH, ESRPC_ERROR_MESSAGE_TOO_LARGE,
/// ESRPC_ERROR_HEADERS_TOO_LARGE, ESRPC_ERROR_TOO_MANY_HEADERS, ESRPC_ERROR_HEADER_OVERRUN,
/// ESRPC_ERROR_UNKNOWN_HEADER_TYPE or ESRPC_ERROR_MESSAGE_CHECKSUM for the first defect found, checked in this order;
/// ESRPC_ERROR_INVALID_ARGUMENT if out_message is NULL, or data is NULL with a length other than 0.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_message_decode(
    data: esrpc_bytes,
    out_message: *mut *mut esrpc_message,
    out_used: *mut usize,
) -> esrpc_status {
    guard::call(|| {
        check_out(out_message, "out_message")?;
        // SAFETY: the caller's bytes stay in place until the message is released.
        let data = unsafe { data.as_slice("data") }?;
        let (message, used) = Message::decode(data, &Limits::default())?;
        // SAFETY: as above; the variables are the caller's.
        unsafe {
            write_optional(out_used, used);
            write_out(out_message, Box::into_raw(esrpc_message::view(&message)), "out_message")
        }
    })
}

/// Copies a message, for example to keep one that was passed to a callback.
///
/// @param message Borrowed.
/// @param out_message Receives the copy, to be released with esrpc_message_release.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if message or out_message is NULL.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_message_copy(
    message: Option<&esrpc_message>,
    out_message: *mut *mut esrpc_message,
) -> esrpc_status {
    guard::call(|| {
        let message = required(message, "message")?;
        check_out(out_message, "out_message")?;
        let copy = esrpc_message::owned(&message.as_message());
        // SAFETY: the caller's variable.
        unsafe { write_out(out_message, copy.give(), "out_message") }
    })
}

/// Frees a message.
///
/// @param message Not to be used afterwards; NULL, or a message that is only lent: nothing happens.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_message_release(message: *mut esrpc_message) {
    guard::value((), || {
        // SAFETY: NULL, or a live message.
        let is_lent = unsafe { message.as_ref() }.is_none_or(|message| matches!(message.storage, Storage::Lent));
        if !is_lent {
            // SAFETY: all others were made by `give`, and the caller gives this one up.
            unsafe { esrpc_message::release(message) }
        }
    })
}

/// Returns the headers of a message, including those of the protocol.
///
/// @param message Borrowed; NULL: returns NULL.
/// @return A list that is valid as long as the message; it cannot be modified and must not be released.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_message_get_headers(message: Option<&esrpc_message>) -> *const esrpc_headers {
    guard::value(ptr::null(), || message.map_or(ptr::null(), |message| &raw const message.headers))
}

/// Returns the payload of a message.
///
/// @param message Borrowed; NULL: returns empty bytes.
/// @return The payload, valid as long as the message.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_message_get_payload(message: Option<&esrpc_message>) -> esrpc_bytes {
    guard::value(esrpc_bytes::EMPTY, || {
        message.map_or(esrpc_bytes::EMPTY, |message| esrpc_bytes::from_slice(message.payload))
    })
}

/// Reports a message's type, flags and stream, its lengths and its checksums.
///
/// @param message Borrowed.
/// @param out_info Filled in. Set its struct_size to sizeof the struct first.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if message or out_info is NULL or out_info->struct_size is not the
/// size of such a struct.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_message_get_info(
    message: Option<&esrpc_message>,
    out_info: *mut esrpc_message_info,
) -> esrpc_status {
    guard::call(|| {
        let message = required(message, "message")?;
        let envelope = Envelope::read(&message.headers.as_headers());
        let info = esrpc_message_info {
            struct_size: size_of::<esrpc_message_info>(),
            message_type: envelope.message_type.unwrap_or(-1),
            flags: envelope.flags.unwrap_or(0),
            stream_id: envelope.stream_id.unwrap_or(-1),
            total_length: message.prelude.total_len,
            headers_length: message.prelude.headers_len,
            header_count: u32::try_from(message.headers.as_headers().len()).unwrap_or(u32::MAX),
            prelude_crc: message.prelude.crc,
            message_crc: message.crc,
        };
        // SAFETY: NULL or the caller's variable, which begins with its size.
        unsafe { write_table(out_info, &info, "out_info") }
    })
}

/// Returns the type of a message of the RPC protocol: its header :message-type.
///
/// @param message Borrowed; NULL: returns -1.
/// @return One of the ESRPC_MESSAGE_TYPE_* constants, or another number that the peer sent; -1 if the message has no
/// such header of type int32.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_message_get_type(message: Option<&esrpc_message>) -> i32 {
    guard::value(-1, || {
        message.map_or(-1, |message| message.protocol_header(|envelope| envelope.message_type).unwrap_or(-1))
    })
}

/// Returns the flags of a message of the RPC protocol: its header :message-flags.
///
/// @param message Borrowed; NULL: returns 0.
/// @return A combination of the ESRPC_MESSAGE_FLAG_* constants, with any other bits that the peer sent; 0 if the
/// message has no such header of type int32.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_message_get_flags(message: Option<&esrpc_message>) -> i32 {
    guard::value(0, || message.map_or(0, |message| message.protocol_header(|envelope| envelope.flags).unwrap_or(0)))
}

/// Returns the stream of a message of the RPC protocol: its header :stream-id.
///
/// @param message Borrowed; NULL: returns -1.
/// @return The stream's id; 0 for a protocol message; -1 if the message has no such header of type int32.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_message_get_stream_id(message: Option<&esrpc_message>) -> i32 {
    guard::value(-1, || {
        message.map_or(-1, |message| message.protocol_header(|envelope| envelope.stream_id).unwrap_or(-1))
    })
}

/// Writes a message as one line of JSON, for debugging and tests.
///
/// The line has no newline at its end and looks like this:
/// {"total_length":28,"headers":[{"name":"h","type":"int64","value":-1}],"payload":"cA=="}. Types: bool_true,
/// bool_false, byte, int16, int32, int64, byte_buf, string, timestamp, uuid. The payload and byte_buf values are in
/// base64, UUIDs in their text form; bytes of names and strings that are not UTF-8 become U+FFFD.
///
/// @param message Borrowed.
/// @param out_json Receives a buffer with the text (UTF-8, NUL-terminated), to be released with esrpc_buffer_release.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if message or out_json is NULL.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_message_to_json(
    message: Option<&esrpc_message>,
    out_json: *mut *mut esrpc_buffer,
) -> esrpc_status {
    guard::call(|| {
        let message = required(message, "message")?;
        check_out(out_json, "out_json")?;
        let line = esrpc_buffer::new(json::line(&message.as_message())?);
        // SAFETY: the caller's variable.
        unsafe { write_out(out_json, line.give(), "out_json") }
    })
}
