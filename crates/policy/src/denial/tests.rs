//! What is read of a refusal, as snapshots, and the rules of its shape.

use super::*;
use countersign_model::ReasonCode as R;
use countersign_model::Reference;
use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};

const ISSUER: &str = "https://localhost:8443";
const OAUTH: Surface<'static> = Surface::OAuth { has_authorization: false };
const OAUTH_BY_HEADER: Surface<'static> = Surface::OAuth { has_authorization: true };
const GATEWAY: Surface<'static> = Surface::Gateway {
    realm: "data",
    resource_metadata: Some("https://localhost:8443/.well-known/oauth-protected-resource/data"),
};

fn reference() -> Reference {
    "01JZ8Q0M3T4V6X8Z0A2C4E6G8J".parse().unwrap()
}

fn answer(denial: &Denial, surface: &Surface<'_>) -> http::Response<Vec<u8>> {
    render(denial, surface, reference(), ISSUER)
}

/// The response as people read it.
fn printed(denial: &Denial, surface: &Surface<'_>) -> String {
    let response = answer(denial, surface);
    let mut text = format!("{}\n", response.status());
    for (name, value) in response.headers() {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    text.push_str(&format!("\n{body:#}\n"));
    text
}

fn challenge(denial: &Denial, surface: &Surface<'_>) -> Vec<String> {
    let response = answer(denial, surface);
    response
        .headers()
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .map(|value| value.to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_stolen_token_at_the_gateway() {
    insta::assert_snapshot!(printed(&R::TokenCertificateMismatch.into(), &GATEWAY));
}

#[test]
fn rule_g8_nothing_sent_is_a_bare_challenge() {
    insta::assert_snapshot!(printed(&R::TokenMissing.into(), &GATEWAY));
}

#[test]
fn rule_g8_insufficient_scope_names_what_is_missing() {
    let scopes = |text: &str| text.parse().unwrap();
    let denial =
        Denial::new(R::TokenScopeInsufficient).scopes(scopes("data:read pay:write"), scopes("pay:write"));
    insta::assert_snapshot!(printed(&denial, &GATEWAY));
}

#[test]
fn a_rate_limit_at_the_gateway() {
    insta::assert_snapshot!(printed(&Denial::new(R::RateLimited).retry_after_s(7), &GATEWAY));
}

#[test]
fn a_method_that_is_not_allowed() {
    let denial = Denial::new(R::MethodNotAllowed).allow(&[http::Method::GET, http::Method::POST]);
    insta::assert_snapshot!(printed(&denial, &GATEWAY));
}

#[test]
fn rule_k3_invalid_client_at_the_token_endpoint() {
    let denial =
        Denial::new(R::ClientSecretWrong).note("never shown").client(Some("acme-pay".parse().unwrap()));
    insta::assert_snapshot!(printed(&denial, &OAUTH));
    insta::assert_snapshot!(printed(&denial, &OAUTH_BY_HEADER));
}

#[test]
fn rule_k3_throttled_at_the_token_endpoint() {
    insta::assert_snapshot!(printed(&Denial::new(R::Throttled).retry_after_s(4), &OAUTH));
}

#[test]
fn an_operator_without_credential() {
    insta::assert_snapshot!(printed(&R::AdminCredentialInvalid.into(), &Surface::Admin));
}

#[test]
fn what_explain_prints() {
    insta::assert_snapshot!(explain_text(R::TokenCertificateMismatch));
    insta::assert_snapshot!(explain_text(R::ClientSecretWrong));
}

#[test]
fn the_page_that_type_links_to() {
    insta::assert_snapshot!(problem_page(R::CertificateExpired));
}

#[test]
fn rule_k3_every_401_carries_a_challenge() {
    for code in R::ALL {
        for surface in [GATEWAY, OAUTH, OAUTH_BY_HEADER, Surface::Admin] {
            let challenges = challenge(&(*code).into(), &surface);
            let status = surface.status(&(*code).into()).as_u16();
            assert!(status != 401 || !challenges.is_empty(), "{code}");
            if code.reason().status == 401 {
                assert_eq!(status, if surface == OAUTH { 400 } else { 401 }, "{code}");
            }
            if matches!(surface, Surface::OAuth { .. }) {
                assert!(challenges.iter().all(|challenge| challenge.starts_with("Basic ")), "{code}");
            }
        }
    }
}

#[test]
fn rule_g8_bad_tokens_are_invalid_token_and_malformed_requests_invalid_request() {
    for code in R::ALL {
        let text = challenge(&(*code).into(), &GATEWAY).concat();
        let name = code.as_str();
        let bare = ["token_missing", "token_scheme_unsupported"].contains(&name);
        let expected = match code.reason().status {
            401 if name.starts_with("token_") && !bare => Some("error=\"invalid_token\""),
            400 if name.starts_with("token_") => Some("error=\"invalid_request\""),
            _ => None,
        };
        match expected {
            Some(error) => assert!(text.contains(error), "{code}: {text}"),
            None if *code == R::TokenScopeInsufficient || *code == R::ClientCredentialsRepeated => {}
            None => assert!(!text.contains("error"), "{code}: {text}"),
        }
    }
}

#[test]
fn rule_k3_error_descriptions_have_no_quote_and_no_backslash() {
    for code in R::ALL {
        let response = answer(&(*code).into(), &OAUTH);
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        let description = body["error_description"].as_str().unwrap();
        assert!(
            description.bytes().all(|c| matches!(c, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)),
            "{description}"
        );
        assert_eq!(response.headers()["content-type"], "application/json", "never HTML");
    }
}

#[test]
fn rule_k3_the_errors_of_the_token_endpoint() {
    for (code, status, error) in [
        (R::RequestMalformed, 400, "invalid_request"),
        (R::RequestParameterRepeated, 400, "invalid_request"),
        (R::ClientCredentialsRepeated, 400, "invalid_request"),
        (R::ScopeNotAllowed, 400, "invalid_scope"),
        (R::AudienceNotAllowed, 400, "invalid_target"),
        (R::GrantTypeUnsupported, 400, "unsupported_grant_type"),
        (R::ClientUnknown, 400, "invalid_client"),
        (R::CertificateRevoked, 400, "invalid_client"),
        (R::Throttled, 429, "temporarily_unavailable"),
        (R::NotReady, 503, "temporarily_unavailable"),
        (R::InternalError, 500, "server_error"),
    ] {
        let response = answer(&code.into(), &OAUTH);
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!((response.status().as_u16(), body["error"].as_str().unwrap()), (status, error), "{code}");
        assert_eq!(response.headers().contains_key("retry-after"), matches!(status, 429 | 503), "{code}");
    }
}

#[test]
fn every_refusal_has_its_reference_and_is_not_stored() {
    for code in R::ALL {
        for surface in [GATEWAY, OAUTH, Surface::Admin] {
            let response = answer(&(*code).into(), &surface);
            assert_eq!(response.headers()[REFERENCE_HEADER], reference().to_string(), "{code}");
            assert_eq!(response.headers()[CACHE_CONTROL], "no-store", "{code}");
            let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(body["ref"], reference().to_string());
            assert_eq!(body["code"], code.public().as_str(), "a hidden code is shown nowhere");
        }
    }
}

#[test]
fn what_is_for_the_operator_reaches_no_caller() {
    let denial = Denial::new(R::ClientCertificateNotRegistered)
        .hidden_behind(R::ClientAuthenticationFailed)
        .note("the operator's note")
        .client(Some("acme-pay".parse().unwrap()));
    for surface in [GATEWAY, OAUTH, Surface::Admin] {
        let text = printed(&denial, &surface);
        for secret in ["operator's note", "acme-pay", "client_certificate_not_registered", "not registered"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert!(text.contains("client_authentication_failed"));
    }
    assert_eq!(denial.to_string(), "client_certificate_not_registered: the operator's note");
}

#[test]
fn an_operator_reads_the_note_and_nobody_else_does() {
    let denial = Denial::new(R::RequestMalformed).note("unknown field `\"<x>`");
    for surface in [GATEWAY, OAUTH, Surface::Admin] {
        let body: serde_json::Value = serde_json::from_slice(answer(&denial, &surface).body()).unwrap();
        let told = body["detail"].as_str().is_some_and(|detail| detail.ends_with("unknown field `\"<x>`."));
        assert_eq!(told, surface == Surface::Admin);
    }
}

#[test]
fn operators_read_their_own_advice_and_partners_theirs() {
    for code in R::ALL {
        let reason = code.public().reason();
        for (surface, action) in [(GATEWAY, reason.action), (Surface::Admin, reason.operator)] {
            let body: serde_json::Value =
                serde_json::from_slice(answer(&(*code).into(), &surface).body()).unwrap();
            assert_eq!(body["action"], action, "{code}");
        }
    }
}

#[test]
fn nothing_breaks_out_of_a_challenge() {
    let hostile = Surface::Gateway { realm: "a\", x=\"b\\\r\n\u{e9}", resource_metadata: None };
    assert_eq!(challenge(&R::TokenMissing.into(), &hostile), ["Bearer realm=\"a, x=b\""]);
}

#[test]
fn an_issuer_with_a_slash_at_its_end_gives_the_same_page() {
    let render = |issuer| render(&R::NotReady.into(), &GATEWAY, reference(), issuer).into_body();
    assert_eq!(render("https://localhost:8443/"), render("https://localhost:8443"));
}

#[test]
fn pages_are_escaped_and_every_code_has_one() {
    for code in R::ALL {
        let page = problem_page(*code);
        let visible = page.replace("<code>", "").replace("</code>", "");
        assert!(!visible.contains('`'), "{code}");
        // The policy of the page allows neither scripts nor styles.
        assert!(["<script", "style", "src="].iter().all(|needs| !page.contains(needs)), "{code}");
        // Anybody may read it: what the operator looks at is not on it, unless the partner is told the same.
        let reason = code.reason();
        let operators = reason.operator.split('`').next().unwrap_or_default();
        let is_partners = operators.len() < 12 || reason.action.contains(operators);
        assert!(is_partners || !visible.contains(operators), "{code}: {operators}");
        assert!(explain_text(*code).contains(reason.title), "{code}");
        assert!(markdown().contains(&format!("\n## {code}\n")), "{code}");
    }
}

/// What a caller sees of its own connection may be told behind a hidden reason; what was found out about it may not.
#[test]
fn rule_c10_behind_a_hidden_reason_nothing_is_told_but_what_is_of_the_connection() {
    let hidden = |denial: Denial| {
        printed(
            &denial.hidden_behind(R::ClientAuthenticationFailed),
            &Surface::OAuth { has_authorization: false },
        )
    };
    let found_out = Denial::new(R::ClientSecretWrong).told("The secret is not right.".to_owned(), None);
    assert!(!hidden(found_out.clone()).contains("The secret is not right"));
    assert!(printed(&found_out, &GATEWAY).contains("client_authentication_failed"));
    let seen = Denial::new(R::CertificateMissing).told_of_connection("No certificate arrived.", "Send one.");
    assert!(hidden(seen).contains("No certificate arrived"));
}
