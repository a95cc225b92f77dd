//! RFC 6749: client credentials (section 4.4), client authentication (section 2.3), errors (section 5.2).

use crate::support::*;
use countersign_model::ReasonCode;
use countersign_oauth::request::MAX_BODY_BYTES;
use countersign_policy::denial::{Surface, render};
use http::header::{CACHE_CONTROL, PRAGMA, WWW_AUTHENTICATE};

#[tokio::test]
async fn section_5_1_a_token_is_answered_as_json_that_nobody_stores() {
    let world = World::new().await;
    let response = world.send(world.shop().and("scope=data:read")).await.result.unwrap().to_response();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    // Rule K2.
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    assert_eq!(response.headers()[PRAGMA], "no-cache");
    let mut body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    let (mut header, mut claims) = decoded(body["access_token"].as_str().unwrap());
    header["kid"] = "[kid]".into();
    claims["jti"] = "[jti]".into();
    claims["countersign"]["credential"] = "[credential]".into();
    body["access_token"] = serde_json::json!({ "header": header, "claims": claims });
    insta::assert_json_snapshot!(body);
}

#[tokio::test]
async fn rule_k2_there_is_no_refresh_token_and_the_token_is_in_no_debug_print() {
    let world = World::new().await;
    let outcome = world.send(world.shop()).await;
    let response = outcome.result.as_ref().unwrap();
    let body = String::from_utf8(response.to_response().into_body()).unwrap();
    assert!(!body.contains("refresh_token"));
    let signature = response.access_token.expose().rsplit('.').next().unwrap().to_owned();
    assert!(!format!("{outcome:?}").contains(&signature));
}

#[tokio::test]
async fn section_2_3_1_both_ways_of_a_secret_work_for_the_client_that_registered_them() {
    let world = World::new().await;
    assert_eq!(world.token(world.shop()).await.client_id(), &id("test-shop"));
    let post = || {
        Call::form(
            "grant_type=client_credentials&client_id=post-shop&client_secret=cs_of-test-shop&scope=data:read",
        )
    };
    assert_eq!(world.token(post()).await.client_id(), &id("post-shop"));

    // Rule C2: the registered method is enforced.
    let wrong = Call::form("grant_type=client_credentials").basic("post-shop", SECRET);
    assert_eq!(world.refused(wrong).await, ReasonCode::ClientMethodWrong);
    let wrong = Call::form("grant_type=client_credentials&client_id=test-shop&client_secret=cs_of-test-shop");
    assert_eq!(world.refused(wrong).await, ReasonCode::ClientMethodWrong);
    let wrong = Call::form("grant_type=client_credentials").basic("acme-pay", SECRET);
    assert_eq!(world.refused(wrong).await, ReasonCode::ClientMethodWrong);
}

#[tokio::test]
async fn rule_c2_a_second_credential_is_refused() {
    let world = World::new().await;
    let both = world.shop().and("client_id=test-shop&client_secret=cs_of-test-shop");
    assert_eq!(world.refused(both).await, ReasonCode::ClientCredentialsRepeated);
    let twice = world.shop().basic("test-shop", SECRET);
    assert_eq!(world.refused(twice).await, ReasonCode::ClientCredentialsRepeated);
    let other_name = world.shop().and("client_id=post-shop");
    assert_eq!(world.refused(other_name).await, ReasonCode::ClientCredentialsRepeated);
    let assertion = world.shop().and("client_assertion=x&client_assertion_type=y");
    assert_eq!(world.refused(assertion).await, ReasonCode::ClientCredentialsRepeated);
    // The same name again is no second credential, and neither is a certificate of the same client.
    assert_eq!(world.token(world.shop().and("client_id=test-shop")).await.client_id(), &id("test-shop"));
}

#[tokio::test]
async fn rule_k1_post_form_only() {
    let world = World::new().await;
    for method in ["GET", "PUT", "HEAD", "DELETE", "OPTIONS"] {
        assert_eq!(
            world.refused(world.shop().method(method)).await,
            ReasonCode::MethodNotAllowed,
            "{method}"
        );
    }
    for content_type in [None, Some("application/json"), Some("text/plain"), Some("multipart/form-data")] {
        let call = world.shop().content_type(content_type);
        assert_eq!(world.refused(call).await, ReasonCode::RequestContentTypeWrong, "{content_type:?}");
    }
    for content_type in
        ["application/x-www-form-urlencoded;charset=UTF-8", "Application/X-WWW-Form-Urlencoded"]
    {
        world.token(world.shop().content_type(Some(content_type))).await;
    }
}

#[tokio::test]
async fn rule_k1_a_repeated_parameter_is_refused_and_an_unknown_one_ignored() {
    let world = World::new().await;
    for more in [
        "grant_type=client_credentials",
        "scope=data:read&scope=data:read",
        "x=1&x=2",
        "client_id=&client_id=",
    ] {
        assert_eq!(
            world.refused(world.shop().and(more)).await,
            ReasonCode::RequestParameterRepeated,
            "{more}"
        );
    }
    world.token(world.shop().and("unknown=1&another")).await;
    // RFC 8707 section 2: `resource` may be repeated.
    world
        .token(world.shop().and("resource=https://localhost:8443/&resource=https://localhost:8443/data"))
        .await;
}

#[tokio::test]
async fn rule_k1_credentials_in_the_query_are_refused() {
    let world = World::new().await;
    for query in [
        "client_id=test-shop&client_secret=x",
        "client_secret=x",
        "client%5Fsecret=x",
        "client_assertion=x",
        "access_token=x",
    ] {
        let call = world.shop().uri(&format!("/oauth2/token?{query}"));
        assert_eq!(world.refused(call).await, ReasonCode::CredentialsInQuery, "{query}");
    }
    world.token(world.shop().uri("/oauth2/token?trace=1")).await;
}

#[tokio::test]
async fn rule_k1_sizes_are_limited() {
    let world = World::new().await;
    let long = world.shop().and(&format!("x={}", "a".repeat(MAX_BODY_BYTES)));
    assert_eq!(world.refused(long).await, ReasonCode::RequestBodyTooLarge);
    let many: Vec<String> = (0..40).map(|i| format!("p{i}=1")).collect();
    assert_eq!(world.refused(world.shop().and(&many.join("&"))).await, ReasonCode::RequestParameterInvalid);
    assert_eq!(world.refused(world.shop().and("x=é")).await, ReasonCode::RequestParameterInvalid);
}

#[tokio::test]
async fn section_3_2_a_parameter_without_a_value_counts_as_left_out() {
    let world = World::new().await;
    assert_eq!(world.token(world.shop().and("scope=")).await.scopes().to_string(), "data:read pay:write");
    assert_eq!(
        world.refused(Call::form("grant_type=").basic("test-shop", SECRET)).await,
        ReasonCode::RequestParameterMissing
    );
}

#[tokio::test]
async fn rule_c1_the_grant_type_is_client_credentials() {
    let world = World::new().await;
    for grant in [
        "password",
        "authorization_code",
        "refresh_token",
        "implicit",
        "CLIENT_CREDENTIALS",
        "client_credentials ",
    ] {
        let call = Call::form(&format!("grant_type={grant}")).basic("test-shop", SECRET);
        assert_eq!(world.refused(call).await, ReasonCode::GrantTypeUnsupported, "{grant}");
    }
    assert_eq!(
        world.refused(Call::form("").basic("test-shop", SECRET)).await,
        ReasonCode::RequestParameterMissing
    );
}

#[tokio::test]
async fn rule_k3_refusals_have_their_oauth_error_and_status() {
    let world = World::new().await;
    for (call, status, error) in [
        (Call::form("grant_type=client_credentials").basic("nobody", "x"), 401, "invalid_client"),
        (Call::form("grant_type=client_credentials&client_id=nobody&client_secret=x"), 400, "invalid_client"),
        (Call::form("grant_type=client_credentials"), 400, "invalid_client"),
        (Call::form("grant_type=password"), 400, "unsupported_grant_type"),
        (world.shop().and("scope=nonsense"), 400, "invalid_scope"),
        (world.shop().and("resource=urn:nothing"), 400, "invalid_target"),
        (world.shop().and("a=1&a=2"), 400, "invalid_request"),
    ] {
        let has_authorization = call.has_authorization();
        let outcome = world.send(call).await;
        let surface = Surface::OAuth { has_authorization };
        let response = render(&outcome.result.unwrap_err(), &surface, outcome.event.reference, ISSUER);
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!((response.status().as_u16(), body["error"].as_str()), (status, Some(error)), "{body}");
        assert_eq!(response.headers().contains_key(WWW_AUTHENTICATE), status == 401);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        let description = body["error_description"].as_str().unwrap();
        assert!(
            description.bytes().all(|c| matches!(c, b' '..=b'~') && c != b'"' && c != b'\\'),
            "{description}"
        );
    }
}
