//! Statistics of connections, listeners and runtimes.

use super::counted::{esrpc_connection, esrpc_listener, esrpc_runtime};
use super::guard;
use super::handle::ArcHandle;
use super::runtime::existing_runtime;
use super::status::esrpc_status;
use super::table::write_table;
use crate::runtime::{Figures, with_figures};

/// What has happened on a connection since it was begun, or on all connections of a listener or a runtime since that
/// was made, including connections that have ended. Figures only grow, except outbound_size, streams_open and
/// connections_open, which are the current values. For several connections the figures are added up, except
/// outbound_size_max and longest_turn_us, which are the largest of any connection.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct esrpc_stats {
    /// sizeof(esrpc_stats), set by the caller before the call. A newer library fills in what the caller's struct
    /// has; an older one sets the figures that it does not know to 0.
    pub struct_size: usize,
    /// Messages received and accepted, including those for streams that are over.
    pub messages_received: u64,
    /// Messages accepted for sending, including the library's own.
    pub messages_sent: u64,
    /// Bytes received, without the overhead of TLS. Updated at the end of the loop's turn, so a callback does not see
    /// the bytes of the message that it was called for.
    pub bytes_received: u64,
    /// Bytes written, without the overhead of TLS.
    pub bytes_sent: u64,
    /// Bytes accepted for sending and not yet written.
    pub outbound_size: u64,
    /// The largest outbound_size that one connection ever had.
    pub outbound_size_max: u64,
    /// Streams that a client has activated or a server has accepted.
    pub streams_opened: u64,
    /// Streams that are open now, including those that a server has deferred.
    pub streams_open: u64,
    /// Streams that a server has refused, for whatever reason, including those that esrpc_stream_fail ended before they
    /// were accepted.
    pub streams_refused: u64,
    /// Of these, the streams refused because of max_streams.
    pub streams_refused_by_limit: u64,
    /// Sends and activations that returned ESRPC_ERROR_WOULD_BLOCK.
    pub sends_refused: u64,
    /// Messages for streams that were over, without ESRPC_MESSAGE_FLAG_TERMINATE_STREAM; on a deferred stream that the
    /// client has ended, with it too.
    pub late_messages: u64,
    /// Accepted streams that a client has ended before the server sent anything on them; a first message that ends its
    /// stream does not count.
    pub unanswered_ends: u64,
    /// Connections ended because late_messages and unanswered_ends together exceeded abnormal_event_limit.
    pub abnormal_event_ends: u64,
    /// PINGs that the library was set to answer and did not: above ping_answer_limit, or because the outbound queue was
    /// full.
    pub pings_unanswered: u64,
    /// How often a server stopped reading because the peer did not read messages that the server had to send.
    pub reading_stops: u64,
    /// Connections begun by a client, or accepted or adopted by a listener.
    pub connections_opened: u64,
    /// Of these, the connections that have not ended.
    pub connections_open: u64,
    /// Connections that on_incoming_connection did not accept.
    pub connections_refused: u64,
    /// How often a listener stopped accepting because of max_connections.
    pub accept_pauses: u64,
    /// Calls of esrpc_listener_adopt_connection that returned ESRPC_ERROR_TOO_MANY_CONNECTIONS.
    pub adoptions_refused: u64,
    /// Connections ended with ESRPC_ERROR_TOO_MANY_HANDSHAKES, because of max_pending_handshakes.
    pub handshakes_ended_by_limit: u64,
    /// Connections ended with ESRPC_ERROR_TOO_MANY_HELD_BYTES, because of max_held_bytes.
    pub holders_ended_by_limit: u64,
    /// Connections of a server that ended before their CONNECT was answered, except those counted in
    /// handshakes_ended_by_limit.
    pub handshakes_unfinished: u64,
    /// Connections that could not be set up or accepted, as on_setup or on_failed_connection reported, because the host
    /// name could not be looked up.
    pub failures_resolve: u64,
    /// The same, because the system could not connect or accept, or lost the connection before setup.
    pub failures_connect: u64,
    /// The same, because the TLS handshake failed.
    pub failures_tls: u64,
    /// The same, because the server refused the CONNECT that the library sent.
    pub failures_refused: u64,
    /// The same, because the time for a phase ran out.
    pub failures_timed_out: u64,
    /// The same, because this side gave up the connection: it was closed, or a drain or the runtime's shutdown ended
    /// it.
    pub failures_cancelled: u64,
    /// The same, for any other reason that is not a limit.
    pub failures_other: u64,
    /// Connections that ended after setup because of what the peer sent: a message that is malformed, too large
    /// or against the protocol. Includes abnormal_event_ends.
    pub violation_ends: u64,
    /// Connections that ended after setup because one of the timeouts of their options ran out.
    pub deadline_ends: u64,
    /// TLS handshakes that were completed.
    pub tls_handshakes: u64,
    /// Of these, the handshakes that resumed an earlier session.
    pub tls_resumptions: u64,
    /// How often a loop has worked on a connection: reading, calling callbacks and writing.
    pub turns: u64,
    /// Microseconds that the longest of these turns took, including callbacks but not those at the end of a connection.
    pub longest_turn_us: u64,
}

macro_rules! stats_from_figures {
    ([$($sum:ident,)*] [$($most:ident),*]) => {
        impl From<Figures> for esrpc_stats {
            fn from(figures: Figures) -> esrpc_stats {
                esrpc_stats {
                    struct_size: size_of::<esrpc_stats>(),
                    $($sum: figures.$sum,)*
                    $($most: figures.$most,)*
                }
            }
        }
    };
}

with_figures!(stats_from_figures);

/// Fills in the statistics of a connection. May also be called inside callbacks and after the end of the connection.
///
/// @param connection Borrowed.
/// @param out_stats Receives the figures. Set its struct_size to sizeof the struct first.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if connection or out_stats is NULL, or out_stats->struct_size is
/// not the size of such a struct; ESRPC_ERROR_RUNTIME_SHUTDOWN if the runtime was stopped; ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_connection_get_stats(
    connection: *const esrpc_connection,
    out_stats: *mut esrpc_stats,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live or lent handle, and the caller's variable, which begins with its size.
        unsafe { write_table(out_stats, &esrpc_connection::share(connection)?.figures().into(), "out_stats") }
    })
}

/// Fills in the statistics of a listener and of the connections that it has accepted or adopted, including those that
/// have ended. The call takes longer the more connections are open.
///
/// @param listener Borrowed.
/// @param out_stats Receives the figures. Set its struct_size to sizeof the struct first.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if listener or out_stats is NULL, or out_stats->struct_size is not
/// the size of such a struct; ESRPC_ERROR_RUNTIME_SHUTDOWN if the runtime was stopped; ESRPC_ERROR_FORKED.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_get_stats(
    listener: *const esrpc_listener,
    out_stats: *mut esrpc_stats,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live or lent handle, and the caller's variable, which begins with its size.
        unsafe { write_table(out_stats, &esrpc_listener::share(listener)?.figures().into(), "out_stats") }
    })
}

/// Fills in the statistics of a runtime: of all its connections, clients' and servers', and of all its listeners,
/// including those that have ended. The call takes longer the more connections are open.
///
/// @param runtime Borrowed; NULL: the default runtime; if there is none, all figures are 0.
/// @param out_stats Receives the figures. Set its struct_size to sizeof the struct first.
/// @return ESRPC_OK, also after esrpc_runtime_stop; ESRPC_ERROR_INVALID_ARGUMENT if out_stats is NULL or
/// out_stats->struct_size is not the size of such a struct; ESRPC_ERROR_FORKED in a forked child if the runtime is
/// its parent's.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_runtime_get_stats(
    runtime: *const esrpc_runtime,
    out_stats: *mut esrpc_stats,
) -> esrpc_status {
    guard::call(|| {
        // SAFETY: NULL or a live handle, and the caller's variable, which begins with its size.
        unsafe {
            let figures = existing_runtime(runtime)?.map(|runtime| runtime.figures()).unwrap_or_default();
            write_table(out_stats, &figures.into(), "out_stats")
        }
    })
}
