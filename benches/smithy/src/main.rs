//! The codec's workloads with the aws-smithy-eventstream crate: the same message, the same work, the same lines as
//! codec/codec.c prints, with "smithy" in front.
//!
//! usage: smithy SECONDS [NAME.SIZE]

use std::error::Error;
use std::ffi::c_long;
use std::hint::black_box;

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder, read_message_from, write_message_to};
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::{Buf, Bytes, BytesMut};

const SIZES: [(&str, usize); 5] = [("0B", 0), ("64B", 64), ("1KiB", 1 << 10), ("16KiB", 16 << 10), ("1MiB", 1 << 20)];
const ROW_SIZE: usize = 1 << 20;
const CHUNK: usize = 64 << 10;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds: f64 = arguments.first().ok_or("usage: smithy SECONDS [NAME.SIZE]")?.parse()?;
    for (size_name, size) in SIZES {
        let work = Work::new(size)?;
        for (name, function) in [
            ("encode", Work::encode as Function),
            ("encode_new_list", Work::encode_new_list),
            ("decode", Work::decode),
            ("decode_chunks", Work::decode_chunks),
        ] {
            if arguments.get(1).is_none_or(|wanted| *wanted == format!("{name}.{size_name}")) {
                rate_of(&work, function, seconds / 10.0)?;
                println!("smithy.codec.{name}.{size_name}.rate {:.0} msg/s", rate_of(&work, function, seconds)?);
            }
        }
    }
    Ok(())
}

/// Does it at least that many times; answers how often.
type Function = fn(&Work, u64) -> Outcome<u64>;

// SAFETY: it is so declared in time.h and takes nothing.
unsafe extern "C" {
    /// CPU time of this process, microseconds.
    safe fn clock() -> c_long;
}

fn cpu_seconds() -> f64 {
    clock() as f64 / 1e6
}

/// Messages per second of CPU time, over about that many seconds.
fn rate_of(work: &Work, function: Function, seconds: f64) -> Outcome<f64> {
    let begin = cpu_seconds();
    let (mut messages, mut batch) = (0, 1);
    loop {
        messages += function(work, batch)?;
        let elapsed = cpu_seconds() - begin;
        if elapsed >= seconds {
            return Ok(messages as f64 / elapsed);
        }
        if elapsed < seconds / 16.0 {
            batch *= 2;
        }
    }
}

struct Work {
    payload: Bytes,
    message: Message,
    encoded: Bytes,
    /// The same message again and again, about 1 MiB, or one that is larger.
    row: Bytes,
}

impl Work {
    fn new(size: usize) -> Outcome<Work> {
        let payload = Bytes::from((0..size).map(|i| (i * 31 + (i >> 8) + 7) as u8).collect::<Vec<u8>>());
        let message = with_headers(payload.clone());
        let mut encoded = Vec::new();
        write_message_to(&message, &mut encoded)?;
        let row = Bytes::from(encoded.repeat((ROW_SIZE / encoded.len()).max(1)));
        Ok(Work { payload, message, encoded: encoded.into(), row })
    }

    fn encode(&self, times: u64) -> Outcome<u64> {
        let mut out = Vec::with_capacity(self.encoded.len());
        for _ in 0..times {
            out.clear();
            write_message_to(&self.message, &mut out)?;
            black_box(&out);
        }
        Ok(times)
    }

    fn encode_new_list(&self, times: u64) -> Outcome<u64> {
        let mut out = Vec::with_capacity(self.encoded.len());
        for _ in 0..times {
            out.clear();
            write_message_to(&with_headers(self.payload.clone()), &mut out)?;
            black_box(&out);
        }
        Ok(times)
    }

    fn decode(&self, times: u64) -> Outcome<u64> {
        for _ in 0..times {
            let message = read_message_from(self.encoded.clone())?;
            for header in message.headers() {
                black_box(header);
            }
            black_box(message.payload());
        }
        Ok(times)
    }

    /// The decoder takes whole frames from what has been gathered.
    fn decode_chunks(&self, times: u64) -> Outcome<u64> {
        let mut done = 0;
        while done < times {
            let mut decoder = MessageFrameDecoder::new();
            let mut gathered = BytesMut::new();
            for chunk in self.row.chunks(CHUNK) {
                gathered.extend_from_slice(chunk);
                while let DecodedFrame::Complete(message) = decoder.decode_frame(&mut gathered)? {
                    black_box(message.payload());
                    done += 1;
                }
            }
            if gathered.has_remaining() {
                return Err("a message did not end".into());
            }
        }
        Ok(done)
    }
}

fn with_headers(payload: Bytes) -> Message {
    Message::new(payload)
        .add_header(Header::new(":message-type", HeaderValue::Int32(0)))
        .add_header(Header::new(":message-flags", HeaderValue::Int32(0)))
        .add_header(Header::new(":stream-id", HeaderValue::Int32(17)))
        .add_header(Header::new("operation", HeaderValue::String("bench#Echo".into())))
}
