//! The change feed (design, decision 17).

use super::certificates::{abandoned, issued, revoked};
use super::fixtures::{
    NOW, client, client_id, credential_id, crl, event, issuer, issuer_id, key, matcher, operator, pending,
    secret, serial,
};
use super::{commit, commit_each};
use crate::transaction::AuditHead;
use crate::{Store, Transaction, Write};
use countersign_model::KeyId;
use countersign_model::certificate::{IssuerRole, RevocationReason};
use countersign_model::change::{Change, Changed};
use countersign_model::client::ClientState;
use countersign_model::key::KeyPurpose;
use std::sync::Arc;

const REASON: RevocationReason = RevocationReason::Superseded;

fn disable(name: &str) -> Write {
    Write::SetClientState { client: client_id(name), state: ClientState::Disabled, at: NOW }
}

/// What `write` adds to the feed.
async fn changes_of(store: &dyn Store, write: Write) -> Vec<Changed> {
    let before = store.last_change().await.unwrap();
    let text = format!("{write:?}");
    let sequence = commit(store, write).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(store.last_change().await, Ok(sequence), "{text}");
    let changes = store.changes_after(before, 10).await.unwrap();
    assert_eq!(changes.last().map_or(before, |change| change.sequence), sequence, "{text}");
    changes.into_iter().map(|change| change.subject).collect()
}

/// One row, with the key of the object.
pub async fn every_write_that_a_view_must_know_of_adds_one_change(store: Arc<dyn Store>) {
    let a = || Changed::Client(client_id("a"));
    let certificate = |n| Changed::Certificate(issuer_id("clients"), serial(n));
    commit_each(&*store, [1, 2].map(|n| Write::InsertPendingCertificate(pending(n)))).await;
    let token_key = || KeyId("token".to_owned());
    for (write, changed) in [
        (Write::InsertClient(client("a")), a()),
        (Write::InsertCredential(secret("a", 1)), a()),
        (Write::InsertMatcherIfAbsent(matcher("a", 2, "uri")), a()),
        (Write::ExpireCredential { credential: credential_id(1), expires_at: NOW }, a()),
        (Write::RevokeCredential { credential: credential_id(1) }, a()),
        (Write::ReplaceSecrets { new: secret("a", 3), known: vec![], others_end_at: None }, a()),
        (disable("a"), a()),
        (revoked(1, NOW, REASON), certificate(1)),
        (abandoned(2, NOW), certificate(2)),
        (Write::InsertIssuer(issuer("root", IssuerRole::Root, NOW)), Changed::Issuers),
        (Write::InsertKey(key("token", KeyPurpose::Token)), Changed::TokenKeys),
        (Write::RetireKey { key: token_key(), at: NOW }, Changed::TokenKeys),
        (Write::DeleteKey { key: token_key() }, Changed::TokenKeys),
        (Write::PutCrl(crl("clients", 3, 1)), Changed::Crl(issuer_id("clients"), 3)),
        (Write::InsertOperator(operator("anna")), Changed::Operators),
    ] {
        let text = format!("{write:?}");
        assert_eq!(changes_of(&*store, write).await, [changed], "{text}");
    }
}

/// Pending and issued certificates, use, the outbox, other keys.
pub async fn writes_that_no_view_needs_add_no_change(store: Arc<dyn Store>) {
    commit_each(&*store, [Write::InsertClient(client("a")), Write::InsertCredential(secret("a", 1))]).await;
    let ca_key = || KeyId("ca".to_owned());
    for write in [
        Write::InsertPendingCertificate(pending(1)),
        issued(1),
        Write::NoCertificateLeft { client: client_id("a"), valid_at: NOW },
        Write::KeyIsFree { key_hash: [9; 32], client: client_id("a") },
        Write::CredentialUsed { credential: credential_id(1), at: NOW, uses: 1 },
        Write::CertificateUsed { issuer: issuer_id("clients"), serial: serial(1), at: NOW, calls: 1 },
        Write::InsertKey(key("ca", KeyPurpose::CertificateAuthority)),
        Write::RetireKey { key: ca_key(), at: NOW },
        Write::DeleteKey { key: ca_key() },
        Write::SaveAuditHead(AuditHead { chain: "node".to_owned(), sequence: 1, hash: [0; 32] }),
        Write::SettleOutbox { through: 1 },
        Write::ForgetChanges { through: 0 },
    ] {
        let text = format!("{write:?}");
        assert_eq!(changes_of(&*store, write).await, [], "{text}");
    }
    let only_an_event = store.commit(Transaction::new().record(event(1))).await.unwrap();
    assert_eq!(store.last_change().await, Ok(only_an_event.sequence));
}

/// An idempotent write, the second time.
pub async fn what_changes_nothing_adds_no_change(store: Arc<dyn Store>) {
    commit_each(&*store, [Write::InsertClient(client("a")), Write::InsertCredential(secret("a", 1))]).await;
    commit(&*store, Write::InsertKey(key("token", KeyPurpose::Token))).await.unwrap();
    let token_key = || KeyId("token".to_owned());
    for write in [
        Write::InsertMatcherIfAbsent(matcher("a", 2, "uri")),
        Write::ExpireCredential { credential: credential_id(1), expires_at: NOW },
        Write::RevokeCredential { credential: credential_id(1) },
        disable("a"),
        Write::RetireKey { key: token_key(), at: NOW },
        Write::DeleteKey { key: token_key() },
    ] {
        let text = format!("{write:?}");
        commit(&*store, write.clone()).await.unwrap();
        assert_eq!(changes_of(&*store, write).await, [], "{text}");
    }
}

/// Strictly increasing, never reordered; each change bears its time.
pub async fn the_feed_is_read_in_pages_and_in_order(store: Arc<dyn Store>) {
    assert_eq!(store.last_change().await, Ok(0));
    assert_eq!(store.changes_after(0, 10).await, Ok(vec![]));
    let names = ["e", "a", "d", "b", "c"];
    let two =
        Transaction::new().write(Write::InsertClient(client("e"))).write(Write::InsertClient(client("a")));
    let receipt = store.commit(two).await.unwrap();
    assert_eq!(store.changes_after(0, 10).await.unwrap().last().unwrap().sequence, receipt.sequence);
    commit_each(&*store, ["d", "b", "c"].map(|name| Write::InsertClient(client(name)))).await;

    let mut seen: Vec<Change> = Vec::new();
    loop {
        let page = store.changes_after(seen.last().map_or(0, |change| change.sequence), 2).await.unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert!(seen.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "{seen:?}");
    let subjects: Vec<_> = seen.iter().map(|change| change.subject.clone()).collect();
    assert_eq!(subjects, names.map(|name| Changed::Client(client_id(name))));
    assert!(seen.iter().all(|change| change.at == NOW), "{seen:?}");
    assert_eq!(store.last_change().await, Ok(seen.last().unwrap().sequence));
}

/// Their sequence is not used again.
pub async fn forgotten_changes_do_not_come_back(store: Arc<dyn Store>) {
    commit_each(&*store, ["a", "b", "c"].map(|name| Write::InsertClient(client(name)))).await;
    let all = store.changes_after(0, 10).await.unwrap();
    commit(&*store, Write::ForgetChanges { through: all[1].sequence }).await.unwrap();
    assert_eq!(store.changes_after(0, 10).await.unwrap(), all[2..]);
    commit(&*store, Write::ForgetChanges { through: all[2].sequence }).await.unwrap();
    assert_eq!(store.last_change().await, Ok(all[2].sequence));
    assert!(commit(&*store, disable("a")).await.unwrap() > all[2].sequence);
}

/// The receipt, the feed and the signal agree.
pub async fn a_follower_is_woken_with_the_last_sequence(store: Arc<dyn Store>) {
    let mut follower = store.subscribe();
    assert_eq!(*follower.borrow_and_update(), 0);
    let sequence = commit(&*store, Write::InsertClient(client("a"))).await.unwrap();
    follower.changed().await.unwrap();
    assert_eq!(*follower.borrow_and_update(), sequence);
    // Who comes later knows of what was, and is not woken for it.
    let late = store.subscribe();
    assert_eq!(*late.borrow(), sequence);
    assert!(!late.has_changed().unwrap());
}
