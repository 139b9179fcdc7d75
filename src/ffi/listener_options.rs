//! Options of a listener.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::Arc;

use super::boolean::esrpc_bool;
use super::bytes::esrpc_bytes;
use super::callbacks::UserData;
use super::connection_options::{esrpc_connection_options, in_range};
use super::counted::{esrpc_connection, esrpc_runtime};
use super::failure::{Failure, required};
use super::handle::{ArcHandle, BoxHandle};
use super::message::{esrpc_message, with_view};
use super::runtime::chosen_runtime;
use super::status::{ESRPC_ERROR_UNSUPPORTED, esrpc_status};
use super::{endpoint, guard, host_call};
use crate::rpc::Incoming;
use crate::runtime::{Connection, Gatekeeper, ListenRequest, ListenerLimits, Runtime, Settings};
use crate::transport::{Endpoint, LocalOptions, TlsConfig, check_pipe_security};

const MAX_UNIX_MODE: u32 = 0o777;
const MAX_COUNT: usize = i32::MAX as usize;

/// Where a listener gets its connections from.
pub(crate) enum Place {
    Unset,
    Endpoint(Endpoint),
    /// From esrpc_listener_adopt_connection only.
    Nowhere,
}

/// Where and how to listen; esrpc_listener_listen copies it. Release it with esrpc_listener_options_release.
pub struct esrpc_listener_options {
    pub(crate) place: Place,
    /// The socket in `place` belongs to a listener already.
    pub(crate) socket_taken: Cell<bool>,
    /// None for the default runtime.
    runtime: Option<Arc<Runtime>>,
    settings: Settings,
    limits: ListenerLimits,
    local: LocalOptions,
    interface: Option<String>,
    gatekeeper: Option<Gatekeeper>,
    pub(crate) tls: Option<TlsConfig>,
}

impl Default for esrpc_listener_options {
    fn default() -> esrpc_listener_options {
        esrpc_listener_options {
            place: Place::Unset,
            socket_taken: Cell::new(false),
            runtime: None,
            settings: Settings::default(),
            limits: ListenerLimits::default(),
            local: LocalOptions::default(),
            interface: None,
            gatekeeper: None,
            tls: None,
        }
    }
}

impl BoxHandle for esrpc_listener_options {}

impl esrpc_listener_options {
    pub(crate) fn request(&self) -> Result<ListenRequest, Failure> {
        let endpoint = match &self.place {
            Place::Unset => {
                return Err(Failure::invalid_argument(
                    "options have no address to listen on: set a host, a Unix path, an abstract name or a socket",
                ));
            }
            Place::Endpoint(Endpoint::Socket(_)) if self.socket_taken.get() => {
                return Err(Failure::invalid_state("the socket of these options belongs to the listener made before"));
            }
            Place::Endpoint(endpoint) => Some(endpoint.clone()),
            Place::Nowhere => None,
        };
        let mut settings = self.settings.clone();
        settings.socket.interface.clone_from(&self.interface);
        Ok(ListenRequest {
            endpoint,
            settings,
            limits: self.limits,
            local: self.local.clone(),
            tls: self.tls.clone(),
            gatekeeper: self.gatekeeper.clone(),
        })
    }

    pub(crate) fn runtime(&self) -> Result<Arc<Runtime>, Failure> {
        chosen_runtime(self.runtime.as_ref())
    }
}

/// Creates listener settings without an address to listen on.
///
/// @return New settings, to be released with esrpc_listener_options_release. NULL only inside a log callback.
///
/// Thread: any. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_listener_options_new() -> *mut esrpc_listener_options {
    guard::value(std::ptr::null_mut(), || esrpc_listener_options::default().give())
}

/// Frees listener settings. Listeners made with them have their own copy.
///
/// @param options Not to be used afterwards; NULL: nothing happens.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_options_release(options: *mut esrpc_listener_options) {
    guard::system_value((), || {
        // SAFETY: NULL or live settings that the caller gives up.
        unsafe { esrpc_listener_options::release(options) }
    })
}

/// Decides whether a client that has sent CONNECT is accepted. Called on the connection's event-loop thread. It may
/// inspect the connection, for example its peer. If it sends CONNECT_ACK itself, or closes the connection, its result
/// does not matter. It has to decide at once; esrpc_connection_defer explains how to decide about a CONNECT later.
///
/// @param connection The client's connection, borrowed.
/// @param connect The CONNECT, valid until the callback returns.
/// @param user_data The pointer passed with the callback.
/// @return true accepts the client. false refuses it: an empty CONNECT_ACK is sent, the connection ends, and
/// on_shutdown reports ESRPC_OK. To say why, send a CONNECT_ACK with a payload here.
pub type esrpc_connect_callback = Option<
    unsafe extern "C" fn(
        connection: *mut esrpc_connection,
        connect: *const esrpc_message,
        user_data: *mut c_void,
    ) -> esrpc_bool,
>;

/// Makes the library answer each client's CONNECT, so that a server needs no on_protocol_message: it sends a
/// CONNECT_ACK without headers that accepts every client, or those that a callback accepts. CONNECT is not passed to
/// on_protocol_message then. Default: the application answers.
///
/// @param options Modified.
/// @param on_connect Called for each CONNECT; NULL accepts every client.
/// @param user_data Passed to on_connect; both must stay usable until the listener's connections have ended.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_listener_options_set_handshake(
    options: Option<&mut esrpc_listener_options>,
    on_connect: esrpc_connect_callback,
    user_data: *mut c_void,
) -> esrpc_status {
    guard::call(|| {
        let gatekeeper = match on_connect {
            None => Gatekeeper::AcceptAll,
            Some(function) => Gatekeeper::Ask(Arc::new(gatekeeper(function, UserData(user_data)))),
        };
        required(options, "options")?.gatekeeper = Some(gatekeeper);
        Ok(())
    })
}

type ConnectFunction = unsafe extern "C" fn(
    connection: *mut esrpc_connection,
    connect: *const esrpc_message,
    user_data: *mut c_void,
) -> esrpc_bool;

fn gatekeeper(
    function: ConnectFunction,
    user_data: UserData,
) -> impl Fn(&Arc<Connection>, &Incoming<'_>) -> bool + Send + Sync {
    move |connection, incoming| {
        // Captures the whole struct, which is Send and Sync, rather than the pointer inside, which is not.
        let user_data: UserData = user_data;
        with_view(incoming, |view| {
            // SAFETY: the caller gave the function together with the pointer, for the loop threads of connections.
            unsafe { host_call::call(function, (esrpc_connection::lend(connection), view, user_data.0)) }.is_true()
        })
    }
}

/// Sets the TCP address and port to listen on, replacing any earlier setting.
///
/// @param options Modified.
/// @param host An address of this machine, IPv4 or IPv6, as UTF-8 text, 1 to 255 bytes, copied ("127.0.0.1",
/// "0.0.0.0", "::1", "::"). An IPv6 address may be in brackets.
/// @param port 0 to 65535; 0: the system chooses; esrpc_listener_get_port returns its choice.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL, port is out of range, or host is not UTF-8 text
/// of that length, has a port of its own or is a URL.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_options_set_host(
    options: Option<&mut esrpc_listener_options>,
    host: esrpc_bytes,
    port: u32,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let host = unsafe { host.as_slice("host") }?;
        options.place = Place::Endpoint(endpoint::tcp(host, port)?);
        Ok(())
    })
}

/// Sets the path of a Unix socket to listen on, replacing any earlier setting; on Windows the name of a named pipe,
/// "\\\\.\\pipe\\NAME". If several listeners start at the same moment, in one process or several, exactly one succeeds.
/// A socket file on which nothing listens any more is replaced, a live one is not; the file is removed when the
/// listener closes.
///
/// For that purpose, while esrpc_listener_listen runs, there is an empty file whose name is the path with ".esrpc-lock"
/// appended. If the process is killed at that moment, the next listener at that path removes it. If another process
/// keeps it locked for a second, listening fails with ESRPC_ERROR_ADDRESS_IN_USE.
///
/// A pipe refuses clients from other machines. All its connections run on the listener's event loop, and
/// on_incoming_connection is called once a client's first byte has arrived, because only then can a server ask who the
/// client is; the handshake timeout limits the wait.
///
/// @param options Modified.
/// @param path At least one byte, without NUL; copied. The system's limit is 107 bytes (a pipe's name: 256
/// characters); with a longer path, listening fails with ESRPC_ERROR_PATH_TOO_LONG.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or path is empty or has a NUL;
/// ESRPC_ERROR_UNSUPPORTED on Windows if path is not the name of a pipe, in UTF-8.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_options_set_unix_path(
    options: Option<&mut esrpc_listener_options>,
    path: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let path = unsafe { path.as_slice("path") }?;
        options.place = Place::Endpoint(endpoint::unix_path(path)?);
        Ok(())
    })
}

/// Sets the abstract name of a Unix socket to listen on (Linux), replacing any earlier setting.
///
/// @param options Modified.
/// @param name At least one byte, without the leading NUL that the system uses; copied.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or name is empty; ESRPC_ERROR_UNSUPPORTED on
/// systems other than Linux.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_options_set_unix_abstract(
    options: Option<&mut esrpc_listener_options>,
    name: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let name = unsafe { name.as_slice("name") }?;
        options.place = Place::Endpoint(endpoint::unix_abstract(name)?);
        Ok(())
    })
}

/// Restricts a TCP listener to one network interface (Linux): only connections that come in through it are accepted.
/// Default: any. Does nothing for Unix sockets and for the caller's own socket.
///
/// @param options Modified.
/// @param name The interface's name as UTF-8 text, such as "eth0", at most 15 bytes without a NUL, copied; empty:
/// any.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or name is too long, contains a NUL or is not
/// UTF-8; ESRPC_ERROR_UNSUPPORTED for a name on systems other than Linux. esrpc_listener_listen returns
/// ESRPC_ERROR_INTERFACE_NOT_FOUND, or ESRPC_ERROR_ACCESS_DENIED on systems that require a privilege.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_options_set_interface(
    options: Option<&mut esrpc_listener_options>,
    name: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        // SAFETY: the caller's bytes stay unchanged during the call.
        let name = unsafe { name.as_slice("name") }?;
        options.interface = endpoint::interface(name)?;
        Ok(())
    })
}

/// Sets the runtime whose threads the listener and its connections live on. Default: the process-wide default
/// runtime.
///
/// @param options Modified; it keeps a reference to the runtime.
/// @param runtime Borrowed; NULL: the default one.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL; ESRPC_ERROR_FORKED in a forked child if the
/// runtime is its parent's.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_options_set_runtime(
    options: Option<&mut esrpc_listener_options>,
    runtime: *mut esrpc_runtime,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        // SAFETY: NULL or a live handle.
        options.runtime = unsafe { esrpc_runtime::share_optional(runtime) }?;
        Ok(())
    })
}

/// Sets limits and times of the connections, replacing any earlier setting.
///
/// @param options Modified.
/// @param connection_options Copied; NULL: defaults.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_listener_options_set_connection_options(
    options: Option<&mut esrpc_listener_options>,
    connection_options: Option<&esrpc_connection_options>,
) -> esrpc_status {
    guard::call(|| {
        required(options, "options")?.settings = esrpc_connection_options::settings(connection_options);
        Ok(())
    })
}

/// Sets the permissions of a Unix path's socket file. The file never has more permissions than these; the umask of the
/// process is neither used nor changed. Default: 0600, the owner only. Abstract names have no permissions: anyone may
/// connect.
///
/// On Linux before 6.16, only let trusted processes connect: a peer may pass a descriptor that takes long to close,
/// such as a socket that lingers, and the system closes it on the event-loop thread. From 6.16 on, the library makes
/// the system refuse descriptors.
///
/// @param options Modified.
/// @param mode Permission bits, 0 to 0777.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or mode is out of range; ESRPC_ERROR_UNSUPPORTED
/// on Windows, where esrpc_listener_options_set_pipe_security says who may connect.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_listener_options_set_unix_mode(
    options: Option<&mut esrpc_listener_options>,
    mode: u32,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        if mode > MAX_UNIX_MODE {
            return Err(Failure::invalid_argument(format!("mode is {mode:#o}; it must be 0 to 0777")));
        }
        if cfg!(windows) {
            let advice = "named pipes have no mode; see esrpc_listener_options_set_pipe_security";
            return Err(Failure::new(ESRPC_ERROR_UNSUPPORTED, advice));
        }
        options.local.unix_mode = mode;
        Ok(())
    })
}

/// Sets who may connect to a named pipe (Windows). Default: the user that the server runs as.
///
/// @param options Modified.
/// @param sddl A security descriptor in the string form of Windows (SDDL), as UTF-8 text, copied; empty: the default.
/// The server's own user needs all access, because each connection takes a new instance of the pipe.
/// "D:P(A;;GA;;;SY)(A;;GA;;;OW)(A;;GRGW;;;AU)" lets every signed-in user connect.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or sddl is not a security descriptor;
/// ESRPC_ERROR_UNSUPPORTED on systems other than Windows.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esrpc_listener_options_set_pipe_security(
    options: Option<&mut esrpc_listener_options>,
    sddl: esrpc_bytes,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        if !cfg!(windows) {
            return Err(Failure::new(ESRPC_ERROR_UNSUPPORTED, "there are named pipes on Windows only"));
        }
        // SAFETY: the caller's bytes stay unchanged during the call.
        let sddl = unsafe { sddl.as_slice("sddl") }?;
        let sddl = std::str::from_utf8(sddl).map_err(|_| Failure::invalid_argument("sddl is not UTF-8 text"))?;
        if !sddl.is_empty() {
            check_pipe_security(sddl).map_err(|error| Failure::invalid_argument(error.to_string()))?;
        }
        options.local.pipe_security = Some(sddl.to_owned()).filter(|sddl| !sddl.is_empty());
        Ok(())
    })
}

/// Sets whether a Unix path's socket file stays when the listener closes, for a successor that uses the same socket
/// (esrpc_listener_dup_socket). Default: it is removed. A file that stays without a successor is replaced by the next
/// listener at that path.
///
/// @param options Modified.
/// @param keep Whether it stays.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_listener_options_set_keep_unix_file(
    options: Option<&mut esrpc_listener_options>,
    keep: esrpc_bool,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        options.local.keep_unix_file = keep.is_true();
        Ok(())
    })
}

/// Sets how many connections the listener may have, including those in their handshake. When it has that many, it
/// accepts no more until one has ended; clients that connect meanwhile wait in the system's queue. Default: 1024.
///
/// At the limit esrpc_listener_adopt_connection fails with ESRPC_ERROR_TOO_MANY_CONNECTIONS.
///
/// @param options Modified.
/// @param count The number of connections, 1 to 2147483647.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or count is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_listener_options_set_max_connections(
    options: Option<&mut esrpc_listener_options>,
    count: usize,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        options.limits.max_connections = in_range(count, 1..=MAX_COUNT, "max_connections")?;
        Ok(())
    })
}

/// Sets how many of the listener's connections may be in their handshake, which lasts from being accepted until a
/// CONNECT_ACK is sent. One more ends the one that has waited longest: its on_shutdown, or on_failed_connection if it
/// was not announced yet, as during a TLS handshake, reports ESRPC_ERROR_TOO_MANY_HANDSHAKES. Clients that connect
/// all at once do not end each other: the listener accepts no more until the oldest has had 100 ms. Default: 128.
///
/// @param options Modified.
/// @param count The number of connections, 1 to 2147483647.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or count is out of range.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_listener_options_set_max_pending_handshakes(
    options: Option<&mut esrpc_listener_options>,
    count: usize,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        options.limits.max_pending_handshakes = in_range(count, 1..=MAX_COUNT, "max_pending_handshakes")?;
        Ok(())
    })
}

/// Sets how many bytes the listener's connections may hold together: messages that have not arrived completely,
/// messages not written yet, messages that wait for esrpc_stream_read plus 128 bytes for each of these, 640 bytes
/// plus the operation's name for each open stream, and the records that TLS keeps. Beyond the limit the connection
/// that holds the most is aborted: its on_shutdown reports ESRPC_ERROR_TOO_MANY_HELD_BYTES, and the unread messages
/// of its streams are dropped. Unread messages of a connection that has ended count too; if they are the most, they
/// are dropped, and esrpc_stream_read returns the same status. Each connection is counted in steps of 16 KiB, so a
/// smaller limit takes effect at 16 KiB. Default: 256 MiB.
///
/// @param options Modified.
/// @param bytes The number of bytes, at least 1; SIZE_MAX: no limit.
/// @return ESRPC_OK; ESRPC_ERROR_INVALID_ARGUMENT if options is NULL or bytes is 0.
///
/// Thread: owner. Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn esrpc_listener_options_set_max_held_bytes(
    options: Option<&mut esrpc_listener_options>,
    bytes: usize,
) -> esrpc_status {
    guard::call(|| {
        let options = required(options, "options")?;
        options.limits.max_held_bytes = in_range(bytes, 1..=usize::MAX, "max_held_bytes")?;
        Ok(())
    })
}
