//! An access token before anything is known about it. Nobody but the holder of the key can make one that passes.
#![no_main]

use std::sync::LazyLock;

use countersign_token::{JwkSet, Limits, VerificationKeys, verify};

static KEYS: LazyLock<VerificationKeys> = LazyLock::new(|| {
    // RFC 7515 appendix A.3.1, with a `kid`.
    let set = br#"{"keys":[{"kty":"EC","crv":"P-256","kid":"k","alg":"ES256","use":"sig",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    let set = JwkSet::from_json(set).expect("a key set");
    VerificationKeys::from_jwks(&set).expect("keys")
});

libfuzzer_sys::fuzz_target!(|token: &str| {
    assert!(verify(token, &KEYS, &Limits::default()).is_err());
});
