//! Certificates that are not ours, or not as they should be: what attackers and misconfigured partners present.

use crate::client::Identity;
use countersign_model::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

/// A CA of somebody else, which may bear the very name of ours.
pub struct ForeignAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
}

/// How a leaf differs from what it should be.
#[derive(Debug, Clone, Copy)]
pub struct Leaf<'a> {
    /// The SAN URI it claims.
    pub uri: &'a str,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
    /// Whether its purpose is server authentication, which is wrong for a client.
    pub for_servers: bool,
}

impl ForeignAuthority {
    /// A CA with this organisation and common name.
    pub fn new(organization: &str, common_name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(organization, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A client certificate of this CA.
    pub fn issue(&self, leaf: Leaf<'_>) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = leaf_params(leaf).signed_by(&key, &self.issuer).unwrap();
        Identity {
            chain: vec![certificate.der().to_vec(), self.certificate.clone()],
            key: key.serialize_der(),
        }
    }
}

/// A client certificate that signed itself.
pub fn self_signed(leaf: Leaf<'_>) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate = leaf_params(leaf).self_signed(&key).unwrap();
    Identity { chain: vec![certificate.der().to_vec()], key: key.serialize_der() }
}

fn leaf_params(leaf: Leaf<'_>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("Somebody", "somebody");
    params.subject_alt_names = vec![SanType::URI(leaf.uri.try_into().unwrap())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![if leaf.for_servers {
        ExtendedKeyUsagePurpose::ServerAuth
    } else {
        ExtendedKeyUsagePurpose::ClientAuth
    }];
    params.not_before =
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds(leaf.not_before));
    params.not_after =
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds(leaf.not_after));
    params
}

fn name(organization: &str, common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, organization);
    name.push(DnType::CommonName, common_name);
    name
}

fn seconds(moment: Timestamp) -> u64 {
    u64::try_from(moment.unix_s()).unwrap()
}
