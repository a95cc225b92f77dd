//! Objects to write: each builder takes what its test looks at and fills in the rest.

use countersign_model::audit::{Actor, AuditAction, AuditEvent, Facts};
use countersign_model::certificate::{
    CertificateRecord, CertificateState, CrlRecord, Issuer, IssuerRole, Profile,
};
use countersign_model::client::{
    AuthMethod, CertificateMatcher, Client, ClientState, Credential, CredentialKind, CredentialState,
};
use countersign_model::key::{KeyAlgorithm, KeyPurpose, KeyRecord};
use countersign_model::operator::{Operator, Role};
use countersign_model::{
    ClientId, Clock, CredentialId, Environment, IssuerId, KeyId, Reference, Rng, Serial, Timestamp,
};

/// 2026-11-22T00:00:00.123Z: with milliseconds, which must not be lost.
pub const NOW: Timestamp = Timestamp::from_unix_ms(1_795_305_600_123);

/// A clock that stands at [`NOW`].
#[derive(Debug, Clone, Copy, Default)]
pub struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// Bytes that count up from its value: different names for different numbers, the same in every run.
struct Numbered(u64);

impl Rng for Numbered {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.iter_mut().rev().zip(self.0.to_le_bytes()).for_each(|(byte, number)| *byte = number);
    }
}

/// A client id.
pub fn client_id(name: &str) -> ClientId {
    name.parse().unwrap()
}

/// An issuer's name.
pub fn issuer_id(name: &str) -> IssuerId {
    name.parse().unwrap()
}

/// The `n`th credential id.
pub fn credential_id(n: u64) -> CredentialId {
    CredentialId::generate(NOW, &Numbered(n))
}

/// The `n`th serial number: eight octets, the first of them 0x40.
pub fn serial(n: u64) -> Serial {
    Serial::from_octets(&(n | 0x4000_0000_0000_0000).to_be_bytes()).unwrap()
}

/// A client with something in every field.
pub fn client(name: &str) -> Client {
    Client {
        id: client_id(name),
        environment: Environment::Production,
        name: format!("{name} \"Ltd\" & Söhne"),
        contacts: vec![format!("api@{name}.example"), "it's me".to_owned()],
        auth_method: AuthMethod::TlsClientAuth,
        scopes: "data:read pay:write".parse().unwrap(),
        audiences: vec!["https://api.example/bank".to_owned()],
        state: ClientState::Active,
        epoch: 0,
        created_at: NOW,
        updated_at: NOW,
    }
}

/// The `n`th credential of a client: a secret.
pub fn secret(client: &str, n: u64) -> Credential {
    Credential {
        id: credential_id(n),
        client: client_id(client),
        name: format!("secret {n}"),
        kind: CredentialKind::Secret { hmac: [u8::try_from(n).unwrap(); 32] },
        state: CredentialState::Active,
        epoch: 0,
        not_before: NOW,
        expires_at: None,
        created_at: NOW.plus_s(i64::try_from(n).unwrap()),
        last_used_at: None,
        uses: 0,
    }
}

/// The `n`th credential of a client: a certificate with this URI.
pub fn matcher(client: &str, n: u64, uri: &str) -> Credential {
    let kind = CredentialKind::Certificate(CertificateMatcher::SanUri(uri.to_owned()));
    Credential { kind, name: "certificate".to_owned(), ..secret(client, n) }
}

/// A pending row of issuer `clients`, of no client.
pub fn pending(n: u64) -> CertificateRecord {
    CertificateRecord {
        issuer: issuer_id("clients"),
        serial: serial(n),
        state: CertificateState::Pending,
        profile: Profile::Client,
        environment: Some(Environment::Production),
        client: None,
        subject: "CN=acme-pay, O=\"Acme, Ltd\"".to_owned(),
        names: vec!["uri:https://id.example/clients/acme-pay".to_owned()],
        key_hash: [7; 32],
        not_before: NOW,
        not_after: NOW.plus_days(30),
        crl_shard: 0,
        renews: None,
        thumbprint: None,
        der: None,
        created_at: NOW,
        last_seen_at: None,
        calls: 0,
    }
}

/// One of our issuers.
pub fn issuer(name: &str, role: IssuerRole, created_at: Timestamp) -> Issuer {
    Issuer {
        id: issuer_id(name),
        role,
        certificate: vec![0x30, 0x00, 0xff],
        key: KeyId(format!("key-of-{name}")),
        created_at,
    }
}

/// A CRL of an issuer's shard.
pub fn crl(name: &str, shard: u16, number: u64) -> CrlRecord {
    CrlRecord {
        issuer: issuer_id(name),
        shard,
        number,
        this_update: NOW,
        next_update: NOW.plus_days(7),
        der: number.to_be_bytes().to_vec(),
    }
}

/// A key in custody.
pub fn key(name: &str, purpose: KeyPurpose) -> KeyRecord {
    KeyRecord {
        id: KeyId(name.to_owned()),
        purpose,
        algorithm: KeyAlgorithm::EcdsaP256,
        public_key: vec![0x30, 0x59],
        sealed: vec![0, 1, 2, 0xff],
        created_at: NOW,
        signs_from: NOW.plus_s(600),
        retired_at: None,
    }
}

/// An operator.
pub fn operator(name: &str) -> Operator {
    Operator {
        name: name.to_owned(),
        role: Role::Operator,
        token_hmac: [3; 32],
        enabled: true,
        created_at: NOW,
    }
}

/// The `n`th audit event.
pub fn event(n: u64) -> AuditEvent {
    let reference = Reference::generate(NOW, &Numbered(n));
    let facts = Facts { detail: Some(format!("event {n}")), ..Facts::default() };
    AuditEvent::done(reference, NOW, AuditAction::ClientAdded, Actor::Operator("anna".to_owned()), facts)
}
