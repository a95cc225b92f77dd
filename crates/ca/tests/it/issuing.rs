//! What is issued, and what is refused before anything is signed (rules P3, P4, P5, P9).

use crate::support::{BEGIN, DAY_S, Installation, authority, client, request};
use countersign_ca::Refusal;
use countersign_ca::issue::ClientRequest;
use countersign_model::audit::{Actor, AuditAction};
use countersign_model::certificate::{CertificateState, IssuerRole, Profile};
use countersign_model::client::{ClientState, CredentialKind};
use countersign_model::key::KeyPurpose;
use countersign_model::{Clock, ReasonCode};
use countersign_pki::{TrustAnchors, assemble_csr, csr_info_to_sign, pem, validate_client};
use countersign_storage::stores::{AuditOutbox, CertificateFilter, CertificateStore, ClientStore, KeyStore};
use countersign_storage::{Write, views::CRL_SHARDS};
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType};
use std::collections::HashSet;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

#[tokio::test]
async fn rule_p3_a_client_certificate_is_built_from_the_registered_client() {
    let (installation, ca) = Installation::with_client().await;
    let issued = installation.issue(&ca, request("whatever I like").as_bytes()).await.unwrap();

    let (_, leaf) = X509Certificate::from_der(&issued.der).unwrap();
    let clients = authority(&ca, IssuerRole::Clients);
    let (_, issuer) = X509Certificate::from_der(&clients).unwrap();
    assert_eq!(leaf.subject().to_string(), "O=acme-pay Ltd, CN=acme-pay");
    assert_eq!(leaf.issuer().as_raw(), issuer.subject().as_raw(), "rule P1: identical bytes");
    assert_eq!(leaf.raw_serial().len(), issued.serial.octets().len());
    assert!((9..=20).contains(&leaf.raw_serial().len()), "rule P1: more than 64 bits, at most 20 octets");
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(!names.critical);
    assert_eq!(names.value.general_names, [GeneralName::URI("https://localhost:8443/clients/acme-pay")]);
    let purposes = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.client_auth && !purposes.server_auth && !purposes.any);
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.flags == 1, "digitalSignature only");
    assert!(!leaf.is_ca());
    let text = String::from_utf8_lossy(&issued.der);
    assert!(
        text.contains("http://127.0.0.1:8445/pki/crl/clients/0.crl"),
        "the CDP names the shard's address"
    );
    assert!(text.contains("http://127.0.0.1:8445/pki/clients.crt"), "the AIA names the issuer's address");
    for extension in leaf.extensions() {
        let critical = matches!(
            extension.parsed_extension(),
            ParsedExtension::KeyUsage(_) | ParsedExtension::BasicConstraints(_)
        );
        assert_eq!(extension.critical, critical, "{:?}", extension.parsed_extension());
    }

    let chain = pem::decode_all(pem::Label::Certificate, issued.chain_pem.as_bytes()).unwrap();
    assert_eq!(chain, [issued.der.clone(), clients.clone()]);
    let anchors = TrustAnchors::new(ca.trusted(IssuerRole::Clients).unwrap());
    let peer = validate_client(&issued.der, &anchors, installation.clock.now()).unwrap();
    assert_eq!((*peer.serial(), *peer.thumbprint()), (issued.serial, issued.thumbprint));
    let anchors = TrustAnchors::new(ca.trusted(IssuerRole::Servers).unwrap());
    assert!(validate_client(&issued.der, &anchors, installation.clock.now()).is_err());
}

#[tokio::test]
async fn rule_p9_lifetimes_are_those_of_the_profile() {
    let (installation, ca) = Installation::with_client().await;
    let issued = installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
    assert_eq!(issued.not_after, BEGIN.plus_days(30));
    assert!(BEGIN.since(issued.not_before).as_secs() <= 3600, "rule P3");
    let server = ca.server_certificate(&["localhost".to_owned()]).await.unwrap();
    assert_eq!(server.not_after, BEGIN.plus_days(45));
    for (role, days) in [(IssuerRole::Root, 5479), (IssuerRole::Clients, 1096), (IssuerRole::Servers, 1096)] {
        let certificate = authority(&ca, role);
        assert_eq!(countersign_pki::not_after(&certificate), Some(BEGIN.plus_days(days)), "{role:?}");
    }
}

#[tokio::test]
async fn rule_p9_a_leaf_never_outlives_its_issuer() {
    let (installation, ca) = Installation::with_client().await;
    let end = BEGIN.plus_days(1096);
    installation.clock.advance_s(1090 * DAY_S);
    let issued = installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
    assert_eq!(issued.not_after, end, "cut from 30 days to 6");
    installation.clock.advance_s(7 * DAY_S);
    installation.store.committed();
    let refused = installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap_err();
    assert!(matches!(refused, Refusal::Conflict(_)), "{refused:?}");
    assert!(installation.store.committed().is_empty(), "an expired issuer leaves no row");
}

/// Every one of these asks for more than its client is registered for, or is no request at all.
#[tokio::test]
async fn rule_p5_what_a_request_may_not_ask_for_is_refused_and_leaves_nothing() {
    let (installation, ca) = Installation::with_client().await;
    installation.store.committed();
    let broken = request("acme-pay").replacen("CERTIFICATE REQUEST", "CERTIFICATE", 2);
    let mut forged = pem::decode(pem::Label::CertificateRequest, request("acme-pay").as_bytes()).unwrap();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let cases: [(&str, &[u8], ReasonCode); 8] = [
        ("nothing", b"", ReasonCode::CsrMalformed),
        ("another PEM label", broken.as_bytes(), ReasonCode::CsrMalformed),
        ("too large", &[b'A'; 70_000], ReasonCode::CsrMalformed),
        ("a broken signature", &forged, ReasonCode::CsrSignatureInvalid),
        (
            "RSA 1024",
            include_bytes!("../../../pki/tests/it/fixtures/rsa-1024.csr"),
            ReasonCode::CsrKeyRefused,
        ),
        (
            "secp256k1",
            include_bytes!("../../../pki/tests/it/fixtures/secp256k1.csr"),
            ReasonCode::CsrKeyRefused,
        ),
        ("CA:TRUE", include_bytes!("../../../pki/tests/it/fixtures/ca-true.csr"), ReasonCode::CsrNameRefused),
        (
            "keyCertSign",
            include_bytes!("../../../pki/tests/it/fixtures/key-cert-sign.csr"),
            ReasonCode::CsrNameRefused,
        ),
    ];
    for (what, csr, expected) in cases {
        let refused = installation.issue(&ca, csr).await.expect_err(what);
        assert_eq!(refused.reason(), expected, "{what}: {refused}");
    }
    assert!(installation.store.committed().is_empty());
}

#[tokio::test]
async fn rule_p5_a_request_may_ask_for_the_names_of_its_own_client() {
    let (installation, ca) = Installation::with_client().await;
    let csr = include_bytes!("../../../pki/tests/it/fixtures/own-name.csr");
    let issued = installation.issue(&ca, csr).await.unwrap();
    let row = installation.row("clients", &issued.serial).await;
    assert_eq!(row.names, ["uri:https://localhost:8443/clients/acme-pay"]);
    assert_eq!(issued.left_out, [""; 0]);
}

/// A request with one attribute in its subject, and these names.
fn request_with(kind: DnType, value: DnValue, names: Vec<SanType>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(kind, value);
    params.subject_alt_names = names;
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

/// A request is the wrong file if another registered client stands in it, wherever and however it is written. What nobody is
/// registered under is left out, and named.
#[tokio::test]
async fn rule_p5_a_request_with_the_name_of_another_client_is_refused() {
    let (installation, ca) = Installation::with_client().await;
    installation.add_client("other-bank").await;
    let uri =
        |client: &str| SanType::URI(format!("https://localhost:8443/clients/{client}").try_into().unwrap());
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let bmp = DnValue::BmpString("other-bank".try_into().unwrap());
    let teletex = DnValue::TeletexString("other-bank".try_into().unwrap());
    let universal = DnValue::UniversalString("other-bank".try_into().unwrap());
    let text = |text: &str| DnValue::Utf8String(text.to_owned());
    for (what, kind, value, names) in [
        ("CN", DnType::CommonName, text("other-bank"), vec![]),
        ("CN in capitals", DnType::CommonName, text("Other-Bank"), vec![]),
        ("CN between spaces", DnType::CommonName, text(" other-bank "), vec![]),
        ("CN as BMPString", DnType::CommonName, bmp, vec![]),
        ("CN as TeletexString", DnType::CommonName, teletex, vec![]),
        ("CN as UniversalString", DnType::CommonName, universal, vec![]),
        ("UID", DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 1]), text("other-bank"), vec![]),
        ("URI", DnType::CommonName, text("acme-pay"), vec![uri("other-bank")]),
        ("URI with a slash", DnType::CommonName, text("acme-pay"), vec![uri("other-bank/")]),
        ("both URIs", DnType::CommonName, text("acme-pay"), vec![uri("acme-pay"), uri("other-bank")]),
        ("DNS name", DnType::CommonName, text("acme-pay"), vec![dns("other-bank")]),
    ] {
        let csr = request_with(kind, value, names);
        let refused = installation.issue(&ca, &csr).await.expect_err(what);
        assert_eq!(refused.reason(), ReasonCode::CsrNameRefused, "{what}: {refused}");
        assert!(refused.to_string().contains("`other-bank`"), "{what}: {refused}");
    }
    let csr = request("acme-pay");
    let refused = installation.issue_for(&ca, "other-bank", csr.as_bytes()).await.unwrap_err();
    assert_eq!(refused.reason(), ReasonCode::CsrNameRefused, "acme-pay's request for other-bank");

    let csr = request_with(DnType::OrganizationName, text("other-bank"), vec![]);
    let issued = installation.issue(&ca, &csr).await.unwrap();
    assert_eq!(issued.left_out, ["O=other-bank"], "several clients of one partner have its name");
    let csr = request_with(
        DnType::CommonName,
        text("nobody-yet"),
        vec![uri("nobody-yet"), dns("api.acme.example")],
    );
    let issued = installation.issue(&ca, &csr).await.unwrap();
    assert_eq!(
        issued.left_out,
        ["CN=nobody-yet", "uri:https://localhost:8443/clients/nobody-yet", "dns:api.acme.example"]
    );
    let row = installation.row("clients", &issued.serial).await;
    assert_eq!(row.names, ["uri:https://localhost:8443/clients/acme-pay"]);
    assert_eq!(row.subject, "CN=acme-pay, O=acme-pay Ltd");
}

/// Also a request without any name is one for the client that the operator names.
#[tokio::test]
async fn rule_p10_a_key_belongs_to_one_client() {
    let (installation, ca) = Installation::with_client().await;
    installation.add_client("other-bank").await;
    let key = KeyPair::generate().unwrap();
    let csr = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serialize_request(&key).unwrap().der().to_vec()
    };
    for renewal in 0..3 {
        let issued = installation.issue(&ca, &csr("acme-pay")).await;
        assert!(issued.is_ok(), "{renewal}: {issued:?}");
    }
    let serials = |of: &str| {
        let filter = CertificateFilter { client: Some(client(of)), ..CertificateFilter::default() };
        let store = installation.store.clone();
        async move { store.certificates(&filter, 10).await.unwrap().len() }
    };
    let refused = installation.issue_for(&ca, "other-bank", &csr("other-bank")).await.unwrap_err();
    assert_eq!(refused.reason(), ReasonCode::CsrKeyOfAnother);
    let told = refused.to_string();
    assert!(told.contains("environment production") && !told.contains("acme"), "{told}");
    assert_eq!(serials("other-bank").await, 0, "a refused request leaves no row");

    let (client, actor) = (client("other-bank"), Actor::Operator("tester".to_owned()));
    let shared = ClientRequest { client: &client, csr: &csr("other-bank"), allow_shared_key: true };
    ca.issue_client(shared, actor, installation.reference()).await.unwrap();
    assert_eq!(serials("other-bank").await, 1);
    // Each signature is asked for: a key that was shared once is not everybody's.
    let refused = installation.issue(&ca, &csr("acme-pay")).await.unwrap_err();
    assert_eq!(refused.reason(), ReasonCode::CsrKeyOfAnother);
}

#[tokio::test]
async fn rule_p4_a_key_of_our_own_authorities_is_refused() {
    let (installation, ca) = Installation::with_client().await;
    let keys = installation.store.keys(KeyPurpose::CertificateAuthority).await.unwrap();
    assert_eq!(keys.len(), 3);
    for key in keys {
        let info = csr_info_to_sign("acme-pay", &key.public_key).unwrap();
        let signature = installation.custody.signer(&key).unwrap().sign(&info).await.unwrap();
        let csr = assemble_csr(&info, &signature).unwrap();
        let refused = installation.issue(&ca, csr.as_bytes()).await.unwrap_err();
        assert!(matches!(refused, Refusal::OwnKey));
        assert_eq!(refused.reason(), ReasonCode::CsrKeyRefused);
    }
}

#[tokio::test]
async fn a_disabled_or_unknown_client_gets_no_certificate() {
    let (installation, ca) = Installation::with_client().await;
    let actor = Actor::Operator("tester".to_owned());
    let unknown = client("nobody");
    let csr = request("acme-pay");
    let request = ClientRequest { client: &unknown, csr: csr.as_bytes(), allow_shared_key: false };
    let refused = ca.issue_client(request, actor, installation.reference()).await.unwrap_err();
    assert_eq!(refused.reason(), ReasonCode::ObjectNotFound);
    let state = ClientState::Disabled;
    let disable = Write::SetClientState { client: client("acme-pay"), state, at: installation.clock.now() };
    installation.commit(disable).await;
    let refused = installation.issue(&ca, csr.as_bytes()).await.unwrap_err();
    assert_eq!(refused.reason(), ReasonCode::ObjectConflict);
}

#[tokio::test]
async fn issuing_registers_the_name_once_and_records_each_certificate() {
    let (installation, ca) = Installation::with_client().await;
    let mut serials = HashSet::new();
    for _ in 0..3 {
        serials.insert(installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap().serial);
    }
    assert_eq!(serials.len(), 3, "rule P1: serial numbers are unique");
    let (_, credentials) = installation.store.client(&client("acme-pay")).await.unwrap().unwrap();
    assert_eq!(credentials.len(), 1);
    assert!(matches!(credentials[0].kind, CredentialKind::Certificate(_)));
    let events = installation.store.outbox(100).await.unwrap();
    let of_client: Vec<_> = events
        .iter()
        .filter(|(_, event)| event.facts.client.is_some() && event.action == AuditAction::CertificateIssued)
        .collect();
    assert_eq!(of_client.len(), 3);
    for (_, event) in of_client {
        assert_eq!(event.actor, Actor::Operator("tester".to_owned()));
        let certificate = event.facts.certificate.as_ref().unwrap();
        let row = installation.row("clients", &certificate.serial.unwrap()).await;
        assert_eq!((row.state, row.profile), (CertificateState::Issued, Profile::Client));
        assert_eq!(row.thumbprint, certificate.thumbprint);
        assert!(row.crl_shard < CRL_SHARDS);
    }
}

/// The label sets are closed: whatever a request says, none of it becomes a label.
#[test]
fn issued_and_refused_certificates_are_counted() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (installation, ca) = Installation::with_client().await;
            installation.issue(&ca, request("acme-pay").as_bytes()).await.unwrap();
            installation.issue(&ca, b"nonsense").await.unwrap_err();
            ca.server_certificate(&["localhost".to_owned()]).await.unwrap();
        });
    });
    let text = handle.render();
    let name = "countersign_certificates_issued_total";
    for labels in [
        r#"{issuer="clients",profile="client",result="issued"} 1"#,
        r#"{issuer="clients",profile="client",result="refused"} 1"#,
        r#"{issuer="servers",profile="server",result="issued"} 1"#,
    ] {
        assert!(text.contains(&format!("{name}{labels}")), "{text}");
    }
}
