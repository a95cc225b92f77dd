//! How much each client and each upstream has in flight, over all workers (rule G20). A slow API does not let one client
//! take what the others need, and a slow API does not take it from the others.
//!
//! The counters are found once for each connection and each upstream that it calls: a request costs one atomic addition
//! for each counter, and no look-up.

use countersign_model::ClientId;
use dashmap::DashMap;
use foldhash::fast::RandomState;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The counters of all clients and upstreams.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    clients: DashMap<ClientId, Arc<ClientLoad>, RandomState>,
    upstreams: DashMap<String, Arc<Load>, RandomState>,
    /// What each client has in flight to each upstream.
    clients_on_upstreams: DashMap<(ClientId, String), Arc<Load>, RandomState>,
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

    /// The requests of a client in flight to an upstream. A connection looks this up once for each upstream.
    pub(crate) fn client_on_upstream(&self, client: &ClientId, upstream: &str) -> Arc<Load> {
        self.clients_on_upstreams.entry((client.clone(), upstream.to_owned())).or_default().clone()
    }

    /// Forgets the clients that have nothing open. A look-up clones the counters under the map's lock, so that no client is
    /// counted in counters that the map has dropped.
    pub(crate) fn sweep(&self) {
        self.clients.retain(|_, load| Arc::strong_count(load) > 1);
        self.clients_on_upstreams.retain(|_, load| Arc::strong_count(load) > 1);
    }

    /// How many requests each upstream has in flight.
    pub(crate) fn of_upstreams(&self, mut each: impl FnMut(&str, usize)) {
        self.upstreams.iter().for_each(|entry| each(entry.key(), entry.value().now()));
    }
}

/// The counters of a client, as one connection keeps them: its requests share them on its own thread, and leave the count
/// of their owners, which is that of all cores, alone.
#[derive(Debug, Default)]
pub(crate) struct LocalLoad {
    client: Arc<ClientLoad>,
    /// The upstreams that the connection has called.
    upstreams: RefCell<Vec<Rc<UpstreamLoad>>>,
}

impl LocalLoad {
    pub(crate) fn new(client: Arc<ClientLoad>) -> Self {
        Self { client, upstreams: RefCell::default() }
    }

    /// The counters of this client on `upstream`: those that were found before, or what `find` gives.
    pub(crate) fn on_upstream(
        &self,
        upstream: &Arc<Load>,
        find: impl FnOnce() -> Arc<Load>,
    ) -> Rc<UpstreamLoad> {
        let mut upstreams = self.upstreams.borrow_mut();
        if let Some(found) = upstreams.iter().find(|found| Arc::ptr_eq(&found.all, upstream)) {
            return found.clone();
        }
        let load = Rc::new(UpstreamLoad { all: upstream.clone(), of_client: find() });
        upstreams.push(load.clone());
        load
    }
}

/// The requests in flight to one upstream: of all clients, and of one of them.
#[derive(Debug)]
pub(crate) struct UpstreamLoad {
    all: Arc<Load>,
    of_client: Arc<Load>,
}

/// One request that is forwarded to an upstream, until dropped.
#[derive(Debug)]
pub(crate) struct UpstreamTurn(Rc<UpstreamLoad>);

/// Why an upstream takes no further request of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoTurn {
    /// The upstream has as many in flight as it may.
    Full,
    /// What is left is for other clients.
    LeftToOthers,
}

impl UpstreamTurn {
    /// Counts a request of one client to an upstream that may have `limit` in flight.
    ///
    /// A quarter of them is the client's share. Beyond its share it leaves a quarter to the others, so that one client
    /// never takes the whole upstream, and may still take most of it while nobody else calls (rule G20).
    pub(crate) fn begin(load: &Rc<UpstreamLoad>, limit: usize) -> Result<Self, NoTurn> {
        let share = (limit / 4).max(1);
        let is_within_share = load.of_client.begin_all(share);
        let is_within_limit = load.all.begin_all(limit);
        let turn = Self(load.clone()); // gives both back
        if !is_within_limit {
            return Err(NoTurn::Full);
        }
        let leaves_a_quarter = || load.all.now() <= limit - limit.div_ceil(4);
        if is_within_share || leaves_a_quarter() { Ok(turn) } else { Err(NoTurn::LeftToOthers) }
    }
}

impl Drop for UpstreamTurn {
    fn drop(&mut self) {
        self.0.all.end();
        self.0.of_client.end();
    }
}

/// A connection with a certificate of its client, until dropped.
#[derive(Debug)]
pub(crate) struct Certified(Rc<LocalLoad>);

impl Certified {
    /// Counts a connection, and says whether it is one of the first `limit`.
    pub(crate) fn begin(load: &Rc<LocalLoad>, limit: usize) -> (Self, bool) {
        let within = load.client.connections.begin_all(limit);
        (Self(load.clone()), within)
    }
}

impl Drop for Certified {
    fn drop(&mut self) {
        self.0.client.connections.end();
    }
}

/// A connection that makes no room for others, until dropped.
#[derive(Debug)]
pub(crate) struct Known(Rc<LocalLoad>);

impl Known {
    /// Counts a connection; `None` when `limit` of the client's make no room already.
    pub(crate) fn begin(load: &Rc<LocalLoad>, limit: usize) -> Option<Self> {
        // Asked at every call while the client has its share: a look costs other workers nothing.
        (load.client.known.now() < limit && load.client.known.begin(limit)).then(|| Self(load.clone()))
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.0.client.known.end();
    }
}

/// One request of a client that is being forwarded, until dropped. It has the counters as its connection keeps them.
#[derive(Debug)]
pub(crate) struct ClientTurn(Rc<LocalLoad>);

impl ClientTurn {
    /// Counts a request; `None` when the client has `limit` in flight.
    pub(crate) fn begin(load: &Rc<LocalLoad>, limit: usize) -> Option<Self> {
        load.client.requests.begin(limit).then(|| Self(load.clone()))
    }

    /// The counters that it is counted in.
    pub(crate) fn load(&self) -> &Rc<LocalLoad> {
        &self.0
    }
}

impl Drop for ClientTurn {
    fn drop(&mut self) {
        self.0.client.requests.end();
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
        let (one, other) = (Rc::new(LocalLoad::new(one)), Rc::new(LocalLoad::new(other)));
        let first = ClientTurn::begin(&one, 2).unwrap();
        let _second = ClientTurn::begin(&other, 2).unwrap();
        assert!(ClientTurn::begin(&one, 2).is_none() && ClientTurn::begin(&other, 2).is_none());
        assert_eq!(one.client.requests.now(), 2, "who was refused is not counted");
        drop(first);
        assert!(ClientTurn::begin(&other, 2).is_some());
    }

    #[test]
    fn rule_g20_one_client_leaves_a_quarter_of_an_upstream_to_the_others() {
        for limit in 1..=100 {
            let loads = Loads::default();
            let all = loads.upstream("core");
            // As two connections of each client see it.
            let load_of = |client: &str| {
                let client: ClientId = client.parse().unwrap();
                let local = LocalLoad::new(loads.client(&client));
                local.on_upstream(&all, || loads.client_on_upstream(&client, "core"))
            };
            let takes_all = |loads: &[Rc<UpstreamLoad>]| -> (Vec<UpstreamTurn>, NoTurn) {
                let mut turns = Vec::new();
                loop {
                    match UpstreamTurn::begin(&loads[turns.len() % loads.len()], limit) {
                        Ok(turn) => turns.push(turn),
                        Err(no) => return (turns, no),
                    }
                }
            };
            let (greedy, no) = takes_all(&[load_of("acme-pay"), load_of("acme-pay")]);
            let most = (limit - limit.div_ceil(4)).max(1);
            assert_eq!(greedy.len(), most, "{limit}");
            let expected = if limit == 1 { NoTurn::Full } else { NoTurn::LeftToOthers };
            assert_eq!(no, expected, "{limit}");
            let (others, _) = takes_all(&[load_of("other-bank")]);
            assert_eq!(others.len(), (limit / 4).max(1).min(limit - most), "{limit}");
            drop((greedy, others));
            assert_eq!(all.now(), 0, "{limit}");
            loads.sweep();
            assert!(loads.clients_on_upstreams.is_empty());
        }
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
