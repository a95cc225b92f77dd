//! RFC 8414: authorization server metadata (rule K8), and the JWKS (RFC 7517).

use crate::support::*;
use countersign_model::client::AuthMethod;
use countersign_oauth::{MutualTls, Settings, metadata};
use countersign_token::JwkSet;
use serde_json::Value;

fn body(response: &http::Response<Vec<u8>>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

#[test]
fn section_3_2_the_document() {
    let response = metadata().authorization_server();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "public, max-age=600");
    insta::assert_json_snapshot!(body(&response));
}

#[test]
fn rule_k8_the_issuer_is_identical_byte_by_byte_and_the_methods_are_those_that_work() {
    let metadata = body(&metadata().authorization_server());
    assert_eq!(metadata["issuer"], ISSUER);
    let listed: Vec<&str> = metadata["token_endpoint_auth_methods_supported"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m.as_str().unwrap())
        .collect();
    assert_eq!(listed, AuthMethod::ALL.map(AuthMethod::as_str));
    assert_eq!(metadata["grant_types_supported"], serde_json::json!(["client_credentials"]));
    for absent in
        ["authorization_endpoint", "introspection_endpoint", "registration_endpoint", "mtls_endpoint_aliases"]
    {
        assert!(metadata.get(absent).is_none(), "{absent}");
    }
}

fn with(mutual_tls: MutualTls) -> Value {
    let settings = Settings::new(ISSUER.into(), vec![], vec![], 300, mutual_tls).unwrap();
    body(&metadata::Metadata::new(&settings).authorization_server())
}

#[test]
fn rule_k8_what_needs_a_certificate_is_listed_only_where_one_can_be_shown() {
    for (mutual_tls, works) in [(MutualTls::AtIssuer, true), (MutualTls::Off, false)] {
        let metadata = with(mutual_tls);
        let methods = metadata["token_endpoint_auth_methods_supported"].as_array().unwrap();
        assert_eq!(methods.iter().any(|method| method == "tls_client_auth"), works);
        assert!(methods.iter().any(|method| method == "client_secret_basic"));
        assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], works);
    }
}

#[test]
fn rule_t4_mtls_aliases_are_listed_where_mtls_is_elsewhere() {
    let metadata = with(MutualTls::At("https://mtls.localhost:9443".into()));
    assert_eq!(
        metadata["mtls_endpoint_aliases"]["token_endpoint"],
        "https://mtls.localhost:9443/oauth2/token"
    );
}

#[tokio::test]
async fn the_jwks_has_public_keys_only_and_may_be_kept_as_long_as_a_key_waits() {
    let world = World::new().await;
    let response = metadata::jwks(&world.keys.published());
    assert_eq!(response.headers()["content-type"], "application/jwk-set+json");
    assert_eq!(response.headers()["cache-control"], "public, max-age=600");
    let mut jwks = body(&response);
    let read = JwkSet::from_json(response.body()).unwrap();
    assert_eq!(read.keys()[0].key_id(), Some(read.keys()[0].thumbprint().0.as_str()));
    for member in ["kid", "x", "y"] {
        assert_eq!(jwks["keys"][0][member].as_str().unwrap().len(), 43);
        jwks["keys"][0][member] = format!("[{member}]").into();
    }
    insta::assert_json_snapshot!(jwks);
}
