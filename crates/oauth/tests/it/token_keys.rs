//! Rule K9 and design, decision 25: how one token key follows another.

use crate::support::*;
use countersign_model::audit::AuditAction;
use countersign_model::key::KeyPurpose;
use countersign_model::{KeyId, ReasonCode, Timestamp};
use countersign_oauth::{PublishedKeys, Rotation, TokenKeyError, TokenKeyRing};
use countersign_storage::stores::{AuditOutbox, ChangeFeed, KeyStore};

impl World {
    fn signs_at(&self, now: Timestamp) -> Option<KeyId> {
        self.keys.signer(now).map(|signer| signer.key_id().clone())
    }

    fn published(&self) -> Vec<KeyId> {
        self.keys.published().jwks().keys().iter().map(|key| key.thumbprint()).collect()
    }
}

#[tokio::test]
async fn the_first_key_signs_at_once() {
    let world = World::without_key().await;
    assert_eq!(world.signs_at(NOW), None);
    let first = world.rotate(Rotation::AfterPublication, NOW).await.unwrap();
    assert_eq!(first.signs_from, NOW);
    assert_eq!(world.signs_at(NOW), Some(first.key));
}

#[tokio::test]
async fn rule_k9_a_key_is_published_before_it_signs() {
    let world = World::without_key().await;
    let first = world.rotate(Rotation::AfterPublication, NOW.plus_s(-1000)).await.unwrap().key;
    let second = world.rotate(Rotation::AfterPublication, NOW).await.unwrap();
    assert_eq!(second.signs_from, NOW.plus_s(660), "the max-age of the JWKS, and a minute");
    assert_eq!(second.retired, std::slice::from_ref(&first));
    assert_eq!(world.published(), [first.clone(), second.key.clone()], "at once");
    assert_eq!(world.signs_at(NOW.plus_s(659)), Some(first.clone()));
    assert_eq!(world.signs_at(NOW.plus_s(660)), Some(second.key.clone()));

    // Tokens of both are good, by kid.
    let old = world.token(world.shop().at(NOW.plus_s(659))).await;
    let new = world.token(world.shop().at(NOW.plus_s(660))).await;
    assert_eq!((old.key_id(), new.key_id()), (&first, &second.key));
}

#[tokio::test]
async fn rule_k9_a_retired_key_stays_published_until_its_last_token_expired() {
    let world = World::without_key().await;
    let first = world.rotate(Rotation::Now, NOW.plus_s(-1000)).await.unwrap().key;
    let second = world.rotate(Rotation::AfterPublication, NOW).await.unwrap();
    // The longest life of a token and the largest difference of clocks after it stopped to sign.
    let last = second.signs_from.plus_s(3600 + 60);
    assert_eq!(world.keys.forget_expired(world.store.as_ref(), last.plus_s(-1)).await.unwrap(), []);
    world.keys.reload(world.store.as_ref(), last.plus_s(-1)).await.unwrap();
    assert_eq!(world.published(), [first.clone(), second.key.clone()]);
    assert_eq!(world.keys.forget_expired(world.store.as_ref(), last).await.unwrap(), [first]);
    assert_eq!(world.published(), std::slice::from_ref(&second.key));
    assert_eq!(world.store.keys(KeyPurpose::Token).await.unwrap().len(), 1);
    assert_eq!(world.signs_at(last), Some(second.key));
}

#[tokio::test]
async fn in_an_emergency_the_new_key_signs_at_once() {
    let world = World::new().await;
    let old = world.signs_at(NOW).unwrap();
    let new = world.rotate(Rotation::Now, NOW).await.unwrap();
    assert_eq!(new.signs_from, NOW);
    assert_eq!(world.signs_at(NOW), Some(new.key.clone()));
    assert_eq!((world.published(), new.retired), (vec![new.key], vec![old]));
}

#[tokio::test]
async fn in_an_emergency_what_the_old_keys_signed_ends_at_once() {
    let world = World::new().await;
    let verification = world.keys.verification();
    let signed = world.send(world.shop()).await.result.unwrap();
    let verify = || {
        let keys = verification.load();
        countersign_token::verify(signed.access_token.expose(), &keys, &Default::default()).map(drop)
    };
    // One that was retired before may be the stolen one, too.
    world.rotate(Rotation::AfterPublication, NOW.plus_s(-1000)).await.unwrap();
    assert_eq!(verify(), Ok(()));
    let new = world.rotate(Rotation::Now, NOW).await.unwrap();
    assert_eq!(new.retired.len(), 2);
    assert_eq!(verify().unwrap_err().reason(), ReasonCode::TokenKeyUnknown);
    let rows = world.store.keys(KeyPurpose::Token).await.unwrap();
    assert_eq!(rows.into_iter().map(|row| row.id).collect::<Vec<_>>(), [new.key]);
}

#[tokio::test]
async fn a_second_rotation_waits_for_the_first_but_an_emergency_does_not() {
    let world = World::new().await;
    let present = world.signs_at(NOW).unwrap();
    let next = world.rotate(Rotation::AfterPublication, NOW).await.unwrap();
    let error = world.rotate(Rotation::AfterPublication, NOW.plus_s(10)).await.unwrap_err();
    assert!(matches!(&error, TokenKeyError::Pending { key, .. } if *key == next.key), "{error}");
    assert_eq!(error.reason(), ReasonCode::ObjectConflict);

    let emergency = world.rotate(Rotation::Now, NOW.plus_s(20)).await.unwrap();
    assert_eq!(emergency.retired, [present, next.key]);
    for later_s in [20, 660, 10_000] {
        assert_eq!(
            world.signs_at(NOW.plus_s(later_s)),
            Some(emergency.key.clone()),
            "the one that waited never signs"
        );
    }
}

#[tokio::test]
async fn a_rotation_is_recorded_and_told_in_one_transaction() {
    let world = World::new().await;
    let before = world.store.last_change().await.unwrap();
    let rotated = world.rotate(Rotation::AfterPublication, NOW).await.unwrap();
    let events = world.store.outbox(10).await.unwrap();
    let (_, event) = events.last().unwrap();
    assert_eq!(event.action, AuditAction::TokenKeyRotated);
    assert_eq!(event.facts.object.as_deref(), Some(rotated.key.0.as_str()));
    assert!(rotated.receipt.sequence > before);
}

#[tokio::test]
async fn rule_k9_a_token_key_signs_nothing_else_and_no_other_key_signs_tokens() {
    let world = World::without_key().await;
    let other = world.custody.generate(KeyPurpose::CertificateAuthority, NOW).unwrap();
    world.write(countersign_storage::Write::InsertKey(other)).await;
    world.keys.reload(world.store.as_ref(), NOW).await.unwrap();
    assert_eq!(world.signs_at(NOW), None);
    assert_eq!(world.published(), []);
}

#[tokio::test]
async fn rule_k9_what_a_new_key_signs_is_verified_at_once() {
    let world = World::new().await;
    let verification = world.keys.verification();
    world.rotate(Rotation::Now, NOW).await.unwrap();
    let outcome = world.send(world.shop()).await;
    let token = outcome.result.unwrap();
    let keys = verification.load();
    assert!(countersign_token::verify(token.access_token.expose(), &keys, &Default::default()).is_ok());
}

#[tokio::test]
async fn another_node_sees_the_same_keys() {
    let world = World::new().await;
    world.rotate(Rotation::AfterPublication, NOW).await.unwrap();
    let other = TokenKeyRing::load(world.store.as_ref(), world.custody.clone(), NOW).await.unwrap();
    assert_eq!(other.published().document(), world.keys.published().document());
    // And a node without the master key verifies, from the rows alone.
    let records = world.store.keys(KeyPurpose::Token).await.unwrap();
    let verifier = PublishedKeys::from_records(&records, NOW).unwrap();
    let outcome = world.send(world.shop()).await;
    let token = outcome.result.unwrap();
    assert!(
        countersign_token::verify(token.access_token.expose(), verifier.verification(), &Default::default())
            .is_ok()
    );
}

#[tokio::test]
async fn a_row_put_together_from_two_keys_is_refused() {
    let world = World::without_key().await;
    let mut record = world.custody.generate(KeyPurpose::Token, NOW).unwrap();
    record.id = KeyId("another".into());
    assert!(matches!(PublishedKeys::from_records(&[record], NOW), Err(TokenKeyError::PublicKey(..))));
}

/// An emergency while the clock ran ahead by days, and then it is set right.
#[tokio::test]
async fn a_key_that_was_made_by_a_clock_that_ran_ahead_signs_when_there_is_no_other() {
    let world = World::new().await;
    let ahead = NOW.plus_days(3);
    let emergency = world.rotate(Rotation::Now, ahead).await.unwrap();
    assert_eq!(world.signs_at(NOW), Some(emergency.key.clone()));
    world.keys.reload(world.store.as_ref(), NOW).await.unwrap();
    assert_eq!(world.signs_at(NOW), Some(emergency.key.clone()));

    // A scheduled one leaves the key before to sign until the day comes.
    let world = World::new().await;
    let present = world.signs_at(NOW).unwrap();
    let next = world.rotate(Rotation::AfterPublication, ahead).await.unwrap();
    assert_eq!(world.signs_at(NOW), Some(present));
    assert_eq!(world.signs_at(next.signs_from), Some(next.key));
}

/// The clock is set back a little after an emergency, or another node's runs late.
#[tokio::test]
async fn a_new_key_that_signs_at_once_signs_also_by_a_clock_that_is_a_little_behind() {
    for rotation in [Rotation::Now, Rotation::AfterPublication] {
        let world = World::without_key().await;
        let first = world.rotate(rotation, NOW).await.unwrap();
        assert_eq!(first.signs_from, NOW, "as it is told");
        for behind_s in [0, 1, 60, 300] {
            assert_eq!(world.signs_at(NOW.plus_s(-behind_s)), Some(first.key.clone()), "{behind_s}");
        }
    }
}
