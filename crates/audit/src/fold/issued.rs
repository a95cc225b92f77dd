//! Folding of successes: a client that takes tokens as fast as it can does not fill the disk with their records (rule G20).
//!
//! The classes are the clients, whom we registered: there is no class that a stranger can make, and no stranger's flood
//! costs a client the record of its token. Within a series tokens are counted by what they were issued for and where they
//! went (rule I4): credential, certificate, audience, scope and network. The first token of each such combination has a
//! record in full, which names the exact address, and the others bear its reference. So a thief of a client's secret is
//! seen, however busy the client is. What is not kept of a counted token is its `jti`; the token itself says client,
//! credential and time, which lead to the record.

use super::network::Network;
use super::{SHARDS, lock, window};
use crate::record::{Entry, Folded};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, CertificateRef, Facts};
use countersign_model::{ClientId, Reference, Timestamp};
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Mutex;
use std::time::Duration;

/// Maximum number of combinations of one client in a series. A client with many scopes could ask for each subset of them:
/// further ones are distinguished without audience and scope.
const COMBINATIONS: usize = 256;
/// Maximum number that is distinguished without audience and scope. Further ones are counted for the client alone.
const ORIGINS: usize = 256;
/// Maximum number of networks and certificates that are counted among the tokens of one client.
const DIFFERENT: usize = 1024;

/// The clients and their series.
pub(super) struct IssuedTable {
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<ClientId, Series>>>,
}

/// One client: how many of its tokens had their own record in this second, and the counts while they are folded.
struct Series {
    window_start: Timestamp,
    in_window: u32,
    open: Option<Open>,
}

struct Open {
    /// That of the token that opened the series.
    reference: Reference,
    actor: Actor,
    since: Timestamp,
    combinations: Vec<Count>,
    /// Without audience and scope, when there are too many of the former.
    origins: Vec<Count>,
    /// When there are too many of both.
    rest: Option<Rest>,
}

/// Tokens of a series that were issued for the same, to the same network.
struct Count {
    /// That of the first of them, which has its own record.
    reference: Reference,
    facts: Facts,
    network: Option<Network>,
    seen: Seen,
}

/// How many, beside those with their own record, and when.
#[derive(Default)]
struct Seen {
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

/// Tokens of one client that are not told apart. The sets hold keyed hashes.
#[derive(Default)]
struct Rest {
    seen: Seen,
    networks: HashSet<u64>,
    certificates: HashSet<u64>,
}

impl IssuedTable {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// The series that a token was counted in; `None` when it gets a record of its own.
    pub(super) fn folded(&self, event: &AuditEvent, per_client_per_s: u32) -> Option<Reference> {
        let client = event.facts.client.as_ref()?;
        let at = event.at;
        let index = usize::try_from(self.hasher.hash_one(client) % SHARDS as u64).unwrap_or(0);
        let mut shard = lock(&self.shards[index]);
        let Some(series) = shard.get_mut(client) else {
            let series = Series { window_start: at, in_window: 1, open: None };
            shard.insert(client.clone(), series);
            return None;
        };
        if let Some(open) = &mut series.open {
            return open.count(event, &self.hasher);
        }
        if window::is_over(series.window_start, at) {
            (series.window_start, series.in_window) = (at, 0);
        }
        series.in_window += 1;
        if series.in_window >= per_client_per_s {
            series.open = Some(Open::new(event));
        }
        None
    }

    /// The records of the series that are due; of all when `all`. Forgets clients that ask for no more.
    pub(super) fn due(&self, now: Timestamp, interval: Duration, all: bool, records: &mut Vec<Entry>) {
        for shard in &self.shards {
            lock(shard).retain(|client, series| {
                let due = |open: &mut Open| all || now < open.since || now.since(open.since) >= interval;
                if let Some(open) = series.open.take_if(due) {
                    records.extend(open.into_records(client, now));
                }
                series.open.is_some() || !window::is_over(series.window_start, now)
            });
        }
    }
}

impl Open {
    fn new(event: &AuditEvent) -> Self {
        Self {
            reference: event.reference,
            actor: event.actor.clone(),
            since: event.at,
            combinations: vec![Count::new(event, true)],
            origins: Vec::new(),
            rest: None,
        }
    }

    /// The reference of the count that the token is in; `None` when it is the first of its combination, which gets a
    /// record of its own.
    fn count(&mut self, event: &AuditEvent, hasher: &RandomState) -> Option<Reference> {
        for (counts, limit, exact) in
            [(&mut self.combinations, COMBINATIONS, true), (&mut self.origins, ORIGINS, false)]
        {
            if let Some(count) = counts.iter_mut().find(|count| count.holds(event, exact)) {
                count.seen.add(event.at);
                return Some(count.reference);
            }
            if counts.len() < limit {
                counts.push(Count::new(event, exact));
                return None;
            }
        }
        let rest = self.rest.get_or_insert_default();
        rest.seen.add(event.at);
        let certificate = event.facts.certificate.as_ref();
        let certificate = certificate.map(|CertificateRef { serial, thumbprint, .. }| (serial, thumbprint));
        note(&mut rest.networks, event.facts.source.map(|source| hasher.hash_one(Network::of(source))));
        note(&mut rest.certificates, certificate.map(|certificate| hasher.hash_one(certificate)));
        Some(self.reference)
    }

    fn into_records(self, client: &ClientId, now: Timestamp) -> Vec<Entry> {
        let Self { reference, actor, combinations, origins, rest, .. } = self;
        let record = |reference, facts, folded| {
            let event = AuditEvent::done(reference, now, AuditAction::TokenIssued, actor.clone(), facts);
            Entry { folded: Some(folded), ..event.into() }
        };
        // One that came once has its own record, and needs no count.
        let counts = combinations.into_iter().chain(origins).filter(|count| count.seen.count > 0);
        let mut records: Vec<_> = counts
            .map(|Count { reference, facts, network, seen }| {
                let network = network.map(|network| network.to_string());
                record(reference, facts, seen.folded(network, None, None))
            })
            .collect();
        if let Some(Rest { seen, networks, certificates }) = rest {
            let facts = Facts { client: Some(client.clone()), ..Facts::default() };
            let different = |set: HashSet<u64>| u32::try_from(set.len()).ok();
            let folded = seen.folded(None, different(networks), different(certificates));
            records.push(record(reference, facts, folded));
        }
        records
    }
}

fn note(different: &mut HashSet<u64>, one: Option<u64>) {
    if different.len() < DIFFERENT {
        different.extend(one);
    }
}

impl Count {
    /// Nothing is counted yet: the token has its own record.
    fn new(event: &AuditEvent, exact: bool) -> Self {
        let facts = &event.facts;
        let facts = Facts {
            client: facts.client.clone(),
            credential: facts.credential,
            environment: facts.environment,
            certificate: facts.certificate.clone(),
            auth_method: facts.auth_method.clone(),
            audience: facts.audience.clone().filter(|_| exact),
            scope: facts.scope.clone().filter(|_| exact),
            ..Facts::default()
        };
        let network = event.facts.source.map(Network::of);
        Self { reference: event.reference, facts, network, seen: Seen::default() }
    }

    /// Whether the token belongs here; without looking at audience and scope unless `exact`.
    fn holds(&self, event: &AuditEvent, exact: bool) -> bool {
        let (own, other) = (&self.facts, &event.facts);
        self.network == other.source.map(Network::of)
            && own.credential == other.credential
            && own.certificate == other.certificate
            && own.environment == other.environment
            && own.auth_method == other.auth_method
            && (!exact || (own.audience == other.audience && own.scope == other.scope))
    }
}

impl Seen {
    fn add(&mut self, at: Timestamp) {
        if self.count == 0 {
            (self.first, self.last) = (at, at);
        }
        self.count += 1;
        self.first = self.first.min(at);
        self.last = self.last.max(at);
    }

    fn folded(self, network: Option<String>, networks: Option<u32>, certificates: Option<u32>) -> Folded {
        Folded { count: self.count, first: self.first, last: self.last, network, networks, certificates }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{T0, issued};
    use std::net::IpAddr;

    const LIMIT: u32 = 50;

    /// How many of `tokens` had a record of their own.
    fn recorded(table: &IssuedTable, tokens: impl Iterator<Item = AuditEvent>) -> usize {
        tokens.filter(|event| table.folded(event, LIMIT).is_none()).count()
    }

    fn due(table: &IssuedTable, now: Timestamp) -> Vec<Entry> {
        let mut records = Vec::new();
        table.due(now, Duration::from_secs(10), false, &mut records);
        records
    }

    fn of(client: &str, scope: &str) -> AuditEvent {
        let mut event = issued(T0);
        event.facts.client = Some(client.parse().unwrap());
        event.facts.scope = Some(scope.to_owned());
        event.facts.jti = Some(event.reference.to_string());
        event
    }

    #[test]
    fn rule_g20_a_flood_of_tokens_is_a_few_records_that_count_them_exactly() {
        let table = IssuedTable::new();
        assert_eq!(recorded(&table, (0..70_000).map(|_| of("acme-pay", "data:read"))), LIMIT as usize);
        assert!(due(&table, T0.plus_s(9)).is_empty());
        let records = due(&table, T0.plus_s(10));
        let [record] = records.as_slice() else { panic!("{records:?}") };
        let (folded, facts) = (record.folded.as_ref().unwrap(), &record.event.facts);
        assert_eq!((folded.count, folded.first, folded.last), (70_000 - u64::from(LIMIT), T0, T0));
        assert_eq!((facts.scope.as_deref(), &facts.jti), (Some("data:read"), &None));
        assert_eq!((record.event.action, record.event.reason), (AuditAction::TokenIssued, None));
        assert_eq!(due(&table, T0.plus_s(20)).len(), 0);
        assert!(table.shards.iter().all(|shard| lock(shard).is_empty()), "nothing stays behind");
    }

    #[test]
    fn rule_i4_below_the_rate_and_for_other_clients_each_token_has_its_record() {
        let table = IssuedTable::new();
        recorded(&table, (0..1000).map(|_| of("acme-pay", "data:read")));
        assert_eq!(recorded(&table, (0..49).map(|_| of("other-bank", "data:read"))), 49);
    }

    #[test]
    fn rule_g20_a_client_that_varies_its_scopes_takes_no_memory() {
        let table = IssuedTable::new();
        let recorded = recorded(&table, (0..10_000).map(|i| of("acme-pay", &format!("scope-{i}"))));
        assert!(recorded < 400, "{recorded}");
        let records = due(&table, T0.plus_s(10));
        assert!(records.len() < 400, "{}", records.len());
        assert_eq!(counted(&records), 10_000 - recorded as u64);
        let rest = records.last().unwrap();
        assert_eq!(rest.event.facts.client.as_ref().unwrap().as_str(), "acme-pay");
    }

    fn from(mut event: AuditEvent, source: &str) -> AuditEvent {
        event.facts.source = Some(source.parse().unwrap());
        event
    }

    fn with_certificate(mut event: AuditEvent, serial: u8) -> AuditEvent {
        let serial = Some(format!("{:016x}", 0x4000_0000_0000_0000_u64 + u64::from(serial)).parse().unwrap());
        event.facts.certificate = Some(CertificateRef { issuer: None, serial, thumbprint: None });
        event
    }

    fn counted(records: &[Entry]) -> u64 {
        records.iter().map(|record| record.folded.as_ref().unwrap().count).sum()
    }

    #[test]
    fn rule_i4_a_token_is_counted_only_with_tokens_of_the_same_network() {
        let table = IssuedTable::new();
        let honest = || from(of("acme-pay", "data:read"), "192.0.2.1");
        recorded(&table, (0..120).map(|_| honest()));
        // Somebody else with the same secret.
        let thief = from(of("acme-pay", "data:read"), "203.0.113.6");
        assert_eq!(table.folded(&thief, LIMIT), None, "what is new has a record that names the address");
        let next = from(of("acme-pay", "data:read"), "203.0.113.6");
        assert_eq!(table.folded(&next, LIMIT), Some(thief.reference), "the answer's reference leads to it");
        recorded(&table, (0..50).map(|_| honest()));
        let records = due(&table, T0.plus_s(10));
        let networks = records.iter().map(|record| {
            let folded = record.folded.as_ref().unwrap();
            (folded.network.clone().unwrap(), folded.count)
        });
        assert_eq!(
            networks.collect::<Vec<_>>(),
            [("192.0.2.0/24".to_owned(), 120), ("203.0.113.0/24".to_owned(), 1)]
        );
        assert_eq!(records[1].event.reference, thief.reference);
    }

    #[test]
    fn rule_i4_every_certificate_and_network_of_a_large_client_is_named() {
        let table = IssuedTable::new();
        let token = |i: usize| {
            let event = with_certificate(of("acme-pay", "data:read"), (i % 12) as u8);
            from(event, &format!("192.0.{}.1", (i / 12) % 10))
        };
        let all = (0..12 * 10 * 40).map(token).collect::<Vec<_>>();
        let in_full = recorded(&table, all.iter().cloned());
        let records = due(&table, T0.plus_s(10));
        assert_eq!(counted(&records) + in_full as u64, all.len() as u64);
        let named: std::collections::BTreeSet<_> = records
            .iter()
            .map(|record| {
                let serial = record.event.facts.certificate.as_ref().unwrap().serial.unwrap().to_string();
                (serial, record.folded.as_ref().unwrap().network.clone().unwrap())
            })
            .collect();
        assert_eq!((named.len(), records.len()), (120, 120));
    }

    #[test]
    fn rule_i4_above_the_bound_a_count_says_how_many_networks_and_certificates() {
        let table = IssuedTable::new();
        let token = |i: u32| {
            let event = with_certificate(of("acme-pay", &format!("scope-{i}")), (i % 200) as u8);
            from(event, &IpAddr::from((0x0a00_0000 + (i << 8)).to_be_bytes()).to_string())
        };
        let in_full = recorded(&table, (0..6_000).map(token));
        assert!(in_full < 700, "{in_full}");
        let records = due(&table, T0.plus_s(10));
        assert_eq!(counted(&records) + in_full as u64, 6_000);
        let rest = records.last().unwrap();
        let folded = rest.folded.as_ref().unwrap();
        assert_eq!(
            (folded.network.clone(), folded.networks, folded.certificates),
            (None, Some(1024), Some(200))
        );
        assert!(records.len() < 700);
    }

    #[test]
    fn rule_i4_varied_scopes_do_not_hide_another_network() {
        let table = IssuedTable::new();
        let varied = |i: u32| from(of("acme-pay", &format!("scope-{i}")), "192.0.2.1");
        recorded(&table, (0..5_000).map(varied));
        let thief = from(of("acme-pay", "data:read"), "203.0.113.6");
        assert_eq!(table.folded(&thief, LIMIT), None);
    }
}
