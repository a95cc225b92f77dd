//! A fixed key, a token maker and the place of the shared vectors.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_model::{Environment, KeyId, Thumbprint, Timestamp};
use countersign_token::{
    AccessTokenClaims, Expectations, Jwk, JwkSet, Limits, TokenEpoch, TokenError, VerificationKeys,
    VerifiedToken, verify,
};
use serde_json::{Value, json};
use std::path::PathBuf;

pub(crate) const ISSUER: &str = "https://localhost:8443";
pub(crate) const AUDIENCE: &str = "https://localhost:8443/";
pub(crate) const NOW: Timestamp = Timestamp::from_unix_s(1_800_000_000);
pub(crate) const CERTIFICATE: Thumbprint = Thumbprint([0xab; 32]);

/// The key pair of RFC 7515 appendix A.3.
pub(crate) struct TestKey {
    pair: EcdsaKeyPair,
    pub(crate) jwk: Jwk,
}

impl TestKey {
    pub(crate) fn new() -> Self {
        Self::from_parts(
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
        )
    }

    /// Another one: that of RFC 7517 appendix A.2.
    pub(crate) fn other() -> Self {
        Self::from_parts(
            "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
            "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
        )
    }

    fn from_parts(x: &str, y: &str, d: &str) -> Self {
        let json = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}).to_string();
        let bare = Jwk::from_json(json.as_bytes()).unwrap();
        let named =
            json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": bare.thumbprint().0, "alg": "ES256"});
        let point = [vec![4], unbase64(x), unbase64(y)].concat();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &unbase64(d),
            &point,
        )
        .unwrap();
        Self { pair, jwk: Jwk::from_json(named.to_string().as_bytes()).unwrap() }
    }

    pub(crate) fn id(&self) -> KeyId {
        self.jwk.thumbprint()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    /// Signs any header and payload, right or wrong.
    pub(crate) fn token_of(&self, header: &str, payload: &str) -> String {
        let input = format!("{}.{}", base64(header), base64(payload));
        let signature = base64(self.sign(input.as_bytes()));
        format!("{input}.{signature}")
    }

    /// A token with the right header and these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_of(&self.header(json!({})), &claims.to_string())
    }

    /// The right header, with `changes` merged in; `null` takes a parameter away.
    pub(crate) fn header(&self, changes: Value) -> String {
        merge(json!({"alg": "ES256", "typ": "at+jwt", "kid": self.id().0}), changes).to_string()
    }

    pub(crate) fn keys(&self) -> VerificationKeys {
        VerificationKeys::from_jwks(&JwkSet::new(vec![self.jwk.clone()])).unwrap()
    }
}

/// Claims that pass every check, with `changes` merged in; `null` takes a claim away.
pub(crate) fn claims(changes: Value) -> Value {
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "acme-pay", "client_id": "acme-pay",
        "iat": NOW.unix_s(), "exp": NOW.unix_s() + 300, "jti": "01JZ8Q0M3T4V6X8Z0A2C4E6G8J",
        "scope": "data:read pay:write", "cnf": {"x5t#S256": CERTIFICATE.to_string()},
        "countersign": {
            "environment": "production", "credential": "01JZ8Q0M3T4V6X8Z0A2C4E6G8J",
            "epoch": {"client": 3, "credential": 7}
        },
    });
    merge(claims, changes)
}

/// What we would issue.
pub(crate) fn issued() -> AccessTokenClaims {
    AccessTokenClaims {
        issuer: ISSUER.into(),
        audience: AUDIENCE.into(),
        client_id: "acme-pay".parse().unwrap(),
        token_id: "01JZ8Q0M3T4V6X8Z0A2C4E6G8J".into(),
        scopes: "data:read pay:write".parse().unwrap(),
        issued_at: NOW,
        expires_at: NOW.plus_s(300),
        environment: Environment::Production,
        credential: "01JZ8Q0M3T4V6X8Z0A2C4E6G8J".parse().unwrap(),
        epoch: TokenEpoch { client: 3, credential: 7 },
        confirmation: Some(CERTIFICATE),
    }
}

pub(crate) fn expectations() -> Expectations<'static> {
    Expectations {
        issuer: ISSUER,
        audience: AUDIENCE,
        environment: Environment::Production,
        now: NOW,
        skew_s: 5,
    }
}

/// Verifies a token made of `claims` with the right key.
pub(crate) fn verified(changes: Value) -> Result<VerifiedToken, TokenError> {
    let key = TestKey::new();
    verify(&key.token(&claims(changes)), &key.keys(), &Limits::default())
}

fn merge(mut object: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(object.as_object_mut().unwrap().remove(name)),
            value => object[name] = value.clone(),
        }
    }
    object
}

pub(crate) fn base64(octets: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

pub(crate) fn unbase64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// A file of the shared vectors, or `None` (and a line that says so) where they are not there.
pub(crate) fn vectors(path: &str) -> Option<Value> {
    #[expect(clippy::disallowed_methods, reason = "the place of the vectors is told by the environment")]
    let directory = std::env::var_os("COUNTERSIGN_VECTORS")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"));
    let file = directory.join(path);
    match std::fs::read(&file) {
        Ok(text) => Some(serde_json::from_slice(&text).unwrap()),
        Err(_) => {
            tell(&format!(
                "skipped: {path} needs the shared vectors; set COUNTERSIGN_VECTORS (looked for {})",
                file.display()
            ));
            None
        }
    }
}

/// Prints a line even where the harness captures the output of passing tests: counts must be seen.
pub(crate) fn tell(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
