//! The ledger's rows: every certificate that we signed or meant to sign, and our issuers.

use crate::{
    ClientId, Environment, IssuerId, KeyId, Serial, Thumbprint, Timestamp, environment::UnknownName,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A row of the ledger. It exists before the certificate is signed (rule P7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRecord {
    /// Which of our CAs signs it.
    pub issuer: IssuerId,
    /// Unique for the issuer.
    pub serial: Serial,
    /// Where it stands.
    pub state: CertificateState,
    /// The profile it was built from.
    pub profile: Profile,
    /// The environment of its client; `None` for our own certificates.
    pub environment: Option<Environment>,
    /// Whose it is; `None` for our own certificates.
    pub client: Option<ClientId>,
    /// The subject, for people.
    pub subject: String,
    /// The subject alternative names, as `uri:…`, `dns:…`, `ip:…`.
    pub names: Vec<String>,
    /// SHA-256 of the SubjectPublicKeyInfo: finds a key again after keyCompromise (rule R6).
    pub key_hash: [u8; 32],
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
    /// The CRL shard written into it.
    pub crl_shard: u16,
    /// The certificate that it renews: its lineage.
    pub renews: Option<Serial>,
    /// SHA-256 of the DER; known once it is issued.
    pub thumbprint: Option<Thumbprint>,
    /// The certificate; known once it is issued.
    pub der: Option<Vec<u8>>,
    /// When the row was written.
    pub created_at: Timestamp,
    /// When it was last presented with success; written in batches.
    pub last_seen_at: Option<Timestamp>,
    /// How many calls it made; written in batches.
    pub calls: u64,
}

/// Where a certificate of the ledger stands (design, decision 23).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateState {
    /// The row is written, the signature may or may not exist yet.
    Pending,
    /// Signed and stored.
    Issued,
    /// Was pending when the program stopped: never handed out, and on the CRL to be sure.
    Abandoned {
        /// When that was found.
        at: Timestamp,
    },
    /// Revoked (RFC 5280 section 5.3.1).
    Revoked {
        /// Since when.
        at: Timestamp,
        /// Why.
        reason: RevocationReason,
    },
}

impl CertificateState {
    /// The name as written in the admin API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Issued => "issued",
            Self::Abandoned { .. } => "abandoned",
            Self::Revoked { .. } => "revoked",
        }
    }
}

/// What a certificate is for: the shape it is built from and held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Our root CA: 15 years.
    RootCa,
    /// A CA that signs leaves: 3 years.
    IssuingCa,
    /// A partner's client certificate: 30 days.
    Client,
    /// A server certificate of our own listeners: 45 days.
    Server,
}

impl Profile {
    /// The name as written in the admin API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RootCa => "root-ca",
            Self::IssuingCa => "issuing-ca",
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        [Self::RootCa, Self::IssuingCa, Self::Client, Self::Server]
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or(UnknownName { expected: "root-ca, issuing-ca, client or server" })
    }
}

/// CRLReason of RFC 5280 section 5.3.1, without certificateHold and removeFromCRL (rule R1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RevocationReason {
    /// No reason given; omitted from the CRL entry.
    Unspecified,
    /// The private key is in other hands.
    KeyCompromise,
    /// The CA's key is in other hands.
    CaCompromise,
    /// The partner's name or affiliation changed.
    AffiliationChanged,
    /// Replaced by a newer certificate.
    Superseded,
    /// Not needed any more.
    CessationOfOperation,
    /// The right to it was withdrawn.
    PrivilegeWithdrawn,
}

impl RevocationReason {
    /// Every reason there is.
    pub const ALL: [RevocationReason; 7] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// The name of RFC 5280's ASN.1 module.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
        }
    }

    /// The value of the ASN.1 ENUMERATED.
    pub const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::PrivilegeWithdrawn => 9,
        }
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RevocationReason {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|reason| reason.as_str().eq_ignore_ascii_case(text)).ok_or(UnknownName {
            expected: "unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation or privilegeWithdrawn",
        })
    }
}

/// One of our certificate authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Its name, as it stands in CRL addresses.
    pub id: IssuerId,
    /// What it signs.
    pub role: IssuerRole,
    /// Its own certificate, DER.
    pub certificate: Vec<u8>,
    /// Its key in custody.
    pub key: KeyId,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What one of our CAs signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IssuerRole {
    /// The issuing CAs.
    Root,
    /// Client certificates.
    Clients,
    /// Server certificates.
    Servers,
}

impl IssuerRole {
    /// The name as written in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Clients => "clients",
            Self::Servers => "servers",
        }
    }
}

/// A certificate revocation list that we published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrlRecord {
    /// Who signed it.
    pub issuer: IssuerId,
    /// Which shard of the issuer's certificates it speaks of.
    pub shard: u16,
    /// CRLNumber: strictly increasing for the issuer and shard (rule R1).
    pub number: u64,
    /// When it was signed.
    pub this_update: Timestamp,
    /// By when the next one is out.
    pub next_update: Timestamp,
    /// The list, DER.
    pub der: Vec<u8>,
}
