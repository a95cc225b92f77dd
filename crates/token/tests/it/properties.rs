//! What holds for every token: it reads back as written, and no character of it can be changed.

use crate::support::*;
use countersign_model::{CredentialId, Environment, Scope, Thumbprint, Timestamp};
use countersign_token::{AccessTokenClaims, Jwk, JwkSet, Limits, TokenEpoch, assemble, verify};
use proptest::prelude::*;

prop_compose! {
    fn any_claims()(
        issuer in "https://[a-z]{1,20}(:[0-9]{2,4})?",
        audience in any::<String>().prop_filter("present", |text| !text.is_empty() && text.len() < 500),
        client_id in "[a-z0-9][a-z0-9._-]{0,63}",
        token_id in "[0-9A-Z]{26}",
        scopes in prop::collection::vec("[!#-\\[\\]-~]{1,20}", 0..8),
        issued_at_s in 0i64..4_000_000_000,
        lifetime_s in 1i64..86_400,
        production in any::<bool>(),
        credential in "[0-7][0-9A-HJKMNP-TV-Z]{25}",
        epoch in any::<(u32, u32)>(),
        confirmation in any::<Option<[u8; 32]>>(),
    ) -> AccessTokenClaims {
        AccessTokenClaims {
            issuer,
            audience,
            client_id: client_id.parse().unwrap(),
            token_id,
            scopes: scopes.iter().map(|scope| scope.parse::<Scope>().unwrap()).collect(),
            issued_at: Timestamp::from_unix_s(issued_at_s),
            expires_at: Timestamp::from_unix_s(issued_at_s + lifetime_s),
            environment: if production { Environment::Production } else { Environment::Sandbox },
            credential: credential.parse::<CredentialId>().unwrap(),
            epoch: TokenEpoch { client: epoch.0, credential: epoch.1 },
            confirmation: confirmation.map(Thumbprint),
        }
    }
}

proptest! {
    #[test]
    fn every_token_that_we_issue_reads_back_as_written(claims in any_claims()) {
        let key = TestKey::new();
        let input = claims.signing_input(&key.id());
        let signature = key.sign(input.as_bytes());
        let token = verify(&assemble(input, &signature), &key.keys(), &Limits::default()).unwrap();
        prop_assert_eq!(token.issuer(), &claims.issuer);
        prop_assert_eq!(token.audiences(), std::slice::from_ref(&claims.audience));
        prop_assert_eq!(token.client_id(), &claims.client_id);
        prop_assert_eq!(token.token_id(), &claims.token_id);
        prop_assert_eq!(token.scopes(), &claims.scopes);
        prop_assert_eq!(token.issued_at(), claims.issued_at);
        prop_assert_eq!(token.expires_at(), claims.expires_at);
        prop_assert_eq!(token.environment(), claims.environment);
        prop_assert_eq!(token.credential(), claims.credential);
        prop_assert_eq!(token.epoch(), claims.epoch);
        prop_assert_eq!(token.bound_to(), claims.confirmation.as_ref());
    }

    #[test]
    fn no_character_of_a_token_can_be_changed(at in any::<prop::sample::Index>(), to in "[ -~]") {
        let key = TestKey::new();
        let token = key.token(&claims(serde_json::json!({})));
        let at = at.index(token.len());
        let mut mutated = token.clone();
        mutated.replace_range(at..=at, &to);
        prop_assume!(mutated != token);
        prop_assert!(verify(&mutated, &key.keys(), &Limits::default()).is_err());
    }

    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[A-Za-z0-9_.-]{0,200}") {
        let keys = TestKey::new().keys();
        let _ = verify(&text, &keys, &Limits::default());
        let _ = verify(&String::from_utf8_lossy(&bytes), &keys, &Limits::default());
        let _ = Jwk::from_json(&bytes);
        let _ = Jwk::from_spki(&bytes);
        let _ = JwkSet::from_json(&bytes);
    }
}

/// Exhaustive where it is cheap: every bit of every character of one token.
#[test]
fn no_bit_of_a_token_can_be_flipped() {
    let key = TestKey::new();
    let keys = key.keys();
    let token = key.token(&claims(serde_json::json!({})));
    for at in 0..token.len() {
        for bit in 0..7 {
            let mut bytes = token.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let mutated = String::from_utf8(bytes).unwrap();
            assert!(verify(&mutated, &keys, &Limits::default()).is_err(), "octet {at}, bit {bit}");
        }
    }
}
