//! How much each client and each upstream has in flight, over all workers (rule G20). A slow API does not let one client
//! take what the others need, and a slow API does not take it from the others.
//!
//! The counters are found once for each connection, and once for each upstream of a worker: a request costs one atomic
//! addition for each, and no look-up.

use countersign_model::ClientId;
use dashmap::DashMap;
use foldhash::fast::RandomState;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The counters of all clients and upstreams.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    clients: DashMap<ClientId, Arc<ClientLoad>, RandomState>,
    upstreams: DashMap<String, Arc<Load>, RandomState>,
}

/// What one client has open.
#[derive(Debug, Default)]
pub(crate) struct ClientLoad {
    /// Connections with a certificate of the client that is good.
    pub(crate) connections: Load,
    /// Connections that make no room for others, because they are known to be its.
    pub(crate) known: Load,
    /// Requests that are forwarded for it.
    pub(crate) requests: Load,
}

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Load(AtomicUsize);

impl Load {
    /// Counts one, unless `limit` are counted.
    pub(crate) fn begin(&self, limit: usize) -> bool {
        let within = self.0.fetch_add(1, Ordering::Relaxed) < limit;
        if !within {
            self.end();
        }
        within
    }

    /// Counts one, and says whether it is one of the first `limit`.
    pub(crate) fn begin_all(&self, limit: usize) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) < limit
    }

    /// One is over.
    pub(crate) fn end(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many there are.
    pub(crate) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Loads {
    /// The counters of a client.
    pub(crate) fn client(&self, client: &ClientId) -> Arc<ClientLoad> {
        if let Some(load) = self.clients.get(client) {
            return load.clone();
        }
        self.clients.entry(client.clone()).or_default().clone()
    }

    /// The requests in flight to an upstream. A reload that changes the upstream counts on.
    pub(crate) fn upstream(&self, name: &str) -> Arc<Load> {
        if let Some(load) = self.upstreams.get(name) {
            return load.clone();
        }
        self.upstreams.entry(name.to_owned()).or_default().clone()
    }

    /// Forgets the clients that have nothing open. A look-up clones the counters under the map's lock, so that no client is
    /// counted in counters that the map has dropped.
    pub(crate) fn sweep(&self) {
        self.clients.retain(|_, load| Arc::strong_count(load) > 1);
    }

    /// How many requests each upstream has in flight.
    pub(crate) fn of_upstreams(&self, mut each: impl FnMut(&str, usize)) {
        self.upstreams.iter().for_each(|entry| each(entry.key(), entry.value().now()));
    }
}

/// The counters of a client, as one connection keeps them: its requests share them on its own thread, and leave the count
/// of their owners, which is that of all cores, alone.
#[derive(Debug, Default)]
pub(crate) struct LocalLoad(pub(crate) Arc<ClientLoad>);

/// A connection with a certificate of its client, until dropped.
#[derive(Debug)]
pub(crate) struct Certified(Rc<LocalLoad>);

impl Certified {
    /// Counts a connection, and says whether it is one of the first `limit`.
    pub(crate) fn begin(load: &Rc<LocalLoad>, limit: usize) -> (Self, bool) {
        let within = load.0.connections.begin_all(limit);
        (Self(load.clone()), within)
    }
}

impl Drop for Certified {
    fn drop(&mut self) {
        self.0.0.connections.end();
    }
}

/// A connection that makes no room for others, until dropped.
#[derive(Debug)]
pub(crate) struct Known(Rc<LocalLoad>);

impl Known {
    /// Counts a connection; `None` when `limit` of the client's make no room already.
    pub(crate) fn begin(load: &Rc<LocalLoad>, limit: usize) -> Option<Self> {
        // Asked at every call while the client has its share: a look costs other workers nothing.
        (load.0.known.now() < limit && load.0.known.begin(limit)).then(|| Self(load.clone()))
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.0.0.known.end();
    }
}

/// One request of a client that is being forwarded, until dropped. It has the counters as its connection keeps them.
#[derive(Debug)]
pub(crate) struct ClientTurn(Rc<LocalLoad>);

impl ClientTurn {
    /// Counts a request; `None` when the client has `limit` in flight.
    pub(crate) fn begin(load: &Rc<LocalLoad>, limit: usize) -> Option<Self> {
        load.0.requests.begin(limit).then(|| Self(load.clone()))
    }

    /// The counters that it is counted in.
    pub(crate) fn load(&self) -> &Rc<LocalLoad> {
        &self.0
    }
}

impl Drop for ClientTurn {
    fn drop(&mut self) {
        self.0.0.requests.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_g20_requests_of_a_client_are_counted_over_all_connections() {
        let loads = Loads::default();
        let client: ClientId = "acme-pay".parse().unwrap();
        let (one, other) = (loads.client(&client), loads.client(&client));
        let (one, other) = (Rc::new(LocalLoad(one)), Rc::new(LocalLoad(other)));
        let first = ClientTurn::begin(&one, 2).unwrap();
        let _second = ClientTurn::begin(&other, 2).unwrap();
        assert!(ClientTurn::begin(&one, 2).is_none() && ClientTurn::begin(&other, 2).is_none());
        assert_eq!(one.0.requests.now(), 2, "who was refused is not counted");
        drop(first);
        assert!(ClientTurn::begin(&other, 2).is_some());
    }

    #[test]
    fn nothing_is_kept_of_clients_that_are_gone() {
        let loads = Loads::default();
        let load = loads.client(&"acme-pay".parse().unwrap());
        loads.sweep();
        assert_eq!(loads.clients.len(), 1, "somebody counts in it");
        drop(load);
        loads.sweep();
        assert!(loads.clients.is_empty());
    }
}
