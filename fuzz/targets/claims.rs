//! The claims of a token with a good signature: a bug of ours, or a stolen token key, must not break the gateway.
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign_model::{Environment, Timestamp};
use countersign_token::{Expectations, JwkSet, Limits, VerificationKeys, assemble, verify};

static KEY: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"));

static KEYS: LazyLock<VerificationKeys> = LazyLock::new(|| {
    let point = KEY.public_key().as_ref();
    let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
    let set = format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"k","x":"{x}","y":"{y}"}}]}}"#);
    VerificationKeys::from_jwks(&JwkSet::from_json(set.as_bytes()).expect("a key set")).expect("keys")
});

libfuzzer_sys::fuzz_target!(|claims: &[u8]| {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","typ":"at+jwt","kid":"k"}"#);
    let input = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = KEY.sign(&SystemRandom::new(), input.as_bytes()).expect("a signature");
    let Ok(token) = verify(&assemble(input, signature.as_ref()), &KEYS, &Limits::default()) else { return };

    let now = Timestamp::from_unix_s(1_800_000_000);
    let expect = |environment| Expectations {
        issuer: "https://localhost:8443",
        audience: "https://localhost:8443/",
        environment,
        now,
        skew_s: i64::MAX,
    };
    let good =
        [Environment::Sandbox, Environment::Production].map(|place| token.check(&expect(place)).is_ok());
    assert_ne!(good, [true, true], "good in both environments");
    // A bound token never passes without its certificate.
    if token.bound_to().is_some() {
        assert!(token.confirm(None, false).is_err());
    }
    let _ = token.confirm(None, true).expect_err("no certificate, no binding");
});
