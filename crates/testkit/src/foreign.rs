//! Certificates that are not ours, or not as they should be: what attackers and misconfigured partners present.

use crate::client::Identity;
use crate::server::{CLIENTS_CA, TestServer};
use countersign_keys::{Custody, MasterKey, Signer, SystemRng};
use countersign_model::Timestamp;
use countersign_model::certificate::IssuerRole;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm, SigningKey,
};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A CA of somebody else, which may bear the very name of ours; or ours in a thief's hands, which signs what we never would.
pub struct ForeignAuthority {
    issuer: Issuer<'static, AuthorityKey>,
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
        Self { issuer: Issuer::new(params, AuthorityKey(Box::new(key))), certificate }
    }

    /// Our own CA with this name, certificate and key, in a thief's hands.
    pub fn stolen(organization: &str, common_name: &str, certificate: Vec<u8>, key: Arc<dyn Signer>) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(organization, common_name);
        Self { issuer: Issuer::new(params, AuthorityKey(Box::new(StolenKey::new(key)))), certificate }
    }

    /// A client certificate of this CA.
    pub fn issue(&self, leaf: Leaf<'_>) -> Identity {
        let key = KeyPair::generate().unwrap();
        self.issue_for(&key, &key, leaf)
    }

    /// A client certificate over an RSA key of 1024 bits, which the holder does not even have.
    pub fn issue_weak(&self, leaf: Leaf<'_>) -> Identity {
        self.issue_for(&WeakKey::new(), &KeyPair::generate().unwrap(), leaf)
    }

    fn issue_for(&self, public: &impl PublicKeyData, key: &KeyPair, leaf: Leaf<'_>) -> Identity {
        let certificate = leaf_params(leaf).signed_by(public, &self.issuer).unwrap();
        Identity {
            chain: vec![certificate.der().to_vec(), self.certificate.clone()],
            key: key.serialize_der(),
        }
    }
}

impl TestServer {
    /// Our CA for clients in a thief's hands: what it signs has our very signature, and no row in the ledger.
    pub async fn stolen_authority(&self) -> ForeignAuthority {
        let context = self.server.context();
        let issuers = context.store.issuers().await.unwrap();
        let issuer = issuers.into_iter().find(|issuer| issuer.role == IssuerRole::Clients).unwrap();
        let key = context.store.key(&issuer.key).await.unwrap().unwrap();
        let (master, _) = MasterKey::read_file(&self.directory().join("master.key")).unwrap();
        let signer = Custody::new(master, Arc::new(SystemRng)).signer(&key).unwrap();
        let (organization, common_name) = CLIENTS_CA;
        ForeignAuthority::stolen(organization, common_name, issuer.certificate, signer)
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

/// What an authority signs with.
struct AuthorityKey(Box<dyn SigningKey + Send + Sync>);

impl PublicKeyData for AuthorityKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for AuthorityKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

/// A key in our custody.
struct StolenKey {
    signer: Arc<dyn Signer>,
    point: Vec<u8>,
}

impl StolenKey {
    fn new(signer: Arc<dyn Signer>) -> Self {
        // The SubjectPublicKeyInfo of a P-256 key ends with its uncompressed point.
        let spki = signer.public_key();
        let point = spki[spki.len() - 65..].to_vec();
        Self { signer, point }
    }
}

impl PublicKeyData for StolenKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for StolenKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let mut signing = self.signer.sign(message);
        let Poll::Ready(signature) = signing.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("a key in a file signs at once");
        };
        Ok(der_signature(&signature.unwrap()))
    }
}

/// ECDSA-Sig-Value (RFC 3279 section 2.2.3) of r and s side by side.
fn der_signature(raw: &[u8]) -> Vec<u8> {
    let integer = |octets: &[u8]| {
        let start = octets.iter().position(|&octet| octet != 0).unwrap_or(octets.len() - 1);
        let mut value = octets[start..].to_vec();
        if value[0] & 0x80 != 0 {
            value.insert(0, 0);
        }
        [vec![0x02, u8::try_from(value.len()).unwrap()], value].concat()
    };
    let body = [integer(&raw[..32]), integer(&raw[32..])].concat();
    [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat()
}

/// An RSA public key of 1024 bits: an odd number of the right length is enough for that.
struct WeakKey(Vec<u8>);

impl WeakKey {
    fn new() -> Self {
        let modulus = [[0xc3; 127].as_slice(), &[0x01]].concat();
        let head = [0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00];
        Self([head.as_slice(), &modulus, &[0x02, 0x03, 0x01, 0x00, 0x01]].concat())
    }
}

impl PublicKeyData for WeakKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}
