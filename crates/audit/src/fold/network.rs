//! The network of a caller.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who is told apart by address: a household or a small network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    pub(super) fn of(address: IpAddr) -> Self {
        // A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d, which would all be one /64.
        match address.to_canonical() {
            IpAddr::V4(v4) => Self { base: Ipv4Addr::from_bits(v4.to_bits() & (!0 << 8)).into(), prefix: 24 },
            IpAddr::V6(v6) => {
                Self { base: Ipv6Addr::from_bits(v6.to_bits() & (!0 << 64)).into(), prefix: 64 }
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}
