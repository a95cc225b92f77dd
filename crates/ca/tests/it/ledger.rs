//! The row is written before the signature, and what was pending when the program stopped is given up (rule P7). That
//! the issuer signs after the commit and not before it is tested beside `issue`, with a signer that looks.

use crate::support::{Installation, client, id, request, served};
use countersign_ca::Refusal;
use countersign_model::audit::{Actor, AuditAction};
use countersign_model::certificate::{CertificateRecord, CertificateState, IssuerRole, RevocationReason};
use countersign_model::{Clock, ReasonCode, Serial};
use countersign_pki::TrustedIssuer;
use countersign_policy::Registry;
use countersign_storage::Write;
use countersign_storage::stores::{AuditOutbox, CertificateFilter, CertificateStore, ClientStore};
use countersign_storage::views::Views;

#[tokio::test]
async fn rule_p7_the_row_is_committed_before_the_certificate_exists() {
    let (installation, ca) = Installation::with_client().await;
    installation.store.committed();
    installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
    let committed = installation.store.committed();
    let [
        Write::KeyIsFree { .. },
        Write::InsertPendingCertificate(row),
        Write::MarkIssued { serial, .. },
        Write::InsertMatcherIfAbsent(_),
    ] = committed.as_slice()
    else {
        panic!("{committed:?}")
    };
    assert_eq!(row.serial, *serial);
    assert!(row.der.is_none() && row.thumbprint.is_none());
}

#[tokio::test]
async fn rule_p7_a_row_that_is_not_written_is_no_certificate() {
    let (installation, ca) = Installation::with_client().await;
    installation.store.fail(1);
    let refused = installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap_err();
    assert_eq!(refused.reason(), ReasonCode::StorageUnavailable);
    assert!(installation.store.pending_certificates().await.unwrap().is_empty());
}

#[tokio::test]
async fn rule_p7_what_was_signed_but_not_stored_is_given_up_and_refused_everywhere() {
    let (installation, ca) = Installation::with_client().await;
    installation.store.fail(2); // The row is written, the certificate is not.
    let refused = installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap_err();
    assert!(matches!(refused, Refusal::Storage(_)));
    let pending = installation.store.pending_certificates().await.unwrap();
    assert_eq!(pending.len(), 1);
    let serial = pending[0].serial;
    assert!(pending[0].der.is_none(), "nobody was handed a certificate");
    let (_, credentials) = installation.store.client(&client("acme-pay")).await.unwrap().unwrap();
    assert!(credentials.is_empty());

    let ca = installation.open().await; // The next start.
    assert_eq!(ca.recover().await.unwrap(), 1);
    ca.publish_due_crls().await.unwrap();
    let row = installation.row("clients", &serial).await;
    assert_eq!(row.state, CertificateState::Abandoned { at: installation.clock.now() });
    assert!(
        served(&ca, "clients").revocation(&serial).is_some(),
        "on the CRL, should a signature exist after all"
    );
    let views = Views::load(installation.store.as_ref(), installation.clock.now()).await.unwrap();
    let issuer = ca.trusted(IssuerRole::Clients).unwrap().remove(0);
    assert!(views.revocation(&issuer.key_hash, &serial).is_some());
    let events = installation.store.outbox(100).await.unwrap();
    let abandoned: Vec<_> =
        events.iter().filter(|(_, event)| event.action == AuditAction::CertificateAbandoned).collect();
    assert_eq!(abandoned.len(), 1);
    assert_eq!(abandoned[0].1.actor, Actor::System);
    assert_eq!(ca.recover().await.unwrap(), 0, "once");

    let refused = ca
        .revoke(&row, RevocationReason::KeyCompromise, Actor::System, installation.reference())
        .await
        .unwrap_err();
    assert_eq!(refused.reason(), ReasonCode::ObjectConflict, "it was never handed out");
}

#[tokio::test]
async fn rule_p7_every_certificate_that_left_us_is_a_row_of_the_ledger() {
    let (installation, ca) = Installation::with_client().await;
    let issued = installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
    let server = ca.server_certificate(&["localhost".to_owned()]).await.unwrap();
    let rows = installation.store.certificates(&CertificateFilter::default(), 100).await.unwrap();
    assert_eq!(rows.len(), 5, "root, two issuing CAs, a client, a server");
    let left = [
        ca.issuer_certificate(&id("root")).unwrap(),
        ca.issuer_certificate(&id("clients")).unwrap(),
        ca.issuer_certificate(&id("servers")).unwrap(),
        &issued.der,
        &server.chain[0],
    ];
    for der in left {
        let row = rows.iter().find(|row| row.der.as_deref() == Some(der)).expect("its row");
        assert_eq!(row.thumbprint, Some(countersign_pki::thumbprint(der)));
        assert_eq!(row.state, CertificateState::Issued);
        // The row's issuer is the one that signed.
        let issuer = ca.issuer_certificate(&row.issuer).unwrap().to_vec();
        assert!(TrustedIssuer::new(row.issuer.clone(), issuer).is_ok());
    }
}

/// Without a crash too: the disk was full for a moment, or a revocation came between the two commits.
#[tokio::test]
async fn rule_p7_what_fails_in_a_process_that_runs_on_is_given_up_by_its_next_turn() {
    let (installation, ca) = Installation::with_client().await;
    installation.store.fail(2);
    installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap_err();
    let pending = installation.store.pending_certificates().await.unwrap().remove(0);
    assert!(ca.is_recovered().await, "nothing is left of an earlier process");
    installation.store.fail(1);
    ca.recover().await.unwrap_err();
    assert_eq!(ca.recover().await.unwrap(), 1);
    let row = installation.row("clients", &pending.serial).await;
    assert_eq!(row.state, CertificateState::Abandoned { at: installation.clock.now() });
    assert_eq!(ca.recover().await.unwrap(), 0, "once");

    installation.store.fail(2);
    installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap_err();
    let pending = installation.store.pending_certificates().await.unwrap().remove(0);
    let reason = RevocationReason::Superseded;
    ca.revoke(&pending, reason, Actor::System, installation.reference()).await.unwrap();
    assert_eq!(ca.recover().await.unwrap(), 0, "it is refused already");
}

#[tokio::test]
async fn what_cannot_be_given_up_now_is_given_up_later_and_what_is_being_signed_is_not() {
    let (installation, ca) = Installation::with_client().await;
    installation.store.fail(2);
    installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap_err();
    let orphan = installation.store.pending_certificates().await.unwrap().remove(0);
    let restarted = installation.open().await;
    installation.store.fail(1); // The disk is full still.
    restarted.recover().await.unwrap_err();
    assert!(!restarted.is_recovered().await);

    let serial = Serial::from_octets(&[0x7f; 8]).unwrap(); // Another one is being signed meanwhile.
    installation.commit(Write::InsertPendingCertificate(CertificateRecord { serial, ..orphan })).await;
    assert_eq!(restarted.recover().await.unwrap(), 1);
    assert!(restarted.is_recovered().await);
    let pending = installation.store.pending_certificates().await.unwrap();
    assert!(pending.len() == 1 && pending[0].serial == serial, "not ours to give up");
}
