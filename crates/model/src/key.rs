//! Private keys in custody, as rows: sealed under the master key, never in the clear.

use crate::{KeyId, Timestamp};
use std::fmt;

/// A key pair in custody.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its identifier (`kid`).
    pub id: KeyId,
    /// The one use it is for (rule K9: never shared).
    pub purpose: KeyPurpose,
    /// What it signs with.
    pub algorithm: KeyAlgorithm,
    /// SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
    /// PKCS#8 sealed by `keys`: only that crate can open it.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Token keys: when it begins to sign (published before use, rule K9).
    pub signs_from: Timestamp,
    /// Token keys: when it stopped to sign; `None` while it is the present or the next one.
    pub retired_at: Option<Timestamp>,
}

impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRecord")
            .field("id", &self.id)
            .field("purpose", &self.purpose)
            .finish_non_exhaustive()
    }
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyPurpose {
    /// Signs certificates and CRLs.
    CertificateAuthority,
    /// Signs access tokens.
    Token,
    /// Proves a listener of ours in TLS.
    TlsServer,
}

impl KeyPurpose {
    /// The name as written in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertificateAuthority => "certificate-authority",
            Self::Token => "token",
            Self::TlsServer => "tls-server",
        }
    }
}

/// What a key signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256 with SHA-256: `ES256` in JOSE, `ecdsa-with-SHA256` in X.509.
    EcdsaP256,
}

impl KeyAlgorithm {
    /// The name as written in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
        }
    }
}
