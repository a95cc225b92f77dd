//! Keys in custody, and operators.

use super::fixtures::{NOW, key, operator};
use super::{commit, commit_each};
use crate::{StorageError, Store, Write};
use countersign_model::KeyId;
use countersign_model::key::{KeyPurpose, KeyRecord};
use countersign_model::operator::{Operator, Role};
use std::sync::Arc;

/// And each id is taken once.
pub async fn keys_are_listed_by_purpose_oldest_first(store: Arc<dyn Store>) {
    let older = KeyRecord { created_at: NOW.plus_s(-1), ..key("z", KeyPurpose::Token) };
    let younger = KeyRecord { retired_at: Some(NOW.plus_s(5)), ..key("a", KeyPurpose::Token) };
    let ca = key("m", KeyPurpose::CertificateAuthority);
    commit_each(&*store, [younger.clone(), older.clone(), ca.clone()].map(Write::InsertKey)).await;
    assert_eq!(store.keys(KeyPurpose::Token).await, Ok(vec![older.clone(), younger]));
    assert_eq!(store.keys(KeyPurpose::CertificateAuthority).await, Ok(vec![ca]));
    assert_eq!(store.keys(KeyPurpose::TlsServer).await, Ok(vec![]));
    assert_eq!(store.key(&older.id).await, Ok(Some(older.clone())));
    assert_eq!(store.key(&KeyId("no such".to_owned())).await, Ok(None));
    let refused = commit(&*store, Write::InsertKey(key("z", KeyPurpose::TlsServer))).await;
    assert_eq!(refused, Err(StorageError::Conflict("key")));
    assert_eq!(store.key(&older.id).await, Ok(Some(older)));
}

/// Retiring is only brought forward; forgetting is idempotent.
pub async fn rule_k9_a_token_key_retires_and_is_forgotten(store: Arc<dyn Store>) {
    let id = KeyId("token-1".to_owned());
    let retire = |id: &KeyId, at| Write::RetireKey { key: id.clone(), at: NOW.plus_s(at) };
    commit(&*store, Write::InsertKey(key("token-1", KeyPurpose::Token))).await.unwrap();
    for (asked, kept) in [(100, 100), (200, 100), (50, 50)] {
        commit(&*store, retire(&id, asked)).await.unwrap();
        assert_eq!(store.key(&id).await.unwrap().unwrap().retired_at, Some(NOW.plus_s(kept)));
    }
    commit_each(&*store, [(); 2].map(|()| Write::DeleteKey { key: id.clone() })).await;
    assert_eq!(store.key(&id).await, Ok(None));
    assert_eq!(commit(&*store, retire(&id, 1)).await, Err(StorageError::Missing("key")));
}

/// And each name is taken once.
pub async fn operators_are_listed_by_name(store: Arc<dyn Store>) {
    let anna = Operator { role: Role::Admin, ..operator("anna") };
    let bot = Operator { enabled: false, role: Role::Auditor, token_hmac: [0xff; 32], ..operator("bot") };
    commit_each(&*store, [bot.clone(), anna.clone()].map(Write::InsertOperator)).await;
    let refused = commit(&*store, Write::InsertOperator(operator("bot"))).await;
    assert_eq!(refused, Err(StorageError::Conflict("operator")));
    assert_eq!(store.operators().await, Ok(vec![anna, bot]));
}

/// The name, the role and the day stay; who was disabled acts again.
pub async fn an_operator_gets_another_token(store: Arc<dyn Store>) {
    let anna = Operator { enabled: false, role: Role::Admin, ..operator("anna") };
    commit_each(&*store, [anna.clone(), operator("bot")].map(Write::InsertOperator)).await;
    let replace = |name: &str| Write::ReplaceOperatorToken { name: name.to_owned(), token_hmac: [9; 32] };
    let before = store.last_change().await.unwrap();
    assert_eq!(commit(&*store, replace("anna")).await, Ok(before + 1));
    let anna = Operator { enabled: true, token_hmac: [9; 32], ..anna };
    assert_eq!(store.operators().await, Ok(vec![anna, operator("bot")]));
    assert_eq!(commit(&*store, replace("nobody")).await, Err(StorageError::Missing("operator")));
}

/// Only in the place of the value that was read: a token that was reset meanwhile stays reset.
pub async fn the_value_of_an_operators_token_is_restated(store: Arc<dyn Store>) {
    commit(&*store, Write::InsertOperator(operator("anna"))).await.unwrap();
    let restate = |name: &str, from, to| Write::RestateOperatorToken {
        name: name.to_owned(),
        from: [from; 32],
        to: [to; 32],
    };
    let before = store.last_change().await.unwrap();
    commit_each(&*store, [restate("anna", 9, 4), restate("nobody", 3, 4)]).await;
    assert_eq!(store.operators().await.unwrap(), [operator("anna")]);
    assert_eq!(store.last_change().await, Ok(before));
    let after = commit(&*store, restate("anna", 3, 4)).await.unwrap();
    assert!(after > before, "who holds the operators hears of it");
    let disabled_or_not = operator("anna").enabled;
    let operators = store.operators().await.unwrap();
    assert_eq!((operators[0].token_hmac, operators[0].enabled), ([4; 32], disabled_or_not));
}
