//! RFC 9728: protected resource metadata.

use crate::support::*;
use countersign_oauth::metadata::PROTECTED_RESOURCE_PATH;
use serde_json::Value;

fn of(route: &str) -> Option<Value> {
    metadata().protected_resource(route).map(|response| serde_json::from_slice(response.body()).unwrap())
}

#[test]
fn section_3_2_the_document() {
    insta::assert_json_snapshot!(of("data").unwrap());
}

#[test]
fn section_3_3_the_resource_is_what_the_address_was_made_from() {
    for route in ["data", "test-data"] {
        let resource = of(route).unwrap()["resource"].as_str().unwrap().to_owned();
        // Section 3.1: the well-known part goes between host and path.
        let path = resource.strip_prefix(ISSUER).unwrap();
        let address = format!("{ISSUER}{PROTECTED_RESOURCE_PATH}{path}");
        assert_eq!(address, format!("{ISSUER}/.well-known/oauth-protected-resource/{route}"));
    }
}

#[test]
fn a_route_says_whether_its_tokens_are_bound() {
    assert_eq!(of("data").unwrap()["tls_client_certificate_bound_access_tokens"], true);
    assert_eq!(of("test-data").unwrap()["tls_client_certificate_bound_access_tokens"], false);
    assert_eq!(of("nothing"), None);
}

#[tokio::test]
async fn the_resource_of_the_metadata_is_understood_by_the_token_endpoint() {
    let world = World::new().await;
    let resource = of("data").unwrap()["resource"].as_str().unwrap().to_owned();
    let token = world.token(world.shop().and(&format!("resource={resource}"))).await;
    assert_eq!(token.audiences(), [AUDIENCE]);
}
