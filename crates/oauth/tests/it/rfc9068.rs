//! RFC 9068: the tokens that are issued (rules K5, K6).

use crate::support::*;
use countersign_model::client::AuthMethod;
use countersign_model::{Environment, ReasonCode};
use countersign_oauth::{MutualTls, Settings};
use countersign_policy::route::Api;
use countersign_storage::Write;
use countersign_token::{Expectations, Limits, TokenEpoch};
use std::sync::Arc;

#[tokio::test]
async fn rule_k5_every_claim_is_there_and_good_at_the_gateway() {
    let world = World::new().await;
    let token = world.token(world.acme()).await;
    let expect = Expectations {
        issuer: ISSUER,
        audience: AUDIENCE,
        environment: Environment::Production,
        now: NOW,
        skew_s: 0,
    };
    assert_eq!(token.check(&expect), Ok(()));
    assert_eq!(token.issued_at(), NOW);
    assert_eq!(token.expires_at(), NOW.plus_s(300));
    assert_eq!(token.epoch(), TokenEpoch { client: 1, credential: 2 });
    assert_eq!(token.scopes().to_string(), "data:read pay:write");
}

#[tokio::test]
async fn a_token_says_the_environment_of_its_client() {
    let world = World::new().await;
    assert_eq!(world.token(world.acme()).await.environment(), Environment::Production);
    assert_eq!(world.token(world.shop()).await.environment(), Environment::Sandbox);
}

#[tokio::test]
async fn no_two_tokens_have_one_jti() {
    let world = World::new().await;
    let (first, second) = (world.token(world.shop()).await, world.token(world.shop()).await);
    assert_ne!(first.token_id(), second.token_id());
    assert_eq!(first.token_id().len(), 26);
}

#[tokio::test]
async fn rule_k6_section_3_the_scopes_name_the_audience() {
    let world = World::new().await;
    let post = |scope: &str| {
        Call::form(&format!(
            "grant_type=client_credentials&client_id=post-shop&client_secret={SECRET}{scope}"
        ))
    };
    assert_eq!(world.token(post("&scope=cards:read")).await.audiences(), ["urn:cards"]);
    assert_eq!(world.token(post("&scope=data%3Aread")).await.audiences(), [AUDIENCE]);
    assert_eq!(world.refused(post("&scope=data:read+cards:read")).await, ReasonCode::ScopeNotAllowed);
    assert_eq!(world.refused(post("")).await, ReasonCode::ScopeNotAllowed);
    assert_eq!(world.refused(post("&scope=pay:write")).await, ReasonCode::ScopeNotAllowed);
    assert_eq!(world.token(post("&resource=urn:cards")).await.scopes().to_string(), "cards:read");
}

#[tokio::test]
async fn rule_k9_without_a_token_key_nothing_is_issued() {
    let world = World::without_key().await;
    assert_eq!(world.refused(world.acme()).await, ReasonCode::NotReady);
}

#[tokio::test]
async fn the_epochs_are_those_of_the_moment_of_issue() {
    let world = World::new().await;
    // Disabling and enabling raises the epoch, so that the tokens from before stay dead.
    for state in
        [countersign_model::client::ClientState::Disabled, countersign_model::client::ClientState::Active]
    {
        world.write(Write::SetClientState { client: id("test-shop"), state, at: NOW }).await;
    }
    assert_eq!(world.token(world.shop()).await.epoch(), TokenEpoch { client: 3, credential: 2 });
}

#[tokio::test]
async fn rule_g11_a_token_that_the_gateway_would_not_read_is_not_issued() {
    let world = World::new().await;
    let scopes: Vec<String> = (0..70).map(|n| format!("{n:0>100}")).collect();
    let all = scopes.iter().map(|scope| (scope.parse().unwrap(), String::new())).collect();
    let api = Arc::new(Api { name: "bank".into(), audience: AUDIENCE.into(), scopes: all });
    let settings = Settings::new(ISSUER.into(), vec![api], vec![], 300, MutualTls::AtIssuer).unwrap();
    let many = client("many-scopes", Environment::Sandbox, AuthMethod::ClientSecretPost, &scopes.join(" "));
    world.write(Write::InsertClient(many)).await;
    world.write(Write::InsertCredential(world.secret_credential("many-scopes", SECRET))).await;
    let endpoint = world.endpoint().await;
    endpoint.settings.store(Arc::new(settings));
    let ask = async |scope: &str| {
        let form = format!(
            "grant_type=client_credentials&client_id=many-scopes&client_secret={SECRET}&scope={scope}"
        );
        world.send_to(&endpoint, Call::form(&form)).await
    };
    let limit = Limits::default().size_bytes;
    let mut longest = 0;
    for count in 50..60 {
        let outcome = ask(&scopes[..count].join("+")).await;
        match outcome.result {
            Ok(token) => longest = token.access_token.expose().len(),
            Err(denial) => {
                assert_eq!(denial.reason(), ReasonCode::ScopeNotAllowed);
                assert!(denial.operator_note().unwrap().contains("8192"), "{denial}");
                assert_eq!(outcome.event.facts.jti, None);
            }
        }
    }
    assert!((limit - 200..=limit).contains(&longest), "{longest}");
    // Without `scope` as well: all that the client has.
    assert_eq!(ask("").await.result.unwrap_err().reason(), ReasonCode::ScopeNotAllowed);
}
