//! Folding: above a rate, equal refusals become one counted record, so that an attacker can fill neither disk nor log.
//!
//! Equal means: same action, public code, client and source network (/24 of IPv4, /64 of IPv6). The refusal that reaches
//! the rate is recorded in full and opens a series; those after it are counted, and their answers bear its reference.
//! After [`FoldSettings::interval`] the counts become records with that same reference, and the class begins again. So the
//! number of records and the counts together are exact, and a reference told to a caller is found at once.
//!
//! Two readers, two truths: which answers share a reference is told to callers, so a class is made of nothing but what
//! they know. By the exact reason they would learn from two equal references what one public code hides: whether a client
//! exists, and how it authenticates (rule C10). The operator loses nothing by it: within a series each exact reason, and
//! each proved actor, is counted by itself and has a record of its own.
//!
//! Memory is bounded: when there are too many classes (an attacker chooses `client_id` and may have many addresses) the
//! rest share one class for each network, then one for all. There too each registered client is counted by itself, so
//! that nobody hides a guess at its secret behind a flood of invented names. Callers read the one shared reference, whether
//! the name that they tried exists or not (rule C10).
//!
//! Tokens are folded too, by a table of their own ([`issued`]).

mod issued;
mod network;
mod series;
mod window;

use crate::record::{Entry, Folded};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::{ClientId, ReasonCode, Reference, Timestamp};
use issued::IssuedTable;
use network::Network;
use series::{Count, Open, Series};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use window::Budget;

/// When refusals are folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldSettings {
    /// Maximum number of equal refusals per second that have their own record. Default: 20, more than a person or a
    /// misconfigured partner makes, so that only a flood is folded.
    pub per_class_per_s: u32,
    /// Maximum number of refusals per second over all classes; above it a class has one record before it is folded. Default:
    /// 200, about 7 GB a day at worst.
    pub total_per_s: u32,
    /// Maximum number of tokens of one client per second that have their own record. Default: 50, more than a partner's
    /// instances ask for unless all of them start at once. Above it, the first token of each combination of credential,
    /// certificate, audience, scope and network still has one. 0: each token has its record, however many there are.
    pub issued_per_client_per_s: u32,
    /// How long a series counts before it is recorded. Default: 10 s; at most 30 s, because a look-up searches that far.
    pub interval: Duration,
    /// Maximum number of classes that are distinguished. Default: 1024.
    pub max_classes: usize,
}

impl Default for FoldSettings {
    fn default() -> Self {
        Self {
            per_class_per_s: 20,
            total_per_s: 200,
            issued_per_client_per_s: 50,
            interval: Duration::from_secs(10),
            max_classes: 1024,
        }
    }
}

/// The longest interval: `find` looks that far behind a reference's own time.
const LONGEST_INTERVAL: Duration = Duration::from_secs(30);
const SHARDS: usize = 16;
/// Tells whether a client is registered.
pub(crate) type IsRegistered = Box<dyn Fn(&ClientId) -> bool + Send + Sync>;

/// What becomes of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It gets a record of its own.
    Recorded,
    /// It was counted in the series of this reference.
    Folded(Reference),
}

/// The classes and their series. Asked on the data path: one short lock of one shard.
pub(crate) struct FoldTable {
    settings: FoldSettings,
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<Class, Series>>>,
    /// Classes without a client, and without a network: bounded by the same number and by the closed sets.
    coarse: Mutex<HashMap<Class, Series>>,
    total: Budget,
    issued: IssuedTable,
    is_registered: OnceLock<IsRegistered>,
    /// How many counts of registered clients there are in shared classes.
    named: AtomicUsize,
}

/// Refusals that share a reference: nothing in here is news to who was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Class {
    action: AuditAction,
    public: ReasonCode,
    client: Option<ClientId>,
    network: Option<Network>,
    /// Of handshakes alone: nothing else in their record says where it was.
    listener: Option<String>,
}

impl FoldTable {
    pub(crate) fn new(settings: FoldSettings) -> Self {
        Self {
            settings: FoldSettings { interval: settings.interval.min(LONGEST_INTERVAL), ..settings },
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            coarse: Mutex::default(),
            total: Budget::default(),
            issued: IssuedTable::new(),
            is_registered: OnceLock::new(),
            named: AtomicUsize::new(0),
        }
    }

    /// Says who is registered. Until then no client is told apart in shared classes.
    pub(crate) fn registered_by(&self, is_registered: IsRegistered) {
        let _ = self.is_registered.set(is_registered); // the first one stays
    }

    /// Decides about an event, at its own time. What was done is always recorded, but for a flood of tokens.
    pub(crate) fn verdict(&self, event: &AuditEvent) -> Verdict {
        let (Some(reason), Some(public)) = (event.reason, event.public()) else { return self.done(event) };
        let class = Class::of(event, public);
        let capacity = self.settings.max_classes.div_ceil(SHARDS);
        if let Some(series) = make_room(&mut lock(self.shard(&class)), &class, capacity, event.at) {
            return self.count(series, event, reason, &event.actor, None);
        }
        let is_registered = |client: &&ClientId| self.is_registered.get().is_some_and(|it| it(client));
        let named = event.facts.client.as_ref().filter(is_registered);
        let mut coarse = lock(&self.coarse);
        let class = Class { client: None, ..class };
        if let Some(series) = make_room(&mut coarse, &class, self.settings.max_classes, event.at) {
            return self.count(series, event, reason, &Actor::Anonymous, named);
        }
        // Actions and reasons are closed sets: this level needs no bound.
        let series = coarse.entry(Class { network: None, ..class }).or_insert_with(|| Series::new(event.at));
        self.count(series, event, reason, &Actor::Anonymous, named)
    }

    fn done(&self, event: &AuditEvent) -> Verdict {
        let limit = self.settings.issued_per_client_per_s;
        let series = match event.action {
            AuditAction::TokenIssued if limit > 0 => self.issued.folded(event, limit),
            _ => None,
        };
        series.map_or(Verdict::Recorded, Verdict::Folded)
    }

    fn count(
        &self,
        series: &mut Series,
        event: &AuditEvent,
        reason: ReasonCode,
        actor: &Actor,
        named: Option<&ClientId>,
    ) -> Verdict {
        let at = event.at;
        if let Some(open) = &mut series.open {
            let counted = named.is_some_and(|client| open.count_named(event, reason, client, &self.named));
            if !counted {
                open.count(at, reason, actor);
            }
            return Verdict::Folded(open.reference);
        }
        if series.is_over(at) {
            (series.window_start, series.in_window) = (at, 0);
        }
        series.in_window += 1;
        let within_total = self.total.take(at, self.settings.total_per_s);
        if series.in_window >= self.settings.per_class_per_s || !within_total {
            series.open = Some(Open::new(event.reference, at));
        }
        Verdict::Recorded
    }

    /// The records of the series that are due; of all when `all`.
    pub(crate) fn due(&self, now: Timestamp, all: bool) -> Vec<Entry> {
        let mut records = Vec::new();
        self.issued.due(now, self.settings.interval, all, &mut records);
        for shard in self.shards.iter().chain([&self.coarse]) {
            for (class, series) in lock(shard).iter_mut() {
                let due = |open: &mut Open| {
                    all || now < open.since || now.since(open.since) >= self.settings.interval
                };
                if let Some(Open { reference, counts, named, .. }) = series.open.take_if(due) {
                    records.extend(counts.into_iter().map(|count| class.record(reference, count, now)));
                    self.named.fetch_sub(named.len(), Ordering::Relaxed);
                    for ((client, ..), count) in named {
                        let class = Class { client: Some(client), ..class.clone() };
                        records.push(class.record(reference, count, now));
                    }
                }
            }
        }
        records
    }

    fn shard(&self, class: &Class) -> &Mutex<HashMap<Class, Series>> {
        // The hasher is keyed at random: nobody outside can choose the shard that he fills.
        let index = usize::try_from(self.hasher.hash_one(class) % SHARDS as u64).unwrap_or(0);
        &self.shards[index]
    }
}

/// The class's series; `None` when there is no room for another class.
fn make_room<'a>(
    classes: &'a mut HashMap<Class, Series>,
    class: &Class,
    capacity: usize,
    now: Timestamp,
) -> Option<&'a mut Series> {
    if !classes.contains_key(class) {
        if classes.len() >= capacity {
            classes.retain(|_, series| !series.is_idle(now));
        }
        if classes.len() >= capacity {
            return None;
        }
        classes.insert(class.clone(), Series::new(now));
    }
    classes.get_mut(class)
}

// A panic elsewhere while the lock was held leaves counts behind that are still true.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Class {
    fn of(event: &AuditEvent, public: ReasonCode) -> Self {
        let (client, network) = (event.facts.client.clone(), event.facts.source.map(Network::of));
        let has_request = event.action.refused_before_request().is_none();
        let listener = event.facts.listener.clone().filter(|_| !has_request);
        Self { action: event.action, public, client, network, listener }
    }

    /// What is equal in all refusals that were counted together, and nothing else.
    fn record(&self, reference: Reference, count: Count, now: Timestamp) -> Entry {
        let Count { reason, actor, first, last, count } = count;
        let (client, listener) = (self.client.clone(), self.listener.clone());
        let facts = Facts { client, listener, ..Facts::default() };
        let event = AuditEvent::refused(reference, now, self.action, reason, actor, facts);
        let network = self.network.map(|network| network.to_string());
        Entry {
            folded: Some(Folded { count, first, last, network, networks: None, certificates: None }),
            ..event.into()
        }
    }
}

#[cfg(test)]
mod tests;
