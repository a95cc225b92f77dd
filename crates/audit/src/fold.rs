//! Folding: above a rate, equal refusals become one counted record, so that an attacker can fill neither disk nor log.
//!
//! Equal means: same action, public code, client and source network (/24 of IPv4, /64 of IPv6). The refusal that reaches
//! the rate is recorded in full and opens a series; those after it are counted, and their answers bear its reference.
//! After [`FoldSettings::interval`] the counts become records with that same reference, and the class starts anew. So the
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

use crate::record::{Entry, Folded};
use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::{ClientId, ReasonCode, Reference, Timestamp};
use issued::IssuedTable;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

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
const WINDOW_MS: i64 = 1000;
/// Refusals come nearly in the order of their times. One that is so much older than the present window counts in it:
/// times that alternate must not begin a window with each refusal. What is older still shows that the clock was set
/// back, and must not be folded for as long as it was ahead.
const LATE_MS: i64 = 60_000;

/// So many counts of registered clients there are in shared classes, over all of them: a caller who knows more names than
/// this, and tries them all, is counted without them.
const NAMED: usize = 4096;

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

/// One class: how many had their own record in this second, and the counts while it is folded.
struct Series {
    window_start: Timestamp,
    in_window: u32,
    open: Option<Open>,
}

struct Open {
    reference: Reference,
    since: Timestamp,
    /// As many as there are reasons behind one public code, times the actors that proved who they are: few.
    counts: Vec<Count>,
    /// In a class that is shared by names: those of registered clients.
    named: HashMap<(ClientId, ReasonCode, Actor), Count>,
}

/// Refusals of a series that are equal for the operator too.
struct Count {
    reason: ReasonCode,
    actor: Actor,
    first: Timestamp,
    last: Timestamp,
    count: u64,
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

impl Open {
    fn new(reference: Reference, since: Timestamp) -> Self {
        Self { reference, since, counts: Vec::new(), named: HashMap::new() }
    }

    fn count(&mut self, at: Timestamp, reason: ReasonCode, actor: &Actor) {
        match self.counts.iter_mut().find(|count| count.reason == reason && count.actor == *actor) {
            Some(count) => count.add(at),
            None => self.counts.push(Count::first(at, reason, actor)),
        }
    }

    /// Counts for a registered client, unless there are too many such counts already.
    fn count_named(
        &mut self,
        event: &AuditEvent,
        reason: ReasonCode,
        client: &ClientId,
        all: &AtomicUsize,
    ) -> bool {
        let key = (client.clone(), reason, event.actor.clone());
        if let Some(count) = self.named.get_mut(&key) {
            count.add(event.at);
            return true;
        }
        if all.fetch_add(1, Ordering::Relaxed) >= NAMED {
            all.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.named.insert(key, Count::first(event.at, reason, &event.actor));
        true
    }
}

impl Count {
    fn first(at: Timestamp, reason: ReasonCode, actor: &Actor) -> Self {
        Self { reason, actor: actor.clone(), first: at, last: at, count: 1 }
    }

    fn add(&mut self, at: Timestamp) {
        self.count += 1;
        self.first = self.first.min(at);
        self.last = self.last.max(at);
    }
}

impl Series {
    fn new(now: Timestamp) -> Self {
        Self { window_start: now, in_window: 0, open: None }
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        self.open.is_none() && self.is_over(now)
    }

    /// Whether what happens at `at` is not of the window: a late refusal is, and one by a clock that was set back is not.
    fn is_over(&self, at: Timestamp) -> bool {
        is_over(self.window_start, at)
    }
}

fn is_over(window_start: Timestamp, at: Timestamp) -> bool {
    let age_ms = at.unix_ms().saturating_sub(window_start.unix_ms());
    !(-LATE_MS..WINDOW_MS).contains(&age_ms)
}

/// Who is told apart by address: a household or a small network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    fn of(address: IpAddr) -> Self {
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

/// A number per second, over all classes and without a lock: the second in the upper bits, the count in the lower.
/// What comes late ([`LATE_MS`]) takes of the present second.
#[derive(Default)]
struct Budget(AtomicU64);

impl Budget {
    const COUNT_BITS: u32 = 24;

    /// Whether there was one left.
    fn take(&self, now: Timestamp, limit: u32) -> bool {
        let asked = now.unix_s().max(0).unsigned_abs();
        let late_s = LATE_MS.unsigned_abs() / 1000;
        let mask = (1 << Self::COUNT_BITS) - 1;
        let step = |state: u64| {
            let present = state >> Self::COUNT_BITS;
            let in_present = (asked..asked + late_s).contains(&present);
            let (second, count) = if in_present { (present, state & mask) } else { (asked, 0) };
            (count < u64::from(limit).min(mask)).then_some(second << Self::COUNT_BITS | (count + 1))
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{T0, refused};

    fn table(settings: FoldSettings) -> FoldTable {
        FoldTable::new(settings)
    }

    fn ask(table: &FoldTable, event: &AuditEvent) -> Verdict {
        table.verdict(event)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Records and counts that `refusals` come to.
    fn flood(table: &FoldTable, refusals: impl Iterator<Item = AuditEvent>) -> (u64, u64) {
        let mut recorded = 0;
        for event in refusals {
            recorded += u64::from(ask(table, &event) == Verdict::Recorded);
        }
        let counts =
            table.due(T0.plus_s(60), true).iter().map(|entry| entry.folded.as_ref().unwrap().count).sum();
        (recorded, counts)
    }

    #[test]
    fn below_the_rate_every_refusal_has_its_record() {
        let table = table(FoldSettings::default());
        let refusals =
            (0..500).map(|i| refused(Timestamp::from_unix_ms(T0.unix_ms() + i * 60), ip("192.0.2.1"), None));
        assert_eq!(flood(&table, refusals), (500, 0));
    }

    #[test]
    fn above_the_rate_a_series_counts_exactly_and_answers_bear_its_reference() {
        let table = table(FoldSettings::default());
        let refusals: Vec<_> = (0..1000).map(|_| refused(T0, ip("192.0.2.1"), Some("acme-pay"))).collect();
        let verdicts: Vec<_> = refusals.iter().map(|event| ask(&table, event)).collect();
        let opener = refusals[19].reference;
        assert!(verdicts[..20].iter().all(|verdict| *verdict == Verdict::Recorded));
        assert!(verdicts[20..].iter().all(|verdict| *verdict == Verdict::Folded(opener)));

        assert!(table.due(T0.plus_s(9), false).is_empty(), "not due yet");
        let records = table.due(T0.plus_s(10), false);
        let [Entry { event, folded: Some(folded), .. }] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!((event.reference, folded.count), (opener, 980));
        assert_eq!((folded.first, folded.last, folded.network.as_deref()), (T0, T0, Some("192.0.2.0/24")));
        assert_eq!(event.facts.path, None, "what was not equal in all of them is not said");
        // Then the class starts anew.
        assert_eq!(
            ask(&table, &refused(T0.plus_s(11), ip("192.0.2.1"), Some("acme-pay"))),
            Verdict::Recorded
        );
    }

    #[test]
    fn rule_t11_a_folded_handshake_names_its_listener() {
        let table = table(FoldSettings::default());
        for listener in ["public", "partners"] {
            for _ in 0..30 {
                let mut event = refused(T0, ip("192.0.2.1"), None);
                event.action = AuditAction::HandshakeRefused;
                event.facts.listener = Some(listener.to_owned());
                ask(&table, &event);
            }
        }
        let records = table.due(T0.plus_s(60), true);
        let mut listeners: Vec<_> = records.iter().map(|it| it.event.facts.listener.as_deref()).collect();
        listeners.sort_unstable();
        assert_eq!(listeners, [Some("partners"), Some("public")]);
    }

    #[test]
    fn clients_networks_and_reasons_are_told_apart() {
        let table = table(FoldSettings { total_per_s: 1_000_000, ..FoldSettings::default() });
        let mut other_reason = refused(T0, ip("192.0.2.1"), None);
        other_reason.reason = Some(ReasonCode::TokenExpired);
        for _ in 0..100 {
            ask(&table, &refused(T0, ip("192.0.2.1"), None));
        }
        assert!(
            matches!(ask(&table, &refused(T0, ip("192.0.2.200"), None)), Verdict::Folded(_)),
            "the same /24"
        );
        assert!(
            matches!(ask(&table, &refused(T0, ip("::ffff:192.0.2.9"), None)), Verdict::Folded(_)),
            "mapped IPv4"
        );
        assert_eq!(ask(&table, &refused(T0, ip("192.0.3.1"), None)), Verdict::Recorded);
        assert_eq!(ask(&table, &refused(T0, ip("192.0.2.1"), Some("acme-pay"))), Verdict::Recorded);
        assert_eq!(ask(&table, &other_reason), Verdict::Recorded);
        assert_eq!(Network::of(ip("2001:db8:1:2:3:4:5:6")).to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn rule_c10_what_one_public_code_hides_shares_a_series_and_is_counted_apart() {
        use ReasonCode as R;
        let hidden = |client: &str, reason| {
            let event = refused(T0, ip("192.0.2.1"), Some(client));
            let event = AuditEvent { reason: Some(reason), ..event };
            event.told(R::ClientAuthenticationFailed)
        };
        let reasons = [R::ClientSecretWrong, R::ClientUnknown, R::ClientMethodWrong, R::CertificateMissing];
        // With room for every class, and when so many names were tried that the class knows no client any more.
        for (max_classes, clients) in [(1024, ["acme-pay", "acme-pay"]), (0, ["acme-pay", "nobody"])] {
            let table = table(FoldSettings { max_classes, total_per_s: 0, ..FoldSettings::default() });
            let opener = hidden(clients[0], R::ClientSecretWrong);
            assert_eq!(ask(&table, &opener), Verdict::Recorded);
            for (i, reason) in reasons.into_iter().enumerate() {
                for _ in 0..=i {
                    let verdict = ask(&table, &hidden(clients[1], reason));
                    assert_eq!(verdict, Verdict::Folded(opener.reference), "{reason}");
                }
            }
            // The operator reads how many there were of each.
            let records = table.due(T0.plus_s(60), true);
            let counted =
                records.iter().map(|entry| (entry.event.reason, entry.folded.as_ref().unwrap().count));
            assert_eq!(
                counted.collect::<Vec<_>>(),
                reasons.map(Some).into_iter().zip(1..).collect::<Vec<_>>()
            );
            assert!(records.iter().all(|entry| entry.event.reference == opener.reference));
        }
        // What the caller is told by its own name is told apart: at the gateway a missing certificate is no secret.
        let table = table(FoldSettings { total_per_s: 0, ..FoldSettings::default() });
        ask(&table, &hidden("acme-pay", R::CertificateMissing));
        let open = AuditEvent { told: None, ..hidden("acme-pay", R::CertificateMissing) };
        assert_eq!(ask(&table, &open), Verdict::Recorded);
    }

    #[test]
    fn rule_i4_a_flood_of_invented_names_hides_no_registered_client() {
        use ReasonCode as R;
        let table = table(FoldSettings { max_classes: 16, ..FoldSettings::default() });
        table.registered_by(Box::new(|client| client.as_str().starts_with("partner-")));
        let guess = |client: &str, reason| {
            let event = refused(T0, ip("192.0.2.1"), Some(client));
            AuditEvent { reason: Some(reason), ..event }.told(R::ClientAuthenticationFailed)
        };
        for i in 0..2_000 {
            ask(&table, &guess(&format!("invented-{i}"), R::ClientUnknown));
        }
        let mut told = std::collections::HashSet::new();
        for i in 0..60 {
            told.insert(format!(
                "{:?}",
                ask(&table, &guess(&format!("partner-{}", i % 12), R::ClientSecretWrong))
            ));
            told.insert(format!("{:?}", ask(&table, &guess(&format!("invented-{i}x"), R::ClientUnknown))));
        }
        assert_eq!(told.len(), 1, "the reference tells nobody which names exist (C10): {told:?}");
        let records = table.due(T0.plus_s(60), true);
        let of = |client: &str| {
            let id = Some(client.parse().unwrap());
            let mut found = records.iter().filter(|entry| entry.event.facts.client == id);
            let (one, other) = (found.next().unwrap(), found.next());
            assert!(other.is_none());
            (
                one.event.reason,
                one.folded.as_ref().unwrap().count,
                one.folded.as_ref().unwrap().network.clone(),
            )
        };
        for i in 0..12 {
            let expected = (Some(R::ClientSecretWrong), 5, Some("192.0.2.0/24".to_owned()));
            assert_eq!(of(&format!("partner-{i}")), expected);
        }
        assert_eq!(table.named.load(Ordering::Relaxed), 0, "the memory is given back");
    }

    #[test]
    fn rule_g20_guesses_at_every_registered_client_are_bounded_in_memory_and_counted_exactly() {
        let table = table(FoldSettings { max_classes: 0, ..FoldSettings::default() });
        table.registered_by(Box::new(|_| true));
        let refusals =
            (0..20_000).map(|i| refused(T0, ip("192.0.2.1"), Some(&format!("partner-{}", i % 9_000))));
        let mut recorded = 0;
        for event in refusals {
            recorded += u64::from(ask(&table, &event) == Verdict::Recorded);
        }
        assert_eq!(table.named.load(Ordering::Relaxed), NAMED);
        let records = table.due(T0.plus_s(60), true);
        let counted: u64 = records.iter().map(|entry| entry.folded.as_ref().unwrap().count).sum();
        assert_eq!((recorded + counted, records.len()), (20_000, NAMED + 1));
    }

    #[test]
    fn a_folded_record_names_only_a_proved_client_as_its_actor() {
        let table = table(FoldSettings::default());
        let client = |id: &str| Actor::Client(id.parse().unwrap());
        // The last one is who he is, whoever he says that he is.
        let actors = [Actor::Anonymous, client("acme-pay"), client("other-bank")];
        for actor in &actors {
            for _ in 0..100 {
                let event = refused(T0, ip("192.0.2.1"), Some("acme-pay"));
                ask(&table, &AuditEvent { actor: actor.clone(), ..event });
            }
        }
        let records = table.due(T0.plus_s(60), true);
        let found: Vec<_> = records.iter().map(|entry| entry.event.actor.clone()).collect();
        assert_eq!(found, actors);
        let speaks_of_acme = |entry: &Entry| entry.event.facts.client == Some("acme-pay".parse().unwrap());
        assert!(records.iter().all(speaks_of_acme), "all say of whom they speak");
    }

    #[test]
    fn a_flood_from_everywhere_is_bounded_in_memory_and_records_and_counted_exactly() {
        let table = table(FoldSettings::default());
        let refusals = (0..100_000_u32).map(|i| {
            let source = IpAddr::from((i.wrapping_mul(2_654_435_761)).to_be_bytes());
            refused(T0, source, Some(&format!("client-{}", i % 5000)))
        });
        let (recorded, counts) = flood(&table, refusals);
        assert_eq!(recorded + counts, 100_000);
        assert!(recorded < 2_500, "{recorded}");
        let classes: usize = table.shards.iter().chain([&table.coarse]).map(|shard| lock(shard).len()).sum();
        assert!(classes <= 2 * 1024 + 10, "{classes}");
    }

    #[test]
    fn idle_classes_make_room() {
        let table = table(FoldSettings { max_classes: 16, ..FoldSettings::default() });
        for i in 0..2000_u32 {
            let at = T0.plus_s(i64::from(i) * 2);
            assert_eq!(
                ask(&table, &refused(at, IpAddr::from((i << 8).to_be_bytes()), None)),
                Verdict::Recorded
            );
        }
        assert!(lock(&table.coarse).is_empty());
    }

    #[test]
    fn a_clock_that_is_set_back_neither_folds_for_ever_nor_holds_a_series() {
        let table = table(FoldSettings::default());
        for _ in 0..30 {
            ask(&table, &refused(T0, ip("192.0.2.1"), None));
        }
        let earlier = T0.plus_s(-3600);
        assert_eq!(table.due(earlier, false).len(), 1);
        for _ in 0..20 {
            assert_eq!(ask(&table, &refused(earlier, ip("192.0.2.1"), None)), Verdict::Recorded);
        }
    }

    #[test]
    fn the_budget_over_all_classes_is_for_each_second() {
        let budget = Budget::default();
        assert_eq!((0..10).filter(|_| budget.take(T0, 5)).count(), 5);
        assert_eq!((0..10).filter(|_| budget.take(T0.plus_s(1), 5)).count(), 5);
    }

    #[test]
    fn late_refusals_begin_no_new_second() {
        let budget = Budget::default();
        let times = || (0..100).map(|i| T0.plus_s(-(i % 2) * 30));
        assert_eq!(times().filter(|at| budget.take(*at, 5)).count(), 5);
        // By a clock that was set back.
        assert!(budget.take(T0.plus_s(-3600), 5));

        let table = table(FoldSettings::default());
        let refusals = times().map(|at| refused(at, ip("192.0.2.1"), None));
        assert_eq!(flood(&table, refusals), (20, 80));
    }
}
