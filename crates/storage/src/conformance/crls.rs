//! Issuers, and what their CRLs are made of.

use super::certificates::{abandoned, issued, revoked};
use super::fixtures::{NOW, crl, issuer, issuer_id, pending, serial};
use super::{commit, commit_each};
use crate::stores::RevokedCertificate;
use crate::{StorageError, Store, Write};
use countersign_model::certificate::{CertificateRecord, CrlRecord, IssuerRole, RevocationReason};
use countersign_model::{Serial, Timestamp};
use std::sync::Arc;

async fn on_the_next_crl(store: &dyn Store, expires_from: Timestamp) -> Vec<Serial> {
    let entries = store.revoked_certificates(&issuer_id("clients"), 0, expires_from).await.unwrap();
    entries.iter().map(|entry| entry.serial).collect()
}

/// RFC 5280 section 3.3: "An entry MUST NOT be removed from the CRL until it appears on one regularly scheduled CRL
/// issued beyond the revoked certificate's validity period." A caller hands in the `this_update` of the present CRL:
/// an entry that had expired before it was on a CRL after its expiry.
pub async fn rule_r1_an_entry_stays_until_it_was_on_one_crl_after_its_expiry(store: Arc<dyn Store>) {
    let expiry = NOW.plus_days(30);
    commit(&*store, Write::InsertPendingCertificate(CertificateRecord { not_after: expiry, ..pending(1) }))
        .await
        .unwrap();
    commit_each(&*store, [issued(1), revoked(1, NOW, RevocationReason::KeyCompromise)]).await;
    // The present CRL is of before the expiry, or of the very last moment of validity: the entry stays.
    for present in [Timestamp::default(), expiry.plus_days(-1), expiry] {
        assert_eq!(on_the_next_crl(&*store, present).await, [serial(1)], "{present}");
    }
    // The present CRL is of after the expiry, and the entry is on it: the next one is without.
    assert_eq!(on_the_next_crl(&*store, expiry.plus_s(1)).await, []);
}

/// By serial, as numbers.
pub async fn revoked_and_abandoned_certificates_are_listed_by_issuer_and_shard(store: Arc<dyn Store>) {
    let small = Serial::from_octets(&[0x7f, 0xff]).unwrap();
    let rows = [
        CertificateRecord { not_after: NOW.plus_days(3), ..pending(3) },
        CertificateRecord { not_after: NOW.plus_days(2), ..pending(2) },
        pending(1),
        CertificateRecord { crl_shard: 1, ..pending(4) },
        CertificateRecord { issuer: issuer_id("servers"), ..pending(3) },
        pending(5),
        pending(6),
        CertificateRecord { serial: small, ..pending(0) },
    ];
    commit_each(&*store, rows.map(Write::InsertPendingCertificate)).await;
    let reason = RevocationReason::AffiliationChanged;
    commit_each(&*store, [1, 3, 5].map(issued)).await;
    commit_each(&*store, [abandoned(2, NOW.plus_s(2)), revoked(3, NOW.plus_s(3), reason)]).await;
    commit_each(&*store, [revoked(1, NOW, reason), revoked(4, NOW, reason)]).await;
    let issuer = issuer_id("clients");
    commit(&*store, Write::RevokeCertificate { issuer, serial: small, at: NOW, reason }).await.unwrap();

    let entry =
        |serial, at, reason, days| RevokedCertificate { serial, at, reason, not_after: NOW.plus_days(days) };
    let expected = vec![
        entry(small, NOW, reason, 30),
        entry(serial(1), NOW, reason, 30),
        entry(serial(2), NOW.plus_s(2), RevocationReason::CessationOfOperation, 2),
        entry(serial(3), NOW.plus_s(3), reason, 3),
    ];
    assert_eq!(store.revoked_certificates(&issuer_id("clients"), 0, NOW).await, Ok(expected));
    let of_shard_one = vec![entry(serial(4), NOW, reason, 30)];
    assert_eq!(store.revoked_certificates(&issuer_id("clients"), 1, NOW).await, Ok(of_shard_one));
    assert_eq!(store.revoked_certificates(&issuer_id("servers"), 0, NOW).await, Ok(vec![]));
}

/// For each issuer and shard by itself; what is refused does not replace the present list.
pub async fn rule_r1_the_crl_number_strictly_increases(store: Arc<dyn Store>) {
    let present = async |name: &str, shard| store.crl(&issuer_id(name), shard).await.unwrap();
    assert_eq!(present("clients", 0).await, None);
    for number in [1, 2, 7] {
        commit(&*store, Write::PutCrl(crl("clients", 0, number))).await.unwrap();
        assert_eq!(present("clients", 0).await, Some(crl("clients", 0, number)));
    }
    for number in [7, 6, 0] {
        let stale = CrlRecord { der: vec![], ..crl("clients", 0, number) };
        assert_eq!(commit(&*store, Write::PutCrl(stale)).await, Err(StorageError::Conflict("CRL")));
        assert_eq!(present("clients", 0).await, Some(crl("clients", 0, 7)));
    }
    commit_each(
        &*store,
        [("clients", 1), ("root", 0)].map(|(name, shard)| Write::PutCrl(crl(name, shard, 3))),
    )
    .await;
    assert_eq!(present("clients", 1).await, Some(crl("clients", 1, 3)));
    assert_eq!(present("root", 0).await, Some(crl("root", 0, 3)));
    assert_eq!(present("clients", 0).await, Some(crl("clients", 0, 7)));
}

/// And each name is taken once.
pub async fn issuers_are_listed_in_the_order_of_their_making(store: Arc<dyn Store>) {
    let root = issuer("root", IssuerRole::Root, NOW);
    let clients = issuer("clients", IssuerRole::Clients, NOW.plus_s(1));
    let servers = issuer("servers", IssuerRole::Servers, NOW.plus_s(2));
    let made = [servers.clone(), root.clone(), clients.clone()];
    commit_each(&*store, made.map(Write::InsertIssuer)).await;
    let refused = commit(&*store, Write::InsertIssuer(issuer("root", IssuerRole::Servers, NOW))).await;
    assert_eq!(refused, Err(StorageError::Conflict("issuer")));
    assert_eq!(store.issuers().await, Ok(vec![root, clients, servers]));
}

/// The next list has a number that nobody has seen, and is due.
pub async fn rule_r7_a_number_that_was_published_elsewhere_is_not_used_again(store: Arc<dyn Store>) {
    let raise = |number| Write::RaiseCrlNumber { issuer: issuer_id("clients"), shard: 3, number };
    let of = async || store.crl(&issuer_id("clients"), 3).await.unwrap();
    commit(&*store, raise(7)).await.unwrap();
    assert_eq!(of().await, None, "there is no list to follow");
    commit(&*store, Write::PutCrl(crl("clients", 3, 4))).await.unwrap();
    commit(&*store, raise(4)).await.unwrap();
    assert_eq!(of().await, Some(crl("clients", 3, 4)));
    commit(&*store, raise(7)).await.unwrap();
    let raised = of().await.unwrap();
    assert_eq!((raised.number, raised.this_update), (7, Timestamp::default()));
    assert_eq!(raised.der, crl("clients", 3, 4).der);
    for number in [5, 7] {
        let refused = commit(&*store, Write::PutCrl(crl("clients", 3, number))).await;
        assert_eq!(refused, Err(StorageError::Conflict("CRL")), "{number}");
    }
    commit(&*store, Write::PutCrl(crl("clients", 3, 8))).await.unwrap();
}
