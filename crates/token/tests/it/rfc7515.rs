//! RFC 7515 (JWS) and RFC 8037 (EdDSA): their own examples, signed by their authors.

use countersign_token::{Algorithm, Jwk, JwkSet, Limits, TokenError, VerificationKeys, jws};
use serde_json::json;

const ALL: Limits = Limits { size_bytes: 8192, algorithms: &Algorithm::ALL };

/// The examples have no `kid`, and a key is found by `kid` only: so each one proves that rule first.
fn without_kid(token: &str, jwk: serde_json::Value) {
    let set = JwkSet::new(vec![Jwk::from_json(jwk.to_string().as_bytes()).unwrap()]);
    let keys = VerificationKeys::from_jwks(&set).unwrap();
    assert_eq!(jws::verify(token, &keys, &ALL).unwrap_err(), TokenError::KeyUnknown);
}

#[test]
fn appendix_a_3_and_a_4_of_rfc_8037_name_no_key_and_are_refused() {
    without_kid(
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        json!({"kty": "EC", "crv": "P-256", "kid": "a", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
    );
    without_kid(
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
    );
}

#[test]
fn eddsa_is_verified_where_it_is_allowed() {
    use crate::support::{base64, unbase64};
    use aws_lc_rs::signature::Ed25519KeyPair;
    // RFC 8037 appendix A.1.
    let seed = unbase64("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
    let public = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, &unbase64(public)).unwrap();
    let input = format!("{}.{}", base64(r#"{"alg":"EdDSA","kid":"a"}"#), base64("payload"));
    let token = format!("{input}.{}", base64(pair.sign(input.as_bytes())));
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": public}).to_string();
    let set = JwkSet::new(vec![Jwk::from_json(jwk.as_bytes()).unwrap()]);
    let keys = VerificationKeys::from_jwks(&set).unwrap();
    assert_eq!(jws::verify(&token, &keys, &ALL).unwrap().payload, b"payload");
    assert_eq!(jws::verify(&token, &keys, &Limits::default()).unwrap_err(), TokenError::AlgorithmRefused);
}
