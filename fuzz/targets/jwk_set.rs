//! A JSON Web Key Set. What is read can be written, and reads again as the same.
#![no_main]

use countersign_token::{JwkSet, VerificationKeys};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(set) = JwkSet::from_json(data) else { return };
    let written = set.to_json().to_string();
    let again = JwkSet::from_json(written.as_bytes()).expect("what we write is a key set");
    assert_eq!(again.to_json(), set.to_json());
    let _ = VerificationKeys::from_jwks(&set);
});
