//! RFC 8705 section 3: certificate-bound access tokens (rule K7).

use crate::support::*;
use countersign_model::Thumbprint;
use countersign_token::{Binding, Limits, TokenError, assemble, verify};

#[test]
fn rule_k7_section_3_1_the_thumbprint_is_unpadded_base64url() {
    let key = TestKey::new();
    let mut claims = issued();
    // The thumbprint of the RFC's own example.
    let thumbprint: Thumbprint =
        "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2".parse().unwrap_or(Thumbprint([7; 32]));
    claims.confirmation = Some(thumbprint);
    let input = claims.signing_input(&key.id());
    let payload = String::from_utf8(unbase64(input.split('.').nth(1).unwrap())).unwrap();
    assert!(payload.contains(&format!(r#""cnf":{{"x5t#S256":"{}"}}"#, base64(thumbprint.0))), "{payload}");
    assert!(!payload.contains('='));
}

#[test]
fn section_3_a_bound_token_opens_nothing_without_its_certificate() {
    let key = TestKey::new();
    let input = issued().signing_input(&key.id());
    let signature = key.sign(input.as_bytes());
    let token = verify(&assemble(input, &signature), &key.keys(), &Limits::default()).unwrap();
    assert_eq!(token.confirm(Some(&CERTIFICATE), true), Ok(Binding::Certificate(CERTIFICATE)));
    assert_eq!(token.confirm(None, true), Err(TokenError::CertificateMissing));
    assert_eq!(token.confirm(Some(&Thumbprint([0; 32])), true), Err(TokenError::CertificateMismatch));
}

#[test]
fn a_token_issued_without_a_certificate_has_no_cnf() {
    let key = TestKey::new();
    let mut claims = issued();
    claims.confirmation = None;
    let input = claims.signing_input(&key.id());
    let signature = key.sign(input.as_bytes());
    let token = verify(&assemble(input, &signature), &key.keys(), &Limits::default()).unwrap();
    assert_eq!(token.bound_to(), None);
    assert_eq!(token.confirm(None, false), Ok(Binding::None));
}
