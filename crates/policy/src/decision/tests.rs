//! The decision, check by check, in the order of experience.md section 3.

use super::{BindingKind, InternalHeaders, Permit};
use crate::client_auth::Method;
use crate::denial::Denial;
use crate::testing::{AUDIENCE, NOW, World};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_model::ReasonCode as R;
use countersign_model::certificate::RevocationReason;
use countersign_model::client::{ClientState, CredentialState};
use countersign_pki::PeerCertificate;
use std::sync::Arc;
use std::sync::atomic::Ordering;

fn reason(decision: Result<Permit, Denial>) -> Option<R> {
    decision.err().map(|denial| denial.reason())
}

/// Decides with a token in its place and no other header.
fn with_token(
    world: &World,
    route: &str,
    certificate: Option<&Arc<PeerCertificate>>,
    token: &str,
) -> Option<R> {
    reason(world.decide(route, &world.peer(certificate), &[("authorization", &world.bearer(token))]))
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

#[test]
fn a_bound_token_with_its_certificate_is_permitted() {
    let world = World::new();
    let peer = world.peer(Some(&world.acme));
    let permit =
        world.decide("data", &peer, &[("authorization", &world.bearer(&world.token_of_acme()))]).unwrap();
    assert_eq!(permit.client_id().as_str(), "acme-pay");
    assert_eq!(permit.binding(), BindingKind::Certificate);
    assert_eq!(permit.certificate(), Some(world.acme.thumbprint()));
    assert_eq!(permit.scopes().to_string(), "data:read");
    assert_eq!(permit.route().name(), "data");
    assert_eq!(permit.token().unwrap().token_id(), "jti-acme-pay");
}

#[test]
fn every_kind_of_caller_against_every_kind_of_route() {
    let world = World::new();
    let bound = world.bearer(&world.token_of_acme());
    let unbound = world.bearer(&world.unbound_token("acme-pay"));
    let sandbox = world.bearer(&world.unbound_token("test-shop"));
    let none: &[(&str, &str)] = &[];
    let internal = &[("client_id", "test-shop"), ("client_secret", &*world.secret)][..];
    let (acme, other, stranger) = (Some(&world.acme), Some(&world.other), Some(&world.stranger));
    let callers = [
        ("nothing", None, none),
        ("certificate only", acme, none),
        ("unregistered certificate", stranger, none),
        ("bound, its certificate", acme, &[("authorization", &*bound)][..]),
        ("bound, no certificate", None, &[("authorization", &*bound)][..]),
        ("bound, other certificate", other, &[("authorization", &*bound)][..]),
        ("unbound, no certificate", None, &[("authorization", &*unbound)][..]),
        ("unbound, its certificate", acme, &[("authorization", &*unbound)][..]),
        ("unbound, other certificate", other, &[("authorization", &*unbound)][..]),
        ("sandbox token", None, &[("authorization", &*sandbox)][..]),
        ("internal", None, internal),
    ];
    let routes =
        ["data", "pay", "soft", "open", "plain", "bank-only", "test-data", "test-strict", "test-closed"];
    let mut matrix = String::new();
    for (name, certificate, headers) in callers {
        for route in routes {
            let decision = world.decide(route, &world.peer(certificate), headers);
            let outcome = match &decision {
                Ok(permit) => format!("permit, binding {}", permit.binding().as_str()),
                Err(denial) => format!("{} {}", denial.status().as_u16(), denial.reason()),
            };
            matrix.push_str(&format!("{name:<28} {route:<12} {outcome}\n"));
        }
    }
    insta::assert_snapshot!(matrix);
}

// Stage 1: the state of a presented certificate, before everything that the request says.

#[test]
fn rule_g14_a_revoked_certificate_is_refused_on_the_next_request() {
    let world = World::new();
    let token = world.token_of_acme();
    assert_eq!(with_token(&world, "data", Some(&world.acme), &token), None);
    let revoked = (*world.acme.serial(), RevocationReason::KeyCompromise);
    world.known.lock().unwrap().revoked.extend([revoked]);
    assert_eq!(with_token(&world, "data", Some(&world.acme), &token), Some(R::CertificateRevoked));
    // ... before anything else, on every route, and whatever else is wrong
    assert_eq!(with_token(&world, "plain", Some(&world.acme), "garbage"), Some(R::CertificateRevoked));
    assert_eq!(
        reason(world.decide("data", &world.peer(Some(&world.acme)), &[])),
        Some(R::CertificateRevoked)
    );
}

#[test]
fn rule_t9_a_certificate_that_expires_on_an_open_connection_is_refused() {
    let world = World::new();
    let peer = world.peer(Some(&world.acme));
    let at = |now| reason(world.decide_at(now, "data", None, &peer, &[]));
    let end = world.acme.not_after();
    assert_eq!(at(end), Some(R::TokenMissing));
    assert_eq!(at(end.plus_s(1)), Some(R::CertificateExpired));
    assert_eq!(at(world.acme.not_before().plus_s(-1)), Some(R::CertificateNotYetValid));
}

#[test]
fn rule_c4_only_an_accepted_credential_registers_a_certificate() {
    let world = World::new();
    let token = world.token_of_acme();
    for change in [
        (|credential| credential.state = CredentialState::Revoked)
            as fn(&mut countersign_model::client::Credential),
        |credential| credential.expires_at = Some(NOW),
        |credential| credential.not_before = NOW.plus_s(1),
    ] {
        world.change("acme-pay", |entry| change(&mut entry.credentials[0]));
        assert_eq!(
            with_token(&world, "data", Some(&world.acme), &token),
            Some(R::ClientCertificateNotRegistered)
        );
        world.change("acme-pay", |entry| {
            let credential = &mut entry.credentials[0];
            (credential.state, credential.expires_at) = (CredentialState::Active, None);
            credential.not_before = NOW.plus_days(-10);
        });
    }
    assert_eq!(with_token(&world, "data", Some(&world.acme), &token), None);
}

#[test]
fn a_certificate_of_one_environment_is_refused_in_the_other() {
    let world = World::new();
    let at = |route, certificate| reason(world.decide(route, &world.peer(Some(certificate)), &[]));
    assert_eq!(at("data", &world.sandbox), Some(R::ClientCertificateNotRegistered));
    assert_eq!(at("test-data", &world.acme), Some(R::ClientCertificateNotRegistered));
    assert_eq!(at("test-data", &world.sandbox), Some(R::TokenMissing));
}

// Stages 2 to 4: where the credential is.

#[test]
fn rule_g1_a_token_in_the_query_is_refused() {
    let world = World::new();
    let peer = world.peer(Some(&world.acme));
    let bearer = world.bearer(&world.token_of_acme());
    for (query, refused) in [
        ("access_token=x", true),
        ("a=1&access_token=", true),
        ("access_token", true),
        ("a=1;access_token=x", true),
        ("%61ccess%5Ftoken=x", true),
        ("my_access_token=x", false),
        ("a=access_token", false),
        ("access_tokens=x", false),
        ("", false),
    ] {
        let decision = world.decide_at(NOW, "data", Some(query), &peer, &[("authorization", &bearer)]);
        assert_eq!(reason(decision), refused.then_some(R::TokenInQuery), "{query}");
    }
}

#[test]
fn rule_g1_two_authorization_headers_are_refused() {
    let world = World::new();
    let bearer = world.bearer(&world.token_of_acme());
    let peer = world.peer(Some(&world.acme));
    let twice = [("authorization", &*bearer), ("authorization", &*bearer)];
    let denial = world.decide("data", &peer, &twice).unwrap_err();
    assert_eq!((denial.reason(), denial.status().as_u16()), (R::TokenRepeated, 400));
}

#[test]
fn rule_g1_the_scheme_is_case_insensitive_and_only_bearer_is_accepted() {
    let world = World::new();
    let token = world.token_of_acme();
    let peer = world.peer(Some(&world.acme));
    for (value, expected) in [
        (format!("Bearer {token}"), None),
        (format!("bEARER   {token}"), None),
        (format!("DPoP {token}"), Some(R::TokenSchemeUnsupported)),
        (format!("Bearer{token}"), Some(R::TokenSchemeUnsupported)),
        ("Digest x".into(), Some(R::TokenSchemeUnsupported)),
        (String::new(), Some(R::TokenSchemeUnsupported)),
        ("Bearer".into(), Some(R::TokenMalformed)),
        ("Bearer ".into(), Some(R::TokenMalformed)),
        ("Bearer \u{e9}".into(), Some(R::TokenMalformed)),
        (format!("Bearer {token} {token}"), Some(R::TokenMalformed)),
    ] {
        assert_eq!(
            reason(world.decide("data", &peer, &[("authorization", &value)])),
            expected,
            "{value:.12}"
        );
    }
}

#[test]
fn rule_c11_the_internal_method_is_refused_where_it_is_not_switched_on() {
    let world = World::new();
    let pair = [("client_id", "test-shop"), ("client_secret", &*world.secret)];
    let production = [("client_id", "prod-shop"), ("client_secret", &*world.production_secret)];
    let peer = world.peer(None);
    for route in ["data", "open", "plain", "test-closed"] {
        assert_eq!(reason(world.decide(route, &peer, &pair)), Some(R::InternalMethodRefused), "{route}");
        assert_eq!(
            reason(world.decide(route, &peer, &pair[..1])),
            Some(R::InternalMethodRefused),
            "{route}, half"
        );
        let basic = basic("test-shop", &world.secret);
        assert_eq!(
            reason(world.decide(route, &peer, &[("authorization", &basic)])),
            Some(R::InternalMethodRefused)
        );
        assert_eq!(
            reason(world.decide(route, &peer, &production)),
            Some(R::InternalMethodRefused),
            "{route}"
        );
    }
}

#[test]
fn the_internal_method_takes_headers_or_basic_and_nothing_beside_them() {
    let world = World::new();
    let peer = world.peer(None);
    let (id, secret) = (("client_id", "test-shop"), ("client_secret", &*world.secret));
    let basic_pair = basic("test-shop", &world.secret);
    let bearer = world.bearer(&world.unbound_token("test-shop"));
    let authorization = ("authorization", &*basic_pair);
    for (headers, expected) in [
        (&[id, secret][..], None),
        (&[authorization], None),
        (&[id], Some(R::InternalCredentialsMissing)),
        (&[secret], Some(R::InternalCredentialsMissing)),
        (&[id, ("client_secret", "")], Some(R::InternalCredentialsMissing)),
        (&[("authorization", "Basic !")], Some(R::InternalCredentialsMissing)),
        (&[id, secret, secret], Some(R::ClientCredentialsRepeated)),
        (&[id, secret, authorization], Some(R::ClientCredentialsRepeated)),
        (&[id, secret, ("authorization", &*bearer)], Some(R::ClientCredentialsRepeated)),
        (&[id, ("client_secret", "cs_wrong")], Some(R::ClientSecretWrong)),
        (
            &[("client_id", "prod-shop"), ("client_secret", &*world.production_secret)],
            Some(R::ClientMethodWrong),
        ),
        (&[("client_id", "nobody"), secret], Some(R::ClientUnknown)),
    ] {
        assert_eq!(reason(world.decide("test-data", &peer, headers)), expected, "{headers:?}");
    }
    let permit = world.decide("test-data", &peer, &[id, secret]).unwrap();
    assert_eq!(permit.binding(), BindingKind::Internal);
}

#[test]
fn the_internal_method_tells_an_attacker_nothing() {
    let world = World::new();
    let decide = |id: &str, secret: &str, certificate: Option<&Arc<PeerCertificate>>| {
        let headers = [("client_id", id), ("client_secret", secret)];
        world.decide("test-data", &world.peer(certificate), &headers).unwrap_err()
    };
    for denial in [
        decide("nobody", &world.secret, None),
        decide("test-shop", "wrong", None),
        decide("test-tls", "wrong", None),
        decide("test-shop", &world.secret, Some(&world.sandbox)),
    ] {
        assert_eq!(denial.public(), R::ClientAuthenticationFailed, "{denial}");
    }
    let world = World::new();
    world.change("test-shop", |entry| entry.client.state = ClientState::Disabled);
    let headers = [("client_id", "test-shop"), ("client_secret", &*world.secret)];
    let denial = world.decide("test-data", &world.peer(None), &headers).unwrap_err();
    assert_eq!((denial.reason(), denial.public()), (R::ClientDisabled, R::ClientAuthenticationFailed));
}

#[test]
fn rule_k6_the_internal_method_opens_only_what_a_token_would() {
    let world = World::new();
    let headers = [("client_id", "test-shop"), ("client_secret", &*world.secret)];
    let decide = |scopes: &str, audiences: &[&str]| {
        world.change("test-shop", |entry| {
            entry.client.scopes = scopes.parse().unwrap();
            entry.client.audiences = audiences.iter().map(|audience| (*audience).to_owned()).collect();
        });
        world.decide("test-data", &world.peer(None), &headers)
    };
    for audiences in [&[][..], &[AUDIENCE], &["urn:other", AUDIENCE]] {
        let permit = decide("data:read other:read", audiences).unwrap();
        assert_eq!(permit.scopes().to_string(), "data:read", "the API hears of its own scopes only");
    }
    assert_eq!(reason(decide("data:read", &["urn:other"])), Some(R::ClientNotAllowed));
    assert_eq!(reason(decide("other:read", &[])), Some(R::ClientNotAllowed), "no scope of this API");
    assert_eq!(reason(decide("", &[])), Some(R::ClientNotAllowed));
    let denial = decide("pay:write other:read", &[AUDIENCE]).unwrap_err();
    let scopes = |text: &str| text.parse().unwrap();
    let expected = Denial::new(R::TokenScopeInsufficient).scopes(scopes("data:read"), scopes("data:read"));
    let credential = world.credential_of("test-shop");
    assert_eq!(
        denial,
        expected.client(Some(credential.client)).credential(credential.id).method(Method::Internal)
    );
}

#[test]
fn the_header_names_of_the_internal_method_are_configurable() {
    let mut world = World::new();
    let name = http::HeaderName::from_static;
    world.internal_headers = InternalHeaders::new(name("x-id"), name("x-secret")).unwrap();
    let secret = world.secret.clone();
    let decide = |headers: &[(&str, &str)]| reason(world.decide("test-data", &world.peer(None), headers));
    assert_eq!(decide(&[("x-id", "test-shop"), ("x-secret", &*secret)]), None);
    assert_eq!(decide(&[("client_id", "test-shop"), ("client_secret", &*secret)]), Some(R::TokenMissing));
}

#[test]
fn a_header_name_with_another_meaning_cannot_carry_a_secret() {
    use super::InternalHeadersError::{Reserved, Same};
    let name = http::HeaderName::from_static;
    let make = |id, secret| InternalHeaders::new(name(id), name(secret)).err();
    assert_eq!(make("x-id", "x-secret"), None);
    assert_eq!(make("x-id", "x-id"), Some(Same));
    assert_eq!(make("x-id", "x_id"), Some(Same), "one name to some server");
    for reserved in [
        "authorization",
        "host",
        "content-length",
        "content-type",
        "cookie",
        "trailer",
        "user-agent",
        "user_agent",
        "content_type",
        "accept",
        "accept-language",
        "date",
        "if-match",
        "x-fapi-interaction-id",
        "forwarded",
        "countersign-client-id",
        "client-cert",
    ] {
        assert_eq!(make("x-id", reserved), Some(Reserved), "{reserved}");
        assert_eq!(make(reserved, "x-secret"), Some(Reserved), "{reserved}");
    }
}

// Stage 5: rule G2 up to revocation.

#[test]
fn rule_g2_the_claims_are_checked_in_order() {
    let world = World::new();
    // Each token is wrong in its own way and in every later one; the first hit wins.
    let mut claims = world.claims("acme-pay", Some(*world.acme.thumbprint()));
    let mut expected = Vec::new();
    let mut wrong = |expected_reason, change: &dyn Fn(&mut countersign_token::AccessTokenClaims)| {
        change(&mut claims);
        expected.push((expected_reason, world.sign(&claims)));
    };
    wrong(R::TokenScopeInsufficient, &|claims| claims.scopes = "pay:write".parse().unwrap());
    wrong(R::TokenCertificateSuperseded, &|claims| claims.confirmation = Some(*world.other.thumbprint()));
    wrong(R::TokenRevoked, &|claims| claims.epoch.client = 4);
    wrong(R::TokenNotYetValid, &|claims| claims.issued_at = NOW.plus_s(60));
    wrong(R::TokenExpired, &|claims| claims.expires_at = NOW.plus_s(-60));
    wrong(R::TokenEnvironmentWrong, &|claims| claims.environment = countersign_model::Environment::Sandbox);
    wrong(R::TokenAudienceWrong, &|claims| claims.audience = "https://elsewhere/".into());
    wrong(R::TokenIssuerWrong, &|claims| claims.issuer = "https://localhost:8443/".into());
    for (reason, token) in expected {
        assert_eq!(with_token(&world, "data", Some(&world.acme), &token), Some(reason));
    }
    let signed = world.token_of_acme();
    // Another first character of the signature: still 64 octets, and not the same ones.
    let at = signed.rfind('.').unwrap() + 1;
    let other = if signed[at..].starts_with('A') { "B" } else { "A" };
    let forged = format!("{}{other}{}", &signed[..at], &signed[at + 1..]);
    assert_eq!(with_token(&world, "data", Some(&world.acme), &forged), Some(R::TokenSignatureInvalid));
    assert_eq!(with_token(&world, "data", Some(&world.acme), &"x".repeat(9000)), Some(R::TokenTooLarge));
}

#[test]
fn rule_r5_a_token_ends_with_its_credential_and_its_client() {
    type Change = fn(&World);
    let changes: [(&str, Change); 6] = [
        ("the client's epoch", |world| world.change("acme-pay", |entry| entry.client.epoch = 6)),
        ("the credential's epoch", |world| world.change("acme-pay", |entry| entry.credentials[0].epoch = 4)),
        ("the credential's state", |world| {
            world.change("acme-pay", |entry| entry.credentials[0].state = CredentialState::Revoked);
        }),
        ("the credential is gone", |world| world.change("acme-pay", |entry| entry.credentials.clear())),
        ("the client is disabled", |world| {
            world.change("acme-pay", |entry| entry.client.state = ClientState::Disabled)
        }),
        ("the client is gone", |world| world.known.lock().unwrap().clients.clear()),
    ];
    for (what, change) in changes {
        let world = World::new();
        let token = world.unbound_token("acme-pay");
        assert_eq!(with_token(&world, "open", None, &token), None, "before: {what}");
        change(&world);
        let denial =
            world.decide("open", &world.peer(None), &[("authorization", &world.bearer(&token))]).unwrap_err();
        assert_eq!(denial.public(), R::TokenRevoked, "{what}");
        assert!(denial.operator_note().is_some(), "{what}");
        assert_eq!(denial.known_client().map(|id| id.as_str()), Some("acme-pay"), "{what}");
    }
}

#[test]
fn an_epoch_that_was_raised_before_the_token_does_not_end_it() {
    let world = World::new();
    world.change("acme-pay", |entry| {
        entry.client.epoch = 9;
        entry.credentials[0].epoch = 9;
    });
    assert_eq!(with_token(&world, "data", Some(&world.acme), &world.token_of_acme()), None);
}

// Stage 6: the binding.

#[test]
fn rule_g3_a_cnf_is_checked_on_a_bearer_route_too() {
    let world = World::new();
    let token = world.token_of_acme();
    for route in ["soft", "open", "plain"] {
        assert_eq!(with_token(&world, route, None, &token), Some(R::TokenCertificateMissing), "{route}");
        assert_eq!(
            with_token(&world, route, Some(&world.other), &token),
            Some(R::TokenCertificateMismatch),
            "{route}"
        );
        assert_eq!(with_token(&world, route, Some(&world.acme), &token), None, "{route}");
    }
}

#[test]
fn rule_g3_a_route_that_wants_bound_tokens_refuses_one_without_cnf() {
    let world = World::new();
    let token = world.unbound_token("acme-pay");
    for (route, certificate) in
        [("data", Some(&world.acme)), ("data", None), ("soft", Some(&world.acme)), ("soft", None)]
    {
        assert_eq!(with_token(&world, route, certificate, &token), Some(R::TokenBindingMissing), "{route}");
    }
}

#[test]
fn rule_g3_unknown_cnf_member_is_refused() {
    let world = World::new();
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let header = part(&format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{}"}}"#, world.key_id()));
    let good = world.claims("acme-pay", Some(*world.acme.thumbprint())).signing_input(world.key_id());
    let payload = good.split('.').nth(1).map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let payload = String::from_utf8(payload).unwrap();
    let payload = payload.replace(r#""x5t#S256":"#, r#""other":"x","x5t#S256":"#);
    let token = world.sign_input(format!("{header}.{}", part(&payload)));
    assert_eq!(with_token(&world, "data", Some(&world.acme), &token), Some(R::TokenBindingUnknown));
}

#[test]
fn rule_g4_a_stolen_token_opens_nothing_and_is_an_incident() {
    let world = World::new();
    let token = world.token_of_acme();
    let stolen =
        world.decide("data", &world.peer(Some(&world.other)), &[("authorization", &world.bearer(&token))]);
    let denial = stolen.unwrap_err();
    assert_eq!((denial.reason(), denial.status().as_u16()), (R::TokenCertificateMismatch, 401));
    assert!(denial.reason().reason().incident);
    assert_eq!(
        denial.known_client().map(|id| id.as_str()),
        Some("acme-pay"),
        "whose token it is, for the record"
    );
}

#[test]
fn rule_i4_a_token_proves_its_client_only_in_the_right_hands() {
    let world = World::new();
    let ask = |route: &str, certificate: Option<&Arc<PeerCertificate>>, token: &str| {
        world.decide(route, &world.peer(certificate), &[("authorization", &world.bearer(token))]).unwrap_err()
    };
    let acme = world.token_of_acme();
    let before_renewal = world.sign(&world.claims("acme-pay", Some(*world.stranger.thumbprint())));
    let mut expired = world.claims("acme-pay", Some(*world.acme.thumbprint()));
    expired.expires_at = NOW.plus_s(-60);
    let expired = world.sign(&expired);
    for (denial, exact, proved) in [
        (ask("data", Some(&world.other), &acme), R::TokenCertificateMismatch, false),
        (ask("data", Some(&world.acme), &before_renewal), R::TokenCertificateSuperseded, true),
        (ask("data", None, &acme), R::TokenCertificateMissing, false),
        (ask("data", None, &world.unbound_token("acme-pay")), R::TokenBindingMissing, false),
        (ask("data", Some(&world.other), &expired), R::TokenExpired, false),
        (ask("pay", Some(&world.acme), &acme), R::TokenScopeInsufficient, true),
        // A bearer token is worth as much to whoever has it.
        (
            ask("open", Some(&world.other), &world.unbound_token("acme-pay")),
            R::ClientCertificateNotRegistered,
            true,
        ),
    ] {
        assert_eq!(denial.reason(), exact);
        assert_eq!(denial.known_client().map(|id| id.as_str()), Some("acme-pay"), "{exact}: named");
        assert_eq!(denial.proved_client().is_some(), proved, "{exact}");
        assert!(denial.known_credential().is_some(), "{exact}");
    }
}

/// A renewal makes no thief. The certificate of the connection proves the client; everything else that may be wrong with it
/// is refused by its own reason.
#[test]
fn rule_g4_a_token_that_outlived_its_certificate_is_told_from_a_stolen_one() {
    let world = World::new();
    let old = *world.stranger.thumbprint(); // some certificate that this connection does not present
    let of = |client: &str| world.sign(&world.claims(client, Some(old)));
    let ask = |certificate: &Arc<PeerCertificate>, token: &str| {
        world
            .decide("data", &world.peer(Some(certificate)), &[("authorization", &world.bearer(token))])
            .unwrap_err()
    };
    let superseded = ask(&world.acme, &of("acme-pay"));
    assert_eq!((superseded.reason(), superseded.status().as_u16()), (R::TokenCertificateSuperseded, 401));
    assert!(!superseded.reason().reason().incident);
    assert_eq!(superseded.proved_client().map(|id| id.as_str()), Some("acme-pay"));
    let stolen = ask(&world.other, &of("acme-pay"));
    assert_eq!(stolen.reason(), R::TokenCertificateMismatch);
    assert!(stolen.operator_note().unwrap().contains("other-bank"), "whose certificate it is");
    let revoked = (*world.acme.serial(), RevocationReason::KeyCompromise);
    world.known.lock().unwrap().revoked.extend([revoked]);
    assert_eq!(ask(&world.acme, &of("acme-pay")).reason(), R::CertificateRevoked);
}

#[test]
fn rule_g13_a_cached_token_is_compared_with_each_connection() {
    let world = World::new();
    let token = world.token_of_acme();
    for _ in 0..3 {
        assert_eq!(with_token(&world, "data", Some(&world.acme), &token), None);
        assert_eq!(with_token(&world, "data", Some(&world.other), &token), Some(R::TokenCertificateMismatch));
        assert_eq!(with_token(&world, "data", None, &token), Some(R::TokenCertificateMissing));
    }
    assert_eq!(world.tokens.signatures.load(Ordering::Relaxed), 1, "the signature was verified once");
    let peer = world.peer(Some(&world.acme));
    let later =
        world.decide_at(NOW.plus_s(300), "data", None, &peer, &[("authorization", &world.bearer(&token))]);
    assert_eq!(reason(later), Some(R::TokenExpired), "time is asked anew as well");
}

#[test]
fn an_unbound_token_beside_the_certificate_of_another_client_is_refused() {
    let world = World::new();
    let token = world.unbound_token("acme-pay");
    for route in ["open", "plain"] {
        let denied = with_token(&world, route, Some(&world.other), &token);
        assert_eq!(denied, Some(R::ClientCertificateNotRegistered), "{route}");
        assert_eq!(with_token(&world, route, Some(&world.acme), &token), None, "{route}");
    }
}

// Stages 7 and 8: what the client may.

#[test]
fn a_route_that_requires_a_certificate_refuses_an_unbound_credential_without() {
    let world = World::new();
    let headers = [("client_id", "test-shop"), ("client_secret", &*world.secret)];
    assert_eq!(reason(world.decide("test-strict", &world.peer(None), &headers)), Some(R::CertificateMissing));
}

#[test]
fn only_listed_clients_are_admitted_and_that_comes_before_the_scope() {
    let world = World::new();
    let mut claims = world.claims("acme-pay", None);
    claims.scopes = "pay:write".parse().unwrap();
    assert_eq!(with_token(&world, "bank-only", None, &world.sign(&claims)), Some(R::ClientNotAllowed));
    assert_eq!(with_token(&world, "bank-only", None, &world.unbound_token("other-bank")), None);
}

#[test]
fn rule_g8_a_missing_scope_is_named() {
    let world = World::new();
    let token = world.bearer(&world.token_of_acme());
    let denial =
        world.decide("pay", &world.peer(Some(&world.acme)), &[("authorization", &token)]).unwrap_err();
    let scopes = |text: &str| text.parse().unwrap();
    let expected = Denial::new(R::TokenScopeInsufficient).scopes(scopes("pay:write"), scopes("pay:write"));
    assert_eq!((denial.reason(), denial.status().as_u16()), (R::TokenScopeInsufficient, 403));
    let known = denial.known_credential().unwrap();
    assert_eq!(denial, expected.client(Some("acme-pay".parse().unwrap())).credential(known));
}

#[test]
fn the_precedence_of_the_stages_is_that_of_the_table() {
    // Everything is wrong at first; each step repairs what was refused, and the next stage speaks.
    let world = World::new();
    world.known.lock().unwrap().revoked.extend([(*world.other.serial(), RevocationReason::Superseded)]);
    let mut claims = world.claims("acme-pay", Some(*world.other.thumbprint()));
    claims.expires_at = NOW.plus_s(-100);
    claims.scopes = "".parse().unwrap();
    let expired = world.bearer(&world.sign(&claims));
    let id = ("client_id", "x");
    let ask = |certificate: Option<&Arc<PeerCertificate>>, query, headers: &[(&str, &str)]| {
        reason(world.decide_at(NOW, "bank-only", query, &world.peer(certificate), headers))
    };
    let query = Some("access_token=x");
    let authorization = ("authorization", &*expired);
    assert_eq!(
        ask(Some(&world.other), query, &[authorization, authorization, id]),
        Some(R::CertificateRevoked)
    );
    assert_eq!(ask(None, query, &[authorization, authorization, id]), Some(R::TokenInQuery));
    assert_eq!(ask(None, None, &[authorization, authorization, id]), Some(R::TokenRepeated));
    assert_eq!(ask(None, None, &[authorization, id]), Some(R::ClientCredentialsRepeated));
    assert_eq!(ask(None, None, &[id]), Some(R::InternalMethodRefused));
    assert_eq!(ask(None, None, &[]), Some(R::TokenMissing));
    assert_eq!(ask(None, None, &[authorization]), Some(R::TokenExpired));
    claims.expires_at = NOW.plus_s(100);
    world.change("acme-pay", |entry| entry.client.state = ClientState::Disabled);
    let bound = world.bearer(&world.sign(&claims));
    assert_eq!(ask(None, None, &[("authorization", &bound)]), Some(R::TokenCertificateMissing));
    claims.confirmation = None;
    let unbound = world.bearer(&world.sign(&claims));
    assert_eq!(ask(None, None, &[("authorization", &unbound)]), Some(R::TokenRevoked));
    world.change("acme-pay", |entry| entry.client.state = ClientState::Active);
    assert_eq!(ask(None, None, &[("authorization", &unbound)]), Some(R::ClientNotAllowed));
    claims.client_id = "other-bank".parse().unwrap();
    claims.credential = world.claims("other-bank", None).credential;
    let scopeless = world.bearer(&world.sign(&claims));
    assert_eq!(ask(None, None, &[("authorization", &scopeless)]), Some(R::TokenScopeInsufficient));
}
