//! Client authentication at the token endpoint, method by method.

use super::*;
use crate::client_auth::{Form, Presented};
use crate::testing::{NOW, World, header_map};
use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_model::ReasonCode as R;
use countersign_model::certificate::RevocationReason;
use countersign_model::client::CredentialState;
use countersign_pki::PeerCertificate;

fn basic(
    world: &World,
    id: &str,
    secret: &str,
    certificate: Option<&Arc<PeerCertificate>>,
) -> Result<Method, Denial> {
    let value = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    run(world, &[("authorization", &value)], Form::default(), certificate)
}

fn post(world: &World, id: &str, secret: &str) -> Result<Method, Denial> {
    run(world, &[], Form { client_id: Some(id), client_secret: Some(secret), ..Form::default() }, None)
}

fn tls(world: &World, id: &str, certificate: Option<&Arc<PeerCertificate>>) -> Result<Method, Denial> {
    run(world, &[], Form { client_id: Some(id), ..Form::default() }, certificate)
}

fn run(
    world: &World,
    headers: &[(&str, &str)],
    form: Form<'_>,
    certificate: Option<&Arc<PeerCertificate>>,
) -> Result<Method, Denial> {
    let presented = Presented::at_endpoint(&header_map(headers), &form)?;
    let peer = world.peer(certificate);
    let client = authenticate(&presented, &peer, &world.known, &world.pepper, &world.throttle, NOW)?;
    assert_eq!(Some(&client.client().client.id), presented.client_id());
    assert_eq!(client.credential(), client.client().credentials[0].id);
    Ok(client.method())
}

/// The exact reason, and what the caller reads.
fn reasons(outcome: Result<Method, Denial>) -> (R, R) {
    let denial = outcome.unwrap_err();
    (denial.reason(), denial.public())
}

#[test]
fn each_registered_method_authenticates() {
    let world = World::new();
    assert_eq!(basic(&world, "test-shop", &world.secret, None).unwrap(), Method::Basic);
    assert_eq!(post(&world, "prod-shop", &world.production_secret).unwrap(), Method::Post);
    assert_eq!(tls(&world, "acme-pay", Some(&world.acme)).unwrap(), Method::Tls);
}

#[test]
fn rule_c2_only_the_registered_method_is_accepted() {
    let world = World::new();
    let hidden = (R::ClientMethodWrong, R::ClientAuthenticationFailed);
    assert_eq!(reasons(post(&world, "test-shop", &world.secret)), hidden);
    assert_eq!(reasons(basic(&world, "prod-shop", &world.production_secret, None)), hidden);
    assert_eq!(reasons(basic(&world, "acme-pay", "x", None)), hidden);
    assert_eq!(reasons(tls(&world, "test-shop", Some(&world.sandbox))), hidden);
}

#[test]
fn rule_c2_a_certificate_beside_a_secret_must_be_the_clients_own() {
    let world = World::new();
    let denied = basic(&world, "test-shop", &world.secret, Some(&world.acme));
    assert_eq!(reasons(denied), (R::ClientCertificateNotRegistered, R::ClientAuthenticationFailed));
    let denied = basic(&world, "test-shop", &world.secret, Some(&world.stranger));
    assert_eq!(reasons(denied), (R::ClientCertificateNotRegistered, R::ClientAuthenticationFailed));
    // The client's own certificate beside its secret is welcome: the token is then bound to it.
    let mut own = world.credential_of("test-tls");
    world.change("test-shop", |entry| {
        own.client = entry.client.id.clone();
        entry.credentials.push(own);
    });
    world.known.lock().unwrap().clients.remove(&"test-tls".parse().unwrap());
    assert!(basic(&world, "test-shop", &world.secret, Some(&world.sandbox)).is_ok());
}

#[test]
fn rule_c3_a_wrong_or_missing_certificate_is_invalid_client() {
    let world = World::new();
    for (certificate, exact) in [
        (None, R::CertificateMissing),
        (Some(&world.other), R::ClientCertificateNotRegistered),
        (Some(&world.stranger), R::ClientCertificateNotRegistered),
    ] {
        assert_eq!(reasons(tls(&world, "acme-pay", certificate)), (exact, R::ClientAuthenticationFailed));
    }
    assert_eq!(
        reasons(tls(&world, "nobody", Some(&world.acme))),
        (R::ClientUnknown, R::ClientAuthenticationFailed)
    );
}

#[test]
fn rule_t9_a_revoked_or_expired_certificate_is_refused_at_the_token_endpoint() {
    let world = World::new();
    let presented =
        Presented::at_endpoint(&header_map(&[]), &Form { client_id: Some("acme-pay"), ..Form::default() });
    let late = world.acme.not_after().plus_s(1);
    let peer = world.peer(Some(&world.acme));
    let denial = authenticate(&presented.unwrap(), &peer, &world.known, &world.pepper, &world.throttle, late);
    assert_eq!(denial.unwrap_err().reason(), R::CertificateExpired);
    let revoked = (*world.acme.serial(), RevocationReason::KeyCompromise);
    world.known.lock().unwrap().revoked.extend([revoked]);
    assert_eq!(
        reasons(tls(&world, "acme-pay", Some(&world.acme))),
        (R::CertificateRevoked, R::CertificateRevoked)
    );
}

#[test]
fn rule_c10_unknown_wrong_disabled_and_expired_read_the_same() {
    let world = World::new();
    let public = R::ClientAuthenticationFailed;
    assert_eq!(reasons(basic(&world, "nobody", &world.secret, None)), (R::ClientUnknown, public));
    assert_eq!(reasons(basic(&world, "<nobody>", &world.secret, None)), (R::ClientUnknown, public));
    assert_eq!(reasons(basic(&world, "test-shop", "wrong", None)), (R::ClientSecretWrong, public));
    assert_eq!(reasons(basic(&world, "test-shop", &"x".repeat(2000), None)), (R::ClientSecretWrong, public));
    world.change("test-shop", |entry| entry.client.state = ClientState::Disabled);
    assert_eq!(reasons(basic(&world, "test-shop", &world.secret, None)), (R::ClientDisabled, public));
    // ... and a wrong secret of a disabled client does not even tell the operator's log that it was nearly right.
    assert_eq!(reasons(basic(&world, "test-shop", "wrong", None)), (R::ClientSecretWrong, public));
}

#[test]
fn rule_c10_an_empty_secret_never_matches_not_even_its_own_hmac() {
    let world = World::new();
    let of_nothing = secret::hmac(&world.pepper, "");
    world
        .change("test-shop", |entry| entry.credentials[0].kind = CredentialKind::Secret { hmac: of_nothing });
    assert_eq!(reasons(basic(&world, "test-shop", &"x".repeat(2000), None)).0, R::ClientSecretWrong);
    world.change("test-shop", |entry| entry.credentials[0].kind = CredentialKind::Secret { hmac: DUMMY });
    assert_eq!(reasons(basic(&world, "test-shop", "x", None)).0, R::ClientSecretWrong);
}

#[test]
fn rule_c12_secrets_overlap_and_each_has_its_own_validity() {
    let world = World::new();
    let new_secret = secret::hmac(&world.pepper, "the new one");
    world.change("test-shop", |entry| {
        let mut second = entry.credentials[0].clone();
        second.id = CredentialId::generate(NOW, &crate::testing::SeededRng::new(99));
        second.kind = CredentialKind::Secret { hmac: new_secret };
        entry.credentials.push(second);
    });
    assert!(basic(&world, "test-shop", &world.secret, None).is_ok());
    let expired = (R::ClientSecretExpired, R::ClientAuthenticationFailed);
    for change in [
        (|credential| credential.expires_at = Some(NOW)) as fn(&mut Credential),
        |credential| credential.not_before = NOW.plus_s(1),
        |credential| credential.state = CredentialState::Revoked,
    ] {
        world.change("test-shop", |entry| change(&mut entry.credentials[0]));
        assert_eq!(reasons(basic(&world, "test-shop", &world.secret, None)), expired);
    }
    let presented = Presented::internal("test-shop", "the new one");
    let client =
        authenticate(&presented, &world.peer(None), &world.known, &world.pepper, &world.throttle, NOW)
            .unwrap();
    assert_eq!(client.credential(), client.client().credentials[1].id);
}

#[test]
fn rule_c10_guessing_is_throttled_and_proving_a_key_is_not() {
    let world = World::new();
    for _ in 0..10 {
        assert_eq!(reasons(basic(&world, "test-shop", "wrong", None)).0, R::ClientSecretWrong);
        assert_eq!(reasons(tls(&world, "acme-pay", Some(&world.other))).0, R::ClientCertificateNotRegistered);
    }
    assert_eq!(reasons(basic(&world, "test-shop", "wrong", None)).0, R::ClientSecretWrong);
    // From here on not even the right secret is looked at ...
    assert_eq!(reasons(basic(&world, "test-shop", &world.secret, None)), (R::Throttled, R::Throttled));
    // ... from this network. Another one, and clients that prove a key, are not affected.
    let elsewhere = Peer::new("198.51.100.1:1".parse().unwrap(), None);
    let presented = Presented::internal("test-shop", &world.secret);
    assert!(authenticate(&presented, &elsewhere, &world.known, &world.pepper, &world.throttle, NOW).is_ok());
    assert!(tls(&world, "acme-pay", Some(&world.acme)).is_ok());
}

/// A partner that missed a rotation calls on with what was right yesterday: it guesses nothing, and must not lock itself
/// out for the moment when it has the new one.
#[test]
fn rule_c10_an_expired_secret_is_no_guess() {
    let world = World::new();
    world.change("test-shop", |entry| entry.credentials[0].expires_at = Some(NOW));
    for _ in 0..20 {
        assert_eq!(reasons(basic(&world, "test-shop", &world.secret, None)).0, R::ClientSecretExpired);
    }
    world.change("test-shop", |entry| entry.credentials[0].expires_at = None);
    assert!(basic(&world, "test-shop", &world.secret, None).is_ok());
}

#[test]
fn rule_i4_a_name_that_was_not_proved_is_a_claim() {
    let world = World::new();
    let guessed = post(&world, "test-shop", "guessed").unwrap_err();
    assert_eq!(guessed.known_client().map(|id| id.as_str()), Some("test-shop"));
    assert_eq!(guessed.proved_client(), None);
    world.change("test-shop", |entry| entry.client.state = ClientState::Disabled);
    let disabled = basic(&world, "test-shop", &world.secret, None).unwrap_err();
    assert_eq!(disabled.reason(), R::ClientDisabled);
    assert_eq!(disabled.proved_client().map(|id| id.as_str()), Some("test-shop"));
    // The certificate proves its holder, whoever the request speaks of.
    world.known.lock().unwrap().revoked.extend([(*world.acme.serial(), RevocationReason::KeyCompromise)]);
    let revoked = tls(&world, "other-bank", Some(&world.acme)).unwrap_err();
    assert_eq!(revoked.proved_client().map(|id| id.as_str()), Some("acme-pay"));
}
