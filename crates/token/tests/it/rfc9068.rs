//! RFC 9068: JWT profile for access tokens (rule K5).

use crate::support::*;
use countersign_model::{Environment, Scopes};
use countersign_token::{Limits, TokenError, assemble, verify};
use serde_json::json;

#[test]
fn rule_k5_section_2_the_tokens_that_we_issue_have_every_claim() {
    let key = TestKey::new();
    let input = issued().signing_input(&key.id());
    let signature = key.sign(input.as_bytes());
    let token = assemble(input, &signature);
    let parts: Vec<serde_json::Value> =
        token.split('.').take(2).map(|part| serde_json::from_slice(&unbase64(part)).unwrap()).collect();
    assert_eq!(parts[0], json!({"alg": "ES256", "typ": "at+jwt", "kid": key.id().0}));
    assert_eq!(
        parts[1],
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "acme-pay", "client_id": "acme-pay",
            "iat": 1_800_000_000, "exp": 1_800_000_300, "jti": "01JZ8Q0M3T4V6X8Z0A2C4E6G8J",
            "scope": "data:read pay:write",
            "cnf": {"x5t#S256": "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s"},
            "countersign": {
                "environment": "production", "credential": "01JZ8Q0M3T4V6X8Z0A2C4E6G8J",
                "epoch": {"client": 3, "credential": 7}
            }
        })
    );
    assert!(parts[1]["aud"].is_string(), "written as one string");
}

#[test]
fn what_we_issue_is_what_we_read() {
    let key = TestKey::new();
    let claims = issued();
    let input = claims.signing_input(&key.id());
    let signature = key.sign(input.as_bytes());
    let token = verify(&assemble(input, &signature), &key.keys(), &Limits::default()).unwrap();
    assert_eq!(token.key_id(), &key.id());
    assert_eq!(token.issuer(), claims.issuer);
    assert_eq!(token.audiences(), [claims.audience]);
    assert_eq!(token.client_id(), &claims.client_id);
    assert_eq!(token.token_id(), claims.token_id);
    assert_eq!(token.scopes(), &claims.scopes);
    assert_eq!(token.issued_at(), claims.issued_at);
    assert_eq!(token.expires_at(), claims.expires_at);
    assert_eq!(token.environment(), Environment::Production);
    assert_eq!(token.credential(), claims.credential);
    assert_eq!(token.epoch(), claims.epoch);
    assert_eq!(token.bound_to(), Some(&CERTIFICATE));
    assert_eq!(token.check(&expectations()), Ok(()));
}

#[test]
fn rule_k5_section_2_2_a_missing_claim_is_named() {
    for claim in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "countersign"] {
        assert_eq!(verified(json!({ claim: null })).unwrap_err(), TokenError::ClaimMissing(claim));
    }
    for member in ["environment", "credential", "epoch"] {
        let mut private = claims(json!({}))["countersign"].clone();
        private.as_object_mut().unwrap().remove(member);
        assert_eq!(
            verified(json!({ "countersign": private })).unwrap_err(),
            TokenError::ClaimMissing(member)
        );
    }
}

#[test]
fn claims_of_the_wrong_type_are_refused() {
    for (claim, value) in [
        ("iss", json!(1)),
        ("exp", json!("1800000300")),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("iat", json!(true)),
        ("aud", json!(1)),
        ("aud", json!({"a": 1})),
        ("aud", json!(["a", 1])),
        ("sub", json!([])),
        ("sub", json!("other-bank")),
        ("client_id", json!("Acme Pay")),
        ("jti", json!(7)),
        ("scope", json!(["data:read"])),
        ("scope", json!("a  b")),
        ("countersign", json!("x")),
    ] {
        let error = verified(json!({ claim: value })).unwrap_err();
        assert!(matches!(error, TokenError::Malformed(_)), "{claim}={value}: {error}");
    }
}

#[test]
fn section_4_typ_must_be_that_of_an_access_token() {
    let key = TestKey::new();
    let with_typ = |typ| {
        let token = key.token_of(&key.header(json!({ "typ": typ })), &claims(json!({})).to_string());
        verify(&token, &key.keys(), &Limits::default()).map(drop)
    };
    for typ in ["at+jwt", "application/at+jwt", "AT+JWT", "Application/AT+JWT"] {
        assert_eq!(with_typ(json!(typ)), Ok(()), "{typ}");
    }
    for typ in [json!("JWT"), json!(""), json!("at+jwt "), json!("token-introspection+jwt"), json!(null)] {
        assert_eq!(with_typ(typ.clone()), Err(TokenError::TypeWrong), "{typ}");
    }
    assert_eq!(with_typ(json!(1)), Err(TokenError::Malformed("typ")));
}

#[test]
fn section_4_aud_may_be_a_list_that_contains_this_api() {
    assert_eq!(verified(json!({"aud": ["x", AUDIENCE]})).unwrap().check(&expectations()), Ok(()));
    assert_eq!(
        verified(json!({"aud": ["x"]})).unwrap().check(&expectations()),
        Err(TokenError::AudienceWrong)
    );
    assert_eq!(verified(json!({"aud": []})).unwrap().check(&expectations()), Err(TokenError::AudienceWrong));
}

#[test]
fn a_token_without_scope_has_none() {
    assert_eq!(verified(json!({"scope": null})).unwrap().scopes(), &Scopes::default());
}

#[test]
fn times_may_have_fractions() {
    let token = verified(json!({"exp": 1_800_000_000.25, "iat": 1.8e9})).unwrap();
    assert_eq!(token.expires_at().unix_ms(), 1_800_000_000_250);
    assert_eq!(token.issued_at(), NOW);
}
