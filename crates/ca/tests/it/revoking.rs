//! Revocation (rules R2, R5; R6 is for later).

use crate::support::{BEGIN, DAY_S, Installation, client, id, request, served};
use countersign_model::audit::{Actor, AuditAction};
use countersign_model::certificate::{CertificateState, IssuerRole, RevocationReason};
use countersign_model::client::ClientState;
use countersign_model::{Clock, ReasonCode, Serial, Timestamp};
use countersign_policy::Registry;
use countersign_storage::conformance::interleaved::{Interleaved, Step};
use countersign_storage::stores::{AuditOutbox, CertificateFilter, CertificateStore, Commit};
use countersign_storage::views::{Views, follow};
use countersign_storage::{StorageError, Transaction, Write};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

fn tester() -> Actor {
    Actor::Operator("tester".to_owned())
}

#[tokio::test]
async fn rule_r5_revoking_twice_keeps_the_first_time_and_reason() {
    let (installation, ca) = Installation::with_client().await;
    let issued = installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
    let first = installation.clock.now();
    let row = installation.row("clients", &issued.serial).await;
    let revocation =
        ca.revoke(&row, RevocationReason::KeyCompromise, tester(), installation.reference()).await.unwrap();
    assert_eq!((revocation.revoked.len(), revocation.already_revoked.len()), (1, 0));

    installation.clock.advance_s(3600);
    let row = installation.row("clients", &issued.serial).await;
    let again =
        ca.revoke(&row, RevocationReason::Superseded, tester(), installation.reference()).await.unwrap();
    assert_eq!((again.revoked.len(), again.already_revoked.len()), (0, 1));
    let row = installation.row("clients", &issued.serial).await;
    let reason = RevocationReason::KeyCompromise;
    assert_eq!(row.state, CertificateState::Revoked { at: first, reason });

    ca.publish_crl(&issued.issuer, 0).await.unwrap();
    let entry = *served(&ca, "clients").revocation(&issued.serial).unwrap();
    assert_eq!((entry.revoked_at, entry.reason), (first.whole_second(), reason));
    let events = installation.store.outbox(100).await.unwrap();
    let revoked: Vec<_> =
        events.iter().filter(|(_, event)| event.action == AuditAction::CertificateRevoked).collect();
    assert_eq!(revoked.len(), 1, "the second call changed nothing, and says nothing");
    assert_eq!(revoked[0].1.facts.detail.as_deref(), Some("keyCompromise"));
}

/// Both read the row before either revoked.
#[tokio::test]
async fn rule_r5_of_two_revocations_at_once_one_is_recorded() {
    let (installation, ca) = Installation::with_client().await;
    let issued = installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
    let row = installation.row("clients", &issued.serial).await;
    let revoke = |reason| ca.revoke(&row, reason, tester(), installation.reference());
    let first = revoke(RevocationReason::KeyCompromise).await.unwrap();
    let second = revoke(RevocationReason::Superseded).await.unwrap();
    assert_eq!((first.revoked.len(), first.already_revoked.len()), (1, 0));
    assert_eq!((second.revoked.len(), second.already_revoked.len()), (0, 1));
    let events = installation.store.outbox(100).await.unwrap();
    let revoked = events.iter().filter(|(_, event)| event.action == AuditAction::CertificateRevoked);
    assert_eq!(revoked.count(), 1);
}

#[tokio::test]
async fn rule_r5_of_two_revocations_of_a_client_at_once_each_certificate_is_recorded_once() {
    let (installation, ca) = Installation::with_client().await;
    for _ in 0..3 {
        installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
    }
    let (acme, reason) = (client("acme-pay"), RevocationReason::PrivilegeWithdrawn);
    let revoke = || ca.revoke_client(&acme, reason, tester(), installation.reference());
    let (first, second) = tokio::join!(revoke(), revoke());
    assert_eq!(first.unwrap().revoked.len() + second.unwrap().revoked.len(), 3);
    let events = installation.store.outbox(100).await.unwrap();
    let revoked = events.iter().filter(|(_, event)| event.action == AuditAction::CertificateRevoked);
    assert_eq!(revoked.count(), 3);
}

#[tokio::test]
async fn rule_r5_revoking_a_client_revokes_each_of_its_certificates_with_a_record_of_its_own() {
    let (installation, ca) = Installation::with_client().await;
    let mut serials: HashSet<Serial> = HashSet::new();
    for _ in 0..3 {
        serials.insert(installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap().serial);
    }
    let reference = installation.reference();
    let reason = RevocationReason::CessationOfOperation;
    let revocation = ca.revoke_client(&client("acme-pay"), reason, tester(), reference).await.unwrap();
    assert_eq!(revocation.revoked.iter().map(|(_, serial)| *serial).collect::<HashSet<_>>(), serials);

    let views = Views::load(installation.store.as_ref(), installation.clock.now()).await.unwrap();
    let issuer = ca.trusted(IssuerRole::Clients).unwrap().remove(0);
    for serial in &serials {
        assert_eq!(views.revocation(&issuer.key_hash, serial), Some(reason));
    }
    let events = installation.store.outbox(100).await.unwrap();
    let references: HashSet<_> = events
        .iter()
        .filter(|(_, event)| event.action == AuditAction::CertificateRevoked)
        .map(|(_, event)| event.reference)
        .collect();
    assert_eq!(references.len(), 3, "the log tells deliveries of one event by its reference");
    assert!(references.contains(&reference), "the call's own reference finds it");

    let unknown = ca.revoke_client(&client("nobody"), reason, tester(), installation.reference()).await;
    assert_eq!(unknown.unwrap_err().reason(), ReasonCode::ObjectNotFound);
    let again =
        ca.revoke_client(&client("acme-pay"), reason, tester(), installation.reference()).await.unwrap();
    assert!(again.revoked.is_empty());
}

/// What has expired is accepted by nobody, and would fill the lists and the log for nothing.
#[tokio::test]
async fn revoking_a_client_leaves_what_has_expired_as_it_is() {
    let (installation, ca) = Installation::with_client().await;
    let expired = installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
    installation.clock.advance_s(30 * DAY_S + 1);
    let valid = installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
    let reason = RevocationReason::CessationOfOperation;
    let reference = installation.reference();
    let revocation = ca.revoke_client(&client("acme-pay"), reason, tester(), reference).await.unwrap();
    assert_eq!(revocation.revoked, [(valid.issuer, valid.serial)]);
    assert_eq!(installation.row("clients", &expired.serial).await.state, CertificateState::Issued);
}

/// A node that starts within the certificate's last second judges it as valid still.
#[tokio::test]
async fn rule_g14_a_start_reads_revocations_of_certificates_that_have_just_expired() {
    let (installation, ca) = Installation::with_client().await;
    let issued = installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
    let row = installation.row("clients", &issued.serial).await;
    let reason = RevocationReason::KeyCompromise;
    ca.revoke(&row, reason, tester(), installation.reference()).await.unwrap();
    let issuer = ca.trusted(IssuerRole::Clients).unwrap().remove(0);
    for (later_ms, held) in [(500, true), (60_000, true), (86_400_001, false)] {
        let now = Timestamp::from_unix_ms(row.not_after.unix_ms() + later_ms);
        let views = Views::load(installation.store.as_ref(), now).await.unwrap();
        assert_eq!(views.revocation(&issuer.key_hash, &issued.serial).is_some(), held, "{later_ms}");
    }
}

/// A node that starts with a wrong clock reads the revocations again, after the clock is set, before it is fresh.
#[tokio::test(start_paused = true)]
async fn rule_g14_a_clock_that_was_ahead_at_the_start_leaves_nothing_out_when_it_is_set_back() {
    let (installation, ca) = Installation::with_client().await;
    let issued = installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
    let row = installation.row("clients", &issued.serial).await;
    let reason = RevocationReason::KeyCompromise;
    ca.revoke(&row, reason, tester(), installation.reference()).await.unwrap();
    let issuer = ca.trusted(IssuerRole::Clients).unwrap().remove(0);
    let (store, clock) = (installation.store.clone(), installation.clock.clone());

    clock.advance_s(60 * DAY_S);
    let views = Arc::new(Views::load(store.as_ref(), clock.now()).await.unwrap());
    let held = || views.revocation(&issuer.key_hash, &issued.serial);
    let age = || views.age(clock.now(), Instant::now().into_std());
    assert_eq!(held(), None, "by that clock the certificate is long over");
    let (stop, stopped) = watch::channel(false);
    let following = tokio::spawn(follow(views.clone(), store.clone(), clock.clone(), |_| {}, stopped));
    let two_polls = Duration::from_secs(1);
    tokio::time::sleep(two_polls).await;
    assert!(age() <= two_polls);

    clock.advance_s(-60 * DAY_S);
    assert!(age() > Duration::from_secs(86_400 * 365), "before it is read again");
    store.refuse_reads(true);
    tokio::time::sleep(two_polls).await;
    assert!(age() > Duration::from_secs(86_400 * 365), "while it cannot be read");
    store.refuse_reads(false);
    tokio::time::sleep(two_polls).await;
    assert!(age() <= two_polls);
    assert_eq!(held(), Some(reason));
    stop.send(true).unwrap();
    following.await.unwrap();
}

#[tokio::test]
async fn a_revocation_that_is_not_stored_is_not_acknowledged() {
    let (installation, ca) = Installation::with_client().await;
    let issued = installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
    let row = installation.row("clients", &issued.serial).await;
    installation.store.fail(1);
    let reason = RevocationReason::KeyCompromise;
    let refused = ca.revoke(&row, reason, tester(), installation.reference()).await.unwrap_err();
    assert_eq!(refused.reason(), ReasonCode::StorageUnavailable);
    assert_eq!(installation.row("clients", &issued.serial).await.state, CertificateState::Issued);
}

#[tokio::test]
async fn rule_r5_revoking_a_client_reaches_what_is_being_signed_for_it() {
    let (installation, ca) = Installation::with_client().await;
    let issued = installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
    installation.store.fail(2); // As if the second commit had not come yet.
    installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap_err();
    let pending = installation.store.pending_certificates().await.unwrap().remove(0);
    let reason = RevocationReason::PrivilegeWithdrawn;
    let revocation =
        ca.revoke_client(&client("acme-pay"), reason, tester(), installation.reference()).await.unwrap();
    assert_eq!(revocation.revoked.len(), 2);
    for serial in [issued.serial, pending.serial] {
        let state = installation.row("clients", &serial).await.state;
        assert!(matches!(state, CertificateState::Revoked { .. }), "{state:?}");
    }
    let mark = Write::MarkIssued {
        issuer: pending.issuer,
        serial: pending.serial,
        der: vec![1],
        thumbprint: countersign_pki::thumbprint(&[1]),
    };
    let late = installation.store.commit(Transaction::new().write(mark)).await;
    assert_eq!(late, Err(StorageError::Conflict("certificate")), "it is not handed out");
}

#[tokio::test]
async fn our_own_authorities_are_not_revoked_without_an_effect() {
    let (installation, ca) = Installation::with_client().await;
    let rows = installation.store.certificates(&CertificateFilter::default(), 100).await.unwrap();
    for row in rows {
        let refused = ca
            .revoke(&row, RevocationReason::CaCompromise, tester(), installation.reference())
            .await
            .unwrap_err();
        assert_eq!(refused.reason(), ReasonCode::ObjectConflict);
        assert!(refused.to_string().contains("replaced"), "{refused}");
    }
}

/// The second listing is read, and then a certificate is issued, before the revocation is committed.
#[tokio::test]
async fn rule_r5_revoking_a_client_reaches_what_was_issued_since_it_was_listed() {
    let (installation, ca) = Installation::with_client().await;
    let first = installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
    let installation = Arc::new(installation);
    let (issuing, listings) = (installation.clone(), AtomicUsize::new(0));
    let at = move |step| {
        let second = step == Step::CertificatesRead && listings.fetch_add(1, Ordering::SeqCst) == 1;
        let issuing = second.then(|| (issuing.clone(), ca.clone()));
        async move {
            if let Some((installation, ca)) = issuing {
                installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
            }
        }
    };
    let store = Arc::new(Interleaved::new(installation.store.clone(), at));
    let revoking = installation.open_on(store).await;
    let (acme, reason) = (client("acme-pay"), RevocationReason::KeyCompromise);
    let revocation = revoking.revoke_client(&acme, reason, tester(), installation.reference()).await.unwrap();
    assert_eq!(revocation.revoked.len(), 2);
    assert!(revocation.revoked.iter().any(|(_, serial)| *serial == first.serial));
    let valid_at = installation.clock.now();
    installation.commit(Write::NoCertificateLeft { client: acme, valid_at }).await;
}

/// A client to which something is issued during each listing is refused, and not revoked without an end.
#[tokio::test]
async fn revoking_a_client_ends_also_when_certificates_are_issued_all_the_time() {
    let (installation, ca) = Installation::with_client().await;
    installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
    let installation = Arc::new(installation);
    let issuing = installation.clone();
    let at = move |step| {
        let issuing = (step == Step::CertificatesRead).then(|| (issuing.clone(), ca.clone()));
        async move {
            if let Some((installation, ca)) = issuing {
                installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
            }
        }
    };
    let store = Arc::new(Interleaved::new(installation.store.clone(), at));
    let revoking = installation.open_on(store).await;
    let (acme, reason) = (client("acme-pay"), RevocationReason::KeyCompromise);
    let refused =
        revoking.revoke_client(&acme, reason, tester(), installation.reference()).await.unwrap_err();
    assert_eq!(refused.reason(), ReasonCode::ObjectConflict);
    assert!(refused.to_string().contains("disable"), "{refused}");
}

/// A certificate whose client is disabled while the issuer signs is not handed out, and goes onto the list.
#[tokio::test]
async fn a_certificate_is_not_handed_out_to_a_client_that_is_disabled_while_it_is_signed() {
    let (installation, _) = Installation::with_client().await;
    let (inner, commits) = (installation.store.clone(), AtomicUsize::new(0));
    let at = move |step| {
        let signing = step == Step::Committed && commits.fetch_add(1, Ordering::SeqCst) == 0;
        let inner = signing.then(|| inner.clone());
        async move {
            if let Some(store) = inner {
                let (client, state) = (client("acme-pay"), ClientState::Disabled);
                let disable = Write::SetClientState { client, state, at: BEGIN };
                store.commit(Transaction::new().write(disable)).await.unwrap();
            }
        }
    };
    let store = Arc::new(Interleaved::new(installation.store.clone(), at));
    let ca = installation.open_on(store).await;
    let refused = installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap_err();
    assert_eq!(refused.reason(), ReasonCode::ObjectConflict);
    assert_eq!(ca.recover().await.unwrap(), 1);
    ca.complete_crl(&id("clients"), 0).await.unwrap();
    assert_eq!(served(&ca, "clients").entries.len(), 1);
}
