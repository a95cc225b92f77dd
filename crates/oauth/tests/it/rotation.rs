//! Rule C12, when several callers change the secrets of one client at once: the test decides who comes first.

use crate::support::*;
use countersign_model::audit::{Actor, AuditAction};
use countersign_model::client::{AuthMethod, ClientState, Credential, CredentialState};
use countersign_model::key::KeyPurpose;
use countersign_model::{CredentialId, Environment, ReasonCode, Reference, Secret, Timestamp};
use countersign_oauth::{NewClient, NewSecret, Order, Registrar, RegistrationError, Rotation, TokenKeyError};
use countersign_policy::client_auth::Pepper;
use countersign_storage::conformance::interleaved::{Interleaved, Step};
use countersign_storage::memory::MemoryStore;
use countersign_storage::stores::{AuditOutbox, ClientStore, Commit, KeyStore};
use countersign_storage::{Receipt, Store, Transaction, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

type Outcome = Result<(Receipt, NewSecret), RegistrationError>;

fn order(rng: &CountingRng) -> Order {
    Order { actor: Actor::Operator("alice".into()), reference: Reference::generate(NOW, rng), at: NOW }
}

async fn rotate(store: Arc<dyn Store>, rng: Arc<CountingRng>, overlap_s: i64) -> Outcome {
    let pepper = Pepper::new(&Secret::new([7; 32]));
    let registrar = Registrar { store: store.as_ref(), pepper: &pepper, rng: rng.as_ref() };
    registrar.rotate_secret(&id("test-shop"), NOW.plus_s(overlap_s), order(&rng)).await
}

async fn secrets(store: &MemoryStore) -> Vec<Credential> {
    let (_, credentials) = store.client(&id("test-shop")).await.unwrap().unwrap();
    credentials.into_iter().filter(|credential| credential.name != "certificate").collect()
}

/// Those that are accepted at some time after now.
fn live(secrets: &[Credential]) -> Vec<CredentialId> {
    let lives =
        |it: &&Credential| it.state == CredentialState::Active && it.expires_at.is_none_or(|end| end > NOW);
    secrets.iter().filter(lives).map(|it| it.id).collect()
}

/// All of them read before one of them writes.
async fn rotate_at_once(world: &World, overlaps_s: &[i64]) -> Vec<Outcome> {
    let everybody_has_read = Arc::new(Barrier::new(overlaps_s.len()));
    let at = move |step| {
        let everybody_has_read = everybody_has_read.clone();
        async move {
            if step == Step::ClientRead {
                everybody_has_read.wait().await;
            }
        }
    };
    let store: Arc<dyn Store> = Arc::new(Interleaved::new(world.store.clone(), at));
    let mut rotations = JoinSet::new();
    for overlap_s in overlaps_s {
        rotations.spawn(rotate(store.clone(), world.rng.clone(), *overlap_s));
    }
    rotations.join_all().await
}

#[tokio::test]
async fn rule_c12_of_sixteen_rotations_at_once_one_succeeds_and_its_secret_alone_lives() {
    let world = World::new().await;
    let outcomes = rotate_at_once(&world, &[0; 16]).await;
    let won: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(live(&secrets(&world.store).await), [won[0].1.credential]);
    for lost in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(lost, RegistrationError::Overtaken(_)), "{lost}");
        assert_eq!(lost.reason(), ReasonCode::ObjectConflict);
    }
    let events = world.store.outbox(100).await.unwrap();
    let recorded = events.iter().filter(|(_, event)| event.action == AuditAction::ClientSecretRotated);
    assert_eq!(recorded.count(), 1, "what did not happen is not recorded as done");
}

#[tokio::test]
async fn rule_c12_no_secret_outlives_what_the_last_rotation_promised() {
    for overlaps_s in [[3600, 3600], [3600, 0], [0, 3600], [60, 86_400]] {
        let world = World::new().await;
        let before = live(&secrets(&world.store).await);
        let outcomes = rotate_at_once(&world, &overlaps_s).await;
        let won: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "{overlaps_s:?}");
        let secrets = secrets(&world.store).await;
        let endless: Vec<_> = secrets
            .iter()
            .filter(|it| it.state == CredentialState::Active && it.expires_at.is_none())
            .map(|it| it.id)
            .collect();
        assert_eq!(endless, [won[0].1.credential], "{overlaps_s:?}");
        assert_eq!(secrets.len(), before.len() + 1, "{overlaps_s:?}");
    }
}

/// Runs `meanwhile` once, after the rotation has read and before it writes.
async fn rotate_while<F: Future<Output = ()> + Send + 'static>(
    world: &World,
    meanwhile: impl Fn(Arc<MemoryStore>, Arc<CountingRng>) -> F + Send + Sync + 'static,
) -> Outcome {
    let (inner, rng, done) = (world.store.clone(), world.rng.clone(), AtomicBool::new(false));
    let at = move |step| {
        let first = step == Step::ClientRead && !done.swap(true, Ordering::SeqCst);
        let turn = first.then(|| meanwhile(inner.clone(), rng.clone()));
        async move {
            if let Some(turn) = turn {
                turn.await;
            }
        }
    };
    let store: Arc<dyn Store> = Arc::new(Interleaved::new(world.store.clone(), at));
    rotate(store, world.rng.clone(), 0).await
}

#[tokio::test]
async fn rule_c12_a_rotation_does_not_hand_out_the_secret_of_a_client_that_was_disabled_meanwhile() {
    let world = World::new().await;
    let outcome = rotate_while(&world, |store, rng| async move {
        let pepper = Pepper::new(&Secret::new([7; 32]));
        let registrar = Registrar { store: store.as_ref(), pepper: &pepper, rng: rng.as_ref() };
        registrar.disable(&id("test-shop"), order(&rng)).await.unwrap();
    })
    .await;
    assert!(matches!(outcome, Err(RegistrationError::Overtaken(_))), "{outcome:?}");
    let (client, _) = world.store.client(&id("test-shop")).await.unwrap().unwrap();
    assert_eq!(client.state, ClientState::Disabled);
}

#[tokio::test]
async fn rule_c12_a_secret_that_was_added_meanwhile_is_not_left_alive_in_silence() {
    let world = World::new().await;
    let added = world.secret_credential("test-shop", "cs_added");
    let credential = added.id;
    let outcome = rotate_while(&world, move |store, _| {
        let added = added.clone();
        async move {
            let add = Transaction::new().write(Write::InsertCredential(added));
            store.commit(add).await.unwrap();
        }
    })
    .await;
    assert!(matches!(outcome, Err(RegistrationError::Overtaken(_))), "{outcome:?}");
    let again = rotate(world.store.clone(), world.rng.clone(), 0).await.unwrap();
    let live = live(&secrets(&world.store).await);
    assert_eq!(live, [again.1.credential]);
    assert_ne!(live, [credential]);
}

/// Both have read that the name is free, as far as anybody asks.
#[tokio::test]
async fn of_two_registrations_of_one_name_one_gets_a_secret() {
    let world = World::new().await;
    let pepper = Pepper::new(&Secret::new([7; 32]));
    let registrar = Registrar { store: world.store.as_ref(), pepper: &pepper, rng: world.rng.as_ref() };
    let register = || {
        let new = NewClient {
            id: id("new-shop"),
            environment: Environment::Sandbox,
            name: "New shop".to_owned(),
            contacts: vec![],
            auth_method: AuthMethod::ClientSecretPost,
            scopes: "data:read".parse().unwrap(),
            audiences: vec![],
        };
        registrar.register(new, None, order(&world.rng))
    };
    let (first, second) = tokio::join!(register(), register());
    let [first, second] = [first, second].map(|outcome| outcome.map_err(|error| error.reason()));
    assert!(first.is_ok() && second.is_err_and(|reason| reason == ReasonCode::ObjectConflict));
}

/// The second one is ordered while the first one has not committed.
async fn rotate_keys_at_once(world: &World, rotation: Rotation) -> [Result<(), ReasonCode>; 2] {
    let at = |step| async move {
        if step == Step::BeforeCommit {
            tokio::task::yield_now().await;
        }
    };
    let store = Interleaved::new(world.store.clone(), at);
    let rotate = |now: Timestamp| {
        let (actor, reference) = (Actor::System, Reference::generate(NOW, world.rng.as_ref()));
        world.keys.rotate(&store, rotation, actor, reference, now)
    };
    let (first, second) = tokio::join!(rotate(NOW), rotate(NOW));
    let signs = world.keys.signer(NOW.plus_s(10_000)).map(|signer| signer.key_id().clone());
    let won = first.as_ref().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(signs.as_ref(), Some(&won.key), "what was acknowledged signs");
    [first.map(drop), second.map(drop)].map(|outcome| outcome.map_err(|error| error.reason()))
}

#[tokio::test]
async fn of_two_rotations_of_the_token_key_at_once_one_is_acknowledged() {
    for rotation in [Rotation::Now, Rotation::AfterPublication] {
        let world = World::new().await;
        let outcomes = rotate_keys_at_once(&world, rotation).await;
        assert_eq!(outcomes, [Ok(()), Err(ReasonCode::ObjectConflict)], "{rotation:?}");
    }
}

#[tokio::test]
async fn a_rotation_of_the_token_key_that_is_committed_and_not_read_is_told_as_that() {
    let world = World::new().await;
    let mut unreadable = world.custody.generate(KeyPurpose::Token, NOW).unwrap();
    unreadable.public_key = vec![0];
    let (inner, before) = (world.store.clone(), world.keys.signer(NOW).unwrap().key_id().clone());
    let at = move |step| {
        let (inner, unreadable) = (inner.clone(), unreadable.clone());
        async move {
            if step == Step::Committed {
                inner.commit(Transaction::new().write(Write::InsertKey(unreadable))).await.unwrap();
            }
        }
    };
    let store = Interleaved::new(world.store.clone(), at);
    let (actor, reference) = (Actor::System, Reference::generate(NOW, world.rng.as_ref()));
    let refused = world.keys.rotate(&store, Rotation::Now, actor, reference, NOW).await.unwrap_err();
    assert!(matches!(refused, TokenKeyError::NotInForce(_)), "{refused}");
    assert_eq!(refused.reason(), ReasonCode::ChangeNotInForce);
    assert_eq!(*world.keys.signer(NOW).unwrap().key_id(), before, "as the refusal says");
    assert_eq!(
        world.store.keys(KeyPurpose::Token).await.unwrap().len(),
        2,
        "the new one, and the unreadable one"
    );
}
