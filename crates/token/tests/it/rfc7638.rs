//! RFC 7638 and RFC 8037 appendix A.3 (thumbprints), RFC 7517 (JWK), RFC 5480 and 8410 (SubjectPublicKeyInfo).

use crate::support::{TestKey, unbase64};
use countersign_token::{Algorithm, Jwk, JwkSet, KeyError};
use serde_json::json;

const RSA_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

#[test]
fn section_3_1_the_example() {
    let jwk = json!({"kty": "RSA", "n": RSA_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}).to_string();
    let jwk = Jwk::from_json(jwk.as_bytes()).unwrap();
    assert_eq!(jwk.thumbprint().0, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    assert_eq!(jwk.key_id(), Some("2011-04-29"));
    assert_eq!(jwk.algorithms(), [Algorithm::Rs256]);
}

#[test]
fn rfc_8037_appendix_a_3() {
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
        .to_string();
    assert_eq!(
        Jwk::from_json(jwk.as_bytes()).unwrap().thumbprint().0,
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
}

#[test]
fn a_key_reads_the_same_from_spki_and_from_json() {
    let jwk = TestKey::new().jwk;
    let json = jwk.to_json();
    let octets = |member: &str| unbase64(json[member].as_str().unwrap());
    let p256_prefix = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
    let prefix: Vec<u8> = (0..p256_prefix.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&p256_prefix[i..i + 2], 16).unwrap())
        .collect();
    let spki = [prefix, octets("x"), octets("y")].concat();
    let read = Jwk::from_spki(&spki).unwrap();
    assert_eq!(read, jwk);
    assert_eq!(read.key_id(), Some(jwk.thumbprint().0.as_str()));
    for length in 0..spki.len() {
        assert!(Jwk::from_spki(&spki[..length]).is_err(), "{length}");
    }
    let mut off_the_curve = spki.clone();
    *off_the_curve.last_mut().unwrap() ^= 1;
    assert!(Jwk::from_spki(&off_the_curve).is_err());
    assert!(Jwk::from_spki(&[spki, vec![0]].concat()).is_err());
}

#[test]
fn an_rsa_key_reads_from_spki_and_needs_to_be_told_its_algorithm() {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::KeyPair as _;
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let jwk = Jwk::from_spki(spki.as_ref()).unwrap();
    assert_eq!(jwk.algorithms(), [Algorithm::Ps256, Algorithm::Rs256]);
    assert_eq!(jwk.clone().with_algorithm(Algorithm::Ps256).unwrap().algorithms(), [Algorithm::Ps256]);
    assert!(jwk.clone().with_algorithm(Algorithm::Es256).is_err());
    assert_eq!(Jwk::from_json(jwk.to_json().to_string().as_bytes()).unwrap(), jwk);
}

#[test]
fn section_4_of_rfc_7517_members_must_be_of_their_type_and_fit_together() {
    let check = |changes: serde_json::Value, expected: KeyError| {
        let mut jwk = TestKey::new().jwk.to_json();
        for (name, value) in changes.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        assert_eq!(Jwk::from_json(jwk.to_string().as_bytes()), Err(expected), "{changes}");
    };
    check(json!({"kty": "oct"}), KeyError::Unsupported("kty"));
    check(json!({"kty": 1}), KeyError::Malformed("kty"));
    check(json!({"kty": "RSA"}), KeyError::Malformed("n"));
    check(json!({"crv": "P-384"}), KeyError::Unsupported("crv"));
    check(json!({"alg": "ES384"}), KeyError::Unsupported("alg"));
    check(json!({"alg": "RS256"}), KeyError::Malformed("alg and kty do not fit"));
    check(json!({"use": "enc"}), KeyError::Unsupported("use"));
    check(json!({"key_ops": ["sign"]}), KeyError::Unsupported("key_ops"));
    check(json!({"key_ops": "verify"}), KeyError::Malformed("key_ops"));
    check(json!({"x": "AA"}), KeyError::Malformed("x"));
    check(json!({"x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEV"}), KeyError::Malformed("x"));
    check(
        json!({"x": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
        KeyError::Weak("not a valid public key"),
    );
    check(json!({"kid": 1}), KeyError::Malformed("kid"));
}

#[test]
fn section_5_of_rfc_7517_keys_that_we_do_not_use_are_passed_over() {
    let good = TestKey::new().jwk.to_json();
    let set = json!({"keys": [{"kty": "unknown"}, {"kty": "EC", "crv": "P-521"}, good, {"kty": "RSA", "use": "enc"}], "more": 1});
    let set = JwkSet::from_json(set.to_string().as_bytes()).unwrap();
    assert_eq!(set.keys(), [TestKey::new().jwk]);
    assert_eq!(set.to_json(), json!({"keys": [good]}));
    for text in ["", "{}", "[]", r#"{"keys":{}}"#, r#"{"keys":[1]}"#, r#"{"keys":[],"keys":[]}"#] {
        assert!(JwkSet::from_json(text.as_bytes()).is_err(), "{text}");
    }
}
