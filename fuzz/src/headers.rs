//! The header builder of the C interface against a plain list.

use std::ptr;

use arbitrary::{Arbitrary, Result, Unstructured};
use eventstream_rpc::codec::{self, Limits};
use eventstream_rpc::ffi::bytes::{esrpc_buffer, esrpc_buffer_get_bytes, esrpc_buffer_release, esrpc_bytes};
use eventstream_rpc::ffi::headers::*;
use eventstream_rpc::ffi::headers_add::*;
use eventstream_rpc::ffi::headers_get::*;
use eventstream_rpc::ffi::message::*;
use eventstream_rpc::ffi::status::esrpc_status_code::*;
use eventstream_rpc::ffi::status::{esrpc_status, esrpc_status_code};
use eventstream_rpc::ffi::uuid::esrpc_uuid_to_text;

const MAX_STEPS: usize = 200;
/// Copies of a list into itself double it; past this the model is not worth its time.
const MAX_HEADERS: usize = 1300;
const MAX_BYTES: usize = 256 * 1024;
const PROTOCOL_NAMES: [&[u8]; 3] = [b":message-type", b":message-flags", b":stream-id"];

#[derive(Arbitrary, Debug)]
enum Step {
    Add {
        list: bool,
        name: Name,
        value: Value,
    },
    AddFrom {
        to: bool,
        from: bool,
        keep: bool,
    },
    /// The headers of the last message that was decoded.
    AddFromMessage {
        to: bool,
        keep: bool,
    },
    Remove {
        list: bool,
        name: Name,
    },
    /// By a name that the list itself lends.
    RemoveOwn {
        list: bool,
        index: u8,
    },
    RemoveAt {
        list: bool,
        index: u16,
    },
    Clear {
        list: bool,
    },
    Get {
        list: bool,
        index: u16,
    },
    GetRange {
        list: bool,
        first: u16,
        capacity: u8,
    },
    Find {
        list: bool,
        name: Name,
    },
    RoundTrip {
        list: bool,
        payload: Vec<u8>,
    },
    CheckAll {
        list: bool,
    },
}

#[derive(Arbitrary, Clone, Debug)]
enum Name {
    /// Few, so that they repeat, in two cases.
    Known(u8, bool),
    Any(Vec<u8>),
    Long(u16),
}

#[derive(Arbitrary, Clone, Debug)]
enum Value {
    Bool(bool),
    Byte(i8),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    Timestamp(i64),
    ByteBuf(Vec<u8>),
    String(Vec<u8>),
    Uuid([u8; 16]),
    UuidText([u8; 16], bool),
    NoUuidText(Vec<u8>),
    Long(u16, bool),
}

/// Name, type, number, data, as the interface shows a header.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    name: Vec<u8>,
    header_type: i32,
    number: i64,
    data: Vec<u8>,
}

impl Name {
    fn bytes(&self) -> Vec<u8> {
        const KNOWN: [&str; 8] =
            ["a", "name", "NaMe2", ":message-type", ":Stream-Id", ":message-flags", "operation", "\u{e4}"];
        match self {
            Name::Known(number, upper) => {
                let name = KNOWN[usize::from(*number) % KNOWN.len()];
                if *upper { name.to_ascii_uppercase().into() } else { name.into() }
            }
            Name::Any(bytes) => bytes.clone(),
            Name::Long(len) => vec![b'n'; usize::from(len % 300)],
        }
    }
}

impl Value {
    /// Type, number and data, and the status with which they are refused if they are.
    fn parts(&self) -> (i32, i64, Vec<u8>, esrpc_status_code) {
        let text = |data: &[u8]| {
            if data.len() > codec::MAX_SENT_VALUE_LEN {
                ESRPC_ERROR_HEADER_VALUE_TOO_LONG
            } else if std::str::from_utf8(data).is_err() {
                ESRPC_ERROR_INVALID_UTF8
            } else {
                ESRPC_OK
            }
        };
        let bytes = |len: usize| {
            if len > codec::MAX_SENT_VALUE_LEN { ESRPC_ERROR_HEADER_VALUE_TOO_LONG } else { ESRPC_OK }
        };
        match self {
            Value::Bool(value) => (i32::from(!value), i64::from(*value), Vec::new(), ESRPC_OK),
            Value::Byte(number) => (2, (*number).into(), Vec::new(), ESRPC_OK),
            Value::Int16(number) => (3, (*number).into(), Vec::new(), ESRPC_OK),
            Value::Int32(number) => (4, (*number).into(), Vec::new(), ESRPC_OK),
            Value::Int64(number) => (5, *number, Vec::new(), ESRPC_OK),
            Value::Timestamp(number) => (8, *number, Vec::new(), ESRPC_OK),
            Value::ByteBuf(data) => (6, 0, data.clone(), bytes(data.len())),
            Value::String(data) => (7, 0, data.clone(), text(data)),
            Value::Uuid(uuid) | Value::UuidText(uuid, _) => (9, 0, uuid.to_vec(), ESRPC_OK),
            Value::NoUuidText(text) => match codec::uuid_from_text(text) {
                Ok(uuid) => (9, 0, uuid.to_vec(), ESRPC_OK),
                Err(_) => (9, 0, Vec::new(), ESRPC_ERROR_INVALID_UUID),
            },
            Value::Long(len, is_text) => {
                let data = vec![b'v'; usize::from(*len)];
                let status = bytes(data.len());
                (if *is_text { 7 } else { 6 }, 0, data, status)
            }
        }
    }
}

pub(crate) fn lend(bytes: &[u8]) -> esrpc_bytes {
    esrpc_bytes { data: bytes.as_ptr(), len: bytes.len() }
}

/// # Safety
/// The bytes live as long as the answer.
pub(crate) unsafe fn borrow<'a>(bytes: esrpc_bytes) -> &'a [u8] {
    if bytes.len == 0 {
        return &[];
    }
    // SAFETY: not empty, so not NULL, and live.
    unsafe { std::slice::from_raw_parts(bytes.data, bytes.len) }
}

const NO_HEADER: esrpc_header = esrpc_header {
    name: esrpc_bytes { data: ptr::null(), len: 0 },
    r#type: -1,
    reserved: 0,
    number: -1,
    bytes: esrpc_bytes { data: ptr::null(), len: 0 },
};

/// # Safety
/// The header's bytes are live.
unsafe fn entry(header: &esrpc_header) -> Entry {
    // SAFETY: what the caller promised.
    let (name, data) = unsafe { (borrow(header.name).to_vec(), borrow(header.bytes).to_vec()) };
    Entry { name, header_type: header.r#type, number: header.number, data }
}

#[track_caller]
fn assert_status(status: esrpc_status, expected: esrpc_status_code) {
    assert_eq!(status, expected as esrpc_status, "expected {expected:?}");
}

/// A builder, and what should be in it.
struct List {
    handle: *mut esrpc_headers,
    model: Vec<Entry>,
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: a live builder of this list alone.
        unsafe { esrpc_headers_release(self.handle) }
    }
}

fn is_protocol(name: &[u8]) -> bool {
    PROTOCOL_NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn wire_len(entries: &[Entry]) -> usize {
    let value = |entry: &Entry| match entry.header_type {
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        6 | 7 => 2 + entry.data.len(),
        _ => 16,
    };
    entries.iter().map(|entry| 2 + entry.name.len() + value(entry)).sum()
}

impl List {
    fn new() -> List {
        List { handle: esrpc_headers_new(), model: Vec::new() }
    }

    fn add(&mut self, name: &[u8], value: &Value) {
        let (header_type, number, data, refused) = value.parts();
        // The order of the checks is not promised; a name is looked at before a value, a UUID's text before both.
        let is_text = matches!(value, Value::NoUuidText(_));
        let expected = if is_text && refused != ESRPC_OK {
            refused
        } else if name.is_empty() || name.len() > 255 {
            ESRPC_ERROR_HEADER_NAME_LENGTH
        } else if std::str::from_utf8(name).is_err() {
            ESRPC_ERROR_INVALID_UTF8
        } else if refused != ESRPC_OK {
            refused
        } else if self.model.len() >= 1024 {
            ESRPC_ERROR_TOO_MANY_HEADERS
        } else {
            ESRPC_OK
        };
        // SAFETY: a live builder, and bytes that stay during the call.
        let status = unsafe {
            let (list, name) = (self.handle, lend(name));
            match value {
                Value::Bool(value) => esrpc_headers_add_bool(list, name, (*value).into()),
                Value::Byte(number) => esrpc_headers_add_byte(list, name, *number),
                Value::Int16(number) => esrpc_headers_add_int16(list, name, *number),
                Value::Int32(number) => esrpc_headers_add_int32(list, name, *number),
                Value::Int64(number) => esrpc_headers_add_int64(list, name, *number),
                Value::Timestamp(number) => esrpc_headers_add_timestamp(list, name, *number),
                Value::String(data) => esrpc_headers_add_string(list, name, lend(data)),
                Value::ByteBuf(data) => esrpc_headers_add_byte_buf(list, name, lend(data)),
                Value::Long(_, true) => esrpc_headers_add_string(list, name, lend(&data)),
                Value::Long(_, false) => esrpc_headers_add_byte_buf(list, name, lend(&data)),
                Value::Uuid(uuid) => esrpc_headers_add_uuid(list, name, uuid.as_ptr()),
                Value::UuidText(uuid, upper) => {
                    let text = codec::uuid_to_text(uuid);
                    check_uuid_text(uuid, &text);
                    let text = if *upper { text.to_uppercase() } else { text };
                    esrpc_headers_add_uuid_text(list, name, lend(text.as_bytes()))
                }
                Value::NoUuidText(text) => esrpc_headers_add_uuid_text(list, name, lend(text)),
            }
        };
        assert_status(status, expected);
        if expected == ESRPC_OK {
            self.model.push(Entry { name: name.to_vec(), header_type, number, data });
        }
    }

    fn add_all(&mut self, source: *const esrpc_headers, entries: &[Entry], keep: bool) {
        // SAFETY: live, both.
        let status = unsafe { esrpc_headers_add_from(self.handle, source, keep.into()) };
        assert_status(status, ESRPC_OK);
        self.model.extend(entries.iter().filter(|entry| keep || !is_protocol(&entry.name)).cloned());
    }

    fn remove(&mut self, name: &[u8], lent: esrpc_bytes) {
        let before = self.model.len();
        self.model.retain(|entry| !entry.name.eq_ignore_ascii_case(name));
        let expected = if self.model.len() == before { ESRPC_ERROR_HEADER_NOT_FOUND } else { ESRPC_OK };
        // SAFETY: a live builder, and a name of it or of the caller's.
        assert_status(unsafe { esrpc_headers_remove(self.handle, lent) }, expected);
    }

    fn remove_own(&mut self, index: usize) {
        let Some(entry) = self.model.get(index).cloned() else { return };
        let mut header = NO_HEADER;
        // SAFETY: a live builder and a variable.
        assert_status(unsafe { esrpc_headers_get(self.handle.as_ref(), index, &mut header) }, ESRPC_OK);
        self.remove(&entry.name, header.name);
    }

    fn remove_at(&mut self, index: usize) {
        let expected = if index < self.model.len() {
            self.model.remove(index);
            ESRPC_OK
        } else {
            ESRPC_ERROR_HEADER_NOT_FOUND
        };
        // SAFETY: a live builder.
        assert_status(unsafe { esrpc_headers_remove_at(self.handle, index) }, expected);
    }

    fn round_trip(&self, payload: &[u8]) -> Option<Decoded> {
        let mut buffer: *mut esrpc_buffer = ptr::null_mut();
        // SAFETY: a live builder, bytes that stay, and a variable.
        let status = unsafe { esrpc_message_encode_to_buffer(self.handle.as_ref(), lend(payload), &mut buffer) };
        if self.model.len() > Limits::DEFAULT.max_headers {
            assert_status(status, ESRPC_ERROR_TOO_MANY_HEADERS);
            return None;
        }
        assert_status(status, ESRPC_OK);
        let mut decoded = Decoded { buffer, message: ptr::null_mut() };
        // SAFETY: a live buffer.
        let bytes = unsafe { borrow(esrpc_buffer_get_bytes(buffer.as_ref())) };
        assert_eq!(bytes.len(), 16 + wire_len(&self.model) + payload.len());
        // SAFETY: live handles, variables, and buffers as large as said.
        unsafe {
            let (mut len, mut used) = (0, 0);
            let mut too_small = vec![0xaa; bytes.len() - 1];
            let status = esrpc_message_encode(
                self.handle.as_ref(),
                lend(payload),
                too_small.as_mut_ptr(),
                too_small.len(),
                &mut len,
            );
            assert_status(status, ESRPC_ERROR_BUFFER_TOO_SMALL);
            assert_eq!(len, bytes.len());
            let mut fitting = vec![0; len];
            let status = esrpc_message_encode(self.handle.as_ref(), lend(payload), fitting.as_mut_ptr(), len, &mut len);
            assert_status(status, ESRPC_OK);
            assert!(fitting == bytes);
            assert_status(esrpc_message_decode(lend(bytes), &mut decoded.message, &mut used), ESRPC_OK);
            assert_eq!(used, bytes.len());
            let mut info = esrpc_message_info { struct_size: size_of::<esrpc_message_info>(), ..Default::default() };
            assert_status(esrpc_message_get_info(decoded.message.as_ref(), &mut info), ESRPC_OK);
            assert_eq!(info.total_length as usize, used);
            assert_eq!(info.headers_length as usize, wire_len(&self.model));
            assert_eq!(info.header_count as usize, self.model.len());
            assert!(borrow(esrpc_message_get_payload(decoded.message.as_ref())) == payload);
            check(esrpc_message_get_headers(decoded.message.as_ref()), &self.model);

            // A copy outlives what it was made of.
            let mut copy = ptr::null_mut();
            assert_status(esrpc_message_copy(decoded.message.as_ref(), &mut copy), ESRPC_OK);
            esrpc_message_release(std::mem::replace(&mut decoded.message, copy));
            check(esrpc_message_get_headers(copy.as_ref()), &self.model);
            let mut json = ptr::null_mut();
            assert_status(esrpc_message_to_json(copy.as_ref(), &mut json), ESRPC_OK);
            assert!(std::str::from_utf8(borrow(esrpc_buffer_get_bytes(json.as_ref()))).is_ok());
            esrpc_buffer_release(json);
        }
        Some(decoded)
    }
}

struct Decoded {
    buffer: *mut esrpc_buffer,
    message: *mut esrpc_message,
}

impl Drop for Decoded {
    fn drop(&mut self) {
        // SAFETY: live, both, and given up here.
        unsafe {
            esrpc_message_release(self.message);
            esrpc_buffer_release(self.buffer);
        }
    }
}

fn check_uuid_text(uuid: &[u8; 16], expected: &str) {
    let mut text = [0; 37];
    // SAFETY: 16 bytes, and room for the text and its NUL.
    assert_status(unsafe { esrpc_uuid_to_text(uuid.as_ptr(), text.as_mut_ptr().cast(), text.len()) }, ESRPC_OK);
    assert_eq!(&text[..36], expected.as_bytes());
    assert_eq!(text[36], 0);
}

/// Every way to read a list.
///
/// # Safety
/// The list is live.
unsafe fn check(list: *const esrpc_headers, model: &[Entry]) {
    // SAFETY: what the caller promised; and variables.
    unsafe {
        assert_eq!(esrpc_headers_count(list.as_ref()), model.len());
        for (index, expected) in model.iter().enumerate() {
            let mut header = NO_HEADER;
            assert_status(esrpc_headers_get(list.as_ref(), index, &mut header), ESRPC_OK);
            assert_eq!(&entry(&header), expected);
        }
        check_range(list, model, 0, model.len() + 1);
        // Each costs a walk of the list.
        for expected in model.iter().take(20) {
            check_find(list, model, &expected.name);
        }
    }
}

/// # Safety
/// As for `check`.
unsafe fn check_range(list: *const esrpc_headers, model: &[Entry], first: usize, capacity: usize) {
    let mut found = vec![NO_HEADER; capacity];
    let mut count = usize::MAX;
    // SAFETY: what the caller promised; and as much room as said.
    unsafe {
        assert_status(
            esrpc_headers_get_range(list.as_ref(), first, found.as_mut_ptr(), capacity, &mut count),
            ESRPC_OK,
        );
        let expected = model.get(first..).unwrap_or_default();
        assert_eq!(count, expected.len().min(capacity));
        for (header, expected) in found[..count].iter().zip(expected) {
            assert_eq!(&entry(header), expected);
        }
        assert!(found[count..].iter().all(|header| header.r#type == -1), "no more is written");
    }
}

/// # Safety
/// As for `check`.
unsafe fn check_find(list: *const esrpc_headers, model: &[Entry], name: &[u8]) {
    let expected = model.iter().rfind(|entry| entry.name.eq_ignore_ascii_case(name));
    let mut header = NO_HEADER;
    // SAFETY: what the caller promised; and variables.
    unsafe {
        let status = esrpc_headers_find(list.as_ref(), lend(name), &mut header);
        let Some(expected) = expected else { return assert_status(status, ESRPC_ERROR_HEADER_NOT_FOUND) };
        assert_status(status, ESRPC_OK);
        assert_eq!(&entry(&header), expected);
        check_typed(list, name, expected);
    }
}

/// Each getter gives a value of its own type and no other.
///
/// # Safety
/// As for `check`.
unsafe fn check_typed(list: *const esrpc_headers, name: &[u8], expected: &Entry) {
    let name = lend(name);
    let (mut flag, mut byte, mut short, mut int) = (false, 0_i8, 0_i16, 0_i32);
    let (mut long, mut time) = (0_i64, 0_i64);
    let (mut data, mut text) = (NO_HEADER.bytes, NO_HEADER.bytes);
    let mut uuid = [0; 16];
    // SAFETY: what the caller promised; and variables.
    unsafe {
        let statuses = [
            esrpc_headers_get_bool(list.as_ref(), name, &mut flag),
            esrpc_headers_get_byte(list.as_ref(), name, &mut byte),
            esrpc_headers_get_int16(list.as_ref(), name, &mut short),
            esrpc_headers_get_int32(list.as_ref(), name, &mut int),
            esrpc_headers_get_int64(list.as_ref(), name, &mut long),
            esrpc_headers_get_byte_buf(list.as_ref(), name, &mut data),
            esrpc_headers_get_string(list.as_ref(), name, &mut text),
            esrpc_headers_get_timestamp(list.as_ref(), name, &mut time),
            esrpc_headers_get_uuid(list.as_ref(), name, uuid.as_mut_ptr()),
        ];
        let own = usize::try_from(expected.header_type.max(1) - 1).expect("a type");
        for (index, status) in statuses.into_iter().enumerate() {
            assert_status(status, if index == own { ESRPC_OK } else { ESRPC_ERROR_WRONG_TYPE });
        }
        let (number, bytes) = match own {
            0 => (flag.into(), &[][..]),
            1 => (byte.into(), &[][..]),
            2 => (short.into(), &[][..]),
            3 => (int.into(), &[][..]),
            4 => (long, &[][..]),
            5 => (0, borrow(data)),
            6 => (0, borrow(text)),
            7 => (time, &[][..]),
            _ => (0, &uuid[..]),
        };
        assert_eq!((number, bytes), (expected.number, &expected.data[..]));
    }
}

pub fn run(bytes: &[u8]) {
    let mut lists = [List::new(), List::new()];
    let mut decoded = None;
    let mut decoded_model = Vec::new();
    for step in steps(bytes) {
        if lists.iter().any(|list| list.model.len() > MAX_HEADERS || wire_len(&list.model) > MAX_BYTES) {
            break;
        }
        match step {
            Step::Add { list, name, value } => lists[usize::from(list)].add(&name.bytes(), &value),
            Step::AddFrom { to, from, keep } => {
                let source = (lists[usize::from(from)].handle, lists[usize::from(from)].model.clone());
                lists[usize::from(to)].add_all(source.0, &source.1, keep);
            }
            Step::AddFromMessage { to, keep } => {
                if let Some(Decoded { message, .. }) = &decoded {
                    // SAFETY: a live message.
                    let source = unsafe { esrpc_message_get_headers((*message).as_ref()) };
                    lists[usize::from(to)].add_all(source, &decoded_model, keep);
                }
            }
            Step::Remove { list, name } => {
                let name = name.bytes();
                lists[usize::from(list)].remove(&name, lend(&name));
            }
            Step::RemoveOwn { list, index } => lists[usize::from(list)].remove_own(index.into()),
            Step::RemoveAt { list, index } => lists[usize::from(list)].remove_at(index.into()),
            Step::Clear { list } => {
                let list = &mut lists[usize::from(list)];
                // SAFETY: a live builder.
                assert_status(unsafe { esrpc_headers_clear(list.handle) }, ESRPC_OK);
                list.model.clear();
            }
            Step::Get { list, index } => {
                let (list, mut header) = (&lists[usize::from(list)], NO_HEADER);
                // SAFETY: a live builder and a variable.
                let status = unsafe { esrpc_headers_get(list.handle.as_ref(), index.into(), &mut header) };
                match list.model.get(usize::from(index)) {
                    // SAFETY: the list lent it and was not changed.
                    Some(expected) => assert_eq!(&unsafe { entry(&header) }, expected),
                    None => assert_status(status, ESRPC_ERROR_HEADER_NOT_FOUND),
                }
            }
            Step::GetRange { list, first, capacity } => {
                let list = &lists[usize::from(list)];
                // SAFETY: a live builder.
                unsafe { check_range(list.handle, &list.model, first.into(), capacity.into()) };
            }
            Step::Find { list, name } => {
                let list = &lists[usize::from(list)];
                // SAFETY: a live builder.
                unsafe { check_find(list.handle, &list.model, &name.bytes()) };
            }
            Step::RoundTrip { list, payload } => {
                let list = &lists[usize::from(list)];
                decoded = list.round_trip(&payload);
                decoded_model = list.model.clone();
            }
            // SAFETY: a live builder.
            Step::CheckAll { list } => unsafe {
                check(lists[usize::from(list)].handle, &lists[usize::from(list)].model);
            },
        }
    }
    for list in &lists {
        // SAFETY: a live builder.
        unsafe { check(list.handle, &list.model) };
        list.round_trip(b"payload");
    }
}

fn steps(bytes: &[u8]) -> Vec<Step> {
    let mut u = Unstructured::new(bytes);
    let mut steps = Vec::new();
    while !u.is_empty() && steps.len() < MAX_STEPS {
        let step: Result<Step> = u.arbitrary();
        steps.extend(step);
    }
    steps
}
