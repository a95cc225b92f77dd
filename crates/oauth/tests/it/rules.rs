//! Rules that no single standard owns: C10, C12, G11, and what the caller may not learn.

use crate::support::*;
use countersign_model::ReasonCode;
use countersign_model::client::ClientState;
use countersign_policy::denial::{Surface, render};
use countersign_storage::Write;

#[tokio::test]
async fn who_fails_to_authenticate_does_not_learn_why() {
    let world = World::new().await;
    world
        .write(Write::SetClientState { client: id("post-shop"), state: ClientState::Disabled, at: NOW })
        .await;
    let disabled = Call::form(&format!(
        "grant_type=client_credentials&client_id=post-shop&client_secret={SECRET}&scope=data:read"
    ));
    let mut bodies = Vec::new();
    for (call, exact) in [
        (Call::form("grant_type=client_credentials").basic("nobody", SECRET), ReasonCode::ClientUnknown),
        (
            Call::form("grant_type=client_credentials").basic("test-shop", "wrong"),
            ReasonCode::ClientSecretWrong,
        ),
        (
            Call::form("grant_type=client_credentials").basic("acme-pay", SECRET),
            ReasonCode::ClientMethodWrong,
        ),
        (disabled, ReasonCode::ClientDisabled),
        (world.acme().over(world.certificate("other-bank")), ReasonCode::ClientCertificateNotRegistered),
    ] {
        let outcome = world.send(call).await;
        let denial = outcome.result.unwrap_err();
        // The operator reads the exact reason, the caller the public one.
        assert_eq!(outcome.event.reason, Some(exact));
        assert_eq!(denial.public(), ReasonCode::ClientAuthenticationFailed, "{exact}");
        let fixed = "01JZ8Q0M3T4V6X8Z0A2C4E6G8J".parse().unwrap();
        let response = render(&denial, &Surface::OAuth { has_authorization: false }, fixed, ISSUER);
        bodies.push((response.status(), response.body().clone()));
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn rule_c10_failed_attempts_are_throttled_by_client_and_network() {
    let world = World::new().await;
    let guess = || Call::form("grant_type=client_credentials").basic("test-shop", "guess");
    let mut reason = ReasonCode::ClientSecretWrong;
    for _ in 0..100 {
        reason = world.refused(guess()).await;
        if reason == ReasonCode::Throttled {
            break;
        }
    }
    assert_eq!(reason, ReasonCode::Throttled);
    // The right secret does not help from there, but the real client elsewhere is not locked out,
    assert_eq!(world.refused(world.shop()).await, ReasonCode::Throttled);
    world.token(world.shop().from("198.51.100.7:1")).await;
    // and neither is a client there that proves a key.
    world.token(world.acme()).await;
}

#[tokio::test]
async fn rule_c12_secrets_overlap_and_end() {
    let world = World::new().await;
    let newer = world.secret_credential("test-shop", "cs_newer");
    let newer_id = newer.id;
    world.write(Write::InsertCredential(newer)).await;
    let with = |secret: &str| Call::form("grant_type=client_credentials").basic("test-shop", secret);
    let old_token = world.token(with(SECRET)).await;
    let new_token = world.token(with("cs_newer")).await;
    assert_eq!(new_token.credential(), newer_id);
    let end = NOW.plus_s(60);
    world.write(Write::ExpireCredential { credential: old_token.credential(), expires_at: end }).await;
    world.token(with(SECRET).at(end.plus_s(-1))).await;
    assert_eq!(world.refused(with(SECRET).at(end)).await, ReasonCode::ClientSecretExpired);
    world.token(with("cs_newer").at(end)).await;
}

#[tokio::test]
async fn rule_g11_what_a_caller_sends_stays_bounded_in_the_record() {
    let world = World::new().await;
    let long = "a".repeat(5000);
    let call = world.shop().and(&format!("scope={long}")).uri(&format!("/oauth2/{long}"));
    let event = world.send(call).await.event;
    assert_eq!(event.facts.scope.map(|scope| scope.len()), Some(256));
    assert_eq!(event.facts.path.map(|path| path.len()), Some(256));
    // A name that no client can have reaches no record.
    let event = world.send(Call::form("grant_type=client_credentials").basic("<script>", "x")).await.event;
    assert!(!format!("{event:?}").contains("script"));
}
