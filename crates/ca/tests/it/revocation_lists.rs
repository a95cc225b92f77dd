//! What is published, and when (rules R1, R2).

use crate::support::{BEGIN, DAY_S, Installation, id, request, served};
use countersign_ca::CertificateAuthority;
use countersign_model::audit::Actor;
use countersign_model::certificate::RevocationReason;
use countersign_model::{ReasonCode, Serial};
use countersign_storage::Write;
use countersign_storage::conformance::interleaved::{Interleaved, Step};
use countersign_storage::stores::{CertificateStore, ChangeFeed};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinSet;

async fn issue_and_revoke(installation: &Installation, ca: &CertificateAuthority) -> Serial {
    let issued = installation.issue(ca, request("acme-pay").as_bytes()).await.unwrap();
    let row = installation.row("clients", &issued.serial).await;
    let reference = installation.reference();
    ca.revoke(&row, RevocationReason::Superseded, Actor::System, reference).await.unwrap();
    issued.serial
}

#[tokio::test]
async fn rule_r2_every_authority_has_a_list_from_the_first_start_and_a_new_one_when_it_is_due() {
    let (installation, ca) = Installation::with_client().await;
    assert!(ca.crl(&id("clients"), 0).is_none());
    assert_eq!(ca.publish_due_crls().await.unwrap(), 3);
    assert_eq!(ca.publish_due_crls().await.unwrap(), 0, "nothing is due");
    for (issuer, valid_days) in [("root", 360), ("clients", 7), ("servers", 7)] {
        let list = served(&ca, issuer);
        assert_eq!((list.number, list.entries.len()), (1, 0), "{issuer}");
        assert_eq!((list.this_update, list.next_update), (BEGIN, BEGIN.plus_days(valid_days)), "{issuer}");
        let address = format!("http://127.0.0.1:8445/pki/crl/{issuer}/0.crl");
        let point = (issuer != "root").then_some(address); // rule R1: the root's list is whole
        assert_eq!(list.distribution_point_url, point, "{issuer}");
    }
    installation.clock.advance_s(DAY_S - 1);
    assert_eq!(ca.publish_due_crls().await.unwrap(), 0);
    installation.clock.advance_s(1);
    assert_eq!(ca.publish_due_crls().await.unwrap(), 3, "daily");
    assert_eq!((served(&ca, "clients").number, served(&ca, "root").number), (2, 2));
}

#[tokio::test]
async fn rule_r2_a_list_that_fails_keeps_none_of_the_others_from_being_published() {
    let (installation, ca) = Installation::with_client().await;
    installation.store.fail(1);
    let refused = ca.publish_due_crls().await.unwrap_err();
    assert_eq!(refused.reason(), ReasonCode::StorageUnavailable);
    let published =
        ["root", "clients", "servers"].into_iter().filter(|issuer| ca.crl(&id(issuer), 0).is_some());
    assert_eq!(published.count(), 2);
    assert_eq!(ca.publish_due_crls().await.unwrap(), 1, "it is due still");

    // An issuing CA that has expired has nothing to say any more; the root's list goes on.
    installation.clock.advance_s(1100 * DAY_S);
    assert_eq!(ca.publish_due_crls().await.unwrap(), 1);
    assert_eq!((served(&ca, "root").number, served(&ca, "clients").number), (2, 1));
}

#[tokio::test]
async fn rule_r1_the_number_goes_on_after_a_restart() {
    let (installation, ca) = Installation::with_client().await;
    ca.publish_due_crls().await.unwrap();
    issue_and_revoke(&installation, &ca).await;
    ca.publish_crl(&id("clients"), 0).await.unwrap();
    let before = served(&ca, "clients");
    let restarted = installation.open().await;
    assert_eq!(served(&restarted, "clients"), before, "served at once, without a signature");
    issue_and_revoke(&installation, &restarted).await;
    assert_eq!(restarted.publish_crl(&id("clients"), 0).await.unwrap().number, before.number + 1);
}

#[tokio::test]
async fn rule_r1_numbers_strictly_increase_however_many_publish_at_once() {
    let (installation, ca) = Installation::with_client().await;
    installation.store.committed();
    let installation = Arc::new(installation);
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (installation, ca) = (installation.clone(), ca.clone());
            tokio::spawn(async move {
                let serial = issue_and_revoke(&installation, &ca).await;
                let asked_at = installation.store.last_change().await.unwrap();
                let crl = ca.publish_crl(&id("clients"), 0).await.unwrap();
                // Rule R2: whatever list answers this call, it has what was acknowledged before it.
                let list = countersign_pki::RevocationList::parse(&crl.der).unwrap();
                assert!(
                    list.revocation(&serial).is_some(),
                    "acknowledged at {asked_at}, list {}",
                    crl.number
                );
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let numbers: Vec<u64> = installation
        .store
        .committed()
        .into_iter()
        .filter_map(|write| match write {
            Write::PutCrl(crl) => Some(crl.number),
            _ => None,
        })
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    let list = served(&ca, "clients");
    assert_eq!(list.entries.len(), 16);
    assert_eq!(Some(&list.number), numbers.last());
}

#[tokio::test]
async fn rule_r2_revocations_that_wait_share_one_list() {
    let (installation, ca) = Installation::with_client().await;
    for _ in 0..8 {
        issue_and_revoke(&installation, &ca).await;
    }
    installation.store.committed();
    let clients = id("clients");
    let (a, b, c) =
        tokio::join!(ca.publish_crl(&clients, 0), ca.publish_crl(&clients, 0), ca.publish_crl(&clients, 0));
    assert_eq!([a.unwrap().number, b.unwrap().number, c.unwrap().number], [1, 1, 1]);
    assert_eq!(installation.store.committed().len(), 1, "one signature, one commit");
}

#[tokio::test]
async fn rule_r1_an_entry_stays_until_it_was_on_one_list_after_its_expiry() {
    let (installation, ca) = Installation::with_client().await;
    let serial = issue_and_revoke(&installation, &ca).await; // Expires after 30 days.
    ca.publish_crl(&id("clients"), 0).await.unwrap();
    installation.clock.advance_s(29 * DAY_S);
    ca.publish_due_crls().await.unwrap();
    assert!(served(&ca, "clients").revocation(&serial).is_some());
    installation.clock.advance_s(3 * DAY_S); // It has expired, and no list was made since.
    ca.publish_due_crls().await.unwrap();
    assert!(served(&ca, "clients").revocation(&serial).is_some(), "the first list after its expiry");
    installation.clock.advance_s(DAY_S);
    ca.publish_due_crls().await.unwrap();
    assert!(served(&ca, "clients").revocation(&serial).is_none(), "the second one");
}

#[tokio::test]
async fn rule_r2_a_list_that_cannot_be_stored_is_not_served() {
    let (installation, ca) = Installation::with_client().await;
    ca.publish_due_crls().await.unwrap();
    issue_and_revoke(&installation, &ca).await;
    installation.store.fail(1);
    let refused = ca.publish_crl(&id("clients"), 0).await.unwrap_err();
    assert_eq!(refused.reason(), ReasonCode::StorageUnavailable);
    assert_eq!(served(&ca, "clients").number, 1);
    assert_eq!(installation.store.crl(&id("clients"), 0).await.unwrap().unwrap().number, 1);
    assert_eq!(ca.publish_crl(&id("clients"), 0).await.unwrap().number, 2);
    assert_eq!(ca.publish_crl(&id("nobody"), 0).await.unwrap_err().reason(), ReasonCode::ObjectNotFound);
}

#[tokio::test]
async fn rule_r2_a_revocation_whose_list_failed_is_on_the_next_one_within_a_turn_of_the_timer() {
    let (installation, ca) = Installation::with_client().await;
    ca.publish_due_crls().await.unwrap();
    let serial = issue_and_revoke(&installation, &ca).await;
    installation.store.fail(1);
    ca.publish_crl(&id("clients"), 0).await.unwrap_err();
    assert!(served(&ca, "clients").revocation(&serial).is_none());
    assert_eq!(ca.publish_due_crls().await.unwrap(), 1);
    assert!(served(&ca, "clients").revocation(&serial).is_some());
    assert_eq!(ca.publish_due_crls().await.unwrap(), 0, "and once");

    // Killed between the two: the next start makes it good, also in the second of the list before.
    let serial = issue_and_revoke(&installation, &ca).await;
    let restarted = installation.open().await;
    assert_eq!(restarted.publish_due_crls().await.unwrap(), 1);
    assert!(served(&restarted, "clients").revocation(&serial).is_some());
    assert_eq!(restarted.publish_due_crls().await.unwrap(), 0);
    // What is complete is complete however often it is looked at, and becomes due by its age all the same.
    installation.clock.advance_s(DAY_S);
    assert_eq!(restarted.publish_due_crls().await.unwrap(), 3);
}

#[tokio::test]
async fn rule_r5_asking_twice_for_a_complete_list_signs_once() {
    let (installation, ca) = Installation::with_client().await;
    ca.publish_due_crls().await.unwrap();
    issue_and_revoke(&installation, &ca).await;
    let clients = id("clients");
    assert_eq!(ca.complete_crl(&clients, 0).await.unwrap().number, 2);
    assert_eq!(ca.complete_crl(&clients, 0).await.unwrap().number, 2);
}

#[tokio::test]
async fn rule_r1_a_clock_that_was_set_back_makes_a_list_that_is_valid_today() {
    let (installation, ca) = Installation::with_client().await;
    installation.clock.advance_s(400 * DAY_S);
    ca.publish_due_crls().await.unwrap();
    let serial = issue_and_revoke(&installation, &ca).await;
    installation.clock.advance_s(-400 * DAY_S);
    assert_eq!(ca.publish_due_crls().await.unwrap(), 3);
    let list = served(&ca, "clients");
    assert_eq!((list.number, list.this_update), (2, BEGIN));
    assert_eq!(list.revocation(&serial).unwrap().revoked_at, BEGIN, "no revocation of a day to come");
}

/// What had expired by the list of a day to come is valid again today.
#[tokio::test]
async fn rule_r1_a_clock_that_was_set_back_drops_no_certificate_that_is_valid_again() {
    let (installation, ca) = Installation::with_client().await;
    let serial = issue_and_revoke(&installation, &ca).await; // Expires after 30 days.
    for _ in 0..2 {
        installation.clock.advance_s(40 * DAY_S);
        ca.publish_due_crls().await.unwrap();
    }
    assert!(served(&ca, "clients").revocation(&serial).is_none());
    installation.clock.advance_s(-80 * DAY_S);
    let restarted = installation.open().await;
    assert_eq!(restarted.publish_due_crls().await.unwrap(), 3);
    assert!(served(&restarted, "clients").revocation(&serial).is_some());
    assert_eq!(restarted.publish_due_crls().await.unwrap(), 0);
    assert!(served(&restarted, "clients").revocation(&serial).is_some());

    // The process that runs on asks for a complete list: one of a day to come is none.
    assert!(served(&ca, "clients").revocation(&serial).is_none());
    ca.complete_crl(&id("clients"), 0).await.unwrap();
    let list = served(&ca, "clients");
    assert!(list.this_update == BEGIN && list.revocation(&serial).is_some());
}

/// A process that counts how often it reads all rows of a list, and gives the others their turn at each commit.
async fn counting(installation: &Installation) -> (Arc<CertificateAuthority>, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = reads.clone();
    let at = move |step| {
        if step == Step::RevokedRead {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        async {
            tokio::task::yield_now().await;
        }
    };
    let store = Arc::new(Interleaved::new(installation.store.clone(), at));
    (installation.open_on(store).await, reads)
}

/// Thirty operators revoke at once: the list is looked at and signed for all of them together.
#[tokio::test]
async fn rule_r2_acknowledgements_that_wait_for_the_same_list_share_one_look_and_one_list() {
    let (installation, _) = Installation::with_client().await;
    let (ca, reads) = counting(&installation).await;
    ca.publish_due_crls().await.unwrap();
    for round in 1..=3 {
        for _ in 0..30 {
            issue_and_revoke(&installation, &ca).await;
        }
        installation.store.committed();
        reads.store(0, Ordering::SeqCst);
        let mut callers = JoinSet::new();
        for _ in 0..30 {
            let ca = ca.clone();
            callers.spawn(async move { ca.complete_crl(&id("clients"), 0).await.unwrap().number });
        }
        let numbers = callers.join_all().await;
        assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
        assert_eq!(installation.store.committed().len(), 1, "one list");
        assert_eq!(reads.load(Ordering::SeqCst), 0, "what was signed here is known");
        assert_eq!(served(&ca, "clients").entries.len(), 30 * round);
    }
}

/// A process that has just started knows nothing of the list: it looks once, however many ask.
#[tokio::test]
async fn rule_r2_after_a_start_thirty_that_ask_at_once_share_one_look() {
    let (installation, ca) = Installation::with_client().await;
    issue_and_revoke(&installation, &ca).await;
    ca.publish_due_crls().await.unwrap();
    issue_and_revoke(&installation, &ca).await;
    let (restarted, reads) = counting(&installation).await;
    let mut callers = JoinSet::new();
    for _ in 0..30 {
        let restarted = restarted.clone();
        callers.spawn(async move { restarted.complete_crl(&id("clients"), 0).await.unwrap().number });
    }
    callers.join_all().await;
    assert_eq!(served(&restarted, "clients").entries.len(), 2);
    assert_eq!(reads.load(Ordering::SeqCst), 2, "one to look, and one to sign");
}

/// A revocation that is committed while a list is signed is on the next list, and its caller waits for that list.
#[tokio::test]
async fn rule_r2_a_revocation_that_comes_while_a_list_is_signed_is_on_the_list_of_its_own_answer() {
    let (installation, first) = Installation::with_client().await;
    first.publish_due_crls().await.unwrap();
    issue_and_revoke(&installation, &first).await;
    let installation = Arc::new(installation);
    let (revoking, publications) = (installation.clone(), AtomicUsize::new(0));
    let at = move |step| {
        let come = step == Step::BeforeCommit && publications.fetch_add(1, Ordering::SeqCst) == 0;
        let come = come.then(|| (revoking.clone(), first.clone()));
        async move {
            if let Some((installation, ca)) = come {
                issue_and_revoke(&installation, &ca).await;
            }
        }
    };
    let ca = installation.open_on(Arc::new(Interleaved::new(installation.store.clone(), at))).await;
    assert_eq!(ca.complete_crl(&id("clients"), 0).await.unwrap().number, 2);
    assert_eq!(served(&ca, "clients").entries.len(), 1, "it was committed after the list was read");
    assert_eq!(ca.complete_crl(&id("clients"), 0).await.unwrap().number, 3);
    assert_eq!(served(&ca, "clients").entries.len(), 2);
    assert_eq!(ca.complete_crl(&id("clients"), 0).await.unwrap().number, 3, "and no other is signed");
}

/// By the feed, and where the feed does not say enough by the ledger, each list is the one that a full look makes.
#[tokio::test]
async fn rule_r1_what_is_known_of_a_list_is_what_the_ledger_says() {
    let (installation, ca) = Installation::with_client().await;
    ca.publish_due_crls().await.unwrap();
    let complete = async |expected: usize| {
        ca.complete_crl(&id("clients"), 0).await.unwrap();
        let list = served(&ca, "clients");
        let from = list.this_update;
        let rows = installation.store.revoked_certificates(&id("clients"), 0, from).await.unwrap();
        let listed: Vec<_> = list.entries.iter().map(|entry| (entry.serial, entry.reason)).collect();
        let rows: Vec<_> = rows.iter().map(|row| (row.serial, row.reason)).collect();
        assert!(rows.iter().all(|row| listed.contains(row)), "{listed:?} {rows:?}");
        assert_eq!(listed.len(), expected);
    };
    issue_and_revoke(&installation, &ca).await;
    complete(1).await;
    issue_and_revoke(&installation, &ca).await;
    complete(2).await;
    // Abandoned rows belong on it too.
    installation.store.fail(2);
    installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap_err();
    ca.recover().await.unwrap();
    complete(3).await;
    // Changes that say nothing of certificates.
    installation.add_client("other").await;
    complete(3).await;
    // A part of the feed is forgotten.
    issue_and_revoke(&installation, &ca).await;
    let through = installation.store.last_change().await.unwrap();
    installation.commit(Write::ForgetChanges { through }).await;
    complete(4).await;
    // A list that another process published, and one that failed.
    let other = installation.open().await;
    issue_and_revoke(&installation, &other).await;
    other.complete_crl(&id("clients"), 0).await.unwrap();
    ca.reload_crl(&id("clients"), 0).await.unwrap();
    issue_and_revoke(&installation, &ca).await;
    complete(6).await;
    issue_and_revoke(&installation, &ca).await;
    installation.store.fail(1);
    ca.complete_crl(&id("clients"), 0).await.unwrap_err();
    complete(7).await;
    // Expired entries go when they were on one list after it.
    installation.clock.advance_s(31 * DAY_S);
    issue_and_revoke(&installation, &ca).await;
    complete(8).await;
    issue_and_revoke(&installation, &ca).await;
    complete(2).await;
    installation.clock.advance_s(-31 * DAY_S);
    complete(9).await;
}
