//! Signature algorithms by allow-list (RFC 7518 section 3.1, RFC 8725 section 3.1; rule C7).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    VerificationAlgorithm,
};
use countersign_model::key::KeyAlgorithm;

/// The algorithms that this crate can verify. There is no HMAC and no `none` among them: a verifier that knows no
/// symmetric algorithm cannot be talked into using a public key as its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256: what we issue, and all that is accepted by default (design, decision 6).
    Es256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256: for APIs that ask for RFC 9068 to the letter.
    Rs256,
}

impl Algorithm {
    /// Every algorithm there is.
    pub const ALL: [Algorithm; 4] = [Self::Es256, Self::Ps256, Self::EdDsa, Self::Rs256];

    /// The name in `alg` of a JWS header and of a JWK: case-sensitive (RFC 7515 section 4.1.1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    /// The algorithm of that name, if it is one of ours.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// What aws-lc verifies it with. `FIXED`: r and s side by side, not DER (RFC 7518 section 3.4).
    pub(crate) fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Es256 => &ECDSA_P256_SHA256_FIXED,
            Self::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Self::EdDsa => &ED25519,
            Self::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        }
    }
}

impl From<KeyAlgorithm> for Algorithm {
    fn from(algorithm: KeyAlgorithm) -> Self {
        match algorithm {
            KeyAlgorithm::EcdsaP256 => Self::Es256,
        }
    }
}
