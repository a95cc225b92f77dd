//! The authorities of a new installation, however often its first start is cut short (rules P2, P7).

use crate::support::{BEGIN, Installation, authority, id, request, served, settings};
use countersign_ca::{CertificateAuthority, Refusal, Settings};
use countersign_keys::SystemRng;
use countersign_model::certificate::{CertificateState, Issuer, IssuerRole};
use countersign_model::key::KeyPurpose;
use countersign_model::{Clock, Rng, Timestamp};
use countersign_storage::Store;
use countersign_storage::stores::{CertificateFilter, CertificateStore, KeyStore};
use countersign_storage::{StorageError, Write};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

#[tokio::test]
async fn rule_p2_separate_issuing_authorities_under_one_root() {
    let (_, ca) = Installation::with_client().await;
    let root = authority(&ca, IssuerRole::Root);
    let (_, root) = X509Certificate::from_der(&root).unwrap();
    assert_eq!(root.subject().as_raw(), root.issuer().as_raw());
    let mut keys = HashSet::new();
    for (role, path_length) in [(IssuerRole::Root, 1), (IssuerRole::Clients, 0), (IssuerRole::Servers, 0)] {
        let der = authority(&ca, role);
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(certificate.issuer().as_raw(), root.subject().as_raw());
        let constraints = certificate.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(path_length), "{role:?}");
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
        assert!(certificate.extended_key_usage().unwrap().is_none(), "none that a leaf could contradict");
        assert!(keys.insert(certificate.public_key().raw.to_vec()), "each has a key of its own");
    }
}

/// A clock of which no two readings are alike.
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

/// The validity and the lint that judges it are of one moment, also if the second ends in between.
#[tokio::test]
async fn rule_p9_an_authority_is_made_of_one_reading_of_the_clock() {
    let installation = Installation::empty();
    let store: Arc<dyn Store> = installation.store.clone();
    let clock: Arc<dyn Clock> = Arc::new(Ticking(AtomicI64::new(BEGIN.unix_s())));
    let rng: Arc<dyn Rng> = Arc::new(SystemRng);
    CertificateAuthority::initialize(&settings(), &store, &installation.custody, &clock, &rng).await.unwrap();
}

#[tokio::test]
async fn a_second_start_makes_nothing_new() {
    let installation = Installation::empty();
    installation.initialize().await.unwrap();
    installation.store.committed();
    installation.initialize().await.unwrap();
    assert!(installation.store.committed().is_empty());
}

/// Each authority takes two commits. Whichever one does not come to its end, the next start completes what is missing,
/// gives up what was half made, and puts it on a list.
#[tokio::test]
async fn a_first_start_that_is_cut_short_is_completed_by_the_next() {
    for nth in 1..=6 {
        let installation = Installation::empty();
        installation.store.fail(nth);
        installation.initialize().await.expect_err("the commit fails");
        installation.initialize().await.unwrap();
        let ca = installation.open().await;
        let half_made = usize::from(nth % 2 == 0);
        assert_eq!(ca.recover().await.unwrap(), half_made, "cut at commit {nth}");
        ca.publish_due_crls().await.unwrap();

        let rows = installation.store.certificates(&CertificateFilter::default(), 100).await.unwrap();
        assert_eq!(rows.len(), 3 + half_made);
        let abandoned = rows.iter().filter(|row| matches!(row.state, CertificateState::Abandoned { .. }));
        for row in abandoned {
            assert_eq!(row.issuer, id("root"));
            assert!(served(&ca, "root").revocation(&row.serial).is_some(), "cut at commit {nth}");
        }
        installation.add_client("acme-pay").await;
        installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
        ca.server_certificate(&["localhost".to_owned()]).await.unwrap();
    }
}

fn moved() -> Settings {
    Settings { documents: "http://pki.example.com".to_owned(), ..settings() }
}

/// Our issuing CAs carry the address for three years: a list that names another one is of another scope, and whoever
/// checks a certificate by it finds no list at all.
#[tokio::test]
async fn rule_r1_another_address_of_the_lists_than_the_certificates_carry_is_refused() {
    let installation = Installation::empty();
    installation.initialize().await.unwrap();
    let refused = installation.open_with(moved()).await.err().expect("another address");
    let both = ["http://127.0.0.1:8445", "http://pki.example.com"];
    assert!(both.iter().all(|address| refused.to_string().contains(address)), "{refused}");
    installation.open_with(settings()).await.expect("the address that they carry");
}

#[tokio::test]
async fn rule_r1_an_installation_that_is_half_made_is_not_completed_with_another_address() {
    let installation = Installation::empty();
    installation.store.fail(5); // The CA of the listeners is missing.
    installation.initialize().await.expect_err("the commit fails");
    let refused = installation.initialize_with(&moved()).await.expect_err("another address");
    assert!(matches!(refused, Refusal::DocumentsMoved { .. }), "{refused}");

    let installation = Installation::empty();
    installation.store.fail(3); // There is no more than a root, which no list speaks of.
    installation.initialize().await.expect_err("the commit fails");
    installation.initialize_with(&moved()).await.expect("nothing carries an address yet");
    installation.open_with(moved()).await.expect("the address that they carry");
}

/// It would sign what its own certificate cannot verify.
#[tokio::test]
async fn an_issuer_whose_key_is_not_that_of_its_certificate_does_not_open() {
    let installation = Installation::empty();
    installation.initialize().await.unwrap();
    let issuers = installation.store.issuers().await.unwrap();
    let mixed = Installation { custody: installation.custody.clone(), ..Installation::empty() };
    for key in installation.store.keys(KeyPurpose::CertificateAuthority).await.unwrap() {
        mixed.commit(Write::InsertKey(key)).await;
    }
    mixed.commit(Write::InsertIssuer(Issuer { key: issuers[2].key.clone(), ..issuers[1].clone() })).await;
    let refused = mixed.open_with(settings()).await.err().expect("another key");
    assert!(matches!(refused, Refusal::Storage(StorageError::Corrupt(_))), "{refused}");
}
