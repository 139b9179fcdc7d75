//! Deadlines of a connection, and the library's own PINGs.

use super::boolean::esrpc_bool;
use super::connection_options::{esrpc_connection_options, rate};
use super::failure::required;
use super::guard;
use super::status::esrpc_status;
use super::times::{delay, limit};

/// Sets how long resolving the host name may take; after that, setup fails with ESRPC_ERROR_RESOLVE_TIMED_OUT.
/// Default: 10000.
///
/// @param options Modified.
/// @param timeout_ms Milliseconds, 1 to 86400000 (a day), or ESRPC_NO_TIMEOUT.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or timeout_ms is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_resolve_timeout_ms(
    options: Option<&mut esrpc_connection_options>,
    timeout_ms: u32,
) -> esrpc_status {
    guard::call(|| {
        required(options, "options")?.settings.times.resolve = limit(timeout_ms, "resolve_timeout_ms")?;
        Ok(())
    })
}

/// Sets how long connecting may take, for all addresses of the host together; after that, setup fails with
/// ESRPC_ERROR_CONNECT_TIMED_OUT. Default: 10000.
///
/// @param options Modified.
/// @param timeout_ms Milliseconds, 1 to 86400000 (a day), or ESRPC_NO_TIMEOUT.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or timeout_ms is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_connect_timeout_ms(
    options: Option<&mut esrpc_connection_options>,
    timeout_ms: u32,
) -> esrpc_status {
    guard::call(|| {
        required(options, "options")?.settings.times.connect = limit(timeout_ms, "connect_timeout_ms")?;
        Ok(())
    })
}

/// Sets how long the TLS handshake may take; after that, setup fails with ESRPC_ERROR_TLS_TIMED_OUT, which a server's
/// listener reports by on_failed_connection. Default: 10000.
///
/// @param options Modified.
/// @param timeout_ms Milliseconds, 1 to 86400000 (a day), or ESRPC_NO_TIMEOUT.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or timeout_ms is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_tls_timeout_ms(
    options: Option<&mut esrpc_connection_options>,
    timeout_ms: u32,
) -> esrpc_status {
    guard::call(|| {
        required(options, "options")?.settings.times.tls = limit(timeout_ms, "tls_timeout_ms")?;
        Ok(())
    })
}

/// Sets how long the handshake (CONNECT, CONNECT_ACK) may take, counted from setup, from the end of TCP and TLS if
/// setup includes it (esrpc_client_options_set_handshake), or on a server from on_incoming_connection; after that, the
/// connection ends with ESRPC_ERROR_HANDSHAKE_TIMED_OUT. On a client this bounds the wait for a server that accepts
/// the connection but never sends CONNECT_ACK. Default: 10000.
///
/// @param options Modified.
/// @param timeout_ms Milliseconds, 1 to 86400000 (a day), or ESRPC_NO_TIMEOUT.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or timeout_ms is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_handshake_timeout_ms(
    options: Option<&mut esrpc_connection_options>,
    timeout_ms: u32,
) -> esrpc_status {
    guard::call(|| {
        required(options, "options")?.settings.times.handshake = limit(timeout_ms, "handshake_timeout_ms")?;
        Ok(())
    })
}

/// Sets how long bytes may wait to be written while the peer takes none of them; after that, the connection ends with
/// ESRPC_ERROR_WRITE_TIMED_OUT. Default: 30000.
///
/// @param options Modified.
/// @param timeout_ms Milliseconds, 1 to 86400000 (a day), or ESRPC_NO_TIMEOUT.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or timeout_ms is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_write_timeout_ms(
    options: Option<&mut esrpc_connection_options>,
    timeout_ms: u32,
) -> esrpc_status {
    guard::call(|| {
        required(options, "options")?.settings.times.write = limit(timeout_ms, "write_timeout_ms")?;
        Ok(())
    })
}

/// Sets how long a message may take to arrive once it has begun, plus a second for each 64 KiB of its length; after
/// that, the connection ends with ESRPC_ERROR_MESSAGE_TIMED_OUT. Default: 30000.
///
/// @param options Modified.
/// @param timeout_ms Milliseconds, 1 to 86400000 (a day), or ESRPC_NO_TIMEOUT.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or timeout_ms is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_message_timeout_ms(
    options: Option<&mut esrpc_connection_options>,
    timeout_ms: u32,
) -> esrpc_status {
    guard::call(|| {
        required(options, "options")?.settings.times.message = limit(timeout_ms, "message_timeout_ms")?;
        Ok(())
    })
}

/// Sets how long a connection may be idle in both directions; after that, it ends with ESRPC_ERROR_IDLE_TIMED_OUT.
/// Default: ESRPC_NO_TIMEOUT.
///
/// @param options Modified.
/// @param timeout_ms Milliseconds, 1 to 86400000 (a day), or ESRPC_NO_TIMEOUT.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or timeout_ms is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_idle_timeout_ms(
    options: Option<&mut esrpc_connection_options>,
    timeout_ms: u32,
) -> esrpc_status {
    guard::call(|| {
        required(options, "options")?.settings.times.idle = limit(timeout_ms, "idle_timeout_ms")?;
        Ok(())
    })
}

/// Sets how long open streams may go on after the peer has closed its sending side. What the peer has sent is
/// delivered in any case, and sends made in those callbacks are written. Default: 0, not at all.
///
/// @param options Modified.
/// @param half_open_ms Milliseconds, 0 to 86400000 (a day), or ESRPC_NO_TIMEOUT: until they end.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or half_open_ms is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_half_open_ms(
    options: Option<&mut esrpc_connection_options>,
    half_open_ms: u32,
) -> esrpc_status {
    guard::call(|| {
        required(options, "options")?.settings.times.half_open = delay(half_open_ms, "half_open_ms")?;
        Ok(())
    })
}

/// Makes the library send a PING when the peer has been silent for a time. If it stays silent, the connection ends
/// with ESRPC_ERROR_KEEP_ALIVE_TIMED_OUT. Responses to these PINGs are not delivered. Default: off.
///
/// @param options Modified.
/// @param interval_ms Milliseconds of silence before a PING, 1 to 86400000 (a day), or ESRPC_NO_TIMEOUT: off.
/// @param timeout_ms Milliseconds to wait after the PING, 1 to 86400000, or ESRPC_NO_TIMEOUT.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or a time is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_keep_alive_ping(
    options: Option<&mut esrpc_connection_options>,
    interval_ms: u32,
    timeout_ms: u32,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        let interval = limit(interval_ms, "interval_ms")?;
        options.settings.times.ping_response = limit(timeout_ms, "timeout_ms")?;
        options.settings.times.ping = interval;
        Ok(())
    })
}

/// Makes the library answer the peer's PINGs itself, with the PING's payload and those of its headers whose names do
/// not begin with ":"; they are not passed to on_protocol_message. PINGs beyond
/// esrpc_connection_options_set_ping_answer_limit, and those that arrive while the outbound limit is reached, are
/// dropped. Default: off; the application answers.
///
/// @param options Modified.
/// @param on Whether the library does so.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_answer_pings(
    options: Option<&mut esrpc_connection_options>,
    on: esrpc_bool,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        options.settings.answer_pings = on.is_true();
        Ok(())
    })
}

/// Limits how many PINGs the library answers (esrpc_connection_options_set_answer_pings); others are dropped, and the
/// connection goes on. Default: 10 a second, 100 at once.
///
/// @param options Modified.
/// @param per_second Responses per second in the long run, 1 to 1000000.
/// @param burst Responses at once after a pause, 1 to 1000000.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or a number is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_ping_answer_limit(
    options: Option<&mut esrpc_connection_options>,
    per_second: u32,
    burst: u32,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        options.settings.ping_answers = rate(per_second, burst)?;
        Ok(())
    })
}
