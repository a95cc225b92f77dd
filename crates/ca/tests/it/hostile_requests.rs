//! Whatever a request asks for, what we issue stays inside its profile, and what we refuse leaves nothing (rules P1–P5, P9).

use crate::support::{Installation, authority};
use countersign_ca::Refusal;
use countersign_model::certificate::IssuerRole;
use countersign_pki::{Csr, CsrError, IssuerIdentity};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, KeyUsagePurpose, SanType};
use std::cell::Cell;
use std::sync::LazyLock;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

static KEYS: LazyLock<Vec<rcgen::KeyPair>> = LazyLock::new(|| {
    [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519]
        .map(|algorithm| rcgen::KeyPair::generate_for(algorithm).unwrap())
        .into()
});

#[test]
fn rule_p5_every_issued_certificate_stays_inside_its_profile() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (installation, ca) = runtime.block_on(Installation::with_client());
    let issuer = IssuerIdentity::from_certificate(&authority(&ca, IssuerRole::Clients)).unwrap();
    let (issued, refused) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&wishes(), |wishes| {
        let Some(request) = wishes.request() else { return Ok(()) };
        installation.store.committed();
        match runtime.block_on(installation.issue(&ca, &request)) {
            Ok(certificate) => {
                prop_assert!(wishes.ca.is_none(), "a request for a CA was granted");
                assert_is_the_client_profile(&certificate.der, &Csr::parse(&request).unwrap(), &issuer);
                issued.set(issued.get() + 1);
            }
            Err(Refusal::Csr(CsrError::AsksForCa | CsrError::Malformed(_))) => {
                prop_assert!(installation.store.committed().is_empty(), "a refusal leaves nothing");
                refused.set(refused.get() + 1);
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
        Ok(())
    });
    outcome.unwrap();
    assert!(issued.get() > 25 && refused.get() > 25, "{} issued, {} refused", issued.get(), refused.get());
}

/// Reads the signed certificate with x509-parser, not with the lint.
fn assert_is_the_client_profile(der: &[u8], csr: &Csr, issuer: &IssuerIdentity) {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    assert_eq!(certificate.public_key().raw, csr.public_key().spki_der());
    assert_eq!(certificate.subject().to_string(), "O=acme-pay Ltd, CN=acme-pay");
    assert_eq!(certificate.issuer().as_raw(), issuer.subject_der());
    assert_eq!(certificate.signature_algorithm, certificate.signature);
    assert!(!certificate.is_ca() && certificate.basic_constraints().unwrap().is_none());
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.flags == 1, "digitalSignature alone");
    let purposes = certificate.extended_key_usage().unwrap().unwrap();
    assert!(
        !purposes.critical
            && purposes.value.client_auth
            && !purposes.value.server_auth
            && !purposes.value.any
    );
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert!(!names.critical);
    let names: Vec<String> = names.value.general_names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["URI(https://localhost:8443/clients/acme-pay)"]);
    let mut extensions: Vec<String> = certificate.extensions().iter().map(|e| e.oid.to_id_string()).collect();
    extensions.sort();
    let profile =
        ["1.3.6.1.5.5.7.1.1", "2.5.29.14", "2.5.29.15", "2.5.29.17", "2.5.29.31", "2.5.29.35", "2.5.29.37"];
    assert_eq!(extensions, profile);
    let validity = certificate.validity();
    assert!(validity.not_after.timestamp() <= issuer.not_after().unix_s());
}

/// What a hostile requester writes into a request.
#[derive(Debug, Clone)]
struct Wishes {
    key: usize,
    subject: Vec<(usize, String)>,
    names: Vec<String>,
    key_usages: bool,
    ca: Option<u8>,
    extension: Option<(Vec<u64>, Vec<u8>, bool)>,
}

fn wishes() -> impl Strategy<Value = Wishes> {
    let subject = prop::collection::vec((0..4usize, "\\PC{0,80}"), 0..4);
    let own = Just("https://localhost:8443/clients/acme-pay".to_owned());
    let names = prop_oneof![
        2 => Just(Vec::new()),
        1 => own.prop_map(|name| vec![name]),
        1 => prop::collection::vec("[ -~]{0,40}", 1..4),
    ];
    let oid = prop_oneof![
        Just(vec![2, 5, 29, 17]),
        Just(vec![2, 5, 29, 19]),
        Just(vec![2, 5, 29, 30]),
        Just(vec![2, 5, 29, 31]),
        Just(vec![2, 5, 29, 37]),
        Just(vec![1, 3, 6, 1, 5, 5, 7, 1, 1]),
        Just(vec![1, 2, 3, 4]),
    ];
    let extension = prop::option::of((oid, prop::collection::vec(any::<u8>(), 0..40), any::<bool>()));
    (0..3usize, subject, names, any::<bool>(), prop::option::weighted(0.2, any::<u8>()), extension).prop_map(
        |(key, subject, names, key_usages, ca, extension)| Wishes {
            key,
            subject,
            names,
            key_usages,
            ca,
            extension,
        },
    )
}

impl Wishes {
    /// `None` when even rcgen will not write it.
    fn request(&self) -> Option<Vec<u8>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in &self.subject {
            let kind =
                [DnType::CommonName, DnType::OrganizationName, DnType::CountryName, DnType::LocalityName]
                    [*kind]
                    .clone();
            params.distinguished_name.push(kind, value.as_str());
        }
        for (index, name) in self.names.iter().enumerate() {
            let name = name.as_str().try_into().ok()?;
            params
                .subject_alt_names
                .push([SanType::URI, SanType::DnsName, SanType::Rfc822Name][index % 3](name));
        }
        if self.key_usages {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        }
        if let Some(length) = self.ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
        }
        if let Some((oid, content, critical)) = &self.extension {
            let mut extension = CustomExtension::from_oid_content(oid, content.clone());
            extension.set_criticality(*critical);
            params.custom_extensions.push(extension);
        }
        params.serialize_request(&KEYS[self.key]).ok().map(|request| request.der().to_vec())
    }
}
