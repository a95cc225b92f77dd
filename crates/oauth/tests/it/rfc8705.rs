//! RFC 8705: mutual-TLS client authentication (section 2) and certificate-bound tokens (section 3).

use crate::support::*;
use countersign_model::ReasonCode;
use countersign_model::certificate::RevocationReason;
use countersign_token::{Binding, TokenError};

#[tokio::test]
async fn section_2_1_a_registered_certificate_proves_its_client() {
    let world = World::new().await;
    let token = world.token(world.acme()).await;
    assert_eq!(token.client_id(), &id("acme-pay"));
}

#[tokio::test]
async fn rule_c3_client_id_must_be_sent_and_the_certificate_be_its_own() {
    let world = World::new().await;
    let nameless = Call::form("grant_type=client_credentials").over(world.certificate("acme-pay"));
    assert_eq!(world.refused(nameless).await.public(), ReasonCode::ClientAuthenticationFailed);
    let missing = Call::form("grant_type=client_credentials&client_id=acme-pay");
    assert_eq!(world.refused(missing).await, ReasonCode::CertificateMissing);
    let wrong = world.acme().over(world.certificate("other-bank"));
    assert_eq!(world.refused(wrong).await, ReasonCode::ClientCertificateNotRegistered);
    for call in [
        Call::form("grant_type=client_credentials&client_id=acme-pay"),
        world.acme().over(world.certificate("other-bank")),
    ] {
        let denial = world.send(call).await.result.unwrap_err();
        assert_eq!(denial.public(), ReasonCode::ClientAuthenticationFailed);
    }
}

#[tokio::test]
async fn rule_c4_a_san_uri_is_compared_octet_by_octet() {
    let world = World::new().await;
    let uri = Authority::client_uri("acme-pay");
    for near in
        [uri.to_uppercase(), format!("{uri}/"), uri.replace("acme", "acm%65"), uri.replace(":8443", "")]
    {
        let call = world.acme().over(world.authority.certificate_with(&[&near]));
        assert_eq!(world.refused(call).await, ReasonCode::ClientCertificateNotRegistered, "{near}");
    }
    let two_names = world.authority.certificate_with(&[&uri, &Authority::client_uri("other-bank")]);
    assert_eq!(world.refused(world.acme().over(two_names)).await, ReasonCode::ClientCertificateNotRegistered);
}

#[tokio::test]
async fn rule_c2_a_certificate_beside_a_secret_must_be_registered_to_the_same_client() {
    let world = World::new().await;
    let own = world.shop().over(world.certificate("test-shop"));
    assert!(world.token(own).await.bound_to().is_some());
    let foreign = world.shop().over(world.certificate("acme-pay"));
    assert_eq!(world.refused(foreign).await, ReasonCode::ClientCertificateNotRegistered);
    let nobodys =
        world.shop().over(world.authority.certificate_with(&["https://localhost:8443/clients/nobody"]));
    assert_eq!(world.refused(nobodys).await, ReasonCode::ClientCertificateNotRegistered);
}

#[tokio::test]
async fn rule_k7_section_3_a_token_is_bound_whenever_a_certificate_was_presented() {
    let world = World::new().await;
    let certificate = world.certificate("acme-pay");
    let token = world.token(world.acme().over(certificate.clone())).await;
    assert_eq!(
        token.confirm(Some(certificate.thumbprint()), true),
        Ok(Binding::Certificate(*certificate.thumbprint()))
    );
    assert_eq!(token.confirm(None, false), Err(TokenError::CertificateMissing));
    // A newer certificate of the same client is another certificate.
    let newer = world.certificate("acme-pay");
    assert_eq!(token.confirm(Some(newer.thumbprint()), false), Err(TokenError::CertificateMismatch));

    let beside_secret = world.certificate("test-shop");
    let token = world.token(world.shop().over(beside_secret.clone())).await;
    assert_eq!(token.bound_to(), Some(beside_secret.thumbprint()));
    assert_eq!(world.token(world.shop()).await.bound_to(), None);
}

#[tokio::test]
async fn a_revoked_certificate_gets_no_token() {
    let world = World::new().await;
    let certificate = world.certificate("acme-pay");
    world.token(world.acme().over(certificate.clone())).await;
    for write in world.authority.revocation(&certificate, RevocationReason::KeyCompromise) {
        world.write(write).await;
    }
    assert_eq!(world.refused(world.acme().over(certificate.clone())).await, ReasonCode::CertificateRevoked);
    // Nor beside a secret, and another certificate of the client is not affected.
    assert_eq!(world.refused(world.shop().over(certificate)).await, ReasonCode::CertificateRevoked);
    world.token(world.acme()).await;
}

#[tokio::test]
async fn rule_t9_a_certificate_that_expires_on_an_open_connection_gets_no_token() {
    let world = World::new().await;
    let last = not_after();
    world.token(world.acme().at(last)).await;
    assert_eq!(world.refused(world.acme().at(last.plus_s(1))).await, ReasonCode::CertificateExpired);
}
