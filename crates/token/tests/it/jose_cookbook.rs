//! The JOSE cookbook (RFC 7520): keys of section 3 and signatures of section 4.

use crate::support::{tell, vectors};
use countersign_token::{Algorithm, Jwk, JwkSet, KeyError, Limits, TokenError, VerificationKeys, jws};
use serde_json::{Value, json};

#[test]
fn keys() {
    let mut passed = 0;
    let mut not_applicable = 0;
    for (file, expected) in [
        ("3_1.ec_public_key.json", Err(KeyError::Unsupported("crv"))),
        ("3_2.ec_private_key.json", Err(KeyError::Private)),
        ("3_3.rsa_public_key.json", Ok(())),
        ("3_4.rsa_private_key.json", Err(KeyError::Private)),
    ] {
        let Some(key) = vectors(&format!("jose-cookbook/jwk/{file}")) else { return };
        let read = Jwk::from_json(key.to_string().as_bytes());
        assert_eq!(read.as_ref().map(drop).map_err(|error| *error), expected, "{file}");
        match read {
            Ok(jwk) => {
                let published = jwk.to_json();
                assert_eq!(
                    (&published["n"], &published["e"], &published["kid"]),
                    (&key["n"], &key["e"], &key["kid"])
                );
                passed += 1;
            }
            Err(KeyError::Private) => passed += 1,
            Err(_) => not_applicable += 1,
        }
    }
    tell(&format!(
        "jose-cookbook jwk: run 4, passed {passed} (1 accepted, 2 private ones refused), \
         not applicable {not_applicable} (P-521 is not on the allow-list; refused)"
    ));
}

#[test]
fn signatures() {
    let mut passed = 0;
    let mut not_applicable = 0;
    for (file, expected) in [
        ("4_1.rsa_v15_signature.json", None),
        ("4_2.rsa-pss_signature.json", Some("PS384")),
        ("4_3.ecdsa_signature.json", Some("ES512")),
        ("4_4.hmac-sha2_integrity_protection.json", Some("HS256")),
    ] {
        let Some(example) = vectors(&format!("jose-cookbook/jws/{file}")) else { return };
        let input = &example["input"];
        let output = &example["output"];
        let verified = verify(output["compact"].as_str().unwrap(), &[public(&input["key"])]);
        match expected {
            None => {
                assert_eq!(
                    verified.unwrap().payload,
                    input["payload"].as_str().unwrap().as_bytes(),
                    "{file}"
                );
                passed += 1;
            }
            Some(alg) => {
                assert_eq!(input["alg"], alg);
                assert_eq!(verified.unwrap_err(), TokenError::AlgorithmRefused, "{file}");
                not_applicable += 1;
            }
        }
        for serialisation in ["json", "json_flat"] {
            let json = output[serialisation].to_string();
            assert!(
                matches!(verify(&json, &[public(&input["key"])]), Err(TokenError::Malformed(_))),
                "{file} {serialisation}"
            );
            passed += 1;
        }
    }
    let Some(example) = vectors("jose-cookbook/jws/4_8.multiple_signatures.json") else { return };
    let keys: Vec<Value> = example["input"]["key"].as_array().unwrap().iter().map(public).collect();
    let json = example["output"]["json"].to_string();
    assert!(matches!(verify(&json, &keys), Err(TokenError::Malformed(_))));
    passed += 1;
    tell(&format!(
        "jose-cookbook jws: run {}, passed {passed} (1 compact accepted, 9 JSON serialisations refused), \
         not applicable {not_applicable} (PS384, ES512, HS256 are not on the allow-list; refused)",
        passed + not_applicable
    ));
}

fn verify(token: &str, keys: &[Value]) -> Result<jws::VerifiedJws, TokenError> {
    let keys: Vec<&Value> = keys.iter().filter(|key| key["kty"] != "oct").collect();
    let set = JwkSet::from_json(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    let keys = VerificationKeys::from_jwks(&set).unwrap();
    jws::verify(token, &keys, &Limits { size_bytes: 8192, algorithms: &Algorithm::ALL })
}

/// The public half of a key that the cookbook prints whole.
fn public(key: &Value) -> Value {
    let mut key = key.clone();
    for member in ["d", "p", "q", "dp", "dq", "qi"] {
        key.as_object_mut().unwrap().remove(member);
    }
    key
}
