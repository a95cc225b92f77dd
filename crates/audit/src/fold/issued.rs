//! Folding of successes: a client that takes tokens as fast as it can fills no disk with their records (rule G20).
//!
//! The classes are the clients, whom we registered: there is no class that a stranger can make, and no stranger's flood
//! costs a client the record of its token. Within a series tokens are counted by what they were issued for (rule I4):
//! credential, certificate, scope, audience. What is not kept of a counted token is its `jti`; the token itself says
//! client, credential and time, which lead to the record.

use super::{Network, SHARDS, lock};
use crate::record::{Entry, Folded};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::{ClientId, Reference, Timestamp};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Mutex;
use std::time::Duration;

/// So many ways to use one client's tokens are told apart in a series; a client with many scopes could ask for each
/// subset of them. What comes then is counted by credential, and then by client.
const COUNTS: usize = 8;

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
    reference: Reference,
    actor: Actor,
    since: Timestamp,
    counts: Vec<Count>,
}

/// Tokens of a series that were issued for the same.
struct Count {
    facts: Facts,
    network: Option<Network>,
    first: Timestamp,
    last: Timestamp,
    count: u64,
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
            open.count(event);
            return Some(open.reference);
        }
        if super::is_over(series.window_start, at) {
            (series.window_start, series.in_window) = (at, 0);
        }
        series.in_window += 1;
        if series.in_window >= per_client_per_s {
            let (reference, actor) = (event.reference, event.actor.clone());
            series.open = Some(Open { reference, actor, since: at, counts: Vec::new() });
        }
        None
    }

    /// The records of the series that are due; of all when `all`. Forgets clients that ask for no more.
    pub(super) fn due(&self, now: Timestamp, interval: Duration, all: bool, records: &mut Vec<Entry>) {
        for shard in &self.shards {
            lock(shard).retain(|_, series| {
                let due = |open: &mut Open| all || now < open.since || now.since(open.since) >= interval;
                if let Some(open) = series.open.take_if(due) {
                    records.extend(open.into_records(now));
                }
                series.open.is_some() || !super::is_over(series.window_start, now)
            });
        }
    }
}

impl Open {
    fn count(&mut self, event: &AuditEvent) {
        let facts = &event.facts;
        let same = Facts {
            client: facts.client.clone(),
            credential: facts.credential,
            environment: facts.environment,
            certificate: facts.certificate.clone(),
            auth_method: facts.auth_method.clone(),
            audience: facts.audience.clone(),
            scope: facts.scope.clone(),
            ..Facts::default()
        };
        let by_credential = || Facts { certificate: None, audience: None, scope: None, ..same.clone() };
        let by_client = || Facts { client: facts.client.clone(), ..Facts::default() };
        let network = facts.source.map(Network::of);
        let room = self.counts.len();
        let index = self
            .index(&same, room < COUNTS)
            .or_else(|| self.index(&by_credential(), room < 2 * COUNTS))
            .or_else(|| self.index(&by_client(), true));
        let Some(count) = index.and_then(|index| self.counts.get_mut(index)) else { return };
        if count.count == 0 {
            (count.first, count.last, count.network) = (event.at, event.at, network);
        }
        count.count += 1;
        count.first = count.first.min(event.at);
        count.last = count.last.max(event.at);
        if count.network != network {
            count.network = None;
        }
    }

    /// Where these facts are counted, as a new count if it `may_grow`.
    fn index(&mut self, facts: &Facts, may_grow: bool) -> Option<usize> {
        let found = self.counts.iter().position(|count| count.facts == *facts);
        if found.is_some() || !may_grow {
            return found;
        }
        let at = Timestamp::default();
        self.counts.push(Count { facts: facts.clone(), network: None, first: at, last: at, count: 0 });
        Some(self.counts.len() - 1)
    }

    fn into_records(self, now: Timestamp) -> impl Iterator<Item = Entry> {
        let Self { reference, actor, counts, .. } = self;
        counts.into_iter().map(move |Count { facts, network, first, last, count }| {
            let event = AuditEvent::done(reference, now, AuditAction::TokenIssued, actor.clone(), facts);
            let network = network.map(|network| network.to_string());
            Entry { folded: Some(Folded { count, first, last, network }), ..event.into() }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{T0, issued};

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
        recorded(&table, (0..10_000).map(|i| of("acme-pay", &format!("scope-{i}"))));
        let records = due(&table, T0.plus_s(10));
        assert!(records.len() <= COUNTS + 1, "{}", records.len());
        let counted: u64 = records.iter().map(|record| record.folded.as_ref().unwrap().count).sum();
        assert_eq!(counted, 10_000 - u64::from(LIMIT));
        let rest = records.last().unwrap();
        assert_eq!(rest.event.facts.client.as_ref().unwrap().as_str(), "acme-pay");
    }
}
