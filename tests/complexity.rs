//! Promise 16: each operation on a list or table of the codec costs no more than n log n, failing ones included, so
//! that four times as much of everything takes little more than four times the work. The processor time of the thread
//! is compared, the least of several tries: what else the machine does changes it little, and what is quadratic takes
//! sixteen times as long.
#![cfg(target_os = "linux")]

use eventstream_rpc::codec::{
    DecodeEvents, EventDecoder, FlatHeader, HeaderList, HeaderValue, Headers, Limits, MIN_MESSAGE_LEN, Message,
    MessageCopy, MessageDecoder, Prelude, Unsealed, encode_into,
};
use eventstream_rpc::ffi::bytes::{esrpc_buffer_release, esrpc_bytes};
use eventstream_rpc::ffi::decoder::*;
use eventstream_rpc::ffi::headers::*;
use eventstream_rpc::ffi::headers_add::*;
use eventstream_rpc::ffi::headers_get::*;
use eventstream_rpc::ffi::message::*;
use eventstream_rpc::ffi::status::{esrpc_status, esrpc_status_code};
use eventstream_rpc::rpc::Outgoing;
use eventstream_rpc::transport::{TlsRole, new_tls_config_builder};
use std::ffi::c_void;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr;

const OK: esrpc_status = esrpc_status_code::ESRPC_OK as esrpc_status;
const TOO_LARGE: esrpc_status = esrpc_status_code::ESRPC_ERROR_HEADERS_TOO_LARGE as esrpc_status;

const FEW: usize = 250;
const MANY: usize = 4 * FEW;
/// Memory that the caches do not hold, or that the system has to give first, takes longer.
const TOLERATED: f64 = 6.5;
const RUNS: usize = 7;
/// A machine that is busy may make a few of them slow.
const TRIES: usize = 5;

/// The processor time of this thread, in nanoseconds.
fn thread_time() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place for the time.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// The shortest of several runs of the operation, each on a new object.
fn cost<T>(prepare: impl Fn() -> T, mut operation: impl FnMut(&mut T)) -> f64 {
    let run = |_| {
        let mut prepared = prepare();
        let before = thread_time();
        operation(black_box(&mut prepared));
        thread_time() - before
    };
    (0..RUNS).map(run).min().unwrap_or_default() as f64
}

/// The operation on this many, prepared by `prepare`, and on four times as many.
#[track_caller]
fn check<T>(what: &str, prepare: impl Fn(usize) -> T, mut operation: impl FnMut(&mut T)) {
    let mut ratios = Vec::new();
    for _ in 0..TRIES {
        let few = cost(|| prepare(FEW), &mut operation);
        let ratio = cost(|| prepare(MANY), &mut operation) / few;
        if ratio <= TOLERATED {
            println!("{what}: four times as many take {ratio:.1} times as long");
            return;
        }
        ratios.push(ratio);
    }
    panic!("{what}: four times as many take {ratios:.1?} times as long");
}

fn name(at: usize) -> String {
    format!("name {}", at % 7)
}

fn list_of(count: usize) -> HeaderList {
    let mut list = HeaderList::new();
    for at in 0..count {
        list.add(name(at).as_bytes(), HeaderValue::Int32(1)).expect("a header");
    }
    list
}

fn message_of(headers: usize) -> Vec<u8> {
    message_with(list_of(headers).as_bytes(), b"payload")
}

fn message_with(section: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_into(&[section], payload, &mut bytes);
    bytes
}

#[test]
#[should_panic(expected = "take")]
fn what_is_quadratic_is_seen() {
    let numbers = |size| (0..size as u64).collect::<Vec<_>>();
    check("comparing all with all", numbers, |numbers| {
        black_box(numbers.iter().filter(|a| numbers.iter().all(|b| **a <= *b + 10_000)).count());
    });
}

#[test]
fn header_lists() {
    let last = |list: &HeaderList| list.len() - 1;
    check("building a list", |size| size, |size| _ = black_box(list_of(*size)));
    check("a header that is refused", list_of, |list| {
        assert!(list.add(b"", HeaderValue::Bool(true)).is_err());
        assert!(list.add(b"n\xff", HeaderValue::Bool(true)).is_err());
    });
    check("reading each", list_of, |list| (0..list.len()).for_each(|at| assert!(list.get(at).is_some())));
    check("removing the first", list_of, |list| assert!(list.remove_at(0)));
    check("removing one in the middle", list_of, |list| assert!(list.remove_at(list.len() / 2)));
    check("removing each from the end", list_of, |list| while !list.is_empty() && list.remove_at(last(list)) {});
    check("removing none by place", list_of, |list| assert!(!list.remove_at(list.len())));
    check("removing some by name", list_of, |list| assert!(list.remove(b"NAME 3") > 0));
    check("removing none by name", list_of, |list| assert_eq!(list.remove(b"name 9"), 0));
    check("finding the last", list_of, |list| assert!(list.as_headers().find(b"name 3").is_some()));
    check("finding none", list_of, |list| assert!(list.as_headers().find(b"name 9").is_none()));
    check("walking", list_of, |list| assert_eq!(list.as_headers().iter().count(), list.len()));
    check("shortening", list_of, |list| list.truncate(1));
    check("clearing", list_of, |list| list.clear());
    check("copies of all", list_of, |list| {
        let mut copy = HeaderList::new();
        copy.add_copies(list.as_headers(), |_| true).expect("it fits");
        assert_eq!(copy.as_bytes(), list.as_bytes());
    });
    check("copies of every second", list_of, |list| {
        let (mut copy, mut at) = (HeaderList::new(), 0);
        let every_second = |_: &[u8]| {
            at += 1;
            at % 2 == 0
        };
        copy.add_copies(list.as_headers(), every_second).expect("it fits");
        assert_eq!(copy.len(), list.len() / 2);
    });
}

#[test]
fn sections_and_messages() {
    let limits = Limits::DEFAULT;
    check("checking headers", list_of, |list| assert!(Headers::parse(list.as_bytes(), &limits).is_ok()));
    check("checking headers with a defect at their end", list_of, |list| {
        let bytes = list.as_bytes();
        assert!(Headers::parse(&bytes[..bytes.len() - 1], &limits).is_err());
    });
    check("decoding", message_of, |bytes| assert!(Message::decode(bytes, &limits).is_ok()));
    check("decoding with a wrong checksum", message_of, |bytes| {
        *bytes.last_mut().expect("a byte") ^= 1;
        assert!(Message::decode(bytes, &limits).is_err());
    });
    check("decoding a part", message_of, |bytes| assert!(Message::decode(&bytes[..bytes.len() - 1], &limits).is_err()));
    check("encoding", list_of, |list| _ = black_box(message_with(list.as_bytes(), b"payload")));
    check("encoding in two steps", list_of, |list| {
        let len = list.as_bytes().len() + MIN_MESSAGE_LEN + b"payload".len();
        let unsealed = Unsealed::encode(len, b"payload", Vec::new(), |out| out.extend(list.as_bytes()));
        black_box(unsealed.seal(20, b"abcd"));
    });
    check("copying a message", message_of, |bytes| {
        let (message, _) = Message::decode(bytes, &limits).expect("a message");
        black_box(MessageCopy::of(&message));
    });
    let send = |list: &HeaderList| {
        let outgoing =
            Outgoing { message_type: 2, flags: 0, headers: Some(list), operation: None, payload: b"payload" };
        outgoing.prepare(false, &limits).is_ok()
    };
    check("checking headers to be sent", list_of, |list| assert!(send(list)));
    check("checking headers that may not be sent", list_of, |list| {
        list.add(b":stream-id", HeaderValue::Int32(1)).expect("a header");
        assert!(!send(list));
    });
}

#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs TLS")]
fn certificates() {
    let damaged = |size: usize| "-----BEGIN CERTIFICATE-----\nAQ*D\n-----END CERTIFICATE-----\n".repeat(size);
    check("damaged sections of a PEM file", damaged, |pem| {
        let mut builder = new_tls_config_builder(TlsRole::Client).expect("there is TLS");
        assert!(builder.add_ca(pem.as_bytes()).is_err());
    });
    let unfinished = |size: usize| "-----BEGIN CERTIFICATE-----\nAQID\n".repeat(size);
    check("sections of a PEM file without an end", unfinished, |pem| {
        let mut builder = new_tls_config_builder(TlsRole::Client).expect("there is TLS");
        assert!(builder.add_ca(pem.as_bytes()).is_err());
    });
}

/// Looks at nothing.
struct Ignore;

impl DecodeEvents for Ignore {
    fn on_prelude(&mut self, _: &Prelude) {}
    fn on_header(&mut self, _: &FlatHeader<'_>) {}
    fn on_payload(&mut self, _: &[u8]) {}
    fn on_complete(&mut self, _: u32) {}
}

#[test]
fn decoders() {
    check("headers at once", message_of, |bytes| {
        assert_eq!(EventDecoder::new(Limits::DEFAULT).push(bytes, &mut Ignore), Ok(()));
    });
    check("headers byte by byte", message_of, |bytes| {
        let mut decoder = EventDecoder::new(Limits::DEFAULT);
        bytes.iter().for_each(|byte| assert_eq!(decoder.push(&[*byte], &mut Ignore), Ok(())));
    });
    let long_value = |size: usize| {
        let value = vec![b'v'; size * 20];
        let mut list = HeaderList::new();
        list.add(b"n", HeaderValue::ByteBuf(&value)).expect("a header");
        message_with(list.as_bytes(), b"")
    };
    check("a long value byte by byte", long_value, |bytes| {
        let mut decoder = EventDecoder::new(Limits::DEFAULT);
        bytes.iter().for_each(|byte| assert_eq!(decoder.push(&[*byte], &mut Ignore), Ok(())));
    });
    check(
        "a long payload byte by byte",
        |size| message_with(b"", &vec![b'p'; size * 10]),
        |bytes| {
            let mut decoder = MessageDecoder::new(Limits::DEFAULT);
            bytes.iter().for_each(|byte| assert_eq!(decoder.push(&[*byte]), Ok(())));
            assert!(decoder.next_message().is_ok_and(|message| message.is_some()));
        },
    );
    let messages = |size: usize| message_of(1).repeat(size);
    check("messages at once", messages, |bytes| {
        let mut decoder = MessageDecoder::new(Limits::DEFAULT);
        assert_eq!(decoder.push(bytes), Ok(()));
        while decoder.next_message().expect("no error").is_some() {}
    });
    check("messages that are taken late", messages, |bytes| {
        let mut decoder = MessageDecoder::new(Limits::DEFAULT);
        for chunk in bytes.chunks(50) {
            assert_eq!(decoder.push(chunk), Ok(()));
            let _ = decoder.next_message();
        }
        while decoder.next_message().expect("no error").is_some() {}
    });
    check("messages before an error", messages, |bytes| {
        let mut decoder = MessageDecoder::new(Limits::DEFAULT);
        *bytes.last_mut().expect("a byte") ^= 1;
        assert!(decoder.push(bytes).is_err());
        while decoder.next_message().is_ok_and(|message| message.is_some()) {}
        assert!(decoder.push(bytes).is_err());
    });
}

fn lend(text: &str) -> esrpc_bytes {
    esrpc_bytes { data: text.as_ptr(), len: text.len() }
}

/// A header list of the C interface.
struct Built(*mut esrpc_headers);

impl Built {
    fn of(count: usize) -> Built {
        let list = Built(esrpc_headers_new());
        for at in 0..count {
            // SAFETY: a live list, and bytes that live during the call.
            assert_eq!(unsafe { esrpc_headers_add_int32(list.0, lend(&name(at)), 1) }, OK);
        }
        list
    }

    /// So full that copies of `count` headers fit, except the last.
    fn almost_full(count: usize) -> Built {
        let list = Built::of(0);
        let copies = list_of(count).as_bytes().len();
        let value = vec![b'v'; 32_000];
        let mut room = Limits::DEFAULT.max_headers_len - copies + 1;
        while room > 0 {
            // What is left has room for a header of its own.
            let len = if room > 32_010 { 32_005 } else { room.min(32_000) };
            // SAFETY: as above.
            let status = unsafe {
                esrpc_headers_add_byte_buf(list.0, lend("n"), esrpc_bytes { data: value.as_ptr(), len: len - 5 })
            };
            assert_eq!(status, OK);
            room -= len;
        }
        list
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        // SAFETY: a live list, given up.
        unsafe { esrpc_headers_release(self.0) }
    }
}

/// A message of the C interface, with its bytes.
struct Decoded {
    message: *mut esrpc_message,
    headers: *const esrpc_headers,
    count: usize,
    _bytes: Vec<u8>,
}

impl Decoded {
    fn of(count: usize) -> Decoded {
        let bytes = message_of(count);
        let mut message = ptr::null_mut();
        // SAFETY: the bytes live as long as the message.
        unsafe {
            let lent = esrpc_bytes { data: bytes.as_ptr(), len: bytes.len() };
            assert_eq!(esrpc_message_decode(lent, &mut message, ptr::null_mut()), OK);
            Decoded { message, headers: esrpc_message_get_headers(message.as_ref()), count, _bytes: bytes }
        }
    }

    fn get(&self, at: usize) {
        let mut header = MaybeUninit::uninit();
        // SAFETY: a live list and a place for the header.
        assert_eq!(unsafe { esrpc_headers_get(self.headers.as_ref(), at, header.as_mut_ptr()) }, OK);
    }
}

impl Drop for Decoded {
    fn drop(&mut self) {
        // SAFETY: a live message, given up.
        unsafe { esrpc_message_release(self.message) }
    }
}

#[test]
fn changes_to_lists_from_c() {
    // SAFETY: live lists, and bytes that live during the calls, here and below.
    check("removing the first", Built::of, |list| unsafe {
        assert_eq!(esrpc_headers_remove_at(list.0, 0), OK);
        assert_ne!(esrpc_headers_remove_at(list.0, usize::MAX), OK);
    });
    check("removing by name", Built::of, |list| unsafe {
        assert_eq!(esrpc_headers_remove(list.0, lend("name 3")), OK);
        assert_ne!(esrpc_headers_remove(list.0, lend("name 3")), OK);
    });
    check(
        "adding what was read from the same list",
        |size| Built::of(size / 2),
        |list| unsafe {
            for at in 0..esrpc_headers_count(list.0.as_ref()) {
                let mut header = MaybeUninit::uninit();
                assert_eq!(esrpc_headers_get(list.0.as_ref(), at, header.as_mut_ptr()), OK);
                let name = header.assume_init().name;
                assert_eq!(esrpc_headers_add_string(list.0, name, name), OK);
            }
        },
    );
    check("appending a list to itself", Built::of, |list| unsafe {
        assert_eq!(esrpc_headers_add_from(list.0, list.0, false.into()), OK);
    });
    check(
        "appending the list of a message",
        |size| (Built::of(0), Decoded::of(size)),
        |(list, source)| unsafe {
            assert_eq!(esrpc_headers_add_from(list.0, source.headers, false.into()), OK);
        },
    );
    let fits = |(list, source): &mut (Built, Decoded)| unsafe {
        assert_eq!(esrpc_headers_add_from(list.0, source.headers, false.into()), OK);
    };
    let does_not_fit = |(list, source): &mut (Built, Decoded)| unsafe {
        let before = esrpc_headers_count(list.0.as_ref());
        assert_eq!(esrpc_headers_add_from(list.0, source.headers, false.into()), TOO_LARGE);
        assert_eq!(esrpc_headers_count(list.0.as_ref()), before);
    };
    let almost_full = || (Built::almost_full(MANY), Decoded::of(MANY));
    let ratio = cost(almost_full, does_not_fit) / cost(|| (Built::of(0), Decoded::of(MANY)), fits);
    assert!(
        ratio < TOLERATED,
        "a list of which the last header does not fit takes {ratio:.1} times as long as one that fits"
    );
}

unsafe extern "C" fn on_header(_: *mut esrpc_decoder, header: *const esrpc_header, _: *mut c_void) {
    black_box(header);
}

#[test]
fn decoders_from_c() {
    let callbacks = esrpc_decoder_callbacks {
        struct_size: size_of::<esrpc_decoder_callbacks>(),
        on_prelude: None,
        on_header: Some(on_header),
        on_payload: None,
        on_complete: None,
        on_error: None,
    };
    let decode = |bytes: &[u8], chunk: usize, callbacks: *const esrpc_decoder_callbacks| {
        let mut decoder = ptr::null_mut();
        // SAFETY: a live decoder, bytes that live during the calls, and a place for each message.
        unsafe {
            assert_eq!(esrpc_decoder_new(callbacks, ptr::null_mut(), &mut decoder), OK);
            for chunk in bytes.chunks(chunk) {
                let data = esrpc_bytes { data: chunk.as_ptr(), len: chunk.len() };
                assert_eq!(esrpc_decoder_push(decoder, data), OK);
                let mut message = ptr::null();
                while callbacks.is_null() {
                    assert_eq!(esrpc_decoder_next_message(decoder, &mut message), OK);
                    if message.is_null() {
                        break;
                    }
                }
            }
            assert_eq!(esrpc_decoder_finish(decoder), OK);
            esrpc_decoder_release(decoder);
        }
    };
    let messages = |size: usize| message_of(1).repeat(size);
    check("messages at once", messages, |bytes| decode(bytes, usize::MAX, ptr::null()));
    check("messages byte by byte", messages, |bytes| decode(bytes, 1, ptr::null()));
    check("callbacks for each header", message_of, |bytes| decode(bytes, usize::MAX, &callbacks));
    check("callbacks for each header byte by byte", message_of, |bytes| decode(bytes, 1, &callbacks));
}

#[test]
fn reading_lists_from_c() {
    check("each in order", Decoded::of, |list| (0..list.count).for_each(|at| list.get(at)));
    check("each in reverse", Decoded::of, |list| (0..list.count).rev().for_each(|at| list.get(at)));
    check("from both ends in turn", Decoded::of, |list| {
        for at in 0..list.count {
            list.get(if at % 2 == 0 { at / 2 } else { list.count - 1 - at / 2 });
        }
    });
    check("here and there", Decoded::of, |list| (0..list.count).for_each(|at| list.get(at * 37 % list.count)));
    check("the last again and again", Decoded::of, |list| {
        (0..list.count).for_each(|at| list.get(if at % 2 == 0 { 0 } else { list.count - 1 }));
    });
    check("ranges in reverse", Decoded::of, |list| {
        for first in (0..list.count / 4).rev() {
            let mut headers = [const { MaybeUninit::<esrpc_header>::uninit() }; 4];
            let (start, mut count) = (headers.as_mut_ptr().cast(), 0);
            // SAFETY: a live list and an array for the headers.
            unsafe { assert_eq!(esrpc_headers_get_range(list.headers.as_ref(), first * 4, start, 4, &mut count), OK) };
            assert_eq!(count, 4);
        }
    });
    check("by name", Decoded::of, |list| {
        let (mut header, mut number) = (MaybeUninit::uninit(), 0);
        // SAFETY: a live list and places for what is read.
        unsafe {
            assert_eq!(esrpc_headers_find(list.headers.as_ref(), lend("NAME 3"), header.as_mut_ptr()), OK);
            assert_eq!(esrpc_headers_get_int32(list.headers.as_ref(), lend("name 3"), &mut number), OK);
            assert_ne!(esrpc_headers_get_int32(list.headers.as_ref(), lend("none"), &mut number), OK);
        }
    });
    check("as JSON", Decoded::of, |list| {
        let mut json = ptr::null_mut();
        // SAFETY: a live message and a place for the text, which is released.
        unsafe {
            assert_eq!(esrpc_message_to_json(list.message.as_ref(), &mut json), OK);
            esrpc_buffer_release(json);
        }
    });
}
