//! A client CA for tests, and what a handshake makes of its certificates.

use super::{ISSUER, NOW};
use countersign_model::certificate::{
    CertificateRecord, CertificateState, Issuer, IssuerRole, Profile, RevocationReason,
};
use countersign_model::{Environment, IssuerId, KeyId, Timestamp};
use countersign_pki::{PeerCertificate, TrustAnchors, TrustedIssuer, validate_client};
use countersign_storage::Write;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use std::sync::Arc;

pub(crate) struct Authority {
    issuer: rcgen::Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
    anchors: TrustAnchors,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = params("Clients CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        let trusted = TrustedIssuer::new(name(), certificate.clone()).unwrap();
        Self {
            issuer: rcgen::Issuer::new(params, key),
            certificate,
            anchors: TrustAnchors::new(vec![trusted]),
        }
    }

    pub(crate) fn issuer(&self) -> Issuer {
        Issuer {
            id: name(),
            role: IssuerRole::Clients,
            certificate: self.certificate.clone(),
            key: KeyId("authority".into()),
            created_at: NOW.plus_days(-10),
        }
    }

    pub(crate) fn client_uri(client: &str) -> String {
        format!("{ISSUER}/clients/{client}")
    }

    /// A certificate of ours with the client's name, verified as in a handshake.
    pub(crate) fn certificate_of(&self, client: &str) -> Arc<PeerCertificate> {
        self.certificate_with(&[&Self::client_uri(client)])
    }

    pub(crate) fn certificate_with(&self, uris: &[&str]) -> Arc<PeerCertificate> {
        let mut params = params("a client");
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap();
        Arc::new(validate_client(certificate.der(), &self.anchors, NOW).unwrap())
    }

    /// The writes that put a certificate into the ledger and revoke it.
    pub(crate) fn revocation(&self, certificate: &PeerCertificate, reason: RevocationReason) -> [Write; 2] {
        let (issuer, serial) = (name(), *certificate.serial());
        let record = CertificateRecord {
            issuer: issuer.clone(),
            serial,
            state: CertificateState::Pending,
            profile: Profile::Client,
            environment: Some(Environment::Production),
            client: Some("acme-pay".parse().unwrap()),
            subject: "CN=a client".into(),
            names: vec![],
            key_hash: [0; 32],
            not_before: NOW.plus_days(-1),
            not_after: NOW.plus_days(30),
            crl_shard: 0,
            renews: None,
            thumbprint: None,
            der: None,
            created_at: NOW.plus_days(-1),
            last_seen_at: None,
            calls: 0,
        };
        [
            Write::InsertPendingCertificate(record),
            Write::RevokeCertificate { issuer, serial, at: NOW, reason },
        ]
    }
}

/// When the certificates of this authority end.
pub(crate) fn not_after() -> Timestamp {
    Timestamp::parse_rfc3339("2027-06-01T00:00:00Z").unwrap()
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 6, 1);
    params
}

fn name() -> IssuerId {
    "clients".parse().unwrap()
}
