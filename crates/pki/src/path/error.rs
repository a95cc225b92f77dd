//! Why a certificate is not accepted, and what the caller and the operator may read of it.

use countersign_model::ReasonCode;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Unreadable.
    #[error("a certificate or CRL is malformed: {0}")]
    Malformed(&'static str),
    /// No path to an anchor, or a signature on it does not verify.
    #[error("no path to a trusted issuer")]
    UnknownIssuer,
    /// A certificate of the path is past its notAfter.
    #[error("a certificate has expired")]
    Expired,
    /// A certificate of the path is before its notBefore.
    #[error("a certificate is not yet valid")]
    NotYetValid,
    /// A certificate of the path is built against RFC 5280, or may not be used for what it is used for.
    #[error("a certificate is not fit for its purpose: {0}")]
    Unfit(&'static str),
    /// A key of the path is too weak or of an unknown kind (rule P4).
    #[error("a key is too weak or of a kind that is not accepted")]
    KeyWeak,
    /// More intermediates than allowed.
    #[error("the path is too long")]
    PathTooLong,
    /// The server's certificate has not the name that was called.
    #[error("the certificate is for another name")]
    NameMismatch,
    /// On a CRL.
    #[error("a certificate is revoked")]
    Revoked,
    /// CRLs were given, and none of them answers for a certificate.
    #[error("no current CRL speaks of a certificate")]
    RevocationUnknown,
}

impl ChainError {
    /// The reason code. What cannot be read or traced to an issuer of ours has an unknown issuer.
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::Malformed(_) | Self::UnknownIssuer | Self::PathTooLong => {
                ReasonCode::CertificateUnknownIssuer
            }
            Self::Expired => ReasonCode::CertificateExpired,
            Self::NotYetValid => ReasonCode::CertificateNotYetValid,
            Self::Unfit(_) | Self::NameMismatch => ReasonCode::CertificatePurposeWrong,
            Self::KeyWeak => ReasonCode::CertificateKeyWeak,
            Self::Revoked | Self::RevocationUnknown => ReasonCode::CertificateRevoked,
        }
    }
}
