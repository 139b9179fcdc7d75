//! Settings that client and listener share.

use std::fmt::Display;
use std::ops::RangeInclusive;

use super::failure::{Failure, required};
use super::guard;
use super::handle::BoxHandle;
use super::status::esrpc_status;
use super::times::delay;
use crate::codec::MIN_MESSAGE_LEN;
use crate::rpc::Rate;
use crate::runtime::Settings;

/// The largest size that is used, though the format's lengths could express twice as much.
const MAX_SIZE: usize = i32::MAX as usize;
const MAX_RECEIVED_VALUE_LEN: usize = u16::MAX as usize;

/// Settings of a connection, for a client or for those that a listener accepts. They are copied when they are used.
/// Release them with esrpc_connection_options_release.
#[derive(Clone, Debug, Default)]
pub struct esrpc_connection_options {
    pub(crate) settings: Settings,
}

impl BoxHandle for esrpc_connection_options {}

impl esrpc_connection_options {
    /// The settings of the options, or the defaults if there are none.
    pub(crate) fn settings(options: Option<&esrpc_connection_options>) -> Settings {
        options.map(|options| options.settings.clone()).unwrap_or_default()
    }
}

/// Returns `value`, or a failure that names the option and its range.
pub(crate) fn in_range<T: PartialOrd + Display>(
    value: T,
    range: RangeInclusive<T>,
    option: &str,
) -> Result<T, Failure> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (low, high) = range.into_inner();
    Err(Failure::invalid_argument(format!("{option} is {value}; it must be {low} to {high}")))
}

/// A rate: how often per second in the long run, and how often at once after a pause.
pub(crate) fn rate(per_second: u32, burst: u32) -> Result<Rate, Failure> {
    const MAX: u32 = 1_000_000;
    let per_second = in_range(per_second, 1..=MAX, "per_second")?;
    Ok(Rate { per_second, burst: in_range(burst, 1..=MAX, "burst")? })
}

/// Creates connection settings with every option at its default.
///
/// @return New settings, to be released with esrpc_connection_options_release. NULL only inside a log callback.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_new() -> *mut esrpc_connection_options {
    guard::value(std::ptr::null_mut(), || esrpc_connection_options::default().give())
}

/// Frees connection settings. Objects made with them have their own copy.
///
/// @param options Not to be used afterwards; NULL: nothing happens.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_options_release(options: *mut esrpc_connection_options) {
    guard::value((), || {
        // SAFETY: NULL or live settings that the caller gives up.
        unsafe { esrpc_connection_options::release(options) }
    })
}

/// Sets the largest message that may be sent or received, headers and payload together; a larger one fails with
/// ESRPC_ERROR_MESSAGE_TOO_LARGE. Default: 24 MiB, which is what peers accept.
///
/// @param options Modified.
/// @param bytes The size of a whole message, 16 to 2147483647.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or bytes is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_max_message_size(
    options: Option<&mut esrpc_connection_options>,
    bytes: usize,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        options.settings.limits.messages.max_message_len =
            in_range(bytes, MIN_MESSAGE_LEN..=MAX_SIZE, "the maximum message size")?;
        Ok(())
    })
}

/// Sets the largest message that may be received before the handshake is done; a larger one fails with
/// ESRPC_ERROR_HANDSHAKE_MESSAGE_TOO_LARGE. Default: 64 KiB.
///
/// @param options Modified.
/// @param bytes The size of a whole message, 16 to 2147483647.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or bytes is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_max_handshake_message_size(
    options: Option<&mut esrpc_connection_options>,
    bytes: usize,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        let name = "the maximum size of a handshake message";
        options.settings.limits.max_handshake_message_len = in_range(bytes, MIN_MESSAGE_LEN..=MAX_SIZE, name)?;
        Ok(())
    })
}

/// Sets how many headers a message may have, sent or received, including the three of the protocol; more fail with
/// ESRPC_ERROR_TOO_MANY_HEADERS. Default: 1024.
///
/// @param options Modified.
/// @param count The number of headers, 0 to 2147483647.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or count is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_max_headers(
    options: Option<&mut esrpc_connection_options>,
    count: usize,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        options.settings.limits.messages.max_headers = in_range(count, 0..=MAX_SIZE, "the maximum number of headers")?;
        Ok(())
    })
}

/// Sets how many bytes the headers of a message, sent or received, may take together, including the three of the
/// protocol; more fail with ESRPC_ERROR_HEADERS_TOO_LARGE.
/// Default: 24 MiB.
///
/// @param options Modified.
/// @param bytes The size of all headers together, 0 to 2147483647.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or bytes is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_max_headers_size(
    options: Option<&mut esrpc_connection_options>,
    bytes: usize,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        options.settings.limits.messages.max_headers_len =
            in_range(bytes, 0..=MAX_SIZE, "the maximum size of the headers")?;
        Ok(())
    })
}

/// Sets how long the value of a received header may be; a longer one fails with ESRPC_ERROR_HEADER_VALUE_TOO_LONG.
/// Default: 65535, the most that the format allows. Values that are sent are limited to 32767 bytes, which is what
/// peers accept.
///
/// @param options Modified.
/// @param bytes The length of a value, 0 to 65535.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or bytes is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_max_header_value_size(
    options: Option<&mut esrpc_connection_options>,
    bytes: usize,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        let name = "the maximum size of a header's value";
        options.settings.limits.messages.max_value_len = in_range(bytes, 0..=MAX_RECEIVED_VALUE_LEN, name)?;
        Ok(())
    })
}

/// Sets how many accepted but unwritten bytes a connection may hold, all its streams together: once it holds that many,
/// sends return ESRPC_ERROR_WOULD_BLOCK, and on_writable is called when half of them are written. While it holds fewer,
/// a message is accepted whole, even if it exceeds the limit. Default: 16 MiB.
///
/// @param options Modified.
/// @param bytes The limit, 1 to SIZE_MAX / 2.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or bytes is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_outbound_limit(
    options: Option<&mut esrpc_connection_options>,
    bytes: usize,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        options.settings.limits.outbound = in_range(bytes, 1..=usize::MAX / 2, "the outbound limit")?;
        Ok(())
    })
}

/// Sets how many streams a client may have open on one connection at a time. The server refuses the next one with an
/// APPLICATION_ERROR message that has TERMINATE_STREAM, and the connection stays open; on_incoming_stream is not called
/// for it. A stream counts from its acceptance, or from its deferral, until its on_closed. Connections made by this
/// side as a client have no such limit. Default: 1000.
///
/// @param options Modified.
/// @param count The number of streams, 1 to 2147483647.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or count is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_max_streams(
    options: Option<&mut esrpc_connection_options>,
    count: usize,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        options.settings.limits.max_streams = in_range(count, 1..=MAX_SIZE, "max_streams")?;
        Ok(())
    })
}

/// Limits events that cost a server more than its client: messages without TERMINATE_STREAM for a stream that is over,
/// any message on a deferred stream that the client has ended, and streams that the client ends after the server has
/// accepted them but before it has sent anything on them. A first message that ends its own stream does not count.
/// Beyond the limit the server sends PROTOCOL_ERROR and ends the connection with ESRPC_ERROR_TOO_MANY_ABNORMAL_EVENTS.
/// Default: 33 a second, 1000 at once.
///
/// @param options Modified.
/// @param per_second Events per second in the long run, 1 to 1000000.
/// @param burst Events at once after a pause, 1 to 1000000.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or a number is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_abnormal_event_limit(
    options: Option<&mut esrpc_connection_options>,
    per_second: u32,
    burst: u32,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        options.settings.limits.abnormal_events = rate(per_second, burst)?;
        Ok(())
    })
}

/// Sets how many bytes of messages may wait for esrpc_stream_read on one stream. Once it holds that many, nothing
/// more is read from the connection, for any stream, until half of them are taken, the stream has ended or its last
/// handle is released. Meanwhile the end of the connection is not noticed either, until a write fails: then what has
/// arrived is queued, and the connection ends. Default: 1 MiB.
///
/// @param options Modified.
/// @param bytes The limit, 1 to SIZE_MAX / 2, in bytes of whole messages; a single message that exceeds it is
/// accepted nevertheless.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or bytes is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_stream_queue_limit(
    options: Option<&mut esrpc_connection_options>,
    bytes: usize,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        options.settings.stream_queue_limit = in_range(bytes, 1..=usize::MAX / 2, "the limit of a stream's queue")?;
        Ok(())
    })
}

/// Sets how long a closing connection waits for its peer to take more bytes before it gives up with
/// ESRPC_ERROR_LINGER_EXPIRED. Default: 10000.
///
/// @param options Modified.
/// @param linger_ms Milliseconds, 0 to 86400000 (a day), or ESRPC_NO_TIMEOUT; 0: what the system does not take at
/// once is dropped.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or linger_ms is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_linger_ms(
    options: Option<&mut esrpc_connection_options>,
    linger_ms: u32,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        options.settings.times.linger = delay(linger_ms, "linger_ms")?;
        Ok(())
    })
}
