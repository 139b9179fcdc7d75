//! Options of a connection's socket.

use std::time::Duration;

use super::boolean::esrpc_bool;
use super::connection_options::{esrpc_connection_options, in_range};
use super::failure::{Failure, required};
use super::guard;
use super::status::esrpc_status;
use crate::transport::KeepAlive;

const MAX_BUFFER_SIZE: usize = 1 << 30;
const MAX_KEEP_ALIVE_MS: u32 = 32_767_000;
const MAX_PROBES: u32 = 127;

/// Turns TCP_NODELAY on or off: when it is on, small messages are sent at once instead of waiting for earlier ones to
/// be acknowledged. Default: on. The TLS handshake, CONNECT and CONNECT_ACK never wait.
///
/// @param options Modified.
/// @param on Whether they are sent at once.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_tcp_nodelay(
    options: Option<&mut esrpc_connection_options>,
    on: esrpc_bool,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        options.settings.socket.no_delay = on.is_true();
        Ok(())
    })
}

/// Turns TCP's own keep-alive on or off, with which the system probes a silent peer. Default: off. If the peer is gone,
/// the connection ends with ESRPC_ERROR_IO or ESRPC_ERROR_CONNECTION_RESET.
///
/// @param options Modified.
/// @param on Whether it is on; if not, the numbers are ignored.
/// @param idle_ms Milliseconds of silence before the first probe, 1 to 32767000, rounded up to whole seconds; 0: the
/// system's default.
/// @param interval_ms Milliseconds between probes, 1 to 32767000, rounded up to whole seconds; 0: the system's
/// default.
/// @param probes Unanswered probes after which the peer is considered gone, 1 to 127; 0: the system's default.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or a number is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_tcp_keep_alive(
    options: Option<&mut esrpc_connection_options>,
    on: esrpc_bool,
    idle_ms: u32,
    interval_ms: u32,
    probes: u32,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        if !on.is_true() {
            options.settings.socket.keep_alive = None;
            return Ok(());
        }
        let seconds = |ms: u32, name: &str| -> Result<Option<Duration>, Failure> {
            let ms = in_range(ms, 0..=MAX_KEEP_ALIVE_MS, name)?;
            Ok((ms > 0).then(|| Duration::from_secs(ms.div_ceil(1000).into())))
        };
        let keep_alive = KeepAlive {
            idle: seconds(idle_ms, "idle_ms")?,
            interval: seconds(interval_ms, "interval_ms")?,
            probes: Some(in_range(probes, 0..=MAX_PROBES, "probes")?).filter(|probes| *probes > 0),
        };
        options.settings.socket.keep_alive = Some(keep_alive);
        Ok(())
    })
}

/// Sets the sizes of the socket's buffers in the system. Default: 0, the system's choice.
///
/// @param options Modified.
/// @param send_bytes Bytes for data written but not acknowledged, 0 to 1073741824; 0: the system's default.
/// @param receive_bytes Bytes for data received but not read, 0 to 1073741824; 0: the system's default.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or a size is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_connection_options_set_socket_buffers(
    options: Option<&mut esrpc_connection_options>,
    send_bytes: usize,
    receive_bytes: usize,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        let send = in_range(send_bytes, 0..=MAX_BUFFER_SIZE, "send_bytes")?;
        let receive = in_range(receive_bytes, 0..=MAX_BUFFER_SIZE, "receive_bytes")?;
        options.settings.socket.send_buffer = Some(send).filter(|bytes| *bytes > 0);
        options.settings.socket.receive_buffer = Some(receive).filter(|bytes| *bytes > 0);
        Ok(())
    })
}
