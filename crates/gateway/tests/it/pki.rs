//! A CA for clients, a certificate for the server, and what is wrong with the certificates of others.

use countersign_model::IssuerId;
use countersign_pki::{TrustAnchors, TrustedIssuer};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Identity {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.clone()).unwrap()
    }
}

/// A CA.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: CertificateDer<'static>,
    serial: AtomicU64,
}

/// What a client certificate may have wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    Expired,
    NotYetValid,
    ForServers,
}

impl Authority {
    pub(crate) fn new(common_name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate, serial: AtomicU64::new(1) }
    }

    pub(crate) fn anchors(&self) -> TrustAnchors {
        TrustAnchors::new(vec![self.trusted("clients")])
    }

    pub(crate) fn trusted(&self, id: &str) -> TrustedIssuer {
        let id: IssuerId = id.parse().unwrap();
        TrustedIssuer::new(id, self.certificate.to_vec()).unwrap()
    }

    pub(crate) fn client(&self, uri: &str, flaw: Flaw) -> Identity {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages = vec![match flaw {
            Flaw::ForServers => ExtendedKeyUsagePurpose::ServerAuth,
            _ => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        (params.not_before, params.not_after) = match flaw {
            Flaw::Expired => (date_time_ymd(2025, 1, 1), date_time_ymd(2026, 1, 1)),
            Flaw::NotYetValid => (date_time_ymd(2080, 1, 1), date_time_ymd(2081, 1, 1)),
            _ => (date_time_ymd(2026, 1, 1), date_time_ymd(2028, 1, 1)),
        };
        self.issue(params)
    }

    /// A client certificate with very many purposes, for none of which it is meant to be used here.
    pub(crate) fn client_with_purposes(&self, count: u64) -> Identity {
        let purpose = |number| ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, number]);
        let mut params = valid_now();
        params.extended_key_usages = (0..count).map(purpose).collect();
        self.issue(params)
    }

    /// A client certificate with very many extensions that nobody knows.
    pub(crate) fn client_with_extensions(&self, count: u64) -> Identity {
        let extension = |number| CustomExtension::from_oid_content(&[1, 3, 6, 1, number], vec![5, 0]);
        let mut params = valid_now();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.custom_extensions = (0..count).map(extension).collect();
        self.issue(params)
    }

    pub(crate) fn server(&self) -> Identity {
        let mut params =
            CertificateParams::new(vec!["localhost".to_owned(), "other.example".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1));
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> Identity {
        params.distinguished_name = name("somebody");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) | 1 << 62;
        params.serial_number = Some(SerialNumber::from(serial.to_be_bytes().to_vec()));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }
}

fn valid_now() -> CertificateParams {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2028, 1, 1));
    params
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Serves one certificate.
#[derive(Debug)]
pub(crate) struct OneCertificate(pub(crate) Arc<CertifiedKey>);

impl OneCertificate {
    pub(crate) fn new(identity: &Identity) -> Self {
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&identity.key()).unwrap();
        Self(Arc::new(CertifiedKey::new(identity.chain.clone(), key)))
    }
}

impl ResolvesServerCert for OneCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}
