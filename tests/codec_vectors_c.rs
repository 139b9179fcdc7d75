//! Every codec case of tests/data/vectors through the functions of the C interface.

#[path = "common/vectors.rs"]
#[allow(dead_code, reason = "the test of the codec uses the rest of it")]
mod vectors;

use eventstream_rpc::ffi::bytes::*;
use eventstream_rpc::ffi::decoder::*;
use eventstream_rpc::ffi::headers::*;
use eventstream_rpc::ffi::headers_add::*;
use eventstream_rpc::ffi::message::*;
use eventstream_rpc::ffi::status::esrpc_status_code::*;
use eventstream_rpc::ffi::status::{esrpc_status, esrpc_status_code};
use std::ffi::c_void;
use std::ptr;
use std::sync::LazyLock;
use vectors::{Case, ErrorKind, Header, Message};

static CASES: LazyLock<Vec<Case>> = LazyLock::new(vectors::load);

const OK: esrpc_status = ESRPC_OK as esrpc_status;

/// Larger cases are not fed in small chunks: it takes long and shows nothing new.
const SMALL: usize = 256 * 1024;

fn status_of(kind: Option<ErrorKind>) -> esrpc_status {
    let status: esrpc_status_code = match kind {
        None => ESRPC_OK,
        Some(ErrorKind::Incomplete) => ESRPC_ERROR_INCOMPLETE,
        Some(ErrorKind::PreludeChecksum) => ESRPC_ERROR_PRELUDE_CHECKSUM,
        Some(ErrorKind::MessageChecksum) => ESRPC_ERROR_MESSAGE_CHECKSUM,
        Some(ErrorKind::MessageLength) => ESRPC_ERROR_MESSAGE_LENGTH,
        Some(ErrorKind::HeadersLength) => ESRPC_ERROR_HEADERS_LENGTH,
        Some(ErrorKind::HeaderOverrun) => ESRPC_ERROR_HEADER_OVERRUN,
        Some(ErrorKind::UnknownHeaderType) => ESRPC_ERROR_UNKNOWN_HEADER_TYPE,
        Some(ErrorKind::MessageTooLarge) => ESRPC_ERROR_MESSAGE_TOO_LARGE,
    };
    status as esrpc_status
}

fn lend(bytes: &[u8]) -> esrpc_bytes {
    esrpc_bytes { data: bytes.as_ptr(), len: bytes.len() }
}

/// # Safety
/// The bytes are live.
unsafe fn copy_bytes(bytes: esrpc_bytes) -> Vec<u8> {
    if bytes.len == 0 {
        return Vec::new();
    }
    // SAFETY: not empty, so not NULL, and live.
    unsafe { std::slice::from_raw_parts(bytes.data, bytes.len) }.to_vec()
}

/// # Safety
/// The header's bytes are live.
unsafe fn copy_header(header: &esrpc_header) -> Header {
    // SAFETY: what the caller promised.
    let (name, bytes) = unsafe { (copy_bytes(header.name), copy_bytes(header.bytes)) };
    Header { name, header_type: header.r#type.try_into().expect("a header type"), number: header.number, bytes }
}

/// # Safety
/// The message is live.
unsafe fn copy_message(message: *const esrpc_message) -> Message {
    // SAFETY: the message is live, and so is its list of headers.
    unsafe {
        let list = esrpc_message_get_headers(message.as_ref());
        let headers = (0..esrpc_headers_count(list.as_ref())).map(|index| {
            let empty = lend(&[]);
            let mut header = esrpc_header { name: empty, r#type: 0, reserved: 0, number: 0, bytes: empty };
            assert_eq!(esrpc_headers_get(list.as_ref(), index, &mut header), OK);
            copy_header(&header)
        });
        let mut info = esrpc_message_info { struct_size: size_of::<esrpc_message_info>(), ..Default::default() };
        assert_eq!(esrpc_message_get_info(message.as_ref(), &mut info), OK);
        assert_eq!(info.header_count as usize, esrpc_headers_count(list.as_ref()));
        Message {
            total_len: info.total_length,
            headers_len: info.headers_length,
            prelude_crc: info.prelude_crc,
            message_crc: info.message_crc,
            headers: headers.collect(),
            payload: copy_bytes(esrpc_message_get_payload(message.as_ref())),
        }
    }
}

fn check(case: &Case, how: &str, messages: &[Message], end: esrpc_status) {
    assert_eq!(end, status_of(case.end), "{}, {how}", case.name);
    assert!(messages == case.messages, "{}, {how}: other messages", case.name);
}

#[test]
fn whole_decode_gives_what_each_case_says() {
    for case in CASES.iter() {
        let mut rest = &case.bytes[..];
        let mut messages = Vec::new();
        let mut end = OK;
        while !rest.is_empty() {
            let (mut message, mut used) = (ptr::null_mut(), 0);
            // SAFETY: the case's bytes outlive the message, which is released once.
            unsafe {
                end = esrpc_message_decode(lend(rest), &mut message, &mut used);
                if end != OK {
                    assert!(message.is_null() && used == 0, "{}", case.name);
                    break;
                }
                messages.push(copy_message(message));
                let mut copy = ptr::null_mut();
                assert_eq!(esrpc_message_copy(message.as_ref(), &mut copy), OK);
                esrpc_message_release(message);
                assert!(messages.last() == Some(&copy_message(copy)), "{}: another copy", case.name);
                esrpc_message_release(copy);
            }
            rest = &rest[used..];
        }
        check(case, "whole", &messages, end);
    }
}

#[test]
fn the_decoder_of_whole_messages_gives_what_each_case_says() {
    for case in CASES.iter() {
        for chunk_len in [usize::MAX, 7, 1] {
            if chunk_len != usize::MAX && case.bytes.len() > SMALL {
                continue;
            }
            let (messages, end) = feed_for_messages(case.bytes.chunks(chunk_len));
            check(case, &format!("in chunks of {chunk_len}"), &messages, end);
        }
    }
}

fn feed_for_messages<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Message>, esrpc_status) {
    let mut decoder = ptr::null_mut();
    let mut messages = Vec::new();
    // SAFETY: the decoder is live until it is released once, and the chunks are live.
    unsafe {
        assert_eq!(esrpc_decoder_new(ptr::null(), ptr::null_mut(), &mut decoder), OK);
        for chunk in chunks {
            let pushed = esrpc_decoder_push(decoder, lend(chunk));
            let last = loop {
                let mut message = ptr::null();
                let status = esrpc_decoder_next_message(decoder, &mut message);
                if status != OK || message.is_null() {
                    break status;
                }
                messages.push(copy_message(message));
            };
            assert_eq!(last, pushed, "the error follows the good messages");
            if pushed != OK {
                break;
            }
        }
        let end = esrpc_decoder_finish(decoder);
        esrpc_decoder_release(decoder);
        (messages, end)
    }
}

/// Puts messages together from callbacks.
#[derive(Default)]
struct Gathered {
    whole: Vec<Message>,
    current: Message,
    errors: Vec<esrpc_status>,
}

/// # Safety
/// `user_data` is the `Gathered` that nobody else uses meanwhile.
unsafe fn gathered<'a>(user_data: *mut c_void) -> &'a mut Gathered {
    // SAFETY: what the caller promised.
    unsafe { &mut *user_data.cast() }
}

unsafe extern "C" fn on_prelude(_: *mut esrpc_decoder, total: u32, headers: u32, crc: u32, user_data: *mut c_void) {
    // SAFETY: the decoder passes the user data through.
    let gathered = unsafe { gathered(user_data) };
    gathered.current = Message { total_len: total, headers_len: headers, prelude_crc: crc, ..Message::default() };
}

unsafe extern "C" fn on_header(_: *mut esrpc_decoder, header: *const esrpc_header, user_data: *mut c_void) {
    // SAFETY: as above; the header lives during the callback.
    unsafe { gathered(user_data).current.headers.push(copy_header(&*header)) }
}

unsafe extern "C" fn on_payload(_: *mut esrpc_decoder, data: *const u8, len: usize, user_data: *mut c_void) {
    assert!(len > 0, "a payload segment has bytes");
    // SAFETY: as above; the segment lives during the callback.
    unsafe { gathered(user_data).current.payload.extend_from_slice(std::slice::from_raw_parts(data, len)) }
}

unsafe extern "C" fn on_complete(_: *mut esrpc_decoder, crc: u32, user_data: *mut c_void) {
    // SAFETY: as above.
    let gathered = unsafe { gathered(user_data) };
    gathered.current.message_crc = crc;
    gathered.whole.push(std::mem::take(&mut gathered.current));
}

unsafe extern "C" fn on_error(_: *mut esrpc_decoder, status: esrpc_status, user_data: *mut c_void) {
    // SAFETY: as above.
    unsafe { gathered(user_data) }.errors.push(status);
}

#[test]
fn the_decoder_with_callbacks_gives_what_each_case_says() {
    for case in CASES.iter() {
        for chunk_len in [usize::MAX, 7, 1] {
            if chunk_len != usize::MAX && case.bytes.len() > SMALL {
                continue;
            }
            let (gathered, end) = feed_for_callbacks(case.bytes.chunks(chunk_len));
            check(case, &format!("callbacks, in chunks of {chunk_len}"), &gathered.whole, end);
            let damage: Vec<_> =
                Some(end).into_iter().filter(|end| ![OK, status_of(INCOMPLETE)].contains(end)).collect();
            assert_eq!(gathered.errors, damage, "{}: errors called back", case.name);
        }
    }
}

const INCOMPLETE: Option<ErrorKind> = Some(ErrorKind::Incomplete);

fn feed_for_callbacks<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Gathered, esrpc_status) {
    let callbacks = esrpc_decoder_callbacks {
        struct_size: size_of::<esrpc_decoder_callbacks>(),
        on_prelude: Some(on_prelude),
        on_header: Some(on_header),
        on_payload: Some(on_payload),
        on_complete: Some(on_complete),
        on_error: Some(on_error),
    };
    let mut gathered = Gathered::default();
    let mut decoder = ptr::null_mut();
    // SAFETY: the decoder is live until it is released once; `gathered` is used by its callbacks only meanwhile.
    unsafe {
        assert_eq!(esrpc_decoder_new(&callbacks, (&raw mut gathered).cast(), &mut decoder), OK);
        for chunk in chunks {
            // Goes on after an error, to see that it stays and is called back once.
            esrpc_decoder_push(decoder, lend(chunk));
        }
        let end = esrpc_decoder_finish(decoder);
        esrpc_decoder_release(decoder);
        (gathered, end)
    }
}

#[test]
fn what_decodes_encodes_to_the_same_bytes() {
    for case in CASES.iter().filter(|case| case.valid) {
        let mut encoded = Vec::new();
        for message in &case.messages {
            // SAFETY: the list and the buffer are live until each is released once.
            unsafe {
                let headers = esrpc_headers_new();
                for header in &message.headers {
                    assert_eq!(add(headers, header), OK, "{}", case.name);
                }
                let payload = lend(&message.payload);
                let mut buffer = ptr::null_mut();
                assert_eq!(esrpc_message_encode_to_buffer(headers.as_ref(), payload, &mut buffer), OK, "{}", case.name);
                let whole = copy_bytes(esrpc_buffer_get_bytes(buffer.as_ref()));
                esrpc_buffer_release(buffer);

                let mut own = vec![0; whole.len()];
                let mut len = 0;
                let status = esrpc_message_encode(headers.as_ref(), payload, own.as_mut_ptr(), own.len(), &mut len);
                assert_eq!((status, len), (OK, whole.len()), "{}", case.name);
                assert!(own == whole, "{}: the two ways to encode differ", case.name);
                esrpc_headers_release(headers);
                encoded.extend(whole);
            }
        }
        assert!(case.bytes.starts_with(&encoded), "{}: other bytes", case.name);
        assert!(case.end.is_some() || case.bytes.len() == encoded.len(), "{}: too few bytes", case.name);
    }
}

/// # Safety
/// `headers` is live.
unsafe fn add(headers: *mut esrpc_headers, header: &Header) -> esrpc_status {
    let (name, bytes, number) = (lend(&header.name), lend(&header.bytes), header.number);
    // SAFETY: the list is live, and so are the bytes of the header.
    unsafe {
        match header.header_type {
            0 => esrpc_headers_add_bool(headers, name, true.into()),
            1 => esrpc_headers_add_bool(headers, name, false.into()),
            2 => esrpc_headers_add_byte(headers, name, number as i8),
            3 => esrpc_headers_add_int16(headers, name, number as i16),
            4 => esrpc_headers_add_int32(headers, name, number as i32),
            5 => esrpc_headers_add_int64(headers, name, number),
            6 => esrpc_headers_add_byte_buf(headers, name, bytes),
            7 => esrpc_headers_add_string(headers, name, bytes),
            8 => esrpc_headers_add_timestamp(headers, name, number),
            9 => esrpc_headers_add_uuid(headers, name, bytes.data),
            other => panic!("no header type {other}"),
        }
    }
}
