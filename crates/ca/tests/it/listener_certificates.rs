//! Certificates of our own listeners: kept over a restart, renewed in time (rule P9).

use crate::support::{BEGIN, DAY_S, Installation, authority, request};
use countersign_ca::server::ServerCertificate;
use countersign_model::Clock;
use countersign_model::certificate::IssuerRole;
use countersign_model::key::KeyPurpose;
use countersign_pki::{PathOptions, Purpose, TrustAnchors, validate_path};
use countersign_storage::stores::KeyStore;
use rustls_pki_types::ServerName;
use std::collections::HashSet;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

fn names() -> Vec<String> {
    ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec()
}

fn common_name(certificate: &ServerCertificate) -> String {
    let (_, leaf) = X509Certificate::from_der(&certificate.chain[0]).unwrap();
    leaf.subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned()
}

#[tokio::test]
async fn rule_p3_the_common_name_of_a_server_is_one_of_its_alternative_names() {
    let (installation, ca) = Installation::with_client().await;
    let certificate = ca.server_certificate(&names()).await.unwrap();
    assert_eq!(common_name(&certificate), "localhost");
    let servers = authority(&ca, IssuerRole::Servers);
    assert_eq!(certificate.chain[1], servers);
    let anchors = TrustAnchors::new(ca.trusted(IssuerRole::Root).unwrap());
    for name in ["localhost", "127.0.0.1", "::1"] {
        let name = ServerName::try_from(name).unwrap();
        let now = installation.clock.now();
        let options =
            PathOptions { purpose: Purpose::Server(&name), now, max_intermediates: None, crls: &[] };
        validate_path(&certificate.chain[0], &[&servers], &anchors, &options).unwrap();
    }
    let actual = X509Certificate::from_der(&certificate.chain[0]).unwrap().1;
    assert_eq!(actual.public_key().raw, certificate.key.public_key);
}

#[tokio::test]
async fn rule_p9_a_server_certificate_is_kept_for_two_thirds_of_its_life_and_then_renewed() {
    let (installation, ca) = Installation::with_client().await;
    let first = ca.server_certificate(&names()).await.unwrap();
    assert_eq!(first.not_after, BEGIN.plus_days(45));
    let restarted = installation.open().await;
    assert_eq!(restarted.server_certificate(&names()).await.unwrap().chain, first.chain, "found again");
    let others = restarted.server_certificate(&names()[..1]).await.unwrap();
    assert_ne!(others.chain, first.chain, "other names are another certificate");
    installation.clock.advance_s(29 * DAY_S);
    assert_eq!(ca.server_certificate(&names()).await.unwrap().chain, first.chain);
    installation.clock.advance_s(DAY_S);
    let renewed = ca.server_certificate(&names()).await.unwrap();
    assert_ne!(renewed.chain, first.chain);
    assert_ne!(renewed.key.public_key, first.key.public_key, "with a key of its own");
    assert_eq!(renewed.not_after, BEGIN.plus_days(75));
}

/// Whoever restarts a node with a full disk in the last third of its certificate's life needs it to serve.
#[tokio::test]
async fn rule_t10_a_renewal_that_fails_keeps_the_certificate_that_is_valid() {
    let (installation, ca) = Installation::with_client().await;
    let first = ca.server_certificate(&names()).await.unwrap();
    installation.clock.advance_s(31 * DAY_S);
    for nth in 1..=2 {
        let restarted = installation.open().await;
        installation.store.fail(nth); // The row, the certificate.
        assert_eq!(restarted.server_certificate(&names()).await.unwrap().chain, first.chain, "commit {nth}");
        installation.store.fail(nth);
        assert_eq!(ca.server_certificate(&names()).await.unwrap().chain, first.chain, "commit {nth}");
    }
    installation.clock.advance_s(14 * DAY_S + 1);
    installation.store.fail(1);
    ca.server_certificate(&names()).await.expect_err("it has expired");
    assert_ne!(ca.server_certificate(&names()).await.unwrap().chain, first.chain);
}

/// After a clock was set back: nobody accepts it for days.
#[tokio::test]
async fn rule_p9_a_server_certificate_of_a_day_to_come_is_not_used() {
    let (installation, ca) = Installation::with_client().await;
    installation.clock.advance_s(10 * DAY_S);
    let early = ca.server_certificate(&names()).await.unwrap();
    installation.clock.advance_s(-10 * DAY_S);
    installation.store.fail(1);
    ca.server_certificate(&names()).await.expect_err("none is valid today");
    let valid = ca.server_certificate(&names()).await.unwrap();
    assert_ne!(valid.chain, early.chain);
    assert_eq!(valid.not_after, BEGIN.plus_days(45));
}

#[tokio::test]
async fn a_server_certificate_that_was_cut_short_is_made_anew() {
    let (installation, ca) = Installation::with_client().await;
    for nth in 1..=2 {
        installation.store.fail(nth); // The row with the key, the certificate.
        ca.server_certificate(&names()).await.expect_err("the commit fails");
        let keys = installation.store.keys(KeyPurpose::TlsServer).await.unwrap();
        assert_eq!(keys.len(), nth - 1, "no key without a row");
    }
    let restarted = installation.open().await;
    assert_eq!(restarted.recover().await.unwrap(), 1);
    let certificate = restarted.server_certificate(&names()).await.unwrap();
    assert_eq!(certificate.chain.len(), 2);
}

/// Else each renewal would leave a key behind for ever. A key is in use while one of its certificates is valid: when
/// another listener is renewed, its own turn may fail.
#[tokio::test]
async fn the_keys_of_expired_certificates_are_deleted_and_those_in_use_stay() {
    let (installation, ca) = Installation::with_client().await;
    let (first, second) = (names(), vec!["example.com".to_owned()]);
    let mut in_use = Vec::new();
    for names in [&first, &second] {
        in_use.push(ca.server_certificate(names).await.unwrap());
    }
    installation.clock.advance_s(31 * DAY_S); // Two thirds of their lives.
    in_use.push(ca.server_certificate(&first).await.unwrap());
    installation.store.fail(1);
    assert_eq!(ca.server_certificate(&second).await.unwrap().chain, in_use[1].chain);
    let keys = async || {
        let keys = installation.store.keys(KeyPurpose::TlsServer).await.unwrap();
        keys.into_iter().map(|key| key.id).collect::<HashSet<_>>()
    };
    assert_eq!(keys().await, in_use.iter().map(|certificate| certificate.key.id.clone()).collect());

    installation.clock.advance_s(15 * DAY_S); // The first two have expired.
    in_use.push(ca.server_certificate(&second).await.unwrap());
    assert_eq!(keys().await, in_use[2..].iter().map(|certificate| certificate.key.id.clone()).collect());
}

/// However many partners were issued certificates since.
#[tokio::test]
async fn a_server_certificate_is_found_among_many_of_clients() {
    let (installation, ca) = Installation::with_client().await;
    let first = ca.server_certificate(&names()).await.unwrap();
    for _ in 0..101 {
        installation.clock.advance_s(1);
        installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
    }
    assert_eq!(ca.server_certificate(&names()).await.unwrap().chain, first.chain);
}
