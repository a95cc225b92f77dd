//! Clients and their credentials.

use super::fixtures::{NOW, client, client_id, credential_id, matcher, secret};
use super::{commit, commit_each};
use crate::{StorageError, Store, Write};
use countersign_model::client::{
    AuthMethod, Client, ClientChanges, ClientState, Credential, CredentialState,
};
use countersign_model::{Environment, Scopes, Timestamp};
use std::sync::Arc;

/// Every field comes back, empty and full.
pub async fn a_client_is_read_as_it_was_written(store: Arc<dyn Store>) {
    let full = client("acme-pay");
    let bare = Client {
        environment: Environment::Sandbox,
        name: String::new(),
        contacts: Vec::new(),
        auth_method: AuthMethod::ClientSecretPost,
        scopes: Scopes::default(),
        audiences: Vec::new(),
        state: ClientState::Disabled,
        epoch: u32::MAX,
        created_at: Timestamp::from_unix_ms(-1),
        ..client("test-shop")
    };
    for written in [full, bare] {
        commit(&*store, Write::InsertClient(written.clone())).await.unwrap();
        assert_eq!(store.client(&written.id).await, Ok(Some((written, Vec::new()))));
    }
    assert_eq!(store.client(&client_id("nobody")).await, Ok(None));
}

/// `Conflict`, and the first one stays.
pub async fn a_client_id_is_taken_once(store: Arc<dyn Store>) {
    let first = client("acme-pay");
    commit(&*store, Write::InsertClient(first.clone())).await.unwrap();
    let second = Client { name: "Impostor".to_owned(), ..first.clone() };
    let refused = commit(&*store, Write::InsertClient(second)).await;
    assert_eq!(refused, Err(StorageError::Conflict("client")));
    assert_eq!(store.client(&first.id).await.unwrap().unwrap().0, first);
}

/// Each page begins after the last id of the one before, and brings the credentials.
pub async fn clients_are_paged_in_the_order_of_their_ids(store: Arc<dyn Store>) {
    for name in ["c", "a", "e", "b", "d"] {
        commit(&*store, Write::InsertClient(client(name))).await.unwrap();
    }
    commit_each(&*store, [3, 2].map(|n| Write::InsertCredential(secret("b", n)))).await;
    commit_each(&*store, [4].map(|n| Write::InsertCredential(secret("c", n)))).await;

    let first = store.clients_after(None, 2).await.unwrap();
    assert_eq!(first, [(client("a"), vec![]), (client("b"), vec![secret("b", 2), secret("b", 3)])]);
    let second = store.clients_after(Some(&client_id("b")), 2).await.unwrap();
    assert_eq!(second, [(client("c"), vec![secret("c", 4)]), (client("d"), vec![])]);
    let third = store.clients_after(Some(&client_id("d")), 2).await.unwrap();
    assert_eq!(third, [(client("e"), vec![])]);
    assert_eq!(store.clients_after(Some(&client_id("e")), 2).await, Ok(vec![]));
}

/// The epoch grows with every change of state, and only then.
pub async fn a_change_of_state_ends_the_tokens_once(store: Arc<dyn Store>) {
    let later = NOW.plus_s(60);
    let set = |name: &str, state, at| Write::SetClientState { client: client_id(name), state, at };
    commit_each(&*store, ["acme-pay", "other"].map(|name| Write::InsertClient(client(name)))).await;
    let expected = [
        (ClientState::Active, NOW.plus_s(1), 0, NOW), // it is active already
        (ClientState::Disabled, later, 1, later),
        (ClientState::Disabled, NOW.plus_s(90), 1, later),
        (ClientState::Active, NOW.plus_s(120), 2, NOW.plus_s(120)),
    ];
    for (state, at, epoch, updated_at) in expected {
        commit(&*store, set("acme-pay", state, at)).await.unwrap();
        let read = store.client(&client_id("acme-pay")).await.unwrap().unwrap().0;
        assert_eq!((read.state, read.epoch, read.updated_at), (state, epoch, updated_at));
    }
    assert_eq!(store.client(&client_id("other")).await.unwrap().unwrap().0, client("other"));
    let refused = commit(&*store, set("nobody", ClientState::Active, NOW)).await;
    assert_eq!(refused, Err(StorageError::Missing("client")));
}

/// Member by member; what is not named stays. Only what takes a scope or an audience away ends the tokens.
pub async fn an_edit_ends_the_tokens_if_it_takes_something_away(store: Arc<dyn Store>) {
    commit_each(&*store, ["acme-pay", "other"].map(|name| Write::InsertClient(client(name)))).await;
    let (first, second) = ("https://api.example/bank".to_owned(), "https://api.example/shop".to_owned());
    let mut expected = client("acme-pay");
    let scopes =
        |text: &str| ClientChanges { scopes: Some(text.parse().unwrap()), ..ClientChanges::default() };
    let audiences = |list: &[&String]| {
        let audiences = Some(list.iter().map(|text| (*text).clone()).collect());
        ClientChanges { audiences, ..ClientChanges::default() }
    };
    let name = ClientChanges { name: Some("Söhne & \"Co\"".to_owned()), ..ClientChanges::default() };
    let contacts = ClientChanges { contacts: Some(vec![]), ..ClientChanges::default() };
    for (second_of, (changes, ends_tokens, changes_something)) in (1..).zip([
        (ClientChanges::default(), false, false),
        (name.clone(), false, true),
        (name, false, false),
        (contacts, false, true),
        (scopes("data:read pay:write"), false, false),
        (scopes("data:read pay:write more:read"), false, true),
        (scopes("data:read"), true, true),
        (scopes("pay:write"), true, true),
        (scopes(""), true, true),
        (scopes("data:read"), false, true),
        (audiences(&[&first, &second]), false, true),
        (audiences(&[&second, &first]), false, true),
        (audiences(&[&second]), true, true),
        (audiences(&[]), false, true), // every API that owns one of its scopes
        (audiences(&[&first]), true, true),
    ]) {
        let at = NOW.plus_s(second_of);
        expected.name = changes.name.clone().unwrap_or(expected.name);
        expected.contacts = changes.contacts.clone().unwrap_or(expected.contacts);
        expected.scopes = changes.scopes.clone().unwrap_or(expected.scopes);
        expected.audiences = changes.audiences.clone().unwrap_or(expected.audiences);
        expected.epoch += u32::from(ends_tokens);
        expected.updated_at = if changes_something { at } else { expected.updated_at };
        let before = store.last_change().await.unwrap();
        let told = format!("{changes:?}");
        let after = commit(&*store, Write::EditClient { client: client_id("acme-pay"), changes, at }).await;
        assert_eq!(after, Ok(before + u64::from(changes_something)), "{told}");
        assert_eq!(store.client(&client_id("acme-pay")).await.unwrap().unwrap().0, expected, "{told}");
    }
    assert_eq!(store.client(&client_id("other")).await.unwrap().unwrap().0, client("other"));
    let nobody = Write::EditClient { client: client_id("nobody"), changes: scopes("a"), at: NOW };
    assert_eq!(commit(&*store, nobody).await, Err(StorageError::Missing("client")));
}

/// Two at once that change different members: neither undoes the other.
pub async fn edits_of_different_members_do_not_undo_each_other(store: Arc<dyn Store>) {
    commit(&*store, Write::InsertClient(client("acme-pay"))).await.unwrap();
    let edits = [
        ClientChanges { name: Some("New".to_owned()), ..ClientChanges::default() },
        ClientChanges { contacts: Some(vec!["new@acme.example".to_owned()]), ..ClientChanges::default() },
        ClientChanges { scopes: Some("data:read".parse().unwrap()), ..ClientChanges::default() },
        ClientChanges { audiences: Some(vec![]), ..ClientChanges::default() },
    ];
    let edits = edits.map(|changes| {
        let store = store.clone();
        tokio::spawn(async move {
            commit(&*store, Write::EditClient { client: client_id("acme-pay"), changes, at: NOW }).await
        })
    });
    for edit in edits {
        edit.await.unwrap().unwrap();
    }
    let (client, _) = store.client(&client_id("acme-pay")).await.unwrap().unwrap();
    assert_eq!((client.name.as_str(), client.contacts.len(), client.audiences.len()), ("New", 1, 0));
    assert_eq!((client.scopes.to_string().as_str(), client.epoch), ("data:read", 1));
}

/// Every field of both kinds comes back.
pub async fn credentials_are_read_as_they_were_written_oldest_first(store: Arc<dyn Store>) {
    commit(&*store, Write::InsertClient(client("acme-pay"))).await.unwrap();
    let certificate = Credential {
        expires_at: Some(NOW.plus_days(1)),
        last_used_at: Some(NOW.plus_s(5)),
        uses: 17,
        epoch: 3,
        ..matcher("acme-pay", 2, "https://id.example/clients/acme-pay")
    };
    let revoked = Credential { state: CredentialState::Revoked, ..secret("acme-pay", 3) };
    let written = [secret("acme-pay", 1), certificate, revoked];
    commit_each(&*store, written.iter().rev().cloned().map(Write::InsertCredential)).await;
    assert_eq!(store.client(&client_id("acme-pay")).await.unwrap().unwrap().1, written);
}

/// `Missing` without its client, `Conflict` when the id is taken, also by another client's.
pub async fn a_credential_needs_its_client_and_an_id_of_its_own(store: Arc<dyn Store>) {
    let refused = commit(&*store, Write::InsertCredential(secret("acme-pay", 1))).await;
    assert_eq!(refused, Err(StorageError::Missing("client")));
    let refused = commit(&*store, Write::InsertMatcherIfAbsent(matcher("acme-pay", 1, "uri"))).await;
    assert_eq!(refused, Err(StorageError::Missing("client")));
    commit_each(&*store, ["acme-pay", "other"].map(|name| Write::InsertClient(client(name)))).await;
    commit(&*store, Write::InsertCredential(secret("acme-pay", 1))).await.unwrap();
    for name in ["acme-pay", "other", "nobody"] {
        let refused = commit(&*store, Write::InsertCredential(secret(name, 1))).await;
        assert!(matches!(refused, Err(StorageError::Conflict(_))), "{refused:?}");
    }
}

/// A certificate stands for one client, whichever way its matcher is added, as long as the matcher is active.
pub async fn rule_c4_a_certificate_matcher_belongs_to_one_client(store: Arc<dyn Store>) {
    commit_each(&*store, ["acme-pay", "other"].map(|name| Write::InsertClient(client(name)))).await;
    commit(&*store, Write::InsertCredential(matcher("acme-pay", 1, "uri"))).await.unwrap();
    for write in [
        Write::InsertMatcherIfAbsent(matcher("other", 2, "uri")),
        Write::InsertCredential(matcher("other", 2, "uri")),
        Write::InsertCredential(matcher("acme-pay", 2, "uri")),
    ] {
        let refused = commit(&*store, write).await;
        assert!(matches!(refused, Err(StorageError::Conflict(_))), "{refused:?}");
    }
    // Compared octet by octet.
    commit(&*store, Write::InsertMatcherIfAbsent(matcher("other", 3, "URI"))).await.unwrap();
    commit(&*store, Write::RevokeCredential { credential: credential_id(1) }).await.unwrap();
    commit(&*store, Write::InsertMatcherIfAbsent(matcher("other", 4, "uri"))).await.unwrap();
    let refused = commit(&*store, Write::InsertMatcherIfAbsent(matcher("acme-pay", 5, "uri"))).await;
    assert_eq!(refused, Err(StorageError::Conflict("certificate matcher")));
}

/// Idempotent by client and value; a revoked one does not count, an ended one does: issuing a certificate does not take
/// back what an operator let end.
pub async fn a_matcher_is_added_only_if_absent(store: Arc<dyn Store>) {
    commit(&*store, Write::InsertClient(client("acme-pay"))).await.unwrap();
    let ids = async || {
        let (_, credentials) = store.client(&client_id("acme-pay")).await.unwrap().unwrap();
        credentials.iter().map(|credential| credential.id).collect::<Vec<_>>()
    };
    let add = |n| Write::InsertMatcherIfAbsent(matcher("acme-pay", n, "uri"));
    commit_each(&*store, [add(1), add(1), add(2)]).await;
    assert_eq!(ids().await, [credential_id(1)]);

    commit(&*store, Write::ExpireCredential { credential: credential_id(1), expires_at: NOW }).await.unwrap();
    commit(&*store, add(3)).await.unwrap();
    assert_eq!(ids().await, [credential_id(1)]);

    commit(&*store, Write::RevokeCredential { credential: credential_id(1) }).await.unwrap();
    commit(&*store, add(4)).await.unwrap();
    assert_eq!(ids().await, [credential_id(1), credential_id(4)]);

    let no_matcher = commit(&*store, Write::InsertMatcherIfAbsent(secret("acme-pay", 5))).await;
    assert_eq!(no_matcher, Err(StorageError::Conflict("certificate matcher")));
    let revoked = Credential { state: CredentialState::Revoked, ..matcher("acme-pay", 6, "another uri") };
    let not_active = commit(&*store, Write::InsertMatcherIfAbsent(revoked)).await;
    assert_eq!(not_active, Err(StorageError::Conflict("certificate matcher")));
    assert_eq!(ids().await, [credential_id(1), credential_id(4)]);
}

/// A credential that ends before already is left alone.
pub async fn an_expiry_is_only_brought_forward(store: Arc<dyn Store>) {
    let expire = |n, expires_at| Write::ExpireCredential { credential: credential_id(n), expires_at };
    commit(&*store, Write::InsertClient(client("acme-pay"))).await.unwrap();
    commit_each(&*store, [1, 2].map(|n| Write::InsertCredential(secret("acme-pay", n)))).await;
    for (asked, kept) in [(100, 100), (200, 100), (50, 50)] {
        commit(&*store, expire(1, NOW.plus_s(asked))).await.unwrap();
        let credentials = store.client(&client_id("acme-pay")).await.unwrap().unwrap().1;
        assert_eq!(credentials[0].expires_at, Some(NOW.plus_s(kept)));
        assert_eq!(credentials[1], secret("acme-pay", 2));
    }
    assert_eq!(commit(&*store, expire(9, NOW)).await, Err(StorageError::Missing("credential")));
}

/// Its epoch grows the first time.
pub async fn a_credential_is_revoked_once(store: Arc<dyn Store>) {
    commit(&*store, Write::InsertClient(client("acme-pay"))).await.unwrap();
    commit_each(&*store, [1, 2].map(|n| Write::InsertCredential(secret("acme-pay", n)))).await;
    for _ in 0..2 {
        commit(&*store, Write::RevokeCredential { credential: credential_id(1) }).await.unwrap();
        let credentials = store.client(&client_id("acme-pay")).await.unwrap().unwrap().1;
        assert_eq!((credentials[0].state, credentials[0].epoch), (CredentialState::Revoked, 1));
        assert_eq!(credentials[1], secret("acme-pay", 2));
    }
    let refused = commit(&*store, Write::RevokeCredential { credential: credential_id(9) }).await;
    assert_eq!(refused, Err(StorageError::Missing("credential")));
}

/// Counts add up, the last time never goes back, and a credential that is gone is passed over.
pub async fn uses_of_a_credential_add_up(store: Arc<dyn Store>) {
    let used = |n, at, uses| Write::CredentialUsed { credential: credential_id(n), at: NOW.plus_s(at), uses };
    commit(&*store, Write::InsertClient(client("acme-pay"))).await.unwrap();
    commit(&*store, Write::InsertCredential(secret("acme-pay", 1))).await.unwrap();
    commit_each(&*store, [used(1, 20, 3), used(1, 10, 4), used(9, 30, 5)]).await;
    let credential = &store.client(&client_id("acme-pay")).await.unwrap().unwrap().1[0];
    assert_eq!((credential.uses, credential.last_used_at), (7, Some(NOW.plus_s(20))));
}

/// All others end, each as if by itself; certificates and secrets of others are left alone.
pub async fn rule_c12_a_secret_replaces_all_others_of_its_client(store: Arc<dyn Store>) {
    commit_each(&*store, ["acme-pay", "other"].map(|name| Write::InsertClient(client(name)))).await;
    let soon = Credential { expires_at: Some(NOW.plus_s(10)), ..secret("acme-pay", 2) };
    let others = [secret("acme-pay", 1), soon, matcher("acme-pay", 3, "uri"), secret("other", 4)];
    commit_each(&*store, others.map(Write::InsertCredential)).await;
    let replace = |new, known: &[u64], others_end_at| Write::ReplaceSecrets {
        new: secret("acme-pay", new),
        known: known.iter().copied().map(credential_id).collect(),
        others_end_at,
    };
    let read = async || {
        let credentials = store.client(&client_id("acme-pay")).await.unwrap().unwrap().1;
        credentials.iter().map(|it| (it.state, it.epoch, it.expires_at)).collect::<Vec<_>>()
    };
    use CredentialState::{Active, Revoked};
    let end = |seconds| Some(NOW.plus_s(seconds));
    commit(&*store, replace(5, &[2, 1], end(60))).await.unwrap();
    let untouched = (Active, 0, None);
    assert_eq!(read().await, [(Active, 0, end(60)), (Active, 0, end(10)), untouched, untouched]);

    // The last promise holds for all: none outlives it, and none lives longer by it.
    commit(&*store, replace(6, &[1, 2, 5], end(30))).await.unwrap();
    let (first, second) = ((Active, 0, end(30)), (Active, 0, end(10)));
    assert_eq!(read().await, [first, second, untouched, first, untouched]);

    commit(&*store, replace(7, &[1, 2, 5, 6], None)).await.unwrap();
    let gone = |expires_at| (Revoked, 1, expires_at);
    let expected = [gone(end(30)), gone(end(10)), untouched, gone(end(30)), gone(None), untouched];
    assert_eq!(read().await, expected);
    assert_eq!(store.client(&client_id("other")).await.unwrap().unwrap().1, [secret("other", 4)]);

    // Those that are revoked are none of the others any more.
    commit(&*store, replace(8, &[7], None)).await.unwrap();
    assert_eq!(read().await[5..], [gone(None), untouched]);
}

/// Each knows of the same secrets; the first one wins, and the ones after it change nothing.
pub async fn rule_c12_of_two_replacements_at_once_one_wins(store: Arc<dyn Store>) {
    commit(&*store, Write::InsertClient(client("acme-pay"))).await.unwrap();
    commit(&*store, Write::InsertCredential(secret("acme-pay", 1))).await.unwrap();
    let replace = |new, known: &[u64], others_end_at| Write::ReplaceSecrets {
        new: secret("acme-pay", new),
        known: known.iter().copied().map(credential_id).collect(),
        others_end_at,
    };
    let conflict = Err(StorageError::Conflict("secret"));
    commit(&*store, replace(2, &[1], None)).await.unwrap();
    let after_the_first = store.client(&client_id("acme-pay")).await.unwrap();
    for known in [&[1][..], &[], &[1, 2], &[2, 2], &[9]] {
        for others_end_at in [None, Some(NOW.plus_s(60))] {
            assert_eq!(commit(&*store, replace(3, known, others_end_at)).await, conflict, "{known:?}");
        }
    }
    assert_eq!(store.client(&client_id("acme-pay")).await.unwrap(), after_the_first);

    let disable =
        Write::SetClientState { client: client_id("acme-pay"), state: ClientState::Disabled, at: NOW };
    commit(&*store, disable).await.unwrap();
    assert_eq!(commit(&*store, replace(3, &[2], None)).await, conflict, "a secret of a disabled client");
    let nobody = Write::ReplaceSecrets { new: secret("nobody", 4), known: vec![], others_end_at: None };
    assert_eq!(commit(&*store, nobody).await, Err(StorageError::Missing("client")));
}
