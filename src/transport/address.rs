use std::fmt;
use std::net::SocketAddr;

use super::system::{LocalAddress, local_address_text};

/// Where to connect to, in the system's form.
#[derive(Clone, Debug)]
pub enum Address {
    Ip(SocketAddr),
    Local(LocalAddress),
}

impl Address {
    pub fn as_ip(&self) -> Option<&SocketAddr> {
        match self {
            Address::Ip(address) => Some(address),
            Address::Local(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Ip(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Local(address) => f.write_str(&local_address_text(address)),
        }
    }
}
