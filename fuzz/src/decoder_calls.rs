//! Decoders of the C interface, of both kinds, in any order of calls, also from inside their own callbacks, against the
//! decoders of the codec.

use std::ffi::c_void;
use std::ptr;

use arbitrary::{Arbitrary, Unstructured};
use eventstream_rpc::codec::{DecodeEvents, Error, EventDecoder, FlatHeader, Limits, Prelude};
use eventstream_rpc::ffi::bytes::{esrpc_buffer_get_bytes, esrpc_buffer_release};
use eventstream_rpc::ffi::connection_options::*;
use eventstream_rpc::ffi::decoder::*;
use eventstream_rpc::ffi::headers::*;
use eventstream_rpc::ffi::headers_get::*;
use eventstream_rpc::ffi::message::*;
use eventstream_rpc::ffi::status::esrpc_status;
use eventstream_rpc::ffi::status::esrpc_status_code::*;

use crate::headers::{borrow, lend};

const OK: esrpc_status = ESRPC_OK as esrpc_status;
const INVALID_STATE: esrpc_status = ESRPC_ERROR_INVALID_STATE as esrpc_status;

#[derive(Arbitrary, Debug)]
struct Settings {
    has_callbacks: bool,
    /// Which callbacks there are, a bit each.
    slots: u8,
    limits: Option<[u16; 3]>,
    /// A decoder may be released in one of its callbacks: in this one.
    released_in: Option<u8>,
    repairs: bool,
    chunks: [u8; 4],
    /// What is done between two pushes, a bit each.
    between: u8,
}

/// What a decoder tells, in short.
#[derive(Clone, Debug, PartialEq)]
enum Event {
    Prelude(u32, u32, u32),
    Header(Vec<u8>, i32, i64, Vec<u8>),
    Payload(Vec<u8>),
    Complete(u32),
    Error(esrpc_status),
}

#[derive(Default)]
struct Notes {
    events: Vec<Event>,
    slots: u8,
}

impl Notes {
    /// Payloads in one piece.
    fn note(&mut self, slot: u8, event: Event) {
        if self.slots >> slot & 1 == 0 {
            return;
        }
        if let (Some(Event::Payload(before)), Event::Payload(more)) = (self.events.last_mut(), &event) {
            return before.extend(more);
        }
        self.events.push(event);
    }
}

impl DecodeEvents for Notes {
    fn on_prelude(&mut self, prelude: &Prelude) {
        self.note(0, Event::Prelude(prelude.total_len, prelude.headers_len, prelude.crc));
    }

    fn on_header(&mut self, header: &FlatHeader<'_>) {
        let data = header.data.unwrap_or_default().to_vec();
        self.note(1, Event::Header(header.name.to_vec(), header.header_type as i32, header.number, data));
    }

    fn on_payload(&mut self, segment: &[u8]) {
        self.note(2, Event::Payload(segment.to_vec()));
    }

    fn on_complete(&mut self, message_crc: u32) {
        self.note(3, Event::Complete(message_crc));
    }
}

/// What C's callbacks get.
struct Receiver {
    notes: Notes,
    /// Callbacks that come before the one that releases the decoder.
    calls_left: Option<u8>,
    is_released: bool,
}

impl Receiver {
    /// # Safety
    /// The user data of a live decoder, inside its callback.
    unsafe fn called<'a>(decoder: *mut esrpc_decoder, user_data: *mut c_void) -> &'a mut Receiver {
        // SAFETY: what the caller promised.
        unsafe {
            let receiver = &mut *user_data.cast::<Receiver>();
            assert!(!receiver.is_released, "a callback after the release");
            let mut message = ptr::null();
            assert_eq!(esrpc_decoder_push(decoder, lend(b"inside")), INVALID_STATE);
            assert_eq!(esrpc_decoder_next_message(decoder, &mut message), INVALID_STATE);
            assert_eq!(esrpc_decoder_finish(decoder), INVALID_STATE);
            match &mut receiver.calls_left {
                Some(0) => {
                    esrpc_decoder_release(decoder);
                    receiver.is_released = true;
                }
                Some(left) => *left -= 1,
                None => {}
            }
            receiver
        }
    }
}

unsafe extern "C" fn on_prelude(
    decoder: *mut esrpc_decoder,
    total_length: u32,
    headers_length: u32,
    prelude_crc: u32,
    user_data: *mut c_void,
) {
    // SAFETY: called by a live decoder.
    let receiver = unsafe { Receiver::called(decoder, user_data) };
    receiver.notes.note(0, Event::Prelude(total_length, headers_length, prelude_crc));
}

unsafe extern "C" fn on_header(decoder: *mut esrpc_decoder, header: *const esrpc_header, user_data: *mut c_void) {
    // SAFETY: called by a live decoder with a live header.
    unsafe {
        let receiver = Receiver::called(decoder, user_data);
        let header = &*header;
        let (name, data) = (borrow(header.name).to_vec(), borrow(header.bytes).to_vec());
        receiver.notes.note(1, Event::Header(name, header.r#type, header.number, data));
    }
}

unsafe extern "C" fn on_payload(decoder: *mut esrpc_decoder, data: *const u8, len: usize, user_data: *mut c_void) {
    // SAFETY: called by a live decoder with as many bytes.
    unsafe {
        assert!(len > 0);
        let segment = std::slice::from_raw_parts(data, len).to_vec();
        Receiver::called(decoder, user_data).notes.note(2, Event::Payload(segment));
    }
}

unsafe extern "C" fn on_complete(decoder: *mut esrpc_decoder, message_crc: u32, user_data: *mut c_void) {
    // SAFETY: called by a live decoder.
    unsafe { Receiver::called(decoder, user_data) }.notes.note(3, Event::Complete(message_crc));
}

unsafe extern "C" fn on_error(decoder: *mut esrpc_decoder, status: esrpc_status, user_data: *mut c_void) {
    // SAFETY: called by a live decoder.
    unsafe { Receiver::called(decoder, user_data) }.notes.note(4, Event::Error(status));
}

fn table(slots: u8) -> esrpc_decoder_callbacks {
    let has = |slot: u8| slots >> slot & 1 == 1;
    esrpc_decoder_callbacks {
        struct_size: size_of::<esrpc_decoder_callbacks>(),
        on_prelude: has(0).then_some(on_prelude as _),
        on_header: has(1).then_some(on_header as _),
        on_payload: has(2).then_some(on_payload as _),
        on_complete: has(3).then_some(on_complete as _),
        on_error: has(4).then_some(on_error as _),
    }
}

fn status_of(error: &Error) -> esrpc_status {
    let code = match error {
        Error::Incomplete { .. } => ESRPC_ERROR_INCOMPLETE,
        Error::PreludeChecksum { .. } => ESRPC_ERROR_PRELUDE_CHECKSUM,
        Error::MessageChecksum { .. } => ESRPC_ERROR_MESSAGE_CHECKSUM,
        Error::MessageLength { .. } => ESRPC_ERROR_MESSAGE_LENGTH,
        Error::HeadersLength { .. } => ESRPC_ERROR_HEADERS_LENGTH,
        Error::HeaderOverrun { .. } => ESRPC_ERROR_HEADER_OVERRUN,
        Error::UnknownHeaderType { .. } => ESRPC_ERROR_UNKNOWN_HEADER_TYPE,
        Error::HeaderNameLength { .. } => ESRPC_ERROR_HEADER_NAME_LENGTH,
        Error::InvalidUtf8 { .. } => ESRPC_ERROR_INVALID_UTF8,
        Error::InvalidUuid => ESRPC_ERROR_INVALID_UUID,
        Error::MessageTooLarge { .. } | Error::PayloadTooLarge { .. } => ESRPC_ERROR_MESSAGE_TOO_LARGE,
        Error::TooManyHeaders { .. } => ESRPC_ERROR_TOO_MANY_HEADERS,
        Error::HeadersTooLarge { .. } => ESRPC_ERROR_HEADERS_TOO_LARGE,
        Error::HeaderValueTooLong { .. } => ESRPC_ERROR_HEADER_VALUE_TOO_LONG,
    };
    code as esrpc_status
}

fn status(result: Result<(), Error>) -> esrpc_status {
    result.err().as_ref().map_or(OK, status_of)
}

/// # Safety
/// A live decoder that has not begun.
unsafe fn set_limits(decoder: *mut esrpc_decoder, wanted: Option<[u16; 3]>, limits: &mut Limits) {
    let Some([message, headers, value]) = wanted.map(|wanted| wanted.map(usize::from)) else { return };
    *limits = Limits::ON_CONNECTION;
    // SAFETY: what the caller promised; live settings.
    unsafe {
        let options = esrpc_connection_options_new();
        if esrpc_connection_options_set_max_message_size(options.as_mut(), message) == OK {
            limits.max_message_len = message;
        }
        if esrpc_connection_options_set_max_headers(options.as_mut(), headers) == OK {
            limits.max_headers = headers;
        }
        if esrpc_connection_options_set_max_header_value_size(options.as_mut(), value) == OK {
            limits.max_value_len = value;
        }
        assert_eq!(esrpc_decoder_set_limits(decoder, options.as_ref()), OK);
        esrpc_connection_options_release(options);
    }
}

/// Takes all that is there and reads it in every way.
///
/// # Safety
/// A live decoder without callbacks.
unsafe fn take_messages(decoder: *mut esrpc_decoder, notes: &mut Notes) {
    let mut taken = Vec::new();
    // SAFETY: what the caller promised; messages live until the next push.
    unsafe {
        loop {
            let mut message = ptr::null();
            if esrpc_decoder_next_message(decoder, &mut message) != OK || message.is_null() {
                break;
            }
            taken.push(message);
        }
        for message in taken {
            let mut info = esrpc_message_info { struct_size: size_of::<esrpc_message_info>(), ..Default::default() };
            assert_eq!(esrpc_message_get_info(message.as_ref(), &mut info), OK);
            notes.note(0, Event::Prelude(info.total_length, info.headers_length, info.prelude_crc));
            let headers = esrpc_message_get_headers(message.as_ref());
            for index in 0..esrpc_headers_count(headers.as_ref()) {
                let mut header = std::mem::zeroed();
                assert_eq!(esrpc_headers_get(headers.as_ref(), index, &mut header), OK);
                let (name, data) = (borrow(header.name).to_vec(), borrow(header.bytes).to_vec());
                let mut number = 0;
                let read = esrpc_headers_get_int32(headers.as_ref(), header.name, &mut number);
                assert!(read == OK || read == ESRPC_ERROR_WRONG_TYPE as esrpc_status);
                notes.note(1, Event::Header(name, header.r#type, header.number, data));
            }
            let payload = borrow(esrpc_message_get_payload(message.as_ref()));
            if !payload.is_empty() {
                notes.note(2, Event::Payload(payload.to_vec()));
            }
            notes.note(3, Event::Complete(info.message_crc));
            esrpc_message_get_type(message.as_ref());
            let mut json = ptr::null_mut();
            assert_eq!(esrpc_message_to_json(message.as_ref(), &mut json), OK);
            assert!(std::str::from_utf8(borrow(esrpc_buffer_get_bytes(json.as_ref()))).is_ok());
            esrpc_buffer_release(json);
        }
    }
}

/// Leaves out what belongs to a message that is not complete.
fn complete(events: &[Event]) -> &[Event] {
    let end = events.iter().rposition(|event| matches!(event, Event::Complete(_))).map_or(0, |last| last + 1);
    &events[..end]
}

pub fn run(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    let Ok(settings) = Settings::arbitrary(&mut u) else { return };
    let mut input = u.take_rest().to_vec();
    if settings.repairs {
        crate::decode::repair(&mut input);
    }
    let slots = if settings.has_callbacks { settings.slots & 0x1f } else { 0xf };
    let receiver = Receiver {
        notes: Notes { slots, ..Notes::default() },
        calls_left: settings.released_in.filter(|_| settings.has_callbacks),
        is_released: false,
    };
    let receiver: *mut Receiver = Box::into_raw(Box::new(receiver));
    let mut decoder = ptr::null_mut();
    let callbacks = table(slots);
    let mut limits = Limits::DEFAULT;
    // SAFETY: live handles; the receiver lives until the end.
    unsafe {
        let table = if settings.has_callbacks { &raw const callbacks } else { ptr::null() };
        assert_eq!(esrpc_decoder_new(table, receiver.cast(), &mut decoder), OK);
        set_limits(decoder, settings.limits, &mut limits);

        let mut expected = Notes { slots, ..Notes::default() };
        let mut model = EventDecoder::new(limits);
        let mut left = &input[..];
        let lengths = settings.chunks.map(|len| usize::from(len) + 1);
        for len in lengths.into_iter().cycle() {
            if left.is_empty() || (*receiver).is_released {
                break;
            }
            let (chunk, rest) = left.split_at(len.min(left.len()));
            left = rest;
            let had_failed = model.error().is_some();
            let wanted = status(model.push(chunk, &mut expected));
            if wanted != OK && !had_failed && settings.has_callbacks {
                expected.note(4, Event::Error(wanted));
            }
            let pushed = esrpc_decoder_push(decoder, lend(chunk));
            if (*receiver).is_released {
                break;
            }
            assert_eq!(pushed, wanted);
            if settings.between & 1 == 1 {
                assert_eq!(esrpc_decoder_finish(decoder), status(model.finish()));
            }
            if settings.between & 2 == 2 && !settings.has_callbacks {
                take_messages(decoder, &mut (*receiver).notes);
            }
            if settings.between & 4 == 4 {
                let options = esrpc_connection_options_new();
                assert_eq!(esrpc_decoder_set_limits(decoder, options.as_ref()), INVALID_STATE);
                esrpc_connection_options_release(options);
            }
        }
        if !(*receiver).is_released {
            if !settings.has_callbacks {
                take_messages(decoder, &mut (*receiver).notes);
            }
            assert_eq!(esrpc_decoder_finish(decoder), status(model.finish()));
            esrpc_decoder_release(decoder);
            let told = &(*receiver).notes.events;
            let expected = if settings.has_callbacks { &expected.events } else { complete(&expected.events) };
            assert_eq!(told, expected);
        }
        drop(Box::from_raw(receiver));
    }
}
