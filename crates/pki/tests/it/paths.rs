//! Client certificates in the handshake: who gets in, and with which code the others do not (rules T7, T9, P4).

use crate::support::{Authority, Key, NOW};
use countersign_model::{ReasonCode, Timestamp};
use countersign_pki::pem::{self, Label};
use countersign_pki::{
    ChainError, Csr, PathOptions, PeerCertificate, Purpose, TrustAnchors, TrustedIssuer,
    read_outdated_client, validate_client, validate_path,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm,
};
use std::time::{Duration, UNIX_EPOCH};

fn anchors(certificates: &[&[u8]]) -> TrustAnchors {
    let issuer = |der: &&[u8]| TrustedIssuer::new("clients".parse().unwrap(), der.to_vec()).unwrap();
    TrustAnchors::new(certificates.iter().map(issuer).collect())
}

/// A foreign CA that signs whatever it is told to.
struct Careless {
    issuer: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
}

impl Careless {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Careless");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn sign(&self, params: &CertificateParams) -> Vec<u8> {
        params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap().der().to_vec()
    }

    fn judge(&self, params: &CertificateParams) -> Result<PeerCertificate, ChainError> {
        validate_client(&self.sign(params), &anchors(&[&self.certificate]), NOW)
    }
}

/// A good client certificate, to be made worse.
fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "acme-pay");
    params.subject_alt_names =
        vec![SanType::URI("https://localhost:8443/clients/acme-pay".try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.not_before = moment(NOW.plus_days(-1)).into();
    params.not_after = moment(NOW.plus_days(1)).into();
    params
}

fn with(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = params();
    change(&mut params);
    params
}

fn moment(at: Timestamp) -> std::time::SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(at.unix_s()).unwrap())
}

#[test]
fn rule_t7_a_certificate_of_a_pinned_issuer_becomes_a_peer() {
    let clients = Authority::root().issuing("Clients");
    let der = clients.client("acme-pay", &Key::generate().public());
    let peer = validate_client(&der, &anchors(&[&clients.certificate]), NOW).unwrap();
    assert_eq!(peer.der(), der);
    assert_eq!(*peer.thumbprint(), countersign_pki::thumbprint(&der));
    assert_eq!(peer.serial().octets().len(), 16);
    assert_eq!(*peer.issuer_key_hash(), clients.key.public().key_hash());
    assert_eq!(peer.san_uris(), ["https://localhost:8443/clients/acme-pay"]);
    assert_eq!(peer.subject(), "O=Acme Payments Ltd, CN=acme-pay");
    assert_eq!((peer.not_before(), peer.not_after()), (NOW.plus_s(-300), NOW.plus_days(30)));
}

#[test]
fn rule_g14_the_issuer_key_is_that_of_the_direct_issuer() {
    let root = Authority::root();
    let clients = root.issuing("Clients");
    let der = clients.client("acme-pay", &Key::generate().public());
    let options = PathOptions { purpose: Purpose::Client, now: NOW, max_intermediates: None, crls: &[] };
    let trusted = anchors(&[&root.certificate]);
    let chain = validate_path(&der, &[&clients.certificate], &trusted, &options).unwrap();
    assert_eq!(chain.issuer_key_hash, clients.key.public().key_hash());
    assert_eq!(chain.anchor.key_hash, root.key.public().key_hash());
}

#[test]
fn rule_t7_another_ca_with_the_same_name_is_unknown() {
    let (ours, theirs) = (Authority::root().issuing("Clients"), Authority::root().issuing("Clients"));
    assert_eq!(ours.identity.subject_der(), theirs.identity.subject_der());
    let der = theirs.client("acme-pay", &Key::generate().public());
    let error = validate_client(&der, &anchors(&[&ours.certificate]), NOW).unwrap_err();
    assert_eq!(error.reason(), ReasonCode::CertificateUnknownIssuer);
    // With both pinned the certificate belongs to the one whose key signed it.
    let both = anchors(&[&ours.certificate, &theirs.certificate]);
    let peer = validate_client(&der, &both, NOW).unwrap();
    assert_eq!(*peer.issuer_key_hash(), theirs.key.public().key_hash());
}

#[test]
fn rule_t9_self_signed_and_ca_certificates_are_no_clients() {
    let careless = Careless::new();
    let trusted = anchors(&[&careless.certificate]);
    let self_signed = params().self_signed(&KeyPair::generate().unwrap()).unwrap();
    let error = validate_client(self_signed.der(), &trusted, NOW).unwrap_err();
    assert_eq!(error.reason(), ReasonCode::CertificateUnknownIssuer);
    let error = validate_client(&careless.certificate, &trusted, NOW).unwrap_err();
    assert_eq!(error.reason(), ReasonCode::CertificatePurposeWrong);
    let ca = with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert_eq!(careless.judge(&ca).unwrap_err().reason(), ReasonCode::CertificatePurposeWrong);
}

#[test]
fn rule_t9_expired_and_not_yet_valid_are_told_apart() {
    let clients = Authority::root().issuing("Clients");
    let der = clients.client("acme-pay", &Key::generate().public());
    let at =
        |now| validate_client(&der, &anchors(&[&clients.certificate]), now).map_err(|error| error.reason());
    let (first, last) = (NOW.plus_s(-300), NOW.plus_days(30));
    assert_eq!(at(first.plus_s(-1)).unwrap_err(), ReasonCode::CertificateNotYetValid);
    assert!(at(first).is_ok() && at(last).is_ok(), "both ends belong to it");
    assert_eq!(at(last.plus_s(1)).unwrap_err(), ReasonCode::CertificateExpired);
    assert_eq!(at(Timestamp::from_unix_s(-1)).unwrap_err(), ReasonCode::CertificateNotYetValid);
    let peer = at(NOW).unwrap();
    assert!(peer.is_valid_at(last.plus_s(0)) && !peer.is_valid_at(last.plus_s(1)));
    assert!(!peer.is_valid_at(first.plus_s(-1)));
}

#[test]
fn rule_t9_an_expired_issuer_vouches_for_nobody() {
    let careless = Careless::new();
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name.push(DnType::CommonName, "Over");
    issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    issuer.not_after = moment(NOW.plus_days(-1)).into();
    let key = KeyPair::generate().unwrap();
    let certificate = issuer.self_signed(&key).unwrap().der().to_vec();
    let over = Careless { issuer: Issuer::new(issuer, key), certificate };
    assert!(careless.judge(&params()).is_ok());
    assert_eq!(over.judge(&params()).unwrap_err(), ChainError::Expired);
}

#[test]
fn rule_p3_only_a_certificate_for_clients_proves_a_client() {
    let careless = Careless::new();
    assert!(careless.judge(&params()).is_ok());
    let with_usage =
        |usages: &[ExtendedKeyUsagePurpose]| with(|params| params.extended_key_usages = usages.to_vec());
    for wrong in [
        with_usage(&[]),
        with_usage(&[ExtendedKeyUsagePurpose::ServerAuth]),
        with_usage(&[ExtendedKeyUsagePurpose::Any]),
        with_usage(&[ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::Any]),
        with(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]),
    ] {
        let error = careless.judge(&wrong).unwrap_err();
        assert_eq!(error.reason(), ReasonCode::CertificatePurposeWrong, "{error}");
    }
    let server = Authority::root().issuing("Servers");
    let der = server.server(&["dns:localhost"], &Key::generate().public());
    let error = validate_client(&der, &anchors(&[&server.certificate]), NOW).unwrap_err();
    assert_eq!(error.reason(), ReasonCode::CertificatePurposeWrong);
}

/// The public key of a request, of any strength.
struct Foreign(Vec<u8>, &'static SignatureAlgorithm);

impl PublicKeyData for Foreign {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }
    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.1
    }
}

#[test]
fn rule_p4_a_weak_key_is_refused_in_the_handshake() {
    // RSAPublicKey with a modulus of 1024 bits and exponent 65537.
    let mut weak = vec![0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00];
    weak.extend([0xc5; 128]);
    weak.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
    let careless = Careless::new();
    let der = params().signed_by(&Foreign(weak, &rcgen::PKCS_RSA_SHA256), &careless.issuer).unwrap();
    let error = validate_client(der.der(), &anchors(&[&careless.certificate]), NOW).unwrap_err();
    assert_eq!(error.reason(), ReasonCode::CertificateKeyWeak);
    let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    let der = params().signed_by(&p521, &careless.issuer).unwrap();
    let error = validate_client(der.der(), &anchors(&[&careless.certificate]), NOW).unwrap_err();
    assert_eq!(error.reason(), ReasonCode::CertificateKeyWeak);
}

#[test]
fn an_anchor_is_a_ca_with_a_strong_key() {
    let id = || "clients".parse().unwrap();
    let clients = Authority::root().issuing("Clients");
    let leaf = clients.client("acme-pay", &Key::generate().public());
    assert!(TrustedIssuer::new(id(), leaf).is_err());
    assert!(TrustedIssuer::new(id(), b"no certificate".to_vec()).is_err());
    let issuer = TrustedIssuer::new(id(), clients.certificate.clone()).unwrap();
    assert_eq!(issuer.key_hash, clients.key.public().key_hash());
    assert_eq!(issuer.subject_der(), clients.identity.subject_der());
    let trailing = [clients.certificate.as_slice(), &[0]].concat();
    assert!(TrustedIssuer::new(id(), trailing).is_err());
}

#[test]
fn no_anchor_trusts_nobody() {
    let clients = Authority::root().issuing("Clients");
    let der = clients.client("acme-pay", &Key::generate().public());
    assert_eq!(validate_client(&der, &TrustAnchors::default(), NOW).unwrap_err(), ChainError::UnknownIssuer);
}

#[test]
fn a_truncated_padded_or_huge_certificate_is_refused() {
    let clients = Authority::root().issuing("Clients");
    let der = clients.client("acme-pay", &Key::generate().public());
    let trusted = anchors(&[&clients.certificate]);
    for end in 0..der.len() {
        assert!(validate_client(&der[..end], &trusted, NOW).is_err(), "truncated at {end}");
    }
    assert!(validate_client(&[der.as_slice(), &[0]].concat(), &trusted, NOW).is_err());
    assert!(validate_client(&vec![0x30; 1 << 20], &trusted, NOW).is_err());
}

#[test]
fn a_certificate_from_a_request_and_the_request_have_one_key() {
    let clients = Authority::root().issuing("Clients");
    let key = Key::generate();
    let csr = Csr::parse(key.request("acme-pay").as_bytes()).unwrap();
    let der = clients.client("acme-pay", csr.public_key());
    let text = pem::encode(Label::Certificate, &der);
    assert_eq!(pem::decode(Label::Certificate, text.as_bytes()).unwrap(), der);
    assert!(
        der.windows(csr.public_key().spki_der().len()).any(|window| window == csr.public_key().spki_der())
    );
}

#[test]
fn rule_t11_a_certificate_whose_dates_are_wrong_is_read_if_everything_else_about_it_is_good() {
    let ca = Careless::new();
    let anchors = anchors(&[&ca.certificate]);
    let days = |from: i64, to: i64| {
        move |params: &mut CertificateParams| {
            params.not_before = moment(NOW.plus_days(from)).into();
            params.not_after = moment(NOW.plus_days(to)).into();
        }
    };
    for (dates, refused) in [(days(-2, -1), ChainError::Expired), (days(1, 2), ChainError::NotYetValid)] {
        let der = ca.sign(&with(dates));
        assert_eq!(validate_client(&der, &anchors, NOW), Err(refused));
        let read = read_outdated_client(&der, &anchors, NOW).unwrap();
        assert_eq!(read.content().san_uris(), ["https://localhost:8443/clients/acme-pay"]);
        assert!(!read.content().is_valid_at(NOW), "it is still not good for anything");

        let of_a_namesake = Careless::new().sign(&with(dates));
        assert_eq!(
            read_outdated_client(&of_a_namesake, &anchors, NOW).unwrap_err(),
            ChainError::UnknownIssuer
        );
        let for_servers = ca.sign(&with(|params| {
            dates(params);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }));
        read_outdated_client(&for_servers, &anchors, NOW).unwrap_err();
    }
}

#[test]
fn rule_t11_a_certificate_is_read_if_it_is_its_issuer_that_has_expired() {
    let clients = Authority::root().issuing("Clients");
    let der = clients.client("acme-pay", &Key::generate().public());
    let anchors = anchors(&[&clients.certificate]);
    let later = NOW.plus_days(100 * 365);
    assert_eq!(validate_client(&der, &anchors, later), Err(ChainError::Expired));
    let read = read_outdated_client(&der, &anchors, later).unwrap();
    assert_eq!(read.content().san_uris(), ["https://localhost:8443/clients/acme-pay"]);
}
