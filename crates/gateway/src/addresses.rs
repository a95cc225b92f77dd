//! How many connections each address has open: more than its share are closed before any TLS work (rule T11).

use dashmap::DashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// How many connections each address has open, over all workers.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    open: DashMap<IpAddr, usize>,
}

/// Counts one connection of an address until dropped.
pub(crate) struct Counted {
    addresses: Arc<Addresses>,
    source: IpAddr,
}

impl Addresses {
    /// Counts a connection; `None` when its source has `limit` open already.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr, limit: usize) -> Option<Counted> {
        let source = source_of(address);
        let mut open = self.open.entry(source).or_default();
        if *open >= limit {
            return None;
        }
        *open += 1;
        Some(Counted { addresses: self.clone(), source })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(mut open) = self.addresses.open.get_mut(&self.source) {
            *open = open.saturating_sub(1);
        }
        self.addresses.open.remove_if(&self.source, |_, open| *open == 0);
    }
}

/// An IPv6 subscriber has a whole /64, so that is what counts as one address.
pub(crate) fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_t11_connections_per_address_are_capped_and_given_back() {
        let addresses = Arc::new(Addresses::default());
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let first = addresses.admit(address, 2);
        let second = addresses.admit(address, 2);
        assert!(first.is_some() && second.is_some());
        assert!(addresses.admit(address, 2).is_none());
        assert!(addresses.admit("192.0.2.2".parse().unwrap(), 2).is_some());
        drop(first);
        assert!(addresses.admit(address, 2).is_some());
        drop(second);
        assert!(addresses.open.is_empty(), "nothing is kept of who is gone");
    }

    #[test]
    fn rule_t11_an_ipv6_network_is_one_address() {
        let addresses = Arc::new(Addresses::default());
        let _one = addresses.admit("2001:db8::1".parse().unwrap(), 1);
        assert!(addresses.admit("2001:db8::2".parse().unwrap(), 1).is_none());
        assert!(addresses.admit("2001:db8:0:1::1".parse().unwrap(), 1).is_some());
    }
}
