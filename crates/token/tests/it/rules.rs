//! Rules C7, C8, G2, G3, G4, G11 and G13.

use crate::support::*;
use countersign_model::{Environment, ReasonCode, Thumbprint, Timestamp};
use countersign_token::{
    Algorithm, Binding, Expectations, Jwk, JwkSet, KeyError, Limits, TokenError, VerificationKeys, verify,
};
use serde_json::json;

fn refused(token: &str) -> TokenError {
    verify(token, &TestKey::new().keys(), &Limits::default()).unwrap_err()
}

#[test]
fn rule_c7_alg_none_is_refused() {
    let payload = base64(claims(json!({})).to_string());
    for alg in ["none", "None", "NONE", "nOnE"] {
        let header = base64(TestKey::new().header(json!({ "alg": alg })));
        assert_eq!(refused(&format!("{header}.{payload}.")), TokenError::AlgorithmRefused, "{alg}");
        let with_signature = TestKey::new().token_of(&TestKey::new().header(json!({ "alg": alg })), "{}");
        assert_eq!(refused(&with_signature), TokenError::AlgorithmRefused, "{alg} with a signature");
    }
}

#[test]
fn rule_c7_hmac_with_the_public_key_as_secret_is_refused() {
    use aws_lc_rs::hmac;
    let key = TestKey::new();
    let spellings =
        [key.jwk.to_json().to_string().into_bytes(), unbase64(key.jwk.to_json()["x"].as_str().unwrap())];
    for secret in spellings {
        let input = format!(
            "{}.{}",
            base64(key.header(json!({"alg": "HS256"}))),
            base64(claims(json!({})).to_string())
        );
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), input.as_bytes());
        assert_eq!(refused(&format!("{input}.{}", base64(tag))), TokenError::AlgorithmRefused);
    }
}

#[test]
fn rule_c7_only_es256_is_accepted_by_default() {
    for alg in ["RS256", "PS256", "EdDSA", "ES384", "ES256K", "es256", ""] {
        let token = TestKey::new().token_of(&TestKey::new().header(json!({ "alg": alg })), "{}");
        assert_eq!(refused(&token), TokenError::AlgorithmRefused, "{alg}");
    }
}

#[test]
fn rule_c7_a_key_verifies_its_own_algorithm_only() {
    // The allow-list has both, but the key of that name is an EC key.
    let key = TestKey::new();
    let limits = Limits { algorithms: &Algorithm::ALL, ..Limits::default() };
    for alg in ["RS256", "PS256", "EdDSA"] {
        let token = key.token_of(&key.header(json!({ "alg": alg })), "{}");
        assert_eq!(verify(&token, &key.keys(), &limits).unwrap_err(), TokenError::KeyUnknown, "{alg}");
    }
}

#[test]
fn rule_c8_keys_inside_a_token_are_not_trusted() {
    let attacker = TestKey::other();
    let embedded = [
        json!({"jwk": attacker.jwk.to_json()}),
        json!({"x5c": ["MIIB"]}),
        json!({"jku": "https://attacker.example/jwks"}),
        json!({"x5u": "https://attacker.example/cert"}),
    ];
    for parameter in embedded {
        // Under the name of our key the signature is wrong; under its own name the key is unknown.
        let mut header: serde_json::Value =
            serde_json::from_str(&TestKey::new().header(parameter.clone())).unwrap();
        let forged = attacker.token_of(&header.to_string(), &claims(json!({})).to_string());
        assert_eq!(refused(&forged), TokenError::SignatureInvalid, "{parameter}");
        header["kid"] = attacker.id().0.into();
        let forged = attacker.token_of(&header.to_string(), &claims(json!({})).to_string());
        assert_eq!(refused(&forged), TokenError::KeyUnknown, "{parameter}");
        header.as_object_mut().unwrap().remove("kid");
        let forged = attacker.token_of(&header.to_string(), &claims(json!({})).to_string());
        assert_eq!(refused(&forged), TokenError::KeyUnknown, "{parameter} without kid");
        // And a token of ours that bears one is verified with our key all the same.
        let key = TestKey::new();
        let token = key.token_of(&key.header(parameter), &claims(json!({})).to_string());
        assert!(verify(&token, &key.keys(), &Limits::default()).is_ok());
    }
}

#[test]
fn rule_c8_kid_only_looks_a_key_up() {
    for kid in ["", "../../etc/passwd", "' OR 1=1 --", "\u{1b}[31m", "*"] {
        let token = TestKey::new().token_of(&TestKey::new().header(json!({ "kid": kid })), "{}");
        assert_eq!(refused(&token), TokenError::KeyUnknown, "{kid:?}");
    }
    let number = TestKey::new().token_of(&TestKey::new().header(json!({ "kid": 1 })), "{}");
    assert_eq!(refused(&number), TokenError::Malformed("kid"));
}

#[test]
fn rule_c8_keys_of_one_name_and_algorithm_are_refused_and_of_two_algorithms_told_apart() {
    let named = |key: &TestKey| {
        let mut json = key.jwk.to_json();
        json["kid"] = "same".into();
        json
    };
    let twice = json!({"keys": [named(&TestKey::new()), named(&TestKey::other())]}).to_string();
    let set = JwkSet::from_json(twice.as_bytes()).unwrap();
    assert_eq!(VerificationKeys::from_jwks(&set).unwrap_err(), KeyError::Ambiguous);

    // RFC 8037 appendix A.1.
    let ed25519 = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "same"});
    let two_kinds = json!({"keys": [ed25519, named(&TestKey::new())]}).to_string();
    let keys = VerificationKeys::from_jwks(&JwkSet::from_json(two_kinds.as_bytes()).unwrap()).unwrap();
    let key = TestKey::new();
    let token = key.token_of(&key.header(json!({"kid": "same"})), &claims(json!({})).to_string());
    assert!(verify(&token, &keys, &Limits::default()).is_ok());
}

#[test]
fn rule_g2_the_first_failing_check_in_order_is_the_answer() {
    let key = TestKey::new();
    let stranger = TestKey::other();
    let no_claims = "{}";
    let huge = "x".repeat(8 * 1024);
    // Each token has the fault it is named after, and every later one as well.
    let size = format!("!{huge}.!.!");
    let form = "!.!.!".to_owned();
    let algorithm = stranger.token_of(r#"{"alg":"HS256","kid":"nobody","typ":"JWT"}"#, no_claims);
    let key_id = stranger.token_of(r#"{"alg":"ES256","kid":"nobody","typ":"JWT"}"#, no_claims);
    let signature = stranger.token_of(&key.header(json!({"typ": "JWT"})), no_claims);
    let typ = key.token_of(&key.header(json!({"typ": "JWT"})), no_claims);
    let claim = key.token_of(&key.header(json!({})), no_claims);
    for (token, expected) in [
        (size, ReasonCode::TokenTooLarge),
        (form, ReasonCode::TokenMalformed),
        (algorithm, ReasonCode::TokenAlgorithmRefused),
        (key_id, ReasonCode::TokenKeyUnknown),
        (signature, ReasonCode::TokenSignatureInvalid),
        (typ, ReasonCode::TokenTypeWrong),
        (claim, ReasonCode::TokenClaimMissing),
    ] {
        assert_eq!(refused(&token).reason(), expected);
    }
}

#[test]
fn rule_g2_issuer_audience_environment_and_times_are_checked_in_order() {
    let token = verified(json!({"nbf": NOW.unix_s()})).unwrap();
    let good = expectations();
    assert_eq!(token.check(&good), Ok(()));
    let late = NOW.plus_s(1000);
    let wrong = Expectations {
        issuer: "https://localhost:8443/",
        audience: "https://localhost:8443",
        environment: Environment::Sandbox,
        now: late,
        skew_s: 5,
    };
    assert_eq!(token.check(&wrong), Err(TokenError::IssuerWrong));
    let wrong = Expectations { issuer: ISSUER, ..wrong };
    assert_eq!(token.check(&wrong), Err(TokenError::AudienceWrong));
    let wrong = Expectations { audience: AUDIENCE, ..wrong };
    assert_eq!(token.check(&wrong), Err(TokenError::EnvironmentWrong));
    let wrong = Expectations { environment: Environment::Production, ..wrong };
    assert_eq!(token.check(&wrong), Err(TokenError::Expired));
}

#[test]
fn rule_g2_skew_is_5_seconds_and_never_more_than_60() {
    let token = verified(json!({})).unwrap();
    let at = |now: Timestamp, skew_s| token.check(&Expectations { now, skew_s, ..expectations() });
    let exp = NOW.plus_s(300);
    let ms = |moment: Timestamp, ms: i64| Timestamp::from_unix_ms(moment.unix_ms() + ms);
    assert_eq!(at(ms(exp, 4_999), 5), Ok(()));
    assert_eq!(at(ms(exp, 5_000), 5), Err(TokenError::Expired));
    assert_eq!(at(ms(exp, 0), 0), Err(TokenError::Expired), "not accepted on exp itself");
    assert_eq!(at(ms(exp, 0), -100), Err(TokenError::Expired));
    assert_eq!(at(ms(exp, 59_999), 10_000), Ok(()));
    assert_eq!(at(ms(exp, 60_000), 10_000), Err(TokenError::Expired));
    assert_eq!(at(ms(NOW, -5_000), 5), Ok(()));
    assert_eq!(at(ms(NOW, -5_001), 5), Err(TokenError::NotYetValid), "iat in the future");

    let embargoed = verified(json!({"nbf": NOW.unix_s() + 100})).unwrap();
    assert_eq!(embargoed.check(&expectations()), Err(TokenError::NotYetValid));
    assert_eq!(embargoed.check(&Expectations { now: NOW.plus_s(95), ..expectations() }), Ok(()));
}

#[test]
fn rule_g3_a_token_with_cnf_is_always_checked() {
    let token = verified(json!({})).unwrap();
    let other = Thumbprint([0xac; 32]);
    for required in [true, false] {
        assert_eq!(token.confirm(Some(&CERTIFICATE), required), Ok(Binding::Certificate(CERTIFICATE)));
        assert_eq!(token.confirm(None, required), Err(TokenError::CertificateMissing));
        assert_eq!(token.confirm(Some(&other), required), Err(TokenError::CertificateMismatch));
    }
}

#[test]
fn rule_g3_a_route_that_wants_bound_tokens_refuses_one_without_cnf() {
    let token = verified(json!({"cnf": null})).unwrap();
    assert_eq!(token.confirm(Some(&CERTIFICATE), true), Err(TokenError::BindingMissing));
    assert_eq!(token.confirm(None, true), Err(TokenError::BindingMissing));
    assert_eq!(token.confirm(Some(&CERTIFICATE), false), Ok(Binding::None));
}

#[test]
fn rule_g3_unknown_cnf_member_is_refused() {
    let ours = CERTIFICATE.to_string();
    for cnf in [
        json!({}),
        json!("x"),
        json!([]),
        json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        json!({"jwk": {}}),
        json!({"x5t": "abc"}),
        json!({"x5t#S256": 1}),
        json!({"x5t#S256": ""}),
        json!({"x5t#S256": format!("{ours}=")}),
        json!({"x5t#S256": "ab".repeat(32)}),
        json!({"x5t#S256": ours, "unknown": true}),
    ] {
        let token = verified(json!({ "cnf": cnf })).unwrap();
        for required in [true, false] {
            assert_eq!(token.confirm(Some(&CERTIFICATE), required), Err(TokenError::BindingUnknown), "{cnf}");
        }
    }
}

#[test]
fn rule_k7_both_cnf_members_must_verify_so_one_that_we_cannot_verify_refuses() {
    let token = verified(
        json!({"cnf": {"x5t#S256": CERTIFICATE.to_string(), "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}),
    );
    assert_eq!(token.unwrap().confirm(Some(&CERTIFICATE), true), Err(TokenError::BindingUnknown));
}

#[test]
fn rule_g4_every_single_bit_of_the_thumbprint_counts() {
    let token = verified(json!({})).unwrap();
    for bit in 0..256 {
        let mut other = CERTIFICATE;
        other.0[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(token.confirm(Some(&other), true), Err(TokenError::CertificateMismatch), "bit {bit}");
    }
}

#[test]
fn rule_g11_a_token_is_at_most_8_kb() {
    let key = TestKey::new();
    let padded = |bytes: usize| {
        let overhead = key.token(&claims(json!({"x": ""}))).len();
        let mut token = key.token(&claims(json!({"x": "a".repeat((bytes - overhead) / 4 * 3)})));
        if token.len() < bytes {
            token = key
                .token(&claims(json!({"x": "a".repeat((bytes - overhead) / 4 * 3 + (bytes - token.len()))})));
        }
        token
    };
    assert!(verify(&padded(8000), &key.keys(), &Limits::default()).is_ok());
    assert_eq!(refused(&padded(8400)), TokenError::TooLarge);
    assert_eq!(refused(&"a".repeat(8193)), TokenError::TooLarge);
    assert_eq!(refused(&"a".repeat(8192)), TokenError::Malformed("not three parts"));
}

#[test]
fn rule_g11_errors_repeat_nothing_of_the_token() {
    let marked = TestKey::new().token_of(&TestKey::new().header(json!({"kid": "MARK"})), "{\"MARK\":1}");
    for token in [marked, "MARK".into(), "MARK.MARK.MARK".into()] {
        let error = refused(&token);
        assert!(!format!("{error} {error:?}").contains("MARK"));
    }
}

#[test]
fn rule_g13_the_verified_token_depends_on_neither_caller_nor_time() {
    // The same cached value answers differently to different callers and at different times.
    let cached = verified(json!({})).unwrap();
    assert!(cached.check(&expectations()).is_ok());
    assert!(cached.check(&Expectations { now: NOW.plus_s(306), ..expectations() }).is_err());
    assert!(cached.confirm(Some(&CERTIFICATE), true).is_ok());
    assert!(cached.confirm(None, true).is_err());
}

#[test]
fn truncated_tokens_are_refused() {
    let token = TestKey::new().token(&claims(json!({})));
    for length in 0..token.len() {
        assert!(verify(&token[..length], &TestKey::new().keys(), &Limits::default()).is_err(), "{length}");
    }
}

#[test]
fn only_the_compact_serialisation_is_read() {
    let token = TestKey::new().token(&claims(json!({})));
    let parts: Vec<&str> = token.split('.').collect();
    let flattened = json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]}).to_string();
    for text in [
        flattened,
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{}", parts[2]),
        format!("{token} "),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{}..{}", parts[0], parts[2]),
        format!("{}={}", token, ""),
        "..".into(),
        String::new(),
    ] {
        assert!(verify(&text, &TestKey::new().keys(), &Limits::default()).is_err(), "{text}");
    }
}

#[test]
fn duplicate_members_are_refused_also_nested() {
    let key = TestKey::new();
    let keys = key.keys();
    let twice =
        |header: &str, payload: &str| verify(&key.token_of(header, payload), &keys, &Limits::default());
    let header = key.header(json!({}));
    let payload = claims(json!({})).to_string();
    assert!(twice(&header, &payload).is_ok());
    let doubled = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    assert_eq!(
        twice(&doubled(&header, r#""alg":"ES256""#), &payload).unwrap_err(),
        TokenError::Malformed("header")
    );
    assert_eq!(
        twice(&header, &doubled(&payload, r#""aud":"x""#)).unwrap_err(),
        TokenError::Malformed("claims")
    );
    assert_eq!(
        twice(&header, &doubled(&payload, r#""\u0061ud":"x""#)).unwrap_err(),
        TokenError::Malformed("claims")
    );
    let nested = payload.replacen(r#""x5t#S256""#, r#""x5t#S256":"x","x5t#S256""#, 1);
    assert_ne!(nested, payload);
    assert_eq!(twice(&header, &nested).unwrap_err(), TokenError::Malformed("claims"));
}

#[test]
fn crit_is_refused() {
    for crit in [json!(["exp"]), json!([]), json!(["b64"])] {
        let key = TestKey::new();
        let token =
            key.token_of(&key.header(json!({"crit": crit, "b64": false})), &claims(json!({})).to_string());
        assert_eq!(refused(&token), TokenError::Malformed("crit"));
    }
}

#[test]
fn private_and_symmetric_keys_are_refused_with_their_whole_set() {
    let good = TestKey::new().jwk.to_json();
    let mut private = good.clone();
    private["d"] = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI".into();
    let symmetric =
        json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMko", "alg": "HS256", "kid": "a"});
    for bad in [private, symmetric] {
        assert_eq!(Jwk::from_json(bad.to_string().as_bytes()), Err(KeyError::Private));
        let set = json!({"keys": [good, bad]}).to_string();
        assert_eq!(JwkSet::from_json(set.as_bytes()), Err(KeyError::Private));
    }
}

/// Every key is parsed, and looked at for known weaknesses: an RSA key of 8192 bits costs a tenth of a millisecond.
#[test]
fn rule_t13_a_key_set_is_bounded() {
    let set = |count: usize, padding: usize| {
        let keys = vec![TestKey::new().jwk.to_json(); count];
        JwkSet::from_json(json!({"keys": keys, "padding": "x".repeat(padding)}).to_string().as_bytes())
    };
    assert_eq!(set(50, 0).map(|set| set.keys().len()), Ok(50));
    assert_eq!(set(51, 0), Err(KeyError::Malformed("a set of more than 50 keys")));
    assert_eq!(set(1, 128 * 1024), Err(KeyError::Malformed("a set of more than 128 KiB")));
    // Those of a kind that is passed over count as well.
    let foreign = vec![json!({"kty": "other"}); 51];
    let set = JwkSet::from_json(json!({"keys": foreign}).to_string().as_bytes());
    assert_eq!(set, Err(KeyError::Malformed("a set of more than 50 keys")));
}
