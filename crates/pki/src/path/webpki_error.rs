//! One mapping from webpki's errors to ours.

use super::ChainError;
use webpki::Error;

impl From<Error> for ChainError {
    fn from(error: Error) -> Self {
        match error {
            Error::CertExpired { .. } => Self::Expired,
            Error::CertNotValidYet { .. } => Self::NotYetValid,
            Error::CertNotValidForName(_) => Self::NameMismatch,
            Error::CertRevoked => Self::Revoked,
            Error::UnknownRevocationStatus | Error::CrlExpired { .. } | Error::IssuerNotCrlSigner => {
                Self::RevocationUnknown
            }
            Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
                Self::Unfit("its extended key usage has another purpose")
            }
            Error::CaUsedAsEndEntity => Self::Unfit("it is a CA"),
            Error::EndEntityUsedAsCa => Self::Unfit("an issuer is no CA"),
            Error::NameConstraintViolation => Self::Unfit("a name constraint forbids one of its names"),
            Error::PathLenConstraintViolated | Error::MaximumPathDepthExceeded => Self::PathTooLong,
            Error::UnsupportedCriticalExtension => Self::Unfit("an unknown critical extension"),
            // SHA-1, P-521 and others that rule P4 leaves out.
            Error::UnsupportedSignatureAlgorithmContext(_)
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Self::KeyWeak,
            // Among them a wrong signature: an issuer of the right name with another key (rule T7).
            Error::UnknownIssuer
            | Error::InvalidSignatureForPublicKey
            | Error::CertDistrusted
            | Error::MaximumPathBuildCallsExceeded
            | Error::MaximumSignatureChecksExceeded
            | Error::MaximumNameConstraintComparisonsExceeded => Self::UnknownIssuer,
            _ => Self::Malformed("not a valid X.509 certificate or CRL"),
        }
    }
}
