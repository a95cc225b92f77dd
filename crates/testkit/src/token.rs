//! Tokens that the server would never issue, signed by its own key: only what they say is wrong.

use crate::client::Identity;
use crate::server::{ISSUER, TestServer};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_keys::Signer;
use countersign_model::Clock;
use countersign_model::client::CredentialKind;
use countersign_policy::Registry;
use serde_json::{Value, json};
use std::sync::Arc;

impl TestServer {
    /// The key that signs tokens now.
    pub fn token_key(&self) -> Arc<dyn Signer> {
        self.server.context().token_keys.signer(self.clock.now()).unwrap()
    }

    /// The header of a good token.
    pub fn token_header(&self) -> Value {
        json!({ "alg": "ES256", "typ": "at+jwt", "kid": self.token_key().key_id().0 })
    }

    /// The claims of a good token of `client` for the API `bank`, bound to a certificate or to nothing.
    pub fn token_claims(&self, client: &str, bound_to: Option<&Identity>, scope: &str) -> Value {
        let entry = self.server.context().views.client(&client.parse().unwrap()).unwrap();
        let by_certificate = |kind: &CredentialKind| matches!(kind, CredentialKind::Certificate(_));
        let credential = entry
            .credentials
            .iter()
            .find(|credential| by_certificate(&credential.kind) == bound_to.is_some())
            .unwrap_or(&entry.credentials[0]);
        let now_s = self.clock.now().unix_s();
        let mut claims = json!({
            "iss": ISSUER, "aud": "https://localhost/", "sub": client, "client_id": client,
            "iat": now_s, "exp": now_s + 300, "jti": "01TEST", "scope": scope,
            "countersign": {
                "environment": entry.client.environment,
                "credential": credential.id,
                "epoch": { "client": entry.client.epoch, "credential": credential.epoch },
            },
        });
        if let Some(identity) = bound_to {
            let thumbprint = countersign_pki::thumbprint(&identity.chain[0]).to_string();
            claims["cnf"] = json!({ "x5t#S256": thumbprint });
        }
        claims
    }

    /// Signs header and claims with the server's own key.
    pub async fn sign_token(&self, header: &Value, claims: &Value) -> String {
        let input = signing_input(header, claims);
        let signature = self.token_key().sign(input.as_bytes()).await.unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Header and claims of a compact JWS, not signed.
pub fn signing_input(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// An HMAC-SHA-256 over a signing input, as JOSE writes it.
pub fn hs256(secret: &[u8], input: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, input.as_bytes()))
}
