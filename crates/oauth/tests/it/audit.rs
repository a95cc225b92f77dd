//! Rule I4: one event for every outcome, with all that is known and no secret.

use crate::support::*;
use countersign_model::Environment;
use countersign_model::ReasonCode;
use countersign_model::audit::{Actor, AuditAction, AuditEvent};
use countersign_policy::Denial;

#[tokio::test]
async fn rule_i4_an_issued_token_is_recorded_whole() {
    let world = World::new().await;
    let certificate = world.certificate("acme-pay");
    let outcome = world.send(world.acme().over(certificate.clone())).await;
    let event = outcome.event;
    let (_, claims) = decoded(outcome.result.unwrap().access_token.expose());
    assert_eq!(event.action, AuditAction::TokenIssued);
    assert_eq!(event.reason, None);
    assert_eq!(event.actor, Actor::Client(id("acme-pay")));
    assert_eq!(event.at, NOW);
    assert_eq!(event.reference.at(), NOW);
    let facts = event.facts;
    assert_eq!(facts.client, Some(id("acme-pay")));
    assert_eq!(facts.environment, Some(Environment::Production));
    assert_eq!(facts.auth_method.as_deref(), Some("tls_client_auth"));
    assert_eq!(facts.credential.unwrap().to_string(), claims["countersign"]["credential"]);
    assert_eq!(facts.jti.unwrap(), claims["jti"]);
    assert_eq!(facts.audience.as_deref(), Some(AUDIENCE));
    assert_eq!(facts.scope.as_deref(), Some("data:read pay:write"));
    assert_eq!(facts.source.unwrap().to_string(), "192.0.2.7");
    assert_eq!((facts.method.as_deref(), facts.path.as_deref()), (Some("POST"), Some("/oauth2/token")));
    let recorded = facts.certificate.unwrap();
    assert_eq!(recorded.issuer.unwrap().as_str(), "clients");
    assert_eq!(recorded.serial.as_ref(), Some(certificate.serial()));
    assert_eq!(recorded.thumbprint.as_ref(), Some(certificate.thumbprint()));
}

#[tokio::test]
async fn rule_i4_a_refusal_is_recorded_with_its_exact_reason() {
    let world = World::new().await;
    let event = world.send(world.shop().and("scope=nonsense")).await.event;
    assert_eq!(event.action, AuditAction::TokenRefused);
    assert_eq!(event.reason, Some(ReasonCode::ScopeNotAllowed));
    assert_eq!(event.actor, Actor::Client(id("test-shop")));
    assert_eq!(event.facts.scope.as_deref(), Some("nonsense"));
    assert!(event.facts.credential.is_some());
    assert!(event.facts.detail.is_some());
    assert_eq!(event.facts.jti, None);

    // Who only says that it is a client does not act as it in the record.
    let event = world
        .send(Call::form("grant_type=client_credentials&client_id=acme-pay&client_secret=guessed"))
        .await
        .event;
    assert_eq!(event.actor, Actor::Anonymous);
    assert_eq!(event.facts.client, Some(id("acme-pay")));

    let event = world.send(Call::form("")).await.event;
    assert_eq!((event.actor, event.reason), (Actor::Anonymous, Some(ReasonCode::RequestParameterMissing)));
}

#[tokio::test]
async fn rule_i4_a_request_that_broke_off_is_recorded_like_any_other() {
    let world = World::new().await;
    let certificate = world.certificate("acme-pay");
    let denial = Denial::new(ReasonCode::RequestTooSlow);
    let outcome = world.break_off(Call::form("").over(certificate.clone()), denial.clone()).await;
    assert_eq!(outcome.result.unwrap_err(), denial);
    let AuditEvent { action, reason, actor, facts, .. } = outcome.event;
    assert_eq!((action, reason), (AuditAction::TokenRefused, Some(ReasonCode::RequestTooSlow)));
    assert_eq!(actor, Actor::Anonymous);
    assert_eq!((facts.method.as_deref(), facts.path.as_deref()), (Some("POST"), Some("/oauth2/token")));
    assert_eq!(facts.certificate.unwrap().thumbprint.as_ref(), Some(certificate.thumbprint()));
    assert_eq!(facts.source.unwrap().to_string(), "192.0.2.7");
}

#[tokio::test]
async fn rule_i4_no_secret_and_no_token_is_recorded() {
    let world = World::new().await;
    let post = Call::form(&format!(
        "grant_type=client_credentials&client_id=post-shop&client_secret={SECRET}&scope=data:read"
    ));
    for call in [world.shop(), post, Call::form("grant_type=x").basic("test-shop", SECRET)] {
        let outcome = world.send(call).await;
        let record = serde_json::to_string(&outcome.event).unwrap();
        assert!(!record.contains(SECRET) && !record.contains("eyJ"), "{record}");
        assert!(!format!("{outcome:?}").contains(SECRET));
    }
}

#[tokio::test]
async fn the_use_of_a_credential_is_noted_on_success_only() {
    let world = World::new().await;
    world.refused(Call::form("grant_type=client_credentials").basic("test-shop", "wrong")).await;
    world.refused(world.shop().and("scope=nonsense")).await;
    assert!(world.usage.drain(10).is_none());
    world.token(world.shop()).await;
    assert_eq!(world.usage.drain(10).unwrap().writes.len(), 1);
}
