//! What is particular to Unix systems.

mod adopted;
mod local_listener;
mod local_name;
mod local_stream;
mod process;
mod socket_file;
mod sockets;

pub use adopted::{
    IS_NO_SOCKET, IS_OF_ANOTHER_KIND, SOCKET_DOMAINS, borrow_socket, is_listening, own_socket, reset_socket,
    wrong_socket,
};
pub use local_listener::LocalListener;
pub use local_name::{
    LocalAddress, LocalName, check_pipe_security, path_from_bytes, socket_address_text,
    socket_address_text as local_address_text,
};
pub use local_stream::LocalStream;
pub use process::{current_process, guest_threads, never_cancelled, uncancelled};
pub use sockets::{
    INTEREST, ListenSource, SEND_FLAGS, SHORT_WRITE_ENDS_ROOM, has_unfinished_bytes, into_raw, is_descriptor_shortage,
    is_in_progress, is_lost, prepare_listening,
};

#[cfg(any(target_os = "linux", target_os = "android"))]
pub use sockets::is_unknown_interface;

/// A socket as the system names it.
pub type RawSocket = std::ffi::c_int;

/// A local stream can be watched by any poll.
pub const LOCAL_STREAMS_STAY_WITH_THEIR_POLL: bool = false;
