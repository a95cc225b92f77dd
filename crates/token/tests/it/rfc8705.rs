//! RFC 8705 section 3: certificate-bound access tokens (rule K7).

use crate::support::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_model::Thumbprint;
use countersign_token::{Binding, Limits, TokenError, assemble, verify};

/// Appendix A, figure 6: the DER of the certificate.
const APPENDIX_A: &str = concat!(
    "MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAx",
    "ODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqG",
    "SM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ",
    "/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwID",
    "SQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOV",
    "bUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=",
);

#[test]
fn rule_k7_appendix_a_the_thumbprint_is_unpadded_base64url() {
    let key = TestKey::new();
    let mut claims = issued();
    let thumbprint = countersign_pki::thumbprint(&STANDARD.decode(APPENDIX_A).unwrap());
    // Figure 5. (The value in section 3.1 is none: it ends in bits that no 32 octets have.)
    let member = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";
    assert_eq!(member.parse::<Thumbprint>().unwrap(), thumbprint);
    assert!("bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2".parse::<Thumbprint>().is_err());
    claims.confirmation = Some(thumbprint);
    let input = claims.signing_input(&key.id());
    let payload = String::from_utf8(unbase64(input.split('.').nth(1).unwrap())).unwrap();
    assert!(payload.contains(&format!(r#""cnf":{{"x5t#S256":"{member}"}}"#)), "{payload}");
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
