//! What is particular to Windows.

mod adopted;
mod local_listener;
mod local_name;
mod local_stream;
mod process;
mod security;
mod sockets;

pub use adopted::{
    IS_NO_SOCKET, IS_OF_ANOTHER_KIND, SOCKET_DOMAINS, borrow_socket, is_listening, own_socket, reset_socket,
    wrong_socket,
};
pub use local_listener::LocalListener;
pub use local_name::{LocalAddress, LocalName, local_address_text, path_from_bytes, socket_address_text};
pub use local_stream::LocalStream;
pub use process::{current_process, guest_threads, never_cancelled, uncancelled};
pub use security::check_pipe_security;
pub use sockets::{
    INTEREST, ListenSource, SEND_FLAGS, SHORT_WRITE_ENDS_ROOM, has_unfinished_bytes, into_raw, is_descriptor_shortage,
    is_in_progress, is_lost, prepare_listening,
};

/// A socket as the system names it.
pub type RawSocket = usize;

/// A pipe can be watched only by the poll that watched it first, since it belongs to one completion port for good.
pub const LOCAL_STREAMS_STAY_WITH_THEIR_POLL: bool = true;
