use super::series::NAMED;
use super::*;
use crate::testing::{T0, refused};
use std::net::IpAddr;

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
    // Then the class begins again.
    assert_eq!(ask(&table, &refused(T0.plus_s(11), ip("192.0.2.1"), Some("acme-pay"))), Verdict::Recorded);
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
    assert!(matches!(ask(&table, &refused(T0, ip("192.0.2.200"), None)), Verdict::Folded(_)), "the same /24");
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
        let counted = records.iter().map(|entry| (entry.event.reason, entry.folded.as_ref().unwrap().count));
        assert_eq!(counted.collect::<Vec<_>>(), reasons.map(Some).into_iter().zip(1..).collect::<Vec<_>>());
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
        (one.event.reason, one.folded.as_ref().unwrap().count, one.folded.as_ref().unwrap().network.clone())
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
    let refusals = (0..20_000).map(|i| refused(T0, ip("192.0.2.1"), Some(&format!("partner-{}", i % 9_000))));
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
    // The last one proved that it is other-bank, and says that it is acme-pay.
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
        assert_eq!(ask(&table, &refused(at, IpAddr::from((i << 8).to_be_bytes()), None)), Verdict::Recorded);
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
fn late_refusals_are_folded_in_the_present_second() {
    let times = (0..100).map(|i| T0.plus_s(-(i % 2) * 30));
    let table = table(FoldSettings::default());
    let refusals = times.map(|at| refused(at, ip("192.0.2.1"), None));
    assert_eq!(flood(&table, refusals), (20, 80));
}
