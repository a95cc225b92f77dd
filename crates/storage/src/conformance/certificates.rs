//! The ledger.

use super::fixtures::{NOW, client, client_id, issuer_id, pending, serial};
use super::{commit, commit_each};
use crate::stores::{CertificateFilter, Expiring};
use crate::{StorageError, Store, Transaction, Write};
use countersign_model::certificate::{CertificateRecord, CertificateState, Profile, RevocationReason};
use countersign_model::client::ClientState;
use countersign_model::{Environment, Serial, Thumbprint, Timestamp};
use std::sync::Arc;

pub(super) fn issued(n: u64) -> Write {
    let der = n.to_be_bytes().to_vec();
    Write::MarkIssued { issuer: issuer_id("clients"), serial: serial(n), der, thumbprint: thumbprint(n) }
}

pub(super) fn abandoned(n: u64, at: Timestamp) -> Write {
    Write::MarkAbandoned { issuer: issuer_id("clients"), serial: serial(n), at }
}

pub(super) fn revoked(n: u64, at: Timestamp, reason: RevocationReason) -> Write {
    Write::RevokeCertificate { issuer: issuer_id("clients"), serial: serial(n), at, reason }
}

fn thumbprint(n: u64) -> Thumbprint {
    let mut octets = [0xee; 32];
    octets[..8].copy_from_slice(&n.to_be_bytes());
    Thumbprint(octets)
}

async fn read(store: &dyn Store, n: u64) -> CertificateRecord {
    store.certificate(&issuer_id("clients"), &serial(n)).await.unwrap().unwrap()
}

/// Another issuer may use it too.
pub async fn rule_p1_a_serial_is_used_once_by_its_issuer(store: Arc<dyn Store>) {
    commit(&*store, Write::InsertPendingCertificate(pending(1))).await.unwrap();
    let again = CertificateRecord { subject: "CN=other".to_owned(), ..pending(1) };
    let refused = commit(&*store, Write::InsertPendingCertificate(again)).await;
    assert_eq!(refused, Err(StorageError::Conflict("certificate")));
    assert_eq!(read(&*store, 1).await, pending(1));

    let of_another = CertificateRecord { issuer: issuer_id("servers"), ..pending(1) };
    commit(&*store, Write::InsertPendingCertificate(of_another.clone())).await.unwrap();
    assert_eq!(store.certificate(&issuer_id("servers"), &serial(1)).await, Ok(Some(of_another)));
    assert_eq!(read(&*store, 1).await, pending(1));
}

/// Pending, issued, revoked: every field comes back in every state.
pub async fn rule_p7_a_row_is_pending_before_it_is_issued(store: Arc<dyn Store>) {
    commit(&*store, Write::InsertClient(client("acme-pay"))).await.unwrap();
    let ours = CertificateRecord {
        profile: Profile::Server,
        environment: None,
        names: vec![],
        crl_shard: u16::MAX,
        ..pending(2)
    };
    let renewed = CertificateRecord {
        client: Some(client_id("acme-pay")),
        renews: Some(serial(1)),
        last_seen_at: Some(NOW.plus_s(1)),
        calls: 3,
        ..pending(1)
    };
    for (n, written) in [(1, renewed), (2, ours)] {
        commit(&*store, Write::InsertPendingCertificate(written.clone())).await.unwrap();
        assert_eq!(read(&*store, n).await, written);
        assert_eq!(store.pending_certificates().await, Ok(vec![written.clone()]));
        assert_eq!(store.certificate_by_thumbprint(&thumbprint(n)).await, Ok(None));

        commit(&*store, issued(n)).await.unwrap();
        let issued = CertificateRecord {
            state: CertificateState::Issued,
            thumbprint: Some(thumbprint(n)),
            der: Some(n.to_be_bytes().to_vec()),
            ..written
        };
        assert_eq!(store.certificate_by_thumbprint(&thumbprint(n)).await, Ok(Some(issued.clone())));
        assert_eq!(store.pending_certificates().await, Ok(vec![]));

        let (at, reason) = (NOW.plus_s(9), RevocationReason::KeyCompromise);
        commit(&*store, revoked(n, at, reason)).await.unwrap();
        let state = CertificateState::Revoked { at, reason };
        assert_eq!(read(&*store, n).await, CertificateRecord { state, ..issued });
    }
    assert_eq!(store.certificate(&issuer_id("clients"), &serial(9)).await, Ok(None));
}

/// In every state of the other's certificate and however old it is; the client itself renews with its key as often as it
/// likes. An operator who must share a key leaves the write out.
pub async fn rule_p10_a_key_belongs_to_one_client(store: Arc<dyn Store>) {
    commit_each(&*store, ["acme-pay", "other"].map(|name| Write::InsertClient(client(name)))).await;
    let free = |key: u8, name: &str| Write::KeyIsFree { key_hash: [key; 32], client: client_id(name) };
    let of = |n, name: &str, environment| CertificateRecord {
        client: Some(client_id(name)),
        environment: Some(environment),
        not_after: NOW.plus_days(-400),
        key_hash: [u8::try_from(n).unwrap(); 32],
        ..pending(n)
    };
    for (n, environment) in [
        (1, Environment::Production),
        (2, Environment::Sandbox),
        (3, Environment::Production),
        (4, Environment::Production),
    ] {
        commit(&*store, free(u8::try_from(n).unwrap(), "acme-pay")).await.unwrap();
        commit(&*store, Write::InsertPendingCertificate(of(n, "acme-pay", environment))).await.unwrap();
    }
    commit_each(&*store, [issued(2), abandoned(3, NOW), issued(4)]).await;
    commit(&*store, revoked(4, NOW, RevocationReason::Superseded)).await.unwrap();
    for n in 1..=4 {
        commit(&*store, free(n, "acme-pay")).await.unwrap();
        let environment = if n == 2 { Environment::Sandbox } else { Environment::Production };
        let taken = Err(StorageError::KeyTaken(Some(environment)));
        assert_eq!(commit(&*store, free(n, "other")).await, taken, "{n}");
    }
    commit(&*store, free(5, "other")).await.unwrap();

    let ours = CertificateRecord { environment: None, key_hash: [6; 32], ..pending(6) };
    commit(&*store, Write::InsertPendingCertificate(ours)).await.unwrap();
    assert_eq!(commit(&*store, free(6, "other")).await, Err(StorageError::KeyTaken(None)));

    // Both clients have certificates for one key once that was allowed: neither of them owns it alone.
    commit(
        &*store,
        Write::InsertPendingCertificate(CertificateRecord {
            key_hash: [1; 32],
            ..of(7, "other", Environment::Sandbox)
        }),
    )
    .await
    .unwrap();
    assert_eq!(
        commit(&*store, free(1, "acme-pay")).await,
        Err(StorageError::KeyTaken(Some(Environment::Sandbox)))
    );
}

/// The check and the row are one transaction: of many clients at once with one key, one gets a certificate.
pub async fn rule_p10_of_many_clients_with_one_key_one_wins(store: Arc<dyn Store>) {
    let names: Vec<String> = (0..8).map(|n| format!("client-{n}")).collect();
    for name in &names {
        commit(&*store, Write::InsertClient(client(name))).await.unwrap();
    }
    let attempts: Vec<_> = (0..)
        .zip(&names)
        .map(|(n, name)| {
            let record = CertificateRecord { client: Some(client_id(name)), ..pending(n) };
            let free = Write::KeyIsFree { key_hash: record.key_hash, client: client_id(name) };
            let transaction = Transaction::new().write(free).write(Write::InsertPendingCertificate(record));
            let store = store.clone();
            tokio::spawn(async move { store.commit(transaction).await })
        })
        .collect();
    let mut won = 0;
    for attempt in attempts {
        match attempt.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error, StorageError::KeyTaken(Some(Environment::Production))),
        }
    }
    assert_eq!(won, 1);
}

/// Valid ones only, the soonest first, in pages that neither repeat nor skip a row.
pub async fn certificates_are_listed_by_their_expiry(store: Arc<dyn Store>) {
    commit_each(&*store, ["acme-pay", "other"].map(|name| Write::InsertClient(client(name)))).await;
    for (n, name, days) in [
        (1, "acme-pay", 9),
        (2, "other", 3),
        (3, "acme-pay", 3),
        (4, "acme-pay", -1),
        (5, "acme-pay", 4),
        (6, "acme-pay", 5),
        (7, "acme-pay", 10),
        (8, "other", 3),
        (9, "acme-pay", 0),
    ] {
        let (client, not_after) = (Some(client_id(name)), NOW.plus_days(days));
        let record = CertificateRecord { client, not_after, ..pending(n) };
        commit(&*store, Write::InsertPendingCertificate(record)).await.unwrap();
    }
    commit_each(&*store, [1, 2, 3, 4, 5, 7, 8, 9].map(issued)).await;
    commit(&*store, revoked(5, NOW, RevocationReason::Superseded)).await.unwrap();
    let all = Expiring { client: None, from: NOW, before: NOW.plus_days(10), after: None };
    let acme = Expiring { client: Some(client_id("acme-pay")), ..all.clone() };
    let until_3 = Expiring { before: NOW.plus_days(3).plus_s(1), ..all.clone() };
    let nobodys = Expiring { client: Some(client_id("nobody")), ..all.clone() };
    for (mut filter, expected) in
        [(all, vec![9, 2, 3, 8, 1]), (acme, vec![9, 3, 1]), (until_3, vec![9, 2, 3, 8]), (nobodys, vec![])]
    {
        for limit in [1, 2, 10] {
            filter.after = None;
            let mut seen = Vec::new();
            loop {
                let page = store.expiring_certificates(&filter, limit).await.unwrap();
                assert!(page.len() <= limit as usize);
                seen.extend(page.iter().map(|record| record.serial));
                let Some(last) = page.last() else { break };
                filter.after = Some((last.not_after, last.serial));
            }
            assert_eq!(seen, expected.iter().copied().map(serial).collect::<Vec<_>>(), "{filter:?}");
        }
    }
}

/// `Conflict` for any other state, `Missing` for a client that does not exist.
pub async fn a_row_begins_as_pending_and_of_a_known_client(store: Arc<dyn Store>) {
    let issued = CertificateRecord { state: CertificateState::Issued, ..pending(1) };
    let refused = commit(&*store, Write::InsertPendingCertificate(issued)).await;
    assert_eq!(refused, Err(StorageError::Conflict("certificate")));
    let stray = CertificateRecord { client: Some(client_id("nobody")), ..pending(1) };
    let refused = commit(&*store, Write::InsertPendingCertificate(stray)).await;
    assert_eq!(refused, Err(StorageError::Missing("client")));
    assert_eq!(store.certificates(&CertificateFilter::default(), 10).await, Ok(vec![]));
}

/// And only once; two rows never have the same thumbprint.
pub async fn only_a_pending_row_is_issued_or_abandoned(store: Arc<dyn Store>) {
    let conflict = Err(StorageError::Conflict("certificate"));
    let missing = Err(StorageError::Missing("certificate"));
    assert_eq!(commit(&*store, issued(1)).await, missing);
    assert_eq!(commit(&*store, abandoned(1, NOW)).await, missing);

    commit_each(&*store, [1, 2].map(|n| Write::InsertPendingCertificate(pending(n)))).await;
    commit_each(&*store, [issued(1), abandoned(2, NOW.plus_s(2))]).await;
    assert_eq!(read(&*store, 2).await.state, CertificateState::Abandoned { at: NOW.plus_s(2) });
    for n in [1, 2] {
        let before = read(&*store, n).await;
        assert_eq!(commit(&*store, issued(n)).await, conflict);
        assert_eq!(commit(&*store, abandoned(n, NOW.plus_s(7))).await, conflict);
        assert_eq!(read(&*store, n).await, before);
    }

    commit(&*store, Write::InsertPendingCertificate(pending(3))).await.unwrap();
    let twin = Write::MarkIssued {
        issuer: issuer_id("clients"),
        serial: serial(3),
        der: vec![],
        thumbprint: thumbprint(1),
    };
    assert_eq!(commit(&*store, twin).await, conflict);
    assert_eq!(read(&*store, 3).await, pending(3));
}

/// The first time and reason stay: the second one is told, so that one alone is recorded.
pub async fn rule_r5_the_first_revocation_stays(store: Arc<dyn Store>) {
    commit(&*store, Write::InsertPendingCertificate(pending(1))).await.unwrap();
    commit(&*store, issued(1)).await.unwrap();
    let (at, reason) = (NOW.plus_s(5), RevocationReason::Superseded);
    let later = revoked(1, NOW.plus_s(6), RevocationReason::KeyCompromise);
    commit(&*store, revoked(1, at, reason)).await.unwrap();
    assert_eq!(commit(&*store, later).await, Err(StorageError::Conflict("certificate")));
    assert_eq!(read(&*store, 1).await.state, CertificateState::Revoked { at, reason });
    let refused = commit(&*store, revoked(9, NOW, RevocationReason::Unspecified)).await;
    assert_eq!(refused, Err(StorageError::Missing("certificate")));
}

/// A certificate that is revoked while it is being signed is not handed out; an abandoned one stays abandoned, which is
/// on the CRL already.
pub async fn what_was_revoked_or_abandoned_is_not_issued(store: Arc<dyn Store>) {
    let conflict = Err(StorageError::Conflict("certificate"));
    commit_each(&*store, [1, 2].map(|n| Write::InsertPendingCertificate(pending(n)))).await;
    let (at, reason) = (NOW.plus_s(5), RevocationReason::PrivilegeWithdrawn);
    commit_each(&*store, [revoked(1, at, reason), abandoned(2, NOW)]).await;
    assert_eq!(commit(&*store, issued(1)).await, conflict);
    assert_eq!(read(&*store, 1).await.state, CertificateState::Revoked { at, reason });
    assert_eq!(commit(&*store, revoked(2, at, reason)).await, conflict);
    assert_eq!(read(&*store, 2).await.state, CertificateState::Abandoned { at: NOW });
}

/// A client that is disabled while its certificate is signed gets none.
pub async fn only_an_active_client_is_issued_a_certificate(store: Arc<dyn Store>) {
    for name in ["acme-pay", "other"] {
        commit(&*store, Write::InsertClient(client(name))).await.unwrap();
    }
    for (n, name) in [(1, "acme-pay"), (2, "other")] {
        let record = CertificateRecord { client: Some(client_id(name)), ..pending(n) };
        commit(&*store, Write::InsertPendingCertificate(record)).await.unwrap();
    }
    let disable = Write::SetClientState { client: client_id("other"), state: ClientState::Disabled, at: NOW };
    commit(&*store, disable).await.unwrap();
    commit(&*store, issued(1)).await.unwrap();
    assert_eq!(commit(&*store, issued(2)).await, Err(StorageError::Conflict("certificate")));
    assert_eq!(read(&*store, 2).await.state, CertificateState::Pending);
}

/// Counts add up, the last time never goes back, and a certificate that is not ours is passed over.
pub async fn uses_of_a_certificate_add_up(store: Arc<dyn Store>) {
    let used = |n, at, calls| Write::CertificateUsed {
        issuer: issuer_id("clients"),
        serial: serial(n),
        at: NOW.plus_s(at),
        calls,
    };
    commit(&*store, Write::InsertPendingCertificate(pending(1))).await.unwrap();
    commit_each(&*store, [used(1, 20, 3), used(1, 10, 4), used(9, 30, 5)]).await;
    let read = read(&*store, 1).await;
    assert_eq!((read.calls, read.last_seen_at), (7, Some(NOW.plus_s(20))));
}

async fn listed(store: &dyn Store, filter: &CertificateFilter, limit: u32) -> Vec<Serial> {
    store.certificates(filter, limit).await.unwrap().iter().map(|record| record.serial).collect()
}

/// Pages neither repeat nor skip a row, also where rows were made in the same millisecond.
pub async fn a_listing_is_paged_newest_first(store: Arc<dyn Store>) {
    for (n, age) in [(1, 0), (2, 0), (3, 0), (4, -5), (5, 9)] {
        let record = CertificateRecord { created_at: NOW.plus_s(age), ..pending(n) };
        commit(&*store, Write::InsertPendingCertificate(record)).await.unwrap();
    }
    let mut filter = CertificateFilter::default();
    let mut seen = Vec::new();
    loop {
        let page = store.certificates(&filter, 2).await.unwrap();
        assert!(page.len() <= 2);
        seen.extend(page.iter().map(|record| record.serial));
        let Some(last) = page.last() else { break };
        filter.before = Some((last.created_at, last.serial));
    }
    assert_eq!(seen, [5, 3, 2, 1, 4].map(serial));
}

/// By client, state and serial prefix, alone, together and with a page's end.
pub async fn a_listing_is_filtered(store: Arc<dyn Store>) {
    commit_each(&*store, ["acme-pay", "other"].map(|name| Write::InsertClient(client(name)))).await;
    for (n, name) in [(0x10, "acme-pay"), (0x11, "other"), (0x12, "acme-pay"), (0x23, "acme-pay")] {
        let record = CertificateRecord { client: Some(client_id(name)), ..pending(n) };
        commit(&*store, Write::InsertPendingCertificate(record)).await.unwrap();
    }
    commit_each(&*store, [issued(0x10), issued(0x12), abandoned(0x23, NOW)]).await;
    commit(&*store, revoked(0x12, NOW, RevocationReason::Unspecified)).await.unwrap();

    let all = CertificateFilter::default();
    let acme = CertificateFilter { client: Some(client_id("acme-pay")), ..all.clone() };
    let prefix = |text: &str| CertificateFilter { serial_prefix: Some(text.to_owned()), ..all.clone() };
    let state = |text: &str| CertificateFilter { state: Some(text.to_owned()), ..all.clone() };
    let cases = [
        (all.clone(), vec![0x23, 0x12, 0x11, 0x10]),
        (acme.clone(), vec![0x23, 0x12, 0x10]),
        (CertificateFilter { client: Some(client_id("nobody")), ..all.clone() }, vec![]),
        (state("pending"), vec![0x11]),
        (state("issued"), vec![0x10]),
        (state("abandoned"), vec![0x23]),
        (state("revoked"), vec![0x12]),
        (state("lost"), vec![]),
        (prefix(""), vec![0x23, 0x12, 0x11, 0x10]),
        (prefix("4"), vec![0x23, 0x12, 0x11, 0x10]),
        (prefix("400000000000001"), vec![0x12, 0x11, 0x10]),
        (prefix("4000000000000011"), vec![0x11]),
        (prefix("400000000000001100"), vec![]),
        (prefix("5"), vec![]),
        (prefix("f"), vec![]),
        (prefix("4%"), vec![]),
        (
            CertificateFilter { serial_prefix: Some("400000000000001".to_owned()), ..acme.clone() },
            vec![0x12, 0x10],
        ),
        (CertificateFilter { state: Some("issued".to_owned()), ..acme.clone() }, vec![0x10]),
        (CertificateFilter { before: Some((NOW, serial(0x12))), ..acme }, vec![0x10]),
        (CertificateFilter { before: Some((NOW, serial(0x12))), ..prefix("40") }, vec![0x11, 0x10]),
    ];
    for (filter, expected) in cases {
        let expected: Vec<_> = expected.into_iter().map(serial).collect();
        assert_eq!(listed(&*store, &filter, 10).await, expected, "{filter:?}");
    }
    let shouted = CertificateFilter { serial_prefix: Some("FFAB".to_owned()), ..all.clone() };
    let last = CertificateRecord { serial: Serial::from_octets(&[0xff, 0xab, 0x01]).unwrap(), ..pending(0) };
    commit(&*store, Write::InsertPendingCertificate(last.clone())).await.unwrap();
    assert_eq!(listed(&*store, &shouted, 10).await, [last.serial]);
    assert_eq!(listed(&*store, &prefix("ff"), 10).await, [last.serial]);
}

/// Also our own certificates among those of clients, and beside the other filters.
pub async fn a_listing_is_filtered_by_profile_and_expiry(store: Arc<dyn Store>) {
    commit(&*store, Write::InsertClient(client("acme-pay"))).await.unwrap();
    let rows = [
        (1, Profile::Server, 45),
        (2, Profile::Client, 30),
        (3, Profile::RootCa, 90),
        (4, Profile::Server, 2),
    ];
    for (n, profile, days) in rows {
        let client = (profile == Profile::Client).then(|| client_id("acme-pay"));
        let record = CertificateRecord { profile, client, not_after: NOW.plus_days(days), ..pending(n) };
        commit(&*store, Write::InsertPendingCertificate(record)).await.unwrap();
    }
    commit_each(&*store, [issued(1), issued(2), issued(4), revoked(2, NOW, RevocationReason::Unspecified)])
        .await;
    let all = CertificateFilter::default();
    let of = |profile| CertificateFilter { profile: Some(profile), ..all.clone() };
    let acme = CertificateFilter { client: Some(client_id("acme-pay")), ..all.clone() };
    let state = |text: &str| Some(text.to_owned());
    let in_30_days = NOW.plus_days(30);
    let cases = [
        (of(Profile::Server), vec![4, 1]),
        (of(Profile::Client), vec![2]),
        (of(Profile::RootCa), vec![3]),
        (of(Profile::IssuingCa), vec![]),
        (CertificateFilter { profile: Some(Profile::Client), ..acme.clone() }, vec![2]),
        (CertificateFilter { profile: Some(Profile::Server), ..acme.clone() }, vec![]),
        (CertificateFilter { state: state("issued"), ..of(Profile::Server) }, vec![4, 1]),
        (CertificateFilter { state: state("pending"), ..of(Profile::Server) }, vec![]),
        (CertificateFilter { before: Some((NOW, serial(4))), ..of(Profile::Server) }, vec![1]),
        (CertificateFilter { valid_until: Some(in_30_days), ..all.clone() }, vec![3, 2, 1]),
        (CertificateFilter { expired_before: Some(in_30_days), ..all.clone() }, vec![4]),
        (CertificateFilter { valid_until: Some(in_30_days), ..of(Profile::Server) }, vec![1]),
        (CertificateFilter { valid_until: Some(in_30_days.plus_s(1)), ..acme.clone() }, vec![]),
        (CertificateFilter { state: state("revoked"), ..acme }, vec![2]),
        (
            CertificateFilter { state: state("revoked"), valid_until: Some(in_30_days), ..all.clone() },
            vec![2],
        ),
        (
            CertificateFilter { state: state("revoked"), expired_before: Some(in_30_days), ..all.clone() },
            vec![],
        ),
        (CertificateFilter { state: state("pending"), ..all }, vec![3]),
    ];
    for (filter, expected) in cases {
        let expected: Vec<_> = expected.into_iter().map(serial).collect();
        assert_eq!(listed(&*store, &filter, 10).await, expected, "{filter:?}");
    }
}

/// `Conflict` for one that is issued or pending and has not expired; those of others have no say.
pub async fn what_is_left_to_revoke_is_found(store: Arc<dyn Store>) {
    commit_each(&*store, ["acme-pay", "other"].map(|name| Write::InsertClient(client(name)))).await;
    let valid_at = NOW.plus_days(10);
    let none_left = || Write::NoCertificateLeft { client: client_id("acme-pay"), valid_at };
    for (n, name, not_after) in [
        (1, "acme-pay", valid_at.plus_s(-1)),
        (2, "other", NOW.plus_days(30)),
        (3, "acme-pay", valid_at),
        (4, "acme-pay", NOW.plus_days(30)),
        (5, "acme-pay", NOW.plus_days(30)),
    ] {
        let record = CertificateRecord { client: Some(client_id(name)), not_after, ..pending(n) };
        commit(&*store, Write::InsertPendingCertificate(record)).await.unwrap();
    }
    commit_each(&*store, [issued(1), issued(2), issued(4)]).await;
    let conflict = Err(StorageError::Conflict("certificate"));
    let reason = RevocationReason::Superseded;
    for ending in [abandoned(5, NOW), revoked(4, NOW, reason), revoked(3, NOW, reason)] {
        assert_eq!(commit(&*store, none_left()).await, conflict, "{ending:?}");
        commit(&*store, ending).await.unwrap();
    }
    commit(&*store, none_left()).await.unwrap();
}
