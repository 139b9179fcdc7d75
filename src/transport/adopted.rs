//! Sockets that the application made or inherited.

use super::socket::SocketUse;
use super::system::{RawSocket, inspect};
use crate::transport::Error;

/// Whether the descriptor is an open stream socket of TCP or Unix, in the state that is needed. The error says what it is
/// instead.
pub fn check_socket(raw: RawSocket, wanted: SocketUse) -> Result<(), Error> {
    inspect(raw, wanted).map(drop)
}
